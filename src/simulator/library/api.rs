//! What the API knows, how it goes wrong, and what was asked of it, how often.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use chrono::{NaiveDate, TimeDelta};

use super::live::Live;
use super::{Library, Rules, When};
use serde_json::Value;

use crate::simulator::credentials::{self, FakeAccount};
use crate::simulator::events::FileStatus;
use crate::simulator::fault::ApiFault;
use crate::simulator::ledger::{ApiAccount, ApiRequest, Endpoint, Rate, Weight};
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
    pub(super) recordings: HashMap<String, FakeRecording>,
    /// By key.
    processing: HashSet<String>,
    /// By key.
    pub(super) trashed: HashSet<String>,
    /// By instance id.
    rules: HashMap<String, Rules<ApiFault>>,
    call_rules: HashMap<Endpoint, Rules<ApiFault>>,
    rates: HashMap<Weight, Rate>,
    pub(super) live: Live,
    token_rules: Rules<ApiFault>,
    account: ApiAccount,
    access_tokens_issued: u64,
    /// Access tokens up to this number are refused.
    access_tokens_expired: u64,
    /// Whether an access token that is given out puts the ones before out of force.
    one_access_token: bool,
    /// Answers that were given word by word, by kind of question and what it is about.
    scripts: HashMap<(Endpoint, Option<String>), Value>,
    /// Whether the bearer of the API opens every file.
    pub(super) bearer_opens_files: bool,
    /// Days of a list at most, before its last one, and the first day that is listed at all; what begins earlier is not
    /// refused but begins later.
    list_limits: (Option<i64>, Option<NaiveDate>),
}

impl ApiShelf {
    /// A recording that is there becomes as it is given now: more files may have joined it.
    pub(super) fn add(&mut self, recording: &FakeRecording) {
        self.recordings.insert(recording.instance_id.clone(), recording.clone());
    }

    pub(super) fn is_in_trash(&self, key: &str) -> bool {
        self.trashed.contains(key)
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

    /// Makes questions of one kind go wrong, whatever they are about; after the faults that were set before, and after
    /// those of the recording. Only questions with a valid bearer token are counted.
    pub fn inject_call(&self, endpoint: Endpoint, fault: ApiFault, when: When) {
        self.shelf().api.call_rules.entry(endpoint).or_default().add(fault, when);
    }

    /// Answers questions of one kind about one session or meeting, or about none, with this, word by word; questions about the trash
    /// are answered as ever.
    pub fn answer_with(&self, endpoint: Endpoint, subject: Option<&str>, answer: Value) {
        self.shelf().api.scripts.insert((endpoint, subject.map(str::to_owned)), answer);
    }

    /// What was given so.
    pub(in crate::simulator) fn scripted(&self, endpoint: Endpoint, subject: Option<&str>) -> Option<Value> {
        self.shelf().api.scripts.get(&(endpoint, subject.map(str::to_owned))).cloned()
    }

    /// Answers 429 with `Retry-After: 1` to questions of this weight beyond so many a second; `None` for no limit.
    pub fn limit_api(&self, weight: Weight, per_sec: Option<usize>) {
        self.shelf().api.rates.entry(weight).or_default().limit(per_sec);
    }

    /// The most questions of this weight that came within any one second, those that were turned away included.
    #[must_use]
    pub fn api_peak_rate(&self, weight: Weight) -> usize {
        self.shelf().api.rates.get(&weight).map_or(0, Rate::peak)
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
        shelf.api.call_rules.clear();
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

    /// Has every access token put out of force those that were given out before, as happens to programs that share an app.
    pub fn keep_one_access_token(&self) {
        self.shelf().api.one_access_token = true;
    }

    /// Has the bearer of the API open every file, as Zoom documents it.
    pub fn open_files_by_api_bearer(&self) {
        self.shelf().api.bearer_opens_files = true;
    }

    /// Whether it does.
    pub(in crate::simulator) fn are_files_open_to_api_bearer(&self) -> bool {
        self.shelf().api.bearer_opens_files
    }

    /// Shortens lists without a word: to so many days before their last one, and to days from `since` on.
    pub fn shorten_lists(&self, most_days: Option<i64>, since: Option<NaiveDate>) {
        self.shelf().api.list_limits = (most_days, since);
    }

    /// The first day that is really listed of a span.
    pub(in crate::simulator) fn first_listed(&self, from: NaiveDate, to: NaiveDate) -> NaiveDate {
        let (most_days, since) = self.shelf().api.list_limits;
        let of_span = most_days.map_or(from, |most| from.max(to - TimeDelta::days(most)));
        since.map_or(of_span, |since| of_span.max(since))
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

    pub(in crate::simulator) fn issue_access_token(&self, account: &FakeAccount) -> String {
        let mut shelf = self.shelf();
        if shelf.api.one_access_token {
            shelf.api.access_tokens_expired = shelf.api.access_tokens_issued;
        }
        shelf.api.access_tokens_issued += 1;
        let life = i64::try_from(ACCESS_TOKEN_LIFE.as_secs()).unwrap_or(i64::MAX);
        let token = self.mint.issue(&Claims {
            iss: account.client_id.to_owned(),
            aud: AUDIENCE.to_owned(),
            jti: shelf.api.access_tokens_issued,
            exp: now().timestamp().saturating_add(life),
        });
        shelf.issued.push(token.clone());
        token
    }

    /// The account that an access token is for; `None` when it is not good.
    pub(in crate::simulator) fn admits_access_token(&self, token: &str) -> Option<&'static FakeAccount> {
        let claims = self.mint.read(token)?;
        let last_expired = self.shelf().api.access_tokens_expired;
        let is_good = claims.aud == AUDIENCE && claims.jti > last_expired && claims.exp > now().timestamp();
        credentials::find(|account| is_good && account.client_id == claims.iss)
    }

    /// Counts a question; whether it is within the limit.
    pub(in crate::simulator) fn is_within_limits(&self, weight: Weight) -> bool {
        self.shelf().api.rates.entry(weight).or_default().count(Instant::now())
    }

    pub(in crate::simulator) fn file_status(&self, file: &FakeFile) -> FileStatus {
        let shelf = self.shelf();
        if !shelf.files.contains_key(&file.key) || shelf.api.is_in_trash(&file.key) {
            FileStatus::Deleted
        } else if shelf.api.processing.contains(&file.key) {
            FileStatus::Processing
        } else {
            FileStatus::Completed
        }
    }

    /// The fault that strikes a question of this kind, about this recording where it is about one.
    pub(in crate::simulator) fn strike_api(
        &self,
        endpoint: Endpoint,
        instance_id: Option<&str>,
    ) -> Option<ApiFault> {
        let mut shelf = self.shelf();
        let about = instance_id.and_then(|id| shelf.api.rules.get_mut(id)).and_then(Rules::strike_first);
        about.or_else(|| shelf.api.call_rules.get_mut(&endpoint).and_then(Rules::strike_first))
    }

    pub(in crate::simulator) fn strike_access_token(&self) -> Option<ApiFault> {
        self.shelf().api.token_rules.strike_first()
    }

    pub(in crate::simulator) fn note_api_request(&self, request: ApiRequest) {
        self.shelf().api.account.note(request);
        self.tell();
    }
}
