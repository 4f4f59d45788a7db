//! An issuer for tests: it signs tokens, and publishes keys and claims.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::json;

use crate::https::testing::{Answer, Authority, Server, answer};

#[expect(clippy::disallowed_methods, reason = "a test reads its keys")]
fn conformance(path: &str) -> String {
    std::fs::read_to_string(format!("{}/tests/conformance/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// Signs with a key of the world that the verdicts were recorded in: r1, r2, e1, e5 or attacker, whose name is the `kid`.
pub(super) fn sign(algorithm: &str, key: &str, claims: &str) -> String {
    sign_under(&json!({"alg": algorithm, "kid": key}), algorithm, key, claims)
}

/// The same under any header.
pub(super) fn sign_under(header: &serde_json::Value, algorithm: &str, key: &str, claims: &str) -> String {
    let [header, payload] = [&*header.to_string(), claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
    let signed = format!("{header}.{payload}");
    let pem = conformance(&format!("world/issuers/keys/{key}.key"));
    let base64: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let der = BASE64_STANDARD.decode(base64).unwrap();
    let random = SystemRandom::new();
    let rsa = |encoding: &'static dyn RsaEncoding| {
        let pair = RsaKeyPair::from_pkcs8(&der).unwrap();
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(encoding, &random, signed.as_bytes(), &mut signature).unwrap();
        signature
    };
    let ecdsa = |algorithm| {
        let pair = EcdsaKeyPair::from_pkcs8(algorithm, &der).unwrap();
        pair.sign(&random, signed.as_bytes()).unwrap().as_ref().to_vec()
    };
    let signature = match algorithm {
        "RS256" => rsa(&RSA_PKCS1_SHA256),
        "PS256" => rsa(&RSA_PSS_SHA256),
        "ES256" => ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING),
        "ES512" => ecdsa(&ECDSA_P521_SHA512_FIXED_SIGNING),
        other => panic!("{other}"),
    };
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

/// The JWK set with these keys.
pub(super) fn key_set(names: &[String]) -> String {
    let routes: serde_json::Value = serde_json::from_str(&conformance("world/issuers/routes.json")).unwrap();
    let all: serde_json::Value =
        serde_json::from_str(routes["servers"][0]["routes"]["/a1/keys"]["body"].as_str().unwrap()).unwrap();
    let find = |name: &String| all["keys"].as_array().unwrap().iter().find(|key| key["kid"] == name.as_str());
    json!({"keys": names.iter().map(|name| find(name).unwrap()).collect::<Vec<_>>()}).to_string()
}

/// What is served at one path.
struct Route {
    /// Without this token it is not given out.
    bearer: Option<String>,
    body: String,
}

/// A server whose paths can be filled while it runs.
pub(super) struct Issuer {
    server: Server,
    routes: Arc<Mutex<HashMap<String, Route>>>,
    /// The authority that its certificate is of, PEM.
    pub(super) authority: String,
}

impl Issuer {
    pub(super) async fn start() -> Self {
        let authority = Authority::new();
        let routes = Arc::new(Mutex::new(HashMap::<String, Route>::new()));
        let served = Arc::clone(&routes);
        let server = Server::start(authority.server(), move |head| give(&served.lock().unwrap(), head)).await;
        Self { server, routes, authority: authority.pem() }
    }

    /// Its URL with this path.
    pub(super) fn url(&self, path: &str) -> String {
        self.server.url(path)
    }

    /// The heads of the requests so far.
    pub(super) fn requests(&self) -> Vec<String> {
        self.server.requests()
    }

    /// Answers at this path with this body, to those who have the token, if there is one.
    pub(super) fn serve(&self, path: &str, bearer: Option<&str>, body: String) {
        let route = Route { bearer: bearer.map(str::to_owned), body };
        self.routes.lock().unwrap().insert(path.to_owned(), route);
    }
}

fn give(routes: &HashMap<String, Route>, head: &str) -> Answer {
    let path = head.split(' ').nth(1).unwrap();
    let bearer = head.lines().find_map(|line| line.strip_prefix("authorization: Bearer ")).map(str::to_owned);
    match routes.get(path) {
        Some(route) if route.bearer == bearer => answer(200, &[], &route.body),
        Some(_) => answer(403, &[], ""),
        None => answer(404, &[], ""),
    }
}
