//! What is told of TLS handshakes. Go: `TLSHandshakeErrors` of k8s.io/apiserver/pkg/endpoints/metrics/metrics.go (1.36.3).

use super::cells::Cells;
use super::page::{Kind, Page};

/// What became of TLS handshakes on the listener for Checks.
#[derive(Debug)]
pub struct HandshakeStatistics(Cells);

impl Default for HandshakeStatistics {
    fn default() -> Self {
        Self(Cells::shared(1))
    }
}

impl HandshakeStatistics {
    /// One failed, or took too long. Go: `tlsHandshakeErrorWriter` of k8s.io/apiserver/pkg/server/secure_serving.go.
    pub fn failed(&self) {
        self.0.add(0, 1);
    }

    pub(super) fn write(&self, page: &mut Page) {
        let help = "[ALPHA] Number of requests dropped with 'TLS handshake error from' error";
        page.single("apiserver_tls_handshake_errors_total", Kind::Counter, help, self.0.total(0));
    }
}
