//! `--identity-headers=impersonate`: a credential of ours goes upstream, with an identity and never without one.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;

use crate::denials::UNAUTHORIZED;
use crate::spoofing::{SPOOFS, UNDERSCORES};
use crate::support::{Config, Edge, Envoy, Setup, Stack, Upstream, eventually};

const ALICE: &str = "authorization: Bearer alice-token";

const AS_ALICE: [&str; 6] = [
    "authorization: Bearer ours",
    "impersonate-group: dev",
    "impersonate-group: ops",
    "impersonate-group: system:authenticated",
    "impersonate-uid: alice-uid",
    "impersonate-user: alice",
];
const AS_NOBODY: [&str; 3] = [
    "authorization: Bearer ours",
    "impersonate-group: system:unauthenticated",
    "impersonate-user: system:anonymous",
];

const FLAGS: [&str; 2] = ["--identity-headers=impersonate", "--impersonate-token-file=upstream.token"];

/// countersign in this mode, behind the shipped wiring for it.
fn setup() -> Setup {
    Setup::new().flags(&FLAGS).file("upstream.token", "ours\n").config(Config::with_impersonation)
}

fn sorted(mut lines: Vec<&str>) -> Vec<&str> {
    lines.sort_unstable();
    lines
}

/// Over HTTP/1.1 and HTTP/2.
async fn forwarded(edge: &Edge, lines: &[&str], expected: &[&str]) {
    for response in edge.both(lines).await {
        assert_eq!(sorted(response.forwarded()), expected, "{lines:?}");
    }
}

async fn refused(edge: &Edge, lines: &[&str]) {
    for response in edge.both(lines).await {
        assert_eq!((response.status, response.body.as_str()), (401, UNAUTHORIZED), "{lines:?}");
    }
}

#[tokio::test]
async fn our_credential_takes_the_place_of_the_clients_and_says_for_whom() {
    let stack = setup().start().await;
    let edge = &stack.envoy.edge;
    forwarded(edge, &[ALICE], &AS_ALICE).await;
    forwarded(edge, &[], &AS_NOBODY).await;
    let zoe = [
        "authorization: Bearer ours",
        "impersonate-group: größe",
        "impersonate-group: system:authenticated",
        "impersonate-group: 入門",
        "impersonate-user: zoë",
    ];
    forwarded(edge, &["authorization: Bearer zoe-token"], &zoe).await;
    refused(edge, &["authorization: Bearer stranger"]).await;
    refused(edge, &["authorization: Bearer ours"]).await;
}

/// S1 (envoy#43310), S13 (kubernetes#119631), S16 (GHSA-r5c2-7hp9-v678), S2 (CVE-2025-64484): with the shipped wiring, and with
/// nothing in front of countersign that could hide a gap, in both of Envoy's encodings.
#[tokio::test]
async fn a_client_that_impersonates_by_itself_is_refused_and_nothing_else_that_it_makes_up_arrives() {
    let without = |config: Config| {
        config
            .with("action: REJECT_REQUEST", "action: ALLOW")
            .with(r#""(x[-_]remote)[-_].*""#, r#""nothing""#)
    };
    for stack in [
        setup().start().await,
        setup().config(without).start().await,
        setup().config(|config| without(config).with_header_map()).start().await,
    ] {
        let edge = &stack.envoy.edge;
        let (impersonating, others): (Vec<&str>, Vec<&str>) =
            SPOOFS.iter().copied().partition(|line| line.to_lowercase().starts_with("impersonate"));
        assert_eq!((impersonating.len(), others.len()), (4, 12));
        for spoof in impersonating.iter().chain(&[
            "impersonate-user: ",
            "Impersonate-Anything: x",
            "impersonate-user: alice",
        ]) {
            refused(edge, &[spoof]).await;
            refused(edge, &[spoof, ALICE]).await;
        }
        assert_eq!(stack.upstream.seen(), [[""; 0]; 0]);
        forwarded(edge, &others, &AS_NOBODY).await;
        let with_token: Vec<&str> = others.into_iter().chain([ALICE]).collect();
        forwarded(edge, &with_token, &AS_ALICE).await;
        refused(edge, &[ALICE, ALICE]).await;
    }
    let stack = setup().config(without).start().await;
    for spoof in UNDERSCORES {
        match spoof.to_lowercase().starts_with("impersonate") {
            true => refused(&stack.envoy.edge, &[spoof, ALICE]).await,
            false => forwarded(&stack.envoy.edge, &[spoof, ALICE], &AS_ALICE).await,
        }
    }
}

/// Envoy's part by itself: nobody gets our credential without an identity, or an identity that countersign has not told. In every case
/// the client's own headers would go on but for the filter.
#[tokio::test]
async fn who_has_not_been_asked_about_does_not_get_through() {
    let sent = [
        ALICE,
        "impersonate-user: alice",
        "impersonate-group: system:masters",
        "X-Envoy-Auth-Failure-Mode-Allowed: true",
    ];
    let open = setup().config(Config::with_open_route).start().await;
    // It lets everybody in when it is not there, as nobody should configure it.
    let mode = ["failure_mode_allow: false", "failure_mode_allow: true"];
    let mut unreached = setup().config(|config| config.with(mode[0], mode[1])).start().await;
    unreached.countersign[0].kill();
    // It is there and was not told of this mode.
    let other = Setup::new().config(Config::with_impersonation).start().await;
    for stack in [open, unreached, other] {
        for lines in [&[][..], &sent[..1], &sent] {
            refused(&stack.envoy.edge, lines).await;
        }
        assert_eq!(stack.upstream.seen(), [[""; 0]; 0]);
    }
}

/// Nor does a user get a group for it that it has not.
#[tokio::test]
async fn without_the_filter_users_are_in_the_group_of_those_without_credentials() {
    let stack = Setup::new().flags(&FLAGS).file("upstream.token", "ours").start().await;
    let alice = [AS_ALICE[0], "impersonate-group: system:unauthenticated", AS_ALICE[4], AS_ALICE[5]];
    forwarded(&stack.envoy.edge, &[ALICE], &alice).await;
}

/// S15, GO-2023-1747, CVE-2025-48865: Envoy removes hop-by-hop headers before ext_authz, but not where a connection is upgraded.
#[tokio::test]
async fn naming_identity_headers_in_connection_does_not_strip_them() {
    let stack = setup().start().await;
    let edge = &stack.envoy.edge;
    for connection in [
        "Connection: impersonate-user",
        "Connection: close, Impersonate-Group, impersonate-uid",
        "Connection: keep-alive, impersonate_user",
    ] {
        assert_eq!(sorted(edge.http1(&[connection, ALICE]).await.forwarded()), AS_ALICE, "{connection}");
    }
    let upgrade =
        ["Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="];
    let served = stack.upstream.seen().len();
    for connection in ["Connection: Upgrade, impersonate-user", "Connection: authorization, upgrade"] {
        let lines: Vec<&str> = upgrade.into_iter().chain([connection, ALICE]).collect();
        assert_eq!(edge.http1(&lines).await.status, 401, "{connection}");
    }
    assert_eq!(stack.upstream.seen().len(), served);

    let lines: Vec<&str> = upgrade.into_iter().chain(["Connection: Upgrade, x-other", ALICE]).collect();
    let mut client = edge.connect1().await;
    client.send(&lines.iter().map(|line| line.as_bytes()).collect::<Vec<_>>()).await;
    assert_eq!(client.head().await.unwrap().0, 101);
    let seen = stack.upstream.seen().pop().unwrap();
    assert!(
        seen.contains(&"connection: Upgrade, x-other".to_owned()),
        "the next hop would be told: {seen:?}"
    );
    let ours = seen
        .iter()
        .map(String::as_str)
        .filter(|line| line.starts_with("impersonate-") || line.starts_with("authorization"));
    assert_eq!(sorted(ours.collect()), AS_ALICE);
}

/// The token of a browser does not go on either.
#[tokio::test]
async fn a_token_among_the_subprotocols_goes_no_further() {
    let stack = setup().start().await;
    let offers = ["base64url.bearer.authorization.k8s.io.YWxpY2UtdG9rZW4", "v4.channel.k8s.io"];
    let mut client = crate::websocket::handshake(&stack, &offers).await;
    assert_eq!(client.head().await.unwrap().0, 101);
    let mut seen = stack.upstream.seen().pop().unwrap();
    seen.retain(|line| {
        ["impersonate-", "authorization", "sec-websocket-protocol"].iter().any(|name| line.starts_with(name))
    });
    seen.sort_unstable();
    assert_eq!(seen[..6], AS_ALICE);
    assert_eq!(seen[6..], ["sec-websocket-protocol: v4.channel.k8s.io"]);
}

/// A projected token is replaced every hour, while requests go on. A file that is none is told of and changes nothing.
#[tokio::test]
async fn a_renewed_credential_is_taken_up_under_load() {
    let stack = setup().flags(&["--reload-interval=20ms", "--log-level=trace"]).start().await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (edge, stop) = (stack.envoy.edge.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let (mut client, mut answers) = (edge.connect2().await.unwrap(), 0);
                while !stop.load(Ordering::Relaxed) {
                    let response = client.get(&[ALICE]).await.unwrap();
                    let lines = sorted(response.forwarded());
                    assert_eq!(lines[1..], AS_ALICE[1..]);
                    assert!(lines[0].starts_with("authorization: Bearer ours"), "{lines:?}");
                    answers += 1;
                }
                answers
            })
        })
        .collect();
    for renewal in 1..=10 {
        let before = stack.countersign[0].logged("not reloaded; the old configuration goes on serving");
        replace(&stack, ["", "two tokens", "\u{fc}"][renewal % 3]);
        eventually("a bad token is told of", async || {
            let now = stack.countersign[0].logged("not reloaded; the old configuration goes on serving");
            (now > before).then_some(())
        })
        .await;
        let token = format!("ours-{renewal}");
        replace(&stack, &token);
        let expected = format!("authorization: Bearer {token}");
        eventually("a renewed token is taken up", async || {
            (sorted(stack.envoy.edge.http1(&[ALICE]).await.forwarded())[0] == expected).then_some(())
        })
        .await;
    }
    stop.store(true, Ordering::Relaxed);
    let mut answers = 0;
    for client in clients {
        answers += client.await.unwrap();
    }
    assert!(answers > 20, "{answers}");
    let log = fs::read_to_string(stack.directory().join("countersign-0.log")).unwrap();
    assert!(log.len() > 10_000 && !log.contains("ours"), "our credential is in no log");
}

fn replace(stack: &Stack, token: &str) {
    fs::write(stack.directory().join("new"), token).unwrap();
    fs::rename(stack.directory().join("new"), stack.directory().join("upstream.token")).unwrap();
}

/// Go: `headerKeyEscape` of client-go/transport, and `unescapeExtraKey` of impersonation.go, which is asked after the name is lowered: so
/// what is escaped keeps its case. With metadata that the test writes itself, as no token file can hold them.
#[tokio::test]
async fn every_group_and_extra_value_becomes_a_line_of_its_own() {
    let upstream = Upstream::start().await;
    let metadata = r#"{"countersign": {
        "username": "alice", "uid": "",
        "groups": ["a,b", "", "größe", "with space", "a,b"],
        "extra": {
            "example.com/Project Name": ["x,y", "z", ""],
            "100%": ["percent"],
            "Key": ["upper"], "key": ["lower"],
            "größe": ["utf-8"],
            "!#$&'*+-.^_`|~09az": ["token"],
            "(),:;<=>?@[]{}": ["separators"],
            "": ["nameless"]
        }
    }}"#;
    let (envoy, _directory) = envoy_with(metadata, &upstream).await;
    let spoofs = [
        "impersonate-user: alice",
        "impersonate-group: system:masters",
        "impersonate_group: system:masters",
        "impersonate-extra-100%25: spoof",
        "impersonate_extra_key: spoof",
        "Impersonate-Anything: spoof",
    ];
    let response = envoy.edge.http1(&spoofs).await;
    let (groups, others): (Vec<&str>, Vec<&str>) =
        response.forwarded().into_iter().partition(|line| line.starts_with("impersonate-group: "));
    assert_eq!(
        groups,
        [
            "impersonate-group: a,b",
            "impersonate-group: ",
            "impersonate-group: größe",
            "impersonate-group: with space",
            "impersonate-group: a,b",
        ]
    );
    assert_eq!(
        sorted(others),
        [
            "impersonate-extra-!#$&'*+-.^_`|~09az: token",
            "impersonate-extra-%28%29%2c%3a%3b%3c%3d%3e%3f%40%5b%5d%7b%7d: separators",
            "impersonate-extra-%4bey: upper",
            "impersonate-extra-100%25: percent",
            "impersonate-extra-: nameless",
            "impersonate-extra-example.com%2f%50roject%20%4eame: ",
            "impersonate-extra-example.com%2f%50roject%20%4eame: x,y",
            "impersonate-extra-example.com%2f%50roject%20%4eame: z",
            "impersonate-extra-gr%c3%b6%c3%9fe: utf-8",
            "impersonate-extra-key: lower",
            "impersonate-user: alice",
        ]
    );
    for others in [
        &["impersonate-user: bob"][..],
        &["impersonate-user: alice", "impersonate-user: bob"],
        &["impersonate-user: alice", "impersonate-uid: 1"],
        &["impersonate_user: alice"],
        &[],
    ] {
        refused(&envoy.edge, others).await;
    }
}

/// Envoy lets requests go on where a script fails, so it must not.
#[tokio::test]
async fn metadata_that_name_no_groups_or_no_extras_let_nobody_through() {
    let upstream = Upstream::start().await;
    for metadata in [
        r#"{"other": {}}"#,
        r#"{"countersign": "alice"}"#,
        r#"{"countersign": {"username": "alice"}}"#,
        r#"{"countersign": {"username": "alice", "uid": "", "extra": {}}}"#,
        r#"{"countersign": {"username": "alice", "uid": "", "groups": ["dev"]}}"#,
        r#"{"countersign": {"username": "alice", "uid": "", "groups": "dev", "extra": {}}}"#,
        r#"{"countersign": {"username": "alice", "uid": "", "groups": [["dev"]], "extra": {}}}"#,
        r#"{"countersign": {"username": "alice", "uid": "", "groups": ["dev"], "extra": {"k": "v"}}}"#,
    ] {
        let (envoy, _directory) = envoy_with(metadata, &upstream).await;
        let response = envoy.edge.http1(&["impersonate-user: alice"]).await;
        assert_eq!((response.status, response.body.as_str()), (401, UNAUTHORIZED), "{metadata}");
    }
    assert_eq!(upstream.seen(), [[""; 0]; 0]);
}

/// The shipped wiring with a filter in place of ext_authz that sets this metadata for every request.
async fn envoy_with(metadata: &str, upstream: &Upstream) -> (Envoy, TempDir) {
    let shipped = Config::shipped().without_early_defences().option("impersonate").application(upstream.port);
    let directory = tempfile::tempdir().unwrap();
    let envoy = Envoy::start(directory.path(), &shipped.with_metadata_in_place_of_ext_authz(metadata)).await;
    (envoy, directory)
}
