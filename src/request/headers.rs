//! One view over both of Envoy's encodings of the request headers.
//!
//! | Envoy | names | duplicates | bytes that are not UTF-8 |
//! |---|---|---|---|
//! | `headers`, the default | lower-case | joined with `,`, no space | each becomes `!` |
//! | `header_map`, with `encode_raw_headers` | lower-case | separate, in order | kept |
//!
//! Authorization and Upgrade are joined by Envoy in either. So that one request has one verdict, every question here is
//! answered the same for two lines `a`, `b` and for one line `a,b`: what cannot be told apart is not guessed at.

/// Names and values in order. Implemented on Envoy's messages by `envoy::decode`.
pub trait HeaderLines: Sync {
    /// How many lines there are.
    fn len(&self) -> usize;
    /// Name and value of the line at `index`, which is below [`HeaderLines::len`].
    fn line(&self, index: usize) -> (&[u8], &[u8]);
    /// Whether there is no line.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Which of Envoy's encodings the headers came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `headers`: a map, duplicates joined.
    Joined,
    /// `header_map`: as they came.
    Raw,
}

/// The headers of a request. Names compare case-insensitively.
#[derive(Clone, Copy)]
pub struct Headers<'a> {
    lines: &'a dyn HeaderLines,
    encoding: Encoding,
}

/// What the Authorization header says to an authenticator of one scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credentials<'a> {
    /// Nothing, or something in another scheme.
    Absent,
    /// Exactly one value, of any scheme, untrimmed.
    One(&'a [u8]),
    /// Several values, repeated or joined, at least one of them in this scheme.
    Ambiguous,
    /// A value with control characters, of any scheme. Envoy refuses such requests, and so does Go's HTTP server.
    Malformed,
}

/// Whether a request asks to become a websocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Upgrade {
    /// It does not.
    No,
    /// It does.
    Yes,
    /// Two Upgrade lines, joined, of which Go would read the first, which says websocket; or one line that looks like it.
    Ambiguous,
}

impl<'a> Headers<'a> {
    /// A view over `lines`.
    pub fn new(lines: &'a dyn HeaderLines, encoding: Encoding) -> Self {
        Self { lines, encoding }
    }

    /// Every line, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + use<'a> {
        let lines = self.lines;
        (0..lines.len()).map(move |index| lines.line(index))
    }

    /// The values of all lines named `name` (in lower case), in order.
    pub fn get_all<'n>(&self, name: &'n [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The Authorization header, asked for by an authenticator of `scheme` (in lower case).
    ///
    /// Q: Two lines, or one with a comma? A: Refused, if any of the values is of this scheme. Go takes the first line, but
    /// Envoy has joined the two before anybody sees them, and `Bearer a,b` may have been `Bearer a` and `b` (threats S7). Of
    /// no scheme of ours, it is none of our business: `Digest` and AWS signatures hold commas.
    pub fn authorization(&self, scheme: &[u8]) -> Credentials<'a> {
        let mut lines = self.get_all(b"authorization");
        let Some(first) = lines.next() else { return Credentials::Absent };
        if self.get_all(b"authorization").any(has_control) {
            return Credentials::Malformed;
        }
        if lines.next().is_some() || first.contains(&b',') {
            let mut values = self.get_all(b"authorization").flat_map(|line| line.split(|b| *b == b','));
            let ours = values.any(|value| names_scheme(value, scheme));
            return if ours { Credentials::Ambiguous } else { Credentials::Absent };
        }
        Credentials::One(first)
    }

    /// Whether the request asks to become a websocket: `wsstream.IsWebSocketRequest` and `httpstream.IsUpgradeRequest`.
    ///
    /// Q: `Upgrade: websocket,h2c`? A: In Go no, as one line; yes, as the first of two. Envoy joins two lines without a space,
    /// and HTTP trims the white space before a value, so that `websocket, h2c` can only have been one line.
    pub fn websocket_upgrade(&self) -> Upgrade {
        let mut lines = self.get_all(b"upgrade");
        let Some(first) = lines.next() else { return Upgrade::No };
        let (value, rest) = match first.iter().position(|b| *b == b',') {
            Some(comma) => (&first[..comma], Some(&first[comma + 1..])),
            None => (first, lines.next()),
        };
        if !is_websocket(value) || !self.get_all(b"connection").any(contains_upgrade) {
            return Upgrade::No;
        }
        match rest {
            None => Upgrade::Yes,
            Some(rest) if rest.first().is_some_and(u8::is_ascii_whitespace) => Upgrade::No,
            Some(_) => Upgrade::Ambiguous,
        }
    }

    /// Whether `value` may stand for bytes that Envoy has replaced: each byte that is not UTF-8 becomes a `!` in the joined
    /// encoding. No credential with a `!` is believed there (threats S8, CVE-2023-27488).
    pub fn may_hide_bytes(&self, value: &[u8]) -> bool {
        self.encoding == Encoding::Joined && value.contains(&b'!')
    }

    /// Whether `value` may have been several lines, which the joined encoding writes with commas between them.
    pub fn may_be_joined(&self, value: &[u8]) -> bool {
        self.encoding == Encoding::Joined && value.contains(&b',')
    }
}

/// Whether `value` begins with `scheme` as a word, white space before it or not.
fn names_scheme(value: &[u8], scheme: &[u8]) -> bool {
    let value = bstr::ByteSlice::trim_start(value);
    let end = value.iter().position(|b| b.is_ascii_whitespace()).unwrap_or(value.len());
    value[..end].eq_ignore_ascii_case(scheme)
}

/// Whether Go's `httpguts.ValidHeaderFieldValue` refuses `value`: CTL but for the tab. Looks at every byte whatever it finds, so that
/// it takes many at a time: tokens are long.
fn has_control(value: &[u8]) -> bool {
    value.iter().fold(false, |found, byte| found | (byte.is_ascii_control() & (*byte != b'\t')))
}

/// Go's `strings.EqualFold(value, "websocket")`. Simple folding knows two letters outside ASCII that fold into it.
fn is_websocket(value: &[u8]) -> bool {
    const LONG_S: &str = "\u{17f}";
    const KELVIN: &str = "\u{212a}";
    if value.is_ascii() {
        return value.eq_ignore_ascii_case(b"websocket");
    }
    let Ok(value) = std::str::from_utf8(value) else { return false };
    value.replace(LONG_S, "s").replace(KELVIN, "k").eq_ignore_ascii_case("websocket")
}

fn contains_upgrade(connection: &[u8]) -> bool {
    const UPGRADE: &[u8] = b"upgrade";
    connection.windows(UPGRADE.len()).any(|word| word.eq_ignore_ascii_case(UPGRADE))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::request::testing::{joined, request};

    #[test]
    fn names_compare_without_case() {
        let lines: [(&[u8], &[u8]); 3] = [(b"X-A", b"1"), (b"x-a", b"2"), (b"x-ab", b"3")];
        assert_eq!(request(&lines).headers.get_all(b"x-a").collect::<Vec<_>>(), [b"1", b"2"]);
    }

    #[test]
    fn control_characters_are_malformed_in_any_scheme_but_a_tab_is_none() {
        let ask = |value: &[u8]| request(&[(b"authorization", value)]).headers.authorization(b"bearer");
        assert_eq!(ask(b"\x0bBearer x"), Credentials::Malformed);
        assert_eq!(ask(b"Negotiate \x01"), Credentials::Malformed);
        assert_eq!(ask(b"Digest a,\x7f"), Credentials::Malformed);
        assert_eq!(ask(b"Bearer\tx"), Credentials::One(b"Bearer\tx"));
    }

    fn piece() -> impl Strategy<Value = String> {
        prop_oneof![
            "[Bb]earer [a-z]{0,3}",
            "Basic [a-z]{0,3}",
            "Digest a=\"b\"",
            "[ \tA-z,]{0,6}",
            "websocket",
            "upgrade",
            ""
        ]
    }

    proptest! {
        /// Two lines and the one line that Envoy makes of them get the same answers. (Leading white space of a value never
        /// reaches us: HTTP trims it.)
        #[test]
        fn joined_and_raw_headers_answer_alike(values in prop::collection::vec(piece(), 1..4), connection in piece()) {
            let values: Vec<&str> = values.iter().map(|v| v.trim()).collect();
            let one_line = values.join(",");
            for name in [&b"authorization"[..], b"upgrade"] {
                let mut raw: Vec<(&[u8], &[u8])> = values.iter().map(|v| (name, v.as_bytes())).collect();
                raw.push((b"connection", connection.as_bytes()));
                let (raw, joined) = (request(&raw), joined(&[(name, one_line.as_bytes()), (b"connection", connection.as_bytes())]));
                for scheme in [&b"bearer"[..], b"basic"] {
                    prop_assert_eq!(raw.headers.authorization(scheme), joined.headers.authorization(scheme));
                }
                prop_assert_eq!(raw.headers.websocket_upgrade(), joined.headers.websocket_upgrade());
            }
        }
    }
}
