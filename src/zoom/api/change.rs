//! What is changed at Zoom: recordings and files of them go to the trash, come back, or are deleted for good.

use http::Method;
use serde_json::json;

use super::call::Question;
use super::purpose::{self, Purpose};
use super::{Api, ApiError, Product, path};
use crate::domain::recording::RecordingIdentity;

/// How something is removed at Zoom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// Into the trash, from which it can be recovered for thirty days.
    Trash,
    /// For good.
    Delete,
}

impl Removal {
    fn as_str(self) -> &'static str {
        match self {
            Self::Trash => "trash",
            Self::Delete => "delete",
        }
    }
}

impl Api {
    /// Removes a recording, or only one file of it, by Zoom's id of the file. A file without an id (`TIMELINE`, `CC`)
    /// can only go with its recording.
    ///
    /// # Errors
    /// See [`ApiError`]; [`ApiError::NotFound`] when it is not there, as when it has been removed before.
    pub async fn remove(
        &self,
        recording: &RecordingIdentity,
        file: Option<&str>,
        how: Removal,
    ) -> Result<(), ApiError> {
        let purpose = match (Product::of(recording)?, file) {
            (Product::VideoSdk, None) => &purpose::REMOVE_SESSION,
            (Product::VideoSdk, Some(_)) => &purpose::REMOVE_SESSION_FILE,
            (Product::Meetings, None) => &purpose::REMOVE_MEETING,
            (Product::Meetings, Some(_)) => &purpose::REMOVE_MEETING_FILE,
        };
        let mut url = path::under(&self.base, &place(purpose, recording, file))?;
        url.query_pairs_mut().append_pair("action", how.as_str());
        self.ask(purpose, &Question { method: Method::DELETE, url, body: None }).await.map(drop)
    }

    /// Brings a recording back from the trash, or only one file of it, by Zoom's id of the file.
    ///
    /// # Errors
    /// See [`ApiError`]; [`ApiError::NotFound`] when it is not in the trash any more.
    pub async fn recover(&self, recording: &RecordingIdentity, file: Option<&str>) -> Result<(), ApiError> {
        let purpose = match (Product::of(recording)?, file) {
            (Product::VideoSdk, None) => &purpose::RECOVER_SESSION,
            (Product::VideoSdk, Some(_)) => &purpose::RECOVER_SESSION_FILE,
            (Product::Meetings, None) => &purpose::RECOVER_MEETING,
            (Product::Meetings, Some(_)) => &purpose::RECOVER_MEETING_FILE,
        };
        let url = path::under(&self.base, &format!("{}/status", place(purpose, recording, file)))?;
        let body = Some(json!({ "action": "recover" }));
        self.ask(purpose, &Question { method: Method::PUT, url, body }).await.map(drop)
    }
}

fn place(purpose: &Purpose, recording: &RecordingIdentity, file: Option<&str>) -> String {
    let of_recording = path::recordings_of(purpose.product, &recording.instance_id);
    match file {
        Some(file) => format!("{of_recording}/{}", path::encoded(file)),
        None => of_recording,
    }
}
