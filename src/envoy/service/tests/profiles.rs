//! Routes that name a profile (threats S17, S13).

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use envoy_types::pb::envoy::config::core::v3 as core;
use envoy_types::pb::envoy::service::auth::v3 as auth;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use prost::Message;
use rcgen::KeyPair;
use serde_json::json;

use super::*;
use crate::authn::token::service_account::{Kind, PublicKeys, ServiceAccount};
use crate::authn::token::{Room, TokenAuthenticator, TokenFile, Ttl};
use crate::authn::{Anonymous, Basic};
use crate::chain::ChainProfile;
use crate::envoy::view::CheckRequest;
use crate::impersonation::{Impersonation, UpstreamToken};

/// Keys and values.
type Extensions<'e> = &'e [(&'e str, &'e str)];

const KEY: &str = "countersign.profile";
const ALICE: (&str, &str) = ("authorization", "Bearer token");

/// `GET path` of a route with these extensions.
fn incoming(path: &str, extensions: &[(&str, &str)], headers: &[(&str, &str)]) -> Incoming {
    let header = |(key, value): &(&str, &str)| core::HeaderValue {
        key: (*key).to_owned(),
        raw_value: value.as_bytes().to_vec(),
        ..Default::default()
    };
    let http = auth::attribute_context::HttpRequest {
        method: "GET".into(),
        path: path.into(),
        header_map: Some(core::HeaderMap { headers: headers.iter().map(header).collect() }),
        ..Default::default()
    };
    let request = Some(auth::attribute_context::Request { http: Some(http), ..Default::default() });
    let extensions = extensions.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let attributes = Some(auth::AttributeContext {
        request,
        context_extensions: extensions.collect(),
        ..Default::default()
    });
    let message = auth::CheckRequest { attributes };
    Incoming(CheckRequest::decode(&*message.encode_to_vec()).ok())
}

/// A static token, a password, and anonymous on `/open`.
fn members() -> Members {
    let warn = |line: usize, text: &str| panic!("warned of line {line}: {text}");
    let tokens = TokenFile::new(b"token,alice,1,\"dev,ops\"\n", warn).expect("a good file");
    Members {
        basic: Some(Arc::new(Basic::new(b"password,bob,2\n", warn).expect("a good file"))),
        tokens: vec![TokenAuthenticator::TokenFile(Arc::new(tokens))],
        anonymous: Some(Anonymous::new(["/open".into()])),
        ..Members::default()
    }
}

/// As the flags have it.
fn copy(name: &str) -> Profile {
    let anonymous = Some(Anonymous::new(["/open".into()]));
    let chain = ChainProfile { authenticators: None, audiences: None, anonymous };
    Profile { name: name.into(), chain, reply: None }
}

fn with(profile: Profile, authenticators: &[Authenticator]) -> Profile {
    let chain = ChainProfile { authenticators: Some(authenticators.to_vec()), ..profile.chain };
    Profile { chain, ..profile }
}

/// Another name of the user, groups and extras, each in lines with an index.
fn with_other_headers(profile: Profile) -> Profile {
    let headers = IdentityHeaders {
        user: "x-app-user".into(),
        uid: "x-app-uid".into(),
        group: "x-app-group".into(),
        extra_prefix: "x-app-extra-".into(),
    };
    let reply = ReplyConfig { headers, groups_encoding: GroupsEncoding::Indexed, ..reply_config() };
    Profile { reply: Some(reply), ..profile }
}

fn snapshot_with(profiles: Vec<Profile>) -> Snapshot {
    Snapshot::new(members(), reply_config(), profiles, &Metrics::default())
}

async fn answer(snapshot: &Snapshot, incoming: &Incoming) -> (Reply, Decision) {
    let Decided { reply, decision, .. } = snapshot.decide(incoming, Now(UNIX_EPOCH), ()).await;
    (reply, decision)
}

/// The user's name, or who refused why.
async fn verdict(snapshot: &Snapshot, incoming: &Incoming) -> String {
    match answer(snapshot, incoming).await.1 {
        Decision::Allow(authenticated) => authenticated.identity.username.to_string(),
        Decision::Deny(denial) => {
            let said = denial.rejections.iter().map(ToString::to_string);
            said.collect::<Vec<_>>().join(", ")
        }
    }
}

/// What an OK sets and removes.
fn changes(reply: &Reply) -> (Vec<String>, Vec<String>) {
    let reply = auth::CheckResponse::decode(reply.as_bytes()).expect("a CheckResponse");
    let Some(HttpResponse::OkResponse(ok)) = reply.http_response else { panic!("no OK") };
    let headers = ok.headers.into_iter().filter_map(|option| option.header);
    (headers.map(|header| format!("{}: {}", header.key, header.value)).collect(), ok.headers_to_remove)
}

fn challenges(reply: &Reply) -> Vec<String> {
    let reply = auth::CheckResponse::decode(reply.as_bytes()).expect("a CheckResponse");
    let Some(HttpResponse::DeniedResponse(denied)) = reply.http_response else { panic!("no denial") };
    assert_eq!(denied.status.map(|status| status.code), Some(401));
    let headers = denied.headers.into_iter().filter_map(|option| option.header);
    headers.filter(|header| header.key == "www-authenticate").map(|header| header.value).collect()
}

#[tokio::test]
async fn a_route_gets_the_policy_that_it_names_and_none_for_a_name_that_nobody_knows() {
    let none = snapshot_with(Vec::new());
    let some = snapshot_with(vec![copy("copy"), with(copy("passwords"), &[Authenticator::Basic])]);
    let unknown = "chain: unknown_profile";
    // Extensions, without profiles, with some.
    let table: [(Extensions<'_>, &str, &str); 10] = [
        (&[], "alice", "alice"),
        (&[("profile", "nobody"), ("virtual_host", "x")], "alice", "alice"),
        (&[(KEY, "default")], "alice", "alice"),
        (&[(KEY, "copy")], unknown, "alice"),
        (&[(KEY, "passwords")], unknown, "chain: no_credentials"),
        (&[(KEY, "Copy")], unknown, unknown),
        (&[(KEY, "copy ")], unknown, unknown),
        (&[(KEY, "")], unknown, unknown),
        (&[("countersign-profile", "copy")], unknown, unknown),
        (&[(KEY, "copy"), ("countersign.mode", "x")], unknown, unknown),
    ];
    for (extensions, without, with_some) in table {
        let incoming = incoming("/", extensions, &[ALICE]);
        let verdicts = (verdict(&none, &incoming).await, verdict(&some, &incoming).await);
        assert_eq!(verdicts, (without.to_owned(), with_some.to_owned()), "{extensions:?}");
    }
    // What the client says is nothing to the point.
    let spoofed =
        incoming("/", &[(KEY, "passwords")], &[ALICE, (KEY, "copy"), ("x-countersign-profile", "copy")]);
    assert_eq!(verdict(&some, &spoofed).await, "chain: no_credentials");
}

/// RFC 9110, section 11.6.1.
#[tokio::test]
async fn the_challenges_are_those_of_the_profile() {
    let profiles = vec![with(copy("passwords"), &[Authenticator::Basic]), with(copy("nobody"), &[])];
    let snapshot = snapshot_with(profiles);
    let told = async |extensions: &[(&str, &str)]| {
        challenges(&answer(&snapshot, &incoming("/", extensions, &[])).await.0)
    };
    let (bearer, basic) = (r#"Bearer realm="countersign""#, r#"Basic realm="countersign", charset="UTF-8""#);
    assert_eq!(told(&[]).await, [bearer, basic]);
    assert_eq!(told(&[(KEY, "passwords")]).await, [basic]);
    assert_eq!(told(&[(KEY, "nobody")]).await, [""; 0]);
    assert_eq!(told(&[(KEY, "unknown")]).await, [bearer, basic]);
}

/// S13: what carries an identity on any route is taken from the client on all of them. And an identity of the token file, which all share,
/// keeps the reply of whoever answers first.
#[tokio::test]
async fn no_route_lets_through_the_identity_headers_of_another() {
    let sent = [
        ALICE,
        ("x-remote-user", "evil"),
        ("x-app-user", "evil"),
        ("X_App_Group", "evil"),
        ("x-app-group-7", "evil"),
        ("x-app-extra-k", "evil"),
        ("x-app-extra3-k", "evil"),
        ("x-remote-extra-k", "evil"),
        ("impersonate-user", "evil"),
        ("x-application", "kept"),
    ];
    let default = (
        vec!["x-remote-user: alice", "x-remote-uid: 1", "x-remote-group: dev,ops,system:authenticated"],
        vec![
            "authorization",
            "x-app-group",
            "x-app-uid",
            "x-app-user",
            "x_app_group",
            "x-app-group-7",
            "x-app-extra-k",
            "x-app-extra3-k",
            "x-remote-extra-k",
            "impersonate-user",
        ],
    );
    let app = (
        vec![
            "x-app-user: alice",
            "x-app-uid: 1",
            "x-app-group: dev",
            "x-app-group-1: ops",
            "x-app-group-2: system:authenticated",
        ],
        vec![
            "authorization",
            "x-remote-group",
            "x-remote-uid",
            "x-remote-user",
            "x_app_group",
            "x-app-group-7",
            "x-app-extra-k",
            "x-app-extra3-k",
            "x-remote-extra-k",
            "impersonate-user",
        ],
    );
    let strings = |(set, removed): &(Vec<&str>, Vec<&str>)| {
        let owned = |list: &[&str]| list.iter().map(|item| (*item).to_owned()).collect::<Vec<_>>();
        (owned(set), owned(removed))
    };
    for order in [["app", "default", "copy", "app"], ["default", "app", "copy", "default"]] {
        let snapshot = snapshot_with(vec![with_other_headers(copy("app")), copy("copy")]);
        for name in order.into_iter().chain(order) {
            let incoming = incoming("/", &[(KEY, name)], &sent);
            let expected = if name == "app" { &app } else { &default };
            assert_eq!(changes(&answer(&snapshot, &incoming).await.0), strings(expected), "{order:?} {name}");
        }
        let incoming = incoming("/open", &[(KEY, "app")], &[]);
        let (set, removed) = changes(&answer(&snapshot, &incoming).await.0);
        assert_eq!(set, ["x-app-user: system:anonymous", "x-app-group: system:unauthenticated"]);
        assert_eq!(
            removed,
            ["authorization", "x-app-uid", "x-remote-group", "x-remote-uid", "x-remote-user"]
        );
    }
}

/// Our token goes to the upstream that is told by impersonation, and to no other.
#[tokio::test]
async fn a_profile_impersonates_for_its_own_routes() {
    let name = |what: &str| format!("impersonate-{what}");
    let (user, uid, group, extra_prefix) = (name("user"), name("uid"), name("group"), name("extra-"));
    let reply = ReplyConfig {
        headers: IdentityHeaders { user, uid, group, extra_prefix },
        groups_encoding: GroupsEncoding::Metadata,
        impersonation: Some(Impersonation {
            token: UpstreamToken::new(b"ours").expect("a token"),
            reviews: None,
        }),
        ..reply_config()
    };
    let snapshot = snapshot_with(vec![Profile { reply: Some(reply), ..copy("kube") }]);
    let asked = async |name, headers: &[(&str, &str)]| {
        let incoming = incoming("/", &[(KEY, name)], headers);
        (verdict(&snapshot, &incoming).await, answer(&snapshot, &incoming).await.0)
    };
    for _ in 0..2 {
        let (set, removed) = changes(&asked("kube", &[ALICE]).await.1);
        assert_eq!(
            set,
            [
                "impersonate-user: alice",
                "impersonate-uid: 1",
                "impersonate-group: system:unauthenticated",
                "authorization: Bearer ours",
            ]
        );
        assert_eq!(removed, ["x-remote-group", "x-remote-uid", "x-remote-user"]);
        let (set, removed) = changes(&asked("default", &[ALICE]).await.1);
        assert_eq!(
            set,
            ["x-remote-user: alice", "x-remote-uid: 1", "x-remote-group: dev,ops,system:authenticated"]
        );
        assert_eq!(removed, ["authorization", "impersonate-group", "impersonate-uid", "impersonate-user"]);
    }
    let sent = [ALICE, ("impersonate-user", "admin")];
    assert_eq!(asked("kube", &sent).await.0, "tokenfile: impersonation_not_allowed");
    assert_eq!(asked("default", &sent).await.0, "alice");
}

#[tokio::test]
async fn anonymous_is_let_in_where_the_profile_says_so() {
    let anonymous = |paths: &[&str]| Some(Anonymous::new(paths.iter().map(|path| Box::from(*path))));
    let profile = |name: &str, anonymous| {
        let Profile { chain, reply, .. } = copy(name);
        Profile { name: name.into(), chain: ChainProfile { anonymous, ..chain }, reply }
    };
    let profiles = vec![
        profile("everywhere", anonymous(&[])),
        profile("there", anonymous(&["/there"])),
        profile("nowhere", None),
    ];
    let snapshot = snapshot_with(profiles);
    let user = "system:anonymous";
    let nobody = "chain: no_credentials";
    for (name, open, there) in [
        ("default", user, nobody),
        ("everywhere", user, user),
        ("there", nobody, user),
        ("nowhere", nobody, nobody),
    ] {
        let at = async |path| verdict(&snapshot, &incoming(path, &[(KEY, name)], &[])).await;
        assert_eq!((&*at("/open").await, &*at("/there").await), (open, there), "{name}");
        let bad = incoming("/open", &[(KEY, name)], &[("authorization", "Bearer stranger")]);
        assert_eq!(verdict(&snapshot, &bad).await, "bearer: invalid_bearer_token");
    }
}

/// The log, the audit log and the metrics say which it was.
#[tokio::test]
async fn the_name_of_the_profile_is_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("audit.log");
    let metrics = Arc::new(Metrics::default());
    let config = AuditConfig { level: Level::All, path: Some(path.clone()) };
    let auditor = Auditor::start(&config, Arc::clone(&metrics.audit)).expect("it starts");
    let snapshot = Snapshot::new(members(), reply_config(), vec![copy("copy")], &metrics);
    let (auditor, log) = (Arc::new(auditor), Lines::default());
    let current = Arc::new(ArcSwap::from_pointee(snapshot));
    let service = CheckService::new(current, Arc::clone(&metrics), Some(Arc::clone(&auditor)));
    let _taken = taken_in(&log);
    for (extensions, header) in [
        (&[][..], ALICE),
        (&[(KEY, "copy")], ALICE),
        (&[], ("a", "b")),
        (&[(KEY, "default")], ("a", "b")),
        (&[(KEY, "copy")], ("a", "b")),
        (&[(KEY, "cöpy")], ALICE),
        (&[("Countersign.Profile", "copy")], ALICE),
    ] {
        let incoming = incoming("/", extensions, &[header]);
        let _reply = service.answer(&incoming).await;
    }
    auditor.flush(Duration::from_secs(20)).await;
    let log = log.0.lock().expect("not poisoned").clone();
    #[expect(clippy::disallowed_methods, reason = "a test reads what was written")]
    let audit = fs::read(path).expect("it is there");
    let profiles = |bytes: &[u8], at: &str| {
        let lines = bytes.lines().map(|line| serde_json::from_slice::<Value>(line).expect("JSON"));
        let profile = |line: Value| line.pointer(at).and_then(Value::as_str).unwrap_or("-").to_owned();
        lines.map(profile).collect::<Vec<_>>()
    };
    let denied = ["-", "-", "copy", "cöpy", "Countersign.Profile"];
    assert_eq!(profiles(&log, "/fields/profile"), denied);
    assert_eq!(profiles(&audit, "/profile"), [&["-", "copy"][..], &denied].concat());
    let page = metrics.render(&Measured::default());
    let counted: Vec<&str> = page.lines().filter(|line| line.starts_with("countersign_profile_")).collect();
    assert_eq!(
        counted,
        [
            r#"countersign_profile_checks_total{profile="copy",result="allowed"} 1"#,
            r#"countersign_profile_checks_total{profile="copy",result="denied"} 1"#,
            r#"countersign_profile_checks_total{profile="default",result="allowed"} 1"#,
            r#"countersign_profile_checks_total{profile="default",result="denied"} 2"#,
        ]
    );
    drop(service);
    let _later = Snapshot::new(members(), reply_config(), Vec::new(), &metrics);
    metrics.profiles.of("other");
    assert!(!metrics.render(&Measured::default()).contains("profile=\"copy\""), "it is gone");
}

/// To choose a policy takes no memory.
#[test]
fn a_policy_is_found_without_an_allocation() {
    let snapshot = snapshot_with(vec![copy("copy"), copy("other")]);
    for (extensions, known) in
        [(&[][..], true), (&[(KEY, "copy")], true), (&[(KEY, "nobody")], false), (&[("a", "b")], true)]
    {
        let incoming = incoming("/", extensions, &[]);
        let request = incoming.request().expect("a request");
        let counted = allocation_counter::measure(|| assert_eq!(snapshot.policy(&request).is_ok(), known));
        assert_eq!(counted.count_total, 0, "{extensions:?}");
    }
}

fn a_request() -> impl Strategy<Value = (&'static str, Vec<(&'static str, &'static str)>)> {
    let header = select(vec![
        ALICE,
        ("authorization", "Bearer stranger"),
        ("authorization", "Basic Ym9iOnBhc3N3b3Jk"),
        ("authorization", "Basic Ym9iOm5v"),
        ("authorization", "Bearer a,Bearer b"),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.dG9rZW4, x"),
        ("x-remote-user", "evil"),
        ("X_Remote_Group_3", "evil"),
        ("impersonate-user", "evil"),
        ("accept", "*/*"),
    ]);
    (select(vec!["/", "/open", "/open?x", "//open"]), vec(header, 0..6))
}

/// The audiences of a token, which may be none.
const AUDIENCES: [&[&str]; 4] = [&["a"], &["b"], &["a", "b"], &["c"]];

/// A cluster whose tokens are for the API server `a`, and remembered, be they good or bad.
struct Accounts {
    members: Members,
    tokens: Vec<String>,
}

impl Accounts {
    fn new(key: &KeyPair) -> Self {
        let signing =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &key.serialize_der()).expect("a key");
        let token = |audiences: &[&str]| {
            let claims = json!({
                "aud": audiences, "iss": "i", "exp": 100, "nbf": 0, "iat": 0, "sub": "not looked at", "jti": audiences.join("-"),
                "kubernetes.io": {"namespace": "ns", "serviceaccount": {"name": "sa", "uid": "u"}},
            });
            let encode = |text: String| BASE64_URL_SAFE_NO_PAD.encode(text);
            let signed =
                format!("{}.{}", encode(json!({"alg": "ES256"}).to_string()), encode(claims.to_string()));
            let signature = signing.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature");
            format!("Bearer {signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
        };
        let mut keys = PublicKeys::default();
        keys.add(key.public_key_pem().as_bytes()).expect("a key");
        let kind = Kind::Bound { issuers: ["i".into()].into() };
        let accounts = ServiceAccount::new(kind, Arc::new(keys), ["a".into()].into(), None);
        let minute = Duration::from_secs(60);
        let members = Members {
            tokens: vec![TokenAuthenticator::ServiceAccount(accounts)],
            token_cache: Room::new(Ttl { good: minute, bad: minute, refusals: true }, Arc::default()),
            ..Members::default()
        };
        Self { members, tokens: AUDIENCES.map(token).to_vec() }
    }

    fn snapshot(self) -> (Snapshot, Vec<String>) {
        let wanting = |name: &str, audiences: &[&str]| {
            let Profile { chain, .. } = copy(name);
            let audiences = Some(audiences.iter().map(|audience| Box::from(*audience)).collect());
            let chain = ChainProfile { audiences, anonymous: None, ..chain };
            Profile { name: name.into(), chain, reply: None }
        };
        let profiles = vec![wanting("b", &["b"]), wanting("both", &["a", "b"])];
        let snapshot = Snapshot::new(self.members, reply_config(), profiles, &Metrics::default());
        (snapshot, self.tokens)
    }
}

/// Whether a profile takes a token for these audiences.
fn takes(profile: &str, audiences: &[&str]) -> bool {
    let wanted: &[&str] = match profile {
        "default" => &["a"],
        "b" => &["b"],
        _ => &["a", "b"],
    };
    audiences.iter().any(|audience| wanted.contains(audience))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// A profile that says nothing of its own is the policy of the flags: the same verdict in the same bytes.
    #[test]
    fn a_copy_of_the_default_gives_the_same_answers(requests in vec(a_request(), 1..8)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let (alone, snapshot) = (snapshot_with(Vec::new()), snapshot_with(vec![copy("copy")]));
            for (path, headers) in requests {
                let (bare, named) =
                    (incoming(path, &[], &headers), incoming(path, &[(KEY, "copy")], &headers));
                let (reply, decision) = answer(&alone, &bare).await;
                for incoming in [&bare, &named] {
                    let (same, said) = answer(&snapshot, incoming).await;
                    prop_assert_eq!(&said, &decision);
                    prop_assert_eq!(same.as_bytes(), reply.as_bytes());
                }
            }
            Ok(())
        })?;
    }

    /// S17 (CVE-2021-32701, heimdall#3452): whatever was asked before, and of whom, a profile's answer is its own.
    #[test]
    fn two_profiles_never_share_a_verdict(
        asked in vec((select(vec!["default", "b", "both"]), 0..AUDIENCES.len()), 1..24)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let (snapshot, tokens) = Accounts::new(&KeyPair::generate().expect("a key")).snapshot();
            for (profile, token) in asked {
                let incoming = incoming("/", &[(KEY, profile)], &[("authorization", &tokens[token])]);
                let expected = match takes(profile, AUDIENCES[token]) {
                    true => "system:serviceaccount:ns:sa",
                    false => "serviceaccount: wrong_audience",
                };
                prop_assert_eq!(verdict(&snapshot, &incoming).await, expected);
            }
            Ok(())
        })?;
    }
}
