//! How late this machine is: whatever is timed on it may be as late through no fault of the program.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(10);

/// A thread that sleeps for a moment again and again, until this is dropped.
pub(crate) struct Lateness {
    slept: Arc<Mutex<Slept>>,
    _end: Sender<()>,
}

struct Slept {
    /// The worst of the sleeps that have ended.
    worst: Duration,
    /// Since when it sleeps.
    since: Instant,
}

impl Lateness {
    /// Watches from now on.
    pub(crate) fn watch() -> Self {
        let slept = Arc::new(Mutex::new(Slept { worst: Duration::ZERO, since: Instant::now() }));
        let (end, ended) = mpsc::channel();
        let watched = Self { slept: Arc::clone(&slept), _end: end };
        thread::spawn(move || {
            while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                let mut slept = slept.lock().unwrap();
                slept.worst = slept.late();
                slept.since = Instant::now();
            }
        });
        watched
    }

    /// By how much it has woken too late at worst, a sleep that should have ended by now included.
    pub(crate) fn worst(&self) -> Duration {
        self.slept.lock().unwrap().late()
    }
}

impl Slept {
    fn late(&self) -> Duration {
        self.worst.max(self.since.elapsed().saturating_sub(TICK))
    }
}
