//! Metrics and health, on a listener of their own: `/metrics`, `/live`, `/ready`.
//!
//! Live: the process answers. Ready: it wants more clients; a process that drains is live and not ready. Neither asks a store.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::registry::Registry;

/// What `Content-Type` the text format of OpenMetrics has.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether the process wants more clients; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readiness(Arc<AtomicBool>);

impl Readiness {
    pub(crate) fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Relaxed);
    }

    fn is_ready(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Answers for both.
pub(crate) fn router(metrics: Arc<Registry>, readiness: Readiness) -> Router {
    Router::new()
        .route("/metrics", get(show).with_state(metrics))
        .route("/live", get(|| async { "live\n" }))
        .route("/ready", get(ready).with_state(readiness))
}

async fn show(State(metrics): State<Arc<Registry>>) -> impl IntoResponse {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &metrics) {
        Ok(()) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

async fn ready(State(readiness): State<Readiness>) -> impl IntoResponse {
    if readiness.is_ready() { (StatusCode::OK, "ready\n") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready\n") }
}

/// The addresses that are open to others, if any: metrics are not protected.
pub(crate) fn exposed(addresses: &[SocketAddr]) -> impl Iterator<Item = &SocketAddr> {
    addresses.iter().filter(|address| !address.ip().is_loopback())
}
