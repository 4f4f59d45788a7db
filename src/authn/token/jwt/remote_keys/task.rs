//! The task that keeps one issuer's keys fresh.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use futures_util::FutureExt;
use tokio::time::{Instant, sleep_until};

use super::discovery::Origin;
use super::freshness::{MIN_LIFETIME, lifetime, refresh_after, retry_after};
use super::{Fetch, FetchError, KeySet, Shared};
use crate::https::{Get, Url};

/// So many failures in a row make the discovery document worth another look: the key set may have moved.
const REDISCOVER_AFTER: u32 = 3;

/// What is known of the issuer besides its keys.
#[derive(Default)]
struct Known {
    /// Where its keys are.
    url: Option<Url>,
    /// The SHA-256 of what they were read from.
    digest: Option<[u8; 32]>,
}

/// What an attempt brought.
struct Fetched<K> {
    digest: [u8; 32],
    /// The keys, unless they are the same as before.
    keys: Option<K>,
    lifetime: Duration,
}

/// Fetches, for ever, after times that `random`, from 0 to 1, spreads.
pub(super) async fn run<K: KeySet>(
    shared: Arc<Shared<K>>,
    origin: Origin,
    fetch: impl Fetch,
    random: impl Fn() -> f64,
) {
    let mut asked = shared.progress.subscribe();
    let mut known = Known::default();
    let mut next = Instant::now();
    loop {
        tokio::select! {
            () = sleep_until(next) => {}
            _ = asked.wait_for(|progress| progress.fetching) => {}
        }
        shared.progress.send_modify(|progress| progress.fetching = true);
        // A panic must not end the task: tokens would wait for attempts that nobody makes.
        let attempt = AssertUnwindSafe(attempt(&origin, &mut known, &fetch)).catch_unwind();
        let outcome = attempt.await.unwrap_or(Err(FetchError::Panicked));
        let after = match outcome {
            Ok(fetched) => succeeded(&shared, &origin.issuer, fetched, random()),
            Err(error) => failed(&shared, &origin.issuer, &mut known, error, random()),
        };
        next = Instant::now() + after;
    }
}

/// One attempt: the discovery document, unless it is known where the keys are, and the keys.
async fn attempt<K: KeySet>(
    origin: &Origin,
    known: &mut Known,
    fetch: &impl Fetch,
) -> Result<Fetched<K>, FetchError> {
    let url = match &mut known.url {
        Some(url) => url,
        none => none.insert(origin.discover(fetch).await?),
    };
    let response = fetch.get(&Get::new(url)).await.map_err(FetchError::Keys)?;
    let lifetime = lifetime(&response.headers);
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(digest(&SHA256, &response.body).as_ref());
    if known.digest == Some(sha256) {
        return Ok(Fetched { keys: None, lifetime, digest: sha256 });
    }
    let keys = K::parse(&response.body).map_err(FetchError::MalformedKeys)?;
    known.digest = Some(sha256);
    Ok(Fetched { keys: Some(keys), lifetime, digest: sha256 })
}

/// Tells of keys, and in how long to ask for them again.
fn succeeded<K: KeySet>(shared: &Shared<K>, issuer: &str, fetched: Fetched<K>, random: f64) -> Duration {
    if let Some(keys) = fetched.keys {
        tracing::info!(issuer, keys = keys.key_count(), "fetched keys");
        // Before `progress` says so.
        shared.keys.store(Some(Arc::new(keys)));
    }
    let none = shared.keys.load().as_ref().is_none_or(|keys| keys.key_count() == 0);
    if none {
        tracing::warn!(issuer, "the issuer has no keys, so all of its tokens are refused");
    }
    shared.ended(|progress| {
        progress.fetched = progress.ended;
        progress.failures = 0;
        progress.error = None;
        progress.key_set.fetched = Some(now());
        progress.key_set.digest = Some(fetched.digest);
    });
    // An issuer that withdraws all its keys is taken at its word, but not for long.
    refresh_after(if none { MIN_LIFETIME } else { fetched.lifetime }, random)
}

/// Tells of a failure, and in how long to try again. The keys stay.
fn failed<K>(
    shared: &Shared<K>,
    issuer: &str,
    known: &mut Known,
    error: FetchError,
    random: f64,
) -> Duration {
    tracing::warn!(issuer, %error, "cannot fetch keys");
    let failures = shared.ended(|progress| {
        progress.failures = progress.failures.saturating_add(1);
        if matches!(error, FetchError::Keys(_) | FetchError::MalformedKeys(_)) {
            progress.key_set.failed = Some(now());
        }
        progress.error = Some(error);
    });
    if failures.is_multiple_of(REDISCOVER_AFTER) {
        known.url = None;
    }
    retry_after(failures, random)
}

fn now() -> SystemTime {
    #[expect(clippy::disallowed_methods, reason = "no decision about a request depends on it")]
    SystemTime::now()
}
