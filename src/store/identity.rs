//! Which archive holds the objects: one row, the same statements for both databases.

use crate::domain::archive::ArchiveIdentity;

/// The row, if any.
pub(super) const READ: &str = "SELECT id, place FROM archive_identity";

/// Notes an archive (`$1` id, `$2` place) where none is noted.
pub(super) const NOTE: &str =
    "INSERT INTO archive_identity (only_one, id, place) VALUES (1, $1, $2) ON CONFLICT (only_one) DO NOTHING";

/// The same, whatever is noted.
pub(super) const REPLACE: &str = "INSERT INTO archive_identity (only_one, id, place) VALUES (1, $1, $2)
    ON CONFLICT (only_one) DO UPDATE SET id = excluded.id, place = excluded.place";

/// Reads the row.
pub(super) fn read((id, place): (String, String)) -> ArchiveIdentity {
    ArchiveIdentity { id, place }
}
