//! Names that CEL's grammar does not allow as fields: `a.b` is written `a__dot__b`. Go: k8s.io/apiserver/pkg/cel/escaping.go.

use std::borrow::Cow;

/// Words that are escaped as a whole. Go: `celReservedSymbols`.
const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// The name behind an escaped one; `None` if an escape is in it that there is not. Go: `Unescape`.
pub(super) fn unescape(escaped: &str) -> Option<Cow<'_, str>> {
    if !escaped.contains("__") {
        return Some(Cow::Borrowed(escaped));
    }
    let mut name = String::with_capacity(escaped.len());
    let mut rest = escaped;
    // Go: the matches of `_{2}[^_]+_{2}`, from the left.
    while let Some(at) = rest.find("__") {
        let (before, sequence) = rest.split_at(at);
        let inner = &sequence[2..];
        let length = inner.find('_').unwrap_or(inner.len());
        if length == 0 || !inner[length..].starts_with("__") {
            // No match begins here: one character further.
            let (skipped, further) = rest.split_at(at + 1);
            name.push_str(skipped);
            rest = further;
            continue;
        }
        name.push_str(before);
        match &inner[..length] {
            "underscores" => name.push_str("__"),
            "dot" => name.push('.'),
            "dash" => name.push('-'),
            "slash" => name.push('/'),
            word if RESERVED.contains(&word) && length + 4 == escaped.len() => name.push_str(word),
            _ => return None,
        }
        rest = &inner[length + 2..];
    }
    name.push_str(rest);
    Some(Cow::Owned(name))
}

/// The key to look for in a map of the claims. Go: `unescapedName` (oidc.go).
pub(super) fn unescaped_key(key: &str) -> Cow<'_, str> {
    unescape(key).unwrap_or(Cow::Borrowed(key))
}
