//! When values are equal, and which of two comes first. Go: `Equal` and `Compare` of the types in cel-go's `common/types`.

use std::cmp::Ordering;

use super::Input;
use super::evaluate::{Error, Meter};
use super::numbers;
use super::value::{List, Map, Val};

impl<'a> Val<'a> {
    /// Whether two values are equal, numbers across their types. An error where Go has no answer. Go: `types.Equal`.
    pub(super) fn equals(&self, other: &Self, meter: &Meter) -> Result<bool, Error> {
        meter.work(1)?;
        Ok(match (self, other) {
            (Self::Null, other) | (other, Self::Null) => matches!((self, other), (Self::Null, Self::Null)),
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (
                Self::Int(_) | Self::Uint(_) | Self::Double(_),
                Self::Int(_) | Self::Uint(_) | Self::Double(_),
            ) => number_order(self, other) == Some(Ordering::Equal),
            (Self::String(a), Self::String(b)) => a.as_str() == b.as_str(),
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::Timestamp(a), Self::Timestamp(b)) => a.same_instant(b),
            (Self::Duration(a), Self::Duration(b)) => a == b,
            (Self::Type(a), Self::Type(b)) => a == b,
            (Self::Optional(a), Self::Optional(b)) => match (a, b) {
                (Some(a), Some(b)) => meter.nested(|| a.equals(b, meter))?,
                (None, None) => true,
                _ => false,
            },
            (Self::List(a), Self::List(b)) => return lists_equal(a, b, meter),
            (Self::Map(a), Self::Map(b)) => return maps_equal(a, b, meter),
            (Self::Map(map), Self::Input(input)) => return equals_input(map, input, meter),
            (Self::Input(_), Self::Input(_)) => true,
            (Self::Ip(a), Self::Ip(b)) => a == b,
            (Self::Cidr(a), Self::Cidr(b)) => a == b,
            (Self::Url(a), Self::Url(b)) => a.text() == b.text(),
            (Self::Quantity(a), Self::Quantity(b)) if !b.computed => a.order(b) == Ordering::Equal,
            (Self::Semver(a), Self::Semver(b)) => a.order(b) == Ordering::Equal,
            (Self::Format(a), Self::Format(b)) => a.name == b.name,
            (
                Self::Input(_)
                | Self::Ip(_)
                | Self::Cidr(_)
                | Self::Url(_)
                | Self::Quantity(_)
                | Self::Semver(_)
                | Self::Format(_),
                _,
            ) => return Err(Error::no_such_overload()),
            _ => false,
        })
    }

    /// The order of two values that have one, numbers across their types.
    pub(super) fn compare(&self, other: &Self) -> Result<Ordering, Error> {
        match (self, other) {
            (Self::Bool(a), Self::Bool(b)) => Ok(a.cmp(b)),
            (
                Self::Int(_) | Self::Uint(_) | Self::Double(_),
                Self::Int(_) | Self::Uint(_) | Self::Double(_),
            ) => number_order(self, other).ok_or_else(|| Error::new("NaN values cannot be ordered")),
            (Self::String(a), Self::String(b)) => Ok(a.as_str().cmp(b.as_str())),
            (Self::Bytes(a), Self::Bytes(b)) => Ok(a.cmp(b)),
            (Self::Timestamp(a), Self::Timestamp(b)) => Ok(a.order(b)),
            (Self::Duration(a), Self::Duration(b)) => Ok(a.cmp(b)),
            _ => Err(Error::no_such_overload()),
        }
    }

    /// Whether values of this type have an order. Go: `traits.ComparerType`.
    pub(super) fn is_comparable(&self) -> bool {
        matches!(
            self,
            Self::Bool(_)
                | Self::Int(_)
                | Self::Uint(_)
                | Self::Double(_)
                | Self::String(_)
                | Self::Bytes(_)
                | Self::Timestamp(_)
                | Self::Duration(_)
        )
    }
}

/// The order of two numbers, `None` if one is NaN. Go: common/types/compare.go.
fn number_order(a: &Val<'_>, b: &Val<'_>) -> Option<Ordering> {
    match (a, b) {
        (Val::Int(a), Val::Int(b)) => Some(a.cmp(b)),
        (Val::Uint(a), Val::Uint(b)) => Some(a.cmp(b)),
        (Val::Double(a), Val::Double(b)) => a.partial_cmp(b),
        (Val::Int(a), Val::Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Val::Uint(a), Val::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Val::Double(d), Val::Int(i)) => {
            if *d < numbers::f64_of(i64::MIN) {
                Some(Ordering::Less)
            } else if *d > numbers::f64_of(i64::MAX) {
                Some(Ordering::Greater)
            } else {
                d.partial_cmp(&numbers::f64_of(*i))
            }
        }
        (Val::Double(d), Val::Uint(u)) => {
            if *d < 0.0 {
                Some(Ordering::Less)
            } else if *d > numbers::f64_of_u64(u64::MAX) {
                Some(Ordering::Greater)
            } else {
                d.partial_cmp(&numbers::f64_of_u64(*u))
            }
        }
        (Val::Int(_) | Val::Uint(_), Val::Double(_)) => number_order(b, a).map(Ordering::reverse),
        _ => None,
    }
}

/// All items are equal, or cannot be compared. Go: `baseList.Equal`, and `concatList.Equal`, to which the latter is an error.
fn lists_equal<'a>(a: &List<'a>, b: &List<'a>, meter: &Meter) -> Result<bool, Error> {
    if a.len() != b.len() {
        return Ok(false);
    }
    let mut failed = None;
    for index in 0..a.len() {
        let (Some(one), Some(other)) = (a.item(index), b.get(index)) else { return Ok(false) };
        match meter.nested(|| one.equals(&other, meter)) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(error) if error.is_final() => return Err(error),
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if matches!(a, List::Joined(_)) => Err(error),
        _ => Ok(true),
    }
}

/// Every entry of one is in the other, which is as large. Go: `baseMap.Equal`.
fn maps_equal<'a>(a: &Map<'a>, b: &Map<'a>, meter: &Meter) -> Result<bool, Error> {
    if a.len() != b.len() {
        return Ok(false);
    }
    for (key, value) in a.entries() {
        let Some(other) = b.find(&key) else { return Ok(false) };
        if !meter.nested(|| value.equals(&other, meter))? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn equals_input<'a>(a: &Map<'a>, b: &Input<'a>, meter: &Meter) -> Result<bool, Error> {
    if a.len() != b.names().len() {
        return Ok(false);
    }
    for (key, value) in a.entries() {
        let Some(other) = b.find(&key)? else { return Ok(false) };
        if !meter.nested(|| value.equals(&other, meter))? {
            return Ok(false);
        }
    }
    Ok(true)
}
