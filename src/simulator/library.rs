//! Everything that the fake Zoom has recorded, what is wrong with it, and what was asked of it. Shared between
//! the server and whoever sets the scene; may be changed at any time.
//!
//! Here: the files, and downloads of them. In `api`: questions about them, and how often they are asked. In `lists`: the
//! recordings, listed, thrown away and recovered. In `live`: sessions that go on, and events that were not delivered.

mod api;
mod lists;
mod live;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

pub(super) use self::api::ACCESS_TOKEN_LIFE;
use self::api::ApiShelf;
pub(super) use self::lists::ListedBy;
pub use self::live::LiveState;
use super::content::{Content, scramble};
use super::fault::{Fault, Rules, When};
use super::ledger::{Account, Request, Violation};
use super::now;
use super::recording::FakeRecording;
use super::token::{Claims, Mint};

/// Violations remembered; a client that commits more kinds than these has been found out anyway.
const MAX_VIOLATIONS: usize = 64;

/// How a request without a valid token is answered. Zoom does all of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Refusal {
    /// 401 with code 124, as JSON.
    #[default]
    Json,
    /// 200 with code 124, as JSON.
    JsonIn200,
    /// 403, and no word.
    Forbidden,
    /// 200 with the sign-in page, as HTML.
    SignInPage,
}

/// The library. Clones share it.
#[derive(Clone)]
pub struct Library {
    shelf: Arc<Mutex<Shelf>>,
    changes: watch::Sender<u64>,
    mint: Mint,
    seed: u64,
}

#[derive(Default)]
struct Shelf {
    files: HashMap<String, Entry>,
    api: ApiShelf,
    announcements: u64,
    violations: BTreeSet<Violation>,
    tokens_issued: u64,
    /// Every token given out, of whatever kind.
    issued: Vec<String>,
    /// By instance id: tokens up to this number are refused.
    expired: HashMap<String, u64>,
    /// By a file's key: what redirects have led to is refused up to this number.
    expired_passes: HashMap<String, u64>,
    refusal: Refusal,
}

impl Shelf {
    fn expire(&mut self, instance_id: &str) {
        self.expired.insert(instance_id.to_owned(), self.tokens_issued);
    }
}

struct Entry {
    instance_id: String,
    content: Content,
    content_type: &'static str,
    etag: String,
    rules: Rules,
    /// Whether nothing of it is held back any more.
    let_go: bool,
    account: Account,
}

impl Entry {
    fn replace(&mut self, content: Content) {
        self.content = content;
        self.etag = content.etag();
        self.account.coverage = Default::default();
        self.account.whole = false;
    }
}

/// What the server needs to answer one request.
pub(super) struct Opened {
    pub(super) content: Content,
    pub(super) content_type: &'static str,
    pub(super) etag: String,
    pub(super) instance_id: String,
}

impl Library {
    /// An empty library whose tokens come from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { shelf: Arc::default(), changes: watch::Sender::new(0), mint: Mint::new(seed), seed }
    }

    /// Puts a recording and its files on the shelf. Files that are there stay as they are.
    pub fn add(&self, recording: &FakeRecording) {
        let mut shelf = self.shelf();
        shelf.api.add(recording);
        for file in &recording.files {
            shelf.files.entry(file.key.clone()).or_insert_with(|| Entry {
                instance_id: recording.instance_id.clone(),
                content: file.content,
                content_type: file.content_type(),
                etag: file.content.etag(),
                rules: Rules::default(),
                let_go: false,
                account: Account::default(),
            });
        }
    }

    /// Makes downloads of a file go wrong; after the faults that were set before. An unknown key does nothing.
    pub fn inject(&self, key: &str, fault: Fault, when: When) {
        if let Some(entry) = self.shelf().files.get_mut(key) {
            entry.rules.add(fault, when);
        }
    }

    /// Makes downloads of a file go well again.
    pub fn clear_faults(&self, key: &str) {
        if let Some(entry) = self.shelf().files.get_mut(key) {
            entry.rules.clear();
        }
    }

    /// Sends on what is held back of a file ([`Fault::HoldAt`]), and holds nothing of it back any more.
    pub fn let_go(&self, key: &str) {
        if let Some(entry) = self.shelf().files.get_mut(key) {
            entry.let_go = true;
        }
        self.tell();
    }

    /// Whether nothing is held back of a file; so it is with one that is gone.
    pub(super) fn is_let_go(&self, key: &str) -> bool {
        self.shelf().files.get(key).is_none_or(|entry| entry.let_go)
    }

    /// Puts other content under the same URL, with another entity tag.
    pub fn replace_content(&self, key: &str, content: Content) {
        if let Some(entry) = self.shelf().files.get_mut(key) {
            entry.replace(content);
        }
    }

    /// Takes a file away: 404 from now on.
    pub fn remove(&self, key: &str) {
        self.shelf().files.remove(key);
    }

    /// Refuses every token given out so far for a recording; those to come are good.
    pub fn expire_tokens(&self, recording: &FakeRecording) {
        self.shelf().expire(&recording.instance_id);
    }

    /// Chooses how a request without a valid token is answered.
    pub fn refuse_with(&self, refusal: Refusal) {
        self.shelf().refusal = refusal;
    }

    /// Gives out a token for a recording's files.
    #[must_use]
    pub fn issue_token(&self, instance_id: &str, lifetime: Duration) -> String {
        let mut shelf = self.shelf();
        shelf.tokens_issued += 1;
        let lifetime = i64::try_from(lifetime.as_secs()).unwrap_or(i64::MAX);
        let token = self.mint.issue(&Claims {
            iss: "fake-zoom".to_owned(),
            aud: instance_id.to_owned(),
            jti: shelf.tokens_issued,
            exp: now().timestamp().saturating_add(lifetime),
        });
        shelf.issued.push(token.clone());
        token
    }

    /// Every token that it has given out so far, for files and for its API: what nobody may say.
    #[must_use]
    pub fn issued(&self) -> Vec<String> {
        self.shelf().issued.clone()
    }

    /// Something that makes the URLs of one announcement unlike those of any other.
    pub(super) fn new_variant(&self) -> String {
        let mut shelf = self.shelf();
        let number = shelf.announcements;
        shelf.announcements += 1;
        format!("{:016x}", scramble(self.seed, 1_000_000 + number))
    }

    /// The number (`jti`) of a token, if it is one of ours: what a [`Request`] names.
    #[must_use]
    pub fn token_number(&self, token: &str) -> Option<u64> {
        self.mint.read(token).map(|claims| claims.jti)
    }

    /// What happened to a file.
    #[must_use]
    pub fn account(&self, key: &str) -> Option<Account> {
        self.shelf().files.get(key).map(|entry| entry.account.clone())
    }

    /// Bytes handed out so far: of one file, or of all where none is named.
    #[must_use]
    pub fn bytes_served(&self, key: Option<&str>) -> u64 {
        let shelf = self.shelf();
        match key {
            Some(key) => shelf.files.get(key).map_or(0, |entry| entry.account.bytes_served),
            None => shelf.files.values().map(|entry| entry.account.bytes_served).sum(),
        }
    }

    /// Whether a file has been fetched whole.
    #[must_use]
    pub fn is_whole(&self, key: &str) -> bool {
        self.shelf().files.get(key).is_some_and(|entry| entry.account.whole)
    }

    /// Whether every file of a recording has been fetched whole.
    #[must_use]
    pub fn has_given(&self, recording: &FakeRecording) -> bool {
        recording.files.iter().all(|file| self.is_whole(&file.key))
    }

    /// What the client did that it must not do.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.shelf().violations.iter().cloned().collect()
    }

    /// Changes whenever a request comes in, and whenever bytes of a file are handed out.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Waits until something is so. Put a limit of time around it.
    pub async fn until(&self, mut holds: impl FnMut(&Self) -> bool) {
        let mut changes = self.changes();
        while !holds(self) {
            // Cannot end: `self` holds the sender.
            let _ = changes.changed().await;
        }
    }

    /// A file; nothing when it is gone, or in the trash.
    pub(super) fn open(&self, key: &str) -> Option<Opened> {
        let shelf = self.shelf();
        shelf.files.get(key).filter(|_| !shelf.api.is_in_trash(key)).map(|entry| Opened {
            content: entry.content,
            content_type: entry.content_type,
            etag: entry.etag.clone(),
            instance_id: entry.instance_id.clone(),
        })
    }

    pub(super) fn admits(&self, token: &str, instance_id: &str) -> bool {
        let Some(claims) = self.mint.read(token) else { return false };
        let last_expired = self.shelf().expired.get(instance_id).copied().unwrap_or_default();
        claims.aud == instance_id && claims.jti > last_expired && claims.exp > now().timestamp()
    }

    /// Whether a signed URL of a file is still good, as far as it is one of ours.
    pub(super) fn admits_pass(&self, pass: &str, key: &str) -> bool {
        let Some(claims) = self.mint.read(pass) else { return false };
        claims.jti > self.shelf().expired_passes.get(key).copied().unwrap_or_default()
    }

    pub(super) fn refusal(&self) -> Refusal {
        self.shelf().refusal
    }

    pub(super) fn strike(&self, key: &str, behind_redirect: bool) -> Option<Fault> {
        self.shelf().files.get_mut(key)?.rules.strike(behind_redirect)
    }

    /// The fault that strikes at a position within bytes `from..to` of a file.
    pub(super) fn strike_within(&self, key: &str, from: u64, to: u64) -> Option<Fault> {
        self.shelf().files.get_mut(key)?.rules.strike_within(from, to)
    }

    /// A fault has struck at its position: what follows from it is so from now on.
    pub(super) fn note_break(&self, key: &str, fault: &Fault) {
        let mut shelf = self.shelf();
        let Some(entry) = shelf.files.get_mut(key) else { return };
        entry.rules.broke();
        match fault {
            Fault::ReplaceAt { content, .. } => entry.replace(*content),
            Fault::ExpireAt { .. } => {
                let instance_id = entry.instance_id.clone();
                shelf.expire(&instance_id);
            }
            Fault::PassesExpireAt { .. } => {
                let last = shelf.tokens_issued;
                shelf.expired_passes.insert(key.to_owned(), last);
            }
            _ => {}
        }
    }

    pub(super) fn note_request(&self, key: &str, request: Request, refused: bool) {
        if let Some(entry) = self.shelf().files.get_mut(key) {
            entry.account.note(request);
            entry.account.refused += u64::from(refused);
        }
        self.tell();
    }

    pub(super) fn note_violation(&self, violation: Violation) {
        let mut shelf = self.shelf();
        if shelf.violations.len() < MAX_VIOLATIONS {
            shelf.violations.insert(violation);
        }
    }

    /// Books bytes `start..start + count` of the content with that entity tag.
    pub(super) fn note_served(&self, key: &str, etag: &str, start: u64, count: u64) {
        {
            let mut shelf = self.shelf();
            let Some(entry) = shelf.files.get_mut(key).filter(|entry| entry.etag == etag) else { return };
            let account = &mut entry.account;
            account.bytes_served += count;
            account.coverage.add(start, start + count);
            account.whole = account.coverage.is_whole(entry.content.len());
        }
        self.tell();
    }

    fn tell(&self) {
        self.changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // Nothing that can panic leaves the shelf half changed.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
