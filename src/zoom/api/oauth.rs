//! Bearer tokens for the API of meetings: Server-to-Server OAuth (Zoom, "Server-to-Server OAuth": grant type
//! `account_credentials`, a life of one hour, no refresh token). Fetched once for all who ask, kept until shortly
//! before it expires.

use std::time::Duration;

use chrono::{DateTime, Utc};
use secrecy::SecretString;
use serde_json::Value;
use tokio::sync::Mutex;
use url::Url;
use url::form_urlencoded::Serializer;

use super::call::{self, Answer};
use super::{ApiError, path};
use crate::clock::Clock;
use crate::config::secrets::OAuthCredentials;
use crate::outgoing::Clients;

/// A token counts as expired so long before it is, or a tenth of its life where that is shorter.
const MARGIN: Duration = Duration::from_secs(60);
/// Life of a token that does not say. Zoom's say 3600.
const DEFAULT_LIFE_SECS: u64 = 600;
/// Longest life that is believed, in seconds.
const LONGEST_LIFE_SECS: u64 = 24 * 3600;

/// An access token.
#[derive(Debug, Clone)]
pub(super) struct AccessToken {
    value: SecretString,
    good_until: DateTime<Utc>,
    /// What the app may do with it, as far as Zoom said.
    scopes: Vec<String>,
    /// Counts the tokens fetched, from 1.
    number: u64,
}

impl AccessToken {
    pub(super) fn bearer(&self) -> &SecretString {
        &self.value
    }
}

/// Fetches access tokens and keeps the last one.
#[derive(Debug)]
pub(super) struct AccessTokens {
    credentials: OAuthCredentials,
    base: Url,
    /// Held while a token is fetched, so that the others wait for it instead of fetching their own.
    last: Mutex<Option<AccessToken>>,
}

impl AccessTokens {
    pub(super) fn new(credentials: OAuthCredentials, base: &Url) -> Self {
        Self { credentials, base: base.clone(), last: Mutex::default() }
    }

    /// Where the OAuth server is.
    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    /// The account whose things the tokens open.
    pub(super) fn account_id(&self) -> &str {
        &self.credentials.account_id
    }

    /// The scopes that the last token was given with; nothing before there was one, and where Zoom did not say.
    pub(super) async fn scopes(&self) -> Vec<String> {
        self.last.lock().await.as_ref().map(|token| token.scopes.clone()).unwrap_or_default()
    }

    /// A token that should be good.
    pub(super) async fn current(&self, clients: &Clients, clock: Clock) -> Result<AccessToken, ApiError> {
        let mut last = self.last.lock().await;
        if let Some(token) = last.as_ref().filter(|token| clock.now() < token.good_until) {
            return Ok(token.clone());
        }
        self.fetch(&mut last, clients, clock).await
    }

    /// Another token in place of one that was refused: the one that somebody else has fetched meanwhile, or a new
    /// one.
    pub(super) async fn instead_of(
        &self,
        refused: &AccessToken,
        clients: &Clients,
        clock: Clock,
    ) -> Result<AccessToken, ApiError> {
        let mut last = self.last.lock().await;
        if let Some(token) = last.as_ref().filter(|token| token.number > refused.number) {
            return Ok(token.clone());
        }
        self.fetch(&mut last, clients, clock).await
    }

    async fn fetch(
        &self,
        last: &mut Option<AccessToken>,
        clients: &Clients,
        clock: Clock,
    ) -> Result<AccessToken, ApiError> {
        let url = path::under(&self.base, "oauth/token")?;
        // In the body and not in the query, which Zoom takes as well but proxies may log.
        let form = Serializer::new(String::new())
            .append_pair("grant_type", "account_credentials")
            .append_pair("account_id", &self.credentials.account_id)
            .finish();
        let user = &self.credentials.client_id;
        let answer = call::post_form(clients, &url, user, &self.credentials.client_secret, form, clock);
        let value = match answer.await? {
            Answer::Given(value) => value,
            Answer::Refused(refusal) => return Err(refusal.into_token_error()),
        };
        let token = value.get("access_token").and_then(Value::as_str).filter(|token| is_token(token));
        let token = token.ok_or_else(|| ApiError::refused("Zoom's OAuth server answered without a token"))?;
        let life = value.get("expires_in").and_then(Value::as_u64).unwrap_or(DEFAULT_LIFE_SECS);
        let life = Duration::from_secs(life.min(LONGEST_LIFE_SECS));
        let scopes = value.get("scope").and_then(Value::as_str).unwrap_or_default();
        let token = AccessToken {
            value: token.into(),
            scopes: scopes.split([' ', ',']).filter(|it| !it.is_empty()).map(str::to_owned).collect(),
            good_until: clock.now() + (life - MARGIN.min(life / 10)),
            number: last.as_ref().map_or(0, |token| token.number) + 1,
        };
        *last = Some(token.clone());
        Ok(token)
    }
}

/// Whether it may stand in a header.
fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load::{self, Environment};
    use crate::simulator::ledger::Endpoint;
    use crate::simulator::{FakeZoom, Options, credentials};

    fn after(secs: i64) -> Clock {
        Clock::Fixed(DateTime::from_timestamp(1_700_000_000 + secs, 0).unwrap())
    }

    #[tokio::test]
    async fn a_token_is_kept_until_a_minute_before_it_expires() {
        let zoom = FakeZoom::start(Options::default()).await.unwrap();
        let config = load::load(None, &Environment::new()).unwrap();
        let clients = Clients::new(config.zoom.connect_timeout(), |builder| builder).unwrap();
        let credentials = OAuthCredentials {
            account_id: credentials::ACCOUNT_ID.to_owned(),
            client_id: credentials::CLIENT_ID.into(),
            client_secret: credentials::CLIENT_SECRET.into(),
        };
        let tokens = AccessTokens::new(credentials, &zoom.oauth_base_url().parse().unwrap());
        for (secs, number) in [(0, 1), (1, 1), (3539, 1), (3540, 2), (3541, 2)] {
            assert_eq!(tokens.current(&clients, after(secs)).await.unwrap().number, number, "after {secs} s");
        }
        assert_eq!(zoom.library().api_calls(Endpoint::AccessToken), 2);
    }

    #[test]
    fn what_may_not_stand_in_a_header_is_no_token() {
        assert!(is_token("eyJ.a-b_c.d"));
        for odd in ["", "a b", "a\r\nx: y", "\u{e9}"] {
            assert!(!is_token(odd), "{odd:?}");
        }
    }
}
