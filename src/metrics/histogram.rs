//! A histogram over fixed buckets.

use std::time::Duration;

use super::cells::Cells;
use super::page::{Label, Page};

/// How often something took so long: for each bound the values up to it, as Prometheus' classic histograms have it.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    /// One for each bucket, of which the last has no bound, and the sum of the values.
    cells: Cells,
}

impl Histogram {
    /// For values that every Check observes. The bounds, in order, are in the unit of the values.
    pub fn sharded(bounds: &'static [f64]) -> Self {
        Self { bounds, cells: Cells::sharded(bounds.len() + 2) }
    }

    /// For values that come now and then.
    pub fn shared(bounds: &'static [f64]) -> Self {
        Self { bounds, cells: Cells::shared(bounds.len() + 2) }
    }

    /// Counts a value.
    pub fn observe(&self, value: f64) {
        self.cells.add(self.bounds.partition_point(|bound| *bound < value), 1);
        self.cells.add_f64(self.bounds.len() + 1, value);
    }

    /// Counts a duration, in seconds.
    pub fn observe_duration(&self, duration: Duration) {
        self.observe(duration.as_secs_f64());
    }

    /// Counts seconds, of which there may be less than none.
    pub fn observe_seconds(&self, seconds: i64) {
        let magnitude = Duration::from_secs(seconds.unsigned_abs()).as_secs_f64();
        self.observe(if seconds < 0 { -magnitude } else { magnitude });
    }

    /// Counts a zero, for what takes no time that would show.
    pub(super) fn observe_nothing(&self) {
        self.cells.add(self.bounds.partition_point(|bound| *bound < 0.0), 1);
    }

    /// How many values there were.
    pub(super) fn count(&self) -> u64 {
        (0..=self.bounds.len()).map(|bucket| self.cells.total(bucket)).sum()
    }

    /// What there is to write of it.
    pub(super) fn snapshot(&self) -> Snapshot {
        let counts = (0..=self.bounds.len()).map(|bucket| self.cells.total(bucket)).collect();
        Snapshot { bounds: self.bounds, counts, sum: self.cells.total_f64(self.bounds.len() + 1) }
    }

    /// Writes it.
    pub(super) fn write(&self, page: &mut Page, name: &str, labels: &[Label<'_>]) {
        self.snapshot().write(page, name, labels);
    }
}

/// A histogram at a moment.
pub(super) struct Snapshot {
    bounds: &'static [f64],
    /// Of each bucket alone.
    counts: Vec<u64>,
    sum: f64,
}

impl Snapshot {
    /// Several with the same bounds as one.
    pub(super) fn sum(all: impl IntoIterator<Item = Self>) -> Option<Self> {
        all.into_iter().reduce(|mut sum, more| {
            sum.counts.iter_mut().zip(more.counts).for_each(|(count, more)| *count += more);
            sum.sum += more.sum;
            sum
        })
    }

    /// Leaves out the first bounds: what was below them is below the next.
    pub(super) fn without_first(mut self, bounds: usize) -> Self {
        let below: u64 = self.counts.drain(..bounds).sum();
        self.bounds = &self.bounds[bounds..];
        self.counts[0] += below;
        self
    }

    pub(super) fn write(&self, page: &mut Page, name: &str, labels: &[Label<'_>]) {
        let mut so_far = 0;
        let bounds = self.bounds.iter().copied().chain([f64::INFINITY]);
        for (bound, count) in bounds.zip(&self.counts) {
            so_far += count;
            let le = super::page::float(bound);
            page.sample(&format!("{name}_bucket"), &[labels, &[("le", &le)]].concat(), so_far);
        }
        page.sample(&format!("{name}_sum"), labels, super::page::float(self.sum));
        page.sample(&format!("{name}_count"), labels, so_far);
    }
}
