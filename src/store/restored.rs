//! What a manifest brings back, as plain rows: the same for both databases.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::announcement::{clean, clean_json, clean_map};
use super::moment::Moment;
use crate::domain::file::{ArchivedObject, FileState};
use crate::domain::file_identity::{Description, lacks_id, resolve, stand_in};
use crate::domain::ids::{FileId, JobId, RecordingId};
use crate::domain::job::JobState;
use crate::domain::loss;
use crate::domain::manifest::{Manifest, ManifestFile, manifest_key};
use crate::domain::recording::{FileIdentity, RecordingIdentity, RecordingKind};

/// Name of the events that stand for what announced the files of a manifest.
pub(super) const REBUILT: &str = "archiver.rebuilt";
/// Why a file that was not archived is parked.
const WAITS: &str = "rebuilt from its manifest; it waits for Zoom to offer it again";

/// What a manifest has brought back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Restored {
    /// 1 when the recording was not known before.
    pub recordings: u64,
    /// Files of it.
    pub files: u64,
}

/// A recording as it is brought back.
pub(super) struct RestoredRecording {
    pub(super) id: RecordingId,
    pub(super) identity: RecordingIdentity,
    pub(super) topic: Option<String>,
    pub(super) start_time: Option<Moment>,
    pub(super) metadata: Map<String, Value>,
    pub(super) folder: String,
    pub(super) announced_at: Moment,
    pub(super) state: Option<&'static str>,
    pub(super) state_at: Option<Moment>,
    pub(super) transcript: Option<&'static str>,
    pub(super) summary: Option<&'static str>,
    pub(super) auto_delete_at: Option<Moment>,
    /// Body of its events.
    pub(super) body: Vec<u8>,
    /// The events that had announced its files, and when they came.
    pub(super) events: Vec<(Uuid, Moment)>,
    pub(super) files: Vec<RestoredFile>,
}

/// A file as it is brought back. Serialised for Postgres, whose columns bear the same names.
#[derive(Serialize)]
pub(super) struct RestoredFile {
    pub(super) id: Uuid,
    pub(super) job: Uuid,
    pub(super) job_state: &'static str,
    pub(super) collection: String,
    pub(super) name: String,
    pub(super) recording_type: String,
    pub(super) file_type: String,
    pub(super) extension: String,
    pub(super) recording_start: Option<String>,
    pub(super) announced_bytes: Option<i64>,
    pub(super) metadata: Map<String, Value>,
    pub(super) state: &'static str,
    pub(super) reason: Option<String>,
    pub(super) object_key: Option<String>,
    pub(super) bytes: Option<i64>,
    /// In hex.
    pub(super) sha256: Option<String>,
    pub(super) content_type: Option<String>,
    pub(super) store_checksum: Option<String>,
    pub(super) etag: Option<String>,
    pub(super) version_id: Option<String>,
    pub(super) mark: Option<String>,
    pub(super) archived_at: Option<String>,
    pub(super) earlier_objects: Vec<ArchivedObject>,
    pub(super) first_event_id: Uuid,
    pub(super) announced_at: String,
    /// The times again, for SQLite.
    #[serde(skip)]
    pub(super) times: Times,
}

/// When something was of a file.
pub(super) struct Times {
    pub(super) recording_start: Option<Moment>,
    pub(super) archived_at: Option<Moment>,
    pub(super) announced_at: Moment,
}

impl RestoredRecording {
    pub(super) fn new(folder: &str, manifest: &Manifest) -> Self {
        let recording = &manifest.recording;
        let mut events = BTreeMap::new();
        let mut files = Vec::new();
        for (file, identity) in distinct(recording.identity.kind, &manifest.files) {
            let file = RestoredFile::new(file, &identity);
            let came = events.entry(file.first_event_id).or_insert(file.times.announced_at);
            *came = file.times.announced_at.min(*came);
            files.push(file);
        }
        if events.is_empty() {
            events.insert(Uuid::now_v7(), Moment(recording.announced_at));
        }
        let body = serde_json::json!({ "rebuilt_from": manifest_key(folder) });
        Self {
            id: RecordingId::new(),
            identity: RecordingIdentity {
                account_id: clean(&recording.identity.account_id),
                kind: recording.identity.kind,
                instance_id: clean(&recording.identity.instance_id),
            },
            topic: recording.topic.as_deref().map(clean),
            start_time: recording.start_time.map(Moment),
            metadata: clean_map(&recording.zoom),
            folder: clean(folder),
            announced_at: Moment(recording.announced_at),
            // A state of which nobody knows since when says little: it is as old as the recording.
            state: recording.state.map(|state| state.as_str()),
            state_at: recording.state.map(|_| Moment(recording.state_at.unwrap_or(recording.announced_at))),
            transcript: recording.transcript.map(|state| state.as_str()),
            summary: recording.summary.map(|state| state.as_str()),
            auto_delete_at: loss::auto_delete(&recording.zoom).flatten().map(Moment),
            body: body.to_string().into_bytes(),
            events: events.into_iter().collect(),
            files,
        }
    }
}

impl RestoredFile {
    fn new(file: &ManifestFile, identity: &FileIdentity) -> Self {
        let object = file.object.as_ref();
        // What the manifest calls archived without a proof is not.
        let state = match (file.state, object) {
            (_, Some(_)) => FileState::Archived,
            (FileState::Skipped | FileState::Gone, None) => file.state,
            _ => FileState::Parked,
        };
        let reason = match (state, &file.reason) {
            (FileState::Archived, _) => None,
            (FileState::Parked, Some(reason)) => Some(format!("{WAITS} (before: {})", clean(reason))),
            (FileState::Parked, None) => Some(WAITS.to_owned()),
            (_, reason) => Some(reason.as_deref().map_or_else(|| state.to_string(), clean)),
        };
        let job_state = match state {
            FileState::Archived | FileState::Gone => JobState::Done,
            FileState::Skipped => JobState::Cancelled,
            _ => JobState::Parked,
        };
        let archived_at = object.map(|object| object.archived_at.unwrap_or(file.announced_at));
        let size = |bytes: u64| i64::try_from(bytes).ok();
        Self {
            id: FileId::new().0,
            job: JobId::new().0,
            job_state: job_state.as_str(),
            collection: clean(&identity.collection),
            name: clean(&identity.name),
            recording_type: clean(&file.recording_type),
            file_type: clean(&file.file_type),
            extension: clean(&extension(file)),
            recording_start: file.recording_start.map(|at| at.to_rfc3339()),
            announced_bytes: file.announced_bytes.and_then(size),
            metadata: clean_map(&file.zoom),
            state: state.as_str(),
            reason,
            object_key: object.map(|object| clean(&object.key)),
            bytes: object.map(|object| size(object.bytes).unwrap_or(i64::MAX)),
            sha256: object.map(|object| object.sha256.to_string()),
            content_type: object.map(|object| clean(&object.content_type)),
            store_checksum: object.and_then(|object| object.store_checksum.as_deref().map(clean)),
            etag: object.and_then(|object| object.etag.as_deref().map(clean)),
            version_id: object.and_then(|object| object.version_id.as_deref().map(clean)),
            mark: object.and_then(|object| object.mark.as_deref().map(clean)),
            archived_at: archived_at.map(|at| at.to_rfc3339()),
            earlier_objects: file.earlier_objects.clone(),
            first_event_id: file.announced_by_event.parse().unwrap_or_else(|_| Uuid::now_v7()),
            announced_at: file.announced_at.to_rfc3339(),
            times: Times {
                recording_start: file.recording_start.map(Moment),
                archived_at: archived_at.map(Moment),
                announced_at: Moment(file.announced_at),
            },
        }
    }

    /// Its SHA-256 as bytes.
    pub(super) fn digest(&self) -> Option<Vec<u8>> {
        data_encoding::HEXLOWER.decode(self.sha256.as_deref()?.as_bytes()).ok()
    }
}

/// The files of a manifest by the identities that they have now. A manifest of an earlier release may tell of one file twice:
/// then the entry counts that was archived first, and a second object keeps an entry of its own.
fn distinct(kind: RecordingKind, files: &[ManifestFile]) -> Vec<(&ManifestFile, FileIdentity)> {
    let described: Vec<_> = files.iter().map(|file| describe(kind, file)).collect();
    let identities = resolve(&described, &[]).identities;
    let mut same: BTreeMap<FileIdentity, Vec<usize>> = BTreeMap::new();
    for (place, identity) in identities.into_iter().enumerate() {
        same.entry(identity).or_default().push(place);
    }
    let mut distinct = BTreeMap::new();
    for (identity, mut places) in same {
        // `None` would come first, and what was not archived comes last.
        places.sort_by_key(|place| files[*place].object.as_ref().map_or((1, None), |it| (0, it.archived_at)));
        let counts = |(number, place): &(usize, usize)| *number == 0 || files[*place].object.is_some();
        let kept = places.into_iter().enumerate().filter(counts);
        distinct.extend(kept.map(|(number, place)| (place, (&files[place], identity.duplicate(number)))));
    }
    distinct.into_values().collect()
}

/// Transcripts of calls stood in one list with the recordings whose ids they have.
fn describe(kind: RecordingKind, file: &ManifestFile) -> Description {
    let FileIdentity { collection, name } = &file.identity;
    let is_transcript = file.recording_type == "call_transcript" && collection == "recordings";
    let collection =
        if kind == RecordingKind::Phone && is_transcript { "call_transcripts" } else { collection };
    let has_no_id = collection.ends_with("_files") && lacks_id(name, &file.file_type);
    let name = match file.recording_start.filter(|_| has_no_id) {
        Some(start) => stand_in(&file.file_type, start),
        None => name.clone(),
    };
    let identity = FileIdentity { collection: collection.to_owned(), name };
    Description::new(&identity, &file.file_type, file.recording_start)
}

/// The extension that was announced; of manifests that do not say, that of the object's key.
fn extension(file: &ManifestFile) -> String {
    if !file.extension.is_empty() {
        return file.extension.clone();
    }
    let name = file.object.as_ref().and_then(|object| object.key.rsplit_once('/')).map(|(_, name)| name);
    name.and_then(|name| name.rsplit_once('.'))
        .map_or_else(String::new, |(_, extension)| extension.to_owned())
}

/// All files as one value, for Postgres.
pub(super) fn in_json(files: &[RestoredFile]) -> Value {
    clean_json(&serde_json::to_value(files).unwrap_or_default())
}
