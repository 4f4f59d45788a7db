//! Flags, environment and file, merged by the crate `config`; every value remembers where it was written.

use std::ffi::OsString;
use std::path::Path;

use clap::ArgMatches;
use clap::parser::ValueSource;
use config::builder::DefaultState;
use config::{ConfigBuilder, Map, Source, Value, ValueKind};

use super::options::{CONFIG, Kind, OPTIONS, OptionSpec};
use super::pod::in_cluster_server;
use super::{ConfigError, Files, Layer};
use crate::yaml;

/// What was written, the strongest source of each option only.
pub(super) struct Sources {
    values: Layer,
    /// The API server of the cluster in which this runs as a pod.
    pub(super) in_cluster_server: Option<String>,
}

/// The variables of a process.
pub type Environment = Vec<(OsString, OsString)>;

impl Sources {
    /// Merges the command line, the environment and the file that either of them names.
    pub(super) fn merge(
        matches: &ArgMatches,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        files: &mut Files,
        errors: &mut Vec<ConfigError>,
    ) -> Self {
        let environment: Environment = environment.into_iter().collect();
        let in_cluster_server = in_cluster_server(&environment);
        let environment = variables(environment, errors);
        let mut builder = ConfigBuilder::<DefaultState>::default();
        let file = matches
            .get_one::<String>(CONFIG)
            .cloned()
            .or_else(|| environment.iter().find(|(name, _)| *name == CONFIG).map(|(_, value)| value.clone()));
        if let Some(path) = file {
            builder = builder.add_source(Given(from_file(Path::new(&path), files, errors)));
        }
        builder = builder.add_source(Given(from_environment(&environment)));
        builder = builder.add_source(Given(from_flags(matches)));
        // Not deserialised: the values would lose their origins.
        let merged = builder.build().and_then(|merged| merged.collect());
        let mut merged = merged.unwrap_or_else(|error| {
            errors.push(ConfigError { place: "configuration".to_owned(), problem: error.to_string() });
            Map::new()
        });
        let values = OPTIONS.iter().filter_map(|o| merged.remove(o.name).map(|value| (o.name, value)));
        Self { values: values.collect(), in_cluster_server }
    }

    /// The value of an option, if anybody wrote one.
    pub(super) fn get(&self, option: &OptionSpec) -> Option<&Value> {
        self.values.get(option.name)
    }
}

/// The options in the environment, by name. Variables of other names are left alone: Kubernetes sets
/// `COUNTERSIGN_SERVICE_HOST`, `COUNTERSIGN_PORT_9001_TCP` and the like beside a Service named countersign.
fn variables(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
    errors: &mut Vec<ConfigError>,
) -> Vec<(&'static str, String)> {
    let mut variables = Vec::new();
    for (name, value) in environment {
        let Some(name) = name.to_str().and_then(|name| name.strip_prefix("COUNTERSIGN_")) else { continue };
        let known = OPTIONS.iter().map(|o| o.name).chain([CONFIG]).find(|o| variable(o) == name);
        let Some(option) = known else { continue };
        match value.into_string() {
            Ok(value) => variables.push((option, value)),
            Err(_) => errors.push(ConfigError {
                place: format!("COUNTERSIGN_{name}"),
                problem: "not UTF-8; write it in UTF-8".to_owned(),
            }),
        }
    }
    variables
}

fn variable(option: &str) -> String {
    option.replace('-', "_").to_uppercase()
}

fn from_environment(variables: &[(&'static str, String)]) -> Map<String, Value> {
    let value = |(name, value): &(&'static str, String)| {
        let origin = format!("COUNTERSIGN_{}", variable(name));
        ((*name).to_owned(), Value::new(Some(&origin), value.clone()))
    };
    variables.iter().filter(|(name, _)| *name != CONFIG).map(value).collect()
}

fn from_flags(matches: &ArgMatches) -> Map<String, Value> {
    let mut given = Map::new();
    for option in OPTIONS {
        if matches.value_source(option.name) != Some(ValueSource::CommandLine) {
            continue;
        }
        let mut values: Vec<String> = matches.get_many(option.name).into_iter().flatten().cloned().collect();
        let value = match option.kind {
            Kind::List | Kind::Repeated(_) => ValueKind::from(values),
            Kind::Bool | Kind::One(_) => ValueKind::from(values.pop().unwrap_or_default()),
        };
        given.insert(option.name.to_owned(), Value::new(Some(&format!("--{}", option.name)), value));
    }
    given
}

/// The keys of the file. Strict: an unknown key is an error, and so is one that stands there twice.
fn from_file(path: &Path, files: &mut Files, errors: &mut Vec<ConfigError>) -> Map<String, Value> {
    let place = path.display().to_string();
    let mut error =
        |at: &str, problem: String| errors.push(ConfigError { place: format!("{place}{at}"), problem });
    let text = match files.read(path) {
        Ok(text) => text,
        Err(problem) => {
            error("", problem);
            return Map::new();
        }
    };
    let document = match yaml::value(&text) {
        Ok(serde_json::Value::Null) => serde_json::Map::new(),
        Ok(serde_json::Value::Object(document)) => document,
        Ok(_) => {
            error("", "must be a map from options to values".to_owned());
            return Map::new();
        }
        Err(problem) => {
            error("", problem);
            return Map::new();
        }
    };
    let mut given = Map::new();
    for (key, value) in document {
        let Some(option) = OPTIONS.iter().find(|o| o.name == key) else {
            error(&format!(": {key}"), unknown(&key));
            continue;
        };
        match scalar_or_list(option, value) {
            Ok(value) => {
                let origin = format!("{place}: {key}");
                given.insert(key, Value::new(Some(&origin), value));
            }
            Err(problem) => error(&format!(": {key}"), problem.to_owned()),
        }
    }
    given
}

fn scalar_or_list(option: &OptionSpec, value: serde_json::Value) -> Result<ValueKind, &'static str> {
    use serde_json::Value as Json;
    let scalar = |value: Json| match value {
        Json::String(text) => Some(text),
        Json::Bool(_) | Json::Number(_) => Some(value.to_string()),
        Json::Null | Json::Array(_) | Json::Object(_) => None,
    };
    match (option.kind, value) {
        (Kind::List | Kind::Repeated(_), Json::Array(items)) => {
            let items: Option<Vec<String>> = items.into_iter().map(scalar).collect();
            items.map(ValueKind::from).ok_or("must be a list of strings")
        }
        (Kind::List | Kind::Repeated(_), value) => {
            scalar(value).map(ValueKind::from).ok_or("must be a list of strings")
        }
        (Kind::Bool | Kind::One(_), value) => {
            scalar(value).map(ValueKind::from).ok_or("must be one value, not a list, a map or nothing")
        }
    }
}

/// What to say of a key that is no option.
fn unknown(key: &str) -> String {
    let plain = |name: &str| name.trim_start_matches('-').replace(['_', '-'], "").to_lowercase();
    match OPTIONS.iter().find(|o| plain(o.name) == plain(key)) {
        Some(option) => format!("unknown key; write {}", option.name),
        None => {
            "unknown key; the keys are the flags of `countersign serve --help`, without the dashes".to_owned()
        }
    }
}

/// Values that are there already, as a source of the crate `config`.
#[derive(Debug, Clone)]
struct Given(Map<String, Value>);

impl Source for Given {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        Ok(self.0.clone())
    }
}
