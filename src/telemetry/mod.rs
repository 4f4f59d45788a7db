//! What an operator sees.

use std::io;
use std::panic;

use tracing_subscriber::EnvFilter;

use crate::config::LogConfig;

/// Starts logging to stderr, one line an event, as text or JSON.
pub fn start(config: &LogConfig) {
    let filter = QUIET.iter().fold(EnvFilter::new(&config.filter), |filter, directive| {
        filter.add_directive(directive.parse().expect("a directive of tracing"))
    });
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false);
    if config.json {
        log.json().init();
    } else {
        log.with_ansi(false).init();
    }
    // The message of a panic may quote what it tripped over, which may be a secret. Where it happened is enough.
    panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(location, "panicked");
    }));
}

/// Crates that quote an answer of the API server when they cannot read it, and with it Secrets. What went wrong is told by
/// [`crate::cluster`], in whatever detail is asked for.
const QUIET: [&str; 2] = ["kube_client=off", "kube_runtime=off"];
