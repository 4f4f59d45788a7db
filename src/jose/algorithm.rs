//! Signature algorithms (RFC 7518, section 3.1).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, UnparsedPublicKey,
};

use crate::pki::{Curve, Hash, PublicKey, SignatureAlgorithm, SignatureError, check_signature};

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

    /// Whether `signature` over `signed` is by the holder of `key`. Go: `verifyPayload` of go-jose.v2/asymmetric.go.
    pub(super) fn verify(
        self,
        key: &PublicKey,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<(), SignatureError> {
        let rsa = |algorithm| match key {
            PublicKey::Rsa { .. } => check_signature(algorithm, signed, signature, key),
            _ => Err(SignatureError::KeyMismatch),
        };
        match self {
            Self::RS256 => rsa(SignatureAlgorithm::RsaPkcs1(Hash::Sha256)),
            Self::RS384 => rsa(SignatureAlgorithm::RsaPkcs1(Hash::Sha384)),
            Self::RS512 => rsa(SignatureAlgorithm::RsaPkcs1(Hash::Sha512)),
            Self::PS256 => rsa(SignatureAlgorithm::RsaPss(Hash::Sha256)),
            Self::PS384 => rsa(SignatureAlgorithm::RsaPss(Hash::Sha384)),
            Self::PS512 => rsa(SignatureAlgorithm::RsaPss(Hash::Sha512)),
            Self::ES256 | Self::ES384 | Self::ES512 => {
                let (algorithm, point) = match (self, key) {
                    (Self::ES256, PublicKey::Ecdsa(Curve::P256, point)) => (&ECDSA_P256_SHA256_FIXED, point),
                    (Self::ES384, PublicKey::Ecdsa(Curve::P384, point)) => (&ECDSA_P384_SHA384_FIXED, point),
                    (Self::ES512, PublicKey::Ecdsa(Curve::P521, point)) => (&ECDSA_P521_SHA512_FIXED, point),
                    _ => return Err(SignatureError::KeyMismatch),
                };
                UnparsedPublicKey::new(algorithm, point)
                    .verify(signed, signature)
                    .map_err(|_| SignatureError::Wrong)
            }
        }
    }
}
