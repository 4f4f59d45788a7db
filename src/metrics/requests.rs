//! What is told of requests to webhooks and to API servers. Go: k8s.io/component-base/metrics/prometheus/restclient/metrics.go (0.36.3); the
//! webhook authenticator has no metrics of its own in kube-apiserver (`noopMetrics`).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::histogram::Histogram;
use super::page::{Kind, Page};

/// Requests since the process began, by host and method. Hosts come from the configuration.
#[derive(Debug, Default)]
pub struct Requests(Mutex<BTreeMap<(String, String), Answers>>);

#[derive(Debug)]
struct Answers {
    durations: Histogram,
    /// By their status, none if there was none.
    codes: BTreeMap<Option<u16>, u64>,
}

/// A request that is under way. It counts as one without an answer unless [`Asking::answered`] is called, also where nobody waits for
/// the answer any more.
#[derive(Debug)]
pub struct Asking<'a> {
    requests: &'a Requests,
    host: &'a str,
    method: &'a str,
    /// None: how long it takes is not counted.
    since: Option<Instant>,
    status: Option<u16>,
}

impl Requests {
    /// A request goes to `host`, with its port if it is written. How long it takes is counted if it `is_timed`.
    pub fn begin<'a>(&'a self, host: &'a str, method: &'a str, is_timed: bool) -> Asking<'a> {
        Asking { requests: self, host, method, since: is_timed.then(Instant::now), status: None }
    }

    /// All of them by host, method and status.
    pub fn totals(&self) -> Vec<([String; 2], Option<u16>, u64)> {
        let hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = hosts.iter().flat_map(|((host, method), Answers { codes, .. })| {
            codes.iter().map(|(code, count)| ([host.clone(), method.clone()], *code, *count))
        });
        counts.collect()
    }

    pub(super) fn write(&self, page: &mut Page) {
        let name = "rest_client_request_duration_seconds";
        let help = "[ALPHA] Request latency in seconds. Broken down by verb, and host.";
        page.family(name, Kind::Histogram, help);
        let hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for ((host, method), Answers { durations, .. }) in &*hosts {
            durations.write(page, name, &[("host", host), ("verb", method)]);
        }
        drop(hosts);
        let name = "rest_client_requests_total";
        let help = "[ALPHA] Number of HTTP requests, partitioned by status code, method, and host.";
        page.family(name, Kind::Counter, help);
        for ([host, method], code, count) in self.totals() {
            let code = code.map_or_else(|| "<error>".to_owned(), |code| code.to_string());
            page.sample(name, &[("code", &code), ("host", &host), ("method", &method)], count);
        }
    }
}

impl Asking<'_> {
    /// It was answered with this status.
    pub fn answered(mut self, status: u16) {
        self.status = Some(status);
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        let mut hosts = self.requests.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Answers { durations: Histogram::shared(&DURATIONS), codes: BTreeMap::new() };
        let answers = hosts.entry((self.host.to_owned(), self.method.to_owned())).or_insert_with(new);
        if let Some(since) = self.since {
            answers.durations.observe_duration(since.elapsed());
        }
        *answers.codes.entry(self.status).or_default() += 1;
    }
}

/// Go: the buckets of `requestLatency`.
const DURATIONS: [f64; 12] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0];
