//! TLS on our own listeners: who we say that we are, and who may ask us. Between Envoy, or whoever watches us, and us only; the certificates
//! of Envoy's clients are [`super::certificates`]' affair.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, RootCertStore, SignatureScheme,
    SupportedProtocolVersion,
};
use webpki::EndEntityCert;

use super::deadlines::Deadlines;
use super::file::NamedFile;
use super::options::option;
use super::values::Values;
use crate::pki::certificates_from_pem;

/// What a listener needs for a handshake.
#[derive(Clone)]
pub struct Tls(pub Arc<rustls::ServerConfig>);

/// Says nothing: there is a private key in it.
impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tls(..)")
    }
}

/// One of our listeners.
struct Listener {
    certificate: &'static str,
    key: &'static str,
    client_ca: &'static str,
    allowed_names: &'static str,
    /// What becomes of an expired certificate.
    expired: &'static str,
    /// What it speaks, by ALPN.
    protocols: &'static [&'static [u8]],
    /// Whether it lets in clients without a certificate. One that is bad is let in nowhere.
    takes_none: bool,
}

const CHECKS: Listener = Listener {
    certificate: "tls-cert-file",
    key: "tls-private-key-file",
    client_ca: "tls-client-ca-file",
    allowed_names: "tls-allowed-client-names",
    expired: "has expired, and Envoy will not connect",
    protocols: &[b"h2"],
    takes_none: false,
};

const ADMIN: Listener = Listener {
    certificate: "admin-tls-cert-file",
    key: "admin-tls-private-key-file",
    client_ca: "admin-tls-client-ca-file",
    allowed_names: "admin-tls-allowed-client-names",
    expired: "has expired, and Prometheus will not connect",
    protocols: &[b"h2", b"http/1.1"],
    takes_none: true,
};

/// Reads `--tls-*`. None without `--tls-cert-file`, or with an error.
pub(super) fn listener(
    values: &mut Values<'_>,
    deadlines: &mut Deadlines,
    warnings: &mut Vec<String>,
) -> Option<Tls> {
    let tls = read(&CHECKS, values, deadlines)?;
    if !values.is_set(option(CHECKS.client_ca)) {
        warnings.push(
            "whoever reaches the listener may ask it about a credential; --tls-client-ca-file lets only those in who \
             have a certificate of yours"
                .to_owned(),
        );
    }
    Some(tls)
}

/// Reads `--admin-tls-*`, likewise.
pub(super) fn admin(values: &mut Values<'_>, deadlines: &mut Deadlines) -> Option<Tls> {
    read(&ADMIN, values, deadlines)
}

fn read(listener: &Listener, values: &mut Values<'_>, deadlines: &mut Deadlines) -> Option<Tls> {
    let Listener { certificate, key, client_ca, allowed_names, .. } = *listener;
    let needs =
        [(certificate, key), (key, certificate), (certificate, client_ca), (client_ca, allowed_names)];
    let names: BTreeSet<_> = values.list_of_names(option(allowed_names)).into_iter().collect();
    let [certificate, key, client_ca] = [certificate, key, client_ca].map(|name| values.file(option(name)));
    let versions = match values.choice(option("tls-min-version"), &["VersionTLS12", "VersionTLS13"]) {
        "VersionTLS13" => &[&rustls::version::TLS13][..],
        _ => rustls::ALL_VERSIONS,
    };
    for (name, by) in needs {
        let is_meant = by != allowed_names || !names.is_empty();
        if is_meant && values.is_set(option(by)) && !values.is_set(option(name)) {
            values.error(&format!("--{by}"), &format!("needs --{name} beside it"));
        }
    }
    let (certificate, key) = (certificate?, key?);
    for own in certificates_from_pem(&certificate.bytes).unwrap_or_default() {
        deadlines.add(format!("{}: {}", certificate.place, listener.expired), own.not_after());
    }
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = match &client_ca {
        Some(file) => client_verifier(values, file, names, &provider, listener.takes_none)?,
        None => WebPkiClientVerifier::no_client_auth(),
    };
    match server_config(&certificate, &key, versions, provider, verifier) {
        Ok(mut config) => {
            config.alpn_protocols = listener.protocols.iter().map(|name| name.to_vec()).collect();
            Some(Tls(Arc::new(config)))
        }
        Err((file, problem)) => {
            values.error(&file.place, &problem);
            None
        }
    }
}

fn server_config<'f>(
    certificate: &'f NamedFile,
    key: &'f NamedFile,
    versions: &[&'static SupportedProtocolVersion],
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ClientCertVerifier>,
) -> Result<rustls::ServerConfig, (&'f NamedFile, String)> {
    let chain = certificates(certificate).map_err(|problem| (certificate, problem))?;
    let parsed = PrivateKeyDer::from_pem_slice(&key.bytes)
        // What the parser says of a key is not repeated.
        .map_err(|_| (key, "no private key in PEM (PKCS #8, PKCS #1 or SEC 1)".to_owned()))?;
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| (certificate, error.to_string()))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, parsed)
        .map_err(|error| (key, format!("does not go with the certificate: {error}")))?;
    // A resumed session would stand for a client certificate that was looked at earlier. Envoy's connections last; a full
    // handshake for each costs nothing.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn client_verifier(
    values: &mut Values<'_>,
    file: &NamedFile,
    allowed_names: BTreeSet<String>,
    provider: &Arc<CryptoProvider>,
    takes_none: bool,
) -> Option<Arc<dyn ClientCertVerifier>> {
    let build = || {
        let mut roots = RootCertStore::empty();
        for (index, certificate) in certificates(file)?.into_iter().enumerate() {
            roots.add(certificate).map_err(|error| format!("certificate {}: {error}", index + 1))?;
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let builder = if takes_none { builder.allow_unauthenticated() } else { builder };
        builder.build().map_err(|error| error.to_string())
    };
    match build() {
        Ok(trusted) if allowed_names.is_empty() => Some(trusted),
        Ok(trusted) => Some(Arc::new(NamedClients { trusted, allowed_names })),
        Err(problem) => {
            values.error(&file.place, &problem);
            None
        }
    }
}

fn certificates(file: &NamedFile) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&file.bytes).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => Err("no PEM block of type CERTIFICATE".to_owned()),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("not PEM: {error}")),
    }
}

/// Lets in the clients of a CA that also have one of these names, as a DNS name or a URI among their subject alternative names.
#[derive(Debug)]
struct NamedClients {
    trusted: Arc<dyn ClientCertVerifier>,
    allowed_names: BTreeSet<String>,
}

impl NamedClients {
    fn is_allowed(&self, client: &CertificateDer<'_>) -> bool {
        EndEntityCert::try_from(client).is_ok_and(|client| {
            let mut names = client.valid_dns_names().chain(client.valid_uri_names());
            names.any(|name| self.allowed_names.contains(name))
        })
    }
}

impl ClientCertVerifier for NamedClients {
    fn verify_client_cert(
        &self,
        client: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.trusted.verify_client_cert(client, intermediates, now)?;
        match self.is_allowed(client) {
            true => Ok(verified),
            false => Err(CertificateError::ApplicationVerificationFailure.into()),
        }
    }

    fn client_auth_mandatory(&self) -> bool {
        self.trusted.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.trusted.root_hint_subjects()
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        client: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.trusted.verify_tls12_signature(message, client, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        client: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.trusted.verify_tls13_signature(message, client, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.trusted.supported_verify_schemes()
    }
}
