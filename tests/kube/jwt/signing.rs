//! Keys of the recorded world, and signatures with them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use aws_lc_rs::digest::{self, Digest, SHA256, SHA384, SHA512, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
    EcdsaKeyPair, EcdsaSigningAlgorithm, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
    RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;

pub(super) const RSA: &[&str] = &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];

/// Keys of the recorded world that sign, the algorithms that fit, and the names under which they are published. Google has only the
/// first two, nobody the last two.
pub(super) const SIGNERS: [(&str, &[&str], &[&str]); 8] = [
    ("r1", RSA, &["r1"]),
    ("e1", &["ES256"], &["e1"]),
    ("r2", RSA, &["r2"]),
    ("r3", RSA, &["r3", "twin"]),
    ("e3", &["ES384"], &["e3", "twin"]),
    ("e5", &["ES512"], &["e5", "encryption"]),
    ("attacker", RSA, &["r1", "r2"]),
    ("attacker-ec", &["ES256"], &["e1", "twin"]),
];

fn world(path: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/world/issuers");
    fs::read_to_string(folder.join(path)).unwrap()
}

/// The published keys of the recorded world, by name.
pub(super) fn published() -> BTreeMap<String, Value> {
    let routes: Value = serde_json::from_str(&world("routes.json")).unwrap();
    let body = routes["servers"][0]["routes"]["/a1/keys"]["body"].as_str().unwrap();
    let set: Value = serde_json::from_str(body).unwrap();
    let keys = set["keys"].as_array().unwrap().iter();
    keys.map(|key| (key["kid"].as_str().unwrap().to_owned(), key.clone())).collect()
}

pub(super) enum Pair {
    Rsa(RsaKeyPair),
    /// With the size of a coordinate.
    Ecdsa(EcdsaKeyPair, usize),
}

impl Pair {
    pub(super) fn new(name: &str) -> Self {
        let pem = world(&format!("keys/{name}.key"));
        let der = STANDARD.decode(pem.lines().filter(|l| !l.starts_with('-')).collect::<String>()).unwrap();
        let ecdsa = |algorithm: &'static EcdsaSigningAlgorithm, size| {
            Self::Ecdsa(EcdsaKeyPair::from_pkcs8(algorithm, &der).unwrap(), size)
        };
        match name {
            "e1" | "attacker-ec" => ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING, 32),
            "e3" => ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING, 48),
            "e5" => ecdsa(&ECDSA_P521_SHA512_FIXED_SIGNING, 66),
            _ => Self::Rsa(RsaKeyPair::from_pkcs8(&der).unwrap()),
        }
    }

    /// As `algorithm` says, whether it fits the key or not.
    pub(super) fn sign(&self, algorithm: &str, signed: &[u8]) -> Vec<u8> {
        match self {
            Self::Rsa(pair) => {
                let encoding: &dyn RsaEncoding = match algorithm {
                    "RS384" => &RSA_PKCS1_SHA384,
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    "PS384" => &RSA_PSS_SHA384,
                    "PS512" => &RSA_PSS_SHA512,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &SystemRandom::new(), signed, &mut signature).unwrap();
                signature
            }
            Self::Ecdsa(pair, size) => {
                let (hash, wanted) = match algorithm {
                    "ES384" => (&SHA384, 48),
                    "ES512" => (&SHA512, 66),
                    _ => (&SHA256, 32),
                };
                let signature = pair.sign_digest(&fitted(digest(hash, signed).as_ref(), *size)).unwrap();
                let (r, s) = signature.as_ref().split_at(*size);
                let padding = vec![0; wanted.max(*size) - size];
                [&padding, r, &padding, s].concat()
            }
        }
    }
}

/// A hash of any size for a curve of any size: what is too long is cut (FIPS 186-5, section 6.4.1).
fn fitted(hash: &[u8], size: usize) -> Digest {
    let algorithm: &'static digest::Algorithm = match size {
        32 => &SHA256,
        48 => &SHA384,
        _ => &SHA512,
    };
    let size = algorithm.output_len();
    let cut = &hash[..hash.len().min(size)];
    Digest::import_less_safe(&[&vec![0; size - cut.len()], cut].concat(), algorithm).unwrap()
}

/// RFC 7515, section 5.1.
pub(super) fn to_be_signed(header: &[u8], payload: &[u8]) -> String {
    [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".")
}

/// An ECDSA signature as certificates have it (RFC 3279, section 2.2.3), which JWS does not take.
pub(super) fn in_der(signature: &[u8]) -> Vec<u8> {
    let tagged = |tag: u8, content: Vec<u8>| {
        // Longer ones are none of an elliptic curve.
        let length = u8::try_from(content.len().min(127)).unwrap();
        [&[tag, length][..], &content].concat()
    };
    let (r, s) = signature.split_at(signature.len() / 2);
    let integer = |number: &[u8]| tagged(2, [&[0], number].concat());
    tagged(0x30, [integer(r), integer(s)].concat())
}
