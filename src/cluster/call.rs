//! A single call to the API server, whose answer is read here.

use std::sync::Mutex;
use std::time::Duration;

use http::StatusCode;
use http_body_util::{BodyExt, Limited};
use kube::client::Body;
use serde::de::DeserializeOwned;
use thiserror::Error;
use tokio::time::Instant;

use super::{Cluster, error, lock};
use crate::trace;

/// An answer is not longer, in bytes. etcd takes objects of 1.5 MiB, which base64 and JSON blow up.
pub(super) const MAX_ANSWER: usize = 4 << 20;

/// Failures are told of this often. They come as often as requests do.
const TELLING: Duration = Duration::from_secs(10);

/// Why there is no answer, without a word of what was sent or received.
#[derive(Debug, Error)]
pub(super) enum CallError {
    /// Another status than that of an answer.
    #[error("{0}")]
    Status(StatusCode),
    /// The call failed, or the answer is none.
    #[error("{0}")]
    Failed(String),
}

impl Cluster {
    /// Sends a request and reads the answer, which has this status. `kube` itself would write an answer that it cannot read into the
    /// log, and that may be a Secret.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        mut request: http::Request<Vec<u8>>,
        good: StatusCode,
    ) -> Result<T, CallError> {
        let failed = |problem: &str| CallError::Failed(problem.to_owned());
        let client = self.client().map_err(|error| failed(&error::of_client(&error)))?;
        trace::write(request.headers_mut());
        let response = client.send(request.map(Body::from)).await;
        let response = response.map_err(|error| failed(&error::of_client(&error)))?;
        if response.status() != good {
            return Err(CallError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body.map_err(|_| failed("an answer that is too long, or ends early"))?.to_bytes();
        serde_json::from_slice(&body).map_err(|_| failed(error::UNREADABLE))
    }
}

/// When somebody was last told of a failure.
#[derive(Default)]
pub(super) struct Telling(Mutex<Option<Instant>>);

impl Telling {
    /// Whether it is time to tell of one; if so, it counts as told.
    pub(super) fn is_time(&self) -> bool {
        let mut told = lock(&self.0);
        let is_time = told.is_none_or(|at| at.elapsed() >= TELLING);
        if is_time {
            *told = Some(Instant::now());
        }
        is_time
    }
}
