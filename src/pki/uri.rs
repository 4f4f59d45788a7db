//! As much of Go's `net/url`, `net` and `net/netip` as decides about a URI in a certificate. All input is ASCII.

use std::net::{Ipv4Addr, Ipv6Addr};

/// The host of a URI, with its port, percent-decoded, empty if it has none; `None` if it is no URI. Go: `url.Parse` (net/url/url.go,
/// `parse`), with the strict colons of Go 1.26, and `URL.Host`.
pub(super) fn host(uri: &[u8]) -> Option<Vec<u8>> {
    let (uri, fragment) = cut(uri, b'#');
    // Go: stringContainsCTLByte; of the fragment only the escapes are looked at.
    if uri.iter().any(u8::is_ascii_control) || !is_escaped(fragment) {
        return None;
    }
    if uri == b"*" {
        return Some(Vec::new());
    }
    let (scheme, rest) = scheme(uri)?;
    let (rest, _query) = cut(rest, b'?');
    if !rest.starts_with(b"/") {
        if !scheme.is_empty() {
            return Some(Vec::new()); // opaque, as in `mailto:`
        }
        // RFC 3986, section 4.2: a relative reference's first segment has no colon.
        if cut(rest, b'/').0.contains(&b':') {
            return None;
        }
    }
    let authority = rest.strip_prefix(b"//").filter(|_| !scheme.is_empty() || !rest.starts_with(b"///"));
    let (host, path) = match authority {
        Some(authority) => {
            let slash = authority.iter().position(|byte| *byte == b'/').unwrap_or(authority.len());
            let (authority, path) = authority.split_at_checked(slash)?;
            (authority_host(scheme, authority)?, path)
        }
        None => (Vec::new(), rest),
    };
    is_escaped(path).then_some(host)
}

/// Go: `getScheme`; `None` for a colon at the very front.
fn scheme(uri: &[u8]) -> Option<(&[u8], &[u8])> {
    for (index, byte) in uri.iter().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if index > 0 => {}
            b':' if index == 0 => return None,
            b':' => return Some(cut(uri, b':')),
            _ => break,
        }
    }
    Some((b"", uri))
}

/// Go: `parseAuthority`, without the user it returns.
fn authority_host(scheme: &[u8], authority: &[u8]) -> Option<Vec<u8>> {
    let Some(at) = authority.iter().rposition(|byte| *byte == b'@') else {
        return parse_host(scheme, authority);
    };
    let host = parse_host(scheme, authority.get(at + 1..)?)?;
    let user = authority.get(..at)?;
    // Go: validUserinfo.
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(byte);
    let (name, password) = cut(user, b':');
    (user.iter().all(allowed) && is_escaped(name) && is_escaped(password)).then_some(host)
}

/// Go: `parseHost`.
fn parse_host(scheme: &[u8], host: &[u8]) -> Option<Vec<u8>> {
    match host.iter().rposition(|byte| *byte == b'[') {
        Some(0) => {}
        Some(_) => return None,
        None => {
            if let Some(first) = host.iter().position(|byte| *byte == b':') {
                let web = scheme.eq_ignore_ascii_case(b"http") || scheme.eq_ignore_ascii_case(b"https");
                let last = host.iter().rposition(|byte| *byte == b':')?;
                if !is_optional_port(host.get(if web { first } else { last }..)?) {
                    return None;
                }
            }
            return unescape(host, false);
        }
    }
    // An IP literal (RFC 3986, section 3.2.2; RFC 6874 for the zone).
    let end = host.iter().rposition(|byte| *byte == b']')?;
    let port = host.get(end + 1..)?;
    let literal = host.get(1..end)?;
    if !is_optional_port(port) {
        return None;
    }
    let zone = literal.windows(3).position(|three| three == b"%25").unwrap_or(literal.len());
    let (address, zone) = literal.split_at_checked(zone)?;
    let literal = [unescape(address, false)?, unescape(zone, true)?].concat();
    if parse_address(&literal)? == Family::V4 {
        return None;
    }
    Some([b"[", &*literal, b"]", port].concat())
}

/// Go: `validOptionalPort`.
fn is_optional_port(port: &[u8]) -> bool {
    port.is_empty() || port.strip_prefix(b":").is_some_and(|digits| digits.iter().all(u8::is_ascii_digit))
}

/// Go: `unescape` for the modes encodeHost and, with `zone`, encodeZone.
fn unescape(text: &[u8], zone: bool) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, behind)) = rest.split_first() {
        if byte != b'%' {
            if !is_host_byte(byte) {
                return None;
            }
            plain.push(byte);
            rest = behind;
            continue;
        }
        let (value, behind) = escape(rest)?;
        // RFC 6874's %25, else only what is not ASCII; in a zone what may stand there unescaped, and a space.
        let allowed =
            value == b'%' || if zone { value == b' ' || is_host_byte(value) } else { value >= 0x80 };
        if !allowed {
            return None;
        }
        plain.push(value);
        rest = behind;
    }
    Some(plain)
}

/// Go: `shouldEscape` for these modes, negated; in its table of encodings they are the same.
fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!\"$&'()*+,-.:;<=>[]_~".contains(&byte)
}

/// Whether every `%` begins an escape.
fn is_escaped(mut text: &[u8]) -> bool {
    while let Some(percent) = text.iter().position(|byte| *byte == b'%') {
        let Some((_, rest)) = text.get(percent..).and_then(escape) else { return false };
        text = rest;
    }
    true
}

/// The byte that the escape in front stands for, and what follows it.
fn escape(text: &[u8]) -> Option<(u8, &[u8])> {
    let ([b'%', high, low], rest) = text.split_first_chunk::<3>()? else { return None };
    let value = char::from(*high).to_digit(16)? * 16 + char::from(*low).to_digit(16)?;
    Some((u8::try_from(value).ok()?, rest))
}

/// What stands before the first `at` and behind it; all and nothing if it is not there. Go: `strings.Cut`.
fn cut(text: &[u8], at: u8) -> (&[u8], &[u8]) {
    match text.iter().position(|byte| *byte == at).and_then(|i| text.split_at_checked(i)) {
        Some((before, behind)) => (before, behind.get(1..).unwrap_or_default()),
        None => (text, b""),
    }
}

/// The kind of an IP address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// `192.0.2.1`
    V4,
    /// `2001:db8::1`
    V6,
    /// `fe80::1%eth0`
    V6WithZone,
}

/// Which kind of IP address a text is, if it is one. Go: `netip.ParseAddr`.
pub(super) fn parse_address(text: &[u8]) -> Option<Family> {
    match text.iter().find(|byte| b".:%".contains(byte))? {
        b'.' => str::from_utf8(text).ok()?.parse::<Ipv4Addr>().ok().map(|_| Family::V4),
        b':' => {
            let zone = text.iter().position(|byte| *byte == b'%');
            let (address, zone) = text.split_at_checked(zone.unwrap_or(text.len()))?;
            str::from_utf8(address).ok()?.parse::<Ipv6Addr>().ok()?;
            match zone {
                [] => Some(Family::V6),
                [_] => None, // an empty zone
                _ => Some(Family::V6WithZone),
            }
        }
        _ => None,
    }
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

    /// Go: urltests and TestParseErrors of net/url/url_test.go, as far as a host comes of it.
    #[test]
    fn hosts_of_uris_are_found_as_go_finds_them() {
        let table: [(&str, Option<&str>); 62] = [
            ("http://www.google.com", Some("www.google.com")),
            ("http://www.google.com/file%20one%26two", Some("www.google.com")),
            ("http://www.google.com/#file%20one%26two", Some("www.google.com")),
            ("ftp://webmaster@www.google.com/", Some("www.google.com")),
            ("ftp://john%20doe@www.google.com/", Some("www.google.com")),
            ("http://www.google.com/?q=foo?bar", Some("www.google.com")),
            ("http://www.google.com/p?q=%zz", Some("www.google.com")),
            ("http:www.google.com/?q=go+language", Some("")),
            ("http:%2f%2fwww.google.com/%zz", Some("")),
            ("mailto:/webmaster@golang.org", Some("")),
            ("mailto:webmaster@golang.org", Some("")),
            ("urn:uuid:a", Some("")),
            ("spiffe://cluster.local/ns/a/sa/b", Some("cluster.local")),
            ("/foo?query=http://bad", Some("")),
            ("//foo", Some("foo")),
            ("///foo", Some("")),
            ("//user@foo/path?a=b", Some("foo")),
            ("///threeslashes", Some("")),
            ("http://user:p%40ss@google.com", Some("google.com")),
            ("http://user:p%4@google.com", None),
            ("http://us%4:1@google.com", None),
            ("http://us\"er@google.com", None),
            ("http://j@ne:password@google.com", Some("google.com")),
            ("HTTP://[fe80::1]:8080/", Some("[fe80::1]:8080")),
            ("http://[fe80::1%25en0]/", Some("[fe80::1%en0]")),
            ("http://[fe80::1%25%65%6e%301-._~]:8080/", Some("[fe80::1%en01-._~]:8080")),
            ("http://[fe80::1%25 x]/", None),
            ("http://[fe80::1%25%20x]/", Some("[fe80::1% x]")),
            ("http://[fe80::1%25]/", None),
            ("http://[fe80::%31]/", None),
            ("http://[fe80::1%0a]/", None),
            ("http://[192.168.0.1]/", None),
            ("http://[::ffff:192.0.2.1]/", Some("[::ffff:192.0.2.1]")),
            ("http://[]/", None),
            ("http://[::bad", None),
            ("http://a[::1]/", None),
            ("http://[::1]a/", None),
            ("http://[::1]:a/", None),
            ("http://[::1]:/", Some("[::1]:")),
            ("http://a]b/", Some("a]b")),
            ("http://host:/", Some("host:")),
            ("http://host:80", Some("host:80")),
            ("http://host:8a", None),
            ("http://::1/", None),
            ("https://a:1:2/", None),
            ("postgresql://a:1,b:2/x", Some("a:1,b:2")),
            ("postgresql://a:x:2/x", Some("a:x:2")),
            ("http://a b.com/", None),
            ("http://a%20b.com/", None),
            ("http://a%25b.com/", Some("a%b.com")),
            ("http://a%2/", None),
            ("http://a/%zz", None),
            ("http://a/%2", None),
            ("http://a/#%zz", None),
            ("http://a/\n", None),
            ("http://a/#\n", Some("a")),
            ("cache_object:foo/bar", None),
            ("1http://a", None),
            (":a", None),
            ("a b", Some("")),
            ("*", Some("")),
            ("", Some("")),
        ];
        for (uri, expected) in table {
            let found = host(uri.as_bytes()).map(|host| String::from_utf8(host).unwrap());
            assert_eq!(found.as_deref(), expected, "{uri:?}");
        }
        assert_eq!(host(b"http://%e4%bd/"), Some(b"\xe4\xbd".to_vec()));
    }

    /// Go: TestParseAddr of net/netip/netip_test.go.
    #[test]
    fn addresses_are_read_as_go_reads_them() {
        use Family::{V4, V6, V6WithZone};
        let table = [
            ("192.168.140.255", Some(V4)),
            ("010.000.015.001", None),
            ("1.2.3", None),
            ("1.2.3.4.5", None),
            ("1.2.3.256", None),
            ("::", Some(V6)),
            ("::1", Some(V6)),
            ("1:2:3:4:5:6:7::", Some(V6)),
            ("::1:2:3:4:5:6:7", Some(V6)),
            ("1:2:3:4:5:6:7:8", Some(V6)),
            ("::ffff:192.168.140.255", Some(V6)),
            ("1:2:3:4:5:6:192.0.2.1", Some(V6)),
            ("fd7a:115c:a1e0:ab12:4843:cd96:626b:430b%eth0", Some(V6WithZone)),
            ("::1%", None),
            ("%eth0", None),
            ("1.2.3.4%eth0", None),
            ("::1:2:3:4:5:6:7:8", None),
            ("1:2:3:4:5:6:7:8::", None),
            ("1::2::3", None),
            ("12345::", None),
            (":1", None),
            ("1:", None),
            ("1:2:3:4:5:6:7:1.2.3.4", None),
            ("::1.2.3.4:5", None),
            ("fe80::gg", None),
            ("localhost", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(parse_address(text.as_bytes()), expected, "{text:?}");
        }
    }

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
