//! The cluster: a connection to its API server, and indexes in memory that watches fill.
//!
//! ```text
//!   kubeconfig, or the pod's own credentials ──▶ Access ──▶ Cluster ──▶ Watch<I> ──▶ I, an index
//!                                                           (Clusters)              a Check: one look, no call
//! ```
//!
//! Whoever wants to know objects writes an [`Index`] of them and asks [`Cluster::watch`] for it. A Check never waits for the API
//! server: it looks at what the watch has brought. What kube-apiserver asks its own caches (informers, listers) is asked here of these
//! indexes, which are behind by as much as a watch is. Only [`Objects`] asks it, for what an index does not have and for Secrets, and
//! [`AccessReviews`], which ask whether somebody may do something.
//!
//! [`Clusters`] outlives configurations: one that is loaded anew with the same content gets the cluster and the watches that are there.
//! A watch ends when nobody uses it any more. Where the content has changed, the watch that was there goes on answering until the one
//! that takes its place has been in sync.

mod access;
mod access_review;
mod call;
mod counted;
mod error;
mod objects;
mod watch;

#[cfg(test)]
mod tests;

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::future::join_all;

use crate::metrics::Requests;
use crate::secret::{Digest, Digester};

pub use access::{Access, AccessError, Content, Credentials};
pub use access_review::{AccessReviews, ResourceAttributes, Subject, Unavailable};
pub use objects::{LookupError, Object, Objects, TokenSecret};
pub use watch::{Index, Status, Watch, settings};

use watch::Watched;

/// The clusters that are in use, by how they are reached.
#[derive(Clone)]
pub struct Clusters(Arc<Known>);

struct Known {
    digester: Digester,
    proxy: Box<ProxyOf>,
    requests: Arc<Requests>,
    clusters: Mutex<HashMap<Digest, Weak<Cluster>>>,
}

/// The proxy on the way to a host and port.
type ProxyOf = dyn Fn(&str, u16) -> Option<http::Uri> + Send + Sync;

/// One cluster, as one identity may see it.
pub struct Cluster {
    config: kube::Config,
    client: Mutex<Option<kube::Client>>,
    watches: Mutex<HashMap<TypeId, Weak<dyn Watched>>>,
    known: Arc<Known>,
}

impl Clusters {
    /// No clusters yet. `proxy` says by way of which proxy a host and port are reached; what is sent there is counted in `requests`.
    pub fn new(
        proxy: impl Fn(&str, u16) -> Option<http::Uri> + Send + Sync + 'static,
        requests: Arc<Requests>,
    ) -> Self {
        Self(Arc::new(Known {
            digester: Digester::random(),
            proxy: Box::new(proxy),
            requests,
            clusters: Mutex::default(),
        }))
    }

    /// The cluster that is reached like this. Nothing is connected yet.
    ///
    /// # Errors
    /// No connection can be made like this.
    pub fn cluster(&self, access: &Access) -> Result<Arc<Cluster>, AccessError> {
        let config = access.config(&*self.0.proxy)?;
        let digest = access.digest(&config, &self.0.digester);
        let mut clusters = lock(&self.0.clusters);
        if let Some(cluster) = clusters.get(&digest).and_then(Weak::upgrade) {
            return Ok(cluster);
        }
        let cluster = Arc::new(Cluster {
            config,
            client: Mutex::default(),
            watches: Mutex::default(),
            known: Arc::clone(&self.0),
        });
        clusters.retain(|_, cluster| cluster.strong_count() > 0);
        clusters.insert(digest, Arc::downgrade(&cluster));
        Ok(cluster)
    }
}

impl Cluster {
    /// The watch that fills an index of this type: that which is in use, or a new one, for which nothing is asked before
    /// [`Self::start`].
    pub fn watch<I: Index>(self: &Arc<Self>) -> Arc<Watch<I>> {
        let id = TypeId::of::<I>();
        let predecessor = self.known.synced_watch();
        let mut watches = lock(&self.watches);
        if let Some(watch) = watches.get(&id).and_then(Weak::upgrade).and_then(downcast) {
            return watch;
        }
        let watch = Arc::new(Watch::new(Arc::clone(self), predecessor));
        let erased: Arc<dyn Watched> = Arc::<Watch<I>>::clone(&watch);
        watches.insert(id, Arc::downgrade(&erased));
        watch
    }

    /// Begins to watch, where that has not begun.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(&self) {
        self.watches().iter().for_each(|watch| watch.start());
    }

    /// Begins to watch, and waits until every watch has been in sync once: for ever if need be, so the caller is to bound it.
    pub async fn synced(&self) {
        self.start();
        let watches = self.watches();
        join_all(watches.iter().map(async |watch| {
            let _never_dropped = watch.progress().wait_for(|progress| progress.synced).await.map(drop);
        }))
        .await;
    }

    /// How the watches are doing, by resource.
    pub fn status(&self) -> Vec<Status> {
        let mut status: Vec<_> = self.watches().iter().map(|watch| watch.status()).collect();
        status.sort_by_key(|status| status.resource);
        status
    }

    /// Where the API server is.
    pub fn url(&self) -> String {
        self.config.cluster_url.to_string()
    }

    /// The client that all watches share.
    fn client(&self) -> Result<kube::Client, kube::Error> {
        let mut client = lock(&self.client);
        match &*client {
            Some(client) => Ok(client.clone()),
            None => {
                let counted = counted::client(&self.config, Arc::clone(&self.known.requests))?;
                Ok(client.insert(counted).clone())
            }
        }
    }

    fn watches(&self) -> Vec<Arc<dyn Watched>> {
        lock(&self.watches).values().filter_map(Weak::upgrade).collect()
    }
}

impl Known {
    /// A watch of any cluster that has been in sync.
    fn synced_watch<I: Index>(&self) -> Option<Arc<Watch<I>>> {
        let clusters: Vec<_> = lock(&self.clusters).values().filter_map(Weak::upgrade).collect();
        let watches = clusters.iter().filter_map(|cluster| {
            lock(&cluster.watches).get(&TypeId::of::<I>()).and_then(Weak::upgrade).and_then(downcast)
        });
        watches.into_iter().find(|watch: &Arc<Watch<I>>| watch.status().synced)
    }
}

fn downcast<I: Index>(watch: Arc<dyn Watched>) -> Option<Arc<Watch<I>>> {
    let watch: Arc<dyn Any + Send + Sync> = watch;
    watch.downcast().ok()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for Clusters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clusters(..)")
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cluster({})", self.url())
    }
}
