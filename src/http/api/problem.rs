//! Every answer that is no success: `application/problem+json` (RFC 9457), with a sentence and without secrets.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use tracing::warn;
use utoipa::openapi::{ContentBuilder, Ref, RefOr, ResponseBuilder};
use utoipa::{IntoResponses, ToSchema};

use crate::archive::ArchiveError;
use crate::store::StoreError;
use crate::zoom::api::ApiError;

const MEDIA_TYPE: &str = "application/problem+json";
/// When to ask again while the database or the archive is away.
const AGAIN: Duration = Duration::from_secs(5);

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: the status says which kind of problem it is.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The status.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What is wrong, in a sentence.
    pub detail: String,
    #[serde(skip)]
    #[schema(ignore)]
    retry_after: Option<Duration>,
}

impl Problem {
    /// A problem with this status.
    pub(in crate::http) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank".to_owned(),
            title: status.canonical_reason().unwrap_or("Unknown").to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            retry_after: None,
        }
    }

    /// The request makes no sense.
    pub(super) fn bad(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// There is no such thing.
    pub(super) fn missing(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no such {what}"))
    }

    /// It stands where this cannot be done to it.
    pub(super) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// Our fault.
    pub(super) fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "something is wrong here; the log says what")
    }

    /// It may be done after a rest.
    pub(super) fn after(self, rest: Duration) -> Self {
        Self { retry_after: Some(rest), ..self }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let rest = self.retry_after;
        let mut response = (status, [(CONTENT_TYPE, MEDIA_TYPE)], Json(self)).into_response();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        if let Some(rest) = rest {
            response.headers_mut().insert(RETRY_AFTER, rest.as_secs().max(1).into());
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        warn!(%error, "the database could not answer an operator");
        match error {
            StoreError::Unavailable(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "the database is not available").after(AGAIN)
            }
            _ => Self::internal(),
        }
    }
}

impl From<ArchiveError> for Problem {
    fn from(error: ArchiveError) -> Self {
        warn!(%error, "the archive could not answer an operator");
        match error {
            ArchiveError::Unavailable(_) | ArchiveError::NoRoom(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "the archive is not available").after(AGAIN)
            }
            _ => Self::internal(),
        }
    }
}

/// What Zoom says of a deed.
impl From<ApiError> for Problem {
    fn from(error: ApiError) -> Self {
        let status = match error {
            ApiError::NotFound(_) => StatusCode::NOT_FOUND,
            ApiError::NotNow(_) | ApiError::NoCredentials(_) => StatusCode::CONFLICT,
            ApiError::NotAllowed(_) => StatusCode::FORBIDDEN,
            ApiError::Unreachable(_) => StatusCode::GATEWAY_TIMEOUT,
            ApiError::Refused { retry_after: None, .. } | ApiError::Invalid(_) => StatusCode::BAD_GATEWAY,
            ApiError::Superseded(_) | ApiError::Refused { retry_after: Some(_), .. } => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        };
        let problem = Self::new(status, error.to_string());
        match error {
            ApiError::Refused { retry_after: Some(rest), .. } => problem.after(rest),
            _ => problem,
        }
    }
}

/// For the document: what any question may be answered.
pub(super) struct Trouble;

/// For the document: that there is no such thing.
pub(super) struct Missing;

/// For the document: what any deed may be answered.
pub(super) struct Refusal;

type Answers = BTreeMap<String, RefOr<utoipa::openapi::response::Response>>;

fn answers(statuses: &[(&str, &str)]) -> Answers {
    let answer = |words: &str| {
        let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
        RefOr::T(ResponseBuilder::new().description(words).content(MEDIA_TYPE, content).build())
    };
    statuses.iter().map(|(status, words)| ((*status).to_owned(), answer(words))).collect()
}

impl IntoResponses for Trouble {
    fn responses() -> Answers {
        answers(&[
            ("400", "The request makes no sense"),
            ("401", "The bearer token is missing or wrong"),
            ("403", "The door has no token, and is asked by another name than `localhost` or an address"),
            ("500", "Something is wrong here"),
            ("503", "The database or the archive is away; `Retry-After` says when to ask again"),
        ])
    }
}

impl IntoResponses for Missing {
    fn responses() -> Answers {
        answers(&[("404", "There is no such thing")])
    }
}

impl IntoResponses for Refusal {
    fn responses() -> Answers {
        answers(&[
            (
                "403",
                "The door has no token, and a web page asks, or somebody by another name than `localhost` or an address; or \
                 Zoom does not allow it",
            ),
            ("409", "It stands where this cannot be done to it"),
            ("413", "The body is too long"),
            ("415", "The body is no JSON"),
        ])
    }
}
