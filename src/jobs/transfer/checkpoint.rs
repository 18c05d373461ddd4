//! What a transfer leaves for its next run, on whatever machine that is. As long for a file of ten thousand parts
//! as for one of two: the parts themselves are the archive's to remember, and are compared by a digest.

use std::time::Duration;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::archive::{Part, Upload};
use crate::domain::checksum;
use crate::domain::file::Proof;
use crate::domain::hash::RunningSha256;
use crate::domain::part::PartPlan;
use crate::domain::probe::Probe;
use crate::zoom::download::Version;

/// State of a transfer, as kept in the job's `checkpoint` column.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct TransferCheckpoint {
    /// The upload that has begun, and how far it has come.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) upload: Option<Begun>,
    /// What was found wrong with the content by the last run: where it stays, the file is archived and marked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) doubt: Option<String>,
    /// How often the file has been asked for again because of that, or because of its size.
    #[serde(default)]
    pub(super) asked_again: u32,
    /// How many uploads have been given up because the archive did not hold what it had confirmed. Headway does not
    /// begin this count anew: each of them makes some.
    #[serde(default)]
    pub(super) given_up: u32,
    /// Most bytes of the beginning that an upload has ever held: what comes a second time is no headway.
    #[serde(default)]
    pub(super) furthest: u64,
    /// How fast the last run has come on, once it has: `Store::flow` reads it for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pace: Option<Pace>,
}

/// What a run has brought into the archive since it began, and in what time: so a rate can be told wherever the clocks
/// stand.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Pace {
    bytes: u64,
    millis: u64,
}

impl Pace {
    /// None before there is anything to go by.
    pub(super) fn of(bytes: u64, time: Duration) -> Option<Self> {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        (bytes > 0 && millis > 0).then_some(Self { bytes, millis })
    }
}

impl TransferCheckpoint {
    /// Reads a checkpoint; one of an unknown shape (of another version) counts as none.
    pub(super) fn read(value: Option<&Value>) -> Self {
        value.and_then(|value| Self::deserialize(value).ok()).unwrap_or_default()
    }

    /// As JSON, for the column.
    pub(super) fn to_value(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}

/// An upload that has begun, and the beginning of the file that it holds for certain.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Begun {
    pub(super) upload: Upload,
    pub(super) plan: PartPlan,
    /// Media type that the object gets.
    pub(super) content_type: String,
    /// Extension of the file, in lower case.
    extension: String,
    /// The file at Zoom that its parts come from.
    pub(super) version: Version,
    /// What its first parts hold: fetched, hashed, and confirmed by the archive.
    pub(super) measured: Measured,
    /// What the archive called those parts.
    pub(super) tags: Tags,
}

impl Begun {
    /// Of which nothing is in the archive yet.
    pub(super) fn new(
        upload: Upload,
        plan: PartPlan,
        version: Version,
        extension: &str,
        content_type: String,
    ) -> Self {
        Self {
            upload,
            plan,
            content_type,
            extension: extension.to_owned(),
            version,
            measured: Measured::new(extension),
            tags: Tags::default(),
        }
    }

    /// Forgets how far it has come, for a file that is to be read from its start; what the archive holds may still
    /// turn out to be the same.
    pub(super) fn rewind(&mut self, version: Version) {
        self.version = version;
        self.measured = Measured::new(&self.extension);
        self.tags = Tags::default();
    }
}

/// What has been measured of the beginning of a file, part by part.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Measured {
    /// Parts, from the first one on.
    pub(super) parts: u32,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Whether that is all of the file.
    pub(super) whole: bool,
    crc64nvme: u64,
    sha256: RunningSha256,
    probe: Probe,
}

impl Measured {
    /// Of nothing yet.
    pub(super) fn new(extension: &str) -> Self {
        Self {
            parts: 0,
            bytes: 0,
            whole: false,
            crc64nvme: checksum::crc64nvme(b""),
            sha256: RunningSha256::default(),
            probe: Probe::new(extension),
        }
    }

    /// Takes in the next part, whose CRC is known already.
    pub(super) fn add(&mut self, content: &[u8], crc64nvme: u64, last: bool) {
        let bytes = content.len() as u64;
        self.crc64nvme = match self.parts {
            0 => crc64nvme,
            _ => checksum::combine(self.crc64nvme, crc64nvme, bytes),
        };
        self.sha256.update(content);
        self.probe.update(content);
        self.parts += 1;
        self.bytes += bytes;
        self.whole = last;
    }

    pub(super) fn proof(&self) -> Proof {
        Proof { bytes: self.bytes, sha256: self.sha256.digest(), crc64nvme: self.crc64nvme }
    }

    /// What is wrong with the shape of the whole file, if anything.
    pub(super) fn suspicion(&self) -> Option<String> {
        self.probe.verdict().err()
    }
}

/// A digest over what the archive called the parts so far, one after the other.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tags(String);

impl Tags {
    /// Takes in the next part.
    pub(super) fn add(&mut self, part: &Part) {
        let words = format!("{}\n{} {} {}", self.0, part.number, part.bytes, part.etag);
        self.0 = HEXLOWER.encode(&Sha256::digest(words.as_bytes()));
    }

    /// Of these parts.
    pub(super) fn of<'a>(parts: impl IntoIterator<Item = &'a Part>) -> Self {
        let mut tags = Self::default();
        parts.into_iter().for_each(|part| tags.add(part));
        tags
    }
}
