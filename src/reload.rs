//! One watcher for every file that the configuration names: look, load, build, swap.
//!
//! It looks at the files at an interval, rather than asking the kernel to tell: a look costs a `stat` a file, and no
//! notification is lost when a Kubernetes volume swaps its links. A configuration that is bad in any part changes nothing: it is
//! reported once, the old one goes on serving, and the next change is tried again. A Check in flight keeps the snapshot that it
//! started with, and what it needs goes with the last of them.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use clap::ArgMatches;
use futures_util::future::join_all;
use tokio::signal::unix::Signal;
use tokio::time::sleep;

use crate::admin::Status;
use crate::authn::token::jwt::{IssuerKeys, Remote};
use crate::config::{Config, Deadlines, Environment, Files, Loaded, ServerConfig, Tls};
use crate::envoy::Snapshot;
use crate::metrics::ReloadResult;

/// What it takes to load the configuration again.
#[derive(Debug)]
pub struct Reloader {
    matches: ArgMatches,
    environment: Environment,
    remote: Remote,
    files: Files,
    interval: Duration,
    deadlines: Deadlines,
}

impl Reloader {
    /// Watches the `files` and the deadlines of `config`, which was loaded from `matches`, `environment` and `remote`.
    pub fn new(
        matches: ArgMatches,
        environment: Environment,
        remote: Remote,
        files: Files,
        config: &Config,
    ) -> Self {
        let (interval, deadlines) = (config.server.reload_interval, config.deadlines.clone());
        Self { matches, environment, remote, files, interval, deadlines }
    }

    /// Watches until it is dropped. `SIGHUP` makes it load at once, whether anything looks changed or not.
    pub(crate) async fn run(
        mut self,
        current: Arc<ArcSwap<Snapshot>>,
        tls: Option<Arc<ArcSwap<rustls::ServerConfig>>>,
        running: ServerConfig,
        status: Arc<Status>,
        mut hangup: Signal,
    ) {
        loop {
            let asked = tokio::select! {
                () = sleep(self.interval) => false,
                _ = hangup.recv() => true,
            };
            if asked || self.files.changed() {
                self = self.reload(&current, tls.as_deref(), &running, &status).await;
            }
            for problem in self.deadlines.take_passed() {
                tracing::warn!("{problem}");
            }
        }
    }

    async fn reload(
        mut self,
        current: &ArcSwap<Snapshot>,
        tls: Option<&ArcSwap<rustls::ServerConfig>>,
        running: &ServerConfig,
        status: &Status,
    ) -> Self {
        let (matches, environment, remote) =
            (self.matches.clone(), self.environment.clone(), self.remote.clone());
        // A million tokens take a second of reading and hashing.
        let loading = tokio::task::spawn_blocking(move || {
            let Loaded { config, files } = Config::load(&matches, environment, &remote);
            (
                config.map(|Config { chain, reply, server, tls, warnings, deadlines, .. }| {
                    let keys: Vec<Arc<IssuerKeys>> = chain.issuer_keys().cloned().collect();
                    (Snapshot::new(chain.into_chain(), reply), keys, server, tls, warnings, deadlines)
                }),
                files,
            )
        });
        let Ok((config, files)) = loading.await else {
            tracing::error!("loading the configuration panicked; the old one goes on serving");
            status.metrics.reloaded(ReloadResult::Error);
            return self;
        };
        self.files = files;
        match config {
            Err(errors) => {
                status.metrics.reloaded(ReloadResult::Error);
                for error in errors {
                    tracing::error!(%error, "not reloaded; the old configuration goes on serving");
                }
            }
            Ok((snapshot, keys, server, new_tls, warnings, deadlines)) => {
                // Those that the old configuration has are there.
                join_all(keys.iter().map(|keys| ready(keys))).await;
                status.told_of(&deadlines);
                self.deadlines = deadlines;
                current.store(Arc::new(snapshot));
                let turned = tls.is_some() != new_tls.is_some();
                if let (Some(tls), Some(Tls(settings))) = (tls, new_tls) {
                    tls.store(settings);
                }
                status.metrics.reloaded(ReloadResult::Success);
                for warning in warnings {
                    tracing::warn!("{warning}");
                }
                if turned || server != *running {
                    tracing::warn!("options of the listener have changed, which takes a restart");
                }
                tracing::info!(generation = status.metrics.generation.get(), "reloaded");
            }
        }
        self
    }
}

/// A new configuration waits so long for the keys of issuers that the old one has not. Kubernetes waits a minute, and then keeps the
/// old one; here other files must not be held up by an issuer that is away.
const MAX_WAIT_FOR_KEYS: Duration = Duration::from_secs(10);

async fn ready(keys: &IssuerKeys) {
    if let Err(error) = keys.wait_ready(MAX_WAIT_FOR_KEYS).await {
        let error = error.map_or_else(|| "no answer yet".to_owned(), |error| error.to_string());
        tracing::warn!(
            issuer = keys.source().url,
            error,
            "the issuer's keys are not there; its tokens are refused"
        );
    }
}
