//! The functions that expressions can call: cel-go's standard library and its extensions, and Kubernetes' own libraries.

mod conversions;
mod format;
mod formats;
mod lists;
mod network;
mod operators;
mod quantity;
pub(in super::super) mod regex;
mod regex_syntax;
mod semver;
mod strings;
pub(super) mod time;
mod url;

use super::evaluate::{Error, Evaluated, Meter};
use super::value::{Text, Val};

pub(super) use format::check as check_format;
pub(super) use formats::Format;
pub(super) use network::Network;
pub(super) use quantity::Quantity;
pub(super) use semver::Semver;
pub(super) use url::Url;

/// The code of a function.
pub(super) type Run = for<'a> fn(&Meter, &[Val<'a>]) -> Evaluated<'a>;

/// The code of a function that knows its pattern already.
pub(super) type RunRegex = for<'a> fn(&Meter, &[Val<'a>], &regex::Pattern) -> Evaluated<'a>;

/// The code behind a function that looks at the types of its arguments itself. Go: a singleton binding.
pub(super) fn operator(function: &str) -> Option<Run> {
    operators::find(function).or_else(|| lists::operator(function)).or(match function {
        "dyn" => Some(conversions::dynamic),
        "type" => Some(conversions::type_of),
        "size" => Some(conversions::size),
        "matches" => Some(regex::matches),
        _ => None,
    })
}

/// The code behind an overload.
pub(super) fn overload(id: &str) -> Option<Run> {
    conversions::find(id)
        .or_else(|| strings::find(id))
        .or_else(|| lists::find(id))
        .or_else(|| regex::find(id))
        .or_else(|| time::find(id))
        .or_else(|| network::find(id))
        .or_else(|| url::find(id))
        .or_else(|| quantity::find(id))
        .or_else(|| semver::find(id))
        .or_else(|| formats::find(id))
        // What needs an authorizer, of which there is none here: nothing is of these types, so nothing gets this far.
        .or_else(|| authorization(id))
}

fn authorization(id: &str) -> Option<Run> {
    let prefixes = ["authorizer_", "groupcheck_", "resourcecheck_", "pathcheck_", "decision_"];
    if prefixes.iter().any(|prefix| id.starts_with(prefix)) { Some(no_such_overload) } else { None }
}

fn no_such_overload<'a>(_: &Meter, _: &[Val<'a>]) -> Evaluated<'a> {
    Err(Error::no_such_overload())
}

/// An argument that has to be a string.
fn text<'v, 'a>(args: &'v [Val<'a>], at: usize) -> Result<&'v Text<'a>, Error> {
    match args.get(at) {
        Some(Val::String(text)) => Ok(text),
        _ => Err(Error::no_such_overload()),
    }
}

/// An argument that has to be an integer.
fn int(args: &[Val<'_>], at: usize) -> Result<i64, Error> {
    match args.get(at) {
        Some(Val::Int(i)) => Ok(*i),
        _ => Err(Error::no_such_overload()),
    }
}

/// The first argument.
fn first<'v, 'a>(args: &'v [Val<'a>]) -> Result<&'v Val<'a>, Error> {
    args.first().ok_or_else(Error::no_such_overload)
}

/// An order as Go's `Compare` says it.
fn sign_of(order: std::cmp::Ordering) -> i64 {
    match order {
        std::cmp::Ordering::Less => -1,
        std::cmp::Ordering::Equal => 0,
        std::cmp::Ordering::Greater => 1,
    }
}
