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

use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use countersign::server::{Answer, Services};
use envoy_types::pb::envoy::service::auth::v3::CheckResponse;
use h2::client::SendRequest;
use http::HeaderMap;
use http_body_util::BodyExt;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use smallvec::SmallVec;
use tokio::runtime::Runtime;
use tonic::service::Routes;

use cases::{Case, cases};

/// How often a call of a case takes memory from the allocator.
#[derive(Debug, PartialEq, Eq)]
struct Allocations {
    case: &'static str,
    /// From the request's message to the reply's.
    check: u64,
    /// From the call to its answer: the same and gRPC.
    call: u64,
    /// Over HTTP/2: the same and both ends of the connection.
    connection: u64,
}

const PINNED: [Allocations; 9] = [
    Allocations { case: "static-token", check: 3, call: 7, connection: 24 },
    Allocations { case: "unknown-token", check: 3, call: 7, connection: 24 },
    Allocations { case: "anonymous", check: 3, call: 7, connection: 24 },
    Allocations { case: "remembered-certificate", check: 4, call: 8, connection: 25 },
    Allocations { case: "first-seen-certificate", check: 87, call: 91, connection: 109 },
    Allocations { case: "first-seen-leaf", check: 68, call: 72, connection: 90 },
    Allocations { case: "rs256-first-seen", check: 43, call: 47, connection: 65 },
    Allocations { case: "service-account-first-seen", check: 53, call: 58, connection: 78 },
    Allocations { case: "rs256-remembered", check: 3, call: 7, connection: 24 },
];

/// Bytes of the future of a Check, which goes into the task of its call.
const FUTURE: usize = 1776;

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
        size_of_val(&service.check(&HeaderMap::new(), Some(in_process::message(&case.rounds(0, 1)[0][0]))))
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
        let message = in_process::message(frame);
        let (counted, reply) = counted(|| now(service.check(&HeaderMap::new(), Some(message))));
        assert_eq!(code(reply.as_bytes()), case.expected);
        counted
    });
    let services = Services::new(service, usize::MAX, Routes::default());
    let call = least(&mut |frame| {
        let request = in_process::call(frame);
        let (counted, answer) = counted(|| now(async { read(services.call(request).await).await }));
        assert_eq!(code(&answer.concat()[5..]), case.expected);
        counted
    });
    let client = runtime.block_on(connect(services));
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

/// An answer as gRPC frames it, read to the end, in the pieces that it comes in.
async fn read(response: http::Response<Answer>) -> SmallVec<[Bytes; 8]> {
    let (mut body, mut answer) = (response.into_body(), SmallVec::new());
    while let Some(frame) = body.frame().await {
        answer.extend(frame.unwrap().into_data());
    }
    answer
}

/// What an encoded answer says.
fn code(answer: &[u8]) -> i32 {
    CheckResponse::decode(answer).unwrap().status.unwrap().code
}

/// A connection to the service within this process.
async fn connect(services: Services) -> SendRequest<Bytes> {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let services = Arc::new(services);
    let answer = service_fn(move |request| {
        let services = Arc::clone(&services);
        async move { Ok::<_, Infallible>(services.call(request).await) }
    });
    let server = http2::Builder::new(TokioExecutor::new())
        .auto_date_header(false)
        .serve_connection(TokioIo::new(far), answer);
    tokio::spawn(server);
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
