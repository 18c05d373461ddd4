//! Whether the archive that the settings name is the one that the database knows: an archive that is not mounted, or another one, is
//! not taken for an empty one.

use std::time::Duration;

use tracing::{info, warn};
use uuid::Uuid;

use crate::archive::{ArchiveError, SharedArchive, marker};
use crate::domain::archive::ArchiveIdentity;
use crate::store::{SharedStore, StoreError};

/// Time for the archive to say which one it is; one that is away is compared at the next start.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why the archive is not used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It is another one.
    #[error(
        "ARCHIVE_URL: {place} is archive {found}, and the objects of this database are in archive {known}, last at {known_place}: set \
         ARCHIVE_URL to that one; after a deliberate move, `zoom-archiver archive adopt` takes the new one"
    )]
    Another {
        /// Where the archive is that the settings name.
        place: String,
        /// Its id, or `without a marker`.
        found: String,
        /// The id that the database knows.
        known: String,
        /// Where that was.
        known_place: String,
    },
    /// The database does not answer.
    #[error("DATABASE_URL: {0}")]
    Store(#[from] StoreError),
    /// The archive does not answer.
    #[error("ARCHIVE_URL: {0}")]
    Archive(#[from] ArchiveError),
}

/// Compares the archive with what the database knows, and notes it where neither has been told yet. A directory without its marker
/// is used no more from then on, until the marker is there again: it is not mounted.
///
/// # Errors
/// See [`IdentityError`].
pub async fn settle(store: &SharedStore, archive: &SharedArchive) -> Result<(), IdentityError> {
    if store.archive_identity().await?.is_some() {
        return check(store, archive).await;
    }
    let id = match in_time(found_or_written(archive)).await {
        Ok(id) => id,
        Err(error) => {
            not_yet(archive, &error.to_string());
            return Ok(());
        }
    };
    let here = ArchiveIdentity { id: id.clone(), place: archive.describe().to_owned() };
    hold(archive, store.note_archive(&here, false).await?, Some(id))
}

/// The same for whoever only looks: nothing is noted.
///
/// # Errors
/// See [`IdentityError`].
pub async fn check(store: &SharedStore, archive: &SharedArchive) -> Result<(), IdentityError> {
    let Some(known) = store.archive_identity().await? else { return Ok(()) };
    match in_time(marker::read(archive.as_ref())).await {
        Ok(found) => hold(archive, known, found),
        Err(error) => {
            not_yet(archive, &error.to_string());
            archive.expect(&known.id);
            Ok(())
        }
    }
}

async fn found_or_written(archive: &SharedArchive) -> Result<String, ArchiveError> {
    match marker::read(archive.as_ref()).await? {
        Some(found) => Ok(found),
        None => marker::write(archive.as_ref(), &Uuid::now_v7().to_string()).await,
    }
}

async fn in_time<T>(asked: impl Future<Output = Result<T, ArchiveError>>) -> Result<T, ArchiveError> {
    let late = |_| ArchiveError::Unavailable(format!("no answer within {} s", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, asked).await.map_err(late)?
}

/// Has the archive be used as the one that is known, and no other.
fn hold(archive: &SharedArchive, known: ArchiveIdentity, found: Option<String>) -> Result<(), IdentityError> {
    let place = archive.describe().to_owned();
    match found {
        Some(found) if found == known.id => {}
        None if archive.may_be_unmounted() => {
            warn!(archive.place = place, archive.id = known.id, "the archive has no marker: is it mounted?");
        }
        found => {
            let found = found.unwrap_or_else(|| "without a marker".to_owned());
            return Err(IdentityError::Another { place, found, known: known.id, known_place: known.place });
        }
    }
    archive.expect(&known.id);
    Ok(())
}

/// What cannot be compared now is compared at the next start.
fn not_yet(archive: &SharedArchive, reason: &str) {
    let place = archive.describe();
    info!(archive.place = place, reason, "whether this is the archive of the database is not known yet");
}

/// Takes the archive of the settings for that of the database from now on; returns what the database knew before, and knows now.
///
/// # Errors
/// See [`IdentityError`].
pub async fn adopt(
    store: &SharedStore,
    archive: &SharedArchive,
) -> Result<(Option<ArchiveIdentity>, ArchiveIdentity), IdentityError> {
    let before = store.archive_identity().await?;
    let id = match marker::read(archive.as_ref()).await? {
        Some(id) => id,
        None => marker::write(archive.as_ref(), &Uuid::now_v7().to_string()).await?,
    };
    let now = ArchiveIdentity { id, place: archive.describe().to_owned() };
    Ok((before, store.note_archive(&now, true).await?))
}
