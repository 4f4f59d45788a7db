//! Bodies as Go writes and reads them.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

/// A line of testdata/review.jsonl: what `scheme.Codecs.LegacyCodec(authentication.k8s.io/v1).Decode` of client-go 0.36.3 makes of a body.
#[derive(Deserialize)]
struct Decoded {
    body: String,
    status: Option<Recorded>,
}

#[derive(Deserialize)]
struct Recorded {
    authenticated: bool,
    username: String,
    uid: String,
    groups: Vec<String>,
    extra: Option<BTreeMap<String, Option<Vec<String>>>>,
    audiences: Vec<String>,
    error: String,
}

impl From<Recorded> for Status {
    fn from(recorded: Recorded) -> Self {
        let Recorded { authenticated, username, uid, groups, extra, audiences, error } = recorded;
        let extra =
            extra.unwrap_or_default().into_iter().map(|(key, values)| (key, values.unwrap_or_default()));
        Self {
            authenticated,
            user: UserInfo { username, uid, groups, extra: extra.collect() },
            audiences,
            error,
        }
    }
}

/// Bodies that Go reads and we do not: to Go they are reviews in which nothing stands.
const EMPTY: [&str; 3] = ["", " ", "null"];

#[test]
fn an_answer_is_read_as_client_go_reads_it() {
    let (mut stricter, mut problems) = (Vec::new(), Vec::new());
    for line in include_str!("../testdata/review.jsonl").lines() {
        let Decoded { body, status: theirs } = serde_json::from_str(line).unwrap();
        let theirs = theirs.map(Status::from);
        match (status(Version::V1, body.as_bytes()).ok(), theirs) {
            (None, Some(_)) => stricter.push(body),
            (ours, theirs) if ours != theirs => problems.push(format!("{body}: {ours:?}, not {theirs:?}")),
            _ => {}
        }
    }
    assert_eq!(problems, [""; 0]);
    assert_eq!(stricter, EMPTY);
}

/// Go: `v1beta1` is a group version like any other, and no version is converted into another.
#[test]
fn each_version_reads_its_own() {
    let body =
        |version: Version| format!(r#"{{"apiVersion":"{}","kind":"TokenReview"}}"#, version.api_version());
    for (ours, theirs) in [(Version::V1, Version::V1beta1), (Version::V1beta1, Version::V1)] {
        assert_eq!(status(ours, body(ours).as_bytes()), Ok(Status::default()));
        assert_eq!(status(ours, body(theirs).as_bytes()), Err(Malformed));
    }
}

/// Go: `appendString` of encoding/json/encode.go: what is not UTF-8 is sent as U+FFFD, byte by byte.
#[test]
fn a_token_is_sent_as_go_sends_it() {
    let sent = |token: &[u8]| {
        let body = request(Version::V1, Token::new(token), &[]);
        let review: serde_json::Value = serde_json::from_slice(&body).unwrap();
        review["spec"]["token"].as_str().unwrap().to_owned()
    };
    for token in ["t", "a\"b\\c\n<&>\u{2028}", "\u{e9}\u{1f600}", "\0"] {
        assert_eq!(sent(token.as_bytes()), token);
    }
    assert_eq!(sent(b"a\xffb"), "a\u{fffd}b");
    assert_eq!(sent(b"\xf0\x9f\x98"), "\u{fffd}\u{fffd}\u{fffd}");
    assert_eq!(sent(b"\xed\xa0\x80"), "\u{fffd}\u{fffd}\u{fffd}", "half a pair");
    assert_eq!(sent(b""), "");
}
