//! The admin listener: health for the kubelet and metrics for Prometheus, over HTTP/1.1 or HTTP/2, which gRPC speaks, in plaintext or over
//! TLS ([`connection`]). It tells nothing about requests or credentials, and answers while the other listener drains. [`Explain`](crate::explain) says
//! why it would decide as it does, where [`debug`] is allowed.
//!
//! Paths and words are kube-apiserver's (k8s.io/apiserver/pkg/server/healthz).

mod connection;
mod debug;
mod profile;

use std::fmt::Write;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::authn::token::JwtAuthenticators;
use crate::authn::token::jwt::IssuerKeys;
use crate::cluster::{self, Cluster};
use crate::config::Deadlines;
use crate::metrics::{self, IssuerStatus, Measured, Metrics, WatchStatus};
use crate::telemetry::LogFilter;

use connection::Pages;

/// What the pages are made from.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) metrics: Arc<Metrics>,
    /// Whether Checks are being answered.
    serving: AtomicBool,
    /// Whether the end has begun.
    draining: AtomicBool,
    /// Those whose JSON Web Tokens are believed.
    issuers: ArcSwap<Vec<Arc<IssuerKeys>>>,
    /// What is watched, if anything is.
    cluster: ArcSwapOption<Cluster>,
    /// When the first of the revocation lists is past its nextUpdate, in seconds since 1970; 0 without lists.
    crl_next_update: AtomicI64,
    /// The options in force, by name.
    options: ArcSwap<Value>,
}

impl Status {
    pub(crate) fn new(metrics: Arc<Metrics>) -> Self {
        Self {
            metrics,
            serving: AtomicBool::default(),
            draining: AtomicBool::default(),
            issuers: ArcSwap::default(),
            cluster: ArcSwapOption::empty(),
            crl_next_update: AtomicI64::default(),
            options: ArcSwap::default(),
        }
    }

    /// What a configuration that serves says about its own end.
    pub(crate) fn told_of(&self, deadlines: &Deadlines) {
        self.crl_next_update.store(deadlines.first_next_update().unwrap_or_default(), Ordering::Relaxed);
    }

    /// The options of a configuration that serves, but for those that go on as they were.
    pub(crate) fn options(&self, mut options: Value, goes_on: impl Fn(&str) -> bool) {
        let before = self.options.load();
        for (name, value) in before.as_object().into_iter().flatten().filter(|(name, _)| goes_on(name)) {
            options[name] = value.clone();
        }
        self.options.store(Arc::new(options));
    }

    /// The issuers that a configuration which serves has.
    pub(crate) fn issuers(&self, jwt: Option<&JwtAuthenticators>) {
        self.issuers.store(Arc::new(jwt.into_iter().flat_map(JwtAuthenticators::keys).cloned().collect()));
    }

    /// The cluster that a configuration which serves looks at. Begins to watch it.
    pub(crate) fn cluster(&self, cluster: Option<Arc<Cluster>>) {
        if let Some(cluster) = &cluster {
            cluster.start();
        }
        self.cluster.store(cluster);
    }

    /// Waits until the cluster is in sync, whichever that is by then.
    pub(crate) async fn cluster_synced(&self) {
        while let Some(cluster) = self.cluster.load_full() {
            if timeout(LOOK_AGAIN, cluster.synced()).await.is_ok() {
                return;
            }
        }
    }

    pub(crate) fn now_serving(&self) {
        self.serving.store(true, Ordering::Release);
    }

    pub(crate) fn now_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    /// Each check by name, whether it holds, and what there is to say about it.
    fn checks(&self) -> Vec<(&'static str, bool, String)> {
        let refused = match self.metrics.reloads.is_last_good() {
            false => ": the last change was refused, or new issuers are missing; what was before serves",
            true => "",
        };
        let mut checks = vec![
            ("listener", self.serving.load(Ordering::Acquire), String::new()),
            ("shutdown", !self.draining.load(Ordering::Acquire), String::new()),
            // What was good goes on serving, so a bad change is no reason to send nobody here.
            ("config", true, refused.to_owned()),
        ];
        // Nor is an issuer that is away, since all replicas miss it, and others are not.
        checks.extend(self.issuers.load().iter().map(|keys| ("jwt-issuer", true, remark(keys))));
        // A watch keeps what it knows, so it only counts until it has been in sync once.
        let serving = self.serving.load(Ordering::Acquire);
        let watches = self.cluster.load().as_ref().map(|cluster| cluster.status()).unwrap_or_default();
        checks.extend(watches.iter().map(|watch| ("watch", watch.synced || serving, remark_on_watch(watch))));
        checks
    }

    /// What only a scrape asks for.
    fn measure(&self) -> Measured {
        let issuer = |keys: &Arc<IssuerKeys>| {
            let (status, fetches) = (keys.status(), keys.key_set_fetches());
            IssuerStatus {
                url: keys.source().url.clone(),
                keys: status.keys.unwrap_or_default(),
                age: status.age,
                failures: status.failures,
                fetched: fetches.fetched,
                failed: fetches.failed,
                key_set: fetches.digest,
            }
        };
        let watches = self.cluster.load().as_ref().map(|cluster| cluster.status()).unwrap_or_default();
        let watch = |watch: cluster::Status| WatchStatus {
            resource: watch.resource,
            objects: watch.objects,
            age: watch.age,
            failures: watch.failures,
        };
        Measured {
            issuers: self.issuers.load().iter().map(issuer).collect(),
            watches: watches.into_iter().map(watch).collect(),
            crl_next_update: self.crl_next_update.load(Ordering::Relaxed),
        }
    }
}

/// An issuer, and how its keys are doing.
fn remark(keys: &IssuerKeys) -> String {
    let status = keys.status();
    let state = match (status.keys, status.age) {
        (Some(count), Some(age)) => format!("{count} keys, {} s old", age.as_secs()),
        _ => "no keys yet, its tokens are refused".to_owned(),
    };
    let error = status.error.map(|error| format!("; {} failures, last: {error}", status.failures));
    format!(": {}: {state}{}", keys.source().url, error.unwrap_or_default())
}

/// A watch, and how it is doing.
fn remark_on_watch(watch: &cluster::Status) -> String {
    let state = if watch.synced { "in sync" } else { "not in sync yet" };
    let age = watch
        .age
        .map_or_else(|| "never answered".to_owned(), |age| format!("answered {} s ago", age.as_secs()));
    let error = watch.error.as_ref().map(|error| format!("; {} failures, last: {error}", watch.failures));
    format!(": {}: {state}, {} objects, {age}{}", watch.resource, watch.objects, error.unwrap_or_default())
}

/// While a cluster is waited for, a reload may bring another.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Serves the pages until it is dropped with the runtime, over TLS as it is `tls` when a connection begins, or in plaintext. Connections end
/// after `max_age`. Returns the address.
pub(crate) async fn listen(
    address: SocketAddr,
    (tls, max_age): (Option<Arc<ArcSwap<rustls::ServerConfig>>>, Duration),
    debugging: bool,
    profiling: bool,
    status: Arc<Status>,
    log: LogFilter,
    explain: Router,
) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let public = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_page))
        .with_state(Arc::clone(&status));
    let all = public.clone().merge(debug::pages(profiling, &status, log, explain));
    let everybody = match debugging || address.ip().is_loopback() {
        true => all.clone(),
        false => public.merge(debug::refused(profiling)),
    };
    tokio::spawn(Pages { tls, max_age, everybody, trusted: all }.serve(listener));
    Ok(address)
}

/// That this is answered is all there is to it. Go: `PingHealthz` of healthz.go.
async fn livez(RawQuery(query): RawQuery) -> &'static str {
    if is_verbose(query) { "[+]ping ok\nlivez check passed\n" } else { "ok" }
}

fn is_verbose(query: Option<String>) -> bool {
    query.is_some_and(|query| query.split('&').any(|item| item.split('=').next() == Some("verbose")))
}

/// 200 or 503; with `?verbose`, or when something fails, check by check. Go: `handleRootHealth` of healthz.go.
async fn readyz(State(status): State<Arc<Status>>, RawQuery(query): RawQuery) -> impl IntoResponse {
    let checks = status.checks();
    let ready = checks.iter().all(|(_, holds, _)| *holds);
    if ready && !is_verbose(query) {
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

async fn metrics_page(State(status): State<Arc<Status>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], status.metrics.render(&status.measure()))
}
