//! Every event about a recording: sent by the fake Zoom in its documented shape and in odd ones, read by the program,
//! and what becomes of it in a running service.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use http::StatusCode;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use zoom_archiver::clock::Clock;
use zoom_archiver::domain::file::{FileRow, FileState};
use zoom_archiver::domain::recording::{Announcement, Change, RecordingKind, RecordingState, TextState};
use zoom_archiver::simulator::events::{EventKind, Happening, Quirks, VOICEMAIL_TEXT};
use zoom_archiver::simulator::ledger::Endpoint;
use zoom_archiver::simulator::library::Library;
use zoom_archiver::simulator::{Content, FakeFile, FakeRecording, FakeZoom, Fault, Options, When};
use zoom_archiver::zoom::events::{EVENTS, Shape, find};
use zoom_archiver::zoom::payload::{self, Message};

use crate::support::scene::{Scene, until_zoom, with_api};
use crate::support::service::eventually;

/// One of each kind.
fn recordings() -> [FakeRecording; 4] {
    [
        FakeRecording::video_sdk(1).with_numeric_ids(),
        FakeRecording::meeting(2).with_numeric_ids(),
        FakeRecording::webinar(3).with_numeric_ids(),
        FakeRecording::call(4).with_numeric_ids(),
    ]
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_780_000_000 + second, 0).expect("a time")
}

/// Every event that there is for a recording.
fn bodies(zoom: &FakeZoom, recording: &FakeRecording, quirks: Quirks) -> Vec<Vec<u8>> {
    let happened = Happening::ALL.into_iter().filter_map(|what| zoom.tell(recording, what, quirks, at(0)));
    let ready = EventKind::of(recording).filter(|_| recording.kind != RecordingKind::Phone);
    ready.map(|kind| zoom.announce(recording, kind, quirks)).chain(happened).collect()
}

/// What a body says: its name, and an announcement for each of its recordings.
fn read(body: &[u8]) -> (String, Vec<Announcement>) {
    match payload::read(body) {
        Message::Announcement { name, announcement, .. } => (name, vec![*announcement]),
        Message::Announcements { name, parts } => {
            (name, parts.into_iter().map(|part| part.announcement).collect())
        }
        other => panic!("{other:?}: {}", String::from_utf8_lossy(body)),
    }
}

fn read_json(body: &Value) -> Vec<Announcement> {
    read(body.to_string().as_bytes()).1
}

// ---------------------------------------------------------------------------------------------------------
// Reading

#[tokio::test]
async fn every_event_of_the_table_is_sent_by_the_fake_zoom_and_read() {
    let zoom = FakeZoom::start(Options::default()).await.unwrap();
    let mut seen = BTreeSet::new();
    for recording in recordings() {
        for body in bodies(&zoom, &recording, Quirks::default()) {
            let (name, announcements) = read(&body);
            let [announcement] = announcements.as_slice() else { panic!("{name}: {announcements:?}") };
            let identity = &announcement.recording.identity;
            assert_eq!(identity.account_id, recording.account_id, "{name}");
            assert_eq!(identity.instance_id, recording.instance_id, "{name}");
            let leaves_kind_open = matches!(
                find(&name).unwrap().shape,
                Shape::Batch
                    | Shape::Summary
                    | Shape::UpdatedSummary
                    | Shape::BareSummary
                    | Shape::MeetingTranscript
            );
            let meant = if leaves_kind_open { RecordingKind::Meeting } else { recording.kind };
            assert_eq!(identity.kind, meant, "{name}");
            assert_eq!(announcement.change, find(&name).unwrap().change, "{name}");
            assert!(announcement.happened_at.is_some() && announcement.odd.is_empty(), "{announcement:?}");
            seen.insert(name);
        }
    }
    assert_eq!(seen, EVENTS.iter().map(|kind| kind.name.to_owned()).collect());
}

#[tokio::test]
async fn odd_forms_of_every_event_are_read_as_the_usual_ones() {
    let zoom = FakeZoom::start(Options::default()).await.unwrap();
    let words = Quirks { doubled_keys: true, unknown_words: true, missing_sizes: true, ..Quirks::default() };
    let forms = [
        Quirks { numbers_as_strings: true, ..words },
        Quirks { strings_as_numbers: true, ..words },
        Quirks { stray_entries: true, ..words },
    ];
    for recording in recordings() {
        let usual = bodies(&zoom, &recording, Quirks::default());
        for quirks in forms {
            for (usual, odd) in usual.iter().zip(bodies(&zoom, &recording, quirks)) {
                let (name, usual) = read(usual);
                let (_, odd) = read(&odd);
                for (usual, odd) in usual.iter().zip(&odd) {
                    assert_eq!(odd.recording.identity, usual.recording.identity, "{name}");
                    assert_eq!(odd.change, usual.change, "{name}");
                    let identities = |it: &Announcement| {
                        it.files.iter().map(|file| file.identity.clone()).collect::<Vec<_>>()
                    };
                    assert_eq!(identities(odd), identities(usual), "{name}");
                }
            }
        }
    }
}

#[tokio::test]
async fn nothing_that_is_kept_of_any_event_holds_a_secret() {
    let zoom = FakeZoom::start(Options::default()).await.unwrap();
    for recording in recordings() {
        for body in bodies(&zoom, &recording, Quirks::default()) {
            let kept = match payload::read(&body) {
                Message::Announcement { announcement, body, .. } => vec![(*announcement, body)],
                Message::Announcements { parts, .. } => {
                    parts.into_iter().map(|part| (part.announcement, part.body)).collect()
                }
                other => panic!("{other:?}"),
            };
            for (announcement, body) in kept {
                let kept = format!("{announcement:?} {}", String::from_utf8(body).unwrap());
                for secret in ["eyJ", "webhook_download", "fake-password", "fake-passcode"] {
                    assert!(!kept.contains(secret), "{secret} in {kept}");
                }
            }
        }
    }
}

#[test]
fn a_file_in_storage_of_the_accounts_own_is_skipped_with_the_reason() {
    let body = |file: Value| {
        json!({"event": "recording.completed", "payload": {"account_id": "acc", "object": {
            "uuid": "u==", "type": 8, "recording_files": [file]}}})
    };
    let own =
        json!({"id": "a", "file_type": "MP4", "external_storage_url": "https://bucket.example/a?sig=s3cret"});
    let announcement = read_json(&body(own)).remove(0);
    let skip = announcement.files[0].skip.as_deref().unwrap();
    assert!(skip.contains("your own storage"), "{skip}");
    assert!(!format!("{announcement:?}").contains("s3cret"));

    let premises = json!({"id": "a", "file_type": "MP4", "file_path": "/recordings/a.mp4"});
    let skip = read_json(&body(premises)).remove(0).files[0].skip.clone().unwrap();
    assert!(skip.contains("your own premises"), "{skip}");

    let both = json!({"id": "a", "file_path": "/x", "download_url": "https://zoom.us/a"});
    assert_eq!(read_json(&body(both)).remove(0).files[0].skip, None);
}

#[test]
fn a_batch_names_each_of_its_recordings_and_an_odd_entry_spoils_none() {
    let body = json!({"event": "recording.batch_deleted", "event_ts": 1_780_000_000_000_i64,
        "payload": {"account_id": "acc", "object": {"meetings": [
            {"meeting_uuid": "/a+=="}, null, {"recording_file_ids": []}, {"meeting_uuid": 77}]}}});
    let read = read_json(&body);
    let ids: Vec<_> = read.iter().map(|it| it.recording.identity.instance_id.as_str()).collect();
    assert_eq!(ids, ["/a+==", "77"]);
    assert_eq!((read[0].odd.len(), read[1].odd.len()), (2, 0));
    assert!(read.iter().all(|it| it.happened_at == Some(at(0))));

    let nothing = json!({"event": "recording.batch_trashed", "payload": {"account_id": "acc"}}).to_string();
    assert!(
        matches!(payload::read(nothing.as_bytes()), Message::Unreadable { reason, .. } if reason == "it names no recording")
    );
}

#[test]
fn times_of_events_are_read_in_milliseconds_in_seconds_and_as_text() {
    for time in
        [json!(1_780_000_000_000_i64), json!("1780000000000"), json!(1_780_000_000), json!("1780000000")]
    {
        let body = json!({"event": "session.recording_started", "event_ts": time,
            "payload": {"object": {"session_id": "s"}}});
        assert_eq!(read_json(&body)[0].happened_at, Some(at(0)), "{time}");
    }
    for odd in [json!(null), json!("soon"), json!(i64::MAX), json!([])] {
        let body = json!({"event": "session.recording_started", "event_ts": odd,
            "payload": {"object": {"session_id": "s"}}});
        assert_eq!(read_json(&body)[0].happened_at, None, "{odd}");
    }
}

#[test]
fn a_deleted_recordings_list_announces_no_files_and_a_trashed_ones_does() {
    let body = |name: &str| {
        json!({"event": name, "payload": {"object": {"uuid": "u==", "type": 8, "recording_files": [
            {"id": "a", "download_url": "https://zoom.us/a"}]}}})
    };
    assert_eq!(read_json(&body("recording.deleted"))[0].files.len(), 0);
    assert_eq!(read_json(&body("recording.trashed"))[0].files.len(), 1);
}

#[test]
fn a_summary_without_its_text_is_odd_and_its_meeting_is_known_all_the_same() {
    let body = json!({"event": "meeting.summary_completed", "payload": {"account_id": "acc",
        "object": {"meeting_uuid": "u==", "meeting_topic": "Weekly", "meeting_host_id": "h"}}});
    let read = read_json(&body).remove(0);
    assert_eq!((read.files.len(), read.odd.len()), (0, 1));
    assert_eq!(read.recording.topic.as_deref(), Some("Weekly"));
    assert_eq!(read.recording.metadata["host_id"], "h");
    assert_eq!(read.change, Change { summary: Some(TextState::Completed), ..Change::default() });
}

// ---------------------------------------------------------------------------------------------------------
// In a running service

impl Scene {
    async fn tell(&self, recording: &FakeRecording, what: Happening<'_>) {
        let body = self.zoom.tell(recording, what, Quirks::default(), Clock::System.now());
        let delivery = self.sender.deliver(&body.expect("there is such an event")).await;
        assert!(delivery.answer.is_accepted(), "{}", delivery.answer);
    }
}

/// What each event makes of what people see of its recording: how it stands, its transcript, its summary. Said here in full,
/// so that the table in the code does not agree with itself alone.
const SEEN: [(&str, [Option<&str>; 3]); 41] = [
    ("session.recording_started", [Some("started"), None, None]),
    ("session.recording_paused", [Some("paused"), None, None]),
    ("session.recording_resumed", [Some("started"), None, None]),
    ("session.recording_stopped", [Some("stopped"), None, None]),
    ("session.recording_completed", [Some("completed"), None, None]),
    ("session.recording_transcript_completed", [None, Some("completed"), None]),
    ("session.recording_transcript_failed", [None, Some("failed"), None]),
    ("session.recording_summary_completed", [None, None, Some("completed")]),
    ("session.recording_trashed", [Some("trashed"), None, None]),
    ("session.recording_deleted", [Some("deleted"), None, None]),
    ("session.recording_recovered", [Some("recovered"), None, None]),
    ("recording.started", [Some("started"), None, None]),
    ("recording.paused", [Some("paused"), None, None]),
    ("recording.resumed", [Some("started"), None, None]),
    ("recording.stopped", [Some("stopped"), None, None]),
    ("recording.completed", [Some("completed"), None, None]),
    ("recording.transcript_completed", [None, Some("completed"), None]),
    ("recording.trashed", [Some("trashed"), None, None]),
    ("recording.deleted", [Some("deleted"), None, None]),
    ("recording.recovered", [Some("recovered"), None, None]),
    ("recording.batch_trashed", [Some("trashed"), None, None]),
    ("recording.batch_deleted", [Some("deleted"), None, None]),
    ("recording.batch_recovered", [Some("recovered"), None, None]),
    ("recording.renamed", [None, None, None]),
    ("recording.archive_files_completed", [None, None, None]),
    ("meeting.summary_completed", [None, None, Some("completed")]),
    ("meeting.summary_updated", [None, None, Some("completed")]),
    ("meeting.summary_trashed", [None, None, None]),
    ("meeting.summary_deleted", [None, None, None]),
    ("meeting.summary_recovered", [None, None, None]),
    ("phone.recording_completed", [Some("completed"), None, None]),
    ("phone.recording_completed_for_access_member", [Some("completed"), None, None]),
    ("phone.recording_deleted", [Some("trashed"), None, None]),
    ("phone.recording_permanently_deleted", [Some("deleted"), None, None]),
    ("phone.recording_transcript_completed", [None, Some("completed"), None]),
    ("phone.voicemail_received", [Some("completed"), None, None]),
    ("phone.voicemail_received_for_access_member", [Some("completed"), None, None]),
    ("phone.voicemail_transcript_completed", [None, Some("completed"), None]),
    ("phone.voicemail_deleted", [Some("trashed"), None, None]),
    ("phone.voicemail_permanently_deleted", [Some("deleted"), None, None]),
    ("meeting.aic_transcript_completed", [None, None, None]),
];

#[tokio::test]
async fn every_event_moves_what_people_see_of_its_recording() {
    // Nothing but events moves anything here.
    let scene = Scene::with(|setup| setup.roles("receiver")).await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let recordings = format!("http://{}/api/v1/recordings", scene.service.admin_addr());
    let mut told = BTreeSet::new();
    let of_kind =
        [FakeRecording::video_sdk, FakeRecording::meeting, FakeRecording::webinar, FakeRecording::call];
    for (kind, recording) in (0..).zip(of_kind) {
        let count = bodies(&scene.zoom, &recording(0), Quirks::default()).len();
        // Each is told of a recording of its own.
        for index in 0..count {
            let recording = recording(100 * kind + index as u64);
            let body = bodies(&scene.zoom, &recording, Quirks::default()).remove(index);
            assert!(scene.sender.deliver(&body).await.answer.is_accepted());
            let name = read(&body).0;
            let id = utf8_percent_encode(&recording.instance_id, NON_ALPHANUMERIC);
            let page = client.get(format!("{recordings}?instance_id={id}")).send().await.unwrap();
            let page = page.text().await.unwrap();
            scene.service.secrets().assert_none_in(&page);
            let page: Value = serde_json::from_str(&page).unwrap();
            let [seen] = page["items"].as_array().unwrap().as_slice() else { panic!("{name}: {page}") };
            let (_, expected) = SEEN.iter().find(|(event, _)| *event == name).expect("it is said above");
            let facts = ["state", "transcript", "summary"].map(|fact| seen[fact].as_str());
            assert_eq!(facts, *expected, "{name}");
            if name == "recording.renamed" {
                assert_eq!(seen["topic"], "Another topic");
            }
            told.insert(name);
        }
    }
    assert_eq!(told, SEEN.iter().map(|(name, _)| (*name).to_owned()).collect());
    assert_eq!(told, EVENTS.iter().map(|kind| kind.name.to_owned()).collect());
    scene.close().await;
}

#[tokio::test]
async fn whatever_takes_a_recording_away_is_told_and_has_what_is_missing_fetched_at_once() {
    let scene = Scene::with(|setup| {
        let rests = ["ZOOM_ARCHIVER_WORKER__RETRY_BASE_MS", "ZOOM_ARCHIVER_WORKER__RETRY_MAX_MS"];
        rests.into_iter().fold(setup, |setup, key| setup.env(key, "3600000"))
    })
    .await;
    let ways = [
        (RecordingKind::VideoSdk, Happening::Trashed, "trashed"),
        (RecordingKind::VideoSdk, Happening::Deleted, "deleted"),
        (RecordingKind::Meeting, Happening::Trashed, "trashed"),
        (RecordingKind::Meeting, Happening::Deleted, "deleted"),
        (RecordingKind::Meeting, Happening::BatchTrashed, "trashed"),
        (RecordingKind::Meeting, Happening::BatchDeleted, "deleted"),
    ];
    for (seed, (kind, what, state)) in (20..).zip(ways) {
        let recording = FakeRecording::new(kind, seed).with([FakeFile::generated(seed, 1000)]);
        scene.shelve(&recording);
        let error = Fault::Status { code: StatusCode::INTERNAL_SERVER_ERROR, retry_after: None };
        scene.zoom.library().inject(&recording.files[0].key, error, When::First(1));
        scene.announce(&recording, EventKind::Recording).await;
        let row = async || {
            let id = recording.files[0].id.as_deref();
            scene.files().await.into_iter().find(|row| Some(row.identity.name.as_str()) == id)
        };
        eventually("the first try has failed", || async { row().await.filter(|row| row.reason.is_some()) })
            .await;
        scene.tell(&recording, what).await;
        let is_told = |line: &Value| {
            line["recording.instance"] == recording.instance_id && line["recording.state"] == state
        };
        let line = scene.service.log.wait_for(is_told).await;
        assert_eq!((&line["level"], &line["files"]), (&json!("WARN"), &json!(1)), "{what:?}");
        eventually("it is archived", || async { row().await.filter(|row| row.state == FileState::Archived) })
            .await;
    }
    for state in ["trashed", "deleted"] {
        assert_eq!(scene.service.metric("zoom_archiver_endangered_files_total", state).await, 3.0);
    }
    scene.settled().await;
    scene.close().await;
}

#[tokio::test]
async fn what_zoom_does_not_keep_itself_is_recorded_as_such_beside_what_is_archived() {
    let scene = Scene::start().await;
    let recording = FakeRecording::new(RecordingKind::Meeting, 30)
        .with((30..33).map(|seed| FakeFile::generated(seed, 1000)));
    let body = scene.zoom.announce(&recording, EventKind::Recording, Quirks::default());
    let mut event: Value = serde_json::from_slice(&body).unwrap();
    let entries = event["payload"]["object"]["recording_files"].as_array_mut().unwrap();
    for (entry, (key, place)) in entries.iter_mut().zip([
        ("external_storage_url", "https://bucket.example/a.mp4?signature=s3cret"),
        ("file_path", "/recordings/b.mp4"),
    ]) {
        entry.as_object_mut().unwrap().remove("download_url");
        entry[key] = json!(place);
    }
    assert!(scene.sender.deliver(event.to_string().as_bytes()).await.answer.is_accepted());
    let archived = scene.one_file_in(FileState::Archived).await;
    scene.settled().await;
    let manifest = scene.manifest(&archived).await;
    for (file, (state, words)) in manifest["files"].as_array().unwrap().iter().zip([
        ("skipped", "your own storage"),
        ("skipped", "your own premises"),
        ("archived", ""),
    ]) {
        assert_eq!(file["state"], state, "{manifest}");
        assert!(file["reason"].as_str().unwrap_or_default().contains(words), "{manifest}");
    }
    assert!(!manifest.to_string().contains("s3cret"));
    scene.close().await;
}

#[tokio::test]
async fn a_meetings_summary_is_archived_with_its_proof_and_erased_from_the_database() {
    let scene = Scene::start().await;
    let recording = FakeRecording::new(RecordingKind::Meeting, 11);
    scene.tell(&recording, Happening::SummaryCompleted("Ünder budget, on time.")).await;
    let file = scene.one_file_in(FileState::Archived).await;
    let object = scene.object(&file).await;
    let summary: Value = serde_json::from_slice(&object).unwrap();
    assert_eq!(summary["summary_overview"], "Ünder budget, on time.");
    let archived = file.archived.clone().unwrap();
    assert_eq!((archived.bytes, archived.mark), (object.len() as u64, None));
    assert_eq!(archived.content_type, "application/json");
    assert!(file.object_key.as_deref().unwrap().ends_with(".json"));
    scene.settled().await;
    let manifest = scene.manifest(&file).await;
    assert_eq!(manifest["files"][0]["object"]["sha256"], archived.sha256.to_string());
    assert_eq!(manifest["recording"]["summary"], "completed");
    assert_eq!(scene.store.transfer_work(file.id).await.unwrap().unwrap().content, None);

    // The same event once more is nothing new.
    scene.tell(&recording, Happening::SummaryCompleted("Ünder budget, on time.")).await;
    scene.settled().await;
    assert_eq!(scene.files().await.len(), 1);
    scene.close().await;
}

#[tokio::test]
async fn a_renamed_recording_keeps_its_keys_and_its_manifest_tells_the_new_name() {
    let scene = Scene::start().await;
    let recording = FakeRecording::new(RecordingKind::Meeting, 12).with([FakeFile::generated(12, 1000)]);
    scene.announce(&recording, EventKind::Recording).await;
    let file = scene.one_file_in(FileState::Archived).await;
    scene.settled().await;
    assert_eq!(scene.manifest(&file).await["recording"]["topic"], recording.topic);

    scene.tell(&recording, Happening::Renamed("Board, final")).await;
    eventually("the manifest tells the new name", || async {
        (scene.manifest(&file).await["recording"]["topic"] == "Board, final").then_some(())
    })
    .await;
    // A transcript that comes later lies beside the others, under the old name.
    let late = recording.clone().with([FakeFile::new(
        "TRANSCRIPT",
        "VTT",
        "audio_transcript",
        Content::Embedded(b"WEBVTT\n"),
    )]);
    scene.announce(&late, EventKind::Transcript).await;
    let files = eventually("both are archived", || async {
        let files = scene.files().await;
        let archived = files.iter().filter(|file| file.state == FileState::Archived).count();
        (archived == 2).then_some(files)
    })
    .await;
    let folder = |file: &FileRow| file.object_key.as_deref().unwrap().rsplit_once('/').unwrap().0.to_owned();
    assert_eq!(folder(&files[0]), folder(&files[1]));
    assert_eq!(files[0].object_key, file.object_key);
    scene.settled().await;
    scene.close().await;
}

#[tokio::test]
async fn a_recording_that_leaves_zoom_before_it_is_archived_is_told_loudly() {
    let scene = Scene::with(|setup| {
        let rests = ["ZOOM_ARCHIVER_WORKER__RETRY_BASE_MS", "ZOOM_ARCHIVER_WORKER__RETRY_MAX_MS"];
        rests.into_iter().fold(setup, |setup, key| setup.env(key, "3600000"))
    })
    .await;
    let recording = FakeRecording::new(RecordingKind::VideoSdk, 13).with([FakeFile::generated(13, 1000)]);
    scene.shelve(&recording);
    let error = Fault::Status { code: StatusCode::INTERNAL_SERVER_ERROR, retry_after: None };
    scene.zoom.library().inject(&recording.files[0].key, error, When::First(1));
    scene.announce(&recording, EventKind::Recording).await;
    eventually("the first try has failed", || async {
        scene.files().await.first().filter(|file| file.reason.is_some()).map(|_| ())
    })
    .await;

    // It would have rested for up to an hour; now it is due at once.
    scene.tell(&recording, Happening::Trashed).await;
    let line = scene.service.log.wait_for(|line| line["recording.state"] == "trashed").await;
    assert_eq!((&line["level"], &line["files"]), (&json!("WARN"), &json!(1)));
    assert_eq!(scene.service.metric("zoom_archiver_endangered_files_total", "trashed").await, 1.0);
    let file = scene.one_file_in(FileState::Archived).await;
    scene.settled().await;
    let (row, _) = scene.store.recording(file.recording_id).await.unwrap().unwrap();
    assert_eq!(row.state, Some(RecordingState::Trashed));

    // What is archived is in no danger.
    scene.tell(&recording, Happening::Deleted).await;
    eventually("the manifest tells that it is deleted", || async {
        (scene.manifest(&file).await["recording"]["state"] == "deleted").then_some(())
    })
    .await;
    scene.settled().await;
    assert_eq!(scene.service.metric("zoom_archiver_endangered_files_total", "deleted").await, 0.0);
    scene.close().await;
}

#[test]
fn a_token_that_comes_with_a_call_is_used() {
    let body = json!({"event": "phone.recording_completed", "download_token": "t", "payload": {"account_id": "acc",
        "object": {"recordings": [{"id": "r", "download_url": "https://zoom.us/a"}, {"caller_name": "nobody"}]}}});
    let read = read_json(&body);
    assert_eq!((read.len(), read[0].odd.len()), (1, 1));
    assert!(read[0].files[0].download_token.is_some());
}

#[tokio::test]
async fn a_call_without_token_and_without_credentials_is_parked_with_what_to_set() {
    let scene = Scene::start().await;
    let call = FakeRecording::call(16);
    scene.tell(&call, Happening::CallRecorded).await;
    let file = scene.one_file_in(FileState::Parked).await;
    let reason = file.reason.unwrap();
    assert!(reason.contains("brought no token") && reason.contains("ZOOM_CLIENT_SECRET"), "{reason}");
    scene.close().await;
}

#[tokio::test]
async fn a_recorded_call_is_archived_with_its_transcript() {
    let scene = Scene::staged(Options::default(), |setup, zoom| {
        let setup = setup.env("ZOOM_ARCHIVER_ZOOM__OAUTH_BASE_URL", zoom.oauth_base_url());
        zoom.oauth_credentials().into_iter().fold(setup, |setup, (name, value)| setup.env(name, value))
    })
    .await;
    let call = FakeRecording::call(14);
    scene.tell(&call, Happening::CallRecorded).await;
    scene.tell(&call, Happening::CallTranscribed).await;
    let files = eventually("both are archived", || async {
        let files = scene.files().await;
        let archived = files.iter().filter(|file| file.state == FileState::Archived).count();
        (archived == 2).then_some(files)
    })
    .await;
    for (file, fake) in files.iter().zip(&call.files) {
        scene.assert_archived(file, fake.content).await;
    }
    scene.settled().await;
    let (row, _) = scene.store.recording(files[0].recording_id).await.unwrap().unwrap();
    assert_eq!(row.identity.kind, RecordingKind::Phone);
    assert_eq!(row.topic.as_deref(), Some("Ada Example to Grace Example"));
    assert_eq!((row.state, row.transcript), (Some(RecordingState::Completed), Some(TextState::Completed)));
    assert_eq!(scene.manifest(&files[0]).await["files"].as_array().unwrap().len(), 2);
    // What opened them is the key to much else, and lies in no row.
    let work = scene.store.transfer_work(files[0].id).await.unwrap().unwrap();
    assert!(work.download_token.is_none());
    scene.close().await;
}

#[tokio::test]
async fn a_call_that_is_told_to_everybody_who_may_listen_to_it_is_archived_once() {
    let scene = Scene::staged(Options::default(), with_api).await;
    let call = FakeRecording::call(16);
    scene.shelve(&call);
    for what in [Happening::CallRecorded, Happening::CallRecordedForAccessMember, Happening::CallRecorded] {
        scene.tell(&call, what).await;
    }
    let file = scene.one_file_in(FileState::Archived).await;
    scene.assert_archived(&file, call.files[0].content).await;
    for (what, state) in [
        (Happening::CallDeleted, RecordingState::Trashed),
        (Happening::CallPermanentlyDeleted, RecordingState::Deleted),
    ] {
        scene.tell(&call, what).await;
        let (row, files) = scene.store.recording(file.recording_id).await.unwrap().unwrap();
        assert_eq!(
            (row.state, files.len(), files[0].state),
            (Some(state), 1, FileState::Archived),
            "{what:?}"
        );
    }
    scene.settled().await;
    scene.close().await;
}

#[tokio::test]
async fn a_voicemail_is_archived_once_with_what_was_said_in_it() {
    let scene = Scene::staged(Options::default(), with_api).await;
    let voicemail = FakeRecording::call(19);
    scene.shelve(&voicemail);
    for what in [
        Happening::VoicemailReceived,
        Happening::VoicemailReceivedForAccessMember,
        Happening::VoicemailTranscribed,
        Happening::VoicemailReceived,
    ] {
        scene.tell(&voicemail, what).await;
    }
    scene.settled().await;
    let files = scene.files().await;
    assert_eq!(files.len(), 2, "{files:?}");
    assert!(files.iter().all(|file| file.state == FileState::Archived), "{files:?}");
    scene.assert_archived(&files[0], voicemail.files[0].content).await;
    let said: Value = serde_json::from_slice(&scene.object(&files[1]).await).unwrap();
    assert_eq!(said["content"], VOICEMAIL_TEXT);
    // What was said is in the object, and nowhere beside it.
    let manifest = scene.manifest(&files[0]).await;
    assert!(!manifest.to_string().contains(VOICEMAIL_TEXT), "{manifest}");
    for (what, state) in [
        (Happening::VoicemailDeleted, RecordingState::Trashed),
        (Happening::VoicemailPermanentlyDeleted, RecordingState::Deleted),
    ] {
        scene.tell(&voicemail, what).await;
        let (row, files) = scene.store.recording(files[0].recording_id).await.unwrap().unwrap();
        assert_eq!((row.state, files.len()), (Some(state), 2), "{what:?}");
    }
    scene.settled().await;
    scene.close().await;
}

#[tokio::test]
async fn the_transcript_of_a_meeting_that_was_not_recorded_is_asked_for_and_archived() {
    let scene = Scene::staged(Options::default(), |setup, zoom| {
        with_api(setup, zoom).env("ZOOM_ARCHIVER_TRANSFER__PROCESSING_SECS", "1")
    })
    .await;
    scene.zoom.library().open_files_by_api_bearer();
    let text = Content::Embedded(b"WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nAda: All is well.\n");
    let meeting = FakeRecording::new(RecordingKind::Meeting, 20);
    // Zoom tells of it a moment before its own call knows it.
    scene.shelve(&meeting);
    scene.tell(&meeting, Happening::AicTranscriptCompleted).await;
    let asked = |library: &Library| library.api_calls(Endpoint::MeetingTranscript) >= 1;
    until_zoom(&scene.zoom, "it is asked where the transcript is", asked).await;
    scene.shelve(&meeting.with([FakeFile::new("TRANSCRIPT", "VTT", "audio_transcript", text)]));
    let file = scene.one_file_in(FileState::Archived).await;
    scene.assert_archived(&file, text).await;
    assert!(file.object_key.as_deref().unwrap().ends_with(".vtt"));
    scene.settled().await;
    assert_eq!(scene.files().await.len(), 1);
    scene.close().await;
}

#[tokio::test]
async fn the_transcript_of_a_meeting_waits_for_credentials_where_there_are_none() {
    let scene = Scene::start().await;
    scene.tell(&FakeRecording::meeting(21), Happening::AicTranscriptCompleted).await;
    let file = scene.one_file_in(FileState::Parked).await;
    assert_eq!((file.file_type.as_str(), file.object_key), ("TRANSCRIPT", None));
    scene.close().await;
}

#[tokio::test]
async fn a_newer_summary_is_another_object_and_the_old_one_stays() {
    let scene = Scene::start().await;
    let meeting = FakeRecording::meeting(17);
    for what in [
        Happening::SummaryCompleted("All is well."),
        Happening::SummaryUpdated("All is better."),
        Happening::SummaryUpdated("All is better."),
        Happening::SummaryDeleted,
    ] {
        scene.tell(&meeting, what).await;
    }
    scene.settled().await;
    let files = scene.files().await;
    assert!(files.iter().all(|file| file.state == FileState::Archived), "{files:?}");
    let mut texts = BTreeSet::new();
    for file in &files {
        let summary: Value = serde_json::from_slice(&scene.object(file).await).unwrap();
        texts.insert(summary["summary_overview"].as_str().unwrap().to_owned());
    }
    assert_eq!(texts, BTreeSet::from(["All is better.".to_owned(), "All is well.".to_owned()]));
    assert_eq!(files.len(), 2);
    assert_eq!(scene.manifest(&files[0]).await["files"].as_array().unwrap().len(), 2);
    scene.close().await;
}

#[tokio::test]
async fn a_topic_that_is_no_clean_text_costs_no_recording() {
    let scene = Scene::start().await;
    let recording = FakeRecording::meeting(18);
    scene.shelve(&recording);
    let body = scene.zoom.announce(&recording, EventKind::Recording, Quirks::default());
    let body = String::from_utf8(body).unwrap();
    let topic = format!("\"topic\":\"{}\"", recording.topic);
    assert!(body.contains(&topic), "{body}");
    for spoilt in [b"\"topic\":\"Budget \\ud83d\"".as_slice(), b"\"topic\":\"Budget \xe9\""] {
        let (before, after) = body.split_once(&topic).unwrap();
        let body = [b"\xef\xbb\xbf", before.as_bytes(), spoilt, after.as_bytes()].concat();
        assert!(scene.sender.deliver(&body).await.answer.is_accepted());
        scene.settled().await;
        let files = scene.files().await;
        assert!(files.iter().all(|file| file.state == FileState::Archived), "{files:?}");
        let (row, _) = scene.store.recording(files[0].recording_id).await.unwrap().unwrap();
        assert_eq!(row.topic.as_deref(), Some("Budget \u{fffd}"));
    }
    assert_eq!(scene.store.unreadable_events().await.unwrap(), 0);
    scene.close().await;
}

#[tokio::test]
async fn an_archiving_accounts_files_are_archived_and_compared_with_the_digest_that_zoom_gives() {
    let scene = Scene::start().await;
    let recording = FakeRecording::new(RecordingKind::Meeting, 15).with([FakeFile::generated(15, 5000)]);
    scene.tell(&recording, Happening::ArchiveFilesCompleted).await;
    let file = scene.one_file_in(FileState::Archived).await;
    assert_eq!(file.identity.collection, "archive_files");
    scene.assert_archived(&file, recording.files[0].content).await;
    assert_eq!(file.archived.unwrap().mark, None);
    scene.settled().await;
    scene.close().await;
}

#[tokio::test]
async fn an_archive_file_whose_token_has_expired_is_opened_by_the_bearer_of_the_api() {
    let scene = Scene::staged(Options::default(), with_api).await;
    let library = scene.zoom.library();
    library.open_files_by_api_bearer();
    let recording = FakeRecording::new(RecordingKind::Meeting, 22).with([FakeFile::generated(22, 5000)]);
    scene.shelve(&recording);
    library.inject(&recording.files[0].key, Fault::ExpiredToken, When::First(1));
    scene.tell(&recording, Happening::ArchiveFilesCompleted).await;
    let file = scene.one_file_in(FileState::Archived).await;
    scene.assert_archived(&file, recording.files[0].content).await;
    assert!(scene.store.transfer_work(file.id).await.unwrap().unwrap().download_token.is_none());
    scene.settled().await;
    scene.close().await;
}

#[tokio::test]
async fn an_archive_file_with_another_digest_than_announced_is_asked_for_once_more_then_archived_and_marked()
{
    let scene = Scene::start().await;
    let recording = FakeRecording::new(RecordingKind::Meeting, 16).with([FakeFile::generated(16, 5000)]);
    let (happening, now) = (Happening::ArchiveFilesCompleted, Clock::System.now());
    let body = scene.zoom.tell(&recording, happening, Quirks::default(), now).unwrap();
    let digest = recording.files[0].content.sha256().to_string();
    let body = String::from_utf8(body).unwrap();
    assert!(body.contains(&digest), "{body}");
    let body = body.replace(&digest, &"0".repeat(64));
    assert!(scene.sender.deliver(body.as_bytes()).await.answer.is_accepted());
    let file = scene.one_file_in(FileState::Archived).await;
    scene.assert_archived(&file, recording.files[0].content).await;
    let mark = "suspect: its SHA-256 is not the one that Zoom announced";
    assert_eq!(file.archived.unwrap().mark.as_deref(), Some(mark));
    assert_eq!(scene.zoom.library().account(&recording.files[0].key).unwrap().requests, 2);
    scene.settled().await;
    scene.close().await;
}
