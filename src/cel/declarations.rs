//! The functions of Kubernetes' CEL environment: `declarations.txt`, read once.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

use super::types::{Param, Type};

/// What cel-go lists.
const TEXT: &str = include_str!("declarations.txt");

static FUNCTIONS: LazyLock<Functions> = LazyLock::new(|| read(TEXT));

/// The functions by name.
pub(super) type Functions = HashMap<&'static str, Vec<Arc<Overload>>>;

/// One signature of a function.
#[derive(Debug)]
pub(super) struct Overload {
    pub(super) id: &'static str,
    /// Called on a target, which is the first argument.
    pub(super) method: bool,
    pub(super) args: Vec<Type>,
    pub(super) result: Type,
    /// Its type parameters.
    pub(super) params: BTreeSet<char>,
}

/// All functions.
pub(super) fn functions() -> &'static Functions {
    &FUNCTIONS
}

fn read(text: &'static str) -> Functions {
    let mut functions = Functions::new();
    let mut name = "";
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some(overload) = line.strip_prefix("  ") else {
            name = line;
            continue;
        };
        let mut parts = overload.split('|').map(str::trim);
        let mut part = || parts.next().unwrap_or_default();
        let (id, style, args, result) = (part(), part(), part(), part());
        let mut params = BTreeSet::new();
        let args =
            args.split("; ").filter(|arg| !arg.is_empty()).map(|arg| read_type(arg, &mut params)).collect();
        let result = read_type(result, &mut params);
        let overload = Overload { id, method: style == "method", args, result, params };
        functions.entry(name).or_default().push(Arc::new(overload));
    }
    functions
}

fn read_type(text: &'static str, params: &mut BTreeSet<char>) -> Type {
    let inner = text.split_once('(').and_then(|(name, rest)| Some((name, rest.strip_suffix(')')?)));
    if let Some((name, inner)) = inner {
        return match (name, inner.split_once(", ")) {
            ("list", _) => Type::list(read_type(inner, params)),
            ("map", Some((key, value))) => Type::map(read_type(key, params), read_type(value, params)),
            ("type", _) => Type::Meta(Some(Arc::new(read_type(inner, params)))),
            _ => Type::Opaque(name, Arc::new([read_type(inner, params)])),
        };
    }
    match text {
        "bool" => Type::Bool,
        "bytes" => Type::Bytes,
        "double" => Type::Double,
        "duration" => Type::Duration,
        "dyn" => Type::Dyn,
        "int" => Type::Int,
        "string" => Type::String,
        "timestamp" => Type::Timestamp,
        "uint" => Type::Uint,
        "net.IP" | "net.CIDR" => Type::Opaque(text, Arc::new([])),
        _ => match text.strip_prefix("kubernetes.") {
            Some(_) => Type::Struct(text),
            None => {
                let name = text.chars().next().unwrap_or('A');
                params.insert(name);
                Type::Param(Param::Named(name))
            }
        },
    }
}
