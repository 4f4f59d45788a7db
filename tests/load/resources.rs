//! What countersign needs besides CPU time: memory, time to start, disk.

use std::fs;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tempfile::TempDir;

use crate::Plan;
use crate::cases::{Calls, OK, bearer, frame};
use crate::client::{Client, Pattern};
use crate::contest::bare;
use crate::jwt;
use crate::process::{COUNTERSIGN, Server};
use crate::report::{Figures, Row};

/// Everything, or what of it is wanted.
pub(crate) async fn measure(plan: &Plan) -> Vec<Row> {
    let mut rows = Vec::new();
    if plan.wants("memory-idle") {
        rows.push(idle(plan).await);
    }
    if plan.wants("memory-identities") {
        rows.push(identities(plan).await);
    }
    if plan.wants("memory-static-tokens") {
        rows.push(static_tokens(plan).await);
    }
    if plan.wants("start") {
        rows.push(start(plan).await);
    }
    if plan.wants("binary") {
        rows.push(binary());
    }
    rows
}

/// After one Check, with one token.
async fn idle(plan: &Plan) -> Row {
    let (folder, flags) = tokens(1);
    let (mut ours, mut others) = (Vec::new(), Vec::new());
    for _ in 0..plan.rounds {
        let server = Server::countersign(&flags, folder.path());
        first_check(&server).await;
        ours.push(server.memory().now);
        let server = bare(folder.path(), 1);
        first_check(&server).await;
        others.push(server.memory().now);
    }
    Row { name: "memory-idle".to_owned(), figures: mebibytes(ours, others, None), goal: 15.0 }
}

/// With as many JSON Web Tokens as are remembered.
async fn identities(plan: &Plan) -> Row {
    let count = plan.size(100_000);
    let mut case = jwt::cases().into_iter().find(|case| case.name == "es256-first-seen").unwrap();
    // Until the last of them is there.
    case.flags.push("--token-success-cache-ttl=1h");
    let folder = case.folder();
    let server = Server::countersign(&case.flags, folder.path());
    let client = Client::connect(&server, Pattern::ORDINARY).await;
    client.wait_for(&frame(case.ready.as_ref().unwrap()), OK).await;
    let Calls::Fresh(make) = &case.calls else { panic!("first seen") };
    let numbers: Vec<usize> = (0..count).collect();
    for some in numbers.chunks(5_000) {
        let calls: Vec<Bytes> = some.iter().map(|number| frame(&make(*number))).collect();
        let calls = calls.into();
        // The second time its reply is kept, too.
        for _ in 0..2 {
            client.run(&calls, OK).await;
        }
    }
    let memory = server.memory();
    let figures = mebibytes(vec![memory.now], Vec::new(), Some(memory.peak));
    Row { name: format!("memory-identities ({count})"), figures, goal: 80.0 }
}

async fn static_tokens(plan: &Plan) -> Row {
    let count = plan.size(1_000_000);
    let (folder, flags) = tokens(count);
    let server = Server::countersign(&flags, folder.path());
    first_check(&server).await;
    let memory = server.memory();
    let figures = mebibytes(vec![memory.now], Vec::new(), Some(memory.peak));
    Row { name: format!("memory-static-tokens ({count})"), figures, goal: 200.0 }
}

/// Until the first Check is answered.
async fn start(plan: &Plan) -> Row {
    let (folder, flags) = tokens(1);
    let (mut ours, mut others) = (Vec::new(), Vec::new());
    for _ in 0..STARTS * plan.rounds {
        let begun = Instant::now();
        first_check(&Server::countersign(&flags, folder.path())).await;
        ours.push(milliseconds(begun.elapsed()));
        let begun = Instant::now();
        first_check(&bare(folder.path(), 1)).await;
        others.push(milliseconds(begun.elapsed()));
    }
    let figures = Figures::Plain { unit: "ms", ours, other: others, peak: None };
    Row { name: "start".to_owned(), figures, goal: 50.0 }
}

/// For each round: they take little time, and vary.
const STARTS: usize = 4;

/// The release profile strips it.
fn binary() -> Row {
    let bytes = u32::try_from(fs::metadata(COUNTERSIGN).unwrap().len()).unwrap();
    let figures =
        Figures::Plain { unit: "MB", ours: vec![f64::from(bytes) / 1e6], other: Vec::new(), peak: None };
    Row { name: "binary".to_owned(), figures, goal: 20.0 }
}

/// A folder with a file of so many tokens, and the flags for it.
fn tokens(count: usize) -> (TempDir, [&'static str; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let line = |number| format!("token-{number},user-{number},{number},\"dev,ops\"\n");
    fs::write(folder.path().join("tokens.csv"), (1..=count).map(line).collect::<String>()).unwrap();
    (folder, ["--token-auth-file=tokens.csv", "--anonymous-auth=false"])
}

async fn first_check(server: &Server) {
    Client::connect(server, Pattern::ORDINARY).await.wait_for(&frame(&bearer("token-1")), OK).await;
}

fn mebibytes(ours: Vec<u32>, other: Vec<u32>, peak: Option<u32>) -> Figures {
    let [ours, other] = [ours, other].map(|figures| figures.into_iter().map(in_mebibytes).collect());
    Figures::Plain { unit: "MiB", ours, other, peak: peak.map(in_mebibytes) }
}

pub(crate) fn in_mebibytes(kibibytes: u32) -> f64 {
    f64::from(kibibytes) / 1024.0
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
