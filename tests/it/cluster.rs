//! The program beside an API server that says what it is told to. What a real one says is in tests/kube.

use std::fs;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use crate::support::api_server::{ApiServer, bootstrap_tokens};
use crate::support::envoy::{Encoding, Request, check_request};
use crate::support::program::{Server, countersign};

const FLAGS: [&str; 4] = [
    "--enable-bootstrap-token-auth",
    "--kubeconfig=kubeconfig",
    "--log-level=trace",
    "--reload-interval=20ms",
];
const SECRET: &str = "hunter2hunter2hu";

fn list(id: &str) -> String {
    bootstrap_tokens([id.to_owned()], SECRET)
}

/// Puts a kubeconfig in the place of another.
fn replace(folder: &Path, api: &ApiServer) {
    fs::write(folder.join("new"), api.kubeconfig("hunter2")).unwrap();
    fs::rename(folder.join("new"), folder.join("kubeconfig")).unwrap();
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

/// Nobody is sent here who would be refused only because nothing is known yet; who comes all the same is refused, undecided. And an
/// answer that cannot be read, which the client library quotes with all that is secret in it, is not in the log.
#[tokio::test]
async fn a_replica_is_not_ready_before_it_knows_the_cluster_and_quotes_nothing_of_it() {
    let folder = TempDir::new().unwrap();
    let unreadable = json!({"metadata": {"resourceVersion": "10"}, "items": [{"data": SECRET}]}).to_string();
    let api = ApiServer::start(200, &unreadable);
    replace(folder.path(), &api);
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
    server.until_ready().await;
    assert_eq!(denied(&server, "abcdef").await, None);
    assert_eq!(denied(&server, "fedcba").await, Some(401));
    assert!(!server.logged().contains("hunter2"), "{}", server.logged());
}

/// Another kubeconfig is taken up like any other file, and what was known counts until the new cluster is known.
#[tokio::test]
async fn a_changed_kubeconfig_takes_over_once_its_cluster_is_known() {
    let folder = TempDir::new().unwrap();
    let old = ApiServer::start(200, &list("abcdef"));
    replace(folder.path(), &old);
    let mut server = Server::start(folder.path(), &FLAGS);
    server.until_ready().await;
    assert_eq!(denied(&server, "abcdef").await, None);

    let new = ApiServer::start(500, "");
    replace(folder.path(), &new);
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
    replace(folder.path(), &api);
    let (good, said) = check(&FLAGS);
    let warning = "warning: --kubeconfig: kubeconfig: the server is asked in plaintext, and not told who asks: whoever is in \
                   between says who is who\n";
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
    assert_eq!(
        said,
        "error: --kubeconfig: kubeconfig: not a kubeconfig: a value has another type than a string\n"
    );
    fs::remove_file(folder.path().join("kubeconfig")).unwrap();
    let (good, said) = check(&FLAGS);
    assert!(!good && said.starts_with("error: --kubeconfig: kubeconfig: cannot be read: "), "{said}");
}
