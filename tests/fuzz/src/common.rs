//! A CA, certificates of it, and requests made of arbitrary bytes.
#![allow(dead_code, reason = "each target uses a part")]

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use countersign::authn::{ClientCertificates, Now, Outcome};
use countersign::pki::{CertPool, RevocationLists};
use countersign::request::{Connection, Encoding, HeaderLines, Headers, Path, Request};
use futures_util::FutureExt;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

pub struct Lines(pub Vec<(Vec<u8>, Vec<u8>)>);

impl HeaderLines for Lines {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn line(&self, index: usize) -> (&[u8], &[u8]) {
        let (name, value) = &self.0[index];
        (name, value)
    }
}

/// When the certificates of [`Pki`] are valid.
pub fn now() -> Now {
    Now(UNIX_EPOCH + Duration::from_secs(1_800_000_000))
}

/// A CA and one client of it.
pub struct Pki {
    pub roots: Arc<CertPool>,
    /// URL-encoded PEM, as Envoy writes it.
    pub client: Vec<u8>,
}

impl Pki {
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "ca");
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "client");
        let client = params.signed_by(&KeyPair::generate().unwrap(), &ca).unwrap().pem();
        let encode = |byte: u8| match byte {
            b'\r' => String::new(),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        };
        Self {
            roots: Arc::new(CertPool::from_pem(ca.pem().as_bytes()).unwrap()),
            client: client.bytes().map(encode).collect::<String>().into_bytes(),
        }
    }

    pub fn certificates(&self, xfcc_trusted_hops: usize) -> ClientCertificates {
        ClientCertificates::new(
            Arc::clone(&self.roots),
            Arc::new(RevocationLists::default()),
            xfcc_trusted_hops,
        )
    }
}

pub fn request<'a>(
    lines: &'a Lines,
    none: &'a Lines,
    encoding: Encoding,
    client_certificate: &'a [u8],
) -> Request<'a> {
    Request {
        method: b"GET",
        host: b"a.test",
        path: Path::new(b"/"),
        headers: Headers::new(lines, encoding),
        client_certificate,
        context_extensions: none,
        connection: Connection::default(),
    }
}

/// None of these authenticators ever waits.
pub fn finish(outcome: impl Future<Output = Outcome>) -> Outcome {
    outcome.now_or_never().unwrap_or_else(|| panic!("it waits"))
}
