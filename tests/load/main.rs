//! What a Check costs: CPU time of countersign beside a bare tonic server, which decodes Envoy's complete message and answers a
//! constant. Both get the same calls, in turns, in one run, since machines differ and are never idle: read the ratios.
//!
//! ```text
//!   cargo bench --bench load [-- [CASE]... [--rounds N] [--calls N] [--json FILE]]
//!   cargo bench --bench load -- soak [--seconds N]
//!   COUNTERSIGN_TEST_ENVOY=$(deploy/envoy/get-envoy) cargo bench --bench load -- envoy [--rounds N] [--calls N] [--json FILE]
//!   tests/load/run
//! ```
//!
//! `soak` is everything at once, for ten minutes; `envoy` is what a request costs by way of a real Envoy; `tests/load/run` measures how long callers wait.
//!
//! And what it takes besides: memory, time to start. One table comes out, and the same in JSON, by default in `target/load*.json`.
//! With few calls the sizes of what is measured are small too: see that it runs, and read nothing.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a benchmark that cannot go on panics, prints its table, and reads /proc and its own environment"
)]

#[path = "../support/api_server.rs"]
#[allow(dead_code, reason = "the benchmark's API server does not change its mind")]
mod api_server;
mod bare;
mod cases;
mod certificates;
mod client;
mod contest;
mod edge;
#[path = "../support/envoy.rs"]
#[allow(dead_code, reason = "the benchmark makes requests and does not compare verdicts")]
mod envoy;
mod issuer;
mod job;
mod jwt;
mod latency;
mod process;
mod report;
mod resources;
mod soak;
#[path = "../../src/server/stream.rs"]
#[allow(dead_code, reason = "how much it copies and which calls begin is the server's business")]
mod stream;
#[path = "../support/tls.rs"]
#[allow(dead_code, reason = "no client shows a certificate here")]
mod tls;
mod tokens;

use std::env;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cases::cases;

/// The same for both servers.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What to measure, and how long.
struct Plan {
    only: Vec<String>,
    rounds: usize,
    /// Calls of one round, unless a case has fewer to offer.
    calls: usize,
    json: PathBuf,
    /// The binary of ghz.
    ghz: Option<PathBuf>,
    soak: Duration,
    /// How many clients an Envoy has at a time.
    clients: usize,
}

/// With so many calls a round a figure means something.
const CALLS: usize = 60_000;

impl Plan {
    /// The plan for a mode: none is that which measures what a Check costs.
    fn of(mode: &str, mut arguments: impl Iterator<Item = String>) -> Self {
        let name = if mode.is_empty() { "load.json".to_owned() } else { format!("load-{mode}.json") };
        let json = Path::new(env!("CARGO_MANIFEST_DIR")).join("target").join(name);
        let soak = Duration::from_secs(600);
        let mut plan =
            Self { only: Vec::new(), rounds: 5, calls: CALLS, json, ghz: None, soak, clients: edge::CLIENTS };
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().expect("a value");
            let mut number = || value().parse().expect("a number");
            match &*argument {
                "--rounds" => plan.rounds = number(),
                "--calls" => plan.calls = number(),
                "--clients" => plan.clients = number(),
                "--json" => plan.json = value().into(),
                "--ghz" => plan.ghz = Some(value().into()),
                "--seconds" => plan.soak = Duration::from_secs(value().parse().expect("a number")),
                case => plan.only.push(case.to_owned()),
            }
        }
        plan
    }

    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| only == name)
    }

    /// How many of what there should be so many of: with few calls, few.
    fn size(&self, full: usize) -> usize {
        full * self.calls.min(CALLS) / CALLS
    }
}

fn main() {
    // `--bench` is what cargo itself adds.
    let mut arguments = env::args().skip(1).filter(|argument| argument != "--bench").peekable();
    let modes = ["bare", "envoy", "latency", "soak"];
    let mode = arguments.next_if(|argument| modes.contains(&&**argument)).unwrap_or_default();
    if mode == "bare" {
        return bare::serve(arguments.next().as_deref() == Some(contest::METADATA));
    }
    let plan = Plan::of(&mode, arguments);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    if mode == "envoy" {
        return runtime.block_on(edge::measure(&plan));
    }
    let rows = runtime.block_on(async {
        match &*mode {
            "latency" => latency::measure(&plan).await,
            "soak" => soak::soak(plan.soak).await,
            _ => costs(&plan).await,
        }
    });
    assert!(!rows.is_empty(), "nothing is called {:?}", plan.only);
    report::report(&rows, &plan.json);
}

/// CPU time per call, and what it takes besides.
async fn costs(plan: &Plan) -> Vec<report::Row> {
    let (mut rows, cases) = (Vec::new(), cases());
    for case in cases.iter().filter(|case| plan.wants(case.name)) {
        rows.push(contest::measure(case, plan).await);
    }
    for (name, many, one, goal) in contest::GROWTH.into_iter().filter(|(name, ..)| plan.wants(name)) {
        let [many, one] = [many, one].map(|name| cases.iter().find(|case| case.name == name).unwrap());
        rows.push(contest::beside(name, many, one, goal, plan).await);
    }
    if plan.wants("two-workers") {
        rows.push(contest::two_workers(plan).await);
    }
    rows.extend(resources::measure(plan).await);
    rows
}
