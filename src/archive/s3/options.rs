//! What is asked of the store for every object beside its content: storage class, encryption, tags, metadata, locks.
//!
//! Unlike a checksum or a condition, none of it is left out when the store rejects it: the object is refused, and
//! the error names the setting. A store that takes an option and ignores it is told on by one warning.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_s3::primitives::DateTime;
use aws_sdk_s3::types::{ObjectLockLegalHoldStatus, ObjectLockMode, ServerSideEncryption, StorageClass};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};

use super::super::NewObject;
use super::failure::Failure;
use crate::clock::Clock;
use crate::config::archive::{Encryption, LockMode, S3Config};
use crate::domain::fact::ALWAYS_KNOWN;

/// Most bytes of user metadata that S3 takes (User Guide, "Working with object metadata"). MinIO counts the prefix
/// of the names too, and so do we.
const MAX_METADATA_BYTES: usize = 2048;
/// What S3 puts before the name of a user metadata header.
const METADATA_PREFIX: &str = "x-amz-meta-";
const SECONDS_PER_DAY: u64 = 24 * 60 * 60;
/// What is escaped in user metadata beside all that is not ASCII: `%` itself; blanks, which signatures and proxies
/// squeeze; and `=`, because Amazon S3 decodes `=?…?=` as RFC 2047 has it.
const IN_METADATA: &AsciiSet = &CONTROLS.add(b' ').add(b'%').add(b'=');
/// What is escaped in tags: all but the unreserved characters of RFC 3986.
const IN_TAGS: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A setting that asks for an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) key: &'static str,
    /// What stands in the code or message of a store that rejects it, in lower case.
    told_by: &'static [&'static str],
    /// What an operator can do then.
    advice: &'static str,
    /// The right that the credentials need for it, beside those for plain objects.
    right: Option<&'static str>,
}

const STORAGE_CLASS: Setting = Setting {
    key: "archive.s3.storage_class",
    told_by: &["storageclass", "storage-class", "storage class"],
    advice: "name a class that the store has, or none",
    right: None,
};
const ENCRYPTION: Setting = Setting {
    key: "archive.s3.server_side_encryption",
    told_by: &["encryption", "kms"],
    advice: "check archive.s3.kms_key_id and the store's key management, or set it to \"none\"",
    right: None,
};
const KMS: Setting = Setting { right: Some("kms:GenerateDataKey and kms:Decrypt on the key"), ..ENCRYPTION };
pub(super) const TAGS: Setting = Setting {
    key: "archive.s3.tags",
    told_by: &["tagging", "invalidtag", "object tag"],
    advice: "change or empty them",
    right: Some("s3:PutObjectTagging"),
};
pub(super) const METADATA: Setting = Setting {
    key: "archive.s3.metadata",
    told_by: &["metadata", METADATA_PREFIX],
    advice: "shorten or empty it",
    right: None,
};
const LOCK: Setting = Setting {
    key: "archive.s3.object_lock_mode",
    told_by: &["objectlock", "object-lock", "object lock", "retention", "retain"],
    advice: "use a bucket that was created with Object Lock, or set it to \"none\"",
    right: Some("s3:PutObjectRetention"),
};
const LEGAL_HOLD: Setting = Setting {
    key: "archive.s3.legal_hold",
    told_by: &["objectlock", "object-lock", "object lock", "legal hold", "legal-hold", "legalhold"],
    advice: "use a bucket that was created with Object Lock, or set it to false",
    right: Some("s3:PutObjectLegalHold"),
};

/// What one object is asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Wanted {
    pub(super) storage_class: Option<StorageClass>,
    pub(super) encryption: Option<ServerSideEncryption>,
    pub(super) kms_key_id: Option<String>,
    /// As a query string.
    pub(super) tagging: Option<String>,
    pub(super) metadata: Option<HashMap<String, String>>,
    pub(super) lock_mode: Option<ObjectLockMode>,
    pub(super) retain_until: Option<DateTime>,
    pub(super) legal_hold: Option<ObjectLockLegalHoldStatus>,
}

/// Puts what is wanted into a request that makes an object.
macro_rules! with_options {
    ($request:expr, $wanted:expr) => {{
        let wanted: $crate::archive::s3::options::Wanted = $wanted;
        $request
            .set_storage_class(wanted.storage_class)
            .set_server_side_encryption(wanted.encryption)
            .set_ssekms_key_id(wanted.kms_key_id)
            .set_tagging(wanted.tagging)
            .set_metadata(wanted.metadata)
            .set_object_lock_mode(wanted.lock_mode)
            .set_object_lock_retain_until_date(wanted.retain_until)
            .set_object_lock_legal_hold_status(wanted.legal_hold)
    }};
}
pub(super) use with_options;

/// What the store says that it keeps an object with.
#[derive(Debug, Default, Clone)]
pub(super) struct Kept {
    /// Not told for the class STANDARD.
    pub(super) storage_class: Option<StorageClass>,
    pub(super) encryption: Option<ServerSideEncryption>,
    /// As an id or an ARN.
    pub(super) kms_key_id: Option<String>,
    /// `None` where nobody has asked.
    pub(super) tags: Option<Vec<(String, String)>>,
    pub(super) metadata: HashMap<String, String>,
    pub(super) lock_mode: Option<ObjectLockMode>,
    pub(super) retain_until: Option<DateTime>,
    pub(super) legal_hold: Option<ObjectLockLegalHoldStatus>,
}

impl Kept {
    /// Whether that key was used. An alias is not told by its name.
    fn is_under(&self, wanted: &str) -> bool {
        let is_alias = wanted.starts_with("alias/") || wanted.contains(":alias/");
        self.kms_key_id.as_ref().is_some_and(|kept| is_alias || kept.ends_with(wanted))
    }

    /// Whether it is retained for about as long: the clocks need not agree.
    fn is_locked_for(&self, days: u64) -> bool {
        let least = Clock::System.now() + Duration::from_secs(days.saturating_sub(1) * SECONDS_PER_DAY);
        self.retain_until.is_some_and(|until| until.secs() >= least.timestamp())
    }
}

/// The options that the configuration asks for.
#[derive(Debug)]
pub(super) struct Options {
    /// For every object, but for what differs from one to the next.
    of_each: Wanted,
    /// As pairs, what `of_each` has as a query string.
    tags: Vec<(String, String)>,
    lock_days: u64,
    facts: Vec<String>,
    in_use: Vec<Setting>,
    reviewed: AtomicBool,
}

impl Options {
    pub(super) fn new(config: &S3Config) -> Self {
        let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let (encryption, encryption_setting) = match config.server_side_encryption {
            Encryption::None => (None, None),
            Encryption::Aes256 => (Some(ServerSideEncryption::Aes256), Some(ENCRYPTION)),
            Encryption::Kms => (Some(ServerSideEncryption::AwsKms), Some(KMS)),
            Encryption::KmsTwice => (Some(ServerSideEncryption::AwsKmsDsse), Some(KMS)),
        };
        let of_each = Wanted {
            storage_class: given(&config.storage_class).map(|class| StorageClass::from(class.as_str())),
            encryption,
            kms_key_id: given(&config.kms_key_id),
            tagging: given(&tagging(config)),
            lock_mode: match config.object_lock_mode {
                LockMode::None => None,
                LockMode::Governance => Some(ObjectLockMode::Governance),
                LockMode::Compliance => Some(ObjectLockMode::Compliance),
            },
            legal_hold: config.legal_hold.then_some(ObjectLockLegalHoldStatus::On),
            ..Wanted::default()
        };
        let in_use = [
            of_each.storage_class.as_ref().map(|_| STORAGE_CLASS),
            encryption_setting,
            of_each.tagging.as_ref().map(|_| TAGS),
            (!config.metadata.is_empty()).then_some(METADATA),
            of_each.lock_mode.as_ref().map(|_| LOCK),
            of_each.legal_hold.as_ref().map(|_| LEGAL_HOLD),
        ];
        Self {
            of_each,
            tags: config.tag_pairs().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            lock_days: config.object_lock_days,
            facts: config.metadata.clone(),
            in_use: in_use.into_iter().flatten().collect(),
            reviewed: AtomicBool::new(false),
        }
    }

    /// The settings in use, by their keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.in_use.iter().map(|setting| setting.key)
    }

    /// What a file is asked for.
    pub(super) fn of_file(&self, object: &NewObject) -> Wanted {
        Wanted {
            metadata: self.metadata(object),
            retain_until: self.of_each.lock_mode.as_ref().map(|_| self.retain_until()),
            ..self.of_each.clone()
        }
    }

    /// What a manifest is asked for: the bucket's own class, because it is read and written again. It is locked as
    /// the files are that it proves; where there are locks, there are versions, and each keeps its own.
    pub(super) fn of_manifest(&self, object: &NewObject) -> Wanted {
        Wanted { storage_class: None, ..self.of_file(object) }
    }

    fn retain_until(&self) -> DateTime {
        let until = Clock::System.now() + Duration::from_secs(self.lock_days * SECONDS_PER_DAY);
        DateTime::from_secs(until.timestamp())
    }

    fn metadata(&self, object: &NewObject) -> Option<HashMap<String, String>> {
        let mut room = MAX_METADATA_BYTES;
        let mut kept = HashMap::new();
        for wanted in &self.facts {
            let Some((_, value)) = object.facts.iter().find(|(name, _)| name == wanted) else { continue };
            // Some proxies drop headers with an underscore.
            let name = wanted.replace('_', "-");
            room = room.saturating_sub(METADATA_PREFIX.len() + name.len());
            let value = escaped(value, room);
            room -= value.len();
            if !value.is_empty() {
                kept.insert(name, value);
            }
        }
        (!kept.is_empty()).then_some(kept)
    }

    /// Whether S3 wants a request to carry a digest of its body: it does for each that writes what is locked.
    pub(super) fn need_digest(&self) -> bool {
        self.of_each.lock_mode.is_some() || self.of_each.legal_hold.is_some()
    }

    /// The setting that a store rejects, and what to do about it; `None` when it rejects something else.
    pub(super) fn rejected(&self, failure: &Failure) -> Option<String> {
        let words = failure.words_of_rejection()?;
        let told = |setting: &&Setting| setting.told_by.iter().any(|word| words.contains(word));
        let setting = self.in_use.iter().find(told)?;
        Some(format!("the store has not got what {} asks for: {}", setting.key, setting.advice))
    }

    /// Further rights that the settings in use need, in words.
    pub(super) fn rights(&self) -> Option<String> {
        let rights: Vec<String> = self
            .in_use
            .iter()
            .filter_map(|setting| Some(format!("{} ({})", setting.right?, setting.key)))
            .collect();
        (!rights.is_empty()).then(|| format!("and, for the settings in use, {}", rights.join(", ")))
    }

    /// Whether an object has been looked at since these options are in use.
    pub(super) fn are_reviewed(&self) -> bool {
        self.in_use.is_empty() || self.reviewed.load(Ordering::Relaxed)
    }

    /// Compares what the store keeps an object with, and warns of what it does not confirm; once.
    pub(super) fn review(&self, kept: &Kept) {
        if self.in_use.is_empty() || self.reviewed.swap(true, Ordering::Relaxed) {
            return;
        }
        for setting in self.unconfirmed(kept) {
            tracing::warn!(
                "the store does not confirm {setting}: it ignores it, or the credentials may not see it (they need \
                 s3:GetObjectTagging for tags, s3:GetObjectRetention and s3:GetObjectLegalHold for locks)"
            );
        }
    }

    /// Whether the tags of an object are asked for, in its review.
    pub(super) fn ask_for_tags(&self) -> bool {
        !self.tags.is_empty()
    }

    /// The settings that the store does not confirm of an object.
    pub(super) fn unconfirmed(&self, kept: &Kept) -> Vec<&'static str> {
        let wanted = &self.of_each;
        let class = kept.storage_class.as_ref().unwrap_or(&StorageClass::Standard);
        let has_tag = |tag| kept.tags.as_ref().is_some_and(|tags| tags.contains(tag));
        // The others a file may be without.
        let always = self.facts.iter().any(|name| ALWAYS_KNOWN.contains(&name.as_str()));
        let confirmed = [
            (STORAGE_CLASS.key, wanted.storage_class.as_ref().is_none_or(|wanted| wanted == class)),
            (ENCRYPTION.key, wanted.encryption.is_none() || wanted.encryption == kept.encryption),
            ("archive.s3.kms_key_id", wanted.kms_key_id.as_ref().is_none_or(|key| kept.is_under(key))),
            (TAGS.key, self.tags.iter().all(has_tag)),
            (METADATA.key, !kept.metadata.is_empty() || !always),
            (LOCK.key, wanted.lock_mode.is_none() || wanted.lock_mode == kept.lock_mode),
            ("archive.s3.object_lock_days", self.lock_days == 0 || kept.is_locked_for(self.lock_days)),
            (LEGAL_HOLD.key, wanted.legal_hold.is_none() || wanted.legal_hold == kept.legal_hold),
        ];
        confirmed.iter().filter(|(_, confirmed)| !confirmed).map(|(key, _)| *key).collect()
    }
}

fn tagging(config: &S3Config) -> String {
    let escaped = |text| utf8_percent_encode(text, IN_TAGS);
    let pairs = config.tag_pairs().map(|(key, value)| format!("{}={}", escaped(key), escaped(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// A value as it is kept in user metadata, cut to `room` bytes between two characters.
fn escaped(value: &str, room: usize) -> String {
    let mut out = String::new();
    for character in value.chars() {
        let escaped = utf8_percent_encode(character.encode_utf8(&mut [0; 4]), IN_METADATA).to_string();
        if out.len() + escaped.len() > room {
            break;
        }
        out.push_str(&escaped);
    }
    out
}

#[cfg(test)]
mod tests {
    use percent_encoding::percent_decode_str;

    use super::*;
    use crate::config::load::{Environment, load};

    fn options(settings: &[(&str, &str)]) -> Options {
        let variable = |key: &str| format!("ZOOM_ARCHIVER_ARCHIVE__S3__{}", key.to_uppercase());
        let environment: Environment =
            settings.iter().map(|(key, value)| (variable(key), (*value).to_owned())).collect();
        Options::new(&load(None, &environment).unwrap().archive.s3)
    }

    fn object(facts: &[(&str, &str)]) -> NewObject {
        let facts = facts.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        NewObject { key: "k".to_owned(), content_type: "video/mp4".to_owned(), facts }
    }

    #[test]
    fn without_settings_nothing_is_asked() {
        let options = options(&[]);
        assert_eq!(options.of_file(&object(&[("topic", "Lesson")])), Wanted::default());
        assert!(options.are_reviewed() && !options.need_digest());
        assert_eq!(options.rights(), None);
    }

    #[test]
    fn any_text_survives_in_metadata() {
        let options = options(&[("metadata", "topic,file_type")]);
        for topic in ["Lesson", "Über  uns – レッスン 🎓", " 100 % =?UTF-8?Q?=41?= ", "a\r\nX-Evil: 1\u{7f}"]
        {
            let metadata =
                options.of_file(&object(&[("topic", topic), ("file", "secret")])).metadata.unwrap();
            let kept = &metadata["topic"];
            assert!(kept.bytes().all(|b| b.is_ascii_graphic()) && !kept.contains('='), "{kept}");
            assert_eq!(percent_decode_str(kept).decode_utf8().unwrap(), topic);
            assert_eq!(metadata.len(), 1, "{metadata:?}");
        }
    }

    #[test]
    fn metadata_keeps_within_the_limit_of_s3_and_is_cut_between_characters() {
        let options = options(&[("metadata", "topic,file_type,file")]);
        let long = "é".repeat(5000);
        let metadata = options
            .of_file(&object(&[("file", "lost"), ("file_type", "lost"), ("topic", &long)]))
            .metadata
            .unwrap();
        let bytes: usize =
            metadata.iter().map(|(name, value)| METADATA_PREFIX.len() + name.len() + value.len()).sum();
        assert!((2000..=MAX_METADATA_BYTES).contains(&bytes), "{bytes}");
        let topic = percent_decode_str(&metadata["topic"]).decode_utf8().unwrap();
        assert!(long.starts_with(&*topic));
    }

    #[test]
    fn tags_are_a_query_string() {
        let options = options(&[("tags", "team=R+D / ops, größe=1+1=2")]);
        let tagging = options.of_file(&object(&[])).tagging.unwrap();
        assert_eq!(tagging, "team=R%2BD%20%2F%20ops&gr%C3%B6%C3%9Fe=1%2B1%3D2");
    }

    #[test]
    fn a_manifest_keeps_the_buckets_class_and_is_locked_as_files_are() {
        let options = options(&[
            ("storage_class", "GLACIER"),
            ("object_lock_mode", "governance"),
            ("object_lock_days", "30"),
            ("legal_hold", "true"),
        ]);
        let (file, manifest) = (options.of_file(&object(&[])), options.of_manifest(&object(&[])));
        assert_eq!((file.storage_class, manifest.storage_class), (Some(StorageClass::Glacier), None));
        assert_eq!(manifest.lock_mode, Some(ObjectLockMode::Governance));
        assert!(manifest.retain_until.is_some() && manifest.legal_hold.is_some());
    }

    #[test]
    fn what_a_store_silently_ignores_is_found() {
        let options = options(&[
            ("storage_class", "STANDARD"),
            ("server_side_encryption", "aws:kms"),
            ("kms_key_id", "archive"),
            ("tags", "team=R D,class=b"),
            ("metadata", "topic,file"),
            ("object_lock_mode", "compliance"),
            ("object_lock_days", "30"),
            ("legal_hold", "true"),
        ]);
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let all = Kept {
            storage_class: None,
            encryption: Some(ServerSideEncryption::AwsKms),
            kms_key_id: Some("arn:aws:kms:archive".to_owned()),
            tags: Some(vec![pair("more", "1"), pair("team", "R D"), pair("class", "b")]),
            metadata: HashMap::from([pair("file", "0A1B")]),
            lock_mode: Some(ObjectLockMode::Compliance),
            retain_until: Some(options.retain_until()),
            legal_hold: Some(ObjectLockLegalHoldStatus::On),
        };
        assert_eq!(options.unconfirmed(&all), Vec::<&str>::new());
        let other = Kept { storage_class: Some(StorageClass::OnezoneIa), ..Kept::default() };
        let keys = "storage_class server_side_encryption kms_key_id tags metadata object_lock_mode object_lock_days \
                    legal_hold";
        let keys: Vec<_> = keys.split_whitespace().map(|key| format!("archive.s3.{key}")).collect();
        assert_eq!(options.unconfirmed(&other), keys);
        let early = DateTime::from_secs(options.retain_until().secs() - 29 * 24 * 60 * 60);
        let changed = Kept {
            kms_key_id: Some("arn:aws:kms:other".to_owned()),
            tags: Some(vec![pair("team", "R D"), pair("class", "c")]),
            retain_until: Some(early),
            ..all
        };
        assert_eq!(
            options.unconfirmed(&changed),
            ["archive.s3.kms_key_id", "archive.s3.tags", "archive.s3.object_lock_days"]
        );
        assert!(!options.are_reviewed());
        options.review(&other);
        assert!(options.are_reviewed());
    }

    #[test]
    fn the_rights_that_settings_need_are_named() {
        let options = options(&[("tags", "a=b"), ("server_side_encryption", "aws:kms")]);
        let rights = options.rights().unwrap();
        assert!(rights.contains("s3:PutObjectTagging (archive.s3.tags)"), "{rights}");
        assert!(rights.contains("kms:GenerateDataKey") && !rights.contains("LegalHold"), "{rights}");
    }
}
