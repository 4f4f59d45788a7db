//! Functions of lists and sets. Go: `ext/lists.go` (version 3), `ext/sets.go`, `cel/library.go`, and Kubernetes'
//! `pkg/cel/library/lists.go`.

use std::cmp::Ordering;
use std::sync::Arc;

use super::super::evaluate::{Error, Evaluated, Meter};
use super::super::value::{List, Val, absorbed};
use super::{Run, int, operators, text};

/// Those that look at the types of their arguments themselves.
pub(super) fn operator(function: &str) -> Option<Run> {
    Some(match function {
        "sort" => |meter, args| {
            let list = list(args, 0)?;
            sort_by_keys(meter, list, list)
        },
        // Go: without type guards, so that a list which is flat already will do.
        "flatten" => |meter, args| {
            let depth = if args.len() > 1 { int(args, 1)? } else { 1 };
            flattened(meter, list(args, 0)?, depth)
        },
        "@sortByAssociatedKeys" => |meter, args| sort_by_keys(meter, list(args, 0)?, list(args, 1)?),
        _ => return None,
    })
}

pub(super) fn find(id: &str) -> Option<Run> {
    Some(match id {
        "list_a_index_of_int" => |meter, args| index_of(meter, args, false),
        "list_a_last_index_of_int" => |meter, args| index_of(meter, args, true),
        "list_distinct" => distinct,
        "list_first" => |_, args| Ok(Val::Optional(list(args, 0)?.get(0).map(Arc::new))),
        "list_last" => |_, args| {
            let list = list(args, 0)?;
            let last = list.len().checked_sub(1).and_then(|last| list.get(last));
            Ok(Val::Optional(last.map(Arc::new)))
        },
        "list_join" | "list_join_string" => join,
        "list_reverse" => |meter, args| {
            let list = list(args, 0)?;
            meter.items(list.len())?;
            Ok(Val::list((0..list.len()).rev().filter_map(|i| list.get(i)).collect()))
        },
        "list_slice" => slice,
        "lists_range" => range,
        "list_sets_contains_list" => {
            |meter, args| Ok(Val::Bool(includes(meter, list(args, 0)?, list(args, 1)?)?))
        }
        "list_sets_equivalent_list" => |meter, args| {
            let (a, b) = (list(args, 0)?, list(args, 1)?);
            Ok(Val::Bool(includes(meter, a, b)? && includes(meter, b, a)?))
        },
        "list_sets_intersects_list" => |meter, args| {
            let (a, b) = (list(args, 0)?, list(args, 1)?);
            for item in a.iter() {
                if b.contains(&item, meter)? {
                    return Ok(Val::Bool(true));
                }
            }
            Ok(Val::Bool(false))
        },
        "optional_unwrap" | "optional_unwrapOpt" => unwrap,
        _ if id.starts_with("list_") && id.ends_with("_is_sorted_bool") => is_sorted,
        _ if id.starts_with("list_") && id.contains("_max_") => |_, args| best(args, "max", Ordering::Less),
        _ if id.starts_with("list_") && id.contains("_min_") => {
            |_, args| best(args, "min", Ordering::Greater)
        }
        "list_int_sum_int" => |meter, args| sum(meter, args, Val::Int(0)),
        "list_uint_sum_uint" => |meter, args| sum(meter, args, Val::Uint(0)),
        "list_double_sum_double" => |meter, args| sum(meter, args, Val::Double(0.0)),
        "list_duration_sum_duration" => |meter, args| sum(meter, args, Val::Duration(0)),
        _ => return None,
    })
}

/// An argument that has to be a list.
fn list<'v, 'a>(args: &'v [Val<'a>], at: usize) -> Result<&'v List<'a>, Error> {
    match args.get(at) {
        Some(Val::List(list)) => Ok(list),
        _ => Err(Error::no_such_overload()),
    }
}

fn index_of<'a>(meter: &Meter, args: &[Val<'a>], last: bool) -> Evaluated<'a> {
    let list = list(args, 0)?;
    let wanted = args.get(1).ok_or_else(Error::no_such_overload)?;
    let is_it = |index: &usize| match list.get(*index) {
        Some(item) => absorbed(item.equals(wanted, meter)),
        None => Ok(false),
    };
    let mut indices: Box<dyn Iterator<Item = usize>> =
        if last { Box::new((0..list.len()).rev()) } else { Box::new(0..list.len()) };
    loop {
        let Some(index) = indices.next() else { return Ok(Val::Int(-1)) };
        if is_it(&index)? {
            return Ok(Val::size(index));
        }
    }
}

fn distinct<'a>(meter: &Meter, args: &[Val<'a>]) -> Evaluated<'a> {
    let list = list(args, 0)?;
    if list.len() == 0 {
        return Ok(Val::List(list.clone()));
    }
    let mut unique: Vec<Val<'a>> = Vec::new();
    for (index, item) in (0..list.len()).filter_map(|i| list.get(i)).enumerate() {
        let mut seen = false;
        for (other_index, other) in unique.iter().enumerate() {
            // Go compares the index in the one list with the index in the other.
            if index != other_index && absorbed(item.equals(other, meter))? {
                seen = true;
                break;
            }
        }
        if !seen {
            unique.push(item);
        }
    }
    Ok(Val::list(unique))
}

fn flattened<'a>(meter: &Meter, list: &List<'a>, depth: i64) -> Evaluated<'a> {
    if depth < 0 {
        return Err(Error::new("level must be non-negative"));
    }
    let mut items = Vec::new();
    flatten(meter, list, depth, &mut items)?;
    Ok(Val::list(items))
}

/// Go: `flatten`.
fn flatten<'a>(meter: &Meter, list: &List<'a>, depth: i64, into: &mut Vec<Val<'a>>) -> Result<(), Error> {
    for item in list.iter() {
        meter.items(1)?;
        match item {
            Val::List(inner) if depth > 0 => meter.nested(|| flatten(meter, &inner, depth - 1, into))?,
            item => into.push(item),
        }
    }
    Ok(())
}

fn join<'a>(meter: &Meter, args: &[Val<'a>]) -> Evaluated<'a> {
    let list = list(args, 0)?;
    let separator = if args.len() > 1 { text(args, 1)?.as_str() } else { "" };
    let mut joined = String::new();
    for index in 0..list.len() {
        let Some(Val::String(item)) = list.get(index) else {
            return Err(Error::new("join: invalid input"));
        };
        let before = if index == 0 { "" } else { separator };
        meter.work(before.len().saturating_add(item.as_str().len()))?;
        joined.push_str(before);
        joined.push_str(item.as_str());
    }
    Ok(Val::string(joined))
}

fn slice<'a>(meter: &Meter, args: &[Val<'a>]) -> Evaluated<'a> {
    let (list, start, end) = (list(args, 0)?, int(args, 1)?, int(args, 2)?);
    let error = |why: &str| Err(Error::new(format!("cannot slice({start}, {end}), {why}")));
    let (Ok(from), Ok(to)) = (usize::try_from(start), usize::try_from(end)) else {
        return error("negative indexes not supported");
    };
    if from > to {
        return error("start index must be less than or equal to end index");
    }
    if list.len() < to {
        return error(&format!("list is length {}", list.len()));
    }
    meter.items(to - from)?;
    Ok(Val::list((from..to).filter_map(|i| list.get(i)).collect()))
}

fn range<'a>(meter: &Meter, args: &[Val<'a>]) -> Evaluated<'a> {
    let n = int(args, 0)?.max(0);
    meter.items(usize::try_from(n).unwrap_or(usize::MAX))?;
    Ok(Val::list((0..n).map(Val::Int).collect()))
}

/// Whether all of `sub` is in `list`. Go: `setsContains`.
fn includes<'a>(meter: &Meter, list: &List<'a>, sub: &List<'a>) -> Result<bool, Error> {
    for item in sub.iter() {
        if !list.contains(&item, meter)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn unwrap<'a>(meter: &Meter, args: &[Val<'a>]) -> Evaluated<'a> {
    let list = list(args, 0)?;
    meter.items(list.len())?;
    let mut items = Vec::new();
    for item in list.iter() {
        match item {
            Val::Optional(Some(value)) => items.push(Arc::unwrap_or_clone(value)),
            Val::Optional(None) => {}
            _ => return Err(Error::new("value is not optional")),
        }
    }
    Ok(Val::list(items))
}

/// Go: `isSorted`, which takes a comparison that fails for order.
fn is_sorted<'a>(_: &Meter, args: &[Val<'a>]) -> Evaluated<'a> {
    let mut before: Option<Val<'a>> = None;
    for item in list(args, 0)?.iter() {
        if !item.is_comparable() {
            return Err(Error::no_such_overload());
        }
        if before.is_some_and(|before| before.compare(&item).is_ok_and(|o| o == Ordering::Greater)) {
            return Ok(Val::Bool(false));
        }
        before = Some(item);
    }
    Ok(Val::Bool(true))
}

/// The largest or the smallest. Go: `cmp`, where a comparison that fails changes nothing.
fn best<'a>(args: &[Val<'a>], name: &str, worse: Ordering) -> Evaluated<'a> {
    let mut best: Option<Val<'a>> = None;
    for item in list(args, 0)?.iter() {
        if !item.is_comparable() {
            return Err(Error::no_such_overload());
        }
        if best.as_ref().is_none_or(|best| best.compare(&item).is_ok_and(|o| o == worse)) {
            best = Some(item);
        }
    }
    best.ok_or_else(|| Error::new(format!("{name} called on empty list")))
}

fn sum<'a>(meter: &Meter, args: &[Val<'a>], zero: Val<'a>) -> Evaluated<'a> {
    let add = operators::find("_+_").ok_or_else(Error::no_such_overload)?;
    // Go: what cannot be added, or overflows, is no such overload.
    list(args, 0)?.iter().try_fold(zero, |sum, item| {
        add(meter, &[sum, item])
            .map_err(|error| if error.is_final() { error } else { Error::no_such_overload() })
    })
}

/// Go: `sortListByAssociatedKeys`. What is equal may come out in another order than in Go, whose sort is not stable for long lists.
fn sort_by_keys<'a>(meter: &Meter, list: &List<'a>, keys: &List<'a>) -> Evaluated<'a> {
    if list.len() != keys.len() {
        return Err(Error::new(format!(
            "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got {} and {} elements respectively",
            list.len(),
            keys.len()
        )));
    }
    let Some(first) = keys.get(0) else { return Ok(Val::List(list.clone())) };
    if !first.is_comparable() {
        return Err(Error::new("list elements must be comparable"));
    }
    meter.items(list.len().saturating_mul(2))?;
    let mut sorted: Vec<(Val<'a>, usize)> =
        (0..keys.len()).filter_map(|index| Some((keys.get(index)?, index))).collect();
    if sorted.iter().any(|(key, _)| key.type_name() != first.type_name()) {
        return Err(Error::new("list elements must have the same type"));
    }
    if sorted.iter().any(|(key, _)| matches!(key, Val::Double(d) if d.is_nan())) {
        return Err(Error::new("NaN values cannot be ordered"));
    }
    sorted.sort_by(|(a, _), (b, _)| a.compare(b).unwrap_or(Ordering::Equal));
    Ok(Val::list(sorted.into_iter().filter_map(|(_, index)| list.get(index)).collect()))
}
