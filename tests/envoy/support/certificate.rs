//! A certificate for Envoy's listener, and client configurations that trust that one alone.

use std::fs;
use std::path::Path;

use s2n_tls::config::Config;
use s2n_tls::security::DEFAULT_TLS13;

/// The name in the certificate and in every client's handshake.
pub(crate) const NAME: &str = "edge.test";

/// Writes `certs/server.crt` and `certs/server.key` into `directory` and returns what clients have to trust (PEM).
pub(crate) fn write(directory: &Path) -> String {
    let made = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
    let certs = directory.join("certs");
    fs::create_dir(&certs).unwrap();
    fs::write(certs.join("server.crt"), made.cert.pem()).unwrap();
    fs::write(certs.join("server.key"), made.signing_key.serialize_pem()).unwrap();
    made.cert.pem()
}

/// TLS that offers one application protocol.
pub(crate) fn client(trusted: &str, protocol: &str) -> Config {
    let mut config = Config::builder();
    config.with_system_certs(false).unwrap();
    config.trust_pem(trusted.as_bytes()).unwrap();
    config.set_security_policy(&DEFAULT_TLS13).unwrap();
    config.set_application_protocol_preference([protocol]).unwrap();
    config.build().unwrap()
}
