//! UTCTime and GeneralizedTime as Go reads them (cryptobyte `ReadASN1UTCTime`, `ReadASN1GeneralizedTime`; RFC 5280, section
//! 4.1.2.5): also without seconds (UTCTime only) and with an offset from UTC, but in no form that Go would not write the same way.

use super::der::{GENERALIZED_TIME, Reader, UTC_TIME};
use crate::time::{days_from_civil, is_date};

/// The next value as seconds since 1970, negative before. Go: `parseTime` of crypto/x509/parser.go.
pub(super) fn read(reader: &mut Reader<'_>) -> Option<i64> {
    if reader.peek(UTC_TIME) {
        let digits = Digits(reader.read(UTC_TIME)?);
        return digits.utc_time();
    }
    Digits(reader.read(GENERALIZED_TIME)?).generalized_time()
}

struct Digits<'a>(&'a [u8]);

impl Digits<'_> {
    /// `YYMMDDhhmm[ss]zone`.
    fn utc_time(mut self) -> Option<i64> {
        // RFC 5280, section 4.1.2.5.1: 50 to 99 are the last century.
        let year = match self.two()? {
            year @ 50.. => 1900 + year,
            year => 2000 + year,
        };
        self.rest(year, true)
    }

    /// `YYYYMMDDhhmmsszone`.
    fn generalized_time(mut self) -> Option<i64> {
        let year = 100 * self.two()? + self.two()?;
        self.rest(year, false)
    }

    fn rest(mut self, year: i64, seconds_may_lack: bool) -> Option<i64> {
        let (month, day, hour, minute) = (self.two()?, self.two()?, self.two()?, self.two()?);
        let lacking = seconds_may_lack && !self.0.first().is_some_and(u8::is_ascii_digit);
        let second = if lacking { 0 } else { self.two()? };
        if !is_date(year, month, day) || hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let offset = self.zone()?;
        Some(((days_from_civil(year, month, day) * 24 + hour) * 60 + minute) * 60 + second - offset)
    }

    /// `Z`, or an offset that is not zero. Go takes 24 hours too, and would write 60 minutes as an hour.
    fn zone(mut self) -> Option<i64> {
        let sign = match self.0.split_first()? {
            (b'Z', []) => return Some(0),
            (b'+', rest) => {
                self.0 = rest;
                1
            }
            (b'-', rest) => {
                self.0 = rest;
                -1
            }
            _ => return None,
        };
        let (hours, minutes) = (self.two()?, self.two()?);
        let good = self.0.is_empty() && hours <= 24 && minutes <= 59 && (hours, minutes) != (0, 0);
        good.then_some(sign * (hours * 60 + minutes) * 60)
    }

    fn two(&mut self) -> Option<i64> {
        let (&[tens, ones], rest) = self.0.split_first_chunk::<2>()?;
        if !tens.is_ascii_digit() || !ones.is_ascii_digit() {
            return None;
        }
        self.0 = rest;
        Some(i64::from(tens - b'0') * 10 + i64::from(ones - b'0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tag: u8, text: &str) -> Option<i64> {
        let der = [&[tag, u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
        read(&mut Reader::new(&der))
    }

    /// Go: TestReadASN1UTCTime and TestReadASN1GeneralizedTime of cryptobyte/asn1_test.go; the seconds are `date -u +%s`'s.
    #[test]
    fn times_are_read_as_go_reads_them() {
        let table = [
            (UTC_TIME, "910506164540-0700", Some(673_573_540)),
            (UTC_TIME, "910506164540+0730", Some(673_521_340)),
            (UTC_TIME, "910506234540Z", Some(673_573_540)),
            (UTC_TIME, "9105062345Z", Some(673_573_500)),
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "500101000000Z", Some(-631_152_000)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (UTC_TIME, "680229000000Z", Some(-58_060_800)),
            (UTC_TIME, "000229000000+2459", Some(951_782_400 - 89_940)),
            (UTC_TIME, "a10506234540Z", None),
            (UTC_TIME, "91a506234540Z", None),
            (UTC_TIME, "9105a6234540Z", None),
            (UTC_TIME, "910506334461Z", None),
            (UTC_TIME, "910506334400Za", None),
            (UTC_TIME, "000100000000Z", None),
            (UTC_TIME, "101302030405Z", None),
            (UTC_TIME, "100002030405Z", None),
            (UTC_TIME, "100100030405Z", None),
            (UTC_TIME, "100132030405Z", None),
            (UTC_TIME, "100231030405Z", None),
            (UTC_TIME, "010229030405Z", None),
            (UTC_TIME, "100102240405Z", None),
            (UTC_TIME, "100102036005Z", None),
            (UTC_TIME, "100102030460Z", None),
            (UTC_TIME, "-100102030410Z", None),
            (UTC_TIME, "10-0102030410Z", None),
            (UTC_TIME, "910506234540", None),
            (UTC_TIME, "910506234540.5Z", None),
            (UTC_TIME, "910506234540+0000", None),
            (UTC_TIME, "910506234540-0000", None),
            (UTC_TIME, "910506234540+0060", None),
            (UTC_TIME, "910506234540+2500", None),
            (UTC_TIME, "", None),
            (GENERALIZED_TIME, "20100102030405Z", Some(1_262_401_445)),
            (GENERALIZED_TIME, "20100102030405+0607", Some(1_262_401_445 - 22_020)),
            (GENERALIZED_TIME, "20100102030405-0607", Some(1_262_401_445 + 22_020)),
            (GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799)),
            (GENERALIZED_TIME, "00000101000000Z", Some(-62_167_219_200)),
            (GENERALIZED_TIME, "20000229000000Z", Some(951_782_400)),
            (GENERALIZED_TIME, "19000229000000Z", None),
            (GENERALIZED_TIME, "201001020304Z", None),
            (GENERALIZED_TIME, "20100102030405", None),
            (GENERALIZED_TIME, "20100102030405.123456Z", None),
            (GENERALIZED_TIME, "20100102030405.Z", None),
            (GENERALIZED_TIME, "2010+1020304 5Z", None),
            (GENERALIZED_TIME, "+0100102030405Z", None),
            (0x0c, "20100102030405Z", None),
        ];
        for (tag, text, expected) in table {
            assert_eq!(at(tag, text), expected, "{text}");
        }
    }
}
