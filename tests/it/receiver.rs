//! The public door, row by row of what it promises, against the running program.

use std::time::Duration;

use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use zoom_archiver::zoom::signature::sign;

use crate::support::delivery::{deliver, deliver_at, now, send, status_of};
use crate::support::service::{SECRET, Service, Setup, eventually};

/// A recording whose one file nobody will ever serve: enough for the receiver.
fn announcement(session: &str) -> String {
    json!({
        "event": "session.recording_completed",
        "event_ts": 1,
        "download_token": "never-logged-token",
        "payload": {"account_id": "acc", "object": {
            "session_id": session, "session_name": "Weekly",
            "recording_files": [{
                "id": "file-1", "file_type": "MP4", "file_extension": "MP4", "file_size": 3,
                "recording_type": "shared_screen", "recording_start": "2026-01-02T03:04:05Z",
                "download_url": "https://not-allowed.example/never-logged-path",
            }],
        }},
    })
    .to_string()
}

async fn receiver() -> (Service, tempfile::TempDir) {
    let data = tempfile::tempdir().unwrap();
    (Setup::new(data.path()).start().await, data)
}

#[tokio::test]
async fn a_signed_recording_event_is_answered_200() {
    let (service, _data) = receiver().await;
    assert_eq!(status_of(&service.webhook(), &announcement("s")).await, StatusCode::OK);
    assert!(service.metric("zoom_archiver_events_total", "recorded").await >= 1.0);
    let (code, log) = service.stop().await;
    assert_eq!(code, Some(0));
    log.assert_free_of(["never-logged", SECRET]);
}

#[tokio::test]
async fn a_signed_event_of_another_kind_is_answered_200_and_counted_by_name() {
    let (service, _data) = receiver().await;
    let body = r#"{"event":"session.user_joined","payload":{}}"#;
    assert_eq!(status_of(&service.webhook(), body).await, StatusCode::OK);
    let counted = service.metric("zoom_archiver_events_total", "session.user_joined").await;
    assert!((counted - 1.0).abs() < f64::EPSILON);
}

#[tokio::test]
async fn a_signed_body_that_cannot_be_read_is_kept_raw() {
    let (service, _data) = receiver().await;
    for body in ["not json at all", "{\"event\":\"recording.completed\"}", "[]", ""] {
        assert_eq!(status_of(&service.webhook(), body).await, StatusCode::OK, "{body}");
    }
    let kept = service.metric("zoom_archiver_events_total", "unreadable").await;
    assert!((kept - 4.0).abs() < f64::EPSILON, "{kept}");
}

#[tokio::test]
async fn url_validation_is_answered_only_when_signed() {
    let (service, _data) = receiver().await;
    let body = r#"{"event":"endpoint.url_validation","payload":{"plainToken":"qgg8vlvZRS6UYooatFL8Aw"}}"#;
    let answer = deliver(&service.webhook(), body).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let answer: Value = answer.json().await.unwrap();
    assert_eq!(answer["plainToken"], "qgg8vlvZRS6UYooatFL8Aw");
    assert_eq!(answer["encryptedToken"].as_str().unwrap().len(), 64);

    let unsigned = Client::new().post(service.webhook()).body(body).send().await.unwrap();
    assert_eq!(unsigned.status(), StatusCode::UNAUTHORIZED);
    assert!(!unsigned.text().await.unwrap().contains("encrypted"));

    for token in ["v0:1:{}".to_owned(), "x".repeat(129)] {
        let body = json!({"event": "endpoint.url_validation", "payload": {"plainToken": token}});
        let answer = deliver(&service.webhook(), &body.to_string()).await;
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn an_answer_to_url_validation_is_made_with_the_secret_that_signed_it() {
    let data = tempfile::tempdir().unwrap();
    let setup =
        Setup::new(data.path()).env("ZOOM_WEBHOOK_SECRET_TOKEN", "first-secret-token,second-secret-token");
    let service = setup.start().await;
    let body = r#"{"event":"endpoint.url_validation","payload":{"plainToken":"abc"}}"#;
    let timestamp = now().to_string();
    for secret in ["first-secret-token", "second-secret-token"] {
        let signature = sign(&secret.into(), &timestamp, body.as_bytes());
        let answer = send(&service.webhook(), &timestamp, &signature, body.as_bytes()).await;
        let answer: Value = answer.json().await.unwrap();
        let wanted = zoom_archiver::zoom::signature::encrypt_plain_token(&secret.into(), "abc").unwrap();
        assert_eq!(answer["encryptedToken"], wanted);
    }
}

#[tokio::test]
async fn what_is_not_provably_zooms_is_answered_401_without_a_reason() {
    let (service, _data) = receiver().await;
    let body = announcement("s");
    let url = service.webhook();
    let fresh = now().to_string();
    let good = sign(&SECRET.into(), &fresh, body.as_bytes());
    let other = sign(&"other".into(), &fresh, body.as_bytes());
    let answers = [
        Client::new().post(&url).body(body.clone()).send().await.unwrap(),
        send(&url, &fresh, &other, body.as_bytes()).await,
        send(&url, &fresh, "v0=zz", body.as_bytes()).await,
        send(&url, "yesterday", &good, body.as_bytes()).await,
        send(&url, &fresh, &good, b"{}").await,
        deliver_at(&url, &body, now() - 7300).await,
        deliver_at(&url, &body, now() + 400).await,
    ];
    for answer in answers {
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(answer.text().await.unwrap(), "unauthorized\n");
    }
    assert!(service.metric("zoom_archiver_webhook_rejected_total", "stale").await >= 2.0);
    assert!(service.metric("zoom_archiver_events_total", "").await < 1.0);
}

#[tokio::test]
async fn zooms_repetitions_within_two_hours_are_believed() {
    let (service, _data) = receiver().await;
    let answer = deliver_at(&service.webhook(), &announcement("s"), now() - 7100).await;
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test]
async fn too_long_not_post_and_other_paths_are_refused_each_in_its_way() {
    let (service, _data) = receiver().await;
    let url = service.webhook();
    let long = format!("{{\"event\":\"{}\"}}", "x".repeat(3 * 1024 * 1024));
    assert_eq!(status_of(&url, &long).await, StatusCode::PAYLOAD_TOO_LARGE);
    let client = Client::new();
    assert_eq!(client.get(&url).send().await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(client.put(&url).send().await.unwrap().status(), StatusCode::METHOD_NOT_ALLOWED);
    let base = format!("http://{}", service.public_addr());
    for path in ["/", "/metrics", "/webhooks", "/webhooks/zoom/x", "/api/v1/files"] {
        let answer = client.get(format!("{base}{path}")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{path}");
    }
    for path in ["/livez", "/readyz"] {
        let answer = client.get(format!("{base}{path}")).send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn a_body_of_unknown_length_is_cut_at_the_limit() {
    let (service, _data) = receiver().await;
    let mut stream = TcpStream::connect(service.public_addr()).await.unwrap();
    let timestamp = now();
    let head = format!(
        "POST /webhooks/zoom HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\
         x-zm-request-timestamp: {timestamp}\r\nx-zm-signature: v0={}\r\n\r\n",
        "0".repeat(64)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let (mut reader, mut writer) = stream.split();
    let write = async {
        // 64 MiB at most; the server ends it long before.
        for _ in 0..1024 {
            if writer.write_all(chunk.as_bytes()).await.is_err() {
                break;
            }
        }
    };
    let mut answer = Vec::new();
    let read = async {
        let mut buffer = [0; 1024];
        while let Ok(read @ 1..) = reader.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..read]);
            if answer.windows(4).any(|window| window == b"\r\n\r\n") {
                break;
            }
        }
    };
    tokio::select! { () = async { tokio::join!(write, std::future::pending::<()>()); } => {}, () = read => {} }
    assert!(answer.starts_with(b"HTTP/1.1 413"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn half_sent_requests_are_cut_and_do_not_hold_up_the_end() {
    let data = tempfile::tempdir().unwrap();
    let setup = Setup::new(data.path())
        .env("ZOOM_ARCHIVER_HTTP__HEADER_TIMEOUT_MS", "60000")
        .env("ZOOM_ARCHIVER_HTTP__BODY_TIMEOUT_MS", "60000");
    let service = setup.start().await;
    let mut half_head = TcpStream::connect(service.public_addr()).await.unwrap();
    half_head.write_all(b"POST /webhooks/zoom HTTP/1.1\r\nhost:").await.unwrap();
    let mut half_body = TcpStream::connect(service.public_addr()).await.unwrap();
    let head = format!(
        "POST /webhooks/zoom HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\nx-zm-request-timestamp: {}\r\n\
         x-zm-signature: v0={}\r\n\r\nhalf",
        now(),
        "0".repeat(64)
    );
    half_body.write_all(head.as_bytes()).await.unwrap();
    let (code, _) = service.stop().await;
    assert_eq!(code, Some(0));
}

#[tokio::test]
async fn slow_heads_and_bodies_are_cut_by_their_timeouts() {
    let data = tempfile::tempdir().unwrap();
    let setup = Setup::new(data.path())
        .env("ZOOM_ARCHIVER_HTTP__HEADER_TIMEOUT_MS", "200")
        .env("ZOOM_ARCHIVER_HTTP__BODY_TIMEOUT_MS", "200");
    let service = setup.start().await;
    let mut slow_head = TcpStream::connect(service.public_addr()).await.unwrap();
    slow_head.write_all(b"POST /webhooks/zoom HTTP/1.1\r\n").await.unwrap();
    let mut rest = Vec::new();
    // Ends because the server closes it.
    let _ = slow_head.read_to_end(&mut rest).await;
    let mut slow_body = TcpStream::connect(service.public_addr()).await.unwrap();
    let head = format!(
        "POST /webhooks/zoom HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 100\r\n\
         x-zm-request-timestamp: {}\r\nx-zm-signature: v0={}\r\n\r\n",
        now(),
        "0".repeat(64)
    );
    slow_body.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    slow_body.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 408"), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn ten_thousand_hostile_requests_change_nothing() {
    const REQUESTS: usize = 10_000;
    const CLIENTS: usize = 16;
    let (service, _data) = receiver().await;
    let url = service.webhook();
    let client = Client::new();
    // A first thousand brings the process to its working size.
    hostile_requests(&client, &url, 0..REQUESTS / 10, CLIENTS).await;
    let before = service.memory();
    hostile_requests(&client, &url, REQUESTS / 10..REQUESTS, CLIENTS).await;
    let grown = service.memory().saturating_sub(before);
    assert!(grown < 16 * 1024 * 1024, "grew by {grown} bytes");
    assert!(service.metric("zoom_archiver_events_total", "recorded").await < 1.0, "a forgery was accepted");
    assert!(service.metric("zoom_archiver_webhook_answers_total", "status=\"5").await < 1.0);
    // And it still does its work.
    assert_eq!(status_of(&url, &announcement("s")).await, StatusCode::OK);
}

async fn hostile_requests(client: &Client, url: &str, range: std::ops::Range<usize>, clients: usize) {
    use futures_util::StreamExt;
    futures_util::stream::iter(range)
        .for_each_concurrent(clients, |number| async move {
            let status = hostile_request(client, url, number).await;
            assert!(!status.is_success() && !status.is_server_error(), "request {number}: {status}");
        })
        .await;
}

/// One of ten kinds of hostility, different each time.
async fn hostile_request(client: &Client, url: &str, number: usize) -> StatusCode {
    let body = announcement(&format!("s{number}"));
    let fresh = now().to_string();
    let forged = sign(&"guess".into(), &fresh, body.as_bytes());
    let genuine = sign(&SECRET.into(), &fresh, body.as_bytes());
    let stale = (now() - 100_000).to_string();
    let (timestamp, signature, body) = match number % 10 {
        0 => (fresh, forged, body.into_bytes()),
        1 => (stale.clone(), sign(&SECRET.into(), &stale, body.as_bytes()), body.into_bytes()),
        2 => (fresh, genuine, body.as_bytes()[..body.len() / 2].to_vec()),
        3 => (fresh, genuine[..20].to_owned(), body.into_bytes()),
        4 => (fresh, forged, noise(number, 100)),
        5 => (fresh, forged, "[".repeat(200_000).into_bytes()),
        6 => (String::new(), String::new(), noise(number, 2000)),
        7 if number % 100 == 7 => (fresh, forged, vec![b'x'; 2 * 1024 * 1024 + 1]),
        7 => (fresh, format!("{genuine}00"), body.into_bytes()),
        8 => ("99999999999999999999".to_owned(), genuine, body.into_bytes()),
        _ => (fresh, genuine.replace("v0=", "v1="), body.into_bytes()),
    };
    let request = client
        .post(url)
        .header("x-zm-request-timestamp", timestamp)
        .header("x-zm-signature", signature)
        .body(body);
    request.send().await.expect("the door answers").status()
}

/// Bytes that look random and differ for each seed.
fn noise(seed: usize, length: usize) -> Vec<u8> {
    let mut state = seed as u64 ^ 0x9e37_79b9_7f4a_7c15;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    })
    .take(length)
    .collect()
}

#[tokio::test]
async fn an_answered_event_survives_sigkill() {
    let data = tempfile::tempdir().unwrap();
    let setup = Setup::new(data.path());
    let service = setup.roles("receiver").start().await;
    for number in 0..20 {
        assert_eq!(status_of(&service.webhook(), &announcement(&format!("s{number}"))).await, StatusCode::OK);
    }
    service.kill().await;
    let again = Setup::new(data.path()).roles("receiver").start().await;
    let waiting = again.metric("zoom_archiver_jobs{", "kind=\"transfer\",state=\"waiting\"").await;
    assert!((waiting - 20.0).abs() < f64::EPSILON, "{waiting}");
}

#[tokio::test]
async fn without_a_secret_token_serve_refuses_to_start_and_says_why() {
    let data = tempfile::tempdir().unwrap();
    let mut service = Setup::new(data.path()).env("ZOOM_WEBHOOK_SECRET_TOKEN", "").spawn();
    let (code, log) = service.ended().await;
    assert_eq!(code, Some(1));
    assert!(log.text().contains("ZOOM_WEBHOOK_SECRET_TOKEN is not set"), "{}", log.text());
}

#[tokio::test]
async fn the_private_door_stays_on_loopback_without_a_token_and_asks_for_it_with_one() {
    let data = tempfile::tempdir().unwrap();
    let open = Setup::new(data.path()).env("ZOOM_ARCHIVER_HTTP__ADMIN_LISTEN", "0.0.0.0:0");
    let (code, log) = open.spawn().ended().await;
    assert_eq!(code, Some(1));
    assert!(log.text().contains("ADMIN_TOKEN"), "{}", log.text());

    let service = open.env("ADMIN_TOKEN", "let-me-in-please").start().await;
    let url = format!("http://127.0.0.1:{}/metrics", service.admin_addr().port());
    let client = Client::new();
    assert_eq!(client.get(&url).send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
    let wrong = client.get(&url).bearer_auth("let-me-in-pleas").send().await.unwrap();
    assert_eq!(wrong.status(), StatusCode::UNAUTHORIZED);
    let right = client.get(&url).bearer_auth("let-me-in-please").send().await.unwrap();
    assert_eq!(right.status(), StatusCode::OK);
    let (_, log) = service.stop().await;
    log.assert_free_of(["let-me-in-please"]);
}

#[tokio::test]
async fn without_a_token_the_private_door_is_shut_to_a_page_whose_name_leads_to_loopback() {
    let data = tempfile::tempdir().unwrap();
    let service = Setup::new(data.path()).start().await;
    let port = service.admin_addr().port();
    let asked_as = async |host: String| {
        let url = format!("http://127.0.0.1:{port}/api/v1/recordings");
        Client::new().get(url).header("host", host).send().await.unwrap().status()
    };
    assert_eq!(asked_as(format!("page.example:{port}")).await, StatusCode::FORBIDDEN);
    assert_eq!(asked_as("127.0.0.1.page.example".to_owned()).await, StatusCode::FORBIDDEN);
    for host in [format!("localhost:{port}"), format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
        assert_eq!(asked_as(host).await, StatusCode::OK);
    }
}

#[tokio::test]
async fn serve_says_which_url_to_register_and_which_events_to_tick() {
    let (service, _data) = receiver().await;
    let line = service.log.wait_for(|line| line["zoom.webhook_url"].is_string()).await;
    assert!(line["zoom.webhook_url"].as_str().unwrap().ends_with("/webhooks/zoom"));
    assert!(line["zoom.events"].as_str().unwrap().contains("session.recording_completed"));
}

#[tokio::test]
async fn a_worker_only_process_has_health_checks_and_no_webhook() {
    let data = tempfile::tempdir().unwrap();
    let service =
        Setup::new(data.path()).env("ZOOM_WEBHOOK_SECRET_TOKEN", "").roles("worker,scheduler").start().await;
    let base = format!("http://{}", service.public_addr());
    let client = Client::new();
    assert_eq!(client.get(format!("{base}/readyz")).send().await.unwrap().status(), StatusCode::OK);
    let answer = client.post(service.webhook()).timeout(Duration::from_secs(10)).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn more_than_there_is_memory_for_is_answered_503_and_passes() {
    let data = tempfile::tempdir().unwrap();
    let setup = Setup::new(data.path())
        .env("ZOOM_ARCHIVER_HTTP__MAX_BODY_BYTES", "100000")
        .env("ZOOM_ARCHIVER_HTTP__MAX_BODY_MEMORY_BYTES", "100000")
        .env("ZOOM_ARCHIVER_HTTP__BODY_TIMEOUT_MS", "60000");
    let service = setup.start().await;
    let url = service.webhook();
    let mut held = announcement("s");
    held.push_str(&" ".repeat(100_000 - held.len()));
    let timestamp = now().to_string();
    // One request takes all the memory, because it is as long as may be, and does not end.
    let mut first = TcpStream::connect(service.public_addr()).await.unwrap();
    let head = format!(
        "POST /webhooks/zoom HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\
         x-zm-request-timestamp: {timestamp}\r\nx-zm-signature: {}\r\n\r\n{:x}\r\n{held}\r\n",
        sign(&SECRET.into(), &timestamp, held.as_bytes()),
        held.len(),
    );
    first.write_all(head.as_bytes()).await.unwrap();
    eventually("the memory is taken", || async {
        (status_of(&url, &announcement("t")).await == StatusCode::SERVICE_UNAVAILABLE).then_some(())
    })
    .await;
    first.write_all(b"0\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    first.read_to_end(&mut answer).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    assert_eq!(status_of(&url, &announcement("t")).await, StatusCode::OK);
}

#[tokio::test]
async fn an_event_that_the_database_refuses_is_kept_raw_and_not_lost() {
    use sqlx::Connection;
    let data = tempfile::tempdir().unwrap();
    let service = Setup::new(data.path()).start().await;
    let url = format!("sqlite:{}", data.path().join("zoom-archiver.db").display());
    let mut beside = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON recordings BEGIN SELECT RAISE(ABORT, 'no'); END";
    sqlx::query(refuse).execute(&mut beside).await.unwrap();
    assert_eq!(status_of(&service.webhook(), &announcement("refused")).await, StatusCode::OK);
    let body: Vec<u8> =
        sqlx::query_scalar("SELECT CAST(body AS BLOB) FROM events").fetch_one(&mut beside).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["payload"]["object"]["session_id"], "refused");
    let (_, log) = service.stop().await;
    assert!(log.text().contains("the database refuses the event"));
}

#[tokio::test]
async fn heads_without_bodies_do_not_keep_zooms_events_out() {
    let data = tempfile::tempdir().unwrap();
    let setup = Setup::new(data.path()).env("ZOOM_ARCHIVER_HTTP__BODY_TIMEOUT_MS", "60000");
    let service = setup.roles("receiver").start().await;
    let mut held = Vec::new();
    for _ in 0..64 {
        let mut stream = TcpStream::connect(service.public_addr()).await.unwrap();
        let head = format!(
            "POST /webhooks/zoom HTTP/1.1\r\nhost: x\r\ncontent-length: 2097152\r\n\
             x-zm-request-timestamp: {}\r\nx-zm-signature: v0={}\r\n\r\nhalf",
            now(),
            "0".repeat(64)
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        held.push(stream);
    }
    // A forgery that is answered shows that the ones before it have been taken up.
    let forged = send(&service.webhook(), &now().to_string(), &format!("v0={}", "0".repeat(64)), b"{}").await;
    assert_eq!(forged.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(status_of(&service.webhook(), &announcement("s")).await, StatusCode::OK);
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answers_is_cut() {
    let data = tempfile::tempdir().unwrap();
    let setup = Setup::new(data.path())
        .env("ZOOM_ARCHIVER_HTTP__BODY_TIMEOUT_MS", "500")
        .env("ZOOM_ARCHIVER_HTTP__MAX_CONNECTIONS", "1");
    let service = setup.roles("receiver").start().await;
    let mut deaf = TcpStream::connect(service.public_addr()).await.unwrap();
    let requests = "GET /livez HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1000);
    let mut quiet = false;
    // Until nothing more is taken: the service waits for room for its answers.
    while !quiet {
        let write = tokio::time::timeout(Duration::from_millis(300), deaf.write_all(requests.as_bytes()));
        quiet = !matches!(write.await, Ok(Ok(())));
    }
    // The one place is free again.
    let asked = Client::new().get(format!("http://{}/livez", service.public_addr()));
    let answer = tokio::time::timeout(Duration::from_secs(20), asked.send()).await.expect("there is room");
    assert_eq!(answer.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn what_the_metrics_say_of_the_queue_does_not_outlive_it() {
    let data = tempfile::tempdir().unwrap();
    let receiver = Setup::new(data.path()).roles("receiver").start().await;
    assert_eq!(status_of(&receiver.webhook(), &announcement("s")).await, StatusCode::OK);
    let waiting = "kind=\"transfer\",state=\"waiting\"";
    assert!(receiver.metric("zoom_archiver_jobs{", waiting).await > 0.5);
    eventually("the job is overdue", || async {
        (receiver.metric("zoom_archiver_oldest_due_seconds", waiting).await > 0.0).then_some(())
    })
    .await;
    let _worker = Setup::new(data.path()).roles("worker").start().await;
    eventually("the job is parked", || async {
        (receiver.metric("zoom_archiver_jobs{", "state=\"parked\"").await > 0.5).then_some(())
    })
    .await;
    let left = receiver.metric("zoom_archiver_jobs{", waiting).await;
    assert!(left < 0.5, "{left} jobs seem to wait");
    let due = receiver.metric("zoom_archiver_oldest_due_seconds", "").await;
    assert!(due <= 0.0, "one seems to be overdue for {due} s");
}

#[tokio::test]
async fn a_service_whose_log_nobody_reads_any_more_goes_on_and_stops_when_told() {
    let data = tempfile::tempdir().unwrap();
    let mut service = Setup::new(data.path()).start().await;
    let url = service.webhook();
    service.close_log().await;
    assert_eq!(status_of(&url, &announcement("s")).await, StatusCode::OK);
    let (code, _) = service.stop().await;
    assert_eq!(code, Some(0));
}
