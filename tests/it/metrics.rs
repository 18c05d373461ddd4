//! What is watched: every metric that a dashboard, an alarm or a document names is there, and every alarm says what to
//! do.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::Executor;
use url::Url;
use zoom_archiver::config::store::StoreConfig;
use zoom_archiver::domain::event::Event;
use zoom_archiver::domain::job::{JobState, Settlement};
use zoom_archiver::domain::recording::RecordingKind;
use zoom_archiver::simulator::events::{EventKind, Quirks};
use zoom_archiver::simulator::{FakeFile, FakeRecording, FakeZoom, Fault as ZoomFault, Options, When};
use zoom_archiver::store::{self, Backlog, SharedStore};

use crate::support::announce::{session, session_of};
use crate::support::database::{Database, config, on_each_database};
use crate::support::delivery::status_of;
use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::postgres::PostgresDatabase;
use crate::support::program::fake_zoom;
use crate::support::receiver::{Receiver, settings, target};
use crate::support::scene::{sender_to, with_api};
use crate::support::service::{Service, Setup, eventually};

const PREFIX: &str = "zoom_archiver_";
/// What only PostgreSQL tells.
const OF_POSTGRES: [&str; 2] =
    ["zoom_archiver_database_oldest_transaction_seconds", "zoom_archiver_table_rows"];

/// The names of all series, and of the histograms that they belong to.
fn names(text: &str) -> BTreeSet<&str> {
    let series = text.lines().filter(|line| line.starts_with(PREFIX));
    let names = series.filter_map(|line| line.split(['{', ' ']).next());
    names.flat_map(|name| [Some(name), name.strip_suffix("_bucket")]).flatten().collect()
}

/// The names in what stands between the braces of a series or a selector: `a="x",b=~"y|z"`.
fn names_of_labels(inside: &str) -> impl Iterator<Item = &str> {
    let outside_of_values = inside.split('"').step_by(2);
    outside_of_values.map(|text| text.trim_matches([' ', ',', '=', '!', '~'])).filter(|name| !name.is_empty())
}

/// The names of the labels of all series, by the names of those.
fn labels(text: &str) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut all = BTreeMap::<_, BTreeSet<_>>::new();
    for line in text.lines().filter(|line| line.starts_with(PREFIX)) {
        let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap());
        let inside = rest.strip_prefix('{').and_then(|rest| rest.rsplit_once('}')).map(|(inside, _)| inside);
        all.entry(name).or_default().extend(inside.into_iter().flat_map(names_of_labels));
    }
    all
}

/// What Prometheus itself gives every series.
const OF_PROMETHEUS: [&str; 2] = ["instance", "job"];

/// What the text of a question, or of its legend, says of labels that none of its series has; `shown` as by [`labels`].
fn labels_of_nobody<'a>(
    expression: &'a str,
    legend: &'a str,
    shown: &BTreeMap<&str, BTreeSet<&str>>,
) -> Vec<&'a str> {
    let of = |name: &str| shown.get(name).cloned().unwrap_or_default();
    let selectors = expression.match_indices(PREFIX).map(|(at, _)| {
        let rest = &expression[at..];
        let (name, rest) = rest.split_at(rest.find(|c: char| !is_of_a_name(c)).unwrap_or(rest.len()));
        (name, rest.strip_prefix('{').and_then(|rest| rest.split_once('}')).map_or("", |(inside, _)| inside))
    });
    let mut nobodys = Vec::new();
    let mut of_all = BTreeSet::from(OF_PROMETHEUS);
    for (name, inside) in selectors {
        nobodys.extend(names_of_labels(inside).filter(|label| !of(name).contains(label)));
        of_all.extend(of(name));
    }
    let between = |text: &'a str, open: &'static str, close: char| {
        text.split(open).skip(1).filter_map(move |rest| Some(rest.split_once(close)?.0))
    };
    let grouped = ["by (", "without (", "on ("].into_iter().flat_map(|open| between(expression, open, ')'));
    let grouped: Vec<&str> = grouped.flat_map(|labels| labels.split(',').map(str::trim)).collect();
    nobodys.extend(grouped.iter().filter(|label| !of_all.contains(*label)));
    // What is not grouped by is gone by the time that the legend is written.
    nobodys.extend(between(legend, "{{", '}').map(str::trim).filter(|label| !grouped.contains(label)));
    nobodys
}

/// Every question of the dashboard and of the alarms, with its legend.
fn questions() -> Vec<(String, String)> {
    let dashboard: serde_json::Value =
        serde_json::from_str(include_str!("../../deploy/grafana/zoom-archiver.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    let of_panels = targets.map(|target| (text(&target["expr"]), text(&target["legendFormat"])));
    let alarms = include_str!("../../deploy/prometheus/alerts.yaml").split("- alert: ").skip(1);
    let of_alarms = alarms.map(|alarm| {
        let (_, rest) = alarm.split_once("expr:").unwrap();
        let end = ["\n        for:", "\n        labels:"].iter().filter_map(|key| rest.find(key)).min();
        (rest[..end.unwrap()].to_owned(), String::new())
    });
    of_panels.chain(of_alarms).collect()
}

fn is_of_a_name(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'
}

/// Every name of a metric in a text.
fn named(text: &str) -> BTreeSet<&str> {
    let starts = text.match_indices(PREFIX).map(|(at, _)| &text[at..]);
    starts.filter_map(|rest| rest.split(|c: char| !is_of_a_name(c)).next()).collect()
}

/// The dashboard, the alarms, what is expected of them, and the documents.
fn documents() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["deploy/grafana", "deploy/prometheus", "docs"].map(|folder| root.join(folder));
    let files = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap());
    let read = |path: &Path| (path.display().to_string(), std::fs::read_to_string(path).unwrap());
    files.map(|entry| read(&entry.unwrap().path())).collect()
}

/// A service that has taken, archived and given up files, and has asked Zoom; and what it needs.
struct Busy {
    service: Service,
    _zoom: FakeZoom,
    _receiver: Receiver,
    _data: tempfile::TempDir,
}

impl Busy {
    async fn start(database: Option<&PostgresDatabase>) -> Self {
        let data = tempfile::tempdir().unwrap();
        let zoom = fake_zoom(Options::default()).await;
        let receiver = Receiver::start().await;
        let targets = settings(data.path(), &[target("ops", &receiver, "")]);
        let mut setup = with_api(Setup::new(data.path()), &zoom)
            .env("ZOOM_ARCHIVER_CONFIG", targets.display().to_string())
            .env("ZOOM_ARCHIVER_WORKER__MAX_ATTEMPTS", "2")
            .env("ZOOM_ARCHIVER_RECONCILE__INTERVAL_SECS", "60");
        if let Some(database) = database {
            setup = setup.env("DATABASE_URL", database.url().expose_secret());
        }
        let service = setup.start().await;
        let files = [FakeFile::generated(1, 20_000_000), FakeFile::generated(2, 1000)];
        let recording = FakeRecording::new(RecordingKind::VideoSdk, 3).with(files);
        zoom.library().add(&recording);
        let error = ZoomFault::Status { code: http::StatusCode::INTERNAL_SERVER_ERROR, retry_after: None };
        zoom.library().inject(&recording.files[1].key, error, When::Always);
        let body = zoom.announce(&recording, EventKind::Recording, Quirks::default());
        assert!(sender_to(&service).deliver(&body).await.answer.is_accepted());
        for (what, metric) in [
            ("archived", "zoom_archiver_archived_bytes_total"),
            ("told of", "zoom_archiver_notifications_total"),
            ("dead", "zoom_archiver_oldest_stopped_seconds"),
        ] {
            eventually(&format!("a file is {what}"), || async {
                (service.metric(metric, "").await > 0.0).then_some(())
            })
            .await;
        }
        eventually("Zoom has been asked", || async {
            names(&service.metrics().await).contains("zoom_archiver_failed_deliveries").then_some(())
        })
        .await;
        Self { service, _zoom: zoom, _receiver: receiver, _data: data }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_that_is_named_is_shown_by_a_running_service() {
    let database = PostgresDatabase::create_if_named().await;
    let busy = Busy::start(database.as_ref()).await;
    let shown = busy.service.metrics().await;
    let shown = names(&shown);
    for (document, text) in documents() {
        for name in named(&text) {
            let is_elsewhere = database.is_none() && OF_POSTGRES.contains(&name);
            assert!(
                shown.contains(name) || is_elsewhere,
                "{document} names {name}, which no service shows: {shown:?}"
            );
        }
    }
    let (code, _) = busy.service.stop().await;
    assert_eq!(code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_label_that_a_panel_or_an_alarm_asks_for_is_one_that_its_series_have() {
    let database = PostgresDatabase::create_if_named().await;
    let busy = Busy::start(database.as_ref()).await;
    let shown = busy.service.metrics().await;
    let shown = labels(&shown);
    let questions = questions();
    assert!(questions.len() > 60, "{}", questions.len());
    for (expression, legend) in &questions {
        if database.is_none() && OF_POSTGRES.iter().any(|name| expression.contains(name)) {
            continue;
        }
        let nobodys = labels_of_nobody(expression, legend, &shown);
        assert!(nobodys.is_empty(), "no series has {nobodys:?}: {expression} {legend}");
    }
    let (code, _) = busy.service.stop().await;
    assert_eq!(code, Some(0));
}

#[test]
fn a_label_that_no_series_has_is_found_wherever_it_is_asked_for() {
    let shown = "zoom_archiver_jobs{kind=\"a,b\",state=\"c\"} 1\nzoom_archiver_up 1\n";
    let nobodys = |expression, legend| labels_of_nobody(expression, legend, &labels(shown)).join(" ");
    assert_eq!(nobodys("sum by (kind) (zoom_archiver_jobs{state=~\"x|y\"}[5m])", "{{kind}} now"), "");
    assert_eq!(nobodys("max by (instance) (zoom_archiver_up) > 1", "{{instance}}"), "");
    assert_eq!(nobodys("zoom_archiver_jobs{sort=\"a\"}", ""), "sort");
    assert_eq!(nobodys("zoom_archiver_up{kind=\"a\"} + zoom_archiver_jobs", ""), "kind");
    assert_eq!(nobodys("sum by (kind, sort) (zoom_archiver_jobs)", ""), "sort");
    assert_eq!(nobodys("sum by (kind) (zoom_archiver_jobs)", "{{state}}"), "state");
    assert_eq!(nobodys("sum(zoom_archiver_jobs) unless on (where) zoom_archiver_up", ""), "where");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_that_is_shown_says_what_it_is() {
    let busy = Busy::start(None).await;
    let shown = busy.service.metrics().await;
    let described: BTreeSet<&str> =
        shown.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next()).collect();
    for name in names(&shown) {
        let base = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let is_described = described.contains(name) || base.is_some_and(|base| described.contains(base));
        assert!(is_described, "nothing is said of {name}");
    }
    let (code, _) = busy.service.stop().await;
    assert_eq!(code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn how_long_everything_takes_is_measured_where_it_happens() {
    let busy = Busy::start(None).await;
    let service = &busy.service;
    // One event; of its two files one is archived, and one is dead after two attempts.
    eventually("every run is measured", || async {
        let runs = |outcome| format!("kind=\"transfer\",outcome=\"{outcome}\"");
        let done = service.metric("zoom_archiver_run_seconds_count", &runs("done")).await;
        let tried = service.metric("zoom_archiver_run_seconds_count", &runs("retry")).await;
        ((done, tried) == (1.0, 2.0)).then_some(())
    })
    .await;
    assert_eq!(service.metric("zoom_archiver_job_wait_seconds_count", "kind=\"transfer\"").await, 3.0);
    assert_eq!(service.metric("zoom_archiver_webhook_answer_seconds_count", "status=\"200\"").await, 1.0);
    assert!(service.metric("zoom_archiver_claim_seconds_count", "").await >= 2.0);
    for name in ["run", "job_wait", "webhook_answer", "claim"] {
        let taken = service.metric(&format!("zoom_archiver_{name}_seconds_sum"), "").await;
        assert!(taken > 0.0, "{name}");
    }
    let (code, _) = busy.service.stop().await;
    assert_eq!(code, Some(0));
}

#[test]
fn every_alarm_says_how_urgent_it_is_and_where_it_is_written_what_to_do() {
    let alarms = include_str!("../../deploy/prometheus/alerts.yaml");
    let handbook = include_str!("../../docs/operating.md");
    let headings: BTreeSet<String> = handbook
        .lines()
        .filter_map(|line| line.strip_prefix("### "))
        .map(|heading| heading.to_lowercase().replace(' ', "-"))
        .collect();
    let mut paragraphs = 0;
    for alarm in alarms.split("- alert: ").skip(1) {
        let name = alarm.lines().next().unwrap().trim();
        let field = |key: &str| {
            let found = alarm.lines().find_map(|line| line.trim().strip_prefix(key));
            found.unwrap_or_else(|| panic!("{name} has no {key}")).trim()
        };
        assert!(["page", "ticket"].contains(&field("severity:")), "{name}");
        assert!(!field("summary:").is_empty(), "{name}");
        let runbook = field("runbook:").strip_prefix("docs/operating.md#").expect(name);
        assert!(headings.contains(runbook), "{name}: docs/operating.md has no heading {runbook}");
        paragraphs += 1;
    }
    let written = headings.iter().filter(|heading| heading.starts_with("zoomarchiver")).count();
    assert_eq!(written, paragraphs, "docs/operating.md tells of an alarm that is not there");
}

#[test]
fn the_dashboard_can_be_read_and_no_panel_asks_nothing() {
    let dashboard: serde_json::Value =
        serde_json::from_str(include_str!("../../deploy/grafana/zoom-archiver.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{panel}");
        if panel["type"] == "row" {
            continue;
        }
        let targets = panel["targets"].as_array().unwrap();
        assert!(!targets.is_empty(), "{panel}");
        for target in targets {
            assert!(target["expr"].as_str().unwrap().contains(PREFIX), "{target}");
        }
    }
    assert!(ids.len() > 20);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/test"]
async fn what_the_database_would_say_is_not_a_number_while_it_is_away() {
    let database = PostgresDatabase::create().await;
    let mut url = Url::parse(database.url().expose_secret()).unwrap();
    let upstream = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432));
    let proxy = FaultProxy::start(upstream).await.unwrap();
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(proxy.addr().port())).unwrap();
    let data = tempfile::tempdir().unwrap();
    let setup = Setup::new(data.path()).env("DATABASE_URL", url.as_str()).roles("receiver");
    let service = setup.start().await;
    let up = || service.metric("zoom_archiver_database_up", "");
    let files = || service.metric("zoom_archiver_overdue_files", "");
    assert_eq!((up().await, files().await), (1.0, 0.0));
    for fault in [Fault::Refuse, Fault::BlackHole] {
        proxy.set(fault).await;
        proxy.drop_all();
        let shown = tokio::time::timeout(Duration::from_secs(9), up()).await;
        assert_eq!(shown.expect("Prometheus waits ten seconds"), 0.0);
        assert!(files().await.is_nan());
    }
    proxy.set(Fault::Pass).await;
    eventually("it is back", || async { (up().await > 0.5).then_some(()) }).await;
    assert_eq!(files().await, 0.0);
    let (code, _) = service.stop().await;
    assert_eq!(code, Some(0));
}

#[tokio::test]
async fn however_many_ask_the_database_is_asked_no_more_often_than_allowed() {
    let data = tempfile::tempdir().unwrap();
    let setup =
        Setup::new(data.path()).roles("receiver").env("ZOOM_ARCHIVER_HTTP__METRICS_MAX_AGE_MS", "600000");
    let service = setup.start().await;
    let jobs = || service.metric("zoom_archiver_jobs{", "waiting");
    assert_eq!(jobs().await, 0.0);
    let event = r#"{"event":"session.recording_completed","download_token":"t","payload":{"account_id":"a","object":{
        "session_id":"s","recording_files":[{"id":"f","file_type":"MP4","download_url":"https://zoom.us/rec/x"}]}}}"#;
    assert_eq!(status_of(&service.webhook(), event).await, 200);
    assert_eq!(jobs().await, 0.0, "it was asked again");
    service.stop().await;
}

// ---------------------------------------------------------------------------------------------------------
// What is read of the database

async fn backlog(store: &SharedStore, state: JobState) -> Option<Backlog> {
    let backlog = store.backlog().await.expect("the backlog is read");
    backlog.into_iter().find(|backlog| backlog.state == state && backlog.kind == "transfer")
}

async fn record(store: &SharedStore, event: &Event) {
    store.record(event).await.expect("the event is recorded");
}

async fn the_backlog_says_what_waits_runs_or_stands_still_and_for_how_long(database: Database) {
    let store = database.store().await;
    assert_eq!(store.backlog().await.unwrap(), []);
    record(&store, &session("s", 4)).await;
    let jobs = store.claim("worker", 3, Duration::from_secs(600), &[]).await.unwrap();
    let reason = || "why".to_owned();
    store.settle(&jobs[0].lease, Settlement::Dead { reason: reason() }).await.unwrap();
    let done = Settlement::Gone { reason: reason(), next: Vec::new() };
    store.settle(&jobs[1].lease, done).await.unwrap();

    for state in [JobState::Waiting, JobState::Running, JobState::Dead] {
        assert_eq!(backlog(&store, state).await.unwrap().jobs, 1, "{state}");
    }
    assert_eq!(backlog(&store, JobState::Done).await, None, "what is finished is not looked at");
    assert!(backlog(&store, JobState::Waiting).await.unwrap().oldest.is_some());
    assert!(backlog(&store, JobState::Dead).await.unwrap().oldest.is_some());
    assert_eq!(backlog(&store, JobState::Running).await.unwrap().oldest, None);
    assert!(jobs.iter().all(|job| job.waited < Duration::from_secs(600)), "{jobs:?}");
}

async fn a_job_knows_how_long_it_had_been_due(database: Database) {
    let store = database.store().await;
    record(&store, &session("s", 1)).await;
    let earlier = match database.kind() {
        "postgres" => "UPDATE jobs SET run_at = run_at - interval '1 hour'",
        _ => "UPDATE jobs SET run_at = run_at - 3600000",
    };
    database.execute(earlier).await.unwrap();
    let job = store.claim("worker", 1, Duration::from_secs(600), &[]).await.unwrap().remove(0);
    assert!((3600..3660).contains(&job.waited.as_secs()), "{:?}", job.waited);
}

async fn a_store_tells_of_all_connections_that_it_may_have(database: Database) {
    database.migrate().await.unwrap();
    for max_connections in [3, 8, 16] {
        let config = StoreConfig { max_connections, ..config() };
        let store = store::open(database.url(), &config).await.unwrap();
        let told = store.connections();
        assert_eq!(told.iter().map(|pool| pool.most).sum::<u32>(), max_connections, "{told:?}");
        store.close().await;
    }
}

async fn whoever_waits_for_the_database_is_a_busy_connection_of_its_purpose(database: Database) {
    let store = database.store().await;
    let busy = async |purpose: &str, most: u32| {
        eventually(&format!("{most} of {purpose} are busy"), || async {
            let told = store.connections().into_iter().find(|pool| pool.purpose == purpose).unwrap();
            (told.open - told.idle == most).then_some(())
        })
        .await;
    };
    let recorded = |store: SharedStore| async move { record(&store, &session("s", 1)).await };
    if database.kind() == "postgres" {
        let mut lock = database.postgres_pool().begin().await.unwrap();
        lock.execute("LOCK TABLE files IN ACCESS EXCLUSIVE MODE").await.unwrap();
        let asks = |store: SharedStore| async move { store.twins().await.unwrap() };
        let looks = |store: SharedStore| async move { store.losses().await.unwrap() };
        let waiting = (
            tokio::spawn(asks(Arc::clone(&store))),
            tokio::spawn(looks(Arc::clone(&store))),
            tokio::spawn(recorded(Arc::clone(&store))),
        );
        for purpose in ["any", "read", "record"] {
            busy(purpose, 1).await;
        }
        lock.rollback().await.unwrap();
        let (asked, looked, recorded) = tokio::join!(waiting.0, waiting.1, waiting.2);
        assert!(asked.is_ok() && looked.is_ok() && recorded.is_ok());
        for purpose in ["any", "read", "record"] {
            busy(purpose, 0).await;
        }
        return;
    }
    let mut elsewhere = database.lock_sqlite().await;
    let waiting = tokio::spawn(recorded(Arc::clone(&store)));
    busy("write", 1).await;
    elsewhere.execute("ROLLBACK").await.unwrap();
    waiting.await.unwrap();
    busy("write", 0).await;
}

/// What stands between two headings of the handbook.
fn paragraph(heading: &str) -> &'static str {
    let handbook = include_str!("../../docs/operating.md");
    let (_, rest) = handbook.split_once(&format!("### {heading}\n")).expect("it has such a heading");
    rest.split("\n### ").next().unwrap_or(rest)
}

async fn a_process_shows_its_connections_by_purposes_that_the_handbook_explains(database: Database) {
    let data = tempfile::tempdir().unwrap();
    let setup = Setup::new(data.path()).env("DATABASE_URL", database.url().expose_secret());
    let service = setup.roles("receiver").start().await;
    let shown = service.metrics().await;
    let limits: Vec<_> =
        shown.lines().filter(|line| line.starts_with("zoom_archiver_database_connections_limit{")).collect();
    let explained = paragraph("ZoomArchiverConnectionsShort");
    for limit in &limits {
        let purpose = limit.split('"').nth(1).expect("a purpose");
        assert!(explained.contains(&format!("| `{purpose}`")), "{purpose}");
        let idle = format!("purpose=\"{purpose}\",state=\"idle\"");
        assert!(shown.contains(&format!("zoom_archiver_database_connections{{{idle}}}")), "{idle}: {shown}");
    }
    let most = service.metric("zoom_archiver_database_connections_limit", "").await;
    assert_eq!(most, 16.0, "store.max_connections: {limits:?}");
    assert!(service.metric("zoom_archiver_database_connections{", "").await >= 1.0, "{shown}");
    let (code, _) = service.stop().await;
    assert_eq!(code, Some(0));
}

async fn a_store_tells_of_its_connections_and_its_room(database: Database) {
    let store = database.store().await;
    record(&store, &session_of("a", "s", 2)).await;
    let connections = store.connections();
    assert!(connections.iter().all(|pool| pool.idle <= pool.open && pool.open <= pool.most));
    assert!(connections.iter().any(|pool| pool.open > 0), "{connections:?}");
    let health = store.health().await.unwrap();
    assert!(health.bytes > 10_000, "{health:?}");
    if database.kind() == "postgres" {
        let names: Vec<_> = health.tables.iter().map(|table| table.table.as_str()).collect();
        assert!(
            ["events", "files", "jobs", "recordings"].iter().all(|name| names.contains(name)),
            "{names:?}"
        );
        let pool = database.postgres_pool();
        let _open = pool.begin().await.unwrap();
        eventually("a transaction grows old", || async {
            let oldest = store.health().await.unwrap().oldest_transaction.expect("PostgreSQL says it");
            (oldest >= Duration::from_millis(50)).then_some(())
        })
        .await;
    }
}

on_each_database! {
    the_backlog_says_what_waits_runs_or_stands_still_and_for_how_long,
    a_job_knows_how_long_it_had_been_due,
    a_store_tells_of_its_connections_and_its_room,
    a_store_tells_of_all_connections_that_it_may_have,
    whoever_waits_for_the_database_is_a_busy_connection_of_its_purpose,
    a_process_shows_its_connections_by_purposes_that_the_handbook_explains,
}

/// Reads whole tables of `jobs` that the server has counted.
async fn walks(database: &Database) -> i64 {
    database.number("SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'jobs'").await
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/test"]
async fn what_is_finished_is_counted_without_reading_it() {
    let database = Database::postgres().await;
    // As one sets it for a disk without heads.
    let name = Url::parse(database.url().expose_secret()).unwrap().path().trim_start_matches('/').to_owned();
    database.execute(&format!("ALTER DATABASE \"{name}\" SET random_page_cost = 1.1")).await.unwrap();
    let store = database.store().await;
    record(&store, &session("s", 4)).await;
    finish_many(&database).await;
    database.execute("VACUUM (ANALYZE) jobs").await.unwrap();
    store.close().await;
    let before = walks(&database).await;
    let store = database.open().await;
    let depths = store.depth().await.unwrap();
    store.close().await;
    let count = |state| depths.iter().find(|depth| depth.state == state).map(|depth| depth.jobs);
    assert_eq!((count(JobState::Waiting), count(JobState::Done)), (Some(4), Some(100_000)), "{depths:?}");
    assert_eq!(walks(&database).await, before);
}

async fn finish_many(database: &Database) {
    database
        .execute(
            "INSERT INTO jobs (id, kind, subject, state, run_at, finished_at)
             SELECT gen_random_uuid(), 'transfer', gen_random_uuid(), 'done', now(), now()
             FROM generate_series(1, 100000)",
        )
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/test"]
async fn what_is_finished_is_not_walked_through_to_see_what_is_not() {
    let database = Database::postgres().await;
    let store = database.store().await;
    record(&store, &session("s", 4)).await;
    finish_many(&database).await;
    database.execute("ANALYZE jobs").await.unwrap();
    store.close().await;
    let before = walks(&database).await;
    let store = database.open().await;
    for _ in 0..3 {
        assert_eq!(backlog(&store, JobState::Waiting).await.unwrap().jobs, 4);
        store.losses().await.unwrap();
        store.health().await.unwrap();
    }
    // A connection tells what it has read when it ends, at the latest.
    store.close().await;
    assert_eq!(walks(&database).await, before);
}
