//! What is measured: the program's flags and files, the calls, and what they cannot do without.

use std::fmt::Display;
use std::fs;
use std::iter;
use std::sync::Arc;
use std::time::Instant;

use bytes::{BufMut, Bytes, BytesMut};
use prost::Message;
use serde_json::json;
use tempfile::TempDir;

use crate::api_server::{ApiServer, bootstrap_tokens};
use crate::certificates::{Chains, rsa_verification};
use crate::envoy::{Encoding, Request, check_request};
use crate::jwt;

/// google.rpc.Code of an answer.
pub(crate) const OK: i32 = 0;
/// Likewise.
pub(crate) const UNAUTHENTICATED: i32 = 16;

/// One kind of call.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) flags: Vec<&'static str>,
    pub(crate) files: Vec<(&'static str, String)>,
    /// A call that is answered OK once the program has fetched what it needs.
    pub(crate) ready: Option<Request>,
    /// The answer's code.
    pub(crate) expected: i32,
    /// The ratio that we want to stay below.
    pub(crate) limit: f64,
    pub(crate) calls: Calls,
    /// Measures what the call cannot do without, in µs.
    pub(crate) unavoidable: Box<dyn Fn() -> f64>,
}

/// Where the calls come from.
pub(crate) enum Calls {
    /// The same one over and over.
    Same(Request),
    /// These in turn, over and over.
    InTurn(Vec<Request>),
    /// None twice: makes the one with this number.
    Fresh(Box<dyn Fn(usize) -> Request>),
    /// One after the other, so many, and then again from the first: all of them before the first round.
    Cycle(usize, Box<dyn Fn(usize) -> Request>),
}

/// As Envoy with `encode_raw_headers` makes the call for a request.
pub(crate) fn frame(request: &Request) -> Bytes {
    let message = check_request(request, Encoding::Raw);
    let length = message.encoded_len();
    // The message as gRPC frames it: not compressed, its length, itself.
    let mut frame = BytesMut::with_capacity(5 + length);
    frame.put_u8(0);
    frame.put_u32(u32::try_from(length).unwrap());
    message.encode(&mut frame).unwrap();
    frame.freeze()
}

impl Case {
    /// A folder with its files.
    pub(crate) fn folder(&self) -> TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in &self.files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        folder
    }

    /// So many calls, unless there are fewer, for each of `rounds`, and for one before the first.
    pub(crate) fn rounds(&self, rounds: usize, calls: usize) -> Vec<Arc<[Bytes]>> {
        match &self.calls {
            Calls::Same(request) => {
                let frame = frame(request);
                (0..=rounds).map(|_| vec![frame.clone(); calls].into()).collect()
            }
            Calls::InTurn(requests) => {
                let frames: Vec<Bytes> = requests.iter().map(frame).collect();
                let round: Arc<[Bytes]> = frames.iter().cycle().take(calls).cloned().collect();
                vec![round; rounds + 1]
            }
            Calls::Fresh(make) => {
                let calls = calls.min(MAX_FRESH_CALLS);
                let round = |round| (calls * round..calls * (round + 1)).map(|number| frame(&make(number)));
                (0..=rounds).map(|number| round(number).collect()).collect()
            }
            Calls::Cycle(count, make) => {
                // With few calls a round, few altogether.
                let all: Vec<Bytes> =
                    (0..(*count).min(10 * calls)).map(|number| frame(&make(number))).collect();
                let mut cycle = all.iter().cloned().cycle();
                let later: Vec<Arc<[Bytes]>> =
                    (0..rounds).map(|_| cycle.by_ref().take(calls).collect()).collect();
                iter::once(all.clone().into()).chain(later).collect()
            }
        }
    }
}

/// To make a certificate or a token takes longer than to verify one.
const MAX_FRESH_CALLS: usize = 6_000;

pub(crate) fn cases() -> Vec<Case> {
    let tokens = || vec![("tokens.csv", "token-1,alice,1,\"dev,ops\"\n".to_owned())];
    let none = || -> Box<dyn Fn() -> f64> { Box::new(|| 0.0) };
    let chains = Chains::new();
    let certificate = |name, calls, limit, unavoidable| Case {
        name,
        flags: vec!["--client-ca-file=clients.pem", "--anonymous-auth=false", "--xfcc-trusted-hops=1"],
        files: vec![("clients.pem", chains.root.clone())],
        ready: None,
        expected: OK,
        limit,
        calls,
        unavoidable,
    };
    let (remembered, leaves, all) = (chains.request(0), chains.clone(), chains.clone());
    let mut cases = vec![
        Case {
            name: "static-token",
            flags: vec!["--token-auth-file=tokens.csv", "--anonymous-auth=false"],
            files: tokens(),
            ready: None,
            expected: OK,
            limit: 0.75,
            calls: Calls::Same(bearer("token-1")),
            unavoidable: none(),
        },
        Case {
            name: "unknown-token",
            flags: vec!["--token-auth-file=tokens.csv", "--anonymous-auth=false"],
            files: tokens(),
            ready: None,
            expected: UNAUTHENTICATED,
            limit: 0.90,
            calls: Calls::Same(bearer("nobody")),
            unavoidable: none(),
        },
        Case {
            name: "anonymous",
            flags: vec!["--token-auth-file=tokens.csv", "--anonymous-auth"],
            files: tokens(),
            ready: None,
            expected: OK,
            limit: 0.75,
            calls: Calls::Same(request(&[])),
            unavoidable: none(),
        },
        certificate("remembered-certificate", Calls::Same(remembered), 0.75, none()),
        certificate(
            "first-seen-certificate",
            Calls::Fresh(Box::new(move |number| all.request_of_its_own(1 + number))),
            1.20,
            Box::new(|| 2.0 * rsa_verification()),
        ),
        certificate(
            "first-seen-leaf",
            Calls::Fresh(Box::new(move |number| leaves.request(1 + number))),
            1.20,
            Box::new(rsa_verification),
        ),
    ];
    cases.push(webhook());
    cases.extend(
        [("static-token-of-10", 10), ("static-token-of-1000", 1_000), ("static-token-of-1000000", 1_000_000)]
            .map(static_token),
    );
    cases.extend(
        [("bootstrap-token", 10), ("bootstrap-token-of-1000", 1_000), ("bootstrap-token-of-10000", 10_000)]
            .map(bootstrap_token),
    );
    cases.extend(jwt::cases());
    cases
}

/// A token that a webhook knows, and that it is asked about once.
fn webhook() -> Case {
    let user =
        json!({"username": "alice", "uid": "1", "groups": ["dev", "ops"], "extra": {"scopes": ["read"]}});
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "status": {"authenticated": true, "user": user},
    });
    let api = ApiServer::start(200, &review.to_string());
    Case {
        name: "webhook-remembered",
        flags: vec![
            "--authentication-token-webhook-config-file=kubeconfig",
            "--authentication-token-webhook-version=v1",
            "--anonymous-auth=false",
        ],
        files: vec![("kubeconfig", api.kubeconfig("token"))],
        ready: None,
        expected: OK,
        limit: 0.75,
        calls: Calls::Same(bearer("only-the-webhook-knows-it")),
        unavoidable: Box::new(|| 0.0),
    }
}

/// So many clients call at a time.
const CALLERS: usize = 1_000;

/// Static tokens of [`CALLERS`] users, or of all that there are, where there are so many.
fn static_token((name, count): (&'static str, usize)) -> Case {
    let token = |number: usize| format!("token-{number}-5f0c1e2d3b4a59687786");
    let row = |number| format!("{},user-{number},uid-{number},\"dev,ops\"\n", token(number));
    // A prime, so that they are all over the place.
    let caller = |number| bearer(token(number * 7919 % count));
    Case {
        name,
        flags: vec!["--token-auth-file=tokens.csv", "--anonymous-auth=false"],
        files: vec![("tokens.csv", (0..count).map(row).collect())],
        ready: None,
        expected: OK,
        limit: 0.75,
        calls: Calls::InTurn((0..CALLERS.min(count)).map(caller).collect()),
        unavoidable: Box::new(|| 0.0),
    }
}

/// A bootstrap token, where there are so many.
fn bootstrap_token((name, count): (&'static str, usize)) -> Case {
    const SECRET: &str = "0123456789abcdef";
    let api =
        ApiServer::start(200, &bootstrap_tokens((0..count).map(|number| format!("{number:06}")), SECRET));
    let request = || bearer(format_args!("000007.{SECRET}"));
    Case {
        name,
        flags: vec!["--enable-bootstrap-token-auth", "--kubeconfig=kubeconfig", "--anonymous-auth=false"],
        files: vec![("kubeconfig", api.kubeconfig("token"))],
        ready: Some(request()),
        expected: OK,
        limit: 0.75,
        calls: Calls::Same(request()),
        unavoidable: Box::new(|| 0.0),
    }
}

/// A request with this token.
pub(crate) fn bearer(token: impl Display) -> Request {
    request(&[("Authorization", format!("Bearer {token}"))])
}

/// A request of an ordinary size: 13 headers in all.
pub(crate) fn request(headers: &[(&str, String)]) -> Request {
    let ordinary = [
        ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
        ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("Accept-Language", "en-US,en;q=0.5"),
        ("Accept-Encoding", "gzip, deflate, br"),
        ("Cookie", "theme=dark; session=5f0c1e"),
    ];
    let owned =
        ordinary.iter().map(|(name, value)| (*name, (*value).to_owned())).chain(headers.iter().cloned());
    Request {
        method: "GET".to_owned(),
        path: "/api/v1/namespaces/default/pods?limit=500".to_owned(),
        headers: owned.map(|(name, value)| (name.to_owned(), value.into_bytes())).collect(),
        certificates: Vec::new(),
        key: None,
    }
}

/// How long some work takes, in µs: the median of several thousand times.
pub(crate) fn microseconds(work: impl Fn()) -> f64 {
    let mut times: Vec<f64> = (0..5_000)
        .map(|_| {
            let start = Instant::now();
            work();
            start.elapsed().as_secs_f64() * 1e6
        })
        .collect();
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}
