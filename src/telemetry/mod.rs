//! What an operator sees.

pub mod traces;

use std::io;
use std::panic;

use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry, fmt};

use crate::config::{LogConfig, log_filter};

/// Decides what is logged, and may be told otherwise while the program runs.
#[derive(Debug, Clone)]
pub struct LogFilter(Handle<EnvFilter, Registry>);

impl LogFilter {
    /// From now on this is logged: a level, or tracing's filter directives.
    ///
    /// # Errors
    /// What is wrong with them; then nothing changes.
    pub fn set(&self, directives: &str) -> Result<(), String> {
        let filter = log_filter(directives)?;
        self.0.reload(quiet(filter)).map_err(|error| error.to_string())
    }
}

/// Starts logging to stderr, one line an event, as text or JSON.
pub fn start(config: &LogConfig) -> LogFilter {
    let (filter, handle) = reload::Layer::new(quiet(EnvFilter::new(&config.filter)));
    let log = tracing_subscriber::registry().with(filter);
    let lines = fmt::layer().with_writer(io::stderr).with_target(false);
    if config.json {
        log.with(lines.json()).init();
    } else {
        log.with(lines.with_ansi(false)).init();
    }
    // The message of a panic may quote what it tripped over, which may be a secret. Where it happened is enough.
    panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(location, "panicked");
    }));
    LogFilter(handle)
}

/// Whatever is asked for, some say nothing.
fn quiet(filter: EnvFilter) -> EnvFilter {
    QUIET.iter().fold(filter, |filter, directive| {
        filter.add_directive(directive.parse().expect("a directive of tracing"))
    })
}

/// Crates that quote an answer of the API server when they cannot read it, and with it Secrets. What went wrong is told by
/// [`crate::cluster`], in whatever detail is asked for.
const QUIET: [&str; 2] = ["kube_client=off", "kube_runtime=off"];
