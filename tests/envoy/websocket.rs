//! WebSocket handshakes with the token among the subprotocols, as browsers have to send it.
//! Go: websocket/protocol.go of k8s.io/apiserver; TestBearerToken in protocol_test.go, "valid bearer token removing header" and
//! "invalid bearer token".

use http::Request;

use crate::support::{GREETING, Http1, Setup, Stack};

/// `alice-token` and `stranger` in unpadded base64url.
const ALICE: &str = "base64url.bearer.authorization.k8s.io.YWxpY2UtdG9rZW4";
const STRANGER: &str = "base64url.bearer.authorization.k8s.io.c3RyYW5nZXI";

/// Sends a handshake that offers these subprotocols, one line each.
pub(crate) async fn handshake(stack: &Stack, protocols: &[&str]) -> Http1 {
    let offers: Vec<String> =
        protocols.iter().map(|offer| format!("Sec-WebSocket-Protocol: {offer}")).collect();
    let mut lines: Vec<&[u8]> = vec![
        b"Connection: Upgrade",
        b"Upgrade: websocket",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    ];
    lines.extend(offers.iter().map(|offer| offer.as_bytes()));
    let mut client = stack.envoy.edge.connect1().await;
    client.send(&lines).await;
    client
}

/// The lines about identity and subprotocols of the only request that reached the application.
pub(crate) fn seen_by_the_application(stack: &Stack) -> Vec<String> {
    let mut seen = stack.upstream.seen();
    assert_eq!(seen.len(), 1, "{seen:?}");
    let mut lines = seen.remove(0);
    lines.retain(|line| {
        ["x-remote-", "authorization", "sec-websocket-protocol"].iter().any(|name| line.starts_with(name))
    });
    lines
}

/// The tunnel works in both directions, whoever speaks first.
pub(crate) async fn talk(client: &mut Http1) {
    assert_eq!(client.exactly(GREETING.len()).await.unwrap(), GREETING);
    client.write(b"hello there").await;
    assert_eq!(client.exactly(11).await.unwrap(), b"HELLO THERE");
}

#[tokio::test]
async fn a_token_among_the_subprotocols_opens_a_tunnel_and_is_not_passed_on() {
    for offers in [
        [format!("{ALICE}, v4.channel.k8s.io, chat")].as_slice(),
        &["v4.channel.k8s.io".to_owned(), ALICE.to_owned(), "chat".to_owned()],
    ] {
        let stack = Setup::new().start().await;
        let offers: Vec<&str> = offers.iter().map(String::as_str).collect();
        let mut client = handshake(&stack, &offers).await;
        assert_eq!(client.head().await.unwrap().0, 101);
        talk(&mut client).await;
        let mut seen = seen_by_the_application(&stack);
        seen.sort_unstable();
        assert_eq!(
            seen,
            [
                "sec-websocket-protocol: v4.channel.k8s.io,chat",
                "x-remote-group: dev,ops,system:authenticated",
                "x-remote-uid: alice-uid",
                "x-remote-user: alice",
            ]
        );
    }
}

#[tokio::test]
async fn a_bad_token_among_the_subprotocols_is_a_401() {
    let stack = Setup::new().start().await;
    let padded = format!("{ALICE}=, chat");
    for offers in [
        [format!("{STRANGER}, chat").as_str()].as_slice(),
        // Without another subprotocol the server would have nothing to answer with.
        &[ALICE],
        &[ALICE, ALICE, "chat"],
        &[&padded],
    ] {
        let mut client = handshake(&stack, offers).await;
        assert_eq!(client.head().await.unwrap().0, 401, "{offers:?}");
    }
    assert_eq!(stack.upstream.seen(), [[""; 0]; 0]);
}

/// RFC 8441: over HTTP/2 the handshake is an extended CONNECT, which Envoy turns into a GET with Upgrade.
#[tokio::test]
async fn a_handshake_over_http2_is_read_like_one_over_http1() {
    let stack = Setup::new().start().await;
    let connect = |offers: String| {
        Request::connect("https://app.test/")
            .extension(h2::ext::Protocol::from_static("websocket"))
            .header("sec-websocket-version", "13")
            .header("sec-websocket-protocol", offers)
    };
    let response = stack.envoy.edge.http2_request(connect(format!("{STRANGER}, chat")), &[]).await.unwrap();
    assert_eq!(response.status, 401);
    assert_eq!(stack.upstream.seen(), [[""; 0]; 0]);

    let mut tunnel = stack.envoy.edge.http2_tunnel(connect(format!("{ALICE}, chat"))).await;
    assert_eq!(tunnel.exactly(GREETING.len()).await, GREETING);
    tunnel.write(b"hello there");
    assert_eq!(tunnel.exactly(11).await, b"HELLO THERE");
    let mut seen = seen_by_the_application(&stack);
    seen.sort_unstable();
    assert_eq!(
        seen,
        [
            "sec-websocket-protocol: chat",
            "x-remote-group: dev,ops,system:authenticated",
            "x-remote-uid: alice-uid",
            "x-remote-user: alice",
        ]
    );
}
