//! kubectl through Envoy, with countersign beside it, to a kube-apiserver that takes Envoy's word for who somebody is: wired as
//! `deploy/envoy/README.md` has it, with the flags that stand there.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use rcgen::{DnType, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::cluster::{binaries, wait_for};
use super::edge::issuer::configuration;
use super::edge::{Authority, Certified, Config, Envoy, Issuer, SigningKey};
use super::live::{KUBECONFIG, Live};
use super::live_accounts::{WEB, create_team, pod, token};
use super::reviewed;
use super::support::program::{PATIENCE, Server};
use super::support::verdict::{User, Verdict};

/// Tokens that countersign alone knows. The last has more groups than the README has names for.
const TOKENS: &str = "\
alice-token,alice,alice-uid,\"dev,ops\"
mallory-token,mallory,,nobodies
mary-token,mary,,\"g0,g1,g2,g3,g4,g5,g6,g7,g8,g9\"
";

/// Go: k8s.io/apiserver/pkg/authentication/request/headerrequest reads what countersign writes, and
/// k8s.io/kubectl/pkg/cmd/auth (`whoami`) says what it has read.
#[tokio::test(flavor = "multi_thread")] // kubectl blocks, and the issuer is in this process
async fn kubectl_is_whoever_countersign_says_to_a_kube_apiserver_behind_envoy() {
    let proxies = Authority::root("front proxies");
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("front-proxy-ca.crt"), &proxies.pem).unwrap();
    let place = dir.path().join("front-proxy-ca.crt").display().to_string();
    let flags = flags_of(SECTION, "kube-apiserver", &[("front-proxy-ca.crt", &place)]);
    let world = World::start(flags).await;

    for encoding in ["indexed", "metadata"] {
        let front = behind_a_front_proxy(&world, &proxies, encoding).await;
        let kubectl = &front.kubectl;
        for (name, expected) in &world.users {
            assert_eq!(kubectl.whoami(name), *expected, "{name} with {encoding}");
        }
        for name in ["alice", "pod", "oscar", "carol"] {
            let namespaces = kubectl.namespaces("edge", name).await;
            assert_eq!(namespaces, kubectl.namespaces("direct", "admin").await, "{name} with {encoding}");
        }
        let seen = if encoding == "indexed" { 6 } else { 10 };
        let mut groups: Vec<String> = (0..seen).map(|n| format!("g{n}")).collect();
        groups.push("system:authenticated".to_owned());
        assert_eq!(kubectl.whoami("mary").groups, groups, "{encoding}");

        front.assert_others_are_kept_out().await;
        front.assert_no_token_went_further().await;
    }
    // It was not kube-apiserver who knew them.
    for token in ["alice-token", &world.oscar] {
        assert_eq!(Live::review(&world.live.nobody(), token).await, Verdict::Refused);
    }
}

const SECTION: &str = "In front of kube-apiserver";

/// Envoy and countersign, which kube-apiserver takes for a front proxy.
async fn behind_a_front_proxy(world: &World, proxies: &Authority, encoding: &str) -> Front {
    let kubeconfig = world.live.dir.path().join(KUBECONFIG).display().to_string();
    let flags = flags_of(SECTION, "countersign", &[("kubeconfig", &kubeconfig), ("indexed", encoding)]);
    let own = proxies.certify("envoy", &[]);
    let files = [("front-proxy.crt", own.leaf.as_bytes()), ("front-proxy.key", own.key.as_bytes())];
    let lua = |config: Config| if encoding == "metadata" { config.with_lua() } else { config };
    Front::start(world, &flags, &files, |config| lua(config.option("front-proxy"))).await
}

/// A kube-apiserver, and everybody who comes to it by way of Envoy.
pub(super) struct World {
    pub(super) live: Live,
    /// What countersign is given.
    pub(super) dir: TempDir,
    _issuer: Issuer,
    carol: Certified,
    pub(super) pod: String,
    oscar: String,
    pub(super) users: BTreeMap<&'static str, User>,
}

impl World {
    /// With these flags for kube-apiserver.
    pub(super) async fn start(mut flags: Vec<String>) -> Self {
        let dir = TempDir::new().unwrap();
        let file = |name: &str, content: &str| fs::write(dir.path().join(name), content).unwrap();
        let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/world/sa/rsa1.pub");
        file("sa.pub", &fs::read_to_string(key).unwrap());
        let place = |name: &str| dir.path().join(name).display().to_string();
        flags.push("--service-account-issuer=https://kubernetes.default.svc".to_owned());
        flags.push(format!("--service-account-key-file={}", place("sa.pub")));
        flags.push("--anonymous-auth=false".to_owned());
        let live = Live::start(&[], &flags.iter().map(String::as_str).collect::<Vec<_>>()).await;

        live.create(&role()).await;
        live.create(&binding()).await;
        create_team(&live).await;
        live.create(&pod("web-0")).await;
        let pod = token(&live, WEB, Some(["Pod", "web-0"])).await;
        let Verdict::Authenticated(web) = Live::review(&live.nobody(), &pod).await else {
            panic!("kube-apiserver does not know its own token")
        };
        assert_eq!(web.username, "system:serviceaccount:team:web");

        file("tokens.csv", TOKENS);
        let key = SigningKey::es256("k");
        let issuer = Issuer::with_keys([&key]);
        file("authentication.yaml", &configuration(&[issuer.authenticator(mappings())]));
        let oscar = key.sign(&issuer.claims(json!({
            "sub": "oscar", "id": "oscar-uid", "groups": ["night shift", "a,b", "größe"], "scopes": ["write", "read"],
        })));
        let root = Authority::root("clients");
        file("clients-ca.crt", &root.pem);
        let carol = root.intermediate("team clients").certify_with(
            &PKCS_ECDSA_P256_SHA256,
            "carol",
            &["qa", "dev"],
            // Go: `UIDOID` of k8s.io/apiserver/pkg/authentication/request/x509.
            |params| {
                params
                    .distinguished_name
                    .push(DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 57683, 2]), "carol-uid");
            },
        );
        let users = BTreeMap::from([
            ("alice", user("alice", "alice-uid", &["dev", "ops"], &[])),
            ("pod", web),
            (
                "oscar",
                user(
                    "oidc:oscar",
                    "oscar-uid",
                    &["night shift", "a,b", "größe"],
                    &[("example.test/scopes", &["write", "read"])],
                ),
            ),
            (
                "carol",
                user(
                    "carol",
                    "carol-uid",
                    &["qa", "dev"],
                    &[("authentication.kubernetes.io/credential-id", &[&carol.credential_id])],
                ),
            ),
        ]);
        Self { live, dir, _issuer: issuer, carol, pod, oscar, users }
    }
}

/// Somebody who has authenticated.
fn user(username: &str, uid: &str, groups: &[&str], extra: &[(&str, &[&str])]) -> User {
    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    User {
        username: username.to_owned(),
        uid: uid.to_owned(),
        groups: texts(&[groups, &["system:authenticated"]].concat()),
        extra: extra.iter().map(|(key, values)| ((*key).to_owned(), texts(values))).collect(),
    }
}

fn mappings() -> Json {
    json!({
        "username": {"claim": "sub", "prefix": "oidc:"},
        "groups": {"claim": "groups", "prefix": ""},
        "uid": {"claim": "id"},
        "extra": [{"key": "example.test/scopes", "valueExpression": "claims.scopes"}],
    })
}

fn role() -> Json {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "namespace-reader"},
        "rules": [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["get", "list"]}],
    })
}

/// Each of the users has the role by something else: alice by her second group, carol by her first.
fn binding() -> Json {
    const RBAC: &str = "rbac.authorization.k8s.io";
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": "namespace-readers"},
        "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": "namespace-reader"},
        "subjects": [
            {"apiGroup": RBAC, "kind": "Group", "name": "ops"},
            {"apiGroup": RBAC, "kind": "Group", "name": "qa"},
            {"apiGroup": RBAC, "kind": "User", "name": "oidc:oscar"},
            {"kind": "ServiceAccount", "namespace": "team", "name": "web"},
        ],
    })
}

/// The flags of a program in a section of the README, with other places for some of the files.
pub(super) fn flags_of(section: &str, program: &str, places: &[(&str, &str)]) -> Vec<String> {
    let readme = include_str!("../../deploy/envoy/README.md");
    let (_, section) = readme.split_once(&format!("\n## {section}\n")).unwrap();
    let (_, command) = section.split_once(&format!("```sh\n{program} ")).unwrap();
    let (command, _) = command.split_once("\n```").unwrap();
    let mut flags: Vec<String> =
        command.split_whitespace().filter(|word| word.starts_with("--")).map(str::to_owned).collect();
    for (name, place) in places {
        let (named, place) = (format!("={name}"), format!("={place}"));
        let flag = flags.iter_mut().find(|flag| flag.ends_with(&named)).unwrap();
        *flag = flag.replace(&named, &place);
    }
    flags
}

/// What stands before kube-apiserver, and who comes to it.
pub(super) struct Front {
    pub(super) countersign: Server,
    pub(super) envoy: Envoy,
    pub(super) dir: TempDir,
    pub(super) kubectl: Kubectl,
}

impl Front {
    /// With these flags for countersign, these files in `certs` besides, and this change of Envoy's configuration.
    pub(super) async fn start(
        world: &World,
        flags: &[String],
        files: &[(&str, &[u8])],
        wiring: impl FnOnce(Config) -> Config,
    ) -> Self {
        let countersign = Server::start(world.dir.path(), flags);
        countersign.until_ready().await;

        let dir = TempDir::new().unwrap();
        fs::create_dir(dir.path().join("certs")).unwrap();
        let authority = fs::read(world.live.dir.path().join("certificates/apiserver.crt")).unwrap();
        for (name, content) in files.iter().chain(&[("kubernetes-ca.crt", &*authority)]) {
            fs::write(dir.path().join("certs").join(name), content).unwrap();
        }
        let code = r#"code: "%RESPONSE_CODE%""#;
        // As they are after all filters, and so as kube-apiserver gets them.
        let more = [r#"protocol: "%PROTOCOL%""#, r#"authorization: "%REQ(AUTHORIZATION)%""#];
        let log = format!("\n{:26}", "");
        let config = Config::shipped()
            .with_client_certificates()
            .with_chains()
            .option("kube")
            .application(world.live.port)
            .countersign(&[&countersign.address])
            .with(code, &[code, more[0], more[1]].join(&log));
        let envoy = Envoy::start(dir.path(), &wiring(config)).await;
        let kubectl = Kubectl::new(world, envoy.edge.address.port(), &dir.path().join("certs/server.crt"));
        Self { countersign, envoy, dir, kubectl }
    }

    /// With the words that kubectl has for them, which are those that it has at kube-apiserver itself.
    async fn assert_others_are_kept_out(&self) {
        let kubectl = &self.kubectl;
        for name in ["alice", "mallory"] {
            let ran = kubectl.run(
                "edge",
                name,
                &["--as=root", "--as-group=system:masters", "auth", "whoami", "-o", "json"],
            );
            assert_eq!(reviewed(ran.answer.as_bytes()).username, name, "nobody is anybody else");
        }
        self.assert_strangers_are_kept_out().await;
    }

    /// Whatever kube-apiserver thinks of impersonation.
    pub(super) async fn assert_strangers_are_kept_out(&self) {
        let kubectl = &self.kubectl;
        let forbidden = "Error from server (Forbidden): namespaces is forbidden: User \"mallory\" cannot list resource \"namespaces\" \
                         in API group \"\" at the cluster scope\n";
        let mallory = kubectl.run("edge", "mallory", &["get", "ns"]);
        assert_eq!((mallory.code, &*mallory.said), (1, forbidden));

        // kubectl always has something to present.
        let anonymous = self.envoy.edge.http2(&[]).await.unwrap();
        assert_eq!(anonymous.status, 403, "{anonymous:?}");
        assert!(
            anonymous.body.contains(r#"User \"system:anonymous\" cannot get path \"/\""#),
            "{}",
            anonymous.body
        );

        let unauthorized = "error: You must be logged in to the server (Unauthorized)\n";
        for name in ["nobody", "admin"] {
            let ran = kubectl.run("edge", name, &["auth", "whoami"]);
            assert_eq!((ran.code, &*ran.said, &*ran.answer), (1, unauthorized, ""), "{name}");
        }
        let [ours, theirs] = ["edge", "direct"].map(|cluster| {
            let ran = kubectl.run(cluster, "nobody", &["get", "ns"]);
            (ran.code, ran.said.lines().last().unwrap().to_owned(), ran.answer)
        });
        assert_eq!(ours, theirs);
        assert!(ours.1.starts_with("error: You must be logged in to the server ("), "{}", ours.1);
    }

    /// After [`Self::assert_strangers_are_kept_out`], whose tokens are in the log and show that they would be seen there.
    async fn assert_no_token_went_further(&self) {
        for request in self.requests().await {
            assert_eq!(request["authorization"].is_null(), request["code"] != 401, "{request}");
        }
    }

    /// What Envoy has logged, up to what [`Self::assert_strangers_are_kept_out`] does last.
    pub(super) async fn requests(&self) -> Vec<Json> {
        let log = self.dir.path().join("envoy.log");
        let requests = wait_for(PATIENCE, "request that was turned away in Envoy's log", async || {
            let log = fs::read_to_string(&log).unwrap();
            let lines = log.lines().filter(|line| line.ends_with('}'));
            let requests: Vec<Json> = lines.filter_map(|line| serde_json::from_str(line).ok()).collect();
            let of_nobody =
                |request: &Json| request["code"] == 401 && request["authorization"] == "Bearer wrong-token";
            let last = requests.last().is_some_and(of_nobody);
            last.then_some(requests)
        })
        .await;
        for request in &requests {
            assert_eq!(request["protocol"], "HTTP/2", "{request}");
        }
        assert!(requests.iter().filter(|request| request["code"] == 200).count() >= 8, "{requests:?}");
        requests
    }
}

/// kubectl with a home of its own.
pub(super) struct Kubectl {
    home: TempDir,
}

/// How kubectl has ended.
pub(super) struct Ran {
    pub(super) code: i32,
    pub(super) answer: String,
    pub(super) said: String,
}

impl Kubectl {
    fn new(world: &World, edge: u16, trusted: &Path) -> Self {
        let home = TempDir::new().unwrap();
        let token = |name: &str, token: &str| json!({"name": name, "user": {"token": token}});
        let file = |name: &str, content: &str| fs::write(home.path().join(name), content).unwrap();
        file("carol.crt", &world.carol.chain);
        file("carol.key", &world.carol.key);
        let carol = json!({"client-certificate": "carol.crt", "client-key": "carol.key"});
        let cluster = |port: u16, name: &str, trusted: &Path| json!({"server": format!("https://127.0.0.1:{port}"), "tls-server-name": name, "certificate-authority": trusted});
        let certificate = world.live.dir.path().join("certificates/apiserver.crt");
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "edge", "user": "nobody"}}],
            "clusters": [
                {"name": "edge", "cluster": cluster(edge, "edge.test", trusted)},
                {"name": "direct", "cluster": cluster(world.live.port, "kubernetes", &certificate)},
            ],
            "users": [
                token("alice", "alice-token"), token("mallory", "mallory-token"), token("mary", "mary-token"),
                token("pod", &world.pod), token("oscar", &world.oscar), {"name": "carol", "user": carol},
                token("nobody", "wrong-token"), token("admin", "admin-token"),
            ],
        });
        file("kubeconfig", &kubeconfig.to_string());
        Self { home }
    }

    pub(super) fn run(&self, cluster: &str, user: &str, arguments: &[&str]) -> Ran {
        let home = self.home.path();
        let mut command = Command::new(binaries().join("kubectl"));
        command.env_clear().env("HOME", home).env("KUBECONFIG", home.join("kubeconfig"));
        command.current_dir(home).stdin(Stdio::null());
        command.args(["--request-timeout=20s", &format!("--cache-dir=cache-{user}")]);
        command.args([format!("--cluster={cluster}"), format!("--user={user}")]).args(arguments);
        let output = command.output().unwrap();
        let [answer, said] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        Ran { code: output.status.code().unwrap(), answer, said }
    }

    pub(super) fn whoami(&self, user: &str) -> User {
        let ran = self.run("edge", user, &["auth", "whoami", "-o", "json"]);
        assert_eq!((ran.code, &*ran.said), (0, ""), "{user}");
        reviewed(ran.answer.as_bytes())
    }

    /// Names and states, once there is a right to see them: kube-apiserver hears of a new one a moment later.
    pub(super) async fn namespaces(&self, cluster: &str, user: &str) -> Vec<[String; 2]> {
        let table = wait_for(PATIENCE, "right to list namespaces", async || {
            let ran = self.run(cluster, user, &["get", "ns"]);
            (ran.code == 0).then_some(ran.answer)
        })
        .await;
        let row = |line: &str| -> Vec<String> { line.split_whitespace().map(str::to_owned).collect() };
        let mut rows = table.lines().map(row);
        assert_eq!(rows.next().unwrap(), ["NAME", "STATUS", "AGE"]);
        rows.map(|row| [row[0].clone(), row[1].clone()]).collect()
    }
}
