//! `deploy/envoy/identity_lines.lua` with metadata that the test writes itself: extras and awkward values, which
//! no token file can hold.

use tempfile::TempDir;

use crate::support::{Config, Envoy, Upstream};

/// The shipped wiring with a filter in place of ext_authz that sets this metadata for every request.
async fn envoy_with(metadata: &str, upstream: &Upstream) -> (Envoy, TempDir) {
    let shipped = Config::shipped().with_lua().without_early_defences().application(upstream.port);
    let directory = tempfile::tempdir().unwrap();
    let envoy = Envoy::start(directory.path(), &shipped.with_metadata_in_place_of_ext_authz(metadata)).await;
    (envoy, directory)
}

/// Go: `headerKeyEscape`, TestAuthProxyRoundTripper and TestHeaderEscapeRoundTrip in client-go/transport; the reader's side is
/// `unescapeExtraKey` in requestheader.go. Envoy lower-cases the hexadecimal digits, which the reader accepts.
#[tokio::test]
async fn every_group_and_extra_value_becomes_a_line_of_its_own() {
    let upstream = Upstream::start().await;
    let metadata = r#"{
        "username": "alice",
        "groups": ["a,b", "", "größe", "with space", "a,b"],
        "extra": {
            "example.com/Project Name": ["x,y", "z", ""],
            "100%": ["percent"],
            "größe": ["utf-8"],
            "!#$&'*+-.^_`|~09aZ": ["token"],
            "(),:;<=>?@[]{}": ["separators"],
            "": ["nameless"]
        }
    }"#;
    let (envoy, _directory) = envoy_with(&format!(r#"{{"countersign": {metadata}}}"#), &upstream).await;
    let spoofs =
        ["x-remote-group: system:masters", "x_remote_group: system:masters", "x-remote-extra-100%25: spoof"];
    let response = envoy.edge.http1(&spoofs).await;
    let mut lines = response.forwarded();
    lines.retain(|line| !line.starts_with("x-remote-group: "));
    lines.sort_unstable();
    assert_eq!(
        lines,
        [
            "x-remote-extra-!#$&'*+-.^_`|~09az: token",
            "x-remote-extra-%28%29%2c%3a%3b%3c%3d%3e%3f%40%5b%5d%7b%7d: separators",
            "x-remote-extra-100%25: percent",
            "x-remote-extra-: nameless",
            "x-remote-extra-example.com%2fproject%20name: ",
            "x-remote-extra-example.com%2fproject%20name: x,y",
            "x-remote-extra-example.com%2fproject%20name: z",
            "x-remote-extra-gr%c3%b6%c3%9fe: utf-8",
        ]
    );
    let groups: Vec<&str> =
        response.forwarded().into_iter().filter(|line| line.starts_with("x-remote-group: ")).collect();
    assert_eq!(
        groups,
        ["x-remote-group: a,b", "x-remote-group: größe", "x-remote-group: with space", "x-remote-group: a,b"]
    );
}

#[tokio::test]
async fn without_an_identity_in_the_metadata_no_group_or_extra_is_left() {
    let upstream = Upstream::start().await;
    for metadata in [r#"{"other": {"groups": ["evil"]}}"#, r#"{"countersign": {"username": "alice"}}"#] {
        let (envoy, _directory) = envoy_with(metadata, &upstream).await;
        let lines = [
            "X-Remote-Group: system:masters",
            "x-remote-group: system:nodes",
            "x_remote_group: system:masters",
            "X-Remote-Extra-Foo: bar",
            "X_Remote_Extra_Foo: bar",
            "x-other: kept",
        ];
        assert_eq!(envoy.edge.http1(&lines).await.forwarded(), ["x-other: kept"], "{metadata}");
    }
}
