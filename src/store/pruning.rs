//! What is forgotten by age: which rows, batch by batch, and how many have been. The statements are in each database's
//! `prune.rs`; when they are sent is the scheduler's.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::StoreError;
use super::moment::Moment;
use super::rows::whole;

/// Rows of our own that prove nothing, and that grow with use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Prunable {
    /// Events that were read. What could not be read is told by no other row: it stays until it is replayed.
    Events,
    /// Jobs that are done and that nothing can wake: transfers of archived files, manifests, removals, notices. The transfer
    /// of a gone file stays, since a URL or a person wakes it; so do jobs that come again by period.
    Jobs,
}

impl Prunable {
    /// The table, as the word used in SQL, metrics and API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Jobs => "jobs",
        }
    }
}

/// A row among those of its table, in the order in which they are forgotten: the oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bygone {
    /// When an event came, or a job was finished.
    pub(super) at: DateTime<Utc>,
    pub(super) id: Uuid,
}

impl Bygone {
    /// Before every row.
    pub(super) const BEFORE_ALL: Self = Self { at: DateTime::UNIX_EPOCH, id: Uuid::nil() };
}

/// What a batch has forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pruned {
    /// How many rows.
    pub rows: u64,
    /// The last of them: where the next batch goes on. `None` when there were none.
    pub last: Option<Bygone>,
}

/// How many rows of a kind have been forgotten so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrunedCount {
    /// Their table: see [`Prunable::as_str`].
    pub table: String,
    /// Zoom's name of the event, or the kind of the job.
    pub kind: String,
    /// How many.
    pub rows: u64,
    /// When the newest of them came, or was finished.
    pub until: DateTime<Utc>,
}

/// A row that was forgotten: its id, its kind, and when it came or was finished.
pub(super) type Gone = (Uuid, String, Moment);

/// What a batch has forgotten. Events go in the order of their ids, jobs in that of their ends.
pub(super) fn batch(what: Prunable, gone: &[Gone]) -> Pruned {
    let rows = gone.iter().map(|(id, _, at)| Bygone { at: at.0, id: *id });
    let last = match what {
        Prunable::Events => rows.max_by_key(|row| row.id),
        Prunable::Jobs => rows.max(),
    };
    Pruned { rows: gone.len() as u64, last }
}

/// How many of each kind a batch has forgotten, and when the newest of them was.
pub(super) fn by_kind(gone: &[Gone]) -> BTreeMap<&str, (i64, Moment)> {
    let mut kinds = BTreeMap::new();
    for (_, kind, at) in gone {
        let (rows, newest) = kinds.entry(kind.as_str()).or_insert((0, *at));
        *rows += 1;
        *newest = (*newest).max(*at);
    }
    kinds
}

/// A count, from its columns.
pub(super) fn count(
    (table, kind, rows, until): (String, String, i64, Moment),
) -> Result<PrunedCount, StoreError> {
    Ok(PrunedCount { table, kind, rows: whole(rows)?, until: until.0 })
}

/// The first id (UUID of version 7) of a moment in Unix milliseconds: all that are smaller were made before it.
pub(super) fn first_id_of(millis: i64) -> Uuid {
    let millis = u128::from(u64::try_from(millis).unwrap_or(0));
    Uuid::from_u128(millis << 80)
}

#[cfg(test)]
mod tests {
    use uuid::{NoContext, Timestamp};

    use super::*;

    #[test]
    fn the_first_id_of_a_moment_parts_those_before_from_those_after() {
        let made_at = |millis: u64| {
            Uuid::new_v7(Timestamp::from_unix(NoContext, millis / 1000, (millis % 1000) as u32 * 1_000_000))
        };
        let bound = first_id_of(1_780_000_000_123);
        assert!(made_at(1_780_000_000_122) < bound);
        assert!(made_at(1_780_000_000_123) > bound);
        assert_eq!(first_id_of(-1), Uuid::nil(), "nothing was made before 1970");
    }

    #[test]
    fn a_batch_goes_on_after_the_last_of_its_order() {
        let at = |second| Moment(DateTime::from_timestamp(second, 0).unwrap());
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let gone = [(two, "a".to_owned(), at(5)), (one, "b".to_owned(), at(9))];
        assert_eq!(batch(Prunable::Events, &gone).last, Some(Bygone { at: at(5).0, id: two }));
        assert_eq!(batch(Prunable::Jobs, &gone).last, Some(Bygone { at: at(9).0, id: one }));
        assert_eq!(batch(Prunable::Jobs, &[]), Pruned { rows: 0, last: None });
    }
}
