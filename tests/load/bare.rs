//! The server that we are measured against: tonic and envoy-types as anybody would use them, and no authentication at all.

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::authorization_server::{Authorization, AuthorizationServer};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse, OkHttpResponse};
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{ListValue, Struct, Value};
use envoy_types::pb::google::rpc;
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

struct Bare {
    /// It says the same as dynamic metadata too.
    metadata: bool,
}

#[tonic::async_trait]
impl Authorization for Bare {
    /// Four headers, made anew for each call, as an authorization server's are.
    async fn check(&self, _request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let header = |(key, value): (&str, &str)| HeaderValueOption {
            header: Some(HeaderValue { key: key.to_owned(), value: value.to_owned(), raw_value: Vec::new() }),
            ..HeaderValueOption::default()
        };
        let headers = [
            ("x-remote-user", "alice"),
            ("x-remote-uid", "1"),
            ("x-remote-group", "dev,ops,system:authenticated"),
            ("x-remote-extra-scopes", "read"),
        ];
        let ok = OkHttpResponse { headers: headers.map(header).into(), ..OkHttpResponse::default() };
        Ok(Response::new(CheckResponse {
            status: Some(rpc::Status::default()),
            http_response: Some(HttpResponse::OkResponse(ok)),
            dynamic_metadata: self.metadata.then(metadata),
        }))
    }
}

/// Of the shape that countersign has for it.
fn metadata() -> Struct {
    let value = |kind| Value { kind: Some(kind) };
    let text = |text: &str| value(Kind::StringValue(text.to_owned()));
    let list = |texts: &[&str]| {
        value(Kind::ListValue(ListValue { values: texts.iter().copied().map(text).collect() }))
    };
    let fields = |fields: Vec<(&str, Value)>| Struct {
        fields: fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
    };
    let extra = fields(vec![("scopes", list(&["read"]))]);
    let user_info = fields(vec![
        ("username", text("alice")),
        ("uid", text("1")),
        ("groups", list(&["dev", "ops", "system:authenticated"])),
        ("extra", value(Kind::StructValue(extra))),
    ]);
    fields(vec![("countersign", value(Kind::StructValue(user_info)))])
}

/// Serves until it is killed, and says where in the way that countersign does.
pub(crate) fn serve(metadata: bool) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        eprintln_json(&address);
        Server::builder()
            .max_concurrent_streams(1024)
            .http2_keepalive_interval(Some(Duration::from_secs(30)))
            .add_service(AuthorizationServer::new(Bare { metadata }))
            .serve_with_incoming(TcpIncoming::from(listener).with_nodelay(Some(true)))
            .await
            .unwrap();
    });
}

#[allow(clippy::print_stderr, reason = "where countersign logs")]
fn eprintln_json(address: &str) {
    eprintln!("{}", serde_json::json!({"fields": {"message": "serving", "address": address}}));
}
