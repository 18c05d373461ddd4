//! Moves a recording that is archived to Zoom's trash, or deletes it: off unless it is asked for, and never before
//! everything that it has at Zoom has been read back from the archive and agrees, byte for byte.
//!
//! Whoever calls on Zoom here cannot take it back for good. So the order is: is it to be done at all; is everything here,
//! by our record; is it long enough ago; is everything here, by Zoom's own list; does the archive give back what was
//! proven; is all of that still so, by our record and by Zoom's list. What stands in the way ends the job without having
//! done anything: the next file of the recording that is archived brings it back.

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::Value;
use tracing::{info, warn};

use super::Jobs;
use super::transfer::alive_while;
use super::transfer::finish::announced_sha256;
use crate::archive::read_back;
use crate::config::after_archive::AtZoom;
use crate::domain::event::Event;
use crate::domain::file::{ArchivedFile, FileRow, FileState, RecordingRow};
use crate::domain::file_identity::rows_of;
use crate::domain::ids::{FileId, RecordingId};
use crate::domain::job::{Outcome, WaitsFor};
use crate::domain::recording::{AnnouncedFile, Change, RecordingKind, RecordingState};
use crate::reconcile::compare::{announced, compare, is_more_expected};
use crate::worker::JobContext;
use crate::zoom::api::ApiError;
use crate::zoom::api::change::Removal;
use crate::zoom::payload::meeting_kind;

/// Rest until Zoom is asked again about a recording that it still works on, or that we may not ask about.
const PROCESSING_REST: Duration = Duration::from_secs(3600);
/// How long a recording that began, paused or stopped may go on, as far as we know: its last event may have been lost.
const STILL_RECORDED: TimeDelta = TimeDelta::hours(48);

/// Runs the job.
pub async fn run(jobs: &Jobs, recording: RecordingId, context: &JobContext) -> Outcome {
    tokio::select! {
        biased;
        () = context.stopped() => Outcome::Stopped,
        outcome = remove(jobs, recording, context) => match outcome {
            Ok(()) => Outcome::Done(Box::default()),
            Err(Obstacle::NotNow(outcome)) => outcome,
            Err(Obstacle::Stays(reason)) => {
                info!(recording.id = %recording, reason, "the recording stays at Zoom");
                Outcome::Done(Box::default())
            }
        },
    }
}

/// Why nothing is removed.
enum Obstacle {
    /// As things are, it stays; when they change, the job comes back.
    Stays(String),
    /// The job itself has to wait.
    NotNow(Outcome),
}

impl<E: Into<Outcome>> From<E> for Obstacle {
    fn from(error: E) -> Self {
        Self::NotNow(error.into())
    }
}

fn stays<T>(reason: impl Into<String>) -> Result<T, Obstacle> {
    Err(Obstacle::Stays(reason.into()))
}

async fn remove(jobs: &Jobs, id: RecordingId, context: &JobContext) -> Result<(), Obstacle> {
    let (recording, files) = known(jobs, id).await?;
    is_meant(jobs, &recording)?;
    is_complete(&files)?;
    is_long_enough_ago(jobs, &files)?;
    whole_at_zoom(jobs, context, &recording, &files).await?;
    for archived in files.iter().filter_map(|file| file.archived.as_ref()) {
        agrees(jobs, context, archived).await?;
    }
    // Reading back may have taken hours.
    let at_zoom = whole_at_zoom(jobs, context, &recording, &files).await?;
    is_unchanged(jobs, &recording, &files).await?;
    let plan = Plan::new(jobs, &files, &at_zoom);
    context.confirm_lease().await?;
    // An event is on disk when it is recorded, and with it all that was settled before: that a file is archived must not
    // be forgotten once Zoom has let go of it.
    let removing = Event::of_ours(jobs.clock.now(), &recording.identity, "removing", Change::default());
    jobs.store.record(&removing).await?;
    carry_out(jobs, context, &recording, &plan).await
}

async fn known(jobs: &Jobs, id: RecordingId) -> Result<(RecordingRow, Vec<FileRow>), Obstacle> {
    match jobs.store.recording(id).await? {
        Some(known) => Ok(known),
        None => stays("it is not known any more"),
    }
}

/// Whether it is to be done at all, by the settings and by what a person has done at Zoom.
fn is_meant(jobs: &Jobs, recording: &RecordingRow) -> Result<(), Obstacle> {
    let identity = &recording.identity;
    if !jobs.after_archive.is_for(jobs.names.label(&identity.account_id), &identity.account_id) {
        return stays("after_archive leaves it where it is");
    }
    let may_go_on = recording.state_at.is_some_and(|at| jobs.clock.now() - at < STILL_RECORDED);
    match recording.state {
        Some(RecordingState::Started | RecordingState::Paused | RecordingState::Stopped) if may_go_on => {
            let reason = "it may still be recorded".to_owned();
            Err(Obstacle::NotNow(Outcome::Later { reason, after: PROCESSING_REST }))
        }
        Some(RecordingState::Recovered) => stays("somebody has taken it out of the trash"),
        Some(state) if state.is_leaving() => stays(format!("it is {state} already")),
        _ if jobs.accounts.know(identity) => Ok(()),
        _ => stays("there are no credentials for its account"),
    }
}

/// Whether every file is archived beyond doubt, or deliberately not taken; and there is something archived at all.
fn is_complete(files: &[FileRow]) -> Result<(), Obstacle> {
    let is_settled = |file: &&FileRow| matches!(file.state, FileState::Archived | FileState::Skipped);
    if let Some(open) = files.iter().find(|file| !is_settled(file)) {
        return stays(format!("its file {} is {}", open.id, open.state));
    }
    let doubt = files.iter().find_map(|file| Some((file.id, file.archived.as_ref()?.mark.as_ref()?)));
    if let Some((file, mark)) = doubt {
        return stays(format!("its file {file} is marked: {mark}"));
    }
    if files.iter().all(|file| file.archived.is_none()) {
        return stays("nothing of it is archived");
    }
    Ok(())
}

/// Whether the last file has been in the archive for as long as was asked for.
fn is_long_enough_ago(jobs: &Jobs, files: &[FileRow]) -> Result<(), Obstacle> {
    let last = files.iter().filter_map(|file| file.archived_at).max();
    let wait = TimeDelta::from_std(jobs.after_archive.wait()).unwrap_or(TimeDelta::MAX);
    let left = last.map_or(wait, |last| wait - (jobs.clock.now() - last));
    match left.to_std() {
        Ok(after) if !after.is_zero() => {
            let reason = "after_archive.wait_hours are not over".to_owned();
            Err(Obstacle::NotNow(Outcome::Later { reason, after }))
        }
        _ => Ok(()),
    }
}

/// Asks Zoom what it has of the recording now. Everything must be here, of the size that Zoom says, and nothing more may be
/// expected. What is not known is recorded: its transfer brings the job back.
async fn whole_at_zoom(
    jobs: &Jobs,
    context: &JobContext,
    recording: &RecordingRow,
    files: &[FileRow],
) -> Result<Event, Obstacle> {
    let event = match alive_while(context, jobs.accounts.recording(&recording.identity)).await {
        Ok(event) => event,
        Err(ApiError::NotFound(words)) => return stays(format!("Zoom has it no more: {words}")),
        Err(error) => return Err(refused(error)),
    };
    let Some(answer) = announced(&event) else { return stays("Zoom's answer cannot be read") };
    if answer.files.is_empty() {
        return stays("Zoom lists no files of it");
    }
    let is_webinar = meeting_kind(&answer.recording.metadata) == RecordingKind::Webinar;
    if recording.identity.kind == RecordingKind::Meeting && is_webinar {
        return stays("it is a webinar, and stands in the record as one");
    }
    if let Some(odd) = answer.odd.first() {
        return stays(format!("a part of Zoom's answer cannot be read: {odd}"));
    }
    if compare(&jobs.store, &event).await?.tally.missing_files > 0 {
        let recorded = jobs.store.record(&event).await?;
        if recorded.new_files == recorded.skipped {
            // None of them is fetched, so none brings the job back.
            let reason = "Zoom has more files of it, which are left out".to_owned();
            return Err(Obstacle::NotNow(Outcome::Later { reason, after: Duration::ZERO }));
        }
        return stays("Zoom has more files of it; they are fetched first");
    }
    let is_processing = answer.files.iter().any(AnnouncedFile::is_processing);
    let here = (recording.clone(), files.to_vec());
    if is_processing || is_more_expected(answer, Some(&here), &jobs.reconcile, jobs.clock.now()) {
        let reason = "more files of it are to be expected".to_owned();
        return Err(Obstacle::NotNow(Outcome::Later { reason, after: PROCESSING_REST }));
    }
    for (file, row) in answer.files.iter().zip(rows_of(&answer.files, files)) {
        let Some((row, archived)) = row.and_then(|row| Some((row, row.archived.as_ref()?))) else { continue };
        if file.announced_bytes.is_some_and(|bytes| bytes != archived.bytes) {
            return stays(format!("Zoom names another size of its file {} than was archived", row.id));
        }
        if announced_sha256(&file.metadata).is_some_and(|sha256| sha256 != archived.sha256) {
            return stays(format!("Zoom names another SHA-256 of its file {} than was archived", row.id));
        }
    }
    Ok(event)
}

/// What Zoom does not let us do may be mended there at any time: nothing else would bring the job back.
fn refused(error: ApiError) -> Obstacle {
    match error {
        ApiError::NotAllowed(_) => {
            warn!(%error, "a recording stays at Zoom");
            Obstacle::NotNow(Outcome::Later { reason: error.to_string(), after: PROCESSING_REST })
        }
        error => error.into(),
    }
}

/// Reads an object back, and compares it with what was proven when it was archived.
async fn agrees(jobs: &Jobs, context: &JobContext, archived: &ArchivedFile) -> Result<(), Obstacle> {
    let key = &archived.object_key;
    let (bytes, sha256) = read_back(jobs.archive.as_ref(), key, |bytes| context.advance(bytes)).await?;
    if (bytes, sha256) == (archived.bytes, archived.sha256) {
        return Ok(());
    }
    let reason =
        format!("the object under {key} is not what was archived: nothing is removed at Zoom; look at it");
    warn!(object.key = key, bytes, "an object does not read back as it was archived");
    Err(Obstacle::NotNow(Outcome::Park { waits_for: WaitsFor::Person, reason }))
}

/// Whether the record is what it was when the checks began: an event may have come meanwhile.
async fn is_unchanged(jobs: &Jobs, recording: &RecordingRow, files: &[FileRow]) -> Result<(), Obstacle> {
    let (now, files_now) = known(jobs, recording.id).await?;
    is_meant(jobs, &now)?;
    is_complete(&files_now)?;
    let ids = |files: &[FileRow]| files.iter().map(|file| file.id).collect::<BTreeSet<FileId>>();
    if ids(&files_now) == ids(files) { Ok(()) } else { stays("more files of it have come meanwhile") }
}

/// What is removed.
enum Plan {
    /// All of it at once.
    Whole,
    /// These files, by Zoom's ids. What has none can only go with its recording, and stays.
    Files(Vec<String>),
}

impl Plan {
    /// The whole recording only when every file that Zoom has of it is archived and to be removed.
    fn new(jobs: &Jobs, files: &[FileRow], at_zoom: &Event) -> Self {
        let goes = |row: Option<&FileRow>| {
            row.is_some_and(|row| row.archived.is_some() && jobs.after_archive.removes(&row.file_type))
        };
        let answer = announced(at_zoom).map(|answer| answer.files.as_slice()).unwrap_or_default();
        let listed = answer.iter().zip(rows_of(answer, files));
        let (going, staying): (Vec<_>, Vec<_>) = listed.partition(|(_, row)| goes(*row));
        if staying.is_empty() && files.iter().all(|row| goes(Some(row))) {
            return Self::Whole;
        }
        // The same id may stand in two lists, of which one stays.
        let id = |(file, _): (&AnnouncedFile, _)| id_at_zoom(file);
        let kept: BTreeSet<_> = staying.into_iter().filter_map(id).collect();
        Self::Files(going.into_iter().filter_map(id).filter(|id| !kept.contains(id)).collect())
    }
}

/// Zoom's id of a file; its name is another where it has none.
fn id_at_zoom(file: &AnnouncedFile) -> Option<String> {
    let id = match file.metadata.get("id")? {
        Value::String(id) => id.clone(),
        Value::Number(id) => id.to_string(),
        _ => return None,
    };
    (id == file.identity.name).then_some(id)
}

async fn carry_out(
    jobs: &Jobs,
    context: &JobContext,
    recording: &RecordingRow,
    plan: &Plan,
) -> Result<(), Obstacle> {
    let (how, word, state) = match jobs.after_archive.at_zoom {
        AtZoom::Keep => return stays("after_archive leaves it where it is"),
        AtZoom::Trash => (Removal::Trash, "trashed", RecordingState::Trashed),
        AtZoom::Delete => (Removal::Delete, "deleted", RecordingState::Deleted),
    };
    let identity = &recording.identity;
    let Some(account) = jobs.accounts.for_recordings(&identity.account_id, identity.kind) else {
        return stays("there are no credentials for its account");
    };
    let wanted: Vec<Option<&str>> = match plan {
        Plan::Whole => vec![None],
        Plan::Files(ids) => ids.iter().map(|id| Some(id.as_str())).collect(),
    };
    for file in &wanted {
        match alive_while(context, account.api.remove(identity, *file, how)).await {
            // Removed before, by a run that could not write it down, or by somebody else.
            Ok(()) | Err(ApiError::NotFound(_)) => {}
            Err(error) => return Err(refused(error)),
        }
        let file = file.unwrap_or("all");
        info!(recording.id = %recording.id, file, what = word, "removed at Zoom, after it was read back from the archive");
    }
    metrics::counter!("zoom_archiver_removed_at_zoom_total", "how" => word).increment(wanted.len() as u64);
    if matches!(plan, Plan::Whole) {
        jobs.store.record(&Event::of_state(jobs.clock.now(), identity, state)).await?;
    }
    Ok(())
}
