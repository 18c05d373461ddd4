//! Fetching the parts of a file: one stream that is cut into parts, or several lanes that fetch a part each by its
//! own range. A connection that breaks off is replaced by another one that goes on at the very byte.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::super::buffers::Buffer;
use super::super::throttle::Throttle;
use crate::domain::checksum;
use crate::worker::JobContext;
use crate::zoom::download::{Download, DownloadError, Downloader, Piece, Remote, Version};

/// Times that a lane goes on by another connection without having brought much.
const MAX_RECONNECTS: u32 = 4;
/// What is much, in bytes.
const HEADWAY_BYTES: u64 = 1024 * 1024;
/// Rest before the first of them; doubled each time.
const RECONNECT_REST: Duration = Duration::from_millis(100);

/// A file at Zoom that is being fetched.
pub(super) struct Source {
    pub(super) downloader: Downloader,
    pub(super) remote: Arc<Remote>,
    /// The version that all parts must be of.
    pub(super) version: Version,
    /// Whether each part is asked for by a range of its own.
    pub(super) by_part: bool,
    /// Most bytes that the file may have, and the setting that says so.
    pub(super) limit: (u64, &'static str),
    pub(super) throttle: Throttle,
    pub(super) context: JobContext,
}

/// Why a part could not be fetched.
#[derive(Debug)]
pub(super) enum FetchError {
    /// Something at Zoom.
    Zoom(DownloadError),
    /// In place of the piece Zoom sends the file from its start, perhaps another version of it: this is the answer,
    /// to be read instead.
    FromStart(Box<Download>),
}

impl From<DownloadError> for FetchError {
    fn from(error: DownloadError) -> Self {
        Self::Zoom(error)
    }
}

/// A part that has been fetched.
pub(super) struct Fetched {
    pub(super) content: Bytes,
    /// Of its content.
    pub(super) crc64nvme: u64,
    /// Whether the file ends with it.
    pub(super) last: bool,
}

/// One connection's worth of fetching.
pub(super) struct Lane {
    source: Arc<Source>,
    reading: Option<Reading>,
}

/// A download, and where in the file it has come to.
struct Reading {
    download: Download,
    /// Received, but not yet in a part.
    rest: Bytes,
    /// Offset of `rest` in the file.
    position: u64,
}

impl Lane {
    /// A lane that begins with a download that is open already.
    pub(super) fn new(source: Arc<Source>, first: Option<Download>) -> Self {
        let reading =
            first.map(|download| Reading { position: download.offset(), download, rest: Bytes::new() });
        Self { source, reading }
    }

    /// Fetches the part that begins at `from` and fills the buffer, or ends with the file.
    ///
    /// # Errors
    /// See [`FetchError`]; what passes by connecting anew has been tried.
    pub(super) async fn fetch(&mut self, mut buffer: Buffer, from: u64) -> Result<Fetched, FetchError> {
        let (mut reconnects, mut since) = (0, 0);
        let last = loop {
            match self.fill(&mut buffer, from).await {
                Ok(last) => break last,
                Err(FetchError::Zoom(error)) if is_interruption(&error) => {
                    let brought = buffer.content().len() as u64;
                    if brought - since >= HEADWAY_BYTES {
                        reconnects = 0;
                    }
                    reconnects += 1;
                    if reconnects > MAX_RECONNECTS {
                        return Err(error.into());
                    }
                    tracing::info!(reason = %error, position = from + brought, "going on by another connection");
                    metrics::counter!("zoom_archiver_reconnects_total").increment(1);
                    since = brought;
                    self.reading = None;
                    tokio::time::sleep(RECONNECT_REST * (1 << (reconnects - 1))).await;
                }
                Err(error) => return Err(error),
            }
        };
        let crc64nvme = checksum::crc64nvme(buffer.content());
        Ok(Fetched { content: buffer.freeze(), crc64nvme, last })
    }

    /// Fills the buffer, which holds what comes after `from`; says whether the file ends with it.
    async fn fill(&mut self, buffer: &mut Buffer, from: u64) -> Result<bool, FetchError> {
        let (length, (limit, key)) = (self.source.version.length, self.source.limit);
        loop {
            let at = from + buffer.content().len() as u64;
            if length == Some(at) {
                return Ok(true);
            }
            let is_full = buffer.content().len() == buffer.limit();
            if is_full && length.is_some() {
                return Ok(false);
            }
            let Some(reading) = self.reading_at(at, from + buffer.limit() as u64).await? else {
                return Ok(true);
            };
            if reading.rest.is_empty() {
                match reading.download.next().await? {
                    Some(chunk) => reading.rest = chunk,
                    // A piece is not the file: it may be shorter than what was asked for, and does not say where the file ends.
                    None if reading.download.is_piece() && reading.position > reading.download.offset() => {
                        self.reading = None;
                        continue;
                    }
                    None if length.is_none() => return Ok(true),
                    None => {
                        let reason = "the answer ended before the file did".to_owned();
                        return Err(DownloadError::Interrupted(reason).into());
                    }
                }
            }
            if is_full && !reading.rest.is_empty() {
                return Ok(false);
            }
            let before = buffer.content().len();
            buffer.fill(&mut reading.rest);
            let taken = (buffer.content().len() - before) as u64;
            reading.position += taken;
            if reading.position > limit {
                return Err(DownloadError::TooLarge { limit, key }.into());
            }
            metrics::counter!("zoom_archiver_received_bytes_total").increment(taken);
            self.source.context.advance(taken);
            self.source.throttle.pass(taken, || self.source.context.alive()).await;
        }
    }

    /// The download that goes on at `at`; opened when there is none. `None` when the file ends there.
    async fn reading_at(&mut self, at: u64, end: u64) -> Result<Option<&mut Reading>, FetchError> {
        if self.reading.as_ref().is_none_or(|reading| reading.position != at) {
            self.reading = None;
            let source = &self.source;
            let end = end.min(source.version.length.unwrap_or(u64::MAX));
            let piece = Piece { from: at, to: source.by_part.then_some(end) };
            let download = match source.downloader.open(&source.remote, piece, &source.version).await {
                // The length that was declared was wrong, and what we have is all of it.
                Err(DownloadError::BeyondEnd { length: Some(length) }) if length == at => return Ok(None),
                // Nobody has said how long it is, and there is no more.
                Err(DownloadError::BeyondEnd { length: None })
                    if source.version.length.is_none() && at > 0 =>
                {
                    return Ok(None);
                }
                opened => opened?,
            };
            let now = download.version();
            let is_other = source.version.changed(&now).is_some()
                || !download.is_piece() && now.length != source.version.length;
            if download.offset() != at || is_other {
                return Err(FetchError::FromStart(Box::new(download)));
            }
            self.reading = Some(Reading { download, rest: Bytes::new(), position: at });
        }
        Ok(self.reading.as_mut())
    }
}

/// Whether another connection may help.
fn is_interruption(error: &DownloadError) -> bool {
    matches!(error, DownloadError::Interrupted(_) | DownloadError::Stalled(_) | DownloadError::TooSlow { .. })
}
