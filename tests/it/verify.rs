//! The archive is compared with what was proven of it: by command, and by period.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Output;
use std::time::Duration;

use chrono::TimeDelta;
use serde_json::{Value, json};
use zoom_archiver::clock::Clock;
use zoom_archiver::domain::file::{FileRow, FileState};
use zoom_archiver::domain::job::{Cost, JobState, Settlement, Task};
use zoom_archiver::domain::recording::RecordingKind;
use zoom_archiver::domain::verification::FileFinding;
use zoom_archiver::simulator::events::{EventKind, Quirks};
use zoom_archiver::simulator::{FakeFile, FakeRecording, Options};
use zoom_archiver::store::{Selection, SharedStore};

use crate::support::place::{Bucket, Place};
use crate::support::s3::{Quirks as S3Quirks, S3Server};
use crate::support::scene::{Scene, open_store, sender_to, until_settled, with_api};
use crate::support::service::{Service, Setup, eventually};
use crate::support::split::{Split, all_files};

/// A session that began lately, with so many files.
fn session(seed: u64, files: u64) -> FakeRecording {
    let files = (0..files).map(|number| FakeFile::generated(seed * 100 + number, 1000 + number));
    let mut recording = FakeRecording::new(RecordingKind::VideoSdk, seed).with(files);
    recording.start_time = Clock::System.now() - TimeDelta::hours(2);
    recording
}

/// A service that has archived some recordings, and what lies around it.
struct Archived {
    split: Split,
    setup: Setup,
    service: Service,
    store: SharedStore,
    recordings: Vec<FakeRecording>,
}

impl Archived {
    async fn stage(place: Place, recordings: Vec<FakeRecording>) -> Self {
        let split = Split::stage(place, Options::default()).await;
        let setup = with_api(split.base.clone(), &split.zoom);
        let service = setup.start().await;
        let store = open_store(&split.database.url).await;
        let sender = sender_to(&service);
        for recording in &recordings {
            let body = split.zoom.announce(recording, EventKind::Recording, Quirks::default());
            assert!(sender.deliver(&body).await.answer.is_accepted());
        }
        until_settled(&store).await;
        let files = all_files(&store).await;
        assert!(files.iter().all(|file| file.state == FileState::Archived), "{files:?}");
        Self { split, setup, service, store, recordings }
    }

    fn place(&self) -> &Place {
        &self.split.place
    }

    async fn files(&self) -> Vec<FileRow> {
        all_files(&self.store).await
    }

    /// What `verify` prints, a line each, without the report; and the report.
    async fn verify(&self, arguments: &[&str]) -> (Vec<Value>, Value) {
        let (output, mut lines) = lines_of(&self.setup, &[&["verify", "--json"], arguments].concat()).await;
        let report = lines.pop().expect("a report")["report"].clone();
        assert_eq!(output.status.code(), Some(i32::from(report["clean"] != true)), "{report}");
        (lines, report)
    }

    async fn stop(self) {
        let (code, log) = self.service.stop().await;
        assert_eq!(code, Some(0), "{}", log.text());
    }
}

async fn lines_of(setup: &Setup, arguments: &[&str]) -> (Output, Vec<Value>) {
    let output = setup.run(arguments).await;
    let lines = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = lines.lines().map(|line| serde_json::from_str(line).expect("JSON a line")).collect();
    (output, lines)
}

fn key(file: &FileRow) -> &str {
    file.object_key.as_deref().expect("a key")
}

fn manifest(file: &FileRow) -> String {
    format!("{}/recording.json", key(file).rsplit_once('/').expect("a folder").0)
}

/// What was found, by key.
fn by_key(lines: &[Value]) -> BTreeMap<String, String> {
    let word = |line: &Value, name: &str| line[name].as_str().map(str::to_owned);
    lines
        .iter()
        .filter_map(|line| match word(line, "foreign") {
            Some(key) => Some((key, "foreign".to_owned())),
            None => Some((word(line, "object_key")?, word(line, "finding")?)),
        })
        .collect()
}

/// Whoever asks how things stand is told of the first three files and of a foreign object, over the network and without.
async fn status_and_files_tell_of_it(archived: &Archived, files: &[FileRow]) {
    let url = format!("http://{}", archived.service.admin_addr());
    let file = files[0].id.to_string();
    for whom in [&[][..], &["--url", &url]] {
        let ask = async |arguments: &[&str]| lines_of(&archived.setup, &[arguments, whom].concat()).await.1;
        let status = ask(&["status", "--json"]).await.remove(0);
        let counts = ["missing", "sha256", "size"].map(|word| json!({ "finding": word, "files": 1 }));
        let told = &status["verification"];
        assert_eq!((&told["findings"], &told["foreign_objects"]), (&json!(counts), &json!(1)));
        assert!(told["oldest_unverified_secs"].as_u64().is_some_and(|secs| secs < 600), "{told}");

        let shown = ask(&["files", "show", &file, "--json"]).await.remove(0);
        assert_eq!((&shown["state"], &shown["finding"]), (&json!("archived"), &json!("sha256")));
        assert!(shown["finding_detail"].as_str().is_some_and(|words| words.contains("SHA-256")), "{shown}");
        let listed = ask(&["files", "list", "--json"]).await;
        assert!(listed.iter().all(|file| file["verified_at"].is_string()), "{listed:?}");
        assert_eq!(listed.iter().filter(|file| !file["finding"].is_null()).count(), 3, "{listed:?}");
    }
    let told = archived.setup.run(&["status"]).await;
    let told = String::from_utf8_lossy(&told.stdout).into_owned();
    for words in ["1 missing, 1 sha256, 1 size", "findings retry FILE_ID", "findings foreign"] {
        assert!(told.contains(words), "{told}");
    }
}

async fn damage_is_found_is_a_state_and_clears_itself(place: Place) {
    let archived = Archived::stage(place, vec![session(1, 5), session(2, 1)]).await;
    assert_eq!(archived.verify(&[]).await.0, Vec::<Value>::new());
    let files = archived.files().await;
    assert!(files.iter().all(|file| file.verified_at.is_some() && file.found.is_none()));

    let place = archived.place();
    let mut originals = Vec::new();
    for file in &files[..3] {
        originals.push(place.bytes(key(file)).await.expect("it is there"));
    }
    let mut flipped = originals[0].to_vec();
    flipped[500] ^= 1;
    place.overwrite(key(&files[0]), Some(&flipped)).await;
    place.overwrite(key(&files[1]), Some(&originals[1][..999])).await;
    place.overwrite(key(&files[2]), None).await;
    let foreign = format!("{}.bak", key(&files[3]));
    place.overwrite(&foreign, Some(b"somebody's")).await;

    let (lines, report) = archived.verify(&["--all"]).await;
    let expected = BTreeMap::from([
        (key(&files[0]).to_owned(), "sha256".to_owned()),
        (key(&files[1]).to_owned(), "size".to_owned()),
        (key(&files[2]).to_owned(), "missing".to_owned()),
        (foreign.clone(), "foreign".to_owned()),
    ]);
    assert_eq!(by_key(&lines), expected);
    assert_eq!(
        (&report["files"], &report["findings"], &report["foreign"]),
        (&json!(6), &json!(3), &json!(1))
    );

    // It stands in the record, and whoever asks is told.
    let (_, listed) = lines_of(&archived.setup, &["findings", "list", "--json"]).await;
    let words: BTreeSet<_> = listed.iter().filter_map(|line| line["finding"].as_str()).collect();
    assert_eq!(words, BTreeSet::from(["missing", "sha256", "size"]));
    let (_, listed) =
        lines_of(&archived.setup, &["findings", "list", "--finding", "size,missing", "--json"]).await;
    assert_eq!(listed.len(), 2);
    let (_, listed) = lines_of(&archived.setup, &["findings", "foreign", "--json"]).await;
    assert_eq!((listed.len(), listed[0]["key"].as_str()), (1, Some(&*foreign)));
    for (name, label, expected) in [
        ("zoom_archiver_findings", "\"sha256\"", 1.0),
        ("zoom_archiver_findings", "\"checksum\"", 0.0),
        ("zoom_archiver_foreign_objects", "", 1.0),
    ] {
        let told = archived.service.metric(name, label).await;
        assert!((told - expected).abs() < 0.1, "{name} {label}: {told}");
    }

    status_and_files_tell_of_it(&archived, &files).await;

    // What is put right is right again.
    for (file, original) in files.iter().zip(&originals) {
        place.overwrite(key(file), Some(original)).await;
    }
    place.overwrite(&foreign, None).await;
    assert_eq!(archived.verify(&[]).await.0, Vec::<Value>::new());
    assert!(archived.files().await.iter().all(|file| file.found.is_none()));
    assert_eq!(archived.store.foreign(None, 10).await.unwrap(), []);
    archived.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_byte_a_truncated_object_a_deleted_one_and_a_foreign_one_are_found_in_a_bucket() {
    damage_is_found_is_a_state_and_clears_itself(Place::bucket().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flipped_byte_a_truncated_object_a_deleted_one_and_a_foreign_one_are_found_in_a_directory() {
    damage_is_found_is_a_state_and_clears_itself(Place::directory()).await;
}

/// An object that is there and cannot be read is told as that; it is no reason to fetch it again, and clears itself.
async fn what_is_not_given_is_found(
    place: Place,
    withhold: impl Fn(&Place, &str),
    give: impl Fn(&Place, &str),
    words: &str,
) {
    let archived = Archived::stage(place, vec![session(1, 2)]).await;
    let files = archived.files().await;
    withhold(archived.place(), key(&files[0]));
    let (lines, report) = archived.verify(&[]).await;
    assert_eq!(by_key(&lines), BTreeMap::from([(key(&files[0]).to_owned(), "unreadable".to_owned())]));
    assert_eq!((&report["files"], &report["findings"]), (&json!(2), &json!(1)));
    let (_, listed) = lines_of(&archived.setup, &["findings", "list", "--json"]).await;
    let detail = listed[0]["finding_detail"].as_str().expect("words");
    assert!(detail.contains(words), "{detail}");
    let told = archived.service.metric("zoom_archiver_findings", "\"unreadable\"").await;
    assert!((told - 1.0).abs() < 0.1, "{told}");

    let output = archived.setup.run(&["findings", "retry", &files[0].id.to_string()]).await;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("nothing was found of it that another try mends"), "{told}");
    let id = files[0].id.to_string();
    let output = archived.setup.run(&["findings", "retry", &id, "--json"]).await;
    let told: Value = serde_json::from_slice(&output.stdout).expect("one object");
    let left = json!([{ "id": id, "reason": "nothing was found of it that another try mends" }]);
    assert_eq!(told, json!({ "matched": 1, "done": 0, "ids": [], "left_alone": left }));
    assert!(archived.files().await.iter().all(|file| file.state == FileState::Archived));

    give(archived.place(), key(&files[0]));
    assert_eq!(archived.verify(&[]).await.0, Vec::<Value>::new());
    archived.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_the_bucket_has_and_does_not_give_is_unreadable() {
    let freeze = |frozen: bool| {
        move |place: &Place, key: &str| {
            let Place::Bucket(bucket) = place else { panic!("a bucket") };
            bucket.server.freeze(key, frozen);
        }
    };
    let bucket = Bucket::at(S3Server::in_process(S3Quirks::default()).await).await;
    let words = "restore the object first";
    what_is_not_given_is_found(Place::Bucket(bucket), freeze(true), freeze(false), words).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_the_disk_does_not_give_is_unreadable() {
    let paths = |place: &Place, key: &str| {
        let Place::Directory(root) = place else { panic!("a directory") };
        (root.path().join(key), root.path().with_extension("aside"))
    };
    // A link to itself: also for somebody with all rights, there is something, and it cannot be read.
    let withhold = move |place: &Place, key: &str| {
        let (path, aside) = paths(place, key);
        std::fs::rename(&path, aside).unwrap();
        std::os::unix::fs::symlink(&path, &path).unwrap();
    };
    let give = move |place: &Place, key: &str| {
        let (path, aside) = paths(place, key);
        std::fs::remove_file(&path).unwrap();
        std::fs::rename(aside, path).unwrap();
    };
    what_is_not_given_is_found(Place::directory(), withhold, give, "cannot look").await;
}

async fn damage_is_mended_from_zoom(place: Place) {
    let archived = Archived::stage(place, vec![session(1, 4)]).await;
    let (files, place) = (archived.files().await, archived.place());
    let mut flipped = place.bytes(key(&files[0])).await.unwrap().to_vec();
    flipped[7] ^= 0x80;
    place.overwrite(key(&files[0]), Some(&flipped)).await;
    let whole = place.bytes(key(&files[1])).await.unwrap();
    place.overwrite(key(&files[1]), None).await;
    place.overwrite(key(&files[2]), None).await;
    archived.verify(&[]).await;
    // Somebody has put one of them back: it is not fetched.
    place.overwrite(key(&files[1]), Some(&whole)).await;
    let served = |file: &FileRow| {
        let fake =
            archived.recordings[0].files.iter().find(|it| it.id.as_deref() == Some(&file.identity.name));
        archived.split.zoom.library().account(&fake.unwrap().key).unwrap().bytes_served
    };
    let before: Vec<u64> = files.iter().map(served).collect();

    let output = archived.setup.run(&["findings", "retry", "--finding", "missing,size,sha256"]).await;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{told}");
    assert!(told.contains("is as it was proven") && told.contains("2 of 2 files wait"), "{told}");
    until_settled(&archived.store).await;

    let again = archived.files().await;
    for (file, before) in again.iter().zip(&files) {
        assert_eq!((file.state, &file.found), (FileState::Archived, &None), "{:?}", file.reason);
        let (now, then) = (file.archived.as_ref().unwrap(), before.archived.as_ref().unwrap());
        assert_eq!((now.bytes, now.sha256, &now.mark), (then.bytes, then.sha256, &None));
    }
    let fetched: Vec<bool> = files.iter().zip(&before).map(|(file, before)| served(file) > *before).collect();
    assert_eq!(fetched, [true, false, true, false]);
    assert_ne!(again[0].object_key, files[0].object_key, "the wrong object is not written over");
    assert_eq!(place.bytes(key(&files[0])).await.as_deref(), Some(&*flipped));
    assert_eq!(again[2].object_key, files[2].object_key);

    // What was wrong is nobody's now, until a person removes it.
    let (lines, _) = archived.verify(&[]).await;
    assert_eq!(by_key(&lines), BTreeMap::from([(key(&files[0]).to_owned(), "foreign".to_owned())]));
    place.overwrite(key(&files[0]), None).await;
    assert_eq!(archived.verify(&[]).await.0, Vec::<Value>::new());
    archived.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_or_wrong_is_fetched_again_and_nothing_is_written_over_in_a_bucket() {
    damage_is_mended_from_zoom(Place::bucket().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_or_wrong_is_fetched_again_and_nothing_is_written_over_in_a_directory() {
    damage_is_mended_from_zoom(Place::directory()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_with_other_bytes_than_before_is_archived_and_marked() {
    let archived = Archived::stage(Place::directory(), vec![session(1, 1)]).await;
    let file = archived.files().await.remove(0);
    archived.place().overwrite(key(&file), None).await;
    archived.verify(&[]).await;
    let changed = FakeFile::generated(77, 1000).content;
    archived.split.zoom.library().replace_content(&archived.recordings[0].files[0].key, changed);
    let output = archived.setup.run(&["findings", "retry", &file.id.to_string()]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    until_settled(&archived.store).await;
    let again = archived.files().await.remove(0);
    let (now, then) = (again.archived.unwrap(), file.archived.unwrap());
    assert_eq!(now.sha256, changed.sha256());
    let mark = now.mark.expect("it is marked");
    assert!(mark.contains(&then.sha256.to_string()), "{mark}");
    archived.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manifest_that_is_missing_or_says_otherwise_is_found_and_written_again() {
    let archived =
        Archived::stage(Place::bucket().await, vec![session(1, 1), session(2, 1), session(3, 1)]).await;
    let (files, place) = (archived.files().await, archived.place());
    place.overwrite(&manifest(&files[0]), None).await;
    let other = place.bytes(&manifest(&files[1])).await.unwrap();
    let other = String::from_utf8(other.to_vec()).unwrap();
    let sha256 = files[1].archived.as_ref().unwrap().sha256.to_string();
    place.overwrite(&manifest(&files[1]), Some(other.replace(&sha256, &"0".repeat(64)).as_bytes())).await;
    place.overwrite(&manifest(&files[2]), Some(b"{ \"format\": ")).await;

    let (lines, _) = archived.verify(&[]).await;
    let expected = [(0, "no_manifest"), (1, "manifest"), (2, "manifest")];
    let expected =
        expected.map(|(index, word): (usize, &str)| (key(&files[index]).to_owned(), word.to_owned()));
    assert_eq!(by_key(&lines), BTreeMap::from(expected));
    let detail = |index: usize| {
        let line = lines.iter().find(|line| line["object_key"] == key(&files[index])).unwrap();
        line["detail"].as_str().unwrap().to_owned()
    };
    assert!(detail(1).contains("SHA-256") && detail(2).contains("cannot be read"), "{lines:?}");

    let output = archived.setup.run(&["findings", "retry", "--finding", "no_manifest,manifest"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    until_settled(&archived.store).await;
    assert_eq!(archived.verify(&[]).await.0, Vec::<Value>::new());
    archived.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_is_what_was_not_looked_at_for_longest() {
    let archived = Archived::stage(Place::directory(), vec![session(1, 4), session(2, 3)]).await;
    let looked_at = async || {
        let files = archived.files().await.into_iter();
        files.filter(|file| file.verified_at.is_some()).map(|file| file.id).collect::<BTreeSet<_>>()
    };
    for expected in [3, 6, 7] {
        assert_eq!(archived.verify(&["--share", "1/3"]).await.1["files"], 3);
        assert_eq!(looked_at().await.len(), expected);
    }
    // By day and by account; what is narrowed so says nothing of foreign objects.
    let today = Clock::System.now().date_naive().to_string();
    let (_, report) = archived.verify(&["--since", &today]).await;
    assert_eq!((&report["files"], &report["listed"]), (&json!(7), &Value::Null));
    assert_eq!(archived.verify(&["--since", "2999-01-01"]).await.1["files"], 0);
    let account = &archived.recordings[0].account_id;
    assert_eq!(archived.verify(&["--account", account]).await.1["files"], 7);
    let output = archived.setup.run(&["verify", "--account", "nobody"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("`nobody`"));
    for wrong in [&["verify", "--share", "8/7"][..], &["verify", "--all", "--share", "1/7"]] {
        assert_eq!(archived.setup.run(wrong).await.status.code(), Some(2), "{wrong:?}");
    }
    archived.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn for_people_each_finding_comes_with_the_command_that_mends_it() {
    let archived = Archived::stage(Place::directory(), vec![session(1, 2)]).await;
    let files = archived.files().await;
    archived.place().overwrite(key(&files[0]), None).await;
    archived.place().overwrite("stranger.txt", Some(b"x")).await;
    let output = archived.setup.run(&["verify"]).await;
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    for words in [
        format!("missing: {}", key(&files[0])),
        format!("zoom-archiver findings retry {}", files[0].id),
        "foreign: stranger.txt".to_owned(),
        "1 of 2 files are as they were proven.".to_owned(),
    ] {
        assert!(told.contains(&words), "{told}");
    }
    archived.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_archive_that_is_away_or_empty_is_an_error_and_no_finding() {
    let archived = Archived::stage(Place::directory(), vec![session(1, 2)]).await;
    let Place::Directory(root) = archived.place() else { panic!("a directory") };
    // As a disk that is not mounted looks.
    let aside = root.path().with_extension("aside");
    std::fs::rename(root.path(), &aside).unwrap();
    std::fs::create_dir(root.path()).unwrap();
    let output = archived.setup.run(&["verify"]).await;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(told.contains("is it mounted?"), "{told}");
    assert!(archived.files().await.iter().all(|file| file.found.is_none() && file.verified_at.is_none()));
    std::fs::remove_dir_all(root.path()).unwrap();
    std::fs::rename(&aside, root.path()).unwrap();

    let nowhere = archived.setup.clone().env("ARCHIVE_URL", "s3://nowhere").env("AWS_ACCESS_KEY_ID", "a");
    let nowhere = nowhere
        .env("AWS_SECRET_ACCESS_KEY", "of-no-bucket-at-all")
        .env("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9");
    assert_eq!(nowhere.run(&["verify"]).await.status.code(), Some(1));
    assert!(archived.files().await.iter().all(|file| file.found.is_none()));
    archived.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn manifests_prove_the_archive_to_sha256sum_alone() {
    let archived = Archived::stage(Place::directory(), vec![session(1, 3), session(2, 2)]).await;
    let Place::Directory(root) = archived.place() else { panic!("a directory") };
    // What the document has `jq` do.
    let mut sums = String::new();
    for key in archived.place().objects().await.iter().filter(|key| key.ends_with("/recording.json")) {
        let manifest: Value = serde_json::from_slice(&archived.place().bytes(key).await.unwrap()).unwrap();
        let objects = manifest["files"].as_array().unwrap().iter().map(|file| &file["object"]);
        for object in objects.filter(|object| !object.is_null()) {
            sums += &format!("{}  {}\n", object["sha256"].as_str().unwrap(), object["key"].as_str().unwrap());
        }
    }
    assert_eq!(sums.lines().count(), 5);
    let outside = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(outside.path(), sums).unwrap();
    let check = || {
        let mut sha256sum = std::process::Command::new("sha256sum");
        sha256sum.args(["--check", "--quiet"]).arg(outside.path()).current_dir(root.path());
        sha256sum.output().expect("sha256sum").status.success()
    };
    assert!(check());
    let files = archived.files().await;
    archived.place().overwrite(key(&files[4]), Some(b"something else")).await;
    assert!(!check());
    archived.stop().await;
}

/// A scene in which the archive is verified when a test asks for it: a round is due a day after the last one.
async fn by_period(days: &'static str) -> Scene {
    Scene::with(|setup| setup.env("ZOOM_ARCHIVER_VERIFY__PERIOD_DAYS", days)).await
}

/// Has a round come now, and waits for its end.
async fn round(scene: &Scene) {
    assert!(scene.store.repeat(Task::Verify, Duration::ZERO).await.unwrap());
    scene.settled().await;
}

async fn verified(scene: &Scene) -> usize {
    scene.files().await.iter().filter(|file| file.verified_at.is_some()).count()
}

#[tokio::test]
async fn rounds_go_through_all_of_the_archive_within_the_period() {
    let scene = by_period("3").await;
    scene.settled().await;
    for recording in [session(1, 4), session(2, 3)] {
        scene.announce(&recording, EventKind::Recording).await;
    }
    scene.settled().await;
    for expected in [3, 6, 7] {
        round(&scene).await;
        assert_eq!(verified(&scene).await, expected);
    }
    let oldest = scene.service.metric("zoom_archiver_oldest_unverified_seconds", "").await;
    assert!((0.0..120.0).contains(&oldest), "{oldest}");
    let right = scene.service.metric("zoom_archiver_verified_files_total", "right").await;
    assert!((right - 9.0).abs() < 0.1, "{right}: three a round");
    scene.close().await;
}

#[tokio::test]
async fn a_round_tells_what_is_not_as_it_was_proven_and_what_is_foreign() {
    let scene = by_period("1").await;
    scene.settled().await;
    scene.announce(&session(1, 2), EventKind::Recording).await;
    scene.settled().await;
    let file = scene.files().await.remove(0);
    let archive = scene.data.path().join("archive");
    std::fs::remove_file(archive.join(key(&file))).unwrap();
    std::fs::write(archive.join("stranger"), "x").unwrap();
    round(&scene).await;
    let told = scene.service.log.wait_for(|line| line["finding"] == "missing").await;
    assert_eq!((&told["level"], &told["file.id"]), (&json!("WARN"), &json!(file.id.to_string())));
    let found = scene.store.found(&[FileFinding::Missing], None, 10).await.unwrap();
    assert_eq!((found.len(), found[0].id), (1, file.id));
    let foreign = scene.store.foreign(None, 10).await.unwrap();
    assert_eq!(foreign.iter().map(|object| object.key.as_str()).collect::<Vec<_>>(), ["stranger"]);
    let told = scene.service.log.lines();
    let told = told.iter().rfind(|line| line["message"] == "verified a share of the archive").unwrap();
    assert_eq!((&told["round.findings"], &told["round.foreign"]), (&json!(1), &json!(1)));
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_round_that_was_broken_off_goes_on_where_it_was() {
    let archived = Archived::stage(Place::directory(), vec![session(1, 5)]).await;
    let Archived { split: _split, setup, service, store, .. } = archived;
    assert_eq!(service.stop().await.0, Some(0));
    // A worker has three of five files behind it, and ends.
    assert!(store.repeat(Task::Verify, Duration::ZERO).await.unwrap());
    let job = store.claim("test", 1, Duration::from_secs(60), &[]).await.unwrap().remove(0);
    let until = store.to_verify(&Selection::default(), Duration::ZERO).await.unwrap().until;
    let far =
        json!({ "until": until, "left": 2, "files": 3, "findings": 0, "listed_to": null, "foreign": 0 });
    store.checkpoint(&job.lease, &far).await.unwrap();
    let put_back = Settlement::Wait { after: Duration::ZERO, reason: None, cost: Cost::Nothing };
    store.settle(&job.lease, put_back).await.unwrap();
    let service = setup.start().await;
    until_settled(&store).await;
    let files = all_files(&store).await;
    assert_eq!(files.iter().filter(|file| file.verified_at.is_some()).count(), 2);
    let told = service.log.wait_for(|line| line["message"] == "verified a share of the archive").await;
    assert_eq!(told["round.files"], 5);
    assert_eq!(service.stop().await.0, Some(0));
}

#[tokio::test]
async fn of_several_processes_one_verifies() {
    let first = by_period("1").await;
    let others = [first.setup.spawn(), first.setup.spawn()];
    for other in &others {
        other.ready().await;
    }
    eventually("the round is over", || async {
        let depths = first.store.depth().await.unwrap();
        depths.iter().any(|depth| depth.kind == "verify" && depth.state == JobState::Done).then_some(())
    })
    .await;
    let mut rounds = 0;
    let is_round = |line: &&Value| line["message"] == "verified a share of the archive";
    for other in others {
        rounds += other.stop().await.1.lines().iter().filter(is_round).count();
    }
    rounds += first.service.log.lines().iter().filter(is_round).count();
    assert_eq!(rounds, 1);
    first.close().await;
}
