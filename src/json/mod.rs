//! JSON as Go decodes it: encoding/json (1.26), and the copy of it in go-jose v2 that refuses duplicate members.
//!
//! Go decodes into types, and what a document means depends on the type: a `map` keeps the last of several members of one name,
//! a `struct` finds its fields in any case of letters, and takes `null` for "leave it as it is". So a [`Value`] keeps every member
//! as it came, and is asked in Go's way: [`Object::get`] as a map, [`Object::fields`] as a struct, [`Object::is_unique`] as go-jose,
//! [`Object::to_any`] as what has no type.

mod parse;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::BTreeMap;

use thiserror::Error;

/// How deep arrays and objects may be nested. Go's limit is 10000; issuers nest a few levels.
pub const MAX_DEPTH: usize = 256;
/// How many values a document may have, members and elements of all levels. Go has no limit; an identity with a tenth of this in
/// groups does not fit into a request's headers.
pub const MAX_VALUES: usize = 16_384;

/// Why bytes are no JSON document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum JsonError {
    /// Not JSON (RFC 8259), at this byte.
    #[error("invalid JSON at byte {0}")]
    Syntax(usize),
    /// Deeper than [`MAX_DEPTH`], or more than [`MAX_VALUES`].
    #[error("JSON is nested too deeply or has too many values")]
    TooComplex,
}

/// A value is not of the type that Go would decode it into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("JSON value of another type: expected {0}")]
pub struct TypeError(pub &'static str);

/// A value. It has no `Debug` outside of tests: claims may hold access tokens.
#[derive(Clone, PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as it is written.
    Number(Number<'a>),
    /// A string, unescaped. What is no Unicode, raw or escaped, has become U+FFFD.
    String(Cow<'a, str>),
    /// An array.
    Array(Vec<Self>),
    /// An object.
    Object(Object<'a>),
}

/// The text of a number, which RFC 8259, section 6, allows.
#[derive(Clone, Copy, PartialEq, Eq)]
#[cfg_attr(test, derive(Debug))]
pub struct Number<'a>(&'a str);

/// Members in order, those of one name all kept.
#[derive(Clone, PartialEq, Default)]
#[cfg_attr(test, derive(Debug))]
pub struct Object<'a>(Vec<(Cow<'a, str>, Value<'a>)>);

impl<'a> Value<'a> {
    /// Reads a document. Bytes that are not UTF-8 are errors outside of strings, and U+FFFD, one for each, within. Go:
    /// `json.Unmarshal` as far as it does not depend on the type.
    pub fn parse(document: &'a [u8]) -> Result<Self, JsonError> {
        parse::document(document)
    }

    /// The object, or nothing for `null`, as Go decodes into a struct or a map.
    pub fn object_or_null(&self) -> Result<Option<&Object<'a>>, TypeError> {
        match self {
            Self::Null => Ok(None),
            Self::Object(object) => Ok(Some(object)),
            _ => Err(TypeError("an object")),
        }
    }

    /// As Go decodes into a new `string`: `null` is empty.
    pub fn string(&self) -> Result<&str, TypeError> {
        match self {
            Self::Null => Ok(""),
            Self::String(text) => Ok(text),
            _ => Err(TypeError("a string")),
        }
    }

    /// As Go decodes into a new `[]string`: `null` is empty, and an element that is `null` an empty string.
    pub fn strings(&self) -> Result<Vec<&str>, TypeError> {
        match self {
            Self::Null => Ok(Vec::new()),
            Self::Array(elements) => elements.iter().map(Self::string).collect(),
            _ => Err(TypeError("an array of strings")),
        }
    }

    /// As Go decodes into a new `bool`: `null` is false.
    pub fn bool(&self) -> Result<bool, TypeError> {
        match self {
            Self::Null => Ok(false),
            Self::Bool(value) => Ok(*value),
            _ => Err(TypeError("a boolean")),
        }
    }

    /// As Go decodes into an `interface{}`: all numbers are float64, and of several members of one name the last one is there. That is
    /// the value itself if it [is strict](Value::is_strict).
    pub fn to_any(&self) -> Result<Cow<'_, Self>, TypeError> {
        if self.is_strict() { Ok(Cow::Borrowed(self)) } else { self.copied().map(Cow::Owned) }
    }

    fn copied(&self) -> Result<Self, TypeError> {
        Ok(match self {
            Self::Number(number) => {
                number.float64()?;
                Self::Number(*number)
            }
            Self::Array(elements) => {
                Self::Array(elements.iter().map(Self::copied).collect::<Result<_, _>>()?)
            }
            Self::Object(object) => Self::Object(object.copied()?),
            other => other.clone(),
        })
    }

    /// Whether no object within has two members of one name, and every number is a float64: what go-jose decodes into an `interface{}`.
    pub fn is_strict(&self) -> bool {
        match self {
            Self::Null | Self::Bool(_) | Self::String(_) => true,
            Self::Number(number) => number.float64().is_ok(),
            Self::Array(elements) => elements.iter().all(Self::is_strict),
            Self::Object(object) => object.is_strict(),
        }
    }
}

impl<'a> Number<'a> {
    /// The text.
    pub fn text(self) -> &'a str {
        self.0
    }

    /// Go: `strconv.ParseFloat`, to which a number that is too large is an error.
    pub fn float64(self) -> Result<f64, TypeError> {
        self.0.parse().ok().filter(|number: &f64| number.is_finite()).ok_or(TypeError("a float64"))
    }

    /// Go: `strconv.ParseInt`, to which `1.0` and `1e3` are errors.
    pub fn int64(self) -> Result<i64, TypeError> {
        self.0.parse().map_err(|_| TypeError("an int64"))
    }
}

impl<'a> Object<'a> {
    /// How many members there are, those of one name all counted.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same with one more member, behind the others.
    #[must_use]
    pub fn with(mut self, name: impl Into<Cow<'a, str>>, value: Value<'a>) -> Self {
        self.0.push((name.into(), value));
        self
    }

    /// The members, in order.
    pub fn members(&self) -> impl Iterator<Item = (&str, &Value<'a>)> {
        self.0.iter().map(|(name, value)| (&**name, value))
    }

    /// The last member of this very name. Go: what is found in a map.
    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.0.iter().rfind(|(other, _)| other == name).map(|(_, value)| value)
    }

    /// The members under the names (in lower case) by which Go's encoding/json finds them for the fields of a struct, in order: in any
    /// case of letters. Each is decoded into the field, over what is there; one that cannot be is an error, whatever follows. Go:
    /// `foldName` of encoding/json/fold.go.
    pub fn folded_members(&self) -> impl Iterator<Item = (Cow<'_, str>, &Value<'a>)> {
        self.members().map(|(name, value)| {
            let is_folded = name.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
            (if is_folded { name.into() } else { name.chars().map(fold).collect() }, value)
        })
    }

    /// Those of one name.
    pub fn fields(&self, name: &str) -> impl Iterator<Item = &Value<'a>> {
        self.folded_members().filter(move |(other, _)| other == name).map(|(_, value)| value)
    }

    /// A struct's field of type `string`, by [`Object::fields`]: empty if there is none, and `null` changes nothing.
    pub fn string_field<'b>(&'b self, name: &str) -> Result<&'b str, TypeError> {
        let mut last = "";
        for value in self.fields(name) {
            let text = value.string()?;
            last = if matches!(value, Value::Null) { last } else { text };
        }
        Ok(last)
    }

    /// Whether no two members have one name, which go-jose insists on. Go: `decodeState.object` of go-jose.v2/json/decode.go.
    pub fn is_unique(&self) -> bool {
        let mut names: Vec<&str> = self.0.iter().map(|(name, _)| &**name).collect();
        names.sort_unstable();
        names.is_sorted_by(|a, b| a < b)
    }

    fn is_strict(&self) -> bool {
        self.is_unique() && self.0.iter().all(|(_, value)| value.is_strict())
    }

    /// As Go decodes into a `map[string]interface{}`; see [`Value::to_any`].
    pub fn to_any(&self) -> Result<Cow<'_, Self>, TypeError> {
        if self.is_strict() { Ok(Cow::Borrowed(self)) } else { self.copied().map(Cow::Owned) }
    }

    fn copied(&self) -> Result<Self, TypeError> {
        let copied = self.0.iter().map(|(name, value)| Ok((name.clone(), value.copied()?)));
        let last_of_each: BTreeMap<Cow<'a, str>, Value<'a>> = copied.collect::<Result<_, _>>()?;
        Ok(last_of_each.into_iter().collect())
    }
}

impl<'a> FromIterator<(Cow<'a, str>, Value<'a>)> for Object<'a> {
    fn from_iter<I: IntoIterator<Item = (Cow<'a, str>, Value<'a>)>>(members: I) -> Self {
        Self(members.into_iter().collect())
    }
}

/// The lower-case ASCII letter that Unicode folds `c` to, or `c`. Beside its upper case, two letters have another relative: the
/// long s (U+017F) and the sign of Kelvin (U+212A). Go: `unicode.SimpleFold`.
fn fold(c: char) -> char {
    match c {
        'ſ' => 's',
        '\u{212a}' => 'k',
        _ => c.to_ascii_lowercase(),
    }
}
