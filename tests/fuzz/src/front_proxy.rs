//! The headers of a front proxy, its percent-decoding of extra keys among them: names and values are arbitrary, the proxy is good.
#![no_main]

mod common;

use std::sync::LazyLock;

use common::{Lines, Pki, finish, now, request};
use countersign::authn::{AuthenticateRequest, Outcome, RequestHeader, RequestHeaderNames};
use countersign::request::Encoding;
use libfuzzer_sys::fuzz_target;

struct World {
    pki: Pki,
    authenticator: RequestHeader,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let pki = Pki::new();
    let names = RequestHeaderNames {
        username: vec!["x-remote-user".to_owned(), "x-user".to_owned()],
        uid: vec!["x-remote-uid".to_owned()],
        group: vec!["x-remote-group".to_owned(), "x-group".to_owned()],
        extra_prefix: vec!["x-remote-extra-".to_owned(), "x-".to_owned()],
    };
    let authenticator = RequestHeader::new(pki.certificates(0), vec!["client".into()], names);
    World { pki, authenticator }
});

// Lines of `name: value`.
fuzz_target!(|data: &[u8]| {
    let line = |line: &[u8]| {
        let colon = line.iter().position(|b| *b == b':').unwrap_or(line.len());
        (line[..colon].to_ascii_lowercase(), line.get(colon + 1..).unwrap_or_default().to_vec())
    };
    let (lines, none) = (Lines(data.split(|b| *b == b'\n').map(line).collect()), Lines(Vec::new()));
    for encoding in [Encoding::Raw, Encoding::Joined] {
        let good = request(&lines, &none, encoding, &WORLD.pki.client);
        if let Outcome::Authenticated(authenticated) = finish(WORLD.authenticator.authenticate(&good, now()))
        {
            let user = authenticated.identity.username.as_bytes();
            assert!(lines.0.iter().any(|(_, value)| value == user), "the name is one that a header has");
        }
        let nobody = request(&lines, &none, encoding, b"");
        assert_eq!(finish(WORLD.authenticator.authenticate(&nobody, now())), Outcome::NoOpinion);
    }
});
