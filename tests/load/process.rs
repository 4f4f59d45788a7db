//! A server in a process of its own, and the CPU time that it has taken.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running server. Ends with the value.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: String,
}

impl Server {
    /// Starts it on a port of its own choice and with one worker thread, and waits until it serves.
    pub(crate) fn start(program: &str, subcommand: &str, flags: &[&str], folder: &Path) -> Self {
        let mut command = Command::new(program);
        command.arg(subcommand).args(flags).current_dir(folder).env("TOKIO_WORKER_THREADS", "1");
        if subcommand == "serve" {
            // A line for each denial is what a user may have or not; the bare server has none.
            command.args([
                "--listen=127.0.0.1:0",
                "--admin-listen=",
                "--worker-threads=1",
                "--log-format=json",
                "--log-level=countersign=info,countersign::envoy=error",
            ]);
        }
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

    /// Of all its threads, in user and kernel mode. proc(5), `utime` and `stime`.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        // The name of the program, in brackets, may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u32 = fields[11..=12].iter().map(|ticks| ticks.parse::<u32>().unwrap()).sum();
        TICK * ticks
    }
}

/// `USER_HZ` is 100 on all that Linux runs on today.
const TICK: Duration = Duration::from_millis(10);

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
