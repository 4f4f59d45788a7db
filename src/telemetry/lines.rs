//! The lines of the log, on their way to stderr.
//!
//! ```text
//!   an event ── line ──▶ queue of MAX_WAITING ──▶ a thread of its own ──▶ stderr
//!                          │ full
//!                          ▼
//!                        lost, and counted
//! ```
//!
//! Whoever reads stderr may stop: a container runtime whose disk is full, a pipe that nobody empties. Each denial is told, and a Check that
//! waited for its line would hold up all Checks of its thread. So nobody waits, as with the audit log ([`crate::audit`]).

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use crate::batch::{self, BATCH, gather};
use crate::metrics::LogStatistics;

/// Takes lines, each in one `write`, and never waits.
#[derive(Debug)]
pub struct Lines {
    queue: Sender<Message>,
    /// How many bytes wait.
    waiting: Arc<AtomicUsize>,
    statistics: Arc<LogStatistics>,
}

/// What the thread is told, and how it says that everything is written.
type Message = batch::Message<SyncSender<()>>;

/// So many bytes of lines wait, with what it takes to keep them; more are lost. A denial has some two hundred.
const MAX_WAITING: usize = 4 << 20;

/// What a line takes besides its text, in bytes: its place in the queue, and in the allocator's books.
const AROUND: usize = 64;

impl Lines {
    /// Starts the thread that writes to `target`. What is lost is counted in `statistics`.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub(super) fn start(
        target: impl Write + Send + 'static,
        statistics: Arc<LogStatistics>,
    ) -> io::Result<Self> {
        let (queue, lines) = channel();
        let waiting = Arc::<AtomicUsize>::default();
        let (bytes, counted) = (Arc::clone(&waiting), Arc::clone(&statistics));
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write(target, &lines, &bytes, &counted))?;
        Ok(Self { queue, waiting, statistics })
    }

    /// Waits until all lines are written, or the time is over.
    pub fn flush(&self, within: Duration) {
        let (tell, told) = sync_channel(1);
        if self.queue.send(Message::Flush(tell)).is_ok() {
            let _told_or_elapsed = told.recv_timeout(within);
        }
    }
}

impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let bytes = line.len() + AROUND;
        let waiting = self.waiting.fetch_add(bytes, Ordering::Relaxed);
        if waiting.saturating_add(bytes) > MAX_WAITING
            || self.queue.send(Message::Line(line.to_vec())).is_err()
        {
            self.waiting.fetch_sub(bytes, Ordering::Relaxed);
            self.statistics.lost(1);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes what comes until nobody is left to send anything, and tells of what was lost as soon as it can.
fn write(
    mut target: impl Write,
    queue: &Receiver<Message>,
    waiting: &AtomicUsize,
    statistics: &LogStatistics,
) {
    let mut told = 0;
    let mut batch = Vec::with_capacity(BATCH);
    while let Ok(message) = queue.recv() {
        batch.clear();
        let (lines, flush) = gather(message, || queue.try_recv().ok(), &mut batch);
        let written = target.write_all(&batch);
        waiting.fetch_sub(batch.len() + lines * AROUND, Ordering::Relaxed);
        match written {
            Err(_nobody_to_tell) => statistics.lost(u64::try_from(lines).unwrap_or(u64::MAX)),
            Ok(()) => {
                let lost = statistics.total();
                if lost > told {
                    tracing::warn!(
                        lines = lost - told,
                        "lines of the log were lost, since nobody took them in time"
                    );
                    told = lost;
                }
            }
        }
        if let Some(tell) = flush {
            let _nobody_waits = tell.send(());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A reader that takes a line for each permission, and then fails, or takes, the rest.
    struct Gate(Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
            self.1.lock().expect("not poisoned").extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    const LONG: Duration = Duration::from_secs(20);

    fn waits_for(what: impl Fn() -> bool) {
        let deadline = std::time::Instant::now() + LONG;
        while !what() {
            assert!(std::time::Instant::now() < deadline, "in time");
            thread::yield_now();
        }
    }

    #[test]
    fn a_reader_that_stops_holds_up_nobody_and_what_finds_no_room_is_counted() {
        let (permit, permits) = channel();
        let written = Arc::default();
        let statistics = Arc::new(LogStatistics::default());
        let lines =
            Lines::start(Gate(permits, Arc::clone(&written)), Arc::clone(&statistics)).expect("it starts");
        let line = [b'x'; 1024 - AROUND];
        for _ in 0..MAX_WAITING / 1024 {
            (&lines).write_all(&line).expect("never an error");
        }
        assert_eq!(statistics.total(), 0, "there is room for these");
        (&lines).write_all(&line).expect("never an error");
        (&lines).write_all(&line).expect("never an error");
        assert_eq!(statistics.total(), 2);
        lines.flush(Duration::from_millis(1));
        // One permission for each batch.
        for _ in 0..=MAX_WAITING / BATCH {
            permit.send(()).expect("it is there");
        }
        lines.flush(LONG);
        let kept = (MAX_WAITING / 1024) * line.len();
        assert_eq!(written.lock().expect("not poisoned").len(), kept);
        (&lines).write_all(b"room again").expect("never an error");
        permit.send(()).expect("it is there");
        lines.flush(LONG);
        assert_eq!(written.lock().expect("not poisoned").len(), kept + 10);
        assert_eq!(statistics.total(), 2);
    }

    #[test]
    fn lines_that_cannot_be_written_are_lost_and_the_thread_goes_on() {
        let (permit, permits) = channel();
        drop(permit);
        let statistics = Arc::new(LogStatistics::default());
        let lines = Lines::start(Gate(permits, Arc::default()), Arc::clone(&statistics)).expect("it starts");
        for expected in 1..=3 {
            (&lines).write_all(b"a line").expect("never an error");
            waits_for(|| statistics.total() == expected);
        }
        assert_eq!(lines.waiting.load(Ordering::Relaxed), 0);
    }
}
