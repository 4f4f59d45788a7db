//! A real kube-apiserver takes the objects, with field validation on and with the custom resource definitions of cert-manager, the Prometheus
//! operator and the gateways.

use std::process::Command;
use std::time::Instant;
use std::{fs, iter};

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::super::cluster::{START, binaries, wait_for};
use super::super::live::{ADMIN, Live};
use super::rendered::{
    Objects, alone, deployment, helm, kustomizations, kustomize, of_kind, output, overlay, tool,
};
use super::{commands, documents, root};

/// A cluster that knows the kinds of all those projects, and none of our objects.
pub(super) async fn bare() -> Live {
    let dir = TempDir::new().unwrap();
    let live = Live::start_bare(dir, &[], &[]).await;
    let cluster = json!({
        "server": format!("https://127.0.0.1:{}", live.port), "tls-server-name": "kubernetes",
        "certificate-authority": "certificates/apiserver.crt",
    });
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "admin",
        "contexts": [{"name": "admin", "context": {"cluster": "live", "user": "admin"}}],
        "clusters": [{"name": "live", "cluster": cluster}], "users": [{"name": "admin", "user": {"token": ADMIN}}],
    });
    live.write("admin.kubeconfig", &kubeconfig.to_string());
    let definitions = binaries().join("definitions");
    output(with_rights(
        &live,
        tool("kubectl").args(["apply", "--server-side", "--filename"]).arg(&definitions),
    ));
    // A kind that is established is discovered a moment later.
    let wait =
        ["wait", "--for=condition=Established", &format!("--timeout={}s", START.as_secs()), "crd", "--all"];
    output(with_rights(&live, tool("kubectl").args(wait)));
    let names = output(with_rights(&live, tool("kubectl").args(["get", "crd", "--output=name"])));
    let names: Vec<_> = names.lines().map(|name| name.split_once('/').unwrap().1).collect();
    wait_for(START, "discovery of all kinds", async || {
        let mut discover = tool("kubectl");
        let there = with_rights(&live, discover.args(["api-resources", "--output=name"])).output().unwrap();
        let there = String::from_utf8(there.stdout).unwrap();
        names.iter().all(|name| there.lines().any(|line| line == *name)).then_some(())
    })
    .await;
    live
}

/// The command may do everything in the cluster.
pub(super) fn with_rights<'c>(live: &Live, command: &'c mut Command) -> &'c mut Command {
    command.env("KUBECONFIG", live.dir.path().join("admin.kubeconfig")).env("HOME", live.dir.path())
}

/// Runs a block of commands from a README at the top of a copy of the repository, where the files are that they name.
fn run(live: &Live, block: &str) {
    let dir = TempDir::new().unwrap();
    std::os::unix::fs::symlink(root("deploy"), dir.path().join("deploy")).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap().pem();
    let key = key.serialize_pem();
    for (name, text) in
        [("tls.crt", &*certificate), ("ca.crt", &certificate), ("tls.key", &key), ("tokens.csv", "")]
    {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let mut command = Command::new("sh");
    alone(&mut command);
    command.args(["-ec", block]).current_dir(dir.path());
    output(with_rights(live, &mut command));
}

#[tokio::test(flavor = "multi_thread")] // the commands block
async fn a_real_kube_apiserver_takes_every_object_by_the_commands_of_the_readmes() {
    let live = bare().await;
    live.create(&namespace("edge")).await;
    let [example, base] = commands("deploy/kubernetes/README.md").try_into().unwrap();
    run(&live, &base);
    admits(&live, "countersign", &kustomize("deploy/kubernetes")).await;
    let load_test = commands("deploy/kubernetes/load-test/README.md").remove(0);
    run(&live, load_test.lines().next().unwrap());
    // A controller would have made it.
    let account = json!({"name": "default", "namespace": "countersign"});
    live.create(&json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})).await;
    let job = documents(&fs::read_to_string(root("deploy/kubernetes/load-test/job.yaml")).unwrap());
    admits_pod(&live, "countersign", &of_kind(&job, "Job")["spec"]["template"]).await;
    delete(&live, "countersign");
    run(&live, &example);
    admits(&live, "countersign", &kustomize("deploy/kubernetes/example")).await;
    delete(&live, "countersign");

    let [install, label] = commands("deploy/helm/countersign/README.md").try_into().unwrap();
    run(&live, &install);
    run(&live, &label);
    admits(&live, "countersign", &helm(&[])).await;
    let everything =
        super::COMPONENTS.iter().map(|(_, value)| format!("--set={value}=true")).collect::<Vec<_>>();
    let upgrade = ["upgrade", "countersign", "--namespace=countersign"];
    let mut command = tool("helm");
    command.args(upgrade).args(&everything).arg(root("deploy/helm/countersign"));
    output(with_rights(&live, &mut command));
}

fn namespace(name: &str) -> Json {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

/// Each folder of `deploy/gateways`, countersign's own objects among them.
#[tokio::test(flavor = "multi_thread")] // kubectl blocks
async fn a_real_kube_apiserver_takes_the_objects_of_every_gateway() {
    let live = bare().await;
    live.create(&namespace("istio-ingress")).await;
    live.create(&namespace("gloo-system")).await;
    let gateways = kustomizations("deploy/gateways");
    assert_eq!(gateways.len(), 5);
    for folder in gateways {
        let rendered = kustomize(&folder);
        let objects = known(rendered.clone());
        if objects.len() == rendered.len() {
            let [apply] = commands(&format!("{folder}/README.md")).try_into().unwrap();
            run(&live, &apply);
        } else {
            println!("NOT all of {folder}");
            let file = live.dir.path().join("objects.json");
            let list = json!({"apiVersion": "v1", "kind": "List", "items": objects});
            fs::write(&file, list.to_string()).unwrap();
            output(with_rights(&live, tool("kubectl").args(["apply", "--filename"]).arg(&file)));
        }
        admits(&live, "countersign", &objects).await;
        let file = live.dir.path().join("component.json");
        for component in kustomizations(&folder) {
            let more = json!({"apiVersion": "v1", "kind": "List", "items": overlay(&folder, &[&component])});
            fs::write(&file, more.to_string()).unwrap();
            output(with_rights(&live, tool("kubectl").args(["apply", "--filename"]).arg(&file)));
        }
        // The next has the same names.
        delete(&live, "countersign");
        delete(&live, "edge");
    }
}

/// Groups of kinds whose definitions no Go module proxy has, as the pages of their gateways say.
const IN_NO_MODULE: [&str; 3] = ["gateway.kgateway.dev", "gateway.solo.io", "gloo.solo.io"];

/// Less those of such groups, unless somebody has put their definitions beside the others.
fn known(objects: Objects) -> Objects {
    let files = fs::read_dir(binaries().join("definitions")).unwrap();
    let definitions: String = files.map(|file| fs::read_to_string(file.unwrap().path()).unwrap()).collect();
    let is_known = |group: &str| {
        !IN_NO_MODULE.contains(&group) || definitions.contains(&format!("\n  group: {group}\n"))
    };
    let group = |object: &Json| object["apiVersion"].as_str().unwrap().split('/').next().map(str::to_owned);
    objects.into_iter().filter(|object| group(object).is_some_and(|group| is_known(&group))).collect()
}

/// That the kinds are known and nothing passes unread.
#[tokio::test(flavor = "multi_thread")] // kubectl blocks
async fn a_field_that_nobody_knows_is_refused_in_each_kind() {
    let live = bare().await;
    let folders =
        kustomizations("deploy/gateways").into_iter().chain(["deploy/kubernetes/example".to_owned()]);
    let mut kinds = Vec::new();
    for mut object in folders.flat_map(|folder| known(kustomize(&folder))) {
        let kind = object["kind"].as_str().unwrap().to_owned();
        if kinds.contains(&kind) || !object["spec"].is_object() {
            continue;
        }
        object["spec"]["nobodyKnowsThis"] = json!(true);
        object["metadata"]["namespace"] = "default".into();
        let file = live.dir.path().join("odd.json");
        fs::write(&file, object.to_string()).unwrap();
        let mut apply = tool("kubectl");
        let apply = with_rights(&live, apply.args(["apply", "--dry-run=server", "--filename"]).arg(file));
        let refused = apply.output().unwrap();
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(said.contains(r#"unknown field "spec.nobodyKnowsThis""#), "{kind}: {said}");
        kinds.push(kind);
    }
    for kind in ["Deployment", "NetworkPolicy", "Certificate", "Issuer", "ServiceMonitor"] {
        assert!(kinds.iter().any(|seen| seen == kind), "{kind} among {kinds:?}");
    }
    println!("{} kinds: {}", kinds.len(), kinds.join(" "));
}

/// The Pod of the Deployment is let into the namespace, where the Pod Security Standard `restricted` holds: less of it is not.
async fn admits(live: &Live, namespace: &str, objects: &[Json]) {
    admits_pod(live, namespace, &deployment(objects)["spec"]["template"]).await;
}

async fn admits_pod(live: &Live, namespace: &str, template: &Json) {
    let mut pod = template.clone();
    pod["apiVersion"] = "v1".into();
    pod["kind"] = "Pod".into();
    pod["metadata"]["name"] = "countersign-0".into();
    let pods: Api<Pod> = Api::namespaced(live.admin(), namespace);
    let create = async |pod: &Json| {
        let pod: Pod = serde_json::from_value(pod.clone()).unwrap();
        pods.create(&PostParams { dry_run: true, ..PostParams::default() }, &pod).await
    };
    // The account is known to admission a moment after it is made.
    let begin = Instant::now();
    while let Err(error) = create(&pod).await {
        assert!(error.to_string().contains("serviceaccount") && begin.elapsed() < START, "{error}");
    }
    for (place, field) in iter::zip(
        ["/spec/securityContext", "/spec/containers/0/securityContext", "/spec/containers/0/securityContext"],
        ["seccompProfile", "capabilities", "allowPrivilegeEscalation"],
    ) {
        let mut without = pod.clone();
        without.pointer_mut(place).unwrap().as_object_mut().unwrap().remove(field).unwrap();
        let refused = create(&without).await.unwrap_err().to_string();
        assert!(refused.contains(r#"violates PodSecurity "restricted:latest""#), "{field}: {refused}");
    }
}

/// Takes everything out of the namespace, which nobody's controller would do here.
fn delete(live: &Live, namespace: &str) {
    let kinds = "certificates,issuers,servicemonitors,deployments,services,configmaps,secrets,serviceaccounts,hpa,pdb,networkpolicies,gateways.gateway.networking.k8s.io,httproutes";
    let mut command = tool("kubectl");
    command.args(["delete", kinds, "--all", "--namespace", namespace]);
    output(with_rights(live, &mut command));
}
