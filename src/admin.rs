//! The admin listener: health for the kubelet and metrics for Prometheus, over HTTP/1.1. It tells nothing about requests or
//! credentials, and answers while the other listener drains.
//!
//! Paths and words are kube-apiserver's (k8s.io/apiserver/pkg/server/healthz).

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use tokio::net::TcpListener;

use crate::config::Deadlines;
use crate::metrics::Metrics;

/// What the pages are made from.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) metrics: Metrics,
    /// Whether Checks are being answered.
    serving: AtomicBool,
    /// Whether the end has begun.
    draining: AtomicBool,
}

impl Status {
    pub(crate) fn new() -> Self {
        Self { metrics: Metrics::new(), serving: AtomicBool::default(), draining: AtomicBool::default() }
    }

    /// What a configuration that serves says about its own end.
    pub(crate) fn told_of(&self, deadlines: &Deadlines) {
        self.metrics.crl_next_update.set(deadlines.first_next_update().unwrap_or_default());
    }

    pub(crate) fn now_serving(&self) {
        self.serving.store(true, Ordering::Release);
    }

    pub(crate) fn now_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Each check by name, whether it holds, and what there is to say about it.
    fn checks(&self) -> [(&'static str, bool, &'static str); 3] {
        let refused = match self.metrics.last_reload_successful.get() {
            0 => ": the last change was refused, the configuration before it serves",
            _ => "",
        };
        [
            ("listener", self.serving.load(Ordering::Acquire), ""),
            ("shutdown", !self.draining.load(Ordering::Acquire), ""),
            // What was good goes on serving, so a bad change is no reason to send nobody here.
            ("config", true, refused),
        ]
    }
}

/// Serves the pages until it is dropped with the runtime. Returns the address.
pub(crate) async fn listen(address: SocketAddr, status: Arc<Status>) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let pages = Router::new()
        .route("/livez", get(async || "ok"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(status);
    tokio::spawn(async move { axum::serve(listener, pages).await });
    Ok(address)
}

/// 200 or 503; with `?verbose`, or when something fails, check by check. Go: `handleRootHealth` of healthz.go.
async fn readyz(State(status): State<Arc<Status>>, RawQuery(query): RawQuery) -> impl IntoResponse {
    let checks = status.checks();
    let ready = checks.iter().all(|(_, holds, _)| *holds);
    let verbose =
        query.is_some_and(|query| query.split('&').any(|item| item.split('=').next() == Some("verbose")));
    if ready && !verbose {
        return (StatusCode::OK, "ok".to_owned());
    }
    let mut page = String::new();
    for (name, holds, remark) in checks {
        let _infallible = match holds {
            true => writeln!(page, "[+]{name} ok{remark}"),
            false => writeln!(page, "[-]{name} failed{remark}"),
        };
    }
    match ready {
        true => (StatusCode::OK, page + "readyz check passed\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, page + "readyz check failed\n"),
    }
}

async fn metrics(State(status): State<Arc<Status>>) -> impl IntoResponse {
    let page = status.metrics.render().map_err(|_| StatusCode::INTERNAL_SERVER_ERROR);
    page.map(|page| ([(header::CONTENT_TYPE, OPEN_METRICS)], page))
}

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
