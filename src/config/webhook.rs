//! The token review webhook (Go: `WebHookAuthenticationOptions`, k8s.io/kubernetes/pkg/kubeapiserver/options/authentication.go, and
//! `newWebhookTokenAuthenticator` of pkg/kubeapiserver/authenticator/config.go; v1.36.3), and a short way to have the API server of the
//! cluster for one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::kubeconfig::{self, Connection};
use super::options::option;
use super::service_accounts;
use super::values::{Values, go_duration};
use crate::authn::token::jwt::Remote;
use crate::authn::token::webhook::{Settings, Version, Webhook};
use crate::https::{self, Authorization, Client, Proxies, Trust};

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
        (self::in_cluster(values, Path::new(SERVICE_ACCOUNT))?, Version::V1)
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
        (kubeconfig::connection(values, &file, Path::new(&path), remote.proxies(), warnings)?, version)
    };
    let Connection { client, url, authorization } = connection;
    let audiences = service_accounts::audiences(values);
    let requests = Arc::clone(&remote.metrics().requests);
    Some(Webhook::new(Settings { client, url, authorization, version, audiences, cache_ttl, requests }))
}

/// Where Kubernetes puts a pod's credentials.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Where an API server takes token reviews.
const TOKEN_REVIEWS: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

/// The API server of the cluster that we run in. Go: `InClusterConfig` of k8s.io/client-go/rest/config.go, but that a missing CA is an error,
/// and no proxy is on the way.
fn in_cluster(values: &mut Values<'_>, folder: &Path) -> Option<Connection> {
    let place = "--authentication-token-review";
    let token = values.read_at(place, &folder.join("token"));
    let authorities = values.read_at(place, &folder.join("ca.crt"));
    let Some(server) = values.in_cluster_server() else {
        values.error(
            place,
            "unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined",
        );
        return None;
    };
    let mut refuse = |problem: String| values.error(place, &problem);
    let url = kubeconfig::review_url(&format!("{server}{TOKEN_REVIEWS}")).map_err(&mut refuse).ok();
    let token = token?;
    let token = std::str::from_utf8(&token.bytes).unwrap_or_default().trim();
    if token.is_empty() {
        refuse("read empty token from file".to_owned());
        return None;
    }
    let authorization = Authorization::bearer(token).map_err(|error| refuse(error.to_string())).ok()?;
    let authorities = authorities?;
    let client = Client::with(https::Settings {
        trust: Trust::Authorities(&authorities.bytes),
        server_name: None,
        certificate: None,
        proxies: Proxies::default(),
    });
    let client = client.map_err(|error| refuse(error.to_string())).ok()?;
    Some(Connection { client, url: url?, authorization: Some(authorization) })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{errors, file, load, read_flags_in};
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

    /// Go: TestInClusterConfig of k8s.io/client-go/rest/config_test.go.
    #[test]
    fn the_api_server_of_the_cluster_is_where_kubernetes_says() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("a file");
        let environment = |host: &str, port: &str| {
            [("KUBERNETES_SERVICE_HOST", host), ("KUBERNETES_SERVICE_PORT", port)]
                .map(|(n, v)| (n.into(), v.into()))
                .to_vec()
        };
        let read = |environment| {
            let (connection, errors) =
                read_flags_in([""; 0], environment, |values| in_cluster(values, folder.path()));
            connection.map(|connection| connection.url.as_str().to_owned()).ok_or(errors)
        };
        write("token", "my-token\n");
        write("ca.crt", include_str!("../../tests/conformance/world/ca/issuer-ca.pem"));
        let url =
            |host: &str| Ok(format!("https://{host}/apis/authentication.k8s.io/v1/tokenreviews?timeout=30s"));
        assert_eq!(read(environment("10.0.0.1", "443")), url("10.0.0.1:443"));
        assert_eq!(read(environment("fd00::1", "6443")), url("[fd00::1]:6443"));
        let problem = "--authentication-token-review: unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and \
                       KUBERNETES_SERVICE_PORT must be defined";
        for (host, port) in [("", "443"), ("10.0.0.1", "")] {
            assert_eq!(read(environment(host, port)), Err(vec![problem.to_owned()]));
        }
        write("token", " \n");
        let empty = "--authentication-token-review: read empty token from file".to_owned();
        assert_eq!(read(environment("10.0.0.1", "443")), Err(vec![empty]));
        std::fs::remove_file(folder.path().join("ca.crt")).expect("it was there");
        write("token", "t");
        let told = read(environment("10.0.0.1", "443")).expect_err("no CA");
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("ca.crt: cannot be read: "), "{told:?}");
    }
}
