//! `status`: what is stuck, why, and which command goes on from there.

use std::process::Output;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::private::PrivatePostgres;
use crate::support::service::Setup;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
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
async fn a_server_that_is_stopped_is_told_with_its_address_and_the_command_that_looks_at_it() {
    let Some(mut server) = PrivatePostgres::start().await else { return };
    let data = tempfile::tempdir().unwrap();
    let setup = Setup::new(data.path()).env("DATABASE_URL", server.url()).roles("receiver");
    let setup = setup.env("ZOOM_ARCHIVER_STORE__ACQUIRE_TIMEOUT_MS", "1500");
    let service = setup.start().await;
    assert!(setup.run(&["status"]).await.status.success());

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
