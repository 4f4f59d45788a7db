//! Clients with tokens, which never stop.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::interval;

use super::{AS_ALICE, bearer};
use crate::support::{Edge, Http1, Http2, Response, eventually};

/// Clients that go on all the time, and must always be taken for alice: one over HTTP/1.1 and one over HTTP/2 for each token.
pub(super) struct Load {
    clients: Vec<Client>,
    stop: Arc<AtomicBool>,
}

struct Client {
    token: Arc<Mutex<String>>,
    answers: Arc<AtomicU64>,
    task: JoinHandle<Vec<String>>,
}

impl Load {
    pub(super) fn start(edge: &Edge, tokens: &[String]) -> Self {
        let stop = Arc::default();
        let client = |token: &String, http2| {
            let (token, answers) = (Arc::new(Mutex::new(token.clone())), Arc::default());
            let calls =
                call(edge.clone(), http2, Arc::clone(&token), Arc::clone(&answers), Arc::clone(&stop));
            Client { token, answers, task: tokio::spawn(calls) }
        };
        let clients = tokens.iter().flat_map(|token| [client(token, false), client(token, true)]).collect();
        Self { clients, stop }
    }

    /// Gives every client another token, and waits until all of them have long been using it.
    pub(super) async fn goes_on_with(&self, tokens: &[String]) {
        for (clients, token) in self.clients.chunks(2).zip(tokens) {
            for client in clients {
                client.token.lock().unwrap().clone_from(token);
            }
        }
        self.goes_on().await;
    }

    /// Waits for so many answers to every client that they speak for what there is now.
    pub(super) async fn goes_on(&self) {
        for client in &self.clients {
            let before = client.answers.load(Ordering::SeqCst);
            let more = async || (client.answers.load(Ordering::SeqCst) > before + 50).then_some(());
            eventually("every client has its answers", more).await;
        }
    }

    /// Ends it. Not one request may have had another answer.
    pub(super) async fn was_never_refused(self) {
        self.stop.store(true, Ordering::SeqCst);
        for client in self.clients {
            assert_eq!(client.task.await.unwrap(), [""; 0]);
        }
    }
}

/// A client's calls, at a rate that leaves some of the machine to others; and what was wrong with the answers.
async fn call(
    edge: Edge,
    http2: bool,
    token: Arc<Mutex<String>>,
    answers: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut pace = interval(Duration::from_millis(5));
    while !stop.load(Ordering::SeqCst) {
        // There are always old connections and new ones.
        let mut connection = Connection::open(&edge, http2).await;
        for _ in 0..30 {
            pace.tick().await;
            let line = bearer(&token.lock().unwrap());
            let answer = connection.get(&line).await;
            answers.fetch_add(1, Ordering::SeqCst);
            let good = |response: &Response| response.status == 200 && response.forwarded() == AS_ALICE;
            if !answer.as_ref().is_ok_and(good) {
                // One says as much as a thousand.
                complaints.resize(1, format!("{answer:?}"));
                break;
            }
        }
    }
    complaints
}

enum Connection {
    Http1(Http1),
    Http2(Http2),
}

impl Connection {
    async fn open(edge: &Edge, http2: bool) -> Self {
        if http2 { Self::Http2(edge.connect2().await.unwrap()) } else { Self::Http1(edge.connect1().await) }
    }

    async fn get(&mut self, line: &str) -> Result<Response, String> {
        match self {
            Self::Http1(connection) => {
                connection.get(&[line.as_bytes()]).await.ok_or_else(|| "closed without an answer".to_owned())
            }
            Self::Http2(connection) => connection.get(&[line]).await.map_err(|error| error.to_string()),
        }
    }
}
