//! What can be wrong with a certificate, a bundle of them, or a chain.

use thiserror::Error;

/// Why bytes are no certificate. The texts name a part of the certificate and nothing that stands in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ParseError {
    /// More than [`Certificate::MAX_SIZE`](super::Certificate::MAX_SIZE) bytes.
    #[error("the certificate is too large")]
    TooLarge,
    /// More bytes follow the certificate.
    #[error("trailing data")]
    TrailingData,
    /// This part is not what RFC 5280 says, or not in DER.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// Neither version 1, 2 nor 3.
    #[error("invalid version")]
    Version,
    /// The serial number is below zero.
    #[error("negative serial number")]
    NegativeSerial,
    /// The signed part names another signature algorithm than the one that stands beside the signature.
    #[error("inner and outer signature algorithm identifiers do not match")]
    SignatureAlgorithm,
    /// An attribute of a name is of a type that is no string, or of one that is not read (its tag).
    #[error("invalid name: unsupported string type {0}")]
    StringType(u8),
    /// An attribute of a name holds what its type of string cannot hold.
    #[error("invalid name: invalid {0}")]
    String(&'static str),
    /// The public key is not one.
    #[error("invalid public key: {0}")]
    PublicKey(&'static str),
    /// The same extension twice.
    #[error("duplicate extension")]
    DuplicateExtension,
    /// This extension cannot be read.
    #[error("invalid {0}")]
    Extension(&'static str),
    /// A critical extension that is not understood.
    #[error("unhandled critical extension")]
    CriticalExtension,
    /// This extension must not be critical.
    #[error("{0} incorrectly marked critical")]
    Critical(&'static str),
}

/// Why a bundle of trust anchors, or of revocation lists, cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PoolError {
    /// Not one block of type CERTIFICATE without headers.
    #[error("no PEM block of type CERTIFICATE")]
    NoCertificates,
    /// This block of type CERTIFICATE, counted from 1, is no certificate.
    #[error("certificate {number}: {error}")]
    Certificate {
        /// Which of the blocks that are read.
        number: usize,
        /// What is wrong with it.
        error: ParseError,
    },
    /// Not one block of type X509 CRL without headers.
    #[error("no PEM block of type X509 CRL, and not DER")]
    NoRevocationLists,
    /// This list, counted from 1, is none.
    #[error("revocation list {number}: {error}")]
    RevocationList {
        /// Which of those that are read.
        number: usize,
        /// What is wrong with it.
        error: ParseError,
    },
    /// This list, counted from 1, bears the name of a trust anchor and is not signed by it.
    #[error("revocation list {number}: not signed by the CA of its issuer's name")]
    RevocationListSignature {
        /// Which of those that are read.
        number: usize,
    },
}

/// Whose certificate a [`VerifyError`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The client's own.
    Leaf,
    /// One that the client sent along.
    Intermediate,
    /// A trust anchor.
    Root,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Leaf => "the certificate",
            Self::Intermediate => "an intermediate certificate",
            Self::Root => "a root certificate",
        })
    }
}

/// Why a certificate cannot stand where it would have to in a chain. Go: `Certificate.isValid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Invalid {
    /// A critical extension that is not known (RFC 5280, section 4.2).
    #[error("has an unhandled critical extension")]
    UnhandledCriticalExtension,
    /// Its issuer is another one.
    #[error("is of another issuer")]
    NameMismatch,
    /// Now is before its notBefore.
    #[error("is not yet valid")]
    NotYetValid,
    /// Now is after its notAfter.
    #[error("has expired")]
    Expired,
    /// It is no CA's.
    #[error("is not authorized to sign other certificates")]
    NotAuthorizedToSign,
    /// More intermediates below it than its path length constraint allows.
    #[error("has too many intermediates below it for its path length constraint")]
    TooManyIntermediates,
}

/// Why a certificate's signature is not one by a certain issuer. Go: `Certificate.CheckSignatureFrom`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SignatureError {
    /// The issuer is no CA, or its key is not for signing certificates.
    #[error("the issuer cannot sign certificates")]
    ParentCannotSign,
    /// MD5 or SHA-1.
    #[error("insecure signature algorithm")]
    InsecureAlgorithm,
    /// An algorithm that is not known, or not available for the issuer's key.
    #[error("unsupported signature algorithm")]
    UnsupportedAlgorithm,
    /// The algorithm is for another kind of key than the issuer's.
    #[error("the signature algorithm does not fit the issuer's key")]
    KeyMismatch,
    /// The issuer's RSA key is too short, too long or otherwise unusable.
    #[error("the issuer's key cannot be used")]
    Key,
    /// The signature is wrong.
    #[error("wrong signature")]
    Wrong,
    /// Go might verify it; nobody here can.
    #[error("a signature, or an issuer's key, that aws-lc-rs does not take")]
    BeyondUs,
}

/// Why no chain leads from a certificate to a trust anchor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum VerifyError {
    /// More certificates than [`MAX_INTERMEDIATES`](super::MAX_INTERMEDIATES) came along.
    #[error("too many intermediate certificates")]
    TooManyCertificates,
    /// One certificate cannot stand where it would have to.
    #[error("{role} {reason}")]
    Invalid {
        /// Whose certificate.
        role: Role,
        /// Why.
        reason: Invalid,
    },
    /// No issuer is known or trusted. The first that could have been it, and what is wrong with it, if there is one.
    #[error("signed by unknown authority{}", hint(.candidate))]
    UnknownAuthority {
        /// Whose signature was tried first.
        candidate: Option<(Role, SignatureError)>,
    },
    /// A revocation list has this certificate of the chain.
    #[error("{role} has been revoked")]
    Revoked {
        /// Whose certificate.
        role: Role,
    },
    /// A revocation list that matters to the chain is past its nextUpdate.
    #[error("a revocation list of the chain is past its next update")]
    RevocationListExpired,
    /// There is a chain for Go, if it verifies a signature in it which nobody here can.
    #[error("a signature in the chain cannot be verified here")]
    BeyondUs,
    /// Too many signatures were tried.
    #[error("signature check attempts limit reached")]
    SignatureLimit,
    /// All chains lack a policy that they need (RFC 5280, section 6.1).
    #[error("no valid chain: invalid policies")]
    Policies,
    /// All chains are for other purposes than authentication of a client, or of a server.
    #[error("incompatible extended key usage")]
    KeyUsage,
    /// A CA of the chain may not sign for a name in it.
    #[error("a root or intermediate certificate is not authorized to sign for a name in the chain")]
    NameConstraints,
}

fn hint(candidate: &Option<(Role, SignatureError)>) -> String {
    candidate.map_or_else(String::new, |(role, reason)| format!(" (tried {role}: {reason})"))
}
