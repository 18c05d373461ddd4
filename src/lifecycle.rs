//! How the program ends: the first SIGTERM or SIGINT stops it softly (no new work, running jobs put back with
//! their checkpoint), the second ends it at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// Exit code of a program that was told twice to stop: 128 + SIGINT, as shells have it.
const ENDED_AT_ONCE: i32 = 130;

/// A token that the first signal cancels. The second one ends the process.
///
/// # Errors
/// When signal handlers cannot be installed.
pub fn stop_on_signals() -> std::io::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let told = stop.clone();
    tokio::spawn(async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            }
        };
        let first = next().await;
        info!(signal = first, "stopping; a second signal ends at once");
        told.cancel();
        let second = next().await;
        warn!(signal = second, "ending at once");
        std::process::exit(ENDED_AT_ONCE);
    });
    Ok(stop)
}
