//! Lists of recordings, page by page: no more of a list than one page is ever in memory.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::time::sleep;
use tracing::{debug, info};
use url::Url;

use super::days::Days;
use super::purpose::{self, Purpose};
use super::trail::Trail;
use super::{Api, ApiError, path};
use crate::domain::event::{Event, EventContent};
use crate::domain::ids::EventId;
use crate::domain::recording::{RecordingIdentity, RecordingKind};
use crate::zoom::{payload, phone};

/// Times that one page is asked for when Zoom is busy or cannot be reached.
const TRIES: u32 = 6;
/// Rest before the second of them; it doubles from one to the next.
const REST: Duration = Duration::from_millis(500);
/// Times that one part of a list is read anew because the token of a page has expired.
const MOST_RESTARTS: u32 = 3;
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
    /// All recorded calls of the account that the OAuth app belongs to, where that app has the scope for them.
    Calls,
}

impl ListOf {
    fn purpose(&self) -> &'static Purpose {
        match self {
            Self::Sessions { .. } => &purpose::LIST_SESSIONS,
            Self::Meetings => &purpose::LIST_MEETINGS,
            Self::MeetingsOfUser(_) => &purpose::LIST_MEETINGS_OF_USER,
            Self::Calls => &purpose::LIST_CALLS,
        }
    }

    /// Where the list is. The account is `me`: its id in the path would take a scope that only master accounts have.
    fn path(&self) -> String {
        match self {
            Self::Sessions { .. } => "videosdk/recordings".to_owned(),
            Self::Meetings => "accounts/me/recordings".to_owned(),
            Self::MeetingsOfUser(user) => format!("users/{}/recordings", path::encoded(user)),
            Self::Calls => "phone/recordings".to_owned(),
        }
    }

    /// The key of the array in the answer.
    fn array(&self) -> &'static str {
        match self {
            Self::Sessions { .. } => "sessions",
            Self::Meetings | Self::MeetingsOfUser(_) => "meetings",
            Self::Calls => "recordings",
        }
    }

    /// The value of `trash_type`.
    fn trash_type(&self, what: Trashed) -> &'static str {
        match (self, what) {
            (_, Trashed::Files) => "recording_file",
            (Self::Sessions { .. }, Trashed::Recordings) => "session_recordings",
            // The trash of calls is not listed; what is asked for so is refused.
            (Self::Meetings | Self::MeetingsOfUser(_) | Self::Calls, Trashed::Recordings) => {
                "meeting_recordings"
            }
        }
    }

    fn event_name(&self) -> &'static str {
        match self {
            Self::Sessions { .. } => "api.account_sessions",
            Self::Meetings => "api.account_meetings",
            Self::MeetingsOfUser(_) => "api.user_meetings",
            Self::Calls => "api.account_calls",
        }
    }
}

/// Which part of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Within {
    /// Those that began on these days.
    Days(Days),
    /// Those in the trash. Zoom cannot cut these by days.
    Trash(Trashed),
}

/// What lies in the trash. Zoom lists whole recordings and single files apart (`trash_type`, Zoom API reference, "List
/// account recordings" and "List sessions' recordings").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trashed {
    /// Recordings that were moved there as a whole.
    Recordings,
    /// Single files of recordings.
    Files,
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
    /// Days that Zoom does not list, however it is asked: what began on them may be missing.
    pub unlisted: Vec<Days>,
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
    rest: VecDeque<Within>,
    /// Where in this part it is.
    trail: Trail,
    /// What this part has brought: where it begins anew, it is not brought a second time.
    seen: HashSet<String>,
    /// Times that this part was read anew.
    restarts: u32,
}

impl Api {
    /// Lists recordings, in pages. Days are cut into pieces that Zoom takes, and a recording is in the piece in which
    /// its session or meeting began.
    ///
    /// What changes at Zoom while it is read may come twice, or be missed: list again later.
    #[must_use]
    pub fn recordings(&self, of: ListOf, within: Within) -> Listing<'_> {
        let rest = VecDeque::from([within]);
        let mut listing = Listing {
            api: self,
            of,
            part: None,
            rest,
            trail: Trail::default(),
            seen: HashSet::new(),
            restarts: 0,
        };
        listing.turn_to_the_next_part();
        listing
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
        let is_first = self.trail.token().is_none();
        let mut answer = match self.ask_patiently(&self.url(part)?).await {
            Ok(answer) => answer,
            // The token of a page is good for fifteen minutes: without one the part is read anew.
            Err(ApiError::Invalid(reason)) if !is_first && self.restarts < MOST_RESTARTS => {
                self.restarts += 1;
                debug!(reason, "the list is read again from the first page of its part");
                self.trail.begin_again();
                self.ask_patiently(&self.url(part)?).await.inspect_err(|_| self.seen.clear())?
            }
            // Most apps are for meetings alone, and have nothing to do with calls.
            Err(ApiError::NotAllowed(reason)) if self.of == ListOf::Calls && self.lacks_scope(&reason) => {
                info!(reason, "recorded calls are not listed");
                (self.part, self.rest) = (None, VecDeque::new());
                return Ok(None);
            }
            Err(error) => {
                self.begin_again();
                return Err(error);
            }
        };
        let mut page = self.read(part, &mut answer)?;
        if let (true, Within::Days(days)) = (is_first, part) {
            page.unlisted = self.ask_for_what_is_left(days, &answer);
        }
        let next = answer.get("next_page_token").and_then(Value::as_str).unwrap_or_default();
        if !self.trail.turn(next.to_owned())? {
            self.turn_to_the_next_part();
        }
        Ok(Some(page))
    }

    /// Whether a refusal is that of an app without the scope for this list: it names it.
    fn lacks_scope(&self, reason: &str) -> bool {
        self.of.purpose().scope.is_some_and(|scope| reason.contains(scope))
    }

    /// Back to the first page of this part, for whoever asks again after an error: everything in it is brought again.
    fn begin_again(&mut self) {
        self.trail.begin_again();
        self.seen.clear();
        self.restarts = 0;
    }

    fn turn_to_the_next_part(&mut self) {
        self.seen.clear();
        self.restarts = 0;
        self.part = match self.rest.pop_front() {
            Some(Within::Days(days)) if days.is_empty() => None,
            Some(Within::Days(days)) => {
                let (part, rest) = days.split();
                if !rest.is_empty() {
                    self.rest.push_front(Within::Days(rest));
                }
                Some(Within::Days(part))
            }
            trash_or_end => trash_or_end,
        };
    }

    /// Has the days that an answer does not cover asked for by themselves; returns those of which asking so brings nothing.
    fn ask_for_what_is_left(&mut self, asked: Days, answer: &Value) -> Vec<Days> {
        let day =
            |key: &str| answer.get(key).and_then(Value::as_str).and_then(|day| day.get(..10)?.parse().ok());
        let mut unlisted = Vec::new();
        for left in asked.left_by(day("from"), day("to")).into_iter().rev().filter(|left| !left.is_empty()) {
            // Nothing of the span was listed: a smaller one of the same days will not be either.
            if left == asked {
                unlisted.push(left);
            } else {
                self.rest.push_front(Within::Days(left));
            }
        }
        unlisted
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
                Within::Trash(what) => {
                    query.append_pair("trash", "true").append_pair("trash_type", self.of.trash_type(what));
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

    fn read(&mut self, part: Within, answer: &mut Value) -> Result<Page, ApiError> {
        let array = self.of.array();
        let entries = match answer.get_mut(array).map(Value::take) {
            Some(Value::Array(entries)) => entries,
            Some(Value::Null) | None if answer.get("next_page_token").is_some() => Vec::new(),
            _ => return Err(ApiError::refused(format!("Zoom's API answered a list without `{array}`"))),
        };
        let days = match part {
            Within::Days(days) => Some(days),
            Within::Trash(_) => None,
        };
        let mut page = Page { events: Vec::new(), odd: Vec::new(), days, unlisted: Vec::new() };
        for (index, entry) in entries.into_iter().enumerate() {
            match self.event(entry) {
                Ok(event) if is_of(&event, days) && self.seen.insert(instance_of(&event)) => {
                    page.events.push(event)
                }
                Ok(_) => {}
                Err(reason) => page.odd.push(format!("{array}[{index}]: {reason}")),
            }
        }
        Ok(page)
    }

    fn event(&self, entry: Value) -> Result<Event, String> {
        let identity = self.identity(entry.as_object().ok_or("no object")?)?;
        let (announcement, body) = match self.of {
            ListOf::Calls => phone::read_listed(&identity.account_id, entry)?,
            _ => payload::read_answer(&identity, entry)?,
        };
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
            ListOf::Calls => {
                let own = self.api.account_id(RecordingKind::Meeting).map(str::to_owned);
                ("id", RecordingKind::Phone, own)
            }
        };
        let instance_id = text(key).ok_or_else(|| format!("no {key}"))?;
        let account_id = text("account_id").or(account_id).ok_or("no account_id")?;
        payload::check_length(key, &instance_id)?;
        payload::check_length("account_id", &account_id)?;
        Ok(RecordingIdentity { account_id, kind, instance_id })
    }
}

fn instance_of(event: &Event) -> String {
    match &event.content {
        EventContent::Announcement(announcement) => announcement.recording.identity.instance_id.clone(),
        EventContent::Unreadable { .. } => String::new(),
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
