//! The CPU profile, read by pprof itself as deploy/docs/troubleshooting.md has it.

use std::fs;
use std::process::{Command, Stdio};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cluster::binaries;
use crate::support::program::Server;

/// The command of the page that begins so.
fn command(beginning: &str) -> String {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/docs/troubleshooting.md");
    let page = fs::read_to_string(page).unwrap();
    page.lines().find(|line| line.starts_with(beginning)).unwrap().to_owned()
}

/// A program that is stripped of names is profiled, and one that is not has them: pprof takes it by its build id.
#[tokio::test(flavor = "multi_thread")] // the commands block
async fn pprof_names_what_a_stripped_program_spends_its_time_in() {
    if perf_event::Builder::new(perf_event::events::Software::CPU_CLOCK).build().is_err() {
        // What is answered then is a matter of tests/it/profiling.rs.
        return;
    }
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("tokens.csv"), "token-1,alice,1\n").unwrap();
    let [symbols, stripped] = ["countersign.symbols", "countersign"].map(|name| folder.path().join(name));
    fs::copy(env!("CARGO_BIN_EXE_countersign"), &symbols).unwrap();
    fs::copy(&symbols, &stripped).unwrap();
    assert!(Command::new("strip").arg(&stripped).status().unwrap().success());

    let mut serve = Command::new(&stripped);
    serve.args(["serve", "--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--log-format=json"]);
    serve.args(["--token-auth-file=tokens.csv", "--profiling"]).current_dir(folder.path());
    let server = Server::run(serve);
    let fetch = command("curl --fail --output cpu.pb.gz ").replace("seconds=30", "seconds=2");
    let address = server.admin_address();
    let path = fetch.split("127.0.0.1:9002").nth(1).unwrap().trim_end_matches('"');
    // Work for it to be seen at.
    let busy = async {
        loop {
            server.admin_page("/metrics").await;
        }
    };
    let profile = tokio::select! {
        never = busy => never,
        profile = fetched(&address, path) => profile,
    };
    fs::write(folder.path().join("cpu.pb.gz"), profile).unwrap();

    let show = command("pprof -top ");
    let mut show: Vec<&str> = show.split(' ').collect();
    let mut pprof = Command::new(binaries().join(show.remove(0)));
    let shown = pprof.args(show).current_dir(folder.path()).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.status.success() && text.contains("countersign::admin"), "{shown:?}");
}

/// What is there, in bytes.
async fn fetched(address: &str, path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let body = answer.split_off(end + 4);
    assert!(answer.starts_with(b"HTTP/1.0 200 "), "{}", String::from_utf8_lossy(&answer));
    body
}
