//! `Check`: decode, decide, encode; say why where it was denied.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use bstr::ByteSlice;
use bytes::Bytes;
use futures_util::FutureExt;
use http::HeaderMap;

use super::decode::Incoming;
use super::encode::{Replies, Reply};
use super::profile::Named;
use super::traced;
use crate::audit::Auditor;
use crate::authn::{Now, Observer};
use crate::chain::{Chain, Members};
use crate::config::{DEFAULT_PROFILE, IdentityHeaders, Profile, ReplyConfig};
use crate::decision::{Authenticator, Decision, Denial, Fault, Reason, Rejection};
use crate::metrics::{Metrics, ProfileChecks};
use crate::request::Request;
use crate::trace::Tracer;

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

    /// What Envoy is to be answered. Tells `observer` how that came about; nothing is logged, counted as a Check or told in the audit log.
    pub(crate) async fn decide<'a, O: Observer>(
        &'a self,
        incoming: &'a Incoming,
        now: Now,
        observer: O,
    ) -> Decided<'a> {
        let Some(request) = incoming.request() else {
            return self.default.deny(Denial::new(Authenticator::Chain, Reason::MalformedRequest));
        };
        match self.policy(&request) {
            Ok(policy) => policy.decide(&request, now, observer).await,
            Err(unknown) => {
                let denial = Denial::new(Authenticator::Chain, Reason::UnknownProfile);
                Decided { policy: Err(unknown), ..self.default.deny(denial) }
            }
        }
    }

    /// The denial of a Check whose decision panicked.
    pub(crate) fn panicked(&self) -> Decided<'_> {
        self.default.deny(Denial::new(Authenticator::Chain, Reason::Panicked))
    }
}

impl Policy {
    async fn decide<O: Observer>(&self, request: &Request<'_>, now: Now, observer: O) -> Decided<'_> {
        let authenticated = match self.chain.decide_observed(request, now, observer).await {
            Decision::Deny(denial) => return self.deny(denial),
            Decision::Allow(authenticated) => authenticated,
        };
        let reply = match self.replies.impersonation() {
            None => self.replies.allow(&authenticated, request),
            Some(impersonation) => {
                let acting = impersonation.acting(authenticated.clone(), &request.headers).await;
                acting.and_then(|acting| self.replies.allow(&acting, request))
            }
        };
        match reply {
            // Who it really was; as whom they act is for the upstream, and in the log.
            Ok(reply) => Decided { reply, decision: Decision::Allow(authenticated), policy: Ok(self) },
            Err(reason) => self.deny(Denial::new(authenticated.by, reason)),
        }
    }

    fn deny(&self, denial: Denial) -> Decided<'_> {
        Decided { reply: self.replies.deny(&denial), decision: Decision::Deny(denial), policy: Ok(self) }
    }
}

/// What became of a Check.
pub(crate) struct Decided<'a> {
    /// What Envoy is answered.
    pub(crate) reply: Reply,
    /// And why.
    pub(crate) decision: Decision,
    /// By which policy; none: what the route names in place of one.
    policy: Result<&'a Policy, &'a [u8]>,
}

impl<'a> Decided<'a> {
    /// The profile that the route names, if it names one.
    pub(crate) fn profile(&self) -> Option<&'a [u8]> {
        self.policy.map_or_else(Some, |policy| policy.name.as_deref())
    }

    /// Who decided, if anybody was there to.
    pub(crate) fn chain(&self) -> Option<&'a Chain> {
        self.policy.ok().map(|policy| &policy.chain)
    }

    /// Tells the log of a denial and the audit log of whatever it wants to know.
    fn tell(&self, incoming: &Incoming, request: Option<&Request<'_>>, now: Now, audit: Option<&Auditor>) {
        if let Decision::Deny(denial) = &self.decision {
            log(denial, self.profile(), incoming, request);
        }
        if let Some(audit) = audit {
            audit.record(now.0, &self.decision, self.profile(), request, incoming.stream_id());
        }
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

    /// The reply to a `CheckRequest` and to the metadata of its call; `None` if what came is none.
    pub async fn check(&self, metadata: &HeaderMap, message: Option<Bytes>) -> Reply {
        let incoming = Incoming::decode(message);
        let span = self.tracer.as_ref().and_then(|tracer| traced::begin(tracer, metadata, &incoming));
        match span {
            None => self.answer(&incoming).await,
            Some(span) => Box::pin(span.around(self.answer(&incoming))).await,
        }
    }

    /// A Check keeps the snapshot that it started with. A panic is a denial, and the connection, which carries other Checks, lives on.
    async fn answer(&self, incoming: &Incoming) -> Reply {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock for a Check")]
        let now = Now(SystemTime::now());
        let in_flight = self.metrics.checks.begin();
        let snapshot = self.current.load_full();
        let audit = self.audit.as_deref();
        let decided = AssertUnwindSafe(snapshot.decide(incoming, now, ())).catch_unwind().await;
        let told = decided.and_then(|decided| {
            if audit.is_some() || matches!(decided.decision, Decision::Deny(_)) {
                let tell = || decided.tell(incoming, incoming.request().as_ref(), now, audit);
                catch_unwind(AssertUnwindSafe(tell))?;
            }
            Ok(decided)
        });
        let decided = told.unwrap_or_else(|_panic| {
            let decided = snapshot.panicked();
            decided.tell(incoming, None, now, audit);
            decided
        });
        if self.tracer.is_some() {
            traced::decided(&decided.decision);
        }
        if let Some(checks) = decided.policy.ok().and_then(|policy| policy.checks.as_ref()) {
            checks.count(matches!(decided.decision, Decision::Allow(_)));
        }
        in_flight.end(&decided.decision);
        decided.reply
    }
}

/// One line for each denial: where to find the request, and who rejected it why. No header but the request id, no query.
fn log(denial: &Denial, profile: Option<&[u8]>, incoming: &Incoming, request: Option<&Request<'_>>) {
    let short = |bytes: &[u8]| bytes[..bytes.len().min(LOGGED_BYTES)].to_str_lossy().into_owned();
    macro_rules! event {
        ($level:ident) => {{
            let request_id = request.and_then(Request::id);
            tracing::$level!(
                request_id = short(request_id.unwrap_or(incoming.stream_id())),
                rejected = rejected(denial),
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

/// Who refused and why, each in turn.
fn rejected(denial: &Denial) -> String {
    denial.rejections.iter().map(Rejection::to_string).collect::<Vec<_>>().join(", ")
}

/// As much of a client's words as a line of the log holds of each.
const LOGGED_BYTES: usize = 256;

#[cfg(test)]
mod tests;
