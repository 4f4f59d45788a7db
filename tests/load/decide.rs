//! How long the chain takes for its verdict on a request that is decoded already: no codec, no transport, no reply.
//!
//! ```text
//!   cargo bench --bench decide [-- CASE]
//! ```
//!
//! Times of this machine, to compare with themselves after a change; `load` has ratios.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark that cannot go on panics, and decides as of now"
)]

#[path = "../support/api_server.rs"]
#[allow(dead_code, reason = "the API server does not change its mind")]
mod api_server;
#[allow(dead_code, reason = "here nothing is compared with anything")]
mod cases;
#[allow(dead_code, reason = "no signature is verified by itself")]
mod certificates;
#[path = "../support/envoy.rs"]
#[allow(dead_code, reason = "requests are made here, verdicts not compared")]
mod envoy;
#[allow(dead_code, reason = "the service around the chain is not needed")]
mod in_process;
#[allow(dead_code, reason = "its keys do not change")]
mod issuer;
mod jwt;
#[path = "../support/tls.rs"]
#[allow(dead_code, reason = "no client shows a certificate")]
mod tls;
#[allow(dead_code, reason = "no signature is verified by itself")]
mod tokens;

use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use countersign::authn::Now;
use countersign::chain::Chain;
use countersign::decision::Decision;
use countersign::envoy::decode::Incoming;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, criterion_group, criterion_main};
use tokio::runtime::Runtime;

use cases::{Calls, Case, OK, cases};

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

criterion_group!(
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1))
        .without_plots();
    targets = decide
);
criterion_main!(benches);

fn decide(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decide");
    for case in cases() {
        measure(&mut group, &case);
    }
    group.finish();
}

/// So many credentials of a kind there are, of which a chain sees each once.
const FRESH: usize = 200;

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, case: &Case) {
    let (folder, runtime) = (case.folder(), runtime());
    let _entered = runtime.enter();
    let load =
        || runtime.block_on(in_process::load(case, folder.path(), &in_process::remote())).0.into_chain();
    let decoded = |count| -> Vec<Incoming> {
        let calls = case.rounds(0, count).remove(0);
        calls.iter().map(|frame| Incoming::decode(Some(in_process::message(frame)))).collect()
    };
    match case.calls {
        Calls::Same(_) | Calls::InTurn(_) => {
            let (chain, incoming) = (load(), decoded(1).remove(0));
            // Whoever has to be asked is asked now.
            let decided =
                runtime.block_on(chain.decide(&incoming.request().unwrap(), Now(SystemTime::now())));
            assert_eq!(matches!(decided, Decision::Allow(_)), case.expected == OK);
            group.bench_function(case.name, |bencher| bencher.iter(|| verdict(case, &chain, &incoming)));
        }
        Calls::Fresh(_) | Calls::Cycle(..) => {
            let incoming = decoded(FRESH);
            group.bench_function(case.name, |bencher| {
                bencher.iter_custom(|iterations| {
                    let (mut left, mut spent) = (usize::try_from(iterations).unwrap(), Duration::ZERO);
                    while left > 0 {
                        let (chain, count) = (load(), left.min(FRESH));
                        let start = Instant::now();
                        incoming[..count].iter().for_each(|incoming| verdict(case, &chain, incoming));
                        spent += start.elapsed();
                        left -= count;
                    }
                    spent
                });
            });
        }
    }
}

/// A verdict, which has to be what the case expects.
fn verdict(case: &Case, chain: &Chain, incoming: &Incoming) {
    let request = incoming.request().unwrap();
    let decision = pin!(chain.decide(&request, Now(SystemTime::now())));
    match decision.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(decision) => {
            assert_eq!(matches!(black_box(decision), Decision::Allow(_)), case.expected == OK);
        }
        Poll::Pending => panic!("waits for something"),
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}
