//! An API server that gives every list the same answer, and lets every watch wait.

use std::io::{BufRead, BufReader, Write};
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
}

impl ApiServer {
    /// One that gives this status and body.
    pub(crate) fn start(status: u16, body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let says = Arc::new(Mutex::new((status, body.to_owned())));
        let shared = Arc::clone(&says);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let says = Arc::clone(&shared);
                thread::spawn(move || answer(stream, &says));
            }
        });
        Self { url, says }
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

fn answer(mut stream: TcpStream, says: &Mutex<(u16, String)>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    while let Some(line) = lines.next() {
        // The head ends with an empty line; there is no body.
        lines.by_ref().take_while(|line| !line.is_empty()).for_each(drop);
        let answer = match line.contains("watch=true") {
            true => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
            false => {
                let (status, body) = says.lock().unwrap().clone();
                format!("HTTP/1.1 {status} Said\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            }
        };
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
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
