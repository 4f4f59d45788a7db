//! What can go wrong with an issuer's keys. No text of the issuer's is in here.

use thiserror::Error;

use crate::https::{self, ClientError, UrlError};

/// A source that can never be used.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum SourceError {
    /// The issuer's URL, or its discovery URL.
    #[error("{0}")]
    Url(#[from] UrlError),
    /// The certificate authorities.
    #[error("{0}")]
    Roots(#[from] ClientError),
}

/// Why an attempt to fetch keys failed.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum FetchError {
    /// The discovery document could not be fetched.
    #[error("discovery: {0}")]
    Discovery(https::Error),
    /// It is no JSON, or not of the right shape.
    #[error("discovery: the document is not OpenID Connect provider metadata")]
    MalformedDiscovery,
    /// It is about another issuer.
    #[error("discovery: the document is about another issuer")]
    OtherIssuer,
    /// It names no key set.
    #[error("discovery: the document has no jwks_uri")]
    NoKeySet,
    /// It names a key set at a URL that is not followed, one with `http://` for instance.
    #[error("discovery: the document's jwks_uri: {0}")]
    KeySetUrl(UrlError),
    /// The key set could not be fetched.
    #[error("keys: {0}")]
    Keys(https::Error),
    /// It cannot be read.
    #[error("keys: {0}")]
    MalformedKeys(MalformedKeys),
    /// The code that fetches panicked.
    #[error("panicked")]
    Panicked,
}

/// A body that is no JWK set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("not a JWK set")]
pub struct MalformedKeys;

/// Why there are no other keys to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NoNewerKeys {
    /// The issuer has no others, as of at most [`MIN_INTERVAL`](super::MIN_INTERVAL) ago: the token's key is unknown.
    #[error("the issuer has no other keys")]
    Unknown,
    /// The issuer could not be asked, or has not answered in time: nobody can tell, and a retry may succeed.
    #[error("the issuer cannot be asked for other keys")]
    Unavailable,
}
