//! `Check`: decode, decide, encode; say why where it was denied.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use bstr::ByteSlice;
use futures_util::FutureExt;
use tonic::{Response, Status};

use super::decode::Incoming;
use super::encode::{Replies, Reply};
use super::view::server::authorization_server::Authorization;
use crate::audit::Auditor;
use crate::authn::{Now, Observer};
use crate::chain::Chain;
use crate::config::ReplyConfig;
use crate::decision::{Authenticator, Decision, Denial, Fault, Reason};
use crate::metrics::Metrics;
use crate::request::Request;

/// A configuration at work: immutable, and replaced as a whole.
#[derive(Debug)]
pub struct Snapshot {
    chain: Chain,
    replies: Replies,
}

impl Snapshot {
    /// A chain and the replies that go with it.
    pub fn new(chain: Chain, config: ReplyConfig) -> Self {
        let replies = Replies::new(config, chain.schemes());
        Self { chain, replies }
    }

    /// What Envoy is to be answered. Tells `observer` how that came about; nothing is logged, counted as a Check or told in the audit log.
    pub(crate) async fn decide<O: Observer>(
        &self,
        incoming: &Incoming,
        now: Now,
        observer: O,
    ) -> (Reply, Decision) {
        let Some(request) = incoming.request() else {
            return self.deny(Denial::new(Authenticator::Chain, Reason::MalformedRequest));
        };
        let authenticated = match self.chain.decide_observed(&request, now, observer).await {
            Decision::Deny(denial) => return self.deny(denial),
            Decision::Allow(authenticated) => authenticated,
        };
        let reply = match self.replies.impersonation() {
            None => self.replies.allow(&authenticated, &request),
            Some(impersonation) => {
                let acting = impersonation.acting(authenticated.clone(), &request.headers).await;
                acting.and_then(|acting| self.replies.allow(&acting, &request))
            }
        };
        match reply {
            // Who it really was; as whom they act is for the upstream, and in the log.
            Ok(reply) => (reply, Decision::Allow(authenticated)),
            Err(reason) => self.deny(Denial::new(authenticated.by, reason)),
        }
    }

    /// Who decides.
    pub(crate) fn chain(&self) -> &Chain {
        &self.chain
    }

    /// The denial of a Check whose decision panicked.
    pub(crate) fn panicked(&self) -> (Reply, Decision) {
        self.deny(Denial::new(Authenticator::Chain, Reason::Panicked))
    }

    fn deny(&self, denial: Denial) -> (Reply, Decision) {
        (self.replies.deny(&denial), Decision::Deny(denial))
    }
}

/// Tells the log of a denial, and the audit log of whatever it wants to know.
fn tell(
    decision: &Decision,
    incoming: &Incoming,
    request: Option<&Request<'_>>,
    now: Now,
    audit: Option<&Auditor>,
) {
    if let Decision::Deny(denial) = decision {
        log(denial, incoming, request);
    }
    if let Some(audit) = audit {
        audit.record(now.0, decision, request, incoming.stream_id());
    }
}

/// The service that Envoy calls.
#[derive(Debug, Clone)]
pub struct CheckService {
    current: Arc<ArcSwap<Snapshot>>,
    metrics: Arc<Metrics>,
    audit: Option<Arc<Auditor>>,
}

impl CheckService {
    /// Answers from whatever `current` holds when a Check comes in, counts in `metrics`, and tells `audit` of it.
    pub fn new(current: Arc<ArcSwap<Snapshot>>, metrics: Arc<Metrics>, audit: Option<Arc<Auditor>>) -> Self {
        Self { current, metrics, audit }
    }
}

#[tonic::async_trait]
impl Authorization for CheckService {
    /// Never a gRPC error. A Check keeps the snapshot that it started with. A panic is a denial, and the connection, which
    /// carries other Checks, lives on.
    async fn check(&self, incoming: tonic::Request<Incoming>) -> Result<Response<Reply>, Status> {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock for a Check")]
        let now = Now(SystemTime::now());
        let in_flight = self.metrics.checks.begin();
        let snapshot = self.current.load_full();
        let incoming = incoming.into_inner();
        let audit = self.audit.as_deref();
        let decided = AssertUnwindSafe(snapshot.decide(&incoming, now, ())).catch_unwind().await;
        let told = decided.and_then(|(reply, decision)| {
            if audit.is_some() || matches!(decision, Decision::Deny(_)) {
                let tell = || tell(&decision, &incoming, incoming.request().as_ref(), now, audit);
                catch_unwind(AssertUnwindSafe(tell))?;
            }
            Ok((reply, decision))
        });
        let (reply, decision) = told.unwrap_or_else(|_panic| {
            let (reply, decision) = snapshot.panicked();
            tell(&decision, &incoming, None, now, audit);
            (reply, decision)
        });
        in_flight.end(&decision);
        Ok(Response::new(reply))
    }
}

/// One line for each denial: where to find the request, and who rejected it why. No header but the request id, no query.
fn log(denial: &Denial, incoming: &Incoming, request: Option<&Request<'_>>) {
    let short = |bytes: &[u8]| bytes[..bytes.len().min(LOGGED_BYTES)].to_str_lossy().into_owned();
    macro_rules! event {
        ($level:ident) => {{
            let by: Vec<String> =
                denial.rejections.iter().map(|r| format!("{}: {}", r.by.label(), r.reason.code())).collect();
            let request_id = request.and_then(|r| r.headers.get_all(b"x-request-id").next());
            tracing::$level!(
                request_id = short(request_id.unwrap_or(incoming.stream_id())),
                rejected = by.join(", "),
                method = request.map(|r| short(r.method)),
                host = request.map(|r| short(r.host)),
                path = request.map(|r| short(r.path.as_bytes())),
                source = request.map(|r| short(r.connection.source_address)),
                "denied"
            )
        }};
    }
    match denial.fault() {
        Fault::Bug => event!(error),
        Fault::Dependency => event!(warn),
        Fault::Client => event!(info),
    }
}

/// As much of a client's words as a line of the log holds of each.
const LOGGED_BYTES: usize = 256;

#[cfg(test)]
mod tests;
