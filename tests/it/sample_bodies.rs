//! Bodies in the shapes that Zoom documents, or was seen to send, of every event and of the API's answers about the same
//! recordings: each file is one row with the right identity, type, extension, size and time, whoever tells of it.

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};
use zoom_archiver::clock::Clock;
use zoom_archiver::domain::event::EventContent;
use zoom_archiver::domain::file::{FileRow, FileState};
use zoom_archiver::domain::recording::{RecordingIdentity, RecordingKind};
use zoom_archiver::simulator::ledger::Endpoint;
use zoom_archiver::simulator::{Content, FakeFile, FakeRecording, Options};
use zoom_archiver::zoom::events::EVENTS;
use zoom_archiver::zoom::payload;

use crate::support::said::event;
use crate::support::scene::{Ground, Scene, on_each_ground, with_api};

on_each_ground!(every_file_of_every_documented_body_is_one_row_whoever_tells_of_it);

/// What a row must say.
#[derive(Debug)]
struct Row {
    collection: &'static str,
    name: String,
    file_type: &'static str,
    extension: &'static str,
    recording_type: &'static str,
    /// Nothing is looked at where it is `None`.
    bytes: Option<u64>,
    /// The recording type is not in the first event about it: what is archived by then is recorded without.
    is_typed_later: bool,
}

fn row(
    collection: &'static str,
    name: &str,
    file_type: &'static str,
    extension: &'static str,
    recording_type: &'static str,
) -> Row {
    Row {
        collection,
        name: name.to_owned(),
        file_type,
        extension,
        recording_type,
        bytes: Some(size(extension)),
        is_typed_later: false,
    }
}

impl Row {
    fn of_unknown_size(self) -> Self {
        Self { bytes: None, ..self }
    }

    fn typed_later(self) -> Self {
        Self { is_typed_later: true, ..self }
    }
}

/// One recording: what events say of it, what the API says of it by itself and in a list, and the rows that come of it.
struct Sample {
    kind: RecordingKind,
    instance: &'static str,
    /// Names of events, and their `payload.object`.
    events: Vec<(&'static str, Value)>,
    /// The answer about it alone, and its entry in the list.
    answers: Option<(Value, Value)>,
    rows: Vec<Row>,
}

/// Where samples put their files.
struct Desk<'a> {
    scene: &'a Scene,
    /// Start of everything.
    start: DateTime<Utc>,
}

/// Bytes of the right shape for an extension.
fn content(extension: &str) -> Content {
    match extension {
        "vtt" => Content::Embedded(b"WEBVTT\n\n00:00:01.000 --> 00:00:02.000\nAda: All is well.\n"),
        "json" => Content::Embedded(b"{\"all\": \"is well\"}\n"),
        "txt" => Content::Embedded(b"14:00:01 Ada: all is well\n"),
        "csv" => Content::Embedded(b"name,answer\nAda,yes\n"),
        "jpg" => Content::Embedded(b"\xff\xd8\xff\xe0\0\x10JFIF\0\x01\x01\0\0\x01\0\x01\0\0\xff\xd9"),
        "mp3" => Content::Embedded(b"ID3\x04\0\0\0\0\0\0\xff\xfb\x90\0"),
        _ => Content::Generated { seed: 5, bytes: 3000 },
    }
}

/// Length of what [`content`] gives.
fn size(extension: &str) -> u64 {
    content(extension).len()
}

impl Desk<'_> {
    fn time(&self) -> String {
        self.start.to_rfc3339_opts(SecondsFormat::Secs, true)
    }

    /// An entry of a list of files: `given` over what most have. The file lies on the shelf of `instance`.
    fn entry(&self, instance: &str, key: &str, extension: &str, given: Value) -> Value {
        let mut entry = json!({
            "id": key, "status": "completed", "recording_start": self.time(), "recording_end": self.time(),
            "file_size": size(extension), "download_url": self.shelve(instance, key, extension),
        });
        for (key, value) in given.as_object().expect("an object") {
            match value {
                Value::Null => drop(entry.as_object_mut().expect("an object").remove(key)),
                value => entry[key] = value.clone(),
            }
        }
        entry
    }

    fn shelve(&self, instance: &str, key: &str, extension: &str) -> String {
        let mut recording = FakeRecording::new(RecordingKind::Meeting, 1);
        recording.instance_id = instance.to_owned();
        let mut file = FakeFile::new("", extension, "", content(extension));
        file.key = key.to_owned();
        self.scene.zoom.library().add(&recording.with([file]));
        format!("{}/rec/webhook_download/{key}/sample", self.scene.zoom.origin())
    }

    fn session(&self) -> Sample {
        let instance = "sess+/ion==";
        let file = |key, extension, given| self.entry(instance, key, extension, given);
        let own = |given: Value| {
            json!({ "session_id": instance, "session_name": "Samples", "start_time": self.time(),
            "timezone": "UTC", "files": given })
        };
        let lists = |audio_type: Value, has_ids: bool| {
            let id = |id: &str| if has_ids { json!(id) } else { Value::Null };
            (
                json!([
                    file(
                        "s1",
                        "mp4",
                        json!({ "file_type": "MP4", "file_extension": "MP4",
                        "recording_type": "shared_screen_with_speaker_view" })
                    ),
                    file(
                        "s2",
                        "m4a",
                        json!({ "file_type": "M4A", "file_extension": "M4A",
                        "recording_type": "audio_only", "external_storage_url": "s3://bucket/cmr/s2.m4a" })
                    ),
                    file(
                        "s3",
                        "txt",
                        json!({ "file_type": "CHAT", "file_extension": "TXT", "recording_type": "chat_file" })
                    ),
                    // Documented without id, status, size and recording type; seen with id and type.
                    file(
                        "s4",
                        "vtt",
                        json!({ "id": id("s4"), "status": null, "file_size": null, "file_type": "CC",
                        "file_extension": "VTT" })
                    ),
                    file(
                        "s5",
                        "json",
                        json!({ "id": id("s5"), "status": null, "file_size": null, "file_type": "TIMELINE",
                        "file_extension": "JSON", "recording_type": if has_ids { json!("timeline") } else { Value::Null } })
                    ),
                    file(
                        "s6",
                        "csv",
                        json!({ "file_type": "CSV", "file_extension": "CSV", "recording_type": "poll" })
                    ),
                    file(
                        "s7",
                        "jpg",
                        json!({ "file_type": "TB", "file_extension": "JPG", "recording_type": "thumbnail" })
                    ),
                    file(
                        "s8",
                        "json",
                        json!({ "file_type": "CHAT_MESSAGE", "file_extension": "JSON",
                        "recording_type": "chat_message" })
                    ),
                ]),
                json!([
                    // Zoom's own example names a participant's sound `MP4`.
                    file(
                        "s9",
                        "m4a",
                        json!({ "file_type": "M4A", "file_extension": "MP4", "recording_type": audio_type,
                        "user_id": "16778240", "user_key": "ada", "play_url": "https://zoom.us/rec/play/x" })
                    ),
                ]),
                json!([file(
                    "s10",
                    "mp4",
                    json!({ "file_type": "MP4", "file_extension": "MP4",
                        "recording_type": "individual_user", "user_id": 16_778_241, "user_key": "grace" })
                ),]),
            )
        };
        let with_lists = |audio_type: Value, has_ids: bool| {
            let mut object = own(json!(null));
            let (recording, audio, video) = lists(audio_type, has_ids);
            object["recording_files"] = recording;
            object["participant_audio_files"] = audio;
            object["participant_video_files"] = video;
            object
        };
        let later = |given: Value| {
            let mut object = own(json!(null));
            object["recording_files"] = json!([given]);
            object
        };
        // The reference has a transcript with the extension `M4A`.
        let transcript = json!({ "file_type": "TRANSCRIPT", "file_extension": "M4A", "recording_type": "audio_transcript" });
        let summary =
            json!({ "file_type": "SUMMARY", "file_extension": "JSON", "recording_type": "summary" });
        let (transcript, summary) = (file("s11", "vtt", transcript), file("s12", "json", summary));
        let mut answer = with_lists(Value::Null, true);
        for file in [&transcript, &summary] {
            answer["recording_files"].as_array_mut().expect("a list").push(file.clone());
        }
        // Lists name no extension, and a time of deletion beside the status.
        let mut listed = answer.clone();
        for entry in listed["recording_files"].as_array_mut().expect("a list") {
            entry.as_object_mut().expect("an object").remove("file_extension");
            entry["deleted_time"] = json!("");
        }
        answer["download_access_token"] = json!(self.token(instance));
        let bare = || {
            let mut object = own(json!(null));
            object["recording_file"] = json!({ "recording_start": self.time(), "recording_end": "" });
            object
        };
        Sample {
            kind: RecordingKind::VideoSdk,
            instance,
            events: vec![
                ("session.recording_started", bare()),
                ("session.recording_paused", bare()),
                ("session.recording_resumed", bare()),
                ("session.recording_stopped", bare()),
                ("session.recording_completed", with_lists(json!("audio_only"), false)),
                ("session.recording_transcript_completed", later(transcript)),
                // The reference's example has no files.
                ("session.recording_transcript_failed", own(json!(null))),
                ("session.recording_summary_completed", later(summary)),
                ("session.recording_trashed", own(json!(null))),
                ("session.recording_deleted", own(json!(null))),
                ("session.recording_recovered", own(json!(null))),
            ],
            answers: Some((answer, listed)),
            rows: vec![
                row("recording_files", "s1", "MP4", "mp4", "shared_screen_with_speaker_view"),
                row("recording_files", "s2", "M4A", "m4a", "audio_only"),
                row("recording_files", "s3", "CHAT", "txt", "chat_file"),
                row("recording_files", "s4", "CC", "vtt", "").of_unknown_size(),
                row("recording_files", "s5", "TIMELINE", "json", "timeline").of_unknown_size().typed_later(),
                row("recording_files", "s6", "CSV", "csv", "poll"),
                row("recording_files", "s7", "TB", "jpg", "thumbnail"),
                row("recording_files", "s8", "CHAT_MESSAGE", "json", "chat_message"),
                row("participant_audio_files", "s9", "M4A", "m4a", "audio_only"),
                row("participant_video_files", "s10", "MP4", "mp4", "individual_user"),
                row("recording_files", "s11", "TRANSCRIPT", "vtt", "audio_transcript"),
                row("recording_files", "s12", "SUMMARY", "json", "summary"),
            ],
        }
    }

    fn token(&self, instance: &str) -> String {
        self.scene.zoom.library().issue_token(instance, std::time::Duration::from_secs(3600))
    }

    fn meeting(&self) -> Sample {
        let instance = "/meet//ing==";
        let file = |key, extension, given| self.entry(instance, key, extension, given);
        let own = |more: Value| {
            let mut object = json!({ "uuid": instance, "id": 86_413_209_876_u64, "account_id": "ignored in favour of payload",
                "host_id": "h", "topic": "Samples", "type": 8, "start_time": self.time(), "timezone": "Europe/Berlin" });
            object.as_object_mut().expect("an object").remove("account_id");
            for (key, value) in more.as_object().expect("an object") {
                object[key] = value.clone();
            }
            object
        };
        let files = |audio_type: Value| {
            json!({
                "recording_files": [
                    file("m1", "mp4", json!({ "file_type": "MP4", "file_extension": "MP4", "meeting_id": instance,
                        "recording_type": "shared_screen_with_speaker_view(CC)", "encryption_fingerprint": "" })),
                    file("m2", "json", json!({ "file_type": "SUB_GROUP_MEMBER_LOG", "file_extension": "JSON" })),
                    file("m3", "json", json!({ "file_type": "AIC_CONVERSATION", "file_extension": "JSON",
                        "recording_type": "aic_conversation" })),
                    file("m4", "m4a", json!({ "file_type": "M4A", "file_extension": "M4A",
                        "recording_type": "audio_interpretation" })),
                ],
                "participant_audio_files": [
                    file("m5", "m4a", json!({ "file_type": "M4A", "file_extension": "M4A", "file_name": "Audio only - Ada",
                        "recording_type": audio_type })),
                ],
            })
        };
        let transcript = file(
            "m6",
            "vtt",
            json!({ "file_type": "TRANSCRIPT", "file_extension": "VTT",
            "recording_type": "audio_transcript" }),
        );
        let mut answer = own(files(Value::Null));
        answer["recording_files"].as_array_mut().expect("a list").push(transcript.clone());
        let listed = answer.clone();
        answer["download_access_token"] = json!(self.token(instance));
        let summary = |at: &str| {
            json!({ "meeting_uuid": instance, "meeting_id": 86_413_209_876_u64, "meeting_topic": "Samples",
                "meeting_start_time": self.time(), "summary_start_time": "2026-03-01T12:00:00Z",
                "summary_last_modified_time": at, "summary_title": "Samples", "summary_content": "# All is well",
                "summary_doc_url": "https://docs.zoom.us/doc/x" })
        };
        let ids =
            |ids: Value| json!({ "meetings": [{ "meeting_uuid": instance, "recording_file_ids": ids }] });
        Sample {
            kind: RecordingKind::Meeting,
            instance,
            events: vec![
                ("recording.started", own(json!({}))),
                ("recording.paused", own(json!({}))),
                ("recording.resumed", own(json!({}))),
                ("recording.stopped", own(json!({}))),
                ("recording.completed", own(files(Value::Null))),
                ("recording.transcript_completed", own(json!({ "recording_files": [transcript] }))),
                ("recording.renamed", own(json!({ "topic": "Samples, renamed" }))),
                ("recording.trashed", own(files(json!("audio_only")))),
                ("recording.deleted", own(files(json!("audio_only")))),
                ("recording.recovered", own(files(json!("audio_only")))),
                (
                    "recording.batch_trashed",
                    json!({ "operation": "trash_user_recordings", "meeting_uuids": [instance] }),
                ),
                ("recording.batch_deleted", ids(json!(["m2"]))),
                ("recording.batch_recovered", ids(Value::Null)),
                ("meeting.summary_completed", summary("2026-03-01T12:30:00Z")),
                ("meeting.summary_updated", summary("2026-03-01T13:00:00Z")),
                ("meeting.summary_trashed", summary("2026-03-01T13:00:00Z")),
                ("meeting.summary_deleted", summary("2026-03-01T13:00:00Z")),
                ("meeting.summary_recovered", summary("2026-03-01T13:00:00Z")),
            ],
            answers: Some((answer, listed)),
            rows: vec![
                row("recording_files", "m1", "MP4", "mp4", "shared_screen_with_speaker_view(CC)"),
                row("recording_files", "m2", "SUB_GROUP_MEMBER_LOG", "json", ""),
                row("recording_files", "m3", "AIC_CONVERSATION", "json", "aic_conversation"),
                row("recording_files", "m4", "M4A", "m4a", "audio_interpretation"),
                row("participant_audio_files", "m5", "M4A", "m4a", "audio_only").typed_later(),
                row("recording_files", "m6", "TRANSCRIPT", "vtt", "audio_transcript"),
                row("meeting_summary", "SUMMARY@2026-03-01T12:00:00Z", "SUMMARY", "json", "meeting_summary")
                    .of_unknown_size(),
                row(
                    "meeting_summary",
                    "SUMMARY@2026-03-01T12:00:00Z changed 2026-03-01T13:00:00Z",
                    "SUMMARY",
                    "json",
                    "meeting_summary",
                )
                .of_unknown_size(),
            ],
        }
    }

    /// As of 2019: no extension anywhere, and entries without an id.
    fn old_meeting(&self) -> Sample {
        let instance = "old-meeting==";
        let file = |key, extension, given| self.entry(instance, key, extension, given);
        let object = json!({ "uuid": instance, "id": "123456789", "topic": "Samples of 2019", "type": "2",
            "start_time": self.time(), "recording_files": [
                file("o1", "mp4", json!({ "file_type": "mp4", "recording_type": "active_speaker" })),
                file("o2", "json", json!({ "id": null, "status": null, "file_type": "TIMELINE", "file_size": null })),
                file("o3", "txt", json!({ "file_type": "CHAT", "file_size": size("txt").to_string() })),
            ] });
        let start = self.time();
        Sample {
            kind: RecordingKind::Meeting,
            instance,
            events: vec![("recording.completed", object.clone())],
            answers: Some((object.clone(), object)),
            rows: vec![
                row("recording_files", "o1", "MP4", "mp4", "active_speaker"),
                row("recording_files", &format!("TIMELINE@{start}"), "TIMELINE", "json", "")
                    .of_unknown_size(),
                row("recording_files", "o3", "CHAT", "txt", ""),
            ],
        }
    }

    fn webinar(&self) -> Sample {
        let instance = "webi+nar==";
        let object = json!({ "uuid": instance, "id": 91_413_209_876_u64, "topic": "Samples", "type": 5,
            "start_time": self.time(), "recording_files": [
                self.entry(instance, "w1", "mp4", json!({ "file_type": "MP4", "file_extension": "MP4",
                    "recording_type": "production_studio" })),
                // What names neither file type nor extension is told by its recording type.
                self.entry(instance, "w2", "mp4", json!({ "file_type": "MP4", "recording_type": "sign_interpretation" })),
            ] });
        Sample {
            kind: RecordingKind::Webinar,
            instance,
            events: vec![("recording.completed", object.clone())],
            answers: Some((object.clone(), object)),
            rows: vec![
                row("recording_files", "w1", "MP4", "mp4", "production_studio"),
                row("recording_files", "w2", "MP4", "mp4", "sign_interpretation"),
            ],
        }
    }

    fn archived_meeting(&self) -> Sample {
        let instance = "archived-meeting==";
        let fingerprint = content("m4a").sha256().to_string();
        let object = json!({ "uuid": instance, "id": 81_413_209_876_u64, "topic": "Samples", "type": 2,
            "start_time": self.time(),
            "archive_files": [
                self.entry(instance, "a1", "m4a", json!({ "file_type": "M4A", "file_extension": "M4A", "individual": true,
                    "recording_type": "audio_only", "participant_email": "ada@example.com",
                    "participant_join_time": self.time(), "storage_location": "US", "encryption_fingerprint": fingerprint })),
                self.entry(instance, "a2", "txt", json!({ "file_type": "CHAT", "file_extension": "TXT",
                    "recording_type": "chat_message", "number_of_messages": 1 })),
            ],
            "physical_files": [
                { "file_id": "a3", "file_name": "audio.m4a", "file_size": size("m4a"),
                    "download_url": self.shelve(instance, "a3", "m4a") },
            ] });
        Sample {
            kind: RecordingKind::Meeting,
            instance,
            events: vec![("recording.archive_files_completed", object)],
            answers: None,
            rows: vec![
                row("archive_files", "a1", "M4A", "m4a", "audio_only"),
                row("archive_files", "a2", "CHAT", "txt", "chat_message"),
                row("physical_files", "a3", "M4A", "m4a", ""),
            ],
        }
    }

    /// A meeting that was transcribed and not recorded.
    fn transcribed_meeting(&self) -> Sample {
        let instance = "transcribed-meeting==";
        let url = self.shelve(instance, "t1", "vtt");
        let transcript = json!({ "meeting_id": instance, "can_download": true, "download_url": url });
        self.scene.zoom.library().answer_with(Endpoint::MeetingTranscript, Some(instance), transcript);
        let object = json!({ "meeting_uuid": instance, "meeting_id": 81_413_209_870_u64, "meeting_topic": "Samples",
            "meeting_host_id": "h", "meeting_start_time": self.time() });
        Sample {
            kind: RecordingKind::Meeting,
            instance,
            events: vec![("meeting.aic_transcript_completed", object)],
            answers: None,
            rows: vec![
                row("meeting_transcript", "TRANSCRIPT", "TRANSCRIPT", "vtt", "aic_transcript")
                    .of_unknown_size(),
            ],
        }
    }

    fn call(&self) -> Sample {
        let instance = "call-1";
        let of_call = |more: Value| {
            let mut call = json!({ "id": instance, "caller_number": "+12025550111", "caller_name": "Ada",
                "callee_number": "1002", "direction": "inbound", "duration": 60, "date_time": self.time(),
                "recording_type": "Automatic" });
            for (key, value) in more.as_object().expect("an object") {
                call[key] = value.clone();
            }
            call
        };
        let sound = self.shelve(instance, "c1", "mp3");
        let text = self.shelve(instance, "c2", "json");
        let recorded = || json!({ "recordings": [of_call(json!({ "download_url": sound }))] });
        let transcribed = json!({ "recordings": [of_call(json!({ "transcript_download_url": text }))] });
        let gone = || json!({ "recordings": [of_call(json!({}))] });
        let listed = of_call(json!({ "download_url": sound, "transcript_download_url": text }));
        Sample {
            kind: RecordingKind::Phone,
            instance,
            events: vec![
                ("phone.recording_completed", recorded()),
                ("phone.recording_completed_for_access_member", recorded()),
                ("phone.recording_transcript_completed", transcribed),
                ("phone.recording_deleted", gone()),
                ("phone.recording_permanently_deleted", gone()),
            ],
            answers: Some((Value::Null, listed)),
            rows: vec![
                row("recordings", instance, "MP3", "mp3", "call_recording").of_unknown_size(),
                row("call_transcripts", instance, "TRANSCRIPT", "json", "call_transcript").of_unknown_size(),
            ],
        }
    }

    fn voicemail(&self) -> Sample {
        let instance = "voicemail-1";
        let url = self.shelve(instance, "v1", "mp3");
        let voicemail = || {
            json!({ "id": instance, "date_time": self.time(), "download_url": url, "duration": 7,
                "caller_number": "+12025550111", "caller_name": "Ada", "callee_name": "Grace", "call_id": "7" })
        };
        let mut transcribed = voicemail();
        transcribed["transcription"] = json!({ "status": 4, "content": "Please call me back." });
        let gone = || json!({ "voice_mails": [{ "id": instance, "date_time": self.time() }] });
        Sample {
            kind: RecordingKind::Phone,
            instance,
            events: vec![
                ("phone.voicemail_received", voicemail()),
                ("phone.voicemail_received_for_access_member", voicemail()),
                ("phone.voicemail_transcript_completed", transcribed),
                ("phone.voicemail_deleted", gone()),
                ("phone.voicemail_permanently_deleted", gone()),
            ],
            answers: None,
            rows: vec![
                row("voicemails", instance, "MP3", "mp3", "voicemail").of_unknown_size(),
                row("voicemail_transcripts", instance, "TRANSCRIPT", "json", "voicemail_transcript")
                    .of_unknown_size(),
            ],
        }
    }
}

/// When nothing but events has told anything.
const BY_EVENTS: &str = "by events";

const ACCOUNT: &str = "Fk3ZoomAccountId0wNr1Q";

fn identity(sample: &Sample) -> RecordingIdentity {
    RecordingIdentity {
        account_id: ACCOUNT.to_owned(),
        kind: sample.kind,
        instance_id: sample.instance.to_owned(),
    }
}

async fn every_file_of_every_documented_body_is_one_row_whoever_tells_of_it(ground: Ground) {
    let scene = Scene::staged_on(ground, Options::default(), |setup, zoom| {
        with_api(setup, zoom).env("ZOOM_ARCHIVER_RECONCILE__LATE_FILES", "")
    })
    .await;
    scene.zoom.library().open_files_by_api_bearer();
    let desk = Desk { scene: &scene, start: Clock::System.now() - TimeDelta::hours(2) };
    let samples = [
        desk.session(),
        desk.meeting(),
        desk.old_meeting(),
        desk.webinar(),
        desk.archived_meeting(),
        desk.transcribed_meeting(),
        desk.call(),
        desk.voicemail(),
    ];
    let told: Vec<_> = samples.iter().flat_map(|sample| &sample.events).map(|(name, _)| *name).collect();
    let untold: Vec<_> = EVENTS.iter().map(|kind| kind.name).filter(|name| !told.contains(name)).collect();
    assert_eq!(untold, Vec::<&str>::new(), "events without a sample");

    for sample in &samples {
        for (number, (name, object)) in (0..).zip(&sample.events) {
            let mut body = json!({ "event": name, "payload": { "account_id": ACCOUNT, "object": object },
                "download_token": desk.token(sample.instance) });
            // The events of 2019 do not say when they happened.
            if sample.instance != "old-meeting==" {
                body["event_ts"] = json!((desk.start + TimeDelta::seconds(number)).timestamp_millis());
            }
            if sample.kind == RecordingKind::Phone {
                body.as_object_mut().expect("an object").remove("download_token");
            }
            let delivery = scene.sender.deliver(body.to_string().as_bytes()).await;
            assert!(delivery.answer.is_accepted(), "{name}: {}", delivery.answer);
        }
    }
    scene.settled().await;
    assert_eq!(scene.store.unreadable_events().await.unwrap(), 0);
    assert_rows(&scene, &desk, &samples, BY_EVENTS).await;

    answer_like(&scene, &samples);
    let (from, to) = (desk.start.date_naive().to_string(), Clock::System.now().date_naive().to_string());
    let backfill = scene.setup.run(&["backfill", "--from", &from, "--to", &to, "--json"]).await;
    let report: Value = serde_json::from_slice(&backfill.stdout).expect("JSON");
    assert_eq!(report["missing_files"], 0, "{report}");
    assert_eq!(report["odd"], json!([]), "{report}");
    assert_rows(&scene, &desk, &samples, BY_EVENTS).await;
    for sample in &samples {
        let Some((answer, _)) = sample.answers.as_ref().filter(|(answer, _)| !answer.is_null()) else {
            continue;
        };
        let (announcement, _) = payload::read_answer(&identity(sample), answer.clone()).expect("an answer");
        assert_eq!(announcement.odd, Vec::<String>::new(), "{}", sample.instance);
        let told = event(EventContent::Announcement(announcement), "archiver.answer");
        assert_eq!(scene.store.record(&told).await.unwrap().new_files, 0, "{}", sample.instance);
    }
    scene.settled().await;
    assert_rows(&scene, &desk, &samples, "by answers").await;
    let reconcile = scene.setup.run(&["reconcile", "--json"]).await;
    assert_eq!(reconcile.status.code(), Some(0), "{}", String::from_utf8_lossy(&reconcile.stdout));
    scene.settled().await;
    scene.close().await;
}

/// Has the API answer in its own words about what the samples hold.
fn answer_like(scene: &Scene, samples: &[Sample]) {
    let library = scene.zoom.library();
    let mut lists = BTreeMap::from([("sessions", vec![]), ("meetings", vec![]), ("recordings", vec![])]);
    for sample in samples {
        let Some((answer, listed)) = &sample.answers else { continue };
        let (list, endpoint) = match sample.kind {
            RecordingKind::VideoSdk => ("sessions", Endpoint::SessionRecordings),
            RecordingKind::Phone => ("recordings", Endpoint::Calls),
            RecordingKind::Meeting | RecordingKind::Webinar => ("meetings", Endpoint::MeetingRecordings),
        };
        lists.get_mut(list).expect("a list").push(listed.clone());
        if sample.kind != RecordingKind::Phone {
            library.answer_with(endpoint, Some(sample.instance), answer.clone());
        }
    }
    let ends =
        [("sessions", Endpoint::Sessions), ("meetings", Endpoint::Meetings), ("recordings", Endpoint::Calls)];
    for (list, endpoint) in ends {
        let answer = json!({ "page_size": 300, "next_page_token": "", list: lists[list] });
        library.answer_with(endpoint, None, answer);
    }
}

async fn assert_rows(scene: &Scene, desk: &Desk<'_>, samples: &[Sample], how: &str) {
    for sample in samples {
        let found = scene.store.find(&identity(sample)).await.unwrap();
        let (recording, mut files) = found.unwrap_or_else(|| panic!("{}: not known {how}", sample.instance));
        assert_eq!(recording.identity.kind, sample.kind, "{how}");
        for row in &sample.rows {
            // What an event tells without an id is known by type and start, until somebody tells its id.
            let stand_in = format!("{}@{}", row.file_type, desk.time());
            let at = files.iter().position(|file| {
                let is_stand_in = how == BY_EVENTS && file.identity.name == stand_in;
                file.identity.collection == row.collection && (file.identity.name == row.name || is_stand_in)
            });
            let file = files.remove(at.unwrap_or_else(|| panic!("{how}: {row:?} is not among {files:?}")));
            assert_row(&file, row, desk, how);
        }
        assert!(files.is_empty(), "{how}, beside what is expected of {}: {files:?}", sample.instance);
    }
}

fn assert_row(file: &FileRow, row: &Row, desk: &Desk<'_>, how: &str) {
    assert_eq!(file.state, FileState::Archived, "{how}: {:?} {file:?}", file.reason);
    let said = (file.file_type.as_str(), file.extension.as_str());
    assert_eq!(said, (row.file_type, row.extension), "{how}: {row:?}");
    if !(row.is_typed_later && file.recording_type.is_empty()) {
        assert_eq!(file.recording_type, row.recording_type, "{how}: {row:?}");
    }
    if row.bytes.is_some() {
        assert_eq!(file.announced_bytes, row.bytes, "{how}: {row:?}");
    }
    let archived = file.archived.as_ref().expect("archived");
    assert!(archived.mark.is_none(), "{how}: {row:?}: {:?}", archived.mark);
    assert!(archived.object_key.ends_with(&format!(".{}", row.extension)), "{how}: {archived:?}");
    if let Some(start) = file.recording_start.filter(|_| row.collection != "meeting_summary") {
        assert_eq!(start.timestamp(), desk.start.timestamp(), "{how}: {row:?}");
    }
}
