//! What is told of the audit log. Go: k8s.io/apiserver/pkg/audit/metrics.go (1.36.3).

use super::cells::Cells;
use super::page::{Kind, Page};

/// What became of audit events.
#[derive(Debug)]
pub struct AuditStatistics {
    events: Cells,
    /// Those that found no room in the queue, and those that could not be written.
    errors: Cells,
}

const LOST: usize = 0;
const FAILED: usize = 1;

impl Default for AuditStatistics {
    fn default() -> Self {
        Self { events: Cells::sharded(1), errors: Cells::shared(2) }
    }
}

impl AuditStatistics {
    /// There is something to tell.
    pub fn event(&self) {
        self.events.add(0, 1);
    }

    /// So many events found no room in the queue. Go: `PluginName` of plugin/pkg/audit/buffered.
    pub fn lost(&self, events: u64) {
        self.errors.add(LOST, events);
    }

    /// So many could not be written. Go: `PluginName` of plugin/pkg/audit/log.
    pub fn failed(&self, events: u64) {
        self.errors.add(FAILED, events);
    }

    /// How many events there were, and how many of them were lost and could not be written.
    pub fn totals(&self) -> (u64, u64, u64) {
        (self.events.total(0), self.errors.total(LOST), self.errors.total(FAILED))
    }

    pub(super) fn write(&self, page: &mut Page) {
        let (events, lost, failed) = self.totals();
        let name = "apiserver_audit_error_total";
        page.family(
            name,
            Kind::Counter,
            "[ALPHA] Counter of audit events that failed to be audited properly. Plugin identifies the plugin affected by the error.",
        );
        page.sample(name, &[("plugin", "buffered")], lost);
        page.sample(name, &[("plugin", "log")], failed);
        let help = "[ALPHA] Counter of audit events generated and sent to the audit backend.";
        page.single("apiserver_audit_event_total", Kind::Counter, help, events);
    }
}
