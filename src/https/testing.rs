//! HTTPS servers for tests, which answer with whatever bytes a test likes.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Longer than anything in these tests takes.
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// A CA for servers.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    /// A new one.
    pub(crate) fn new() -> Self {
        Self::named("authority")
    }

    /// A new one with a name.
    pub(crate) fn named(name: &str) -> Self {
        Self::with(|params| params.distinguished_name.push(DnType::CommonName, name))
    }

    /// A new one with another certificate.
    pub(crate) fn with(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    /// Its certificate.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A server for `localhost`, `127.0.0.1` and `issuer.test`.
    pub(crate) fn server(&self) -> ServerConfig {
        self.server_with(|_| ())
    }

    /// The same with another certificate.
    pub(crate) fn server_with(&self, change: impl FnOnce(&mut CertificateParams)) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let mut params =
            CertificateParams::new(["localhost", "127.0.0.1", "issuer.test"].map(str::to_owned)).unwrap();
        change(&mut params);
        let certificate = params.signed_by(&key, &self.0).unwrap();
        server(certificate.der().clone(), &key)
    }

    /// A server like [`Authority::server`] that wants a certificate by `clients`.
    pub(crate) fn server_for(&self, clients: &Self) -> ServerConfig {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.0).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(clients.0.der().clone()).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
        server_with(verifier.build().unwrap(), certificate.der().clone(), &key)
    }

    /// A client's certificate and key, PEM.
    pub(crate) fn client(&self) -> [String; 2] {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["client".to_owned()]).unwrap();
        [params.signed_by(&key, &self.0).unwrap().pem(), key.serialize_pem()]
    }
}

/// A server with this certificate.
pub(crate) fn server(certificate: rustls::pki_types::CertificateDer<'static>, key: &KeyPair) -> ServerConfig {
    server_with(WebPkiClientVerifier::no_client_auth(), certificate, key)
}

fn server_with(
    verifier: Arc<dyn ClientCertVerifier>,
    certificate: rustls::pki_types::CertificateDer<'static>,
    key: &KeyPair,
) -> ServerConfig {
    ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(vec![certificate], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap()
}

/// What a server does with a request.
pub(crate) enum Answer {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Sends these bytes, and then nothing more.
    Hang(Vec<u8>),
    /// Ends the connection.
    Close,
    /// Resets the connection.
    Reset,
}

/// A whole answer.
pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut text = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        write!(text, "{name}: {value}\r\n").unwrap();
    }
    Answer::Send(format!("{text}\r\n{body}").into_bytes())
}

/// A server on a port of its own, until it is dropped.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    /// The head of each request and its body, in the order in which they came.
    requests: watch::Receiver<Vec<String>>,
    task: AbortHandle,
}

impl Server {
    /// Serves HTTP/1.1 over TLS.
    pub(crate) async fn start(
        tls: ServerConfig,
        answer: impl Fn(&str) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, requests) = watch::channel(Vec::new());
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let answer = Arc::new(answer);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, answer, seen) = (acceptor.clone(), Arc::clone(&answer), seen.clone());
                connections.spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, &*answer, &seen).await;
                    }
                });
            }
        });
        Self { address, requests, task: task.abort_handle() }
    }

    /// `https://localhost` and the port, and `path`.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("https://localhost:{}{path}", self.address.port())
    }

    /// The heads and bodies of the requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.borrow().clone()
    }

    /// Waits for so many requests.
    pub(crate) async fn has_seen(&self, count: usize) {
        let mut requests = self.requests.clone();
        tokio::time::timeout(LONG, requests.wait_for(|requests| requests.len() >= count))
            .await
            .unwrap()
            .unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads requests and answers them, until the other side has enough.
async fn serve(
    mut stream: TlsStream<TcpStream>,
    answer: &impl Fn(&str) -> Answer,
    seen: &watch::Sender<Vec<String>>,
) {
    while let Some(mut request) = read_head(&mut stream).await {
        let length = request.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        if stream.read_exact(&mut body).await.is_err() {
            return;
        }
        request.push_str(std::str::from_utf8(&body).unwrap());
        let answer = answer(&request);
        seen.send_modify(|seen| seen.push(request));
        let bytes = match &answer {
            Answer::Send(bytes) | Answer::Hang(bytes) => bytes,
            Answer::Close => return,
            Answer::Reset => return stream.get_ref().0.set_zero_linger().unwrap(),
        };
        if stream.write_all(bytes).await.is_err() || stream.flush().await.is_err() {
            return;
        }
        if matches!(answer, Answer::Hang(_)) {
            std::future::pending::<()>().await;
        }
    }
}

/// The head of a request, if there is another.
pub(crate) async fn read_head<S: AsyncRead + Unpin>(stream: &mut S) -> Option<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    String::from_utf8(head).ok()
}
