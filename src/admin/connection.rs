//! A connection of the admin listener. Who shows a certificate of `--admin-tls-client-ca-file` has all pages, from wherever; who shows none,
//! as the kubelet and most Prometheus do, has those that are for everybody. kube-apiserver's port has both, too: it asks for a certificate,
//! does without, and leaves /livez and /readyz to everybody.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
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
        loop {
            match listener.accept().await {
                Ok((stream, _address)) => drop(tokio::spawn(self.clone().connection(stream))),
                Err(error) if of_that_client(&error) => {}
                Err(error) => {
                    tracing::error!(%error, "cannot accept connections of the admin listener");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn connection(self, stream: TcpStream) {
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
        let server = auto::Builder::new(TokioExecutor::new());
        let mut connection = pin!(server.serve_connection(TokioIo::new(stream), pages));
        tokio::select! {
            biased;
            _ended = &mut connection => return,
            () = sleep(self.max_age) => {}
        }
        connection.as_mut().graceful_shutdown();
        let _ended = timeout(DRAIN_TIMEOUT, connection).await;
    }
}

/// Either kind, so that the code behind it is there once.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// An answer that is under way may take so long: an explanation takes a minute at most.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(70);
