//! A rehearsal: the fake Zoom against a receiver, from the URL validation to the last byte, with a report. What
//! the `simulate` command runs.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use serde::Serialize;
use tokio::time::Instant;

use super::events::{EventKind, Quirks};
use super::fake_zoom::FakeZoom;
use super::fault::{Fault, When};
use super::recording::{AnnouncedSize, FakeFile, FakeRecording};
use super::sender::{Sender, ValidationError};
use crate::domain::recording::UnknownWord;

/// Recordings whose events are under way at the same time.
const SENDERS: usize = 8;
/// Events with [`Misbehaviour::Delay`] wait for this long.
const DELAY: Duration = Duration::from_secs(2);
/// A recording of which something was refused is announced anew after this long, then twice as long, …
const FIRST_RENEWAL: Duration = Duration::from_secs(2);
/// … at most so many times.
const MAX_RENEWALS: u32 = 5;
/// How often it is looked whether a recording must be announced anew.
const LOOK: Duration = Duration::from_millis(250);

/// What goes wrong in a rehearsal. The first three befall events, the others downloads: each file gets one of
/// those that were chosen, in turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Misbehaviour {
    /// Each event comes twice, with another URL and token.
    Duplicate,
    /// The events of a recording come in reverse order.
    Reorder,
    /// Each event comes two seconds late.
    Delay,
    /// The first download of a file breaks off half-way.
    Cut,
    /// The first download of a file stops half-way and hangs.
    Stall,
    /// The first download of a file brings the sign-in page.
    Html,
    /// The first token of a recording has expired.
    Expired,
    /// The size of a file is not the announced one.
    WrongLength,
}

impl Misbehaviour {
    /// Every one.
    pub const ALL: [Self; 8] = [
        Self::Duplicate,
        Self::Reorder,
        Self::Delay,
        Self::Cut,
        Self::Stall,
        Self::Html,
        Self::Expired,
        Self::WrongLength,
    ];

    /// The word for it on the command line.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::Reorder => "reorder",
            Self::Delay => "delay",
            Self::Cut => "cut",
            Self::Stall => "stall",
            Self::Html => "html",
            Self::Expired => "expired",
            Self::WrongLength => "wrong-length",
        }
    }

    fn befalls_downloads(self) -> bool {
        matches!(self, Self::Cut | Self::Stall | Self::Html | Self::Expired | Self::WrongLength)
    }
}

impl fmt::Display for Misbehaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Misbehaviour {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|misbehaviour| misbehaviour.as_str() == text)
            .ok_or_else(|| UnknownWord::new("fault", text))
    }
}

/// A rehearsal that is ready to run.
pub struct Rehearsal<'a> {
    /// What serves the files.
    pub zoom: &'a FakeZoom,
    /// What delivers the events.
    pub sender: &'a Sender,
    /// What was recorded.
    pub recordings: Vec<FakeRecording>,
    /// What goes wrong.
    pub misbehaviours: Vec<Misbehaviour>,
    /// When it is given up.
    pub timeout: Duration,
}

/// How a rehearsal went.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Events that the receiver accepted.
    pub events_accepted: u64,
    /// Events that it refused, or did not answer to the last; in words.
    pub events_failed: Vec<String>,
    /// Tries beyond the first, over all events.
    pub events_repeated: u64,
    /// Announcements beyond the first because a download was refused.
    pub renewals: u64,
    /// Every file.
    pub files: Vec<FileReport>,
    /// What the receiver did that it must not do; in words.
    pub violations: Vec<String>,
    /// Whether the time was up before the end.
    pub timed_out: bool,
}

/// What happened to one file.
#[derive(Debug, Clone, Serialize)]
pub struct FileReport {
    /// Topic of its recording.
    pub recording: String,
    /// What it is, in a few words.
    pub file: String,
    /// The size that its events named.
    pub announced_bytes: Option<u64>,
    /// Its true size.
    pub bytes: u64,
    /// Downloads begun.
    pub requests: u64,
    /// Bytes given out, over all of them.
    pub bytes_served: u64,
    /// What went wrong on purpose.
    pub fault: Option<Misbehaviour>,
    /// Whether all of it was given out.
    pub fetched_whole: bool,
}

impl Report {
    /// Whether every event was accepted, every file fetched whole, and no rule broken.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.events_failed.is_empty()
            && self.violations.is_empty()
            && !self.files.is_empty()
            && self.files.iter().all(|file| file.fetched_whole)
    }
}

/// One event on its way.
struct Envelope {
    kind: EventKind,
    body: Vec<u8>,
}

impl Rehearsal<'_> {
    /// Validates the URL, sends every event, and waits until every file has been fetched whole or the time is
    /// up. `progress` hears how many files of how many have been.
    ///
    /// # Errors
    /// When the receiver does not pass the URL validation: then nothing is sent.
    pub async fn run(mut self, mut progress: impl FnMut(usize, usize)) -> Result<Report, ValidationError> {
        let deadline = Instant::now() + self.timeout;
        let token = format!("rehearsal{:016x}", self.zoom.library().changes().borrow().wrapping_add(1));
        match tokio::time::timeout_at(deadline, self.sender.validate_url(&token)).await {
            Ok(validated) => validated?,
            Err(_) => {
                let events_failed = vec!["the URL validation was not answered in time".to_owned()];
                let files = self.files();
                return Ok(Report { timed_out: true, events_failed, files, ..Report::default() });
            }
        }
        self.lie_about_sizes();
        let mut report = Report::default();
        let through = tokio::time::timeout_at(deadline, async {
            self.send_all(&mut report).await;
            self.wait(&mut report, &mut progress).await;
        });
        let timed_out = through.await.is_err();
        report.timed_out = timed_out;
        report.files = self.files();
        report.violations = self.zoom.library().violations().iter().map(ToString::to_string).collect();
        Ok(report)
    }

    /// The fault that befalls the downloads of a recording's file, by its place.
    fn fault_of(&self, index: usize) -> Option<Misbehaviour> {
        let faults: Vec<_> = self.misbehaviours.iter().filter(|it| it.befalls_downloads()).collect();
        (!faults.is_empty()).then(|| *faults[index % faults.len()])
    }

    fn has(&self, misbehaviour: Misbehaviour) -> bool {
        self.misbehaviours.contains(&misbehaviour)
    }

    fn lie_about_sizes(&mut self) {
        for recording in 0..self.recordings.len() {
            for index in 0..self.recordings[recording].files.len() {
                if self.fault_of(index) == Some(Misbehaviour::WrongLength) {
                    let file = &mut self.recordings[recording].files[index];
                    let size = file.content.len();
                    let lie = if index % 2 == 0 { size + 1 + size / 10 } else { size - size.div_ceil(10) };
                    file.announced = AnnouncedSize::Lie(lie);
                }
            }
        }
    }

    fn spoil_downloads(&self, recording: &FakeRecording) {
        for (index, file) in recording.files.iter().enumerate() {
            let half = file.content.len() / 2;
            let fault = match self.fault_of(index) {
                Some(Misbehaviour::Cut) => Fault::Cut { after: half },
                Some(Misbehaviour::Stall) => Fault::Stall { after: half },
                Some(Misbehaviour::Html) => Fault::SignInPage,
                _ => continue,
            };
            self.zoom.library().inject(&file.key, fault, When::First(1));
        }
        if self.has(Misbehaviour::Expired) {
            self.zoom.library().expire_tokens(recording);
        }
    }

    /// The events of a recording, in the order in which they are to be sent.
    fn envelopes(&self, recording: &FakeRecording) -> Vec<Envelope> {
        let copies = if self.has(Misbehaviour::Duplicate) { 2 } else { 1 };
        let mut envelopes: Vec<_> = EventKind::of(recording)
            .flat_map(|kind| std::iter::repeat_n(kind, copies))
            .map(|kind| Envelope { kind, body: self.zoom.announce(recording, kind, Quirks::default()) })
            .collect();
        if self.has(Misbehaviour::Reorder) {
            envelopes.reverse();
        }
        envelopes
    }

    async fn send_all(&self, report: &mut Report) {
        let sent = stream::iter(&self.recordings).map(|recording| async {
            let envelopes = self.envelopes(recording);
            self.spoil_downloads(recording);
            self.send(recording, envelopes).await
        });
        let mut sent = sent.buffer_unordered(SENDERS);
        while let Some(part) = sent.next().await {
            report.add(part);
        }
    }

    async fn send(&self, recording: &FakeRecording, envelopes: Vec<Envelope>) -> Report {
        let mut report = Report::default();
        for envelope in envelopes {
            if self.has(Misbehaviour::Delay) {
                tokio::time::sleep(DELAY).await;
            }
            let delivery = self.zoom.deliver(self.sender, &envelope.body).await;
            report.events_repeated += u64::from(delivery.tries - 1);
            if delivery.answer.is_accepted() {
                report.events_accepted += 1;
            } else {
                let event = envelope.kind.name(recording.kind);
                report.events_failed.push(format!(
                    "{event} of {}: {} after {} tries",
                    recording.topic, delivery.answer, delivery.tries
                ));
            }
        }
        report
    }

    /// Waits for the last byte. What was refused is announced anew, with another token: as Zoom's API or a later
    /// event would.
    async fn wait(&self, report: &mut Report, progress: &mut impl FnMut(usize, usize)) {
        let mut changes = self.zoom.library().changes();
        let mut renewals: Vec<_> = self.recordings.iter().map(|_| Renewal::new()).collect();
        let mut look = tokio::time::interval(LOOK);
        loop {
            let (done, all) = self.count();
            progress(done, all);
            if done == all {
                return;
            }
            tokio::select! {
                _ = changes.changed() => {}
                _ = look.tick() => {
                    for (recording, renewal) in self.recordings.iter().zip(&mut renewals) {
                        if renewal.is_due(self.refused(recording)) {
                            report.renewals += 1;
                            let again = self.renew(recording).await;
                            report.add(again);
                        }
                    }
                }
            }
        }
    }

    async fn renew(&self, recording: &FakeRecording) -> Report {
        let envelopes = EventKind::of(recording)
            .map(|kind| Envelope { kind, body: self.zoom.announce(recording, kind, Quirks::default()) })
            .collect();
        self.send(recording, envelopes).await
    }

    /// Requests refused so far, of a recording that has not been fetched whole; only ever grows.
    fn refused(&self, recording: &FakeRecording) -> u64 {
        if self.zoom.library().has_given(recording) {
            return 0;
        }
        let accounts = recording.files.iter().filter_map(|file| self.zoom.library().account(&file.key));
        accounts.map(|account| account.refused).sum()
    }

    fn count(&self) -> (usize, usize) {
        let is_whole = |file: &&FakeFile| self.zoom.library().is_whole(&file.key);
        let files = || self.recordings.iter().flat_map(|recording| &recording.files);
        (files().filter(is_whole).count(), files().count())
    }

    fn files(&self) -> Vec<FileReport> {
        let mut files = Vec::new();
        for recording in &self.recordings {
            for (index, file) in recording.files.iter().enumerate() {
                let account = self.zoom.library().account(&file.key).unwrap_or_default();
                files.push(FileReport {
                    recording: recording.topic.clone(),
                    file: file.label(),
                    announced_bytes: file.announced_bytes(),
                    bytes: file.content.len(),
                    requests: account.requests,
                    bytes_served: account.bytes_served,
                    fault: self.fault_of(index),
                    fetched_whole: account.whole,
                });
            }
        }
        files
    }
}

impl Report {
    fn add(&mut self, part: Self) {
        self.events_accepted += part.events_accepted;
        self.events_repeated += part.events_repeated;
        self.events_failed.extend(part.events_failed);
    }
}

/// When a recording is announced anew.
struct Renewal {
    /// Refusals that have been answered by a new announcement.
    answered: u64,
    left: u32,
    pause: Duration,
    not_before: Instant,
}

impl Renewal {
    fn new() -> Self {
        Self { answered: 0, left: MAX_RENEWALS, pause: FIRST_RENEWAL, not_before: Instant::now() }
    }

    fn is_due(&mut self, refused: u64) -> bool {
        let now = Instant::now();
        if refused <= self.answered || self.left == 0 || now < self.not_before {
            return false;
        }
        self.answered = refused;
        self.left -= 1;
        self.not_before = now + self.pause;
        self.pause *= 2;
        true
    }
}
