//! The public door: `POST /webhooks/zoom`, `GET /livez`, `GET /readyz`, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use super::webhook::{self, Receiver};
use crate::store::SharedStore;

/// Where the webhook arrives.
pub const WEBHOOK_PATH: &str = "/webhooks/zoom";

/// Time for the database to answer a readiness check.
const READY_TIMEOUT: Duration = Duration::from_secs(2);

/// What health checks look at.
pub struct Health {
    /// Must answer.
    pub store: SharedStore,
    /// Cancelled: no longer ready.
    pub stop: CancellationToken,
}

/// The same, with what has been said already.
struct Readiness {
    health: Health,
    /// That a newer release has migrated the database: said once.
    is_outdated: AtomicBool,
}

/// The routes; without a receiver (this process is worker only) there is no webhook.
pub fn router(health: Health, receiver: Option<Arc<Receiver>>) -> Router {
    let readiness = Arc::new(Readiness { health, is_outdated: AtomicBool::new(false) });
    let mut router = Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready).with_state(readiness));
    if let Some(receiver) = receiver {
        router = router.route(WEBHOOK_PATH, post(webhook::receive).with_state(receiver));
    }
    router.layer(CatchPanicLayer::custom(panicked))
}

async fn ready(State(readiness): State<Arc<Readiness>>) -> Response {
    let Health { store, stop } = &readiness.health;
    if stop.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping\n").into_response();
    }
    match tokio::time::timeout(READY_TIMEOUT, store.ping()).await {
        Ok(Ok(())) => "ready\n".into_response(),
        // What still reaches this process is better recorded by it than refused: whoever replaces it may not be ready yet.
        Ok(Err(error)) if error.is_newer_schema() => {
            if !readiness.is_outdated.swap(true, Ordering::Relaxed) {
                tracing::warn!(%error, "a newer release has migrated the database; this process goes on until it is replaced");
            }
            "ready\n".into_response()
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready");
            (StatusCode::SERVICE_UNAVAILABLE, "database not available\n").into_response()
        }
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "database does not answer\n").into_response(),
    }
}

/// A panic is answered 503, so that Zoom repeats the event.
fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    tracing::error!("a request handler panicked");
    (StatusCode::SERVICE_UNAVAILABLE, "error\n").into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::Request;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;

    use super::*;

    async fn panicking() -> &'static str {
        panic!("a handler panics")
    }

    #[tokio::test]
    async fn a_panic_is_answered_503_so_that_zoom_repeats_the_event() {
        let router = Router::new().route("/", post(panicking)).layer(CatchPanicLayer::custom(panicked));
        let request = Request::post("/").body(Body::empty()).unwrap();
        let answer = TowerToHyperService::new(router).call(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
