//! A watch: a task that keeps an index as the API server has it.
//!
//! The task lists, then watches from there (`kube::runtime::watcher`). What a list brings is put together aside and takes the place of
//! the index at once, so that an object that went away while nobody watched goes then. A call that fails changes nothing but
//! [`Status`]: the index stays as it was, and it is tried again after a pause that grows from 0.8 s to 30 s (client-go's numbers). Where
//! the connection broke, the watch is taken up where it was; where the API server said something unexpected, or something that
//! cannot be read, it is listed anew, for an event may be lost.
//!
//! A watch lasts 30 s and is then taken up where it was. It costs a small request in that time, and shows that the API
//! server is still there.

use std::any::Any;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, Stream, StreamExt};
use http::{Request, Response};
use kube::client::Body;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::{self, DefaultBackoff, Event};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};
use tower_service::Service;

use super::{Cluster, error, lock};

/// The API server is asked to end a watch after so many seconds. A connection that is dead without a word is noticed by then; client-go
/// notices after 45 s (`ReadIdleTimeout` and `PingTimeout` of its HTTP/2 connections, which kube has not). Before the end the API server
/// says how far it is (`nextBookmarkTime` of k8s.io/apiserver/pkg/storage/cacher), so nothing has to be listed anew.
const WATCH_SECONDS: u32 = 30;

/// If the task itself fails, which is a bug, it begins anew after this.
const PAUSE_AFTER_PANIC: Duration = Duration::from_secs(30);

/// Objects of one resource, kept as somebody needs to look them up. Empty at first.
pub trait Index: Default + Send + Sync + 'static {
    /// What the watch brings.
    type Object: Send + 'static;

    /// Its plural name, and the group where it is not the core one, for logs and metrics. No two indexes have the same.
    const RESOURCE: &'static str;

    /// Which objects: `watcher` or `metadata_watcher` of [`kube::runtime`], over an [`kube::Api`] and [`settings`].
    fn watch(
        client: kube::Client,
    ) -> impl Stream<Item = watcher::Result<Event<Self::Object>>> + Send + 'static;

    /// An object is there, new or changed.
    fn apply(&mut self, object: Self::Object);

    /// An object is not there any more; this is how it was.
    fn delete(&mut self, object: Self::Object);

    /// How many objects there are.
    fn count(&self) -> usize;
}

/// The settings of a watch. To be narrowed with selectors; nothing else is to be changed.
pub fn settings() -> watcher::Config {
    watcher::Config::default().timeout(WATCH_SECONDS)
}

/// An index and the task that fills it, which ends with this.
pub struct Watch<I> {
    shared: Arc<Shared<I>>,
    cluster: Arc<Cluster>,
    task: Mutex<Option<AbortHandle>>,
}

/// How a watch is doing, for readiness and metrics.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// [`Index::RESOURCE`].
    pub resource: &'static str,
    /// Whether it has been in sync, since the start or the last change of the connection.
    pub synced: bool,
    /// How many objects are known.
    pub objects: usize,
    /// How long ago the API server answered last; none if it never did.
    pub age: Option<Duration>,
    /// How many times in a row it has failed.
    pub failures: u32,
    /// What with, the last time. Holds no secret.
    pub error: Option<String>,
}

/// What the task tells.
pub(super) struct Shared<I> {
    /// None until it has been in sync.
    index: RwLock<Option<I>>,
    /// Answers in our place until we have been in sync.
    predecessor: Mutex<Option<Arc<Watch<I>>>>,
    progress: watch::Sender<Progress>,
}

/// How far the task is.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) synced: bool,
    /// When the API server answered last.
    contact: Option<Instant>,
    failures: u32,
    error: Option<String>,
}

/// A watch of any index.
pub(super) trait Watched: Any + Send + Sync {
    fn start(&self);
    fn status(&self) -> Status;
    fn progress(&self) -> watch::Receiver<Progress>;
}

impl<I: Index> Watch<I> {
    pub(super) fn new(cluster: Arc<Cluster>, predecessor: Option<Arc<Self>>) -> Self {
        let shared = Arc::new(Shared {
            index: RwLock::default(),
            predecessor: Mutex::new(predecessor),
            progress: watch::Sender::default(),
        });
        Self { shared, cluster, task: Mutex::default() }
    }

    /// Looks at the index, which must not take long. None: it has never been in sync, and nobody can say what there is.
    pub fn read<T>(&self, look: impl FnOnce(&I) -> T) -> Option<T> {
        if let Some(index) = &*self.shared.index.read().unwrap_or_else(PoisonError::into_inner) {
            return Some(look(index));
        }
        let predecessor = lock(&self.shared.predecessor).clone();
        match predecessor {
            Some(predecessor) => predecessor.read(look),
            // There never was one, or it has gone since the look above, and then there is an index.
            None => self.shared.index.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(look),
        }
    }
}

impl<I: Index> Watched for Watch<I> {
    fn start(&self) {
        let (shared, cluster) = (&self.shared, &self.cluster);
        lock(&self.task)
            .get_or_insert_with(|| tokio::spawn(run(Arc::clone(shared), Arc::clone(cluster))).abort_handle());
    }

    fn status(&self) -> Status {
        let objects = self.read(I::count).unwrap_or_default();
        let progress = self.shared.progress.borrow();
        Status {
            resource: I::RESOURCE,
            synced: progress.synced,
            objects,
            age: progress.contact.map(|at| at.elapsed()),
            failures: progress.failures,
            error: progress.error.clone(),
        }
    }

    fn progress(&self) -> watch::Receiver<Progress> {
        self.shared.progress.subscribe()
    }
}

impl<I> Drop for Watch<I> {
    fn drop(&mut self) {
        if let Some(task) = &*lock(&self.task) {
            task.abort();
        }
    }
}

impl<I: Index> fmt::Debug for Watch<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watch({} of {:?})", I::RESOURCE, self.cluster)
    }
}

/// Watches, for ever.
async fn run<I: Index>(shared: Arc<Shared<I>>, cluster: Arc<Cluster>) {
    loop {
        let _panicked = AssertUnwindSafe(watch(&shared, &cluster)).catch_unwind().await;
        shared.failed(I::RESOURCE, "a bug of ours");
        sleep(PAUSE_AFTER_PANIC).await;
    }
}

async fn watch<I: Index>(shared: &Arc<Shared<I>>, cluster: &Cluster) {
    let mut backoff = DefaultBackoff::default();
    loop {
        let client = match cluster.client() {
            Ok(client) => client,
            Err(error) => {
                shared.failed(I::RESOURCE, &error::of_client(&error));
                pause(&mut backoff).await;
                continue;
            }
        };
        let namespace = client.default_namespace().to_owned();
        let client = kube::Client::new(Observed { client, shared: Arc::clone(shared) }, namespace);
        let mut events = std::pin::pin!(I::watch(client));
        // What a list has brought so far.
        let mut listed = I::default();
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    // The beginning of a list, or a part of it, is not yet a success.
                    if !matches!(event, Event::Init | Event::InitApply(_)) {
                        backoff.reset();
                        shared.progress.send_modify(Progress::succeeded);
                    }
                    shared.take_in(event, &mut listed);
                }
                Err(error) => {
                    shared.failed(I::RESOURCE, &error::of_watch(&error));
                    pause(&mut backoff).await;
                    if !error::is_of_connection(&error) {
                        break;
                    }
                }
            }
        }
    }
}

async fn pause(backoff: &mut DefaultBackoff) {
    sleep(backoff.next().unwrap_or(PAUSE_AFTER_PANIC)).await;
}

impl<I: Index> Shared<I> {
    fn take_in(&self, event: Event<I::Object>, listed: &mut I) {
        match event {
            Event::Init => *listed = I::default(),
            Event::InitApply(object) => listed.apply(object),
            Event::InitDone => self.listed(std::mem::take(listed)),
            Event::Apply(object) => self.change(|index| index.apply(object)),
            Event::Delete(object) => self.change(|index| index.delete(object)),
        }
    }

    fn change(&self, change: impl FnOnce(&mut I)) {
        // A list always comes first.
        self.index.write().unwrap_or_else(PoisonError::into_inner).as_mut().map(change);
    }

    /// A list is complete.
    fn listed(&self, list: I) {
        tracing::info!(resource = I::RESOURCE, objects = list.count(), "in sync with the cluster");
        let before = self.index.write().unwrap_or_else(PoisonError::into_inner).replace(list);
        self.progress.send_modify(|progress| progress.synced = true);
        lock(&self.predecessor).take();
        drop(before);
    }
}

impl<I> Shared<I> {
    /// Tells of a failure. The index stays.
    fn failed(&self, resource: &str, error: &str) {
        self.progress.send_modify(|progress| {
            progress.failures = progress.failures.saturating_add(1);
            progress.error = Some(error.to_owned());
        });
        tracing::warn!(resource, error, "cannot watch the cluster");
    }
}

impl Progress {
    /// The API server has answered a call.
    fn answered(&mut self) {
        self.contact = Some(Instant::now());
    }

    /// It has, and as it should.
    fn succeeded(&mut self) {
        self.answered();
        self.failures = 0;
        self.error = None;
    }
}

/// The client of one watch, which notes when the API server answers: the stream of events says nothing where nothing happens.
struct Observed<I> {
    client: kube::Client,
    shared: Arc<Shared<I>>,
}

impl<I: Index> Service<Request<Body>> for Observed<I> {
    type Response = Response<Body>;
    type Error = kube::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // Each call of the client waits for itself.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (client, shared) = (self.client.clone(), Arc::clone(&self.shared));
        // Of a list the answer has yet to be read.
        let is_watch = request.uri().query().is_some_and(|query| query.contains("watch=true"));
        let told = if is_watch { Progress::succeeded } else { Progress::answered };
        async move {
            let response = client.send(request).await?;
            if response.status().is_success() {
                shared.progress.send_modify(told);
            }
            Ok(response)
        }
        .boxed()
    }
}
