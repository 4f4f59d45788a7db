//! What is told of each Check. Kubernetes' part follows k8s.io/apiserver/pkg/endpoints/filters/metrics.go (1.36.3).
//!
//! An allowed Check costs five additions to atomics that no other thread writes to, and two looks at the clock.

use std::time::Instant;

use strum::{EnumCount, VariantArray};

use super::cells::Cells;
use super::histogram::{Histogram, Snapshot};
use super::page::{Kind, Page};
use crate::decision::{Authenticator, Decision, Denial, Fault, Reason};

/// What has become of the Checks.
#[derive(Debug)]
pub struct Checks {
    begun: Cells,
    abandoned: Cells,
    /// By [`AttemptResult`].
    durations: [Histogram; AttemptResult::COUNT],
    /// By [`Authenticator`].
    allowed: Cells,
    /// By [`USERNAMES`].
    usernames: Cells,
    /// By [`Fault`].
    denied: Cells,
    /// By [`Authenticator`] and [`Reason`].
    rejections: Cells,
}

/// A Check that is being answered.
#[derive(Debug)]
pub struct InFlight<'a> {
    checks: &'a Checks,
    since: Instant,
    ended: bool,
}

/// Go: the label `result`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumCount, VariantArray)]
enum AttemptResult {
    /// Somebody is calling.
    Success,
    /// Nobody has presented anything.
    Failure,
    /// What was presented is no good.
    Error,
}

impl AttemptResult {
    fn label(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Error => "error",
        }
    }

    /// Go: `recordAuthenticationMetrics`.
    fn of(decision: &Decision) -> Self {
        match decision {
            Decision::Allow(_) => Self::Success,
            Decision::Deny(Denial { rejections })
                if rejections.iter().all(|rejection| rejection.reason == Reason::NoCredentials) =>
            {
                Self::Failure
            }
            Decision::Deny(_) => Self::Error,
        }
    }
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            begun: Cells::sharded(1),
            abandoned: Cells::shared(1),
            durations: [(); AttemptResult::COUNT].map(|()| Histogram::sharded(&DURATIONS)),
            allowed: Cells::sharded(Authenticator::COUNT),
            usernames: Cells::sharded(USERNAMES.len()),
            denied: Cells::sharded(Fault::COUNT),
            rejections: Cells::shared(Authenticator::COUNT * Reason::COUNT),
        }
    }
}

impl Checks {
    /// A Check has come in.
    pub fn begin(&self) -> InFlight<'_> {
        self.begun.add(0, 1);
        InFlight { checks: self, since: Instant::now(), ended: false }
    }

    pub(super) fn write(&self, page: &mut Page) {
        let ended = self.durations.iter().map(Histogram::count).sum::<u64>() + self.abandoned.total(0);
        let in_flight = self.begun.total(0).saturating_sub(ended);

        page.family("authentication_attempts", Kind::Counter, "[ALPHA] Counter of authenticated attempts.");
        for result in AttemptResult::VARIANTS {
            let count = self.durations[index(*result)].count();
            page.sample("authentication_attempts", &[("result", result.label())], count);
        }
        let name = "authentication_duration_seconds";
        let help = "[ALPHA] Authentication duration in seconds broken out by result.";
        page.family(name, Kind::Histogram, help);
        for result in AttemptResult::VARIANTS {
            let durations = self.durations[index(*result)].snapshot().without_first(FINER);
            durations.write(page, name, &[("result", result.label())]);
        }
        let name = "authenticated_user_requests";
        page.family(name, Kind::Counter, "[ALPHA] Counter of authenticated requests broken out by username.");
        for (index, username) in USERNAMES.into_iter().enumerate() {
            page.sample(name, &[("username", username)], self.usernames.total(index));
        }

        let name = "countersign_check_duration_seconds";
        page.family(
            name,
            Kind::Histogram,
            "How long Checks take, whatever the result, from the message to the answer",
        );
        let all = Snapshot::sum(self.durations.iter().map(Histogram::snapshot));
        all.into_iter().for_each(|all| all.write(page, name, &[]));
        let help = "Checks that are being answered";
        page.single("countersign_checks_in_flight", Kind::Gauge, help, in_flight);
        let help = "Checks that Envoy did not wait for";
        page.single("countersign_checks_abandoned_total", Kind::Counter, help, self.abandoned.total(0));
        let name = "countersign_checks_allowed_total";
        page.family(name, Kind::Counter, "Checks that were answered with an identity, by who vouches for it");
        for authenticator in Authenticator::VARIANTS {
            let count = self.allowed.total(index(*authenticator));
            page.sample(name, &[("authenticator", authenticator.label())], count);
        }
        let name = "countersign_checks_denied_total";
        page.family(
            name,
            Kind::Counter,
            "Checks that were denied, by whose fault it was: the client's, that of something that we depend on, or a bug of ours",
        );
        for fault in Fault::VARIANTS {
            page.sample(name, &[("fault", fault.label())], self.denied.total(index(*fault)));
        }
        let name = "countersign_rejections_total";
        page.family(
            name,
            Kind::Counter,
            "Refusals of the Checks that were denied, of which one may have several, by who refused and why",
        );
        for by in Authenticator::VARIANTS {
            for reason in Reason::VARIANTS {
                // Most pairs never come together.
                let count = self.rejections.total(rejection(*by, *reason));
                if count > 0 {
                    page.sample(name, &[("authenticator", by.label()), ("reason", reason.code())], count);
                }
            }
        }
    }
}

impl InFlight<'_> {
    /// It is answered like this.
    pub fn end(mut self, decision: &Decision) {
        self.ended = true;
        let checks = self.checks;
        checks.durations[index(AttemptResult::of(decision))].observe_duration(self.since.elapsed());
        match decision {
            Decision::Allow(authenticated) => {
                checks.allowed.add(index(authenticated.by), 1);
                checks.usernames.add(compressed(&authenticated.identity.username), 1);
            }
            Decision::Deny(denial) => {
                checks.denied.add(index(denial.fault()), 1);
                for refused in &denial.rejections {
                    checks.rejections.add(rejection(refused.by, refused.reason), 1);
                }
            }
        }
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.checks.abandoned.add(0, 1);
        }
    }
}

/// Where a variant stands among all.
fn index<T: VariantArray + PartialEq>(variant: T) -> usize {
    T::VARIANTS.iter().position(|other| *other == variant).unwrap_or_default()
}

fn rejection(by: Authenticator, reason: Reason) -> usize {
    index(by) * Reason::COUNT + index(reason)
}

/// Go: `compressUsername`, which keeps names of users out of metrics, and their number small.
fn compressed(username: &str) -> usize {
    let known = USERNAMES[..EMAIL].iter().position(|known| *known == username);
    known.unwrap_or_else(|| if username.contains('@') { EMAIL } else { EMAIL + 1 })
}

/// What `compressUsername` makes of names: the known ones, then everything with an `@`, then all others.
const USERNAMES: [&str; 7] = [
    "admin",
    "client",
    "kube_proxy",
    "kubelet",
    "system:serviceaccount:kube-system:default",
    "email_id",
    "other",
];
const EMAIL: usize = USERNAMES.len() - 2;

/// Kubernetes' buckets, and before them some that tell Checks apart of which nobody had to be asked about.
const DURATIONS: [f64; 21] = [
    0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064,
    0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384,
];
/// So many of them are not Kubernetes'.
const FINER: usize = 6;
