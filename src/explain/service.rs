//! The service on the admin listener.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use axum::Router;
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tonic::{Request, Response, Status};

use super::v1::grpc::explain_server::{Explain, ExplainServer};
use super::v1::{ExplainResponse, Verdict};
use crate::authn::Now;
use crate::envoy::Snapshot;

/// The name of the service.
pub const SERVICE_NAME: &str = "countersign.v1.Explain";

/// An `ExplainRequest` on the wire, of which the CheckRequest within stays as it came: it is decoded like that of a Check.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub struct RawExplainRequest {
    /// An encoded CheckRequest.
    #[prost(bytes = "bytes", tag = "1")]
    pub check_request: Bytes,
}

/// Explains with the configuration that serves.
pub struct ExplainService {
    current: Arc<ArcSwap<Snapshot>>,
    room: Semaphore,
}

impl ExplainService {
    /// Explains with whatever `current` holds when a question comes in.
    pub fn new(current: Arc<ArcSwap<Snapshot>>) -> Self {
        Self { current, room: Semaphore::new(MAX_AT_ONCE) }
    }
}

#[tonic::async_trait]
impl Explain for ExplainService {
    async fn explain(
        &self,
        request: Request<RawExplainRequest>,
    ) -> Result<Response<ExplainResponse>, Status> {
        let _room = self
            .room
            .try_acquire()
            .map_err(|_| Status::resource_exhausted(format!("more than {MAX_AT_ONCE} questions at once")))?;
        #[expect(clippy::disallowed_methods, reason = "as for a Check")]
        let now = Now(SystemTime::now());
        let snapshot = self.current.load_full();
        let explained = super::explain(&snapshot, request.into_inner().check_request, now);
        match timeout(MAX_WAIT, explained).await {
            Ok(response) => {
                // Nobody tries passwords here without leaving a trace.
                tracing::info!(allowed = response.verdict() == Verdict::Allowed, "explained");
                Ok(Response::new(response))
            }
            Err(_elapsed) => Err(Status::deadline_exceeded(format!("no decision within {MAX_WAIT:?}"))),
        }
    }
}

/// The service, and reflection for it, for a listener that may explain. A CheckRequest is as large as one of a Check may be.
///
/// # Errors
/// The descriptors that were compiled in do not fit together.
pub fn routes(
    current: Arc<ArcSwap<Snapshot>>,
    max_check_request_bytes: usize,
) -> Result<Router, tonic_reflection::server::Error> {
    let explain = ExplainServer::new(ExplainService::new(current))
        .max_decoding_message_size(max_check_request_bytes.saturating_add(AROUND_CHECK_REQUEST));
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(crate::envoy::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(super::FILE_DESCRIPTOR_SET)
        .with_service_name(SERVICE_NAME);
    let reflection = reflection.build_v1()?;
    // By its path, so that whatever else is asked for goes on to the other pages.
    Ok(Router::new()
        .route_service(&format!("/{SERVICE_NAME}/{{method}}"), explain)
        .route_service("/grpc.reflection.v1.ServerReflection/{method}", reflection))
}

impl fmt::Debug for ExplainService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExplainService(..)")
    }
}

/// Tag and length, in bytes.
const AROUND_CHECK_REQUEST: usize = 16;

/// Questions that are answered at once: people ask them, by hand.
const MAX_AT_ONCE: usize = 8;

/// A decision takes no longer, unless something is wrong: a webhook has 30 s, and it is asked last.
const MAX_WAIT: Duration = Duration::from_secs(60);
