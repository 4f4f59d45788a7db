//! Our authenticators of service account tokens beside Kubernetes' own, on tokens with odd claims, headers and encodings. The program in
//! `tests/go-service-account` asks Kubernetes.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RSA_PSS_SHA256,
    RsaEncoding, RsaKeyPair,
};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use countersign::authn::token::service_account::{
    Kind, PublicKeys, ServiceAccount, ServiceAccountTokenGetter,
};
use countersign::authn::{AuthenticateToken, Now, Outcome, Token};
use countersign::cluster::{LookupError, Object, TokenSecret};
use countersign::decision::Reason;
use countersign::identity::Texts;
use countersign::jose::{UnverifiedToken, service_account_key_id};
use countersign::json;
use countersign::pki::public_keys_from_pem;
use futures_util::FutureExt;
use serde_json::Value;

use super::json::{Json, quoted, text};
use super::random::Random;
use super::support::verdict::User;

/// How many tokens; `COUNTERSIGN_TEST_KUBE_REQUESTS` says otherwise.
const TOKENS: usize = 10_000;

/// So many are made and judged at a time.
const PART: usize = 500;

/// The keys that both sides know, of the recorded world.
pub(crate) const KEY_FILES: [&str; 2] = ["rsa1.pub", "rsa2-and-ec256.pub"];
/// The keys that sign, and how.
const SIGNERS: [(&str, &str); 5] =
    [("rsa1", "RS256"), ("rsa1", "RS512"), ("rsa2", "PS256"), ("ec256", "ES256"), ("rotated-out", "RS256")];

/// Members that Kubernetes looks for.
const NAMES: [&str; 11] =
    ["exp", "nbf", "iat", "jti", "aud", "iss", "warnafter", "pod", "node", "uid", "kubernetes.io"];

pub(crate) fn world(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/world/sa").join(path)
}

#[test]
fn odd_service_account_tokens_get_the_verdicts_of_kubernetes() {
    let mut random = Random::from_env("service accounts");
    let (ours, all) = (Ours::new(), super::requests_or(TOKENS));
    let mut counts = BTreeMap::<String, usize>::new();
    // Some times cease to matter 50 s after the forge has been made, so it makes a part of the tokens.
    for part in (0..all).step_by(PART).map(|begin| begin..all.min(begin + PART)) {
        let forge = Forge::new(&[0, 1400, 4950, 5000, 5010, 5070, 8600]);
        let tokens: Vec<Vec<u8>> = part.map(|_| forge.token(&mut random)).collect();
        for (token, go) in tokens.iter().zip(ask_kubernetes(&tokens)) {
            for (kind, ours) in ours.verdicts(token) {
                let outcome = compare(ours, &go[kind]).unwrap_or_else(|difference| {
                    panic!("{kind}: {difference}: {}", String::from_utf8_lossy(token))
                });
                *counts.entry(format!("{kind}: {outcome}")).or_default() += 1;
            }
        }
    }
    println!("{counts:#?}");
    for kind in ["legacy", "bound"] {
        for outcome in ["accepted", "refused", "left to others"] {
            let count = counts.get(&format!("{kind}: {outcome}")).copied().unwrap_or_default();
            assert!(count * 100 > all, "{kind}: {outcome}: {count}: the tokens prove nothing");
        }
    }
}

struct Ours {
    keys: Arc<PublicKeys>,
    audiences: Arc<[Box<str>]>,
    issuers: Box<[Box<str>]>,
}

impl Ours {
    fn new() -> Self {
        let mut keys = PublicKeys::default();
        for file in KEY_FILES {
            keys.add(&fs::read(world(file)).unwrap()).unwrap();
        }
        let audiences = ["api", "vault"].map(Box::from).into();
        Self { keys: Arc::new(keys), audiences, issuers: ["https://issuer", "plain"].map(Box::from).into() }
    }

    fn verdicts(&self, token: &[u8]) -> [(&'static str, Result<Option<User>, Reason>); 2] {
        let kinds = [
            ("legacy", Kind::Legacy { lookup: false }),
            ("bound", Kind::Bound { issuers: self.issuers.clone() }),
        ];
        kinds.map(|(name, kind)| {
            let (keys, audiences) = (Arc::clone(&self.keys), Arc::clone(&self.audiences));
            let references = References::of(token);
            let authenticator = ServiceAccount::new(kind, keys, audiences, Some(Arc::new(references)));
            let outcome = authenticator.authenticate(Token::new(token), Now(SystemTime::now()));
            (name, verdict(outcome.now_or_never().unwrap()))
        })
    }
}

/// The objects that a token names, as if they all were there. The Go program has the same.
struct References(BTreeMap<&'static str, String>);

impl References {
    fn of(token: &[u8]) -> Self {
        let mut uids = BTreeMap::new();
        let token = UnverifiedToken::decode(token);
        // What cannot be read is refused.
        if let Some(token) = token
            && let Ok(json::Value::Object(claims)) = json::Value::parse(token.payload())
            && let Some(json::Value::Object(kubernetes)) = claims.get("kubernetes.io")
        {
            for kind in ["serviceaccount", "pod", "node", "secret"] {
                if let Some(json::Value::Object(reference)) = kubernetes.get(kind)
                    && let Some(json::Value::String(uid)) = reference.get("uid")
                {
                    uids.insert(kind, uid.to_string());
                }
            }
        }
        Self(uids)
    }

    fn object(&self, kind: &str) -> Result<Object, LookupError> {
        Ok(Object::new(&self.0[kind], None))
    }
}

impl ServiceAccountTokenGetter for References {
    async fn get_service_account(&self, _: &str, _: &str) -> Result<Object, LookupError> {
        self.object("serviceaccount")
    }

    async fn get_pod(&self, _: &str, _: &str) -> Result<Object, LookupError> {
        self.object("pod")
    }

    async fn get_node(&self, _: &str) -> Result<Object, LookupError> {
        self.object("node")
    }

    async fn get_secret(&self, _: &str, _: &str) -> Result<Object, LookupError> {
        self.object("secret")
    }

    async fn get_token_secret(&self, _: &str, _: &str) -> Result<TokenSecret, LookupError> {
        panic!("nobody looks for legacy tokens here")
    }
}

/// The user, or none if the token is left to others, or why it is refused.
fn verdict(outcome: Outcome) -> Result<Option<User>, Reason> {
    match outcome {
        Outcome::NoOpinion => Ok(None),
        Outcome::Rejected(rejections) => Err(rejections[0].reason),
        Outcome::Authenticated(authenticated) => {
            let identity = &authenticated.identity;
            let texts = |texts: Texts<'_>| texts.map(str::to_owned).collect::<Vec<_>>();
            Ok(Some(User {
                username: identity.username.to_string(),
                uid: identity.uid.to_string(),
                groups: texts(identity.own_groups.iter()),
                extra: identity.extra.iter().map(|(key, values)| (key.to_string(), texts(values))).collect(),
            }))
        }
    }
}

fn compare(ours: Result<Option<User>, Reason>, go: &Value) -> Result<&'static str, String> {
    let user = |user: &Value| {
        let mut user = user.clone();
        // A nil map.
        if user["extra"].is_null() {
            user["extra"] = serde_json::json!({});
        }
        serde_json::from_value::<User>(user).unwrap()
    };
    match (ours, go.get("user").map(user), go.get("error")) {
        (Ok(None), None, None) => Ok("left to others"),
        (Err(_), None, Some(_)) => Ok("refused"),
        (Ok(Some(ours)), Some(theirs), None) if ours == theirs => Ok("accepted"),
        (ours, ..) => Err(format!("ours {ours:?}, Kubernetes' {go}")),
    }
}

fn ask_kubernetes(tokens: &[Vec<u8>]) -> Vec<Value> {
    let program = super::cluster::binaries().join("go-service-account");
    let mut go = Command::new(program)
        .args(KEY_FILES.map(world))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines: String = tokens.iter().map(|token| STANDARD.encode(token) + "\n").collect();
    let mut input = go.stdin.take().unwrap();
    let writing = std::thread::spawn(move || input.write_all(lines.as_bytes()).unwrap());
    let answers = BufReader::new(go.stdout.take().unwrap()).lines();
    let answers: Vec<Value> = answers.map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    writing.join().unwrap();
    assert!(go.wait().unwrap().success());
    assert_eq!(answers.len(), tokens.len());
    answers
}

/// Makes tokens.
pub(crate) struct Forge {
    now: u64,
    /// How long before 5000 seconds from now times are.
    near: &'static [u64],
    /// By name, with their `kid`.
    keys: BTreeMap<&'static str, (Pair, String)>,
}

enum Pair {
    Rsa(RsaKeyPair),
    Ecdsa(EcdsaKeyPair),
}

impl Forge {
    pub(crate) fn new(near: &'static [u64]) -> Self {
        let key = |name: &'static str| {
            let pem = fs::read_to_string(world(&format!("keys/{name}.key"))).unwrap();
            let der = STANDARD.decode(pem.lines().filter(|line| !line.starts_with('-')).collect::<String>());
            let (der, ecdsa) = (der.unwrap(), &ECDSA_P256_SHA256_FIXED_SIGNING);
            let (pair, public) = match name {
                // Kubernetes reads no private ECDSA keys in PKCS #8.
                "ec256" => (
                    EcdsaKeyPair::from_pkcs8(ecdsa, &der).map(Pair::Ecdsa),
                    fs::read(world(KEY_FILES[1])).unwrap(),
                ),
                _ => (RsaKeyPair::from_pkcs8(&der).map(Pair::Rsa), pem.into_bytes()),
            };
            let public = public_keys_from_pem(&public).pop().unwrap();
            (name, (pair.unwrap(), service_account_key_id(&public).unwrap()))
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        Self { now, near, keys: SIGNERS.into_iter().map(|(name, _)| key(name)).collect() }
    }

    fn token(&self, random: &mut Random) -> Vec<u8> {
        let claims = if random.percent(30) { Self::legacy_claims() } else { self.bound_claims(random) };
        self.odd_token(random, claims)
    }

    /// A token with these claims, which is as it should be.
    pub(crate) fn good_token(&self, random: &mut Random, claims: &Json) -> Vec<u8> {
        let (name, algorithm) = random.pick(&SIGNERS[..4]);
        let header = serde_json::json!({"alg": algorithm, "kid": self.keys[name].1}).to_string();
        let signed = [&header, &claims.write()].map(|part| URL_SAFE_NO_PAD.encode(part)).join(".");
        let signature = self.signature(name, algorithm, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)).into_bytes()
    }

    /// A token with these claims or others, signed somehow.
    pub(crate) fn odd_token(&self, random: &mut Random, mut claims: Json) -> Vec<u8> {
        for _ in 0..random.below(3) {
            claims.tamper(random, &NAMES, |random, name| match name {
                "exp" | "nbf" | "iat" if random.percent(70) => self.number(random),
                "aud" if random.percent(50) => format!("[{},{}]", Self::string(random), Self::string(random)),
                _ if random.percent(50) => Self::string(random),
                _ => self.value(random),
            });
        }
        let mut payload = claims.write();
        if random.percent(5) {
            let odd =
                [payload.clone() + "x", format!(" {payload}\n"), payload[1..].to_owned(), self.value(random)];
            payload = odd[random.below(odd.len())].clone();
        }
        let mut token = self.sign(random, &payload.into_bytes());
        if random.percent(10) {
            let at = random.below(token.len());
            match random.below(3) {
                0 => token[at] = random.pick(b"Aa9-_=.+ \n"),
                1 => token
                    .splice(at..at, random.pick(&["\t", "\u{a0}", "\u{2003}", "=", ".", "{"]).bytes())
                    .for_each(drop),
                _ => token.truncate(at),
            }
        }
        token
    }

    fn legacy_claims() -> Json {
        let prefix = "kubernetes.io/serviceaccount";
        Json::Object(vec![
            ("iss".to_owned(), text("\"kubernetes/serviceaccount\"")),
            ("sub".to_owned(), text("\"system:serviceaccount:ns:name\"")),
            (format!("{prefix}/namespace"), text("\"ns\"")),
            (format!("{prefix}/secret.name"), text("\"s\"")),
            (format!("{prefix}/service-account.name"), text("\"name\"")),
            (format!("{prefix}/service-account.uid"), text("\"u\"")),
        ])
    }

    fn bound_claims(&self, random: &mut Random) -> Json {
        let object = |name: &str| Json::object([("name", text(quoted(name))), ("uid", text("\"u\""))]);
        let mut kubernetes =
            vec![("namespace".to_owned(), text("\"ns\"")), ("serviceaccount".to_owned(), object("name"))];
        for name in ["pod", "node", "secret"] {
            if random.percent(30) {
                kubernetes.push((name.to_owned(), object(name)));
            }
        }
        self.claims("https://issuer", kubernetes)
    }

    /// Claims of a token that is bound to these objects.
    pub(crate) fn claims(&self, issuer: &str, kubernetes: Vec<(String, Json)>) -> Json {
        Json::object([
            ("iss", text(quoted(issuer))),
            ("sub", text("\"x\"")),
            ("aud", text("[\"api\"]")),
            ("exp", text(self.now + 100_000)),
            ("nbf", text(self.now - 1000)),
            ("iat", text(self.now - 1000)),
            ("jti", text("\"id\"")),
            ("kubernetes.io", Json::Object(kubernetes)),
        ])
    }

    /// A time that does not begin or cease to matter while the test runs, or a number that is none.
    fn number(&self, random: &mut Random) -> String {
        let near = self.now + 5000 - random.pick(self.near);
        let numbers = [near.to_string(), format!("{near}.5"), format!("{near}0e-1")];
        let odd = [
            "0",
            "-1",
            "-0",
            "1e300",
            "-1e300",
            "1e400",
            "1e-400",
            "9e18",
            "1e19",
            "9223372036854775807",
            "9223371974719179007",
            "9223371974719179008",
            "9223372036854774784",
        ];
        if random.percent(70) { numbers[random.below(3)].clone() } else { random.pick(&odd).to_owned() }
    }

    fn string(random: &mut Random) -> String {
        let long = [63, 64, 253, 254].map(|length| "a".repeat(length));
        match random.below(8) {
            0 => quoted(&long[random.below(4)]),
            1 => random.pick(&[r#""\ud800""#, r#""a\u0000""#, r#""\u0061""#, r#""a\u007f""#]).to_owned(),
            2 => quoted(random.pick(&[
                "https://issuer",
                "plain",
                "kubernetes/serviceaccount",
                "https://issuer/",
            ])),
            3 => quoted(random.pick(&["api", "vault", "API", "other"])),
            _ => quoted(random.pick(&["", "a", "a.b-c", "A", "-a", "a_b", "a/b", "ü", "ns", "name", "a b"])),
        }
    }

    fn value(&self, random: &mut Random) -> String {
        match random.below(6) {
            0 => random.pick(&["null", "true", "[]", "{}", "[null]", "[1]", "{\"name\":1}"]).to_owned(),
            1 => self.number(random),
            2 => format!("{{\"name\":{},\"uid\":{}}}", Self::string(random), Self::string(random)),
            3 => format!("[{}]", Self::string(random)),
            4 => "{\"a\":1,\"a\":[2]}".to_owned(),
            _ => Self::string(random),
        }
    }

    fn sign(&self, random: &mut Random, payload: &[u8]) -> Vec<u8> {
        let (name, algorithm) = random.pick(&SIGNERS);
        let (_, id) = &self.keys[name];
        let id = quoted(id);
        let id = random.mostly(&*id, &["\"\"", "null", "1", "\"x\"", ""]);
        let alg = quoted(algorithm);
        let alg =
            random.mostly(&*alg, &[&alg, &alg, "\"none\"", "\"HS256\"", "null", "\"RS384\"", "\"ES384\""]);
        let mut header = vec![("alg", alg), ("kid", id)];
        header.retain(|(_, value)| !value.is_empty());
        if random.percent(10) {
            let name = random.pick(&["crit", "b64", "jwk", "x5c", "nonce", "x", "alg", "ALG"]);
            header.push((name, random.pick(&["[\"b64\"]", "false", "null", "[\"exp\"]", "\"x\"", "1"])));
        }
        let header =
            Json::Object(header.into_iter().map(|(name, value)| (name.to_owned(), text(value))).collect());
        let header = URL_SAFE_NO_PAD.encode(header.write());
        let encoded = format!("{header}.{}", URL_SAFE_NO_PAD.encode(payload));
        let signed = if random.percent(2) {
            [header.as_bytes(), b".", payload].concat()
        } else {
            encoded.clone().into_bytes()
        };
        let signature = self.signature(name, algorithm, &signed);
        format!("{encoded}.{}", URL_SAFE_NO_PAD.encode(signature)).into_bytes()
    }

    fn signature(&self, key: &str, algorithm: &str, signed: &[u8]) -> Vec<u8> {
        match &self.keys[key].0 {
            Pair::Ecdsa(pair) => pair.sign(&SystemRandom::new(), signed).unwrap().as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let encoding: &dyn RsaEncoding = match algorithm {
                    "RS512" => &RSA_PKCS1_SHA512,
                    "PS256" => &RSA_PSS_SHA256,
                    _ => &RSA_PKCS1_SHA256,
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &SystemRandom::new(), signed, &mut signature).unwrap();
                signature
            }
        }
    }
}
