//! What this store has turned out to be able to do.
//!
//! A request is sent with all that the configuration wants. When the store rejects a header that `auto` allows
//! to be left out, the request is sent again without it; only when that succeeds is it remembered, so that a
//! request which fails for another reason costs nothing.

use std::sync::atomic::{AtomicBool, Ordering};

use super::algorithm::Algorithm;
use super::failure::{Failure, Rejects};
use crate::config::archive::{ChecksumMode, S3Config, Switch};

/// What one request asks of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Asked {
    /// The checksum to keep and confirm.
    pub(super) checksum: Option<Algorithm>,
    /// `If-None-Match: *`; without it we look before we write.
    pub(super) condition: bool,
}

/// What the configuration wants of the store, and what the store cannot do.
#[derive(Debug)]
pub(super) struct Abilities {
    wanted: Asked,
    checksum_optional: bool,
    condition_optional: bool,
    lacks_checksum: AtomicBool,
    lacks_condition: AtomicBool,
    /// Refuses to be asked for checksums when an object is looked at.
    lacks_checksum_mode: AtomicBool,
}

impl Abilities {
    pub(super) fn new(config: &S3Config) -> Self {
        Self {
            wanted: Asked {
                checksum: Algorithm::wanted(config.checksum),
                condition: config.conditional_create != Switch::Off,
            },
            checksum_optional: config.checksum == ChecksumMode::Auto,
            condition_optional: config.conditional_create == Switch::Auto,
            lacks_checksum: AtomicBool::new(false),
            lacks_condition: AtomicBool::new(false),
            lacks_checksum_mode: AtomicBool::new(false),
        }
    }

    /// All that is wanted and not known to be lacking.
    pub(super) fn ask(&self) -> Asked {
        Asked {
            checksum: self.wanted.checksum.filter(|_| !self.lacks_checksum.load(Ordering::Relaxed)),
            condition: self.wanted.condition && !self.lacks_condition.load(Ordering::Relaxed),
        }
    }

    /// Whether to ask for checksums when an object is looked at (`x-amz-checksum-mode`).
    pub(super) fn asks_for_checksums(&self) -> bool {
        self.wanted.checksum.is_some() && !self.lacks_checksum_mode.load(Ordering::Relaxed)
    }

    /// From now on without that.
    pub(super) fn forgo_checksum_mode(&self) {
        if !self.lacks_checksum_mode.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the store rejects x-amz-checksum-mode: from now on it is not asked for checksums when an object is looked at"
            );
        }
    }

    /// The settings that demand something which the store rejects; all that demand something where it does not say what.
    pub(super) fn demanded(&self, rejects: Rejects) -> Vec<&'static str> {
        let is_unclear = !rejects.checksum && !rejects.condition;
        let checksum = self.wanted.checksum.is_some() && !self.checksum_optional;
        let condition = self.wanted.condition && !self.condition_optional;
        [
            (checksum && (rejects.checksum || is_unclear)).then_some("archive.s3.checksum"),
            (condition && (rejects.condition || is_unclear)).then_some("archive.s3.conditional_create"),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Whether an object without the wanted checksum is not archived.
    pub(super) fn insists_on_checksum(&self) -> bool {
        !self.checksum_optional
    }

    /// What to ask instead, when the store rejected `asked` for something that can be left out.
    pub(super) fn less(&self, asked: Asked, failure: &Failure) -> Option<Asked> {
        let rejects = failure.rejects_option()?;
        let without_condition = Asked { condition: false, ..asked };
        let without_checksum = Asked { checksum: None, ..asked };
        let may_drop_condition = asked.condition && self.condition_optional;
        let may_drop_checksum = asked.checksum.is_some() && self.checksum_optional;
        if may_drop_condition && rejects.condition {
            Some(without_condition)
        } else if may_drop_checksum && (rejects.checksum || !rejects.condition) {
            Some(without_checksum)
        } else if may_drop_condition && !rejects.checksum {
            Some(without_condition)
        } else {
            None
        }
    }

    /// Remembers what of `first` had to be left out for the store to take a request.
    pub(super) fn remember(&self, first: Asked, taken: Asked) {
        if first.condition && !taken.condition {
            self.forgo_condition();
        }
        if first.checksum.is_some() && taken.checksum.is_none() {
            self.forgo_checksum("rejects");
        }
    }

    fn forgo_condition(&self) {
        if !self.lacks_condition.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the store rejects conditional writes: from now on we look before we write \
                 (archive.s3.conditional_create = \"off\" does so from the start)"
            );
        }
    }

    /// From now on without checksums, where that is allowed.
    pub(super) fn forgo_checksum(&self, why: &str) {
        if self.checksum_optional && !self.lacks_checksum.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "the store {why} CRC-64/NVME checksums: from now on objects are proven by size and our own \
                 SHA-256 (archive.s3.checksum = \"none\" does so from the start)"
            );
        }
    }
}
