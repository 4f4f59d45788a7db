//! The real program, started the way an operator starts it, with its log at hand.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};
use std::{env, thread};

use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};

/// No wait in these tests is longer.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut there: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !there().await {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The program of cargo, unless `COUNTERSIGN_TEST_PROGRAM` names another one of the same source: that of the image.
pub(crate) fn program() -> PathBuf {
    let own = || env!("CARGO_BIN_EXE_countersign").into();
    env::var_os("COUNTERSIGN_TEST_PROGRAM").unwrap_or_else(own).into()
}

/// The program with a subcommand, in a folder, with no setting taken from the tests' own environment.
pub(crate) fn countersign<S: AsRef<OsStr>>(subcommand: &str, folder: &Path, flags: &[S]) -> Command {
    let mut command = Command::new(program());
    for (name, _) in env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("COUNTERSIGN_")) {
        command.env_remove(name);
    }
    command.arg(subcommand).args(flags).current_dir(folder);
    command
}

/// A running server. Ends with the value.
pub(crate) struct Server {
    pub(crate) process: Child,
    /// `127.0.0.1:12345`, or `unix:/path`.
    pub(crate) address: String,
    log: Receiver<String>,
    logged: String,
}

impl Server {
    /// Starts `serve` with `flags` in `folder`, on a port of its own choice unless a flag says otherwise, and waits until it
    /// serves.
    pub(crate) fn start<S: AsRef<OsStr>>(folder: &Path, flags: &[S]) -> Self {
        Self::run(Self::command(folder, flags))
    }

    /// What [`Self::start`] runs.
    pub(crate) fn command<S: AsRef<OsStr>>(folder: &Path, flags: &[S]) -> Command {
        let own = ["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--log-format=json"];
        let mut command = countersign("serve", folder, &own);
        command.args(flags);
        command
    }

    /// Runs a command that becomes `serve`, and waits until it serves.
    pub(crate) fn run(mut command: Command) -> Self {
        let mut process = command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let stderr = process.stderr.take().unwrap();
        let (lines, log) = mpsc::channel();
        // Reads to the end: the program waits for nobody, and lines that a full pipe does not take are lost.
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.send(line).ok();
            }
        });
        let mut server = Self { process, address: String::new(), log, logged: String::new() };
        let serving = server.wait_for("serving");
        server.address = serving["fields"]["address"].as_str().unwrap().to_owned();
        server
    }

    /// Waits for an event with this message, and gives it.
    pub(crate) fn wait_for(&mut self, message: &str) -> serde_json::Value {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = self.log.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.logged += &line;
            self.logged.push('\n');
            let event: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            if event["fields"]["message"] == message {
                return event;
            }
        }
        panic!("no event {message:?}; logged:\n{}", self.logged)
    }

    /// Everything that was logged up to the last event that was waited for.
    pub(crate) fn logged(&self) -> &str {
        &self.logged
    }

    /// A page of the admin listener: status and body.
    pub(crate) async fn admin_page(&self, path: &str) -> (u16, String) {
        let (head, body) = self.admin_answer("GET", path, "").await;
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
    }

    /// Where the admin listener is.
    pub(crate) fn admin_address(&self) -> String {
        let events = self.logged.lines().filter_map(|line| serde_json::from_str(line).ok());
        let listening = |event: &serde_json::Value| event["fields"]["message"] == "health and metrics";
        let event = events.into_iter().find(listening).unwrap();
        event["fields"]["address"].as_str().unwrap().to_owned()
    }

    /// What the admin listener answers: head and body.
    pub(crate) async fn admin_answer(&self, method: &str, path: &str, body: &str) -> (String, String) {
        let mut stream = TcpStream::connect(self.admin_address()).await.unwrap();
        let length = body.len();
        let request = format!("{method} {path} HTTP/1.0\r\ncontent-length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    /// A connection.
    pub(crate) async fn channel(&self) -> Channel {
        let address = match self.address.strip_prefix("unix:") {
            Some(path) => format!("unix://{path}"),
            None => format!("http://{}", self.address),
        };
        Endpoint::from_shared(address).unwrap().timeout(PATIENCE).connect().await.unwrap()
    }

    /// Waits until it says that it is ready: nothing that is fetched at the start is waited for any more.
    pub(crate) async fn until_ready(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.admin_page("/readyz").await.0 != 200 {
            let (_, page) = self.admin_page("/readyz?verbose").await;
            assert!(Instant::now() < deadline, "not ready:\n{page}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// A client on a connection of its own.
    pub(crate) async fn client(&self) -> AuthorizationClient<Channel> {
        AuthorizationClient::new(self.channel().await)
    }

    /// Sends a signal, by the name that `kill` takes.
    pub(crate) fn signal(&self, name: &str) {
        let status =
            Command::new("kill").args([&format!("-{name}"), &self.process.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// Waits until the process has ended. Meanwhile the connections of the test live: an end begins with their consent.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < deadline, "still running");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}
