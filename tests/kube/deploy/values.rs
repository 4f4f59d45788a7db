//! The values of the chart, its schema and the table in its README are the same.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value as Json;

use super::rendered::tool;
use super::root;

#[test]
fn the_readme_of_the_chart_has_a_row_for_each_value_with_its_default() {
    let chart = |file: &str| fs::read_to_string(root("deploy/helm/countersign").join(file)).unwrap();
    let mut values = BTreeMap::new();
    leaves("", &serde_saphyr::from_str(&chart("values.yaml")).unwrap(), &mut values);
    let rows = chart("README.md");
    let rows = rows.lines().filter_map(|line| line.strip_prefix("| `")).map(|line| {
        let (name, rest) = line.split_once("` | `").unwrap();
        (name.to_owned(), rest.split_once("` |").unwrap().0.to_owned())
    });
    assert_eq!(rows.collect::<BTreeMap<_, _>>(), values);

    let schema: Json = serde_json::from_str(&chart("values.schema.json")).unwrap();
    for name in values.keys() {
        let declared = name.split('.').try_fold(&schema, |schema, part| schema["properties"].get(part));
        // What has any keys has no list of them.
        assert!(
            declared.is_some() || ["config", "resources"].contains(&name.split('.').next().unwrap()),
            "{name}"
        );
    }
}

/// A value that is mistyped is not just passed over.
#[test]
fn a_value_that_is_unknown_or_of_another_type_is_an_error() {
    let lint = |flags: &[&str]| {
        let output =
            tool("helm").args(["lint", "--strict"]).arg(root("deploy/helm/countersign")).args(flags).output();
        output.unwrap().status.success()
    };
    assert!(lint(&[]));
    for flag in [
        "--set=certmanager.enabled=true",
        "--set=certManager.enabled=yes",
        "--set=cluster.all=true",
        "--set=shutdown.delaySeconds=0",
        "--set=image.pullPolicy=Sometimes",
        "--set-json=networkPolicy.clients=[]",
        "--set-json=extraArgs=[\"serve\"]",
        "--set-json=configFiles={\"countersign.yaml\":\"\"}",
    ] {
        assert!(!lint(&[flag]), "{flag}");
    }
}

/// Values by path, in which lists and empty maps are one.
fn leaves(path: &str, value: &Json, into: &mut BTreeMap<String, String>) {
    match value.as_object().filter(|map| !map.is_empty()) {
        Some(map) => {
            for (name, value) in map {
                leaves(&if path.is_empty() { name.clone() } else { format!("{path}.{name}") }, value, into);
            }
        }
        None => {
            let text = value.as_str().filter(|text| !text.is_empty());
            into.insert(path.to_owned(), text.map_or_else(|| value.to_string(), str::to_owned));
        }
    }
}
