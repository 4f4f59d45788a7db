//! From a URL to a connection that TLS protects.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{error, fmt, vec};

use http::Uri;
use http::uri::Scheme;
use hyper::rt::{Read, Write};
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::error::{Error, Phase};
use super::proxy::{Protocol, Proxies, Proxy};

/// DNS, TCP and the way through a proxy take no longer, all addresses of the host together. Go gives each connection 30 s, which is
/// as long as a whole request.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A TLS handshake takes no longer. Go: `TLSHandshakeTimeout` of `http.DefaultTransport`.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to a server, or through a proxy to where a server is; TLS if the proxy speaks it.
type Route = MaybeHttpsStream<TokioIo<TcpStream>>;

type Dialing<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;

/// Makes connections.
#[derive(Clone)]
pub(super) struct Dial {
    tcp: HttpConnector<Resolver>,
    tls: Arc<ClientConfig>,
    /// The name that the server's certificate is to have, if not the host's.
    server_name: Option<ServerName<'static>>,
    /// The same without ALPN: CONNECT goes over HTTP/1.1.
    proxy_tls: Arc<ClientConfig>,
    proxies: Arc<Proxies>,
}

impl Dial {
    pub(super) fn new(
        tls: Arc<ClientConfig>,
        server_name: Option<ServerName<'static>>,
        proxies: Proxies,
    ) -> Self {
        let mut tcp = HttpConnector::new_with_resolver(Resolver);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        // So that one address that does not answer leaves time for the next.
        tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
        let mut proxy_tls = (*tls).clone();
        proxy_tls.alpn_protocols.clear();
        Self { tcp, tls, server_name, proxy_tls: Arc::new(proxy_tls), proxies: Arc::new(proxies) }
    }

    async fn connect(mut self, server: Uri) -> Result<MaybeHttpsStream<Route>, Error> {
        if server.scheme() == Some(&Scheme::HTTP) {
            // On this very host: `Url::parse_or_loopback`.
            let stream = timeout(CONNECT_TIMEOUT, self.reach(&server)).await;
            let stream = stream.unwrap_or(Err(Error::Timeout(Phase::Connect)))?;
            return Ok(MaybeHttpsStream::Http(Route::from(stream)));
        }
        let host = host(&server)?;
        let name = self.server_name.take().map_or_else(|| server_name(host), Ok)?;
        let port = server.port_u16().unwrap_or(443);
        let proxies = Arc::clone(&self.proxies);
        let route = async {
            match proxies.of(host, port) {
                None => self.reach(&server).await.map(Route::from),
                Some(proxy) => self.through(proxy, &server).await,
            }
        };
        let route = timeout(CONNECT_TIMEOUT, route).await.unwrap_or(Err(Error::Timeout(Phase::Connect)))?;
        handshake(&self.tls, name, route).await
    }

    async fn reach(&mut self, server: &Uri) -> Result<TokioIo<TcpStream>, Error> {
        self.tcp.call(server.clone()).await.map_err(|error| cause(&error))
    }

    /// Go: `dialConn` of net/http.
    async fn through(&mut self, proxy: &Proxy, server: &Uri) -> Result<Route, Error> {
        let stream = self.reach(&proxy.address).await?;
        let route = match proxy.protocol {
            Protocol::Https => {
                handshake(&self.proxy_tls, server_name(host(&proxy.address)?)?, stream).await?
            }
            Protocol::Http | Protocol::Socks5 => Route::from(stream),
        };
        let dialed = Dialed(Some(route));
        if proxy.protocol == Protocol::Socks5 {
            let mut socks = SocksV5::new(proxy.address.clone(), dialed);
            if let Some((user, password)) = &proxy.credentials {
                socks = socks.with_auth(user.to_string(), password.to_string());
            }
            return socks.call(server.clone()).await.map_err(|_refused| Error::Proxy);
        }
        let mut tunnel = Tunnel::new(proxy.address.clone(), dialed);
        if let Some(authorization) = proxy.authorization() {
            tunnel = tunnel.with_auth(authorization);
        }
        tunnel.call(server.clone()).await.map_err(|_refused| Error::Proxy)
    }
}

impl Service<Uri> for Dial {
    type Response = MaybeHttpsStream<Route>;
    type Error = Error;
    type Future = Dialing<Self::Response>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        Box::pin(self.clone().connect(server))
    }
}

impl fmt::Debug for Dial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dial").field("proxies", &self.proxies).finish_non_exhaustive()
    }
}

/// The name that the certificate of `host` has.
fn server_name(host: &str) -> Result<ServerName<'static>, Error> {
    ServerName::try_from(host.to_owned()).map_err(|_no_name| Error::Dns)
}

/// TLS on top of `stream`, with the certificate of `name` on the other side.
async fn handshake<T>(
    tls: &Arc<ClientConfig>,
    name: ServerName<'static>,
    stream: T,
) -> Result<MaybeHttpsStream<T>, Error>
where
    T: Read + Write + Unpin,
{
    let handshake = TlsConnector::from(Arc::clone(tls)).connect(name, TokioIo::new(stream));
    let stream = timeout(TLS_HANDSHAKE_TIMEOUT, handshake)
        .await
        .map_err(|_elapsed| Error::Timeout(Phase::Tls))?
        .map_err(|error| match error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>()) {
            Some(error) => Error::Tls(error.clone()),
            None => Error::TlsBroken(error.kind()),
        })?;
    Ok(MaybeHttpsStream::Https(TokioIo::new(stream)))
}

/// Without the brackets of an IPv6 address.
fn host(uri: &Uri) -> Result<&str, Error> {
    let host = uri.host().ok_or(Error::Dns)?;
    Ok(host.trim_start_matches('[').trim_end_matches(']'))
}

/// What stopped [`HttpConnector`].
fn cause(error: &(dyn error::Error + 'static)) -> Error {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(ours) = error.downcast_ref::<Error>() {
            return ours.clone();
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return Error::Connect(error.kind());
        }
        next = error.source();
    }
    Error::Connect(io::ErrorKind::Other)
}

/// The system's resolver, with an error that can be told from others.
#[derive(Debug, Clone)]
struct Resolver;

impl Service<Name> for Resolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = Error;
    type Future = Dialing<Self::Response>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        Box::pin(async move {
            let addresses = lookup_host((name.as_str(), 0)).await.map_err(|_unknown| Error::Dns)?;
            Ok(addresses.collect::<Vec<_>>().into_iter())
        })
    }
}

/// A connection to a proxy, handed over when hyper-util asks for one.
struct Dialed(Option<Route>);

impl Service<Uri> for Dialed {
    type Response = Route;
    type Error = Error;
    type Future = std::future::Ready<Result<Route, Error>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _proxy: Uri) -> Self::Future {
        std::future::ready(self.0.take().ok_or(Error::Proxy))
    }
}
