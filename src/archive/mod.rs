//! The storage that the user owns: a bucket or a directory.
//!
//! [`Archive`] has two implementations, `s3` and `directory`. Under its final key an object is complete or
//! not there at all, and nothing but a manifest is ever overwritten. Handles ([`Upload`], [`Part`]) are plain
//! data, so that they can lie in a checkpoint and be taken up by another process.
//!
//! - [`open`]: the archive that `ARCHIVE_URL` names
//! - [`location`]: how that URL is read
//! - [`s3`]: any S3-compatible store
//! - [`directory`]: a directory of this machine
//! - `walk`: the objects of a directory, in the order of their keys
//! - `review`: what is checked before an object of several parts is completed

pub mod directory;
mod exercise;
pub mod location;
pub mod marker;
mod review;
pub mod s3;
mod walk;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use self::directory::DirectoryArchive;
use self::location::Location;
use self::s3::S3Archive;
use crate::clock::Clock;
use crate::config::archive::ArchiveConfig;
use crate::domain::file::{Proof, Sha256Digest, StoreChecksum};
use crate::domain::finding::{Finding, Look};
use crate::domain::part::PartPlan;
use crate::domain::verification::ListedObject;

/// Why the archive could not do what it was asked. The variant is the decision.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// Away, overloaded, full, or refusing us (credentials, policy, no such bucket): not the file's fault, the
    /// same call may succeed when the archive is back or mended.
    #[error("archive is not available: {0}")]
    Unavailable(String),
    /// What is to be written does not fit; nothing of it was written.
    #[error("there is no room in the archive: {0}")]
    NoRoom(String),
    /// An object is already there under this key; nothing was written.
    #[error("an object already exists under {0}")]
    Exists(String),
    /// The unfinished upload is not known any more (finished, aborted, or dropped by the store).
    #[error("the upload under {0} is not known to the archive any more")]
    NoSuchUpload(String),
    /// What the archive holds or received is not what was sent.
    #[error("checksum or size mismatch: {0}")]
    Mismatch(String),
    /// The archive rejects the request itself (key, size, option): repeating it does not help.
    #[error("archive refused: {0}")]
    Refused(String),
}

impl ArchiveError {
    /// What kind it is, as a word for metrics.
    #[must_use]
    pub fn class(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::NoRoom(_) => "no_room",
            Self::Exists(_) => "exists",
            Self::NoSuchUpload(_) => "no_such_upload",
            Self::Mismatch(_) => "mismatch",
            Self::Refused(_) => "refused",
        }
    }
}

/// What is to be stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct NewObject {
    /// Key within the archive, without the archive's own prefix.
    pub key: String,
    /// Media type.
    pub content_type: String,
    /// Plain facts about the file, such as `("topic", "Über uns")`, for stores that keep metadata with an object.
    /// May be empty.
    #[serde(default)]
    pub facts: Vec<(String, String)>,
}

/// An upload that has begun and is neither completed nor aborted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// The key it will have. Empty where an archive that lists what is [unfinished](Archive::unfinished) cannot
    /// tell; such an upload can be aborted and nothing else.
    pub key: String,
    /// What the archive calls it: S3's upload id, the staging file's name.
    pub id: String,
    /// The checksum algorithm declared when it began, as the archive calls it; `None` for none.
    pub checksum: Option<String>,
}

/// A part that the archive has confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Counted from 1.
    pub number: u32,
    /// Its length in bytes.
    pub bytes: u64,
    /// The archive's tag for it.
    pub etag: String,
    /// CRC-64/NVME of its content: as given with it, or as the archive tells it. `None` for a part that was learnt
    /// from a store which keeps none.
    pub crc64nvme: Option<u64>,
}

/// An upload that was found unfinished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// The upload, which can be aborted.
    pub upload: Upload,
    /// How long ago it began, or was last written to, by this machine's clock.
    pub age: Duration,
}

/// An object as the archive describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredObject {
    /// Its length in bytes.
    pub bytes: u64,
    /// The archive's own checksum of the whole object, where it offers one.
    pub checksum: Option<StoreChecksum>,
    /// Entity tag.
    pub etag: Option<String>,
    /// Version id, where the bucket keeps versions.
    pub version_id: Option<String>,
}

/// Unfinished uploads that one call of [`Archive::unfinished`] finds at most.
pub const MOST_UNFINISHED: usize = 5000;

/// The content of an object, piece by piece.
pub type ObjectStream = BoxStream<'static, Result<Bytes, ArchiveError>>;

/// Storage that the user owns.
#[async_trait]
pub trait Archive: Send + Sync + 'static {
    /// Where this is, for logs and reports: `s3://bucket/prefix`, `file:///path`.
    fn describe(&self) -> &str;

    /// Bytes that may still be written, where the archive is a disk that has an end; what is kept free is not among them.
    async fn room(&self) -> Result<Option<u64>, ArchiveError> {
        Ok(None)
    }

    /// Stores a whole object at once; for files of at most one part. On return the object is durable, and its
    /// size, and its checksum where the archive offers one, agree with `proof`.
    ///
    /// The checksums of `proof` are taken at their word and not computed again. A store that is sent one of them
    /// refuses a body that differs; a directory has nobody to judge but by length.
    ///
    /// # Errors
    /// [`ArchiveError::Exists`] when there is an object under that key; [`ArchiveError::Mismatch`] when the
    /// archive received something else (nothing is left under the key then).
    async fn put(&self, object: &NewObject, body: Bytes, proof: &Proof)
    -> Result<StoredObject, ArchiveError>;

    /// Begins an object of several parts.
    async fn begin(&self, object: &NewObject) -> Result<Upload, ArchiveError>;

    /// Stores one part. Parts may arrive at the same time and in any order; a part sent again replaces itself.
    ///
    /// `crc64nvme` is that of `body`. It is computed once, by the caller, and taken at its word: a store that is
    /// sent it refuses a part that differs; anywhere else a wrong one is found at completion, when those of all
    /// parts do not add up to that of the file.
    ///
    /// # Errors
    /// [`ArchiveError::NoSuchUpload`], [`ArchiveError::Mismatch`].
    async fn put_part(
        &self,
        upload: &Upload,
        plan: PartPlan,
        number: u32,
        body: Bytes,
        crc64nvme: u64,
    ) -> Result<Part, ArchiveError>;

    /// The parts that an unfinished upload holds, in order of number, with the archive's own words about them.
    /// What [`put_part`](Self::put_part) confirmed is among them as it was confirmed; its CRC-64/NVME is missing
    /// where the store does not list it.
    ///
    /// A store holds a part whole or not at all. A directory reads back what was written, so a part that a killed
    /// writer left half written is listed too, with the CRC-64/NVME of what is there (and one of nothing but zeros
    /// is not listed): only a checksum that agrees proves a part. It may take as long as reading the whole file.
    ///
    /// # Errors
    /// [`ArchiveError::NoSuchUpload`].
    async fn parts(&self, upload: &Upload, plan: PartPlan) -> Result<Vec<Part>, ArchiveError>;

    /// Reviews the parts (numbers without a gap, sum of sizes, and, where each has one, the CRC-64/NVME that theirs
    /// add up to), then makes the object appear under its key, and compares what the archive says of it with
    /// `proof`.
    ///
    /// # Errors
    /// [`ArchiveError::Exists`] when there is an object under that key already: it is left untouched, and the
    /// upload can still be aborted. [`ArchiveError::NoSuchUpload`], [`ArchiveError::Mismatch`].
    async fn complete(
        &self,
        upload: &Upload,
        parts: &[Part],
        proof: &Proof,
    ) -> Result<StoredObject, ArchiveError>;

    /// Gives up an upload and frees what it holds. One that is not known any more is not an error.
    async fn abort(&self, upload: &Upload) -> Result<(), ArchiveError>;

    /// Gives up every unfinished upload under exactly this key, whoever began it; returns how many. For the
    /// holder of the file's lease only: the key is its alone.
    async fn abort_all(&self, key: &str) -> Result<u64, ArchiveError>;

    /// Unfinished uploads of this archive that are at least this old, whoever began them: a store counts from when
    /// an upload began, a directory from when it was last written to. At most [`MOST_UNFINISHED`] in one call; ask
    /// again when they are gone.
    ///
    /// MinIO lists either all uploads of a bucket or those of one key: below a prefix none are found there. It drops
    /// them itself after a day.
    ///
    /// # Errors
    /// [`ArchiveError::Refused`] where the store cannot list them.
    async fn unfinished(&self, older_than: Duration) -> Result<Vec<Unfinished>, ArchiveError>;

    /// Writes a small object, replacing what is there. For manifests only.
    async fn replace(&self, object: &NewObject, body: Bytes) -> Result<StoredObject, ArchiveError>;

    /// What stands under a key, if anything.
    async fn inspect(&self, key: &str) -> Result<Option<StoredObject>, ArchiveError>;

    /// Reads an object back.
    ///
    /// # Errors
    /// [`ArchiveError::Refused`] when there is none.
    async fn read(&self, key: &str) -> Result<ObjectStream, ArchiveError>;

    /// The objects after a key, in the order of their keys, byte by byte; at most `limit`, and fewer only at the end.
    /// Neither what is unfinished nor what `doctor` writes is among them. A directory keeps the names of one folder at a
    /// time in memory.
    async fn keys(&self, after: Option<&str>, limit: usize) -> Result<Vec<ListedObject>, ArchiveError>;

    /// Reads a piece of an object: the bytes of `range`, which lies within it.
    ///
    /// # Errors
    /// [`ArchiveError::Refused`] when there is none, or it has no such piece.
    async fn read_range(&self, key: &str, range: Range<u64>) -> Result<ObjectStream, ArchiveError>;

    /// An address under which whoever has it can read the object for that long, by `GET` and with ranges; the store
    /// answers with this `Content-Disposition`. `None` where the archive gives no such addresses. Nothing is asked: the
    /// object need not be there. A secret.
    async fn link(
        &self,
        key: &str,
        disposition: &str,
        valid: Duration,
    ) -> Result<Option<SecretString>, ArchiveError>;

    /// Tries what transfers ask of it, and says what it found: everything, with objects of its own that it removes again,
    /// for `doctor`; for the start no more than that an upload can be begun and given up.
    async fn examine(&self, look: Look) -> Vec<Finding>;

    /// Has the archive be used only while its marker holds this id; see [`marker`].
    fn expect(&self, id: &str) {
        let _ = id;
    }

    /// Whether it may look empty because it is not there: a directory whose file system is not mounted.
    fn may_be_unmounted(&self) -> bool {
        false
    }

    /// Proves that the archive can be reached and that we may look into it; writes nothing.
    async fn ping(&self) -> Result<(), ArchiveError>;
}

/// An archive behind which either implementation may stand.
pub type SharedArchive = Arc<dyn Archive>;

/// Opens the archive that `url` names: `s3://bucket/prefix` or `file:///absolute/path`. A directory is made
/// where it is missing; an S3 store is not asked anything yet (see [`Archive::ping`]), and is found by the AWS
/// SDK's own chain of environment, profiles and roles.
///
/// # Errors
/// [`ArchiveError::Refused`] for a URL of any other kind, and for a directory of which `config` asks what only a bucket
/// has; [`ArchiveError::Unavailable`] when the directory cannot be made.
pub async fn open(url: &str, config: &ArchiveConfig) -> Result<SharedArchive, ArchiveError> {
    match check(url, config)? {
        Location::S3(place) => Ok(Arc::new(S3Archive::open(&place, &config.s3, None).await)),
        Location::Directory(root) => {
            Ok(Arc::new(DirectoryArchive::open(&root).await?.keeping_free(config.min_free_bytes)))
        }
    }
}

/// Reads an archive's URL, and whether the settings fit what it names.
///
/// # Errors
/// [`ArchiveError::Refused`], without the URL.
pub fn check(url: &str, config: &ArchiveConfig) -> Result<Location, ArchiveError> {
    let location = Location::parse(url)?;
    match (&location, s3::object_options(&config.s3).first()) {
        (Location::Directory(_), Some(key)) => Err(ArchiveError::Refused(format!(
            "{key} asks for what a directory has not: leave it out, or archive into a bucket (s3://)"
        ))),
        _ => Ok(location),
    }
}

/// Reads an object back, whole: its length and SHA-256. `seen` is told of each piece, as bytes.
///
/// # Errors
/// As [`Archive::read`].
pub async fn read_back(
    archive: &dyn Archive,
    key: &str,
    seen: impl Fn(u64),
) -> Result<(u64, Sha256Digest), ArchiveError> {
    digest(archive.read(key).await?, seen).await
}

/// The length and SHA-256 of a content. `seen` is told of each piece, as bytes.
///
/// # Errors
/// As [`Archive::read`].
pub async fn digest(
    mut content: ObjectStream,
    seen: impl Fn(u64),
) -> Result<(u64, Sha256Digest), ArchiveError> {
    let (mut bytes, mut hasher) = (0, Sha256::new());
    while let Some(piece) = content.try_next().await? {
        bytes += piece.len() as u64;
        hasher.update(&piece);
        seen(piece.len() as u64);
    }
    Ok((bytes, Sha256Digest(hasher.finalize().into())))
}

/// Reads a small object into memory, of at most `most` bytes.
///
/// # Errors
/// As [`Archive::read`]; [`ArchiveError::Refused`] when it is longer.
pub async fn fetch(archive: &dyn Archive, key: &str, most: usize) -> Result<Bytes, ArchiveError> {
    let mut content = archive.read(key).await?;
    let mut body = BytesMut::new();
    while let Some(piece) = content.try_next().await? {
        if body.len() + piece.len() > most {
            return Err(ArchiveError::Refused(format!("{key} is longer than {most} bytes")));
        }
        body.extend_from_slice(&piece);
    }
    Ok(body.freeze())
}

/// How long ago something was, by this machine's clock; nothing for what lies ahead of it.
fn age(since: DateTime<Utc>) -> Duration {
    (Clock::System.now() - since).to_std().unwrap_or_default()
}
