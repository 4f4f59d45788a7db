//! Everything at once and for long: credentials of every kind, good and bad, while the configuration changes each second and the issuer's
//! keys from time to time. Every verdict is looked at, and the memory.

use std::fs;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::json;
use tempfile::TempDir;

use crate::cases::{OK, UNAUTHENTICATED, bearer, frame};
use crate::certificates::Chains;
use crate::client::{Client, Pattern};
use crate::issuer::Issuers;
use crate::jwt;
use crate::process::Server;
use crate::report::{Figures, Row};
use crate::resources::in_mebibytes;
use crate::tokens::{Key, Tokens};

/// The configuration is another one each time.
const BEAT: Duration = Duration::from_secs(1);
/// So long tokens have one key, and so long before it is published. Keys are not fetched more often than every 10 s.
const ROTATION: Duration = Duration::from_secs(12);
/// Memory is compared with what it was then: every cache is as full as it gets.
const SETTLED: Duration = Duration::from_secs(60);
/// So many certificates fill their cache (`REMEMBERED` of src/authn/client_certificate.rs), if a run is long enough to say something
/// about memory.
const CERTIFICATES: usize = 12_000;

/// In each beat so many calls of each kind that is cheap, and of each that is not.
const CHEAP: usize = 500;
const DEAR: usize = 20;

/// What there is to call with.
struct Credentials {
    issuers: Issuers,
    /// All that are published: the one that will be used next, the one of the tokens that are issued now, and the one before it.
    keys: [Rc<Key>; 3],
    tokens: Tokens,
    /// How many of these tokens have been shown.
    shown: usize,
    chains: Chains,
    certificates: usize,
}

impl Credentials {
    fn new() -> Self {
        let keys = [Key::ecdsa(), Key::ecdsa(), Key::ecdsa()].map(Rc::new);
        let issuers = Issuers::start(1, &published(&keys), &json!({}));
        let tokens = Tokens::new(&keys[1], jwt::person(&issuers.url(0)));
        Self { issuers, keys, tokens, shown: 0, chains: Chains::new(), certificates: 0 }
    }

    /// From now on tokens have another key, which has been published for a while: forged tokens, too, have keys fetched, and for the
    /// next one in 10 s there are none that are newer.
    fn rotate(&mut self) {
        let [next, current, _] = &self.keys;
        self.keys = [Rc::new(Key::ecdsa()), Rc::clone(next), Rc::clone(current)];
        self.issuers.publish(&published(&self.keys));
        self.tokens = Tokens::new(&self.keys[1], jwt::person(&self.issuers.url(0)));
        self.shown = 0;
    }

    /// The calls of a beat, and how each is to be answered.
    fn calls(&mut self) -> Vec<(Arc<[Bytes]>, i32)> {
        let fresh = |count: &mut usize| {
            *count += DEAR;
            *count - DEAR + 1..*count + 1
        };
        let tokens = fresh(&mut self.shown).map(|number| frame(&bearer(self.tokens.number(number))));
        let (tokens, forged) = (tokens.collect(), bearer(self.tokens.forged(self.shown)));
        let certificates = fresh(&mut self.certificates).map(|number| frame(&self.chains.request(number)));
        let same = |request| -> Arc<[Bytes]> { vec![frame(&request); CHEAP].into() };
        vec![
            (same(bearer("token-1")), OK),
            (same(bearer(self.tokens.number(0))), OK),
            (tokens, OK),
            (same(self.chains.request(0)), OK),
            (certificates.collect(), OK),
            (same(bearer("nobody")), UNAUTHENTICATED),
            (same(forged), UNAUTHENTICATED),
            (garbage(), UNAUTHENTICATED),
        ]
    }
}

/// What no client in its right mind sends.
fn garbage() -> Arc<[Bytes]> {
    let mut two_lines = bearer("token-1");
    two_lines.headers.push(("Authorization".to_owned(), b"Bearer token-1".to_vec()));
    let mut certificate = bearer("nobody");
    certificate
        .certificates
        .push("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n".to_owned());
    let tokens = ["eyJhbGciOiJub25lIn0.e30.", "..", "a.b.c", "eyJ", &"x".repeat(10_000)].map(bearer);
    let requests = tokens.iter().chain([&two_lines, &certificate]).map(frame);
    // Not compressed, four bytes, which are no message.
    requests.chain([Bytes::from_static(b"\0\0\0\0\x04\xff\xff\xff\xff")]).cycle().take(CHEAP).collect()
}

/// The key set of these keys.
fn published(keys: &[Rc<Key>]) -> serde_json::Value {
    json!({"keys": keys.iter().map(|key| key.jwk(&key.id())).collect::<Vec<_>>()})
}

/// So long.
pub(crate) async fn soak(length: Duration) -> Vec<Row> {
    let mut credentials = Credentials::new();
    // Beforehand: while it signs, the client would not answer the server's pings.
    credentials.certificates = if length > SETTLED { CERTIFICATES } else { 0 };
    let certificates = 0..credentials.certificates;
    let certificates = certificates.map(|number| frame(&credentials.chains.request(number))).collect();
    let folder = folder(&credentials);
    let server = Server::countersign(
        &[
            "--token-auth-file=tokens.csv",
            "--client-ca-file=clients.pem",
            "--xfcc-trusted-hops=1",
            "--authentication-config=authentication.json",
            "--anonymous-auth=false",
            "--reload-interval=1s",
            // The client has no other connections to go to.
            "--max-connection-age=1h",
            "--worker-threads=2",
        ],
        folder.path(),
    );
    let client = Client::connect(&server, Pattern::ORDINARY).await;
    client.wait_for(&frame(&bearer(credentials.tokens.number(0))), OK).await;
    client.run(&certificates, OK).await;
    let (begun, mut settled, mut calls) = (Instant::now(), None, 0);
    let (mut beat, mut rotations, mut rotated) = (0, 0, begun);
    while begun.elapsed() < length {
        let started = Instant::now();
        beat += 1;
        if rotated.elapsed() >= ROTATION {
            credentials.rotate();
            (rotations, rotated) = (rotations + 1, started);
        }
        let batches = credentials.calls();
        calls += batches.iter().map(|(calls, _)| calls.len()).sum::<usize>();
        write_tokens(folder.path(), beat);
        join_all(batches.iter().map(|(calls, expected)| client.run(calls, *expected))).await;
        // The new file is served, and not the old one.
        client.wait_for(&frame(&bearer(format_args!("token-of-{beat}"))), OK).await;
        client.wait_for(&frame(&bearer(format_args!("token-of-{}", beat - 1))), UNAUTHENTICATED).await;
        if begun.elapsed() >= SETTLED.min(length / 2) {
            settled.get_or_insert_with(|| server.memory());
        }
        tokio::time::sleep(BEAT.saturating_sub(started.elapsed())).await;
    }
    let (settled, end) = (settled.unwrap(), server.memory());
    println!(
        "{calls} calls in {:?}, all answered as they should be. Configurations: {beat}, key changes: {rotations}.\n",
        begun.elapsed(),
    );
    // A short run has not settled.
    let flat = FLAT * in_mebibytes(settled.now);
    assert!(length <= SETTLED || in_mebibytes(end.now) <= flat, "memory has grown: {settled:?}, {end:?}");
    let figures = Figures::Plain {
        unit: "MiB",
        ours: vec![in_mebibytes(end.now)],
        other: vec![in_mebibytes(settled.now)],
        peak: Some(in_mebibytes(end.peak)),
    };
    vec![Row { name: format!("soak of {length:?}: memory"), figures, goal: flat }]
}

/// Memory is flat if it has not grown by more.
const FLAT: f64 = 1.10;

fn folder(credentials: &Credentials) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let configuration = jwt::configuration(&[jwt::issuer(&credentials.issuers, 0)]);
    fs::write(folder.path().join("authentication.json"), configuration.to_string()).unwrap();
    fs::write(folder.path().join("clients.pem"), &credentials.chains.root).unwrap();
    write_tokens(folder.path(), 0);
    folder
}

/// One token that stays, and one that is known during one beat only.
fn write_tokens(folder: &Path, beat: usize) {
    let tokens = format!("token-1,alice,1,\"dev,ops\"\ntoken-of-{beat},bob,2\n");
    fs::write(folder.join("tokens.new"), tokens).unwrap();
    fs::rename(folder.join("tokens.new"), folder.join("tokens.csv")).unwrap();
}
