//! The server: what Zoom's `download_url` leads to, and its API, as real HTTP on real sockets, with all the ways in
//! which they go wrong.
//!
//! - [`Server`]: two origins on free ports, ended at once when dropped
//! - `answer`: what a request for a file gets
//! - `body`: the bytes, at the right pace, up to the fault
//! - `api`: what a question to the API gets

mod answer;
mod api;
mod body;

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::Router;
use axum::routing::{any, get, post};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::library::Library;

/// Connections served at the same time; more wait in the listener's queue.
const MAX_CONNECTIONS: usize = 512;
/// Time that a client has to send the head of its request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// The front door, where `download_url` leads.
    pub front: SocketAddr,
    /// What its URLs begin with.
    pub base: Url,
    /// The second origin, where redirects may lead.
    pub behind: SocketAddr,
    finishing: CancellationToken,
    tasks: [JoinHandle<()>; 2],
}

/// What every request's handler knows.
#[derive(Clone)]
struct Context {
    library: Library,
    base: Url,
    /// Scheme, host and port of the second origin.
    behind: String,
    bytes_per_sec: Option<u64>,
}

impl Server {
    /// Listens on `listen`, and for the second origin on a free port of the same address. `public_url` is what its
    /// URLs begin with where that is not `listen`; `bytes_per_sec` slows every download down to so much.
    ///
    /// # Errors
    /// When an address cannot be bound.
    pub async fn start(
        listen: SocketAddr,
        public_url: Option<Url>,
        library: Library,
        bytes_per_sec: Option<u64>,
    ) -> io::Result<Self> {
        let front_listener = TcpListener::bind(listen).await?;
        let behind_listener = TcpListener::bind(SocketAddr::new(listen.ip(), 0)).await?;
        let (front, behind) = (front_listener.local_addr()?, behind_listener.local_addr()?);
        let base = match public_url {
            Some(url) => url,
            None => Url::parse(&format!("http://{front}")).map_err(io::Error::other)?,
        };
        let context =
            Context { library, base: base.clone(), behind: format!("http://{behind}"), bytes_per_sec };
        let files = Router::new()
            .route(answer::SIGNED_PATH, get(answer::signed))
            .route(answer::DOWNLOAD_PATH, get(answer::download));
        let front_router = files
            .clone()
            .route(api::API_PATH, any(api::question))
            .route(api::TOKEN_PATH, post(api::access_token))
            .with_state(context.clone());
        let behind_router = files.with_state(context);
        let finishing = CancellationToken::new();
        let tasks = [(front_listener, front_router), (behind_listener, behind_router)]
            .map(|(listener, router)| tokio::spawn(accept(listener, router, finishing.clone())));
        Ok(Self { front, base, behind, finishing, tasks })
    }

    /// Takes nothing new and lets the answers that are under way end, for at most `grace`; then it is gone.
    pub async fn finish(mut self, grace: Duration) {
        self.finishing.cancel();
        let ended = tokio::time::timeout(grace, async {
            for task in &mut self.tasks {
                // It neither panics nor is aborted before this is dropped.
                let _ = task.await;
            }
        });
        // What has not ended by now ends with the drop.
        let _ = ended.await;
    }
}

impl Drop for Server {
    /// Ends listeners and connections at once, wherever they are.
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

async fn accept(listener: TcpListener, router: Router, finishing: CancellationToken) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, router.clone(), finishing.clone()));
                }
                // Out of file handles, or a client that went away again: both pass.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
            () = finishing.cancelled() => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn serve(stream: TcpStream, router: Router, finishing: CancellationToken) {
    // Not to be delayed: a part-filled segment before a fault must still go out.
    let _ = stream.set_nodelay(true);
    let service = TowerToHyperService::new(router);
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    // An error is a client that went away, or a fault of ours at work.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = finishing.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
