//! `countersign smoke-test URL`: is the filter really on for that URL? A route without ext_authz is this field's commonest hole, and it looks
//! well until somebody asks without a credential.

mod client;
mod probe;

#[cfg(test)]
mod tests;

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::json;

use super::{flag, one, plain, read, runtime, token};
use client::{Client, Settings};
use probe::{Conclusion, Report, Verdict};

const LONG_ABOUT: &str = "Say whether the filter is really on for a URL

Asks for the URL as strangers would: without a credential, with a bearer token that nobody can know, with identity headers of its own; \
and, with --token-file, with a good token as well. It sends GET requests, which should change nothing, follows no redirect and uses no proxy.

What it cannot tell from outside it says so: whether an upstream believes identity headers is seen only if it answers with what they said.

Exit code: 0 the filter is on, 1 it is off or lets forged headers through, 2 it cannot be told.";

pub(super) fn command() -> Command {
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    Command::new("smoke-test")
        .about("Say whether the filter is really on for a URL")
        .long_about(LONG_ABOUT)
        .arg(Arg::new("url").value_name("URL").required(true).help("http or https, of a route that exists"))
        .arg(text("token-file", "FILE", "A good bearer token, to see that it is let through; -: stdin"))
        .arg(text(
            "ca-file",
            "FILE",
            "PEM bundle of CAs for the server's certificate [default: the system's]",
        ))
        .arg(
            Arg::new("insecure-skip-tls-verify")
                .long("insecure-skip-tls-verify")
                .action(ArgAction::SetTrue)
                .conflicts_with("ca-file")
                .help("Take any certificate; then whoever is in between sees the good token"),
        )
        .arg(text("host", "HOST", "Host header, if it is another than the URL's"))
        .arg(text("resolve", "IP", "Address to connect to, in place of the URL's host"))
        .arg(text("output", "FORMAT", "text or json [default: text]").value_parser(["text", "json"]))
}

pub(super) fn run(matches: &ArgMatches) -> ExitCode {
    super::panic_quietly();
    let report = match tested(matches) {
        Ok(report) => report,
        Err(why) => {
            let _gone = writeln!(io::stderr(), "error: {}", plain(&why));
            return CANNOT_TELL.into();
        }
    };
    let shown = match one(matches, "output") == Some("json") {
        true => as_json(&report),
        false => as_text(&report),
    };
    if let Err(error) = io::stdout().lock().write_all(shown.as_bytes()) {
        let _gone = writeln!(io::stderr(), "error: stdout: {error}");
        return CANNOT_TELL.into();
    }
    match report.verdict() {
        Verdict::On => ExitCode::SUCCESS,
        Verdict::Off => OFF.into(),
        Verdict::CannotTell => CANNOT_TELL.into(),
    }
}

const OFF: u8 = 1;

const CANNOT_TELL: u8 = 2;

fn tested(matches: &ArgMatches) -> Result<Report, String> {
    let token = one(matches, "token-file").map(token).transpose()?;
    let authorities = one(matches, "ca-file").map(read).transpose()?;
    let settings = Settings {
        url: one(matches, "url").unwrap_or_default(),
        authorities: authorities.as_ref().map(|bytes| bytes.as_slice()),
        insecure: flag(matches, "insecure-skip-tls-verify"),
        host: one(matches, "host"),
        resolve: one(matches, "resolve"),
        timeout: TIMEOUT,
    };
    let client = Client::new(&settings)?;
    runtime()?.block_on(probe::all(&client, token.as_deref().map(String::as_str)))
}

/// For each answer.
const TIMEOUT: Duration = Duration::from_secs(10);

fn as_text(report: &Report) -> String {
    let mut text = String::new();
    for probe in &report.probes {
        text += &format!("{:34}{}\n", probe.kind.words(), plain(&probe.answer));
    }
    text += "\n";
    for Conclusion { verdict, words } in &report.conclusions {
        let verdict = match verdict {
            Verdict::On => "ok",
            Verdict::Off => "UNPROTECTED",
            Verdict::CannotTell => "cannot tell",
        };
        text += &format!("{verdict}: {}\n", plain(words));
    }
    text
}

fn as_json(report: &Report) -> String {
    let probes = report
        .probes
        .iter()
        .map(|probe| json!({"probe": probe.kind.code(), "status": probe.status, "answer": probe.answer}));
    let conclusions = report
        .conclusions
        .iter()
        .map(|Conclusion { verdict, words }| json!({"verdict": verdict.code(), "words": words}));
    let all = json!({
        "verdict": report.verdict().code(),
        "probes": probes.collect::<Vec<_>>(),
        "conclusions": conclusions.collect::<Vec<_>>(),
    });
    format!("{all:#}\n")
}
