//! The chain: which authenticators there are, and in which order they are asked.

mod profile;

use std::sync::Arc;

use crate::authn::token::{JwtAuthenticators, Room, TakenApart, TokenAuthenticator, TokenCache};
use crate::authn::{
    Anonymous, AuthenticateRequest, AuthenticateToken, Basic, Bearer, Now, Observer, Outcome, RequestHeader,
    Token, Union, WebSocket, X509,
};
use crate::decision::{Authenticator, Decision, Denial, Reason};
use crate::request::Request;

pub use profile::ChainProfile;

/// The token authenticators, asked in order.
type Tokens = Union<TokenMember>;

/// What a chain is made of: the members that the configuration asks for.
#[derive(Debug, Default)]
pub struct Members {
    /// `--requestheader-client-ca-file` and what goes with it.
    pub request_header: Option<Arc<RequestHeader>>,
    /// `--basic-auth-file`.
    pub basic: Option<Arc<Basic>>,
    /// `--client-ca-file`.
    pub x509: Option<Arc<X509>>,
    /// The token authenticators, in [`Members::into_chain`]'s order.
    pub tokens: Vec<TokenAuthenticator>,
    /// Where their answers are remembered.
    pub token_cache: Arc<Room>,
    /// Anonymous, if allowed at all.
    pub anonymous: Option<Anonymous>,
}

impl Members {
    /// The authenticators of JSON Web Tokens, whose keys somebody has to start, inside of a runtime.
    pub fn jwt(&mut self) -> Option<&mut Arc<JwtAuthenticators>> {
        self.tokens.iter_mut().find_map(|authenticator| match authenticator {
            TokenAuthenticator::Jwt(authenticators) => Some(authenticators),
            _ => None,
        })
    }

    /// Puts the members in order. Follows `Config.New` (k8s.io/kubernetes/pkg/kubeapiserver/authenticator/config.go, v1.36.3)
    /// step by step.
    ///
    /// Kubernetes hands the API audiences along with each request and wraps those authenticators that do not look at them
    /// (`WrapAudienceAgnosticToken`). Ours are the same for every request of a chain, so they are part of an authenticator's
    /// configuration, and the wrapper has nothing left to do.
    pub fn into_chain(self) -> Chain {
        let schemes = Schemes { basic: self.basic.is_some(), bearer: !self.tokens.is_empty() };
        let mut credentials = Vec::new();
        // A front proxy that has authenticated the user speaks for it, whatever else the request carries.
        credentials.extend(self.request_header.map(RequestAuthenticator::RequestHeader));

        // "front-proxy, BasicAuth methods, local first": basic stood here, before x509, until it was removed in 1.19.
        credentials.extend(self.basic.map(RequestAuthenticator::Basic));

        // A good certificate wins over any token.
        credentials.extend(self.x509.map(RequestAuthenticator::X509));

        // The token authenticators, "local first, then remote": token file, service accounts (legacy, then bound), bootstrap,
        // JWT ("keep the OpenID Connect after Service Accounts": whichever comes first costs the other), webhook.
        if !self.tokens.is_empty() {
            let tokens = Arc::new(tokens(self.tokens, self.token_cache));
            credentials.push(RequestAuthenticator::Bearer(Bearer::new(Arc::clone(&tokens))));
            credentials.push(RequestAuthenticator::WebSocket(WebSocket::new(tokens)));
        }

        // The group adder is `Identity::groups`; it applies to whatever the union says.

        // Anonymous stands outside the union: "don't consider a bad bearer token or invalid username/password combination
        // anonymous".
        Chain { credentials: Union::new(credentials), anonymous: self.anonymous, schemes }
    }
}

/// The token authenticators, and a memory for the answers of those that take time: they verify signatures, or ask somebody. The others come first,
/// though in Go bootstrap tokens come after service accounts and are remembered, too: no two of them have an opinion on one token, but
/// for the token file, which is the first in Go as well.
fn tokens(members: Vec<TokenAuthenticator>, room: Arc<Room>) -> Tokens {
    let ttl = room.ttl();
    if ttl.good.is_zero() && ttl.bad.is_zero() {
        return Union::new(members.into_iter().map(TokenMember::Asked));
    }
    let (asked, remembered): (Vec<_>, Vec<_>) =
        members.into_iter().partition(TokenAuthenticator::is_in_memory);
    let remembered = (!remembered.is_empty())
        .then(|| TokenMember::Remembered(TokenCache::new(TakenApart(Union::new(remembered)), room)));
    Union::new(asked.into_iter().map(TokenMember::Asked).chain(remembered))
}

/// One that is asked for each token, or several that are asked once in a while.
#[derive(Debug)]
enum TokenMember {
    Asked(TokenAuthenticator),
    Remembered(TokenCache<TakenApart<Union<TokenAuthenticator>>>),
}

impl AuthenticateToken for TokenMember {
    async fn observed<O: Observer>(&self, token: Token<'_>, now: Now, observer: O) -> Outcome {
        match self {
            Self::Asked(authenticator) => authenticator.observed(token, now, observer).await,
            Self::Remembered(cache) => cache.observed(token, now, observer).await,
        }
    }
}

/// Who is calling? Immutable; a new configuration makes a new one.
#[derive(Debug)]
pub struct Chain {
    credentials: Union<RequestAuthenticator>,
    anonymous: Option<Anonymous>,
    schemes: Schemes,
}

/// The HTTP authentication schemes that a client may try (RFC 9110, section 11.6.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schemes {
    /// RFC 6750.
    pub bearer: bool,
    /// RFC 7617.
    pub basic: bool,
}

impl Chain {
    /// The verdict on a request.
    pub fn decide(&self, request: &Request<'_>, now: Now) -> impl Future<Output = Decision> + Send {
        self.decide_observed(request, now, ())
    }

    /// The verdict on a request. Tells `observer` how it came about.
    pub async fn decide_observed<O: Observer>(
        &self,
        request: &Request<'_>,
        now: Now,
        observer: O,
    ) -> Decision {
        match self.credentials.observed(request, now, observer.clone()).await {
            Outcome::Authenticated(authenticated) => Decision::Allow(authenticated),
            Outcome::Rejected(rejections) => Decision::Deny(Denial { rejections }),
            // Only silence becomes anonymous.
            Outcome::NoOpinion => match self.anonymous(request, observer) {
                Outcome::Authenticated(authenticated) => Decision::Allow(authenticated),
                _ => Decision::Deny(Denial::new(Authenticator::Chain, Reason::NoCredentials)),
            },
        }
    }

    fn anonymous(&self, request: &Request<'_>, observer: impl Observer) -> Outcome {
        let Some(anonymous) = &self.anonymous else { return Outcome::NoOpinion };
        observer.asked(Authenticator::Anonymous);
        let outcome = anonymous.authenticate(request).map_or(Outcome::NoOpinion, Outcome::Authenticated);
        observer.answered(Authenticator::Anonymous, &outcome);
        outcome
    }

    /// Who is asked about a request, in order.
    pub fn authenticators(&self) -> impl Iterator<Item = Authenticator> {
        let anonymous = self.anonymous.as_ref().map(|_| Authenticator::Anonymous);
        self.credentials.members().iter().map(RequestAuthenticator::name).chain(anonymous)
    }

    /// Who is asked about a token, in order.
    pub fn token_authenticators(&self) -> Vec<Authenticator> {
        let tokens = self.credentials.members().iter().find_map(|member| match member {
            RequestAuthenticator::Bearer(bearer) => Some(bearer.tokens()),
            _ => None,
        });
        let names = |member: &TokenMember| match member {
            TokenMember::Asked(authenticator) => vec![authenticator.name()],
            TokenMember::Remembered(cache) => {
                cache.behind().0.members().iter().map(TokenAuthenticator::name).collect()
            }
        };
        tokens.into_iter().flat_map(Union::members).flat_map(names).collect()
    }

    /// The schemes in force, to challenge a client with.
    pub fn schemes(&self) -> Schemes {
        self.schemes
    }
}

/// One of the request authenticators.
#[derive(Debug)]
enum RequestAuthenticator {
    RequestHeader(Arc<RequestHeader>),
    Basic(Arc<Basic>),
    X509(Arc<X509>),
    Bearer(Bearer<Tokens>),
    WebSocket(WebSocket<Tokens>),
}

impl RequestAuthenticator {
    fn name(&self) -> Authenticator {
        match self {
            Self::RequestHeader(_) => Authenticator::RequestHeader,
            Self::Basic(_) => Authenticator::Basic,
            Self::X509(_) => Authenticator::X509,
            Self::Bearer(_) => Authenticator::Bearer,
            Self::WebSocket(_) => Authenticator::WebSocket,
        }
    }
}

impl AuthenticateRequest for RequestAuthenticator {
    async fn observed<O: Observer>(&self, request: &Request<'_>, now: Now, observer: O) -> Outcome {
        observer.asked(self.name());
        let outcome = match self {
            Self::RequestHeader(a) => a.observed(request, now, observer.clone()).await,
            Self::Basic(a) => a.observed(request, now, observer.clone()).await,
            Self::X509(a) => a.observed(request, now, observer.clone()).await,
            Self::Bearer(a) => a.observed(request, now, observer.clone()).await,
            Self::WebSocket(a) => a.observed(request, now, observer.clone()).await,
        };
        observer.answered(self.name(), &outcome);
        outcome
    }
}

#[cfg(test)]
mod tests;
