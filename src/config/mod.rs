//! The configuration: what was written ([`options`], merged from flags, environment and file) becomes what is meant ([`Config`]), with every
//! error at once, each with its place.
//!
//! An option has one name in three spellings: the flag `--token-auth-file`, the environment variable
//! `COUNTERSIGN_TOKEN_AUTH_FILE`, the key `token-auth-file` of the file that `--config` names. A flag wins over the
//! environment, the environment over the file, the file over the default.

mod authentication;
mod authentication_configuration;
mod certificates;
mod cluster;
mod deadlines;
mod decode;
mod field_error;
mod file;
mod identity_headers;
mod impersonation;
mod json;
mod kubeconfig;
mod listen;
mod log_filter;
mod oidc_flags;
pub mod options;
mod pod;
mod profiles;
mod service_accounts;
mod sources;
mod tls;
mod tracing_configuration;
mod values;
mod webhook;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::audit::{AuditConfig, Level};
use crate::authn::token::jwt::Remote;
use crate::authn::token::{BootstrapTokens, JwtAuthenticators, Room, TokenAuthenticator, TokenFile, Ttl};
use crate::authn::{Basic, RequestHeaderNames};
use crate::chain::Members;
use crate::cluster::{Cluster, Clusters};
use crate::impersonation::Impersonation;
use crate::trace::TraceConfig;

use authentication::Authentication;
use certificates::CertificateAuthenticators;
use options::option;
use sources::Sources;
use values::Values;

pub use deadlines::Deadlines;
pub use file::Files;
pub use identity_headers::{GroupsEncoding, IdentityHeaders};
pub use listen::ListenAddress;
pub use log_filter::log_filter;
pub use profiles::{DEFAULT_PROFILE, Profile};
pub use sources::Environment;
pub use tls::Tls;

/// Everything that the program runs with; valid by construction.
#[derive(Debug)]
pub struct Config {
    /// The members of the chain.
    pub chain: Members,
    /// The cluster that members of the chain look at, if any does.
    pub cluster: Option<Arc<Cluster>>,
    /// How an identity is told to the upstream.
    pub reply: ReplyConfig,
    /// Other policies, for routes that name one.
    pub profiles: Vec<Profile>,
    /// The listener and its limits.
    pub server: ServerConfig,
    /// What the listener needs for TLS; none: plaintext.
    pub tls: Option<Tls>,
    /// The same for the admin listener.
    pub admin_tls: Option<Tls>,
    /// What is logged, and how.
    pub log: LogConfig,
    /// What is allowed but deserves a second look, to be logged at start.
    pub warnings: Vec<String>,
    /// What will deserve one, and when.
    pub deadlines: Deadlines,
    /// The options by name, with the values that they have: an object. Files are named, not quoted.
    pub options: serde_json::Value,
}

/// How an identity is told to the upstream, and a refusal to the client.
#[derive(Debug, Clone)]
pub struct ReplyConfig {
    /// The headers that carry it.
    pub headers: IdentityHeaders,
    /// The headers that a front proxy writes, which go no further.
    pub front_proxy: RequestHeaderNames,
    /// Whether `x-forwarded-client-cert` is read here; then it goes no further either.
    pub xfcc: bool,
    /// How several values of one of them travel.
    pub groups_encoding: GroupsEncoding,
    /// Whether the identity goes out as dynamic metadata too.
    pub dynamic_metadata: bool,
    /// Whether "undecided" is answered 503 instead of 401.
    pub undecided_unavailable: bool,
    /// Envoy's `max_headers_count` on the upstream request.
    pub max_headers_count: usize,
    /// Envoy's `max_request_headers_kb`, in bytes.
    pub max_headers_bytes: usize,
    /// What it takes where the headers are `Impersonate-*`.
    pub impersonation: Option<Impersonation>,
}

/// The listener and its limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerConfig {
    /// Where to listen.
    pub listen: ListenAddress,
    /// Where health and metrics are told, if anywhere.
    pub admin_listen: Option<SocketAddr>,
    /// How many threads answer Checks.
    pub worker_threads: usize,
    /// Largest CheckRequest, in bytes.
    pub max_check_request_bytes: usize,
    /// Largest header list of a gRPC request, in bytes.
    pub max_header_list_bytes: u32,
    /// Calls that one connection may have in flight.
    pub max_concurrent_streams: u32,
    /// How often an idle connection is asked whether it lives.
    pub keepalive_interval: Duration,
    /// How long the answer may take.
    pub keepalive_timeout: Duration,
    /// After this, a connection is told to go away, so that Envoy spreads over the replicas there are.
    pub max_connection_age: Duration,
    /// How often the files are looked at.
    pub reload_interval: Duration,
    /// After SIGTERM, how long to go on serving while health says NOT_SERVING.
    pub shutdown_delay: Duration,
    /// After that, how long what is in flight may take.
    pub shutdown_timeout: Duration,
    /// Whether the admin listener has pages for debugging for everybody although others than this host can ask for them.
    pub debugging: bool,
    /// Whether it says where the CPU time goes.
    pub profiling: bool,
    /// The audit log, if there is one.
    pub audit: Option<AuditConfig>,
    /// Where spans go, if anywhere.
    pub tracing: Option<TraceConfig>,
}

/// What is logged, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// JSON, or text.
    pub json: bool,
    /// A level, or tracing's filter directives.
    pub filter: String,
}

/// A configuration, or all that is wrong with it, and the files that decided about it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Result<Config, Vec<ConfigError>>,
    /// All files that it names: when one of them changes, it is worth loading again.
    pub files: Files,
}

/// One thing that is wrong with the configuration: where, what, and how to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The flag, variable, or file with line or field path.
    pub place: String,
    /// What is wrong, and how to mend it.
    pub problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

impl Config {
    /// The configuration of a command line (`matches` of [`options::arguments`]) and an environment, or all that is wrong
    /// with it. What is fetched comes from `remote`, what is watched from `clusters`; nobody is asked for anything yet.
    pub fn load(
        matches: &clap::ArgMatches,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        remote: &Remote,
        clusters: &Clusters,
    ) -> Loaded {
        let (mut errors, mut files) = (Vec::new(), Files::default());
        let sources = Sources::merge(matches, environment, &mut files, &mut errors);
        let config = Self::parse(&mut Values::new(sources, &mut files, &mut errors), remote, clusters);
        Loaded { config: if errors.is_empty() { Ok(config) } else { Err(errors) }, files }
    }

    /// What the values mean. Where one is wrong, a stand-in takes its place, so that the rest can be looked at.
    fn parse(values: &mut Values<'_>, remote: &Remote, clusters: &Clusters) -> Self {
        let (mut warnings, mut deadlines) = (Vec::new(), Deadlines::default());
        let xfcc_trusted_hops = values.number(option("xfcc-trusted-hops"), 0, MAX_HOPS);
        let certificates =
            certificates::authenticators(values, xfcc_trusted_hops, remote, &mut deadlines, &mut warnings);
        let front_proxy = certificates.header_names.clone();
        let cluster = cluster::read(values, clusters, &mut warnings);
        let chain = members(values, certificates, remote, cluster.as_ref(), &mut warnings);
        let profiles = profiles::read(values);
        let impersonates = profiles.impersonates();
        let statistics = &remote.metrics().impersonation;
        let impersonation =
            impersonation::read(values, cluster.as_ref(), statistics, impersonates, &mut warnings);
        let reply = reply(values, front_proxy, xfcc_trusted_hops > 0, impersonation.clone());
        let profiles = profiles.profiles(values, &chain, &reply, impersonation.as_ref(), &mut warnings);
        let tls = tls::listener(values, &mut deadlines, &mut warnings);
        let admin_tls = tls::admin(values, &mut deadlines);
        let server = server(values, &mut warnings);
        let log = LogConfig {
            json: values.choice(option("log-format"), &["text", "json"]) == "json",
            filter: values.log_filter(option("log-level")),
        };
        warnings.extend(deadlines.take_passed());
        let options = values.options();
        Self { chain, cluster, reply, profiles, server, tls, admin_tls, log, warnings, deadlines, options }
    }
}

fn members(
    values: &mut Values<'_>,
    certificates: CertificateAuthenticators,
    remote: &Remote,
    cluster: Option<&Arc<Cluster>>,
    warnings: &mut Vec<String>,
) -> Members {
    let CertificateAuthenticators { request_header, x509, .. } = certificates;
    let mut tokens = Vec::new();
    if let Some(file) = values.file(option("token-auth-file")) {
        let warn = |line, text: &str| warnings.push(format!("{}: line {line}: {text}", file.place));
        match TokenFile::new(&file.bytes, warn) {
            Ok(users) => tokens.push(TokenAuthenticator::TokenFile(Arc::new(users))),
            Err(errors) => values.file_errors(&file, errors),
        }
    }
    tokens.extend(service_accounts::authenticators(values, cluster, remote, warnings));
    let bootstrap_tokens = values.bool(option("enable-bootstrap-token-auth"));
    if let Some(cluster) = cluster.filter(|_| bootstrap_tokens) {
        tokens.push(TokenAuthenticator::Bootstrap(BootstrapTokens::new(cluster.watch())));
    }
    let mut basic = None;
    if let Some(file) = values.file(option("basic-auth-file")) {
        let warn = |line, text: &str| warnings.push(format!("{}: line {line}: {text}", file.place));
        match Basic::new(&file.bytes, warn) {
            Ok(users) => basic = Some(Arc::new(users)),
            Err(errors) => values.file_errors(&file, errors),
        }
    }

    let issuers = values.repeated(option("service-account-issuer"));
    let Authentication { jwt, anonymous } = authentication::read(values, &issuers, warnings);
    let nobody = jwt.is_empty()
        && !CREDENTIALS.iter().any(|name| values.is_set(option(name)))
        && !service_accounts::is_configured(values)
        && !bootstrap_tokens;
    if nobody && anonymous.is_none() {
        values.error(
            "configuration",
            "no authenticator is configured and anonymous is off, so every request would be refused; set for example \
             --token-auth-file",
        );
    } else if nobody
        && !values.is_set(option("anonymous-auth"))
        && !values.is_set(option("authentication-config"))
    {
        values.error(
            "configuration",
            "no authenticator is configured, so every request would be let through as system:anonymous; set for example \
             --token-auth-file, or --anonymous-auth=true if this is what you want",
        );
    } else if anonymous.is_some()
        && !values.is_set(option("anonymous-auth"))
        && !values.is_set(option("authentication-config"))
    {
        warnings.push(
            "requests without credentials are let through as system:anonymous, which is kube-apiserver's default; \
             --anonymous-auth=false refuses them"
                .to_owned(),
        );
    }
    if !jwt.is_empty() {
        // "Keep the OpenID Connect after Service Accounts" and before the webhook.
        match JwtAuthenticators::new(jwt, remote) {
            Ok(authenticators) => tokens.push(TokenAuthenticator::Jwt(Arc::new(authenticators))),
            Err(error) => values.error("jwt", &error.to_string()),
        }
    }
    let webhook = webhook::authenticator(values, remote, warnings);
    let statistics = || Arc::clone(&remote.metrics().token_cache);
    tokens.extend(webhook.map(|webhook| TokenAuthenticator::webhook(webhook, statistics())));
    let ttl = Ttl {
        good: values.duration(option("token-success-cache-ttl")),
        bad: values.duration(option("token-failure-cache-ttl")),
        refusals: true,
    };
    let (request_header, x509) = (request_header.map(Arc::new), x509.map(Arc::new));
    let token_cache = Room::new(ttl, statistics());
    Members { request_header, basic, x509, tokens, token_cache, anonymous }
}

fn reply(
    values: &mut Values<'_>,
    front_proxy: RequestHeaderNames,
    xfcc: bool,
    impersonation: Option<Impersonation>,
) -> ReplyConfig {
    let impersonate = impersonation::is_on(values);
    let impersonation = impersonation.filter(|_| impersonate);
    let headers = IdentityHeaders {
        user: values.header_name(option("identity-user-header")),
        uid: values.header_name(option("identity-uid-header")),
        group: values.header_name(option("identity-group-header")),
        extra_prefix: values.header_name(option("identity-extra-header-prefix")),
    };
    let headers = if impersonate { IdentityHeaders::impersonation() } else { headers };
    let groups_encoding = match values.choice(option("groups-encoding"), &["joined", "indexed", "metadata"]) {
        _ if impersonate => GroupsEncoding::Metadata,
        "indexed" => GroupsEncoding::Indexed,
        "metadata" => GroupsEncoding::Metadata,
        _ => GroupsEncoding::Joined,
    };
    for problem in headers.problems(groups_encoding) {
        values.error("identity headers", &problem);
    }
    let dynamic_metadata = values.bool(option("dynamic-metadata"));
    if groups_encoding == GroupsEncoding::Metadata && !dynamic_metadata {
        values.error("--groups-encoding", &format!("metadata: {NO_METADATA}"));
    }
    ReplyConfig {
        headers,
        front_proxy,
        xfcc,
        groups_encoding,
        dynamic_metadata,
        undecided_unavailable: values.choice(option("undecided-status"), &["401", "503"]) == "503",
        max_headers_count: values.number(option("envoy-max-headers-count"), 1, 10_000),
        max_headers_bytes: 1024 * values.number::<usize>(option("envoy-max-request-headers-kb"), 1, 8192),
        impersonation,
    }
}

fn server(values: &mut Values<'_>, warnings: &mut Vec<String>) -> ServerConfig {
    let listen = values.listen(option("listen"));
    let tls = values.is_set(option("tls-cert-file"));
    if !tls && !values.bool(option("insecure-listen-plaintext")) && !listen.is_local() {
        values.error(
            "--listen",
            &format!(
                "{listen}: bearer tokens and identities would cross the network in clear; set --tls-cert-file, listen on a \
                 loopback address or a unix socket, or allow it with --insecure-listen-plaintext"
            ),
        );
    }
    if tls && matches!(listen, ListenAddress::Unix(_)) {
        values.error("--tls-cert-file", "a unix socket is served in plaintext; remove one of the two");
    }
    let kib = 1024;
    ServerConfig {
        listen,
        admin_listen: values.admin_listen(option("admin-listen")),
        worker_threads: match values.number(option("worker-threads"), 0, MAX_WORKER_THREADS) {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        },
        max_check_request_bytes: values.number(option("max-check-request-bytes"), kib, 64 * kib * kib),
        max_header_list_bytes: values.number(option("max-header-list-bytes"), kib, kib * kib),
        max_concurrent_streams: values.number(option("max-concurrent-streams"), 1, 1_000_000),
        keepalive_interval: values.duration(option("keepalive-interval")),
        keepalive_timeout: values.duration(option("keepalive-timeout")),
        max_connection_age: values.duration(option("max-connection-age")),
        reload_interval: values.duration(option("reload-interval")).max(MIN_RELOAD_INTERVAL),
        shutdown_delay: values.duration(option("shutdown-delay-duration")),
        shutdown_timeout: values.duration(option("shutdown-timeout")),
        debugging: values.bool(option("enable-debugging-handlers")),
        profiling: values.bool(option("profiling")),
        audit: audit(values, warnings),
        tracing: tracing_configuration::read(values),
    }
}

fn audit(values: &mut Values<'_>, warnings: &mut Vec<String>) -> Option<AuditConfig> {
    let path = values.text(option("audit-log-path"));
    let level = match values.choice(option("audit-level"), &["none", "denied", "all"]) {
        "denied" => Level::Denied,
        "all" => Level::All,
        _ => {
            if !path.is_empty() {
                warnings.push(
                    "--audit-log-path: nothing is told of there unless --audit-level is denied or all"
                        .to_owned(),
                );
            }
            return None;
        }
    };
    let path = match &*path {
        "" => {
            values.error("--audit-level", "needs a place to tell of decisions: set --audit-log-path");
            return None;
        }
        "-" => None,
        path => Some(path.into()),
    };
    Some(AuditConfig { level, path })
}

/// What is wrong with an encoding in which groups travel as dynamic metadata.
const NO_METADATA: &str = "groups travel as dynamic metadata, which --dynamic-metadata=false turns off";

/// The options that bring an authenticator of credentials.
const CREDENTIALS: [&str; 7] = [
    "authentication-token-webhook-config-file",
    "authentication-token-review",
    "token-auth-file",
    "basic-auth-file",
    "client-ca-file",
    "requestheader-client-ca-file",
    "oidc-issuer-url",
];

/// Looking at files more often than this helps nobody.
const MIN_RELOAD_INTERVAL: Duration = Duration::from_millis(10);

/// More cores than any machine has.
const MAX_WORKER_THREADS: usize = 1024;

/// Proxies in a row. Two are common, ten are a mistake.
const MAX_HOPS: usize = 10;

/// The values of one source, by option name.
type Layer = BTreeMap<&'static str, config::Value>;

#[cfg(test)]
mod tests;
