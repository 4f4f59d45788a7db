//! `deploy/capacity/plan.py`: its arithmetic, by hand, and that it knows the program's limits.

use std::fs;
use std::path::Path;
use std::process::Command;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

fn source(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Round figures: 40 µs for a token that is remembered and 60 µs for one that is not; 500 of them take 1 MiB above 20 MiB.
fn measured() -> Value {
    let cost = |case: &str, us: f64| json!({"case": case, "countersign_us": [us, us - 1.0, us + 1.0]});
    json!({"debug_build": false, "rows": [
        cost("rs256-remembered", 40.0), cost("rs256-first-seen", 60.0), cost("unknown-token", 30.0),
        cost("webhook-remembered", 40.0), cost("static-token", 20.0),
        {"case": "memory-idle", "median": 20.0}, {"case": "memory-identities (500)", "median": 21.0},
    ]})
}

/// What it says, for these flags.
fn plan(flags: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    // A service account's token is as good as any.
    let measured = measured()
        .to_string()
        .replace("rs256-", if flags.contains(&ACCOUNTS) { "service-account-" } else { "rs256-" });
    fs::write(folder.path().join("measured.json"), measured).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/capacity/plan.py");
    let mut command = Command::new("python3");
    command.arg(script).args(["measured.json", "--json"]).args(flags).current_dir(folder.path());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

const ACCOUNTS: &str = "--kind=service-account";

/// A thousand tokens, all alike, a thousand requests a second.
const SMALL: [&str; 4] = ["--tokens=1000", "--zipf=0", "--requests-per-second=1000", "--bad-share=0"];

fn assert_close(actual: &Value, expected: f64, what: &str) {
    let actual = actual.as_f64().unwrap();
    assert!((actual - expected).abs() <= expected.abs() * 1e-9, "{what}: {actual}, not {expected}");
}

/// Ten replicas get 100 requests a second each, so a token comes to one of them once in 10 s, which is how long it is remembered: each second request
/// is a hit, and half of the tokens are remembered. With four times as many replicas it comes once in 40 s: one of five is a hit.
#[test]
fn figures_are_what_they_are_by_hand() {
    let result =
        plan(&[&SMALL[..], &["--replicas=10", "--envoys=3", "--envoy-workers=4", "--issuers=2"]].concat());
    let figures = &result["figures"];
    for (name, expected) in [
        ("requests per second and replica", 100.0),
        ("hits of the token cache", 0.5),
        ("tokens remembered per replica", 500.0),
        ("MiB per replica", 21.0),
        // 50 times 40 µs and 50 times 60 µs.
        ("cores in use per replica", 0.005),
        ("calls per second and core", 20_000.0),
        ("verifications per second in all", 500.0),
        ("token reviews per second in all", 0.0),
        // 100 times 2000 bytes of 8 bits.
        ("Gbit/s into a replica", 0.0016),
        ("connections per replica", 12.0),
        ("connections in all", 120.0),
        // 1 MiB for 500 of them.
        ("bytes per identity that is remembered", 2097.152),
        // Of two issuers, when 82.5% of 300 s are over, and at most every 10 s; while they fail, four documents every 15 s.
        ("fetches of keys per second in all", 20.0 / 247.5),
        ("… with made-up key ids, at most", 2.0),
        ("… and of discovery documents, while issuers fail, at most", 20.0 * 4.0 / 15.0),
        ("fetches of both when all replicas start", 40.0),
        ("watches on the API server", 0.0),
    ] {
        assert_close(&figures[name], expected, name);
    }
    let growth: Vec<f64> = result["growth"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["verifications"].as_f64().unwrap())
        .collect();
    for (verifications, expected) in growth.into_iter().zip([500.0, 1000.0 * 2.0 / 3.0, 800.0]) {
        assert_close(&json!(verifications), expected, "verifications of 10, 20 and 40 replicas");
    }
    let asked = |name: &str| -> Vec<Value> {
        result["growth"].as_array().unwrap().iter().map(|row| row[name].clone()).collect()
    };
    for (name, each) in [("fetches", 2.0 / 247.5), ("made up", 0.2), ("failing", 8.0 / 15.0)] {
        for (actual, replicas) in asked(name).iter().zip([10.0, 20.0, 40.0]) {
            assert_close(actual, each * replicas, name);
        }
    }
    let used = json!({"rs256-remembered": 40.0, "rs256-first-seen": 60.0, "unknown-token": 30.0, "memory-idle": 20.0, "memory-identities (500)": 21.0});
    assert_eq!(result["measured"], used);
}

/// Ten replicas need 0.005 cores each, nine 0.0055.
#[test]
fn as_many_replicas_as_cpu_time_asks_for_and_those_that_may_be_lost() {
    let figures = |cores| plan(&[&SMALL[..], &["--utilization=0.5", cores]].concat())["figures"].clone();
    assert_close(&figures("--cores=0.0102")["replicas"], 11.0, "ten and a spare one");
    assert_close(&figures("--cores=4")["replicas"], 2.0, "one and a spare one");
}

/// Each request that is no hit, and each bad token, is a review; they are in flight as long as the webhook takes.
#[test]
fn a_webhook_is_asked_for_all_that_is_not_remembered() {
    let flags = ["--kind=webhook", "--replicas=10", "--review-ms=4000", "--review-capacity=1000"];
    let result = plan(&[&SMALL[..], &flags].concat());
    assert_close(&result["figures"]["token reviews per second in all"], 500.0, "of good tokens");
    // 50 a second for 4 s, of 400.
    assert_close(&result["limits"]["token reviews at once"], 0.5, "in flight");
    assert_close(&result["limits"]["what the webhook can answer"], 0.5, "of what it can");
    let bad = plan(&[&["--bad-share=1"], &SMALL[..3], &flags[..]].concat());
    assert_close(&bad["figures"]["token reviews per second in all"], 1000.0, "of bad ones");
}

/// Accounts, pods and nodes are watched by each replica, anew every 30 s; each change goes to each of them.
#[test]
fn watches_and_their_events_grow_with_the_replicas() {
    let flags = [ACCOUNTS, "--replicas=10", "--pods=50000", "--pod-changes-per-second=7"];
    let result = plan(&[&SMALL[..], &flags].concat());
    let figures = &result["figures"];
    assert_close(&figures["watches on the API server"], 30.0, "watches");
    assert_close(&figures["… opened anew per second"], 1.0, "anew");
    assert_close(&figures["… events per second in all"], 70.0, "events");
    // 500 tokens are 1 MiB.
    assert_close(&figures["MiB per replica"], 21.0 + 50_000.0 * 54.0 / 1_048_576.0, "memory");
}

/// Words of a text: some tokens come often, most hardly ever. Trying it out gives what the formula says.
#[test]
fn the_simulation_agrees_with_the_formula() {
    for flags in [["--zipf=0", "--tokens=1000"], ["--zipf=1", "--tokens=20000"]] {
        let more = ["--requests-per-second=20000", "--replicas=10", "--bad-share=0", "--simulate"];
        let result = plan(&[&flags[..], &more].concat());
        let [tried, computed] = [&result["simulated hits"], &result["figures"]["hits of the token cache"]]
            .map(|hits| hits.as_f64().unwrap());
        assert!(computed > 0.5 && (tried - computed).abs() < 0.01, "{flags:?}: {tried} and {computed}");
    }
}

#[test]
fn the_limits_are_those_of_the_program() {
    let script = source("deploy/capacity/plan.py");
    for (ours, theirs, file) in [
        ("MAX_REMEMBERED = 100_000 ", "MAX_GOOD: usize = 100_000;", "src/authn/token/cache.rs"),
        ("MAX_REVIEWS = 400 ", "MAX_IN_FLIGHT: usize = 400;", "src/authn/token/webhook/mod.rs"),
        (
            "MIN_KEY_INTERVAL = 10 ",
            "MIN_INTERVAL: Duration = Duration::from_secs(10);",
            "src/authn/token/jwt/remote_keys.rs",
        ),
        (
            "(0.75 + 0.9) / 2 ",
            "mul_f64(between(0.75, 0.9, fraction))",
            "src/authn/token/jwt/remote_keys/freshness.rs",
        ),
        (
            "KEY_RETRY = 5 ",
            "MAX_RETRY: Duration = Duration::from_secs(10);",
            "src/authn/token/jwt/remote_keys/freshness.rs",
        ),
        (
            "KEY_RETRY = 5 ",
            "doubled.min(MAX_RETRY).mul_f64(between(0.5, 1.0, fraction))",
            "src/authn/token/jwt/remote_keys/freshness.rs",
        ),
        ("4 / 3 * tasks", "REDISCOVER_AFTER: u32 = 3;", "src/authn/token/jwt/remote_keys/task.rs"),
        ("WATCH_SECONDS = 30 ", "WATCH_SECONDS: u32 = 30;", "src/cluster/watch.rs"),
        ("POD_BYTES = 54 ", "fn fifty_thousand_pods_take_54_bytes_each(", "src/cluster/objects/index.rs"),
    ] {
        assert!(script.contains(ours), "{ours}");
        assert!(source(file).contains(theirs), "{theirs} in {file}");
    }
    // What the script reads is what the benchmark writes.
    let cases = ["tests/load/cases.rs", "tests/load/jwt.rs", "tests/load/resources.rs"].map(source).concat();
    let (_, table) = script.split_once("\nCASES = {").unwrap();
    let (table, _) = table.split_once("\n}").unwrap();
    let names = table
        .lines()
        .filter_map(|line| line.split_once(": ("))
        .flat_map(|(_, pair)| pair.split('"').skip(1).step_by(2));
    let names: Vec<&str> = names.chain(["unknown-token", "memory-idle", "memory-identities"]).collect();
    assert_eq!(names.len(), 15);
    for name in names {
        assert!(cases.contains(&format!("\"{name}")), "{name}");
    }
}

/// Figures on the page come out of the command that stands above them.
#[test]
fn the_examples_of_the_page_are_what_the_script_prints() {
    let page = source("deploy/docs/capacity.md");
    let (_, examples) = page.split_once("\n## An example\n").unwrap();
    let mut tried = 0;
    for example in examples.split("```sh\n").skip(1) {
        let (command, shown) = example.split_once("```").unwrap();
        let command = command.replace("\\\n", " ");
        let words: Vec<&str> = command.split_whitespace().collect();
        let mut program = Command::new("python3");
        let output = program.args(&words).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let printed = String::from_utf8(output.stdout).unwrap();
        let (shown, _) = shown.split_once("\nMeasured ").unwrap();
        for line in shown.lines().filter(|line| line.starts_with('|')) {
            assert!(
                printed.lines().any(|printed| printed == line),
                "{line:?} is not printed by {command}:\n{printed}"
            );
        }
        tried += 1;
    }
    assert!(tried > 0);
}

/// Kubernetes' types drop what they do not know, so that a field with a wrong name is missed here.
#[test]
fn the_load_test_has_no_fields_that_kubernetes_does_not_know() {
    let text = source("deploy/kubernetes/load-test/job.yaml");
    let documents: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
    let [map, job] = &documents[..] else { panic!("a ConfigMap and a Job") };
    let known: ConfigMap = serde_json::from_value(map.clone()).unwrap();
    assert_eq!(serde_json::to_value(&known).unwrap(), *map);
    let known: Job = serde_json::from_value(job.clone()).unwrap();
    assert_eq!(serde_json::to_value(&known).unwrap(), *job);
    let check: Value = serde_json::from_str(map["data"]["check.json"].as_str().unwrap()).unwrap();
    let http = &check["attributes"]["request"]["http"];
    for (name, attribute) in
        [(":authority", "host"), (":method", "method"), (":path", "path"), (":scheme", "scheme")]
    {
        assert_eq!(http["headers"][name], http[attribute], "{name}");
    }
}
