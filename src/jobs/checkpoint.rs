//! What a transfer leaves for its next run, on whatever machine that is.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::archive::Upload;
use crate::domain::part::PartPlan;

/// State of a transfer, as kept in the job's `checkpoint` column.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransferCheckpoint {
    /// The upload that has begun, with the plan its parts follow.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upload: Option<(Upload, PartPlan)>,
    /// A size other than the announced one, as seen by an earlier run: seen twice, it is believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub odd_size: Option<u64>,
}

impl TransferCheckpoint {
    /// Reads a checkpoint; one of an unknown shape (of another version) counts as none.
    #[must_use]
    pub fn read(value: Option<&Value>) -> Self {
        value.and_then(|value| Self::deserialize(value).ok()).unwrap_or_default()
    }

    /// As JSON, for the column.
    #[must_use]
    pub fn to_value(&self) -> Value {
        serde_json::to_value(self).unwrap_or_default()
    }
}
