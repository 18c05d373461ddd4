//! Everything that a transfer asks of an archive, tried once in a folder of its own, whatever the archive.

use bytes::Bytes;
use futures_util::TryStreamExt;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Archive, ArchiveError, NewObject};
use crate::domain::checksum;
use crate::domain::fact;
use crate::domain::file::{Proof, Sha256Digest};
use crate::domain::finding::{Finding, Subject};
use crate::domain::part::PartPlan;

/// Length of the first of two parts: the least that S3 takes for a part that is not the last.
const PART_BYTES: u64 = 5 * 1024 * 1024;
/// What is written in one request.
pub(super) const SMALL: &[u8] = b"written by `zoom-archiver doctor`, which removes it again\n";

/// Where all tries are made, below the archive's root or prefix.
pub(super) const DOCTOR: &str = "zoom-archiver-doctor";

/// A folder that nobody else makes tries in.
pub(super) fn new_folder() -> String {
    format!("{DOCTOR}/{}", Uuid::now_v7().simple())
}

/// A key for one try, in the folder of all of them.
pub(super) fn key(folder: &str, name: &str) -> String {
    format!("{folder}/{name}")
}

/// Names of what is written below the folder.
pub(super) const NAMES: [&str; 3] = ["small", "parts", "given-up"];

// What does not work until what failed is mended.
const NO_WRITING: &str = "until then nothing is archived";
const NO_READING: &str = "until then no object can be compared, verified or given out, and no file of several parts is \
                          archived";
const NO_PARTS: &str = "until then no file is archived that is longer than a part";
const NO_GIVING_UP: &str = "until then uploads that nobody goes on with stay and take room, and a file whose upload must \
                            begin anew waits";

/// Tries all of it and says what was found.
pub(super) async fn exercise(archive: &dyn Archive, folder: &str) -> Vec<Finding> {
    let tries = [
        (small(archive, &key(folder, NAMES[0])).await, NO_WRITING),
        (parts(archive, &key(folder, NAMES[1])).await, NO_PARTS),
        (given_up(archive, &key(folder, NAMES[2])).await, NO_GIVING_UP),
    ];
    let found = |(tried, so): (Result<Vec<Finding>, ArchiveError>, &str)| {
        tried.unwrap_or_else(|error| vec![wrong_so(&error, so)])
    };
    tries.into_iter().flat_map(found).collect()
}

/// Tries what leaves no object behind: that writing is allowed at all.
pub(super) async fn glance(archive: &dyn Archive, folder: &str) -> Vec<Finding> {
    let tried = given_up(archive, &key(folder, NAMES[2])).await;
    tried.unwrap_or_else(|error| vec![wrong(&error)])
}

pub(super) fn wrong(error: &ArchiveError) -> Finding {
    Finding::wrong(Subject::Archive, error.to_string())
}

fn wrong_so(error: &ArchiveError, so: &str) -> Finding {
    Finding::wrong_so(Subject::Archive, error.to_string(), so)
}

/// The archive cannot be looked into at all.
pub(super) fn out_of_reach(error: &ArchiveError) -> Finding {
    wrong_so(error, NO_WRITING)
}

fn well(words: impl Into<String>) -> Finding {
    Finding::well(Subject::Archive, words)
}

/// An object in one request, read back, and not written over.
async fn small(archive: &dyn Archive, key: &str) -> Result<Vec<Finding>, ArchiveError> {
    let body = Bytes::from_static(SMALL);
    let object = object(key);
    let stored = archive.put(&object, body.clone(), &proof(&body)).await?;
    let confirmed = match stored.checksum {
        Some(checksum) => format!("and is confirmed by its {}", checksum.algorithm),
        None => "and is proven by its size and our own SHA-256: the archive keeps no checksum".to_owned(),
    };
    let mut findings = vec![well(format!("an object can be written {confirmed}"))];
    findings.push(match read_back(archive, key).await {
        Ok(read) if read == SMALL => well("an object reads back as it was written"),
        Ok(_) => Finding::wrong(Subject::Archive, "an object reads back other than it was written"),
        Err(error) => wrong_so(&error, NO_READING),
    });
    let other = Bytes::from_static(b"something else");
    findings.push(match archive.put(&object, other.clone(), &proof(&other)).await {
        Err(ArchiveError::Exists(_)) => well("an object is never written over"),
        Err(error) => wrong(&error),
        Ok(_) => Finding::wrong_so(
            Subject::Archive,
            "the store takes `If-None-Match: *` and writes over the object all the same",
            "set archive.s3.conditional_create = \"off\"",
        ),
    });
    Ok(findings)
}

async fn read_back(archive: &dyn Archive, key: &str) -> Result<Vec<u8>, ArchiveError> {
    let read: Vec<Bytes> = archive.read(key).await?.try_collect().await?;
    Ok(read.concat())
}

/// An object of two parts.
async fn parts(archive: &dyn Archive, key: &str) -> Result<Vec<Finding>, ArchiveError> {
    let content =
        [Bytes::from(vec![b'z'; PART_BYTES.try_into().unwrap_or(usize::MAX)]), Bytes::from_static(b"a")];
    let whole = content.concat();
    let plan = PartPlan::new(Some(whole.len() as u64), PART_BYTES);
    let upload = archive.begin(&object(key)).await?;
    let mut sent = Vec::new();
    for (number, part) in (1..).zip(content) {
        let crc64nvme = checksum::crc64nvme(&part);
        sent.push(archive.put_part(&upload, plan, number, part, crc64nvme).await?);
    }
    let mut findings = Vec::new();
    findings.push(match archive.parts(&upload, plan).await {
        Ok(listed) if listed.len() == sent.len() => {
            well("an upload in parts tells which it has: a transfer goes on where it stopped")
        }
        Ok(listed) => Finding::wrong_so(
            Subject::Archive,
            format!("of {} parts that were sent the archive lists {}", sent.len(), listed.len()),
            "an interrupted transfer will start over with this store",
        ),
        Err(error) => Finding::note(
            Subject::Archive,
            error.to_string(),
            "an interrupted transfer will start over with this store",
        ),
    });
    archive.complete(&upload, &sent, &proof(&whole)).await?;
    findings.push(well("an object can be put together from parts"));
    Ok(findings)
}

/// An upload that is begun and given up.
async fn given_up(archive: &dyn Archive, key: &str) -> Result<Vec<Finding>, ArchiveError> {
    let upload = archive.begin(&object(key)).await?;
    archive.abort(&upload).await?;
    let mut findings = vec![well("an upload can be given up")];
    if let Err(error) = archive.unfinished(std::time::Duration::ZERO).await {
        findings.push(Finding::note(
            Subject::Archive,
            error.to_string(),
            "give the bucket the lifecycle rule of docs/archive.md: what is left unfinished cannot be found",
        ));
    }
    Ok(findings)
}

/// What all tries write: something of each fact that a store may be asked to keep with an object.
pub(super) fn object(key: &str) -> NewObject {
    let facts = fact::NAMES.iter().map(|name| ((*name).to_owned(), "tried by doctor".to_owned())).collect();
    NewObject { key: key.to_owned(), content_type: "text/plain".to_owned(), facts }
}

fn proof(body: &[u8]) -> Proof {
    Proof {
        bytes: body.len() as u64,
        sha256: Sha256Digest(Sha256::digest(body).into()),
        crc64nvme: checksum::crc64nvme(body),
    }
}
