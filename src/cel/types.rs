//! The types that expressions are checked with, and when one may stand in another's place. Go: cel-go's `common/types/types.go` and
//! `checker/types.go`.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// A type, as the checker knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    Any,
    Bool,
    Bytes,
    Double,
    Duration,
    Dyn,
    /// What an expression has that is already reported.
    Error,
    Int,
    Null,
    String,
    Timestamp,
    Uint,
    /// `type` itself, or the type of a type.
    Meta(Option<Arc<Self>>),
    List(Arc<Self>),
    Map(Arc<Self>, Arc<Self>),
    /// A type that the language does not look into: `net.IP`, `optional_type(V)`.
    Opaque(&'static str, Arc<[Self]>),
    /// A type with fields: `kubernetes.UserInfo`, `kubernetes.URL`.
    Struct(&'static str),
    Param(Param),
}

/// A type parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Param {
    /// Of a declaration: A, B, K, T, V.
    Named(char),
    /// Made by the checker for one use of a declaration, or for an empty list or map.
    Fresh(usize),
}

/// The name of the type of optional values.
pub(super) const OPTIONAL: &str = "optional_type";

impl Type {
    pub(super) fn list(item: Self) -> Self {
        Self::List(Arc::new(item))
    }

    pub(super) fn map(key: Self, value: Self) -> Self {
        Self::Map(Arc::new(key), Arc::new(value))
    }

    pub(super) fn optional(value: Self) -> Self {
        Self::Opaque(OPTIONAL, Arc::new([value]))
    }

    pub(super) fn is_dyn(&self) -> bool {
        matches!(self, Self::Dyn | Self::Any)
    }

    fn is_dyn_or_error(&self) -> bool {
        self.is_dyn() || *self == Self::Error
    }

    /// What is in an optional type. Go: `maybeUnwrapOptional`.
    pub(super) fn unwrap_optional(&self) -> Option<&Self> {
        match self {
            Self::Opaque(OPTIONAL, params) => params.first(),
            _ => None,
        }
    }

    /// Whether two types are the same but for the names of type parameters. Go: `Type.IsEquivalentType`.
    pub(super) fn is_equivalent(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Param(_), Self::Param(_)) => true,
            (Self::Meta(a), Self::Meta(b)) => match (a, b) {
                (Some(a), Some(b)) => a.is_equivalent(b),
                (None, None) => true,
                _ => false,
            },
            (Self::List(a), Self::List(b)) => a.is_equivalent(b),
            (Self::Map(a, b), Self::Map(c, d)) => a.is_equivalent(c) && b.is_equivalent(d),
            (Self::Opaque(a, p), Self::Opaque(b, q)) => {
                a == b && p.len() == q.len() && p.iter().zip(&**q).all(|(p, q)| p.is_equivalent(q))
            }
            _ => self == other,
        }
    }

    /// The name without parameters. Go: `Type.TypeName`.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Any => "google.protobuf.Any",
            Self::Bool => "bool",
            Self::Bytes => "bytes",
            Self::Double => "double",
            Self::Duration => "google.protobuf.Duration",
            Self::Dyn => "dyn",
            Self::Error => "!error!",
            Self::Int => "int",
            Self::Null => "null_type",
            Self::String => "string",
            Self::Timestamp => "google.protobuf.Timestamp",
            Self::Uint => "uint",
            Self::Meta(_) => "type",
            Self::List(_) => "list",
            Self::Map(..) => "map",
            Self::Opaque(name, _) | Self::Struct(name) => name,
            Self::Param(_) => "param",
        }
    }
}

/// Go: `FormatCELType` (checker/format.go).
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Duration => f.write_str("duration"),
            Self::Null => f.write_str("null"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Param(Param::Named(name)) => write!(f, "{name}"),
            Self::Param(Param::Fresh(number)) => write!(f, "_var{number}"),
            Self::List(item) => write!(f, "list({item})"),
            Self::Map(key, value) => write!(f, "map({key}, {value})"),
            Self::Meta(Some(of)) => write!(f, "type({of})"),
            Self::Opaque(name, params) if !params.is_empty() => {
                let params: Vec<String> = params.iter().map(ToString::to_string).collect();
                write!(f, "{name}({})", params.join(", "))
            }
            _ => f.write_str(self.name()),
        }
    }
}

/// What is known of type parameters. Go: `mapping`.
#[derive(Debug, Default)]
pub(super) struct Substitutions {
    known: HashMap<Param, Type>,
    /// What was known before each change since the outermost attempt began.
    undo: Vec<(Param, Option<Type>)>,
    fresh: usize,
}

impl Substitutions {
    /// A type that nothing is known of. Go: `newTypeVar`.
    pub(super) fn fresh(&mut self) -> Param {
        self.fresh += 1;
        Param::Fresh(self.fresh - 1)
    }

    /// Whether `from` may stand in the place of `to`; if so, what follows from that is remembered. Go: `checker.isAssignable`.
    pub(super) fn assign(&mut self, from: &Type, to: &Type) -> bool {
        self.assign_all(&[from], &[to])
    }

    /// Whether each of `from` may stand in its place of `to`. Go: `checker.isAssignableList`.
    pub(super) fn assign_all(&mut self, from: &[&Type], to: &[&Type]) -> bool {
        self.undo.clear();
        let assignable =
            from.len() == to.len() && from.iter().zip(to).all(|(from, to)| self.is_assignable(from, to));
        if !assignable {
            for (param, before) in std::mem::take(&mut self.undo).into_iter().rev() {
                match before {
                    Some(before) => self.known.insert(param, before),
                    None => self.known.remove(&param),
                };
            }
        }
        assignable
    }

    fn add(&mut self, param: Param, known: Type) {
        let before = self.known.insert(param, known);
        self.undo.push((param, before));
    }

    /// Go: `internalIsAssignable`.
    fn is_assignable(&mut self, from: &Type, to: &Type) -> bool {
        if let Type::Param(param) = to {
            match self.substitute_param(from, *param) {
                (true, _) => return true,
                (false, true) => return false,
                (false, false) => {}
            }
        }
        if let Type::Param(param) = from {
            return self.substitute_param(to, *param).0;
        }
        if from.is_dyn_or_error() || to.is_dyn_or_error() {
            return true;
        }
        match (from, to) {
            (Type::Null, other) | (other, Type::Null) => matches!(
                other,
                Type::Opaque(..) | Type::Struct(_) | Type::Duration | Type::Timestamp | Type::Null
            ),
            (Type::Meta(_), _) => matches!(to, Type::Meta(_)),
            (Type::List(a), Type::List(b)) => self.is_assignable(a, b),
            (Type::Map(a, b), Type::Map(c, d)) => self.is_assignable(a, c) && self.is_assignable(b, d),
            (Type::Opaque(a, p), Type::Opaque(b, q)) => {
                a == b && p.len() == q.len() && p.iter().zip(&**q).all(|(p, q)| self.is_assignable(p, q))
            }
            _ => from == to,
        }
    }

    /// Whether `known` may be what `param` stands for, and whether something was known of it before. Go: `isValidTypeSubstitution`.
    fn substitute_param(&mut self, known: &Type, param: Param) -> (bool, bool) {
        if *known == Type::Param(param) {
            return (true, true);
        }
        if let Some(before) = self.known.get(&param).cloned() {
            if *known == before {
                return (true, true);
            }
            if self.is_assignable(known, &before) {
                let general = most_general(known, &before).clone();
                if self.not_referenced(param, &general) {
                    self.add(param, general);
                }
                return (true, true);
            }
            return (false, true);
        }
        if self.not_referenced(param, known) {
            self.add(param, known.clone());
            return (true, false);
        }
        (false, false)
    }

    /// Whether `param` is nowhere in a type. Go: `notReferencedIn`.
    fn not_referenced(&self, param: Param, within: &Type) -> bool {
        match within {
            Type::Param(other) if *other == param => false,
            Type::Param(other) => self.known.get(other).is_none_or(|known| self.not_referenced(param, known)),
            Type::Meta(of) => of.as_ref().is_none_or(|of| self.not_referenced(param, of)),
            Type::List(item) => self.not_referenced(param, item),
            Type::Map(key, value) => self.not_referenced(param, key) && self.not_referenced(param, value),
            Type::Opaque(_, params) => params.iter().all(|within| self.not_referenced(param, within)),
            _ => true,
        }
    }

    /// A type with what is known of its parameters put in; the rest stays, or becomes `dyn`. Go: `substitute`.
    pub(super) fn substitute(&self, t: &Type, rest_is_dyn: bool) -> Type {
        let again = |t: &Arc<Type>| Arc::new(self.substitute(t, rest_is_dyn));
        match t {
            Type::Param(param) => match self.known.get(param) {
                Some(known) => self.substitute(known, rest_is_dyn),
                None if rest_is_dyn => Type::Dyn,
                None => t.clone(),
            },
            Type::List(item) => Type::List(again(item)),
            Type::Map(key, value) => Type::Map(again(key), again(value)),
            Type::Meta(Some(of)) => Type::Meta(Some(again(of))),
            Type::Opaque(name, params) => {
                Type::Opaque(name, params.iter().map(|t| self.substitute(t, rest_is_dyn)).collect())
            }
            _ => t.clone(),
        }
    }
}

/// A declared type with fresh parameters in the place of named ones.
pub(super) fn instantiate(t: &Type, fresh: &HashMap<char, Param>) -> Type {
    let again = |t: &Arc<Type>| Arc::new(instantiate(t, fresh));
    match t {
        Type::Param(Param::Named(name)) => {
            Type::Param(fresh.get(name).copied().unwrap_or(Param::Named(*name)))
        }
        Type::List(item) => Type::List(again(item)),
        Type::Map(key, value) => Type::Map(again(key), again(value)),
        Type::Meta(Some(of)) => Type::Meta(Some(again(of))),
        Type::Opaque(name, params) => {
            Type::Opaque(name, params.iter().map(|t| instantiate(t, fresh)).collect())
        }
        _ => t.clone(),
    }
}

/// The one of two types that says less. Go: `mostGeneral`.
pub(super) fn most_general<'a>(a: &'a Type, b: &'a Type) -> &'a Type {
    if is_equal_or_less_specific(a, b) { a } else { b }
}

fn is_equal_or_less_specific(a: &Type, b: &Type) -> bool {
    if a.is_dyn() || matches!(a, Type::Param(_)) {
        return true;
    }
    if b.is_dyn() || matches!(b, Type::Param(_)) {
        return false;
    }
    match (a, b) {
        (Type::Opaque(a, p), Type::Opaque(b, q)) => {
            a == b && p.len() == q.len() && p.iter().zip(&**q).all(|(p, q)| is_equal_or_less_specific(p, q))
        }
        (Type::List(a), Type::List(b)) => is_equal_or_less_specific(a, b),
        (Type::Map(a, b), Type::Map(c, d)) => {
            is_equal_or_less_specific(a, c) && is_equal_or_less_specific(b, d)
        }
        (Type::Meta(_), Type::Meta(_)) => true,
        _ => a == b,
    }
}
