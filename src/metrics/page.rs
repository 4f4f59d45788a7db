//! Prometheus' text format, version 0.0.4, which kube-apiserver answers a scrape in. Go: `MetricFamilyToText` of
//! github.com/prometheus/common/expfmt/text_create.go.
//!
//! Not OpenMetrics, in which every counter's name ends in `_total`: `authentication_attempts` would have another name than there.

use std::fmt::{Display, Write};

/// A name and its value.
pub(super) type Label<'a> = (&'static str, &'a str);

/// What it says in its `Content-Type`.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What kind of numbers a family has.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// A page that is being written, family by family.
#[derive(Debug, Default)]
pub(super) struct Page(String);

impl Page {
    /// Begins a family; its samples follow.
    pub(super) fn family(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _infallible = write!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// A line. The value is a number.
    pub(super) fn sample(&mut self, name: &str, labels: &[Label<'_>], value: impl Display) {
        self.0 += name;
        for (index, (label, value)) in labels.iter().enumerate() {
            self.0.push(if index == 0 { '{' } else { ',' });
            let _infallible = write!(self.0, "{label}=\"{}\"", Escaped(value));
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
        let _infallible = writeln!(self.0, " {value}");
    }

    /// A family of one number.
    pub(super) fn single(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help);
        self.sample(name, &[], value);
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// Go: `writeEscapedString`.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\\' => f.write_str("\\\\"),
            '\n' => f.write_str("\\n"),
            '"' => f.write_str("\\\""),
            other => f.write_char(other),
        })
    }
}

/// A number as Go writes it, so that `le` is spelled as kube-apiserver spells it. Go: `strconv.FormatFloat(number, 'g', -1, 64)`.
pub(super) fn float(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else { return "NaN".to_owned() };
    match exponent.parse::<i32>() {
        Ok(exponent) if !(-4..6).contains(&exponent) => {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{digits}e{sign}{:02}", exponent.abs())
        }
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Go 1.26 prints for these.
    #[test]
    fn numbers_are_written_as_go_writes_them() {
        let table = [
            (0.0, "0"),
            (1.0, "1"),
            (0.001, "0.001"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (0.00012345, "0.00012345"),
            (604_800.0, "604800"),
            (1_000_000.0, "1e+06"),
            (2_592_000.0, "2.592e+06"),
            (31_104_000.0, "3.1104e+07"),
            (1_790_000_000.123, "1.790000000123e+09"),
            (-3600.0, "-3600"),
            (-2_592_000.0, "-2.592e+06"),
            (1e21, "1e+21"),
            (16.384, "16.384"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
            (f64::NAN, "NaN"),
        ];
        assert_eq!(table.map(|(number, _)| float(number)), table.map(|(_, written)| written));
    }

    /// Go: TestCreate of expfmt/text_create_test.go, "Escaping".
    #[test]
    fn no_value_of_a_label_ends_a_line_or_itself() {
        let mut page = Page::default();
        page.single("a", Kind::Gauge, "Some help.", 1);
        page.sample("b", &[("one", "say \"hi\"\nb 1\\"), ("two", "")], float(0.5));
        let expected =
            "# HELP a Some help.\n# TYPE a gauge\na 1\nb{one=\"say \\\"hi\\\"\\nb 1\\\\\",two=\"\"} 0.5\n";
        assert_eq!(page.finish(), expected);
    }
}
