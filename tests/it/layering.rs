//! The arrows between modules, as drawn in `src/lib.rs`, never point back.

use std::fs;
use std::path::{Path, PathBuf};

/// A module and what it may name of ours.
const MAY_USE: [(&str, &[&str]); 24] = [
    ("cel", &["json", "time"]),
    ("batch", &[]),
    ("identity", &[]),
    ("json", &[]),
    ("metrics", &["decision", "identity"]),
    ("request", &[]),
    ("secret", &[]),
    ("time", &[]),
    ("trace", &[]),
    ("url", &[]),
    ("yaml", &[]),
    ("cluster", &["metrics", "secret", "trace"]),
    ("pki", &["time", "url"]),
    ("decision", &["identity"]),
    ("https", &["pki", "trace"]),
    ("jose", &["json", "pki"]),
    (
        "authn",
        &[
            "cel", "cluster", "decision", "https", "identity", "jose", "json", "metrics", "pki", "request",
            "secret", "time", "trace", "yaml",
        ],
    ),
    ("audit", &["authn", "batch", "decision", "identity", "metrics", "request"]),
    (
        "chain",
        &[
            "authn", "cel", "cluster", "decision", "https", "identity", "jose", "json", "metrics", "pki",
            "request", "secret", "time", "trace", "yaml",
        ],
    ),
    ("impersonation", &["authn", "cluster", "decision", "identity", "metrics", "request", "trace"]),
    (
        "config",
        &[
            "audit",
            "authn",
            "cel",
            "chain",
            "cluster",
            "decision",
            "https",
            "identity",
            "impersonation",
            "jose",
            "metrics",
            "pki",
            "request",
            "secret",
            "trace",
            "url",
            "yaml",
        ],
    ),
    (
        "envoy",
        &[
            "audit",
            "authn",
            "cel",
            "chain",
            "cluster",
            "config",
            "decision",
            "https",
            "identity",
            "impersonation",
            "jose",
            "metrics",
            "pki",
            "request",
            "secret",
            "trace",
            "yaml",
        ],
    ),
    (
        "explain",
        &[
            "audit",
            "authn",
            "cel",
            "chain",
            "cluster",
            "config",
            "decision",
            "envoy",
            "https",
            "identity",
            "impersonation",
            "jose",
            "metrics",
            "pki",
            "request",
            "secret",
            "yaml",
        ],
    ),
    (
        "telemetry",
        &[
            "audit",
            "authn",
            "batch",
            "cel",
            "chain",
            "cluster",
            "config",
            "decision",
            "envoy",
            "https",
            "identity",
            "impersonation",
            "jose",
            "metrics",
            "pki",
            "request",
            "secret",
            "trace",
            "yaml",
        ],
    ),
];

/// Crates that know Envoy's or gRPC's messages.
const PROTOBUF: [&str; 6] = ["prost", "prost_reflect", "tonic", "envoy_types", "prost_types", "tonic_health"];

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files
}

/// Words of the code that stand behind `crate::`, or begin a path, comments left out.
fn names(text: &str) -> Vec<(usize, String)> {
    let mut names = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        for (at, _) in code.match_indices("::") {
            let before = &code[..at];
            let start = before.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |i| i + 1);
            if before[start..].eq("crate") {
                let rest = &code[at + 2..];
                let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
                names.push((number + 1, format!("crate::{}", &rest[..end])));
            } else {
                names.push((number + 1, before[start..].to_owned()));
            }
        }
    }
    names
}

#[test]
fn no_module_names_one_that_is_further_along() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut seen = Vec::new();
    for file in rust_files(&src) {
        let relative = file.strip_prefix(&src).unwrap();
        let module = relative.components().next().unwrap().as_os_str().to_str().unwrap();
        let module = module.strip_suffix(".rs").unwrap_or(module);
        let Some((module, allowed)) = MAY_USE.into_iter().find(|(name, _)| *name == module) else {
            assert!(
                ["admin", "command", "lib", "main", "reload", "server"].contains(&module),
                "{module} is in no row of the table"
            );
            continue;
        };
        seen.push(module);
        for (line, name) in names(&fs::read_to_string(&file).unwrap()) {
            let place = format!("{}:{line}", relative.display());
            if let Some(other) = name.strip_prefix("crate::") {
                assert!(!other.is_empty(), "{place}: `crate::{{…}}` hides what is used");
                assert!(other == module || allowed.contains(&other), "{place}: {module} may not use {other}");
            } else if !["envoy", "explain"].contains(&module) {
                assert!(!PROTOBUF.contains(&&*name), "{place}: {name} belongs to envoy and explain alone");
            }
        }
    }
    seen.dedup();
    assert!(MAY_USE.iter().all(|(name, _)| seen.contains(name)), "every row names a module that exists");
}

#[test]
fn the_test_of_layers_sees_what_it_is_there_for() {
    let found = names("use crate::envoy::Reply; // crate::chain::X\nlet x = prost::Message::decode(b);");
    let found: Vec<(usize, &str)> = found.iter().map(|(line, name)| (*line, &**name)).collect();
    assert_eq!(found, [(1, "crate::envoy"), (1, "envoy"), (2, "prost"), (2, "Message")]);
}
