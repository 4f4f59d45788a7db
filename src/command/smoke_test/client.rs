//! Asks like a stranger: one request on a connection of its own.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{AUTHORIZATION, HOST, HeaderName, USER_AGENT};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;

use crate::https::{Trust, tls_settings};

/// Whom to ask, and how.
pub(super) struct Settings<'a> {
    pub(super) url: &'a str,
    /// A PEM bundle; none: the system's.
    pub(super) authorities: Option<&'a [u8]>,
    pub(super) insecure: bool,
    pub(super) host: Option<&'a str>,
    pub(super) resolve: Option<&'a str>,
    pub(super) timeout: Duration,
}

pub(super) struct Client {
    path: String,
    host: HeaderValue,
    address: (String, u16),
    tls: Option<(TlsConnector, ServerName<'static>)>,
    timeout: Duration,
}

/// What came back.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// No more than [`MAX_BODY`] of it.
    pub(super) body: Bytes,
}

impl Client {
    pub(super) fn new(settings: &Settings<'_>) -> Result<Self, String> {
        let bad = |what: &str| format!("the URL {what}; write it as https://api.example.com/path");
        let uri: Uri = settings.url.parse().map_err(|_| bad("cannot be read"))?;
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| bad("has no host"))?;
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        if authority.contains('@') {
            return Err("the URL has credentials in it; give a token by --token-file".to_owned());
        }
        let (is_https, port) = match uri.scheme_str() {
            Some("https") => (true, 443),
            Some("http") => (false, 80),
            _ => return Err(bad("is neither http nor https")),
        };
        let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let tls = is_https.then(|| Self::tls(settings, &name)).transpose()?;
        let header = settings.host.unwrap_or(authority);
        let host = HeaderValue::from_str(header).map_err(|_| "--host: not a host".to_owned())?;
        let address = match settings.resolve {
            None => name,
            Some(ip) => {
                ip.parse::<IpAddr>().map_err(|_| "--resolve: not an IP address".to_owned())?.to_string()
            }
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let address = (address, uri.port_u16().unwrap_or(port));
        Ok(Self { path, host, address, tls, timeout: settings.timeout })
    }

    fn tls(settings: &Settings<'_>, name: &str) -> Result<(TlsConnector, ServerName<'static>), String> {
        let trust = match settings.authorities {
            _ if settings.insecure => Trust::Anybody,
            Some(bundle) => Trust::Authorities(bundle),
            None => Trust::System,
        };
        let mut config = tls_settings(&trust, None).map_err(|error| format!("TLS: {error}"))?;
        Arc::make_mut(&mut config).alpn_protocols = vec![b"http/1.1".to_vec()];
        let name =
            ServerName::try_from(name.to_owned()).map_err(|_| "the URL's host is no name".to_owned())?;
        Ok((TlsConnector::from(config), name))
    }

    /// `GET`, with these headers besides.
    pub(super) async fn get(
        &self,
        authorization: Option<&str>,
        more: &[(&'static str, String)],
    ) -> Result<Answer, String> {
        let mut request = Request::get(&self.path)
            .header(HOST, self.host.clone())
            .header(USER_AGENT, concat!("countersign-smoke-test/", env!("CARGO_PKG_VERSION")));
        if let Some(value) = authorization {
            let mut value = HeaderValue::from_str(value).map_err(|_| "the token cannot stand in a header")?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        for (name, value) in more {
            request = request.header(HeaderName::from_static(name), value);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
        timeout(self.timeout, self.send(request))
            .await
            .unwrap_or_else(|_elapsed| Err(format!("no answer within {:?}", self.timeout)))
    }

    async fn send(&self, request: Request<Empty<Bytes>>) -> Result<Answer, String> {
        let (host, port) = &self.address;
        let failed = |error: std::io::Error| format!("cannot connect to {host}:{port}: {error}");
        let stream = TcpStream::connect((&**host, *port)).await.map_err(failed)?;
        match &self.tls {
            None => exchange(stream, request, self.timeout / 5).await,
            Some((connector, name)) => {
                let stream = connector.connect(name.clone(), stream).await;
                let stream = stream.map_err(|error| format!("TLS: {error}"))?;
                exchange(stream, request, self.timeout / 5).await
            }
        }
    }
}

/// The answer, and as much of its body as comes within a time: one that never ends, such as a watch, is an answer as well.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Empty<Bytes>>,
    patience: Duration,
) -> Result<Answer, String> {
    let handshake = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| format!("HTTP: {error}"))?;
    // Ends when the answer has been read, and the sender is gone.
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(|error| format!("HTTP: {error}"))?;
    let (head, body) = response.into_parts();
    let body = begin(body, Instant::now() + patience).await?;
    driver.abort();
    Ok(Answer { status: head.status, headers: head.headers, body })
}

async fn begin(mut body: Incoming, deadline: Instant) -> Result<Bytes, String> {
    let mut bytes = BytesMut::new();
    while let Ok(Some(frame)) = timeout_at(deadline, body.frame()).await {
        let frame = frame.map_err(|error| format!("HTTP: {error}"))?;
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data[..data.len().min(MAX_BODY - bytes.len())]);
        }
        if bytes.len() == MAX_BODY {
            break;
        }
    }
    Ok(bytes.freeze())
}

/// What is read of an answer, in bytes: an application that shows what it was sent does so at the beginning.
const MAX_BODY: usize = 1 << 20;
