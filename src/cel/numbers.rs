//! Numbers between types, and as Go reads and writes them (`strconv`, cel-go's `common/types/overflow.go`).
#![expect(
    clippy::as_conversions,
    reason = "Rust has no other conversion between integers and floats; each says what it rounds"
)]

/// 2^63, the first double above every `i64`.
const TWO_TO_63: f64 = 9_223_372_036_854_775_808.0;
/// 2^64, the first double above every `u64`.
const TWO_TO_64: f64 = 18_446_744_073_709_551_616.0;

/// The nearest double.
pub(super) fn f64_of(i: i64) -> f64 {
    i as f64
}

/// The nearest double.
pub(super) fn f64_of_u64(u: u64) -> f64 {
    u as f64
}

/// Without its fraction. Go: `doubleToInt64Checked`, which refuses the smallest integer too.
pub(super) fn i64_of(d: f64) -> Option<i64> {
    (d.is_finite() && d > -TWO_TO_63 && d < TWO_TO_63).then_some(d as i64)
}

/// Without its fraction. Go: `doubleToUint64Checked`.
pub(super) fn u64_of(d: f64) -> Option<u64> {
    (d.is_finite() && (0.0..TWO_TO_64).contains(&d)).then_some(d as u64)
}

/// The integer that a double is. Go: `doubleToInt64Lossless`.
pub(super) fn lossless_i64(d: f64) -> Option<i64> {
    i64_of(d).filter(|i| f64_of(*i) == d)
}

/// The integer that a double is. Go: `doubleToUint64Lossless`.
pub(super) fn lossless_u64(d: f64) -> Option<u64> {
    u64_of(d).filter(|u| f64_of_u64(*u) == d)
}

/// The double that is the integer. Go: `int64ToDoubleLossless`.
pub(super) fn lossless_f64(i: i64) -> Option<f64> {
    let d = f64_of(i);
    (i64_of(d) == Some(i)).then_some(d)
}

/// The double that is the integer. Go: `uint64ToDoubleLossless`.
pub(super) fn lossless_f64_of_u64(u: u64) -> Option<f64> {
    let d = f64_of_u64(u);
    (u64_of(d) == Some(u)).then_some(d)
}

/// 2.1 times, as a float does it. Go: the cost of sorting strings.
pub(super) fn times_2_1(n: u64) -> u64 {
    (n as f64 * 2.1) as u64
}

/// How many characters a string has, without counting those of ASCII one by one.
pub(super) fn code_points(s: &str) -> usize {
    if s.is_ascii() { s.len() } else { s.chars().count() }
}

/// Go: `fmt.Sprintf("%g")`.
pub(super) fn format_g(d: f64) -> String {
    if d.is_nan() {
        return "NaN".to_owned();
    }
    if d.is_infinite() {
        return if d > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{d:e}");
    let Some((mantissa, exponent)) = scientific.split_once('e') else { return scientific };
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if !(-4..6).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs());
    }
    format!("{d}")
}

/// Go: `strconv.ParseFloat`, but for hexadecimal floats.
pub(super) fn parse_f64(text: &str) -> Option<f64> {
    let plain;
    let text = if text.contains('_') {
        // Go: `underscoreOK`.
        let bytes = text.as_bytes();
        let digit = |at: Option<usize>| at.and_then(|at| bytes.get(at)).is_some_and(u8::is_ascii_digit);
        let mut separators = bytes.iter().enumerate().filter(|(_, b)| **b == b'_');
        if !separators.all(|(at, _)| digit(at.checked_sub(1)) && digit(Some(at + 1))) {
            return None;
        }
        plain = text.replace('_', "");
        &plain
    } else {
        text
    };
    let d: f64 = text.parse().ok()?;
    let unsigned = text.trim_start_matches(['+', '-']);
    let finite = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    // Out of range is an error to Go, as is a NaN with a sign.
    let refused = (finite && d.is_infinite()) || (d.is_nan() && unsigned.len() != text.len());
    (!refused).then_some(d)
}

/// Go: `strconv.ParseUint`, which knows no sign.
pub(super) fn parse_u64(text: &str) -> Option<u64> {
    if text.starts_with('+') { None } else { text.parse().ok() }
}

/// Go: `strconv.ParseBool`.
pub(super) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

/// Nanoseconds as seconds. Go: `time.Duration.Seconds`.
pub(super) fn seconds(nanoseconds: i64) -> f64 {
    f64_of(nanoseconds / 1_000_000_000) + f64_of(nanoseconds % 1_000_000_000) / 1e9
}

/// Whole units of a duration, as Go gets them through a float: `time.Duration.Hours` and its siblings.
pub(super) fn whole_units(nanoseconds: i64, unit: i64) -> i64 {
    let units = f64_of(nanoseconds / unit) + f64_of(nanoseconds % unit) / f64_of(unit);
    units as i64
}

/// The nearest double.
pub(super) fn f64_of_i128(i: i128) -> f64 {
    i as f64
}

/// Go: `math.Pow10`.
pub(super) fn power_of_ten(exponent: i32) -> f64 {
    format!("1e{exponent}").parse().unwrap_or(f64::NAN)
}
