//! What presses on the service and on the queue, as a program, for `benches/scale`. Prints one line of JSON.
//!
//! - `load flood HOST:PORT SECRET CLIENTS EVENTS FILES FIRST [RATE]`: sends so many events, each of one session with so
//!   many files, from so many connections: each as soon as its last one is answered, or so many a second in all. Their
//!   numbers begin with FIRST.
//! - `load claim DATABASE_URL DATABASE_URL ROUNDS LIMIT`: claims by turns on two databases, so many jobs at a time, and
//!   settles what it got; how long the claims take.
//! - `load drain DATABASE_URL LIMIT`: claims and settles until nothing waits; the ids, one on a line, before the JSON.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use zoom_archiver::config::store::StoreConfig;
use zoom_archiver::domain::job::{Job, Settlement};
use zoom_archiver::store::{self, SharedStore};

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        match arguments.as_slice() {
            ["flood", address, secret, clients, events, files, first, rate @ ..] => {
                let rate = rate.first().map(|rate| rate.parse()).transpose()?;
                flood(
                    address,
                    secret,
                    clients.parse()?,
                    events.parse()?,
                    files.parse()?,
                    first.parse()?,
                    rate,
                )
                .await
            }
            ["claim", one, other, rounds, limit] => claim(one, other, rounds.parse()?, limit.parse()?).await,
            ["drain", database, limit] => drain(database, limit.parse()?).await,
            _ => Err("usage: see the head of benches/load.rs".into()),
        }
    })?;
    writeln!(io::stdout(), "{report}")?;
    Ok(())
}

// --- Events -----------------------------------------------------------------------------------------------

/// A whole request: head and body, signed as Zoom does.
fn request(secret: &str, number: usize, files: usize) -> Vec<u8> {
    let files: Vec<Value> = (0..files)
        .map(|index| {
            json!({
                "id": format!("file-{number}-{index}"), "file_type": "MP4", "file_extension": "MP4",
                "status": "completed", "recording_type": "shared_screen_with_speaker_view",
                "recording_start": "2026-01-02T03:04:05Z", "recording_end": "2026-01-02T04:04:05Z",
                "file_size": 123_456_789,
                "download_url": format!("https://zoom.us/recording/webhook_download/{number}-{index}"),
            })
        })
        .collect();
    let body = json!({
        "event": "session.recording_completed", "event_ts": 1_767_323_045_000_i64,
        "download_token": "benches-download-token",
        "payload": {"account_id": "benches", "object": {
            "session_id": format!("session-{number}"), "session_name": format!("Session {number}"),
            "session_key": format!("key-{number}"), "host_id": "host", "start_time": "2026-01-02T03:04:05Z",
            "timezone": "UTC", "duration": 60, "recording_count": files.len(), "recording_files": files,
        }},
    })
    .to_string();
    let timestamp = std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs());
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(format!("v0:{timestamp}:{body}").as_bytes());
    let signature = data_encoding::HEXLOWER.encode(&mac.finalize().into_bytes());
    format!(
        "POST /webhooks/zoom HTTP/1.1\r\nhost: benches\r\ncontent-type: application/json\r\n\
         x-zm-request-timestamp: {timestamp}\r\nx-zm-signature: v0={signature}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

async fn flood(
    address: &str,
    secret: &str,
    clients: usize,
    events: usize,
    files: usize,
    first: usize,
    rate: Option<f64>,
) -> Result<Value, Failure> {
    let requests: Arc<Vec<Vec<u8>>> =
        Arc::new((first..first + events).map(|number| request(secret, number, files)).collect());
    let next = Arc::new(AtomicUsize::new(0));
    let mut connections = Vec::new();
    for _ in 0..clients {
        let connection = TcpStream::connect(address).await?;
        connection.set_nodelay(true)?;
        connections.push(connection);
    }
    let began = Instant::now();
    let mut tasks = JoinSet::new();
    for mut connection in connections {
        let (requests, next) = (Arc::clone(&requests), Arc::clone(&next));
        tasks.spawn(async move {
            let mut times = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(request) = requests.get(number) else { return Ok::<_, Failure>(times) };
                // By a fixed rate, an event that is sent late because all connections wait counts from when it was due.
                let mut sent = Instant::now();
                if let Some(rate) = rate {
                    sent = began + Duration::from_secs_f64(number as f64 / rate);
                    tokio::time::sleep_until(sent.into()).await;
                }
                connection.write_all(request).await?;
                accepted(&mut connection).await?;
                times.push(sent.elapsed());
            }
        });
    }
    let mut times = Vec::new();
    while let Some(task) = tasks.join_next().await {
        times.extend(task??);
    }
    let seconds = began.elapsed().as_secs_f64();
    let mut report = quantiles(times);
    report["events"] = events.into();
    report["seconds"] = seconds.into();
    report["per_second"] = (events as f64 / seconds).into();
    Ok(report)
}

/// Reads an answer of the webhook, which is short and has a length.
async fn accepted(connection: &mut TcpStream) -> Result<(), Failure> {
    let (mut answer, mut have) = ([0; 4096], 0);
    loop {
        let read = connection.read(&mut answer[have..]).await?;
        if read == 0 {
            return Err("the service has closed the connection".into());
        }
        have += read;
        let text = String::from_utf8_lossy(&answer[..have]);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        if !head.starts_with("HTTP/1.1 200 ") {
            return Err(format!("answered: {}", head.lines().next().unwrap_or_default()).into());
        }
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() == length.and_then(|length| length.parse().ok()).unwrap_or(0) {
            return Ok(());
        }
    }
}

// --- The queue --------------------------------------------------------------------------------------------

const OWNER: &str = "benches";
const LEASE: Duration = Duration::from_secs(600);

async fn open(url: &str) -> Result<SharedStore, Failure> {
    let config = StoreConfig { max_connections: 8, acquire_timeout_ms: 30_000 };
    Ok(store::open(&url.to_owned().into(), &config).await?)
}

async fn settle(store: &SharedStore, jobs: Vec<Job>) -> Result<(), Failure> {
    for job in jobs {
        store.settle(&job.lease, Settlement::Done(Box::default())).await?;
    }
    Ok(())
}

async fn claim(one: &str, other: &str, rounds: usize, limit: u32) -> Result<Value, Failure> {
    let stores = [open(one).await?, open(other).await?];
    let mut times: BTreeMap<usize, Vec<Duration>> = BTreeMap::new();
    for _ in 0..rounds {
        for (number, store) in stores.iter().enumerate() {
            let began = Instant::now();
            let jobs = store.claim(OWNER, limit, LEASE, &[]).await?;
            times.entry(number).or_default().push(began.elapsed());
            settle(store, jobs).await?;
        }
    }
    Ok(times.into_values().map(quantiles).collect())
}

async fn drain(database: &str, limit: u32) -> Result<Value, Failure> {
    let store = open(database).await?;
    let (began, mut claimed, mut out) = (Instant::now(), 0, io::stdout().lock());
    let (mut last, mut in_vain) = (Duration::ZERO, 0);
    // A claim is in vain, too, when others are just taking all that it looks at.
    while in_vain < 100 {
        let jobs = store.claim(OWNER, limit, LEASE, &[]).await?;
        if jobs.is_empty() {
            in_vain += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        }
        (claimed, in_vain) = (claimed + jobs.len(), 0);
        for job in &jobs {
            writeln!(out, "{}", job.lease.job)?;
        }
        settle(&store, jobs).await?;
        last = began.elapsed();
    }
    Ok(json!({"jobs": claimed, "seconds": last.as_secs_f64()}))
}

fn quantiles(mut times: Vec<Duration>) -> Value {
    times.sort_unstable();
    let at = |share: f64| {
        let index = (times.len().saturating_sub(1)) as f64 * share;
        times.get(index.round() as usize).map(|time| time.as_secs_f64() * 1000.0)
    };
    json!({"p50_ms": at(0.5), "p99_ms": at(0.99), "max_ms": at(1.0)})
}
