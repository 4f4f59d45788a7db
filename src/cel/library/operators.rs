//! Arithmetic and order. Go: the operators of cel-go's `common/stdlib/standard.go` and the types' own methods.

use std::cmp::Ordering;
use std::sync::Arc;

use super::super::evaluate::{Error, Evaluated, Meter};
use super::super::value::{List, Map, Val};
use super::{Run, first};

pub(super) fn find(function: &str) -> Option<Run> {
    Some(match function {
        "_+_" => add,
        "_-_" => subtract,
        "_*_" => multiply,
        "_/_" => divide,
        "_%_" => modulo,
        "-_" => negate,
        "!_" => not,
        "_<_" => |_, args| order(args, |o| o == Ordering::Less),
        "_<=_" => |_, args| order(args, |o| o != Ordering::Greater),
        "_>_" => |_, args| order(args, |o| o == Ordering::Greater),
        "_>=_" => |_, args| order(args, |o| o != Ordering::Less),
        "@in" => contains,
        "@not_strictly_false" => |_, args| match first(args)? {
            Val::Bool(b) => Ok(Val::Bool(*b)),
            _ => Ok(Val::Bool(true)),
        },
        _ => return None,
    })
}

fn sides<'v, 'a>(args: &'v [Val<'a>]) -> Result<(&'v Val<'a>, &'v Val<'a>), Error> {
    match args {
        [a, b] => Ok((a, b)),
        _ => Err(Error::no_such_overload()),
    }
}

fn overflow(unsigned: bool) -> Error {
    Error::new(if unsigned { "unsigned integer overflow" } else { "integer overflow" })
}

fn add<'a>(meter: &Meter, args: &[Val<'a>]) -> Evaluated<'a> {
    Ok(match sides(args)? {
        (Val::Int(a), Val::Int(b)) => Val::Int(a.checked_add(*b).ok_or_else(|| overflow(false))?),
        (Val::Uint(a), Val::Uint(b)) => Val::Uint(a.checked_add(*b).ok_or_else(|| overflow(true))?),
        (Val::Double(a), Val::Double(b)) => Val::Double(a + b),
        (Val::String(a), Val::String(b)) => {
            let (a, b) = (a.as_str(), b.as_str());
            meter.work(a.len().saturating_add(b.len()))?;
            let mut text = String::with_capacity(a.len() + b.len());
            text.push_str(a);
            text.push_str(b);
            Val::string(text)
        }
        (Val::Bytes(a), Val::Bytes(b)) => {
            meter.work(a.len().saturating_add(b.len()))?;
            Val::Bytes([&**a, &**b].concat().into())
        }
        (Val::List(a), Val::List(b)) => lists(meter, a, b)?,
        (Val::Duration(a), Val::Duration(b)) => {
            Val::Duration(a.checked_add(*b).ok_or_else(|| overflow(false))?)
        }
        (Val::Duration(d), Val::Timestamp(t)) | (Val::Timestamp(t), Val::Duration(d)) => {
            Val::Timestamp(t.plus(i128::from(*d))?)
        }
        _ => return Err(Error::no_such_overload()),
    })
}

/// One after the other; an empty list leaves the other as it is. Go: `baseList.Add`.
fn lists<'a>(meter: &Meter, a: &List<'a>, b: &List<'a>) -> Evaluated<'a> {
    if a.len() == 0 {
        return Ok(Val::List(b.clone()));
    }
    if b.len() == 0 {
        return Ok(Val::List(a.clone()));
    }
    meter.items(a.len().saturating_add(b.len()))?;
    // By index, as Go's view of both lists gets its items.
    let all = |list: &List<'a>| (0..list.len()).filter_map(|i| list.get(i)).collect::<Vec<_>>();
    let mut items = all(a);
    items.extend(all(b));
    Ok(Val::List(List::Joined(Arc::new(items))))
}

fn subtract<'a>(_: &Meter, args: &[Val<'a>]) -> Evaluated<'a> {
    Ok(match sides(args)? {
        (Val::Int(a), Val::Int(b)) => Val::Int(a.checked_sub(*b).ok_or_else(|| overflow(false))?),
        (Val::Uint(a), Val::Uint(b)) => Val::Uint(a.checked_sub(*b).ok_or_else(|| overflow(true))?),
        (Val::Double(a), Val::Double(b)) => Val::Double(a - b),
        (Val::Duration(a), Val::Duration(b)) => {
            Val::Duration(a.checked_sub(*b).ok_or_else(|| overflow(false))?)
        }
        (Val::Timestamp(t), Val::Duration(d)) => Val::Timestamp(t.plus(-i128::from(*d))?),
        (Val::Timestamp(a), Val::Timestamp(b)) => {
            let difference = a.nanoseconds() - b.nanoseconds();
            Val::Duration(i64::try_from(difference).map_err(|_| overflow(false))?)
        }
        _ => return Err(Error::no_such_overload()),
    })
}

fn multiply<'a>(_: &Meter, args: &[Val<'a>]) -> Evaluated<'a> {
    Ok(match sides(args)? {
        (Val::Int(a), Val::Int(b)) => Val::Int(a.checked_mul(*b).ok_or_else(|| overflow(false))?),
        (Val::Uint(a), Val::Uint(b)) => Val::Uint(a.checked_mul(*b).ok_or_else(|| overflow(true))?),
        (Val::Double(a), Val::Double(b)) => Val::Double(a * b),
        _ => return Err(Error::no_such_overload()),
    })
}

fn divide<'a>(_: &Meter, args: &[Val<'a>]) -> Evaluated<'a> {
    let zero = || Error::new("division by zero");
    Ok(match sides(args)? {
        (Val::Int(_), Val::Int(0)) | (Val::Uint(_), Val::Uint(0)) => return Err(zero()),
        (Val::Int(a), Val::Int(b)) => Val::Int(a.checked_div(*b).ok_or_else(|| overflow(false))?),
        (Val::Uint(a), Val::Uint(b)) => Val::Uint(a.checked_div(*b).ok_or_else(zero)?),
        (Val::Double(a), Val::Double(b)) => Val::Double(a / b),
        _ => return Err(Error::no_such_overload()),
    })
}

fn modulo<'a>(_: &Meter, args: &[Val<'a>]) -> Evaluated<'a> {
    let zero = || Error::new("modulus by zero");
    Ok(match sides(args)? {
        (Val::Int(_), Val::Int(0)) | (Val::Uint(_), Val::Uint(0)) => return Err(zero()),
        (Val::Int(a), Val::Int(b)) => Val::Int(a.checked_rem(*b).ok_or_else(|| overflow(false))?),
        (Val::Uint(a), Val::Uint(b)) => Val::Uint(a.checked_rem(*b).ok_or_else(zero)?),
        _ => return Err(Error::no_such_overload()),
    })
}

fn negate<'a>(_: &Meter, args: &[Val<'a>]) -> Evaluated<'a> {
    Ok(match first(args)? {
        Val::Int(i) => Val::Int(i.checked_neg().ok_or_else(|| overflow(false))?),
        Val::Double(d) => Val::Double(-d),
        Val::Duration(d) => Val::Duration(d.checked_neg().ok_or_else(|| overflow(false))?),
        _ => return Err(Error::no_such_overload()),
    })
}

fn not<'a>(_: &Meter, args: &[Val<'a>]) -> Evaluated<'a> {
    match first(args)? {
        Val::Bool(b) => Ok(Val::Bool(!b)),
        _ => Err(Error::no_such_overload()),
    }
}

fn order<'a>(args: &[Val<'a>], holds: fn(Ordering) -> bool) -> Evaluated<'a> {
    let (a, b) = sides(args)?;
    Ok(Val::Bool(holds(a.compare(b)?)))
}

/// `x in list`, `key in map`. Go: `inAggregate`.
fn contains<'a>(meter: &Meter, args: &[Val<'a>]) -> Evaluated<'a> {
    match sides(args)? {
        (value, Val::List(list)) => Ok(Val::Bool(list.contains(value, meter)?)),
        (key, Val::Map(map)) if matches!(map, Map::Entries(_)) && map.len() > 0 => {
            key.hashable()?;
            Ok(Val::Bool(map.find_raw(key).is_some()))
        }
        (key, Val::Map(map)) => Ok(Val::Bool(map.find_raw(key).is_some())),
        _ => Err(Error::no_such_overload()),
    }
}
