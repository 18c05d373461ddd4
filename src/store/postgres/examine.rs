//! A look at the database from all sides.

use sqlx::Row;

use super::super::StoreError;
use super::pool::Pool;
use crate::clock::Clock;
use crate::domain::finding::{Finding, Subject};

/// How far the clocks may be apart, in seconds. Leases do not mind: they are judged by the database's clock alone.
const WORRYING_SKEW_SECS: f64 = 60.0;

/// The oldest major version that this program is made for and tried with.
const OLDEST: i32 = 14;

const LOOK: &str = "
SELECT
    current_setting('server_version_num')::int AS version,
    current_setting('fsync') = 'on' AS fsync,
    current_setting('synchronous_commit') AS synchronous_commit,
    pg_is_in_recovery() AS read_only,
    extract(epoch FROM clock_timestamp())::float8 AS now,
    LEAST(
        current_setting('max_connections')::bigint - current_setting('superuser_reserved_connections')::bigint
            - COALESCE(current_setting('reserved_connections', true)::bigint, 0),
        (SELECT NULLIF(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user AND NOT rolsuper),
        (SELECT NULLIF(datconnlimit, -1) FROM pg_database WHERE datname = current_database())
    ) AS room,
    (SELECT bool_and(has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')
                     AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE'))
     FROM pg_class
     WHERE oid = ANY (ARRAY[
        'events', 'recordings', 'files', 'jobs', 'told', 'foreign_objects', 'pruned'
     ]::regclass[])) AS may_write";

/// `most` is how many connections this process opens at most.
pub(super) async fn examine(pool: &Pool, most: u32) -> Result<Vec<Finding>, StoreError> {
    let row = sqlx::query(LOOK).fetch_one(&mut *pool.acquire().await?).await?;
    let mut findings = vec![
        version(row.try_get("version")?),
        durability(row.try_get("fsync")?, row.try_get("synchronous_commit")?),
    ];
    findings.push(if row.try_get("read_only")? {
        wrong("this is a standby that cannot be written to", "name the primary in DATABASE_URL")
    } else if row.try_get("may_write")? {
        well("all tables can be read and written")
    } else {
        wrong(
            "some of the tables cannot be written to",
            "grant SELECT, INSERT, UPDATE and DELETE on all tables to this user",
        )
    });
    findings.push(connections(most, row.try_get("room")?));
    findings.push(clocks(row.try_get::<f64, _>("now")? - Clock::System.now().timestamp() as f64));
    Ok(findings)
}

fn well(words: impl Into<String>) -> Finding {
    Finding::well(Subject::Database, words)
}

fn wrong(words: impl Into<String>, mend: &str) -> Finding {
    Finding::wrong_so(Subject::Database, words, mend)
}

/// Whether the server is new enough; `number` is its version as it counts it: 140005 is 14.5.
fn version(number: i32) -> Finding {
    let major = number / 10_000;
    if major < OLDEST {
        return wrong(
            format!("PostgreSQL {major} is too old: this program needs {OLDEST} or newer"),
            "upgrade the server, or name another one in DATABASE_URL",
        );
    }
    well(format!("PostgreSQL {major} is new enough ({OLDEST} or newer is needed)"))
}

/// Whether what is committed outlives a crash.
fn durability(fsync: bool, synchronous_commit: &str) -> Finding {
    match (fsync, synchronous_commit) {
        (true, "off") => wrong(
            "synchronous_commit is off: what Zoom was answered could be lost in a crash",
            "set synchronous_commit = on for this database",
        ),
        (true, _) => well("what is committed is on its disk"),
        (false, _) => wrong("fsync is off: a crash can destroy the database", "set fsync = on"),
    }
}

/// Whether the server lets a process open the connections that it may want; `room` is how many this user may have there.
fn connections(most: u32, room: i64) -> Finding {
    if room < i64::from(most) {
        return wrong(
            format!(
                "it lets this user open {room} connections, and store.max_connections lets a process open {most}"
            ),
            "raise max_connections of the server, or the limit of the user or the database, or lower \
             store.max_connections; every process opens as many",
        );
    }
    well(format!("a process opens up to {most} connections, and it lets this user have {room}"))
}

fn clocks(ahead: f64) -> Finding {
    if ahead.abs() < WORRYING_SKEW_SECS {
        return well("the clocks agree");
    }
    Finding::note(
        Subject::Database,
        format!("its clock is {ahead:.0} s ahead of this machine's"),
        "set both clocks: times in reports and signatures of events go by this machine's",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::finding::Verdict;

    #[test]
    fn a_clock_that_is_a_minute_off_is_told_by_how_much_and_which_way() {
        for (ahead, words) in [(60.2, "its clock is 60 s ahead"), (-3600.0, "its clock is -3600 s ahead")] {
            let found = clocks(ahead);
            assert!(found.verdict == Verdict::Note && found.words.contains(words), "{found:?}");
            assert!(found.mend.is_some_and(|mend| mend.contains("set both clocks")));
        }
        for ahead in [-59.0, 0.4, 59.0] {
            assert_eq!(clocks(ahead).verdict, Verdict::Well, "{ahead}");
        }
    }

    #[test]
    fn a_server_older_than_the_oldest_that_is_supported_is_wrong_and_told_which_is_needed() {
        for (number, words) in [(130_022, "PostgreSQL 13 is too old"), (90_624, "PostgreSQL 9 is too old")] {
            let found = version(number);
            assert!(found.verdict == Verdict::Wrong && found.words.starts_with(words), "{found:?}");
            assert!(found.words.contains("needs 14 or newer"), "{found:?}");
        }
        for number in [140_000, 150_018, 180_001] {
            assert_eq!(version(number).verdict, Verdict::Well, "{number}");
        }
        let documented = include_str!("../../../docs/deploying.md");
        assert!(documented.contains(&format!("PostgreSQL {OLDEST} or newer")));
    }

    #[test]
    fn a_server_that_lets_a_process_open_less_than_it_may_want_is_wrong() {
        for (most, room, verdict) in
            [(16, 97, Verdict::Well), (16, 16, Verdict::Well), (16, 15, Verdict::Wrong)]
        {
            assert_eq!(connections(most, room).verdict, verdict, "{most} {room}");
        }
    }
}
