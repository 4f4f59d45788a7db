//! What is lost while a cluster is lost, and for how long: etcd killed, the API server away that is also the webhook, and the connection cut.

use std::fs;
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use futures_util::future::join_all;
use k8s_openapi::api::core::v1::{Pod, Secret};
use serde_json::{Value as Json, json};
use tokio::time::sleep;
use tonic::transport::{Channel, Endpoint};

use super::bootstrap::{self, LONGEST_PAUSE, SOON, request, until};
use super::live::{KUBECONFIG, Live, verdict_in};
use super::live_accounts::{FLAGS, WEB, delete, pod, team, token};
use super::support::envoy::Encoding;
use super::support::lateness::Lateness;
use super::support::program::{PATIENCE, Server};
use super::support::verdict::Verdict;
use super::vectors::data;
use super::way::{State, Way};

/// A token of the TokenRequest API for each of these Pods, which are made for it.
pub(super) async fn bound<const N: usize>(live: &Live, names: [&str; N]) -> [String; N] {
    let mut tokens = Vec::new();
    for name in names {
        live.create(&pod(name)).await;
        tokens.push(token(live, WEB, Some(["Pod", name])).await);
    }
    tokens.try_into().unwrap()
}

/// A connection to countersign on which an answer may take as long as a review does.
async fn patient(server: &Server) -> AuthorizationClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    AuthorizationClient::new(endpoint.timeout(2 * REVIEW).connect().await.unwrap())
}

/// `authn::token::webhook::TIMEOUT`: no review takes longer.
const REVIEW: Duration = Duration::from_secs(30);

/// `cluster::objects::lookup::MAX_WAIT`: no question about an object takes longer.
pub(super) const LOOKUP: Duration = Duration::from_secs(2);

/// What this machine may add to either. Whoever does not keep to them waits 10 s at least, for a connection.
pub(super) const MARGIN: Duration = Duration::from_secs(5);

/// Nobody waits so long who does not wait for the API server, unless the machine itself is late.
const AT_ONCE: Duration = Duration::from_millis(1500);

/// The verdict, and how long it took.
async fn timed(client: &AuthorizationClient<Channel>, token: &str) -> (Verdict, Duration) {
    let start = Instant::now();
    (verdict_in(&mut client.clone(), &request(token), Encoding::Raw).await, start.elapsed())
}

/// Waits for a denial for these reasons.
fn wait_for_denial(server: &mut Server, reasons: &str) {
    while server.wait_for("denied")["fields"]["rejected"] != reasons {}
}

/// Not only silent (`an_etcd_that_says_nothing_…`) but dead, and then started again on what it had written.
#[tokio::test]
async fn an_etcd_that_is_killed_is_missed_for_what_is_new_only() {
    let mut live = team(&[]).await;
    let mut server = live.subject(&data("world"), &[&FLAGS[..], &[bootstrap::FLAG]].concat()).await;
    let client = server.client().await;
    live.create(&bootstrap::secret("abcdef")).await;
    let [known, deleted, late] = bound(&live, ["known", "deleted", "late"]).await;
    let counts = Live::review(&live.nobody(), &known).await;
    until(&counts, &server, &known, PATIENCE).await;
    let node = bootstrap::user("abcdef");
    until(&node, &server, &bootstrap::token("abcdef"), PATIENCE).await;
    delete::<Pod>(&live, "team", "deleted").await;
    until(&Verdict::Refused, &server, &deleted, PATIENCE).await;

    live.stop_etcd();
    let away = Instant::now();
    while away.elapsed() < 4 * LOOKUP {
        assert_eq!(timed(&client, &known).await.0, counts);
        assert_eq!(timed(&client, &bootstrap::token("abcdef")).await.0, node);
        let (ours, took) = timed(&client, &deleted).await;
        assert_eq!(ours, Verdict::Refused);
        assert!(took < LOOKUP + MARGIN, "{took:?}");
    }
    wait_for_denial(&mut server, "serviceaccount: cluster_unavailable");
    let (status, page) = server.admin_page("/readyz?verbose").await;
    assert_eq!(status, 200, "{page}");

    live.start_etcd().await;
    let start = Instant::now();
    live.until_ready().await;
    println!("kube-apiserver is ready again after {:?}", start.elapsed());
    let [new] = bound(&live, ["new"]).await;
    let theirs = Live::review(&live.nobody(), &new).await;
    assert_ne!(theirs, Verdict::Refused);
    println!("a new pod counts after {:?}", until(&theirs, &server, &new, SOON).await);
    delete::<Pod>(&live, "team", "late").await;
    println!(
        "a deleted pod is noticed after {:?}",
        until(&Verdict::Refused, &server, &late, LONGEST_PAUSE).await
    );
    delete::<Secret>(&live, "kube-system", "bootstrap-token-abcdef").await;
    let took = until(&Verdict::Refused, &server, &bootstrap::token("abcdef"), LONGEST_PAUSE).await;
    println!("a deleted bootstrap token is noticed after {took:?}");
    assert_eq!(timed(&client, &known).await.0, counts);
}

/// The API server is both what is watched and the webhook, and is first silent, then gone. Whoever needs it waits no longer than is promised,
/// and nobody else waits.
#[tokio::test(flavor = "multi_thread")]
async fn an_api_server_that_is_the_webhook_too_holds_up_nobody_who_does_not_need_it() {
    let mut live = team(&[]).await;
    live.create(&may_review()).await;
    live.write("webhook.kubeconfig", &live.kubeconfig("/apis/authentication.k8s.io/v1/tokenreviews"));
    let webhook = live.dir.path().join("webhook.kubeconfig").display().to_string();
    let flags = [
        &FLAGS[..],
        &[
            "--token-auth-file=tokens/tokens.csv",
            "--authentication-token-webhook-version=v1",
            &format!("--authentication-token-webhook-config-file={webhook}"),
            // So that each is asked about.
            "--authentication-token-webhook-cache-ttl=0s",
            "--token-success-cache-ttl=0s",
        ],
    ];
    let mut server = live.subject(&data("world"), &flags.concat()).await;
    let client = patient(&server).await;
    let [known, deleted] = bound(&live, ["known", "deleted"]).await;
    let counts = Live::review(&live.nobody(), &known).await;
    until(&counts, &server, &known, PATIENCE).await;
    let theirs = Live::review(&live.nobody(), WEBHOOK_ONLY).await;
    let ours = timed(&client, "csv-admin").await.0;
    assert!(theirs != Verdict::Refused && ours != Verdict::Refused);
    until(&theirs, &server, WEBHOOK_ONLY, PATIENCE).await;
    delete::<Pod>(&live, "team", "deleted").await;
    until(&Verdict::Refused, &server, &deleted, PATIENCE).await;
    // What they do not know themselves needs the API server.
    let unknown: Vec<String> = (0..100).map(|n| format!("nobodys-{n}")).collect();
    // The others have to be served in the meantime.
    let others = async |until: Instant| {
        let (mut slowest, mut count) = (Duration::ZERO, 0);
        while Instant::now() < until || count < 20 {
            for (token, verdict) in [(&*known, &counts), ("csv-admin", &ours)] {
                let (now, took) = timed(&client, token).await;
                assert_eq!(now, *verdict);
                (slowest, count) = (slowest.max(took), count + 1);
            }
            sleep(Duration::from_millis(5)).await;
        }
        (count, slowest)
    };
    let lost = async |what: &str, meanwhile: Duration, within: Duration| {
        let lateness = Lateness::watch();
        // Until what was known about single objects is forgotten: a Pod that is gone is no reason not to ask the webhook.
        others(Instant::now() + LOOKUP).await;
        let webhook_only = unknown.iter().map(String::as_str).chain([WEBHOOK_ONLY]);
        let webhook_only = join_all(webhook_only.map(|token| timed(&client, token)));
        let gone = join_all((0..20).map(|_| timed(&client, &deleted)));
        let (webhook_only, gone, (count, slowest)) =
            tokio::join!(webhook_only, gone, others(Instant::now() + meanwhile));
        let longest = |answers: &[(Verdict, Duration)]| {
            assert!(answers.iter().all(|(verdict, _)| *verdict == Verdict::Refused), "{what}");
            answers.iter().map(|(_, took)| *took).max().unwrap()
        };
        let [webhook_only, gone] = [longest(&webhook_only), longest(&gone)];
        let late = lateness.worst();
        println!(
            "{what}: a webhook's token refused after {webhook_only:?}, a pod's that is not known after {gone:?}; \
             {count} others served meanwhile, the slowest in {slowest:?}; the machine was late by {late:?}"
        );
        assert!(webhook_only < within + late, "{what}: {webhook_only:?}");
        assert!(gone < LOOKUP + MARGIN, "{what}: {gone:?}");
        assert!(slowest < AT_ONCE + late, "{what}: {slowest:?}");
    };
    let back = async |server: &Server| {
        let took = until(&theirs, server, WEBHOOK_ONLY, SOON).await;
        println!("the webhook's token counts again after {took:?}");
        until(&Verdict::Refused, server, &deleted, SOON).await;
    };

    live.signal_api("STOP");
    lost("silent", REVIEW, REVIEW + MARGIN).await;
    wait_for_denial(&mut server, "serviceaccount: cluster_unavailable");
    wait_for_denial(&mut server, "webhook: token_review_unavailable");
    live.signal_api("CONT");
    back(&server).await;

    live.stop_api();
    // Go does not ask again where nobody listens, so neither is it here: that would be four seconds of pauses.
    lost("gone", 2 * LOOKUP, 2 * AT_ONCE).await;
    wait_for_denial(&mut server, "webhook: token_review_unavailable");
    wait_for_denial(&mut server, "serviceaccount: cluster_unavailable");
    live.start_api().await;
    back(&server).await;
    let [new] = bound(&live, ["new"]).await;
    let theirs = Live::review(&live.nobody(), &new).await;
    println!("a new pod counts after {:?}", until(&theirs, &server, &new, SOON).await);
    delete::<Pod>(&live, "team", "known").await;
    println!(
        "a deleted pod is noticed after {:?}",
        until(&Verdict::Refused, &server, &known, LONGEST_PAUSE).await
    );
}

/// A token that kube-apiserver alone knows.
pub(super) const WEBHOOK_ONLY: &str = "admin-token";

/// Lets countersign ask for reviews, as the README says.
pub(super) fn may_review() -> Json {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "countersign-token-reviews"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "system:auth-delegator"},
        "subjects": [{"kind": "ServiceAccount", "name": "countersign", "namespace": "countersign"}],
    })
}

/// The API server is well, but the way there is not. What is deleted meanwhile is noticed once there is a way again, which with connections
/// that are dead without a word takes until their silence is noticed.
#[tokio::test(flavor = "multi_thread")] // the way is in this process
async fn what_is_deleted_while_the_connection_is_cut_is_noticed_when_there_is_one_again() {
    let live = team(&[]).await;
    let way = Way::to(live.port).await;
    let kubeconfig = fs::read_to_string(live.dir.path().join(KUBECONFIG)).unwrap();
    live.write("way.kubeconfig", &kubeconfig.replace(&live.port.to_string(), &way.port.to_string()));
    let kubeconfig = format!("--kubeconfig={}", live.dir.path().join("way.kubeconfig").display());
    let flags = [&FLAGS[..], &[bootstrap::FLAG, &kubeconfig, "--groups-encoding=metadata"]].concat();
    let mut server = Server::start(&data("world"), &flags);
    server.until_ready().await;
    let client = server.client().await;

    let pods = ["cut-pod", "silent-pod", "stayed"];
    let ids = ["bycuts", "silent"];
    let tokens = bound(&live, pods).await;
    for id in ids {
        live.create(&bootstrap::secret(id)).await;
        until(&bootstrap::user(id), &server, &bootstrap::token(id), PATIENCE).await;
    }
    let counts = Live::review(&live.nobody(), &tokens[2]).await;
    for token in &tokens[..2] {
        until(&Live::review(&live.nobody(), token).await, &server, token, PATIENCE).await;
    }
    until(&counts, &server, &tokens[2], PATIENCE).await;

    for (number, state) in [State::Cut, State::Silent].into_iter().enumerate() {
        let lost = Instant::now();
        way.is(state);
        delete::<Pod>(&live, "team", pods[number]).await;
        delete::<Secret>(&live, "kube-system", &format!("bootstrap-token-{}", ids[number])).await;
        if state == State::Cut {
            server.wait_for("cannot watch the cluster");
        }
        for _ in 0..20 {
            // Nobody can know better.
            assert_ne!(timed(&client, &tokens[number]).await.0, Verdict::Refused);
            assert_eq!(timed(&client, &bootstrap::token(ids[number])).await.0, bootstrap::user(ids[number]));
            assert_eq!(timed(&client, &tokens[2]).await.0, counts);
        }
        let [new] = bound(&live, [&*format!("new-{number}")]).await;
        let (ours, took) = timed(&client, &new).await;
        assert_eq!(ours, Verdict::Refused);
        assert!(took < LOOKUP + MARGIN, "{took:?}");

        way.is(State::Open);
        let open = Instant::now();
        // The watches' own bounds: the pause before another attempt after some that failed, and how long silence is taken for quiet. Pauses
        // double, each may be twice as long by chance, and those before this one have passed since the cut.
        let within = match state {
            State::Silent => SILENCE + LONGEST_PAUSE,
            _ => 2 * (lost.elapsed() + FIRST_PAUSE) + SOON,
        };
        let theirs = Live::review(&live.nobody(), &new).await;
        println!("a new pod counts after {:?}", until(&theirs, &server, &new, SOON).await);
        until(&Verdict::Refused, &server, &tokens[number], within).await;
        until(&Verdict::Refused, &server, &bootstrap::token(ids[number]), within).await;
        println!("what was deleted meanwhile is noticed after {:?}", open.elapsed());
        assert_eq!(timed(&client, &tokens[2]).await.0, counts);
    }
}

/// The watches' pause after a first failure, the least by chance.
const FIRST_PAUSE: Duration = Duration::from_millis(800);

/// `READ_TIMEOUT` of `cluster::access`.
const SILENCE: Duration = Duration::from_secs(40);
