//! `countersign explain`: why is this request let through or turned away? Asks a server that runs, or decides here as a configuration says.

mod curl;
mod print;
mod request;

#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use clap::{Arg, ArgAction, ArgMatches, Command};
use futures_util::future::join_all;
use tokio::time::timeout;

use super::{flag, one, plain, read, report, runtime, serve};
use crate::authn::Now;
use crate::authn::token::jwt::Remote;
use crate::config::{Config, Environment, LogConfig, options};
use crate::envoy::Snapshot;
use crate::explain::v1::{ExplainResponse, Verdict};
use crate::explain::{ask, explain, json_of};
use crate::https::{ClientCertificate, Trust, tls_settings};
use crate::telemetry;

const ABOUT: &str = "Say why a request is let through or turned away";

const LONG_ABOUT: &str = "Say why a request is let through or turned away.

Asks a countersign that runs, on its admin listener (--server), or, with --offline or any option of serve, decides here as that \
configuration says, with its issuers, webhook and cluster. The request is described by flags, by a curl line, or by a saved CheckRequest.

A flag's value is seen by whoever lists processes: -H @FILE, --token-file FILE and --curl @FILE read files instead, and - is stdin. \
No token, password, certificate or key is printed.

Exit code: 0 the request is allowed, 1 it is denied, 2 it could not be asked.";

pub(super) fn command() -> Command {
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let command = Command::new("explain")
        .about(ABOUT)
        .long_about(LONG_ABOUT)
        .arg(
            text(
                "header",
                "HEADER",
                "'Name: value' of the request, or @FILE with one on each line; may be repeated",
            )
            .short('H')
            .action(ArgAction::Append),
        )
        .arg(text("token-file", "FILE", "Bearer token of the request; -: stdin"))
        .arg(text("method", "METHOD", "Method of the request [default: GET]").short('X'))
        .arg(text("path", "PATH", "Path of the request, with its query [default: /]"))
        .arg(text("host", "HOST", "Host of the request [default: localhost]"))
        .arg(text("cert", "FILE", "PEM certificate of the client, as Envoy would hand it on"))
        .arg(
            text("context-extension", "KEY=VALUE", "As the route's context_extensions; may be repeated")
                .action(ArgAction::Append),
        )
        .arg(
            text(
                "check-request",
                "FILE",
                "A CheckRequest instead: protobuf, or JSON as grpcurl prints it; -: stdin",
            )
            .conflicts_with_all(["header", "token-file", "method", "path", "host", "cert", "curl", "command"])
            .conflicts_with("context-extension"),
        )
        .arg(
            text(
                "curl",
                "LINE",
                "The request of a curl line instead, or @FILE with one; or the line itself after --",
            )
            .conflicts_with_all(["method", "path", "host"]),
        )
        .arg(
            Arg::new("command")
                .value_name("CURL")
                .last(true)
                .num_args(1..)
                .conflicts_with_all(["method", "path", "host", "curl"]),
        )
        .arg(text(
            "server",
            "ADDRESS",
            "The --admin-listen of a server that runs, https://host:port if it speaks TLS [default: 127.0.0.1:9002]",
        ))
        .arg(text("server-ca-file", "FILE", "PEM bundle of CAs for the server's certificate; empty: the system's"))
        .arg(
            text("server-cert-file", "FILE", "PEM certificate to show to the server")
                .requires("server-private-key-file"),
        )
        .arg(
            text("server-private-key-file", "FILE", "PEM private key that goes with it")
                .requires("server-cert-file"),
        )
        .arg(
            Arg::new("offline")
                .long("offline")
                .action(ArgAction::SetTrue)
                .conflicts_with("server")
                .help("Decide here, even if only the environment has a configuration"),
        )
        .arg(text("output", "FORMAT", "text or json [default: text]").value_parser(["text", "json"]));
    options::arguments(command.next_help_heading("Options of serve, to decide here as they say"))
}

pub(super) fn run(matches: &ArgMatches, environment: Environment) -> ExitCode {
    super::panic_quietly();
    match explained(matches, environment) {
        Ok(response) => show(&response, one(matches, "output") == Some("json")),
        Err(NotAsked::Because(why)) => {
            let _gone = writeln!(io::stderr(), "error: {}", plain(&why));
            COULD_NOT_ASK.into()
        }
        Err(NotAsked::Told) => COULD_NOT_ASK.into(),
    }
}

/// Why nobody was asked.
enum NotAsked {
    Because(String),
    /// It has been said.
    Told,
}

impl<E: ToString> From<E> for NotAsked {
    fn from(error: E) -> Self {
        Self::Because(error.to_string())
    }
}

fn explained(matches: &ArgMatches, environment: Environment) -> Result<ExplainResponse, NotAsked> {
    let check_request = request::check_request(matches)?;
    let given = |name: &str| matches.contains_id(name);
    let configured = given(options::CONFIG) || options::OPTIONS.iter().any(|option| given(option.name));
    if !configured && !flag(matches, "offline") {
        let server = one(matches, "server").unwrap_or(DEFAULT_SERVER);
        let is_tls = server.starts_with("https://");
        if !is_tls && SERVER_FILES.iter().any(|name| given(name)) {
            return Err("--server: write it as https://host:port, or leave out the files for TLS".into());
        }
        let tls = is_tls.then(|| tls(matches)).transpose()?;
        return Ok(runtime()?.block_on(ask(server, tls, check_request))?);
    }
    if given("server") {
        return Err(
            "--server: a server that runs has its own configuration; leave out the options of serve".into()
        );
    }
    let (loaded, remote, _clusters) = serve::load(matches, &environment);
    let config = loaded.config.map_err(|errors| {
        report(&errors);
        NotAsked::Told
    })?;
    Ok(runtime()?.block_on(offline(config, &remote, check_request)))
}

/// Whom to trust, and what to show.
fn tls(matches: &ArgMatches) -> Result<Arc<rustls::ClientConfig>, NotAsked> {
    let [authorities, chain, key] = SERVER_FILES.map(|name| one(matches, name).map(read).transpose());
    let (authorities, chain, key) = (authorities?, chain?, key?);
    let trust = authorities.as_ref().map_or(Trust::System, |bundle| Trust::Authorities(bundle));
    let certificate = chain.zip(key).map(|(chain, key)| ClientCertificate::from_pem(&chain, &key));
    let certificate = certificate.transpose()?;
    Ok(tls_settings(&trust, certificate.as_ref())?)
}

/// Decides here. What has to be fetched first is waited for, not for long: if it is not there, the explanation says so.
async fn offline(config: Config, remote: &Remote, check_request: Bytes) -> ExplainResponse {
    // What the parts have to say, such as why a webhook could not be asked.
    telemetry::start_in_step(&LogConfig { json: false, filter: "warn".to_owned() });
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let Config { mut chain, cluster, reply, profiles, .. } = config;
    if let Some(jwt) = chain.jwt() {
        join_all(jwt.keys().map(|keys| keys.attempted(MAX_WAIT))).await;
    }
    if let Some(cluster) = &cluster {
        cluster.start();
        let _synced_or_elapsed = timeout(MAX_WAIT, cluster.synced()).await;
    }
    let snapshot = Snapshot::new(chain, reply, profiles, remote.metrics());
    #[expect(clippy::disallowed_methods, reason = "as for a Check")]
    let now = Now(SystemTime::now());
    explain(&snapshot, check_request, now).await
}

fn show(response: &ExplainResponse, json: bool) -> ExitCode {
    let shown = match json {
        true => json_of(response).map(|json| format!("{json:#}\n")).map_err(|error| error.to_string()),
        false => Ok(print::text(response)),
    };
    let written = shown.and_then(|text| {
        io::stdout().lock().write_all(text.as_bytes()).map_err(|error| format!("stdout: {error}"))
    });
    if let Err(error) = written {
        let _gone = writeln!(io::stderr(), "error: {error}");
        return COULD_NOT_ASK.into();
    }
    match response.verdict() {
        Verdict::Allowed => ExitCode::SUCCESS,
        Verdict::Denied | Verdict::Unspecified => DENIED.into(),
    }
}

const DENIED: u8 = 1;

/// Clap ends like this too.
const COULD_NOT_ASK: u8 = 2;

/// For TLS with the server.
const SERVER_FILES: [&str; 3] = ["server-ca-file", "server-cert-file", "server-private-key-file"];

/// The default of `--admin-listen`.
const DEFAULT_SERVER: &str = "127.0.0.1:9002";

/// For the keys of issuers and for the cluster, each.
const MAX_WAIT: Duration = Duration::from_secs(5);
