//! Two servers, the same calls to both, in turns.

use std::env;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::Plan;
use crate::cases::{Calls, Case, OK, bearer, frame};
use crate::client::{Client, Pattern};
use crate::process::Server;
use crate::report::{Figures, Row};

/// A server, and the code that it is to answer with.
struct Side {
    server: Server,
    client: Client,
    expected: i32,
    /// CPU time in µs per call, one for each round.
    figures: Vec<f64>,
}

impl Side {
    async fn new(server: Server, pattern: Pattern, expected: i32) -> Self {
        let client = Client::connect(&server, pattern).await;
        Self { server, client, expected, figures: Vec::new() }
    }

    async fn round(&mut self, calls: &Arc<[Bytes]>) {
        let before = self.server.cpu();
        self.client.run(calls, self.expected).await;
        let spent = self.server.cpu().since(&before);
        self.figures.push(spent.as_secs_f64() * 1e6 / f64::from(u32::try_from(calls.len()).unwrap()));
    }
}

/// The first round warms both up.
async fn in_turns(ours: &mut Side, rival: &mut Side, rounds: impl IntoIterator<Item = Arc<[Bytes]>>) {
    let mut rounds = rounds.into_iter();
    let first = rounds.next().unwrap();
    ours.client.run(&first, ours.expected).await;
    rival.client.run(&first, rival.expected).await;
    for (number, calls) in rounds.enumerate() {
        // In turns also within a round: whatever comes second may find the machine in another mood.
        if number % 2 == 0 {
            ours.round(&calls).await;
            rival.round(&calls).await;
        } else {
            rival.round(&calls).await;
            ours.round(&calls).await;
        }
    }
}

/// One case, beside the bare server.
pub(crate) async fn measure(case: &Case, plan: &Plan) -> Row {
    // Beforehand: while it signs, the client would not answer the servers' pings.
    let rounds = case.rounds(plan.rounds, plan.calls);
    let folder = case.folder();
    let ours = Server::countersign(&case.flags, folder.path());
    let mut ours = Side::new(ours, Pattern::ORDINARY, case.expected).await;
    let mut bare = Side::new(bare(folder.path(), 1), Pattern::ORDINARY, OK).await;
    let unavoidable = (case.unavoidable)();
    if let Some(request) = &case.ready {
        ours.client.wait_for(&frame(request), OK).await;
    }
    in_turns(&mut ours, &mut bare, rounds).await;
    Row {
        name: case.name.to_owned(),
        figures: Figures::Ratio { ours: ours.figures, rival: bare.figures, unavoidable },
        goal: case.limit,
    }
}

/// What may not grow: a row, the case with many of something, the one with one, and the goal.
pub(crate) const GROWTH: [(&str, &str, &str, f64); 2] = [
    ("64-issuers-beside-one", "rs256-64-issuers", "rs256-first-seen", 1.05),
    ("100-keys-beside-one", "rs256-100-keys", "rs256-first-seen", 1.05),
];

/// One case of ours beside another that takes the same calls.
pub(crate) async fn beside(name: &str, many: &Case, one: &Case, goal: f64, plan: &Plan) -> Row {
    let rounds = many.rounds(plan.rounds, plan.calls);
    against(name, [many, one], Pattern::ORDINARY, goal, rounds).await
}

/// Two workers beside one, as an Envoy with two workers calls them.
pub(crate) async fn two_workers(plan: &Plan) -> Row {
    let case = |flag| Case {
        name: "two-workers",
        flags: vec!["--token-auth-file=tokens.csv", "--anonymous-auth=false", flag],
        files: vec![("tokens.csv", "token-1,alice,1,\"dev,ops\"\n".to_owned())],
        ready: None,
        expected: OK,
        limit: 1.10,
        calls: Calls::Same(bearer("token-1")),
        unavoidable: Box::new(|| 0.0),
    };
    let (two, one) = (case("--worker-threads=2"), case("--worker-threads=1"));
    let rounds = two.rounds(plan.rounds, plan.calls);
    against(two.name, [&two, &one], Pattern::TWO_WORKERS, two.limit, rounds).await
}

async fn against(
    name: &str,
    cases: [&Case; 2],
    pattern: Pattern,
    goal: f64,
    rounds: Vec<Arc<[Bytes]>>,
) -> Row {
    let folders = cases.map(Case::folder);
    let mut sides = Vec::new();
    for (case, folder) in cases.iter().zip(&folders) {
        let side = Side::new(Server::countersign(&case.flags, folder.path()), pattern, case.expected).await;
        if let Some(request) = &case.ready {
            side.client.wait_for(&frame(request), OK).await;
        }
        sides.push(side);
    }
    let [mut ours, mut rival] = <[Side; 2]>::try_from(sides).ok().unwrap();
    in_turns(&mut ours, &mut rival, rounds).await;
    let figures = Figures::Ratio { ours: ours.figures, rival: rival.figures, unavoidable: 0.0 };
    Row { name: name.to_owned(), figures, goal }
}

/// The server that we are measured against, with so many threads.
pub(crate) fn bare(folder: &Path, threads: usize) -> Server {
    start_bare(&["bare"], folder, threads)
}

/// The same, but it answers with dynamic metadata too.
pub(crate) fn bare_with_metadata(folder: &Path, threads: usize) -> Server {
    start_bare(&["bare", METADATA], folder, threads)
}

fn start_bare(arguments: &[&str], folder: &Path, threads: usize) -> Server {
    Server::start(env::current_exe().unwrap().to_str().unwrap(), arguments, folder, threads)
}

/// Tells the bare server to.
pub(crate) const METADATA: &str = "metadata";
