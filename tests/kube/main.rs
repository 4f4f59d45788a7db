//! Differential tests: the same requests to a real kube-apiserver and to countersign have to have the same verdicts. And kubectl.
//!
//! `COUNTERSIGN_TEST_KUBE` names the directory that `tests/kube/build` has filled. `COUNTERSIGN_TEST_KUBE_REQUESTS` makes a run longer,
//! `COUNTERSIGN_TEST_KUBE_SEED` repeats one. `COUNTERSIGN_TEST_ENVOY` names Envoy's binary, which kubectl and the gateways need.
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "tests panic on purpose, print what they counted and read the environment for themselves"
)]

mod bootstrap;
mod cel;
mod certificates;
mod cluster;
mod compare;
mod deploy;
mod differential;
#[path = "../envoy/support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "Envoy, CAs and an issuer are used here")]
mod edge;
mod faults;
mod generate;
mod impersonation;
mod json;
mod jwt;
mod kubectl;
mod live;
mod live_accounts;
mod metrics;
mod pod;
#[path = "../support/port.rs"]
mod port;
mod profiling;
mod random;
mod service_accounts;
#[path = "../support/mod.rs"]
mod support;
#[path = "../it/conformance/vectors.rs"]
#[allow(dead_code, reason = "only the requests that need a cluster are replayed here")]
mod vectors;
mod way;
mod webhook;
mod wire;
mod x509;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::time::{Duration, Instant};
use std::{env, fs};

use futures_util::{StreamExt, stream};
use serde::Deserialize;
use tempfile::TempDir;
use tokio::time::sleep;

use cluster::{Cluster, Door, READY_ROW, START};
use compare::{Outcome, RULES, compare};
use generate::{ANONYMOUS_PATHS, Case, TokenFile};
use random::Random;
use support::envoy::Request;
use support::issuers::Issuers;
use support::subject::Subject;
use support::verdict::{User, Verdict};

/// Before somebody is asked again who may have said no for want of an answer, which is remembered for a second.
const AGAIN: [Duration; 3] = [Duration::from_millis(1200), Duration::from_secs(2), Duration::from_secs(4)];

/// So many requests are under way at a time.
const ABREAST: usize = 6;

/// How many requests in all; `COUNTERSIGN_TEST_KUBE_REQUESTS` says otherwise.
const REQUESTS: usize = 2000;

#[tokio::test]
async fn tokens_in_headers_and_subprotocols_get_the_verdicts_of_kube_apiserver() {
    let mut random = Random::from_env("credentials");
    let tokens = token_file(&mut random);
    let cases: Vec<_> =
        (0..requests() * 3 / 4).map(|_| generate::credentials(&mut random, &tokens)).collect();

    let world = TempDir::new().unwrap();
    fs::write(world.path().join("tokens.csv"), &tokens.csv).unwrap();
    let counts = run(world.path(), &["--token-auth-file=tokens.csv".into()], &cases).await;

    for family in ["authorization", "websocket", "authorization and websocket"] {
        assert_seen(&counts, family, &[Outcome::SameUser, Outcome::BothAnonymous, Outcome::BothRefuse]);
    }
    assert_seen(&counts, "repeated authorization", &[Outcome::BothRefuse, Outcome::Declared(RULES[0].name)]);
    assert_seen(&counts, "no credential", &[Outcome::BothAnonymous]);
}

#[tokio::test]
async fn anonymous_requests_get_the_verdicts_of_kube_apiserver_on_every_path() {
    let mut random = Random::from_env("paths");
    let tokens = token_file(&mut random);
    let cases: Vec<_> = (0..requests() / 4).map(|_| generate::anonymous(&mut random, &tokens)).collect();

    let world = TempDir::new().unwrap();
    fs::write(world.path().join("tokens.csv"), &tokens.csv).unwrap();
    fs::write(world.path().join("authn.yaml"), authentication_configuration()).unwrap();
    let flags = ["--token-auth-file=tokens.csv".into(), "--authentication-config=authn.yaml".into()];
    let counts = run(world.path(), &flags, &cases).await;

    assert_seen(
        &counts,
        "anonymous by path",
        &[Outcome::BothAnonymous, Outcome::BothRefuse, Outcome::Declared(RULES[4].name)],
    );
}

/// Certificates of every kind of issuer, and what front proxies write or others pretend to.
#[tokio::test]
async fn client_certificates_and_front_proxies_get_the_verdicts_of_kube_apiserver() {
    let mut random = Random::from_env("certificates");
    let world = TempDir::new().unwrap();
    fs::write(world.path().join("tokens.csv"), READY_ROW).unwrap();
    let pki = certificates::Pki::new(world.path());
    let cases: Vec<_> = (0..requests() / 4).map(|_| pki.case(&mut random)).collect();
    let counts = run(world.path(), &certificates::FLAGS.map(str::to_owned), &cases).await;

    assert_seen(&counts, "certificate", &[Outcome::SameUser, Outcome::BothRefuse]);
    assert_seen(&counts, "certificate", &[Outcome::Declared(RULES[6].name)]);
    assert_seen(&counts, "no certificate", &[Outcome::BothAnonymous]);
}

/// Tokens of issuers with keys of every kind: good ones, and ones that are odd in one way each, or whose issuer is.
#[tokio::test(flavor = "multi_thread")] // the start of a server blocks, and the issuers are in this process
async fn json_web_tokens_get_the_verdicts_of_kube_apiserver() {
    let mut random = Random::from_env("JSON Web Tokens");
    let world = TempDir::new().unwrap();
    fs::write(world.path().join("tokens.csv"), READY_ROW).unwrap();
    let forge = jwt::Forge::new(world.path(), &mut random);
    let _issuers = Issuers::start(world.path()).await;
    let cases: Vec<_> = (0..requests() * 5 / 8).map(|_| forge.case(&mut random)).collect();
    let good = forge.good(&mut random);
    let counts = run_once_accepted(world.path(), &jwt::FLAGS.map(str::to_owned), &good, &cases).await;

    let [good, odd @ ..] = jwt::FAMILIES;
    assert!(counts[good].iter().all(|outcome| *outcome == Outcome::SameUser), "{:?}", counts[good]);
    for family in odd {
        assert_seen(&counts, family, &[Outcome::SameUser, Outcome::BothRefuse]);
    }
    let declared = [
        ("claims", "a value that no header can carry"),
        ("claims", "a number beyond an int64"),
        ("signature", "an algorithm of another curve"),
    ];
    for (family, rule) in declared {
        assert_seen(&counts, family, &[Outcome::Declared(rule)]);
    }
}

fn requests() -> usize {
    requests_or(REQUESTS)
}

fn requests_or(default: usize) -> usize {
    env::var("COUNTERSIGN_TEST_KUBE_REQUESTS")
        .map_or(default, |n| n.parse().expect("COUNTERSIGN_TEST_KUBE_REQUESTS is a number"))
}

/// Builds the Go program in the folder of this name beside us.
fn go_program(name: &str) -> PathBuf {
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    // Another run of these tests may be about to execute the one that is there.
    let own = program.with_extension(process::id().to_string());
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name);
    let built = Command::new("go")
        .args(["build", "-buildvcs=false", "-o"])
        .arg(&own)
        .arg(".")
        .current_dir(source)
        .status();
    assert!(built.expect("Go is there: tests/run says so where it is not").success());
    fs::rename(own, &program).unwrap();
    program
}

fn token_file(random: &mut Random) -> TokenFile {
    let odd = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/world/tokens/tokens-odd.csv");
    TokenFile::random(random, &(READY_ROW.to_owned() + &fs::read_to_string(odd).unwrap()))
}

fn authentication_configuration() -> String {
    let paths: String = ANONYMOUS_PATHS.iter().map(|path| format!("  - path: \"{path}\"\n")).collect();
    format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\nanonymous:\n  enabled: true\n  conditions:\n{paths}"
    )
}

type Counts = BTreeMap<String, Vec<Outcome>>;

/// Sends all cases to both servers, prints how they compare and fails if there is an undeclared difference.
async fn run(world: &Path, flags: &[String], cases: &[Case]) -> Counts {
    run_once_accepted(world, flags, &[], cases).await
}

/// The same, after either server has accepted each of the requests `good`: what they need is fetched in the background.
async fn run_once_accepted(world: &Path, flags: &[String], good: &[Request], cases: &[Case]) -> Counts {
    let theirs = kube_apiserver(world, flags, good, cases).await;
    judge(&Subject::start(world, flags).await, good, cases, &theirs).await
}

/// Sends all cases to countersign and compares its verdicts with kube-apiserver's.
async fn judge(server: &Subject, good: &[Request], cases: &[Case], theirs: &[Verdict]) -> Counts {
    server.until_ready().await;
    for request in good {
        let ask = async || {
            let verdicts = server.verdicts(request).await;
            verdicts.iter().all(|(_, verdict)| matches!(verdict, Ok(Verdict::Authenticated(_))))
        };
        until_accepted(request, ask, String::new).await;
    }
    let (mut counts, mut differences) = (Counts::new(), Vec::new());
    let ask = async |index: usize| (index, server.verdicts(&cases[index].request).await);
    let ours = stream::iter(0..cases.len()).map(ask).buffer_unordered(ABREAST);
    let ours: BTreeMap<_, _> = ours.collect().await;
    for ((case, theirs), ours) in cases.iter().zip(theirs).zip(ours.into_values()) {
        let mut outcome = compare(&case.request, theirs, &ours);
        for pause in AGAIN {
            // countersign waits two seconds for kube-apiserver, which on a slow machine may say nothing for as long. That is a reason to refuse
            // somebody once, never to let somebody in. Twenty that stay are told below, and enough.
            let Err(difference) = &outcome else { break };
            if !difference.only_refuses || differences.len() >= 20 {
                break;
            }
            println!("asked again after {pause:?}: {difference}");
            sleep(pause).await;
            outcome = compare(&case.request, theirs, &server.verdicts(&case.request).await);
        }
        match outcome {
            Ok(outcome) => counts.entry(case.family.to_owned()).or_default().push(outcome),
            Err(difference) => differences.push(difference.to_string()),
        }
    }
    print(&counts);
    let n = differences.len();
    differences.truncate(20);
    assert!(n == 0, "{n} of {} requests differ, among them:\n{}", cases.len(), differences.join("\n"));
    counts
}

async fn until_accepted(
    request: &Request,
    mut is_accepted: impl AsyncFnMut() -> bool,
    log: impl Fn() -> String,
) {
    // kube-apiserver goes to an issuer again after 10 s.
    let deadline = Instant::now() + START;
    while !is_accepted().await {
        assert!(Instant::now() < deadline, "never accepted: {:?}\n{}", request.headers, log());
        sleep(Duration::from_millis(50)).await;
    }
}

fn print(counts: &Counts) {
    for (family, outcomes) in counts {
        let count = |outcome| outcomes.iter().filter(|o| **o == outcome).count();
        let [user, anonymous, refused] =
            [Outcome::SameUser, Outcome::BothAnonymous, Outcome::BothRefuse].map(count);
        println!("{family:28} {user:5} same user {anonymous:5} anonymous {refused:5} refused");
        for rule in RULES {
            match count(Outcome::Declared(rule.name)) {
                0 => {}
                n => println!("{:28} {n:5} diverge as declared: {}", "", rule.name),
            }
        }
    }
}

/// A run that never sees one of these would prove nothing about it.
fn assert_seen(counts: &Counts, family: &str, outcomes: &[Outcome]) {
    for outcome in outcomes {
        assert!(
            counts.get(family).is_some_and(|seen| seen.contains(outcome)),
            "{family}: no {outcome:?} among the requests"
        );
    }
}

/// What a real kube-apiserver makes of the cases.
async fn kube_apiserver(world: &Path, flags: &[String], good: &[Request], cases: &[Case]) -> Vec<Verdict> {
    let cluster = Cluster::start(world, flags).await;
    verdicts(&cluster.door, good, cases, || cluster.log(), || cluster.audit_log()).await
}

/// What kube-apiserver makes of the cases, as it answers them and as it logs them.
async fn verdicts(
    door: &Door,
    good: &[Request],
    cases: &[Case],
    log: impl Fn() -> String,
    audit_log: impl Fn() -> String,
) -> Vec<Verdict> {
    for request in good {
        let ask = async || wire::ask(door, request, "good").await.is_ok_and(|answer| answer.status == 201);
        until_accepted(request, ask, &log).await;
    }
    let ask = async |(index, case): (usize, &Case)| {
        let request = without_impersonation(&case.request);
        let answer = wire::ask(door, &request, &format!("case-{index}")).await;
        (index, answer.unwrap_or_else(|e| panic!("no answer from kube-apiserver to {request:?}: {e}")))
    };
    let answers = stream::iter(cases.iter().enumerate()).map(ask).buffer_unordered(ABREAST);
    let answers: BTreeMap<usize, wire::Answer> = answers.collect().await;
    let users = audited(&audit_log());
    let verdict = |(index, answer): (usize, wire::Answer)| {
        let user = users.get(&format!("case-{index}"));
        match (answer.status, user) {
            (401, _) => Verdict::Refused,
            // Go's HTTP server does not let every request get as far as the audit log.
            (400, None) => Verdict::Refused,
            (201, Some(user)) => {
                let reviewed = answer.body.map(|body| reviewed(&body));
                assert_eq!(
                    reviewed.as_ref().unwrap_or(user),
                    user,
                    "the audit log and the SelfSubjectReview disagree"
                );
                Verdict::Authenticated(user.clone())
            }
            (_, Some(user)) => Verdict::Authenticated(user.clone()),
            (status, None) => panic!("status {status} and no audit event for {:?}", cases[index].request),
        }
    };
    answers.into_iter().map(verdict).collect()
}

/// kube-apiserver honours these headers after authentication, which is not what is compared here.
fn without_impersonation(request: &Request) -> Request {
    let mut request = request.clone();
    request.headers.retain(|(name, _)| !name.to_ascii_lowercase().starts_with("impersonate-"));
    request
}

/// The user of each audit event.
fn audited(log: &str) -> HashMap<String, User> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Event {
        #[serde(rename = "auditID")]
        audit_id: String,
        stage: String,
        #[serde(default)]
        user: KubeUser,
    }
    // The last line may be half written.
    let (log, _) = log.rsplit_once('\n').unwrap_or_default();
    let events = log.lines().map(|line| serde_json::from_str::<Event>(line).unwrap());
    events
        .filter(|event| event.stage == "RequestReceived")
        .map(|event| (event.audit_id, event.user.into()))
        .collect()
}

fn reviewed(body: &[u8]) -> User {
    let review: serde_json::Value = serde_json::from_slice(body).unwrap();
    serde_json::from_value::<KubeUser>(review["status"]["userInfo"].clone()).unwrap().into()
}

/// `authentication.k8s.io/v1` UserInfo, in which everything that is empty is left out.
#[derive(Default, Deserialize)]
#[serde(default)]
struct KubeUser {
    username: String,
    uid: String,
    groups: Vec<String>,
    /// No values are written as null.
    extra: BTreeMap<String, Option<Vec<String>>>,
}

impl From<KubeUser> for User {
    fn from(KubeUser { username, uid, groups, extra }: KubeUser) -> Self {
        let extra = extra.into_iter().map(|(key, values)| (key, values.unwrap_or_default())).collect();
        Self { username, uid, groups, extra }
    }
}
