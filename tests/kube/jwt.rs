//! Random JSON Web Tokens, freshly signed, of issuers that publish their keys over HTTPS.

mod issuers;
mod odd_keys;
mod signing;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use rcgen::CertifiedKey;
use serde_json::{Value, json};

use self::signing::{Pair, RSA, SIGNERS, in_der, published, to_be_signed};
use super::cluster::Port;
use super::generate::{Case, other_trailing_bits};
use super::json::{Json, quoted, text};
use super::random::Random;
use super::support::envoy::Request;
use super::support::verdict::WEBSOCKET_TOKEN;
use super::wire::SELF_SUBJECT_REVIEW;

pub(crate) const FLAGS: [&str; 2] =
    ["--token-auth-file=tokens.csv", "--authentication-config=authentication.yaml"];

/// What is odd about a request's token.
pub(crate) const FAMILIES: [&str; 7] =
    ["good token", "claims", "distributed claims", "header", "signature", "encoding", "keys of the issuer"];

/// Google's issuer may be named in two ways.
const GOOGLE: &str = "https://accounts.google.com";

/// The configured issuers, by the path of their keys.
const ISSUERS: [&str; 5] = ["plain", "email", "expressions", "distributed", "google"];
/// Beside them so many whose documents and keys are odd. Kubernetes takes 64 in all.
const ODD_ISSUERS: usize = 59;

/// Claims that somebody looks at.
const CLAIMS: [&str; 21] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "nbf",
    "iat",
    "jti",
    "nonce",
    "at_hash",
    "groups",
    "roles",
    "email",
    "email_verified",
    "hd",
    "uid",
    "tenant",
    "scope",
    "blocked",
    "_claim_names",
    "_claim_sources",
    "endpoint",
];

/// Makes tokens.
pub(crate) struct Forge {
    now: u64,
    /// Where the issuers are: `https://127.0.0.1:12345`.
    server: String,
    keys: BTreeMap<&'static str, Pair>,
    public: BTreeMap<String, Value>,
    /// One for a header's `x5c`, in base64.
    certificate: String,
    _port: Port,
}

impl Forge {
    /// Writes what [`FLAGS`] name, and what the issuers serve, into `folder`.
    pub(crate) fn new(folder: &Path, random: &mut Random) -> Self {
        let [held] = Port::hold();
        let port = held.number();
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let forge = Self {
            now,
            server: format!("https://127.0.0.1:{port}"),
            keys: SIGNERS.map(|(name, ..)| (name, Pair::new(name))).into(),
            public: published(),
            certificate: STANDARD.encode(cert.der()),
            _port: held,
        };
        let servers = json!([{
            "listen": format!("127.0.0.1:{port}"),
            "cert": "issuer.pem",
            "key": "issuer.key",
            "routes": forge.routes(random),
        }]);
        fs::create_dir(folder.join("issuers")).unwrap();
        for (name, content) in [
            ("issuer.pem", cert.pem()),
            ("issuer.key", signing_key.serialize_pem()),
            ("issuers/routes.json", json!({"servers": servers}).to_string()),
            // JSON is YAML.
            ("authentication.yaml", forge.configuration(&cert.pem()).to_string()),
        ] {
            fs::write(folder.join(name), content).unwrap();
        }
        forge
    }

    fn url(&self, issuer: &str) -> String {
        if issuer == "google" { GOOGLE.to_owned() } else { format!("{}/{issuer}", self.server) }
    }

    /// A good token of each issuer, and those that make issuers of distributed claims known.
    pub(crate) fn good(&self, random: &mut Random) -> Vec<Request> {
        let mut token = |issuer: &str, endpoint: Option<&str>| {
            let mut claims = self.claims(random, issuer);
            if let Some(endpoint) = endpoint {
                distribute(&mut claims, &format!("{}/claims/{endpoint}", self.server), None);
            }
            let header = json!({"alg": "RS256", "kid": "r1"}).to_string();
            bearer(self.sign("r1", "RS256", header.as_bytes(), claims.write().as_bytes()).into_bytes())
        };
        let mut requests = ISSUERS.map(|issuer| token(issuer, None)).to_vec();
        requests.push(token("distributed", Some("list")));
        requests.push(token("distributed", Some("other-issuer")));
        requests
    }

    /// A request with a token.
    pub(crate) fn case(&self, random: &mut Random) -> Case {
        let family = random.pick(&FAMILIES);
        let token = self.token(random, family);
        let request = match family {
            "encoding" => odd_encoding(random, &token),
            _ => bearer(token.into_bytes()),
        };
        Case { family, request }
    }

    /// A token of a family, whose encoding is as it should be.
    pub(crate) fn token(&self, random: &mut Random, family: &str) -> String {
        let odd = random.below(ODD_ISSUERS).to_string();
        let issuer = match family {
            "distributed claims" => "distributed",
            "keys of the issuer" => &odd,
            _ => random.pick(&ISSUERS),
        };
        let mut claims = self.claims(random, issuer);
        if family == "distributed claims" {
            self.distribute(random, &mut claims);
        }
        let usual = random.percent(65);
        match family {
            "claims" if !usual => {
                const ODD: [(&str, &str); 8] = [
                    ("nbf", "1e300"),
                    ("nbf", "-1e19"),
                    ("exp", "1e300"),
                    ("extent", "1e400"),
                    ("sub", "\"\""),
                    ("sub", "\" a\""),
                    ("email", "\"\""),
                    ("email", "\"a\\n\""),
                ];
                let (name, value) = random.pick(&ODD);
                claims.push(name, text(value));
            }
            "distributed claims" if usual => {}
            "claims" | "distributed claims" => {
                for _ in 0..=random.below(3) {
                    claims.tamper(random, &CLAIMS, |random, name| self.claim(random, name));
                }
            }
            _ => {}
        }
        let mut payload = claims.write();
        if family == "claims" && random.percent(10) {
            payload = match random.below(4) {
                0 => payload + "x",
                1 => format!(" \t{payload}\r\n"),
                2 => payload.replacen("\"exp\"", "\"\\u0065xp\"", 1),
                _ => self.value(random),
            };
        }
        let (key, algorithms, names) =
            SIGNERS[random.below(if ISSUERS[..4].contains(&issuer) { 6 } else { 2 })];
        let algorithm = random.pick(algorithms);
        let name = random.mostly(names[0], names);
        let mut header = vec![("alg", quoted(algorithm)), ("kid", quoted(name))];
        if random.percent(15) {
            header.pop();
        }
        if random.percent(50) {
            header.insert(random.below(2), ("typ", "\"JWT\"".to_owned()));
        }
        match family {
            "header" => {
                let (header, encoded) = self.odd_header(random, header);
                self.sign_as(key, algorithm, header.as_bytes(), payload.as_bytes(), encoded)
            }
            "signature" => self.odd_signature(random, &payload),
            _ => self.sign(key, algorithm, object(header).as_bytes(), payload.as_bytes()),
        }
    }

    /// Claims of a good token.
    fn claims(&self, random: &mut Random, issuer: &str) -> Json {
        let url = quoted(&self.url(issuer));
        let iss = if issuer == "google" { random.pick(&["\"accounts.google.com\"", &url]) } else { &url };
        let aud = random.pick(&["\"app\"", "\"other\"", "[\"x\",\"app\"]", "[\"other\",null]"]);
        let mut claims =
            Json::object([("iss", text(iss)), ("aud", text(aud)), ("exp", text(self.now + 100_000))]);
        let mut maybe = |chance, name, value: String| {
            if random.percent(chance) {
                claims.push(name, text(value));
            }
        };
        maybe(40, "nbf", (self.now - 100_000).to_string());
        maybe(40, "iat", (self.now - 100_000).to_string());
        maybe(40, "jti", "\"0a1b\"".to_owned());
        maybe(100, "sub", "\"alice\"".to_owned());
        maybe(100, "email", "\"alice@example.test\"".to_owned());
        maybe(60, "email_verified", "true".to_owned());
        let groups = if issuer == "email" { "roles" } else { "groups" };
        let distributed = issuer == "distributed";
        maybe(if distributed { 0 } else { 80 }, groups, "[\"dev\",\"ops\",\"dev\"]".to_owned());
        if issuer == "email" {
            maybe(100, "uid", "\"7\"".to_owned());
            maybe(100, "hd", "\"example.test\"".to_owned());
            maybe(100, "dept", "\"\"".to_owned());
        }
        if issuer == "expressions" {
            maybe(50, "uid", "12345678".to_owned());
            maybe(50, "tenant", "\"blue\"".to_owned());
            maybe(50, "scope", "[\"read\",\"write\"]".to_owned());
            maybe(20, "blocked", "false".to_owned());
        }
        claims
    }

    /// Groups that are elsewhere.
    fn distribute(&self, random: &mut Random, claims: &mut Json) {
        let path = random.pick(&[
            "list",
            "list",
            "text",
            "null",
            "number",
            "missing",
            "other-issuer",
            "other-issuer",
            "unknown-issuer",
            "expired",
            "not-for-us",
            "wrong-key",
            "line-end",
            "further",
            "text-file",
            "created",
            "failed",
            "moved",
            "private",
            "private",
            "nothing-there",
        ]);
        let server =
            if random.percent(3) { self.server.replace("https", "http") } else { self.server.clone() };
        let access = random.mostly("access", &["", "other"]);
        distribute(claims, &format!("{server}/claims/{path}"), Some(access).filter(|_| path == "private"));
    }

    /// A value for the claim of this name, which may suit it.
    fn claim(&self, random: &mut Random, name: &str) -> String {
        let suits = random.percent(70);
        match name {
            "exp" | "nbf" | "iat" if suits => self.time(random, name),
            "aud" | "groups" | "roles" if suits => {
                format!("[{},{}]", self.string(random), random.pick(&["\"app\"", "null", "\"dev\"", "[]"]))
            }
            "email_verified" | "blocked" if suits => {
                random.pick(&["true", "false", "null", "\"true\"", "1", "[true]"]).to_owned()
            }
            "uid" if suits => self.number(random),
            _ if random.percent(50) => self.string(random),
            _ => self.value(random),
        }
    }

    /// A time that does not come while the test runs; `nbf` may be within its leeway, or just not.
    fn time(&self, random: &mut Random, name: &str) -> String {
        let mut time = self.now + 100_000 - random.pick(&[0, 0, 200_000]);
        if name == "nbf" && random.percent(20) {
            time = self.now + 10;
        }
        match random.below(8) {
            0 => format!("{time}.5"),
            1 => format!("{time}0e-1"),
            2 => format!("\"{time}\""),
            3 => random
                .pick(&["\"\"", "\" 1\"", "\"9e9\"", "\"0x10\"", "\"soon\"", "\"+9999999999\""])
                .to_owned(),
            4 => self.number(random),
            _ => time.to_string(),
        }
    }

    fn number(&self, random: &mut Random) -> String {
        let numbers = [
            "0",
            "-0",
            "-1",
            "0.1",
            "1e3",
            "1E+3",
            "123456789",
            "1e21",
            "1e300",
            "-1e300",
            "1e400",
            "1e-400",
            "9e18",
            "9223372036854775807",
            "9223372036854775808",
            "9223371974719179007",
            "18446744073709551616",
            "01",
            "1.",
            "99999999999999999999999999999999999999.5",
        ];
        random.pick(&numbers).to_owned()
    }

    fn string(&self, random: &mut Random) -> String {
        match random.below(4) {
            0 => random
                .pick(&[
                    r#""\ud800""#,
                    r#""a\u0000""#,
                    r#""\u0061""#,
                    r#""\ud83d\ude00""#,
                    r#""\/""#,
                    r#""\x""#,
                ])
                .to_owned(),
            1 => quoted(random.pick(&[
                "",
                "é",
                "e\u{301}",
                "用",
                "\u{202e}a",
                "\u{feff}",
                "a\u{a0}",
                "\u{fffd}",
                "A",
                " a",
                "a,b",
                "x y",
            ])),
            2 => quoted(random.pick(&[
                "app",
                "APP",
                "dev",
                "root",
                "system:masters",
                "system:admin",
                "example.test",
            ])),
            _ => quoted(&(self.url(random.pick(&ISSUERS)) + random.pick(&["", "/"]))),
        }
    }

    fn value(&self, random: &mut Random) -> String {
        match random.below(6) {
            0 => random.pick(&["null", "true", "false", "[]", "{}", "[null]", "[[]]", "\"a"]).to_owned(),
            1 => self.number(random),
            2 => format!("{{\"groups\":{},\"endpoint\":{}}}", self.string(random), self.string(random)),
            3 => format!("[{},{}]", self.string(random), self.string(random)),
            4 => random.pick(&["{\"a\":1,\"a\":[2]}", "{\"src\":{}}", "{\"groups\":\"src\"}"]).to_owned(),
            _ => self.string(random),
        }
    }

    /// A header with something more or something else, and whether it wants the payload to be signed as it is encoded.
    fn odd_header(&self, random: &mut Random, mut header: Vec<(&'static str, String)>) -> (String, bool) {
        let mut encoded = true;
        for _ in 0..=random.below(2) {
            let at = random.below(header.len() + 1);
            let jwk = |name: &str| self.public[name].to_string();
            let name = random.pick(&[
                "alg", "kid", "typ", "cty", "crit", "b64", "jwk", "jku", "x5u", "x5c", "x5t", "nonce", "zip",
                "exp", "x",
            ]);
            let value = match name {
                _ if random.percent(15) => self.value(random),
                "alg" => random
                    .pick(&["\"RS256\"", "\"none\"", "\"HS256\"", "\"rs256\"", "null", "1", "\"EdDSA\""])
                    .to_owned(),
                "kid" => random
                    .pick(&["\"r1\"", "\"R1\"", "\"symmetric\"", "\"\"", "null", "\"é\"", "\"ed\""])
                    .to_owned(),
                "typ" | "cty" => random.pick(&["\"JWT\"", "\"JWE\"", "\"at+jwt\"", "null"]).to_owned(),
                "crit" => random
                    .pick(&[
                        "[\"b64\"]",
                        "[]",
                        "[\"exp\"]",
                        "null",
                        "\"b64\"",
                        "[1]",
                        "[null]",
                        "[\"b64\",\"b64\"]",
                    ])
                    .to_owned(),
                "b64" => {
                    encoded = random.percent(50);
                    random.pick(&["true", "false", "false", "null", "\"false\"", "0"]).to_owned()
                }
                "jwk" => match random.below(6) {
                    0 => jwk("e1"),
                    1 => jwk("r1"),
                    2 => jwk("ed"),
                    3 => jwk("e1").replace("P-256", "P-384"),
                    4 => jwk("e1").replacen('{', "{\"d\":\"AQAB\",", 1),
                    _ => "{\"kty\":\"oct\",\"k\":\"AQAB\"}".to_owned(),
                },
                "jku" | "x5u" => quoted(&format!("{}/plain/keys", self.server)),
                "x5c" => match random.below(4) {
                    0 => "[]".to_owned(),
                    1 => "[\"AQAB\"]".to_owned(),
                    2 => format!("[{},null]", quoted(&self.certificate)),
                    _ => format!("[{}]", quoted(&self.certificate)),
                },
                _ => self.string(random),
            };
            match header.iter_mut().find(|(other, _)| *other == name) {
                Some(member) if random.percent(80) => member.1 = value,
                _ => header.insert(at, (name, value)),
            }
        }
        let written = object(header);
        let written = match random.below(25) {
            0 => written.replacen("\"alg\"", "\"ALG\"", 1),
            1 => written.replacen("\"alg\"", "\"\\u0061lg\"", 1),
            2 => format!("\r\n {written}\t"),
            3 => written + "{}",
            4 => random.pick(&["", "null", "[]", "\"\"", "{", "{}"]).to_owned(),
            5 => format!("\u{feff}{written}"),
            _ => written,
        };
        (written, encoded)
    }

    /// A token by another key, by another algorithm, or with another signature.
    fn odd_signature(&self, random: &mut Random, payload: &str) -> String {
        if random.percent(15) {
            let (key, algorithm) =
                random.pick(&[("e1", "ES384"), ("e1", "ES512"), ("e3", "ES512"), ("e5", "ES256")]);
            let header = json!({"alg": algorithm, "kid": key}).to_string();
            return self.sign(key, algorithm, header.as_bytes(), payload.as_bytes());
        }
        let (key, algorithms, names) = random.pick(&SIGNERS);
        let all = [RSA, &["ES256", "ES384", "ES512"]].concat();
        let fit = random.pick(algorithms);
        let said = random.mostly(fit, &all);
        let used = random.mostly(said, &all);
        let name = random.mostly(names[0], &["twin", "r1", "e1", "e3", "e5", "", "unknown", "encryption"]);
        let header = json!({"alg": said, "kid": name}).to_string();
        let token = self.sign(key, used, header.as_bytes(), payload.as_bytes());
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let (length, at) = (signature.len(), random.below(signature.len()));
        match random.below(16) {
            0 => signature[at] ^= 1 << random.below(8),
            1 => signature.truncate(at),
            2 => signature.insert(0, 0),
            3 => signature.push(0),
            4 => signature.fill(0),
            5 => signature.rotate_left(length / 2),
            6 => signature = in_der(&signature),
            7 => {
                let secret = hmac::Key::new(hmac::HMAC_SHA256, self.public["r1"].to_string().as_bytes());
                let header = json!({"alg": "HS256", "kid": name}).to_string();
                let signed = to_be_signed(header.as_bytes(), payload.as_bytes());
                let tag = hmac::sign(&secret, signed.as_bytes());
                return format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag));
            }
            _ => {}
        }
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn sign(&self, key: &str, algorithm: &str, header: &[u8], payload: &[u8]) -> String {
        self.sign_as(key, algorithm, header, payload, true)
    }

    /// If it is not `encoded`, the payload is signed as it is (RFC 7797).
    fn sign_as(&self, key: &str, algorithm: &str, header: &[u8], payload: &[u8], encoded: bool) -> String {
        let token = to_be_signed(header, payload);
        let plain = [URL_SAFE_NO_PAD.encode(header).as_bytes(), b".", payload].concat();
        let signed = if encoded { token.as_bytes() } else { &plain };
        format!("{token}.{}", URL_SAFE_NO_PAD.encode(self.keys[key].sign(algorithm, signed)))
    }
}

fn distribute(claims: &mut Json, endpoint: &str, access_token: Option<&str>) {
    let mut source = Json::object([("endpoint", text(quoted(endpoint)))]);
    if let Some(token) = access_token {
        source.push("access_token", text(quoted(token)));
    }
    claims.push("_claim_names", Json::object([("groups", text("\"src\""))]));
    claims.push("_claim_sources", Json::object([("src", source)]));
}

fn object(members: Vec<(&str, String)>) -> String {
    Json::Object(members.into_iter().map(|(name, value)| (name.to_owned(), text(value))).collect()).write()
}

fn bearer(token: Vec<u8>) -> Request {
    request(vec![("Authorization".to_owned(), [b"Bearer ", &*token].concat())])
}

fn request(headers: Vec<(String, Vec<u8>)>) -> Request {
    let (method, path) = ("POST".to_owned(), SELF_SUBJECT_REVIEW.to_owned());
    Request { method, path, headers, certificates: Vec::new(), key: None }
}

/// A token that is not quite in the compact serialization; in a websocket's subprotocol line ends travel as well.
fn odd_encoding(random: &mut Random, token: &str) -> Request {
    let mut token = token.to_owned();
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    let part = random.below(3);
    match random.below(12) {
        0 => parts[part] += random.pick(&["=", "==", "A", "AA", "AAA", "AAAA"]),
        1 => parts[part] = other_trailing_bits(&parts[part]),
        2 => parts[part] = STANDARD.encode(URL_SAFE_NO_PAD.decode(&parts[part]).unwrap()),
        3 => parts[part] = URL_SAFE.encode(URL_SAFE_NO_PAD.decode(&parts[part]).unwrap()),
        4 => parts[part].clear(),
        5 => drop(parts.remove(part)),
        6 => parts.insert(part, random.pick(&["", "e30", "AA"]).to_owned()),
        7 => parts.swap(part, 1),
        8 => parts = parts.iter().map(|part| other_trailing_bits(part)).collect(),
        _ => {}
    }
    token = parts.join(".");
    for _ in 0..random.below(3) {
        let at = random.below(token.len() + 1);
        let at = (0..=at).rev().find(|at| token.is_char_boundary(*at)).unwrap();
        let odd = ["\t", "\u{a0}", "\u{2003}", "\u{85}", "=", ".", "-", "{", " ", "\u{200b}"];
        token.insert_str(random.pick(&[0, at, at, token.len()]), random.pick(&odd));
    }
    if random.percent(50) {
        return bearer(token.into_bytes());
    }
    for _ in 0..random.below(3) {
        let at = random.below(token.len() + 1);
        if token.is_char_boundary(at) {
            token.insert_str(at, random.pick(&["\n", "\r\n", "\u{2028}", " "]));
        }
    }
    let protocols = format!("{WEBSOCKET_TOKEN}{}, v4.channel.k8s.io", URL_SAFE_NO_PAD.encode(token));
    let lines = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Protocol", &protocols)];
    request(lines.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec())).to_vec())
}
