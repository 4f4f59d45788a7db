//! A token review webhook behind countersign behind Envoy.

use s2n_tls::config::Config;
use s2n_tls::security::DEFAULT_TLS13;
use s2n_tls_tokio::TlsAcceptor;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

use crate::denials::UNAUTHORIZED;
use crate::support::issuer::answer;
use crate::support::{Authority, Incoming, Setup, eventually, header_value};

/// Says that the token `webhook-token` is erin's.
async fn serve(listener: TcpListener, tls: TlsAcceptor) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let tls = tls.clone();
        connections.spawn(async move { answers(stream, &tls).await });
    }
}

/// Answers until the other side has enough.
async fn answers(stream: TcpStream, tls: &TlsAcceptor) -> Option<()> {
    let mut connection = Incoming::new(tls.accept(stream).await.ok()?);
    loop {
        let head = connection.head().await?;
        let body = connection.exactly(header_value(&head, "content-length")?.parse().ok()?).await?;
        let review: Value = serde_json::from_slice(&body).ok()?;
        let user = json!({"username": "erin", "uid": "e-1", "groups": ["a", "b"], "extra": {"team": ["x"]}});
        let status = json!({"authenticated": review["spec"]["token"] == "webhook-token", "user": user});
        let said = json!({"kind": "TokenReview", "apiVersion": review["apiVersion"], "status": status});
        let said = answer("201 Created", "content-type: application/json\r\n", &said.to_string());
        connection.stream.write_all(said.as_bytes()).await.ok()?;
    }
}

/// Starts it on a port of its own, and says what a kubeconfig has to say of it.
async fn start() -> (JoinHandle<()>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = Authority::root("webhooks");
    let own = authority.serve("localhost");
    let mut tls = Config::builder();
    tls.set_security_policy(&DEFAULT_TLS13).unwrap();
    tls.load_pem(own.chain.as_bytes(), own.key.as_bytes()).unwrap();
    let server = format!("https://localhost:{}/authenticate", listener.local_addr().unwrap().port());
    let kubeconfig = json!({
        "clusters": [{"name": "k", "cluster": {"server": server, "certificate-authority": "webhook-ca.pem"}}],
        "contexts": [{"name": "c", "context": {"cluster": "k"}}],
        "current-context": "c",
    });
    (
        tokio::spawn(serve(listener, TlsAcceptor::new(tls.build().unwrap()))),
        format!("{kubeconfig}\n{}", authority.pem),
    )
}

/// The user of the webhook arrives whole; without it there is a 401, and who is known otherwise gets through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_user_of_a_webhook_arrives_and_without_the_webhook_there_is_a_401() {
    let (webhook, files) = start().await;
    let (kubeconfig, authority) = files.split_once('\n').unwrap();
    let stack = Setup::new()
        .file("webhook.kubeconfig", kubeconfig)
        .file("webhook-ca.pem", authority)
        .flags(&[
            "--authentication-token-webhook-config-file=webhook.kubeconfig",
            "--authentication-token-webhook-cache-ttl=0s",
            "--token-success-cache-ttl=0s",
        ])
        .start()
        .await;
    let edge = &stack.envoy.edge;
    let good = "authorization: Bearer webhook-token";
    for response in edge.both(&[good]).await {
        let expected = [
            "x-remote-user: erin",
            "x-remote-uid: e-1",
            "x-remote-group: a,b,system:authenticated",
            "x-remote-extra-team: x",
        ];
        assert_eq!(response.forwarded(), expected);
    }
    for response in edge.both(&["authorization: Bearer another-token"]).await {
        assert_eq!((response.status, response.body.as_str()), (401, UNAUTHORIZED));
    }
    webhook.abort();
    eventually("the webhook ends", async || webhook.is_finished().then_some(())).await;
    for response in edge.both(&[good]).await {
        assert_eq!((response.status, response.body.as_str()), (401, UNAUTHORIZED));
    }
    for response in edge.both(&["authorization: Bearer alice-token"]).await {
        assert_eq!(response.status, 200);
    }
}
