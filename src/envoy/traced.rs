//! The span of a Check, named and described as OpenTelemetry does it for gRPC (semantic conventions for RPC, 1.40). It says what was decided
//! and why, in our own words, and by which id to find the request. As in kube-apiserver's spans there is no user in it; nor is there a path,
//! which Envoy's own span has.

use http::HeaderMap;
use opentelemetry::{Array, KeyValue, StringValue, Value};

use super::METHOD;
use super::decode::Incoming;
use crate::decision::{Decision, Denial, Fault};
use crate::request::Request;
use crate::trace::{self, Trace, Tracer};

/// As much of a request's id as a span holds, in bytes.
const MAX_ID: usize = 256;

/// Begins the span of a Check if it is to be recorded: a child of Envoy's span of the call, as the metadata of the call has it; else of that
/// which the request itself comes with.
///
/// kube-apiserver follows privileged users only (`notSystemPrivilegedGroup` of endpoints/filters/traces.go), since anybody calls it. Here
/// Envoy calls, and says what it records. Where it traces nothing the request's own header is the client's, who can so have spans recorded:
/// no more than the queue takes.
pub(super) fn begin(tracer: &Tracer, metadata: &HeaderMap, incoming: &Incoming) -> Option<Trace> {
    let all = |name: &'static str| metadata.get_all(name).iter().map(|value| value.as_bytes());
    let request = incoming.request();
    let parent = trace::parent(all("traceparent"), all("tracestate")).or_else(|| {
        let headers = request.as_ref()?.headers;
        trace::parent(headers.get_all(b"traceparent"), headers.get_all(b"tracestate"))
    });
    let span = tracer.begin(METHOD, parent)?;
    span.set([KeyValue::new("rpc.system.name", "grpc"), KeyValue::new("rpc.method", METHOD)]);
    let id = request.as_ref().and_then(Request::id);
    let id = id.unwrap_or_else(|| incoming.stream_id());
    if !id.is_empty() {
        let id = String::from_utf8_lossy(&id[..id.len().min(MAX_ID)]).into_owned();
        span.set([KeyValue::new("countersign.request_id", id)]);
    }
    Some(span)
}

/// Tells the span of the Check that is being answered, if it has one, what was decided.
pub(super) fn decided(decision: &Decision) {
    if !trace::is_recording() {
        return;
    }
    trace::set([KeyValue::new("rpc.response.status_code", "OK")]);
    match decision {
        Decision::Allow(authenticated) => trace::set([
            KeyValue::new("countersign.decision", "allowed"),
            KeyValue::new("countersign.authenticator", authenticated.by.label()),
        ]),
        Decision::Deny(denial) => {
            let rejections = Value::Array(Array::String(rejections(denial)));
            trace::set([
                KeyValue::new("countersign.decision", "denied"),
                KeyValue::new("countersign.rejections", rejections),
            ]);
            // Not a failure of ours: that a bad credential is refused.
            if denial.fault() != Fault::Client {
                trace::failed(denial.fault().label().to_owned());
            }
        }
    }
}

/// As in the log: `bearer: invalid_bearer_token`.
fn rejections(denial: &Denial) -> Vec<StringValue> {
    denial.rejections.iter().map(|rejection| rejection.to_string().into()).collect()
}
