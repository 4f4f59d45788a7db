//! The registered claims of a token, as go-jose reads them into `jwt.Claims`: exact names, no duplicates, times as numbers only.

use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::authn::Now;
use crate::decision::Reason;
use crate::json::{Object, TypeError, Value};

/// How far clocks may be apart. Go: `DefaultLeeway` of go-jose.v2/jwt/validation.go.
const LEEWAY: Duration = Duration::from_secs(60);

/// Seconds from the year 1 to 1970. Go: `unixToInternal` of time/time.go.
const UNIX_TO_INTERNAL: i64 = 62_135_596_800;

const NANOS: i128 = 1_000_000_000;

/// A claim is not of its type, or is there twice.
pub(super) struct MalformedClaims;

impl From<TypeError> for MalformedClaims {
    fn from(_: TypeError) -> Self {
        Self
    }
}

impl From<MalformedClaims> for Reason {
    fn from(_: MalformedClaims) -> Self {
        Self::MalformedClaims
    }
}

/// Claims that every token may have (RFC 7519, section 4.1). Go: `Claims` of go-jose.v2/jwt/claims.go.
pub(super) struct PublicClaims<'a> {
    pub(super) issuer: &'a str,
    pub(super) subject: &'a str,
    pub(super) audiences: Vec<&'a str>,
    pub(super) expiry: Option<NumericDate>,
    not_before: Option<NumericDate>,
    issued_at: Option<NumericDate>,
    pub(super) id: &'a str,
}

impl<'a> PublicClaims<'a> {
    /// Reads them from the top of the payload.
    pub(super) fn read(claims: &'a Object<'a>) -> Result<Self, MalformedClaims> {
        let date = |name| claims.get(name).map_or(Ok(None), NumericDate::read);
        Ok(Self {
            issuer: string(claims, "iss")?,
            subject: string(claims, "sub")?,
            audiences: claims.get("aud").map_or(Ok(Vec::new()), audiences)?,
            expiry: date("exp")?,
            not_before: date("nbf")?,
            issued_at: date("iat")?,
            id: string(claims, "jti")?,
        })
    }

    /// Whether the token is valid at `now`, give or take a minute. Go: `ValidateWithLeeway` of go-jose.v2/jwt/validation.go.
    pub(super) fn check_time(&self, now: Now) -> Result<(), Reason> {
        if self.not_before.is_some_and(|date| date.is_to_come(now)) {
            return Err(Reason::TokenNotYetValid);
        }
        if self.expiry.is_some_and(|date| date.is_past(now)) {
            return Err(Reason::TokenExpired);
        }
        if self.issued_at.is_some_and(|date| date.is_to_come(now)) {
            return Err(Reason::TokenNotYetValid);
        }
        Ok(())
    }
}

/// A claim that is a string; empty if there is none.
pub(super) fn string<'a>(claims: &'a Object<'a>, name: &str) -> Result<&'a str, MalformedClaims> {
    Ok(claims.get(name).map_or(Ok(""), Value::string)?)
}

/// An object without duplicate members, or nothing for `null`.
pub(super) fn unique<'a>(value: &'a Value<'a>) -> Result<Option<&'a Object<'a>>, MalformedClaims> {
    match value.object_or_null()? {
        Some(object) if !object.is_unique() => Err(MalformedClaims),
        object => Ok(object),
    }
}

/// One audience or several; unlike elsewhere, `null` is neither. Go: `Audience.UnmarshalJSON` of go-jose.v2/jwt/claims.go.
fn audiences<'a>(value: &'a Value<'a>) -> Result<Vec<&'a str>, MalformedClaims> {
    let string = |value: &'a Value<'a>| match value {
        Value::String(text) => Ok(&**text),
        _ => Err(MalformedClaims),
    };
    match value {
        Value::Array(elements) => elements.iter().map(string).collect(),
        one => Ok(vec![string(one)?]),
    }
}

/// Whole numbers that are the same as a float64, by way of which Go reads all.
const EXACT: RangeInclusive<i64> = -(1 << f64::MANTISSA_DIGITS)..=1 << f64::MANTISSA_DIGITS;

/// Seconds since 1970. Go: `NumericDate` of go-jose.v2/jwt/claims.go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NumericDate(i64);

impl NumericDate {
    /// Reads a number, whose fraction is cut off, or nothing for `null`. One beyond an int64 becomes the smallest, as in a Go program
    /// on amd64.
    pub(super) fn read(value: &Value<'_>) -> Result<Option<Self>, MalformedClaims> {
        match value {
            Value::Null => Ok(None),
            Value::Number(number) => {
                if let Some(seconds) = number.int64().ok().filter(|seconds| EXACT.contains(seconds)) {
                    return Ok(Some(Self(seconds)));
                }
                // Whole, so written without exponent.
                let whole = number.float64()?.trunc().to_string();
                Ok(Some(Self(whole.parse().unwrap_or(i64::MIN))))
            }
            _ => Err(MalformedClaims),
        }
    }

    /// These seconds since 1970.
    pub(super) fn of(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Whether it is more than a minute ago.
    pub(super) fn is_past(self, now: Now) -> bool {
        internal_nanos(now) - leeway() > self.internal_nanos()
    }

    /// Whether it is before `now`, by clocks that agree.
    pub(super) fn is_before(self, now: Now) -> bool {
        internal_nanos(now) > self.internal_nanos()
    }

    /// The last moment at which it is no more than a minute ago; none if that is beyond what the system's clock can say.
    pub(super) fn end(self) -> Option<SystemTime> {
        UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(self.0).ok()?).checked_add(LEEWAY)?)
    }

    /// Whether it is more than a minute ahead.
    fn is_to_come(self, now: Now) -> bool {
        internal_nanos(now) + leeway() < self.internal_nanos()
    }

    /// Nanoseconds since the year 1, of seconds that wrap around as in Go. Go: `time.Unix`.
    fn internal_nanos(self) -> i128 {
        i128::from(self.0.wrapping_add(UNIX_TO_INTERNAL)) * NANOS
    }
}

fn leeway() -> i128 {
    i128::from(LEEWAY.as_secs()) * NANOS
}

fn internal_nanos(Now(now): Now) -> i128 {
    let nanos = |duration: Duration| i128::try_from(duration.as_nanos()).unwrap_or(i128::MAX);
    let since_1970 = match now.duration_since(UNIX_EPOCH) {
        Ok(after) => nanos(after),
        Err(before) => -nanos(before.duration()),
    };
    since_1970.saturating_add(i128::from(UNIX_TO_INTERNAL) * NANOS)
}
