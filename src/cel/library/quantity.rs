//! Kubernetes' quantities, such as `1.5Gi`. Go: k8s.io/apiserver/pkg/cel/library/quantity.go, over
//! k8s.io/apimachinery/pkg/api/resource.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use super::super::evaluate::{Error, Evaluated};
use super::super::numbers;
use super::super::value::Val;
use super::{Run, sign_of, text};

/// The smallest part of a quantity. Go: `Nano`.
const NANO: i32 = -9;
/// Digits that Go keeps in an integer. Go: `maxInt64Factors`.
const MAX_DIGITS: i32 = 18;
/// Exponents that are worked with. Go's are of any size.
const MAX_EXPONENT: i32 = 1000;

/// A decimal number. Go has integers with a scale, and large decimals where they do not do; only the first can be asked for
/// as an integer.
#[derive(Debug, Clone)]
pub(in super::super) struct Quantity {
    digits: i128,
    exponent: i32,
    small: bool,
    /// Made by `add` or `sub`: Go's `Equal` does not take such a one as its argument.
    pub(in super::super) computed: bool,
}

impl fmt::Display for Quantity {
    /// In plain digits, without needless zeros.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (digits, exponent) = self.magnitude();
        if digits == "0" {
            return f.write_str("0");
        }
        let sign = if self.digits < 0 { "-" } else { "" };
        write!(f, "{sign}{digits}e{exponent}")
    }
}

/// What is wrong with a text, or too much for us.
enum Refused {
    Invalid,
    Unsupported,
}

impl Quantity {
    /// Go: `ParseQuantity`.
    fn parse(text: &str) -> Result<Self, Refused> {
        if text.is_empty() {
            return Err(Refused::Invalid);
        }
        let parts = Parts::of(text).ok_or(Refused::Invalid)?;
        let (base, exponent) = suffix(parts.suffix).ok_or(Refused::Invalid)?;
        if exponent.abs() > MAX_EXPONENT {
            return Err(Refused::Unsupported);
        }
        let lengths =
            i32::try_from(parts.whole.len() + parts.fraction.len()).map_err(|_| Refused::Unsupported)?;
        let fraction_length = i32::try_from(parts.fraction.len()).map_err(|_| Refused::Unsupported)?;
        let digits: i128 = match format!("{}{}", parts.whole, parts.fraction).parse() {
            Ok(digits) => digits,
            Err(_) => return Err(Refused::Unsupported),
        };
        let signed = |digits: i128| if parts.negative { -digits } else { digits };
        let binary = base == 2;
        // What fits into Go's integer.
        let precision = if !binary {
            MAX_DIGITS - lengths
        } else if exponent >= 0 && parts.fraction.is_empty() {
            15 - i32::try_from(parts.whole.len()).unwrap_or(i32::MAX) - exponent * 3 / 10 - 1
        } else {
            -1
        };
        let scale = if binary { 0 } else { exponent } - fraction_length;
        let factor = if binary { 1_i128 << exponent } else { 1 };
        if precision >= 0 && scale >= NANO {
            let value = digits.checked_mul(factor).ok_or(Refused::Unsupported)?;
            if i64::try_from(value).is_ok() {
                return Ok(Self { digits: signed(value), exponent: scale, small: true, computed: false });
            }
        }
        let mut digits = digits.checked_mul(factor).ok_or(Refused::Unsupported)?;
        let mut exponent = scale;
        // In whole nanos, rounded up.
        if digits != 0 {
            let factor = 10_i128.checked_pow(exponent.abs_diff(NANO));
            digits = if exponent < NANO {
                factor.map_or(1, |divisor| digits / divisor + i128::from(digits % divisor != 0))
            } else {
                factor.and_then(|factor| digits.checked_mul(factor)).ok_or(Refused::Unsupported)?
            };
            exponent = NANO;
        }
        if binary {
            let cap = i128::from(i64::MAX);
            let unit = 10_i128.checked_pow(exponent.unsigned_abs()).ok_or(Refused::Unsupported)?;
            if cap.checked_mul(unit).is_some_and(|cap| digits > cap) {
                (digits, exponent) = (cap, 0);
            }
        }
        Ok(Self { digits: signed(digits), exponent, small: false, computed: false })
    }

    fn of(value: i64) -> Self {
        Self { digits: i128::from(value), exponent: 0, small: true, computed: false }
    }

    /// The digits without sign and trailing zeros, and what power of ten they stand for.
    fn magnitude(&self) -> (String, i64) {
        let digits = self.digits.unsigned_abs().to_string();
        let trimmed = digits.trim_end_matches('0');
        if trimmed.is_empty() {
            return ("0".to_owned(), 0);
        }
        let zeros = i64::try_from(digits.len() - trimmed.len()).unwrap_or_default();
        (trimmed.to_owned(), i64::from(self.exponent) + zeros)
    }

    /// Go: `Quantity.Cmp`.
    pub(in super::super) fn order(&self, other: &Self) -> Ordering {
        let signs = self.digits.signum().cmp(&other.digits.signum());
        if signs != Ordering::Equal || self.digits == 0 {
            return signs;
        }
        let ((a, a_exponent), (b, b_exponent)) = (self.magnitude(), other.magnitude());
        let leading =
            |digits: &str, exponent: i64| exponent + i64::try_from(digits.len()).unwrap_or_default();
        let order =
            leading(&a, a_exponent).cmp(&leading(&b, b_exponent)).then_with(|| a.as_str().cmp(b.as_str()));
        if self.digits < 0 { order.reverse() } else { order }
    }

    /// Go: `Quantity.Add`. `None` if the sum has more digits than we count.
    fn plus(&self, other: &Self) -> Option<Self> {
        let made = |digits, exponent, small| Self { digits, exponent, small, computed: true };
        let both_small = self.small && other.small;
        if both_small && other.digits == 0 {
            return Some(made(self.digits, self.exponent, true));
        }
        if both_small && self.digits == 0 {
            return Some(made(other.digits, other.exponent, true));
        }
        let exponent = self.exponent.min(other.exponent);
        let scaled = |q: &Self| {
            10_i128.checked_pow(q.exponent.abs_diff(exponent)).and_then(|factor| q.digits.checked_mul(factor))
        };
        let (a, b) = (scaled(self)?, scaled(other)?);
        let sum = a.checked_add(b)?;
        let small = both_small && [a, b, sum].iter().all(|n| i64::try_from(*n).is_ok());
        Some(made(sum, exponent, small))
    }

    fn negated(&self) -> Self {
        Self { digits: -self.digits, ..self.clone() }
    }

    /// Go: `Quantity.AsInt64`.
    fn as_int(&self) -> Option<i64> {
        if !self.small || self.exponent < 0 {
            return None;
        }
        let factor = 10_i128.checked_pow(self.exponent.unsigned_abs())?;
        i64::try_from(self.digits.checked_mul(factor)?).ok()
    }

    /// Go: `Quantity.AsApproximateFloat64`.
    fn as_float(&self) -> f64 {
        let base = numbers::f64_of_i128(self.digits);
        if self.exponent == 0 { base } else { base * numbers::power_of_ten(self.exponent) }
    }
}

/// The parts of a quantity's text. Go: `parseQuantityString`.
struct Parts<'t> {
    negative: bool,
    whole: &'t str,
    fraction: &'t str,
    suffix: &'t str,
}

impl<'t> Parts<'t> {
    fn of(text: &'t str) -> Option<Self> {
        let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
        let negative = text.starts_with('-');
        let rest = unsigned.trim_start_matches('0');
        let digits =
            |text: &'t str| text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let (whole, rest) = digits(rest);
        let whole = if whole.is_empty() { "0" } else { whole };
        let (fraction, suffix) = rest.strip_prefix('.').map_or(("", rest), digits);
        let letters = suffix.find(|c| !"eEinumkKMGTP".contains(c)).unwrap_or(suffix.len());
        let exponent = &suffix[letters..];
        let exponent = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        exponent.bytes().all(|b| b.is_ascii_digit()).then_some(Self { negative, whole, fraction, suffix })
    }
}

/// The base and exponent of a suffix. Go: `suffixHandler.interpret`.
fn suffix(suffix: &str) -> Option<(u8, i32)> {
    Some(match suffix {
        "" => (10, 0),
        "n" => (10, -9),
        "u" => (10, -6),
        "m" => (10, -3),
        "k" => (10, 3),
        "M" => (10, 6),
        "G" => (10, 9),
        "T" => (10, 12),
        "P" => (10, 15),
        "E" => (10, 18),
        "Ki" => (2, 10),
        "Mi" => (2, 20),
        "Gi" => (2, 30),
        "Ti" => (2, 40),
        "Pi" => (2, 50),
        "Ei" => (2, 60),
        _ => {
            let exponent: i64 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            (10, i32::try_from(exponent).unwrap_or(i32::MAX))
        }
    })
}

pub(super) fn find(id: &str) -> Option<Run> {
    Some(match id {
        "string_to_quantity" => |_, args| match Quantity::parse(text(args, 0)?.as_str()) {
            Ok(quantity) => Ok(Val::Quantity(Arc::new(quantity))),
            Err(Refused::Invalid) => Err(Error::new(
                "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            )),
            Err(Refused::Unsupported) => Err(Error::new("a quantity of this size is not supported here")),
        },
        "is_quantity_string" => |_, args| match Quantity::parse(text(args, 0)?.as_str()) {
            Ok(_) | Err(Refused::Unsupported) => Ok(Val::Bool(true)),
            Err(Refused::Invalid) => Ok(Val::Bool(false)),
        },
        "quantity_sign" => |_, args| Ok(Val::Int(sign_of(quantity(args, 0)?.digits.cmp(&0)))),
        "quantity_is_greater_than" => |_, args| Ok(Val::Bool(order(args)? == Ordering::Greater)),
        "quantity_is_less_than" => |_, args| Ok(Val::Bool(order(args)? == Ordering::Less)),
        "quantity_compare_to" => |_, args| Ok(Val::Int(sign_of(order(args)?))),
        "quantity_get_float" => |_, args| Ok(Val::Double(quantity(args, 0)?.as_float())),
        "quantity_get_int" => |_, args| {
            let int = quantity(args, 0)?.as_int();
            int.map(Val::Int).ok_or_else(|| Error::new("cannot convert value to integer"))
        },
        "quantity_is_integer" => |_, args| Ok(Val::Bool(quantity(args, 0)?.as_int().is_some())),
        "quantity_add" | "quantity_add_int" => |_, args| sum(args, |q| q),
        "quantity_sub" | "quantity_sub_int" => |_, args| sum(args, |q| q.negated()),
        _ => return None,
    })
}

fn quantity<'v>(args: &'v [Val<'_>], at: usize) -> Result<&'v Quantity, Error> {
    match args.get(at) {
        Some(Val::Quantity(quantity)) => Ok(quantity),
        _ => Err(Error::no_such_overload()),
    }
}

fn order(args: &[Val<'_>]) -> Result<Ordering, Error> {
    Ok(quantity(args, 0)?.order(quantity(args, 1)?))
}

fn sum<'a>(args: &[Val<'a>], second: fn(Quantity) -> Quantity) -> Evaluated<'a> {
    let other = match args.get(1) {
        Some(Val::Int(i)) => Quantity::of(*i),
        _ => quantity(args, 1)?.clone(),
    };
    let sum = quantity(args, 0)?.plus(&second(other));
    sum.map(|sum| Val::Quantity(Arc::new(sum)))
        .ok_or_else(|| Error::new("a quantity of this size is not supported here"))
}
