//! Domain names and mailboxes, as far as Go looks at them. All input is ASCII: the callers have seen to that.

/// Whether a name, or with `constraint` the base of a name constraint, which may begin with a period, passes for a domain name.
/// An empty one does. Go: `domainNameValid` of crypto/x509/parser.go.
pub(super) fn is_valid(name: &[u8], constraint: bool) -> bool {
    if name.is_empty() {
        return true;
    }
    if name.last() == Some(&b'.') {
        return false;
    }
    let name = if constraint { name.strip_prefix(b".").unwrap_or(name) } else { name };
    name.split(|byte| *byte == b'.').all(|label| !label.is_empty() && label.iter().all(u8::is_ascii_graphic))
}

/// Everything behind the first label, with the period; empty if there is one label only. Go: `trimFirstLabel` of
/// crypto/x509/constraints.go.
pub(super) fn behind_first_label(name: &[u8]) -> &[u8] {
    let dot = name.iter().position(|byte| *byte == b'.');
    dot.and_then(|dot| name.get(dot..)).unwrap_or_default()
}

/// A mailbox (RFC 2821, section 4.1.2), its local part without quotes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mailbox {
    /// What stands before the `@`.
    pub(super) local: Vec<u8>,
    /// What stands behind it, in lower case.
    pub(super) domain: Vec<u8>,
}

impl Mailbox {
    /// Go: `parseRFC2821Mailbox` of crypto/x509/verify.go, with the domain in lower case as all its users want it.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let (local, rest) = match text.strip_prefix(b"\"") {
            Some(quoted) => quoted_local(quoted)?,
            None => plain_local(text)?,
        };
        let domain = rest.strip_prefix(b"@")?;
        is_valid(domain, false).then(|| Self { local, domain: domain.to_ascii_lowercase() })
    }
}

/// `Quoted-string`, behind its first quote. A space is allowed, as in RFC 3696's example.
fn quoted_local(mut text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut local = Vec::new();
    loop {
        let (&byte, rest) = text.split_first()?;
        text = rest;
        match byte {
            b'"' => return Some((local, text)),
            b'\\' => {
                let (&escaped, rest) = text.split_first()?;
                if !matches!(escaped, 1..=9 | 11 | 12 | 14..=127) {
                    return None;
                }
                local.push(escaped);
                text = rest;
            }
            1..=8 | 11 | 12 | 14..=33 | 35..=91 | 93..=127 => local.push(byte),
            _ => return None,
        }
    }
}

/// `Atom ("." Atom)*`, in which a backslash takes whatever follows, as in RFC 3696's examples.
fn plain_local(mut text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut local = Vec::new();
    while let Some((&byte, rest)) = text.split_first() {
        match byte {
            b'\\' => {
                let (&escaped, rest) = rest.split_first()?;
                local.push(escaped);
                text = rest;
            }
            b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                local.push(byte);
                text = rest;
            }
            _ if b"!#$%&'*+-/=?^_`{|}~.".contains(&byte) => {
                local.push(byte);
                text = rest;
            }
            _ => break,
        }
    }
    let good = !local.is_empty()
        && local.first() != Some(&b'.')
        && local.last() != Some(&b'.')
        && !local.windows(2).any(|pair| pair == b"..");
    good.then_some((local, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Go: TestDomainNameValid of crypto/x509/parser_test.go (1.26), without the checks that it has put off.
    #[test]
    fn domain_names_are_checked_as_go_checks_them() {
        let table: [(&str, bool, bool); 12] = [
            ("", true, true),
            ("example.com", true, true),
            ("EXAMPLE.com", true, true),
            ("eXample.com.", false, false),
            (".example.com", false, true),
            ("..example.com", false, false),
            ("example..com", false, false),
            ("*.example.com", true, true),
            ("a_b.test", true, true),
            ("a b.test", false, false),
            ("a\x7f.test", false, false),
            (".", false, false),
        ];
        for (name, plain, constraint) in table {
            assert_eq!(is_valid(name.as_bytes(), false), plain, "{name:?}");
            assert_eq!(is_valid(name.as_bytes(), true), constraint, "{name:?} as a constraint");
        }
    }

    /// Go: TestRFC2821Parsing of crypto/x509/name_constraints_test.go.
    #[test]
    fn mailboxes_are_read_as_go_reads_them() {
        let table: [(&str, Option<(&str, &str)>); 37] = [
            ("foo@example.com", Some(("foo", "example.com"))),
            ("@example.com", None),
            ("\"@example.com", None),
            ("\"\"@example.com", Some(("", "example.com"))),
            ("\"a\"@example.com", Some(("a", "example.com"))),
            ("\"\\a\"@example.com", Some(("a", "example.com"))),
            ("a\"@example.com", None),
            ("foo..bar@example.com", None),
            (".foo.bar@example.com", None),
            ("foo.bar.@example.com", None),
            ("|{}?'@example.com", Some(("|{}?'", "example.com"))),
            // RFC 3696's examples.
            ("Abc\\@def@example.com", Some(("Abc@def", "example.com"))),
            ("Fred\\ Bloggs@example.com", Some(("Fred Bloggs", "example.com"))),
            ("Joe.\\\\Blow@example.com", Some(("Joe.\\Blow", "example.com"))),
            ("\"Abc@def\"@example.com", Some(("Abc@def", "example.com"))),
            ("\"Fred Bloggs\"@example.com", Some(("Fred Bloggs", "example.com"))),
            (
                "customer/department=shipping@example.com",
                Some(("customer/department=shipping", "example.com")),
            ),
            ("$A12345@example.com", Some(("$A12345", "example.com"))),
            ("!def!xyz%abc@example.com", Some(("!def!xyz%abc", "example.com"))),
            ("_somename@example.com", Some(("_somename", "example.com"))),
            // Its errata's.
            ("Abc\\@def@", Some(("Abc@def", ""))),
            ("1 @example.com", None),
            ("gatsby@f.sc.ot.t.f.i.tzg.era.l.d.", None),
            ("local.\"part\"@example.com", None),
            ("\"local.part\"@EXAMPLE.com", Some(("local.part", "example.com"))),
            ("a@b c", None),
            ("a@b@c", Some(("a", "b@c"))),
            ("a", None),
            ("", None),
            ("a\\", None),
            ("\"a\\", None),
            ("\"a\\\n\"@b", None),
            ("\"a\n\"@b", None),
            ("\"a\t\"@b", None),
            ("\"a\\\t\"@b", Some(("a\t", "b"))),
            ("\"a\x7f\"@b", Some(("a\x7f", "b"))),
            ("a@.b", None),
        ];
        for (text, expected) in table {
            let expected =
                expected.map(|(local, domain)| Mailbox { local: local.into(), domain: domain.into() });
            assert_eq!(Mailbox::parse(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn the_first_label_goes_and_the_period_stays() {
        assert_eq!(behind_first_label(b"a.b.c"), b".b.c");
        assert_eq!(behind_first_label(b".b"), b".b");
        assert_eq!(behind_first_label(b"com"), b"");
    }
}
