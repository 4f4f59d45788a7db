//! Service account tokens whose objects are in a real cluster. countersign may do no more than `deploy/kubernetes/rbac.yaml` lets it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::{Timestamp, ToSpan, Unit};
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{Pod, Secret, ServiceAccount};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};
use tokio::time::sleep;

use super::bootstrap::{LONGEST_PAUSE, SOON, request, until};
use super::cluster::wait_for;
use super::faults::{LOOKUP, MARGIN};
use super::live::{Live, decided, live_vectors, recorded_objects, verdict, verdict_in};
use super::support::envoy::Encoding;
use super::support::lateness::Lateness;
use super::support::program::PATIENCE;
use super::support::tokens::{ServiceAccounts, tokens};
use super::support::verdict::Verdict;
use super::vectors::{Scenario, data, scenarios};

/// The scenarios in which service account tokens that count were recorded.
const SCENARIOS: [&str; 6] =
    ["authn-b", "chain", "serviceaccount", "serviceaccount-nolookup", "webhook-v1", "x509"];

/// Every recorded verdict on a service account token, whatever it depends on, with the objects that it was recorded with.
#[tokio::test]
async fn recorded_service_account_tokens_get_the_verdicts_of_kube_apiserver() {
    let live = Live::start(&recorded_objects(), &[]).await;
    let (mut problems, mut counts) = (Vec::new(), BTreeMap::<(String, String), usize>::new());
    for Scenario { name, flags, vectors, .. } in scenarios() {
        if !SCENARIOS.contains(&&*name) {
            continue;
        }
        let accounts = ServiceAccounts::of(&flags);
        // Nobody needs to be there for these tokens.
        let flags: Vec<&str> = flags
            .iter()
            .map(String::as_str)
            .filter(|flag| !flag.starts_with("--authentication-token-webhook"))
            .collect();
        let server = live.subject(&data("world"), &flags).await;
        let mut client = server.client().await;
        for vector in vectors {
            let request = vector.request.request();
            if !tokens(&request).iter().any(|token| accounts.issued(token)) {
                continue;
            }
            let (theirs, ours) = (vector.theirs(), decided(&server, &mut client, &request).await);
            if theirs != ours {
                problems.push(format!("{}: theirs {theirs}, ours {ours}", vector.id));
            }
            *counts.entry((name.clone(), vector.class)).or_default() += 1;
        }
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    println!("{} agree: {counts:?}", counts.values().sum::<usize>());
    for name in SCENARIOS {
        for (class, awaited) in live_vectors(name).into_iter().filter(|(class, _)| class != "bootstrap") {
            let replayed = counts.get(&(name.to_owned(), class.clone())).copied().unwrap_or_default();
            assert!(replayed >= awaited, "{name} {class}: {replayed} of {awaited}");
        }
    }
}

/// As kube-apiserver is told, where [`Live`] says nothing else.
pub(super) const FLAGS: [&str; 2] =
    ["--service-account-key-file=sa/rsa1.pub", "--service-account-issuer=https://issuer.example.test"];

/// A Pod, which no Node runs, so that nothing keeps it once it is deleted.
pub(super) fn pod(name: &str) -> Json {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "team", "name": name},
        "spec": {"serviceAccountName": "web", "containers": [{"name": "c", "image": "none.test/none"}]},
    })
}

/// A cluster with a namespace and an account in it.
pub(super) async fn team(objects: &[Json]) -> Live {
    let live = Live::start(objects, &[]).await;
    create_team(&live).await;
    live
}

/// The namespace and the account.
pub(super) async fn create_team(live: &Live) {
    live.create(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "team"}})).await;
    let account = json!({"namespace": "team", "name": "web"});
    live.create(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})).await;
}

/// A token of the TokenRequest API for an account in a namespace, bound to an object or to none.
pub(super) async fn token(
    live: &Live,
    [namespace, account]: [&str; 2],
    bound_to: Option<[&str; 2]>,
) -> String {
    let reference = bound_to.map(|[kind, name]| json!({"apiVersion": "v1", "kind": kind, "name": name}));
    let request = json!({"metadata": {}, "spec": {"audiences": [], "boundObjectRef": reference}});
    let accounts: Api<ServiceAccount> = Api::namespaced(live.admin(), namespace);
    let request = serde_json::from_value(request).unwrap();
    let made = accounts.create_token_request(account, &PostParams::default(), &request).await.unwrap();
    made.status.unwrap().token.unwrap()
}

pub(super) const WEB: [&str; 2] = ["team", "web"];

pub(super) async fn delete<K>(live: &Live, namespace: &str, name: &str)
where
    K: kube::Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let api: Api<K> = Api::namespaced(live.admin(), namespace);
    api.delete(name, &DeleteParams::default()).await.unwrap();
}

/// S33. kube-apiserver caches that a token counts for ten seconds, and is therefore asked about one that it has not seen.
#[tokio::test]
async fn a_token_ends_with_the_pod_account_or_secret_that_it_stands_for() {
    let live = team(&recorded_objects()).await;
    let server = live.subject(&data("world"), &FLAGS).await;
    let client = server.client().await;
    let ours = async |token: &str| decided(&server, &mut client.clone(), &request(token)).await;
    let gone = async |token: &str, unseen: &str, what: &str| {
        let took = until(&Verdict::Refused, &server, token, SOON).await;
        println!("{what}: noticed after {took:?}");
        assert_eq!(ours(unseen).await, Verdict::Refused);
        // It may notice later than we do, and then remembers for ten seconds what it said.
        let theirs = async || (Live::review(&live.nobody(), unseen).await == Verdict::Refused).then_some(());
        wait_for(PATIENCE, "refusal of kube-apiserver's", theirs).await;
    };

    live.create(&pod("web-0")).await;
    let bound =
        [token(&live, WEB, Some(["Pod", "web-0"])).await, token(&live, WEB, Some(["Pod", "web-0"])).await];
    let free = [token(&live, WEB, None).await, token(&live, WEB, None).await];
    for token in [&bound[0], &free[0]] {
        let (ours, theirs) = (ours(token).await, Live::review(&live.nobody(), token).await);
        assert!(
            matches!(&theirs, Verdict::Authenticated(user) if user.username == "system:serviceaccount:team:web")
        );
        assert_eq!(ours, theirs, "as soon as it is there");
    }
    delete::<Pod>(&live, "team", "web-0").await;
    gone(&bound[0], &bound[1], "a deleted pod").await;
    assert_ne!(ours(&free[0]).await, Verdict::Refused);

    live.create(&pod("web-0")).await;
    let again = token(&live, WEB, Some(["Pod", "web-0"])).await;
    assert_eq!(
        ours(&again).await,
        Live::review(&live.nobody(), &again).await,
        "its successor of the same name"
    );
    assert_eq!(
        (ours(&bound[1]).await, Live::review(&live.nobody(), &bound[1]).await),
        (Verdict::Refused, Verdict::Refused)
    );
    delete::<ServiceAccount>(&live, "team", "web").await;
    gone(&free[0], &free[1], "a deleted account").await;
    assert_eq!(ours(&again).await, Verdict::Refused);

    let batch = ["apps", "batch"];
    let bound = [
        token(&live, batch, Some(["Secret", "bound"])).await,
        token(&live, batch, Some(["Secret", "bound"])).await,
    ];
    assert_eq!(ours(&bound[0]).await, Live::review(&live.nobody(), &bound[0]).await);
    delete::<Secret>(&live, "apps", "bound").await;
    gone(&bound[0], &bound[1], "a deleted secret").await;

    // What kube-apiserver has seen of legacy tokens it goes on accepting for a while, so it is asked afterwards.
    let secrets: Api<Secret> = Api::namespaced(live.admin(), "apps");
    let held = secrets.get("legacy-manual").await.unwrap().data.unwrap().remove("token").unwrap();
    let legacy = String::from_utf8(held.0).unwrap();
    let legacy_user = ours(&legacy).await;
    assert!(
        matches!(&legacy_user, Verdict::Authenticated(user) if user.username == "system:serviceaccount:apps:legacy")
    );
    let patch = async |patch: Json| {
        secrets.patch("legacy-manual", &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
    };
    let label =
        |since: Json| json!({"metadata": {"labels": {"kubernetes.io/legacy-token-invalid-since": since}}});
    patch(label("2026-01-01".into())).await;
    gone(&legacy, &legacy, "an invalidated legacy token").await;
    patch(label(Json::Null)).await;
    until(&legacy_user, &server, &legacy, PATIENCE).await;
    patch(json!({"stringData": {"token": "another"}})).await;
    gone(&legacy, &legacy, "a legacy token that was replaced").await;
    patch(json!({"stringData": {"token": legacy}})).await;
    until(&legacy_user, &server, &legacy, PATIENCE).await;
    delete::<Secret>(&live, "apps", "legacy-manual").await;
    gone(&legacy, &legacy, "the secret of a legacy token").await;
}

/// Only tokens that stand in Secrets, or are bound to one, need a right to read Secrets.
#[tokio::test]
async fn without_the_right_to_read_secrets_all_other_tokens_count() {
    let live = team(&recorded_objects()).await;
    let bindings: Api<ClusterRoleBinding> = Api::all(live.admin());
    bindings.delete("countersign-service-account-secrets", &DeleteParams::default()).await.unwrap();
    let secrets: Api<Secret> = Api::namespaced(live.countersign(), "apps");
    while secrets.get("bound").await.is_ok() {
        sleep(Duration::from_millis(20)).await;
    }
    let mut server = live.subject(&data("world"), &FLAGS).await;
    let mut client = server.client().await;
    live.create(&pod("web-0")).await;
    let bound = token(&live, WEB, Some(["Pod", "web-0"])).await;
    let ours = decided(&server, &mut client, &request(&bound)).await;
    assert_eq!(ours, Live::review(&live.nobody(), &bound).await);
    let to_secret = token(&live, ["apps", "batch"], Some(["Secret", "bound"])).await;
    assert_eq!(verdict(&mut client, &request(&to_secret)).await, Verdict::Refused);
    assert_eq!(server.wait_for("denied")["fields"]["rejected"], "serviceaccount: cluster_unavailable");
}

/// Go: `invalidIfDeletedBefore`: an object that is being deleted counts for a minute after its deletionTimestamp.
#[tokio::test]
async fn a_token_counts_a_minute_longer_than_its_pod_was_to_live_if_that_is_still_there() {
    let live = team(&[]).await;
    let server = live.subject(&data("world"), &FLAGS).await;
    let mut client = server.client().await;
    live.create(&pod("web-0")).await;
    let mut unseen = Vec::new();
    for _ in 0..100 {
        unseen.push(token(&live, WEB, Some(["Pod", "web-0"])).await);
    }
    let pods: Api<Pod> = Api::namespaced(live.admin(), "team");
    let mut terminating = serde_json::to_value(pods.get("web-0").await.unwrap()).unwrap();
    let deletion = Timestamp::now().round(Unit::Second).unwrap() - 45.seconds();
    terminating["metadata"]["deletionTimestamp"] = deletion.to_string().into();
    terminating["metadata"]["deletionGracePeriodSeconds"] = 0.into();
    terminating["metadata"]["finalizers"] = json!(["test.test/keep"]);
    live.store(&terminating);

    let end = deletion + 60.seconds();
    let mut counts = [0, 0];
    while counts[1] < 3 {
        // kube-apiserver remembers a token that counts.
        let token = unseen.pop().expect("it ends");
        let before = Timestamp::now();
        let ours = verdict_in(&mut client, &request(&token), Encoding::Raw).await;
        let verdicts = [ours, Live::review(&live.nobody(), &token).await];
        let after = Timestamp::now();
        if after < end || before > end {
            let ended = before > end;
            assert_eq!(verdicts.map(|verdict| verdict == Verdict::Refused), [ended; 2], "{before} {end}");
            counts[usize::from(ended)] += 1;
        }
        sleep(Duration::from_millis(250)).await;
    }
    println!("{} asked before the end, {} after it", counts[0], counts[1]);
    assert!(counts[0] > 0, "{counts:?}");
}

/// What is known goes on counting, as kube-apiserver's own caches do; what is not known is refused at once; and then it is as before.
#[tokio::test]
async fn an_api_server_that_is_away_is_missed_for_what_is_new_only() {
    let mut live = team(&[]).await;
    let mut server = live.subject(&data("world"), &FLAGS).await;
    let mut client = server.client().await;
    for name in ["known", "deleted", "late"] {
        live.create(&pod(name)).await;
    }
    let bound = async |live: &Live, name: &str| token(live, WEB, Some(["Pod", name])).await;
    let [known, deleted, late] =
        [bound(&live, "known").await, bound(&live, "deleted").await, bound(&live, "late").await];
    let counts = Live::review(&live.nobody(), &known).await;
    until(&counts, &server, &known, PATIENCE).await;
    delete::<Pod>(&live, "team", "deleted").await;
    until(&Verdict::Refused, &server, &deleted, PATIENCE).await;
    let stored =
        serde_json::to_value(Api::<Pod>::namespaced(live.admin(), "team").get("late").await.unwrap())
            .unwrap();

    live.stop_api();
    for _ in 0..20 {
        assert_eq!(verdict(&mut client, &request(&known)).await, counts);
        sleep(Duration::from_millis(100)).await;
    }
    let (start, lateness) = (Instant::now(), Lateness::watch());
    assert_eq!(verdict(&mut client, &request(&deleted)).await, Verdict::Refused);
    let took = start.elapsed();
    assert!(took < LOOKUP + lateness.worst(), "{took:?}, and the machine was late by {:?}", lateness.worst());
    while server.wait_for("denied")["fields"]["rejected"] != "serviceaccount: cluster_unavailable" {}
    let (status, page) = server.admin_page("/readyz?verbose").await;
    assert_eq!((status, page.contains("last: ")), (200, true), "{page}");
    // Nobody says so: the next list does.
    live.remove(&stored);

    live.start_api().await;
    live.create(&pod("new")).await;
    let new = bound(&live, "new").await;
    let theirs = Live::review(&live.nobody(), &new).await;
    let took = until(&theirs, &server, &new, SOON).await;
    println!("a new pod counts after {took:?}");
    let took = until(&Verdict::Refused, &server, &late, LONGEST_PAUSE).await;
    println!("what went while nobody watched is noticed after {took:?}");
    assert_eq!(verdict(&mut client, &request(&known)).await, counts);
    delete::<Pod>(&live, "team", "known").await;
    until(&Verdict::Refused, &server, &known, SOON).await;
}

/// kube-apiserver is there, and answers what it can out of its memory.
#[tokio::test]
async fn an_etcd_that_says_nothing_is_missed_for_what_is_new_only() {
    let live = team(&recorded_objects()).await;
    let mut server = live.subject(&data("world"), &FLAGS).await;
    let mut client = server.client().await;
    let bound = async |name: &'static str| token(&live, WEB, Some(["Pod", name])).await;
    for name in ["known", "deleted"] {
        live.create(&pod(name)).await;
    }
    let [seen, unseen, deleted] = [bound("known").await, bound("known").await, bound("deleted").await];
    let counts = Live::review(&live.nobody(), &seen).await;
    until(&counts, &server, &seen, PATIENCE).await;
    delete::<Pod>(&live, "team", "deleted").await;
    until(&Verdict::Refused, &server, &deleted, PATIENCE).await;

    let to_secret = token(&live, ["apps", "batch"], Some(["Secret", "bound"])).await;
    let of_secret = Live::review(&live.nobody(), &to_secret).await;
    assert_ne!(of_secret, Verdict::Refused);

    live.signal_etcd("STOP");
    for _ in 0..3 {
        assert_eq!(verdict(&mut client, &request(&seen)).await, counts);
        let Verdict::Authenticated(user) = verdict(&mut client, &request(&unseen)).await else {
            panic!("what it names is known")
        };
        assert_eq!(user.username, "system:serviceaccount:team:web");
        for (what, token) in
            [("a pod that has gone", &deleted), ("a Secret that nobody has read", &to_secret)]
        {
            let start = Instant::now();
            let ours = verdict_in(&mut client, &request(token), Encoding::Raw).await;
            println!("{what}: {ours} after {:?}", start.elapsed());
            assert_eq!(ours, Verdict::Refused);
            assert!(start.elapsed() < LOOKUP + MARGIN, "{:?}", start.elapsed());
        }
    }
    while server.wait_for("denied")["fields"]["rejected"] != "serviceaccount: cluster_unavailable" {}
    let (status, page) = server.admin_page("/readyz?verbose").await;
    assert_eq!(status, 200, "{page}");

    live.signal_etcd("CONT");
    until(&of_secret, &server, &to_secret, SOON).await;
    live.create(&pod("new")).await;
    let new = bound("new").await;
    let theirs = Live::review(&live.nobody(), &new).await;
    assert_ne!(theirs, Verdict::Refused);
    println!("a new pod counts after {:?}", until(&theirs, &server, &new, SOON).await);
    assert_eq!(verdict(&mut client, &request(&deleted)).await, Verdict::Refused);
    delete::<Pod>(&live, "team", "known").await;
    until(&Verdict::Refused, &server, &seen, SOON).await;
}
