//! `/api/v1`: what operators ask and do, over the network, and what is never told.

use bytes::Bytes;
use reqwest::header::HeaderValue;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use zoom_archiver::domain::file::{FileRow, FileState};
use zoom_archiver::domain::recording::RecordingKind;
use zoom_archiver::simulator::events::EventKind;
use zoom_archiver::simulator::{FakeFile, FakeRecording, Fault, When};

use crate::support::place::Bucket;
use crate::support::program::Secrets;
use crate::support::scene::Scene;

const TOKEN: &str = "adm1n-token-of-operators";

/// Who asks.
struct Operator {
    client: reqwest::Client,
    base: String,
    token: Option<&'static str>,
}

impl Operator {
    fn of(scene: &Scene) -> Self {
        Self {
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
            base: format!("http://{}/api/v1", scene.service.admin_addr()),
            token: Some(TOKEN),
        }
    }

    fn ask(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        match self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn get(&self, path: &str) -> Value {
        success(self.ask(Method::GET, path).send().await.unwrap()).await
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        success(self.ask(Method::POST, path).json(&body).send().await.unwrap()).await
    }

    /// Asks for what is refused; the problem's own status must be that of the answer.
    async fn refused(&self, method: Method, path: &str) -> (u16, String) {
        problem(self.ask(method, path).send().await.unwrap()).await
    }
}

/// What an answer says, which must be no secret.
async fn said(response: Response) -> String {
    let text = response.text().await.unwrap();
    Secrets::in_use().assert_none_in(&text);
    text
}

async fn success(response: Response) -> Value {
    let (status, text) = (response.status(), said(response).await);
    assert!(status.is_success(), "{status} {text}");
    serde_json::from_str(&text).unwrap()
}

async fn problem(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/problem+json");
    let problem: Value = serde_json::from_str(&said(response).await).unwrap();
    assert_eq!((&problem["status"], &problem["type"]), (&status.into(), &"about:blank".into()), "{problem}");
    (status, problem["detail"].as_str().unwrap().to_owned())
}

async fn scene() -> Scene {
    Scene::with(|setup| setup.env("ADMIN_TOKEN", TOKEN)).await
}

/// A session of one file, announced.
async fn announced(scene: &Scene, seed: u64, bytes: u64) -> FakeRecording {
    let recording =
        FakeRecording::new(RecordingKind::VideoSdk, seed).with([FakeFile::generated(seed, bytes)]);
    scene.announce(&recording, EventKind::Recording).await;
    recording
}

/// A session of one file that ends parked.
async fn parked(scene: &Scene, seed: u64) -> FakeRecording {
    let recording = FakeRecording::new(RecordingKind::VideoSdk, seed).with([FakeFile::generated(seed, 1000)]);
    scene.shelve(&recording);
    scene.zoom.library().inject(&recording.files[0].key, Fault::ExpiredToken, When::Always);
    scene.announce(&recording, EventKind::Recording).await;
    recording
}

#[tokio::test]
async fn operators_find_what_was_announced_from_recording_to_event() {
    let scene = scene().await;
    announced(&scene, 1, 1000).await;
    scene.one_file_in(FileState::Archived).await;
    let operator = Operator::of(&scene);
    let recordings = operator.get("/recordings?kind=video_sdk").await;
    let recording = &recordings["items"][0];
    assert_eq!((&recordings["next"], &recording["file_counts"]["archived"]), (&Value::Null, &1.into()));
    let id = recording["id"].as_str().unwrap();
    let shown = operator.get(&format!("/recordings/{id}")).await;
    assert_eq!(shown["id"], id);
    let file = &shown["files"][0];
    assert_eq!((&file["state"], &file["bytes"]), (&"archived".into(), &1000.into()));
    assert_eq!(
        operator.get(&format!("/files?recording_id={id}&state=archived,dead")).await["items"][0],
        *file
    );
    let shown = operator.get(&format!("/files/{}", file["id"].as_str().unwrap())).await;
    assert_eq!((&shown["sha256"], &shown["transfer"]["state"]), (&file["sha256"], &"done".into()));
    let job = operator.get(&format!("/jobs/{}", shown["transfer"]["id"].as_str().unwrap())).await;
    assert_eq!(job, shown["transfer"]);
    let events = operator.get(&format!("/events?recording_id={id}")).await;
    let event = operator.get(&format!("/events/{}", events["items"][0]["id"].as_str().unwrap())).await;
    assert_eq!(event["body"]["event"], "session.recording_completed");
    let accounts = operator.get("/accounts").await;
    assert_eq!(
        (&accounts["items"][0]["name"], &accounts["items"][0]["has_webhook_secret"]),
        (&"default".into(), &true.into())
    );
    let status = operator.get("/status").await;
    assert_eq!(
        (&status["transfers"]["done"], &status["rate"]["bytes"]),
        (&1.into(), &1000.into()),
        "{status}"
    );
    scene.settled().await;
    scene.close().await.assert_free_of([TOKEN]);
}

#[tokio::test]
async fn pages_are_turned_by_what_the_page_before_says() {
    let scene = scene().await;
    for seed in 0..5 {
        announced(&scene, 10 + seed, 100).await;
    }
    let operator = Operator::of(&scene);
    for order in ["newest", "oldest"] {
        let all = operator.get(&format!("/files?order={order}")).await["items"].clone();
        let (mut seen, mut next) = (Vec::new(), String::new());
        loop {
            let page = operator.get(&format!("/files?order={order}&limit=2{next}")).await;
            let items = page["items"].as_array().unwrap();
            seen.extend(items.iter().map(|file| file["id"].clone()));
            let Some(after) = page["next"].as_str() else { break };
            next = format!("&after={after}");
        }
        let all: Vec<_> = all.as_array().unwrap().iter().map(|file| file["id"].clone()).collect();
        assert!(all.len() == 5 && all == seen, "{order}: {all:?} {seen:?}");
    }
    scene.settled().await;
    scene.close().await;
}

#[tokio::test]
async fn whatever_is_refused_is_refused_in_words_of_one_shape() {
    let scene = scene().await;
    let mut operator = Operator::of(&scene);
    let nobody = uuid::Uuid::now_v7();
    for (method, path, status, words) in [
        (Method::GET, "/files?stat=dead".to_owned(), 400, "unknown field `stat`"),
        (Method::GET, "/files?state=lost".to_owned(), 400, "unknown file state `lost`"),
        (Method::GET, "/files?limit=501".to_owned(), 400, "1 to 500"),
        (Method::GET, "/files?after=xyz".to_owned(), 400, "`after`"),
        (Method::GET, "/recordings?from=yesterday".to_owned(), 400, "from"),
        (Method::GET, "/files/a-file".to_owned(), 400, "UUID"),
        (Method::GET, format!("/files/{nobody}"), 404, "no such file"),
        (Method::GET, format!("/files/{nobody}/content"), 404, "no such file"),
        (Method::GET, format!("/recordings/{nobody}"), 404, "no such recording"),
        (Method::POST, format!("/jobs/{nobody}/retry"), 404, "no such job"),
        (Method::POST, format!("/events/{nobody}/replay"), 404, "no such event"),
        (Method::GET, "/file".to_owned(), 404, "there is nothing at"),
        (Method::DELETE, "/files".to_owned(), 405, "Allow"),
    ] {
        let (told, detail) = operator.refused(method, &path).await;
        assert!(told == status && detail.contains(words), "{path}: {told} {detail}");
    }
    let retry = |body: &'static str| {
        operator.ask(Method::POST, "/files/retry").header("content-type", "application/json").body(body)
    };
    assert_eq!(problem(retry("{").send().await.unwrap()).await.0, 400);
    assert_eq!(problem(retry("{}").send().await.unwrap()).await.0, 400);
    assert_eq!(problem(retry("[[\"dead\"]]").send().await.unwrap()).await.0, 400);
    assert_eq!(problem(retry(r#"{"state":["archived"]}"#).send().await.unwrap()).await.0, 400);
    assert_eq!(problem(retry(r#"{"state":["dead"],"dryrun":true}"#).send().await.unwrap()).await.0, 400);
    let long = operator.ask(Method::POST, "/files/retry").json(&json!({ "account_id": "x".repeat(100_000) }));
    assert_eq!(problem(long.send().await.unwrap()).await.0, 413);
    let form = operator.ask(Method::POST, "/files/retry").body("state=dead");
    assert_eq!(problem(form.send().await.unwrap()).await.0, 415);
    operator.token = None;
    assert_eq!(operator.refused(Method::GET, "/files").await.0, 401);
    operator.token = Some("another");
    assert_eq!(operator.refused(Method::GET, "/nothing").await.0, 401);
    scene.close().await;
}

#[tokio::test]
async fn a_database_that_is_away_is_told_and_comes_back() {
    let scene = scene().await;
    let operator = Operator::of(&scene);
    let path = scene.data.path().join("zoom-archiver.db");
    let sql = sqlx::SqlitePool::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    sqlx::query("ALTER TABLE events RENAME TO elsewhere").execute(&sql).await.unwrap();
    let (status, detail) = operator.refused(Method::GET, "/events").await;
    assert_eq!((status, detail.contains("elsewhere")), (500, false), "{detail}");
    sqlx::query("ALTER TABLE elsewhere RENAME TO events").execute(&sql).await.unwrap();
    assert_eq!(operator.get("/events").await["items"], json!([]));
    scene.close().await;
}

#[tokio::test]
async fn a_file_is_tried_again_left_out_and_taken_after_all() {
    let scene = scene().await;
    let recording = parked(&scene, 20).await;
    let file = scene.one_file_in(FileState::Parked).await;
    let operator = Operator::of(&scene);
    let path = |deed: &str| format!("/files/{}/{deed}", file.id);
    let why = json!({ "reason": "nobody wants it" });
    let skipped = operator.post(&path("skip"), why).await;
    assert_eq!((&skipped["state"], &skipped["reason"]), (&"skipped".into(), &"nobody wants it".into()));
    for deed in ["retry", "skip"] {
        assert_eq!(operator.refused(Method::POST, &path(deed)).await.0, 409);
    }
    scene.zoom.library().clear_faults(&recording.files[0].key);
    assert_eq!(
        success(operator.ask(Method::POST, &path("unskip")).send().await.unwrap()).await["state"],
        "pending"
    );
    scene.one_file_in(FileState::Archived).await;
    assert_eq!(operator.refused(Method::POST, &path("unskip")).await.0, 409);
    let long = operator.ask(Method::POST, &path("skip")).json(&json!({ "reason": "x".repeat(501) }));
    assert_eq!(problem(long.send().await.unwrap()).await.0, 400);
    scene.settled().await;
    scene.close().await;
}

#[tokio::test]
async fn a_bulk_retry_counts_first_and_wakes_only_what_fits() {
    let scene = scene().await;
    let recordings = [parked(&scene, 30).await, parked(&scene, 31).await];
    scene.settled().await;
    assert!(scene.files().await.iter().all(|file| file.state == FileState::Parked));
    let operator = Operator::of(&scene);
    let counted =
        operator.post("/files/retry", json!({ "state": ["parked", "dead"], "dry_run": true })).await;
    assert_eq!(counted, json!({ "matched": 2, "retried": 0, "files": [] }));
    assert!(scene.files().await.iter().all(|file| file.state == FileState::Parked));
    for recording in &recordings {
        scene.zoom.library().clear_faults(&recording.files[0].key);
    }
    let first = scene.files().await.remove(0);
    let one = json!({ "state": ["parked"], "recording_id": first.recording_id });
    let retried = json!({ "matched": 1, "retried": 1, "files": [first.id] });
    assert_eq!(operator.post("/files/retry", one).await, retried);
    assert_eq!(scene.one_file_in(FileState::Archived).await.id, first.id);
    let second = scene.files().await.remove(1);
    assert_eq!(second.state, FileState::Parked);
    let rest = operator.post("/files/retry", json!({ "state": ["parked", "dead", "gone"] })).await;
    assert_eq!(rest, json!({ "matched": 1, "retried": 1, "files": [second.id] }));
    scene.settled().await;
    assert!(scene.files().await.iter().all(|file| file.state == FileState::Archived));
    scene.close().await;
}

#[tokio::test]
async fn a_bulk_retry_wakes_a_thousand_files_and_not_one_more() {
    let scene = Scene::with(|setup| setup.env("ADMIN_TOKEN", TOKEN).roles("receiver")).await;
    let entry = |id: u32| json!({ "id": id.to_string(), "file_type": "MP4", "download_url": "https://zoom.us/rec/a" });
    let body = json!({ "event": "session.recording_completed", "download_token": "of all", "payload": {
        "account_id": "a", "object": { "session_id": "s", "recording_files": (0..1100).map(entry).collect::<Vec<_>>() }
    } });
    assert!(scene.sender.deliver(body.to_string().as_bytes()).await.answer.is_accepted());
    let path = scene.data.path().join("zoom-archiver.db");
    let sql = sqlx::SqlitePool::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    for dead in [
        "UPDATE files SET state = 'dead', reason = 'a test'",
        "UPDATE jobs SET state = 'dead', reason = 'a test', finished_at = updated_at",
        // One of them has moved on between the look at it and the deed.
        "UPDATE jobs SET state = 'waiting', finished_at = NULL WHERE id = (SELECT min(id) FROM jobs)",
    ] {
        sqlx::query(dead).execute(&sql).await.unwrap();
    }
    let operator = Operator::of(&scene);
    let told = operator.post("/files/retry", json!({ "state": ["dead"] })).await;
    assert_eq!((&told["matched"], &told["retried"]), (&1100.into(), &1000.into()));
    assert_eq!(told["files"].as_array().unwrap().len(), 1000);
    let left = operator.post("/files/retry", json!({ "state": ["dead"], "dry_run": true })).await;
    assert_eq!(left["matched"], 100);
    scene.close().await;
}

#[tokio::test]
async fn a_transfer_that_is_withdrawn_skips_its_file_and_a_retry_of_it_is_one_of_the_file() {
    let scene = scene().await;
    parked(&scene, 40).await;
    let file = scene.one_file_in(FileState::Parked).await;
    let operator = Operator::of(&scene);
    let listed = operator.get(&format!("/jobs?state=parked&kind=transfer&subject={}", file.id)).await;
    let id = listed["items"][0]["id"].as_str().unwrap();
    assert_eq!(listed["items"][0]["waits_for"], "token");
    let withdrawn = operator.post(&format!("/jobs/{id}/cancel"), json!({ "reason": "no" })).await;
    assert_eq!((&withdrawn["state"], &withdrawn["reason"]), (&"cancelled".into(), &"no".into()));
    assert_eq!(scene.files().await[0].state, FileState::Skipped);
    for deed in ["cancel", "retry"] {
        let (status, detail) = operator.refused(Method::POST, &format!("/jobs/{id}/{deed}")).await;
        assert!(status == 409 && detail.contains("carries a file"), "{detail}");
    }
    scene.settled().await;
    scene.close().await;
}

#[tokio::test]
async fn an_archived_file_is_read_whole_and_in_pieces() {
    let scene = scene().await;
    let recording = announced(&scene, 50, 300_000).await;
    let file = scene.one_file_in(FileState::Archived).await;
    let operator = Operator::of(&scene);
    let content = recording.files[0].content.read(0, 300_000);
    let read = |range: &'static str| {
        operator.ask(Method::GET, &format!("/files/{}/content", file.id)).header("range", range)
    };
    let whole = operator.ask(Method::GET, &format!("/files/{}/content", file.id)).send().await.unwrap();
    assert_eq!((whole.status().as_u16(), whole.content_length()), (200, Some(300_000)));
    let headers = whole.headers().clone();
    let name = file.object_key.as_deref().unwrap().rsplit('/').next().unwrap();
    assert!(
        headers["content-disposition"]
            .to_str()
            .unwrap()
            .starts_with(&format!("attachment; filename=\"{name}\""))
    );
    assert_eq!(
        (&headers["accept-ranges"], &headers["x-content-type-options"]),
        (&HeaderValue::from_static("bytes"), &HeaderValue::from_static("nosniff"))
    );
    assert_eq!(headers["content-type"], file.archived.as_ref().unwrap().content_type.as_str());
    assert_eq!(Sha256::digest(whole.bytes().await.unwrap()), Sha256::digest(&content));
    for (range, expected) in [
        ("bytes=0-0", 0..1),
        ("bytes=299999-", 299_999..300_000),
        ("bytes=-150001", 149_999..300_000),
        ("bytes=5-200004", 5..200_005),
    ] {
        let piece = read(range).send().await.unwrap();
        assert_eq!(piece.status(), 206, "{range}");
        let told = format!("bytes {}-{}/300000", expected.start, expected.end - 1);
        assert_eq!(piece.headers()["content-range"], told.as_str());
        assert_eq!(piece.bytes().await.unwrap(), content[expected], "{range}");
    }
    let none = read("bytes=300000-").send().await.unwrap();
    assert_eq!(none.headers()["content-range"], "bytes */300000");
    assert_eq!(problem(none).await.0, 416);
    let tag = headers["etag"].to_str().unwrap();
    assert_eq!(read("bytes=0-9").header("if-range", tag).send().await.unwrap().status(), 206);
    assert_eq!(read("bytes=0-9").header("if-range", "\"older\"").send().await.unwrap().status(), 200);
    assert_eq!(read("bytes=0-9").header("if-none-match", tag).send().await.unwrap().status(), 304);
    let head = operator.ask(Method::HEAD, &format!("/files/{}/content", file.id)).send().await.unwrap();
    assert_eq!(
        (head.status().as_u16(), &head.headers()["content-length"]),
        (200, &"300000".parse().unwrap())
    );
    // A directory makes no addresses.
    assert_eq!(operator.refused(Method::POST, &format!("/files/{}/link", file.id)).await.0, 409);

    let place = scene.data.path().join("archive").join(file.object_key.as_deref().unwrap());
    std::fs::write(&place, b"cut").unwrap();
    assert_eq!(operator.refused(Method::GET, &format!("/files/{}/content", file.id)).await.0, 502);
    std::fs::remove_file(&place).unwrap();
    let (status, detail) = operator.refused(Method::GET, &format!("/files/{}/content", file.id)).await;
    assert!(status == 502 && detail.contains("holds nothing"), "{detail}");
    scene.settled().await;
    scene.close().await;
}

/// A scene whose archive is a bucket, with one archived file of several parts, and its content.
async fn scene_with_a_bucket() -> (Scene, Bucket, FileRow, Bytes) {
    let bucket = Bucket::new().await;
    let scene = Scene::with(|setup| {
        let setup = setup.env("ADMIN_TOKEN", TOKEN).env("ZOOM_ARCHIVER_HTTP__LINK_VALID_SECS", "120");
        bucket.point(setup, None)
    })
    .await;
    let recording = announced(&scene, 90, 20_000_000).await;
    let file = scene.one_file_in(FileState::Archived).await;
    let content = recording.files[0].content.read(0, 20_000_000);
    (scene, bucket, file, content)
}

#[tokio::test]
async fn an_object_of_a_bucket_is_read_whole_and_in_pieces() {
    let (scene, _bucket, file, content) = scene_with_a_bucket().await;
    let operator = Operator::of(&scene);
    let read = |range: Option<&'static str>| {
        let request = operator.ask(Method::GET, &format!("/files/{}/content", file.id));
        range.into_iter().fold(request, |request, range| request.header("range", range))
    };
    let whole = read(None).send().await.unwrap();
    assert_eq!((whole.status().as_u16(), whole.content_length()), (200, Some(20_000_000)));
    assert_eq!(Sha256::digest(whole.bytes().await.unwrap()), Sha256::digest(&content));
    for (range, expected) in [
        ("bytes=0-0", 0..1),
        ("bytes=19999999-", 19_999_999..20_000_000),
        ("bytes=-10000001", 9_999_999..20_000_000),
        ("bytes=5-16800004", 5..16_800_005),
    ] {
        let piece = read(Some(range)).send().await.unwrap();
        assert_eq!(piece.status(), 206, "{range}");
        let told = format!("bytes {}-{}/20000000", expected.start, expected.end - 1);
        assert_eq!(piece.headers()["content-range"], told.as_str());
        assert_eq!(piece.bytes().await.unwrap(), content[expected], "{range}");
    }
    let none = read(Some("bytes=20000000-")).send().await.unwrap();
    assert_eq!(none.headers()["content-range"], "bytes */20000000");
    assert_eq!(problem(none).await.0, 416);
    scene.settled().await;
    scene.close().await;
}

#[tokio::test]
async fn whoever_is_given_the_address_of_an_object_reads_it_and_no_log_holds_the_address() {
    let (scene, _bucket, file, content) = scene_with_a_bucket().await;
    let operator = Operator::of(&scene);
    let answer = operator.ask(Method::POST, &format!("/files/{}/link", file.id)).send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["cache-control"].to_str().unwrap()),
        (200, &"no-store")
    );
    let link: Value = answer.json().await.unwrap();
    assert_eq!(link["valid_secs"], 120);
    let address = url::Url::parse(link["url"].as_str().unwrap()).unwrap();
    let said = |name: &str| address.query_pairs().find(|(it, _)| it == name).unwrap().1.into_owned();
    assert_eq!(said("X-Amz-Expires"), "120");

    // Whoever has it needs no token of ours.
    let read = |address: &url::Url| operator.client.get(address.clone());
    let whole = read(&address).send().await.unwrap();
    assert_eq!(whole.status(), 200);
    let name = file.object_key.as_deref().unwrap().rsplit('/').next().unwrap();
    let disposition = whole.headers()["content-disposition"].to_str().unwrap();
    assert!(disposition.starts_with(&format!("attachment; filename=\"{name}\"")), "{disposition}");
    assert_eq!(Sha256::digest(whole.bytes().await.unwrap()), Sha256::digest(&content));
    let piece = read(&address).header("range", "bytes=7-16800000").send().await.unwrap();
    assert_eq!((piece.status().as_u16(), piece.bytes().await.unwrap()), (206, content.slice(7..16_800_001)));
    let mut other = address.clone();
    other.set_path(&address.path().replace(name, "recording.json"));
    assert_ne!(other, address);
    assert_eq!(read(&other).send().await.unwrap().status(), 403, "it is of this object alone");

    scene.settled().await;
    let secrets = [said("X-Amz-Signature"), said("X-Amz-Credential"), "X-Amz-".to_owned()];
    scene.close().await.assert_free_of(secrets.iter().map(String::as_str));
}

#[tokio::test]
async fn what_is_not_archived_cannot_be_read() {
    let scene = scene().await;
    parked(&scene, 60).await;
    let file = scene.one_file_in(FileState::Parked).await;
    let operator = Operator::of(&scene);
    for (method, path) in [(Method::GET, "content"), (Method::POST, "link")] {
        let (status, detail) = operator.refused(method, &format!("/files/{}/{path}", file.id)).await;
        assert!(status == 409 && detail.contains("parked"), "{detail}");
    }
    scene.close().await;
}

#[tokio::test]
async fn an_event_that_could_not_be_read_is_shown_without_its_tokens_and_replayed_without_harm() {
    let scene = scene().await;
    let operator = Operator::of(&scene);
    let body = json!({
        "event": "session.recording_completed",
        "download_token": "s3cret-token",
        "payload": { "account_id": "acc", "object": { "recording_files": [
            { "id": "a", "file_type": "MP4", "download_url": "https://zoom.us/rec/webhook_download/s3cret?x=y" }
        ] } }
    });
    assert!(scene.sender.deliver(body.to_string().as_bytes()).await.answer.is_accepted());
    let events = operator.get("/events?unreadable=true").await;
    let event = &events["items"][0];
    let id = event["id"].as_str().unwrap();
    let shown = operator.get(&format!("/events/{id}")).await;
    assert!(!shown.to_string().contains("s3cret"), "{shown}");
    assert_eq!(shown["body"]["payload"]["account_id"], "acc");
    let replayed = operator.post(&format!("/events/{id}/replay"), json!({})).await;
    assert_eq!((&replayed["readable"], &replayed["reason"]), (&false.into(), &event["unreadable"]));

    // Kept by an older version, which could not read what this one can.
    announced(&scene, 70, 1000).await;
    scene.one_file_in(FileState::Archived).await;
    let path = scene.data.path().join("zoom-archiver.db");
    let sql = sqlx::SqlitePool::connect(&format!("sqlite:{}", path.display())).await.unwrap();
    sqlx::query("UPDATE events SET recording_id = NULL, unreadable = 'a new shape' WHERE unreadable IS NULL")
        .execute(&sql)
        .await
        .unwrap();
    let events = operator.get("/events?name=session.recording_completed").await["items"].clone();
    let older = events.as_array().unwrap().iter().find(|event| event["unreadable"] == "a new shape").unwrap();
    let id = older["id"].as_str().unwrap();
    for _ in 0..2 {
        let replayed = operator.post(&format!("/events/{id}/replay"), json!({})).await;
        assert_eq!(
            replayed,
            json!({ "id": id, "readable": true, "reason": null, "new_files": 0, "known_files": 1, "woken": 0 })
        );
    }
    assert_eq!(operator.get(&format!("/events/{id}")).await["unreadable"], Value::Null);
    scene.settled().await;
    assert_eq!(scene.files().await.len(), 1);
    scene.close().await.assert_free_of(["s3cret"]);
}

#[tokio::test]
async fn no_answer_holds_a_token_or_a_signed_address() {
    let scene = scene().await;
    parked(&scene, 80).await;
    let file = scene.one_file_in(FileState::Parked).await;
    let operator = Operator::of(&scene);
    let recording = file.recording_id;
    let event = operator.get("/events").await["items"][0]["id"].as_str().unwrap().to_owned();
    let job = operator.get("/jobs").await["items"][0]["id"].as_str().unwrap().to_owned();
    for path in [
        "/recordings".to_owned(),
        format!("/recordings/{recording}"),
        "/files".to_owned(),
        format!("/files/{}", file.id),
        "/jobs".to_owned(),
        format!("/jobs/{job}"),
        "/events".to_owned(),
        format!("/events/{event}"),
        "/accounts".to_owned(),
        "/status".to_owned(),
        "/openapi.json".to_owned(),
    ] {
        let told = operator.get(&path).await.to_string();
        for secret in ["eyJ", "webhook_download", TOKEN, crate::support::service::SECRET] {
            assert!(!told.contains(secret), "{path}: {told}");
        }
    }
    scene.close().await;
}
