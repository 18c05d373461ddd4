//! Zoom, database and archive against each other, file by file. Reads only: one page of a list at a time, and one look
//! into the archive for each archived file.

use std::collections::{BTreeMap, HashSet};

use chrono::{DateTime, NaiveTime, Utc};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use super::ReconcileError;
use super::compare::announced;
use super::source::Source;
use crate::archive::SharedArchive;
use crate::domain::file::{FileRow, FileState};
use crate::domain::file_identity::rows_of;
use crate::domain::ids::{FileId, RecordingId};
use crate::domain::recording::{
    AnnouncedFile, AnnouncedRecording, Announcement, FileIdentity, RecordingIdentity,
};
use crate::store::SharedStore;
use crate::zoom::api::days::Days;

/// Recordings read from the database at a time.
const PAGE: u32 = 500;

/// How a file stands in the three places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// At Zoom, in the database, in the archive.
    Everywhere,
    /// The same, archived with a warning: another try to fetch it may bring something else, as long as Zoom has it.
    Warning,
    /// In the archive, and Zoom has it no more, or does not list it.
    NotAtZoom,
    /// Deliberately not taken.
    Skipped,
    /// At Zoom alone.
    NotInDatabase,
    /// At Zoom and in the database; it waits, or is parked, dead or taken for gone.
    NotArchived,
    /// Known to the database alone: Zoom does not list it, and it is not in the archive.
    Lost,
    /// Archived, as the database says; but there is no such object.
    NotInArchive,
    /// Archived, but the object has another size than was proven, or Zoom names another one that was not noted.
    Differs,
}

impl Standing {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Everywhere,
        Self::Warning,
        Self::NotAtZoom,
        Self::Skipped,
        Self::NotInDatabase,
        Self::NotArchived,
        Self::Lost,
        Self::NotInArchive,
        Self::Differs,
    ];

    /// The word used in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Everywhere => "everywhere",
            Self::Warning => "warning",
            Self::NotAtZoom => "not_at_zoom",
            Self::Skipped => "skipped",
            Self::NotInDatabase => "not_in_database",
            Self::NotArchived => "not_archived",
            Self::Lost => "lost",
            Self::NotInArchive => "not_in_archive",
            Self::Differs => "differs",
        }
    }

    /// What it means, for people.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Everywhere => "at Zoom, in the database, in the archive",
            Self::Warning => "archived with a warning: `files retry` fetches it again",
            Self::NotAtZoom => "in the archive; Zoom does not list it (any more)",
            Self::Skipped => "deliberately not taken",
            Self::NotInDatabase => "at Zoom alone: `backfill` takes it",
            Self::NotArchived => "at Zoom and known, not archived (yet)",
            Self::Lost => "known, but neither at Zoom nor in the archive",
            Self::NotInArchive => "archived once, but the object is not there",
            Self::Differs => "the object has another size than was proven",
        }
    }

    /// Whether nothing is to be done about it.
    #[must_use]
    pub fn is_clean(self) -> bool {
        matches!(self, Self::Everywhere | Self::NotAtZoom | Self::Skipped)
    }
}

/// Which file of a recording a finding is about.
#[derive(Debug, Clone, Serialize)]
pub struct FoundFile {
    /// What makes it the same file.
    #[serde(flatten)]
    pub identity: FileIdentity,
    /// `recording_type`, empty when Zoom gave none.
    pub recording_type: String,
}

/// One file, and how it stands.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// How it stands.
    pub standing: Standing,
    /// Its recording.
    pub recording: RecordingIdentity,
    /// Of the recording.
    pub topic: Option<String>,
    /// Of the recording.
    pub start_time: Option<DateTime<Utc>>,
    /// Which file of it.
    pub file: FoundFile,
    /// Such as `MP4`.
    pub file_type: String,
    /// Its row, where there is one.
    pub file_id: Option<FileId>,
    /// The row's state.
    pub state: Option<FileState>,
    /// Why it is in that state.
    pub reason: Option<String>,
    /// Where the object is, or would be.
    pub object_key: Option<String>,
    /// Size that Zoom names.
    pub zoom_bytes: Option<u64>,
    /// Size that was proven.
    pub archived_bytes: Option<u64>,
    /// Size of the object.
    pub object_bytes: Option<u64>,
    /// Whether Zoom lists it.
    #[serde(skip)]
    at_zoom: bool,
    /// Size that Zoom had named when the file was archived: one that differs from what came has been asked for twice, and
    /// noted.
    #[serde(skip)]
    noted_bytes: Option<u64>,
    /// Whether it was archived with a warning.
    #[serde(skip)]
    has_warning: bool,
}

impl Finding {
    fn of_zoom(announcement: &Announcement, file: &AnnouncedFile, row: Option<&FileRow>) -> Self {
        let AnnouncedRecording { identity, topic, start_time, .. } = &announcement.recording;
        let mut finding = Self {
            standing: Standing::NotInDatabase,
            recording: identity.clone(),
            topic: topic.clone(),
            start_time: *start_time,
            file: FoundFile { identity: file.identity.clone(), recording_type: file.recording_type.clone() },
            file_type: file.file_type.clone(),
            file_id: None,
            state: None,
            reason: None,
            object_key: None,
            zoom_bytes: file.announced_bytes,
            archived_bytes: None,
            object_bytes: None,
            at_zoom: true,
            noted_bytes: None,
            has_warning: false,
        };
        if let Some(row) = row {
            finding.take(row);
        }
        finding
    }

    fn of_row(
        recording: &RecordingIdentity,
        topic: Option<&str>,
        start_time: Option<DateTime<Utc>>,
        row: &FileRow,
    ) -> Self {
        let mut finding = Self {
            standing: Standing::Lost,
            recording: recording.clone(),
            topic: topic.map(str::to_owned),
            start_time,
            file: FoundFile { identity: row.identity.clone(), recording_type: row.recording_type.clone() },
            file_type: row.file_type.clone(),
            file_id: None,
            state: None,
            reason: None,
            object_key: None,
            zoom_bytes: None,
            archived_bytes: None,
            object_bytes: None,
            at_zoom: false,
            noted_bytes: None,
            has_warning: false,
        };
        finding.take(row);
        finding
    }

    fn take(&mut self, row: &FileRow) {
        self.file_id = Some(row.id);
        self.state = Some(row.state);
        let warning = row.archived.as_ref().and_then(|archived| archived.mark.as_ref());
        self.reason = row.reason.as_ref().or(warning).cloned();
        self.has_warning = warning.is_some();
        self.object_key.clone_from(&row.object_key);
        self.archived_bytes = row.archived.as_ref().map(|archived| archived.bytes);
        self.noted_bytes = row.announced_bytes;
    }

    /// Looks into the archive, and decides.
    async fn judged(mut self, archive: &SharedArchive) -> Result<Self, ReconcileError> {
        if let (Some(FileState::Archived), Some(key)) = (self.state, &self.object_key) {
            self.object_bytes = archive.inspect(key).await?.map(|object| object.bytes);
        }
        self.standing = self.standing();
        Ok(self)
    }

    fn standing(&self) -> Standing {
        let zoom_differs = || {
            let zoom = self.zoom_bytes;
            zoom.is_some() && zoom != self.archived_bytes && zoom != self.noted_bytes
        };
        match (self.state, self.object_bytes) {
            (None, _) => Standing::NotInDatabase,
            (Some(FileState::Skipped), _) => Standing::Skipped,
            (Some(FileState::Archived), None) => Standing::NotInArchive,
            (Some(FileState::Archived), object) if object != self.archived_bytes => Standing::Differs,
            (Some(FileState::Archived), _) if zoom_differs() => Standing::Differs,
            (Some(FileState::Archived), _) if self.at_zoom && self.has_warning => Standing::Warning,
            (Some(FileState::Archived), _) if self.at_zoom => Standing::Everywhere,
            (Some(FileState::Archived), _) => Standing::NotAtZoom,
            (Some(_), _) if self.at_zoom => Standing::NotArchived,
            (Some(_), _) => Standing::Lost,
        }
    }
}

/// Files and bytes, by how they stand.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts(pub BTreeMap<Standing, u64>);

impl Counts {
    /// Whether nothing is to be done about any file.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.0.iter().all(|(standing, files)| standing.is_clean() || *files == 0)
    }

    /// How many stand like this.
    #[must_use]
    pub fn of(&self, standing: Standing) -> u64 {
        self.0.get(&standing).copied().unwrap_or_default()
    }
}

/// A report that is being made.
pub struct Report<'a> {
    /// The database.
    pub store: &'a SharedStore,
    /// The archive.
    pub archive: &'a SharedArchive,
    /// Objects looked at at once.
    pub objects_at_once: usize,
    /// What was found so far.
    pub counts: Counts,
    /// Entries of lists that could not be read, in words.
    pub odd: Vec<String>,
    /// Days that Zoom does not list, in words.
    pub unlisted: Vec<String>,
    seen: HashSet<RecordingId>,
}

/// Most odd entries that are kept in words.
const MOST_ODD: usize = 100;

impl<'a> Report<'a> {
    /// An empty one.
    #[must_use]
    pub fn new(store: &'a SharedStore, archive: &'a SharedArchive, objects_at_once: u32) -> Self {
        Self {
            store,
            archive,
            objects_at_once: usize::try_from(objects_at_once).unwrap_or(1).max(1),
            counts: Counts::default(),
            odd: Vec::new(),
            unlisted: Vec::new(),
            seen: HashSet::new(),
        }
    }

    /// Reads a list, and compares. `see` is shown every file.
    ///
    /// # Errors
    /// See [`ReconcileError`].
    pub async fn read(
        &mut self,
        source: &Source<'_>,
        days: Days,
        see: &mut (dyn FnMut(&Finding) + Send),
    ) -> Result<(), ReconcileError> {
        let mut listing = source.read(days);
        while let Some(page) = listing.next().await? {
            self.unlisted.extend(page.unlisted.into_iter().map(|days| source.unlisted(days)));
            let room = MOST_ODD.saturating_sub(self.odd.len());
            self.odd.extend(page.odd.into_iter().take(room));
            let mut findings = Vec::new();
            for event in &page.events {
                let Some(announcement) = announced(event) else { continue };
                let known = self.store.find(&announcement.recording.identity).await?;
                let rows = known.as_ref().map(|(_, rows)| rows.as_slice()).unwrap_or_default();
                let of_files = rows_of(&announcement.files, rows);
                let listed = announcement.files.iter().zip(&of_files);
                findings.extend(listed.map(|(file, row)| Finding::of_zoom(announcement, file, *row)));
                if let Some((recording, rows)) = &known {
                    self.seen.insert(recording.id);
                    let is_listed =
                        |row: &FileRow| of_files.iter().flatten().any(|listed| listed.id == row.id);
                    findings.extend(rows.iter().filter(|row| !is_listed(row)).map(|row| {
                        let (topic, start) = (recording.topic.as_deref(), recording.start_time);
                        Finding::of_row(&recording.identity, topic, start, row)
                    }));
                }
            }
            self.judge(findings, see).await?;
        }
        Ok(())
    }

    /// Goes through the recordings of these days that the database knows and no list had; with `only` those that these
    /// lists would have had.
    ///
    /// # Errors
    /// See [`ReconcileError`].
    pub async fn read_record(
        &mut self,
        only: Option<&[Source<'_>]>,
        days: Days,
        see: &mut (dyn FnMut(&Finding) + Send),
    ) -> Result<(), ReconcileError> {
        let would_have = |identity: &RecordingIdentity| {
            only.is_none_or(|sources| sources.iter().any(|source| source.is_whole_for(identity)))
        };
        let [from, until] = [days.from, days.until].map(|day| day.and_time(NaiveTime::MIN).and_utc());
        let mut after = None;
        loop {
            let page = self.store.began_between(from, until, after, PAGE).await?;
            let mut findings = Vec::new();
            for recording in &page {
                if self.seen.contains(&recording.id) || !would_have(&recording.identity) {
                    continue;
                }
                let Some((recording, rows)) = self.store.recording(recording.id).await? else { continue };
                let (topic, start) = (recording.topic.as_deref(), recording.start_time);
                findings
                    .extend(rows.iter().map(|row| Finding::of_row(&recording.identity, topic, start, row)));
            }
            self.judge(findings, see).await?;
            match page.last() {
                Some(last) if page.len() == PAGE as usize => after = Some(last.id),
                _ => return Ok(()),
            }
        }
    }

    async fn judge(
        &mut self,
        findings: Vec<Finding>,
        see: &mut (dyn FnMut(&Finding) + Send),
    ) -> Result<(), ReconcileError> {
        let archive = self.archive;
        let judged = stream::iter(findings.into_iter().map(|finding| finding.judged(archive)));
        let judged: Vec<_> = judged.buffered(self.objects_at_once).try_collect().await?;
        for finding in judged {
            *self.counts.0.entry(finding.standing).or_default() += 1;
            see(&finding);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::file::{ArchivedFile, Sha256Digest};
    use crate::domain::ids::EventId;
    use crate::domain::recording::RecordingKind;

    fn identity() -> FileIdentity {
        FileIdentity { collection: "recording_files".to_owned(), name: "f".to_owned() }
    }

    fn finding(
        state: Option<FileState>,
        zoom: Option<u64>,
        archived: Option<u64>,
        object: Option<u64>,
    ) -> Finding {
        Finding {
            standing: Standing::Lost,
            recording: RecordingIdentity {
                account_id: "a".to_owned(),
                kind: RecordingKind::VideoSdk,
                instance_id: "s".to_owned(),
            },
            topic: None,
            start_time: None,
            file: FoundFile { identity: identity(), recording_type: String::new() },
            file_type: "MP4".to_owned(),
            file_id: None,
            state,
            reason: None,
            object_key: None,
            zoom_bytes: zoom,
            archived_bytes: archived,
            object_bytes: object,
            at_zoom: zoom.is_some(),
            noted_bytes: None,
            has_warning: false,
        }
    }

    #[test]
    fn each_way_to_stand_in_the_three_places_has_its_word() {
        let archived = Some(FileState::Archived);
        for (state, zoom, proven, object, standing) in [
            (archived, Some(1), Some(1), Some(1), Standing::Everywhere),
            (archived, None, Some(1), Some(1), Standing::NotAtZoom),
            (archived, Some(1), Some(1), None, Standing::NotInArchive),
            (archived, None, Some(1), None, Standing::NotInArchive),
            (archived, Some(1), Some(1), Some(2), Standing::Differs),
            (archived, Some(2), Some(1), Some(1), Standing::Differs),
            (None, Some(1), None, None, Standing::NotInDatabase),
            (Some(FileState::Pending), Some(1), None, None, Standing::NotArchived),
            (Some(FileState::Gone), Some(1), None, None, Standing::NotArchived),
            (Some(FileState::Dead), None, None, None, Standing::Lost),
            (Some(FileState::Skipped), Some(1), None, None, Standing::Skipped),
        ] {
            assert_eq!(finding(state, zoom, proven, object).standing(), standing);
        }
    }

    #[test]
    fn a_size_that_was_noted_when_the_file_was_archived_is_no_difference() {
        let mut noted = finding(Some(FileState::Archived), Some(2), Some(1), Some(1));
        noted.noted_bytes = Some(2);
        assert_eq!(noted.standing(), Standing::Everywhere);
        // Now it has yet another size at Zoom.
        noted.zoom_bytes = Some(3);
        assert_eq!(noted.standing(), Standing::Differs);
    }

    #[test]
    fn a_file_that_is_suspect_for_other_reasons_differs_all_the_same() {
        let mut row = row(&identity());
        let mut suspect = finding(None, Some(2), None, None);
        suspect.take(&row);
        suspect.object_bytes = Some(1);
        assert_eq!(suspect.standing(), Standing::Differs);
        row.announced_bytes = Some(2);
        suspect.take(&row);
        assert_eq!(suspect.standing(), Standing::Warning, "that was noted, and something else is suspect");
        suspect.at_zoom = false;
        assert_eq!(suspect.standing(), Standing::NotAtZoom, "nothing better is to be had");
    }

    /// An archived file of one byte that is suspect, and of which Zoom had named no size.
    fn row(identity: &FileIdentity) -> FileRow {
        let archived = ArchivedFile {
            object_key: "k".to_owned(),
            bytes: 1,
            sha256: Sha256Digest([0; 32]),
            content_type: "video/mp4".to_owned(),
            store_checksum: None,
            etag: None,
            version_id: None,
            mark: Some("suspect: no moov".to_owned()),
        };
        FileRow {
            id: FileId::new(),
            recording_id: RecordingId::new(),
            identity: identity.clone(),
            recording_type: String::new(),
            file_type: "MP4".to_owned(),
            extension: String::new(),
            recording_start: None,
            announced_bytes: None,
            metadata: serde_json::Map::new(),
            token_expires_at: None,
            loses_at: None,
            zoom_state: None,
            zoom_state_at: None,
            state: FileState::Archived,
            reason: None,
            object_key: Some("k".to_owned()),
            archived: Some(archived),
            archived_at: Some(DateTime::UNIX_EPOCH),
            verified_at: None,
            found: None,
            proven_before: None,
            earlier_objects: Vec::new(),
            first_event_id: EventId::new(),
            announced_at: DateTime::UNIX_EPOCH,
        }
    }
}
