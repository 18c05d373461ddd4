//! Has those who want to know told of files that will soon not be had any more: no run of a job makes that true, but the
//! time that passes. Of any number of watchers one tells each file.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::store::SharedStore;

/// Rest between two looks.
const PERIOD: Duration = Duration::from_secs(60);

/// Looks by period until told to stop.
pub async fn run(store: SharedStore, lead: Duration, stop: CancellationToken) {
    loop {
        let look = async {
            match store.tell_losses(lead).await {
                Ok(0) => tokio::time::sleep(PERIOD).await,
                Ok(files) => warn!(files, "files are near their loss"),
                Err(error) => {
                    warn!(%error, "cannot look for files that are near their loss");
                    tokio::time::sleep(PERIOD).await;
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = look => {}
        }
    }
}
