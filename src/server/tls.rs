//! TLS handshakes on the way from the socket to the server.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::{Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Connections that have finished their handshake, each with the settings that were `current` when it began. Who fails it, or
/// takes too long, is never heard of again.
pub(super) fn handshakes<T: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
    incoming: impl Stream<Item = io::Result<T>>,
    current: Arc<ArcSwap<rustls::ServerConfig>>,
) -> impl Stream<Item = io::Result<TlsStream<T>>> {
    incoming
        .map(move |connection| {
            let acceptor = TlsAcceptor::from(current.load_full());
            tokio::spawn(async move { timeout(HANDSHAKE_TIMEOUT, acceptor.accept(connection?)).await? })
        })
        .buffer_unordered(MAX_HANDSHAKES)
        .filter_map(async |handshake| {
            let shaken: io::Result<_> = handshake.unwrap_or_else(|panic| Err(panic.into()));
            shaken.inspect_err(|error| tracing::warn!(%error, "a TLS handshake failed")).ok().map(Ok)
        })
}

/// How long a client may take: Go's `http.Server` gives kube-apiserver's clients none, Envoy's connect timeout is 5 s by default.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// How many clients may be at it at once; more wait in the listener's backlog.
const MAX_HANDSHAKES: usize = 1024;
