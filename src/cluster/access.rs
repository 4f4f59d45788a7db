//! How an API server is reached, and as whom.
//!
//! The crate `kube` makes the calls; what it is told is decided elsewhere, by client-go's rules, and every file but the token's is read
//! there. What holds:
//!
//! - A token that comes from a file is read anew each minute by `kube`: its change keeps the connection and the watches that there are.
//!   Everything else makes another connection.
//! - `proxy-url` counts, else `HTTPS_PROXY` and `NO_PROXY` by Go's rules ([`crate::https::Proxies`]), in a pod too. `kube` itself would
//!   compare `NO_PROXY` with the name of the proxy. Proxies are asked with CONNECT; `socks5` is refused. One that is `https://` has to have
//!   a certificate of the API server's CA, as with client-go.
//! - HTTP/1.1 over TLS by rustls and aws-lc-rs. Without a CA the system's roots count.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use kube::client::ConfigExt;
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

/// A server, and what it has to show and is shown: a kubeconfig, or what every pod has, with the files read.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Its URL.
    pub server: String,
    /// The name that its certificate must be for, if not the URL's.
    pub tls_server_name: Option<String>,
    /// Whether any certificate will do.
    pub insecure_skip_tls_verify: bool,
    /// In PEM, the CAs that it must be of; without, the system's.
    pub certificate_authority: Option<Content>,
    /// The proxy on the way, if not that of the environment.
    pub proxy_url: Option<String>,
    /// What it is shown in a header.
    pub credentials: Credentials,
    /// A certificate to show with its chain, and the key, in PEM.
    pub client_certificate: Option<(Content, Content)>,
}

/// What a file holds, or stands in its place.
pub type Content = Zeroizing<Vec<u8>>;

/// The value of `Authorization`.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// None.
    #[default]
    None,
    /// A bearer token.
    Token(Zeroizing<String>),
    /// A bearer token in a file, which may change.
    TokenFile {
        /// Where.
        path: PathBuf,
        /// What it held.
        content: Content,
    },
    /// A user's name and password.
    Basic {
        /// The name.
        username: String,
        /// The password.
        password: Zeroizing<String>,
    },
}

/// What is wrong with the way to a cluster. Quotes no secret.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{field}: {problem}")]
pub struct AccessError {
    /// The field, by its name in a kubeconfig; `TLS`, where several do not go together.
    pub field: &'static str,
    /// What is wrong, and how to mend it.
    pub problem: String,
}

impl Access {
    /// `kube`'s settings, with our bounds on every wait. It does not try again by itself: a watch does, and tells. Finds out, without a
    /// connection, whether one could be made.
    pub(super) fn config(&self, proxy: &ProxyOf) -> Result<kube::Config, AccessError> {
        let url: Option<Uri> = self.server.parse().ok();
        let is_good = |url: &Uri| {
            matches!(url.scheme_str(), Some("https" | "http"))
                && url.host().is_some_and(|host| !host.is_empty())
        };
        let url = url.filter(is_good).ok_or_else(|| {
            error("server", "must be the URL of the API server, such as https://10.0.0.1:6443")
        })?;
        let mut config = kube::Config::new(url);
        config.connect_timeout = Some(CONNECT_TIMEOUT);
        config.read_timeout = Some(READ_TIMEOUT);
        config.write_timeout = Some(WRITE_TIMEOUT);
        // A connection that was idle has the whole time again.
        config.reset_reader_on_write = true;
        config.default_retry = false;
        config.root_cert = self.certificate_authority.as_ref().map(|pem| certificates(pem)).transpose()?;
        config.accept_invalid_certs = self.insecure_skip_tls_verify;
        config.tls_server_name = self.tls_server_name.clone();
        config.proxy_url = match &self.proxy_url {
            Some(url) => Some(url.parse().map_err(|_| error("proxy-url", "not a URL"))?),
            None => proxy_of(&config.cluster_url, proxy),
        };
        let scheme = config.proxy_url.as_ref().map(|url| url.scheme_str().unwrap_or_default());
        if scheme.is_some_and(|scheme| scheme != "http" && scheme != "https") {
            return Err(error("proxy-url", "the proxy must be http:// or https://"));
        }
        let auth = &mut config.auth_info;
        match &self.credentials {
            Credentials::None => {}
            Credentials::Token(token) => {
                check_token("token", token.as_bytes())?;
                auth.token = Some(token.as_str().into());
            }
            Credentials::TokenFile { path, content } => {
                check_token("tokenFile", content)?;
                auth.token_file = Some(path.display().to_string());
            }
            Credentials::Basic { username, password } => {
                auth.username = Some(username.clone());
                auth.password = Some(password.as_str().into());
            }
        }
        if let Some((chain, key)) = &self.client_certificate {
            auth.client_certificate_data = Some(STANDARD.encode(chain));
            auth.client_key_data = Some(STANDARD.encode(key).into());
        }
        config.rustls_https_connector().map_err(|failure| match failure {
            kube::Error::RustlsTls(failure) => error("TLS", &failure.to_string()),
            _ => error("TLS", "a value is not what it should be"),
        })?;
        Ok(config)
    }

    /// What tells it, as it is in `config`, from others. A new token in a file is nothing.
    pub(super) fn digest(&self, config: &kube::Config, digester: &Digester) -> Digest {
        let proxy = config.proxy_url.as_ref().map(ToString::to_string).unwrap_or_default();
        let [kind, first, second] = match &self.credentials {
            Credentials::None => [""; 3],
            Credentials::Token(token) => ["token", token, ""],
            Credentials::TokenFile { .. } => {
                ["tokenFile", config.auth_info.token_file.as_deref().unwrap_or_default(), ""]
            }
            Credentials::Basic { username, password } => ["basic", username, password],
        };
        let certificate = self.client_certificate.as_ref();
        digester.digest_of(&[
            self.server.as_bytes(),
            self.tls_server_name.as_deref().unwrap_or_default().as_bytes(),
            &[self.insecure_skip_tls_verify.into()],
            bytes(self.certificate_authority.as_ref()),
            proxy.as_bytes(),
            kind.as_bytes(),
            first.as_bytes(),
            second.as_bytes(),
            bytes(certificate.map(|(chain, _)| chain)),
            bytes(certificate.map(|(_, key)| key)),
        ])
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Access({})", self.server)
    }
}

fn bytes(content: Option<&Content>) -> &[u8] {
    content.map(|content| content.as_slice()).unwrap_or_default()
}

fn error(field: &'static str, problem: &str) -> AccessError {
    AccessError { field, problem: problem.to_owned() }
}

fn proxy_of(server: &Uri, proxy: &ProxyOf) -> Option<Uri> {
    if server.scheme_str() != Some("https") {
        return None;
    }
    let host = server.host()?.trim_start_matches('[').trim_end_matches(']');
    proxy(host, server.port_u16().unwrap_or(443))
}

fn certificates(pem: &[u8]) -> Result<Vec<Vec<u8>>, AccessError> {
    let read = CertificateDer::pem_slice_iter(pem).map(|certificate| certificate.map(|der| der.to_vec()));
    let certificates: Vec<_> =
        read.collect::<Result<_, _>>().map_err(|_| error("certificate-authority", "not PEM"))?;
    match certificates.is_empty() {
        true => Err(error("certificate-authority", "there is no certificate in it")),
        false => Ok(certificates),
    }
}

/// Whether it can stand in a header as it is: `kube` takes nothing away, and panics or fails at what cannot.
fn check_token(field: &'static str, token: &[u8]) -> Result<(), AccessError> {
    match !token.is_empty() && token.iter().all(u8::is_ascii_graphic) {
        true => Ok(()),
        false => Err(error(field, "must be a token, with no white space or line end beside it")),
    }
}
