//! What Zoom has, against what we have. The command `backfill`, the report `reconcile` and the rounds of the scheduler all
//! look at it through here.
//!
//! - [`source`]: which lists there are to read, by account
//! - [`compare`]: one recording of a list against the record: what is missing here
//! - [`report`]: Zoom, database and archive against each other, file by file
//!
//! Nothing here writes. What is missing is recorded by the one way in for everything that Zoom says,
//! [`Store::record`](crate::store::Store::record), and carried by the workers like everything else.

pub mod compare;
pub mod report;
pub mod source;

use crate::archive::ArchiveError;
use crate::store::StoreError;
use crate::zoom::api::ApiError;

/// Why a look ended early. What was recorded before stands, and looking again goes on from there.
#[derive(Debug, thiserror::Error)]
pub enum ReconcileError {
    /// Zoom's API.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}
