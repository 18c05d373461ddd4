//! `[http]`: the two doors.

use std::net::SocketAddr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{MOST_AT_ONCE, Problems};

/// Most memory for request bodies that makes sense: 1 TiB.
const MOST_BODY_MEMORY_BYTES: u64 = 1 << 40;

/// Longest time for which S3 lets a presigned address be valid: a week (Amazon S3 user guide, "Presigned URLs").
const MOST_LINK_SECS: u64 = 604_800;

/// See `config/default.toml`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpConfig {
    /// Address of the public door.
    pub listen: SocketAddr,
    /// Address of the private door.
    pub admin_listen: SocketAddr,
    /// Longest request body, in bytes.
    pub max_body_bytes: usize,
    /// Memory for request bodies, in bytes.
    pub max_body_memory_bytes: usize,
    /// Open connections to each door.
    pub max_connections: usize,
    /// Webhook requests worked on at once.
    pub max_in_flight: usize,
    /// Milliseconds for the request headers.
    pub header_timeout_ms: u64,
    /// Milliseconds for the request body.
    pub body_timeout_ms: u64,
    /// Milliseconds in which an event must be durable.
    pub answer_timeout_ms: u64,
    /// Seconds for which an address for a download is valid.
    pub link_valid_secs: u64,
    /// Milliseconds for which what `/metrics` has read of the database is shown again.
    pub metrics_max_age_ms: u64,
}

impl HttpConfig {
    /// Time for a client to send its headers.
    #[must_use]
    pub fn header_timeout(&self) -> Duration {
        Duration::from_millis(self.header_timeout_ms)
    }

    /// Time for a client to send its body.
    #[must_use]
    pub fn body_timeout(&self) -> Duration {
        Duration::from_millis(self.body_timeout_ms)
    }

    /// Time in which an event must be durable.
    #[must_use]
    pub fn answer_timeout(&self) -> Duration {
        Duration::from_millis(self.answer_timeout_ms)
    }

    /// Time for which an address for a download is valid.
    #[must_use]
    pub fn link_valid(&self) -> Duration {
        Duration::from_secs(self.link_valid_secs)
    }

    /// For how long what `/metrics` has read of the database is shown again.
    #[must_use]
    pub fn metrics_max_age(&self) -> Duration {
        Duration::from_millis(self.metrics_max_age_ms)
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        problems.at_least("http.max_body_bytes", self.max_body_bytes as u64, 1024);
        problems.at_least(
            "http.max_body_memory_bytes",
            self.max_body_memory_bytes as u64,
            self.max_body_bytes as u64,
        );
        problems.at_least("http.max_connections", self.max_connections as u64, 1);
        problems.at_least("http.max_in_flight", self.max_in_flight as u64, 1);
        problems.at_most(
            "http.max_body_memory_bytes",
            self.max_body_memory_bytes as u64,
            MOST_BODY_MEMORY_BYTES,
        );
        problems.at_most("http.max_connections", self.max_connections as u64, MOST_AT_ONCE);
        problems.at_most("http.max_in_flight", self.max_in_flight as u64, MOST_AT_ONCE);
        problems.at_least("http.header_timeout_ms", self.header_timeout_ms, 1);
        problems.at_least("http.body_timeout_ms", self.body_timeout_ms, 1);
        problems.at_least("http.answer_timeout_ms", self.answer_timeout_ms, 1);
        problems.at_least("http.link_valid_secs", self.link_valid_secs, 1);
        problems.at_most("http.link_valid_secs", self.link_valid_secs, MOST_LINK_SECS);
        problems.at_most("http.metrics_max_age_ms", self.metrics_max_age_ms, 600_000);
        if self.answer_timeout_ms > 3000 {
            problems.add(
                "http.answer_timeout_ms",
                format!("is {}, but Zoom waits 3000 ms for an answer", self.answer_timeout_ms),
            );
        }
    }
}
