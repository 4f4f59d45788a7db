//! JSON Web Signatures and Keys (RFC 7515, 7517 and 7518) as kube-apiserver reads them: through gopkg.in/go-jose/go-jose.v2 (2.6.3), and
//! the claims inside through Go's encoding/json ([`crate::json`]). Nothing here reads a file, a socket or a clock.
//!
//! ```text
//!   token ── jws ──▶ header, payload ── verify(key) ──▶ payload ── json ──▶ claims
//!                                          ▲
//!   JWK set ── jwk ──▶ keys by kid ────────┘
//! ```
//!
//! Signatures are verified with RSA (RS256 to PS512) and ECDSA (ES256 to ES512). There is no HMAC, no `none`, no EdDSA (which no
//! part of kube-apiserver takes), no encryption and no JSON serialization here, so that none can be mistaken for one. A header's
//! `jwk` and `x5c` are read since a bad one makes go-jose refuse the token; they are never used, nor is any other hint at a key
//! but `kid`.
//!
//! aws-lc-rs verifies the signatures; no crate reads the tokens. `jsonwebtoken` (11.1) has no ES512, which Kubernetes takes, and reads by
//! serde's rules, where go-jose and encoding/json have their own (members that come twice, names in another case, `null`); a header
//! with `crit` is to it as one without. `openidconnect` (4.1) has no ES512 either, and cryptography of its own (`rsa`, `p256`, `p384`); it
//! wants `iat` and `sub` in a token, and in the discovery document an `authorization_endpoint` and three lists, none of which Kubernetes
//! asks for; and it looks for that document below the issuer's URL alone, where Kubernetes has `discoveryURL`.
//!
//! Stricter than go-jose, by design or where aws-lc-rs is:
//!
//! - a curve has its one algorithm: ES384 is P-384, while go-jose verifies it with any curve (RFC 7518, section 3.4);
//! - PSS salts are as long as the hash (RFC 7518, section 3.5), while Go takes any length;
//! - RSA keys of more than 8192 bits, and of less than 2048 with RS384 or PSS;
//! - RSA exponents of more than eight bytes, of which go-jose takes the last eight;
//! - a JWK set with a private key in it is refused as a whole: whoever published it has given the key away. So is one whose `x5u` is
//!   a JSON object (go-jose refuses any other);
//! - sizes and counts: [`MAX_TOKEN`], [`MAX_HEADER`], [`MAX_SIGNATURE`], [`MAX_KEYS`], [`crate::json::MAX_DEPTH`],
//!   [`crate::json::MAX_VALUES`].

mod algorithm;
mod base64url;
mod jwk;
mod jws;

#[cfg(test)]
mod tests;

pub use algorithm::{Algorithm, VerificationKey};
pub use jwk::{JsonWebKey, JsonWebKeySet, KeyError, KeySetError, MAX_KEYS};
pub use jws::{JwsError, MAX_HEADER, MAX_SIGNATURE, MAX_TOKEN, SignedToken, UnverifiedToken};

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use crate::pki::PublicKey;

/// The `kid` under which kube-apiserver signs service account tokens: the SHA-256 of the key's SubjectPublicKeyInfo. None for keys that
/// are neither RSA nor ECDSA. Go: `keyIDFromPublicKey` of k8s.io/kubernetes/pkg/serviceaccount/jwt.go.
pub fn service_account_key_id(key: &PublicKey) -> Option<String> {
    Some(BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, &key.to_pkix()?)))
}
