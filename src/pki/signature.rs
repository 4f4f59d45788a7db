//! Signatures, first of all of certificates (RFC 5280, sections 4.1.1.2 and 4.1.1.3).

use std::sync::OnceLock;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA384_ASN1, ECDSA_P256_SHA512_ASN1, ECDSA_P384_SHA256_ASN1,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA512_ASN1, ECDSA_P521_SHA256_ASN1, ECDSA_P521_SHA384_ASN1,
    ECDSA_P521_SHA512_ASN1, ED25519, ParsedPublicKey, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
    RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA384, RSA_PSS_2048_8192_SHA256,
    RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters, RsaPublicKeyComponents,
    UnparsedPublicKey, VerificationAlgorithm,
};

use super::der::{INTEGER, Reader, SEQUENCE, context_constructed};
use super::error::SignatureError;
use super::key::{Algorithm, Curve, NULL, PublicKey};

/// A hash function of the SHA-2 family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

/// What something is signed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureAlgorithm {
    /// RSASSA-PKCS1-v1_5.
    RsaPkcs1(Hash),
    /// RSASSA-PSS with MGF1 of the same hash and a salt as long as it.
    RsaPss(Hash),
    /// ECDSA.
    Ecdsa(Hash),
    /// RSASSA-PSS, whose parameters have bytes left over.
    RsaPssWithMore,
    /// Ed25519.
    Ed25519,
    /// DSA with SHA-256.
    Dsa,
    /// With MD5 or SHA-1, whatever the key.
    Insecure,
    /// Not known. Go: `UnknownSignatureAlgorithm`.
    Unknown,
}

/// 1.2.840.113549.1.1, PKCS #1, without its last component.
const PKCS1: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
/// ecdsa-with-SHA2, 1.2.840.10045.4.3, without its last component.
const ECDSA_SHA2: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];
/// ecdsa-with-SHA1, 1.2.840.10045.4.1.
const ECDSA_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x01];
/// id-dsa-with-sha1, 1.2.840.10040.4.3.
const DSA_SHA1: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x38, 0x04, 0x03];
/// id-dsa-with-sha256, 2.16.840.1.101.3.4.3.2.
const DSA_SHA256: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x03, 0x02];
/// sha1WithRSASignature, ISO's 1.3.14.3.2.29.
const ISO_SHA1_RSA: &[u8] = &[0x2b, 0x0e, 0x03, 0x02, 0x1d];
/// id-Ed25519, 1.3.101.112.
const ED25519_OID: &[u8] = &[0x2b, 0x65, 0x70];
/// Hash functions, 2.16.840.1.101.3.4.2, without the last component.
const HASHES: &[u8] = &[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02];

impl SignatureAlgorithm {
    /// Parameters are looked at for PSS and Ed25519 only. Go: `getSignatureAlgorithmFromAI` of crypto/x509/x509.go.
    pub(super) fn from_identifier(algorithm: Algorithm<'_>) -> Self {
        match algorithm.oid {
            ED25519_OID if algorithm.parameters.is_empty() => return Self::Ed25519,
            ECDSA_SHA1 | DSA_SHA1 | ISO_SHA1_RSA => return Self::Insecure,
            DSA_SHA256 => return Self::Dsa,
            _ => {}
        }
        if let Some([last]) = algorithm.oid.strip_prefix(PKCS1) {
            return match last {
                4 | 5 => Self::Insecure,
                10 => pss(algorithm.parameters).unwrap_or(Self::Unknown),
                11 => Self::RsaPkcs1(Hash::Sha256),
                12 => Self::RsaPkcs1(Hash::Sha384),
                13 => Self::RsaPkcs1(Hash::Sha512),
                _ => Self::Unknown,
            };
        }
        match algorithm.oid.strip_prefix(ECDSA_SHA2) {
            Some([2]) => Self::Ecdsa(Hash::Sha256),
            Some([3]) => Self::Ecdsa(Hash::Sha384),
            Some([4]) => Self::Ecdsa(Hash::Sha512),
            _ => Self::Unknown,
        }
    }
}

/// RSASSA-PSS-params (RFC 4055, section 3.1), nothing left to a default but the trailer: the hash, MGF1 of the same hash, a salt
/// of its length. Go reads them with `encoding/asn1`, which overlooks bytes that follow; here nothing may follow.
fn pss(parameters: &[u8]) -> Option<SignatureAlgorithm> {
    let mut outer = Reader::new(parameters);
    let mut params = outer.enter(SEQUENCE)?;
    let (hash, hash_ends) = identifier(&mut params.enter(context_constructed(0))?)?;
    let mut mgf = params.enter(context_constructed(1))?;
    let mut mgf_identifier = mgf.enter(SEQUENCE)?;
    // id-mgf1
    let is_mgf1 = mgf_identifier.oid()?.strip_prefix(PKCS1) == Some(&[8]);
    let (mgf_hash, mgf_hash_ends) = identifier(&mut mgf_identifier)?;
    let mut salt = params.enter(context_constructed(2))?;
    let salt_length = salt.int64(INTEGER)?;
    let mut trailer_is_bc = true;
    let mut ends = hash_ends && mgf_hash_ends && outer.is_empty() && mgf.is_empty() && salt.is_empty();
    if !params.is_empty() {
        match params.enter(context_constructed(3)) {
            Some(mut trailer) => {
                trailer_is_bc = trailer.int64(INTEGER)? == 1;
                ends &= trailer.is_empty() && params.is_empty();
            }
            None => ends = false,
        }
    }
    let (hash, length) = match hash.strip_prefix(HASHES)? {
        [1] => (Hash::Sha256, 32),
        [2] => (Hash::Sha384, 48),
        [3] => (Hash::Sha512, 64),
        _ => return None,
    };
    let same = mgf_hash.strip_prefix(HASHES)?.first() == Some(&hash_number(hash))
        && mgf_hash.len() == HASHES.len() + 1;
    let is_usual = is_mgf1 && same && salt_length == length && trailer_is_bc;
    is_usual.then_some(match ends {
        true => SignatureAlgorithm::RsaPss(hash),
        false => SignatureAlgorithm::RsaPssWithMore,
    })
}

const fn hash_number(hash: Hash) -> u8 {
    match hash {
        Hash::Sha256 => 1,
        Hash::Sha384 => 2,
        Hash::Sha512 => 3,
    }
}

/// An AlgorithmIdentifier without parameters, or with NULL, and whether it is the only value left.
fn identifier<'a>(reader: &mut Reader<'a>) -> Option<(&'a [u8], bool)> {
    let mut inside = reader.enter(SEQUENCE)?;
    let oid = inside.oid()?;
    let plain = inside.is_empty() || inside.any()?.full == NULL;
    plain.then_some((oid, inside.is_empty() && reader.is_empty()))
}

/// Whether `signature` over `signed` is by the holder of `key`. Go: `checkSignature` of crypto/x509/x509.go, SHA-1 not allowed.
///
/// Stricter than Go where aws-lc-rs is: RSA keys of more than 8192 bits, and of less than 2048 with SHA-384 or PSS. Those are
/// [`SignatureError::BeyondUs`].
pub fn check(
    algorithm: SignatureAlgorithm,
    signed: &[u8],
    signature: &[u8],
    key: &PublicKey,
) -> Result<(), SignatureError> {
    check_with(algorithm, signed, signature, key, None)
}

/// An RSA key that has verified a signature, set up for that one's algorithm when it is asked for the second time.
pub(super) type SetUpKey = OnceLock<(SignatureAlgorithm, OnceLock<Option<ParsedPublicKey>>)>;

/// As [`check`]; `set_up` is for this key and no other.
pub(super) fn check_with(
    algorithm: SignatureAlgorithm,
    signed: &[u8],
    signature: &[u8],
    key: &PublicKey,
    set_up: Option<&SetUpKey>,
) -> Result<(), SignatureError> {
    match algorithm {
        SignatureAlgorithm::Insecure => return Err(SignatureError::InsecureAlgorithm),
        SignatureAlgorithm::Unknown => return Err(SignatureError::UnsupportedAlgorithm),
        _ => {}
    }
    match key {
        PublicKey::Rsa { modulus, exponent } => rsa(modulus, exponent, algorithm, signed, signature, set_up),
        PublicKey::Ecdsa(curve, point) => {
            let SignatureAlgorithm::Ecdsa(hash) = algorithm else { return Err(SignatureError::KeyMismatch) };
            let algorithm = match (curve, hash) {
                (Curve::P256, Hash::Sha256) => &ECDSA_P256_SHA256_ASN1,
                (Curve::P256, Hash::Sha384) => &ECDSA_P256_SHA384_ASN1,
                (Curve::P256, Hash::Sha512) => &ECDSA_P256_SHA512_ASN1,
                (Curve::P384, Hash::Sha256) => &ECDSA_P384_SHA256_ASN1,
                (Curve::P384, Hash::Sha384) => &ECDSA_P384_SHA384_ASN1,
                (Curve::P384, Hash::Sha512) => &ECDSA_P384_SHA512_ASN1,
                (Curve::P521, Hash::Sha256) => &ECDSA_P521_SHA256_ASN1,
                (Curve::P521, Hash::Sha384) => &ECDSA_P521_SHA384_ASN1,
                (Curve::P521, Hash::Sha512) => &ECDSA_P521_SHA512_ASN1,
            };
            if !is_ecdsa_signature(signature) {
                return Err(SignatureError::Wrong);
            }
            plain(algorithm, point, signed, signature)
        }
        PublicKey::Ed25519(point) => {
            if algorithm != SignatureAlgorithm::Ed25519 {
                return Err(SignatureError::KeyMismatch);
            }
            plain(&ED25519, point, signed, signature)
        }
        PublicKey::Dsa | PublicKey::Unknown => Err(SignatureError::UnsupportedAlgorithm),
    }
}

/// What aws-lc-rs verifies with RSA keys of 1024 to 2047 bits.
const FROM_1024: [SignatureAlgorithm; 2] =
    [SignatureAlgorithm::RsaPkcs1(Hash::Sha256), SignatureAlgorithm::RsaPkcs1(Hash::Sha512)];

/// Sets up an RSA key for an algorithm, as [`check`] does each time: worth it for a key that verifies more than one signature. It then
/// refuses all signatures that `check` refuses.
///
/// # Errors
/// What `check` would say, whatever is signed.
pub fn set_up_rsa(algorithm: SignatureAlgorithm, key: &PublicKey) -> Result<ParsedPublicKey, SignatureError> {
    let PublicKey::Rsa { modulus, exponent } = key else { return Err(SignatureError::KeyMismatch) };
    let parameters = rsa_parameters(modulus, exponent, algorithm)?;
    let key = RsaPublicKeyComponents { n: modulus, e: exponent };
    key.to_parsed_public_key(parameters).map_err(|_| SignatureError::Key)
}

/// Go: `rsa.VerifyPKCS1v15` and `rsa.VerifyPSS` (crypto/rsa/fips.go).
fn rsa(
    modulus: &[u8],
    exponent: &[u8],
    algorithm: SignatureAlgorithm,
    signed: &[u8],
    signature: &[u8],
    set_up: Option<&SetUpKey>,
) -> Result<(), SignatureError> {
    let parameters = rsa_parameters(modulus, exponent, algorithm)?;
    if signature.len() != modulus.len() {
        return Err(SignatureError::Wrong);
    }
    let key = RsaPublicKeyComponents { n: modulus, e: exponent };
    let again = set_up.and_then(OnceLock::get).filter(|(known, _)| *known == algorithm);
    let key_set_up = again.and_then(|(_, key_set_up)| {
        key_set_up.get_or_init(|| key.to_parsed_public_key(parameters).ok()).as_ref()
    });
    let verified = match key_set_up {
        Some(key) => key.verify_sig(signed, signature),
        None => key.verify(parameters, signed, signature),
    };
    verified.map_err(|_| SignatureError::Wrong)?;
    if let Some(set_up) = set_up {
        // Nobody but its holder says what it is set up for.
        set_up.get_or_init(|| (algorithm, OnceLock::new()));
    }
    Ok(())
}

/// How signatures by this key are verified, if it is any good. Go: `checkKeySize` (1024 bits at least) and `checkPublicKey` of
/// crypto/internal/fips140/rsa/rsa.go.
fn rsa_parameters(
    modulus: &[u8],
    exponent: &[u8],
    algorithm: SignatureAlgorithm,
) -> Result<&'static RsaParameters, SignatureError> {
    let parameters: &'static RsaParameters = match algorithm {
        SignatureAlgorithm::RsaPkcs1(Hash::Sha256) => &RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
        SignatureAlgorithm::RsaPkcs1(Hash::Sha384) => &RSA_PKCS1_2048_8192_SHA384,
        SignatureAlgorithm::RsaPkcs1(Hash::Sha512) => &RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY,
        SignatureAlgorithm::RsaPss(Hash::Sha256) => &RSA_PSS_2048_8192_SHA256,
        SignatureAlgorithm::RsaPss(Hash::Sha384) => &RSA_PSS_2048_8192_SHA384,
        SignatureAlgorithm::RsaPss(Hash::Sha512) => &RSA_PSS_2048_8192_SHA512,
        SignatureAlgorithm::RsaPssWithMore => return Err(SignatureError::BeyondUs),
        _ => return Err(SignatureError::KeyMismatch),
    };
    let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte & 1 == 1);
    let in_range = exponent.len() < 4 || exponent.len() == 4 && exponent.first() < Some(&0x80);
    let bits = modulus.len() * 8
        - modulus.first().map_or(0, |byte| u8::leading_zeros(*byte).try_into().unwrap_or(0));
    if !is_odd(modulus) || !is_odd(exponent) || exponent == [1] || !in_range || bits < 1024 {
        return Err(SignatureError::Key);
    }
    if bits > 8192 || bits < 2048 && !FROM_1024.contains(&algorithm) {
        return Err(SignatureError::BeyondUs);
    }
    Ok(parameters)
}

/// Go: `parseSignature` of crypto/ecdsa/ecdsa.go.
fn is_ecdsa_signature(signature: &[u8]) -> bool {
    let mut outer = Reader::new(signature);
    let Some(mut inner) = outer.enter(SEQUENCE) else { return false };
    outer.is_empty() && inner.positive().is_some() && inner.positive().is_some() && inner.is_empty()
}

fn plain(
    algorithm: &'static dyn VerificationAlgorithm,
    key: &[u8],
    signed: &[u8],
    signature: &[u8],
) -> Result<(), SignatureError> {
    UnparsedPublicKey::new(algorithm, key).verify(signed, signature).map_err(|_| SignatureError::Wrong)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::super::certificate::Certificate;
    use super::super::testing::{draft, sequence, tlv};
    use super::*;

    fn hash(last: u8, parameters: &[u8]) -> Vec<u8> {
        sequence(&[tlv(6, &[HASHES, &[last]].concat()), parameters.to_vec()])
    }

    /// RSASSA-PSS-params: hash, MGF's hash, salt length, and what follows.
    fn pss_params(hash: &[u8], mgf_hash: &[u8], salt: &[u8], rest: &[u8]) -> Vec<u8> {
        let mgf = sequence(&[tlv(6, &[PKCS1, &[8]].concat()), mgf_hash.to_vec()]);
        sequence(&[tlv(0xa0, hash), tlv(0xa1, &mgf), tlv(0xa2, &tlv(INTEGER, salt)), rest.to_vec()])
    }

    /// Go: getSignatureAlgorithmFromAI.
    #[test]
    fn pss_is_one_hash_throughout_and_a_salt_of_its_length() {
        use SignatureAlgorithm::{RsaPss, RsaPssWithMore, Unknown};
        let (sha256, sha384, sha512) = (hash(1, NULL), hash(2, NULL), hash(3, NULL));
        let null_and_more = hash(1, &[NULL, NULL].concat());
        let usual = pss_params(&sha256, &sha256, &[32], &[]);
        let table = [
            (usual.clone(), RsaPss(Hash::Sha256)),
            (pss_params(&sha384, &hash(2, &[]), &[48], &[]), RsaPss(Hash::Sha384)),
            (pss_params(&hash(3, &[]), &sha512, &[64], &tlv(0xa3, &[2, 1, 1])), RsaPss(Hash::Sha512)),
            (pss_params(&sha256, &sha384, &[32], &[]), Unknown),
            (pss_params(&sha256, &sha256, &[20], &[]), Unknown),
            (pss_params(&sha256, &sha256, &[32], &tlv(0xa3, &[2, 1, 2])), Unknown),
            (pss_params(&hash(4, NULL), &hash(4, NULL), &[28], &[]), Unknown),
            (pss_params(&hash(1, &[2, 1, 0]), &sha256, &[32], &[]), Unknown),
            (sequence(&[]), Unknown),
            (Vec::new(), Unknown),
            // Go overlooks what follows.
            (pss_params(&sha256, &sha256, &[32], &[5, 0]), RsaPssWithMore),
            (pss_params(&sha256, &sha256, &[32], &tlv(0xa3, &[2, 1, 1, 5, 0])), RsaPssWithMore),
            (pss_params(&null_and_more, &sha256, &[32], &[]), RsaPssWithMore),
            (pss_params(&sha256, &null_and_more, &[32], &[]), RsaPssWithMore),
            ([&*usual, &[5, 0]].concat(), RsaPssWithMore),
        ];
        let oid = [PKCS1, &[10]].concat();
        for (parameters, expected) in table {
            let algorithm = Algorithm { oid: &oid, parameters: &parameters };
            assert_eq!(SignatureAlgorithm::from_identifier(algorithm), expected, "{parameters:x?}");
        }
    }

    #[test]
    fn algorithms_are_known_by_their_identifier_and_md5_and_sha1_are_insecure() {
        let table: [(&[u8], &[u8], SignatureAlgorithm); 14] = [
            (&[PKCS1, &[4]].concat(), NULL, SignatureAlgorithm::Insecure),
            (&[PKCS1, &[5]].concat(), NULL, SignatureAlgorithm::Insecure),
            (&[PKCS1, &[11]].concat(), NULL, SignatureAlgorithm::RsaPkcs1(Hash::Sha256)),
            (&[PKCS1, &[12]].concat(), &[], SignatureAlgorithm::RsaPkcs1(Hash::Sha384)),
            (&[PKCS1, &[13]].concat(), NULL, SignatureAlgorithm::RsaPkcs1(Hash::Sha512)),
            (&[PKCS1, &[14]].concat(), NULL, SignatureAlgorithm::Unknown),
            (&[ECDSA_SHA2, &[1]].concat(), &[], SignatureAlgorithm::Unknown),
            (&[ECDSA_SHA2, &[4]].concat(), &[], SignatureAlgorithm::Ecdsa(Hash::Sha512)),
            (ECDSA_SHA1, &[], SignatureAlgorithm::Insecure),
            (DSA_SHA1, &[], SignatureAlgorithm::Insecure),
            (ISO_SHA1_RSA, NULL, SignatureAlgorithm::Insecure),
            (DSA_SHA256, &[], SignatureAlgorithm::Dsa),
            (ED25519_OID, &[], SignatureAlgorithm::Ed25519),
            (ED25519_OID, NULL, SignatureAlgorithm::Unknown),
        ];
        for (oid, parameters, expected) in table {
            assert_eq!(
                SignatureAlgorithm::from_identifier(Algorithm { oid, parameters }),
                expected,
                "{oid:x?}"
            );
        }
    }

    #[test]
    fn a_signature_is_good_for_its_key_its_algorithm_and_its_bytes() {
        let certificate = draft("leaf", "root").build();
        let root = draft("root", "root").build().public_key;
        let algorithm = certificate.signature_algorithm;
        let check = |algorithm, signature: &[u8], key: &PublicKey| {
            check(algorithm, certificate.tbs(), signature, key)
        };
        assert_eq!(check(algorithm, certificate.signature(), &root), Ok(()));
        assert_eq!(
            check(algorithm, certificate.signature(), &certificate.public_key),
            Err(SignatureError::Wrong)
        );
        assert_eq!(check(algorithm, &[0; 64], &root), Err(SignatureError::Wrong));
        assert_eq!(check(algorithm, &[], &root), Err(SignatureError::Wrong));
        let table = [
            (SignatureAlgorithm::Ecdsa(Hash::Sha256), SignatureError::KeyMismatch),
            (SignatureAlgorithm::RsaPkcs1(Hash::Sha256), SignatureError::KeyMismatch),
            (SignatureAlgorithm::Insecure, SignatureError::InsecureAlgorithm),
            (SignatureAlgorithm::Unknown, SignatureError::UnsupportedAlgorithm),
        ];
        for (algorithm, expected) in table {
            assert_eq!(check(algorithm, certificate.signature(), &root), Err(expected), "{algorithm:?}");
        }
        for key in [PublicKey::Dsa, PublicKey::Unknown] {
            let verdict = check(algorithm, certificate.signature(), &key);
            assert_eq!(verdict, Err(SignatureError::UnsupportedAlgorithm));
        }
    }

    /// testdata/rsa.txt holds certificates and their issuers', made with Go's crypto/rsa: what it is about, how Go (1.26) finds
    /// the signature, and how we find it.
    #[test]
    fn rsa_keys_are_of_a_size_and_an_exponent_that_go_takes() {
        let mut count = 0;
        for line in include_str!("testdata/rsa.txt").lines().filter(|line| !line.starts_with('#')) {
            let [what, go, ours, leaf, issuer] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
            let [leaf, issuer] =
                [leaf, issuer].map(|der| Certificate::parse(&STANDARD.decode(der).unwrap()).unwrap());
            let verdict = check(leaf.signature_algorithm, leaf.tbs(), leaf.signature(), &issuer.public_key);
            let expected = match ours {
                "ok" => Ok(()),
                "key" => Err(SignatureError::Key),
                "beyond" => Err(SignatureError::BeyondUs),
                "wrong" => Err(SignatureError::Wrong),
                other => panic!("{other}"),
            };
            assert_eq!(verdict, expected, "{what}");
            let set_up = SetUpKey::new();
            let again = |signature: &[u8]| {
                check_with(leaf.signature_algorithm, leaf.tbs(), signature, &issuer.public_key, Some(&set_up))
            };
            let wrong = expected.and(Err(SignatureError::Wrong));
            let forged = vec![1; leaf.signature().len()];
            assert_eq!([again(&forged), again(leaf.signature())], [wrong, expected], "{what}");
            assert_eq!([again(&forged), again(leaf.signature())], [wrong, expected], "{what}, set up");
            let is_set_up = set_up.get().is_some_and(|(_, key)| matches!(key.get(), Some(Some(_))));
            assert_eq!(is_set_up, expected.is_ok(), "{what}");
            let perhaps_good = matches!(verdict, Ok(()) | Err(SignatureError::BeyondUs));
            assert_eq!(perhaps_good, go == "ok", "{what}");
            count += 1;
        }
        assert_eq!(count, 12);
    }

    #[test]
    fn ecdsa_signatures_are_two_positive_numbers_and_nothing_else() {
        assert!(is_ecdsa_signature(&[0x30, 6, 2, 1, 1, 2, 1, 1]));
        let bad: [&[u8]; 6] = [
            &[],
            &[0x30, 6, 2, 1, 1, 2, 1, 0xff],
            &[0x30, 6, 2, 1, 0, 2, 1, 1],
            &[0x30, 9, 2, 1, 1, 2, 1, 1, 2, 1, 1],
            &[0x30, 6, 2, 1, 1, 2, 1, 1, 0],
            &[0x30, 7, 2, 1, 1, 2, 2, 0, 1],
        ];
        assert!(bad.into_iter().all(|signature| !is_ecdsa_signature(signature)));
    }
}
