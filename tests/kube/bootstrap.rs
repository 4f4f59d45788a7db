//! Bootstrap tokens whose Secrets are in a real cluster.

use std::fs;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::time::sleep;

use super::live::{KUBECONFIG, Live, live_vectors, recorded_objects, verdict, verdict_in};
use super::random::Random;
use super::support::envoy::{Encoding, Request, check_request};
use super::support::program::Server;
use super::support::verdict::{User, Verdict};
use super::vectors::{data, scenarios};

pub(crate) const FLAG: &str = "--enable-bootstrap-token-auth";

/// What is made or deleted is known sooner than this on the slowest machine; the next list or the next watch comes after 30 s.
pub(crate) const SOON: Duration = Duration::from_secs(10);

pub(crate) fn request(token: &str) -> Request {
    Request {
        method: "GET".into(),
        path: "/".into(),
        headers: vec![("Authorization".into(), format!("Bearer {token}").into_bytes())],
        certificates: Vec::new(),
        key: None,
    }
}

/// The Secret of a token whose id this is.
pub(crate) fn secret(id: &str) -> Json {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "bootstrap.kubernetes.io/token",
        "metadata": {"name": format!("bootstrap-token-{id}"), "namespace": "kube-system"},
        "stringData": {
            "token-id": id, "token-secret": SECRET, "usage-bootstrap-authentication": "true",
            "auth-extra-groups": "system:bootstrappers:worker"
        },
    })
}

const SECRET: &str = "0123456789abcdef";

pub(crate) fn token(id: &str) -> String {
    format!("{id}.{SECRET}")
}

pub(crate) fn user(id: &str) -> Verdict {
    Verdict::Authenticated(User {
        username: format!("system:bootstrap:{id}"),
        groups: ["system:bootstrappers", "system:bootstrappers:worker", "system:authenticated"]
            .map(str::to_owned)
            .into(),
        ..User::default()
    })
}

/// Asks until the verdict is this one, and says how long that took.
pub(crate) async fn until(expected: &Verdict, server: &Server, token: &str, within: Duration) -> Duration {
    let (start, mut client) = (Instant::now(), server.client().await);
    loop {
        let ours = verdict_in(&mut client, &request(token), Encoding::Raw).await;
        if ours == *expected {
            return start.elapsed();
        }
        assert!(start.elapsed() < within, "still {ours} after {within:?}, and not {expected}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// Every recorded verdict on a bootstrap token, with the objects that it was recorded with. countersign may do no more than
/// `deploy/kubernetes/rbac.yaml` lets it.
#[tokio::test]
async fn recorded_bootstrap_tokens_get_the_verdicts_of_kube_apiserver_with_no_more_than_the_role_that_we_ask_for()
 {
    let live = Live::start(&recorded_objects(), &[]).await;
    let world = data("world");
    let server = live.subject(&world, &[FLAG, "--token-auth-file=tokens/tokens.csv"]).await;

    let chain = scenarios().into_iter().find(|scenario| scenario.name == "chain").unwrap();
    let is_meant = |id: &str| id.starts_with("chain/bootstrap/") || id == "chain/tokenfile/beats-bootstrap";
    let vectors: Vec<_> = chain.vectors.iter().filter(|vector| is_meant(&vector.id)).collect();
    let (mut problems, mut client) = (Vec::new(), server.client().await);
    for vector in &vectors {
        let (theirs, ours) = (vector.theirs(), verdict(&mut client, &vector.request.request()).await);
        if theirs != ours {
            problems.push(format!("{}: theirs {theirs}, ours {ours}", vector.id));
        }
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    // Those that look like no bootstrap token at all are replayed without a cluster, too.
    assert!(vectors.len() >= live_vectors("chain")["bootstrap"], "{} vectors", vectors.len());

    let forbidden = |error: kube::Error| matches!(error, kube::Error::Api(status) if status.is_forbidden());
    let maps: Api<ConfigMap> = Api::all(live.countersign());
    assert!(maps.list(&ListParams::default()).await.is_err_and(forbidden));
    let secrets: Api<Secret> = Api::all(live.countersign());
    assert!(secrets.list(&ListParams::default()).await.is_err_and(forbidden));
}

/// A token counts from a moment after it was made until a moment after it was deleted. While kube-apiserver is wedged or away, what was known
/// goes on to count and readiness says for how long; when it is back, nobody has to do anything.
#[tokio::test]
async fn tokens_come_and_go_with_their_secrets_and_an_api_server_that_is_away_changes_nothing() {
    let mut live = Live::start(&[], &[]).await;
    let folder = TempDir::new().unwrap();
    let mut server = live.subject(folder.path(), &[FLAG]).await;
    let known = async |id: &str| until(&user(id), &server, &token(id), SOON).await;
    let unknown = async |id: &str| until(&Verdict::Refused, &server, &token(id), SOON).await;

    until(&Verdict::Refused, &server, &token("abcdef"), Duration::ZERO).await;
    for id in ["abcdef", "stayed", "goners"] {
        live.create(&secret(id)).await;
        println!("a new token counts after {:?}", known(id).await);
    }
    let secrets: Api<Secret> = Api::namespaced(live.admin(), "kube-system");
    secrets.delete("bootstrap-token-abcdef", &DeleteParams::default()).await.unwrap();
    println!("a deleted token is refused after {:?}", unknown("abcdef").await);

    live.signal_api("STOP");
    for _ in 0..100 {
        until(&user("stayed"), &server, &token("stayed"), Duration::ZERO).await;
        until(&Verdict::Refused, &server, &token("abcdef"), Duration::ZERO).await;
    }
    live.signal_api("CONT");

    live.stop_api();
    server.wait_for("cannot watch the cluster");
    for id in ["stayed", "goners"] {
        until(&user(id), &server, &token(id), Duration::ZERO).await;
    }
    let (status, page) = server.admin_page("/readyz?verbose").await;
    assert_eq!(status, 200, "still ready:\n{page}");
    let line = page
        .lines()
        .find(|line| line.starts_with("[+]watch ok: secrets/bootstrap-token: in sync, 2 objects, answered "));
    assert!(line.is_some_and(|line| line.contains(" failures, last: ")), "{page}");
    let (_, metrics) = server.admin_page("/metrics").await;
    for metric in [
        "countersign_watch_objects{resource=\"secrets/bootstrap-token\"} 2\n",
        "countersign_watch_age_seconds{resource=\"secrets/bootstrap-token\"} ",
        "countersign_watch_failures{resource=\"secrets/bootstrap-token\"} ",
    ] {
        assert!(metrics.contains(metric), "{metric} in\n{metrics}");
    }

    // Nobody sees this one go.
    live.remove(&secret("goners"));
    live.start_api().await;
    live.create(&secret("latest")).await;
    println!("back again after {:?}", until(&user("latest"), &server, &token("latest"), LONGEST_PAUSE).await);
    until(&Verdict::Refused, &server, &token("goners"), LONGEST_PAUSE).await;
    until(&user("stayed"), &server, &token("stayed"), Duration::ZERO).await;
    assert!(!server.logged().contains(SECRET), "a secret in the log");
}

/// Its certificate has to be of the CA that the kubeconfig names, or the system's, and for the name that it names.
#[tokio::test]
async fn an_api_server_that_does_not_prove_who_it_is_is_not_believed() {
    let live = Live::start(&[], &[]).await;
    live.create(&secret("abcdef")).await;
    let kubeconfig = fs::read_to_string(live.dir.path().join(KUBECONFIG)).unwrap();
    let kubeconfig: Json = serde_json::from_str(&kubeconfig).unwrap();
    for (field, value) in [("certificate-authority", json!(null)), ("tls-server-name", json!("another.test"))]
    {
        let mut changed = kubeconfig.clone();
        changed["clusters"][0]["cluster"][field] = value;
        fs::write(live.dir.path().join("changed"), changed.to_string()).unwrap();
        let mut server = Server::start(live.dir.path(), &[FLAG, "--kubeconfig=changed"]);
        let event = server.wait_for("cannot watch the cluster");
        let error = event["fields"]["error"].as_str().unwrap();
        assert!(error.contains("invalid peer certificate"), "{field}: {error}");
        assert_eq!(server.admin_page("/readyz").await.0, 503);
        until(&Verdict::Refused, &server, &token("abcdef"), Duration::ZERO).await;
    }
}

/// The watches' longest pause between attempts, which is 30 s and by chance up to as much again, and the attempt.
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(70);

/// More Secrets than any cluster has tokens: they are known before countersign says that it is ready, and the look-up does not notice.
#[tokio::test]
async fn ten_thousand_tokens_are_known_and_cost_no_more_than_ten() {
    let mut subjects = Vec::new();
    for count in [10_u32, 10_000] {
        let objects: Vec<_> = (0..count).map(stored).collect();
        let live = Live::start(&objects, &[]).await;
        let folder = TempDir::new().unwrap();
        let start = Instant::now();
        let server = live.subject(folder.path(), &[FLAG]).await;
        println!("{count} tokens: ready after {:?}", start.elapsed());
        let client = server.client().await;
        subjects.push((count, client, Vec::new(), (live, server)));
    }
    // In turns, so that whatever else the machine does befalls both.
    for number in 0..2_000 {
        for (count, client, times, _) in &mut subjects {
            let id = format!("{:06}", number * 7919 % *count);
            let check = check_request(&request(&token(&id)), Encoding::Raw);
            let start = Instant::now();
            let answer = client.check(check).await.unwrap();
            times.push(start.elapsed());
            assert_eq!(answer.get_ref().status.as_ref().unwrap().code, 0, "{id}");
        }
    }
    let median = |(count, _, mut times, _): (u32, _, Vec<Duration>, _)| {
        times.sort();
        println!("{count} tokens: a Check takes {:?} (median)", times[times.len() / 2]);
        times[times.len() / 2]
    };
    let medians: Vec<_> = subjects.into_iter().map(median).collect();
    assert!(medians[1] < 2 * medians[0], "{medians:?}");
}

/// A Secret as etcd has it.
fn stored(number: u32) -> Json {
    let id = format!("{number:06}");
    let mut secret = secret(&id);
    let fields = secret.as_object_mut().unwrap();
    let data = fields.remove("stringData").unwrap();
    let data = data.as_object().unwrap().iter();
    let data: serde_json::Map<_, _> =
        data.map(|(key, value)| (key.clone(), STANDARD.encode(value.as_str().unwrap()).into())).collect();
    fields.insert("data".to_owned(), data.into());
    secret["metadata"]["uid"] = format!("a5000000-0000-4000-8000-{number:012}").into();
    secret["metadata"]["creationTimestamp"] = "2024-01-01T00:00:00Z".into();
    secret
}

/// Secrets with all sorts of things in them, asked of both servers.
#[tokio::test]
async fn odd_bootstrap_secrets_get_the_verdicts_of_kube_apiserver() {
    let mut random = Random::from_env("bootstrap tokens");
    let objects: Vec<_> = (0..ODD_SECRETS).map(|number| odd(&mut random, number)).collect();
    let live = Live::start(&objects, &["--enable-bootstrap-token-auth"]).await;
    let folder = TempDir::new().unwrap();
    let server = live.subject(folder.path(), &[FLAG]).await;
    let (theirs, mut ours) = (live.nobody(), server.client().await);
    let (mut same, mut refused, mut problems) = (0, 0, Vec::new());
    for (number, object) in objects.iter().enumerate() {
        let token = token(&format!("{number:06}"));
        let theirs = Live::review(&theirs, &token).await;
        let ours = verdict(&mut ours, &request(&token)).await;
        match (theirs == ours, &ours) {
            (true, Verdict::Authenticated(_)) => same += 1,
            (true, Verdict::Refused) => refused += 1,
            (false, _) => problems.push(format!("theirs {theirs}, ours {ours}: {object}")),
        }
    }
    println!("{same} same user, {refused} refused");
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    assert!(same > ODD_SECRETS / 10 && refused > ODD_SECRETS / 10, "{same} same user, {refused} refused");
}

const ODD_SECRETS: usize = 600;

/// A Secret that is good, or not in one or two ways.
pub(crate) fn odd(random: &mut Random, number: usize) -> Json {
    let mut secret = stored(u32::try_from(number).unwrap());
    for _ in 0..random.below(3) {
        let (key, values): (&str, &[&str]) = match random.below(6) {
            0 => ("token-id", &["000000", "", "ABCDEF", "00000", "é"]),
            1 => ("token-secret", &["0123456789abcdeF", "", "0123456789abcdef\n", "0123456789abcde"]),
            2 => ("usage-bootstrap-authentication", &["True", "1", "", "false", "true "]),
            3 => ("auth-extra-groups", &GROUPS),
            4 => ("expiration", &TIMES),
            _ => ("description", &["x"]),
        };
        let value = values[random.below(values.len())];
        match random.below(8) {
            0 => drop(secret["data"].as_object_mut().unwrap().remove(key)),
            1 => secret["metadata"]["deletionTimestamp"] = "2024-02-01T00:00:00Z".into(),
            2 => secret["type"] = "Opaque".into(),
            _ => secret["data"][key] = STANDARD.encode(value).into(),
        }
    }
    secret
}

const GROUPS: [&str; 12] = [
    "",
    ",",
    "system:bootstrappers",
    "system:bootstrappers:",
    "system:bootstrappers:a",
    "system:bootstrappers:b,system:bootstrappers:a,system:bootstrappers:b",
    "system:bootstrappers:a,system:masters",
    "system:bootstrappers:a:b-c",
    "system:bootstrappers:-",
    "system:bootstrappers::",
    "system:bootstrappers:a\n",
    "system:bootstrappers:\u{e9}",
];

const TIMES: [&str; 20] = [
    "2089-01-01T00:00:00Z",
    "2021-01-01T00:00:00Z",
    "2089-01-01T00:00:00.5Z",
    "2089-01-01T00:00:00,5Z",
    "2089-01-01T0:00:00Z",
    "2089-01-01T00:00:00+24:00",
    "2089-01-01T00:00:00+24:60",
    "2089-01-01T00:00:00+25:00",
    "2089-01-01T00:00:00-00:00",
    "2089-02-29T00:00:00Z",
    "2088-02-29T00:00:00Z",
    "2089-01-01T24:00:00Z",
    "2089-01-01T00:00:60Z",
    "9999-12-31T23:59:59-23:59",
    "0000-01-01T00:00:00Z",
    "2089-01-01t00:00:00z",
    "2089-01-01 00:00:00Z",
    "2089-01-01T00:00:00",
    "2089-01-01",
    "tomorrow",
];
