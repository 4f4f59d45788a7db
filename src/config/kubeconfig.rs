//! Kubeconfig files (Go: k8s.io/client-go/tools/clientcmd: client_config.go, validation.go and loader.go; `TLSConfigFor` of
//! k8s.io/client-go/transport; v0.36.3).
//!
//! The types of the crate `kube` do not fit: there a name, or a context's cluster, cannot be missing or null.
//!
//! Stricter: `exec`, `auth-provider` and `as` are refused; files that are named must be readable and not empty, and each certificate in a
//! bundle must be one; a file without a cluster never means the cluster that we run in.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use zeroize::Zeroizing;

use super::file::NamedFile;
use super::values::Values;
use crate::cluster::{Access, Content, Credentials};
use crate::yaml;

/// The server and user of the current context, with what their files hold. `path` is where the file is. Once the file itself can be read,
/// errors keep nobody from finding more of them.
pub(super) fn access(
    values: &mut Values<'_>,
    file: &NamedFile,
    path: &Path,
    warnings: &mut Vec<String>,
) -> Option<Access> {
    let current = parse(&file.bytes).and_then(current).map_err(|problem| vec![problem]);
    let current = current.and_then(|(cluster, user)| match problems(&cluster, &user) {
        problems if problems.is_empty() => Ok((cluster, user)),
        problems => Err(problems),
    });
    let (cluster, user) = current.map_err(|problems| values.file_errors(file, problems)).ok()?;
    let folder = path.parent().unwrap_or_else(|| Path::new(""));
    Some(Reader { values, file, folder, warnings }.access(cluster, user))
}

/// Go: `Config` of k8s.io/client-go/tools/clientcmd/api/v1/types.go.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Kubeconfig {
    #[serde(deserialize_with = "zero_if_null")]
    kind: String,
    #[serde(rename = "apiVersion", deserialize_with = "zero_if_null")]
    api_version: String,
    #[serde(deserialize_with = "zero_if_null")]
    clusters: Vec<Value>,
    #[serde(deserialize_with = "zero_if_null")]
    users: Vec<Value>,
    #[serde(deserialize_with = "zero_if_null")]
    contexts: Vec<Value>,
    #[serde(deserialize_with = "zero_if_null")]
    current_context: String,
}

/// What the list is of, by its name. Go: `NamedCluster`, `NamedAuthInfo`, `NamedContext`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Named {
    #[serde(deserialize_with = "zero_if_null")]
    name: String,
    #[serde(alias = "cluster", alias = "user", alias = "context")]
    value: Value,
}

/// Go: `Context`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Context {
    #[serde(deserialize_with = "zero_if_null")]
    cluster: String,
    #[serde(deserialize_with = "zero_if_null")]
    user: String,
}

/// Go: `Cluster`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct Cluster {
    #[serde(deserialize_with = "zero_if_null")]
    server: String,
    #[serde(deserialize_with = "zero_if_null")]
    tls_server_name: String,
    #[serde(deserialize_with = "zero_if_null")]
    insecure_skip_tls_verify: bool,
    #[serde(deserialize_with = "zero_if_null")]
    certificate_authority: String,
    #[serde(deserialize_with = "zero_if_null")]
    certificate_authority_data: String,
    #[serde(deserialize_with = "zero_if_null")]
    proxy_url: String,
}

/// Go: `AuthInfo`.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct User {
    #[serde(deserialize_with = "zero_if_null")]
    client_certificate: String,
    #[serde(deserialize_with = "zero_if_null")]
    client_certificate_data: String,
    #[serde(deserialize_with = "zero_if_null")]
    client_key: String,
    #[serde(deserialize_with = "zero_if_null")]
    client_key_data: String,
    #[serde(deserialize_with = "zero_if_null")]
    token: String,
    #[serde(rename = "tokenFile", deserialize_with = "zero_if_null")]
    token_file: String,
    #[serde(rename = "as", deserialize_with = "zero_if_null")]
    impersonate: String,
    #[serde(rename = "as-uid", deserialize_with = "zero_if_null")]
    impersonate_uid: String,
    #[serde(rename = "as-groups", deserialize_with = "zero_if_null")]
    impersonate_groups: Vec<String>,
    #[serde(rename = "as-user-extra", deserialize_with = "zero_if_null")]
    impersonate_extra: BTreeMap<String, Value>,
    #[serde(deserialize_with = "zero_if_null")]
    username: String,
    #[serde(deserialize_with = "zero_if_null")]
    password: String,
    auth_provider: Value,
    exec: Value,
}

/// As Go decodes into a new value.
fn zero_if_null<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(field: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(field)?.unwrap_or_default())
}

/// Go: `Load` of loader.go.
fn parse(text: &[u8]) -> Result<Kubeconfig, String> {
    let kubeconfig: Kubeconfig = decode(yaml::value(text)?)?;
    if !["", "Config"].contains(&&*kubeconfig.kind) || !["", "v1"].contains(&&*kubeconfig.api_version) {
        return Err("not a kubeconfig: kind is not Config, or apiVersion not v1".to_owned());
    }
    Ok(kubeconfig)
}

/// What is there may be a secret, so no error repeats it.
fn decode<T: Default + DeserializeOwned>(value: Value) -> Result<T, String> {
    if value.is_null() {
        return Ok(T::default());
    }
    // serde would read a list, field by field.
    if !value.is_object() {
        return Err("not a kubeconfig: a value has another type than a map".to_owned());
    }
    serde_json::from_value(value).map_err(|error| match error.to_string().rsplit_once(", expected ") {
        Some((_, expected)) => format!("not a kubeconfig: a value has another type than {expected}"),
        None => "not a kubeconfig".to_owned(),
    })
}

/// The cluster and user of the current context. Go: `getContext`, `getCluster`, `getAuthInfo`, `ConfirmUsable`.
fn current(kubeconfig: Kubeconfig) -> Result<(Cluster, User), String> {
    let Kubeconfig { clusters, users, contexts, current_context, .. } = kubeconfig;
    let clusters: BTreeMap<String, Cluster> = by_name("clusters", clusters)?;
    let users: BTreeMap<String, User> = by_name("users", users)?;
    let mut contexts: BTreeMap<String, Context> = by_name("contexts", contexts)?;
    let context = match contexts.remove(&current_context) {
        None if !current_context.is_empty() => {
            return Err(format!(
                "invalid configuration: context was not found for specified context: {current_context}"
            ));
        }
        context => context.unwrap_or_default(),
    };
    let take = |mut clusters: BTreeMap<_, _>, name| clusters.remove(name);
    let cluster = take(clusters, &context.cluster).ok_or(
        "invalid configuration: no configuration has been provided: the current context has no cluster that is defined",
    )?;
    let user = { users }.remove(&context.user).unwrap_or_default();
    Ok((cluster, user))
}

/// Go: the conversions of k8s.io/client-go/tools/clientcmd/api/v1/conversion.go.
fn by_name<T: Default + DeserializeOwned>(
    list: &str,
    named: Vec<Value>,
) -> Result<BTreeMap<String, T>, String> {
    let mut map = BTreeMap::new();
    for named in named {
        let Named { name, value } = decode(named)?;
        if map.insert(name.clone(), decode(value)?).is_some() {
            return Err(format!("{list}: duplicate name {name:?} in list"));
        }
    }
    Ok(map)
}

/// What is wrong before any file is looked at. Go: `validateClusterInfo`, `validateAuthInfo`, `TLSConfigFor`, `HTTPWrappersForConfig`.
fn problems(cluster: &Cluster, user: &User) -> Vec<String> {
    let certificate = [&user.client_certificate, &user.client_certificate_data].map(|text| !text.is_empty());
    let key = [&user.client_key, &user.client_key_data].map(|text| !text.is_empty());
    let authorities =
        [&cluster.certificate_authority, &cluster.certificate_authority_data].map(|text| !text.is_empty());
    let token = !user.token.is_empty() || !user.token_file.is_empty();
    let basic = !user.username.is_empty() || !user.password.is_empty();
    let impersonates = !(user.impersonate.is_empty()
        && user.impersonate_uid.is_empty()
        && user.impersonate_groups.is_empty()
        && user.impersonate_extra.is_empty());
    let table = [
        (cluster.server.is_empty(), "no server found for the cluster of the current context"),
        (
            authorities == [true, true],
            "certificate-authority-data and certificate-authority are both specified; remove one of the two",
        ),
        (
            cluster.insecure_skip_tls_verify && authorities != [false, false],
            "specifying a root certificates file with the insecure flag is not allowed; remove insecure-skip-tls-verify",
        ),
        (
            token && basic,
            "more than one authentication method found; found [token basicAuth], only one is allowed",
        ),
        (
            certificate == [true, true],
            "client-certificate-data and client-certificate are both specified; remove one of the two",
        ),
        (
            certificate != [false, false] && key == [true, true],
            "client-key-data and client-key are both specified; remove one of the two",
        ),
        (
            certificate != [false, false] && key == [false, false],
            "client-key-data or client-key must be specified to use the client certificate",
        ),
        (
            !user.exec.is_null(),
            "exec is not supported, since no program is run; use a tokenFile or a client certificate",
        ),
        (
            !user.auth_provider.is_null(),
            "auth-provider is not supported; use a tokenFile or a client certificate",
        ),
        (
            impersonates,
            "as, as-uid, as-groups and as-user-extra are not supported; use credentials of that user",
        ),
    ];
    table.into_iter().filter(|(wrong, _)| *wrong).map(|(_, problem)| problem.to_owned()).collect()
}

/// Reads the files that cluster and user name.
struct Reader<'a, 'v> {
    values: &'a mut Values<'v>,
    file: &'a NamedFile,
    folder: &'a Path,
    warnings: &'a mut Vec<String>,
}

impl Reader<'_, '_> {
    /// Go: `ClientConfig` of client_config.go, with `getUserIdentificationPartialConfig` and `dataFromSliceOrFile`.
    fn access(&mut self, cluster: Cluster, user: User) -> Access {
        let Cluster { server, insecure_skip_tls_verify, .. } = cluster;
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        if insecure_skip_tls_verify {
            self.warn("insecure-skip-tls-verify: whoever is between here and the server learns all tokens, and says who is who");
        }
        let scheme = server.split_once("://").map(|(scheme, _)| scheme);
        if scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("http")) {
            if !cluster.proxy_url.is_empty() {
                self.error("proxy-url", "not supported for a server in plaintext; remove it");
            }
            self.warn("the server is asked in plaintext, and not told who asks: whoever is in between says who is who");
            return Access { server, ..Access::default() };
        }
        let certificate_authority = self.data_or_file(
            ("certificate-authority-data", &cluster.certificate_authority_data),
            ("certificate-authority", &cluster.certificate_authority),
        );
        let chain = self.data_or_file(
            ("client-certificate-data", &user.client_certificate_data),
            ("client-certificate", &user.client_certificate),
        );
        // A key alone is overlooked.
        let client_certificate = chain.and_then(|chain| {
            let data = ("client-key-data", &*user.client_key_data);
            Some((chain, self.data_or_file(data, ("client-key", &user.client_key))?))
        });
        Access {
            server,
            tls_server_name: given(cluster.tls_server_name),
            insecure_skip_tls_verify,
            certificate_authority,
            proxy_url: given(cluster.proxy_url),
            credentials: self.credentials(user),
            client_certificate,
        }
    }

    fn warn(&mut self, warning: &str) {
        self.warnings.push(format!("{}: {warning}", self.file.place));
    }

    fn error(&mut self, field: &str, problem: &str) {
        self.values.error(&format!("{}: {field}", self.file.place), problem);
    }

    /// The file counts. Go: the token sources of k8s.io/client-go/transport.
    fn credentials(&mut self, user: User) -> Credentials {
        if !user.token_file.is_empty() {
            let content = self.read("tokenFile", &user.token_file);
            let path = self.folder.join(&user.token_file);
            content.map_or(Credentials::None, |content| Credentials::TokenFile { path, content })
        } else if !user.token.is_empty() {
            Credentials::Token(user.token.into())
        } else if !user.username.is_empty() {
            Credentials::Basic { username: user.username, password: user.password.into() }
        } else {
            Credentials::None
        }
    }

    /// None, if there is neither, or after an error.
    fn data_or_file(&mut self, data: (&str, &str), file: (&str, &str)) -> Option<Content> {
        if data.1.is_empty() {
            return if file.1.is_empty() { None } else { self.read(file.0, file.1) };
        }
        // Go's decoder leaves out line ends.
        let text = Zeroizing::new(data.1.replace(['\r', '\n'], ""));
        let decoded = STANDARD.decode(text.as_bytes()).map_err(|_| self.error(data.0, "must be base64"));
        decoded.map(Zeroizing::new).ok()
    }

    /// A file by its path, from where the kubeconfig is.
    fn read(&mut self, field: &str, path: &str) -> Option<Zeroizing<Vec<u8>>> {
        let place = format!("{}: {field}", self.file.place);
        self.values.read_at(&place, &self.folder.join(path)).map(|file| file.bytes)
    }
}

#[cfg(test)]
mod tests;
