//! What Prometheus is told. Names and labels are Kubernetes' where it has them, else begin with `countersign_`. Labels take few
//! values: nothing of a request stands in one.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// All metrics, as plain atomics.
#[derive(Debug, Default)]
pub struct Metrics {
    registry: Registry,
    /// Configurations that were loaded because a file had changed, or on SIGHUP.
    reloads: Family<ReloadLabels, Counter>,
    /// Counts the configurations that have served; the first is 1.
    pub generation: Gauge,
    /// 1, if the last configuration that was loaded is the one that serves.
    pub last_reload_successful: Gauge,
    keys: Family<IssuerLabels, Gauge>,
    keys_age: Family<IssuerLabels, Gauge<f64, AtomicU64>>,
    fetch_failures: Family<IssuerLabels, Gauge>,
    watch_objects: Family<WatchLabels, Gauge>,
    watch_age: Family<WatchLabels, Gauge<f64, AtomicU64>>,
    watch_failures: Family<WatchLabels, Gauge>,
    rest_client_requests: Family<RestClientLabels, Counter>,
    /// When the first of the revocation lists is past its nextUpdate, in seconds since 1970; 0 without lists.
    pub crl_next_update: Gauge,
}

/// How the keys of an issuer are doing.
#[derive(Debug, Clone)]
pub struct IssuerStatus {
    /// As it is configured.
    pub url: String,
    /// The number of its keys.
    pub keys: usize,
    /// How long ago they were fetched; none before that.
    pub age: Option<Duration>,
    /// How many attempts have failed since.
    pub failures: u32,
}

/// Of the metrics of issuers, of which a configuration has 64 at most.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IssuerLabels {
    jwt_issuer: String,
}

/// How a watch of the cluster is doing.
#[derive(Debug, Clone)]
pub struct WatchStatus {
    /// What is watched, by its plural name.
    pub resource: &'static str,
    /// How many objects are known.
    pub objects: usize,
    /// How long ago the API server answered; none before that.
    pub age: Option<Duration>,
    /// How many calls have failed since.
    pub failures: u32,
}

/// Of the metrics of watches.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WatchLabels {
    resource: &'static str,
}

/// Of Kubernetes' metric of requests that are sent.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RestClientLabels {
    code: String,
    method: &'static str,
    host: String,
}

/// Of the metric of reloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    /// What became of it.
    result: ReloadResult,
}

/// What became of a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ReloadResult {
    /// It serves.
    Success,
    /// It is bad, and the old one goes on serving.
    Error,
}

impl EncodeLabelValue for ReloadResult {
    fn encode(
        &self,
        encoder: &mut prometheus_client::encoding::LabelValueEncoder<'_>,
    ) -> Result<(), std::fmt::Error> {
        let text = match self {
            Self::Success => "success",
            Self::Error => "error",
        };
        EncodeLabelValue::encode(&text, encoder)
    }
}

impl Metrics {
    /// All of them at zero, and the first configuration serving.
    pub fn new() -> Self {
        let mut metrics = Self::default();
        let (reloads, generation) = (metrics.reloads.clone(), metrics.generation.clone());
        let (last, crl) = (metrics.last_reload_successful.clone(), metrics.crl_next_update.clone());
        let (keys, keys_age) = (metrics.keys.clone(), metrics.keys_age.clone());
        let fetch_failures = metrics.fetch_failures.clone();
        let (watch_objects, watch_age) = (metrics.watch_objects.clone(), metrics.watch_age.clone());
        let watch_failures = metrics.watch_failures.clone();
        let rest_client_requests = metrics.rest_client_requests.clone();
        let registry = &mut metrics.registry;
        registry.register(
            "countersign_config_reloads",
            "Configurations that were loaded because a file had changed or on SIGHUP, by result",
            reloads,
        );
        registry.register("countersign_config_generation", "Configurations that have served", generation);
        registry.register(
            "countersign_config_last_reload_successful",
            "1 if the last configuration that was loaded serves, 0 if it was bad and the one before does",
            last,
        );
        registry.register(
            "countersign_client_crl_next_update_timestamp_seconds",
            "When the first of the revocation lists is past its nextUpdate; 0 without lists",
            crl,
        );
        registry.register("countersign_jwt_issuer_keys", "Keys that an issuer has", keys);
        registry.register(
            "countersign_jwt_issuer_keys_age_seconds",
            "How long ago the keys of an issuer were fetched; not there before they were",
            keys_age,
        );
        registry.register(
            "countersign_jwt_issuer_fetch_failures",
            "Attempts in a row to fetch the keys of an issuer that have failed",
            fetch_failures,
        );
        registry.register(
            "countersign_watch_objects",
            "Objects of the cluster that are known",
            watch_objects,
        );
        registry.register(
            "countersign_watch_age_seconds",
            "How long ago the API server answered a watch; not there before it did",
            watch_age,
        );
        registry.register(
            "countersign_watch_failures",
            "Calls in a row of a watch to the API server that have failed",
            watch_failures,
        );
        registry.register(
            "rest_client_requests",
            "Number of HTTP requests to token review webhooks, partitioned by status code, method, and host",
            rest_client_requests,
        );
        for result in [ReloadResult::Success, ReloadResult::Error] {
            // There from the start, so that an increase shows.
            let _zero = metrics.reloads.get_or_create(&ReloadLabels { result });
        }
        metrics.generation.set(1);
        metrics.last_reload_successful.set(1);
        metrics
    }

    /// A configuration has been loaded.
    pub fn reloaded(&self, result: ReloadResult) {
        self.reloads.get_or_create(&ReloadLabels { result }).inc();
        self.last_reload_successful.set((result == ReloadResult::Success).into());
        if result == ReloadResult::Success {
            self.generation.inc();
        }
    }

    /// These are the issuers, and no others any more.
    pub fn issuers(&self, issuers: impl Iterator<Item = IssuerStatus>) {
        self.keys.clear();
        self.keys_age.clear();
        self.fetch_failures.clear();
        for IssuerStatus { url, keys, age, failures } in issuers {
            let labels = IssuerLabels { jwt_issuer: url };
            self.keys.get_or_create(&labels).set(i64::try_from(keys).unwrap_or(i64::MAX));
            self.fetch_failures.get_or_create(&labels).set(failures.into());
            if let Some(age) = age {
                self.keys_age.get_or_create(&labels).set(age.as_secs_f64());
            }
        }
    }

    /// These are the watches, and no others any more.
    pub fn watches(&self, watches: impl Iterator<Item = WatchStatus>) {
        self.watch_objects.clear();
        self.watch_age.clear();
        self.watch_failures.clear();
        for WatchStatus { resource, objects, age, failures } in watches {
            let labels = WatchLabels { resource };
            self.watch_objects.get_or_create(&labels).set(i64::try_from(objects).unwrap_or(i64::MAX));
            self.watch_failures.get_or_create(&labels).set(failures.into());
            if let Some(age) = age {
                self.watch_age.get_or_create(&labels).set(age.as_secs_f64());
            }
        }
    }

    /// A webhook was asked so often in all with this outcome, or without an answer.
    pub fn posted(&self, host: String, status: Option<u16>, total: u64) {
        let code = status.map_or_else(|| "<error>".to_owned(), |status| status.to_string());
        let labels = RestClientLabels { code, method: "POST", host };
        self.rest_client_requests.get_or_create(&labels).inner().store(total, Ordering::Relaxed);
    }

    /// In OpenMetrics' text format.
    pub fn render(&self) -> Result<String, std::fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }
}
