//! `Check`: decode, decide, encode; say why where it was denied.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use bstr::ByteSlice;
use futures_util::FutureExt;
use tonic::{Response, Status};

use super::decode::Incoming;
use super::encode::{Replies, Reply};
use super::profile::Named;
use super::view::server::authorization_server::Authorization;
use crate::audit::Auditor;
use crate::authn::Now;
use crate::chain::{Chain, Members};
use crate::config::{DEFAULT_PROFILE, IdentityHeaders, Profile, ReplyConfig};
use crate::decision::{Authenticator, Decision, Denial, Fault, Reason};
use crate::metrics::{Metrics, ProfileChecks};
use crate::request::Request;

/// A configuration at work: immutable, and replaced as a whole.
#[derive(Debug)]
pub struct Snapshot {
    default: Policy,
    /// By the names that routes give them.
    profiles: HashMap<Box<[u8]>, Policy>,
}

/// A chain, and the replies that go with it.
#[derive(Debug)]
struct Policy {
    /// None for that of the flags.
    name: Option<Box<[u8]>>,
    chain: Chain,
    replies: Replies,
    /// Where its Checks are counted, if there are profiles.
    checks: Option<Arc<ProfileChecks>>,
}

impl Snapshot {
    /// The policy of the flags, of these members and replies, and those of the profiles, whose Checks are counted in `metrics`.
    pub fn new(members: Members, reply: ReplyConfig, profiles: Vec<Profile>, metrics: &Metrics) -> Self {
        let replies = profiles.iter().filter_map(|profile| profile.reply.as_ref());
        let headers = [&reply].into_iter().chain(replies).map(|reply| reply.headers.clone());
        // The identity headers of one route are nowhere the client's to send: the next server may read them on all.
        let headers: Vec<IdentityHeaders> = headers.collect();
        let chains: Vec<(Box<str>, Chain, Option<ReplyConfig>)> = profiles
            .into_iter()
            .map(|Profile { name, chain, reply }| (name, members.of_profile(chain).into_chain(), reply))
            .collect();
        let checks = |name: &str| Some(metrics.profiles.of(name));
        let chain = members.into_chain();
        let default = Policy {
            name: None,
            replies: Replies::new(reply, chain.schemes(), &headers),
            chain,
            checks: if chains.is_empty() { None } else { checks(DEFAULT_PROFILE) },
        };
        let policy = |(name, chain, reply): (Box<str>, Chain, _)| {
            let replies = default.replies.of_profile(reply, chain.schemes(), &headers);
            let checks = checks(&name);
            let name: Box<[u8]> = name.into_boxed_bytes();
            (name.clone(), Policy { name: Some(name), chain, replies, checks })
        };
        let profiles = chains.into_iter().map(policy).collect();
        Self { default, profiles }
    }

    /// The policy of a request's route, or the name or key that nobody knows.
    fn policy<'a>(&'a self, request: &Request<'a>) -> Result<&'a Policy, &'a [u8]> {
        match Named::of(request.context_extensions) {
            Named::Nothing => Ok(&self.default),
            Named::Profile(name) if name == DEFAULT_PROFILE.as_bytes() => Ok(&self.default),
            Named::Profile(name) => self.profiles.get(name).ok_or(name),
            Named::Unclear(key) => Err(key),
        }
    }

    async fn answer(&self, incoming: &Incoming, now: Now, audit: Option<&Auditor>) -> (Reply, Decision) {
        let Some(request) = incoming.request() else {
            let denial = Denial::new(Authenticator::Chain, Reason::MalformedRequest);
            return self.default.deny(denial, incoming, None, now, audit);
        };
        let policy = match self.policy(&request) {
            Ok(policy) => policy,
            Err(unknown) => {
                let denial = Denial::new(Authenticator::Chain, Reason::UnknownProfile);
                let reply = self.default.replies.deny(&denial);
                return (reply, told(denial, Some(unknown), incoming, Some(&request), now, audit));
            }
        };
        let denial = match policy.chain.decide(&request, now).await {
            Decision::Deny(denial) => denial,
            Decision::Allow(authenticated) => {
                let reply = match policy.replies.impersonation() {
                    None => policy.replies.allow(&authenticated, &request),
                    Some(impersonation) => {
                        let acting = impersonation.acting(authenticated.clone(), &request.headers).await;
                        acting.and_then(|acting| policy.replies.allow(&acting, &request))
                    }
                };
                match reply {
                    Ok(reply) => {
                        // Who it really was; as whom they act is for the upstream, and in the log.
                        let decision = Decision::Allow(authenticated);
                        if let Some(audit) = audit {
                            audit.record(
                                now.0,
                                &decision,
                                policy.name(),
                                Some(&request),
                                incoming.stream_id(),
                            );
                        }
                        if let Some(checks) = &policy.checks {
                            checks.count(true);
                        }
                        return (reply, decision);
                    }
                    Err(reason) => Denial::new(authenticated.by, reason),
                }
            }
        };
        policy.deny(denial, incoming, Some(&request), now, audit)
    }
}

impl Policy {
    fn name(&self) -> Option<&[u8]> {
        self.name.as_deref()
    }

    fn deny(
        &self,
        denial: Denial,
        incoming: &Incoming,
        request: Option<&Request<'_>>,
        now: Now,
        audit: Option<&Auditor>,
    ) -> (Reply, Decision) {
        if let Some(checks) = &self.checks {
            checks.count(false);
        }
        (self.replies.deny(&denial), told(denial, self.name(), incoming, request, now, audit))
    }
}

/// Writes a denial, by the profile that the route names, into the logs.
fn told(
    denial: Denial,
    profile: Option<&[u8]>,
    incoming: &Incoming,
    request: Option<&Request<'_>>,
    now: Now,
    audit: Option<&Auditor>,
) -> Decision {
    log(&denial, profile, incoming, request);
    let decision = Decision::Deny(denial);
    if let Some(audit) = audit {
        audit.record(now.0, &decision, profile, request, incoming.stream_id());
    }
    decision
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
        let answer = AssertUnwindSafe(snapshot.answer(&incoming, now, audit)).catch_unwind().await;
        let (reply, decision) = answer.unwrap_or_else(|_panic| {
            let denial = Denial::new(Authenticator::Chain, Reason::Panicked);
            snapshot.default.deny(denial, &incoming, None, now, audit)
        });
        in_flight.end(&decision);
        Ok(Response::new(reply))
    }
}

/// One line for each denial: where to find the request, and who rejected it why. No header but the request id, no query.
fn log(denial: &Denial, profile: Option<&[u8]>, incoming: &Incoming, request: Option<&Request<'_>>) {
    let short = |bytes: &[u8]| bytes[..bytes.len().min(LOGGED_BYTES)].to_str_lossy().into_owned();
    macro_rules! event {
        ($level:ident) => {{
            let by: Vec<String> =
                denial.rejections.iter().map(|r| format!("{}: {}", r.by.label(), r.reason.code())).collect();
            let request_id = request.and_then(|r| r.headers.get_all(b"x-request-id").next());
            tracing::$level!(
                request_id = short(request_id.unwrap_or(incoming.stream_id())),
                rejected = by.join(", "),
                profile = profile.map(short),
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
