//! A server in a process of its own, and what it has taken: CPU time and memory.

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::{self, DirEntry};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The program.
pub(crate) const COUNTERSIGN: &str = env!("CARGO_BIN_EXE_countersign");

/// A running server. Ends with the value.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: String,
}

/// CPU time by thread. In Linux's Documentation/scheduler/sched-stats.rst: the first number of `/proc/<pid>/schedstat`.
pub(crate) struct Cpu(HashMap<OsString, Duration>);

impl Cpu {
    /// What the threads of a process have taken so far, in user and kernel mode. To the nanosecond, where `stat` of proc(5) has 10 ms.
    pub(crate) fn of(process: u32) -> Self {
        let tasks = fs::read_dir(format!("/proc/{process}/task")).unwrap();
        // A thread may end meanwhile.
        let task = |task: DirEntry| {
            let schedstat = fs::read_to_string(task.path().join("schedstat")).ok()?;
            let nanoseconds = schedstat.split(' ').next().unwrap().parse().unwrap();
            Some((task.file_name(), Duration::from_nanos(nanoseconds)))
        };
        Self(tasks.map(Result::unwrap).filter_map(task).collect())
    }

    /// What came to it after `earlier`. Threads that have ended take theirs with them: those that answer Checks never do.
    pub(crate) fn since(&self, earlier: &Self) -> Duration {
        let before = |thread| earlier.0.get(thread).copied().unwrap_or_default();
        self.0.iter().map(|(thread, spent)| spent.saturating_sub(before(thread))).sum()
    }
}

/// Of a process, in KiB.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// `VmRSS` of proc(5).
    pub(crate) now: u32,
    /// `VmHWM`.
    pub(crate) peak: u32,
}

impl Server {
    /// Starts countersign on a port of its own choice, with one worker thread unless a flag says otherwise, and waits until it serves.
    pub(crate) fn countersign(flags: &[&str], folder: &Path) -> Self {
        // A line for each denial is what a user may have or not; the bare server has none.
        let ours = [
            "serve",
            "--listen=127.0.0.1:0",
            "--admin-listen=",
            "--worker-threads=1",
            "--log-format=json",
            "--log-level=countersign=info,countersign::envoy=error",
        ];
        Self::start(COUNTERSIGN, &[&ours, flags].concat(), folder, 1)
    }

    /// Starts a program, and waits until it says where it serves. A runtime that asks nobody has so many threads.
    pub(crate) fn start(program: &str, arguments: &[&str], folder: &Path, threads: usize) -> Self {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(folder).env("TOKIO_WORKER_THREADS", threads.to_string());
        let mut process = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let mut said = String::new();
        let address = lines.find_map(|line| {
            said += &line;
            let event: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            let fields = &event["fields"];
            (fields["message"] == "serving").then(|| fields["address"].as_str().unwrap().to_owned())
        });
        // Reads to the end, because a full pipe would stop the program.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, address: address.unwrap_or_else(|| panic!("the server has ended: {said}")) }
    }

    pub(crate) fn cpu(&self) -> Cpu {
        Cpu::of(self.process.id())
    }

    /// proc(5), `status`.
    pub(crate) fn memory(&self) -> Memory {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let field = |name| {
            let value = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            value.trim().strip_suffix(" kB").unwrap().parse().unwrap()
        };
        Memory { now: field("VmRSS:"), peak: field("VmHWM:") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
