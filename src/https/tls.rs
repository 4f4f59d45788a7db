//! Whom we trust: what Go's crypto/tls takes for the certificate of a server (`verifyServerCertificate` of handshake_client.go), by
//! [`crate::pki`], which follows Go's crypto/x509. webpki, rustls' own verifier, has other rules: it refuses a CA's certificate as a
//! server's, which is what people sign for themselves, and takes roots that have expired and CAs that may not sign.

use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, SignatureScheme};

use super::error::ClientError;
use crate::pki::{CertPool, Certificate, Invalid, ParseError, VerifyError, verify_server};

/// TLS 1.2 and 1.3 by aws-lc-rs, whatever the process' default provider is, and HTTP/2 or HTTP/1.1.
pub(crate) fn config(
    trust: &Trust<'_>,
    certificate: Option<&ClientCertificate>,
) -> Result<Arc<ClientConfig>, ClientError> {
    let provider = aws_lc_rs::default_provider();
    let algorithms = provider.signature_verification_algorithms;
    let roots = match trust {
        Trust::Authorities(bundle) => Some(CertPool::from_pem(bundle)?),
        Trust::System => Some(system()?),
        Trust::Anybody => None,
        Trust::Nobody => Some(CertPool::default()),
    };
    let config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .map_err(|_versions| ClientError::NoTls)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier { roots, algorithms }));
    let mut config = match certificate {
        None => config.with_no_client_auth(),
        Some(ClientCertificate { chain, key }) => config
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(|_mismatch| ClientError::KeyMismatch)?,
    };
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The system's, or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`, of which Go replaces the one that is not set by the system's. One that
/// cannot be read is skipped, as in Go.
fn system() -> Result<CertPool, ClientError> {
    let certificates = rustls_native_certs::load_native_certs().certs;
    let roots: CertPool = certificates.iter().filter_map(|der| Certificate::parse(der).ok()).collect();
    if roots.certificates().is_empty() { Err(ClientError::NoSystemRoots) } else { Ok(roots) }
}

/// Whose certificate a server may have.
#[derive(Debug, Clone, Copy)]
pub enum Trust<'a> {
    /// One by an authority that the system trusts.
    System,
    /// One by an authority of a PEM bundle. Go: `RootCAs` of `tls.Config`; `NewPoolFromBytes` of k8s.io/client-go/util/cert.
    Authorities(&'a [u8]),
    /// Anybody's. Go: `InsecureSkipVerify` of `tls.Config`.
    Anybody,
    /// Nobody's, where TLS is not to be spoken at all.
    Nobody,
}

/// A certificate that a client shows to a server that asks for one, with its key.
#[derive(Debug)]
pub struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl ClientCertificate {
    /// Reads both from PEM texts; the certificate comes first, its intermediates after it. Go: `tls.X509KeyPair`.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, ClientError> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(chain).collect();
        let chain = chain.ok().filter(|chain| !chain.is_empty()).ok_or(ClientError::NoCertificate)?;
        // What the parser says of a key is not repeated.
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| ClientError::NoKey)?;
        Ok(Self { chain, key })
    }
}

/// Go's verdict on a server's certificate. The name in it, and the signature of the handshake, are rustls' affair.
#[derive(Debug)]
struct Verifier {
    /// None: anybody's will do.
    roots: Option<CertPool>,
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
        let Some(roots) = &self.roots else { return Ok(ServerCertVerified::assertion()) };
        let parse = |der: &CertificateDer<'_>| Certificate::parse(der).map_err(|error| unreadable(&error));
        let now =
            UNIX_EPOCH.checked_add(Duration::from_secs(now.as_secs())).ok_or(CertificateError::Expired)?;
        let certificate = parse(leaf)?;
        let intermediates = intermediates.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        verify_server(&certificate, &intermediates, roots, now).map_err(untrusted)?;
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
