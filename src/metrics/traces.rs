//! What is told of traces.

use super::cells::Cells;
use super::page::{Kind, Page};

/// What became of spans.
#[derive(Debug)]
pub struct TraceStatistics(Cells);

const EXPORTED: usize = 0;
const FAILED: usize = 1;
const LOST: usize = 2;

impl Default for TraceStatistics {
    fn default() -> Self {
        Self(Cells::shared(3))
    }
}

impl TraceStatistics {
    /// The collector has taken these.
    pub fn exported(&self, spans: u64) {
        self.0.add(EXPORTED, spans);
    }

    /// It has not taken these.
    pub fn failed(&self, spans: u64) {
        self.0.add(FAILED, spans);
    }

    /// One found no room in the queue.
    pub fn lost(&self) {
        self.0.add(LOST, 1);
    }

    pub(super) fn write(&self, page: &mut Page) {
        let name = "countersign_trace_spans_total";
        page.family(
            name,
            Kind::Counter,
            "Spans, by what became of them: exported; failed, since the collector did not take them; lost, for want of room in the queue",
        );
        for (result, index) in [("exported", EXPORTED), ("failed", FAILED), ("lost", LOST)] {
            page.sample(name, &[("result", result)], self.0.total(index));
        }
    }
}
