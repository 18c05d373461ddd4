//! Whole objects: written, looked at, read back, removed.

use std::ops::Range;
use std::time::Duration;

use aws_sdk_s3::operation::put_object::PutObjectOutput;
use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ChecksumMode;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use secrecy::SecretString;

use super::super::review::review_body;
use super::super::{ArchiveError, NewObject, ObjectStream, StoredObject};
use super::ability::Asked;
use super::algorithm::{Algorithm, Said, said, with_checksum};
use super::failure::{Failure, explained};
use super::options::{Kept, Wanted, with_options};
use super::{S3Archive, SLOWEST_BYTES_PER_SECOND};
use crate::domain::checksum;
use crate::domain::file::Proof;

/// What an object must be, for the review after it was written.
pub(super) struct Expected<'a> {
    pub(super) proof: &'a Proof,
    /// The checksum that we asked the store to keep, and its value.
    pub(super) checksum: Option<(Algorithm, String)>,
    /// The version that we wrote, where the bucket keeps versions.
    pub(super) version: Option<&'a str>,
    /// The entity tag that the store answered our write with.
    pub(super) etag: Option<&'a str>,
}

impl Expected<'_> {
    /// Whether an object is what we wrote, and not what somebody else has written after us.
    fn is_of_ours(&self, found: &Found) -> bool {
        self.version.is_some() || self.etag.is_none() || self.etag == found.etag.as_deref()
    }
}

/// An object as the store describes it.
pub(super) struct Found {
    pub(super) bytes: u64,
    said: Said,
    pub(super) etag: Option<String>,
    version_id: Option<String>,
    pub(super) kept: Kept,
}

impl Found {
    /// The store's CRC-64/NVME of the whole object, not of its parts' checksums.
    pub(super) fn crc64nvme(&self) -> Option<&str> {
        self.said.get(Algorithm::Crc64Nvme).filter(|value| !value.contains('-'))
    }

    pub(super) fn into_stored(self) -> StoredObject {
        StoredObject {
            bytes: self.bytes,
            checksum: self.said.word(),
            etag: self.etag,
            version_id: self.version_id,
        }
    }
}

/// An object as the answer to its writing describes it.
fn stored(written: &PutObjectOutput, bytes: u64) -> StoredObject {
    StoredObject {
        bytes,
        checksum: said!(written).word(),
        etag: written.e_tag().map(str::to_owned),
        version_id: written.version_id().map(str::to_owned),
    }
}

impl S3Archive {
    /// Stores a whole object where there is none.
    pub(super) async fn put_object(
        &self,
        object: &NewObject,
        body: Bytes,
        proof: &Proof,
    ) -> Result<StoredObject, ArchiveError> {
        review_body(&body, proof)?;
        let send = |asked: Asked| {
            let checksum = asked.checksum.map(|algorithm| (algorithm, algorithm.of_whole(&body, proof)));
            let wanted = self.options.of_file(object);
            let sent = self.send_object(object, wanted, body.clone(), checksum.clone(), asked.condition);
            async move { Ok((sent.await?, checksum)) }
        };
        let first = self.abilities.ask();
        let ((written, checksum), _) = self.create("write", &object.key, first, send).await?;
        let confirms =
            |(algorithm, value): &(Algorithm, String)| said!(written).get(*algorithm) == Some(value.as_str());
        // The store has compared what it received with what we sent, and says so: nothing is left to ask.
        if checksum.as_ref().is_some_and(confirms) && self.options.are_reviewed() {
            return Ok(stored(&written, proof.bytes));
        }
        let expected = Expected { proof, checksum, version: written.version_id(), etag: written.e_tag() };
        self.review_written(&object.key, &expected).await
    }

    /// Writes an object over whatever is there.
    pub(super) async fn replace_object(
        &self,
        object: &NewObject,
        body: Bytes,
    ) -> Result<StoredObject, ArchiveError> {
        let bytes = body.len() as u64;
        let first = Asked { condition: false, ..self.abilities.ask() };
        let send = |asked: Asked| {
            let checksum = asked.checksum.map(|algorithm| (algorithm, algorithm.value(&body)));
            let wanted = self.options.of_manifest(object);
            self.send_object(object, wanted, body.clone(), checksum, asked.condition)
        };
        let (written, _) = self.negotiate("replace", &object.key, first, send).await?;
        Ok(stored(&written, bytes))
    }

    async fn send_object(
        &self,
        object: &NewObject,
        wanted: Wanted,
        body: Bytes,
        checksum: Option<(Algorithm, String)>,
        condition: bool,
    ) -> Result<PutObjectOutput, Failure> {
        let bytes = body.len() as u64;
        let request = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(self.full_key(&object.key))
            .content_type(&object.content_type)
            .set_if_none_match(condition.then(|| "*".to_owned()))
            .set_content_md5(self.content_md5(&body, checksum.as_ref()))
            .body(ByteStream::from(body));
        let leaves_unsigned = checksum.is_some() && !self.signs_bodies;
        let request = with_checksum!(with_options!(request, wanted), checksum)
            .customize()
            .config_override(self.patience(bytes, SLOWEST_BYTES_PER_SECOND));
        let request = if leaves_unsigned { request.disable_payload_signing() } else { request };
        request.send().await.map_err(Failure::from)
    }

    /// For stores without conditional writes: looks before we write.
    pub(super) async fn require_absent(&self, key: &str) -> Result<(), ArchiveError> {
        match self.inspect_object(key).await? {
            Some(_) => Err(ArchiveError::Exists(key.to_owned())),
            None => Ok(()),
        }
    }

    /// What stands under a key.
    pub(super) async fn inspect_object(&self, key: &str) -> Result<Option<StoredObject>, ArchiveError> {
        Ok(self.head(key, None).await?.map(Found::into_stored))
    }

    /// What stands under a key, or what one version of it is.
    pub(super) async fn head(&self, key: &str, version: Option<&str>) -> Result<Option<Found>, ArchiveError> {
        let asks = self.abilities.asks_for_checksums();
        let mut answer = self.send_head(key, version, asks).await;
        if asks && answer.as_ref().is_err_and(Failure::may_reject_a_header) {
            answer = self.send_head(key, version, false).await;
            if answer.as_ref().err().is_none_or(Failure::is_not_found) {
                self.abilities.forgo_checksum_mode();
            }
        }
        match answer {
            Ok(found) => Ok(Some(found)),
            Err(failure) if failure.is_not_found() => Ok(None),
            Err(failure) => {
                let request = self.client.get_object().bucket(&self.bucket).key(self.full_key(key));
                let request = request.set_version_id(version.map(str::to_owned)).range("bytes=0-0");
                let failure =
                    explained(failure, async { request.send().await.err().map(Failure::from) }).await;
                Err(self.decide("look at", key, &failure))
            }
        }
    }

    async fn send_head(
        &self,
        key: &str,
        version: Option<&str>,
        asks_for_checksums: bool,
    ) -> Result<Found, Failure> {
        let request = self
            .client
            .head_object()
            .bucket(&self.bucket)
            .key(self.full_key(key))
            .set_version_id(version.map(str::to_owned))
            .set_checksum_mode(asks_for_checksums.then_some(ChecksumMode::Enabled));
        let found = request.send().await.map_err(Failure::from)?;
        Ok(Found {
            bytes: found.content_length().and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default(),
            said: said!(found),
            etag: found.e_tag().map(str::to_owned),
            version_id: found.version_id().map(str::to_owned),
            kept: Kept {
                storage_class: found.storage_class().cloned(),
                encryption: found.server_side_encryption().cloned(),
                kms_key_id: found.ssekms_key_id().map(str::to_owned),
                tags: None,
                metadata: found.metadata().cloned().unwrap_or_default(),
                lock_mode: found.object_lock_mode().cloned(),
                retain_until: found.object_lock_retain_until_date().copied(),
                legal_hold: found.object_lock_legal_hold_status().cloned(),
            },
        })
    }

    /// Compares what the store holds with what we sent, and removes it again when they differ. Where the store knows
    /// no conditions, a worker that has taken over from us may have written the object that is there: that one stays.
    pub(super) async fn review_written(
        &self,
        key: &str,
        expected: &Expected<'_>,
    ) -> Result<StoredObject, ArchiveError> {
        let Some(found) = self.head(key, expected.version).await? else {
            return Err(ArchiveError::Mismatch(format!("{key} was written and is not there")));
        };
        let Some(wrong) = self.difference(&found, expected) else {
            if !self.options.are_reviewed() {
                self.review_options(key, &found).await;
            }
            return Ok(found.into_stored());
        };
        if !expected.is_of_ours(&found) {
            return Err(ArchiveError::Exists(key.to_owned()));
        }
        self.remove(key, expected.version).await.map_err(|error| {
            ArchiveError::Mismatch(format!("{key}: {wrong}; and it could not be removed: {error}"))
        })?;
        Err(ArchiveError::Mismatch(format!("{key}: {wrong}; it was removed again")))
    }

    /// Warns of what the store does not confirm to keep an object with.
    async fn review_options(&self, key: &str, found: &Found) {
        let tags = match self.options.ask_for_tags() {
            true => self.tags(key, found.version_id.as_deref()).await.ok(),
            false => None,
        };
        self.options.review(&Kept { tags, ..found.kept.clone() });
    }

    /// The tags of an object, or of one version of it.
    pub(super) async fn tags(
        &self,
        key: &str,
        version: Option<&str>,
    ) -> Result<Vec<(String, String)>, Failure> {
        let request = self.client.get_object_tagging().bucket(&self.bucket).key(self.full_key(key));
        let told = request.set_version_id(version.map(str::to_owned)).send().await.map_err(Failure::from)?;
        Ok(told.tag_set().iter().map(|tag| (tag.key().to_owned(), tag.value().to_owned())).collect())
    }

    /// What is wrong with an object, in words.
    fn difference(&self, found: &Found, expected: &Expected<'_>) -> Option<String> {
        let proof = expected.proof;
        if found.bytes != proof.bytes {
            return Some(format!("the store holds {} bytes, the file {}", found.bytes, proof.bytes));
        }
        // AWS keeps this one also where none was asked for.
        if found.crc64nvme().is_some_and(|kept| kept != checksum::to_base64(proof.crc64nvme)) {
            return Some("the store's CRC-64/NVME is not that of the file".to_owned());
        }
        let (algorithm, value) = expected.checksum.as_ref()?;
        match found.said.get(*algorithm) {
            Some(kept) if kept == value => None,
            Some(_) => Some(format!("the store's {} is not that of the file", algorithm.name())),
            None if self.abilities.insists_on_checksum() => Some(format!(
                "the store confirms no {} (set archive.s3.checksum to \"auto\" or \"none\")",
                algorithm.name()
            )),
            None => {
                self.abilities.forgo_checksum("does not keep");
                None
            }
        }
    }

    /// Removes what we wrote: that version, where there are versions.
    pub(super) async fn remove(&self, key: &str, version: Option<&str>) -> Result<(), ArchiveError> {
        self.client
            .delete_object()
            .bucket(&self.bucket)
            .key(self.full_key(key))
            .set_version_id(version.map(str::to_owned))
            .send()
            .await
            .map(drop)
            .map_err(|error| self.decide("remove", key, &Failure::from(error)))
    }

    /// An address under which the object can be read.
    pub(super) async fn presign(
        &self,
        key: &str,
        disposition: &str,
        valid: Duration,
    ) -> Result<SecretString, ArchiveError> {
        let refused = |error: &dyn std::error::Error| {
            ArchiveError::Refused(format!("an address for {key} cannot be made: {error}"))
        };
        let terms = PresigningConfig::expires_in(valid).map_err(|error| refused(&error))?;
        let request = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(self.full_key(key))
            .response_content_disposition(disposition);
        match request.presigned(terms).await {
            Ok(address) => Ok(address.uri().to_owned().into()),
            Err(error) => Err(self.decide("make an address for", key, &Failure::from(error))),
        }
    }

    /// Reads an object back, or a piece of it, which is not empty.
    pub(super) async fn get(
        &self,
        key: &str,
        range: Option<Range<u64>>,
    ) -> Result<ObjectStream, ArchiveError> {
        let range = range.map(|range| format!("bytes={}-{}", range.start, range.end.saturating_sub(1)));
        let request = self.client.get_object().bucket(&self.bucket).key(self.full_key(key)).set_range(range);
        let found = match request.send().await.map_err(Failure::from) {
            Ok(found) => found,
            Err(failure) if failure.is_not_found() => {
                return Err(ArchiveError::Refused(format!("there is no object under {key}")));
            }
            Err(failure) => return Err(self.decide("read", key, &failure)),
        };
        let (limit, bucket, key) = (self.attempt_timeout, self.bucket.clone(), key.to_owned());
        let pieces = stream::try_unfold(found.body, move |mut body| {
            let (bucket, key) = (bucket.clone(), key.clone());
            async move {
                let failure = match tokio::time::timeout(limit, body.next()).await {
                    Ok(None) => return Ok(None),
                    Ok(Some(Ok(piece))) => return Ok(Some((piece, body))),
                    Ok(Some(Err(error))) => Failure::of_body(error),
                    Err(_) => Failure::stalled(),
                };
                Err(failure.decide(&bucket, "read", &key))
            }
        });
        Ok(pieces.boxed())
    }
}
