//! The application behind Envoy: answers every request with the head that it received, and remembers it.

use std::sync::{Arc, Mutex};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::message::{Incoming, value};

/// What the application says first in a WebSocket tunnel.
pub(crate) const GREETING: &[u8] = b"greetings";

/// Listens until it is dropped.
pub(crate) struct Upstream {
    pub(crate) port: u16,
    seen: Arc<Mutex<Vec<Vec<String>>>>,
    task: JoinHandle<()>,
}

impl Upstream {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                let (connection, _) = listener.accept().await.unwrap();
                tokio::spawn(serve(connection, Arc::clone(&record)));
            }
        });
        Self { port, seen, task }
    }

    /// The heads of all requests so far, line by line.
    pub(crate) fn seen(&self) -> Vec<Vec<String>> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(connection: TcpStream, seen: Arc<Mutex<Vec<Vec<String>>>>) -> Option<()> {
    let mut connection = Incoming::new(connection);
    loop {
        let head = connection.head().await?;
        seen.lock().unwrap().push(head.clone());
        if let Some(protocol) = value(&head, "upgrade") {
            return tunnel(connection, protocol).await;
        }
        if let Some(length) = value(&head, "content-length") {
            connection.exactly(length.parse().unwrap()).await?;
        }
        let body = head.join("\n");
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        connection.stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

/// Greets, then sends back in upper case what it gets.
async fn tunnel(mut connection: Incoming<TcpStream>, protocol: &str) -> Option<()> {
    let answer =
        format!("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: {protocol}\r\n\r\n");
    connection.stream.write_all(answer.as_bytes()).await.ok()?;
    connection.stream.write_all(GREETING).await.ok()?;
    loop {
        let said = connection.some().await?;
        connection.stream.write_all(&said.to_ascii_uppercase()).await.ok()?;
    }
}
