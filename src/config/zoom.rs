//! `[zoom]`: how Zoom is trusted and reached.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use super::Problems;
use super::accounts::{self, AccountConfig};
use crate::domain::origin::{AllowedOrigin, is_loopback};

/// Shortest life of a download token that makes sense, in seconds.
const SHORTEST_TTL_SECS: u64 = 60;
/// Longest that Zoom gives: a week (Zoom API reference, "Get meeting recordings", parameter `ttl`).
const LONGEST_TTL_SECS: u64 = 604_800;
/// Longest wait for the API that makes sense, in milliseconds: ten minutes.
const LONGEST_API_TIMEOUT_MS: u64 = 600_000;
/// Most calls at once that make sense. Zoom allows ten to eighty a second, depending on plan and call.
const MOST_API_CALLS: u64 = 64;
/// Most calls a second that make sense: Zoom gives no plan more ("Rate limits": 80 light ones).
const MOST_API_CALLS_PER_SEC: u64 = 80;
/// Longest page that Zoom gives, in recordings (Zoom API reference, "List all recordings", parameter `page_size`).
const LONGEST_PAGE: u64 = 300;

/// See `config/default.toml`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZoomConfig {
    /// Zoom's REST API.
    pub api_base_url: Url,
    /// Zoom's OAuth server.
    pub oauth_base_url: Url,
    /// Hosts or origins that recordings may be fetched from, beside Zoom's own.
    pub download_hosts: Vec<String>,
    /// How old a signed event may be, in seconds.
    pub replay_window_secs: u64,
    /// How far ahead of our clock it may be, in seconds.
    pub replay_ahead_secs: u64,
    /// Milliseconds to connect, for a download or for the API.
    pub connect_timeout_ms: u64,
    /// Milliseconds for one question to the API.
    pub api_timeout_ms: u64,
    /// Calls to the API at once.
    pub api_calls_at_once: u32,
    /// Light calls to the API per second and account.
    pub api_light_per_sec: u32,
    /// Medium calls to the API per second and account.
    pub api_medium_per_sec: u32,
    /// Heavy calls to the API per second and account.
    pub api_heavy_per_sec: u32,
    /// Recordings per page of a list.
    pub api_page_size: u32,
    /// How long a download token from the API shall be good, in seconds.
    pub token_ttl_secs: u64,
    /// Names of sessions whose recording is started when they begin.
    pub auto_start: Vec<String>,
    /// Accounts beside that of the environment.
    pub accounts: Vec<AccountConfig>,
}

impl ZoomConfig {
    /// How old a signed event may be.
    #[must_use]
    pub fn replay_window(&self) -> Duration {
        Duration::from_secs(self.replay_window_secs)
    }

    /// How far ahead of our clock a signed event may be.
    #[must_use]
    pub fn replay_ahead(&self) -> Duration {
        Duration::from_secs(self.replay_ahead_secs)
    }

    /// Time to connect.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    /// Time for one question to the API, with everything it takes.
    #[must_use]
    pub fn api_timeout(&self) -> Duration {
        Duration::from_millis(self.api_timeout_ms)
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        problems.at_least("zoom.replay_window_secs", self.replay_window_secs, 1);
        problems.at_least("zoom.connect_timeout_ms", self.connect_timeout_ms, 1);
        problems.at_least("zoom.api_timeout_ms", self.api_timeout_ms, 1);
        problems.at_most("zoom.api_timeout_ms", self.api_timeout_ms, LONGEST_API_TIMEOUT_MS);
        problems.at_least("zoom.api_calls_at_once", self.api_calls_at_once.into(), 1);
        problems.at_most("zoom.api_calls_at_once", self.api_calls_at_once.into(), MOST_API_CALLS);
        for (key, per_sec) in [
            ("zoom.api_light_per_sec", self.api_light_per_sec),
            ("zoom.api_medium_per_sec", self.api_medium_per_sec),
            ("zoom.api_heavy_per_sec", self.api_heavy_per_sec),
        ] {
            problems.at_least(key, per_sec.into(), 1);
            problems.at_most(key, per_sec.into(), MOST_API_CALLS_PER_SEC);
        }
        problems.at_least("zoom.api_page_size", self.api_page_size.into(), 1);
        problems.at_most("zoom.api_page_size", self.api_page_size.into(), LONGEST_PAGE);
        problems.at_least("zoom.token_ttl_secs", self.token_ttl_secs, SHORTEST_TTL_SECS);
        problems.at_most("zoom.token_ttl_secs", self.token_ttl_secs, LONGEST_TTL_SECS);
        if self.auto_start.iter().any(String::is_empty) {
            problems.add("zoom.auto_start", "holds an empty pattern; `*` matches every name");
        }
        accounts::check(&self.accounts, problems);
        let mut allowed = Vec::new();
        for entry in &self.download_hosts {
            match AllowedOrigin::parse(entry) {
                Ok(origin) => allowed.push(origin),
                Err(message) => problems.add("zoom.download_hosts", message.to_string()),
            }
        }
        check_base("zoom.api_base_url", &self.api_base_url, &allowed, problems);
        check_base("zoom.oauth_base_url", &self.oauth_base_url, &allowed, problems);
    }
}

/// Credentials go to these addresses: by https, or in the clear only where that was asked for.
fn check_base(key: &'static str, url: &Url, allowed: &[AllowedOrigin], problems: &mut Problems) {
    let extras = !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.fragment().is_some();
    if !matches!(url.scheme(), "http" | "https") || extras {
        problems.add(key, "must be https://HOST or https://HOST/PATH, without user, query or fragment");
        return;
    }
    let may_be_plain = is_loopback(url) || allowed.iter().any(|origin| origin.covers(url));
    if url.scheme() == "http" && !may_be_plain {
        let origin = url.origin().ascii_serialization();
        problems.add(
            key,
            format!(
                "would send credentials to {origin} in the clear; use https, or, where the network is your own, \
                 add {origin} to zoom.download_hosts"
            ),
        );
    }
}

#[cfg(test)]
mod tests {
    use crate::config::load::{Environment, load};

    fn told(base: &str, hosts: &str) -> String {
        let environment = Environment::from([
            ("ZOOM_ARCHIVER_ZOOM__API_BASE_URL".to_owned(), base.to_owned()),
            ("ZOOM_ARCHIVER_ZOOM__DOWNLOAD_HOSTS".to_owned(), hosts.to_owned()),
        ]);
        load(None, &environment).map_or_else(|error| error.to_string(), |_| String::new())
    }

    #[test]
    fn credentials_go_in_the_clear_to_this_machine_or_where_it_was_asked_for() {
        assert_eq!(told("https://api.zoomgov.com/v2", ""), "");
        assert_eq!(told("http://127.0.0.1:9000/v2", ""), "");
        assert_eq!(told("http://localhost:9000/v2", ""), "");
        assert_eq!(told("http://fake-zoom:9000/v2", "http://fake-zoom:9000"), "");
        let refused = told("http://api.zoom.us/v2", "");
        assert!(refused.contains("zoom.api_base_url") && refused.contains("in the clear"), "{refused}");
        assert!(!told("http://fake-zoom:9000/v2", "http://fake-zoom:9001").is_empty());
        assert!(!told("http://fake-zoom:9000/v2", "fake-zoom").is_empty());
    }

    #[test]
    fn a_base_is_an_address_and_nothing_else() {
        for odd in
            ["ftp://zoom.us", "https://me:hush@zoom.us", "https://zoom.us/v2?a=b", "https://zoom.us/#v2"]
        {
            let told = told(odd, "");
            assert!(told.contains("zoom.api_base_url") && !told.contains("hush"), "{odd}: {told}");
        }
    }

    #[test]
    fn limits_of_the_api_client_are_checked_by_key() {
        for (key, value) in [
            ("API_TIMEOUT_MS", "0"),
            ("API_TIMEOUT_MS", "9223372036854775807"),
            ("API_CALLS_AT_ONCE", "0"),
            ("API_CALLS_AT_ONCE", "1000"),
            ("API_LIGHT_PER_SEC", "0"),
            ("API_MEDIUM_PER_SEC", "81"),
            ("API_HEAVY_PER_SEC", "0"),
            ("API_PAGE_SIZE", "0"),
            ("API_PAGE_SIZE", "301"),
            ("TOKEN_TTL_SECS", "59"),
            ("TOKEN_TTL_SECS", "604801"),
        ] {
            let environment = Environment::from([(format!("ZOOM_ARCHIVER_ZOOM__{key}"), value.to_owned())]);
            let told = load(None, &environment).unwrap_err().to_string();
            assert!(told.contains(&format!("zoom.{}: is {value}", key.to_lowercase())), "{told}");
        }
    }
}
