//! A real kube-apiserver as the webhook: its TokenReview API says whose a token is.

use std::fs;

use serde_json::json;
use tempfile::TempDir;

use super::cluster::{Cluster, READY_ROW, READY_TOKEN};
use super::support::envoy::Request;
use super::support::subject::Subject;
use super::support::verdict::{User, Verdict};
use super::wire::SERVER_NAME;

#[tokio::test]
async fn the_token_review_api_of_kube_apiserver_says_who_somebody_is() {
    let world = TempDir::new().unwrap();
    let erin = "erin-token,erin,e-1,\"dev,ops\"\n";
    fs::write(world.path().join("tokens.csv"), format!("{READY_ROW}{erin}")).unwrap();
    let cluster = Cluster::start(world.path(), &["--token-auth-file=tokens.csv".into()]).await;
    let server =
        format!("https://127.0.0.1:{}/apis/authentication.k8s.io/v1/tokenreviews", cluster.door.port);
    let kubeconfig = json!({
        "clusters": [{"name": "k", "cluster": {
            "server": server, "tls-server-name": SERVER_NAME, "certificate-authority": cluster.certificate()}}],
        "users": [{"name": "u", "user": {"token": READY_TOKEN}}],
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "current-context": "c",
    });
    fs::write(world.path().join("kubeconfig"), kubeconfig.to_string()).unwrap();
    let erin = Verdict::Authenticated(User {
        username: "erin".into(),
        uid: "e-1".into(),
        groups: ["dev", "ops", "system:authenticated"].map(str::to_owned).into(),
        ..User::default()
    });
    let table = [
        (None, "erin-token", erin.clone()),
        (None, "nobodys-token", Verdict::Refused),
        (Some("https://issuer.example.test,other"), "erin-token", erin),
        (Some("elsewhere"), "erin-token", Verdict::Refused),
    ];
    for (audiences, token, expected) in table {
        let mut flags = vec![
            "--authentication-token-webhook-config-file=kubeconfig".to_owned(),
            "--authentication-token-webhook-version=v1".to_owned(),
            "--anonymous-auth=false".to_owned(),
        ];
        flags.extend(audiences.map(|audiences| format!("--api-audiences={audiences}")));
        let subject = Subject::start(world.path(), &flags).await;
        let request = Request {
            method: "GET".into(),
            path: "/".into(),
            headers: vec![("Authorization".into(), format!("Bearer {token}").into_bytes())],
            certificates: Vec::new(),
            key: None,
        };
        for (encoding, verdict) in subject.verdicts(&request).await {
            assert_eq!(verdict, Ok(expected.clone()), "{audiences:?} {token} {encoding:?}");
        }
    }
}
