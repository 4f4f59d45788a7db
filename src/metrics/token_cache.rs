//! What is told of the token cache. Go: k8s.io/apiserver/pkg/authentication/token/cache/stats.go (1.36.3).

use std::sync::Weak;
use std::time::Instant;

use super::caches::{Caches, Remembers};
use super::cells::Cells;
use super::histogram::Histogram;
use super::page::{Kind, Page};

/// What became of the tokens that were looked up, in all caches: a webhook has one of its own, and a token that it is asked about
/// counts in both, as in Kubernetes.
#[derive(Debug)]
pub struct TokenCacheStatistics {
    hits: Histogram,
    misses: Histogram,
    /// Callers that began to wait and that ended to, and questions that were begun, answered and failed.
    fetches: Cells,
    caches: Caches,
}

const BLOCKED: usize = 0;
const UNBLOCKED: usize = 1;
const FETCHING: usize = 2;
const FETCHED: usize = 3;
const FAILED: usize = 4;
const DROPPED: usize = 5;

impl Default for TokenCacheStatistics {
    fn default() -> Self {
        Self {
            hits: Histogram::sharded(&DEFAULT_BUCKETS),
            misses: Histogram::sharded(&DEFAULT_BUCKETS),
            fetches: Cells::sharded(DROPPED + 1),
            caches: Caches::default(),
        }
    }
}

impl TokenCacheStatistics {
    /// Tells of the size of a cache, of good tokens and bad ones, for as long as that is there.
    pub fn watch(&self, cache: Weak<dyn Remembers>) {
        self.caches.watch(cache);
    }

    /// A token was known. Kubernetes counts in whole milliseconds, of which that takes none, so no clock is looked at.
    pub fn hit(&self) {
        self.hits.observe_nothing();
    }

    /// A token was not known: its caller waits until the value is dropped.
    pub fn miss(&self) -> Waiting<'_> {
        self.fetches.add(BLOCKED, 1);
        Waiting { statistics: self, since: Instant::now() }
    }

    /// Somebody is asked about a token.
    pub fn fetch(&self) -> Fetching<'_> {
        self.fetches.add(FETCHING, 1);
        Fetching { statistics: self, became: DROPPED }
    }

    pub(super) fn write(&self, page: &mut Page) {
        // What ends is read before what begins, so that no difference is below zero.
        let [unblocked, fetched, failed, dropped, blocked, fetching] =
            [UNBLOCKED, FETCHED, FAILED, DROPPED, BLOCKED, FETCHING].map(|index| self.fetches.total(index));
        let name = "authentication_token_cache_active_fetch_count";
        page.family(name, Kind::Gauge, "[ALPHA] ");
        page.sample(name, &[("status", "blocked")], blocked.saturating_sub(unblocked));
        let in_flight = fetching.saturating_sub(fetched + failed + dropped);
        page.sample(name, &[("status", "in_flight")], in_flight);
        let name = "authentication_token_cache_fetch_total";
        page.family(name, Kind::Counter, "[ALPHA] ");
        page.sample(name, &[("status", "error")], failed);
        page.sample(name, &[("status", "ok")], fetched);
        let name = "authentication_token_cache_request_duration_seconds";
        page.family(name, Kind::Histogram, "[ALPHA] ");
        self.hits.write(page, name, &[("status", "hit")]);
        self.misses.write(page, name, &[("status", "miss")]);
        let name = "authentication_token_cache_request_total";
        page.family(name, Kind::Counter, "[ALPHA] ");
        page.sample(name, &[("status", "hit")], self.hits.count());
        page.sample(name, &[("status", "miss")], self.misses.count());

        let (good, bad) = self.caches.remembered();
        let name = "countersign_token_cache_entries";
        page.family(name, Kind::Gauge, "Tokens that are remembered");
        page.sample(name, &[("kind", "bad")], bad);
        page.sample(name, &[("kind", "good")], good);
    }
}

/// A caller that waits. Go: `blocking` and `authenticating`.
#[derive(Debug)]
pub struct Waiting<'a> {
    statistics: &'a TokenCacheStatistics,
    since: Instant,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.statistics.fetches.add(UNBLOCKED, 1);
        self.statistics.misses.observe_duration(self.since.elapsed());
    }
}

/// A question that is under way. Go: `fetching`.
#[derive(Debug)]
pub struct Fetching<'a> {
    statistics: &'a TokenCacheStatistics,
    became: usize,
}

impl Fetching<'_> {
    /// It has ended: with an answer, of whatever kind, or with none.
    pub fn end(mut self, is_answer: bool) {
        self.became = if is_answer { FETCHED } else { FAILED };
    }
}

impl Drop for Fetching<'_> {
    fn drop(&mut self) {
        self.statistics.fetches.add(self.became, 1);
    }
}

/// Go: `DefBuckets` of github.com/prometheus/client_golang.
const DEFAULT_BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
