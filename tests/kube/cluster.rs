//! A real kube-apiserver with its etcd.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs};

use s2n_tls::config::{self, Config};
use s2n_tls::enums::ClientAuthType;
use s2n_tls::security::DEFAULT_TLS13;
use tempfile::TempDir;
use tokio::net::TcpSocket;
use tokio::time::sleep;

use super::support::envoy::Request;
use super::wire::{self, SERVER_NAME};
use crate::port::hold;

pub(crate) const START: Duration = Duration::from_secs(300);

/// A row that every token file for a cluster has: its token is used to see whether the server is ready.
pub(crate) const READY_ROW: &str = "readiness-probe,readiness-probe,readiness-probe\n";
pub(crate) const READY_TOKEN: &str = "readiness-probe";

/// Lets every user do everything, anonymous ones too. `--authorization-mode=AlwaysAllow` would switch anonymous off.
const POLICY: &str = r#"{"apiVersion":"abac.authorization.kubernetes.io/v1beta1","kind":"Policy","spec":{"user":"*","apiGroup":"*","resource":"*","namespace":"*","nonResourcePath":"*"}}
{"apiVersion":"abac.authorization.kubernetes.io/v1beta1","kind":"Policy","spec":{"group":"system:unauthenticated","apiGroup":"*","resource":"*","namespace":"*","nonResourcePath":"*"}}
{"apiVersion":"abac.authorization.kubernetes.io/v1beta1","kind":"Policy","spec":{"user":"system:anonymous","apiGroup":"*","resource":"*","namespace":"*","nonResourcePath":"*"}}
"#;

pub(crate) const AUDIT_POLICY: &str =
    "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n";

/// Both processes, which end with the value.
pub(crate) struct Cluster {
    etcd: Process,
    api: Process,
    dir: TempDir,
    pub(crate) door: Door,
    _ports: [Port; 3],
}

/// Where a kube-apiserver listens, and how it proves who it is.
pub(crate) struct Door {
    pub(crate) port: u16,
    /// One of the names in its certificate.
    pub(crate) name: &'static str,
    certificate: PathBuf,
    pub(crate) tls: Config,
}

impl Door {
    /// That of a server with this certificate, a file in which its CA is as well.
    pub(crate) fn new(port: u16, certificate: PathBuf) -> Self {
        let mut door = Self { port, name: SERVER_NAME, certificate, tls: trusted(b"").build().unwrap() };
        door.look();
        door
    }

    /// Reads the certificate again, if there is one.
    fn look(&mut self) {
        if let Ok(pem) = fs::read(&self.certificate) {
            self.tls = trusted(&pem).build().unwrap();
        }
    }

    /// TLS in which the client shows this chain.
    pub(crate) fn presenting(&self, chain: &str, key: &str) -> Config {
        let mut config = trusted(&fs::read(&self.certificate).unwrap());
        config.load_pem(chain.as_bytes(), key.as_bytes()).unwrap();
        config.set_client_auth_type(ClientAuthType::Optional).unwrap();
        config.build().unwrap()
    }
}

impl Cluster {
    /// Starts kube-apiserver in `world` with these flags for authentication, one of which names a token file that has
    /// [`READY_ROW`], and waits until it is ready.
    pub(crate) async fn start(world: &Path, flags: &[String]) -> Self {
        let binaries = binaries();
        let dir = TempDir::new().unwrap();
        let ports = Port::hold();
        let [port, client, peers] = ports.each_ref().map(Port::number);
        let etcd = etcd(dir.path(), client, peers);

        let file = |name: &str, content: &str| {
            fs::write(dir.path().join(name), content).unwrap();
            dir.path().join(name).display().to_string()
        };
        let keys = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/world/sa");
        let mut command = Command::new(binaries.join("kube-apiserver"));
        command.current_dir(world).args([
            format!("--etcd-servers=http://127.0.0.1:{client}"),
            format!("--secure-port={port}"),
            format!("--cert-dir={}", dir.path().join("certificates").display()),
            format!("--authorization-policy-file={}", file("policy.jsonl", POLICY)),
            format!("--audit-policy-file={}", file("audit.yaml", AUDIT_POLICY)),
            format!("--audit-log-path={}", dir.path().join("audit.log").display()),
            format!("--service-account-signing-key-file={}", keys.join("keys/rsa1.key").display()),
            format!("--service-account-key-file={}", keys.join("rsa1.pub").display()),
        ]);
        command.args([
            "--service-account-issuer=https://issuer.example.test",
            "--authorization-mode=ABAC",
            "--audit-log-mode=blocking", // an event is in the file before its request is answered
            "--bind-address=127.0.0.1",
            "--advertise-address=192.0.2.1",
            "--endpoint-reconciler-type=none",
            "--service-cluster-ip-range=10.0.0.0/24",
        ]);
        command.args(flags);
        let api = Process::start("kube-apiserver", command, dir.path());

        let door = Door::new(port, dir.path().join("certificates/apiserver.crt"));
        let mut cluster = Self { etcd, api, dir, door, _ports: ports };
        cluster.wait().await;
        cluster
    }

    /// The last of what kube-apiserver has logged.
    pub(crate) fn log(&self) -> String {
        self.api.log()
    }

    /// The file with its certificate, and the CA behind it.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.door.certificate.clone()
    }

    /// The audit log of all requests so far.
    pub(crate) fn audit_log(&self) -> String {
        fs::read_to_string(self.dir.path().join("audit.log")).unwrap()
    }

    async fn wait(&mut self) {
        let ready = Request {
            method: "GET".into(),
            path: "/readyz".into(),
            headers: vec![("Authorization".into(), format!("Bearer {READY_TOKEN}").into_bytes())],
            certificates: Vec::new(),
            key: None,
        };
        let deadline = Instant::now() + START;
        loop {
            // kube-apiserver makes itself a certificate as it starts, with a CA that stands behind it in the file.
            self.door.look();
            if wire::ask(&self.door, &ready, "ready").await.is_ok_and(|answer| answer.status == 200) {
                return;
            }
            self.etcd.assert_runs();
            self.api.assert_runs();
            assert!(Instant::now() < deadline, "kube-apiserver is not ready:\n{}", self.api.log());
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// etcd on these ports, which keeps what it has in a directory.
pub(crate) fn etcd(dir: &Path, client: u16, peers: u16) -> Process {
    let (client, peers) = (format!("http://127.0.0.1:{client}"), format!("http://127.0.0.1:{peers}"));
    let mut command = Command::new(binaries().join("etcd"));
    command.args(["--name=test", "--unsafe-no-fsync"]);
    command.arg(format!("--data-dir={}", dir.join("etcd").display()));
    command.args(["listen-client-urls", "advertise-client-urls"].map(|flag| format!("--{flag}={client}")));
    command.args(["listen-peer-urls", "initial-advertise-peer-urls"].map(|flag| format!("--{flag}={peers}")));
    command.arg(format!("--initial-cluster=test={peers}"));
    Process::start("etcd", command, dir)
}

/// Waits until there is something, and gives it.
pub(crate) async fn wait_for<T>(within: Duration, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look().await {
            return found;
        }
        assert!(Instant::now() < deadline, "no {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Trusts the certificates of a PEM file.
fn trusted(pem: &[u8]) -> config::Builder {
    let mut config = Config::builder();
    config.set_security_policy(&DEFAULT_TLS13).unwrap();
    config.with_system_certs(false).unwrap();
    // A file that is only half written is read again.
    config.trust_pem(pem).ok();
    config
}

pub(crate) fn binaries() -> PathBuf {
    let dir = env::var_os("COUNTERSIGN_TEST_KUBE").map(PathBuf::from);
    let made = [
        "etcd",
        "kube-apiserver",
        "kubectl",
        "go-service-account",
        "go-prometheus",
        "go-istio",
        "helm",
        "egctl",
    ];
    let dir = dir.filter(|dir| made.iter().all(|name| dir.join(name).is_file()));
    dir.expect(
        "COUNTERSIGN_TEST_KUBE names no directory with what tests/kube/build makes: tests/run runs it and sets the variable",
    )
}

/// A port of this host that nobody else is given as long as this is there.
pub(crate) struct Port(TcpSocket);

impl Port {
    pub(crate) fn hold<const N: usize>() -> [Self; N] {
        [(); N].map(|()| Self(hold(0)))
    }

    pub(crate) fn number(&self) -> u16 {
        self.0.local_addr().unwrap().port()
    }
}

/// A child process that logs into a file and is killed with the value.
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Process {
    pub(crate) fn start(name: &'static str, mut command: Command, dir: &Path) -> Self {
        let log = dir.join(name).with_extension("log");
        let file = fs::File::create(&log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Self { name, child: command.spawn().unwrap(), log }
    }

    /// Sends a signal, by the name that `kill` takes.
    pub(crate) fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    pub(crate) fn assert_runs(&mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "{} ended ({}):\n{}", self.name, ended.unwrap(), self.log());
    }

    /// The last lines of the log.
    pub(crate) fn log(&self) -> String {
        let log = fs::read(&self.log).unwrap();
        let log = String::from_utf8_lossy(&log);
        let lines = log.lines().collect::<Vec<_>>();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
