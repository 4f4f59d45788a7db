//! A kube-apiserver with live objects, and countersign beside it, which looks at them with no more rights than
//! `deploy/kubernetes/rbac.yaml` gives it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use kube::api::{DynamicObject, PostParams};
use kube::core::{ApiResource, GroupVersionKind, TypeMeta};
use kube::{Api, Client};
use serde::Deserialize;
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tokio::time::sleep;
use tonic::transport::Channel;

use super::cluster::{Door, Port, Process, START, binaries, etcd, wait_for};
use super::support::envoy::{ENCODINGS, Encoding, Request, check_request};
use super::support::program::{PATIENCE, Server};
use super::support::verdict::{Verdict, read};
use super::wire::SELF_SUBJECT_REVIEW;
use super::{AGAIN, reviewed};

/// Who may do everything.
pub(crate) const ADMIN: &str = "admin-token";
/// The service account of `deploy/kubernetes/rbac.yaml`.
const COUNTERSIGN: &str = "countersign-token";
/// The rows of the token file of every cluster here.
pub(crate) const TOKENS: &str = "admin-token,admin,admin,system:masters\n\
                      countersign-token,system:serviceaccount:countersign:countersign,countersign\n";

/// kube-apiserver and its etcd, which end with the value.
pub(crate) struct Live {
    api: Option<Process>,
    etcd: Option<Process>,
    /// For clients and for peers.
    etcd_ports: [u16; 2],
    /// Of kube-apiserver.
    pub(crate) port: u16,
    /// Where the kubeconfig is.
    pub(crate) dir: TempDir,
    flags: Vec<String>,
    /// Theirs, also while one of them is away.
    _ports: [Port; 3],
}

/// The kubeconfig of countersign, in [`Live::dir`].
pub(crate) const KUBECONFIG: &str = "countersign.kubeconfig";

impl Live {
    /// A cluster in which these objects are, as they stand, and countersign's own roles; with these flags besides for kube-apiserver.
    pub(crate) async fn start(objects: &[Json], flags: &[&str]) -> Self {
        Self::start_in(TempDir::new().unwrap(), objects, flags).await
    }

    /// The same in this folder, where the flags may name files. A token file of theirs has to begin with [`TOKENS`].
    pub(crate) async fn start_in(dir: TempDir, objects: &[Json], flags: &[&str]) -> Self {
        let live = Self::start_bare(dir, objects, flags).await;
        live.create(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "countersign"}}))
            .await;
        for object in roles(&[]) {
            live.create(&object).await;
        }
        live
    }

    /// The same without any object of countersign's.
    pub(crate) async fn start_bare(dir: TempDir, objects: &[Json], flags: &[&str]) -> Self {
        let ports = Port::hold();
        let [port, etcd_port, peers] = ports.each_ref().map(Port::number);
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let mut live =
            Self { api: None, etcd: None, etcd_ports: [etcd_port, peers], port, dir, flags, _ports: ports };
        live.write("tokens.csv", TOKENS);
        live.write("countersign.token", COUNTERSIGN);
        live.write(KUBECONFIG, &live.kubeconfig(""));
        live.start_etcd().await;
        for object in objects {
            live.store(object);
        }
        live.start_api().await;
        live
    }

    /// Gives countersign the rights of these options as well.
    pub(crate) async fn allow(&self, options: &[&str]) {
        for object in roles(options).split_off(roles(&[]).len()) {
            self.create(&object).await;
        }
    }

    /// Starts etcd where there is none, with what it had, and waits until it takes something in.
    pub(crate) async fn start_etcd(&mut self) {
        let [clients, peers] = self.etcd_ports;
        self.etcd = Some(etcd(self.dir.path(), clients, peers));
        wait_for(START, "etcd", async || self.put("/countersign", b"").ok()).await;
    }

    /// Kills etcd; what it has stays, and so does kube-apiserver.
    pub(crate) fn stop_etcd(&mut self) {
        self.etcd = None;
    }

    /// Starts kube-apiserver where there is none, and waits until it is ready.
    pub(crate) async fn start_api(&mut self) {
        let keys = root("tests/conformance/world/sa");
        let mut command = std::process::Command::new(binaries().join("kube-apiserver"));
        command.current_dir(self.dir.path()).args([
            format!("--etcd-servers=http://127.0.0.1:{}", self.etcd_ports[0]),
            format!("--secure-port={}", self.port),
            format!("--service-account-signing-key-file={}", keys.join("keys/rsa1.key").display()),
        ]);
        command.args([
            "--cert-dir=certificates",
            "--token-auth-file=tokens.csv",
            "--authorization-mode=RBAC",
            "--bind-address=127.0.0.1",
            "--advertise-address=192.0.2.1",
            "--endpoint-reconciler-type=none",
            "--service-cluster-ip-range=10.0.0.0/24",
        ]);
        command.args(&self.flags);
        if !self.flags.iter().any(|flag| flag.starts_with("--service-account-issuer")) {
            command.arg("--service-account-issuer=https://issuer.example.test");
            command.arg(format!("--service-account-key-file={}", keys.join("rsa1.pub").display()));
        }
        self.api = Some(Process::start("kube-apiserver", command, self.dir.path()));
        self.until_ready().await;
    }

    /// Waits until kube-apiserver says that it is ready.
    pub(crate) async fn until_ready(&mut self) {
        let deadline = Instant::now() + START;
        while !self.is_ready().await {
            self.etcd.as_mut().unwrap().assert_runs();
            self.api.as_mut().unwrap().assert_runs();
            assert!(Instant::now() < deadline, "not ready:\n{}", self.api.as_ref().unwrap().log());
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Kills kube-apiserver; etcd stays.
    pub(crate) fn stop_api(&mut self) {
        self.api = None;
    }

    /// kube-apiserver is there and says nothing (`STOP`), or goes on (`CONT`).
    pub(crate) fn signal_api(&self, name: &str) {
        self.api.as_ref().unwrap().signal(name);
    }

    /// Where kube-apiserver listens.
    pub(crate) fn door(&self) -> Door {
        Door::new(self.port, self.dir.path().join("certificates/apiserver.crt"))
    }

    /// The last of what kube-apiserver has logged.
    pub(crate) fn log(&self) -> String {
        self.api.as_ref().unwrap().log()
    }

    /// The same for etcd.
    pub(crate) fn signal_etcd(&self, name: &str) {
        self.etcd.as_ref().unwrap().signal(name);
    }

    async fn is_ready(&self) -> bool {
        let certificate = self.dir.path().join("certificates/apiserver.crt");
        let Ok(pem) = fs::read_to_string(certificate) else { return false };
        // Made as it starts; its CA stands behind it in the file.
        if pem.matches("-----END").count() < 2 {
            return false;
        }
        let request = http::Request::get("/readyz").body(Vec::new()).unwrap();
        self.admin().request_text(request).await.is_ok()
    }

    /// A client that may do everything.
    pub(crate) fn admin(&self) -> Client {
        self.client(Some(ADMIN))
    }

    /// A client that may do what countersign may.
    pub(crate) fn countersign(&self) -> Client {
        self.client(Some(COUNTERSIGN))
    }

    /// A client without credentials of its own.
    pub(crate) fn nobody(&self) -> Client {
        self.client(None)
    }

    fn client(&self, token: Option<&str>) -> Client {
        let mut config = kube::Config::new(format!("https://127.0.0.1:{}", self.port).parse().unwrap());
        config.tls_server_name = Some("kubernetes".to_owned());
        config.root_cert_file = Some(self.dir.path().join("certificates/apiserver.crt"));
        config.auth_info.token = token.map(|token| token.to_owned().into());
        config.default_retry = false;
        Client::try_from(config).unwrap()
    }

    /// The kubeconfig of countersign, for a path of kube-apiserver.
    pub(crate) fn kubeconfig(&self, path: &str) -> String {
        let server = format!("https://127.0.0.1:{}{path}", self.port);
        let cluster = json!({"server": server, "tls-server-name": "kubernetes", "certificate-authority": "certificates/apiserver.crt"});
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "live",
            "contexts": [{"name": "live", "context": {"cluster": "live", "user": "countersign"}}],
            "clusters": [{"name": "live", "cluster": cluster}],
            "users": [{"name": "countersign", "user": {"tokenFile": "countersign.token"}}],
        })
        .to_string()
    }

    /// Writes a file into [`Self::dir`].
    pub(crate) fn write(&self, name: &str, content: &str) {
        fs::write(self.dir.path().join(name), content).unwrap();
    }

    /// Makes an object by way of kube-apiserver.
    pub(crate) async fn create(&self, object: &Json) {
        let object: DynamicObject = serde_json::from_value(object.clone()).unwrap();
        let TypeMeta { api_version, kind } = object.types.clone().unwrap();
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
        let api: Api<DynamicObject> = match &object.metadata.namespace {
            Some(namespace) => Api::namespaced_with(self.admin(), namespace, &resource),
            None => Api::all_with(self.admin(), &resource),
        };
        api.create(&PostParams::default(), &object).await.unwrap();
    }

    /// Writes an object into etcd as it stands, uid and deletion timestamp included.
    pub(crate) fn store(&self, object: &Json) {
        self.put(&key_of(object), object.to_string().as_bytes()).unwrap();
    }

    /// Who kube-apiserver says a bearer token is, asked by [`Self::nobody`].
    pub(crate) async fn review(client: &Client, token: &str) -> Verdict {
        let review = r#"{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}"#;
        let request = http::Request::post(SELF_SUBJECT_REVIEW).header("content-type", "application/json");
        let request = request.header("authorization", format!("Bearer {token}"));
        let request = request.body(review.as_bytes().to_vec()).unwrap();
        match client.request_text(request).await {
            Ok(body) => Verdict::Authenticated(reviewed(body.as_bytes())),
            Err(kube::Error::Api(status)) if status.code == 401 => Verdict::Refused,
            Err(error) => panic!("{error}"),
        }
    }

    /// Takes an object out of etcd, while no kube-apiserver looks.
    pub(crate) fn remove(&self, object: &Json) {
        self.etcd("/v3/kv/deleterange", &json!({"key": STANDARD.encode(key_of(object))})).unwrap();
    }

    fn put(&self, key: &str, value: &[u8]) -> std::io::Result<()> {
        self.etcd("/v3/kv/put", &json!({"key": STANDARD.encode(key), "value": STANDARD.encode(value)}))
    }

    /// Over the JSON gateway of etcd.
    fn etcd(&self, path: &str, body: &Json) -> std::io::Result<()> {
        let body = body.to_string();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.etcd_ports[0]))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let length = body.len();
        write!(
            stream,
            "POST {path} HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let good = answer.starts_with("HTTP/1.1 200 ");
        if good { Ok(()) } else { Err(std::io::Error::other(answer)) }
    }

    /// countersign with these flags in `folder`, once it is ready, which it is when it has seen the objects.
    pub(crate) async fn subject(&self, folder: &Path, flags: &[&str]) -> Server {
        let kubeconfig = format!("--kubeconfig={}", self.dir.path().join(KUBECONFIG).display());
        let more = [kubeconfig.as_str(), "--groups-encoding=metadata", "--xfcc-trusted-hops=1"];
        let server = Server::start(folder, &[flags, &more].concat());
        server.until_ready().await;
        server
    }
}

/// Where etcd has an object.
fn key_of(object: &Json) -> String {
    let text = |value: &Json| value.as_str().map(str::to_owned);
    let metadata = &object["metadata"];
    let resource = match object["kind"].as_str().unwrap() {
        "ServiceAccount" => "serviceaccounts",
        "Secret" => "secrets",
        "Pod" => "pods",
        "Node" => "minions",
        "Namespace" => "namespaces",
        kind => panic!("nobody knows where etcd has a {kind}"),
    };
    let names = [text(&metadata["namespace"]), text(&metadata["name"])];
    let path: String = names.into_iter().flatten().map(|name| format!("/{name}")).collect();
    format!("/registry/{resource}{path}")
}

/// The verdict on a request, which is the same in every encoding.
pub(crate) async fn verdict(client: &mut AuthorizationClient<Channel>, request: &Request) -> Verdict {
    let mut verdicts = Vec::new();
    for encoding in ENCODINGS {
        verdicts.push(verdict_in(client, request, encoding).await);
    }
    same(request, verdicts)
}

fn same(request: &Request, mut verdicts: Vec<Verdict>) -> Verdict {
    assert!(verdicts.iter().all(|verdict| *verdict == verdicts[0]), "{request:?}: {verdicts:?}");
    verdicts.swap_remove(0)
}

/// The same, once countersign knows: it waits two seconds for kube-apiserver, which on a slow machine may say nothing for as long, and then
/// counts a refusal for want of an answer.
pub(crate) async fn decided(
    server: &Server,
    client: &mut AuthorizationClient<Channel>,
    request: &Request,
) -> Verdict {
    let undecided = async || {
        let (_, page) = server.admin_page("/metrics").await;
        let lines = page.lines().filter(|line| line.contains("reason=\"cluster_unavailable\""));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let mut verdicts = Vec::new();
    for encoding in ENCODINGS {
        let mut before = undecided().await;
        let mut ours = verdict_in(client, request, encoding).await;
        for pause in AGAIN {
            if ours != Verdict::Refused {
                break;
            }
            let after = undecided().await;
            if after == before {
                break;
            }
            println!("asked again after {pause:?}: {after:?}");
            sleep(pause).await;
            (before, ours) = (after, verdict_in(client, request, encoding).await);
        }
        verdicts.push(ours);
    }
    same(request, verdicts)
}

/// The verdict on a request in one encoding, while objects come and go.
pub(crate) async fn verdict_in(
    client: &mut AuthorizationClient<Channel>,
    request: &Request,
    encoding: Encoding,
) -> Verdict {
    let response = client.check(check_request(request, encoding)).await.unwrap();
    read(response.get_ref(), request).unwrap()
}

/// The objects that the recorded vectors are about.
pub(crate) fn recorded_objects() -> Vec<Json> {
    documents(&fs::read_to_string(root("tests/conformance/world/state/objects.yaml")).unwrap())
}

/// How many recorded vectors of a scenario need live objects, by class; which test replays them, says the test.
pub(crate) fn live_vectors(scenario: &str) -> BTreeMap<String, usize> {
    #[derive(Deserialize)]
    struct Awaited {
        live: BTreeMap<String, BTreeMap<String, usize>>,
    }
    let text = fs::read_to_string(root("tests/conformance/awaited.yaml")).unwrap();
    let mut awaited: Awaited = serde_saphyr::from_str(&text).unwrap();
    awaited.live.remove(scenario).unwrap()
}

/// What `deploy/kubernetes/rbac.yaml` has with these options, which come last.
pub(crate) fn roles(options: &[&str]) -> Vec<Json> {
    let mut roles = fs::read_to_string(root("deploy/kubernetes/rbac.yaml")).unwrap();
    for option in options {
        let mark = format!("#{option}|");
        assert!(roles.contains(&mark), "the option {option} is gone");
        roles = roles.replace(&mark, "");
    }
    documents(&roles)
}

pub(crate) fn documents(yaml: &str) -> Vec<Json> {
    serde_saphyr::from_multiple(yaml).unwrap()
}

pub(crate) fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
