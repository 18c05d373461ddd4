//! `POST /webhooks/zoom`: the raw body is verified before anything parses it; what Zoom signed is never
//! refused, and a 200 leaves only after the commit.
//!
//! Bodies are received within a memory budget; the bound on events in flight counts verified ones only, so a
//! flood of forgeries cannot keep Zoom's events out of the database.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderName, Request, StatusCode};
use http_body_util::BodyExt;
use secrecy::SecretString;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::field::Empty;
use tracing::{Instrument, Span, error, info, info_span, warn};

use super::signers::Signers;
use crate::clock::Clock;
use crate::config::Config;
use crate::config::secrets::ZoomAccount;
use crate::domain::account::AccountNames;
use crate::domain::event::{Event, EventContent};
use crate::domain::ids::EventId;
use crate::domain::recording::{Announcement, RecordingIdentity, RecordingKind};
use crate::store::{SharedStore, StoreError};
use crate::telemetry;
use crate::zoom::auto_start::{AutoStart, Begun, SESSION_STARTED};
use crate::zoom::bounds::{self, LARGE_VALUES};
use crate::zoom::payload::{self, Message, UNKNOWN_ACCOUNT};
use crate::zoom::signature::{self, ReplayWindow, SIGNATURE_HEADER, TIMESTAMP_HEADER};

/// What the webhook works with.
pub struct Receiver {
    store: SharedStore,
    signers: Signers,
    names: AccountNames,
    window: ReplayWindow,
    clock: Clock,
    max_body_bytes: usize,
    body_timeout: Duration,
    answer_timeout: Duration,
    body_memory: Arc<Semaphore>,
    in_flight: Arc<Semaphore>,
    /// Large bodies are read and recorded one at a time: see [`LARGE_VALUES`].
    large: Arc<Semaphore>,
    wake: Arc<Notify>,
    auto_start: Option<Arc<AutoStart>>,
    names_seen: EventNames,
    stop: CancellationToken,
}

impl Receiver {
    /// A receiver for the events of these accounts. It rings `wake` when it has recorded new work, and answers 503 once `stop` is cancelled.
    #[must_use]
    pub fn new(
        config: &Config,
        accounts: &[ZoomAccount],
        names: AccountNames,
        store: SharedStore,
        wake: Arc<Notify>,
        stop: CancellationToken,
        clock: Clock,
    ) -> Self {
        Self {
            store,
            signers: Signers::new(accounts),
            names,
            window: ReplayWindow { back: config.zoom.replay_window(), ahead: config.zoom.replay_ahead() },
            clock,
            max_body_bytes: config.http.max_body_bytes,
            body_timeout: config.http.body_timeout(),
            answer_timeout: config.http.answer_timeout(),
            body_memory: Arc::new(Semaphore::new(
                config.http.max_body_memory_bytes.div_ceil(BODY_UNIT_BYTES),
            )),
            in_flight: Arc::new(Semaphore::new(config.http.max_in_flight)),
            large: Arc::new(Semaphore::new(1)),
            wake,
            auto_start: None,
            names_seen: EventNames::default(),
            stop,
        }
    }

    /// The same receiver, which also has the recording of sessions started.
    #[must_use]
    pub fn with_auto_start(self, auto_start: Option<Arc<AutoStart>>) -> Self {
        Self { auto_start, ..self }
    }
}

/// Unit in which memory for bodies is counted, in bytes.
const BODY_UNIT_BYTES: usize = 1024;

/// Recordings of one event that are recorded at once: as many as the database takes together, and few enough for others to
/// come between.
const PARTS_AT_ONCE: usize = 32;

/// How a delivery was answered.
#[derive(Debug)]
enum Answer {
    /// Durable, or of no use to us.
    Accepted,
    /// The answer to a URL validation.
    Validated { plain_token: String, encrypted_token: String },
    /// A URL validation with a token that Zoom would not send.
    OddToken,
    /// Not Zoom's, as far as anyone can tell.
    Unsigned,
    /// The body is too long.
    TooLong,
    /// The body did not come in time, or broke off.
    Unfinished(StatusCode),
    /// Not now; Zoom repeats it.
    Unavailable,
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        match self {
            Self::Accepted => (StatusCode::OK, "ok\n").into_response(),
            Self::Validated { plain_token, encrypted_token } => axum::Json(serde_json::json!({
                "plainToken": plain_token,
                "encryptedToken": encrypted_token,
            }))
            .into_response(),
            Self::OddToken => (StatusCode::BAD_REQUEST, "bad token\n").into_response(),
            Self::Unsigned => (StatusCode::UNAUTHORIZED, "unauthorized\n").into_response(),
            Self::TooLong => (StatusCode::PAYLOAD_TOO_LARGE, "too large\n").into_response(),
            Self::Unfinished(status) => (status, "incomplete\n").into_response(),
            Self::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "try again\n").into_response(),
        }
    }
}

/// Takes one delivery.
pub async fn receive(State(receiver): State<Arc<Receiver>>, request: Request<Body>) -> Response {
    let span = info_span!("receive", http.response.status_code = Empty);
    answer(receiver, request).instrument(span).await
}

async fn answer(receiver: Arc<Receiver>, request: Request<Body>) -> Response {
    let begun = Instant::now();
    let answer = match receiver.deliver(request).await {
        Ok(answer) | Err(answer) => answer,
    };
    let response = answer.into_response();
    Span::current().record("http.response.status_code", response.status().as_u16());
    let status = response.status().as_str().to_owned();
    metrics::histogram!("zoom_archiver_webhook_answer_seconds", "status" => status.clone())
        .record(begun.elapsed());
    metrics::counter!("zoom_archiver_webhook_answers_total", "status" => status).increment(1);
    response
}

impl Receiver {
    async fn deliver(self: &Arc<Self>, request: Request<Body>) -> Result<Answer, Answer> {
        if self.stop.is_cancelled() {
            return Err(Answer::Unavailable);
        }
        let (parts, mut body) = request.into_parts();
        let seen = SignedHeaders::read(&parts.headers);
        // What cannot be genuine is not kept, not even for a moment.
        if let Err(answer) = self.precheck(seen).and_then(|()| self.check_declared(&parts.headers)) {
            self.discard(body).await;
            return Err(answer);
        }
        let (body, _memory) = match self.collect(&mut body).await {
            Err(Answer::Unavailable) => {
                self.discard(body).await;
                return Err(Answer::Unavailable);
            }
            received => received?,
        };
        let signed_by = self.verify(seen, &body)?;
        let turn = self.turn(&body).await?;
        let (read, body) = read(body, turn.is_some()).await?;
        let begun = match &read {
            // That of a session is short.
            Message::Other { name } if name == SESSION_STARTED && turn.is_none() => Begun::read(&body),
            _ => None,
        };
        if let Some(event) = self.foreign(&read, begun.as_ref(), &body, signed_by) {
            return self.record(vec![event], turn).await;
        }
        let mut events = match read {
            Message::UrlValidation { plain_token } => {
                return Ok(validate(&self.signers.secrets()[signed_by], plain_token));
            }
            Message::Other { name } if name == SESSION_STARTED => {
                self.count_event(&name, "live", self.label_of(signed_by));
                return self.start_recording(begun, signed_by).await;
            }
            Message::Other { name } => {
                self.count_event(&name, "ignored", self.label_of(signed_by));
                return Ok(Answer::Accepted);
            }
            Message::Announcement { name, announcement, body } => {
                vec![self.event(name, EventContent::Announcement(*announcement), body)]
            }
            // One row for each recording, as if Zoom had told of them one by one. What is recorded before a failure
            // is recorded again when Zoom repeats the whole, which changes nothing.
            Message::Announcements { name, parts } => parts
                .into_iter()
                .map(|part| {
                    self.event(name.clone(), EventContent::Announcement(part.announcement), part.body)
                })
                .collect(),
            Message::Unreadable { name, reason } => {
                vec![self.event(name, EventContent::Unreadable { reason }, body)]
            }
        };
        for event in &mut events {
            self.name_account(event, signed_by);
        }
        self.record(events, turn).await
    }

    /// Waits for the turn of a body of very many values; `None` for any other.
    async fn turn(&self, body: &[u8]) -> Result<Option<OwnedSemaphorePermit>, Answer> {
        if bounds::values_in(body) < LARGE_VALUES {
            return Ok(None);
        }
        let turn = Arc::clone(&self.large).acquire_owned();
        match tokio::time::timeout(self.answer_timeout, turn).await {
            Ok(Ok(turn)) => Ok(Some(turn)),
            Ok(Err(_)) | Err(_) => Err(Answer::Unavailable),
        }
    }

    /// The event to keep raw where a body names an account that is not its signer's: what one account says of another is not
    /// believed, and nothing of it is forgotten.
    fn foreign(&self, read: &Message, begun: Option<&Begun>, body: &[u8], signed_by: usize) -> Option<Event> {
        let (name, account_id) = match read {
            Message::Announcement { name, announcement, .. } => {
                (name, announcement.recording.identity.account_id.as_str())
            }
            Message::Announcements { name, parts } => {
                (name, parts.first()?.announcement.recording.identity.account_id.as_str())
            }
            Message::Other { name } => match begun?.account_id.as_str() {
                "" => (name, UNKNOWN_ACCOUNT),
                account_id => (name, account_id),
            },
            _ => return None,
        };
        let reason = self.signers.objection(signed_by, account_id)?;
        self.count_event(name, "foreign", self.label_of(signed_by));
        Some(self.event(name.clone(), EventContent::Unreadable { reason }, body.to_vec()))
    }

    fn count_event(&self, name: &str, outcome: &'static str, account: &str) {
        let labels = [
            ("event", self.names_seen.label(name)),
            ("outcome", outcome.to_owned()),
            ("account", account.to_owned()),
        ];
        metrics::counter!("zoom_archiver_events_total", &labels).increment(1);
    }

    /// What the account of an event is called in metrics and logs.
    fn account_label(&self, event: &Event) -> &str {
        let account_id = match &event.content {
            EventContent::Announcement(announcement) => &announcement.recording.identity.account_id,
            EventContent::Unreadable { .. } => UNKNOWN_ACCOUNT,
        };
        self.names.label(account_id)
    }

    /// What the account of a secret is called there.
    fn label_of(&self, signed_by: usize) -> &str {
        self.names.label(self.signers.account_id(signed_by).unwrap_or(UNKNOWN_ACCOUNT))
    }

    fn event(&self, name: String, content: EventContent, body: Vec<u8>) -> Event {
        Event { id: EventId::new(), received_at: self.clock.now(), name, body, content, trace: None }
    }

    /// Refuses what lacks the headers or is stale, by its head alone.
    fn precheck(&self, seen: SignedHeaders<'_>) -> Result<(), Answer> {
        signature::check_headers(seen.timestamp, seen.signature, self.clock.now(), self.window)
            .map(drop)
            .map_err(unsigned)
    }

    /// An event that does not say whose it is belongs to the account whose secret verified it.
    fn name_account(&self, event: &mut Event, signed_by: usize) {
        let EventContent::Announcement(announcement) = &mut event.content else { return };
        let account_id = &mut announcement.recording.identity.account_id;
        if account_id == UNKNOWN_ACCOUNT
            && let Some(owner) = self.signers.account_id(signed_by)
        {
            owner.clone_into(account_id);
        }
    }

    /// The position of the secret that verifies it.
    fn verify(&self, seen: SignedHeaders<'_>, body: &[u8]) -> Result<usize, Answer> {
        let now = self.clock.now();
        signature::verify(self.signers.secrets(), seen.timestamp, seen.signature, body, now, self.window)
            .map_err(unsigned)
    }

    /// Refuses a body that says itself that it is too long.
    fn check_declared(&self, headers: &HeaderMap) -> Result<(), Answer> {
        let declared = headers
            .get(CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<u64>().ok())
            .unwrap_or_default();
        if declared > self.max_body_bytes as u64 { Err(Answer::TooLong) } else { Ok(()) }
    }

    /// Receives a body, and with it the right to the memory that it takes. That is counted as it comes, not as
    /// it is declared: a head alone costs its sender nothing, and must not keep the others out.
    async fn collect(&self, body: &mut Body) -> Result<(Vec<u8>, Option<OwnedSemaphorePermit>), Answer> {
        let (mut collected, mut memory) = (Vec::new(), None);
        let receive = async {
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|_| Answer::Unfinished(StatusCode::BAD_REQUEST))?;
                let Some(data) = frame.data_ref() else { continue };
                let length = collected.len() + data.len();
                if length > self.max_body_bytes {
                    return Err(Answer::TooLong);
                }
                self.hold_memory(&mut memory, length)?;
                collected.extend_from_slice(data);
            }
            Ok(())
        };
        match tokio::time::timeout(self.body_timeout, receive).await {
            Ok(Ok(())) => Ok((collected, memory)),
            Ok(Err(answer)) => Err(answer),
            Err(_) => Err(Answer::Unfinished(StatusCode::REQUEST_TIMEOUT)),
        }
    }

    /// Adds to `memory` what is missing for a body of `bytes`.
    fn hold_memory(&self, memory: &mut Option<OwnedSemaphorePermit>, bytes: usize) -> Result<(), Answer> {
        let held = memory.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let missing = u32::try_from(bytes.div_ceil(BODY_UNIT_BYTES).saturating_sub(held)).unwrap_or(u32::MAX);
        if missing == 0 {
            return Ok(());
        }
        let more =
            Arc::clone(&self.body_memory).try_acquire_many_owned(missing).map_err(|_| Answer::Unavailable)?;
        match memory {
            Some(memory) => memory.merge(more),
            None => *memory = Some(more),
        }
        Ok(())
    }

    /// Reads a body into nothing, within bounds: a client that is still sending would otherwise find its
    /// connection closed before it sees the answer.
    async fn discard(&self, mut body: Body) {
        let bound = 2 * self.max_body_bytes;
        let read = async {
            let mut seen = 0;
            while let Some(Ok(frame)) = body.frame().await {
                seen += frame.data_ref().map_or(0, Bytes::len);
                if seen > bound {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(self.body_timeout, read).await;
    }

    /// Has the recording of a session started, where that is wanted. The event is not answered before Zoom has taken
    /// the wish, so that it comes again when this process ends; the task goes on when Zoom does not wait.
    async fn start_recording(&self, begun: Option<Begun>, signed_by: usize) -> Result<Answer, Answer> {
        let Some(auto_start) = self.auto_start.as_ref().map(Arc::clone) else { return Ok(Answer::Accepted) };
        let Some(mut session) = begun.filter(|session| auto_start.wants(session)) else {
            return Ok(Answer::Accepted);
        };
        if session.account_id.is_empty()
            && let Some(owner) = self.signers.account_id(signed_by)
        {
            owner.clone_into(&mut session.account_id);
        }
        // What has been recorded before, and perhaps stopped by its host, is not started again by a repeated event.
        let identity = RecordingIdentity {
            account_id: session.account_id.clone(),
            kind: RecordingKind::VideoSdk,
            instance_id: session.session_id.clone(),
        };
        match self.store.find(&identity).await {
            Ok(Some((known, _))) if known.state.is_some() => return Ok(Answer::Accepted),
            Ok(_) => {}
            Err(_) => return Err(Answer::Unavailable),
        }
        let task = tokio::spawn(async move { auto_start.start(&session).await }.in_current_span());
        match tokio::time::timeout(self.answer_timeout, task).await {
            Ok(Ok(true)) => Ok(Answer::Accepted),
            Ok(_) | Err(_) => Err(Answer::Unavailable),
        }
    }

    /// Makes what an event says durable, in a task of its own: the server drops a handler whose client has gone, and
    /// a transaction must not end that way.
    async fn record(
        self: &Arc<Self>,
        events: Vec<Event>,
        turn: Option<OwnedSemaphorePermit>,
    ) -> Result<Answer, Answer> {
        let permit = Arc::clone(&self.in_flight).try_acquire_owned().map_err(|_| Answer::Unavailable)?;
        let receiver = Arc::clone(self);
        let task = tokio::spawn(
            async move {
                let recorded = stream::iter(events).map(|event| receiver.record_in_span(event));
                let mut recorded = recorded.buffered(PARTS_AT_ONCE);
                while let Some(answer) = recorded.next().await {
                    answer?;
                }
                drop((permit, turn));
                Ok(Answer::Accepted)
            }
            .in_current_span(),
        );
        match tokio::time::timeout(self.answer_timeout, task).await {
            Ok(Ok(answer)) => answer,
            // Too slow for Zoom, which will repeat it; the task goes on, and a repetition changes nothing.
            Ok(Err(_)) | Err(_) => Err(Answer::Unavailable),
        }
    }

    async fn record_in_span(&self, mut event: Event) -> Result<Answer, Answer> {
        let account = self.account_label(&event);
        let span = info_span!("event", event.id = %event.id, event.name = event.name, zoom.account = account);
        event.trace = telemetry::traceparent(&span);
        self.record_now(&event).instrument(span).await
    }

    async fn record_now(&self, event: &Event) -> Result<Answer, Answer> {
        match self.store.record(event).await {
            Ok(recorded) => {
                match &event.content {
                    EventContent::Announcement(announcement) => {
                        self.count_event(&event.name, "recorded", self.account_label(event));
                        info!(
                            new_files = recorded.new_files,
                            known_files = recorded.known_files,
                            woken = recorded.woken,
                            skipped = recorded.skipped,
                            "event recorded"
                        );
                        tell_of_danger(announcement, recorded.endangered);
                        for odd in &announcement.odd {
                            warn!(reason = odd, "a file in the event cannot be read; the event is kept");
                        }
                    }
                    EventContent::Unreadable { reason } => {
                        self.count_event(&event.name, "unreadable", self.account_label(event));
                        warn!(reason, "a signed event cannot be read; it is kept raw");
                    }
                }
                self.wake.notify_one();
                Ok(Answer::Accepted)
            }
            Err(error @ (StoreError::Refused(_) | StoreError::Unreadable(_))) => {
                self.keep_raw(event, &error).await
            }
            Err(error) => {
                warn!(%error, "cannot record the event; Zoom is asked to repeat it");
                Err(Answer::Unavailable)
            }
        }
    }

    /// An event that the database will not take, today or after the last repetition, must not be lost: it is
    /// kept like one that cannot be read.
    async fn keep_raw(&self, event: &Event, refusal: &StoreError) -> Result<Answer, Answer> {
        error!(error = %refusal, "the database refuses the event; it is kept raw");
        let reason = format!("cannot be recorded: {refusal}");
        let raw = Event { content: EventContent::Unreadable { reason }, ..event.clone() };
        match self.store.record(&raw).await {
            Ok(_) => {
                self.count_event(&event.name, "unreadable", self.account_label(event));
                Ok(Answer::Accepted)
            }
            Err(error) => {
                error!(%error, "the event cannot be kept; Zoom is asked to repeat it");
                Err(Answer::Unavailable)
            }
        }
    }
}

/// Reads a body; a large one on a thread where it holds up nobody.
async fn read(body: Vec<u8>, is_large: bool) -> Result<(Message, Vec<u8>), Answer> {
    if !is_large {
        return Ok((payload::read(&body), body));
    }
    let read = tokio::task::spawn_blocking(move || (payload::read(&body), body)).await;
    read.map_err(|_| Answer::Unavailable)
}

/// Says loudly that a recording leaves Zoom before all of it is archived.
fn tell_of_danger(announcement: &Announcement, endangered: u64) {
    let Some(state) = announcement.change.state.filter(|_| endangered > 0) else { return };
    metrics::counter!("zoom_archiver_endangered_files_total", "state" => state.as_str())
        .increment(endangered);
    let identity = &announcement.recording.identity;
    warn!(
        recording.account = identity.account_id,
        recording.kind = %identity.kind,
        recording.instance = identity.instance_id,
        recording.state = %state,
        files = endangered,
        "a recording leaves Zoom, and not all of its files are archived yet"
    );
}

/// The two headers that make a signature.
#[derive(Debug, Clone, Copy)]
struct SignedHeaders<'a> {
    timestamp: Option<&'a [u8]>,
    signature: Option<&'a [u8]>,
}

impl<'a> SignedHeaders<'a> {
    fn read(headers: &'a HeaderMap) -> Self {
        let get =
            |name: &'static str| headers.get(HeaderName::from_static(name)).map(http::HeaderValue::as_bytes);
        Self { timestamp: get(TIMESTAMP_HEADER), signature: get(SIGNATURE_HEADER) }
    }
}

fn unsigned(error: signature::SignatureError) -> Answer {
    metrics::counter!("zoom_archiver_webhook_rejected_total", "reason" => error.reason()).increment(1);
    Answer::Unsigned
}

fn validate(secret: &SecretString, plain_token: String) -> Answer {
    match signature::encrypt_plain_token(secret, &plain_token) {
        Some(encrypted_token) => {
            info!("Zoom has validated this URL");
            Answer::Validated { plain_token, encrypted_token }
        }
        None => Answer::OddToken,
    }
}

/// Names of events that are counted under their own name.
const MOST_EVENT_NAMES: usize = 500;
/// Longest of them, in bytes.
const LONGEST_EVENT_NAME: usize = 100;
/// Under which all others are counted.
const OTHER_EVENT: &str = "other";

/// The names under which events have been counted. Zoom has signed what they stand in, but not promised how many there
/// will be.
#[derive(Debug, Default)]
struct EventNames(Mutex<BTreeSet<String>>);

impl EventNames {
    fn label(&self, name: &str) -> String {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains(name) {
            if known.len() >= MOST_EVENT_NAMES || name.len() > LONGEST_EVENT_NAME {
                return OTHER_EVENT.to_owned();
            }
            known.insert(name.to_owned());
        }
        name.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_names_are_signed_no_more_are_kept_apart_than_fit() {
        let names = EventNames::default();
        assert_eq!(names.label("recording.completed"), "recording.completed");
        assert_eq!(names.label(&"x".repeat(LONGEST_EVENT_NAME + 1)), OTHER_EVENT);
        for number in 0..2 * MOST_EVENT_NAMES {
            names.label(&number.to_string());
        }
        assert_eq!(names.label("one.more"), OTHER_EVENT);
        assert_eq!(names.label("recording.completed"), "recording.completed");
        assert_eq!(names.0.lock().unwrap().len(), MOST_EVENT_NAMES);
    }
}
