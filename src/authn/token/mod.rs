//! The authenticators that read a token, in the order in which kube-apiserver asks them. This is where those that wait
//! for something and those that do not come together.

mod bootstrap;
pub mod jwt;
pub mod service_account;
mod token_file;
pub mod webhook;

use std::sync::Arc;

use super::{AuthenticateToken, Now, Outcome, Token};

pub use bootstrap::{BootstrapSecrets, BootstrapTokens};
pub use jwt::JwtAuthenticators;
pub use service_account::ServiceAccount;
pub use token_file::TokenFile;
pub use webhook::Webhook;

/// One of the token authenticators.
#[derive(Debug)]
pub enum TokenAuthenticator {
    /// `--token-auth-file`.
    TokenFile(Box<TokenFile>),
    /// `--service-account-key-file`.
    ServiceAccount(ServiceAccount),
    /// `--enable-bootstrap-token-auth`.
    Bootstrap(BootstrapTokens),
    /// `--oidc-*`, or `jwt` of the authentication configuration.
    Jwt(Arc<JwtAuthenticators>),
    /// `--authentication-token-webhook-config-file` or `--authentication-token-review`.
    Webhook(Box<Webhook>),
}

impl AuthenticateToken for TokenAuthenticator {
    async fn authenticate(&self, token: Token<'_>, now: Now) -> Outcome {
        match self {
            Self::TokenFile(authenticator) => authenticator.authenticate(token),
            Self::ServiceAccount(authenticator) => authenticator.authenticate(token, now).await,
            Self::Bootstrap(authenticator) => authenticator.authenticate(token, now),
            Self::Jwt(authenticators) => authenticators.authenticate(token, now).await,
            Self::Webhook(authenticator) => authenticator.authenticate(token, now).await,
        }
    }
}
