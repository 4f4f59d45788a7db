//! Bootstrap tokens whose Secrets are in a real cluster.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Api;
use kube::api::{DeleteParams, ListParams};
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::time::sleep;

use super::live::{Live, live_vectors, recorded_objects, verdict};
use super::support::envoy::Request;
use super::support::program::Server;
use super::support::verdict::{User, Verdict};
use super::vectors::{data, scenarios};

const FLAG: &str = "--enable-bootstrap-token-auth";

/// What is made or deleted is to be known so soon.
const SOON: Duration = Duration::from_secs(2);

fn request(token: &str) -> Request {
    Request {
        method: "GET".into(),
        path: "/".into(),
        headers: vec![("Authorization".into(), format!("Bearer {token}").into_bytes())],
        certificates: Vec::new(),
        key: None,
    }
}

/// The Secret of a token whose id this is.
fn secret(id: &str) -> Json {
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

fn token(id: &str) -> String {
    format!("{id}.{SECRET}")
}

fn user(id: &str) -> Verdict {
    Verdict::Authenticated(User {
        username: format!("system:bootstrap:{id}"),
        groups: ["system:bootstrappers", "system:bootstrappers:worker", "system:authenticated"]
            .map(str::to_owned)
            .into(),
        ..User::default()
    })
}

/// Asks until the verdict is this one, and says how long that took.
async fn until(expected: &Verdict, server: &Server, token: &str, within: Duration) -> Duration {
    let start = Instant::now();
    loop {
        let ours = verdict(server, &request(token)).await;
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
    let vectors: Vec<_> = chain.vectors.iter().filter(|vector| vector.class == "bootstrap").collect();
    let mut problems = Vec::new();
    for vector in &vectors {
        let (theirs, ours) = (vector.theirs(), verdict(&server, &vector.request.request()).await);
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
