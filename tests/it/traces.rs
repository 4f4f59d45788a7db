//! Spans of the program, at a collector.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use serde_json::json;
use tempfile::TempDir;
use tonic::Request;

use crate::message::{get, verdict};
use crate::support::api_server::ApiServer;
use crate::support::collector::{Collected, Collector, hex};
use crate::support::program::{PATIENCE, Server, until};
use crate::webhook::Webhook;

const FLAGS: [&str; 4] = [
    "--token-auth-file=tokens.csv",
    "--anonymous-auth=false",
    "--tracing-config-file=tracing.yaml",
    "--shutdown-delay-duration=0s",
];

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

fn traceparent(span: &str, flags: &str) -> String {
    format!("00-{TRACE}-{span}-{flags}")
}

fn world(collector: &Collector, sampling_rate_per_million: u32) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tokens.csv"), "s3cret,alice,1\n").unwrap();
    fs::write(folder.path().join("tracing.yaml"), collector.configuration(sampling_rate_per_million))
        .unwrap();
    folder
}

/// A Check as Envoy sends it that works for a span of its own.
fn called(request: CheckRequest, traceparent: &str) -> Request<CheckRequest> {
    let mut request = Request::new(request);
    request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    request
}

async fn terminate(mut server: Server) -> Server {
    server.signal("TERM");
    assert!(server.ended().await.success());
    server
}

/// What can be told of a span beforehand: trace (if it was given), parent, attributes, status.
fn told(collected: &Collected) -> (String, String, BTreeMap<String, String>, i32) {
    let Collected { span, attributes, .. } = collected;
    assert_eq!(span.name, "envoy.service.auth.v3.Authorization/Check");
    assert_eq!(span.kind(), SpanKind::Server);
    assert!(span.start_time_unix_nano > 0 && span.end_time_unix_nano >= span.start_time_unix_nano);
    let trace = hex(&span.trace_id);
    let trace = if trace == TRACE { "given" } else { "new" };
    let code = span.status.as_ref().map_or(0, |status| status.code);
    (trace.to_owned(), hex(&span.parent_span_id), attributes.clone(), code)
}

/// Semantic conventions for RPC and gRPC, 1.40. All that has ended is sent before the end.
#[tokio::test(flavor = "multi_thread")] // the collector is in this process
async fn each_check_has_a_span_that_says_what_was_decided_and_holds_no_credential() {
    let collector = Collector::up();
    let folder = world(&collector, 1_000_000);
    let server = Server::start(folder.path(), &FLAGS);
    let mut client = server.client().await;
    let good = ("authorization", &b"Bearer s3cret"[..]);
    let by_header = traceparent("00f067aa0ba902b7", "01");
    let requests = [
        // Envoy's own span of the call wins over that which the request comes with.
        called(
            get("/a?token=s3cret", &[good, ("x-request-id", b"r-1"), ("traceparent", by_header.as_bytes())]),
            &traceparent("53995c3f42cd8ad8", "01"),
        ),
        Request::new(get(
            "/",
            &[("authorization", b"Bearer s3cret-but-wrong"), ("traceparent", by_header.as_bytes())],
        )),
        called(get("/", &[("traceparent", b"nonsense"), ("x-request-id", &[b'x'; 300])]), "00-nonsense-01"),
        // An unsampled parent decides, too.
        called(get("/", &[good]), &traceparent("53995c3f42cd8ad8", "00")),
        Request::new(CheckRequest::default()),
    ];
    let expected = [Ok("alice"), Err(401), Err(401), Ok("alice"), Err(401)];
    for (request, expected) in requests.into_iter().zip(expected) {
        let response = client.check(request).await.unwrap();
        assert_eq!(verdict(response.get_ref()), expected.map(str::to_owned));
    }
    terminate(server).await;

    let spans = collector.spans();
    let said = format!("{spans:?}");
    assert!(!said.contains("s3cret") && !said.contains("alice"), "{said}");
    let version = env!("CARGO_PKG_VERSION");
    for span in &spans {
        assert_eq!(span.service(), "countersign");
        assert_eq!(span.resource["service.version"], version);
        assert!(!span.resource["service.instance.id"].is_empty());
    }
    let attributes = |more: &[(&str, &str)]| -> BTreeMap<String, String> {
        let of_all = [
            ("rpc.system.name", "grpc"),
            ("rpc.method", "envoy.service.auth.v3.Authorization/Check"),
            ("rpc.response.status_code", "OK"),
        ];
        of_all.iter().chain(more).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    };
    let span = |trace: &str, parent: &str, more: &[(&str, &str)]| {
        (trace.to_owned(), parent.to_owned(), attributes(more), 0)
    };
    let denied = |why| [("countersign.decision", "denied"), ("countersign.rejections", why)];
    let x = "x".repeat(256);
    let expected = [
        span(
            "given",
            "53995c3f42cd8ad8",
            &[
                ("countersign.decision", "allowed"),
                ("countersign.authenticator", "tokenfile"),
                ("countersign.request_id", "r-1"),
            ],
        ),
        span("given", "00f067aa0ba902b7", &denied("bearer: invalid_bearer_token")),
        span("new", "", &[&denied("chain: no_credentials")[..], &[("countersign.request_id", &x)]].concat()),
        span("new", "", &denied("chain: malformed_request")),
    ];
    assert_eq!(spans.iter().map(told).collect::<Vec<_>>(), expected);
}

/// "If unset, sampler respects its parent span's sampling rate, but otherwise never samples."
#[tokio::test(flavor = "multi_thread")]
async fn at_a_rate_of_none_only_what_the_caller_records_is_recorded() {
    let collector = Collector::up();
    let folder = world(&collector, 0);
    let server = Server::start(folder.path(), &FLAGS);
    let mut client = server.client().await;
    for (parent, _) in [("nonsense".to_owned(), 0), (traceparent("53995c3f42cd8ad8", "00"), 0)] {
        client.check(called(get("/", &[]), &parent)).await.unwrap();
        client.check(get("/", &[("traceparent", parent.as_bytes())])).await.unwrap();
    }
    client.check(get("/", &[])).await.unwrap();
    client.check(called(get("/", &[]), &traceparent("53995c3f42cd8ad8", "01"))).await.unwrap();
    terminate(server).await;
    let parents: Vec<String> = collector.spans().iter().map(|c| hex(&c.span.parent_span_id)).collect();
    assert_eq!(parents, ["53995c3f42cd8ad8"]);
}

/// The numbers behind `countersign_trace_spans_total`: exported, failed, lost.
async fn counted(server: &Server) -> [u64; 3] {
    let page = server.admin_page("/metrics").await.1;
    ["exported", "failed", "lost"].map(|result| {
        let name = format!("countersign_trace_spans_total{{result=\"{result}\"}} ");
        page.lines().find_map(|line| line.strip_prefix(&*name)).unwrap().parse().unwrap()
    })
}

#[tokio::test(flavor = "multi_thread")] // `wait_for` blocks
async fn a_collector_that_is_away_is_told_of_once_and_used_when_it_is_there() {
    let mut collector = Collector::down();
    let folder = world(&collector, 1_000_000);
    let mut server = Server::start(folder.path(), &FLAGS);
    let mut client = server.client().await;
    let good = ("authorization", &b"Bearer s3cret"[..]);
    for failed in [1, 2] {
        let response = client.check(get("/", &[good])).await.unwrap();
        assert_eq!(verdict(response.get_ref()), Ok("alice".to_owned()));
        until("the span has failed", async || counted(&server).await == [0, failed, 0]).await;
    }
    collector.come_up();
    client.check(get("/", &[good])).await.unwrap();
    server.wait_for("the collector takes spans again");
    assert_eq!(counted(&server).await, [1, 2, 0]);
    assert_eq!(collector.spans().len(), 1);
    let log = server.logged();
    assert_eq!(log.matches("the collector takes no spans").count(), 1, "{log}");
    terminate(server).await;
}

/// As many as the queue holds, twice over, to a collector that takes them and says nothing: Checks do not notice, nor does the end take longer.
#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_slow_holds_up_nothing_and_what_is_lost_is_counted() {
    const CHECKS: u64 = 6_000;
    let collector = Collector::up();
    collector.wedge();
    let folder = world(&collector, 1_000_000);
    let flags = [&FLAGS[..], &["--shutdown-timeout=1s", "--log-level=warn,countersign=info"]].concat();
    let mut server = Server::start(folder.path(), &flags);
    let client = server.client().await;
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(async move {
                for _ in 0..CHECKS / 20 {
                    let request = get("/", &[("authorization", b"Bearer s3cret")]);
                    let response = client.check(request).await.unwrap();
                    assert_eq!(verdict(response.get_ref()), Ok("alice".to_owned()));
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    let [exported, failed, lost] = counted(&server).await;
    assert_eq!(exported, 0);
    // What waits: the queue, and what is being sent; a first batch may have had its time.
    assert!(lost >= CHECKS - failed - 2048 - 2 * 512, "{failed} failed, {lost} lost");
    let told = Instant::now();
    drop(client);
    server.signal("TERM");
    server.wait_for("the last spans were not sent");
    assert!(server.ended().await.success());
    // Each of the four batches that wait would take the 10 s of its export.
    assert!(told.elapsed() < Duration::from_secs(10), "the end took {:?}", told.elapsed());
}

/// Go: `WrapperFor` of k8s.io/component-base/tracing: what a webhook is asked is a child, and the webhook is told so.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_review_is_a_child_of_the_check_and_carries_the_trace_on() {
    let collector = Collector::up();
    let folder = world(&collector, 0);
    let mut webhook = Webhook::down();
    webhook.configure(folder.path());
    webhook.come_up();
    let flags = [
        &FLAGS[1..],
        &[
            "--authentication-token-webhook-config-file=kubeconfig",
            "--authentication-token-webhook-version=v1",
        ],
    ]
    .concat();
    let server = Server::start(folder.path(), &flags);
    let mut client = server.client().await;
    let ask = || get("/", &[("authorization", b"Bearer good-s3cr3t")]);
    let sampled = traceparent("53995c3f42cd8ad8", "01");
    for request in [called(ask(), &sampled), called(ask(), &sampled)] {
        let response = client.check(request).await.unwrap();
        assert_eq!(verdict(response.get_ref()), Ok("alice".to_owned()));
    }
    terminate(server).await;
    let mut spans = collector.spans();
    spans.sort_by_key(|c| c.span.start_time_unix_nano);
    let [check, review, remembered] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(check.attributes["countersign.authenticator"], "webhook");
    assert_eq!((&*review.span.name, review.span.kind()), ("TokenReview", SpanKind::Client));
    assert_eq!(review.span.parent_span_id, check.span.span_id);
    assert_eq!(remembered.span.parent_span_id, check.span.parent_span_id, "nobody was asked for the second");
    let expected = format!("traceparent: 00-{TRACE}-{}-01", hex(&review.span.span_id));
    let heads = webhook.heads();
    assert_eq!(heads.len(), 1);
    assert!(heads[0].lines().any(|line| line == expected), "{heads:?}");
}

/// Go: `WrapperFor` again, of the authorizer's client: each review that one Check asks for carries the trace on, and none without a trace.
#[tokio::test(flavor = "multi_thread")]
async fn subject_access_reviews_are_a_child_of_the_check_and_carry_the_trace_on() {
    let collector = Collector::up();
    let folder = world(&collector, 0);
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "spec": {}, "status": {"allowed": true}});
    let api = ApiServer::start(201, &review.to_string());
    fs::write(folder.path().join("kubeconfig"), api.kubeconfig("hunter2")).unwrap();
    fs::write(folder.path().join("upstream.token"), "hunter3").unwrap();
    let flags = [
        "--identity-headers=impersonate",
        "--impersonate-token-file=upstream.token",
        "--allow-impersonation",
        "--kubeconfig=kubeconfig",
    ];
    let server = Server::start(folder.path(), &[&FLAGS[..], &flags].concat());
    let mut client = server.client().await;
    let good = ("authorization", &b"Bearer s3cret"[..]);
    let ask = || get("/", &[good, ("impersonate-user", b"bob"), ("impersonate-group", b"dev")]);
    let [sampled, unsampled] = ["01", "00"].map(|flags| traceparent("53995c3f42cd8ad8", flags));
    for request in [called(ask(), &unsampled), Request::new(ask()), called(ask(), &sampled)] {
        assert_eq!(api.traceparents(), [""; 0]);
        let response = client.check(request).await.unwrap();
        assert_eq!(response.get_ref().status.as_ref().map(|status| status.code), Some(0), "{response:?}");
    }
    terminate(server).await;
    let mut spans = collector.spans();
    spans.sort_by_key(|c| c.span.start_time_unix_nano);
    let [check, reviews] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!((&*reviews.span.name, reviews.span.kind()), ("SubjectAccessReview", SpanKind::Client));
    assert_eq!(reviews.span.parent_span_id, check.span.span_id);
    let expected = format!("00-{TRACE}-{}-01", hex(&reviews.span.span_id));
    assert_eq!(api.traceparents(), [&*expected, &*expected], "one for the user, one for the group");
}

/// Undecided is a failure of a dependency, which a span says; that a credential is refused is none.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_nobody_could_decide_is_marked_as_failed() {
    let collector = Collector::up();
    let folder = world(&collector, 1_000_000);
    let webhook = Webhook::down();
    webhook.configure(folder.path());
    let flags = [&FLAGS[1..], &["--authentication-token-webhook-config-file=kubeconfig"]].concat();
    let server = Server::start(folder.path(), &flags);
    let mut client = server.client().await;
    let ask = client.check(get("/", &[("authorization", b"Bearer good-s3cr3t")]));
    let response = tokio::time::timeout(PATIENCE, ask).await.unwrap().unwrap();
    assert_eq!(verdict(response.get_ref()), Err(401));
    terminate(server).await;
    let spans = collector.spans();
    let check = spans.iter().find(|c| c.span.kind() == SpanKind::Server).unwrap();
    let status = check.span.status.clone().unwrap();
    assert_eq!((status.code(), &*status.message), (StatusCode::Error, "dependency"));
    assert_eq!(check.attributes["countersign.rejections"], "webhook: token_review_unavailable");
}
