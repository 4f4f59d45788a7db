//! X.509 certificates and the way from a client's, or a server's, to a trust anchor, with the verdict of Go's crypto/x509 (1.26) as
//! kube-apiserver calls it. Nothing here reads a file, a socket or a clock.
//!
//! ```text
//!   PEM bundle ── pem ──▶ pool ─────────────────────────────────────┐
//!   DER ── der ──▶ certificate (name, time, key, extensions) ──▶ verify (signature, policies, constraints, revocation)
//! ```
//!
//! It is a port rather than a use of a library: a verifier with other rules, or of RFC 5280's letter, would let in whom Kubernetes
//! refuses, or the other way round. Where aws-lc-rs cannot verify what Go can, the certificate is refused; nothing is accepted that
//! Go refuses:
//!
//! - keys on P-224, RSA keys of more than 8192 bits, and signatures by RSA keys of less than 2048 bits with SHA-384 or PSS;
//! - PSS parameters with bytes left over, Ed25519 keys that are not in their shortest form;
//! - a version of 2^63 - 1, which overflows in Go, certificates of more than 256 KiB, and more than a hundred at once.

mod alternative_names;
mod certificate;
mod constraints;
mod der;
mod domain;
mod error;
mod extensions;
mod key;
mod name;
mod pem;
mod policies;
mod pool;
mod public_keys;
mod revocation;
mod signature;
mod time;
mod uri;
mod verify;

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use certificate::Certificate;
pub use error::{Invalid, ParseError, PoolError, Role, SignatureError, VerifyError};
pub use key::{Curve, PublicKey};
pub use pool::{CertPool, certificates_from_pem};
pub use public_keys::public_keys_from_pem;
pub use revocation::{RevocationList, RevocationLists, revocation_lists};
pub use signature::{Hash, SignatureAlgorithm, check as check_signature, set_up_rsa};
pub use verify::{MAX_INTERMEDIATES, MAX_SIGNATURE_CHECKS, Verified, verify, verify_server};
