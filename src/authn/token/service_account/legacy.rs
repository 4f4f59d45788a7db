//! Tokens that Kubernetes wrote into Secrets for good (Go: k8s.io/kubernetes/pkg/serviceaccount/legacy.go).

use super::account::{ServiceAccountInfo, split_username};
use super::claims::{PublicClaims, string};
use crate::decision::Reason;
use crate::identity::Identity;
use crate::jose::json::Object;

/// The issuer of all legacy tokens, of whatever cluster. Go: `LegacyIssuer`.
pub(super) const ISSUER: &str = "kubernetes/serviceaccount";

/// The account of a verified token. Its times do not matter, as in Go. Go: `legacyValidator.Validate`.
pub(super) fn validate(
    public: &PublicClaims<'_>,
    claims: &Object<'_>,
    lookup: bool,
) -> Result<Identity, Reason> {
    // Go: legacyPrivateClaims.
    let name = string(claims, "kubernetes.io/serviceaccount/service-account.name")?;
    let uid = string(claims, "kubernetes.io/serviceaccount/service-account.uid")?;
    let secret = string(claims, "kubernetes.io/serviceaccount/secret.name")?;
    let namespace = string(claims, "kubernetes.io/serviceaccount/namespace")?;
    if [public.subject, namespace, secret, name, uid].contains(&"")
        || split_username(public.subject) != Some((namespace, name))
    {
        return Err(Reason::ServiceAccountClaims);
    }
    if lookup {
        return Err(Reason::NeverExpires);
    }
    Ok(ServiceAccountInfo { namespace, name, uid, ..ServiceAccountInfo::default() }.identity())
}
