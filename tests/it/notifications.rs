//! Notifications: what happens is told to those who want to hear of it, once, whatever they answer and whoever is killed;
//! and they hold up nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use zoom_archiver::domain::file::FileState;
use zoom_archiver::domain::job::JobState;
use zoom_archiver::domain::recording::RecordingKind;
use zoom_archiver::simulator::events::{EventKind, Quirks};
use zoom_archiver::simulator::{
    ApiFault, FakeFile, FakeRecording, FakeZoom, Fault, Options, RedirectTo, When,
};

use crate::support::receiver::{Received, Receiver, Reply, chat, settings, target};
use crate::support::scene::{Scene, sender_to, with_api};
use crate::support::service::{Log, Setup, eventually};

const CONFIG: &str = "ZOOM_ARCHIVER_CONFIG";

/// A session with so many small files.
fn recording(seed: u64, files: u64) -> FakeRecording {
    let file = |number| FakeFile::generated(100 * seed + number, 1000 + number);
    FakeRecording::new(RecordingKind::VideoSdk, seed).with((0..files).map(file))
}

/// A scene whose service tells these receivers, with further settings.
async fn telling(
    sections: &[String],
    change: impl FnOnce(Setup, &FakeZoom) -> Setup,
) -> (Scene, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let path = settings(folder.path(), sections).display().to_string();
    let scene = Scene::staged(Options::default(), |setup, zoom| change(setup.env(CONFIG, path), zoom)).await;
    (scene, folder)
}

/// Archives a recording, and waits for that.
async fn archive(scene: &Scene, recording: &FakeRecording) {
    scene.announce(recording, EventKind::Recording).await;
    eventually("it is archived", || async {
        let files = scene.files().await;
        let ours = files.iter().filter(|file| {
            recording.files.iter().any(|ours| ours.id.as_deref() == Some(file.identity.name.as_str()))
        });
        let archived = ours.filter(|file| file.state == FileState::Archived).count();
        (archived == recording.files.len()).then_some(())
    })
    .await;
}

fn ids(seen: &[Received]) -> BTreeSet<&str> {
    seen.iter().map(|it| it.id.as_str()).collect()
}

/// How many notices rest in a state.
async fn notices(scene: &Scene, state: JobState) -> u64 {
    let depths = scene.store.depth().await.unwrap();
    depths.iter().filter(|depth| depth.kind == "notify" && depth.state == state).map(|depth| depth.jobs).sum()
}

/// Closes a scene whose log must not say where the receivers are.
async fn close(scene: Scene) -> Log {
    let log = scene.close().await;
    log.assert_free_of(["hook-hush", "whsec_"]);
    log
}

#[tokio::test]
async fn an_archived_recording_is_told_once_to_everybody_who_wants_to_hear_of_it() {
    let (program, people, other) =
        (Receiver::start().await, Receiver::start().await, Receiver::start().await);
    let sections = [
        target("program", &program, "events = [\"recording.archived\"]"),
        chat("people", &people),
        target("other", &other, "accounts = [\"somebody-else\"]"),
    ];
    let (scene, _kept) = telling(&sections, |setup, _| setup).await;
    let recording = recording(1, 3);
    archive(&scene, &recording).await;
    let told = program.until(1).await.remove(0);
    told.assert_genuine();
    assert_eq!(told.kind(), "recording.archived");
    let data = &told.body["data"];
    assert_eq!(data["files"], json!({"archived": 3, "skipped": 0, "gone": 0}));
    assert_eq!(data["recording"]["instance_id"], recording.instance_id.as_str());
    let manifest = scene.data.path().join("archive").join(data["manifest"].as_str().unwrap());
    let manifest: Value = serde_json::from_slice(&std::fs::read(manifest).unwrap()).unwrap();
    assert!(manifest["files"].as_array().unwrap().iter().all(|file| file["state"] == "archived"));

    let said = people.until(1).await.remove(0);
    said.assert_unsigned();
    let text = said.body["text"].as_str().unwrap();
    assert!(text.starts_with("Archived: ") && text.contains("files: 3 archived."), "{text}");

    // The same once more is no news.
    scene.announce(&recording, EventKind::Recording).await;
    scene.settled().await;
    assert_eq!((program.seen().len(), people.seen().len(), other.seen().len()), (1, 1, 0));
    let sent = |label| scene.service.metric("zoom_archiver_notifications_total", label);
    assert_eq!(sent("target=\"program\"").await, 1.0);
    assert_eq!(sent("class=\"sent\"").await, 2.0);
    close(scene).await;
}

#[tokio::test]
async fn a_file_that_joins_later_is_news_and_a_file_that_is_left_out_completes_its_recording() {
    let receiver = Receiver::start().await;
    let (scene, _kept) = telling(&[target("ops", &receiver, "")], |setup, _| setup).await;
    let whole = recording(2, 2);
    let mut first = whole.clone();
    first.files.truncate(1);
    archive(&scene, &first).await;
    let once = receiver.until(1).await.remove(0);

    // The second one has no end until it is left out.
    scene.shelve(&whole);
    scene.zoom.library().inject(&whole.files[1].key, Fault::Stall { after: 10 }, When::Always);
    scene.announce(&whole, EventKind::Recording).await;
    let open = eventually("the second file is known", || async {
        scene.files().await.into_iter().find(|file| file.state == FileState::Pending)
    })
    .await;
    assert!(scene.store.skip(open.id, "nobody wants it").await.unwrap());
    scene.settled().await;
    assert_eq!(receiver.seen().len(), 1, "one file is archived, as before");
    assert!(scene.store.unskip(open.id).await.unwrap());
    scene.zoom.library().clear_faults(&whole.files[1].key);
    let again = receiver.until(2).await.remove(1);
    assert_ne!(once.id, again.id);
    assert_eq!(again.body["data"]["files"]["archived"], 2);
    scene.settled().await;
    close(scene).await;
}

#[tokio::test]
async fn a_recording_whose_last_open_file_is_left_out_is_told_as_archived() {
    let receiver = Receiver::start().await;
    let (scene, _kept) = telling(&[target("ops", &receiver, "")], |setup, _| setup).await;
    let recording = recording(3, 2);
    scene.shelve(&recording);
    scene.zoom.library().inject(&recording.files[1].key, Fault::Stall { after: 10 }, When::Always);
    scene.announce(&recording, EventKind::Recording).await;
    let open = eventually("one of two is archived, and its manifest is written", || async {
        let files = scene.files().await;
        let depths = scene.store.depth().await.unwrap();
        let is_written = depths.iter().any(|it| it.kind == "manifest" && it.state == JobState::Done);
        files.into_iter().find(|file| file.state != FileState::Archived).filter(|_| is_written)
    })
    .await;
    assert_eq!(receiver.seen().len(), 0);
    let output = scene.setup.run(&["files", "skip", &open.id.to_string()]).await;
    assert!(output.status.success());
    let told = receiver.until(1).await.remove(0);
    assert_eq!(told.body["data"]["files"], json!({"archived": 1, "skipped": 1, "gone": 0}));
    scene.settled().await;
    close(scene).await;
}

#[tokio::test]
async fn a_receiver_that_fails_is_tried_again_with_the_same_id_until_it_takes_it() {
    let failures = [500, 404, 503, 429, 302].map(Reply::Status);
    let receiver = Receiver::answering(failures, Reply::Status(204)).await;
    let (scene, _kept) = telling(&[target("ops", &receiver, "")], |setup, _| setup).await;
    archive(&scene, &recording(4, 1)).await;
    let seen = receiver.until(6).await;
    scene.settled().await;
    assert_eq!(receiver.seen().len(), 6);
    assert_eq!(ids(&seen).len(), 1);
    for request in &seen {
        request.assert_genuine();
        assert_eq!(request.body, seen[0].body);
    }
    assert_eq!(scene.service.metric("zoom_archiver_notifications_total", "class=\"busy\"").await, 2.0);
    assert_eq!(scene.service.metric("zoom_archiver_notifications_total", "class=\"refused\"").await, 3.0);
    close(scene).await;
}

#[tokio::test]
async fn a_receiver_that_asks_to_wait_is_not_asked_before_that_about_anything() {
    let receiver = Receiver::answering([Reply::Wait(429, 2)], Reply::Status(200)).await;
    let (scene, _kept) = telling(&[target("ops", &receiver, "")], |setup, _| setup).await;
    archive(&scene, &recording(5, 1)).await;
    receiver.until(1).await;
    archive(&scene, &recording(6, 1)).await;
    let seen = receiver.until(3).await;
    assert_eq!(ids(&seen).len(), 2);
    let waited = seen[1].at - seen[0].at;
    assert!(waited >= Duration::from_millis(1900), "{waited:?}");
    scene.settled().await;
    close(scene).await;
}

#[tokio::test]
async fn a_receiver_that_wants_no_more_is_not_asked_about_the_same_again() {
    let receiver = Receiver::answering([Reply::Status(410)], Reply::Status(200)).await;
    let (scene, _kept) = telling(&[target("ops", &receiver, "")], |setup, _| setup).await;
    archive(&scene, &recording(7, 1)).await;
    eventually("it is given up", || async { (notices(&scene, JobState::Dead).await == 1).then_some(()) })
        .await;
    archive(&scene, &recording(8, 1)).await;
    assert_eq!(ids(&receiver.until(2).await).len(), 2, "the next one may be wanted");
    scene.settled().await;
    close(scene).await;
}

#[tokio::test]
async fn a_receiver_that_never_takes_it_is_given_up_after_its_own_attempts() {
    let receiver = Receiver::answering([], Reply::Status(500)).await;
    let (scene, _kept) = telling(&[target("ops", &receiver, "")], |setup, _| {
        setup.env("ZOOM_ARCHIVER_NOTIFY__MAX_ATTEMPTS", "3")
    })
    .await;
    archive(&scene, &recording(9, 1)).await;
    eventually("it is given up", || async { (notices(&scene, JobState::Dead).await == 1).then_some(()) })
        .await;
    assert_eq!(receiver.seen().len(), 3);
    close(scene).await;
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let elsewhere = Receiver::start().await;
    let receiver = Receiver::answering([Reply::Redirect(elsewhere.url())], Reply::Status(200)).await;
    let (scene, _kept) = telling(&[target("ops", &receiver, "")], |setup, _| setup).await;
    archive(&scene, &recording(10, 1)).await;
    receiver.until(2).await;
    scene.settled().await;
    assert_eq!(elsewhere.seen().len(), 0);
    close(scene).await;
}

#[tokio::test]
async fn a_receiver_that_hangs_delays_neither_transfers_nor_other_receivers() {
    let (hanging, quick) = (Receiver::answering([], Reply::Hang).await, Receiver::start().await);
    let sections = [target("hanging", &hanging, ""), target("quick", &quick, "")];
    let (scene, _kept) = telling(&sections, |setup, _| {
        setup
            .env("ZOOM_ARCHIVER_WORKER__CONCURRENCY", "1")
            .env("ZOOM_ARCHIVER_NOTIFY__TIMEOUT_MS", "60000")
            .env("ZOOM_ARCHIVER_NOTIFY__CONCURRENCY", "3")
            .env("ZOOM_ARCHIVER_NOTIFY__CONCURRENCY_PER_TARGET", "2")
    })
    .await;
    for seed in 11..19 {
        archive(&scene, &recording(seed, 2)).await;
    }
    quick.until_ids(8).await;
    let open = hanging.until(2).await.len();
    assert_eq!((open, hanging.most_open()), (2, 2), "no answer has come in all that time");
    close(scene).await;
}

#[tokio::test]
async fn an_answer_that_does_not_come_in_time_is_a_failure() {
    let receiver = Receiver::answering([Reply::Hang], Reply::Status(200)).await;
    let (scene, _kept) = telling(&[target("ops", &receiver, "")], |setup, _| {
        setup.env("ZOOM_ARCHIVER_NOTIFY__TIMEOUT_MS", "300")
    })
    .await;
    archive(&scene, &recording(20, 1)).await;
    assert_eq!(ids(&receiver.until(2).await).len(), 1);
    scene.settled().await;
    assert_eq!(scene.service.metric("zoom_archiver_notifications_total", "class=\"timeout\"").await, 1.0);
    close(scene).await;
}

#[tokio::test]
async fn a_killed_service_loses_no_notification_and_tells_nothing_twice_under_two_names() {
    let receiver = Receiver::answering([], Reply::Hang).await;
    let (mut scene, _kept) = telling(&[target("ops", &receiver, "")], |setup, _| setup).await;
    for seed in 21..24 {
        archive(&scene, &recording(seed, 1)).await;
    }
    // So that nobody is killed while it writes into the archive, which leaves something behind there.
    eventually("only notices are left", || async {
        let depths = scene.store.depth().await.unwrap();
        let busy = |state| matches!(state, JobState::Waiting | JobState::Running);
        let others = depths.iter().filter(|depth| depth.kind != "notify" && busy(depth.state));
        (others.map(|depth| depth.jobs).sum::<u64>() == 0).then_some(())
    })
    .await;
    // Twice in the middle of a request.
    for requests in [1, 3] {
        receiver.until(requests).await;
        let next = scene.setup.spawn();
        std::mem::replace(&mut scene.service, next).kill().await;
        scene.service.ready().await;
    }
    receiver.now_answers(Reply::Status(200));
    let next = scene.setup.spawn();
    std::mem::replace(&mut scene.service, next).kill().await;
    scene.service.ready().await;
    scene.settled().await;
    let seen = receiver.seen();
    let recordings: BTreeSet<_> =
        seen.iter().map(|it| it.body["data"]["recording"]["id"].as_str().unwrap()).collect();
    assert_eq!((ids(&seen).len(), recordings.len()), (3, 3), "each of three under one name");
    assert_eq!(notices(&scene, JobState::Done).await, 3);
    seen.iter().for_each(Received::assert_genuine);
    let sender = sender_to(&scene.service);
    drop(std::mem::replace(&mut scene.sender, sender));
    close(scene).await;
}

#[tokio::test]
async fn a_file_that_is_dead_parked_or_gone_is_told_with_the_reason() {
    let receiver = Receiver::start().await;
    let (scene, _kept) = telling(&[target("ops", &receiver, "")], |setup, zoom| {
        with_api(setup, zoom).env("ZOOM_ARCHIVER_WORKER__MAX_ATTEMPTS", "2")
    })
    .await;
    let [dead, parked, gone] = [25, 26, 27].map(|seed| recording(seed, 1));
    let bodies = [&dead, &parked, &gone]
        .map(|recording| scene.zoom.announce(recording, EventKind::Recording, Quirks::default()));
    let library = scene.zoom.library();
    library.inject(&dead.files[0].key, Fault::SignInPage, When::Always);
    library.inject(&parked.files[0].key, Fault::Redirect(RedirectTo::OtherOrigin), When::Always);
    library.remove(&gone.files[0].key);
    library.inject_api(&gone, ApiFault::Gone, When::Always);
    for body in bodies {
        assert!(scene.sender.deliver(&body).await.answer.is_accepted());
    }
    let seen = receiver.until(3).await;
    scene.settled().await;
    assert_eq!(receiver.seen().len(), 3);
    for (kind, recording) in [("file.dead", &dead), ("file.parked", &parked), ("file.gone", &gone)] {
        let told = seen.iter().find(|it| it.kind() == kind).unwrap_or_else(|| panic!("{kind}: {seen:?}"));
        told.assert_genuine();
        let data = &told.body["data"];
        assert_eq!(data["recording"]["instance_id"], recording.instance_id.as_str());
        assert_eq!(data["file"]["name"], recording.files[0].id.as_deref().unwrap());
        assert!(!data["reason"].as_str().unwrap().is_empty(), "{told:?}");
    }
    // Tried again by a person, and dead again: that is news.
    let file = scene.files().await.into_iter().find(|file| file.state == FileState::Dead).unwrap();
    assert!(scene.store.retry(file.id).await.unwrap());
    let seen = receiver.until(4).await;
    assert_eq!((seen[3].kind(), ids(&seen).len()), ("file.dead", 4));
    scene.settled().await;
    close(scene).await;
}

#[tokio::test]
async fn a_file_near_its_loss_is_told_once_whichever_processes_look_for_it() {
    let receiver = Receiver::start().await;
    let folder = tempfile::tempdir().unwrap();
    let path = settings(folder.path(), &[target("ops", &receiver, "events = [\"file.loss_near\"]")]);
    // Without credentials a file is lost with its token, which lasts a day.
    let scene = Scene::with(|setup| {
        let setup = setup.env(CONFIG, path.display().to_string());
        setup.env("ZOOM_ARCHIVER_NOTIFY__LOSS_LEAD_HOURS", "48").roles("receiver")
    })
    .await;
    let recording = recording(28, 1);
    scene.announce(&recording, EventKind::Recording).await;
    let file = scene.one_file_in(FileState::Pending).await;
    let (one, other) = (
        scene.setup.clone().roles("scheduler").start().await,
        scene.setup.clone().roles("scheduler").start().await,
    );
    eventually("it is about to be told", || async {
        (notices(&scene, JobState::Waiting).await == 1).then_some(())
    })
    .await;
    // What happens to the file meanwhile changes nothing of what was so.
    let worker = scene.setup.clone().roles("worker").start().await;
    let told = receiver.until(1).await.remove(0);
    told.assert_genuine();
    assert_eq!(told.kind(), "file.loss_near");
    let lost_after = told.body["data"]["lost_after"].as_str().unwrap();
    let lost_after = lost_after.parse::<chrono::DateTime<chrono::Utc>>().unwrap();
    assert_eq!(Some(lost_after.timestamp()), file.loses_at.map(|at| at.timestamp()));
    scene.settled().await;
    let again = scene.setup.clone().roles("scheduler").start().await;
    for service in [one, other, worker, again] {
        assert_eq!(service.stop().await.0, Some(0));
    }
    assert_eq!(receiver.seen().len(), 1);
    close(scene).await;
}

#[tokio::test]
async fn what_a_verification_finds_is_told_whoever_looks_and_once() {
    let (program, people) = (Receiver::start().await, Receiver::start().await);
    let sections = [target("program", &program, "events = [\"file.finding\"]"), chat("people", &people)];
    let (scene, _kept) = telling(&sections, |setup, _| setup).await;
    archive(&scene, &recording(33, 1)).await;
    people.until(1).await;
    scene.settled().await;
    let file = scene.files().await.remove(0);
    scene.spoil(&file, None).await;
    for _ in 0..2 {
        let output = scene.setup.run(&["verify"]).await;
        assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    }
    let told = program.until(1).await.remove(0);
    told.assert_genuine();
    assert_eq!((told.kind(), &told.body["data"]["finding"]), ("file.finding", &json!("missing")));
    assert_eq!(told.body["data"]["file"]["object_key"], file.object_key.as_deref().unwrap());
    let said = people.until(2).await.remove(1);
    let text = said.body["text"].as_str().unwrap();
    assert!(text.starts_with("Archived, and not as it was proven: "), "{text}");
    scene.settled().await;
    assert_eq!((program.seen().len(), people.seen().len()), (1, 2));
    close(scene).await;
}

#[tokio::test]
async fn what_a_target_that_is_named_no_more_was_to_hear_is_given_up() {
    let receiver = Receiver::answering([], Reply::Status(500)).await;
    let (mut scene, kept) = telling(&[target("former", &receiver, "")], |setup, _| setup).await;
    archive(&scene, &recording(29, 1)).await;
    receiver.until(1).await;
    settings(kept.path(), &[target("present", &receiver, "")]);
    let next = scene.setup.spawn();
    std::mem::replace(&mut scene.service, next).stop().await;
    scene.service.ready().await;
    eventually("it is given up", || async { (notices(&scene, JobState::Dead).await == 1).then_some(()) })
        .await;
    close(scene).await;
}

#[tokio::test]
async fn what_a_receiver_has_not_taken_is_sent_again_or_let_go_by_command() {
    // It ends each notice at its first attempt.
    let receiver = Receiver::answering([], Reply::Status(410)).await;
    let (scene, _kept) = telling(&[target("ops", &receiver, "")], |setup, _| setup).await;
    let dead = async |count: u64| {
        eventually("they are given up", || async {
            (notices(&scene, JobState::Dead).await == count).then_some(())
        })
        .await;
    };
    let said = |output: &std::process::Output| String::from_utf8(output.stdout.clone()).unwrap();
    for seed in [40, 41] {
        archive(&scene, &recording(seed, 1)).await;
    }
    dead(2).await;
    let refused = receiver.until_ids(2).await;
    let all = ["--kind", "notify", "--account", "ops", "--state", "dead"];
    let jobs = async |arguments: &[&str]| scene.setup.run(&[&["jobs"], arguments].concat()).await;
    let listed = said(&jobs(&[&["list", "--json"], &all[..]].concat()).await);
    assert_eq!(listed.lines().filter(|line| line.contains("410")).count(), 2, "{listed}");

    // All that stand somewhere, of whatever kind, are nobody's business at once.
    assert_eq!(jobs(&["retry", "--state", "dead"]).await.status.code(), Some(2));
    receiver.now_answers(Reply::Status(200));
    let output = jobs(&[&["retry"], &all[..]].concat()).await;
    assert_eq!(said(&output), "2 of 2 jobs wait for another try\n");
    eventually("they are taken", || async { (notices(&scene, JobState::Done).await == 2).then_some(()) })
        .await;
    assert_eq!(receiver.until_ids(2).await, refused, "under the names that they had");

    receiver.now_answers(Reply::Status(410));
    archive(&scene, &recording(42, 1)).await;
    dead(1).await;
    let output = jobs(&[&["cancel", "--reason", "a test"], &all[..]].concat()).await;
    assert_eq!(said(&output), "1 of 1 jobs are withdrawn\n");
    assert_eq!((notices(&scene, JobState::Dead).await, notices(&scene, JobState::Cancelled).await), (0, 1));
    close(scene).await;
}

#[tokio::test]
async fn a_test_is_sent_to_each_target_and_says_what_came_back() {
    let (program, people) = (Receiver::start().await, Receiver::answering([], Reply::Status(403)).await);
    let folder = tempfile::tempdir().unwrap();
    let path = settings(folder.path(), &[target("program", &program, ""), chat("people", &people)]);
    let setup = Setup::new(folder.path()).env(CONFIG, path.display().to_string());
    let said = |output: &std::process::Output| String::from_utf8(output.stdout.clone()).unwrap();

    let output = setup.run(&["notify", "test", "program"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(said(&output).starts_with("program: taken (200), after "), "{}", said(&output));
    assert!(said(&output).trim_end().ends_with("it says: so it is"), "{}", said(&output));
    let sample = program.seen().remove(0);
    sample.assert_genuine();
    assert_eq!(sample.kind(), "test");

    let output = setup.run(&["notify", "test", "--json"]).await;
    assert_eq!(output.status.code(), Some(1), "one does not take it");
    let lines: Vec<Value> = said(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&lines[0]["target"], &lines[0]["taken"]), (&json!("program"), &json!(true)));
    assert_eq!((&lines[1]["target"], &lines[1]["status"]), (&json!("people"), &json!(403)));
    assert_eq!(lines[1]["taken"], false);
    assert!(people.seen()[0].body["text"].is_string());

    let output = setup.run(&["notify", "test", "nobody"]).await;
    assert_eq!(output.status.code(), Some(2));
    let none = Setup::new(folder.path()).run(&["notify", "test"]).await;
    assert_eq!(none.status.code(), Some(2));
}
