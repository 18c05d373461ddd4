//! The bytes of an answer: at the right pace, up to the fault.

use std::io;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;

use crate::simulator::content::Content;
use crate::simulator::fault::Fault;
use crate::simulator::library::Library;

/// Bytes handed over at a time.
const STEP: u64 = 64 * 1024;
/// Steps per second of a throttled answer, so that it flows instead of jerking.
const STEPS_PER_SEC: u64 = 10;
/// Before a connection is cut: time for what was handed over to leave.
const FLUSH_TIME: Duration = Duration::from_millis(20);

/// How an answer's body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// As it should.
    Whole,
    /// The connection is closed.
    Cut,
    /// Nothing more comes.
    Stall,
}

/// A body to be sent.
pub(super) struct Plan {
    pub(super) library: Library,
    pub(super) key: String,
    pub(super) etag: String,
    pub(super) content: Content,
    /// First byte of the content.
    pub(super) from: u64,
    /// Bytes to send before the end comes.
    pub(super) count: u64,
    pub(super) end: End,
    /// The fault at a position that this end comes from.
    pub(super) breaks: Option<Fault>,
    /// For one that is held: the bytes to send in all once it is let go, and the end that comes then.
    pub(super) held_back: Option<(u64, End)>,
    pub(super) bytes_per_sec: Option<u64>,
    /// Whether the client is told the truth about which bytes these are; only then do they count as served.
    pub(super) honest: bool,
    /// Whether the content begins again at its end.
    pub(super) repeats: bool,
}

impl Plan {
    /// Ends the body at the position of `fault`, which lies within it.
    pub(super) fn break_off(&mut self, fault: Fault) {
        let Some(position) = fault.position() else { return };
        if matches!(fault, Fault::HoldAt { .. }) {
            self.held_back = Some((self.count, self.end));
        }
        self.count = self.count.min(position.saturating_sub(self.from));
        self.end = if matches!(fault, Fault::StallAt { .. }) { End::Stall } else { End::Cut };
        self.breaks = Some(fault);
    }

    pub(super) fn into_body(self) -> Body {
        Body::from_stream(stream::unfold((self, 0), |(mut plan, sent)| async move {
            if sent >= plan.count {
                plan.wait_while_held().await;
            }
            let piece = plan.next(sent).await?;
            let sent = sent + piece.as_ref().map_or(0, |bytes| bytes.len() as u64);
            Some((piece, (plan, sent)))
        }))
    }

    async fn wait_while_held(&mut self) {
        let Some(rest) = self.held_back.take() else { return };
        if let Some(fault) = self.breaks.take() {
            self.library.note_break(&self.key, &fault);
        }
        self.library.until(|library| library.is_let_go(&self.key)).await;
        (self.count, self.end) = rest;
    }

    async fn next(&self, sent: u64) -> Option<io::Result<Bytes>> {
        let left = self.count.saturating_sub(sent);
        if left == 0 {
            return self.finish().await;
        }
        let mut step = STEP.min(left);
        if let Some(rate) = self.bytes_per_sec {
            let rate = rate.max(1);
            step = step.min(rate.div_ceil(STEPS_PER_SEC));
            let wait = Duration::from_secs(step).div_f64(f64::from(u32::try_from(rate).unwrap_or(u32::MAX)));
            tokio::time::sleep(wait).await;
        }
        let at = self.from + sent;
        let at = if self.repeats { at % self.content.len().max(1) } else { at };
        let piece = self.content.read(at, usize::try_from(step).unwrap_or(usize::MAX));
        if piece.is_empty() {
            return self.finish().await;
        }
        if self.honest {
            self.library.note_served(&self.key, &self.etag, self.from + sent, piece.len() as u64);
        }
        Some(Ok(piece))
    }

    async fn finish(&self) -> Option<io::Result<Bytes>> {
        if let Some(fault) = &self.breaks {
            self.library.note_break(&self.key, fault);
        }
        match self.end {
            End::Whole => None,
            End::Cut => {
                tokio::time::sleep(FLUSH_TIME).await;
                Some(Err(io::ErrorKind::ConnectionReset.into()))
            }
            // Ends when the client goes away or the server is dropped: both drop this body.
            End::Stall => std::future::pending().await,
        }
    }
}
