//! How much is remembered.

use std::sync::{Mutex, PoisonError, Weak};

/// Caches of one kind, which come and go with configurations.
#[derive(Debug, Default)]
pub struct Caches(Mutex<Vec<Weak<dyn Remembers>>>);

/// Something that remembers things of two kinds.
pub trait Remembers: Send + Sync {
    /// How many of each.
    fn remembered(&self) -> (usize, usize);
}

impl Caches {
    /// Tells of the size of a cache for as long as that is there.
    pub fn watch(&self, cache: Weak<dyn Remembers>) {
        let mut caches = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        caches.retain(|cache| cache.strong_count() > 0);
        caches.push(cache);
    }

    /// How many of each kind all of them remember.
    pub(super) fn remembered(&self) -> (usize, usize) {
        let caches = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let each = caches.iter().filter_map(Weak::upgrade).map(|cache| cache.remembered());
        each.fold((0, 0), |sum, more| (sum.0 + more.0, sum.1 + more.1))
    }
}
