//! The marker of an archive: a small object by which it is known again, wherever it is mounted or by whatever name it is reached.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Archive, ArchiveError, NewObject, fetch};
use crate::domain::checksum;
use crate::domain::file::{Proof, Sha256Digest};

/// The folder of the marker, below the archive's root or prefix. It is none of the objects that are listed.
pub(super) const FOLDER: &str = "zoom-archiver-archive";
/// Key of the marker.
pub(super) const KEY: &str = "zoom-archiver-archive/id.json";
/// Most bytes that a marker has.
const MOST_BYTES: usize = 4096;
/// Version of the marker's shape.
const FORMAT: &str = "zoom-archiver/archive/1";

#[derive(Serialize, Deserialize)]
struct Marker {
    format: String,
    id: String,
}

/// The id in the text of a marker.
pub(super) fn id_in(text: &[u8]) -> Option<String> {
    let marker: Value = serde_json::from_slice(text).ok()?;
    Some(marker.get("id")?.as_str()?.to_owned())
}

/// The id of an archive; `None` where it has no marker.
///
/// # Errors
/// See [`ArchiveError`]; [`ArchiveError::Refused`] for a marker that cannot be read.
pub async fn read(archive: &dyn Archive) -> Result<Option<String>, ArchiveError> {
    if archive.inspect(KEY).await?.is_none() {
        return Ok(None);
    }
    let text = fetch(archive, KEY, MOST_BYTES).await?;
    let id = id_in(&text).ok_or_else(|| {
        ArchiveError::Refused(format!("{KEY} in {} is no marker of an archive", archive.describe()))
    })?;
    Ok(Some(id))
}

/// Writes a marker where there is none; returns the id that the archive has then, which another process may have written.
///
/// # Errors
/// See [`ArchiveError`].
pub async fn write(archive: &dyn Archive, id: &str) -> Result<String, ArchiveError> {
    let marker = Marker { format: FORMAT.to_owned(), id: id.to_owned() };
    let mut body = serde_json::to_vec_pretty(&marker).unwrap_or_default();
    body.push(b'\n');
    let proof = Proof {
        bytes: body.len() as u64,
        sha256: Sha256Digest(Sha256::digest(&body).into()),
        crc64nvme: checksum::crc64nvme(&body),
    };
    let object =
        NewObject { key: KEY.to_owned(), content_type: "application/json".to_owned(), facts: Vec::new() };
    match archive.put(&object, body.into(), &proof).await {
        Ok(_) => Ok(id.to_owned()),
        Err(ArchiveError::Exists(_)) => read(archive)
            .await?
            .ok_or_else(|| ArchiveError::Unavailable(format!("the marker {KEY} has come and gone"))),
        Err(error) => Err(error),
    }
}
