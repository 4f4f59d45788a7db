//! Remembers what token authenticators said (Go: k8s.io/apiserver/pkg/authentication/token/cache/cached_token_authenticator.go, 1.36.3).
//!
//! ```text
//!   token ── keyed digest ──▶ remembered, and still so? ── yes ──▶ that
//!                               │ no
//!                               ├─ somebody is asking already ──▶ wait for that
//!                               └─ ask ──▶ remember, if it was an answer ──▶ that
//! ```
//!
//! Whoever asks first asks for all that come with the same token meanwhile, and goes on asking if that caller goes away. The cache belongs
//! to a configuration and goes with it, so audiences, which Go has in its key, are always the same.
//!
//! The caches of several profiles keep what they remember in one [`Room`], so that the bounds hold for all of them together. Each has a
//! key of its own for its digests, and its own questions: nothing that one of them knows can be found by another (threats S17).
//!
//! Stricter than Kubernetes, which remembers whatever it was told for as long as the TTL says:
//!
//! - a token counts no longer than its own `exp`, its issuer has the keys that it was verified with, and the live objects that it names
//!   are there ([`Lasts`]);
//! - an answer that could not be had is not remembered, nor is a defect of ours;
//! - the number of answers is bounded, and those that are no good have a place of their own: a flood of bad tokens drives out no good one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use quick_cache::sync::Cache;
use tokio::time::timeout;

use crate::authn::{AuthenticateToken, Lookup, Now, Observer, Outcome, Token};
use crate::decision::{Authenticated, Authenticator, Fault, Lasts, Reason};
use crate::metrics::{Remembers, TokenCacheStatistics};
use crate::secret::{Digest, Digester, SecretBytes};
use crate::trace;

/// So many good tokens are remembered. Go: `newStripedCache`, which has no bound but counts on 32,000.
pub const MAX_GOOD: usize = 100_000;

/// So many of those that are no good.
pub const MAX_BAD: usize = 10_000;

/// So long is asked for a token, whoever waits for it. Go: `sharedLookupTimeout`.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// For how long what is remembered. Zero: not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ttl {
    /// That a token is somebody's.
    pub good: Duration,
    /// That a token is nobody's.
    pub bad: Duration,
    /// Whether also that a token was refused, for as long as `bad`. Go: `cacheErrs`.
    pub refusals: bool,
}

/// Asks `A` once for a token, and remembers for a while.
pub struct TokenCache<A>(Arc<Shelves<A>>);

struct Shelves<A> {
    tokens: A,
    digester: Digester,
    room: Arc<Room>,
    asking: Mutex<HashMap<Digest, Asking>>,
}

/// Where answers are kept, of one cache or of several, and for how long.
pub struct Room {
    ttl: Ttl,
    good: Cache<Digest, Kept<Authenticated>>,
    bad: Cache<Digest, Kept<Outcome>>,
    statistics: Arc<TokenCacheStatistics>,
}

/// A question, and whoever waits for its answer.
type Asking = Shared<BoxFuture<'static, Outcome>>;

/// An answer. Both clocks have a say in how long it is kept: the one cannot be set back, the other is that of the Check.
#[derive(Clone)]
struct Kept<T> {
    answer: T,
    since: Instant,
    until: SystemTime,
}

impl<T> Kept<T> {
    fn new(answer: T, now: SystemTime, ttl: Duration) -> Self {
        Self { answer, since: Instant::now(), until: now + ttl }
    }

    fn is_past(&self, now: SystemTime, ttl: Duration) -> bool {
        now >= self.until || self.since.elapsed() >= ttl
    }
}

impl Room {
    /// Keeps answers for so long, and counts in `statistics`.
    pub fn new(ttl: Ttl, statistics: Arc<TokenCacheStatistics>) -> Arc<Self> {
        let room = Arc::new(Self::unwatched(ttl, statistics));
        let remembers: Weak<Self> = Arc::downgrade(&room);
        room.statistics.watch(remembers);
        room
    }

    fn unwatched(ttl: Ttl, statistics: Arc<TokenCacheStatistics>) -> Self {
        Self { ttl, good: Cache::new(MAX_GOOD), bad: Cache::new(MAX_BAD), statistics }
    }

    /// For how long.
    pub fn ttl(&self) -> Ttl {
        self.ttl
    }
}

impl Default for Room {
    /// Keeps nothing.
    fn default() -> Self {
        Self::unwatched(Ttl::default(), Arc::default())
    }
}

impl<A: AuthenticateToken + 'static> TokenCache<A> {
    /// Remembers what `tokens` say, in a room that others may share.
    pub fn new(tokens: A, room: Arc<Room>) -> Self {
        let (digester, asking) = (Digester::random(), Mutex::default());
        Self(Arc::new(Shelves { tokens, digester, room, asking }))
    }

    /// Remembers what others say in the same room, and knows nothing of what is remembered here.
    pub fn beside(&self, others: impl FnOnce(&A) -> A) -> Self {
        Self::new(others(&self.0.tokens), Arc::clone(&self.0.room))
    }

    /// Who is asked about what is not remembered.
    pub fn behind(&self) -> &A {
        &self.0.tokens
    }
}

impl<A: AuthenticateToken + 'static> AuthenticateToken for TokenCache<A> {
    /// Go: `doAuthenticateToken`.
    async fn observed<O: Observer>(&self, token: Token<'_>, now: Now, observer: O) -> Outcome {
        let shelves = &self.0;
        let digest = shelves.digester.digest(token.bytes);
        if let Some(outcome) = shelves.remembered(&digest, now) {
            shelves.room.statistics.hit();
            observer.looked_up(Lookup::Remembered);
            return outcome;
        }
        let _waiting = shelves.room.statistics.miss();
        let (asking, is_first) = match shelves.asking().entry(digest) {
            Entry::Occupied(asking) => {
                observer.looked_up(Lookup::Waits);
                (asking.get().clone(), false)
            }
            Entry::Vacant(place) => {
                observer.looked_up(Lookup::Asks);
                let token = SecretBytes::copy_of(token.bytes);
                let asking = Arc::clone(shelves).ask(token, digest, now, observer);
                let asking = trace::inherited(asking).boxed().shared();
                (place.insert(asking).clone(), true)
            }
        };
        if is_first {
            if let Some(outcome) = asking.clone().now_or_never() {
                return outcome;
            }
            tokio::spawn(asking.clone());
        }
        asking.await
    }
}

impl<A: AuthenticateToken> Shelves<A> {
    fn asking(&self) -> MutexGuard<'_, HashMap<Digest, Asking>> {
        self.asking.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn remembered(&self, digest: &Digest, Now(now): Now) -> Option<Outcome> {
        let Room { ttl, good, bad, .. } = &*self.room;
        if let Some(kept) = good.get(digest) {
            if !kept.is_past(now, ttl.good) && kept.answer.lasts.still(now) {
                return Some(Outcome::Authenticated(kept.answer));
            }
            good.remove(digest);
        }
        if ttl.bad.is_zero() {
            return None;
        }
        bad.get(digest).filter(|kept| !kept.is_past(now, ttl.bad)).map(|kept| kept.answer)
    }

    /// Asks, and remembers the answer.
    async fn ask<O: Observer>(
        self: Arc<Self>,
        token: SecretBytes,
        digest: Digest,
        now: Now,
        observer: O,
    ) -> Outcome {
        let fetching = self.room.statistics.fetch();
        let answer = timeout(TIMEOUT, self.tokens.observed(Token::new(token.expose()), now, observer));
        let outcome = match AssertUnwindSafe(answer).catch_unwind().await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_elapsed)) => Outcome::rejected(Authenticator::Bearer, Reason::TokenLookupTimeout),
            Err(_panic) => Outcome::rejected(Authenticator::Bearer, Reason::Panicked),
        };
        fetching.end(!matches!(outcome, Outcome::Rejected(_)));
        self.remember(digest, &outcome, now);
        self.asking().remove(&digest);
        outcome
    }

    fn remember(&self, digest: Digest, outcome: &Outcome, Now(now): Now) {
        let Ttl { good, bad, refusals } = self.room.ttl;
        match outcome {
            Outcome::Authenticated(authenticated) => {
                if !good.is_zero() && authenticated.lasts != Lasts::NoLonger {
                    self.room.good.insert(digest, Kept::new(authenticated.clone(), now, good));
                }
            }
            Outcome::Rejected(rejections) => {
                let is_answer = rejections.iter().all(|rejection| rejection.reason.fault() == Fault::Client);
                if refusals && is_answer && !bad.is_zero() {
                    self.room.bad.insert(digest, Kept::new(outcome.clone(), now, bad));
                }
            }
            Outcome::NoOpinion if !bad.is_zero() => {
                self.room.bad.insert(digest, Kept::new(Outcome::NoOpinion, now, bad))
            }
            Outcome::NoOpinion => {}
        }
    }
}

impl Remembers for Room {
    /// Clears away what is past its time; else that stays until somebody asks for it, or something newer takes its place.
    fn remembered(&self) -> (usize, usize) {
        self.good.retain(|_, kept| kept.since.elapsed() < self.ttl.good);
        self.bad.retain(|_, kept| kept.since.elapsed() < self.ttl.bad);
        (self.good.len(), self.bad.len())
    }
}

impl<A: fmt::Debug> fmt::Debug for TokenCache<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenCache({:?}, {:?})", self.0.room.ttl, self.0.tokens)
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Room({:?})", self.ttl)
    }
}

#[cfg(test)]
mod tests;
