use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::client::{Answer, Client, Settings};
use super::probe::testing::{forged, report};
use super::probe::{Report, Verdict};

fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Answer {
    let headers = headers
        .iter()
        .map(|(name, value)| (http::HeaderName::from_static(name), http::HeaderValue::from_static(value)));
    let headers: HeaderMap = headers.collect();
    Answer {
        status: StatusCode::from_u16(status).expect("a status"),
        headers,
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

const STATUS: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"Unauthorized","reason":"Unauthorized","code":401}"#;
const UNDECIDED: &str = r#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"authentication is unavailable","reason":"ServiceUnavailable","code":503}"#;
const CHALLENGE: (&str, &str) = ("www-authenticate", "Bearer realm=\"countersign\"");
const UPSTREAM: (&str, &str) = ("x-envoy-upstream-service-time", "1");

fn ours() -> Answer {
    answer(401, &[CHALLENGE], STATUS)
}

/// The verdict, and the first words of what is said about it.
fn concluded(report: &Report) -> (Verdict, Vec<&str>) {
    let words = report.conclusions.iter().map(|conclusion| conclusion.words.split([':', ';', ',']).next());
    (report.verdict(), words.map(Option::unwrap_or_default).collect())
}

/// Only what is sure is said to be so: the words are countersign's own, or the upstream has answered what no filter would have let through.
#[test]
fn a_bad_token_tells_whether_the_filter_is_on() {
    let refused = "requests without a credential are refused";
    let anonymous = "anonymous requests are let through (200)";
    let table = [
        (ours(), ours(), Verdict::On, vec!["the filter is on", refused]),
        (answer(200, &[UPSTREAM], "hello"), ours(), Verdict::On, vec!["the filter is on", anonymous]),
        (
            answer(404, &[UPSTREAM], ""),
            ours(),
            Verdict::On,
            vec!["the filter is on", "anonymous requests are let through"],
        ),
        (ours(), answer(503, &[], UNDECIDED), Verdict::On, vec!["the filter is on", refused]),
        (ours(), answer(401, &[CHALLENGE, UPSTREAM], STATUS), Verdict::On, vec!["the filter is on", refused]),
        (answer(200, &[], ""), answer(200, &[], ""), Verdict::Off, vec!["the filter is OFF"]),
        (ours(), answer(204, &[], ""), Verdict::Off, vec!["the filter is OFF"]),
        (answer(401, &[UPSTREAM], ""), answer(401, &[UPSTREAM], ""), Verdict::Off, vec!["the filter is OFF"]),
        (answer(403, &[UPSTREAM], ""), answer(403, &[UPSTREAM], ""), Verdict::Off, vec!["the filter is OFF"]),
        (answer(302, &[UPSTREAM], ""), answer(302, &[UPSTREAM], ""), Verdict::Off, vec!["the filter is OFF"]),
        (answer(401, &[], ""), answer(401, &[], ""), Verdict::CannotTell, vec!["401"]),
        (
            answer(401, &[], STATUS),
            answer(401, &[], STATUS),
            Verdict::CannotTell,
            vec!["401 with a Kubernetes Status"],
        ),
        (answer(401, &[CHALLENGE], "no"), answer(401, &[CHALLENGE], "no"), Verdict::CannotTell, vec!["401"]),
        (answer(403, &[], ""), answer(403, &[], ""), Verdict::CannotTell, vec!["403"]),
        (answer(302, &[], ""), answer(302, &[], ""), Verdict::CannotTell, vec!["302"]),
        (answer(404, &[], ""), answer(404, &[], ""), Verdict::CannotTell, vec!["404"]),
        (answer(503, &[], "no healthy upstream"), answer(503, &[], ""), Verdict::CannotTell, vec!["503"]),
    ];
    for (number, (no_credential, bad_token, verdict, words)) in table.into_iter().enumerate() {
        assert_eq!(concluded(&report(&no_credential, &bad_token)), (verdict, words), "row {number}");
    }
}

#[test]
fn a_forged_header_that_comes_back_has_reached_the_upstream() {
    let echo = answer(200, &[UPSTREAM], "you are smoke-test-1");
    let report = forged(&ours(), &echo, "smoke-test-1");
    assert_eq!(report.verdict(), Verdict::Off);
    assert!(report.conclusions[1].words.contains("x-remote-user"), "{report:?}");
    assert_eq!(forged(&ours(), &echo, "smoke-test-2").verdict(), Verdict::On);
}

/// Server-sent events and watches: nobody may miss a route without the filter since its answers do not end.
#[tokio::test]
async fn an_answer_that_never_ends_is_one() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}/watch", listener.local_addr().expect("an address"));
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let _request = stream.read(&mut [0; 4096]).await.expect("a request");
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nan event\n").await.expect("sent");
        std::future::pending::<()>().await;
    });
    let settings = Settings {
        url: &url,
        authorities: None,
        insecure: false,
        host: None,
        resolve: None,
        timeout: Duration::from_secs(5),
    };
    let answer = Client::new(&settings).expect("a client").get(None, &[]).await.expect("an answer");
    assert_eq!((answer.status, &*answer.body), (StatusCode::OK, &b"an event\n"[..]));
    server.abort();
}
