//! Clients of Envoy's listener, over TLS: HTTP/1.1 byte by byte, and HTTP/2.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::Request;
use s2n_tls::config::Config;
use s2n_tls_tokio::{TlsConnector, TlsStream};
use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::authority::Certified;
use super::message::{Incoming, value};
use super::process::eventually;
use super::{certificate, python};

/// Lines that Envoy itself puts into every request that it forwards. Nothing here carries identity.
const ENVOYS_OWN: [&str; 5] =
    ["host", "x-forwarded-for", "x-forwarded-proto", "x-envoy-external-address", "x-request-id"];

/// What a client got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// `name: value`, in order.
    pub(crate) headers: Vec<String>,
    pub(crate) body: String,
}

impl Response {
    /// The header lines with which the application received the request, without Envoy's own.
    pub(crate) fn forwarded(&self) -> Vec<&str> {
        assert_eq!(self.status, 200, "the application did not answer: {self:?}");
        self.body
            .lines()
            .skip(1)
            .filter(|line| !ENVOYS_OWN.contains(&line.split_once(':').unwrap().0))
            .collect()
    }
}

/// Where Envoy listens, and whom to trust there.
#[derive(Clone)]
pub(crate) struct Edge {
    pub(crate) address: SocketAddr,
    trusted: String,
    tls1: Config,
    tls2: Config,
}

impl Edge {
    pub(crate) fn new(address: SocketAddr, trusted: &str) -> Self {
        Self::with(address, trusted, None)
    }

    fn with(address: SocketAddr, trusted: &str, own: Option<&Certified>) -> Self {
        let [tls1, tls2] = ["http/1.1", "h2"].map(|name| certificate::client(trusted, name, own));
        Self { address, trusted: trusted.to_owned(), tls1, tls2 }
    }

    /// The same for a client that has a certificate.
    pub(crate) fn holding(&self, own: &Certified) -> Self {
        Self::with(self.address, &self.trusted, Some(own))
    }

    /// As [`Edge::http1`], for a client whose certificate s2n-tls cannot use.
    pub(crate) async fn http1_by_python(&self, own: &Certified, lines: &[&str]) -> Response {
        let answer = python::get(self.address, &self.trusted, own, lines).await;
        Http1(Incoming::new(answer.as_bytes())).answer().await.unwrap()
    }

    /// Whether Envoy ends the handshake, or the connection right after it, without an answer.
    pub(crate) async fn hangs_up(&self) -> bool {
        let stream = TcpStream::connect(self.address).await.unwrap();
        let Ok(mut stream) = TlsConnector::new(self.tls1.clone()).connect(certificate::NAME, stream).await
        else {
            return true;
        };
        // In TLS 1.3 the client is through before the server has seen its certificate.
        let sent = stream.write_all(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n").await;
        sent.is_err() || Incoming::new(stream).some().await.is_none()
    }

    /// `GET /` with these header lines over HTTP/1.1, on a connection of its own.
    pub(crate) async fn http1(&self, lines: &[&str]) -> Response {
        let lines: Vec<&[u8]> = lines.iter().map(|line| line.as_bytes()).collect();
        self.http1_bytes(&lines).await
    }

    /// As [`Edge::http1`], for lines that are not text.
    pub(crate) async fn http1_bytes(&self, lines: &[&[u8]]) -> Response {
        self.connect1().await.get(lines).await.expect("the connection was closed without an answer")
    }

    /// `GET /` with these `name: value` lines over HTTP/2, on a connection of its own.
    pub(crate) async fn http2(&self, lines: &[&str]) -> Result<Response, h2::Error> {
        self.connect2().await?.get(lines).await
    }

    /// The same `GET /` over HTTP/1.1 and over HTTP/2.
    pub(crate) async fn both(&self, lines: &[&str]) -> [Response; 2] {
        [self.http1(lines).await, self.http2(lines).await.unwrap()]
    }

    /// As [`Edge::http2`], for another method or path.
    pub(crate) async fn http2_request(
        &self,
        request: http::request::Builder,
        lines: &[&str],
    ) -> Result<Response, h2::Error> {
        self.connect2().await?.request(request, lines).await
    }

    /// Sends an extended CONNECT (RFC 8441) that must open a tunnel.
    pub(crate) async fn http2_tunnel(&self, request: http::request::Builder) -> Tunnel {
        let mut client = self.connect2().await.unwrap();
        // Envoy's SETTINGS say that it takes extended CONNECT; they must have come before one is sent.
        eventually("Envoy's settings arrive", async || {
            client.sender.is_extended_connect_protocol_enabled().then_some(())
        })
        .await;
        let (answer, write) = client.sender.send_request(request.body(()).unwrap(), false).unwrap();
        let (parts, read) = answer.await.unwrap().into_parts();
        assert_eq!(parts.status, 200);
        Tunnel { read, write, buffer: Vec::new(), _connection: client }
    }

    /// A connection for several HTTP/1.1 requests.
    pub(crate) async fn connect1(&self) -> Http1 {
        Http1(Incoming::new(self.connect(&self.tls1).await))
    }

    /// A connection for several HTTP/2 requests.
    pub(crate) async fn connect2(&self) -> Result<Http2, h2::Error> {
        let (sender, connection) = h2::client::handshake(self.connect(&self.tls2).await).await?;
        let driver = tokio::spawn(async move {
            // What goes wrong with the connection is told to the streams as well.
            let _ = connection.await;
        });
        Ok(Http2 { sender: sender.ready().await?, driver })
    }

    async fn connect(&self, tls: &Config) -> TlsStream<TcpStream> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        // Small frames must not wait for each other.
        stream.set_nodelay(true).unwrap();
        TlsConnector::new(tls.clone()).connect(certificate::NAME, stream).await.unwrap()
    }
}

async fn collect(answer: ResponseFuture) -> Result<Response, h2::Error> {
    let (parts, mut stream) = answer.await?.into_parts();
    let mut body = Vec::new();
    while let Some(chunk) = stream.data().await {
        let chunk: Bytes = chunk?;
        stream.flow_control().release_capacity(chunk.len())?;
        body.extend_from_slice(&chunk);
    }
    let headers = parts
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
        .collect();
    Ok(Response { status: parts.status.as_u16(), headers, body: String::from_utf8(body).unwrap() })
}

/// An HTTP/2 connection, closed when dropped.
pub(crate) struct Http2 {
    sender: SendRequest<Bytes>,
    driver: JoinHandle<()>,
}

impl Http2 {
    /// `GET /` with these `name: value` lines.
    pub(crate) async fn get(&mut self, lines: &[&str]) -> Result<Response, h2::Error> {
        self.request(Request::get("https://app.test/"), lines).await
    }

    async fn request(
        &mut self,
        mut request: http::request::Builder,
        lines: &[&str],
    ) -> Result<Response, h2::Error> {
        for line in lines {
            // Names become lower-case here: HTTP/2 knows no others.
            let (name, value) = line.split_once(": ").unwrap();
            request = request.header(name, value);
        }
        let (answer, _) = self.sender.send_request(request.body(()).unwrap(), true)?;
        collect(answer).await
    }
}

impl Drop for Http2 {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A WebSocket's bytes on an HTTP/2 stream.
pub(crate) struct Tunnel {
    read: RecvStream,
    write: SendStream<Bytes>,
    buffer: Vec<u8>,
    _connection: Http2,
}

impl Tunnel {
    /// The next bytes.
    pub(crate) async fn exactly(&mut self, length: usize) -> Vec<u8> {
        while self.buffer.len() < length {
            let chunk = self.read.data().await.unwrap().unwrap();
            self.buffer.extend_from_slice(&chunk);
        }
        self.buffer.drain(..length).collect()
    }

    pub(crate) fn write(&mut self, bytes: &'static [u8]) {
        self.write.send_data(Bytes::from_static(bytes), false).unwrap();
    }
}

/// An HTTP/1.1 connection.
pub(crate) struct Http1<S = TlsStream<TcpStream>>(Incoming<S>);

impl Http1 {
    /// `GET /` with these header lines; nothing if the connection ends first.
    pub(crate) async fn get(&mut self, lines: &[&[u8]]) -> Option<Response> {
        self.send(lines).await;
        self.answer().await
    }

    /// Sends the head of `GET /`.
    pub(crate) async fn send(&mut self, lines: &[&[u8]]) {
        let mut head = b"GET / HTTP/1.1\r\nHost: app.test\r\n".to_vec();
        for line in lines {
            head.extend_from_slice(line);
            head.extend_from_slice(b"\r\n");
        }
        head.extend_from_slice(b"\r\n");
        self.write(&head).await;
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.0.stream.write_all(bytes).await.unwrap();
    }
}

impl<S: AsyncRead + Unpin> Http1<S> {
    /// The next answer; nothing if the connection ends first.
    async fn answer(&mut self) -> Option<Response> {
        let (status, headers) = self.head().await?;
        let length = value(&headers, "content-length").unwrap_or("0").parse().unwrap();
        let body = String::from_utf8(self.0.exactly(length).await?).unwrap();
        Some(Response { status, headers, body })
    }

    /// Status and header lines of the next answer; nothing if the connection ends first.
    pub(crate) async fn head(&mut self) -> Option<(u16, Vec<String>)> {
        let mut lines = self.0.head().await?;
        let status = lines.remove(0).split(' ').nth(1).unwrap().parse().unwrap();
        Some((status, lines))
    }

    /// The next bytes of a tunnel.
    pub(crate) async fn exactly(&mut self, length: usize) -> Option<Vec<u8>> {
        self.0.exactly(length).await
    }
}
