//! The audit log of the program.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};
use std::thread;

use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::Peer;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::message::{get, verdict};
use crate::support::program::{PATIENCE, Server, countersign, until};

const FLAGS: [&str; 5] = [
    "--token-auth-file=tokens.csv",
    "--client-ca-file=clients.pem",
    "--anonymous-auth=false",
    "--audit-log-path=audit.log",
    "--shutdown-delay-duration=0s",
];

/// What a client needs, and its certificate as Envoy writes it, with the name that Kubernetes gives it.
fn world(folder: &Path) -> String {
    fs::write(folder.join("tokens.csv"), "s3cret,alice,1,\"dev,ops\"\n").unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    fs::write(folder.join("clients.pem"), authority.pem()).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "bob");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let leaf = params.signed_by(&KeyPair::generate().unwrap(), &authority).unwrap();
    utf8_percent_encode(&leaf.pem().replace("\r\n", "\n"), NON_ALPHANUMERIC).to_string()
}

fn with_certificate(certificate: &str) -> CheckRequest {
    let mut request = get("/", &[]);
    let peer = Peer { certificate: certificate.to_owned(), ..Default::default() };
    request.attributes.as_mut().unwrap().source = Some(peer);
    request
}

fn events(folder: &Path) -> Vec<Value> {
    let text = fs::read_to_string(folder.join("audit.log")).unwrap();
    // The last line may not be whole yet.
    let whole = &text[..text.rfind('\n').map_or(0, |at| at + 1)];
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// What is told ends up in the file even when the end comes at once.
#[tokio::test]
async fn decisions_are_told_of_without_credentials_and_none_is_missing_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = world(folder.path());
    let flags = [&FLAGS[..], &["--audit-level=all"]].concat();
    let mut server = Server::start(folder.path(), &flags);
    let mut client = server.client().await;
    let requests = [
        (
            get("/a?token=s3cret", &[("authorization", b"Bearer s3cret"), ("x-request-id", b"r-1")]),
            Ok("alice"),
        ),
        (
            get("/b", &[("authorization", b"Bearer s3cret-but-wrong"), ("x-request-id", b"r-2\nr-3")]),
            Err(401),
        ),
        (with_certificate(&certificate), Ok("bob")),
        (with_certificate("%2Dnonsense"), Err(401)),
    ];
    for (request, expected) in requests {
        let response = client.check(request).await.unwrap();
        assert_eq!(verdict(response.get_ref()), expected.map(str::to_owned));
    }
    let page = server.admin_page("/metrics").await.1;
    assert!(page.contains("apiserver_audit_event_total 4\n"), "{page}");
    server.signal("TERM");
    assert!(server.ended().await.success());

    let text = fs::read_to_string(folder.path().join("audit.log")).unwrap();
    assert!(!text.contains("s3cret"), "{text}");
    let mut events = events(folder.path());
    for event in &mut events {
        assert!(event.as_object_mut().unwrap().remove("time").unwrap().is_string());
    }
    let about = |id: &str, path: &str, more: Value| {
        let mut event = json!({
            "request_id": id, "method": "GET", "host": "api.example.test", "path": path, "source_address": "",
            "source_port": 0,
        });
        event.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        event
    };
    let denied = |by: &str, reason: &str| json!({"decision": "denied", "rejections": [{"authenticator": by, "reason": reason}]});
    let fingerprint = events[2]["certificate_sha256"].clone();
    assert_eq!(fingerprint.as_str().map(str::len), Some(64));
    let credential_id = format!("X509SHA256={}", fingerprint.as_str().unwrap());
    let groups = ["dev", "ops", "system:authenticated"];
    let alice = json!({"username": "alice", "uid": "1", "groups": groups, "group_count": 3});
    let bob = json!({
        "username": "bob", "groups": ["system:authenticated"], "group_count": 1, "credential_id": credential_id});
    let expected = [
        about("r-1", "/a", json!({"decision": "allowed", "authenticator": "tokenfile", "user": alice})),
        about("r-2\nr-3", "/b", denied("bearer", "invalid_bearer_token")),
        about(
            "",
            "/",
            json!({"decision": "allowed", "authenticator": "x509", "user": bob, "certificate_sha256": fingerprint}),
        ),
        about("", "/", denied("x509", "malformed_certificate")),
    ];
    assert_eq!(events, expected);
}

/// The program with these flags, and what it writes to stdout.
fn with_stdout(folder: &Path, flags: &[&str]) -> (Server, ChildStdout) {
    let mut command = Server::command(folder, flags);
    command.stdout(Stdio::piped());
    let mut server = Server::run(command);
    let stdout = server.process.stdout.take().unwrap();
    (server, stdout)
}

fn read(mut stdout: ChildStdout) -> String {
    let mut text = String::new();
    stdout.read_to_string(&mut text).unwrap();
    text
}

const TO_STDOUT: [&str; 5] = [FLAGS[0], FLAGS[1], FLAGS[2], FLAGS[4], "--audit-log-path=-"];

#[tokio::test]
async fn stdout_has_a_line_for_each_decision_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    world(folder.path());
    let flags = [&TO_STDOUT[..], &["--audit-level=all"]].concat();
    let (mut server, stdout) = with_stdout(folder.path(), &flags);
    let mut client = server.client().await;
    let response = client.check(get("/a", &[("authorization", b"Bearer s3cret")])).await.unwrap();
    assert_eq!(verdict(response.get_ref()), Ok("alice".to_owned()));
    server.signal("TERM");
    assert!(server.ended().await.success());
    let mut event: Value = serde_json::from_str(&read(stdout)).unwrap();
    assert!(event.as_object_mut().unwrap().remove("time").unwrap().is_string());
    let groups = ["dev", "ops", "system:authenticated"];
    let expected = json!({
        "request_id": "", "method": "GET", "host": "api.example.test", "path": "/a", "source_address": "", "source_port": 0,
        "decision": "allowed", "authenticator": "tokenfile",
        "user": {"username": "alice", "uid": "1", "groups": groups, "group_count": 3},
    });
    assert_eq!(event, expected);
}

/// What then does not fit into the queue is lost and counted. All else is there when the reader goes on.
#[tokio::test]
async fn a_reader_of_stdout_that_stops_holds_up_nobody() {
    let folder = tempfile::tempdir().unwrap();
    world(folder.path());
    let flags = [&TO_STDOUT[..], &["--audit-level=denied"]].concat();
    let (mut server, stdout) = with_stdout(folder.path(), &flags);
    let mut client = server.client().await;
    // A line of these has some 12 KiB, of which 16 MiB wait.
    let long = "\u{1}".repeat(1000);
    let request = get(&format!("/{long}"), &[("x-request-id", long.as_bytes())]);
    let (mut asked, mut lost) = (0, 0);
    while lost == 0 {
        assert!(asked < 10_000, "nothing is lost");
        for _ in 0..100 {
            let answered = timeout(PATIENCE, client.check(request.clone())).await.unwrap();
            assert_eq!(verdict(answered.unwrap().get_ref()), Err(401));
            asked += 1;
        }
        let page = server.admin_page("/metrics").await.1;
        let count = |sample: &str| -> usize {
            page.lines().find_map(|line| line.strip_prefix(sample)).unwrap().parse().unwrap()
        };
        assert_eq!(count("apiserver_audit_event_total "), asked);
        assert_eq!(count("apiserver_audit_error_total{plugin=\"log\"} "), 0);
        lost = count("apiserver_audit_error_total{plugin=\"buffered\"} ");
    }
    let reader = thread::spawn(|| read(stdout));
    server.signal("TERM");
    assert!(server.ended().await.success());
    let text = reader.join().unwrap();
    let events: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.len(), asked - lost);
    assert!(events.iter().all(|event| event["request_id"] == *long));
}

#[tokio::test]
async fn with_level_none_nothing_is_told_anywhere() {
    let folder = tempfile::tempdir().unwrap();
    world(folder.path());
    for place in ["--audit-log-path=-", "--audit-log-path=audit.log"] {
        let flags = [&TO_STDOUT[..4], &["--audit-level=none", place]].concat();
        let (mut server, stdout) = with_stdout(folder.path(), &flags);
        let response = server.client().await.check(get("/", &[])).await.unwrap();
        assert_eq!(verdict(response.get_ref()), Err(401));
        let page = server.admin_page("/metrics").await.1;
        assert!(page.contains("apiserver_audit_event_total 0\n"), "{page}");
        server.signal("TERM");
        assert!(server.ended().await.success());
        assert_eq!(read(stdout), "");
        assert!(!folder.path().join("audit.log").exists());
    }
}

/// As `logrotate` does it, while requests come.
#[tokio::test]
async fn a_rotated_file_is_followed_by_a_new_one_and_no_line_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    world(folder.path());
    let flags = [&FLAGS[..], &["--audit-level=denied"]].concat();
    let mut server = Server::start(folder.path(), &flags);
    let mut client = server.client().await;
    let mut asked = 0;
    let mut ask = async || {
        asked += 1;
        client.check(get("/", &[("authorization", b"Bearer s3cret")])).await.unwrap();
        client.check(get("/", &[])).await.unwrap();
        asked
    };
    ask().await;
    until("the first line", async || !events(folder.path()).is_empty()).await;
    fs::rename(folder.path().join("audit.log"), folder.path().join("audit.log.1")).unwrap();
    until("a new file", async || {
        ask().await;
        folder.path().join("audit.log").exists()
    })
    .await;
    let asked = ask().await;
    server.signal("TERM");
    assert!(server.ended().await.success());
    let new = events(folder.path());
    fs::rename(folder.path().join("audit.log.1"), folder.path().join("audit.log")).unwrap();
    let old = events(folder.path());
    assert!(!old.is_empty() && !new.is_empty());
    let denials = [old, new].concat();
    assert_eq!(denials.len(), asked, "the allowed ones are not told of");
    assert!(denials.iter().all(|event| event["rejections"][0]["reason"] == "no_credentials"));
}

/// A pipe that nobody reads would be waited for without end, before anybody listens to a signal.
#[test]
fn an_audit_log_that_cannot_be_opened_ends_the_start() {
    let folder = tempfile::tempdir().unwrap();
    world(folder.path());
    assert!(Command::new("mkfifo").arg(folder.path().join("pipe")).status().unwrap().success());
    for (place, why) in [
        ("none/audit.log", "No such file or directory"),
        ("pipe", "it could not be opened within 2 s, as a pipe that nobody reads"),
    ] {
        let path = format!("--audit-log-path={place}");
        let flags = ["--audit-level=all", &path, "--listen=127.0.0.1:0", "--admin-listen="];
        let output = countersign("serve", folder.path(), &[&FLAGS[..3], &flags].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(log.contains(&format!("cannot open the audit log: {place}: {why}")), "{log}");
    }
}

/// What the start would trip over, without a trace: an audit log that belongs to whoever ran the check could not be opened by the program.
#[test]
fn check_config_says_that_an_audit_log_cannot_be_opened_and_makes_none() {
    let folder = tempfile::tempdir().unwrap();
    world(folder.path());
    fs::write(folder.path().join("there.log"), "a line\n").unwrap();
    assert!(Command::new("mkfifo").arg(folder.path().join("pipe")).status().unwrap().success());
    let check = |place: &str| {
        let path = format!("--audit-log-path={place}");
        let flags = [&FLAGS[..3], &["--audit-level=all", &path]].concat();
        let output = countersign("check-config", folder.path(), &flags).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (place, why) in [
        ("none/audit.log", "No such file or directory (os error 2)"),
        (".", "Is a directory (os error 21)"),
        ("there.log/audit.log", "Not a directory (os error 20)"),
    ] {
        let error = format!("error: --audit-log-path: {place}: cannot be opened: {why}\n");
        assert_eq!(check(place), (Some(1), error));
    }
    for good in ["-", "there.log", "new.log", "pipe"] {
        assert_eq!(check(good), (Some(0), String::new()), "{good}");
    }
    assert_eq!(fs::read_to_string(folder.path().join("there.log")).unwrap(), "a line\n");
    assert!(!folder.path().join("new.log").exists());
}
