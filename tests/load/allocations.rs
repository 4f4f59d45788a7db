//! What a Check allocates, exactly, and how large its future is. Time differs from run to run, these numbers do not: a change that
//! makes one of them larger fails here, and one that makes it smaller is asked to lower the number. They are those of a build without
//! optimisation.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "tests panic on purpose, and sign tokens as of now"
)]

#[path = "../support/api_server.rs"]
#[allow(dead_code, reason = "the API server does not change its mind")]
mod api_server;
#[allow(dead_code, reason = "the benchmarks measure more, and time")]
mod cases;
#[allow(dead_code, reason = "no time is measured")]
mod certificates;
#[path = "../support/envoy.rs"]
#[allow(dead_code, reason = "requests are made here, verdicts not compared")]
mod envoy;
mod in_process;
#[allow(dead_code, reason = "its keys do not change")]
mod issuer;
mod jwt;
#[path = "../support/tls.rs"]
#[allow(dead_code, reason = "no client shows a certificate")]
mod tls;
#[allow(dead_code, reason = "no time is measured")]
mod tokens;

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use countersign::envoy::CheckService;
use countersign::envoy::view::server::authorization_server::{Authorization, AuthorizationServer};
use envoy_types::pb::envoy::service::auth::v3::CheckResponse;
use futures_util::stream;
use h2::client::SendRequest;
use http_body_util::BodyExt;
use prost::Message;
use tokio::runtime::Runtime;
use tower_service::Service;

use cases::{Case, cases};

/// How often a call of a case takes memory from the allocator.
#[derive(Debug, PartialEq, Eq)]
struct Allocations {
    case: &'static str,
    /// From the decoded request to the encoded reply. Never none: there is the future itself.
    check: u64,
    /// From the request's bytes to the reply's: the same and tonic.
    call: u64,
    /// Over HTTP/2: the same and both ends of the connection.
    connection: u64,
}

const PINNED: [Allocations; 8] = [
    Allocations { case: "static-token", check: 1, call: 17, connection: 49 },
    Allocations { case: "unknown-token", check: 4, call: 20, connection: 52 },
    Allocations { case: "anonymous", check: 1, call: 17, connection: 49 },
    Allocations { case: "remembered-certificate", check: 2, call: 19, connection: 51 },
    Allocations { case: "first-seen-certificate", check: 119, call: 136, connection: 169 },
    Allocations { case: "rs256-first-seen", check: 63, call: 79, connection: 112 },
    Allocations { case: "service-account-first-seen", check: 121, call: 137, connection: 170 },
    Allocations { case: "rs256-remembered", check: 1, call: 17, connection: 49 },
];

/// Bytes of the future of a Check, which is boxed for each.
const FUTURE: usize = 2080;

/// So many calls of a case are counted, after as many that are not.
const CALLS: usize = 40;

#[test]
fn a_check_allocates_as_often_as_it_is_known_to() {
    let pinned = |case: &Case| PINNED.iter().any(|pinned| pinned.case == case.name);
    let counted: Vec<Allocations> = cases().iter().filter(|case| pinned(case)).map(allocations).collect();
    assert_eq!(counted, PINNED, "left: now, right: pinned. Is it less? Then pin what it is now");
}

#[test]
fn the_future_of_a_check_is_as_large_as_it_is_known_to_be() {
    let case = cases().remove(0);
    let folder = case.folder();
    let size = runtime().block_on(async {
        let service = in_process::service(&case, folder.path()).await;
        let incoming = in_process::decode(&case.rounds(0, 1)[0][0]).await;
        size_of_val(&*service.check(tonic::Request::new(incoming)))
    });
    assert_eq!(size, FUTURE, "left: now, right: pinned. Is it less? Then pin what it is now");
}

fn allocations(case: &Case) -> Allocations {
    let (folder, runtime) = (case.folder(), runtime());
    let _entered = runtime.enter();
    let service = runtime.block_on(in_process::service(case, folder.path()));
    let mut rounds = case.rounds(5, CALLS).into_iter();
    let mut least = |count: &mut dyn FnMut(&Bytes) -> u64| {
        rounds.next().unwrap().iter().map(&mut *count).for_each(drop);
        // Now and then a table grows, or a cache looks after itself.
        rounds.next().unwrap().iter().map(count).min().unwrap()
    };

    let check = least(&mut |frame| {
        let incoming = tonic::Request::new(runtime.block_on(in_process::decode(frame)));
        let (counted, response) = counted(|| now(service.check(incoming)));
        assert_eq!(code(response.unwrap().get_ref().as_bytes()), case.expected);
        counted
    });
    let mut server = AuthorizationServer::new(service.clone());
    let call = least(&mut |frame| {
        let request = in_process::call(frame);
        let (counted, answer) = counted(|| now(async { read(server.call(request).await.unwrap()).await }));
        assert_eq!(code(&answer[5..]), case.expected);
        counted
    });
    let client = runtime.block_on(connect(service));
    let connection = least(&mut |frame| {
        let (counted, answer) = counted(|| runtime.block_on(send(client.clone(), frame.clone())));
        assert_eq!(code(&answer[5..]), case.expected);
        counted
    });
    Allocations { case: case.name, check, call, connection }
}

/// On this thread alone, so that everything is counted.
fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// How often memory is taken by something on this thread, and what comes of it.
fn counted<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let mut done = None;
    let counted = allocation_counter::measure(|| done = Some(work()));
    (counted.count_total, done.unwrap())
}

/// What does not wait for anything.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("waits for something"),
    }
}

/// An answer as gRPC frames it, read to the end.
async fn read(response: http::Response<tonic::body::Body>) -> Bytes {
    let (mut body, mut answer) = (response.into_body(), Bytes::new());
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame.unwrap().into_data() {
            answer = data;
        }
    }
    answer
}

/// What an encoded answer says.
fn code(answer: &[u8]) -> i32 {
    CheckResponse::decode(answer).unwrap().status.unwrap().code
}

/// A connection to the service within this process.
async fn connect(service: CheckService) -> SendRequest<Bytes> {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let server = tonic::transport::Server::builder().add_service(AuthorizationServer::new(service));
    tokio::spawn(server.serve_with_incoming(stream::iter([Ok::<_, std::io::Error>(far)])));
    let (client, connection) = h2::client::handshake(near).await.unwrap();
    tokio::spawn(connection);
    client
}

/// An answer as gRPC frames it, from the other end of a connection.
async fn send(client: SendRequest<Bytes>, frame: Bytes) -> Bytes {
    let request = in_process::call(&frame).map(drop);
    let (response, mut body) = client.ready().await.unwrap().send_request(request, false).unwrap();
    body.send_data(frame, true).unwrap();
    let (mut body, mut answer) = (response.await.unwrap().into_body(), BytesMut::new());
    while let Some(chunk) = body.data().await {
        let chunk = chunk.unwrap();
        body.flow_control().release_capacity(chunk.len()).unwrap();
        answer.extend_from_slice(&chunk);
    }
    assert_eq!(body.trailers().await.unwrap().unwrap()["grpc-status"], "0");
    answer.freeze()
}
