//! The certificates with which Envoy and countersign know each other.

use std::fs;
use std::path::Path;

use rcgen::{PKCS_ECDSA_P256_SHA256, SanType};
use s2n_tls_tokio::TlsConnector;
use tokio::net::TcpStream;

use super::authority::{Authority, Certified, fingerprint};
use super::certificate;

/// Where Envoy has its own certificate and countersign's CA.
pub(crate) const ENVOYS: &str = "certs/countersign";

/// A CA, and one certificate of it on each side.
pub(crate) struct Internal {
    pub(crate) authority: Authority,
    pub(crate) countersign: Certified,
    /// With the URI `spiffe://lab/envoy`.
    pub(crate) envoy: Certified,
}

impl Internal {
    pub(crate) fn new() -> Self {
        Self::of(Authority::root("internal"))
    }

    /// Certificates of this CA.
    pub(crate) fn of(authority: Authority) -> Self {
        let countersign = authority.serve("countersign");
        let envoy = authority.certify_with(&PKCS_ECDSA_P256_SHA256, "envoy", &[], |params| {
            params.subject_alt_names = vec![SanType::URI("spiffe://lab/envoy".try_into().unwrap())];
        });
        Self { authority, countersign, envoy }
    }

    /// Writes what Envoy is told of, and `countersign.crt`, `countersign.key` and `internal-ca.crt`.
    pub(crate) fn write(&self, directory: &Path) {
        fs::create_dir_all(directory.join(ENVOYS)).unwrap();
        for (name, text) in self.envoys_files(&self.authority.pem) {
            fs::write(directory.join(ENVOYS).join(name), text).unwrap();
        }
        for (name, text) in [
            ("internal-ca.crt", &self.authority.pem),
            ("countersign.crt", &self.countersign.chain),
            ("countersign.key", &self.countersign.key),
        ] {
            fs::write(directory.join(name), text).unwrap();
        }
    }

    /// Whether a countersign at this address shows this certificate, of this CA.
    pub(crate) async fn is_shown_at(&self, address: &str, certificate: &Certified) -> bool {
        let tls = certificate::client(&self.authority.pem, "h2", Some(&self.envoy));
        let stream = TcpStream::connect(address).await.unwrap();
        let Ok(stream) = TlsConnector::new(tls).connect("countersign", stream).await else { return false };
        let chain = stream.as_ref().peer_cert_chain().unwrap();
        fingerprint(chain.iter().next().unwrap().unwrap().der().unwrap()) == certificate.hash
    }

    /// Envoy's own certificate, and CAs of countersign's, by the names that cert-manager gives them.
    pub(crate) fn envoys_files<'a>(&'a self, authorities: &'a str) -> [(&'static str, &'a [u8]); 3] {
        [("tls.crt", &*self.envoy.chain), ("tls.key", &self.envoy.key), ("ca.crt", authorities)]
            .map(|(name, text)| (name, text.as_bytes()))
    }
}
