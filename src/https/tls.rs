//! Whom we trust.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::error::RootsError;

/// TLS 1.2 and 1.3 by aws-lc-rs, whatever the process' default provider is, and HTTP/2 or HTTP/1.1.
pub(super) fn config(certificate_authority: Option<&[u8]>) -> Result<Arc<ClientConfig>, RootsError> {
    let roots = match certificate_authority {
        Some(bundle) => bundled(bundle)?,
        None => system()?,
    };
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .map_err(|_no_roots| RootsError::Unusable)?;
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_versions| RootsError::Unusable)?
        .with_webpki_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The authorities of a PEM bundle; blocks of another kind are skipped.
fn bundled(bundle: &[u8]) -> Result<RootCertStore, RootsError> {
    let mut roots = RootCertStore::empty();
    for (index, certificate) in CertificateDer::pem_slice_iter(bundle).enumerate() {
        let certificate = certificate.map_err(|_malformed| RootsError::NoCertificates)?;
        roots.add(certificate).map_err(|error| RootsError::Certificate { number: index + 1, error })?;
    }
    if roots.is_empty() { Err(RootsError::NoCertificates) } else { Ok(roots) }
}

/// The system's, with `SSL_CERT_FILE` and `SSL_CERT_DIR` as Go has them. One that cannot be read is skipped, as in Go.
fn system() -> Result<RootCertStore, RootsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(RootsError::NoSystemRoots) } else { Ok(roots) }
}
