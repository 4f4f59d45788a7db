//! Service account tokens (Go: `ServiceAccountAuthenticationOptions`, k8s.io/kubernetes/pkg/kubeapiserver/options/authentication.go,
//! v1.36.3). kube-apiserver cannot be without them, countersign can.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::options::option;
use super::values::{Values, go_duration};
use crate::authn::token::TokenAuthenticator;
use crate::authn::token::jwt::Remote;
use crate::authn::token::service_account::{Kind, PublicKeys, ServiceAccount};
use crate::cluster::{Cluster, Objects};
use crate::url;

/// The two authenticators, legacy tokens first, or none.
pub(super) fn authenticators(
    values: &mut Values<'_>,
    cluster: Option<&Arc<Cluster>>,
    remote: &Remote,
    warnings: &mut Vec<String>,
) -> Vec<TokenAuthenticator> {
    issuing(values, warnings);
    let lookup = values.bool(option("service-account-lookup"));
    let looks = looks(values);
    let audiences = audiences(values);
    let issuers = issuers(values);
    let keys = keys(values);
    if !is_configured(values) {
        if !issuers.is_empty() {
            values.error(
                "--service-account-issuer",
                "`--service-account-key-file` must be set too, or no token can be verified",
            );
        }
        return Vec::new();
    }
    if issuers.is_empty() {
        values.error("--service-account-key-file", "service-account-issuer is a required flag");
    }
    if !looks {
        warnings.push(OFFLINE.to_owned());
        warnings.extend(lookup.then(|| OFFLINE_LEGACY.to_owned()));
    }
    warnings.extend((!lookup).then(|| NO_LOOKUP.to_owned()));
    let objects = cluster.filter(|_| looks).map(|cluster| Arc::new(Objects::new(cluster)));
    let keys = Arc::new(keys);
    let issuers = issuers.into_iter().map(Box::from).collect();
    [Kind::Legacy { lookup }, Kind::Bound { issuers }]
        .map(|kind| ServiceAccount::new(kind, Arc::clone(&keys), Arc::clone(&audiences), objects.clone()))
        .map(|accounts| accounts.counted(Arc::clone(&remote.metrics().service_accounts)))
        .map(TokenAuthenticator::ServiceAccount)
        .into()
}

/// Whom tokens must be meant for: the API audiences, or else the issuers. Go: `ToAuthenticationConfig`.
pub(super) fn audiences(values: &mut Values<'_>) -> Arc<[Box<str>]> {
    let audiences = match values.list(option("api-audiences")) {
        none if none.is_empty() => values.repeated(option("service-account-issuer")),
        audiences => audiences,
    };
    audiences.into_iter().map(Box::from).collect()
}

/// Whether there are keys to verify service account tokens with.
pub(super) fn is_configured(values: &Values<'_>) -> bool {
    !values.repeated(option("service-account-key-file")).is_empty()
}

/// Whether a cluster has to be looked at. A mode that is none is told of elsewhere.
pub(super) fn need_cluster(values: &Values<'_>) -> bool {
    is_configured(values) && values.text(option("service-account-lookup-mode")) == "api"
}

/// Whether the objects that tokens name are looked at, as kube-apiserver does; else the operator has consented not to.
fn looks(values: &mut Values<'_>) -> bool {
    values.choice(option("service-account-lookup-mode"), &["api", "offline"]) == "api"
}

const OFFLINE: &str = "--service-account-lookup-mode=offline: a service account token counts until it expires, even if its account, \
                       or the pod, node or secret that it is bound to, is gone";
const OFFLINE_LEGACY: &str = "legacy service account tokens are refused: they never expire, and nobody looks whether their secrets are \
                              still there";
const NO_LOOKUP: &str = "--service-account-lookup=false: legacy service account tokens are let in for ever, even if their secrets are gone";

/// Go: `Validate`.
fn issuers(values: &mut Values<'_>) -> Vec<String> {
    let option = option("service-account-issuer");
    let issuers = values.repeated(option);
    let place = values.place(option);
    let mut seen = BTreeSet::new();
    for issuer in &issuers {
        let url = if issuer.contains(':') { url::parse(issuer).map(|_| ()) } else { Ok(()) };
        if let Err(error) = url {
            let problem =
                format!("service-account-issuer {issuer:?} contained a ':' but was not a valid URL: {error}");
            values.error(&place, &problem);
        } else if issuer.is_empty() {
            values.error(&place, "service-account-issuer should not be an empty string");
        } else if !seen.insert(issuer) {
            values.error(&place, &format!("service-account-issuer {issuer:?} is already specified"));
        }
    }
    issuers
}

fn keys(values: &mut Values<'_>) -> PublicKeys {
    let mut keys = PublicKeys::default();
    for file in values.files(option("service-account-key-file")) {
        if let Err(error) = keys.add(&file.bytes) {
            values.file_errors(&file, vec![error]);
        }
    }
    keys
}

/// The flags that only matter to who issues tokens: accepted if kube-apiserver accepts them, so that its flags can be taken over as
/// they are. The key that signs is not opened, since nobody here needs it.
fn issuing(values: &mut Values<'_>, warnings: &mut Vec<String>) {
    let mut ignored = Vec::new();

    let extend = option("service-account-extend-token-expiration");
    values.bool(extend);
    if values.is_set(extend) {
        ignored.push(extend.name);
    }
    // Go: Validate.
    let jwks_uri = option("service-account-jwks-uri");
    let given = values.parsed(jwks_uri, |text| match url::parse(text) {
        _ if text.is_empty() => Ok(false),
        Err(error) => Err(format!("service-account-jwks-uri must be a valid URL: {error}")),
        Ok(url) if url.scheme != "https" => Err("service-account-jwks-uri requires https scheme".to_owned()),
        Ok(_) => Ok(true),
    });
    if given {
        ignored.push(jwks_uri.name);
    }
    // Go: completeServiceAccountOptions of k8s.io/kubernetes/pkg/controlplane/apiserver/options/options.go.
    let max = option("service-account-max-token-expiration");
    let given = values.parsed(max, |text| match go_duration(text) {
        Some(0.0) => Ok(false),
        Some(seconds) if (HOUR..=MAX_EXPIRATION).contains(&seconds) => Ok(true),
        _ => {
            Err("the service-account-max-token-expiration must be between 1 hour and 2^32 seconds".to_owned())
        }
    });
    if given {
        ignored.push(max.name);
    }
    let signing_key = option("service-account-signing-key-file");
    if values.parsed(signing_key, |text| Ok(!text.is_empty())) {
        ignored.push(signing_key.name);
    }
    warnings.extend(ignored.iter().map(|name| format!("--{name} does nothing here: no tokens are issued")));

    values.parsed(option("service-account-signing-endpoint"), |text| match text {
        "" => Ok(()),
        _ => {
            Err("an external signer is not supported; name its keys with --service-account-key-file"
                .to_owned())
        }
    });
}

/// In seconds.
const HOUR: f64 = 3600.0;
const MAX_EXPIRATION: f64 = 4_294_967_296.0;

#[cfg(test)]
mod tests {
    use super::super::tests::{errors, file, load};
    use super::*;

    const KEY: &str = include_str!("../../tests/conformance/world/sa/rsa1.pub");
    const OFFLINE_FLAG: &str = "--service-account-lookup-mode=offline";
    const KUBECONFIG: &str = "current-context: c
contexts: [{name: c, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]
users: [{name: u, user: {}}]
";

    /// What is wrong with these flags beside a key file and `offline`.
    fn told(flags: &[&str]) -> Vec<String> {
        let (_folder, key) = file(KEY);
        errors(&[&["--service-account-key-file", &key, OFFLINE_FLAG], flags].concat(), &[])
    }

    /// Go: TestAuthenticationValidate of k8s.io/kubernetes/pkg/kubeapiserver/options/authentication_test.go, all that it has of
    /// service accounts, and the vectors config/flags.
    #[test]
    fn issuers_and_keys_are_validated_as_kube_apiserver_does() {
        let (flag, file_flag) = ("--service-account-issuer", "--service-account-key-file");
        let good = "--service-account-issuer=http://foo.bar.com";
        assert_eq!(told(&[good]), [""; 0]);
        assert_eq!(told(&[good, "--service-account-issuer=a,b", "--service-account-issuer=plain"]), [""; 0]);
        assert_eq!(
            errors(&[good, "--anonymous-auth"], &[]),
            [format!("{flag}: `{file_flag}` must be set too, or no token can be verified")]
        );
        assert_eq!(told(&[]), [format!("{file_flag}: service-account-issuer is a required flag")]);
        assert_eq!(
            told(&["--service-account-issuer="]),
            [format!("{flag}: service-account-issuer should not be an empty string")]
        );
        assert_eq!(
            told(&[good, good]),
            [format!("{flag}: service-account-issuer \"http://foo.bar.com\" is already specified")]
        );
        assert_eq!(
            told(&["--service-account-issuer=http://[::1]:namedport"]),
            [format!(
                "{flag}: service-account-issuer \"http://[::1]:namedport\" contained a ':' but was not a valid URL: parse \
                 \"http://[::1]:namedport\": invalid port \":namedport\" after host"
            )]
        );
        let (_folder, csv) = file("not,a,key\n");
        assert_eq!(
            told(&[good, file_flag, &csv, file_flag, "/none"]),
            [
                "--service-account-key-file: /none: cannot be read: No such file or directory (os error 2)"
                    .to_owned(),
                format!("{file_flag}: {csv}: data does not contain any valid RSA or ECDSA public keys"),
            ]
        );
    }

    /// kube-apiserver's own flags look at a cluster; not to look is the operator's choice, never a default.
    #[test]
    fn accounts_are_looked_for_in_a_cluster_unless_that_is_waived() {
        let (_folder, key) = file(KEY);
        let flags = |more: &[&str]| {
            let keys =
                ["--anonymous-auth=false", "--service-account-key-file", &key, "--service-account-issuer=a"];
            load(&[&keys, more].concat(), &[])
        };
        let problems = |more: &[&str]| {
            flags(more).err().unwrap_or_default().into_iter().map(|e| e.to_string()).collect::<Vec<_>>()
        };
        for more in [&[][..], &["--service-account-lookup=false"], &["--service-account-lookup-mode=api"]] {
            assert_eq!(
                problems(more),
                [
                    "--kubeconfig: no cluster: set --kubeconfig, or run as a pod, which has KUBERNETES_SERVICE_HOST and \
                     KUBERNETES_SERVICE_PORT; or let service account tokens count until they expire, with \
                     --service-account-lookup-mode=offline"
                ],
                "{more:?}"
            );
        }
        for mode in ["on", ""] {
            assert_eq!(
                problems(&[&format!("--service-account-lookup-mode={mode}")]),
                [format!("--service-account-lookup-mode: {mode:?}: must be one of api, offline")]
            );
        }
        let (_folder, kubeconfig) = file(KUBECONFIG);
        let cluster = ["--kubeconfig", &kubeconfig];
        let warned = |more: &[&str]| flags(more).map(|config| config.warnings).map_err(|errors| errors.len());
        assert_eq!(warned(&cluster), Ok(vec![]));
        assert_eq!(
            warned(&[&cluster[..], &["--service-account-lookup=false"]].concat()),
            Ok(vec![NO_LOOKUP.into()])
        );
        assert_eq!(warned(&[OFFLINE_FLAG]), Ok(vec![OFFLINE.into(), OFFLINE_LEGACY.into()]));
        assert_eq!(
            warned(&[OFFLINE_FLAG, "--service-account-lookup=false"]),
            Ok(vec![OFFLINE.into(), NO_LOOKUP.into()])
        );
        let looking = flags(&cluster).map(|config| format!("{:?}", config.chain.tokens)).unwrap_or_default();
        assert_eq!(
            looking,
            "[ServiceAccount(ServiceAccount(Legacy { lookup: true }, PublicKeys(1), for [\"a\"])), \
             ServiceAccount(ServiceAccount(Bound { issuers: [\"a\"] }, PublicKeys(1), for [\"a\"]))]"
        );
        let unused =
            load(&[&["--anonymous-auth"], &cluster[..]].concat(), &[]).map(|config| config.cluster.is_none());
        assert_eq!(unused.map_err(|errors| errors.len()), Ok(true), "nobody looks");
    }

    #[test]
    fn the_audiences_are_the_issuers_unless_they_are_named() {
        let (_folder, key) = file(KEY);
        let made = |more: &[&str]| {
            let keys = ["--service-account-key-file", &key, OFFLINE_FLAG, "--service-account-issuer=a,b"];
            let config =
                load(&[&keys[..], &["--service-account-issuer=c"], more].concat(), &[]).expect("good");
            format!("{:?}", config.chain.tokens)
        };
        let expected = |lookup: &str, audiences: &str| {
            format!(
                "[ServiceAccount(ServiceAccount(Legacy {{ lookup: {lookup} }}, PublicKeys(1), for {audiences}, offline)), \
                 ServiceAccount(ServiceAccount(Bound {{ issuers: [\"a,b\", \"c\"] }}, PublicKeys(1), for {audiences}, offline))]"
            )
        };
        let issuers = r#"["a,b", "c"]"#;
        assert_eq!(made(&[]), expected("true", issuers));
        assert_eq!(made(&["--api-audiences="]), expected("true", issuers));
        assert_eq!(
            made(&["--api-audiences=x,y", "--service-account-lookup=0"]),
            expected("false", r#"["x", "y"]"#)
        );
        let environment =
            [("COUNTERSIGN_SERVICE_ACCOUNT_ISSUER", "a,b"), ("COUNTERSIGN_SERVICE_ACCOUNT_KEY_FILE", &key)];
        let config = load(&[OFFLINE_FLAG], &environment).expect("good");
        assert_eq!(format!("{:?}", config.chain.tokens), made(&[]).replace(", \"c\"", ""));
        let (_folder, path) = file(&format!(
            "service-account-key-file: {key}\nservice-account-issuer: ['a,b', c]\nservice-account-lookup-mode: offline\n"
        ));
        let config = load(&["--config", &path], &[]).expect("good");
        assert_eq!(format!("{:?}", config.chain.tokens), made(&[]));
    }

    /// Go: TestAuthenticationValidate ("… JWKSURI"), and completeServiceAccountOptions.
    #[test]
    fn flags_about_issuing_are_ignored_with_a_warning_if_kube_apiserver_takes_them() {
        let wrong = |flag: &str| errors(&["--anonymous-auth", flag], &[]);
        let warned =
            |flag: &str| load(&["--anonymous-auth", flag], &[]).map(|c| c.warnings).map_err(|e| e.len());
        for flag in [
            "--service-account-extend-token-expiration=false",
            "--service-account-jwks-uri=HTTPS://qux.com",
            "--service-account-max-token-expiration=8760h",
            "--service-account-max-token-expiration=1h0m",
            "--service-account-signing-key-file=/not/opened",
        ] {
            let name = flag.split('=').next().unwrap_or_default();
            assert_eq!(warned(flag), Ok(vec![format!("{name} does nothing here: no tokens are issued")]));
        }
        for flag in ["--service-account-jwks-uri=", "--service-account-max-token-expiration=0"] {
            assert_eq!(warned(flag), Ok(Vec::new()), "{flag} says nothing");
        }
        assert_eq!(
            wrong("--service-account-jwks-uri=http://baz.com"),
            [
                "--service-account-jwks-uri: \"http://baz.com\": service-account-jwks-uri requires https scheme"
            ]
        );
        assert_eq!(
            wrong("--service-account-jwks-uri=https://host:port"),
            [
                "--service-account-jwks-uri: \"https://host:port\": service-account-jwks-uri must be a valid URL: parse \
              \"https://host:port\": invalid port \":port\" after host"
            ]
        );
        for flag in [
            "--service-account-extend-token-expiration=maybe",
            "--service-account-max-token-expiration=59m",
            "--service-account-max-token-expiration=4294967297s",
            "--service-account-max-token-expiration=1d",
            "--service-account-max-token-expiration=-1h",
            "--service-account-max-token-expiration=3600",
            "--service-account-signing-endpoint=/run/signer.sock",
        ] {
            assert_eq!(wrong(flag).len(), 1, "{flag}");
        }
    }
}
