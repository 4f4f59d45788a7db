//! The audit log: a line of JSON for each decision, to a file or stdout.
//!
//! ```text
//!   a Check ── line ──▶ queue of MAX_WAITING ──▶ a thread of its own ──▶ file
//!                         │ full
//!                         ▼
//!                       lost, and counted
//! ```
//!
//! No Check waits for it. Everything in a line that is not ours is cut after [`MAX_TEXT`] bytes, and lines are in ASCII: whatever a client
//! writes, a line stays one, and shows nothing that it is not. There is never a credential in one, nor a query, which may hold some.

mod event;
#[cfg(test)]
mod tests;
mod writer;

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::batch;
use crate::decision::Decision;
use crate::metrics::AuditStatistics;
use crate::request::Request;

use event::Event;
use writer::{Target, write};

/// Which decisions are told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Denials.
    Denied,
    /// All.
    All,
}

/// What is told, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditConfig {
    /// Which decisions.
    pub level: Level,
    /// The file; none: stdout.
    pub path: Option<PathBuf>,
}

impl AuditConfig {
    /// Why a start could not open the file, as far as that is to be seen without making it: whether the folder may be written to is not.
    pub fn problem(&self) -> Option<String> {
        let path = self.path.as_ref()?;
        let looked = match fs::metadata(path) {
            // To open it waits for whoever reads, who may be there by the start.
            Ok(there) if there.file_type().is_fifo() => Ok(()),
            Ok(_) => OpenOptions::new().append(true).open(path).map(drop),
            Err(error) if error.kind() == io::ErrorKind::NotFound => folder(path),
            Err(error) => Err(error),
        };
        looked.err().map(|error| format!("{}: cannot be opened: {error}", path.display()))
    }
}

/// Whether a file that is not there has a folder to be made in.
fn folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    match fs::metadata(folder.unwrap_or_else(|| Path::new(".")))?.is_dir() {
        true => Ok(()),
        false => Err(io::ErrorKind::NotADirectory.into()),
    }
}

/// The audit log. Its lines are whole and in the order in which the decisions were made by each thread.
#[derive(Debug)]
pub struct Auditor {
    level: Level,
    queue: mpsc::Sender<Message>,
    /// How many bytes of lines wait.
    waiting: Arc<AtomicUsize>,
    statistics: Arc<AuditStatistics>,
}

/// So many lines wait to be written; more are lost. Go: `DefaultBatchConfig` of the log backend, 10,000.
pub const MAX_WAITING: usize = 10_000;

/// So many bytes of lines wait; more are lost. Lines of usual requests have some hundred.
pub const MAX_WAITING_BYTES: usize = 16 * 1024 * 1024;

/// As much of a text as a line holds, in bytes: a user's name, a path, a group.
pub const MAX_TEXT: usize = 1024;

/// As many groups as a line holds. There are hundreds at some companies.
pub const MAX_GROUPS: usize = 64;

/// To open the file takes no longer, unless it is a pipe that nobody reads, or on a disk that does not answer.
const MAX_OPEN: Duration = Duration::from_secs(2);

const NOT_OPENED: &str = "it could not be opened within 2 s, as a pipe that nobody reads";

/// What the thread is told, and how it says that everything is written.
type Message = batch::Message<oneshot::Sender<()>>;

impl Auditor {
    /// Starts the thread that writes, which opens the file. What becomes of lines is counted in `statistics`.
    ///
    /// # Errors
    /// The file cannot be opened, not within `MAX_OPEN` either, or the thread not be started.
    pub fn start(config: &AuditConfig, statistics: Arc<AuditStatistics>) -> io::Result<Self> {
        let (queue, lines) = mpsc::channel(MAX_WAITING);
        let (waiting, counted) = (Arc::<AtomicUsize>::default(), Arc::clone(&statistics));
        let (bytes, path) = (Arc::clone(&waiting), config.path.clone());
        let (open, opened) = sync_channel(1);
        thread::Builder::new().name("audit".to_owned()).spawn(move || match Target::open(path) {
            Ok(target) => {
                let _gone = open.send(Ok(()));
                write(target, lines, &bytes, &counted);
            }
            Err(error) => drop(open.send(Err(error))),
        })?;
        let opened = opened.recv_timeout(MAX_OPEN);
        let opened =
            opened.unwrap_or_else(|_elapsed| Err(io::Error::new(io::ErrorKind::TimedOut, NOT_OPENED)));
        let place = config.path.as_ref().map_or_else(|| "stdout".into(), |path| path.to_string_lossy());
        opened.map_err(|error| io::Error::new(error.kind(), format!("{place}: {error}")))?;
        Ok(Self { level: config.level, queue, waiting, statistics })
    }

    /// Tells of a decision by a profile about `request`, if there was one to be seen. Without that, `stream_id` is what to find it by.
    pub fn record(
        &self,
        at: SystemTime,
        decision: &Decision,
        profile: Option<&[u8]>,
        request: Option<&Request<'_>>,
        stream_id: &[u8],
    ) {
        if self.level == Level::Denied && matches!(decision, Decision::Allow(_)) {
            return;
        }
        self.statistics.event();
        let line = Event::new(at, decision, profile, request, stream_id).line();
        let bytes = line.len();
        let waiting = self.waiting.fetch_add(bytes, Ordering::Relaxed);
        if waiting > MAX_WAITING_BYTES - bytes || self.queue.try_send(Message::Line(line)).is_err() {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            self.statistics.lost(1);
        }
    }

    /// Waits until all that was told is written, or the time is over.
    pub async fn flush(&self, within: Duration) {
        let (tell, told) = oneshot::channel();
        let flushed = async {
            self.queue.send(Message::Flush(tell)).await.ok()?;
            told.await.ok()
        };
        if timeout(within, flushed).await.ok().flatten().is_none() {
            tracing::warn!("the audit log was not written to its end");
        }
    }
}
