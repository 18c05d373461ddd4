//! `[[zoom.accounts]]`: the Zoom accounts of one installation, each with its secrets. The secrets may stand in the file
//! of settings or in files of their own; they are in no output.

use std::collections::BTreeSet;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::hidden::{self, Hidden};
use super::load::ConfigError;
use super::secrets::{
    OAuthCredentials, SdkCredentials, VideoSdkCredentials, ZoomAccount, ZoomCredentials, list_of,
};
use super::{MAX_LABEL_BYTES, Problems, is_label};
use crate::domain::account::DEFAULT_ACCOUNT;

/// The key that problems are told under.
const KEY: &str = "zoom.accounts";

/// One account. See `config/default.toml`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccountConfig {
    /// What it is called in keys, logs, metrics and commands.
    pub name: String,
    /// Zoom's id of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_id: Option<String>,
    /// Zoom's ids of further accounts that events with its secret may be about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    sub_account_ids: Vec<String>,
    /// Secret Tokens of its apps, comma-separated.
    #[serde(skip_serializing)]
    webhook_secret_token: Option<Hidden>,
    /// Or where they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    webhook_secret_token_file: Option<PathBuf>,
    /// API key of its Video SDK app.
    #[serde(skip_serializing)]
    video_sdk_api_key: Option<Hidden>,
    /// Or where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    video_sdk_api_key_file: Option<PathBuf>,
    /// API secret that belongs to it.
    #[serde(skip_serializing)]
    video_sdk_api_secret: Option<Hidden>,
    /// Or where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    video_sdk_api_secret_file: Option<PathBuf>,
    /// SDK key of its Video SDK app, for `session-token`.
    #[serde(skip_serializing)]
    video_sdk_key: Option<Hidden>,
    /// Or where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    video_sdk_key_file: Option<PathBuf>,
    /// SDK secret that belongs to it.
    #[serde(skip_serializing)]
    video_sdk_secret: Option<Hidden>,
    /// Or where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    video_sdk_secret_file: Option<PathBuf>,
    /// Client id of its Server-to-Server OAuth app.
    #[serde(skip_serializing)]
    client_id: Option<Hidden>,
    /// Or where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_id_file: Option<PathBuf>,
    /// Client secret that belongs to it.
    #[serde(skip_serializing)]
    client_secret: Option<Hidden>,
    /// Or where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    client_secret_file: Option<PathBuf>,
}

/// A secret, in one of its two forms.
type Given<'a> = (&'static str, &'a Option<Hidden>, &'a Option<PathBuf>);

impl AccountConfig {
    fn webhook(&self) -> Given<'_> {
        ("webhook_secret_token", &self.webhook_secret_token, &self.webhook_secret_token_file)
    }

    fn video_sdk(&self) -> [Given<'_>; 2] {
        [
            ("video_sdk_api_key", &self.video_sdk_api_key, &self.video_sdk_api_key_file),
            ("video_sdk_api_secret", &self.video_sdk_api_secret, &self.video_sdk_api_secret_file),
        ]
    }

    fn sdk(&self) -> [Given<'_>; 2] {
        [
            ("video_sdk_key", &self.video_sdk_key, &self.video_sdk_key_file),
            ("video_sdk_secret", &self.video_sdk_secret, &self.video_sdk_secret_file),
        ]
    }

    fn oauth(&self) -> [Given<'_>; 2] {
        [
            ("client_id", &self.client_id, &self.client_id_file),
            ("client_secret", &self.client_secret, &self.client_secret_file),
        ]
    }

    fn check(&self, problems: &mut Problems) {
        let mut tell = |message: String| problems.add(KEY, format!("`{}`: {message}", self.name));
        if !is_label(&self.name) {
            tell(format!(
                "name must be 1 to {MAX_LABEL_BYTES} small letters, digits, `-` and `_`: it stands in keys and metrics"
            ));
        }
        if self.name == DEFAULT_ACCOUNT {
            tell("this name is that of the account whose secrets are in the environment".to_owned());
        }
        if self.account_id.as_ref().is_some_and(|id| id.trim().is_empty()) {
            tell("account_id is empty".to_owned());
        }
        let all = [[self.webhook()].as_slice(), &self.video_sdk(), &self.sdk(), &self.oauth()].concat();
        for (name, _, _) in all.iter().filter(|(_, text, file)| text.is_some() && file.is_some()) {
            tell(format!("{name} and {name}_file are both set; set one of them"));
        }
        if !all.iter().any(is_given) {
            tell(
                "has no secret; set webhook_secret_token, video_sdk_api_key with video_sdk_api_secret, \
                 video_sdk_key with video_sdk_secret, or client_id with client_secret"
                    .to_owned(),
            );
        }
        for pair in [self.video_sdk(), self.sdk(), self.oauth()] {
            if let [Some((given, ..)), Some((missing, ..))] =
                [pair.iter().find(|it| is_given(it)), pair.iter().find(|it| !is_given(it))]
            {
                tell(format!("{missing} is not set; it counts only together with {given}"));
            }
        }
        let asks = self.video_sdk().iter().chain(&self.oauth()).any(is_given);
        if asks && self.account_id.is_none() {
            tell(
                "account_id is not set; without it nobody knows which recordings these credentials are for"
                    .to_owned(),
            );
        }
    }

    /// The account with its secrets, read.
    pub(super) fn read(&self) -> Result<ZoomAccount, ConfigError> {
        let account_id = self.account_id.as_ref().map(|id| id.trim().to_owned());
        let tokens = self.secret(self.webhook())?;
        let [api_key, api_secret] = self.video_sdk().map(|given| self.secret(given));
        let [sdk_key, sdk_secret] = self.sdk().map(|given| self.secret(given));
        let sdk = sdk_key?.zip(sdk_secret?).map(|(sdk_key, sdk_secret)| SdkCredentials {
            sdk_key: sdk_key.expose_secret().to_owned(),
            sdk_secret,
        });
        let [client_id, client_secret] = self.oauth().map(|given| self.secret(given));
        let video_sdk = api_key?.zip(api_secret?).map(|(api_key, api_secret)| VideoSdkCredentials {
            account_id: account_id.clone(),
            api_key,
            api_secret,
        });
        let oauth = client_id?.zip(client_secret?).map(|(client_id, client_secret)| OAuthCredentials {
            account_id: account_id.clone().unwrap_or_default(),
            client_id,
            client_secret,
        });
        Ok(ZoomAccount {
            name: self.name.clone(),
            account_id,
            sub_account_ids: self.sub_account_ids.clone(),
            webhook_secret_tokens: tokens.map(|text| list_of(text.expose_secret())).unwrap_or_default(),
            credentials: ZoomCredentials { video_sdk, oauth },
            sdk,
        })
    }

    fn secret(&self, (name, text, file): Given<'_>) -> Result<Option<SecretString>, ConfigError> {
        hidden::read(&format!("{KEY}: `{}`: {name}", self.name), text.as_ref(), file.as_ref())
    }
}

fn is_given((_, text, file): &Given<'_>) -> bool {
    text.is_some() || file.is_some()
}

pub(super) fn check(accounts: &[AccountConfig], problems: &mut Problems) {
    let (mut names, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for account in accounts {
        account.check(problems);
        if !names.insert(&account.name) {
            problems.add(KEY, format!("two accounts are called `{}`", account.name));
        }
        if let Some(id) = &account.account_id
            && !ids.insert(id.trim())
        {
            problems.add(
                KEY,
                format!("two accounts have the account_id {id}; put the secrets of both under one name"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::config::load::{Environment, load};
    use crate::config::{Config, Secrets};

    fn config(text: &str) -> Result<Config, String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        load(Some(file.path()), &Environment::new()).map_err(|error| error.to_string())
    }

    fn accounts(config: &Config, environment: &[(&str, &str)]) -> Result<Vec<ZoomAccount>, String> {
        let environment = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let secrets = Secrets::read(&environment, "/nowhere".as_ref()).unwrap();
        let secrets = secrets.with_accounts(&config.zoom).map_err(|error| error.to_string())?;
        Ok(secrets.zoom_accounts())
    }

    const TWO: &str = r#"
        [[zoom.accounts]]
        name = "emea"
        account_id = "a1"
        webhook_secret_token = "hush1, hush2"
        video_sdk_api_key = "hush3"
        video_sdk_api_secret = "hush4"
        [[zoom.accounts]]
        name = "apac"
        account_id = "a2"
        client_id = "hush5"
        client_secret = "hush6"
    "#;

    #[test]
    fn accounts_are_read_with_their_secrets_after_that_of_the_environment() {
        let config = config(TWO).unwrap();
        let all = accounts(&config, &[("ZOOM_WEBHOOK_SECRET_TOKEN", "hush0")]).unwrap();
        let names: Vec<_> = all.iter().map(|account| account.name.as_str()).collect();
        assert_eq!(names, ["default", "emea", "apac"]);
        assert_eq!(all[0].webhook_secret_tokens.len(), 1);
        assert_eq!(all[1].webhook_secret_tokens.len(), 2);
        assert!(all[1].credentials.video_sdk.is_some() && all[1].credentials.oauth.is_none());
        let oauth = all[2].credentials.oauth.as_ref().unwrap();
        assert_eq!((oauth.account_id.as_str(), oauth.client_secret.expose_secret()), ("a2", "hush6"));
        // The account of the environment is there only when the environment says anything of it.
        assert_eq!(accounts(&config, &[]).unwrap().len(), 2);
        assert_eq!(accounts(&self::config("").unwrap(), &[]).unwrap().len(), 1);
    }

    #[test]
    fn an_account_of_the_environment_that_has_a_section_too_is_refused_by_both_names() {
        let config = config(TWO).unwrap();
        let sdk = [("ZOOM_VIDEO_SDK_API_KEY", "hush"), ("ZOOM_VIDEO_SDK_API_SECRET", "hush")];
        let oauth = [("ZOOM_CLIENT_ID", "hush"), ("ZOOM_CLIENT_SECRET", "hush")];
        for (pair, variable, name) in
            [(sdk, "ZOOM_VIDEO_SDK_ACCOUNT_ID", "emea"), (oauth, "ZOOM_ACCOUNT_ID", "apac")]
        {
            let id = if name == "emea" { "a1" } else { "a2" };
            let told = accounts(&config, &[&pair[..], &[(variable, id)]].concat()).unwrap_err();
            assert!(told.contains(&format!("zoom.accounts: `{name}`")) && told.contains(variable), "{told}");
            assert!(!told.contains("hush"), "{told}");
            assert!(accounts(&config, &[&pair[..], &[(variable, "another")]].concat()).is_ok());
        }
    }

    #[test]
    fn a_secret_may_stand_in_a_file_of_its_own() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(b" t0ken\n").unwrap();
        let text = |path: &str| {
            format!("[[zoom.accounts]]\nname = \"emea\"\nwebhook_secret_token_file = \"{path}\"\n")
        };
        let read = accounts(&config(&text(file.path().to_str().unwrap())).unwrap(), &[]).unwrap();
        assert_eq!(read[0].webhook_secret_tokens[0].expose_secret(), "t0ken");
        let told = accounts(&config(&text("/no/such")).unwrap(), &[]).unwrap_err();
        assert!(told.contains("`emea`: webhook_secret_token_file") && told.contains("/no/such"), "{told}");
    }

    #[test]
    fn what_is_shown_of_accounts_holds_no_secret() {
        let config = config(TWO).unwrap();
        let shown = format!("{} {config:?}", toml::to_string_pretty(&config).unwrap());
        assert!(shown.contains("emea") && shown.contains("a2") && !shown.contains("hush"), "{shown}");
        assert!(!format!("{:?}", accounts(&config, &[]).unwrap()).contains("hush"));
    }

    #[test]
    fn accounts_that_make_no_sense_are_refused_by_key_and_name() {
        let account = |name: &str, rest: &str| format!("[[zoom.accounts]]\nname = \"{name}\"\n{rest}\n");
        let secret = "webhook_secret_token = \"hush\"";
        for (text, words) in [
            (account("a", secret) + &account("a", secret), "two accounts are called `a`"),
            (account("a", ""), "`a`: has no secret"),
            (account("", secret), "name must be"),
            (account("A b", secret), "name must be"),
            (account("default", secret), "in the environment"),
            (account("a", &format!("{secret}\nwebhook_secret_token_file = \"x\"")), "are both set"),
            (account("a", "account_id = \"1\"\nclient_id = \"hush\""), "client_secret is not set"),
            (account("a", "client_id = \"hush\"\nclient_secret = \"hush\""), "account_id is not set"),
            (
                account("a", &format!("account_id = \"1\"\n{secret}"))
                    + &account("b", &format!("account_id = \"1\"\n{secret}")),
                "two accounts have the account_id 1",
            ),
        ] {
            let told = config(&text).unwrap_err();
            assert!(told.contains("zoom.accounts: ") && told.contains(words), "{text}: {told}");
            assert!(!told.contains("hush"), "{told}");
        }
    }

    #[test]
    fn no_mistake_in_the_file_repeats_a_secret() {
        for text in [
            "[zoom.accounts]\nwebhook_secret_token = \"hush\"\n",
            "[[zoom.accounts]]\nname = \"a\"\nwebhook_secret = \"hush\"\n",
            "[[zoom.accounts]]\nname = \"a\"\nclient_secret = [\"hush\"]\n",
            "[[zoom.accounts]]\nname = \"a\"\nclient_secret = \"hush\n",
            "[zoom]\naccounts = [\"hush\"]\n",
            "[zoom]\naccounts = \"hush\"\n",
            "[[zoom.accounts]]\nclient_secret = \"hush\"\n",
        ] {
            let told = config(text).unwrap_err();
            assert!(!told.contains("hush"), "{text}: {told}");
        }
        let environment = Environment::from([("ZOOM_ARCHIVER_ZOOM__ACCOUNTS".to_owned(), "hush".to_owned())]);
        let told = load(None, &environment).unwrap_err().to_string();
        assert!(told.contains("[[zoom.accounts]]") && !told.contains("hush"), "{told}");
    }
}
