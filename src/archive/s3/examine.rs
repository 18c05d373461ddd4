//! A look at a store, from all sides for `doctor` and briefly for the start: what it does of what we ask, which modes follow from that, and
//! what the credentials lack. All that is written is removed again; nothing is ever written under a lock.

use std::sync::Arc;

use aws_sdk_s3::config::interceptors::BeforeDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;
use aws_sdk_s3::types::ObjectLockEnabled;

use super::super::ArchiveError;
use super::super::exercise::{self, NAMES, SMALL};
use super::S3Archive;
use super::failure::Failure;
use super::options::{METADATA, TAGS};
use crate::clock::{Clock, ClockElsewhere};
use crate::config::archive::{LockMode, S3Config};
use crate::domain::finding::{Finding, Look, Subject};

/// How far the clocks may be apart, in seconds: S3 refuses requests from fifteen minutes on.
const WORRYING_SKEW_SECS: i64 = 60;

impl S3Archive {
    pub(super) async fn look_at_all(&self, look: Look) -> Vec<Finding> {
        let mut findings = match self.reach().await {
            Ok(found) => vec![found],
            // Nothing else can work, and would say the same again.
            Err(error) => return vec![exercise::out_of_reach(&error)],
        };
        let folder = exercise::new_folder();
        let twin = self.without_locks();
        if look == Look::Brief {
            findings.extend(exercise::glance(&twin, &folder).await);
            findings.extend(self.locks().await);
            return findings;
        }
        findings.extend(exercise::exercise(&twin, &folder).await);
        findings.extend(twin.modes());
        let small = exercise::key(&folder, NAMES[0]);
        findings.extend(twin.ranges(&small).await);
        findings.extend(twin.tags_kept(&small).await);
        findings.extend(twin.beside_the_content(&small).await);
        findings.extend(self.locks().await);
        findings.extend(twin.clean_up(&folder).await);
        findings
    }

    /// The same store, where what is written can be removed again.
    fn without_locks(&self) -> Self {
        let config = S3Config {
            object_lock_mode: LockMode::None,
            object_lock_days: 0,
            legal_hold: false,
            ..self.config.clone()
        };
        let twin = Self::with(
            self.client.clone(),
            self.signs_bodies,
            self.bucket.clone(),
            self.prefix.clone(),
            &config,
        );
        Self { proxy: self.proxy, ..twin }
    }

    /// The bucket is there, and the clocks agree.
    async fn reach(&self) -> Result<Finding, ArchiveError> {
        let date = DateOfAnswer::default();
        let request = self.client.head_bucket().bucket(&self.bucket).customize().interceptor(date.clone());
        self.look_into(request.send().await.map(drop).map_err(Failure::from)).await?;
        let found = format!("{} can be looked into", self.description);
        Ok(match date.0.seconds_ahead() {
            Some(ahead) if ahead.abs() >= WORRYING_SKEW_SECS => Finding::wrong_so(
                Subject::Archive,
                format!("{found}, but its clock is {ahead} s ahead of this machine's"),
                "set this machine's clock: S3 refuses requests that are fifteen minutes off",
            ),
            Some(_) => Finding::well(Subject::Archive, format!("{found}, and the clocks agree")),
            None => Finding::well(Subject::Archive, found),
        })
    }

    /// What is asked of the store from now on.
    fn modes(&self) -> Vec<Finding> {
        let asked = self.abilities.ask();
        let checksum = asked.checksum.map_or("none", super::algorithm::Algorithm::name);
        let condition =
            if asked.condition { "the store's own (If-None-Match)" } else { "a look before each write" };
        vec![Finding::well(
            Subject::Archive,
            format!("chosen: checksum {checksum}; against writing over: {condition}"),
        )]
    }

    async fn ranges(&self, key: &str) -> Vec<Finding> {
        let request =
            self.client.get_object().bucket(&self.bucket).key(self.full_key(key)).range("bytes=1-7").send();
        let found = match request.await.map_err(Failure::from) {
            Ok(found) => found.body.collect().await.ok().map(|body| body.into_bytes()),
            Err(failure) if failure.is_not_found() => return Vec::new(),
            Err(_) => None,
        };
        vec![if found.as_deref() == SMALL.get(1..8) {
            Finding::well(Subject::Archive, "a piece of an object can be read")
        } else {
            Finding::note(
                Subject::Archive,
                "the store does not honour `Range` when an object is read",
                "objects will be read whole",
            )
        }]
    }

    /// Whether the store keeps the tags that the settings ask for.
    async fn tags_kept(&self, key: &str) -> Option<Finding> {
        let mut wanted: Vec<_> = self.config.tag_pairs().collect();
        if wanted.is_empty() {
            return None;
        }
        let found = match self.tags(key, None).await {
            Ok(found) => found,
            // It could not be written, which has been told.
            Err(failure) if failure.is_not_found() => return None,
            Err(failure) => {
                let words = match failure.is_denied() {
                    true => "whether the tags of archive.s3.tags are kept could not be seen".to_owned(),
                    false => failure.text(&self.bucket, "read the tags of an object", "", ""),
                };
                let mend = "allow s3:GetObjectTagging, which only this look asks for";
                return Some(Finding::note(Subject::Archive, words, mend));
            }
        };
        let mut kept: Vec<_> = found.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        wanted.sort_unstable();
        kept.sort_unstable();
        Some(if kept == wanted {
            Finding::well(Subject::Archive, "the tags of archive.s3.tags are kept")
        } else {
            Finding::wrong_so(
                Subject::Archive,
                "the store takes the tags of archive.s3.tags and does not keep them",
                "empty archive.s3.tags, or use a store that has tags",
            )
        })
    }

    /// Whether the store keeps, and confirms, what else the settings ask for with each object. What is asked of locks is not
    /// asked here.
    async fn beside_the_content(&self, key: &str) -> Vec<Finding> {
        let wanted = self.options.of_file(&exercise::object(key)).metadata;
        // What is not there could not be written, and what cannot be looked at has been told by then.
        let Ok(Some(found)) = self.head(key, None).await else { return Vec::new() };
        let kept = found.kept;
        // Of tags and metadata it is said by themselves what became of them.
        let others = |setting: &&'static str| ![TAGS.key, METADATA.key].contains(setting);
        let unconfirmed = self.options.unconfirmed(&kept).into_iter().filter(others).map(|setting| {
            Finding::note(
                Subject::Archive,
                format!("the store does not confirm {setting}"),
                "it ignores it, or does not tell: look at an object by other means",
            )
        });
        let mut findings: Vec<_> = unconfirmed.collect();
        if let Some(wanted) = wanted {
            let is_kept = |(name, value): (&String, &String)| kept.metadata.get(name) == Some(value);
            findings.push(if wanted.iter().all(is_kept) {
                Finding::well(Subject::Archive, "the metadata of archive.s3.metadata is kept")
            } else {
                Finding::wrong_so(
                    Subject::Archive,
                    "the store takes the metadata of archive.s3.metadata and does not keep it",
                    "empty archive.s3.metadata, or use a store that has metadata",
                )
            });
        }
        findings
    }

    /// Whether the bucket can lock what the settings ask it to.
    async fn locks(&self) -> Vec<Finding> {
        if !self.options.need_digest() {
            return Vec::new();
        }
        let request = self.client.get_object_lock_configuration().bucket(&self.bucket).send();
        let found = match request.await.map_err(Failure::from) {
            Ok(found) => found.object_lock_configuration,
            Err(failure) if failure.is_denied() => {
                return vec![Finding::note(
                    Subject::Archive,
                    "whether the bucket has Object Lock could not be seen",
                    "allow s3:GetBucketObjectLockConfiguration",
                )];
            }
            Err(_) => None,
        };
        let is_enabled =
            found.is_some_and(|lock| lock.object_lock_enabled == Some(ObjectLockEnabled::Enabled));
        vec![if is_enabled {
            Finding::well(Subject::Archive, "the bucket has Object Lock (nothing was written under a lock)")
        } else {
            Finding::wrong_so(
                Subject::Archive,
                "archive.s3.object_lock_mode or legal_hold is set, and the bucket has no Object Lock",
                "use a bucket that was created with Object Lock, or unset them",
            )
        }]
    }

    async fn clean_up(&self, folder: &str) -> Option<Finding> {
        for name in NAMES {
            if let Err(error) = self.remove(&exercise::key(folder, name), None).await {
                return Some(Finding::note(
                    Subject::Archive,
                    format!("what was written for this look could not be removed: {error}"),
                    format!("remove {folder}; and an object that the review finds wrong will stay too"),
                ));
            }
        }
        None
    }
}

/// Takes the `Date` of an answer.
#[derive(Debug, Clone, Default)]
struct DateOfAnswer(Arc<ClockElsewhere>);

impl Intercept for DateOfAnswer {
    fn name(&self) -> &'static str {
        "DateOfAnswer"
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(date) = context.response().headers().get("date") {
            self.0.note(date, Clock::System.now());
        }
        Ok(())
    }
}
