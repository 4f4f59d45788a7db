//! What `deploy/kubernetes`, `deploy/helm` and `deploy/gateways` render: the same objects either way, which a real kube-apiserver takes, and a
//! Deployment with whose arguments and files the program starts.

mod cluster;
mod gateways;
mod hardening;
mod program;
mod rendered;
mod values;

use std::fs;

use serde_json::{Value as Json, json};

use super::live::{documents, roles, root};
use rendered::{COMPONENTS, Objects, deployment, helm, helm_as, kustomize, kustomize_with, of_kind};

/// With no option, each, and all.
#[test]
fn the_chart_makes_the_objects_of_the_base_and_its_components() {
    let all: Vec<_> = COMPONENTS.iter().collect();
    let each = COMPONENTS.iter().map(|component| vec![component]);
    for options in each.chain([vec![], all]) {
        let names: Vec<&str> = options.iter().map(|(name, _)| *name).collect();
        let flags: Vec<String> = options.iter().map(|(_, value)| format!("--set={value}=true")).collect();
        let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        let mut base = comparable(kustomize_with(&names));
        // Who installs the chart has the namespace already.
        base.retain(|object| object["kind"] != "Namespace");
        let chart = comparable(helm(&flags));
        assert_eq!(chart.len(), base.len(), "{names:?}");
        for (chart, base) in chart.iter().zip(&base) {
            assert_eq!(chart, base, "{names:?}");
        }
    }
}

/// Nothing in it is called after the project rather than after the release.
#[test]
fn a_release_of_another_name_has_its_own_objects() {
    let all: Vec<String> = COMPONENTS.iter().map(|(_, value)| format!("--set={value}=true")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let other = helm_as(["edge", "elsewhere"], &all);
    for name in ["edge-countersign", "edge-countersign-tls", "edge-countersign.elsewhere.svc"] {
        assert!(other.contains(name), "{name}");
    }
    let renamed = other.replace("edge-countersign", "countersign").replace("elsewhere", "countersign");
    let renamed =
        renamed.replace("app.kubernetes.io/instance: edge", "app.kubernetes.io/instance: countersign");
    assert_eq!(renamed, helm_as(["countersign"; 2], &all));
}

/// In one order, without the labels that say by what an object was made, and with YAML in place of its text.
fn comparable(mut objects: Objects) -> Objects {
    for object in &mut objects {
        object["metadata"].as_object_mut().unwrap().remove("labels");
        for text in object["data"].as_object_mut().into_iter().flat_map(serde_json::Map::values_mut) {
            *text = serde_saphyr::from_str(text.as_str().unwrap()).unwrap();
        }
    }
    objects.sort_by_key(|object| object["kind"].to_string() + &object["metadata"].to_string());
    objects
}

/// `rbac.yaml` is what the tests of each authenticator are run with.
#[test]
fn the_components_give_the_rights_that_rbac_yaml_has() {
    let names: Vec<&str> = COMPONENTS.iter().map(|(name, _)| *name).collect();
    let group = "rbac.authorization.k8s.io/v1";
    let is_right = |object: &Json| object["apiVersion"] == group;
    let rights = |objects: Objects| comparable(objects.into_iter().filter(is_right).collect());
    let mut ours = rights(kustomize_with(&names));
    // Kubernetes has a role for that.
    ours.retain(|object| object["metadata"]["name"] != "countersign-token-review");
    assert_eq!(ours, rights(roles(&["impersonate", "allow-impersonation"])));
    assert!(rights(kustomize("deploy/kubernetes")).is_empty(), "the base needs none");
}

/// A Service, a policy or a budget that finds no Pod looks like one that does.
#[test]
fn every_selector_finds_the_pods() {
    let objects = kustomize_with(&["service-monitor"]);
    let labels =
        json!({"app.kubernetes.io/name": "countersign", "app.kubernetes.io/instance": "countersign"});
    let pod = &deployment(&objects)["spec"]["template"];
    assert_eq!(pod["metadata"]["labels"], labels);
    let selector = json!({"matchLabels": labels});
    assert_eq!(deployment(&objects)["spec"]["selector"], selector);
    for constraint in pod["spec"]["topologySpreadConstraints"].as_array().unwrap() {
        assert_eq!(constraint["labelSelector"], selector);
    }
    assert_eq!(of_kind(&objects, "Service")["spec"]["selector"], labels);
    assert_eq!(of_kind(&objects, "Service")["metadata"]["labels"], labels);
    assert_eq!(of_kind(&objects, "PodDisruptionBudget")["spec"]["selector"], selector);
    assert_eq!(of_kind(&objects, "NetworkPolicy")["spec"]["podSelector"], selector);
    assert_eq!(of_kind(&objects, "ServiceMonitor")["spec"]["selector"], selector);
}

/// Else kubelet would kill it while it still answers.
#[test]
fn a_pod_is_given_the_time_that_it_takes_to_end() {
    for objects in [
        kustomize("deploy/kubernetes"),
        helm(&[]),
        helm(&["--set=shutdown.delaySeconds=40", "--set=shutdown.timeoutSeconds=20"]),
    ] {
        let pod = &deployment(&objects)["spec"]["template"]["spec"];
        let seconds = |flag: &str| -> u64 {
            let arguments = pod["containers"][0]["args"].as_array().unwrap();
            let value = arguments.iter().find_map(|argument| argument.as_str().unwrap().strip_prefix(flag));
            value.unwrap().strip_suffix('s').unwrap().parse().unwrap()
        };
        let takes = seconds("--shutdown-delay-duration=") + seconds("--shutdown-timeout=");
        assert_eq!(pod["terminationGracePeriodSeconds"], takes + 5);
    }
}

/// What nobody has asked for, no Pod is given: a token of the cluster.
#[test]
fn only_components_that_ask_the_cluster_have_a_token() {
    for (name, _) in COMPONENTS {
        let objects = kustomize_with(&[name]);
        let mounted = &deployment(&objects)["spec"]["template"]["spec"]["automountServiceAccountToken"];
        assert_eq!(*mounted, !["cert-manager", "service-monitor"].contains(name), "{name}");
    }
}

/// The blocks of commands in a README of `deploy`.
fn commands(readme: &str) -> Vec<String> {
    let text = fs::read_to_string(root(readme)).unwrap();
    let blocks = text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned());
    blocks.collect()
}
