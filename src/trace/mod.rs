//! Spans of OpenTelemetry: which calls have one, whose child it is, and what is a child of it. Where they go is for [`crate::telemetry`].
//!
//! ```text
//!   Envoy's span ── traceparent ──▶ Check ── in the context of its future ──▶ whatever waits for the network ── traceparent ──▶ webhook
//! ```
//!
//! A context travels with the future that is polled, so a call that has no span has no context either, and nothing to pay. Nothing here
//! is global: two servers in one process trace each by themselves.

mod parent;
#[cfg(test)]
mod tests;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::context::{FutureExt, WithContext};
use opentelemetry::propagation::{Injector, TextMapPropagator};
use opentelemetry::trace::{
    SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, Tracer as _, TracerProvider,
};
use opentelemetry::{Context, InstrumentationScope, KeyValue};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider};

pub use parent::parent;

/// Where spans go, and how many. Go: `TracingConfiguration` of k8s.io/component-base/tracing/api/v1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceConfig {
    /// The collector: `http://host:port` or `unix:///path`, for OTLP over gRPC in plaintext.
    pub endpoint: String,
    /// Of a million calls whose caller has not decided, so many are recorded.
    pub sampling_rate_per_million: u32,
}

impl TraceConfig {
    /// Which calls are recorded: what the caller says, or a part of the others. Go: `NewProvider` of
    /// k8s.io/component-base/tracing/utils.go.
    pub fn sampler(&self) -> Sampler {
        let root = match self.sampling_rate_per_million {
            0 => Sampler::AlwaysOff,
            rate => Sampler::TraceIdRatioBased(f64::from(rate) / 1e6),
        };
        Sampler::ParentBased(Box::new(root))
    }
}

/// Begins spans.
#[derive(Debug, Clone)]
pub struct Tracer(SdkTracer);

impl Tracer {
    /// One whose spans are those of `provider`.
    pub fn new(provider: &SdkTracerProvider) -> Self {
        let scope = InstrumentationScope::builder("countersign").with_version(env!("CARGO_PKG_VERSION"));
        Self(provider.tracer_with_scope(scope.build()))
    }

    /// Begins the span of a call that was made to us, by `parent` if that is known. None if it is not to be recorded.
    pub fn begin(&self, name: &'static str, parent: Option<SpanContext>) -> Option<Trace> {
        let root = Context::new();
        let root = parent.map_or_else(|| root.clone(), |parent| root.with_remote_span_context(parent));
        let span = SpanBuilder::from_name(name).with_kind(SpanKind::Server);
        let context = root.with_span(self.0.build_with_context(span, &root));
        context.span().is_recording().then(|| Trace(context.with_value(self.clone())))
    }
}

/// A span that ends with the value, even if somebody else goes on working for it.
#[derive(Debug)]
pub struct Trace(Context);

impl Trace {
    /// Says something about it.
    pub fn set(&self, attributes: impl IntoIterator<Item = KeyValue>) {
        self.0.span().set_attributes(attributes);
    }

    /// The future as that which the span is about.
    pub async fn around<F: Future>(self, future: F) -> F::Output {
        future.with_context(self.0.clone()).await
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        self.0.span().end();
    }
}

/// Whether there is a span that is being worked for.
pub fn is_recording() -> bool {
    Context::map_current(|current| current.span().is_recording())
}

/// Says something about the span that is being worked for, if there is one.
pub fn set(attributes: impl IntoIterator<Item = KeyValue>) {
    Context::map_current(|current| current.span().set_attributes(attributes));
}

/// Says that it has failed, in our own words.
pub fn failed(why: String) {
    Context::map_current(|current| current.span().set_status(Status::error(why)));
}

/// The future as a child of the span that is being worked for, if there is one: something that is asked of another server.
pub fn asking<F: Future>(name: &'static str, future: F) -> WithContext<F> {
    let child = Context::map_current(|current| match current.get::<Tracer>() {
        None => current.clone(),
        Some(tracer) => {
            let span = SpanBuilder::from_name(name).with_kind(SpanKind::Client);
            current.with_span(tracer.0.build_with_context(span, current))
        }
    });
    future.with_context(child)
}

/// The future, for whoever polls it, as a part of what is being worked for now.
pub fn inherited<F: Future>(future: F) -> WithContext<F> {
    future.with_current_context()
}

/// Tells a server which span asks it, if there is one. Go: `WrapperFor` of k8s.io/component-base/tracing.
pub fn write(headers: &mut HeaderMap) {
    Context::map_current(|current| {
        TraceContextPropagator::new().inject_context(current, &mut Headers(headers));
    });
}

struct Headers<'a>(&'a mut HeaderMap);

impl Injector for Headers<'_> {
    /// An empty `tracestate` is none.
    fn set(&mut self, name: &str, value: String) {
        let name = HeaderName::from_bytes(name.as_bytes());
        let value = HeaderValue::try_from(value).ok().filter(|value| !value.is_empty());
        if let (Ok(name), Some(value)) = (name, value) {
            self.0.insert(name, value);
        }
    }
}
