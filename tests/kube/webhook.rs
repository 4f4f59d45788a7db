//! A real kube-apiserver as the webhook: its TokenReview API says whose a token is. And one that has a webhook itself.

use std::fs;

use serde_json::json;
use tempfile::TempDir;

use super::cluster::{Cluster, Port, READY_ROW, READY_TOKEN};
use super::generate::Case;
use super::random::Random;
use super::support::envoy::Request;
use super::support::issuers::Issuers;
use super::support::subject::Subject;
use super::support::verdict::{User, Verdict};
use super::support::webhook::Webhooks;
use super::vectors::data;
use super::wire::SERVER_NAME;
use super::{jwt, kube_apiserver};

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

/// What an issuer says of its token is the last word among issuers, not among all who know tokens.
#[tokio::test(flavor = "multi_thread")] // the start of a server blocks, and issuers and webhook are in this process
async fn a_token_that_its_issuer_refuses_may_still_be_known_to_the_webhook() {
    let mut random = Random::from_env("refused by the issuer");
    let folder = TempDir::new().unwrap();
    let forge = jwt::Forge::new(folder.path(), &mut random);
    let _issuers = Issuers::start(folder.path()).await;
    let good = forge.good(&mut random)[..1].to_vec();
    let (name, value) = good[0].headers[0].clone();
    let value = String::from_utf8(value).unwrap();
    let (signed, _) = value.rsplit_once('.').unwrap();
    let [known, unknown] = ["AAAA", "BBBB"].map(|signature| format!("{signed}.{signature}"));

    let world = data("world");
    let [held] = Port::hold();
    let port = held.number();
    let mallory = json!({"status": {"authenticated": true, "user": {"username": "mallory"}}});
    let table = json!({
        "servers": [{
            "listen": format!("127.0.0.1:{port}"),
            "cert": world.join("serving/webhook.pem"), "key": world.join("serving/webhook.key"),
        }],
        "tokens": {known.strip_prefix("Bearer ").unwrap(): mallory},
    });
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}],
        "clusters": [{"name": "c", "cluster": {
            "server": format!("https://127.0.0.1:{port}/authenticate"), "certificate-authority": world.join("ca/webhook-ca.pem")}}],
        "users": [{"name": "c", "user": {}}],
    });
    fs::create_dir(folder.path().join("webhook")).unwrap();
    fs::write(folder.path().join("webhook/table.json"), table.to_string()).unwrap();
    fs::write(folder.path().join("webhook.kubeconfig"), kubeconfig.to_string()).unwrap();
    fs::write(folder.path().join("tokens.csv"), READY_ROW).unwrap();
    let _webhook = Webhooks::start(folder.path()).await;
    let flags: Vec<String> = [
        jwt::FLAGS[0],
        jwt::FLAGS[1],
        "--authentication-token-webhook-config-file=webhook.kubeconfig",
        "--authentication-token-webhook-version=v1",
    ]
    .map(str::to_owned)
    .into();

    let cases = [known, unknown].map(|value| {
        let request = Request { headers: vec![(name.clone(), value.into_bytes())], ..good[0].clone() };
        Case { family: "signature", request }
    });
    let theirs = kube_apiserver(folder.path(), &flags, &good, &cases).await;
    let mallory = User {
        username: "mallory".into(),
        groups: vec!["system:authenticated".to_owned()],
        ..User::default()
    };
    assert_eq!(theirs, [Verdict::Authenticated(mallory), Verdict::Refused]);
    let subject = Subject::start(folder.path(), &flags).await;
    subject.until_ready().await;
    for (case, expected) in cases.iter().zip(theirs) {
        for (encoding, verdict) in subject.verdicts(&case.request).await {
            assert_eq!(verdict, Ok(expected.clone()), "{encoding:?}");
        }
    }
}
