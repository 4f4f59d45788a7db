//! What is told of configurations. Kubernetes' part follows k8s.io/apiserver/pkg/server/options/authenticationconfig/metrics (1.36.3).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use super::page::{Kind, Page};
use super::timestamp;

/// Configurations that were loaded because a file had changed, or on SIGHUP.
#[derive(Debug, Default)]
pub struct Reloads(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    good: u64,
    bad: u64,
    is_last_bad: bool,
    /// Of the file that `--authentication-config` names: the hash of what serves, and of what was last seen.
    serves: Option<String>,
    seen: Option<String>,
    /// How often another of its contents was loaded, and when the last time was.
    changes: [(u64, Option<SystemTime>); 2],
}

const SUCCESS: usize = 0;
const FAILURE: usize = 1;

/// What became of a configuration that was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReloadResult {
    /// It serves.
    Success,
    /// It serves, but for new issuers whose keys are not there.
    Partly,
    /// It is bad, and the old one goes on serving.
    Error,
}

impl Reloads {
    /// The first configuration, whose authentication configuration has this hash, if there is one.
    pub fn started(&self, authentication_config: Option<String>) {
        let mut state = self.state();
        state.seen.clone_from(&authentication_config);
        state.serves = authentication_config;
    }

    /// A configuration has been loaded, whose authentication configuration has this hash, if there is one.
    pub fn reloaded(&self, result: ReloadResult, authentication_config: Option<String>) {
        let mut state = self.state();
        if result == ReloadResult::Error {
            state.bad += 1;
        } else {
            state.good += 1;
        }
        state.is_last_bad = result != ReloadResult::Success;
        let is_served = result == ReloadResult::Success;
        let is_new = authentication_config != state.serves;
        // What was refused before is told of once.
        if is_new && authentication_config.is_some() && (is_served || authentication_config != state.seen) {
            #[expect(clippy::disallowed_methods, reason = "no decision about a request depends on it")]
            let now = SystemTime::now();
            let (count, at) = &mut state.changes[if is_served { SUCCESS } else { FAILURE }];
            *count += 1;
            *at = Some(now);
        }
        state.seen.clone_from(&authentication_config);
        if is_served {
            state.serves = authentication_config;
        }
    }

    /// Counts the configurations that have served; the first is 1.
    pub fn generation(&self) -> u64 {
        self.state().good + 1
    }

    /// Whether all of the last configuration that was loaded serves.
    pub fn is_last_good(&self) -> bool {
        !self.state().is_last_bad
    }

    pub(super) fn write(&self, page: &mut Page, host: &str) {
        let State { good, bad, is_last_bad, serves, changes, .. } = &*self.state();
        if let Some(serves) = serves {
            let statuses = [("failure", changes[FAILURE]), ("success", changes[SUCCESS])];
            let name = "apiserver_authentication_config_controller_automatic_reload_last_timestamp_seconds";
            page.family(
                name,
                Kind::Gauge,
                "[BETA] Timestamp of the last automatic reload of authentication configuration split by status and apiserver \
                 identity.",
            );
            for (status, (_, at)) in statuses {
                if let Some(at) = at {
                    page.sample(name, &[("apiserver_id_hash", host), ("status", status)], timestamp(at));
                }
            }
            let name = "apiserver_authentication_config_controller_automatic_reloads_total";
            page.family(
                name,
                Kind::Counter,
                "[BETA] Total number of automatic reloads of authentication configuration split by status and apiserver identity.",
            );
            for (status, (count, _)) in statuses {
                page.sample(name, &[("apiserver_id_hash", host), ("status", status)], count);
            }
            let name = "apiserver_authentication_config_controller_last_config_info";
            page.family(
                name,
                Kind::Gauge,
                "[ALPHA] Information about the last applied authentication configuration with hash as label, split by apiserver \
                 identity.",
            );
            page.sample(name, &[("apiserver_id_hash", host), ("hash", serves)], 1);
        }
        let name = "countersign_config_reloads_total";
        page.family(
            name,
            Kind::Counter,
            "Configurations that were loaded because a file had changed or on SIGHUP, by result",
        );
        page.sample(name, &[("result", "error")], bad);
        page.sample(name, &[("result", "success")], good);
        let help = "Configurations that have served";
        page.single("countersign_config_generation", Kind::Gauge, help, good + 1);
        page.single(
            "countersign_config_last_reload_successful",
            Kind::Gauge,
            "1 if all of the last configuration that was loaded serves; 0 if it was bad, or keys of new issuers are missing",
            u8::from(!is_last_bad),
        );
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
