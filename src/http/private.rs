//! The private door: `GET /metrics`. Behind a bearer token when there is one; without one the door binds to
//! loopback only, which the configuration check enforces.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::{Request, StatusCode};
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::store::SharedStore;

/// What the private door shows.
pub struct PrivateDoor {
    /// Where the numbers of this process are.
    pub metrics: PrometheusHandle,
    /// Where the numbers of the whole installation are.
    pub store: SharedStore,
    /// Wanted from whoever comes in.
    pub admin_token: Option<SecretString>,
}

/// The routes.
pub fn router(door: PrivateDoor) -> Router {
    let door = Arc::new(door);
    Router::new()
        .route("/metrics", get(show_metrics))
        .layer(middleware::from_fn_with_state(Arc::clone(&door), authorize))
        .with_state(door)
}

async fn show_metrics(State(door): State<Arc<PrivateDoor>>) -> Response {
    match door.store.depth().await {
        Ok(depths) => {
            for depth in depths {
                let labels = [("kind", depth.kind), ("state", depth.state.to_string())];
                #[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
                metrics::gauge!("zoom_archiver_jobs", &labels).set(depth.jobs as f64);
                if let Some(oldest) = depth.oldest_due {
                    metrics::gauge!("zoom_archiver_oldest_due_seconds", &labels).set(oldest.as_secs_f64());
                }
            }
            metrics::gauge!("zoom_archiver_database_up").set(1.0);
        }
        Err(_) => metrics::gauge!("zoom_archiver_database_up").set(0.0),
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], door.metrics.render()).into_response()
}

async fn authorize(
    State(door): State<Arc<PrivateDoor>>,
    request: Request<axum::body::Body>,
    next: Next,
) -> Response {
    let Some(wanted) = &door.admin_token else { return next.run(request).await };
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
