//! Signed tokens: the compact serialization of RFC 7515, section 3.1.

use std::borrow::Cow;
use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bstr::ByteSlice;
use thiserror::Error;

use super::algorithm::{Algorithm, VerificationKey};
use super::base64url::{decode, decode_canonical, decode_std};
use super::jwk::{JsonWebKey, KeyError};
use crate::json::{JsonError, Object, TypeError, Value};
use crate::pki::{Certificate, Curve, ParseError, PublicKey, SignatureError};

/// How large a token may be, in bytes. Go's HTTP server takes no more for all headers of a request (`http.DefaultMaxHeaderBytes`).
pub const MAX_TOKEN: usize = 1 << 20;
/// How large a header may be, in bytes, encoded. One with a chain of certificates (`x5c`) has some 10 KiB.
pub const MAX_HEADER: usize = 64 << 10;
/// How large a signature may be, in bytes, encoded. Those by RSA keys of 8192 bits have 1366.
pub const MAX_SIGNATURE: usize = 2048;

/// Why bytes are no signed token. The texts tell nothing of what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum JwsError {
    /// Larger than [`MAX_TOKEN`], [`MAX_HEADER`] or [`MAX_SIGNATURE`] allow.
    #[error("the token is too large")]
    TooLarge,
    /// Not three parts in base64url, divided by dots.
    #[error("not the compact serialization of a JWS")]
    Form,
    /// The header is no JSON.
    #[error("malformed header: {0}")]
    Json(#[from] JsonError),
    /// A member of the header is of a wrong type.
    #[error("malformed header: {0}")]
    Type(#[from] TypeError),
    /// The header has two members of one name, or a number beyond a float64.
    #[error("malformed header: duplicate member or number out of range")]
    Duplicate,
    /// The header's `jwk` is no public key.
    #[error("malformed header: jwk: {0}")]
    Key(#[from] KeyError),
    /// The header's `jwk` is a key, but not a public one.
    #[error("malformed header: jwk is no public key")]
    NotPublic,
    /// The header's `x5c` holds something that is no certificate.
    #[error("malformed header: x5c: {0}")]
    Certificate(#[from] ParseError),
    /// The header's `x5c` is not in base64.
    #[error("malformed header: x5c is not in base64")]
    CertificateEncoding,
}

/// A token, taken apart. What is in it is only worth something once [`SignedToken::verify`] says so.
pub struct SignedToken<'a> {
    header: Header,
    payload: Cow<'a, [u8]>,
    /// What the signature is over.
    signed: Cow<'a, [u8]>,
    signature: Vec<u8>,
}

impl fmt::Debug for SignedToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SignedToken(..)")
    }
}

impl<'a> SignedToken<'a> {
    /// Takes a token apart. Go: `ParseSigned` of go-jose.v2/jws.go, but for the JSON serialization.
    ///
    /// As go-jose does, it leaves out white space anywhere in the token, and what is verified is the parts as they are when encoded
    /// anew: characters that are not the canonical ones do not matter.
    pub fn parse(token: &'a [u8]) -> Result<Self, JwsError> {
        Self::parse_with(token, |payload| decode_canonical(payload).map(Cow::Owned))
    }

    fn parse_with(
        token: &'a [u8],
        payload_of: impl FnOnce(&'a [u8]) -> Option<Cow<'a, [u8]>>,
    ) -> Result<Self, JwsError> {
        if token.len() > MAX_TOKEN {
            return Err(JwsError::TooLarge);
        }
        // Nearly always a token is what it would be if it were encoded anew.
        let canonical = three_parts(token).filter(are_small).and_then(|[header, payload, signature]| {
            let signed = token.get(..header.len() + 1 + payload.len())?;
            Some((decode_canonical(header)?, payload_of(payload)?, decode_canonical(signature)?, signed))
        });
        let Some((raw_header, payload, signature, signed)) = canonical else {
            return Self::parse_leniently(token);
        };
        let header = Header::parse(&raw_header)?;
        let signed = if header.encoded_payload {
            signed.into()
        } else {
            signed_anew(&raw_header, &header, &payload).into()
        };
        Ok(Self { header, payload, signed, signature })
    }

    /// Also one that is not what it would be if it were encoded anew.
    pub(super) fn parse_leniently(token: &[u8]) -> Result<Self, JwsError> {
        let token = without_white_space(std::str::from_utf8(token).map_err(|_| JwsError::Form)?);
        let parts = three_parts(token.as_bytes()).ok_or(JwsError::Form)?;
        if !are_small(&parts) {
            return Err(JwsError::TooLarge);
        }
        let [Some(raw_header), Some(payload), Some(signature)] = parts.map(decode) else {
            return Err(JwsError::Form);
        };
        let header = Header::parse(&raw_header)?;
        let signed = signed_anew(&raw_header, &header, &payload).into();
        Ok(Self { header, payload: payload.into(), signed, signature })
    }

    /// What is signed, the payload, and the signature.
    #[cfg(test)]
    pub(super) fn parts(&self) -> [&[u8]; 3] {
        [&self.signed, &self.payload, &self.signature]
    }

    /// The algorithm, if it is one that is known.
    pub fn algorithm(&self) -> Option<Algorithm> {
        self.header.algorithm
    }

    /// The `kid` that the header names, or nothing.
    pub fn key_id(&self) -> &str {
        &self.header.key_id
    }

    /// The payload, if `key` verifies the signature. Go: `JSONWebSignature.Verify` of go-jose.v2/signing.go.
    pub fn verify(&self, key: &VerificationKey) -> Result<&[u8], SignatureError> {
        let algorithm = self.header.algorithm.filter(|_| self.header.is_understood);
        let algorithm = algorithm.ok_or(SignatureError::UnsupportedAlgorithm)?;
        key.verify(algorithm, &self.signed, &self.signature)?;
        Ok(&self.payload)
    }

    /// Whether go-jose may verify with `key` what [`SignedToken::verify`] has refused: then nobody here can tell whose the token is. That
    /// is so where this module is stricter: curves, PSS, sizes of RSA keys.
    pub fn is_beyond_us(&self, key: &PublicKey) -> bool {
        use Algorithm::{ES384, ES512, PS256, PS384, PS512, RS256, RS384, RS512};
        let Some(algorithm) = self.header.algorithm.filter(|_| self.header.is_understood) else {
            return false;
        };
        match (algorithm, key) {
            // Whether one is wrong, or its salt of another length, is not told.
            (PS256 | PS384 | PS512, PublicKey::Rsa { .. }) => true,
            (RS256 | RS384 | RS512, PublicKey::Rsa { modulus, exponent }) => {
                let has_2048_bits =
                    modulus.len() > 256 || modulus.len() == 256 && modulus.first() >= Some(&0x80);
                algorithm == RS384 && !has_2048_bits || modulus.len() > 1024 || exponent.len() > 8
            }
            // The numbers of a larger curve do not fit into the signature.
            (ES384, PublicKey::Ecdsa(curve, _)) => *curve == Curve::P256,
            (ES512, PublicKey::Ecdsa(curve, _)) => *curve != Curve::P521,
            _ => false,
        }
    }
}

/// The payload of a token in the compact serialization, without a look at anything else: what the authenticators read the issuer
/// from. Go: `hasCorrectIssuer` of k8s.io/kubernetes/pkg/serviceaccount/jwt.go and of
/// k8s.io/apiserver/plugin/pkg/authenticator/token/oidc/oidc.go.
pub struct UnverifiedToken<'a> {
    token: &'a [u8],
    payload: Vec<u8>,
    /// Whether the payload is what it would be if it were encoded anew.
    is_canonical: bool,
}

impl<'a> UnverifiedToken<'a> {
    /// None if the token has not three parts, or a payload that is not base64url, or is larger than [`MAX_TOKEN`].
    pub fn decode(token: &'a [u8]) -> Option<Self> {
        if token.len() > MAX_TOKEN || trim_start(token).starts_with(b"{") {
            return None;
        }
        let [_, part, _] = three_parts(token)?;
        Some(match decode_canonical(part) {
            Some(payload) => Self { token, payload, is_canonical: true },
            None => Self { token, payload: decode(part)?, is_canonical: false },
        })
    }

    /// The payload, of which nobody knows who wrote it.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// As [`SignedToken::parse`], without decoding the payload again.
    pub fn parse(&self) -> Result<SignedToken<'_>, JwsError> {
        SignedToken::parse_with(self.token, |_| self.is_canonical.then(|| Cow::Borrowed(&*self.payload)))
    }
}

impl fmt::Debug for UnverifiedToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnverifiedToken(..)")
    }
}

fn trim_start(token: &[u8]) -> &[u8] {
    if token.first().is_some_and(u8::is_ascii_graphic) {
        return token;
    }
    // What is not UTF-8 is not white space.
    let valid = token.utf8_chunks().next().map_or("", |chunk| chunk.valid());
    token.get(valid.len() - valid.trim_start().len()..).unwrap_or_default()
}

fn three_parts(token: &[u8]) -> Option<[&[u8]; 3]> {
    let mut parts = token.split_str(".");
    let three = [parts.next()?, parts.next()?, parts.next()?];
    parts.next().is_none().then_some(three)
}

/// Whether header and signature are within [`MAX_HEADER`] and [`MAX_SIGNATURE`].
fn are_small([header, _, signature]: &[&[u8]; 3]) -> bool {
    header.len() <= MAX_HEADER && signature.len() <= MAX_SIGNATURE
}

/// What is signed, put together from its decoded parts. Go: `computeAuthData` of go-jose.v2/jws.go.
fn signed_anew(raw_header: &[u8], header: &Header, payload: &[u8]) -> Vec<u8> {
    let mut signed = BASE64_URL_SAFE_NO_PAD.encode(raw_header).into_bytes();
    signed.push(b'.');
    if header.encoded_payload {
        signed.extend(BASE64_URL_SAFE_NO_PAD.encode(payload).into_bytes());
    } else {
        signed.extend(payload);
    }
    signed
}

/// Go: `stripWhitespace` of go-jose.v2/encoding.go.
fn without_white_space(token: &str) -> Cow<'_, str> {
    if !token.contains(char::is_whitespace) {
        return token.into();
    }
    token.chars().filter(|c| !c.is_whitespace()).collect()
}

/// What a header says that matters.
struct Header {
    algorithm: Option<Algorithm>,
    key_id: Box<str>,
    /// Whether the signature is over the payload in base64url (RFC 7797, `b64`).
    encoded_payload: bool,
    /// Whether `crit` is well-formed and names nothing but `b64`.
    is_understood: bool,
}

impl Header {
    /// Go: `parsed.sanitized` of go-jose.v2/jws.go, `rawHeader.sanitized` of shared.go.
    fn parse(bytes: &[u8]) -> Result<Self, JwsError> {
        let document = match bytes {
            // An empty header is one that nothing verifies.
            [] => Value::Null,
            _ => Value::parse(bytes)?,
        };
        let empty = Object::default();
        let members = document.object_or_null()?.unwrap_or(&empty);
        if !members.is_unique() {
            return Err(JwsError::Duplicate);
        }
        // A member that is null counts as absent.
        for (name, value) in members.members().filter(|(_, value)| !matches!(value, Value::Null)) {
            match name {
                "alg" | "kid" | "nonce" => {
                    value.string()?;
                }
                "jwk" if !JsonWebKey::from_value(value)?.is_public() => return Err(JwsError::NotPublic),
                "jwk" => {}
                "x5c" => {
                    for certificate in value.strings()? {
                        let der = decode_std(certificate.as_bytes()).ok_or(JwsError::CertificateEncoding)?;
                        Certificate::parse(&der)?;
                    }
                }
                _ if !value.is_strict() => return Err(JwsError::Duplicate),
                _ => {}
            }
        }
        let string = |name| members.get(name).map_or(Ok(""), Value::string);
        Ok(Self {
            algorithm: Algorithm::named(string("alg")?),
            key_id: string("kid")?.into(),
            // Of a wrong type it counts as absent. Go: `getB64`, of which `computeAuthData` ignores the error.
            encoded_payload: members.get("b64") != Some(&Value::Bool(false)),
            is_understood: members
                .get("crit")
                .is_none_or(|names| names.strings().is_ok_and(|names| names.iter().all(|n| *n == "b64"))),
        })
    }
}
