//! The table of options. It makes the command line, names the environment variables and the keys of the file, and is the
//! reference: `countersign serve --help`.

use std::ffi::OsString;

use clap::builder::StyledStr;
use clap::{Arg, ArgAction, Command};

/// An option: a flag, a variable and a key, all of one name.
#[derive(Debug, PartialEq, Eq)]
pub struct OptionSpec {
    /// In the flag's spelling, without the dashes in front.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What it is if nobody says; empty for "not set".
    pub default: &'static str,
    /// One sentence.
    pub help: &'static str,
}

/// What an option takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`, as Go's `strconv.ParseBool` reads them; the flag alone means true.
    Bool,
    /// One string. The word stands in the help.
    One(&'static str),
    /// Several, separated by commas; the flag may be repeated.
    List,
    /// Several, one for each time that the flag is there; a comma is nothing special.
    Repeated(&'static str),
}

/// The options that are read at the start alone: another value takes a restart. Those of TLS do where it is turned on or off.
pub const AT_START: &[&str] = &[
    "listen",
    "insecure-listen-plaintext",
    "admin-listen",
    "enable-debugging-handlers",
    "profiling",
    "worker-threads",
    "max-check-request-bytes",
    "max-header-list-bytes",
    "max-concurrent-streams",
    "keepalive-interval",
    "keepalive-timeout",
    "max-connection-age",
    "reload-interval",
    "shutdown-delay-duration",
    "shutdown-timeout",
    "audit-log-path",
    "audit-level",
    "tracing-config-file",
    "log-format",
    "log-level",
];

/// Every option but `--config`, in the order of the help: kube-apiserver's first, with its names and meanings.
pub const OPTIONS: &[OptionSpec] = &[
    one("token-auth-file", "FILE", "", "CSV file of static tokens: token,user,uid,\"group1,group2\""),
    one(
        "client-ca-file",
        "FILE",
        "",
        "PEM bundle of CAs whose client certificates name users: common name, and organizations as groups",
    ),
    repeated(
        "client-crl-file",
        "FILE",
        "Revocation lists, PEM or DER, of the CAs of client certificates and of front proxies: who is in one is refused; may be repeated",
    ),
    flag(
        "client-crl-require-current",
        "false",
        "Refuse whatever a CA has signed whose revocation list is past its next update, rather than warn",
    ),
    one(
        "requestheader-client-ca-file",
        "FILE",
        "",
        "PEM bundle of CAs whose clients are front proxies, believed when they name users in headers",
    ),
    list("requestheader-allowed-names", "Common names that a front proxy's certificate may have; empty: any"),
    list("requestheader-username-headers", "Headers to look for the user's name in; X-Remote-User is common"),
    list("requestheader-uid-headers", "Headers to look for the uid in; X-Remote-Uid is suggested"),
    list("requestheader-group-headers", "Headers to look for groups in; X-Remote-Group is suggested"),
    list(
        "requestheader-extra-headers-prefix",
        "Prefixes of headers with extra facts; X-Remote-Extra- is suggested",
    ),
    flag(
        "anonymous-auth",
        "true",
        "Let requests without credentials through as system:anonymous, group system:unauthenticated",
    ),
    one(
        "authentication-config",
        "FILE",
        "",
        "AuthenticationConfiguration (apiserver.config.k8s.io): issuers of JWTs, and whom anonymous lets in",
    ),
    one(
        "profiles-file",
        "FILE",
        "",
        "ProfileConfiguration (countersign/v1alpha1): other policies for routes that name one in Envoy's context_extensions",
    ),
    one(
        "oidc-issuer-url",
        "URL",
        "",
        "The issuer whose JWTs are believed, an https URL, as it stands in their iss",
    ),
    one("oidc-client-id", "ID", "", "The audience that a JWT must be meant for"),
    one(
        "oidc-ca-file",
        "FILE",
        "",
        "PEM bundle of CAs to verify the issuer's certificate with; empty: the system's",
    ),
    one("oidc-username-claim", "CLAIM", "sub", "The claim that names the user"),
    one(
        "oidc-username-prefix",
        "PREFIX",
        "",
        "What stands before the user's name; empty: the issuer's URL and #, but for the claim email nothing; -: nothing",
    ),
    one("oidc-groups-claim", "CLAIM", "", "The claim that lists the user's groups, or names one"),
    one("oidc-groups-prefix", "PREFIX", "", "What stands before each group"),
    list("oidc-signing-algs", "Algorithms that a JWT may be signed with; empty: RS256"),
    repeated("oidc-required-claim", "CLAIM=VALUE", "A claim that a JWT must have, and its value"),
    list("api-audiences", "Audiences that tokens must be meant for; by default the service account issuers"),
    repeated(
        "service-account-key-file",
        "FILE",
        "PEM file of RSA or ECDSA keys, public or private, that sign service account tokens; may be repeated",
    ),
    repeated(
        "service-account-issuer",
        "ISSUER",
        "Issuer of service account tokens, a URL or any name; may be repeated",
    ),
    flag(
        "service-account-lookup",
        "true",
        "Refuse legacy service account tokens, which never expire, unless their secret and account are still there",
    ),
    one(
        "service-account-lookup-mode",
        "MODE",
        "api",
        "How to look whether the account, and what a token is bound to, are still there: api, in the cluster, or offline, not at all, so that a token counts until it expires",
    ),
    flag("service-account-extend-token-expiration", "true", ISSUING),
    one("service-account-jwks-uri", "URL", "", ISSUING),
    one("service-account-max-token-expiration", "DURATION", "0s", ISSUING),
    one("service-account-signing-key-file", "FILE", "", ISSUING),
    one("service-account-signing-endpoint", "PATH", "", "Refused: keys are read from files only"),
    flag(
        "enable-bootstrap-token-auth",
        "false",
        "Believe bootstrap tokens, as the Secrets of type bootstrap.kubernetes.io/token in the namespace kube-system say",
    ),
    one(
        "kubeconfig",
        "FILE",
        "",
        "The cluster whose objects are looked at, and the credentials for that; empty: the cluster in which this runs as a pod",
    ),
    one(
        "authentication-token-webhook-config-file",
        "FILE",
        "",
        "Kubeconfig file of a webhook that is asked about bearer tokens which nobody else knows (TokenReview)",
    ),
    one(
        "authentication-token-webhook-version",
        "VERSION",
        "v1beta1",
        "The version of authentication.k8s.io to send to the webhook and to expect from it: v1beta1 or v1",
    ),
    one(
        "authentication-token-webhook-cache-ttl",
        "DURATION",
        "2m",
        "How long the webhook's answers are remembered; 0s: not at all",
    ),
    one(
        "authentication-token-review",
        "WHOM",
        "",
        "in-cluster: ask the API server of the cluster that we run in, with our own service account, in place of a webhook",
    ),
    one(
        "basic-auth-file",
        "FILE",
        "",
        "CSV file of passwords: password,user,uid,\"group1,group2\"; a password may be a bcrypt or argon2 hash",
    ),
    one(
        "xfcc-trusted-hops",
        "N",
        "0",
        "Proxies, Envoy included, that have written an element of x-forwarded-client-cert; 0: not looked at; let Envoy's decoder_header_mutation_rules allow its removal",
    ),
    one("listen", "ADDRESS", "127.0.0.1:9001", "Where Envoy reaches us: host:port or unix:/path"),
    flag(
        "insecure-listen-plaintext",
        "false",
        "Allow plaintext on an address that is neither loopback nor a unix socket",
    ),
    one(
        "tls-cert-file",
        "FILE",
        "",
        "PEM certificate of the listener, followed by its intermediates; Envoy then speaks TLS to us",
    ),
    one("tls-private-key-file", "FILE", "", "PEM private key that goes with it"),
    one(
        "tls-client-ca-file",
        "FILE",
        "",
        "PEM bundle of CAs whose clients may ask us (mutual TLS); others fail the handshake",
    ),
    list(
        "tls-allowed-client-names",
        "DNS names or URIs (SPIFFE ids), one of which such a client must have among its subject alternative names; empty: any",
    ),
    one("tls-min-version", "VERSION", "VersionTLS12", "VersionTLS12 or VersionTLS13, of both listeners"),
    one(
        "admin-listen",
        "ADDRESS",
        "127.0.0.1:9002",
        "Where /livez, /readyz and /metrics are, in plaintext unless --admin-tls-cert-file is set: host:port; empty: nowhere",
    ),
    one(
        "admin-tls-cert-file",
        "FILE",
        "",
        "PEM certificate of the admin listener, followed by its intermediates; it then speaks TLS",
    ),
    one("admin-tls-private-key-file", "FILE", "", "PEM private key that goes with it"),
    one(
        "admin-tls-client-ca-file",
        "FILE",
        "",
        "PEM bundle of CAs whose clients may see /configz and ask Explain from anywhere; who shows no certificate, as the kubelet, has health and metrics",
    ),
    list(
        "admin-tls-allowed-client-names",
        "DNS names or URIs (SPIFFE ids), one of which such a certificate must have among its subject alternative names; empty: any",
    ),
    flag(
        "enable-debugging-handlers",
        "false",
        "Have /configz, /debug/ and Explain there for everybody, even where --admin-listen is no loopback address",
    ),
    flag(
        "profiling",
        "false",
        "Have /debug/pprof/profile there, which says where the CPU time goes; kube-apiserver has it by default",
    ),
    one(
        "identity-headers",
        "WHICH",
        "x-remote",
        "x-remote: the headers below, for an upstream that believes them; impersonate: Impersonate-*, with a token of ours in place of the client's, for a kube-apiserver whose flags cannot be changed",
    ),
    one(
        "impersonate-token-file",
        "FILE",
        "",
        "The bearer token of ours that goes upstream with Impersonate-*; empty: that of the pod's service account",
    ),
    flag(
        "allow-impersonation",
        "false",
        "Let clients send Impersonate-* themselves (kubectl --as) where the RBAC of the cluster, which has to be the upstream, lets them, rather than refuse them",
    ),
    one("identity-user-header", "NAME", "X-Remote-User", "Header for the user's name"),
    one("identity-uid-header", "NAME", "X-Remote-Uid", "Header for the user's uid"),
    one("identity-group-header", "NAME", "X-Remote-Group", "Header for the groups"),
    one("identity-extra-header-prefix", "PREFIX", "X-Remote-Extra-", "Prefix of the headers for extra facts"),
    one(
        "groups-encoding",
        "ENCODING",
        "joined",
        "How several groups (and extra values) travel: joined by commas in one line, indexed (X-Remote-Group, X-Remote-Group-1, ...), or as dynamic metadata, from which a Lua filter writes one line each",
    ),
    flag("dynamic-metadata", "true", "Hand the identity to Envoy as dynamic metadata too"),
    one(
        "undecided-status",
        "STATUS",
        "401",
        "Answer when something we depend on kept us from deciding: 401 as kube-apiserver, or 503",
    ),
    one(
        "envoy-max-headers-count",
        "N",
        "100",
        "Envoy's max_headers_count: a request that would have more lines with its identity is denied",
    ),
    one("envoy-max-request-headers-kb", "KIB", "60", "Envoy's max_request_headers_kb, likewise"),
    one(
        "token-success-cache-ttl",
        "DURATION",
        "10s",
        "How long it is remembered whose a token is, as in kube-apiserver; never past its own end, nor that of the objects that it names; 0: not at all",
    ),
    one(
        "token-failure-cache-ttl",
        "DURATION",
        "0s",
        "How long it is remembered that a token is no good; 0, as in kube-apiserver: not at all",
    ),
    one(
        "worker-threads",
        "NUMBER",
        "0",
        "Threads that answer Checks, each the Checks of its own connections; 0: one for each core that the process may use",
    ),
    one("max-check-request-bytes", "BYTES", "4194304", "Largest CheckRequest"),
    one("max-header-list-bytes", "BYTES", "16384", "Largest header list of a gRPC request"),
    one("max-concurrent-streams", "N", "1024", "Calls that one connection may have in flight"),
    one("keepalive-interval", "DURATION", "30s", "How often a silent connection is pinged"),
    one("keepalive-timeout", "DURATION", "10s", "How long the answer may take"),
    one(
        "max-connection-age",
        "DURATION",
        "30m",
        "After this a connection is told to go away, so that Envoy spreads over all replicas",
    ),
    one(
        "shutdown-delay-duration",
        "DURATION",
        "3s",
        "After SIGTERM, how long to go on serving while health says NOT_SERVING",
    ),
    one("shutdown-timeout", "DURATION", "10s", "After that, how long the calls in flight may take"),
    one(
        "reload-interval",
        "DURATION",
        "2s",
        "How often the files that the configuration names are looked at; a change is loaded and served without a restart (replace files by rename, so that none is read half written)",
    ),
    one(
        "audit-log-path",
        "FILE",
        "",
        "Where decisions are told of, a line of JSON each; -: stdout; empty: nowhere",
    ),
    one("audit-level", "LEVEL", "none", "Which decisions are told of in the audit log: none, denied, or all"),
    one(
        "tracing-config-file",
        "FILE",
        "",
        "TracingConfiguration (apiserver.config.k8s.io): the OpenTelemetry collector that spans of Checks are sent to, and how many; read at start only",
    ),
    one("log-format", "FORMAT", "text", "text or json"),
    one("log-level", "LEVEL", "info", "error, warn, info, debug, trace, or tracing's filter directives"),
];

/// The help of flags that only matter to a server that issues tokens.
const ISSUING: &str = "Ignored: no tokens are issued here";

const fn one(
    name: &'static str,
    value: &'static str,
    default: &'static str,
    help: &'static str,
) -> OptionSpec {
    OptionSpec { name, kind: Kind::One(value), default, help }
}

const fn list(name: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec { name, kind: Kind::List, default: "", help }
}

const fn repeated(name: &'static str, value: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec { name, kind: Kind::Repeated(value), default: "", help }
}

const fn flag(name: &'static str, default: &'static str, help: &'static str) -> OptionSpec {
    OptionSpec { name, kind: Kind::Bool, default, help }
}

/// The option of that name.
///
/// # Panics
/// If there is none: the callers name options of this table.
pub fn option(name: &str) -> &'static OptionSpec {
    OPTIONS.iter().find(|o| o.name == name).unwrap_or_else(|| panic!("no option is named {name}"))
}

/// Adds `--config` and every option to a command.
pub fn arguments(command: Command) -> Command {
    let config = Arg::new(CONFIG)
        .long(CONFIG)
        .value_name("FILE")
        .help("YAML file with the options below as keys, without the dashes [env: COUNTERSIGN_CONFIG]");
    OPTIONS.iter().fold(command.arg(config), |command, option| command.arg(argument(option)))
}

/// The name of the option that names the configuration file.
pub const CONFIG: &str = "config";

fn argument(option: &'static OptionSpec) -> Arg {
    let default =
        if option.default.is_empty() { String::new() } else { format!(" [default: {}]", option.default) };
    let arg = Arg::new(option.name)
        .long(option.name)
        .help(StyledStr::from(format!("{}{default}", option.help)))
        // The last one counts, as in kube-apiserver.
        .action(ArgAction::Append)
        .allow_hyphen_values(true);
    match option.kind {
        Kind::Bool => {
            arg.value_name("BOOL").num_args(0..=1).require_equals(true).default_missing_value("true")
        }
        Kind::One(value) | Kind::Repeated(value) => arg.value_name(value),
        Kind::List => arg.value_name("LIST"),
    }
}

/// The command line of the program, with the subcommands that take a whole configuration.
pub fn command() -> Command {
    Command::new("countersign")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Kubernetes' request authentication for everything behind Envoy")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .subcommand(arguments(Command::new("serve").about("Answer Envoy's external authorization checks")))
        .subcommand(arguments(
            Command::new("check-config").about("Say everything that is wrong with a configuration, and exit"),
        ))
}

/// kube-apiserver's flags may be written with underscores (`WordSepNormalizeFunc`): `--token_auth_file` is
/// `--token-auth-file`.
pub fn normalize(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let normalized = |argument: OsString| {
        let Some(text) = argument.to_str().filter(|text| text.starts_with("--")) else { return argument };
        match text.split_once('=') {
            Some((name, value)) => format!("{}={value}", name.replace('_', "-")).into(),
            None => text.replace('_', "-").into(),
        }
    };
    arguments.into_iter().map(normalized).collect()
}
