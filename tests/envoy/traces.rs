//! Envoy's spans and countersign's at one collector.

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use crate::collector::{Collected, Collector, hex};
use crate::support::{Setup, eventually};

const ALICE: &str = "authorization: Bearer alice-token";
const CLIENTS: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// The span that another is a child of.
fn parent<'a>(spans: &'a [Collected], child: &Collected) -> Option<&'a Collected> {
    let ids = |c: &Collected| (c.span.trace_id.clone(), c.span.span_id.clone());
    spans.iter().find(|c| ids(c) == (child.span.trace_id.clone(), child.span.parent_span_id.clone()))
}

/// W3C Trace Context through Envoy: client, Envoy's span of the request, Envoy's span of the Check, countersign.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_one_trace_from_the_client_through_envoy_to_countersign() {
    let collector = Collector::up();
    let stack = Setup::new()
        .file("tracing.yaml", &collector.configuration(0))
        .flags(&["--tracing-config-file=tracing.yaml"])
        // Envoy sends a span but once, and what it cannot send in its 0.25 s is lost.
        .config(|config| config.with_traces(collector.port).with("timeout: 0.25s }", "timeout: 20s }"))
        .start()
        .await;
    let edge = &stack.envoy.edge;
    let sampled = format!("traceparent: 00-{CLIENTS}-00f067aa0ba902b7-01");
    let unsampled = format!("traceparent: 00-{CLIENTS}-00f067aa0ba902b8-00");
    // Envoy sends five spans at once, or waits for 5 s.
    for (lines, status) in [
        ([ALICE, &unsampled], 200),
        // Envoy 1.40 traces no request with a malformed one.
        ([ALICE, "traceparent: nonsense"], 200),
        ([ALICE, &sampled], 200),
        (["authorization: Bearer stranger", "x-other: 1"], 401),
    ] {
        assert_eq!(edge.http1(&lines).await.status, status, "{lines:?}");
    }
    let spans = eventually("two Checks and Envoy's spans of them", async || {
        let spans = collector.spans();
        let ours = spans.iter().filter(|c| c.service() == "countersign");
        let whole = ours.filter(|c| parent(&spans, c).and_then(|check| parent(&spans, check)).is_some());
        (whole.count() == 2).then_some(spans)
    })
    .await;
    let said = format!("{spans:?}");
    assert!(!said.contains("alice-token") && !said.contains("stranger"), "{said}");

    let mut ours: Vec<&Collected> = spans.iter().filter(|c| c.service() == "countersign").collect();
    ours.sort_by_key(|c| c.span.start_time_unix_nano);
    let told: Vec<_> = ours
        .iter()
        .map(|own| {
            let check = parent(&spans, own).unwrap();
            let request = parent(&spans, check).unwrap();
            assert_eq!([check, request].map(Collected::service), ["envoy"; 2]);
            assert_eq!([check, request].map(|c| c.span.kind()), [SpanKind::Client, SpanKind::Server]);
            assert_eq!(own.attributes["countersign.request_id"], request.attributes["guid:x-request-id"]);
            let trace = hex(&own.span.trace_id);
            let decision = own.attributes["countersign.decision"].as_str();
            (trace == CLIENTS, hex(&request.span.parent_span_id), decision, check.span.name.as_str())
        })
        .collect();
    let name = "async envoy.service.auth.v3.Authorization.Check egress";
    assert_eq!(
        told,
        [(true, "00f067aa0ba902b7".to_owned(), "allowed", name), (false, String::new(), "denied", name),]
    );
}
