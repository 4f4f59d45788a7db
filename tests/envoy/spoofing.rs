//! Identity headers that a client makes up, in every spelling, and what is left of them behind Envoy.

use crate::support::{Config, Edge, Setup};

const ALICE: &str = "authorization: Bearer alice-token";

const AS_ALICE: [&str; 3] =
    ["x-remote-user: alice", "x-remote-uid: alice-uid", "x-remote-group: dev,ops,system:authenticated"];
const AS_NOBODY: [&str; 2] = ["x-remote-user: system:anonymous", "x-remote-group: system:unauthenticated"];

/// Made-up identity in which no header has an underscore.
pub(crate) const SPOOFS: [&str; 16] = [
    "X-Remote-User: evil",
    "x-remote-user: worse",
    "X-REMOTE-USER: worst",
    "X-Remote-Uid: 0",
    "X-Remote-Group: system:masters",
    "X-Remote-Group: system:nodes",
    "x-remote-group: a,b",
    "X-Remote-Group-1: system:masters",
    "X-Remote-Group-2: system:masters",
    "X-Remote-Extra-Foo: bar",
    "X-Remote-Extra-Acme.com%2fproject: secret",
    "X-Remote-Extra-: nameless",
    "Impersonate-User: admin",
    "Impersonate-Uid: 0",
    "Impersonate-Group: system:masters",
    "Impersonate-Extra-Scopes: all",
];

/// The same names as a CGI-like server folds them.
pub(crate) const UNDERSCORES: [&str; 10] = [
    "x_remote_user: evil",
    "X_Remote_User: worse",
    "X-Remote_User: worst",
    "x_remote_uid: 0",
    "X_REMOTE_GROUP: system:masters",
    "x-remote_group-1: system:masters",
    "X_Remote_Extra_Foo: bar",
    "x_remote_extra-foo: bar",
    "Impersonate_User: admin",
    "impersonate_extra_scopes: all",
];

/// Sends the spoofs one by one and all at once, over HTTP/1.1 and HTTP/2, without and with a good token: never does the
/// application see anything but what countersign said.
async fn nothing_arrives_of(edge: &Edge, spoofs: &[&str]) {
    let mut attempts: Vec<Vec<&str>> = spoofs.iter().map(|&spoof| vec![spoof]).collect();
    attempts.push(spoofs.to_vec());
    for attempt in attempts {
        let with_token: Vec<&str> = attempt.iter().copied().chain([ALICE]).collect();
        for response in edge.both(&attempt).await {
            assert_eq!(response.forwarded(), AS_NOBODY, "{attempt:?}");
        }
        for response in edge.both(&with_token).await {
            assert_eq!(response.forwarded(), AS_ALICE, "{attempt:?}");
        }
    }
}

/// S1 (envoy#43310), S13 (kubernetes#119631), S16 (GHSA-r5c2-7hp9-v678).
#[tokio::test]
async fn made_up_identity_does_not_pass_the_shipped_wiring() {
    let stack = Setup::new().start().await;
    nothing_arrives_of(&stack.envoy.edge, &SPOOFS).await;
}

/// Envoy's early removal by itself: on a route that asks nobody, made-up identity would otherwise go straight through.
#[tokio::test]
async fn made_up_identity_does_not_pass_a_route_without_ext_authz_either() {
    let stack = Setup::new().config(Config::with_open_route).start().await;
    let lines: Vec<&str> =
        SPOOFS.into_iter().chain(["X-Envoy-Auth-Failure-Mode-Allowed: true", "X-Other: kept"]).collect();
    assert_eq!(stack.envoy.edge.http1(&lines).await.forwarded(), ["x-other: kept"]);
}

/// S2, CVE-2025-64484: refused as a whole, before anybody is asked.
#[tokio::test]
async fn made_up_identity_with_underscores_is_refused_by_the_shipped_wiring() {
    let stack = Setup::new().start().await;
    for spoof in UNDERSCORES {
        let response = stack.envoy.edge.http1(&[spoof, ALICE]).await;
        assert_eq!((response.status, response.body.as_str()), (400, "Bad Request"), "{spoof}");
        let reset = stack.envoy.edge.http2(&[spoof, ALICE]).await.unwrap_err();
        assert!(reset.is_reset() && reset.is_remote(), "{spoof}: {reset}");
    }
    assert_eq!(stack.upstream.seen(), [[""; 0]; 0]);
}

/// S1, S2, S13, S16 again, now without anything in front that could have hidden a gap: an answer of countersign
/// alone has to overwrite or remove all of it.
#[tokio::test]
async fn countersign_alone_scrubs_made_up_identity() {
    let stack = Setup::new().config(|config| config.without_early_defences()).start().await;
    let all: Vec<&str> = SPOOFS.into_iter().chain(UNDERSCORES).collect();
    nothing_arrives_of(&stack.envoy.edge, &all).await;
}

/// As before with the header map, in which Envoy joins repeated lines.
#[tokio::test]
async fn countersign_alone_scrubs_made_up_identity_from_the_header_map() {
    let stack = Setup::new().config(|config| config.without_early_defences().with_header_map()).start().await;
    let all: Vec<&str> = SPOOFS.into_iter().chain(UNDERSCORES).collect();
    nothing_arrives_of(&stack.envoy.edge, &all).await;
}

/// Numbered headers that the answer does not use must not keep the client's value.
#[tokio::test]
async fn unused_numbered_group_headers_are_scrubbed() {
    let stack = Setup::new()
        .flags(&["--groups-encoding=indexed"])
        .config(|config| config.without_early_defences())
        .start()
        .await;
    let spoofs =
        ["x-remote-group-2: a", "x-remote-group-3: b", "x-remote-group-99: c", "x-remote-extra1-foo: d"];
    let lines: Vec<&str> = spoofs.into_iter().chain([ALICE]).collect();
    assert_eq!(
        stack.envoy.edge.http1(&lines).await.forwarded(),
        [
            "x-remote-user: alice",
            "x-remote-uid: alice-uid",
            "x-remote-group: dev",
            "x-remote-group-1: ops",
            "x-remote-group-2: system:authenticated",
        ]
    );
    assert_eq!(stack.envoy.edge.http1(&spoofs).await.forwarded(), AS_NOBODY);
}

/// S13: with other names for the identity headers, the configured and the usual ones are both scrubbed.
#[tokio::test]
async fn renamed_identity_headers_are_scrubbed_under_both_names() {
    let names = "|(x[-_]remote|impersonate)[-_].+";
    let more_names = "|(x[-_]remote|impersonate|auth)[-_].+";
    let stack = Setup::new()
        .flags(&[
            "--identity-user-header=Auth-User",
            "--identity-uid-header=Auth-Uid",
            "--identity-group-header=Auth-Group",
            "--identity-extra-header-prefix=Auth-Extra-",
        ])
        .config(|config| config.without_early_defences().with(names, more_names))
        .start()
        .await;
    let spoofs = [
        "Auth-User: evil",
        "auth_user: evil",
        "Auth-Uid: 0",
        "Auth-Group: system:masters",
        "Auth-Extra-Foo: bar",
        "auth_extra_foo: bar",
    ];
    let spoofs: Vec<&str> = spoofs.into_iter().chain(SPOOFS).chain(UNDERSCORES).collect();
    assert_eq!(
        stack.envoy.edge.http1(&spoofs).await.forwarded(),
        ["auth-user: system:anonymous", "auth-group: system:unauthenticated"]
    );
    let with_token: Vec<&str> = spoofs.into_iter().chain([ALICE]).collect();
    assert_eq!(
        stack.envoy.edge.http1(&with_token).await.forwarded(),
        ["auth-user: alice", "auth-uid: alice-uid", "auth-group: dev,ops,system:authenticated"]
    );
}

/// S15, GO-2023-1747 and CVE-2025-48865: hop-by-hop headers are removed before ext_authz, what it sets stays.
#[tokio::test]
async fn naming_identity_headers_in_connection_does_not_strip_them() {
    let stack = Setup::new().config(|config| config.without_early_defences()).start().await;
    for connection in [
        "Connection: x-remote-user",
        "Connection: close, X-Remote-User, x-remote-uid, x-remote-group",
        "Connection: keep-alive, x-remote-user, x_remote_user",
    ] {
        let response = stack.envoy.edge.http1(&[connection, ALICE, "X-Remote-User: evil"]).await;
        assert_eq!(response.forwarded(), AS_ALICE, "{connection}");
    }
}
