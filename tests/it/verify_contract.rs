//! What the record is asked and told by verifications and by `rebuild`, on both databases.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use zoom_archiver::domain::file::{ArchivedFile, FileRow, FileState, Sha256Digest, StoreChecksum};
use zoom_archiver::domain::ids::FileId;
use zoom_archiver::domain::job::{Completion, Job, JobState, Settlement, Task};
use zoom_archiver::domain::manifest::Manifest;
use zoom_archiver::domain::verification::{FileFinding, Found, ListedObject};
use zoom_archiver::store::{Restored, Selection, SharedStore, Verification};

use crate::support::announce::{session, session_of};
use crate::support::database::{Database, on_each_database};

const LEASE: Duration = Duration::from_secs(600);
const HOUR: Duration = Duration::from_secs(3600);

on_each_database![
    the_longest_unverified_come_first_and_what_was_looked_at_goes_to_the_end,
    a_selection_narrows_what_is_verified,
    a_manifest_that_is_about_to_be_written_is_told,
    a_finding_is_a_state_that_a_later_look_clears,
    what_was_found_of_a_file_that_has_changed_is_not_written,
    a_missing_object_is_fetched_again_under_its_own_key,
    a_wrong_object_is_fetched_again_beside_and_stays_where_it_is,
    a_wrong_manifest_is_written_again_and_its_file_stays_archived,
    what_another_try_does_not_mend_is_left_alone,
    a_file_without_a_finding_is_not_fetched_again,
    objects_that_no_row_knows_are_foreign_until_they_are_gone,
    no_more_foreign_objects_are_kept_than_there_is_room_for,
    a_recording_comes_back_from_its_manifest_as_it_was,
    what_was_not_archived_comes_back_waiting_for_zoom,
    restoring_twice_is_restoring_once,
    only_what_was_restored_counts_as_unwritten,
    an_announcement_of_a_restored_file_makes_no_work,
];

fn archived(name: &str) -> ArchivedFile {
    ArchivedFile {
        object_key: format!("folder/{name}.mp4"),
        bytes: 3,
        sha256: Sha256Digest([7; 32]),
        content_type: "video/mp4".into(),
        store_checksum: Some(StoreChecksum { algorithm: "crc64nvme".into(), value: "AAECAwQFBgc=".into() }),
        etag: Some("\"etag\"".into()),
        version_id: None,
        mark: None,
    }
}

async fn claim(store: &SharedStore) -> Option<Job> {
    store.claim("test", 1, LEASE, &[]).await.unwrap().pop()
}

/// Archives all files that wait, each under the key that it is placed at.
async fn archive_all(store: &SharedStore) {
    while let Some(job) = claim(store).await {
        let Task::Transfer(file) = job.task else { panic!("is no transfer: {job:?}") };
        let recording = store.transfer_work(file).await.unwrap().unwrap().recording;
        let key = store.place(file, &format!("in/{}", recording.id), &format!("{file}.mp4")).await.unwrap();
        let archived = ArchivedFile { object_key: key, ..archived("") };
        let completion = Completion { archived: Some((file, archived)), ..Completion::default() };
        store.settle(&job.lease, Settlement::Done(Box::new(completion))).await.unwrap();
    }
}

/// A session of so many archived files.
async fn archived_session(store: &SharedStore, id: &str, files: usize) -> Vec<FileRow> {
    store.record(&session(id, files)).await.unwrap();
    archive_all(store).await;
    store.files(&[], None, 100).await.unwrap()
}

async fn row(store: &SharedStore, file: FileId) -> FileRow {
    store.transfer_work(file).await.unwrap().unwrap().file
}

fn found(finding: FileFinding) -> Found {
    Found { finding, detail: "how\0ever".to_owned() }
}

async fn find(store: &SharedStore, file: &FileRow, finding: FileFinding) {
    assert!(store.verified(file, Some(&found(finding))).await.unwrap());
}

/// The ids of all that was last looked at before now.
async fn unverified(store: &SharedStore, selection: &Selection, limit: u32) -> Vec<FileId> {
    let until = store.to_verify(selection, HOUR).await.unwrap().until + TimeDelta::milliseconds(1);
    let files = store.unverified(selection, until, None, limit).await.unwrap();
    files.into_iter().map(|unverified| unverified.file.id).collect()
}

/// Lets the database's clock move on: it counts milliseconds.
async fn a_moment_later(store: &SharedStore, than: DateTime<Utc>) {
    let everything = Selection::default();
    while store.to_verify(&everything, HOUR).await.unwrap().until <= than + TimeDelta::milliseconds(1) {}
}

async fn the_longest_unverified_come_first_and_what_was_looked_at_goes_to_the_end(database: Database) {
    let store = database.store().await;
    assert_eq!(store.verification().await.unwrap(), Verification::default());
    let files = archived_session(&store, "s", 3).await;
    let everything = Selection::default();
    let begun = store.to_verify(&everything, HOUR).await.unwrap();
    assert_eq!((begun.files, begun.bytes, begun.overdue), (3, 9, 0));
    assert_eq!(store.to_verify(&everything, Duration::ZERO).await.unwrap().overdue, 3);
    let first = unverified(&store, &everything, 10).await;
    assert_eq!(first.len(), 3);

    a_moment_later(&store, begun.until).await;
    let looked_at = row(&store, first[0]).await;
    assert!(looked_at.verified_at.is_none());
    assert!(store.verified(&looked_at, None).await.unwrap());
    assert!(row(&store, first[0]).await.verified_at.is_some_and(|at| at > begun.until));
    assert_eq!(unverified(&store, &everything, 10).await, [first[1], first[2], first[0]]);
    // What was looked at after a round began is not in it.
    let until = begun.until + TimeDelta::milliseconds(1);
    let page = store.unverified(&everything, until, None, 1).await.unwrap();
    assert_eq!(page[0].file.id, first[1]);
    let after = Some((page[0].looked_at, page[0].file.id));
    let rest = store.unverified(&everything, until, after, 10).await.unwrap();
    assert_eq!(rest.iter().map(|it| it.file.id).collect::<Vec<_>>(), [first[2]]);
    assert!(store.verification().await.unwrap().oldest.is_some());
    assert_eq!(files.len(), 3);
}

async fn a_selection_narrows_what_is_verified(database: Database) {
    let store = database.store().await;
    store.record(&session_of("one", "s1", 2)).await.unwrap();
    store.record(&session_of("two", "s2", 1)).await.unwrap();
    archive_all(&store).await;
    store.record(&session_of("one", "waits", 1)).await.unwrap();
    let of = async |selection: Selection| unverified(&store, &selection, 10).await.len();
    let accounts = |ids: &[&str]| Selection {
        account_ids: ids.iter().map(|id| (*id).to_owned()).collect(),
        ..Selection::default()
    };
    assert_eq!(of(Selection::default()).await, 3);
    assert_eq!(of(accounts(&["one"])).await, 2);
    assert_eq!(of(accounts(&["two", "three"])).await, 1);
    assert_eq!(of(accounts(&["three"])).await, 0);
    let archived_at = store.files(&[FileState::Archived], None, 1).await.unwrap()[0].archived_at.unwrap();
    let since = |at| Selection { archived_since: Some(at), ..Selection::default() };
    assert_eq!(of(since(archived_at)).await, 3);
    assert_eq!(of(since(archived_at + TimeDelta::days(1))).await, 0);
    let file = unverified(&store, &accounts(&["two"]), 1).await[0];
    let one = Selection { file: Some(file), ..Selection::default() };
    assert_eq!(unverified(&store, &one, 10).await, [file]);
}

async fn a_manifest_that_is_about_to_be_written_is_told(database: Database) {
    let store = database.store().await;
    let files = archived_session(&store, "s", 1).await;
    let told = async || {
        let until = store.to_verify(&Selection::default(), HOUR).await.unwrap().until;
        let until = until + TimeDelta::milliseconds(1);
        store.unverified(&Selection::default(), until, None, 1).await.unwrap().remove(0)
    };
    let unverified = told().await;
    assert!(!unverified.manifest_waits);
    assert_eq!(unverified.folder.as_deref(), Some(&*format!("in/{}", files[0].recording_id)));
    assert!(store.repeat(Task::Manifest(files[0].recording_id), Duration::ZERO).await.unwrap());
    assert!(told().await.manifest_waits, "it waits");
    let job = claim(&store).await.unwrap();
    assert!(told().await.manifest_waits, "it runs");
    store.settle(&job.lease, Settlement::Done(Box::default())).await.unwrap();
    assert!(!told().await.manifest_waits);
}

async fn a_finding_is_a_state_that_a_later_look_clears(database: Database) {
    let store = database.store().await;
    let files = archived_session(&store, "s", 3).await;
    find(&store, &files[0], FileFinding::Missing).await;
    find(&store, &files[2], FileFinding::NoManifest).await;
    let all = store.found(&FileFinding::ALL, None, 10).await.unwrap();
    assert_eq!(all.iter().map(|file| file.id).collect::<Vec<_>>(), [files[0].id, files[2].id]);
    let told = all[0].found.clone().unwrap();
    assert_eq!((told.finding, told.detail.as_str()), (FileFinding::Missing, "how\u{fffd}ever"));
    assert_eq!(all[0].state, FileState::Archived);
    let after = store.found(&FileFinding::ALL, Some(files[0].id), 10).await.unwrap();
    assert_eq!(after.len(), 1);
    assert_eq!(store.found(&[FileFinding::Size], None, 10).await.unwrap().len(), 0);
    let counted = store.verification().await.unwrap().findings;
    assert_eq!(counted, [(FileFinding::Missing, 1), (FileFinding::NoManifest, 1)]);

    // Another word takes the place of the first one, and none takes it away.
    find(&store, &all[0], FileFinding::Sha256).await;
    assert!(store.verified(&all[1], None).await.unwrap());
    let left = store.found(&FileFinding::ALL, None, 10).await.unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].found.as_ref().unwrap().finding, FileFinding::Sha256);
}

async fn what_was_found_of_a_file_that_has_changed_is_not_written(database: Database) {
    let store = database.store().await;
    let file = archived_session(&store, "s", 1).await.remove(0);
    find(&store, &file, FileFinding::Missing).await;
    let before = row(&store, file.id).await;
    assert!(store.retry(file.id).await.unwrap());
    assert!(!store.verified(&before, None).await.unwrap(), "it is archived no more");
    archive_all(&store).await;
    let mut other = row(&store, file.id).await;
    other.archived.as_mut().unwrap().sha256 = Sha256Digest([8; 32]);
    assert!(!store.verified(&other, Some(&found(FileFinding::Size))).await.unwrap(), "another proof");
    assert!(row(&store, file.id).await.found.is_none());
}

async fn a_missing_object_is_fetched_again_under_its_own_key(database: Database) {
    let store = database.store().await;
    let file = archived_session(&store, "s", 1).await.remove(0);
    find(&store, &file, FileFinding::Missing).await;
    assert!(store.retry(file.id).await.unwrap());
    let again = row(&store, file.id).await;
    assert_eq!((again.state, &again.object_key), (FileState::Pending, &file.object_key));
    assert!(again.archived.is_none() && again.verified_at.is_none() && again.found.is_none());
    assert_eq!(again.proven_before, Some((3, Sha256Digest([7; 32]))), "what was proven is kept");
    assert!(again.reason.as_ref().unwrap().contains("missing"), "{:?}", again.reason);
    assert_eq!(store.foreign(None, 10).await.unwrap(), []);
    assert!(!store.retry(file.id).await.unwrap(), "it waits already");

    // A later announcement brings fresh access, as for any pending file.
    store.record(&session("s", 1)).await.unwrap();
    let work = store.transfer_work(file.id).await.unwrap().unwrap();
    assert!(work.download_url.is_some());
    let job = claim(&store).await.unwrap();
    assert_eq!((job.task, job.attempts, job.account.as_deref()), (Task::Transfer(file.id), 0, Some("acc")));
    let completion =
        Completion { archived: Some((file.id, file.archived.clone().unwrap())), ..Completion::default() };
    store.settle(&job.lease, Settlement::Done(Box::new(completion))).await.unwrap();
    let archived = row(&store, file.id).await;
    assert_eq!((archived.state, archived.proven_before), (FileState::Archived, None));
}

async fn a_wrong_object_is_fetched_again_beside_and_stays_where_it_is(database: Database) {
    let store = database.store().await;
    let file = archived_session(&store, "s", 1).await.remove(0);
    let key = file.object_key.clone().unwrap();
    find(&store, &file, FileFinding::Sha256).await;
    assert!(store.retry(file.id).await.unwrap());
    let beside = key.replace(".mp4", ".again1.mp4");
    assert_eq!(row(&store, file.id).await.object_key.as_deref(), Some(&*beside));
    let foreign = store.foreign(None, 10).await.unwrap();
    assert_eq!((foreign.len(), &foreign[0].key), (1, &key));
    let detail = foreign[0].detail.as_ref().unwrap();
    assert!(detail.contains(&file.id.to_string()) && detail.contains(&beside), "{detail}");
    assert_eq!(store.verification().await.unwrap().foreign, 1);

    // And once more.
    archive_all(&store).await;
    find(&store, &row(&store, file.id).await, FileFinding::Size).await;
    assert!(store.retry(file.id).await.unwrap());
    let again = key.replace(".mp4", ".again2.mp4");
    assert_eq!(row(&store, file.id).await.object_key.as_deref(), Some(&*again));
}

async fn a_wrong_manifest_is_written_again_and_its_file_stays_archived(database: Database) {
    let store = database.store().await;
    let files = archived_session(&store, "s", 2).await;
    for (file, finding) in files.iter().zip([FileFinding::Manifest, FileFinding::NoManifest]) {
        find(&store, file, finding).await;
        assert!(store.retry(file.id).await.unwrap());
        assert_eq!(row(&store, file.id).await.state, FileState::Archived);
    }
    let job = claim(&store).await.unwrap();
    assert_eq!(job.task, Task::Manifest(files[0].recording_id));
    assert!(claim(&store).await.is_none(), "once, for both");
}

async fn what_another_try_does_not_mend_is_left_alone(database: Database) {
    let store = database.store().await;
    let files = archived_session(&store, "s", 2).await;
    for (file, finding) in files.iter().zip([FileFinding::Unreadable, FileFinding::Checksum]) {
        find(&store, file, finding).await;
        assert!(!store.retry(file.id).await.unwrap());
        assert_eq!(row(&store, file.id).await.found.unwrap().finding, finding);
    }
    assert!(claim(&store).await.is_none());
}

async fn a_file_without_a_finding_is_not_fetched_again(database: Database) {
    let store = database.store().await;
    let file = archived_session(&store, "s", 1).await.remove(0);
    assert!(!store.retry(file.id).await.unwrap());
    assert!(store.verified(&file, None).await.unwrap());
    assert!(!store.retry(file.id).await.unwrap());
    assert_eq!(row(&store, file.id).await.state, FileState::Archived);
}

fn listed(keys: &[&str]) -> Vec<ListedObject> {
    (1..).zip(keys).map(|(bytes, key)| ListedObject { key: (*key).to_owned(), bytes }).collect()
}

async fn kept(store: &SharedStore) -> Vec<String> {
    store.foreign(None, 100).await.unwrap().into_iter().map(|object| object.key).collect()
}

async fn objects_that_no_row_knows_are_foreign_until_they_are_gone(database: Database) {
    let store = database.store().await;
    let file = archived_session(&store, "s", 1).await.remove(0);
    let (ours, folder) = (file.object_key.unwrap(), format!("in/{}", file.recording_id));
    let manifest = format!("{folder}/recording.json");
    let keys = ["a.txt", "a/b", &ours, &manifest, "in/other/recording.json", "recording.json", "ä'\"\n"];
    let foreign = store.sift(None, None, &listed(&keys), 100).await.unwrap();
    let expected = ["a.txt", "a/b", "in/other/recording.json", "recording.json", "ä'\"\n"];
    assert_eq!(foreign.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(), expected);
    assert_eq!(kept(&store).await, expected);
    let objects = store.foreign(Some("a.txt"), 1).await.unwrap();
    assert_eq!((objects[0].key.as_str(), objects[0].bytes), ("a/b", Some(2)));

    // Of the part that is listed, what is gone is forgotten, and nothing else.
    store.sift(Some("a.txt"), Some("in/other"), &listed(&["a/c"]), 100).await.unwrap();
    assert_eq!(kept(&store).await, ["a.txt", "a/c", "in/other/recording.json", "recording.json", "ä'\"\n"]);
    store.sift(Some("in/other"), None, &[], 100).await.unwrap();
    assert_eq!(kept(&store).await, ["a.txt", "a/c"]);
    store.sift(None, None, &[], 100).await.unwrap();
    assert_eq!(kept(&store).await, Vec::<String>::new());
}

async fn no_more_foreign_objects_are_kept_than_there_is_room_for(database: Database) {
    let store = database.store().await;
    let foreign = store.sift(None, None, &listed(&["a", "b", "c"]), 2).await.unwrap();
    assert_eq!((foreign.len(), kept(&store).await.len()), (3, 2));
    assert_eq!(store.sift(Some("c"), None, &listed(&["d"]), 0).await.unwrap().len(), 1);
    assert_eq!(kept(&store).await, ["a", "b"]);
}

/// The manifest of the only recording, and the folder it lies in.
async fn manifest_of(store: &SharedStore, file: &FileRow) -> (String, Manifest) {
    let (recording, files) = store.recording(file.recording_id).await.unwrap().unwrap();
    let manifest = Manifest::new(&recording, &files);
    // As it comes out of the archive.
    let manifest = Manifest::read(&manifest.to_json().unwrap()).unwrap();
    (recording.folder.unwrap_or_else(|| "in/nowhere".to_owned()), manifest)
}

/// Empties the database, as one that was lost.
async fn empty(database: &Database) {
    for table in ["jobs", "files", "events", "recordings"] {
        database.execute(&format!("DELETE FROM {table}")).await.unwrap();
    }
}

async fn a_recording_comes_back_from_its_manifest_as_it_was(database: Database) {
    let store = database.store().await;
    let before = archived_session(&store, "s", 2).await;
    let (folder, manifest) = manifest_of(&store, &before[0]).await;
    let (recording_before, _) = store.recording(before[0].recording_id).await.unwrap().unwrap();
    empty(&database).await;

    let restored = store.restore(&folder, &manifest).await.unwrap();
    assert_eq!(restored, Restored { recordings: 1, files: 2 });
    let (recording, files) = store.find(&recording_before.identity).await.unwrap().unwrap();
    assert_eq!(
        (&recording.topic, recording.start_time, &recording.metadata, &recording.folder),
        (
            &recording_before.topic,
            recording_before.start_time,
            &recording_before.metadata,
            &recording_before.folder
        )
    );
    assert_eq!(recording.announced_at, recording_before.announced_at);
    for (file, before) in files.iter().zip(&before) {
        assert_eq!((&file.identity, file.state), (&before.identity, FileState::Archived));
        assert_eq!((&file.archived, &file.object_key), (&before.archived, &before.object_key));
        assert_eq!(file.archived_at, before.archived_at);
        assert_eq!((&file.extension, &file.file_type), (&before.extension, &before.file_type));
        assert_eq!(file.first_event_id, before.first_event_id);
        assert_eq!(
            (file.recording_start, file.announced_bytes),
            (before.recording_start, before.announced_bytes)
        );
        assert_eq!((&file.metadata, file.announced_at), (&before.metadata, before.announced_at));
        let work = store.transfer_work(file.id).await.unwrap().unwrap();
        assert!(work.download_url.is_none() && work.download_token.is_none());
    }
    assert!(claim(&store).await.is_none(), "there is nothing to do");
}

async fn what_was_not_archived_comes_back_waiting_for_zoom(database: Database) {
    let store = database.store().await;
    store.record(&session("s", 4)).await.unwrap();
    let skipped = store.files(&[], None, 1).await.unwrap().remove(0);
    assert!(store.skip(skipped.id, "nobody wants it").await.unwrap());
    let gone = claim(&store).await.unwrap();
    let reason = "Zoom says so".to_owned();
    store.settle(&gone.lease, Settlement::Gone { reason, next: Vec::new() }).await.unwrap();
    let dead = claim(&store).await.unwrap();
    store.settle(&dead.lease, Settlement::Dead { reason: "too often".to_owned() }).await.unwrap();
    let (_, manifest) = manifest_of(&store, &skipped).await;
    empty(&database).await;

    assert_eq!(store.restore("in/x", &manifest).await.unwrap().files, 4);
    let in_state = async |state| store.files(&[state], None, 10).await.unwrap();
    assert_eq!(in_state(FileState::Skipped).await[0].reason.as_deref(), Some("nobody wants it"));
    assert_eq!(in_state(FileState::Gone).await[0].reason.as_deref(), Some("Zoom says so"));
    let parked = in_state(FileState::Parked).await;
    assert_eq!(parked.len(), 2, "the dead one and the pending one");
    let reasons: Vec<_> = parked.iter().filter_map(|file| file.reason.as_deref()).collect();
    assert!(reasons.iter().any(|reason| reason.contains("before: too often")), "{reasons:?}");
    assert!(claim(&store).await.is_none());
    // An announcement wakes what waits for it, and what Zoom has again after all; not what is left out.
    let woken = store.record(&session("s", 4)).await.unwrap();
    assert_eq!((woken.new_files, woken.woken), (0, 3));
    assert!(store.unskip(in_state(FileState::Skipped).await[0].id).await.unwrap());
}

async fn restoring_twice_is_restoring_once(database: Database) {
    let store = database.store().await;
    let file = archived_session(&store, "s", 2).await.remove(0);
    let (folder, manifest) = manifest_of(&store, &file).await;
    assert_eq!(store.restore(&folder, &manifest).await.unwrap(), Restored::default(), "it is known");
    empty(&database).await;
    let twice = futures_util::join!(store.restore(&folder, &manifest), store.restore(&folder, &manifest));
    let [one, two] = [twice.0.unwrap(), twice.1.unwrap()];
    assert_eq!((one.recordings + two.recordings, one.files + two.files), (1, 2));
    assert_eq!(store.restore("elsewhere", &manifest).await.unwrap(), Restored::default());
    assert_eq!(store.files(&[], None, 10).await.unwrap().len(), 2);
}

async fn only_what_was_restored_counts_as_unwritten(database: Database) {
    let store = database.store().await;
    assert!(store.is_unwritten().await.unwrap());
    // What comes by period says nothing.
    assert!(store.repeat(Task::Reconcile, HOUR).await.unwrap());
    assert!(store.is_unwritten().await.unwrap());
    let job = claim(&store).await.unwrap();
    store.settle(&job.lease, Settlement::Done(Box::default())).await.unwrap();
    let file = archived_session(&store, "s", 1).await.remove(0);
    assert!(!store.is_unwritten().await.unwrap());
    let (folder, manifest) = manifest_of(&store, &file).await;
    empty(&database).await;
    store.restore(&folder, &manifest).await.unwrap();
    assert!(store.is_unwritten().await.unwrap());
    store.record(&session("another", 0)).await.unwrap();
    assert!(!store.is_unwritten().await.unwrap());
}

async fn an_announcement_of_a_restored_file_makes_no_work(database: Database) {
    let store = database.store().await;
    let file = archived_session(&store, "s", 2).await.remove(0);
    let (folder, manifest) = manifest_of(&store, &file).await;
    empty(&database).await;
    store.restore(&folder, &manifest).await.unwrap();
    let recorded = store.record(&session("s", 3)).await.unwrap();
    assert_eq!((recorded.new_files, recorded.known_files, recorded.woken), (1, 2, 0));
    let job = claim(&store).await.unwrap();
    let Task::Transfer(new) = job.task else { panic!("a transfer") };
    let key = store.place(new, "in/another-folder", "new.mp4").await.unwrap();
    assert_eq!(key, format!("{folder}/new.mp4"), "beside its siblings");
    assert!(claim(&store).await.is_none());
    let depths = store.depth().await.unwrap();
    let done = depths.iter().find(|depth| depth.kind == "transfer" && depth.state == JobState::Done);
    assert_eq!(done.map(|depth| depth.jobs), Some(2));
}
