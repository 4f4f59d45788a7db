//! What `deploy/docs` says about Envoy: its filters are put into the shipped file, and do what is said there.

use std::fs;

use aws_lc_rs::cipher::{AES_256, DecryptionContext, PaddedBlockEncryptingKey, UnboundCipherKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::support::issuer::{configuration, now};
use crate::support::{Config, Internal, Issuer, Setup, SigningKey, eventually, validate};

const MIGRATE: &str = include_str!("../../deploy/docs/migrate.md");

/// The block of YAML that begins like this.
fn block(beginning: &str) -> &'static str {
    let mut blocks = MIGRATE.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.find(|block| block.starts_with(beginning)).unwrap()
}

const EXT_AUTHZ: &str = "- name: envoy.filters.http.ext_authz";
const ROUTER: &str = "- name: envoy.filters.http.router";
const CLUSTER: &str = "- name: countersign\n";

fn with_authorization(config: Config) -> Config {
    config.insert(block("- name: envoy.filters.http.rbac"), ROUTER)
}

fn with_login(config: Config) -> Config {
    let filters = block("- name: envoy.filters.http.oauth2");
    let config = config.insert(filters, EXT_AUTHZ).insert(block("- name: login\n"), CLUSTER);
    config.insert(block("secrets:\n"), "clusters:\n")
}

/// The files that the filters of a login name.
fn secrets(setup: Setup) -> Setup {
    fs::create_dir_all(setup.directory().join("certs")).unwrap();
    setup.file("certs/client-secret", "client-secret").file("certs/cookie-secret", SECRET)
}

const SECRET: &str = "secret-of-cookies";

#[tokio::test]
async fn envoy_accepts_the_filters_of_the_pages_without_a_warning() {
    for change in [with_authorization, with_login] {
        let setup = Setup::new();
        Internal::new().write(setup.directory());
        let setup = secrets(setup);
        let verdict = validate(setup.directory(), &change(Config::untouched()));
        let log = String::from_utf8_lossy(&verdict.stderr);
        assert!(verdict.status.success(), "{log}");
        let complaints: Vec<&str> =
            log.lines().filter(|line| line.contains("[warning]") || line.contains("[error]")).collect();
        assert_eq!(complaints, [""; 0]);
    }
}

/// What countersign has found out is what the RBAC filter decides by, whatever the client says.
#[tokio::test]
async fn a_filter_behind_countersign_authorizes_by_name_and_group() {
    let stack = Setup::new().config(with_authorization).start().await;
    let edge = &stack.envoy.edge;
    let get = async |path: &str, lines: &[&str]| {
        let request = http::Request::get(format!("https://app.test{path}"));
        edge.http2_request(request, lines).await.unwrap().status
    };
    let (alice, zoe) = ("authorization: Bearer alice-token", "authorization: Bearer zoe-token");
    assert_eq!(get("/metrics", &[alice]).await, 200, "in the group ops");
    assert_eq!(get("/metrics", &[zoe]).await, 403);
    assert_eq!(get("/metrics", &[zoe, "x-remote-group: ops"]).await, 403);
    assert_eq!(get("/metrics", &[]).await, 403, "anonymous");
    assert_eq!(get("/healthz", &[]).await, 200);
    assert_eq!(get("/", &[alice]).await, 403);
    assert_eq!(get("/metrics", &["authorization: Bearer nobody"]).await, 401);
}

/// A session as Envoy's filter makes it after a login. Envoy: `encodeHmacBase64` of source/extensions/filters/http/oauth2/filter.cc.
fn session(host: &str, [access, id_token]: [&str; 2], secret: &str) -> String {
    let expires = now() + 600;
    let signed = format!("{host}\n{expires}\n{access}\n{id_token}\nrefresh");
    let tag = hmac::sign(&hmac::Key::new(HMAC_SHA256, secret.as_bytes()), signed.as_bytes());
    let tag = BASE64_STANDARD.encode(tag.as_ref());
    let [access, id, refresh] = [access, id_token, "refresh"].map(|token| encrypted(token, secret));
    format!(
        "cookie: theme=dark; BearerToken={access}; IdToken={id}; RefreshToken={refresh}; OauthExpires={expires}; OauthHMAC={tag}"
    )
}

/// Envoy: `encrypt`, likewise.
fn encrypted(token: &str, secret: &str) -> String {
    let key = UnboundCipherKey::new(&AES_256, digest(&SHA256, secret.as_bytes()).as_ref()).unwrap();
    let mut text = token.as_bytes().to_vec();
    let context = PaddedBlockEncryptingKey::cbc_pkcs7(key).unwrap().encrypt(&mut text).unwrap();
    let DecryptionContext::Iv128(iv) = context else { panic!("CBC has an IV") };
    BASE64_URL_SAFE_NO_PAD.encode([&iv.as_ref()[..], &text].concat())
}

/// Cookies of a session become a bearer token, which countersign verifies, and are not seen by the application.
#[tokio::test]
async fn a_session_of_envoys_login_becomes_a_bearer_token() {
    let key = SigningKey::es256("1");
    let issuer = Issuer::with_keys([&key]);
    let mappings =
        json!({"username": {"claim": "email", "prefix": ""}, "groups": {"claim": "groups", "prefix": ""}});
    let stack = secrets(Setup::new())
        .config(with_login)
        .file("authentication.yaml", &configuration(&[issuer.authenticator(mappings)]))
        .flags(&["--authentication-config=authentication.yaml", "--anonymous-auth=false"])
        .start()
        .await;
    stack.has_fetched_keys().await;
    let edge = &stack.envoy.edge;
    let claims = issuer
        .claims(json!({"sub": "1", "email": "al@example.com", "email_verified": true, "groups": ["staff"]}));
    let token = key.sign(&claims);
    let host = "app.test";

    let seen =
        ["cookie: theme=dark", "x-remote-user: al@example.com", "x-remote-group: staff,system:authenticated"];
    assert_eq!(edge.http1(&[&session(host, ["opaque", &token], SECRET)]).await.forwarded(), seen);

    // Nobody is logged in: to the login with them, and a program to the door.
    for lines in [
        vec![],
        vec![session(host, ["opaque", &token], "another secret")],
        vec!["x-remote-user: evil".to_owned()],
    ] {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let response = edge.http1(&lines).await;
        let location = response.headers.iter().find(|line| line.starts_with("location: ")).unwrap();
        assert_eq!(
            (response.status, location.split('?').next().unwrap()),
            (302, "location: https://login.example.com/authorize")
        );
    }
    assert_eq!(edge.http1(&["accept: application/json"]).await.status, 401);

    // A session whose token is not the issuer's, and programs with a token of their own.
    assert_eq!(edge.http1(&[&session(host, ["opaque", "made.up.token"], SECRET)]).await.status, 401);
    let bearer = |token: &str| format!("authorization: Bearer {token}");
    assert_eq!(edge.http1(&[&bearer(&token)]).await.forwarded(), seen[1..]);
    assert_eq!(
        edge.http1(&[&bearer("nobody"), &session(host, ["opaque", &token], SECRET)]).await.status,
        401
    );
}

/// Access tokens in place of ID tokens.
#[tokio::test]
async fn an_access_token_of_a_session_may_be_the_bearer_token() {
    let key = SigningKey::es256("1");
    let issuer = Issuer::with_keys([&key]);
    let mappings = json!({"username": {"claim": "sub", "prefix": ""}});
    let stack = secrets(Setup::new())
        .config(|config| with_login(config).insert("forward_bearer_token: true", "auth_scopes: ["))
        .file("authentication.yaml", &configuration(&[issuer.authenticator(mappings)]))
        .flags(&["--authentication-config=authentication.yaml", "--anonymous-auth=false"])
        .start()
        .await;
    stack.has_fetched_keys().await;
    let token = key.sign(&issuer.claims(json!({"sub": "alice"})));
    let session = session("app.test", [&token, "made.up.token"], SECRET);
    let seen = ["cookie: theme=dark", "x-remote-user: alice", "x-remote-group: system:authenticated"];
    assert_eq!(stack.envoy.edge.http1(&[&session]).await.forwarded(), seen);
}

/// Another name for a header, as the page has it for those who come from Authorino.
#[tokio::test]
async fn a_renamed_header_passes_once_envoy_is_told_of_it() {
    let told = |config: Config| {
        let config = config.with(r#""(x[-_]remote|impersonate)"#, r#""x[-_]user|(x[-_]remote|impersonate)"#);
        config.with(r#""authorization|sec-"#, r#""x[-_]user|authorization|sec-"#)
    };
    let stack = Setup::new().config(told).flags(&["--identity-user-header=X-User"]).start().await;
    let seen = ["x-remote-group: dev,ops,system:authenticated", "x-remote-uid: alice-uid", "x-user: alice"];
    let response = stack.envoy.edge.http1(&[ALICE, "x-user: evil"]).await;
    let mut lines = response.forwarded();
    lines.sort_unstable();
    assert_eq!(lines, seen);
}

/// What a client sees, and Envoy's own words for it in its access log.
struct Symptom {
    status: u16,
    /// `%RESPONSE_CODE%/%RESPONSE_FLAGS%`, `%RESPONSE_CODE_DETAILS%`.
    log: Option<[&'static str; 2]>,
}

const ALICE: &str = "authorization: Bearer alice-token";
const BAD: &str = "authorization: Bearer nobody";

/// `By symptom` of troubleshooting.md.
#[tokio::test]
async fn symptoms_are_what_troubleshooting_says() {
    let shipped = || Setup::new();
    let without = |line: &'static str| Setup::new().config(move |config| config.with(line, ""));
    let handshake =
        ["connection: upgrade", "upgrade: websocket", "sec-websocket-version: 13", "sec-websocket-key: eA=="];
    let large = format!("x-large: {}", "x".repeat(70_000));
    let large = [ALICE, &large];
    let slow = shipped().file("slow.csv", &format!("{},dave,4\n", bcrypt::hash("hidden", 12).unwrap()));
    let slow = slow
        .flags(&["--basic-auth-file=slow.csv"])
        .config(|_| Config::with_shipped_limits().with("timeout: 2s\n", "\n"));
    let open =
        shipped().config(|config| config.with("failure_mode_allow: false", "failure_mode_allow: true"));
    let renamed = shipped().flags(&["--identity-user-header=X-Other"]);
    let status_on_error = "status_on_error: { code: ServiceUnavailable }";
    let upgrades = "upgrade_configs: [{ upgrade_type: websocket }]";
    let denied = |status, code| Symptom { status, log: Some([code, "ext_authz_denied"]) };
    let error = |status, code| Symptom { status, log: Some([code, "ext_authz_error"]) };
    let plain = |status| Symptom { status, log: None };
    let cases: [(&str, Setup, bool, &[&str], Symptom); 10] = [
        ("a refusal", shipped(), true, &[BAD], denied(401, "401/UAEX")),
        (
            "an application's answer",
            shipped(),
            true,
            &[ALICE],
            Symptom { status: 200, log: Some(["200/-", "via_upstream"]) },
        ),
        ("no answer", shipped(), false, &[ALICE], error(503, "503/UAEX")),
        ("no answer, by Envoy's default", without(status_on_error), false, &[ALICE], error(403, "403/UAEX")),
        ("no answer, and open", open, false, &[BAD], plain(200)),
        ("a slow answer", slow, true, &["authorization: Basic ZGF2ZTpoaWRkZW4="], error(503, "503/UAEX")),
        ("a header that is not allowed", renamed, true, &[ALICE], plain(500)),
        ("no upgrades", without(upgrades), true, &handshake, plain(403)),
        ("large headers", shipped(), true, &large, plain(431)),
        ("underscores", shipped(), true, &["x_remote_user: evil"], plain(400)),
    ];
    for (what, setup, is_up, lines, symptom) in cases {
        let both = r#"code: "%RESPONSE_CODE%/%RESPONSE_FLAGS%""#;
        let mut stack = setup.config(|config| config.with(r#"code: "%RESPONSE_CODE%""#, both)).start().await;
        if !is_up {
            stack.countersign[0].kill();
        }
        assert_eq!(stack.envoy.edge.http1(lines).await.status, symptom.status, "{what}");
        if let Some([code, details]) = symptom.log {
            let log = stack.directory().join("envoy.log");
            eventually(what, async || {
                let log = fs::read_to_string(&log).unwrap();
                let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
                lines.any(|line| line["code"] == code && line["details"] == details).then_some(())
            })
            .await;
        }
    }
}
