//! What can go wrong, without a word of what was sent or received.

use std::io;

use thiserror::Error;

use super::url::UrlError;
use crate::pki::PoolError;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum Error {
    /// The host's name could not be resolved.
    #[error("the host's name cannot be resolved")]
    Dns,
    /// No connection to the server, or to the proxy.
    #[error("cannot connect: {0}")]
    Connect(io::ErrorKind),
    /// The proxy did not connect us to the server.
    #[error("the proxy did not connect us")]
    Proxy,
    /// No TLS with the server: its certificate is not trusted, say.
    #[error("TLS: {0}")]
    Tls(rustls::Error),
    /// The connection broke during the TLS handshake.
    #[error("the connection broke during the TLS handshake: {0}")]
    TlsBroken(io::ErrorKind),
    /// It took too long.
    #[error("timed out: {0}")]
    Timeout(Phase),
    /// The other side reset the connection (`ECONNRESET`) after the handshake.
    #[error("the connection was reset")]
    Reset,
    /// The connection broke, or what came was not HTTP within hyper's bounds.
    #[error("the connection broke, or the answer is not HTTP")]
    Http,
    /// Another status than was asked for.
    #[error("the answer's status is {0}")]
    Status(u16),
    /// A body that is larger than was asked for.
    #[error("the answer is larger than {limit} bytes")]
    TooLarge {
        /// The most bytes that were allowed.
        limit: usize,
    },
    /// A compressed body, which we did not ask for.
    #[error("the answer is compressed")]
    Compressed,
    /// A redirect that is not followed.
    #[error("redirected: {0}")]
    Redirect(RedirectError),
    /// The bearer token cannot stand in a header.
    #[error("the bearer token cannot stand in a header")]
    Bearer,
}

impl Error {
    /// Whether the other side reset the connection, at whatever point. Go: `IsConnectionReset` of k8s.io/apimachinery/pkg/util/net.
    pub fn is_reset(&self) -> bool {
        let reset = io::ErrorKind::ConnectionReset;
        matches!(self, Self::Reset) || *self == Self::Connect(reset) || *self == Self::TlsBroken(reset)
    }
}

/// What took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Phase {
    /// DNS and TCP, and the way through a proxy: [`CONNECT_TIMEOUT`](super::CONNECT_TIMEOUT).
    #[error("connecting")]
    Connect,
    /// The TLS handshake: [`TLS_HANDSHAKE_TIMEOUT`](super::TLS_HANDSHAKE_TIMEOUT).
    #[error("the TLS handshake")]
    Tls,
    /// Everything together, redirects and body included: [`TIMEOUT`](super::TIMEOUT).
    #[error("the whole exchange")]
    Whole,
}

/// Why a redirect is not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RedirectError {
    /// More than [`MAX_REDIRECTS`](super::MAX_REDIRECTS).
    #[error("too often")]
    TooMany,
    /// No `Location`, or one that is not text.
    #[error("to nowhere")]
    NoLocation,
    /// A `Location` that is not followed, one with `http://` for instance.
    #[error("{0}")]
    Location(UrlError),
}

/// Why a [`Client`](super::Client) cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ClientError {
    /// The bundle of authorities cannot be read.
    #[error("{0}")]
    Bundle(#[from] PoolError),
    /// The system has no roots, and no bundle was given.
    #[error("the system has no root certificates")]
    NoSystemRoots,
    /// There is no certificate in the PEM text that a client is to show.
    #[error("the client certificate: no PEM block of type CERTIFICATE")]
    NoCertificate,
    /// There is no private key in the PEM text that is to go with it.
    #[error("the client key: no private key in PEM (PKCS #8, PKCS #1 or SEC 1)")]
    NoKey,
    /// The private key is not that of the certificate, or of a kind that is not supported.
    #[error("the client key does not go with the client certificate")]
    KeyMismatch,
    /// The name that the server's certificate is to have is no DNS name and no IP address.
    #[error("the TLS server name is neither a DNS name nor an IP address")]
    ServerName,
    /// There is no TLS to be had from the crypto library.
    #[error("no TLS")]
    NoTls,
}
