//! Compares the archive with the record: every object with what was proven of it when it was archived and with its
//! manifest, and every key with the rows. The command `verify` and the daily rounds both look through here.
//!
//! - [`round`]: the job that verifies a share by period
//! - `judge`: what an object and a manifest say against a row
//!
//! What is found is written into the row of the file, in place of what was found before, so a finding clears itself when
//! a later look finds the object right. The archive is read and never written.

mod judge;
pub mod round;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, TryStreamExt, stream};
use tracing::warn;

use super::throttle::Throttle;
use crate::archive::{self, ArchiveError, SharedArchive};
use crate::config::verify::VerifyConfig;
use crate::domain::file::{ArchivedFile, FileRow, Sha256Digest};
use crate::domain::ids::FileId;
use crate::domain::manifest::{Manifest, manifest_key};
use crate::domain::verification::{FileFinding, Found, ListedObject};
use crate::store::{Selection, SharedStore, StoreError, Unverified};
use judge::{Object, Told};

/// Files taken from the record at a time.
const PAGE: u32 = 100;
/// Keys taken from the archive at a time.
const KEYS: usize = 1000;
/// Foreign objects that are kept in the record; of more only the number is told.
pub const MOST_FOREIGN: u32 = 10_000;
/// Longest manifest that is read, in bytes: it is held in memory.
pub const MOST_MANIFEST_BYTES: usize = 64 * 1024 * 1024;
/// Times that an object is asked for before it counts as unreadable.
const TRIES: u32 = 3;
/// Rest after the first of them.
const REST: Duration = Duration::from_millis(500);

/// Why a look ended early. What was found before stands, and looking again goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The archive is away. What it only says of one object is a finding.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// Compares objects with their proofs. Clones share the ceiling.
#[derive(Clone)]
pub struct Verifier {
    store: SharedStore,
    archive: SharedArchive,
    throttle: Throttle,
    objects_at_once: usize,
}

/// One file that was looked at.
#[derive(Debug)]
pub struct Looked {
    /// Its row, as it was before.
    pub file: FileRow,
    /// What is wrong, if anything.
    pub found: Option<Found>,
}

/// A part of the archive's listing.
#[derive(Debug)]
pub struct Sifted {
    /// The key to go on from; `None` at the end.
    pub last: Option<String>,
    /// Objects listed.
    pub listed: u64,
    /// Those of them that no row knows.
    pub foreign: Vec<ListedObject>,
}

/// Who is told of bytes that were read.
pub type Read<'a> = &'a (dyn Fn(u64) + Send + Sync);
/// Who is shown the files.
pub type See<'a> = &'a mut (dyn FnMut(&Looked) + Send);

impl Verifier {
    /// One with a ceiling of its own.
    #[must_use]
    pub fn new(store: &SharedStore, archive: &SharedArchive, config: &VerifyConfig) -> Self {
        Self {
            store: Arc::clone(store),
            archive: Arc::clone(archive),
            throttle: Throttle::new(config.max_bytes_per_sec),
            objects_at_once: usize::try_from(config.objects_at_once).unwrap_or(1).max(1),
        }
    }

    /// A way through the files of a selection that were last looked at before `until`, the longest unverified first, and
    /// through no more than `most` of them.
    #[must_use]
    pub fn walk(&self, selection: Selection, until: DateTime<Utc>, most: u64) -> Walk<'_> {
        Walk { verifier: self, selection, until, left: most, after: None }
    }

    /// Takes the next part of the archive's listing, and keeps up to `room` more foreign objects in the record.
    ///
    /// # Errors
    /// See [`VerifyError`].
    pub async fn sift(&self, after: Option<&str>, room: u32) -> Result<Sifted, VerifyError> {
        let listed = self.archive.keys(after, KEYS).await?;
        let last = listed.last().filter(|_| listed.len() == KEYS).map(|last| last.key.clone());
        let foreign = self.store.sift(after, last.as_deref(), &listed, room).await?;
        Ok(Sifted { last, listed: listed.len() as u64, foreign })
    }

    /// Looks at the files of one recording.
    async fn recording(&self, files: Vec<Unverified>, read: Read<'_>) -> Result<Vec<Looked>, VerifyError> {
        let told = match files.first() {
            Some(first) if !first.manifest_waits => self.manifest(first.folder.as_deref()).await?,
            _ => Told::NotYet,
        };
        let mut looked = Vec::with_capacity(files.len());
        for Unverified { file, .. } in files {
            let Some(archived) = &file.archived else { continue };
            let object = self.object(archived, read).await?;
            let found = judge::judge(&file, archived, &object, &told);
            if self.store.verified(&file, found.as_ref()).await? {
                report(&file, found.as_ref());
                looked.push(Looked { file, found });
            }
        }
        Ok(looked)
    }

    /// What the archive has of an object.
    async fn object(&self, archived: &ArchivedFile, read: Read<'_>) -> Result<Object, VerifyError> {
        let key = &archived.object_key;
        let stored = match self.insist(|| self.archive.inspect(key)).await? {
            Ok(Some(stored)) => stored,
            Ok(None) => {
                self.check_archive().await?;
                return Ok(Object::Missing);
            }
            Err(words) => return Ok(Object::Unreadable(words)),
        };
        if stored.bytes != archived.bytes {
            return Ok(Object::OfSize(stored.bytes));
        }
        match self.insist(|| self.digest(key, read)).await? {
            Ok((bytes, sha256)) => Ok(Object::Read { bytes, sha256, checksum: stored.checksum }),
            Err(words) => Ok(Object::Unreadable(words)),
        }
    }

    /// An archive that holds nothing at all is the wrong one, or a disk that is not mounted: that says nothing of a file.
    async fn check_archive(&self) -> Result<(), VerifyError> {
        if self.archive.keys(None, 1).await?.is_empty() {
            let archive = self.archive.describe();
            return Err(ArchiveError::Refused(format!(
                "{archive} holds no object at all: is it the right one, and is it mounted?"
            ))
            .into());
        }
        Ok(())
    }

    /// Reads an object, no faster than the ceiling.
    async fn digest(&self, key: &str, read: Read<'_>) -> Result<(u64, Sha256Digest), ArchiveError> {
        let content = self.archive.read(key).await?;
        let throttle = self.throttle.clone();
        let paced = content.and_then(move |piece| {
            let throttle = throttle.clone();
            async move {
                throttle.pass(piece.len() as u64, || ()).await;
                Ok(piece)
            }
        });
        archive::digest(paced.boxed(), read).await
    }

    /// What the manifest in a folder says.
    async fn manifest(&self, folder: Option<&str>) -> Result<Told, VerifyError> {
        // An archived file has a place, and its recording a folder.
        let Some(folder) = folder else { return Ok(Told::Nothing) };
        let key = manifest_key(folder);
        match self.insist(|| self.archive.inspect(&key)).await? {
            Ok(Some(_)) => {}
            Ok(None) => return Ok(Told::Nothing),
            Err(words) => return Ok(Told::Unreadable(words)),
        }
        let body = self.insist(|| archive::fetch(self.archive.as_ref(), &key, MOST_MANIFEST_BYTES)).await?;
        Ok(match body.map(|body| Manifest::read(&body)) {
            Ok(Ok(manifest)) => Told::Manifest(Box::new(manifest)),
            Ok(Err(error)) => Told::Unreadable(error.to_string()),
            Err(words) => Told::Unreadable(words),
        })
    }

    /// Asks the archive for something, a few times when it seems to be away. When it is there after all, what it says is
    /// about this object alone, and comes back in words.
    async fn insist<T, F: Future<Output = Result<T, ArchiveError>>>(
        &self,
        ask: impl Fn() -> F,
    ) -> Result<Result<T, String>, VerifyError> {
        let mut number = 1;
        loop {
            match ask().await {
                Ok(told) => return Ok(Ok(told)),
                Err(ArchiveError::Unavailable(_)) if number < TRIES => {
                    tokio::time::sleep(REST * number).await;
                    number += 1;
                }
                Err(error) => {
                    if matches!(error, ArchiveError::Unavailable(_)) {
                        self.archive.ping().await?;
                    }
                    return Ok(Err(error.to_string()));
                }
            }
        }
    }
}

/// A way through files that are to be verified.
pub struct Walk<'a> {
    verifier: &'a Verifier,
    selection: Selection,
    until: DateTime<Utc>,
    left: u64,
    after: Option<(DateTime<Utc>, FileId)>,
}

impl Walk<'_> {
    /// Looks at the next files, and writes down what it finds. `read` is told of bytes as they are read, `see` shown each
    /// file. `false` when there was none left.
    ///
    /// # Errors
    /// See [`VerifyError`].
    pub async fn next(&mut self, read: Read<'_>, see: See<'_>) -> Result<bool, VerifyError> {
        let limit = u32::try_from(self.left).unwrap_or(PAGE).min(PAGE);
        if limit == 0 {
            return Ok(false);
        }
        let Verifier { store, objects_at_once, .. } = self.verifier;
        let page = store.unverified(&self.selection, self.until, self.after, limit).await?;
        let Some(last) = page.last() else { return Ok(false) };
        self.after = Some((last.looked_at, last.file.id));
        self.left -= page.len() as u64;
        let recordings = by_recording(page).into_iter();
        let mut looked = stream::iter(recordings.map(|files| self.verifier.recording(files, read)))
            .buffer_unordered(*objects_at_once);
        while let Some(files) = looked.try_next().await? {
            files.iter().for_each(&mut *see);
        }
        Ok(true)
    }

    /// How many files are still to be looked at, at most.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left
    }
}

/// The files of each recording together: one look into its manifest is enough for all of them.
fn by_recording(page: Vec<Unverified>) -> Vec<Vec<Unverified>> {
    let mut recordings: Vec<Vec<Unverified>> = Vec::new();
    for file in page {
        let same = |files: &&mut Vec<Unverified>| files[0].file.recording_id == file.file.recording_id;
        match recordings.iter_mut().find(same) {
            Some(files) => files.push(file),
            None => recordings.push(vec![file]),
        }
    }
    recordings
}

/// Tells of what has changed; what was found before is in the record.
fn report(file: &FileRow, found: Option<&Found>) {
    let key = file.object_key.as_deref().unwrap_or_default();
    match (&file.found, found) {
        (before, Some(found)) if before.as_ref() != Some(found) => {
            let Found { finding, detail } = found;
            warn!(file.id = %file.id, object.key = key, %finding, detail, "an archived file is not as it was proven");
        }
        (Some(before), None) => {
            let finding = before.finding;
            tracing::info!(file.id = %file.id, object.key = key, %finding, "an archived file is as it was proven again");
        }
        _ => {}
    }
    let result = found.map_or("right", |found| FileFinding::as_str(found.finding));
    metrics::counter!("zoom_archiver_verified_files_total", "result" => result).increment(1);
}
