//! The names of rows in our own database. Zoom's ids are plain strings and live in
//! [`recording`](super::recording).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id. Version 7: later ids sort after earlier ones, so index pages fill in order.
            #[must_use]
            #[allow(clippy::new_without_default, reason = "every call makes another id")]
            pub fn new() -> Self {
                Self(Uuid::now_v7())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

id!(
    /// One webhook delivery, verified.
    EventId
);
id!(
    /// One recording: everything recorded in one session or meeting instance.
    RecordingId
);
id!(
    /// One file of a recording.
    FileId
);
id!(
    /// One job of the queue.
    JobId
);
id!(
    /// One notice to one receiver; [derived](super::notice::notice_id) from what it tells.
    NoticeId
);
