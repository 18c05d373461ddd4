//! Carries one file into the archive: opens it at Zoom, fetches it part by part, hashes on the way, sends the
//! parts while others are fetched, reviews, and makes the object appear.
//!
//! A run that is interrupted leaves a checkpoint, and the next one, on whatever machine, goes on from there.
//!
//! - `inline`: a file that came with its event, and needs no download
//! - `access`: where the file is and what opens it; a fresh token from Zoom's API when the old one has expired
//! - `resume`: what an earlier run has left
//! - `lane`: fetches parts, by one stream or by several ranges at once
//! - `pipeline`: the parts on their way
//! - `finish`: doubts, the object, the row
//! - `room`: whether the file fits into the archive
//! - `replace`: a file that has an object, and is fetched again because of a warning
//! - `unnamed`: a file of which Zoom has not said yet what it is
//! - `checkpoint`: what is left for the next run

mod access;
mod checkpoint;
pub(super) mod finish;
mod inline;
mod lane;
mod pipeline;
mod replace;
mod resume;
mod room;
mod unnamed;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;
use tracing::{Instrument, Span, info, info_span};

use self::access::Access;
use self::checkpoint::{Begun, Measured, TransferCheckpoint};
use self::lane::{FetchError, Fetched, Lane, Source};
use self::pipeline::{Pipeline, Ready};
use self::resume::Left;
use super::Jobs;
use super::buffers::{Buffer, Buffers};
use crate::archive::{ArchiveError, NewObject, Part, StoredObject, Upload};
use crate::config::transfer::TransferConfig;
use crate::domain::fact::facts;
use crate::domain::file::{FileState, Proof};
use crate::domain::ids::FileId;
use crate::domain::job::{Job, Outcome, WaitsFor};
use crate::domain::key::KeyInput;
use crate::domain::media::content_type;
use crate::domain::part::{MAX_PARTS, PartPlan};
use crate::store::{StoreError, TransferWork};
use crate::worker::JobContext;
use crate::zoom::download::{Download, DownloadError, Piece, Version};

/// The upload that the checkpoint of a transfer names, if any.
#[must_use]
pub fn upload_in(checkpoint: &Value) -> Option<Upload> {
    TransferCheckpoint::read(Some(checkpoint)).upload.map(|begun| begun.upload)
}

/// Times that one run lets Zoom send the file from its start again.
const MAX_RESTARTS: usize = 3;

/// Runs a transfer.
pub async fn run(jobs: &Jobs, file: FileId, job: &Job, context: &JobContext) -> Outcome {
    tokio::select! {
        biased;
        () = context.stopped() => Outcome::Stopped,
        outcome = carry(jobs, file, job, context) => outcome.unwrap_or_else(|early| early),
    }
}

/// Uploads of one file that are given up before a person is asked.
const MOST_GIVEN_UP: u32 = 5;
/// The API's own bearer tokens that are tried for one file, one after the other, in one run.
const MOST_REFUSED_BEARERS: usize = 5;
/// Rest before the second of them, about; so much longer before each further one.
const BEARER_REST: Duration = Duration::from_millis(200);
/// How often a run that waits for something of ours says that it lives.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// Why a run ends before the file is in the archive.
#[derive(Debug)]
enum Ended {
    /// Something at Zoom; a fresh token may help.
    Zoom(DownloadError),
    /// Zoom sends the file from its start, and this is the answer: it is read instead.
    FromStart(Box<Download>),
    /// The archive does not know the upload any more, or holds something else than was sent: another one must
    /// begin.
    UploadLost(String),
    /// The file does not fit into the archive.
    NoRoom(String),
    /// Fetched again, the file is what its present object holds already.
    Unchanged,
    /// Anything else, decided already.
    Otherwise(Outcome),
}

impl From<DownloadError> for Ended {
    fn from(error: DownloadError) -> Self {
        Self::Zoom(error)
    }
}

impl From<FetchError> for Ended {
    fn from(error: FetchError) -> Self {
        match error {
            FetchError::Zoom(error) => Self::Zoom(error),
            FetchError::FromStart(download) => Self::FromStart(download),
        }
    }
}

impl From<ArchiveError> for Ended {
    fn from(error: ArchiveError) -> Self {
        match error {
            ArchiveError::NoSuchUpload(_) => Self::UploadLost(error.to_string()),
            ArchiveError::NoRoom(reason) => Self::NoRoom(reason),
            other => Self::Otherwise(other.into()),
        }
    }
}

impl From<StoreError> for Ended {
    fn from(error: StoreError) -> Self {
        Self::Otherwise(error.into())
    }
}

impl From<Outcome> for Ended {
    fn from(outcome: Outcome) -> Self {
        Self::Otherwise(outcome)
    }
}

/// The transfer, once more with fresh access when the first try shows that the old one has expired. Whatever ends
/// it early is an `Err`.
async fn carry(jobs: &Jobs, file: FileId, job: &Job, context: &JobContext) -> Result<Outcome, Outcome> {
    let Some(work) = jobs.store.transfer_work(file).await? else {
        return Err(Outcome::Dead { reason: "the file is not known any more".to_owned() });
    };
    if work.file.state == FileState::Archived {
        return Ok(finish::done(jobs, &work, None));
    }
    Span::current().record("recording.id", tracing::field::display(work.recording.id));
    let outcome = fetch(jobs, work.clone(), job, context).await;
    outcome.map_err(|early| replace::or_keep(jobs, job, &work, early))
}

/// Fetches a file that is not in the archive.
async fn fetch(jobs: &Jobs, work: TransferWork, job: &Job, context: &JobContext) -> Result<Outcome, Outcome> {
    let mut work = unnamed::typed(jobs, context, work).await?;
    let key = place(jobs, &work).await?;
    if let Some(content) = work.content.clone() {
        return inline::carry(jobs, context, &work, key, content).await;
    }
    let mut checkpoint = TransferCheckpoint::read(job.checkpoint.as_ref());
    let (mut is_fresh, mut refused_bearers) = (false, Vec::new());
    loop {
        let checkpoint = &mut checkpoint;
        let refused = refused_bearers.last().cloned();
        let mut transfer =
            Transfer { jobs, context, job, key: &key, work: &work, checkpoint, refused, bearer: None };
        let ended = match transfer.attempt().await {
            Ok((proof, stored, content_type)) => {
                let archived = finish::archived(&work, key, content_type, &proof, stored, checkpoint);
                return Ok(finish::done(jobs, &work, Some(archived)));
            }
            Err(ended) => ended,
        };
        let bearer = transfer.bearer.take();
        match ended {
            Ended::Zoom(error) if !is_fresh && access::may_help(&error) => {
                match access::refresh(jobs, context, &work, error).await {
                    Ok(fresh) => work = fresh,
                    Err(gone @ Outcome::Gone { .. }) => {
                        context.confirm_lease().await?;
                        if let Some(begun) = &checkpoint.upload {
                            jobs.archive.abort(&begun.upload).await?;
                        }
                        return Err(unless_it_is_there(jobs, &key, gone).await?);
                    }
                    Err(outcome) => return Err(outcome),
                }
                is_fresh = true;
            }
            // Another process that fetches tokens for the same app puts ours out of force, as we do its: the next one may be
            // good. In the end it is the right that is missing.
            Ended::Zoom(error @ DownloadError::Expired(_)) if bearer.is_some() => {
                if refused_bearers.len() >= MOST_REFUSED_BEARERS {
                    return Err(access::refused_bearer(jobs, &work, &error, bearer.as_ref()).await);
                }
                let rest = BEARER_REST * u32::try_from(refused_bearers.len()).unwrap_or(u32::MAX);
                alive_while(context, tokio::time::sleep(rest.mul_f64(rand::random_range(0.5..1.5)))).await;
                refused_bearers.extend(bearer);
            }
            Ended::Zoom(error @ DownloadError::Expired(_)) if is_fresh && work.download_token.is_none() => {
                return Err(access::unsent_bearer(&work, &error));
            }
            // Not parked: what would wake it has just come, and did not help.
            Ended::Zoom(error @ (DownloadError::Expired(_) | DownloadError::NoUrl)) if is_fresh => {
                super::count_failure("zoom", error.class());
                let reason = format!("{error}, although it has just given one");
                return Err(Outcome::retry(reason));
            }
            Ended::Zoom(error @ DownloadError::TooLarge { .. }) => {
                give_up_upload(jobs, context, checkpoint).await?;
                return Err(error.into());
            }
            Ended::Zoom(error) => return Err(error.into()),
            Ended::UploadLost(reason) => return Err(transfer.start_over(reason).await?),
            Ended::NoRoom(reason) => {
                super::count_failure("archive", "no_room");
                give_up_upload(jobs, context, checkpoint).await?;
                return Err(room::wait(reason));
            }
            Ended::Unchanged => {
                return replace::keep_unchanged(jobs, &work).ok_or_else(|| Outcome::retry("nothing to keep"));
            }
            // `run` has dealt with it.
            Ended::FromStart(_) => return Err(Outcome::retry("the file begins again".to_owned())),
            Ended::Otherwise(outcome) => return Err(outcome),
        }
    }
}

/// Gives up what has been written so far: the next run begins anew.
async fn give_up_upload(
    jobs: &Jobs,
    context: &JobContext,
    checkpoint: &mut TransferCheckpoint,
) -> Result<(), Outcome> {
    context.confirm_lease().await?;
    if let Some(begun) = checkpoint.upload.take() {
        context.note(&checkpoint.to_value()).await?;
        jobs.archive.abort(&begun.upload).await?;
    }
    Ok(())
}

/// A run that did not live to say so may have archived the file before Zoom let go of it: that is for a person to see.
async fn unless_it_is_there(jobs: &Jobs, key: &str, gone: Outcome) -> Result<Outcome, Outcome> {
    if jobs.archive.inspect(key).await?.is_none() {
        return Ok(gone);
    }
    let reason =
        format!("Zoom has the file no more, but an object lies under {key}: look at it; it may be the file");
    Ok(Outcome::Park { waits_for: WaitsFor::Person, reason })
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
        recording_type: &work.file.recording_type,
        file_type: &work.file.file_type,
        extension: &work.file.extension,
        file_began: work.file.recording_start.unwrap_or(recording_began),
    };
    let folder = jobs.template.folder(&input);
    let name = jobs.template.file_name(&input);
    Ok(jobs.store.place(work.file.id, &folder, &name).await?)
}

/// One try at one file.
struct Transfer<'a> {
    jobs: &'a Jobs,
    context: &'a JobContext,
    job: &'a Job,
    key: &'a str,
    work: &'a TransferWork,
    checkpoint: &'a mut TransferCheckpoint,
    /// The API's own bearer token that was refused last.
    refused: Option<SecretString>,
    /// The one that was used.
    bearer: Option<SecretString>,
}

/// What a try ends with: the proof, the object as the archive describes it, and its media type.
type Carried = (Proof, StoredObject, String);

impl Transfer<'_> {
    /// What is whole in the archive is finished; everything else needs Zoom.
    async fn attempt(&mut self) -> Result<Carried, Ended> {
        let is_whole = self.checkpoint.upload.as_ref().is_some_and(|begun| begun.measured.whole);
        if is_whole && let Some(carried) = self.finish_whole().await? {
            return Ok(carried);
        }
        let _reserved = room::reserve(self.jobs, self.work, self.checkpoint).await?;
        let access = access::open(self.jobs, self.work, self.refused.as_ref()).await?;
        self.bearer.clone_from(&access.bearer);
        self.run(access).await
    }

    /// The object of an upload that holds the whole file, if it can be had without asking Zoom.
    async fn finish_whole(&mut self) -> Result<Option<Carried>, Ended> {
        match resume::look(self.jobs, self.job, self.context, self.key, self.checkpoint).await? {
            Left::Upload(begun, held) => {
                // What lies behind the end comes from a version of the file that was longer.
                let parts = held.into_values().take(begun.measured.parts as usize).collect();
                self.complete(begun, parts).instrument(info_span!("complete")).await.map(Some)
            }
            Left::Whole(begun) => self.recognise(&begun).await,
            Left::Nothing => Ok(None),
        }
    }

    /// Goes on with what is left, from where Zoom lets it: from the start where Zoom insists on that.
    async fn run(&mut self, access: Access) -> Result<Carried, Ended> {
        let mut opened = None;
        for restart in 0..=MAX_RESTARTS {
            match self.go(&access, opened.take()).await {
                // What has been fetched is not fetched again for the sake of a condition that this server does not understand.
                Err(Ended::FromStart(_)) if restart > 0 && access.remote.ask_unconditionally() => {
                    info!(object.key = self.key, "asking for the rest of the file without If-Range");
                }
                Err(Ended::FromStart(download)) => {
                    info!(object.key = self.key, "Zoom sends the file from its start again");
                    opened = Some(*download);
                }
                ended => return ended,
            }
        }
        Err(DownloadError::NoRanges("it began again and again".to_owned()).into())
    }

    async fn go(&mut self, access: &Access, opened: Option<Download>) -> Result<Carried, Ended> {
        let left = resume::look(self.jobs, self.job, self.context, self.key, self.checkpoint).await?;
        let (begun, held) = match left {
            Left::Upload(begun, held) => (Some(begun), held),
            Left::Whole(_) | Left::Nothing => (None, BTreeMap::new()),
        };
        // Memory before the connection: one that waits for it would be cut by the other side.
        let announced = self.work.file.announced_bytes;
        let wanted = match &begun {
            Some(begun) => begun.plan.part_bytes,
            None => first_part_bytes(announced, &self.jobs.config),
        };
        let buffer = take_buffer(&self.jobs.buffers, self.context, wanted).await;
        let download = match opened {
            Some(download) => download,
            None => self.open(access, begun.as_ref(), wanted).instrument(info_span!("open")).await?,
        };
        match begun {
            Some(begun) => self.go_on(access, begun, held, buffer, download).await,
            None => self.start(access, buffer, download).await,
        }
    }

    /// Opens the file where it is to go on, or its first piece.
    async fn open(&self, access: &Access, begun: Option<&Begun>, part_bytes: u64) -> Result<Download, Ended> {
        let (from, version) = match begun {
            Some(begun) => (begun.measured.bytes, begun.version.clone()),
            None => (0, Version::default()),
        };
        let length = version.length.or(self.work.file.announced_bytes);
        let several = self.jobs.config.ranges() > 1
            && length.is_some_and(|length| length.saturating_sub(from) > part_bytes);
        let piece = Piece { from, to: several.then_some(from + part_bytes) };
        let downloader = &self.jobs.downloader;
        match downloader.open(&access.remote, piece, &version).await {
            Err(DownloadError::NoRanges(_) | DownloadError::Changed(_) | DownloadError::BeyondEnd { .. })
                if piece != Piece::WHOLE =>
            {
                Ok(downloader.open(&access.remote, Piece::WHOLE, &Version::default()).await?)
            }
            opened => Ok(opened?),
        }
    }

    /// A file of which nothing is in the archive yet.
    async fn start(&mut self, access: &Access, buffer: Buffer, first: Download) -> Result<Carried, Ended> {
        let first = self.undivided(access, first).await?;
        let version = first.version();
        let (limit, key) = self.limit();
        if version.length.is_some_and(|length| length > limit) {
            return Err(DownloadError::TooLarge { limit, key }.into());
        }
        let (expected, plan) = plan(version.length, self.work.file.announced_bytes, &self.jobs.config)?;
        self.context.expect(expected.unwrap_or(0));
        let first = self.of_expected_size(first, version.length).await?;
        let mut lanes = self.lanes(access, first, version.clone());
        let wanted = version.length.map_or(plan.part_bytes, |bytes| bytes.min(plan.part_bytes));
        let buffer = fitting(self.jobs, self.context, buffer, wanted).await;
        let (first_lane, _) = lanes.split_last_mut().expect("there is one lane at least");
        let fetched = first_lane.fetch(buffer, 0).await?;
        let object = self.object(&fetched.content);
        if fetched.last {
            return self.put(object, &fetched).instrument(info_span!("complete")).await;
        }
        let upload = self.jobs.archive.begin(&object).await?;
        let begun = Begun::new(upload, plan, version, &self.work.file.extension, object.content_type);
        self.checkpoint.upload = Some(begun.clone());
        self.context.note(&self.checkpoint.to_value()).await?;
        self.carry_parts(begun, BTreeMap::new(), lanes, Ready::Part(fetched)).await
    }

    /// The whole file in place of its first piece, where nothing would tell whether the others are of the same version: one
    /// answer is of one.
    async fn undivided(&self, access: &Access, first: Download) -> Result<Download, Ended> {
        let version = first.version();
        if !first.is_piece() || version.length.is_none() || version.has_validator() {
            return Ok(first);
        }
        drop(first);
        Ok(self.jobs.downloader.open(&access.remote, Piece::WHOLE, &Version::default()).await?)
    }

    /// A file that is in the archive in part.
    async fn go_on(
        &mut self,
        access: &Access,
        mut begun: Begun,
        held: BTreeMap<u32, Part>,
        buffer: Buffer,
        first: Download,
    ) -> Result<Carried, Ended> {
        let version = first.version();
        self.context.expect(version.length.unwrap_or(0));
        if first.offset() == 0 {
            begun.rewind(version);
        } else {
            begun.version.length = version.length.or(begun.version.length);
            self.context.advance(begun.measured.bytes);
        }
        let does_not_fit = |length: u64| length.div_ceil(begun.plan.part_bytes) > MAX_PARTS;
        if begun.version.length.is_some_and(does_not_fit) {
            return Err(Ended::UploadLost(
                "the file has grown beyond the parts it was planned in".to_owned(),
            ));
        }
        let first = self.of_expected_size(first, begun.version.length).await?;
        let lanes = self.lanes(access, first, begun.version.clone());
        self.carry_parts(begun, held, lanes, Ready::Buffer(buffer)).await
    }

    /// The download again, unless its length is one to be asked for once more. Then it is let go first: while the
    /// size is noted nobody reads, and what Zoom went on sending would be for nothing.
    async fn of_expected_size(&mut self, first: Download, length: Option<u64>) -> Result<Download, Ended> {
        let announced = self.work.file.announced_bytes;
        match length.filter(|length| finish::is_odd(&self.jobs.config, announced, *length, self.checkpoint)) {
            None => Ok(first),
            Some(length) => {
                drop(first);
                Err(finish::ask_for_odd_size(self.jobs, self.context, announced, length, self.checkpoint)
                    .await)
            }
        }
    }

    async fn carry_parts(
        &mut self,
        begun: Begun,
        held: BTreeMap<u32, Part>,
        lanes: Vec<Lane>,
        ready: Ready,
    ) -> Result<Carried, Ended> {
        let pipeline = Pipeline::new(self.jobs, self.context, self.checkpoint, begun, held, lanes);
        let (begun, parts) = pipeline.run(ready).instrument(info_span!("parts")).await?;
        self.complete(begun, parts).instrument(info_span!("complete")).await
    }

    /// The lanes that fetch this file; the last one goes on with `first`.
    fn lanes(&self, access: &Access, first: Download, version: Version) -> Vec<Lane> {
        let several = self.jobs.config.ranges();
        // Where it ends is known, and each answer says of which version it is.
        let by_part = several > 1 && first.is_piece() && version.length.is_some() && version.has_validator();
        let source = Arc::new(Source {
            downloader: self.jobs.downloader.clone(),
            remote: Arc::clone(&access.remote),
            version,
            by_part,
            limit: self.limit(),
            throttle: self.jobs.throttle.clone(),
            context: self.context.clone(),
        });
        let more = if by_part { several - 1 } else { 0 };
        let mut lanes: Vec<Lane> = (0..more).map(|_| Lane::new(Arc::clone(&source), None)).collect();
        lanes.push(Lane::new(source, Some(first)));
        lanes
    }

    /// Most bytes that the file may have: by the announced size, which may be wrong, or else by the setting.
    fn limit(&self) -> (u64, &'static str) {
        let config = &self.jobs.config;
        match self.work.file.announced_bytes {
            Some(announced) => (config.limit_for(announced), "transfer.size_limit_percent"),
            None => (config.max_file_bytes, "transfer.max_file_bytes"),
        }
    }

    /// A file of one part goes in one request.
    async fn put(&mut self, object: NewObject, fetched: &Fetched) -> Result<Carried, Ended> {
        let content = fetched.content.clone();
        let mut measured = Measured::new(&self.work.file.extension);
        measured.add(&content, fetched.crc64nvme, true);
        self.judge(&measured).await?;
        let proof = measured.proof();
        if replace::is_unchanged(self.work, &proof) {
            return Err(Ended::Unchanged);
        }
        self.context.confirm_lease().await?;
        let stored = match self.jobs.archive.put(&object, content, &proof).await {
            Err(ArchiveError::Exists(_)) => {
                finish::adopt(self.jobs, self.context, &object.key, &proof).await?
            }
            stored => stored?,
        };
        Ok((proof, stored, object.content_type))
    }

    /// All parts are in the archive: the object appears.
    async fn complete(&mut self, begun: Begun, parts: Vec<Part>) -> Result<Carried, Ended> {
        self.judge(&begun.measured).await?;
        let proof = begun.measured.proof();
        // What follows cannot be undone by whoever holds the job after us.
        self.context.confirm_lease().await?;
        if replace::is_unchanged(self.work, &proof) {
            self.jobs.archive.abort(&begun.upload).await?;
            return Err(Ended::Unchanged);
        }
        let stored = match self.jobs.archive.complete(&begun.upload, &parts, &proof).await {
            Ok(stored) => stored,
            Err(ArchiveError::Exists(_)) => {
                let stored = finish::adopt(self.jobs, self.context, self.key, &proof).await?;
                self.context.confirm_lease().await?;
                self.jobs.archive.abort(&begun.upload).await?;
                stored
            }
            Err(error @ ArchiveError::Mismatch(_)) => {
                self.context.confirm_lease().await?;
                self.jobs.archive.abort(&begun.upload).await?;
                return Err(Ended::UploadLost(error.to_string()));
            }
            Err(error) => return Err(error.into()),
        };
        Ok((proof, stored, begun.content_type))
    }

    /// An upload that was whole has gone: perhaps its object is there.
    async fn recognise(&mut self, begun: &Begun) -> Result<Option<Carried>, Ended> {
        if self.jobs.archive.inspect(self.key).await?.is_none() {
            return Ok(None);
        }
        let proof = begun.measured.proof();
        let stored = finish::adopt(self.jobs, self.context, self.key, &proof).await?;
        Ok(Some((proof, stored, begun.content_type.clone())))
    }

    /// Whether what has been fetched is fit to be archived.
    async fn judge(&mut self, measured: &Measured) -> Result<(), Ended> {
        let (announced, bytes) = (self.work.file.announced_bytes, measured.bytes);
        if finish::is_odd(&self.jobs.config, announced, bytes, self.checkpoint) {
            // Read from its start once more; parts that are the same are not sent again.
            if let Some(begun) = &mut self.checkpoint.upload {
                begun.rewind(Version::default());
            }
            return Err(
                finish::ask_for_odd_size(self.jobs, self.context, announced, bytes, self.checkpoint).await
            );
        }
        let Some(doubt) = finish::doubt(&self.work.file, measured) else {
            self.checkpoint.doubt = None;
            return Ok(());
        };
        self.checkpoint.doubt = Some(doubt.clone());
        if !finish::may_ask_again(&self.jobs.config, self.checkpoint) {
            return Ok(());
        }
        let begun = self.checkpoint.upload.take();
        let once_more = finish::ask_once_more(self.jobs, self.context, &doubt, self.checkpoint).await;
        // While the row names it still, the upload is not given up: another one may hold the job, and go on with it.
        if let (Some(begun), Outcome::Later { .. }) = (begun, &once_more) {
            resume::count_resent(&begun);
            self.jobs.archive.abort(&begun.upload).await?;
        }
        Err(once_more.into())
    }

    /// The upload is of no use any more: the next run begins another one. Once, that is taken for the archive's
    /// fault (it was restarted, and has lost what it had confirmed) and costs no attempt; again and again, it is for a
    /// person to look at the archive.
    async fn start_over(&mut self, reason: String) -> Result<Outcome, Outcome> {
        if let Some(begun) = self.checkpoint.upload.take() {
            resume::count_resent(&begun);
        }
        self.checkpoint.given_up += 1;
        self.context.note(&self.checkpoint.to_value()).await?;
        let reason = format!("{reason}; the file starts over");
        Ok(match self.checkpoint.given_up {
            1 => Outcome::Later { reason, after: Duration::ZERO },
            2..=MOST_GIVEN_UP => Outcome::retry(reason),
            _ => Outcome::Park { waits_for: WaitsFor::Person, reason },
        })
    }

    fn object(&self, first_bytes: &[u8]) -> NewObject {
        let file = &self.work.file;
        NewObject {
            key: self.key.to_owned(),
            content_type: content_type(&file.extension, first_bytes).to_owned(),
            facts: facts(&self.work.recording, &self.work.file),
        }
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

/// Length of a file's first part, as far as it can be told beforehand: a file that is shorter than a part needs no
/// more than its own length.
fn first_part_bytes(announced: Option<u64>, config: &TransferConfig) -> u64 {
    let part = PartPlan::new(announced, config.part_bytes).part_bytes;
    let part = if part <= config.memory_bytes { part } else { config.part_bytes };
    announced.map_or(part, |bytes| bytes.min(part))
}

/// The buffer, when it has the length that turned out to be needed, else another one.
async fn fitting(jobs: &Jobs, context: &JobContext, buffer: Buffer, bytes: u64) -> Buffer {
    if buffer.limit() as u64 == bytes {
        return buffer;
    }
    drop(buffer);
    take_buffer(&jobs.buffers, context, bytes).await
}

/// Waits for something of ours, with a sign of life now and then.
pub(super) async fn alive_while<T>(context: &JobContext, work: impl Future<Output = T>) -> T {
    tokio::pin!(work);
    loop {
        match tokio::time::timeout(SIGN_OF_LIFE, &mut work).await {
            Ok(done) => return done,
            Err(_) => context.alive(),
        }
    }
}

async fn take_buffer(buffers: &Buffers, context: &JobContext, bytes: u64) -> Buffer {
    let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
    buffers.take(bytes, || context.alive()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    fn config() -> TransferConfig {
        let config = crate::config::load::load(None, &crate::config::load::Environment::new());
        TransferConfig { part_bytes: 8 * MIB, memory_bytes: 48 * MIB, ..config.unwrap().transfer }
    }

    #[test]
    fn an_announced_length_that_no_memory_holds_counts_as_none() {
        let (expected, plan) = plan(None, Some(i64::MAX.unsigned_abs()), &config()).unwrap();
        assert_eq!((expected, plan), (None, PartPlan::new(None, 8 * MIB)));
        assert_eq!(first_part_bytes(Some(i64::MAX.unsigned_abs()), &config()), 8 * MIB);
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
