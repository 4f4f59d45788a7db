//! Arguments, configuration, logs, server: wired here, and the only place that exits.

use std::io::{self, Write};
use std::process::ExitCode;

use countersign::authn::token::jwt::Remote;
use countersign::cluster::Clusters;
use countersign::config::{Config, ConfigError, Environment, Loaded, options};
use countersign::https::Proxies;
use countersign::reload::Reloader;
use countersign::{server, telemetry};

/// For speed: a Check allocates and frees a handful of small buffers.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let matches = options::command().get_matches_from(options::normalize(std::env::args_os()));
    let (command, arguments) =
        matches.subcommand().unwrap_or_else(|| unreachable!("clap requires a command"));
    #[expect(clippy::disallowed_methods, reason = "main hands the environment down")]
    let environment: Environment = std::env::vars_os().collect();
    let proxies = Proxies::from_environment(&environment);
    let remote = Remote::new(proxies.clone());
    let clusters = Clusters::new(move |host, port| proxies.url_of(host, port));
    let Loaded { config, files } = Config::load(arguments, environment.clone(), &remote, &clusters);
    let mut config = match config {
        Ok(config) => config,
        Err(errors) => return refuse(&errors),
    };
    if command == "check-config" {
        return report(&config);
    }
    let log = telemetry::start(&config.log);
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let reloader = Reloader::new(arguments.clone(), environment, (remote, clusters), files, &mut config);
    match server::run(config, reloader, log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "stopped");
            ExitCode::FAILURE
        }
    }
}

/// All errors at once.
fn refuse(errors: &[ConfigError]) -> ExitCode {
    let mut stderr = io::stderr().lock();
    for error in errors {
        let _gone = writeln!(stderr, "error: {error}");
    }
    ExitCode::FAILURE
}

fn report(config: &Config) -> ExitCode {
    let mut stdout = io::stdout().lock();
    for warning in &config.warnings {
        let _gone = writeln!(stdout, "warning: {warning}");
    }
    let _gone = writeln!(stdout, "the configuration is good");
    ExitCode::SUCCESS
}
