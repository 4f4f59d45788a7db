//! Impersonation: an upstream that is a kube-apiserver whose flags nobody can change is asked with a credential of our own, and told
//! in `Impersonate-*` headers as whom (`--identity-headers=impersonate`).
//!
//! Our credential may act as anybody, so whoever could add to these headers, or take from them, would be anybody. Therefore:
//!
//! - The credential and the user's name stand in one and the same answer, and each overwrites what the client sent.
//! - Clients that send `Impersonate-*` themselves are refused. With `--allow-impersonation` that is authorized here, before
//!   kube-apiserver would authorize it again and find that we may: each user, uid, group and extra value by a SubjectAccessReview
//!   about who the client is, as kube-apiserver does with its own clients (k8s.io/apiserver/pkg/endpoints/filters/impersonation,
//!   v1.36.3). What the answer then carries is the user that kube-apiserver would have made of it.
//! - Nor may a client name these headers as hop-by-hop ones in `Connection`. Envoy passes that on where a connection is upgraded, and
//!   a load balancer in front of kube-apiserver might drop them.
//!
//! The user upstream is exactly the identity, but for an extra key without values, which no header can carry.
//!
//! Of kube-apiserver's ways to authorize impersonation this is the first and simplest, the verb `impersonate`, which it calls legacy.
//! It tries "constrained" ones before (`ConstrainedImpersonation`, on by default since 1.36), which depend on what is to be done with
//! it. Who may impersonate only by those is refused here; and who may act as a node by both is not in `system:nodes` here.

mod headers;
mod token;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use bstr::ByteSlice;

use crate::authn::token::service_account::{group_names, split_username};
use crate::cluster::{AccessReviews, ResourceAttributes, Subject, Unavailable};
use crate::decision::{Authenticated, Reason};
use crate::identity::{ALL_UNAUTHENTICATED, ANONYMOUS, Extra, Groups, Identity};
use crate::request::Headers;
use crate::trace;

pub use token::{TokenError, UpstreamToken};

use headers::{Wanted, is_impersonation};

/// How the upstream is told who somebody is, where that is by impersonation.
#[derive(Debug, Clone)]
pub struct Impersonation {
    /// Our own credential.
    pub token: UpstreamToken,
    /// Where to ask whether clients may act as somebody else; none: they may not.
    pub reviews: Option<Arc<AccessReviews>>,
}

/// So many questions are asked about one request. kube-apiserver asks any number, of itself.
const MAX_REVIEWS: usize = 64;

impl Impersonation {
    /// As whom a request is made: by whoever has authenticated, unless its headers ask for somebody else and the cluster allows that.
    ///
    /// # Errors
    /// Why it is not.
    pub async fn acting(&self, who: Authenticated, headers: &Headers<'_>) -> Result<Authenticated, Reason> {
        let mut asks = false;
        for (name, value) in headers.iter() {
            if is_impersonation(name) {
                asks = true;
            } else if name.eq_ignore_ascii_case(b"connection") && drops_identity(value) {
                return Err(Reason::ImpersonationNotAllowed);
            }
        }
        if !asks {
            return Ok(who);
        }
        let reviews = self.reviews.as_ref().ok_or(Reason::ImpersonationNotAllowed)?;
        // On the heap, since every Check would have to have room for it.
        Box::pin(impersonate(reviews, who, headers)).await
    }
}

/// As whom a client acts that asks for somebody, if the cluster allows that.
async fn impersonate(
    reviews: &AccessReviews,
    who: Authenticated,
    headers: &Headers<'_>,
) -> Result<Authenticated, Reason> {
    let Some(wanted) = Wanted::read(headers)? else { return Ok(who) };
    let attempt = reviews.statistics().attempts.begin();
    let accesses = accesses(&wanted);
    if accesses.len() > MAX_REVIEWS {
        return Err(Reason::MalformedImpersonation);
    }
    let subject = subject(&who.identity);
    match trace::asking("SubjectAccessReview", reviews.all_allowed(&subject, &accesses)).await {
        Ok(true) => {}
        Ok(false) => return Err(Reason::ImpersonationForbidden),
        Err(Unavailable) => return Err(Reason::ImpersonationUnavailable),
    }
    attempt.allowed();
    let identity = Arc::new(impersonated(wanted));
    // The upstream's audit log knows ourselves and the one, and not who that really was.
    let [user, impersonated] = [&who.identity, &identity].map(|i| short(&i.username));
    tracing::info!(user, impersonated, "impersonating");
    Ok(Authenticated::new(identity, who.by))
}

/// As much of a name as a line of the log holds, in characters.
const LOGGED: usize = 256;

fn short(name: &str) -> String {
    name.chars().take(LOGGED).collect()
}

/// Whether a `Connection` header asks the next hop to drop what says who somebody is.
fn drops_identity(connection: &[u8]) -> bool {
    let mut names = connection.split(|byte| *byte == b',').map(ByteSlice::trim);
    names.any(|name| is_impersonation(name) || name.eq_ignore_ascii_case(b"authorization"))
}

fn subject(identity: &Identity) -> Subject<'_> {
    let extra = identity.extra.iter().map(|(key, values)| (key, values.collect()));
    Subject {
        user: &identity.username,
        uid: &identity.uid,
        groups: identity.groups().collect(),
        extra: extra.collect::<BTreeMap<_, _>>(),
    }
}

/// What somebody who acts as this one has to be allowed, in the order in which it is asked. Go: `authorizeUsername`, `authorizeUID`,
/// `authorizeGroups` and `authorizeExtra` of mode.go, for the verb `impersonate`.
fn accesses(wanted: &Wanted) -> Vec<ResourceAttributes<'_>> {
    let core = ResourceAttributes { verb: "impersonate", version: "v1", ..ResourceAttributes::default() };
    let authentication = ResourceAttributes { group: "authentication.k8s.io", ..core.clone() };
    let user = match split_username(&wanted.username) {
        Some((namespace, name)) => {
            ResourceAttributes { resource: "serviceaccounts", namespace, name, ..core.clone() }
        }
        None => ResourceAttributes { resource: "users", name: &wanted.username, ..core.clone() },
    };
    let uid = (!wanted.uid.is_empty()).then(|| ResourceAttributes {
        resource: "uids",
        name: &wanted.uid,
        ..authentication.clone()
    });
    let groups =
        wanted.groups.iter().map(|name| ResourceAttributes { resource: "groups", name, ..core.clone() });
    let extra = wanted.extra.iter().flat_map(|(key, values)| values.iter().map(move |name| (key, name)));
    let extra = extra.map(|(key, name)| ResourceAttributes {
        resource: "userextras",
        subresource: key,
        name,
        ..authentication.clone()
    });
    [user].into_iter().chain(uid).chain(groups).chain(extra).collect()
}

/// Who that is. Go: `impersonationModeState.check` of mode.go. `system:authenticated` is [`Identity::groups`]' to add.
fn impersonated(wanted: Wanted) -> Identity {
    let Wanted { username, uid, mut groups, extra } = wanted;
    if groups.is_empty()
        && let Some((namespace, _)) = split_username(&username)
    {
        groups.extend(group_names(namespace));
    }
    if *username == *ANONYMOUS && !groups.iter().any(|group| **group == *ALL_UNAUTHENTICATED) {
        groups.push(ALL_UNAUTHENTICATED.into());
    }
    Identity::new(username, uid, Groups::new(groups), Extra::new(extra))
}
