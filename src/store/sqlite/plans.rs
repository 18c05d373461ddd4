//! How SQLite goes about a statement, for tests: on a table of any size, as it has no statistics.

use sqlx::{AssertSqlSafe, Connection, SqliteConnection};

use super::super::migrations;

/// The steps of its plan, in order.
pub(super) async fn of(statement: &str) -> String {
    let mut db = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    migrations::run(&mut db, migrations::SQLITE).await.unwrap();
    let explain = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}"));
    let steps: Vec<(i64, i64, i64, String)> = sqlx::query_as(explain).fetch_all(&mut db).await.unwrap();
    steps.into_iter().map(|(_, _, _, step)| step).collect::<Vec<_>>().join("; ")
}
