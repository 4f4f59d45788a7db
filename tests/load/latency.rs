//! How long callers wait, as load generators of others see it, and what a call costs then: ghz, whose HTTP/2 is grpc-go's, and h2load,
//! whose HTTP/2 is nghttp2's, as Envoy's was for long.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use countersign::envoy::FILE_DESCRIPTOR_SET;
use serde_json::Value;

use crate::Plan;
use crate::cases::{Case, OK, cases};
use crate::client::{Client, Pattern};
use crate::contest::bare;
use crate::job;
use crate::process::Server;
use crate::report::{Figures, Row};

/// So many callers at a time.
const CALLERS: usize = 64;
/// They share so many connections.
const CONNECTIONS: usize = 4;

/// What is called with: a token in memory, one that nobody knows, and one that is remembered.
const CASES: [&str; 3] = ["static-token", "unknown-token", "rs256-remembered"];

/// Both generators, as far as they are there, on every case.
pub(crate) async fn measure(plan: &Plan) -> Vec<Row> {
    let mut generators: Vec<Generator> = plan.ghz.clone().map(Generator::Ghz).into_iter().collect();
    match Command::new("h2load").arg("--version").output() {
        Ok(_) => generators.push(Generator::H2load),
        Err(_) => println!("There is no h2load on this machine.\n"),
    }
    let mut rows = Vec::new();
    for case in cases().iter().filter(|case| CASES.contains(&case.name) && plan.wants(case.name)) {
        for generator in &generators {
            rows.extend(pair(case, generator, plan).await);
        }
    }
    if let Some(ghz) = plan.ghz.as_deref().filter(|_| plan.wants("job")) {
        rows.push(job::measure(ghz));
    }
    rows
}

/// One generator on one case, and on the bare server in turns: the rows of p99 and CPU.
async fn pair(case: &Case, generator: &Generator, plan: &Plan) -> [Row; 2] {
    let folder = case.folder();
    let frame = case.rounds(0, 1)[0][0].clone();
    let (ours, bare) = (Server::countersign(&case.flags, folder.path()), bare(folder.path(), 1));
    for (server, expected) in [(&ours, case.expected), (&bare, OK)] {
        Client::connect(server, Pattern::ORDINARY).await.wait_for(&frame, expected).await;
    }
    let (mut waits, mut costs) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    // The first round warms both up.
    for round in 0..=plan.rounds {
        let order = if round % 2 == 0 { [0, 1] } else { [1, 0] };
        for number in order {
            let server = [&ours, &bare][number];
            let before = server.cpu();
            let p99 = generator.run(server, &frame, plan.calls, folder.path());
            let spent = server.cpu().since(&before).as_secs_f64() * 1e6;
            if round > 0 {
                waits[number].push(p99);
                costs[number].push(spent / f64::from(u32::try_from(plan.calls).unwrap()));
            }
        }
    }
    let row = |what, [ours, rival]: [Vec<f64>; 2], goal| Row {
        name: format!("{}, {}: {what}", case.name, generator.name()),
        figures: Figures::Ratio { ours, rival, unavoidable: 0.0 },
        goal,
    };
    [row("p99", waits, 1.10), row("CPU", costs, case.limit)]
}

/// Who makes the calls.
enum Generator {
    /// This binary.
    Ghz(PathBuf),
    /// The one on the PATH.
    H2load,
}

impl Generator {
    fn name(&self) -> &'static str {
        match self {
            Self::Ghz(_) => "ghz",
            Self::H2load => "h2load",
        }
    }

    /// Makes so many calls, and gives the 99th percentile of how long they took, in µs.
    fn run(&self, server: &Server, frame: &Bytes, calls: usize, folder: &Path) -> f64 {
        match self {
            Self::Ghz(program) => ghz(program, server, frame, calls, folder),
            Self::H2load => h2load(server, frame, calls, folder),
        }
    }
}

fn ghz(program: &Path, server: &Server, frame: &Bytes, calls: usize, folder: &Path) -> f64 {
    fs::write(folder.join("envoy.protoset"), FILE_DESCRIPTOR_SET).unwrap();
    fs::write(folder.join("message"), &frame[5..]).unwrap();
    let mut command = Command::new(program);
    command.args(["--insecure", "--protoset=envoy.protoset", "--binary-file=message", "--format=json"]);
    command.arg("--call=envoy.service.auth.v3.Authorization/Check");
    command.args([format!("--concurrency={CALLERS}"), format!("--connections={CONNECTIONS}")]);
    let report: Value = serde_json::from_slice(&output(
        command.arg(format!("--total={calls}")).arg(&server.address).current_dir(folder),
    ))
    .unwrap();
    assert_eq!(report["statusCodeDistribution"], serde_json::json!({"OK": calls}), "{report}");
    let percentiles = report["latencyDistribution"].as_array().unwrap();
    let p99 = percentiles.iter().find(|percentile| percentile["percentage"] == 99).unwrap();
    p99["latency"].as_f64().unwrap() / 1e3
}

/// Its own summary has no percentiles.
fn h2load(server: &Server, frame: &Bytes, calls: usize, folder: &Path) -> f64 {
    fs::write(folder.join("frame"), frame).unwrap();
    fs::remove_file(folder.join("log")).ok();
    let mut command = Command::new("h2load");
    command.args([
        "-H",
        "content-type: application/grpc",
        "-H",
        "te: trailers",
        "-d",
        "frame",
        "--log-file=log",
    ]);
    command.args([format!("-n{calls}"), format!("-c{CONNECTIONS}"), format!("-m{}", CALLERS / CONNECTIONS)]);
    let uri = format!("http://{}/envoy.service.auth.v3.Authorization/Check", server.address);
    output(command.arg(uri).current_dir(folder));
    // When it began, HTTP status, how long it took: in µs, with tabs between.
    let log = fs::read_to_string(folder.join("log")).unwrap();
    let mut times: Vec<u32> = log
        .lines()
        .map(|line| {
            let [_, "200", time] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
            time.parse().unwrap()
        })
        .collect();
    assert_eq!(times.len(), calls);
    times.sort_unstable();
    f64::from(times[times.len() * 99 / 100])
}

fn output(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {output:?}");
    output.stdout
}
