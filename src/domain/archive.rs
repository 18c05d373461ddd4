//! Which archive is meant.

/// An archive as the database knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveIdentity {
    /// The id in its marker.
    pub id: String,
    /// Where it was when that was noted: `s3://bucket/prefix`, `file:///path`.
    pub place: String,
}
