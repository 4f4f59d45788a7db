//! Which service account tokens come. Go: k8s.io/kubernetes/pkg/serviceaccount/metrics.go (1.36.3).
//!
//! Two of its counters are missing: `serviceaccount_legacy_auto_token_uses_total` and `serviceaccount_legacy_manual_token_uses_total` tell
//! apart legacy tokens by the field `secrets` of their accounts, of which nothing but the metadata is watched here.

use super::cells::Cells;
use super::page::{Kind, Page};

/// Tokens that were verified, and not only remembered.
#[derive(Debug)]
pub struct ServiceAccountStatistics(Cells);

const LEGACY: usize = 0;
const STALE: usize = 1;
const VALID: usize = 2;
const INVALID: usize = 3;

impl Default for ServiceAccountStatistics {
    fn default() -> Self {
        Self(Cells::shared(4))
    }
}

impl ServiceAccountStatistics {
    /// One without an audience, whose signature is good. Go: `legacyTokensTotal`.
    pub fn legacy(&self) {
        self.0.add(LEGACY, 1);
    }

    /// A good one that says after which time whoever has it should have fetched another, which `is_past`. Go: `staleTokensTotal` and
    /// `validTokensTotal`.
    pub fn projected(&self, is_past: bool) {
        self.0.add(if is_past { STALE } else { VALID }, 1);
    }

    /// A good one whose Secret is marked as invalid. Go: `invalidatedAutoTokensTotal`.
    pub fn invalidated(&self) {
        self.0.add(INVALID, 1);
    }

    /// How many there were: legacy, stale, valid, invalidated.
    pub fn totals(&self) -> [u64; 4] {
        [LEGACY, STALE, VALID, INVALID].map(|index| self.0.total(index))
    }

    pub(super) fn write(&self, page: &mut Page) {
        let families = [
            (
                "invalid_legacy_auto_token_uses_total",
                "Cumulative invalid auto-generated legacy tokens used",
                INVALID,
            ),
            ("legacy_tokens_total", "Cumulative legacy service account tokens used", LEGACY),
            ("stale_tokens_total", "Cumulative stale projected service account tokens used", STALE),
            ("valid_tokens_total", "Cumulative valid projected service account tokens used", VALID),
        ];
        for (name, help, index) in families {
            let (name, help) = (format!("serviceaccount_{name}"), format!("[ALPHA] {help}"));
            page.single(&name, Kind::Counter, &help, self.0.total(index));
        }
    }
}
