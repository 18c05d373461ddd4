//! One file, one row, in whatever words Zoom speaks of it.

use std::time::Duration;

use serde_json::{Value, json};
use zoom_archiver::domain::event::EventContent;
use zoom_archiver::domain::file::{ArchivedFile, FileRow, FileState, Sha256Digest};
use zoom_archiver::domain::filter::{Filter, Pattern, Rules};
use zoom_archiver::domain::job::{Completion, Settlement, Task};
use zoom_archiver::domain::manifest::Manifest;
use zoom_archiver::domain::recording::{RecordingIdentity, RecordingKind};
use zoom_archiver::store::{Intake, SharedStore};
use zoom_archiver::zoom::payload::{self, Message};

use crate::support::database::{Database, on_each_database};
use crate::support::said::{ACCOUNT, answer, event, webhook};

const LEASE: Duration = Duration::from_secs(600);

// ---------------------------------------------------------------------------------------------------------
// What Zoom says

/// The audio of one participant and the timeline, as the documents have them: `recording_type` is left out of one place and
/// named in the other; so is the id of the timeline, and its start is written in two ways.
fn meeting(uuid: &str, recording_type: Option<&str>, timeline_id: Option<&str>, start: &str) -> Value {
    let mut audio = json!({
        "id": "7EC1", "file_type": "M4A", "file_size": 3, "recording_start": start, "status": "completed",
        "download_url": "https://zoom.us/rec/webhook_download/audio",
    });
    if let Some(recording_type) = recording_type {
        audio["recording_type"] = recording_type.into();
    }
    let mut timeline = json!({
        "file_type": "TIMELINE", "recording_start": start,
        "download_url": "https://zoom.us/rec/webhook_download/timeline",
    });
    if let Some(id) = timeline_id {
        timeline["id"] = id.into();
    }
    json!({ "uuid": uuid, "participant_audio_files": [audio], "recording_files": [timeline] })
}

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Completed,
    Answer,
    Trashed,
    Archive,
}

const STEPS: [Step; 4] = [Step::Completed, Step::Answer, Step::Trashed, Step::Archive];

async fn take(store: &SharedStore, step: Step, uuid: &str) {
    let said = match step {
        Step::Completed => webhook("recording.completed", &meeting(uuid, None, None, "2026-03-01T12:01:00Z")),
        Step::Answer => answer(&meeting(uuid, None, Some("71"), "2026-03-01T13:01:00.000+01:00")),
        Step::Trashed => webhook(
            "recording.trashed",
            &meeting(uuid, Some("audio_only"), Some("71"), "2026-03-01T12:01:00.500Z"),
        ),
        Step::Archive => return archive_all(store).await,
    };
    store.record(&said).await.expect("it is recorded");
}

/// Carries out every transfer that waits.
async fn archive_all(store: &SharedStore) {
    for job in store.claim("worker", 100, LEASE, &[]).await.expect("a claim is answered") {
        let Task::Transfer(file) = job.task else {
            store.settle(&job.lease, Settlement::Done(Box::default())).await.expect("it is settled");
            continue;
        };
        let archived = ArchivedFile {
            object_key: format!("folder/{file}"),
            bytes: 3,
            sha256: Sha256Digest([7; 32]),
            content_type: "audio/mp4".into(),
            store_checksum: None,
            etag: None,
            version_id: None,
            mark: None,
        };
        let completion = Completion { archived: Some((file, archived)), ..Completion::default() };
        store.settle(&job.lease, Settlement::Done(Box::new(completion))).await.expect("it is settled");
    }
}

async fn all_files(store: &SharedStore) -> Vec<FileRow> {
    store.files(&[], None, 1000).await.expect("files are listed")
}

/// Every sequence of so many steps.
fn sequences(length: usize) -> Vec<Vec<Step>> {
    (0..length).fold(vec![Vec::new()], |sequences, _| {
        let longer = |sequence: Vec<Step>| {
            STEPS.map(|step| sequence.iter().copied().chain([step]).collect::<Vec<_>>())
        };
        sequences.into_iter().flat_map(longer).collect()
    })
}

async fn every_order_of_event_answer_and_trash_ends_in_one_row_and_one_object_for_each_file(
    database: Database,
) {
    let store = database.store().await;
    let mut meetings = 0_usize;
    for sequence in (1..=4).flat_map(sequences).filter(|it| it.iter().any(|step| *step != Step::Archive)) {
        let uuid = format!("meeting-{meetings}");
        meetings += 1;
        for step in &sequence {
            take(&store, *step, &uuid).await;
        }
        archive_all(&store).await;
        let identity =
            RecordingIdentity { account_id: ACCOUNT.into(), kind: RecordingKind::Meeting, instance_id: uuid };
        let (_, files) = store.find(&identity).await.unwrap().expect("the meeting");
        assert_eq!(files.len(), 2, "{sequence:?}: {files:?}");
        assert!(files.iter().all(|file| file.state == FileState::Archived), "{sequence:?}: {files:?}");
        // Whoever knows the id of the timeline gives it its name.
        let has_id = sequence.iter().any(|step| matches!(step, Step::Answer | Step::Trashed));
        let timeline = files.iter().find(|file| file.file_type == "TIMELINE").expect("the timeline");
        let name = if has_id { "71" } else { "TIMELINE@2026-03-01T12:01:00Z" };
        assert_eq!(timeline.identity.name, name, "{sequence:?}");
    }
    assert_eq!(meetings, 4 + 16 + 64 + 256 - 4);
}

/// Two processes at the same moment: one says an entry without its id, the other one with it.
async fn an_entry_that_comes_with_and_without_its_id_at_once_is_one_file(database: Database) {
    const MEETINGS: u64 = 40;
    let (one, other) = (database.store().await, database.open().await);
    for number in 0..MEETINGS {
        let uuid = format!("meeting-{number}");
        let (completed, answer) = if number % 2 == 0 {
            tokio::join!(take(&one, Step::Completed, &uuid), take(&other, Step::Answer, &uuid))
        } else {
            take(&one, Step::Completed, &uuid).await;
            // Known already, without the id: both give it one.
            tokio::join!(take(&one, Step::Answer, &uuid), take(&other, Step::Trashed, &uuid))
        };
        let ((), ()) = (completed, answer);
    }
    let mut of_recordings = std::collections::BTreeMap::<_, Vec<String>>::new();
    for file in all_files(&one).await {
        of_recordings.entry(file.recording_id).or_default().push(file.identity.name);
    }
    assert_eq!(of_recordings.len() as u64, MEETINGS);
    for mut names in of_recordings.into_values() {
        names.sort();
        assert_eq!(names, ["71", "7EC1"]);
    }
}

async fn a_type_that_becomes_known_later_stays_known_and_is_judged_by_the_rules(database: Database) {
    let types = Rules { recording_types: vec![Pattern::new("audio_only")], ..Rules::default() };
    let filter = Filter { exclude: types, ..Filter::default() };
    let store = database.store_with(Intake::new(filter, |_| true)).await;
    let audio = |files: Vec<FileRow>| {
        files.into_iter().find(|file| file.file_type == "M4A").expect("the participant's audio")
    };
    take(&store, Step::Completed, "m").await;
    assert_eq!(audio(all_files(&store).await).state, FileState::Pending);
    take(&store, Step::Trashed, "m").await;
    take(&store, Step::Answer, "m").await;
    let file = audio(all_files(&store).await);
    assert_eq!((file.state, file.recording_type.as_str()), (FileState::Skipped, "audio_only"));
}

async fn a_file_that_gets_an_id_after_it_was_archived_is_told_of_in_the_manifest_again(database: Database) {
    let store = database.store().await;
    take(&store, Step::Completed, "m").await;
    let files = all_files(&store).await;
    store.place(files[0].id, "folder", "name").await.unwrap();
    archive_all(&store).await;
    take(&store, Step::Answer, "m").await;
    let jobs = store.claim("worker", 10, LEASE, &[]).await.unwrap();
    let tasks: Vec<_> = jobs.iter().map(|job| job.task).collect();
    assert_eq!(tasks, [Task::Manifest(files[0].recording_id)]);
}

async fn the_sound_and_the_transcript_of_a_call_are_two_files(database: Database) {
    let store = database.store().await;
    for name in ["phone.recording_completed", "phone.recording_transcript_completed"] {
        let call = json!({
            "id": "call", "date_time": "2026-03-01T12:00:00Z", "download_url": "https://zoom.us/v2/phone/a",
            "transcript_download_url": "https://zoom.us/v2/phone/b",
        });
        let body = json!({
            "event": name, "event_ts": 1, "payload": { "account_id": ACCOUNT, "object": { "recordings": [call] } },
        });
        for _ in 0..2 {
            let Message::Announcements { parts, .. } = payload::read(body.to_string().as_bytes()) else {
                panic!("no calls")
            };
            for part in parts {
                store.record(&event(EventContent::Announcement(part.announcement), name)).await.unwrap();
            }
        }
    }
    let mut types: Vec<_> = all_files(&store).await.into_iter().map(|file| file.recording_type).collect();
    types.sort();
    assert_eq!(types, ["call_recording", "call_transcript"]);
}

// ---------------------------------------------------------------------------------------------------------
// Rows of the release before

/// The version of the schema before which `recording_type` was part of the identity.
const BEFORE: i64 = 11;

/// Rows as the release before has left them, on either database.
struct Rows<'a> {
    database: &'a Database,
}

impl Rows<'_> {
    fn id(&self, n: u8) -> String {
        match self.database.kind() {
            "postgres" => format!("'00000000-0000-7000-8000-0000000000{n:02x}'"),
            _ => format!("x'000000000000700080000000000000{n:02x}'"),
        }
    }

    /// A point in time, in seconds after 12:00:00 of one day.
    fn time(&self, second: i64) -> String {
        match self.database.kind() {
            "postgres" => format!("to_timestamp({})", 1_772_366_400 + second),
            _ => ((1_772_366_400 + second) * 1000).to_string(),
        }
    }

    async fn run(&self, statement: String) {
        let changed =
            self.database.execute(&statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        assert_eq!(changed, 1, "{statement}");
    }

    async fn recording(&self, n: u8, kind: &str) {
        let (id, time) = (self.id(n), self.time(0));
        self.run(format!(
            "INSERT INTO recordings (id, account_id, kind, instance_id, metadata, announced_at, folder)
             VALUES ({id}, 'account', '{kind}', 'instance-{n}', '{{}}', {time}, 'folder-{n}')"
        ))
        .await;
    }

    /// A file, and its transfer that waits; `rest` is set in the file's row.
    async fn file(&self, n: u8, of: u8, list: &str, name: &str, types: [&str; 2], rest: &str) {
        let ([id, job, of, event], time) =
            ([n, 100 + n, of, 250].map(|n| self.id(n)), self.time(i64::from(n)));
        let [file_type, recording_type] = types;
        self.run(format!(
            "INSERT INTO files (id, recording_id, collection, name, recording_type, file_type, extension, metadata,
                recording_start, state, first_event_id, announced_at, updated_at)
             VALUES ({id}, {of}, '{list}', '{name}', '{recording_type}', '{file_type}', '', '{{\"row\": {n}}}',
                {}, 'pending', {event}, {time}, {time})",
            self.time(60)
        ))
        .await;
        self.run(format!(
            "INSERT INTO jobs (id, kind, subject, account, state, run_at, created_at, updated_at)
             VALUES ({job}, 'transfer', {id}, 'account', 'waiting', {time}, {time}, {time})"
        ))
        .await;
        if !rest.is_empty() {
            self.run(format!("UPDATE files SET {rest} WHERE id = {id}")).await;
        }
    }

    fn archived(&self, second: i64) -> String {
        let digest = match self.database.kind() {
            "postgres" => "decode(repeat('07', 32), 'hex')",
            _ => "zeroblob(32)",
        };
        format!(
            "state = 'archived', object_key = 'key-{second}', bytes = 3, sha256 = {digest}, content_type = 't',
             archived_at = {}, announced_bytes = 3",
            self.time(second)
        )
    }
}

/// Names of the files of a recording with their states, in order.
async fn standing(
    database: &Database,
    store: &SharedStore,
    recording: u8,
) -> Vec<(String, String, FileState)> {
    let instance = format!("instance-{recording}");
    let kind = database.texts(&format!("SELECT kind FROM recordings WHERE instance_id = '{instance}'")).await;
    let identity = RecordingIdentity {
        account_id: ACCOUNT.into(),
        kind: kind[0].parse().unwrap(),
        instance_id: instance,
    };
    let (_, files) = store.find(&identity).await.unwrap().expect("the recording");
    let mut standing: Vec<_> =
        files.into_iter().map(|it| (it.identity.collection, it.identity.name, it.state)).collect();
    standing.sort();
    standing
}

fn expect(rows: &[(&str, &str, FileState)]) -> Vec<(String, String, FileState)> {
    rows.iter().map(|(list, name, state)| ((*list).to_owned(), (*name).to_owned(), *state)).collect()
}

async fn rows_of_one_file_are_merged_and_nothing_archived_is_lost(database: Database) {
    database.migrate_to(BEFORE).await;
    let rows = Rows { database: &database };
    let (audio, recordings) = ("participant_audio_files", "recording_files");
    // 1: an archived row, and one that waits. 2: two archived rows and one that is dead.
    rows.recording(1, "meeting").await;
    rows.file(10, 1, audio, "a", ["M4A", "audio_only"], "").await;
    rows.file(11, 1, audio, "a", ["M4A", ""], &rows.archived(20)).await;
    rows.recording(2, "meeting").await;
    rows.file(20, 2, audio, "a", ["M4A", ""], &rows.archived(40)).await;
    rows.file(21, 2, audio, "a", ["M4A", "audio_only"], &rows.archived(30)).await;
    rows.file(22, 2, audio, "a", ["M4A", "other"], "state = 'dead', reason = 'why'").await;
    // 3: one without access, and one that has begun an upload; it goes on, and the other's URL is taken over.
    rows.recording(3, "video_sdk").await;
    rows.file(30, 3, recordings, "a", ["MP4", ""], "download_url = 'https://zoom.us/a', extension = 'mp4'")
        .await;
    rows.file(31, 3, recordings, "a", ["MP4", "shared_screen"], "state = 'parked', reason = 'no URL'").await;
    let job = rows.id(131);
    rows.run(format!(
        "UPDATE jobs SET state = 'parked', waits_for = 'token', reason = 'no URL', checkpoint = '{{\"upload\": 1}}'
         WHERE id = {job}"
    ))
    .await;
    // 4: names without an id, with the time as it came; one of them is known with an id, too.
    rows.recording(4, "meeting").await;
    rows.file(40, 4, recordings, "CC@2026-03-01T13:01:00+01:00", ["CC", ""], "").await;
    rows.file(41, 4, recordings, "TIMELINE@2026-03-01T12:01:00.000Z", ["TIMELINE", ""], &rows.archived(50))
        .await;
    rows.file(42, 4, recordings, "71", ["TIMELINE", "timeline"], "").await;
    // 5: a call.
    rows.recording(5, "phone").await;
    rows.file(50, 5, "recordings", "call", ["MP3", "call_recording"], "").await;
    rows.file(51, 5, "recordings", "call", ["TRANSCRIPT", "call_transcript"], &rows.archived(60)).await;
    // 6: nothing to merge.
    rows.recording(6, "meeting").await;
    rows.file(60, 6, recordings, "a", ["MP4", "x"], "").await;
    database.migrate().await.expect("the step is taken");

    let store = database.open().await;
    use FileState::{Archived, Pending};
    assert_eq!(standing(&database, &store, 1).await, expect(&[(audio, "a", Archived)]));
    let kept = [(audio, "a", Archived), (audio, "a (duplicate 1)", Archived)];
    assert_eq!(standing(&database, &store, 2).await, expect(&kept));
    let first =
        database.texts("SELECT object_key FROM files WHERE name = 'a' AND object_key LIKE 'key-%'").await;
    assert_eq!(first, ["key-20", "key-30"]);
    assert_eq!(standing(&database, &store, 3).await, expect(&[(recordings, "a", Pending)]));
    let names = [(recordings, "71", Archived), (recordings, "CC@2026-03-01T12:01:00Z", Pending)];
    assert_eq!(standing(&database, &store, 4).await, expect(&names));
    let call = [("call_transcripts", "call", Archived), ("recordings", "call", Pending)];
    assert_eq!(standing(&database, &store, 5).await, expect(&call));
    assert_eq!(standing(&database, &store, 6).await, expect(&[(recordings, "a", Pending)]));

    let files = all_files(&store).await;
    let by = |n: u64| files.iter().find(|file| file.metadata["row"] == n).expect("a kept row");
    assert_eq!(by(11).recording_type, "audio_only");
    assert_eq!(by(11).announced_at.timestamp(), 1_772_366_410, "what was announced first");
    let upload = by(31);
    assert_eq!((upload.recording_type.as_str(), upload.extension.as_str()), ("shared_screen", "mp4"));
    // The transfers of the rows that are left, and the manifests of what has changed.
    let jobs = store.claim("worker", 100, LEASE, &[]).await.unwrap();
    let manifests = jobs.iter().filter(|job| matches!(job.task, Task::Manifest(_))).count();
    assert_eq!(manifests, 5, "{jobs:?}");
    let resumed = jobs.iter().find(|job| job.task == Task::Transfer(upload.id)).expect("it goes on");
    assert_eq!(resumed.checkpoint, Some(json!({ "upload": 1 })));
    let orphans =
        "SELECT count(*) FROM jobs WHERE kind = 'transfer' AND subject NOT IN (SELECT id FROM files)";
    assert_eq!(database.number(orphans).await, 0);
}

async fn an_upload_of_a_row_that_goes_is_left_to_the_janitor_and_its_notices_follow(database: Database) {
    database.migrate_to(BEFORE).await;
    let rows = Rows { database: &database };
    rows.recording(1, "meeting").await;
    rows.file(10, 1, "recording_files", "a", ["MP4", ""], &rows.archived(20)).await;
    rows.file(11, 1, "recording_files", "a", ["MP4", "x"], "state = 'parked', reason = 'why'").await;
    let (job, file, notice, time) = (rows.id(111), rows.id(11), rows.id(200), rows.time(0));
    rows.run(format!(
        "UPDATE jobs SET state = 'parked', waits_for = 'person', reason = 'why', checkpoint = '{{\"upload\": 2}}'
         WHERE id = {job}"
    ))
    .await;
    rows.run(format!("INSERT INTO told (kind, subject, occasion) VALUES ('file.parked', {file}, 3)")).await;
    let subject = "00000000-0000-7000-8000-00000000000b";
    rows.run(format!(
        "INSERT INTO jobs (id, kind, subject, state, run_at, notice, created_at, updated_at)
         VALUES ({notice}, 'notify', {notice}, 'waiting', {time},
            '{{\"kind\": \"file.parked\", \"subject\": \"{subject}\", \"at\": 1, \"detail\": {{}}}}', {time}, {time})"
    ))
    .await;
    database.migrate().await.expect("the step is taken");

    let store = database.open().await;
    assert_eq!(store.abandon(Duration::ZERO, 10).await.unwrap(), [json!({ "upload": 2 })]);
    let told = format!("SELECT occasion FROM told WHERE subject = {}", rows.id(10));
    assert_eq!(database.number(&told).await, 3);
    let kept = "00000000-0000-7000-8000-00000000000a";
    let follows =
        format!("SELECT count(*) FROM jobs WHERE kind = 'notify' AND notice ->> 'subject' = '{kept}'");
    assert_eq!(database.number(&follows).await, 1);
}

async fn manifests_of_earlier_releases_are_read_by_the_identities_of_today(database: Database) {
    let entry = |list: &str, name: &str, types: [&str; 2], key: Option<&str>| {
        let object = key.map(|key| {
            json!({
                "key": key, "bytes": 3, "content_type": "t", "archived_at": "2026-03-01T12:02:00Z",
                "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            })
        });
        json!({
            "state": if object.is_some() { "archived" } else { "dead" }, "collection": list, "name": name,
            "file_type": types[0], "recording_type": types[1], "recording_start": "2026-03-01T12:01:00Z",
            "announced_bytes": 3, "announced_at": "2026-03-01T12:00:00Z", "announced_by_event": "0198",
            "object": object, "zoom": {},
        })
    };
    let manifest = |kind: &str, instance: &str, files: Vec<Value>| {
        let recording = json!({
            "account_id": ACCOUNT, "kind": kind, "instance_id": instance, "topic": null, "start_time": null,
            "announced_at": "2026-03-01T12:00:00Z", "zoom": {},
        });
        let manifest =
            json!({ "format": "zoom-archiver/recording/1", "recording": recording, "files": files });
        Manifest::read(manifest.to_string().as_bytes()).expect("a manifest")
    };
    let (audio, recordings) = ("participant_audio_files", "recording_files");
    let meeting = vec![
        entry(audio, "a", ["M4A", ""], None),
        entry(audio, "a", ["M4A", "audio_only"], Some("k1")),
        entry(audio, "b", ["M4A", ""], Some("k2")),
        entry(audio, "b", ["M4A", "audio_only"], Some("k3")),
        entry(recordings, "TIMELINE@2026-03-01T13:01:00+01:00", ["TIMELINE", ""], Some("k4")),
    ];
    let call = vec![
        entry("recordings", "call", ["MP3", "call_recording"], Some("k5")),
        entry("recordings", "call", ["TRANSCRIPT", "call_transcript"], Some("k6")),
    ];
    let store = database.store().await;
    store.restore("folder-1", &manifest("meeting", "instance-1", meeting)).await.unwrap();
    store.restore("folder-2", &manifest("phone", "instance-2", call)).await.unwrap();
    let of_meeting = [
        (audio, "a", FileState::Archived),
        (audio, "b", FileState::Archived),
        (audio, "b (duplicate 1)", FileState::Archived),
        (recordings, "TIMELINE@2026-03-01T12:01:00Z", FileState::Archived),
    ];
    assert_eq!(standing(&database, &store, 1).await, expect(&of_meeting));
    let of_call =
        [("call_transcripts", "call", FileState::Archived), ("recordings", "call", FileState::Archived)];
    assert_eq!(standing(&database, &store, 2).await, expect(&of_call));
}

on_each_database!(
    manifests_of_earlier_releases_are_read_by_the_identities_of_today,
    every_order_of_event_answer_and_trash_ends_in_one_row_and_one_object_for_each_file,
    an_entry_that_comes_with_and_without_its_id_at_once_is_one_file,
    a_type_that_becomes_known_later_stays_known_and_is_judged_by_the_rules,
    a_file_that_gets_an_id_after_it_was_archived_is_told_of_in_the_manifest_again,
    the_sound_and_the_transcript_of_a_call_are_two_files,
    rows_of_one_file_are_merged_and_nothing_archived_is_lost,
    an_upload_of_a_row_that_goes_is_left_to_the_janitor_and_its_notices_follow,
);
