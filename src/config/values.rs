//! Strings into values. An error is noted with its place, and a stand-in returned, so that all errors come at once.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use config::{Value, ValueKind};

use super::file::{Files, NamedFile};
use super::options::{Kind, OPTIONS, OptionSpec, option};
use super::sources::Sources;
use super::{ConfigError, ListenAddress, identity_headers, log_filter};
use crate::authn::csv;

/// The options' values on their way to a [`super::Config`].
pub(super) struct Values<'e> {
    sources: Sources,
    files: &'e mut Files,
    errors: &'e mut Vec<ConfigError>,
}

impl<'e> Values<'e> {
    pub(super) fn new(sources: Sources, files: &'e mut Files, errors: &'e mut Vec<ConfigError>) -> Self {
        Self { sources, files, errors }
    }

    /// Whether anybody wrote the option.
    pub(super) fn is_set(&self, option: &OptionSpec) -> bool {
        self.sources.get(option).is_some()
    }

    /// The API server of the cluster that we run in, where Kubernetes says so.
    pub(super) fn in_cluster_server(&self) -> Option<String> {
        self.sources.in_cluster_server.clone()
    }

    /// Notes an error, once: some options are looked at by several.
    pub(super) fn error(&mut self, place: &str, problem: &str) {
        let error = ConfigError { place: place.to_owned(), problem: problem.to_owned() };
        if !self.errors.contains(&error) {
            self.errors.push(error);
        }
    }

    /// Notes the errors of a file.
    pub(super) fn file_errors<E: Display>(&mut self, file: &NamedFile, errors: Vec<E>) {
        for error in errors {
            self.error(&file.place, &error.to_string());
        }
    }

    /// Where the option was written.
    pub(super) fn place(&self, option: &OptionSpec) -> String {
        let origin = self.sources.get(option).and_then(Value::origin);
        origin.map_or_else(|| format!("--{}", option.name), str::to_owned)
    }

    /// What was written, or the default.
    pub(super) fn text(&self, option: &OptionSpec) -> String {
        let written = self.sources.get(option).and_then(|value| value.clone().into_string().ok());
        written.unwrap_or_else(|| option.default.to_owned())
    }

    /// Parses it; where that fails, the default, which parses.
    pub(super) fn parsed<T>(&mut self, option: &OptionSpec, parse: impl Fn(&str) -> Result<T, String>) -> T {
        let text = self.text(option);
        parse(&text).unwrap_or_else(|problem| {
            let place = self.place(option);
            self.error(&place, &format!("{text:?}: {problem}"));
            parse(option.default).unwrap_or_else(|e| panic!("the default of --{} is wrong: {e}", option.name))
        })
    }

    /// Go: `strconv.ParseBool`.
    pub(super) fn bool(&mut self, option: &OptionSpec) -> bool {
        self.parsed(option, |text| match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            _ => Err("must be true or false".to_owned()),
        })
    }

    pub(super) fn choice(&mut self, option: &OptionSpec, choices: &'static [&'static str]) -> &'static str {
        self.parsed(option, |text| {
            let chosen = choices.iter().find(|choice| **choice == text);
            chosen.copied().ok_or_else(|| format!("must be one of {}", choices.join(", ")))
        })
    }

    pub(super) fn number<T: TryFrom<usize>>(&mut self, option: &OptionSpec, min: usize, max: usize) -> T {
        self.parsed(option, |text| {
            let number = text.parse().ok().filter(|n| (min..=max).contains(n));
            let number = number.and_then(|n: usize| T::try_from(n).ok());
            number.ok_or_else(|| format!("must be a number from {min} to {max}"))
        })
    }

    /// Written as Go writes durations, `1h30m`, `500ms`, `0`.
    pub(super) fn duration(&mut self, option: &OptionSpec) -> Duration {
        self.parsed(option, |text| {
            let duration = humantime::parse_duration(text).ok().filter(|d| *d <= MAX_DURATION);
            duration.ok_or_else(|| "must be a duration of at most 24h, such as 500ms, 3s or 1h30m".to_owned())
        })
    }

    pub(super) fn listen(&mut self, option: &OptionSpec) -> ListenAddress {
        self.parsed(option, str::parse)
    }

    /// None for the empty value.
    pub(super) fn admin_listen(&mut self, option: &OptionSpec) -> Option<SocketAddr> {
        self.parsed(option, |text| match text {
            "" => Ok(None),
            _ => text.parse().map(Some).map_err(|_| {
                "must be an address and a port, such as 127.0.0.1:9002 or [::]:9002, or empty".to_owned()
            }),
        })
    }

    pub(super) fn header_name(&mut self, option: &OptionSpec) -> String {
        self.parsed(option, identity_headers::header_name)
    }

    pub(super) fn log_filter(&mut self, option: &OptionSpec) -> String {
        self.parsed(option, |text| log_filter(text).map(|_good| text.to_owned()))
    }

    /// One for each time, as pflag's StringArray.
    pub(super) fn repeated(&self, option: &OptionSpec) -> Vec<String> {
        match self.sources.get(option).map(|value| value.kind.clone()) {
            Some(ValueKind::Array(items)) => {
                items.into_iter().filter_map(|item| item.into_string().ok()).collect()
            }
            Some(_) => vec![self.text(option)],
            None => Vec::new(),
        }
    }

    /// All options by name, with their values or defaults, as JSON has them.
    pub(super) fn options(&mut self) -> serde_json::Value {
        let value = |option: &OptionSpec| -> serde_json::Value {
            match option.kind {
                Kind::Bool => self.bool(option).into(),
                Kind::One(_) => self.text(option).into(),
                Kind::List => self.list(option).into(),
                Kind::Repeated(_) => self.repeated(option).into(),
            }
        };
        OPTIONS.iter().map(|option| option.name.to_owned()).zip(OPTIONS.iter().map(value)).collect()
    }

    /// Comma-separated, as pflag's StringSlice: CSV, so that quotes keep a comma; nothing between the commas is an empty item.
    pub(super) fn list(&mut self, option: &OptionSpec) -> Vec<String> {
        let mut list = Vec::new();
        for text in self.repeated(option) {
            match csv::parse(text.as_bytes()) {
                Ok(records) => list.extend(records.into_iter().take(1).flat_map(|record| record.fields)),
                Err(error) => {
                    let place = self.place(option);
                    self.error(&place, &format!("{text:?}: {error}"));
                }
            }
        }
        list
    }

    /// A list of which no item may be white space only. Go: `checkForWhiteSpaceOnly`.
    pub(super) fn list_of_names(&mut self, option: &OptionSpec) -> Vec<String> {
        let list = self.list(option);
        if list.iter().any(|item| item.trim().is_empty()) {
            let place = self.place(option);
            self.error(&place, &format!("empty value in {:?}; remove it", option.name));
        }
        list
    }

    /// The file that an option names, if it names one.
    pub(super) fn file(&mut self, option: &OptionSpec) -> Option<NamedFile> {
        let path = self.text(option);
        if path.is_empty() { None } else { self.read(option, &path) }
    }

    /// The file that `--authentication-config` names, which metrics tell apart from the others.
    pub(super) fn authentication_config(&mut self) -> Option<NamedFile> {
        let option = option("authentication-config");
        let file = self.file(option);
        if self.is_set(option) {
            self.files.note_authentication_config(file.as_ref().map_or(&[], |file| &file.bytes));
        }
        file
    }

    /// The files that an option names, those that can be read.
    pub(super) fn files(&mut self, option: &OptionSpec) -> Vec<NamedFile> {
        self.repeated(option).iter().filter_map(|path| self.read(option, path)).collect()
    }

    fn read(&mut self, option: &OptionSpec, path: &str) -> Option<NamedFile> {
        let place = self.place(option);
        self.read_at(&place, Path::new(path))
    }

    /// A file that is named at some place.
    pub(super) fn read_at(&mut self, place: &str, path: &Path) -> Option<NamedFile> {
        let place = format!("{place}: {}", path.display());
        match self.files.read(path) {
            Ok(bytes) => Some(NamedFile { place, bytes }),
            Err(problem) => {
                self.error(&place, &problem);
                None
            }
        }
    }
}

/// A duration in seconds. Go: `time.ParseDuration`, but for its limit of 292 years.
pub(super) fn go_duration(text: &str) -> Option<f64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0.0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let is_number = |c: char| c.is_ascii_digit() || c == '.';
        let (number, behind) = rest.split_at(rest.find(|c| !is_number(c))?);
        let (unit, behind) = behind.split_at(behind.find(is_number).unwrap_or(behind.len()));
        let unit = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        // Rust reads `1.`, `.5` and `1.5`, and none of `.` and `1.2.3`, as Go does.
        seconds += number.parse::<f64>().ok()? * unit;
        rest = behind;
    }
    Some(sign * seconds)
}

/// Longer than any of these waits is sensible, and short enough to be added to any clock.
const MAX_DURATION: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    /// Go: TestParseDuration and TestParseDurationErrors of time/time_test.go, less its rounding.
    #[test]
    fn a_duration_is_read_as_go_reads_it() {
        let good = [
            ("0", 0.0),
            ("5s", 5.0),
            ("1478s", 1478.0),
            ("-5s", -5.0),
            ("+5s", 5.0),
            ("-0", 0.0),
            ("5.0s", 5.0),
            ("5.6s", 5.6),
            ("5.s", 5.0),
            (".5s", 0.5),
            ("1.004s", 1.004),
            ("10ns", 1e-8),
            ("12\u{b5}s", 12e-6),
            ("12\u{3bc}s", 12e-6),
            ("3h30m", 12_600.0),
            ("4m10.5s", 250.5),
            ("-2m3.5s", -123.5),
            ("39h9m14s", 140_954.0),
        ];
        for (text, seconds) in good {
            let read = go_duration(text).unwrap_or(f64::NAN);
            assert!((read - seconds).abs() < 1e-9, "{text}: {read}");
        }
        for bad in
            ["", "3", "-", "+", "s", ".", "-.", ".s", "+.s", "1d", "1 h", "1h ", "1.2.3s", "\u{85}", "1s1"]
        {
            assert_eq!(go_duration(bad), None, "{bad:?}");
        }
    }
}
