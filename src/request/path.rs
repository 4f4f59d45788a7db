//! The path of a request, for conditions on it.

use std::borrow::Cow;

use bstr::ByteSlice;
use percent_encoding::percent_decode;

/// A request's path without its query, as the client wrote it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Path<'a>(&'a [u8]);

impl<'a> Path<'a> {
    /// Takes Envoy's `path` attribute, which holds the query too, and cuts that off (threats S4, CVE-2026-32811). The rest is
    /// not parsed as a URL: `//host/x` is a path (threats S5, CVE-2026-26205).
    pub fn new(path_and_query: &'a [u8]) -> Self {
        Self(path_and_query.split(|b| *b == b'?').next().unwrap_or_default())
    }

    /// As the client wrote it.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// The percent-decoded path, unless servers read it in different ways: then no rule that allows something may match it.
    ///
    /// Go decodes all of `%2f`, `%2e`, `%5c` and compares the result, so `/a%2fb` meets a condition `/a/b` there. Whoever is
    /// behind Envoy may see another path than the one that was compared; so nothing with an encoded separator or dot, an
    /// encoded percent sign or control character, a backslash, a `;`, a `#`, an empty or a dot segment is unambiguous (threats
    /// S6: CVE-2026-42272, CVE-2026-33494, CVE-2021-32779, CVE-2026-39852). Neither is anything that Go cannot parse.
    pub fn unambiguous(&self) -> Option<Cow<'a, str>> {
        let path = self.0;
        if path.first() != Some(&b'/') || path.iter().any(|b| matches!(b, b'\\' | b';' | b'#')) {
            return None;
        }
        let escapes = path.find_iter(b"%").map(|at| path.get(at + 1..at + 3));
        for escape in escapes {
            let byte = escape.and_then(|hex| std::str::from_utf8(hex).ok()).filter(|hex| is_hex(hex));
            let byte = byte.and_then(|hex| u8::from_str_radix(hex, 16).ok())?;
            if matches!(byte, b'/' | b'\\' | b'.' | b'%' | b';' | b'#' | b'?') || byte.is_ascii_control() {
                return None;
            }
        }
        let decoded = percent_decode(path).decode_utf8().ok()?;
        let (last, folders) = decoded[1..].rsplit_once('/').map_or((&decoded[1..], ""), |(f, l)| (l, f));
        let empty = !folders.is_empty() && folders.split('/').any(str::is_empty) || decoded.starts_with("//");
        let dots = folders.split('/').chain([last]).any(|segment| segment == "." || segment == "..");
        (!empty && !dots && !decoded.chars().any(char::is_control)).then_some(decoded)
    }
}

fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> Option<String> {
        Path::new(path.as_bytes()).unambiguous().map(Cow::into_owned)
    }

    /// S4 (CVE-2026-32811): Envoy's path holds the query.
    #[test]
    fn the_query_is_no_part_of_the_path() {
        assert_eq!(Path::new(b"/healthz?x=1?y").as_bytes(), b"/healthz");
        assert_eq!(read("/healthz?verbose=/../x"), Some("/healthz".to_owned()));
        assert_eq!(read("/healthz%3Fx"), None);
        assert_eq!(read("?x"), None);
        assert_eq!(read(""), None);
    }

    #[test]
    fn harmless_escapes_are_decoded() {
        assert_eq!(read("/health%7a"), Some("/healthz".to_owned()));
        assert_eq!(read("/a%20b/%C3%BC"), Some("/a b/ü".to_owned()));
        assert_eq!(read("/"), Some("/".to_owned()));
        assert_eq!(read("/api/"), Some("/api/".to_owned()));
        assert_eq!(read("/api/v1/...x"), Some("/api/v1/...x".to_owned()));
    }

    /// S5 (CVE-2026-26205) and S6 (CVE-2026-42272, CVE-2026-33494, CVE-2021-32779, CVE-2026-39852).
    #[test]
    fn ambiguous_paths_have_no_single_reading() {
        let ambiguous = [
            "//healthz",
            "//host/healthz",
            "/x//healthz",
            "/healthz//",
            "/x/../healthz",
            "/./healthz",
            "/healthz/.",
            "/healthz/..",
            "/x/%2e%2e/healthz",
            "/%2e/healthz",
            "/%2fhealthz",
            "/%2Fhealthz",
            "/x%5c..%5chealthz",
            "/x\\..\\healthz",
            "/healthz;x=1",
            "/healthz%3bx",
            "/healthz#x",
            "/healthz%23x",
            "/healthz%00",
            "/%",
            "/%2",
            "/%zz",
            "/%+1",
            "/health%257a",
            "/healthz%0a",
            "/\u{1}healthz",
            "healthz",
            "*",
            "http://host/healthz",
            "/%ff",
        ];
        for path in ambiguous {
            assert_eq!(read(path), None, "{path}");
        }
    }
}
