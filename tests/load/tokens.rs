//! Keys, and tokens of which no two are alike.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::cases::microseconds;

/// Tokens by their numbers. Each is made once, since to sign takes much longer than to verify.
#[derive(Clone)]
pub(crate) struct Tokens {
    key: Rc<Key>,
    claims: Rc<Value>,
    made: Rc<RefCell<Vec<String>>>,
}

impl Tokens {
    /// With these claims, and those that make each of them another one.
    pub(crate) fn new(key: &Rc<Key>, mut claims: Value) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        for (name, time) in [("iat", now - 60), ("nbf", now - 60), ("exp", now + 36_000)] {
            claims[name] = time.into();
        }
        Self { key: Rc::clone(key), claims: Rc::new(claims), made: Rc::default() }
    }

    pub(crate) fn number(&self, number: usize) -> String {
        let mut made = self.made.borrow_mut();
        while made.len() <= number {
            let signed = self.signed(made.len());
            let signature = BASE64_URL_SAFE_NO_PAD.encode(self.key.sign(signed.as_bytes()));
            made.push(format!("{signed}.{signature}"));
        }
        made[number].clone()
    }

    /// What a signature is over: header and claims.
    fn signed(&self, number: usize) -> String {
        let header = json!({"alg": self.key.algorithm(), "kid": self.key.id(), "typ": "JWT"});
        let mut claims = Value::clone(&self.claims);
        claims["jti"] = format!("7d3f0a52-8e1c-4b7e-9f4d-{number:012}").into();
        let [header, claims] = [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
        format!("{header}.{claims}")
    }

    /// Like the one of this number, but with the signature of another.
    pub(crate) fn forged(&self, number: usize) -> String {
        let other = self.number(0);
        format!("{}.{}", self.signed(number), other.rsplit_once('.').unwrap().1)
    }

    /// How long it takes to verify the signature of one, in µs.
    pub(crate) fn verification(&self) -> f64 {
        let token = self.number(0);
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
        match &*self.key {
            Key::Rsa(pair) => {
                let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key());
                microseconds(|| key.verify(signed.as_bytes(), &signature).unwrap())
            }
            Key::Ecdsa(pair) => {
                let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, pair.public_key());
                microseconds(|| key.verify(signed.as_bytes(), &signature).unwrap())
            }
        }
    }
}

/// What signs tokens.
pub(crate) enum Key {
    /// 2048 bits.
    Rsa(RsaKeyPair),
    /// On P-256.
    Ecdsa(EcdsaKeyPair),
}

impl Key {
    pub(crate) fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    pub(crate) fn ecdsa() -> Self {
        Self::Ecdsa(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Rsa(_) => "RS256",
            Self::Ecdsa(_) => "ES256",
        }
    }

    /// The SubjectPublicKeyInfo.
    fn spki(&self) -> Vec<u8> {
        match self {
            Self::Rsa(pair) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
            Self::Ecdsa(pair) => pair.public_key().as_der().unwrap().as_ref().to_vec(),
        }
    }

    pub(crate) fn pem(&self) -> String {
        let base64 = BASE64_STANDARD.encode(self.spki());
        format!("-----BEGIN PUBLIC KEY-----\n{base64}\n-----END PUBLIC KEY-----\n")
    }

    /// As kube-apiserver names its keys.
    pub(crate) fn id(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, &self.spki()))
    }

    pub(crate) fn jwk(&self, id: &str) -> Value {
        let encode = |number: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(number);
        match self {
            Self::Rsa(pair) => {
                // RFC 8017, appendix A.1.1: a SEQUENCE, and in it an INTEGER of 1 + 256 bytes and the exponent, 65537.
                let modulus = &pair.public_key().as_ref()[9..265];
                json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": id, "n": encode(modulus), "e": "AQAB"})
            }
            Self::Ecdsa(pair) => {
                // SEC 1, section 2.3.3: uncompressed, both coordinates.
                let (x, y) = pair.public_key().as_ref()[1..].split_at(32);
                json!({"kty": "EC", "crv": "P-256", "use": "sig", "kid": id, "x": encode(x), "y": encode(y)})
            }
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Self::Ecdsa(pair) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
        }
    }
}
