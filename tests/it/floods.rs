//! Events that say far more than any genuine one: bounded in memory, in room and in the time of others, and never lost.

use std::path::Path;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::support::delivery::{deliver, status_of};
use crate::support::service::{Service, Setup, eventually};

const MIB: u64 = 1 << 20;

/// A receiver, since nothing of this is to be fetched.
fn receiver(data: &Path) -> Setup {
    Setup::new(data).roles("receiver")
}

/// A session of so many small files.
fn session(id: &str, files: usize) -> String {
    let files = (0..files).map(|number| json!({"id": number.to_string(), "file_type": "MP4"}));
    json!({"event": "session.recording_completed", "payload": {"account_id": "acc", "object": {
        "session_id": id, "recording_files": files.collect::<Vec<_>>(),
    }}})
    .to_string()
}

/// Sends an event until it is answered 200, as Zoom does.
async fn deliver_as_zoom(url: &str, body: &str) {
    eventually("it is answered 200", || async {
        (status_of(url, body).await == StatusCode::OK).then_some(())
    })
    .await;
}

async fn api(service: &Service, path: &str) -> Value {
    let url = format!("http://{}/api/v1{path}", service.admin_addr());
    reqwest::get(url).await.expect("the API answers").json().await.expect("in JSON")
}

/// Bytes of the database with all that lies beside it.
fn database_bytes(data: &Path) -> u64 {
    let files = ["zoom-archiver.db", "zoom-archiver.db-wal"];
    files.iter().filter_map(|name| std::fs::metadata(data.join(name)).ok()).map(|file| file.len()).sum()
}

/// Events go on while a large one is worked on.
async fn others_are_answered(service: &Service, large: &str) {
    let url = service.webhook();
    let large = async { deliver_as_zoom(&url, large).await };
    let others = async {
        for number in 0..20 {
            let body = session(&format!("other-{number}"), 1);
            assert_eq!(status_of(&url, &body).await, StatusCode::OK, "event {number} beside a large one");
        }
    };
    tokio::join!(large, others);
}

#[tokio::test]
async fn a_batch_of_three_thousand_recordings_keeps_its_body_once() {
    let data = tempfile::tempdir().unwrap();
    let service = receiver(data.path()).start().await;
    let meetings = (0..3000).map(|number| json!({"meeting_uuid": format!("uuid-{number}==")}));
    let body = json!({"event": "recording.batch_deleted", "event_ts": 1_780_000_000_000_i64,
        "payload": {"account_id": "acc", "operator": "x".repeat(1_700_000),
            "object": {"meetings": meetings.collect::<Vec<_>>()}}})
    .to_string();
    assert!((1_780_000..1_950_000).contains(&body.len()), "{}", body.len());
    deliver(&service.webhook(), &body).await;
    eventually("every recording is written", || async {
        let recorded = service.metric("zoom_archiver_events_total", r#"outcome="recorded""#).await;
        (recorded >= 3000.0).then_some(())
    })
    .await;
    assert!(service.peak_memory() < 400 * MIB, "{} MiB", service.peak_memory() / MIB);
    assert!(database_bytes(data.path()) < 40 * MIB, "{} MiB", database_bytes(data.path()) / MIB);
    let found = api(&service, "/recordings?limit=1").await;
    assert_eq!(found["items"][0]["state"], "deleted", "{found}");
}

#[tokio::test]
async fn a_body_of_tiny_objects_is_kept_raw_and_costs_no_memory() {
    let data = tempfile::tempdir().unwrap();
    let service = receiver(data.path()).start().await;
    let tiny = vec![r#"{"":0}"#; 250_000].join(",");
    for list in ["recording_files", "anything"] {
        let body = format!(
            r#"{{"event":"session.recording_completed","payload":{{"object":{{"session_id":"s","{list}":[{tiny}]}}}}}}"#
        );
        assert_eq!(status_of(&service.webhook(), &body).await, StatusCode::OK);
    }
    assert!(service.peak_memory() < 300 * MIB, "{} MiB", service.peak_memory() / MIB);
    let status = api(&service, "/status").await;
    assert_eq!(status["unreadable_events"], 2, "{status}");
    let events = api(&service, "/events?unreadable=true").await;
    assert_eq!(events["items"][0]["name"], "session.recording_completed", "{events}");
}

#[tokio::test]
async fn twenty_thousand_files_in_one_event_are_kept_raw_and_others_are_answered() {
    let data = tempfile::tempdir().unwrap();
    let service = receiver(data.path()).start().await;
    others_are_answered(&service, &session("large", 20_000)).await;
    assert_eq!(api(&service, "/status").await["unreadable_events"], 1);
    assert!(service.peak_memory() < 400 * MIB, "{} MiB", service.peak_memory() / MIB);
}

#[tokio::test]
async fn what_was_too_much_for_a_delivery_is_recorded_when_a_person_asks_for_it() {
    let data = tempfile::tempdir().unwrap();
    let service = receiver(data.path()).start().await;
    assert_eq!(status_of(&service.webhook(), &session("large", 5_001)).await, StatusCode::OK);
    let events = api(&service, "/events?unreadable=true").await;
    let id = events["items"][0]["id"].as_str().expect("it is kept").to_owned();
    let url = format!("http://{}/api/v1/events/{id}/replay", service.admin_addr());
    let told: Value = reqwest::Client::new().post(url).send().await.unwrap().json().await.unwrap();
    assert_eq!((&told["readable"], &told["new_files"]), (&json!(true), &json!(5_001)), "{told}");
    assert_eq!(api(&service, "/status").await["unreadable_events"], 0);
}

#[tokio::test]
async fn five_thousand_files_with_one_start_and_a_long_topic_under_a_name_filter_hold_up_no_other_event() {
    let data = tempfile::tempdir().unwrap();
    let setup = receiver(data.path()).env("ZOOM_ARCHIVER_FILTERS__EXCLUDE__NAMES", "*exam*");
    let service = setup.start().await;
    let files = (0..5_000).map(|number| {
        json!({"id": format!("f{number}"), "file_type": "MP4", "recording_start": "2026-01-02T03:04:05Z"})
    });
    let body = json!({"event": "session.recording_completed", "payload": {"account_id": "acc", "object": {
        "session_id": "long", "session_name": "exa ".repeat(300_000), "host_id": "exa".repeat(100_000),
        "recording_files": files.collect::<Vec<_>>(),
    }}})
    .to_string();
    others_are_answered(&service, &body).await;
    let known = service.metric("zoom_archiver_events_total", r#"outcome="recorded""#).await;
    assert!(known >= 21.0, "{known}");
}

#[tokio::test]
async fn a_list_stays_small_however_long_the_topics_are_and_the_record_keeps_them_whole() {
    let data = tempfile::tempdir().unwrap();
    let service = receiver(data.path()).start().await;
    let long = "A very long topic. ".repeat(50_000);
    for number in 0..10 {
        let body = json!({"event": "session.recording_completed", "payload": {"account_id": "acc", "object": {
            "session_id": format!("s{number}"), "session_name": long,
            "recording_files": [{"id": "f", "file_type": "m".repeat(9_000), "recording_type": "r".repeat(9_000)}],
        }}});
        assert_eq!(status_of(&service.webhook(), &body.to_string()).await, StatusCode::OK);
    }
    for list in ["/recordings?limit=100", "/files?limit=100"] {
        let listed = api(&service, list).await;
        assert_eq!(listed["items"].as_array().map(Vec::len), Some(10), "{list}");
        assert!(listed.to_string().len() < 100_000, "{list}: {} bytes", listed.to_string().len());
    }
    let listed = api(&service, "/recordings?limit=1").await;
    let id = listed["items"][0]["id"].as_str().unwrap();
    let shown = api(&service, &format!("/recordings/{id}")).await;
    assert_eq!(shown["metadata"]["session_name"], long);
}
