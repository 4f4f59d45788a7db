//! From text to an object of a known kind and version, strictly. Go: the codec of `loadAuthenticationConfigFromData`
//! (k8s.io/kubernetes/pkg/kubeapiserver/options), which is a `serializer.CodecFactory` with `EnableStrict`.

use serde_json::{Map, Value};

use super::json;
use crate::yaml;

/// The kind of an object, and its versions, the best first.
pub(super) struct Kind {
    pub(super) name: &'static str,
    pub(super) versions: &'static [&'static str],
}

/// Reads the file, or says everything that is wrong with its form.
pub(super) fn decode<T: Fields>(text: &[u8], expected: &Kind) -> Result<T, Vec<String>> {
    if text.is_empty() {
        return Err(vec!["empty config data".to_owned()]);
    }
    // Go: the JSON decoder recognizes its data (IsJSONBuffer), and what it fails on is not tried as YAML.
    let read = if text.trim_ascii_start().starts_with(b"{") { json::value } else { yaml::value };
    let value = read(text).map_err(|problem| vec![problem])?;

    let mut errors = Vec::new();
    let fields = match value {
        Value::Null => Map::new(),
        Value::Object(fields) => fields,
        other => return Err(vec![wrong_type("", &other, "an object with apiVersion and kind")]),
    };
    let mut object = Object { path: String::new(), fields, errors: &mut errors };
    let (version, kind): (String, String) = (object.take("apiVersion"), object.take("kind"));
    if object.errors.is_empty() {
        object.errors.extend(check_type(&version, &kind, expected));
    }
    if !object.errors.is_empty() {
        return Err(errors);
    }
    let configuration = T::take_from(&mut object);
    object.refuse_rest();
    if errors.is_empty() { Ok(configuration) } else { Err(errors) }
}

/// Go: `Serializer.Decode` (k8s.io/apimachinery/pkg/runtime/serializer/json) and `loadAuthenticationConfigFromData`. The form that
/// is internal to kube-apiserver (`__internal`) can be written there, but not here.
fn check_type(version: &str, kind: &str, expected: &Kind) -> Option<String> {
    let Kind { name, versions } = expected;
    if kind.is_empty() {
        return Some(format!("kind: Object 'Kind' is missing; write {name}"));
    }
    if version.is_empty() {
        return Some(format!("apiVersion: Object 'apiVersion' is missing; write {}", versions.first()?));
    }
    if !versions.contains(&version) {
        return Some(format!(
            "apiVersion: no kind {kind:?} is registered for version {version:?}; write one of {}",
            versions.join(", ")
        ));
    }
    (kind != *name).then(|| format!("kind: expected {name}, got {kind:?}"))
}

/// A type that a JSON value can be read into. As in Go, `null` is what is not there.
pub(in crate::config) trait Decode: Default {
    /// The value, or its default with an error noted.
    fn decode(value: Value, path: &str, errors: &mut Vec<String>) -> Self;
}

/// A type that is read from an object.
pub(in crate::config) trait Fields: Default {
    /// Takes the fields that it knows.
    fn take_from(object: &mut Object<'_>) -> Self;
}

/// An object whose fields are being taken.
pub(in crate::config) struct Object<'e> {
    path: String,
    fields: Map<String, Value>,
    errors: &'e mut Vec<String>,
}

impl Object<'_> {
    /// The value of a field, whose name has to fit to the letter.
    pub(in crate::config) fn take<T: Decode>(&mut self, name: &str) -> T {
        let value = self.fields.remove(name).unwrap_or_default();
        T::decode(value, &child(&self.path, name), self.errors)
    }

    /// Notes the fields that nobody took.
    fn refuse_rest(self) {
        let unknown = |name| format!("strict decoding error: unknown field {:?}", child(&self.path, name));
        self.errors.extend(self.fields.keys().map(|name| unknown(name)));
    }
}

impl<T: Fields> Decode for T {
    fn decode(value: Value, path: &str, errors: &mut Vec<String>) -> Self {
        match value {
            Value::Null => Self::default(),
            Value::Object(fields) => {
                let mut object = Object { path: path.to_owned(), fields, errors };
                let taken = Self::take_from(&mut object);
                object.refuse_rest();
                taken
            }
            other => {
                errors.push(wrong_type(path, &other, "an object"));
                Self::default()
            }
        }
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(value: Value, path: &str, errors: &mut Vec<String>) -> Self {
        match value {
            Value::Null => Self::new(),
            Value::Array(items) => {
                let item = |(index, item)| T::decode(item, &format!("{path}[{index}]"), errors);
                items.into_iter().enumerate().map(item).collect()
            }
            other => {
                errors.push(wrong_type(path, &other, "a list"));
                Self::new()
            }
        }
    }
}

impl<T: Decode> Decode for Option<T> {
    fn decode(value: Value, path: &str, errors: &mut Vec<String>) -> Self {
        (!value.is_null()).then(|| T::decode(value, path, errors))
    }
}

impl Decode for String {
    fn decode(value: Value, path: &str, errors: &mut Vec<String>) -> Self {
        match value {
            Value::Null => Self::new(),
            Value::String(text) => text,
            other => {
                errors.push(wrong_type(path, &other, "a string"));
                Self::new()
            }
        }
    }
}

impl Decode for bool {
    fn decode(value: Value, path: &str, errors: &mut Vec<String>) -> Self {
        match value {
            Value::Null => false,
            Value::Bool(value) => value,
            other => {
                errors.push(wrong_type(path, &other, "a boolean"));
                false
            }
        }
    }
}

impl Decode for i32 {
    fn decode(value: Value, path: &str, errors: &mut Vec<String>) -> Self {
        let number = value.as_i64().and_then(|number| Self::try_from(number).ok());
        number.unwrap_or_else(|| {
            errors.push(wrong_type(path, &value, "a whole number of 32 bits"));
            0
        })
    }
}

/// `jwt[0].issuer.url`, as `field.Path` writes it.
fn child(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn wrong_type(path: &str, value: &Value, expected: &str) -> String {
    let found = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let place = if path.is_empty() { String::new() } else { format!("{path}: ") };
    let scalar = matches!(value, Value::Bool(_) | Value::Number(_));
    let hint = if scalar && expected == "a string" { "; write it in quotes" } else { "" };
    format!("{place}cannot unmarshal {found} into {expected}{hint}")
}
