//! What a Check costs: CPU time of countersign beside a bare tonic server, which decodes Envoy's complete message and answers a
//! constant. Both get the same calls, in turns, in one run, since machines differ and are never idle: read the ratios.
//!
//! ```text
//!   cargo bench --bench load [-- [CASE]... [--rounds N] [--calls N]]
//! ```
//!
//! A table comes out, and the same in JSON in `target/load.json`.
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
#[path = "../support/envoy.rs"]
#[allow(dead_code, reason = "the benchmark makes requests and does not compare verdicts")]
mod envoy;
mod issuer;
mod jwt;
mod process;
#[path = "../support/tls.rs"]
#[allow(dead_code, reason = "no client shows a certificate here")]
mod tls;
mod tokens;

use std::env;

use cases::{Case, OK, cases, frame};
use client::Client;
use process::Server;

/// The same for both servers.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What to measure, and how long.
struct Plan {
    only: Vec<String>,
    rounds: usize,
    /// Calls of one round, unless a case has fewer to offer.
    calls: usize,
}

impl Plan {
    fn of(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut plan = Self { only: Vec::new(), rounds: 5, calls: 60_000 };
        while let Some(argument) = arguments.next() {
            let mut number = || arguments.next().and_then(|text| text.parse().ok()).expect("a number");
            match &*argument {
                "--rounds" => plan.rounds = number(),
                "--calls" => plan.calls = number(),
                // What cargo itself adds.
                "--bench" => {}
                case => plan.only.push(case.to_owned()),
            }
        }
        plan
    }
}

/// A case's figures: CPU time in µs per call, one for each round.
struct Measured {
    name: &'static str,
    ours: Vec<f64>,
    bare: Vec<f64>,
    /// Work that the call cannot do without, as far as it is not the bare server's, measured by itself.
    unavoidable: f64,
    limit: f64,
}

impl Measured {
    /// Each round's ratio to the bare server and the unavoidable, in order of size.
    fn ratios(&self) -> Vec<f64> {
        let pairs = self.ours.iter().zip(&self.bare);
        sorted(pairs.map(|(ours, bare)| ours / (bare + self.unavoidable)).collect())
    }
}

fn main() {
    let arguments = env::args().skip(1);
    if env::args().nth(1).as_deref() == Some("bare") {
        return bare::serve();
    }
    let plan = Plan::of(arguments);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let wanted = |case: &Case| plan.only.is_empty() || plan.only.iter().any(|name| name == case.name);
    let measured: Vec<Measured> =
        cases().into_iter().filter(wanted).map(|case| runtime.block_on(measure(case, &plan))).collect();
    assert!(!measured.is_empty(), "no case is called {:?}", plan.only);
    report(&measured);
}

/// One case, in turns.
async fn measure(case: Case, plan: &Plan) -> Measured {
    // Beforehand: while it signs, the client would not answer the servers' pings.
    let mut rounds = case.rounds(plan.rounds, plan.calls).into_iter();
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in &case.files {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let ours = Server::start(env!("CARGO_BIN_EXE_countersign"), "serve", &case.flags, folder.path());
    let own = env::current_exe().unwrap();
    let bare = Server::start(own.to_str().unwrap(), "bare", &[], folder.path());
    let (mut ours_client, mut bare_client) = (Client::connect(&ours).await, Client::connect(&bare).await);
    let unavoidable = (case.unavoidable)();

    if let Some(request) = &case.ready {
        ours_client.wait_for(&frame(request), OK).await;
    }
    // The first round warms both up.
    let first = rounds.next().unwrap();
    ours_client.run(&first, case.expected).await;
    bare_client.run(&first, OK).await;
    let mut measured =
        Measured { name: case.name, ours: Vec::new(), bare: Vec::new(), unavoidable, limit: case.limit };
    for (number, calls) in rounds.enumerate() {
        let round = async |server: &Server, client: &mut Client, expected| {
            let before = server.cpu();
            client.run(&calls, expected).await;
            (server.cpu() - before).as_secs_f64() * 1e6 / f64::from(u32::try_from(calls.len()).unwrap())
        };
        // In turns also within a round: whatever comes second may find the machine in another mood.
        if number % 2 == 0 {
            measured.ours.push(round(&ours, &mut ours_client, case.expected).await);
            measured.bare.push(round(&bare, &mut bare_client, OK).await);
        } else {
            measured.bare.push(round(&bare, &mut bare_client, OK).await);
            measured.ours.push(round(&ours, &mut ours_client, case.expected).await);
        }
    }
    measured
}

fn report(measured: &[Measured]) {
    println!("| case | countersign µs | bare µs | unavoidable µs | ratio: median (least to most) | goal |");
    println!("|---|---|---|---|---|---|");
    let mut rows = Vec::new();
    for row in measured {
        let ratios = row.ratios();
        let [ours, bare] = [&row.ours, &row.bare].map(|figures| median(&sorted(figures.clone())));
        println!(
            "| {} | {ours:.1} | {bare:.1} | {:.1} | {:.2} ({:.2} to {:.2}) | {:.2} |",
            row.name,
            row.unavoidable,
            median(&ratios),
            ratios[0],
            ratios[ratios.len() - 1],
            row.limit,
        );
        rows.push(serde_json::json!({
            "case": row.name,
            "countersign_us": row.ours,
            "bare_us": row.bare,
            "unavoidable_us": row.unavoidable,
            "ratios": ratios,
            "goal": row.limit,
        }));
    }
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/target/load.json");
    std::fs::write(file, serde_json::to_string_pretty(&rows).unwrap()).unwrap();
}

fn sorted(mut figures: Vec<f64>) -> Vec<f64> {
    figures.sort_by(f64::total_cmp);
    figures
}

fn median(sorted: &[f64]) -> f64 {
    sorted[sorted.len() / 2]
}
