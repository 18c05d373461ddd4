//! What an event makes durable, as plain rows: the same for both databases.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};

use super::intake::{Decision, Intake};
use super::known::{
    KnownFile, PLACEHOLDER, Placeholders, REPLACED, SingleFiles, is_in_the_making, is_replaced_already,
    single_files,
};
use super::moment::Moment;
use crate::domain::event::Event;
use crate::domain::file::RecordingRow;
use crate::domain::file_identity::{Description, Resolution, resolve};
use crate::domain::ids::{FileId, JobId, RecordingId};
use crate::domain::loss;
use crate::domain::recording::{
    AnnouncedFile, AnnouncedRecording, Announcement, Change, FileIdentity, MEETING_TRANSCRIPT,
    RecordingIdentity, RecordingState, is_of_archive,
};

/// Why a file without a URL is parked.
pub(super) const NO_URL: &str = "Zoom gave no download URL yet";

/// Until when Zoom keeps a recording, in SQL, from a row of `recordings`. `$trashed` is what each database says in its
/// own words: thirty days after it was moved to the trash, or when Zoom deletes it by itself, whichever is first.
macro_rules! keeps_until {
    ($trashed:expr) => {
        concat!(
            "CASE recordings.state
                WHEN 'deleted' THEN recordings.state_at
                WHEN 'trashed' THEN ",
            $trashed,
            " ELSE recordings.auto_delete_at END"
        )
    };
}

pub(super) use keeps_until;

/// The same of a single file, from rows `recordings` and `file`. `$trashed_file` is the end of one that was moved to the trash
/// by itself.
macro_rules! file_keeps_until {
    ($trashed:expr, $trashed_file:expr) => {
        concat!(
            "CASE ",
            own_zoom_state!("file"),
            " WHEN 'deleted' THEN file.zoom_state_at WHEN 'trashed' THEN ",
            $trashed_file,
            " WHEN 'recovered' THEN recordings.auto_delete_at ELSE ",
            keeps_until!($trashed),
            " END"
        )
    };
}

pub(super) use file_keeps_until;

/// Whether a row `known` of `files` keeps its URL and token, in SQL. A token belongs to the URL that it was announced with, so
/// both are kept or both are replaced: kept while what comes is a URL without a token and the known token has not expired, or
/// a token that ends earlier. The latter not where the file is parked: then the known token has not opened it.
macro_rules! outlives {
    ($token:literal, $expires_at:literal, $now:literal) => {
        concat!(
            "known.download_token IS NOT NULL AND CASE WHEN ",
            $token,
            " IS NULL THEN COALESCE(known.token_expires_at > ",
            $now,
            ", true) ELSE known.state <> 'parked' AND known.token_expires_at > ",
            $expires_at,
            " END"
        )
    };
}

pub(super) use outlives;

/// The rows of one announcement. The ids count for what turns out to be new.
#[derive(Debug, Clone)]
pub(super) struct Rows {
    pub(super) recording: NewRecording,
    /// Each identity once, in order of identity, so that two writers lock rows in the same order.
    pub(super) files: Vec<NewFile>,
    /// Known files without a type that turn out to be nothing, or something.
    pub(super) placeholders: Placeholders,
    /// Known files that have an id now and had none before.
    pub(super) renamed: Vec<(FileId, FileIdentity)>,
    /// What could not be read, in words.
    pub(super) odd: Vec<String>,
}

/// A recording as announced.
#[derive(Debug, Clone)]
pub(super) struct NewRecording {
    pub(super) id: RecordingId,
    pub(super) identity: RecordingIdentity,
    pub(super) topic: Option<String>,
    pub(super) start_time: Option<Moment>,
    pub(super) metadata: Map<String, Value>,
    /// When what is said of it happened.
    pub(super) happened_at: Moment,
    pub(super) change: Change,
    /// When Zoom deletes it by itself, if it says anything about that.
    pub(super) auto_delete: Option<Option<Moment>>,
    /// Files that it moves at Zoom by themselves; then `change` says nothing of a state.
    pub(super) single: Option<SingleFiles>,
    /// Whether another token can be asked for when one has ended.
    pub(super) renewable: bool,
    /// Whether a file has another name now, which the manifest should tell.
    pub(super) renames: bool,
    /// The manifest's job, should it be wanted.
    pub(super) manifest: JobId,
}

/// A file as announced, and the job that will carry it.
#[derive(Debug, Clone)]
pub(super) struct NewFile {
    pub(super) id: FileId,
    pub(super) job: JobId,
    pub(super) identity: FileIdentity,
    pub(super) recording_type: String,
    pub(super) file_type: String,
    pub(super) extension: String,
    pub(super) recording_start: Option<Moment>,
    pub(super) announced_bytes: Option<i64>,
    pub(super) download_url: Option<SecretString>,
    pub(super) download_token: Option<SecretString>,
    /// Of the token; none without one.
    pub(super) token_expires_at: Option<Moment>,
    pub(super) content: Option<Vec<u8>>,
    /// Whether its transfer asks Zoom's API for what is missing, instead of waiting for an event.
    pub(super) is_asked_about: bool,
    /// Why it is not taken, if so.
    pub(super) skip: Option<String>,
    /// Who says whether it is taken.
    pub(super) decided_by: String,
    pub(super) metadata: Map<String, Value>,
}

impl Rows {
    /// What happened after the event that tells of it came has happened then: a clock that is ahead must not keep
    /// later events from counting. `known` is what was said of the recording before: the rules judge all of it. `rows` are
    /// its files.
    pub(super) fn new(
        event: &Event,
        announcement: &Announcement,
        intake: &Intake,
        known: Option<&RecordingRow>,
        rows: &[KnownFile],
    ) -> Self {
        let recording = &announcement.recording;
        let judged = known.map_or_else(|| recording.clone(), |known| laid_over(recording, known));
        let announced: Vec<_> = announcement.files.iter().map(Description::from).collect();
        let known: Vec<_> = rows.iter().map(KnownFile::describe).collect();
        let Resolution { identities, renamed } = resolve(&announced, &known);
        let single = single_files(announcement.change, &announcement.scope, rows);
        let renewable = intake.renews(&recording.identity);
        let mut files = BTreeMap::new();
        for (file, identity) in announcement.files.iter().zip(&identities) {
            let decision = match is_replaced_already(file, identity, announcement, rows) {
                true => Decision { leaves_out: Some(REPLACED.to_owned()), by: PLACEHOLDER.to_owned() },
                false => intake.decide(&judged, file),
            };
            let file = NewFile::new(file, identity, decision, renewable);
            match files.get_mut(&file.identity) {
                None => drop(files.insert(file.identity.clone(), file)),
                Some(known) => NewFile::refresh(known, file),
            }
        }
        Self {
            recording: NewRecording {
                id: RecordingId::new(),
                identity: RecordingIdentity {
                    account_id: clean(&recording.identity.account_id),
                    kind: recording.identity.kind,
                    instance_id: clean(&recording.identity.instance_id),
                },
                topic: recording.topic.as_deref().map(clean),
                start_time: recording.start_time.map(Moment),
                metadata: clean_map(&recording.metadata),
                happened_at: Moment(
                    announcement.happened_at.map_or(event.received_at, |at| at.min(event.received_at)),
                ),
                change: match single {
                    Some(_) => Change { state: None, ..announcement.change },
                    None => announcement.change,
                },
                single: single.map(cleaned_all),
                auto_delete: loss::auto_delete(&recording.metadata).map(|at| at.map(Moment)),
                renewable,
                renames: !renamed.is_empty(),
                manifest: JobId::new(),
            },
            files: files.into_values().collect(),
            renamed: renamed
                .into_iter()
                .map(|(place, identity)| (rows[place].id(), cleaned(&identity)))
                .collect(),
            placeholders: Placeholders::new(announcement, &identities, rows),
            odd: announcement.odd.iter().map(|words| clean(words)).collect(),
        }
    }
}

impl NewRecording {
    /// Whether consequences follow for certain: for the queue, or for the manifest.
    pub(super) fn has_consequences(&self) -> bool {
        self.is_for_the_manifest() || self.auto_delete.is_some() || self.single.is_some()
    }

    /// Whether Zoom is about to have the recording no more, or files of it.
    pub(super) fn leaves(&self) -> bool {
        self.moves_to(RecordingState::is_leaving)
    }

    /// Whether the recording was taken out of Zoom's trash, or files of it.
    pub(super) fn comes_back(&self) -> bool {
        self.moves_to(|state| state == RecordingState::Recovered)
    }

    fn moves_to(&self, is_meant: impl Fn(RecordingState) -> bool) -> bool {
        self.change.state.or_else(|| Some(self.single.as_ref()?.state)).is_some_and(is_meant)
    }

    /// Whether a manifest that was written before should tell of it.
    pub(super) fn is_for_the_manifest(&self) -> bool {
        self.renames || self.change.is_for_the_manifest()
    }
}

impl NewFile {
    fn new(file: &AnnouncedFile, identity: &FileIdentity, decision: Decision, renewable: bool) -> Self {
        Self {
            id: FileId::new(),
            job: JobId::new(),
            identity: cleaned(identity),
            recording_type: clean(&file.recording_type),
            file_type: clean(&file.file_type),
            extension: clean(&file.extension),
            recording_start: file.recording_start.map(Moment),
            // A size that no disk holds says as little as none.
            announced_bytes: file.announced_bytes.and_then(|bytes| i64::try_from(bytes).ok()),
            download_url: file.download_url.as_ref().map(clean_secret),
            download_token: file.download_token.as_ref().map(clean_secret),
            token_expires_at: file.download_token.as_ref().and(file.token_expires_at).map(Moment),
            content: file.content.clone(),
            is_asked_about: renewable && is_asked_about(file),
            skip: decision.leaves_out.as_deref().map(clean),
            decided_by: decision.by,
            metadata: clean_map(&file.metadata),
        }
    }

    /// Whether this announcement brings something that a parked transfer may wait for.
    pub(super) fn brings_access(&self) -> bool {
        self.download_url.is_some() || self.download_token.is_some()
    }

    /// Whether it waits for an event to say what to fetch it from.
    pub(super) fn waits_for_source(&self) -> bool {
        self.download_url.is_none() && self.content.is_none() && !self.is_asked_about
    }

    /// The same file, announced a second time within one event: what is said later counts.
    fn refresh(&mut self, later: Self) {
        // The end belongs to its token: a token that does not say when it ends has none of its forerunner's.
        let token_expires_at =
            if later.download_token.is_some() { later.token_expires_at } else { self.token_expires_at };
        *self = Self {
            id: self.id,
            job: self.job,
            recording_type: given(later.recording_type, &self.recording_type),
            file_type: given(later.file_type, &self.file_type),
            extension: given(later.extension, &self.extension),
            recording_start: later.recording_start.or(self.recording_start),
            announced_bytes: later.announced_bytes.or(self.announced_bytes),
            download_url: later.download_url.or(self.download_url.take()),
            download_token: later.download_token.or(self.download_token.take()),
            token_expires_at,
            content: later.content.or(self.content.take()),
            is_asked_about: self.is_asked_about && later.is_asked_about,
            decided_by: if later.skip.is_some() {
                later.decided_by
            } else {
                std::mem::take(&mut self.decided_by)
            },
            skip: later.skip.or(self.skip.take()),
            metadata: merged(std::mem::take(&mut self.metadata), later.metadata),
            identity: later.identity,
        };
    }
}

/// What an announcement says of a recording, over what was said before.
fn laid_over(told: &AnnouncedRecording, known: &RecordingRow) -> AnnouncedRecording {
    AnnouncedRecording {
        identity: RecordingIdentity {
            kind: known.identity.kind.or(told.identity.kind),
            ..told.identity.clone()
        },
        topic: told.topic.clone().or_else(|| known.topic.clone()),
        start_time: told.start_time.or(known.start_time),
        metadata: merged(known.metadata.clone(), told.metadata.clone()),
    }
}

fn cleaned_all(single: SingleFiles) -> SingleFiles {
    SingleFiles { identities: single.identities.iter().map(cleaned).collect(), ..single }
}

fn cleaned(identity: &FileIdentity) -> FileIdentity {
    FileIdentity { collection: clean(&identity.collection), name: clean(&identity.name) }
}

fn given(later: String, earlier: &str) -> String {
    if later.is_empty() { earlier.to_owned() } else { later }
}

/// Lays the keys of `later` over those of `earlier`, as `||` does with Postgres's `jsonb`.
pub(super) fn merged(mut earlier: Map<String, Value>, later: Map<String, Value>) -> Map<String, Value> {
    earlier.extend(later);
    earlier
}

/// Text without NUL, which JSON allows and Postgres cannot hold: one odd topic must not refuse a recording.
pub(super) fn clean(text: &str) -> String {
    text.replace('\0', "\u{FFFD}")
}

fn clean_secret(secret: &SecretString) -> SecretString {
    clean(secret.expose_secret()).into()
}

pub(super) fn clean_map(map: &Map<String, Value>) -> Map<String, Value> {
    map.iter().map(|(key, value)| (clean(key), clean_json(value))).collect()
}

/// JSON without NUL in any of its texts.
pub(super) fn clean_json(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(clean(text)),
        Value::Array(items) => Value::Array(items.iter().map(clean_json).collect()),
        Value::Object(map) => Value::Object(clean_map(map)),
        other => other.clone(),
    }
}

/// Whether Zoom's API can say where a file is of which no URL is known: while it works on it, and always where a call of its own
/// says so.
fn is_asked_about(file: &AnnouncedFile) -> bool {
    match file.identity.collection.as_str() {
        MEETING_TRANSCRIPT => true,
        collection => !is_of_archive(collection) && is_in_the_making(file),
    }
}
