//! An identity as header lines, as client-go's front-proxy transport writes it (k8s.io/client-go/transport
//! `SetAuthProxyHeaders`), or its impersonating one (`impersonatingRoundTripper`), as far as Envoy lets us.

use std::borrow::Cow;
use std::fmt::Write;

use bstr::ByteSlice;

use crate::authn::without_token_protocol;
use crate::config::{GroupsEncoding, ReplyConfig};
use crate::decision::Reason;
use crate::identity::{ALL_UNAUTHENTICATED, ANONYMOUS, Identity};
use crate::request::Headers;

/// A user, a uid, groups and a few facts.
const USUAL_LINES: usize = 8;

/// Name, in lower case, and value. No name occurs twice.
pub(super) type Line<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The lines that carry `identity`.
pub(super) fn lines<'a>(identity: &'a Identity, config: &'a ReplyConfig) -> Result<Vec<Line<'a>>, Reason> {
    let names = &config.headers;
    // An upstream cannot tell an empty name from none.
    if identity.username.is_empty() {
        return Err(Reason::UnsafeIdentityValue);
    }
    let mut lines = Vec::with_capacity(USUAL_LINES);
    lines.push((names.user.as_str().into(), safe(&identity.username)?.into()));
    if !identity.uid.is_empty() {
        lines.push((names.uid.as_str().into(), safe(&identity.uid)?.into()));
    }
    let encoding = config.groups_encoding;
    values(&mut lines, encoding, identity.groups(), |n| indexed_group(&names.group, n))?;
    for (key, extra) in identity.extra.iter() {
        // Lua would read the name of a field of the metadata up to there.
        if encoding == GroupsEncoding::Metadata && key.contains('\0') {
            return Err(Reason::UnsafeIdentityValue);
        }
        values(&mut lines, encoding, extra, |n| extra_name(&names.extra_prefix, n, key).into())?;
    }
    if config.impersonation.is_some() {
        // Its groups are in the metadata. kube-apiserver gives some to whoever comes without any; should the Lua filter be missing, which
        // puts them in the place of this one, the user is in none but this, which everybody is in who has no credential.
        lines.push((names.group.as_str().into(), ALL_UNAUTHENTICATED.into()));
        // This it would add.
        if *identity.username == *ANONYMOUS && identity.groups().all(|group| group != ALL_UNAUTHENTICATED) {
            return Err(Reason::UnsafeIdentityValue);
        }
    }
    all_different(&lines)?;
    Ok(lines)
}

/// Adds the lines of a header with several values; `name` gives the name of the line with a number.
fn values<'a>(
    lines: &mut Vec<Line<'a>>,
    encoding: GroupsEncoding,
    values: impl Iterator<Item = &'a str>,
    name: impl Fn(usize) -> Cow<'a, str>,
) -> Result<(), Reason> {
    // kube-apiserver's reader drops empty groups, so they are not sent.
    let mut values = values.filter(|value| !value.is_empty()).map(safe);
    match encoding {
        GroupsEncoding::Metadata => values.try_for_each(|value| value.map(drop))?,
        GroupsEncoding::Joined => lines.extend(joined(values)?.map(|joined| (name(0), joined))),
        GroupsEncoding::Indexed => {
            for (n, value) in values.enumerate() {
                lines.push((name(n), value?.into()));
            }
        }
    }
    Ok(())
}

/// The values in one line, if there are any. One is not copied.
fn joined<'a>(values: impl Iterator<Item = Result<&'a str, Reason>>) -> Result<Option<Cow<'a, str>>, Reason> {
    let mut joined: Option<Cow<'a, str>> = None;
    for value in values {
        let value = value?;
        // Whoever splits the line at its commas would see two values in one.
        if value.contains(',') {
            return Err(Reason::UnsafeIdentityValue);
        }
        match &mut joined {
            None => joined = Some(value.into()),
            Some(joined) => joined.to_mut().extend([",", value]),
        }
    }
    Ok(joined)
}

/// Of two lines of one name Envoy would keep the second alone: extra keys that differ in case only, for one.
fn all_different(lines: &[Line<'_>]) -> Result<(), Reason> {
    let mut names: Vec<&str> = lines.iter().map(|(name, _)| &**name).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) { Err(Reason::UnsafeIdentityValue) } else { Ok(()) }
}

/// `x-remote-group`, `x-remote-group-1`, …: kube-apiserver reads them with
/// `--requestheader-group-headers=X-Remote-Group,X-Remote-Group-1,…`.
fn indexed_group(name: &str, index: usize) -> Cow<'_, str> {
    if index == 0 { name.into() } else { format!("{name}-{index}").into() }
}

/// `x-remote-extra-`, `x-remote-extra1-`, … and the key: kube-apiserver reads them with
/// `--requestheader-extra-headers-prefix=X-Remote-Extra-,X-Remote-Extra1-,…`, and the key stays the key. (An index behind the
/// key could not be told from a key that ends so.)
fn extra_name(prefix: &str, index: usize, key: &str) -> String {
    let mut name = String::with_capacity(prefix.len() + key.len() + USUALLY_ESCAPED);
    if index == 0 {
        name.push_str(prefix);
    } else {
        let _infallible = write!(name, "{}{index}-", prefix.trim_end_matches('-'));
    }
    if key.bytes().any(|byte| byte.is_ascii_uppercase() || !byte.is_ascii()) {
        escape(&mut name, &key.to_lowercase());
    } else {
        escape(&mut name, key);
    }
    name
}

/// What the slash in `authentication.kubernetes.io/…` comes to.
const USUALLY_ESCAPED: usize = 2;

/// A request without the token among its websocket subprotocols: a line to set, or a name to remove where nothing is left.
pub(super) fn without_token(
    sent: &Headers<'_>,
) -> Result<(Option<Line<'static>>, Option<&'static str>), Reason> {
    const NAME: &str = "sec-websocket-protocol";
    match without_token_protocol(sent) {
        None => Ok((None, None)),
        Some(nothing) if nothing.is_empty() => Ok((None, Some(NAME))),
        Some(others) => {
            let others = others.to_str().map_err(|_| Reason::MalformedHeader)?;
            let others = safe(others.trim()).map_err(|_| Reason::MalformedHeader)?;
            Ok((Some((NAME.into(), others.to_owned().into())), None))
        }
    }
}

/// A value that arrives as it was sent: control characters would be refused or, worse, split the message (CVE-2023-27493), and
/// white space at the edges is trimmed on the way, which makes it another value.
fn safe(value: &str) -> Result<&str, Reason> {
    // Nearly always, and quick to see.
    if value.bytes().fold(true, |graphic, byte| graphic & byte.is_ascii_graphic()) {
        return Ok(value);
    }
    let edge = |c: Option<char>| c.is_some_and(char::is_whitespace);
    let edges = edge(value.chars().next()) || edge(value.chars().next_back());
    if edges || value.chars().any(char::is_control) { Err(Reason::UnsafeIdentityValue) } else { Ok(value) }
}

/// client-go's `headerKeyEscape`: every byte that is no token character (RFC 7230, section 3.2.6), and `%`, becomes `%xx`. The
/// digits are in lower case, as everything in a header name is behind Envoy.
fn escape(name: &mut String, key: &str) {
    for byte in key.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => name.push(char::from(byte)),
            b'!' | b'#' | b'$' | b'&' | b'\'' | b'*' | b'+' | b'^' | b'`' | b'|' | b'~' => {
                name.push(char::from(byte));
            }
            _ => {
                let _infallible = write!(name, "%{byte:02x}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Go: TestHeaderEscapeRoundTrip (client-go/transport/round_trippers_test.go).
    #[test]
    fn extra_keys_are_escaped_as_client_go_escapes_them() {
        let table = [
            ("alpha", "alpha"),
            ("alpha with spaces", "alpha%20with%20spaces"),
            ("hello*world", "hello*world"),
            ("example.com/project", "example.com%2fproject"),
            ("100%", "100%25"),
            ("a:b", "a%3ab"),
            ("ü", "%c3%bc"),
            ("x\0y", "x%00y"),
            ("", ""),
        ];
        for (key, expected) in table {
            let mut name = String::new();
            escape(&mut name, key);
            assert_eq!(name, expected);
        }
    }

    /// S11 (CVE-2023-27493, grpc-go#9286).
    #[test]
    fn what_would_not_arrive_as_it_is_does_not_leave() {
        for unsafe_value in
            ["a\r\nb", "a\nb", "a\0b", "a\tb", "a\u{7f}", "\u{85}a", " a", "a ", "\u{a0}a", "a\u{2003}"]
        {
            assert_eq!(safe(unsafe_value), Err(Reason::UnsafeIdentityValue), "{unsafe_value:?}");
        }
        for safe_value in ["a", "a b", "quoted, user", "grüppe", "команда", "a\u{a0}b"] {
            assert_eq!(safe(safe_value), Ok(safe_value));
        }
    }
}
