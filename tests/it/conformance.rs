//! Replays the verdicts of a real kube-apiserver (`tests/conformance`) through the real program.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "tests panic on purpose, print what they counted and read what they are about"
)]

mod judge;
mod reach;
mod service_accounts;
mod vectors;
mod verdict;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};
use std::{fs, process::Stdio};

use serde::Deserialize;
use tempfile::TempDir;

use judge::{Agreement, Declared};
use reach::{Reach, Reached};
use vectors::{Config, configs, data, scenarios};

use crate::support::envoy::Request;
use crate::support::issuers::Issuers;
use crate::support::program::{PATIENCE, countersign};
use crate::support::subject::Subject;
use crate::support::verdict::Verdict;
use crate::support::webhook::Webhooks;

/// What became of the vectors of one scenario, or of all configurations.
#[derive(Default)]
struct Tally {
    agree: usize,
    declared: usize,
    awaited: BTreeMap<String, usize>,
}

impl Tally {
    fn count(&mut self, judged: Result<Agreement, String>, problems: &mut Vec<String>) {
        match judged {
            Ok(Agreement::Agrees) => self.agree += 1,
            Ok(Agreement::Declared) => self.declared += 1,
            Err(problem) => problems.push(problem),
        }
    }

    fn print(&self, name: &str) {
        let awaited: usize = self.awaited.values().sum();
        let classes =
            self.awaited.iter().map(|(class, n)| format!("{class} {n}")).collect::<Vec<_>>().join(", ");
        println!(
            "{name:24} {:4} agree {:3} diverge as declared {awaited:4} awaited  {classes}",
            self.agree, self.declared
        );
    }
}

/// How many vectors wait for flags that countersign does not understand yet, so that a change shows in review.
#[derive(Deserialize, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Awaited {
    /// Those that wait for nothing but objects, and are replayed where there are some.
    live: BTreeMap<String, BTreeMap<String, usize>>,
    scenarios: BTreeMap<String, BTreeMap<String, usize>>,
    configs: BTreeMap<String, usize>,
}

fn awaited() -> Awaited {
    serde_saphyr::from_str(&fs::read_to_string(data("awaited.yaml")).unwrap()).unwrap()
}

fn assert_none(problems: &[String]) {
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
}

#[tokio::test]
async fn every_recorded_request_in_reach_gets_the_verdict_of_kube_apiserver() {
    let declared = Declared::load();
    let (mut problems, mut seen, mut waiting, mut live) =
        (Vec::new(), Vec::new(), BTreeMap::new(), BTreeMap::new());
    let (_issuers, _webhooks) = (Issuers::start(&data("world")).await, Webhooks::start(&data("world")).await);
    for scenario in scenarios() {
        let reach = Reach::of(&scenario);
        let world = world();
        let mut server = None;
        let mut tally = Tally::default();
        for vector in &scenario.vectors {
            let request = match reach.of_vector(vector) {
                Reached::InReach(request) => request,
                Reached::InACluster | Reached::LiveObjects(_) => {
                    let classes: &mut BTreeMap<_, _> = live.entry(scenario.name.clone()).or_default();
                    *classes.entry(vector.class.clone()).or_default() += 1;
                    continue;
                }
                Reached::LeftOut => {
                    *tally.awaited.entry(vector.class.clone()).or_default() += 1;
                    continue;
                }
            };
            if server.is_none() {
                let started = server.insert(Subject::start(world.path(), &reach.flags).await);
                let probes = scenario.probes.iter().map(|probe| probe.request());
                for probe in probes.filter(|probe| !reach.is_left_out(probe)) {
                    until(|verdict| *verdict != Verdict::Refused, started, &probe).await;
                }
            }
            let server = server.as_mut().unwrap();
            if vector.warmup {
                until(|verdict| *verdict == vector.theirs(), server, &request).await;
            }
            let ours = server.verdicts(&request).await;
            let ours: Vec<_> = ours.into_iter().map(|(e, v)| (e, v.map(|v| vector.ordered(v)))).collect();
            let hidden = request.joined_hides_something();
            tally.count(declared.judge_request(&vector.id, &vector.theirs(), &ours, hidden), &mut problems);
            seen.push(vector.id.clone());
        }
        tally.print(&scenario.name);
        if !tally.awaited.is_empty() {
            waiting.insert(scenario.name, tally.awaited);
        }
    }
    problems.extend(declared.missing_from(&seen, |id| !id.starts_with("config/")));
    assert_none(&problems);
    assert_eq!(waiting, awaited().scenarios, "tests/conformance/awaited.yaml is not up to date");
    assert_eq!(live, awaited().live, "tests/conformance/awaited.yaml is not up to date");
}

/// Asks until the verdict is a good one: keys are fetched in the background, and nobody says when they are there. It gives up in
/// silence; whoever asks next sees what is wrong.
async fn until(good: impl Fn(&Verdict) -> bool, server: &mut Subject, request: &Request) {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if server.verdicts(request).await.iter().all(|(_, verdict)| verdict.as_ref().is_ok_and(&good)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[test]
fn every_recorded_configuration_in_reach_starts_or_not_as_with_kube_apiserver() {
    let declared = Declared::load();
    let (mut problems, mut seen, mut tally) = (Vec::new(), Vec::new(), Tally::default());
    for config in configs() {
        let Some(flags) = flags_in_reach(&config) else {
            *tally.awaited.entry(config.class).or_default() += 1;
            continue;
        };
        let world = world();
        for (path, content) in &config.files {
            write(world.path(), path, content);
        }
        write(world.path(), "oracle-tmp/kubeconfig", KUBECONFIG);
        let mut command = countersign("check-config", world.path(), &flags);
        let status = command.stdin(Stdio::null()).output().unwrap().status;
        assert!(status.code().is_some(), "{}: check-config was killed: {status}", config.id);
        tally.count(declared.judge_config(&config.id, config.starts(), status.success()), &mut problems);
        seen.push(config.id);
    }
    tally.print("configurations");
    problems.extend(declared.missing_from(&seen, |id| id.starts_with("config/")));
    assert_none(&problems);
    assert_eq!(tally.awaited, awaited().configs, "tests/conformance/awaited.yaml is not up to date");
}

/// A configuration's flags, if countersign understands them all.
fn flags_in_reach(config: &Config) -> Option<Vec<String>> {
    let understood = |flag: &String| reach::is_understood(flag);
    let in_reach = config.flags.iter().all(understood);
    let ours = [service_accounts::OFFLINE, "--kubeconfig=oracle-tmp/kubeconfig"].map(str::to_owned);
    in_reach.then(|| config.flags.iter().cloned().chain(ours).collect())
}

/// kube-apiserver is its own cluster. Nobody connects to this one.
const KUBECONFIG: &str = r#"{"current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c"}}],
"clusters": [{"name": "c", "cluster": {"server": "https://cluster.test"}}]}"#;

/// What flags name of the world, in a directory of its own.
fn world() -> TempDir {
    let dir = TempDir::new().unwrap();
    for folder in ["tokens", "authn", "ca", "certs/keys", "sa", "serving", "webhook"] {
        let files = fs::read_dir(data("world").join(folder)).unwrap().map(Result::unwrap);
        for file in files.filter(|file| file.file_type().unwrap().is_file()) {
            let path = format!("{folder}/{}", file.file_name().to_string_lossy());
            write(dir.path(), &path, &fs::read_to_string(file.path()).unwrap());
        }
    }
    dir
}

fn write(dir: &Path, path: &str, content: &str) {
    let file = dir.join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, content).unwrap();
}
