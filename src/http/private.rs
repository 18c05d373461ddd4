//! The private door: `GET /metrics`, and `/api/v1`. Behind a bearer token when there is one; without one the door binds
//! to loopback only, which the start of the service enforces.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{AUTHORIZATION, CONTENT_TYPE, ORIGIN, WWW_AUTHENTICATE};
use http::{Method, Request, StatusCode};
use metrics_exporter_prometheus::PrometheusHandle;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::api::problem::Problem;
use super::api::{self, Desk};
use crate::domain::job::JobState;
use crate::store::{Depth, Losses};

/// What the private door shows.
pub struct PrivateDoor {
    /// Where the numbers of this process are.
    pub metrics: PrometheusHandle,
    /// What operators ask, and where the numbers of the whole installation are.
    pub desk: Arc<Desk>,
    /// Wanted from whoever comes in.
    pub admin_token: Option<SecretString>,
}

/// The door, with what it remembers from one visit to the next.
struct Door {
    shows: PrivateDoor,
    depth: DepthGauges,
}

/// The routes.
pub fn router(door: PrivateDoor) -> Router {
    let api = api::router(Arc::clone(&door.desk));
    let door = Arc::new(Door { shows: door, depth: DepthGauges::default() });
    Router::new()
        .route("/metrics", get(show_metrics))
        .with_state(Arc::clone(&door))
        .merge(api)
        .layer(middleware::from_fn_with_state(door, authorize))
}

async fn show_metrics(State(door): State<Arc<Door>>) -> Response {
    let store = &door.shows.desk.store;
    match tokio::try_join!(store.depth(), store.losses()) {
        Ok((depths, losses)) => {
            door.depth.show(&depths);
            show_losses(losses);
            metrics::gauge!("zoom_archiver_database_up").set(1.0);
        }
        Err(_) => metrics::gauge!("zoom_archiver_database_up").set(0.0),
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], door.shows.metrics.render()).into_response()
}

/// How long until the next file that is not archived cannot be had any more; infinite when no such moment is known.
fn show_losses(losses: Losses) {
    let nearest = losses.nearest.map_or(f64::INFINITY, |nearest| nearest.as_secs_f64());
    metrics::gauge!("zoom_archiver_nearest_loss_seconds").set(nearest);
    #[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
    let overdue = losses.overdue as f64;
    metrics::gauge!("zoom_archiver_overdue_files").set(overdue);
}

/// The queue's gauges. A gauge keeps its last value, but where there are no jobs any more the database says
/// nothing: so what was shown once goes back to nought.
#[derive(Debug, Default)]
struct DepthGauges(Mutex<BTreeSet<(String, JobState)>>);

impl DepthGauges {
    fn show(&self, depths: &[Depth]) {
        let mut shown = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for depth in depths {
            shown.insert((depth.kind.clone(), depth.state));
        }
        for (kind, state) in shown.iter() {
            let depth = depths.iter().find(|depth| depth.kind == *kind && depth.state == *state);
            let labels = [("kind", kind.clone()), ("state", state.to_string())];
            #[allow(clippy::cast_precision_loss, reason = "a gauge is a float")]
            let jobs = depth.map_or(0.0, |depth| depth.jobs as f64);
            metrics::gauge!("zoom_archiver_jobs", &labels).set(jobs);
            if *state == JobState::Waiting {
                let oldest = depth.and_then(|depth| depth.oldest_due).unwrap_or_default();
                metrics::gauge!("zoom_archiver_oldest_due_seconds", &labels).set(oldest.as_secs_f64());
            }
        }
    }
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
    let problem =
        Problem::new(StatusCode::UNAUTHORIZED, "a bearer token is wanted, and it must be the right one");
    ([(WWW_AUTHENTICATE, "Bearer")], problem).into_response()
}
