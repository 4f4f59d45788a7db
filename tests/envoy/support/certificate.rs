//! A certificate for Envoy's listener, and client configurations that trust that one alone.

use std::fs;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair, SanType};
use s2n_tls::config::Config;
use s2n_tls::enums::ClientAuthType;
use s2n_tls::security::DEFAULT_TLS13;

use super::authority::Certified;

/// The name in the certificate and in every client's handshake.
pub(crate) const NAME: &str = "edge.test";

/// Where Envoy looks for its certificate and key.
const CERTIFICATE: &str = "certs/server.crt";
const KEY: &str = "certs/server.key";

/// Writes certificate and key into `directory`, unless they are there, and returns what clients have to trust (PEM).
pub(crate) fn write(directory: &Path) -> String {
    if !directory.join(CERTIFICATE).exists() {
        write_with(directory, None);
    }
    fs::read_to_string(directory.join(CERTIFICATE)).unwrap()
}

/// Writes certificate and key, with a URI in the certificate if there is one.
pub(crate) fn write_with(directory: &Path, uri: Option<&str>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([NAME.to_owned()]).unwrap();
    params.subject_alt_names.extend(uri.map(|uri| SanType::URI(uri.try_into().unwrap())));
    fs::create_dir_all(directory.join("certs")).unwrap();
    fs::write(directory.join(CERTIFICATE), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(directory.join(KEY), key.serialize_pem()).unwrap();
}

/// TLS that offers one application protocol, and a certificate if there is one.
pub(crate) fn client(trusted: &str, protocol: &str, own: Option<&Certified>) -> Config {
    let mut config = Config::builder();
    config.with_system_certs(false).unwrap();
    config.trust_pem(trusted.as_bytes()).unwrap();
    config.set_security_policy(&DEFAULT_TLS13).unwrap();
    config.set_application_protocol_preference([protocol]).unwrap();
    if let Some(own) = own {
        config.load_pem(own.chain.as_bytes(), own.key.as_bytes()).unwrap();
        config.set_client_auth_type(ClientAuthType::Optional).unwrap();
    }
    config.build().unwrap()
}
