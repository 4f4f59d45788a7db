//! What is told of requests to webhooks. Go: k8s.io/component-base/metrics/prometheus/restclient/metrics.go (0.36.3); the webhook
//! authenticator has no metrics of its own in kube-apiserver (`noopMetrics`).

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::histogram::Histogram;
use super::page::{Kind, Page};

/// Requests to webhooks since the process began. Hosts come from the configuration.
#[derive(Debug, Default)]
pub struct Requests(Mutex<BTreeMap<String, Host>>);

#[derive(Debug)]
struct Host {
    durations: Histogram,
    /// By the status of the answer, none if there was none.
    codes: BTreeMap<Option<u16>, u64>,
}

impl Requests {
    /// A request to `host`, with its port if it is written, was answered with `status`, or not at all, and took so long.
    pub fn count(&self, host: &str, status: Option<u16>, took: Duration) {
        let mut hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = match hosts.get_mut(host) {
            Some(known) => known,
            None => hosts
                .entry(host.to_owned())
                .or_insert_with(|| Host { durations: Histogram::shared(&DURATIONS), codes: BTreeMap::new() }),
        };
        known.durations.observe_duration(took);
        *known.codes.entry(status).or_default() += 1;
    }

    /// All of them by host and status.
    pub fn totals(&self) -> Vec<(String, Option<u16>, u64)> {
        let hosts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = hosts.iter().flat_map(|(host, Host { codes, .. })| {
            codes.iter().map(|(code, count)| (host.clone(), *code, *count))
        });
        counts.collect()
    }

    pub(super) fn write(&self, page: &mut Page) {
        let name = "rest_client_request_duration_seconds";
        let help = "[ALPHA] Request latency in seconds. Broken down by verb, and host.";
        page.family(name, Kind::Histogram, help);
        for (host, Host { durations, .. }) in &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            durations.write(page, name, &[("host", host), ("verb", "POST")]);
        }
        let name = "rest_client_requests_total";
        let help = "[ALPHA] Number of HTTP requests, partitioned by status code, method, and host.";
        page.family(name, Kind::Counter, help);
        for (host, code, count) in self.totals() {
            let code = code.map_or_else(|| "<error>".to_owned(), |code| code.to_string());
            page.sample(name, &[("code", &code), ("host", &host), ("method", "POST")], count);
        }
    }
}

/// Go: the buckets of `requestLatency`.
const DURATIONS: [f64; 12] = [0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0];
