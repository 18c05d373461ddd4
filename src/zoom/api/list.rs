//! Lists of recordings, page by page: no more of a list than one page is ever in memory.

use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::sleep;
use tracing::debug;
use url::Url;

use super::days::Days;
use super::purpose::{self, Purpose};
use super::trail::Trail;
use super::{Api, ApiError, path};
use crate::domain::event::{Event, EventContent};
use crate::domain::ids::EventId;
use crate::domain::recording::{RecordingIdentity, RecordingKind};
use crate::zoom::payload;

/// Times that one page is asked for when Zoom is busy or cannot be reached.
const TRIES: u32 = 6;
/// Rest before the second of them; it doubles from one to the next.
const REST: Duration = Duration::from_millis(500);
/// Longest rest that a list waits out when Zoom names one; a longer one is for whoever asked.
const LONGEST_REST: Duration = Duration::from_secs(120);

/// Whose recordings are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListOf {
    /// All sessions of a Video SDK account. Zoom does not say in the list which account that is, so it has to be
    /// known: recordings of another name would be other recordings.
    Sessions {
        /// Zoom's id of the account.
        account_id: String,
    },
    /// All meetings and webinars of the account that the OAuth app belongs to.
    Meetings,
    /// The meetings and webinars that one user hosted.
    MeetingsOfUser(
        /// Zoom's id of the user, or an e-mail address.
        String,
    ),
}

impl ListOf {
    fn purpose(&self) -> &'static Purpose {
        match self {
            Self::Sessions { .. } => &purpose::LIST_SESSIONS,
            Self::Meetings => &purpose::LIST_MEETINGS,
            Self::MeetingsOfUser(_) => &purpose::LIST_MEETINGS_OF_USER,
        }
    }

    /// Where the list is. The account is `me`: its id in the path would take a scope that only master accounts have.
    fn path(&self) -> String {
        match self {
            Self::Sessions { .. } => "videosdk/recordings".to_owned(),
            Self::Meetings => "accounts/me/recordings".to_owned(),
            Self::MeetingsOfUser(user) => format!("users/{}/recordings", path::encoded(user)),
        }
    }

    /// The key of the array in the answer.
    fn array(&self) -> &'static str {
        match self {
            Self::Sessions { .. } => "sessions",
            Self::Meetings | Self::MeetingsOfUser(_) => "meetings",
        }
    }

    fn event_name(&self) -> &'static str {
        match self {
            Self::Sessions { .. } => "api.account_sessions",
            Self::Meetings => "api.account_meetings",
            Self::MeetingsOfUser(_) => "api.user_meetings",
        }
    }
}

/// Which part of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Within {
    /// Those that began on these days.
    Days(Days),
    /// Those in the trash. Zoom cannot cut these by days.
    Trash,
}

/// What one page brought.
#[derive(Debug)]
pub struct Page {
    /// The recordings, each as an event to be recorded: what [`Api::recording`] answers, but without a download token.
    pub events: Vec<Event>,
    /// Entries that cannot be read, in words.
    pub odd: Vec<String>,
    /// The days that this page is part of; `None` in the trash.
    pub days: Option<Days>,
}

/// A list that is being read. An error does not end it: the part that was being read begins again, because the tokens
/// that lead from page to page are good for fifteen minutes only.
#[derive(Debug)]
pub struct Listing<'a> {
    api: &'a Api,
    of: ListOf,
    /// What is being read; `None` at the end.
    part: Option<Within>,
    /// What comes after it.
    rest: Days,
    /// Where in this part it is.
    trail: Trail,
}

impl Api {
    /// Lists recordings, in pages. Days are cut into pieces that Zoom takes, and a recording is in the piece in which
    /// its session or meeting began.
    ///
    /// What changes at Zoom while it is read may come twice, or be missed: list again later.
    #[must_use]
    pub fn recordings(&self, of: ListOf, within: Within) -> Listing<'_> {
        let (part, rest) = match within {
            Within::Days(days) => {
                let (first, rest) = days.split();
                (Some(Within::Days(first)).filter(|_| !first.is_empty()), rest)
            }
            Within::Trash => (Some(Within::Trash), Days::new(Default::default(), Default::default())),
        };
        Listing { api: self, of, part, rest, trail: Trail::default() }
    }
}

impl Listing<'_> {
    /// The next page; `None` at the end. A page may be empty although more follow.
    ///
    /// Waits and asks again, for a while, when Zoom is busy or cannot be reached.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn next(&mut self) -> Result<Option<Page>, ApiError> {
        let Some(part) = self.part else { return Ok(None) };
        let mut answer = match self.ask_patiently(&self.url(part)?).await {
            Ok(answer) => answer,
            Err(error) => {
                self.trail.begin_again();
                return Err(error);
            }
        };
        let page = self.read(part, &mut answer)?;
        let next = answer.get("next_page_token").and_then(Value::as_str).unwrap_or_default();
        if !self.trail.turn(next.to_owned())? {
            self.turn_to_the_next_part();
        }
        Ok(Some(page))
    }

    fn turn_to_the_next_part(&mut self) {
        let (part, rest) = self.rest.split();
        self.part = Some(Within::Days(part)).filter(|_| !part.is_empty());
        self.rest = rest;
    }

    fn url(&self, part: Within) -> Result<Url, ApiError> {
        let mut url = path::under(&self.api.base, &self.of.path())?;
        {
            let mut query = url.query_pairs_mut();
            match part {
                Within::Days(days) => {
                    let (from, to) = days.asked();
                    query.append_pair("from", &from.to_string()).append_pair("to", &to.to_string());
                }
                Within::Trash => {
                    query.append_pair("trash", "true");
                }
            }
            query.append_pair("page_size", &self.api.page_size.to_string());
            if let Some(token) = self.trail.token() {
                query.append_pair("next_page_token", token);
            }
        }
        Ok(url)
    }

    async fn ask_patiently(&self, url: &Url) -> Result<Value, ApiError> {
        let mut rest = REST;
        for _ in 1..TRIES {
            let error = match self.api.get(self.of.purpose(), url).await {
                Err(error @ (ApiError::Refused { .. } | ApiError::Unreachable(_))) => error,
                decided => return decided,
            };
            let named = match &error {
                ApiError::Refused { retry_after, .. } => *retry_after,
                _ => None,
            };
            let pause = named.unwrap_or(rest);
            if pause > LONGEST_REST {
                return Err(error);
            }
            debug!(%error, "a page is asked for again");
            sleep(pause).await;
            rest *= 2;
        }
        self.api.get(self.of.purpose(), url).await
    }

    fn read(&self, part: Within, answer: &mut Value) -> Result<Page, ApiError> {
        let array = self.of.array();
        let entries = match answer.get_mut(array).map(Value::take) {
            Some(Value::Array(entries)) => entries,
            Some(Value::Null) | None if answer.get("next_page_token").is_some() => Vec::new(),
            _ => return Err(ApiError::refused(format!("Zoom's API answered a list without `{array}`"))),
        };
        let days = match part {
            Within::Days(days) => Some(days),
            Within::Trash => None,
        };
        let mut page = Page { events: Vec::new(), odd: Vec::new(), days };
        for (index, entry) in entries.into_iter().enumerate() {
            match self.event(entry) {
                Ok(event) if is_of(&event, days) => page.events.push(event),
                Ok(_) => {}
                Err(reason) => page.odd.push(format!("{array}[{index}]: {reason}")),
            }
        }
        Ok(page)
    }

    fn event(&self, entry: Value) -> Result<Event, String> {
        let identity = self.identity(entry.as_object().ok_or("no object")?)?;
        let (announcement, body) = payload::read_answer(&identity, entry)?;
        Ok(Event {
            id: EventId::new(),
            received_at: self.api.clock.now(),
            name: self.of.event_name().to_owned(),
            body,
            content: EventContent::Announcement(announcement),
            trace: None,
        })
    }

    fn identity(&self, entry: &Map<String, Value>) -> Result<RecordingIdentity, String> {
        let text = |key: &str| payload::text(entry.get(key));
        let (key, kind, account_id) = match &self.of {
            ListOf::Sessions { account_id } => {
                ("session_id", RecordingKind::VideoSdk, Some(account_id.clone()))
            }
            ListOf::Meetings | ListOf::MeetingsOfUser(_) => {
                let own = self.api.account_id(RecordingKind::Meeting).map(str::to_owned);
                ("uuid", payload::meeting_kind(entry), own)
            }
        };
        let instance_id = text(key).ok_or_else(|| format!("no {key}"))?;
        let account_id = text("account_id").or(account_id).ok_or("no account_id")?;
        payload::check_length(key, &instance_id)?;
        payload::check_length("account_id", &account_id)?;
        Ok(RecordingIdentity { account_id, kind, instance_id })
    }
}

/// Whether a recording belongs to these days, and not to the neighbours that were asked for with them. One that does
/// not say when it began belongs wherever it is found.
fn is_of(event: &Event, days: Option<Days>) -> bool {
    let EventContent::Announcement(announcement) = &event.content else { return true };
    match (days, announcement.recording.start_time) {
        (Some(days), Some(start)) => days.contain(start),
        _ => true,
    }
}
