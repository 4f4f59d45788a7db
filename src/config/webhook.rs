//! The token review webhook (Go: `WebHookAuthenticationOptions`, k8s.io/kubernetes/pkg/kubeapiserver/options/authentication.go, and
//! `newWebhookTokenAuthenticator` of pkg/kubeapiserver/authenticator/config.go; v1.36.3), and a short way to have the API server of the
//! cluster for one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::options::option;
use super::values::{Values, go_duration};
use super::{kubeconfig, pod, service_accounts};
use crate::authn::token::jwt::Remote;
use crate::authn::token::webhook::{Settings, Version, Webhook};
use crate::cluster::{Access, Credentials};
use crate::https::{self, Authorization, Client, ClientCertificate, Proxies, Trust, Url, UrlError};

/// The authenticator, if there is to be one.
pub(super) fn authenticator(
    values: &mut Values<'_>,
    remote: &Remote,
    warnings: &mut Vec<String>,
) -> Option<Webhook> {
    let cache_ttl = values.parsed(option("authentication-token-webhook-cache-ttl"), |text| {
        let seconds = go_duration(text).ok_or("must be a duration, such as 2m or 30s")?;
        Duration::try_from_secs_f64(seconds.max(0.0)).map_err(|_too_long| "is too long".to_owned())
    });
    let in_cluster = values.parsed(option("authentication-token-review"), |text| match text {
        "" => Ok(false),
        "in-cluster" => Ok(true),
        _ => Err("must be in-cluster".to_owned()),
    });
    let config_file = option("authentication-token-webhook-config-file");
    let version = option("authentication-token-webhook-version");
    let path = values.text(config_file);
    let (connection, version) = if in_cluster {
        if !path.is_empty() {
            values.error(
                "--authentication-token-review",
                "in-cluster: --authentication-token-webhook-config-file names somebody else to ask; remove one of the two",
            );
            return None;
        }
        if values.is_set(version) && values.text(version) != "v1" {
            values.error(
                "--authentication-token-webhook-version",
                "API servers know v1 only; remove it, or --authentication-token-review",
            );
        }
        let place = "--authentication-token-review";
        let Some(mut access) = pod::access(values, place) else {
            values.error(
                place,
                "unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined",
            );
            return None;
        };
        access.server += TOKEN_REVIEWS;
        // No proxy is on the way.
        (connection(values, place, &access, &Proxies::default())?, Version::V1)
    } else {
        let file = values.file(config_file)?;
        // Without a file, any version will do, as there.
        let version = values.parsed(version, |text| match text {
            "v1" => Ok(Version::V1),
            "v1beta1" => Ok(Version::V1beta1),
            _ => {
                Err("unsupported authentication webhook version, supported versions are \"v1\", \"v1beta1\""
                    .to_owned())
            }
        });
        let access = kubeconfig::access(values, &file, Path::new(&path), warnings)?;
        (connection(values, &file.place, &access, remote.proxies())?, version)
    };
    let Connection { client, url, authorization } = connection;
    let audiences = service_accounts::audiences(values);
    let requests = Arc::clone(&remote.metrics().requests);
    Some(Webhook::new(Settings { client, url, authorization, version, audiences, cache_ttl, requests }))
}

/// Where an API server takes token reviews.
const TOKEN_REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

/// A server to post to, and how.
#[derive(Debug)]
pub(super) struct Connection {
    client: Client,
    pub(super) url: Url,
    authorization: Option<Authorization>,
}

/// `proxies` serve unless `access` names one. Go: `LoadKubeconfig` of k8s.io/apiserver/pkg/util/webhook/webhook.go, once it is read.
/// Stricter: the server is a whole URL, `https://` unless it is on this very host.
pub(super) fn connection(
    values: &mut Values<'_>,
    place: &str,
    access: &Access,
    proxies: &Proxies,
) -> Option<Connection> {
    let mut refuse = |field: &str, problem: &str| values.error(&format!("{place}: {field}"), problem);
    let url = review_url(&access.server).map_err(|problem| refuse("server", &problem)).ok();
    let proxies = match &access.proxy_url {
        None => Some(proxies.clone()),
        Some(proxy) => Proxies::fixed(proxy),
    };
    if proxies.is_none() {
        refuse("proxy-url", "must be a URL of a proxy: http://, https:// or socks5://");
    }
    let authorization = match &access.credentials {
        Credentials::None => None,
        Credentials::Token(token) => Some(Authorization::bearer(token)),
        Credentials::Basic { username, password } => Some(Authorization::basic(username, password)),
        Credentials::TokenFile { content, .. } => {
            let token = std::str::from_utf8(content).unwrap_or_default().trim();
            if token.is_empty() {
                refuse("tokenFile", "read empty token from file");
                return None;
            }
            Some(Authorization::bearer(token))
        }
    };
    let authorization = authorization.transpose().map_err(|error| refuse("user", &error.to_string())).ok()?;
    let certificate = access.client_certificate.as_ref();
    let certificate = certificate.map(|(chain, key)| ClientCertificate::from_pem(chain, key)).transpose();
    let certificate = certificate.map_err(|error| refuse("user", &error.to_string())).ok()?;
    let trust = match &access.certificate_authority {
        _ if access.insecure_skip_tls_verify => Trust::Anybody,
        Some(bundle) => Trust::Authorities(bundle),
        None => Trust::System,
    };
    let (url, proxies) = (url?, proxies?);
    let server_name = access.tls_server_name.as_deref();
    let client = Client::with(https::Settings { trust, server_name, certificate, proxies });
    let client = client.map_err(|error| refuse("TLS", &error.to_string())).ok()?;
    Some(Connection { client, url, authorization })
}

/// Where reviews are posted: the path as Go cleans it, and the timeout for the webhook to know. Go: `DefaultServerURL` of
/// k8s.io/client-go/rest/url_utils.go, `NewRequest` and `URL` of request.go.
fn review_url(server: &str) -> Result<Url, String> {
    let refused = |error: UrlError| match error {
        UrlError::NotHttps => {
            "must be https://, or http:// on this very host: tokens would cross the network in clear"
                .to_owned()
        }
        UrlError::Malformed => {
            "must be a whole URL, such as https://authn.example.com/authenticate".to_owned()
        }
        error => error.to_string(),
    };
    let server = server.split(['?', '#']).next().unwrap_or_default();
    Url::parse_or_loopback(server).map_err(refused)?;
    let (scheme, rest) = server.split_once("://").unwrap_or_default();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let decoded = percent_decode_str(path).collect::<Vec<u8>>();
    let clean = clean(&decoded);
    let path = match () {
        () if clean == decoded => path.to_owned(),
        () if !path.contains('%') => String::from_utf8_lossy(&clean).into_owned(),
        () => {
            return Err(
                "its path has both escapes and `//`, `.`, `..` or a slash at the end; write it without"
                    .to_owned(),
            );
        }
    };
    Url::parse_or_loopback(&format!("{scheme}://{authority}{path}?timeout=30s")).map_err(refused)
}

/// Go: `path.Join("/", path)`.
fn clean(path: &[u8]) -> Vec<u8> {
    let mut segments: Vec<&[u8]> = Vec::new();
    for segment in path.split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    [&b"/"[..], &segments.join(&b'/')].concat()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{errors, file, load};
    use super::*;
    use crate::authn::token::TokenAuthenticator;

    const KUBECONFIG: &str = "clusters: [{name: k, cluster: {server: 'https://a.test/x'}}]\n\
        contexts: [{name: c, context: {cluster: k}}]\ncurrent-context: c\n";

    /// What the settings are of a configuration with these flags.
    fn webhook(flags: &[&str]) -> String {
        let config = load(&[&["--anonymous-auth=false"], flags].concat(), &[]).expect("good");
        let [TokenAuthenticator::Webhook(webhook)] = &config.chain.tokens[..] else {
            panic!("{:?}", config.chain)
        };
        let shown = format!("{webhook:?}");
        shown.split_once("url: ").expect("a URL").1.trim_end_matches(')').to_owned()
    }

    /// Go: `AddFlags`, `ToAuthenticationConfig`, and TestToAuthenticationConfig of authentication_test.go as far as the webhook goes.
    #[test]
    fn the_flags_are_those_of_kube_apiserver() {
        let (_folder, path) = file(KUBECONFIG);
        let flag = ["--authentication-token-webhook-config-file", &*path];
        let with = |more: &[&str]| webhook(&[&flag, more].concat());
        let expected = |version: &str, audiences: &str, ttl: &str| {
            format!(
                "Url(\"https://a.test/x\"), authorization: None, version: {version}, audiences: {audiences}, cache_ttl: {ttl}, requests: Requests(Mutex {{ data: {{}}, poisoned: false, .. }}) }}"
            )
        };
        assert_eq!(with(&[]), expected("V1beta1", "[]", "120s"));
        assert_eq!(
            with(&[
                "--authentication-token-webhook-version=v1",
                "--authentication-token-webhook-cache-ttl=1m30s",
                "--api-audiences=a,b"
            ]),
            expected("V1", r#"["a", "b"]"#, "90s")
        );
        assert_eq!(with(&["--authentication-token-webhook-cache-ttl=0s"]), expected("V1beta1", "[]", "0ns"));
        assert_eq!(with(&["--authentication-token-webhook-cache-ttl=-5s"]), expected("V1beta1", "[]", "0ns"));

        let told = |more: &[&str]| errors(&[&["--anonymous-auth=true"], more].concat(), &[]);
        for ttl in ["5", "", "2d"] {
            let flag = format!("--authentication-token-webhook-cache-ttl={ttl}");
            assert_eq!(
                told(&[&flag]),
                [format!(
                    "--authentication-token-webhook-cache-ttl: {ttl:?}: must be a duration, such as 2m or 30s"
                )]
            );
        }
        assert_eq!(
            told(&[&flag[..], &["--authentication-token-webhook-version=v2"]].concat()),
            [
                "--authentication-token-webhook-version: \"v2\": unsupported authentication webhook version, supported versions are \
                 \"v1\", \"v1beta1\""
            ]
        );
        assert_eq!(
            told(&["--authentication-token-webhook-version=v2"]),
            [""; 0],
            "without a file it does not matter"
        );
        assert_eq!(
            told(&["--authentication-token-webhook-config-file=/none"]),
            [
                "--authentication-token-webhook-config-file: /none: cannot be read: No such file or directory (os error 2)"
            ]
        );
        assert_eq!(
            told(&["--authentication-token-review=elsewhere"]),
            ["--authentication-token-review: \"elsewhere\": must be in-cluster"]
        );
        assert_eq!(
            told(&[&flag[..], &["--authentication-token-review=in-cluster"]].concat()),
            [
                "--authentication-token-review: in-cluster: --authentication-token-webhook-config-file names somebody else to ask; \
                 remove one of the two"
            ]
        );
    }

    #[test]
    fn the_path_is_cleaned_as_client_go_cleans_it() {
        let insecure =
            "must be https://, or http:// on this very host: tokens would cross the network in clear";
        let whole = "must be a whole URL, such as https://authn.example.com/authenticate";
        let table = [
            ("https://a.test", Ok("https://a.test/")),
            ("https://a.test/", Ok("https://a.test/")),
            ("https://a.test:8443/a/b", Ok("https://a.test:8443/a/b")),
            ("https://a.test/a/", Ok("https://a.test/a")),
            ("https://a.test//a//b", Ok("https://a.test/a/b")),
            ("https://a.test/a/../b", Ok("https://a.test/b")),
            ("https://a.test/../a", Ok("https://a.test/a")),
            ("https://a.test/./a", Ok("https://a.test/a")),
            ("https://a.test/a%2Fb", Ok("https://a.test/a%2Fb")),
            ("https://a.test/%7Ea%20b", Ok("https://a.test/%7Ea%20b")),
            ("https://a.test/a?x=y#z", Ok("https://a.test/a")),
            ("https://a.test?x", Ok("https://a.test/")),
            ("https://[::1]:1/a", Ok("https://[::1]:1/a")),
            ("HTTPS://a.test/x", Ok("HTTPS://a.test/x")),
            // Stricter from here on.
            (
                "https://a.test/a%2Fb/",
                Err("its path has both escapes and `//`, `.`, `..` or a slash at the end; write it without"),
            ),
            ("a.test", Err(whole)),
            ("a.test:443", Err(insecure)),
            ("http://a.test/x", Err(insecure)),
            ("ftp://a.test/x", Err(insecure)),
            ("https://u:p@a.test/x", Err("there is a user name or password")),
            // client-go refuses these too.
            ("a.test/x", Err(whole)),
            ("https:///x", Err("there is no host")),
            ("https://a.test:x/", Err(whole)),
        ];
        for (server, expected) in table {
            let url = review_url(server).map(|url| url.as_str().to_owned());
            assert_eq!(
                url,
                expected.map(|url| format!("{url}?timeout=30s")).map_err(str::to_owned),
                "{server}"
            );
        }
    }
}
