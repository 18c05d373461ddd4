//! `status`, and what it names: what is stuck, why, how long until it is lost, and which command goes on from there.

use std::process::Output;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, SqlitePool};
use uuid::Uuid;

use crate::support::private::PrivatePostgres;
use crate::support::scene::Scene;
use crate::support::service::{Setup, program};

const TOKEN: &str = "adm1n-token-of-status";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A session of so many files that nobody fetches, and its database.
async fn unfetched(files: usize) -> (Scene, SqlitePool) {
    let scene = Scene::with(|setup| setup.env("ADMIN_TOKEN", TOKEN).roles("receiver")).await;
    let entry = |id: usize| json!({ "id": id.to_string(), "file_type": "MP4", "download_url": "https://zoom.us/rec/a" });
    let body = json!({ "event": "session.recording_completed", "download_token": "of all", "payload": {
        "account_id": "a", "object": { "session_id": "s", "recording_files": (0..files).map(entry).collect::<Vec<_>>() }
    } });
    assert!(scene.sender.deliver(body.to_string().as_bytes()).await.answer.is_accepted());
    let path = scene.data.path().join("zoom-archiver.db");
    let sql = SqlitePool::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    (scene, sql)
}

/// Changes so many rows at least.
async fn change(sql: &SqlitePool, statement: String) {
    let changed = sqlx::query(AssertSqlSafe(statement.clone())).execute(sql).await.unwrap();
    assert!(changed.rows_affected() > 0, "{statement}");
}

/// A file's id as SQLite writes it.
fn blob(id: &str) -> String {
    format!("x'{}'", id.parse::<Uuid>().unwrap().simple())
}

/// The status, in words and as JSON; the command must end well.
async fn status(scene: &Scene) -> (String, Value) {
    let words = scene.setup.run(&["status"]).await;
    let output = scene.setup.run(&["status", "--json"]).await;
    assert!(words.status.success() && output.status.success(), "{}", text(&output.stderr));
    (text(&words.stdout), serde_json::from_slice(&output.stdout).unwrap())
}

/// Ids that a list gives, in its order.
async fn ids(scene: &Scene, arguments: &[&str]) -> Vec<String> {
    let output = scene.setup.run(&[arguments, &["--json"]].concat()).await;
    assert!(output.status.success(), "{}", text(&output.stderr));
    let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned();
    text(&output.stdout).lines().map(id).collect()
}

async fn asked(scene: &Scene, path: &str) -> Value {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/api/v1{path}", scene.service.admin_addr());
    let answer = client.get(url).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{path}");
    answer.json().await.unwrap()
}

#[tokio::test]
async fn one_near_file_among_a_thousand_is_named_with_what_to_type_about_it() {
    let (scene, sql) = unfetched(1001).await;
    let near = ids(&scene, &["files", "list", "--limit", "500"]).await.pop().unwrap();
    let lost = async |hours: i64, which: &str| {
        change(
            &sql,
            format!("UPDATE files SET loses_at = (unixepoch() + {hours} * 3600) * 1000 WHERE {which}"),
        )
        .await;
    };
    let is_near = format!("id = {}", blob(&near));
    lost(20, "true").await;
    lost(3, &is_near).await;

    let (words, told) = status(&scene).await;
    let secs = told["nearest_loss_secs"].as_u64().unwrap();
    assert!(secs > 10_000 && secs <= 10_800, "{secs}");
    let file = &told["nearest_loss"];
    assert_eq!((&file["id"], &file["state"]), (&near.as_str().into(), &"pending".into()), "{told}");
    assert_eq!(file["command"], format!("files show {near}"), "it is due: nothing is to be done");
    let recording = file["recording_id"].as_str().unwrap().to_owned();
    for line in
        [format!("file {near} (MP4) of recording {recording}"), format!("→ zoom-archiver files show {near}")]
    {
        assert!(words.contains(&line), "{words}");
    }
    assert_eq!(ids(&scene, &["files", "list", "--lost-within", "6h"]).await, [near.as_str()]);
    assert_eq!(ids(&scene, &["files", "list", "--lost-within", "6h", "--state", "dead"]).await, [""; 0]);
    let url = format!("http://{}", scene.service.admin_addr());
    let there = program()
        .args(["files", "list", "--lost-within", "180m", "--json", "--url", &url])
        .env("ADMIN_TOKEN", TOKEN)
        .output()
        .await
        .unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&there.stdout).unwrap()["id"], near);

    // The same over the network, page by page: the nearest one first, and each once.
    let (mut seen, mut next) = (Vec::new(), String::new());
    loop {
        let page = asked(&scene, &format!("/files?lost_within=1d&limit=400{next}")).await;
        let items = page["items"].as_array().unwrap();
        seen.extend(items.iter().map(|file| file["id"].as_str().unwrap().to_owned()));
        let Some(after) = page["next"].as_str() else { break };
        next = format!("&after={after}");
    }
    assert_eq!(seen[0], near);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 1001);

    // It has failed, and rests for longer than there is time.
    let of_near = format!("kind = 'transfer' AND subject = {}", blob(&near));
    let later = "run_at = (unixepoch() + 14400) * 1000, attempts = 3, reason = 'Zoom answered 500'";
    change(&sql, format!("UPDATE jobs SET {later} WHERE {of_near}")).await;
    change(&sql, format!("UPDATE files SET reason = 'Zoom answered 500' WHERE {is_near}")).await;
    let (words, told) = status(&scene).await;
    assert_eq!(told["nearest_loss"]["command"], format!("files retry {near}"));
    assert!(words.contains("pending: Zoom answered 500"), "{words}");
    let retry = ["files", "retry", &near];
    let output = scene.setup.run(&retry).await;
    assert!(output.status.success(), "{}", text(&output.stdout));
    let (_, told) = status(&scene).await;
    assert_eq!(told["nearest_loss"]["command"], format!("files show {near}"), "it is due");
    let output = scene.setup.run(&retry).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("does not rest"), "{}", text(&output.stdout));

    // Past that moment, and in Zoom's trash.
    lost(-1, &is_near).await;
    let parked = "state = 'parked', reason = 'it lies in Zoom''s trash, and is lost'";
    change(&sql, format!("UPDATE jobs SET {parked}, waits_for = 'token' WHERE {of_near}")).await;
    change(&sql, format!("UPDATE files SET {parked} WHERE {is_near}")).await;
    let (words, told) = status(&scene).await;
    assert_eq!((&told["overdue"], &told["first_overdue"]["id"]), (&1.into(), &near.as_str().into()));
    assert_ne!(told["nearest_loss"]["id"], near);
    assert_eq!(told["first_overdue"]["command"], format!("files retry {near}"), "it is out of it by now");
    assert!(words.contains("files list --lost-within 0s"), "{words}");
    assert_eq!(ids(&scene, &["files", "list", "--lost-within", "0s"]).await, [near.as_str()]);
    change(&sql, "UPDATE recordings SET state = 'trashed', state_at = 0".to_owned()).await;
    let (words, told) = status(&scene).await;
    let command = format!("recordings recover {recording}");
    assert_eq!(told["first_overdue"]["command"], command);
    for line in [
        format!("→ zoom-archiver {command}"),
        "1: it lies in Zoom's trash".to_owned(),
        "→ zoom-archiver recordings list --state trashed".to_owned(),
        "→ zoom-archiver recordings recover RECORDING_ID".to_owned(),
    ] {
        assert!(words.contains(&line), "{line}: {words}");
    }
    assert!(!words.contains("files retry --state parked"), "it is in the trash: {words}");
    scene.close().await.assert_free_of([TOKEN]);
}

#[tokio::test]
async fn status_says_why_what_waits_is_parked_or_dead_does_not_move() {
    let (scene, sql) = unfetched(12).await;
    let (_, told) = status(&scene).await;
    assert_eq!((&told["holdups"], &told["resting"]["files"]), (&json!([]), &0.into()));
    let mut all = ids(&scene, &["jobs", "list"]).await;
    let mut put = async |jobs: usize, how: &str| {
        let some = all.drain(..jobs).map(|id| blob(&id)).collect::<Vec<_>>().join(", ");
        change(&sql, format!("UPDATE jobs SET {how} WHERE id IN ({some})")).await;
    };
    let rest = "run_at = (unixepoch() + 900) * 1000";
    put(4, &format!("{rest}, snoozes = 2, reason = 'archive is not available: refused'")).await;
    put(1, &format!("{rest}, attempts = 2, reason = 'Zoom answered 429'")).await;
    put(2, "state = 'parked', waits_for = 'person', reason = 'the host is not allowed'").await;
    put(3, "state = 'dead', finished_at = updated_at, reason = 'Zoom answered 500'").await;
    put(1, "state = 'dead', finished_at = updated_at, reason = 'it was cut'").await;

    let (words, told) = status(&scene).await;
    let holdup =
        |state: &str, reason: &str, files: u64| json!({ "state": state, "reason": reason, "files": files });
    assert_eq!(
        told["holdups"],
        json!([
            holdup("dead", "Zoom answered 500", 3),
            holdup("dead", "it was cut", 1),
            holdup("parked", "the host is not allowed", 2),
            holdup("waiting", "archive is not available: refused", 4),
            holdup("waiting", "Zoom answered 429", 1),
        ])
    );
    let resting = &told["resting"];
    assert_eq!((&resting["files"], &resting["put_back"]), (&5.into(), &4.into()));
    let secs = resting["next_secs"].as_u64().unwrap();
    assert!(secs > 600 && secs <= 900, "{secs}");
    // Each below the line that it explains.
    let mut lines = words.lines().map(str::trim);
    for line in [
        "waiting       6",
        "resting       5 of them, the first is due in 1",
        "4 were put back",
        "4: archive is not available: refused",
        "1: Zoom answered 429",
        "→ zoom-archiver files retry FILE_ID",
        "parked        2",
        "2: the host is not allowed",
        "dead          4",
        "3: Zoom answered 500",
        "1: it was cut",
    ] {
        assert!(lines.any(|told| told.starts_with(line)), "{line}: {words}");
    }
    scene.close().await;
}

#[tokio::test]
async fn an_event_that_could_not_be_read_is_told_by_status_and_by_the_metrics() {
    let scene = Scene::with(|setup| setup.roles("receiver")).await;
    let unreadable = async || {
        let (words, told) = status(&scene).await;
        let shown = scene.service.metric("zoom_archiver_unreadable_events", "").await;
        (words.contains("could not be read"), told["unreadable_events"].clone(), shown)
    };
    assert_eq!(unreadable().await, (false, 0.into(), 0.0));
    assert!(scene.sender.deliver(b"{\"event\":\"recording.completed\"}").await.answer.is_accepted());
    assert_eq!(unreadable().await, (true, 1.into(), 1.0));
    let (words, _) = status(&scene).await;
    for command in ["events list --unreadable", "events replay --unreadable"] {
        assert!(words.contains(&format!("→ zoom-archiver {command}")), "{words}");
    }
    assert_eq!(ids(&scene, &["events", "list", "--unreadable"]).await.len(), 1);
    scene.close().await;
}

/// What `status` says of a database that does not answer, in words and as JSON.
async fn away(run: impl AsyncFn(&[&str]) -> Output) -> (String, Value) {
    let (words, output) = (run(&["status"]).await, run(&["status", "--json"]).await);
    assert_eq!((words.status.code(), output.status.code()), (Some(1), Some(1)));
    let told = text(&words.stdout);
    assert!(told.starts_with("database ") && told.contains("→ zoom-archiver doctor"), "{told}");
    let json: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
    assert_eq!(json["command"], "doctor", "{json}");
    assert!(told.contains(json["database_trouble"].as_str().expect("it says why")), "{told}");
    (told, json)
}

#[tokio::test]
async fn a_file_that_is_no_database_is_told_with_its_name_and_the_command_that_looks_at_it() {
    let data = tempfile::tempdir().unwrap();
    let place = data.path().join("record.db");
    let setup = Setup::new(data.path()).env("DATABASE_URL", format!("sqlite:{}", place.display()));
    // Not there, not to be opened, not a database.
    let told = async |words: &str| {
        let (told, json) = away(async |arguments| setup.run(arguments).await).await;
        assert!(told.contains(words) && told.contains(place.to_str().unwrap()), "{told}");
        assert_eq!(json["database"], format!("sqlite:{}", place.display()));
    };
    told("migrate it").await;
    std::fs::create_dir(&place).unwrap();
    told("unable to open database file").await;
    std::fs::remove_dir(&place).unwrap();
    std::fs::write(&place, "a letter of many words, but no database".repeat(100)).unwrap();
    told("not a database").await;
    // A setting that makes no sense is no database that is away.
    let output = setup.env("DATABASE_URL", "mysql://h/d").run(&["status"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(output.stdout.is_empty() && text(&output.stderr).contains("DATABASE_URL"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/test"]
async fn a_server_that_is_stopped_is_told_with_its_address_and_the_command_that_looks_at_it() {
    let mut server = PrivatePostgres::start().await;
    let data = tempfile::tempdir().unwrap();
    let setup = Setup::new(data.path()).env("DATABASE_URL", server.url()).roles("receiver");
    let setup = setup.env("ZOOM_ARCHIVER_STORE__ACQUIRE_TIMEOUT_MS", "1500");
    let service = setup.start().await;
    let output = setup.run(&["status", "--json"]).await;
    let status: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success() && status["database_millis"].is_u64(), "{status}");
    assert!(status["archive_millis"].is_u64(), "{status}");
    let told = text(&setup.run(&["status"]).await.stdout);
    let is_told = |name: &str| {
        let line = told.lines().find(|line| line.starts_with(name)).expect("it is told");
        line.contains(", answers in ") && line.ends_with(" ms")
    };
    assert!(is_told("database ") && is_told("archive "), "{told}");

    server.stop(Signal::SIGINT).await;
    let (told, json) = away(async |arguments| setup.run(arguments).await).await;
    assert_eq!(json["database"], "postgres://127.0.0.1/postgres");
    assert!(told.contains("database is not available: ") && told.contains("refused"), "{told}");
    // The service answers, and says the same of it.
    let url = format!("http://{}", service.admin_addr());
    let (told, json) = away(async |arguments| setup.run(&[arguments, &["--url", &url]].concat()).await).await;
    assert!(json["database"].is_null() && told.contains("the database is not available"), "{told}");
    server.resume().await;
    let (code, _) = service.stop().await;
    assert_eq!(code, Some(0));
}
