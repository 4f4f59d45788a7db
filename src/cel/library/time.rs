//! Timestamps and durations. Go: package `time`, cel-go's `common/types/timestamp.go`, `duration.go` and `overflow.go`.

use std::cmp::Ordering;
use std::fmt;

use jiff::tz::TimeZone;

use super::super::evaluate::{Error, Evaluated, Meter};
use super::super::numbers;
use super::super::value::Val;
use super::{Run, first, text};
use crate::time::{self, Time, civil_from_days, days_from_civil, digits, expect};

/// `0001-01-01T00:00:00Z`. Go: `minUnixTime`.
const MIN_SECONDS: i64 = -62_135_596_800;
/// `9999-12-31T23:59:59Z`. Go: `maxUnixTime`.
const MAX_SECONDS: i64 = 253_402_300_799;

const NANOSECONDS: i128 = 1_000_000_000;
const MINUTE: i64 = 60 * 1_000_000_000;
const HOUR: i64 = 60 * MINUTE;
const DAY_SECONDS: i64 = 24 * 60 * 60;

/// An instant, and how far the clock of its zone is from UTC: that is what it is printed with.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Timestamp {
    seconds: i64,
    nanoseconds: u32,
    /// Seconds east of UTC.
    offset: i32,
}

impl Timestamp {
    /// Go: `Int.ConvertToType(TimestampType)`.
    pub(super) fn from_seconds(seconds: i64) -> Result<Self, Error> {
        Self::checked(seconds, 0, 0)
    }

    fn checked(seconds: i64, nanoseconds: u32, offset: i32) -> Result<Self, Error> {
        if (MIN_SECONDS..=MAX_SECONDS).contains(&seconds) {
            Ok(Self { seconds, nanoseconds, offset })
        } else {
            Err(Error::new("timestamp overflow"))
        }
    }

    /// Go: `time.Parse`.
    pub(super) fn parse(text: &str) -> Option<Result<Self, Error>> {
        let (time, offset) = Time::parse_rfc3339(text.as_bytes())?;
        Some(Self::checked(time.seconds, time.nanoseconds, offset))
    }

    /// Since 1970.
    pub(in super::super) fn nanoseconds(&self) -> i128 {
        i128::from(self.seconds) * NANOSECONDS + i128::from(self.nanoseconds)
    }

    /// Since 1970, without the fraction.
    pub(super) fn seconds(&self) -> i64 {
        self.seconds
    }

    /// Later, or earlier, in the same zone. Go: `addTimeDurationChecked`.
    pub(super) fn plus(&self, nanoseconds: i128) -> Result<Self, Error> {
        let total = self.nanoseconds() + nanoseconds;
        let overflow = || Error::new("timestamp overflow");
        let seconds = i64::try_from(total.div_euclid(NANOSECONDS)).map_err(|_| overflow())?;
        let fraction = u32::try_from(total.rem_euclid(NANOSECONDS)).map_err(|_| overflow())?;
        Self::checked(seconds, fraction, self.offset)
    }

    pub(in super::super) fn same_instant(&self, other: &Self) -> bool {
        self.order(other) == Ordering::Equal
    }

    pub(in super::super) fn order(&self, other: &Self) -> Ordering {
        (self.seconds, self.nanoseconds).cmp(&(other.seconds, other.nanoseconds))
    }

    /// Go: `time.Time.IsZero`.
    pub(super) fn is_go_zero(&self) -> bool {
        self.seconds == MIN_SECONDS && self.nanoseconds == 0
    }

    /// The calendar and the clock in a zone so many seconds east of UTC.
    fn civil(&self, offset: i64) -> Civil {
        let local = self.seconds + offset;
        let (days, seconds) = (local.div_euclid(DAY_SECONDS), local.rem_euclid(DAY_SECONDS));
        let (year, month, day) = civil_from_days(days);
        Civil { days, year, month, day, seconds }
    }
}

struct Civil {
    /// Since 1970-01-01.
    days: i64,
    year: i64,
    month: i64,
    day: i64,
    /// Since midnight.
    seconds: i64,
}

/// Go: `time.RFC3339Nano`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Civil { year, month, day, seconds, .. } = self.civil(i64::from(self.offset));
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        if self.nanoseconds != 0 {
            write!(f, ".{}", format!("{:09}", self.nanoseconds).trim_end_matches('0'))?;
        }
        if self.offset == 0 {
            return f.write_str("Z");
        }
        let minutes = self.offset.abs() / 60;
        write!(f, "{}{:02}:{:02}", if self.offset < 0 { '-' } else { '+' }, minutes / 60, minutes % 60)
    }
}

pub(super) fn find(id: &str) -> Option<Run> {
    Some(match id {
        "timestamp_to_year" | "timestamp_to_year_with_tz" => |_, args| part(args, |c| c.year),
        "timestamp_to_month" | "timestamp_to_month_with_tz" => |_, args| part(args, |c| c.month - 1),
        "timestamp_to_day_of_year" | "timestamp_to_day_of_year_with_tz" => {
            |_, args| part(args, |c| c.days - days_from_civil(c.year, 1, 1))
        }
        "timestamp_to_day_of_month" | "timestamp_to_day_of_month_with_tz" => {
            |_, args| part(args, |c| c.day - 1)
        }
        "timestamp_to_day_of_month_1_based" | "timestamp_to_day_of_month_1_based_with_tz" => {
            |_, args| part(args, |c| c.day)
        }
        // 1970-01-01 was a Thursday.
        "timestamp_to_day_of_week" | "timestamp_to_day_of_week_with_tz" => {
            |_, args| part(args, |c| (c.days + 4).rem_euclid(7))
        }
        "timestamp_to_hours" | "timestamp_to_hours_tz" | "timestamp_to_hours_with_tz" => {
            |_, args| part(args, |c| c.seconds / 3600)
        }
        "timestamp_to_minutes" | "timestamp_to_minutes_with_tz" => {
            |_, args| part(args, |c| c.seconds / 60 % 60)
        }
        "timestamp_to_seconds" | "timestamp_to_seconds_tz" => |_, args| part(args, |c| c.seconds % 60),
        "timestamp_to_milliseconds" | "timestamp_to_milliseconds_with_tz" => milliseconds,
        "duration_to_hours" => |_, args| units(args, HOUR),
        "duration_to_minutes" => |_, args| units(args, MINUTE),
        "duration_to_seconds" => |_, args| units(args, 1_000_000_000),
        "duration_to_milliseconds" => |_, args| match first(args)? {
            Val::Duration(nanoseconds) => Ok(Val::Int(nanoseconds / 1_000_000)),
            _ => Err(Error::no_such_overload()),
        },
        _ => return None,
    })
}

fn units<'a>(args: &[Val<'a>], unit: i64) -> Evaluated<'a> {
    match first(args)? {
        Val::Duration(nanoseconds) => Ok(Val::Int(numbers::whole_units(*nanoseconds, unit))),
        _ => Err(Error::no_such_overload()),
    }
}

fn milliseconds<'a>(_: &Meter, args: &[Val<'a>]) -> Evaluated<'a> {
    // The zone has to be one, though it changes nothing.
    part(args, |_| 0)?;
    match first(args)? {
        Val::Timestamp(t) => Ok(Val::Int(i64::from(t.nanoseconds / 1_000_000))),
        _ => Err(Error::no_such_overload()),
    }
}

/// A part of a timestamp, in UTC or in the zone of the second argument.
fn part<'a>(args: &[Val<'a>], of: fn(&Civil) -> i64) -> Evaluated<'a> {
    let Val::Timestamp(timestamp) = first(args)? else { return Err(Error::no_such_overload()) };
    let offset = match args.get(1) {
        None => 0,
        Some(_) => zone_offset(timestamp, text(args, 1)?.as_str())?,
    };
    Ok(Val::Int(of(&timestamp.civil(offset))))
}

/// How many seconds a zone is east of UTC at that time. Go: `inTimeZone` (standard.go). What Go calls "Local" is the machine's own
/// zone, and refused.
fn zone_offset(timestamp: &Timestamp, zone: &str) -> Result<i64, Error> {
    let unknown = || Error::new(format!("unknown time zone {zone}"));
    if let Some((hours, minutes)) = zone.split_once(':') {
        let number = |text: &str| text.parse::<i64>().map_err(|_| unknown());
        let (hours, minutes) = (number(hours)?, number(minutes)?);
        let offset = hours.checked_mul(60).and_then(|h| {
            if zone.starts_with('-') { h.checked_sub(minutes) } else { h.checked_add(minutes) }
        });
        // Go counts on with what overflows; no zone is a week away.
        return offset
            .filter(|offset| offset.abs() < 7 * 24 * 60)
            .map(|offset| offset * 60)
            .ok_or_else(unknown);
    }
    if matches!(zone, "" | "UTC") {
        return Ok(0);
    }
    let found = TimeZone::get(zone).map_err(|_| unknown())?;
    // Go finds a file, whose name has to be spelled so.
    if found.iana_name() != Some(zone) {
        return Err(unknown());
    }
    let at = jiff::Timestamp::from_second(timestamp.seconds).map_err(|_| unknown())?;
    Ok(i64::from(found.to_offset(at).seconds()))
}

/// A duration in nanoseconds, as `1h2m3.5s`. Go: `time.ParseDuration`.
pub(super) fn parse_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if rest == b"0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let limit = 1_u64 << 63;
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (whole, after) = leading_digits(rest);
        let value = whole.iter().try_fold(0_u64, |n, digit| {
            (n <= limit / 10).then(|| n * 10 + u64::from(digit - b'0')).filter(|n| *n <= limit)
        })?;
        let (fraction, after) = match after {
            [b'.', after @ ..] => leading_digits(after),
            _ => (&[][..], after),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let end = after.iter().position(|b| *b == b'.' || b.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let unit: u64 = match std::str::from_utf8(unit).ok()? {
            "ns" => 1,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60 * 1_000_000_000,
            "h" => 3600 * 1_000_000_000,
            _ => return None,
        };
        let mut nanoseconds = value.checked_mul(unit).filter(|n| *n <= limit)?;
        nanoseconds = nanoseconds.checked_add(fraction_of(fraction, unit)).filter(|n| *n <= limit)?;
        total = total.checked_add(nanoseconds).filter(|n| *n <= limit)?;
        rest = after;
    }
    if negative {
        return 0_i64.checked_sub_unsigned(total);
    }
    i64::try_from(total).ok()
}

fn leading_digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len()))
}

/// Go: `leadingFraction`, and the multiplication by a float after it.
fn fraction_of(digits: &[u8], unit: u64) -> u64 {
    let (mut value, mut scale) = (0_u64, 1.0_f64);
    for digit in digits {
        if value > ((1_u64 << 63) - 1) / 10 {
            break;
        }
        let next = value * 10 + u64::from(digit - b'0');
        if next > 1_u64 << 63 {
            break;
        }
        value = next;
        scale *= 10.0;
    }
    numbers::u64_of(numbers::f64_of_u64(value) * (numbers::f64_of_u64(unit) / scale)).unwrap_or(0)
}

/// Go: `time.Parse("2006-01-02")`.
pub(super) fn is_date(text: &str) -> bool {
    let mut rest = text.as_bytes();
    let mut read = || {
        let year = digits(&mut rest, 4)?;
        expect(&mut rest, b'-')?;
        let month = digits(&mut rest, 2)?;
        expect(&mut rest, b'-')?;
        Some((year, month, digits(&mut rest, 2)?))
    };
    let date = read();
    rest.is_empty() && date.is_some_and(|(year, month, day)| time::is_date(year, month, day))
}
