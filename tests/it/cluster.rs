//! The program beside an API server that says what it is told to. What a real one says is in tests/kube.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use crate::support::envoy::{Encoding, Request, check_request};
use crate::support::program::{PATIENCE, Server, countersign};

const FLAGS: [&str; 4] = [
    "--enable-bootstrap-token-auth",
    "--kubeconfig=kubeconfig",
    "--log-level=trace",
    "--reload-interval=20ms",
];
const SECRET: &str = "hunter2hunter2hu";

/// An API server that gives every list the same answer, and lets every watch wait.
struct ApiServer {
    url: String,
    says: Arc<Mutex<(u16, String)>>,
}

impl ApiServer {
    fn start(status: u16, body: &str) -> Self {
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

    fn says(&self, status: u16, body: &str) {
        *self.says.lock().unwrap() = (status, body.to_owned());
    }

    fn kubeconfig(&self, folder: &Path) {
        let content = json!({
            "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
            "clusters": [{"name": "c", "cluster": {"server": self.url}}],
            "users": [{"name": "c", "user": {"token": "hunter2"}}]
        });
        fs::write(folder.join("new"), content.to_string()).unwrap();
        fs::rename(folder.join("new"), folder.join("kubeconfig")).unwrap();
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

/// A list of the Secret of one token.
fn list(id: &str) -> String {
    let data = [("token-id", id), ("token-secret", SECRET), ("usage-bootstrap-authentication", "true")];
    let data: Json = data.iter().map(|(key, value)| ((*key).to_owned(), STANDARD.encode(value))).collect();
    let metadata = json!({"name": format!("bootstrap-token-{id}"), "resourceVersion": "1"});
    let secret = json!({"metadata": metadata, "type": "bootstrap.kubernetes.io/token", "data": data});
    json!({"metadata": {"resourceVersion": "10"}, "items": [secret]}).to_string()
}

/// The HTTP status of a denial, or none.
async fn denied(server: &Server, id: &str) -> Option<i32> {
    use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
    let request = Request {
        method: "GET".into(),
        path: "/".into(),
        headers: vec![("Authorization".into(), format!("Bearer {id}.{SECRET}").into_bytes())],
        certificates: Vec::new(),
        key: None,
    };
    let response = server.client().await.check(check_request(&request, Encoding::Raw)).await.unwrap();
    match response.into_inner().http_response {
        Some(HttpResponse::DeniedResponse(denied)) => denied.status.map(|status| status.code),
        _ => None,
    }
}

async fn until_ready(server: &Server) {
    let deadline = Instant::now() + PATIENCE;
    while server.admin_page("/readyz").await.0 != 200 {
        assert!(Instant::now() < deadline, "{}", server.admin_page("/readyz?verbose").await.1);
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// Nobody is sent here who would be refused only because nothing is known yet; who comes all the same is refused, undecided. And an
/// answer that cannot be read, which the client library quotes with all that is secret in it, is not in the log.
#[tokio::test]
async fn a_replica_is_not_ready_before_it_knows_the_cluster_and_quotes_nothing_of_it() {
    let folder = TempDir::new().unwrap();
    let unreadable = json!({"metadata": {"resourceVersion": "10"}, "items": [{"data": SECRET}]}).to_string();
    let api = ApiServer::start(200, &unreadable);
    api.kubeconfig(folder.path());
    let mut server = Server::start(folder.path(), &[&FLAGS[..], &["--undecided-status=503"]].concat());
    server.wait_for("cannot watch the cluster");
    let (status, page) = server.admin_page("/readyz").await;
    assert_eq!(status, 503);
    let watch = "[-]watch failed: secrets/bootstrap-token: not in sync yet, 0 objects, answered ";
    assert!(page.contains("[-]listener failed\n") && page.contains(watch), "{page}");
    assert!(page.contains(" failures, last: cannot list: an answer that cannot be read\n"), "{page}");
    assert_eq!(denied(&server, "abcdef").await, Some(503));

    api.says(200, &list("abcdef"));
    server.wait_for("in sync with the cluster");
    until_ready(&server).await;
    assert_eq!(denied(&server, "abcdef").await, None);
    assert_eq!(denied(&server, "fedcba").await, Some(401));
    assert!(!server.logged().contains("hunter2"), "{}", server.logged());
}

/// Another kubeconfig is taken up like any other file, and what was known counts until the new cluster is known.
#[tokio::test]
async fn a_changed_kubeconfig_takes_over_once_its_cluster_is_known() {
    let folder = TempDir::new().unwrap();
    let old = ApiServer::start(200, &list("abcdef"));
    old.kubeconfig(folder.path());
    let mut server = Server::start(folder.path(), &FLAGS);
    until_ready(&server).await;
    assert_eq!(denied(&server, "abcdef").await, None);

    let new = ApiServer::start(500, "");
    new.kubeconfig(folder.path());
    server.wait_for("reloaded");
    server.wait_for("cannot watch the cluster");
    assert_eq!(denied(&server, "abcdef").await, None);
    let (status, page) = server.admin_page("/readyz?verbose").await;
    assert!(status == 200 && page.contains("not in sync yet, 1 objects, never answered; "), "{page}");

    new.says(200, &list("fedcba"));
    server.wait_for("in sync with the cluster");
    assert_eq!(denied(&server, "fedcba").await, None);
    assert_eq!(denied(&server, "abcdef").await, Some(401));
}

/// Nobody is asked for anything, and what can be told without asking is told.
#[test]
fn check_config_reads_the_kubeconfig_and_connects_to_nothing() {
    let folder = TempDir::new().unwrap();
    let api = ApiServer::start(500, "");
    let check = |flags: &[&str]| {
        let mut command = countersign("check-config", folder.path(), flags);
        command.env_remove("KUBERNETES_SERVICE_HOST");
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    api.kubeconfig(folder.path());
    let (good, said) = check(&FLAGS);
    let warning = "warning: --kubeconfig: kubeconfig: server: without TLS, whoever gets between us and the API server decides \
                   who is let in\n";
    assert!(good && said.contains(warning), "{said}");
    let (good, said) = check(&["--anonymous-auth", "--kubeconfig=kubeconfig"]);
    assert!(good && said.contains("warning: --kubeconfig: nothing looks at the cluster\n"), "{said}");
    let (good, said) = check(&FLAGS[..1]);
    assert!(
        !good && said.starts_with("error: --kubeconfig: no cluster: set --kubeconfig, or run as a pod"),
        "{said}"
    );
    fs::write(folder.path().join("kubeconfig"), "users: [{name: x, user: {token: [hunter2]}}]").unwrap();
    let (good, said) = check(&FLAGS);
    assert!(!good && !said.contains("hunter2"), "{said}");
    assert_eq!(said, "error: --kubeconfig: kubeconfig: not a kubeconfig: a field should be a string\n");
    fs::remove_file(folder.path().join("kubeconfig")).unwrap();
    let (good, said) = check(&FLAGS);
    assert!(!good && said.starts_with("error: --kubeconfig: kubeconfig: cannot be read: "), "{said}");
}
