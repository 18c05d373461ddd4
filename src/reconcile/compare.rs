//! One recording of a list against the record: what of it is missing here.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;

use crate::config::reconcile::ReconcileConfig;
use crate::domain::event::{Event, EventContent};
use crate::domain::file::{FileRow, FileState, RecordingRow};
use crate::domain::recording::{AnnouncedFile, Announcement, TextState};
use crate::store::{SharedStore, StoreError};

/// What was found about one recording.
#[derive(Debug)]
pub struct Compared {
    /// What is known of it here.
    pub known: Option<(RecordingRow, Vec<FileRow>)>,
    /// Its files, counted.
    pub tally: Tally,
}

/// Files of recordings, counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Recordings that Zoom has.
    pub recordings: u64,
    /// Files that Zoom has.
    pub files: u64,
    /// Their size in bytes, as far as Zoom says it.
    pub bytes: u64,
    /// Those of them that the database knows.
    pub known_files: u64,
    /// Those of them that it does not know.
    pub missing_files: u64,
    /// The size of those, in bytes.
    pub missing_bytes: u64,
    /// Those that it knows, but without access to them: parked, or taken for gone.
    pub waiting_files: u64,
}

impl Tally {
    /// Adds another one.
    pub fn add(&mut self, other: &Self) {
        self.recordings += other.recordings;
        self.files += other.files;
        self.bytes += other.bytes;
        self.known_files += other.known_files;
        self.missing_files += other.missing_files;
        self.missing_bytes += other.missing_bytes;
        self.waiting_files += other.waiting_files;
    }

    /// Whether recording what Zoom says would bring anything: a file that is not known, or fresh access to one that
    /// waits for it.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.missing_files + self.waiting_files > 0
    }
}

/// Looks up what an entry of a list is about, and counts.
///
/// # Errors
/// [`StoreError`].
pub async fn compare(store: &SharedStore, event: &Event) -> Result<Compared, StoreError> {
    let Some(announcement) = announced(event) else {
        return Ok(Compared { known: None, tally: Tally::default() });
    };
    let known = store.find(&announcement.recording.identity).await?;
    let rows = known.as_ref().map(|(_, files)| files.as_slice()).unwrap_or_default();
    let tally = tally(announcement, rows);
    Ok(Compared { known, tally })
}

/// What an entry of a list says.
#[must_use]
pub fn announced(event: &Event) -> Option<&Announcement> {
    match &event.content {
        EventContent::Announcement(announcement) => Some(announcement),
        EventContent::Unreadable { .. } => None,
    }
}

fn tally(announcement: &Announcement, rows: &[FileRow]) -> Tally {
    let mut tally = Tally { recordings: 1, ..Tally::default() };
    for file in &announcement.files {
        let bytes = file.announced_bytes.unwrap_or_default();
        tally.files += 1;
        tally.bytes = tally.bytes.saturating_add(bytes);
        match row_of(file, rows) {
            None => {
                tally.missing_files += 1;
                tally.missing_bytes = tally.missing_bytes.saturating_add(bytes);
            }
            Some(row) => {
                tally.known_files += 1;
                let waits = matches!(row.state, FileState::Parked | FileState::Gone);
                tally.waiting_files += u64::from(waits && file.download_url.is_some());
            }
        }
    }
    tally
}

/// The row of a file that Zoom has.
#[must_use]
pub fn row_of<'a>(file: &AnnouncedFile, rows: &'a [FileRow]) -> Option<&'a FileRow> {
    rows.iter().find(|row| row.identity == file.identity)
}

/// Whether more of a recording is to be expected: it began within the last `late_hours`, and a file of a type that comes
/// late is neither in the list nor known, unless Zoom has said that it will not come.
#[must_use]
pub fn is_more_expected(
    announcement: &Announcement,
    known: Option<&(RecordingRow, Vec<FileRow>)>,
    config: &ReconcileConfig,
    now: DateTime<Utc>,
) -> bool {
    let began = announcement.recording.start_time.or_else(|| known.map(|(row, _)| row.announced_at));
    let is_young = began.is_some_and(|began| now - began <= TimeDelta::hours(config.late_hours.into()));
    let is_there = |wanted: &str| {
        announcement.files.iter().any(|file| file.file_type == wanted)
            || known.is_some_and(|(_, rows)| rows.iter().any(|row| row.file_type == wanted))
    };
    let has_failed = |wanted: &str| {
        let text = known.and_then(|(row, _)| match wanted {
            "TRANSCRIPT" => row.transcript,
            "SUMMARY" => row.summary,
            _ => None,
        });
        text == Some(TextState::Failed)
    };
    is_young && config.late_files.iter().any(|wanted| !is_there(wanted) && !has_failed(wanted))
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, json};

    use super::*;
    use crate::config::load::{Environment, load};
    use crate::domain::ids::{EventId, FileId, RecordingId};
    use crate::domain::recording::{RecordingIdentity, RecordingKind};
    use crate::zoom::payload;

    fn identity() -> RecordingIdentity {
        RecordingIdentity {
            account_id: "a".to_owned(),
            kind: RecordingKind::VideoSdk,
            instance_id: "s".to_owned(),
        }
    }

    fn announcement(types: &[&str]) -> Announcement {
        let file = |kind: &&str| json!({ "id": kind, "file_type": kind, "file_size": 10, "download_url": "https://zoom.us/x" });
        let answer = json!({
            "session_id": "s", "start_time": "2026-01-02T03:00:00Z",
            "recording_files": types.iter().map(file).collect::<Vec<_>>(),
        });
        payload::read_answer(&identity(), answer).unwrap().0
    }

    fn row(file: &AnnouncedFile, state: FileState) -> FileRow {
        FileRow {
            id: FileId::new(),
            recording_id: RecordingId::new(),
            identity: file.identity.clone(),
            file_type: file.file_type.clone(),
            extension: String::new(),
            recording_start: None,
            announced_bytes: None,
            metadata: Map::new(),
            token_expires_at: None,
            loses_at: None,
            state,
            reason: None,
            object_key: None,
            archived: None,
            archived_at: None,
            first_event_id: EventId::new(),
            announced_at: DateTime::UNIX_EPOCH,
        }
    }

    fn recording(transcript: Option<TextState>) -> RecordingRow {
        RecordingRow {
            id: RecordingId::new(),
            identity: identity(),
            topic: None,
            start_time: None,
            metadata: Map::new(),
            state: None,
            state_at: None,
            transcript,
            summary: None,
            folder: None,
            announced_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn what_is_not_known_and_what_waits_for_access_is_wanted_and_nothing_else() {
        let told = announcement(&["MP4", "M4A", "CHAT"]);
        let of = |state| told.files.iter().map(|file| row(file, state)).collect::<Vec<_>>();
        for state in [FileState::Archived, FileState::Pending, FileState::Skipped, FileState::Dead] {
            let tally = tally(&told, &of(state));
            assert_eq!((tally.files, tally.bytes, tally.known_files, tally.is_wanted()), (3, 30, 3, false));
        }
        for state in [FileState::Parked, FileState::Gone] {
            assert!(tally(&told, &of(state)).is_wanted(), "{state}");
        }
        let tally = tally(&told, &of(FileState::Archived)[1..]);
        assert_eq!((tally.missing_files, tally.missing_bytes, tally.is_wanted()), (1, 10, true));
    }

    #[test]
    fn late_files_are_expected_until_they_come_or_fail_or_the_time_is_over() {
        let config = load(None, &Environment::new()).unwrap().reconcile;
        let now = "2026-01-03T03:00:00Z".parse::<DateTime<Utc>>().unwrap();
        let is_expected = |types: &[&str], known: Option<&(RecordingRow, Vec<FileRow>)>, now| {
            is_more_expected(&announcement(types), known, &config, now)
        };
        assert!(is_expected(&["MP4"], None, now));
        assert!(is_expected(&["MP4", "TRANSCRIPT"], None, now), "the summary");
        assert!(!is_expected(&["MP4", "TRANSCRIPT", "SUMMARY"], None, now));
        assert!(!is_expected(&["MP4"], None, now + TimeDelta::hours(48)), "too old");
        let failed = (recording(Some(TextState::Failed)), Vec::new());
        assert!(!is_expected(&["MP4", "SUMMARY"], Some(&failed), now), "it will not come");
        let summary = row(&announcement(&["SUMMARY"]).files[0], FileState::Archived);
        let known = (recording(None), vec![summary]);
        assert!(!is_expected(&["MP4", "TRANSCRIPT"], Some(&known), now), "it is here already");
    }
}
