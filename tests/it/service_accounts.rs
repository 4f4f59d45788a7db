//! Service account tokens over the real listener. Verdicts on tokens as such are in the recorded vectors.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use envoy_types::pb::envoy::service::auth::v3::CheckResponse;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use rcgen::KeyPair;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::message::{get, verdict};
use crate::support::program::{Server, countersign};

/// A cluster's signing key, and the file that tells it to countersign.
pub(crate) struct Cluster {
    folder: TempDir,
    pub(crate) key: KeyPair,
}

const OFFLINE: &str = "--service-account-lookup-mode=offline";
const FLAGS: [&str; 4] = [
    "--service-account-key-file=sa.pub",
    "--service-account-issuer=https://kubernetes.default.svc",
    "--reload-interval=50ms",
    OFFLINE,
];

impl Cluster {
    pub(crate) fn new() -> Self {
        let cluster = Self { folder: tempfile::tempdir().unwrap(), key: KeyPair::generate().unwrap() };
        fs::write(cluster.folder.path().join("sa.pub"), cluster.key.public_key_pem()).unwrap();
        cluster
    }

    fn start(&self, more: &[&str]) -> Server {
        Server::start(self.folder.path(), &[&FLAGS, more].concat())
    }

    /// As kube-apiserver signs, but without `kid`.
    fn sign(&self, claims: &Value) -> String {
        let encode = |text: String| BASE64_URL_SAFE_NO_PAD.encode(text);
        let signed =
            format!("{}.{}", encode(json!({"alg": "ES256"}).to_string()), encode(claims.to_string()));
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &self.key.serialize_der()).unwrap();
        let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
    }

    /// A token that a Pod gets.
    pub(crate) fn token(&self, expires_in: i64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let now = i64::try_from(now).unwrap();
        self.sign(&json!({
            "aud": ["https://kubernetes.default.svc"], "iss": "https://kubernetes.default.svc",
            "iat": now - 3600, "nbf": now - 3600, "exp": now + expires_in, "jti": "6c8f", "sub": "system:serviceaccount:apps:web",
            "kubernetes.io": {
                "namespace": "apps", "serviceaccount": {"name": "web", "uid": "u-1"},
                "pod": {"name": "web-0", "uid": "u-2"}, "node": {"name": "n", "uid": "u-3"},
            },
        }))
    }

    /// A token that stands in a Secret.
    fn legacy_token(&self) -> String {
        self.sign(&json!({
            "iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:apps:old",
            "kubernetes.io/serviceaccount/namespace": "apps",
            "kubernetes.io/serviceaccount/secret.name": "old-token",
            "kubernetes.io/serviceaccount/service-account.name": "old",
            "kubernetes.io/serviceaccount/service-account.uid": "u-4",
        }))
    }
}

async fn check(server: &Server, token: &str) -> CheckResponse {
    let authorization = format!("Bearer {token}");
    let request = get("/", &[("authorization", authorization.as_bytes())]);
    server.client().await.check(request).await.unwrap().into_inner()
}

async fn user(server: &Server, token: &str) -> Result<String, i32> {
    verdict(&check(server, token).await)
}

const WEB: &str = "system:serviceaccount:apps:web";

#[tokio::test]
async fn a_pod_is_told_to_the_upstream_with_all_that_its_token_says() {
    let cluster = Cluster::new();
    let server = cluster.start(&["--groups-encoding=indexed"]);
    let Some(HttpResponse::OkResponse(ok)) = check(&server, &cluster.token(600)).await.http_response else {
        panic!("not OK")
    };
    let headers = ok.headers.into_iter().filter_map(|option| option.header);
    let mut lines: Vec<String> = headers.map(|header| format!("{}: {}", header.key, header.value)).collect();
    lines.sort();
    assert_eq!(
        lines,
        [
            "x-remote-extra-authentication.kubernetes.io%2fcredential-id: JTI=6c8f",
            "x-remote-extra-authentication.kubernetes.io%2fnode-name: n",
            "x-remote-extra-authentication.kubernetes.io%2fnode-uid: u-3",
            "x-remote-extra-authentication.kubernetes.io%2fpod-name: web-0",
            "x-remote-extra-authentication.kubernetes.io%2fpod-uid: u-2",
            "x-remote-group-1: system:serviceaccounts:apps",
            "x-remote-group-2: system:authenticated",
            "x-remote-group: system:serviceaccounts",
            "x-remote-uid: u-1",
            "x-remote-user: system:serviceaccount:apps:web",
        ]
    );
}

/// S33: what is not looked at is said at the start, and a token that would never end does not begin.
#[tokio::test]
async fn nobody_is_let_in_for_ever_unless_the_operator_says_so() {
    let cluster = Cluster::new();
    let (expired, legacy) = (cluster.token(-61), cluster.legacy_token());
    let mut server = cluster.start(&[]);
    assert!(server.logged().contains("a service account token counts until it expires, even if its account"));
    assert_eq!(user(&server, &cluster.token(-30)).await, Ok(WEB.to_owned()), "clocks may be a minute apart");
    assert_eq!(user(&server, &expired).await, Err(401));
    assert_eq!(
        server.wait_for("denied")["fields"]["rejected"],
        "serviceaccount: token_expired",
        "and nobody takes it for anonymous"
    );
    assert_eq!(user(&server, &legacy).await, Err(401));
    assert_eq!(server.wait_for("denied")["fields"]["rejected"], "legacyserviceaccount: never_expires");
    for token in [&expired, &legacy] {
        let payload = token.split('.').nth(1).unwrap();
        assert!(!server.logged().contains(payload), "a token in the log");
    }
    let server = cluster.start(&["--service-account-lookup=false"]);
    assert_eq!(user(&server, &legacy).await, Ok("system:serviceaccount:apps:old".to_owned()));
    assert_eq!(user(&server, &expired).await, Err(401));
}

/// Go: `Config.New`, "local first": the token file knows its tokens whatever they look like.
#[tokio::test]
async fn the_token_file_comes_before_service_accounts() {
    let cluster = Cluster::new();
    let token = cluster.token(600);
    fs::write(cluster.folder.path().join("tokens.csv"), format!("{token},alice,1\n")).unwrap();
    let server = cluster.start(&["--token-auth-file=tokens.csv"]);
    assert_eq!(user(&server, &token).await, Ok("alice".to_owned()));
    assert_eq!(user(&server, &cluster.token(601)).await, Ok(WEB.to_owned()));
    assert_eq!(user(&server, "a.b.c").await, Err(401));
}

/// A cluster changes its key in three steps: both keys known, the new one signs, the old one goes.
#[tokio::test]
async fn keys_are_rotated_without_a_restart() {
    let old = Cluster::new();
    let new = Cluster { folder: tempfile::tempdir().unwrap(), key: KeyPair::generate().unwrap() };
    let mut server = old.start(&[]);
    let file = old.folder.path().join("sa.pub");
    let replace = |text: &str| {
        fs::write(file.with_extension("new"), text).unwrap();
        fs::rename(file.with_extension("new"), &file).unwrap();
    };
    assert_eq!(user(&server, &new.token(600)).await, Err(401));
    replace(&format!("{}{}", old.key.public_key_pem(), new.key.public_key_pem()));
    server.wait_for("reloaded");
    for cluster in [&old, &new] {
        assert_eq!(user(&server, &cluster.token(600)).await, Ok(WEB.to_owned()));
    }
    replace("no key\n");
    server.wait_for("not reloaded; the old configuration goes on serving");
    assert_eq!(user(&server, &new.token(600)).await, Ok(WEB.to_owned()));
    replace(&new.key.public_key_pem());
    server.wait_for("reloaded");
    assert_eq!(user(&server, &old.token(600)).await, Err(401));
    assert_eq!(user(&server, &new.token(600)).await, Ok(WEB.to_owned()));
}

/// kube-apiserver looks at live objects. Outside of its cluster its flags alone say nothing about where they are.
#[test]
fn kube_apiservers_flags_start_where_there_is_a_cluster_or_consent_to_do_without() {
    let cluster = Cluster::new();
    let taken_over =
        [&FLAGS[..3], &["--service-account-signing-key-file=sa.key", "--anonymous-auth=false"]].concat();
    let check = |more: &[&str]| {
        let mut command = countersign("check-config", cluster.folder.path(), &[&taken_over, more].concat());
        let output = command.env_remove("KUBERNETES_SERVICE_HOST").output().unwrap();
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap())
    };
    let none = String::new();
    assert_eq!(
        check(&[]),
        [
            none.clone(),
            "error: --kubeconfig: no cluster: set --kubeconfig, or run as a pod, which has KUBERNETES_SERVICE_HOST and \
             KUBERNETES_SERVICE_PORT; or let service account tokens count until they expire, with \
             --service-account-lookup-mode=offline\n"
                .to_owned()
        ]
    );
    let ignored = "warning: --service-account-signing-key-file does nothing here: no tokens are issued\n";
    assert_eq!(
        check(&[OFFLINE]),
        [
            format!(
                "{ignored}warning: --service-account-lookup-mode=offline: a service account token counts until it expires, even if \
                 its account, or the pod, node or secret that it is bound to, is gone\n\
                 warning: legacy service account tokens are refused: they never expire, and nobody looks whether their secrets are \
                 still there\nthe configuration is good\n"
            ),
            none.clone()
        ]
    );
    let kubeconfig = json!({
        "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
    });
    fs::write(cluster.folder.path().join("kubeconfig"), kubeconfig.to_string()).unwrap();
    let good = format!("{ignored}the configuration is good\n");
    assert_eq!(check(&["--kubeconfig=kubeconfig"]), [good, none]);
}

/// While nobody knows what there is, nobody is let in: a token is refused for the want of an answer, within a bound.
#[tokio::test]
async fn a_cluster_that_is_away_lets_nobody_in() {
    let cluster = Cluster::new();
    let kubeconfig = json!({
        "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
    });
    fs::write(cluster.folder.path().join("kubeconfig"), kubeconfig.to_string()).unwrap();
    fs::write(cluster.folder.path().join("tokens.csv"), "t,alice,1\n").unwrap();
    let flags = ["--kubeconfig=kubeconfig", "--undecided-status=503", "--token-auth-file=tokens.csv"];
    let mut server = Server::start(cluster.folder.path(), &[&FLAGS[..3], &flags].concat());
    assert_eq!(user(&server, &cluster.token(600)).await, Err(503));
    assert_eq!(server.wait_for("denied")["fields"]["rejected"], "serviceaccount: cluster_unavailable");
    // To kube-apiserver it may be the account's, so it is nobody else's here.
    let authorization = format!("Bearer {}", cluster.token(600));
    let two_tokens = get(
        "/",
        &[
            ("authorization", authorization.as_bytes()),
            ("upgrade", b"websocket"),
            ("connection", b"Upgrade"),
            ("sec-websocket-protocol", b"base64url.bearer.authorization.k8s.io.dA, v4.channel.k8s.io"),
        ],
    );
    let response = server.client().await.check(two_tokens).await.unwrap().into_inner();
    assert_eq!(verdict(&response), Err(503));
    assert_eq!(server.wait_for("denied")["fields"]["rejected"], "serviceaccount: cluster_unavailable");
    assert_eq!(user(&server, &cluster.legacy_token()).await, Err(503));
    assert_eq!(server.wait_for("denied")["fields"]["rejected"], "legacyserviceaccount: cluster_unavailable");
    assert_eq!(server.admin_page("/readyz").await.0, 503);
}
