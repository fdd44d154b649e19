//! Metrics, health and the page of the fleet, on a listener of their own: `/metrics`, `/live`, `/ready`, `/fleet`.
//!
//! Live: the process answers. Ready: it wants more clients; a process that drains is live and not ready. Neither asks a store.

mod page;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::registry::Registry;

use crate::daemon::View;

/// What `Content-Type` the text format of OpenMetrics has.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Whether the process wants more clients: it is up, and does not drain. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Readiness(Arc<Flags>);

#[derive(Debug, Default)]
struct Flags {
    up: AtomicBool,
    closed: AtomicBool,
}

impl Readiness {
    /// Everything is started, the echo account included.
    pub(crate) fn set_up(&self) {
        self.0.up.store(true, Ordering::Relaxed);
    }

    /// Nobody more is wanted, or somebody again.
    pub(crate) fn set_closed(&self, closed: bool) {
        self.0.closed.store(closed, Ordering::Relaxed);
    }

    fn is_ready(&self) -> bool {
        self.0.up.load(Ordering::Relaxed) && !self.0.closed.load(Ordering::Relaxed)
    }
}

/// Answers for all. `view` is missing where no supernode runs.
pub(crate) fn router(metrics: Arc<Registry>, readiness: Readiness, view: Option<View>) -> Router {
    Router::new()
        .route("/fleet", get(fleet).with_state(view))
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

async fn fleet(State(view): State<Option<View>>, headers: HeaderMap) -> impl IntoResponse {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    if !host.is_some_and(is_meant) {
        return (StatusCode::MISDIRECTED_REQUEST, "ask for this page by address, or by localhost\n").into_response();
    }
    match view {
        Some(view) => page::page(&view.told()).into_response(),
        None => {
            (StatusCode::NOT_FOUND, "this daemon is an authority alone: ask where a supernode runs\n").into_response()
        }
    }
}

/// Whether a browser means this listener, and was not led here by somebody's name that points to loopback, whose pages could read
/// what they get.
fn is_meant(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

/// The addresses that are open to others, if any: metrics are not protected.
pub(crate) fn exposed(addresses: &[SocketAddr]) -> impl Iterator<Item = &SocketAddr> {
    addresses.iter().filter(|address| !address.ip().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_drains_is_not_ready_and_calling_that_off_makes_nobody_ready_who_is_not_up() {
        let readiness = Readiness::default();
        readiness.set_closed(true);
        readiness.set_closed(false);
        assert!(!readiness.is_ready(), "it is not up yet");
        readiness.set_closed(true);
        readiness.set_up();
        assert!(!readiness.is_ready(), "it drains");
        readiness.set_closed(false);
        assert!(readiness.is_ready());
    }

    #[test]
    fn the_page_is_for_who_asks_by_address() {
        for host in ["127.0.0.1:8081", "127.0.0.1", "localhost:8081", "[::1]:8081", "[::1]", "10.0.0.7:80"] {
            assert!(is_meant(host), "{host}");
        }
        for host in ["evil.example:8081", "127.0.0.1.evil.example", "", "localhost.evil.example:80"] {
            assert!(!is_meant(host), "{host}");
        }
    }
}
