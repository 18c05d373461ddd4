//! A look at the database, the archive and Zoom's API: from all sides for the command `doctor`, and briefly beside every
//! start of the service, which it neither delays nor stops. Here is what is asked of which; what a database or an archive
//! is tried with is theirs to know (`Store::examine`, `Archive::examine`).

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::archive::{ArchiveError, SharedArchive};
use crate::clock::Clock;
use crate::config::after_archive::AfterArchiveConfig;
use crate::domain::finding::{Finding, Look, Subject, Verdict};
use crate::domain::recording::RecordingKind;
use crate::store::{SharedStore, Store, StoreError};
use crate::zoom::accounts::{Account, Accounts};
use crate::zoom::api::Use;
use crate::zoom::api::days::Days;
use crate::zoom::api::list::{ListOf, Within};

/// Time for each of database and archive to show itself at the start.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is looked at beside the start.
pub(crate) struct Start {
    /// The record.
    pub(crate) store: SharedStore,
    /// What the workers of this process will ask of the archive and of Zoom; nothing where it has none.
    pub(crate) workshop: Option<Workshop>,
}

/// What workers need beside the record.
pub(crate) struct Workshop {
    /// The storage that the user owns.
    pub(crate) archive: SharedArchive,
    /// Whether it is tried if it can be written to.
    pub(crate) tries_writing: bool,
    /// Whose files are fetched.
    pub(crate) accounts: Accounts,
}

impl Start {
    /// Looks briefly, and says in the log what it finds; a warning for everything that is wrong. Zoom is asked nothing: it
    /// counts who asks.
    pub(crate) async fn look(self, stop: CancellationToken) {
        tokio::select! {
            () = stop.cancelled() => {}
            findings = self.findings() => log(&findings),
        }
    }

    async fn findings(&self) -> Vec<Finding> {
        let database = within(Subject::Database, database(self.store.as_ref(), Look::Brief));
        let Some(workshop) = &self.workshop else { return database.await };
        let (database, archive) =
            tokio::join!(database, within(Subject::Archive, workshop.look_at_archive()));
        let accounts = workshop.accounts.iter().filter(|account| asks_nothing(account));
        database.into_iter().chain(archive).chain(accounts.map(without_credentials)).collect()
    }
}

impl Workshop {
    async fn look_at_archive(&self) -> Vec<Finding> {
        if self.tries_writing {
            return self.archive.examine(Look::Brief).await;
        }
        vec![match self.archive.ping().await {
            Ok(()) => {
                Finding::well(Subject::Archive, format!("{} can be looked into", self.archive.describe()))
            }
            Err(error) => archive_is_wrong(&error),
        }]
    }
}

async fn within(subject: Subject, look: impl Future<Output = Vec<Finding>>) -> Vec<Finding> {
    tokio::time::timeout(PATIENCE, look).await.unwrap_or_else(|_| {
        let words = format!("has not answered within {} s", PATIENCE.as_secs());
        vec![Finding::wrong_so(subject, words, "`zoom-archiver doctor` waits longer, and says why")]
    })
}

fn log(findings: &[Finding]) {
    for found in findings {
        let (subject, mend) = (found.subject.as_str(), found.mend.as_deref());
        match found.verdict {
            Verdict::Well => debug!(doctor.subject = subject, "{subject}: {}", found.words),
            Verdict::Note => {
                info!(doctor.subject = subject, doctor.mend = mend, "{subject}: {}", found.words)
            }
            Verdict::Wrong => {
                warn!(doctor.subject = subject, doctor.mend = mend, "{subject}: {}", found.words)
            }
        }
    }
    let count = |verdict| findings.iter().filter(|found| found.verdict == verdict).count();
    info!(
        doctor.wrong = count(Verdict::Wrong),
        doctor.notes = count(Verdict::Note),
        "looked around briefly; `zoom-archiver doctor` looks from all sides"
    );
}

/// Of the database, whether it answers, how soon, and whether it is set up for what is asked of it.
pub(crate) async fn database(store: &dyn Store, look: Look) -> Vec<Finding> {
    let mut findings = match fastest(store).await {
        Ok(fastest) => vec![answers(store.describe(), fastest)],
        Err(error) => return vec![database_is_wrong(&error)],
    };
    match store.examine(look).await {
        Ok(found) => findings.extend(found),
        Err(error) => findings.push(database_is_wrong(&error)),
    }
    findings
}

/// How long the smallest question may take until that is worth a note. Zoom waits three seconds for an answer, and a small
/// file takes some ten questions, one after the other: with this, half a second of nothing but waiting for each.
const SLOW_ANSWER: Duration = Duration::from_millis(50);

/// The fastest of a few answers: what holds up a single one is not how far away the database is.
async fn fastest(store: &dyn Store) -> Result<Duration, StoreError> {
    let mut fastest = Duration::MAX;
    for _ in 0..3 {
        let began = Instant::now();
        store.ping().await?;
        fastest = fastest.min(began.elapsed());
    }
    Ok(fastest)
}

fn answers(database: &str, fastest: Duration) -> Finding {
    let words =
        format!("{database} answers within {} ms, with the schema of this version", fastest.as_millis());
    if fastest < SLOW_ANSWER {
        return Finding::well(Subject::Database, words);
    }
    Finding::note(
        Subject::Database,
        format!(
            "{words}; that is slow: from {} ms on, answers to Zoom and small files suffer",
            SLOW_ANSWER.as_millis()
        ),
        "run the program near its database; else look at what else keeps that server or the way there busy",
    )
}

/// A database that does not do what it is asked.
pub(crate) fn database_is_wrong(error: &StoreError) -> Finding {
    Finding::wrong(Subject::Database, format!("DATABASE_URL: {error}"))
}

fn archive_is_wrong(error: &ArchiveError) -> Finding {
    Finding::wrong(Subject::Archive, error.to_string())
}

/// Of each account, whether its credentials are taken for what they are, and may do what we ask of them. What would change
/// something at Zoom is not tried: of that it goes by the scopes that Zoom says the app has.
pub(crate) async fn zoom(accounts: &Accounts, after_archive: &AfterArchiveConfig) -> Vec<Finding> {
    let mut findings = Vec::new();
    for account in accounts.iter() {
        for (kind, of) in lists(account) {
            findings.push(may_list(account, kind, of).await);
        }
        if account.api.knows(RecordingKind::VideoSdk)
            && account.api.account_id(RecordingKind::VideoSdk).is_none()
        {
            findings.push(sessions_of_nobody(account));
        }
        findings.extend(scopes(account, after_archive).await);
        if asks_nothing(account) {
            findings.push(without_credentials(account));
        }
    }
    findings.extend(accounts.iter().find_map(|account| account.api.clock_ahead_secs()).map(zooms_clock));
    findings
}

/// How far the clocks may be apart, in seconds. Zoom refuses a token that was made in its future, and we refuse events that
/// are older than `zoom.replay_window_secs` or newer than `zoom.replay_ahead_secs`.
const WORRYING_SKEW_SECS: i64 = 30;

fn zooms_clock(ahead: i64) -> Finding {
    if ahead.abs() < WORRYING_SKEW_SECS {
        return Finding::well(Subject::Zoom, "Zoom's clock and this machine's agree".to_owned());
    }
    Finding::wrong_so(
        Subject::Zoom,
        format!("Zoom's clock is {ahead} s ahead of this machine's"),
        "set this machine's clock: tokens that it makes and events that it takes go by it",
    )
}

/// What an account's credentials are for.
fn lists(account: &Account) -> Vec<(RecordingKind, ListOf)> {
    let lists = [
        (RecordingKind::VideoSdk, ListOf::Sessions { account_id: account.name.clone() }),
        (RecordingKind::Meeting, ListOf::Meetings),
    ];
    lists.into_iter().filter(|(kind, _)| account.api.knows(*kind)).collect()
}

fn asks_nothing(account: &Account) -> bool {
    lists(account).is_empty()
}

fn without_credentials(account: &Account) -> Finding {
    Finding::note(
        Subject::Zoom,
        format!(
            "account {}: no credentials for Zoom's API: tokens that expire are not renewed, and what no webhook announced \
             is not found",
            account.name
        ),
        "set ZOOM_VIDEO_SDK_API_KEY and _SECRET, or ZOOM_ACCOUNT_ID, ZOOM_CLIENT_ID and _SECRET",
    )
}

/// Zoom's list of sessions does not say which account they are of, so `backfill` and `reconcile` do not use it.
fn sessions_of_nobody(account: &Account) -> Finding {
    Finding::note(
        Subject::Zoom,
        format!(
            "account {}: its sessions cannot be listed, although its credentials are taken: Zoom's list does not say whose \
             they are, so lost webhooks are not found",
            account.name
        ),
        "set ZOOM_VIDEO_SDK_ACCOUNT_ID, or account_id in its section of zoom.accounts, to the id that events name",
    )
}

async fn may_list(account: &Account, kind: RecordingKind, of: ListOf) -> Finding {
    let today = Days::last(1, Clock::System.now());
    match account.api.recordings(of, Within::Days(today)).next().await {
        Ok(_) => Finding::well(
            Subject::Zoom,
            format!("account {}: its credentials for {} are taken", account.name, kind),
        ),
        Err(error) => Finding::wrong(Subject::Zoom, format!("account {}: {error}", account.name)),
    }
}

/// What the app for meetings may do beside listing, by its scopes.
async fn scopes(account: &Account, after_archive: &AfterArchiveConfig) -> Vec<Finding> {
    let id = account.account_id(RecordingKind::Meeting).unwrap_or_default();
    let mut uses = vec![
        (Use::Renew, Verdict::Wrong, "tokens of meetings that expire are not renewed"),
        (Use::Recover, Verdict::Note, "`recordings recover` takes no meeting out of Zoom's trash"),
    ];
    if after_archive.is_for(&account.name, id) {
        uses.push((
            Use::Remove,
            Verdict::Wrong,
            "what after_archive.at_zoom asks for is not done to meetings",
        ));
    }
    let (mut findings, mut is_known) = (Vec::new(), false);
    for (what, verdict, so) in uses {
        let Some(lacking) = account.api.lacks(what).await else { continue };
        is_known = true;
        if lacking.is_empty() {
            continue;
        }
        let words = format!("account {}: the app of ZOOM_CLIENT_ID lacks scopes, so {so}", account.name);
        let mend = format!("tick {} on its Scopes page in the Zoom App Marketplace", lacking.join(" and "));
        findings.push(match verdict {
            Verdict::Wrong => Finding::wrong_so(Subject::Zoom, words, mend),
            Verdict::Well | Verdict::Note => Finding::note(Subject::Zoom, words, mend),
        });
    }
    if is_known && findings.is_empty() {
        let words =
            format!("account {}: its app for meetings has the scopes for what else is asked", account.name);
        findings.push(Finding::well(Subject::Zoom, words));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_is_slow_to_answer_is_noted_with_the_bound() {
        let near = answers("postgres 17.2", Duration::from_millis(49));
        assert_eq!(near.verdict, Verdict::Well);
        assert!(near.words.starts_with("postgres 17.2 answers within 49 ms"), "{near:?}");
        let far = answers("postgres 17.2", Duration::from_millis(120));
        assert_eq!(far.verdict, Verdict::Note);
        assert!(far.words.contains("within 120 ms") && far.words.contains("from 50 ms on"), "{far:?}");
        assert!(far.mend.is_some_and(|mend| mend.contains("near its database")));
    }
}
