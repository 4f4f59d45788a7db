//! Pages for whoever looks for a fault: the configuration that serves, and a louder log. Only where nobody but this host can ask for them, for
//! who shows a certificate, or where the operator wants that. Go: `configz` of k8s.io/component-base and `DebugFlags` of k8s.io/apiserver/pkg/server/routes/flags.go.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, put};

use serde_json::{Value, json};
use tonic::Status;

use super::profile;
use crate::explain;
use crate::telemetry::LogFilter;

/// Why they are not there.
pub(super) fn refused(profiling: bool) -> Router {
    let refused = async || (StatusCode::FORBIDDEN, REFUSED);
    let refused_call = async || Status::permission_denied(REFUSED.trim_end()).into_http::<Body>();
    let profile = if profiling { Router::new().route(profile::PATH, any(refused)) } else { Router::new() };
    Router::new()
        .route("/configz", any(refused))
        .route("/debug/flags/v", any(refused))
        .route(&format!("/{}/{{method}}", explain::SERVICE_NAME), any(refused_call))
        .merge(profile)
}

/// The pages.
pub(super) fn pages(profiling: bool, status: &Arc<super::Status>, log: LogFilter, explain: Router) -> Router {
    let unsupported = async || (StatusCode::NOT_ACCEPTABLE, "unsupported http method");
    Router::new()
        .route("/configz", get(configz))
        .with_state((Arc::clone(status), log.clone()))
        .merge(Router::new().route("/debug/flags/v", put(verbosity).fallback(unsupported)).with_state(log))
        .merge(explain)
        .merge(if profiling { profile::page() } else { Router::new() })
}

/// By the name of the component, as there, the options and their values. None of them is a secret: those are in files, which are only named here.
/// The log level is the one of now.
async fn configz(State((status, log)): State<(Arc<super::Status>, LogFilter)>) -> impl IntoResponse {
    let mut options = Value::clone(&status.options.load());
    options["log-level"] = log.directives().into();
    let page = json!({"countersign": options}).to_string();
    ([(header::CONTENT_TYPE, "application/json")], page)
}

/// Go: `StringFlagPutHandler`. Where klog has a number, there is a level here, or tracing's filter directives.
async fn verbosity(State(log): State<LogFilter>, body: Body) -> Response {
    let Ok(directives) = to_bytes(body, MAX_DIRECTIVES).await else {
        return (StatusCode::BAD_REQUEST, "error reading request body").into_response();
    };
    let directives = String::from_utf8_lossy(&directives);
    let directives = directives.trim();
    match log.set(directives) {
        Ok(()) => {
            tracing::warn!(level = directives, "the log level was changed");
            format!("successfully set log-level to {directives}").into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, error).into_response(),
    }
}

const REFUSED: &str = "only where --admin-listen is a loopback address, with a certificate of --admin-tls-client-ca-file, or with --enable-debugging-handlers\n";

/// The longest filter, in bytes.
const MAX_DIRECTIVES: usize = 4096;
