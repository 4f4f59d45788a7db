//! The subcommands. Each writes to the streams that it is given, or to stdout and stderr, and gives back how the process is to end.

mod explain;
mod serve;
mod smoke_test;

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::panic;
use std::process::ExitCode;

use clap::{ArgMatches, Command};
use zeroize::Zeroizing;

use crate::config::{ConfigError, Environment, options};

/// The command line of the program.
pub fn command() -> Command {
    options::command().subcommand(explain::command()).subcommand(smoke_test::command())
}

/// Runs what the arguments of the process say, with its environment.
pub fn run(arguments: impl IntoIterator<Item = OsString>, environment: Environment) -> ExitCode {
    let matches = command().get_matches_from(options::normalize(arguments));
    match matches.subcommand() {
        Some(("check-config", matches)) => serve::check_config(matches, environment),
        Some(("explain", matches)) => explain::run(matches, environment),
        Some(("smoke-test", matches)) => smoke_test::run(matches),
        Some((_, matches)) => serve::serve(matches, environment),
        None => unreachable!("clap requires a command"),
    }
}

/// All that is wrong with a configuration, at once.
fn report(errors: &[ConfigError]) {
    let mut stderr = io::stderr().lock();
    for error in errors {
        let _gone = writeln!(stderr, "error: {error}");
    }
}

/// What a flag says that may also name a file (`@FILE`) or stdin (`@-`), so that a secret need not stand in the list of processes.
fn said(value: &str) -> Result<Zeroizing<String>, String> {
    match value.strip_prefix('@') {
        None => Ok(Zeroizing::new(value.to_owned())),
        Some(path) => text(path),
    }
}

/// The content of a file, or of stdin for `-`, as text.
fn text(path: &str) -> Result<Zeroizing<String>, String> {
    let mut bytes = read(path)?;
    let text = String::from_utf8(std::mem::take(&mut *bytes)).map_err(|_| format!("{path}: not UTF-8"))?;
    Ok(Zeroizing::new(text))
}

/// The token in a file, or in stdin for `-`, without white space around it.
fn token(path: &str) -> Result<Zeroizing<String>, String> {
    let text = text(path)?;
    match text.trim() {
        "" => Err(format!("{path}: there is no token in it")),
        token => Ok(Zeroizing::new(token.to_owned())),
    }
}

/// The content of a file, or of stdin for `-`.
fn read(path: &str) -> Result<Zeroizing<Vec<u8>>, String> {
    let failed = |error: io::Error| format!("{path}: cannot be read: {error}");
    let source: Box<dyn Read> = match path {
        "-" => Box::new(io::stdin()),
        path => Box::new(std::fs::File::open(path).map_err(failed)?),
    };
    let mut bytes = Zeroizing::new(Vec::new());
    source.take(MAX_FILE).read_to_end(&mut bytes).map_err(failed)?;
    match u64::try_from(bytes.len()) {
        Ok(length) if length < MAX_FILE => Ok(bytes),
        _ => Err(format!("{path}: more than {MAX_FILE} bytes")),
    }
}

/// Nothing that a command reads is larger, in bytes.
const MAX_FILE: u64 = 16 << 20;

/// What comes from elsewhere, for a terminal: nothing in it is a control character or turns the direction of writing.
fn plain(text: &str) -> String {
    let plain = |c: char| match c {
        '"' | '\'' | '\\' => vec![c],
        c => c.escape_debug().collect(),
    };
    text.chars().flat_map(plain).collect()
}

/// The message of a panic may quote what it tripped over, which may be a secret. Where it happened is enough.
fn panic_quietly() {
    panic::set_hook(Box::new(|panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        let _gone = writeln!(io::stderr(), "error: panicked at {location}; please report this");
    }));
}

/// A runtime for a command that asks once, and how it ends if there is none.
fn runtime() -> Result<tokio::runtime::Runtime, String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.map_err(|error| format!("cannot start: {error}"))
}

fn flag(matches: &ArgMatches, name: &str) -> bool {
    matches.get_flag(name)
}

fn one<'a>(matches: &'a ArgMatches, name: &str) -> Option<&'a str> {
    matches.get_one::<String>(name).map(String::as_str)
}

fn all<'a>(matches: &'a ArgMatches, name: &str) -> Vec<&'a str> {
    matches.get_many::<String>(name).into_iter().flatten().map(String::as_str).collect()
}
