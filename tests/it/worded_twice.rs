//! Zoom names `recording_type` in one place and not in another: in the event and not in the API's answer, or the other way
//! round. The whole program takes it for one file all the same.

use chrono::{TimeDelta, Utc};
use http::StatusCode;
use zoom_archiver::domain::file::FileState;
use zoom_archiver::domain::recording::RecordingKind;
use zoom_archiver::simulator::events::{EventKind, Happening, Quirks};
use zoom_archiver::simulator::recording::Collection;
use zoom_archiver::simulator::{Content, FakeFile, FakeRecording, Fault, Options, When};

use crate::support::scene::{Ground, Scene, on_each_ground, with_api};
use crate::support::service::eventually;

/// The audio of one participant, twice: with a type and without.
fn worded(kind: RecordingKind, number: u64) -> [FakeRecording; 2] {
    let content = Content::Generated { seed: number, bytes: 100_000 };
    let mut track = FakeFile::track(Collection::ParticipantAudio, "Ada Example", "M4A", content);
    track.recording_type = Some("audio_only".to_owned());
    let with = FakeRecording::new(kind, number).with([track]);
    let mut without = with.clone();
    without.files[0].recording_type = None;
    [with, without]
}

async fn a_type_that_is_named_in_one_place_alone_makes_no_second_file(ground: Ground) {
    let scene = Scene::staged_on(ground, Options::default(), with_api).await;
    let refusals = [
        // The renewal finds the file, and a 404 that the API contradicts is not believed.
        (Fault::ExpiredToken, RecordingKind::Meeting),
        (Fault::Status { code: StatusCode::NOT_FOUND, retry_after: None }, RecordingKind::VideoSdk),
    ];
    for ((fault, kind), number) in refusals.into_iter().zip([91, 93]) {
        for (by_event, number) in [(0, number), (1, number + 1)] {
            let worded = worded(kind, number);
            let (said, answered) = (&worded[by_event], &worded[1 - by_event]);
            let body = scene.zoom.announce(said, EventKind::Recording, Quirks::default());
            scene.shelve(answered);
            let key = &said.files[0].key;
            scene.zoom.library().inject(key, fault.clone(), When::First(1));
            assert!(scene.sender.deliver(&body).await.answer.is_accepted());
            let row = eventually("the file comes to an end", || async {
                let id = said.files[0].id.as_deref()?;
                let row = scene.files().await.into_iter().find(|row| row.identity.name == id)?;
                (row.state != FileState::Pending).then_some(row)
            })
            .await;
            assert_eq!(row.state, FileState::Archived, "{fault:?}: {:?}", row.reason);
            scene.assert_archived(&row, said.files[0].content).await;
            let later = Utc::now() + TimeDelta::seconds(1);
            let trashed = scene.zoom.tell(answered, Happening::Trashed, Quirks::default(), later).unwrap();
            assert!(scene.sender.deliver(&trashed).await.answer.is_accepted());
        }
    }
    scene.settled().await;
    assert_eq!(scene.files().await.len(), 4);
    assert_eq!(scene.service.metric("zoom_archiver_endangered_files_total", "").await, 0.0);
    assert_eq!(scene.service.metric("zoom_archiver_files_gone_total", "").await, 0.0);
    scene.close().await;
}

on_each_ground!(a_type_that_is_named_in_one_place_alone_makes_no_second_file);
