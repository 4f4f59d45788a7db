//! JSON Web Tokens of OpenID Connect issuers: `--oidc-*`, or `jwt` of the authentication configuration. Go:
//! k8s.io/apiserver/plugin/pkg/authenticator/token/oidc/oidc.go (1.36.3) over github.com/coreos/go-oidc (2.5.0).
//!
//! ```text
//!   token ── untrusted issuer ──▶ authenticator of that issuer
//!                                   │ verifier     signature, issuer, audience, time
//!                                   │ distributed  groups that are to be had elsewhere
//!                                   ▼ mapping      name, groups, uid, extra; rules
//!                                 identity
//! ```
//!
//! Stricter than Kubernetes, beside what [`crate::jose`] and [`crate::https`] are stricter in:
//!
//! - times beyond an int64 (`1e300`), of which Go's reading depends on the processor;
//! - with expressions, a number beyond a float64 in any claim, whether an expression looks at it or not;
//! - the issuers of distributed claims, and the tokens that wait for them, are limited in number.

mod claims;
mod distributed;
mod mapping;
pub mod remote_keys;
pub mod settings;
mod verifier;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use super::taken_apart::Parts;
use crate::authn::{AuthenticateToken, Now, Observer, Outcome, Token};
use crate::decision::{Authenticated, Authenticator, Lasts, Reason, Standing};
use crate::https::Proxies;
use crate::identity::Identity;
use crate::jose::{Algorithm, JsonWebKeySet, SignedToken, UnverifiedToken};
use crate::json::{Object, Value};
use crate::metrics::{Metrics, Verification};

use claims::Claims;
use distributed::ClaimResolver;
use remote_keys::{KeySet, MalformedKeys, Registry, RemoteKeys, Source, SourceError};
use settings::{JwtAuthenticator, PrefixedClaimOrExpression};
use verifier::{Expectations, GOOGLE, GOOGLE_WITHOUT_SCHEME};

/// The keys of an issuer.
pub type IssuerKeys = RemoteKeys<JsonWebKeySet>;

impl KeySet for JsonWebKeySet {
    fn parse(body: &[u8]) -> Result<Self, MalformedKeys> {
        Self::parse(body).map_err(|_| MalformedKeys)
    }

    fn key_count(&self) -> usize {
        self.len()
    }
}

/// What is fetched, and how. It outlives configurations: one that is loaded anew finds the keys that are there already.
#[derive(Debug, Clone)]
pub struct Remote {
    registry: Arc<Registry<JsonWebKeySet>>,
    proxies: Proxies,
    /// Where it is counted what becomes of it.
    metrics: Arc<Metrics>,
}

impl Remote {
    /// Everything is fetched by way of `proxies`.
    pub fn new(proxies: Proxies) -> Self {
        Self { registry: Arc::new(Registry::new(proxies.clone())), proxies, metrics: Arc::default() }
    }

    /// Where things are counted that outlive configurations.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// The way to everything.
    pub fn proxies(&self) -> &Proxies {
        &self.proxies
    }
}

/// All authenticators of JSON Web Tokens. A token is a matter of the one whose issuer it names, so that its cost does not grow with
/// their number. Go: `tokenunion.NewFailOnError` of k8s.io/kubernetes/pkg/kubeapiserver/authenticator/config.go, whose first error
/// ends the search; since no two have one issuer, no other would have had an opinion.
pub struct JwtAuthenticators {
    by_issuer: Arc<HashMap<String, Issuer>>,
    /// A token has to be for one of these, too.
    audiences: Option<Arc<[Box<str>]>>,
}

/// One issuer and what its tokens are worth.
struct Issuer {
    keys: Arc<IssuerKeys>,
    expectations: Expectations,
    resolver: Option<ClaimResolver>,
    settings: JwtAuthenticator,
    verification: Arc<Verification>,
}

impl fmt::Debug for JwtAuthenticators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.by_issuer.keys()).finish()
    }
}

impl JwtAuthenticators {
    /// Authenticators for `settings`, no two of which have one issuer URL. Their keys are fetched once [`IssuerKeys::start`] says so.
    ///
    /// # Errors
    /// A URL or a bundle of certificate authorities that cannot be used.
    pub fn new(
        settings: impl IntoIterator<Item = JwtAuthenticator>,
        remote: &Remote,
    ) -> Result<Self, SourceError> {
        let issuer = |settings: JwtAuthenticator| {
            let issuer = Issuer::new(settings, remote)?;
            Ok::<_, SourceError>((issuer.settings.issuer.url.clone(), issuer))
        };
        let by_issuer = settings.into_iter().map(issuer).collect::<Result<_, _>>()?;
        Ok(Self { by_issuer: Arc::new(by_issuer), audiences: None })
    }

    /// The same issuers, with the same keys; but a token has to be for one of these, besides being for one of its issuer's audiences.
    pub(super) fn wanting(&self, audiences: &Arc<[Box<str>]>) -> Self {
        Self { by_issuer: Arc::clone(&self.by_issuer), audiences: Some(Arc::clone(audiences)) }
    }

    /// The keys of every issuer, to start and to ask how they are doing.
    pub fn keys(&self) -> impl Iterator<Item = &Arc<IssuerKeys>> {
        self.by_issuer.values().map(|issuer| &issuer.keys)
    }

    /// The keys that `other` has not got, which is to say that it fetches none from there.
    pub fn keys_not_of<'a>(&'a self, other: &'a Self) -> impl Iterator<Item = &'a Arc<IssuerKeys>> {
        let has = move |keys: &Arc<IssuerKeys>| other.keys().any(|other| Arc::ptr_eq(other, keys));
        self.keys().filter(move |keys| !has(keys))
    }
}

impl AuthenticateToken for JwtAuthenticators {
    async fn observed<O: Observer>(&self, token: Token<'_>, now: Now, observer: O) -> Outcome {
        let parts = Parts::of(token);
        let claims = parts.claims();
        let Some((token, document)) = parts.or_those_of(token, claims.as_ref()) else {
            return Outcome::NoOpinion;
        };
        let issuer = untrusted_issuer(document).and_then(|issuer| self.by_issuer.get(issuer));
        let Some(issuer) = issuer else { return Outcome::NoOpinion };
        // In a box, so that a decision about another credential is not larger for it.
        let since = Instant::now();
        let wanted = self.audiences.as_deref();
        let identity = Box::pin(issuer.authenticate(token, document, wanted, now, observer)).await;
        issuer.verification.observe(identity.is_ok(), since.elapsed());
        match identity {
            Ok((identity, lasts)) => Outcome::Authenticated(Authenticated {
                identity: Arc::new(identity),
                by: Authenticator::Jwt,
                lasts,
            }),
            Err(reason) => Outcome::rejected(Authenticator::Jwt, reason),
        }
    }
}

/// The identity that a payload makes, as if its signature, issuer, audience and time had been verified: for fuzzing, which cannot
/// sign.
#[cfg(fuzzing)]
pub fn identity_of(settings: &JwtAuthenticator, payload: &[u8]) -> Option<Identity> {
    let document = claims_of(payload).ok()?;
    let claims = members_of(&document).ok()?;
    mapping::identity(settings, &Claims::new(claims)).ok()
}

impl Issuer {
    fn new(settings: JwtAuthenticator, remote: &Remote) -> Result<Self, SourceError> {
        // Only what is ASCII in a bundle matters.
        let authorities = settings.issuer.certificate_authority.as_deref().map(String::from_utf8_lossy);
        let source = Source {
            url: settings.issuer.url.clone(),
            discovery_url: settings.issuer.discovery_url.clone(),
            certificate_authority: authorities.map(String::from),
        };
        let resolver = match &settings.claim_mappings.groups {
            Some(PrefixedClaimOrExpression::Claim { claim, .. }) => {
                Some(ClaimResolver::new(claim.clone(), source.clone(), remote.clone())?)
            }
            _ => None,
        };
        let algorithms = settings.signing_algorithms.iter().filter_map(|name| Algorithm::named(name));
        Ok(Self {
            keys: remote.registry.keys(&source)?,
            expectations: Expectations {
                algorithms: algorithms.collect(),
                audiences: settings.issuer.audiences.clone(),
            },
            resolver,
            verification: remote.metrics.verifications.of(&source.url),
            settings,
        })
    }

    /// Whose token it is. Its payload has been read already, as `unverified`; if that turns out to be what is signed, it is not read
    /// again. Go: `jwtAuthenticator.AuthenticateToken`.
    async fn authenticate(
        &self,
        token: &UnverifiedToken<'_>,
        unverified: &Value<'_>,
        wanted: Option<&[Box<str>]>,
        now: Now,
        observer: impl Observer,
    ) -> Result<(Identity, Lasts), Reason> {
        let signed = token.parse().map_err(|_| Reason::MalformedToken)?;
        let (payload, set) = self.expectations.verify_signature(&signed, &self.keys, &observer).await?;
        let read;
        let claims = if payload == token.payload() {
            members_of(unverified)?
        } else {
            read = claims_of(payload)?;
            members_of(&read)?
        };
        let until = self.expectations.check(claims, &self.settings.issuer.url, wanted, now)?;
        let verified = Verified { until, keys: UsedKeys { of: Arc::clone(&self.keys), set }, others: None };
        let claims = Claims::new(claims);

        let own = |verified: Verified| Ok((mapping::identity(&self.settings, &claims)?, verified.lasts()));
        let Some(resolver) = &self.resolver else { return own(verified) };
        let endpoint = resolver.endpoint(&claims).map_err(|_| Reason::DistributedClaims)?;
        let Some(endpoint) = endpoint else { return own(verified) };
        let (token, issuer, keys) = resolver.fetch(&endpoint).await?;
        let signed = SignedToken::parse(&token).map_err(|_| Reason::MalformedToken)?;
        let (payload, set) = self.expectations.verify_signature(&signed, &keys, &()).await?;
        let document = claims_of(payload)?;
        let elsewhere = members_of(&document)?;
        let until_there = self.expectations.check(elsewhere, &issuer, None, now)?;
        let value = elsewhere.get(resolver.claim()).ok_or(Reason::DistributedClaims)?;
        let identity = mapping::identity(&self.settings, &claims.with(resolver.claim(), value))?;
        let until = verified.until.zip(until_there).map(|(here, there)| here.min(there));
        let others = Some(Box::new(UsedKeys { of: keys, set }));
        Ok((identity, Verified { until, others, ..verified }.lasts()))
    }
}

/// A token's signature, and that of a second one with distributed claims, as they were verified.
#[derive(Debug)]
struct Verified {
    /// None if the system's clock cannot say it.
    until: Option<SystemTime>,
    keys: UsedKeys,
    /// Those of the second token.
    others: Option<Box<UsedKeys>>,
}

/// Keys that verified a token, and whose they are.
#[derive(Debug)]
struct UsedKeys {
    of: Arc<IssuerKeys>,
    set: Arc<JsonWebKeySet>,
}

impl UsedKeys {
    fn are_current(&self) -> bool {
        self.of.current().is_some_and(|current| Arc::ptr_eq(&current, &self.set))
    }
}

impl Verified {
    fn lasts(self) -> Lasts {
        if self.until.is_some() { Lasts::While(Arc::new(self)) } else { Lasts::NoLonger }
    }
}

impl Standing for Verified {
    /// Once an issuer has other keys, the token is verified anew: it may be of one that was withdrawn.
    fn stands(&self, now: SystemTime) -> bool {
        self.until.is_some_and(|until| now <= until)
            && self.keys.are_current()
            && self.others.as_ref().is_none_or(|others| others.are_current())
    }
}

/// The issuer that a token says it is of, which nobody has verified yet; empty if it says nothing. Go: `untrustedIssuer`.
fn untrusted_issuer<'a>(document: &'a Value<'_>) -> Option<&'a str> {
    let issuer = document.object_or_null().ok()?.map_or(Ok(""), |claims| claims.string_field("iss")).ok()?;
    // OpenID Connect Core 1.0, section 15.6.2.
    Some(if issuer == GOOGLE_WITHOUT_SCHEME { GOOGLE } else { issuer })
}

fn claims_of(payload: &[u8]) -> Result<Value<'_>, Reason> {
    Value::parse(payload).map_err(|_| Reason::MalformedClaims)
}

fn members_of<'a>(document: &'a Value<'a>) -> Result<&'a Object<'a>, Reason> {
    document.object_or_null().ok().flatten().ok_or(Reason::MalformedClaims)
}
