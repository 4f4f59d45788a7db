//! Conversions between types, `size`, `type`, and optional values. Go: `ConvertToType` of cel-go's types, `cel/library.go`.

use super::super::evaluate::{Error, Evaluated, Meter};
use super::super::numbers;
use super::super::value::{Map, Val};
use super::time::{Timestamp, parse_duration};
use super::{Run, first, text};

pub(super) fn find(id: &str) -> Option<Run> {
    Some(match id {
        "bool_to_bool"
        | "bytes_to_bytes"
        | "double_to_double"
        | "duration_to_duration"
        | "int64_to_int64"
        | "string_to_string"
        | "timestamp_to_timestamp"
        | "uint64_to_uint64" => dynamic,
        "string_to_bool" => |_, args| parsed(args, "bool", |s| numbers::parse_bool(s).map(Val::Bool)),
        "string_to_bytes" => |_, args| Ok(Val::Bytes(text(args, 0)?.as_str().as_bytes().into())),
        "int64_to_double" | "uint64_to_double" => to_double,
        "string_to_double" => |_, args| parsed(args, "double", |s| numbers::parse_f64(s).map(Val::Double)),
        "int64_to_duration" => |_, _| Err(type_conversion("int", "google.protobuf.Duration")),
        "string_to_duration" => {
            |_, args| parsed(args, "google.protobuf.Duration", |s| parse_duration(s).map(Val::Duration))
        }
        "double_to_int64" | "duration_to_int64" | "timestamp_to_int64" | "uint64_to_int64" => to_int,
        "string_to_int64" => |_, args| parsed(args, "int", |s| s.parse().ok().map(Val::Int)),
        "double_to_uint64" | "int64_to_uint64" => to_uint,
        "string_to_uint64" => |_, args| parsed(args, "uint", |s| numbers::parse_u64(s).map(Val::Uint)),
        "bool_to_string"
        | "bytes_to_string"
        | "double_to_string"
        | "duration_to_string"
        | "int64_to_string"
        | "timestamp_to_string"
        | "uint64_to_string"
        | "ip_to_string"
        | "cidr_to_string" => to_string,
        "int64_to_timestamp" => |_, args| match first(args)? {
            Val::Int(seconds) => Ok(Val::Timestamp(Timestamp::from_seconds(*seconds)?)),
            _ => Err(Error::no_such_overload()),
        },
        "string_to_timestamp" => |_, args| {
            let s = text(args, 0)?;
            match Timestamp::parse(s.as_str()) {
                Some(timestamp) => Ok(Val::Timestamp(timestamp?)),
                None => Err(type_conversion("string", "google.protobuf.Timestamp")),
            }
        },
        "optional_of" => |_, args| Ok(Val::some(first(args)?.clone())),
        "optional_ofNonZeroValue" => |_, args| {
            let value = first(args)?;
            Ok(if is_zero(value) { Val::Optional(None) } else { Val::some(value.clone()) })
        },
        "optional_none" => |_, _| Ok(Val::Optional(None)),
        "optional_value" => |_, args| match first(args)? {
            Val::Optional(Some(value)) => Ok(Val::clone(value)),
            Val::Optional(None) => Err(Error::new("optional.none() dereference")),
            _ => Err(Error::no_such_overload()),
        },
        "optional_hasValue" => |_, args| match first(args)? {
            Val::Optional(value) => Ok(Val::Bool(value.is_some())),
            _ => Err(Error::no_such_overload()),
        },
        _ => return None,
    })
}

fn type_conversion(from: &str, to: &str) -> Error {
    Error::new(format!("type conversion error from '{from}' to '{to}'"))
}

/// The argument as it is.
pub(super) fn dynamic<'a>(_: &Meter, args: &[Val<'a>]) -> Evaluated<'a> {
    first(args).cloned()
}

/// `type(x)`.
pub(super) fn type_of<'a>(_: &Meter, args: &[Val<'a>]) -> Evaluated<'a> {
    Ok(Val::Type(first(args)?.type_name()))
}

/// `size(x)`. Go: `traits.Sizer`, which `claims` itself is none of by its type.
pub(super) fn size<'a>(_: &Meter, args: &[Val<'a>]) -> Evaluated<'a> {
    Ok(match first(args)? {
        Val::String(s) => Val::size(numbers::code_points(s.as_str())),
        Val::Bytes(b) => Val::size(b.len()),
        Val::List(list) => Val::size(list.len()),
        Val::Map(map) => Val::size(map.len()),
        _ => return Err(Error::new("no such overload: size")),
    })
}

fn parsed<'a>(args: &[Val<'a>], to: &str, parse: fn(&str) -> Option<Val<'static>>) -> Evaluated<'a> {
    let s = text(args, 0)?;
    parse(s.as_str()).ok_or_else(|| type_conversion("string", to))
}

fn to_double<'a>(_: &Meter, args: &[Val<'a>]) -> Evaluated<'a> {
    Ok(Val::Double(match first(args)? {
        Val::Int(i) => numbers::f64_of(*i),
        Val::Uint(u) => numbers::f64_of_u64(*u),
        _ => return Err(Error::no_such_overload()),
    }))
}

fn to_int<'a>(_: &Meter, args: &[Val<'a>]) -> Evaluated<'a> {
    let overflow = || Error::new("integer overflow");
    Ok(Val::Int(match first(args)? {
        Val::Double(d) => numbers::i64_of(*d).ok_or_else(overflow)?,
        Val::Duration(nanoseconds) => *nanoseconds,
        Val::Timestamp(timestamp) => timestamp.seconds(),
        Val::Uint(u) => i64::try_from(*u).map_err(|_| overflow())?,
        _ => return Err(Error::no_such_overload()),
    }))
}

fn to_uint<'a>(_: &Meter, args: &[Val<'a>]) -> Evaluated<'a> {
    let overflow = || Error::new("unsigned integer overflow");
    Ok(Val::Uint(match first(args)? {
        Val::Double(d) => numbers::u64_of(*d).ok_or_else(overflow)?,
        Val::Int(i) => u64::try_from(*i).map_err(|_| overflow())?,
        _ => return Err(Error::no_such_overload()),
    }))
}

fn to_string<'a>(meter: &Meter, args: &[Val<'a>]) -> Evaluated<'a> {
    let value = first(args)?;
    if let Val::Bytes(bytes) = value {
        meter.work(bytes.len())?;
    }
    string_of(value).map(Val::string)
}

/// A value as a string. Go: `ConvertToType(StringType)`.
pub(super) fn string_of(value: &Val<'_>) -> Result<String, Error> {
    Ok(match value {
        Val::String(s) => s.as_str().to_owned(),
        Val::Bool(b) => b.to_string(),
        Val::Int(i) => i.to_string(),
        Val::Uint(u) => u.to_string(),
        Val::Double(d) => numbers::format_g(*d),
        Val::Bytes(b) => std::str::from_utf8(b)
            .map_err(|_| Error::new("invalid UTF-8 in bytes, cannot convert to string"))?
            .to_owned(),
        Val::Duration(nanoseconds) => format!("{}s", numbers::seconds(*nanoseconds)),
        Val::Timestamp(timestamp) => timestamp.to_string(),
        Val::Null => "null".to_owned(),
        Val::Type(name) => (*name).to_owned(),
        Val::Ip(ip) => ip.to_string(),
        Val::Cidr(network) => network.to_string(),
        other => return Err(type_conversion(other.type_name(), "string")),
    })
}

/// Whether a value is its type's zero. Go: `traits.Zeroer`, which Kubernetes' types are not.
fn is_zero(value: &Val<'_>) -> bool {
    match value {
        Val::Null => true,
        Val::Bool(b) => !b,
        Val::Int(i) => *i == 0,
        Val::Uint(u) => *u == 0,
        Val::Double(d) => *d == 0.0,
        Val::String(s) => s.as_str().is_empty(),
        Val::Bytes(b) => b.is_empty(),
        Val::Duration(d) => *d == 0,
        Val::Timestamp(t) => t.is_go_zero(),
        // Behind Go's wrappers for the claims there is no `IsZeroValue`, so an empty claim is not zero.
        Val::List(list) => list.len() == 0 && !list.unescapes(),
        Val::Map(Map::Json { unescape: true, .. } | Map::Extra { unescape: true, .. }) => false,
        Val::Map(map) => map.len() == 0,
        _ => false,
    }
}
