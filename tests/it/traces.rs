//! What happened to an event and to all that came of it is one trace, from the webhook to the object, across processes;
//! and a line of the log says by the same names what it is about.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::Value;
use zoom_archiver::domain::file::FileState;
use zoom_archiver::domain::recording::RecordingKind;
use zoom_archiver::simulator::events::{EventKind, Quirks};
use zoom_archiver::simulator::{FakeFile, FakeRecording, Options};

use crate::support::database::{Database, on_each_database};
use crate::support::otlp::{Collector, Told};
use crate::support::program::fake_zoom;
use crate::support::scene::{Scene, open_store, sender_to, until_settled};
use crate::support::service::Setup;

fn traced(setup: Setup, collector: &Collector) -> Setup {
    setup.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint()).env("OTEL_BSP_SCHEDULE_DELAY", "50")
}

/// The spans of one trace, by name.
fn by_name(spans: &[Told], trace: &str) -> BTreeMap<String, Told> {
    spans.iter().filter(|it| it.trace == trace).map(|it| (it.name.clone(), it.clone())).collect()
}

/// Two processes, one of which takes the event and the other carries the files: one trace.
async fn one_trace_leads_from_the_webhook_to_the_object(database: Database) {
    let collector = Collector::start().await;
    let data = tempfile::tempdir().unwrap();
    let zoom = fake_zoom(Options::default()).await;
    database.migrate().await.unwrap();
    let url = database.url().expose_secret();
    let setup = traced(Setup::new(data.path()), &collector)
        .env("DATABASE_URL", url)
        .env("ZOOM_ARCHIVER_ZOOM__DOWNLOAD_HOSTS", zoom.origin());
    let receiver =
        setup.clone().roles("receiver,scheduler").env("OTEL_SERVICE_NAME", "the-receiver").start().await;
    let worker = setup.clone().roles("worker").start().await;
    // One file of several parts, and one of one.
    let files = [FakeFile::generated(1, 20_000_000), FakeFile::generated(2, 1000)];
    let recording = FakeRecording::new(RecordingKind::VideoSdk, 1).with(files);
    let body = zoom.announce(&recording, EventKind::Recording, Quirks::default());
    assert!(sender_to(&receiver).deliver(&body).await.answer.is_accepted());
    let store = open_store(url).await;
    until_settled(&store).await;
    let rows = store.files(&[], None, 10).await.unwrap();
    assert!(rows.iter().all(|row| row.state == FileState::Archived), "{rows:?}");
    store.close().await;
    let (code, log) = worker.stop().await;
    assert_eq!(code, Some(0));
    let (code, of_receiver) = receiver.stop().await;
    assert_eq!(code, Some(0));

    let spans = collector.spans();
    let receive = spans.iter().find(|span| span.name == "receive").expect("the webhook's span");
    assert_eq!((receive.parent.as_str(), receive.service.as_str()), ("", "the-receiver"));
    let found = by_name(&spans, &receive.trace);
    let names: BTreeSet<&str> = found.keys().map(String::as_str).collect();
    let wanted = ["receive", "event", "job", "open", "parts", "complete", "settle"];
    assert!(wanted.iter().all(|name| names.contains(name)), "{names:?}");
    assert_eq!(found["event"].parent, receive.id);
    assert_eq!(found["job"].service, "zoom-archiver");
    let jobs: Vec<&Told> = spans.iter().filter(|span| span.name == "job").collect();
    let of_trace = |it: &&&Told| it.trace == receive.trace && it.parent == found["event"].id;
    assert_eq!(jobs.iter().filter(of_trace).count(), jobs.len(), "{jobs:#?}");
    let kinds: BTreeSet<&str> = jobs.iter().map(|job| job.attributes["job.kind"].as_str()).collect();
    assert_eq!(kinds, BTreeSet::from(["manifest", "transfer"]));

    // The log and the trace name the same things by the same names.
    for (lines, message, span) in
        [(log.lines(), "archived", "job"), (of_receiver.lines(), "event recorded", "event")]
    {
        let lines: Vec<Value> = lines.into_iter().filter(|line| line["message"] == message).collect();
        assert!(!lines.is_empty(), "{message}");
        for line in lines {
            assert_eq!(line["trace.id"], receive.trace.as_str(), "{line}");
            let named = |span: &&Told| span.name == *span.name && line["span.id"] == span.id.as_str();
            let within = spans.iter().find(named).unwrap_or_else(|| panic!("no span of {line}"));
            assert_eq!(within.name, span, "{line}");
            for name in ["event.id", "job.id", "file.id", "recording.id", "zoom.account"] {
                if let Some(value) = within.attributes.get(name) {
                    assert_eq!(line[name], value.as_str(), "{name}: {line}");
                }
            }
        }
    }
    let job = jobs.iter().find(|job| job.attributes["job.kind"] == "transfer").unwrap();
    for name in ["job.id", "file.id", "recording.id", "zoom.account"] {
        assert!(job.attributes.contains_key(name), "{name}: {job:#?}");
    }
    assert!(rows.iter().any(|row| row.id.to_string() == job.attributes["file.id"]));
}

on_each_database! {
    one_trace_leads_from_the_webhook_to_the_object,
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_place_to_go_nothing_is_traced() {
    let collector = Collector::start().await;
    let disabled = |setup: Setup| traced(setup, &collector).env("OTEL_SDK_DISABLED", "true");
    for scene in [Scene::start().await, Scene::with(disabled).await] {
        let recording = FakeRecording::new(RecordingKind::VideoSdk, 1).with([FakeFile::generated(1, 1000)]);
        scene.announce(&recording, EventKind::Recording).await;
        scene.one_file_in(FileState::Archived).await;
        scene.settled().await;
        let log = scene.close().await;
        assert!(log.lines().iter().all(|line| line.get("trace.id").is_none()), "{}", log.text());
        // What a line is about stands in it all the same.
        let archived = log.lines().into_iter().find(|line| line["message"] == "archived").unwrap();
        assert!(archived["job.id"].is_string() && archived["file.id"].is_string(), "{archived}");
    }
    assert!(collector.spans().is_empty());
}

/// Archives a file under these variables, to the end of the service.
async fn archive_one(point: impl FnOnce(Setup) -> Setup) {
    let scene = Scene::with(point).await;
    let recording = FakeRecording::new(RecordingKind::VideoSdk, 1).with([FakeFile::generated(1, 1000)]);
    scene.announce(&recording, EventKind::Recording).await;
    scene.one_file_in(FileState::Archived).await;
    scene.settled().await;
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_usual_variables_say_how_much_is_taken() {
    for (sampler, share, is_taken) in [
        ("always_off", "", false),
        ("traceidratio", "0", false),
        ("parentbased_traceidratio", "0", false),
        ("traceidratio", "1", true),
    ] {
        let collector = Collector::start().await;
        archive_one(|setup| {
            traced(setup, &collector)
                .env("OTEL_TRACES_SAMPLER", sampler)
                .env("OTEL_TRACES_SAMPLER_ARG", share)
        })
        .await;
        assert_eq!(!collector.spans().is_empty(), is_taken, "{sampler} {share}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_for_traces_alone_is_enough_and_is_told_who_sends_with_the_headers_that_it_wants() {
    let collector = Collector::start().await;
    archive_one(|setup| {
        setup
            .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", format!("{}/v1/traces", collector.endpoint()))
            .env(
                "OTEL_EXPORTER_OTLP_HEADERS",
                "authorization=Bearer%20the-collectors-secret,x-tenant=archive",
            )
            .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=rehearsal,service.namespace=media")
    })
    .await;
    let spans = collector.spans();
    assert!(spans.iter().any(|span| span.name == "complete" || span.name == "settle"), "{spans:#?}");
    for span in spans {
        assert_eq!(span.headers["authorization"], "Bearer the-collectors-secret");
        assert_eq!(span.headers["x-tenant"], "archive");
        assert_eq!(span.service, "zoom-archiver");
        assert_eq!(span.resource["deployment.environment.name"], "rehearsal");
        assert_eq!(span.resource["service.namespace"], "media");
        assert!(span.resource.contains_key("service.version"), "{:?}", span.resource);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_does_not_answer_is_given_up_in_the_time_that_its_variable_says() {
    // Half of what it is without the variable.
    const SOON: Duration = Duration::from_secs(5);
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let scene = Scene::with(|setup| {
        setup
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
            .env("OTEL_EXPORTER_OTLP_TIMEOUT", "200")
            .env("OTEL_BSP_SCHEDULE_DELAY", "50")
    })
    .await;
    let recording = FakeRecording::new(RecordingKind::VideoSdk, 1).with([FakeFile::generated(1, 1000)]);
    scene.announce(&recording, EventKind::Recording).await;
    let announced = tokio::time::Instant::now();
    scene.service.log.wait_for(says_that_traces_are_not_delivered).await;
    // The promise is about time, so time is what is looked at.
    assert!(announced.elapsed() < SOON, "{:?}", announced.elapsed());
    scene.settled().await;
    scene.close().await;
}

#[tokio::test]
async fn a_place_that_makes_no_sense_is_refused_by_the_name_of_its_variable_and_not_repeated() {
    for variable in ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] {
        let data = tempfile::tempdir().unwrap();
        let setup = Setup::new(data.path()).env(variable, "http://somebody:hush-hush-hush@no place");
        let (code, log) = setup.spawn().ended().await;
        assert_eq!(code, Some(1), "{}", log.text());
        assert!(log.text().contains(variable), "{}", log.text());
        log.assert_free_of(["hush"]);
    }
}

fn says_that_traces_are_not_delivered(line: &Value) -> bool {
    line["message"].as_str().is_some_and(|message| message.starts_with("traces are not delivered"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_holds_up_nothing_and_is_told_of_once() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let scene = Scene::with(|setup| {
        setup
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{nobody}/secret-path"))
            .env("OTEL_BSP_SCHEDULE_DELAY", "50")
    })
    .await;
    for seed in 1..4 {
        let recording =
            FakeRecording::new(RecordingKind::VideoSdk, seed).with([FakeFile::generated(seed, 1000)]);
        scene.announce(&recording, EventKind::Recording).await;
    }
    scene.settled().await;
    scene.service.log.wait_for(says_that_traces_are_not_delivered).await;
    assert!(scene.files().await.iter().all(|file| file.state == FileState::Archived));
    let log = scene.close().await;
    assert_eq!(log.lines().iter().filter(|line| says_that_traces_are_not_delivered(line)).count(), 1);
    log.assert_free_of(["secret-path"]);
}
