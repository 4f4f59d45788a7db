//! The load: Envoy's pattern of a few HTTP/2 connections with many calls on each, as h2load makes it, but every call may be
//! another one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use envoy_types::pb::envoy::service::auth::v3::CheckResponse;
use h2::client::SendRequest;
use http::{Method, Request, Version};
use prost::Message;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::process::Server;
use crate::stream::Stream;

/// So many connections, with so many calls at a time on each.
#[derive(Clone, Copy)]
pub(crate) struct Pattern {
    connections: usize,
    streams: usize,
}

impl Pattern {
    /// What the cost of a call is measured with.
    pub(crate) const ORDINARY: Self = Self { connections: 4, streams: 16 };
    /// An Envoy has a connection for each of its workers: here two.
    pub(crate) const TWO_WORKERS: Self = Self { connections: 2, streams: 32 };
}

/// How long the program may take to fetch what it needs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Connections to a server.
pub(crate) struct Client {
    connections: Vec<SendRequest<Bytes>>,
    streams: usize,
    uri: String,
}

impl Client {
    pub(crate) async fn connect(server: &Server, pattern: Pattern) -> Self {
        let mut connections = Vec::new();
        for _ in 0..pattern.connections {
            let tcp = TcpStream::connect(&server.address).await.unwrap();
            tcp.set_nodelay(true).unwrap();
            // Envoy writes at once what it has to say at once: 16 calls that began together were one write of 10 KB.
            let (send, connection) = h2::client::handshake(Stream::new(tcp)).await.unwrap();
            tokio::spawn(connection);
            connections.push(send);
        }
        let path = "/envoy.service.auth.v3.Authorization/Check";
        Self { connections, streams: pattern.streams, uri: format!("http://{}{path}", server.address) }
    }

    /// Makes this call until it is answered so.
    pub(crate) async fn wait_for(&self, call: &Bytes, expected: i32) {
        let deadline = Instant::now() + PATIENCE;
        while check(self.connections[0].clone(), &self.uri, call.clone()).await != expected {
            assert!(Instant::now() < deadline, "the program does not get ready");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Makes these calls, and sees to it that each is answered so.
    pub(crate) async fn run(&self, calls: &Arc<[Bytes]>, expected: i32) {
        let next = Arc::new(AtomicUsize::new(0));
        let mut streams = JoinSet::new();
        for connection in &self.connections {
            for _ in 0..self.streams {
                let (connection, calls, next) = (connection.clone(), Arc::clone(calls), Arc::clone(&next));
                let uri = self.uri.clone();
                streams.spawn(async move {
                    while let Some(call) = calls.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let code = check(connection.clone(), &uri, call.clone()).await;
                        assert_eq!(code, expected);
                    }
                });
            }
        }
        while let Some(ended) = streams.join_next().await {
            ended.unwrap();
        }
    }
}

/// The code of a call's answer.
async fn check(connection: SendRequest<Bytes>, uri: &str, call: Bytes) -> i32 {
    let request = Request::builder().method(Method::POST).version(Version::HTTP_2).uri(uri);
    let request =
        request.header("content-type", "application/grpc").header("te", "trailers").body(()).unwrap();
    let mut connection = connection.ready().await.unwrap();
    let (response, mut body) = connection.send_request(request, false).unwrap();
    body.send_data(call, true).unwrap();
    let mut body = response.await.unwrap().into_body();
    let mut answer = BytesMut::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.unwrap();
        body.flow_control().release_capacity(chunk.len()).unwrap();
        answer.extend_from_slice(&chunk);
    }
    let trailers = body.trailers().await.unwrap().unwrap();
    assert_eq!(trailers["grpc-status"], "0");
    CheckResponse::decode(&answer[5..]).unwrap().status.unwrap().code
}
