//! As much of Go's `net/url` (1.26, with its strict colons) and `net/netip` as decides about a URL that somebody wrote into a
//! configuration or a certificate. Not for requests: nothing here makes a URL canonical.

use std::net::{Ipv4Addr, Ipv6Addr};

use thiserror::Error;

/// The parts of a URL that a decision was ever made on. Go: `url.URL`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Url {
    /// In lower case; empty if there is none.
    pub scheme: String,
    /// Whether there is a user before the host, be it an empty one.
    pub has_user: bool,
    /// With its port, percent-decoded; empty if there is none, and of what has no `//` behind the scheme (`mailto:a`).
    pub host: Vec<u8>,
    /// As it stands, without the `?`.
    pub query: String,
    /// As it stands, without the `#`.
    pub fragment: String,
}

/// Why a text is no URL. Go: `url.Error` of `url.Parse`, with its words.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("parse {url:?}: {problem}")]
pub struct ParseError {
    /// The text, without its fragment where that is not to blame.
    pub url: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a URL.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Problem {
    /// An ASCII control character before the fragment.
    #[error("net/url: invalid control character in URL")]
    ControlCharacter,
    /// A colon at the very front.
    #[error("missing protocol scheme")]
    NoScheme,
    /// A colon where a scheme would end, but what is before it is none.
    #[error("first path segment in URL cannot contain colon")]
    ColonInFirstSegment,
    /// A character before the `@` that cannot be there.
    #[error("net/url: invalid userinfo")]
    UserInfo,
    /// A `%` without two hexadecimal digits, or an escape that cannot be in a host.
    #[error("invalid URL escape {0:?}")]
    Escape(String),
    /// A character in the host that cannot be there.
    #[error("invalid character {0:?} in host name")]
    HostCharacter(String),
    /// Something else than digits behind the host's colon.
    #[error("invalid port {0:?} after host")]
    Port(String),
    /// A `[` without a `]`.
    #[error("missing ']' in host")]
    NoClosingBracket,
    /// Brackets behind something, or around an IPv4 address.
    #[error("invalid IP-literal")]
    IpLiteral,
    /// Brackets around what is no IP address.
    #[error("invalid host: no IP address in the brackets")]
    NoAddress,
}

/// Reads a URL, absolute or relative. Go: `url.Parse`.
pub fn parse(text: &str) -> Result<Url, ParseError> {
    let error = |url: &str, problem| ParseError { url: url.to_owned(), problem };
    let (before, fragment) = cut(text, '#');
    let url = parse_before_fragment(before).map_err(|problem| error(before, problem))?;
    // Of the fragment only the escapes are looked at.
    check_escapes(fragment).map_err(|problem| error(text, problem))?;
    Ok(Url { fragment: fragment.to_owned(), ..url })
}

/// Go: `parse`.
fn parse_before_fragment(text: &str) -> Result<Url, Problem> {
    if text.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(Problem::ControlCharacter);
    }
    if text == "*" {
        return Ok(Url::default());
    }
    let (scheme, rest) = scheme(text)?;
    let (rest, query) = cut(rest, '?');
    let mut url = Url { scheme: scheme.to_ascii_lowercase(), query: query.to_owned(), ..Url::default() };
    if !rest.starts_with('/') {
        if !scheme.is_empty() {
            return Ok(url); // opaque, as in `mailto:`
        }
        // RFC 3986, section 4.2: a relative reference's first segment has no colon.
        if cut(rest, '/').0.contains(':') {
            return Err(Problem::ColonInFirstSegment);
        }
    }
    let authority = rest.strip_prefix("//").filter(|_| !scheme.is_empty() || !rest.starts_with("///"));
    let path = match authority {
        Some(authority) => {
            let slash = authority.find('/').unwrap_or(authority.len());
            let (authority, path) = authority.split_at(slash);
            (url.has_user, url.host) = parse_authority(&url.scheme, authority)?;
            path
        }
        None => rest,
    };
    check_escapes(path)?;
    Ok(url)
}

/// Go: `getScheme`.
fn scheme(text: &str) -> Result<(&str, &str), Problem> {
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if index > 0 => {}
            b':' if index == 0 => return Err(Problem::NoScheme),
            b':' => return Ok(cut(text, ':')),
            _ => break,
        }
    }
    Ok(("", text))
}

/// Whether there is a user, and the host. Go: `parseAuthority`.
fn parse_authority(scheme: &str, authority: &str) -> Result<(bool, Vec<u8>), Problem> {
    let Some((user, host)) = authority.rsplit_once('@') else {
        return Ok((false, parse_host(scheme, authority)?));
    };
    let host = parse_host(scheme, host)?;
    // Go: validUserinfo.
    if !user.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&byte)) {
        return Err(Problem::UserInfo);
    }
    let (name, password) = cut(user, ':');
    check_escapes(name)?;
    check_escapes(password)?;
    Ok((true, host))
}

/// Go: `parseHost`.
fn parse_host(scheme: &str, host: &str) -> Result<Vec<u8>, Problem> {
    match host.rfind('[') {
        Some(0) => {}
        Some(_) => return Err(Problem::IpLiteral),
        None => {
            // What is in front of the port has no colon on the web; elsewhere it may be a list of hosts with theirs.
            let web = scheme == "http" || scheme == "https";
            if let Some(colon) = if web { host.find(':') } else { host.rfind(':') } {
                check_port(host.split_at(colon).1)?;
            }
            return unescape(host, false);
        }
    }
    // An IP literal (RFC 3986, section 3.2.2; RFC 6874 for the zone).
    let (literal, port) =
        host.strip_prefix('[').unwrap_or(host).rsplit_once(']').ok_or(Problem::NoClosingBracket)?;
    check_port(port)?;
    let zone = literal.find("%25").unwrap_or(literal.len());
    let (address, zone) = literal.split_at(zone);
    let literal = [unescape(address, false)?, unescape(zone, true)?].concat();
    match parse_address(&literal).ok_or(Problem::NoAddress)? {
        Family::V4 => Err(Problem::IpLiteral),
        Family::V6 | Family::V6WithZone => Ok([b"[", &*literal, b"]", port.as_bytes()].concat()),
    }
}

/// Go: `validOptionalPort`.
fn check_port(port: &str) -> Result<(), Problem> {
    let digits = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let good = port.is_empty() || port.strip_prefix(':').is_some_and(digits);
    if good { Ok(()) } else { Err(Problem::Port(port.to_owned())) }
}

/// Go: `unescape` for the modes encodeHost and, with `zone`, encodeZone.
fn unescape(text: &str, zone: bool) -> Result<Vec<u8>, Problem> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if first != '%' {
            if first.is_ascii() && !is_host_character(first) {
                return Err(Problem::HostCharacter(first.to_string()));
            }
            let (character, behind) = rest.split_at(first.len_utf8());
            plain.extend_from_slice(character.as_bytes());
            rest = behind;
            continue;
        }
        let (value, behind) = escape(rest)?;
        // RFC 6874's %25, else only what is not ASCII; in a zone what may stand there unescaped, and a space.
        let allowed = value == b'%'
            || if zone { value == b' ' || is_host_character(char::from(value)) } else { !value.is_ascii() };
        if !allowed {
            return Err(Problem::Escape(rest.chars().take(3).collect()));
        }
        plain.push(value);
        rest = behind;
    }
    Ok(plain)
}

/// Go: `shouldEscape` for these modes, negated; in its table of encodings they are the same.
fn is_host_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "!\"$&'()*+,-.:;<=>[]_~".contains(character)
}

/// Whether every `%` begins an escape.
fn check_escapes(mut text: &str) -> Result<(), Problem> {
    while let Some(percent) = text.find('%') {
        text = escape(text.split_at(percent).1)?.1;
    }
    Ok(())
}

/// The byte that the escape in front stands for, and what follows it.
fn escape(text: &str) -> Result<(u8, &str), Problem> {
    let digit = |index| text.as_bytes().get(index).and_then(|byte| char::from(*byte).to_digit(16));
    let value = digit(1).zip(digit(2)).and_then(|(high, low)| u8::try_from(high * 16 + low).ok());
    let bad = || Problem::Escape(text.chars().take(3).collect());
    value.zip(text.get(3..)).ok_or_else(bad)
}

/// What stands before the first `at` and behind it; all and nothing if it is not there. Go: `strings.Cut`.
fn cut(text: &str, at: char) -> (&str, &str) {
    text.split_once(at).unwrap_or((text, ""))
}

/// The kind of an IP address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `192.0.2.1`
    V4,
    /// `2001:db8::1`
    V6,
    /// `fe80::1%eth0`
    V6WithZone,
}

/// Which kind of IP address a text is, if it is one. Go: `netip.ParseAddr`.
pub fn parse_address(text: &[u8]) -> Option<Family> {
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
            let found = parse(uri).ok().map(|url| String::from_utf8(url.host).unwrap());
            assert_eq!(found.as_deref(), expected, "{uri:?}");
        }
        assert_eq!(parse("http://%e4%bd/").map(|url| url.host), Ok(b"\xe4\xbd".to_vec()));
        assert_eq!(parse("http://\u{4e16}/").map(|url| url.host), Ok("\u{4e16}".as_bytes().to_vec()));
    }

    /// Go: `url.Error` of net/url/url.go.
    #[test]
    fn what_is_no_url_is_refused_in_the_words_of_go() {
        let table = [
            ("ht tp://x:y", "parse \"ht tp://x:y\": first path segment in URL cannot contain colon"),
            ("https://x/%zz", "parse \"https://x/%zz\": invalid URL escape \"%zz\""),
            ("https://x/%2", "parse \"https://x/%2\": invalid URL escape \"%2\""),
            ("https://x/#%zz", "parse \"https://x/#%zz\": invalid URL escape \"%zz\""),
            ("https://x y#a", "parse \"https://x y\": invalid character \" \" in host name"),
            ("https://x:y", "parse \"https://x:y\": invalid port \":y\" after host"),
            ("https://\u{1}", "parse \"https://\\u{1}\": net/url: invalid control character in URL"),
            (":x", "parse \":x\": missing protocol scheme"),
            ("https://a b@x", "parse \"https://a b@x\": net/url: invalid userinfo"),
            ("https://[::1", "parse \"https://[::1\": missing ']' in host"),
            ("https://[1.2.3.4]", "parse \"https://[1.2.3.4]\": invalid IP-literal"),
            ("https://[x]", "parse \"https://[x]\": invalid host: no IP address in the brackets"),
        ];
        for (url, expected) in table {
            assert_eq!(parse(url).map_err(|error| error.to_string()), Err(expected.to_owned()), "{url:?}");
        }
    }

    #[test]
    fn the_parts_of_a_url_are_told_apart() {
        let url = Url {
            scheme: "https".into(),
            has_user: true,
            host: b"x:1".to_vec(),
            query: "a?b".into(),
            fragment: "c#d".into(),
        };
        assert_eq!(parse("HTTPS://@x:1/p?a?b#c#d"), Ok(url));
        let empty = Url { scheme: "https".into(), host: b"x".to_vec(), ..Url::default() };
        assert_eq!(parse("https://x?#"), Ok(empty));
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
}
