//! What a call is for: whom it asks, how heavy it is, and what a person must tick for it. Classes and scopes are those of
//! Zoom's API references ("Rate Limit Label", "Granular Scopes"); docs/zoom.md says which of them are not sure.

use super::Product;
use super::limits::Class;

/// One kind of call.
#[derive(Debug)]
pub(super) struct Purpose {
    pub(super) product: Product,
    pub(super) class: Class,
    /// As it is to be ticked on the Scopes page of a Server-to-Server OAuth app; a Video SDK account has none.
    pub(super) scope: Option<&'static str>,
    /// Whether it is about what goes on now.
    pub(super) is_live: bool,
    /// What is asked for, after "Zoom does not let … ".
    pub(super) words: &'static str,
}

/// What an app for meetings is used for without being asked to show it: it would have to do it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Fresh URLs and tokens for files whose own have expired.
    Renew,
    /// What `after_archive` asks for.
    Remove,
    /// Recordings that are taken out of Zoom's trash.
    Recover,
}

impl Use {
    /// As they are to be ticked on the Scopes page.
    pub(super) fn scopes(self) -> impl Iterator<Item = &'static str> {
        let purposes: Vec<&'static Purpose> = match self {
            Self::Renew => vec![&MEETING_RECORDINGS],
            Self::Remove => vec![&REMOVE_MEETING, &REMOVE_MEETING_FILE],
            Self::Recover => vec![&RECOVER_MEETING, &RECOVER_MEETING_FILE],
        };
        purposes.into_iter().filter_map(|purpose| purpose.scope)
    }
}

/// Whether one of the scopes that an app has been given is this one, or the same for a master account.
pub(super) fn is_given(scope: &str, given: &[String]) -> bool {
    let stem = scope.strip_suffix(":admin").unwrap_or(scope);
    given.iter().any(|given| given == scope || given.strip_suffix(":master") == Some(stem))
}

const fn video_sdk(class: Class, words: &'static str) -> Purpose {
    Purpose { product: Product::VideoSdk, class, scope: None, is_live: false, words }
}

const fn meetings(class: Class, scope: &'static str, words: &'static str) -> Purpose {
    Purpose { product: Product::Meetings, class, scope: Some(scope), is_live: false, words }
}

const SEE: &str = "see this recording";
const LIST: &str = "list the recordings of the account";
const REMOVE: &str = "remove this recording";
const REMOVE_FILE: &str = "remove this file";
const RECOVER: &str = "recover this recording";
const RECOVER_FILE: &str = "recover this file";

pub(super) static SESSION_RECORDINGS: Purpose = video_sdk(Class::Light, SEE);
pub(super) static MEETING_RECORDINGS: Purpose =
    meetings(Class::Light, "cloud_recording:read:list_recording_files:admin", SEE);

/// Class and scope: unconfirmed.
pub(super) static MEETING_TRANSCRIPT: Purpose =
    meetings(Class::Light, "cloud_recording:read:meeting_transcript:admin", "see this transcript");

pub(super) static LIST_SESSIONS: Purpose = video_sdk(Class::Medium, LIST);
pub(super) static LIST_MEETINGS: Purpose =
    meetings(Class::Medium, "cloud_recording:read:list_account_recordings:admin", LIST);
pub(super) static LIST_MEETINGS_OF_USER: Purpose = meetings(
    Class::Medium,
    "cloud_recording:read:list_user_recordings:admin",
    "list the recordings of this user",
);

/// Scope: by Zoom's newer names, unconfirmed; `phone_recording:read:admin` by the older ones.
pub(super) static LIST_CALLS: Purpose =
    meetings(Class::Medium, "phone:read:list_recordings:admin", "list the recorded calls of the account");

pub(super) static REMOVE_SESSION: Purpose = video_sdk(Class::Light, REMOVE);
pub(super) static REMOVE_SESSION_FILE: Purpose = video_sdk(Class::Light, REMOVE_FILE);
pub(super) static REMOVE_MEETING: Purpose =
    meetings(Class::Light, "cloud_recording:delete:meeting_recording:admin", REMOVE);
pub(super) static REMOVE_MEETING_FILE: Purpose =
    meetings(Class::Light, "cloud_recording:delete:recording_file:admin", REMOVE_FILE);

pub(super) static RECOVER_SESSION: Purpose = video_sdk(Class::Light, RECOVER);
pub(super) static RECOVER_SESSION_FILE: Purpose = video_sdk(Class::Light, RECOVER_FILE);
pub(super) static RECOVER_MEETING: Purpose =
    meetings(Class::Light, "cloud_recording:update:recover_meeting_recordings:admin", RECOVER);
pub(super) static RECOVER_MEETING_FILE: Purpose =
    meetings(Class::Light, "cloud_recording:update:recover_single_recording:admin", RECOVER_FILE);

pub(super) static CONTROL_SESSION: Purpose =
    Purpose { is_live: true, ..video_sdk(Class::Light, "control the recording of this session") };
pub(super) static WEBHOOK_LOG: Purpose = video_sdk(Class::Heavy, "read the webhook log");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scope_is_given_as_it_is_named_or_for_a_master_account() {
        let given = |scopes: &[&str]| {
            let scopes: Vec<String> = scopes.iter().map(|scope| (*scope).to_owned()).collect();
            is_given("a:read:b:admin", &scopes)
        };
        assert!(given(&["x:y", "a:read:b:admin"]) && given(&["a:read:b:master"]));
        assert!(!given(&["a:read:b", "a:read:b:admins", "a:read:bc:admin"]) && !given(&[]));
    }
}
