//! Where a file is and what opens it. A token that has expired is a pause, not an end: Zoom's API gives a fresh one,
//! and where it cannot be asked the file is parked until an event brings one.

use std::sync::Arc;

use chrono::TimeDelta;
use secrecy::{ExposeSecret, SecretString};
use tracing::info;

use super::super::Jobs;
use super::{Ended, alive_while};
use crate::domain::event::{Event, EventContent};
use crate::domain::file::FileRow;
use crate::domain::file_identity::rows_of;
use crate::domain::job::{Outcome, Task, WaitsFor};
use crate::domain::loss::IN_TRASH;
use crate::domain::recording::{
    AnnouncedFile, MEETING_TRANSCRIPT, RecordingKind, RecordingState, is_of_archive,
};
use crate::store::TransferWork;
use crate::worker::JobContext;
use crate::zoom::api::ApiError;
use crate::zoom::download::{DownloadError, Remote};
use crate::zoom::meeting_transcript::Transcript;
use crate::zoom::token;

/// The way to a file.
pub(super) struct Access {
    pub(super) remote: Arc<Remote>,
    /// The API's own bearer token, where that is what opens the file.
    pub(super) bearer: Option<SecretString>,
}

/// The way that was announced. Where no download token came with the URL, the API's own bearer token opens the file, provided
/// that the URL leads to Zoom itself; `refused` is one that did not.
///
/// # Errors
/// [`DownloadError::NoUrl`], [`DownloadError::Expired`] when the token says itself that it will not last, and what follows for
/// the job where the API gives no bearer token.
pub(super) async fn open(
    jobs: &Jobs,
    work: &TransferWork,
    refused: Option<&SecretString>,
) -> Result<Access, Ended> {
    let url = work.download_url.clone().ok_or(DownloadError::NoUrl)?;
    if work.download_token.is_none() && jobs.accounts.is_zooms_own(&url) {
        let bearer = jobs.accounts.bearer(&work.recording.identity, refused).await.map_err(Outcome::from)?;
        if let Some(bearer) = bearer {
            let remote = Arc::new(Remote::new(url, Some(bearer.clone())));
            return Ok(Access { remote, bearer: Some(bearer) });
        }
    }
    if is_call(work) && work.download_token.is_none() {
        return Err(DownloadError::Expired("the event has brought no token".to_owned()).into());
    }
    let expires_at = work.download_token.as_ref().and_then(token::expires_at);
    let margin = TimeDelta::from_std(jobs.config.token_margin()).unwrap_or_default();
    if let Some(expires_at) = expires_at.filter(|at| *at <= jobs.clock.now() + margin) {
        return Err(
            DownloadError::Expired(format!("its token lasts until {}", expires_at.to_rfc3339())).into()
        );
    }
    Ok(Access { remote: Arc::new(Remote::new(url, work.download_token.clone())), bearer: None })
}

/// What follows when Zoom refuses its API's own bearer token for a file, however often it is renewed. While another program puts
/// our tokens out of force, that proves nothing: the API itself says whether it accepts the last one.
pub(super) async fn refused_bearer(
    jobs: &Jobs,
    work: &TransferWork,
    error: &DownloadError,
    bearer: Option<&SecretString>,
) -> Outcome {
    let is_in_force = match bearer {
        Some(bearer) => jobs.accounts.accepts(&work.recording.identity, bearer).await,
        None => Ok(true),
    };
    match is_in_force {
        Ok(true) => without_right(work, error, "its own token is refused"),
        Ok(false) => {
            let reason = "another program puts the access tokens of ZOOM_CLIENT_ID out of force".to_owned();
            Outcome::Later { reason, after: super::super::token_rest() }
        }
        Err(unknown) => unknown.into(),
    }
}

/// What follows when the API gives no download token for a file that does not lie at Zoom's own hosts, where alone the API's
/// own bearer token is sent.
pub(super) fn unsent_bearer(work: &TransferWork, error: &DownloadError) -> Outcome {
    without_right(work, error, "its own token is sent to Zoom's own hosts only")
}

/// The role lacks the right to see the content: `why` its API's own bearer token does not open the file either.
fn without_right(work: &TransferWork, error: &DownloadError, why: &str) -> Outcome {
    let owner = match work.recording.identity.kind {
        RecordingKind::VideoSdk => "of the owner of the Video SDK account",
        _ => "of the owner of the Server-to-Server OAuth app",
    };
    let of_archive = match is_of_archive(&work.file.identity.collection) {
        true => ", and the app a scope for archived files (archiving:read:…)",
        false => "",
    };
    let reason = format!(
        "{error}; Zoom's API gives no download token for it and {why}: give the role {owner} the right \
         \"View the recording content\" (Account Management, Roles, Recording Management){of_archive}, then retry"
    );
    Outcome::Park { waits_for: WaitsFor::Person, reason }
}

/// Whether Zoom's API may help.
pub(super) fn may_help(error: &DownloadError) -> bool {
    matches!(error, DownloadError::Expired(_) | DownloadError::NoUrl | DownloadError::NotFound)
}

/// Asks Zoom's API where the file is now, after `error`. The answer is recorded like an event: it refreshes the
/// siblings too, and brings files that no event announced.
///
/// # Errors
/// What follows for the job when the API has no better access, or cannot be asked.
pub(super) async fn refresh(
    jobs: &Jobs,
    context: &JobContext,
    work: &TransferWork,
    error: DownloadError,
) -> Result<TransferWork, Outcome> {
    let identity = &work.recording.identity;
    let is_archive_file = is_of_archive(&work.file.identity.collection);
    if is_call(work) && !matches!(error, DownloadError::NotFound)
        || is_archive_file && matches!(error, DownloadError::Expired(_))
    {
        return without_own_token(jobs, context, work, error).await;
    }
    if work.file.identity.collection == MEETING_TRANSCRIPT {
        return transcript(jobs, context, work, error).await;
    }
    // The call knows nothing of archive files: its silence about one proves nothing.
    if !jobs.accounts.know(identity) || is_archive_file {
        return Err(without_api(jobs, work, error));
    }
    let _turn = alive_while(context, jobs.turns.take(work.recording.id)).await;
    let known = reread(jobs, work).await?;
    if way(&known) != way(work) {
        // Whoever had the turn before us, or an event, has brought it.
        return Ok(known);
    }
    context.alive();
    let event = match jobs.accounts.recording(identity).await {
        Ok(event) => event,
        Err(ApiError::NotFound(words)) => {
            return Err(not_there(jobs, &reread(jobs, work).await?, &words));
        }
        Err(refused) => return Err(refused.into()),
    };
    let listing = listed(&event, &work.file);
    let url_without_token = announced(&event, &work.file)
        .filter(|file| file.download_token.is_none())
        .and_then(|file| file.download_url.clone());
    jobs.store.record(&event).await?;
    match listing {
        Listing::Processing => {
            let reason = "Zoom still works on the file".to_owned();
            return Err(Outcome::Later { reason, after: super::unnamed::rest(jobs, &work.file) });
        }
        // The recording's fresh token may open what the list leaves out, unless there is no such thing.
        Listing::Missing if matches!(error, DownloadError::NotFound) => {
            let words = "the recording is there, the file is not";
            return Err(not_there(jobs, &reread(jobs, work).await?, words));
        }
        Listing::Missing | Listing::Unknown | Listing::Ready => {}
    }
    info!(file.id = %work.file.id, reason = %error, "fresh access from Zoom's API");
    let account = jobs.names.label(&identity.account_id).to_owned();
    metrics::counter!("zoom_archiver_access_refreshed_total", "account" => account).increment(1);
    let known = reread(jobs, work).await?;
    // The row keeps the token that the event brought, which has just been refused: the URL that came without one is opened by
    // the API's own.
    Ok(match url_without_token {
        Some(url) => TransferWork { download_url: Some(url), download_token: None, ..known },
        None => known,
    })
}

/// AI Companion's transcript of a meeting: a call of its own says where it is.
async fn transcript(
    jobs: &Jobs,
    context: &JobContext,
    work: &TransferWork,
    error: DownloadError,
) -> Result<TransferWork, Outcome> {
    let identity = &work.recording.identity;
    if !jobs.accounts.know(identity) {
        return Err(without_api(jobs, work, error));
    }
    match alive_while(context, jobs.accounts.transcript(identity)).await {
        Ok(Transcript::At(url)) => {
            Ok(TransferWork { download_url: Some(url), download_token: None, ..work.clone() })
        }
        Ok(Transcript::NotReady) => {
            let reason = "Zoom still works on the transcript".to_owned();
            Err(Outcome::Later { reason, after: super::unnamed::rest(jobs, &work.file) })
        }
        Ok(Transcript::Gone(words)) | Err(ApiError::NotFound(words)) => Err(not_there(jobs, work, &words)),
        Ok(Transcript::Withheld(reason)) => {
            let reason = format!("Zoom does not let the transcript be downloaded ({reason})");
            Err(Outcome::Park { waits_for: WaitsFor::Person, reason })
        }
        Err(refused) => Err(refused.into()),
    }
}

fn is_call(work: &TransferWork) -> bool {
    work.recording.identity.kind == RecordingKind::Phone
}

/// A call or an archived file whose own token has expired, or that has none, is opened by the access token of the API, where there
/// are credentials: no call gives a fresh token for it.
async fn without_own_token(
    jobs: &Jobs,
    context: &JobContext,
    work: &TransferWork,
    error: DownloadError,
) -> Result<TransferWork, Outcome> {
    context.alive();
    match jobs.accounts.bearer(&work.recording.identity, None).await? {
        Some(_) => Ok(TransferWork { download_token: None, ..work.clone() }),
        None => Err(without_api(jobs, work, error)),
    }
}

pub(super) async fn reread(jobs: &Jobs, work: &TransferWork) -> Result<TransferWork, Outcome> {
    let known = jobs.store.transfer_work(work.file.id).await?;
    known.ok_or_else(|| Outcome::Dead { reason: "the file is not known any more".to_owned() })
}

fn way(work: &TransferWork) -> [Option<&str>; 2] {
    [&work.download_url, &work.download_token].map(|secret| secret.as_ref().map(ExposeSecret::expose_secret))
}

/// What an answer of the API says of one file.
enum Listing {
    Ready,
    Processing,
    Missing,
    /// It is not among the files, but the answer holds entries that cannot be read: it may be one of them.
    Unknown,
}

/// What an answer says of one file.
fn announced<'e>(event: &'e Event, file: &FileRow) -> Option<&'e AnnouncedFile> {
    let EventContent::Announcement(announcement) = &event.content else { return None };
    let rows = rows_of(&announcement.files, std::slice::from_ref(file));
    announcement.files.iter().zip(rows).find(|(_, row)| row.is_some()).map(|(file, _)| file)
}

fn listed(event: &Event, file: &FileRow) -> Listing {
    let EventContent::Announcement(announcement) = &event.content else { return Listing::Missing };
    let Some(found) = announced(event, file) else {
        return if announcement.odd.is_empty() { Listing::Missing } else { Listing::Unknown };
    };
    if found.is_processing() { Listing::Processing } else { Listing::Ready }
}

/// Without credentials for the API: 404 may pass, everything else waits for Zoom's next event; and so does what Zoom has
/// said to lie in its trash.
fn without_api(jobs: &Jobs, work: &TransferWork, error: DownloadError) -> Outcome {
    if matches!(error, DownloadError::NotFound) {
        return waits_in_trash(jobs, work).unwrap_or_else(|| error.into());
    }
    let reason = format!(
        "{error}; {}; {}",
        ApiError::NoCredentials(work.recording.identity.kind),
        time_left(jobs, work)
    );
    Outcome::Park { waits_for: WaitsFor::Token, reason }
}

/// How long Zoom keeps the file, as far as it said (`auto_delete_date`, Zoom API reference, "Get meeting
/// recordings").
fn time_left(jobs: &Jobs, work: &TransferWork) -> String {
    let date = work.recording.metadata.get("auto_delete_date").and_then(|date| date.as_str());
    let Some(date) = date.and_then(|date| date.parse::<chrono::NaiveDate>().ok()) else {
        return "Zoom did not say how long it keeps the file".to_owned();
    };
    let days = (date - jobs.clock.now().date_naive()).num_days();
    match days {
        days if days < 0 => format!("Zoom meant to delete the file on {date}"),
        days => format!("Zoom deletes the file on {date}, in {days} days"),
    }
}

/// The API agrees that there is no such file: it is gone, unless it lies in the trash.
pub(super) fn not_there(jobs: &Jobs, work: &TransferWork, words: &str) -> Outcome {
    waits_in_trash(jobs, work).unwrap_or_else(|| gone(jobs, work, words))
}

/// Zoom shows nothing of what lies in its trash, to whoever asks; but until its time there is over, it can be taken out.
/// Whatever tells so wakes the transfer.
fn waits_in_trash(jobs: &Jobs, work: &TransferWork) -> Option<Outcome> {
    let TransferWork { recording, file, .. } = work;
    let until = file.loses_at.filter(|until| *until > jobs.clock.now())?;
    (file.state_at_zoom(recording) == Some(RecordingState::Trashed)).then(|| {
        let reason = format!(
            "{IN_TRASH}, and is lost on {}: `zoom-archiver recordings recover {}` takes it out",
            until.date_naive(),
            recording.id
        );
        Outcome::Park { waits_for: WaitsFor::Token, reason }
    })
}

fn gone(jobs: &Jobs, work: &TransferWork, words: &str) -> Outcome {
    Outcome::Gone {
        reason: format!("Zoom has the file no more: {words}"),
        next: vec![(Task::Manifest(work.recording.id), jobs.config.manifest_delay())],
    }
}
