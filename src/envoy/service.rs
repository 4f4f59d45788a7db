//! `Check`: decode, decide, encode; say why where it was denied.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use bstr::ByteSlice;
use futures_util::FutureExt;
use tonic::{Response, Status};

use super::decode::Incoming;
use super::encode::{Replies, Reply};
use super::traced;
use super::view::server::authorization_server::Authorization;
use crate::audit::Auditor;
use crate::authn::Now;
use crate::chain::Chain;
use crate::config::ReplyConfig;
use crate::decision::{Authenticator, Decision, Denial, Fault, Reason};
use crate::metrics::Metrics;
use crate::request::Request;
use crate::trace::Tracer;

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

    async fn answer(&self, incoming: &Incoming, now: Now, audit: Option<&Auditor>) -> (Reply, Decision) {
        let Some(request) = incoming.request() else {
            let denial = Denial::new(Authenticator::Chain, Reason::MalformedRequest);
            return self.deny(denial, incoming, None, now, audit);
        };
        let denial = match self.chain.decide(&request, now).await {
            Decision::Deny(denial) => denial,
            Decision::Allow(authenticated) => {
                let reply = match self.replies.impersonation() {
                    None => self.replies.allow(&authenticated, &request),
                    Some(impersonation) => {
                        let acting = impersonation.acting(authenticated.clone(), &request.headers).await;
                        acting.and_then(|acting| self.replies.allow(&acting, &request))
                    }
                };
                match reply {
                    Ok(reply) => {
                        // Who it really was; as whom they act is for the upstream, and in the log.
                        let decision = Decision::Allow(authenticated);
                        if let Some(audit) = audit {
                            audit.record(now.0, &decision, Some(&request), incoming.stream_id());
                        }
                        return (reply, decision);
                    }
                    Err(reason) => Denial::new(authenticated.by, reason),
                }
            }
        };
        self.deny(denial, incoming, Some(&request), now, audit)
    }

    fn deny(
        &self,
        denial: Denial,
        incoming: &Incoming,
        request: Option<&Request<'_>>,
        now: Now,
        audit: Option<&Auditor>,
    ) -> (Reply, Decision) {
        log(&denial, incoming, request);
        let reply = self.replies.deny(&denial);
        let decision = Decision::Deny(denial);
        if let Some(audit) = audit {
            audit.record(now.0, &decision, request, incoming.stream_id());
        }
        (reply, decision)
    }
}

/// The service that Envoy calls.
#[derive(Debug, Clone)]
pub struct CheckService {
    current: Arc<ArcSwap<Snapshot>>,
    metrics: Arc<Metrics>,
    audit: Option<Arc<Auditor>>,
    tracer: Option<Tracer>,
}

impl CheckService {
    /// Answers from whatever `current` holds when a Check comes in, counts in `metrics`, and tells `audit` of it.
    pub fn new(current: Arc<ArcSwap<Snapshot>>, metrics: Arc<Metrics>, audit: Option<Arc<Auditor>>) -> Self {
        Self { current, metrics, audit, tracer: None }
    }

    /// The same, with a span of this tracer for each Check that is to be recorded.
    pub fn traced(self, tracer: Option<Tracer>) -> Self {
        Self { tracer, ..self }
    }
}

impl CheckService {
    /// Never a gRPC error. A Check keeps the snapshot that it started with. A panic is a denial, and the connection, which
    /// carries other Checks, lives on.
    async fn answer(&self, incoming: tonic::Request<Incoming>) -> Result<Response<Reply>, Status> {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock for a Check")]
        let now = Now(SystemTime::now());
        let in_flight = self.metrics.checks.begin();
        let snapshot = self.current.load_full();
        let incoming = incoming.into_inner();
        let (audit, is_traced) = (self.audit.as_deref(), self.tracer.is_some());
        let answer = AssertUnwindSafe(snapshot.answer(&incoming, now, audit)).catch_unwind().await;
        let (reply, decision) = answer.unwrap_or_else(|_panic| {
            let denial = Denial::new(Authenticator::Chain, Reason::Panicked);
            snapshot.deny(denial, &incoming, None, now, audit)
        });
        if is_traced {
            traced::decided(&decision);
        }
        in_flight.end(&decision);
        Ok(Response::new(reply))
    }
}

impl Authorization for CheckService {
    /// By hand what `async_trait` would write, so that a Check without a span is one future and not two.
    fn check<'life0, 'async_trait>(
        &'life0 self,
        incoming: tonic::Request<Incoming>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Reply>, Status>> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        let tracer = self.tracer.as_ref();
        let span = tracer.and_then(|tracer| traced::begin(tracer, incoming.metadata(), incoming.get_ref()));
        let answer = Box::pin(self.answer(incoming));
        match span {
            None => answer,
            Some(span) => Box::pin(span.around(answer)),
        }
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
