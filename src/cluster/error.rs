//! What is said of a call that failed: enough to mend it, and nothing of the objects, which may be secrets.

use std::error::Error;

use kube::core::Status;
use kube::runtime::watcher;

/// An error is not written down at greater length, in characters. A message of an API server names a user and a resource.
const MAX_LENGTH: usize = 300;

pub(super) const UNREADABLE: &str = "an answer that cannot be read";

/// What a watch failed with.
pub(super) fn of_watch(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(error) => format!("cannot list: {}", of_client(error)),
        watcher::Error::WatchStartFailed(error) => format!("cannot watch: {}", of_client(error)),
        watcher::Error::WatchFailed(error) => format!("the watch broke off: {}", of_client(error)),
        watcher::Error::WatchError(status) => format!("the watch was ended: {}", of_status(status)),
        watcher::Error::NoResourceVersion => "an object without a resourceVersion".to_owned(),
    }
}

/// What a call failed with.
pub(super) fn of_client(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => of_status(status),
        kube::Error::Service(error) => with_sources(&**error),
        kube::Error::HyperError(error) => with_sources(error),
        kube::Error::ReadEvents(error) => with_sources(error),
        kube::Error::RustlsTls(error) => with_sources(error),
        kube::Error::Auth(_) => "the credentials cannot be read".to_owned(),
        // These quote what they could not read.
        kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => UNREADABLE.to_owned(),
        _ => "the call cannot be made".to_owned(),
    }
}

/// Whether the connection failed, rather than that the API server said something unexpected.
pub(super) fn is_of_connection(error: &watcher::Error) -> bool {
    use watcher::Error::{InitialListFailed, WatchFailed, WatchStartFailed};
    matches!(
        error,
        InitialListFailed(error) | WatchFailed(error) | WatchStartFailed(error) if matches!(
            error,
            kube::Error::Service(_) | kube::Error::HyperError(_) | kube::Error::ReadEvents(_)
        )
    )
}

fn of_status(status: &Status) -> String {
    // `kube` takes an event that it cannot read for a Status without anything in it.
    if status.code == 0 {
        return UNREADABLE.to_owned();
    }
    shortened(format!("{} {}: {}", status.code, status.reason, status.message))
}

/// The causes are what helps: "client error (Connect)" is not.
fn with_sources(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    shortened(text)
}

fn shortened(text: String) -> String {
    text.chars().take(MAX_LENGTH).collect()
}
