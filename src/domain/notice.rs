//! What is told to receivers outside: which kinds of notices there are, what there is to tell, and who wants to hear of
//! what. A notice is a job of the queue, one for each receiver, written in the transaction that makes the thing
//! true.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::account::AccountChoice;
use super::ids::NoticeId;
use super::recording::UnknownWord;
use super::verification::Found;

/// What a notice tells of. The words are part of what receivers build upon (`docs/notifications.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum NoticeKind {
    /// Every file of a recording is in the archive, or will not come; and the manifest says so.
    #[serde(rename = "recording.archived")]
    RecordingArchived,
    /// A file was given up.
    #[serde(rename = "file.dead")]
    FileDead,
    /// Zoom has a file no more.
    #[serde(rename = "file.gone")]
    FileGone,
    /// A file waits for a person.
    #[serde(rename = "file.parked")]
    FileParked,
    /// A file that is not archived will soon not be had any more.
    #[serde(rename = "file.loss_near")]
    FileLossNear,
    /// A file that is archived is not as it was proven.
    #[serde(rename = "file.finding")]
    FileFinding,
}

impl NoticeKind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::RecordingArchived,
        Self::FileDead,
        Self::FileGone,
        Self::FileParked,
        Self::FileLossNear,
        Self::FileFinding,
    ];

    /// The word used in settings, SQL, metrics and notifications.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RecordingArchived => "recording.archived",
            Self::FileDead => "file.dead",
            Self::FileGone => "file.gone",
            Self::FileParked => "file.parked",
            Self::FileLossNear => "file.loss_near",
            Self::FileFinding => "file.finding",
        }
    }

    /// Whether its subject is a recording; else it is a file.
    #[must_use]
    pub fn is_about_recording(self) -> bool {
        self == Self::RecordingArchived
    }
}

impl fmt::Display for NoticeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for NoticeKind {
    type Err = UnknownWord;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| UnknownWord::new("kind of notice", text))
    }
}

/// What there is to tell of a recording or a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct News {
    /// What happened.
    pub kind: NoticeKind,
    /// Tells one time from another: the same news of the same occasion is told once, however often it is settled. Where
    /// there is none, each run is an occasion.
    pub occasion: Option<i64>,
    /// What receivers are told beside the subject; holds no secret.
    pub detail: Map<String, Value>,
}

impl News {
    /// News with a reason.
    #[must_use]
    pub fn with_reason(kind: NoticeKind, reason: &str) -> Self {
        let detail = Map::from_iter([("reason".to_owned(), Value::from(reason))]);
        Self { kind, occasion: None, detail }
    }

    /// News of what a verification has found.
    #[must_use]
    pub fn found(found: &Found) -> Self {
        let mut news = Self::with_reason(NoticeKind::FileFinding, &found.detail);
        news.detail.insert("finding".to_owned(), found.finding.as_str().into());
        news
    }
}

/// A notice as it waits to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its name, also to the receiver, who knows a repetition by it.
    pub id: NoticeId,
    /// What happened.
    pub kind: NoticeKind,
    /// To which recording or file.
    pub subject: Uuid,
    /// When it became true, by the database's clock.
    pub happened_at: DateTime<Utc>,
    /// What else there is to tell; holds no secret.
    pub detail: Map<String, Value>,
}

/// The name of a notice: the same for the same news of the same occasion to the same receiver, whoever writes it. The
/// statements for Postgres spell the same.
#[must_use]
pub fn notice_id(kind: NoticeKind, subject: Uuid, occasion: i64, target: &str) -> NoticeId {
    let text = format!("{kind}|{subject}|{occasion}|{target}");
    let digest: [u8; 32] = Sha256::digest(text).into();
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    NoticeId(Uuid::from_bytes(id))
}

/// A receiver, and what it wants to hear of.
#[derive(Debug, Clone, Serialize)]
pub struct Subscription {
    /// Its name in the settings.
    pub name: String,
    /// The kinds of notices; not part of what the database is asked with, which is of one kind.
    #[serde(skip)]
    pub kinds: BTreeSet<NoticeKind>,
    /// Whose recordings.
    #[serde(flatten)]
    pub accounts: AccountChoice,
}

/// All receivers.
#[derive(Debug, Clone, Default)]
pub struct Subscriptions(Vec<Subscription>);

impl Subscriptions {
    /// Those receivers.
    #[must_use]
    pub fn new(all: Vec<Subscription>) -> Self {
        Self(all)
    }

    /// Those that want to hear of notices of a kind.
    #[must_use]
    pub fn to(&self, kind: NoticeKind) -> Vec<&Subscription> {
        self.0.iter().filter(|subscription| subscription.kinds.contains(&kind)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_back_from_its_word_which_is_also_that_of_the_settings() {
        for kind in NoticeKind::ALL {
            assert_eq!(kind.as_str().parse::<NoticeKind>().unwrap(), kind);
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
    }

    #[test]
    fn the_same_news_of_the_same_occasion_has_the_same_name_and_no_other_has() {
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let id = notice_id(NoticeKind::FileDead, one, 7, "ops");
        assert_eq!(id, notice_id(NoticeKind::FileDead, one, 7, "ops"));
        for different in [
            notice_id(NoticeKind::FileGone, one, 7, "ops"),
            notice_id(NoticeKind::FileDead, other, 7, "ops"),
            notice_id(NoticeKind::FileDead, one, 8, "ops"),
            notice_id(NoticeKind::FileDead, one, 7, "chat"),
        ] {
            assert_ne!(id, different);
        }
    }
}
