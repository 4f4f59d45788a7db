//! kubectl through Envoy, with countersign beside it, to a kube-apiserver that knows nothing of either: wired as
//! `deploy/envoy/README.md` has it, with no more rights than `deploy/kubernetes/rbac.yaml` gives.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::time::sleep;

use super::cluster::{Door, wait_for};
use super::edge::Config;
use super::kubectl::{Front, World, flags_of};
use super::live::{KUBECONFIG, TOKENS};
use super::random::Random;
use super::support::envoy::{Encoding, Request, check_request};
use super::support::program::{PATIENCE, until};
use super::support::verdict::User;
use super::wire::{self, SELF_SUBJECT_REVIEW};
use super::{AGAIN, requests, reviewed};

const SECTION: &str = "In front of a kube-apiserver whose flags you cannot change";

const UNAUTHORIZED: &str = "error: You must be logged in to the server (Unauthorized)\n";

/// Envoy and countersign, which asks kube-apiserver with its own token.
async fn front(world: &World, more: &[&str]) -> Front {
    let file = |name: &str| world.live.dir.path().join(name).display().to_string();
    let places = [("kubeconfig", &*file(KUBECONFIG)), ("upstream.token", &*file("countersign.token"))];
    let mut flags = flags_of(SECTION, "countersign", &places);
    flags.extend(more.iter().map(|&flag| flag.to_owned()));
    Front::start(world, &flags, &[], Config::with_impersonation).await
}

/// Go: `impersonatingRoundTripper` of k8s.io/client-go/transport writes what `WithConstrainedImpersonation` reads, and
/// k8s.io/kubectl/pkg/cmd/auth (`whoami`) says what it has read. All four facts are those that countersign knows.
#[tokio::test(flavor = "multi_thread")] // kubectl blocks, and the issuer is in this process
async fn kubectl_is_whoever_countersign_says_to_a_kube_apiserver_that_knows_nobody() {
    let world = World::start(Vec::new()).await;
    world.live.allow(&["impersonate"]).await;
    let front = front(&world, &[]).await;
    let kubectl = &front.kubectl;
    // The right to impersonate is known a moment after it is given.
    wait_for(PATIENCE, "right to impersonate", async || {
        (kubectl.run("edge", "alice", &["auth", "whoami"]).code == 0).then_some(())
    })
    .await;
    for (name, expected) in &world.users {
        assert_eq!(kubectl.whoami(name), *expected, "{name}");
    }
    let mut groups: Vec<String> = (0..10).map(|n| format!("g{n}")).collect();
    groups.push("system:authenticated".to_owned());
    assert_eq!(kubectl.whoami("mary").groups, groups);
    for name in ["alice", "pod", "oscar", "carol"] {
        let namespaces = kubectl.namespaces("edge", name).await;
        assert_eq!(namespaces, kubectl.namespaces("direct", "admin").await, "{name}");
    }

    // Whoever asks for it, and as whomever.
    for name in ["alice", "mallory", "pod", "carol"] {
        for somebody in ["root", "alice", "system:anonymous"] {
            let as_somebody = format!("--as={somebody}");
            let ran = kubectl.run("edge", name, &[&as_somebody, "auth", "whoami"]);
            assert_eq!((ran.code, &*ran.said, &*ran.answer), (1, UNAUTHORIZED, ""), "{name} {as_somebody}");
        }
    }
    front.assert_strangers_are_kept_out().await;
    for request in front.requests().await {
        let upstream = request["authorization"] == "Bearer countersign-token";
        assert_eq!(upstream, request["code"] != 401, "{request}");
    }
}

/// Who may do what, in kube-apiserver and in countersign: token, user, uid, groups.
const REQUESTORS: &str = "\
anybody-token,anybody,anybody-uid,sudoers
bobs-token,bobs,,
users-token,users,,\"a,b\"
team-token,team,,
constrained-token,constrained,,
";

/// Their rights, each in a way of its own.
fn rights() -> Vec<Json> {
    const RBAC: &str = "rbac.authorization.k8s.io";
    let authentication = "authentication.k8s.io";
    let rule = |group: &str, resources: &[&str], names: &[&str], verbs: &[&str]| json!({"apiGroups": [group], "resources": resources, "resourceNames": names, "verbs": verbs});
    let impersonate = ["impersonate"];
    let role = |name: &str, rules: Json| json!({"apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules});
    let subject = |kind: &str, name: &str| json!({"apiGroup": RBAC, "kind": kind, "name": name});
    let binding = |role: &str, subjects: Json| {
        let reference = json!({"apiGroup": RBAC, "kind": "ClusterRole", "name": role});
        json!({"apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": format!("test-{role}")}, "roleRef": reference, "subjects": subjects})
    };
    let mut in_team = binding("impersonate-team", json!([subject("User", "team")]));
    in_team["kind"] = json!("RoleBinding");
    in_team["metadata"]["namespace"] = json!("team");
    vec![
        role(
            "impersonate-anybody",
            json!([
                rule("", &["users", "groups", "serviceaccounts"], &[], &impersonate),
                rule(authentication, &["*"], &[], &impersonate),
            ]),
        ),
        binding("impersonate-anybody", json!([subject("Group", "sudoers")])),
        role(
            "impersonate-bob",
            json!([
                rule("", &["users"], &["bob"], &impersonate),
                rule("", &["groups"], &["dev", "system:authenticated"], &impersonate),
                rule(authentication, &["uids"], &["7"], &impersonate),
                rule(authentication, &["userextras/scopes"], &["a"], &impersonate),
            ]),
        ),
        binding("impersonate-bob", json!([subject("User", "bobs")])),
        role("impersonate-users", json!([rule("", &["users"], &[], &impersonate)])),
        binding(
            "impersonate-users",
            json!([subject("Group", "b"), {"kind": "ServiceAccount", "namespace": "team", "name": "web"}]),
        ),
        role("impersonate-team", json!([rule("", &["serviceaccounts"], &[], &impersonate)])),
        in_team,
        role(
            "impersonate-constrained",
            json!([
                rule(authentication, &["users", "groups"], &[], &["impersonate:user-info"]),
                rule(authentication, &["selfsubjectreviews"], &[], &["impersonate-on:user-info:create"]),
            ]),
        ),
        binding("impersonate-constrained", json!([subject("User", "constrained")])),
        // So that everybody is told who it is.
        binding("system:basic-user", json!([subject("Group", "system:unauthenticated")])),
    ]
}

/// Whom kube-apiserver takes a request for, or the status of its refusal.
async fn ask(door: &Door, token: &str, lines: &[(&str, &str)]) -> Result<User, u16> {
    let authorization = format!("Bearer {token}");
    let own = [("Authorization", &*authorization)];
    let lines = lines.iter().chain(&own);
    let request = Request {
        method: "POST".into(),
        path: SELF_SUBJECT_REVIEW.into(),
        headers: lines.map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect(),
        certificates: Vec::new(),
        key: None,
    };
    let answer = wire::ask(door, &request, "impersonation").await.unwrap();
    answer.body.map(|body| reviewed(&body)).ok_or(answer.status)
}

/// A request as somebody else, with all that its headers may hold.
fn wanted(random: &mut Random) -> Vec<(&'static str, &'static str)> {
    let mut lines = Vec::new();
    let accounts = [
        "system:serviceaccount:team:web",
        "system:serviceaccount:other:web",
        "system:serviceaccount:Team:web",
    ];
    let others =
        ["root", "system:anonymous", "system:node:n1", "größe", "a,b", accounts[0], accounts[1], accounts[2]];
    if random.percent(85) {
        let usual = if random.percent(50) { "bob" } else { accounts[0] };
        lines.push(("Impersonate-User", random.mostly(usual, &others)));
    }
    if random.percent(30) {
        lines.push(("impersonate-uid", random.mostly("7", &["8", ""])));
    }
    let groups =
        ["ops", "system:masters", "system:authenticated", "system:unauthenticated", "größe", "a,b", ""];
    for _ in 0..random.below(3) {
        lines.push(("IMPERSONATE-GROUP", random.mostly("dev", &groups)));
    }
    for _ in 0..random.below(2) * random.below(3) {
        let names = [
            "impersonate-extra-SCOPES",
            "Impersonate-Extra-Example.com%2fKey",
            "Impersonate-Extra-%4Bey%zz",
            "Impersonate-Extra-",
        ];
        let name = random.mostly("Impersonate-Extra-Scopes", &names);
        lines.push((name, random.mostly("a", &["b", "größe", ""])));
    }
    lines
}

/// Go: k8s.io/apiserver/pkg/endpoints/filters/impersonation. The same requests to kube-apiserver itself and by way of Envoy: whoever is
/// allowed there is the same user here, whoever is not is a 401.
#[tokio::test(flavor = "multi_thread")]
async fn clients_may_impersonate_whom_kube_apiserver_lets_them() {
    let mut random = Random::from_env("impersonation");
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("tokens.csv"), format!("{TOKENS}{REQUESTORS}")).unwrap();
    let world =
        World::start(vec![format!("--token-auth-file={}", dir.path().join("tokens.csv").display())]).await;
    world.live.allow(&["impersonate", "allow-impersonation"]).await;
    for right in rights() {
        world.live.create(&right).await;
    }
    let known = fs::read_to_string(world.dir.path().join("tokens.csv")).unwrap();
    fs::write(world.dir.path().join("tokens.csv"), format!("{known}{TOKENS}{REQUESTORS}")).unwrap();
    let mut front = front(&world, &["--allow-impersonation"]).await;
    let direct = world.live.door();
    let mut edge = Door::new(front.envoy.edge.address.port(), front.dir.path().join("certs/server.crt"));
    edge.name = "edge.test";

    let bob = [("Impersonate-User", "bob")];
    let web = [("Impersonate-User", "system:serviceaccount:team:web")];
    for (token, lines) in [
        ("anybody-token", bob),
        ("bobs-token", bob),
        ("users-token", bob),
        ("team-token", web),
        ("constrained-token", bob),
        (&*world.pod, bob),
    ] {
        until("its rights are known", async || ask(&direct, token, &lines).await.is_ok()).await;
    }
    // So is countersign's, as itself.
    until("ours are known", async || ask(&edge, "anybody-token", &bob).await.is_ok()).await;

    let tokens = [
        "anybody-token",
        "bobs-token",
        "users-token",
        "team-token",
        "constrained-token",
        "admin-token",
        &world.pod,
    ];
    let mut counts = BTreeMap::<(&str, &str), usize>::new();
    let cases = requests() / 3;
    for number in 0..cases {
        let name = tokens[number % tokens.len()];
        let lines = match number / tokens.len() {
            0 => bob.to_vec(),
            1 => web.to_vec(),
            2 => vec![("Impersonate-Group", "dev")],
            _ => wanted(&mut random),
        };
        let (theirs, mut ours) = (ask(&direct, name, &lines).await, ask(&edge, name, &lines).await);
        for pause in AGAIN {
            // Neither countersign nor Envoy waits more than two seconds for kube-apiserver, which on a slow machine may say nothing for as long.
            let may_be_late = match (&theirs, &ours) {
                (_, Err(503)) => true,
                (Ok(_), Err(401)) => name != "constrained-token",
                _ => false,
            };
            if !may_be_late {
                break;
            }
            println!("asked again after {pause:?}: {name} {lines:?}: theirs {theirs:?}, ours {ours:?}");
            sleep(pause).await;
            ours = ask(&edge, name, &lines).await;
        }
        let name = if name == world.pod { "pod" } else { name };
        let outcome = match (&theirs, &ours) {
            (Ok(theirs), Ok(ours)) if theirs == ours => "allowed",
            (Err(403), Err(401)) => "forbidden",
            (Err(400), Err(401)) => "malformed",
            // Declared: the constrained ways to be allowed are not known here.
            (Ok(_), Err(401)) if name == "constrained-token" => "constrained",
            _ => panic!("{name} {lines:?}: theirs {theirs:?}, ours {ours:?}"),
        };
        *counts.entry((name, outcome)).or_default() += 1;
    }
    println!("{counts:?}");
    for (name, outcome) in [
        ("anybody-token", "allowed"),
        ("anybody-token", "malformed"),
        ("admin-token", "allowed"),
        ("bobs-token", "allowed"),
        ("bobs-token", "forbidden"),
        ("users-token", "allowed"),
        ("users-token", "forbidden"),
        ("team-token", "allowed"),
        ("team-token", "forbidden"),
        ("constrained-token", "constrained"),
        ("constrained-token", "forbidden"),
        ("pod", "allowed"),
        ("pod", "forbidden"),
    ] {
        assert!(counts.contains_key(&(name, outcome)), "no case in which {name} was {outcome}: {counts:?}");
    }
    kubectl_impersonates(&front);
    unavailable(world, &mut front).await;
}

/// With kubectl's own flags, in its own words.
fn kubectl_impersonates(front: &Front) {
    let kubectl = &front.kubectl;
    let as_bob =
        ["--as=bob", "--as-group=dev", "--as-group=ops", "--as-uid=7", "auth", "whoami", "-o", "json"];
    let ran = kubectl.run("edge", "admin", &as_bob);
    let bob = reviewed(ran.answer.as_bytes());
    assert_eq!(bob, reviewed(kubectl.run("direct", "admin", &as_bob).answer.as_bytes()));
    assert_eq!(
        (&*bob.username, &*bob.uid, bob.groups),
        ("bob", "7", ["dev", "ops", "system:authenticated"].map(str::to_owned).to_vec())
    );
    // alice is in ops, who may see namespaces, and may impersonate nobody.
    let ran = kubectl.run("edge", "alice", &as_bob);
    assert_eq!((ran.code, &*ran.said, &*ran.answer), (1, UNAUTHORIZED, ""));
    let ran = kubectl.run("edge", "admin", &["--as=mallory", "get", "ns"]);
    assert!(
        ran.code == 1 && ran.said.contains("User \"mallory\" cannot list resource \"namespaces\""),
        "{}",
        ran.said
    );
}

/// kube-apiserver is away: nobody can say who may impersonate, so nobody does.
async fn unavailable(mut world: World, front: &mut Front) {
    world.live.stop_api();
    let mut client = front.countersign.client().await;
    let mut verdict = async |lines: &[(&str, &str)]| {
        let lines = lines.iter().chain(&[("authorization", "Bearer anybody-token")]);
        let request = Request {
            method: "GET".into(),
            path: "/".into(),
            headers: lines.map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect(),
            certificates: Vec::new(),
            key: None,
        };
        let response = client.check(check_request(&request, Encoding::Raw)).await.unwrap().into_inner();
        response.status.unwrap().code
    };
    assert_eq!(verdict(&[]).await, 0);
    assert_eq!(verdict(&[("impersonate-user", "bob")]).await, 16);
    let mut denial = front.countersign.wait_for("denied");
    while denial["fields"]["rejected"] != "tokenfile: impersonation_unavailable" {
        denial = front.countersign.wait_for("denied");
    }
    assert_eq!(denial["level"], "WARN");
    let log = front.countersign.logged();
    assert!(
        log.contains("cannot ask the cluster what somebody may do")
            && log.contains("impersonation_forbidden")
    );
    assert!(log.contains(r#""user":"anybody","impersonated":"bob""#), "who it was is in the log");
    assert!(!log.contains("-token\"") && !log.contains("Bearer"), "no token is");
}
