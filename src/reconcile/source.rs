//! Which lists of recordings there are to read, by account.

use std::fmt;

use crate::domain::recording::{RecordingIdentity, RecordingKind};
use crate::zoom::accounts::{Account, Accounts};
use crate::zoom::api::days::Days;
use crate::zoom::api::list::{ListOf, Listing, Within};

/// One list.
#[derive(Debug)]
pub struct Source<'a> {
    /// Whose credentials it is read with.
    pub account: &'a Account,
    /// Which list.
    pub of: ListOf,
    /// Zoom's id of the account, as far as it is known.
    account_id: Option<&'a str>,
}

impl<'a> Source<'a> {
    /// Begins to read it.
    #[must_use]
    pub fn read(&self, days: Days) -> Listing<'a> {
        self.account.api.recordings(self.of.clone(), Within::Days(days))
    }

    /// Says that Zoom does not list some days, however it is asked.
    #[must_use]
    pub fn unlisted(&self, days: Days) -> String {
        format!(
            "Zoom does not list {self} for {days} (UTC, the last day excluded): what began then may be missing"
        )
    }

    /// Whether a recording with this identity would be in it, had Zoom still got it.
    #[must_use]
    pub fn is_whole_for(&self, recording: &RecordingIdentity) -> bool {
        let is_kind = match (&self.of, recording.kind) {
            (ListOf::Sessions { .. }, RecordingKind::VideoSdk) => true,
            (ListOf::Meetings, kind) => matches!(kind, RecordingKind::Meeting | RecordingKind::Webinar),
            // What one user has not got, others may have.
            // Where the app lacks the scope for calls, their list is empty; and it knows nothing of voicemails.
            (ListOf::Sessions { .. } | ListOf::MeetingsOfUser(_) | ListOf::Calls, _) => false,
        };
        is_kind && self.account_id == Some(recording.account_id.as_str())
    }
}

/// For people: `sessions of account "default"`.
impl fmt::Display for Source<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.of {
            ListOf::Sessions { .. } => f.write_str("sessions")?,
            ListOf::Meetings => f.write_str("meetings")?,
            ListOf::MeetingsOfUser(user) => write!(f, "meetings of {user}")?,
            ListOf::Calls => f.write_str("recorded calls")?,
        }
        write!(f, " of account \"{}\"", self.account.name)
    }
}

/// What there is to read.
#[derive(Debug)]
pub struct Sources<'a> {
    /// The lists.
    pub lists: Vec<Source<'a>>,
    /// What cannot be listed although there are credentials, in words.
    pub unlisted: Vec<String>,
}

/// Why there is nothing to read.
#[derive(Debug, thiserror::Error)]
pub enum NoSource {
    /// No account has this name.
    #[error("there is no account \"{name}\"; there {}", are(.known))]
    UnknownAccount {
        /// The name.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// A user is one account's, and there are several to be asked.
    #[error("whose user is that? say which account with --account; there {}", are(.0))]
    WhoseUser(Vec<String>),
    /// Nobody can be asked.
    #[error(
        "there are no credentials to list recordings with: set ZOOM_VIDEO_SDK_API_KEY, ZOOM_VIDEO_SDK_API_SECRET and \
         ZOOM_VIDEO_SDK_ACCOUNT_ID for sessions, ZOOM_ACCOUNT_ID, ZOOM_CLIENT_ID and ZOOM_CLIENT_SECRET for meetings"
    )]
    NoCredentials,
    /// Only what cannot be listed.
    #[error("{}", .0.join("; "))]
    Unlisted(Vec<String>),
}

fn are(known: &[String]) -> String {
    match known {
        [one] => format!("is \"{one}\""),
        all => format!("are \"{}\"", all.join("\", \"")),
    }
}

/// The lists of all accounts, or of the one with this name; with a user (Zoom's id or e-mail address), only the meetings
/// that this user hosted. A user is one account's: where several can be asked for meetings, the name is needed.
///
/// # Errors
/// See [`NoSource`].
pub fn sources<'a>(
    accounts: &'a Accounts,
    name: Option<&str>,
    user: Option<&str>,
) -> Result<Sources<'a>, NoSource> {
    let wanted: Vec<_> =
        accounts.iter().filter(|account| name.is_none_or(|name| account.name == name)).collect();
    if let (Some(name), true) = (name, wanted.is_empty()) {
        let known = accounts.iter().map(|account| account.name.clone()).collect();
        return Err(NoSource::UnknownAccount { name: name.to_owned(), known });
    }
    if user.is_some() && name.is_none() {
        let able = wanted.iter().filter(|account| account.api.knows(RecordingKind::Meeting));
        let able: Vec<_> = able.map(|account| account.name.clone()).collect();
        if able.len() > 1 {
            return Err(NoSource::WhoseUser(able));
        }
    }
    let mut sources = Sources { lists: Vec::new(), unlisted: Vec::new() };
    for account in wanted {
        if user.is_none() {
            sources.add_sessions(account);
        }
        sources.add_meetings(account, user);
    }
    match sources {
        Sources { lists, unlisted } if lists.is_empty() && unlisted.is_empty() => {
            Err(NoSource::NoCredentials)
        }
        Sources { lists, unlisted } if lists.is_empty() => Err(NoSource::Unlisted(unlisted)),
        sources => Ok(sources),
    }
}

impl<'a> Sources<'a> {
    fn add_sessions(&mut self, account: &'a Account) {
        if !account.api.knows(RecordingKind::VideoSdk) {
            return;
        }
        // Not the id that the credentials for meetings name: sessions are often of another account, and under a wrong id
        // all of them would be other recordings, archived a second time.
        match account.api.account_id(RecordingKind::VideoSdk) {
            Some(id) => self.lists.push(Source {
                account,
                of: ListOf::Sessions { account_id: id.to_owned() },
                account_id: Some(id),
            }),
            None => self.unlisted.push(format!(
                "the sessions of account \"{}\" cannot be listed: Zoom's list does not say whose they are, so set \
                 ZOOM_VIDEO_SDK_ACCOUNT_ID, or account_id in its section of zoom.accounts",
                account.name
            )),
        }
    }

    fn add_meetings(&mut self, account: &'a Account, user: Option<&str>) {
        if account.api.knows(RecordingKind::Meeting) {
            let of = user.map_or(ListOf::Meetings, |user| ListOf::MeetingsOfUser(user.to_owned()));
            let account_id = account.account_id(RecordingKind::Meeting);
            self.lists.push(Source { account, of, account_id });
            if user.is_none() {
                self.lists.push(Source { account, of: ListOf::Calls, account_id });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::clock::Clock;
    use crate::config::Secrets;
    use crate::config::load::{Environment, load};

    const SDK: [&str; 2] = ["ZOOM_VIDEO_SDK_API_KEY", "ZOOM_VIDEO_SDK_API_SECRET"];
    const OAUTH: [&str; 3] = ["ZOOM_ACCOUNT_ID", "ZOOM_CLIENT_ID", "ZOOM_CLIENT_SECRET"];

    fn accounts(names: &[&str]) -> Accounts {
        let config = load(None, &Environment::new()).unwrap();
        let environment = names.iter().map(|name| ((*name).to_owned(), "value".to_owned())).collect();
        let secrets = Secrets::read(&environment, "/nowhere".as_ref()).unwrap();
        Accounts::new(&config.zoom, secrets.zoom_accounts(), Clock::System).unwrap()
    }

    fn listed(names: &[&str], user: Option<&str>) -> Result<Vec<String>, String> {
        let accounts = accounts(names);
        let sources = sources(&accounts, None, user).map_err(|error| error.to_string())?;
        Ok(sources.lists.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_list_is_read_that_there_are_credentials_for() {
        let all = [&SDK[..], &OAUTH, &["ZOOM_VIDEO_SDK_ACCOUNT_ID"]].concat();
        let expected = [
            "sessions of account \"default\"",
            "meetings of account \"default\"",
            "recorded calls of account \"default\"",
        ];
        assert_eq!(listed(&all, None).unwrap(), expected);
        assert_eq!(listed(&all, Some("ada")).unwrap(), ["meetings of ada of account \"default\""]);
        assert_eq!(listed(&OAUTH, None).unwrap(), expected[1..]);
    }

    #[test]
    fn what_cannot_be_listed_is_told_with_what_is_missing() {
        assert!(listed(&[], None).unwrap_err().contains("ZOOM_VIDEO_SDK_API_KEY"));
        assert!(listed(&SDK, Some("ada")).unwrap_err().contains("ZOOM_CLIENT_ID"));
        let told = listed(&SDK, None).unwrap_err();
        assert!(told.contains("ZOOM_VIDEO_SDK_ACCOUNT_ID") && !told.contains("ZOOM_CLIENT_ID"), "{told}");
        let both = accounts(&[&SDK[..], &OAUTH].concat());
        let found = sources(&both, None, None).unwrap();
        assert_eq!((found.lists.len(), found.unlisted.len()), (2, 1));
    }

    #[test]
    fn whose_user_is_meant_must_be_said_where_several_can_be_asked() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let account = |name: &str, keys: &str| {
            format!("[[zoom.accounts]]\nname = \"{name}\"\naccount_id = \"{name}\"\n{keys}\n")
        };
        let oauth = "client_id = \"c\"\nclient_secret = \"s\"";
        let text = [
            account("emea", oauth),
            account("apac", oauth),
            account("sdk", "video_sdk_api_key = \"k\"\nvideo_sdk_api_secret = \"s\""),
        ];
        file.write_all(text.concat().as_bytes()).unwrap();
        let config = load(Some(file.path()), &Environment::new()).unwrap();
        let secrets = Secrets::read(&Environment::new(), "/nowhere".as_ref()).unwrap();
        let accounts = secrets.with_accounts(&config.zoom).unwrap().zoom_accounts();
        let accounts = Accounts::new(&config.zoom, accounts, Clock::System).unwrap();
        let told = sources(&accounts, None, Some("ada")).unwrap_err().to_string();
        assert!(told.contains("--account") && told.contains("are \"emea\", \"apac\""), "{told}");
        assert_eq!(sources(&accounts, Some("apac"), Some("ada")).unwrap().lists.len(), 1);
        assert_eq!(sources(&accounts, None, None).unwrap().lists.len(), 5);
    }

    #[test]
    fn an_account_that_there_is_not_is_told_with_those_that_there_are() {
        let told = sources(&accounts(&OAUTH), Some("emea"), None).unwrap_err().to_string();
        assert_eq!(told, "there is no account \"emea\"; there is \"default\"");
    }
}
