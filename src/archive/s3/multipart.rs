//! Objects of several parts: begun, filled, completed, given up.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_s3::operation::complete_multipart_upload::CompleteMultipartUploadOutput;
use aws_sdk_s3::operation::list_multipart_uploads::ListMultipartUploadsOutput;
use aws_sdk_s3::operation::upload_part::UploadPartOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{self, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use chrono::DateTime;
use md5::{Digest, Md5};

use super::super::review::review;
use super::super::{ArchiveError, MOST_UNFINISHED, NewObject, Part, StoredObject, Unfinished, Upload, age};
use super::ability::Asked;
use super::algorithm::{Algorithm, said, with_checksum};
use super::failure::Failure;
use super::object::{Expected, Found};
use super::options::with_options;
use super::{S3Archive, SLOWEST_BYTES_PER_SECOND, SLOWEST_COMPLETION_BYTES_PER_SECOND};
use crate::domain::checksum;
use crate::domain::file::Proof;

impl S3Archive {
    /// Begins an upload that declares the checksum of its parts.
    pub(super) async fn begin_upload(&self, object: &NewObject) -> Result<Upload, ArchiveError> {
        let first = Asked { condition: false, ..self.abilities.ask() };
        let send = |asked: Asked| async move {
            let request = self
                .client
                .create_multipart_upload()
                .bucket(&self.bucket)
                .key(self.full_key(&object.key))
                .content_type(&object.content_type)
                .set_checksum_algorithm(asked.checksum.map(Algorithm::sdk))
                .set_checksum_type(asked.checksum.map(Algorithm::kind));
            with_options!(request, self.options.of_file(object)).send().await.map_err(Failure::from)
        };
        let (begun, asked) = self.negotiate("begin", &object.key, first, send).await?;
        let id = begun.upload_id().ok_or_else(|| {
            ArchiveError::Unavailable(format!(
                "bucket {}: the store began an upload without an id",
                self.bucket
            ))
        })?;
        Ok(Upload {
            key: object.key.clone(),
            id: id.to_owned(),
            checksum: asked.checksum.map(|algorithm| algorithm.name().to_owned()),
        })
    }

    /// Stores one part.
    pub(super) async fn upload_part(
        &self,
        upload: &Upload,
        number: u32,
        body: Bytes,
        crc64nvme: u64,
    ) -> Result<Part, ArchiveError> {
        let first = Asked { checksum: declared(upload)?, condition: false };
        let send = |asked: Asked| {
            let checksum = asked.checksum.map(|algorithm| (algorithm, algorithm.of_part(&body, crc64nvme)));
            self.send_part(upload, number, body.clone(), checksum)
        };
        let (sent, _) = self.negotiate("write a part of", &upload.key, first, send).await?;
        let etag = sent.e_tag().ok_or_else(|| {
            ArchiveError::Unavailable(format!("bucket {}: the store took a part without a tag", self.bucket))
        })?;
        Ok(Part { number, bytes: body.len() as u64, etag: quoted(etag), crc64nvme: Some(crc64nvme) })
    }

    async fn send_part(
        &self,
        upload: &Upload,
        number: u32,
        body: Bytes,
        checksum: Option<(Algorithm, String)>,
    ) -> Result<UploadPartOutput, Failure> {
        let bytes = body.len() as u64;
        let request = self
            .client
            .upload_part()
            .bucket(&self.bucket)
            .key(self.full_key(&upload.key))
            .upload_id(&upload.id)
            .part_number(number.cast_signed())
            .set_content_md5(self.content_md5(&body, checksum.as_ref()))
            .body(ByteStream::from(body));
        let leaves_unsigned = checksum.is_some() && !self.signs_bodies;
        let request = with_checksum!(request, checksum)
            .customize()
            .config_override(self.patience(bytes, SLOWEST_BYTES_PER_SECOND));
        let request = if leaves_unsigned { request.disable_payload_signing() } else { request };
        request.send().await.map_err(Failure::from)
    }

    /// Makes an object of the parts, where there is none.
    pub(super) async fn complete_upload(
        &self,
        upload: &Upload,
        parts: &[Part],
        proof: &Proof,
    ) -> Result<StoredObject, ArchiveError> {
        let parts = review(parts, proof)?;
        let algorithm = declared(upload)?;
        let result = match self.part_checksums(upload, algorithm, &parts).await {
            Ok(checksums) => self.complete_reviewed(upload, &parts, &checksums, proof).await,
            Err(error) => Err(error),
        };
        match result {
            Err(ArchiveError::NoSuchUpload(_)) => {
                let ours = self.completed_before(upload, &parts, proof).await?;
                ours.ok_or_else(|| ArchiveError::NoSuchUpload(upload.key.clone()))
            }
            // What is there may be our own: completed by a request whose answer was lost, and sent again.
            Err(ArchiveError::Exists(_)) if !self.is_known(upload).await? => {
                let ours = self.completed_before(upload, &parts, proof).await?;
                ours.ok_or_else(|| ArchiveError::Exists(upload.key.clone()))
            }
            result => result,
        }
    }

    async fn complete_reviewed(
        &self,
        upload: &Upload,
        parts: &[&Part],
        checksums: &[Option<String>],
        proof: &Proof,
    ) -> Result<StoredObject, ArchiveError> {
        let first = Asked { checksum: declared(upload)?, ..self.abilities.ask() };
        let send = |asked| self.send_completion(upload, parts, checksums, proof, asked);
        let (completed, asked) = self.create("complete", &upload.key, first, send).await?;
        let checksum = asked.checksum.and_then(|algorithm| match algorithm {
            Algorithm::Crc64Nvme => Some((algorithm, checksum::to_base64(proof.crc64nvme))),
            _ => Some((algorithm, algorithm.composite(checksums)?)),
        });
        let expected = Expected { proof, checksum, version: completed.version_id(), etag: completed.e_tag() };
        self.review_written(&upload.key, &expected).await
    }

    async fn send_completion(
        &self,
        upload: &Upload,
        parts: &[&Part],
        checksums: &[Option<String>],
        proof: &Proof,
        asked: Asked,
    ) -> Result<CompleteMultipartUploadOutput, Failure> {
        let named = parts.iter().enumerate().map(|(index, part)| {
            let checksum = asked.checksum.zip(checksums.get(index).cloned().flatten());
            let named = CompletedPart::builder().part_number(part.number.cast_signed()).e_tag(&part.etag);
            with_checksum!(named, checksum).build()
        });
        let whole = asked
            .checksum
            .filter(|algorithm| *algorithm == Algorithm::Crc64Nvme)
            .map(|_| checksum::to_base64(proof.crc64nvme));
        self.client
            .complete_multipart_upload()
            .bucket(&self.bucket)
            .key(self.full_key(&upload.key))
            .upload_id(&upload.id)
            .set_if_none_match(asked.condition.then(|| "*".to_owned()))
            .set_checksum_type(asked.checksum.map(Algorithm::kind))
            .set_checksum_crc64_nvme(whole)
            .multipart_upload(CompletedMultipartUpload::builder().set_parts(Some(named.collect())).build())
            .customize()
            .config_override(self.patience(proof.bytes, SLOWEST_COMPLETION_BYTES_PER_SECOND))
            .send()
            .await
            .map_err(Failure::from)
    }

    /// The checksum of each part, to be repeated at completion. Those that a [`Part`] does not carry are asked of
    /// the store, which compared them when the part came. What it does not tell is left out where it makes the
    /// checksum of the whole without: Amazon S3 takes that, MinIO does not.
    async fn part_checksums(
        &self,
        upload: &Upload,
        algorithm: Option<Algorithm>,
        parts: &[&Part],
    ) -> Result<Vec<Option<String>>, ArchiveError> {
        let Some(algorithm) = algorithm else { return Ok(Vec::new()) };
        let over_whole = algorithm == Algorithm::Crc64Nvme;
        let carried: Vec<Option<String>> =
            parts.iter().map(|part| part.crc64nvme.filter(|_| over_whole).map(checksum::to_base64)).collect();
        if carried.iter().all(Option::is_some) {
            return Ok(carried);
        }
        let listed = self.each_part(upload, |part| {
            Some((part.part_number()?.cast_unsigned(), said!(part).get(algorithm)?.to_owned()))
        });
        let kept: HashMap<u32, String> = listed.await?.into_iter().flatten().collect();
        let told =
            |(part, carried): (&&Part, Option<String>)| carried.or_else(|| kept.get(&part.number).cloned());
        let checksums: Vec<Option<String>> = parts.iter().zip(carried).map(told).collect();
        match checksums.iter().position(Option::is_none) {
            Some(index) if !over_whole => Err(ArchiveError::Mismatch(format!(
                "{}: the store keeps no {} of part {}",
                upload.key,
                algorithm.name(),
                parts[index].number
            ))),
            _ => Ok(checksums),
        }
    }

    /// The parts that an upload holds.
    pub(super) async fn list_parts(&self, upload: &Upload) -> Result<Vec<Part>, ArchiveError> {
        let listed = self.each_part(upload, listed_part).await?;
        let mut parts: Vec<Part> = listed.into_iter().flatten().collect();
        parts.sort_unstable_by_key(|part| part.number);
        Ok(parts)
    }

    /// What `take` takes from each part that the store lists, on all pages.
    async fn each_part<T>(
        &self,
        upload: &Upload,
        take: impl Fn(&types::Part) -> T,
    ) -> Result<Vec<T>, ArchiveError> {
        let mut taken = Vec::new();
        let mut pages = self
            .client
            .list_parts()
            .bucket(&self.bucket)
            .key(self.full_key(&upload.key))
            .upload_id(&upload.id)
            .into_paginator()
            .send();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.decide("list the parts of", &upload.key, &error.into()))?;
            taken.extend(page.parts().iter().map(&take));
        }
        Ok(taken)
    }

    /// Whether the store still knows an upload.
    async fn is_known(&self, upload: &Upload) -> Result<bool, ArchiveError> {
        let request = self
            .client
            .list_parts()
            .bucket(&self.bucket)
            .key(self.full_key(&upload.key))
            .upload_id(&upload.id)
            .max_parts(1);
        match request.send().await.map_err(Failure::from) {
            Ok(_) => Ok(true),
            Err(failure) if failure.is_no_such_upload() => Ok(false),
            Err(failure) => Err(self.decide("look for the upload of", &upload.key, &failure)),
        }
    }

    /// The object, when it is certainly what this upload would have become.
    async fn completed_before(
        &self,
        upload: &Upload,
        parts: &[&Part],
        proof: &Proof,
    ) -> Result<Option<StoredObject>, ArchiveError> {
        let found = self.head(&upload.key, None).await?;
        Ok(found.filter(|found| is_ours(found, parts, proof)).map(Found::into_stored))
    }

    /// Gives up an upload; one that is not known is given up already.
    pub(super) async fn abort_upload(&self, key: &str, id: &str) -> Result<(), ArchiveError> {
        let request =
            self.client.abort_multipart_upload().bucket(&self.bucket).key(self.full_key(key)).upload_id(id);
        match request.send().await.map_err(Failure::from) {
            Ok(_) => Ok(()),
            Err(failure) if failure.is_no_such_upload() || failure.is_not_found() => Ok(()),
            Err(failure) => Err(self.decide("abort", key, &failure)),
        }
    }

    /// Gives up every unfinished upload under exactly this key.
    pub(super) async fn abort_uploads(&self, key: &str) -> Result<u64, ArchiveError> {
        let full_key = self.full_key(key);
        let id_of = |upload: &types::MultipartUpload| {
            upload.upload_id().filter(|_| upload.key() == Some(full_key.as_str())).map(str::to_owned)
        };
        let ids = self.each_upload(key, usize::MAX, id_of).await?;
        for id in &ids {
            self.abort_upload(key, id).await?;
        }
        Ok(ids.len() as u64)
    }

    /// Unfinished uploads below our prefix that began at least this long ago.
    pub(super) async fn unfinished_uploads(
        &self,
        older_than: Duration,
    ) -> Result<Vec<Unfinished>, ArchiveError> {
        let old = |upload: &types::MultipartUpload| {
            let began = DateTime::from_timestamp_millis(upload.initiated()?.to_millis().ok()?)?;
            let age = Some(age(began)).filter(|age| *age >= older_than)?;
            let key = upload.key()?.strip_prefix(&self.prefix)?.to_owned();
            // Whoever found it does not go on with it.
            let upload = Upload { key, id: upload.upload_id()?.to_owned(), checksum: None };
            Some(Unfinished { upload, age })
        };
        self.each_upload("", MOST_UNFINISHED, old).await
    }

    /// What `take` takes from the unfinished uploads whose keys begin with this one, on all pages, until there are
    /// `most`.
    async fn each_upload<T>(
        &self,
        key: &str,
        most: usize,
        take: impl Fn(&types::MultipartUpload) -> Option<T>,
    ) -> Result<Vec<T>, ArchiveError> {
        let mut taken = Vec::new();
        let mut markers = (None, None);
        loop {
            let page = self.list_uploads(key, markers).await?;
            taken.extend(page.uploads().iter().filter_map(&take));
            let next = page.next_key_marker().map(str::to_owned);
            if page.is_truncated() != Some(true) || next.is_none() || taken.len() >= most {
                taken.truncate(most);
                return Ok(taken);
            }
            markers = (next, page.next_upload_id_marker().map(str::to_owned));
        }
    }

    /// One page of unfinished uploads whose keys begin with this one. MinIO lists those of a whole key only.
    async fn list_uploads(
        &self,
        key: &str,
        (key_marker, upload_marker): (Option<String>, Option<String>),
    ) -> Result<ListMultipartUploadsOutput, ArchiveError> {
        self.client
            .list_multipart_uploads()
            .bucket(&self.bucket)
            .prefix(self.full_key(key))
            .set_key_marker(key_marker)
            .set_upload_id_marker(upload_marker)
            .send()
            .await
            .map_err(|error| self.decide("list unfinished uploads of", key, &error.into()))
    }
}

/// A part as the store lists it; `None` for one without number, size or tag.
fn listed_part(part: &types::Part) -> Option<Part> {
    Some(Part {
        number: u32::try_from(part.part_number()?).ok()?,
        bytes: u64::try_from(part.size()?).ok()?,
        etag: quoted(part.e_tag()?),
        crc64nvme: part.checksum_crc64_nvme().and_then(checksum::from_base64),
    })
}

/// An entity tag in quotation marks, as HTTP has it: some stores leave them out in lists or in headers.
fn quoted(etag: &str) -> String {
    format!("\"{}\"", etag.trim_matches('"'))
}

/// The algorithm that an upload declared when it began, perhaps in another process.
fn declared(upload: &Upload) -> Result<Option<Algorithm>, ArchiveError> {
    let Some(name) = upload.checksum.as_deref() else { return Ok(None) };
    match Algorithm::named(name) {
        Some(algorithm) => Ok(Some(algorithm)),
        None => Err(ArchiveError::Refused(format!("{}: unknown checksum {name}", upload.key))),
    }
}

/// Whether an object is certainly the one of these parts: by size and by the store's CRC-64/NVME of the whole,
/// or, where it keeps none, by the entity tag that S3 gives an object of such parts.
fn is_ours(found: &Found, parts: &[&Part], proof: &Proof) -> bool {
    let same_content = match found.crc64nvme() {
        Some(kept) => kept == checksum::to_base64(proof.crc64nvme),
        None => found.etag.is_some() && found.etag == etag_of_parts(parts),
    };
    found.bytes == proof.bytes && same_content
}

/// The entity tag of an object of several parts: MD5 over the MD5s of its parts, and their number. `None` where
/// the parts' tags are no MD5s, as in buckets encrypted with keys of the customer.
fn etag_of_parts(parts: &[&Part]) -> Option<String> {
    let mut digests = Vec::with_capacity(parts.len() * 16);
    for part in parts {
        let digest = data_encoding::HEXLOWER.decode(part.etag.trim_matches('"').as_bytes()).ok()?;
        if digest.len() != 16 {
            return None;
        }
        digests.extend(digest);
    }
    Some(format!("\"{}-{}\"", data_encoding::HEXLOWER.encode(&Md5::digest(&digests)), parts.len()))
}
