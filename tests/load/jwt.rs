//! JSON Web Tokens: keys, tokens of which no two are alike, and the cases that they are for.

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

use crate::cases::{Calls, Case, microseconds, request};
use crate::client::{OK, UNAUTHENTICATED};
use crate::envoy::Request;
use crate::issuer::{Issuers, MANY};

/// So many issuers an AuthenticationConfiguration may have.
const ISSUERS: usize = 64;
/// So many keys a set may have.
const KEYS: usize = 100;

pub(crate) fn cases() -> Vec<Case> {
    let [rsa, ecdsa] = [Key::rsa(), Key::ecdsa()].map(Rc::new);
    let few = json!({"keys": [rsa.jwk(&rsa.id()), ecdsa.jwk(&ecdsa.id())]});
    let others = (1..KEYS).map(|number| rsa.jwk(&format!("other-{number}")));
    let many = json!({"keys": others.chain([rsa.jwk(&rsa.id())]).collect::<Vec<_>>()});
    let issuers = Issuers::start(ISSUERS, &few, &many);
    let issuer = |number| issuer(&issuers, number);
    let mut many_keys = issuer(0);
    many_keys["issuer"]["discoveryURL"] = format!("https://{}{MANY}", issuers.address).into();
    let mut expressions = issuer(0);
    expressions["claimMappings"] = json!({
        "username": {"expression": "'oidc:' + claims.sub"},
        "groups": {"expression": "dyn(claims.groups).map(group, 'oidc:' + group)"},
    });
    expressions["claimValidationRules"] = json!([{"expression": "claims.exp - claims.nbf <= 86400"}]);
    expressions["userValidationRules"] =
        json!([{"expression": "user.groups.all(group, !group.startsWith('system:'))"}]);

    let rs256 = Tokens::new(&rsa, person(&issuers.url(0)));
    let es256 = Tokens::new(&ecdsa, person(&issuers.url(0)));
    let account = Tokens::new(&rsa, service_account());
    let forged = rs256.clone();
    let one = || [issuer(0)];
    vec![
        case("rs256-first-seen", &rs256, 1.15, &one()),
        case("rs256-first-seen-cel", &rs256, 1.25, &[expressions]),
        case("es256-first-seen", &es256, 1.15, &one()),
        case("rs256-64-issuers", &rs256, 1.15, &(0..ISSUERS).map(issuer).collect::<Vec<_>>()),
        case("rs256-100-keys", &rs256, 1.15, &[many_keys]),
        Case {
            flags: vec![
                "--service-account-key-file=sa.pub",
                "--service-account-issuer=https://kubernetes.default.svc",
                "--service-account-lookup-mode=offline",
                "--anonymous-auth=false",
            ],
            files: vec![("sa.pub", rsa.pem())],
            ..case("service-account-first-seen", &account, 1.15, &[])
        },
        Case {
            calls: Calls::Same(bearer(rs256.number(1))),
            unavoidable: Box::new(|| 0.0),
            ..case("rs256-remembered", &rs256, 0.75, &one())
        },
        Case {
            expected: UNAUTHENTICATED,
            calls: Calls::Fresh(Box::new(move |number| bearer(forged.forged(1 + number)))),
            ..case("jwt-refused", &rs256, 0.90, &one())
        },
    ]
}

/// Good tokens, each seen for the first time, and authenticators for them.
fn case(name: &'static str, tokens: &Tokens, limit: f64, authenticators: &[Value]) -> Case {
    let configuration = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": authenticators,
    });
    let (calls, verified) = (tokens.clone(), tokens.clone());
    Case {
        name,
        flags: vec!["--authentication-config=authentication.json", "--anonymous-auth=false"],
        files: vec![("authentication.json", configuration.to_string())],
        ready: Some(bearer(tokens.number(0))),
        expected: OK,
        limit,
        calls: Calls::Fresh(Box::new(move |number| bearer(calls.number(1 + number)))),
        unavoidable: Box::new(move || verified.verification()),
    }
}

fn bearer(token: String) -> Request {
    request(&[("Authorization", format!("Bearer {token}"))])
}

/// An authenticator that maps claims without expressions.
fn issuer(issuers: &Issuers, number: usize) -> Value {
    json!({
        "issuer": {"url": issuers.url(number), "audiences": ["shop"], "certificateAuthority": issuers.authority},
        "claimMappings": {
            "username": {"claim": "sub", "prefix": "oidc:"},
            "groups": {"claim": "groups", "prefix": "oidc:"},
        },
    })
}

/// What an ID token says of somebody.
fn person(issuer: &str) -> Value {
    json!({
        "iss": issuer, "sub": "00u1a2b3c4d5e6f7g8h9", "aud": ["shop", "account"], "azp": "shop",
        "auth_time": 1_790_000_000, "sid": "0d6f8f4e-5a35-4d2b-9c64-0a7f1a1ed2c3", "acr": "1", "scope": "openid profile email",
        "name": "Alice Example", "preferred_username": "alice", "given_name": "Alice", "family_name": "Example",
        "email": "alice@example.test", "email_verified": true,
        "groups": ["dev", "ops", "on-call", "shop-admins", "release-managers"],
    })
}

/// What a Pod's token says.
fn service_account() -> Value {
    json!({
        "iss": "https://kubernetes.default.svc", "sub": "system:serviceaccount:shop:cart", "aud": ["https://kubernetes.default.svc"],
        "kubernetes.io": {
            "namespace": "shop",
            "node": {"name": "worker-1", "uid": "b4f4ef7a-5f0c-4c86-8d4d-6c11ac1ac0f3"},
            "pod": {"name": "cart-6d5f8b7c9-x2x7p", "uid": "6ae55b5c-5a1a-4b0a-9d9d-0d3f5b7c0f55"},
            "serviceaccount": {"name": "cart", "uid": "0c9a8b7d-1e2f-4a3b-8c5d-6e7f80910a1b"},
        },
    })
}

/// Tokens by their numbers. Each is made once, since to sign takes much longer than to verify.
#[derive(Clone)]
struct Tokens {
    key: Rc<Key>,
    claims: Rc<Value>,
    made: Rc<RefCell<Vec<String>>>,
}

impl Tokens {
    /// With these claims, and those that make each of them another one.
    fn new(key: &Rc<Key>, mut claims: Value) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        for (name, time) in [("iat", now - 60), ("nbf", now - 60), ("exp", now + 36_000)] {
            claims[name] = time.into();
        }
        Self { key: Rc::clone(key), claims: Rc::new(claims), made: Rc::default() }
    }

    fn number(&self, number: usize) -> String {
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
    fn forged(&self, number: usize) -> String {
        let other = self.number(0);
        format!("{}.{}", self.signed(number), other.rsplit_once('.').unwrap().1)
    }

    /// How long it takes to verify the signature of one, in µs.
    fn verification(&self) -> f64 {
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
enum Key {
    /// 2048 bits.
    Rsa(RsaKeyPair),
    /// On P-256.
    Ecdsa(EcdsaKeyPair),
}

impl Key {
    fn rsa() -> Self {
        Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    fn ecdsa() -> Self {
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

    fn pem(&self) -> String {
        let base64 = BASE64_STANDARD.encode(self.spki());
        format!("-----BEGIN PUBLIC KEY-----\n{base64}\n-----END PUBLIC KEY-----\n")
    }

    /// As kube-apiserver names its keys.
    fn id(&self) -> String {
        BASE64_URL_SAFE_NO_PAD.encode(digest(&SHA256, &self.spki()))
    }

    fn jwk(&self, id: &str) -> Value {
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
