//! Sessions that go on, what is done to their recording from outside, and the log of events that were delivered or not.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::Library;
use crate::simulator::now;
use crate::simulator::sender::{Answer, Delivery};

/// Deliveries remembered; Zoom's own log forgets too.
const MAX_LOGGED: usize = 20_000;

/// How far the recording of a live session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LiveState {
    /// Nothing is recorded.
    Idle,
    /// It is recorded.
    Recording,
    /// It is recorded, but not now.
    Paused,
}

#[derive(Default)]
pub(super) struct Live {
    /// By session id.
    sessions: HashMap<String, LiveState>,
    controls: Vec<(String, String)>,
    log: VecDeque<Logged>,
}

/// A try to deliver an event.
#[derive(Clone)]
pub(in crate::simulator) struct Logged {
    pub(in crate::simulator) event: String,
    pub(in crate::simulator) at: DateTime<Utc>,
    /// `None` without an answer.
    pub(in crate::simulator) status: Option<u16>,
    pub(in crate::simulator) retry: u32,
    pub(in crate::simulator) body: String,
}

impl Logged {
    pub(in crate::simulator) fn has_failed(&self) -> bool {
        !self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

/// Live sessions, and the log of deliveries.
impl Library {
    /// A session goes on from now on, and nothing of it is recorded.
    pub fn begin_session(&self, session_id: &str) {
        self.shelf().api.live.sessions.insert(session_id.to_owned(), LiveState::Idle);
    }

    /// A session is over.
    pub fn end_session(&self, session_id: &str) {
        self.shelf().api.live.sessions.remove(session_id);
    }

    /// How far the recording of a live session is; `None` when it does not go on.
    #[must_use]
    pub fn live_state(&self, session_id: &str) -> Option<LiveState> {
        self.shelf().api.live.sessions.get(session_id).copied()
    }

    /// What was done to live sessions by the API, in order: session id and method, such as `recording.start`.
    #[must_use]
    pub fn controls(&self) -> Vec<(String, String)> {
        self.shelf().api.live.controls.clone()
    }

    /// Does `method` to a live session; `None` when it does not go on, `false` when that cannot be done to it now.
    pub(in crate::simulator) fn control(&self, session_id: &str, method: &str) -> Option<bool> {
        let mut shelf = self.shelf();
        let state = shelf.api.live.sessions.get_mut(session_id)?;
        let next = match (method, *state) {
            ("recording.start", LiveState::Idle) | ("recording.resume", LiveState::Paused) => {
                LiveState::Recording
            }
            ("recording.pause", LiveState::Recording) => LiveState::Paused,
            ("recording.stop", LiveState::Recording | LiveState::Paused) => LiveState::Idle,
            _ => return Some(false),
        };
        *state = next;
        shelf.api.live.controls.push((session_id.to_owned(), method.to_owned()));
        drop(shelf);
        self.tell();
        Some(true)
    }

    /// Writes into the log how the delivery of an event went.
    pub fn log_delivery(&self, body: &[u8], delivery: &Delivery) {
        let status = match &delivery.answer {
            Answer::Status(status) => Some(status.as_u16()),
            Answer::None(_) => None,
        };
        self.log(body, status, delivery.tries.saturating_sub(1));
    }

    /// Loses an event: it is never delivered, and the log knows it.
    pub fn lose(&self, body: &[u8]) {
        self.log(body, None, 3);
    }

    fn log(&self, body: &[u8], status: Option<u16>, retry: u32) {
        let event = serde_json::from_slice::<Value>(body).ok();
        let event = event.as_ref().and_then(|event| event.get("event")?.as_str()).unwrap_or_default();
        let logged = Logged {
            event: event.to_owned(),
            at: now(),
            status,
            retry,
            body: String::from_utf8_lossy(body).into_owned(),
        };
        let log = &mut self.shelf().api.live.log;
        if log.len() == MAX_LOGGED {
            log.pop_front();
        }
        log.push_back(logged);
    }

    /// Part of the log, from the `skip`th entry on that `wanted` holds of; and how many there are.
    pub(in crate::simulator) fn logged(
        &self,
        wanted: impl Fn(&Logged) -> bool,
        skip: usize,
        most: usize,
    ) -> (Vec<Logged>, usize) {
        let shelf = self.shelf();
        let all: Vec<_> = shelf.api.live.log.iter().filter(|logged| wanted(logged)).collect();
        let total = all.len();
        (all.into_iter().skip(skip).take(most).cloned().collect(), total)
    }
}
