//! Public keys (RFC 5280, section 4.1.2.7; RFC 3279, 5480 and 8410).

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P521_SHA512_ASN1, EcdsaVerificationAlgorithm,
    ParsedPublicKey,
};

use super::der::{BIT_STRING, INTEGER, OBJECT_IDENTIFIER, Reader, SEQUENCE, is_negative};
use super::error::ParseError;

/// rsaEncryption, 1.2.840.113549.1.1.1.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
/// id-dsa, 1.2.840.10040.4.1.
const DSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x01];
/// id-ecPublicKey, 1.2.840.10045.2.1.
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
/// id-Ed25519, 1.3.101.112.
const ED25519: &[u8] = &[0x2b, 0x65, 0x70];
/// secp224r1, 1.3.132.0.33.
const P224: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x21];
/// secp256r1, 1.2.840.10045.3.1.7.
const P256: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
/// secp384r1, 1.3.132.0.34.
const P384: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x22];
/// secp521r1, 1.3.132.0.35.
const P521: &[u8] = &[0x2b, 0x81, 0x04, 0x00, 0x23];

/// A NULL, header and all.
pub(super) const NULL: &[u8] = &[0x05, 0x00];

/// An algorithm's identifier and the whole of its parameters, empty if there are none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Algorithm<'a> {
    /// The object identifier's bytes.
    pub(super) oid: &'a [u8],
    /// The parameters with their header.
    pub(super) parameters: &'a [u8],
}

impl<'a> Algorithm<'a> {
    /// Reads the content of an AlgorithmIdentifier. What follows the parameters is not looked at. Go: `parseAI` of
    /// crypto/x509/parser.go.
    pub(super) fn parse(content: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(content);
        let oid = reader.oid().ok_or(ParseError::Malformed("algorithm identifier"))?;
        if reader.is_empty() {
            return Ok(Self { oid, parameters: &[] });
        }
        let parameters = reader.any().ok_or(ParseError::Malformed("algorithm parameters"))?.full;
        Ok(Self { oid, parameters })
    }
}

/// A curve that signatures can be verified on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Curve {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521.
    P521,
}

impl Curve {
    /// How many bytes a coordinate takes.
    pub const fn size(self) -> usize {
        match self {
            Self::P256 => 32,
            Self::P384 => 48,
            Self::P521 => 66,
        }
    }

    fn algorithm(self) -> &'static EcdsaVerificationAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_ASN1,
            Self::P384 => &ECDSA_P384_SHA384_ASN1,
            Self::P521 => &ECDSA_P521_SHA512_ASN1,
        }
    }
}

/// A public key, as far as it is known what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicKey {
    /// Both without leading zeros.
    Rsa {
        /// The modulus.
        modulus: Box<[u8]>,
        /// The exponent.
        exponent: Box<[u8]>,
    },
    /// A point that is on the curve, uncompressed.
    Ecdsa(Curve, Box<[u8]>),
    /// Any 32 bytes.
    Ed25519([u8; 32]),
    /// A key that no signature of a certificate can be verified with. Go: `*dsa.PublicKey`.
    Dsa,
    /// Of an algorithm that is not known; what it is has not been looked at. Go: `UnknownPublicKeyAlgorithm`.
    Unknown,
}

impl PublicKey {
    /// An RSA key of two numbers, big-endian. Whether they are any good is seen when a signature is verified.
    pub fn rsa(modulus: &[u8], exponent: &[u8]) -> Self {
        Self::Rsa { modulus: without_leading_zeros(modulus), exponent: without_leading_zeros(exponent) }
    }

    /// An ECDSA key of an uncompressed point (SEC 1, section 2.3.3), or `None` if that is not on the curve. Go:
    /// `ecdsa.ParseUncompressedPublicKey`.
    pub fn ecdsa(curve: Curve, point: &[u8]) -> Option<Self> {
        // aws-lc-rs would take other forms as well.
        let uncompressed = point.first() == Some(&4) && point.len() == 1 + 2 * curve.size();
        (uncompressed && ParsedPublicKey::new(curve.algorithm(), point).is_ok())
            .then(|| Self::Ecdsa(curve, point.into()))
    }

    /// The SubjectPublicKeyInfo of an RSA or ECDSA key, in DER. Go: `x509.MarshalPKIXPublicKey`.
    pub fn to_pkix(&self) -> Option<Vec<u8>> {
        let (algorithm, key) = match self {
            Self::Rsa { modulus, exponent } => (
                [der(OBJECT_IDENTIFIER, RSA), NULL.to_vec()],
                der(SEQUENCE, &[der_positive(modulus), der_positive(exponent)].concat()),
            ),
            Self::Ecdsa(curve, point) => {
                let curve = match curve {
                    Curve::P256 => P256,
                    Curve::P384 => P384,
                    Curve::P521 => P521,
                };
                ([der(OBJECT_IDENTIFIER, ECDSA), der(OBJECT_IDENTIFIER, curve)], point.to_vec())
            }
            Self::Ed25519(_) | Self::Dsa | Self::Unknown => return None,
        };
        let bits = der(BIT_STRING, &[&[0], &*key].concat());
        Some(der(SEQUENCE, &[der(SEQUENCE, &algorithm.concat()), bits].concat()))
    }

    /// Reads the content of a SubjectPublicKeyInfo. What follows the key is not looked at. Go: `parseCertificate` and
    /// `parsePublicKey` of crypto/x509/parser.go.
    ///
    /// Stricter than Go: a key on P-224 is refused, since aws-lc-rs cannot tell whether it is on the curve.
    pub(super) fn parse(content: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(content);
        let algorithm = reader.read(SEQUENCE).ok_or(ParseError::Malformed("public key algorithm"))?;
        let Algorithm { oid, parameters } = Algorithm::parse(algorithm)?;
        let bits = reader.bit_string().ok_or(ParseError::Malformed("public key"))?;
        let key = match oid {
            RSA => rsa(parameters, &bits.right_align()),
            ECDSA => ecdsa(parameters, &bits.right_align()),
            ED25519 => ed25519(parameters, &bits.right_align()),
            DSA => dsa(parameters, &bits.right_align()),
            _ => return Ok(Self::Unknown),
        };
        key.map_err(ParseError::PublicKey)
    }
}

fn rsa(parameters: &[u8], data: &[u8]) -> Result<PublicKey, &'static str> {
    if parameters != NULL {
        return Err("RSA key without NULL parameters");
    }
    let mut key = Reader::new(data).enter(SEQUENCE).ok_or("RSA key")?;
    let modulus = key.positive().ok_or("RSA modulus")?;
    let exponent = key.positive().ok_or("RSA exponent")?;
    // Go reads the exponent into an int64.
    if exponent.len() > 8 || exponent.len() == 8 && is_negative(exponent) {
        return Err("RSA exponent");
    }
    Ok(PublicKey::Rsa { modulus: modulus.into(), exponent: exponent.into() })
}

fn ecdsa(parameters: &[u8], data: &[u8]) -> Result<PublicKey, &'static str> {
    let curve = named_curve(Reader::new(parameters).oid().ok_or("ECDSA parameters")?)?;
    PublicKey::ecdsa(curve, data).ok_or("not a point of the curve, uncompressed")
}

/// The curve of an object identifier (RFC 5480, section 2.1.1.1). Go: `namedCurveFromOID`.
pub(super) fn named_curve(oid: &[u8]) -> Result<Curve, &'static str> {
    match oid {
        P256 => Ok(Curve::P256),
        P384 => Ok(Curve::P384),
        P521 => Ok(Curve::P521),
        P224 => Err("P-224 is not supported"),
        _ => Err("unsupported elliptic curve"),
    }
}

fn without_leading_zeros(number: &[u8]) -> Box<[u8]> {
    number.iter().position(|byte| *byte != 0).and_then(|i| number.get(i..)).unwrap_or_default().into()
}

/// A value in DER.
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let length = without_leading_zeros(&length);
    let mut value = vec![tag];
    match (&*length, u8::try_from(length.len())) {
        ([] | [0..=0x7f], _) => value.push(length.first().copied().unwrap_or(0)),
        (_, Ok(count)) => value.extend([&[0x80 | count], &*length].concat()),
        // Eight bytes at most.
        (_, Err(_)) => {}
    }
    value.extend(content);
    value
}

/// A number that is not negative, as an INTEGER.
fn der_positive(number: &[u8]) -> Vec<u8> {
    let sign: &[u8] = if number.is_empty() || is_negative(number) { &[0] } else { &[] };
    der(INTEGER, &[sign, number].concat())
}

fn ed25519(parameters: &[u8], data: &[u8]) -> Result<PublicKey, &'static str> {
    // RFC 8410, section 3: the parameters must be absent.
    if !parameters.is_empty() {
        return Err("Ed25519 key with parameters");
    }
    data.try_into().map(PublicKey::Ed25519).map_err(|_| "Ed25519 key of a wrong size")
}

fn dsa(parameters: &[u8], data: &[u8]) -> Result<PublicKey, &'static str> {
    Reader::new(data).positive().ok_or("DSA key")?;
    let mut parameters = Reader::new(parameters).enter(SEQUENCE).ok_or("DSA parameters")?;
    for _ in 0..3 {
        parameters.integer(INTEGER).filter(|i| !is_negative(i) && *i != [0]).ok_or("DSA parameters")?;
    }
    Ok(PublicKey::Dsa)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{sequence, tlv};
    use super::*;

    /// The generator of P-256 (SEC 2, section 2.4.2), uncompressed.
    const GENERATOR: [u8; 65] = [
        4, 0x6b, 0x17, 0xd1, 0xf2, 0xe1, 0x2c, 0x42, 0x47, 0xf8, 0xbc, 0xe6, 0xe5, 0x63, 0xa4, 0x40, 0xf2,
        0x77, 0x03, 0x7d, 0x81, 0x2d, 0xeb, 0x33, 0xa0, 0xf4, 0xa1, 0x39, 0x45, 0xd8, 0x98, 0xc2, 0x96, 0x4f,
        0xe3, 0x42, 0xe2, 0xfe, 0x1a, 0x7f, 0x9b, 0x8e, 0xe7, 0xeb, 0x4a, 0x7c, 0x0f, 0x9e, 0x16, 0x2b, 0xce,
        0x33, 0x57, 0x6b, 0x31, 0x5e, 0xce, 0xcb, 0xb6, 0x40, 0x68, 0x37, 0xbf, 0x51, 0xf5,
    ];

    fn parse(oid: &[u8], parameters: &[u8], key: &[u8]) -> Result<PublicKey, ParseError> {
        let algorithm = sequence(&[tlv(6, oid), parameters.to_vec()]);
        PublicKey::parse(&[algorithm, tlv(3, &[&[0], key].concat())].concat())
    }

    fn bad(why: &'static str) -> Result<PublicKey, ParseError> {
        Err(ParseError::PublicKey(why))
    }

    /// Go: parsePublicKey. What is to be verified with the key is checked there.
    #[test]
    fn rsa_keys_are_two_positive_numbers_with_null_parameters() {
        let pair = |n: &[u8], e: &[u8]| sequence(&[tlv(2, n), tlv(2, e)]);
        let key = |n: &[u8], e: &[u8]| Ok(PublicKey::Rsa { modulus: n.into(), exponent: e.into() });
        let large = [0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        let table = [
            (pair(&[0, 0x80, 1], &[1, 0, 1]), key(&[0x80, 1], &[1, 0, 1])),
            (pair(&[3], &large), key(&[3], &large)),
            ([pair(&[3], &[3]), vec![0]].concat(), key(&[3], &[3])),
            (pair(&[3], &[&[0, 0x80], &large[1..]].concat()), bad("RSA exponent")),
            (pair(&[3], &[0]), bad("RSA exponent")),
            (pair(&[3], &[0xff]), bad("RSA exponent")),
            (pair(&[0], &[3]), bad("RSA modulus")),
            (pair(&[0x80], &[3]), bad("RSA modulus")),
            (pair(&[0, 1], &[3]), bad("RSA modulus")),
            (tlv(2, &[3]), bad("RSA key")),
        ];
        for (data, expected) in table {
            assert_eq!(parse(RSA, NULL, &data), expected, "{data:x?}");
        }
        assert_eq!(parse(RSA, &[], &pair(&[3], &[3])), bad("RSA key without NULL parameters"));
    }

    #[test]
    fn points_are_uncompressed_and_on_their_curve() {
        let named = |curve: &[u8]| tlv(6, curve);
        let not_a_point = || bad("not a point of the curve, uncompressed");
        assert_eq!(
            parse(ECDSA, &named(P256), &GENERATOR),
            Ok(PublicKey::Ecdsa(Curve::P256, GENERATOR.into()))
        );
        let mut off = GENERATOR;
        off[64] ^= 1;
        let compressed = [&[3], &GENERATOR[1..33]].concat();
        let hybrid = [&[7], &GENERATOR[1..]].concat();
        for point in [&off[..], &compressed, &hybrid, &[], &[0], &[4]] {
            assert_eq!(parse(ECDSA, &named(P256), point), not_a_point(), "{point:x?}");
        }
        assert_eq!(parse(ECDSA, &named(P384), &GENERATOR), not_a_point());
        // A whole SubjectPublicKeyInfo in the key's place, which aws-lc-rs would read.
        let spki =
            sequence(&[sequence(&[tlv(6, ECDSA), named(P256)]), tlv(3, &[&[0], &GENERATOR[..]].concat())]);
        assert_eq!(parse(ECDSA, &named(P256), &spki), not_a_point());
        assert_eq!(parse(ECDSA, &named(P224), &[4; 57]), bad("P-224 is not supported"));
        assert_eq!(
            parse(ECDSA, &named(&[0x2b, 0x81, 4, 0, 10]), &[4; 65]),
            bad("unsupported elliptic curve")
        );
        assert_eq!(parse(ECDSA, &[], &GENERATOR), bad("ECDSA parameters"));
    }

    #[test]
    fn other_keys_are_known_by_their_form_or_not_at_all() {
        assert_eq!(parse(ED25519, &[], &[7; 32]), Ok(PublicKey::Ed25519([7; 32])));
        assert_eq!(parse(ED25519, &[], &[7; 31]), bad("Ed25519 key of a wrong size"));
        assert_eq!(parse(ED25519, NULL, &[7; 32]), bad("Ed25519 key with parameters"));
        let three = sequence(&[tlv(2, &[7]), tlv(2, &[7]), tlv(2, &[7])]);
        assert_eq!(parse(DSA, &three, &tlv(2, &[7])), Ok(PublicKey::Dsa));
        assert_eq!(parse(DSA, &three, &tlv(2, &[0])), bad("DSA key"));
        assert_eq!(
            parse(DSA, &sequence(&[tlv(2, &[7]), tlv(2, &[7])]), &tlv(2, &[7])),
            bad("DSA parameters")
        );
        // X25519: whatever it is.
        assert_eq!(parse(&[0x2b, 0x65, 0x6e], NULL, &[]), Ok(PublicKey::Unknown));
        assert_eq!(PublicKey::parse(&[]), Err(ParseError::Malformed("public key algorithm")));
        let no_key = sequence(&[tlv(6, RSA)]);
        assert_eq!(PublicKey::parse(&no_key), Err(ParseError::Malformed("public key")));
    }
}
