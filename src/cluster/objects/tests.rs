use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::super::call::MAX_ANSWER;
use super::super::{Access, Clusters};
use super::*;

/// An API server that is no more than what it has at a path.
#[derive(Default)]
struct Fake {
    /// The status and content of each answer.
    answers: Mutex<BTreeMap<String, (u16, String)>>,
    /// Paths, with `(metadata)` behind them if no more is wanted.
    asked: Mutex<Vec<String>>,
    away: AtomicBool,
    silent: AtomicBool,
}

impl Fake {
    fn has(&self, path: &str, object: &Value) {
        lock(&self.answers).insert(format!("/api/v1/{path}"), (200, object.to_string()));
    }

    fn says(&self, path: &str, status: u16, content: &str) {
        lock(&self.answers).insert(format!("/api/v1/{path}"), (status, content.to_owned()));
    }

    fn lists(&self, resource: &str, items: &[Value]) {
        self.has(resource, &json!({"metadata": {"resourceVersion": "1"}, "items": items}));
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.asked))
    }
}

#[derive(Clone)]
struct Service(Arc<Fake>);

impl tower_service::Service<http::Request<Body>> for Service {
    type Response = http::Response<Body>;
    type Error = std::io::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let fake = Arc::clone(&self.0);
        async move {
            if fake.away.load(Ordering::Relaxed) {
                return Err(std::io::ErrorKind::ConnectionRefused.into());
            }
            let accept = request.headers().get("accept").and_then(|accept| accept.to_str().ok());
            let metadata = accept.is_some_and(|accept| accept.contains("as=PartialObjectMetadata"));
            let path = request.uri().path();
            let watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
            let asked = format!("{path}{}", if metadata { " (metadata)" } else { "" });
            if watch || fake.silent.load(Ordering::Relaxed) {
                pending::<()>().await;
            }
            lock(&fake.asked).push(asked.trim_start_matches("/api/v1/").to_owned());
            let answer = lock(&fake.answers).get(path).cloned();
            let (status, content) = answer.unwrap_or_else(|| (404, "{}".to_owned()));
            let response = http::Response::builder().status(status);
            Ok(response.body(Body::from(content.into_bytes())).expect("a response"))
        }
        .boxed()
    }
}

fn cluster(fake: &Arc<Fake>) -> Arc<Cluster> {
    let access = Access { server: "https://cluster.test".to_owned(), ..Access::default() };
    let cluster = Clusters::new(|_, _| None, Arc::default()).cluster(&access).expect("a cluster");
    *lock(&cluster.client) = Some(kube::Client::new(Service(Arc::clone(fake)), "default"));
    cluster
}

fn metadata(namespace: &str, name: &str, uid: &str) -> Value {
    json!({"metadata": {"namespace": namespace, "name": name, "uid": uid}})
}

/// An API server that has listed a Pod, and the objects that it is asked for.
async fn listed() -> (Arc<Fake>, Arc<Cluster>, Objects) {
    let fake = Arc::new(Fake::default());
    for resource in ["serviceaccounts", "nodes"] {
        fake.lists(resource, &[]);
    }
    fake.lists("pods", &[metadata("ns", "known", "1")]);
    let cluster = cluster(&fake);
    let objects = Objects::new(&cluster);
    timeout(Duration::from_secs(10), cluster.synced()).await.expect("in sync");
    let mut asked = fake.asked();
    asked.sort();
    assert_eq!(asked, ["nodes (metadata)", "pods (metadata)", "serviceaccounts (metadata)"]);
    (fake, cluster, objects)
}

/// Go: `GetServiceAccount`, `GetPod` and `GetNode` of tokengetter.go.
#[tokio::test]
async fn what_is_in_the_index_is_not_asked_for_and_all_else_is() {
    let (fake, _cluster, objects) = listed().await;
    fake.has("namespaces/ns/pods/unknown", &metadata("ns", "unknown", "2"));
    fake.has("namespaces/ns/serviceaccounts/unknown", &metadata("ns", "unknown", "3"));
    fake.has("nodes/unknown", &json!({"metadata": {"name": "unknown", "uid": "4"}}));
    let object = |uid| Ok(Object::new(uid, None));
    assert_eq!(objects.pod("ns", "known").await, object("1"));
    assert_eq!(fake.asked(), [""; 0]);
    assert_eq!(objects.pod("ns", "unknown").await, object("2"));
    assert_eq!(objects.service_account("ns", "unknown").await, object("3"));
    assert_eq!(objects.node("unknown").await, object("4"));
    assert_eq!(objects.pod("other", "known").await, Err(LookupError::NotFound));
    assert_eq!(
        fake.asked(),
        [
            "namespaces/ns/pods/unknown (metadata)",
            "namespaces/ns/serviceaccounts/unknown (metadata)",
            "nodes/unknown (metadata)",
            "namespaces/other/pods/known (metadata)",
        ]
    );
}

/// A token may come first.
#[tokio::test]
async fn before_the_first_list_everything_is_asked_for() {
    let fake = Arc::new(Fake::default());
    fake.has("namespaces/ns/pods/known", &metadata("ns", "known", "1"));
    let objects = Objects::new(&cluster(&fake));
    assert_eq!(objects.pod("ns", "known").await, Ok(Object::new("1", None)));
    assert_eq!(fake.asked(), ["namespaces/ns/pods/known (metadata)"]);
}

#[tokio::test]
async fn an_api_server_that_is_away_takes_nothing_that_is_known_along() {
    let (fake, cluster, objects) = listed().await;
    fake.away.store(true, Ordering::Relaxed);
    assert_eq!(objects.pod("ns", "known").await, Ok(Object::new("1", None)));
    assert_eq!(objects.pod("ns", "unknown").await, Err(LookupError::Unavailable));
    assert_eq!(objects.secret("ns", "s").await, Err(LookupError::Unavailable));
    assert!(matches!(objects.token_secret("ns", "s").await, Err(LookupError::Unavailable)));
    drop(cluster);
}

/// Nor does anybody wait for it for long.
#[tokio::test(start_paused = true)]
async fn an_api_server_that_says_nothing_is_waited_for_two_seconds() {
    let (fake, _cluster, objects) = listed().await;
    fake.silent.store(true, Ordering::Relaxed);
    let began = Instant::now();
    assert_eq!(objects.pod("ns", "unknown").await, Err(LookupError::Unavailable));
    assert_eq!(began.elapsed().as_secs(), 2);
    assert_eq!(objects.pod("ns", "known").await, Ok(Object::new("1", None)));
}

#[tokio::test]
async fn an_answer_that_is_no_object_leaves_us_in_the_dark() {
    let fake = Arc::new(Fake::default());
    let objects = Objects::new(&cluster(&fake));
    let long = format!("{}{}", " ".repeat(MAX_ANSWER), metadata("ns", "p", "1"));
    let good = metadata("ns", "p", "1").to_string();
    for (n, (status, content)) in [
        (401, &*good),
        (403, r#"{"kind": "Status", "code": 403}"#),
        (500, ""),
        (201, &good),
        (200, ""),
        (200, "{"),
        (200, "[1]"),
        (200, r#"{"metadata": {"uid": 1}}"#),
        (200, r#"{"metadata": {"uid": "1", "deletionTimestamp": "yesterday"}}"#),
        (200, &long),
    ]
    .into_iter()
    .enumerate()
    {
        for resource in ["pods", "secrets"] {
            fake.says(&format!("namespaces/ns/{resource}/p{n}"), status, content);
        }
        let name = format!("p{n}");
        let told =
            (objects.pod("ns", &name).await, objects.token_secret("ns", &name).await.map(|s| s.object));
        assert_eq!(told, (Err(LookupError::Unavailable), Err(LookupError::Unavailable)), "{status} {n}");
    }
}

/// Nobody lists Secrets, and nobody is sent one unless a token has to be compared.
#[tokio::test]
async fn of_a_secret_as_much_is_asked_as_is_needed() {
    let fake = Arc::new(Fake::default());
    let secret = |labels: Value, data: Value| {
        json!({
            "metadata": {"uid": "1", "deletionTimestamp": "2024-06-01T00:00:00Z", "labels": labels},
            "data": data,
        })
    };
    let token = json!({"token": "dG9rZW4=", "ca.crt": "eA=="});
    fake.has("namespaces/ns/secrets/plain", &secret(Value::Null, token.clone()));
    fake.has("namespaces/ns/secrets/empty", &secret(json!({INVALID_SINCE: ""}), json!({"token": ""})));
    fake.has("namespaces/ns/secrets/invalid", &secret(json!({INVALID_SINCE: "2024-02-02"}), token));
    fake.has("namespaces/ns/secrets/other", &secret(json!({"a": "b"}), json!({"k": "dG9rZW4="})));
    fake.has("namespaces/ns/secrets/none", &secret(json!({}), Value::Null));
    let objects = Objects::new(&cluster(&fake));

    let deleted = Object::new("1", Some(1_717_200_000));
    assert_eq!(objects.secret("ns", "plain").await, Ok(deleted.clone()));
    assert_eq!(fake.asked(), ["namespaces/ns/secrets/plain (metadata)"]);
    for (name, invalid, holds) in [
        ("plain", false, [true, false]),
        ("empty", false, [false, true]),
        ("invalid", true, [true, false]),
        ("other", false, [false, false]),
        ("none", false, [false, false]),
    ] {
        let secret = objects.token_secret("ns", name).await.expect("a Secret");
        assert_eq!((&secret.object, secret.invalid), (&deleted, invalid), "{name}");
        assert_eq!([&b"token"[..], b""].map(|token| secret.holds(token)), holds, "{name}");
        assert_eq!(fake.asked(), [format!("namespaces/ns/secrets/{name}")]);
    }
    assert!(matches!(objects.token_secret("ns", "gone").await, Err(LookupError::NotFound)));
}

/// A Pod ends as its deletion is asked for, carried out, and told.
#[test]
fn an_index_takes_in_what_a_watch_brings() {
    let object = |json: Value| serde_json::from_value::<PartialObjectMeta<Pod>>(json).expect("metadata");
    let mut index = ObjectIndex::<Pod>::default();
    let pod = |more: Value| {
        let mut pod = json!({
            "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata",
            "metadata": {
                "namespace": "ns", "name": "p", "uid": "5a000000-0000-4000-8000-000000000001",
                "labels": {"a": "b"}, "managedFields": [{"manager": "m", "fieldsV1": {"f:x": {}}}],
            },
        });
        pod["metadata"]
            .as_object_mut()
            .expect("an object")
            .extend(more.as_object().expect("an object").clone());
        object(pod)
    };
    index.apply(pod(json!({})));
    let uid = "5a000000-0000-4000-8000-000000000001";
    assert_eq!((index.get("ns", "p"), index.count()), (Some(Object::new(uid, None)), 1));
    let deleted = json!({"deletionTimestamp": "1970-01-01T00:01:00Z"});
    index.apply(pod(deleted.clone()));
    assert_eq!((index.get("ns", "p"), index.count()), (Some(Object::new(uid, Some(60))), 1));
    index.delete(pod(deleted));
    assert_eq!((index.get("ns", "p"), index.count()), (None, 0));
    assert_eq!(ObjectIndex::<Pod>::RESOURCE, "pods");
}
