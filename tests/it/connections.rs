//! Connections to PostgreSQL that die without a word, and servers that can no longer be written to: the running program finds
//! both by itself.

use std::time::{Duration, Instant};

use secrecy::ExposeSecret;
use url::Url;
use zoom_archiver::domain::file::FileState;
use zoom_archiver::domain::recording::RecordingKind;
use zoom_archiver::simulator::events::{EventKind, Quirks};
use zoom_archiver::simulator::{FakeFile, FakeRecording, Options};

use crate::support::fault_proxy::FaultProxy;
use crate::support::place::{Bucket, contents};
use crate::support::postgres::PostgresDatabase;
use crate::support::private::PrivatePostgres;
use crate::support::program::fake_zoom;
use crate::support::scene::{Ground, Scene, open_store, sender_to};
use crate::support::service::{Service, Setup, eventually};

/// Longest time until events are answered again after all flows were dropped, on a machine that is busy with other tests. An
/// attempt to record has five seconds; the kernel would repeat its packets for a quarter of an hour.
const HEALED_WITHIN: Duration = Duration::from_secs(30);

/// A service whose way to the database leads through a proxy.
async fn behind_a_proxy(roles: Option<&'static str>) -> (Scene, FaultProxy) {
    let database = PostgresDatabase::create().await;
    let mut url = Url::parse(database.url().expose_secret()).unwrap();
    let server = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432));
    let proxy = FaultProxy::start(server).await.unwrap();
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(proxy.addr().port())).unwrap();
    let ground = Ground::Servers { database: Some(database), bucket: Bucket::new().await };
    let options = Options { bytes_per_sec: Some(200_000), ..Options::default() };
    let scene = Scene::staged_on(ground, options, |setup, _| {
        let setup = setup.env("DATABASE_URL", url.as_str());
        match roles {
            Some(roles) => setup.roles(roles),
            None => setup,
        }
    })
    .await;
    (scene, proxy)
}

fn recording(number: u64, bytes: u64) -> FakeRecording {
    let files = (0..2).map(|file| FakeFile::generated(number * 10 + file, bytes));
    FakeRecording::new(RecordingKind::VideoSdk, number).with(files)
}

/// Sends one event, once; whether it was accepted.
async fn is_accepted(scene: &Scene, recording: &FakeRecording) -> bool {
    let body = scene.zoom.announce(recording, EventKind::Recording, Quirks::default());
    scene.sender.deliver(&body).await.answer.is_accepted()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/test"]
async fn dropped_flows_cost_seconds_and_no_file() {
    let (scene, proxy) = behind_a_proxy(None).await;
    // Two seconds each at this rate: the flows are dropped under running transfers.
    let mut recordings = vec![recording(1, 400_000), recording(2, 400_000)];
    for recording in &recordings {
        assert!(is_accepted(&scene, recording).await);
    }
    eventually("transfers run", || async {
        (scene.service.metric("zoom_archiver_running_jobs", "transfer").await > 0.0).then_some(())
    })
    .await;

    proxy.forget_all();
    let begun = Instant::now();
    let mut accepted_in_a_row = 0;
    for number in 3.. {
        let recording = recording(number, 1_000);
        // Zoom repeats what was not accepted.
        while !is_accepted(&scene, &recording).await {
            accepted_in_a_row = 0;
            assert!(begun.elapsed() < HEALED_WITHIN, "no event is accepted any more");
        }
        recordings.push(recording);
        accepted_in_a_row += 1;
        if accepted_in_a_row == 10 {
            break;
        }
    }
    assert!(begun.elapsed() < HEALED_WITHIN, "{:?}", begun.elapsed());

    let contents = contents(&recordings);
    let files = eventually("every file is archived", || async {
        let files = scene.files().await;
        let is_done = files.len() == contents.len() && files.iter().all(|it| it.state == FileState::Archived);
        is_done.then_some(files)
    })
    .await;
    scene.settled().await;
    for file in files {
        scene.assert_archived(&file, contents[&file.identity.name]).await;
    }
    scene.close().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/test"]
async fn idle_connections_that_died_are_replaced_before_an_event_needs_them() {
    let (scene, proxy) = behind_a_proxy(Some("receiver")).await;
    // Several at once, so that each pool has several connections.
    let events: Vec<_> = (1..20).map(|number| recording(number, 1_000)).collect();
    let accepted = futures_util::future::join_all(events.iter().map(|it| is_accepted(&scene, it))).await;
    assert!(accepted.iter().all(|accepted| *accepted));
    let kept = || scene.service.metric("zoom_archiver_database_connections{", "record");
    assert!(kept().await > 0.0);

    proxy.forget_all();
    eventually("no dead connection is kept", || async { (kept().await == 0.0).then_some(()) }).await;
    assert!(is_accepted(&scene, &recording(30, 1_000)).await);
    scene.close().await;
}

/// The status of the readiness probe.
async fn readiness(service: &Service) -> u16 {
    let url = format!("http://{}/readyz", service.public_addr());
    reqwest::get(url).await.expect("it answers").status().as_u16()
}

async fn until_readiness_is(service: &Service, status: u16) {
    eventually("the readiness changes", || async { (readiness(service).await == status).then_some(()) })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/test"]
async fn a_promoted_standby_is_found_while_the_old_primary_keeps_its_sockets_open() {
    let primary = PrivatePostgres::start().await;
    let standby = primary.standby().await;
    let (zoom, data) = (fake_zoom(Options::default()).await, tempfile::tempdir().unwrap());
    let hosts = [&primary, &standby].map(|server| format!("127.0.0.1:{}", server.port())).join(",");
    let url = format!("postgres://postgres@{hosts}/postgres?target_session_attrs=read-write");
    let setup = Setup::new(data.path())
        .env("ZOOM_ARCHIVER_ZOOM__DOWNLOAD_HOSTS", zoom.origin())
        .env("DATABASE_URL", url);
    let service = setup.start().await;
    let sender = sender_to(&service);
    let announced = async |number| {
        let event = zoom.announce(&recording(number, 1_000), EventKind::Recording, Quirks::default());
        sender.deliver(&event).await.answer.is_accepted()
    };
    assert!(announced(1).await);
    let before = open_store(primary.url()).await;
    let archived = async |store: &zoom_archiver::store::SharedStore, count: usize| {
        let files = store.files(&[FileState::Archived], None, 100).await.ok()?;
        (files.len() == count).then_some(())
    };
    eventually("the first files are archived", || archived(&before, 2)).await;
    before.close().await;

    primary.execute("ALTER SYSTEM SET default_transaction_read_only = on").await;
    primary.execute("SELECT pg_reload_conf()").await;
    standby.execute("SELECT pg_promote()").await;
    eventually("an event is accepted", || async { announced(2).await.then_some(()) }).await;
    let after = open_store(standby.url()).await;
    eventually("what was announced since is archived", || archived(&after, 4)).await;
    until_readiness_is(&service, 200).await;
    // All that is shown comes from the new primary.
    let url = format!("http://{}/api/v1/files?state=archived", service.admin_addr());
    eventually("the API shows the new primary", || async {
        let page: serde_json::Value = reqwest::get(&url).await.ok()?.json().await.ok()?;
        (page["items"].as_array()?.len() == 4).then_some(())
    })
    .await;
    after.close().await;
    assert_eq!(service.stop().await.0, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/test"]
async fn a_server_that_becomes_read_only_is_not_ready_and_is_used_again_when_it_can_be_written_to() {
    let server = PrivatePostgres::start().await;
    let (zoom, data) = (fake_zoom(Options::default()).await, tempfile::tempdir().unwrap());
    let service = Setup::new(data.path()).env("DATABASE_URL", server.url()).start().await;
    let sender = sender_to(&service);
    let event = |number| zoom.announce(&recording(number, 1_000), EventKind::Recording, Quirks::default());
    assert_eq!(readiness(&service).await, 200);

    server.execute("ALTER SYSTEM SET default_transaction_read_only = on").await;
    server.execute("SELECT pg_reload_conf()").await;
    until_readiness_is(&service, 503).await;
    assert!(!sender.deliver(&event(1)).await.answer.is_accepted());

    server.execute("ALTER SYSTEM RESET default_transaction_read_only").await;
    server.execute("SELECT pg_reload_conf()").await;
    until_readiness_is(&service, 200).await;
    eventually("events are accepted", || async {
        sender.deliver(&event(2)).await.answer.is_accepted().then_some(())
    })
    .await;
    assert_eq!(service.stop().await.0, Some(0));
}

/// What a command answers whose settings make no sense: it must fail.
async fn refusal(setup: &Setup, command: &[&str]) -> String {
    let output = setup.run(command).await;
    assert!(!output.status.success(), "{command:?}");
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/test"]
async fn what_is_wrong_with_a_database_is_told_with_what_to_do() {
    let server = PrivatePostgres::start().await;
    server
        .execute("CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
        .await;
    // What PostgreSQL 15 and newer come with.
    server.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC").await;
    server.execute("CREATE ROLE reader LOGIN").await;
    let data = tempfile::tempdir().unwrap();
    let at = |url: String| Setup::new(data.path()).env("DATABASE_URL", url);
    let place = format!("127.0.0.1:{}", server.port());
    for (url, told) in [
        (format!("postgres://postgres@{place}/latin"), ["LATIN1", "ENCODING 'UTF8'"]),
        (format!("postgres://reader@{place}/postgres"), ["42501", "GRANT CREATE ON SCHEMA"]),
        (format!("postgres://postgres@{place}/absent"), ["3D000", "CREATE DATABASE"]),
    ] {
        let setup = at(url);
        for command in [["migrate"].as_slice(), &["doctor"]] {
            let said = refusal(&setup, command).await;
            // A look alone needs no right to create.
            let is_a_look = command == ["doctor"] && told[0] == "42501";
            assert!(is_a_look || told.iter().all(|words| said.contains(words)), "{command:?}: {said}");
        }
    }
}

/// Runs `openssl`.
fn openssl(arguments: &[&str]) {
    let output = std::process::Command::new("openssl").args(arguments).output().expect("openssl is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL: scripts/test"]
async fn a_certificate_of_a_private_authority_is_told_with_the_parameter_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (key, certificate) = (path("server.key"), path("server.crt"));
    let subject = ["-subj", "/CN=private", "-addext", "subjectAltName=IP:127.0.0.1"];
    let kind = [
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-addext",
        "basicConstraints=critical,CA:FALSE",
    ];
    let out = ["-keyout", &key, "-out", &certificate];
    openssl(&["req"].into_iter().chain(kind).chain(subject).chain(out).collect::<Vec<_>>());
    let server = PrivatePostgres::start().await;
    server.encrypt(&key, &certificate).await;
    let data = tempfile::tempdir().unwrap();
    let url = format!("postgres://postgres@127.0.0.1:{}/postgres?sslmode=verify-full", server.port());
    let setup = Setup::new(data.path()).env("DATABASE_URL", &url);
    let said = refusal(&setup, &["migrate"]).await;
    assert!(said.contains("sslrootcert"), "{said}");
    let known = setup.env("DATABASE_URL", format!("{url}&sslrootcert={certificate}"));
    let output = known.run(&["migrate"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A pooler that takes only what PgBouncer takes without `ignore_startup_parameters`, and then has no server. It gives the names
/// of the parameters that it was sent.
async fn pooler() -> (u16, tokio::sync::mpsc::UnboundedReceiver<Vec<String>>) {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (tell, told) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let length = socket.read_u32().await.unwrap() as usize;
            let mut message = vec![0; length - 4];
            socket.read_exact(&mut message).await.unwrap();
            // After the protocol's version: names and values, each ended by a zero.
            let words: Vec<String> = message[4..]
                .split(|byte| *byte == 0)
                .map(|word| String::from_utf8_lossy(word).into_owned())
                .collect();
            let names: Vec<String> =
                words.chunks(2).map(|pair| pair[0].clone()).filter(|name| !name.is_empty()).collect();
            let unknown = names.iter().find(|name| *name == "options" || *name == "extra_float_digits");
            let (code, words) = match unknown {
                Some(name) => ("08P01", format!("unsupported startup parameter: {name}")),
                None => ("08006", "no server".to_owned()),
            };
            let fields = format!("SFATAL\0VFATAL\0C{code}\0M{words}\0\0");
            socket.write_u8(b'E').await.unwrap();
            socket.write_u32(u32::try_from(fields.len()).unwrap() + 4).await.unwrap();
            socket.write_all(fields.as_bytes()).await.unwrap();
            let _ = tell.send(names);
        }
    });
    (port, told)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_is_sent_nothing_that_it_would_have_to_ignore() {
    /// Of the documentation of PgBouncer, "ignore_startup_parameters".
    const TRACKED: [&str; 7] = [
        "user",
        "database",
        "client_encoding",
        "datestyle",
        "timezone",
        "standard_conforming_strings",
        "application_name",
    ];
    let (port, mut told) = pooler().await;
    let data = tempfile::tempdir().unwrap();
    let url = format!("postgres://postgres@127.0.0.1:{port}/postgres?sslmode=disable");
    let setup = Setup::new(data.path()).env("DATABASE_URL", &url);
    refusal(&setup, &["migrate"]).await;
    for name in told.recv().await.expect("it was asked") {
        assert!(TRACKED.contains(&name.to_lowercase().as_str()), "{name}");
    }
    let setup = setup.env("DATABASE_URL", format!("{url}&options[search_path]=archive"));
    let said = refusal(&setup, &["migrate"]).await;
    assert!(said.contains("ignore_startup_parameters"), "{said}");
}
