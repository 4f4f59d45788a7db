//! The threads of this process, as the kernel samples them.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io::{self, ErrorKind};

use perf_event::data::parse::Parser;
use perf_event::data::{Lost, Sample};
use perf_event::events::Software;
use perf_event::{Builder, SampleFlag, Sampler};

use super::modules::REGISTERS;

/// Ends the sampling with the value.
pub(super) struct Threads {
    samplers: HashMap<i32, Sampler>,
    /// Those that could not be observed.
    unobserved: HashSet<i32>,
    with_kernel: bool,
    lost: u64,
}

impl Threads {
    /// Begins to observe all threads that there are. An error says why not a single one can be.
    pub(super) fn observe() -> io::Result<Self> {
        // Our own, since the others may end meanwhile.
        let own = i32::try_from(std::process::id()).map_err(io::Error::other)?;
        let with_kernel = open(own, true).is_ok();
        if !with_kernel {
            open(own, false)?;
        }
        let (samplers, unobserved) = (HashMap::new(), HashSet::new());
        let mut threads = Self { samplers, unobserved, with_kernel, lost: 0 };
        threads.observe_new();
        Ok(threads)
    }

    /// Observes threads that are new, and forgets those that have ended.
    pub(super) fn observe_new(&mut self) {
        let Ok(tasks) = fs::read_dir("/proc/self/task") else { return };
        let name = |task: io::Result<fs::DirEntry>| task.ok()?.file_name().to_str()?.parse().ok();
        let alive: HashSet<i32> = tasks.filter_map(name).collect();
        self.samplers.retain(|thread, _| alive.contains(thread));
        for thread in alive {
            if self.samplers.contains_key(&thread) || self.unobserved.contains(&thread) {
                continue;
            }
            let room = self.samplers.len() < MAX_THREADS;
            match room.then(|| open(thread, self.with_kernel)) {
                Some(Ok(sampler)) => drop(self.samplers.insert(thread, sampler)),
                Some(Err(error)) if error.raw_os_error() == Some(NO_SUCH_THREAD) => {}
                _ if self.unobserved.len() < MAX_UNOBSERVED => drop(self.unobserved.insert(thread)),
                _ => {}
            }
        }
    }

    /// Shows all samples that were taken since the last time.
    pub(super) fn drain(&mut self, mut show: impl FnMut(&Sample<'_>)) {
        for sampler in self.samplers.values_mut() {
            let config = sampler.config().clone();
            while let Some(record) = sampler.next_record() {
                let bytes = record.to_contiguous();
                let mut parser = Parser::new(&*bytes, config.clone());
                // Not `parse_record`, which brings code for each of the twenty kinds that we do not ask for.
                match record.ty() {
                    PERF_RECORD_SAMPLE => drop(parser.parse().map(|sample| show(&sample))),
                    PERF_RECORD_LOST => self.lost += parser.parse().map_or(0, |lost: Lost| lost.lost),
                    _ => {}
                }
            }
        }
    }

    /// Whether what a thread does in the kernel is sampled too.
    pub(super) fn with_kernel(&self) -> bool {
        self.with_kernel
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost
    }

    pub(super) fn unobserved(&self) -> u64 {
        u64::try_from(self.unobserved.len()).unwrap_or(u64::MAX)
    }
}

/// Begins to sample a thread, with half of the room if there is no more.
fn open(thread: i32, with_kernel: bool) -> io::Result<Sampler> {
    let open = |bytes| -> io::Result<Sampler> {
        let counter = Builder::new(Software::CPU_CLOCK)
            .observe_pid(thread)
            .any_cpu()
            .sample_period(PERIOD.unsigned_abs())
            .sample(SampleFlag::REGS_USER | SampleFlag::STACK_USER)
            .sample_regs_user(REGISTERS)
            .sample_stack_user(STACK_BYTES)
            .exclude_kernel(!with_kernel)
            .build()
            .map_err(|error| denied(error, FORBIDDEN))?;
        counter.sampled(bytes).map_err(|error| denied(error, NO_ROOM))
    };
    let mut sampler = open(BUFFER_BYTES).or_else(|_| open(BUFFER_BYTES / 2))?;
    sampler.enable()?;
    Ok(sampler)
}

fn denied(error: io::Error, why: &str) -> io::Error {
    match error.kind() {
        ErrorKind::PermissionDenied => io::Error::new(ErrorKind::PermissionDenied, format!("{error}; {why}")),
        _ => error,
    }
}

const FORBIDDEN: &str =
    "perf_event_open is forbidden here: by seccomp, or because kernel.perf_event_paranoid is above 2";

const NO_ROOM: &str = "kernel.perf_event_mlock_kb and RLIMIT_MEMLOCK are too low";

/// Nanoseconds of CPU time from one sample to the next: 100 in a second, as Go has it.
pub(super) const PERIOD: i64 = 10_000_000;

/// Of a thread's stack; what called the functions that these are of is not seen. A sample is at most 64 KiB.
const STACK_BYTES: u32 = 60 << 10;

/// Of a thread, four samples; a power of two. Counts towards kernel.perf_event_mlock_kb, by default 516 KiB for each CPU, and then RLIMIT_MEMLOCK.
const BUFFER_BYTES: usize = 256 << 10;

/// Each has a file descriptor and a buffer.
const MAX_THREADS: usize = 256;

/// Beyond that they are not counted.
const MAX_UNOBSERVED: usize = 1024;

/// Of linux/perf_event.h.
const PERF_RECORD_LOST: u32 = 2;
const PERF_RECORD_SAMPLE: u32 = 9;

/// ESRCH: it has ended.
const NO_SUCH_THREAD: i32 = 3;
