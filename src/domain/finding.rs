//! What `doctor` and the look at the start find: one sentence about one thing, whether that is well, and how to mend it where it is not.

use serde::Serialize;

/// What was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The database.
    Database,
    /// The bucket or directory.
    Archive,
    /// Zoom's API, and our credentials for it.
    Zoom,
}

impl Subject {
    /// The word used in logs and reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Archive => "archive",
            Self::Zoom => "zoom",
        }
    }
}

/// How closely something is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Everything that is needed of it is tried: for a person who asks.
    Whole,
    /// What a few requests tell, whatever its size, and without an object or a row being written: for every start.
    Brief,
}

/// Whether it is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// As it should be.
    Well,
    /// It works, and could be better: something is missing that nothing depends on, or could not be looked at.
    Note,
    /// It does not work, or recordings are at risk.
    Wrong,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub subject: Subject,
    /// Whether it is well.
    pub verdict: Verdict,
    /// What was found, in a sentence; without secrets.
    pub words: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

impl Finding {
    /// Something is as it should be.
    #[must_use]
    pub fn well(subject: Subject, words: impl Into<String>) -> Self {
        Self { subject, verdict: Verdict::Well, words: words.into(), mend: None }
    }

    /// Something could be better.
    #[must_use]
    pub fn note(subject: Subject, words: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { subject, verdict: Verdict::Note, words: words.into(), mend: Some(mend.into()) }
    }

    /// Something is wrong; the words say already what to do.
    #[must_use]
    pub fn wrong(subject: Subject, words: impl Into<String>) -> Self {
        Self { subject, verdict: Verdict::Wrong, words: words.into(), mend: None }
    }

    /// Something is wrong.
    #[must_use]
    pub fn wrong_so(subject: Subject, words: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { mend: Some(mend.into()), ..Self::wrong(subject, words) }
    }
}
