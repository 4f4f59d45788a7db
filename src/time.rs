//! Times as Go's package `time` reads and counts them.

use std::time::{SystemTime, UNIX_EPOCH};

/// An instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time {
    /// Whole seconds since 1970-01-01T00:00:00Z, negative before.
    pub seconds: i64,
    /// What follows, less than a second.
    pub nanoseconds: u32,
}

const DAY_SECONDS: i64 = 24 * 60 * 60;

impl Time {
    /// RFC 3339 as Go reads it: an hour may have one digit, and a comma may stand before the fraction. Besides the instant, how many
    /// seconds its zone is east of UTC. Go: `time.Parse(time.RFC3339, …)`.
    pub fn parse_rfc3339(text: &[u8]) -> Option<(Self, i32)> {
        let mut rest = text;
        let year = digits(&mut rest, 4)?;
        expect(&mut rest, b'-')?;
        let month = digits(&mut rest, 2)?;
        expect(&mut rest, b'-')?;
        let day = digits(&mut rest, 2)?;
        expect(&mut rest, b'T')?;
        let hour = match rest {
            [_, second, ..] if second.is_ascii_digit() => digits(&mut rest, 2)?,
            _ => digits(&mut rest, 1)?,
        };
        expect(&mut rest, b':')?;
        let minute = digits(&mut rest, 2)?;
        expect(&mut rest, b':')?;
        let second = digits(&mut rest, 2)?;
        let mut nanoseconds = 0;
        if let [b'.' | b',', digit, ..] = rest
            && digit.is_ascii_digit()
        {
            rest = &rest[1..];
            let mut scale = 100_000_000;
            while let [digit @ b'0'..=b'9', after @ ..] = rest {
                nanoseconds += u32::from(digit - b'0') * scale;
                scale /= 10;
                rest = after;
            }
        }
        let offset = match rest {
            b"Z" => 0,
            [sign @ (b'+' | b'-'), zone @ ..] => {
                let mut zone = zone;
                let hours = digits(&mut zone, 2)?;
                expect(&mut zone, b':')?;
                let minutes = digits(&mut zone, 2)?;
                if !zone.is_empty() || hours > 24 || minutes > 60 {
                    return None;
                }
                let offset = (hours * 60 + minutes) * 60;
                if *sign == b'-' { -offset } else { offset }
            }
            _ => return None,
        };
        if !is_date(year, month, day) || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let local = days_from_civil(year, month, day) * DAY_SECONDS + hour * 3600 + minute * 60 + second;
        Some((Self { seconds: local - offset, nanoseconds }, i32::try_from(offset).ok()?))
    }
}

impl From<SystemTime> for Time {
    fn from(time: SystemTime) -> Self {
        let seconds = |seconds: u64| i64::try_from(seconds).unwrap_or(i64::MAX);
        match time.duration_since(UNIX_EPOCH) {
            Ok(since) => Self { seconds: seconds(since.as_secs()), nanoseconds: since.subsec_nanos() },
            Err(before) if before.duration().subsec_nanos() == 0 => {
                Self { seconds: -seconds(before.duration().as_secs()), nanoseconds: 0 }
            }
            Err(before) => Self {
                seconds: -seconds(before.duration().as_secs()) - 1,
                nanoseconds: 1_000_000_000 - before.duration().subsec_nanos(),
            },
        }
    }
}

/// Takes a byte off the front, if it is this one.
pub fn expect(rest: &mut &[u8], byte: u8) -> Option<()> {
    *rest = rest.strip_prefix(&[byte])?;
    Some(())
}

/// Takes so many digits off the front, and gives their number.
pub fn digits(rest: &mut &[u8], count: usize) -> Option<i64> {
    let (number, after) = rest.split_at_checked(count)?;
    *rest = after;
    number.iter().try_fold(0, |n, digit| digit.is_ascii_digit().then(|| n * 10 + i64::from(digit - b'0')))
}

/// Whether there is such a day in the Gregorian calendar, which is taken to reach back to the year 0, as in Go.
pub fn is_date(year: i64, month: i64, day: i64) -> bool {
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 if is_leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    (1..=12).contains(&month) && (1..=days).contains(&day)
}

/// Days from 1970-01-01 to a date. After Howard Hinnant's `days_from_civil`.
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The date of such a day: year, month, day. After Howard Hinnant's `civil_from_days`.
pub fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(text: &str) -> Option<(i64, u32, i32)> {
        Time::parse_rfc3339(text.as_bytes()).map(|(time, offset)| (time.seconds, time.nanoseconds, offset))
    }

    /// Go: `Parse` of time/format.go and `parseRFC3339` of format_rfc3339.go; the seconds are `date -u +%s`'s.
    #[test]
    fn rfc_3339_is_read_as_go_reads_it() {
        let table = [
            ("1970-01-01T00:00:00Z", Some((0, 0, 0))),
            ("2026-02-28T23:59:59.5Z", Some((1_772_323_199, 500_000_000, 0))),
            ("2026-02-28T23:59:59,5Z", Some((1_772_323_199, 500_000_000, 0))),
            ("2026-02-28T3:59:59Z", Some((1_772_251_199, 0, 0))),
            ("2024-02-29T00:00:00+24:60", Some((1_709_164_800 - 90_000, 0, 90_000))),
            ("2024-02-29T00:00:00-00:30", Some((1_709_166_600, 0, -1_800))),
            ("0000-01-01T00:00:00Z", Some((-62_167_219_200, 0, 0))),
            ("9999-12-31T23:59:59-01:00", Some((253_402_304_399, 0, -3_600))),
            ("2026-02-28T00:00:00.1234567891Z", Some((1_772_236_800, 123_456_789, 0))),
            ("2023-02-29T00:00:00Z", None),
            ("2026-13-01T00:00:00Z", None),
            ("2026-01-01T24:00:00Z", None),
            ("2026-01-01T00:60:00Z", None),
            ("2026-01-01T00:00:60Z", None),
            ("2026-01-01T00:00:00+25:00", None),
            ("2026-01-01T00:00:00.Z", None),
            ("2026-01-01T00:00:00", None),
            ("2026-01-01 00:00:00Z", None),
            ("2026-01-01t00:00:00z", None),
            ("2026-01-01T00:00:00Z ", None),
            (" 2026-01-01T00:00:00Z", None),
            ("2026-01-01", None),
            ("tomorrow", None),
            ("", None),
        ];
        for (text, expected) in table {
            assert_eq!(at(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_system_time_is_the_instant_that_it_is() {
        let time = |time| {
            let Time { seconds, nanoseconds } = Time::from(time);
            (seconds, nanoseconds)
        };
        assert_eq!(time(UNIX_EPOCH + Duration::from_millis(1500)), (1, 500_000_000));
        assert_eq!(time(UNIX_EPOCH - Duration::from_millis(1500)), (-2, 500_000_000));
        assert_eq!(time(UNIX_EPOCH - Duration::from_secs(2)), (-2, 0));
    }

    #[test]
    fn a_day_has_one_date() {
        for days in [-719_528, -1, 0, 59, 11_016, 20_000, 2_932_896] {
            let (year, month, day) = civil_from_days(days);
            assert!(is_date(year, month, day), "{days}");
            assert_eq!(days_from_civil(year, month, day), days);
        }
    }
}
