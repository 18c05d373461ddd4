//! A look at the database from all sides.

use sqlx::{SqliteConnection, SqlitePool};

use super::super::StoreError;
use super::writer::write_a_page;
use crate::domain::finding::{Finding, Look, Subject};

pub(super) async fn examine(pool: &SqlitePool, look: Look) -> Result<Vec<Finding>, StoreError> {
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(pool).await?;
    let mut findings = vec![match journal.as_str() {
        "wal" => Finding::well(Subject::Database, "readers and the writer do not wait for each other (WAL)"),
        other => Finding::note(
            Subject::Database,
            format!("its journal is \"{other}\" and not \"wal\""),
            "keep the file on a local disk: network file systems cannot do WAL",
        ),
    }];
    if look == Look::Whole {
        findings.push(soundness(pool).await?);
    }
    Ok(findings)
}

/// Reads the whole file.
async fn soundness(pool: &SqlitePool) -> Result<Finding, StoreError> {
    let sound: String = sqlx::query_scalar("PRAGMA quick_check(1)").fetch_one(pool).await?;
    Ok(match sound.as_str() {
        "ok" => Finding::well(Subject::Database, "the file is sound"),
        damage => Finding::wrong_so(
            Subject::Database,
            format!("the file is damaged: {damage}"),
            "restore it from a backup",
        ),
    })
}

/// That it can be written to: whoever comes here holds the write lock.
pub(super) async fn writes(db: &mut SqliteConnection) -> Result<Finding, StoreError> {
    write_a_page(db).await?;
    Ok(Finding::well(Subject::Database, "it can be written to"))
}
