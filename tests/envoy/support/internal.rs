//! The certificates with which Envoy and countersign know each other.

use std::fs;
use std::path::Path;

use rcgen::{PKCS_ECDSA_P256_SHA256, SanType};

use super::authority::{Authority, Certified};

/// A CA, and one certificate of it on each side.
pub(crate) struct Internal {
    pub(crate) authority: Authority,
    pub(crate) countersign: Certified,
    /// With the URI `spiffe://lab/envoy`.
    pub(crate) envoy: Certified,
}

impl Internal {
    pub(crate) fn new() -> Self {
        let authority = Authority::root("internal");
        let countersign = authority.serve("countersign");
        let envoy = authority.certify_with(&PKCS_ECDSA_P256_SHA256, "envoy", &[], |params| {
            params.subject_alt_names = vec![SanType::URI("spiffe://lab/envoy".try_into().unwrap())];
        });
        Self { authority, countersign, envoy }
    }

    /// Writes what `envoy.yaml` names, and `countersign.crt`, `countersign.key` and `internal-ca.crt`.
    pub(crate) fn write(&self, directory: &Path) {
        fs::create_dir_all(directory.join("certs")).unwrap();
        for (name, text) in [
            ("certs/envoy.crt", &self.envoy.chain),
            ("certs/envoy.key", &self.envoy.key),
            ("certs/countersign-ca.crt", &self.authority.pem),
            ("internal-ca.crt", &self.authority.pem),
            ("countersign.crt", &self.countersign.chain),
            ("countersign.key", &self.countersign.key),
        ] {
            fs::write(directory.join(name), text).unwrap();
        }
    }
}
