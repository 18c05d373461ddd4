//! The recordings, how the API goes wrong about them, and what was asked of it.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::{Library, Rules, When};
use crate::simulator::credentials;
use crate::simulator::events::FileStatus;
use crate::simulator::fault::ApiFault;
use crate::simulator::ledger::{ApiAccount, ApiRequest, Endpoint};
use crate::simulator::now;
use crate::simulator::recording::{FakeFile, FakeRecording};
use crate::simulator::token::Claims;

/// Life of an access token (Zoom, "Server-to-Server OAuth").
pub(in crate::simulator) const ACCESS_TOKEN_LIFE: Duration = Duration::from_secs(3600);
/// What access tokens are for; those for downloads name a recording there.
const AUDIENCE: &str = "the API";

#[derive(Default)]
pub(super) struct ApiShelf {
    /// By instance id, which only one recording has, whatever its product.
    recordings: HashMap<String, FakeRecording>,
    /// By key.
    processing: HashSet<String>,
    /// By instance id.
    rules: HashMap<String, Rules<ApiFault>>,
    token_rules: Rules<ApiFault>,
    account: ApiAccount,
    access_tokens_issued: u64,
    /// Access tokens up to this number are refused.
    access_tokens_expired: u64,
}

impl ApiShelf {
    /// A recording that is there becomes as it is given now: more files may have joined it.
    pub(super) fn add(&mut self, recording: &FakeRecording) {
        self.recordings.insert(recording.instance_id.clone(), recording.clone());
    }
}

/// The API.
impl Library {
    /// A recording by its `session_id` or `uuid`.
    #[must_use]
    pub fn recording(&self, instance_id: &str) -> Option<FakeRecording> {
        self.shelf().api.recordings.get(instance_id).cloned()
    }

    /// Makes questions about a recording go wrong; after the faults that were set before. Only questions with a
    /// valid bearer token are counted.
    pub fn inject_api(&self, recording: &FakeRecording, fault: ApiFault, when: When) {
        self.shelf().api.rules.entry(recording.instance_id.clone()).or_default().add(fault, when);
    }

    /// Makes questions for an access token go wrong; after the faults that were set before. Only questions with
    /// the right credentials are counted.
    pub fn inject_access_token(&self, fault: ApiFault, when: When) {
        self.shelf().api.token_rules.add(fault, when);
    }

    /// Makes the API go well again.
    pub fn clear_api_faults(&self) {
        let mut shelf = self.shelf();
        shelf.api.rules.clear();
        shelf.api.token_rules.clear();
    }

    /// Whether Zoom still works on a file, as far as the API knows: its `status` is then `processing`.
    pub fn set_processing(&self, key: &str, processing: bool) {
        let mut shelf = self.shelf();
        if processing {
            shelf.api.processing.insert(key.to_owned());
        } else {
            shelf.api.processing.remove(key);
        }
    }

    /// Refuses every access token given out so far; those to come are good.
    pub fn expire_access_tokens(&self) {
        let mut shelf = self.shelf();
        shelf.api.access_tokens_expired = shelf.api.access_tokens_issued;
    }

    /// How often the API was asked this, with whatever success.
    #[must_use]
    pub fn api_calls(&self, endpoint: Endpoint) -> u64 {
        self.shelf().api.account.calls(endpoint)
    }

    /// The last questions to the API, oldest first.
    #[must_use]
    pub fn api_requests(&self) -> Vec<ApiRequest> {
        self.shelf().api.account.recent()
    }

    pub(in crate::simulator) fn issue_access_token(&self) -> String {
        let mut shelf = self.shelf();
        shelf.api.access_tokens_issued += 1;
        let life = i64::try_from(ACCESS_TOKEN_LIFE.as_secs()).unwrap_or(i64::MAX);
        self.mint.issue(&Claims {
            iss: credentials::CLIENT_ID.to_owned(),
            aud: AUDIENCE.to_owned(),
            jti: shelf.api.access_tokens_issued,
            exp: now().timestamp().saturating_add(life),
        })
    }

    pub(in crate::simulator) fn admits_access_token(&self, token: &str) -> bool {
        let Some(claims) = self.mint.read(token) else { return false };
        let last_expired = self.shelf().api.access_tokens_expired;
        claims.aud == AUDIENCE && claims.jti > last_expired && claims.exp > now().timestamp()
    }

    pub(in crate::simulator) fn file_status(&self, file: &FakeFile) -> FileStatus {
        let shelf = self.shelf();
        if !shelf.files.contains_key(&file.key) {
            FileStatus::Deleted
        } else if shelf.api.processing.contains(&file.key) {
            FileStatus::Processing
        } else {
            FileStatus::Completed
        }
    }

    pub(in crate::simulator) fn strike_api(&self, instance_id: &str) -> Option<ApiFault> {
        self.shelf().api.rules.get_mut(instance_id)?.strike_first()
    }

    pub(in crate::simulator) fn strike_access_token(&self) -> Option<ApiFault> {
        self.shelf().api.token_rules.strike_first()
    }

    pub(in crate::simulator) fn note_api_request(&self, request: ApiRequest) {
        self.shelf().api.account.note(request);
        self.tell();
    }
}
