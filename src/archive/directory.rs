//! An archive that is a directory.
//!
//! Everything is written under `.staging` first, made durable there, and then appears under its key by a hard
//! link, which fails when the name is taken: no file is ever seen half written or written over. A staging
//! file's name begins with a hash of its key, so that any process can find what was left under a key.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, StreamExt};
use secrecy::SecretString;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use uuid::Uuid;

use super::exercise::{self, DOCTOR};
use super::location::is_plain_segment;
use super::marker;
use super::review::{review, review_body, review_part};
use super::walk::walk;
use super::{
    Archive, ArchiveError, MOST_UNFINISHED, NewObject, ObjectStream, Part, StoredObject, Unfinished, Upload,
    age,
};
use crate::domain::checksum::Crc64Nvme;
use crate::domain::file::Proof;
use crate::domain::finding::{Finding, Look, Subject};
use crate::domain::part::{MAX_PARTS, PartPlan};
use crate::domain::verification::ListedObject;

/// Where unfinished files lie, in the archive's root: on the same file system as what they become.
const STAGING: &str = ".staging";
const GIB: u64 = 1024 * 1024 * 1024;
/// Less free room than this is told.
const LITTLE_ROOM: u64 = 10 * GIB;
/// Bytes read at once when a file is read back.
const READ_BYTES: usize = 128 * 1024;
/// How long a staging file that another process holds is waited for: much longer than a part takes to be written.
const HOLD_PATIENCE: Duration = Duration::from_secs(10);
const HOLD_POLL: Duration = Duration::from_millis(20);

/// An archive that is a directory of this machine.
#[derive(Debug, Clone)]
pub struct DirectoryArchive {
    root: PathBuf,
    description: String,
    /// Bytes of the disk that no object takes.
    min_free: u64,
    /// The id that its marker must hold.
    expected: Arc<OnceLock<String>>,
}

impl DirectoryArchive {
    /// Opens the directory, making it where it is missing. Later calls never make it again: when it has gone,
    /// the disk is not mounted, and what is written to the mount point would be lost to sight.
    ///
    /// # Errors
    /// [`ArchiveError::Unavailable`] when it cannot be made.
    pub async fn open(root: &Path) -> Result<Self, ArchiveError> {
        let description = format!("file://{}", root.display());
        let archive = Self { root: root.to_owned(), description, min_free: 0, expected: Arc::default() };
        archive
            .run(|this| fs::create_dir_all(this.staging()).map_err(|error| this.failed("open", error)))
            .await?;
        Ok(archive)
    }

    /// The same, but so many bytes of its disk are left to others.
    #[must_use]
    pub fn keeping_free(self, min_free: u64) -> Self {
        Self { min_free, ..self }
    }

    /// Without its marker it is not there, however empty or full the directory is: it is not mounted.
    fn check_marker(&self) -> Result<(), ArchiveError> {
        let Some(expected) = self.expected.get() else { return Ok(()) };
        let found = fs::read(self.root.join(marker::KEY));
        let found = found.ok().and_then(|text| marker::id_in(&text));
        if found.as_ref() == Some(expected) {
            return Ok(());
        }
        let found = found.unwrap_or_else(|| "without a marker".to_owned());
        Err(ArchiveError::Unavailable(format!(
            "{} is {found}, and not archive {expected}: is it mounted?",
            self.description
        )))
    }

    /// Bytes that may still be written.
    fn room_now(&self) -> Result<u64, ArchiveError> {
        let disk = rustix::fs::statvfs(&self.root);
        let disk = disk.map_err(|error| self.failed("look for room in", error.into()))?;
        Ok(disk.f_bavail.saturating_mul(disk.f_frsize).saturating_sub(self.min_free))
    }

    /// Whether so many bytes fit.
    fn has_room_for(&self, bytes: u64) -> Result<(), ArchiveError> {
        let room = self.room_now()?;
        if bytes <= room {
            return Ok(());
        }
        Err(ArchiveError::NoRoom(format!(
            "{bytes} bytes do not fit into {}: {room} may be written (archive.min_free_bytes keeps {} free)",
            self.description, self.min_free
        )))
    }

    /// Runs blocking work on the threads kept for it.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, ArchiveError> + Send + 'static,
    ) -> Result<T, ArchiveError> {
        let this = self.clone();
        tokio::task::spawn_blocking(move || this.check_marker().and_then(|()| work(&this)))
            .await
            .unwrap_or_else(|error| Err(ArchiveError::Unavailable(format!("file work was stopped: {error}"))))
    }

    /// Reads up to `bytes` of an object from a position on.
    async fn read_from(&self, key: &str, start: u64, bytes: u64) -> Result<ObjectStream, ArchiveError> {
        if self.inspect(key).await?.is_none() {
            return Err(ArchiveError::Refused(format!("there is no object under {key}")));
        }
        let this = self.clone();
        let failed = |error| this.failed("read", error);
        let mut file = tokio::fs::File::open(self.path(key)?).await.map_err(failed)?;
        if start > 0 {
            file.seek(SeekFrom::Start(start)).await.map_err(failed)?;
        }
        let this = self.clone();
        let pieces = stream::try_unfold(file.take(bytes), move |mut file| {
            let this = this.clone();
            async move {
                let mut piece = BytesMut::with_capacity(READ_BYTES);
                match file.read_buf(&mut piece).await {
                    Ok(0) => Ok(None),
                    Ok(_) => Ok(Some((piece.freeze(), file))),
                    Err(error) => Err(this.failed("read", error)),
                }
            }
        });
        Ok(pieces.boxed())
    }

    fn staging(&self) -> PathBuf {
        self.root.join(STAGING)
    }

    /// Where the object under `key` lies.
    fn path(&self, key: &str) -> Result<PathBuf, ArchiveError> {
        if !key.split('/').all(is_plain_segment) {
            return Err(ArchiveError::Refused(format!(
                "`{}` is no key: it names no place below the root",
                key.escape_debug()
            )));
        }
        if key.split('/').next() == Some(STAGING) {
            return Err(ArchiveError::Refused(format!("keys under {STAGING}/ are the archive's own")));
        }
        Ok(self.root.join(key))
    }

    /// Where an upload's staging file lies. The id may come from a checkpoint, so it is checked to be one of
    /// this key's: a plain name that cannot lead anywhere else.
    fn staged(&self, upload: &Upload) -> Result<PathBuf, ArchiveError> {
        if is_staging_name(&upload.id) && upload.id.starts_with(&staging_prefix(&upload.key)) {
            return Ok(self.staging().join(&upload.id));
        }
        Err(ArchiveError::Refused("the upload's id is none of this archive's".to_owned()))
    }

    /// Makes an empty staging file that nobody else has.
    fn stage(&self, key: &str) -> Result<(Upload, File), ArchiveError> {
        self.path(key)?;
        let upload = Upload {
            key: key.to_owned(),
            id: format!("{}{}", staging_prefix(key), Uuid::now_v7().simple()),
            checksum: None,
        };
        let make = || {
            ensure_directory(&self.root, &self.staging())?;
            OpenOptions::new().write(true).create_new(true).open(self.staging().join(&upload.id))
        };
        let file = make().map_err(|error| self.failed("begin a file", error))?;
        Ok((upload, file))
    }

    /// Stages a whole body and makes it durable; nothing is left when that fails.
    fn stage_body(&self, key: &str, body: &[u8]) -> Result<Upload, ArchiveError> {
        let (upload, mut file) = self.stage(key)?;
        if let Err(error) = file.write_all(body).and_then(|()| file.sync_all()) {
            self.unstage(&upload);
            return Err(self.failed("write", error));
        }
        Ok(upload)
    }

    /// Removes a staging file that is of no use any more. What cannot be removed now is found by `abort_all`.
    fn unstage(&self, upload: &Upload) {
        if let Err(error) = fs::remove_file(self.staging().join(&upload.id)) {
            tracing::debug!(%error, key = upload.key, "a staging file stays behind");
        }
    }

    /// How much more it can hold.
    fn room(&self) -> Finding {
        match rustix::fs::statvfs(&self.root) {
            Err(error) => exercise::wrong(&self.failed("look for room in", error.into())),
            Ok(disk) => {
                let free = disk.f_bavail.saturating_mul(disk.f_frsize);
                let words = format!("{} has {} GiB free", self.description, free / GIB);
                match free {
                    0..LITTLE_ROOM => {
                        Finding::note(Subject::Archive, words, "make room, or mount a larger disk")
                    }
                    _ => Finding::well(Subject::Archive, words),
                }
            }
        }
    }

    fn put_now(&self, object: &NewObject, body: &[u8], proof: &Proof) -> Result<StoredObject, ArchiveError> {
        review_body(body, proof)?;
        self.has_room_for(body.len() as u64)?;
        let upload = self.stage_body(&object.key, body)?;
        let published = self.publish(&upload);
        self.unstage(&upload);
        published?;
        Ok(stored(proof.bytes))
    }

    fn put_part_now(
        &self,
        upload: &Upload,
        plan: PartPlan,
        number: u32,
        body: &[u8],
        crc64nvme: u64,
    ) -> Result<Part, ArchiveError> {
        review_part(plan, number, body)?;
        let path = self.staged(upload)?;
        self.has_room_for(body.len() as u64)?;
        let offset = plan.offset(number);
        let write = || {
            let mut file = OpenOptions::new().write(true).open(&path)?;
            hold(&file, &path, Hold::WithOthers, HOLD_PATIENCE)?;
            file.seek(SeekFrom::Start(offset))?;
            file.write_all(body)?;
            // A confirmed part stands in a checkpoint: it must survive a power cut as the checkpoint does.
            file.sync_data()
        };
        write().map_err(|error| self.upload_failed(upload, "write a part", error))?;
        Ok(part(plan, number, body.len() as u64, crc64nvme))
    }

    fn parts_now(&self, upload: &Upload, plan: PartPlan) -> Result<Vec<Part>, ArchiveError> {
        let path = self.staged(upload)?;
        let read = || {
            let mut file = File::open(&path)?;
            let mut parts = Vec::new();
            for number in (1..).take_while(|number| u64::from(*number) <= MAX_PARTS) {
                let piece = Piece::read(&mut file, plan.part_bytes)?;
                match piece.bytes {
                    0 => break,
                    // A hole: parts behind this one came before it.
                    _ if piece.is_blank => {}
                    bytes => parts.push(part(plan, number, bytes, piece.crc64nvme)),
                }
            }
            Ok(parts)
        };
        read().map_err(|error| self.upload_failed(upload, "read back", error))
    }

    fn complete_now(
        &self,
        upload: &Upload,
        parts: &[Part],
        proof: &Proof,
    ) -> Result<StoredObject, ArchiveError> {
        review_layout(&review(parts, proof)?)?;
        let path = self.staged(upload)?;
        // Held until the object is there and the staging name has gone.
        let _held = match self.seal(&path, proof.bytes) {
            Ok(file) => file,
            Err(Sealing::Failed(error)) if error.kind() == io::ErrorKind::NotFound => {
                return self.completed_before(upload, proof);
            }
            Err(Sealing::Failed(error)) => return Err(self.failed("complete a file", error)),
            Err(Sealing::Short(bytes)) => {
                return Err(ArchiveError::Mismatch(format!(
                    "the staging file holds {bytes} bytes, the file {}",
                    proof.bytes
                )));
            }
        };
        self.publish(upload)?;
        self.unstage(upload);
        Ok(stored(proof.bytes))
    }

    /// Brings a staging file to its length and makes it durable; nobody else writes to it while it is held. It may be
    /// longer when its last part was sent again and was shorter then.
    fn seal(&self, path: &Path, bytes: u64) -> Result<File, Sealing> {
        let file = OpenOptions::new().write(true).open(path)?;
        hold(&file, path, Hold::Alone, HOLD_PATIENCE)?;
        let held = file.metadata()?.len();
        if held < bytes {
            return Err(Sealing::Short(held));
        }
        if held > bytes {
            file.set_len(bytes)?;
        }
        file.sync_all()?;
        Ok(file)
    }

    /// The staging file has gone: either we completed the object ourselves and died before we could tell, or
    /// the upload is not known any more. What stands under the key tells.
    fn completed_before(&self, upload: &Upload, proof: &Proof) -> Result<StoredObject, ArchiveError> {
        let unknown = || ArchiveError::NoSuchUpload(upload.key.clone());
        let path = self.path(&upload.key)?;
        let found = fs::metadata(&path).map_err(|error| self.upload_failed(upload, "look", error))?;
        if !found.is_file() || found.len() != proof.bytes {
            return Err(unknown());
        }
        match file_crc(&path) {
            Ok(crc) if crc == proof.crc64nvme => Ok(stored(proof.bytes)),
            Ok(_) => Err(unknown()),
            Err(error) => Err(self.failed("read back", error)),
        }
    }

    /// Makes a durable staging file appear under its key, never over another.
    fn publish(&self, upload: &Upload) -> Result<(), ArchiveError> {
        let (from, to) = (self.staged(upload)?, self.path(&upload.key)?);
        let folder = to.parent().unwrap_or(&self.root);
        let appear = || {
            ensure_directory(&self.root, folder)?;
            appear(&from, &to)?;
            sync_directory(folder)
        };
        appear().map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => self.taken(&upload.key, &to),
            _ => self.failed("publish", error),
        })
    }

    /// Something stands where an object was to appear.
    fn taken(&self, key: &str, path: &Path) -> ArchiveError {
        if path.is_dir() {
            return ArchiveError::Refused(format!("`{key}` is a folder of this archive"));
        }
        ArchiveError::Exists(key.to_owned())
    }

    fn abort_now(&self, upload: &Upload) -> Result<(), ArchiveError> {
        let found_unfinished = upload.key.is_empty() && is_staging_name(&upload.id);
        let path = if found_unfinished { self.staging().join(&upload.id) } else { self.staged(upload)? };
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(self.failed("abort", error)),
            _ => self.check_root(),
        }
    }

    fn abort_all_now(&self, key: &str) -> Result<u64, ArchiveError> {
        self.path(key)?;
        let prefix = staging_prefix(key);
        let mut freed = 0;
        for name in self.staging_names()? {
            let name = name?;
            if !name.starts_with(&prefix) {
                continue;
            }
            match fs::remove_file(self.staging().join(name)) {
                Ok(()) => freed += 1,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(self.failed("abort", error)),
            }
        }
        Ok(freed)
    }

    fn unfinished_now(&self, older_than: Duration) -> Result<Vec<Unfinished>, ArchiveError> {
        let mut found = Vec::new();
        for name in self.staging_names()? {
            let id = name?;
            let written = match fs::metadata(self.staging().join(&id)).and_then(|file| file.modified()) {
                Ok(written) => written,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(self.failed("look at an unfinished file", error)),
            };
            let age = age(written.into());
            if age >= older_than {
                // Of the key, its name holds a hash alone.
                let upload = Upload { key: String::new(), id, checksum: None };
                found.push(Unfinished { upload, age });
            }
            if found.len() == MOST_UNFINISHED {
                break;
            }
        }
        Ok(found)
    }

    /// The names of all staging files; what else lies beside them is not ours.
    fn staging_names(&self) -> Result<impl Iterator<Item = Result<String, ArchiveError>>, ArchiveError> {
        self.check_root()?;
        let failed = |error| self.failed("look for unfinished files", error);
        let entries = match fs::read_dir(self.staging()) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            entries => Some(entries.map_err(failed)?),
        };
        let names = entries.into_iter().flatten().map(move |entry| entry.map(|entry| entry.file_name()));
        Ok(names.filter_map(move |name| match name {
            Ok(name) => name.into_string().ok().filter(|name| is_staging_name(name)).map(Ok),
            Err(error) => Some(Err(failed(error))),
        }))
    }

    fn replace_now(&self, object: &NewObject, body: &[u8]) -> Result<StoredObject, ArchiveError> {
        let to = self.path(&object.key)?;
        let upload = self.stage_body(&object.key, body)?;
        let folder = to.parent().unwrap_or(&self.root);
        let swap = || {
            ensure_directory(&self.root, folder)?;
            fs::rename(self.staging().join(&upload.id), &to)?;
            sync_directory(folder)
        };
        swap().map_err(|error| {
            self.unstage(&upload);
            self.failed("replace", error)
        })?;
        Ok(stored(body.len() as u64))
    }

    fn inspect_now(&self, key: &str) -> Result<Option<StoredObject>, ArchiveError> {
        match fs::metadata(self.path(key)?) {
            Ok(found) if found.is_file() => Ok(Some(stored(found.len()))),
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.check_root().map(|()| None),
            Err(error) => Err(self.failed("look", error)),
        }
    }

    /// Tells "nothing there" from "the archive is away".
    fn check_root(&self) -> Result<(), ArchiveError> {
        fs::read_dir(&self.root).map(drop).map_err(|error| self.failed("open", error))
    }

    fn upload_failed(&self, upload: &Upload, what: &str, error: io::Error) -> ArchiveError {
        match error.kind() {
            io::ErrorKind::NotFound if self.check_root().is_ok() => {
                ArchiveError::NoSuchUpload(upload.key.clone())
            }
            _ => self.failed(what, error),
        }
    }

    /// The decision in an error of the file system: the key's fault, or the archive's.
    fn failed(&self, what: &str, error: io::Error) -> ArchiveError {
        use io::ErrorKind::{AlreadyExists, InvalidFilename, InvalidInput, IsADirectory, NotADirectory};
        let hint = if self.root.is_dir() { "" } else { " (is it mounted?)" };
        let text = format!("{}: cannot {what}: {error}{hint}", self.description);
        match error.kind() {
            InvalidFilename | InvalidInput => ArchiveError::Refused(text),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ArchiveError::NoRoom(text),
            // A file where the key needs a folder, or the reverse; unless it is the root itself that changed.
            AlreadyExists | NotADirectory | IsADirectory if self.staging().is_dir() => {
                ArchiveError::Refused(text)
            }
            _ => ArchiveError::Unavailable(text),
        }
    }
}

#[async_trait]
impl Archive for DirectoryArchive {
    fn describe(&self) -> &str {
        &self.description
    }

    fn expect(&self, id: &str) {
        let _ = self.expected.set(id.to_owned());
    }

    fn may_be_unmounted(&self) -> bool {
        true
    }

    async fn room(&self) -> Result<Option<u64>, ArchiveError> {
        self.run(|this| this.room_now().map(Some)).await
    }

    async fn put(
        &self,
        object: &NewObject,
        body: Bytes,
        proof: &Proof,
    ) -> Result<StoredObject, ArchiveError> {
        let (object, proof) = (object.clone(), *proof);
        self.run(move |this| this.put_now(&object, &body, &proof)).await
    }

    async fn begin(&self, object: &NewObject) -> Result<Upload, ArchiveError> {
        let key = object.key.clone();
        self.run(move |this| {
            let (upload, _) = this.stage(&key)?;
            sync_directory(&this.staging()).map_err(|error| this.failed("begin a file", error))?;
            Ok(upload)
        })
        .await
    }

    async fn put_part(
        &self,
        upload: &Upload,
        plan: PartPlan,
        number: u32,
        body: Bytes,
        crc64nvme: u64,
    ) -> Result<Part, ArchiveError> {
        let upload = upload.clone();
        self.run(move |this| this.put_part_now(&upload, plan, number, &body, crc64nvme)).await
    }

    async fn parts(&self, upload: &Upload, plan: PartPlan) -> Result<Vec<Part>, ArchiveError> {
        let upload = upload.clone();
        self.run(move |this| this.parts_now(&upload, plan)).await
    }

    async fn complete(
        &self,
        upload: &Upload,
        parts: &[Part],
        proof: &Proof,
    ) -> Result<StoredObject, ArchiveError> {
        let (upload, parts, proof) = (upload.clone(), parts.to_vec(), *proof);
        self.run(move |this| this.complete_now(&upload, &parts, &proof)).await
    }

    async fn abort(&self, upload: &Upload) -> Result<(), ArchiveError> {
        let upload = upload.clone();
        self.run(move |this| this.abort_now(&upload)).await
    }

    async fn abort_all(&self, key: &str) -> Result<u64, ArchiveError> {
        let key = key.to_owned();
        self.run(move |this| this.abort_all_now(&key)).await
    }

    async fn unfinished(&self, older_than: Duration) -> Result<Vec<Unfinished>, ArchiveError> {
        self.run(move |this| this.unfinished_now(older_than)).await
    }

    async fn replace(&self, object: &NewObject, body: Bytes) -> Result<StoredObject, ArchiveError> {
        let object = object.clone();
        self.run(move |this| this.replace_now(&object, &body)).await
    }

    async fn inspect(&self, key: &str) -> Result<Option<StoredObject>, ArchiveError> {
        let key = key.to_owned();
        self.run(move |this| this.inspect_now(&key)).await
    }

    async fn read(&self, key: &str) -> Result<ObjectStream, ArchiveError> {
        self.read_from(key, 0, u64::MAX).await
    }

    async fn read_range(&self, key: &str, range: Range<u64>) -> Result<ObjectStream, ArchiveError> {
        self.read_from(key, range.start, range.end.saturating_sub(range.start)).await
    }

    /// A directory gives none.
    async fn link(
        &self,
        _key: &str,
        _disposition: &str,
        _valid: Duration,
    ) -> Result<Option<SecretString>, ArchiveError> {
        Ok(None)
    }

    async fn keys(&self, after: Option<&str>, limit: usize) -> Result<Vec<ListedObject>, ArchiveError> {
        let after = after.map(str::to_owned);
        self.run(move |this| {
            walk(&this.root, &[STAGING, DOCTOR, marker::FOLDER], after.as_deref(), limit)
                .map_err(|error| this.failed("list", error))
        })
        .await
    }

    async fn examine(&self, look: Look) -> Vec<Finding> {
        if let Err(error) = self.run(Self::check_root).await {
            return vec![exercise::out_of_reach(&error)];
        }
        let folder = exercise::new_folder();
        let mut findings = match look {
            Look::Whole => exercise::exercise(self, &folder).await,
            Look::Brief => exercise::glance(self, &folder).await,
        };
        findings.push(self.run(|this| Ok(this.room())).await.unwrap_or_else(|error| exercise::wrong(&error)));
        if look == Look::Brief {
            return findings;
        }
        let removed = self.run(|this| {
            fs::remove_dir_all(this.root.join(DOCTOR)).map_err(|error| this.failed("remove", error))
        });
        if let Err(error) = removed.await {
            let mend = format!("remove {DOCTOR} from the archive");
            findings.push(Finding::note(Subject::Archive, error.to_string(), mend));
        }
        findings
    }

    async fn ping(&self) -> Result<(), ArchiveError> {
        self.run(Self::check_root).await
    }
}

/// Why a staging file could not be sealed.
enum Sealing {
    Failed(io::Error),
    /// It holds fewer bytes than it should.
    Short(u64),
}

impl From<io::Error> for Sealing {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// How a staging file is held while something is done to it.
#[derive(Clone, Copy)]
enum Hold {
    /// By those who write parts of it.
    WithOthers,
    /// By the one who makes an object of it.
    Alone,
}

/// Holds a staging file until it is closed, and makes sure that it is still one: the object that becomes of it is the same
/// file, and must not be written to by a worker that was stopped before it wrote. A file that is not to be had (a
/// worker is stopped amid writing) counts as gone, so that another one is begun and nobody waits for what may never
/// end.
fn hold(file: &File, path: &Path, hold: Hold, patience: Duration) -> io::Result<()> {
    let give_up = Instant::now() + patience;
    loop {
        let held = match hold {
            Hold::WithOthers => file.try_lock_shared(),
            Hold::Alone => file.try_lock(),
        };
        match held {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if Instant::now() < give_up => thread::sleep(HOLD_POLL),
            Err(TryLockError::WouldBlock) => {
                return Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    "another process holds the staging file",
                ));
            }
            // There are file systems without locks: nothing is lost by trying.
            Err(TryLockError::Error(error)) => {
                tracing::debug!(%error, "the file system of the archive has no locks");
                break;
            }
        }
    }
    let (ours, there) = (file.metadata()?, fs::symlink_metadata(path)?);
    let is_there = (ours.dev(), ours.ino()) == (there.dev(), there.ino());
    // Two names: it is an object already, and whoever made it died before the staging name was removed.
    let is_object = matches!(hold, Hold::WithOthers) && ours.nlink() > 1;
    if is_there && !is_object { Ok(()) } else { Err(io::ErrorKind::NotFound.into()) }
}

/// What a part's tag says: where in the file it was written, so that a gap between parts is seen at completion.
struct PartTag {
    offset: u64,
    crc64nvme: u64,
}

impl std::fmt::Display for PartTag {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:x}-{:016x}", self.offset, self.crc64nvme)
    }
}

/// A part as this archive tells of it.
fn part(plan: PartPlan, number: u32, bytes: u64, crc64nvme: u64) -> Part {
    let etag = PartTag { offset: plan.offset(number), crc64nvme }.to_string();
    Part { number, bytes, etag, crc64nvme: Some(crc64nvme) }
}

/// Checks that every part was written where the one before it ends.
fn review_layout(parts: &[&Part]) -> Result<(), ArchiveError> {
    let mut offset = 0;
    for part in parts {
        let expected = part.crc64nvme.map(|crc64nvme| PartTag { offset, crc64nvme }.to_string());
        if expected.as_ref() != Some(&part.etag) {
            return Err(ArchiveError::Mismatch(format!(
                "part {} does not lie where part {} ends",
                part.number,
                part.number - 1
            )));
        }
        offset += part.bytes;
    }
    Ok(())
}

/// What the names of a key's staging files begin with.
fn staging_prefix(key: &str) -> String {
    format!("{}-", data_encoding::HEXLOWER.encode(&Sha256::digest(key.as_bytes())[..16]))
}

/// Whether a name is one that staging files have: a hash of the key, then random. Such a name leads nowhere else.
fn is_staging_name(name: &str) -> bool {
    let is_hex = |text: &str| text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit());
    name.split_once('-').is_some_and(|(key, random)| is_hex(key) && is_hex(random))
}

fn stored(bytes: u64) -> StoredObject {
    StoredObject { bytes, checksum: None, etag: None, version_id: None }
}

/// Makes `to` another name of the file `from`; fails when there is something under it. `from` may be gone
/// afterwards.
fn appear(from: &Path, to: &Path) -> io::Result<()> {
    use io::ErrorKind::{PermissionDenied, Unsupported};
    match fs::hard_link(from, to) {
        // Ours already: we died between the link and the removal of the staging name.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_same_file(from, to) => Ok(()),
        // FAT and several network file systems have no hard links (link(2): EPERM, EOPNOTSUPP).
        Err(error) if matches!(error.kind(), PermissionDenied | Unsupported) => rename_exclusive(from, to)
            .map_err(|second| match second.kind() {
                io::ErrorKind::AlreadyExists | PermissionDenied => second,
                _ => io::Error::new(
                    second.kind(),
                    format!(
                        "hard link: {error}; rename without replacing: {second}; use another file system"
                    ),
                ),
            }),
        result => result,
    }
}

#[cfg(any(target_os = "linux", target_vendor = "apple"))]
fn rename_exclusive(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
}

#[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
fn rename_exclusive(_: &Path, _: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    match (fs::symlink_metadata(one), fs::symlink_metadata(other)) {
        (Ok(one), Ok(other)) => (one.dev(), one.ino()) == (other.dev(), other.ino()),
        _ => false,
    }
}

/// Makes `folder` and its parents below `root`, each durable in the one above it. Never makes the root.
fn ensure_directory(root: &Path, folder: &Path) -> io::Result<()> {
    if folder == root || folder.is_dir() {
        return Ok(());
    }
    let parent = folder.parent().unwrap_or(root);
    ensure_directory(root, parent)?;
    match fs::create_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(io::Error::new(io::ErrorKind::NotADirectory, error))
        }
        Err(error) => Err(error),
        Ok(()) => sync_directory(parent),
    }
}

fn sync_directory(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// CRC-64/NVME of a file's content.
fn file_crc(path: &Path) -> io::Result<u64> {
    Ok(Piece::read(&mut File::open(path)?, u64::MAX)?.crc64nvme)
}

/// What was found in a piece of a file.
struct Piece {
    bytes: u64,
    crc64nvme: u64,
    /// Nothing but zeros, as what was never written reads.
    is_blank: bool,
}

impl Piece {
    /// Reads up to `limit` bytes from where the file stands.
    fn read(file: &mut File, limit: u64) -> io::Result<Self> {
        let mut buffer = vec![0; READ_BYTES];
        let mut from = file.take(limit);
        let (mut bytes, mut crc, mut is_blank) = (0, Crc64Nvme::new(), true);
        loop {
            let read = match from.read(&mut buffer)? {
                0 => return Ok(Self { bytes, crc64nvme: crc.value(), is_blank }),
                read => &buffer[..read],
            };
            bytes += read.len() as u64;
            crc.update(read);
            is_blank = is_blank && read.iter().all(|byte| *byte == 0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_hard_links_a_file_still_never_replaces_another() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::write(&from, "new").unwrap();
        rename_exclusive(&from, &to).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"new");

        fs::write(&from, "newer").unwrap();
        let error = rename_exclusive(&from, &to).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&to).unwrap(), b"new");
    }

    #[test]
    fn a_link_made_before_we_died_is_known_for_ours() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::write(&from, "content").unwrap();
        appear(&from, &to).unwrap();
        appear(&from, &to).unwrap();
        fs::remove_file(&from).unwrap();
        fs::write(&from, "content").unwrap();
        assert_eq!(appear(&from, &to).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn a_staging_file_that_somebody_writes_to_becomes_no_object() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("staging");
        let open = || OpenOptions::new().write(true).create(true).truncate(false).open(&path).unwrap();
        let (one, other, third) = (open(), open(), open());
        hold(&one, &path, Hold::WithOthers, Duration::ZERO).unwrap();
        hold(&other, &path, Hold::WithOthers, Duration::ZERO).unwrap();
        drop(one);
        let refused = hold(&third, &path, Hold::Alone, HOLD_POLL).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::NotFound);
        drop(other);
        hold(&third, &path, Hold::Alone, Duration::ZERO).unwrap();
    }

    #[test]
    fn a_writer_that_was_stopped_before_it_wrote_does_not_write_into_the_object() {
        let folder = tempfile::tempdir().unwrap();
        let (path, object) = (folder.path().join("staging"), folder.path().join("object"));
        fs::write(&path, "content").unwrap();
        let late = OpenOptions::new().write(true).open(&path).unwrap();
        appear(&path, &object).unwrap();
        fs::remove_file(&path).unwrap();
        let refused = hold(&late, &path, Hold::WithOthers, Duration::ZERO).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::NotFound);

        // Nor when its successor was killed before it could remove the staging name.
        drop(late);
        fs::hard_link(&object, &path).unwrap();
        let late = OpenOptions::new().write(true).open(&path).unwrap();
        hold(&late, &path, Hold::Alone, Duration::ZERO).unwrap();
        drop(late);
        let late = OpenOptions::new().write(true).open(&path).unwrap();
        let refused = hold(&late, &path, Hold::WithOthers, Duration::ZERO).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::NotFound);
    }
}
