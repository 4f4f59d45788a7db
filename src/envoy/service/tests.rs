mod profiles;

use std::fs;
use std::io::{self, Write};
use std::sync::{Mutex, Once};
use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;
use strum::VariantArray;
use tracing::subscriber::DefaultGuard;
use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::audit::{AuditConfig, Level};
use crate::authn::RequestHeaderNames;
use crate::config::GroupsEncoding;
use crate::metrics::Measured;

/// Lines of a log.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("not poisoned").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Takes the lines of this thread, until the guard is dropped.
fn taken_in(log: &Lines) -> DefaultGuard {
    // A place that is reached first by a thread without a subscriber while there is one in all, ours, would be silent from then on, for us too:
    // so there is another, for all threads.
    static OTHER: Once = Once::new();
    OTHER.call_once(|| tracing_subscriber::fmt().with_writer(io::sink).init());
    tracing::subscriber::set_default(tracing_subscriber::fmt().json().with_writer(log.clone()).finish())
}

fn reply_config() -> ReplyConfig {
    let headers = IdentityHeaders {
        user: "x-remote-user".into(),
        uid: "x-remote-uid".into(),
        group: "x-remote-group".into(),
        extra_prefix: "x-remote-extra-".into(),
    };
    ReplyConfig {
        impersonation: None,
        headers,
        front_proxy: RequestHeaderNames::default(),
        xfcc: false,
        groups_encoding: GroupsEncoding::Joined,
        dynamic_metadata: true,
        undecided_unavailable: false,
        max_headers_count: 100,
        max_headers_bytes: 60 * 1024,
    }
}

fn snapshot() -> Snapshot {
    Snapshot::new(Members::default(), reply_config(), Vec::new(), &Metrics::default())
}

/// Whoever reads one of them finds the others by the same word.
#[tokio::test]
async fn every_reason_has_one_code_in_the_log_the_audit_log_and_the_metrics() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("audit.log");
    let metrics = Arc::new(Metrics::default());
    let config = AuditConfig { level: Level::Denied, path: Some(path.clone()) };
    let auditor = Auditor::start(&config, Arc::clone(&metrics.audit)).expect("it starts");
    let (snapshot, log) = (snapshot(), Lines::default());
    let taken = taken_in(&log);
    for reason in Reason::VARIANTS {
        let in_flight = metrics.checks.begin();
        let denial = Denial::new(Authenticator::Jwt, *reason);
        let decided = snapshot.default.deny(denial);
        decided.tell(&Incoming(None), None, Now(UNIX_EPOCH), Some(&auditor));
        in_flight.end(&decided.decision);
    }
    drop(taken);
    auditor.flush(Duration::from_secs(20)).await;

    let log = log.0.lock().expect("not poisoned").clone();
    #[expect(clippy::disallowed_methods, reason = "a test reads what was written")]
    let audit = fs::read(path).expect("it is there");
    let page = metrics.render(&Measured::default());
    let lines = |bytes: &[u8]| {
        let lines = bytes.lines().map(|line| serde_json::from_slice(line).expect("JSON"));
        lines.collect::<Vec<Value>>()
    };
    let (log, audit) = (lines(&log), lines(&audit));
    assert_eq!((log.len(), audit.len()), (Reason::VARIANTS.len(), Reason::VARIANTS.len()));
    for ((reason, log), audit) in Reason::VARIANTS.iter().zip(log).zip(audit) {
        let code = reason.code();
        let level = match reason.fault() {
            Fault::Client => "INFO",
            Fault::Dependency => "WARN",
            Fault::Bug => "ERROR",
        };
        assert_eq!(
            (&log["fields"]["rejected"], &log["level"]),
            (&format!("jwt: {code}").into(), &level.into())
        );
        assert_eq!(audit["rejections"][0]["reason"], code);
        let sample = format!("countersign_rejections_total{{authenticator=\"jwt\",reason=\"{code}\"}} 1\n");
        assert!(page.contains(&sample), "{sample}");
    }
}
