//! Work that a caller who goes away must not cut in half.

use std::future::Future;

use tracing::Instrument;

use super::StoreError;

/// Runs `work` to its end even when the caller is dropped meanwhile, as axum drops a handler whose client hangs
/// up: nothing is left half done, and no connection goes back to its pool with an open transaction.
pub(super) async fn unbroken<T: Send + 'static>(
    work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::spawn(work.in_current_span()).await {
        Ok(result) => result,
        Err(_panicked_or_shut_down) => Err(StoreError::Unavailable(sqlx::Error::WorkerCrashed)),
    }
}
