//! `doctor`: what is well is said, what is wrong is a clear sentence with what to do, and exit code 1; whatever it
//! writes it removes again. At the start of the service it looks briefly: what is wrong is in the log, and ends nothing.

use std::process::Output;
use std::time::Duration;

use nix::sys::signal::Signal;
use secrecy::ExposeSecret;
use serde_json::Value;
use tempfile::TempDir;
use url::Url;
use zoom_archiver::simulator::credentials::ACCOUNT_ID;
use zoom_archiver::simulator::ledger::Endpoint;
use zoom_archiver::simulator::{ApiFault, Options, When};

use crate::support::database::Database;
use crate::support::fault_proxy::{Fault, FaultProxy};
use crate::support::place::{Bucket, Place};
use crate::support::private::{PrivateMinio, PrivatePostgres};
use crate::support::program::fake_zoom;
use crate::support::s3::{Gateway, Lack, Quirks, S3Server, UnknownHeader};
use crate::support::scene::with_api;
use crate::support::service::{Log, Setup};

/// Settings, and the directory with a database that is migrated.
async fn migrated(point: impl FnOnce(Setup) -> Setup) -> (TempDir, Setup) {
    let data = tempfile::tempdir().expect("a directory");
    let setup = point(Setup::new(data.path()));
    let output = setup.run(&["migrate"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (data, setup)
}

/// What it found: subject, verdict, and words with what to do.
fn findings(output: &Output) -> Vec<(String, String, String)> {
    let text = String::from_utf8_lossy(&output.stdout);
    let field = |found: &Value, name: &str| found[name].as_str().unwrap_or_default().to_owned();
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .map(|found| {
            let words = format!("{} {}", field(&found, "words"), field(&found, "mend"));
            (field(&found, "subject"), field(&found, "verdict"), words)
        })
        .collect()
}

/// The words of all that is wrong; there must be something, and the exit code must say so.
async fn wrong(setup: &Setup) -> String {
    let output = setup.run(&["doctor", "--json"]).await;
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stdout));
    let wrong: Vec<String> = findings(&output)
        .into_iter()
        .filter(|(_, verdict, _)| verdict == "wrong")
        .map(|(subject, _, words)| format!("{subject}: {words}"))
        .collect();
    assert!(!wrong.is_empty());
    wrong.join("\n")
}

/// A port where nobody listens: it was bound, and closed again.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn in_process(quirks: Quirks) -> Bucket {
    Bucket::at(S3Server::in_process(quirks).await).await
}

#[tokio::test]
async fn doctor_finds_everything_well_and_leaves_nothing_behind() {
    for place in [Place::directory(), Place::bucket().await] {
        let (_data, setup) = migrated(|setup| place.point(setup)).await;
        let output = setup.run(&["doctor", "--json"]).await;
        let found = findings(&output);
        assert_eq!(output.status.code(), Some(0), "{found:?}");
        assert!(found.iter().all(|(_, verdict, _)| verdict != "wrong"), "{found:?}");
        for wanted in [
            "an object can be written",
            "reads back as it was written",
            "never written over",
            "goes on where it stopped",
            "put together from parts",
            "can be given up",
        ] {
            let is_well = |(subject, verdict, words): &(String, String, String)| {
                subject == "archive" && verdict == "well" && words.contains(wanted)
            };
            assert!(found.iter().any(is_well), "{wanted}: {found:?}");
        }
        if matches!(place, Place::Bucket(_)) {
            for wanted in ["clocks agree", "checksum CRC64NVME", "If-None-Match", "a piece of an object"] {
                assert!(found.iter().any(|(_, _, words)| words.contains(wanted)), "{wanted}: {found:?}");
            }
        }
        assert!(place.objects().await.is_empty());
    }
}

#[tokio::test]
async fn a_key_that_may_only_read_is_named_with_the_right_that_it_lacks() {
    let bucket = in_process(Quirks { denies: &["s3:PutObject"], ..Quirks::default() }).await;
    let (_data, setup) = migrated(|setup| bucket.point(setup, None)).await;
    let wrong = wrong(&setup).await;
    assert!(wrong.contains("AccessDenied") && wrong.contains("s3:PutObject"), "{wrong}");
}

/// A right that keys may lack, how bad that is, and what does not work without it.
type Right = (&'static [&'static str], &'static str, &'static str);

/// All that `docs/archive.md` asks for, but for those of buckets that keep versions.
const RIGHTS: [Right; 7] = [
    (&["s3:ListBucket"], "wrong", "nothing is archived"),
    (&["s3:PutObject"], "wrong", "nothing is archived"),
    (&["s3:GetObject"], "wrong", "no object can be compared, verified or given out"),
    (&["s3:AbortMultipartUpload"], "wrong", "uploads that nobody goes on with stay"),
    // The service can do without these.
    (&["s3:DeleteObject"], "note", "an object that the review finds wrong will stay too"),
    (&["s3:ListMultipartUploadParts"], "note", "an interrupted transfer will start over"),
    (&["s3:ListBucketMultipartUploads"], "note", "lifecycle rule"),
];

/// Asserts that doctor, with keys that lack a right, names it and says what does not work; the exit code goes by how bad it is.
async fn is_named(setup: &Setup, (lacking, verdict, so): Right) {
    let output = setup.run(&["doctor", "--json"]).await;
    let found = findings(&output);
    let right = format!("it takes {}", lacking[0]);
    let is_told = |(subject, told, words): &(String, String, String)| {
        subject == "archive" && told == verdict && words.contains(&right) && words.contains(so)
    };
    assert!(found.iter().any(is_told), "{lacking:?}: {found:#?}");
    assert_eq!(output.status.code(), Some(i32::from(verdict == "wrong")), "{lacking:?}: {found:#?}");
}

#[tokio::test]
async fn every_right_that_a_key_lacks_is_named_with_what_does_not_work_without_it() {
    for right in RIGHTS {
        let bucket = in_process(Quirks { denies: right.0, ..Quirks::default() }).await;
        let (_data, setup) = migrated(|setup| bucket.point(setup, None)).await;
        is_named(&setup, right).await;
    }
}

mod minio {
    #[tokio::test]
    #[ignore = "needs MinIO: scripts/test"]
    async fn what_a_real_store_refuses_is_told_as_what_it_is() {
        super::what_a_real_store_refuses_is_told_as_what_it_is().await;
    }
}

async fn what_a_real_store_refuses_is_told_as_what_it_is() {
    let minio = PrivateMinio::start_in("eu-central-1").await;
    let bucket = Bucket::at(minio.client()).await;
    let (_data, setup) = migrated(|setup| bucket.point(setup, None)).await;
    let told = wrong(&setup.clone().env("AWS_REGION", "us-east-1")).await;
    assert!(told.contains("AWS_REGION") && told.contains("the bucket's region is eu-central-1"), "{told}");

    let reader = minio.keys(&["s3:GetObject", "s3:ListBucket"]).await;
    let told = wrong(&reader.point(setup.clone())).await;
    assert!(told.contains("AccessDenied") && told.contains("it takes s3:PutObject"), "{told}");

    let all = RIGHTS.map(|(names, ..)| names[0]);
    let output = minio.keys(&all).await.point(setup.clone()).run(&["doctor", "--json"]).await;
    let found = findings(&output);
    assert!(
        found.iter().all(|(subject, verdict, _)| subject != "archive" || verdict == "well"),
        "{found:#?}"
    );
    for right in RIGHTS {
        let others: Vec<_> = all.into_iter().filter(|name| *name != right.0[0]).collect();
        is_named(&minio.keys(&others).await.point(setup.clone()), right).await;
    }
}

#[tokio::test]
async fn a_wrong_region_is_named_with_the_variable_to_set() {
    let bucket = in_process(Quirks { region: Some("eu-central-1"), ..Quirks::default() }).await;
    let (_data, setup) = migrated(|setup| bucket.point(setup, None)).await;
    let output = setup.run(&["doctor", "--json"]).await;
    assert_eq!(output.status.code(), Some(0), "{:?}", findings(&output));
    let wrong = wrong(&setup.env("AWS_REGION", "us-east-1")).await;
    assert!(wrong.contains("AWS_REGION") && wrong.contains("the bucket's region is eu-central-1"), "{wrong}");
}

#[tokio::test]
async fn a_store_whose_clock_is_wrong_is_told_by_how_much_and_which_way() {
    for (clock_ahead_secs, words) in [(95, "its clock is 9"), (-95, "its clock is -9")] {
        let bucket = in_process(Quirks { clock_ahead_secs, ..Quirks::default() }).await;
        let (_data, setup) = migrated(|setup| bucket.point(setup, None)).await;
        let wrong = wrong(&setup).await;
        assert!(wrong.starts_with("archive: ") && wrong.contains(words), "{wrong}");
        assert!(wrong.contains("set this machine's clock"), "{wrong}");
    }
}

#[tokio::test]
async fn a_clock_that_is_so_wrong_that_the_store_refuses_is_told_as_the_cause() {
    for (clock_ahead_secs, far) in [(20 * 60, "s behind"), (-20 * 60, "s ahead"), (3 * 3600, "s behind")] {
        let bucket = in_process(Quirks { clock_ahead_secs, ..Quirks::default() }).await;
        let (_data, setup) = migrated(|setup| bucket.point(setup, None)).await;
        let wrong = wrong(&setup).await;
        assert!(wrong.contains("RequestTimeTooSkewed") && wrong.contains(far), "{wrong}");
        assert!(!wrong.contains("s3:ListBucket"), "{wrong}");
        // A process that starts takes a while to ask.
        let told = |secs: i64| wrong.contains(&format!(" {secs} s "));
        assert!((-30..=30).any(|more| told(clock_ahead_secs.abs() + more)), "{wrong}");
    }
}

#[tokio::test]
async fn a_key_that_does_not_exist_or_is_disabled_is_told_by_the_stores_own_code() {
    let bucket = in_process(Quirks::default()).await;
    let (_data, setup) = migrated(|setup| bucket.point(setup, None)).await;
    let wrong = wrong(&setup.env("AWS_ACCESS_KEY_ID", "disabled-key")).await;
    assert!(wrong.contains("InvalidAccessKeyId") && wrong.contains("AWS_ACCESS_KEY_ID"), "{wrong}");
    assert!(!wrong.contains("s3:ListBucket"), "{wrong}");
}

#[tokio::test]
async fn a_proxy_that_refuses_long_bodies_is_told_from_the_store_with_the_setting_that_helps() {
    let gateway = Some(Gateway { status: 413, max_body_bytes: 1_000_000 });
    let bucket = in_process(Quirks { gateway, ..Quirks::default() }).await;
    let (_data, setup) = migrated(|setup| bucket.point(setup, None)).await;
    let wrong = wrong(&setup).await;
    assert!(wrong.contains("HTTP 413") && wrong.contains("nginx/1.24.0"), "{wrong}");
    assert!(wrong.contains("transfer.part_bytes"), "{wrong}");
}

/// A proxy that lets nothing through.
async fn closed_proxy() -> String {
    let refuse =
        async || (http::StatusCode::FORBIDDEN, axum::response::Html("<html><title>Blocked</title></html>"));
    let app = axum::Router::new().fallback(refuse);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    url
}

#[tokio::test]
async fn a_proxy_of_the_environment_that_lets_nothing_through_is_told_by_its_variable() {
    let proxies = [closed_proxy().await, format!("http://127.0.0.1:{}", free_port())];
    let bucket = in_process(Quirks::default()).await;
    let (_data, setup) = migrated(|setup| bucket.point(setup, None)).await;
    for (variable, proxy) in ["HTTP_PROXY", "http_proxy", "ALL_PROXY"].into_iter().zip(proxies.iter().cycle())
    {
        let proxied = setup.clone().env(variable, proxy).env("ZOOM_ARCHIVER_ARCHIVE__S3__MAX_ATTEMPTS", "1");
        let told = wrong(&proxied).await;
        assert!(told.contains(variable) && told.contains("NO_PROXY"), "{told}");
        assert!(!told.contains("s3:ListBucket"), "{told}");
        let output = proxied.env("NO_PROXY", "127.0.0.1").run(&["doctor", "--json"]).await;
        assert_eq!(output.status.code(), Some(0), "{:?}", findings(&output));
    }
}

#[tokio::test]
async fn a_store_that_refuses_to_be_asked_for_checksums_is_well() {
    let unknown_header = Some(UnknownHeader { name: "x-amz-checksum-mode", status: 400, is_named: false });
    let bucket = in_process(Quirks { unknown_header, ..Quirks::default() }).await;
    for checksum in ["auto", "none"] {
        let (_data, setup) = migrated(|setup| bucket.point(setup, None)).await;
        let setup = setup.env("ZOOM_ARCHIVER_ARCHIVE__S3__CHECKSUM", checksum);
        let output = setup.run(&["doctor", "--json"]).await;
        assert_eq!(output.status.code(), Some(0), "{checksum}: {:?}", findings(&output));
    }
}

#[tokio::test]
async fn what_a_store_takes_and_forgets_is_named_by_the_setting_that_asks_for_it() {
    let asks = |setup: Setup| {
        setup
            .env("ZOOM_ARCHIVER_ARCHIVE__S3__TAGS", "team=legal / ops,sum=1+1=2")
            .env("ZOOM_ARCHIVER_ARCHIVE__S3__METADATA", "topic,start")
    };
    for place in [Bucket::new().await, in_process(Quirks::default()).await] {
        let (_data, setup) = migrated(|setup| place.point(asks(setup), None)).await;
        let output = setup.run(&["doctor", "--json"]).await;
        let found = findings(&output);
        assert_eq!(output.status.code(), Some(0), "{found:?}");
        for wanted in ["the tags of archive.s3.tags are kept", "the metadata of archive.s3.metadata is kept"]
        {
            assert!(
                found.iter().any(|(_, verdict, words)| verdict == "well" && words.contains(wanted)),
                "{found:?}"
            );
        }
    }
    let quirks = Quirks { forgets: &[Lack::Tags, Lack::Metadata, Lack::StorageClass], ..Quirks::default() };
    let bucket = in_process(quirks).await;
    let class = |setup: Setup| setup.env("ZOOM_ARCHIVER_ARCHIVE__S3__STORAGE_CLASS", "STANDARD_IA");
    let (_data, setup) = migrated(|setup| bucket.point(class(asks(setup)), None)).await;
    let wrong = wrong(&setup).await;
    assert_eq!(wrong.lines().count(), 2, "{wrong}");
    assert!(wrong.contains("takes the tags of archive.s3.tags and does not keep them"), "{wrong}");
    assert!(wrong.contains("takes the metadata of archive.s3.metadata and does not keep it"), "{wrong}");
    let found = findings(&setup.run(&["doctor", "--json"]).await);
    let is_told = |(_, verdict, words): &(String, String, String)| {
        verdict == "note" && words.contains("does not confirm archive.s3.storage_class")
    };
    assert!(found.iter().any(is_told), "{found:?}");
    assert!(bucket.server.objects(&bucket.name).await.is_empty());
}

#[tokio::test]
async fn a_store_that_does_without_checksums_and_conditions_is_said_to() {
    let quirks = Quirks { rejects_checksums: true, rejects_conditions: true, ..Quirks::default() };
    let bucket = in_process(quirks).await;
    let (_data, setup) = migrated(|setup| bucket.point(setup, None)).await;
    let output = setup.run(&["doctor", "--json"]).await;
    let found = findings(&output);
    assert_eq!(output.status.code(), Some(0), "{found:?}");
    let modes = "chosen: checksum none; against writing over: a look before each write";
    assert!(found.iter().any(|(_, _, words)| words.contains(modes)), "{found:?}");
}

fn locking(setup: Setup) -> Setup {
    setup
        .env("ZOOM_ARCHIVER_ARCHIVE__S3__OBJECT_LOCK_MODE", "governance")
        .env("ZOOM_ARCHIVER_ARCHIVE__S3__OBJECT_LOCK_DAYS", "1")
}

#[tokio::test]
async fn a_bucket_without_locks_is_told_before_anything_is_refused() {
    for bucket in [Bucket::new().await, in_process(Quirks::default()).await] {
        let (_data, setup) = migrated(|setup| locking(bucket.point(setup, None))).await;
        let wrong = wrong(&setup).await;
        assert!(wrong.contains("archive.s3.object_lock_mode"), "{wrong}");
    }
}

#[tokio::test]
async fn a_bucket_with_locks_is_well_and_nothing_is_written_under_one() {
    for server in [S3Server::start().await, S3Server::in_process(Quirks::default()).await] {
        let bucket = Bucket::with_locks(server).await;
        let (_data, setup) = migrated(|setup| locking(bucket.point(setup, None))).await;
        let output = setup.run(&["doctor", "--json"]).await;
        let found = findings(&output);
        assert_eq!(output.status.code(), Some(0), "{found:#?}");
        let is_told = |(subject, verdict, words): &(String, String, String)| {
            subject == "archive" && verdict == "well" && words.contains("the bucket has Object Lock")
        };
        assert!(found.iter().any(is_told), "{found:#?}");
        assert!(bucket.server.objects(&bucket.name).await.is_empty(), "it was removed again");
    }
}

#[tokio::test]
async fn credentials_that_zoom_takes_are_well_and_others_are_named_with_what_to_mend() {
    let zoom = fake_zoom(Options::default()).await;
    let (_data, setup) = migrated(|setup| with_api(setup, &zoom)).await;
    let output = setup.run(&["doctor", "--json"]).await;
    let found = findings(&output);
    assert_eq!(output.status.code(), Some(0), "{found:?}");
    let well = found.iter().filter(|(subject, verdict, _)| subject == "zoom" && verdict == "well");
    assert_eq!(well.count(), 4, "two kinds of recordings, the scopes, and the clocks: {found:?}");

    let setup = setup.env("ZOOM_VIDEO_SDK_API_SECRET", "another secret");
    let wrong = wrong(&setup).await;
    assert!(wrong.contains("ZOOM_VIDEO_SDK_API_SECRET") && !wrong.contains("another secret"), "{wrong}");
}

#[tokio::test]
async fn scopes_for_what_is_not_tried_are_named_when_the_app_lacks_them() {
    const READ: &str =
        "cloud_recording:read:list_account_recordings:admin cloud_recording:read:list_recording_files:admin";
    let zoom = fake_zoom(Options::default()).await;
    let given = async |scope: &str, at_zoom: &str| {
        zoom.library().clear_api_faults();
        let fault = ApiFault::Scope { scope: scope.to_owned() };
        zoom.library().inject_access_token(fault, When::Always);
        let point = |setup| with_api(setup, &zoom).env("ZOOM_ARCHIVER_AFTER_ARCHIVE__AT_ZOOM", at_zoom);
        let (_data, setup) = migrated(point).await;
        let output = setup.run(&["doctor", "--json"]).await;
        let is_of_scopes = |words: &str| words.contains("scopes");
        let found = findings(&output).into_iter().filter(|(_, _, words)| is_of_scopes(words));
        (
            output.status.code(),
            found.map(|(_, verdict, words)| format!("{verdict}: {words}")).collect::<Vec<_>>(),
        )
    };
    // Nobody wants anything removed: only what a person may want is noted.
    let (code, found) = given(READ, "keep").await;
    assert_eq!((code, found.len()), (Some(0), 1), "{found:?}");
    assert!(found[0].starts_with("note: ") && found[0].contains("`recordings recover`"), "{found:?}");
    assert!(
        found[0].contains("tick cloud_recording:update:recover_meeting_recordings:admin and "),
        "{found:?}"
    );
    // What the settings ask for is wrong.
    let (code, found) = given(READ, "trash").await;
    assert_eq!((code, found.len()), (Some(1), 2), "{found:?}");
    assert!(found[1].starts_with("wrong: ") && found[1].contains("after_archive.at_zoom"), "{found:?}");
    assert!(found[1].contains("cloud_recording:delete:meeting_recording:admin"), "{found:?}");
    // So is a token that cannot be renewed.
    let (code, found) = given("cloud_recording:read:list_account_recordings:admin", "keep").await;
    assert_eq!(code, Some(1), "{found:?}");
    assert!(
        found[0].contains("not renewed") && found[0].contains("read:list_recording_files:admin"),
        "{found:?}"
    );
    // An app that has its scopes by older names is believed.
    assert_eq!(given("recording:read:admin recording:write:admin", "trash").await, (Some(0), vec![]));
}

#[tokio::test]
#[ignore = "needs PostgreSQL: scripts/test"]
async fn a_database_that_forgets_and_may_not_be_written_to_is_told_both() {
    let database = Database::postgres().await;
    database.migrate().await.unwrap();
    let mut url = Url::parse(database.url().expose_secret()).unwrap();
    let role = format!("reader_of_{}", url.path().trim_start_matches('/'));
    for sql in [
        format!("CREATE ROLE \"{role}\" LOGIN PASSWORD 'only-a-reader'"),
        format!("GRANT SELECT ON ALL TABLES IN SCHEMA public TO \"{role}\""),
        format!("ALTER ROLE \"{role}\" SET synchronous_commit = off"),
    ] {
        database.execute(&sql).await.unwrap();
    }
    url.set_username(&role).unwrap();
    url.set_password(Some("only-a-reader")).unwrap();
    let data = tempfile::tempdir().unwrap();
    let wrong = wrong(&Setup::new(data.path()).env("DATABASE_URL", url.as_str())).await;
    assert!(wrong.contains("synchronous_commit is off"), "{wrong}");
    assert!(wrong.contains("cannot be written to") && wrong.contains("grant SELECT"), "{wrong}");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: scripts/test"]
async fn a_database_that_is_far_away_is_noted_with_what_suffers_from_it() {
    let database = Database::postgres().await;
    database.migrate().await.unwrap();
    let mut url = Url::parse(database.url().expose_secret()).unwrap();
    let upstream = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap_or(5432));
    let proxy = FaultProxy::start(upstream).await.unwrap();
    url.set_host(Some("127.0.0.1")).unwrap();
    url.set_port(Some(proxy.addr().port())).unwrap();
    let data = tempfile::tempdir().unwrap();
    let setup = Setup::new(data.path()).env("DATABASE_URL", url.as_str());
    let found = async || {
        let output = setup.run(&["doctor", "--json"]).await;
        assert_eq!(output.status.code(), Some(0), "{:?}", findings(&output));
        findings(&output)
    };
    let far = Fault::Slow { latency: Duration::from_millis(100), bytes_per_sec: None };
    proxy.set(far).await;
    let told = found().await;
    let is_slow = |(subject, verdict, words): &(String, String, String)| {
        subject == "database"
            && verdict == "note"
            && words.contains("that is slow")
            && words.contains("near its")
    };
    assert!(told.iter().any(is_slow), "{told:?}");

    proxy.set(Fault::Pass).await;
    let told = found().await;
    let is_new_enough = |(subject, verdict, words): &(String, String, String)| {
        subject == "database" && verdict == "well" && words.contains("14 or newer")
    };
    assert!(told.iter().any(is_new_enough), "{told:?}");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: scripts/test"]
async fn a_user_who_may_open_too_few_connections_is_told_how_many_are_wanted() {
    let database = Database::postgres().await;
    database.migrate().await.unwrap();
    let mut url = Url::parse(database.url().expose_secret()).unwrap();
    let role = format!("limited_in_{}", url.path().trim_start_matches('/'));
    for sql in [
        format!("CREATE ROLE \"{role}\" LOGIN PASSWORD 'a-limited-user' CONNECTION LIMIT 15"),
        format!("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO \"{role}\""),
    ] {
        database.execute(&sql).await.unwrap();
    }
    url.set_username(&role).unwrap();
    url.set_password(Some("a-limited-user")).unwrap();
    let data = tempfile::tempdir().unwrap();
    let setup = Setup::new(data.path()).env("DATABASE_URL", url.as_str());
    let wrong = wrong(&setup).await;
    assert!(wrong.starts_with("database: it lets this user open 15 connections"), "{wrong}");
    assert!(wrong.contains("lets a process open 16") && wrong.contains("store.max_connections"), "{wrong}");
    let output = setup.env("ZOOM_ARCHIVER_STORE__MAX_CONNECTIONS", "15").run(&["doctor", "--json"]).await;
    assert_eq!(output.status.code(), Some(0), "{:?}", findings(&output));
}

#[tokio::test]
#[ignore = "needs PostgreSQL: scripts/test"]
async fn a_server_that_does_not_wait_for_its_disk_and_one_that_only_follows_are_told() {
    let mut server = PrivatePostgres::start().await;
    let data = tempfile::tempdir().unwrap();
    let setup = Setup::new(data.path()).env("DATABASE_URL", server.url());
    assert!(setup.run(&["migrate"]).await.status.success());
    let output = setup.run(&["doctor", "--json"]).await;
    assert_eq!(output.status.code(), Some(0), "{:?}", findings(&output));

    server.execute("ALTER SYSTEM SET fsync = off").await;
    server.stop(Signal::SIGINT).await;
    server.resume().await;
    let told = wrong(&setup).await;
    assert!(told.starts_with("database: fsync is off") && told.contains("set fsync = on"), "{told}");

    server.execute("ALTER SYSTEM RESET fsync").await;
    server.stop(Signal::SIGINT).await;
    server.follow();
    server.resume().await;
    let told = wrong(&setup).await;
    assert!(
        told.contains("a standby that cannot be written to") && told.contains("name the primary"),
        "{told}"
    );
}

#[tokio::test]
async fn a_clock_that_is_not_zooms_is_wrong_whichever_way() {
    for (secs, words) in [(95, "clock is 9"), (-95, "clock is -9")] {
        let zoom = fake_zoom(Options::default()).await;
        for list in [Endpoint::Sessions, Endpoint::Meetings] {
            zoom.library().inject_call(list, ApiFault::ClockAhead { secs }, When::Always);
        }
        let (_data, setup) = migrated(|setup| with_api(setup, &zoom)).await;
        let wrong = wrong(&setup).await;
        assert!(wrong.contains(words) && wrong.contains("set this machine's clock"), "{wrong}");
    }
}

#[tokio::test]
async fn without_credentials_doctor_says_what_cannot_be_done() {
    let (_data, setup) = migrated(|setup| setup).await;
    let output = setup.run(&["doctor", "--json"]).await;
    let found = findings(&output);
    assert_eq!(output.status.code(), Some(0), "{found:?}");
    let told = |(subject, verdict, words): &(String, String, String)| {
        subject == "zoom" && verdict == "note" && words.contains("not renewed")
    };
    assert!(found.iter().any(told), "{found:?}");
}

#[tokio::test]
async fn sessions_that_cannot_be_listed_for_want_of_an_account_id_are_told() {
    let zoom = fake_zoom(Options::default()).await;
    for (account_id, is_told) in [("", true), (ACCOUNT_ID, false)] {
        let setup = |setup| with_api(setup, &zoom).env("ZOOM_VIDEO_SDK_ACCOUNT_ID", account_id);
        let (_data, setup) = migrated(setup).await;
        let found = findings(&setup.run(&["doctor", "--json"]).await);
        let names_it = |(subject, verdict, words): &(String, String, String)| {
            subject == "zoom" && verdict == "note" && words.contains("ZOOM_VIDEO_SDK_ACCOUNT_ID")
        };
        assert_eq!(found.iter().any(names_it), is_told, "{found:?}");
    }
}

#[tokio::test]
async fn a_stopped_database_is_one_clear_sentence() {
    let port = free_port();
    let data = tempfile::tempdir().unwrap();
    let setup = Setup::new(data.path())
        .env("DATABASE_URL", format!("postgres://somebody:hush-hush-hush@127.0.0.1:{port}/za"))
        .env("ZOOM_ARCHIVER_STORE__ACQUIRE_TIMEOUT_MS", "500");
    let wrong = wrong(&setup).await;
    assert!(wrong.contains("database: DATABASE_URL") && !wrong.contains("hush"), "{wrong}");
}

#[tokio::test]
async fn a_database_that_was_never_migrated_is_told_what_to_do() {
    let data = tempfile::tempdir().unwrap();
    let wrong = wrong(&Setup::new(data.path())).await;
    assert!(wrong.contains("migrate"), "{wrong}");
}

/// Starts with a look at whether the archive can be written to, waits until it is over, and gives what it warns of; the
/// service must be ready all the same, and end as one that is well.
async fn warned_of_at_start(setup: Setup) -> (Vec<Value>, Log) {
    let service = setup.env("ZOOM_ARCHIVER_ARCHIVE__TRY_AT_START", "true").start().await;
    let is_over =
        |line: &Value| line["message"].as_str().is_some_and(|words| words.starts_with("looked around"));
    let over = service.log.wait_for(is_over).await;
    let ready = reqwest::get(format!("http://{}/readyz", service.public_addr())).await.unwrap();
    assert_eq!(ready.status(), 200);
    let (code, log) = service.stop().await;
    assert_eq!(code, Some(0), "{}", log.text());
    let warns = |line: &Value| line["level"] == "WARN" && !line["doctor.subject"].is_null();
    let warned: Vec<_> = log.lines().into_iter().filter(warns).collect();
    assert_eq!(over["doctor.wrong"], warned.len());
    (warned, log)
}

#[tokio::test]
async fn a_start_where_all_is_well_warns_of_nothing_and_leaves_nothing_in_the_archive() {
    for place in [Place::directory(), Place::Bucket(in_process(Quirks::default()).await)] {
        let data = tempfile::tempdir().unwrap();
        let (warned, log) = warned_of_at_start(place.point(Setup::new(data.path()))).await;
        assert!(warned.is_empty(), "{warned:?}");
        // It is no trouble, but worth a line.
        let notes = |line: &Value| line["doctor.subject"] == "zoom" && line["level"] == "INFO";
        assert!(log.lines().iter().any(notes), "{}", log.text());
        assert!(place.objects().await.is_empty());
        if let Place::Bucket(bucket) = &place {
            assert_eq!(bucket.server.unfinished(&bucket.name).await, 0);
        }
    }
}

#[tokio::test]
async fn a_key_that_may_only_read_is_warned_of_when_the_service_starts() {
    let bucket = in_process(Quirks { denies: &["s3:PutObject"], ..Quirks::default() }).await;
    let data = tempfile::tempdir().unwrap();
    let (warned, log) = warned_of_at_start(bucket.point(Setup::new(data.path()), None)).await;
    assert_eq!(warned.len(), 1, "{}", log.text());
    let words = warned[0]["message"].as_str().unwrap();
    assert!(words.starts_with("archive: ") && words.contains("s3:PutObject"), "{words}");
}

#[tokio::test]
async fn a_bucket_that_is_away_is_warned_of_when_the_service_starts() {
    let bucket = in_process(Quirks::default()).await;
    let data = tempfile::tempdir().unwrap();
    let setup = bucket.point(Setup::new(data.path()), Some(format!("http://127.0.0.1:{}", free_port())));
    let (warned, log) = warned_of_at_start(setup).await;
    assert_eq!(warned.len(), 1, "{}", log.text());
    assert_eq!(warned[0]["doctor.subject"], "archive");
}
