//! JSON Web Keys and sets of them (RFC 7517).

use aws_lc_rs::digest::{self, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use thiserror::Error;

use super::algorithm::VerificationKey;
use super::base64url::{decode, decode_std};
use crate::json::{JsonError, Object, TypeError, Value};
use crate::pki::{Certificate, Curve, ParseError, PublicKey};

/// How many keys a set may have. Go has no limit; a token without `kid` is tried with each of them, and issuers have a few.
pub const MAX_KEYS: usize = 100;

/// Why something is no key. The texts tell nothing of what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyError {
    /// A member is of a wrong type.
    #[error("{0}")]
    Type(#[from] TypeError),
    /// Two members of one name.
    #[error("duplicate member")]
    Duplicate,
    /// This member is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// This member is not encoded as it should be, or has a wrong size.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// Neither RSA, EC, OKP nor oct.
    #[error("unknown kty")]
    UnknownType,
    /// A curve that is not known, or not for this type of key.
    #[error("unsupported crv")]
    UnknownCurve,
    /// The coordinates are not those of a point on the curve.
    #[error("not a point of the curve")]
    NotOnCurve,
    /// It is a private key.
    #[error("a private key")]
    Private,
    /// `x5c` holds something that is no certificate.
    #[error("x5c: {0}")]
    Certificate(#[from] ParseError),
    /// The first certificate of `x5c` has another key, or another thumbprint than `x5t` or `x5t#S256`.
    #[error("x5c does not fit the rest of the key")]
    CertificateMismatch,
}

/// Why bytes are no set of keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeySetError {
    /// Not JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// The set, or its `keys`, is of a wrong type.
    #[error("{0}")]
    Type(#[from] TypeError),
    /// One key, counted from 1, is none.
    #[error("key {number}: {error}")]
    Key {
        /// Which one.
        number: usize,
        /// What is wrong with it.
        error: KeyError,
    },
    /// More than [`MAX_KEYS`].
    #[error("too many keys")]
    TooManyKeys,
}

/// A key with its name. `use`, `key_ops` and `alg` are not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JsonWebKey {
    key_id: Box<str>,
    /// None for a symmetric key, which is never used.
    key: Option<VerificationKey>,
}

/// Keys in the order in which they were published.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JsonWebKeySet {
    keys: Vec<JsonWebKey>,
}

impl JsonWebKeySet {
    /// Reads a set. One bad key makes the whole set bad. Go: `json.Unmarshal` into a `JSONWebKeySet` of go-jose.v2/jwk.go, called by
    /// `updateKeys` of github.com/coreos/go-oidc/jwks.go.
    pub fn parse(document: &[u8]) -> Result<Self, KeySetError> {
        let document = Value::parse(document)?;
        let mut keys = Vec::new();
        let Some(members) = document.object_or_null()? else { return Ok(Self { keys }) };
        for list in members.fields("keys") {
            let list = match list {
                Value::Null => &[][..],
                Value::Array(list) => list,
                _ => return Err(TypeError("an array of keys").into()),
            };
            if list.len() > MAX_KEYS {
                return Err(KeySetError::TooManyKeys);
            }
            let read = |(index, value): (usize, &Value<'_>)| {
                JsonWebKey::from_value(value).map_err(|error| KeySetError::Key { number: index + 1, error })
            };
            keys = list.iter().enumerate().map(read).collect::<Result<_, _>>()?;
        }
        Ok(Self { keys })
    }

    /// The keys that may have signed a token with this `kid`, or, if it is empty, all of them. Go: `remoteKeySet.verify` of
    /// github.com/coreos/go-oidc/jwks.go.
    pub fn candidates<'a, 'b>(
        &'a self,
        key_id: &'b str,
    ) -> impl Iterator<Item = &'a VerificationKey> + use<'a, 'b> {
        let fits = move |key: &&JsonWebKey| key_id.is_empty() || *key.key_id == *key_id;
        self.keys.iter().filter(fits).filter_map(|key| key.key.as_ref())
    }

    /// The `kid` of one of these keys, or nothing.
    pub fn key_id_of(&self, key: &VerificationKey) -> &str {
        let is_it = |own: &&JsonWebKey| own.key.as_ref().is_some_and(|own| std::ptr::eq(own, key));
        self.keys.iter().find(is_it).map_or("", |own| &own.key_id)
    }

    /// Whether a key has this `kid`.
    pub fn has_key_id(&self, key_id: &str) -> bool {
        self.keys.iter().any(|key| *key.key_id == *key_id)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

impl JsonWebKey {
    /// Reads a key. Go: `JSONWebKey.UnmarshalJSON` of go-jose.v2/jwk.go.
    pub(super) fn from_value(value: &Value<'_>) -> Result<Self, KeyError> {
        let empty = Object::default();
        let members = Members(value.object_or_null()?.unwrap_or(&empty));
        if !members.0.is_unique() {
            return Err(KeyError::Duplicate);
        }
        // Go decodes x5u into a url.URL, for which there is no JSON but an object.
        if !matches!(members.0.get("x5u"), None | Some(Value::Null)) {
            return Err(KeyError::Malformed("x5u"));
        }
        // Whatever the type of the key, all members that have a type have to be of it.
        for name in ["use", "kty", "kid", "crv", "alg"] {
            members.string(name)?;
        }
        for name in ["k", "x", "y", "n", "e", "p", "q", "dp", "dq", "qi"] {
            members.bytes(name)?;
        }
        if members.bytes("d")?.is_some() {
            return Err(KeyError::Private);
        }
        let certificate = members.certificate()?;
        let key = match members.string("kty")? {
            "EC" => Some(members.ecdsa()?),
            "RSA" => Some(PublicKey::rsa(&members.required("n")?, &members.required("e")?)),
            "oct" if certificate.is_some() => return Err(KeyError::CertificateMismatch),
            "oct" => members.required("k").map(|_| None)?,
            "OKP" => Some(members.ed25519()?),
            _ => return Err(KeyError::UnknownType),
        };
        let thumbprints =
            [members.thumbprint("x5t", &SHA1_FOR_LEGACY_USE_ONLY)?, members.thumbprint("x5t#S256", &SHA256)?];
        if let Some(certificate) = certificate {
            let expected = [&SHA1_FOR_LEGACY_USE_ONLY, &SHA256].map(|hash| digest(hash, certificate.der()));
            let fits = |(thumbprint, digest): (&Vec<u8>, &digest::Digest)| {
                thumbprint.is_empty() || **thumbprint == *digest.as_ref()
            };
            if key.as_ref() != Some(certificate.public_key()) || !thumbprints.iter().zip(&expected).all(fits)
            {
                return Err(KeyError::CertificateMismatch);
            }
        }
        Ok(Self { key_id: members.string("kid")?.into(), key: key.map(VerificationKey::from) })
    }

    /// Whether it is a public key that could be used. Go: `JSONWebKey.Valid` and `IsPublic`.
    pub(super) fn is_public(&self) -> bool {
        match self.key.as_deref() {
            Some(PublicKey::Rsa { exponent, .. }) => !exponent.is_empty(),
            Some(_) => true,
            None => false,
        }
    }
}

/// The members of a key, by their types.
struct Members<'a>(&'a Object<'a>);

impl Members<'_> {
    fn string(&self, name: &str) -> Result<&str, TypeError> {
        self.0.get(name).map_or(Ok(""), Value::string)
    }

    /// Go: `byteBuffer` of go-jose.v2/encoding.go, a nil pointer if it is missing or null.
    fn bytes(&self, name: &'static str) -> Result<Option<Vec<u8>>, KeyError> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => decode(value.string()?.as_bytes()).map(Some).ok_or(KeyError::Malformed(name)),
        }
    }

    fn required(&self, name: &'static str) -> Result<Vec<u8>, KeyError> {
        self.bytes(name)?.ok_or(KeyError::Missing(name))
    }

    /// Go: `rawJSONWebKey.ecPublicKey`.
    fn ecdsa(&self) -> Result<PublicKey, KeyError> {
        let curve = match self.string("crv")? {
            "P-256" => Curve::P256,
            "P-384" => Curve::P384,
            "P-521" => Curve::P521,
            _ => return Err(KeyError::UnknownCurve),
        };
        let mut point = vec![4];
        for name in ["x", "y"] {
            let coordinate = self.required(name)?;
            if coordinate.len() != curve.size() {
                return Err(KeyError::Malformed(name));
            }
            point.extend(coordinate);
        }
        PublicKey::ecdsa(curve, &point).ok_or(KeyError::NotOnCurve)
    }

    /// Go: `rawJSONWebKey.edPublicKey`, which cuts or fills up with zeros what has not 32 bytes. No signature is verified with it.
    fn ed25519(&self) -> Result<PublicKey, KeyError> {
        match (self.string("crv")?, self.bytes("x")?) {
            ("Ed25519", Some(mut x)) => {
                x.resize(32, 0);
                x.try_into().map(PublicKey::Ed25519).map_err(|_| KeyError::Malformed("x"))
            }
            _ => Err(KeyError::UnknownCurve),
        }
    }

    /// The first certificate of `x5c`, all of which have to be certificates. Go: `parseCertificateChain` of go-jose.v2/shared.go.
    fn certificate(&self) -> Result<Option<Certificate>, KeyError> {
        let mut first = None;
        for text in self.0.get("x5c").map_or(Ok(Vec::new()), Value::strings)? {
            let der = decode_std(text.as_bytes()).ok_or(KeyError::Malformed("x5c"))?;
            let certificate = Certificate::parse(&der)?;
            first.get_or_insert(certificate);
        }
        Ok(first)
    }

    /// A digest, raw or in hexadecimal, empty if there is none.
    fn thumbprint(
        &self,
        name: &'static str,
        algorithm: &'static digest::Algorithm,
    ) -> Result<Vec<u8>, KeyError> {
        let malformed = KeyError::Malformed(name);
        let bytes = decode(self.string(name)?.as_bytes()).ok_or(malformed)?;
        let length = algorithm.output_len();
        let bytes = if bytes.len() == 2 * length { from_hex(&bytes).ok_or(malformed)? } else { bytes };
        if bytes.is_empty() || bytes.len() == length { Ok(bytes) } else { Err(malformed) }
    }
}

fn from_hex(text: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(text).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()))?;
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}
