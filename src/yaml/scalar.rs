//! What a scalar is. Go: `resolve` (resolve.go of go.yaml.in/yaml/v2).

use serde_json::{Number, Value};

/// The name space of the tags that are written `!!str`.
pub(super) const CORE: &str = "tag:yaml.org,2002:";

/// The value of a plain scalar, for which `tag` is empty, or of one with a tag. Tags of other name spaces than [`CORE`] mean nothing.
pub(super) fn resolve(tag: &str, text: &str) -> Result<Value, String> {
    let kind = match tag.strip_prefix(CORE) {
        Some(kind) => kind,
        None if tag.is_empty() => "",
        None => return Ok(text.into()),
    };
    if matches!(kind, "binary" | "timestamp") {
        return Err(format!("!!{kind} is not supported; write plain text"));
    }
    if !matches!(kind, "" | "null" | "bool" | "int" | "float") {
        return Ok(text.into());
    }
    let value = implicit(text)?;
    let agrees = match &value {
        _ if kind.is_empty() => true,
        Value::Null => kind == "null",
        Value::Bool(_) => kind == "bool",
        Value::Number(number) => kind == "float" || kind == "int" && !number.is_f64(),
        Value::String(_) | Value::Array(_) | Value::Object(_) => false,
    };
    if agrees { Ok(value) } else { Err(format!("cannot decode it as a !!{kind}")) }
}

/// What a text looks like.
fn implicit(text: &str) -> Result<Value, String> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => true.into(),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => false.into(),
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf"
        | "-.Inf" | "-.INF" => return Err("infinity, or what is not a number, cannot be a value".to_owned()),
        _ => {
            // A date begins like a number and is none.
            let number = match text.as_bytes().first() {
                Some(b'.') => float(text),
                Some(b'+' | b'-' | b'0'..=b'9') => {
                    let plain = text.replace('_', "");
                    integer(&plain).or_else(|| float(&plain))
                }
                _ => None,
            };
            number.map_or_else(|| text.into(), Value::Number)
        }
    })
}

/// Go: `strconv.ParseInt` and `ParseUint` with base 0, and the binary numbers that these do not know.
fn integer(text: &str) -> Option<Number> {
    let (sign, digits) = match text.split_at_checked(1) {
        Some((sign @ ("+" | "-"), digits)) => (sign, digits),
        _ => ("", text),
    };
    let prefixed = |prefix: [&str; 2]| prefix.into_iter().find_map(|prefix| digits.strip_prefix(prefix));
    let (radix, digits) = if let Some(digits) = prefixed(["0x", "0X"]) {
        (16, digits)
    } else if let Some(digits) = prefixed(["0o", "0O"]) {
        (8, digits)
    } else if let Some(digits) = prefixed(["0b", "0B"]) {
        (2, digits)
    } else if digits.len() > 1 && digits.starts_with('0') {
        (8, digits)
    } else {
        (10, digits)
    };
    // Rust's parsers read a sign.
    if digits.starts_with(['+', '-']) {
        let binary = text.strip_prefix("0b")?;
        return i64::from_str_radix(binary, 2).ok().map(Number::from);
    }
    match sign {
        "" => u64::from_str_radix(digits, radix).ok().map(Number::from),
        sign => i64::from_str_radix(&format!("{sign}{digits}"), radix).ok().map(Number::from),
    }
}

/// Go: `yamlStyleFloat` and `strconv.ParseFloat`; what is too large is none.
fn float(text: &str) -> Option<Number> {
    let decimal = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let number: f64 = if decimal { text.parse().ok()? } else { return None };
    Number::from_f64(number)
}
