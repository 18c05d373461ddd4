//! `[notify]`: who is told of what, and how often that is tried. The receivers' addresses and secrets may stand in the
//! file of settings or in files of their own; they are in no output.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use data_encoding::BASE64;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

use super::hidden::{self, Hidden};
use super::load::ConfigError;
use super::secrets::list_of;
use super::worker::WorkerConfig;
use super::{MAX_LABEL_BYTES, Problems, is_label};
use crate::domain::account::AccountNames;
use crate::domain::notice::{NoticeKind, Subscription};

/// The key that problems of receivers are told under.
const KEY: &str = "notify.targets";
/// What a secret of Standard Webhooks begins with; base64 follows.
const SECRET_PREFIX: &str = "whsec_";
/// Lengths of a key that Standard Webhooks allows, in bytes.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Most requests at once that make sense.
const MOST_AT_ONCE: u64 = 256;
/// Longest wait for an answer that makes sense, in milliseconds.
const LONGEST_TIMEOUT_MS: u64 = 60_000;
/// Longest lead that makes sense, in hours: the thirty days that Zoom's trash keeps a recording.
const LONGEST_LEAD_HOURS: u64 = 720;

/// See `config/default.toml`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotifyConfig {
    /// Requests at once.
    pub concurrency: u32,
    /// Requests to one receiver at once.
    pub concurrency_per_target: u32,
    /// Milliseconds for one request.
    pub timeout_ms: u64,
    /// Shortest rest after a failure, in milliseconds.
    pub retry_base_ms: u64,
    /// Longest rest after a failure, in milliseconds.
    pub retry_max_ms: u64,
    /// Failed attempts after which a notification is dead.
    pub max_attempts: u32,
    /// How long before its loss a file is told of, in hours.
    pub loss_lead_hours: u32,
    /// The receivers.
    pub targets: Vec<TargetConfig>,
}

/// The shape of what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Template {
    /// Type, time and data, for programs.
    #[default]
    Standard,
    /// One text, for chats that take what Slack takes.
    Slack,
}

/// One receiver. See `config/default.toml`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TargetConfig {
    /// What it is called in metrics, logs and commands.
    pub name: String,
    #[serde(skip_serializing)]
    url: Option<Hidden>,
    #[serde(skip_serializing_if = "Option::is_none")]
    url_file: Option<PathBuf>,
    #[serde(skip_serializing)]
    secret: Option<Hidden>,
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_file: Option<PathBuf>,
    /// What it wants to hear of; everything when empty.
    #[serde(default)]
    events: BTreeSet<NoticeKind>,
    /// Whose recordings, by name or Zoom's id; everybody's when empty.
    #[serde(default)]
    accounts: Vec<String>,
    /// The shape of what it is sent.
    #[serde(default)]
    template: Template,
}

/// One receiver, with its address and its secrets.
#[derive(Clone)]
pub struct Target {
    /// What it is called.
    pub name: String,
    /// Where it is: a secret, because with many a chat whoever knows it may write there.
    pub url: Url,
    /// What requests are signed with, as Standard Webhooks writes keys: several while one replaces another.
    pub secrets: Vec<SecretString>,
    /// The shape of what it is sent.
    pub template: Template,
    kinds: BTreeSet<NoticeKind>,
    accounts: Vec<String>,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("name", &self.name).field("kinds", &self.kinds).finish_non_exhaustive()
    }
}

impl Target {
    /// What it wants to hear of.
    #[must_use]
    pub fn subscription(&self, names: &AccountNames) -> Subscription {
        Subscription {
            name: self.name.clone(),
            kinds: self.kinds.clone(),
            accounts: names.choose(&self.accounts),
        }
    }
}

impl NotifyConfig {
    /// Time for one request, with everything.
    #[must_use]
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// How long before its loss a file is told of.
    #[must_use]
    pub fn loss_lead(&self) -> Duration {
        Duration::from_secs(u64::from(self.loss_lead_hours) * 3600)
    }

    /// The bounds of the workers that send, where all else is as with those that carry.
    #[must_use]
    pub fn worker(&self, worker: &WorkerConfig) -> WorkerConfig {
        WorkerConfig {
            concurrency: self.concurrency,
            concurrency_per_account: self.concurrency_per_target,
            retry_base_ms: self.retry_base_ms,
            retry_max_ms: self.retry_max_ms,
            max_attempts: self.max_attempts,
            ..worker.clone()
        }
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        problems.at_least("notify.concurrency", self.concurrency.into(), 1);
        problems.at_most("notify.concurrency", self.concurrency.into(), MOST_AT_ONCE);
        problems.at_least("notify.concurrency_per_target", self.concurrency_per_target.into(), 1);
        problems.at_least("notify.timeout_ms", self.timeout_ms, 1);
        problems.at_most("notify.timeout_ms", self.timeout_ms, LONGEST_TIMEOUT_MS);
        problems.at_least("notify.retry_base_ms", self.retry_base_ms, 1);
        problems.at_least("notify.retry_max_ms", self.retry_max_ms, self.retry_base_ms);
        problems.at_least("notify.max_attempts", self.max_attempts.into(), 1);
        problems.at_most("notify.loss_lead_hours", self.loss_lead_hours.into(), LONGEST_LEAD_HOURS);
        let mut names = BTreeSet::new();
        for target in &self.targets {
            target.check(problems);
            if !names.insert(&target.name) {
                problems.add(KEY, format!("two targets are called `{}`", target.name));
            }
        }
    }
}

impl TargetConfig {
    fn check(&self, problems: &mut Problems) {
        let mut tell = |message: &str| problems.add(KEY, format!("`{}`: {message}", self.name));
        if !is_label(&self.name) {
            tell(&format!(
                "name must be 1 to {MAX_LABEL_BYTES} small letters, digits, `-` and `_`: it stands in metrics"
            ));
        }
        match (&self.url, &self.url_file) {
            (Some(_), Some(_)) => tell("url and url_file are both set; set one of them"),
            (None, None) => tell("has no url"),
            _ => {}
        }
        match (&self.secret, &self.secret_file) {
            (Some(_), Some(_)) => tell("secret and secret_file are both set; set one of them"),
            (None, None) if self.template == Template::Standard => {
                tell("has no secret; without one a receiver cannot know who writes to it");
            }
            _ => {}
        }
        if self.accounts.iter().any(String::is_empty) {
            tell("accounts has an empty name");
        }
    }

    /// The receiver with its address and secrets, read.
    pub(super) fn read(&self) -> Result<Target, ConfigError> {
        let key = |name: &str| format!("{KEY}: `{}`: {name}", self.name);
        let url = hidden::read(&key("url"), self.url.as_ref(), self.url_file.as_ref())?;
        let url = url.as_ref().map(ExposeSecret::expose_secret).unwrap_or_default();
        let url = address(url).ok_or_else(|| {
            let words =
                "must be https://…, or http://… where the network is your own; without user or fragment";
            ConfigError::Value(format!("{} {words}", key("url")))
        })?;
        let secrets = hidden::read(&key("secret"), self.secret.as_ref(), self.secret_file.as_ref())?;
        let secrets = secrets.map(|text| list_of(text.expose_secret())).unwrap_or_default();
        if secrets.iter().any(|secret| signing_key(secret).is_none()) {
            let words = format!("must be {SECRET_PREFIX} and 24 to 64 random bytes in base64");
            return Err(ConfigError::Value(format!("{} {words}", key("secret"))));
        }
        let kinds =
            if self.events.is_empty() { NoticeKind::ALL.into_iter().collect() } else { self.events.clone() };
        Ok(Target {
            name: self.name.clone(),
            url,
            secrets,
            template: self.template,
            kinds,
            accounts: self.accounts.clone(),
        })
    }
}

/// The bytes of a secret as Standard Webhooks writes it; `None` when it is no such secret.
#[must_use]
pub fn signing_key(secret: &SecretString) -> Option<Vec<u8>> {
    let text = secret.expose_secret().strip_prefix(SECRET_PREFIX)?;
    BASE64.decode(text.as_bytes()).ok().filter(|key| KEY_BYTES.contains(&key.len()))
}

fn address(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let is_bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
    (matches!(url.scheme(), "http" | "https") && url.has_host() && is_bare).then_some(url)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::config::load::{Environment, load};
    use crate::config::{Config, Secrets};

    const SECRET: &str = "whsec_aHVzaGh1c2hodXNoaHVzaGh1c2hodXNo";

    fn config(text: &str) -> Result<Config, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        load(Some(file.path()), &Environment::new()).map_err(|error| error.to_string())
    }

    fn targets(text: &str) -> Result<Vec<Target>, String> {
        let config = config(text)?;
        let secrets = Secrets::read(&Environment::new(), "/nowhere".as_ref()).unwrap();
        let secrets = secrets.with_targets(&config.notify).map_err(|error| error.to_string())?;
        Ok(secrets.targets)
    }

    fn target(rest: &str) -> String {
        format!("[[notify.targets]]\nname = \"ops\"\n{rest}\n")
    }

    #[test]
    fn a_target_that_says_nothing_else_hears_of_everything_and_everybody() {
        let all = targets(&target(&format!("url = \"https://ops.example/hook?a=b\"\nsecret = \"{SECRET}\"")));
        let all = all.unwrap();
        assert_eq!((all.len(), all[0].template, all[0].secrets.len()), (1, Template::Standard, 1));
        let subscription = all[0].subscription(&AccountNames::default());
        assert_eq!(subscription.kinds.len(), NoticeKind::ALL.len());
        assert!(subscription.accounts.takes("anybody"));
    }

    #[test]
    fn a_target_narrows_what_it_hears_of_and_may_have_its_secrets_in_files() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        writeln!(file, "{SECRET}, {SECRET}").unwrap();
        let all = targets(&target(&format!(
            "url = \"http://ops:9000/\"\nsecret_file = \"{}\"\nevents = [\"file.dead\"]\naccounts = [\"emea\"]",
            file.path().display()
        )));
        let subscription = all.as_ref().unwrap()[0].subscription(&AccountNames::default());
        assert_eq!(all.unwrap()[0].secrets.len(), 2, "one replaces the other");
        assert_eq!(subscription.kinds, BTreeSet::from([NoticeKind::FileDead]));
        assert!(!subscription.accounts.takes("anybody"));
    }

    #[test]
    fn a_chat_needs_no_secret_beside_its_address() {
        let all = targets(&target("url = \"https://chat.example/T/B/x\"\ntemplate = \"slack\"")).unwrap();
        assert!(all[0].secrets.is_empty());
    }

    #[test]
    fn targets_that_make_no_sense_are_refused_by_key_and_name_and_without_their_secrets() {
        let url = "url = \"https://hush.example/\"";
        let secret = format!("secret = \"{SECRET}\"");
        for (text, words) in [
            (target(""), "`ops`: has no url"),
            (target(url), "`ops`: has no secret"),
            (target(&format!("{url}\nurl_file = \"x\"\n{secret}")), "url and url_file are both set"),
            (target(&format!("{url}\n{secret}\nsecret_file = \"x\"")), "secret and secret_file are both set"),
            (target(&format!("{url}\n{secret}")).repeat(2), "two targets are called `ops`"),
            (target(&format!("{url}\n{secret}")).replace("ops", "Ops"), "name must be"),
            (target(&format!("{url}\nsecret = \"hush\"")), "`ops`: secret must be whsec_"),
            (target(&format!("{url}\nsecret = \"whsec_aHVzaA==\"")), "`ops`: secret must be whsec_"),
            (target(&format!("url = \"ftp://hush/\"\n{secret}")), "`ops`: url must be https://"),
            (target(&format!("url = \"hush\"\n{secret}")), "`ops`: url must be https://"),
            (target(&format!("url = \"https://me:hush@x/\"\n{secret}")), "`ops`: url must be https://"),
            (target(&format!("url_file = \"/no/such\"\n{secret}")), "`ops`: url_file"),
            (target(&format!("{url}\n{secret}\nevents = [\"file.lost\"]")), "unknown variant `file.lost`"),
            (target(&format!("{url}\n{secret}\ntemplate = \"teams\"")), "unknown variant `teams`"),
            (target("url = [\"hush\"]"), "a secret must be a text"),
            ("[notify]\ntargets = [\"hush\"]\n".to_owned(), "each must be a section"),
            ("[notify]\ntargets = \"hush\"\n".to_owned(), "must be a list"),
        ] {
            let told = targets(&text).unwrap_err();
            assert!(told.contains("notify.targets") && told.contains(words), "{text}: {told}");
            assert!(!told.contains("hush"), "{told}");
        }
        let environment =
            Environment::from([("ZOOM_ARCHIVER_NOTIFY__TARGETS".to_owned(), "hush".to_owned())]);
        let told = load(None, &environment).unwrap_err().to_string();
        assert!(told.contains("[[notify.targets]]") && !told.contains("hush"), "{told}");
    }

    #[test]
    fn what_is_shown_of_targets_holds_no_secret() {
        let text = target(&format!("url = \"https://hush.example/\"\nsecret = \"{SECRET}\""));
        let config = config(&text).unwrap();
        let shown = toml::to_string_pretty(&config).unwrap();
        assert!(shown.contains("ops"), "{shown}");
        for shown in [shown, format!("{config:?}"), format!("{:?}", targets(&text).unwrap())] {
            assert!(!shown.contains("hush") && !shown.contains(SECRET), "{shown}");
        }
    }

    #[test]
    fn limits_are_checked_by_key() {
        for (key, value) in [
            ("CONCURRENCY", "0"),
            ("CONCURRENCY", "257"),
            ("CONCURRENCY_PER_TARGET", "0"),
            ("TIMEOUT_MS", "0"),
            ("TIMEOUT_MS", "60001"),
            ("RETRY_BASE_MS", "0"),
            ("RETRY_MAX_MS", "1"),
            ("MAX_ATTEMPTS", "0"),
            ("LOSS_LEAD_HOURS", "721"),
        ] {
            let environment = Environment::from([(format!("ZOOM_ARCHIVER_NOTIFY__{key}"), value.to_owned())]);
            let told = load(None, &environment).unwrap_err().to_string();
            assert!(told.contains(&format!("notify.{}: is {value}", key.to_lowercase())), "{told}");
        }
    }
}
