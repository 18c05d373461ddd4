//! Zoom trashes, deletes and recovers single files, too: what is not named stays as it is.

use std::time::Duration;

use serde_json::{Value, json};
use zoom_archiver::domain::file::{FileRow, FileState, RecordingRow};
use zoom_archiver::domain::job::{Settlement, WaitsFor};
use zoom_archiver::domain::recording::{RecordingIdentity, RecordingKind, RecordingState};
use zoom_archiver::store::{Recorded, SharedStore};

use crate::support::database::{Database, on_each_database};
use crate::support::said::{ACCOUNT, webhook_at};

const LEASE: Duration = Duration::from_secs(600);

fn entries(ids: &[&str]) -> Value {
    let entry = |id: &&str| {
        json!({
            "id": id, "file_type": "MP4", "file_extension": "MP4", "recording_start": "2026-03-01T12:01:00Z",
            "download_url": format!("https://zoom.us/rec/{id}"),
        })
    };
    ids.iter().map(entry).collect()
}

fn meeting(ids: &[&str]) -> Value {
    json!({ "uuid": "m", "recording_files": entries(ids) })
}

async fn say(store: &SharedStore, name: &str, second: i64, object: Value) -> Recorded {
    store.record(&webhook_at(name, second, &object)).await.expect("it is recorded")
}

async fn batch(store: &SharedStore, what: &str, second: i64, ids: Value) -> Recorded {
    let meetings = json!({ "meetings": [{ "meeting_uuid": "m", "recording_file_ids": ids }] });
    say(store, &format!("recording.batch_{what}"), second, meetings).await
}

async fn known(store: &SharedStore) -> (RecordingRow, Vec<FileRow>) {
    let identity = RecordingIdentity {
        account_id: ACCOUNT.into(),
        kind: RecordingKind::Meeting,
        instance_id: "m".into(),
    };
    let (recording, mut files) = store.find(&identity).await.unwrap().expect("the meeting");
    files.sort_by(|one, other| one.identity.cmp(&other.identity));
    (recording, files)
}

/// How each file stands at Zoom, in the order of ids, and for how many seconds it can be had after the first event.
async fn standing(store: &SharedStore) -> Vec<(Option<RecordingState>, Option<i64>)> {
    let (recording, files) = known(store).await;
    let left = |file: &FileRow| file.loses_at.map(|at| at.timestamp() - 1_772_366_400);
    files.iter().map(|file| (file.state_at_zoom(&recording), left(file))).collect()
}

const DAYS: i64 = 86_400;
const COMPLETED: (Option<RecordingState>, Option<i64>) = (Some(RecordingState::Completed), None);

async fn a_batch_that_names_a_file_is_about_that_file_alone(database: Database) {
    let store = database.store().await;
    say(&store, "recording.completed", 0, meeting(&["a", "b"])).await;
    let recorded = batch(&store, "deleted", 10, json!(["a"])).await;
    assert_eq!(recorded.endangered, 1, "the one that is named");
    assert_eq!(standing(&store).await, [(Some(RecordingState::Deleted), Some(10)), COMPLETED]);
    assert_eq!(known(&store).await.0.state, Some(RecordingState::Completed));
    let recorded = batch(&store, "trashed", 20, json!(["b", "unknown", null])).await;
    assert_eq!(recorded.endangered, 1);
    let [deleted, trashed] = [RecordingState::Deleted, RecordingState::Trashed].map(Some);
    assert_eq!(standing(&store).await, [(deleted, Some(10)), (trashed, Some(20 + 30 * DAYS))]);
    // What is older changes nothing, and ids that cannot be read name nothing.
    batch(&store, "recovered", 5, json!(["b"])).await;
    batch(&store, "recovered", 30, json!([{ "id": "b" }])).await;
    assert_eq!(standing(&store).await[1], (trashed, Some(20 + 30 * DAYS)));
    batch(&store, "recovered", 30, json!("b")).await;
    assert_eq!(standing(&store).await[1], (Some(RecordingState::Recovered), None));
}

async fn a_batch_that_names_no_file_is_about_the_recording(database: Database) {
    let store = database.store().await;
    say(&store, "recording.completed", 0, meeting(&["a", "b"])).await;
    for (ids, second) in [(Value::Null, 10), (json!([]), 20)] {
        assert_eq!(batch(&store, "trashed", second, ids).await.endangered, 2);
        let trashed = (Some(RecordingState::Trashed), Some(second + 30 * DAYS));
        assert_eq!(standing(&store).await, [trashed, trashed]);
    }
    say(&store, "recording.batch_deleted", 30, json!({ "meetings": [{ "meeting_uuid": "m" }] })).await;
    assert_eq!(known(&store).await.0.state, Some(RecordingState::Deleted));
}

async fn an_event_that_lists_some_of_the_files_is_about_those(database: Database) {
    let store = database.store().await;
    say(&store, "recording.completed", 0, meeting(&["a", "b"])).await;
    for (name, state, left) in [
        ("recording.trashed", RecordingState::Trashed, 10 + 30 * DAYS),
        ("recording.deleted", RecordingState::Deleted, 10),
    ] {
        assert_eq!(say(&store, name, 10, meeting(&["a"])).await.endangered, 1, "{name}");
        assert_eq!(standing(&store).await, [(Some(state), Some(left)), COMPLETED], "{name}");
    }
    // All that are left, and no list at all: the recording.
    say(&store, "recording.trashed", 20, meeting(&["b"])).await;
    assert_eq!(known(&store).await.0.state, Some(RecordingState::Trashed));
    say(&store, "recording.deleted", 30, json!({ "uuid": "m" })).await;
    let deleted = Some(RecordingState::Deleted);
    assert_eq!(standing(&store).await, [(deleted, Some(10)), (deleted, Some(30))]);
}

async fn what_happens_to_the_recording_later_happens_to_its_files(database: Database) {
    let store = database.store().await;
    say(&store, "recording.completed", 0, meeting(&["a", "b"])).await;
    batch(&store, "trashed", 10, json!(["a"])).await;
    batch(&store, "recovered", 20, Value::Null).await;
    let recovered = (Some(RecordingState::Recovered), None);
    assert_eq!(standing(&store).await, [recovered, recovered]);
}

async fn a_file_that_comes_back_is_tried_again_and_no_other(database: Database) {
    let store = database.store().await;
    say(&store, "recording.completed", 0, meeting(&["a", "b"])).await;
    batch(&store, "trashed", 10, json!(["a", "b"])).await;
    for job in store.claim("worker", 10, LEASE, &[]).await.unwrap() {
        let parked = Settlement::Park { waits_for: WaitsFor::Token, reason: "it lies in the trash".into() };
        store.settle(&job.lease, parked).await.unwrap();
    }
    assert_eq!(batch(&store, "recovered", 20, json!(["b"])).await.woken, 1);
    let (recording, files) = known(&store).await;
    assert_eq!(
        files.iter().map(|file| file.state).collect::<Vec<_>>(),
        [FileState::Parked, FileState::Pending]
    );
    assert_eq!(recording.state, Some(RecordingState::Completed));
    let jobs = store.claim("worker", 10, LEASE, &[]).await.unwrap();
    assert_eq!(jobs.iter().map(|job| job.task.subject()).collect::<Vec<_>>(), [files[1].id.0]);
}

on_each_database!(
    a_batch_that_names_a_file_is_about_that_file_alone,
    a_batch_that_names_no_file_is_about_the_recording,
    an_event_that_lists_some_of_the_files_is_about_those,
    what_happens_to_the_recording_later_happens_to_its_files,
    a_file_that_comes_back_is_tried_again_and_no_other,
);
