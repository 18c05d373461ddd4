//! A receiver of notifications, which answers as a test wants it to and keeps what it was sent.

use std::collections::{BTreeSet, VecDeque};
use std::future::pending;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

use super::service::PATIENCE;

/// The key of every receiver, and how settings write it.
const KEY: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

/// What a receiver answers.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    Status(u16),
    /// With `Retry-After`, in seconds.
    Wait(u16, u64),
    Redirect(String),
    /// Never.
    Hang,
}

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) id: String,
    pub(crate) body: Value,
    pub(crate) at: Instant,
    timestamp: String,
    signatures: String,
    raw: String,
}

impl Received {
    /// Asserts that one of its signatures is that of the receivers' key (Standard Webhooks: HMAC-SHA256 over id, timestamp
    /// and body), that it was signed within the last minutes, and that it holds nothing that gives access to anything.
    pub(crate) fn assert_genuine(&self) {
        let mut mac = Hmac::<Sha256>::new_from_slice(KEY).expect("a key");
        mac.update(format!("{}.{}.{}", self.id, self.timestamp, self.raw).as_bytes());
        let genuine = format!("v1,{}", BASE64.encode(&mac.finalize().into_bytes()));
        assert!(self.signatures.split(' ').any(|signature| signature == genuine), "{self:?}");
        let age = chrono::Utc::now().timestamp() - self.timestamp.parse::<i64>().expect("Unix seconds");
        assert!(age.abs() <= 300, "{self:?}");
        for secret in ["eyJ", "webhook_download", "download_token", "download_url"] {
            assert!(!self.raw.contains(secret), "{}", self.raw);
        }
    }

    /// Asserts that it is not signed.
    pub(crate) fn assert_unsigned(&self) {
        assert_eq!(self.signatures, "");
    }

    /// What it tells of.
    pub(crate) fn kind(&self) -> &str {
        self.body["type"].as_str().expect("a type")
    }
}

/// A running receiver.
pub(crate) struct Receiver {
    origin: String,
    shared: Arc<Shared>,
}

struct Shared {
    seen: Mutex<Vec<Received>>,
    grown: watch::Sender<usize>,
    replies: Mutex<VecDeque<Reply>>,
    afterwards: Mutex<Reply>,
    open: AtomicUsize,
    most_open: AtomicUsize,
}

impl Receiver {
    /// One that takes everything.
    pub(crate) async fn start() -> Self {
        Self::answering([], Reply::Status(200)).await
    }

    /// One that answers so, one after the other, and `afterwards` to all others.
    pub(crate) async fn answering(replies: impl IntoIterator<Item = Reply>, afterwards: Reply) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let shared = Arc::new(Shared {
            seen: Mutex::default(),
            grown: watch::Sender::new(0),
            replies: Mutex::new(replies.into_iter().collect()),
            afterwards: Mutex::new(afterwards),
            open: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
        });
        let router = Router::new().fallback(receive).with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { origin, shared }
    }

    /// Where it is.
    pub(crate) fn url(&self) -> String {
        format!("{}/hook-hush-where-it-is", self.origin)
    }

    /// Answers so from now on.
    pub(crate) fn now_answers(&self, reply: Reply) {
        self.shared.replies.lock().unwrap().clear();
        *self.shared.afterwards.lock().unwrap() = reply;
    }

    /// All requests so far.
    pub(crate) fn seen(&self) -> Vec<Received> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// Most requests that were open at once.
    pub(crate) fn most_open(&self) -> usize {
        self.shared.most_open.load(Ordering::SeqCst)
    }

    /// Waits for so many requests.
    pub(crate) async fn until(&self, requests: usize) -> Vec<Received> {
        self.until_holds(&format!("{requests} requests"), |seen| seen.len() >= requests).await
    }

    /// Waits for requests with so many different ids.
    pub(crate) async fn until_ids(&self, ids: usize) -> BTreeSet<String> {
        let ids_of = |seen: &[Received]| seen.iter().map(|it| it.id.clone()).collect::<BTreeSet<_>>();
        ids_of(&self.until_holds(&format!("{ids} ids"), |seen| ids_of(seen).len() >= ids).await)
    }

    async fn until_holds(&self, what: &str, holds: impl Fn(&[Received]) -> bool) -> Vec<Received> {
        let mut grown = self.shared.grown.subscribe();
        let waited = tokio::time::timeout(PATIENCE, async {
            while !holds(&self.seen()) {
                grown.changed().await.expect("it runs");
            }
        });
        assert!(waited.await.is_ok(), "never came: {what}; there are {:?}", self.seen());
        self.seen()
    }
}

async fn receive(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Bytes) -> Response {
    let open = shared.open.fetch_add(1, Ordering::SeqCst) + 1;
    shared.most_open.fetch_max(open, Ordering::SeqCst);
    let text = |name: &str| {
        let value = headers.get(name).map(|value| value.to_str().expect("text").to_owned());
        value.unwrap_or_default()
    };
    let received = Received {
        id: text("webhook-id"),
        body: serde_json::from_slice(&body).expect("JSON"),
        at: Instant::now(),
        timestamp: text("webhook-timestamp"),
        signatures: text("webhook-signature"),
        raw: String::from_utf8(body.to_vec()).expect("UTF-8"),
    };
    let reply = shared.replies.lock().unwrap().pop_front();
    let reply = reply.unwrap_or_else(|| shared.afterwards.lock().unwrap().clone());
    shared.seen.lock().unwrap().push(received);
    shared.grown.send_modify(|count| *count += 1);
    let status = |code| StatusCode::from_u16(code).expect("a status");
    let response = match reply {
        Reply::Status(code) => (status(code), "so it is").into_response(),
        Reply::Wait(code, secs) => {
            (status(code), [(header::RETRY_AFTER, secs.to_string())], "").into_response()
        }
        Reply::Redirect(to) => (StatusCode::FOUND, [(header::LOCATION, to)], "").into_response(),
        Reply::Hang => pending().await,
    };
    shared.open.fetch_sub(1, Ordering::SeqCst);
    response
}

/// A section of settings that names a receiver; `rest` are further keys.
pub(crate) fn target(name: &str, receiver: &Receiver, rest: &str) -> String {
    let (url, secret) = (receiver.url(), BASE64.encode(KEY));
    format!("[[notify.targets]]\nname = \"{name}\"\nurl = \"{url}\"\nsecret = \"whsec_{secret}\"\n{rest}\n")
}

/// A section that names a chat.
pub(crate) fn chat(name: &str, receiver: &Receiver) -> String {
    let url = receiver.url();
    format!("[[notify.targets]]\nname = \"{name}\"\nurl = \"{url}\"\ntemplate = \"slack\"\n")
}

/// A file of settings with these sections, impatient enough for tests.
pub(crate) fn settings(folder: &Path, sections: &[String]) -> PathBuf {
    let path = folder.join("settings.toml");
    let impatient = "[notify]\nretry_base_ms = 20\nretry_max_ms = 200\n";
    std::fs::write(&path, format!("{impatient}{}", sections.concat())).expect("it can be written");
    path
}
