//! Single files that move at Zoom by themselves, and those of which Zoom says only later what they are.

use sqlx::PgConnection;
use uuid::Uuid;

use super::super::StoreError;
use super::super::known::{PLACEHOLDER, Placeholders, REPLACED, SingleFiles};
use super::super::moment::Moment;
use super::queue::{skip, unskip};

/// Writes how single files stand at Zoom. What is older than what is known changes nothing.
pub(super) async fn move_files(
    connection: &mut PgConnection,
    recording: Uuid,
    single: &SingleFiles,
    happened_at: Moment,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "UPDATE files SET zoom_state = $4, zoom_state_at = $5, updated_at = now()
         FROM unnest($2::text[], $3::text[]) AS moved (collection, name)
         WHERE files.recording_id = $1 AND files.collection = moved.collection AND files.name = moved.name
            AND (zoom_state_at IS NULL OR zoom_state_at <= $5)",
    )
    .bind(recording)
    .bind(single.identities.iter().map(|file| file.collection.as_str()).collect::<Vec<_>>())
    .bind(single.identities.iter().map(|file| file.name.as_str()).collect::<Vec<_>>())
    .bind(single.state.as_str())
    .bind(happened_at)
    .execute(connection)
    .await?;
    Ok(())
}

/// Skips placeholders that other files have replaced, and takes up those that turn out to be files, which `rules` judge.
pub(super) async fn settle_placeholders(
    connection: &mut PgConnection,
    placeholders: &Placeholders,
    rules: &str,
) -> Result<(), StoreError> {
    for file in &placeholders.replaced {
        skip(&mut *connection, *file, REPLACED, PLACEHOLDER).await?;
    }
    for file in &placeholders.returned {
        sqlx::query("UPDATE files SET decided_by = $2 WHERE id = $1 AND decided_by = $3")
            .bind(file.0)
            .bind(rules)
            .bind(PLACEHOLDER)
            .execute(&mut *connection)
            .await?;
        unskip(&mut *connection, *file, rules).await?;
    }
    Ok(())
}
