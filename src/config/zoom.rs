//! `[zoom]`: how Zoom is trusted and reached.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use url::Url;

use super::Problems;

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
    /// Milliseconds to connect for a download.
    pub connect_timeout_ms: u64,
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

    /// Time to connect for a download.
    #[must_use]
    pub fn connect_timeout(&self) -> Duration {
        Duration::from_millis(self.connect_timeout_ms)
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        problems.at_least("zoom.replay_window_secs", self.replay_window_secs, 1);
        problems.at_least("zoom.connect_timeout_ms", self.connect_timeout_ms, 1);
        for entry in &self.download_hosts {
            if let Err(message) = crate::domain::origin::AllowedOrigin::parse(entry) {
                problems.add("zoom.download_hosts", message.to_string());
            }
        }
    }
}
