//! The credential with which the upstream is asked.

use std::fmt;
use std::sync::Arc;

use bstr::ByteSlice;
use thiserror::Error;
use zeroize::Zeroizing;

/// A token is not longer, in bytes: it goes with every request. A service account's has about a thousand.
const MAX_TOKEN: usize = 8 << 10;

/// A bearer token of ours. It has no face, and its memory is wiped.
#[derive(Clone)]
pub struct UpstreamToken(Arc<Zeroizing<String>>);

/// Why there is no token in a file, of which nothing is quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenError {
    /// There is nothing, or nothing but white space.
    #[error("is empty; it must hold the token of an account that may impersonate")]
    Empty,
    /// It could not stand in a header as it is.
    #[error("must hold one token: letters, digits and punctuation, with no white space or line end within")]
    Malformed,
    /// It would not fit beside what else a request has.
    #[error("holds more than {MAX_TOKEN} bytes, which is no token")]
    TooLong,
}

impl UpstreamToken {
    /// Takes the content of a file, less white space around it. Go: `fileTokenSource` of k8s.io/client-go/transport/token_source.go.
    ///
    /// # Errors
    /// It holds no token.
    pub fn new(content: &[u8]) -> Result<Self, TokenError> {
        let token = content.trim_ascii();
        if token.is_empty() {
            return Err(TokenError::Empty);
        }
        if token.len() > MAX_TOKEN {
            return Err(TokenError::TooLong);
        }
        let token = token.to_str().ok().filter(|token| token.bytes().all(|byte| byte.is_ascii_graphic()));
        let token = token.ok_or(TokenError::Malformed)?;
        const SCHEME: &str = "Bearer ";
        // Made as long as it gets, so that no part of it is left behind where it was shorter.
        let mut authorization = Zeroizing::new(String::with_capacity(SCHEME.len() + token.len()));
        authorization.push_str(SCHEME);
        authorization.push_str(token);
        Ok(Self(Arc::new(authorization)))
    }

    /// The value of the Authorization header.
    pub fn authorization(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for UpstreamToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UpstreamToken(..)")
    }
}
