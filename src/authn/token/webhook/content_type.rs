//! `Content-Type`, of which nothing matters but that it is one. Go: `mime.ParseMediaType`.

/// Whether Go could read it. Stricter than Go: no `;` and no escapes within quotes, no white space around `=`.
pub(super) fn is_well_formed(value: &[u8]) -> bool {
    // As good as absent. Go: `transformResponse` of k8s.io/client-go/rest/request.go.
    if value.is_empty() {
        return true;
    }
    let mut parts = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii).peekable();
    let media = parts.next().unwrap_or_default();
    if !media.split(|byte| *byte == b'/').all(is_token)
        || media.iter().filter(|byte| **byte == b'/').count() > 1
    {
        return false;
    }
    let mut names: Vec<Vec<u8>> = Vec::new();
    while let Some(parameter) = parts.next() {
        // A `;` at the end is overlooked.
        if parameter.is_empty() && parts.peek().is_none() {
            continue;
        }
        let Some(at) = parameter.iter().position(|byte| *byte == b'=') else { return false };
        let (name, value) = parameter.split_at(at);
        let name = name.to_ascii_lowercase();
        if !is_token(&name) || names.contains(&name) || !is_value(value.get(1..).unwrap_or_default()) {
            return false;
        }
        names.push(name);
    }
    true
}

fn is_value(value: &[u8]) -> bool {
    let quoted = value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\""));
    match quoted {
        Some(text) => text.iter().all(|byte| matches!(byte, b' '..=b'~') && !b"\"\\".contains(byte)),
        None => is_token(value),
    }
}

/// RFC 9110, section 5.6.2.
fn is_token(text: &[u8]) -> bool {
    !text.is_empty()
        && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Go: TestParseMediaType and TestParseMediaTypeBogus of mime/mediatype_test.go, in part.
    #[test]
    fn a_content_type_is_well_formed_or_not() {
        let good = [
            "",
            "application/json",
            "text/plain; charset=utf-8",
            "text/plain;charset=\"utf-8\" ; a=b",
            "APPLICATION/JSON;",
            "json",
            "form-data; key=value;  blah=\"value\";name=\"foo\" ",
        ];
        let bad = [
            "bogus ;=========",
            "bogus/<script>alert</script>",
            "bogus/bogus<script>alert</script>",
            "a/b/c",
            "/json",
            "application/json; charset",
            "text/plain; a=b; a=c",
            "text/plain; a=b; A=c",
            "text/plain; a=\"b",
            "text/plain;; a=b",
            ";",
            "a b",
            "\u{e9}/json",
        ];
        assert_eq!(good.map(|text| (text, is_well_formed(text.as_bytes()))), good.map(|text| (text, true)));
        assert_eq!(bad.map(|text| (text, is_well_formed(text.as_bytes()))), bad.map(|text| (text, false)));
    }
}
