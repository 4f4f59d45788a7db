//! Numbers that many threads add to and a scrape reads: relaxed atomics, no lock, no allocation after the start.
//!
//! Where every Check adds to a number, each thread has a shard of its own, in cache lines that no other thread writes to; a scrape adds
//! them up. So a total may be of different moments of different threads, as with every Prometheus client.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// So many shards; more threads than that share them. A power of two.
const SHARDS: usize = 16;

/// Numbers in a row, all of them zero at first.
#[derive(Debug)]
pub(super) struct Cells {
    lines: Box<[Line]>,
    /// How many lines a shard has.
    lines_each: usize,
}

/// The numbers of a cache line.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Line([AtomicU64; LINE]);

const LINE: usize = 8;

impl Cells {
    /// For numbers that every Check adds to.
    pub(super) fn sharded(len: usize) -> Self {
        Self::new(len, SHARDS)
    }

    /// For numbers that are added to now and then.
    pub(super) fn shared(len: usize) -> Self {
        Self::new(len, 1)
    }

    fn new(len: usize, shards: usize) -> Self {
        let lines_each = len.div_ceil(LINE);
        Self { lines: (0..lines_each * shards).map(|_| Line::default()).collect(), lines_each }
    }

    /// Adds to a number.
    pub(super) fn add(&self, index: usize, more: u64) {
        self.cell(self.shard(), index).fetch_add(more, Ordering::Relaxed);
    }

    /// Adds to a number that is kept as the bits of an `f64`.
    pub(super) fn add_f64(&self, index: usize, more: f64) {
        let add = |bits| Some((f64::from_bits(bits) + more).to_bits());
        let _always = self.cell(self.shard(), index).fetch_update(Ordering::Relaxed, Ordering::Relaxed, add);
    }

    /// The sum over all shards.
    pub(super) fn total(&self, index: usize) -> u64 {
        self.shards().map(|shard| self.cell(shard, index).load(Ordering::Relaxed)).sum()
    }

    /// The same, of a number that is kept as the bits of an `f64`.
    pub(super) fn total_f64(&self, index: usize) -> f64 {
        self.shards()
            .map(|shard| f64::from_bits(self.cell(shard, index).load(Ordering::Relaxed)))
            .fold(0.0, |sum, more| sum + more)
    }

    fn shards(&self) -> impl Iterator<Item = usize> {
        0..self.lines.len() / self.lines_each
    }

    fn shard(&self) -> usize {
        if self.lines.len() == self.lines_each { 0 } else { THREAD.with(|number| number % SHARDS) }
    }

    fn cell(&self, shard: usize, index: usize) -> &AtomicU64 {
        &self.lines[shard * self.lines_each + index / LINE].0[index % LINE]
    }
}

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The number of a thread, in the order in which they first add to anything.
    static THREAD: usize = THREADS.fetch_add(1, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn what_many_threads_add_at_once_is_all_there() {
        for cells in [Cells::sharded(20), Cells::shared(20)] {
            thread::scope(|scope| {
                for _ in 0..3 * SHARDS {
                    scope.spawn(|| {
                        for _ in 0..1000 {
                            cells.add(7, 2);
                            cells.add_f64(19, 0.5);
                        }
                    });
                }
            });
            assert_eq!((cells.total(7), cells.total(8), cells.total(0)), (96_000, 0, 0));
            assert_eq!((cells.total_f64(19), cells.total_f64(18)), (24_000.0, 0.0));
        }
    }

    #[test]
    fn two_shards_have_no_cache_line_in_common() {
        let cells = Cells::sharded(LINE + 1);
        let line = |shard, index| {
            let cell: *const AtomicU64 = cells.cell(shard, index);
            cell.addr() / 64
        };
        for shard in 1..SHARDS {
            assert_eq!((line(shard, 0), line(shard, LINE)), (line(shard - 1, LINE) + 1, line(shard, 0) + 1));
        }
    }
}
