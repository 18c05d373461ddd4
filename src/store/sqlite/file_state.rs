//! Single files that move at Zoom by themselves, and those of which Zoom says only later what they are.

use sqlx::SqliteConnection;
use uuid::Uuid;

use super::super::known::{PLACEHOLDER, Placeholders, REPLACED, SingleFiles};
use super::super::moment::Moment;
use super::super::{Intake, StoreError};
use super::queue::{skip, unskip};

/// Writes how single files stand at Zoom. What is older than what is known changes nothing.
pub(super) async fn move_files(
    db: &mut SqliteConnection,
    recording: Uuid,
    single: &SingleFiles,
    happened_at: Moment,
    now: i64,
) -> Result<(), StoreError> {
    for file in &single.identities {
        sqlx::query(
            "UPDATE files SET zoom_state = $4, zoom_state_at = $5, updated_at = $6
             WHERE recording_id = $1 AND collection = $2 AND name = $3
                AND (zoom_state_at IS NULL OR zoom_state_at <= $5)",
        )
        .bind(recording)
        .bind(&file.collection)
        .bind(&file.name)
        .bind(single.state.as_str())
        .bind(happened_at)
        .bind(now)
        .execute(&mut *db)
        .await?;
    }
    Ok(())
}

/// Skips placeholders that other files have replaced, and takes up those that turn out to be files.
pub(super) async fn settle_placeholders(
    db: &mut SqliteConnection,
    placeholders: &Placeholders,
    intake: &Intake,
) -> Result<(), StoreError> {
    for file in &placeholders.replaced {
        skip(&mut *db, *file, REPLACED, PLACEHOLDER).await?;
    }
    for file in &placeholders.returned {
        sqlx::query("UPDATE files SET decided_by = $2 WHERE id = $1 AND decided_by = $3")
            .bind(file.0)
            .bind(intake.rules())
            .bind(PLACEHOLDER)
            .execute(&mut *db)
            .await?;
        unskip(&mut *db, *file, intake.rules()).await?;
    }
    Ok(())
}
