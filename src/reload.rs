//! One watcher for every file that the configuration names: look, load, build, swap.
//!
//! It looks at the files at an interval, rather than asking the kernel to tell: a look costs a `stat` a file, and no
//! notification is lost when a Kubernetes volume swaps its links. A configuration that is bad in any part changes nothing: it is
//! reported once, the old one goes on serving, and the next change is tried again. A Check in flight keeps the snapshot that it
//! started with, and what it needs goes with the last of them.
//!
//! New issuers of JSON Web Tokens have to have shown their keys before they take the place of the old ones, as in kube-apiserver
//! (`updateAuthenticationConfig`). There nothing else is in the same file; here other files must not wait for an issuer that is
//! away: all else is served at once, and the issuers are changed when the last of the new ones is there. A cluster that has changed
//! does so by itself ([`crate::cluster`]).

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use clap::ArgMatches;
use futures_util::future::join_all;
use tokio::signal::unix::Signal;
use tokio::time::sleep;

use crate::admin::Status;
use crate::authn::token::JwtAuthenticators;
use crate::authn::token::jwt::Remote;
use crate::cluster::Clusters;
use crate::config::options::AT_START;
use crate::config::{Config, Deadlines, Environment, Files, Loaded, LogConfig, ServerConfig, Tls};
use crate::envoy::Snapshot;
use crate::metrics::ReloadResult;

/// What it takes to load the configuration again.
#[derive(Debug)]
pub struct Reloader {
    matches: ArgMatches,
    environment: Environment,
    remote: Remote,
    clusters: Clusters,
    files: Files,
    interval: Duration,
    /// As it was at the start.
    log: LogConfig,
    deadlines: Deadlines,
    /// The issuers that are served.
    jwt: Option<Arc<JwtAuthenticators>>,
    /// Those that are to be, when all of their keys are there.
    next_jwt: Option<Arc<JwtAuthenticators>>,
}

impl Reloader {
    /// Watches the `files` and the deadlines of `config`, which was loaded from `matches`, `environment` and what outlives it.
    pub fn new(
        matches: ArgMatches,
        environment: Environment,
        (remote, clusters): (Remote, Clusters),
        files: Files,
        config: &mut Config,
    ) -> Self {
        let (interval, deadlines) = (config.server.reload_interval, config.deadlines.clone());
        let jwt = config.chain.jwt().map(|jwt| Arc::clone(jwt));
        let log = config.log.clone();
        Self { matches, environment, remote, clusters, files, interval, log, deadlines, jwt, next_jwt: None }
    }

    /// What outlives configurations.
    pub(crate) fn remote(&self) -> &Remote {
        &self.remote
    }

    /// What metrics tell of the file that `--authentication-config` names.
    pub(crate) fn authentication_config(&self) -> Option<String> {
        self.files.authentication_config().map(str::to_owned)
    }

    /// Watches until it is dropped. `SIGHUP` makes it load at once, whether anything looks changed or not.
    pub(crate) async fn run(
        mut self,
        current: Arc<ArcSwap<Snapshot>>,
        tls: [CurrentTls; 2],
        running: ServerConfig,
        status: Arc<Status>,
        mut hangup: Signal,
    ) {
        loop {
            let asked = tokio::select! {
                () = sleep(self.interval) => false,
                _ = hangup.recv() => true,
            };
            let there = match (&self.next_jwt, &self.jwt) {
                (Some(new), Some(old)) => !is_missing(new, old),
                _ => false,
            };
            if asked || there || self.files.changed() {
                self = self.reload(&current, &tls, &running, &status).await;
            }
            for problem in self.deadlines.take_passed() {
                tracing::warn!("{problem}");
            }
            give_back();
        }
    }

    async fn reload(
        mut self,
        current: &ArcSwap<Snapshot>,
        [tls, admin_tls]: &[CurrentTls; 2],
        running: &ServerConfig,
        status: &Status,
    ) -> Self {
        let (matches, environment, remote) =
            (self.matches.clone(), self.environment.clone(), self.remote.clone());
        let clusters = self.clusters.clone();
        // A million tokens take a second of reading and hashing.
        let loading =
            tokio::task::spawn_blocking(move || Config::load(&matches, environment, &remote, &clusters));
        let Ok(Loaded { config, files }) = loading.await else {
            tracing::error!("loading the configuration panicked; the old one goes on serving");
            status.metrics.reloads.reloaded(ReloadResult::Error, self.authentication_config());
            return self;
        };
        self.files = files;
        match config {
            Err(errors) => {
                status.metrics.reloads.reloaded(ReloadResult::Error, self.authentication_config());
                for error in errors {
                    tracing::error!(%error, "not reloaded; the old configuration goes on serving");
                }
            }
            Ok(Config {
                mut chain,
                cluster,
                reply,
                profiles,
                server,
                tls: new_tls,
                log,
                admin_tls: new_admin_tls,
                warnings,
                deadlines,
                options,
            }) => {
                self.next_jwt = None;
                if let (Some(new), Some(old)) = (chain.jwt(), &self.jwt) {
                    join_all(new.keys_not_of(old).map(|keys| keys.wait_ready(MAX_WAIT_FOR_KEYS))).await;
                    if told_of_missing(new, old) {
                        self.next_jwt = Some(std::mem::replace(new, Arc::clone(old)));
                    }
                }
                self.jwt = chain.jwt().map(|jwt| Arc::clone(jwt));
                status.issuers(self.jwt.as_deref());
                status.cluster(cluster);
                status.told_of(&deadlines);
                self.deadlines = deadlines;
                current.store(Arc::new(Snapshot::new(chain, reply, profiles, &status.metrics)));
                let [turned, admin_turned] = [renew(tls, new_tls), renew(admin_tls, new_admin_tls)];
                status.options(options, |name| {
                    AT_START.contains(&name)
                        || turned && name.starts_with("tls-")
                        || admin_turned && name.starts_with("admin-tls-")
                });
                let result = match self.next_jwt {
                    None => ReloadResult::Success,
                    Some(_) => ReloadResult::Partly,
                };
                status.metrics.reloads.reloaded(result, self.authentication_config());
                for warning in warnings {
                    tracing::warn!("{warning}");
                }
                if turned || admin_turned || server != *running || log != self.log {
                    tracing::warn!(
                        "options of the listener, the log, the audit log or traces have changed, which takes a restart"
                    );
                }
                tracing::info!(generation = status.metrics.reloads.generation(), "reloaded");
            }
        }
        self
    }
}

/// What a listener needs for the handshakes that begin now, if it speaks TLS.
pub(crate) type CurrentTls = Option<Arc<ArcSwap<rustls::ServerConfig>>>;

/// Whether TLS would have to be turned on or off; else what is new takes the place of what was.
fn renew(current: &CurrentTls, new: Option<Tls>) -> bool {
    let turned = current.is_some() != new.is_some();
    if let (Some(current), Some(Tls(settings))) = (current, new) {
        current.store(settings);
    }
    turned
}

/// The old configuration, and the files that the new one was read from, are large if they hold a million tokens. The allocator (mimalloc 3)
/// gives the system memory that was freed more than a second ago, but looks for it only when it is given something large again, which
/// Checks do not do.
fn give_back() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(LARGE)));
}

/// In bytes, of which none is written. mimalloc keeps no block of this size for later.
const LARGE: usize = 16 << 20;

/// A new configuration waits so long for the keys of issuers that the old one has not. Kubernetes waits a minute, and nothing else
/// depends on it there.
const MAX_WAIT_FOR_KEYS: Duration = Duration::from_secs(2);

/// Whether an issuer that is new has not shown its keys.
fn is_missing(new: &JwtAuthenticators, old: &JwtAuthenticators) -> bool {
    new.keys_not_of(old).any(|keys| keys.current().is_none())
}

/// The same, and says of each what is wrong.
fn told_of_missing(new: &JwtAuthenticators, old: &JwtAuthenticators) -> bool {
    for keys in new.keys_not_of(old).filter(|keys| keys.current().is_none()) {
        let error = keys.status().error.map_or_else(|| "no answer yet".to_owned(), |error| error.to_string());
        tracing::error!(
            issuer = keys.source().url,
            error,
            "the keys of a new issuer are not there; until they are, the issuers that were go on serving"
        );
    }
    is_missing(new, old)
}
