//! The Zoom accounts of this installation, and which of them a question is asked with. Each has its own credentials, access
//! token and limits.

use std::sync::Arc;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::api::{Api, ApiError, ApiSetupError};
use crate::clock::Clock;
use crate::config::secrets::ZoomAccount;
use crate::config::zoom::ZoomConfig;
use crate::domain::event::Event;
use crate::domain::origin::is_zoom;
use crate::domain::recording::{RecordingIdentity, RecordingKind};
use crate::zoom::meeting_transcript::Transcript;
use crate::zoom::payload::UNKNOWN_ACCOUNT;

/// One account.
#[derive(Debug)]
pub struct Account {
    /// What a person calls it.
    pub name: String,
    /// Its API.
    pub api: Api,
    account_id: Option<String>,
}

impl Account {
    /// Zoom's id of the account whose recordings of this kind the API gives, as far as the configuration says.
    #[must_use]
    pub fn account_id(&self, kind: RecordingKind) -> Option<&str> {
        self.api.account_id(kind).or(self.account_id.as_deref())
    }
}

/// It is not clear which account is meant, or there is none.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NoAccount(String);

/// All accounts. Clones share them, and with them access tokens and limits.
#[derive(Debug, Clone)]
pub struct Accounts(Arc<[Account]>);

impl Accounts {
    /// Clients for the API of each account.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(config: &ZoomConfig, accounts: Vec<ZoomAccount>, clock: Clock) -> Result<Self, ApiSetupError> {
        let account = |account: ZoomAccount| {
            Ok(Account {
                api: Api::new(config, account.credentials, clock)?,
                name: account.name,
                account_id: account.account_id,
            })
        };
        accounts.into_iter().map(account).collect::<Result<_, _>>().map(Self)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Account> {
        self.0.iter()
    }

    /// The one with this name.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Account> {
        self.iter().find(|account| account.name == name)
    }

    /// The one whose credentials are for recordings of this kind in the account that Zoom calls `account_id`.
    ///
    /// Where there are several, somebody else's credentials are never tried: "no such recording" would be believed.
    /// Where there is one, it is for everything that may be its own.
    #[must_use]
    pub fn for_recordings(&self, account_id: &str, kind: RecordingKind) -> Option<&Account> {
        let mut able = self.iter().filter(|account| account.api.knows(kind));
        if let [only] = self.0.as_ref() {
            let is_open = account_id.is_empty() || account_id == UNKNOWN_ACCOUNT;
            let may_be_its_own = is_open || only.account_id(kind).is_none_or(|id| id == account_id);
            return able.find(|account| account.name == only.name).filter(|_| may_be_its_own);
        }
        let (mut exact, mut open) = (None, Vec::new());
        for account in able {
            match account.account_id(kind) {
                Some(id) if id == account_id => exact = exact.or(Some(account)),
                Some(_) => {}
                None => open.push(account),
            }
        }
        match (exact, open.as_slice()) {
            (Some(account), _) => Some(account),
            (None, [only]) if !self.is_named(account_id) => Some(only),
            _ => None,
        }
    }

    /// The one whose sessions are controlled: the one with this name, or the only one that can be asked.
    ///
    /// # Errors
    /// In words, when it is not clear which, or there is none.
    pub fn for_sessions(&self, name: Option<&str>) -> Result<&Account, NoAccount> {
        let able: Vec<_> = self.iter().filter(|account| account.api.knows(RecordingKind::VideoSdk)).collect();
        let names = || able.iter().map(|account| account.name.as_str()).collect::<Vec<_>>().join(", ");
        match (name, able.as_slice()) {
            (_, []) => Err(NoAccount(ApiError::NoCredentials(RecordingKind::VideoSdk).to_string())),
            (None, [only]) => Ok(only),
            (None, _) => Err(NoAccount(format!("which account? one of: {}", names()))),
            (Some(name), _) => able.iter().find(|account| account.name == name).copied().ok_or_else(|| {
                NoAccount(format!("no account `{name}` with Video SDK credentials; there is: {}", names()))
            }),
        }
    }

    /// Whether an account has this id, with whatever credentials.
    fn is_named(&self, account_id: &str) -> bool {
        self.iter().any(|account| account.account_id.as_deref() == Some(account_id))
    }

    /// Whether there are credentials to ask about a recording.
    #[must_use]
    pub fn know(&self, recording: &RecordingIdentity) -> bool {
        self.for_recordings(&recording.account_id, recording.kind).is_some()
    }

    /// Returns the bearer token that the API is asked with about a recording, which is documented to open its files where
    /// Zoom gives no download token: the OAuth access token (meetings, calls), or the JWT (Video SDK). It opens much else,
    /// so it is to be kept nowhere, and sent to no origin but those of [`Self::is_zooms_own`]. `refused` is one that Zoom
    /// has just refused; another one is returned then. `None` where there are no credentials for the account.
    ///
    /// Source: Zoom API references, "Get meeting recordings" and "List session's recordings", `download_url`.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn bearer(
        &self,
        recording: &RecordingIdentity,
        refused: Option<&SecretString>,
    ) -> Result<Option<SecretString>, ApiError> {
        let kind = scopes_of(recording.kind);
        match self.for_recordings(&recording.account_id, kind) {
            Some(account) => account.api.bearer(kind, refused).await.map(Some),
            None => Ok(None),
        }
    }

    /// Asks where AI Companion's transcript of a meeting is, with the credentials of its account; see [`Api::transcript`].
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn transcript(&self, meeting: &RecordingIdentity) -> Result<Transcript, ApiError> {
        let account = self.for_recordings(&meeting.account_id, meeting.kind);
        account.ok_or(ApiError::NoCredentials(meeting.kind))?.api.transcript(meeting).await
    }

    /// Whether Zoom still accepts a bearer token of [`Self::bearer`]; see [`Api::accepts`].
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn accepts(
        &self,
        recording: &RecordingIdentity,
        bearer: &SecretString,
    ) -> Result<bool, ApiError> {
        match self.for_recordings(&recording.account_id, scopes_of(recording.kind)) {
            Some(account) => account.api.accepts(recording, bearer).await,
            None => Ok(true),
        }
    }

    /// Whether a URL leads to Zoom itself: to a host of Zoom's, or to the origin that the settings call Zoom's API. An
    /// origin of `zoom.download_hosts` is not Zoom's own.
    #[must_use]
    pub fn is_zooms_own(&self, url: &SecretString) -> bool {
        let is_own = |url: &Url| is_zoom(url) || self.iter().any(|account| account.api.is_at(url));
        Url::parse(url.expose_secret()).is_ok_and(|url| is_own(&url))
    }

    /// Asks for one recording with the credentials of its account; see [`Api::recording`].
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn recording(&self, recording: &RecordingIdentity) -> Result<Event, ApiError> {
        match self.for_recordings(&recording.account_id, recording.kind) {
            Some(account) => account.api.recording(recording).await,
            None => Err(ApiError::NoCredentials(recording.kind)),
        }
    }
}

/// Whose API is asked about recordings of this kind: meetings and calls have the same OAuth server, and may be the scopes of one
/// app.
fn scopes_of(kind: RecordingKind) -> RecordingKind {
    match kind {
        RecordingKind::Phone => RecordingKind::Meeting,
        kind => kind,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::{Environment, load};
    use crate::config::secrets::{OAuthCredentials, VideoSdkCredentials, ZoomCredentials};

    const SESSION: RecordingKind = RecordingKind::VideoSdk;
    const MEETING: RecordingKind = RecordingKind::Meeting;

    fn account(name: &str, id: Option<&str>, video_sdk: bool, oauth: bool) -> ZoomAccount {
        let id = id.map(str::to_owned);
        let video_sdk = video_sdk.then(|| VideoSdkCredentials {
            account_id: id.clone(),
            api_key: "k".into(),
            api_secret: "s".into(),
        });
        let oauth = oauth.then(|| OAuthCredentials {
            account_id: id.clone().unwrap_or_default(),
            client_id: "c".into(),
            client_secret: "s".into(),
        });
        let credentials = ZoomCredentials { video_sdk, oauth };
        ZoomAccount {
            name: name.to_owned(),
            account_id: id,
            sub_account_ids: Vec::new(),
            webhook_secret_tokens: Vec::new(),
            credentials,
            sdk: None,
        }
    }

    fn chosen<const N: usize>(accounts: [ZoomAccount; N], id: &str, kind: RecordingKind) -> Option<String> {
        let config = load(None, &Environment::new()).unwrap();
        let accounts = Accounts::new(&config.zoom, accounts.into(), Clock::System).unwrap();
        accounts.for_recordings(id, kind).map(|account| account.name.clone())
    }

    #[test]
    fn the_account_of_a_recording_is_asked_and_no_other() {
        let all = || [account("a", Some("1"), true, true), account("b", Some("2"), true, false)];
        assert_eq!(chosen(all(), "1", MEETING).as_deref(), Some("a"));
        assert_eq!(chosen(all(), "2", SESSION).as_deref(), Some("b"));
        assert_eq!(chosen(all(), "2", MEETING), None);
        assert_eq!(chosen(all(), "3", SESSION), None);
    }

    #[test]
    fn one_account_alone_is_for_everything_that_it_can_be_asked_about() {
        let one = || [account("a", Some("1"), false, true)];
        assert_eq!(chosen(one(), "1", MEETING).as_deref(), Some("a"));
        assert_eq!(chosen(one(), UNKNOWN_ACCOUNT, MEETING).as_deref(), Some("a"));
        assert_eq!(chosen(one(), "1", SESSION), None);
        let nameless = [account("default", None, true, false)];
        assert_eq!(chosen(nameless, "2", SESSION).as_deref(), Some("default"));
    }

    #[test]
    fn one_account_alone_is_not_asked_about_what_is_somebody_elses() {
        assert_eq!(chosen([account("a", Some("1"), false, true)], "2", MEETING), None);
    }

    #[test]
    fn one_that_does_not_say_whose_it_is_is_for_what_belongs_to_no_other() {
        let all = || [account("default", None, true, false), account("b", Some("2"), false, true)];
        assert_eq!(chosen(all(), "1", SESSION).as_deref(), Some("default"));
        assert_eq!(chosen(all(), "2", SESSION), None);
        let two = [account("default", None, true, false), account("b", None, true, false)];
        assert_eq!(chosen(two, "1", SESSION), None, "nobody knows which");
    }
}
