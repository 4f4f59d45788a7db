//! countersign as a pod: it finds the cluster by what kubelet gives every pod, with a token of the TokenRequest API that kubelet replaces.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::bootstrap::{self, until};
use super::cluster::{AUDIT_POLICY, wait_for};
use super::faults::{WEBHOOK_ONLY, bound, may_review};
use super::live::{KUBECONFIG, Live};
use super::live_accounts::{FLAGS, create_team, delete, token};
use super::support::program::{PATIENCE, Server};
use super::support::verdict::Verdict;
use super::support::volume::Volume;
use super::vectors::data;

/// Where a pod finds its credentials.
const PLACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// `kube` reads the token of the watches anew each 50 s, and a watch lasts 30; the rest is for the machine.
const ROTATION: Duration = Duration::from_secs(150);

/// kube-apiserver remembers for ten seconds that a token was good; the rest is for the machine.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// The watches and the reviews go on as whoever the token is of, without a failure, when kubelet has put another in its place and the first is
/// worth nothing any more.
#[tokio::test]
async fn a_pod_knows_its_cluster_and_outlives_its_token() {
    let dir = TempDir::new().unwrap();
    fs::write(dir.path().join("audit.yaml"), AUDIT_POLICY).unwrap();
    let audit = [
        "--audit-policy-file=audit.yaml",
        "--audit-log-path=audit.log",
        "--audit-log-mode=blocking", // an event is in the file before its request is answered
    ];
    let live = Live::start_in(dir, &[], &audit).await;
    create_team(&live).await;
    let mut tokens = Vec::new();
    for name in ["countersign-0", "countersign-1"] {
        live.create(&own_pod(name)).await;
        tokens.push(token(&live, ["countersign"; 2], Some(["Pod", name])).await);
    }
    let [first, second] = tokens.try_into().unwrap();
    let ca = fs::read(live.dir.path().join("certificates/apiserver.crt")).unwrap();
    let mut volume = Volume::new(&[("token", first.as_bytes()), ("ca.crt", &ca)]);

    let mut server = start(&live, &volume);
    server.until_ready().await;
    let theirs = Live::review(&live.nobody(), WEBHOOK_ONLY).await;
    until(&Verdict::Refused, &server, WEBHOOK_ONLY, Duration::ZERO).await;
    assert_eq!(server.wait_for("denied")["fields"]["rejected"], "webhook: token_review_unavailable");
    live.create(&may_review()).await;
    until(&theirs, &server, WEBHOOK_ONLY, PATIENCE).await;
    live.create(&bootstrap::secret("abcdef")).await;
    until(&bootstrap::user("abcdef"), &server, &bootstrap::token("abcdef"), PATIENCE).await;
    let [known] = bound(&live, ["known"]).await;
    let counts = Live::review(&live.nobody(), &known).await;
    until(&counts, &server, &known, PATIENCE).await;
    let seen = |token: &str| requests(&live, token);
    assert_eq!(
        seen(&first),
        ["create tokenreviews", "watch nodes", "watch pods", "watch secrets", "watch serviceaccounts"]
    );

    volume.put(&[("token", second.as_bytes()), ("ca.crt", &ca)]);
    let rotated = Instant::now();
    while !seen(&second).contains(&"create tokenreviews".to_owned()) {
        assert!(rotated.elapsed() < PATIENCE, "not anew each 50 s, as the watches do");
        until(&theirs, &server, WEBHOOK_ONLY, Duration::ZERO).await;
    }
    println!("reviews are asked for with the new token after {:?}", rotated.elapsed());
    wait_for(ROTATION, "watch with the new token", async || (seen(&second).len() == 5).then_some(())).await;
    println!("all watches have the new token after {:?}", rotated.elapsed());
    assert_eq!(seen(&second), seen(&first));

    delete::<Pod>(&live, "countersign", "countersign-0").await;
    let dead = Instant::now();
    while Live::review(&live.nobody(), &first).await != Verdict::Refused {
        assert!(dead.elapsed() < FORGOTTEN);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    until(&theirs, &server, WEBHOOK_ONLY, Duration::ZERO).await;
    let [new] = bound(&live, ["new"]).await;
    until(&Live::review(&live.nobody(), &new).await, &server, &new, PATIENCE).await;
    delete::<Pod>(&live, "team", "known").await;
    until(&Verdict::Refused, &server, &known, PATIENCE).await;
    let unauthorized = events(&live).into_iter().filter(|event| {
        event["responseStatus"]["code"] == 401 && event["requestURI"].as_str().unwrap().contains("watch=true")
    });
    assert_eq!(unauthorized.collect::<Vec<_>>(), [Json::Null; 0]);
}

/// A Pod of ours.
fn own_pod(name: &str) -> Json {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "countersign", "name": name},
        "spec": {"serviceAccountName": "countersign", "containers": [{"name": "c", "image": "none.test/none"}]},
    })
}

/// countersign with what a pod has: two variables, and the volume in its place, for which it gets a view of the file system of its own. Where
/// the system does not allow that, kubeconfigs name the same files; what stands above them has unit tests.
fn start(live: &Live, volume: &Volume) -> Server {
    let flags = [
        &FLAGS[..],
        &[bootstrap::FLAG, "--groups-encoding=metadata", "--reload-interval=100ms"],
        &[
            // So that each is asked about.
            "--authentication-token-webhook-cache-ttl=0s",
            "--token-success-cache-ttl=0s",
        ],
    ];
    let flags = flags.concat();
    let in_cluster = [&flags[..], &["--authentication-token-review=in-cluster"]].concat();
    if let Some(command) = in_pod(live, volume, &Server::command(&data("world"), &in_cluster)) {
        return Server::run(command);
    }
    let kubeconfig = |path: &str| {
        let own = live.kubeconfig(path);
        let file = |name: &str| volume.path().join(name).display().to_string();
        own.replace("countersign.token", &file("token"))
            .replace("certificates/apiserver.crt", &file("ca.crt"))
    };
    live.write(KUBECONFIG, &kubeconfig(""));
    live.write("webhook.kubeconfig", &kubeconfig("/apis/authentication.k8s.io/v1/tokenreviews"));
    let path = |name: &str| live.dir.path().join(name).display().to_string();
    let [kubeconfig, webhook] = [KUBECONFIG, "webhook.kubeconfig"].map(path);
    let kubeconfig = format!("--kubeconfig={kubeconfig}");
    let webhook = format!("--authentication-token-webhook-config-file={webhook}");
    let more = [&*kubeconfig, &*webhook, "--authentication-token-webhook-version=v1"];
    Server::start(&data("world"), &[&flags[..], &more].concat())
}

/// The program with what a pod has, if the system allows a view of the file system of its own.
pub(super) fn in_pod(live: &Live, credentials: &Volume, program: &Command) -> Option<Command> {
    let own_view = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-ec", script, "sh"]).arg(credentials.path());
        command
    };
    let script =
        format!("mount -t tmpfs none /var/run; mkdir -p {PLACE}; mount --bind \"$1\" {PLACE}; shift");
    if !own_view(&script).status().is_ok_and(|status| status.success()) {
        println!(
            "NOT in a pod's own view of the file system, which this system does not allow (unshare --map-root-user --mount)"
        );
        return None;
    }
    let mut command = own_view(&format!("{script}; exec \"$@\""));
    command.arg(program.get_program()).args(program.get_args());
    command.current_dir(program.get_current_dir().unwrap());
    command.env("KUBERNETES_SERVICE_HOST", "127.0.0.1").env("KUBERNETES_SERVICE_PORT", live.port.to_string());
    Some(command)
}

/// What was asked of kube-apiserver with a token and granted, apart from lists and single objects; each once.
fn requests(live: &Live, token: &str) -> Vec<String> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let id = serde_json::from_slice::<Json>(&claims).unwrap()["jti"].as_str().unwrap().to_owned();
    let credential = json!([format!("JTI={id}")]);
    let is_meant = |event: &Json| {
        event["user"]["extra"]["authentication.kubernetes.io/credential-id"] == credential
            && ["watch", "create"].contains(&event["verb"].as_str().unwrap())
            && [200, 201].map(Json::from).contains(&event["responseStatus"]["code"])
    };
    let name = |event: Json| {
        format!("{} {}", event["verb"].as_str().unwrap(), event["objectRef"]["resource"].as_str().unwrap())
    };
    let mut seen: Vec<_> = events(live).into_iter().filter(is_meant).map(name).collect();
    seen.sort();
    seen.dedup();
    seen
}

/// The audit log of kube-apiserver.
fn events(live: &Live) -> Vec<Json> {
    let log = fs::read_to_string(live.dir.path().join("audit.log")).unwrap();
    // The last may be half written.
    log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
