//! What is told of the log.

use super::cells::Cells;
use super::page::{Kind, Page};

/// What became of lines.
#[derive(Debug)]
pub struct LogStatistics(Cells);

impl Default for LogStatistics {
    fn default() -> Self {
        Self(Cells::shared(1))
    }
}

impl LogStatistics {
    /// So many lines were not written: there was no room for them to wait, or stderr is gone.
    pub fn lost(&self, lines: u64) {
        self.0.add(0, lines);
    }

    /// How many were lost so far.
    pub fn total(&self) -> u64 {
        self.0.total(0)
    }

    pub(super) fn write(&self, page: &mut Page) {
        let help = "Lines of the log that were lost, since nobody took them from stderr in time";
        page.single("countersign_log_lines_lost_total", Kind::Counter, help, self.total());
    }
}
