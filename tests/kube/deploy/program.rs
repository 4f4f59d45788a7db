//! The program, started with the arguments and the files of a Deployment.

use std::collections::BTreeMap;
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use serde_json::Value as Json;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Error, Identity};

use super::super::bootstrap::request;
use super::super::edge::{Authority, Certified};
use super::super::live::Live;
use super::super::live_accounts::token;
use super::super::pod::in_pod;
use super::super::support::envoy::{Encoding, check_request};
use super::super::support::program::{PATIENCE, Server, countersign, until};
use super::super::support::verdict::Verdict;
use super::super::support::volume::Volume;
use super::cluster::{bare, with_rights};
use super::rendered::{Objects, deployment, helm, kustomizations, kustomize, kustomize_with, output, tool};
use super::{COMPONENTS, root};

/// Where the volumes are in the Pod.
const PLACE: &str = "/etc/countersign/";

pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// The volumes of a Deployment by their names, with what is in them.
pub(super) struct Volumes(BTreeMap<String, Volume>);

impl Volumes {
    /// As the objects say, but for Secrets that others make.
    pub(super) fn new(objects: &Objects, others: &[(&str, Files)]) -> Self {
        let pod = &deployment(objects)["spec"]["template"]["spec"];
        let volume = |volume: &Json| {
            let name = volume["name"].as_str().unwrap();
            let mounted = pod["containers"][0]["volumeMounts"].as_array().unwrap().iter();
            let mounted = mounted.filter(|mount| mount["name"] == name).collect::<Vec<_>>();
            let [mount] = mounted[..] else { panic!("{name} is mounted once") };
            assert_eq!(mount["mountPath"], format!("{PLACE}{name}"));
            assert!(mount["subPath"].is_null(), "kubelet never renews a file that is mounted by subPath");
            let made_by = [&volume["configMap"]["name"], &volume["secret"]["secretName"]]
                .into_iter()
                .find_map(Json::as_str)
                .unwrap();
            let of_others = others.iter().find(|(secret, _)| *secret == made_by);
            let files = of_others.map_or_else(|| files(objects, made_by), |(_, files)| files.clone());
            let files: Vec<_> = files.iter().map(|(name, content)| (&**name, &**content)).collect();
            (name.to_owned(), Volume::new(&files))
        };
        Self(pod["volumes"].as_array().unwrap().iter().map(volume).collect())
    }

    /// The program's arguments, with ports that nobody else has, and without the first, which is `serve`.
    pub(super) fn arguments(&self, objects: &Objects) -> Vec<String> {
        let container = &deployment(objects)["spec"]["template"]["spec"]["containers"][0];
        assert!(container["command"].is_null() && container["env"].is_null());
        let arguments =
            container["args"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap());
        let [first, arguments @ ..] = &arguments.collect::<Vec<_>>()[..] else { panic!("no arguments") };
        assert_eq!(*first, "serve");
        arguments.iter().map(|argument| self.adapted(argument)).collect()
    }

    fn adapted(&self, text: &str) -> String {
        let mut text = text.replace("-listen=0.0.0.0:9002", "-listen=127.0.0.1:0").replace(":9001", ":0");
        for (name, volume) in &self.0 {
            text = text.replace(&format!("{PLACE}{name}/"), &format!("{}/", volume.path().display()));
        }
        text
    }

    /// What the ConfigMap says of places holds here.
    pub(super) fn adapt_config(&mut self, objects: &Objects) {
        let config = files(objects, "countersign");
        let config: Vec<_> =
            config.iter().map(|(name, text)| (&**name, str::from_utf8(text).unwrap())).collect();
        self.put("config", &config);
    }

    /// Replaces the files of a volume; what they say of places holds here.
    fn put(&mut self, name: &str, files: &[(&str, &str)]) {
        let adapted: Vec<_> = files.iter().map(|(name, text)| (*name, self.adapted(text))).collect();
        let files: Vec<_> = adapted.iter().map(|(name, text)| (*name, text.as_bytes())).collect();
        self.0.get_mut(name).unwrap().put(&files);
    }
}

/// What is in a ConfigMap or Secret, which may be missing.
fn files(objects: &Objects, name: &str) -> Files {
    let named = objects.iter().filter(|object| object["metadata"]["name"] == name);
    let mut files = Files::new();
    for object in named.filter(|object| object["data"].is_object()) {
        for (file, content) in object["data"].as_object().unwrap() {
            let content = content.as_str().unwrap();
            let decoded = || STANDARD.decode(content).unwrap();
            let content = if object["kind"] == "Secret" { decoded() } else { content.into() };
            files.insert(file.clone(), content);
        }
    }
    files
}

/// Both ends of mutual TLS.
pub(super) struct Internal {
    pub(super) authority: Authority,
    pub(super) envoy: Certified,
}

const NAME: &str = "countersign.countersign.svc";

impl Internal {
    pub(super) fn new() -> Self {
        let authority = Authority::root("countersign");
        let envoy = authority.certify("envoy", &[]);
        Self { authority, envoy }
    }

    /// The Secret `countersign-tls`.
    fn files(&self) -> [(&'static str, String); 3] {
        let own = self.authority.serve(NAME);
        [("tls.crt", own.chain), ("tls.key", own.key), ("ca.crt", self.authority.pem.clone())]
    }

    async fn channel(&self, server: &Server) -> Result<Channel, Error> {
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(&self.authority.pem))
            .identity(Identity::from_pem(&self.envoy.chain, &self.envoy.key))
            .domain_name(NAME);
        let endpoint = Endpoint::from_shared(format!("https://{}", server.address)).unwrap();
        endpoint.tls_config(tls).unwrap().timeout(PATIENCE).connect().await
    }

    /// Who countersign tells the upstream that a bearer token is, or nobody.
    async fn user(&self, server: &Server, token: &str) -> Option<String> {
        let mut client = AuthorizationClient::new(self.channel(server).await.unwrap());
        let answer = client.check(check_request(&request(token), Encoding::Raw)).await.unwrap().into_inner();
        let Some(HttpResponse::OkResponse(ok)) = answer.http_response else { return None };
        let headers = ok.headers.into_iter().filter_map(|option| option.header);
        let user = ["x-remote-user", "impersonate-user"];
        headers.into_iter().find(|header| user.contains(&&*header.key)).map(|header| header.value)
    }
}

pub(super) fn serve(arguments: &[String]) -> Command {
    countersign("serve", root("").as_path(), &[arguments, &["--reload-interval=50ms".to_owned()]].concat())
}

pub(super) fn tls(internal: &Internal) -> Files {
    internal.files().into_iter().map(|(name, text)| (name.to_owned(), text.into_bytes())).collect()
}

pub(super) fn credentials(tokens: &str) -> Files {
    Files::from([("tokens.csv".to_owned(), tokens.as_bytes().to_vec())])
}

/// The base: each of its three volumes changes, as kubelet changes it, and countersign follows without a restart.
#[tokio::test]
async fn the_program_serves_what_the_volumes_of_its_pod_say_and_follows_them() {
    let objects = kustomize("deploy/kubernetes");
    let before = Internal::new();
    let mut volumes = Volumes::new(
        &objects,
        &[("countersign-tls", tls(&before)), ("countersign-credentials", credentials("one,alice,\n"))],
    );
    let config =
        String::from_utf8(files(&objects, "countersign").remove("countersign.yaml").unwrap()).unwrap();
    volumes.adapt_config(&objects);
    let mut server = Server::run(serve(&volumes.arguments(&objects)));
    server.until_ready().await;
    assert_eq!(before.user(&server, "one").await.as_deref(), Some("alice"));
    assert_eq!(before.user(&server, "two").await, None);
    let (_, page) = server.admin_page("/metrics").await;
    assert!(page.contains("countersign_checks_allowed_total"), "{page}");

    volumes.put("credentials", &[("tokens.csv", "two,alice,\n")]);
    server.wait_for("reloaded");
    assert_eq!(before.user(&server, "one").await, None);
    assert_eq!(before.user(&server, "two").await.as_deref(), Some("alice"));

    let after = Internal::new();
    let renewed = after.files();
    volumes.put("tls", &renewed.each_ref().map(|(name, text)| (*name, &**text)));
    server.wait_for("reloaded");
    assert_eq!(after.user(&server, "two").await.as_deref(), Some("alice"));
    assert!(before.channel(&server).await.is_err(), "the old CA counts no more");

    let more = config.replace("credentials/tokens.csv", "config/more.csv");
    volumes.put("config", &[("countersign.yaml", &more), ("more.csv", "three,alice,\n")]);
    server.wait_for("reloaded");
    assert_eq!(after.user(&server, "two").await, None);
    assert_eq!(after.user(&server, "three").await.as_deref(), Some("alice"));
}

/// What does not ask the cluster, in every form in which it is shipped.
#[tokio::test]
async fn the_program_starts_with_the_arguments_and_files_of_every_deployment() {
    let internal = Internal::new();
    let mut shipped = vec![
        ("deploy/kubernetes".to_owned(), kustomize("deploy/kubernetes")),
        ("deploy/kubernetes/example".to_owned(), kustomize("deploy/kubernetes/example")),
        ("deploy/helm".to_owned(), helm(&[])),
    ];
    shipped.extend(kustomizations("deploy/gateways").into_iter().map(|folder| {
        let objects = kustomize(&folder);
        (folder, objects)
    }));
    for (place, objects) in shipped {
        let mut secrets = vec![("countersign-tls", tls(&internal))];
        if files(&objects, "countersign-credentials").is_empty() {
            secrets.push(("countersign-credentials", credentials("")));
        }
        let mut volumes = Volumes::new(&objects, &secrets);
        volumes.adapt_config(&objects);
        println!("{place}");
        let server = Server::run(serve(&volumes.arguments(&objects)));
        // The issuer of the example is nowhere.
        server.until_ready().await;
    }
}

/// Everything at once, with the rights that the components give and no others.
#[tokio::test(flavor = "multi_thread")] // kubectl blocks
async fn with_all_components_the_program_gets_along_with_the_rights_that_they_give() {
    let live = bare().await;
    let names: Vec<&str> = COMPONENTS.iter().map(|(name, _)| *name).collect();
    let objects = kustomize_with(&names);
    let file = live.dir.path().join("objects.json");
    std::fs::write(
        &file,
        serde_json::json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string(),
    )
    .unwrap();
    output(with_rights(&live, tool("kubectl").args(["apply", "--filename"]).arg(&file)));

    let internal = Internal::new();
    let key = std::fs::read(root("tests/conformance/world/sa/rsa1.pub")).unwrap();
    let mut credentials = credentials("one,alice,\n");
    credentials.insert("sa.pub".to_owned(), key);
    let secrets = [("countersign-tls", tls(&internal)), ("countersign-credentials", credentials)];
    let mut volumes = Volumes::new(&objects, &secrets);
    let config = "anonymous-auth: false\ntoken-auth-file: /etc/countersign/credentials/tokens.csv\n\
                  service-account-key-file: /etc/countersign/credentials/sa.pub\n\
                  service-account-issuer: https://issuer.example.test\n";
    volumes.put("config", &[("countersign.yaml", config)]);

    let own = token(&live, ["countersign"; 2], None).await;
    let ca = std::fs::read(live.dir.path().join("certificates/apiserver.crt")).unwrap();
    let pod = Volume::new(&[("token", own.as_bytes()), ("ca.crt", &ca)]);
    let Some(command) = in_pod(&live, &pod, &serve(&volumes.arguments(&objects))) else { return };
    let server = Server::run(command);
    // Ready is who may watch all that is to be watched.
    server.until_ready().await;
    until_known(&live, &internal, &server, &own).await;
}

/// The token of a Pod of the cluster counts: its account is there, as a watch says.
async fn until_known(live: &Live, internal: &Internal, server: &Server, token: &str) {
    let Verdict::Authenticated(theirs) = Live::review(&live.nobody(), token).await else {
        panic!("kube-apiserver does not know its own token")
    };
    assert_eq!(theirs.username, "system:serviceaccount:countersign:countersign");
    until("the account's token counts", async || internal.user(server, token).await.is_some()).await;
}
