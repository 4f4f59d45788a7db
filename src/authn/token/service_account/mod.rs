//! Service account tokens, `--service-account-key-file` (Go: k8s.io/kubernetes/pkg/serviceaccount, v1.36.3).
//!
//! There are two kinds, told apart by their issuer, and an authenticator for each:
//!
//! | | [`Kind::Legacy`] | [`Kind::Bound`] |
//! |---|---|---|
//! | issuer | `kubernetes/serviceaccount` | one of `--service-account-issuer` |
//! | comes from | a Secret | the TokenRequest API |
//! | expires | never | as its `exp` says |
//! | ends early | with its Secret and account | with its account, and the Pod, Node or Secret that it is bound to |
//!
//! The signature of both is verified with the same [`PublicKeys`]. What ends a token early is found by looking at the live objects that
//! it names, through a [`ServiceAccountTokenGetter`]. Without one (`--service-account-lookup-mode=offline`) that goes unnoticed: a bound
//! token counts until it expires, and one that never does is refused. So is a legacy token, unless `--service-account-lookup=false`
//! says that kube-apiserver would not look either.

mod account;
mod bound;
mod claims;
mod getter;
mod keys;
mod legacy;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use super::audiences::Audiences;
use super::taken_apart::Parts;
use crate::authn::{AuthenticateToken, Now, Observer, Outcome, Token};
use crate::cluster::Objects;
use crate::decision::{Authenticated, Authenticator, Lasts, Reason};
use crate::identity::Identity;
use crate::jose::SignedToken;
use crate::json::Value;
use crate::metrics::ServiceAccountStatistics;

use claims::PublicClaims;

pub use account::{group_names, split_username};
pub use getter::ServiceAccountTokenGetter;
pub use keys::{KeyError, MAX_KEYS, PublicKeys};

/// The authenticator of one kind of service account tokens. Go: `jwtTokenAuthenticator` of jwt.go.
pub struct ServiceAccount<G = Objects> {
    kind: Kind,
    keys: Arc<PublicKeys>,
    audiences: Audiences,
    getter: Option<Arc<G>>,
    statistics: Arc<ServiceAccountStatistics>,
}

/// Which tokens are meant, and how their claims are read. Go: `Validator`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Those in Secrets. Go: `legacyValidator` of legacy.go.
    Legacy {
        /// Whether the Secret and the account have to be looked at; then without a getter every token is refused.
        lookup: bool,
    },
    /// Those of the TokenRequest API. Go: `validator` of claims.go.
    Bound {
        /// Whose tokens: the values of `iss`.
        issuers: Box<[Box<str>]>,
    },
}

impl<G: ServiceAccountTokenGetter> ServiceAccount<G> {
    /// Tokens of this kind that one of `keys` has signed, and that are meant for one of `audiences` or for nobody in particular. The
    /// objects that they name are looked for with `getter`; without one they are not. Go: `JWTTokenAuthenticator`.
    pub fn new(
        kind: Kind,
        keys: Arc<PublicKeys>,
        audiences: Arc<[Box<str>]>,
        getter: Option<Arc<G>>,
    ) -> Self {
        Self { kind, keys, audiences: Audiences::of_api(audiences), getter, statistics: Arc::default() }
    }

    /// The same, counting there.
    pub fn counted(self, statistics: Arc<ServiceAccountStatistics>) -> Self {
        Self { statistics, ..self }
    }

    /// The same, for tokens that are meant for one of these. One that is for nobody in particular is for the audiences that it was made
    /// with, as in a TokenReview: it is good if these are among them.
    pub(super) fn wanting(&self, audiences: Option<&Arc<[Box<str>]>>) -> Self {
        let own = &self.audiences;
        Self {
            kind: self.kind.clone(),
            keys: Arc::clone(&self.keys),
            audiences: audiences.map_or_else(|| own.clone(), |wanted| own.wanting(wanted)),
            getter: self.getter.clone(),
            statistics: Arc::clone(&self.statistics),
        }
    }

    /// Which of the two it is.
    pub fn name(&self) -> Authenticator {
        match self.kind {
            Kind::Legacy { .. } => Authenticator::LegacyServiceAccount,
            Kind::Bound { .. } => Authenticator::ServiceAccount,
        }
    }

    /// Whose token it is. Its payload has been read already; if that turns out to be what is signed, it is not read again.
    async fn identity(
        &self,
        token: Token<'_>,
        signed: &SignedToken<'_>,
        (unverified, read): (&[u8], &Value<'_>),
        now: Now,
        observer: impl Observer,
    ) -> Result<(Identity, Lasts), Reason> {
        let keys = self.keys.candidates(signed.key_id());
        if keys.is_empty() {
            return Err(Reason::UnknownKey);
        }
        signed.algorithm().ok_or(Reason::UnsupportedAlgorithm)?;
        let verified = keys.iter().find_map(|key| Some((key, signed.verify(key).ok()?)));
        if let Some((key, _)) = verified {
            observer.verified(|| self.keys.id_of(key));
        }
        let payload = verified.map(|(_, payload)| payload);
        let payload = payload.ok_or_else(|| match keys.iter().any(|key| signed.is_beyond_us(key)) {
            true => Reason::UnsupportedSignature,
            false => Reason::InvalidSignature,
        })?;

        let read_anew;
        let claims = if payload == unverified {
            read
        } else {
            read_anew = Value::parse(payload).map_err(|_| Reason::MalformedClaims)?;
            &read_anew
        };
        let claims = claims::unique(claims)?.ok_or(Reason::MalformedClaims)?;
        let public = PublicClaims::read(claims)?;
        // It was read leniently before.
        if !self.is_issuer(public.issuer) {
            return Err(Reason::WrongIssuer);
        }
        if public.audiences.is_empty() {
            self.statistics.legacy();
        }
        // A token for nobody in particular is for kube-apiserver.
        if !self.audiences.meet(&public.audiences) {
            return Err(Reason::WrongAudience);
        }
        let getter = self.getter.as_ref();
        match self.kind {
            Kind::Legacy { lookup } => {
                let getter = getter.map(|getter| &**getter);
                let identity =
                    legacy::validate(token, &public, claims, lookup, getter, &self.statistics).await?;
                // Its Secret is looked at each time; what is found there is remembered for a moment as it is.
                Ok((identity, if lookup { Lasts::NoLonger } else { Lasts::Indefinitely }))
            }
            Kind::Bound { .. } => bound::validate(&public, claims, now, getter, &self.statistics).await,
        }
    }

    /// Whether the token is of this kind. Nothing in it has been verified yet. Go: `hasCorrectIssuer`.
    fn has_correct_issuer(&self, claims: &Value<'_>) -> bool {
        let Ok(Some(claims)) = claims.object_or_null() else { return false };
        claims.string_field("iss").is_ok_and(|issuer| self.is_issuer(issuer))
    }

    fn is_issuer(&self, issuer: &str) -> bool {
        match &self.kind {
            Kind::Legacy { .. } => issuer == legacy::ISSUER,
            Kind::Bound { issuers } => issuers.iter().any(|ours| **ours == *issuer),
        }
    }
}

impl<G: ServiceAccountTokenGetter> AuthenticateToken for ServiceAccount<G> {
    /// Go: `AuthenticateToken`.
    async fn observed<O: Observer>(&self, token: Token<'_>, now: Now, observer: O) -> Outcome {
        let parts = Parts::of(token);
        let claims = parts.claims();
        let Some((unverified, claims)) = parts.or_those_of(token, claims.as_ref()) else {
            return Outcome::NoOpinion;
        };
        if !self.has_correct_issuer(claims) {
            return Outcome::NoOpinion;
        }
        let Ok(signed) = unverified.parse() else { return Outcome::NoOpinion };
        let (by, read) = (self.name(), (unverified.payload(), claims));
        // Boxed, or every Check would be as large as what one that looks at objects keeps in mind.
        match Box::pin(self.identity(token, &signed, read, now, observer)).await {
            Ok((identity, lasts)) => {
                Outcome::Authenticated(Authenticated { identity: Arc::new(identity), by, lasts })
            }
            Err(reason) => Outcome::rejected(by, reason),
        }
    }
}

impl<G> fmt::Debug for ServiceAccount<G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let looks = if self.getter.is_some() { "" } else { ", offline" };
        write!(f, "ServiceAccount({:?}, {:?}, for {:?}{looks})", self.kind, self.keys, self.audiences)
    }
}
