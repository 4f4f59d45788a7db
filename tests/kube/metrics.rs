//! The metrics of a real kube-apiserver and ours, after the same requests to both: what has a name of Kubernetes' is what it is there. Both
//! pages are read by Prometheus' own parser (`tests/go-prometheus`).

mod queries;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use axum::Router;
use axum::routing::post;
use s2n_tls_tokio::TlsConnector;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::cluster::{Cluster, READY_ROW, READY_TOKEN, START, binaries, wait_for};
use super::edge::issuer::configuration;
use super::edge::{Authority, Certified, Issuer, SigningKey};
use super::support::envoy::{Encoding, Request, check_request};
use super::support::program::{Server, until};
use super::wire::{self, SELF_SUBJECT_REVIEW, SERVER_NAME};

/// What `go-prometheus page` makes of a page.
#[derive(Deserialize)]
struct Page {
    families: Vec<Family>,
    problems: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
struct Family {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    help: String,
    /// The names of the labels of each sample, each list once.
    labels: BTreeSet<Vec<String>>,
    #[serde(default)]
    bounds: Vec<f64>,
}

/// Names, types, helps, labels and buckets; and, for what nobody else adds to, numbers. And all that our dashboard and alerts ask for.
#[tokio::test(flavor = "multi_thread")] // the start of a server blocks, and the issuer and the webhook are in this process
async fn metrics_of_kubernetes_are_what_they_are_there_and_dashboard_and_alerts_find_theirs() {
    let world = World::start().await;
    let cluster = Cluster::start(world.dir.path(), &world.flags).await;
    let ours = Server::start(world.dir.path(), &[&world.flags[..], &world.more_of_ours(&cluster)].concat());
    ours.until_ready().await;
    let requests = world.requests();
    let theirs = async |request: &Request| wire::ask(&cluster.door, request, "metrics").await.unwrap().status;
    // It fetches the issuer's keys in the background.
    for request in &requests[..GOOD] {
        wait_for(START, "acceptance of what is good", async || (theirs(request).await == 201).then_some(()))
            .await;
    }
    let before = (samples(&scrape(&cluster).await), samples(&page(&ours).await));
    let mut client = ours.client().await;
    for (number, request) in requests.iter().enumerate() {
        let response = client.check(check_request(request, Encoding::Raw)).await.unwrap();
        let code = response.get_ref().status.as_ref().map_or(0, |status| status.code);
        let expected = if number < GOOD { (201, 0) } else { (401, 16) };
        assert_eq!((theirs(request).await, code), expected, "{request:?}");
    }
    fs::write(world.dir.path().join("next"), world.authentication() + "\n").unwrap();
    fs::rename(world.dir.path().join("next"), world.dir.path().join("authentication.yaml")).unwrap();
    let reloads = "apiserver_authentication_config_controller_automatic_reload_last_timestamp_seconds{";
    let reloaded = async || scrape(&cluster).await.contains(reloads).then_some(());
    wait_for(START, "reload of kube-apiserver's", reloaded).await;
    until("our reload", async || page(&ours).await.contains(reloads)).await;

    // kube-apiserver has no metrics of impersonation before somebody tries, whom nothing that is compared counts.
    let mut impersonating = requests[0].clone();
    let headers =
        [("Authorization", format!("Bearer {READY_TOKEN}")), ("Impersonate-User", "somebody".into())];
    impersonating.headers = headers.map(|(name, value)| (name.into(), value.into_bytes())).into();
    assert_eq!(theirs(&impersonating).await, 201);

    let (their_page, our_page) = (scrape(&cluster).await, page(&ours).await);
    let their_families = families(&their_page);
    assert_same_families(&their_families, &families(&our_page));
    assert_nothing_forgotten(&their_families);
    // The same requests count the same. Those that kube-apiserver sends itself are all good, and of nobody whom metrics name.
    let after = (samples(&their_page), samples(&our_page));
    for sample in SAME {
        let more = |before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>| {
            after.get(sample).unwrap_or(&0.0) - before.get(sample).unwrap_or(&0.0)
        };
        let (theirs, ours) = (more(&before.0, &after.0), more(&before.1, &after.1));
        assert!(theirs == ours && ours > 0.0, "{sample}: {theirs} there and {ours} here");
    }
    // What nobody denies but us.
    let mut misrouted = check_request(&requests[0], Encoding::Raw);
    let extension = ("countersign.profile".to_owned(), "nobody".to_owned());
    misrouted.attributes.as_mut().unwrap().context_extensions.extend([extension]);
    client.check(misrouted).await.unwrap();
    let our_page = page(&ours).await;
    queries::assert_found(&families(&our_page), &our_page);
}

/// Whatever a kube-apiserver tells about what is done here as well is told here, or there is a reason not to.
fn assert_nothing_forgotten(theirs: &BTreeMap<String, Family>) {
    let applies = |name: &&str| PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    let not_here: BTreeSet<&str> = NOT_HERE.iter().map(|(name, _)| *name).collect();
    let here: BTreeSet<&str> = OF_KUBERNETES.into_iter().chain(NOT_SHOWN).collect();
    assert_eq!(&here & &not_here, BTreeSet::new());
    let theirs = theirs.keys().map(String::as_str).filter(applies);
    let forgotten = theirs.filter(|name| !here.contains(name) && !not_here.contains(name));
    assert_eq!(forgotten.collect::<Vec<_>>(), [""; 0]);
}

/// What the names begin with that are about authentication, the audit log, or asking others.
const PREFIXES: [&str; 10] = [
    "apiserver_audit_",
    "apiserver_authentication_",
    "apiserver_client_certificate_",
    "apiserver_impersonation_",
    "apiserver_tls_handshake_",
    "apiserver_webhooks_x509_",
    "authenticated_user_requests",
    "authentication_",
    "rest_client_",
    "serviceaccount_",
];

/// Which of them are not on our page, and why. Some are not on kube-apiserver's either before there is something to count.
const NOT_HERE: [(&str, &str); 20] = [
    ("apiserver_audit_level_total", "levels there are those of a policy for each request"),
    ("apiserver_audit_requests_rejected_total", "no request is refused for want of an audit log"),
    ("apiserver_webhooks_x509_insecure_sha1_total", OF_NO_OLD_CERTIFICATES),
    ("apiserver_webhooks_x509_missing_san_total", OF_NO_OLD_CERTIFICATES),
    ("rest_client_dns_resolution_duration_seconds", OF_CLIENT_GO),
    ("rest_client_exec_plugin_call_total", OF_NO_PLUGINS),
    ("rest_client_exec_plugin_certificate_rotation_age", OF_NO_PLUGINS),
    ("rest_client_exec_plugin_policy_call_total", OF_NO_PLUGINS),
    ("rest_client_exec_plugin_ttl_seconds", OF_NO_PLUGINS),
    ("rest_client_rate_limiter_duration_seconds", OF_CLIENT_GO),
    ("rest_client_request_retries_total", OF_CLIENT_GO),
    ("rest_client_request_size_bytes", OF_CLIENT_GO),
    ("rest_client_response_size_bytes", OF_CLIENT_GO),
    ("rest_client_transport_ca_reload_total", OF_CLIENT_GO),
    ("rest_client_transport_cache_entries", OF_CLIENT_GO),
    ("rest_client_transport_cache_gc_calls_total", OF_CLIENT_GO),
    ("rest_client_transport_cert_rotation_gc_calls_total", OF_CLIENT_GO),
    ("rest_client_transport_create_calls_total", OF_CLIENT_GO),
    ("serviceaccount_legacy_auto_token_uses_total", OF_THE_ACCOUNT),
    ("serviceaccount_legacy_manual_token_uses_total", OF_THE_ACCOUNT),
];

const OF_NO_OLD_CERTIFICATES: &str = "such a server is refused, and counts as a request without an answer";
const OF_THE_ACCOUNT: &str =
    "the field `secrets` of an account tells them apart, and only metadata is watched";
const OF_NO_PLUGINS: &str = "no program is run for credentials";
const OF_CLIENT_GO: &str =
    "about parts of client-go that have no counterpart, or sizes that are bounded here";

fn assert_same_families(theirs: &BTreeMap<String, Family>, ours: &BTreeMap<String, Family>) {
    let of_kubernetes = |name: &&String| !name.starts_with("countersign_") && !NOT_SHOWN.contains(&&***name);
    let names: Vec<&String> = ours.keys().filter(of_kubernetes).collect();
    assert_eq!(names, OF_KUBERNETES);
    for name in names {
        assert_eq!(ours.get(name), theirs.get(name), "as Kubernetes has it");
    }
}

/// What a kube-apiserver does not show before there is something to count.
const NOT_SHOWN: [&str; 1] = ["apiserver_audit_error_total"];

/// All others of Kubernetes' names on our page.
const OF_KUBERNETES: [&str; 32] = [
    "apiserver_audit_event_total",
    "apiserver_authentication_config_controller_automatic_reload_last_timestamp_seconds",
    "apiserver_authentication_config_controller_automatic_reloads_total",
    "apiserver_authentication_config_controller_last_config_info",
    "apiserver_authentication_jwt_authenticator_jwks_fetch_last_key_set_info",
    "apiserver_authentication_jwt_authenticator_jwks_fetch_last_timestamp_seconds",
    "apiserver_authentication_jwt_authenticator_latency_seconds",
    "apiserver_client_certificate_expiration_seconds",
    "apiserver_impersonation_attempts_duration_seconds",
    "apiserver_impersonation_attempts_total",
    "apiserver_impersonation_authorization_attempts_duration_seconds",
    "apiserver_impersonation_authorization_attempts_total",
    "apiserver_tls_handshake_errors_total",
    "authenticated_user_requests",
    "authentication_attempts",
    "authentication_duration_seconds",
    "authentication_token_cache_active_fetch_count",
    "authentication_token_cache_fetch_total",
    "authentication_token_cache_request_duration_seconds",
    "authentication_token_cache_request_total",
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
    "process_start_time_seconds",
    "process_virtual_memory_bytes",
    "rest_client_request_duration_seconds",
    "rest_client_requests_total",
    "serviceaccount_invalid_legacy_auto_token_uses_total",
    "serviceaccount_legacy_tokens_total",
    "serviceaccount_stale_tokens_total",
    "serviceaccount_valid_tokens_total",
];

/// Samples that the requests of this test add to, and nothing else.
const SAME: [&str; 6] = [
    "authentication_attempts{result=\"error\"}",
    "authentication_attempts{result=\"failure\"}",
    "authentication_duration_seconds_count{result=\"error\"}",
    "authenticated_user_requests{username=\"email_id\"}",
    "authenticated_user_requests{username=\"admin\"}",
    "apiserver_client_certificate_expiration_seconds_bucket{le=\"86400\"}",
];

/// Both servers, and everybody whom they ask.
struct World {
    dir: TempDir,
    flags: Vec<String>,
    issuer: Issuer,
    key: SigningKey,
    carol: Certified,
    stranger: Certified,
}

impl World {
    async fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let file = |name: &str, content: &str| fs::write(dir.path().join(name), content).unwrap();
        let clients = Authority::root("clients");
        file("clients.pem", &clients.pem);
        file("tokens.csv", &format!("{READY_ROW}admin-token,admin,1\n"));
        let key = SigningKey::es256("k");
        let issuer = Issuer::with_keys([&key]);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let server = format!("http://{}/review", listener.local_addr().unwrap());
        let kubeconfig = json!({
            "clusters": [{"name": "k", "cluster": {"server": server}}],
            "contexts": [{"name": "c", "context": {"cluster": "k"}}],
            "current-context": "c",
        });
        file("webhook.kubeconfig", &kubeconfig.to_string());
        let webhook = Router::new().route("/review", post(review));
        tokio::spawn(async move { axum::serve(listener, webhook).await });
        let flags = [
            "--token-auth-file=tokens.csv",
            "--client-ca-file=clients.pem",
            "--authentication-config=authentication.yaml",
            "--authentication-token-webhook-config-file=webhook.kubeconfig",
            "--authentication-token-webhook-version=v1",
            "--api-audiences=app",
        ];
        let world = Self {
            flags: flags.map(str::to_owned).into(),
            issuer,
            key,
            carol: clients.certify("carol", &["qa"]),
            stranger: Authority::root("others").certify("carol", &["qa"]),
            dir,
        };
        fs::write(world.dir.path().join("authentication.yaml"), world.authentication()).unwrap();
        world
    }

    fn authentication(&self) -> String {
        let mappings = json!({"username": {"claim": "sub", "prefix": ""}});
        let jwt = configuration(&[self.issuer.authenticator(mappings)]);
        // kube-apiserver takes neither a flag for anonymous beside the file, nor a change of it.
        let mut configuration: Value = serde_json::from_str(&jwt).unwrap();
        configuration["anonymous"] = json!({"enabled": false});
        configuration.to_string()
    }

    /// What countersign does that adds to no number which is compared: it looks at the cluster, and keeps an audit log.
    fn more_of_ours(&self, cluster: &Cluster) -> Vec<String> {
        let kubeconfig = json!({
            "clusters": [{"name": "k", "cluster": {
                "server": format!("https://127.0.0.1:{}", cluster.door.port), "tls-server-name": SERVER_NAME,
                "certificate-authority": cluster.certificate()}}],
            "users": [{"name": "u", "user": {"token": READY_TOKEN}}],
            "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
            "current-context": "c",
        });
        fs::write(self.dir.path().join("cluster.kubeconfig"), kubeconfig.to_string()).unwrap();
        let flags = [
            "--kubeconfig=cluster.kubeconfig",
            "--enable-bootstrap-token-auth",
            "--audit-level=all",
            "--audit-log-path=audit.log",
        ];
        flags.map(str::to_owned).into()
    }

    /// The first [`GOOD`] are good.
    fn requests(&self) -> Vec<Request> {
        let request = |token: Option<&str>, certified: Option<&Certified>| Request {
            method: "POST".into(),
            path: SELF_SUBJECT_REVIEW.into(),
            headers: token
                .map(|token| ("Authorization".into(), format!("Bearer {token}").into_bytes()))
                .into_iter()
                .collect(),
            certificates: certified
                .map(|certified| certified.leaf.replace("\r\n", "\n"))
                .into_iter()
                .collect(),
            key: certified.map(|certified| certified.key.clone()),
        };
        let token = |subject: &str| self.key.sign(&self.issuer.claims(json!({"sub": subject})));
        let expired = self.key.sign(&self.issuer.claims(json!({"sub": "oscar", "exp": 1})));
        vec![
            request(Some("admin-token"), None),
            request(Some(&token("oscar@example.test")), None),
            request(Some("known-elsewhere"), None),
            request(None, Some(&self.carol)),
            request(Some("nobodys"), None),
            request(Some(&expired), None),
            request(None, Some(&self.stranger)),
            request(None, None),
        ]
    }
}

/// So many of the requests are good.
const GOOD: usize = 4;

/// The webhook: one token is somebody's.
async fn review(review: String) -> String {
    let mut review: Value = serde_json::from_str(&review).unwrap();
    let is_known = review["spec"]["token"] == "known-elsewhere";
    review["status"] = match is_known {
        true => json!({"authenticated": true, "user": {"username": "wanda"}, "audiences": ["app"]}),
        false => json!({"authenticated": false}),
    };
    review.to_string()
}

/// kube-apiserver's page. In HTTP/1.0, or it would be in chunks.
async fn scrape(cluster: &Cluster) -> String {
    let tcp = TcpStream::connect((Ipv4Addr::LOCALHOST, cluster.door.port)).await.unwrap();
    let mut stream = TlsConnector::new(cluster.door.tls.clone()).connect(SERVER_NAME, tcp).await.unwrap();
    let request =
        format!("GET /metrics HTTP/1.0\r\nHost: kubernetes\r\nAuthorization: Bearer {READY_TOKEN}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
    body.to_owned()
}

async fn page(server: &Server) -> String {
    let (status, page) = server.admin_page("/metrics").await;
    assert_eq!(status, 200);
    page
}

/// Every line of a page that is a sample, by all that stands before its value.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let samples = page.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let (sample, value) = line.rsplit_once(' ').unwrap();
        (sample.to_owned(), value.parse().unwrap())
    });
    samples.collect()
}

/// The families of a page that Prometheus reads and has nothing against, but for names that are Kubernetes'.
fn families(page: &str) -> BTreeMap<String, Family> {
    let Page { families, problems } = prometheus("page", page);
    let ours = problems.iter().filter(|problem| problem.starts_with("countersign_"));
    assert_eq!(ours.collect::<Vec<_>>(), [""; 0]);
    families.into_iter().map(|family| (family.name.clone(), family)).collect()
}

/// What `go-prometheus` says about a text.
pub(crate) fn prometheus<T: DeserializeOwned>(command: &str, text: &str) -> T {
    let mut command = {
        let program = binaries().join("go-prometheus");
        let mut asked = Command::new(program);
        asked.arg(command).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
    };
    command.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = command.wait_with_output().unwrap();
    assert!(output.status.success(), "{text}");
    serde_json::from_slice(&output.stdout).unwrap()
}
