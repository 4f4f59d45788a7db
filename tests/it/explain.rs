//! What a running program, or a configuration without one, says about its decisions.

mod command;

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use countersign::explain::v1::{ExplainResponse, Lookup, Outcome, Step, Verdict};
use countersign::explain::{ask, json_of};
use countersign::jose::service_account_key_id;
use countersign::pki::public_keys_from_pem;
use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use futures_util::{StreamExt, stream};
use prost::Message;
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::transport::Endpoint;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::certificates::{Ca, ca, client, issue, pem, with_certificate};
use crate::jwt::Issuer;
use crate::message::get;
use crate::service_accounts::Cluster;
use crate::support::envoy::url_encoded;
use crate::support::program::{Server, countersign};
use crate::webhook::Webhook;

/// Every member of the chain, and what they know.
struct World {
    folder: TempDir,
    clients: Ca,
    proxies: Ca,
    issuer: Issuer,
    cluster: Cluster,
    _webhook: Webhook,
}

const FLAGS: [&str; 14] = [
    "--requestheader-client-ca-file=proxies.pem",
    "--requestheader-username-headers=x-remote-user",
    "--client-ca-file=clients.pem",
    "--basic-auth-file=basic.csv",
    "--token-auth-file=tokens.csv",
    "--service-account-key-file=sa.pub",
    "--service-account-issuer=https://kubernetes.default.svc",
    "--service-account-lookup-mode=offline",
    "--authentication-config=authn.yaml",
    "--authentication-token-webhook-config-file=kubeconfig",
    "--authentication-token-webhook-version=v1",
    "--groups-encoding=metadata",
    "--audit-level=all",
    "--audit-log-path=audit.log",
];

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut webhook = Webhook::down();
        webhook.configure(folder.path());
        webhook.come_up();
        let (clients, proxies, issuer, cluster) =
            (ca("clients"), ca("proxies"), Issuer::up(), Cluster::new());
        let config = json!({
            "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
            "jwt": [issuer.configured("jwt:")], "anonymous": {"enabled": true, "conditions": [{"path": "/open"}]},
        });
        for (name, text) in [
            ("clients.pem", clients.pem()),
            ("proxies.pem", proxies.pem()),
            ("basic.csv", "passw0rd-1,bert,3,dev\n".to_owned()),
            ("sa.pub", cluster.key.public_key_pem()),
            ("authn.yaml", config.to_string()),
        ] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        Self { folder, clients, proxies, issuer, cluster, _webhook: webhook }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    async fn start(&self) -> Server {
        let server = Server::start(self.path(), &FLAGS);
        server.until_ready().await;
        server
    }

    /// A JSON Web Token of alice's that is meant for somebody else.
    fn for_somebody_else(&self) -> String {
        self.issuer.token_with(&json!({"aud": "somebody-else"}))
    }

    fn certificate(&self, ca: &Ca) -> String {
        url_encoded(&pem(&issue(&client("bob"), ca)))
    }
}

fn bearer(token: &str) -> CheckRequest {
    get("/", &[("authorization", format!("Bearer {token}").as_bytes())])
}

fn websocket(token: &str) -> CheckRequest {
    let protocols =
        format!("v1, base64url.bearer.authorization.k8s.io.{}", BASE64_URL_SAFE_NO_PAD.encode(token));
    get(
        "/",
        &[
            ("connection", b"upgrade"),
            ("upgrade", b"websocket"),
            ("sec-websocket-protocol", protocols.as_bytes()),
        ],
    )
}

async fn explain(server: &Server, request: &CheckRequest) -> ExplainResponse {
    ask(&server.admin_address(), None, request.encode_to_vec().into()).await.unwrap()
}

/// Each step in a word or two: who, and what it said, those who were asked by another indented.
fn said(steps: &[Step]) -> Vec<String> {
    let mut lines = Vec::new();
    for step in steps {
        let reasons: Vec<&str> = step.rejections.iter().map(|r| &*r.reason).collect();
        let outcome = match step.outcome() {
            Outcome::Authenticated => "authenticated".to_owned(),
            Outcome::Rejected => reasons.join(","),
            Outcome::NoOpinion => "-".to_owned(),
            Outcome::NotAsked => "not asked".to_owned(),
            other => panic!("{other:?}"),
        };
        lines.push(format!("{} {outcome}", step.authenticator));
        lines.extend(said(&step.token_authenticators).into_iter().map(|line| format!("  {line}")));
    }
    lines
}

/// What it is, the request, who vouches for the user or why it is denied, and the steps, unless they are as in another case.
type Case<'a> = (&'a str, CheckRequest, Result<&'a str, Vec<&'a str>>, Vec<&'a str>);

/// Each member of the chain decides once, or refuses. What Envoy would get is what it gets, and no secret comes back.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_explained_is_what_a_check_is_answered_and_no_secret_is_in_it() {
    let world = World::new();
    let server = world.start().await;
    let (jwt, account) = (world.issuer.token_with(&json!({})), world.cluster.token(600));
    let other = world.for_somebody_else();
    let (bob, proxy, foreign) = (
        world.certificate(&world.clients),
        world.certificate(&world.proxies),
        world.certificate(&ca("others")),
    );
    let basic = |password: &str| BASE64_STANDARD.encode(format!("bert:{password}"));
    let with_basic =
        |password: &str| get("/", &[("authorization", format!("Basic {}", basic(password)).as_bytes())]);
    let nobody = ["requestheader -", "basic -", "x509 -"];
    let unknown =
        ["  tokenfile -", "  legacyserviceaccount -", "  serviceaccount -", "  jwt -", "  webhook -"];
    let rest = ["websocket not asked", "anonymous not asked"];
    let cases: Vec<Case<'_>> = vec![
        (
            "nothing, where that is enough",
            get("/open", &[]),
            Ok("anonymous"),
            [&nobody[..], &["bearer -", "websocket -", "anonymous authenticated"]].concat(),
        ),
        (
            "nothing",
            get("/", &[]),
            Err(vec!["chain: no_credentials"]),
            [&nobody[..], &["bearer -", "websocket -", "anonymous -"]].concat(),
        ),
        (
            "a front proxy",
            with_certificate(proxy.clone(), &[("x-remote-user", "zoe")]),
            Ok("requestheader"),
            vec![
                "requestheader authenticated",
                "basic not asked",
                "x509 not asked",
                "bearer not asked",
                rest[0],
                rest[1],
            ],
        ),
        (
            "a certificate",
            with_certificate(bob.clone(), &[]),
            Ok("x509"),
            vec![
                "requestheader untrusted_certificate",
                "basic -",
                "x509 authenticated",
                "bearer not asked",
                rest[0],
                rest[1],
            ],
        ),
        (
            "a password",
            with_basic("passw0rd-1"),
            Ok("basic"),
            vec![
                "requestheader -",
                "basic authenticated",
                "x509 not asked",
                "bearer not asked",
                rest[0],
                rest[1],
            ],
        ),
        (
            "a wrong password",
            with_basic("wr0ng-pass"),
            Err(vec!["basic: invalid_username_or_password"]),
            vec![
                "requestheader -",
                "basic invalid_username_or_password",
                "x509 -",
                "bearer -",
                "websocket -",
                "anonymous not asked",
            ],
        ),
        (
            "a static token",
            bearer("of-the-file"),
            Ok("tokenfile"),
            [
                &nobody[..],
                &[
                    "bearer authenticated",
                    "  tokenfile authenticated",
                    "  legacyserviceaccount not asked",
                    "  serviceaccount not asked",
                    "  jwt not asked",
                    "  webhook not asked",
                ],
                &rest,
            ]
            .concat(),
        ),
        (
            "the same in a websocket",
            websocket("of-the-file"),
            Ok("tokenfile"),
            [
                &nobody[..],
                &[
                    "bearer -",
                    "websocket authenticated",
                    "  tokenfile authenticated",
                    "  legacyserviceaccount not asked",
                    "  serviceaccount not asked",
                    "  jwt not asked",
                    "  webhook not asked",
                    rest[1],
                ],
            ]
            .concat(),
        ),
        (
            "a service account",
            bearer(&account),
            Ok("serviceaccount"),
            [
                &nobody[..],
                &[
                    "bearer authenticated",
                    "  tokenfile -",
                    "  legacyserviceaccount -",
                    "  serviceaccount authenticated",
                    "  jwt not asked",
                    "  webhook not asked",
                ],
                &rest,
            ]
            .concat(),
        ),
        ("a token of the issuer", bearer(&jwt), Ok("jwt"), vec![]),
        (
            "a token of the issuer for another",
            bearer(&other),
            Err(vec!["jwt: wrong_audience"]),
            [
                &nobody[..],
                &[
                    "bearer wrong_audience",
                    "  tokenfile -",
                    "  legacyserviceaccount -",
                    "  serviceaccount -",
                    "  jwt wrong_audience",
                    "  webhook -",
                    "websocket -",
                    "anonymous not asked",
                ],
            ]
            .concat(),
        ),
        ("a token that the webhook knows", bearer("good-s3cr3t"), Ok("webhook"), vec![]),
        (
            "a token that nobody knows",
            bearer("unknown-t0ken"),
            Err(vec!["bearer: invalid_bearer_token"]),
            [
                &nobody[..],
                &["bearer invalid_bearer_token"],
                &unknown,
                &["websocket -", "anonymous not asked"],
            ]
            .concat(),
        ),
        (
            "a bad certificate and a good token",
            {
                let authorization = format!("Bearer {jwt}");
                with_certificate(foreign.clone(), &[("authorization", &*authorization)])
            },
            Ok("jwt"),
            vec![],
        ),
        (
            "a certificate that cannot be read",
            with_certificate("garbage".to_owned(), &[]),
            Err(vec!["requestheader: malformed_certificate"]),
            vec![
                "requestheader malformed_certificate",
                "basic not asked",
                "x509 not asked",
                "bearer not asked",
                rest[0],
                rest[1],
            ],
        ),
        (
            "two tokens",
            bearer("of-the-file,Bearer of-the-file"),
            Err(vec!["bearer: ambiguous_authorization"]),
            vec![],
        ),
        (
            "no request",
            CheckRequest::default(),
            Err(vec!["chain: malformed_request"]),
            vec![
                "requestheader not asked",
                "basic not asked",
                "x509 not asked",
                "bearer not asked",
                rest[0],
                rest[1],
            ],
        ),
    ];
    let mut secrets =
        vec!["of-the-file".to_owned(), "passw0rd-1".to_owned(), "wr0ng-pass".to_owned(), basic("passw0rd-1")];
    secrets.extend([
        basic("wr0ng-pass"),
        "good-s3cr3t".to_owned(),
        "unknown-t0ken".to_owned(),
        "caller-1".to_owned(),
    ]);
    secrets
        .extend([&jwt, &account, &other].into_iter().flat_map(|token| token.split('.')).map(str::to_owned));
    secrets.extend([&bob, &proxy, &foreign].into_iter().map(|pem| pem[100..160].to_owned()));

    let mut client = server.client().await;
    for (what, request, expected, steps) in cases {
        let explained = explain(&server, &request).await;
        let check = client.check(request.clone()).await.unwrap().into_inner();
        assert_eq!(explained.check_response, Some(check), "{what}");
        let decided: Vec<String> =
            explained.rejections.iter().map(|r| format!("{}: {}", r.authenticator, r.reason)).collect();
        match expected {
            Ok(by) => assert_eq!(
                (explained.verdict(), &*explained.authenticated_by),
                (Verdict::Allowed, by),
                "{what}"
            ),
            Err(reasons) => assert_eq!(
                (explained.verdict(), decided),
                (Verdict::Denied, reasons.into_iter().map(str::to_owned).collect()),
                "{what}"
            ),
        }
        let seen = said(&explained.steps);
        assert!(steps.is_empty() || seen == steps, "{what}: {seen:#?}");

        fs::write(world.path().join("request"), request.encode_to_vec()).unwrap();
        let json = json_of(&explained).unwrap().to_string();
        let (server_flag, file) = (format!("--server={}", server.admin_address()), "--check-request=request");
        let texts = [
            json,
            String::from_utf8_lossy(&explained.encode_to_vec()).into_owned(),
            both(&run(world.path(), &[&server_flag, file], "")),
            both(&run(world.path(), &[&server_flag, file, "--output=json"], "")),
        ];
        for (text, secret) in texts.iter().flat_map(|text| secrets.iter().map(move |secret| (text, secret))) {
            // Headers of all tokens of one issuer are alike, and a header is no secret; a part that is short proves nothing.
            assert!(secret.len() < 8 || !text.contains(&**secret), "{what}: {secret} in\n{text}");
        }
    }
}

fn run(folder: &Path, flags: &[&str], stdin: &str) -> Output {
    use std::io::Write;
    let mut process = countersign("explain", folder, flags);
    let mut process =
        process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    process.stdin.take().unwrap().write_all(stdin.as_bytes()).ok();
    process.wait_with_output().unwrap()
}

fn both(output: &Output) -> String {
    [&output.stdout[..], &output.stderr].map(|bytes| String::from_utf8(bytes.to_vec()).unwrap()).concat()
}

/// The question is no request: no Check is counted, and neither log has a line about it. What the cache learns, it learns as from a Check.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_not_counted_or_logged_as_a_check_and_fills_the_token_cache_like_one() {
    let world = World::new();
    let mut server = world.start().await;
    let lookup = |explained: &ExplainResponse| {
        let bearer = explained.steps.iter().find(|step| step.authenticator == "bearer").unwrap();
        let jwt = bearer.token_authenticators.iter().find(|step| step.authenticator == "jwt").unwrap();
        (bearer.token_cache(), jwt.outcome(), jwt.key_id.clone())
    };
    let token = world.issuer.token_with(&json!({}));
    let asked = explain(&server, &bearer(&token)).await;
    assert_eq!(lookup(&asked), (Lookup::Asked, Outcome::Authenticated, "1".to_owned()));
    let remembered = explain(&server, &bearer(&token)).await;
    assert_eq!(lookup(&remembered), (Lookup::Remembered, Outcome::NotAsked, String::new()));
    assert_eq!(remembered.identity, asked.identity);
    assert_eq!(remembered.identity.unwrap().user, "jwt:alice");
    let claims = asked.unverified_tokens[0].claims.clone().unwrap().fields;
    let names: Vec<&str> = claims.keys().map(|name| &**name).collect();
    assert_eq!(names, ["aud", "exp", "iss", "sub"]);
    explain(&server, &bearer("unknown-t0ken")).await;
    let account = explain(&server, &bearer(&world.cluster.token(600))).await;
    let keys = public_keys_from_pem(world.cluster.key.public_key_pem().as_bytes());
    let named = |step: &&Step| step.authenticator == "serviceaccount";
    let bearer = account.steps.iter().find(|step| step.authenticator == "bearer").unwrap();
    let step = bearer.token_authenticators.iter().find(named).unwrap();
    assert_eq!(Some(&*step.key_id), service_account_key_id(&keys[0]).as_deref(), "it names none itself");

    let (_, page) = server.admin_page("/metrics").await;
    let counts = |name: &str| {
        let lines = page.lines().filter(|line| line.starts_with(name));
        lines.map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(counts("countersign_check_duration_seconds_count"), ["0"]);
    for name in
        ["authentication_attempts{", "countersign_checks_denied_total{", "countersign_rejections_total{"]
    {
        assert!(counts(name).iter().all(|count| count == "0"), "{name}: {:?}", counts(name));
    }
    server.signal("TERM");
    server.wait_for("stopped");
    assert!(!server.logged().contains("denied"), "{}", server.logged());
    assert_eq!(server.logged().matches("\"message\":\"explained\"").count(), 4);
    assert_eq!(fs::read_to_string(world.path().join("audit.log")).unwrap(), "");
}

/// A credential of ours goes upstream with Impersonate-*, and is not told to whoever asks.
#[tokio::test]
async fn the_upstreams_credential_is_blanked_out() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tokens.csv"), "token-1,alice,1\n").unwrap();
    fs::write(folder.path().join("upstream.token"), "hunter2").unwrap();
    let flags = [
        "--token-auth-file=tokens.csv",
        "--identity-headers=impersonate",
        "--impersonate-token-file=upstream.token",
    ];
    let server = Server::start(folder.path(), &flags);
    let explained = explain(&server, &bearer("token-1")).await;
    assert!(!explained.encode_to_vec().windows(7).any(|window| window == b"hunter2"));
    let Some(HttpResponse::OkResponse(ok)) = explained.check_response.unwrap().http_response else {
        panic!("not OK")
    };
    let headers = ok.headers.into_iter().filter_map(|option| option.header);
    let headers: Vec<_> = headers.map(|header| (header.key, header.value)).collect();
    assert!(headers.contains(&("authorization".to_owned(), "[redacted]".to_owned())), "{headers:?}");
    assert!(headers.contains(&("impersonate-user".to_owned(), "alice".to_owned())), "{headers:?}");
}

/// As for `/configz`.
#[tokio::test]
async fn only_this_host_may_ask_unless_the_operator_wants_more() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tokens.csv"), "token-1,alice,1\n").unwrap();
    let flags = ["--token-auth-file=tokens.csv", "--admin-listen=0.0.0.0:0"];
    let address = |server: &Server| server.admin_address().replace("0.0.0.0", "127.0.0.1");
    let server = Server::start(folder.path(), &flags);
    let refused = ask(&address(&server), None, bearer("token-1").encode_to_vec().into()).await.unwrap_err();
    let words = "only where --admin-listen is a loopback address, with a certificate of --admin-tls-client-ca-file, or with --enable-debugging-handlers";
    assert_eq!(refused.to_string(), format!("{}: {words}", address(&server)));
    let server = Server::start(folder.path(), &[&flags[..], &["--enable-debugging-handlers"]].concat());
    let answer = ask(&address(&server), None, bearer("token-1").encode_to_vec().into()).await.unwrap();
    assert_eq!(answer.verdict(), Verdict::Allowed);
}

/// So that grpcurl needs no files.
#[tokio::test]
async fn the_admin_listener_tells_how_to_ask() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tokens.csv"), "token-1,alice,1\n").unwrap();
    let server = Server::start(folder.path(), &["--token-auth-file=tokens.csv"]);
    let address = format!("http://{}", server.admin_address());
    let mut client =
        ServerReflectionClient::new(Endpoint::from_shared(address).unwrap().connect().await.unwrap());
    let questions =
        ["countersign.v1.Explain", "envoy.service.auth.v3.CheckRequest", "google.protobuf.Struct"];
    let questions = questions.map(|symbol| MessageRequest::FileContainingSymbol(symbol.to_owned()));
    let questions = questions.into_iter().chain([MessageRequest::ListServices(String::new())]);
    let questions = questions.map(|question| ServerReflectionRequest {
        message_request: Some(question),
        ..ServerReflectionRequest::default()
    });
    let answers = client.server_reflection_info(stream::iter(questions)).await.unwrap();
    let answers: Vec<_> =
        answers.into_inner().map(|answer| answer.unwrap().message_response.unwrap()).collect().await;
    let [explain, check_request, structure, services] = &answers[..] else { panic!("{answers:?}") };
    for file in [explain, check_request, structure] {
        assert!(matches!(file, MessageResponse::FileDescriptorResponse(_)), "{file:?}");
    }
    let MessageResponse::ListServicesResponse(services) = services else { panic!("{services:?}") };
    let names: Vec<&str> = services.service.iter().map(|service| &*service.name).collect();
    assert_eq!(names, ["countersign.v1.Explain"], "and no Check, which is not served there");
}
