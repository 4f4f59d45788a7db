//! What is told of impersonation. Go: k8s.io/apiserver/pkg/endpoints/filters/impersonation/metrics/metrics.go (1.36.3), of whose modes there
//! is `legacy` here.

use std::time::Instant;

use super::histogram::Histogram;
use super::page::{Kind, Page};

/// What became of clients that asked to act as somebody else.
#[derive(Debug, Default)]
pub struct ImpersonationStatistics {
    /// Requests. Go: `RecordImpersonationAttempt`.
    pub attempts: Decisions,
    /// Questions whether somebody may, of which a request takes several. Go: `RecordImpersonationAuthorizationCall`.
    pub authorizations: Decisions,
}

/// How often something was allowed and how often not, and how long that took.
#[derive(Debug)]
pub struct Decisions {
    allowed: Histogram,
    denied: Histogram,
}

impl Default for Decisions {
    fn default() -> Self {
        Self { allowed: Histogram::shared(&DURATIONS), denied: Histogram::shared(&DURATIONS) }
    }
}

impl Decisions {
    /// Something is to be decided. It is denied unless [`Deciding::allowed`] is called, also where nobody waits for the end.
    pub fn begin(&self) -> Deciding<'_> {
        Deciding { decisions: self, since: Instant::now(), is_allowed: false }
    }

    fn write(&self, page: &mut Page, names: [&str; 2], helps: [&str; 2], modes: [&str; 2]) {
        let decisions = [("allowed", modes[0], &self.allowed), ("denied", modes[1], &self.denied)];
        page.family(names[0], Kind::Histogram, helps[0]);
        for (decision, mode, durations) in decisions {
            durations.write(page, names[0], &[("decision", decision), ("mode", mode)]);
        }
        page.family(names[1], Kind::Counter, helps[1]);
        for (decision, mode, durations) in decisions {
            page.sample(names[1], &[("decision", decision), ("mode", mode)], durations.count());
        }
    }
}

/// Something that is being decided.
#[derive(Debug)]
pub struct Deciding<'a> {
    decisions: &'a Decisions,
    since: Instant,
    is_allowed: bool,
}

impl Deciding<'_> {
    /// It is allowed.
    pub fn allowed(mut self) {
        self.is_allowed = true;
    }
}

impl Drop for Deciding<'_> {
    fn drop(&mut self) {
        let Decisions { allowed, denied } = self.decisions;
        if self.is_allowed { allowed } else { denied }.observe_duration(self.since.elapsed());
    }
}

impl ImpersonationStatistics {
    pub(super) fn write(&self, page: &mut Page) {
        // Where nobody is impersonated, Kubernetes names no mode.
        self.attempts.write(
            page,
            ["apiserver_impersonation_attempts_duration_seconds", "apiserver_impersonation_attempts_total"],
            [
                "[ALPHA] Latency of impersonation attempts in seconds split by mode and decision.",
                "[ALPHA] Total number of impersonation attempts split by mode and decision.",
            ],
            ["legacy", ""],
        );
        self.authorizations.write(
            page,
            [
                "apiserver_impersonation_authorization_attempts_duration_seconds",
                "apiserver_impersonation_authorization_attempts_total",
            ],
            [
                "[ALPHA] Latency of authorization checks made by the impersonation handler in seconds split by mode and decision.",
                "[ALPHA] Total number of authorization checks made by the impersonation handler split by mode and decision.",
            ],
            ["legacy", "legacy"],
        );
    }
}

/// Go: `ExponentialBuckets(0.001, 2, 15)`.
const DURATIONS: [f64; 15] = [
    0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384,
];
