//! The download server: what Zoom's `download_url` leads to, as real HTTP on real sockets, with all the ways in
//! which it goes wrong.
//!
//! - [`Server`]: two origins on free ports, one task, ended at once when dropped
//! - `answer`: what a request gets
//! - `body`: the bytes, at the right pace, up to the fault

mod answer;
mod body;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

use super::library::Library;

/// Connections served at the same time; more wait in the listener's queue.
const MAX_CONNECTIONS: usize = 512;
/// Time that a client has to send the head of its request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// A running download server.
#[derive(Debug)]
pub struct Server {
    /// The front door, where `download_url` leads.
    pub front: SocketAddr,
    /// The second origin, where redirects may lead.
    pub behind: SocketAddr,
    tasks: [AbortHandle; 2],
}

/// What every request's handler knows.
#[derive(Clone)]
struct Context {
    library: Library,
    /// Scheme, host and port of the second origin.
    behind: String,
    bytes_per_sec: Option<u64>,
}

impl Server {
    /// Listens on `listen`, and for the second origin on a free port of the same address. `bytes_per_sec` slows
    /// every answer down to so much.
    ///
    /// # Errors
    /// When an address cannot be bound.
    pub async fn start(listen: SocketAddr, library: Library, bytes_per_sec: Option<u64>) -> io::Result<Self> {
        let front_listener = TcpListener::bind(listen).await?;
        let behind_listener = TcpListener::bind(SocketAddr::new(listen.ip(), 0)).await?;
        let (front, behind) = (front_listener.local_addr()?, behind_listener.local_addr()?);
        let context = Context { library, behind: format!("http://{behind}"), bytes_per_sec };
        let signed = Router::new().route(answer::SIGNED_PATH, get(answer::signed));
        let front_router =
            signed.clone().route(answer::DOWNLOAD_PATH, get(answer::download)).with_state(context.clone());
        let behind_router = signed.with_state(context);
        let tasks = [(front_listener, front_router), (behind_listener, behind_router)]
            .map(|(listener, router)| tokio::spawn(accept(listener, router)).abort_handle());
        Ok(Self { front, behind, tasks })
    }
}

impl Drop for Server {
    /// Ends listeners and connections at once, wherever they are.
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

async fn accept(listener: TcpListener, router: Router) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept(), if connections.len() < MAX_CONNECTIONS => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve(stream, router.clone()));
                }
                // Out of file handles, or a client that went away again: both pass.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, router: Router) {
    // Not to be delayed: a part-filled segment before a fault must still go out.
    let _ = stream.set_nodelay(true);
    let service = TowerToHyperService::new(router);
    // An error is a client that went away, or a fault of ours at work.
    let _ = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service)
        .await;
}
