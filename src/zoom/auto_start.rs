//! Starts the recording of sessions whose name matches a pattern, as soon as Zoom says that they have begun.
//!
//! Nothing of it is written down here: the event is answered only when Zoom has taken the wish, or said that it cannot be.
//! Until then Zoom takes the event for undelivered and repeats it, whatever becomes of this process; and meanwhile
//! this process tries by itself, because minutes of a session would be lost.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};
use wildmatch::WildMatch;

use super::accounts::Accounts;
use super::api::ApiError;
use super::api::live::Control;
use super::payload;
use crate::domain::json;
use crate::domain::recording::RecordingKind;

/// The event that a session has begun.
pub const SESSION_STARTED: &str = "session.started";

/// Sessions that are being started at once; the events of further ones are left to be repeated.
const MOST_AT_ONCE: usize = 64;
/// How long one session is tried; Zoom repeats its event after five minutes.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a session that has just begun may be unknown to Zoom's API: the event may come before the API has heard of it.
const UNHEARD_OF: Duration = Duration::from_secs(10);
/// Rest between the first two tries; it doubles up to [`LONGEST_REST`].
const REST: Duration = Duration::from_millis(500);
const LONGEST_REST: Duration = Duration::from_secs(15);
/// Sessions remembered as started, so that a repeated event does not start them again.
const REMEMBERED: usize = 4096;

/// A session that has begun.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Begun {
    /// Zoom's account id; empty when the event names none.
    pub account_id: String,
    /// Zoom's id of the session.
    pub session_id: String,
    /// Its name; empty when the event gives none.
    pub name: String,
}

impl Begun {
    /// Reads a `session.started`, whose signature has been verified. `None` when it names no session.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Self> {
        let event = json::parse(body).ok()?;
        let text = |pointer: &str| payload::text(event.pointer(pointer));
        let session_id = text("/payload/object/session_id").or_else(|| text("/payload/object/id"))?;
        Some(Self {
            account_id: text("/payload/account_id").unwrap_or_default(),
            session_id,
            name: text("/payload/object/session_name").unwrap_or_default(),
        })
    }
}

/// The rule: patterns for names of sessions. One without any is for none.
#[derive(Debug)]
pub struct Rule(Vec<WildMatch>);

impl Rule {
    /// The rule that these patterns make.
    #[must_use]
    pub fn new(patterns: &[String]) -> Self {
        Self(patterns.iter().map(|pattern| WildMatch::new(pattern)).collect())
    }

    /// Whether the recording of a session is to be started.
    #[must_use]
    pub fn wants(&self, session: &Begun) -> bool {
        self.0.iter().any(|pattern| pattern.matches(&session.name))
    }
}

/// Which sessions are started, and how.
#[derive(Debug)]
pub struct AutoStart {
    rule: Rule,
    accounts: Accounts,
    places: Semaphore,
    started: Mutex<VecDeque<String>>,
}

impl AutoStart {
    /// Starts sessions whose name matches one of these patterns; `None` when there are none.
    #[must_use]
    pub fn new(patterns: &[String], accounts: Accounts) -> Option<Arc<Self>> {
        (!patterns.is_empty()).then(|| {
            Arc::new(Self {
                rule: Rule::new(patterns),
                accounts,
                places: Semaphore::new(MOST_AT_ONCE),
                started: Mutex::default(),
            })
        })
    }

    /// Whether the recording of a session is to be started.
    #[must_use]
    pub fn wants(&self, session: &Begun) -> bool {
        self.rule.wants(session)
    }

    /// Starts it. `true` when there is nothing left to do: Zoom has taken the wish, or it can never come true. `false`
    /// when it may still come true, at the next delivery of the event.
    pub async fn start(&self, session: &Begun) -> bool {
        if self.remembers(session) {
            return true;
        }
        let Ok(_place) = self.places.try_acquire() else { return false };
        let (began, mut rest) = (Instant::now(), REST);
        loop {
            let error = match self.wish(session).await {
                Ok(()) => return self.done(session),
                Err(error) => error,
            };
            let may_be_unheard_of = began.elapsed() + rest <= UNHEARD_OF;
            let Some(named) = self.pause(session, &error, may_be_unheard_of) else { return true };
            let pause = named.unwrap_or(rest);
            if began.elapsed() + pause > PATIENCE {
                warn!(session.id = session.session_id, %error, "the recording is not started");
                count("failed");
                return false;
            }
            sleep(pause).await;
            rest = (2 * rest).min(LONGEST_REST);
        }
    }

    async fn wish(&self, session: &Begun) -> Result<(), ApiError> {
        let kind = RecordingKind::VideoSdk;
        let account = self.accounts.for_recordings(&session.account_id, kind);
        let account = account.ok_or(ApiError::NoCredentials(kind))?;
        account.api.control(&session.session_id, Control::Start).await
    }

    fn done(&self, session: &Begun) -> bool {
        info!(session.id = session.session_id, session.name = session.name, "recording started");
        count("started");
        self.remember(session);
        true
    }

    /// How long to rest before another try, as far as Zoom says; `None` when another try is no use.
    fn pause(&self, session: &Begun, error: &ApiError, may_be_unheard_of: bool) -> Option<Option<Duration>> {
        match error {
            ApiError::Refused { retry_after, .. } => Some(*retry_after),
            ApiError::Unreachable(_) | ApiError::Invalid(_) | ApiError::Superseded(_) => Some(None),
            ApiError::NotFound(_) if may_be_unheard_of => Some(None),
            ApiError::NotFound(_) | ApiError::NotNow(_) => {
                warn!(session.id = session.session_id, %error, "Zoom does not start the recording, or it runs already");
                count("needless");
                self.remember(session);
                None
            }
            ApiError::NoCredentials(_) | ApiError::NotAllowed(_) => {
                error!(session.id = session.session_id, %error, "the recording cannot be started");
                count("refused");
                None
            }
        }
    }

    fn remembers(&self, session: &Begun) -> bool {
        self.started.lock().unwrap_or_else(PoisonError::into_inner).contains(&session.session_id)
    }

    fn remember(&self, session: &Begun) {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        if started.len() == REMEMBERED {
            started.pop_front();
        }
        started.push_back(session.session_id.clone());
    }
}

fn count(outcome: &'static str) {
    metrics::counter!("zoom_archiver_auto_starts_total", "outcome" => outcome).increment(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::config::load::{Environment, load};

    fn rule(patterns: &[&str]) -> Option<Arc<AutoStart>> {
        let config = load(None, &Environment::new()).unwrap();
        let accounts = Accounts::new(&config.zoom, Vec::new(), Clock::System).unwrap();
        AutoStart::new(&patterns.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>(), accounts)
    }

    #[test]
    fn sessions_are_chosen_by_their_names() {
        assert!(rule(&[]).is_none());
        let rule = rule(&["lesson-*", "exam ?"]).unwrap();
        for (name, wanted) in [
            ("lesson-", true),
            ("lesson-7b", true),
            ("my lesson-7", false),
            ("exam 1", true),
            ("exam", false),
            ("", false),
        ] {
            let session =
                Begun { account_id: String::new(), session_id: "s".to_owned(), name: name.to_owned() };
            assert_eq!(rule.wants(&session), wanted, "{name}");
        }
        let nameless = Begun { account_id: String::new(), session_id: "s".to_owned(), name: String::new() };
        assert!(self::rule(&["*"]).unwrap().wants(&nameless));
    }

    #[test]
    fn a_session_that_begins_is_read_as_far_as_it_says() {
        let read = |object: &str| {
            Begun::read(format!(r#"{{"payload":{{"account_id":"a","object":{object}}}}}"#).as_bytes())
        };
        let begun = read(r#"{"id":"x","session_id":"/s==","session_name":"n"}"#).unwrap();
        assert_eq!(
            (begun.session_id.as_str(), begun.name.as_str(), begun.account_id.as_str()),
            ("/s==", "n", "a")
        );
        assert_eq!(read(r#"{"id":"x"}"#).unwrap().session_id, "x");
        assert_eq!(read(r#"{"session_name":"n"}"#), None);
        assert_eq!(Begun::read(b"[]"), None);
    }
}
