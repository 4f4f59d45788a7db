//! Tokens of the TokenRequest API (Go: k8s.io/kubernetes/pkg/serviceaccount/claims.go).

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::FutureExt;

use super::account::{ServiceAccountInfo, is_dns_label, is_dns_subdomain};
use super::claims::{MalformedClaims, NumericDate, PublicClaims, string, unique};
use super::getter::{ServiceAccountTokenGetter, found};
use crate::authn::Now;
use crate::cluster;
use crate::decision::{Lasts, Reason, Standing};
use crate::identity::Identity;
use crate::json::{Object, Value};
use crate::metrics::ServiceAccountStatistics;

/// The claim `kubernetes.io`. Go: `kubernetes`.
#[derive(Default)]
struct Kubernetes<'a> {
    namespace: &'a str,
    account: Ref<'a>,
    pod: Option<Ref<'a>>,
    secret: Option<Ref<'a>>,
    node: Option<Ref<'a>>,
    /// After this, whoever has the token should have fetched another. It decides about nothing.
    warn_after: Option<NumericDate>,
}

/// A reference to an object. Go: `ref`.
#[derive(Default, Clone, Copy)]
struct Ref<'a> {
    name: &'a str,
    uid: &'a str,
}

impl<'a> Kubernetes<'a> {
    fn read(value: &'a Value<'a>) -> Result<Self, MalformedClaims> {
        let Some(members) = unique(value)? else { return Ok(Self::default()) };
        let object = |name| members.get(name).map_or(Ok(None), Ref::read);
        Ok(Self {
            namespace: string(members, "namespace")?,
            account: object("serviceaccount")?.unwrap_or_default(),
            pod: object("pod")?,
            secret: object("secret")?,
            node: object("node")?,
            warn_after: members.get("warnafter").map_or(Ok(None), NumericDate::read)?,
        })
    }

    /// The Node, if the token is bound to it: of a Pod's Node "just extract the node claims".
    fn bound_node(&self) -> Option<Ref<'a>> {
        self.node.filter(|_| self.pod.is_none())
    }

    /// Whether a cluster can have all the objects that Go looks for.
    fn can_be(&self) -> bool {
        let looked_for = [Some(self.account), self.secret, self.pod, self.bound_node()];
        is_dns_label(self.namespace) && looked_for.into_iter().flatten().all(Ref::can_be)
    }

    /// Whether the cluster has them all.
    async fn is_live<G: ServiceAccountTokenGetter>(&self, getter: &G, now: Now) -> Result<(), Reason> {
        let Self { namespace, account, .. } = *self;
        let object =
            found(getter.get_service_account(namespace, account.name).await, Reason::ServiceAccountGone)?;
        account.check(&object, now, Reason::ServiceAccountGone)?;

        let gone = Reason::BoundObjectGone;
        if let Some(secret) = self.secret {
            secret.check(&found(getter.get_secret(namespace, secret.name).await, gone)?, now, gone)?;
        }
        if let Some(pod) = self.pod {
            pod.check(&found(getter.get_pod(namespace, pod.name).await, gone)?, now, gone)?;
        }
        if let Some(node) = self.bound_node() {
            node.check(&found(getter.get_node(node.name).await, gone)?, now, gone)?;
        }
        Ok(())
    }
}

impl<'a> Ref<'a> {
    fn read(value: &'a Value<'a>) -> Result<Option<Self>, MalformedClaims> {
        let Some(members) = unique(value)? else { return Ok(None) };
        Ok(Some(Self { name: string(members, "name")?, uid: string(members, "uid")? }))
    }

    /// Whether a cluster can have such an object.
    fn can_be(self) -> bool {
        is_dns_subdomain(self.name) && !self.uid.is_empty()
    }

    /// Whether the object of this name is the one that is meant, and is not being deleted since more than a minute: "consider things
    /// deleted prior to now()-leeway to be invalid".
    fn check(self, object: &cluster::Object, now: Now, gone: Reason) -> Result<(), Reason> {
        let deleted = object.deletion_timestamp().map(NumericDate::of);
        match object.has_uid(self.uid) && !deleted.is_some_and(|date| date.is_past(now)) {
            true => Ok(()),
            false => Err(gone),
        }
    }
}

/// The account of a verified token. Go: `validator.Validate`. Without a getter this only looks whether there can be the objects that
/// Go looks for.
pub(super) async fn validate<G: ServiceAccountTokenGetter>(
    public: &PublicClaims<'_>,
    claims: &Object<'_>,
    now: Now,
    getter: Option<&Arc<G>>,
    statistics: &ServiceAccountStatistics,
) -> Result<(Identity, Lasts), Reason> {
    let kubernetes =
        claims.get("kubernetes.io").map_or_else(|| Ok(Kubernetes::default()), Kubernetes::read)?;
    public.check_time(now)?;
    if getter.is_none() && public.expiry.is_none() {
        return Err(Reason::NeverExpires);
    }
    if !kubernetes.can_be() {
        return Err(Reason::ServiceAccountClaims);
    }
    let lasts = match getter {
        None => public.expiry.and_then(NumericDate::end).map_or(Lasts::NoLonger, Lasts::Until),
        Some(getter) => {
            kubernetes.is_live(&**getter, now).await?;
            Lasts::While(Arc::new(Live::new(&kubernetes, public.expiry, getter)))
        }
    };
    if let Some(warn_after) = kubernetes.warn_after.filter(|date| *date != NumericDate::of(0)) {
        statistics.projected(warn_after.is_before(now));
    }
    let Kubernetes { namespace, account, pod, node, .. } = kubernetes;
    let (pod, node) = (pod.unwrap_or_default(), node.unwrap_or_default());
    let info = ServiceAccountInfo {
        namespace,
        name: account.name,
        uid: account.uid,
        pod_name: pod.name,
        pod_uid: pod.uid,
        node_name: node.name,
        node_uid: node.uid,
        token_id: public.id,
    };
    Ok((info.identity(), lasts))
}

/// What a token that has been verified depends on.
struct Live<G> {
    expiry: Option<NumericDate>,
    namespace: Box<str>,
    account: OwnedRef,
    pod: Option<OwnedRef>,
    secret: Option<OwnedRef>,
    node: Option<OwnedRef>,
    getter: Arc<G>,
}

/// A [`Ref`] that outlives its token.
struct OwnedRef {
    name: Box<str>,
    uid: Box<str>,
}

impl OwnedRef {
    fn of(of: Ref<'_>) -> Self {
        Self { name: of.name.into(), uid: of.uid.into() }
    }

    fn get(&self) -> Ref<'_> {
        Ref { name: &self.name, uid: &self.uid }
    }
}

impl<G> Live<G> {
    fn new(kubernetes: &Kubernetes<'_>, expiry: Option<NumericDate>, getter: &Arc<G>) -> Self {
        Self {
            expiry,
            namespace: kubernetes.namespace.into(),
            account: OwnedRef::of(kubernetes.account),
            pod: kubernetes.pod.map(OwnedRef::of),
            secret: kubernetes.secret.map(OwnedRef::of),
            node: kubernetes.node.map(OwnedRef::of),
            getter: Arc::clone(getter),
        }
    }
}

impl<G: ServiceAccountTokenGetter> Standing for Live<G> {
    /// Objects that are known are looked at again, each time.
    fn stands(&self, now: SystemTime) -> bool {
        let now = Now(now);
        let kubernetes = Kubernetes {
            namespace: &self.namespace,
            account: self.account.get(),
            pod: self.pod.as_ref().map(OwnedRef::get),
            secret: self.secret.as_ref().map(OwnedRef::get),
            node: self.node.as_ref().map(OwnedRef::get),
            warn_after: None,
        };
        !self.expiry.is_some_and(|expiry| expiry.is_past(now))
            && kubernetes.is_live(&*self.getter, now).now_or_never() == Some(Ok(()))
    }
}

impl<G> fmt::Debug for Live<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Live(..)")
    }
}
