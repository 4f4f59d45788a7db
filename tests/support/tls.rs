//! TLS of the servers that stand around the program.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

/// A server with this chain and key that asks clients for nothing.
pub(crate) fn server(chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> Arc<ServerConfig> {
    server_for(WebPkiClientVerifier::no_client_auth(), chain, key)
}

/// The same for clients as `verifier` wants them.
pub(crate) fn server_for(
    verifier: Arc<dyn ClientCertVerifier>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Arc<ServerConfig> {
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()));
    let config = config.with_safe_default_protocol_versions().unwrap().with_client_cert_verifier(verifier);
    Arc::new(config.with_single_cert(chain, key).unwrap())
}
