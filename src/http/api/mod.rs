//! `/api/v1`: what an operator asks and does, as JSON. The commands `status`, `recordings`, `files`, `jobs` and `events`
//! ask here too, over the network or, straight on the database, within their own process: so there is one answer to a
//! question.
//!
//! Nothing of the queue or of a transfer is decided here: each deed is one verb of the store. The document at
//! `/api/v1/openapi.json` is made from these handlers and the types in [`words`].
//!
//! - [`words`]: the JSON of questions and answers
//! - [`problem`]: every answer that is no success (RFC 9457)
//! - `ask`: how paths, queries and bodies are read, and pages turned
//! - `status`, `recordings`, `files`, `content`, `jobs`, `events`, `accounts`: one file for each kind of thing
//! - `sessions`: control of live sessions; `recover`: out of Zoom's trash
//!
//! Who may come in is decided at the door: see [`private`](super::private).

mod accounts;
mod ask;
mod content;
mod events;
mod files;
mod jobs;
pub mod problem;
mod recordings;
mod recover;
mod sessions;
mod status;
pub mod words;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use axum::{Json, Router};
use http::{StatusCode, Uri};
use tokio::sync::Notify;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use self::problem::Problem;
use self::words::Account;
use crate::archive::SharedArchive;
use crate::config::secrets::ZoomAccount;
use crate::store::SharedStore;
use crate::zoom::accounts::Accounts;
use crate::zoom::api::live::Control;

/// Where it is.
pub const PREFIX: &str = "/api/v1";
/// Longest body of a request, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// What the operator's questions and deeds are about.
pub struct Desk {
    /// The record.
    pub store: SharedStore,
    /// The storage that the user owns.
    pub archive: Shelf,
    /// Whose sessions can be controlled.
    pub accounts: Accounts,
    /// All accounts of the configuration.
    pub known_accounts: Vec<Account>,
    /// The account of events that do not say whose they are, where that is clear.
    pub only_account: Option<String>,
    /// Rung when there is new work.
    pub wake: Arc<Notify>,
    /// How long an address for a download is valid.
    pub link_valid: Duration,
}

/// The archive, or why it could not be opened.
pub struct Shelf {
    /// Where it is, for people.
    pub place: String,
    /// The archive itself, or the reason in words.
    pub opened: Result<SharedArchive, String>,
}

impl Shelf {
    /// An archive that is open.
    #[must_use]
    pub fn new(archive: SharedArchive) -> Self {
        Self { place: archive.describe().to_owned(), opened: Ok(archive) }
    }
}

/// The account that all events belong to, as far as the configuration says: that of the only secrets there are.
#[must_use]
pub fn only_account(accounts: &[ZoomAccount]) -> Option<String> {
    let mut owners = accounts.iter().filter(|account| !account.webhook_secret_tokens.is_empty());
    let first = owners.next()?.account_id.clone()?;
    owners.all(|other| other.account_id.as_ref() == Some(&first)).then_some(first)
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "zoom-archiver",
        description = "What an operator asks of the archive, and does to it. Lists come in pages: give `next` of one \
            page as `after` of the following one. Times are RFC 3339 in UTC. Everything that is no success is a \
            problem (RFC 9457)."
    ),
    security(("token" = [])),
    components(schemas(Problem, Control)),
    tags(
        (name = "status", description = "How the installation stands"),
        (name = "recordings", description = "Everything recorded in one session or meeting instance"),
        (name = "files", description = "Assets of recordings: what stands where, and why"),
        (name = "jobs", description = "The queue"),
        (name = "events", description = "Verified deliveries of Zoom's"),
        (name = "accounts", description = "Zoom accounts of the configuration"),
        (name = "sessions", description = "Control of live sessions")
    )
)]
struct Document;

/// The routes, with the document about them.
fn routes() -> OpenApiRouter<Arc<Desk>> {
    let mut document = Document::openapi();
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "ADMIN_TOKEN. Where none is set, the door listens on loopback only, and asks for none.",
        ))
        .build();
    document.components.get_or_insert_default().add_security_scheme("token", SecurityScheme::Http(bearer));
    let api = OpenApiRouter::new()
        .routes(routes!(status::show))
        .routes(routes!(recordings::list))
        .routes(routes!(recordings::show))
        .routes(routes!(recover::recover))
        .routes(routes!(files::list))
        .routes(routes!(files::retry_all))
        .routes(routes!(files::show))
        .routes(routes!(files::retry))
        .routes(routes!(files::skip))
        .routes(routes!(files::unskip))
        .routes(routes!(content::read))
        .routes(routes!(content::link))
        .routes(routes!(jobs::list))
        .routes(routes!(jobs::show))
        .routes(routes!(jobs::retry))
        .routes(routes!(jobs::cancel))
        .routes(routes!(events::list))
        .routes(routes!(events::show))
        .routes(routes!(events::replay))
        .routes(routes!(accounts::list))
        .routes(routes!(sessions::control));
    OpenApiRouter::with_openapi(document).nest(PREFIX, api)
}

/// The routes. Whatever else is asked of the door that they are merged into is a problem, too.
pub fn router(desk: Arc<Desk>) -> Router {
    let (router, document) = routes().split_for_parts();
    let document = Arc::new(document);
    router
        .route(&format!("{PREFIX}/openapi.json"), get(move || async move { Json(document) }))
        .fallback(unknown)
        .method_not_allowed_fallback(not_allowed)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(CatchPanicLayer::custom(panicked))
        .with_state(desk)
}

async fn unknown(address: Uri) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("there is nothing at {}", address.path()))
}

async fn not_allowed() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "`Allow` says what can be done here")
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> axum::response::Response {
    use axum::response::IntoResponse;
    tracing::error!("a request handler panicked");
    Problem::internal().into_response()
}

#[cfg(test)]
mod tests {
    use utoipa::openapi::RefOr;

    use super::*;

    #[test]
    fn every_route_of_the_document_says_how_it_answers() {
        let document = routes().into_openapi();
        let mut routes = 0;
        for (path, item) in &document.paths.paths {
            for operation in [&item.get, &item.post].into_iter().flatten() {
                routes += 1;
                let answers = &operation.responses.responses;
                assert!(path.starts_with(PREFIX), "{path}");
                assert!(answers.keys().any(|status| status.starts_with('2')), "{path}");
                assert!(
                    ["400", "401", "403", "500", "503"].iter().all(|status| answers.contains_key(*status)),
                    "{path}"
                );
                assert!(answers.values().all(|answer| matches!(answer, RefOr::T(_))), "{path}");
                assert!(operation.summary.is_some(), "{path}");
            }
        }
        assert_eq!(routes, 21);
    }
}
