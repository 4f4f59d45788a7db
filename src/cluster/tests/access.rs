//! What reaches an API server, and what cannot.

use std::path::PathBuf;

use rcgen::{CertificateParams, KeyPair};

use super::super::{Access, AccessError, Content, Credentials};
use super::*;

/// By way of a proxy to one host and port.
fn connect(access: &Access) -> Result<Arc<Cluster>, AccessError> {
    let proxy = |host: &str, port| {
        (host == "proxied.test" && port == 443).then(|| "http://proxy.test:3128".parse().unwrap())
    };
    Clusters::new(proxy, Arc::default()).cluster(access)
}

fn server(server: &str) -> Access {
    Access { server: server.to_owned(), ..Access::default() }
}

fn content(text: &str) -> Content {
    text.as_bytes().to_vec().into()
}

fn token_file(text: &str) -> Credentials {
    Credentials::TokenFile { path: PathBuf::from("/etc/k/token"), content: content(text) }
}

fn certificate() -> (Content, Content) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["client".to_owned()]).unwrap().self_signed(&key).unwrap();
    (content(&certificate.pem()), content(&key.serialize_pem()))
}

#[test]
fn what_is_wrong_is_said_by_field_and_without_secrets() {
    let url = "server: must be the URL of the API server, such as https://10.0.0.1:6443";
    let unfit = "must be a token, with no white space or line end beside it";
    let base = || server("https://a.test");
    let authority = |pem: &str| Access { certificate_authority: Some(content(pem)), ..base() };
    let proxy = |url: &str| Access { proxy_url: Some(url.to_owned()), ..base() };
    let credentials = |credentials| Access { credentials, ..base() };
    let (chain, key) = certificate();
    let (_, other_key) = certificate();
    let shows = |chain: &Content, key: &Content| Access {
        client_certificate: Some((chain.clone(), key.clone())),
        ..base()
    };
    let table = [
        (server(""), url.to_owned()),
        (server("a.test:6443"), url.to_owned()),
        (server("ftp://a.test"), url.to_owned()),
        (authority("hello"), "certificate-authority: there is no certificate in it".to_owned()),
        (proxy("socks5://a.test"), "proxy-url: the proxy must be http:// or https://".to_owned()),
        (proxy("a b"), "proxy-url: not a URL".to_owned()),
        (credentials(token_file("hunter2\n")), format!("tokenFile: {unfit}")),
        (credentials(token_file("")), format!("tokenFile: {unfit}")),
        (credentials(Credentials::Token("hunter2\n".to_owned().into())), format!("token: {unfit}")),
        (
            shows(&chain, &other_key),
            "TLS: invalid private key: keys may not be consistent: KeyMismatch".to_owned(),
        ),
    ];
    for (access, problem) in table {
        assert_eq!(connect(&access).unwrap_err().to_string(), problem, "{access:?}");
    }
    assert!(connect(&shows(&chain, &key)).is_ok());
}

#[test]
fn kube_is_told_all_of_it() {
    let (chain, key) = certificate();
    let cluster = connect(&Access {
        tls_server_name: Some("kubernetes".to_owned()),
        certificate_authority: Some(chain.clone()),
        credentials: token_file("t"),
        client_certificate: Some((chain, key)),
        ..server("https://a.test:6443/prefix")
    });
    let cluster = cluster.unwrap();
    assert_eq!(format!("{cluster:?}"), "Cluster(https://a.test:6443/prefix)");
    let (config, auth) = (&cluster.config, &cluster.config.auth_info);
    assert_eq!(config.tls_server_name.as_deref(), Some("kubernetes"));
    assert_eq!(config.root_cert.as_ref().map(Vec::len), Some(1));
    assert!(!config.accept_invalid_certs);
    assert!(auth.token_file.as_deref() == Some("/etc/k/token") && auth.token.is_none());
    assert!(auth.client_certificate_data.is_some() && auth.client_key_data.is_some());

    let basic = Credentials::Basic { username: "me".to_owned(), password: "pw".to_owned().into() };
    let cluster =
        connect(&Access { insecure_skip_tls_verify: true, credentials: basic, ..server("https://a.test") });
    let cluster = cluster.unwrap();
    let auth = &cluster.config.auth_info;
    assert!(cluster.config.accept_invalid_certs && cluster.config.root_cert.is_none());
    assert!(auth.username.as_deref() == Some("me") && auth.password.is_some() && auth.token_file.is_none());
}

/// Go: `http.ProxyFromEnvironment` for who has no `proxy-url`.
#[test]
fn the_proxy_is_that_of_the_kubeconfig_or_of_the_environment() {
    let proxy = |access| connect(&access).unwrap().config.proxy_url.as_ref().map(ToString::to_string);
    assert_eq!(proxy(server("https://direct.test")), None);
    assert_eq!(proxy(server("https://proxied.test")).as_deref(), Some("http://proxy.test:3128/"));
    assert_eq!(proxy(server("https://proxied.test:6443")), None);
    assert_eq!(proxy(server("http://proxied.test:443")), None);
    let own = Access { proxy_url: Some("http://own.test:1".to_owned()), ..server("https://proxied.test") };
    assert_eq!(proxy(own).as_deref(), Some("http://own.test:1/"));
}

/// A reload finds the cluster that is there unless something about the connection has changed. A new token in a file is nothing.
#[test]
fn a_cluster_is_another_if_anything_changes_but_the_token_in_a_file() {
    let clusters = clusters();
    let (pair, other) = (certificate(), certificate());
    let (user, pw) = (|| "me".to_owned(), |text: &str| text.to_owned().into());
    let all = [
        server("https://a.test"),
        server("https://b.test"),
        Access { tls_server_name: Some("b.test".to_owned()), ..server("https://a.test") },
        Access { insecure_skip_tls_verify: true, ..server("https://a.test") },
        Access { certificate_authority: Some(pair.0.clone()), ..server("https://a.test") },
        Access { certificate_authority: Some(other.0.clone()), ..server("https://a.test") },
        Access { proxy_url: Some("http://p.test".to_owned()), ..server("https://a.test") },
        Access { client_certificate: Some(pair), ..server("https://a.test") },
        Access { client_certificate: Some(other), ..server("https://a.test") },
        Access { credentials: Credentials::Token(pw("t1")), ..server("https://a.test") },
        Access { credentials: Credentials::Token(pw("t2")), ..server("https://a.test") },
        Access { credentials: token_file("t1"), ..server("https://a.test") },
        Access {
            credentials: Credentials::TokenFile { path: "/t".into(), content: content("t1") },
            ..server("https://a.test")
        },
        Access {
            credentials: Credentials::Basic { username: user(), password: pw("1") },
            ..server("https://a.test")
        },
        Access {
            credentials: Credentials::Basic { username: user(), password: pw("2") },
            ..server("https://a.test")
        },
    ];
    let known: Vec<_> = all.iter().map(|access| clusters.cluster(access).unwrap()).collect();
    for (number, access) in all.iter().enumerate() {
        let again = clusters.cluster(access).unwrap();
        let same: Vec<usize> = (0..all.len()).filter(|other| Arc::ptr_eq(&again, &known[*other])).collect();
        assert_eq!(same, [number], "{access:?}");
    }
    let renewed = Access { credentials: token_file("t2"), ..server("https://a.test") };
    assert!(Arc::ptr_eq(&clusters.cluster(&renewed).unwrap(), &known[11]));
}
