//! What every archive promises, on a directory and on an S3 store; then what only one of them can break.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use s3s::S3ErrorCode;
use secrecy::ExposeSecret;
use sha2::{Digest, Sha256};
use zoom_archiver::archive::directory::DirectoryArchive;
use zoom_archiver::archive::location::S3Location;
use zoom_archiver::archive::s3::{Access, S3Archive};
use zoom_archiver::archive::{
    self, Archive, ArchiveError, MOST_UNFINISHED, NewObject, ObjectStream, Part, SharedArchive, StoredObject,
    Upload,
};
use zoom_archiver::config::archive::{ArchiveConfig, ChecksumMode, Encryption, LockMode, S3Config, Switch};
use zoom_archiver::domain::checksum::{crc64nvme, to_base64};
use zoom_archiver::domain::file::{Proof, Sha256Digest};
use zoom_archiver::domain::part::{MIN_PART_BYTES, PartPlan};

use crate::support::s3::{Quirks, S3Server, UnknownHeader, default_config};

pub(crate) const KEY: &str =
    "account/video_sdk/2025/11/2025-11-23-Lesson-0a1b2c3d4e5f/101500Z-shared_screen-f00d.mp4";
pub(crate) const PREFIX: &str = "zoom/";
pub(crate) const PLAN: PartPlan = PartPlan { part_bytes: MIN_PART_BYTES };

/// An archive and a way to see behind it.
struct Bench {
    archive: SharedArchive,
    place: Place,
}

enum Place {
    Directory(tempfile::TempDir),
    S3 { server: S3Server, bucket: String },
}

impl Bench {
    async fn directory() -> Self {
        let root = tempfile::tempdir().unwrap();
        let archive = DirectoryArchive::open(root.path()).await.unwrap();
        Self { archive: Arc::new(archive), place: Place::Directory(root) }
    }

    async fn s3() -> Self {
        Self::on(S3Server::start().await, default_config()).await
    }

    async fn on(server: S3Server, config: S3Config) -> Self {
        let bucket = server.create_bucket().await;
        let archive = server.archive(&bucket, PREFIX, &config).await;
        Self { archive, place: Place::S3 { server, bucket } }
    }

    async fn quirky(quirks: Quirks, config: S3Config) -> Self {
        Self::on(S3Server::in_process(quirks).await, config).await
    }

    /// Another process on the same archive.
    async fn reopened(&self) -> SharedArchive {
        match &self.place {
            Place::Directory(root) => Arc::new(DirectoryArchive::open(root.path()).await.unwrap()),
            Place::S3 { server, bucket } => server.archive(bucket, PREFIX, &default_config()).await,
        }
    }

    /// What really lies under a key.
    async fn raw(&self, key: &str) -> Option<Bytes> {
        match &self.place {
            Place::Directory(root) => std::fs::read(root.path().join(key)).ok().map(Bytes::from),
            Place::S3 { server, bucket } => server.bytes(bucket, &format!("{PREFIX}{key}")).await,
        }
    }

    /// How many unfinished uploads or staging files there are for `key`.
    async fn unfinished(&self, key: &str) -> usize {
        match &self.place {
            Place::Directory(root) => std::fs::read_dir(root.path().join(".staging")).unwrap().count(),
            Place::S3 { server, bucket } => server.uploads(bucket, &format!("{PREFIX}{key}")).await.len(),
        }
    }

    fn server(&self) -> &S3Server {
        match &self.place {
            Place::S3 { server, .. } => server,
            Place::Directory(_) => panic!("a directory has no server"),
        }
    }
}

pub(crate) fn object(key: &str) -> NewObject {
    NewObject { key: key.to_owned(), content_type: "video/mp4".to_owned(), facts: Vec::new() }
}

pub(crate) fn proof(bytes: &[u8]) -> Proof {
    Proof {
        bytes: bytes.len() as u64,
        sha256: Sha256Digest(Sha256::digest(bytes).into()),
        crc64nvme: crc64nvme(bytes),
    }
}

/// Bytes that differ from place to place.
pub(crate) fn content(bytes: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = BytesMut::with_capacity(bytes + 8);
    while out.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(bytes);
    out.freeze()
}

/// A file of two full parts and a short one.
pub(crate) fn three_parts() -> Bytes {
    content(2 * MIN_PART_BYTES as usize + 1000, 7)
}

fn piece(file: &Bytes, number: u32) -> Bytes {
    let start = PLAN.offset(number) as usize;
    file.slice(start..file.len().min(start + MIN_PART_BYTES as usize))
}

pub(crate) async fn put(
    archive: &SharedArchive,
    key: &str,
    body: &Bytes,
) -> Result<StoredObject, ArchiveError> {
    archive.put(&object(key), body.clone(), &proof(body)).await
}

async fn put_part(
    archive: &SharedArchive,
    upload: &Upload,
    number: u32,
    body: Bytes,
) -> Result<Part, ArchiveError> {
    let crc64nvme = crc64nvme(&body);
    archive.put_part(upload, PLAN, number, body, crc64nvme).await
}

pub(crate) async fn send_parts(archive: &SharedArchive, upload: &Upload, file: &Bytes) -> Vec<Part> {
    let mut parts = Vec::new();
    for number in 1..=3 {
        parts.push(put_part(archive, upload, number, piece(file, number)).await.unwrap());
    }
    parts
}

async fn read(archive: &SharedArchive, key: &str) -> Bytes {
    joined(archive.read(key).await.unwrap()).await
}

async fn joined(pieces: ObjectStream) -> Bytes {
    let whole = pieces.try_fold(BytesMut::new(), |mut whole, piece| async move {
        whole.extend_from_slice(&piece);
        Ok(whole)
    });
    whole.await.unwrap().freeze()
}

async fn a_small_object_is_put_and_read_back(bench: Bench) {
    let body = content(70_001, 1);
    let stored = put(&bench.archive, KEY, &body).await.unwrap();
    assert_eq!(stored.bytes, 70_001);
    assert_eq!(bench.archive.inspect(KEY).await.unwrap(), Some(stored));
    assert_eq!(read(&bench.archive, KEY).await, body);
    assert_eq!(bench.raw(KEY).await, Some(body));
    assert_eq!(bench.unfinished(KEY).await, 0);
}

async fn an_object_of_no_bytes_is_an_object(bench: Bench) {
    assert_eq!(put(&bench.archive, KEY, &Bytes::new()).await.unwrap().bytes, 0);
    assert_eq!(bench.archive.inspect(KEY).await.unwrap().unwrap().bytes, 0);
    assert_eq!(read(&bench.archive, KEY).await, Bytes::new());
}

async fn a_second_put_is_refused_and_the_first_content_stands(bench: Bench) {
    put(&bench.archive, KEY, &Bytes::from_static(b"first")).await.unwrap();
    let second = put(&bench.archive, KEY, &Bytes::from_static(b"second")).await;
    assert!(matches!(&second, Err(ArchiveError::Exists(key)) if key == KEY), "{second:?}");
    assert_eq!(bench.raw(KEY).await.unwrap(), "first");
    assert_eq!(bench.unfinished(KEY).await, 0);
}

async fn of_many_puts_at_once_exactly_one_wins(bench: Bench) {
    let bodies: Vec<Bytes> = (0..8).map(|n| content(1000, n)).collect();
    let results =
        futures_util::future::join_all(bodies.iter().map(|body| put(&bench.archive, KEY, body))).await;
    let won: Vec<usize> = (0..8).filter(|n| results[*n].is_ok()).collect();
    assert_eq!(won.len(), 1, "{results:?}");
    assert!(
        results.iter().all(|result| matches!(result, Ok(_) | Err(ArchiveError::Exists(_)))),
        "{results:?}"
    );
    assert_eq!(bench.raw(KEY).await.unwrap(), bodies[won[0]]);
}

async fn a_body_that_is_not_as_long_as_the_proof_says_is_not_stored(bench: Bench) {
    let body = Bytes::from_static(b"what was received");
    let result = bench.archive.put(&object(KEY), body, &proof(b"what was received too")).await;
    assert!(matches!(result, Err(ArchiveError::Mismatch(_))), "{result:?}");
    assert_eq!(bench.raw(KEY).await, None);
}

async fn parts_come_at_the_same_time_and_in_any_order(bench: Bench) {
    let file = three_parts();
    let upload = bench.archive.begin(&object(KEY)).await.unwrap();
    let send = |number| put_part(&bench.archive, &upload, number, piece(&file, number));
    let (third, first, second) = tokio::join!(send(3), send(1), send(2));
    assert_eq!(bench.archive.inspect(KEY).await.unwrap(), None);
    assert_eq!(bench.raw(KEY).await, None);

    let parts = [third.unwrap(), first.unwrap(), second.unwrap()];
    assert_eq!(parts[1].crc64nvme, Some(crc64nvme(&piece(&file, 1))));
    let stored = bench.archive.complete(&upload, &parts, &proof(&file)).await.unwrap();
    assert_eq!(stored.bytes, file.len() as u64);
    assert_eq!(bench.archive.inspect(KEY).await.unwrap(), Some(stored));
    assert!(read(&bench.archive, KEY).await == file);
    assert_eq!(bench.unfinished(KEY).await, 0);
}

async fn another_process_takes_up_an_upload_from_its_checkpoint(bench: Bench) {
    let file = three_parts();
    let upload = bench.archive.begin(&object(KEY)).await.unwrap();
    let first = put_part(&bench.archive, &upload, 1, piece(&file, 1)).await.unwrap();
    let checkpoint = serde_json::to_string(&(&upload, &first)).unwrap();

    let other = bench.reopened().await;
    let (upload, first): (Upload, Part) = serde_json::from_str(&checkpoint).unwrap();
    let mut parts = vec![first];
    for number in [2, 3] {
        parts.push(put_part(&other, &upload, number, piece(&file, number)).await.unwrap());
    }
    other.complete(&upload, &parts, &proof(&file)).await.unwrap();
    assert!(bench.raw(KEY).await.unwrap() == file);
}

async fn a_part_sent_again_replaces_itself(bench: Bench) {
    let file = three_parts();
    let upload = bench.archive.begin(&object(KEY)).await.unwrap();
    put_part(&bench.archive, &upload, 1, content(MIN_PART_BYTES as usize, 99)).await.unwrap();
    put_part(&bench.archive, &upload, 3, content(5000, 98)).await.unwrap();
    let parts = send_parts(&bench.archive, &upload, &file).await;
    bench.archive.complete(&upload, &parts, &proof(&file)).await.unwrap();
    assert!(bench.raw(KEY).await.unwrap() == file);
}

async fn the_parts_of_an_upload_are_told_as_they_were_confirmed(bench: Bench) {
    let file = three_parts();
    let upload = bench.archive.begin(&object(KEY)).await.unwrap();
    assert_eq!(bench.archive.parts(&upload, PLAN).await.unwrap(), []);
    let third = put_part(&bench.archive, &upload, 3, piece(&file, 3)).await.unwrap();
    let first = put_part(&bench.archive, &upload, 1, piece(&file, 1)).await.unwrap();
    let other = bench.reopened().await;
    assert_eq!(other.parts(&upload, PLAN).await.unwrap(), [first.clone(), third.clone()]);
    let second = put_part(&bench.archive, &upload, 2, piece(&file, 2)).await.unwrap();
    assert_eq!(other.parts(&upload, PLAN).await.unwrap(), [first, second, third]);
}

async fn a_part_sent_again_is_told_as_it_is_now(bench: Bench) {
    let file = three_parts();
    let upload = bench.archive.begin(&object(KEY)).await.unwrap();
    put_part(&bench.archive, &upload, 1, content(MIN_PART_BYTES as usize, 99)).await.unwrap();
    let now = put_part(&bench.archive, &upload, 1, piece(&file, 1)).await.unwrap();
    assert_eq!(bench.archive.parts(&upload, PLAN).await.unwrap(), [now]);
}

async fn the_parts_of_an_upload_that_was_given_up_or_completed_are_not_known(bench: Bench) {
    let file = three_parts();
    let aborted = bench.archive.begin(&object(KEY)).await.unwrap();
    put_part(&bench.archive, &aborted, 1, piece(&file, 1)).await.unwrap();
    bench.archive.abort(&aborted).await.unwrap();
    let completed = bench.archive.begin(&object(KEY)).await.unwrap();
    let parts = send_parts(&bench.archive, &completed, &file).await;
    bench.archive.complete(&completed, &parts, &proof(&file)).await.unwrap();
    for upload in [aborted, completed] {
        let result = bench.archive.parts(&upload, PLAN).await;
        assert!(matches!(&result, Err(ArchiveError::NoSuchUpload(key)) if key == KEY), "{result:?}");
    }
}

async fn parts_that_do_not_add_up_are_not_completed(bench: Bench) {
    let file = three_parts();
    let upload = bench.archive.begin(&object(KEY)).await.unwrap();
    let parts = send_parts(&bench.archive, &upload, &file).await;
    let right = proof(&file);
    let gap = vec![parts[0].clone(), parts[2].clone()];
    let doubled = vec![parts[0].clone(), parts[0].clone(), parts[2].clone()];
    let cases = [
        ("a gap", gap, proof(&[piece(&file, 1), piece(&file, 3)].concat())),
        ("a doubled part", doubled, right),
        ("no parts", vec![], proof(b"")),
        ("a wrong sum", parts.clone(), Proof { bytes: right.bytes + 1, ..right }),
        ("a wrong checksum", parts.clone(), Proof { crc64nvme: right.crc64nvme ^ 1, ..right }),
    ];
    for (what, parts, proof) in cases {
        let result = bench.archive.complete(&upload, &parts, &proof).await;
        assert!(matches!(result, Err(ArchiveError::Mismatch(_))), "{what}: {result:?}");
        assert_eq!(bench.raw(KEY).await, None, "{what}");
    }
    bench.archive.complete(&upload, &parts, &right).await.unwrap();
}

async fn a_part_that_was_replaced_behind_our_back_is_not_completed(bench: Bench) {
    let file = three_parts();
    let upload = bench.archive.begin(&object(KEY)).await.unwrap();
    let mut parts = send_parts(&bench.archive, &upload, &file).await;
    parts[1].etag = "\"00000000000000000000000000000000\"".to_owned();
    let result = bench.archive.complete(&upload, &parts, &proof(&file)).await;
    assert!(matches!(result, Err(ArchiveError::Mismatch(_))), "{result:?}");
    assert_eq!(bench.raw(KEY).await, None);
}

async fn a_part_that_is_none_of_the_plan_is_refused(bench: Bench) {
    let upload = bench.archive.begin(&object(KEY)).await.unwrap();
    let long = content(MIN_PART_BYTES as usize + 1, 1);
    for (number, body) in [(0, Bytes::new()), (10_001, Bytes::new()), (1, long)] {
        let result = put_part(&bench.archive, &upload, number, body).await;
        assert!(matches!(result, Err(ArchiveError::Refused(_))), "{result:?}");
    }
}

async fn completing_over_an_object_leaves_it_untouched(bench: Bench) {
    let file = three_parts();
    let upload = bench.archive.begin(&object(KEY)).await.unwrap();
    let parts = send_parts(&bench.archive, &upload, &file).await;
    put(&bench.archive, KEY, &Bytes::from_static(b"first")).await.unwrap();
    let result = bench.archive.complete(&upload, &parts, &proof(&file)).await;
    assert!(matches!(&result, Err(ArchiveError::Exists(key)) if key == KEY), "{result:?}");
    assert_eq!(bench.raw(KEY).await.unwrap(), "first");
    assert_eq!(bench.unfinished(KEY).await, 1);
    bench.archive.abort(&upload).await.unwrap();
    assert_eq!(bench.unfinished(KEY).await, 0);
    assert_eq!(bench.raw(KEY).await.unwrap(), "first");
}

async fn completing_twice_is_completing_once(bench: Bench) {
    let file = three_parts();
    let upload = bench.archive.begin(&object(KEY)).await.unwrap();
    let parts = send_parts(&bench.archive, &upload, &file).await;
    let once = bench.archive.complete(&upload, &parts, &proof(&file)).await.unwrap();
    let twice = bench.archive.complete(&upload, &parts, &proof(&file)).await.unwrap();
    assert_eq!(once, twice);
}

async fn an_upload_given_up_leaves_nothing(bench: Bench) {
    let file = three_parts();
    let upload = bench.archive.begin(&object(KEY)).await.unwrap();
    let parts = send_parts(&bench.archive, &upload, &file).await;
    assert_eq!(bench.unfinished(KEY).await, 1);
    bench.archive.abort(&upload).await.unwrap();
    bench.archive.abort(&upload).await.unwrap();
    assert_eq!(bench.unfinished(KEY).await, 0);

    let part = put_part(&bench.archive, &upload, 1, piece(&file, 1)).await;
    assert!(matches!(&part, Err(ArchiveError::NoSuchUpload(key)) if key == KEY), "{part:?}");
    let completed = bench.archive.complete(&upload, &parts, &proof(&file)).await;
    assert!(matches!(completed, Err(ArchiveError::NoSuchUpload(_))), "{completed:?}");
    assert_eq!(bench.raw(KEY).await, None);
}

async fn all_uploads_of_exactly_one_key_are_given_up(bench: Bench) {
    let longer = format!("{KEY}.part");
    let mut of_key = Vec::new();
    for _ in 0..3 {
        of_key.push(bench.archive.begin(&object(KEY)).await.unwrap());
    }
    let neighbour = bench.archive.begin(&object(&longer)).await.unwrap();

    let other = bench.reopened().await;
    assert_eq!(other.abort_all(KEY).await.unwrap(), 3);
    assert_eq!(other.abort_all(KEY).await.unwrap(), 0);
    for upload in of_key {
        let result = put_part(&bench.archive, &upload, 1, Bytes::from_static(b"late")).await;
        assert!(matches!(result, Err(ArchiveError::NoSuchUpload(_))), "{result:?}");
    }
    put_part(&bench.archive, &neighbour, 1, Bytes::from_static(b"alive")).await.unwrap();
}

async fn replacing_writes_over_what_is_there(bench: Bench) {
    bench.archive.replace(&object(KEY), Bytes::from_static(b"{}")).await.unwrap();
    let stored = bench.archive.replace(&object(KEY), Bytes::from_static(b"{\"files\":1}")).await.unwrap();
    assert_eq!(stored.bytes, 11);
    assert_eq!(bench.raw(KEY).await.unwrap(), "{\"files\":1}");
    assert_eq!(bench.unfinished(KEY).await, 0);
}

async fn where_there_is_nothing_inspection_says_so_and_reading_is_refused(bench: Bench) {
    assert_eq!(bench.archive.inspect(KEY).await.unwrap(), None);
    let result = bench.archive.read(KEY).await.map(drop);
    assert!(matches!(result, Err(ArchiveError::Refused(_))), "{result:?}");
}

async fn any_piece_of_an_object_can_be_read(bench: Bench) {
    let body = content(300_001, 5);
    put(&bench.archive, KEY, &body).await.unwrap();
    for range in [0..1, 0..300_001, 7..200_007, 300_000..300_001] {
        let piece = joined(bench.archive.read_range(KEY, range.clone()).await.unwrap()).await;
        let (start, end) = (usize::try_from(range.start).unwrap(), usize::try_from(range.end).unwrap());
        assert_eq!(piece, body.slice(start..end), "{range:?}");
    }
    let result = bench.archive.read_range("no/such/object", 0..1).await.map(drop);
    assert!(matches!(result, Err(ArchiveError::Refused(_))), "{result:?}");
}

async fn whoever_has_the_address_of_an_object_reads_it_where_the_archive_gives_one(bench: Bench) {
    let body = content(1000, 6);
    put(&bench.archive, KEY, &body).await.unwrap();
    let disposition = "attachment; filename=\"a b.mp4\"; filename*=UTF-8''a%20b.mp4";
    let address = bench.archive.link(KEY, disposition, Duration::from_secs(60)).await.unwrap();
    let Some(address) = address else {
        return assert!(matches!(bench.place, Place::Directory(_)), "a store gives one");
    };
    assert!(!format!("{address:?}").contains("Signature"), "it is a secret");
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let response = client.get(address.expose_secret()).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-disposition"], disposition);
    assert_eq!(response.bytes().await.unwrap(), body);
    let longer = address.expose_secret().replace("X-Amz-Expires=60", "X-Amz-Expires=600");
    assert_eq!(client.get(longer).send().await.unwrap().status(), 403);
}

async fn odd_keys_name_one_object_each(bench: Bench) {
    let keys = [
        "a b/c d.mp4",
        "a+b/c+d.mp4",
        "a%20b/c%2Fd.mp4",
        "Stunde für Ägypten/レッスン.mp4",
        "a&b=c;d/e'f(g)!*~.mp4",
        "x/...mp4",
        "x/#?.mp4",
    ];
    for (seed, key) in (0..).zip(keys) {
        put(&bench.archive, key, &content(100, seed)).await.unwrap();
    }
    for (seed, key) in (0..).zip(keys) {
        assert_eq!(read(&bench.archive, key).await, content(100, seed), "{key}");
        let upload = bench.archive.begin(&object(key)).await.unwrap();
        assert_eq!(bench.archive.abort_all(key).await.unwrap(), 1, "{key}");
        bench.archive.abort(&upload).await.unwrap();
    }
}

async fn a_ping_writes_nothing(bench: Bench) {
    bench.archive.ping().await.unwrap();
    match &bench.place {
        Place::Directory(root) => assert_eq!(files(root.path()), Vec::<String>::new()),
        Place::S3 { server, bucket } => assert_eq!(server.objects(bucket).await, Vec::<String>::new()),
    }
}

/// Names to a child the archive that it writes to.
const WRITER_PLACE: &str = "TEST_PLACE_OF_WRITER";

/// Where a child finds the archive, in words of its environment.
fn place_of(bench: &Bench) -> Vec<(&'static str, String)> {
    match &bench.place {
        Place::Directory(root) => vec![(WRITER_PLACE, format!("file://{}", root.path().display()))],
        Place::S3 { server, bucket } => {
            let access = server.access();
            vec![
                (WRITER_PLACE, format!("s3://{bucket}/{PREFIX}")),
                ("AWS_ENDPOINT_URL_S3", access.endpoint.clone()),
                ("AWS_REGION", access.region.clone()),
                ("AWS_ACCESS_KEY_ID", access.access_key_id.clone()),
                ("AWS_SECRET_ACCESS_KEY", access.secret_access_key.expose_secret().to_owned()),
            ]
        }
    }
}

/// The child: sends parts 1 and 3 of a file, then part 2 over and over until it is killed; tells each that was
/// confirmed.
#[expect(clippy::print_stdout, reason = "its parent reads what it prints")]
async fn write_until_killed(url: &str) {
    let config = ArchiveConfig {
        key_template: String::new(),
        try_at_start: false,
        min_free_bytes: 0,
        s3: default_config(),
    };
    let archive = zoom_archiver::archive::open(url, &config).await.unwrap();
    let file = three_parts();
    let upload = archive.begin(&object(KEY)).await.unwrap();
    for number in [1, 3].into_iter().chain(std::iter::repeat(2)) {
        let part = put_part(&archive, &upload, number, piece(&file, number)).await.unwrap();
        println!("\n{}", serde_json::to_string(&(&upload, part)).unwrap());
    }
}

/// Runs `sentence` once more, as a child that writes into this archive, and kills it when it has been confirmed
/// parts 1 and 3 and is busy with part 2. What it was confirmed of these two.
async fn killed_writer(bench: &Bench, sentence: &str) -> (Upload, Vec<Part>) {
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", sentence])
        .envs(place_of(bench))
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let told = BufReader::new(child.stdout.take().unwrap());
    let until_killed = move || {
        let lines = told.lines().map(|line| line.unwrap());
        let confirmed = lines.filter_map(|line| serde_json::from_str::<(Upload, Part)>(&line).ok());
        let confirmed: Vec<_> = confirmed.take(2).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        confirmed
    };
    let confirmed = tokio::task::spawn_blocking(until_killed).await.unwrap();
    assert_eq!(confirmed.len(), 2, "the writer lives until it is killed");
    (confirmed[0].0.clone(), confirmed.into_iter().map(|(_, part)| part).collect())
}

async fn go_on_after_a_killed_writer(bench: Bench, sentence: &str) {
    let file = three_parts();
    let (upload, confirmed) = killed_writer(&bench, sentence).await;
    let archive = bench.reopened().await;
    let listed = archive.parts(&upload, PLAN).await.unwrap();
    for part in &confirmed {
        assert!(listed.contains(part), "{part:?} is missing in {listed:?}");
    }

    // From the list alone: what is as it should be stays, the rest is sent again.
    let mut parts = Vec::new();
    for number in 1..=3 {
        let body = piece(&file, number);
        let right = (number, body.len() as u64, Some(crc64nvme(&body)));
        let kept = listed.iter().find(|part| (part.number, part.bytes, part.crc64nvme) == right);
        parts.push(match kept {
            Some(part) => part.clone(),
            None => put_part(&archive, &upload, number, body).await.unwrap(),
        });
    }
    archive.complete(&upload, &parts, &proof(&file)).await.unwrap();
    assert!(bench.raw(KEY).await.unwrap() == file);
    assert_eq!(bench.unfinished(KEY).await, 0);
}

/// Every file below a directory.
fn files(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path.display().to_string());
        }
    }
    found
}

/// All that is listed, page by page.
async fn listed(archive: &SharedArchive, limit: usize) -> Vec<(String, u64)> {
    let (mut all, mut after): (Vec<(String, u64)>, Option<String>) = (Vec::new(), None);
    loop {
        let page = archive.keys(after.as_deref(), limit).await.unwrap();
        assert!(page.len() <= limit);
        let is_last = page.len() < limit;
        all.extend(page.into_iter().map(|object| (object.key, object.bytes)));
        after = all.last().map(|(key, _)| key.clone());
        if is_last {
            return all;
        }
    }
}

async fn objects_are_listed_in_the_order_of_their_keys_and_from_any_key_on(bench: Bench) {
    assert_eq!(bench.archive.keys(None, 10).await.unwrap(), []);
    let mut expected = Vec::new();
    for key in ["a/b.txt", "a/b/c", "a/b-c/d", "a0", "b/recording.json", "z"] {
        put(&bench.archive, key, &content(key.len(), 1)).await.unwrap();
        expected.push((key.to_owned(), key.len() as u64));
    }
    expected.sort();
    for limit in [1, 2, 3, 6, 7, 1001] {
        assert_eq!(listed(&bench.archive, limit).await, expected, "{limit} at a time");
    }
    let from = |after: &'static str| async {
        let found = bench.archive.keys(Some(after), 1).await.unwrap();
        found.first().map(|object| object.key.clone())
    };
    assert_eq!(from("a/b").await.as_deref(), Some("a/b-c/d"), "after a key that is none");
    assert_eq!(from("z").await, None);
}

async fn what_is_unfinished_and_what_doctor_writes_is_not_listed(bench: Bench) {
    let upload = bench.archive.begin(&object(KEY)).await.unwrap();
    send_parts(&bench.archive, &upload, &three_parts()).await;
    put(&bench.archive, "zoom-archiver-doctor/x/small", &content(3, 1)).await.unwrap();
    assert_eq!(bench.archive.keys(None, 10).await.unwrap(), []);
    bench.archive.abort(&upload).await.unwrap();
}

async fn a_small_object_is_fetched_and_a_larger_one_is_not(bench: Bench) {
    let body = content(1000, 1);
    put(&bench.archive, KEY, &body).await.unwrap();
    assert_eq!(archive::fetch(bench.archive.as_ref(), KEY, 1000).await.unwrap(), body);
    let refused = archive::fetch(bench.archive.as_ref(), KEY, 999).await;
    assert!(matches!(refused, Err(ArchiveError::Refused(_))), "{refused:?}");
}

macro_rules! contract {
    ($($sentence:ident)*) => {
        mod directory {
            $(#[tokio::test]
            async fn $sentence() {
                super::$sentence(super::Bench::directory().await).await;
            })*
        }
        mod s3 {
            $(#[tokio::test]
            async fn $sentence() {
                super::$sentence(super::Bench::s3().await).await;
            })*
        }
    };
}

contract! {
    a_small_object_is_put_and_read_back
    an_object_of_no_bytes_is_an_object
    a_second_put_is_refused_and_the_first_content_stands
    of_many_puts_at_once_exactly_one_wins
    a_body_that_is_not_as_long_as_the_proof_says_is_not_stored
    parts_come_at_the_same_time_and_in_any_order
    another_process_takes_up_an_upload_from_its_checkpoint
    a_part_sent_again_replaces_itself
    parts_that_do_not_add_up_are_not_completed
    a_part_that_was_replaced_behind_our_back_is_not_completed
    a_part_that_is_none_of_the_plan_is_refused
    completing_over_an_object_leaves_it_untouched
    completing_twice_is_completing_once
    an_upload_given_up_leaves_nothing
    all_uploads_of_exactly_one_key_are_given_up
    replacing_writes_over_what_is_there
    where_there_is_nothing_inspection_says_so_and_reading_is_refused
    any_piece_of_an_object_can_be_read
    whoever_has_the_address_of_an_object_reads_it_where_the_archive_gives_one
    odd_keys_name_one_object_each
    the_parts_of_an_upload_are_told_as_they_were_confirmed
    a_part_sent_again_is_told_as_it_is_now
    the_parts_of_an_upload_that_was_given_up_or_completed_are_not_known
    a_ping_writes_nothing
    objects_are_listed_in_the_order_of_their_keys_and_from_any_key_on
    what_is_unfinished_and_what_doctor_writes_is_not_listed
    a_small_object_is_fetched_and_a_larger_one_is_not
}

mod only_directory {
    use super::*;

    fn root(bench: &Bench) -> &Path {
        match &bench.place {
            Place::Directory(root) => root.path(),
            Place::S3 { .. } => panic!("not a directory"),
        }
    }

    #[tokio::test]
    async fn a_key_that_leaves_the_root_is_refused() {
        let bench = Bench::directory().await;
        let long = format!("a/{}", "x".repeat(300));
        for key in ["", "/etc/x", "../x", "a/../../x", "a//b", "a/./b", "a/", "a\0b", ".staging/x", &long] {
            let results = [
                put(&bench.archive, key, &Bytes::from_static(b"x")).await.map(drop),
                bench.archive.replace(&object(key), Bytes::from_static(b"x")).await.map(drop),
            ];
            assert!(
                results.iter().all(|result| matches!(result, Err(ArchiveError::Refused(_)))),
                "{key:?}: {results:?}"
            );
        }
        assert_eq!(files(root(&bench)), Vec::<String>::new());
    }

    #[tokio::test]
    async fn an_upload_id_that_leads_elsewhere_is_refused() {
        let bench = Bench::directory().await;
        let upload = bench.archive.begin(&object(KEY)).await.unwrap();
        let of_other_key = bench.archive.begin(&object("other/key")).await.unwrap().id;
        let victim = root(&bench).join("victim");
        std::fs::write(&victim, "untouched").unwrap();
        for id in ["../victim".to_owned(), String::new(), format!("{}/../../victim", upload.id), of_other_key]
        {
            let forged = Upload { id, ..upload.clone() };
            let part = put_part(&bench.archive, &forged, 1, Bytes::from_static(b"x")).await;
            assert!(matches!(part, Err(ArchiveError::Refused(_))), "{part:?}");
            let abort = bench.archive.abort(&forged).await;
            assert!(matches!(abort, Err(ArchiveError::Refused(_))), "{abort:?}");
            let parts = bench.archive.parts(&forged, PLAN).await;
            assert!(matches!(parts, Err(ArchiveError::Refused(_))), "{parts:?}");
        }
        for id in ["../victim", "", "victim"] {
            let found = Upload { key: String::new(), id: id.to_owned(), checksum: None };
            let abort = bench.archive.abort(&found).await;
            assert!(matches!(abort, Err(ArchiveError::Refused(_))), "{abort:?}");
        }
        assert_eq!(std::fs::read(victim).unwrap(), b"untouched");
    }

    #[tokio::test]
    async fn objects_are_listed_on_every_page_and_below_the_prefix_alone() {
        let bench = Bench::quirky(Quirks { per_page: 2, ..Quirks::default() }, default_config()).await;
        let keys = ["a", "b", "c", "d", "e"];
        for key in keys {
            put(&bench.archive, key, &content(1, 1)).await.unwrap();
        }
        let Place::S3 { server, bucket } = &bench.place else { panic!("a bucket") };
        for other in ["zoom", "zoom.txt", "zooma/x", "zz"] {
            server.overwrite(bucket, other, Some(b"of others")).await;
        }
        // What consoles leave for a folder is no object of anybody's.
        server.overwrite(bucket, "zoom/", Some(b"")).await;
        server.overwrite(bucket, "zoom/c/", Some(b"")).await;
        let listed = listed(&bench.archive, 4).await;
        assert_eq!(listed.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), keys);
    }

    #[tokio::test]
    async fn what_a_killed_writer_was_confirmed_is_gone_on_with() {
        if let Ok(url) = std::env::var(WRITER_PLACE) {
            return write_until_killed(&url).await;
        }
        let me = "archive_contract::only_directory::what_a_killed_writer_was_confirmed_is_gone_on_with";
        go_on_after_a_killed_writer(Bench::directory().await, me).await;
    }

    #[tokio::test]
    async fn a_part_that_was_half_written_is_told_by_another_checksum() {
        let bench = Bench::directory().await;
        let file = three_parts();
        let upload = bench.archive.begin(&object(KEY)).await.unwrap();
        let sent = send_parts(&bench.archive, &upload, &file).await;
        let staged = root(&bench).join(".staging").join(&upload.id);
        let staged = std::fs::OpenOptions::new().write(true).open(staged).unwrap();
        staged.write_all_at(b"torn", MIN_PART_BYTES + 100).unwrap();
        staged.set_len(2 * MIN_PART_BYTES + 10).unwrap();

        let listed = bench.archive.parts(&upload, PLAN).await.unwrap();
        assert_eq!(listed[0], sent[0]);
        assert_eq!((listed[1].number, listed[1].bytes), (2, MIN_PART_BYTES));
        assert_ne!(listed[1].crc64nvme, sent[1].crc64nvme);
        assert_eq!((listed[2].number, listed[2].bytes), (3, 10));
        assert_eq!(listed[2].crc64nvme, Some(crc64nvme(&piece(&file, 3)[..10])));
    }

    #[tokio::test]
    async fn unfinished_files_are_found_by_age_and_can_be_given_up() {
        let bench = Bench::directory().await;
        let [old, young] =
            [bench.archive.begin(&object(KEY)).await, bench.archive.begin(&object("young")).await]
                .map(Result::unwrap);
        let staging = root(&bench).join(".staging");
        let hour = Duration::from_secs(3600);
        let file = std::fs::File::open(staging.join(&old.id)).unwrap();
        file.set_modified(SystemTime::now() - 2 * hour).unwrap();
        std::fs::write(staging.join("README"), "not ours").unwrap();

        let found = bench.archive.unfinished(hour).await.unwrap();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].upload.id, old.id);
        assert!((2 * hour..3 * hour).contains(&found[0].age), "{found:?}");
        assert_eq!(bench.archive.unfinished(Duration::ZERO).await.unwrap().len(), 2);

        bench.archive.abort(&found[0].upload).await.unwrap();
        assert_eq!(bench.archive.unfinished(hour).await.unwrap(), []);
        let result = bench.archive.parts(&old, PLAN).await;
        assert!(matches!(result, Err(ArchiveError::NoSuchUpload(_))), "{result:?}");
        assert_eq!(bench.archive.parts(&young, PLAN).await.unwrap(), []);
        assert!(staging.join("README").exists());
    }

    #[tokio::test]
    async fn of_very_many_unfinished_files_some_thousands_are_found_at_once() {
        let bench = Bench::directory().await;
        let staging = root(&bench).join(".staging");
        for n in 0..MOST_UNFINISHED + 1 {
            std::fs::write(staging.join(format!("{n:032x}-{n:032x}")), "").unwrap();
        }
        let mut left = MOST_UNFINISHED + 1;
        for expected in [MOST_UNFINISHED, 1, 0] {
            let found = bench.archive.unfinished(Duration::ZERO).await.unwrap();
            assert_eq!(found.len(), expected);
            for found in &found {
                bench.archive.abort(&found.upload).await.unwrap();
            }
            left -= found.len();
            assert_eq!(std::fs::read_dir(&staging).unwrap().count(), left);
        }
    }

    #[tokio::test]
    async fn a_gap_between_short_parts_is_not_completed() {
        let bench = Bench::directory().await;
        let file = content(300, 5);
        let upload = bench.archive.begin(&object(KEY)).await.unwrap();
        let mut parts = Vec::new();
        for (number, at) in [(1, 0), (2, 100), (3, 200)] {
            parts.push(put_part(&bench.archive, &upload, number, file.slice(at..at + 100)).await.unwrap());
        }
        let result = bench.archive.complete(&upload, &parts, &proof(&file)).await;
        assert!(matches!(result, Err(ArchiveError::Mismatch(_))), "{result:?}");
        assert_eq!(bench.raw(KEY).await, None);
    }

    #[tokio::test]
    async fn a_staging_file_that_was_cut_short_is_not_completed() {
        let bench = Bench::directory().await;
        let file = three_parts();
        let upload = bench.archive.begin(&object(KEY)).await.unwrap();
        let parts = send_parts(&bench.archive, &upload, &file).await;
        let staged = root(&bench).join(".staging").join(&upload.id);
        std::fs::OpenOptions::new().write(true).open(staged).unwrap().set_len(1000).unwrap();
        let result = bench.archive.complete(&upload, &parts, &proof(&file)).await;
        assert!(matches!(result, Err(ArchiveError::Mismatch(_))), "{result:?}");
        assert_eq!(bench.raw(KEY).await, None);
    }

    #[tokio::test]
    async fn a_root_that_has_gone_is_an_archive_that_is_away() {
        let bench = Bench::directory().await;
        let upload = bench.archive.begin(&object(KEY)).await.unwrap();
        let root = root(&bench).to_owned();
        let away = root.with_extension("away");
        std::fs::rename(&root, &away).unwrap();
        every_call_finds_it_away(&bench.archive, &upload).await;
        assert!(!root.exists(), "what is written to a mount point is lost to sight");

        std::fs::write(&root, "a file where the root was").unwrap();
        every_call_finds_it_away(&bench.archive, &upload).await;

        std::fs::remove_file(&root).unwrap();
        std::fs::rename(&away, &root).unwrap();
        put_part(&bench.archive, &upload, 1, Bytes::from_static(b"back")).await.unwrap();
    }

    #[tokio::test]
    async fn a_file_where_the_key_needs_a_folder_is_the_fault_of_the_key() {
        let bench = Bench::directory().await;
        put(&bench.archive, "a/b", &Bytes::from_static(b"file")).await.unwrap();
        for key in ["a/b/c", "a"] {
            let result = put(&bench.archive, key, &Bytes::from_static(b"x")).await;
            assert!(matches!(result, Err(ArchiveError::Refused(_))), "{key}: {result:?}");
        }
        assert_eq!(bench.raw("a/b").await.unwrap(), "file");
    }

    #[tokio::test]
    async fn a_root_behind_a_symbolic_link_is_a_root() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("real")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("real"), folder.path().join("link")).unwrap();
        let archive: SharedArchive =
            Arc::new(DirectoryArchive::open(&folder.path().join("link")).await.unwrap());
        put(&archive, KEY, &Bytes::from_static(b"x")).await.unwrap();
        assert!(folder.path().join("real").join(KEY).is_file());
    }
}

/// Every call fails as one that may succeed later.
async fn every_call_finds_it_away(archive: &SharedArchive, upload: &Upload) {
    let body = Bytes::from_static(b"x");
    let results = [
        ("put", put(archive, KEY, &body).await.map(drop)),
        ("begin", archive.begin(&object(KEY)).await.map(drop)),
        ("put_part", put_part(archive, upload, 1, body.clone()).await.map(drop)),
        ("parts", archive.parts(upload, PLAN).await.map(drop)),
        ("unfinished", archive.unfinished(Duration::ZERO).await.map(drop)),
        ("abort", archive.abort(upload).await),
        ("abort_all", archive.abort_all(KEY).await.map(drop)),
        ("replace", archive.replace(&object(KEY), body.clone()).await.map(drop)),
        ("inspect", archive.inspect(KEY).await.map(drop)),
        ("read", archive.read(KEY).await.map(drop)),
        ("ping", archive.ping().await),
    ];
    for (call, result) in results {
        assert!(matches!(result, Err(ArchiveError::Unavailable(_))), "{call}: {result:?}");
    }
}

mod only_s3 {
    use super::*;

    fn config(checksum: ChecksumMode, conditional_create: Switch) -> S3Config {
        S3Config { checksum, conditional_create, ..default_config() }
    }

    /// One attempt, so that a failing store is found out at once.
    fn impatient() -> S3Config {
        S3Config { max_attempts: 1, attempt_timeout_ms: 2000, ..default_config() }
    }

    async fn complete(bench: &Bench, file: &Bytes) -> Result<StoredObject, ArchiveError> {
        let upload = bench.archive.begin(&object(KEY)).await?;
        let parts = send_parts(&bench.archive, &upload, file).await;
        bench.archive.complete(&upload, &parts, &proof(file)).await
    }

    #[tokio::test]
    async fn the_content_type_is_kept() {
        let bench = Bench::s3().await;
        put(&bench.archive, "put", &Bytes::from_static(b"x")).await.unwrap();
        bench.archive.replace(&object("replaced"), Bytes::from_static(b"x")).await.unwrap();
        let upload = bench.archive.begin(&object("parts")).await.unwrap();
        let body = Bytes::from_static(b"x");
        let part = put_part(&bench.archive, &upload, 1, body.clone()).await.unwrap();
        bench.archive.complete(&upload, &[part], &proof(&body)).await.unwrap();
        let Place::S3 { server, bucket } = &bench.place else { panic!("not a store") };
        for key in ["put", "replaced", "parts"] {
            let kept = server.described(bucket, &format!("{PREFIX}{key}")).await.content_type;
            assert_eq!(kept.as_deref(), Some("video/mp4"), "{key}");
        }
    }

    #[tokio::test]
    async fn the_store_confirms_the_checksum_of_the_whole() {
        let bench = Bench::on(S3Server::start().await, config(ChecksumMode::Crc64nvme, Switch::On)).await;
        let file = three_parts();
        let stored = complete(&bench, &file).await.unwrap();
        let word = stored.checksum.unwrap().to_string();
        assert_eq!(word, format!("crc64nvme:{}", to_base64(crc64nvme(&file))));

        let small = content(1000, 3);
        let stored = put(&bench.archive, "small", &small).await.unwrap();
        let word = stored.checksum.unwrap().to_string();
        assert_eq!(word, format!("crc64nvme:{}", to_base64(crc64nvme(&small))));
    }

    #[tokio::test]
    async fn a_small_object_that_the_store_confirms_takes_one_request() {
        let ignoring = || Quirks { ignores_checksums: true, ..Quirks::default() };
        let cases = [
            ("confirmed", Quirks::default(), config(ChecksumMode::Auto, Switch::Auto), 1),
            ("confirmed likewise", Quirks::default(), config(ChecksumMode::Sha256, Switch::Auto), 1),
            ("looked for before", Quirks::default(), config(ChecksumMode::Auto, Switch::Off), 2),
            ("looked at afterwards", Quirks::default(), config(ChecksumMode::None, Switch::Auto), 2),
            ("not confirmed", ignoring(), config(ChecksumMode::Auto, Switch::Auto), 2),
        ];
        for (what, quirks, config, expected) in cases {
            let bench = Bench::quirky(quirks, config).await;
            let before = bench.server().count(|counts| &counts.requests);
            let stored = put(&bench.archive, KEY, &content(20_000, 1)).await.unwrap();
            assert_eq!(bench.server().count(|counts| &counts.requests) - before, expected, "{what}");
            assert_eq!(bench.archive.inspect(KEY).await.unwrap(), Some(stored), "{what}");
        }
    }

    #[tokio::test]
    async fn every_mode_archives_whole_objects_and_objects_of_parts() {
        let file = three_parts();
        for checksum in [ChecksumMode::None, ChecksumMode::Crc32c, ChecksumMode::Sha256] {
            for condition in [Switch::On, Switch::Off] {
                let bench = Bench::on(S3Server::start().await, config(checksum, condition)).await;
                let stored = complete(&bench, &file).await.unwrap();
                let algorithm = stored.checksum.map(|word| word.algorithm);
                let expected = match checksum {
                    ChecksumMode::Crc32c => Some("crc32c"),
                    ChecksumMode::Sha256 => Some("sha256"),
                    _ => None,
                };
                // A store may keep a checksum that nobody asked for.
                assert!(
                    expected.is_none() || algorithm.as_deref() == expected,
                    "{checksum:?}: {algorithm:?}"
                );
                assert!(bench.raw(KEY).await.unwrap() == file);

                let again = complete(&bench, &file).await;
                assert!(
                    matches!(again, Err(ArchiveError::Exists(_))),
                    "{checksum:?} {condition:?}: {again:?}"
                );
                put(&bench.archive, "small", &Bytes::from_static(b"x")).await.unwrap();
                let again = put(&bench.archive, "small", &Bytes::from_static(b"y")).await;
                assert!(
                    matches!(again, Err(ArchiveError::Exists(_))),
                    "{checksum:?} {condition:?}: {again:?}"
                );
            }
        }
    }

    #[tokio::test]
    async fn a_store_without_checksums_is_taken_as_it_is_once_and_for_all() {
        for quirks in [
            Quirks { rejects_checksums: true, ..Quirks::default() },
            Quirks { ignores_checksums: true, ..Quirks::default() },
        ] {
            let bench = Bench::quirky(quirks, default_config()).await;
            let stored = put(&bench.archive, "first", &Bytes::from_static(b"x")).await.unwrap();
            assert_eq!(stored.checksum, None);
            let before = bench.server().count(|counts| &counts.puts);
            put(&bench.archive, "second", &Bytes::from_static(b"x")).await.unwrap();
            assert_eq!(bench.server().count(|counts| &counts.puts) - before, 1, "it was remembered");
            let upload = bench.archive.begin(&object("third")).await.unwrap();
            assert_eq!(upload.checksum, None);
        }
    }

    #[tokio::test]
    async fn a_store_without_checksums_takes_objects_of_parts() {
        for quirks in [
            Quirks { rejects_checksums: true, ..Quirks::default() },
            Quirks { ignores_checksums: true, ..Quirks::default() },
        ] {
            let bench = Bench::quirky(quirks, default_config()).await;
            let file = three_parts();
            assert_eq!(complete(&bench, &file).await.unwrap().checksum, None);
            assert!(bench.raw(KEY).await.unwrap() == file);
        }
    }

    #[tokio::test]
    async fn a_checksum_that_was_demanded_is_not_done_without() {
        let demanding = config(ChecksumMode::Crc64nvme, Switch::Auto);
        let rejecting = Quirks { rejects_checksums: true, ..Quirks::default() };
        let bench = Bench::quirky(rejecting, demanding.clone()).await;
        let result = put(&bench.archive, KEY, &Bytes::from_static(b"x")).await;
        assert!(matches!(result, Err(ArchiveError::Refused(_))), "{result:?}");

        let ignoring = Quirks { ignores_checksums: true, ..Quirks::default() };
        let bench = Bench::quirky(ignoring, demanding).await;
        let result = put(&bench.archive, KEY, &Bytes::from_static(b"x")).await;
        assert!(matches!(result, Err(ArchiveError::Mismatch(_))), "{result:?}");
        assert_eq!(bench.raw(KEY).await, None);
    }

    #[tokio::test]
    async fn a_store_without_conditional_writes_is_looked_at_before_each_write() {
        for quirks in [
            Quirks { rejects_conditions: true, ..Quirks::default() },
            Quirks { rejects_silently: true, ..Quirks::default() },
        ] {
            let bench = Bench::quirky(quirks, default_config()).await;
            put(&bench.archive, KEY, &Bytes::from_static(b"first")).await.unwrap();
            let before = bench.server().count(|counts| &counts.puts);
            let second = put(&bench.archive, KEY, &Bytes::from_static(b"second")).await;
            assert!(matches!(second, Err(ArchiveError::Exists(_))), "{second:?}");
            assert_eq!(bench.server().count(|counts| &counts.puts), before, "it looked, and did not write");
            let completed = complete(&bench, &three_parts()).await;
            assert!(matches!(completed, Err(ArchiveError::Exists(_))), "{completed:?}");
            assert_eq!(bench.raw(KEY).await.unwrap(), "first");
        }
    }

    /// Every header that is sent without a setting that demands it, and may be refused.
    const OPTIONAL_HEADERS: [&str; 6] = [
        "x-amz-checksum-mode",
        "x-amz-checksum-crc64nvme",
        "x-amz-checksum-algorithm",
        "x-amz-checksum-type",
        "x-amz-sdk-checksum-algorithm",
        "if-none-match",
    ];

    /// Ways in which a store refuses a header.
    const REFUSALS: [(u16, bool); 3] = [(400, true), (400, false), (501, true)];

    #[tokio::test]
    async fn whichever_optional_header_a_store_refuses_on_whichever_verb_it_takes_every_object() {
        let none = || config(ChecksumMode::None, Switch::Off);
        for name in OPTIONAL_HEADERS {
            for (status, is_named) in REFUSALS {
                for settings in [default_config(), none()] {
                    let unknown_header = Some(UnknownHeader { name, status, is_named });
                    let bench = Bench::quirky(Quirks { unknown_header, ..Quirks::default() }, settings).await;
                    let what = format!("{name} {status} {is_named}");
                    let small = content(1000, 2);
                    let stored = put(&bench.archive, "small", &small).await;
                    let stored = stored.unwrap_or_else(|error| panic!("{what}: {error}"));
                    assert_eq!(
                        bench.archive.inspect("small").await.unwrap().map(|it| it.bytes),
                        Some(1000),
                        "{what}"
                    );
                    assert_eq!(stored.bytes, 1000, "{what}");
                    assert_eq!(read(&bench.archive, "small").await, small, "{what}");
                    let again = put(&bench.archive, "small", &content(1000, 3)).await;
                    assert!(matches!(again, Err(ArchiveError::Exists(_))), "{what}: {again:?}");
                    assert_eq!(bench.archive.inspect("absent").await.unwrap(), None, "{what}");
                    bench.archive.replace(&object("manifest"), small.clone()).await.unwrap();
                    let file = three_parts();
                    complete(&bench, &file).await.unwrap_or_else(|error| panic!("{what}: {error}"));
                    assert!(read(&bench.archive, KEY).await == file, "{what}");
                }
            }
        }
    }

    #[tokio::test]
    async fn a_header_that_a_setting_demands_and_a_store_refuses_is_told_by_the_key_of_the_setting() {
        let class = || S3Config { storage_class: "STANDARD_IA".to_owned(), ..default_config() };
        let encryption = || S3Config { server_side_encryption: Encryption::Aes256, ..default_config() };
        let tags = || S3Config { tags: vec!["a=b".to_owned()], ..default_config() };
        let lock =
            || S3Config { object_lock_mode: LockMode::Governance, object_lock_days: 1, ..default_config() };
        let hold = || S3Config { legal_hold: true, ..default_config() };
        let cases = [
            (
                "x-amz-checksum-crc64nvme",
                config(ChecksumMode::Crc64nvme, Switch::Auto),
                "archive.s3.checksum",
            ),
            ("if-none-match", config(ChecksumMode::Auto, Switch::On), "archive.s3.conditional_create"),
            ("x-amz-storage-class", class(), "archive.s3.storage_class"),
            ("x-amz-server-side-encryption", encryption(), "archive.s3.server_side_encryption"),
            ("x-amz-tagging", tags(), "archive.s3.tags"),
            ("x-amz-object-lock-mode", lock(), "archive.s3.object_lock_mode"),
            ("x-amz-object-lock-retain-until-date", lock(), "archive.s3.object_lock_mode"),
            ("x-amz-object-lock-legal-hold", hold(), "archive.s3.legal_hold"),
        ];
        for (name, settings, key) in cases {
            for (status, is_named) in REFUSALS {
                let unknown_header = Some(UnknownHeader { name, status, is_named });
                let bench =
                    Bench::quirky(Quirks { unknown_header, ..Quirks::default() }, settings.clone()).await;
                let told = put(&bench.archive, "small", &content(1000, 2)).await;
                let Err(ArchiveError::Refused(told)) = told else {
                    panic!("{name} {status} {is_named}: {told:?}")
                };
                assert!(told.contains(key), "{name} {status} {is_named}: {told}");
            }
        }
    }

    #[tokio::test]
    async fn another_write_under_way_is_waited_out() {
        let quirks = Quirks { conflicts: AtomicU32::new(2), ..Quirks::default() };
        let bench = Bench::quirky(quirks, impatient()).await;
        put(&bench.archive, KEY, &Bytes::from_static(b"x")).await.unwrap();

        let quirks = Quirks { conflicts: AtomicU32::new(u32::MAX), ..Quirks::default() };
        let bench = Bench::quirky(quirks, impatient()).await;
        let result = put(&bench.archive, KEY, &Bytes::from_static(b"x")).await;
        assert!(matches!(result, Err(ArchiveError::Exists(_))), "{result:?}");
    }

    #[tokio::test]
    async fn a_store_that_keeps_something_else_is_found_out_and_cleaned_up() {
        let file = three_parts();
        let corrupting = || Quirks { corrupts: true, ..Quirks::default() };
        let truncating = || Quirks { truncates: true, ..Quirks::default() };
        let without_checksum = config(ChecksumMode::None, Switch::Auto);
        for (quirks, config) in [
            (corrupting(), default_config()),
            (truncating(), default_config()),
            (truncating(), without_checksum),
            (corrupting(), config(ChecksumMode::Sha256, Switch::Auto)),
        ] {
            let composite = config.checksum == ChecksumMode::Sha256;
            let bench = Bench::quirky(quirks, config).await;
            let result = put(&bench.archive, KEY, &content(1000, 1)).await;
            assert!(matches!(result, Err(ArchiveError::Mismatch(_))), "{result:?}");
            assert_eq!(bench.raw(KEY).await, None);
            // A checksum of the parts' checksums says nothing of what becomes of them afterwards.
            if !composite {
                let result = complete(&bench, &file).await;
                assert!(matches!(result, Err(ArchiveError::Mismatch(_))), "{result:?}");
                assert_eq!(bench.raw(KEY).await, None);
            }
        }
    }

    #[tokio::test]
    async fn what_another_wrote_meanwhile_is_not_removed_as_a_broken_write_of_ours() {
        let overtaken = || Quirks {
            rejects_conditions: true,
            ignores_checksums: true,
            overwrites: Some(Bytes::from_static(b"of whoever took over")),
            ..Quirks::default()
        };
        for is_small in [true, false] {
            let bench = Bench::quirky(overtaken(), default_config()).await;
            let result = match is_small {
                true => put(&bench.archive, KEY, &content(1000, 1)).await,
                false => complete(&bench, &three_parts()).await,
            };
            assert!(matches!(result, Err(ArchiveError::Exists(_))), "{result:?}");
            assert_eq!(bench.raw(KEY).await.unwrap(), "of whoever took over");
        }
    }

    #[tokio::test]
    async fn a_completion_whose_answer_was_lost_is_a_completion() {
        let file = three_parts();
        for checksum in [ChecksumMode::Auto, ChecksumMode::None] {
            for condition in [Switch::On, Switch::Off] {
                // The SDK sends it again; then the upload is gone and the object is there.
                let quirks = Quirks { loses_completions: AtomicU32::new(1), ..Quirks::default() };
                let bench = Bench::quirky(quirks, config(checksum, condition)).await;
                let stored = complete(&bench, &file).await.unwrap();
                assert_eq!(stored.bytes, file.len() as u64);
            }
        }
    }

    #[tokio::test]
    async fn an_object_of_somebody_else_is_not_taken_for_a_lost_completion() {
        let bench = Bench::s3().await;
        let file = three_parts();
        let upload = bench.archive.begin(&object(KEY)).await.unwrap();
        let parts = send_parts(&bench.archive, &upload, &file).await;
        bench.archive.abort(&upload).await.unwrap();
        put(&bench.archive, KEY, &Bytes::from_static(b"theirs")).await.unwrap();
        let result = bench.archive.complete(&upload, &parts, &proof(&file)).await;
        assert!(matches!(result, Err(ArchiveError::Exists(_) | ArchiveError::NoSuchUpload(_))), "{result:?}");
        assert_eq!(bench.raw(KEY).await.unwrap(), "theirs");
    }

    #[tokio::test]
    async fn an_error_inside_a_200_is_an_error() {
        let quirks = Quirks { fails_inside_200: AtomicU32::new(u32::MAX), ..Quirks::default() };
        let bench = Bench::quirky(quirks, impatient()).await;
        let result = complete(&bench, &three_parts()).await;
        assert!(matches!(result, Err(ArchiveError::Unavailable(_))), "{result:?}");
        assert_eq!(bench.raw(KEY).await, None);
        assert_eq!(bench.unfinished(KEY).await, 1);
    }

    #[tokio::test]
    async fn unfinished_uploads_are_found_on_every_page() {
        let bench = Bench::quirky(Quirks { per_page: 2, ..Quirks::default() }, default_config()).await;
        for _ in 0..5 {
            bench.archive.begin(&object(KEY)).await.unwrap();
        }
        assert_eq!(bench.archive.abort_all(KEY).await.unwrap(), 5);
        assert_eq!(bench.unfinished(KEY).await, 0);
    }

    #[tokio::test]
    async fn what_a_killed_writer_was_confirmed_is_gone_on_with() {
        if let Ok(url) = std::env::var(WRITER_PLACE) {
            return write_until_killed(&url).await;
        }
        let me = "archive_contract::only_s3::what_a_killed_writer_was_confirmed_is_gone_on_with";
        go_on_after_a_killed_writer(Bench::s3().await, me).await;
    }

    #[tokio::test]
    async fn parts_without_checksum_are_reviewed_by_number_and_size() {
        let bench = Bench::s3().await;
        let file = three_parts();
        let upload = bench.archive.begin(&object(KEY)).await.unwrap();
        send_parts(&bench.archive, &upload, &file).await;
        let right = proof(&file);
        let without = |part: Part| Part { crc64nvme: None, ..part };
        let parts: Vec<Part> =
            bench.archive.parts(&upload, PLAN).await.unwrap().into_iter().map(without).collect();
        let cases = [
            ("a gap", &parts[1..], Proof { bytes: right.bytes - parts[0].bytes, ..right }),
            ("a wrong sum", &parts[..], Proof { bytes: right.bytes + 1, ..right }),
        ];
        for (what, parts, proof) in cases {
            let result = bench.archive.complete(&upload, parts, &proof).await;
            assert!(matches!(result, Err(ArchiveError::Mismatch(_))), "{what}: {result:?}");
            assert_eq!(bench.raw(KEY).await, None, "{what}");
        }
        bench.archive.complete(&upload, &parts, &right).await.unwrap();
        assert!(bench.raw(KEY).await.unwrap() == file);
    }

    #[tokio::test]
    async fn parts_whose_checksum_the_store_does_not_tell_are_told_without() {
        let bench = Bench::on(
            S3Server::in_process(Quirks::default()).await,
            config(ChecksumMode::None, Switch::Auto),
        )
        .await;
        let upload = bench.archive.begin(&object(KEY)).await.unwrap();
        let sent = send_parts(&bench.archive, &upload, &three_parts()).await;
        let without = |part: Part| Part { crc64nvme: None, ..part };
        let expected: Vec<Part> = sent.into_iter().map(without).collect();
        assert_eq!(bench.archive.parts(&upload, PLAN).await.unwrap(), expected);
    }

    #[tokio::test]
    async fn parts_are_found_on_every_page() {
        let bench = Bench::quirky(Quirks { per_page: 2, ..Quirks::default() }, default_config()).await;
        let upload = bench.archive.begin(&object(KEY)).await.unwrap();
        let sent = send_parts(&bench.archive, &upload, &three_parts()).await;
        assert_eq!(bench.archive.parts(&upload, PLAN).await.unwrap(), sent);
    }

    #[tokio::test]
    async fn the_store_refuses_what_is_not_what_the_proof_says() {
        let bench = Bench::s3().await;
        let body = Bytes::from_static(b"what was received");
        let result = bench.archive.put(&object(KEY), body.clone(), &proof(b"what was RECEIVED")).await;
        assert!(matches!(result, Err(ArchiveError::Mismatch(_))), "{result:?}");
        assert_eq!(bench.raw(KEY).await, None);

        let upload = bench.archive.begin(&object(KEY)).await.unwrap();
        let result = bench.archive.put_part(&upload, PLAN, 1, body.clone(), crc64nvme(&body) ^ 1).await;
        assert!(matches!(result, Err(ArchiveError::Mismatch(_))), "{result:?}");
        assert_eq!(bench.archive.parts(&upload, PLAN).await.unwrap(), []);
    }

    #[tokio::test]
    async fn unfinished_uploads_below_the_prefix_are_found_by_age_and_can_be_given_up() {
        let quirks = Quirks { per_page: 2, ..Quirks::default() };
        let bench = Bench::quirky(quirks, default_config()).await;
        let Place::S3 { server, bucket } = &bench.place else { panic!("not a store") };
        let elsewhere = server.archive(bucket, "zoom2/", &default_config()).await;
        let foreign = elsewhere.begin(&object(KEY)).await.unwrap();
        let mut begun = Vec::new();
        for key in [KEY, KEY, "another/key", "b", "c"] {
            begun.push(bench.archive.begin(&object(key)).await.unwrap());
        }
        assert_eq!(bench.archive.unfinished(Duration::from_secs(3600)).await.unwrap(), []);

        let found = bench.reopened().await.unfinished(Duration::ZERO).await.unwrap();
        let named = |upload: &Upload| (upload.key.clone(), upload.id.clone());
        let (mut expected, mut told): (Vec<_>, Vec<_>) =
            (begun.iter().map(named).collect(), found.iter().map(|found| named(&found.upload)).collect());
        expected.sort();
        told.sort();
        assert_eq!(told, expected);

        for found in found {
            bench.archive.abort(&found.upload).await.unwrap();
        }
        assert_eq!(bench.archive.unfinished(Duration::ZERO).await.unwrap(), []);
        assert_eq!(elsewhere.parts(&foreign, PLAN).await.unwrap(), []);
    }

    #[tokio::test]
    async fn unfinished_uploads_of_a_whole_bucket_are_found_and_can_be_given_up() {
        let server = S3Server::start().await;
        let bucket = server.create_bucket().await;
        let archive = server.archive(&bucket, "", &default_config()).await;
        for key in [KEY, "b"] {
            let upload = archive.begin(&object(key)).await.unwrap();
            let found = archive.unfinished(Duration::ZERO).await.unwrap();
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!((found[0].upload.key.as_str(), &found[0].upload.id), (key, &upload.id));
            assert!(found[0].age < Duration::from_secs(3600), "{found:?}");
            assert_eq!(archive.unfinished(Duration::from_secs(3600)).await.unwrap(), []);

            archive.abort(&found[0].upload).await.unwrap();
            assert_eq!(archive.unfinished(Duration::ZERO).await.unwrap(), []);
        }
    }

    #[tokio::test]
    async fn a_store_that_lists_no_uploads_is_known_to() {
        let quirks = Quirks { lists_no_uploads: true, ..Quirks::default() };
        let bench = Bench::quirky(quirks, impatient()).await;
        let result = bench.archive.unfinished(Duration::ZERO).await;
        assert!(matches!(result, Err(ArchiveError::Refused(_))), "{result:?}");
    }

    #[tokio::test]
    async fn the_code_of_an_answer_decides() {
        let codes = [
            (S3ErrorCode::SlowDown, "unavailable"),
            (S3ErrorCode::InternalError, "unavailable"),
            (S3ErrorCode::ServiceUnavailable, "unavailable"),
            (S3ErrorCode::AccessDenied, "unavailable"),
            (S3ErrorCode::InvalidAccessKeyId, "unavailable"),
            (S3ErrorCode::SignatureDoesNotMatch, "unavailable"),
            (S3ErrorCode::ExpiredToken, "unavailable"),
            (S3ErrorCode::AuthorizationHeaderMalformed, "unavailable"),
            (S3ErrorCode::NoSuchBucket, "unavailable"),
            // What MinIO answers to whatever is on its way while it stops.
            (S3ErrorCode::Custom("ClientDisconnected".into()), "unavailable"),
            (S3ErrorCode::BadDigest, "mismatch"),
            (S3ErrorCode::InvalidRequest, "refused"),
            (S3ErrorCode::KeyTooLongError, "refused"),
            (S3ErrorCode::EntityTooLarge, "refused"),
        ];
        for (code, decision) in codes {
            let name = code.as_str().to_owned();
            let quirks = Quirks { answers: Some(code), ..Quirks::default() };
            let bench = Bench::quirky(quirks, impatient()).await;
            let error = put(&bench.archive, KEY, &Bytes::from_static(b"x")).await.unwrap_err();
            let found = match &error {
                ArchiveError::Unavailable(_) => "unavailable",
                ArchiveError::Mismatch(_) => "mismatch",
                ArchiveError::Refused(_) => "refused",
                _ => "other",
            };
            assert_eq!(found, decision, "{error}");
            let text = error.to_string();
            assert!(text.contains(&name) && text.contains("bucket test-"), "{text}");
        }
    }

    #[tokio::test]
    async fn a_store_that_has_gone_is_an_archive_that_is_away() {
        let mut server = S3Server::in_process(Quirks::default()).await;
        let bucket = server.create_bucket().await;
        let archive = server.archive(&bucket, PREFIX, &impatient()).await;
        let upload = archive.begin(&object(KEY)).await.unwrap();
        server.stop().await;
        every_call_finds_it_away(&archive, &upload).await;
    }

    #[tokio::test]
    async fn a_store_that_does_not_answer_is_an_archive_that_is_away() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let silent = tokio::spawn(async move {
            let mut held = Vec::new();
            while let Ok(connection) = listener.accept().await {
                held.push(connection);
            }
        });
        let access = Access {
            endpoint,
            region: "us-east-1".to_owned(),
            access_key_id: "anyone".to_owned(),
            secret_access_key: "anything".into(),
        };
        let place = S3Location { bucket: "somewhere".to_owned(), prefix: String::new() };
        let config = S3Config { attempt_timeout_ms: 200, ..impatient() };
        let archive = S3Archive::open(&place, &config, Some(&access)).await;
        let result = archive.ping().await;
        let Err(ArchiveError::Unavailable(text)) = result else { panic!("{result:?}") };
        assert!(text.contains("somewhere") && text.contains("no answer in time"), "{text}");
        silent.abort();
    }

    /// Runs itself once more as a child, because a process must not change its own environment.
    #[tokio::test]
    async fn the_store_is_found_by_the_sdks_own_chain() {
        const BUCKET: &str = "TEST_BUCKET_OF_CHILD";
        if let Ok(bucket) = std::env::var(BUCKET) {
            let config = ArchiveConfig {
                key_template: String::new(),
                try_at_start: false,
                min_free_bytes: 0,
                s3: default_config(),
            };
            let url = format!("s3://{bucket}/by/chain");
            let archive = zoom_archiver::archive::open(&url, &config).await.unwrap();
            assert_eq!(archive.describe(), url);
            put(&archive, "found", &Bytes::from_static(b"x")).await.unwrap();
            return;
        }
        let server = S3Server::start().await;
        let bucket = server.create_bucket().await;
        let access = server.access();
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child
            .args(["--exact", "archive_contract::only_s3::the_store_is_found_by_the_sdks_own_chain"])
            .env(BUCKET, &bucket)
            .env("AWS_ENDPOINT_URL_S3", &access.endpoint)
            .env("AWS_REGION", &access.region)
            .env("AWS_ACCESS_KEY_ID", &access.access_key_id)
            .env("AWS_SECRET_ACCESS_KEY", access.secret_access_key.expose_secret());
        let ended = tokio::task::spawn_blocking(move || child.output()).await.unwrap().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stdout));
        assert_eq!(server.objects(&bucket).await, ["by/chain/found"]);
    }

    #[tokio::test]
    async fn a_missing_bucket_is_named() {
        let server = S3Server::start().await;
        let archive = server.archive("no-such-bucket-here", PREFIX, &impatient()).await;
        let results = [
            put(&archive, KEY, &Bytes::from_static(b"x")).await.map(drop),
            archive.begin(&object(KEY)).await.map(drop),
            archive.ping().await,
        ];
        for result in results {
            let Err(ArchiveError::Unavailable(text)) = result else { panic!("{result:?}") };
            assert!(text.contains("no-such-bucket-here") && text.contains("create the bucket"), "{text}");
        }
    }

    #[tokio::test]
    async fn wrong_credentials_are_an_archive_that_is_away_and_are_not_told() {
        let server = S3Server::start().await;
        let bucket = server.create_bucket().await;
        let place = S3Location { bucket, prefix: String::new() };
        let wrong = [
            Access { secret_access_key: "hush-hush-hush".into(), ..server.access().clone() },
            Access { access_key_id: "nobody-knows-me".to_owned(), ..server.access().clone() },
        ];
        for access in wrong {
            let archive = S3Archive::open(&place, &impatient(), Some(&access)).await;
            let body = Bytes::from_static(b"x");
            let result = archive.put(&object(KEY), body.clone(), &proof(&body)).await;
            let Err(ArchiveError::Unavailable(text)) = result else { panic!("{result:?}") };
            assert!(!text.contains("hush") && !text.contains("Signature="), "{text}");
            assert!(!format!("{archive:?}").contains("hush"));
        }
    }
}

#[tokio::test]
async fn an_archive_is_opened_by_its_url() {
    let config = ArchiveConfig {
        key_template: "{recording}/{file}".to_owned(),
        try_at_start: false,
        min_free_bytes: 0,
        s3: default_config(),
    };
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("deep/archive");
    let url = format!("file://{}", root.display());
    let archive = zoom_archiver::archive::open(&url, &config).await.unwrap();
    assert_eq!(archive.describe(), url);
    put(&archive, KEY, &Bytes::from_static(b"x")).await.unwrap();
    assert!(root.join(KEY).is_file());

    for url in ["ftp://host/path", "file://relative", "s3://", ""] {
        let result = zoom_archiver::archive::open(url, &config).await.map(drop);
        assert!(matches!(result, Err(ArchiveError::Refused(_))), "{url}: {result:?}");
    }
}

#[tokio::test]
async fn a_directory_that_is_asked_for_what_only_a_bucket_has_is_refused_by_the_setting() {
    let locked =
        S3Config { object_lock_mode: LockMode::Governance, object_lock_days: 30, ..default_config() };
    let config = ArchiveConfig {
        key_template: "{recording}/{file}".to_owned(),
        try_at_start: false,
        min_free_bytes: 0,
        s3: locked,
    };
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    let refused = zoom_archiver::archive::open(&url, &config).await.map(drop).unwrap_err();
    assert!(matches!(refused, ArchiveError::Refused(_)), "{refused:?}");
    assert!(refused.to_string().contains("archive.s3.object_lock_mode"), "{refused}");
}
