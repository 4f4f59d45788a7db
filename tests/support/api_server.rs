//! An API server that gives everything the same answer, and lets every watch wait.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};

/// Runs until the process ends.
pub(crate) struct ApiServer {
    url: String,
    says: Arc<Mutex<(u16, String)>>,
    traceparents: Arc<Mutex<Vec<String>>>,
}

impl ApiServer {
    /// One that gives this status and body.
    pub(crate) fn start(status: u16, body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let says = Arc::new(Mutex::new((status, body.to_owned())));
        let server = Self { url, says, traceparents: Arc::default() };
        let shared = (Arc::clone(&server.says), Arc::clone(&server.traceparents));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (says, traceparents) = shared.clone();
                thread::spawn(move || answer(stream, &says, &traceparents));
            }
        });
        server
    }

    /// The `traceparent` of each request that had one.
    pub(crate) fn traceparents(&self) -> Vec<String> {
        self.traceparents.lock().unwrap().clone()
    }

    /// From now on, this.
    pub(crate) fn says(&self, status: u16, body: &str) {
        *self.says.lock().unwrap() = (status, body.to_owned());
    }

    /// How to get here, with a token.
    pub(crate) fn kubeconfig(&self, token: &str) -> String {
        json!({
            "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
            "clusters": [{"name": "c", "cluster": {"server": self.url}}],
            "users": [{"name": "c", "user": {"token": token}}]
        })
        .to_string()
    }
}

fn answer(mut stream: TcpStream, says: &Mutex<(u16, String)>, traceparents: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    while let Some(head) = head(&mut reader) {
        let length = head.iter().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let answer = match head[0].contains("watch=true") {
            true => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
            false => {
                let (status, body) = says.lock().unwrap().clone();
                format!("HTTP/1.1 {status} Said\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            }
        };
        let traceparent = head.iter().filter_map(|line| line.strip_prefix("traceparent: "));
        traceparents.lock().unwrap().extend(traceparent.map(str::to_owned));
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

/// The lines of a request up to the empty one, in lower case.
fn head(reader: &mut impl BufRead) -> Option<Vec<String>> {
    let lines = reader.lines().map_while(Result::ok).take_while(|line| !line.is_empty());
    let head: Vec<String> = lines.map(|line| line.to_ascii_lowercase()).collect();
    (!head.is_empty()).then_some(head)
}

/// A list of the Secrets of bootstrap tokens with these ids, all of which have the same secret.
pub(crate) fn bootstrap_tokens(ids: impl IntoIterator<Item = String>, secret: &str) -> String {
    let item = |id: String| {
        let data = [("token-id", &*id), ("token-secret", secret), ("usage-bootstrap-authentication", "true")];
        let data: Json =
            data.iter().map(|(key, value)| ((*key).to_owned(), STANDARD.encode(value))).collect();
        let metadata = json!({"name": format!("bootstrap-token-{id}"), "resourceVersion": "1"});
        json!({"metadata": metadata, "type": "bootstrap.kubernetes.io/token", "data": data})
    };
    let items: Vec<Json> = ids.into_iter().map(item).collect();
    json!({"metadata": {"resourceVersion": "10"}, "items": items}).to_string()
}
