//! The values of expressions. Claims stay where they are: a value of JSON is a reference into it, looked at when it is asked for.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::evaluate::{Error, Evaluated, Meter};
use super::library::time::Timestamp;
use super::library::{Format, Network, Quantity, Semver, Url};
use super::{Input, UserInfo, escape, numbers};
use crate::json::{Object, Value as Json};

/// What an expression evaluates to.
#[derive(Clone)]
pub(super) enum Val<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Text<'a>),
    Bytes(Arc<[u8]>),
    Timestamp(Timestamp),
    /// In nanoseconds.
    Duration(i64),
    /// A type, by its name.
    Type(&'static str),
    Optional(Option<Arc<Self>>),
    List(List<'a>),
    Map(Map<'a>),
    /// The variable `claims` or `user` itself.
    Input(Input<'a>),
    Ip(std::net::IpAddr),
    Cidr(Network),
    Url(Arc<Url>),
    Quantity(Arc<Quantity>),
    Semver(Arc<Semver>),
    Format(&'static Format),
}

/// A string, borrowed from the claims or the expression, or made.
#[derive(Clone)]
pub(super) enum Text<'a> {
    Borrowed(&'a str),
    Made(Arc<str>),
}

impl Text<'_> {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Text::Borrowed(text) => text,
            Text::Made(text) => text,
        }
    }
}

/// A list. What Go has behind it decides what a mapping takes from it.
#[derive(Clone)]
pub(super) enum List<'a> {
    /// Of the claims. `unescape` holds for the items that are got by index (`unescapeLister`, oidc.go), and not for iteration.
    Json { items: &'a [Json<'a>], unescape: bool },
    /// Go's `[]string` behind `user`.
    Borrowed(&'a [&'a str]),
    /// Go's `[]string`, as `split` makes it.
    Strings(Arc<Vec<Text<'a>>>),
    /// Two lists, one after the other. Go has both behind it, and compares it in a way of its own.
    Joined(Arc<Vec<Val<'a>>>),
    /// Everything else.
    Items(Arc<Vec<Val<'a>>>),
}

/// A map.
#[derive(Clone)]
pub(super) enum Map<'a> {
    /// Of the claims. `unescape` as for lists.
    Json { entries: &'a Object<'a>, unescape: bool },
    /// `user.extra`.
    Extra { entries: &'a BTreeMap<&'a str, Vec<&'a str>>, unescape: bool },
    /// Made by the expression.
    Entries(Arc<Entries<'a>>),
}

/// The entries of a map that an expression made, in the order of their insertion.
#[derive(Clone, Default)]
pub(super) struct Entries<'a> {
    pub(super) items: Vec<(Val<'a>, Val<'a>)>,
    index: HashMap<Key, usize>,
}

/// What may be a key: Go compares keys by type and value.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(u64),
    String(Arc<str>),
}

impl Key {
    fn of(value: &Val<'_>) -> Option<Self> {
        Some(match value {
            Val::Bool(b) => Self::Bool(*b),
            Val::Int(i) => Self::Int(*i),
            Val::Uint(u) => Self::Uint(*u),
            // Go: 0.0 and -0.0 are one key, and NaN is never found.
            Val::Double(d) if !d.is_nan() => Self::Double((d + 0.0).to_bits()),
            Val::String(Text::Made(s)) => Self::String(Arc::clone(s)),
            Val::String(s) => Self::String(Arc::from(s.as_str())),
            _ => return None,
        })
    }
}

impl<'a> Entries<'a> {
    /// Puts a value under a key, in the place of the one before.
    pub(super) fn insert(&mut self, key: Val<'a>, value: Val<'a>) -> Result<(), Error> {
        let Some(name) = Key::of(&key) else {
            return Err(Error::fatal(format!("unsupported map key type: {}", key.type_name())));
        };
        match self.index.get(&name) {
            Some(at) => {
                if let Some(entry) = self.items.get_mut(*at) {
                    entry.1 = value;
                }
            }
            None => {
                self.index.insert(name, self.items.len());
                self.items.push((key, value));
            }
        }
        Ok(())
    }

    /// Takes an entry out.
    pub(super) fn remove(&mut self, key: &Val<'a>) {
        if let Some(at) = Key::of(key).and_then(|name| self.index.remove(&name)) {
            self.items.remove(at);
            self.index.values_mut().filter(|i| **i > at).for_each(|i| *i -= 1);
        }
    }

    /// The value under a key; numbers are found under an equal number of another type. Go: `refValMapAccessor.Find`.
    pub(super) fn find(&self, key: &Val<'_>) -> Option<&Val<'a>> {
        let at = |key: Key| self.index.get(&key).and_then(|at| self.items.get(*at)).map(|(_, value)| value);
        if let Some(found) = Key::of(key).and_then(at) {
            return Some(found);
        }
        let double = |d: f64| at(Key::Double((d + 0.0).to_bits()));
        match key {
            Val::Double(d) => numbers::lossless_i64(*d)
                .and_then(|i| at(Key::Int(i)))
                .or_else(|| numbers::lossless_u64(*d).and_then(|u| at(Key::Uint(u)))),
            Val::Int(i) => numbers::lossless_f64(*i)
                .and_then(double)
                .or_else(|| u64::try_from(*i).ok().and_then(|u| at(Key::Uint(u)))),
            Val::Uint(u) => numbers::lossless_f64_of_u64(*u)
                .and_then(double)
                .or_else(|| i64::try_from(*u).ok().and_then(|i| at(Key::Int(i)))),
            _ => None,
        }
    }
}

/// A value of the claims. Go: `nativeToValueWithUnescape` (oidc.go).
pub(super) fn from_json<'a>(json: &'a Json<'a>, unescape: bool) -> Val<'a> {
    match json {
        Json::Null => Val::Null,
        Json::Bool(b) => Val::Bool(*b),
        // What is no float64 has been refused. See `Object::to_any`.
        Json::Number(n) => Val::Double(n.float64().unwrap_or(f64::NAN)),
        Json::String(s) => Val::String(Text::Borrowed(s)),
        Json::Array(items) => Val::List(List::Json { items, unescape }),
        Json::Object(entries) => Val::Map(Map::Json { entries, unescape }),
    }
}

impl<'a> Val<'a> {
    pub(super) fn str(text: &'a str) -> Self {
        Self::String(Text::Borrowed(text))
    }

    pub(super) fn string(text: impl Into<Arc<str>>) -> Self {
        Self::String(Text::Made(text.into()))
    }

    pub(super) fn list(items: Vec<Self>) -> Self {
        Self::List(List::Items(Arc::new(items)))
    }

    pub(super) fn strings(items: Vec<Text<'a>>) -> Self {
        Self::List(List::Strings(Arc::new(items)))
    }

    pub(super) fn some(value: Self) -> Self {
        Self::Optional(Some(Arc::new(value)))
    }

    /// A length or an index as an integer.
    pub(super) fn size(n: usize) -> Self {
        Self::Int(i64::try_from(n).unwrap_or(i64::MAX))
    }

    /// The name of the value's type at run time.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Type(_) => "type",
            Self::Optional(_) => "optional_type",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Input(Input::Claims(_)) => "kubernetes.claims",
            Self::Input(Input::User(_)) => "kubernetes.UserInfo",
            Self::Ip(_) => "net.IP",
            Self::Cidr(_) => "net.CIDR",
            Self::Url(_) => "kubernetes.URL",
            Self::Quantity(_) => "kubernetes.Quantity",
            Self::Semver(_) => "kubernetes.Semver",
            Self::Format(_) => "kubernetes.NamedFormat",
        }
    }

    /// What Go makes of a value that it had as `any`: field names are not unescaped any more, types are their names. An error for
    /// what Go cannot take back. Go: `NativeToValue(Optional.GetValue().Value())`.
    pub(super) fn raw(self) -> Evaluated<'a> {
        Ok(match self {
            Self::Type(name) => Self::str(name),
            Self::Optional(None) => Self::Null,
            Self::Optional(Some(value)) => return Arc::unwrap_or_clone(value).raw(),
            Self::List(List::Json { items, .. }) => Self::List(List::Json { items, unescape: false }),
            Self::List(List::Joined(items)) => {
                let items: Result<Vec<Self>, Error> = items.iter().cloned().map(Self::raw).collect();
                Self::List(List::Joined(Arc::new(items?)))
            }
            Self::Map(Map::Json { entries, .. }) => Self::Map(Map::Json { entries, unescape: false }),
            Self::Map(Map::Extra { entries, .. }) => Self::Map(Map::Extra { entries, unescape: false }),
            Self::Input(_)
            | Self::Ip(_)
            | Self::Cidr(_)
            | Self::Url(_)
            | Self::Quantity(_)
            | Self::Semver(_) => {
                let words =
                    format!("a variable that is an optional of {} is not supported", self.type_name());
                return Err(Error::new(words));
            }
            other => other,
        })
    }

    /// Fails for what Go cannot look up in a map.
    pub(super) fn hashable(&self) -> Result<(), Error> {
        match self {
            Self::Bytes(_) | Self::Semver(_) | Self::Format(_) => {
                Err(Error::fatal(format!("hash of unhashable type {}", self.type_name())))
            }
            _ => Ok(()),
        }
    }

    /// As it is shown in an error.
    pub(super) fn plain(&self) -> String {
        match self {
            Self::Bool(b) => b.to_string(),
            Self::Int(i) => i.to_string(),
            Self::Uint(u) => u.to_string(),
            Self::Double(d) => numbers::format_g(*d),
            Self::String(s) => s.as_str().to_owned(),
            other => other.type_name().to_owned(),
        }
    }

    /// Its size as cel-go's cost counts it: a `Sizer`'s size, 1 for everything else. Go: `actualSize`.
    pub(super) fn cost_size(&self) -> u64 {
        let size = match self {
            Self::String(s) => numbers::code_points(s.as_str()),
            Self::Bytes(b) => b.len(),
            Self::List(list) => list.len(),
            Self::Map(map) => map.len(),
            Self::Input(Input::Claims(claims)) => claims.len(),
            Self::Input(Input::User(_)) => UserInfo::FIELDS.len(),
            Self::Optional(Some(value)) => return value.cost_size(),
            Self::Ip(std::net::IpAddr::V4(_)) => 4,
            Self::Ip(std::net::IpAddr::V6(_)) => 16,
            Self::Cidr(network) => usize::from(network.bits.div_ceil(8)),
            _ => 1,
        };
        u64::try_from(size).unwrap_or(u64::MAX)
    }
}

impl<'a> List<'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            List::Json { items, .. } => items.len(),
            List::Borrowed(items) => items.len(),
            List::Strings(items) => items.len(),
            List::Items(items) | List::Joined(items) => items.len(),
        }
    }

    /// An item by its index.
    pub(super) fn get(&self, index: usize) -> Option<Val<'a>> {
        match self {
            List::Json { items, unescape } => items.get(index).map(|item| from_json(item, *unescape)),
            _ => self.item(index),
        }
    }

    /// An item as iteration gives it.
    pub(super) fn item(&self, index: usize) -> Option<Val<'a>> {
        match self {
            List::Json { items, .. } => items.get(index).map(|item| from_json(item, false)),
            List::Borrowed(items) => items.get(index).map(|item| Val::str(item)),
            List::Strings(items) => items.get(index).map(|item| Val::String(item.clone())),
            List::Items(items) | List::Joined(items) => items.get(index).cloned(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Val<'a>> {
        (0..self.len()).filter_map(|index| self.item(index))
    }

    /// Whether Go has a wrapper around it that unescapes names.
    pub(super) fn unescapes(&self) -> bool {
        matches!(self, List::Json { unescape: true, .. } | List::Borrowed(_))
    }

    /// Whether an item equals a value. Go: `baseList.Contains`.
    pub(super) fn contains(&self, value: &Val<'a>, meter: &Meter) -> Result<bool, Error> {
        for item in self.iter() {
            // Go asks the value, not `Equal`, so null equals null here too; an error counts as no.
            if absorbed(value.equals(&item, meter))? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// An error of a comparison where Go only looks whether it is true.
pub(super) fn absorbed(result: Result<bool, Error>) -> Result<bool, Error> {
    match result {
        Err(error) if !error.is_final() => Ok(false),
        other => other,
    }
}

impl<'a> Map<'a> {
    pub(super) fn len(&self) -> usize {
        match self {
            Map::Json { entries, .. } => entries.len(),
            Map::Extra { entries, .. } => entries.len(),
            Map::Entries(entries) => entries.items.len(),
        }
    }

    /// The value under a key, as selections find it. Go: `unescapeMapper.Find` (oidc.go), `mapAccessor.Find`.
    pub(super) fn find(&self, key: &Val<'_>) -> Option<Val<'a>> {
        match self {
            Map::Entries(entries) => entries.find(key).cloned(),
            Map::Json { entries, unescape } => {
                let Val::String(name) = key else { return None };
                let name =
                    if *unescape { escape::unescaped_key(name.as_str()) } else { name.as_str().into() };
                entries.get(&name).map(|json| from_json(json, *unescape))
            }
            Map::Extra { entries, unescape } => {
                let Val::String(name) = key else { return None };
                let name =
                    if *unescape { escape::unescaped_key(name.as_str()) } else { name.as_str().into() };
                entries.get(&*name).map(|values| Val::List(List::Borrowed(values)))
            }
        }
    }

    /// The value under a key as `in`, iteration and comparison find it, where nothing is unescaped.
    pub(super) fn find_raw(&self, key: &Val<'_>) -> Option<Val<'a>> {
        match self {
            Map::Json { entries, .. } => Map::Json { entries, unescape: false }.find(key),
            Map::Extra { entries, .. } => Map::Extra { entries, unescape: false }.find(key),
            Map::Entries(_) => self.find(key),
        }
    }

    /// The entries, in no order that an expression may rely on.
    pub(super) fn entries(&self) -> Box<dyn Iterator<Item = (Val<'a>, Val<'a>)> + '_> {
        match self {
            Map::Json { entries, .. } => {
                Box::new(entries.members().map(|(key, json)| (Val::str(key), from_json(json, false))))
            }
            Map::Extra { entries, .. } => Box::new(
                entries.iter().map(|(key, values)| (Val::str(key), Val::List(List::Borrowed(values)))),
            ),
            Map::Entries(entries) => Box::new(entries.items.iter().cloned()),
        }
    }
}

/// The variable itself. Go: `lazy.MapValue`, a map that counts as one in some places only.
impl<'a> Input<'a> {
    /// Go: `MapValue.Find`.
    pub(super) fn find(&self, key: &Val<'_>) -> Result<Option<Val<'a>>, Error> {
        let Val::String(name) = key else { return Err(Error::no_such_overload()) };
        Ok(escape::unescape(name.as_str()).and_then(|name| self.field(&name)))
    }

    /// A field by the name that it has in the claims.
    pub(super) fn field(&self, name: &str) -> Option<Val<'a>> {
        match self {
            Input::Claims(claims) => claims.get(name).map(|json| from_json(json, true)),
            Input::User(user) => Some(match name {
                "username" => Val::str(user.username),
                "uid" => Val::str(user.uid),
                "groups" => Val::List(List::Borrowed(user.groups)),
                "extra" => Val::Map(Map::Extra { entries: user.extra, unescape: true }),
                _ => return None,
            }),
        }
    }

    /// The names of the fields.
    pub(super) fn names(&self) -> Vec<&'a str> {
        match self {
            Input::Claims(claims) => claims.members().map(|(name, _)| name).collect(),
            Input::User(_) => UserInfo::FIELDS.to_vec(),
        }
    }

    /// What iterating gives: the values, each found by its name as if it had been written. Go: lazy's `iterator.Next`.
    pub(super) fn values(&self) -> impl Iterator<Item = Evaluated<'a>> {
        let (input, names) = (*self, self.names());
        names.into_iter().map(move |name| input.get(&Val::str(name)))
    }

    /// Go: `MapValue.Get`.
    pub(super) fn get(&self, key: &Val<'a>) -> Evaluated<'a> {
        self.find(key)?.ok_or_else(|| Error::no_such_key(key))
    }
}
