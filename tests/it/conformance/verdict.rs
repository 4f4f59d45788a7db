//! The readers can fail: tests of the verdicts' reader and of the requests' maker.

use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::HttpRequest;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckResponse, DeniedHttpResponse, OkHttpResponse};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::protobuf::{BoolValue, Struct, Value, value::Kind};
use envoy_types::pb::google::rpc::Status;

use crate::support::envoy::{Encoding, Request, check_request};
use crate::support::verdict::{User, Verdict, read};

fn request(headers: &[(&str, &[u8])]) -> Request {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
    Request { method: "GET".into(), path: "/p?q".into(), headers, certificates: Vec::new(), key: None }
}

#[expect(deprecated, reason = "Envoy reads `append` for headers of an OK answer")]
fn replacing(key: &str, value: &str) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: key.into(), value: value.into(), raw_value: Vec::new() }),
        append: Some(BoolValue { value: false }),
        append_action: 2,
        keep_empty_value: false,
    }
}

fn object(members: &[(&str, Kind)]) -> Kind {
    let fields = members.iter().map(|(key, kind)| ((*key).to_owned(), Value { kind: Some(kind.clone()) }));
    Kind::StructValue(Struct { fields: fields.collect() })
}

/// What a good server says of alice, to be spoilt by the tests.
fn alice(spoil: impl FnOnce(&mut OkHttpResponse)) -> CheckResponse {
    let user =
        object(&[("username", Kind::StringValue("alice".into())), ("uid", Kind::StringValue("7".into()))]);
    let Kind::StructValue(metadata) = object(&[("countersign", user)]) else { unreachable!() };
    let mut ok = OkHttpResponse {
        headers: vec![replacing("x-remote-user", "alice"), replacing("X-Remote-Uid", "7")],
        headers_to_remove: vec!["authorization".into()],
        ..OkHttpResponse::default()
    };
    spoil(&mut ok);
    CheckResponse {
        status: Some(Status::default()),
        dynamic_metadata: Some(metadata),
        http_response: Some(HttpResponse::OkResponse(ok)),
    }
}

fn denied(code: i32, status: i32) -> CheckResponse {
    let denied =
        DeniedHttpResponse { status: Some(HttpStatus { code: status }), ..DeniedHttpResponse::default() };
    CheckResponse {
        status: Some(Status { code, ..Status::default() }),
        dynamic_metadata: None,
        http_response: Some(HttpResponse::DeniedResponse(denied)),
    }
}

#[test]
fn a_good_reply_is_read() {
    let user = User { username: "alice".into(), uid: "7".into(), ..User::default() };
    assert_eq!(read(&alice(|_| ()), &request(&[])), Ok(Verdict::Authenticated(user)));
    assert_eq!(read(&denied(16, 401), &request(&[])), Ok(Verdict::Refused));
}

/// Envoy lets a request through when the status is 0 or unset, whatever else the reply says.
#[test]
fn a_reply_that_envoy_could_misread_is_no_verdict() {
    for response in [CheckResponse::default(), denied(0, 401), denied(7, 401), denied(16, 403), denied(16, 0)]
    {
        assert!(read(&response, &request(&[])).is_err(), "{response:?}");
    }
    let refused_with_user =
        CheckResponse { dynamic_metadata: alice(|_| ()).dynamic_metadata, ..denied(16, 401) };
    assert!(read(&refused_with_user, &request(&[])).is_err());
    let without_metadata = CheckResponse { dynamic_metadata: None, ..alice(|_| ()) };
    assert!(read(&without_metadata, &request(&[])).is_err());
}

#[test]
#[expect(deprecated, reason = "Envoy reads `append` for headers of an OK answer")]
fn headers_that_differ_from_the_metadata_are_no_verdict() {
    let spoilt: [fn(&mut OkHttpResponse); 8] = [
        |ok| ok.headers.clear(),
        |ok| drop(ok.headers.pop()),
        |ok| ok.headers[0] = replacing("x-remote-user", "bob"),
        |ok| ok.headers.push(replacing("x-remote-user", "alice")),
        |ok| ok.headers.push(replacing("x-remote-group", "dev")),
        |ok| ok.headers[0].append = None,
        |ok| ok.headers[0].append_action = 0,
        |ok| ok.headers.push(replacing("sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.dA")),
    ];
    for (index, spoil) in spoilt.into_iter().enumerate() {
        assert!(read(&alice(spoil), &request(&[])).is_err(), "{index}");
    }
}

/// S2 (CVE-2025-64484), S13 and S16: whatever could be taken for an identity goes, in every spelling.
#[test]
fn a_reply_that_lets_the_clients_own_identity_through_is_no_verdict() {
    for name in ["X-Remote-Group", "x_remote_user", "X-Remote-Extra-a", "Impersonate-User"] {
        let request = request(&[(name, b"x")]);
        assert!(read(&alice(|_| ()), &request).is_err(), "{name}");
        assert!(read(&alice(|ok| ok.headers_to_remove.push(name.into())), &request).is_ok(), "{name}");
    }
    assert!(read(&alice(|ok| ok.headers_to_remove.clear()), &request(&[])).is_err(), "authorization");
    let both = alice(|ok| ok.headers_to_remove.push("x-remote-user".into()));
    assert!(read(&both, &request(&[("X-Remote-User", b"x")])).is_err(), "Envoy removes last");
}

fn http(request: &Request, encoding: Encoding) -> HttpRequest {
    check_request(request, encoding).attributes.unwrap().request.unwrap().http.unwrap()
}

fn lines(map: &HeaderMap, name: &str) -> Vec<Vec<u8>> {
    map.headers.iter().filter(|header| header.key == name).map(|header| header.raw_value.clone()).collect()
}

#[test]
fn requests_are_encoded_as_envoy_encodes_them() {
    let twice: [(&str, &[u8]); 4] = [
        ("Authorization", b" Bearer a\t"),
        ("authorization", b"Bearer \xff\xfe"),
        ("X-A", b"1, 2"),
        ("x-a", b"3"),
    ];
    let request = request(&twice);

    let lone = http(&request, Encoding::Lines).header_map.unwrap();
    assert_eq!(lines(&lone, "authorization"), [&b"Bearer a"[..], b"Bearer \xff\xfe"]);
    assert_eq!(lines(&lone, ":path"), [b"/p?q"]);

    let raw = http(&request, Encoding::Raw).header_map.unwrap();
    assert_eq!(lines(&raw, "authorization"), [b"Bearer a,Bearer \xff\xfe"]);
    assert_eq!(lines(&raw, "x-a"), [&b"1, 2"[..], b"3"]);

    let joined = http(&request, Encoding::Joined);
    assert_eq!(joined.header_map, None);
    assert_eq!(joined.headers["authorization"], "Bearer a,Bearer !!");
    assert_eq!(joined.headers["x-a"], "1, 2,3");
    assert_eq!(joined.headers[":method"], "GET");
    assert_eq!(joined.path, "/p?q");
}
