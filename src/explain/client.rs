//! Asks a server that runs.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use thiserror::Error;
use tokio::time::timeout;
use tonic::{Code, Request};

use super::service::RawExplainRequest;
use super::v1::ExplainResponse;
use super::v1::grpc::explain_client::ExplainClient;
use crate::https::{Trust, tls_settings};

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum AskError {
    /// Not an address.
    #[error("{0}: not an address such as 127.0.0.1:9002")]
    Address(String),
    /// Nobody is there, or not in time, or somebody else.
    #[error("{0}: {1}; is it the --admin-listen of a countersign?")]
    Unreachable(String, String),
    /// It does not explain.
    #[error("{0}: {1}")]
    Refused(String, String),
}

/// What the server whose admin listener is at `address` (host:port) says about an encoded CheckRequest; over TLS, if there are settings for
/// that, which have to offer h2.
///
/// # Errors
/// It could not be asked.
pub async fn ask(
    address: &str,
    tls: Option<Arc<rustls::ClientConfig>>,
    check_request: Bytes,
) -> Result<ExplainResponse, AskError> {
    let unreachable = |why: String| AskError::Unreachable(address.to_owned(), why);
    let scheme = if tls.is_some() { "https" } else { "http" };
    let tls = tls.map_or_else(|| tls_settings(&Trust::Nobody, None), Ok);
    let tls = tls.map_err(|error| unreachable(error.to_string()))?;
    let origin = address.strip_prefix(&*format!("{scheme}://")).unwrap_or(address).trim_end_matches('/');
    let origin = http::Uri::builder().scheme(scheme).authority(origin).path_and_query("/").build();
    let origin = origin.map_err(|_| AskError::Address(address.to_owned()))?;
    let mut connector = HttpConnector::new();
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.enforce_http(false);
    let connector = HttpsConnector::from((connector, tls));
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build(connector);
    let mut client = ExplainClient::with_origin(client, origin).max_decoding_message_size(MAX_ANSWER);
    let asked = client.explain(Request::new(RawExplainRequest { check_request }));
    match timeout(ANSWER_TIMEOUT, asked).await {
        Err(_elapsed) => Err(unreachable(format!("no answer within {ANSWER_TIMEOUT:?}"))),
        Ok(Ok(response)) => Ok(response.into_inner()),
        Ok(Err(status)) => match status.code() {
            Code::PermissionDenied | Code::ResourceExhausted | Code::DeadlineExceeded | Code::OutOfRange => {
                Err(AskError::Refused(address.to_owned(), status.message().to_owned()))
            }
            _ => Err(unreachable(innermost(&status))),
        },
    }
}

/// What is at the bottom of it: the words in between repeat each other.
fn innermost(status: &tonic::Status) -> String {
    let mut error: &dyn std::error::Error = status;
    while let Some(source) = error.source() {
        error = source;
    }
    match error.downcast_ref::<tonic::Status>() {
        Some(status) if status.message().is_empty() => status.code().description().to_owned(),
        Some(status) => status.message().to_owned(),
        None => error.to_string(),
    }
}

/// A host that does not answer is not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Somewhat longer than a server takes at most.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(70);

/// More than a token's claims and all groups take, in bytes.
const MAX_ANSWER: usize = 16 << 20;
