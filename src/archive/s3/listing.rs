//! Which objects there are below our prefix, in the order of their keys.

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::Object;

use super::super::ArchiveError;
use super::super::exercise::DOCTOR;
use super::super::marker;
use super::S3Archive;
use super::failure::Failure;
use crate::domain::verification::ListedObject;

/// Keys that a store lists in one answer at most (Amazon S3 API reference, "ListObjectsV2").
const MOST_IN_ONE_ANSWER: usize = 1000;

impl S3Archive {
    /// The objects after a key.
    pub(super) async fn list_objects(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ListedObject>, ArchiveError> {
        let mut found = Vec::new();
        let mut last = after.map(|key| self.full_key(key));
        while found.len() < limit {
            let page = self.list_page(last.as_deref(), limit - found.len()).await?;
            found.extend(page.contents().iter().filter_map(|object| self.listed(object)));
            let next = page.contents().last().and_then(|object| object.key()).map(str::to_owned);
            if page.is_truncated() != Some(true) || next.is_none() {
                break;
            }
            last = next;
        }
        Ok(found)
    }

    /// One answer of the store.
    async fn list_page(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<ListObjectsV2Output, ArchiveError> {
        let limit = limit.min(MOST_IN_ONE_ANSWER);
        self.client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(&self.prefix)
            .set_start_after(after.map(str::to_owned))
            .max_keys(i32::try_from(limit).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(|error| self.decide("list the objects of", &self.prefix, &Failure::from(error)))
    }

    /// An object of ours as the store lists it; `None` for what `doctor` writes, and for the marks that consoles leave
    /// for folders.
    fn listed(&self, object: &Object) -> Option<ListedObject> {
        let key = object.key()?.strip_prefix(&self.prefix)?;
        let bytes = u64::try_from(object.size()?).ok()?;
        let is_within = |folder| key.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        let is_doctors = is_within(DOCTOR) || is_within(marker::FOLDER);
        let is_folder = bytes == 0 && (key.is_empty() || key.ends_with('/'));
        (!is_doctors && !is_folder).then(|| ListedObject { key: key.to_owned(), bytes })
    }
}
