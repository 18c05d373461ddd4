//! What was asked of the fake Zoom and what it gave, file by file. Of fixed size: counters, a few of the last
//! requests, and the gaps that are still open.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

/// Requests remembered per file, and of the API.
pub const RECENT_REQUESTS: usize = 64;

/// One request for a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// `Host` of the request.
    pub host: String,
    /// `Range` of the request.
    pub range: Option<String>,
    /// `If-Range` of the request.
    pub if_range: Option<String>,
    /// Number (`jti`) of the bearer token that came with it, valid or not; `None` without one of ours.
    pub token: Option<u64>,
    /// Status of the answer.
    pub status: u16,
    /// When it was answered.
    pub at: Instant,
}

/// What can be asked of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `GET /v2/videosdk/sessions/{id}/recordings`.
    SessionRecordings,
    /// `GET /v2/meetings/{id}/recordings`.
    MeetingRecordings,
    /// `GET /v2/videosdk/recordings`.
    Sessions,
    /// `GET /v2/accounts/me/recordings`.
    Meetings,
    /// `GET /v2/users/{id}/recordings`.
    UserMeetings,
    /// `GET /v2/meetings/{id}/transcript`.
    MeetingTranscript,
    /// `GET /v2/phone/recordings`.
    Calls,
    /// `DELETE` of a recording, or of a file of it.
    Remove,
    /// `PUT …/status` of a recording, or of a file of it.
    Recover,
    /// `PATCH /v2/videosdk/sessions/{id}/events`.
    SessionEvents,
    /// `GET /v2/videosdk/report/webhook_logs`.
    WebhookLog,
    /// `POST /oauth/token`.
    AccessToken,
}

impl Endpoint {
    /// How heavy it is.
    #[must_use]
    pub fn weight(self) -> Weight {
        match self {
            Self::Sessions | Self::Meetings | Self::UserMeetings | Self::Calls => Weight::Medium,
            Self::WebhookLog => Weight::Heavy,
            Self::AccessToken => Weight::Unlimited,
            _ => Weight::Light,
        }
    }
}

/// How heavy a question is: each weight has a limit of its own (Zoom, "Rate limits").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Weight {
    /// One thing.
    Light,
    /// Many things.
    Medium,
    /// Reports.
    Heavy,
    /// Not limited.
    Unlimited,
}

/// Questions of one weight, second by second.
#[derive(Debug, Clone, Default)]
pub(super) struct Rate {
    /// Those of the last second.
    last_second: VecDeque<Instant>,
    peak: usize,
    limit: Option<usize>,
}

impl Rate {
    /// Counts a question; whether it is within the limit.
    pub(super) fn count(&mut self, now: Instant) -> bool {
        while self.last_second.front().is_some_and(|then| now.duration_since(*then) >= Duration::from_secs(1))
        {
            self.last_second.pop_front();
        }
        self.last_second.push_back(now);
        self.peak = self.peak.max(self.last_second.len());
        self.limit.is_none_or(|limit| self.last_second.len() <= limit)
    }

    pub(super) fn peak(&self) -> usize {
        self.peak
    }

    pub(super) fn limit(&mut self, per_sec: Option<usize>) {
        self.limit = per_sec;
    }
}

/// One question to the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiRequest {
    /// What was asked.
    pub endpoint: Endpoint,
    /// Path and query as they came, still encoded.
    pub target: String,
    /// Status of the answer.
    pub status: u16,
}

/// What was asked of the API.
#[derive(Debug, Clone, Default)]
pub(super) struct ApiAccount {
    calls: HashMap<Endpoint, u64>,
    recent: VecDeque<ApiRequest>,
}

impl ApiAccount {
    pub(super) fn note(&mut self, request: ApiRequest) {
        *self.calls.entry(request.endpoint).or_default() += 1;
        if self.recent.len() == RECENT_REQUESTS {
            self.recent.pop_front();
        }
        self.recent.push_back(request);
    }

    pub(super) fn calls(&self, endpoint: Endpoint) -> u64 {
        self.calls.get(&endpoint).copied().unwrap_or_default()
    }

    pub(super) fn recent(&self) -> Vec<ApiRequest> {
        self.recent.iter().cloned().collect()
    }
}

/// What the client did that Zoom's rules or good sense forbid.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Violation {
    /// A token in the query, where proxies and logs see it.
    TokenInQuery {
        /// `Host` of the request.
        host: String,
    },
    /// A bearer token at an origin that it was not meant for.
    TokenAtOtherOrigin {
        /// `Host` of the request.
        host: String,
    },
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TokenInQuery { host } => write!(f, "a token came in the query, at {host}"),
            Self::TokenAtOtherOrigin { host } => write!(f, "a bearer token came to another origin, {host}"),
        }
    }
}

/// What happened to one file.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// Requests for it.
    pub requests: u64,
    /// Those that were refused for want of a valid token, or answered by something that is not the file.
    pub refused: u64,
    /// Bytes of answers that carried the file, handed to the connection.
    pub bytes_served: u64,
    /// Whether every byte of it has been handed to a connection at least once (what the client made of it, only
    /// the client knows).
    pub whole: bool,
    /// The last requests, oldest first.
    pub recent: VecDeque<Request>,
    pub(super) coverage: Coverage,
}

impl Account {
    pub(super) fn note(&mut self, request: Request) {
        self.requests += 1;
        if self.recent.len() == RECENT_REQUESTS {
            self.recent.pop_front();
        }
        self.recent.push_back(request);
    }
}

/// Which bytes have been served: ranges from start to end, none touching another. As small as the number of
/// gaps, which a client that reads in order keeps near none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Coverage(BTreeMap<u64, u64>);

impl Coverage {
    pub(super) fn add(&mut self, mut start: u64, mut end: u64) {
        if start >= end {
            return;
        }
        let touching: Vec<u64> = self
            .0
            .range(..=end)
            .rev()
            .take_while(|&(_, &other_end)| other_end >= start)
            .map(|(&other_start, _)| other_start)
            .collect();
        for other in touching {
            if let Some(other_end) = self.0.remove(&other) {
                start = start.min(other);
                end = end.max(other_end);
            }
        }
        self.0.insert(start, end);
    }

    pub(super) fn is_whole(&self, len: u64) -> bool {
        len == 0 || self.0.get(&0).is_some_and(|&end| end >= len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_that_touch_or_overlap_become_one() {
        let mut coverage = Coverage::default();
        for (start, end) in [(10, 20), (30, 40), (0, 5), (5, 10), (18, 32), (12, 13), (40, 40)] {
            coverage.add(start, end);
        }
        assert_eq!(coverage.0, BTreeMap::from([(0, 40)]));
        assert!(coverage.is_whole(40));
        assert!(!coverage.is_whole(41));
    }

    #[test]
    fn a_gap_stays_a_gap() {
        let mut coverage = Coverage::default();
        coverage.add(0, 10);
        coverage.add(11, 20);
        assert!(!coverage.is_whole(20));
        coverage.add(10, 11);
        assert!(coverage.is_whole(20));
    }

    #[test]
    fn the_peak_is_the_most_within_any_second() {
        let mut rate = Rate::default();
        rate.limit(Some(2));
        let began = Instant::now();
        let within =
            [0, 900, 1000, 1100, 1899, 5000].map(|millis| rate.count(began + Duration::from_millis(millis)));
        assert_eq!(within, [true, true, true, false, false, true]);
        assert_eq!(rate.peak(), 4);
    }

    #[test]
    fn only_the_last_requests_are_remembered() {
        let mut account = Account::default();
        for status in 0..=u16::try_from(RECENT_REQUESTS).unwrap() {
            let host = String::new();
            let at = Instant::now();
            account.note(Request { host, range: None, if_range: None, token: None, status, at });
        }
        assert_eq!(account.recent.len(), RECENT_REQUESTS);
        assert_eq!(account.recent[0].status, 1);
        assert_eq!(account.requests, 65);
    }
}
