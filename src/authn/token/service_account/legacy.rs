//! Tokens that Kubernetes wrote into Secrets for good (Go: k8s.io/kubernetes/pkg/serviceaccount/legacy.go).

use super::account::{ServiceAccountInfo, is_dns_subdomain, split_username};
use super::claims::{PublicClaims, string};
use super::getter::{ServiceAccountTokenGetter, found};
use crate::authn::Token;
use crate::decision::Reason;
use crate::identity::Identity;
use crate::json::Object;
use crate::metrics::ServiceAccountStatistics;

/// The issuer of all legacy tokens, of whatever cluster. Go: `LegacyIssuer`.
pub(super) const ISSUER: &str = "kubernetes/serviceaccount";

/// The account of a verified token. Its times do not matter, as in Go. `lookup` says whether to look for its Secret and account; then
/// without a getter every token is refused. Go: `legacyValidator.Validate`.
pub(super) async fn validate<G: ServiceAccountTokenGetter>(
    token: Token<'_>,
    public: &PublicClaims<'_>,
    claims: &Object<'_>,
    lookup: bool,
    getter: Option<&G>,
    statistics: &ServiceAccountStatistics,
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
    let info = ServiceAccountInfo { namespace, name, uid, ..ServiceAccountInfo::default() };
    if lookup {
        is_live(token, &info, secret, getter.ok_or(Reason::NeverExpires)?, statistics).await?;
    }
    Ok(info.identity())
}

/// Whether the Secret still holds the token, and the account is still there. Unlike elsewhere, what is being deleted counts no more, at
/// once.
///
/// kube-apiserver then writes down in the Secret that the token has been used (`kubernetes.io/legacy-token-last-used`), and its cleaner
/// invalidates what has not been used for a year. That is not done here: countersign only reads.
async fn is_live<G: ServiceAccountTokenGetter>(
    token: Token<'_>,
    info: &ServiceAccountInfo<'_>,
    secret: &str,
    getter: &G,
    statistics: &ServiceAccountStatistics,
) -> Result<(), Reason> {
    // Go asks, and finds none.
    if !is_dns_subdomain(secret) {
        return Err(Reason::ServiceAccountClaims);
    }
    let invalidated = Reason::LegacyTokenInvalidated;
    let secret = found(getter.get_token_secret(info.namespace, secret).await, invalidated)?;
    if secret.object.deletion_timestamp().is_some() || !secret.holds(token.bytes) {
        return Err(invalidated);
    }
    let gone = Reason::ServiceAccountGone;
    let account = found(getter.get_service_account(info.namespace, info.name).await, gone)?;
    if account.deletion_timestamp().is_some() || !account.has_uid(info.uid) {
        return Err(gone);
    }
    if secret.invalid {
        statistics.invalidated();
        return Err(invalidated);
    }
    Ok(())
}
