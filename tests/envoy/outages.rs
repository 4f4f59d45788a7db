//! The shipped file itself, and what happens when countersign goes away or listens elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::lateness::Lateness;
use crate::support::{Config, Edge, Internal, Setup, eventually, validate};

const ALICE: &str = "authorization: Bearer alice-token";

#[tokio::test]
async fn envoy_accepts_the_shipped_configuration_without_a_warning() {
    let shipped = Config::untouched();
    for config in [
        shipped.clone(),
        shipped.clone().with_lua(),
        shipped.clone().with_client_certificates(),
        shipped.clone().with_traces(4317),
        shipped.clone().with_client_certificates().with_chains(),
        shipped.clone().with_tls_to_countersign(),
        // Names of a front proxy's own, and those of two profiles.
        shipped
            .with(EARLY, r#""(x[-_](remote|user|app|team)|impersonate)[-_].*""#)
            .with(ALLOWED, "|(x[-_](remote|front|user|app|team)|impersonate)[-_].+"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        Internal::new().write(directory.path());
        let verdict = validate(directory.path(), &config);
        let log = String::from_utf8_lossy(&verdict.stderr);
        assert!(verdict.status.success(), "{log}");
        let complaints: Vec<&str> =
            log.lines().filter(|line| line.contains("[warning]") || line.contains("[error]")).collect();
        assert_eq!(complaints, [""; 0]);
    }
}

/// What the file removes from every request, and what an answer may change.
const EARLY: &str = r#""(x[-_]remote|impersonate)[-_].*""#;
const ALLOWED: &str = "|(x[-_]remote|impersonate)[-_].+";

/// S9, envoy#35610: nobody to ask means nobody gets in, and 503 says that it is not the client's fault.
#[tokio::test]
async fn when_countersign_is_gone_clients_get_a_503_and_the_application_nothing() {
    let mut stack = Setup::new().start().await;
    assert_eq!(stack.envoy.edge.http1(&[ALICE]).await.status, 200);
    let before = stack.upstream.seen().len();

    stack.countersign[0].kill();
    for lines in [[ALICE].as_slice(), &[], &["authorization: Bearer stranger"], &["X-Remote-User: evil"]] {
        let response = stack.envoy.edge.http1(lines).await;
        assert_eq!((response.status, response.body.as_str()), (503, ""), "{lines:?}");
    }
    assert_eq!(stack.upstream.seen().len(), before);
}

#[tokio::test]
async fn over_a_unix_socket_the_verdicts_are_the_same() {
    let stack = Setup::new().unix_socket().start().await;
    assert!(stack.countersign[0].address.starts_with("unix:"), "{}", stack.countersign[0].address);
    assert_eq!(
        stack.envoy.edge.http1(&[ALICE]).await.forwarded(),
        ["x-remote-user: alice", "x-remote-uid: alice-uid", "x-remote-group: dev,ops,system:authenticated"]
    );
    assert_eq!(
        stack.envoy.edge.http1(&[]).await.forwarded(),
        ["x-remote-user: system:anonymous", "x-remote-group: system:unauthenticated"]
    );
    assert_eq!(stack.envoy.edge.http1(&["authorization: Bearer stranger"]).await.status, 401);
}

/// By Envoy's defaults 68 and 69 of the 100 failed, since it asks all as soon as more than half are dead (`healthy_panic_threshold`), and 58 with
/// that mended alone, since it is told of the second a second later (`update_merge_window`).
#[tokio::test]
async fn when_most_replicas_are_dead_those_that_live_are_asked() {
    let once = |config: Config| config.with("num_retries: 2", "num_retries: 0");
    let mut stack = Setup::new().replicas(3).config(once).start().await;
    for dead in 0..2 {
        stack.countersign[dead].kill();
    }
    eventually("Envoy knows of both", async || {
        (stack.envoy.counted("cluster.countersign.membership_healthy").await == 1).then_some(())
    })
    .await;
    let mut connection = stack.envoy.edge.connect1().await;
    for _ in 0..100 {
        assert_eq!(connection.get(&[ALICE.as_bytes()]).await.unwrap().status, 200);
    }
    assert_eq!(stack.envoy.checks_sent_to(stack.countersign[2].port()).await, 100);
}

/// How long the shipped file lets a Check take. Envoy is more patient here, as a machine that stalls must not make it call again.
const LIMIT: Duration = Duration::from_secs(2);

/// Calls without a pause until it is told to stop; returns what went wrong.
async fn keep_calling(edge: Edge, stop: Arc<AtomicBool>, calls: Arc<AtomicU64>) -> Vec<String> {
    let mut failures = Vec::new();
    let lateness = Lateness::watch();
    let mut connection = edge.connect1().await;
    while !stop.load(Ordering::Relaxed) {
        let since = Instant::now();
        let answer = connection.get(&[ALICE.as_bytes()]).await;
        let took = since.elapsed();
        match answer {
            Some(response) if response.status == 200 && took < LIMIT + lateness.worst() => {
                calls.fetch_add(1, Ordering::Relaxed);
            }
            other => {
                failures.push(format!("{other:?} after {took:?}"));
                connection = edge.connect1().await;
            }
        }
    }
    failures
}

/// How many call at once, each on a connection of its own.
const CALLERS: u64 = 6;

/// NOT_SERVING first and GOAWAY after a delay: Envoy has turned to the other replica before this one closes, so that not
/// even a retry is needed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_goes_away_under_load_without_a_failed_call() {
    let mut stack = Setup::new().replicas(2).start().await;
    let [leaving, staying] = [0, 1].map(|at: usize| stack.countersign[at].port());
    let stop = Arc::new(AtomicBool::new(false));
    let calls = Arc::new(AtomicU64::new(0));
    let clients: Vec<_> = (0..CALLERS)
        .map(|_| tokio::spawn(keep_calling(stack.envoy.edge.clone(), Arc::clone(&stop), Arc::clone(&calls))))
        .collect();

    // Both replicas are at work when one is told to go.
    eventually("both replicas get Checks", async || {
        let [one, other] =
            [stack.envoy.checks_sent_to(leaving).await, stack.envoy.checks_sent_to(staying).await];
        (one > 50 && other > 50).then_some(())
    })
    .await;
    let repeated = stack.envoy.checks_repeated().await;
    let told = Instant::now();
    stack.countersign[0].terminate();
    let ended = eventually("the replica ends", async || stack.countersign[0].ended()).await;
    let took = told.elapsed();
    assert_eq!(ended.code(), Some(0));
    assert!(took >= Duration::from_secs(3), "it took {took:?}");
    assert_eq!(stack.countersign[0].logged("calls were still in flight"), 0, "it took {took:?}");

    // The load goes on for a while on the replica that is left. The Checks are read before the calls, as what Envoy is asked for
    // takes a while and the load does not pause for it; of the calls counted after that, those that were under way had theirs.
    let gone = stack.envoy.checks_sent_to(leaving).await;
    let kept = stack.envoy.checks_sent_to(staying).await;
    let at_the_end = calls.load(Ordering::Relaxed);
    eventually("calls go on", async || {
        (calls.load(Ordering::Relaxed) >= at_the_end + 200 + CALLERS).then_some(())
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        assert_eq!(client.await.unwrap(), [""; 0]);
    }
    assert_eq!(stack.envoy.checks_sent_to(leaving).await, gone);
    assert_eq!(stack.envoy.checks_repeated().await, repeated, "retries hid that Checks failed");
    let stayed = stack.envoy.checks_sent_to(staying).await - kept;
    assert!(stayed >= 200, "{stayed} Checks went to the replica that stays");
}
