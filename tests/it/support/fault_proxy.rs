//! A TCP proxy that misbehaves on command, to stand between the service and its store, archive or source.
//!
//! One [`Fault`] is in force at a time and can be changed at any moment; it takes hold of open connections as
//! well as new ones. Bytes are never altered, only kept, delayed, cut, or (HTTP) answered in the server's
//! place; so signatures and TLS stay whole.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Most bytes that one read takes; also the grain of [`Fault::Slow`] without a rate.
const CHUNK: usize = 16 * 1024;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From the client to the server: requests, uploads.
    ToServer,
    /// From the server to the client: answers, downloads.
    ToClient,
}

/// What goes wrong. `times` says how often; after that the proxy passes everything.
#[derive(Debug, Clone)]
pub(crate) enum Fault {
    /// Nothing.
    Pass,
    /// Each way of each connection waits `latency` before a burst, and carries at most `bytes_per_sec`.
    Slow { latency: Duration, bytes_per_sec: Option<u32> },
    /// A connection is reset (RST to both ends) once exactly `bytes` went that way since the fault was set.
    ResetAfter { way: Way, bytes: u64, times: u32 },
    /// Connections are accepted and nothing moves any more, until another fault is set: then it all goes on.
    BlackHole,
    /// New connections are refused (ECONNREFUSED); open ones live.
    Refuse,
    /// HTTP/1.1: a request whose first bytes contain `to` gets `reply` and never reaches the server.
    Answer { to: &'static str, reply: String, times: u32 },
    /// Once the client sent bytes that contain `to`, the server's reply to them is lost: awaited, thrown away,
    /// the connection reset. For HTTP and for unencrypted Postgres (`COMMIT`). `to` must not be split over
    /// two reads, which holds for anything sent in one piece.
    LoseReply { to: &'static str, times: u32 },
    /// What the client sends and contains `to` is held back, as is all that follows on its connection, until another
    /// fault is set; then it goes on. `to` as in [`LoseReply`](Self::LoseReply).
    Hold { to: &'static str, times: u32 },
}

impl Fault {
    /// The next requests whose first bytes contain `to` are answered 503.
    pub(crate) fn unavailable(to: &'static str, times: u32) -> Self {
        Self::Answer { to, times, reply: http_reply("503 Service Unavailable", "text/plain", "away") }
    }

    /// What a store answers to a completion that names a part which it has not.
    pub(crate) fn invalid_part(times: u32) -> Self {
        let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>InvalidPart</Code>\
                    <Message>One or more of the specified parts could not be found.</Message></Error>";
        let reply = http_reply("400 Bad Request", "application/xml", body);
        Self::Answer { to: "<CompleteMultipartUpload", times, reply }
    }

    /// The next requests whose first bytes contain `to` are answered 200 with S3's error document, as S3 does
    /// when an operation fails after it has begun to answer.
    pub(crate) fn error_inside_200(to: &'static str, times: u32) -> Self {
        let body = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>InternalError</Code>\
                    <Message>We encountered an internal error. Please try again.</Message></Error>";
        Self::Answer { to, times, reply: http_reply("200 OK", "application/xml", body) }
    }

    fn times(&self) -> u32 {
        match self {
            Self::ResetAfter { times, .. }
            | Self::Answer { times, .. }
            | Self::LoseReply { times, .. }
            | Self::Hold { times, .. } => *times,
            _ => 0,
        }
    }
}

fn http_reply(status: &str, content_type: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// The fault in force, and how often it may still strike.
#[derive(Debug, Clone)]
struct Setting {
    fault: Fault,
    left: Arc<AtomicU32>,
}

impl Setting {
    fn new(fault: Fault) -> Self {
        let left = Arc::new(AtomicU32::new(fault.times()));
        Self { fault, left }
    }

    fn spent(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }
}

/// A running proxy; dropping it closes its listener and resets its connections.
#[derive(Debug)]
pub(crate) struct FaultProxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

#[derive(Debug)]
struct Shared {
    upstream: String,
    setting: watch::Sender<Setting>,
    strikes: watch::Sender<u32>,
    listening: watch::Sender<bool>,
    /// Cancelled and replaced by `drop_all`; a child of the proxy's own.
    open: Mutex<CancellationToken>,
    /// Cancelled and replaced by `forget_all`.
    flows: Mutex<CancellationToken>,
    stop: CancellationToken,
}

impl FaultProxy {
    /// Listens on a free loopback port and carries every connection to `upstream` (`host:port`).
    ///
    /// # Errors
    /// When no port can be had.
    pub(crate) async fn start(upstream: impl ToString) -> io::Result<Self> {
        // Bound and never listening: holds the port while the fault is `Refuse`.
        let reservation = reusable_socket(SocketAddr::from(([127, 0, 0, 1], 0)))?;
        let addr = reservation.local_addr()?;
        let listener = reusable_socket(addr)?.listen(1024)?;
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            upstream: upstream.to_string(),
            setting: watch::Sender::new(Setting::new(Fault::Pass)),
            strikes: watch::Sender::new(0),
            listening: watch::Sender::new(true),
            open: Mutex::new(stop.child_token()),
            flows: Mutex::default(),
            stop: stop.clone(),
        });
        tokio::spawn(accept(listener, reservation, Arc::clone(&shared)));
        Ok(Self { addr, shared, _stop: stop.drop_guard() })
    }

    /// Where clients connect instead of the upstream.
    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Puts `fault` in force, in place of the one before it, and returns when it is: the next connection and
    /// the next byte meet it.
    pub(crate) async fn set(&self, fault: Fault) {
        let listen = !matches!(fault, Fault::Refuse);
        self.shared.setting.send_replace(Setting::new(fault));
        let mut listening = self.shared.listening.subscribe();
        listening.wait_for(|now| *now == listen).await.unwrap();
    }

    /// Resets every open connection to its client; the server sees it close.
    pub(crate) fn drop_all(&self) {
        let mut open = self.shared.open.lock().unwrap();
        open.cancel();
        *open = self.shared.stop.child_token();
    }

    /// Drops the flow of every open connection without a word, as a firewall does that has forgotten them: both ends stay
    /// open, and nothing moves between them any more. New connections pass.
    pub(crate) fn forget_all(&self) {
        std::mem::take(&mut *self.shared.flows.lock().unwrap()).cancel();
    }

    /// Returns once resets, answers, lost replies and holds number `count` or more since the start.
    pub(crate) async fn struck(&self, count: u32) {
        let mut strikes = self.shared.strikes.subscribe();
        strikes.wait_for(|seen| *seen >= count).await.unwrap();
    }
}

fn reusable_socket(addr: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(addr)?;
    Ok(socket)
}

/// Accepts until the proxy stops; while the fault is `Refuse` there is no listener. `_reservation` lives as
/// long as this, so the port stays ours.
async fn accept(listener: TcpListener, _reservation: TcpSocket, shared: Arc<Shared>) {
    let mut setting = shared.setting.subscribe();
    let mut listener = listener;
    loop {
        if matches!(setting.borrow_and_update().fault, Fault::Refuse) {
            let addr = listener.local_addr().unwrap();
            drop(listener);
            shared.listening.send_replace(false);
            tokio::select! {
                _ = setting.wait_for(|now| !matches!(now.fault, Fault::Refuse)) => {}
                () = shared.stop.cancelled() => return,
            }
            listener = reusable_socket(addr).unwrap().listen(1024).unwrap();
            shared.listening.send_replace(true);
        }
        tokio::select! {
            _ = setting.changed() => {}
            () = shared.stop.cancelled() => return,
            accepted = listener.accept() => {
                if let Ok((client, _)) = accepted {
                    tokio::spawn(serve(client, Arc::clone(&shared)));
                }
            }
        }
    }
}

/// Carries one connection to its end.
async fn serve(mut client: TcpStream, shared: Arc<Shared>) {
    let cut = shared.open.lock().unwrap().clone();
    let ended = tokio::select! {
        ended = carry(&mut client, &shared) => ended,
        () = cut.cancelled() => End::Reset,
    };
    if ended == End::Reset {
        reset(&client);
    }
}

/// How a connection ends.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Closed,
    Reset,
}

async fn carry(client: &mut TcpStream, shared: &Shared) -> End {
    let flow = shared.flows.lock().unwrap().clone();
    let mut setting = shared.setting.subscribe();
    match setting.wait_for(|now| !matches!(now.fault, Fault::BlackHole)).await {
        Ok(now) if !matches!(now.fault, Fault::Refuse) => {}
        // Accepted in the moment before the listener was closed.
        _ => return End::Reset,
    }
    let Ok(mut server) = TcpStream::connect(&shared.upstream).await else {
        return End::Reset;
    };
    // Delays are ours to make, not Nagle's.
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let losing = AtomicBool::new(false);
    let ended = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let up = Pump::new(Way::ToServer, shared, &losing).run(from_client, to_server);
        let down = Pump::new(Way::ToClient, shared, &losing).run(from_server, to_client);
        tokio::select! {
            biased;
            () = flow.cancelled() => None,
            ended = async { tokio::try_join!(up, down) } => Some(ended),
        }
    };
    let Some(ended) = ended else {
        // Both ends are held open.
        shared.stop.cancelled().await;
        return End::Reset;
    };
    match ended {
        Ok(_) => End::Closed,
        Err(Stop::Cut) => {
            reset(&server);
            End::Reset
        }
        Err(Stop::Answer(reply)) => {
            drop(server);
            answer(client, &reply).await;
            End::Closed
        }
    }
}

/// Makes the coming close an RST, which loses what is still under way, as a broken network does.
fn reset(stream: &TcpStream) {
    let _ = stream.set_zero_linger();
}

/// Sends `reply`, then reads what the client still sends: closing with unread bytes would be a reset, and the
/// client might never see the answer.
async fn answer(client: &mut TcpStream, reply: &str) {
    if client.write_all(reply.as_bytes()).await.is_ok() && client.shutdown().await.is_ok() {
        let _ = tokio::io::copy(client, &mut tokio::io::sink()).await;
    }
}

/// Why a connection stops before its ends close it.
enum Stop {
    Cut,
    Answer(String),
}

impl From<io::Error> for Stop {
    fn from(_: io::Error) -> Self {
        Self::Cut
    }
}

/// One way of one connection.
struct Pump<'a> {
    way: Way,
    shared: &'a Shared,
    setting: watch::Receiver<Setting>,
    /// Bytes carried since the fault was set.
    carried: u64,
    last_burst: Option<Instant>,
    /// Of the connection: true while the server's next reply is to be lost.
    losing: &'a AtomicBool,
}

impl<'a> Pump<'a> {
    fn new(way: Way, shared: &'a Shared, losing: &'a AtomicBool) -> Self {
        Self { way, shared, setting: shared.setting.subscribe(), carried: 0, last_burst: None, losing }
    }

    async fn run(mut self, mut from: ReadHalf<'_>, mut to: WriteHalf<'_>) -> Result<(), Stop> {
        let mut buffer = vec![0; CHUNK];
        loop {
            let now = self.now();
            if matches!(now.fault, Fault::BlackHole) {
                self.thaw().await?;
                continue;
            }
            let limit = self.limit(&now);
            let read = tokio::select! {
                biased;
                _ = self.setting.changed() => { self.carried = 0; continue }
                read = from.read(&mut buffer[..limit]) => read?,
            };
            if read == 0 {
                to.shutdown().await?;
                return Ok(());
            }
            if self.admit(&buffer[..read]).await? {
                to.write_all(&buffer[..read]).await?;
                self.carried(read).await?;
            }
        }
    }

    /// The setting in force; counts from zero when it is a new one.
    fn now(&mut self) -> Setting {
        if self.setting.has_changed().unwrap_or(false) {
            self.carried = 0;
        }
        self.setting.borrow_and_update().clone()
    }

    /// Waits until the fault is no black hole.
    async fn thaw(&mut self) -> Result<(), Stop> {
        let thawed = self.setting.wait_for(|now| !matches!(now.fault, Fault::BlackHole)).await;
        self.carried = 0;
        thawed.map(drop).map_err(|_| Stop::Cut)
    }

    /// How many bytes may be read at once, so that a rate is smooth and a reset comes at its byte.
    fn limit(&self, now: &Setting) -> usize {
        match now.fault {
            Fault::Slow { bytes_per_sec: Some(rate), .. } => (rate as usize / 20).clamp(1, CHUNK),
            Fault::ResetAfter { way, bytes, .. } if way == self.way && !now.spent() => {
                usize::try_from(bytes.saturating_sub(self.carried)).unwrap_or(CHUNK).clamp(1, CHUNK)
            }
            _ => CHUNK,
        }
    }

    /// Decides what becomes of `bytes`, just read: `true` is on with them, `false` is thrown away.
    async fn admit(&mut self, bytes: &[u8]) -> Result<bool, Stop> {
        if self.way == Way::ToClient && self.losing.load(Ordering::SeqCst) {
            // An interim answer is not the reply.
            if bytes.starts_with(b"HTTP/1.1 100") {
                return Ok(true);
            }
            self.shared.strikes.send_modify(|strikes| *strikes += 1);
            return Err(Stop::Cut);
        }
        let now = loop {
            let now = self.now();
            match now.fault {
                Fault::BlackHole => self.thaw().await?,
                _ => break now,
            }
        };
        match (&now.fault, self.way) {
            (Fault::Slow { latency, .. }, _) => self.delay(*latency).await?,
            (Fault::Answer { to, reply, .. }, Way::ToServer)
                if begins_request(bytes) && contains(bytes, to) && self.strike(&now) =>
            {
                return Err(Stop::Answer(reply.clone()));
            }
            (Fault::LoseReply { to, .. }, Way::ToServer) if contains(bytes, to) && take(&now) => {
                self.losing.store(true, Ordering::SeqCst);
            }
            (Fault::Hold { to, .. }, Way::ToServer) if contains(bytes, to) && self.strike(&now) => {
                self.setting.changed().await.map_err(|_| Stop::Cut)?;
                self.carried = 0;
            }
            // Zero bytes may pass: cut before the first.
            (Fault::ResetAfter { way, bytes: 0, .. }, _) if *way == self.way && self.strike(&now) => {
                return Err(Stop::Cut);
            }
            _ => {}
        }
        Ok(true)
    }

    /// Counts `read` bytes as gone this way, and does what is due after them.
    async fn carried(&mut self, read: usize) -> Result<(), Stop> {
        self.carried += read as u64;
        let now = self.setting.borrow().clone();
        match now.fault {
            Fault::Slow { bytes_per_sec: Some(rate), .. } => {
                self.wait(Duration::from_secs_f64(read as f64 / f64::from(rate.max(1)))).await?;
            }
            Fault::ResetAfter { way, bytes, .. }
                if way == self.way && self.carried >= bytes && self.strike(&now) =>
            {
                return Err(Stop::Cut);
            }
            _ => {}
        }
        Ok(())
    }

    /// Waits out the latency, once for bytes that follow on each other's heels: those have been under way
    /// meanwhile.
    async fn delay(&mut self, latency: Duration) -> Result<(), Stop> {
        if self.last_burst.is_none_or(|last| last.elapsed() > latency) {
            self.wait(latency).await?;
        }
        self.last_burst = Some(Instant::now());
        Ok(())
    }

    /// Sleeps, but no longer than the fault is in force.
    async fn wait(&mut self, time: Duration) -> Result<(), Stop> {
        match tokio::time::timeout(time, self.setting.changed()).await {
            Ok(Err(_)) => Err(Stop::Cut),
            Ok(Ok(())) => {
                self.carried = 0;
                Ok(())
            }
            Err(_) => Ok(()),
        }
    }

    /// Takes one of the fault's times and tells those who wait for it; `false` when it is spent.
    fn strike(&self, now: &Setting) -> bool {
        let taken = take(now);
        if taken {
            self.shared.strikes.send_modify(|strikes| *strikes += 1);
        }
        taken
    }
}

fn take(now: &Setting) -> bool {
    now.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

/// Whether `bytes` are the beginning of an HTTP/1.1 request. Clients here do not pipeline, so a request always
/// begins a read.
fn begins_request(bytes: &[u8]) -> bool {
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    line.ends_with(b" HTTP/1.1\r")
}

fn contains(bytes: &[u8], wanted: &str) -> bool {
    wanted.is_empty() || bytes.windows(wanted.len()).any(|window| window == wanted.as_bytes())
}
