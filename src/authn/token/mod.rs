//! The authenticators that read a token, in the order in which kube-apiserver asks them. This is where those that wait
//! for something and those that do not come together.

pub mod jwt;
mod token_file;

use super::{AuthenticateToken, Now, Outcome, Token};

pub use token_file::TokenFile;

/// One of the token authenticators.
#[derive(Debug)]
pub enum TokenAuthenticator {
    /// `--token-auth-file`.
    TokenFile(TokenFile),
}

impl AuthenticateToken for TokenAuthenticator {
    async fn authenticate(&self, token: Token<'_>, _now: Now) -> Outcome {
        match self {
            Self::TokenFile(authenticator) => authenticator.authenticate(token),
        }
    }
}
