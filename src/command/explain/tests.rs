use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse, OkHttpResponse};
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use prost::Message;

use super::curl;
use super::request::{Described, check_request};
use super::*;

/// Method, scheme, host, path and headers of a curl line.
fn line(line: &str) -> Result<(String, Vec<(String, String)>), String> {
    let Described { method, scheme, host, path, headers, certificate } = curl::parse(&curl::words(line)?)?;
    let certificate = certificate.map(|file| format!(" --cert {file}")).unwrap_or_default();
    let headers = headers.into_iter().map(|(name, value)| (name, value.to_string())).collect();
    Ok((format!("{method} {scheme}://{host}{path}{certificate}"), headers))
}

fn ok(request: &str, headers: &[(&str, &str)]) -> Result<(String, Vec<(String, String)>), String> {
    let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Ok((request.to_owned(), headers.collect()))
}

const EXPANDED: &str =
    "the curl line has a $ or ` that a shell would replace; put it after --, so that your shell does";

/// curl(1).
#[test]
fn a_curl_line_is_read_as_curl_reads_it() {
    let bearer = [("authorization", "Bearer t")];
    for (text, expected) in [
        ("curl https://h/p?q#f", ok("GET https://h/p?q", &[])),
        ("h", ok("GET http://h/", &[])),
        ("curl HTTPS://h:8443?q", ok("GET https://h:8443/?q", &[])),
        ("curl -H 'Authorization: Bearer t' https://h/", ok("GET https://h/", &bearer)),
        ("curl -sSkLH 'Authorization: Bearer t' https://h/", ok("GET https://h/", &bearer)),
        ("curl https://h/ \\\n  -H 'Authorization: Bearer t' --compressed", ok("GET https://h/", &bearer)),
        ("curl --oauth2-bearer t --url https://h/", ok("GET https://h/", &bearer)),
        ("curl -XPUT https://h/ -d @body", ok("PUT https://h/", &[])),
        ("curl https://h/ --data-raw '{}' -b a=b", ok("POST https://h/", &[])),
        ("curl -G https://h/ -d a=b", ok("GET https://h/", &[])),
        ("curl -I https://h/", ok("HEAD https://h/", &[])),
        ("curl -u a:b https://h/", ok("GET https://h/", &[("authorization", "Basic YTpi")])),
        ("curl -u 'a:$b' https://h/", ok("GET https://h/", &[("authorization", "Basic YTokYg==")])),
        ("curl -u a:\\$b https://h/", ok("GET https://h/", &[("authorization", "Basic YTokYg==")])),
        ("curl https://a:b%21@h/", ok("GET https://h/", &[("authorization", "Basic YTpiIQ==")])),
        ("curl -u a:b -H 'Authorization: Bearer t' https://h/", ok("GET https://h/", &bearer)),
        ("curl -E client.pem:pass --key k https://h/", ok("GET https://h/ --cert client.pem", &[])),
        ("curl -H Host:\\ other -H 'X-A;' -H 'Accept:' https://h/", ok("GET https://other/", &[("x-a", "")])),
    ] {
        assert_eq!(line(text), expected, "{text}");
    }
}

#[test]
fn what_is_not_understood_in_a_curl_line_is_an_error_that_quotes_no_value() {
    for (text, expected) in [
        ("curl", "the curl line has no URL"),
        ("curl https://a/ https://b/", "curl's line has two URLs; ask about one"),
        ("curl ftp://h/", "the URL is neither http nor https"),
        ("curl https:///p", "the URL has no host"),
        ("curl 'https://h/", "the curl line has a quote that is not closed"),
        ("curl https://h/ -H \"Authorization: Bearer $TOKEN\"", EXPANDED),
        ("curl https://h/ -H $'Authorization: Bearer s3cret'", EXPANDED),
        ("curl https://h/ -u `id`:s3cret", EXPANDED),
        (
            "curl -u s3cret https://h/",
            "curl's -u: has no password, for which curl would ask; write user:password",
        ),
        ("curl https://h/ -H s3cret", "curl's -H: a header without a colon; write 'Name: value'"),
        ("curl https://h/ -H", "curl's -H has no value"),
        (
            "curl --negotiate=s3cret https://h/",
            "curl's --negotiate cannot be read here; leave it out if it does not matter, or describe the request by flags",
        ),
        (
            "curl -Zs https://h/",
            "curl's -Z cannot be read here; leave it out if it does not matter, or describe the request by flags",
        ),
        (
            "curl https://h/a/../b",
            "the URL's path has . or .. in it, which curl takes away; write the path that is sent",
        ),
    ] {
        assert_eq!(line(text), Err(expected.to_owned()), "{text}");
    }
}

/// What Envoy sends with `encode_raw_headers` and `include_peer_certificate`: no key goes along with the certificate.
#[test]
fn a_request_in_flags_becomes_what_envoy_would_send() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("client.pem");
    let (key, certificate) = (
        "-----BEGIN PRIVATE KEY-----\ns3cret\n",
        "-----BEGIN CERTIFICATE-----\r\nYQ==\r\n-----END CERTIFICATE-----\r\n",
    );
    std::fs::write(&file, format!("{key}{certificate}{certificate}")).expect("written");
    let words = [
        "countersign",
        "explain",
        "--method=POST",
        "--path=/p",
        "--host=h",
        "-H",
        "X-A: 1",
        "-H",
        "x-a:2",
        "--context-extension=k=v=w",
        "--cert",
    ];
    let words = words.iter().map(|word| (*word).to_owned()).chain([file.display().to_string()]);
    let matches = crate::command::command().get_matches_from(words);
    let (_, matches) = matches.subcommand().expect("a subcommand");
    let message = CheckRequest::decode(check_request(matches).expect("good")).expect("a message");
    let attributes = message.attributes.expect("attributes");
    assert_eq!(attributes.context_extensions, [("k".to_owned(), "v=w".to_owned())].into());
    let certificate = attributes.source.expect("a source").certificate;
    assert_eq!(certificate, "-----BEGIN%20CERTIFICATE-----%0AYQ%3D%3D%0A-----END%20CERTIFICATE-----%0A");
    let http = attributes.request.and_then(|request| request.http).expect("HTTP");
    assert_eq!([&*http.method, &http.path, &http.host, &http.scheme], ["POST", "/p", "h", "https"]);
    let lines = http.header_map.expect("raw headers").headers.into_iter();
    let lines: Vec<_> =
        lines.map(|h| format!("{}={}", h.key, String::from_utf8_lossy(&h.raw_value))).collect();
    assert_eq!(
        lines,
        [
            ":authority=h",
            ":path=/p",
            ":method=POST",
            ":scheme=https",
            "x-a=1",
            "x-a=2",
            "x-forwarded-proto=https"
        ]
    );
}

/// A Secret that is not filled yet: without a token the answer would be about somebody who presents nothing.
#[test]
fn a_file_without_a_token_is_an_error_and_white_space_around_one_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token").display().to_string();
    let asked = |content: &str| {
        std::fs::write(&file, content).expect("written");
        let words = ["countersign", "explain", "--token-file", &file].map(str::to_owned);
        let matches = crate::command::command().get_matches_from(words);
        let (_, matches) = matches.subcommand().expect("a subcommand");
        let message = CheckRequest::decode(check_request(matches)?).expect("a message");
        let http = message.attributes.and_then(|attributes| attributes.request?.http).expect("HTTP");
        let lines = http.header_map.expect("raw headers").headers.into_iter();
        Ok(lines.filter(|line| line.key == "authorization").map(|line| line.raw_value).collect::<Vec<_>>())
    };
    assert_eq!(asked("t \n"), Ok(vec![b"Bearer t".to_vec()]));
    for nothing in ["", " \n\n"] {
        assert_eq!(asked(nothing), Err(format!("{file}: there is no token in it")));
    }
}

/// With `--groups-encoding=metadata` groups are in no header.
#[test]
fn what_filters_behind_are_told_is_part_of_the_reply() {
    let value = Value { kind: Some(Kind::StringValue("dev\n".to_owned())) };
    let reply = CheckResponse {
        dynamic_metadata: Some(Struct { fields: [("countersign".to_owned(), value)].into() }),
        http_response: Some(HttpResponse::OkResponse(OkHttpResponse::default())),
        ..CheckResponse::default()
    };
    let response = ExplainResponse {
        verdict: Verdict::Allowed.into(),
        check_response: Some(reply),
        ..ExplainResponse::default()
    };
    let expected = "ALLOWED\n\n\nwhat Envoy would do\n  forward the request with\n  and tell the filters behind it, as dynamic \
                    metadata\n    countersign: \"dev\\n\"\n";
    assert_eq!(print::text(&response), expected);
}

/// An issuer may name a user, and anybody a claim, so that a terminal would do something.
#[test]
fn nothing_of_a_token_reaches_the_terminal_as_a_control_character() {
    assert_eq!(plain("a\u{1b}[2J\u{202e}\n\"é"), "a\\u{1b}[2J\\u{202e}\\n\"é");
}
