//! Work that a caller who goes away must not cut in half, and that no caller's threads are too busy for.

use std::future::Future;

use tokio::runtime::Handle;
use tracing::Instrument;

use super::StoreError;

/// Where such work is done: on the threads on which the store was opened. Those that carry files are others, and have
/// much to do; a transaction that one of them began must not hold up an event (`src/app.rs` has both).
#[derive(Debug, Clone)]
pub(super) struct Unbroken(Handle);

impl Unbroken {
    /// On the threads of the caller.
    pub(super) fn here() -> Self {
        Self(Handle::current())
    }

    /// Runs `work` to its end even when the caller is dropped meanwhile, as axum drops a handler whose client hangs
    /// up: nothing is left half done, and no connection goes back to its pool with an open transaction.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Result<T, StoreError> {
        match self.0.spawn(work.in_current_span()).await {
            Ok(result) => result,
            Err(_panicked_or_shut_down) => Err(StoreError::Unavailable(sqlx::Error::WorkerCrashed)),
        }
    }
}
