//! Signature algorithms (RFC 7518, section 3.1).

use std::fmt;
use std::ops::Deref;
use std::sync::OnceLock;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ParsedPublicKey,
};

use crate::pki::{Curve, Hash, PublicKey, SignatureAlgorithm, SignatureError, set_up_rsa};

/// An algorithm that tokens may be signed with: those that kube-apiserver knows, `AllValidSigningAlgorithms` of
/// k8s.io/apiserver/plugin/pkg/authenticator/token/oidc/oidc.go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "they are the standard's own names")]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    ES256,
    ES384,
    ES512,
    PS256,
    PS384,
    PS512,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::ES256,
        Self::ES384,
        Self::ES512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
    ];

    /// The algorithm of this name, in this case of letters.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// The value of a header's `alg`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::ES512 => "ES512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
        }
    }

    /// Sets up `key` to verify signatures. Go: `verifyPayload` of go-jose.v2/asymmetric.go.
    fn set_up(self, key: &PublicKey) -> Result<ParsedPublicKey, SignatureError> {
        let (algorithm, point) = match (self, key) {
            (Self::RS256, _) => return set_up_rsa(SignatureAlgorithm::RsaPkcs1(Hash::Sha256), key),
            (Self::RS384, _) => return set_up_rsa(SignatureAlgorithm::RsaPkcs1(Hash::Sha384), key),
            (Self::RS512, _) => return set_up_rsa(SignatureAlgorithm::RsaPkcs1(Hash::Sha512), key),
            (Self::PS256, _) => return set_up_rsa(SignatureAlgorithm::RsaPss(Hash::Sha256), key),
            (Self::PS384, _) => return set_up_rsa(SignatureAlgorithm::RsaPss(Hash::Sha384), key),
            (Self::PS512, _) => return set_up_rsa(SignatureAlgorithm::RsaPss(Hash::Sha512), key),
            (Self::ES256, PublicKey::Ecdsa(Curve::P256, point)) => (&ECDSA_P256_SHA256_FIXED, point),
            (Self::ES384, PublicKey::Ecdsa(Curve::P384, point)) => (&ECDSA_P384_SHA384_FIXED, point),
            (Self::ES512, PublicKey::Ecdsa(Curve::P521, point)) => (&ECDSA_P521_SHA512_FIXED, point),
            (Self::ES256 | Self::ES384 | Self::ES512, _) => return Err(SignatureError::KeyMismatch),
        };
        ParsedPublicKey::new(algorithm, point).map_err(|_| SignatureError::Key)
    }
}

/// A public key that verifies signatures, and is set up for an algorithm only once: with RSA that is a tenth of the work.
pub struct VerificationKey {
    key: PublicKey,
    set_up: [OnceLock<Result<Box<ParsedPublicKey>, SignatureError>>; Algorithm::ALL.len()],
}

impl VerificationKey {
    /// Whether `signature` over `signed` is by the holder of this key.
    pub(super) fn verify(
        &self,
        algorithm: Algorithm,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureError> {
        let place = Algorithm::ALL.iter().position(|other| *other == algorithm);
        let place =
            place.and_then(|place| self.set_up.get(place)).ok_or(SignatureError::UnsupportedAlgorithm)?;
        let key = place
            .get_or_init(|| algorithm.set_up(&self.key).map(Box::new))
            .as_ref()
            .map_err(|error| *error)?;
        key.verify_sig(signed, signature).map_err(|_| SignatureError::Wrong)
    }
}

impl From<PublicKey> for VerificationKey {
    fn from(key: PublicKey) -> Self {
        Self { key, set_up: Default::default() }
    }
}

impl Deref for VerificationKey {
    type Target = PublicKey;

    fn deref(&self) -> &PublicKey {
        &self.key
    }
}

impl Clone for VerificationKey {
    fn clone(&self) -> Self {
        self.key.clone().into()
    }
}

impl PartialEq for VerificationKey {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for VerificationKey {}

impl fmt::Debug for VerificationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.key.fmt(f)
    }
}
