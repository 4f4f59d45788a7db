//! A connection, from its first byte to its last.

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::Services;
use super::stream::Stream;
use crate::config::ServerConfig;
use crate::metrics::HandshakeStatistics;

/// What all connections have in common.
#[derive(Debug, Clone)]
pub(super) struct Connections {
    /// Those that begin now.
    tls: Option<Arc<ArcSwap<rustls::ServerConfig>>>,
    handshakes: Arc<HandshakeStatistics>,
    http2: http2::Builder<TokioExecutor>,
    max_age: Duration,
    services: Arc<Services>,
}

impl Connections {
    /// Over TLS as it is `current` when a connection begins, or in plaintext. Handshakes that fail are counted in `handshakes`.
    pub(super) fn new(
        limits: &ServerConfig,
        tls: Option<Arc<ArcSwap<rustls::ServerConfig>>>,
        handshakes: Arc<HandshakeStatistics>,
        services: Services,
    ) -> Self {
        let mut http2 = http2::Builder::new(TokioExecutor::new());
        http2
            .timer(TokioTimer::new())
            .max_concurrent_streams(limits.max_concurrent_streams)
            .max_header_list_size(limits.max_header_list_bytes)
            .keep_alive_interval(limits.keepalive_interval)
            .keep_alive_timeout(limits.keepalive_timeout)
            // Envoy has a clock.
            .auto_date_header(false);
        Self { tls, handshakes, http2, max_age: limits.max_connection_age, services: Arc::new(services) }
    }

    /// With a memory of their own for what they share, for threads that do not want to share it.
    pub(super) fn apart(&self) -> Self {
        Self { services: Arc::new(Services::clone(&self.services)), ..self.clone() }
    }

    /// Serves a connection until its end. `begun` is dropped when it has shaken hands.
    pub(super) async fn serve(self, stream: Stream, begun: impl Sized, drained: watch::Receiver<bool>) {
        let Some(tls) = &self.tls else {
            drop(begun);
            return self.http2(stream, drained).await;
        };
        let acceptor = TlsAcceptor::from(tls.load_full());
        let shaken = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await;
        drop(begun);
        match shaken.unwrap_or_else(|elapsed| Err(elapsed.into())) {
            Ok(stream) => self.http2(Stream::new(stream), drained).await,
            Err(error) => {
                self.handshakes.failed();
                tracing::warn!(%error, "a TLS handshake failed");
            }
        }
    }

    /// When it is old enough, or `drained`: GOAWAY, and then whatever the calls in flight take, which Envoy's deadline bounds.
    async fn http2(self, stream: Stream, mut drained: watch::Receiver<bool>) {
        let Self { services, http2, max_age, .. } = self;
        let begun = stream.begun();
        let answer = service_fn(move |request| {
            let (services, begun) = (Arc::clone(&services), begun.clone());
            async move {
                begun.another().await;
                Ok::<_, Infallible>(services.call(request).await)
            }
        });
        let mut connection = pin!(http2.serve_connection(TokioIo::new(stream), answer));
        tokio::select! {
            biased;
            ended = &mut connection => return lost(ended),
            () = sleep(max_age) => {}
            _told = drained.wait_for(|drained| *drained) => {}
        }
        connection.as_mut().graceful_shutdown();
        lost(connection.await);
    }
}

/// A connection that breaks says nothing about us.
fn lost(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
    }
}

/// How long a client may take to shake hands: Go's `http.Server` gives kube-apiserver's clients as long as they like, Envoy's connect
/// timeout is 5 s by default.
pub(crate) const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
