//! Notices, as every store keeps them: told with the commit that makes them true, once, to those who want to hear.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Map, Value, json};
use zoom_archiver::domain::account::AccountNames;
use zoom_archiver::domain::file::{ArchivedFile, FileRow, Sha256Digest};
use zoom_archiver::domain::ids::{NoticeId, RecordingId};
use zoom_archiver::domain::job::{Completion, Job, JobState, Settlement, Task, WaitsFor};
use zoom_archiver::domain::notice::{News, NoticeKind, Subscription, Subscriptions, notice_id};
use zoom_archiver::domain::verification::{FileFinding, Found};
use zoom_archiver::store::{Intake, NoticeWork, SharedStore, Swept};

use crate::support::announce::session_of;
use crate::support::database::{Database, on_each_database};

const LEASE: Duration = Duration::from_secs(600);
const HOUR: Duration = Duration::from_secs(3600);

on_each_database![
    what_a_run_ends_with_is_told_to_those_who_want_to_hear_of_it,
    what_waits_for_a_token_or_goes_again_is_not_told,
    a_transfer_that_loses_too_many_leases_is_told_as_parked,
    an_archived_recording_is_told_again_only_when_more_of_it_is_archived,
    losses_that_are_near_are_told_once_until_they_move,
    the_two_queues_are_claimed_apart,
    a_receiver_that_is_full_is_passed_over,
    a_notice_is_named_by_what_it_tells,
    a_file_that_is_left_out_has_the_manifest_written_again,
    a_lost_lease_tells_nothing,
    a_finding_is_told_once_until_another_one_takes_its_place,
    what_was_found_of_a_file_that_has_changed_meanwhile_is_not_told,
];

fn subscription(name: &str, kinds: &[NoticeKind], accounts: &[&str]) -> Subscription {
    let accounts: Vec<String> = accounts.iter().map(|account| (*account).to_owned()).collect();
    Subscription {
        name: name.to_owned(),
        kinds: kinds.iter().copied().collect(),
        accounts: AccountNames::default().choose(&accounts),
    }
}

/// A store that tells these.
async fn telling(database: &Database, all: Vec<Subscription>) -> SharedStore {
    database.store_with(Intake::everything().telling(Subscriptions::new(all))).await
}

async fn telling_ops(database: &Database) -> SharedStore {
    telling(database, vec![subscription("ops", &NoticeKind::ALL, &[])]).await
}

async fn claim_one(store: &SharedStore) -> Job {
    store.claim("test", 1, LEASE, &[]).await.unwrap().remove(0)
}

/// Takes all notices that wait, and what they tell, by receiver and kind.
async fn take(store: &SharedStore) -> Vec<NoticeWork> {
    let mut all = Vec::new();
    for job in store.claim_notices("test", 100, LEASE, &[]).await.unwrap() {
        let Task::Notify(id) = job.task else { panic!("{job:?}") };
        let work = store.notice_work(id).await.unwrap().unwrap();
        assert_eq!(job.account.as_ref(), Some(&work.target));
        store.settle(&job.lease, Settlement::Done(Box::default())).await.unwrap();
        all.push(work);
    }
    all.sort_by_key(|work| (work.target.clone(), work.notice.kind));
    all
}

fn told(all: &[NoticeWork]) -> Vec<(&str, &str)> {
    all.iter().map(|work| (work.target.as_str(), work.notice.kind.as_str())).collect()
}

fn dead() -> Settlement {
    Settlement::Dead { reason: "why".to_owned() }
}

fn gone() -> Settlement {
    Settlement::Gone { reason: "why".to_owned(), next: Vec::new() }
}

fn parked(waits_for: WaitsFor) -> Settlement {
    Settlement::Park { waits_for, reason: "why".to_owned() }
}

async fn what_a_run_ends_with_is_told_to_those_who_want_to_hear_of_it(database: Database) {
    let store = telling(
        &database,
        vec![
            subscription("all", &NoticeKind::ALL, &[]),
            subscription("dead", &[NoticeKind::FileDead], &[]),
            subscription("emea", &NoticeKind::ALL, &["emea"]),
            subscription("others", &NoticeKind::ALL, &["somebody-else"]),
        ],
    )
    .await;
    for (settlement, kind, receivers) in [
        (dead(), "file.dead", &["all", "dead", "emea"][..]),
        (gone(), "file.gone", &["all", "emea"]),
        (parked(WaitsFor::Person), "file.parked", &["all", "emea"]),
    ] {
        store.record(&session_of("emea", kind, 1)).await.unwrap();
        let job = claim_one(&store).await;
        store.settle(&job.lease, settlement).await.unwrap();
        let all = take(&store).await;
        assert_eq!(told(&all), receivers.iter().map(|name| (*name, kind)).collect::<Vec<_>>());
        for work in all {
            assert_eq!(work.notice.detail, Map::from_iter([("reason".to_owned(), "why".into())]));
            assert_eq!(work.notice.subject, job.task.subject());
            assert_eq!(work.file.map(|file| Task::Transfer(file.id)), Some(job.task));
            assert_eq!(work.recording.identity.instance_id, kind);
        }
    }
    store.record(&session_of("apac", "s", 1)).await.unwrap();
    let job = claim_one(&store).await;
    store.settle(&job.lease, gone()).await.unwrap();
    assert_eq!(told(&take(&store).await), [("all", "file.gone")]);
}

async fn what_waits_for_a_token_or_goes_again_is_not_told(database: Database) {
    let store = telling_ops(&database).await;
    store.record(&session_of("acc", "s", 1)).await.unwrap();
    let job = claim_one(&store).await;
    // It is announced anew while it runs, so it is not gone.
    store.record(&session_of("acc", "s", 1)).await.unwrap();
    store.settle(&job.lease, gone()).await.unwrap();
    let job = claim_one(&store).await;
    store.settle(&job.lease, parked(WaitsFor::Token)).await.unwrap();
    // The end of a job that is about no file.
    assert!(store.repeat(Task::Reconcile, Duration::ZERO).await.unwrap());
    let job = claim_one(&store).await;
    store.settle(&job.lease, dead()).await.unwrap();
    assert_eq!(told(&take(&store).await), []);
}

async fn a_transfer_that_loses_too_many_leases_is_told_as_parked(database: Database) {
    let store = telling_ops(&database).await;
    store.record(&session_of("acc", "s", 1)).await.unwrap();
    for parked in [0, 1] {
        store.claim("dying", 1, Duration::ZERO, &[]).await.unwrap().remove(0);
        assert_eq!(store.sweep(2).await.unwrap(), Swept { returned: 1 - parked, parked });
    }
    let all = take(&store).await;
    assert_eq!(told(&all), [("ops", "file.parked")]);
    assert!(all[0].notice.detail["reason"].as_str().unwrap().contains("too many times"));
}

/// Runs the manifest of the only recording; `archived` is what it finds.
async fn write_manifest(store: &SharedStore, recording: RecordingId, archived: i64) {
    assert!(store.repeat(Task::Manifest(recording), Duration::ZERO).await.unwrap());
    let jobs = store.claim("test", 100, LEASE, &[]).await.unwrap();
    let job = jobs.into_iter().find(|job| job.task == Task::Manifest(recording)).unwrap();
    let news = News {
        kind: NoticeKind::RecordingArchived,
        occasion: Some(archived),
        detail: Map::from_iter([("bytes".to_owned(), json!(7))]),
    };
    let completion = Completion { news: Some(news), ..Completion::default() };
    store.settle(&job.lease, Settlement::Done(Box::new(completion))).await.unwrap();
}

async fn an_archived_recording_is_told_again_only_when_more_of_it_is_archived(database: Database) {
    let store = telling(&database, vec![subscription("ops", &NoticeKind::ALL, &["acc"])]).await;
    store.record(&session_of("acc", "s", 1)).await.unwrap();
    let recording = store.files(&[], None, 1).await.unwrap()[0].recording_id;
    write_manifest(&store, recording, 1).await;
    let first = take(&store).await;
    assert_eq!(told(&first), [("ops", "recording.archived")]);
    assert!(first[0].file.is_none() && first[0].recording.id == recording);
    assert_eq!(first[0].notice.detail["bytes"], 7);
    write_manifest(&store, recording, 1).await;
    assert_eq!(told(&take(&store).await), []);
    write_manifest(&store, recording, 2).await;
    let second = take(&store).await;
    assert_eq!(told(&second), [("ops", "recording.archived")]);
    assert_ne!(first[0].notice.id, second[0].notice.id);
}

async fn losses_that_are_near_are_told_once_until_they_move(database: Database) {
    let store = telling_ops(&database).await;
    for session in ["near", "far"] {
        store.record(&session_of("acc", session, 1)).await.unwrap();
    }
    let files = store.files(&[], None, 10).await.unwrap();
    let lose = async |file: usize, seconds: i64| {
        let id = files[file].id.0;
        let sql = match database.kind() {
            "postgres" => format!(
                "UPDATE files SET loses_at = now() + {seconds} * interval '1 second' WHERE id = '{id}'"
            ),
            _ => format!(
                "UPDATE files SET loses_at = CAST(unixepoch('subsec') * 1000 AS INTEGER) + {seconds} * 1000
                 WHERE id = x'{}'",
                id.simple()
            ),
        };
        assert_eq!(database.execute(&sql).await.unwrap(), 1);
    };
    lose(0, 60).await;
    lose(1, 3 * 3600).await;
    let looks = (0..4).map(|_| store.tell_losses(HOUR));
    let found: u64 = futures_util::future::try_join_all(looks).await.unwrap().into_iter().sum();
    assert_eq!(found, 1);
    let all = take(&store).await;
    assert_eq!(told(&all), [("ops", "file.loss_near")]);
    assert_eq!(all[0].file.as_ref().map(|file| file.id), Some(files[0].id));
    let loses_at = store.files(&[], None, 1).await.unwrap()[0].loses_at.unwrap();
    assert_eq!(all[0].notice.detail["loses_at"], loses_at.timestamp_millis());
    assert_eq!(store.tell_losses(HOUR).await.unwrap(), 0);
    lose(0, 120).await;
    assert_eq!(store.tell_losses(HOUR).await.unwrap(), 1, "it has moved");
    // What is gone has been lost.
    let job = claim_one(&store).await;
    store.settle(&job.lease, gone()).await.unwrap();
    assert_eq!(told(&take(&store).await).len(), 2);
    assert_eq!(store.tell_losses(4 * HOUR).await.unwrap(), 1, "the other one");
}

async fn the_two_queues_are_claimed_apart(database: Database) {
    let store = telling_ops(&database).await;
    store.record(&session_of("acc", "s", 3)).await.unwrap();
    let job = claim_one(&store).await;
    store.settle(&job.lease, dead()).await.unwrap();
    let work = store.claim("test", 10, LEASE, &[]).await.unwrap();
    assert_eq!(work.len(), 2);
    assert!(work.iter().all(|job| job.task.kind() == "transfer"), "{work:?}");
    let notices = store.claim_notices("test", 10, LEASE, &[]).await.unwrap();
    assert_eq!(notices.len(), 1);
    assert_eq!(notices[0].task.kind(), "notify");
}

async fn a_receiver_that_is_full_is_passed_over(database: Database) {
    let both = ["a", "b"].map(|name| subscription(name, &NoticeKind::ALL, &[]));
    let store = telling(&database, both.to_vec()).await;
    store.record(&session_of("acc", "s", 3)).await.unwrap();
    for job in store.claim("test", 10, LEASE, &[]).await.unwrap() {
        store.settle(&job.lease, dead()).await.unwrap();
    }
    let full = ["a".to_owned()];
    let open = store.claim_notices("test", 10, LEASE, &full).await.unwrap();
    assert_eq!(open.iter().filter_map(|job| job.account.as_deref()).collect::<BTreeSet<_>>(), ["b"].into());
    assert_eq!(open.len(), 3);
    assert_eq!(store.claim_notices("test", 10, LEASE, &[]).await.unwrap().len(), 3);
}

async fn a_notice_is_named_by_what_it_tells(database: Database) {
    let store = telling_ops(&database).await;
    store.record(&session_of("acc", "s", 1)).await.unwrap();
    let job = claim_one(&store).await;
    store.settle(&job.lease, dead()).await.unwrap();
    let expected: NoticeId = notice_id(NoticeKind::FileDead, job.task.subject(), job.lease.token, "ops");
    assert_eq!(take(&store).await[0].notice.id, expected);
    assert!(store.notice_work(NoticeId::new()).await.unwrap().is_none());
}

async fn a_file_that_is_left_out_has_the_manifest_written_again(database: Database) {
    let store = database.store().await;
    store.record(&session_of("acc", "s", 2)).await.unwrap();
    let files = store.files(&[], None, 10).await.unwrap();
    let manifests = async || {
        let depths = store.depth().await.unwrap();
        let waiting = |kind: &str, state| kind == "manifest" && state == JobState::Waiting;
        depths.iter().filter(|it| waiting(&it.kind, it.state)).map(|it| it.jobs).sum::<u64>()
    };
    assert!(store.skip(files[0].id, "why").await.unwrap());
    assert_eq!(manifests().await, 0, "there is none yet");
    store.place(files[1].id, "folder", "name").await.unwrap();
    assert!(store.skip(files[1].id, "why").await.unwrap());
    assert_eq!(manifests().await, 1);
}

async fn a_lost_lease_tells_nothing(database: Database) {
    let store = telling_ops(&database).await;
    store.record(&session_of("acc", "s", 1)).await.unwrap();
    let stale = store.claim("slow", 1, Duration::ZERO, &[]).await.unwrap().remove(0);
    store.sweep(10).await.unwrap();
    assert!(store.settle(&stale.lease, dead()).await.is_err());
    assert_eq!(told(&take(&store).await), []);
}

/// One archived file of this account.
async fn archived(store: &SharedStore, account: &str) -> FileRow {
    store.record(&session_of(account, "s", 1)).await.unwrap();
    let job = claim_one(store).await;
    let Task::Transfer(file) = job.task else { panic!("{job:?}") };
    let archived = ArchivedFile {
        object_key: store.place(file, "folder", "f.mp4").await.unwrap(),
        bytes: 3,
        sha256: Sha256Digest([7; 32]),
        content_type: "video/mp4".to_owned(),
        store_checksum: None,
        etag: None,
        version_id: None,
        mark: None,
    };
    let completion = Completion { archived: Some((file, archived)), ..Completion::default() };
    store.settle(&job.lease, Settlement::Done(Box::new(completion))).await.unwrap();
    store.file(file).await.unwrap().unwrap()
}

fn found(finding: FileFinding) -> Found {
    Found { finding, detail: "why\0so".to_owned() }
}

async fn a_finding_is_told_once_until_another_one_takes_its_place(database: Database) {
    let ours = subscription("ops", &NoticeKind::ALL, &["acc"]);
    let others = subscription("others", &NoticeKind::ALL, &["somebody-else"]);
    let deaf = subscription("deaf", &[NoticeKind::FileDead], &[]);
    let store = telling(&database, vec![ours, others, deaf]).await;
    let file = archived(&store, "acc").await;
    let look = async |found: Option<Found>| {
        assert!(store.verified(&file, found.as_ref()).await.unwrap());
        take(&store).await
    };
    assert_eq!(told(&look(None).await), []);
    let first = look(Some(found(FileFinding::Missing))).await;
    assert_eq!(told(&first), [("ops", "file.finding")]);
    assert_eq!(first[0].file.as_ref().map(|file| file.id), Some(file.id));
    let detail = Value::Object(first[0].notice.detail.clone());
    assert_eq!(detail, json!({ "finding": "missing", "reason": "why\u{fffd}so" }));
    // The next look finds the same, in other words.
    let again = Found { detail: "still".to_owned(), ..found(FileFinding::Missing) };
    assert_eq!(told(&look(Some(again)).await), []);
    let other = look(Some(found(FileFinding::Sha256))).await;
    assert_eq!(told(&other), [("ops", "file.finding")]);
    // Right again, and wrong again.
    assert_eq!(told(&look(None).await), []);
    let last = look(Some(found(FileFinding::Missing))).await;
    assert_eq!(told(&last), [("ops", "file.finding")]);
    let ids: BTreeSet<_> = [&first, &other, &last].map(|all| all[0].notice.id).into();
    assert_eq!(ids.len(), 3);
}

async fn what_was_found_of_a_file_that_has_changed_meanwhile_is_not_told(database: Database) {
    let store = telling_ops(&database).await;
    let file = archived(&store, "acc").await;
    let mut other = file.clone();
    other.archived.as_mut().unwrap().sha256 = Sha256Digest([8; 32]);
    assert!(!store.verified(&other, Some(&found(FileFinding::Missing))).await.unwrap());
    assert_eq!(told(&take(&store).await), []);
}
