//! The schema: its steps, on rows that were there before, and what it refuses to hold.

use std::time::Duration;

use secrecy::ExposeSecret;
use serde_json::Value;
use tempfile::TempDir;
use zoom_archiver::domain::file::FileState;
use zoom_archiver::store::{self, Migrated, StoreError};

use crate::support::database::{Database, NEWEST, config, on_each_database};
use crate::support::delivery::status_of;
use crate::support::service::Setup;

/// A literal of 16 bytes that end in `n`, as either database writes an id.
fn id(database: &Database, n: u8) -> String {
    match database.kind() {
        "postgres" => format!("'00000000-0000-7000-8000-0000000000{n:02x}'"),
        _ => format!("x'0000000000007000800000000000{n:04x}'"),
    }
}

/// A literal of a point in time.
fn moment(database: &Database) -> &'static str {
    match database.kind() {
        "postgres" => "'2026-03-01T12:00:00Z'",
        _ => "1772366400000",
    }
}

/// A recording with one file that waits for its transfer, as version 1 of the schema holds them.
async fn insert_rows_of_version_1(database: &Database) {
    let (recording, event, file) = (id(database, 1), id(database, 2), id(database, 3));
    let time = moment(database);
    let body = if database.kind() == "postgres" { r"'\x7b7d'" } else { "x'7b7d'" };
    for statement in [
        format!(
            "INSERT INTO recordings (id, account_id, kind, instance_id, metadata, announced_at)
             VALUES ({recording}, 'account', 'meeting', 'uuid==', '{{}}', {time})"
        ),
        format!(
            "INSERT INTO events (id, received_at, name, body, recording_id)
             VALUES ({event}, {time}, 'recording.completed', {body}, {recording})"
        ),
        format!(
            "INSERT INTO files (id, recording_id, collection, name, recording_type, file_type, extension,
                metadata, download_url, state, first_event_id, announced_at, updated_at)
             VALUES ({file}, {recording}, 'recording_files', 'a', '', 'MP4', 'mp4', '{{}}', 'https://zoom.us/a',
                'pending', {event}, {time}, {time})"
        ),
    ] {
        database.execute(&statement).await.expect("the row is inserted");
    }
}

/// A transfer that waits, as version 2 of the schema holds it.
async fn insert_rows_of_version_2(database: &Database) {
    let (job, file, time) = (id(database, 4), id(database, 3), moment(database));
    let insert = format!(
        "INSERT INTO jobs (id, kind, subject, state, run_at, created_at, updated_at)
         VALUES ({job}, 'transfer', {file}, 'waiting', {time}, {time}, {time})"
    );
    database.execute(&insert).await.expect("the row is inserted");
}

async fn every_step_is_taken_over_the_rows_of_the_one_before(database: Database) {
    database.migrate_to(1).await;
    insert_rows_of_version_1(&database).await;
    database.migrate_to(2).await;
    insert_rows_of_version_2(&database).await;
    assert_eq!(database.migrate().await.expect("the rest is taken"), Migrated { from: 2, to: NEWEST });
    assert_eq!(database.migrate().await.expect("nothing is left"), Migrated { from: NEWEST, to: NEWEST });

    let store = database.open().await;
    let files = store.files(&[], None, 10).await.unwrap();
    assert_eq!(files[0].state, FileState::Pending);
    let jobs = store.claim("worker", 10, Duration::from_secs(60), &[]).await.unwrap();
    assert_eq!(jobs[0].task.subject(), files[0].id.0);
    assert_eq!(jobs[0].account.as_deref(), Some("account"), "the account of its recording");
}

/// The version of the schema before which a meeting and a webinar of one id were two recordings.
const BEFORE_ONE_IDENTITY: i64 = 5;

async fn a_meeting_and_a_webinar_of_one_id_become_one_recording_and_nothing_is_forgotten(database: Database) {
    database.migrate_to(1).await;
    insert_rows_of_version_1(&database).await;
    database.migrate_to(2).await;
    insert_rows_of_version_2(&database).await;
    database.migrate_to(BEFORE_ONE_IDENTITY).await;
    let [meeting, event, webinar, manifest] = [1, 2, 11, 14].map(|n| id(&database, n));
    let time = moment(&database);
    let insert_file = |file: u8, recording: &str, name: &str| {
        format!(
            "INSERT INTO files (id, recording_id, collection, name, recording_type, file_type, extension, metadata,
                state, first_event_id, announced_at, updated_at)
             VALUES ({}, {recording}, 'recording_files', '{name}', '', 'MP4', 'mp4', '{{}}', 'pending', {event},
                {time}, {time})",
            id(&database, file)
        )
    };
    for statement in [
        format!(
            "INSERT INTO recordings (id, account_id, kind, instance_id, metadata, announced_at)
             SELECT {webinar}, account_id, 'webinar', instance_id, metadata, announced_at FROM recordings"
        ),
        "UPDATE recordings SET folder = 'account/' || kind".to_owned(),
        // One that both have, and one of each.
        insert_file(12, &webinar, "a"),
        insert_file(13, &webinar, "b"),
        insert_file(15, &meeting, "summary"),
        format!(
            "INSERT INTO jobs (id, kind, subject, state, run_at, created_at, updated_at, finished_at)
             VALUES ({manifest}, 'manifest', {meeting}, 'done', {time}, {time}, {time}, {time})"
        ),
    ] {
        assert_eq!(database.execute(&statement).await.unwrap_or(0).min(1), 1, "{statement}");
    }
    database.migrate().await.expect("the rest is taken");

    let store = database.open().await;
    let rows = database.texts("SELECT kind FROM recordings").await;
    assert_eq!(rows, ["webinar"]);
    let files = store.files(&[], None, 10).await.unwrap();
    let (recording, own) = store.recording(files[0].recording_id).await.unwrap().expect("the webinar");
    assert_eq!((files.len(), own.len()), (4, 4), "{own:?}");
    assert_eq!(recording.folder.as_deref(), Some("account/webinar"));
    let events = database.number("SELECT count(*) FROM events WHERE recording_id IS NOT NULL").await;
    assert_eq!(events, 1);
    let jobs = store.claim("worker", 10, Duration::from_secs(60), &[]).await.unwrap();
    let manifests: Vec<_> = jobs.iter().filter(|job| job.task.subject() == recording.id.0).collect();
    assert_eq!(manifests.len(), 1, "its manifest is written again: {jobs:?}");
}

/// The version of the schema before which a file could not be there without the event that had announced it.
const BEFORE_RETENTION: i64 = 10;

/// Everything that stands in the table of files, by the names of its columns.
async fn files_in_words(database: &Database) -> Vec<String> {
    if database.kind() == "postgres" {
        return database.texts("SELECT to_jsonb(files)::text FROM files ORDER BY name").await;
    }
    let columns = database.texts("SELECT name FROM pragma_table_info('files') ORDER BY name").await;
    let words: Vec<_> = columns.iter().map(|column| format!("'{column}: ' || quote({column})")).collect();
    database.texts(&format!("SELECT {} FROM files ORDER BY name", words.join(" || '; ' || "))).await
}

async fn a_file_stays_as_it_is_when_it_lets_go_of_its_event(database: Database) {
    database.migrate_to(1).await;
    insert_rows_of_version_1(&database).await;
    database.migrate_to(BEFORE_RETENTION).await;
    let (second, time) = (id(&database, 20), moment(&database));
    let bytes =
        if database.kind() == "postgres" { "decode(repeat('07', 32), 'hex')" } else { "zeroblob(32)" };
    for statement in [
        format!(
            "INSERT INTO files (id, recording_id, collection, name, recording_type, file_type, extension, metadata,
                state, first_event_id, announced_at, updated_at)
             SELECT {second}, recording_id, collection, 'b', recording_type, file_type, extension, metadata, state,
                first_event_id, announced_at, updated_at FROM files"
        ),
        format!(
            "UPDATE files SET reason = 'why', recording_start = {time}, announced_bytes = 5, download_token = 't',
                token_expires_at = {time}, renewable = false, loses_at = {time}, content = {bytes},
                decided_by = 'twin', proven_bytes = 6, proven_sha256 = {bytes} WHERE name = 'a'"
        ),
        format!(
            "UPDATE files SET state = 'archived', object_key = 'key', bytes = 7, sha256 = {bytes},
                content_type = 'type', store_checksum = 'crc64nvme:AAECAwQFBgc=', etag = 'etag', version_id = 'version', mark = 'mark',
                archived_at = {time}, verified_at = {time}, finding = 'size', finding_detail = 'why'
             WHERE name = 'b'"
        ),
    ] {
        assert_eq!(database.execute(&statement).await.unwrap(), 1, "{statement}");
    }
    let before = files_in_words(&database).await;
    database.migrate_to(BEFORE_RETENTION + 1).await;
    assert_eq!(files_in_words(&database).await, before);
    assert_eq!(database.execute("DELETE FROM events").await.unwrap(), 1);
    assert_eq!(files_in_words(&database).await, before);
    let orphaned = database.execute(&format!("UPDATE files SET recording_id = {}", id(&database, 99))).await;
    assert!(orphaned.is_err(), "a file is of a recording as before");
    database.migrate().await.expect("the rest is taken");
    assert_eq!(database.open().await.files(&[], None, 10).await.unwrap().len(), 2);
}

async fn an_interrupted_migration_goes_on_where_it_stopped(database: Database) {
    database.migrate_to(1).await;
    insert_rows_of_version_1(&database).await;
    assert_eq!(database.migrate().await.expect("the rest is taken"), Migrated { from: 1, to: NEWEST });
    assert_eq!(database.open().await.files(&[], None, 10).await.unwrap().len(), 1);
}

async fn two_migrators_at_once_take_each_step_once(database: Database) {
    let (url, config) = (database.url().clone(), config());
    let mut migrators = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let (url, config) = (url.clone(), config.clone());
        migrators.spawn(async move { store::migrate(&url, &config).await.expect("every one succeeds") });
    }
    let migrated = migrators.join_all().await;
    let worked: Vec<_> = migrated.iter().filter(|migrated| migrated.from == 0).collect();
    assert_eq!(worked.len(), 1, "{migrated:?}");
    assert!(migrated.iter().all(|migrated| migrated.to == NEWEST), "{migrated:?}");
    assert_eq!(database.number("SELECT count(*) FROM _sqlx_migrations").await, NEWEST);
}

async fn a_schema_from_the_future_is_left_alone(database: Database) {
    database.migrate().await.expect("the schema is migrated");
    let future = format!("UPDATE _sqlx_migrations SET version = 77 WHERE version = {NEWEST}");
    database.execute(&future).await.unwrap();
    let refused = database.migrate().await.expect_err("this version does not know step 77");
    assert!(matches!(refused, StoreError::Migration(_)), "{refused:?}");
}

async fn a_service_that_runs_goes_on_under_a_newer_schema_and_not_under_an_older_one(database: Database) {
    const EVENT: &str =
        r#"{"event":"recording.completed","payload":{"object":{"uuid":"u","recording_files":[]}}}"#;
    let data = TempDir::new().unwrap();
    let setup = Setup::new(data.path()).env("DATABASE_URL", database.url().expose_secret()).roles("receiver");
    let service = setup.start().await;
    let ready = async || {
        let url = format!("http://{}/readyz", service.public_addr());
        reqwest::get(url).await.unwrap().status().as_u16()
    };
    assert_eq!(ready().await, 200);
    // As the next release leaves it, which has taken a step more.
    let step = format!(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         SELECT version + 1, 'later', success, checksum, execution_time FROM _sqlx_migrations WHERE version = {NEWEST}"
    );
    assert_eq!(database.execute(&step).await.unwrap(), 1);
    assert_eq!((ready().await, ready().await), (200, 200));
    assert_eq!(status_of(&service.webhook(), EVENT).await, 200);
    assert_eq!(database.number("SELECT count(*) FROM events").await, 1);

    let (code, log) = setup.spawn().ended().await;
    assert_eq!(code, Some(1), "one that starts is refused: {}", log.text());

    let back = format!("DELETE FROM _sqlx_migrations WHERE version >= {NEWEST}");
    assert_eq!(database.execute(&back).await.unwrap(), 2);
    assert_eq!(ready().await, 503);
    let (code, log) = service.stop().await;
    assert_eq!(code, Some(0));
    let told = |line: &Value| {
        line["level"] == "WARN" && line["message"].as_str().is_some_and(|it| it.contains("newer release"))
    };
    assert_eq!(log.lines().iter().filter(|line| told(line)).count(), 1, "{}", log.text());
}

async fn what_contradicts_the_picture_of_the_states_is_refused(database: Database) {
    database.migrate().await.expect("the schema is migrated");
    insert_rows_of_version_1(&database).await;
    insert_rows_of_version_2(&database).await;
    let time = moment(&database);
    let wrong = [
        "UPDATE jobs SET state = 'sleeping'".to_owned(),
        "UPDATE jobs SET state = 'running'".to_owned(),
        format!("UPDATE jobs SET state = 'running', lease_owner = 'w', lease_expires_at = {time}"),
        "UPDATE jobs SET lease_owner = 'w'".to_owned(),
        format!("UPDATE jobs SET lease_expires_at = {time}"),
        "UPDATE jobs SET state = 'parked', reason = 'why'".to_owned(),
        "UPDATE jobs SET state = 'parked', waits_for = 'token'".to_owned(),
        "UPDATE jobs SET state = 'parked', waits_for = 'rain', reason = 'why'".to_owned(),
        "UPDATE jobs SET waits_for = 'token'".to_owned(),
        "UPDATE jobs SET state = 'done'".to_owned(),
        format!("UPDATE jobs SET state = 'done', finished_at = {time}, checkpoint = '1'"),
        format!("UPDATE jobs SET state = 'dead', finished_at = {time}"),
        format!("UPDATE jobs SET finished_at = {time}"),
        "UPDATE jobs SET wanted_again = true".to_owned(),
        "UPDATE jobs SET attempts = -1".to_owned(),
        "UPDATE files SET state = 'lost'".to_owned(),
        "UPDATE files SET state = 'parked'".to_owned(),
        "UPDATE files SET state = 'archived', download_url = NULL".to_owned(),
        "UPDATE files SET bytes = 1".to_owned(),
        format!("UPDATE files SET archived_at = {time}"),
        format!("UPDATE files SET recording_id = {}", id(&database, 99)),
        "UPDATE events SET unreadable = 'why'".to_owned(),
        format!("UPDATE recordings SET state = 'lost', state_at = {time}"),
        "UPDATE recordings SET state = 'trashed'".to_owned(),
        format!("UPDATE recordings SET state_at = {time}"),
        format!("UPDATE recordings SET transcript = 'late', transcript_at = {time}"),
        "UPDATE recordings SET summary = 'completed'".to_owned(),
        format!("UPDATE files SET token_expires_at = {time}"),
        format!("UPDATE files SET state = 'gone', reason = 'why', download_url = NULL, loses_at = {time}"),
        "UPDATE files SET state = 'gone', reason = 'why'".to_owned(),
        format!("UPDATE files SET verified_at = {time}"),
        "UPDATE files SET finding = 'missing'".to_owned(),
        "UPDATE files SET finding_detail = 'why'".to_owned(),
        "UPDATE files SET proven_bytes = 1".to_owned(),
        format!("INSERT INTO pruned (table_name, kind, rows, until) VALUES ('files', 'a', 1, {time})"),
        format!("INSERT INTO pruned (table_name, kind, rows, until) VALUES ('jobs', 'a', 0, {time})"),
    ];
    for statement in wrong {
        let refused = database.execute(&statement).await;
        assert!(matches!(refused, Err(sqlx::Error::Database(_))), "{statement}: {refused:?}");
    }
    let right = format!(
        "UPDATE jobs SET state = 'running', lease_owner = 'w', lease_expires_at = {time}, lease_token = 1"
    );
    assert_eq!(database.execute(&right).await.unwrap(), 1);
}

async fn a_second_row_of_one_identity_is_refused(database: Database) {
    database.migrate().await.expect("the schema is migrated");
    insert_rows_of_version_1(&database).await;
    insert_rows_of_version_2(&database).await;
    let new = id(&database, 50);
    for copy in [
        format!(
            "INSERT INTO recordings (id, account_id, kind, instance_id, metadata, announced_at)
             SELECT {new}, account_id, kind, instance_id, metadata, announced_at FROM recordings"
        ),
        format!(
            "INSERT INTO files (id, recording_id, collection, name, recording_type, file_type, extension,
                metadata, state, first_event_id, announced_at, updated_at)
             SELECT {new}, recording_id, collection, name, recording_type, file_type, extension,
                metadata, state, first_event_id, announced_at, updated_at FROM files"
        ),
        format!(
            "INSERT INTO jobs (id, kind, subject, state, run_at, created_at, updated_at)
             SELECT {new}, kind, subject, state, run_at, created_at, updated_at FROM jobs"
        ),
    ] {
        let refused = database.execute(&copy).await.expect_err("the identity is taken");
        let refused = refused.into_database_error().expect("the database refuses");
        assert!(refused.is_unique_violation(), "{copy}: {refused}");
    }
}

async fn no_index_holds_what_a_heartbeat_changes(database: Database) {
    database.migrate().await.expect("the schema is migrated");
    let indexes = match database.kind() {
        "postgres" => "SELECT indexdef FROM pg_indexes WHERE tablename = 'jobs'",
        _ => "SELECT sql FROM sqlite_schema WHERE type = 'index' AND tbl_name = 'jobs' AND sql IS NOT NULL",
    };
    let indexes = database.texts(indexes).await;
    assert!(indexes.len() >= 2, "{indexes:?}");
    for column in ["lease_expires_at", "updated_at", "checkpoint"] {
        assert!(indexes.iter().all(|index| !index.contains(column)), "{column}: {indexes:?}");
    }
}

on_each_database! {
    every_step_is_taken_over_the_rows_of_the_one_before,
    a_meeting_and_a_webinar_of_one_id_become_one_recording_and_nothing_is_forgotten,
    a_file_stays_as_it_is_when_it_lets_go_of_its_event,
    an_interrupted_migration_goes_on_where_it_stopped,
    two_migrators_at_once_take_each_step_once,
    a_schema_from_the_future_is_left_alone,
    a_service_that_runs_goes_on_under_a_newer_schema_and_not_under_an_older_one,
    what_contradicts_the_picture_of_the_states_is_refused,
    a_second_row_of_one_identity_is_refused,
    no_index_holds_what_a_heartbeat_changes,
}

#[tokio::test]
async fn a_database_that_does_not_answer_is_unavailable_and_its_password_is_not_told() {
    // Port 1 of the loopback: nobody listens there.
    let url = "postgres://user:hunter2@127.0.0.1:1/db".to_owned().into();
    for error in [
        store::migrate(&url, &config()).await.expect_err("nobody answers"),
        store::open(&url, &store_config_in_a_hurry()).await.err().expect("nobody answers"),
    ] {
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}

/// A pool goes on trying to connect for as long as one may wait for a connection.
fn store_config_in_a_hurry() -> zoom_archiver::config::store::StoreConfig {
    zoom_archiver::config::store::StoreConfig { acquire_timeout_ms: 200, ..config() }
}

#[tokio::test]
async fn opening_does_not_create_a_database() {
    let folder = TempDir::new().expect("a temporary folder");
    let path = folder.path().join("store.db");
    let url = format!("sqlite:{}", path.display()).into();
    let error = store::open(&url, &config()).await.err().expect("there is no database");
    assert!(matches!(error, StoreError::Schema { found: 0, .. }), "{error:?}");
    assert!(!path.exists());
}
