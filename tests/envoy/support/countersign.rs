//! The program under test.

use std::path::Path;
use std::process::{Command, ExitStatus};

use serde_json::Value;

use super::process::Process;

/// A running `countersign serve`.
pub(crate) struct Countersign {
    pub(crate) address: String,
    process: Process,
}

impl Countersign {
    /// Starts it and waits until it says where it serves. `log` names the file for its output.
    pub(crate) async fn start(directory: &Path, log: &str, listen: &str, flags: &[String]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_countersign"));
        command
            .args(["serve", "--log-format=json", "--admin-listen=", "--listen", listen])
            .args(flags)
            .current_dir(directory);
        let mut process = Process::start(&mut command, &directory.join(log));
        let address = process.until("countersign serves", async |process| serving(&process.log())).await;
        Self { address, process }
    }

    /// The port, when it listens on TCP.
    pub(crate) fn port(&self) -> u16 {
        self.address.rsplit_once(':').unwrap().1.parse().unwrap()
    }

    /// How many lines with this message are in its log.
    pub(crate) fn logged(&self, message: &str) -> usize {
        let lines = self.process.log();
        lines.lines().filter(|line| fields(line).is_some_and(|fields| fields["message"] == message)).count()
    }

    pub(crate) fn terminate(&self) {
        self.process.terminate();
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.ended()
    }
}

/// The address in the log line `serving`, once that is there.
fn serving(log: &str) -> Option<String> {
    log.lines().find_map(|line| {
        let fields = fields(line)?;
        (fields["message"] == "serving").then(|| fields["address"].as_str().unwrap().to_owned())
    })
}

fn fields(line: &str) -> Option<Value> {
    Some(serde_json::from_str::<Value>(line).ok()?["fields"].take())
}
