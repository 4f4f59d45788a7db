//! Objects, as Kustomize (the one in kubectl) and Helm make them.

use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs};

use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::super::cluster::binaries;
use super::{documents, root};

pub(super) type Objects = Vec<Json>;

/// Each of `deploy/kubernetes/components`, and the value of the chart that does the same.
pub(super) const COMPONENTS: &[(&str, &str)] = &[
    ("cert-manager", "certManager.enabled"),
    ("service-monitor", "serviceMonitor.enabled"),
    ("live-lookups", "cluster.liveLookups"),
    ("bootstrap-tokens", "cluster.bootstrapTokens"),
    ("token-review", "cluster.tokenReview"),
    ("impersonate", "cluster.impersonate"),
    ("allow-impersonation", "cluster.allowImpersonation"),
];

/// What a folder with a Kustomization makes.
pub(super) fn kustomize(folder: &str) -> Objects {
    documents(&output(tool("kubectl").arg("kustomize").arg(root(folder))))
}

/// What an overlay makes of the base and these components.
pub(super) fn kustomize_with(components: &[&str]) -> Objects {
    let there = fs::read_dir(root("deploy/kubernetes/components")).unwrap().count();
    assert_eq!(there, COMPONENTS.len(), "each component is in the table");
    let components: Vec<_> =
        components.iter().map(|name| format!("deploy/kubernetes/components/{name}")).collect();
    overlay("deploy/kubernetes/base", &components.iter().map(String::as_str).collect::<Vec<_>>())
}

/// What an overlay makes of these folders.
pub(super) fn overlay(base: &str, components: &[&str]) -> Objects {
    let overlay = TempDir::new().unwrap();
    let folder = overlay.path().canonicalize().unwrap();
    // Kustomize takes no absolute paths.
    let up = "../".repeat(folder.components().count() - 1);
    let top = root("").canonicalize().unwrap();
    let place = |name: &str| format!("{up}{}", top.join(name).strip_prefix("/").unwrap().display());
    let places: Vec<_> = components.iter().map(|name| place(name)).collect();
    let text = json!({"kind": "Kustomization", "resources": [place(base)], "components": places});
    fs::write(folder.join("kustomization.yaml"), text.to_string()).unwrap();
    documents(&output(tool("kubectl").arg("kustomize").arg(folder)))
}

/// What the chart makes with these flags.
pub(super) fn helm(flags: &[&str]) -> Objects {
    documents(&helm_as(["countersign"; 2], flags))
}

/// The same as text, for a release of this name in this namespace.
pub(super) fn helm_as([release, namespace]: [&str; 2], flags: &[&str]) -> String {
    let mut command = tool("helm");
    command.args(["template", release]).arg(root("deploy/helm/countersign"));
    output(command.args(["--namespace", namespace]).args(flags))
}

/// A program that `tests/kube/build` has made, which finds the others, but nothing of whoever runs the tests.
pub(super) fn tool(name: &str) -> Command {
    let mut command = Command::new(binaries().join(name));
    alone(&mut command);
    command
}

/// Takes the environment away, but for where programs are.
pub(super) fn alone(command: &mut Command) {
    let path = env::var("PATH").unwrap();
    command.env_clear().env("PATH", format!("{}:{path}", binaries().display())).stdin(Stdio::null());
}

/// What a command that has to succeed prints.
pub(super) fn output(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let [out, error] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(output.status.success(), "{command:?}: {out}\n{error}");
    out
}

pub(super) fn of_kind<'o>(objects: &'o [Json], kind: &str) -> &'o Json {
    let mut found = objects.iter().filter(|object| object["kind"] == kind);
    let object = found.next().unwrap_or_else(|| panic!("no {kind}"));
    assert!(found.next().is_none(), "one {kind}");
    object
}

pub(super) fn deployment(objects: &[Json]) -> &Json {
    of_kind(objects, "Deployment")
}

/// The folders in a folder of the repository that have a Kustomization.
pub(super) fn kustomizations(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root(folder)).unwrap().map(|entry| entry.unwrap().file_name());
    let names = entries.map(|name| format!("{folder}/{}", name.to_str().unwrap()));
    let mut folders: Vec<_> =
        names.filter(|name| Path::new(&root(name)).join("kustomization.yaml").exists()).collect();
    folders.sort();
    folders
}
