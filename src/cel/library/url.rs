//! URLs. Go: k8s.io/apiserver/pkg/cel/library/urls.go, over package `net/url`.

use std::fmt::Write;
use std::net::Ipv6Addr;
use std::sync::Arc;

use super::super::evaluate::{Error, Evaluated, Meter};
use super::super::value::{Entries, Map, Text, Val};
use super::{Run, first, text};

/// Parameters that a query may have. Go: `urlParamsWithinMax`.
const MAX_PARAMETERS: usize = 10_000;

/// A URL that may be in a request: absolute, or an absolute path.
#[derive(Debug)]
pub(in super::super) struct Url {
    scheme: String,
    opaque: String,
    user: Option<(Vec<u8>, Option<Vec<u8>>)>,
    host: String,
    omit_host: bool,
    path: Vec<u8>,
    escaped_path: String,
    query: Option<String>,
    fragment: Option<(Vec<u8>, String)>,
}

/// Where a character stands, which decides whether it is written as it is. Go: `encoding`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Path,
    Host,
    Zone,
    UserPassword,
    Query,
    Fragment,
}

fn should_escape(byte: u8, place: Place) -> bool {
    match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => false,
        b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'[' | b']'
        | b'<' | b'>' | b'"'
            if matches!(place, Place::Host | Place::Zone) =>
        {
            false
        }
        b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'?' | b'@' => match place {
            Place::Path => byte == b'?',
            Place::UserPassword => matches!(byte, b'@' | b'/' | b'?' | b':'),
            Place::Query => true,
            Place::Fragment => false,
            Place::Host | Place::Zone => true,
        },
        b'!' | b'(' | b')' | b'*' => place != Place::Fragment,
        _ => true,
    }
}

/// Go: `escape`.
fn escape(bytes: &[u8], place: Place) -> String {
    let mut escaped = String::with_capacity(bytes.len());
    for byte in bytes {
        if should_escape(*byte, place) {
            let _ = write!(escaped, "%{byte:02X}");
        } else {
            escaped.push(char::from(*byte));
        }
    }
    escaped
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Go: `unescape`.
fn unescape(text: &str, place: Place) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        match byte {
            b'%' => {
                let [high, low, after @ ..] = rest else { return None };
                let (high, low) = (hex(*high)?, hex(*low)?);
                let value = high << 4 | low;
                let percent = value == b'%';
                let refused = match place {
                    Place::Host => high < 8 && !percent,
                    Place::Zone => !percent && value != b' ' && should_escape(value, Place::Host),
                    _ => false,
                };
                if refused {
                    return None;
                }
                bytes.push(value);
                rest = after;
            }
            b'+' if place == Place::Query => bytes.push(b' '),
            byte => {
                let host = matches!(place, Place::Host | Place::Zone);
                if host && byte.is_ascii() && should_escape(*byte, place) {
                    return None;
                }
                bytes.push(*byte);
            }
        }
    }
    Some(bytes)
}

impl Url {
    /// A URL that `ParseRequestURI` and then `Parse` take.
    fn parse(text: &str) -> Option<Self> {
        parse(text, true)?;
        let (text, fragment) = text.split_once('#').unwrap_or((text, ""));
        let mut url = parse(text, false)?;
        if !fragment.is_empty() {
            url.fragment = Some((unescape(fragment, Place::Fragment)?, fragment.to_owned()));
        }
        Some(url)
    }

    /// Go: `ParseRequestURI`.
    pub(super) fn is_request_uri(text: &str) -> bool {
        parse(text, true).is_some()
    }

    /// Go: `URL.String`.
    pub(in super::super) fn text(&self) -> String {
        let mut text = String::new();
        if !self.scheme.is_empty() {
            text.push_str(&self.scheme);
            text.push(':');
        }
        if self.opaque.is_empty() {
            let bare = self.host.is_empty() && self.user.is_none();
            if !bare || !(self.scheme.is_empty() || self.omit_host) {
                if !bare || !self.path.is_empty() {
                    text.push_str("//");
                }
                if let Some((name, password)) = &self.user {
                    text.push_str(&escape(name, Place::UserPassword));
                    if let Some(password) = password {
                        text.push(':');
                        text.push_str(&escape(password, Place::UserPassword));
                    }
                    text.push('@');
                }
                text.push_str(&escape(self.host.as_bytes(), Place::Host));
            }
            text.push_str(&self.escaped_path());
        } else {
            text.push_str(&self.opaque);
        }
        if let Some(query) = &self.query {
            text.push('?');
            text.push_str(query);
        }
        if let Some((fragment, written)) = &self.fragment {
            text.push('#');
            text.push_str(&as_written(fragment, written, Place::Fragment));
        }
        text
    }

    /// Go: `URL.EscapedPath`.
    fn escaped_path(&self) -> String {
        if self.path == b"*" {
            return "*".to_owned();
        }
        as_written(&self.path, &self.escaped_path, Place::Path)
    }

    /// Go: `splitHostPort`.
    fn host_and_port(&self) -> (&str, &str) {
        let (host, port) = match self.host.rfind(':') {
            Some(colon) if valid_optional_port(&self.host[colon..]) => {
                (&self.host[..colon], &self.host[colon + 1..])
            }
            _ => (&*self.host, ""),
        };
        (host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host), port)
    }
}

/// As it came, if that is a way to write it.
fn as_written(bytes: &[u8], written: &str, place: Place) -> String {
    let valid = written.bytes().all(|byte| {
        matches!(
            byte,
            b'!' | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b':'
                | b'@'
                | b'['
                | b']'
                | b'%'
        ) || !should_escape(byte, place)
    });
    if valid { written.to_owned() } else { escape(bytes, place) }
}

/// Go: `parse`.
fn parse(text: &str, via_request: bool) -> Option<Url> {
    if text.bytes().any(|b| b < b' ' || b == 0x7f) || (text.is_empty() && via_request) {
        return None;
    }
    let mut url = Url {
        scheme: String::new(),
        opaque: String::new(),
        user: None,
        host: String::new(),
        omit_host: false,
        path: Vec::new(),
        escaped_path: String::new(),
        query: None,
        fragment: None,
    };
    if text == "*" {
        (url.path, url.escaped_path) = (b"*".to_vec(), "*".to_owned());
        return Some(url);
    }
    let (scheme, rest) = scheme(text)?;
    url.scheme = scheme.to_ascii_lowercase();
    let (mut rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
    url.query = query.map(str::to_owned);
    if !rest.starts_with('/') {
        if !url.scheme.is_empty() {
            rest.clone_into(&mut url.opaque);
            return Some(url);
        }
        if via_request || rest.split('/').next().is_some_and(|segment| segment.contains(':')) {
            return None;
        }
    }
    let has_scheme = !url.scheme.is_empty();
    match rest.strip_prefix("//") {
        Some(authority) if has_scheme || (!via_request && !rest.starts_with("///")) => {
            let (authority, path) = authority.split_at(authority.find('/').unwrap_or(authority.len()));
            rest = path;
            let host = match authority.rsplit_once('@') {
                Some((user, host)) => {
                    url.user = Some(user_info(user)?);
                    host
                }
                None => authority,
            };
            url.host = parse_host(&url.scheme, host)?;
        }
        _ => url.omit_host = has_scheme && rest.starts_with('/'),
    }
    url.path = unescape(rest, Place::Path)?;
    rest.clone_into(&mut url.escaped_path);
    Some(url)
}

/// Go: `getScheme`.
fn scheme(text: &str) -> Option<(&str, &str)> {
    for (index, byte) in text.bytes().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' => {}
            b'0'..=b'9' | b'+' | b'-' | b'.' if index > 0 => {}
            b':' if index == 0 => return None,
            b':' => return Some((&text[..index], &text[index + 1..])),
            _ => return Some(("", text)),
        }
    }
    Some(("", text))
}

/// Go: `validUserinfo` and the end of `parseAuthority`.
fn user_info(text: &str) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
    let sound = |b: u8| b.is_ascii_alphanumeric() || b"-._:~!$&'()*+,;=%@".contains(&b);
    if !text.bytes().all(sound) {
        return None;
    }
    Some(match text.split_once(':') {
        Some((name, password)) => {
            (unescape(name, Place::UserPassword)?, Some(unescape(password, Place::UserPassword)?))
        }
        None => (unescape(text, Place::UserPassword)?, None),
    })
}

fn valid_optional_port(port: &str) -> bool {
    port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()))
}

/// Go: `parseHost`, with strict colons for http and https.
fn parse_host(scheme: &str, host: &str) -> Option<String> {
    match host.rfind('[') {
        Some(0) => {
            let close = host.rfind(']')?;
            let port = &host[close + 1..];
            if !valid_optional_port(port) {
                return None;
            }
            let name = &host[1..close];
            let name = match name.find("%25") {
                Some(zone) => {
                    let (address, zone) = name.split_at(zone);
                    [unescape(address, Place::Host)?, unescape(zone, Place::Zone)?].concat()
                }
                None => unescape(name, Place::Host)?,
            };
            let name = String::from_utf8(name).ok()?;
            let (address, zone) = name.split_once('%').map_or((&*name, None), |(a, zone)| (a, Some(zone)));
            if zone == Some("") || address.parse::<Ipv6Addr>().is_err() {
                return None;
            }
            Some(format!("[{name}]{port}"))
        }
        Some(_) => None,
        None => {
            let colon = match scheme {
                "http" | "https" => host.find(':'),
                _ => host.rfind(':'),
            };
            if colon.is_some_and(|colon| !valid_optional_port(&host[colon..])) {
                return None;
            }
            // What is not UTF-8 then is a string to Go, but not to us.
            String::from_utf8(unescape(host, Place::Host)?).ok()
        }
    }
}

pub(super) fn find(id: &str) -> Option<Run> {
    Some(match id {
        "string_to_url" => |_, args| match Url::parse(text(args, 0)?.as_str()) {
            Some(url) => Ok(Val::Url(Arc::new(url))),
            None => Err(Error::new("URL parse error during conversion from string")),
        },
        "is_url_string" => |_, args| Ok(Val::Bool(Url::is_request_uri(text(args, 0)?.as_str()))),
        "url_get_scheme" => |_, args| part(args, |url| url.scheme.clone()),
        "url_get_host" => |_, args| part(args, |url| url.host.clone()),
        "url_get_hostname" => |_, args| part(args, |url| url.host_and_port().0.to_owned()),
        "url_get_port" => |_, args| part(args, |url| url.host_and_port().1.to_owned()),
        "url_get_escaped_path" => |_, args| part(args, Url::escaped_path),
        "url_get_query" => query,
        _ => return None,
    })
}

fn url<'v>(args: &'v [Val<'_>]) -> Result<&'v Url, Error> {
    match first(args)? {
        Val::Url(url) => Ok(url),
        _ => Err(Error::no_such_overload()),
    }
}

fn part<'a>(args: &[Val<'a>], of: fn(&Url) -> String) -> Evaluated<'a> {
    Ok(Val::string(of(url(args)?)))
}

/// Go: `parseQuery`, whose errors `URL.Query` drops with the parameters that have them.
fn query<'a>(meter: &Meter, args: &[Val<'a>]) -> Evaluated<'a> {
    let url = url(args)?;
    let query = url.query.as_deref().unwrap_or_default();
    meter.work(query.len())?;
    meter.items(query.matches('&').count())?;
    let mut found: Vec<(String, Vec<Text<'a>>)> = Vec::new();
    let mut index = std::collections::HashMap::new();
    if query.matches('&').count() < MAX_PARAMETERS {
        for parameter in query.split('&').filter(|p| !p.is_empty() && !p.contains(';')) {
            let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            let (Some(key), Some(value)) = (unescape(key, Place::Query), unescape(value, Place::Query))
            else {
                continue;
            };
            let utf8 = |bytes| String::from_utf8(bytes).map_err(|_| Error::new("the query is not UTF-8"));
            let (key, value) = (utf8(key)?, utf8(value)?);
            let at = *index.entry(key.clone()).or_insert_with(|| {
                found.push((key, Vec::new()));
                found.len() - 1
            });
            if let Some((_, values)) = found.get_mut(at) {
                values.push(Text::Made(value.into()));
            }
        }
    }
    let mut entries = Entries::default();
    for (key, values) in found {
        entries.insert(Val::string(key), Val::strings(values))?;
    }
    Ok(Val::Map(Map::Entries(Arc::new(entries))))
}
