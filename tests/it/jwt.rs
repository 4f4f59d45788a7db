//! Issuers of JSON Web Tokens that come and go while the program runs: health, metrics and reloads. Verdicts on tokens are in the
//! recorded vectors.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::message::{ask, get, verdict};
use crate::port::hold;
use crate::support::program::{Server, until};
use crate::support::tls;
use crate::webhook::{self, Webhook};

/// An issuer with one key at a port of its own, which refuses connections until it is up.
pub(crate) struct Issuer {
    url: String,
    certificate: rcgen::Certificate,
    tls_key: KeyPair,
    key: KeyPair,
    port: Option<TcpSocket>,
    serving: Option<JoinHandle<()>>,
}

impl Drop for Issuer {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

impl Issuer {
    fn down() -> Self {
        Self::down_at("localhost")
    }

    /// One whose URL has this host.
    fn down_at(host: &str) -> Self {
        let port = hold(0);
        let url = format!("https://{host}:{}", port.local_addr().unwrap().port());
        let tls_key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new([host.to_owned()]).unwrap().self_signed(&tls_key).unwrap();
        let key = KeyPair::generate().unwrap();
        Self { url, certificate, tls_key, key, port: Some(port), serving: None }
    }

    pub(crate) fn up() -> Self {
        let mut issuer = Self::down();
        issuer.come_up();
        issuer
    }

    fn come_up(&mut self) {
        let listener = self.port.take().unwrap().listen(64).unwrap();
        let point = &self.key.public_key_raw()[1..];
        let [x, y] = [&point[..32], &point[32..]].map(|half| BASE64_URL_SAFE_NO_PAD.encode(half));
        let keys = json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "1", "x": x, "y": y}]}).to_string();
        let document = json!({"issuer": self.url, "jwks_uri": format!("{}/keys", self.url)}).to_string();
        let key = PrivatePkcs8KeyDer::from(self.tls_key.serialize_der()).into();
        let tls = tls::server(vec![self.certificate.der().clone()], key);
        self.serving = Some(tokio::spawn(serve(listener, TlsAcceptor::from(tls), document, keys)));
    }

    /// `jwt[…]` of a configuration, with a prefix that tells configurations apart.
    pub(crate) fn configured(&self, prefix: &str) -> Value {
        json!({
            "issuer": {"url": self.url, "audiences": ["a"], "certificateAuthority": self.certificate.pem()},
            "claimMappings": {"username": {"claim": "sub", "prefix": prefix}},
        })
    }

    fn token(&self) -> String {
        self.token_with(&json!({}))
    }

    /// One with more claims.
    pub(crate) fn token_with(&self, more: &Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let mut claims = json!({"iss": self.url, "aud": "a", "sub": "alice", "exp": now + 600});
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let claims = claims.to_string();
        let header = json!({"alg": "ES256", "kid": "1"}).to_string();
        let signed = [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part)).join(".");
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.key.serialize_der()).unwrap();
        let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, document: String, keys: String) {
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let Ok(mut connection) = tls.accept(tcp).await else { continue };
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            let Ok(byte) = connection.read_u8().await else { break };
            request.push(byte);
        }
        let body = if request.starts_with(b"GET /keys ") { &keys } else { &document };
        let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: application/json";
        let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
        connection.write_all(answer.as_bytes()).await.ok();
        connection.shutdown().await.ok();
    }
}

const FLAGS: [&str; 4] = [
    "--authentication-config=authn.yaml",
    "--token-auth-file=tokens.csv",
    "--anonymous-auth=false",
    "--reload-interval=50ms",
];

fn write(folder: &TempDir, jwt: &[Value], token: &str) {
    let version = "apiserver.config.k8s.io/v1";
    let config =
        json!({"apiVersion": version, "kind": "AuthenticationConfiguration", "jwt": jwt}).to_string();
    for (name, text) in [("tokens.csv", format!("{token},carol,1\n")), ("authn.yaml", config)] {
        // One that stays as it is is not to be loaded by itself, before the other.
        if fs::read(folder.path().join(name)).is_ok_and(|there| there == text.as_bytes()) {
            continue;
        }
        fs::write(folder.path().join("new"), text).unwrap();
        fs::rename(folder.path().join("new"), folder.path().join(name)).unwrap();
    }
}

async fn is_ready(server: &Server) -> bool {
    let mut health = HealthClient::new(server.channel().await);
    let health = health.check(HealthCheckRequest::default()).await.unwrap().get_ref().status();
    let (status, _) = server.admin_page("/readyz").await;
    (status, health) == (200, ServingStatus::Serving)
}

/// A replica is sent requests when it has keys; an issuer that is away takes it out of service for a moment only, and is told of.
#[tokio::test(flavor = "multi_thread")] // the start blocks, and the issuers are in this process
async fn a_replica_is_ready_when_its_issuers_have_answered_or_failed() {
    let folder = tempfile::tempdir().unwrap();
    let (up, mut down) = (Issuer::up(), Issuer::down());
    write(&folder, &[up.configured("up:"), down.configured("down:")], "token-1");
    let server = Server::start(folder.path(), &FLAGS);
    until("ready", async || is_ready(&server).await).await;
    // From the first request on.
    assert_eq!(ask(&server, &up.token()).await, Ok("up:alice".to_owned()));
    assert_eq!(ask(&server, &down.token()).await, Err(401));
    assert_eq!(ask(&server, "token-1").await, Ok("carol".to_owned()));
    let (status, page) = server.admin_page("/readyz?verbose").await;
    assert_eq!(status, 200);
    assert!(page.contains(&format!("[+]jwt-issuer ok: {}: 1 keys, ", up.url)), "{page}");
    let refused = format!("[+]jwt-issuer ok: {}: no keys yet, its tokens are refused; ", down.url);
    assert!(page.contains(&refused), "{page}");
    let (_, metrics) = server.admin_page("/metrics").await;
    for line in [
        format!("countersign_jwt_issuer_keys{{jwt_issuer=\"{}\"}} 1\n", up.url),
        format!("countersign_jwt_issuer_keys{{jwt_issuer=\"{}\"}} 0\n", down.url),
        format!("countersign_jwt_issuer_fetch_failures{{jwt_issuer=\"{}\"}} 0\n", up.url),
        format!("countersign_jwt_issuer_keys_age_seconds{{jwt_issuer=\"{}\"}} ", up.url),
    ] {
        assert!(metrics.contains(&line), "{line} in\n{metrics}");
    }
    assert!(!metrics.contains(&format!("keys_age_seconds{{jwt_issuer=\"{}\"", down.url)), "{metrics}");

    down.come_up();
    until("healed", async || ask(&server, &down.token()).await == Ok("down:alice".to_owned())).await;
}

/// Go: `Config.New` of k8s.io/kubernetes/pkg/kubeapiserver/authenticator/config.go: what an issuer says of its token is the last word
/// among issuers (`tokenunion.NewFailOnError`), but all of these are one member of the union of token authenticators
/// (`tokenunion.New`), which goes on to the webhook. tests/kube asks a real kube-apiserver.
#[tokio::test(flavor = "multi_thread")] // the issuer and the webhook are in this process
async fn a_token_that_its_issuer_refuses_may_still_be_known_to_the_webhook() {
    let folder = tempfile::tempdir().unwrap();
    let (issuer, mut webhook) = (Issuer::up(), Webhook::down());
    webhook.configure(folder.path());
    webhook.come_up();
    write(&folder, &[issuer.configured("jwt:")], "token-1");
    let server = Server::start(folder.path(), &[&FLAGS[..1], &webhook::FLAGS].concat());
    until("ready", async || is_ready(&server).await).await;
    assert_eq!(ask(&server, &issuer.token()).await, Ok("jwt:alice".to_owned()));
    assert_eq!(webhook.heads().len(), 0, "who has been let in is not asked for");
    for refused in [json!({"exp": 1}), json!({"aud": "b"}), json!({"sub": 1})] {
        let refused = issuer.token_with(&refused);
        assert_eq!(ask(&server, &refused).await, Err(401));
        webhook.learn(&refused);
        assert_eq!(ask(&server, &refused).await, Ok("alice".to_owned()));
    }
    assert_eq!(webhook.heads().len(), 6);
}

/// Go: `http.ProxyFromEnvironment`, which `New` of the OIDC authenticator has from `net.SetTransportDefaults`: discovery and keys come
/// through the proxy, unless `NO_PROXY` has the host.
#[tokio::test(flavor = "multi_thread")] // the issuers and the proxy are in this process
async fn keys_come_by_way_of_the_proxy_that_the_environment_names() {
    let folder = tempfile::tempdir().unwrap();
    // Nobody but the proxy knows where these are.
    let [mut proxied, mut direct] = ["issuer.invalid", "direct.invalid"].map(Issuer::down_at);
    proxied.come_up();
    direct.come_up();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://me:s3cr3t@{}", listener.local_addr().unwrap());
    let heads = Arc::new(Mutex::new(Vec::new()));
    let serving = tokio::spawn(tunnel(listener, Arc::clone(&heads)));
    write(&folder, &[proxied.configured("proxied:"), direct.configured("direct:")], "token-1");
    let mut command = Server::command(folder.path(), &FLAGS);
    command.envs([("HTTPS_PROXY", &*proxy), ("NO_PROXY", "elsewhere.test,direct.invalid")]);
    let mut server = Server::run(command);
    until("the issuer's keys", async || {
        ask(&server, &proxied.token()).await == Ok("proxied:alice".to_owned())
    })
    .await;
    let refused = format!("countersign_jwt_issuer_fetch_failures{{jwt_issuer=\"{}\"}} 0\n", direct.url);
    until("a failure", async || !server.admin_page("/metrics").await.1.contains(&refused)).await;
    assert_eq!(ask(&server, &direct.token()).await, Err(401));
    // Once for the document and once for the keys.
    let host = proxied.url.strip_prefix("https://").unwrap();
    let head =
        format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\nProxy-Authorization: Basic bWU6czNjcjN0\r\n\r\n");
    assert_eq!(*heads.lock().unwrap(), [head.clone(), head]);
    server.signal("TERM");
    server.wait_for("stopped");
    assert!(!server.logged().contains("s3cr3t"), "{}", server.logged());
    serving.abort();
}

/// A proxy that does what CONNECT says, on this host whatever name is asked for.
async fn tunnel(listener: TcpListener, heads: Arc<Mutex<Vec<String>>>) {
    while let Ok((mut client, _)) = listener.accept().await {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(client.read_u8().await.unwrap());
        }
        let head = String::from_utf8(head).unwrap();
        let target = head.split(' ').nth(1).unwrap();
        let port: u16 = target.rsplit(':').next().unwrap().parse().unwrap();
        let mut issuer = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        heads.lock().unwrap().push(head);
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
        tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut issuer).await.map(drop) });
    }
}

/// Go: `updateAuthenticationConfig`: a new set of issuers is used when it is healthy, and until then the old one. Other files are
/// not held up.
#[tokio::test(flavor = "multi_thread")] // `wait_for` blocks, and the issuers are in this process
async fn issuers_are_changed_when_the_new_ones_are_there_and_nothing_else_waits_for_them() {
    let folder = tempfile::tempdir().unwrap();
    let (old, mut new) = (Issuer::up(), Issuer::down());
    write(&folder, &[old.configured("1:")], "token-1");
    let mut server = Server::start(folder.path(), &FLAGS);
    until("ready", async || is_ready(&server).await).await;
    assert_eq!(ask(&server, &old.token()).await, Ok("1:alice".to_owned()));

    write(&folder, &[old.configured("2:"), new.configured("2:")], "token-2");
    let missing =
        "the keys of a new issuer are not there; until they are, the issuers that were go on serving";
    assert_eq!(server.wait_for(missing)["fields"]["issuer"], *new.url);
    server.wait_for("reloaded");
    assert_eq!(ask(&server, "token-1").await, Err(401), "withdrawn");
    assert_eq!(ask(&server, "token-2").await, Ok("carol".to_owned()));
    assert_eq!(ask(&server, &old.token()).await, Ok("1:alice".to_owned()));
    assert_eq!(ask(&server, &new.token()).await, Err(401));
    let (status, page) = server.admin_page("/readyz?verbose").await;
    assert!(
        status == 200 && page.contains("[+]config ok: the last change was refused, or new issuers"),
        "{page}"
    );

    new.come_up();
    server.wait_for("reloaded");
    assert_eq!(ask(&server, &old.token()).await, Ok("2:alice".to_owned()));
    assert_eq!(ask(&server, &new.token()).await, Ok("2:alice".to_owned()));
    let (_, metrics) = server.admin_page("/metrics").await;
    assert!(metrics.contains("countersign_config_last_reload_successful 1\n"), "{metrics}");

    // One that is withdrawn is withdrawn at once.
    write(&folder, &[new.configured("3:")], "token-2");
    server.wait_for("reloaded");
    assert_eq!(ask(&server, &old.token()).await, Err(401));
    assert_eq!(ask(&server, &new.token()).await, Ok("3:alice".to_owned()));
}

/// S35: a token whose groups are elsewhere, where nobody answers, has no verdict in time, and then a denial: not an identity without
/// groups. It holds nobody up.
#[tokio::test]
async fn a_token_that_waits_for_its_claims_is_refused_and_holds_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    let issuer = Issuer::up();
    let mut configured = issuer.configured("");
    configured["claimMappings"]["groups"] = json!({"claim": "groups", "prefix": ""});
    write(&folder, &[configured], "token-1");
    let server = Server::start(folder.path(), &FLAGS);
    until("ready", async || is_ready(&server).await).await;

    // Connections come about, and that is all.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let token = issuer.token_with(&json!({
        "_claim_names": {"groups": "s"},
        "_claim_sources": {"s": {"endpoint": format!("https://{}/", silent.local_addr().unwrap())}},
    }));
    let authorization = format!("Bearer {token}");
    let request = || get("/", &[("authorization", authorization.as_bytes())]);
    let mut hurried = tonic::Request::new(request());
    hurried.set_timeout(Duration::from_millis(100));
    let status = server.client().await.check(hurried).await.unwrap_err();
    assert!(matches!(status.code(), Code::DeadlineExceeded | Code::Cancelled), "{status:?}");

    let mut client = server.client().await;
    let waits = client.check(request());
    let others = async {
        assert_eq!(ask(&server, &issuer.token()).await, Ok("alice".to_owned()));
        assert_eq!(ask(&server, "token-1").await, Ok("carol".to_owned()));
        drop(silent);
    };
    let (response, ()) = tokio::join!(waits, others);
    assert_eq!(verdict(response.unwrap().get_ref()), Err(401));
}
