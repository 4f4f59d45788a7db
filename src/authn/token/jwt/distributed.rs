//! Claims that are to be had elsewhere (OpenID Connect Core 1.0, section 5.6.2). Go: `claimResolver` of
//! k8s.io/apiserver/plugin/pkg/authenticator/token/oidc/oidc.go.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::claims::Claims;
use super::remote_keys::{Source, SourceError};
use super::{IssuerKeys, Remote, untrusted_issuer};
use crate::decision::Reason;
use crate::https::{Client, Get, Url};
use crate::jose::{MAX_TOKEN, UnverifiedToken};
use crate::json::{TypeError, Value};

/// So many issuers of distributed claims are known to one authenticator, beside its own; tokens that lead to more are refused. "It is
/// assumed that there will be very few", says Kubernetes, which has no limit.
pub(super) const MAX_ISSUERS: usize = 16;

/// So many tokens of one authenticator wait for their claims at once; more are refused without waiting.
const MAX_WAITING: usize = 128;

/// Gets one claim from where a token says that it is.
pub(super) struct ClaimResolver {
    /// The claim's name.
    claim: String,
    /// The authenticator's own issuer, whose authorities serve for the others.
    source: Source,
    client: Client,
    remote: Remote,
    issuers: Mutex<HashMap<String, Arc<IssuerKeys>>>,
    waiting: Semaphore,
}

impl fmt::Debug for ClaimResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClaimResolver").field("claim", &self.claim).finish_non_exhaustive()
    }
}

/// Where a claim is. It is a token: `Debug` would show it, so there is none.
pub(super) struct Endpoint {
    url: String,
    access_token: Zeroizing<String>,
}

impl ClaimResolver {
    pub(super) fn new(claim: String, source: Source, remote: Remote) -> Result<Self, SourceError> {
        let authorities = source.certificate_authority.as_deref().map(str::as_bytes);
        let client = Client::new(authorities, remote.proxies.clone())?;
        let waiting = Semaphore::new(MAX_WAITING);
        Ok(Self { claim, source, client, remote, issuers: Mutex::default(), waiting })
    }

    /// The claim's name.
    pub(super) fn claim(&self) -> &str {
        &self.claim
    }

    /// Where these claims say that the claim is, if it is not among them. Aggregated claims, which would be in the token itself, are
    /// not looked at. Go: `expand`.
    pub(super) fn endpoint(&self, claims: &Claims<'_>) -> Result<Option<Endpoint>, TypeError> {
        let Some(names) = claims.get("_claim_names").filter(|_| claims.get(&self.claim).is_none()) else {
            return Ok(None);
        };
        let mut source = None;
        for (name, value) in names.object_or_null()?.iter().flat_map(|names| names.members()) {
            let text = value.string()?;
            if name == self.claim {
                source = Some(text);
            }
        }
        let sources = claims.get("_claim_sources").ok_or(TypeError("claim sources"))?;
        let mut endpoints = BTreeMap::new();
        for (name, value) in sources.object_or_null()?.iter().flat_map(|sources| sources.members()) {
            let (mut url, mut access_token) = ("", "");
            if let Some(endpoint) = value.object_or_null()? {
                url = endpoint.string_field("endpoint")?;
                access_token = endpoint.string_field("access_token")?;
                endpoint.string_field("jwt")?;
            }
            endpoints.insert(name, (url, access_token));
        }
        let Some(source) = source else { return Ok(None) };
        let (url, access_token) = *endpoints.get(source).ok_or(TypeError("a source"))?;
        let access_token = Zeroizing::new(access_token.to_owned());
        Ok((!url.is_empty()).then(|| Endpoint { url: url.to_owned(), access_token }))
    }

    /// Fetches the token that has the claim, and finds the issuer that it says it is of, with its keys. Go: `resolve`.
    pub(super) async fn fetch(
        &self,
        endpoint: &Endpoint,
    ) -> Result<(Bytes, String, Arc<IssuerKeys>), Reason> {
        let _waiting = self.waiting.try_acquire().map_err(|_| Reason::DistributedClaimsUnavailable)?;
        let url = Url::parse(&endpoint.url).map_err(|_| Reason::DistributedClaims)?;
        let bearer = (!endpoint.access_token.is_empty()).then_some(&endpoint.access_token);
        // Go: `getClaimJWT`, up to http.StatusIMUsed.
        let get = Get { bearer, statuses: 200..=226, max_body: MAX_TOKEN, ..Get::new(&url) };
        let response = self.client.get(&get).await.map_err(|_| Reason::DistributedClaimsUnavailable)?;
        let token = UnverifiedToken::decode(&response.body).ok_or(Reason::DistributedClaims)?;
        let document = Value::parse(token.payload()).map_err(|_| Reason::DistributedClaims)?;
        let issuer = untrusted_issuer(&document).ok_or(Reason::DistributedClaims)?.to_owned();
        let keys = self.keys(&issuer)?;
        Ok((response.body, issuer, keys))
    }

    /// The keys of an issuer; those of a new one are not there at once. Go: `Verifier`.
    fn keys(&self, issuer: &str) -> Result<Arc<IssuerKeys>, Reason> {
        let mut issuers = self.issuers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(keys) = issuers.get(issuer) {
            return Ok(Arc::clone(keys));
        }
        if issuers.len() == MAX_ISSUERS {
            return Err(Reason::DistributedClaims);
        }
        let source = if issuer == self.source.url {
            self.source.clone()
        } else {
            Source { url: issuer.to_owned(), discovery_url: None, ..self.source.clone() }
        };
        let keys = self.remote.registry.keys(&source).map_err(|_| Reason::DistributedClaims)?;
        keys.start();
        issuers.insert(issuer.to_owned(), Arc::clone(&keys));
        Ok(keys)
    }
}
