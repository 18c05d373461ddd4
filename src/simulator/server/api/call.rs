//! Which question is asked.

use axum::http::Method;
use percent_encoding::percent_decode_str;

use crate::simulator::ledger::Endpoint;

/// A question to the API.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// The files of one session or meeting.
    Recordings { sessions: bool, id: String },
    /// AI Companion's transcript of a meeting.
    Transcript { id: String },
    /// A recording, or a file of it, is to be removed.
    Remove { sessions: bool, id: String, file: Option<String> },
    /// A recording, or a file of it, is to come back from the trash.
    Recover { sessions: bool, id: String, file: Option<String> },
    /// Recordings by time.
    List { whose: Whose },
    /// Something is to be done to a live session.
    SessionEvents { id: String },
    /// Deliveries of events.
    WebhookLog,
}

/// Whose recordings are listed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// The Video SDK account's.
    Sessions,
    /// An account's, by its id or as `me`.
    Account(String),
    /// A user's, by id or e-mail address.
    User(String),
    /// The account's recorded calls.
    Calls,
}

impl Call {
    /// The path is decoded once before it is taken apart, as at Zoom, and each id once more: one that holds `/` or `+`
    /// arrives as itself only when it was encoded twice.
    pub(super) fn read(method: &Method, path: &str) -> Option<Self> {
        let path = percent_decode_str(path).decode_utf8().ok()?;
        let steps: Vec<_> = path.strip_prefix("/v2/")?.split('/').collect();
        let (sessions, steps) = match steps.as_slice() {
            ["videosdk", "recordings"] if method == Method::GET => {
                return Some(Self::List { whose: Whose::Sessions });
            }
            ["videosdk", "report", "webhook_logs"] if method == Method::GET => return Some(Self::WebhookLog),
            ["phone", "recordings"] if method == Method::GET => {
                return Some(Self::List { whose: Whose::Calls });
            }
            ["meetings", id, "transcript"] if method == Method::GET => {
                return Some(Self::Transcript { id: decoded(id)? });
            }
            ["accounts", id, "recordings"] if method == Method::GET => {
                return Some(Self::List { whose: Whose::Account(decoded(id)?) });
            }
            ["users", id, "recordings"] if method == Method::GET => {
                return Some(Self::List { whose: Whose::User(decoded(id)?) });
            }
            ["videosdk", "sessions", id, "events"] if method == Method::PATCH => {
                return Some(Self::SessionEvents { id: decoded(id)? });
            }
            ["videosdk", "sessions", rest @ ..] => (true, rest),
            ["meetings", rest @ ..] => (false, rest),
            _ => return None,
        };
        let [id, "recordings", rest @ ..] = steps else { return None };
        let id = decoded(id)?;
        match (method.as_str(), rest) {
            ("GET", []) => Some(Self::Recordings { sessions, id }),
            ("DELETE", []) => Some(Self::Remove { sessions, id, file: None }),
            ("DELETE", [file]) => Some(Self::Remove { sessions, id, file: Some(decoded(file)?) }),
            ("PUT", ["status"]) => Some(Self::Recover { sessions, id, file: None }),
            ("PUT", [file, "status"]) => Some(Self::Recover { sessions, id, file: Some(decoded(file)?) }),
            _ => None,
        }
    }

    pub(super) fn endpoint(&self) -> Endpoint {
        match self {
            Self::Recordings { sessions: true, .. } => Endpoint::SessionRecordings,
            Self::Recordings { .. } => Endpoint::MeetingRecordings,
            Self::Transcript { .. } => Endpoint::MeetingTranscript,
            Self::List { whose: Whose::Calls } => Endpoint::Calls,
            Self::Remove { .. } => Endpoint::Remove,
            Self::Recover { .. } => Endpoint::Recover,
            Self::List { whose: Whose::Sessions } => Endpoint::Sessions,
            Self::List { whose: Whose::Account(_) } => Endpoint::Meetings,
            Self::List { whose: Whose::User(_) } => Endpoint::UserMeetings,
            Self::SessionEvents { .. } => Endpoint::SessionEvents,
            Self::WebhookLog => Endpoint::WebhookLog,
        }
    }

    /// Whether it is asked with a token that the Video SDK account has signed.
    pub(super) fn is_video_sdk(&self) -> bool {
        match self {
            Self::Recordings { sessions, .. }
            | Self::Remove { sessions, .. }
            | Self::Recover { sessions, .. } => *sessions,
            Self::List { whose } => *whose == Whose::Sessions,
            Self::Transcript { .. } => false,
            Self::SessionEvents { .. } | Self::WebhookLog => true,
        }
    }

    /// The session or meeting that it is about.
    pub(super) fn subject(&self) -> Option<&str> {
        match self {
            Self::Recordings { id, .. }
            | Self::Transcript { id }
            | Self::Remove { id, .. }
            | Self::Recover { id, .. }
            | Self::SessionEvents { id } => Some(id),
            Self::List { .. } | Self::WebhookLog => None,
        }
    }
}

fn decoded(id: &str) -> Option<String> {
    let id = id.replace('+', " ");
    let id = percent_decode_str(&id).decode_utf8().ok()?.into_owned();
    Some(id).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_arrives_as_itself_only_when_it_was_encoded_as_zoom_wants_it() {
        let asked = |id: &str| Call::read(&Method::GET, &format!("/v2/videosdk/sessions/{id}/recordings"));
        let found = |id: &str| Some(Call::Recordings { sessions: true, id: id.to_owned() });
        assert_eq!(asked("%252FQ0z%252F9%252Baa%253D%253D"), found("/Q0z/9+aa=="));
        assert_eq!(asked("%2FQ0z%2F9%2Baa%3D%3D"), None);
        assert_eq!(asked("Q0z9%2Baa%3D%3D"), found("Q0z9 aa=="));
        assert_eq!(asked("Q0z9aa%3D%3D"), found("Q0z9aa=="));
        assert_eq!(asked("Q0z9aa=="), found("Q0z9aa=="));
        assert_eq!(asked(""), None);
        let meeting = Call::Recordings { sessions: false, id: "a=".to_owned() };
        assert_eq!(Call::read(&Method::GET, "/v2/meetings/a%3D/recordings"), Some(meeting));
        assert_eq!(Call::read(&Method::POST, "/v2/meetings/a%3D/recordings"), None);
    }

    #[test]
    fn every_call_has_its_method_and_its_path() {
        for (method, path, endpoint) in [
            (Method::GET, "videosdk/recordings", Endpoint::Sessions),
            (Method::GET, "accounts/me/recordings", Endpoint::Meetings),
            (Method::GET, "users/a%40b/recordings", Endpoint::UserMeetings),
            (Method::GET, "phone/recordings", Endpoint::Calls),
            (Method::GET, "meetings/a/transcript", Endpoint::MeetingTranscript),
            (Method::GET, "videosdk/report/webhook_logs", Endpoint::WebhookLog),
            (Method::DELETE, "meetings/a/recordings", Endpoint::Remove),
            (Method::DELETE, "videosdk/sessions/a/recordings/b", Endpoint::Remove),
            (Method::PUT, "videosdk/sessions/a/recordings/status", Endpoint::Recover),
            (Method::PUT, "meetings/a/recordings/b/status", Endpoint::Recover),
            (Method::PATCH, "videosdk/sessions/a/events", Endpoint::SessionEvents),
        ] {
            let path = format!("/v2/{path}");
            assert_eq!(Call::read(&method, &path).map(|call| call.endpoint()), Some(endpoint), "{path}");
            assert_eq!(Call::read(&Method::POST, &path), None, "{path}");
        }
    }
}
