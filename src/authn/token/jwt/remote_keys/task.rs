//! The task that keeps one issuer's keys fresh.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, sleep_until};

use super::discovery::Origin;
use super::freshness::{MIN_LIFETIME, lifetime, refresh_after, retry_after};
use super::{Fetch, FetchError, KeySet, MAX_KEYS, Shared};
use crate::https::{Get, Url};

/// So many failures in a row make the discovery document worth another look: the key set may have moved.
const REDISCOVER_AFTER: u32 = 3;

/// Fetches, for ever.
pub(super) async fn run<K: KeySet>(shared: Arc<Shared<K>>, origin: Origin, fetch: impl Fetch) {
    let mut asked = shared.progress.subscribe();
    let mut key_set = None;
    let mut next = Instant::now();
    loop {
        tokio::select! {
            () = sleep_until(next) => {}
            _ = asked.wait_for(|progress| progress.fetching) => {}
        }
        shared.progress.send_modify(|progress| progress.fetching = true);
        // A panic must not end the task: tokens would wait for attempts that nobody makes.
        let attempt = AssertUnwindSafe(attempt(&origin, &mut key_set, &fetch)).catch_unwind();
        let outcome = attempt.await.unwrap_or(Err(FetchError::Panicked));
        next = Instant::now() + record(&shared, &origin, &mut key_set, outcome);
    }
}

/// One attempt: the discovery document, unless it is known where the key set is, and the key set.
async fn attempt<K: KeySet>(
    origin: &Origin,
    key_set: &mut Option<Url>,
    fetch: &impl Fetch,
) -> Result<(K, Duration), FetchError> {
    let url = match key_set {
        Some(url) => url,
        None => key_set.insert(origin.discover(fetch).await?),
    };
    let response = fetch.get(&Get::new(url)).await.map_err(FetchError::Keys)?;
    let keys = K::parse(&response.body).map_err(FetchError::MalformedKeys)?;
    match keys.key_count() {
        // An issuer that withdraws all its keys is taken at its word, but not for long.
        0 => Ok((keys, MIN_LIFETIME)),
        1..=MAX_KEYS => Ok((keys, lifetime(&response.headers))),
        count => Err(FetchError::TooManyKeys(count)),
    }
}

/// Tells what came of an attempt, and in how long to make the next.
fn record<K: KeySet>(
    shared: &Shared<K>,
    origin: &Origin,
    key_set: &mut Option<Url>,
    outcome: Result<(K, Duration), FetchError>,
) -> Duration {
    let now = Instant::now();
    let issuer = origin.issuer();
    let mut after = Duration::ZERO;
    let (keys, outcome) = match outcome {
        Ok((keys, lifetime)) => (Some(Arc::new(keys)), Ok(lifetime)),
        Err(error) => (None, Err(error)),
    };
    if let Some(keys) = keys {
        let count = keys.key_count();
        if shared.keys.load().as_ref().is_none_or(|old| old.key_count() != count) {
            tracing::info!(issuer, keys = count, "fetched keys");
        }
        if count == 0 {
            tracing::warn!(issuer, "the issuer has no keys, so all of its tokens are refused");
        }
        // Before `progress` says so.
        shared.keys.store(Some(keys));
    }
    shared.progress.send_modify(|progress| {
        progress.fetching = false;
        progress.attempts += 1;
        progress.ended = Some(now);
        match outcome {
            Ok(lifetime) => {
                progress.fetched = Some(now);
                progress.failures = 0;
                progress.error = None;
                after = refresh_after(lifetime);
            }
            Err(error) => {
                progress.failures = progress.failures.saturating_add(1);
                if progress.failures % REDISCOVER_AFTER == 0 {
                    *key_set = None;
                }
                after = retry_after(progress.failures);
                let stale = progress.fetched.map(|fetched| now - fetched);
                tracing::warn!(issuer, %error, ?stale, "cannot fetch keys");
                progress.error = Some(error);
            }
        }
    });
    after
}
