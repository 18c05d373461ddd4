//! An S3 server to test against: the one that `TEST_S3_ENDPOINT` names, or one in this process.
//!
//! The one in this process speaks the real protocol over a real socket (the `s3s` crate) and keeps its objects
//! in memory, with the semantics that matter here: conditional writes, checksums of parts and whole, unfinished
//! uploads by key. It misbehaves on command ([`Quirks`]). `s3s-fs` would not do: it lists no unfinished uploads
//! and keeps no checksum of an object of several parts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_s3::operation::head_object::HeadObjectOutput as HeadObject;
use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use http_body_util::BodyExt;
use hyper::service::{Service, service_fn};
use md5::{Digest, Md5};
use s3s::auth::{S3Auth, SecretKey};
use s3s::dto::*;
use s3s::service::S3ServiceBuilder;
use s3s::{Body, HttpError, S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};
use sha2::Sha256;
use uuid::Uuid;
use zoom_archiver::archive::SharedArchive;
use zoom_archiver::archive::location::S3Location;
use zoom_archiver::archive::s3::{Access, S3Archive};
use zoom_archiver::config::archive::S3Config;
use zoom_archiver::domain::checksum;

const IN_PROCESS_KEY: &str = "test-access-key";
const IN_PROCESS_SECRET: &str = "test-secret-key";

/// The settings that `config/default.toml` has, with less patience.
pub(crate) fn default_config() -> S3Config {
    let defaults = zoom_archiver::config::load::load(None, &BTreeMap::new()).unwrap();
    S3Config { attempt_timeout_ms: 20_000, ..defaults.archive.s3 }
}

/// What nginx, and MinIO after it, answers when the client seems to have gone.
const NO_OFFICIAL_STATUS: u16 = 499;

/// A running S3 server.
pub(crate) struct S3Server {
    access: Access,
    client: aws_sdk_s3::Client,
    serving: Option<tokio::task::JoinHandle<()>>,
    memory: Option<Memory>,
}

impl S3Server {
    /// The server that `TEST_S3_ENDPOINT` names, else one in this process.
    pub(crate) async fn start() -> Self {
        Self::start_or(Quirks::default()).await
    }

    /// The same, with what the one in this process lacks.
    pub(crate) async fn start_or(quirks: Quirks) -> Self {
        match std::env::var("TEST_S3_ENDPOINT") {
            Ok(endpoint) => {
                let variable =
                    |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
                let (key, secret) = (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY"));
                let region = std::env::var("AWS_REGION").unwrap_or_else(|_| "us-east-1".to_owned());
                Self::at(Access { endpoint, region, access_key_id: key, secret_access_key: secret.into() })
            }
            Err(_) => {
                let required = std::env::var("TEST_REQUIRE").unwrap_or_default();
                assert!(
                    !required.split(',').any(|name| name.trim() == "minio"),
                    "TEST_REQUIRE names minio, but TEST_S3_ENDPOINT is not set"
                );
                Self::in_process(quirks).await
            }
        }
    }

    /// A server of its own, in this process.
    pub(crate) async fn in_process(quirks: Quirks) -> Self {
        let quirks = Arc::new(quirks);
        let region = quirks.region.unwrap_or("us-east-1").to_owned();
        let memory = Memory { kept: Arc::default(), quirks: quirks.clone() };
        let mut service = S3ServiceBuilder::new(memory.clone());
        service.set_auth(Keys(memory.clone()));
        let service = service.build();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let (service, quirks) = (service.clone(), quirks.clone());
                let service = service_fn(move |request| {
                    quirks.counts.requests.fetch_add(1, Ordering::SeqCst);
                    let (service, quirks) = (service.clone(), quirks.clone());
                    async move {
                        let mut response = match quirks.refused(&request) {
                            Some(refusal) => {
                                // As nginx does, with `lingering_close`: who still sends would else lose the answer.
                                let _ = BodyExt::collect(request.into_body()).await;
                                refusal
                            }
                            None => Service::call(&service, request).await?,
                        };
                        response.headers_mut().insert(http::header::DATE, quirks.date());
                        Ok::<_, HttpError>(response)
                    }
                });
                connections.spawn(async move {
                    let io = hyper_util::rt::TokioIo::new(socket);
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
                });
            }
        });
        let mut server = Self::at(Access {
            endpoint,
            region,
            access_key_id: IN_PROCESS_KEY.to_owned(),
            secret_access_key: IN_PROCESS_SECRET.into(),
        });
        server.serving = Some(serving);
        server.memory = Some(memory);
        server
    }

    /// A client of the server there.
    pub(crate) fn at(access: Access) -> Self {
        use secrecy::ExposeSecret;
        let secret = access.secret_access_key.expose_secret();
        let settings = aws_sdk_s3::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .endpoint_url(&access.endpoint)
            .region(Region::new(access.region.clone()))
            .credentials_provider(Credentials::new(&access.access_key_id, secret, None, None, "test"))
            .force_path_style(true)
            .build();
        Self { access, client: aws_sdk_s3::Client::from_conf(settings), serving: None, memory: None }
    }

    /// Where it is and how to be let in.
    pub(crate) fn access(&self) -> &Access {
        &self.access
    }

    /// A server that encrypts, and the name of a key that it has: the one of [`start`](Self::start) when
    /// `TEST_S3_KMS_KEY_ID` names a key of it, or when it is in this process; else one in this process.
    pub(crate) async fn start_with_encryption() -> (Self, String) {
        match std::env::var("TEST_S3_KMS_KEY_ID") {
            Ok(key) => (Self::start().await, key),
            Err(_) => (Self::in_process(Quirks::default()).await, "any-key".to_owned()),
        }
    }

    /// Makes a bucket that nobody else uses.
    pub(crate) async fn create_bucket(&self) -> String {
        self.make_bucket(false).await
    }

    /// The same with Object Lock, hence with versions.
    pub(crate) async fn create_bucket_with_locks(&self) -> String {
        self.make_bucket(true).await
    }

    /// Makes one that keeps versions, without locks.
    pub(crate) async fn create_bucket_with_versions(&self) -> String {
        let bucket = self.create_bucket().await;
        let status = aws_sdk_s3::types::BucketVersioningStatus::Enabled;
        let enabled = aws_sdk_s3::types::VersioningConfiguration::builder().status(status).build();
        let request = self.client.put_bucket_versioning().bucket(&bucket).versioning_configuration(enabled);
        request.send().await.unwrap();
        bucket
    }

    async fn make_bucket(&self, locks: bool) -> String {
        let bucket = format!("test-{}", Uuid::now_v7().simple());
        let request = self.client.create_bucket().bucket(&bucket).object_lock_enabled_for_bucket(locks);
        request.send().await.unwrap();
        bucket
    }

    /// An archive in a bucket.
    pub(crate) async fn archive(&self, bucket: &str, prefix: &str, config: &S3Config) -> SharedArchive {
        let place = S3Location { bucket: bucket.to_owned(), prefix: prefix.to_owned() };
        Arc::new(S3Archive::open(&place, config, Some(&self.access)).await)
    }

    /// The keys of all objects, in order.
    pub(crate) async fn objects(&self, bucket: &str) -> Vec<String> {
        let mut pages = self.client.list_objects_v2().bucket(bucket).into_paginator().send();
        let mut keys = Vec::new();
        while let Some(page) = pages.next().await {
            keys.extend(page.unwrap().contents().iter().filter_map(|object| object.key.clone()));
        }
        keys
    }

    /// The ids of the unfinished uploads under exactly this full key.
    pub(crate) async fn uploads(&self, bucket: &str, key: &str) -> Vec<String> {
        let listed = self.client.list_multipart_uploads().bucket(bucket).prefix(key).send().await.unwrap();
        let exact = listed.uploads().iter().filter(|upload| upload.key() == Some(key));
        exact.filter_map(|upload| upload.upload_id.clone()).collect()
    }

    /// How many parts an unfinished upload holds.
    pub(crate) async fn parts(&self, bucket: &str, key: &str, id: &str) -> usize {
        let listed = self.client.list_parts().bucket(bucket).key(key).upload_id(id).send().await.unwrap();
        listed.parts().len()
    }

    /// How many unfinished uploads there are, under whatever keys.
    pub(crate) async fn unfinished(&self, bucket: &str) -> usize {
        self.client.list_multipart_uploads().bucket(bucket).send().await.unwrap().uploads().len()
    }

    /// Drops an unfinished upload, as the store's own housekeeping would.
    pub(crate) async fn abort(&self, bucket: &str, key: &str, id: &str) {
        self.client.abort_multipart_upload().bucket(bucket).key(key).upload_id(id).send().await.unwrap();
    }

    /// Puts other content in the place of an unfinished upload's first part.
    pub(crate) async fn replace_first_part(&self, bucket: &str, key: &str, id: &str) {
        let body = vec![0; 5 * 1024 * 1024];
        self.client
            .upload_part()
            .bucket(bucket)
            .key(key)
            .upload_id(id)
            .part_number(1)
            .checksum_algorithm(aws_sdk_s3::types::ChecksumAlgorithm::Crc64Nvme)
            .body(body.into())
            .send()
            .await
            .unwrap();
    }

    /// The raw bytes under a full key; `None` when there is nothing.
    pub(crate) async fn bytes(&self, bucket: &str, key: &str) -> Option<Bytes> {
        self.bytes_of(bucket, key, None).await
    }

    /// The raw bytes of one version of it.
    pub(crate) async fn bytes_of(&self, bucket: &str, key: &str, version: Option<&str>) -> Option<Bytes> {
        let version = version.map(str::to_owned);
        let found = self.client.get_object().bucket(bucket).key(key).set_version_id(version).send().await;
        match found {
            Ok(found) => Some(found.body.collect().await.unwrap().into_bytes()),
            Err(error) if error.as_service_error().is_some_and(|error| error.is_no_such_key()) => None,
            Err(error) => panic!("{error:?}"),
        }
    }

    /// Writes something under a full key, or removes what is there, behind everybody's back.
    pub(crate) async fn overwrite(&self, bucket: &str, key: &str, body: Option<&[u8]>) {
        match body {
            Some(body) => {
                let put = self.client.put_object().bucket(bucket).key(key).body(body.to_vec().into());
                put.send().await.expect("it can be written");
            }
            None => {
                self.client.delete_object().bucket(bucket).key(key).send().await.expect("it can be removed");
            }
        }
    }

    /// All that the store says of the object under a full key.
    pub(crate) async fn described(&self, bucket: &str, key: &str) -> HeadObject {
        self.client.head_object().bucket(bucket).key(key).send().await.unwrap()
    }

    /// The tags of the object under a full key, in order of their keys.
    pub(crate) async fn tags(&self, bucket: &str, key: &str) -> Vec<(String, String)> {
        let kept = self.client.get_object_tagging().bucket(bucket).key(key).send().await.unwrap();
        let mut tags: Vec<_> = kept.tag_set.into_iter().map(|tag| (tag.key, tag.value)).collect();
        tags.sort();
        tags
    }

    /// Tries to remove one version for good; whether the store did it.
    pub(crate) async fn removes(&self, bucket: &str, key: &str, version: &str) -> bool {
        self.client.delete_object().bucket(bucket).key(key).version_id(version).send().await.is_ok()
    }

    /// How many requests of this kind the in-process server has had.
    pub(crate) fn count(&self, of: impl Fn(&Counts) -> &AtomicUsize) -> usize {
        of(&self.memory.as_ref().expect("only the server in this process counts").quirks.counts)
            .load(Ordering::SeqCst)
    }

    /// Has the in-process server accept these keys, beside its own; `None` for keys that it accepts no more.
    pub(crate) fn set_keys(&self, id: &str, secret: Option<&str>) {
        let memory = self.memory.as_ref().expect("only the server in this process has keys to change");
        let mut keys = memory.quirks.keys.lock().unwrap();
        match secret {
            Some(secret) => keys.insert(id.to_owned(), secret.to_owned()),
            None => keys.remove(id),
        };
    }

    /// Has the in-process server keep the object under a full key to itself, or give it again.
    pub(crate) fn freeze(&self, key: &str, frozen: bool) {
        let memory = self.memory.as_ref().expect("only the server in this process freezes");
        let mut all = memory.quirks.frozen.lock().unwrap();
        if frozen {
            all.insert(key.to_owned())
        } else {
            all.remove(key)
        };
    }

    /// Stops the in-process server: its port is closed when this returns.
    pub(crate) async fn stop(&mut self) {
        let serving = self.serving.take().expect("only a server in this process can be stopped");
        serving.abort();
        let _ = serving.await;
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

/// Requests that were answered.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// All of them.
    pub(crate) requests: AtomicUsize,
    /// `PutObject`, also rejected ones.
    pub(crate) puts: AtomicUsize,
    /// `HeadObject`.
    pub(crate) heads: AtomicUsize,
}

/// How the in-process server is lesser than Amazon's, or misbehaves.
#[derive(Debug, Default)]
pub(crate) struct Quirks {
    /// Answers 400 to any request with a checksum.
    pub(crate) rejects_checksums: bool,
    /// Takes checksums and forgets them.
    pub(crate) ignores_checksums: bool,
    /// Answers 501 to `If-None-Match`.
    pub(crate) rejects_conditions: bool,
    /// Answers 501 to `If-None-Match` or checksums, without saying which it means.
    pub(crate) rejects_silently: bool,
    /// Stores something else than it was sent: the last byte is another one.
    pub(crate) corrupts: bool,
    /// Stores less than it was sent: the last byte is missing.
    pub(crate) truncates: bool,
    /// Writes this over each object at once, as somebody else would.
    pub(crate) overwrites: Option<Bytes>,
    /// Completes, then answers 500 to this many completions.
    pub(crate) loses_completions: AtomicU32,
    /// Answers this many completions with 200 and an error in the body, and does not complete.
    pub fails_inside_200: AtomicU32,
    /// Answers 409 `ConditionalRequestConflict` to this many conditional writes.
    pub(crate) conflicts: AtomicU32,
    /// Answers every request with this code.
    pub(crate) answers: Option<S3ErrorCode>,
    /// Uploads or parts on one page of a listing; 0 for no limit.
    pub(crate) per_page: usize,
    /// Options that it has not got.
    pub(crate) lacks: &'static [Lack],
    /// Options that it takes and forgets.
    pub(crate) forgets: &'static [Lack],
    /// Its clock is ahead by so many seconds.
    pub(crate) clock_ahead_secs: i64,
    /// The region that it is in: it refuses what was signed for another one.
    pub(crate) region: Option<&'static str>,
    /// The rights that its credentials lack, as `s3:PutObject`.
    pub(crate) denies: &'static [&'static str],
    /// Answers 501 to listings of uploads.
    pub(crate) lists_no_uploads: bool,
    /// Full keys of objects that it has and does not give, as if they lay in a storage class that must be restored first.
    pub(crate) frozen: Mutex<BTreeSet<String>>,
    /// A header that it has never heard of.
    pub(crate) unknown_header: Option<UnknownHeader>,
    /// What something before it answers in its place.
    pub(crate) gateway: Option<Gateway>,
    /// Keys that it accepts beside its own, by id.
    pub(crate) keys: Mutex<BTreeMap<String, String>>,
    /// What was asked.
    pub(crate) counts: Counts,
}

/// A header that a store refuses, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UnknownHeader {
    /// Its name.
    pub(crate) name: &'static str,
    /// 400 as Backblaze B2, 501 as Google and Amazon.
    pub(crate) status: u16,
    /// Whether the error names it.
    pub(crate) is_named: bool,
}

impl UnknownHeader {
    fn refuses<T>(self, request: &http::Request<T>) -> Option<http::Response<Body>> {
        request.headers().get(self.name)?;
        let (code, words) = match (self.status, self.is_named) {
            (501, _) => (
                "NotImplemented",
                "A header you provided implies functionality that is not implemented".into(),
            ),
            (_, true) => {
                ("InvalidArgument", format!("Unsupported header '{}' received for this API call.", self.name))
            }
            (_, false) => ("InvalidArgument", "Invalid Argument".to_owned()),
        };
        let body = format!("<Error><Code>{code}</Code><Message>{words}</Message></Error>");
        Some(answer(self.status, "application/xml", body))
    }
}

/// A proxy before a store, that answers in its place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Gateway {
    /// What it answers, in HTML.
    pub(crate) status: u16,
    /// Bodies that are longer than this are refused, in bytes.
    pub(crate) max_body_bytes: u64,
}

impl Gateway {
    fn refuses<T>(self, request: &http::Request<T>) -> Option<http::Response<Body>> {
        let length =
            request.headers().get(http::header::CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
        if length.unwrap_or(0) < self.max_body_bytes {
            return None;
        }
        let body =
            "<html><head><title>Not here</title></head><body><h1>Not here</h1></body></html>".to_owned();
        let mut answer = answer(self.status, "text/html", body);
        answer.headers_mut().insert(http::header::SERVER, http::HeaderValue::from_static("nginx/1.24.0"));
        Some(answer)
    }
}

/// The tests make their buckets whatever the server is like.
fn is_bucket_creation<T>(request: &http::Request<T>) -> bool {
    let path = request.uri().path().trim_matches('/');
    request.method() == http::Method::PUT && !path.contains('/')
}

fn answer(status: u16, content_type: &str, body: String) -> http::Response<Body> {
    let answer = http::Response::builder().status(status).header("content-type", content_type);
    answer.body(Body::from(Bytes::from(body))).unwrap()
}

/// The keys that the in-process server accepts.
struct Keys(Memory);

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, id: &str) -> S3Result<SecretKey> {
        if id == IN_PROCESS_KEY {
            return Ok(SecretKey::from(IN_PROCESS_SECRET));
        }
        let keys = self.0.quirks.keys.lock().unwrap();
        let secret = keys.get(id).ok_or_else(|| {
            s3_error!(InvalidAccessKeyId, "The AWS Access Key Id you provided does not exist in our records.")
        })?;
        Ok(SecretKey::from(secret.as_str()))
    }
}

impl Quirks {
    /// What it answers to a request that was signed for another region; as Amazon S3, in a body that HEAD does not get.
    fn elsewhere<T>(&self, request: &http::Request<T>) -> Option<http::Response<Body>> {
        let region = self.region?;
        let signed = request.headers().get(http::header::AUTHORIZATION)?.to_str().ok()?;
        if signed.split('/').nth(2) == Some(region) {
            return None;
        }
        let body = format!(
            "<Error><Code>AuthorizationHeaderMalformed</Code><Message>The authorization header is malformed; the region \
             is wrong; expecting '{region}'</Message><Region>{region}</Region></Error>"
        );
        let refusal = http::Response::builder()
            .status(http::StatusCode::BAD_REQUEST)
            .header("content-type", "application/xml")
            .header("x-amz-bucket-region", region);
        Some(refusal.body(Body::from(Bytes::from(body))).unwrap())
    }

    /// What is answered before anybody looks at the request itself.
    fn refused<T>(&self, request: &http::Request<T>) -> Option<http::Response<Body>> {
        if is_bucket_creation(request) {
            return None;
        }
        let of_gateway = self.gateway.and_then(|gateway| gateway.refuses(request));
        let of_header = || self.unknown_header.and_then(|header| header.refuses(request));
        of_gateway.or_else(of_header).or_else(|| self.too_skewed()).or_else(|| self.elsewhere(request))
    }

    /// What S3 answers to a request whose time is not the store's.
    fn too_skewed(&self) -> Option<http::Response<Body>> {
        let body = "<Error><Code>RequestTimeTooSkewed</Code><Message>The difference between the request time and the server's \
                    time is too large.</Message></Error>";
        (self.clock_ahead_secs.abs() > 15 * 60).then(|| answer(403, "application/xml", body.to_owned()))
    }

    fn date(&self) -> http::HeaderValue {
        let now = chrono::Utc::now() + chrono::TimeDelta::seconds(self.clock_ahead_secs);
        now.format("%a, %d %b %Y %H:%M:%S GMT").to_string().parse().unwrap()
    }
}

/// An option that a store has not got, and how one that lacks it says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lack {
    /// Amazon S3, for a class that it does not know.
    StorageClass,
    /// MinIO without a key server.
    Encryption,
    /// Amazon S3, for a key that is not there.
    KmsKey,
    /// Cloudflare R2.
    Tags,
    /// Any, for more than it takes.
    Metadata,
}

impl Lack {
    fn error(self) -> S3Error {
        match self {
            Self::StorageClass => {
                s3_error!(InvalidStorageClass, "The storage class you specified is not valid")
            }
            Self::Encryption => {
                s3_error!(NotImplemented, "Server side encryption specified but KMS is not configured")
            }
            Self::KmsKey => {
                let code = S3ErrorCode::from_bytes(b"KMS.NotFoundException").unwrap();
                let mut error = S3Error::with_message(code, "Key 'arn:aws:kms:::key/none' does not exist");
                error.set_status_code(http::StatusCode::BAD_REQUEST);
                error
            }
            Self::Tags => {
                s3_error!(NotImplemented, "Header 'x-amz-tagging' with value 'a=b' not implemented")
            }
            Self::Metadata => {
                s3_error!(MetadataTooLarge, "Your metadata headers exceed the maximum allowed metadata size")
            }
        }
    }
}

/// What a writer asks for beside the content.
#[derive(Debug, Clone)]
struct Options {
    storage_class: Option<StorageClass>,
    encryption: Option<ServerSideEncryption>,
    kms_key_id: Option<String>,
    tagging: Option<String>,
    metadata: Option<Metadata>,
    lock_mode: Option<ObjectLockMode>,
    retain_until: Option<Timestamp>,
    legal_hold: Option<ObjectLockLegalHoldStatus>,
}

macro_rules! options {
    ($input:expr) => {
        Options {
            storage_class: $input.storage_class.clone(),
            encryption: $input.server_side_encryption.clone(),
            kms_key_id: $input.ssekms_key_id.clone(),
            tagging: $input.tagging.clone(),
            metadata: $input.metadata.clone(),
            lock_mode: $input.object_lock_mode.clone(),
            retain_until: $input.object_lock_retain_until_date.clone(),
            legal_hold: $input.object_lock_legal_hold_status.clone(),
        }
    };
}

impl Options {
    fn locks(&self) -> bool {
        self.lock_mode.is_some() || self.legal_hold.is_some()
    }

    /// What a store keeps of it that forgets some.
    fn without(mut self, forgotten: &[Lack]) -> Self {
        for lack in forgotten {
            match lack {
                Lack::StorageClass => self.storage_class = None,
                Lack::Encryption | Lack::KmsKey => (self.encryption, self.kms_key_id) = (None, None),
                Lack::Tags => self.tagging = None,
                Lack::Metadata => self.metadata = None,
            }
        }
        self
    }

    fn asks_for(&self, lack: Lack) -> bool {
        match lack {
            Lack::StorageClass => self.storage_class.is_some(),
            Lack::Encryption => self.encryption.is_some(),
            Lack::KmsKey => self.kms_key_id.is_some(),
            Lack::Tags => self.tagging.is_some(),
            Lack::Metadata => self.metadata.is_some(),
        }
    }
}

/// Takes one of `left`, if there is one.
fn take(left: &AtomicU32) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

#[derive(Clone)]
struct Memory {
    kept: Arc<Mutex<BTreeMap<String, Bucket>>>,
    quirks: Arc<Quirks>,
}

#[derive(Default)]
struct Bucket {
    objects: BTreeMap<String, Stored>,
    uploads: BTreeMap<String, Unfinished>,
    /// Whether it has Object Lock, hence versions.
    locks: bool,
    /// Whether it keeps versions.
    versioned: bool,
    /// All versions, by key and id.
    versions: BTreeMap<(String, String), Stored>,
}

impl Bucket {
    fn accepts(&self, options: &Options) -> S3Result<()> {
        if options.locks() && !self.locks {
            return Err(s3_error!(InvalidRequest, "Bucket is missing Object Lock Configuration"));
        }
        Ok(())
    }

    /// Makes an object appear; its version id, where there are versions.
    fn keep(&mut self, key: String, mut stored: Stored) -> Option<String> {
        stored.version = (self.locks || self.versioned).then(|| Uuid::now_v7().to_string());
        if let Some(version) = &stored.version {
            self.versions.insert((key.clone(), version.clone()), stored.clone());
        }
        let version = stored.version.clone();
        self.objects.insert(key, stored);
        version
    }

    /// Writes another content over an object.
    fn overwrite(&mut self, key: &str, body: &Bytes) {
        if let Some(object) = self.objects.get_mut(key) {
            *object =
                Stored { body: body.clone(), etag: md5_hex(body), sums: Sums::default(), ..object.clone() };
        }
    }

    fn find(&self, key: &str, version: Option<&String>) -> S3Result<&Stored> {
        match version {
            None => self.objects.get(key).ok_or_else(|| s3_error!(NoSuchKey)),
            Some(version) => {
                let version = self.versions.get(&(key.to_owned(), version.clone()));
                version.ok_or_else(|| s3_error!(NoSuchVersion))
            }
        }
    }
}

#[derive(Clone)]
struct Stored {
    body: Bytes,
    etag: String,
    content_type: Option<String>,
    sums: Sums,
    options: Options,
    version: Option<String>,
}

struct Unfinished {
    key: String,
    began: SystemTime,
    content_type: Option<String>,
    algorithm: Option<String>,
    options: Options,
    parts: BTreeMap<i32, SentPart>,
}

struct SentPart {
    body: Bytes,
    etag: String,
    sums: Sums,
}

/// Checksums as they were sent or are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Sums {
    crc64nvme: Option<String>,
    crc32c: Option<String>,
    sha256: Option<String>,
}

macro_rules! sums {
    ($input:expr) => {
        Sums {
            crc64nvme: $input.checksum_crc64nvme.clone(),
            crc32c: $input.checksum_crc32c.clone(),
            sha256: $input.checksum_sha256.clone(),
        }
    };
}

impl Sums {
    fn any(&self) -> bool {
        *self != Self::default()
    }

    /// The same algorithms over `body`.
    fn over(&self, body: &[u8]) -> Self {
        Self {
            crc64nvme: self.crc64nvme.as_ref().map(|_| checksum::to_base64(checksum::crc64nvme(body))),
            crc32c: self.crc32c.as_ref().map(|_| crc32c(body)),
            sha256: self.sha256.as_ref().map(|_| base64(&Sha256::digest(body))),
        }
    }

    fn get(&self, algorithm: &str) -> Option<&String> {
        match algorithm {
            "CRC64NVME" => self.crc64nvme.as_ref(),
            "CRC32C" => self.crc32c.as_ref(),
            _ => self.sha256.as_ref(),
        }
    }

    /// Of an object of these parts: over the whole for CRC-64, over the parts' checksums for the others.
    fn of_parts(algorithm: &str, body: &[u8], parts: &[&SentPart]) -> Self {
        let raw: Vec<u8> = parts
            .iter()
            .filter_map(|part| part.sums.get(algorithm))
            .flat_map(|sum| data_encoding::BASE64.decode(sum.as_bytes()).unwrap())
            .collect();
        let mut sums = Self::default();
        match algorithm {
            "CRC64NVME" => sums.crc64nvme = Some(checksum::to_base64(checksum::crc64nvme(body))),
            "CRC32C" => sums.crc32c = Some(format!("{}-{}", crc32c(&raw), parts.len())),
            _ => sums.sha256 = Some(format!("{}-{}", base64(&Sha256::digest(&raw)), parts.len())),
        }
        sums
    }
}

fn base64(bytes: &[u8]) -> String {
    data_encoding::BASE64.encode(bytes)
}

fn crc32c(bytes: &[u8]) -> String {
    base64(&crc_fast::crc32_iscsi(bytes).to_be_bytes())
}

async fn collect(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let Some(body) = body else { return Ok(Bytes::new()) };
    let whole = body.try_fold(BytesMut::new(), |mut whole, piece| async move {
        whole.extend_from_slice(&piece);
        Ok(whole)
    });
    whole.await.map(BytesMut::freeze).map_err(|_| s3_error!(IncompleteBody))
}

impl Memory {
    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, Bucket>> {
        self.kept.lock().unwrap()
    }

    fn with<T>(&self, bucket: &str, work: impl FnOnce(&mut Bucket) -> S3Result<T>) -> S3Result<T> {
        work(self.kept().get_mut(bucket).ok_or_else(|| s3_error!(NoSuchBucket, "no such bucket"))?)
    }

    fn answer(&self) -> S3Result<()> {
        match &self.quirks.answers {
            Some(code) => {
                let mut error = S3Error::with_message(code.clone(), "as the test wants it");
                if code.status_code().is_none() {
                    error.set_status_code(http::StatusCode::from_u16(NO_OFFICIAL_STATUS).unwrap());
                }
                Err(error)
            }
            None => Ok(()),
        }
    }

    fn may(&self, right: &str) -> S3Result<()> {
        if self.quirks.denies.contains(&right) {
            Err(s3_error!(AccessDenied, "Access Denied"))
        } else {
            Ok(())
        }
    }

    fn accept_checksum(&self, sent: bool) -> S3Result<()> {
        if sent && self.quirks.rejects_checksums {
            return Err(s3_error!(InvalidArgument, "x-amz-checksum headers are not supported"));
        }
        if sent && self.quirks.rejects_silently {
            return Err(s3_error!(NotImplemented, "a header implies functionality that is not implemented"));
        }
        Ok(())
    }

    fn accept_condition(&self, condition: &Option<ETagCondition>) -> S3Result<bool> {
        let conditional = condition.as_ref().is_some_and(ETagCondition::is_any);
        if conditional && self.quirks.rejects_conditions {
            return Err(s3_error!(NotImplemented, "If-None-Match is not implemented"));
        }
        if conditional && self.quirks.rejects_silently {
            return Err(s3_error!(NotImplemented, "a header implies functionality that is not implemented"));
        }
        if conditional && take(&self.quirks.conflicts) {
            return Err(s3_error!(ConditionalRequestConflict, "another write is under way"));
        }
        Ok(conditional)
    }

    fn accept_options(&self, options: &Options) -> S3Result<()> {
        match self.quirks.lacks.iter().find(|lack| options.asks_for(**lack)) {
            Some(lack) => Err(lack.error()),
            None => Ok(()),
        }
    }

    /// Amazon S3 wants a digest of whatever is locked.
    fn accept_digest(options: &Options, md5: Option<&String>, sums: &Sums, body: &[u8]) -> S3Result<()> {
        if md5.is_some_and(|md5| *md5 != base64(&Md5::digest(body))) {
            return Err(s3_error!(BadDigest, "the Content-MD5 did not match"));
        }
        if options.locks() && md5.is_none() && !sums.any() {
            return Err(s3_error!(
                InvalidRequest,
                "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object \
                 Lock parameters"
            ));
        }
        Ok(())
    }

    /// What becomes of a body on its way to the disk.
    fn written(&self, body: Bytes) -> Bytes {
        let mut body = body.to_vec();
        if self.quirks.truncates {
            body.pop();
        }
        if let Some(last) = body.last_mut().filter(|_| self.quirks.corrupts) {
            *last ^= 1;
        }
        body.into()
    }

    /// Whether a completion names the checksums of a part as they are. Of one that is kept over the whole object,
    /// those of the parts may be left out.
    fn agrees(&self, named: &Sums, part: &SentPart, upload: &Unfinished) -> bool {
        let over_whole = upload.algorithm.as_deref() == Some("CRC64NVME");
        *named == part.sums || (over_whole && !named.any())
    }

    fn per_page(&self) -> usize {
        match self.quirks.per_page {
            0 => usize::MAX,
            limit => limit,
        }
    }

    fn kept_sums(&self, sums: Sums) -> Sums {
        if self.quirks.ignores_checksums { Sums::default() } else { sums }
    }
}

fn md5_hex(bytes: &[u8]) -> String {
    data_encoding::HEXLOWER.encode(&Md5::digest(bytes))
}

#[async_trait::async_trait]
impl S3 for Memory {
    async fn create_bucket(
        &self,
        req: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        let locks = req.input.object_lock_enabled_for_bucket.unwrap_or_default();
        self.kept().entry(req.input.bucket).or_default().locks = locks;
        Ok(S3Response::new(CreateBucketOutput::default()))
    }

    async fn put_bucket_versioning(
        &self,
        req: S3Request<PutBucketVersioningInput>,
    ) -> S3Result<S3Response<PutBucketVersioningOutput>> {
        let status = req.input.versioning_configuration.status;
        self.with(&req.input.bucket, |bucket| {
            bucket.versioned =
                status.is_some_and(|status| status.as_str() == BucketVersioningStatus::ENABLED);
            Ok(S3Response::new(PutBucketVersioningOutput::default()))
        })
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.answer()?;
        self.may("s3:ListBucket")?;
        self.with(&req.input.bucket, |_| Ok(S3Response::new(HeadBucketOutput::default())))
    }

    async fn list_objects_v2(
        &self,
        req: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.answer()?;
        let prefix = req.input.prefix.unwrap_or_default();
        let after = req.input.continuation_token.or(req.input.start_after).unwrap_or_default();
        let most = req.input.max_keys.map_or(1000, |most| most as usize).min(self.per_page());
        self.with(&req.input.bucket, |bucket| {
            let wanted = |key: &&String| key.starts_with(&prefix) && **key > after;
            let rest = bucket.objects.iter().filter(|(key, _)| wanted(key));
            let mut contents: Vec<Object> = rest
                .take(most + 1)
                .map(|(key, stored)| Object {
                    key: Some(key.clone()),
                    size: Some(stored.body.len() as i64),
                    ..Object::default()
                })
                .collect();
            let is_truncated = contents.len() > most;
            contents.truncate(most);
            let last = contents.last().and_then(|last| last.key.clone());
            Ok(S3Response::new(ListObjectsV2Output {
                contents: Some(contents),
                is_truncated: Some(is_truncated),
                next_continuation_token: last.filter(|_| is_truncated),
                ..ListObjectsV2Output::default()
            }))
        })
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = req.input;
        self.quirks.counts.puts.fetch_add(1, Ordering::SeqCst);
        self.answer()?;
        self.may("s3:PutObject")?;
        let sent = sums!(input);
        self.accept_checksum(sent.any())?;
        let conditional = self.accept_condition(&input.if_none_match)?;
        let options = options!(input);
        self.accept_options(&options)?;
        let options = options.without(self.quirks.forgets);
        let body = collect(input.body).await?;
        if !self.quirks.ignores_checksums && sent != sent.over(&body) {
            return Err(s3_error!(BadDigest, "the checksum did not match"));
        }
        Self::accept_digest(&options, input.content_md5.as_ref(), &sent, &body)?;
        let body = self.written(body);
        let sums = self.kept_sums(sent.over(&body));
        let etag = md5_hex(&body);
        let mut output = PutObjectOutput {
            e_tag: Some(ETag::Strong(etag.clone())),
            checksum_crc64nvme: sums.crc64nvme.clone(),
            checksum_crc32c: sums.crc32c.clone(),
            checksum_sha256: sums.sha256.clone(),
            ..PutObjectOutput::default()
        };
        self.with(&input.bucket, |bucket| {
            if conditional && bucket.objects.contains_key(&input.key) {
                return Err(s3_error!(PreconditionFailed, "there is an object"));
            }
            bucket.accepts(&options)?;
            let content_type = input.content_type;
            let stored = Stored { body, etag, content_type, sums, options, version: None };
            output.version_id = bucket.keep(input.key.clone(), stored);
            if let Some(other) = &self.quirks.overwrites {
                bucket.overwrite(&input.key, other);
            }
            Ok(S3Response::new(output))
        })
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        self.quirks.counts.heads.fetch_add(1, Ordering::SeqCst);
        self.answer()?;
        self.may("s3:GetObject")?;
        self.with(&req.input.bucket, |bucket| {
            let found = bucket.find(&req.input.key, req.input.version_id.as_ref())?;
            let sums = match req.input.checksum_mode {
                Some(_) => found.sums.clone(),
                None => Sums::default(),
            };
            Ok(S3Response::new(HeadObjectOutput {
                content_length: Some(found.body.len() as i64),
                content_type: found.content_type.clone(),
                e_tag: Some(ETag::Strong(found.etag.clone())),
                checksum_crc64nvme: sums.crc64nvme,
                checksum_crc32c: sums.crc32c,
                checksum_sha256: sums.sha256,
                version_id: found.version.clone(),
                storage_class: found.options.storage_class.clone(),
                server_side_encryption: found.options.encryption.clone(),
                ssekms_key_id: found.options.kms_key_id.clone(),
                metadata: found.options.metadata.clone(),
                object_lock_mode: found.options.lock_mode.clone(),
                object_lock_retain_until_date: found.options.retain_until.clone(),
                object_lock_legal_hold_status: found.options.legal_hold.clone(),
                ..HeadObjectOutput::default()
            }))
        })
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        self.answer()?;
        self.may("s3:GetObject")?;
        if self.quirks.frozen.lock().unwrap().contains(&req.input.key) {
            return Err(s3_error!(
                InvalidObjectState,
                "The operation is not valid for the object's storage class"
            ));
        }
        self.with(&req.input.bucket, |bucket| {
            let found = bucket.find(&req.input.key, req.input.version_id.as_ref())?;
            let whole = found.body.len() as u64;
            let piece = match req.input.range {
                Some(range) => range.check(whole).map_err(|_| s3_error!(InvalidRange))?,
                None => 0..whole,
            };
            let content_range =
                req.input.range.map(|_| format!("bytes {}-{}/{whole}", piece.start, piece.end - 1));
            let body = found.body.slice(piece.start as usize..piece.end as usize);
            Ok(S3Response::new(GetObjectOutput {
                content_length: Some(body.len() as i64),
                content_range,
                content_type: found.content_type.clone(),
                content_disposition: req.input.response_content_disposition,
                body: Some(StreamingBlob::from(Body::from(body))),
                ..GetObjectOutput::default()
            }))
        })
    }

    async fn delete_object(
        &self,
        req: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let (key, version) = (req.input.key, req.input.version_id);
        self.may("s3:DeleteObject")?;
        self.with(&req.input.bucket, |bucket| {
            let removed = Ok(S3Response::new(DeleteObjectOutput::default()));
            let Some(version) = version else {
                bucket.objects.remove(&key);
                return removed;
            };
            if bucket.find(&key, Some(&version))?.options.locks() {
                return Err(s3_error!(AccessDenied, "it is locked"));
            }
            bucket.versions.remove(&(key.clone(), version.clone()));
            if bucket.objects.get(&key).and_then(|found| found.version.as_ref()) == Some(&version) {
                bucket.objects.remove(&key);
            }
            removed
        })
    }

    async fn get_object_lock_configuration(
        &self,
        req: S3Request<GetObjectLockConfigurationInput>,
    ) -> S3Result<S3Response<GetObjectLockConfigurationOutput>> {
        self.with(&req.input.bucket, |bucket| {
            if !bucket.locks {
                return Err(s3_error!(ObjectLockConfigurationNotFoundError));
            }
            let enabled = ObjectLockEnabled::from_static(ObjectLockEnabled::ENABLED);
            let lock = ObjectLockConfiguration { object_lock_enabled: Some(enabled), rule: None };
            Ok(S3Response::new(GetObjectLockConfigurationOutput { object_lock_configuration: Some(lock) }))
        })
    }

    async fn get_object_tagging(
        &self,
        req: S3Request<GetObjectTaggingInput>,
    ) -> S3Result<S3Response<GetObjectTaggingOutput>> {
        self.with(&req.input.bucket, |bucket| {
            let found = bucket.find(&req.input.key, None)?;
            let tagging = found.options.tagging.as_deref().unwrap_or_default();
            let tags = url::form_urlencoded::parse(tagging.as_bytes())
                .map(|(key, value)| Tag { key: Some(key.into()), value: Some(value.into()) });
            let tag_set = tags.collect();
            Ok(S3Response::new(GetObjectTaggingOutput { tag_set, version_id: None }))
        })
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = req.input;
        self.answer()?;
        self.may("s3:PutObject")?;
        self.accept_checksum(input.checksum_algorithm.is_some())?;
        let options = options!(input);
        self.accept_options(&options)?;
        let options = options.without(self.quirks.forgets);
        let id = Uuid::now_v7().to_string();
        let begun = Unfinished {
            key: input.key,
            began: SystemTime::now(),
            content_type: input.content_type,
            algorithm: input.checksum_algorithm.map(|name| name.as_str().to_owned()),
            options,
            parts: BTreeMap::new(),
        };
        self.with(&input.bucket, |bucket| {
            bucket.accepts(&begun.options)?;
            bucket.uploads.insert(id.clone(), begun);
            let output =
                CreateMultipartUploadOutput { upload_id: Some(id), ..CreateMultipartUploadOutput::default() };
            Ok(S3Response::new(output))
        })
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let input = req.input;
        self.answer()?;
        let sent = sums!(input);
        self.accept_checksum(sent.any())?;
        let body = collect(input.body).await?;
        if !self.quirks.ignores_checksums && sent != sent.over(&body) {
            return Err(s3_error!(BadDigest, "the checksum did not match"));
        }
        let etag = md5_hex(&body);
        let kept = self.kept_sums(sent.clone());
        self.with(&input.bucket, |bucket| {
            let upload = bucket.uploads.get_mut(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
            Self::accept_digest(&upload.options, input.content_md5.as_ref(), &sent, &body)?;
            upload.parts.insert(input.part_number, SentPart { body, etag: etag.clone(), sums: kept });
            let output = UploadPartOutput { e_tag: Some(ETag::Strong(etag)), ..UploadPartOutput::default() };
            Ok(S3Response::new(output))
        })
    }

    async fn list_parts(&self, req: S3Request<ListPartsInput>) -> S3Result<S3Response<ListPartsOutput>> {
        self.may("s3:ListMultipartUploadParts")?;
        self.with(&req.input.bucket, |bucket| {
            let upload = bucket.uploads.get(&req.input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
            let after = req.input.part_number_marker.unwrap_or_default();
            let page: Vec<_> = upload.parts.range(after + 1..).take(self.per_page()).collect();
            let last = page.last().map(|(number, _)| **number);
            let more = last.filter(|last| upload.parts.range(last + 1..).next().is_some());
            let listed = page.into_iter().map(|(number, part)| Part {
                part_number: Some(*number),
                size: Some(part.body.len() as i64),
                e_tag: Some(ETag::Strong(part.etag.clone())),
                checksum_crc64nvme: part.sums.crc64nvme.clone(),
                checksum_crc32c: part.sums.crc32c.clone(),
                checksum_sha256: part.sums.sha256.clone(),
                ..Part::default()
            });
            Ok(S3Response::new(ListPartsOutput {
                is_truncated: Some(more.is_some()),
                next_part_number_marker: more,
                parts: Some(listed.collect()),
                ..ListPartsOutput::default()
            }))
        })
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = req.input;
        self.answer()?;
        let conditional = self.accept_condition(&input.if_none_match)?;
        if take(&self.quirks.fails_inside_200) {
            let failing: s3s::dto::CompleteMultipartUploadOutput = CompleteMultipartUploadOutput {
                future: Some(Box::pin(async { Err(s3_error!(InternalError, "found out too late")) })),
                ..CompleteMultipartUploadOutput::default()
            };
            return Ok(S3Response::new(failing));
        }
        let whole = sums!(input);
        let named = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let output = self.with(&input.bucket, |bucket| {
            if conditional && bucket.objects.contains_key(&input.key) {
                return Err(s3_error!(PreconditionFailed, "there is an object"));
            }
            let upload = bucket.uploads.get(&input.upload_id).ok_or_else(|| s3_error!(NoSuchUpload))?;
            let parts = named
                .iter()
                .map(|named| {
                    let part = upload.parts.get(&named.part_number.unwrap_or_default());
                    let same = |part: &&SentPart| {
                        named.e_tag.as_ref().map(ETag::value) == Some(part.etag.as_str())
                            && (self.quirks.ignores_checksums || self.agrees(&sums!(named), part, upload))
                    };
                    part.filter(same).ok_or_else(|| s3_error!(InvalidPart, "not the part that was sent"))
                })
                .collect::<S3Result<Vec<&SentPart>>>()?;
            let body: Vec<u8> = parts.iter().flat_map(|part| part.body.iter().copied()).collect();
            let body = Bytes::from(body);
            if !self.quirks.ignores_checksums && whole != whole.over(&body) {
                return Err(s3_error!(BadDigest, "the checksum of the whole did not match"));
            }
            let body = self.written(body);
            let sums = upload.algorithm.as_deref().map(|name| Sums::of_parts(name, &body, &parts));
            let digests: Vec<u8> = parts.iter().flat_map(|part| Md5::digest(&part.body).to_vec()).collect();
            let etag = format!("{}-{}", md5_hex(&digests), parts.len());
            let content_type = upload.content_type.clone();
            let sums = self.kept_sums(sums.unwrap_or_default());
            let options = upload.options.clone();
            let stored = Stored { body, etag: etag.clone(), content_type, sums, options, version: None };
            bucket.uploads.remove(&input.upload_id);
            let version_id = bucket.keep(input.key.clone(), stored);
            if let Some(other) = &self.quirks.overwrites {
                bucket.overwrite(&input.key, other);
            }
            Ok(CompleteMultipartUploadOutput {
                e_tag: Some(ETag::Strong(etag)),
                version_id,
                ..CompleteMultipartUploadOutput::default()
            })
        })?;
        if take(&self.quirks.loses_completions) {
            return Err(s3_error!(InternalError, "the answer was lost"));
        }
        Ok(S3Response::new(output))
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.answer()?;
        self.may("s3:AbortMultipartUpload")?;
        self.with(&req.input.bucket, |bucket| match bucket.uploads.remove(&req.input.upload_id) {
            Some(_) => Ok(S3Response::new(AbortMultipartUploadOutput::default())),
            None => Err(s3_error!(NoSuchUpload)),
        })
    }

    async fn list_multipart_uploads(
        &self,
        req: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        if self.quirks.lists_no_uploads {
            return Err(s3_error!(NotImplemented));
        }
        self.may("s3:ListBucketMultipartUploads")?;
        let input = req.input;
        let prefix = input.prefix.unwrap_or_default();
        let after = (input.key_marker.unwrap_or_default(), input.upload_id_marker.unwrap_or_default());
        self.with(&input.bucket, |bucket| {
            let mut all: Vec<(&String, &String, SystemTime)> = bucket
                .uploads
                .iter()
                .map(|(id, upload)| (&upload.key, id, upload.began))
                .filter(|(key, id, _)| {
                    key.starts_with(&prefix) && (key.as_str(), id.as_str()) > (&after.0, &after.1)
                })
                .collect();
            all.sort();
            let page = &all[..all.len().min(self.per_page())];
            let uploads = page.iter().map(|(key, id, began)| MultipartUpload {
                key: Some((*key).clone()),
                upload_id: Some((*id).clone()),
                initiated: Some((*began).into()),
                ..MultipartUpload::default()
            });
            let last = page.last().filter(|_| page.len() < all.len());
            Ok(S3Response::new(ListMultipartUploadsOutput {
                is_truncated: Some(last.is_some()),
                next_key_marker: last.map(|(key, ..)| (*key).clone()),
                next_upload_id_marker: last.map(|(_, id, _)| (*id).clone()),
                uploads: Some(uploads.collect()),
                ..ListMultipartUploadsOutput::default()
            }))
        })
    }
}
