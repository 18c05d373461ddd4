//! One recording of a list against the record: what of it is missing here.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::config::reconcile::ReconcileConfig;
use crate::domain::event::{Event, EventContent};
use crate::domain::file::{FileRow, FileState, RecordingRow};
use crate::domain::file_identity::rows_of;
use crate::domain::recording::{Announcement, RecordingKind, TextState};
use crate::store::{SharedStore, StoreError};

/// What was found about one recording.
#[derive(Debug)]
pub struct Compared {
    /// What is known of it here.
    pub known: Option<(RecordingRow, Vec<FileRow>)>,
    /// Its files, counted.
    pub tally: Tally,
    /// Whether it says what nobody had said of a recording of which files are left out: the rules may take them now.
    pub says_more: bool,
}

impl Compared {
    /// Whether recording what Zoom says would bring anything.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.tally.is_wanted() || self.says_more
    }
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
        return Ok(Compared { known: None, tally: Tally::default(), says_more: false });
    };
    let known = store.find(&announcement.recording.identity).await?;
    let rows = known.as_ref().map(|(_, files)| files.as_slice()).unwrap_or_default();
    let tally = tally(announcement, rows);
    let says_more = known.as_ref().is_some_and(|known| says_more(announcement, known));
    Ok(Compared { known, tally, says_more })
}

/// Only where something is left out: whatever is taken has been judged by what was said of it then.
fn says_more(announcement: &Announcement, (recording, rows): &(RecordingRow, Vec<FileRow>)) -> bool {
    let told = &announcement.recording;
    let is_new = |told: &Map<String, Value>, known: &Map<String, Value>| {
        told.keys().any(|key| !known.contains_key(key))
    };
    let of_recording = || {
        let has_other_kind =
            told.identity.kind == RecordingKind::Webinar && recording.identity.kind != told.identity.kind;
        has_other_kind
            || told.topic.is_some() && recording.topic.is_none()
            || is_new(&told.metadata, &recording.metadata)
    };
    let listed = rows_of(&announcement.files, rows);
    let of_file = |row: &FileRow| {
        let mut told = announcement.files.iter().zip(&listed);
        told.any(|(file, listed)| {
            listed.is_some_and(|listed| listed.id == row.id)
                && (is_new(&file.metadata, &row.metadata)
                    || file.announced_bytes.is_some() && row.announced_bytes.is_none())
        })
    };
    rows.iter().any(|row| row.state == FileState::Skipped && (of_recording() || of_file(row)))
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
    for (file, row) in announcement.files.iter().zip(rows_of(&announcement.files, rows)) {
        let bytes = file.announced_bytes.unwrap_or_default();
        tally.files += 1;
        tally.bytes = tally.bytes.saturating_add(bytes);
        match row {
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
    use serde_json::json;

    use super::*;
    use crate::config::load::{Environment, load};
    use crate::domain::ids::{EventId, FileId, RecordingId};
    use crate::domain::recording::{AnnouncedFile, RecordingIdentity};
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
            recording_type: file.recording_type.clone(),
            file_type: file.file_type.clone(),
            extension: String::new(),
            recording_start: None,
            announced_bytes: None,
            metadata: Map::new(),
            token_expires_at: None,
            loses_at: None,
            zoom_state: None,
            zoom_state_at: None,
            state,
            reason: None,
            object_key: None,
            archived: None,
            archived_at: None,
            verified_at: None,
            found: None,
            proven_before: None,
            earlier_objects: Vec::new(),
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
    fn what_nobody_had_said_is_wanted_where_something_is_left_out() {
        let mut told = announcement(&["MP4"]);
        let known = |state| (recording(None), vec![row(&told.files[0], state)]);
        let (left_out, archived) = (known(FileState::Skipped), known(FileState::Archived));
        assert!(says_more(&told, &left_out) && !says_more(&told, &archived));
        let mut all_said = left_out;
        (all_said.0.metadata, all_said.0.topic) = (told.recording.metadata.clone(), Some("t".to_owned()));
        (all_said.1[0].metadata, all_said.1[0].announced_bytes) = (told.files[0].metadata.clone(), Some(1));
        assert!(!says_more(&told, &all_said));
        told.recording.metadata.insert("host_email".to_owned(), json!("ada@example.com"));
        assert!(says_more(&told, &all_said));
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
