//! An issuer's keys: found by discovery, kept fresh in the background, and there without waiting when a token comes.
//!
//! Kubernetes finds an issuer's keys in the background (`New` of k8s.io/apiserver/plugin/pkg/authenticator/token/oidc) but fetches
//! them when a token needs them (`remoteKeySet` of github.com/coreos/go-oidc). Here both are done by one task for each issuer:
//!
//! ```text
//!   discovery ──▶ JWK set ──▶ current() ──── a Check: one atomic load
//!                  ▲    ▲
//!            timer ┘    └ newer(): a token that no known key fits, once an interval
//! ```
//!
//! - The timer follows what the issuer says about caching, within bounds, and fetches before that time is over.
//! - A token that no known key fits makes the task fetch at once, but never sooner than [`MIN_INTERVAL`] after the attempt before,
//!   whatever came of that (threats S25). The caller waits for it, at most [`MAX_WAIT`]; a caller that goes away stops nothing.
//! - An attempt that fails changes nothing: the old keys stay, and it is tried again after 0.5 to 1 s, 1 to 2, 2 to 4, 4 to 8, and from
//!   then on every 5 to 10 s, for as long as it fails and whether tokens come or not. No token adds an attempt to those or hastens one,
//!   since each comes before [`MIN_INTERVAL`] is over.
//!
//! Differences from Kubernetes. An unknown key is looked for although the keys have not expired, so a rotated key is known sooner; but
//! where an issuer gives no expiry, Kubernetes would fetch for every bad token, and here that is once an interval. Keys that the issuer
//! has withdrawn are forgotten at the next refresh, where Kubernetes keeps them until a token fails. `jwks_uri` must be `https://`.
//! What comes is bounded in size ([`DEFAULT_MAX_BODY`](crate::https::DEFAULT_MAX_BODY)) and, by who reads it, in number.

mod discovery;
mod error;
mod freshness;
mod registry;
mod task;

#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use crate::https::{Client, Error, Get, Response};

pub use error::{FetchError, MalformedKeys, NoNewerKeys, SourceError};
pub use registry::Registry;

/// Between an attempt to fetch an issuer's keys and the next that a token asks for.
pub const MIN_INTERVAL: Duration = Duration::from_secs(10);

/// A token waits no longer for an attempt that it asked for. Kubernetes waits as long as the request does.
pub const MAX_WAIT: Duration = Duration::from_secs(5);

/// So many tokens of one issuer wait for an attempt at once; more are refused without waiting.
pub const MAX_WAITING: usize = 128;

/// Where an issuer's keys come from. Two issuers with equal sources share their keys.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    /// `issuer.url`, which the discovery document must name exactly.
    pub url: String,
    /// `issuer.discoveryURL`, from which the document is fetched instead.
    pub discovery_url: Option<String>,
    /// `issuer.certificateAuthority`, PEM; without it the system's roots.
    pub certificate_authority: Option<String>,
}

/// A JWK set (RFC 7517, section 5), as somebody else reads it.
pub trait KeySet: Send + Sync + Sized + 'static {
    /// Reads the body of an answer. The number of keys is to be bounded here: a token without a key id is tried with each.
    fn parse(body: &[u8]) -> Result<Self, MalformedKeys>;

    /// How many keys there are.
    fn key_count(&self) -> usize;
}

/// The keys of one issuer. Shared by all that verify its tokens; when the last of them is gone, fetching ends.
pub struct RemoteKeys<K> {
    source: Source,
    shared: Arc<Shared<K>>,
    waiting: Semaphore,
    task: Mutex<Task>,
}

/// How an issuer's keys are doing, for readiness and metrics.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// The number of keys; none before the first that were fetched.
    pub keys: Option<usize>,
    /// How long ago they were fetched.
    pub age: Option<Duration>,
    /// How many attempts have failed since.
    pub failures: u32,
    /// What the last attempt failed with, unless it succeeded.
    pub error: Option<FetchError>,
}

/// When a key set was fetched, by the clock on the wall.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeySetFetches {
    /// When it last was.
    pub fetched: Option<SystemTime>,
    /// When that last failed. An attempt that did not get as far as the key set does not count.
    pub failed: Option<SystemTime>,
    /// The SHA-256 of what was fetched.
    pub digest: Option<[u8; 32]>,
}

impl<K: KeySet> RemoteKeys<K> {
    /// Keys from `source`, fetched by `fetch`, after times that `random`, from 0 to 1, spreads. Nothing is fetched before [`Self::start`].
    fn new(
        source: Source,
        origin: discovery::Origin,
        fetch: impl Fetch,
        random: impl Fn() -> f64 + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared { keys: ArcSwapOption::empty(), progress: watch::Sender::default() });
        let task = Task::Waiting(Box::pin(task::run(Arc::clone(&shared), origin, fetch, random)));
        Self { source, shared, waiting: Semaphore::new(MAX_WAITING), task: Mutex::new(task) }
    }

    /// Where the keys come from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// Begins to fetch, if that has not begun.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(&self) {
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if let Task::Waiting(future) = &mut *task {
            let future = std::mem::replace(future, Box::pin(std::future::ready(())));
            *task = Task::Running(tokio::spawn(future).abort_handle());
        }
    }

    /// The keys, as far as is known; none if none could be fetched yet, and the issuer's tokens must be refused. Never waits.
    pub fn current(&self) -> Option<Arc<K>> {
        self.shared.keys.load_full()
    }

    /// Other keys than `tried`, none of which fits a token. May wait for an attempt to fetch them, [`MAX_WAIT`] at most. To
    /// be asked once for a token: what it gives is as new as it gets.
    pub async fn newer(&self, tried: &Arc<K>) -> Result<Arc<K>, NoNewerKeys> {
        let mut progress = self.shared.progress.subscribe();
        if let Some(keys) = self.other_than(tried) {
            return Ok(keys);
        }
        let waiting = self.waiting.try_acquire();
        let Some(attempts) = waiting.is_ok().then(|| self.shared.request()).flatten() else {
            // An attempt may have ended in between.
            return self.other_than(tried).ok_or_else(|| self.none_newer());
        };
        let ended = progress.wait_for(|progress| progress.attempts > attempts);
        let _ended_or_elapsed = timeout(MAX_WAIT, ended).await.map(|ended| ended.map(drop));
        self.other_than(tried).ok_or_else(|| self.none_newer())
    }

    /// How the keys are doing.
    pub fn status(&self) -> Status {
        let keys = self.current().map(|keys| keys.key_count());
        let progress = self.shared.progress.borrow();
        Status {
            keys,
            age: progress.fetched.map(|at| at.elapsed()),
            failures: progress.failures,
            error: progress.error.clone(),
        }
    }

    /// When they were fetched, for metrics.
    pub fn key_set_fetches(&self) -> KeySetFetches {
        self.shared.progress.borrow().key_set.clone()
    }

    /// Begins to fetch, and waits until there are keys or the time is over. Go: `updateAuthenticationConfig` of
    /// k8s.io/kubernetes/pkg/kubeapiserver/authenticator, which waits for `HealthCheck`, a minute at most, before it takes a new
    /// configuration into use; there, discovery is enough.
    ///
    /// # Errors
    /// What the last attempt failed with; nothing if none has ended.
    pub async fn wait_ready(&self, within: Duration) -> Result<(), Option<FetchError>> {
        self.start();
        let mut progress = self.shared.progress.subscribe();
        let fetched = progress.wait_for(|progress| progress.fetched.is_some());
        match timeout(within, fetched).await {
            Ok(Ok(_fetched)) => Ok(()),
            _ => Err(self.shared.progress.borrow().error.clone()),
        }
    }

    /// Begins to fetch, and waits until the first attempt has ended, either way, or the time is over.
    pub async fn attempted(&self, within: Duration) {
        self.start();
        let mut progress = self.shared.progress.subscribe();
        let _attempted_or_elapsed =
            timeout(within, progress.wait_for(|progress| progress.attempts > 0)).await;
    }

    fn other_than(&self, tried: &Arc<K>) -> Option<Arc<K>> {
        self.current().filter(|keys| !Arc::ptr_eq(keys, tried))
    }

    fn none_newer(&self) -> NoNewerKeys {
        let progress = self.shared.progress.borrow();
        if progress.error.is_some() || progress.fetching {
            NoNewerKeys::Unavailable
        } else {
            NoNewerKeys::Unknown
        }
    }
}

impl<K> Drop for RemoteKeys<K> {
    fn drop(&mut self) {
        if let Task::Running(task) = self.task.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

impl<K> fmt::Debug for RemoteKeys<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteKeys").field("source", &self.source).finish_non_exhaustive()
    }
}

/// What the task is.
enum Task {
    Waiting(Pin<Box<dyn Future<Output = ()> + Send>>),
    Running(AbortHandle),
}

/// What the task tells.
struct Shared<K> {
    keys: ArcSwapOption<K>,
    /// Changes after `keys` do.
    progress: watch::Sender<Progress>,
}

#[derive(Debug, Default)]
struct Progress {
    /// An attempt is under way, or the task has been asked for one.
    fetching: bool,
    /// Attempts that have ended.
    attempts: u64,
    /// When the last of them did.
    ended: Option<Instant>,
    /// When the last of them did that brought keys.
    fetched: Option<Instant>,
    /// How many have failed since.
    failures: u32,
    /// What the last of them failed with.
    error: Option<FetchError>,
    key_set: KeySetFetches,
}

impl<K> Shared<K> {
    /// Asks for an attempt, or joins the one that is under way. The number of attempts before it; none if it is too soon.
    fn request(&self) -> Option<u64> {
        let mut attempts = None;
        self.progress.send_if_modified(|progress| {
            let too_soon = progress.ended.is_some_and(|ended| ended.elapsed() < MIN_INTERVAL);
            if !progress.fetching && too_soon {
                return false;
            }
            attempts = Some(progress.attempts);
            !std::mem::replace(&mut progress.fetching, true)
        });
        attempts
    }

    /// Says that an attempt has ended, and how. The number of failures since the last that brought keys.
    fn ended(&self, how: impl FnOnce(&mut Progress)) -> u32 {
        let mut failures = 0;
        self.progress.send_modify(|progress| {
            progress.fetching = false;
            progress.attempts += 1;
            progress.ended = Some(Instant::now());
            how(progress);
            failures = progress.failures;
        });
        failures
    }
}

/// Gets something over HTTPS.
trait Fetch: Send + Sync + 'static {
    fn get(&self, get: &Get<'_>) -> impl Future<Output = Result<Response, Error>> + Send;
}

impl Fetch for Client {
    fn get(&self, get: &Get<'_>) -> impl Future<Output = Result<Response, Error>> + Send {
        Self::get(self, get)
    }
}
