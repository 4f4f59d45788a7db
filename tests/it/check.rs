//! `Check` over the real listener.

use std::fs;
use std::time::Duration;

use envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};
use prost::bytes::Bytes;
use tempfile::TempDir;
use tonic::client::Grpc;
use tonic::{Code, IntoRequest};

use crate::message::{get, verdict, with_http};
use crate::support::program::Server;

/// A folder with a token file and a basic auth file.
fn users() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tokens.csv"), "token-1,alice,1,\"dev,ops\"\nt!,bang,2\n").unwrap();
    fs::write(folder.path().join("passwords.csv"), "password-1,bob,3\n").unwrap();
    folder
}

type Line<'a> = (&'a str, &'a [u8]);

const FLAGS: [&str; 2] = ["--token-auth-file=tokens.csv", "--basic-auth-file=passwords.csv"];

#[tokio::test]
async fn good_bad_and_no_credentials() {
    let folder = users();
    let server = Server::start(folder.path(), &FLAGS);
    let mut client = server.client().await;
    let cases: [(&[Line<'_>], Result<&str, i32>); 6] = [
        (&[("authorization", b"Bearer token-1")], Ok("alice")),
        (&[("authorization", b"Basic Ym9iOnBhc3N3b3JkLTE=")], Ok("bob")),
        (&[("authorization", b"Bearer token-2")], Err(401)),
        (&[("authorization", b"Basic Ym9iOnBhc3N3b3JkLTI=")], Err(401)),
        (&[("authorization", b"Bearer token-1"), ("authorization", b"Bearer token-1")], Err(401)),
        (&[], Ok("system:anonymous")),
    ];
    for (headers, expected) in cases {
        let response = client.check(get("/", headers)).await.unwrap();
        assert_eq!(verdict(response.get_ref()), expected.map(str::to_owned), "{headers:?}");
    }
}

/// S9 (envoy#35610), S8 (CVE-2023-27488): whatever arrives is answered in a CheckResponse, never by a gRPC error.
#[tokio::test]
async fn malformed_and_missing_attributes_are_denied() {
    let folder = users();
    let server = Server::start(folder.path(), &FLAGS);
    let mut client = server.client().await;
    let http = |method: &str, path: &str| {
        with_http(Some(HttpRequest { method: method.into(), path: path.into(), ..Default::default() }))
    };
    let missing = [
        CheckRequest::default(),
        CheckRequest { attributes: Some(AttributeContext::default()) },
        with_http(None),
        http("", "/"),
        http("GET", ""),
    ];
    for request in missing {
        let response = client.check(request.clone()).await.unwrap();
        assert_eq!(verdict(response.get_ref()), Err(401), "{request:?}");
    }

    // Bytes that are no CheckRequest: an unfinished field, a wrong wire type, random ones.
    for garbage in [&b"\x0a\xff"[..], b"\x08\x01\x0a\x7f\x00", b"\x0b\x0b\x0b", b"\xff\xff\xff\xff\xff\xff"] {
        let mut raw = Grpc::new(server.channel().await);
        raw.ready().await.unwrap();
        let path = http::uri::PathAndQuery::from_static("/envoy.service.auth.v3.Authorization/Check");
        let codec = raw_codec::RawCodec;
        let response = raw.unary(Bytes::from_static(garbage).into_request(), path, codec).await.unwrap();
        let response = <CheckResponse as prost::Message>::decode(response.into_inner()).unwrap();
        assert_eq!(verdict(&response), Err(401), "{garbage:?}");
    }
}

/// S3 (CVE-2026-40575), S10 (CVE-2023-27487, CVE-2024-45806): path, host and method are Envoy's attributes and nothing else.
#[tokio::test]
async fn no_header_changes_the_path_that_is_asked_about() {
    let folder = users();
    let configuration = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n\
                         anonymous: {enabled: true, conditions: [{path: /open}]}\n";
    fs::write(folder.path().join("authn.yaml"), configuration).unwrap();
    let server = Server::start(folder.path(), &[FLAGS[0], "--authentication-config=authn.yaml"]);
    let mut client = server.client().await;
    let names = [
        "x-forwarded-uri",
        "x-forwarded-path",
        "x-original-uri",
        "x-original-url",
        "x-rewrite-url",
        "x-envoy-original-path",
        "x-envoy-decorator-operation",
        ":path",
        "x-forwarded-method",
        "x-forwarded-host",
        "x-http-method-override",
    ];
    for name in names {
        let response = client.check(get("/closed", &[(name, b"/open")])).await.unwrap();
        assert_eq!(verdict(response.get_ref()), Err(401), "{name}");
        let response = client.check(get("/open?x=1", &[(name, b"/closed")])).await.unwrap();
        assert_eq!(verdict(response.get_ref()), Ok("system:anonymous".to_owned()), "{name}");
    }
}

/// S8 (CVE-2023-27488): Envoy's plain encoding writes `!` for what it cannot show; such a token is never believed. With raw
/// headers the same token is what it is.
#[tokio::test]
async fn a_sanitised_token_is_refused_in_the_plain_encoding() {
    let folder = users();
    let server = Server::start(folder.path(), &FLAGS);
    let mut client = server.client().await;
    let raw = client.check(get("/", &[("authorization", b"Bearer t!")])).await.unwrap();
    assert_eq!(verdict(raw.get_ref()), Ok("bang".to_owned()));
    let http = HttpRequest {
        method: "GET".into(),
        path: "/".into(),
        headers: [("authorization".to_owned(), "Bearer t!".to_owned())].into(),
        ..Default::default()
    };
    let plain = client.check(with_http(Some(http))).await.unwrap();
    assert_eq!(verdict(plain.get_ref()), Err(401));
}

/// S36: the client sees one body; the reason is in the log, once for each denial, and no secret beside it.
#[tokio::test]
async fn a_denial_is_explained_in_the_log_and_nowhere_else() {
    let folder = users();
    let mut server = Server::start(folder.path(), &FLAGS);
    let mut client = server.client().await;
    let headers: [(&str, &[u8]); 3] = [
        ("authorization", b"Bearer s3cret-token"),
        ("x-request-id", b"id-1\nforged line"),
        ("cookie", b"session=s3cret-cookie"),
    ];
    client.check(get("/path?key=s3cret-query", &headers)).await.unwrap();
    let event = server.wait_for("denied");
    let expected = serde_json::json!({
        "message": "denied", "request_id": "id-1\nforged line", "rejected": "bearer: invalid_bearer_token",
        "method": "GET", "host": "api.example.test", "path": "/path", "source": "",
    });
    assert_eq!((&event["fields"], &event["level"]), (&expected, &serde_json::json!("INFO")));
    assert!(!server.logged().contains("s3cret"), "{}", server.logged());
}

/// S34: limits on the listener. Envoy's own limits are far below.
#[tokio::test]
async fn a_message_over_the_limit_is_refused_and_the_connection_lives_on() {
    let folder = users();
    let server = Server::start(folder.path(), &[FLAGS[0], "--max-check-request-bytes=65536"]);
    let mut client = server.client().await;
    let large = get("/", &[("authorization", b"Bearer token-1"), ("x", &[b'x'; 70_000])]);
    assert_eq!(verdict(client.check(large).await.unwrap().get_ref()), Err(401));
    let allowed =
        client.check(get("/", &[("authorization", b"Bearer token-1"), ("x", &[b'x'; 50_000])])).await;
    assert_eq!(verdict(allowed.unwrap().get_ref()), Ok("alice".to_owned()));
}

/// S35: a deadline that passes is no verdict. The slow authenticator here verifies a password hash.
#[tokio::test]
async fn envoys_deadline_ends_a_call_without_a_verdict() {
    let folder = users();
    let slow = bcrypt::hash("password-1", 11).unwrap();
    fs::write(folder.path().join("passwords.csv"), format!("{slow},bob,3\n")).unwrap();
    let server = Server::start(folder.path(), &FLAGS);
    let mut client = server.client().await;
    let ask = || get("/", &[("authorization", b"Basic Ym9iOnBhc3N3b3JkLTE=")]);
    let mut hurried = tonic::Request::new(ask());
    hurried.set_timeout(Duration::from_millis(1));
    let status = client.check(hurried).await.unwrap_err();
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");
    let response = client.check(ask()).await.unwrap();
    assert_eq!(verdict(response.get_ref()), Ok("bob".to_owned()), "the next call is not affected");
}

/// Bytes as they are, both ways.
mod raw_codec {
    use prost::bytes::{Buf, BufMut, Bytes};
    use tonic::Status;
    use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

    pub(super) struct RawCodec;

    impl Codec for RawCodec {
        type Encode = Bytes;
        type Decode = Bytes;
        type Encoder = Self;
        type Decoder = Self;

        fn encoder(&mut self) -> Self {
            Self
        }

        fn decoder(&mut self) -> Self {
            Self
        }
    }

    impl Encoder for RawCodec {
        type Item = Bytes;
        type Error = Status;

        fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
            buffer.put(item);
            Ok(())
        }
    }

    impl Decoder for RawCodec {
        type Item = Bytes;
        type Error = Status;

        fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
            Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
        }
    }
}
