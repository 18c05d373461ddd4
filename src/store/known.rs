//! Files of a recording that are known before an announcement of it is written.

use sqlx::FromRow;
use uuid::Uuid;

use super::moment::Moment;
use crate::domain::file_identity::Description;
use crate::domain::ids::FileId;
use crate::domain::recording::FileIdentity;

/// A row of `files`, as far as it tells which file it is.
#[derive(Debug, Clone, FromRow)]
pub(super) struct KnownFile {
    /// Which of several events it was looked up for, from 1.
    pub(super) number: i64,
    id: Uuid,
    collection: String,
    name: String,
    file_type: String,
    recording_start: Option<Moment>,
}

impl KnownFile {
    pub(super) fn id(&self) -> FileId {
        FileId(self.id)
    }

    pub(super) fn describe(&self) -> Description {
        let identity = FileIdentity { collection: self.collection.clone(), name: self.name.clone() };
        Description::new(&identity, &self.file_type, self.recording_start.map(|start| start.0))
    }
}
