//! The files of `deploy/gateways` fail closed, and in time. Whether a gateway takes them is for `tests/kube`.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::pages::files;

const FOLDER: &str = "deploy/gateways";

/// How a gateway asks countersign: where that stands, and the fields for what happens when countersign is not reached, and for how long it may take.
struct Asking {
    file: &'static str,
    kind: &'static str,
    at: &'static str,
    opens: &'static str,
    limit: &'static str,
}

const GATEWAYS: [Asking; 5] = [
    Asking {
        file: "contour/virtual-host.yaml",
        kind: "HTTPProxy",
        at: "/spec/virtualhost/authorization",
        opens: "/failOpen",
        limit: "/responseTimeout",
    },
    Asking {
        file: "envoy-gateway/security.yaml",
        kind: "SecurityPolicy",
        at: "/spec/extAuth",
        opens: "/failOpen",
        limit: "/timeout",
    },
    Asking {
        file: "gloo/gateway.yaml",
        kind: "Gateway",
        at: "/spec/httpGateway/options/extauth",
        opens: "/failureModeAllow",
        limit: "/requestTimeout",
    },
    Asking {
        file: "istio/mesh.yaml",
        kind: "",
        at: "/extensionProviders/0/envoyExtAuthzGrpc",
        opens: "/failOpen",
        limit: "/timeout",
    },
    Asking {
        file: "kgateway/policy.yaml",
        kind: "GatewayExtension",
        at: "/spec/extAuth",
        opens: "/failOpen",
        limit: "/grpcService/requestTimeout",
    },
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn documents(path: &Path) -> Vec<Value> {
    serde_saphyr::from_multiple(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Envoy's default for a Check is 0.2 s and Istio's ten minutes. With 2 s, what countersign waits for itself has a chance to end.
#[test]
fn every_gateway_fails_closed_and_waits_two_seconds() {
    let folders = fs::read_dir(root().join(FOLDER)).unwrap().map(|entry| entry.unwrap());
    let folders = folders.filter(|entry| entry.path().is_dir()).map(|entry| entry.file_name());
    let folders: BTreeSet<String> = folders.map(|name| name.into_string().unwrap()).collect();
    let tried = GATEWAYS.iter().map(|asking| asking.file.split('/').next().unwrap().to_owned());
    assert_eq!(tried.collect::<BTreeSet<_>>(), folders, "each gateway is in the table");

    for Asking { file, kind, at, opens, limit } in GATEWAYS {
        let documents = documents(&root().join(FOLDER).join(file));
        let document = documents.iter().find(|document| kind.is_empty() || document["kind"] == kind);
        let asking = document.unwrap().pointer(at).unwrap_or_else(|| panic!("{file}: no {at}"));
        assert_eq!(asking.pointer(opens), Some(&json!(false)), "{file}");
        assert_eq!(asking.pointer(limit), Some(&json!("2s")), "{file}");
    }
    let page = fs::read_to_string(root().join(FOLDER).join("README.md")).unwrap();
    assert!(page.contains("The limit for one Check is 2 s, retries included"));
}

/// A second place, a patch of what a gateway makes, or Envoy's own file might say otherwise.
#[test]
fn nothing_else_opens_when_countersign_is_away() {
    let mut closed = Vec::new();
    for folder in ["deploy/envoy", FOLDER] {
        for path in files(&root().join(folder), "yaml") {
            let name = path.strip_prefix(root().join("deploy")).unwrap().display().to_string();
            for document in documents(&path) {
                for value in switches(&document) {
                    assert_eq!(value, false, "{name}");
                    closed.push(name.clone());
                }
            }
        }
    }
    let mut expected = vec!["envoy/envoy.yaml".to_owned()];
    expected.extend(GATEWAYS.iter().map(|asking| format!("gateways/{}", asking.file)));
    assert_eq!(closed, expected);
}

/// What all switches are set to that let requests through unasked, those of a JSON patch and of a text that is YAML among them.
fn switches(value: &Value) -> Vec<Value> {
    let is_one = |name: &str| {
        let name = name.rsplit('/').next().unwrap().replace('_', "").to_lowercase();
        ["failopen", "failuremodeallow", "failuremodeallowheaderadd"].contains(&&*name)
    };
    match value {
        Value::Object(map) => {
            let named = map.iter().filter(|(name, _)| is_one(name)).map(|(_, value)| value.clone());
            let patched = map
                .get("path")
                .and_then(Value::as_str)
                .filter(|path| is_one(path))
                .map(|_| value["value"].clone());
            named.chain(patched).chain(map.values().flat_map(switches)).collect()
        }
        Value::Array(list) => list.iter().flat_map(switches).collect(),
        Value::String(text) if text.contains('\n') => {
            serde_saphyr::from_str::<Value>(text).map(|value| switches(&value)).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}
