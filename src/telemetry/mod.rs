//! What an operator sees.

mod lines;
pub mod traces;

use std::io;
use std::panic;
use std::sync::{Arc, Mutex, PoisonError};

use tracing::Subscriber;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::config::{LogConfig, log_filter};
use crate::metrics::LogStatistics;

pub use lines::Lines;

/// Decides what is logged, and may be told otherwise while the program runs.
#[derive(Debug, Clone)]
pub struct LogFilter {
    handle: Handle<EnvFilter, Registry>,
    directives: Arc<Mutex<String>>,
}

impl LogFilter {
    /// From now on this is logged: a level, or tracing's filter directives.
    ///
    /// # Errors
    /// What is wrong with them; then nothing changes.
    pub fn set(&self, directives: &str) -> Result<(), String> {
        let filter = log_filter(directives)?;
        let mut present = self.directives.lock().unwrap_or_else(PoisonError::into_inner);
        self.handle.reload(filter).map_err(|error| error.to_string())?;
        directives.clone_into(&mut present);
        Ok(())
    }

    /// What is logged now.
    pub fn directives(&self) -> String {
        self.directives.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Starts logging to stderr, one line an event, as text or JSON. No event waits for its line to be written; the end of the process has to
/// wait for [`Lines::flush`].
///
/// # Errors
/// The thread that writes cannot be started.
pub fn start(config: &LogConfig, statistics: Arc<LogStatistics>) -> io::Result<(LogFilter, Arc<Lines>)> {
    let lines = Arc::new(Lines::start(io::stderr(), statistics)?);
    let (subscriber, filter) = subscriber(config, Arc::clone(&lines));
    subscriber.init();
    panic_quietly();
    Ok((filter, lines))
}

/// The same for a command that asks once: each line is written before it goes on.
pub fn start_in_step(config: &LogConfig) {
    let (subscriber, _filter) = subscriber(config, io::stderr);
    subscriber.init();
    panic_quietly();
}

fn subscriber<W>(config: &LogConfig, writer: W) -> (impl Subscriber + Send + Sync, LogFilter)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::new(EnvFilter::new(&config.filter));
    let lines = fmt::layer().with_writer(writer).with_target(false);
    let lines = if config.json { lines.json().boxed() } else { lines.with_ansi(false).boxed() };
    // Not among the directives, of which one that is more specific would win.
    let loud = filter_fn(|event| !is_quiet(event.target()));
    let directives = Arc::new(Mutex::new(config.filter.clone()));
    (tracing_subscriber::registry().with(filter).with(loud).with(lines), LogFilter { handle, directives })
}

/// The message of a panic may quote what it tripped over, which may be a secret. Where it happened is enough.
fn panic_quietly() {
    panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(location, "panicked");
    }));
}

/// Whatever is asked for, some say nothing.
fn is_quiet(target: &str) -> bool {
    QUIET.contains(&target.split("::").next().unwrap_or_default())
}

/// Crates that quote an answer of the API server when they cannot read it, and with it Secrets. What went wrong is told by
/// [`crate::cluster`], in whatever detail is asked for.
const QUIET: [&str; 2] = ["kube_client", "kube_runtime"];

#[cfg(test)]
mod tests {
    use tracing::subscriber::with_default;

    use super::*;

    /// A more specific directive wins over a less specific one, so these could be made to speak by name.
    #[test]
    fn who_may_quote_secrets_says_nothing_whatever_is_asked_for() {
        for json in [false, true] {
            for filter in
                ["trace", "kube_client::client=trace", "kube_client::client=trace,kube_runtime::watcher=warn"]
            {
                let log = Arc::new(Mutex::new(Vec::new()));
                let config = LogConfig { json, filter: "info".to_owned() };
                let (subscriber, handle) = subscriber(&config, SharedLog(Arc::clone(&log)));
                with_default(subscriber, || {
                    handle.set(&format!("{filter},countersign=info")).expect("directives");
                    tracing::error!(target: "kube_client::client", "s3cret");
                    tracing::warn!(target: "kube_client", "s3cret");
                    tracing::error!(target: "kube_runtime::watcher", "s3cret");
                    tracing::info!(target: "countersign::cluster", "told");
                });
                let log = String::from_utf8(log.lock().expect("not poisoned").clone()).expect("text");
                assert!(log.contains("told") && !log.contains("s3cret"), "{filter}: {log}");
            }
        }
        assert!(!is_quiet("kube_clients"));
    }

    #[derive(Clone)]
    struct SharedLog(Arc<Mutex<Vec<u8>>>);

    impl io::Write for SharedLog {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("not poisoned").extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'w> MakeWriter<'w> for SharedLog {
        type Writer = Self;

        fn make_writer(&'w self) -> Self {
            self.clone()
        }
    }
}
