//! Loads the recorded vectors of `tests/conformance`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::support::envoy::Request;
use crate::support::verdict::{User, Verdict};

/// Where a file or folder of the vectors is.
pub(super) fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance").join(path)
}

/// One set of kube-apiserver's flags and what that server said to each request.
pub(super) struct Scenario {
    pub(super) name: String,
    pub(super) flags: Vec<String>,
    /// What has to authenticate before a replay begins, as issuers are discovered in the background.
    pub(super) probes: Vec<Recorded>,
    pub(super) vectors: Vec<Vector>,
}

#[derive(Deserialize)]
pub(super) struct Vector {
    pub(super) id: String,
    pub(super) class: String,
    pub(super) request: Recorded,
    expect: Expect,
    /// The first such request may fail, as keys are fetched when first asked for.
    #[serde(default)]
    pub(super) warmup: bool,
    /// kube-apiserver's own words about a refusal.
    #[serde(default)]
    pub(super) why: String,
    /// Extra keys, as `extra.key`, whose values kube-apiserver gives in an order of chance.
    #[serde(default)]
    unordered: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct Recorded {
    method: String,
    path: String,
    headers: Vec<(String, HeaderValue)>,
    client_cert_chain_pem: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum HeaderValue {
    Text(String),
    Bytes { b64: String },
    Signed { prefix: String, jwt: Unsigned },
}

/// A token to be signed when it is asked for: RS256, by a key of the world.
#[derive(Deserialize)]
struct Unsigned {
    key: String,
    header: Json,
    claims: Json,
}

#[derive(Deserialize)]
struct Expect {
    authenticated: bool,
    user: Option<User>,
}

/// Flags and files that kube-apiserver starts with, or does not.
#[derive(Deserialize)]
pub(super) struct Config {
    pub(super) id: String,
    pub(super) class: String,
    pub(super) flags: Vec<String>,
    pub(super) files: BTreeMap<String, String>,
    expect: Starts,
}

#[derive(Deserialize)]
struct Starts {
    starts: bool,
}

impl Vector {
    /// Every way of being refused is the same to Envoy: 401, 400 and a handshake that fails.
    pub(super) fn theirs(&self) -> Verdict {
        match (self.expect.authenticated, &self.expect.user) {
            (true, Some(user)) => self.ordered(Verdict::Authenticated(user.clone())),
            (false, None) => Verdict::Refused,
            _ => panic!("{}: an expectation is a user or none", self.id),
        }
    }

    /// A verdict with those values sorted whose order is left to chance.
    pub(super) fn ordered(&self, mut verdict: Verdict) -> Verdict {
        if let Verdict::Authenticated(user) = &mut verdict {
            let keys = self.unordered.iter().map(|key| key.strip_prefix("extra.").unwrap());
            for key in keys {
                user.extra.get_mut(key).into_iter().for_each(|values| values.sort());
            }
        }
        verdict
    }
}

impl Recorded {
    /// The request, with those tokens signed that have to be.
    pub(super) fn request(&self) -> Request {
        Request {
            method: self.method.clone(),
            path: self.path.clone(),
            headers: self.headers.iter().map(|(name, value)| (name.clone(), value.bytes())).collect(),
            certificates: self.client_cert_chain_pem.clone().unwrap_or_default(),
            key: None,
        }
    }
}

impl HeaderValue {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Text(text) => text.clone().into_bytes(),
            Self::Bytes { b64 } => STANDARD.decode(b64).unwrap(),
            Self::Signed { prefix, jwt } => format!("{prefix}{}", jwt.sign()).into_bytes(),
        }
    }
}

impl Unsigned {
    fn sign(&self) -> String {
        assert_eq!(self.header["alg"], "RS256");
        let pem = fs::read_to_string(data("world").join(&self.key)).unwrap();
        let der = STANDARD.decode(pem.lines().filter(|line| !line.starts_with('-')).collect::<String>());
        let key = RsaKeyPair::from_pkcs8(&der.unwrap()).unwrap();
        let part = |json: &Json| URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", part(&self.header), part(&at_now(&self.claims)));
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}

/// Claims with every `{"$now": N}` replaced by the seconds since 1970, N from now.
fn at_now(claims: &Json) -> Json {
    let seconds = |value: &Json| {
        let from_now = value.get("$now")?.as_i64()?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        Some(Json::from(i64::try_from(now).unwrap() + from_now))
    };
    let members = claims.as_object().unwrap().iter();
    members.map(|(name, value)| (name.clone(), seconds(value).unwrap_or_else(|| value.clone()))).collect()
}

impl Config {
    pub(super) fn starts(&self) -> bool {
        self.expect.starts
    }
}

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut folders: Vec<_> =
        fs::read_dir(data("scenarios")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders.iter().map(|folder| scenario(folder)).collect()
}

pub(super) fn configs() -> Vec<Config> {
    json_lines(&data("configs/configs.jsonl"))
}

fn scenario(folder: &Path) -> Scenario {
    let flags = fs::read_to_string(folder.join("flags.txt")).unwrap();
    let mut vectors = json_lines(&folder.join("cases.jsonl"));
    let clock = folder.join("cases-clock.jsonl");
    if clock.exists() {
        vectors.extend(json_lines::<Vector>(&clock));
    }
    Scenario {
        name: folder.file_name().unwrap().to_string_lossy().into_owned(),
        flags: flags.lines().filter(|line| line.starts_with("--")).map(str::to_owned).collect(),
        probes: probes(&folder.join("probes.json")),
        vectors,
    }
}

fn probes(file: &Path) -> Vec<Recorded> {
    let headers: Vec<Vec<(String, HeaderValue)>> =
        serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
    let request = |headers| Recorded {
        method: "GET".to_owned(),
        path: "/".to_owned(),
        headers,
        client_cert_chain_pem: None,
    };
    headers.into_iter().map(request).collect()
}

fn json_lines<T: DeserializeOwned>(file: &Path) -> Vec<T> {
    let text = fs::read_to_string(file).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{file:?}: {e}: {line}")))
        .collect()
}
