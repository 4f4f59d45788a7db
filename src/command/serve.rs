//! `serve` and `check-config`.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::ArgMatches;

use super::report;
use crate::authn::token::jwt::Remote;
use crate::cluster::Clusters;
use crate::config::{Config, ConfigError, Environment, Loaded};
use crate::https::Proxies;
use crate::reload::Reloader;
use crate::{server, telemetry};

/// A configuration, and what outlives it.
pub(super) fn load(matches: &ArgMatches, environment: &Environment) -> (Loaded, Remote, Clusters) {
    let proxies = Proxies::from_environment(environment);
    let remote = Remote::new(proxies.clone());
    let clusters =
        Clusters::new(move |host, port| proxies.url_of(host, port), Arc::clone(&remote.metrics().requests));
    (Config::load(matches, environment.clone(), &remote, &clusters), remote, clusters)
}

pub(super) fn serve(matches: &ArgMatches, environment: Environment) -> ExitCode {
    let (Loaded { config, files }, remote, clusters) = load(matches, &environment);
    let mut config = match config {
        Ok(config) => config,
        Err(errors) => {
            report(&errors);
            return ExitCode::FAILURE;
        }
    };
    let (log, lines) = match telemetry::start(&config.log, Arc::clone(&remote.metrics().log)) {
        Ok(started) => started,
        Err(error) => {
            let _gone = writeln!(io::stderr(), "error: cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let reloader = Reloader::new(matches.clone(), environment, (remote, clusters), files, &mut config);
    let code = match server::run(config, reloader, log) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "stopped");
            ExitCode::FAILURE
        }
    };
    lines.flush(MAX_FLUSH);
    code
}

/// The last lines of the log are given so long to be written.
const MAX_FLUSH: Duration = Duration::from_millis(500);

pub(super) fn check_config(matches: &ArgMatches, environment: Environment) -> ExitCode {
    let (Loaded { config, .. }, ..) = load(matches, &environment);
    // The start opens it; a reload has it open already, and does not look.
    let unopened = |config: &Config| {
        let problem = config.server.audit.as_ref()?.problem()?;
        Some(ConfigError { place: "--audit-log-path".to_owned(), problem })
    };
    let config = config.and_then(|config| match unopened(&config) {
        Some(error) => Err(vec![error]),
        None => Ok(config),
    });
    match config {
        Err(errors) => {
            report(&errors);
            ExitCode::FAILURE
        }
        Ok(config) => {
            let mut stdout = io::stdout().lock();
            for warning in &config.warnings {
                let _gone = writeln!(stdout, "warning: {warning}");
            }
            let _gone = writeln!(stdout, "the configuration is good");
            ExitCode::SUCCESS
        }
    }
}
