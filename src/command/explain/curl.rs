//! The request that a curl line makes, as far as it matters to authentication. What is not understood is an error, not a guess.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use zeroize::Zeroizing;

use super::request::Described;
use crate::command::said;

/// The words of a line, as a shell would see them.
pub(super) fn words(line: &str) -> Result<Vec<String>, String> {
    if is_expanded(line) {
        let why =
            "the curl line has a $ or ` that a shell would replace; put it after --, so that your shell does";
        return Err(why.to_owned());
    }
    // A line that a browser copies is broken by backslashes, of which the crate makes empty words.
    shlex::split(&line.replace("\\\n", " "))
        .ok_or_else(|| "the curl line has a quote that is not closed".to_owned())
}

/// Whether a shell would put something else in place of a part of it. Between single quotes it does not.
fn is_expanded(line: &str) -> bool {
    let (mut single, mut double) = (false, false);
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' if !double => single = !single,
            _ if single => {}
            '"' => double = !double,
            '\\' => drop(chars.next()),
            '$' | '`' => return true,
            _ => {}
        }
    }
    false
}

/// What an option of curl means here.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Meaning {
    /// Takes nothing, and means nothing to us.
    Flag,
    /// Takes a value that means nothing to us.
    Ignored,
    Header,
    Method,
    User,
    Certificate,
    Bearer,
    Url,
    UserAgent,
    /// A body, which makes the method POST.
    Data,
    Get,
    Head,
}

/// The options of curl(1) that are read, by their long names, with their short ones.
const OPTIONS: &[(&str, Option<char>, Meaning)] = &[
    ("header", Some('H'), Meaning::Header),
    ("request", Some('X'), Meaning::Method),
    ("user", Some('u'), Meaning::User),
    ("cert", Some('E'), Meaning::Certificate),
    ("oauth2-bearer", None, Meaning::Bearer),
    ("url", None, Meaning::Url),
    ("user-agent", Some('A'), Meaning::UserAgent),
    ("data", Some('d'), Meaning::Data),
    ("data-ascii", None, Meaning::Data),
    ("data-binary", None, Meaning::Data),
    ("data-raw", None, Meaning::Data),
    ("data-urlencode", None, Meaning::Data),
    ("form", Some('F'), Meaning::Data),
    ("json", None, Meaning::Data),
    ("get", Some('G'), Meaning::Get),
    ("head", Some('I'), Meaning::Head),
    ("cookie", Some('b'), Meaning::Ignored),
    ("cookie-jar", Some('c'), Meaning::Ignored),
    ("cacert", None, Meaning::Ignored),
    ("capath", None, Meaning::Ignored),
    ("cert-type", None, Meaning::Ignored),
    ("key", None, Meaning::Ignored),
    ("key-type", None, Meaning::Ignored),
    ("pass", None, Meaning::Ignored),
    ("resolve", None, Meaning::Ignored),
    ("connect-to", None, Meaning::Ignored),
    ("connect-timeout", None, Meaning::Ignored),
    ("max-time", Some('m'), Meaning::Ignored),
    ("retry", None, Meaning::Ignored),
    ("output", Some('o'), Meaning::Ignored),
    ("write-out", Some('w'), Meaning::Ignored),
    ("dump-header", Some('D'), Meaning::Ignored),
    ("proxy", Some('x'), Meaning::Ignored),
    ("referer", Some('e'), Meaning::Ignored),
    ("unix-socket", None, Meaning::Ignored),
    ("basic", None, Meaning::Flag),
    ("compressed", None, Meaning::Flag),
    ("fail", Some('f'), Meaning::Flag),
    ("fail-with-body", None, Meaning::Flag),
    ("globoff", Some('g'), Meaning::Flag),
    ("http1.1", None, Meaning::Flag),
    ("http2", None, Meaning::Flag),
    ("http2-prior-knowledge", None, Meaning::Flag),
    ("include", Some('i'), Meaning::Flag),
    ("insecure", Some('k'), Meaning::Flag),
    ("ipv4", Some('4'), Meaning::Flag),
    ("ipv6", Some('6'), Meaning::Flag),
    ("location", Some('L'), Meaning::Flag),
    ("no-buffer", Some('N'), Meaning::Flag),
    ("no-progress-meter", None, Meaning::Flag),
    ("path-as-is", None, Meaning::Flag),
    ("remote-name", Some('O'), Meaning::Flag),
    ("show-error", Some('S'), Meaning::Flag),
    ("silent", Some('s'), Meaning::Flag),
    ("tlsv1.2", None, Meaning::Flag),
    ("tlsv1.3", None, Meaning::Flag),
    ("verbose", Some('v'), Meaning::Flag),
];

impl Meaning {
    fn takes_value(self) -> bool {
        !matches!(self, Self::Flag | Self::Get | Self::Head)
    }
}

/// The request of a curl line in words, with or without `curl` before them. No error quotes a value.
pub(super) fn parse(words: &[String]) -> Result<Described, String> {
    let mut words = words.iter().map(String::as_str).peekable();
    words.next_if_eq(&"curl");
    let mut line = Line::default();
    line.described.host.clear();
    while let Some(word) = words.next() {
        if let Some(long) = word.strip_prefix("--").filter(|long| !long.is_empty()) {
            let known = OPTIONS.iter().find(|(name, ..)| *name == long);
            let (name, _, meaning) = known.ok_or_else(|| unread(word))?;
            let value = match meaning.takes_value() {
                true => words.next().ok_or_else(|| format!("curl's --{name} has no value"))?,
                false => "",
            };
            line.option(*meaning, value).map_err(|error| format!("curl's --{name}: {error}"))?;
        } else if let Some(letters) = word.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            let mut rest = letters;
            while let Some(letter) = rest.chars().next() {
                rest = &rest[letter.len_utf8()..];
                let known = OPTIONS.iter().find(|(_, short, _)| *short == Some(letter));
                let (_, _, meaning) = known.ok_or_else(|| unread(&format!("-{letter}")))?;
                let value = match (meaning.takes_value(), rest) {
                    (false, _) => "",
                    (true, "") => words.next().ok_or_else(|| format!("curl's -{letter} has no value"))?,
                    (true, attached) => {
                        rest = "";
                        attached
                    }
                };
                line.option(*meaning, value).map_err(|error| format!("curl's -{letter}: {error}"))?;
            }
        } else {
            line.option(Meaning::Url, word)?;
        }
    }
    line.finish()
}

fn unread(option: &str) -> String {
    // A value may be attached with an equals sign, which curl does not take.
    let name = option.split('=').next().unwrap_or_default();
    format!(
        "curl's {name} cannot be read here; leave it out if it does not matter, or describe the request by flags"
    )
}

#[derive(Default)]
struct Line {
    described: Described,
    method: Option<String>,
    has_url: bool,
    /// The URL's, unless a header says another.
    host: String,
    has_data: bool,
    get: bool,
    head: bool,
    /// What `-u`, `--oauth2-bearer` and the URL say; a header of that name takes its place.
    authorization: Option<Zeroizing<String>>,
}

impl Line {
    fn option(&mut self, meaning: Meaning, value: &str) -> Result<(), String> {
        match meaning {
            Meaning::Flag | Meaning::Ignored => {}
            Meaning::Header => {
                for line in said(value)?.lines().filter(|line| !line.trim().is_empty()) {
                    // `Name:` takes away one of curl's own.
                    if line.trim_end().strip_suffix(':').is_none_or(|name| name.contains(':')) {
                        self.described.add_header(line)?;
                    }
                }
            }
            Meaning::Method => self.method = Some(value.to_owned()),
            Meaning::User if !value.contains(':') => {
                return Err("has no password, for which curl would ask; write user:password".to_owned());
            }
            Meaning::User => self.authorization = Some(basic(value)),
            Meaning::Bearer => self.authorization = Some(Zeroizing::new(format!("Bearer {value}"))),
            Meaning::Certificate => {
                let path = value.split(':').next().unwrap_or_default();
                self.described.certificate = Some(path.to_owned());
            }
            Meaning::UserAgent => self.described.add_header(&format!("user-agent: {value}"))?,
            Meaning::Data => self.has_data = true,
            Meaning::Get => self.get = true,
            Meaning::Head => self.head = true,
            Meaning::Url if self.has_url => return Err("curl's line has two URLs; ask about one".to_owned()),
            Meaning::Url => {
                self.has_url = true;
                self.url(value)?;
            }
        }
        Ok(())
    }

    fn url(&mut self, url: &str) -> Result<(), String> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
        let scheme = scheme.to_ascii_lowercase();
        if !["http", "https"].contains(&&*scheme) {
            return Err("the URL is neither http nor https".to_owned());
        }
        let rest = rest.split('#').next().unwrap_or_default();
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (user, host) = match authority.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, authority),
        };
        if host.is_empty() {
            return Err("the URL has no host".to_owned());
        }
        if let Some(user) = user {
            let decoded = percent_encoding::percent_decode_str(user).decode_utf8();
            let decoded = decoded.map_err(|_| "the user in the URL is not UTF-8")?;
            let joined = if decoded.contains(':') { decoded.into_owned() } else { format!("{decoded}:") };
            self.authorization.get_or_insert_with(|| basic(&joined));
        }
        let route = path.split('?').next().unwrap_or_default();
        if route.split('/').any(|segment| matches!(segment, "." | "..")) {
            return Err(
                "the URL's path has . or .. in it, which curl takes away; write the path that is sent"
                    .to_owned(),
            );
        }
        host.clone_into(&mut self.host);
        self.described.path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        self.described.scheme = scheme;
        Ok(())
    }

    fn finish(self) -> Result<Described, String> {
        let Self { mut described, method, has_url, host, has_data, get, head, authorization } = self;
        if !has_url {
            return Err("the curl line has no URL".to_owned());
        }
        let usual = match (head, has_data && !get) {
            (true, _) => "HEAD",
            (_, true) => "POST",
            _ => "GET",
        };
        if described.host.is_empty() {
            described.host = host;
        }
        described.method = method.unwrap_or_else(|| usual.to_owned());
        let named = described.headers.iter().any(|(name, _)| name == "authorization");
        if let Some(value) = authorization.filter(|_| !named) {
            described.headers.push(("authorization".to_owned(), value));
        }
        Ok(described)
    }
}

/// RFC 7617.
fn basic(user: &str) -> Zeroizing<String> {
    Zeroizing::new(format!("Basic {}", BASE64_STANDARD.encode(user)))
}
