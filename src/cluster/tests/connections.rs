//! Kubeconfigs, good and bad.

use std::collections::HashMap;

use rcgen::{CertificateParams, KeyPair};
use zeroize::Zeroizing;

use super::*;

/// A kubeconfig with these fields of its cluster and user.
fn content(cluster: Json, user: Json) -> Json {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c", "preferences": {},
        "contexts": [{"name": "b", "context": {"cluster": "none"}}, {"name": "c", "context": {"cluster": "d", "user": "e"}}],
        "clusters": [{"name": "d", "cluster": cluster}], "users": [{"name": "e", "user": user}]
    })
}

/// What a kubeconfig in `/etc/k` makes, with these files.
fn connect(content: Json, files: &[(&str, &str)]) -> Result<Arc<Cluster>, String> {
    let proxy = |host: &str, port| {
        (host == "proxied.test" && port == 443).then(|| "http://proxy.test:3128".parse().unwrap())
    };
    connect_with(&Clusters::new(&[], proxy), content, files)
}

fn connect_with(clusters: &Clusters, content: Json, files: &[(&str, &str)]) -> Result<Arc<Cluster>, String> {
    let kubeconfig =
        Kubeconfig::new(content, Path::new("/etc/k/kubeconfig")).map_err(|error| error.to_string())?;
    let files: HashMap<&str, &str> = files.iter().copied().collect();
    let mut read = |path: &Path| {
        let file = files.get(path.to_str().unwrap()).ok_or("cannot be read: not there")?;
        Ok(Zeroizing::new(file.as_bytes().to_vec()))
    };
    clusters.cluster(Some(&kubeconfig), &mut read).map_err(|error| error.to_string())
}

fn certificate() -> (String, String) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["client".to_owned()]).unwrap().self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// Go: `validateClusterInfo` and `validateAuthInfo` of k8s.io/client-go/tools/clientcmd, and what is refused here besides.
#[test]
fn what_is_wrong_with_a_kubeconfig_is_said_by_field_and_without_secrets() {
    let server = || json!({"server": "https://a.test"});
    let (pem, key) = certificate();
    let table = [
        (json!(["hunter2"]), "not a kubeconfig: a field should be struct Kubeconfig"),
        (json!({"users": "hunter2"}), "not a kubeconfig: a field should be a sequence"),
        (content(server(), json!({"token": 1234})), "not a kubeconfig: a field should be a string"),
        (json!({}), "current-context: there is no context \"\""),
        (json!({"current-context": "x"}), "current-context: there is no context \"x\""),
        (
            content(json!({}), json!({})),
            "server: must be the URL of the API server, such as https://10.0.0.1:6443",
        ),
        (
            content(json!({"server": "a.test:6443"}), json!({})),
            "server: must be the URL of the API server, such as https://10.0.0.1:6443",
        ),
        (
            content(json!({"server": "ftp://a.test"}), json!({})),
            "server: must be the URL of the API server, such as https://10.0.0.1:6443",
        ),
        (
            content(json!({"server": "https://a.test", "certificate-authority": "ca.crt"}), json!({})),
            "certificate-authority: /etc/k/ca.crt: cannot be read: not there",
        ),
        (
            content(json!({"server": "https://a.test", "certificate-authority-data": "!"}), json!({})),
            "certificate-authority-data: not base64",
        ),
        (
            content(json!({"server": "https://a.test", "certificate-authority-data": "aGVsbG8K"}), json!({})),
            "certificate-authority: there is no certificate in it",
        ),
        (
            content(json!({"server": "https://a.test", "proxy-url": "socks5://a.test"}), json!({})),
            "proxy-url: the proxy must be http:// or https://",
        ),
        (
            content(
                json!({"server": "https://a.test", "insecure-skip-tls-verify": true, "certificate-authority": "/pem"}),
                json!({}),
            ),
            "insecure-skip-tls-verify: cannot be set beside a certificate-authority; remove one of the two",
        ),
        (
            content(server(), json!({"exec": {"command": "aws"}})),
            "exec: programs that give out credentials are not run; use tokenFile or a client certificate",
        ),
        (
            content(server(), json!({"auth-provider": {"name": "oidc", "config": {"id-token": "hunter2"}}})),
            "auth-provider: not supported; use tokenFile or a client certificate",
        ),
        (
            content(server(), json!({"tokenFile": "none"})),
            "tokenFile: /etc/k/none: cannot be read: not there",
        ),
        (
            content(server(), json!({"tokenFile": "/line"})),
            "tokenFile: must be a token, with no white space or line end beside it",
        ),
        (
            content(server(), json!({"token": "hunter2\n"})),
            "token: must be a token, with no white space or line end beside it",
        ),
        (
            content(server(), json!({"client-certificate": "/pem"})),
            "cannot be used: a client certificate needs its key, and a key its certificate",
        ),
        (
            content(server(), json!({"client-certificate": "/pem", "client-key": "/other key"})),
            "cannot be used: invalid private key: keys may not be consistent: KeyMismatch",
        ),
    ];
    let (_, other_key) = certificate();
    let files = [("/pem", &*pem), ("/key", &key), ("/other key", &other_key), ("/line", "hunter2\n")];
    for (content, problem) in table {
        let error = connect(content.clone(), &files).unwrap_err();
        assert_eq!(error, problem, "{content}");
    }
    let pair = json!({"client-certificate": "/pem", "client-key": "/key"});
    assert!(connect(content(server(), pair), &files).is_ok());
    let mut unknown = content(server(), json!({}));
    unknown["contexts"][1]["context"]["user"] = "f".into();
    assert_eq!(connect(unknown, &files).unwrap_err(), "current-context: there is no user \"f\"");
}

#[test]
fn a_kubeconfig_means_what_it_means_to_client_go() {
    let (pem, _) = certificate();
    let user = json!({"token": "inline", "tokenFile": "token"});
    let cluster = json!({
        "server": "https://a.test:6443/prefix", "certificate-authority": "ca.crt", "tls-server-name": "kubernetes",
        "certificate-authority-data": ""
    });
    let cluster = connect(content(cluster, user), &[("/etc/k/ca.crt", &pem), ("/etc/k/token", "t")]).unwrap();
    let config = cluster.connection.config();
    assert_eq!(cluster.url(), "https://a.test:6443/prefix");
    assert_eq!(config.auth_info.token_file.as_deref(), Some("/etc/k/token"));
    assert!(config.auth_info.token.is_none(), "the file wins");
    let nobody =
        connect(content(json!({"server": "https://a.test"}), json!({"token": "", "tokenFile": ""})), &[]);
    let nobody = &nobody.as_ref().unwrap().connection.config().auth_info;
    assert!(nobody.token.is_none() && nobody.token_file.is_none(), "what is empty is not there");
    assert_eq!(config.root_cert.as_ref().map(Vec::len), Some(1));
    assert_eq!(config.tls_server_name.as_deref(), Some("kubernetes"));
    assert_eq!(cluster.warnings(), [""; 0]);
    assert_eq!(format!("{cluster:?}"), "Cluster(https://a.test:6443/prefix)");
}

/// Go: `http.ProxyFromEnvironment` for who has no `proxy-url`.
#[test]
fn the_proxy_is_that_of_the_kubeconfig_or_of_the_environment() {
    let proxy = |cluster: Json| {
        let cluster = connect(content(cluster, json!({})), &[]).unwrap();
        cluster.connection.config().proxy_url.as_ref().map(ToString::to_string)
    };
    assert_eq!(proxy(json!({"server": "https://direct.test"})), None);
    assert_eq!(proxy(json!({"server": "https://proxied.test"})).as_deref(), Some("http://proxy.test:3128/"));
    assert_eq!(proxy(json!({"server": "https://proxied.test:6443"})), None);
    assert_eq!(proxy(json!({"server": "http://proxied.test:443"})), None);
    let own = json!({"server": "https://proxied.test", "proxy-url": "http://own.test:1"});
    assert_eq!(proxy(own).as_deref(), Some("http://own.test:1/"));
}

#[test]
fn a_connection_without_proof_of_who_is_there_is_warned_of() {
    let warnings = |cluster| connect(content(cluster, json!({})), &[]).unwrap().warnings().to_vec();
    let insecure = json!({"server": "https://a.test", "insecure-skip-tls-verify": true});
    assert_eq!(
        warnings(insecure),
        ["insecure-skip-tls-verify: whoever gets between us and the API server decides who is let in"]
    );
    assert_eq!(
        warnings(json!({"server": "http://a.test"})),
        ["server: without TLS, whoever gets between us and the API server decides who is let in"]
    );
}

/// A reload finds the cluster that is there unless something about the connection has changed. A new token in a file is nothing.
#[test]
fn a_connection_is_another_if_a_file_of_it_changes_but_for_the_token() {
    let clusters = clusters();
    let (pem, other) = (certificate().0, certificate().0);
    let content = || {
        content(
            json!({"server": "https://a.test", "certificate-authority": "/ca"}),
            json!({"tokenFile": "/t"}),
        )
    };
    let load = |pem: &str, token| connect_with(&clusters, content(), &[("/ca", pem), ("/t", token)]).unwrap();
    let first = load(&pem, "t1");
    assert!(Arc::ptr_eq(&first, &load(&pem, "t2")));
    assert!(!Arc::ptr_eq(&first, &load(&other, "t1")));
    let mut user = content();
    user["users"][0]["user"]["as"] = "somebody".into();
    let user = connect_with(&clusters, user, &[("/ca", &pem), ("/t", "t1")]).unwrap();
    assert!(!Arc::ptr_eq(&first, &user));
}

/// Go: `InClusterConfig` of k8s.io/client-go/rest.
#[test]
fn a_pod_knows_its_cluster() {
    let (pem, _) = certificate();
    let cluster = |host: &str, port: &str, token: Option<&str>| {
        let environment = [("KUBERNETES_SERVICE_HOST", host), ("KUBERNETES_SERVICE_PORT", port)];
        let environment = environment.map(|(name, value)| (name.into(), value.into()));
        let mut read = |path: &Path| {
            let text = if path.ends_with("token") { token } else { Some(&*pem) };
            let text = text.ok_or("cannot be read: not there")?;
            Ok(Zeroizing::new(text.as_bytes().to_vec()))
        };
        let cluster = Clusters::new(&environment, |_, _| None).cluster(None, &mut read);
        cluster.map(|cluster| cluster.url()).map_err(|error| error.to_string())
    };
    // The CA is read anew by `kube`, from where it is in a pod, which this is not.
    let no_pod =
        Err("cannot be used: failed to add a root certificate: No such file or directory (os error 2)"
            .to_owned());
    assert_eq!(cluster("10.0.0.1", "443", Some("t")), no_pod);
    assert_eq!(cluster("fd00::1", "443", Some("t")), no_pod);
    let no_token =
        "tokenFile: /var/run/secrets/kubernetes.io/serviceaccount/token: cannot be read: not there";
    assert_eq!(cluster("10.0.0.1", "443", None), Err(no_token.to_owned()));
    let no_cluster = "no cluster: set --kubeconfig, or run as a pod, which has KUBERNETES_SERVICE_HOST and \
                      KUBERNETES_SERVICE_PORT";
    assert_eq!(cluster("", "443", Some("t")), Err(no_cluster.to_owned()));
    assert_eq!(
        cluster("10.0.0.1 ", "443", Some("t")),
        Err("KUBERNETES_SERVICE_HOST: must be the URL of the API server, such as https://10.0.0.1:6443"
            .to_owned())
    );
}
