//! The token review webhooks of the recorded world, at the addresses that its kubeconfig files name.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;

use super::issuers::bind;
use super::tls;

/// What `webhook/table.json` holds.
#[derive(Deserialize)]
struct World {
    servers: Vec<Listener>,
    tokens: BTreeMap<String, Answer>,
}

#[derive(Deserialize)]
struct Listener {
    listen: String,
    cert: String,
    key: String,
    client_ca: Option<String>,
    require_authorization: Option<String>,
}

/// What the table has of a token; it says itself what each means.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Answer {
    http: Option<u16>,
    status: Option<Value>,
    #[serde(rename = "apiVersion")]
    api_version: Option<String>,
    kind: Option<String>,
    content_type: Option<String>,
    location: Option<String>,
    raw: Option<String>,
    text: Option<String>,
    close: bool,
    delay: f64,
    fail_first: u32,
    echo: bool,
}

/// What the connections of a server share.
struct Site {
    require_authorization: Option<String>,
    tokens: BTreeMap<String, Answer>,
    failed: Mutex<HashMap<String, u32>>,
}

/// The servers, until they are dropped.
pub(crate) struct Webhooks {
    _tasks: JoinSet<()>,
}

impl Webhooks {
    /// Serves the table of `world`, a folder, over TLS.
    pub(crate) async fn start(world: &Path) -> Self {
        let table: World =
            serde_json::from_str(&fs::read_to_string(world.join("webhook/table.json")).unwrap()).unwrap();
        let mut tasks = JoinSet::new();
        for server in table.servers {
            let certificates = |path: &str| {
                let certificates = CertificateDer::pem_file_iter(world.join(path)).unwrap();
                certificates.map(Result::unwrap).collect::<Vec<_>>()
            };
            let verifier = match &server.client_ca {
                None => WebPkiClientVerifier::no_client_auth(),
                Some(path) => {
                    let mut roots = RootCertStore::empty();
                    roots.add_parsable_certificates(certificates(path));
                    let provider = Arc::new(default_provider());
                    WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build().unwrap()
                }
            };
            let key = PrivateKeyDer::from_pem_file(world.join(&server.key)).unwrap();
            let tls = tls::server_for(verifier, certificates(&server.cert), key);
            let site = Site {
                require_authorization: server.require_authorization,
                tokens: table.tokens.clone(),
                failed: Mutex::default(),
            };
            let listener = bind(&server.listen).await;
            tasks.spawn(listen(listener, TlsAcceptor::from(tls), Arc::new(site)));
        }
        Self { _tasks: tasks }
    }
}

async fn listen(listener: TcpListener, acceptor: TlsAcceptor, site: Arc<Site>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, site) = (acceptor.clone(), Arc::clone(&site));
        connections.spawn(async move {
            // Whoever has enough goes away.
            let _gone = serve(&acceptor, stream, &site).await;
        });
    }
}

/// Reads requests (HTTP/1.1) and answers them, until the other side has enough, or the table says so.
async fn serve(acceptor: &TlsAcceptor, stream: TcpStream, site: &Site) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap();
        let Some(length) = header(&head, "content-length") else {
            // Whoever followed a redirection asks for something.
            stream.write_all(whole(404, "", "text/plain", "not here").as_bytes()).await?;
            stream.flush().await?;
            continue;
        };
        let mut body = vec![0; length.parse().unwrap()];
        stream.read_exact(&mut body).await?;
        let review: Value = serde_json::from_slice(&body).unwrap();
        let token = review["spec"]["token"].as_str().unwrap();
        let nobody = || Answer { status: Some(json!({"authenticated": false})), ..Answer::default() };
        let answer = site.tokens.get(token).cloned().unwrap_or_else(nobody);
        tokio::time::sleep(Duration::from_secs_f64(answer.delay)).await;
        if answer.close {
            return Ok(());
        }
        stream.write_all(site.answer(&head, &review, token, answer).as_bytes()).await?;
        stream.flush().await?;
    }
}

impl Site {
    fn answer(&self, head: &str, review: &Value, token: &str, mut answer: Answer) -> String {
        let text = "text/plain";
        let required = self.require_authorization.as_deref();
        if required.is_some_and(|required| header(head, "authorization") != Some(required)) {
            return whole(401, "", text, "who are you");
        }
        if answer.fail_first > 0 {
            let mut failed = self.failed.lock().unwrap();
            let count = failed.entry(token.to_owned()).or_default();
            if *count < answer.fail_first {
                *count += 1;
                return whole(500, "", text, "not yet");
            }
            *count = 0;
        }
        let location = answer.location.as_ref().map(|to| format!("location: {to}\r\n")).unwrap_or_default();
        if let Some(body) = &answer.text {
            return whole(answer.http.unwrap(), &location, text, body);
        }
        let (status, content_type) = (answer.http.unwrap_or(200), answer.content_type);
        let content_type = content_type.as_deref().unwrap_or("application/json");
        if let Some(body) = &answer.raw {
            return whole(status, "", content_type, body);
        }
        if answer.echo {
            let spec = review["spec"].as_object().unwrap();
            let extra = json!({
                "audiences": spec["audiences"],
                "token": [spec["token"]],
                "apiversion": [review["apiVersion"]],
                "kind": [review["kind"]],
                "spec-keys": spec.keys().collect::<Vec<_>>(),
                "content-type": [header(head, "content-type")],
                "path": [head.split(' ').nth(1)],
            });
            answer.status =
                Some(json!({"authenticated": true, "user": {"username": "echo", "extra": extra}}));
        }
        let mut said = json!({"metadata": {"creationTimestamp": null}, "spec": {}});
        said["apiVersion"] = answer.api_version.map_or_else(|| review["apiVersion"].clone(), Value::from);
        said["kind"] = answer.kind.map_or_else(|| review["kind"].clone(), Value::from);
        if let Some(status) = answer.status {
            said["status"] = status;
        }
        whole(status, "", content_type, &said.to_string())
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = head.lines().filter_map(|line| line.split_once(": "));
    fields.find_map(|(field, value)| field.eq_ignore_ascii_case(name).then_some(value))
}

fn whole(status: u16, more: &str, content_type: &str, body: &str) -> String {
    let content_type = match content_type {
        "" => String::new(),
        content_type => format!("content-type: {content_type}\r\n"),
    };
    format!("HTTP/1.1 {status} x\r\n{more}{content_type}content-length: {}\r\n\r\n{body}", body.len())
}
