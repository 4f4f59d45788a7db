//! Small requests, and replies in short.

use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Request};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest, CheckResponse};

use crate::support::program::Server;

/// `GET path` with these headers, raw.
pub(crate) fn get(path: &str, headers: &[(&str, &[u8])]) -> CheckRequest {
    let header = |(key, value): &(&str, &[u8])| HeaderValue {
        key: (*key).to_owned(),
        raw_value: value.to_vec(),
        ..Default::default()
    };
    let headers = headers.iter().map(header).collect();
    let http = HttpRequest {
        method: "GET".to_owned(),
        path: path.to_owned(),
        host: "api.example.test".to_owned(),
        header_map: Some(HeaderMap { headers }),
        ..Default::default()
    };
    with_http(Some(http))
}

/// A request with these HTTP attributes.
pub(crate) fn with_http(http: Option<HttpRequest>) -> CheckRequest {
    let request = Some(Request { http, ..Default::default() });
    CheckRequest { attributes: Some(AttributeContext { request, ..Default::default() }) }
}

/// A verdict in short: the user's name, or the HTTP status of the denial. Whatever is neither panics.
pub(crate) fn verdict(response: &CheckResponse) -> Result<String, i32> {
    let code = response.status.as_ref().expect("a reply has a status").code;
    match (code, &response.http_response) {
        (0, Some(HttpResponse::OkResponse(ok))) => {
            let headers = ok.headers.iter().filter_map(|h| h.header.as_ref());
            let user = headers.filter(|h| h.key == "x-remote-user").map(|h| h.value.clone());
            let [user] = <[String; 1]>::try_from(user.collect::<Vec<_>>()).expect("exactly one user");
            Ok(user)
        }
        (1.., Some(HttpResponse::DeniedResponse(denied))) => {
            Err(denied.status.as_ref().map_or(0, |s| s.code))
        }
        _ => panic!("neither an OK nor a denial: {response:?}"),
    }
}

/// The program's verdict on a bearer token, in short.
pub(crate) async fn ask(server: &Server, token: &str) -> Result<String, i32> {
    let authorization = format!("Bearer {token}");
    let request = get("/", &[("authorization", authorization.as_bytes())]);
    verdict(server.client().await.check(request).await.unwrap().get_ref())
}
