//! The translator of Envoy Gateway makes Envoy's configuration of `deploy/gateways/envoy-gateway`, with which a real Envoy runs. Of the other
//! gateways only what is Envoy's own, or Istio's mesh configuration, is read by those whose it is.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value as Json, json};
use tempfile::TempDir;

use super::super::edge::{Config, Envoy, Response, Upstream, eventually, validate};
use super::super::support::program::Server;
use super::program::{Internal, Volumes, credentials, serve, tls};
use super::rendered::{Objects, kustomize, of_kind, output, overlay, tool};
use super::root;

const FOLDER: &str = "deploy/gateways/envoy-gateway";

const SPOOFS: [&str; 6] = [
    "x-remote-user: root",
    "X-Remote-Group: system:masters",
    "x-remote-extra-scopes: all",
    "x-remote-uid: 0",
    "impersonate-user: root",
    "x-envoy-auth-failure-mode-allowed: true",
];

/// With mutual TLS, and whether the operator has EnvoyPatchPolicy or not, and with a line for each group.
#[tokio::test(flavor = "multi_thread")] // the translator blocks
async fn envoy_with_the_configuration_of_envoy_gateway_lets_in_who_countersign_lets_in() {
    let internal = Internal::new();
    let joined = kustomize(FOLDER);
    let by_line = overlay(FOLDER, &[&format!("{FOLDER}/groups-by-line")]);
    let mut volumes = Volumes::new(
        &joined,
        &[
            ("countersign-tls", tls(&internal)),
            ("countersign-credentials", credentials("one,alice,7,\"dev,ops\"\n")),
        ],
    );
    volumes.adapt_config(&joined);
    for (objects, patched) in [(&joined, true), (&joined, false), (&by_line, true)] {
        let mut server = Server::run(serve(&volumes.arguments(objects)));
        server.until_ready().await;
        let application = Upstream::start().await;
        let port = server.address.rsplit_once(':').unwrap().1.parse().unwrap();
        let dumped = translated(objects, patched);
        let text = configuration(&dumped, &internal, [application.port, port]);
        assert_eq!(text.contains("encodeRawHeaders"), patched);
        let dir = TempDir::new().unwrap();
        let envoy = Envoy::start(dir.path(), &Config::of(text)).await;
        let edge = &envoy.edge;

        // Until Envoy has seen that countersign is well.
        let alice = "authorization: Bearer one";
        eventually("Envoy reaches countersign", async || {
            (edge.http2(&[alice]).await.unwrap().status == 200).then_some(())
        })
        .await;
        if patched {
            let well = "cluster.securitypolicy/edge/countersign/extauth/0.health_check.success";
            eventually("health checks succeed", async || (envoy.counted(well).await > 1).then_some(())).await;
        }
        let lines = SPOOFS.iter().copied().chain([alice]).collect::<Vec<_>>();
        for response in edge.both(&lines).await {
            let mut identity = response.forwarded();
            identity.retain(|line| {
                line.starts_with("x-remote-") || line.contains("impersonate") || line.contains("auth")
            });
            identity.sort_unstable();
            let groups = if std::ptr::eq(objects, &by_line) {
                &["x-remote-group: dev", "x-remote-group: ops", "x-remote-group: system:authenticated"][..]
            } else {
                &["x-remote-group: dev,ops,system:authenticated"]
            };
            assert_eq!(identity, [groups, &["x-remote-uid: 7", "x-remote-user: alice"]].concat());
        }
        for lines in [&["authorization: Bearer two"][..], &SPOOFS, &["authorization: Bearer one,two"]] {
            for response in edge.both(lines).await {
                assert_eq!(response.status, 401, "{response:?}");
            }
        }
        let underscore = edge.http1(&["X_Remote_User: root", alice]).await;
        assert_eq!(underscore.status, 400, "{underscore:?}");
        let seen = application.seen().len();

        server.process.kill().unwrap();
        server.process.wait().unwrap();
        let Response { status, .. } = edge.http1(&lines).await;
        assert_eq!(status, 503, "an outage is not the client's fault, and lets nobody in");
        assert_eq!(application.seen().len(), seen);
    }
}

/// istiod passes over what it does not know.
#[test]
fn every_field_of_the_mesh_configuration_is_one_that_istio_has() {
    let text = fs::read_to_string(root("deploy/gateways/istio/mesh.yaml")).unwrap();
    let read = |text: &str| {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("mesh.yaml"), text).unwrap();
        let mesh = fs::File::open(dir.path().join("mesh.yaml")).unwrap();
        tool("go-istio").stdin(mesh).status().unwrap().success()
    };
    assert!(read(&text));
    for (from, to) in
        [("failOpen", "failOpn"), ("timeout: 2s", "timeout: soon"), ("port: 9001", "port: grpc")]
    {
        assert!(text.contains(from) && !read(&text.replace(from, to)), "{to}");
    }
}

/// istiod merges it into what it makes, which is at least this.
#[test]
fn envoy_takes_what_the_filter_for_istio_adds() {
    let objects = kustomize("deploy/gateways/istio");
    let patches = of_kind(&objects, "EnvoyFilter")["spec"]["configPatches"].as_array().unwrap();
    let [manager, mut filter] =
        [0, 1].map(|index: usize| patches[index]["patch"]["value"]["typed_config"].clone());
    let valid = |manager: &Json, filter: &Json| {
        let (mut manager, mut filter) = (manager.clone(), filter.clone());
        filter["grpc_service"] = json!({"envoy_grpc": {"cluster_name": "countersign"}});
        manager["stat_prefix"] = "edge".into();
        manager["route_config"] = json!({"virtual_hosts": [{
            "name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, "direct_response": {"status": 200}}],
        }]});
        let router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
        manager["http_filters"] = json!([
            {"name": "envoy.filters.http.ext_authz", "typed_config": filter},
            {"name": "envoy.filters.http.router", "typed_config": {"@type": router}},
        ]);
        let config = json!({"static_resources": {
            "clusters": [{"name": "countersign", "type": "STATIC", "connect_timeout": "1s"}],
            "listeners": [{
                "name": "edge", "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
                "filter_chains": [{"filters": [
                    {"name": "envoy.filters.network.http_connection_manager", "typed_config": manager},
                ]}],
            }],
        }});
        validate(TempDir::new().unwrap().path(), &Config::of(config.to_string())).status.success()
    };
    assert!(valid(&manager, &filter));
    filter["nobody_knows_this"] = true.into();
    assert!(!valid(&manager, &filter));
}

/// What Envoy Gateway has accepted and translated.
fn translated(objects: &Objects, patched: bool) -> Json {
    let mut input: Vec<Json> = objects
        .iter()
        .filter(|object| {
            let group = object["apiVersion"].as_str().unwrap();
            group.starts_with("gateway.") || object["metadata"]["name"] == "identity-lines"
        })
        .filter(|object| patched || object["kind"] != "EnvoyPatchPolicy")
        .cloned()
        .collect();
    // Offline it asks for no EndpointSlices and takes the address of the Service.
    let mut service = of_kind(objects, "Service").clone();
    service["spec"]["clusterIP"] = "127.0.0.1".into();
    let class = "gateway.envoyproxy.io/gatewayclass-controller";
    let key = KeyPair::generate().unwrap();
    let certificate = STANDARD.encode(CertificateParams::default().self_signed(&key).unwrap().pem());
    let key = STANDARD.encode(key.serialize_pem());
    let secret = |namespace: &str, name: &str| {
        json!({
            "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/tls",
            "metadata": {"namespace": namespace, "name": name},
            "data": {"tls.crt": certificate, "tls.key": key, "ca.crt": certificate},
        })
    };
    input.extend([
        service,
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"namespace": "edge", "name": "application"},
            "spec": {"clusterIP": "127.0.0.1", "ports": [{"name": "http", "port": 8080}]},
        }),
        json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "GatewayClass",
            "metadata": {"name": "envoy-gateway"}, "spec": {"controllerName": class},
        }),
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "edge"}}),
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "countersign"}}),
        secret("edge", "edge"),
        secret("countersign", "countersign-client"),
        secret("countersign", "countersign-tls"),
    ]);
    let documents: String = input.iter().map(|object| format!("{object}\n---\n")).collect();
    let dir = TempDir::new().unwrap();
    let file = dir.path().join("input.yaml");
    fs::write(&file, documents).unwrap();
    let translate = |to: &[&str]| {
        let mut command = tool("egctl");
        command.args(["experimental", "translate", "--from=gateway-api", "--output=json"]);
        output(command.arg("--file").arg(&file).args(to).env("HOME", dir.path()))
    };
    let status: Json = serde_json::from_str(&translate(&["--to=gateway-api"])).unwrap();
    let mut conditions = Vec::new();
    collect(&status, "conditions", &mut conditions);
    assert!(conditions.len() >= 6, "{status}");
    for condition in conditions.iter().filter_map(|conditions| conditions.as_array()).flatten() {
        assert_eq!(condition["status"], "True", "{condition}");
    }
    serde_json::from_str(&translate(&["--to=xds", "--type=all"])).unwrap()
}

/// What stands under a key, wherever it is.
fn collect<'j>(json: &'j Json, key: &str, into: &mut Vec<&'j Json>) {
    match json {
        Json::Object(map) => {
            into.extend(map.get(key));
            map.values().for_each(|value| collect(value, key, into));
        }
        Json::Array(list) => list.iter().for_each(|value| collect(value, key, into)),
        _ => {}
    }
}

/// The same as a file: what Envoy Gateway would have told Envoy stands in it, and addresses and certificates are those of this test.
fn configuration(dumped: &Json, internal: &Internal, [application, countersign]: [u16; 2]) -> String {
    let configs = dumped["xds"]["edge/edge"]["configs"].as_array().unwrap();
    let each = |key: &'static str, of: &'static [&'static str]| {
        let items = configs.iter().filter_map(move |config| config[key].as_array()).flatten();
        items.map(move |item| {
            let mut item = of.iter().fold(item, |item, key| &item[key]).clone();
            item.as_object_mut().unwrap().remove("@type");
            without_discovery(&mut item);
            item
        })
    };
    let mut listeners = each("dynamicListeners", &["activeState", "listener"]);
    let mut listener = listeners.find(|listener| listener["name"] == "edge/edge/https").unwrap();
    listener["address"] = json!({"socketAddress": {"address": "127.0.0.1", "portValue": 0}});
    let manager = listener.pointer_mut("/filterChains/0/filters/0/typedConfig").unwrap();
    let manager = manager.as_object_mut().unwrap();
    let routes = manager.remove("rds").unwrap();
    let mut tables = each("dynamicRouteConfigs", &["routeConfig"]);
    let table = tables.find(|table| table["name"] == routes["routeConfigName"]).unwrap();
    manager.insert("routeConfig".to_owned(), table);

    let endpoints: Vec<Json> = each("dynamicEndpointConfigs", &["endpointConfig"]).collect();
    let clusters = each("dynamicActiveClusters", &["cluster"]).map(|mut cluster| {
        let name = cluster["name"].clone();
        cluster.as_object_mut().unwrap().remove("edsClusterConfig").unwrap();
        cluster["type"] = "STATIC".into();
        cluster["loadAssignment"] =
            endpoints.iter().find(|endpoints| endpoints["clusterName"] == name).unwrap().clone();
        let port = cluster.pointer_mut(
            "/loadAssignment/endpoints/0/lbEndpoints/0/endpoint/address/socketAddress/portValue",
        );
        let port = port.unwrap();
        *port = if *port == 9001 { countersign } else { application }.into();
        cluster
    });
    let text = |text: &str| json!({"inlineString": text});
    let file = |name: &str| json!({"filename": name});
    let secrets = json!([
        {"name": "edge/edge", "tlsCertificate": {"certificateChain": file("certs/server.crt"), "privateKey": file("certs/server.key")}},
        {"name": "countersign/countersign-ca", "validationContext": {"trustedCa": text(&internal.authority.pem)}},
        {"name": "countersign/countersign-client", "tlsCertificate": {
            "certificateChain": text(&internal.envoy.chain), "privateKey": text(&internal.envoy.key),
        }},
    ]);
    json!({
        "admin": {"address": {"socketAddress": {"address": "127.0.0.1", "portValue": 0}}},
        "staticResources": {"listeners": [listener], "clusters": clusters.collect::<Vec<_>>(), "secrets": secrets},
    })
    .to_string()
}

/// Secrets are in the file.
fn without_discovery(json: &mut Json) {
    match json {
        Json::Object(map) => {
            map.remove("sdsConfig");
            map.values_mut().for_each(without_discovery);
        }
        Json::Array(list) => list.iter_mut().for_each(without_discovery),
        _ => {}
    }
}
