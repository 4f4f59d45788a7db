//! What an expression evaluated to, for those who asked.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

use super::numbers;
use super::value::{List, Val};
use crate::json::Value as Claim;

/// What an expression evaluated to. `Debug` shows it as JSON, with its type and what it has cost, as kube-apiserver counts.
pub struct Value<'a> {
    value: Val<'a>,
    cost: u64,
}

/// A mapping has to be strings and is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expression must return a string or a list of strings")]
pub struct NotStrings;

impl<'a> Value<'a> {
    pub(super) fn new(value: Val<'a>, cost: u64) -> Self {
        Self { value, cost }
    }

    /// The bool that a validation rule is; `None` if it is none. Go: `checkValidationRulesEvaluation` (oidc.go).
    pub fn as_bool(&self) -> Option<bool> {
        match self.value {
            Val::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// The string that a user name or a uid is; `None` if it is none. Go: `getUsername`, `getUID` (oidc.go).
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Val::String(text) => Some(text.as_str()),
            _ => None,
        }
    }

    /// The strings that groups and extra values are: a string is one, null and empty strings are none. A list that Go has as
    /// `[]string`, as `split` makes it, is refused. Go: `convertCELValueToStringList` (oidc.go).
    pub fn strings(&self) -> Result<Vec<&str>, NotStrings> {
        let items = match &self.value {
            Val::Null => return Ok(Vec::new()),
            Val::String(text) => vec![text.as_str()],
            Val::List(List::Items(items) | List::Joined(items)) => {
                items.iter().map(native_string).collect::<Option<_>>().ok_or(NotStrings)?
            }
            Val::List(List::Json { items, .. }) => {
                items.iter().map(string).collect::<Option<_>>().ok_or(NotStrings)?
            }
            _ => return Err(NotStrings),
        };
        Ok(items.into_iter().filter(|item| !item.is_empty()).collect())
    }
}

/// A string of the claims.
fn string<'v>(claim: &'v Claim<'_>) -> Option<&'v str> {
    match claim {
        Claim::String(text) => Some(text),
        _ => None,
    }
}

/// What Go has as a string behind a value: that of a type is its name, and that of an optional what is in it. Go: `ref.Val.Value`.
fn native_string<'v>(value: &'v Val<'_>) -> Option<&'v str> {
    match value {
        Val::String(text) => Some(text.as_str()),
        Val::Type(name) => Some(name),
        Val::Optional(Some(value)) => native_string(value),
        _ => None,
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", json!({"value": shown(&self.value), "cost": self.cost}))
    }
}

/// A value with its type.
fn shown(value: &Val<'_>) -> Json {
    match value {
        Val::Null => json!({"null": true}),
        Val::Bool(b) => json!({"bool": b}),
        Val::Int(i) => json!({"int": i.to_string()}),
        Val::Uint(u) => json!({"uint": u.to_string()}),
        Val::Double(d) => json!({"double": numbers::format_g(*d)}),
        Val::String(s) => json!({"string": s.as_str()}),
        Val::Bytes(b) => json!({"bytes": STANDARD.encode(b)}),
        Val::Timestamp(t) => json!({"timestamp": t.to_string()}),
        Val::Duration(nanoseconds) => json!({"duration": nanoseconds.to_string()}),
        Val::Type(name) => json!({"type": name}),
        Val::Optional(None) => json!({"none": true}),
        Val::Optional(Some(value)) => json!({"optional": shown(value)}),
        Val::List(list) => json!({"list": list.iter().map(|item| shown(&item)).collect::<Vec<_>>()}),
        Val::Map(map) => {
            let mut entries: Vec<Json> =
                map.entries().map(|(key, value)| json!([shown(&key), shown(&value)])).collect();
            entries.sort_by_cached_key(Json::to_string);
            json!({"map": entries})
        }
        Val::Input(_) => json!({"input": value.type_name()}),
        Val::Ip(ip) => json!({"ip": ip.to_string()}),
        Val::Cidr(network) => json!({"cidr": network.to_string()}),
        Val::Url(url) => json!({"url": url.text()}),
        Val::Quantity(quantity) => json!({"quantity": quantity.to_string()}),
        Val::Semver(version) => json!({"semver": version.to_string()}),
        Val::Format(format) => json!({"format": format.name}),
    }
}
