//! Accepts connections within bounds, and stops on time: hyper's own server, because `axum::serve` knows no
//! header timeout and waits for half-sent requests when it should stop.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::config::http::HttpConfig;

/// Time for requests under way to be answered when the door closes.
const DRAIN: Duration = Duration::from_secs(5);
/// Rest after a failed accept (out of file descriptors, mostly).
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// Longest request head, in bytes.
const MAX_HEAD_BYTES: usize = 32 * 1024;

/// Serves `router` on `listener` until `stop`, then lets the requests under way end.
pub async fn serve(listener: TcpListener, router: Router, config: HttpConfig, stop: CancellationToken) {
    let connections = Arc::new(Semaphore::new(config.max_connections));
    let graceful = GracefulShutdown::new();
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(config.header_timeout())
        .max_buf_size(MAX_HEAD_BYTES)
        .keep_alive(true);
    while let Some((stream, permit)) = next_connection(&listener, &connections, &stop).await {
        let service = TowerToHyperService::new(router.clone());
        let connection = graceful.watch(builder.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(%error, "connection ended early");
            }
            drop(permit);
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        warn!("some requests did not end in time");
    }
}

/// The next connection with its place among the allowed ones; `None` when it is time to stop.
async fn next_connection(
    listener: &TcpListener,
    connections: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    loop {
        let accepted = async {
            let permit = Arc::clone(connections).acquire_owned().await.map_err(io::Error::other)?;
            let (stream, _) = listener.accept().await?;
            io::Result::Ok((stream, permit))
        };
        tokio::select! {
            () = stop.cancelled() => return None,
            accepted = accepted => match accepted {
                Ok(connection) => return Some(connection),
                Err(error) => {
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            },
        }
    }
}
