//! A token review webhook that comes, goes and changes while the program runs. Verdicts on its answers are in the recorded vectors.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use crate::message::ask;
use crate::port::hold;
use crate::support::program::{Server, until};
use crate::support::tls;

/// How the webhook is at the moment.
#[derive(Clone, Copy, PartialEq)]
enum Mood {
    /// Says that the token `good` is alice's, to who shows `caller-1`.
    Well,
    /// Takes a question and says nothing.
    Wedged,
    /// Answers with something else.
    Garbled,
    /// Answers 503.
    Unwell,
}

/// A webhook at a port of its own, which refuses connections until it is up.
pub(crate) struct Webhook {
    port: u16,
    certificate: rcgen::Certificate,
    tls: TlsAcceptor,
    mood: Arc<Mutex<Mood>>,
    heads: Arc<Mutex<Vec<String>>>,
    /// Alice's tokens.
    good: Arc<Mutex<Vec<String>>>,
    /// Its port: here nobody ever listens.
    _held: TcpSocket,
    serving: Option<JoinHandle<()>>,
}

impl Webhook {
    pub(crate) fn down() -> Self {
        let held = hold(0);
        let port = held.local_addr().unwrap().port();
        let key = KeyPair::generate().unwrap();
        let certificate =
            CertificateParams::new(["localhost".to_owned()]).unwrap().self_signed(&key).unwrap();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
        let tls = TlsAcceptor::from(tls::server(vec![certificate.der().clone()], key));
        Self {
            port,
            certificate,
            tls,
            mood: Arc::new(Mutex::new(Mood::Well)),
            heads: Arc::default(),
            good: Arc::new(Mutex::new(GOOD.map(str::to_owned).into())),
            _held: held,
            serving: None,
        }
    }

    pub(crate) fn come_up(&mut self) {
        let listener = hold(self.port).listen(64).unwrap();
        let (mood, heads, good) = (Arc::clone(&self.mood), Arc::clone(&self.heads), Arc::clone(&self.good));
        self.serving = Some(tokio::spawn(serve(listener, self.tls.clone(), mood, heads, good)));
    }

    /// Says from now on that this token is alice's, too.
    pub(crate) fn learn(&self, token: &str) {
        self.good.lock().unwrap().push(token.to_owned());
    }

    /// The heads of all requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// Connections end, and new ones are refused.
    async fn go_down(&mut self) {
        let task = self.serving.take().unwrap();
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }

    fn is(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// A kubeconfig and what it names.
    pub(crate) fn configure(&self, folder: &Path) {
        let kubeconfig = json!({
            "clusters": [{"name": "k", "cluster": {
                "server": format!("https://localhost:{}/authenticate", self.port), "certificate-authority": "wh/ca.pem"}}],
            "users": [{"name": "u", "user": {"tokenFile": "wh/caller"}}],
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
            "current-context": "c",
        });
        fs::create_dir(folder.join("wh")).unwrap();
        fs::write(folder.join("wh/ca.pem"), self.certificate.pem()).unwrap();
        fs::write(folder.join("wh/caller"), "caller-1\n").unwrap();
        fs::write(folder.join("kubeconfig"), kubeconfig.to_string().replace("wh/", "./wh/")).unwrap();
        fs::write(folder.join("tokens.csv"), "of-the-file,carol,1\n").unwrap();
    }
}

async fn serve(
    listener: TcpListener,
    tls: TlsAcceptor,
    mood: Arc<Mutex<Mood>>,
    heads: Arc<Mutex<Vec<String>>>,
    good: Arc<Mutex<Vec<String>>>,
) {
    let mut connections = JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        let (tls, mood, heads, good) =
            (tls.clone(), Arc::clone(&mood), Arc::clone(&heads), Arc::clone(&good));
        connections.spawn(async move {
            let Ok(mut connection) = tls.accept(tcp).await else { return };
            loop {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let Ok(byte) = connection.read_u8().await else { return };
                    head.push(byte);
                }
                let head = String::from_utf8(head).unwrap();
                heads.lock().unwrap().push(head.clone());
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
                let mut body = vec![0; length.parse().unwrap()];
                connection.read_exact(&mut body).await.unwrap();
                let mood = *mood.lock().unwrap();
                let (status, body) = match mood {
                    Mood::Wedged => std::future::pending().await,
                    Mood::Garbled => (200, "<html>".to_owned()),
                    Mood::Unwell => (503, String::new()),
                    Mood::Well if !head.contains("\r\nauthorization: Bearer caller-1\r\n") => {
                        (401, String::new())
                    }
                    Mood::Well => {
                        (200, said_to(&serde_json::from_slice(&body).unwrap(), &good.lock().unwrap()))
                    }
                };
                let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                connection.write_all(answer.as_bytes()).await.unwrap();
                connection.flush().await.unwrap();
            }
        });
    }
}

fn said_to(review: &Value, good: &[String]) -> String {
    let status = json!({"authenticated": good.iter().any(|good| review["spec"]["token"] == *good), "user": {"username": "alice"}});
    json!({"kind": "TokenReview", "apiVersion": review["apiVersion"], "status": status}).to_string()
}

pub(crate) const FLAGS: [&str; 7] = [
    "--authentication-token-webhook-config-file=kubeconfig",
    "--authentication-token-webhook-version=v1",
    "--authentication-token-webhook-cache-ttl=0s",
    "--token-success-cache-ttl=0s",
    "--token-auth-file=tokens.csv",
    "--anonymous-auth=false",
    "--reload-interval=50ms",
];

/// Alice's tokens, from the first on.
const GOOD: [&str; 2] = ["good-s3cr3t", "good-t0k3n"];

fn alice() -> Result<String, i32> {
    Ok("alice".to_owned())
}

/// Threats S26: whatever becomes of the webhook, nobody gets in by it, nobody else is held up, and it is believed again without a
/// restart.
#[tokio::test(flavor = "multi_thread")] // `wait_for` blocks, and the webhook is in this process
async fn a_webhook_that_fails_lets_nobody_in_and_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let mut webhook = Webhook::down();
    webhook.configure(folder.path());
    let mut server = Server::start(folder.path(), &FLAGS);
    let carol = Ok("carol".to_owned());
    assert_eq!(ask(&server, "good-s3cr3t").await, Err(401), "it is not there yet");
    let failed = server.wait_for("the token review webhook failed");
    assert_eq!(failed["fields"]["failure"], "cannot connect: connection refused");
    assert_eq!(ask(&server, "of-the-file").await, carol);

    webhook.come_up();
    assert_eq!(ask(&server, "good-s3cr3t").await, alice());
    server.wait_for("the token review webhook answers again");
    assert_eq!(ask(&server, "bad-s3cr3t").await, Err(401));

    for mood in [Mood::Garbled, Mood::Unwell] {
        webhook.is(mood);
        assert_eq!(ask(&server, "good-s3cr3t").await, Err(401));
        assert_eq!(ask(&server, "of-the-file").await, carol);
        webhook.is(Mood::Well);
        assert_eq!(ask(&server, "good-s3cr3t").await, alice());
    }
    webhook.is(Mood::Wedged);
    let wedged = tokio::time::timeout(Duration::from_millis(200), ask(&server, "good-s3cr3t")).await;
    assert!(wedged.is_err(), "Envoy would have given up: {wedged:?}");
    assert_eq!(ask(&server, "of-the-file").await, carol);
    webhook.is(Mood::Well);
    // The first question is still waited for, as in Kubernetes, and so would be whoever came with its token.
    assert_eq!(ask(&server, GOOD[1]).await, alice());

    webhook.go_down().await;
    assert_eq!(ask(&server, "good-s3cr3t").await, Err(401));
    assert_eq!(ask(&server, "of-the-file").await, carol);
    webhook.come_up();
    until("it is believed again", async || ask(&server, "good-s3cr3t").await == alice()).await;
    let (_, metrics) = server.admin_page("/metrics").await;
    for code in ["200", "503", "<error>"] {
        let line = format!(
            "rest_client_requests_total{{code=\"{code}\",host=\"localhost:{}\",method=\"POST\"}} ",
            webhook.port
        );
        assert!(metrics.contains(&line), "{line} in\n{metrics}");
    }
    server.wait_for("the token review webhook answers again");
    assert!(
        !server.logged().contains("s3cr3t") && !server.logged().contains("caller-1"),
        "{}",
        server.logged()
    );
}

/// Go: `NewCachedFileTokenSource` of k8s.io/client-go/transport; here the file is looked at as every other.
#[tokio::test(flavor = "multi_thread")]
async fn files_that_the_kubeconfig_names_are_reloaded() {
    let folder = tempfile::tempdir().unwrap();
    let mut webhook = Webhook::down();
    webhook.configure(folder.path());
    webhook.come_up();
    let mut server = Server::start(folder.path(), &FLAGS);
    assert_eq!(ask(&server, "good-s3cr3t").await, alice());

    let caller = folder.path().join("wh/caller");
    fs::write(&caller, "caller-2").unwrap();
    server.wait_for("reloaded");
    assert_eq!(ask(&server, "good-s3cr3t").await, Err(401), "another caller");
    fs::write(&caller, "").unwrap();
    let refused = server.wait_for("not reloaded; the old configuration goes on serving");
    let problem =
        "--authentication-token-webhook-config-file: kubeconfig: tokenFile: read empty token from file";
    assert_eq!(refused["fields"]["error"], problem);
    fs::write(&caller, "caller-1").unwrap();
    server.wait_for("reloaded");
    assert_eq!(ask(&server, "good-s3cr3t").await, alice());

    fs::write(folder.path().join("wh/ca.pem"), Webhook::down().certificate.pem()).unwrap();
    server.wait_for("reloaded");
    assert_eq!(ask(&server, "good-s3cr3t").await, Err(401), "another authority");
}
