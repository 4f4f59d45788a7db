//! Tokens of the TokenRequest API (Go: k8s.io/kubernetes/pkg/serviceaccount/claims.go).

use super::account::{ServiceAccountInfo, is_dns_label, is_dns_subdomain};
use super::claims::{MalformedClaims, NumericDate, PublicClaims, string, unique};
use crate::authn::Now;
use crate::decision::Reason;
use crate::identity::Identity;
use crate::jose::json::{Object, Value};

/// The claim `kubernetes.io`. Go: `kubernetes`.
#[derive(Default)]
struct Kubernetes<'a> {
    namespace: &'a str,
    account: Ref<'a>,
    pod: Option<Ref<'a>>,
    secret: Option<Ref<'a>>,
    node: Option<Ref<'a>>,
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
        // Kubernetes counts old tokens by it. Here only its type matters.
        members.get("warnafter").map_or(Ok(None), NumericDate::read)?;
        Ok(Self {
            namespace: string(members, "namespace")?,
            account: object("serviceaccount")?.unwrap_or_default(),
            pod: object("pod")?,
            secret: object("secret")?,
            node: object("node")?,
        })
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
}

/// The account of a verified token. Go: `validator.Validate`. Where Go looks for an object, this only looks whether there can be one.
pub(super) fn validate(public: &PublicClaims<'_>, claims: &Object<'_>, now: Now) -> Result<Identity, Reason> {
    let kubernetes =
        claims.get("kubernetes.io").map_or_else(|| Ok(Kubernetes::default()), Kubernetes::read)?;
    let Kubernetes { namespace, account, pod, secret, node } = kubernetes;
    public.check_time(now)?;
    if public.expiry.is_none() {
        return Err(Reason::NeverExpires);
    }
    // Go does not look for the Node of a Pod either.
    let looked_for = [Some(account), secret, pod, node.filter(|_| pod.is_none())];
    if !is_dns_label(namespace) || !looked_for.into_iter().flatten().all(Ref::can_be) {
        return Err(Reason::ServiceAccountClaims);
    }
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
    Ok(info.identity())
}
