//! API servers that behave, fail, lie and say nothing, in a time that jumps.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, Stream, StreamExt, stream};
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::Frame;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::client::Body;
use kube::runtime::watcher::{self, Event, watcher};
use serde_json::{Value as Json, json};
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep, timeout};
use tower_service::Service;

use super::*;

mod access;
mod access_review;

/// The value `v` of every config map, by name.
#[derive(Debug, Default)]
struct Values(BTreeMap<String, String>);

impl Index for Values {
    type Object = ConfigMap;

    const RESOURCE: &'static str = "configmaps";

    fn watch(client: kube::Client) -> impl Stream<Item = watcher::Result<Event<ConfigMap>>> + Send + 'static {
        watcher(kube::Api::all(client), settings())
    }

    fn apply(&mut self, object: ConfigMap) {
        let value = object.data.unwrap_or_default().remove("v").unwrap_or_default();
        assert!(value != "panic", "a bug");
        self.0.insert(object.metadata.name.unwrap_or_default(), value);
    }

    fn delete(&mut self, object: ConfigMap) {
        self.0.remove(&object.metadata.name.unwrap_or_default());
    }

    fn count(&self) -> usize {
        self.0.len()
    }
}

/// An object of a name, a value, and a version.
fn object(name: &str, value: &str, version: u32) -> Json {
    json!({"metadata": {"name": name, "resourceVersion": version.to_string()}, "data": {"v": value}})
}

fn event(kind: &str, object: Json) -> String {
    format!("{}\n", json!({"type": kind, "object": object}))
}

/// What is said to one call.
enum Says {
    /// This status and body.
    At(u16, String),
    /// A watch that brings this and is then silent.
    Watch(String),
    /// A watch that brings this and then ends.
    Ends(String),
    /// The same after a while.
    Later(Duration, Box<Self>),
}

fn list(objects: &[Json], more: Option<&str>) -> Says {
    let metadata = json!({"resourceVersion": "10", "continue": more});
    Says::At(200, json!({"metadata": metadata, "items": objects}).to_string())
}

fn status(code: u16, reason: &str, message: &str) -> String {
    json!({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message})
        .to_string()
}

/// An API server, as a function: it says one thing after the other, and when there is nothing left to say, nothing. It knows what it
/// was asked.
#[derive(Clone, Default)]
struct ApiServer(Arc<Mutex<(VecDeque<Says>, Vec<String>)>>);

impl ApiServer {
    fn that(says: impl IntoIterator<Item = Says>) -> Self {
        Self(Arc::new(Mutex::new((says.into_iter().collect(), Vec::new()))))
    }

    /// The cluster at this address, answered by us.
    fn cluster(&self, clusters: &Clusters, server: &str) -> Arc<Cluster> {
        let cluster = cluster(clusters, server);
        *lock(&cluster.client) = Some(kube::Client::new(self.clone(), "default"));
        cluster
    }

    fn asked(&self) -> Vec<String> {
        lock(&self.0).1.clone()
    }

    fn says(&self, more: Says) {
        lock(&self.0).0.push_back(more);
    }
}

type AnyBody = UnsyncBoxBody<Bytes, Infallible>;

impl Service<Request<Body>> for ApiServer {
    type Response = Response<AnyBody>;
    type Error = kube::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let mut state = lock(&self.0);
        state.1.push(request.uri().to_string());
        let says = state.0.pop_front();
        async move {
            match says {
                Some(says) => Ok(answer(says).await),
                None => std::future::pending().await,
            }
        }
        .boxed()
    }
}

async fn answer(says: Says) -> Response<AnyBody> {
    let frame = |text: String| Ok(Frame::data(Bytes::from(text)));
    let (status, body) = match says {
        Says::At(status, body) => (status, Full::new(Bytes::from(body)).boxed_unsync()),
        Says::Ends(events) => (200, Full::new(Bytes::from(events)).boxed_unsync()),
        Says::Watch(events) => {
            let events = stream::iter([frame(events)]).chain(stream::pending());
            (200, StreamBody::new(events).boxed_unsync())
        }
        Says::Later(delay, says) => {
            sleep(delay).await;
            return Box::pin(answer(*says)).await;
        }
    };
    Response::builder().status(status).body(body).unwrap()
}

fn cluster(clusters: &Clusters, server: &str) -> Arc<Cluster> {
    clusters.cluster(&Access { server: server.to_owned(), ..Access::default() }).unwrap()
}

fn clusters() -> Clusters {
    Clusters::new(|_, _| None, Arc::default())
}

fn values(watch: &Watch<Values>) -> Option<Vec<(String, String)>> {
    watch.read(|values| values.0.clone().into_iter().collect())
}

fn pairs(pairs: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
    Some(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
}

/// Waits until the index holds this, and gives the status then.
async fn until(watch: &Watch<Values>, expected: &[(&str, &str)]) -> Status {
    let wait = async {
        while values(watch) != pairs(expected) {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = timeout(Duration::from_secs(3600), wait).await;
    assert!(waited.is_ok(), "{:?} and not {expected:?}; {:?}", values(watch), watch.status());
    watch.status()
}

#[tokio::test(start_paused = true)]
async fn a_list_and_then_events_fill_the_index() {
    let first = list(&[object("a", "1", 1)], Some("page 2"));
    let second = list(&[object("b", "1", 2)], None);
    let events = [
        event("ADDED", object("c", "1", 11)),
        event("MODIFIED", object("a", "2", 12)),
        event(
            "BOOKMARK",
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"resourceVersion": "13"}}),
        ),
        event("DELETED", object("b", "1", 14)),
    ];
    let server = ApiServer::that([first, second, Says::Ends(events.concat()), Says::Watch(String::new())]);
    let cluster = server.cluster(&clusters(), "https://a.test");
    let watch = cluster.watch::<Values>();
    assert_eq!(values(&watch), None, "nothing is asked before the start");
    assert_eq!(server.asked(), [""; 0]);
    cluster.synced().await;
    let status = until(&watch, &[("a", "2"), ("c", "1")]).await;
    assert_eq!((status.synced, status.objects, status.failures, status.error), (true, 2, 0, None));
    sleep(Duration::from_secs(1)).await;
    let asked = server.asked();
    assert_eq!(asked.len(), 4, "{asked:?}");
    assert!(asked[1].contains("continue=page+2"), "{asked:?}");
    assert!(asked[2].contains("timeoutSeconds=30") && asked[2].contains("resourceVersion=10"), "{asked:?}");
    assert!(asked[3].contains("resourceVersion=14"), "taken up where it was: {asked:?}");
}

/// The list that follows takes the place of the index at once: nobody sees half of it.
#[tokio::test(start_paused = true)]
async fn what_went_away_while_nobody_watched_goes_with_the_next_list() {
    let gone = Says::Ends(event("ERROR", serde_json::from_str(&status(410, "Expired", "too old")).unwrap()));
    let pause = Duration::from_secs(600);
    let server = ApiServer::that([
        list(&[object("a", "1", 1), object("b", "1", 2)], None),
        gone,
        list(&[object("c", "1", 20)], Some("page 2")),
        Says::Later(pause, Box::new(list(&[object("b", "2", 21)], None))),
        Says::Watch(String::new()),
    ]);
    let cluster = server.cluster(&clusters(), "https://a.test");
    let watch = cluster.watch::<Values>();
    cluster.synced().await;
    while server.asked().len() < 4 {
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(values(&watch), pairs(&[("a", "1"), ("b", "1")]));
    until(&watch, &[("b", "2"), ("c", "1")]).await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_is_lost_keeps_what_it_knows_and_says_how_old_that_is() {
    let forbidden =
        || Says::At(403, status(403, "Forbidden", "configmaps is forbidden: User \"us\" cannot list"));
    let server = ApiServer::that([list(&[object("a", "1", 1)], None), Says::Ends(String::new())]);
    (0..20).for_each(|_| server.says(forbidden()));
    let cluster = server.cluster(&clusters(), "https://a.test");
    let watch = cluster.watch::<Values>();
    cluster.synced().await;
    let start = Instant::now();
    while watch.status().failures < 20 {
        sleep(Duration::from_millis(100)).await;
    }
    let lost = watch.status();
    assert_eq!(values(&watch), pairs(&[("a", "1")]));
    assert!(lost.synced && lost.age.unwrap() > start.elapsed() - Duration::from_secs(1), "{lost:?}");
    assert_eq!(
        lost.error.as_deref(),
        Some("cannot list: 403 Forbidden: configmaps is forbidden: User \"us\" cannot list")
    );
    // client-go's pauses: they double from 0.8 s to 30 s, and have a jitter as long as themselves.
    let average = start.elapsed() / 20;
    assert!(average > Duration::from_secs(15) && average < Duration::from_secs(60), "{average:?}");

    server.says(list(&[object("b", "1", 30)], None));
    server.says(Says::Watch(String::new()));
    let back = until(&watch, &[("b", "1")]).await;
    assert_eq!((back.failures, back.error), (0, None));
}

/// `kube` quotes such an answer in its log and its error. See also tests/it.
#[tokio::test(start_paused = true)]
async fn an_answer_that_cannot_be_read_is_not_quoted_and_nothing_is_missed_for_it() {
    let secret = |version| json!({"metadata": {"name": "a", "resourceVersion": version}, "data": "hunter2"});
    let server = ApiServer::that([
        list(&[secret("1")], None),
        Says::At(200, "hunter2".to_owned()),
        list(&[object("a", "1", 1)], None),
        Says::Watch(event("MODIFIED", secret("11"))),
        // Whatever the event was about, it is in here.
        list(&[object("a", "2", 11)], None),
        Says::Watch(String::new()),
    ]);
    let cluster = server.cluster(&clusters(), "https://a.test");
    let watch = cluster.watch::<Values>();
    cluster.start();
    let mut errors = Vec::new();
    while values(&watch) != pairs(&[("a", "2")]) {
        errors.extend(watch.status().error);
        sleep(Duration::from_millis(100)).await;
    }
    errors.dedup();
    assert_eq!(
        errors,
        ["cannot list: an answer that cannot be read", "the watch broke off: an answer that cannot be read"]
    );
}

/// A bug in what reads an object costs the watch a pause, and nobody else anything.
#[tokio::test(start_paused = true)]
async fn a_panic_does_not_end_a_watch() {
    let server = ApiServer::that([
        list(&[object("a", "1", 1)], None),
        Says::Watch(event("MODIFIED", object("a", "panic", 11))),
        list(&[object("a", "2", 12)], None),
        Says::Watch(String::new()),
    ]);
    let cluster = server.cluster(&clusters(), "https://a.test");
    let watch = cluster.watch::<Values>();
    cluster.synced().await;
    until(&watch, &[("a", "2")]).await;
}

#[tokio::test(start_paused = true)]
async fn the_same_content_has_the_same_watches_which_end_with_their_last_user() {
    let server = ApiServer::that([list(&[object("a", "1", 1)], None), Says::Watch(String::new())]);
    let clusters = clusters();
    let before = server.cluster(&clusters, "https://a.test");
    let watch = before.watch::<Values>();
    before.synced().await;

    let again = cluster(&clusters, "https://a.test");
    let same = again.watch::<Values>();
    assert!(Arc::ptr_eq(&watch, &same) && Arc::ptr_eq(&before, &again));
    drop((before, again, watch));
    assert_eq!(values(&same), pairs(&[("a", "1")]));
    let (index, asked) = (Arc::downgrade(&same), server.asked().len());
    drop(same);
    sleep(Duration::from_secs(3600)).await;
    assert!(index.upgrade().is_none());
    assert_eq!(server.asked().len(), asked, "nobody asks any more");
    assert_eq!(Arc::strong_count(&server.0), 1, "and nothing holds the client");
}

/// A reload with another kubeconfig: what was known goes on to answer until the new cluster is known, however many come in between.
#[tokio::test(start_paused = true)]
async fn another_connection_takes_over_once_it_is_in_sync() {
    let clusters = clusters();
    let old = ApiServer::that([list(&[object("a", "old", 1)], None), Says::Watch(String::new())]);
    let old_cluster = old.cluster(&clusters, "https://old.test");
    let old_watch = old_cluster.watch::<Values>();
    old_cluster.synced().await;

    let silent = ApiServer::default().cluster(&clusters, "https://silent.test");
    let silent_watch = silent.watch::<Values>();
    silent.start();
    drop((old_cluster, old_watch));
    assert_eq!(values(&silent_watch), pairs(&[("a", "old")]));
    assert!(!silent_watch.status().synced);

    let new = ApiServer::that([
        Says::Later(Duration::from_secs(600), Box::new(list(&[object("a", "new", 1)], None))),
        Says::Watch(String::new()),
    ]);
    let new_cluster = new.cluster(&clusters, "https://new.test");
    let new_watch = new_cluster.watch::<Values>();
    new_cluster.start();
    drop((silent, silent_watch));
    sleep(Duration::from_secs(60)).await;
    assert_eq!(values(&new_watch), pairs(&[("a", "old")]));
    until(&new_watch, &[("a", "new")]).await;
    assert_eq!(Arc::strong_count(&old.0), 1, "the old watch has ended");
}

/// It takes the connection and never says a word.
#[tokio::test(start_paused = true)]
async fn an_api_server_that_is_wedged_is_noticed_and_holds_up_nobody() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let wedged = cluster(&clusters(), &format!("http://{}", listener.local_addr().unwrap()));
    let watch = wedged.watch::<Values>();
    wedged.start();
    let start = Instant::now();
    while watch.status().failures < 2 {
        assert_eq!(values(&watch), None, "a look does not wait");
        sleep(Duration::from_secs(1)).await;
    }
    assert!(start.elapsed() < Duration::from_secs(100), "{:?}", start.elapsed());
    assert!(timeout(Duration::from_secs(5), wedged.synced()).await.is_err());
}
