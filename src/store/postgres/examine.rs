//! A look at the database from all sides.

use sqlx::{PgPool, Row};

use super::super::StoreError;
use crate::clock::Clock;
use crate::domain::finding::{Finding, Subject};

/// How far the clocks may be apart, in seconds. Leases do not mind: they are judged by the database's clock alone.
const WORRYING_SKEW_SECS: f64 = 60.0;

const LOOK: &str = "
SELECT
    current_setting('fsync') = 'on' AS fsync,
    current_setting('synchronous_commit') AS synchronous_commit,
    pg_is_in_recovery() AS read_only,
    extract(epoch FROM now())::float8 AS now,
    (SELECT bool_and(has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')
                     AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE'))
     FROM pg_class
     WHERE oid = ANY (ARRAY[
        'events', 'recordings', 'files', 'jobs', 'told', 'foreign_objects', 'pruned'
     ]::regclass[])) AS may_write";

pub(super) async fn examine(pool: &PgPool) -> Result<Vec<Finding>, StoreError> {
    let row = sqlx::query(LOOK).fetch_one(pool).await?;
    let well = |words: &str| Finding::well(Subject::Database, words);
    let wrong = |words: &str, mend: &str| Finding::wrong_so(Subject::Database, words, mend);
    let mut findings = Vec::new();
    findings.push(match (row.try_get("fsync")?, row.try_get::<&str, _>("synchronous_commit")?) {
        (true, "off") => wrong(
            "synchronous_commit is off: what Zoom was answered could be lost in a crash",
            "set synchronous_commit = on for this database",
        ),
        (true, _) => well("what is committed is on its disk"),
        (false, _) => wrong("fsync is off: a crash can destroy the database", "set fsync = on"),
    });
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
    let ahead = row.try_get::<f64, _>("now")? - Clock::System.now().timestamp() as f64;
    findings.push(if ahead.abs() < WORRYING_SKEW_SECS {
        well("the clocks agree")
    } else {
        Finding::note(
            Subject::Database,
            format!("its clock is {ahead:.0} s ahead of this machine's"),
            "set both clocks: times in reports and signatures of events go by this machine's",
        )
    });
    Ok(findings)
}
