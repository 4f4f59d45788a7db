use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::mpsc::sync_channel;
use std::time::UNIX_EPOCH;

use serde_json::{Value, json};
use strum::VariantArray;

use super::*;
use crate::decision::{Authenticated, Authenticator, Denial, Reason};
use crate::identity::{CREDENTIAL_ID, Extra, Groups, Identity};
use crate::request::testing::at;

/// 2026-01-02T03:04:05.000006Z.
fn noon() -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(1_767_323_045_000_006)
}

fn alice() -> Decision {
    let extra = Extra::new([(CREDENTIAL_ID, ["JTI=7"])]);
    let identity = Identity::new("alice", "1", Groups::new(["dev", "größe"]), extra);
    Decision::Allow(Authenticated::new(Arc::new(identity), Authenticator::Jwt))
}

fn line(decision: &Decision, request: Option<&Request<'_>>) -> String {
    String::from_utf8(Event::new(noon(), decision, None, request, b"stream-1").line()).expect("ASCII")
}

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).expect("JSON")
}

#[test]
fn a_line_says_who_asked_for_what_and_why_it_was_decided_so() {
    let path = at("/a/b?secret=1", &[(b"x-request-id", b"r-1"), (b"authorization", b"Bearer t0p")]);
    let expected = json!({
        "time": "2026-01-02T03:04:05.000006Z", "request_id": "r-1", "decision": "allowed", "authenticator": "jwt",
        "user": {"username": "alice", "uid": "1", "groups": ["dev", "größe", "system:authenticated"], "group_count": 3,
            "credential_id": "JTI=7"},
        "method": "GET", "host": "example.test", "path": "/a/b", "source_address": "", "source_port": 0,
    });
    assert_eq!(parsed(&line(&alice(), Some(&path))), expected);

    let mut denial = Denial::new(Authenticator::X509, Reason::CertificateExpired);
    denial.rejections.extend(Denial::new(Authenticator::Bearer, Reason::InvalidBearerToken).rejections);
    let text = line(&Decision::Deny(denial), None);
    assert_eq!(
        text,
        "{\"time\":\"2026-01-02T03:04:05.000006Z\",\"request_id\":\"stream-1\",\"decision\":\"denied\",\"rejections\":\
         [{\"authenticator\":\"x509\",\"reason\":\"certificate_expired\"},\
         {\"authenticator\":\"bearer\",\"reason\":\"invalid_bearer_token\"}]}\n"
    );
}

#[test]
fn every_reason_has_its_code_in_a_line() {
    for reason in Reason::VARIANTS {
        let line = line(&Decision::Deny(Denial::new(Authenticator::Chain, *reason)), None);
        let expected = json!([{"authenticator": "chain", "reason": reason.code()}]);
        assert_eq!(parsed(&line)["rejections"], expected);
    }
}

/// Log injection (CWE-117): line ends of every kind, escape sequences of terminals in 7 and 8 bits, text that runs backwards, bytes that are
/// no text, and what looks like the end of a string.
#[test]
fn no_text_of_a_client_makes_a_line_two_or_another() {
    let nasty = "a\nb\r\nc\u{b}\u{c}\u{85}\u{2028}\u{2029}\u{1b}[31m\u{9b}31m\u{202e}\u{feff}\u{7f}\0\"},{\"decision\":\"allowed\u{1f980}";
    let lines: [(&[u8], &[u8]); 1] = [(b"x-request-id", nasty.as_bytes())];
    let path: &'static str = Box::leak(format!("/{nasty}").into_boxed_str());
    let mut request = at(path, &lines);
    request.method = b"G\xff\xfeT\n";
    let identity = Identity::new(nasty, nasty, Groups::new([nasty]), Extra::default());
    let allowed = Decision::Allow(Authenticated::new(Arc::new(identity), Authenticator::TokenFile));
    let denied = Decision::Deny(Denial::new(Authenticator::Bearer, Reason::InvalidBearerToken));
    for (decision, said) in [(allowed, "allowed"), (denied, "denied")] {
        let line = line(&decision, Some(&request));
        let (text, end) = line.split_at(line.len() - 1);
        assert_eq!(end, "\n");
        assert!(text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{line}");
        let event = parsed(&line);
        assert_eq!(
            (&event["decision"], &event["request_id"], &event["path"], &event["method"]),
            (&json!(said), &json!(nasty), &json!(path), &json!("G\u{fffd}\u{fffd}T\n"))
        );
    }
}

#[test]
fn a_line_is_bounded_whatever_a_client_sends() {
    let long = "ä".repeat(60_000);
    let lines: [(&[u8], &[u8]); 1] = [(b"x-request-id", long.as_bytes())];
    let path: &'static str = Box::leak(format!("/{long}").into_boxed_str());
    let groups = Groups::new((0..5000).map(|_| &long));
    let identity = Identity::new(&*long, &*long, groups, Extra::default());
    let decision = Decision::Allow(Authenticated::new(Arc::new(identity), Authenticator::TokenFile));
    let line = line(&decision, Some(&at(path, &lines)));
    // A byte is six at most.
    assert!(line.len() < (MAX_GROUPS + 8) * (MAX_TEXT + 8) * 6, "{}", line.len());
    let user = &parsed(&line)["user"];
    assert_eq!(user["groups"].as_array().map(Vec::len), Some(MAX_GROUPS));
    assert_eq!(user["group_count"], 5001);
    assert_eq!(user["username"], format!("{}\u{2026}", "ä".repeat(MAX_TEXT / 2)));
}

fn auditor(level: Level, path: Option<PathBuf>) -> (Auditor, Arc<AuditStatistics>) {
    let statistics = Arc::new(AuditStatistics::default());
    let auditor = Auditor::start(&AuditConfig { level, path }, Arc::clone(&statistics));
    (auditor.expect("it starts"), statistics)
}

fn record(auditor: &Auditor, decision: &Decision, id: u32) {
    auditor.record(noon(), decision, None, None, id.to_string().as_bytes());
}

fn ids(path: &Path) -> Vec<String> {
    #[expect(clippy::disallowed_methods, reason = "a test reads what was written")]
    let text = fs::read_to_string(path).expect("it is there");
    text.lines().map(|line| parsed(line)["request_id"].as_str().unwrap_or_default().to_owned()).collect()
}

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn denials_alone_or_everything_is_told_of_and_only_the_owner_may_read_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let denied = Decision::Deny(Denial::new(Authenticator::Bearer, Reason::InvalidBearerToken));
    for (level, expected) in [(Level::Denied, vec!["1", "3"]), (Level::All, vec!["0", "1", "2", "3"])] {
        let path = folder.path().join(format!("{level:?}"));
        let (auditor, statistics) = auditor(level, Some(path.clone()));
        for (id, decision) in (0..).zip([&alice(), &denied, &alice(), &denied]) {
            record(&auditor, decision, id);
        }
        auditor.flush(LONG).await;
        assert_eq!(ids(&path), expected);
        assert_eq!(statistics.totals(), (u64::try_from(expected.len()).expect("few"), 0, 0));
        assert_eq!(fs::metadata(&path).expect("a file").permissions().mode() & 0o777, 0o600);
    }
}

/// As `logrotate` does it: by renaming the file, and nobody is told.
#[tokio::test]
async fn a_file_that_is_renamed_or_removed_is_made_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, rotated) = (folder.path().join("audit.log"), folder.path().join("audit.log.1"));
    let (auditor, statistics) = auditor(Level::All, Some(path.clone()));
    record(&auditor, &alice(), 1);
    auditor.flush(LONG).await;
    let mut id = 1;
    for round in 0..2 {
        match round {
            0 => fs::rename(&path, &rotated).expect("it is there"),
            _ => fs::remove_file(&path).expect("it is there"),
        }
        let begun = std::time::Instant::now();
        while !path.exists() {
            assert!(begun.elapsed() < LONG, "the file is not made anew");
            id += 1;
            record(&auditor, &alice(), id);
            auditor.flush(LONG).await;
        }
        assert_eq!(ids(&path), [id.to_string()]);
    }
    assert_eq!(ids(&rotated)[0], "1");
    assert_eq!(statistics.totals(), (u64::from(id), 0, 0));
}

#[tokio::test]
async fn what_cannot_be_written_is_counted_and_a_new_file_is_tried() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("audit.log");
    // Every write to it fails: no space left on device.
    std::os::unix::fs::symlink("/dev/full", &path).expect("a link");
    let (auditor, statistics) = auditor(Level::All, Some(path.clone()));
    record(&auditor, &alice(), 1);
    auditor.flush(LONG).await;
    assert_eq!(statistics.totals(), (1, 0, 1));
    fs::remove_file(&path).expect("it is there");
    let begun = std::time::Instant::now();
    let mut id = 1;
    while !path.exists() {
        assert!(begun.elapsed() < LONG, "no new file");
        id += 1;
        record(&auditor, &alice(), id);
        auditor.flush(LONG).await;
    }
    // The line that may be torn ends before the next begins.
    #[expect(clippy::disallowed_methods, reason = "a test reads what was written")]
    let text = fs::read_to_string(&path).expect("it is there");
    assert!(text.starts_with("\n{\"time\":"), "{text}");
    assert_eq!(statistics.totals(), (u64::from(id), 0, u64::from(id) - 1));
}

/// Nobody waits for a disk: what finds no room is lost, and counted.
#[test]
fn a_full_queue_loses_what_comes_and_holds_up_nobody() {
    let (queue, mut waiting) = mpsc::channel(2);
    let statistics = Arc::new(AuditStatistics::default());
    let auditor =
        Auditor { level: Level::All, queue, waiting: Arc::default(), statistics: Arc::clone(&statistics) };
    for id in 0..5 {
        record(&auditor, &alice(), id);
    }
    assert_eq!(statistics.totals(), (5, 3, 0));
    let (tell, told) = sync_channel(2);
    while let Ok(Message::Line(line)) = waiting.try_recv() {
        tell.send(line).expect("there is room");
    }
    drop(tell);
    let kept: Vec<Value> = told.iter().map(|line| parsed(&String::from_utf8_lossy(&line))).collect();
    assert_eq!(kept.iter().map(|event| &event["request_id"]).collect::<Vec<_>>(), ["0", "1"]);
}

/// Nor does memory run out where every line is as long as can be.
#[test]
fn so_many_bytes_wait_and_no_more() {
    let (queue, _waiting) = mpsc::channel(MAX_WAITING);
    let statistics = Arc::new(AuditStatistics::default());
    let auditor =
        Auditor { level: Level::All, queue, waiting: Arc::default(), statistics: Arc::clone(&statistics) };
    let name = "\u{1}".repeat(MAX_TEXT);
    let groups = Groups::new((0..MAX_GROUPS).map(|_| &name));
    let identity = Identity::new("a", "", groups, Extra::default());
    let decision = Decision::Allow(Authenticated::new(Arc::new(identity), Authenticator::TokenFile));
    let length = line(&decision, None).len();
    for id in 0..100 {
        record(&auditor, &decision, id);
    }
    let (events, lost, failed) = statistics.totals();
    let kept = usize::try_from(events - lost).expect("few");
    assert_eq!((events, failed), (100, 0));
    assert!(
        (MAX_WAITING_BYTES - 2 * length..=MAX_WAITING_BYTES).contains(&(kept * length)),
        "{kept} of {length}"
    );
}

#[test]
fn a_clock_that_is_not_set_is_no_reason_to_panic() {
    let year = |at: SystemTime| {
        let event = Event::new(at, &alice(), None, None, b"");
        parsed(&String::from_utf8_lossy(&event.line()))["time"].clone()
    };
    assert_eq!(year(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000000Z");
    assert_eq!(year(UNIX_EPOCH + Duration::from_secs(1 << 40)), "9999-12-31T23:59:59.000000Z");
}

#[test]
fn a_place_that_cannot_be_written_to_is_an_error_at_the_start() {
    let config = AuditConfig { level: Level::All, path: Some("/none/audit.log".into()) };
    let error = Auditor::start(&config, Arc::default()).expect_err("no such folder");
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}
