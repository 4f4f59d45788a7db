//! The program with a credential of its own for the upstream, beside an API server that says what it is told to. What a real one says is
//! in tests/kube.

use std::fs;

use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use serde_json::json;
use tempfile::TempDir;

use crate::message::get;
use crate::support::api_server::ApiServer;
use crate::support::program::{Server, countersign};

const FLAGS: [&str; 8] = [
    "--token-auth-file=tokens.csv",
    "--identity-headers=impersonate",
    "--impersonate-token-file=upstream.token",
    "--allow-impersonation",
    "--kubeconfig=kubeconfig",
    "--undecided-status=503",
    "--log-level=trace",
    "--shutdown-delay-duration=0s",
];

/// A folder with all that the flags name.
fn folder(api: &ApiServer) -> TempDir {
    let folder = TempDir::new().unwrap();
    let file = |name: &str, content: &str| fs::write(folder.path().join(name), content).unwrap();
    file("tokens.csv", "alice-token,alice,1,dev\n");
    file("upstream.token", "hunter2");
    file("kubeconfig", &api.kubeconfig("hunter3"));
    folder
}

/// Whom the upstream is told of and with which credential, or the status of a denial.
async fn told(server: &Server, user: Option<&str>) -> Result<[String; 2], i32> {
    let asked = user.map(|user| ("impersonate-user", user.as_bytes()));
    let headers: Vec<_> = [("authorization", &b"Bearer alice-token"[..])].into_iter().chain(asked).collect();
    let response = server.client().await.check(get("/", &headers)).await.unwrap().into_inner();
    match response.http_response {
        Some(HttpResponse::OkResponse(ok)) => {
            let value = |name| {
                ok.headers.iter().filter_map(|h| h.header.clone()).find(|h| h.key == name).unwrap().value
            };
            Ok(["impersonate-user", "authorization"].map(value))
        }
        Some(HttpResponse::DeniedResponse(denied)) => Err(denied.status.unwrap().code),
        other => panic!("{other:?}"),
    }
}

fn review(allowed: bool) -> String {
    let review = "SubjectAccessReview";
    json!({"apiVersion": "authorization.k8s.io/v1", "kind": review, "spec": {}, "status": {"allowed": allowed}}).to_string()
}

/// Nobody waits for an API server that only impersonation needs. No word of its, and no credential, is in the log at any level.
#[tokio::test]
async fn whoever_impersonates_depends_on_the_cluster_and_nobody_else_does() {
    let api = ApiServer::start(500, "hunter4");
    let folder = folder(&api);
    let mut server = Server::start(folder.path(), &FLAGS);
    server.until_ready().await;
    let ours = |user: &str| Ok([user.to_owned(), "Bearer hunter2".to_owned()]);
    assert_eq!(told(&server, None).await, ours("alice"));
    assert_eq!(told(&server, Some("bob")).await, Err(503));
    for nonsense in ["hunter4", "{}", r#"{"status": "hunter4"}"#] {
        api.says(201, nonsense);
        assert!(matches!(told(&server, Some("bob")).await, Err(401 | 503)), "{nonsense}");
    }
    api.says(201, &review(true));
    assert_eq!(told(&server, Some("bob")).await, ours("bob"));
    api.says(201, &review(false));
    assert_eq!(told(&server, Some("bob")).await, Err(401));
    assert_eq!(told(&server, None).await, ours("alice"));
    server.signal("TERM");
    server.wait_for("stopped");
    let log = server.logged();
    assert!(
        log.contains("cannot ask the cluster what somebody may do")
            && log.contains("impersonation_forbidden")
    );
    assert!(!log.contains("hunter"), "{log}");
}

#[test]
fn check_config_tells_all_that_is_wrong_at_once() {
    let folder = folder(&ApiServer::start(500, ""));
    fs::write(folder.path().join("upstream.token"), "hunter2\nhunter2").unwrap();
    let flags = [&FLAGS[..4], &["--groups-encoding=indexed", "--identity-user-header=X-User"]].concat();
    let output = countersign("check-config", folder.path(), &flags)
        .env_remove("KUBERNETES_SERVICE_HOST")
        .output()
        .unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    let begin: Vec<_> =
        said.lines().map(|line| line.split(": ").take(2).collect::<Vec<_>>().join(": ")).collect();
    assert_eq!(
        begin,
        [
            "error: --kubeconfig",
            "error: --identity-user-header",
            "error: --groups-encoding",
            "error: --impersonate-token-file",
        ]
    );
    assert!(!output.status.success() && !said.contains("hunter"), "{said}");
}
