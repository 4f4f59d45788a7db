//! What a client gets that is turned away.

use http::Request;

use crate::support::{Response, Setup};

pub(crate) const UNAUTHORIZED: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401}"#;

/// The header lines, with the one that changes left open.
fn headers(response: &Response) -> Vec<&str> {
    response.headers.iter().map(|line| if line.starts_with("date: ") { "date: *" } else { line }).collect()
}

/// Go: `Unauthorized` (k8s.io/apiserver/pkg/endpoints/filters/authentication.go) for the body; RFC 9110, section 11.6.1,
/// and RFC 6750 for the challenge.
#[tokio::test]
async fn a_bad_token_is_a_401_with_a_status_object_and_a_challenge() {
    let stack = Setup::new().start().await;
    let length = format!("content-length: {}", UNAUTHORIZED.len());
    let expected = [
        "www-authenticate: Bearer realm=\"countersign\"",
        "content-type: application/json",
        &length,
        "date: *",
        "server: envoy",
    ];
    for lines in [
        ["authorization: Bearer stranger"].as_slice(),
        // One Authorization only (S7): Envoy joins two lines, so which was first can no longer be told.
        &["authorization: Bearer alice-token", "authorization: Bearer alice-token"],
        &["authorization: Bearer alice-token", "authorization: Bearer stranger"],
        &["authorization: Bearer alice-token,Bearer stranger"],
    ] {
        let over1 = stack.envoy.edge.http1(lines).await;
        let over2 = stack.envoy.edge.http2(lines).await.unwrap();
        for response in [over1, over2] {
            assert_eq!(response.status, 401, "{lines:?}");
            assert_eq!(sorted(headers(&response)), sorted(expected.to_vec()), "{lines:?}");
            assert_eq!(response.body, UNAUTHORIZED, "{lines:?}");
        }
    }
    assert_eq!(stack.upstream.seen(), [[""; 0]; 0]);
}

fn sorted(mut lines: Vec<&str>) -> Vec<&str> {
    lines.sort_unstable();
    lines
}

/// S8, CVE-2023-27488: such bytes arrive as they are in one encoding and as `!` in the other.
#[tokio::test]
async fn an_authorization_that_is_not_utf8_is_a_401_in_both_encodings() {
    let raw = Setup::new().start().await;
    let map = Setup::new().config(|config| config.with_header_map()).start().await;
    for stack in [&raw, &map] {
        for line in [
            b"Authorization: Bearer \xff\xfe".as_slice(),
            b"Authorization: Bearer alice-token\xff",
            b"Authorization: Bearer zo\xeb-token",
        ] {
            let response = stack.envoy.edge.http1_bytes(&[line]).await;
            assert_eq!((response.status, response.body.as_str()), (401, UNAUTHORIZED), "{line:?}");
        }
        assert_eq!(stack.upstream.seen(), [[""; 0]; 0]);
    }
}

/// RFC 9110, section 11.6.1: one challenge for each scheme, here on lines of their own.
#[tokio::test]
async fn basic_auth_adds_its_own_challenge_line() {
    let stack = Setup::new().basic_auth().start().await;
    let response = stack.envoy.edge.http1(&["authorization: Basic ZGF2ZTp3cm9uZw=="]).await;
    let challenges: Vec<&str> =
        headers(&response).into_iter().filter(|line| line.starts_with("www-authenticate: ")).collect();
    assert_eq!(response.status, 401);
    assert_eq!(
        challenges,
        [
            "www-authenticate: Bearer realm=\"countersign\"",
            "www-authenticate: Basic realm=\"countersign\", charset=\"UTF-8\"",
        ]
    );
    assert_eq!(response.body, UNAUTHORIZED);

    let response = stack.envoy.edge.http1(&["authorization: Basic ZGF2ZTpoaWRkZW4="]).await;
    assert_eq!(response.forwarded(), ["x-remote-user: dave", "x-remote-group: system:authenticated"]);
}

/// Without anonymous a request without credentials is turned away like one with bad ones.
#[tokio::test]
async fn without_anonymous_no_credentials_are_a_401() {
    let stack = Setup::new().flags(&["--anonymous-auth=false"]).start().await;
    let response = stack.envoy.edge.http1(&[]).await;
    assert_eq!((response.status, response.body.as_str()), (401, UNAUTHORIZED));
    assert_eq!(stack.upstream.seen(), [[""; 0]; 0]);
}

/// The gRPC HTTP mapping: 401 is UNAUTHENTICATED, 16; Envoy makes a trailers-only answer of the denial.
#[tokio::test]
async fn a_grpc_client_gets_unauthenticated() {
    let stack = Setup::new().start().await;
    let call = Request::post("https://app.test/field.Service/Method");
    let lines = ["content-type: application/grpc", "te: trailers", "authorization: Bearer stranger"];
    let response = stack.envoy.edge.http2_request(call, &lines).await.unwrap();
    assert_eq!(response.status, 200);
    assert_eq!(response.body, "");
    let told: Vec<&str> = headers(&response)
        .into_iter()
        .filter(|line| line.starts_with("grpc-status: ") || line.starts_with("content-type: "))
        .collect();
    assert_eq!(sorted(told), ["content-type: application/grpc", "grpc-status: 16"]);
    assert_eq!(stack.upstream.seen(), [[""; 0]; 0]);
}

/// S34: refused before it has been read to its end, which Envoy does not take for an error: that would be a 503 here.
#[tokio::test]
async fn a_check_request_over_the_limit_is_a_401_and_its_connection_lives_on() {
    let stack = Setup::new().flags(&["--max-check-request-bytes=8192"]).start().await;
    let token = "authorization: Bearer alice-token";
    for size in [9_000, 20_000, 50_000] {
        let filler = format!("x-filler: {}", "x".repeat(size));
        let response = stack.envoy.edge.http1(&[token, &filler]).await;
        assert_eq!((response.status, response.body.as_str()), (401, UNAUTHORIZED), "{size}");
        assert_eq!(stack.envoy.edge.http1(&[token]).await.status, 200);
    }
    assert_eq!(stack.upstream.seen().len(), 3);
    assert_eq!(stack.envoy.connections_to_countersign().await, 1);
}

/// With more lines or bytes than its limits allow once an answer is applied, Envoy ends with a 500. countersign knows the
/// limits, and denies first. Envoy counts what an answer sets before it takes out what the answer removes.
#[tokio::test]
async fn a_request_that_leaves_no_room_for_its_identity_is_a_401_and_never_a_500() {
    let stack = Setup::new().start().await;
    let token = "authorization: Bearer alice-token";
    let mut verdicts = Vec::new();
    for count in 80..=100 {
        let fillers: Vec<String> = (0..count).map(|at| format!("x-filler-{at}: x")).collect();
        let lines: Vec<&str> = fillers.iter().map(String::as_str).chain([token]).collect();
        verdicts.push(stack.envoy.edge.http1(&lines).await.status);
    }
    verdicts.dedup();
    assert_eq!(verdicts, [200, 401, 431], "by number of lines");

    let mut verdicts = Vec::new();
    for room in (0..400).step_by(8).rev() {
        let filler = format!("x-filler: {}", "x".repeat(60 * 1024 - room));
        verdicts.push(stack.envoy.edge.http1(&[&filler, token]).await.status);
    }
    verdicts.dedup();
    assert_eq!(verdicts, [200, 401, 431], "by number of bytes");
}
