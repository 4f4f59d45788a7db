//! HTTP/1.1 over TLS, byte for byte as a test wants it: no client library sends what these tests have to send.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use s2n_tls_tokio::TlsConnector;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::cluster::Door;
use super::support::envoy::Request;

pub(crate) const SELF_SUBJECT_REVIEW: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const BODY: &str = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#;
/// One of the names in the certificate that kube-apiserver makes for itself.
pub(crate) const SERVER_NAME: &str = "kubernetes";
const TIMEOUT: Duration = Duration::from_secs(20);

pub(crate) struct Answer {
    pub(crate) status: u16,
    /// If `Content-Length` announces it; of a long one it says nothing.
    pub(crate) body: Option<Vec<u8>>,
}

/// Sends a request on a connection of its own. The audit log knows it by `audit_id`.
pub(crate) async fn ask(door: &Door, request: &Request, audit_id: &str) -> io::Result<Answer> {
    timeout(TIMEOUT, exchange(door, request, audit_id)).await?
}

async fn exchange(door: &Door, request: &Request, audit_id: &str) -> io::Result<Answer> {
    let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, door.port)).await?;
    tcp.set_nodelay(true)?;
    let tls = match &request.key {
        Some(key) => door.presenting(&request.certificates.concat(), key),
        None => door.tls.clone(),
    };
    let mut stream = TlsConnector::new(tls).connect(door.name, tcp).await?;
    stream.write_all(&message(request, door.port, audit_id)).await?;
    stream.flush().await?;
    answer(&mut stream).await
}

fn message(request: &Request, port: u16, audit_id: &str) -> Vec<u8> {
    let Request { method, path, .. } = request;
    let mut message =
        format!("{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAudit-ID: {audit_id}\r\n")
            .into_bytes();
    for (name, value) in &request.headers {
        message.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    if method == "POST" {
        let length = BODY.len();
        message.extend(
            format!("Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{BODY}").bytes(),
        );
    } else {
        message.extend(b"\r\n");
    }
    message
}

async fn answer(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Answer> {
    const END: &[u8] = b"\r\n\r\n";
    let bad = |what: &str| io::Error::other(format!("an answer {what}"));
    let mut received = Vec::new();
    let end = loop {
        match received.windows(END.len()).position(|window| window == END) {
            Some(end) => break end,
            None => read(stream, &mut received).await?,
        }
    };
    let head = String::from_utf8_lossy(&received[..end]).to_ascii_lowercase();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .ok_or_else(|| bad("without a status"))?;
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let Some(length) = length.filter(|_| status == 201) else { return Ok(Answer { status, body: None }) };
    let length = length.parse().map_err(|_| bad("of unknown length"))?;
    let mut body = received.split_off(end + END.len());
    while body.len() < length {
        read(stream, &mut body).await?;
    }
    Ok(Answer { status, body: Some(body) })
}

async fn read(stream: &mut (impl AsyncRead + Unpin), to: &mut Vec<u8>) -> io::Result<()> {
    match stream.read_buf(to).await? {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}
