//! Why is a request denied? `countersign.v1.Explain` (proto/countersign/v1/explain.proto).
//!
//! ```text
//!   CheckRequest ──▶ Snapshot::decide ──▶ reply ────────────▶ ExplainResponse
//!                        │ tells                                  ▲
//!                        └────────▶ Recorder ── what was said ────┘
//! ```
//!
//! It is the decision of a Check, by the same code, and watched: [`Recorder`] is the [`Observer`](crate::authn::Observer). So what is
//! explained cannot be anything but what happens. As after a Check, the token cache and the memory of certificates remember what was found
//! out, and those parts count what they did; but the question is not counted as a Check, and not told in the audit log. The log says
//! that somebody has asked, and what came of it.
//!
//! No token, password, certificate or key is in an explanation. [`Recorder`] looks at a token once, and keeps of it what it says about
//! itself.

mod client;
mod json;
mod recorder;
mod response;
mod service;
mod unverified;
mod words;

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use bytes::Bytes;
use futures_util::FutureExt;

use crate::authn::Now;
use crate::envoy::Snapshot;
use crate::envoy::decode::Incoming;

pub use client::{AskError, ask};
pub use json::{JsonError, check_request_of_json, json_of};
pub use recorder::Recorder;
pub use service::{ExplainService, RawExplainRequest, SERVICE_NAME, routes};

/// The messages of `proto/countersign/v1/explain.proto`, and the service over them.
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::restriction,
    reason = "generated"
)]
#[allow(clippy::or_fun_call, clippy::use_self, clippy::as_conversions, reason = "generated")]
pub mod v1 {
    include!(concat!(env!("OUT_DIR"), "/explain/countersign.v1.rs"));

    /// Server trait, tower service and client. The request is bytes, see [`RawExplainRequest`](super::RawExplainRequest).
    pub mod grpc {
        include!(concat!(env!("OUT_DIR"), "/countersign.v1.Explain.rs"));
    }
}

/// `explain.proto`, without what it imports, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/explain_descriptors.bin"));

/// Decides about a CheckRequest as it came, at `now`, and says how. A panic is a denial here too.
pub async fn explain(snapshot: &Snapshot, check_request: Bytes, now: Now) -> v1::ExplainResponse {
    let incoming = Incoming::decode(Some(check_request));
    let recorder = Recorder::default();
    let since = Instant::now();
    let decided = AssertUnwindSafe(snapshot.decide(&incoming, now, recorder.clone())).catch_unwind().await;
    let decided = decided.unwrap_or_else(|_panic| snapshot.panicked());
    response::response(&decided, recorder.take(), since.elapsed())
}
