//! Carries one file into the archive: opens it at Zoom, reads it into parts, hashes on the way, sends the
//! parts while reading on, reviews, and makes the object appear.
//!
//! A run that is interrupted starts the file over; what an earlier run left unfinished in the archive is given
//! up first.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::Jobs;
use super::buffers::{Buffer, Filled};
use super::checkpoint::TransferCheckpoint;
use crate::archive::{ArchiveError, NewObject, Part, StoredObject, Upload};
use crate::config::transfer::TransferConfig;
use crate::domain::checksum;
use crate::domain::file::{ArchivedFile, FileState, Proof, Sha256Digest};
use crate::domain::ids::FileId;
use crate::domain::job::{Completion, Job, Outcome, Task, WaitsFor};
use crate::domain::key::KeyInput;
use crate::domain::media::content_type;
use crate::domain::part::PartPlan;
use crate::store::TransferWork;
use crate::worker::JobContext;
use crate::zoom::download::Download;

/// Time to give up an unfinished upload when a run ends early. What is not done by then, the next run does.
const TIDY_UP: Duration = Duration::from_secs(3);

/// Runs a transfer.
pub async fn run(jobs: &Jobs, file: FileId, job: &Job, context: &JobContext) -> Outcome {
    let open_upload = OpenUpload::default();
    let outcome = tokio::select! {
        biased;
        () = context.stopped() => Outcome::Stopped,
        outcome = carry(jobs, file, job, context, &open_upload) => {
            outcome.unwrap_or_else(|early| early)
        }
    };
    if let Some(upload) = open_upload.take() {
        give_up(jobs, &upload).await;
    }
    outcome
}

/// The upload that must be given up when the run ends before it is complete.
#[derive(Debug, Default)]
struct OpenUpload(Mutex<Option<Upload>>);

impl OpenUpload {
    fn set(&self, upload: &Upload) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(upload.clone());
    }

    fn take(&self) -> Option<Upload> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

async fn give_up(jobs: &Jobs, upload: &Upload) {
    match tokio::time::timeout(TIDY_UP, jobs.archive.abort(upload)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(%error, "cannot give up the unfinished upload yet"),
        Err(_) => warn!("the archive is slow to give up the unfinished upload"),
    }
}

/// The transfer itself. Whatever ends it early is an `Err`.
async fn carry(
    jobs: &Jobs,
    file: FileId,
    job: &Job,
    context: &JobContext,
    open_upload: &OpenUpload,
) -> Result<Outcome, Outcome> {
    let Some(work) = jobs.store.transfer_work(file).await? else {
        return Err(Outcome::Dead { reason: "the file is not known any more".to_owned() });
    };
    if work.file.state == FileState::Archived {
        return Ok(done(jobs, &work, None));
    }
    let Some(url) = &work.download_url else {
        let reason = "Zoom announced no download URL yet".to_owned();
        return Err(Outcome::Park { waits_for: WaitsFor::Token, reason });
    };
    let key = place(jobs, &work).await?;
    let mut checkpoint = TransferCheckpoint::read(job.checkpoint.as_ref());
    clear_traces(jobs, job, &key, &mut checkpoint).await?;

    // Memory first: a connection that waits for it would be cut by the other side.
    let announced = work.file.announced_bytes;
    let first = take_buffer(jobs, context, first_part_bytes(announced, jobs.config.part_bytes)).await;
    let download = jobs.downloader.open(url, work.download_token.as_ref()).await?;
    let (expected, plan) = plan(download.length(), announced, &jobs.config)?;
    context.expect(expected.unwrap_or(0));
    let object =
        NewObject { key, content_type: content_type(&work.file.extension, download.head()).to_owned() };
    let mut carrier = Carrier {
        jobs,
        context,
        announced,
        checkpoint,
        plan,
        source: Source { download, rest: Bytes::new(), hasher: Sha256::new(), bytes: 0 },
    };
    let (proof, stored) = carrier.carry(&object, first, open_upload).await?;
    info!(
        file.id = %file, object.key = object.key, file.bytes = proof.bytes, file.sha256 = %proof.sha256,
        "archived"
    );
    metrics::counter!("zoom_archiver_archived_bytes_total").increment(proof.bytes);
    Ok(done(jobs, &work, Some(archived(&work, object, &proof, stored))))
}

fn archived(work: &TransferWork, object: NewObject, proof: &Proof, stored: StoredObject) -> ArchivedFile {
    let mark = work
        .file
        .announced_bytes
        .filter(|announced| *announced != proof.bytes)
        .map(|announced| format!("Zoom announced {announced} bytes and delivered {}", proof.bytes));
    ArchivedFile {
        object_key: object.key,
        bytes: proof.bytes,
        sha256: proof.sha256,
        content_type: object.content_type,
        store_checksum: stored.checksum,
        etag: stored.etag,
        version_id: stored.version_id,
        mark,
    }
}

fn done(jobs: &Jobs, work: &TransferWork, archived: Option<ArchivedFile>) -> Outcome {
    Outcome::Done(Box::new(Completion {
        archived: archived.map(|archived| (work.file.id, archived)),
        next: vec![(Task::Manifest(work.recording.id), jobs.config.manifest_delay())],
    }))
}

/// The key of the file's object: chosen once, then kept.
async fn place(jobs: &Jobs, work: &TransferWork) -> Result<String, Outcome> {
    if let Some(key) = &work.file.object_key {
        return Ok(key.clone());
    }
    let fallback = work.recording.start_time.unwrap_or(work.recording.announced_at);
    let recording_began = work.recording_began.unwrap_or(fallback);
    let input = KeyInput {
        recording: &work.recording.identity,
        topic: work.recording.topic.as_deref(),
        recording_began,
        file: &work.file.identity,
        file_type: &work.file.file_type,
        extension: &work.file.extension,
        file_began: work.file.recording_start.unwrap_or(recording_began),
    };
    let folder = jobs.template.folder(&input);
    let name = jobs.template.file_name(&input);
    Ok(jobs.store.place(work.file.id, &folder, &name).await?)
}

/// Gives up what an earlier run left unfinished: the upload it noted, and, when it may have died before noting
/// one, whatever is unfinished under the key.
async fn clear_traces(
    jobs: &Jobs,
    job: &Job,
    key: &str,
    checkpoint: &mut TransferCheckpoint,
) -> Result<(), Outcome> {
    if let Some((upload, _)) = checkpoint.upload.take() {
        jobs.archive.abort(&upload).await?;
    }
    let first_run = job.lease.token <= 1;
    if first_run {
        return Ok(());
    }
    match jobs.archive.abort_all(key).await {
        Ok(0) => Ok(()),
        Ok(found) => {
            info!(found, "gave up uploads that an earlier run had left");
            Ok(())
        }
        // It costs space until the bucket's lifecycle rule removes it, and nothing else.
        Err(ArchiveError::Refused(reason)) => {
            warn!(reason, "the store cannot list unfinished uploads; one may be left");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}

/// The length to expect, and parts that fit into our memory. A length that is merely announced and that no such
/// parts can hold counts as none: one odd number must not make us ask for memory that no machine has.
fn plan(
    declared: Option<u64>,
    announced: Option<u64>,
    config: &TransferConfig,
) -> Result<(Option<u64>, PartPlan), Outcome> {
    let of = |bytes| PartPlan::new(bytes, config.part_bytes);
    let fits = |plan: &PartPlan| plan.part_bytes <= config.memory_bytes;
    let expected = declared.or(announced.filter(|bytes| fits(&of(Some(*bytes)))));
    let plan = of(expected);
    if fits(&plan) {
        return Ok((expected, plan));
    }
    let reason = format!(
        "a file of {} bytes needs parts of {} bytes: set transfer.memory_bytes to as much or more, then retry",
        expected.unwrap_or(0),
        plan.part_bytes
    );
    Err(Outcome::Park { waits_for: WaitsFor::Person, reason })
}

/// Length of a file's first part: a file that is shorter than a part needs no more than its own length.
fn first_part_bytes(file_bytes: Option<u64>, part_bytes: u64) -> u64 {
    file_bytes.map_or(part_bytes, |bytes| bytes.min(part_bytes))
}

async fn take_buffer(jobs: &Jobs, context: &JobContext, bytes: u64) -> Buffer {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    jobs.buffers.take(bytes, || context.alive()).await
}

/// The bytes as they come in, and what is measured of them.
struct Source {
    download: Download,
    /// Read, but not yet in a part.
    rest: Bytes,
    hasher: Sha256,
    bytes: u64,
}

/// Reads one download into parts and sends them.
struct Carrier<'a> {
    jobs: &'a Jobs,
    context: &'a JobContext,
    announced: Option<u64>,
    checkpoint: TransferCheckpoint,
    plan: PartPlan,
    source: Source,
}

impl Carrier<'_> {
    async fn carry(
        &mut self,
        object: &NewObject,
        first: Buffer,
        open_upload: &OpenUpload,
    ) -> Result<(Proof, StoredObject), Outcome> {
        let offered = self.source.download.length();
        if let Some(offered) = offered {
            self.check_size(offered).await?;
        }
        let first = self.fitting(first, first_part_bytes(offered, self.plan.part_bytes)).await;
        let (first, more) = self.fill(first).await?;
        if !more {
            self.check_size(self.source.bytes).await?;
            return self.carry_whole(object, first).await;
        }
        let upload = self.jobs.archive.begin(object).await?;
        open_upload.set(&upload);
        self.checkpoint.upload = Some((upload.clone(), self.plan));
        self.context.checkpoint(&self.checkpoint.to_value()).await?;
        let parts = self.carry_parts(&upload, first).await?;
        self.check_size(self.source.bytes).await?;
        let proof = self.proof(parts.iter().map(|part| (part.crc64nvme, part.bytes)));
        // What follows cannot be undone by whoever holds the job after us.
        self.context.confirm_lease().await?;
        let stored = match self.jobs.archive.complete(&upload, &parts, &proof).await {
            Ok(stored) => {
                open_upload.take();
                stored
            }
            Err(ArchiveError::Exists(_)) => self.adopt(&object.key, &proof).await?,
            Err(error) => return Err(error.into()),
        };
        Ok((proof, stored))
    }

    /// A file of one part goes in one request.
    async fn carry_whole(
        &mut self,
        object: &NewObject,
        content: Filled,
    ) -> Result<(Proof, StoredObject), Outcome> {
        let bytes = content.bytes();
        let proof = self.proof([(checksum::crc64nvme(&bytes), bytes.len() as u64)]);
        self.context.confirm_lease().await?;
        match self.jobs.archive.put(object, bytes, &proof).await {
            Ok(stored) => Ok((proof, stored)),
            Err(ArchiveError::Exists(_)) => Ok((proof, self.adopt(&object.key, &proof).await?)),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads on while up to `parts_in_flight` parts are on their way.
    async fn carry_parts(&mut self, upload: &Upload, first: Filled) -> Result<Vec<Part>, Outcome> {
        let limit = self.jobs.config.parts_in_flight as usize;
        let mut on_their_way = JoinSet::new();
        let mut parts: Vec<Part> = Vec::new();
        let mut next = Some((first, true));
        let mut number = 0;
        while let Some((content, more)) = next {
            number += 1;
            while on_their_way.len() >= limit {
                parts.extend(arrived(&mut on_their_way).await?);
            }
            on_their_way.spawn(self.send_part(upload, number, content));
            next = if more { Some(self.read_part().await?) } else { None };
        }
        while !on_their_way.is_empty() {
            parts.extend(arrived(&mut on_their_way).await?);
        }
        parts.sort_unstable_by_key(|part| part.number);
        Ok(parts)
    }

    fn send_part(
        &self,
        upload: &Upload,
        number: u32,
        content: Filled,
    ) -> impl Future<Output = Result<Part, ArchiveError>> + use<> {
        let archive = self.jobs.archive.clone();
        let context = self.context.clone();
        let (upload, plan) = (upload.clone(), self.plan);
        async move {
            let part = archive.put_part(&upload, plan, number, content.bytes()).await;
            context.alive();
            drop(content);
            part
        }
    }

    /// The buffer, when it has the length that turned out to be needed, else another one.
    async fn fitting(&self, buffer: Buffer, bytes: u64) -> Buffer {
        if buffer.limit() as u64 == bytes {
            return buffer;
        }
        drop(buffer);
        take_buffer(self.jobs, self.context, bytes).await
    }

    /// Fills another part, and says whether more follows.
    async fn read_part(&mut self) -> Result<(Filled, bool), Outcome> {
        let buffer = take_buffer(self.jobs, self.context, self.plan.part_bytes).await;
        self.fill(buffer).await
    }

    async fn fill(&mut self, mut buffer: Buffer) -> Result<(Filled, bool), Outcome> {
        loop {
            self.take_rest(&mut buffer);
            if !self.source.rest.is_empty() {
                return Ok((buffer.freeze(), true));
            }
            match self.source.download.next().await? {
                Some(chunk) => self.source.rest = chunk,
                None => return Ok((buffer.freeze(), false)),
            }
        }
    }

    fn take_rest(&mut self, buffer: &mut Buffer) {
        let before = buffer.content().len();
        buffer.fill(&mut self.source.rest);
        let taken = &buffer.content()[before..];
        self.source.hasher.update(taken);
        self.source.bytes += taken.len() as u64;
        self.context.advance(taken.len() as u64);
    }

    /// A size other than the announced one is noted, and the file asked for once more; seen again, it is
    /// believed, and the file will be marked.
    async fn check_size(&mut self, bytes: u64) -> Result<(), Outcome> {
        let Some(announced) = self.announced.filter(|announced| *announced != bytes) else {
            return Ok(());
        };
        if self.checkpoint.odd_size == Some(bytes) {
            return Ok(());
        }
        self.checkpoint.odd_size = Some(bytes);
        self.context.note(&self.checkpoint.to_value()).await?;
        let reason = format!("Zoom announced {announced} bytes and delivers {bytes}; asking once more");
        Err(Outcome::Retry { reason, after: None, whole_account: false })
    }

    /// What was measured, with the CRC put together from those of the parts.
    fn proof(&self, parts: impl IntoIterator<Item = (u64, u64)>) -> Proof {
        let crc64nvme = parts
            .into_iter()
            .reduce(|(crc, length), (next, next_length)| {
                (checksum::combine(crc, next, next_length), length + next_length)
            })
            .map_or_else(|| checksum::crc64nvme(b""), |(crc, _)| crc);
        Proof {
            bytes: self.source.bytes,
            sha256: Sha256Digest(self.source.hasher.clone().finalize().into()),
            crc64nvme,
        }
    }

    /// There is an object under our key already: an earlier run may have completed it without living to say so.
    /// It is ours when it holds the very same bytes; anything else is for a person to judge.
    async fn adopt(&self, key: &str, proof: &Proof) -> Result<StoredObject, Outcome> {
        let foreign = |what: &str| Outcome::Park {
            waits_for: WaitsFor::Person,
            reason: format!(
                "another object lies under {key} ({what}); it is left untouched: move it away, then retry"
            ),
        };
        let Some(there) = self.jobs.archive.inspect(key).await? else {
            let reason = format!("the object under {key} has come and gone");
            return Err(Outcome::Retry { reason, after: None, whole_account: false });
        };
        if there.bytes != proof.bytes {
            return Err(foreign(&format!("{} bytes, not {}", there.bytes, proof.bytes)));
        }
        if self.digest_of(key).await? != proof.sha256 {
            return Err(foreign("another SHA-256"));
        }
        info!(object.key = key, "the object was there already, with the very same bytes");
        Ok(there)
    }

    async fn digest_of(&self, key: &str) -> Result<Sha256Digest, Outcome> {
        use futures_util::TryStreamExt;
        let mut content = self.jobs.archive.read(key).await?;
        let mut hasher = Sha256::new();
        while let Some(chunk) = content.try_next().await? {
            hasher.update(&chunk);
            self.context.alive();
        }
        Ok(Sha256Digest(hasher.finalize().into()))
    }
}

/// The next part that has arrived.
async fn arrived(on_their_way: &mut JoinSet<Result<Part, ArchiveError>>) -> Result<Option<Part>, Outcome> {
    match on_their_way.join_next().await {
        None => Ok(None),
        Some(Ok(part)) => Ok(Some(part?)),
        Some(Err(error)) => Err(Outcome::Retry {
            reason: format!("sending a part failed: {error}"),
            after: None,
            whole_account: false,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn config() -> TransferConfig {
        TransferConfig {
            part_bytes: 8 * MIB,
            parts_in_flight: 3,
            memory_bytes: 48 * MIB,
            stall_secs: 60,
            manifest_delay_ms: 0,
        }
    }

    #[test]
    fn an_announced_length_that_no_memory_holds_counts_as_none() {
        let (expected, plan) = plan(None, Some(i64::MAX.unsigned_abs()), &config()).unwrap();
        assert_eq!((expected, plan), (None, PartPlan::new(None, 8 * MIB)));
    }

    #[test]
    fn a_file_whose_parts_do_not_fit_into_memory_is_parked_with_what_to_do() {
        let Err(Outcome::Park { waits_for, reason }) = plan(Some(u64::MAX - 2), Some(3), &config()) else {
            panic!("it was planned")
        };
        assert_eq!(waits_for, WaitsFor::Person);
        assert!(reason.contains("transfer.memory_bytes"), "{reason}");
    }
}
