//! A client with OpenSSL beneath, by way of Python: s2n-tls takes no Ed25519 certificate for a client.

use std::net::SocketAddr;
use std::process::{Command, Stdio};

use super::authority::Certified;
use super::certificate::NAME;

const GET: &str = r#"
import socket, ssl, sys
port, name, trusted, own, *lines = sys.argv[1:]
context = ssl.create_default_context(cafile=trusted)
context.load_cert_chain(own)
connection = context.wrap_socket(socket.create_connection(("127.0.0.1", int(port)), timeout=20), server_hostname=name)
head = ["GET / HTTP/1.1", "Host: app.test", "Connection: close", *lines, "", ""]
connection.sendall("\r\n".join(head).encode())
while some := connection.recv(65536):
    sys.stdout.buffer.write(some)
"#;

/// `GET /` over HTTP/1.1; the answer as it came.
pub(crate) async fn get(edge: SocketAddr, trusted: &str, own: &Certified, lines: &[&str]) -> String {
    let directory = tempfile::tempdir().unwrap();
    let [trust, certificate] = ["trusted.pem", "own.pem"].map(|name| directory.path().join(name));
    std::fs::write(&trust, trusted).unwrap();
    std::fs::write(&certificate, format!("{}{}", own.key, own.chain)).unwrap();
    let mut command = Command::new("python3");
    command.args(["-c", GET, &edge.port().to_string(), NAME]).arg(trust).arg(certificate).args(lines);
    command.stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "python3: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}
