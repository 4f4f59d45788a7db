//! Everything at once: one kube-apiserver with live objects and one countersign, each with every kind of credential that there is, and random
//! requests that combine them.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::cluster::{AUDIT_POLICY, Port};
use super::compare::Outcome;
use super::generate::{ANONYMOUS_PATHS, Case, Line, TokenFile, as_target, authorization, websocket};
use super::json::{self, quoted, text};
use super::live::{Live, TOKENS, recorded_objects};
use super::random::Random;
use super::service_accounts::{self, KEY_FILES};
use super::support::envoy::Request;
use super::support::issuers::Issuers;
use super::support::subject::Subject;
use super::support::tokens::{ServiceAccounts, tokens};
use super::support::verdict::WEBSOCKET_TOKEN;
use super::support::webhook::Webhooks;
use super::vectors::{data, scenarios};
use super::wire::SELF_SUBJECT_REVIEW;
use super::{assert_seen, bootstrap, certificates, judge, jwt, requests_or, verdicts};

/// How many requests; `COUNTERSIGN_TEST_KUBE_REQUESTS` says otherwise.
const REQUESTS: usize = 2000;

/// What both servers are told besides [`certificates::FLAGS`]; of a flag that comes twice the last counts.
const FLAGS: [&str; 11] = [
    "--token-auth-file=all-tokens.csv",
    "--authentication-config=authentication.yaml",
    "--service-account-key-file=rsa1.pub",
    "--service-account-key-file=rsa2-and-ec256.pub",
    "--service-account-issuer=https://issuer",
    "--service-account-issuer=https://sa.oracle.test",
    "--service-account-issuer=plain",
    "--api-audiences=api,vault,https://sa.oracle.test",
    bootstrap::FLAG,
    "--authentication-token-webhook-config-file=webhook.kubeconfig",
    "--authentication-token-webhook-version=v1",
];

/// What only kube-apiserver is told.
const AUDIT: [&str; 3] =
    ["--audit-policy-file=audit.yaml", "--audit-log-path=audit.log", "--audit-log-mode=blocking"];

/// The kinds of tokens; a request that has no other credential is counted by that of its token.
const KINDS: [&str; 7] = [
    "static token",
    "live account's token",
    "recorded account's token",
    "bootstrap token",
    "JSON Web Token",
    "webhook's token",
    "nobody's token",
];

/// Where credentials are, by the bits of a number: a certificate, a front proxy's headers, `Authorization`, a websocket's subprotocol.
const PLACES: [&str; 16] = [
    "nothing",
    "certificate",
    "headers",
    "certificate, headers",
    "authorization",
    "certificate, authorization",
    "headers, authorization",
    "certificate, headers, authorization",
    "websocket",
    "certificate, websocket",
    "headers, websocket",
    "certificate, headers, websocket",
    "authorization, websocket",
    "certificate, authorization, websocket",
    "headers, authorization, websocket",
    "certificate, headers, authorization, websocket",
];

#[tokio::test(flavor = "multi_thread")] // the start of a server blocks, and issuers and webhook are in this process
async fn all_credentials_at_once_get_the_verdicts_of_kube_apiserver() {
    let mut random = Random::from_env("all credentials");
    let folder = TempDir::new().unwrap();
    let issuers = jwt::Forge::new(folder.path(), &mut random);
    let _issuers = Issuers::start(folder.path()).await;
    let webhook = webhook(folder.path());
    let _webhook = Webhooks::start(folder.path()).await;
    let world = World::new(folder.path(), &mut random, issuers, webhook);
    let cases: Vec<_> = (0..requests_or(REQUESTS)).map(|_| world.case(&mut random)).collect();
    let good = world.issuers.good(&mut random);

    let flags = [&certificates::FLAGS[1..], &FLAGS].concat();
    let live = Live::start_in(folder, &world.objects, &[&flags[..], &AUDIT].concat()).await;
    let audit_log = || fs::read_to_string(live.dir.path().join("audit.log")).unwrap();
    let theirs = verdicts(&live.door(), &good, &cases, || live.log(), audit_log).await;
    let server = Subject::of(live.subject(live.dir.path(), &flags).await).await;
    let counts = judge(&server, &good, &cases, &theirs).await;

    for kind in &KINDS[..6] {
        assert_seen(&counts, kind, &[Outcome::SameUser, Outcome::BothRefuse]);
    }
    assert_seen(&counts, KINDS[6], &[Outcome::BothRefuse]);
    assert_seen(&counts, PLACES[0], &[Outcome::BothAnonymous, Outcome::BothRefuse]);
    assert_seen(&counts, PLACES[2], &[Outcome::BothAnonymous, Outcome::BothRefuse]);
    for (number, place) in
        PLACES.iter().enumerate().filter(|(number, _)| number & 1 != 0 || number & 12 == 12)
    {
        assert_seen(&counts, place, &[Outcome::SameUser]);
        // A certificate alone is refused for what it is; it takes more of them to see that.
        if number != 1 {
            assert_seen(&counts, place, &[Outcome::BothRefuse]);
        }
    }
}

/// Everything that credentials are made of.
struct World {
    static_tokens: TokenFile,
    accounts: service_accounts::Forge,
    issuers: jwt::Forge,
    pki: certificates::Pki,
    /// What is in the cluster.
    objects: Vec<Json>,
    /// Service account tokens that were recorded with these objects.
    recorded: Vec<String>,
    webhook: WebhookTokens,
}

/// What the webhook knows.
struct WebhookTokens {
    answered: Vec<String>,
    /// It fails at these, and is therefore asked about them for seconds.
    failing: Vec<String>,
    _port: Port,
}

/// So many Secrets of bootstrap tokens are in the cluster.
const BOOTSTRAP_TOKENS: usize = 200;

impl World {
    /// Writes what the flags name into `folder`, where the configuration of the issuers is.
    fn new(folder: &Path, random: &mut Random, issuers: jwt::Forge, webhook: WebhookTokens) -> Self {
        let static_tokens = TokenFile::random(random, "");
        let pki = certificates::Pki::new(folder);
        let write = |name: &str, content: &str| fs::write(folder.join(name), content).unwrap();
        // Random rows may be about the same tokens; of such rows the last counts.
        write("all-tokens.csv", &(static_tokens.csv.clone() + TOKENS));
        write("audit.yaml", AUDIT_POLICY);
        for name in KEY_FILES {
            fs::copy(service_accounts::world(name), folder.join(name)).unwrap();
        }
        let configuration = fs::read_to_string(folder.join("authentication.yaml")).unwrap();
        let mut configuration: Json = serde_json::from_str(&configuration).unwrap();
        let conditions: Vec<Json> = ANONYMOUS_PATHS.iter().map(|path| json!({"path": path})).collect();
        configuration["anonymous"] = json!({"enabled": true, "conditions": conditions});
        write("authentication.yaml", &configuration.to_string());

        let mut objects = recorded_objects();
        objects.extend((0..BOOTSTRAP_TOKENS).map(|number| bootstrap::odd(random, number)));
        Self {
            static_tokens,
            // The times of those tokens neither begin nor cease to matter while the longest of runs takes.
            accounts: service_accounts::Forge::new(&[0, 1400, 8600]),
            issuers,
            pki,
            objects,
            recorded: recorded_tokens(),
            webhook,
        }
    }

    fn case(&self, random: &mut Random) -> Case {
        let places = random.below(PLACES.len());
        let [has_certificate, has_headers, has_authorization, has_websocket] =
            [0, 1, 2, 3].map(|bit| places & 1 << bit != 0);
        let (certificates, key) = if has_certificate { self.pki.chain(random) } else { (Vec::new(), None) };
        let mut headers = if has_headers { certificates::identity_headers(random) } else { Vec::new() };
        let mut kind = KINDS[0];
        if has_authorization {
            let token;
            (kind, token) = self.token(random);
            // No header has line ends in it.
            let token = token.replace(['\n', '\r'], "");
            headers.push(match random.percent(75) {
                true => ("Authorization".to_owned(), format!("Bearer {token}").into_bytes()),
                false => authorization(random, &token),
            });
        }
        if has_websocket {
            let token;
            (kind, token) = self.token(random);
            match random.percent(75) {
                true => headers.extend(usual_websocket(&token)),
                false => websocket(random, |_| token.clone(), &mut headers),
            }
        }
        let family = if [4, 8].contains(&places) { kind } else { PLACES[places] };
        let (method, path) = match random.below(10) {
            0 | 1 => ("GET", as_target(random.pick(&ANONYMOUS_PATHS))),
            2 => ("GET", "/version".to_owned()),
            _ => ("POST", SELF_SUBJECT_REVIEW.to_owned()),
        };
        Case { family, request: Request { method: method.to_owned(), path, headers, certificates, key } }
    }

    /// A token of some kind, which may have been tampered with.
    fn token(&self, random: &mut Random) -> (&'static str, String) {
        let kind = random.pick(&KINDS);
        let any = |random: &mut Random, of: &[String]| of[random.below(of.len())].clone();
        let token = match kind {
            "static token" => self.static_tokens.token(random),
            "live account's token" => self.account_token(random),
            "recorded account's token" => any(random, &self.recorded),
            "bootstrap token" => bootstrap::token(&format!("{:06}", random.below(BOOTSTRAP_TOKENS + 10))),
            "JSON Web Token" => {
                let odd = random.pick(&jwt::FAMILIES);
                let family = if random.percent(50) || odd == "encoding" { jwt::FAMILIES[0] } else { odd };
                self.issuers.token(random, family)
            }
            "webhook's token" if random.percent(2) => any(random, &self.webhook.failing),
            "webhook's token" => any(random, &self.webhook.answered),
            _ => random
                .pick(&["x", ".", "..", "a.b", "a.b.c", "abcdef.0123456789abcdef", "e30.e30.", "nope"])
                .to_owned(),
        };
        (kind, if random.percent(15) { tampered(random, token) } else { token })
    }

    /// A token for an account and perhaps a pod, a node or a Secret, all of which may be there, be there no longer, be another by now, or be
    /// about to go.
    fn account_token(&self, random: &mut Random) -> String {
        let account = self.object(random, "ServiceAccount");
        let namespace = account["metadata"]["namespace"].as_str().unwrap();
        let mut references = vec![
            ("namespace".to_owned(), text(quoted(namespace))),
            ("serviceaccount".to_owned(), reference(random, account)),
        ];
        for (name, kind) in [("pod", "Pod"), ("node", "Node"), ("secret", "Secret")] {
            if random.percent(30) {
                let object = self.object(random, kind);
                references.push((name.to_owned(), reference(random, object)));
            }
        }
        let claims = self
            .accounts
            .claims(random.pick(&["https://issuer", "https://sa.oracle.test", "plain"]), references);
        let token = match random.percent(70) {
            true => self.accounts.good_token(random, &claims),
            false => self.accounts.odd_token(random, claims),
        };
        String::from_utf8_lossy(&token).into_owned()
    }

    /// An object of the namespace in which most are, or a node.
    fn object(&self, random: &mut Random, kind: &str) -> &Json {
        let fits = |object: &&Json| {
            let is_bootstrap_token = object["metadata"]["namespace"] == "kube-system";
            let is_usual = kind == "Node" || object["metadata"]["namespace"] == "apps";
            object["kind"] == kind && !is_bootstrap_token && is_usual
        };
        let objects: Vec<&Json> = self.objects.iter().filter(fits).collect();
        random.pick(&objects)
    }
}

/// To an object, or to one of its name or uid.
fn reference(random: &mut Random, object: &Json) -> json::Json {
    let member = |name: &str| object["metadata"][name].as_str().unwrap();
    let name = random.mostly(member("name"), &[member("name"), member("name"), "gone"]);
    let uid = random
        .mostly(member("uid"), &[member("uid"), member("uid"), "5a000000-0000-4000-8000-00000000dead", ""]);
    json::Json::object([("name", text(quoted(name))), ("uid", text(quoted(uid)))])
}

/// Changes a character or two.
fn tampered(random: &mut Random, token: String) -> String {
    let mut characters: Vec<char> = token.chars().collect();
    for _ in 0..=random.below(2) {
        let at = random.below(characters.len().max(1));
        match random.below(5) {
            0 => characters.truncate(at),
            1 => characters.insert(at, random.pick(&['x', '.', '=', '\u{a0}', '\u{301}', '_'])),
            2 if !characters.is_empty() => drop(characters.remove(at)),
            3 => characters.push(random.pick(&['x', '.', '=', '\u{a0}', '\u{200b}'])),
            _ if !characters.is_empty() => characters[at] = random.pick(&['A', 'x', '-', '0']),
            _ => {}
        }
    }
    characters.into_iter().collect()
}

fn usual_websocket(token: &str) -> [Line; 3] {
    let protocols = format!("{WEBSOCKET_TOKEN}{}, v4.channel.k8s.io", URL_SAFE_NO_PAD.encode(token));
    let lines = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Protocol", &protocols)];
    lines.map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
}

/// The recorded service account tokens of the issuers here.
fn recorded_tokens() -> Vec<String> {
    let accounts = ServiceAccounts::of(&FLAGS.map(str::to_owned));
    let of_scenario = scenarios().into_iter().filter(|scenario| scenario.name == "serviceaccount");
    let vectors = of_scenario.flat_map(|scenario| scenario.vectors);
    // Those that depend on the time are signed when they are asked for, and end soon.
    let vectors = vectors.filter(|vector| !["clock", "sa-time"].contains(&&*vector.class));
    let tokens = vectors.flat_map(|vector| tokens(&vector.request.request()));
    tokens.filter(|token| accounts.issued(token)).collect()
}

/// Writes the recorded webhook, at an address of its own, and how to get there.
fn webhook(folder: &Path) -> WebhookTokens {
    let world = data("world");
    let [held] = Port::hold();
    let port = held.number();
    let table = fs::read_to_string(world.join("webhook/table.json")).unwrap();
    let mut table: Json = serde_json::from_str(&table).unwrap();
    table["servers"] = json!([{
        "listen": format!("127.0.0.1:{port}"),
        "cert": world.join("serving/webhook.pem"), "key": world.join("serving/webhook.key"),
        "require_authorization": "Bearer webhook-caller",
    }]);
    let answers = table["tokens"].as_object_mut().unwrap();
    // What these say depends on who asked before, and how long that was ago.
    answers.retain(|token, _| !["wh-flaky", "wh-slow"].contains(&&**token));
    let fails = |answer: &Json| {
        answer["close"] == true || answer["http"].as_u64().is_some_and(|status| status >= 400)
    };
    let (failing, answered): (Vec<_>, Vec<_>) = answers.iter().partition(|(_, answer)| fails(answer));
    let names = |tokens: Vec<(&String, &Json)>| tokens.into_iter().map(|(token, _)| token.clone()).collect();
    let tokens = WebhookTokens { answered: names(answered), failing: names(failing), _port: held };
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        "clusters": [{"name": "c", "cluster": {
            "server": format!("https://127.0.0.1:{port}/authenticate"), "certificate-authority": world.join("ca/webhook-ca.pem")}}],
        "users": [{"name": "c", "user": {"token": "webhook-caller"}}],
    });
    fs::create_dir(folder.join("webhook")).unwrap();
    fs::write(folder.join("webhook/table.json"), table.to_string()).unwrap();
    fs::write(folder.join("webhook.kubeconfig"), kubeconfig.to_string()).unwrap();
    tokens
}
