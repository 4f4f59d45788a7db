//! `'...'.format([...])`. Go: `ext/formatting.go`, whose numbers are printed by golang.org/x/text in the locale en_US.

use std::fmt::Write;

use super::super::ast::{Id, Kind, Literal, Node};
use super::super::check::Checked;
use super::super::evaluate::{Error, Evaluated, Meter};
use super::super::types::Type;
use super::super::value::{List, Map, Val};
use super::conversions::string_of;
use super::text;

/// Digits after the point, unless said otherwise. Go: `defaultPrecision`.
const DEFAULT_PRECISION: usize = 6;
/// Go prints more digits in a way of its own, which nobody needs.
const MAX_PRECISION: usize = 99;

/// How an argument is to be written.
#[derive(Clone, Copy)]
enum Clause {
    String,
    Decimal,
    Fixed(Option<usize>),
    Scientific(Option<usize>),
    Binary,
    Hex { upper: bool },
    Octal,
}

enum Piece<'f> {
    Text(&'f str),
    Clause(Clause),
}

/// Splits a format. The count of arguments is known beforehand. Go: `parseFormatString`.
fn scan<'f, E: From<String>>(
    format: &'f str,
    arguments: usize,
    mut piece: impl FnMut(Piece<'f>) -> Result<(), E>,
) -> Result<usize, E> {
    let (mut rest, mut used) = (format, 0);
    while let Some(at) = rest.find('%') {
        let (before, clause) = rest.split_at(at);
        piece(Piece::Text(before))?;
        let clause = &clause[1..];
        if let Some(after) = clause.strip_prefix('%') {
            piece(Piece::Text("%"))?;
            rest = after;
            continue;
        }
        if clause.is_empty() {
            return Err("unexpected end of string".to_owned().into());
        }
        if used >= arguments {
            return Err(format!("index {used} out of range").into());
        }
        let (parsed, after) =
            parse_clause(clause).map_err(|why| format!("could not parse formatting clause: {why}"))?;
        piece(Piece::Clause(parsed))?;
        used += 1;
        rest = after;
    }
    piece(Piece::Text(rest))?;
    Ok(used)
}

/// Go: `parseFormattingClause`, `parsePrecision`.
fn parse_clause(clause: &str) -> Result<(Clause, &str), String> {
    let (mut precision, mut rest) = (None, clause);
    if let Some(digits) = clause.strip_prefix('.') {
        let end = digits
            .find(|c: char| !c.is_ascii_digit())
            .ok_or("error while parsing precision: could not find end of precision specifier")?;
        let (digits, after) = digits.split_at(end);
        let parsed = digits.parse().map_err(|_| {
            format!("error while parsing precision: error while converting precision to integer: strconv.Atoi: parsing \"{digits}\": invalid syntax")
        })?;
        (precision, rest) = (Some(parsed), after);
    }
    let mut chars = rest.chars();
    let clause = match chars.next() {
        Some('s') => Clause::String,
        Some('d') => Clause::Decimal,
        Some('f') => Clause::Fixed(precision),
        Some('e') => Clause::Scientific(precision),
        Some('b') => Clause::Binary,
        Some('x') => Clause::Hex { upper: false },
        Some('X') => Clause::Hex { upper: true },
        Some('o') => Clause::Octal,
        other => {
            return Err(format!(
                "unrecognized formatting clause \"{}\"",
                other.map_or(String::new(), String::from)
            ));
        }
    };
    if precision.is_some_and(|precision| precision > MAX_PRECISION) {
        return Err(format!("precision above {MAX_PRECISION} is not supported"));
    }
    Ok((clause, chars.as_str()))
}

impl Clause {
    /// What is wrong with an argument of this type. Go: `stringFormatError` and its siblings.
    fn misuse(self, type_name: &str) -> String {
        let words = match self {
            Self::String => {
                "string clause can only be used on strings, bools, bytes, ints, doubles, maps, lists, types, durations, and timestamps"
            }
            Self::Decimal => "decimal clause can only be used on integers",
            Self::Fixed(_) => "fixed-point clause can only be used on doubles",
            Self::Scientific(_) => "scientific clause can only be used on doubles",
            Self::Binary => "only integers and bools can be formatted as binary",
            Self::Hex { .. } => "only integers, byte buffers, and strings can be formatted as hex",
            Self::Octal => "octal clause can only be used on integers",
        };
        format!("{words}, was given {type_name}")
    }
}

/// Runs a format.
pub(super) fn format<'a>(meter: &Meter, args: &[Val<'a>]) -> Evaluated<'a> {
    let Some(Val::List(list)) = args.get(1) else { return Err(Error::no_such_overload()) };
    let mut written = String::new();
    let mut index = 0;
    let result = scan(text(args, 0)?.as_str(), list.len(), |piece| {
        let before = written.len();
        match piece {
            Piece::Text(text) => written.push_str(text),
            Piece::Clause(clause) => {
                let value = list.get(index).unwrap_or(Val::Null);
                index += 1;
                write_clause(&mut written, clause, &value, meter).map_err(Failure::in_formatting)?;
            }
        }
        meter.work(written.len() - before).map_err(Failure::Error)
    });
    match result {
        Ok(_) => Ok(Val::string(written)),
        Err(Failure::Error(error)) => Err(error),
        Err(Failure::Words(words)) => Err(Error::new(words)),
    }
}

enum Failure {
    Words(String),
    Error(Error),
}

impl From<String> for Failure {
    fn from(words: String) -> Self {
        Self::Words(words)
    }
}

impl Failure {
    fn in_formatting(error: Error) -> Self {
        if error.is_final() {
            Self::Error(error)
        } else {
            Self::Words(format!("error during formatting: {error}"))
        }
    }
}

fn write_clause(into: &mut String, clause: Clause, value: &Val<'_>, meter: &Meter) -> Result<(), Error> {
    let misuse = || Error::new(clause.misuse(value.type_name()));
    // Writing to a string cannot fail.
    let _ = match (clause, value) {
        (Clause::String, _) => return write_string(into, value, meter),
        (Clause::Decimal, Val::Int(i)) => write!(into, "{i}"),
        (Clause::Decimal, Val::Uint(u)) => write!(into, "{u}"),
        (Clause::Fixed(precision), _) => {
            let d = double(value).ok_or_else(misuse)?;
            into.push_str(&fixed(d, precision.unwrap_or(DEFAULT_PRECISION)));
            Ok(())
        }
        (Clause::Scientific(precision), _) => {
            let d = double(value).ok_or_else(misuse)?;
            // Go: what is given as a precision is a width there.
            let width = precision.unwrap_or(DEFAULT_PRECISION);
            write!(into, "{:>width$}", scientific(d))
        }
        (Clause::Binary, Val::Int(i)) => write!(into, "{}{:b}", sign(*i), i.unsigned_abs()),
        (Clause::Binary, Val::Uint(u)) => write!(into, "{u:b}"),
        (Clause::Binary, Val::Bool(b)) => write!(into, "{}", u8::from(*b)),
        (Clause::Octal, Val::Int(i)) => write!(into, "{}{:o}", sign(*i), i.unsigned_abs()),
        (Clause::Octal, Val::Uint(u)) => write!(into, "{u:o}"),
        (Clause::Hex { upper }, _) => {
            let hex = match value {
                Val::Int(i) => format!("{}{:x}", sign(*i), i.unsigned_abs()),
                Val::Uint(u) => format!("{u:x}"),
                Val::String(s) => hex(s.as_str().as_bytes(), meter)?,
                Val::Bytes(b) => hex(b, meter)?,
                _ => return Err(misuse()),
            };
            into.push_str(&if upper { hex.to_ascii_uppercase() } else { hex });
            Ok(())
        }
        _ => return Err(misuse()),
    };
    Ok(())
}

fn sign(i: i64) -> &'static str {
    if i < 0 { "-" } else { "" }
}

fn hex(bytes: &[u8], meter: &Meter) -> Result<String, Error> {
    meter.work(bytes.len().saturating_mul(2))?;
    let mut hex = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(hex, "{byte:02x}");
    }
    Ok(hex)
}

/// A double, or one of the strings that stand for those that have no digits.
fn double(value: &Val<'_>) -> Option<f64> {
    match value {
        Val::Double(d) => Some(*d),
        Val::String(s) => match s.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        _ => None,
    }
}

fn not_finite(d: f64) -> Option<&'static str> {
    match d {
        _ if d.is_nan() => Some("NaN"),
        f64::INFINITY => Some("∞"),
        f64::NEG_INFINITY => Some("-∞"),
        _ => None,
    }
}

/// `1,234.50`
fn fixed(d: f64, precision: usize) -> String {
    if let Some(words) = not_finite(d) {
        return words.to_owned();
    }
    let digits = format!("{:.precision$}", d.abs());
    let (whole, fraction) = digits.split_once('.').map_or((&*digits, None), |(w, f)| (w, Some(f)));
    let mut text = String::new();
    // Go: no sign on zero.
    if d < 0.0 {
        text.push('-');
    }
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    if let Some(fraction) = fraction {
        text.push('.');
        text.push_str(fraction);
    }
    text
}

/// `1.234500×10⁰³`
fn scientific(d: f64) -> String {
    if let Some(words) = not_finite(d) {
        return words.to_owned();
    }
    let digits = format!("{:.DEFAULT_PRECISION$e}", d.abs());
    let (mantissa, exponent) = digits.split_once('e').unwrap_or((&digits, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let mut text = String::new();
    if d < 0.0 {
        text.push('-');
    }
    text.push_str(mantissa);
    text.push_str("×10");
    if exponent < 0 {
        text.push('⁻');
    }
    for digit in format!("{:02}", exponent.unsigned_abs()).chars() {
        text.push(match digit {
            '0' => '⁰',
            '1' => '¹',
            '2' => '²',
            '3' => '³',
            '4' => '⁴',
            '5' => '⁵',
            '6' => '⁶',
            '7' => '⁷',
            '8' => '⁸',
            _ => '⁹',
        });
    }
    text
}

/// Go: `FormatString`.
fn write_string(into: &mut String, value: &Val<'_>, meter: &Meter) -> Result<(), Error> {
    match value {
        Val::List(list) => write_list(into, list, meter),
        Val::Map(map) => write_map(into, map, meter),
        Val::Int(_)
        | Val::Uint(_)
        | Val::Double(_)
        | Val::Bool(_)
        | Val::String(_)
        | Val::Timestamp(_)
        | Val::Bytes(_)
        | Val::Duration(_)
        | Val::Type(_)
        | Val::Null => {
            let text = string_of(value)
                .map_err(|why| Error::new(format!("could not convert argument \"{why}\" to string")))?;
            meter.work(text.len())?;
            into.push_str(&text);
            Ok(())
        }
        other => Err(Error::new(Clause::String.misuse(other.type_name()))),
    }
}

fn write_list(into: &mut String, list: &List<'_>, meter: &Meter) -> Result<(), Error> {
    into.push('[');
    for (index, item) in list.iter().enumerate() {
        if index > 0 {
            into.push_str(", ");
        }
        meter.nested(|| write_item(into, &item, meter))?;
    }
    into.push(']');
    Ok(())
}

fn write_map(into: &mut String, map: &Map<'_>, meter: &Meter) -> Result<(), Error> {
    let mut entries = Vec::new();
    for (key, value) in map.entries() {
        if !matches!(key, Val::String(_) | Val::Bool(_) | Val::Int(_) | Val::Uint(_)) {
            let words = format!("no formatting function for map key of type {}", key.type_name());
            return Err(Error::new(words));
        }
        let (mut name, mut text) = (String::new(), String::new());
        meter.nested(|| write_item(&mut name, &key, meter))?;
        meter.nested(|| write_item(&mut text, &value, meter))?;
        entries.push((name, text));
    }
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    let entries: Vec<String> = entries.into_iter().map(|(key, value)| format!("{key}:{value}")).collect();
    into.push('{');
    into.push_str(&entries.join(", "));
    into.push('}');
    Ok(())
}

/// A value within a list or map. Go: `clauseForType`, `quoteForCEL`.
fn write_item(into: &mut String, value: &Val<'_>, meter: &Meter) -> Result<(), Error> {
    meter.work(1)?;
    match value {
        Val::String(s) => {
            meter.work(s.as_str().len())?;
            into.push_str(&quoted(s.as_str()));
        }
        Val::Bytes(_) => {
            let mut text = String::new();
            write_string(&mut text, value, meter)?;
            into.push('b');
            into.push_str(&quoted(&text));
        }
        Val::Double(d) if d.is_finite() => into.push_str(&format!("{d:.DEFAULT_PRECISION$}")),
        Val::Double(d) => into.push_str(&quoted(if d.is_nan() {
            "NaN"
        } else if *d > 0.0 {
            "+Inf"
        } else {
            "-Inf"
        })),
        Val::Timestamp(_) => into.push_str(&format!("timestamp({})", quoted(&string_of(value)?))),
        Val::Duration(_) => into.push_str(&format!("duration({})", quoted(&string_of(value)?))),
        Val::List(_) | Val::Map(_) | Val::Bool(_) | Val::Null | Val::Type(_) | Val::Int(_) | Val::Uint(_) => {
            return write_string(into, value, meter);
        }
        other => return Err(Error::new(format!("no formatting function for {}", other.type_name()))),
    }
    Ok(())
}

/// Go: `strconv.Quote`.
pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            c if is_print(c) => quoted.push(c),
            c => {
                let code = u32::from(c);
                let _ = match code {
                    0..0x80 => write!(quoted, "\\x{code:02x}"),
                    0x80..0x10000 => write!(quoted, "\\u{code:04x}"),
                    _ => write!(quoted, "\\U{code:08x}"),
                };
            }
        }
    }
    quoted.push('"');
    quoted
}

/// Whether Go prints a character as it is (`strconv.IsPrint`): Rust's `Debug` of a string asks the same of all but the first.
fn is_print(c: char) -> bool {
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    let text: String = ['a', c].iter().collect();
    text.escape_debug().eq(text.chars())
}

/// What is wrong with a constant format, and where. Go: `stringFormatValidator`.
pub(in super::super) fn check(call: &Node, checked: &Checked) -> Option<(Id, String)> {
    let Kind::Call(parts) = &call.kind else { return None };
    let (target, args) = (parts.target.as_deref()?, &*parts.args);
    let Kind::Literal(Literal::String(format)) = &target.kind else { return None };
    let [Node { kind: Kind::List { elements }, .. }] = args else { return None };
    let mut index = 0;
    let mut place = call.id;
    let result: Result<usize, String> = scan(format, elements.len(), |piece| {
        let Piece::Clause(clause) = piece else { return Ok(()) };
        let Some(element) = elements.get(index) else { return Ok(()) };
        index += 1;
        check_argument(clause, &element.node, checked).map_err(|(id, type_name)| {
            place = id;
            format!("error during formatting: {}", clause.misuse(type_name))
        })
    });
    match result {
        Err(words) => Some((place, words)),
        Ok(used) if used < elements.len() => Some((
            call.id,
            format!("too many arguments supplied to string.format (expected {used}, got {})", elements.len()),
        )),
        Ok(_) => None,
    }
}

/// The node that a clause cannot write, and its type's name. Go: `stringFormatChecker`.
fn check_argument(clause: Clause, node: &Node, checked: &Checked) -> Result<(), (Id, &'static str)> {
    let t = checked.type_of(node);
    let fits = match clause {
        _ if *t == Type::Dyn => true,
        Clause::String => matches!(
            t,
            Type::List(_)
                | Type::Map(..)
                | Type::Int
                | Type::Uint
                | Type::Double
                | Type::Bool
                | Type::String
                | Type::Timestamp
                | Type::Bytes
                | Type::Duration
                | Type::Meta(_)
                | Type::Null
        ),
        Clause::Decimal | Clause::Octal => matches!(t, Type::Int | Type::Uint),
        Clause::Fixed(_) | Clause::Scientific(_) => matches!(t, Type::Double | Type::String),
        Clause::Binary => matches!(t, Type::Int | Type::Uint | Type::Bool),
        Clause::Hex { .. } => matches!(t, Type::Int | Type::Uint | Type::String | Type::Bytes),
    };
    if !fits {
        return Err((node.id, t.name()));
    }
    match (&node.kind, clause) {
        (Kind::List { elements }, Clause::String) => {
            elements.iter().try_for_each(|element| check_argument(clause, &element.node, checked))
        }
        (Kind::Map { entries }, Clause::String) => entries.iter().try_for_each(|entry| {
            check_argument(clause, &entry.key, checked)?;
            check_argument(clause, &entry.value, checked)
        }),
        _ => Ok(()),
    }
}
