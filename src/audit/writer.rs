//! The thread that writes.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::Message;
use crate::batch::{BATCH, gather};
use crate::metrics::AuditStatistics;

/// So often it is looked whether the file is still where it was: `logrotate` renames it, and lines belong into a new one then.
const LOOK: Duration = Duration::from_millis(500);

/// Where lines go.
pub(super) enum Target {
    Stdout(io::Stdout),
    File { path: PathBuf, file: File, looked: Instant },
}

impl Target {
    /// The file, or stdout if there is none.
    pub(super) fn open(path: Option<PathBuf>) -> io::Result<Self> {
        let Some(path) = path else { return Ok(Self::Stdout(io::stdout())) };
        let file = open(&path)?;
        Ok(Self::File { path, file, looked: Instant::now() })
    }

    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        match self {
            Self::Stdout(stdout) => {
                let mut stdout = stdout.lock();
                stdout.write_all(lines)?;
                stdout.flush()
            }
            Self::File { path, file, looked } => {
                if looked.elapsed() >= LOOK {
                    if !is_at(file, path) {
                        *file = open(path)?;
                    }
                    *looked = Instant::now();
                }
                file.write_all(lines)
            }
        }
    }
}

/// Whom it is about may read it, but nobody else. Go: `lumberjack.Logger.openNew`, with which kube-apiserver writes.
const MODE: u32 = 0o600;

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(MODE).open(path)
}

fn is_at(file: &File, path: &Path) -> bool {
    let same = |one: std::fs::Metadata, other: std::fs::Metadata| {
        (one.dev(), one.ino()) == (other.dev(), other.ino())
    };
    file.metadata().and_then(|one| Ok(same(one, std::fs::metadata(path)?))).unwrap_or(false)
}

/// Writes what comes until nobody is left to send anything.
pub(super) fn write(
    mut target: Target,
    mut queue: mpsc::Receiver<Message>,
    waiting: &AtomicUsize,
    statistics: &AuditStatistics,
) {
    let (mut is_failing, mut is_torn) = (false, false);
    let mut batch = Vec::with_capacity(BATCH);
    while let Some(message) = queue.blocking_recv() {
        batch.clear();
        if is_torn {
            batch.push(b'\n');
        }
        let torn = batch.len();
        let (lines, flush) = gather(message, || queue.try_recv().ok(), &mut batch);
        waiting.fetch_sub(batch.len() - torn, Ordering::Relaxed);
        if lines > 0 {
            let written = target.write(&batch);
            // Half a line may be there.
            is_torn = written.is_err();
            match written {
                Ok(()) if is_failing => tracing::info!("the audit log is being written again"),
                Err(error) if !is_failing => tracing::error!(%error, "cannot write the audit log"),
                _ => {}
            }
            is_failing = is_torn;
            if is_failing {
                statistics.failed(u64::try_from(lines).unwrap_or(u64::MAX));
            }
        }
        if let Some(tell) = flush {
            let _nobody_waits = tell.send(());
        }
    }
}
