use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};

use super::*;

/// As `version/trace/span/flags/state`, or nothing.
fn read(traceparent: &[&str], tracestate: &[&str]) -> Option<String> {
    let bytes = |lines: &[&'static str]| lines.iter().map(|line| line.as_bytes()).collect::<Vec<_>>();
    let leak = |lines: &[&str]| -> Vec<&'static str> {
        lines.iter().map(|line| &*Box::leak((*line).to_owned().into_boxed_str())).collect()
    };
    let (traceparent, tracestate) = (bytes(&leak(traceparent)), bytes(&leak(tracestate)));
    let context = parent(traceparent.into_iter(), tracestate.into_iter())?;
    assert!(context.is_remote());
    let sampled = if context.is_sampled() { "sampled" } else { "not" };
    Some(format!("{} {} {sampled} {}", context.trace_id(), context.span_id(), context.trace_state().header()))
}

const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Go: TestExtractValidTraceContext of go.opentelemetry.io/otel/propagation/trace_context_test.go, and W3C Trace Context, section 3.2.
#[test]
fn a_traceparent_is_read_as_the_recommendation_has_it() {
    let ids = "4bf92f3577b34da6a3ce929d0e0e4736 00f067aa0ba902b7";
    let table = [
        (GOOD.to_owned(), "sampled"),
        (format!("  {GOOD}\t"), "sampled"),
        (GOOD.replace("-01", "-00"), "not"),
        (GOOD.replace("-01", "-ff"), "sampled"),
        (GOOD.replace("-01", "-08"), "not"),
        (GOOD.replacen("00-", "cc-", 1), "sampled"),
        (GOOD.replacen("00-", "02-", 1) + "-what-the-future-will-be-like", "sampled"),
        (GOOD.replacen("00-", "02-", 1) + "-", "sampled"),
    ];
    for (header, sampled) in table {
        assert_eq!(read(&[&header], &[]), Some(format!("{ids} {sampled} ")), "{header:?}");
    }
}

/// Go: TestExtractInvalidTraceContextFromHTTPReq, and the W3C's validation suite (test_traceparent_*).
#[test]
fn a_malformed_traceparent_is_as_if_there_were_none() {
    let table = [
        "",
        "00",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.",
        "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.x",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-+1",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-001",
        "0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e47361-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e473.-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b\u{e4}-01",
        "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01,00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    ];
    for header in table {
        assert_eq!(read(&[header], &["a=b"]), None, "{header:?}");
    }
    assert_eq!(read(&[GOOD, GOOD], &[]), None, "nobody can tell which of two is meant");
    assert_eq!(read(&[], &["a=b"]), None);
}

#[test]
fn a_malformed_or_endless_tracestate_is_dropped_and_the_parent_counts() {
    let state = |lines: &[&str]| read(&[GOOD], lines).map(|all| all.rsplit(' ').next().unwrap().to_owned());
    assert_eq!(state(&["foo=1,bar=2"]).as_deref(), Some("foo=1,bar=2"));
    assert_eq!(state(&["foo=1", "bar=2"]).as_deref(), Some("foo=1,bar=2"));
    assert_eq!(state(&["FOO"]).as_deref(), Some(""));
    assert_eq!(state(&[&format!("foo={}", "x".repeat(600))]).as_deref(), Some(""));
}

/// Keeps what has ended.
#[derive(Debug, Clone, Default)]
struct Ended(Arc<Mutex<Vec<SpanData>>>);

impl SpanProcessor for Ended {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.0.lock().unwrap().push(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _timeout: Duration) -> OTelSdkResult {
        Ok(())
    }
}

fn tracer(sampling_rate_per_million: u32) -> (Tracer, Ended) {
    let config = TraceConfig { endpoint: String::new(), sampling_rate_per_million };
    let ended = Ended::default();
    let provider = SdkTracerProvider::builder().with_sampler(config.sampler());
    (Tracer::new(&provider.with_span_processor(ended.clone()).build()), ended)
}

/// "If unset, sampler respects its parent span's sampling rate, but otherwise never samples."
#[test]
fn the_caller_decides_what_is_recorded_and_a_rate_where_it_has_not() {
    let of = |header: &str| parent([header.as_bytes()].into_iter(), std::iter::empty());
    let unsampled = GOOD.replace("-01", "-00");
    for (rate, alone) in [(0, false), (1_000_000, true)] {
        let (tracer, _ended) = tracer(rate);
        assert_eq!(tracer.begin("x", None).is_some(), alone, "{rate}");
        assert!(tracer.begin("x", of(GOOD)).is_some(), "{rate}");
        assert!(tracer.begin("x", of(&unsampled)).is_none(), "{rate}");
    }
    let (tracer, _ended) = tracer(500_000);
    let recorded = (0..1000).filter(|_| tracer.begin("x", None).is_some()).count();
    assert!((350..650).contains(&recorded), "{recorded} of 1000, at a rate of a half");
}

#[tokio::test]
#[expect(clippy::async_yields_async, reason = "the question outlives what it was asked for")]
async fn what_is_asked_while_a_span_is_worked_for_is_a_child_of_it_and_says_so() {
    let (tracer, ended) = tracer(0);
    let mut headers = HeaderMap::new();
    write(&mut headers);
    assert_eq!(headers, HeaderMap::new(), "outside of a span nothing is said");

    let by = parent([GOOD.as_bytes()].into_iter(), [&b"foo=1"[..]].into_iter());
    let check = tracer.begin("check", by).unwrap();
    // Whoever asked goes away; the question goes on in a task of its own, and is a child all the same.
    let question = check
        .around(async {
            let question = inherited(async {
                asking("question", async {
                    let mut headers = HeaderMap::new();
                    write(&mut headers);
                    headers
                })
                .await
            });
            set([KeyValue::new("said", "something")]);
            question
        })
        .await;
    assert_eq!(ended.0.lock().unwrap().len(), 1, "it has ended although a question is left");
    let headers = tokio::spawn(question).await.unwrap();

    let spans = ended.0.lock().unwrap().clone();
    let [check, question] = &spans[..] else { panic!("{spans:?}") };
    assert_eq!(check.parent_span_id.to_string(), "00f067aa0ba902b7");
    assert_eq!(check.span_context.trace_id().to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(check.attributes, [KeyValue::new("said", "something")]);
    assert_eq!(question.parent_span_id, check.span_context.span_id());
    let expected = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", question.span_context.span_id());
    assert_eq!(headers["traceparent"], expected);
    assert_eq!(headers["tracestate"], "foo=1");
    assert_eq!(headers.len(), 2);
}
