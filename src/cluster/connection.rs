//! How the API server is reached, and as whom: a kubeconfig, or what every pod has.
//!
//! The crate `kube` makes the calls; what it is told is decided here, so that every file is read as those of the configuration are (a
//! change is noticed and loaded), and errors name the field and quote no secret. What holds:
//!
//! - Fields have client-go's meaning (k8s.io/client-go/tools/clientcmd): relative paths are relative to the kubeconfig, data wins over
//!   a file, `tokenFile` over `token`. `exec` and `auth-provider`, which run programs, are refused.
//! - A token that comes from a file is read anew each minute by `kube`, and so is the CA of a pod: their change, though it is noticed and
//!   loads the configuration, keeps the connection and the watches that there are. Client certificates and CAs of a kubeconfig make
//!   another connection.
//! - `proxy-url` of the kubeconfig counts, else `HTTPS_PROXY` and `NO_PROXY` by Go's rules ([`crate::https::Proxies`]), in a pod too.
//!   `kube` itself would compare `NO_PROXY` with the name of the proxy. Proxies are asked with CONNECT; `socks5` is refused. One that is
//!   `https://` has to have a certificate of the API server's CA, as with client-go.
//! - HTTP/1.1 over TLS by rustls and aws-lc-rs. Without a CA the system's roots count.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use kube::client::ConfigExt;
use kube::config::{AuthInfo, Cluster};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use thiserror::Error;
use zeroize::Zeroizing;

use super::ProxyOf;
use crate::secret::{Digest, Digester};

/// Name resolution, TCP, proxy and TLS together. client-go allows 30 s for TCP and 10 s for TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Silence on a connection ends it: an answer that does not come, or a watch that the API server should have ended 10 s ago.
const READ_TIMEOUT: Duration = Duration::from_secs(40);

/// A request is small.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Where a pod finds its token. Go: `InClusterConfig` of k8s.io/client-go/rest.
pub const POD_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
const POD_CA: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

/// Where the API server of the cluster is in which this runs as a pod, from the variables that every pod has. Go: `InClusterConfig`.
pub fn in_cluster_server(environment: &[(OsString, OsString)]) -> Option<String> {
    let value = |name| {
        let value = environment.iter().find(|(variable, _)| variable == name)?.1.to_str()?;
        (!value.is_empty()).then_some(value)
    };
    let (host, port) = value("KUBERNETES_SERVICE_HOST").zip(value("KUBERNETES_SERVICE_PORT"))?;
    // Go: net.JoinHostPort.
    Some(if host.contains(':') {
        format!("https://[{host}]:{port}")
    } else {
        format!("https://{host}:{port}")
    })
}

/// Reads a file, or says why that cannot be done.
pub type Read<'r> = dyn FnMut(&Path) -> Result<Zeroizing<Vec<u8>>, String> + 'r;

/// What is wrong with the way to a cluster. Quotes names and paths only.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConnectionError {
    /// There is no kubeconfig, and this is no pod.
    #[error(
        "no cluster: set --kubeconfig, or run as a pod, which has KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT"
    )]
    NotInCluster,
    /// It is not made as a kubeconfig is.
    #[error("not a kubeconfig: a field should be {0}")]
    Malformed(String),
    /// A field of it, or a file that it names.
    #[error("{field}: {problem}")]
    Field {
        /// The path to the field, or of the file.
        field: String,
        /// What is wrong, and how to mend it.
        problem: String,
    },
    /// Its parts do not go together, or are no certificates and keys.
    #[error("cannot be used: {0}")]
    Unusable(String),
}

/// A kubeconfig as it was read.
#[derive(Clone)]
pub struct Kubeconfig {
    content: kube::config::Kubeconfig,
    /// Where it was, for relative paths.
    directory: PathBuf,
}

/// Where the API server is, and who asks.
pub struct Connection {
    config: kube::Config,
    /// What makes it another connection if it changes.
    parts: Vec<Zeroizing<Vec<u8>>>,
    warnings: Vec<String>,
}

impl Kubeconfig {
    /// Takes the content of the file at `path`, as JSON.
    ///
    /// # Errors
    /// A field is not of its type.
    pub fn new(content: serde_json::Value, path: &Path) -> Result<Self, ConnectionError> {
        let content = serde_json::from_value(content).map_err(|error| {
            // The first half of what serde says quotes what it found, perhaps a token.
            let text = error.to_string();
            let expected = text.rsplit_once("expected ").map_or("of another type", |(_, expected)| expected);
            ConnectionError::Malformed(expected.to_owned())
        })?;
        Ok(Self { content, directory: path.parent().map(Path::to_owned).unwrap_or_default() })
    }

    /// The cluster and user of its current context.
    pub(super) fn connection(
        &self,
        proxy: &ProxyOf,
        read: &mut Read<'_>,
    ) -> Result<Connection, ConnectionError> {
        let (cluster, user) = self.current()?;
        // As a value, in which the fields of a map are in order.
        let content = serde_json::to_value((&cluster, &user));
        let content = content.map_err(|error| ConnectionError::Unusable(error.to_string()))?;
        let token = content[1]["token"].as_str().unwrap_or_default();
        if !token.is_empty() && !is_token(token.as_bytes()) {
            return Err(field("token", NO_TOKEN));
        }
        let parts = vec![Zeroizing::new(content.to_string().into_bytes())];
        let mut files = Files { directory: &self.directory, read, parts };
        let server = cluster.server.as_deref().unwrap_or_default();
        let mut config = config(server).map_err(|problem| field("server", &problem))?;
        let mut warnings = Vec::new();

        let data = cluster.certificate_authority_data.as_deref();
        let file = cluster.certificate_authority.as_deref();
        if let Some(pem) = files.data_or_file("certificate-authority", data, file)? {
            config.root_cert = Some(certificates("certificate-authority", &pem)?);
        }
        if cluster.insecure_skip_tls_verify == Some(true) {
            if config.root_cert.is_some() {
                // Go: validateClusterInfo of clientcmd.
                return Err(field(
                    "insecure-skip-tls-verify",
                    "cannot be set beside a certificate-authority; remove one of the two",
                ));
            }
            config.accept_invalid_certs = true;
            warnings.push(
                "insecure-skip-tls-verify: whoever gets between us and the API server decides who is let in"
                    .to_owned(),
            );
        }
        if config.cluster_url.scheme_str() == Some("http") {
            warnings.push(
                "server: without TLS, whoever gets between us and the API server decides who is let in"
                    .to_owned(),
            );
        }
        config.tls_server_name = cluster.tls_server_name.clone().filter(|name| !name.is_empty());
        config.auth_info = files.credentials(&user)?;
        if token.is_empty() {
            config.auth_info.token = None;
        }
        let written = cluster.proxy_url.as_deref().filter(|url| !url.is_empty());
        config.proxy_url = match written {
            Some(url) => Some(url.parse().map_err(|_| field("proxy-url", "not a URL"))?),
            None => proxy_of(&config.cluster_url, proxy),
        };
        Connection { config, parts: files.parts, warnings }.checked()
    }

    /// Go: `ConfirmUsable` of clientcmd, as far as the current context goes.
    fn current(&self) -> Result<(Cluster, AuthInfo), ConnectionError> {
        let content = &self.content;
        let name = content.current_context.as_deref().unwrap_or_default();
        let missing =
            |what: &str, name: &str| field("current-context", &format!("there is no {what} {name:?}"));
        let context = content.contexts.iter().find(|context| context.name == name);
        let context =
            context.and_then(|context| context.context.clone()).ok_or_else(|| missing("context", name))?;
        let cluster = content.clusters.iter().find(|cluster| cluster.name == context.cluster);
        let cluster = cluster
            .and_then(|cluster| cluster.cluster.clone())
            .ok_or_else(|| missing("cluster", &context.cluster))?;
        let name = context.user.unwrap_or_default();
        let user = content.auth_infos.iter().find(|user| user.name == name);
        let user = match user {
            Some(user) => user.auth_info.clone().unwrap_or_default(),
            None if name.is_empty() => AuthInfo::default(),
            None => return Err(missing("user", &name)),
        };
        Ok((cluster, user))
    }
}

impl Connection {
    /// The cluster in which this runs as a pod, by [`in_cluster_server`]. Go: `InClusterConfig`.
    pub(super) fn in_cluster(
        server: &str,
        proxy: &ProxyOf,
        read: &mut Read<'_>,
    ) -> Result<Self, ConnectionError> {
        let mut files = Files { directory: Path::new(""), read, parts: Vec::new() };
        let mut config = config(server).map_err(|problem| field("KUBERNETES_SERVICE_HOST", &problem))?;
        let ca = files.file("certificate-authority", POD_CA)?;
        config.root_cert = Some(certificates(POD_CA, &ca)?);
        config.root_cert_file = Some(POD_CA.into());
        config.proxy_url = proxy_of(&config.cluster_url, proxy);
        config.auth_info.token_file = Some(files.token(POD_TOKEN)?);
        // The CA is read anew by the connection itself.
        Self { config, parts: vec![Zeroizing::new(server.as_bytes().to_vec())], warnings: Vec::new() }
            .checked()
    }

    /// Finds out, without a connection, whether one could be made.
    fn checked(self) -> Result<Self, ConnectionError> {
        let scheme = self.config.proxy_url.as_ref().map(|url| url.scheme_str().unwrap_or_default());
        if scheme.is_some_and(|scheme| scheme != "http" && scheme != "https") {
            return Err(field("proxy-url", "the proxy must be http:// or https://"));
        }
        let tls = self.config.rustls_https_connector().map(drop);
        tls.and_then(|()| self.config.extra_headers_layer().map(drop)).map_err(|error| {
            let text = match error {
                kube::Error::RustlsTls(error) => error.to_string(),
                kube::Error::InferKubeconfig(_) => {
                    "a client certificate needs its key, and a key its certificate".to_owned()
                }
                _ => "a value is not what it should be".to_owned(),
            };
            ConnectionError::Unusable(text)
        })?;
        Ok(self)
    }

    /// What tells it from others.
    pub(super) fn digest(&self, digester: &Digester) -> Digest {
        let proxy = self.config.proxy_url.as_ref().map(ToString::to_string).unwrap_or_default();
        let parts: Vec<&[u8]> =
            self.parts.iter().map(|part| part.as_slice()).chain([proxy.as_bytes()]).collect();
        digester.digest_of(&parts)
    }

    #[cfg(test)]
    pub(super) fn config(&self) -> &kube::Config {
        &self.config
    }

    pub(super) fn url(&self) -> String {
        self.config.cluster_url.to_string()
    }

    pub(super) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// A client, which connects when it is first asked. Inside of a runtime.
    pub(super) fn client(&self) -> Result<kube::Client, kube::Error> {
        kube::Client::try_from(self.config.clone())
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Connection({})", self.url())
    }
}

impl fmt::Debug for Kubeconfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Kubeconfig(..)")
    }
}

fn field(field: &str, problem: &str) -> ConnectionError {
    ConnectionError::Field { field: field.to_owned(), problem: problem.to_owned() }
}

/// `kube`'s settings for an API server, with our bounds on every wait. It does not try again by itself: a watch does, and tells.
fn config(server: &str) -> Result<kube::Config, String> {
    let url: Option<Uri> = server.parse().ok();
    let is_good = |url: &Uri| {
        matches!(url.scheme_str(), Some("https" | "http")) && url.host().is_some_and(|host| !host.is_empty())
    };
    let url = url
        .filter(is_good)
        .ok_or_else(|| "must be the URL of the API server, such as https://10.0.0.1:6443".to_owned())?;
    let mut config = kube::Config::new(url);
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    config.read_timeout = Some(READ_TIMEOUT);
    config.write_timeout = Some(WRITE_TIMEOUT);
    // A connection that was idle has the whole time again.
    config.reset_reader_on_write = true;
    config.default_retry = false;
    Ok(config)
}

fn proxy_of(server: &Uri, proxy: &ProxyOf) -> Option<Uri> {
    if server.scheme_str() != Some("https") {
        return None;
    }
    let host = server.host()?.trim_start_matches('[').trim_end_matches(']');
    proxy(host, server.port_u16().unwrap_or(443))
}

fn certificates(name: &str, pem: &[u8]) -> Result<Vec<Vec<u8>>, ConnectionError> {
    let read = CertificateDer::pem_slice_iter(pem).map(|certificate| certificate.map(|der| der.to_vec()));
    let certificates: Vec<_> = read.collect::<Result<_, _>>().map_err(|_| field(name, "not PEM"))?;
    if certificates.is_empty() { Err(field(name, "there is no certificate in it")) } else { Ok(certificates) }
}

/// Whether it can stand in a header as it is: `kube` takes nothing away, and panics or fails at what cannot.
fn is_token(token: &[u8]) -> bool {
    !token.is_empty() && token.iter().all(u8::is_ascii_graphic)
}

const NO_TOKEN: &str = "must be a token, with no white space or line end beside it";

/// The files that a kubeconfig names, and what they held.
struct Files<'a, 'r> {
    directory: &'a Path,
    read: &'a mut Read<'r>,
    parts: Vec<Zeroizing<Vec<u8>>>,
}

impl Files<'_, '_> {
    fn file(&mut self, name: &str, path: &str) -> Result<Zeroizing<Vec<u8>>, ConnectionError> {
        let path = self.directory.join(path);
        (self.read)(&path).map_err(|problem| field(name, &format!("{}: {problem}", path.display())))
    }

    /// What a field and its twin with a path say; of the two, the data.
    fn data_or_file(
        &mut self,
        name: &str,
        data: Option<&str>,
        path: Option<&str>,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, ConnectionError> {
        if let Some(data) = data.filter(|data| !data.is_empty()) {
            // Go: encoding/base64 passes over line ends.
            let data = Zeroizing::new(data.replace(['\r', '\n'], ""));
            let decoded = STANDARD.decode(data.as_bytes());
            return decoded
                .map(|data| Some(Zeroizing::new(data)))
                .map_err(|_| field(&format!("{name}-data"), "not base64"));
        }
        let Some(path) = path.filter(|path| !path.is_empty()) else { return Ok(None) };
        let bytes = self.file(name, path)?;
        self.parts.push(bytes.clone());
        Ok(Some(bytes))
    }

    /// The credentials of a user, in a form in which `kube` reads no file but the token's.
    fn credentials(&mut self, user: &AuthInfo) -> Result<AuthInfo, ConnectionError> {
        if user.exec.is_some() {
            return Err(field(
                "exec",
                "programs that give out credentials are not run; use tokenFile or a client certificate",
            ));
        }
        if user.auth_provider.is_some() {
            return Err(field("auth-provider", "not supported; use tokenFile or a client certificate"));
        }
        let mut credentials = AuthInfo { token_file: None, ..user.clone() };
        if let Some(path) = user.token_file.as_deref().filter(|path| !path.is_empty()) {
            credentials.token = None;
            credentials.token_file = Some(self.token(path)?);
        }
        let data = user.client_certificate_data.as_deref();
        let certificate =
            self.data_or_file("client-certificate", data, user.client_certificate.as_deref())?;
        credentials.client_certificate_data = certificate.map(|pem| STANDARD.encode(&*pem));
        if user.client_key_data.is_none()
            && let Some(key) = self.data_or_file("client-key", None, user.client_key.as_deref())?
        {
            credentials.client_key_data = Some(STANDARD.encode(&*key).into());
        }
        (credentials.client_certificate, credentials.client_key) = (None, None);
        Ok(credentials)
    }

    /// The path of a token that can be read. Its content does not make another connection.
    fn token(&mut self, path: &str) -> Result<String, ConnectionError> {
        let token = self.file("tokenFile", path)?;
        if !is_token(&token) {
            return Err(field("tokenFile", NO_TOKEN));
        }
        Ok(self.directory.join(path).display().to_string())
    }
}
