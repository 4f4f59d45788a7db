//! The identity as the application sees it, in each encoding of groups.

use crate::support::{Edge, Setup};

const ALICE: &str = "authorization: Bearer alice-token";
const ZOE: &str = "authorization: Bearer zoe-token";

/// The same request over both protocols, which must look the same to the application.
async fn forwarded(edge: &Edge, lines: &[&str]) -> Vec<String> {
    let over1 = edge.http1(lines).await;
    let over2 = edge.http2(lines).await.unwrap();
    assert_eq!(over1.forwarded(), over2.forwarded());
    over1.forwarded().into_iter().map(str::to_owned).collect()
}

/// Go: `SetAuthProxyHeaders` (client-go/transport/round_trippers.go) for the names. One
/// line for all groups, because Envoy makes one line of several in an answer.
#[tokio::test]
async fn joined_groups_are_one_line_and_the_token_is_gone() {
    let stack = Setup::new().start().await;
    let edge = &stack.envoy.edge;
    assert_eq!(
        forwarded(edge, &[ALICE]).await,
        ["x-remote-user: alice", "x-remote-uid: alice-uid", "x-remote-group: dev,ops,system:authenticated"]
    );
    // No uid, no header; UTF-8 as it is.
    assert_eq!(
        forwarded(edge, &[ZOE]).await,
        ["x-remote-user: zoë", "x-remote-group: größe,入門,system:authenticated"]
    );
    assert_eq!(
        forwarded(edge, &[]).await,
        ["x-remote-user: system:anonymous", "x-remote-group: system:unauthenticated"]
    );
}

/// For readers that list several header names, as kube-apiserver's `--requestheader-group-headers` does.
#[tokio::test]
async fn indexed_groups_are_one_numbered_header_each() {
    let stack = Setup::new().flags(&["--groups-encoding=indexed"]).start().await;
    let edge = &stack.envoy.edge;
    assert_eq!(
        forwarded(edge, &[ALICE]).await,
        [
            "x-remote-user: alice",
            "x-remote-uid: alice-uid",
            "x-remote-group: dev",
            "x-remote-group-1: ops",
            "x-remote-group-2: system:authenticated",
        ]
    );
    assert_eq!(
        forwarded(edge, &[]).await,
        ["x-remote-user: system:anonymous", "x-remote-group: system:unauthenticated"]
    );
}

/// Exactly the lines that kube-apiserver's requestheader authenticator reads: one for each group.
#[tokio::test]
async fn metadata_groups_are_one_line_each_behind_the_lua_filter() {
    let stack = Setup::new()
        .flags(&["--groups-encoding=metadata"])
        .config(|config| config.with_lua().without_early_defences())
        .start()
        .await;
    let edge = &stack.envoy.edge;
    assert_eq!(
        forwarded(edge, &[ALICE, "x-remote-group: system:masters", "x_remote_extra_scopes: all"]).await,
        [
            "x-remote-user: alice",
            "x-remote-uid: alice-uid",
            "x-remote-group: dev",
            "x-remote-group: ops",
            "x-remote-group: system:authenticated",
        ]
    );
    assert_eq!(
        forwarded(edge, &[ZOE]).await,
        [
            "x-remote-user: zoë",
            "x-remote-group: größe",
            "x-remote-group: 入門",
            "x-remote-group: system:authenticated",
        ]
    );
    assert_eq!(
        forwarded(edge, &[]).await,
        ["x-remote-user: system:anonymous", "x-remote-group: system:unauthenticated"]
    );
}

/// A forgotten filter must cost groups, not let the client name them (S13).
#[tokio::test]
async fn metadata_groups_without_the_lua_filter_are_no_groups_at_all() {
    let stack = Setup::new()
        .flags(&["--groups-encoding=metadata"])
        .config(|config| config.without_early_defences())
        .start()
        .await;
    assert_eq!(
        forwarded(&stack.envoy.edge, &[ALICE, "x-remote-group: system:masters", "x-remote-extra-foo: bar"])
            .await,
        ["x-remote-user: alice", "x-remote-uid: alice-uid"]
    );
}

/// Envoy shows countersign the headers as a list, or as a map in which repeated lines are joined. A verdict that depends on
/// it is a bypass (S7, CVE-2026-26308).
#[tokio::test]
async fn both_encodings_of_the_request_give_the_same_view_and_the_same_verdict() {
    let raw = Setup::new().start().await;
    let map = Setup::new().config(|config| config.with_header_map()).start().await;

    let upgrade = [
        "connection: upgrade",
        "upgrade: websocket",
        "sec-websocket-version: 13",
        "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    let cases: [(&[&str], u16); 10] = [
        (&[], 200),
        (&[ALICE], 200),
        (&[ALICE, "x-trace: one", "x-trace: two", "cookie: a=b"], 200),
        (&["authorization: bearer alice-token"], 200),
        (&["authorization: "], 200),
        (&["authorization: Bearer stranger"], 401),
        (&["authorization: Bearer alice-token,Bearer alice-token"], 401),
        (&[ALICE, ALICE], 401),
        (&[ALICE, "authorization: Bearer stranger"], 401),
        // Two websocket tokens in two lines (Go: `AuthenticateRequest` of websocket/protocol.go allows one).
        (
            &[
                upgrade[0],
                upgrade[1],
                upgrade[2],
                upgrade[3],
                "sec-websocket-protocol: base64url.bearer.authorization.k8s.io.YWxpY2UtdG9rZW4",
                "sec-websocket-protocol: base64url.bearer.authorization.k8s.io.YWxpY2UtdG9rZW4, chat",
            ],
            401,
        ),
    ];
    for (lines, status) in cases {
        let from_raw = raw.envoy.edge.http1(lines).await;
        let from_map = map.envoy.edge.http1(lines).await;
        assert_eq!(from_raw.status, status, "{lines:?}");
        assert_eq!(from_map.status, status, "{lines:?}");
        if status == 200 {
            assert_eq!(from_raw.forwarded(), from_map.forwarded(), "{lines:?}");
        } else {
            assert_eq!(from_raw.body, from_map.body, "{lines:?}");
        }
    }
}
