//! How often webhooks were asked, for metrics.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Requests to webhooks since the process began, by host and outcome. It outlives configurations.
#[derive(Debug, Default)]
pub struct Requests(Mutex<BTreeMap<Outcome, u64>>);

/// What became of a request. Go: the labels of `rest_client_requests_total`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Outcome {
    /// The host that was asked, with its port if it is written.
    pub host: String,
    /// The status of the answer; none if there was none.
    pub status: Option<u16>,
}

impl Requests {
    pub(super) fn count(&self, host: &str, status: Option<u16>) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(Outcome { host: host.to_owned(), status }).or_default() += 1;
    }

    /// All of them so far.
    pub fn totals(&self) -> Vec<(Outcome, u64)> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(outcome, count)| (outcome.clone(), *count)).collect()
    }
}
