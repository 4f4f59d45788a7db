//! What was remembered lately, by keyed digest.
//!
//! Two generations: what is new goes to the young one, and when that is full or as old as the TTL, it becomes the old one and what was the
//! old one goes. So what is past its time goes without being looked for, and so does the older half of what does not fit. Many small shelves
//! with a lock each, so that callers rarely meet and a generation that goes takes no time. A general cache (moka 0.12), which keeps its
//! entries in order of use, made a token that had never been seen a third more expensive.

use std::mem;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hashbrown::HashTable;

use crate::secret::Digest;

/// So many shelves. A power of two, so that the last bits of a digest tell which.
const STRIPES: usize = 256;

/// Remembers a number of values for a time.
pub(super) struct Shelf<T> {
    stripes: Box<[Mutex<Generations<T>>]>,
    /// How many values a generation of a stripe has at most.
    most: usize,
    ttl: Duration,
}

struct Generations<T> {
    young: HashTable<Entry<T>>,
    old: HashTable<Entry<T>>,
    /// When the young one began.
    began: Instant,
}

struct Entry<T> {
    digest: Digest,
    value: T,
    since: Instant,
}

impl<T: Clone> Shelf<T> {
    /// Remembers about so many values, each for no longer than `ttl`.
    pub(super) fn new(most: usize, ttl: Duration) -> Self {
        let began = Instant::now();
        let empty = |_| Mutex::new(Generations { young: HashTable::new(), old: HashTable::new(), began });
        Self { stripes: (0..STRIPES).map(empty).collect(), most: most.div_ceil(2 * STRIPES), ttl }
    }

    /// What is remembered.
    pub(super) fn get(&self, digest: &Digest) -> Option<T> {
        let stripe = self.stripe(digest);
        let Generations { young, old, .. } = &*stripe;
        let found = [young, old]
            .into_iter()
            .find_map(|entries| entries.find(digest.bucket(), |e| e.digest == *digest));
        found.filter(|entry| entry.since.elapsed() < self.ttl).map(|entry| entry.value.clone())
    }

    /// Remembers a value in place of what was there.
    pub(super) fn insert(&self, digest: Digest, value: T) {
        let since = Instant::now();
        let mut stripe = self.stripe(&digest);
        let gone = (stripe.young.len() >= self.most || since - stripe.began >= self.ttl).then(|| {
            stripe.began = since;
            let young = mem::take(&mut stripe.young);
            mem::replace(&mut stripe.old, young)
        });
        stripe.remove(&digest);
        stripe.young.insert_unique(digest.bucket(), Entry { digest, value, since }, |e| e.digest.bucket());
        drop(stripe);
        drop(gone);
    }

    /// Forgets a value.
    pub(super) fn remove(&self, digest: &Digest) {
        self.stripe(digest).remove(digest);
    }

    /// How many values are there, those that are past their time among them.
    pub(super) fn len(&self) -> usize {
        let len =
            |generations: MutexGuard<'_, Generations<T>>| generations.young.len() + generations.old.len();
        self.stripes.iter().map(|stripe| len(lock(stripe))).sum()
    }

    fn stripe(&self, digest: &Digest) -> MutexGuard<'_, Generations<T>> {
        // The table looks at the first bits, and at the last ones within its size.
        let number = usize::try_from(digest.bucket() >> 32).unwrap_or_default() % STRIPES;
        lock(&self.stripes[number])
    }
}

impl<T> Generations<T> {
    fn remove(&mut self, digest: &Digest) {
        for entries in [&mut self.young, &mut self.old] {
            if let Ok(entry) = entries.find_entry(digest.bucket(), |e| e.digest == *digest) {
                entry.remove();
            }
        }
    }
}

fn lock<T>(stripe: &Mutex<Generations<T>>) -> MutexGuard<'_, Generations<T>> {
    stripe.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Digester;

    #[test]
    fn no_more_is_remembered_than_there_is_room_for_and_the_oldest_goes_first() {
        let (shelf, digester) = (Shelf::new(1024, Duration::from_secs(60)), Digester::random());
        let digest = |number: u32| digester.digest(&number.to_be_bytes());
        for number in 0..100_000 {
            shelf.insert(digest(number), number);
            assert_eq!(shelf.get(&digest(number)), Some(number));
        }
        assert!((512..=1024).contains(&shelf.len()), "{}", shelf.len());
        assert_eq!(shelf.get(&digest(0)), None);
    }

    #[test]
    fn a_value_takes_the_place_of_another_and_goes_when_it_is_told_to() {
        let (shelf, digester) = (Shelf::new(1024, Duration::from_secs(60)), Digester::random());
        let digest = digester.digest(b"a");
        shelf.insert(digest, 1);
        shelf.insert(digest, 2);
        assert_eq!((shelf.get(&digest), shelf.len()), (Some(2), 1));
        shelf.remove(&digest);
        assert_eq!((shelf.get(&digest), shelf.len()), (None, 0));
    }

    #[test]
    fn what_is_past_its_time_is_not_remembered() {
        let (shelf, digester) = (Shelf::new(1024, Duration::ZERO), Digester::random());
        shelf.insert(digester.digest(b"a"), 1);
        assert_eq!(shelf.get(&digester.digest(b"a")), None);
        shelf.insert(digester.digest(b"a"), 1);
        assert!(shelf.len() <= 1);
    }
}
