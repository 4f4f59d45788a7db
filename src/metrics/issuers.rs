//! What is told of issuers of JSON Web Tokens. Kubernetes' part follows k8s.io/apiserver/plugin/pkg/authenticator/token/oidc/metrics.go
//! (1.36.3).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::histogram::Histogram;
use super::page::{Kind, Page, float};
use super::{hash, label, timestamp};

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
    /// When the key set was last fetched.
    pub fetched: Option<SystemTime>,
    /// When that last failed.
    pub failed: Option<SystemTime>,
    /// The SHA-256 of what was fetched.
    pub key_set: Option<[u8; 32]>,
}

/// How long tokens take to verify, by issuer.
#[derive(Debug, Default)]
pub struct Verifications(Mutex<BTreeMap<String, Arc<Verification>>>);

/// How long the tokens of an issuer take.
#[derive(Debug)]
pub struct Verification {
    success: Histogram,
    failure: Histogram,
}

impl Verifications {
    /// Of the tokens of an issuer, by its URL. What nobody uses any more is forgotten.
    pub fn of(&self, issuer: &str) -> Arc<Verification> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let histogram = || Histogram::shared(&DURATIONS);
        let new = || Arc::new(Verification { success: histogram(), failure: histogram() });
        let verification = Arc::clone(known.entry(hash(issuer.as_bytes())).or_insert_with(new));
        known.retain(|_, verification| Arc::strong_count(verification) > 1);
        verification
    }

    pub(super) fn write(&self, page: &mut Page) {
        let name = "apiserver_authentication_jwt_authenticator_latency_seconds";
        page.family(
            name,
            Kind::Histogram,
            "[ALPHA] Latency of jwt authentication operations in seconds. This is the time spent authenticating a token for cache \
             miss only (i.e. when the token is not found in the cache).",
        );
        for (issuer, verification) in &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            for (result, histogram) in
                [("failure", &verification.failure), ("success", &verification.success)]
            {
                // As there, an issuer is not there before its first token.
                if histogram.count() > 0 {
                    histogram.write(page, name, &[("jwt_issuer_hash", issuer), ("result", result)]);
                }
            }
        }
    }
}

impl Verification {
    /// A token took so long and was good, or was not. Go: `recordAuthenticationLatency`.
    pub fn observe(&self, is_good: bool, took: Duration) {
        let histogram = if is_good { &self.success } else { &self.failure };
        histogram.observe_duration(took);
    }
}

/// Of every issuer, of which a configuration has 64 at most.
pub(super) fn write(page: &mut Page, issuers: &[IssuerStatus], host: &str) {
    let name = "apiserver_authentication_jwt_authenticator_jwks_fetch_last_key_set_info";
    page.family(
        name,
        Kind::Gauge,
        "[ALPHA] Information about the last JWKS fetched by the JWT authenticator with hash as label, split by api server identity \
         and jwt issuer.",
    );
    for issuer in issuers {
        if let Some(key_set) = &issuer.key_set {
            let (key_set, url) = (label(key_set), hash(issuer.url.as_bytes()));
            let labels = [("apiserver_id_hash", host), ("hash", &*key_set), ("jwt_issuer_hash", &*url)];
            page.sample(name, &labels, 1);
        }
    }
    let name = "apiserver_authentication_jwt_authenticator_jwks_fetch_last_timestamp_seconds";
    page.family(
        name,
        Kind::Gauge,
        "[ALPHA] Timestamp of the last successful or failed JWKS fetch split by result, api server identity and jwt issuer for the \
         JWT authenticator.",
    );
    for issuer in issuers {
        for (result, at) in [("failure", issuer.failed), ("success", issuer.fetched)] {
            if let Some(at) = at {
                let url = hash(issuer.url.as_bytes());
                let labels = [("apiserver_id_hash", host), ("jwt_issuer_hash", &*url), ("result", result)];
                page.sample(name, &labels, timestamp(at));
            }
        }
    }
    let name = "countersign_jwt_issuer_keys";
    page.family(name, Kind::Gauge, "Keys that an issuer has");
    for issuer in issuers {
        page.sample(name, &[("jwt_issuer", &issuer.url)], issuer.keys);
    }
    let name = "countersign_jwt_issuer_keys_age_seconds";
    page.family(
        name,
        Kind::Gauge,
        "How long ago the keys of an issuer were fetched; not there before they were",
    );
    for issuer in issuers {
        if let Some(age) = issuer.age {
            page.sample(name, &[("jwt_issuer", &issuer.url)], float(age.as_secs_f64()));
        }
    }
    let name = "countersign_jwt_issuer_fetch_failures";
    page.family(name, Kind::Gauge, "Attempts in a row to fetch the keys of an issuer that have failed");
    for issuer in issuers {
        page.sample(name, &[("jwt_issuer", &issuer.url)], issuer.failures);
    }
}

/// Go: the buckets of `jwtAuthenticatorLatencyMetric`.
const DURATIONS: [f64; 12] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
