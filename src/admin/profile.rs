//! `/debug/pprof/profile?seconds=30`: where the CPU time of this process goes, as pprof reads it. Go: `Profile` of net/http/pprof.
//!
//! The kernel takes the samples (`perf_event_open`): whenever a thread has used another 10 ms of CPU time, it copies the thread's registers and the top
//! of its stack. Who called whom is found out from these copies afterwards, by the tables that a panic unwinds by. There is no signal handler,
//! no thread is stopped, and no memory is read that another thread may give back: whatever a stack looks like, a profile cannot end the
//! process. Before somebody asks, and after the answer, there is nothing at all. Where the kernel does not let us, the answer says so.
//!
//! A profile has addresses and no names, since the program is stripped, and nothing else of the stacks.

mod modules;
mod pprof;
mod threads;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime};

use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use modules::Modules;
use threads::Threads;

/// Where the page is.
pub(super) const PATH: &str = "/debug/pprof/profile";

/// The page.
pub(super) fn page() -> Router {
    Router::new().route(PATH, get(profile)).with_state(Arc::new(Semaphore::new(1)))
}

async fn profile(State(room): State<Arc<Semaphore>>, RawQuery(query): RawQuery) -> Response {
    let Some(duration) = duration(query.as_deref().unwrap_or_default()) else {
        let message = format!("seconds: must be a whole number from 1 to {MAX_SECONDS}\n");
        return (StatusCode::BAD_REQUEST, message).into_response();
    };
    let Ok(room) = room.try_acquire_owned() else {
        return (StatusCode::CONFLICT, format!("{REFUSED}: cpu profiling already in use\n")).into_response();
    };
    #[expect(clippy::disallowed_methods, reason = "nothing is decided by it")]
    let begin = SystemTime::now();
    // Nobody waits for it any more when this future is dropped, and `here` with it.
    let (here, gone) = mpsc::channel();
    let taken = spawn_blocking(move || {
        let _room = room;
        take(begin, duration, &gone)
    });
    let taken = taken.await.unwrap_or_else(|panicked| Err(io::Error::other(panicked)));
    drop(here);
    match taken {
        Ok(profile) => {
            tracing::info!(seconds = duration.as_secs(), bytes = profile.len(), "profiled");
            let headers = [
                (header::CONTENT_TYPE, "application/octet-stream"),
                (header::CONTENT_DISPOSITION, "attachment; filename=\"profile\""),
                (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            ];
            (headers, profile).into_response()
        }
        Err(error) => {
            tracing::warn!(%error, "not profiled");
            (StatusCode::INTERNAL_SERVER_ERROR, format!("{REFUSED}: {error}\n")).into_response()
        }
    }
}

/// What `seconds` says. Go takes 30 for what is no number, or not above zero.
fn duration(query: &str) -> Option<Duration> {
    let seconds = query.split('&').find_map(|item| item.strip_prefix("seconds="));
    let seconds = seconds.map_or(Some(DEFAULT_SECONDS), |seconds| seconds.parse().ok())?;
    (1..=MAX_SECONDS).contains(&seconds).then(|| Duration::from_secs(seconds))
}

/// Samples for as long as `duration`, unless whoever asked has gone.
fn take(begin: SystemTime, duration: Duration, gone: &Receiver<()>) -> io::Result<Vec<u8>> {
    let mut modules = Modules::of_this_process()?;
    let mut threads = Threads::observe()?;
    let (start, mut stacks) = (Instant::now(), Stacks::default());
    while let Some(left) = duration.checked_sub(start.elapsed()).filter(|left| !left.is_zero()) {
        match gone.recv_timeout(left.min(TICK)) {
            Err(RecvTimeoutError::Timeout) => {}
            _ => return Err(io::Error::other("the client has gone")),
        }
        threads.drain(|sample| stacks.add(modules.frames(sample)));
        threads.observe_new();
    }
    let remarks = stacks.remarks(&threads);
    Ok(pprof::encode(&stacks.counts, modules.mappings(), &remarks, begin, start.elapsed()))
}

/// How often each stack was seen, the innermost frame first.
#[derive(Default)]
struct Stacks {
    counts: HashMap<Vec<u64>, i64>,
    /// Samples of further stacks when there were too many.
    left_out: u64,
}

impl Stacks {
    fn add(&mut self, frames: Vec<u64>) {
        if frames.is_empty() || (self.counts.len() >= MAX_STACKS && !self.counts.contains_key(&frames)) {
            self.left_out += 1;
        } else {
            *self.counts.entry(frames).or_default() += 1;
        }
    }

    /// What is not in the profile, as comments of it.
    fn remarks(&self, threads: &Threads) -> Vec<String> {
        let mut remarks = Vec::new();
        if !threads.with_kernel() {
            remarks.push(
                "time in the kernel is not in it: that wants CAP_PERFMON or kernel.perf_event_paranoid=1"
                    .to_owned(),
            );
        }
        for (number, of_what) in [
            (threads.lost(), "samples were lost for want of room in a thread's buffer"),
            (self.left_out, "samples were left out, of stacks that could not be read or were too many"),
            (
                threads.unobserved(),
                "threads were not observed: too many, or kernel.perf_event_mlock_kb is too low",
            ),
        ] {
            if number > 0 {
                remarks.push(format!("{number} {of_what}"));
            }
        }
        remarks
    }
}

/// As Go has it.
const REFUSED: &str = "Could not enable CPU profiling";

/// As Go has it.
const DEFAULT_SECONDS: u64 = 30;

/// Long enough to see what comes once a minute.
const MAX_SECONDS: u64 = 300;

/// Often enough that no buffer is full: in this time a thread is sampled twice.
const TICK: Duration = Duration::from_millis(20);

/// With [`modules::MAX_FRAMES`], 16 MiB at most.
const MAX_STACKS: usize = 16_384;
