//! Clients of Envoy: HTTP/1.1, one connection each, one request after the other.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::envoy::Request;

/// Both sides' certificates, of one authority.
pub(super) struct Certificates {
    authority: CertifiedIssuer<'static, KeyPair>,
    client: Arc<ClientConfig>,
}

impl Certificates {
    pub(super) fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "bob");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &authority).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(authority.der().to_vec())).unwrap();
        let client = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_client_auth_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        Self { authority, client: Arc::new(client) }
    }

    /// PEM.
    pub(super) fn authority(&self) -> String {
        self.authority.pem()
    }

    /// What Envoy shows.
    pub(super) fn write(&self, folder: &Path) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["edge.test".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.authority).unwrap();
        fs::write(folder.join("server.crt"), certificate.pem()).unwrap();
        fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
    }
}

/// TCP, or TLS over it.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A client and what it asks for.
pub(super) struct Caller {
    stream: Box<dyn Stream>,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Caller {
    pub(super) async fn connect(
        address: SocketAddr,
        request: &Request,
        certificates: Option<&Certificates>,
    ) -> Self {
        let tcp = TcpStream::connect(address).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let stream: Box<dyn Stream> = match certificates {
            None => Box::new(tcp),
            Some(certificates) => {
                let name = ServerName::try_from("edge.test").unwrap();
                let connector = TlsConnector::from(Arc::clone(&certificates.client));
                Box::new(connector.connect(name, tcp).await.unwrap())
            }
        };
        let mut head =
            format!("{} {} HTTP/1.1\r\nHost: edge.test\r\n", request.method, request.path).into_bytes();
        for (name, value) in &request.headers {
            head.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        head.extend(b"\r\n");
        Self { stream, request: head, answer: Vec::new() }
    }

    /// The status of the answer.
    pub(super) async fn call(&mut self) -> u16 {
        self.stream.write_all(&self.request).await.unwrap();
        self.answer.clear();
        let end = loop {
            assert_ne!(self.stream.read_buf(&mut self.answer).await.unwrap(), 0, "Envoy has hung up");
            if let Some(end) = self.answer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let head = String::from_utf8_lossy(&self.answer[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let whole = end + length.map_or(0, |length| length.parse().unwrap());
        while self.answer.len() < whole {
            assert_ne!(self.stream.read_buf(&mut self.answer).await.unwrap(), 0, "Envoy has hung up");
        }
        head.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

/// So many requests of all callers together, each answered 200: how long each took, in µs, in order of size.
pub(super) async fn times(callers: Vec<Caller>, requests: usize) -> Vec<f64> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for mut caller in callers {
        let next = Arc::clone(&next);
        tasks.spawn(async move {
            let mut times = Vec::new();
            while next.fetch_add(1, Ordering::Relaxed) < requests {
                let start = Instant::now();
                assert_eq!(caller.call().await, 200);
                times.push(start.elapsed().as_secs_f64() * 1e6);
            }
            times
        });
    }
    let mut times = tasks.join_all().await.concat();
    times.sort_by(f64::total_cmp);
    times
}
