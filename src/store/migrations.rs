//! The steps of the schema, the same numbers and names for both databases.

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator};

use super::StoreError;

/// From which version of the schema to which one a migration went; equal when there was nothing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Migrated {
    /// Before; 0 for an empty database.
    pub from: i64,
    /// After.
    pub to: i64,
}

/// The version of the schema that this program was built for.
pub(super) const VERSION: i64 = NAMES.len() as i64;

/// The steps; the first is number 1.
const NAMES: [&str; 14] = [
    "record",
    "queue",
    "account",
    "state",
    "loss",
    "identity",
    "notices",
    "watch",
    "lists",
    "verification",
    "retention",
    "file_identity",
    "earlier_objects",
    "archive_identity",
];

pub(super) const POSTGRES: [&str; NAMES.len()] = [
    include_str!("../../migrations/postgres/0001_record.sql"),
    include_str!("../../migrations/postgres/0002_queue.sql"),
    include_str!("../../migrations/postgres/0003_account.sql"),
    include_str!("../../migrations/postgres/0004_state.sql"),
    include_str!("../../migrations/postgres/0005_loss.sql"),
    include_str!("../../migrations/postgres/0006_identity.sql"),
    include_str!("../../migrations/postgres/0007_notices.sql"),
    include_str!("../../migrations/postgres/0008_watch.sql"),
    include_str!("../../migrations/postgres/0009_lists.sql"),
    include_str!("../../migrations/postgres/0010_verification.sql"),
    include_str!("../../migrations/postgres/0011_retention.sql"),
    include_str!("../../migrations/postgres/0012_file_identity.sql"),
    include_str!("../../migrations/postgres/0013_earlier_objects.sql"),
    include_str!("../../migrations/postgres/0014_archive_identity.sql"),
];

pub(super) const SQLITE: [&str; NAMES.len()] = [
    include_str!("../../migrations/sqlite/0001_record.sql"),
    include_str!("../../migrations/sqlite/0002_queue.sql"),
    include_str!("../../migrations/sqlite/0003_account.sql"),
    include_str!("../../migrations/sqlite/0004_state.sql"),
    include_str!("../../migrations/sqlite/0005_loss.sql"),
    include_str!("../../migrations/sqlite/0006_identity.sql"),
    include_str!("../../migrations/sqlite/0007_notices.sql"),
    include_str!("../../migrations/sqlite/0008_watch.sql"),
    include_str!("../../migrations/sqlite/0009_lists.sql"),
    include_str!("../../migrations/sqlite/0010_verification.sql"),
    include_str!("../../migrations/sqlite/0011_retention.sql"),
    include_str!("../../migrations/sqlite/0012_file_identity.sql"),
    include_str!("../../migrations/sqlite/0013_earlier_objects.sql"),
    include_str!("../../migrations/sqlite/0014_archive_identity.sql"),
];

/// Takes the steps that are missing. Holds sqlx's advisory lock meanwhile where the database has such locks
/// (Postgres); that lock lives as long as the connection, so give it one that is closed afterwards.
pub(super) async fn run<C: Migrate>(
    connection: &mut C,
    steps: [&'static str; NAMES.len()],
) -> Result<Migrated, StoreError> {
    let migrator = migrator(steps);
    connection.lock().await.map_err(migration_error)?;
    connection.ensure_migrations_table(&migrator.table_name).await.map_err(migration_error)?;
    let from = applied_version(connection, &migrator).await?;
    // The lock counts: the migrator takes it a second time and gives it back once.
    migrator.run_direct(None, connection, false).await.map_err(migration_error)?;
    let to = applied_version(connection, &migrator).await?;
    connection.unlock().await.map_err(migration_error)?;
    Ok(Migrated { from, to })
}

async fn applied_version<C: Migrate>(connection: &mut C, migrator: &Migrator) -> Result<i64, StoreError> {
    let applied = connection.list_applied_migrations(&migrator.table_name).await.map_err(migration_error)?;
    Ok(applied.into_iter().map(|migration| migration.version).max().unwrap_or(0))
}

fn migrator(steps: [&'static str; NAMES.len()]) -> Migrator {
    let migrations = (1..).zip(NAMES).zip(steps).map(|((number, name), sql)| {
        Migration::new(number, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    });
    Migrator::with_migrations(migrations.collect())
}

/// An outage during a migration is an outage; everything else is a migration that failed.
fn migration_error(error: MigrateError) -> StoreError {
    let error = match error {
        MigrateError::Execute(error) => match StoreError::from(error) {
            StoreError::Refused(error) => MigrateError::Execute(error),
            other => return other,
        },
        MigrateError::ExecuteMigration(error, version) => match StoreError::from(error) {
            StoreError::Refused(error) => MigrateError::ExecuteMigration(error, version),
            other => return other,
        },
        other => other,
    };
    StoreError::Migration(error)
}

/// The answer to a look at the schema's version.
pub(super) fn check_version(found: Option<i64>) -> Result<(), StoreError> {
    match found.unwrap_or(0) {
        VERSION => Ok(()),
        found => Err(StoreError::Schema { found, needed: VERSION }),
    }
}
