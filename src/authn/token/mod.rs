//! The authenticators that read a token, in the order in which kube-apiserver asks them. This is where those that wait
//! for something and those that do not come together.

mod audiences;
mod bootstrap;
pub mod cache;
pub mod jwt;
pub mod service_account;
mod taken_apart;
#[cfg(test)]
mod testing;
mod token_file;
pub mod webhook;

use std::sync::Arc;

use super::{AuthenticateToken, Now, Observer, Outcome, Token};
use crate::decision::Authenticator;
use crate::metrics::TokenCacheStatistics;

pub use bootstrap::{BootstrapSecrets, BootstrapTokens};
pub use cache::{Room, TokenCache, Ttl};
pub use jwt::JwtAuthenticators;
pub use service_account::ServiceAccount;
pub use taken_apart::TakenApart;
pub use token_file::TokenFile;
pub use webhook::Webhook;

/// One of the token authenticators.
#[derive(Debug)]
pub enum TokenAuthenticator {
    /// `--token-auth-file`.
    TokenFile(Arc<TokenFile>),
    /// `--service-account-key-file`.
    ServiceAccount(ServiceAccount),
    /// `--enable-bootstrap-token-auth`.
    Bootstrap(BootstrapTokens),
    /// `--oidc-*`, or `jwt` of the authentication configuration.
    Jwt(Arc<JwtAuthenticators>),
    /// `--authentication-token-webhook-config-file` or `--authentication-token-review`, with a memory of its own.
    Webhook(TokenCache<Webhook>),
}

impl TokenAuthenticator {
    /// A webhook, whose answers are remembered. Go: `newWebhookTokenAuthenticator` of
    /// k8s.io/kubernetes/pkg/kubeapiserver/authenticator/config.go.
    pub fn webhook(webhook: Webhook, statistics: Arc<TokenCacheStatistics>) -> Self {
        let ttl = webhook.cache_ttl();
        let ttl = Ttl { good: ttl, bad: ttl, refusals: false };
        Self::Webhook(TokenCache::new(webhook, Room::new(ttl, statistics)))
    }

    /// The same for another chain: it shares what is known, but not what is remembered. Tokens that have audiences must be meant for
    /// one of these, if they are given.
    pub fn wanting(&self, audiences: Option<&Arc<[Box<str>]>>) -> Self {
        match self {
            Self::TokenFile(authenticator) => Self::TokenFile(Arc::clone(authenticator)),
            Self::ServiceAccount(authenticator) => Self::ServiceAccount(authenticator.wanting(audiences)),
            Self::Bootstrap(authenticator) => Self::Bootstrap(authenticator.clone()),
            Self::Jwt(authenticators) => Self::Jwt(match audiences {
                None => Arc::clone(authenticators),
                Some(audiences) => Arc::new(authenticators.wanting(audiences)),
            }),
            Self::Webhook(cache) => Self::Webhook(cache.beside(|webhook| webhook.wanting(audiences))),
        }
    }

    /// Which one it is.
    pub fn name(&self) -> Authenticator {
        match self {
            Self::TokenFile(_) => Authenticator::TokenFile,
            Self::ServiceAccount(authenticator) => authenticator.name(),
            Self::Bootstrap(_) => Authenticator::Bootstrap,
            Self::Jwt(_) => Authenticator::Jwt,
            Self::Webhook(_) => Authenticator::Webhook,
        }
    }

    /// Whether all that it knows is in memory, so that to remember an answer would save nothing, and would hide changes.
    pub fn is_in_memory(&self) -> bool {
        match self {
            Self::TokenFile(_) | Self::Bootstrap(_) => true,
            Self::ServiceAccount(_) | Self::Jwt(_) | Self::Webhook(_) => false,
        }
    }
}

impl AuthenticateToken for TokenAuthenticator {
    async fn observed<O: Observer>(&self, token: Token<'_>, now: Now, observer: O) -> Outcome {
        observer.asked(self.name());
        let outcome = match self {
            Self::TokenFile(authenticator) => authenticator.authenticate(token),
            Self::ServiceAccount(authenticator) => authenticator.observed(token, now, observer.clone()).await,
            Self::Bootstrap(authenticator) => authenticator.authenticate(token, now),
            Self::Jwt(authenticators) => authenticators.observed(token, now, observer.clone()).await,
            Self::Webhook(authenticator) => authenticator.observed(token, now, observer.clone()).await,
        };
        observer.answered(self.name(), &outcome);
        outcome
    }
}
