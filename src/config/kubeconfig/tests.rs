//! Kubeconfig files, and what client-go 0.36.3 makes of them: each row was given to `clientcmd` and `rest.UnversionedRESTClientFor`.

use super::super::tests::read_flags;
use super::super::webhook::connection;
use super::*;
use crate::https::Proxies;

const CA: &str = include_str!("../../../tests/conformance/world/ca/webhook-ca.pem");
const CERTIFICATE: &str = include_str!("../../../tests/conformance/world/serving/webhook-client.pem");
const KEY: &str = include_str!("../../../tests/conformance/world/serving/webhook-client.key");

/// A file with one cluster and one user.
fn kubeconfig(cluster: &str, user: &str) -> String {
    format!(
        "kind: Config\napiVersion: v1\nclusters: [{{name: k, cluster: {{{cluster}}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n\
         contexts: [{{name: c, context: {{cluster: k, user: u}}}}]\ncurrent-context: c\n"
    )
}

/// Where it leads and the warnings, or what is wrong with it.
fn read(text: &str) -> Result<(String, Vec<String>), Vec<String>> {
    let folder = tempfile::tempdir().expect("a folder");
    let files =
        [("ca.pem", CA), ("cert.pem", CERTIFICATE), ("key.pem", KEY), ("token", " file-t\n"), ("empty", "")];
    for (name, content) in files {
        std::fs::write(folder.path().join(name), content).expect("a file");
    }
    let file = NamedFile { place: "k".to_owned(), bytes: text.as_bytes().to_vec().into() };
    let path = folder.path().join("kubeconfig");
    let mut warnings = Vec::new();
    let (connection, errors) = read_flags([""; 0], |values| {
        let access = access(values, &file, &path, &mut warnings)?;
        connection(values, "k", &access, &Proxies::default())
    });
    let place = folder.path().to_str().expect("UTF-8");
    match connection {
        Some(connection) if errors.is_empty() => Ok((connection.url.as_str().to_owned(), warnings)),
        _ => Err(errors.into_iter().map(|error| error.replace(place, "FOLDER")).collect()),
    }
}

const SERVER: &str = "server: 'https://a.test/x'";

#[test]
fn what_client_go_takes_is_taken() {
    let base64 = |text: &str| STANDARD.encode(text);
    let data = format!("client-certificate-data: {}, client-key-data: {}", base64(CERTIFICATE), base64(KEY));
    let ca_data = format!("{SERVER}, certificate-authority-data: {}", base64(CA));
    let with = |more: &str| format!("{SERVER}, {more}");
    let good = [
        kubeconfig(SERVER, ""),
        kubeconfig(SERVER, "token: t"),
        kubeconfig(SERVER, "tokenFile: token"),
        kubeconfig(SERVER, "token: t, tokenFile: token"),
        kubeconfig(SERVER, "username: me, password: pw"),
        kubeconfig(SERVER, "password: pw"),
        kubeconfig(SERVER, "token: null, exec: null, username: null"),
        kubeconfig(SERVER, "client-certificate: cert.pem, client-key: key.pem"),
        kubeconfig(SERVER, &format!("client-certificate: cert.pem, client-key-data: {}", base64(KEY))),
        kubeconfig(SERVER, &data),
        kubeconfig(SERVER, "client-key: none"),
        kubeconfig(SERVER, "client-certificate: cert.pem, client-key: key.pem, token: t"),
        kubeconfig(&with("certificate-authority: ca.pem"), ""),
        kubeconfig(&ca_data, ""),
        kubeconfig(&with("tls-server-name: b.test"), ""),
        kubeconfig(&with("proxy-url: 'http://me:pw@p.test:1'"), ""),
        kubeconfig(&with("proxy-url: 'socks5://p.test'"), ""),
        kubeconfig(&with("disable-compression: true, extensions: []"), ""),
        // Names may be empty or missing, and so may be the user.
        format!("clusters: [{{name: '', cluster: {{{SERVER}}}}}]"),
        format!("clusters: [{{cluster: {{{SERVER}}}}}]\nusers: null"),
        kubeconfig(SERVER, "").replace("user: u}", "user: v}"),
        "# c\n".to_owned() + &kubeconfig(SERVER, "") + "preferences: {}\n",
    ];
    let expected = Ok(("https://a.test/x?timeout=30s".to_owned(), Vec::new()));
    for text in good {
        assert_eq!(read(&text), expected, "{text}");
    }
}

#[test]
fn what_client_go_refuses_is_refused_and_more_is() {
    let no_configuration = "k: invalid configuration: no configuration has been provided: the current context has no cluster that is defined";
    let unreadable = "cannot be read: No such file or directory (os error 2)";
    let with = |more: &str| format!("{SERVER}, {more}");
    let both = |name: &str| format!("k: {name}-data and {name} are both specified; remove one of the two");
    let one_method =
        "k: more than one authentication method found; found [token basicAuth], only one is allowed";
    let as_nobody =
        "k: as, as-uid, as-groups and as-user-extra are not supported; use credentials of that user";
    let plain = kubeconfig(SERVER, "");
    let table = [
        (String::new(), no_configuration.to_owned()),
        ("{}\n".to_owned(), no_configuration.to_owned()),
        (plain.replace("cluster: k,", "cluster: l,"), no_configuration.to_owned()),
        (plain.replace("current-context: c", "x: y"), no_configuration.to_owned()),
        (
            plain.replace("current-context: c", "current-context: d"),
            "k: invalid configuration: context was not found for specified context: d".to_owned(),
        ),
        (plain.replace("Config", "Pod"), "k: not a kubeconfig: kind is not Config, or apiVersion not v1".to_owned()),
        (plain.replace(": v1", ": v2"), "k: not a kubeconfig: kind is not Config, or apiVersion not v1".to_owned()),
        (plain.replace("clusters: [", "clusters: [{name: k}, "), "k: clusters: duplicate name \"k\" in list".to_owned()),
        (plain.replace("users: [", "users: [{name: u}, "), "k: users: duplicate name \"u\" in list".to_owned()),
        ("[]".to_owned(), "k: not a kubeconfig: a value has another type than a map".to_owned()),
        ("clusters: [[k, {}]]".to_owned(), "k: not a kubeconfig: a value has another type than a map".to_owned()),
        (kubeconfig("tls-server-name: b", ""), "k: no server found for the cluster of the current context".to_owned()),
        (kubeconfig("Server: 'https://a.test'", ""), "k: no server found for the cluster of the current context".to_owned()),
        (kubeconfig(SERVER, "token: 7"), "k: not a kubeconfig: a value has another type than a string".to_owned()),
        (kubeconfig(SERVER, "token: t, username: me"), one_method.to_owned()),
        (kubeconfig(SERVER, "tokenFile: token, password: pw"), one_method.to_owned()),
        (kubeconfig(SERVER, "tokenFile: none"), format!("k: tokenFile: FOLDER/none: {unreadable}")),
        (kubeconfig(SERVER, "tokenFile: empty"), "k: tokenFile: read empty token from file".to_owned()),
        (kubeconfig(SERVER, r#"token: "a\nb""#), "k: user: the bearer token cannot stand in a header".to_owned()),
        (kubeconfig(SERVER, "client-certificate: none, client-key: key.pem"), format!("k: client-certificate: FOLDER/none: {unreadable}")),
        (kubeconfig(SERVER, "client-certificate: cert.pem, client-key: ca.pem"), "k: user: the client key: no private key in PEM (PKCS #8, PKCS #1 or SEC 1)".to_owned()),
        (kubeconfig(SERVER, "client-certificate: ca.pem, client-key: key.pem"), "k: TLS: the client key does not go with the client certificate".to_owned()),
        (kubeconfig(SERVER, "client-certificate: cert.pem, client-certificate-data: eA==, client-key: key.pem"), both("client-certificate")),
        (kubeconfig(SERVER, "client-certificate: cert.pem, client-key-data: eA==, client-key: key.pem"), both("client-key")),
        (kubeconfig(SERVER, "client-certificate: cert.pem"), "k: client-key-data or client-key must be specified to use the client certificate".to_owned()),
        (kubeconfig(SERVER, "exec: {command: x}"), "k: exec is not supported, since no program is run; use a tokenFile or a client certificate".to_owned()),
        (kubeconfig(SERVER, "auth-provider: {name: x}"), "k: auth-provider is not supported; use a tokenFile or a client certificate".to_owned()),
        (kubeconfig(SERVER, "as: me"), as_nobody.to_owned()),
        (kubeconfig(SERVER, "as-groups: [g]"), as_nobody.to_owned()),
        (kubeconfig(&with("certificate-authority: none"), ""), format!("k: certificate-authority: FOLDER/none: {unreadable}")),
        (kubeconfig(&with("certificate-authority: empty"), ""), "k: TLS: no PEM block of type CERTIFICATE".to_owned()),
        (kubeconfig(&with("certificate-authority-data: '%'"), ""), "k: certificate-authority-data: must be base64".to_owned()),
        (kubeconfig(&with("certificate-authority: ca.pem, certificate-authority-data: eA=="), ""), both("certificate-authority")),
        (
            kubeconfig(&with("insecure-skip-tls-verify: true, certificate-authority: ca.pem"), ""),
            "k: specifying a root certificates file with the insecure flag is not allowed; remove insecure-skip-tls-verify".to_owned(),
        ),
        (kubeconfig(&with("proxy-url: 'ftp://p.test'"), ""), "k: proxy-url: must be a URL of a proxy: http://, https:// or socks5://".to_owned()),
        (kubeconfig(&with("tls-server-name: 'a b'"), ""), "k: TLS: the TLS server name is neither a DNS name nor an IP address".to_owned()),
        (
            kubeconfig("server: 'http://localhost/', proxy-url: 'http://p.test'", ""),
            "k: proxy-url: not supported for a server in plaintext; remove it".to_owned(),
        ),
    ];
    for (text, expected) in table {
        assert_eq!(read(&text), Err(vec![expected]), "{text}");
    }
    let two = read(&kubeconfig("insecure-skip-tls-verify: true", "as: me, exec: {}"));
    assert_eq!(two.map_err(|errors| errors.len()), Err(3), "all at once");
}

#[test]
fn what_is_not_safe_is_warned_of() {
    assert_eq!(
        read(&kubeconfig(&format!("{SERVER}, insecure-skip-tls-verify: true"), "")).map(|(_, warnings)| warnings),
        Ok(vec!["k: insecure-skip-tls-verify: whoever is between here and the server learns all tokens, and says who is who".to_owned()])
    );
    assert_eq!(
        read(&kubeconfig("server: 'http://127.0.0.1:1/x'", "token: t")),
        Ok((
            "http://127.0.0.1:1/x?timeout=30s".to_owned(),
            vec![
                "k: the server is asked in plaintext, and not told who asks: whoever is in between says who is who"
                    .to_owned()
            ]
        ))
    );
}

/// Paths begin where the kubeconfig is, a file wins over a token beside it, and nothing is said in plaintext.
#[test]
fn what_a_kubeconfig_names_is_found_and_read() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, content) in [("ca.pem", "a CA"), ("key.pem", "a key"), ("token", " t\n")] {
        std::fs::write(folder.path().join(name), content).expect("a file");
    }
    let read = |cluster: &str, user: &str| {
        let file = NamedFile { place: "k".to_owned(), bytes: kubeconfig(cluster, user).into_bytes().into() };
        let path = folder.path().join("kubeconfig");
        read_flags([""; 0], |values| access(values, &file, &path, &mut Vec::new()))
    };
    let content = |text: &str| Content::from(text.as_bytes().to_vec());
    let full = read(
        "server: 'https://a.test', tls-server-name: b.test, certificate-authority: ca.pem, proxy-url: 'http://p.test'",
        "token: inline, tokenFile: token, client-certificate-data: \"Yy\\nE=\", client-key: key.pem",
    );
    let expected = Access {
        server: "https://a.test".to_owned(),
        tls_server_name: Some("b.test".to_owned()),
        insecure_skip_tls_verify: false,
        certificate_authority: Some(content("a CA")),
        proxy_url: Some("http://p.test".to_owned()),
        credentials: Credentials::TokenFile { path: folder.path().join("token"), content: content(" t\n") },
        client_certificate: Some((content("c!"), content("a key"))),
    };
    assert_eq!(full, (Some(expected), vec![]));
    let bare = |server: &str| Access { server: server.to_owned(), ..Access::default() };
    let basic = Credentials::Basic { username: "me".to_owned(), password: "pw".to_owned().into() };
    let basic = Access { credentials: basic, insecure_skip_tls_verify: true, ..bare("https://a.test") };
    let insecure = "server: 'https://a.test', insecure-skip-tls-verify: true, tls-server-name: ''";
    assert_eq!(read(insecure, "username: me, password: pw, client-key: none"), (Some(basic), vec![]));
    let token = Credentials::Token("t".to_owned().into());
    let token = Access { credentials: token, ..bare("https://a.test") };
    assert_eq!(read("server: 'https://a.test'", "token: t"), (Some(token), vec![]));
    let plain = "server: 'HTTP://a.test', certificate-authority: none";
    assert_eq!(read(plain, "tokenFile: none"), (Some(bare("HTTP://a.test")), vec![]));
}
