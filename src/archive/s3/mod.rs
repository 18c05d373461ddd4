//! An archive in any S3-compatible store. The only room that knows the AWS SDK.
//!
//! The store is the judge: it gets our checksum with every write and refuses what it received differently. An
//! answer that repeats the checksum is its word; after any other, and after each completion, it is asked what it
//! holds. Where it lacks what we ask for (checksums, conditional writes) and the
//! configuration says `auto`, we do without, say so once, and remember.
//!
//! - `client`: the SDK's client, and where it finds the store
//! - `credentials`: the keys, read again by period and when the store refuses them
//! - `failure`: the decision in an error of the store
//! - `algorithm`: checksums as S3 names and writes them
//! - `ability`: what this store has turned out to be able to do
//! - `negotiate`: sends a request with less where the store rejects an option
//! - `examine`: a look at the store, for `doctor` and for the start
//! - `options`: what is asked of the store for every object beside its content
//! - `object`: whole objects
//! - `listing`: which objects there are
//! - `multipart`: objects of several parts

mod ability;
mod algorithm;
mod client;
mod credentials;
mod examine;
mod failure;
mod listing;
mod multipart;
mod negotiate;
mod object;
mod options;

use std::ops::Range;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use bytes::Bytes;
use md5::{Digest, Md5};
use secrecy::SecretString;

use self::ability::Abilities;
use self::algorithm::Algorithm;
pub use self::client::Access;
use self::failure::{Failure, explained};
use self::options::Options;
use super::location::S3Location;
use super::review::review_part;
use super::{Archive, ArchiveError, NewObject, ObjectStream, Part, StoredObject, Unfinished, Upload};
use crate::config::archive::{S3Config, Switch};
use crate::domain::file::Proof;
use crate::domain::finding::{Finding, Look};
use crate::domain::part::PartPlan;
use crate::domain::verification::ListedObject;

/// The slowest way to the store that is not taken for a dead one, in bytes per second. A request may take its
/// time limit plus what its body needs at this rate.
const SLOWEST_BYTES_PER_SECOND: u64 = 128 * 1024;
/// What a store that copies parts together at completion must reach, in bytes per second.
const SLOWEST_COMPLETION_BYTES_PER_SECOND: u64 = 64 * 1024 * 1024;

/// An archive in a bucket.
#[derive(Debug)]
pub struct S3Archive {
    client: Client,
    bucket: String,
    prefix: String,
    description: String,
    attempt_timeout: Duration,
    /// Whether signatures cover bodies that a checksum goes with; those without one are always covered.
    signs_bodies: bool,
    abilities: Abilities,
    options: Options,
    /// The variable that names the proxy on the way to the store.
    proxy: Option<&'static str>,
    config: S3Config,
}

/// The settings that ask a store for something that a directory has not, by their keys.
pub fn object_options(config: &S3Config) -> Vec<&'static str> {
    Options::new(config).keys().collect()
}

impl S3Archive {
    /// Opens a bucket without asking the store anything. With `access` the store is that one, without it the
    /// SDK's own chain says which store, region and credentials to use.
    pub async fn open(place: &S3Location, config: &S3Config, access: Option<&Access>) -> Self {
        let client::Connected { client, is_encrypted, proxy } = client::connect(config, access).await;
        let signs_bodies = match config.sign_body {
            Switch::On => true,
            Switch::Off => false,
            Switch::Auto => !is_encrypted,
        };
        Self { proxy, ..Self::with(client, signs_bodies, place.bucket.clone(), place.prefix.clone(), config) }
    }

    fn with(client: Client, signs_bodies: bool, bucket: String, prefix: String, config: &S3Config) -> Self {
        Self {
            client,
            signs_bodies,
            description: format!("s3://{bucket}/{prefix}").trim_end_matches('/').to_owned(),
            bucket,
            prefix,
            attempt_timeout: config.attempt_timeout(),
            abilities: Abilities::new(config),
            options: Options::new(config),
            proxy: None,
            config: config.clone(),
        }
    }

    /// The key in the bucket.
    fn full_key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Time limits for a request that moves `bytes` at `rate` or more.
    fn patience(&self, bytes: u64, rate: u64) -> aws_sdk_s3::config::Builder {
        let attempt = self.attempt_timeout + Duration::from_secs(bytes / rate);
        aws_sdk_s3::Config::builder().timeout_config(time_limits(attempt))
    }

    /// The decision in a failure, in words that name the bucket and the key.
    fn decide(&self, what: &str, key: &str, failure: &Failure) -> ArchiveError {
        if let Some(advice) = self.options.rejected(failure).or_else(|| self.demanded(what, failure)) {
            return ArchiveError::Refused(failure.text(&self.bucket, what, key, &advice));
        }
        if let Some(variable) = self.proxy.filter(|_| failure.is_from_elsewhere()) {
            let remedy = failure.remedy().map(|remedy| format!("{remedy}; ")).unwrap_or_default();
            let advice = format!(
                "{remedy}requests to the store go through the proxy that {variable} names: mend it, or name the store's \
                 host in NO_PROXY"
            );
            return failure.decide_with(&self.bucket, what, key, &advice);
        }
        match self.options.rights() {
            Some(rights) if failure.is_denied() => {
                ArchiveError::Unavailable(failure.text(&self.bucket, what, key, &rights))
            }
            _ => failure.decide(&self.bucket, what, key),
        }
    }

    /// What to do about a rejected write where settings demand what the store may not have, and it does not name it.
    fn demanded(&self, what: &str, failure: &Failure) -> Option<String> {
        let is_write = matches!(what, "write" | "replace" | "begin" | "write a part of" | "complete");
        let rejects = failure.rejects_option().filter(|_| is_write && !failure.is_from_elsewhere())?;
        let mut settings = self.abilities.demanded(rejects);
        if !rejects.checksum && !rejects.condition {
            settings.extend(self.options.keys());
        }
        let settings = Some(settings.join(", ")).filter(|settings| !settings.is_empty())?;
        Some(format!("the store may not have what the settings ask for: change or unset {settings}"))
    }

    /// Says why a bucket cannot be looked into, when HEAD was refused.
    async fn look_into(&self, sent: Result<(), Failure>) -> Result<(), ArchiveError> {
        let Err(failure) = sent else { return Ok(()) };
        let request = self.client.list_objects_v2().bucket(&self.bucket).prefix(&self.prefix).max_keys(1);
        let again = async { request.send().await.err().map(Failure::from) };
        let failure = explained(failure, again).await.missing_bucket();
        Err(self.decide("look into", "", &failure))
    }

    /// The digest of a body that has no other checksum, where S3 wants one.
    fn content_md5(&self, body: &[u8], checksum: Option<&(Algorithm, String)>) -> Option<String> {
        let needed = checksum.is_none() && self.options.need_digest();
        needed.then(|| data_encoding::BASE64.encode(&Md5::digest(body)))
    }
}

/// A limit for each attempt and none for all of them together.
fn time_limits(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(attempt.min(Duration::from_secs(5)))
        .operation_attempt_timeout(attempt)
        .disable_operation_timeout()
        .disable_read_timeout()
        .build()
}

#[async_trait]
impl Archive for S3Archive {
    fn describe(&self) -> &str {
        &self.description
    }

    async fn put(
        &self,
        object: &NewObject,
        body: Bytes,
        proof: &Proof,
    ) -> Result<StoredObject, ArchiveError> {
        self.put_object(object, body, proof).await
    }

    async fn begin(&self, object: &NewObject) -> Result<Upload, ArchiveError> {
        self.begin_upload(object).await
    }

    async fn put_part(
        &self,
        upload: &Upload,
        plan: PartPlan,
        number: u32,
        body: Bytes,
        crc64nvme: u64,
    ) -> Result<Part, ArchiveError> {
        review_part(plan, number, &body)?;
        self.upload_part(upload, number, body, crc64nvme).await
    }

    async fn parts(&self, upload: &Upload, _plan: PartPlan) -> Result<Vec<Part>, ArchiveError> {
        self.list_parts(upload).await
    }

    async fn complete(
        &self,
        upload: &Upload,
        parts: &[Part],
        proof: &Proof,
    ) -> Result<StoredObject, ArchiveError> {
        self.complete_upload(upload, parts, proof).await
    }

    async fn abort(&self, upload: &Upload) -> Result<(), ArchiveError> {
        self.abort_upload(&upload.key, &upload.id).await
    }

    async fn abort_all(&self, key: &str) -> Result<u64, ArchiveError> {
        self.abort_uploads(key).await
    }

    async fn unfinished(&self, older_than: Duration) -> Result<Vec<Unfinished>, ArchiveError> {
        self.unfinished_uploads(older_than).await
    }

    async fn replace(&self, object: &NewObject, body: Bytes) -> Result<StoredObject, ArchiveError> {
        self.replace_object(object, body).await
    }

    async fn inspect(&self, key: &str) -> Result<Option<StoredObject>, ArchiveError> {
        self.inspect_object(key).await
    }

    async fn read(&self, key: &str) -> Result<ObjectStream, ArchiveError> {
        self.get(key, None).await
    }

    async fn read_range(&self, key: &str, range: Range<u64>) -> Result<ObjectStream, ArchiveError> {
        self.get(key, Some(range)).await
    }

    async fn link(
        &self,
        key: &str,
        disposition: &str,
        valid: Duration,
    ) -> Result<Option<SecretString>, ArchiveError> {
        self.presign(key, disposition, valid).await.map(Some)
    }

    async fn keys(&self, after: Option<&str>, limit: usize) -> Result<Vec<ListedObject>, ArchiveError> {
        self.list_objects(after, limit).await
    }

    async fn examine(&self, look: Look) -> Vec<Finding> {
        self.look_at_all(look).await
    }

    async fn ping(&self) -> Result<(), ArchiveError> {
        let sent = self.client.head_bucket().bucket(&self.bucket).send().await;
        self.look_into(sent.map(drop).map_err(Failure::from)).await
    }
}
