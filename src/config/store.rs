//! `[store]`: the database.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Problems;

/// See `config/default.toml`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoreConfig {
    /// Connections to the database.
    pub max_connections: u32,
    /// Milliseconds to wait for one.
    pub acquire_timeout_ms: u64,
}

impl StoreConfig {
    /// How long to wait for a connection.
    #[must_use]
    pub fn acquire_timeout(&self) -> Duration {
        Duration::from_millis(self.acquire_timeout_ms)
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        problems.at_least("store.max_connections", self.max_connections.into(), 3);
        problems.at_least("store.acquire_timeout_ms", self.acquire_timeout_ms, 1);
    }
}
