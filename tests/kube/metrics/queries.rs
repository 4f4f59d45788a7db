//! Every query of the dashboard and the alerts: Prometheus reads it, and what it asks for is on a page of ours.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use countersign::config::options::option;
use serde::Deserialize;
use serde_json::Value;

use super::{Family, prometheus};

/// What `go-prometheus queries` finds in one.
#[derive(Debug, Deserialize)]
struct Selector {
    name: String,
    /// The labels, and the value where that is asked for exactly.
    labels: BTreeMap<String, String>,
    grouping: Vec<String>,
}

/// Labels that Prometheus adds to everything that it scrapes.
const OF_THE_SCRAPE: [&str; 2] = ["job", "instance"];

/// What it adds that no page has.
const OF_PROMETHEUS: [&str; 1] = ["up"];

pub(super) fn assert_found(families: &BTreeMap<String, Family>, page: &str) {
    let (dashboard, alerts) = (of_the_dashboard(), of_the_alerts());
    assert!(dashboard.len() > 30 && alerts.len() > 10, "{} and {}", dashboard.len(), alerts.len());
    let queries: Vec<String> = dashboard.into_iter().chain(alerts.clone()).collect();
    let found: Vec<Vec<Selector>> = prometheus("queries", &queries.join("\n"));
    assert_eq!(found.len(), queries.len());
    let text = read("alerts.yaml");
    let annotated: Vec<&str> = text.split("- alert: ").skip(1).collect();
    assert_eq!(annotated.len(), alerts.len());
    for (alert, selectors) in annotated.iter().zip(&found[found.len() - alerts.len()..]) {
        names_what_there_is(alert, selectors, families);
    }
    for (query, selectors) in queries.iter().zip(found) {
        assert!(!selectors.is_empty(), "{query}");
        for selector in selectors {
            let is_of_ours = selector.labels.get("job").is_some_and(|job| job == "countersign");
            assert!(is_of_ours || selector.name.starts_with("countersign_"), "others have it too: {query}");
            if !OF_PROMETHEUS.contains(&&*selector.name) {
                look_for(&selector, families, page, query);
            }
        }
    }
}

/// Labels, options and metrics in the text of an alert.
fn names_what_there_is(alert: &str, selectors: &[Selector], families: &BTreeMap<String, Family>) {
    let is_of_a_name = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let named = |begin: &str| {
        let after = alert.split(begin).skip(1).map(|rest| rest.split(|c| !is_of_a_name(c)).next().unwrap());
        after.map(str::to_owned).collect::<Vec<_>>()
    };
    for label in named("$labels.") {
        let is_kept = |selector: &Selector| match &selector.grouping[..] {
            [] => {
                families
                    .get(&selector.name)
                    .is_some_and(|family| family.labels.iter().all(|labels| labels.contains(&label)))
                    || OF_THE_SCRAPE.contains(&&*label)
            }
            grouping => grouping.contains(&label),
        };
        assert!(selectors.iter().all(is_kept), "nobody says which {label}: {alert}");
    }
    for name in named("--") {
        assert_eq!(option(&name).name, name);
    }
    for name in named("countersign_") {
        let name = format!("countersign_{name}");
        let is_part =
            |part: &str| name.strip_suffix(part).is_some_and(|family| families.contains_key(family));
        assert!(families.contains_key(&name) || is_part("_count") || is_part("_bucket"), "{name}: {alert}");
    }
}

fn look_for(selector: &Selector, families: &BTreeMap<String, Family>, page: &str, query: &str) {
    let Selector { name, labels, grouping } = selector;
    let parts = ["_bucket", "_sum", "_count"];
    let histogram = parts.iter().find_map(|part| families.get(name.strip_suffix(part)?));
    let family = families.get(name).or_else(|| histogram.filter(|family| family.kind == "HISTOGRAM"));
    let family = family.unwrap_or_else(|| panic!("{name} is on no page: {query}"));
    let is_there = |label: &str| {
        OF_THE_SCRAPE.contains(&label)
            || label == "le" && name.ends_with("_bucket")
            || family.labels.iter().any(|labels| labels.iter().any(|own| own == label))
    };
    for label in labels.keys().chain(grouping) {
        assert!(is_there(label), "{name} has no label {label}: {query}");
    }
    let exactly =
        |(label, value): &(&String, &String)| !value.is_empty() && !OF_THE_SCRAPE.contains(&&***label);
    for (label, value) in labels.iter().filter(exactly) {
        let has = |line: &&str| {
            line.starts_with(&format!("{name}{{")) && line.contains(&format!("{label}=\"{value}\""))
        };
        assert!(page.lines().any(|line| has(&line)), "{name} has no {label}=\"{value}\": {query}");
    }
}

fn read(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/observability");
    fs::read_to_string(folder.join(name)).unwrap()
}

/// With values for Grafana's variables.
fn of_the_dashboard() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read("dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let queries = targets.map(|target| target["expr"].as_str().unwrap().to_owned());
    let queries = queries.map(|query| {
        query.replace("$__rate_interval", "5m").replace("$job", "countersign").replace("$instance", ".*")
    });
    let queries: Vec<String> = queries.collect();
    assert!(queries.iter().all(|query| !query.contains('$')), "a variable that nobody knows");
    queries
}

/// As Prometheus reads the file of rules.
fn of_the_alerts() -> Vec<String> {
    prometheus("rules", &read("alerts.yaml"))
}
