//! Whom we trust: what Go's crypto/tls takes for the certificate of a server (`verifyServerCertificate` of handshake_client.go), by
//! [`crate::pki`], which follows Go's crypto/x509. webpki, rustls' own verifier, has other rules: it refuses a CA's certificate as a
//! server's, which is what people sign for themselves, and takes roots that have expired and CAs that may not sign.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, SignatureScheme};

use super::error::RootsError;
use crate::pki::{CertPool, Certificate, Invalid, ParseError, VerifyError, verify_server};

/// TLS 1.2 and 1.3 by aws-lc-rs, whatever the process' default provider is, and HTTP/2 or HTTP/1.1.
pub(super) fn config(certificate_authority: Option<&[u8]>) -> Result<Arc<ClientConfig>, RootsError> {
    let roots = match certificate_authority {
        Some(bundle) => CertPool::from_pem(bundle)?,
        None => system()?,
    };
    let provider = aws_lc_rs::default_provider();
    let verifier = Verifier { roots, algorithms: provider.signature_verification_algorithms };
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .map_err(|_versions| RootsError::NoTls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The system's, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`, of which Go replaces the one that is not set by the system's. One that
/// cannot be read is skipped, as in Go.
fn system() -> Result<CertPool, RootsError> {
    let certificates = rustls_native_certs::load_native_certs().certs;
    let roots: CertPool = certificates.iter().filter_map(|der| Certificate::parse(der).ok()).collect();
    if roots.certificates().is_empty() { Err(RootsError::NoSystemRoots) } else { Ok(roots) }
}

/// Go's verdict on a server's certificate. The name in it, and the signature of the handshake, are rustls' affair.
#[derive(Debug)]
struct Verifier {
    roots: CertPool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let parse = |der: &CertificateDer<'_>| Certificate::parse(der).map_err(|error| unreadable(&error));
        let now =
            UNIX_EPOCH.checked_add(Duration::from_secs(now.as_secs())).ok_or(CertificateError::Expired)?;
        let certificate = parse(leaf)?;
        let intermediates = intermediates.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        verify_server(&certificate, &intermediates, &self.roots, now).map_err(untrusted)?;
        verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, leaf, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        leaf: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, leaf, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn unreadable(_error: &ParseError) -> CertificateError {
    CertificateError::BadEncoding
}

/// In rustls' words, from which it chooses what to tell the server.
fn untrusted(error: VerifyError) -> CertificateError {
    match error {
        VerifyError::Invalid { reason: Invalid::Expired, .. } => CertificateError::Expired,
        VerifyError::Invalid { reason: Invalid::NotYetValid, .. } => CertificateError::NotValidYet,
        VerifyError::UnknownAuthority { .. } => CertificateError::UnknownIssuer,
        VerifyError::KeyUsage => CertificateError::InvalidPurpose,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    }
}
