//! What Prometheus is told. Names and labels are Kubernetes' where it has them, else begin with `countersign_`. Labels take few
//! values: nothing of a request stands in one.

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
    /// When the first of the revocation lists is past its nextUpdate, in seconds since 1970; 0 without lists.
    pub crl_next_update: Gauge,
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

    /// In OpenMetrics' text format.
    pub fn render(&self) -> Result<String, std::fmt::Error> {
        let mut page = String::new();
        text::encode(&mut page, &self.registry)?;
        Ok(page)
    }
}
