//! Files of a recording that are known before an announcement of it is written, and what the announcement means for them.

use std::collections::BTreeSet;

use sqlx::FromRow;
use uuid::Uuid;

use super::moment::Moment;
use crate::domain::file_identity::{Description, resolve};
use crate::domain::ids::FileId;
use crate::domain::recording::{AnnouncedFile, Announcement, Change, FileIdentity, RecordingState, Scope};

/// Who has decided about a file that Zoom listed while it worked on it, and replaced by others.
pub(super) const PLACEHOLDER: &str = "placeholder";
/// Why such a file is skipped.
pub(super) const REPLACED: &str =
    "placeholder: Zoom listed it while it was processing the recording, and replaced it by other files";

/// How a file stands at Zoom by itself, in SQL: whatever happened to its recording later happened to it, too, unless it is
/// deleted.
macro_rules! own_zoom_state {
    ($file:literal) => {
        concat!(
            "CASE WHEN ",
            $file,
            ".zoom_state = 'deleted' OR NOT COALESCE(recordings.state IN ('trashed', 'deleted', 'recovered')
                AND recordings.state_at > ",
            $file,
            ".zoom_state_at, false) THEN ",
            $file,
            ".zoom_state END"
        )
    };
}

pub(super) use own_zoom_state;

/// The columns of a [`KnownFile`] but for its number, from `recordings` and `files`.
macro_rules! known_file_columns {
    () => {
        concat!(
            "files.id, files.collection, files.name, files.file_type, files.recording_start, files.state,
            files.object_key IS NOT NULL AS is_placed, files.decided_by, ",
            own_zoom_state!("files"),
            " AS zoom_state, CASE WHEN recordings.state = 'completed' THEN recordings.state_at END AS completed_at"
        )
    };
}

pub(super) use known_file_columns;

/// A row of `files`, as far as it tells which file it is and how it stands.
#[derive(Debug, Clone, FromRow)]
pub(super) struct KnownFile {
    /// Which of several events it was looked up for, from 1.
    pub(super) number: i64,
    id: Uuid,
    collection: String,
    name: String,
    file_type: String,
    recording_start: Option<Moment>,
    state: String,
    is_placed: bool,
    decided_by: Option<String>,
    zoom_state: Option<String>,
    /// When Zoom completed the recording, if that is its state.
    completed_at: Option<Moment>,
}

impl KnownFile {
    pub(super) fn id(&self) -> FileId {
        FileId(self.id)
    }

    fn identity(&self) -> FileIdentity {
        FileIdentity { collection: self.collection.clone(), name: self.name.clone() }
    }

    pub(super) fn describe(&self) -> Description {
        Description::new(&self.identity(), &self.file_type, self.recording_start.map(|start| start.0))
    }

    /// Whether Zoom listed it and never said what it is.
    fn is_placeholder(&self) -> bool {
        let is_open = matches!(self.state.as_str(), "pending" | "parked" | "dead");
        is_open && self.file_type.is_empty() && !self.is_placed
    }

    fn was_replaced(&self) -> bool {
        self.state == "skipped" && self.decided_by.as_deref() == Some(PLACEHOLDER)
    }

    /// Whether an event that moves all of its recording would have to name it.
    fn is_moved_with_recording(&self, state: RecordingState) -> bool {
        let has_left = match self.zoom_state.as_deref() {
            Some("deleted") => true,
            Some("trashed") => state.is_leaving(),
            _ => false,
        };
        !has_left && self.state != "gone" && !self.is_placeholder() && !self.was_replaced()
    }
}

/// Single files that an event moves at Zoom, while their recording stays.
#[derive(Debug, Clone)]
pub(super) struct SingleFiles {
    pub(super) state: RecordingState,
    pub(super) identities: Vec<FileIdentity>,
}

/// The files that a change is about, where it is not about the whole recording.
pub(super) fn single_files(change: Change, scope: &Scope, known: &[KnownFile]) -> Option<SingleFiles> {
    let state = change.state.filter(|it| it.is_leaving() || *it == RecordingState::Recovered)?;
    let identities = match scope {
        Scope::Recording => return None,
        Scope::Ids(ids) => {
            let ids: BTreeSet<_> = ids.iter().collect();
            known.iter().filter(|file| ids.contains(&file.name)).map(KnownFile::identity).collect()
        }
        Scope::Listed(files) => {
            let described: Vec<_> = known.iter().map(KnownFile::describe).collect();
            let resolution = resolve(files, &described);
            let named: BTreeSet<_> = resolution.identities.into_iter().collect();
            let is_unnamed = |(place, file): (usize, &KnownFile)| {
                described[place].has_id
                    && !named.contains(&file.identity())
                    && named.iter().any(|named| named.collection == file.collection)
                    && file.is_moved_with_recording(state)
            };
            if !known.iter().enumerate().any(is_unnamed) {
                return None;
            }
            named.into_iter().collect()
        }
    };
    Some(SingleFiles { state, identities })
}

/// What an announcement means for files of which Zoom had not said what they are.
#[derive(Debug, Clone, Default)]
pub(super) struct Placeholders {
    /// Other files have come in their place.
    pub(super) replaced: Vec<FileId>,
    /// They are files after all.
    pub(super) returned: Vec<FileId>,
}

impl Placeholders {
    /// `identities` are those of the announced files, in their order.
    pub(super) fn new(announcement: &Announcement, identities: &[FileIdentity], known: &[KnownFile]) -> Self {
        let typed: BTreeSet<_> = announcement
            .files
            .iter()
            .zip(identities)
            .filter_map(|(file, identity)| (!file.file_type.is_empty()).then_some(identity))
            .collect();
        let announced: BTreeSet<_> = identities.iter().collect();
        let has_files = |list: &str| typed.iter().any(|identity| identity.collection == list);
        let is_replaced = |file: &&KnownFile| {
            file.is_placeholder() && has_files(&file.collection) && !announced.contains(&file.identity())
        };
        let replaced = match lists_everything(announcement) {
            true => known.iter().filter(is_replaced).map(KnownFile::id).collect(),
            false => Vec::new(),
        };
        let is_returned = |file: &&KnownFile| file.was_replaced() && typed.contains(&file.identity());
        Self { replaced, returned: known.iter().filter(is_returned).map(KnownFile::id).collect() }
    }
}

/// Whether an announcement names all files of its lists, as a completed recording and an answer of the API do.
fn lists_everything(announcement: &Announcement) -> bool {
    let is_answer = announcement.happened_at.is_none() && announcement.change == Change::default();
    announcement.odd.is_empty() && (is_answer || announcement.change.state == Some(RecordingState::Completed))
}

/// Whether an event that comes late announces a file without a type that Zoom has replaced by others since.
pub(super) fn is_replaced_already(
    file: &AnnouncedFile,
    identity: &FileIdentity,
    announcement: &Announcement,
    known: &[KnownFile],
) -> bool {
    let is_older = |known: &KnownFile| {
        known.completed_at.zip(announcement.happened_at).is_some_and(|(completed, at)| at < completed.0)
    };
    let mut others = known.iter().filter(|known| known.collection == identity.collection);
    file.file_type.is_empty() && others.any(|known| !known.file_type.is_empty() && is_older(known))
}

/// Whether Zoom is asked by period about a file that it offers no URL of: while it works on it.
pub(super) fn is_in_the_making(file: &AnnouncedFile) -> bool {
    file.file_type.is_empty() || file.is_processing()
}
