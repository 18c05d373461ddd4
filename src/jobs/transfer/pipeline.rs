//! The parts of one file on their way: fetched by lanes, hashed in order, sent while others are fetched, and
//! written down once the archive has confirmed them without a gap.
//!
//! At most `transfer.parts_in_flight` parts are in memory, and at most so many have been fetched without being in
//! the checkpoint: that is what an interruption can cost. Memory is taken in the order of the parts, so the part
//! that all others wait for always has its buffer.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tracing::warn;

use super::super::Jobs;
use super::super::buffers::Buffer;
use super::checkpoint::{Begun, Measured, Pace, TransferCheckpoint};
use super::lane::{FetchError, Fetched, Lane};
use super::{Ended, take_buffer};
use crate::archive::{ArchiveError, Part};
use crate::domain::job::Outcome;
use crate::store::StoreError;
use crate::worker::JobContext;

/// Time for parts that are on their way when a run fails: what arrives need not be fetched again.
const LAST_PARTS: Duration = Duration::from_secs(3);
/// Rest before a checkpoint is written again while the database is away.
const SAVE_REST: Duration = Duration::from_secs(1);

/// What was made ready before there was an upload to go on with.
pub(super) enum Ready {
    /// Memory for the next part.
    Buffer(Buffer),
    /// The next part itself.
    Part(Fetched),
}

/// What goes on with one upload until all parts are in the archive.
pub(super) struct Pipeline<'a> {
    jobs: &'a Jobs,
    context: &'a JobContext,
    /// What is written down; its upload's prefix grows as parts are confirmed.
    checkpoint: &'a mut TransferCheckpoint,
    begun: Begun,
    /// Parts that the archive is known to hold, by an earlier run: not sent again where they are the same.
    held: BTreeMap<u32, Part>,
    idle: Vec<Lane>,
    buffer: Option<BoxFuture<'static, Buffer>>,
    fetching: JoinSet<(Lane, u32, Result<Fetched, FetchError>)>,
    sending: JoinSet<Result<Part, ArchiveError>>,
    saving: JoinSet<(u32, Result<(), StoreError>)>,
    /// The next part to be fetched.
    next: u32,
    /// The last part, once it is known.
    last: Option<u32>,
    /// Fetched, and not hashed yet because one before it is missing.
    ahead: BTreeMap<u32, (Bytes, u64, bool)>,
    /// Of all parts hashed so far.
    measured: Measured,
    /// What had been measured after each part that is hashed but not confirmed without a gap.
    milestones: BTreeMap<u32, Measured>,
    confirmed: BTreeMap<u32, Part>,
    /// Parts that the written checkpoint counts.
    saved: u32,
    /// Where in the file it began, and when: what was there by then costs it no time.
    from: u64,
    since: Instant,
}

impl<'a> Pipeline<'a> {
    /// Goes on behind what `begun` has measured; `lanes` fetch.
    pub(super) fn new(
        jobs: &'a Jobs,
        context: &'a JobContext,
        checkpoint: &'a mut TransferCheckpoint,
        begun: Begun,
        held: BTreeMap<u32, Part>,
        lanes: Vec<Lane>,
    ) -> Self {
        let (done, from) = (begun.measured.parts, begun.measured.bytes);
        let confirmed = held.range(..=done).map(|(number, part)| (*number, part.clone())).collect();
        let last = begun
            .version
            .length
            .map(|length| u32::try_from(length.div_ceil(begun.plan.part_bytes)).unwrap_or(u32::MAX).max(1));
        Self {
            jobs,
            context,
            checkpoint,
            measured: begun.measured.clone(),
            begun,
            held,
            idle: lanes,
            buffer: None,
            fetching: JoinSet::new(),
            sending: JoinSet::new(),
            saving: JoinSet::new(),
            next: done + 1,
            last,
            ahead: BTreeMap::new(),
            milestones: BTreeMap::new(),
            confirmed,
            saved: done,
            from,
            since: Instant::now(),
        }
    }

    /// Carries all that is missing; returns what has been measured and the parts in order.
    pub(super) async fn run(mut self, ready: Ready) -> Result<(Begun, Vec<Part>), Ended> {
        match ready {
            Ready::Buffer(buffer) => self.buffer = Some(std::future::ready(buffer).boxed()),
            Ready::Part(fetched) => {
                self.next += 1;
                self.from += fetched.content.len() as u64;
                self.take_in(self.next - 1, fetched);
            }
        }
        match self.work().await {
            Ok(()) => Ok((self.begun, self.confirmed.into_values().collect())),
            Err(ended) => {
                self.wind_up(&ended).await;
                Err(ended)
            }
        }
    }

    async fn work(&mut self) -> Result<(), Ended> {
        loop {
            self.start();
            if self.is_done() {
                return Ok(());
            }
            let Self { buffer, fetching, sending, saving, .. } = self;
            tokio::select! {
                Some(joined) = fetching.join_next() => {
                    let (lane, number, fetched) = joined.map_err(panicked)?;
                    self.idle.push(lane);
                    self.take_in(number, fetched?);
                }
                Some(joined) = sending.join_next() => self.confirm(joined.map_err(panicked)??),
                Some(joined) = saving.join_next() => {
                    let (parts, saved) = joined.map_err(panicked)?;
                    saved?;
                    self.saved = self.saved.max(parts);
                }
                buffer = granted(buffer) => self.fetch(buffer),
            }
        }
    }

    fn is_done(&self) -> bool {
        let rests = self.fetching.is_empty() && self.sending.is_empty() && self.saving.is_empty();
        rests && self.buffer.is_none()
    }

    /// Starts whatever may start.
    fn start(&mut self) {
        let is_wanted = self.last.is_none_or(|last| self.next <= last);
        if !is_wanted {
            self.buffer = None;
        }
        let has_room = self.next - self.saved <= self.jobs.config.parts_in_flight;
        if is_wanted && has_room && self.buffer.is_none() && !self.idle.is_empty() {
            let rest = self.begun.version.length.map(|length| length.saturating_sub(self.offset(self.next)));
            let bytes = self.begun.plan.part_bytes.min(rest.unwrap_or(u64::MAX));
            let (buffers, context) = (self.jobs.buffers.clone(), self.context.clone());
            self.buffer = Some(async move { take_buffer(&buffers, &context, bytes).await }.boxed());
        }
        if self.saving.is_empty() && self.begun.measured.parts > self.saved {
            let (context, parts) = (self.context.clone(), self.begun.measured.parts);
            let (is_headway, checkpoint) = self.noted();
            self.saving.spawn(async move { (parts, save(&context, is_headway, checkpoint).await) });
        }
    }

    /// The checkpoint with all that is confirmed without a gap, and whether an upload of this file has never held as much:
    /// only that is headway.
    fn noted(&mut self) -> (bool, serde_json::Value) {
        let bytes = self.begun.measured.bytes;
        let is_headway = bytes > self.checkpoint.furthest;
        self.checkpoint.furthest = self.checkpoint.furthest.max(bytes);
        let brought = self.begun.measured.bytes.saturating_sub(self.from);
        self.checkpoint.pace = Pace::of(brought, self.since.elapsed()).or(self.checkpoint.pace);
        self.checkpoint.upload = Some(self.begun.clone());
        (is_headway, self.checkpoint.to_value())
    }

    fn offset(&self, number: u32) -> u64 {
        self.begun.plan.offset(number)
    }

    fn fetch(&mut self, buffer: Buffer) {
        self.buffer = None;
        let Some(mut lane) = self.idle.pop() else { return };
        let (number, from) = (self.next, self.offset(self.next));
        self.next += 1;
        self.fetching.spawn(async move {
            let fetched = lane.fetch(buffer, from).await;
            (lane, number, fetched)
        });
    }

    /// A part is there: it is sent, and hashed as soon as all before it are.
    fn take_in(&mut self, number: u32, fetched: Fetched) {
        let content = fetched.content;
        if fetched.last {
            self.last = Some(number);
        }
        self.send(number, content.clone(), fetched.crc64nvme);
        self.ahead.insert(number, (content, fetched.crc64nvme, fetched.last));
        while let Some((content, crc64nvme, last)) = self.ahead.remove(&(self.measured.parts + 1)) {
            self.measured.add(&content, crc64nvme, last);
            self.milestones.insert(self.measured.parts, self.measured.clone());
        }
        self.advance();
    }

    fn send(&mut self, number: u32, content: Bytes, crc64nvme: u64) {
        let bytes = content.len() as u64;
        let same = |part: &&Part| part.crc64nvme == Some(crc64nvme) && part.bytes == bytes;
        if let Some(part) = self.held.get(&number).filter(same) {
            metrics::counter!("zoom_archiver_parts_kept_total").increment(1);
            self.confirmed.insert(number, part.clone());
            return;
        }
        metrics::counter!("zoom_archiver_parts_sent_total").increment(1);
        let archive = Arc::clone(&self.jobs.archive);
        let context = self.context.clone();
        let (upload, plan) = (self.begun.upload.clone(), self.begun.plan);
        self.sending.spawn(async move {
            let part = archive.put_part(&upload, plan, number, content, crc64nvme).await;
            context.alive();
            part
        });
    }

    fn confirm(&mut self, part: Part) {
        self.confirmed.insert(part.number, part);
        self.advance();
    }

    /// Moves what will be written down on to the last part before which there is no gap.
    fn advance(&mut self) {
        loop {
            let number = self.begun.measured.parts + 1;
            let (Some(part), Some(_)) = (self.confirmed.get(&number), self.milestones.get(&number)) else {
                return;
            };
            self.begun.tags.add(part);
            if let Some(measured) = self.milestones.remove(&number) {
                self.begun.measured = measured;
            }
        }
    }

    /// After a failure: parts that are on their way get a moment to arrive, and what has arrived is written down.
    async fn wind_up(&mut self, ended: &Ended) {
        self.fetching.abort_all();
        self.buffer = None;
        if matches!(ended, Ended::Otherwise(Outcome::Stopped)) {
            return;
        }
        let arrive = async {
            while let Some(joined) = self.sending.join_next().await {
                if let Ok(Ok(part)) = joined {
                    self.confirmed.insert(part.number, part);
                }
            }
        };
        // What has not arrived by then is fetched again.
        let _ = tokio::time::timeout(LAST_PARTS, arrive).await;
        self.advance();
        self.saving.abort_all();
        if self.begun.measured.parts > self.saved {
            let (is_headway, checkpoint) = self.noted();
            if let Err(error) = write(self.context, is_headway, &checkpoint).await {
                warn!(%error, "the last parts are not written down; they will be fetched again");
            }
        }
    }
}

/// The buffer that was asked for; never, when none was.
async fn granted(buffer: &mut Option<BoxFuture<'static, Buffer>>) -> Buffer {
    match buffer {
        Some(buffer) => buffer.await,
        None => pending().await,
    }
}

/// Writes a checkpoint, again and again while the database is away: the lease says when to stop.
async fn save(
    context: &JobContext,
    is_headway: bool,
    checkpoint: serde_json::Value,
) -> Result<(), StoreError> {
    loop {
        match write(context, is_headway, &checkpoint).await {
            Err(error @ StoreError::Unavailable(_)) => {
                warn!(%error, "cannot write the checkpoint yet");
                tokio::time::sleep(SAVE_REST).await;
            }
            other => return other,
        }
    }
}

/// Writes a checkpoint. Failed attempts begin to count anew with headway, and with nothing else.
async fn write(
    context: &JobContext,
    is_headway: bool,
    checkpoint: &serde_json::Value,
) -> Result<(), StoreError> {
    if is_headway { context.checkpoint(checkpoint).await } else { context.note(checkpoint).await }
}

fn panicked(error: JoinError) -> Ended {
    Ended::Otherwise(Outcome::retry(format!("carrying a part failed: {error}")))
}
