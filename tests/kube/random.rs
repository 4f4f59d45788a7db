//! A small generator of pseudo-random numbers (SplitMix64), so that a printed seed is all it takes to repeat a run.

use std::env;
use std::time::SystemTime;

pub(crate) struct Random(u64);

impl Random {
    /// From `COUNTERSIGN_TEST_KUBE_SEED`, or the clock; prints which.
    pub(crate) fn from_env(test: &str) -> Self {
        let seed = match env::var("COUNTERSIGN_TEST_KUBE_SEED") {
            Ok(seed) => seed.parse().expect("COUNTERSIGN_TEST_KUBE_SEED is a number"),
            Err(_) => SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs(),
        };
        println!("{test}: COUNTERSIGN_TEST_KUBE_SEED={seed}");
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(n).unwrap()).unwrap()
    }

    pub(crate) fn percent(&mut self, chance: usize) -> bool {
        self.below(100) < chance
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// The first one mostly, each of the others now and then.
    pub(crate) fn mostly<T: Copy>(&mut self, usual: T, odd: &[T]) -> T {
        if self.percent(80) { usual } else { self.pick(odd) }
    }
}
