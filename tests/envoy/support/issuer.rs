//! An OpenID Connect issuer in the tests' own process: it signs tokens, publishes its keys over HTTPS, and comes and goes.

use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256, PublicKeyData};
use s2n_tls::config::Config;
use s2n_tls::security::DEFAULT_TLS13;
use s2n_tls_tokio::TlsAcceptor;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::authority::Authority;
use super::message::Incoming;
use crate::port::hold;

/// A key that signs tokens.
pub(crate) struct SigningKey {
    pub(crate) kid: String,
    /// `RS256` or `ES256`.
    pub(crate) algorithm: &'static str,
    pair: KeyPair,
}

impl SigningKey {
    pub(crate) fn rs256(kid: &str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        Self { kid: kid.to_owned(), algorithm: "RS256", pair }
    }

    pub(crate) fn es256(kid: &str) -> Self {
        let pair = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        Self { kid: kid.to_owned(), algorithm: "ES256", pair }
    }

    /// The same with the name that it has in a cluster. Go: `keyIDFromPublicKey` of k8s.io/kubernetes/pkg/serviceaccount/jwt.go.
    pub(crate) fn of_cluster(mut self) -> Self {
        self.kid = encoded(digest(&SHA256, &self.pair.subject_public_key_info()));
        self
    }

    /// The public key, PEM.
    pub(crate) fn public(&self) -> String {
        self.pair.public_key_pem()
    }

    /// A token with these claims.
    pub(crate) fn sign(&self, claims: &Value) -> String {
        self.sign_under(&json!({"alg": self.algorithm, "kid": self.kid}), claims)
    }

    /// The same with another header, which the key need not fit.
    pub(crate) fn sign_under(&self, header: &Value, claims: &Value) -> String {
        let signed = to_be_signed(header, claims);
        let (der, random) = (self.pair.serialize_der(), SystemRandom::new());
        let signature = if self.algorithm == "RS256" {
            let key = RsaKeyPair::from_pkcs8(&der).unwrap();
            let mut signature = vec![0; key.public_modulus_len()];
            key.sign(&RSA_PKCS1_SHA256, &random, signed.as_bytes(), &mut signature).unwrap();
            signature
        } else {
            let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).unwrap();
            key.sign(&random, signed.as_bytes()).unwrap().as_ref().to_vec()
        };
        format!("{signed}.{}", encoded(signature))
    }

    /// RFC 7518, sections 6.2.1 and 6.3.1.
    pub(crate) fn jwk(&self) -> Value {
        if self.algorithm == "RS256" {
            let key = RsaKeyPair::from_pkcs8(&self.pair.serialize_der()).unwrap();
            let public = key.public_key();
            let [n, e] = [public.modulus(), public.exponent()]
                .map(|number| encoded(number.big_endian_without_leading_zero()));
            json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid, "n": n, "e": e})
        } else {
            // 4, x, y.
            let (x, y) = self.pair.public_key_raw()[1..].split_at(32);
            json!({"kty": "EC", "use": "sig", "alg": "ES256", "kid": self.kid, "crv": "P-256", "x": encoded(x), "y": encoded(y)})
        }
    }
}

/// Header and payload (RFC 7515, section 5.1).
pub(crate) fn to_be_signed(header: &Value, claims: &Value) -> String {
    format!("{}.{}", encoded(header.to_string()), encoded(claims.to_string()))
}

pub(crate) fn encoded(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// An AuthenticationConfiguration with these authenticators.
pub(crate) fn configuration(jwt: &[Value]) -> String {
    // JSON is YAML.
    json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": jwt})
        .to_string()
}

/// An issuer at a port of its own, which nobody else gets while it is down.
pub(crate) struct Issuer {
    pub(crate) url: String,
    authority: Authority,
    tls: Config,
    site: Arc<Mutex<Site>>,
    /// Its port: here nobody ever listens.
    held: TcpSocket,
    /// What serves while it is up.
    serving: Option<JoinHandle<()>>,
}

/// What it has to say, and to whom it has said something.
struct Site {
    document: String,
    /// The whole answer of the key set.
    keys: String,
    asked: Vec<(String, Instant)>,
}

const DOCUMENT: &str = "/.well-known/openid-configuration";
const KEYS: &str = "/keys";

impl Issuer {
    /// One that has not come up yet.
    pub(crate) fn down() -> Self {
        let socket = hold(0);
        let url = format!("https://localhost:{}", socket.local_addr().unwrap().port());
        let authority = Authority::root("issuers");
        let own = authority.serve("localhost");
        let mut tls = Config::builder();
        tls.set_security_policy(&DEFAULT_TLS13).unwrap();
        tls.load_pem(own.chain.as_bytes(), own.key.as_bytes()).unwrap();
        let document = json!({"issuer": url, "jwks_uri": format!("{url}{KEYS}")}).to_string();
        let site = Site { document, keys: key_set(&[]), asked: Vec::new() };
        let (tls, site) = (tls.build().unwrap(), Arc::new(Mutex::new(site)));
        Self { url, authority, tls, site, held: socket, serving: None }
    }

    /// One that publishes these keys.
    pub(crate) fn with_keys<'a>(keys: impl IntoIterator<Item = &'a SigningKey>) -> Self {
        let mut issuer = Self::down();
        issuer.publish(keys);
        issuer.come_up();
        issuer
    }

    pub(crate) fn come_up(&mut self) {
        let port = self.held.local_addr().unwrap().port();
        let listener = hold(port).listen(1024).unwrap();
        let served = serve(listener, TlsAcceptor::new(self.tls.clone()), Arc::clone(&self.site));
        self.serving = Some(tokio::spawn(served));
    }

    /// Connections end, and new ones are refused.
    pub(crate) async fn go_down(&mut self) {
        let task = self.serving.take().unwrap();
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }

    /// From now on these are its keys, for an hour as it says.
    pub(crate) fn publish<'a>(&self, keys: impl IntoIterator<Item = &'a SigningKey>) {
        let keys: Vec<Value> = keys.into_iter().map(SigningKey::jwk).collect();
        self.answer(key_set(&keys));
    }

    /// From now on this is what comes of asking for its keys.
    pub(crate) fn answer(&self, answer: String) {
        self.site.lock().unwrap().keys = answer;
    }

    /// The paths that it has been asked for, and when.
    pub(crate) fn asked(&self) -> Vec<(String, Instant)> {
        self.site.lock().unwrap().asked.clone()
    }

    /// The paths alone.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.asked().into_iter().map(|(path, _)| path).collect()
    }

    /// `jwt[]` for this issuer and the audience `app`, with these claim mappings.
    pub(crate) fn authenticator(&self, mappings: Value) -> Value {
        json!({
            "issuer": {"url": self.url, "audiences": ["app"], "certificateAuthority": self.authority.pem},
            "claimMappings": mappings,
        })
    }

    /// Claims of a token for the audience `app` that is good for ten minutes, and those of `more`, which go before.
    pub(crate) fn claims(&self, mut more: Value) -> Value {
        let claims = more.as_object_mut().unwrap();
        for (name, value) in [("iss", json!(self.url)), ("aud", json!("app")), ("exp", json!(now() + 600))] {
            claims.entry(name).or_insert(value);
        }
        more
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        if let Some(task) = &self.serving {
            task.abort();
        }
    }
}

fn key_set(keys: &[Value]) -> String {
    answer(
        "200 OK",
        "content-type: application/jwk-set+json\r\ncache-control: max-age=3600\r\n",
        &json!({"keys": keys}).to_string(),
    )
}

/// An HTTP/1.1 answer with these header lines.
pub(crate) fn answer(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len())
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, site: Arc<Mutex<Site>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, site) = (tls.clone(), Arc::clone(&site));
        connections.spawn(async move { answers(stream, &tls, &site).await });
    }
}

/// Answers until the other side has enough.
async fn answers(stream: TcpStream, tls: &TlsAcceptor, site: &Mutex<Site>) -> Option<()> {
    let mut connection = Incoming::new(tls.accept(stream).await.ok()?);
    loop {
        let head = connection.head().await?;
        let path = head[0].split(' ').nth(1)?;
        let said = {
            let mut site = site.lock().unwrap();
            site.asked.push((path.to_owned(), Instant::now()));
            match path {
                DOCUMENT => answer("200 OK", "content-type: application/json\r\n", &site.document),
                KEYS => site.keys.clone(),
                _ => answer("404 Not Found", "", ""),
            }
        };
        connection.stream.write_all(said.as_bytes()).await.ok()?;
    }
}
