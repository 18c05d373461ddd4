//! What both databases tell in the same way to those who watch.

use sqlx::{Database, Pool};

use super::Connections;

/// The connections of one pool.
pub(super) fn connections<D: Database>(purpose: &'static str, pool: &Pool<D>) -> Connections {
    Connections {
        purpose,
        open: pool.size(),
        idle: u32::try_from(pool.num_idle()).unwrap_or(u32::MAX).min(pool.size()),
        most: pool.options().get_max_connections(),
    }
}
