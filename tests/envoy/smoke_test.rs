//! `countersign smoke-test` against routes as they should be, and as they should not.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::{Setup, Stack};

/// Runs it, and gives its exit code and what it said.
async fn smoke_test(stack: &Stack, flags: &[&str]) -> (i32, Value) {
    fs::write(stack.directory().join("token"), "alice-token\n").unwrap();
    let flags = [flags, &["--output=json"]].concat();
    let Output { status, stdout, stderr } = run(stack, &flags).await;
    let (text, errors) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert!(!text.contains("alice-token") && !errors.contains("alice-token"), "{text}{errors}");
    (status.code().unwrap(), serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{errors}")))
}

async fn run(stack: &Stack, flags: &[&str]) -> Output {
    let mut command = command(stack.directory(), stack.envoy.edge.address.port());
    command.args(flags);
    // The application is in this process.
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

fn command(folder: &Path, port: u16) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
    let url = format!("https://edge.test:{port}/page");
    command
        .args(["smoke-test", &url, "--resolve=127.0.0.1", "--ca-file=certs/server.crt"])
        .current_dir(folder);
    command
}

/// What is concluded, up to the first colon or comma of each sentence.
fn words(report: &Value) -> Vec<String> {
    let conclusions = report["conclusions"].as_array().unwrap().iter();
    let words = conclusions.map(|conclusion| conclusion["words"].as_str().unwrap());
    words.map(|words| words.split([':', ',', ';']).next().unwrap().to_owned()).collect()
}

fn status(report: &Value, probe: &str) -> Value {
    let probes = report["probes"].as_array().unwrap();
    probes.iter().find(|each| each["probe"] == probe).unwrap_or_else(|| panic!("{probe}"))["status"].clone()
}

#[tokio::test]
async fn a_route_with_the_filter_is_on() {
    let stack = Setup::new().flags(&["--anonymous-auth=false"]).start().await;
    let (code, report) = smoke_test(&stack, &["--token-file=token"]).await;
    assert_eq!((code, &report["verdict"]), (0, &"on".into()), "{report:#}");
    let expected = [
        "the filter is on",
        "requests without a credential are refused",
        "the good token is not refused (200)",
    ];
    assert_eq!(words(&report), expected);
    for probe in ["no_credential", "bad_token", "forged_identity", "forged_impersonation"] {
        assert_eq!(status(&report, probe), 401, "{probe}");
    }
    assert_eq!(status(&report, "forged_identity_underscores"), 400, "Envoy's own");
    let text = String::from_utf8(run(&stack, &[]).await.stdout).unwrap();
    assert!(
        text.contains("ok: the filter is on: a token that nobody knows is refused in countersign's words\n"),
        "{text}"
    );
}

/// Also where nothing stands in front of countersign's own scrubbing.
#[tokio::test]
async fn anonymous_requests_are_told_of_and_forged_headers_do_not_come_through() {
    for without_early_defences in [false, true] {
        let change = |config: crate::support::Config| match without_early_defences {
            true => config.without_early_defences(),
            false => config,
        };
        let stack = Setup::new().config(change).start().await;
        let (code, report) = smoke_test(&stack, &["--token-file=token"]).await;
        assert_eq!((code, &report["verdict"]), (0, &"on".into()), "{report:#}");
        let anonymous = "anonymous requests are let through (200)";
        assert_eq!(words(&report), ["the filter is on", anonymous, "the good token is not refused (200)"]);
        assert_eq!([status(&report, "no_credential"), status(&report, "bad_token")], [200, 401]);
    }
}

/// A route for which somebody has turned the filter off: the commonest hole. The application shows what it was sent.
#[tokio::test]
async fn a_route_without_the_filter_is_off() {
    let open = |config: crate::support::Config| config.with_open_route().without_early_defences();
    let stack = Setup::new().flags(&["--anonymous-auth=false"]).config(open).start().await;
    let (code, report) = smoke_test(&stack, &[]).await;
    assert_eq!((code, &report["verdict"]), (1, &"off".into()), "{report:#}");
    assert_eq!(
        words(&report),
        [
            "the filter is OFF",
            "with forged X-Remote-* the upstream saw the client's own x-remote-user",
            "with forged X_Remote_* the upstream saw the client's own x_remote_user",
            "with forged Impersonate-* the upstream saw the client's own impersonate-user",
        ]
    );
    let text = String::from_utf8(run(&stack, &[]).await.stdout).unwrap();
    assert!(
        text.contains("\nUNPROTECTED: the filter is OFF: a token that nobody knows was answered 200\n"),
        "{text}"
    );
}

/// Envoy's own words, or nobody there: it does not guess.
#[tokio::test]
async fn what_cannot_be_told_is_not_told() {
    let mut stack = Setup::new().start().await;
    stack.countersign[0].kill();
    let (code, report) = smoke_test(&stack, &[]).await;
    assert_eq!((code, &report["verdict"]), (2, &"cannot_tell".into()), "{report:#}");
    let nobody = run(&stack, &["--resolve=127.0.0.255"]).await;
    assert_eq!(nobody.status.code(), Some(2));
}
