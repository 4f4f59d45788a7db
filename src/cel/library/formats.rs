//! Kubernetes' named formats, `format.dns1123Label()` and its siblings. Go: k8s.io/apiserver/pkg/cel/library/format.go, over
//! k8s.io/apimachinery's validation and kube-openapi's `strfmt`.

use std::sync::Arc;

use super::super::evaluate::{Error, Evaluated, Meter};
use super::super::value::{Text, Val};
use super::format::quoted;
use super::time::is_date;
use super::url::Url;
use super::{Run, text};

/// A named format.
#[derive(Debug)]
pub(in super::super) struct Format {
    function: &'static str,
    pub(in super::super) name: &'static str,
    /// What is wrong with a text.
    validate: fn(&str) -> Vec<String>,
    /// What cel-go's cost counts as the size of its pattern.
    pub(in super::super) max_regex_size: u64,
}

/// Go: `ConstantFormats`.
static FORMATS: [Format; 13] = [
    format("byte", "byte", |s| unless(is_base64(s), "invalid base64"), 84),
    format("date", "date", |s| unless(is_date(s), "invalid date"), 71),
    format("datetime", "datetime", |s| unless(is_datetime(s), "invalid datetime"), 71),
    format("dns1035Label", "DNS1035Label", dns1035_label, 30),
    format("dns1035LabelPrefix", "DNS1035LabelPrefix", |s| dns1035_label(&masked(s)), 30),
    format("dns1123Label", "DNS1123Label", dns1123_label, 30),
    format("dns1123LabelPrefix", "DNS1123LabelPrefix", |s| dns1123_label(&masked(s)), 30),
    format("dns1123Subdomain", "DNS1123Subdomain", dns1123_subdomain, 60),
    format("dns1123SubdomainPrefix", "DNS1123SubdomainPrefix", |s| dns1123_subdomain(&masked(s)), 60),
    format("labelValue", "LabelValue", label_value, 40),
    format("qualifiedName", "QualifiedName", qualified_name, 60),
    format(
        "uri",
        "URI",
        |s| unless(Url::is_request_uri(s), &format!("parse {}: invalid URI", quoted(s))),
        1103,
    ),
    format("uuid", "uuid", |s| unless(is_uuid(s), "does not match the UUID format"), 70),
];

const fn format(
    function: &'static str,
    name: &'static str,
    validate: fn(&str) -> Vec<String>,
    max_regex_size: u64,
) -> Format {
    Format { function, name, validate, max_regex_size }
}

fn named(name: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.function == name)
}

pub(super) fn find(id: &str) -> Option<Run> {
    /// A function for each format, since a function without arguments has nothing else to tell them apart.
    macro_rules! constants {
        ($($name:literal)*) => {
            match id {
                $(concat!("format.", $name) => Some(|_, _| {
                    named($name).map(Val::Format).ok_or_else(Error::no_such_overload)
                }),)*
                "format-named" => Some(|_, args| {
                    let format = named(text(args, 0)?.as_str());
                    Ok(Val::Optional(format.map(|format| Arc::new(Val::Format(format)))))
                }),
                "format-validate" => Some(validate),
                _ => None,
            }
        };
    }
    constants!("byte" "date" "datetime" "dns1035Label" "dns1035LabelPrefix" "dns1123Label" "dns1123LabelPrefix"
        "dns1123Subdomain" "dns1123SubdomainPrefix" "labelValue" "qualifiedName" "uri" "uuid")
}

/// What is wrong with a text, or nothing. Go: `formatValidate`.
fn validate<'a>(meter: &Meter, args: &[Val<'a>]) -> Evaluated<'a> {
    let (Some(Val::Format(format)), text) = (args.first(), text(args, 1)?) else {
        return Err(Error::no_such_overload());
    };
    meter.work(text.as_str().len())?;
    let errors = (format.validate)(text.as_str());
    if errors.is_empty() {
        return Ok(Val::Optional(None));
    }
    Ok(Val::some(Val::strings(errors.into_iter().map(|error| Text::Made(error.into())).collect())))
}

fn unless(sound: bool, error: &str) -> Vec<String> {
    if sound { Vec::new() } else { vec![error.to_owned()] }
}

/// Go: `maskTrailingDash`.
fn masked(name: &str) -> String {
    match name.strip_suffix('-') {
        // Go cuts the character before the dash too, whatever it was, and puts a letter there.
        Some(rest) if !rest.is_empty() => {
            let cut = (0..rest.len()).rev().find(|at| rest.is_char_boundary(*at)).unwrap_or(0);
            format!("{}a", &rest[..cut])
        }
        _ => name.to_owned(),
    }
}

fn too_long(errors: &mut Vec<String>, text: &str, limit: usize) {
    if text.len() > limit {
        errors.push(format!("must be no more than {limit} characters"));
    }
}

/// Letters of which `[a-z0-9]([-a-z0-9]*[a-z0-9])?` is made.
fn is_label(text: &str) -> bool {
    let edge = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.first().is_some_and(edge)
        && bytes.last().is_some_and(edge)
        && bytes.iter().all(|b| edge(b) || *b == b'-')
}

fn is_subdomain(text: &str) -> bool {
    text.split('.').all(is_label)
}

/// Go: `IsDNS1123Label`.
fn dns1123_label(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    too_long(&mut errors, text, 63);
    if !is_label(text) {
        errors.push(if is_subdomain(text) {
            "must not contain dots".to_owned()
        } else {
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')".to_owned()
        });
    }
    errors
}

/// Go: `IsDNS1123Subdomain`.
fn dns1123_subdomain(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    too_long(&mut errors, text, 253);
    if !is_subdomain(text) {
        errors.push("a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')".to_owned());
    }
    errors
}

/// Go: `IsDNS1035Label`.
fn dns1035_label(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    too_long(&mut errors, text, 63);
    if !(is_label(text) && text.starts_with(|c: char| c.is_ascii_lowercase())) {
        errors.push("a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')".to_owned());
    }
    errors
}

/// `([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]`
fn is_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
}

/// Go: `IsLabelValue`.
fn label_value(text: &str) -> Vec<String> {
    let mut errors = Vec::new();
    too_long(&mut errors, text, 63);
    if !text.is_empty() && !is_name(text) {
        errors.push("a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')".to_owned());
    }
    errors
}

/// Go: `IsLabelKey`.
fn qualified_name(text: &str) -> Vec<String> {
    const WORDS: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
    let mut errors = Vec::new();
    let parts: Vec<&str> = text.split('/').collect();
    let name = match &*parts {
        [name] => name,
        [prefix, name] => {
            if prefix.is_empty() {
                errors.push("prefix part must be non-empty".to_owned());
            } else {
                errors.extend(dns1123_subdomain(prefix).iter().map(|error| format!("prefix part {error}")));
            }
            name
        }
        _ => {
            errors.push(format!(
                "a valid label key {WORDS} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            ));
            return errors;
        }
    };
    if name.is_empty() {
        errors.push("name part must be non-empty".to_owned());
    } else if name.len() > 63 {
        errors.push("name part must be no more than 63 characters".to_owned());
    }
    if !is_name(name) {
        errors.push(format!("name part {WORDS}"));
    }
    errors
}

/// Go: `strfmt.UUIDPattern`.
fn is_uuid(text: &str) -> bool {
    let mut rest = text.as_bytes();
    for (index, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        if index > 0 {
            rest = rest.strip_prefix(b"-").unwrap_or(rest);
        }
        match rest.split_at_checked(length) {
            Some((digits, after)) if digits.iter().all(u8::is_ascii_hexdigit) => rest = after,
            _ => return false,
        }
    }
    rest.is_empty()
}

/// Go: `govalidator.IsBase64`.
fn is_base64(text: &str) -> bool {
    let digits = text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text);
    !text.is_empty()
        && text.len().is_multiple_of(4)
        && digits.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/".contains(&b))
}

/// Go: `strfmt.IsDateTime`.
fn is_datetime(text: &str) -> bool {
    let lower = text.to_lowercase();
    let mut parts = lower.split('t');
    let (Some(date), Some(time)) = (parts.next(), parts.next()) else { return false };
    text.len() >= 4 && is_date(date) && is_time(time)
}

/// Go: `strfmt.DateTimePattern`, lower case.
fn is_time(time: &str) -> bool {
    let digits = |s: &str| s.len() == 2 && s.bytes().all(|b| b.is_ascii_digit());
    let (Some(clock), Some(mut rest)) = (time.get(..8), time.get(8..)) else { return false };
    let parts: Vec<&str> = clock.split(':').collect();
    let [hour, minute, second] = &*parts else { return false };
    if ![hour, minute, second].into_iter().all(|part| digits(part)) {
        return false;
    }
    let ends = |zone: &str| match zone.strip_prefix(['+', '-']) {
        Some(offset) => offset.split_once(':').is_some_and(|(h, m)| digits(h) && digits(m)),
        None => zone == "z",
    };
    if !ends(rest) {
        // A fraction, behind any character.
        let mut chars = rest.chars();
        if chars.next().is_none_or(|c| c == '\n') {
            return false;
        }
        let fraction = chars.as_str();
        rest = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
        if rest.len() == fraction.len() || !ends(rest) {
            return false;
        }
    }
    *hour <= "23" && *minute <= "59" && *second <= "59"
}
