//! As much of Go's `net/url` and `net` as decides about a URI in a certificate. All input is ASCII.

use crate::url;

pub(super) use crate::url::{Family, parse_address};

/// The host of a URI, with its port, percent-decoded, empty if it has none; `None` if it is no URI.
pub(super) fn host(uri: &[u8]) -> Option<Vec<u8>> {
    url::parse(str::from_utf8(uri).ok()?).ok().map(|url| url.host)
}

/// The host of `host:port`. Go: `net.SplitHostPort`.
pub(super) fn without_port(text: &[u8]) -> Option<&[u8]> {
    let colon = text.iter().rposition(|byte| *byte == b':')?;
    let bracket = |text: &[u8], which: u8| text.contains(&which);
    if let Some(literal) = text.strip_prefix(b"[") {
        // The first `]` stands just before the last `:`.
        let end = literal.iter().position(|byte| *byte == b']')?;
        let (host, port) = (literal.get(..end)?, text.get(colon..)?);
        let good = end + 2 == colon && !bracket(literal, b'[') && !bracket(port, b']');
        return good.then_some(host);
    }
    let host = text.get(..colon)?;
    (!host.contains(&b':') && !bracket(text, b'[') && !bracket(text, b']')).then_some(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Go: TestSplitHostPort of net/ip_test.go.
    #[test]
    fn ports_are_split_off_as_go_splits_them_off() {
        let table: [(&str, Option<&str>); 16] = [
            ("localhost:http", Some("localhost")),
            ("localhost:80", Some("localhost")),
            ("[::1]:80", Some("::1")),
            ("[fe80::1%lo0]:80", Some("fe80::1%lo0")),
            (":", Some("")),
            ("golang.org:", Some("golang.org")),
            ("golang.org", None),
            ("127.0.0.1", None),
            ("[::1]", None),
            ("::1", None),
            ("a:b:80", None),
            ("[a][b]:80", None),
            ("[a]:b:80", None),
            ("[foo[bar]:80", None),
            ("[foo]:]bar", None),
            ("foo]bar:80", None),
        ];
        for (text, expected) in table {
            assert_eq!(without_port(text.as_bytes()), expected.map(str::as_bytes), "{text:?}");
        }
    }
}
