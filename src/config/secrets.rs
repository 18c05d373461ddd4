//! Secrets, and the addresses that hold them: from the environment, and those of further accounts from
//! `[[zoom.accounts]]`. Never in `Debug`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::load::{ConfigError, Environment};
use super::notify::{NotifyConfig, Target};
use super::shown;
use super::zoom::ZoomConfig;
use crate::domain::account::{AccountNames, DEFAULT_ACCOUNT};

const WEBHOOK_SECRET_TOKEN: &str = "ZOOM_WEBHOOK_SECRET_TOKEN";
const VIDEO_SDK: [&str; 2] = ["ZOOM_VIDEO_SDK_API_KEY", "ZOOM_VIDEO_SDK_API_SECRET"];
const VIDEO_SDK_ACCOUNT: &str = "ZOOM_VIDEO_SDK_ACCOUNT_ID";
const SDK: [&str; 2] = ["ZOOM_VIDEO_SDK_KEY", "ZOOM_VIDEO_SDK_SECRET"];
const OAUTH: [&str; 3] = ["ZOOM_ACCOUNT_ID", "ZOOM_CLIENT_ID", "ZOOM_CLIENT_SECRET"];
const DATABASE_URL: &str = "DATABASE_URL";
const ARCHIVE_URL: &str = "ARCHIVE_URL";
const ADMIN_TOKEN: &str = "ADMIN_TOKEN";
/// OpenTelemetry's own variables, which its SDK reads: these say whether anything is traced (OpenTelemetry specification,
/// "OTLP Exporter Configuration" and "General SDK Configuration").
const TRACE_ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const TRACES_DISABLED: &str = "OTEL_SDK_DISABLED";
/// `none` for nothing.
const TRACES_EXPORTER: &str = "OTEL_TRACES_EXPORTER";
/// In milliseconds; the first that is one counts.
const TRACE_TIMEOUTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT"];
const TRACE_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether a variable is one of those that are read here.
pub(super) fn is_name(variable: &str) -> bool {
    let name = variable.strip_suffix("_FILE").unwrap_or(variable);
    [WEBHOOK_SECRET_TOKEN, VIDEO_SDK_ACCOUNT, DATABASE_URL, ARCHIVE_URL, ADMIN_TOKEN].contains(&name)
        || VIDEO_SDK.contains(&name)
        || OAUTH.contains(&name)
        || SDK.contains(&name)
}

/// Secrets and addresses.
#[derive(Debug, Clone)]
pub struct Secrets {
    /// Secret Tokens of the Zoom apps; every one of them is tried.
    pub webhook_secret_tokens: Vec<SecretString>,
    /// `sqlite:PATH` or `postgres://…`; may hold a password.
    pub database_url: SecretString,
    /// `s3://bucket/prefix` or `file:///path`; somebody may have written credentials into it.
    pub archive_url: SecretString,
    /// What Zoom's API is asked with.
    pub zoom: ZoomCredentials,
    /// What session tokens are signed with.
    pub sdk: Option<SdkCredentials>,
    /// Accounts beside the one that the above is for.
    pub accounts: Vec<ZoomAccount>,
    /// Who is told of what happens.
    pub targets: Vec<Target>,
    /// Bearer token of the private door.
    pub admin_token: Option<SecretString>,
    /// How long the place where traces go may take for an answer; `None` where OpenTelemetry's variables name no such place.
    pub traces: Option<Duration>,
    /// Where the defaults of the two addresses lie.
    pub data_dir: PathBuf,
}

/// One Zoom account with its secrets.
#[derive(Debug, Clone)]
pub struct ZoomAccount {
    /// What a person calls it; `default` for that of the environment.
    pub name: String,
    /// Zoom's id of it, where it is known.
    pub account_id: Option<String>,
    /// Zoom's ids of further accounts that events with its secret may be about: those of a master app.
    pub sub_account_ids: Vec<String>,
    /// Secret Tokens of its apps.
    pub webhook_secret_tokens: Vec<SecretString>,
    /// What the API is asked with about its recordings.
    pub credentials: ZoomCredentials,
    /// What session tokens are signed with.
    pub sdk: Option<SdkCredentials>,
}

impl ZoomAccount {
    /// Whether its secrets are in the environment.
    #[must_use]
    pub fn is_of_environment(&self) -> bool {
        self.name == DEFAULT_ACCOUNT
    }
}

/// What Zoom's API is asked with. Each product has credentials of its own, and each may be missing.
#[derive(Debug, Clone, Default)]
pub struct ZoomCredentials {
    /// For Video SDK sessions: `ZOOM_VIDEO_SDK_API_KEY`, `ZOOM_VIDEO_SDK_API_SECRET`.
    pub video_sdk: Option<VideoSdkCredentials>,
    /// For meetings and webinars: `ZOOM_ACCOUNT_ID`, `ZOOM_CLIENT_ID`, `ZOOM_CLIENT_SECRET`.
    pub oauth: Option<OAuthCredentials>,
}

/// API key and API secret of a Video SDK account, from its Build App page (not the SDK key and secret beside them).
#[derive(Debug, Clone)]
pub struct VideoSdkCredentials {
    /// Zoom's id of the account, which the list of its sessions does not say; no secret.
    pub account_id: Option<String>,
    /// Names the account.
    pub api_key: SecretString,
    /// Signs our tokens.
    pub api_secret: SecretString,
}

/// SDK key and SDK secret of a Video SDK app: other ones than the API key and secret beside them.
#[derive(Debug, Clone)]
pub struct SdkCredentials {
    /// Names the app; every client that joins shows it.
    pub sdk_key: String,
    /// Signs the tokens of those who join.
    pub sdk_secret: SecretString,
}

/// App credentials of a Server-to-Server OAuth app.
#[derive(Debug, Clone)]
pub struct OAuthCredentials {
    /// The account that the app belongs to; no secret.
    pub account_id: String,
    /// Names the app.
    pub client_id: SecretString,
    /// Proves to be the app.
    pub client_secret: SecretString,
}

impl ZoomCredentials {
    /// Zoom's id of the account, as far as all credentials agree on it: a Video SDK account may be another one than that
    /// of the meetings.
    fn account_id(&self) -> Option<String> {
        let of_meetings = self.oauth.as_ref().map(|oauth| Some(&oauth.account_id));
        let of_sessions = self.video_sdk.as_ref().map(|video_sdk| video_sdk.account_id.as_ref());
        match (of_meetings, of_sessions) {
            (Some(one), Some(other)) if one != other => None,
            (one, other) => one.or(other).flatten().cloned(),
        }
    }

    /// The variable that names this account.
    fn variable_of(&self, id: &str) -> Option<&'static str> {
        let of_sessions = self.video_sdk.as_ref().and_then(|video_sdk| video_sdk.account_id.as_deref());
        let of_meetings = self.oauth.as_ref().map(|oauth| oauth.account_id.as_str());
        let named = [(VIDEO_SDK_ACCOUNT, of_sessions), (OAUTH[0], of_meetings)];
        named.into_iter().find(|(_, named)| *named == Some(id)).map(|(variable, _)| variable)
    }

    fn read(environment: &Environment) -> Result<Self, ConfigError> {
        let account_id = value(environment, VIDEO_SDK_ACCOUNT)?;
        let pair = complete(environment, VIDEO_SDK)?;
        if account_id.is_some() && pair.is_none() {
            let names = [VIDEO_SDK.as_slice(), &[VIDEO_SDK_ACCOUNT]].concat();
            return Err(ConfigError::Incomplete { missing: VIDEO_SDK.to_vec(), names });
        }
        let video_sdk = pair.map(|[api_key, api_secret]| VideoSdkCredentials {
            account_id,
            api_key: api_key.into(),
            api_secret: api_secret.into(),
        });
        let oauth = complete(environment, OAUTH)?.map(|[account_id, client_id, client_secret]| {
            OAuthCredentials { account_id, client_id: client_id.into(), client_secret: client_secret.into() }
        });
        Ok(Self { video_sdk, oauth })
    }
}

/// The values of variables that count only together: all of them or none.
fn complete<const N: usize>(
    environment: &Environment,
    names: [&'static str; N],
) -> Result<Option<[String; N]>, ConfigError> {
    let mut values = Vec::new();
    let mut missing = Vec::new();
    for name in names {
        match value(environment, name)? {
            Some(value) => values.push(value),
            None => missing.push(name),
        }
    }
    match <[String; N]>::try_from(values) {
        Ok(all) => Ok(Some(all)),
        Err(none) if none.is_empty() => Ok(None),
        Err(_) => Err(ConfigError::Incomplete { missing, names: names.to_vec() }),
    }
}

/// Whether traces are wanted, and how long whoever takes them may take.
fn traces(environment: &Environment) -> Option<Duration> {
    let told = |name: &str| environment.get(name).map(|text| text.trim()).filter(|text| !text.is_empty());
    let says = |name: &str, word: &str| told(name).is_some_and(|text| text.eq_ignore_ascii_case(word));
    let is_wanted = TRACE_ENDPOINTS.into_iter().any(|name| told(name).is_some());
    if !is_wanted || says(TRACES_DISABLED, "true") || says(TRACES_EXPORTER, "none") {
        return None;
    }
    let millis = TRACE_TIMEOUTS.into_iter().find_map(|name| told(name)?.parse().ok());
    Some(millis.map_or(TRACE_TIMEOUT, Duration::from_millis))
}

impl Secrets {
    /// Reads them from `environment`; what is missing defaults into `data_dir`.
    ///
    /// # Errors
    /// When a `<NAME>_FILE` cannot be read, a name is given both ways, or credentials are given by half.
    pub fn read(environment: &Environment, data_dir: &Path) -> Result<Self, ConfigError> {
        let tokens = value(environment, WEBHOOK_SECRET_TOKEN)?.unwrap_or_default();
        let under = |name: &str| {
            std::path::absolute(data_dir.join(name))
                .map_err(|error| ConfigError::DataDir(data_dir.to_owned(), error))
        };
        let database_url = match value(environment, DATABASE_URL)? {
            Some(url) => url,
            None => format!("sqlite:{}", under("zoom-archiver.db")?.display()),
        };
        let archive_url = match value(environment, ARCHIVE_URL)? {
            Some(url) => url,
            None => format!("file://{}", under("archive")?.display()),
        };
        Ok(Self {
            webhook_secret_tokens: list_of(&tokens),
            database_url: database_url.into(),
            archive_url: archive_url.into(),
            zoom: ZoomCredentials::read(environment)?,
            sdk: complete(environment, SDK)?
                .map(|[sdk_key, sdk_secret]| SdkCredentials { sdk_key, sdk_secret: sdk_secret.into() }),
            accounts: Vec::new(),
            targets: Vec::new(),
            admin_token: value(environment, ADMIN_TOKEN)?.map(SecretString::from),
            traces: traces(environment),
            data_dir: data_dir.to_owned(),
        })
    }
}

impl Secrets {
    /// Adds the accounts that the settings name, and reads their secrets.
    ///
    /// # Errors
    /// When a file of a secret cannot be read, or an account is that of the environment: which name would its recordings
    /// have, and whose credentials would be asked?
    pub fn with_accounts(mut self, config: &ZoomConfig) -> Result<Self, ConfigError> {
        for account in &config.accounts {
            let account = account.read()?;
            if let Some(variable) = account.account_id.as_ref().and_then(|id| self.zoom.variable_of(id)) {
                return Err(ConfigError::AccountTwice { name: account.name, variable });
            }
            self.accounts.push(account);
        }
        Ok(self)
    }

    /// Adds the receivers that the settings name, and reads their addresses and secrets.
    ///
    /// # Errors
    /// When a file of a secret cannot be read, or a secret or an address is none.
    pub fn with_targets(mut self, config: &NotifyConfig) -> Result<Self, ConfigError> {
        for target in &config.targets {
            self.targets.push(target.read()?);
        }
        Ok(self)
    }

    /// All accounts: that of the environment, unless it has no secret and there are others, and then the others.
    #[must_use]
    pub fn zoom_accounts(&self) -> Vec<ZoomAccount> {
        let own = ZoomAccount {
            name: DEFAULT_ACCOUNT.to_owned(),
            account_id: self.zoom.account_id(),
            sub_account_ids: Vec::new(),
            webhook_secret_tokens: self.webhook_secret_tokens.clone(),
            credentials: self.zoom.clone(),
            sdk: self.sdk.clone(),
        };
        let has_secret = !own.webhook_secret_tokens.is_empty()
            || own.credentials.video_sdk.is_some()
            || own.credentials.oauth.is_some();
        let own = Some(own).filter(|_| has_secret || self.accounts.is_empty());
        own.into_iter().chain(self.accounts.iter().cloned()).collect()
    }

    /// What the accounts are called, by their ids.
    #[must_use]
    pub fn account_names(&self) -> AccountNames {
        if self.accounts.is_empty() {
            return AccountNames::default();
        }
        let all = self.zoom_accounts();
        let is_closed = all.iter().all(|account| account.name != DEFAULT_ACCOUNT);
        let named = all.into_iter().flat_map(|account| {
            let video_sdk = account.credentials.video_sdk.and_then(|video_sdk| video_sdk.account_id);
            let oauth = account.credentials.oauth.map(|oauth| oauth.account_id);
            let ids = account.account_id.into_iter().chain(video_sdk).chain(oauth);
            ids.map(|id| (account.name.clone(), id)).collect::<Vec<_>>()
        });
        AccountNames::new(named, is_closed)
    }

    /// The database's address for people: without user, password and parameters.
    #[must_use]
    pub fn database_without_password(&self) -> String {
        shown::address(self.database_url.expose_secret())
    }

    /// The archive's address for people, likewise.
    #[must_use]
    pub fn archive_without_password(&self) -> String {
        shown::address(self.archive_url.expose_secret())
    }
}

/// Texts between commas.
pub(super) fn list_of(text: &str) -> Vec<SecretString> {
    text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(SecretString::from).collect()
}

/// `NAME`, or the content of the file that `NAME_FILE` names, without white space around it; an empty value is
/// no value.
fn value(environment: &Environment, name: &'static str) -> Result<Option<String>, ConfigError> {
    let direct = environment.get(name).filter(|text| !text.trim().is_empty());
    let file_name = format!("{name}_FILE");
    let file = environment.get(&file_name).filter(|path| !path.is_empty());
    match (direct, file) {
        (Some(_), Some(_)) => Err(ConfigError::Twice(name)),
        (Some(text), None) => bare(name, text),
        (None, Some(path)) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| ConfigError::SecretFile(file_name.clone(), PathBuf::from(path), error))?;
            bare(&file_name, &text)
        }
        (None, None) => Ok(None),
    }
}

/// A value without the white space around it, and without the byte order mark that some editors write. Quotation marks are part of
/// no value: shells take them away, and Docker's `--env-file` and mounted files do not.
fn bare(variable: &str, text: &str) -> Result<Option<String>, ConfigError> {
    let text = text.trim_start_matches('\u{feff}').trim();
    let is_within = |mark: char| text.len() > 1 && text.starts_with(mark) && text.ends_with(mark);
    if is_within('"') || is_within('\'') {
        return Err(ConfigError::Quoted(variable.to_owned()));
    }
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Secrets, ConfigError> {
        let environment =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Secrets::read(&environment, Path::new("/var/lib/za"))
    }

    #[test]
    fn without_anything_database_and_archive_lie_in_the_data_directory() {
        let secrets = read(&[]).unwrap();
        assert_eq!(secrets.database_url.expose_secret(), "sqlite:/var/lib/za/zoom-archiver.db");
        assert_eq!(secrets.archive_url.expose_secret(), "file:///var/lib/za/archive");
        assert!(secrets.webhook_secret_tokens.is_empty());
    }

    #[test]
    fn several_secret_tokens_are_separated_by_commas() {
        let secrets = read(&[("ZOOM_WEBHOOK_SECRET_TOKEN", "one, two,,")]).unwrap();
        let tokens: Vec<_> = secrets.webhook_secret_tokens.iter().map(|t| t.expose_secret()).collect();
        assert_eq!(tokens, ["one", "two"]);
    }

    #[test]
    fn a_secret_may_come_from_a_file_but_not_from_both() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "from-file\n").unwrap();
        let path = file.path().to_str().unwrap();
        let secrets = read(&[("ADMIN_TOKEN_FILE", path)]).unwrap();
        assert_eq!(secrets.admin_token.unwrap().expose_secret(), "from-file");
        let told = read(&[("ADMIN_TOKEN_FILE", path), ("ADMIN_TOKEN", "x")]).unwrap_err().to_string();
        assert!(told.contains("ADMIN_TOKEN and ADMIN_TOKEN_FILE"), "{told}");
        let told = read(&[("DATABASE_URL_FILE", "/no/such")]).unwrap_err().to_string();
        assert!(told.contains("DATABASE_URL_FILE") && told.contains("/no/such"), "{told}");
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_a_secret_and_quotation_marks_are_refused_by_the_variables_name() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        std::fs::write(file.path(), "\u{feff}from-file\r\n").unwrap();
        let secrets = read(&[("ADMIN_TOKEN_FILE", path)]).unwrap();
        assert_eq!(secrets.admin_token.unwrap().expose_secret(), "from-file");
        std::fs::write(file.path(), "'from-file'\n").unwrap();
        for (name, value) in [("ADMIN_TOKEN_FILE", path), ("ZOOM_WEBHOOK_SECRET_TOKEN", "\"from-env-file\"")]
        {
            let told = read(&[(name, value)]).unwrap_err().to_string();
            assert!(told.contains(name) && !told.contains("from-"), "{told}");
        }
    }

    #[test]
    fn credentials_for_zooms_api_are_read_by_product_and_may_all_be_missing() {
        let none = read(&[]).unwrap().zoom;
        assert!(none.video_sdk.is_none() && none.oauth.is_none());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "client-secret\n").unwrap();
        let both = read(&[
            ("ZOOM_VIDEO_SDK_API_KEY", "key"),
            ("ZOOM_VIDEO_SDK_API_SECRET", "secret"),
            ("ZOOM_ACCOUNT_ID", "account"),
            ("ZOOM_CLIENT_ID", "client"),
            ("ZOOM_CLIENT_SECRET_FILE", file.path().to_str().unwrap()),
        ])
        .unwrap()
        .zoom;
        let video_sdk = both.video_sdk.unwrap();
        assert_eq!(video_sdk.api_key.expose_secret(), "key");
        assert_eq!(video_sdk.api_secret.expose_secret(), "secret");
        let oauth = both.oauth.unwrap();
        assert_eq!((oauth.account_id.as_str(), oauth.client_id.expose_secret()), ("account", "client"));
        assert_eq!(oauth.client_secret.expose_secret(), "client-secret");
    }

    #[test]
    fn the_account_of_the_sessions_is_named_with_the_credentials_for_them_or_not_at_all() {
        let pairs = [("ZOOM_VIDEO_SDK_API_KEY", "key"), ("ZOOM_VIDEO_SDK_API_SECRET", "secret")];
        let named = [pairs.as_slice(), &[("ZOOM_VIDEO_SDK_ACCOUNT_ID", "a1")]].concat();
        let account_id = |pairs: &[(&str, &str)]| read(pairs).unwrap().zoom.video_sdk.unwrap().account_id;
        assert_eq!(account_id(&named).as_deref(), Some("a1"));
        assert_eq!(account_id(&pairs), None);
        let told = read(&[("ZOOM_VIDEO_SDK_ACCOUNT_ID", "a1")]).unwrap_err().to_string();
        assert!(told.starts_with("not set: ZOOM_VIDEO_SDK_API_KEY"), "{told}");
    }

    #[test]
    fn traces_are_wanted_where_a_place_for_them_is_named_and_nothing_says_otherwise() {
        let place = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:4318/v1/traces");
        let traces = |more: &[(&str, &str)]| read(&[&[place], more].concat()).unwrap().traces;
        assert_eq!(read(&[("OTEL_EXPORTER_OTLP_TIMEOUT", "5")]).unwrap().traces, None);
        assert_eq!(traces(&[]), Some(Duration::from_secs(10)));
        assert_eq!(traces(&[("OTEL_SDK_DISABLED", "TRUE")]), None);
        assert_eq!(traces(&[("OTEL_TRACES_EXPORTER", "none")]), None);
        assert_eq!(traces(&[("OTEL_TRACES_EXPORTER", "otlp")]), Some(Duration::from_secs(10)));
        let of_all = ("OTEL_EXPORTER_OTLP_TIMEOUT", "2500");
        let of_traces = |value| ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", value);
        assert_eq!(traces(&[of_all]), Some(Duration::from_millis(2500)));
        assert_eq!(traces(&[of_all, of_traces("20000")]), Some(Duration::from_secs(20)));
        assert_eq!(traces(&[of_all, of_traces("soon")]), Some(Duration::from_millis(2500)));
    }

    #[test]
    fn half_a_set_of_credentials_is_refused_and_what_is_missing_is_named() {
        let told = read(&[("ZOOM_VIDEO_SDK_API_KEY", "hush")]).unwrap_err().to_string();
        assert!(told.starts_with("not set: ZOOM_VIDEO_SDK_API_SECRET;"), "{told}");
        assert!(!told.contains("hush"), "{told}");
        let told = read(&[("ZOOM_CLIENT_SECRET", "x")]).unwrap_err().to_string();
        assert!(told.starts_with("not set: ZOOM_ACCOUNT_ID, ZOOM_CLIENT_ID;"), "{told}");
    }

    #[test]
    fn no_secret_is_in_debug_output_or_in_the_address_for_people() {
        let secrets = read(&[
            ("ZOOM_WEBHOOK_SECRET_TOKEN", "hush1"),
            ("ADMIN_TOKEN", "hush2"),
            ("ZOOM_VIDEO_SDK_API_KEY", "hush5"),
            ("ZOOM_VIDEO_SDK_API_SECRET", "hush6"),
            ("ZOOM_ACCOUNT_ID", "account"),
            ("ZOOM_CLIENT_ID", "hush7"),
            ("ZOOM_CLIENT_SECRET", "hush8"),
            ("DATABASE_URL", "postgres://me:hush3@db.example:5432/za?password=hush4"),
            ("ARCHIVE_URL", "s3://key:hush9@bucket/prefix"),
        ])
        .unwrap();
        let shown = format!("{secrets:?} {}", secrets.database_without_password())
            + &secrets.archive_without_password();
        assert!(!shown.contains("hush"), "{shown}");
        assert!(shown.contains("postgres://db.example/za"), "{shown}");
    }
}
