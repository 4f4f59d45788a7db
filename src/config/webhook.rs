//! The token review webhook (Go: `WebHookAuthenticationOptions`, k8s.io/kubernetes/pkg/kubeapiserver/options/authentication.go, and
//! `newWebhookTokenAuthenticator` of pkg/kubeapiserver/authenticator/config.go; v1.36.3), and a short way to have the API server of the
//! cluster for one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::kubeconfig::{self, Connection};
use super::options::option;
use super::values::{Values, go_duration};
use crate::authn::token::webhook::{Settings, Version, Webhook};
use crate::https::{self, Authorization, Client, Proxies, Trust};

/// The authenticator, if there is to be one. `proxies` are those of the environment.
pub(super) fn authenticator(
    values: &mut Values<'_>,
    proxies: &Proxies,
    warnings: &mut Vec<String>,
) -> Option<Webhook> {
    let cache_ttl = values.parsed(option("authentication-token-webhook-cache-ttl"), |text| {
        let seconds = go_duration(text).ok_or("must be a duration, such as 2m or 30s")?;
        Duration::try_from_secs_f64(seconds.max(0.0)).map_err(|_too_long| "is too long".to_owned())
    });
    let in_cluster =
        values.choice(option("authentication-token-review"), &["", "in-cluster"]) == "in-cluster";
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
        (kubeconfig::connection(values, &file, Path::new(&path), proxies, warnings)?, version)
    };
    let Connection { client, url, authorization } = connection;
    let audiences = audiences(values);
    Some(Webhook::new(Settings { client, url, authorization, version, audiences, cache_ttl }))
}

/// Go: `ToAuthenticationConfig`.
fn audiences(values: &mut Values<'_>) -> Arc<[Box<str>]> {
    let audiences = match values.list(option("api-audiences")) {
        none if none.is_empty() => values.repeated(option("service-account-issuer")),
        audiences => audiences,
    };
    audiences.into_iter().map(Box::from).collect()
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
    let Some((host, port)) = values.kubernetes_service() else {
        values.error(
            place,
            "unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined",
        );
        return None;
    };
    let mut refuse = |problem: String| values.error(place, &problem);
    // Go: `net.JoinHostPort`.
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let url =
        kubeconfig::review_url(&format!("https://{host}:{port}{TOKEN_REVIEWS}")).map_err(&mut refuse).ok();
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
