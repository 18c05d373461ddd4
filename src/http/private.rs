//! The private door: `GET /metrics`, and control of live sessions. Behind a bearer token when there is one; without one the door binds to
//! loopback only, which the configuration check enforces.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, Query, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::header::{AUTHORIZATION, CONTENT_TYPE, ORIGIN, WWW_AUTHENTICATE};
use http::{Method, Request, StatusCode};
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::gauges::Gauges;
use super::live;
use crate::domain::account::AccountNames;
use crate::store::SharedStore;
use crate::zoom::accounts::Accounts;

/// What the private door shows.
pub struct PrivateDoor {
    /// Where the numbers of this process are.
    pub metrics: PrometheusHandle,
    /// Where the numbers of the whole installation are.
    pub store: SharedStore,
    /// Has this process set those of its gauges that are not set as things happen.
    pub look_around: Arc<dyn Fn() + Send + Sync>,
    /// For how long what was read of the database is shown again.
    pub metrics_max_age: Duration,
    /// Whose sessions can be controlled.
    pub accounts: Accounts,
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
    let gauges = Gauges::new(Arc::clone(&door.store), door.names.clone(), door.metrics_max_age);
    let door = Arc::new(Door { shows: door, gauges });
    Router::new()
        .route("/metrics", get(show_metrics))
        .route(live::PATH, post(control))
        .layer(middleware::from_fn_with_state(Arc::clone(&door), authorize))
        .with_state(door)
}

async fn control(
    State(door): State<Arc<Door>>,
    path: Path<(String, String)>,
    whose: Query<live::Whose>,
) -> Response {
    live::control(door.shows.accounts.clone(), path, whose).await
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
            return (StatusCode::FORBIDDEN, "set ADMIN_TOKEN to ask from a web page\n").into_response();
        }
        return next.run(request).await;
    };
    let given = request
        .headers()
        .get(AUTHORIZATION)
        .and_then(|value| value.as_bytes().strip_prefix(b"Bearer "))
        .unwrap_or_default();
    // Digests have one length and are compared whole: the time taken tells nothing of the token.
    if Sha256::digest(given) == Sha256::digest(wanted.expose_secret().as_bytes()) {
        return next.run(request).await;
    }
    (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], "unauthorized\n").into_response()
}
