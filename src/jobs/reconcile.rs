//! One round of looking for what no event brought: lists the last days, records what is missing, asks by itself about
//! recordings whose late files are not there yet, renews tokens that would not last until the next round, and reads
//! Zoom's own log of failed deliveries.
//!
//! It is a job, so that of all processes one does it at a time and a killed one's is done again. It keeps nothing in mind:
//! whatever was recorded stands, and a round that begins anew passes over it.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use tracing::{debug, info, warn};

use super::Jobs;
use super::transfer::alive_while;
use crate::config::reconcile::ReconcileConfig;
use crate::domain::event::Event;
use crate::domain::file::{FileRow, RecordingRow};
use crate::domain::ids::FileId;
use crate::domain::job::Outcome;
use crate::domain::recording::{RecordingIdentity, RecordingKind};
use crate::reconcile::ReconcileError;
use crate::reconcile::compare::{announced, compare, is_more_expected};
use crate::reconcile::source::{Source, sources};
use crate::store::EndingToken;
use crate::worker::JobContext;
use crate::zoom::accounts::Account;
use crate::zoom::api::ApiError;
use crate::zoom::api::days::Days;

/// Longest span of Zoom's log that is read, in days: it keeps no more ("Get webhook logs").
const LOG_DAYS: i64 = 7;
/// Tokens looked at at a time.
const PAGE: u32 = 500;

/// Runs the job.
pub async fn run(jobs: &Jobs, context: &JobContext) -> Outcome {
    tokio::select! {
        biased;
        () = context.stopped() => Outcome::Stopped,
        outcome = round(jobs, context) => outcome,
    }
}

/// What a round has found.
#[derive(Debug, Default)]
struct Round {
    recordings: u64,
    /// Files that no event had brought.
    new_files: u64,
    /// Transfers that waited for access and got it.
    woken: u64,
    /// Recordings asked about by themselves.
    asked: u64,
    /// What a passing failure asks for: the round again.
    again: Option<Outcome>,
}

async fn round(jobs: &Jobs, context: &JobContext) -> Outcome {
    let mut round = Round::default();
    let now = jobs.clock.now();
    match sources(&jobs.accounts, None, None) {
        Ok(found) => {
            for words in found.unlisted {
                warn!("{words}");
            }
            let days = Days::last(jobs.reconcile.days, now);
            for source in &found.lists {
                let read = round.read(jobs, context, source, days, now).await;
                round.note(&source.to_string(), read);
            }
        }
        Err(error) => warn!("{error}"),
    }
    if jobs.reconcile.webhook_log {
        for account in jobs.accounts.iter().filter(|account| account.api.knows(RecordingKind::VideoSdk)) {
            let read = round.read_log(jobs, context, account, now).await;
            round.note_log(account, read);
        }
    }
    let renewed = round.renew(jobs, context, now).await;
    round.note("tokens of files that wait", renewed);
    info!(round.recordings, round.new_files, round.woken, round.asked, "reconciled with Zoom");
    round.again.unwrap_or_else(|| Outcome::Done(Box::default()))
}

impl Round {
    /// What must be mended by a person is told, and told again in the next round; what may pass has the round done again.
    /// Neither keeps the other lists from being read.
    fn note(&mut self, what: &str, read: Result<(), ReconcileError>) {
        match read {
            Ok(()) => {}
            Err(ReconcileError::Api(error @ (ApiError::NotAllowed(_) | ApiError::NoCredentials(_)))) => {
                warn!(%error, "cannot reconcile {what}");
            }
            Err(error) => {
                warn!(%error, "cannot reconcile {what} now");
                self.again.get_or_insert(error.into());
            }
        }
    }

    /// Not every account has such a log.
    fn note_log(&mut self, account: &Account, read: Result<(), ReconcileError>) {
        match read {
            Err(ReconcileError::Api(error)) => {
                info!(zoom.account = account.name, %error, "Zoom's log of failed deliveries cannot be read");
            }
            read => self.note("Zoom's log of failed deliveries", read),
        }
    }

    /// Reads one list.
    async fn read(
        &mut self,
        jobs: &Jobs,
        context: &JobContext,
        source: &Source<'_>,
        days: Days,
        now: DateTime<Utc>,
    ) -> Result<(), ReconcileError> {
        let mut listing = source.read(days);
        let mut may_ask = true;
        while let Some(page) = alive_while(context, listing.next()).await? {
            for days in &page.unlisted {
                warn!("{}", source.unlisted(*days));
            }
            for words in &page.odd {
                warn!(entry = words, "an entry of Zoom's list cannot be read");
            }
            for event in &page.events {
                context.alive();
                let compared = compare(&jobs.store, event).await?;
                self.recordings += compared.tally.recordings;
                if compared.is_wanted() {
                    self.record(jobs, event).await?;
                }
                if may_ask
                    && let Err(error) =
                        self.ask_for_late_files(jobs, context, event, compared.known, now).await
                {
                    // What cannot be asked by itself keeps nothing that the list has from being found; and one recording
                    // that may not be asked about says nothing of the others.
                    may_ask = matches!(error, ReconcileError::Api(ApiError::NotAllowed(_)));
                    self.note(&format!("late files of {source}"), Err(error));
                }
            }
        }
        Ok(())
    }

    /// Asks about a recording by itself while files of it are to be expected that its list may not have.
    async fn ask_for_late_files(
        &mut self,
        jobs: &Jobs,
        context: &JobContext,
        event: &Event,
        known: Option<(RecordingRow, Vec<FileRow>)>,
        now: DateTime<Utc>,
    ) -> Result<(), ReconcileError> {
        // No call asks about a phone call by itself.
        let expected = announced(event)
            .filter(|it| jobs.accounts.know(&it.recording.identity))
            .filter(|it| is_more_expected(it, known.as_ref(), &jobs.reconcile, now));
        match expected {
            Some(announcement) => self.ask(jobs, context, &announcement.recording.identity, false).await,
            None => Ok(()),
        }
    }

    /// Asks about one recording, and records the answer when it brings anything, or in any case.
    async fn ask(
        &mut self,
        jobs: &Jobs,
        context: &JobContext,
        recording: &RecordingIdentity,
        in_any_case: bool,
    ) -> Result<(), ReconcileError> {
        self.asked += 1;
        let event = match alive_while(context, jobs.accounts.recording(recording)).await {
            Ok(event) => event,
            Err(ApiError::NotFound(words)) => {
                debug!(words, "a recording that is to be looked for is not there");
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        if in_any_case || compare(&jobs.store, &event).await?.is_wanted() {
            self.record(jobs, &event).await?;
        }
        Ok(())
    }

    async fn record(&mut self, jobs: &Jobs, event: &Event) -> Result<(), ReconcileError> {
        let recorded = jobs.store.record(event).await?;
        self.new_files += recorded.new_files;
        // At once: a round that is cut has found them all the same.
        metrics::counter!("zoom_archiver_reconciled_files_total").increment(recorded.new_files);
        self.woken += recorded.woken;
        if let Some(announcement) = announced(event).filter(|_| recorded.new_files > 0) {
            let identity = &announcement.recording.identity;
            info!(
                zoom.account = identity.account_id,
                recording.kind = identity.kind.as_str(),
                recording.instance_id = identity.instance_id,
                files = recorded.new_files,
                "found at Zoom; no event had brought it"
            );
        }
        Ok(())
    }

    /// Asks about recordings that the log names and that nothing is known of: the lists have brought all others.
    async fn read_log(
        &mut self,
        jobs: &Jobs,
        context: &JobContext,
        account: &Account,
        now: DateTime<Utc>,
    ) -> Result<(), ReconcileError> {
        // Zoom is told whole seconds: the one that has just begun counts.
        let until = now + TimeDelta::seconds(1);
        let mut log = account.api.failed_deliveries(until - log_span(&jobs.reconcile), until);
        let (mut failed, mut asked) = (0_u32, HashSet::new());
        while let Some(page) = alive_while(context, log.next()).await? {
            for delivery in page {
                failed += 1;
                let Some(recording) = delivery.recording else { continue };
                let is_known = jobs.store.find(&recording).await?.is_some_and(|(_, files)| !files.is_empty());
                if !is_known && jobs.accounts.know(&recording) && asked.insert(recording.clone()) {
                    self.ask(jobs, context, &recording, false).await?;
                }
            }
        }
        metrics::gauge!("zoom_archiver_failed_deliveries", "account" => account.name.clone()).set(failed);
        Ok(())
    }

    /// Renews tokens of files that wait and that would expire before the next round.
    async fn renew(
        &mut self,
        jobs: &Jobs,
        context: &JobContext,
        now: DateTime<Utc>,
    ) -> Result<(), ReconcileError> {
        let until =
            now + jobs.reconcile.interval().and_then(|it| TimeDelta::from_std(it).ok()).unwrap_or_default();
        let (mut after, mut renewed): (Option<FileId>, Option<RecordingIdentity>) = (None, None);
        loop {
            let page = jobs.store.ending_tokens(until, after, PAGE).await?;
            for EndingToken { recording, .. } in &page {
                // Siblings lie side by side, and one answer renews them all.
                if renewed.as_ref() == Some(recording) || !jobs.accounts.know(recording) {
                    continue;
                }
                renewed = Some(recording.clone());
                match self.ask(jobs, context, recording, true).await {
                    // One that may not be seen keeps no other's from being renewed.
                    Err(error @ ReconcileError::Api(ApiError::NotAllowed(_))) => {
                        self.note("tokens of files that wait", Err(error));
                    }
                    asked => asked?,
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE as usize => after = Some(last.file),
                _ => return Ok(()),
            }
        }
    }
}

fn log_span(config: &ReconcileConfig) -> TimeDelta {
    TimeDelta::days(i64::from(config.days).min(LOG_DAYS))
}
