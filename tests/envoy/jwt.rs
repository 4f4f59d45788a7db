//! JSON Web Tokens and service account tokens, from issuers that change their keys, fail and go away.
//! Go: k8s.io/apiserver/plugin/pkg/authenticator/token/oidc over github.com/coreos/go-oidc, and
//! k8s.io/kubernetes/pkg/serviceaccount.

mod load;

use std::fs;
use std::path::Path;
use std::slice::from_ref;
use std::time::Duration;

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::denials::UNAUTHORIZED;
use crate::support::issuer::{answer, configuration, encoded, now, to_be_signed};
use crate::support::{Edge, Issuer, Setup, SigningKey, Stack, eventually};
use crate::websocket::{handshake, seen_by_the_application, talk};
use load::Load;

const OFTEN: &str = "--reload-interval=100ms";
const NOT_RELOADED: &str = "not reloaded; the old configuration goes on serving";
const CANNOT_FETCH: &str = "cannot fetch keys";

/// `MIN_INTERVAL` of src/authn/token/jwt/remote_keys.rs: no token makes countersign ask an issuer for its keys sooner than this after
/// it has asked before.
const MIN_INTERVAL: Duration = Duration::from_secs(10);

const DOCUMENT: &str = "/.well-known/openid-configuration";
const KEYS: &str = "/keys";

/// What the application sees of [`alice`].
const AS_ALICE: [&str; 2] = ["x-remote-user: alice", "x-remote-group: dev,ops,system:authenticated"];
/// What it sees of the token `alice-token` of the token file.
const AS_ALICE_OF_THE_FILE: [&str; 3] =
    ["x-remote-user: alice", "x-remote-uid: alice-uid", "x-remote-group: dev,ops,system:authenticated"];

/// Name and groups as they stand in the token.
fn plain() -> Value {
    json!({"username": {"claim": "sub", "prefix": ""}, "groups": {"claim": "groups", "prefix": ""}})
}

/// Claims of a token that [`plain`] mappings understand.
fn alice(issuer: &Issuer) -> Value {
    issuer.claims(json!({"sub": "alice", "groups": ["dev", "ops"]}))
}

/// A key of each kind, as an issuer has them that has clients of both.
fn pair(generation: usize) -> [SigningKey; 2] {
    [SigningKey::rs256(&format!("r{generation}")), SigningKey::es256(&format!("e{generation}"))]
}

fn signed_by(keys: &[SigningKey; 2], claims: &Value) -> [String; 2] {
    keys.each_ref().map(|key| key.sign(claims))
}

fn bearer(token: &str) -> String {
    format!("authorization: Bearer {token}")
}

fn setup(authenticators: &[Value]) -> Setup {
    Setup::new()
        .file("authentication.yaml", &configuration(authenticators))
        .flags(&["--authentication-config=authentication.yaml", OFTEN])
}

/// Puts another configuration in the place of the one that is there.
fn replace(directory: &Path, text: &str) {
    let file = directory.join("authentication.yaml");
    fs::write(file.with_extension("new"), text).unwrap();
    fs::rename(file.with_extension("new"), file).unwrap();
}

async fn passes(edge: &Edge, token: &str, expected: &[&str]) {
    for response in edge.both(&[&bearer(token)]).await {
        assert_eq!(response.forwarded(), expected);
    }
}

async fn is_refused(edge: &Edge, token: &str, what: &str) {
    for response in edge.both(&[&bearer(token)]).await {
        assert_eq!((response.status, response.body.as_str()), (401, UNAUTHORIZED), "{what}");
    }
}

/// Waits until a token is taken.
async fn is_taken(edge: &Edge, token: &str, what: &str) {
    let line = bearer(token);
    eventually(what, async || (edge.http1(&[&line]).await.status == 200).then_some(())).await;
}

/// Waits until countersign has said something so many times.
async fn logs(stack: &Stack, message: &str, count: usize) {
    let enough = async || (stack.countersign[0].logged(message) >= count).then_some(());
    eventually(&format!("countersign logs `{message}`"), enough).await;
}

/// Waits until countersign has once more failed to fetch keys.
async fn fails_again(stack: &Stack) {
    logs(stack, CANNOT_FETCH, stack.countersign[0].logged(CANNOT_FETCH) + 1).await;
}

/// S25: countersign has asked for the document once, and for the keys no more often than once an interval.
fn was_left_in_peace(issuer: &Issuer) {
    let asked = issuer.asked();
    assert_eq!(asked.iter().filter(|(path, _)| path != KEYS).count(), 1, "{asked:?}");
    for pair in asked[1..].windows(2) {
        assert!(pair[1].1 - pair[0].1 >= MIN_INTERVAL, "{asked:?}");
    }
}

/// S25, and Go: TestRotation of go-oidc. Each time, the next keys stand beside those in use until countersign has seen them; then they
/// are used, and those before are withdrawn. Only tokens whose keys countersign does not know make it look, once an interval.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_published_before_it_is_used_never_costs_a_refusal() {
    const ROTATIONS: usize = 3;
    let generations: Vec<[SigningKey; 2]> = (0..ROTATIONS + 2).map(pair).collect();
    let issuer = Issuer::with_keys(generations[..2].as_flattened());
    let stack = setup(&[issuer.authenticator(plain())]).start().await;
    let edge = &stack.envoy.edge;
    let tokens: Vec<[String; 2]> = generations.iter().map(|keys| signed_by(keys, &alice(&issuer))).collect();
    is_taken(edge, &tokens[0][0], "the first keys are there").await;
    let load = Load::start(edge, &tokens[0]);
    load.goes_on().await;

    for used in 1..=ROTATIONS {
        load.goes_on_with(&tokens[used]).await;
        for token in &tokens[used - 1] {
            passes(edge, token, &AS_ALICE).await;
        }
        issuer.publish(generations[used..used + 2].as_flattened());
        for token in &tokens[used + 1] {
            is_taken(edge, token, "the next keys are known").await;
        }
        for token in tokens[..used].as_flattened() {
            is_refused(edge, token, "of a withdrawn key").await;
        }
        load.goes_on().await;
    }
    load.was_never_refused().await;

    // More often than that only on a machine on which an interval passes between the last refusals of a round.
    let paths = issuer.paths();
    assert!(paths.len() >= ROTATIONS + 2, "{paths:?}");
    assert_eq!(paths, [vec![DOCUMENT], vec![KEYS; paths.len() - 1]].concat());
    was_left_in_peace(&issuer);
}

/// kubernetes#139769, where such tokens are refused until the keys that are known expire: they wait instead.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_used_as_soon_as_it_is_published_is_waited_for() {
    let generations = [pair(0), pair(1)];
    let issuer = Issuer::with_keys(&generations[0]);
    let stack = setup(&[issuer.authenticator(plain())]).start().await;
    let edge = &stack.envoy.edge;
    let [old, new] = generations.each_ref().map(|keys| signed_by(keys, &alice(&issuer)));
    is_taken(edge, &old[0], "the first keys are there").await;
    let load = Load::start(edge, &old);
    let begun = Instant::now();
    let over = MIN_INTERVAL + Duration::from_secs(1);
    eventually("an interval is over", async || (begun.elapsed() > over).then_some(())).await;

    issuer.publish(generations.as_flattened());
    load.goes_on_with(&new).await;
    load.was_never_refused().await;
    assert_eq!(issuer.paths(), [DOCUMENT, KEYS, KEYS]);
}

/// Go: `New` of the OIDC authenticator, which tries again every 10 s until there are keys.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_that_is_down_at_the_start_keeps_nobody_else_out_and_heals_by_itself() {
    let [keys, others] = [pair(0), pair(1)];
    let issuer = Issuer::with_keys(&keys);
    let mut other = Issuer::down();
    other.publish(&others);
    let stack = setup(&[issuer.authenticator(plain()), other.authenticator(plain())]).start().await;
    let edge = &stack.envoy.edge;
    let tokens = signed_by(&keys, &alice(&issuer));
    is_taken(edge, &tokens[0], "the keys are there").await;
    let load = Load::start(edge, &tokens);

    let late = signed_by(&others, &alice(&other));
    for failures in 1..=2 {
        logs(&stack, CANNOT_FETCH, failures).await;
        for token in &late {
            is_refused(edge, token, "of an issuer that is down").await;
        }
        passes(edge, "alice-token", &AS_ALICE_OF_THE_FILE).await;
        load.goes_on().await;
    }
    assert_eq!(other.paths(), [""; 0]);

    other.come_up();
    for token in &late {
        is_taken(edge, token, "the other issuer's keys are there").await;
        passes(edge, token, &AS_ALICE).await;
    }
    assert_eq!(other.paths(), [DOCUMENT, KEYS]);
    load.was_never_refused().await;
    assert_eq!(issuer.paths(), [DOCUMENT, KEYS]);
}

/// S26: what Envoy's own JWT filter fell over (CVE-2024-45809, CVE-2025-64527) changes nothing, and neither does an issuer that is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_that_fails_and_then_goes_away_keeps_nobody_out_whose_key_is_known() {
    let [keys, unknown] = [pair(0), pair(1)];
    let mut issuer = Issuer::with_keys(&keys);
    let stack = setup(&[issuer.authenticator(plain())]).start().await;
    let edge = &stack.envoy.edge;
    let tokens = signed_by(&keys, &alice(&issuer));
    is_taken(edge, &tokens[0], "the keys are there").await;
    let load = Load::start(edge, &tokens);

    let [stranger, other_stranger] = signed_by(&unknown, &alice(&issuer));
    issuer.answer(answer("500 Internal Server Error", "", ""));
    eventually("countersign asks again because of a token that it cannot verify", async || {
        is_refused(edge, &stranger, "of an unknown key").await;
        (stack.countersign[0].logged(CANNOT_FETCH) > 0).then_some(())
    })
    .await;
    issuer.answer(answer("200 OK", "content-type: text/html\r\n", "<html>"));
    fails_again(&stack).await;
    issuer.answer(answer("302 Found", "location: http://169.254.169.254/\r\n", ""));
    fails_again(&stack).await;
    issuer.go_down().await;
    fails_again(&stack).await;
    load.goes_on().await;
    is_refused(edge, &stranger, "of an unknown key").await;

    issuer.publish([&keys, &unknown].into_iter().flatten());
    issuer.come_up();
    is_taken(edge, &stranger, "the issuer is back").await;
    passes(edge, &other_stranger, &AS_ALICE).await;
    load.was_never_refused().await;
}

/// S18: what holds for a configuration does not outlive it. Go: `updateAuthenticationConfig` of
/// k8s.io/kubernetes/pkg/kubeapiserver/authenticator.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_comes_and_goes_with_the_configuration_and_the_others_never_notice() {
    let [keys, others] = [pair(0), pair(1)];
    let [issuer, other] = [&keys, &others].map(Issuer::with_keys);
    let [entry, other_entry] = [&issuer, &other].map(|issuer| issuer.authenticator(plain()));
    let [one, both] = [configuration(from_ref(&entry)), configuration(&[entry.clone(), other_entry])];
    let stack = setup(&[entry]).start().await;
    let edge = &stack.envoy.edge;
    let tokens = signed_by(&keys, &alice(&issuer));
    let guests = signed_by(&others, &alice(&other));
    is_taken(edge, &tokens[0], "the keys are there").await;
    let load = Load::start(edge, &tokens);

    for round in 1..=3 {
        for token in &guests {
            is_refused(edge, token, "of an issuer that is not there yet, or no more").await;
        }
        replace(stack.directory(), &both);
        is_taken(edge, &guests[0], "the issuer is there").await;
        for token in &guests {
            passes(edge, token, &AS_ALICE).await;
        }
        load.goes_on().await;
        replace(stack.directory(), &both.replace("/v1\"", &format!("/v{round}99\"")));
        logs(&stack, NOT_RELOADED, round).await;
        for token in &guests {
            passes(edge, token, &AS_ALICE).await;
        }
        replace(stack.directory(), &one);
        let line = bearer(&guests[0]);
        let is_gone = async || (edge.http1(&[&line]).await.status == 401).then_some(());
        eventually("the issuer is taken out", is_gone).await;
        for token in &guests {
            is_refused(edge, token, "of an issuer that was taken out").await;
        }
        load.goes_on().await;
    }
    load.was_never_refused().await;
    assert_eq!(issuer.paths(), [DOCUMENT, KEYS]);
    assert_eq!(other.paths(), [DOCUMENT, KEYS].repeat(3));
}

/// An issuer with expressions for all that makes an identity, and rules of both kinds.
fn by_expressions(issuer: &Issuer) -> Value {
    let mut authenticator = issuer.authenticator(json!({
        "username": {"expression": "'corp:' + claims.sub"},
        "groups": {"expression": "dyn(claims.roles).filter(role, role != 'guest').map(role, 'corp:' + role)"},
        "uid": {"expression": "string(claims.number)"},
        "extra": [
            {"key": "example.org/tenant", "valueExpression": "claims.tenant"},
            {"key": "example.org/scopes", "valueExpression": "claims.scope.split(' ').map(scope, scope)"},
        ],
    }));
    authenticator["claimValidationRules"] = json!([{"expression": "claims.hd == 'example.org'"}]);
    authenticator["userValidationRules"] =
        json!([{"expression": "user.groups.all(group, !group.endsWith('masters'))"}]);
    authenticator
}

/// Claims that [`by_expressions`] understands, and those of `more`, which go before.
fn erin(issuer: &Issuer, more: Value) -> Value {
    let mut claims = issuer.claims(json!({
        "sub": "erin", "roles": ["qa", "guest", "field"], "number": 17, "tenant": "north",
        "scope": "read write", "hd": "example.org", "jti": "c0ffee",
    }));
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims
}

const AS_ERIN: [&str; 6] = [
    "x-remote-user: corp:erin",
    "x-remote-uid: 17",
    "x-remote-group: corp:qa,corp:field,system:authenticated",
    "x-remote-extra-authentication.kubernetes.io%2fcredential-id: JTI=c0ffee",
    "x-remote-extra-example.org%2fscopes: read,write",
    "x-remote-extra-example.org%2ftenant: north",
];

/// S13. Go: TestToken of the OIDC authenticator: "username claim mapping with expression", "groups claim with expression", "uid claim
/// mapping with expression", "extra claim mapping with expression", "credential id set in extra when extra claim mappings are defined".
#[tokio::test]
async fn expressions_make_the_identity_that_the_application_sees() {
    let [keys, others] = [pair(0), pair(1)];
    let [issuer, other] = [&keys, &others].map(Issuer::with_keys);
    let stack = setup(&[by_expressions(&issuer), other.authenticator(plain())]).start().await;
    let edge = &stack.envoy.edge;
    let tokens = signed_by(&keys, &erin(&issuer, json!({})));
    let others = signed_by(&others, &alice(&other));
    for token in [&tokens[0], &others[0]] {
        is_taken(edge, token, "the keys are there").await;
    }
    for token in &tokens {
        passes(edge, token, &AS_ERIN).await;
        let spoofed =
            [&bearer(token), "x-remote-group: system:masters", "x-remote-extra-example.org%2ftenant: south"];
        for response in edge.both(&spoofed).await {
            assert_eq!(response.forwarded(), AS_ERIN);
        }
    }
    for token in &others {
        passes(edge, token, &AS_ALICE).await;
    }
    // Neither of them has an opinion on what is not a token of theirs.
    passes(edge, "alice-token", &AS_ALICE_OF_THE_FILE).await;
}

/// S11, S12, S21, S22, S24, S36. Go: TestToken of the OIDC authenticator: "expired", "invalid-issuer", "invalid-signing-alg", "multiple-audiences in
/// authentication config, no match", "claim validation rule with expression fails"; RFC 8725, sections 3.1 and 3.2.
#[tokio::test]
async fn a_token_that_is_wrong_in_one_thing_is_a_401_that_does_not_say_in_which() {
    let keys = pair(0);
    // The other issuer's keys have the same names.
    let others = pair(0);
    let [issuer, other] = [&keys, &others].map(Issuer::with_keys);
    let stack = setup(&[by_expressions(&issuer), other.authenticator(plain())])
        .flags(&["--anonymous-auth=true"])
        .start()
        .await;
    let edge = &stack.envoy.edge;
    let good = erin(&issuer, json!({}));
    is_taken(edge, &keys[0].sign(&good), "the keys are there").await;
    is_taken(edge, &others[0].sign(&alice(&other)), "the other keys are there").await;

    let mut refused: Vec<(String, String)> = Vec::new();
    for more in [
        json!({"aud": "others"}),
        json!({"aud": []}),
        json!({"exp": now() - 1}),
        json!({"exp": null}),
        json!({"nbf": now() + 600}),
        json!({"nbf": (now() + 600).to_string()}),
        json!({"iss": other.url}),
        json!({"iss": "https://localhost:1"}),
        json!({"hd": "example.net"}),
        json!({"roles": ["masters"]}),
        json!({"roles": ["qa,system:admins"]}),
        json!({"roles": ["qa\r\nx-remote-user: root"]}),
        json!({"roles": "qa"}),
        json!({"sub": 1}),
        json!({"sub": null}),
    ] {
        let claims = erin(&issuer, more.clone());
        refused.extend(keys.iter().map(|key| (format!("{} with {more}", key.algorithm), key.sign(&claims))));
    }

    let [rs256, es256] = &keys;
    let attacker = SigningKey::rs256("attacker");
    for (key, header) in [
        (&others[0], json!({"alg": "RS256", "kid": "r0"})),
        (&others[1], json!({"alg": "ES256", "kid": "e0"})),
        (&attacker, json!({"alg": "RS256"})),
        (&attacker, json!({"alg": "RS256", "kid": "attacker"})),
        (&attacker, json!({"alg": "RS256", "kid": "r0", "jwk": attacker.jwk()})),
        (&attacker, json!({"alg": "RS256", "kid": "r0", "jku": format!("{}{KEYS}", other.url)})),
        (rs256, json!({"alg": "RS256", "kid": "r1"})),
        (rs256, json!({"alg": "RS256", "kid": "e0"})),
        (rs256, json!({"alg": "RS384", "kid": "r0"})),
        (rs256, json!({"alg": "none", "kid": "r0"})),
        (rs256, json!({"alg": "HS256", "kid": "r0"})),
        (rs256, json!({"kid": "r0"})),
        (rs256, json!({"alg": "RS256", "kid": "r0", "crit": ["exp"], "exp": 1})),
        (es256, json!({"alg": "ES256", "kid": "r0"})),
        (es256, json!({"alg": "ES384", "kid": "e0"})),
    ] {
        refused.push((format!("{} under {header}", key.kid), key.sign_under(&header, &good)));
    }
    for algorithm in ["none", "None", "NONE", ""] {
        let signed = to_be_signed(&json!({"alg": algorithm, "kid": "r0"}), &good);
        refused.push((format!("not signed, {algorithm:?}"), format!("{signed}.")));
    }
    for key in &keys {
        // As text, as OpenSSL writes it, and as the issuer does.
        for secret in [key.public(), key.public().trim().to_owned(), key.jwk().to_string()] {
            let signed = to_be_signed(&json!({"alg": "HS256", "kid": key.kid}), &good);
            let tag = hmac::sign(&hmac::Key::new(HMAC_SHA256, secret.as_bytes()), signed.as_bytes());
            refused.push((format!("HMAC with {secret}"), format!("{signed}.{}", encoded(tag))));
        }
    }
    let token = rs256.sign(&good);
    let (signed, signature) = token.rsplit_once('.').unwrap();
    refused.push(("without a signature".to_owned(), signed.to_owned()));
    refused
        .push(("with five parts (JWE)".to_owned(), format!("{signed}.{signature}.{signature}.{signature}")));
    let changed =
        to_be_signed(&json!({"alg": "RS256", "kid": "r0"}), &erin(&issuer, json!({"tenant": "south"})));
    refused.push(("with other claims".to_owned(), format!("{changed}.{signature}")));

    let before = stack.upstream.seen().len();
    for (what, token) in &refused {
        is_refused(edge, token, what).await;
    }
    assert_eq!(stack.upstream.seen().len(), before);
    was_left_in_peace(&issuer);
    was_left_in_peace(&other);
    passes(edge, &token, &AS_ERIN).await;
}

/// Go: websocket/protocol.go of k8s.io/apiserver, over the same authenticators of tokens.
#[tokio::test]
async fn a_token_among_the_subprotocols_is_as_good_as_one_in_authorization() {
    let keys = pair(0);
    let issuer = Issuer::with_keys(&keys);
    let stack = setup(&[by_expressions(&issuer)]).start().await;
    let good = keys[0].sign(&erin(&issuer, json!({})));
    let expired = keys[0].sign(&erin(&issuer, json!({"exp": now() - 1})));
    let offer = |token| format!("base64url.bearer.authorization.k8s.io.{}, chat", encoded(token));
    stack.has_fetched_keys().await;
    let mut client = handshake(&stack, &[&offer(&expired)]).await;
    assert_eq!(client.head().await.unwrap().0, 401);
    let mut client = handshake(&stack, &[&offer(&good)]).await;
    assert_eq!(client.head().await.unwrap().0, 101);
    talk(&mut client).await;
    let mut expected = [AS_ERIN.as_slice(), &["sec-websocket-protocol: chat"]].concat();
    expected.sort_unstable();
    let mut seen = seen_by_the_application(&stack);
    seen.sort_unstable();
    assert_eq!(seen, expected);
}

const CLUSTER: &str = "https://kubernetes.default.svc";

/// What a Pod gets.
fn web(more: Value) -> Value {
    let mut claims = json!({
        "aud": [CLUSTER], "iss": CLUSTER, "sub": "system:serviceaccount:apps:web", "jti": "6c8f",
        "iat": now() - 60, "nbf": now() - 60, "exp": now() + 600,
        "kubernetes.io": {
            "namespace": "apps", "serviceaccount": {"name": "web", "uid": "u-1"},
            "pod": {"name": "web-0", "uid": "u-2"}, "node": {"name": "n", "uid": "u-3"},
        },
    });
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims
}

/// S33, in the mode in which nobody looks at live objects; S24: beside an issuer whose keys have the same names.
/// Go: TestTokenGenerateAndValidate of k8s.io/kubernetes/pkg/serviceaccount.
#[tokio::test]
async fn a_service_account_is_told_to_the_application_with_its_pod_and_node() {
    let keys = pair(0).map(SigningKey::of_cluster);
    // The issuer's keys have the same names.
    let others = [SigningKey::rs256(&keys[0].kid), SigningKey::es256(&keys[1].kid)];
    let issuer = Issuer::with_keys(&others);
    let stack = setup(&[issuer.authenticator(plain())])
        .file("sa.pub", &keys.each_ref().map(SigningKey::public).concat())
        .flags(&["--service-account-key-file=sa.pub", "--service-account-lookup-mode=offline"])
        .flags(&[&format!("--service-account-issuer={CLUSTER}")])
        .start()
        .await;
    let edge = &stack.envoy.edge;
    let expected = [
        "x-remote-user: system:serviceaccount:apps:web",
        "x-remote-uid: u-1",
        "x-remote-group: system:serviceaccounts,system:serviceaccounts:apps,system:authenticated",
        "x-remote-extra-authentication.kubernetes.io%2fcredential-id: JTI=6c8f",
        "x-remote-extra-authentication.kubernetes.io%2fnode-name: n",
        "x-remote-extra-authentication.kubernetes.io%2fnode-uid: u-3",
        "x-remote-extra-authentication.kubernetes.io%2fpod-name: web-0",
        "x-remote-extra-authentication.kubernetes.io%2fpod-uid: u-2",
    ];
    for token in signed_by(&keys, &web(json!({}))) {
        passes(edge, &token, &expected).await;
    }
    is_taken(edge, &others[0].sign(&alice(&issuer)), "the keys are there").await;
    for more in [
        json!({"aud": ["app"]}),
        json!({"iss": issuer.url}),
        // A minute of leeway, unlike the issuer's tokens.
        json!({"exp": now() - 90}),
        json!({"nbf": now() + 600}),
        json!({"kubernetes.io": {"namespace": "apps"}}),
    ] {
        for token in signed_by(&keys, &web(more.clone())) {
            is_refused(edge, &token, &more.to_string()).await;
        }
    }
    for token in signed_by(&others, &web(json!({}))) {
        is_refused(edge, &token, "signed by the issuer of people").await;
    }
    for token in signed_by(&keys, &alice(&issuer)) {
        is_refused(edge, &token, "signed by the cluster, in the name of the issuer of people").await;
    }
}
