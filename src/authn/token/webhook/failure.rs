//! What can be wrong with an answer before anybody reads it, and whether to ask again.

use std::time::Duration;

use thiserror::Error;

use super::content_type;
use crate::decision::Reason;
use crate::https::{self, Response};

/// Why there is no review. No text of the webhook's is in here.
#[derive(Debug, Clone, PartialEq, Error)]
pub(super) enum Failure {
    /// No answer.
    #[error("{0}")]
    Https(#[from] https::Error),
    /// All attempts together took too long.
    #[error("timed out: the whole review")]
    Timeout,
    /// An answer with this status.
    #[error("the answer's status is {status}")]
    Status {
        status: u16,
        /// Whether it says when to ask again.
        retry_after: bool,
    },
    /// A `Content-Type` that is none.
    #[error("the answer's content type is malformed")]
    ContentType,
    /// A body that is no TokenReview of the version that was asked for.
    #[error("the answer is no TokenReview of the version that was sent")]
    Malformed,
}

impl Failure {
    /// Whether to ask again. Go: `DefaultShouldRetry` of k8s.io/apiserver/pkg/util/webhook with `NewGenericServerResponse` of
    /// k8s.io/apimachinery/pkg/api/errors, but for a `Status` in the body, of which only the HTTP status is looked at.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Https(error) => error.is_reset(),
            // 503 does not count as an error of the server's own.
            Self::Status { status, retry_after } => {
                *retry_after || *status == 429 || *status >= 500 && *status != 503
            }
            Self::ContentType => true,
            Self::Timeout | Self::Malformed => false,
        }
    }

    pub(super) fn reason(&self) -> Reason {
        match self {
            Self::ContentType | Self::Malformed => Reason::MalformedTokenReview,
            Self::Https(_) | Self::Timeout | Self::Status { .. } => Reason::TokenReviewUnavailable,
        }
    }
}

/// When the webhook wants to be asked again, if it says so. Go: `checkWait` of k8s.io/client-go/rest/with_retry.go.
pub(super) fn retry_after(response: &Response) -> Option<Duration> {
    let seconds = seconds(response).filter(|_| response.status == 429 || response.status >= 500)?;
    Some(Duration::from_secs(seconds.max(0).unsigned_abs()))
}

/// `Retry-After`, if it is a number. Go: `retryAfterSeconds` of k8s.io/client-go/rest/request.go.
fn seconds(response: &Response) -> Option<i64> {
    response.headers.get("retry-after")?.to_str().ok()?.parse().ok()
}

/// Whether the answer has a body worth reading. Go: `Request.transformResponse` of k8s.io/client-go/rest/request.go, to which 200 to 206
/// are good.
pub(super) fn check(response: &Response) -> Result<(), Failure> {
    if !response
        .headers
        .get("content-type")
        .is_none_or(|value| content_type::is_well_formed(value.as_bytes()))
    {
        return Err(Failure::ContentType);
    }
    match response.status {
        200..=206 => Ok(()),
        status => {
            let retry_after = seconds(response).is_some_and(|seconds| seconds > 0);
            Err(Failure::Status { status, retry_after })
        }
    }
}
