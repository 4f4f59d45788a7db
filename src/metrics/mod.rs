//! What Prometheus is told. Names, labels, buckets and helps are Kubernetes' where it has them, else names begin with `countersign_`.
//! Labels take few values: nothing of a request stands in one.
//!
//! Of what kube-apiserver tells about authentication these are not here (`tests/kube/metrics.rs` knows of no others):
//!
//! - `apiserver_webhooks_x509_missing_san_total` and `apiserver_webhooks_x509_insecure_sha1_total`: a webhook whose certificate has no
//!   alternative names, or is signed with SHA-1, is refused as there, and is a request with the code `<error>` in
//!   `rest_client_requests_total`. rustls does not say that its common name would have matched, nor with what it was signed.
//! - `serviceaccount_legacy_auto_token_uses_total` and `serviceaccount_legacy_manual_token_uses_total`, which take more than the
//!   metadata of accounts to tell apart.
//! - `apiserver_audit_level_total` and `apiserver_audit_requests_rejected_total`, since there is no policy of levels, and no Check waits
//!   for the audit log.
//! - `rest_client_*` other than the two, which are about parts of client-go that have no counterpart. Those two count reviews by a
//!   webhook, and all requests to the API server: their time is that until the answer begins, and watches have none. They do not count
//!   the fetching of issuers' keys, of which `countersign_jwt_issuer_*` tell.
//!
//! What a Check counts is a few relaxed atomics in arrays that are there from the start, indexed by the variants of enums. Everything
//! else is done when somebody asks for the page.

mod audit;
mod caches;
mod cells;
mod checks;
mod handshakes;
mod histogram;
mod impersonation;
mod issuers;
mod log;
mod page;
mod process;
mod profiles;
mod reloads;
mod requests;
mod service_accounts;
mod token_cache;
mod traces;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};

use page::{Kind, Page, float};

pub use audit::AuditStatistics;
pub use caches::{Caches, Remembers};
pub use checks::{Checks, InFlight};
pub use handshakes::HandshakeStatistics;
pub use histogram::Histogram;
pub use impersonation::{Deciding, Decisions, ImpersonationStatistics};
pub use issuers::{IssuerStatus, Verification, Verifications};
pub use log::LogStatistics;
pub use page::CONTENT_TYPE;
pub use process::host_name;
pub use profiles::{ProfileChecks, Profiles};
pub use reloads::{ReloadResult, Reloads};
pub use requests::{Asking, Requests};
pub use service_accounts::ServiceAccountStatistics;
pub use token_cache::{Fetching, TokenCacheStatistics, Waiting};
pub use traces::TraceStatistics;

/// All that is counted while the process runs. It outlives configurations.
#[derive(Debug)]
pub struct Metrics {
    /// What becomes of Checks.
    pub checks: Checks,
    /// The same by profile, if there are any.
    pub profiles: Profiles,
    /// What becomes of tokens that are looked up.
    pub token_cache: Arc<TokenCacheStatistics>,
    /// How long the certificates of clients are still valid, in seconds, whether they are good or not.
    pub certificate_expiration: Arc<Histogram>,
    /// What is remembered of them: certificates that were verified, and CAs below the roots.
    pub certificate_caches: Caches,
    /// How long JSON Web Tokens take.
    pub verifications: Verifications,
    /// Which service account tokens come.
    pub service_accounts: Arc<ServiceAccountStatistics>,
    /// Requests to webhooks and to API servers.
    pub requests: Arc<Requests>,
    /// Clients that ask to act as somebody else.
    pub impersonation: Arc<ImpersonationStatistics>,
    /// TLS handshakes.
    pub handshakes: Arc<HandshakeStatistics>,
    /// Configurations.
    pub reloads: Reloads,
    /// The audit log.
    pub audit: Arc<AuditStatistics>,
    /// Traces.
    pub traces: Arc<TraceStatistics>,
    /// The log.
    pub log: Arc<LogStatistics>,
    /// What Kubernetes' label `apiserver_id_hash` says of us.
    host: String,
}

/// What a scrape looks up.
#[derive(Debug, Default)]
pub struct Measured {
    /// The issuers of JSON Web Tokens.
    pub issuers: Vec<IssuerStatus>,
    /// The watches of the cluster.
    pub watches: Vec<WatchStatus>,
    /// When the first of the revocation lists is past its nextUpdate, in seconds since 1970; 0 without lists.
    pub crl_next_update: i64,
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

impl Default for Metrics {
    fn default() -> Self {
        Self {
            checks: Checks::default(),
            profiles: Profiles::default(),
            token_cache: Arc::default(),
            certificate_expiration: Arc::new(Histogram::sharded(&CERTIFICATE_EXPIRATIONS)),
            certificate_caches: Caches::default(),
            verifications: Verifications::default(),
            service_accounts: Arc::default(),
            requests: Arc::default(),
            impersonation: Arc::default(),
            handshakes: Arc::default(),
            reloads: Reloads::default(),
            audit: Arc::default(),
            traces: Arc::default(),
            log: Arc::default(),
            host: host_name().map_or_else(String::new, |name| hash(name.as_bytes())),
        }
    }
}

impl Metrics {
    /// The page, in the format that [`CONTENT_TYPE`] names.
    pub fn render(&self, measured: &Measured) -> String {
        let mut page = Page::default();
        self.checks.write(&mut page);
        self.profiles.write(&mut page);
        self.token_cache.write(&mut page);
        let name = "apiserver_client_certificate_expiration_seconds";
        page.family(
            name,
            Kind::Histogram,
            "[ALPHA] Distribution of the remaining lifetime on the certificate used to authenticate a request.",
        );
        self.certificate_expiration.write(&mut page, name, &[]);
        let (leaves, intermediates) = self.certificate_caches.remembered();
        let name = "countersign_certificate_cache_entries";
        page.family(
            name,
            Kind::Gauge,
            "Certificates that are remembered: those of clients, and CAs between them and the roots",
        );
        page.sample(name, &[("kind", "intermediate")], intermediates);
        page.sample(name, &[("kind", "leaf")], leaves);
        self.verifications.write(&mut page);
        issuers::write(&mut page, &measured.issuers, &self.host);
        self.service_accounts.write(&mut page);
        self.requests.write(&mut page);
        self.impersonation.write(&mut page);
        self.handshakes.write(&mut page);
        self.audit.write(&mut page);
        self.traces.write(&mut page);
        self.log.write(&mut page);
        self.reloads.write(&mut page, &self.host);
        page.single(
            "countersign_client_crl_next_update_timestamp_seconds",
            Kind::Gauge,
            "When the first of the revocation lists is past its nextUpdate; 0 without lists",
            measured.crl_next_update,
        );
        watches(&mut page, &measured.watches);
        let name = "countersign_build_info";
        page.family(
            name,
            Kind::Gauge,
            "The version of countersign, and of Kubernetes whose verdicts it gives",
        );
        page.sample(name, &[("kubernetes", KUBERNETES), ("version", env!("CARGO_PKG_VERSION"))], 1);
        process::write(&mut page);
        page.finish()
    }
}

fn watches(page: &mut Page, watches: &[WatchStatus]) {
    let name = "countersign_watch_objects";
    page.family(name, Kind::Gauge, "Objects of the cluster that are known");
    for watch in watches {
        page.sample(name, &[("resource", watch.resource)], watch.objects);
    }
    let name = "countersign_watch_age_seconds";
    let help = "How long ago the API server answered a watch; not there before it did";
    page.family(name, Kind::Gauge, help);
    for watch in watches {
        if let Some(age) = watch.age {
            page.sample(name, &[("resource", watch.resource)], float(age.as_secs_f64()));
        }
    }
    let name = "countersign_watch_failures";
    page.family(name, Kind::Gauge, "Calls in a row of a watch to the API server that have failed");
    for watch in watches {
        page.sample(name, &[("resource", watch.resource)], watch.failures);
    }
}

/// Go: `getHash` of the packages that hash a label.
pub fn hash(data: &[u8]) -> String {
    if data.is_empty() {
        return String::new();
    }
    label(digest(&SHA256, data).as_ref())
}

fn label(sha256: &[u8]) -> String {
    sha256.iter().fold("sha256:".to_owned(), |hex, byte| hex + &format!("{byte:02x}"))
}

/// In seconds since 1970.
fn timestamp(at: SystemTime) -> String {
    float(at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64())
}

/// The version whose verdicts these are.
const KUBERNETES: &str = "1.36.3";

/// Go: the buckets of `clientCertificateExpirationHistogram`, from nothing to a year.
const CERTIFICATE_EXPIRATIONS: [f64; 14] = [
    0.0,
    1800.0,
    3600.0,
    7200.0,
    21600.0,
    43200.0,
    86400.0,
    172_800.0,
    345_600.0,
    604_800.0,
    2_592_000.0,
    7_776_000.0,
    15_552_000.0,
    31_104_000.0,
];
