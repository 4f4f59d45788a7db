//! A connection of the admin listener. Who shows a certificate of `--admin-tls-client-ca-file` has all pages, from wherever; who shows none,
//! as the kubelet and most Prometheus do, has those that are for everybody. kube-apiserver's port has both, too: it asks for a certificate,
//! does without, and leaves /livez and /readyz to everybody.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::server::{ACCEPT_PAUSE, HANDSHAKE_TIMEOUT, of_that_client};

/// What all connections have in common.
#[derive(Clone)]
pub(super) struct Pages {
    /// For those that begin now, unless they are in plaintext.
    pub(super) tls: Option<Arc<ArcSwap<rustls::ServerConfig>>>,
    /// After this they end, so that no certificate counts for ever.
    pub(super) max_age: Duration,
    pub(super) everybody: Router,
    /// For who shows a certificate.
    pub(super) trusted: Router,
}

impl Pages {
    pub(super) async fn serve(self, listener: TcpListener) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        // Never closed. The next one waits to be accepted until there is a place for it.
        while let Ok(place) = Arc::clone(&places).acquire_owned().await {
            match listener.accept().await {
                Ok((stream, _address)) => drop(tokio::spawn(self.clone().connection(stream, place))),
                Err(error) if of_that_client(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "cannot accept connections of the admin listener");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn connection(self, stream: TcpStream, _place: OwnedSemaphorePermit) {
        let Some(tls) = &self.tls else { return self.http(Box::new(stream), false).await };
        let acceptor = TlsAcceptor::from(tls.load_full());
        let shaken = timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await;
        match shaken.unwrap_or_else(|elapsed| Err(elapsed.into())) {
            Ok(stream) => {
                // One that is bad has ended the handshake.
                let is_certified = stream.get_ref().1.peer_certificates().is_some();
                self.http(Box::new(stream), is_certified).await;
            }
            Err(error) => tracing::warn!(%error, "a TLS handshake of the admin listener failed"),
        }
    }

    async fn http(self, stream: Box<dyn Stream>, is_certified: bool) {
        let pages = TowerToHyperService::new(if is_certified { self.trusted } else { self.everybody });
        let has_asked = AtomicBool::new(false);
        let pages = service_fn(|request| {
            has_asked.store(true, Ordering::Relaxed);
            pages.call(request)
        });
        let mut server = auto::Builder::new(TokioExecutor::new());
        server.http1().timer(TokioTimer::new()).header_read_timeout(REQUEST_TIMEOUT);
        let mut connection = pin!(server.serve_connection(TokioIo::new(stream), pages));
        tokio::select! {
            biased;
            _ended = &mut connection => return,
            () = sleep(REQUEST_TIMEOUT.min(self.max_age)) => {}
        }
        if !has_asked.load(Ordering::Relaxed) {
            return;
        }
        tokio::select! {
            biased;
            _ended = &mut connection => return,
            () = sleep(self.max_age.saturating_sub(REQUEST_TIMEOUT)) => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ended = timeout(DRAIN_TIMEOUT, connection).await;
    }
}

/// Either kind, so that the code behind it is there once.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// So many connections at a time: probes, Prometheus and a few people need a handful.
pub(super) const MAX_CONNECTIONS: usize = 256;

/// A request has to be there this long after it could begin.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// An answer that is under way may take so long: a profile takes five minutes at most.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(310);
