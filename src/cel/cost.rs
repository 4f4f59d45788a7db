//! What each step costs, as kube-apiserver counts: cel-go's `interpreter/runtimecost.go`, with the functions of Kubernetes' libraries
//! (`CostEstimator.CallCost` of k8s.io/apiserver/pkg/cel/library/cost.go) and of `ext/lists.go` and `ext/sets.go`.

use super::evaluate::MAX_DEPTH;
use super::numbers;
use super::value::Val;

/// A name, or a field of something. Go: `common.SelectAndIdentCost`.
pub(super) const SELECT: u64 = 1;
/// Making a list. Go: `common.ListCreateBaseCost`.
pub(super) const LIST: u64 = 10;
/// Making a map. Go: `common.MapCreateBaseCost`.
pub(super) const MAP: u64 = 30;
/// Of each character of a string that is looked at. Go: `common.StringTraversalCostFactor`, which is 0.1.
const PER_CHARACTERS: u64 = 10;
/// Of each character of a pattern. Go: `common.RegexStringLengthCostFactor`, which is 0.25.
const PER_PATTERN_CHARACTERS: u64 = 4;

/// The cost of looking at `size` characters.
fn traversal(size: u64) -> u64 {
    size.div_ceil(PER_CHARACTERS)
}

fn pattern(text: u64, pattern: u64) -> u64 {
    traversal(text.saturating_add(1)).saturating_mul(pattern.div_ceil(PER_PATTERN_CHARACTERS))
}

/// The cost of `==` and `!=`.
pub(super) fn equals(a: &Val<'_>, b: &Val<'_>) -> u64 {
    match a {
        Val::Quantity(_) | Val::Ip(_) | Val::Cidr(_) | Val::Format(_) | Val::Url(_) | Val::Semver(_) => 1,
        _ => traversal(a.cost_size().min(b.cost_size())),
    }
}

/// The cost of a call. `overload` is empty if several fit the types that were known when it was compiled.
pub(super) fn call(function: &str, overload: &str, args: &[Val<'_>], result: Option<&Val<'_>>) -> u64 {
    let size = |at: usize| args.get(at).map_or(1, Val::cost_size);
    match function {
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => elements(args.first(), 0),
        "url" | "lowerAscii" | "upperAscii" | "substring" | "trim" | "cidr" | "isIP" | "isCIDR"
        | "quantity" | "isQuantity" | "semver" | "isSemver" => traversal(size(0)),
        "replace" | "split" | "ip.isCanonical" => traversal(size(0).saturating_mul(2)),
        "join" => traversal(result.map_or(1, Val::cost_size).saturating_mul(2)),
        "find" | "findAll" => pattern(size(0), size(1)),
        "ip" if overload != "cidr_ip" => traversal(size(0)),
        "containsIP" => {
            let parse = if overload == "cidr_contains_ip_string" { traversal(size(1)) } else { 0 };
            traversal(size(0).saturating_mul(2)) + parse
        }
        "containsCIDR" => {
            let parse = if overload == "cidr_contains_cidr_string" { traversal(size(1)) } else { 0 };
            traversal(size(0).saturating_mul(2)) + traversal(size(0)) + 1 + parse
        }
        "validate" => match args {
            [Val::Format(format), text, ..] => pattern(text.cost_size(), format.max_regex_size),
            _ => 1,
        },
        _ => by_overload(overload, args, result),
    }
}

/// Go: `CostTracker.costCall`, `trackListOutputSize` and its siblings, `trackSetsCost`.
fn by_overload(overload: &str, args: &[Val<'_>], result: Option<&Val<'_>>) -> u64 {
    let size = |at: usize| args.get(at).map_or(1, Val::cost_size);
    let allocating = |n: u64| n.saturating_add(1 + LIST);
    match overload {
        "starts_with_string" | "ends_with_string" | "string_to_bytes" | "bytes_to_string"
        | "strings_quote" | "string_format" => traversal(size(0)),
        "in_list" => size(1),
        "less_string"
        | "greater_string"
        | "less_equals_string"
        | "greater_equals_string"
        | "less_bytes"
        | "greater_bytes"
        | "less_equals_bytes"
        | "greater_equals_bytes" => traversal(size(0).min(size(1))),
        "add_string" | "add_bytes" => traversal(size(0).saturating_add(size(1))),
        "matches_string" => pattern(size(0), size(1)),
        "contains_string" => traversal(size(0)).saturating_mul(traversal(size(1))),
        "list_sets_contains_list" | "list_sets_intersects_list" => 1 + size(0).saturating_mul(size(1)),
        "list_sets_equivalent_list" => 1 + size(0).saturating_mul(size(1)).saturating_mul(2),
        "list_slice" | "lists_range" | "list_reverse" => allocating(result.map_or(1, Val::cost_size)),
        "list_flatten" => allocating(size(0)),
        "list_flatten_int" => match args.get(1) {
            Some(Val::Int(depth)) => allocating(size(0).saturating_mul(u64::try_from(*depth).unwrap_or(0))),
            _ => allocating(size(0)),
        },
        "list_distinct" => self_compare(args.first()),
        _ if overload.ends_with("_sort") => self_compare(args.first()),
        _ if overload.ends_with("_sortByAssociatedKeys") => self_compare(args.get(1)),
        _ => 1,
    }
}

/// Go: `trackListSelfCompare`.
fn self_compare(list: Option<&Val<'_>>) -> u64 {
    let Some(Val::List(list)) = list else { return 1 };
    let size = u64::try_from(list.len()).unwrap_or(u64::MAX);
    let squared = size.saturating_mul(size);
    let strings = matches!(list.item(0), Some(Val::String(_) | Val::Bytes(_)));
    let cost = if strings { numbers::times_2_1(squared) } else { squared.saturating_mul(2) };
    cost.saturating_add(1 + LIST)
}

/// The cost of looking at everything in a value. Go: `traversalCost`, which rounds down and counts bytes.
fn elements(value: Option<&Val<'_>>, depth: usize) -> u64 {
    let bytes = |n: usize| u64::try_from(n).unwrap_or(u64::MAX) / PER_CHARACTERS;
    let inner = |value: &Val<'_>| elements(Some(value), depth + 1);
    match value {
        // Deeper than any value that an evaluation looks into.
        Some(Val::List(_) | Val::Map(_)) if depth > MAX_DEPTH => u64::MAX,
        Some(Val::List(list)) => list.iter().fold(0, |sum: u64, item| sum.saturating_add(inner(&item))),
        Some(Val::Map(map)) => map
            .entries()
            .fold(0, |sum: u64, (key, value)| sum.saturating_add(inner(&key)).saturating_add(inner(&value))),
        Some(Val::String(s)) => bytes(s.as_str().len()),
        Some(Val::Bytes(b)) => bytes(b.len()),
        _ => 1,
    }
}
