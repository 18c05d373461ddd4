//! What a store is asked for beside the content: class, encryption, tags, metadata, locks. On the store that
//! `TEST_S3_ENDPOINT` names, where that one has them.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use percent_encoding::percent_decode_str;
use s3s::S3ErrorCode;
use zoom_archiver::archive::{ArchiveError, NewObject, SharedArchive, StoredObject};
use zoom_archiver::config::archive::{ChecksumMode, Encryption, LockMode, S3Config};

use crate::archive_contract::{KEY, PREFIX, content, object, proof, put, send_parts, three_parts};
use crate::support::s3::{Lack, Quirks, S3Server, default_config};

const TOPIC: &str = "Über  uns: 100 % – レッスン 🎓";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn with_facts(key: &str) -> NewObject {
    let facts = [("topic", TOPIC), ("file_type", "MP4"), ("account", "not asked for")];
    NewObject { facts: facts.map(|(name, value)| (name.to_owned(), value.to_owned())).into(), ..object(key) }
}

fn list(items: &[&str]) -> Vec<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

fn locked(mode: LockMode) -> S3Config {
    S3Config { object_lock_mode: mode, object_lock_days: 2, legal_hold: true, ..default_config() }
}

/// The three ways into the archive, each under a key of its own.
async fn write(archive: &SharedArchive, way: &str) -> Result<StoredObject, ArchiveError> {
    let object = with_facts(way);
    match way {
        "put" => {
            let body = content(1000, 1);
            archive.put(&object, body.clone(), &proof(&body)).await
        }
        "parts" => {
            let file = three_parts();
            let upload = archive.begin(&object).await?;
            let parts = send_parts(archive, &upload, &file).await;
            archive.complete(&upload, &parts, &proof(&file)).await
        }
        _ => archive.replace(&object, Bytes::from_static(b"{}")).await,
    }
}

const WAYS: [&str; 3] = ["put", "parts", "replace"];

#[tokio::test]
async fn a_file_has_the_class_the_tags_and_the_metadata_that_were_asked_for() {
    let server = S3Server::start().await;
    let bucket = server.create_bucket().await;
    let config = S3Config {
        storage_class: "REDUCED_REDUNDANCY".to_owned(),
        tags: list(&["team=R+D / ops", "sum=1+1=2"]),
        metadata: list(&["topic", "file_type", "instance"]),
        ..default_config()
    };
    let archive = server.archive(&bucket, PREFIX, &config).await;
    for way in WAYS {
        write(&archive, way).await.unwrap();
        let key = format!("{PREFIX}{way}");
        let described = server.described(&bucket, &key).await;
        // A manifest is read and written again: it keeps the bucket's class.
        let class = (way != "replace").then_some("REDUCED_REDUNDANCY");
        assert_eq!(described.storage_class().map(|class| class.as_str()), class, "{way}");
        let metadata = described.metadata().unwrap();
        assert_eq!(percent_decode_str(&metadata["topic"]).decode_utf8().unwrap(), TOPIC, "{way}");
        assert_eq!(metadata["file-type"], "MP4", "{way}");
        assert_eq!(metadata.len(), 2, "{way}: {metadata:?}");
        let tags = [("sum", "1+1=2"), ("team", "R+D / ops")];
        assert_eq!(
            server.tags(&bucket, &key).await,
            tags.map(|(k, v)| (k.to_owned(), v.to_owned())),
            "{way}"
        );
    }
}

#[tokio::test]
async fn objects_are_encrypted_as_asked() {
    let (server, kms_key_id) = S3Server::start_with_encryption().await;
    for (encryption, word) in [(Encryption::Aes256, "AES256"), (Encryption::Kms, "aws:kms")] {
        let with_key = encryption == Encryption::Kms;
        let bucket = server.create_bucket().await;
        let config = S3Config {
            server_side_encryption: encryption,
            kms_key_id: if with_key { kms_key_id.clone() } else { String::new() },
            ..default_config()
        };
        let archive = server.archive(&bucket, PREFIX, &config).await;
        for way in WAYS {
            write(&archive, way).await.unwrap();
            let described = server.described(&bucket, &format!("{PREFIX}{way}")).await;
            let kept = described.server_side_encryption().map(|kept| kept.as_str());
            assert_eq!(kept, Some(word), "{way}");
            let key = described.ssekms_key_id().unwrap_or_default();
            assert_eq!(key.ends_with(&kms_key_id), with_key, "{way}: {key}");
        }
    }
}

/// Not every store can.
#[tokio::test]
async fn objects_are_encrypted_twice_as_asked_or_refused_by_the_name_of_the_setting() {
    let here = (S3Server::in_process(Quirks::default()).await, "any-key".to_owned());
    let elsewhere = S3Server::start_with_encryption().await;
    for ((server, kms_key_id), may_lack) in [(here, false), (elsewhere, true)] {
        let bucket = server.create_bucket().await;
        let server_side_encryption = Encryption::KmsTwice;
        let config = S3Config { server_side_encryption, kms_key_id: kms_key_id.clone(), ..default_config() };
        let archive = server.archive(&bucket, PREFIX, &config).await;
        for way in WAYS {
            match write(&archive, way).await {
                Ok(_) => {
                    let described = server.described(&bucket, &format!("{PREFIX}{way}")).await;
                    let kept = described.server_side_encryption().map(|kept| kept.as_str());
                    assert_eq!(kept, Some("aws:kms:dsse"), "{way}");
                    assert!(described.ssekms_key_id().unwrap().ends_with(&kms_key_id), "{way}");
                }
                Err(ArchiveError::Refused(text)) if may_lack => {
                    assert!(text.contains("archive.s3.server_side_encryption"), "{way}: {text}");
                }
                Err(other) => panic!("{way}: {other}"),
            }
        }
    }
}

#[tokio::test]
async fn what_is_locked_is_kept_until_its_time() {
    let server = S3Server::start().await;
    for (mode, word) in [(LockMode::Governance, "GOVERNANCE"), (LockMode::Compliance, "COMPLIANCE")] {
        // Without a checksum, S3 wants a Content-MD5.
        for checksum in [ChecksumMode::Auto, ChecksumMode::None] {
            let bucket = server.create_bucket_with_locks().await;
            let config = S3Config { checksum, ..locked(mode) };
            let archive = server.archive(&bucket, PREFIX, &config).await;
            for way in WAYS {
                let version = write(&archive, way).await.unwrap().version_id.unwrap();
                let key = format!("{PREFIX}{way}");
                let described = server.described(&bucket, &key).await;
                assert_eq!(described.object_lock_mode().map(|mode| mode.as_str()), Some(word), "{way}");
                let until =
                    SystemTime::try_from(*described.object_lock_retain_until_date().unwrap()).unwrap();
                let lasts = until.duration_since(SystemTime::now()).unwrap();
                assert!((2 * DAY - DAY / 24..=2 * DAY).contains(&lasts), "{way}: {lasts:?}");
                let hold = described.object_lock_legal_hold_status().map(|hold| hold.as_str());
                assert_eq!(hold, Some("ON"), "{way}");
                assert!(!server.removes(&bucket, &key, &version).await, "{way}");
            }
        }
    }
}

#[tokio::test]
async fn a_locked_manifest_is_replaced_by_a_version_that_leaves_the_older_one_alone() {
    let server = S3Server::start().await;
    let bucket = server.create_bucket_with_locks().await;
    let archive = server.archive(&bucket, PREFIX, &locked(LockMode::Compliance)).await;
    let key = format!("{PREFIX}recording.json");
    let mut versions = Vec::new();
    for body in ["{\"files\":1}", "{\"files\":2}"] {
        let stored = archive.replace(&object("recording.json"), Bytes::from(body)).await.unwrap();
        versions.push(stored.version_id.unwrap());
        assert_eq!(server.bytes(&bucket, &key).await.unwrap(), body);
    }
    assert_eq!(server.bytes_of(&bucket, &key, Some(&versions[0])).await.unwrap(), "{\"files\":1}");
    assert!(!server.removes(&bucket, &key, &versions[0]).await);
}

/// The errors of all three ways, each of which must be a refusal that names the setting and the store's code.
async fn assert_refused(archive: &SharedArchive, ways: &[&str], setting: &str, code: &str) {
    for way in ways {
        match write(archive, way).await {
            Err(ArchiveError::Refused(text)) => {
                assert!(text.contains(&format!("archive.s3.{setting}")), "{way}: {text}");
                assert!(text.contains(code) && text.contains(way), "{way}: {text}");
            }
            other => panic!("{way}: {setting}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_option_that_the_store_lacks_is_refused_by_the_name_of_its_setting() {
    let class = || S3Config { storage_class: "DEEP_ARCHIVE".to_owned(), ..default_config() };
    let cases = [
        (&[Lack::StorageClass][..], class(), "storage_class", "InvalidStorageClass", &WAYS[..2]),
        (
            &[Lack::Encryption],
            S3Config { server_side_encryption: Encryption::Aes256, ..default_config() },
            "server_side_encryption",
            "NotImplemented",
            &WAYS,
        ),
        (
            &[Lack::KmsKey],
            S3Config {
                server_side_encryption: Encryption::Kms,
                kms_key_id: "none".to_owned(),
                ..default_config()
            },
            "kms_key_id",
            "KMS.NotFoundException",
            &WAYS,
        ),
        (
            &[Lack::Tags],
            S3Config { tags: list(&["a=b"]), ..default_config() },
            "tags",
            "NotImplemented",
            &WAYS,
        ),
        (
            &[Lack::Metadata],
            S3Config { metadata: list(&["topic"]), ..default_config() },
            "metadata",
            "MetadataTooLarge",
            &WAYS,
        ),
    ];
    for (lacks, config, setting, code, ways) in cases {
        let server = S3Server::in_process(Quirks { lacks, ..Quirks::default() }).await;
        let bucket = server.create_bucket().await;
        let archive = server.archive(&bucket, PREFIX, &config).await;
        assert_refused(&archive, ways, setting, code).await;
        assert_eq!(server.objects(&bucket).await, Vec::<String>::new());
        // It was not taken for a lack of something that can be done without.
        let before = server.count(|counts| &counts.requests);
        write(&archive, "put").await.unwrap_err();
        assert_eq!(server.count(|counts| &counts.requests) - before, 1, "{setting}");
        let plain = server.archive(&bucket, PREFIX, &default_config()).await;
        assert!(write(&plain, "put").await.unwrap().checksum.is_some(), "{setting}");
    }
}

#[tokio::test]
async fn a_class_that_the_store_does_not_know_is_refused() {
    let server = S3Server::start_or(Quirks { lacks: &[Lack::StorageClass], ..Quirks::default() }).await;
    let bucket = server.create_bucket().await;
    let config = S3Config { storage_class: "FLOPPY_DISK".to_owned(), ..default_config() };
    let archive = server.archive(&bucket, PREFIX, &config).await;
    assert_refused(&archive, &WAYS[..2], "storage_class", "InvalidStorageClass").await;
}

#[tokio::test]
async fn locks_on_a_bucket_without_them_are_refused() {
    let server = S3Server::start().await;
    let bucket = server.create_bucket().await;
    let retention =
        S3Config { object_lock_mode: LockMode::Governance, object_lock_days: 1, ..default_config() };
    let hold = S3Config { legal_hold: true, ..default_config() };
    for (config, setting) in [(retention, "object_lock_mode"), (hold, "legal_hold")] {
        let archive = server.archive(&bucket, PREFIX, &config).await;
        assert_refused(&archive, &WAYS, setting, "InvalidRequest").await;
    }
    assert_eq!(server.objects(&bucket).await, Vec::<String>::new());
}

#[tokio::test]
async fn missing_rights_for_an_option_are_named_with_its_setting() {
    let server =
        S3Server::in_process(Quirks { answers: Some(S3ErrorCode::AccessDenied), ..Quirks::default() }).await;
    let bucket = server.create_bucket().await;
    let config = S3Config { tags: list(&["a=b"]), ..locked(LockMode::Governance) };
    let archive = server.archive(&bucket, PREFIX, &config).await;
    let Err(ArchiveError::Unavailable(text)) = write(&archive, "put").await else { panic!("it was taken") };
    for right in ["s3:PutObject,", "s3:PutObjectTagging", "s3:PutObjectRetention", "s3:PutObjectLegalHold"] {
        assert!(text.contains(right), "{text}");
    }
    assert!(text.contains("archive.s3.tags"), "{text}");
}

#[tokio::test]
async fn whether_options_are_kept_is_looked_at_once() {
    let server = S3Server::in_process(Quirks::default()).await;
    let bucket = server.create_bucket().await;
    let config = S3Config { storage_class: "STANDARD_IA".to_owned(), ..default_config() };
    let archive = server.archive(&bucket, PREFIX, &config).await;
    for (key, requests) in [("first", 2), ("second", 1), (KEY, 1)] {
        let before = server.count(|counts| &counts.requests);
        put(&archive, key, &content(1000, 1)).await.unwrap();
        assert_eq!(server.count(|counts| &counts.requests) - before, requests, "{key}");
    }
}
