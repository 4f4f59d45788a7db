//! What all forms in which countersign is shipped have in common: a Pod that may do nothing it does not need, that Envoy reaches one by one, and
//! nobody else at all.

use serde_json::{Value as Json, json};

use super::rendered::{
    COMPONENTS, Objects, deployment, helm, kustomizations, kustomize, kustomize_with, of_kind,
};

/// Each form by its name: the base and the chart, without options and with all of them, and the overlays of the gateways.
fn shipped() -> Vec<(String, Objects)> {
    let all: Vec<&str> = COMPONENTS.iter().map(|(name, _)| *name).collect();
    let flags: Vec<String> = COMPONENTS.iter().map(|(_, value)| format!("--set={value}=true")).collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let folders = kustomizations("deploy/gateways");
    assert_eq!(folders.len(), 5, "{folders:?}");
    let folders =
        ["deploy/kubernetes", "deploy/kubernetes/example"].map(str::to_owned).into_iter().chain(folders);
    folders
        .map(|folder| (folder.clone(), kustomize(&folder)))
        .chain([
            ("the base with all components".to_owned(), kustomize_with(&all)),
            ("the chart".to_owned(), helm(&[])),
            ("the chart with all options".to_owned(), helm(&flags)),
        ])
        .collect()
}

/// What Kubernetes' Pod security standard `restricted` asks for, and a file system that nobody can write to. A field that is not listed, such as
/// `hostNetwork`, is in no Pod.
#[test]
fn a_pod_has_no_rights_and_writes_nowhere() {
    for (form, objects) in shipped() {
        let pod = &deployment(&objects)["spec"]["template"]["spec"];
        let fields: Vec<&str> = pod.as_object().unwrap().keys().map(String::as_str).collect();
        let expected = [
            "automountServiceAccountToken",
            "containers",
            "enableServiceLinks",
            "securityContext",
            "serviceAccountName",
            "terminationGracePeriodSeconds",
            "topologySpreadConstraints",
            "volumes",
        ];
        assert_eq!(fields, expected, "{form}");
        let security = json!({
            "runAsNonRoot": true, "runAsUser": 65532, "runAsGroup": 65532, "fsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        });
        assert_eq!(pod["securityContext"], security, "{form}");
        let [container] = &pod["containers"].as_array().unwrap()[..] else { panic!("{form}: one container") };
        let security = json!({
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
        });
        assert_eq!(container["securityContext"], security, "{form}");
        let resources = json!({"requests": {"cpu": "250m", "memory": "64Mi"}, "limits": {"memory": "512Mi"}});
        assert_eq!(container["resources"], resources, "{form}");
        for mount in container["volumeMounts"].as_array().unwrap() {
            assert_eq!(mount["readOnly"], true, "{form}: {mount}");
        }
        for volume in pod["volumes"].as_array().unwrap() {
            assert!(volume["configMap"].is_object() || volume["secret"].is_object(), "{form}: {volume}");
        }
    }
}

/// A cluster IP would pin each of Envoy's connections to one Pod. Istio's sidecars go past it to the Pods, and could not without one.
#[test]
fn envoy_finds_each_pod_by_a_headless_service() {
    for (form, objects) in shipped() {
        let mut spec = json!({
            "clusterIP": "None",
            "selector": {"app.kubernetes.io/name": "countersign", "app.kubernetes.io/instance": "countersign"},
            "ports": [
                {"name": "grpc", "port": 9001, "targetPort": "grpc"},
                {"name": "admin", "port": 9002, "targetPort": "admin"},
            ],
        });
        if form.ends_with("/istio") {
            spec.as_object_mut().unwrap().remove("clusterIP");
        }
        assert_eq!(of_kind(&objects, "Service")["spec"], spec, "{form}");
    }
}

/// Two Pods at least, on different nodes and in different zones where there are any, and one more for each 70% of the CPU requested.
#[test]
fn pods_are_spread_and_as_many_as_their_cpu_time_asks_for() {
    for (form, objects) in shipped() {
        let spread = ["topology.kubernetes.io/zone", "kubernetes.io/hostname"].map(|key| {
            json!({
                "topologyKey": key, "maxSkew": 1, "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {
                    "app.kubernetes.io/name": "countersign", "app.kubernetes.io/instance": "countersign",
                }},
                "matchLabelKeys": ["pod-template-hash"],
            })
        });
        let deployment = &deployment(&objects)["spec"];
        assert_eq!(deployment["template"]["spec"]["topologySpreadConstraints"], json!(spread), "{form}");
        assert_eq!(deployment["replicas"], Json::Null, "{form}: the autoscaler has them");
        let scaling = json!({
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "countersign"},
            "minReplicas": 2, "maxReplicas": 10,
            "metrics": [{"type": "Resource", "resource": {
                "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70},
            }}],
            "behavior": {"scaleDown": {
                "stabilizationWindowSeconds": 300,
                "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
            }},
        });
        assert_eq!(of_kind(&objects, "HorizontalPodAutoscaler")["spec"], scaling, "{form}");
        let budget = &of_kind(&objects, "PodDisruptionBudget")["spec"];
        assert_eq!(budget["maxUnavailable"], 1, "{form}");
    }
}

/// An empty `from`, or a peer with an empty selector, would be everybody.
#[test]
fn only_envoy_reaches_the_port_and_only_prometheus_the_other() {
    let namespace = |name: &str| json!({"matchLabels": {"kubernetes.io/metadata.name": name}});
    let pods = |labels: Json| json!({"matchLabels": labels});
    let of_gateway = |gateway: &str| match gateway {
        "contour" => [namespace("projectcontour"), pods(json!({"app": "envoy"}))],
        "envoy-gateway" => [
            namespace("envoy-gateway-system"),
            pods(json!({"app.kubernetes.io/name": "envoy", "app.kubernetes.io/component": "proxy"})),
        ],
        "gloo" => [namespace("gloo-system"), pods(json!({"gloo": "gateway-proxy"}))],
        "istio" => [namespace("istio-ingress"), pods(json!({"istio": "ingress"}))],
        "kgateway" => [namespace("edge"), pods(json!({"gateway.networking.k8s.io/gateway-name": "edge"}))],
        other => panic!("what is Envoy of {other}?"),
    };
    for (form, objects) in shipped() {
        let envoy = match form.strip_prefix("deploy/gateways/") {
            Some(gateway) => {
                let [namespace, pods] = of_gateway(gateway);
                json!({"namespaceSelector": namespace, "podSelector": pods})
            }
            None => json!({"namespaceSelector": {"matchLabels": {"countersign-client": "true"}}}),
        };
        let mut ingress = vec![json!({"from": [envoy], "ports": [{"port": "grpc", "protocol": "TCP"}]})];
        if objects.iter().any(|object| object["kind"] == "ServiceMonitor") {
            let prometheus = json!({
                "namespaceSelector": namespace("monitoring"),
                "podSelector": pods(json!({"app.kubernetes.io/name": "prometheus"})),
            });
            ingress.push(json!({"from": [prometheus], "ports": [{"port": "admin", "protocol": "TCP"}]}));
        }
        let labels =
            json!({"app.kubernetes.io/name": "countersign", "app.kubernetes.io/instance": "countersign"});
        let policy = json!({"podSelector": pods(labels), "policyTypes": ["Ingress"], "ingress": ingress});
        assert_eq!(of_kind(&objects, "NetworkPolicy")["spec"], policy, "{form}");
    }
}
