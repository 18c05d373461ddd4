//! The private door: `GET /metrics`, and `/api/v1`. Behind a bearer token when there is one; without one the door binds
//! to loopback only, which the start of the service enforces.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN, WWW_AUTHENTICATE};
use http::uri::Authority;
use http::{HeaderMap, Method, Request, StatusCode};
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::api::problem::Problem;
use super::api::{self, Desk};
use super::gauges::Gauges;
use crate::domain::account::AccountNames;

/// What the private door shows.
pub struct PrivateDoor {
    /// Where the numbers of this process are.
    pub metrics: PrometheusHandle,
    /// What operators ask, and where the numbers of the whole installation are.
    pub desk: Arc<Desk>,
    /// Has this process set those of its gauges that are not set as things happen.
    pub look_around: Arc<dyn Fn() + Send + Sync>,
    /// For how long what was read of the database is shown again.
    pub metrics_max_age: Duration,
    /// What the accounts are called.
    pub names: AccountNames,
    /// Wanted from whoever comes in.
    pub admin_token: Option<SecretString>,
}

/// The door, with what it remembers from one visit to the next.
struct Door {
    shows: PrivateDoor,
    gauges: Gauges,
}

/// The routes.
pub fn router(door: PrivateDoor) -> Router {
    let api = api::router(Arc::clone(&door.desk));
    let gauges = Gauges::new(
        Arc::clone(&door.desk.store),
        door.desk.archive.opened.as_ref().ok().cloned(),
        door.names.clone(),
        door.metrics_max_age,
    );
    let door = Arc::new(Door { shows: door, gauges });
    Router::new()
        .route("/metrics", get(show_metrics))
        .with_state(Arc::clone(&door))
        .merge(api)
        .layer(middleware::from_fn_with_state(door, authorize))
}

async fn show_metrics(State(door): State<Arc<Door>>) -> Response {
    (door.shows.look_around)();
    door.gauges.bring_up_to_date().await;
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], door.shows.metrics.render()).into_response()
}

async fn authorize(
    State(door): State<Arc<Door>>,
    request: Request<axum::body::Body>,
    next: Next,
) -> Response {
    let Some(wanted) = &door.shows.admin_token else {
        // Without a token, whoever reaches this door may look; but no web page may make its reader's browser change
        // anything. Browsers name the page in every such request, and no other program does.
        if request.method() != Method::GET && request.headers().contains_key(ORIGIN) {
            let words = "set ADMIN_TOKEN to ask from a web page";
            return Problem::new(StatusCode::FORBIDDEN, words).into_response();
        }
        if !is_asked_as_localhost(request.headers()) {
            let words = "set ADMIN_TOKEN to ask by another name than localhost or an address";
            return Problem::new(StatusCode::FORBIDDEN, words).into_response();
        }
        return next.run(request).await;
    };
    let given = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
        .unwrap_or_default();
    // Digests have one length, and are compared in constant time.
    let (given, wanted) = (Sha256::digest(given), Sha256::digest(wanted.expose_secret().as_bytes()));
    if given.as_slice().ct_eq(wanted.as_slice()).into() {
        return next.run(request).await;
    }
    let problem =
        Problem::new(StatusCode::UNAUTHORIZED, "a bearer token is wanted, and it must be the right one");
    ([(WWW_AUTHENTICATE, "Bearer")], problem).into_response()
}

/// Whether the door is asked for by an address, or as `localhost`. A web page whose own name has been made to lead to
/// 127.0.0.1 (DNS rebinding) may read what its reader's browser is answered; the browser names it here.
fn is_asked_as_localhost(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST) else { return true };
    let authority = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
    authority.is_some_and(|authority| {
        let name = authority.host().trim_matches(['[', ']']);
        name.eq_ignore_ascii_case("localhost") || name.parse::<std::net::IpAddr>().is_ok()
    })
}
