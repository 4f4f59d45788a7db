//! Every page is true, as far as a test can tell: commands of countersign run, its configurations are good, links lead somewhere, and what
//! is named exists.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use countersign::config::options::OPTIONS;
use countersign::decision::Reason;
use strum::VariantArray;
use tempfile::TempDir;

use crate::message::get;
use crate::readme::{blocks, folder_of_files};
use crate::support::program::{Server, countersign};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files below a folder with this extension, sorted.
pub(crate) fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// The pages below deploy/: path and text.
fn pages() -> Vec<(PathBuf, String)> {
    let pages = files(&root().join("deploy"), "md");
    pages.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join("deploy/docs").join(name)).unwrap()
}

/// What stands between backquotes, outside of blocks.
fn quoted(text: &str) -> Vec<&str> {
    let prose = text.split("```").step_by(2);
    prose.flat_map(|prose| prose.split('`').skip(1).step_by(2)).collect()
}

/// The commands of a block, those on several lines put together.
fn commands(block: &str) -> Vec<String> {
    let joined = block.replace("\\\n", " ");
    let lines = joined.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

/// Runs `check-config`.
fn check(folder: &TempDir, flags: &[&str]) {
    let output = countersign("check-config", folder.path(), flags).output().unwrap();
    assert!(output.status.success(), "{flags:?}: {output:?}");
}

/// Commands that are not countersign's, by their beginnings, and the test that runs them.
const OTHERS: [(&str, &str); 17] = [
    ("cargo bench --bench load -- --json ", "tests/run"),
    ("cargo rustc --release --locked --bin countersign ", "tests/kube/profiling.rs"),
    ("cp target/release/countersign countersign.symbols", "tests/kube/profiling.rs"),
    ("curl --fail --output cpu.pb.gz ", "tests/kube/profiling.rs"),
    ("docker build ", "tests/image/run"),
    ("export SOURCE_DATE_EPOCH=", "tests/image/run"),
    ("go install github.com/google/pprof@", "tests/kube/build"),
    ("helm install countersign ", "tests/kube/deploy/cluster.rs"),
    // Waiting for a Job, and its log, take a kubelet.
    ("kubectl -n countersign ", "tests/kube/deploy/cluster.rs"),
    ("kubectl apply -f deploy/kubernetes/load-test/job.yaml", "tests/kube/deploy/cluster.rs"),
    ("kubectl apply -k deploy/", "tests/kube/deploy/cluster.rs"),
    ("kubectl create namespace countersign", "tests/kube/deploy/cluster.rs"),
    ("kubectl create secret generic countersign-", "tests/kube/deploy/cluster.rs"),
    ("kubectl label namespace ", "tests/kube/deploy/cluster.rs"),
    ("podman build ", "tests/image/run"),
    ("pprof -top ", "tests/kube/profiling.rs"),
    ("strip target/release/countersign", "tests/kube/profiling.rs"),
];

/// `serve` is tried as `check-config`, which does everything but listen; of other subcommands the flags are looked for in their help.
/// kube-apiserver's flags are ours.
/// A block of YAML that begins with the name of a file is that file to the commands of its page.
#[test]
fn commands_and_configurations_of_the_pages_work() {
    let (mut tried, mut others) = (0, BTreeSet::new());
    for (path, text) in pages() {
        let folder = folder_of_files();
        for block in blocks(&text, "yaml") {
            let documents = serde_saphyr::from_multiple::<serde_json::Value>(block);
            let documents = documents.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            if let Some((name, _)) = block.strip_prefix("# ").and_then(|rest| rest.split_once(".yaml\n")) {
                fs::write(folder.path().join(format!("{name}.yaml")), block).unwrap();
            }
            if documents.iter().any(|document| document["kind"] == "AuthenticationConfiguration") {
                fs::write(folder.path().join("this.yaml"), block).unwrap();
                check(&folder, &["--authentication-config=this.yaml"]);
                tried += 1;
            }
        }
        for command in blocks(&text, "sh").into_iter().flat_map(commands) {
            let words: Vec<&str> = command.split(' ').collect();
            match words[..] {
                ["countersign", "serve" | "check-config", ref flags @ ..]
                | ["kube-apiserver", ref flags @ ..] => {
                    check(&folder, flags);
                }
                ["countersign", subcommand, ref flags @ ..] => {
                    let help = countersign(subcommand, folder.path(), &["--help"]).output().unwrap().stdout;
                    let help = String::from_utf8(help).unwrap();
                    for flag in flags.iter().filter(|flag| flag.starts_with("--")) {
                        let name = flag.split('=').next().unwrap();
                        assert!(help.contains(name), "{command}");
                    }
                }
                [script, ..] if script.starts_with("deploy/") || script.starts_with("tests/") => {
                    assert!(root().join(script).is_file(), "{command}");
                }
                _ => {
                    let elsewhere = OTHERS.iter().find(|(beginning, _)| command.starts_with(beginning));
                    let (_, test) = elsewhere.unwrap_or_else(|| panic!("{}: {command}", path.display()));
                    assert!(root().join(test).is_file(), "{test}");
                    others.insert(*test);
                }
            }
            tried += 1;
        }
    }
    assert!(tried >= 10, "{tried} were found");
    assert!(OTHERS.iter().all(|(_, test)| others.contains(test)), "each is of some page: {others:?}");
}

/// A link with the name of a test, or of anything else of Rust, for its text leads to the file that has it.
#[test]
fn every_link_of_the_pages_leads_somewhere() {
    let readme = root().join("README.md");
    let readme = (readme.clone(), fs::read_to_string(readme).unwrap());
    let mut functions = 0;
    for (path, text) in pages().into_iter().chain([readme]) {
        for (before, after) in text.match_indices("](").map(|(at, _)| text.split_at(at)) {
            let target = after[2..].split(')').next().unwrap();
            if target.contains("://") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = if file.is_empty() { path.clone() } else { path.parent().unwrap().join(file) };
            assert!(file.exists(), "{}: {target}", path.display());
            let name = before.rsplit('[').next().unwrap().trim_matches('`');
            if file.extension().is_some_and(|e| e == "rs") && !name.contains(['/', '.']) {
                let code = fs::read_to_string(&file).unwrap();
                assert!(code.contains(&format!("fn {name}(")), "{}: {name} in {target}", path.display());
                functions += 1;
            }
            if !heading.is_empty() {
                let text = fs::read_to_string(&file).unwrap();
                let headings: Vec<String> =
                    text.lines().filter(|line| line.starts_with('#')).map(anchor).collect();
                assert!(headings.iter().any(|h| h == heading), "{}: {target}", path.display());
            }
        }
    }
    assert!(functions >= 20, "{functions} were found");
}

/// As GitHub makes it of a heading.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>().replace(' ', "-")
}

/// Flags of others stand in the first column of a table, or in blocks; the capacity page also has those of its script, and other pages
/// those of `explain`.
#[test]
fn every_flag_that_the_pages_name_exists() {
    let script = fs::read_to_string(root().join("deploy/capacity/plan.py")).unwrap();
    let explain = countersign("explain", root(), &["--help"]).output().unwrap().stdout;
    let explain = String::from_utf8(explain).unwrap();
    for (path, text) in pages().into_iter().filter(|(path, _)| path.parent().unwrap().ends_with("docs")) {
        let prose: String = text.split("```").step_by(2).collect();
        let ours = prose.lines().map(|line| match line.strip_prefix("| ") {
            Some(row) => row.split_once(" | ").map_or("", |(_, rest)| rest),
            None => line,
        });
        for flag in ours.flat_map(quoted).filter_map(|quoted| quoted.strip_prefix("--")) {
            let name = flag.split(['=', ' ']).next().unwrap();
            let known = name == "config"
                || OPTIONS.iter().any(|option| {
                    name.strip_suffix('*').map_or(option.name == name, |all| option.name.starts_with(all))
                })
                || explain.contains(&format!("--{name}"))
                || path.ends_with("capacity.md") && script.contains(&format!("\"--{name}\""));
            assert!(known, "{}: --{name}", path.display());
        }
    }
}

#[test]
fn troubleshooting_has_every_reason_and_no_other() {
    let text = page("troubleshooting.md");
    let (_, reasons) = text.split_once("\n## By reason\n").unwrap();
    let rows = reasons.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let explained: Vec<&str> = rows.map(|(code, _)| code).collect();
    let mut sorted = explained.clone();
    sorted.sort_unstable();
    let mut codes: Vec<&str> = Reason::VARIANTS.iter().map(|reason| reason.code()).collect();
    codes.sort_unstable();
    assert_eq!(sorted, codes, "each once");
}

#[tokio::test]
async fn the_log_has_the_fields_that_troubleshooting_names() {
    let text = page("troubleshooting.md");
    let (_, fields) = text.split_once("with the fields ").unwrap();
    let (fields, _) = fields.split_once(". ").unwrap();
    let named: BTreeSet<String> = quoted(fields).into_iter().map(str::to_owned).collect();

    let folder = folder_of_files();
    let mut server = Server::start(folder.path(), &["--token-auth-file=tokens.csv"]);
    let headers: [(&str, &[u8]); 1] = [("authorization", b"Bearer nobody")];
    let mut request = get("/", &headers);
    let extensions = &mut request.attributes.as_mut().unwrap().context_extensions;
    extensions.insert("countersign.profile".to_owned(), "nobody".to_owned());
    server.client().await.check(request).await.unwrap();
    let line = server.wait_for("denied");
    let mut logged: BTreeSet<String> = line["fields"].as_object().unwrap().keys().cloned().collect();
    assert!(logged.remove("message"));
    assert_eq!(named, logged);
}

/// Metrics are made by their names, and so are the messages of the log.
#[test]
fn every_metric_that_the_pages_name_exists() {
    let sources: Vec<PathBuf> = files(&root().join("src"), "rs");
    let sources: String = sources.into_iter().map(|file| fs::read_to_string(file).unwrap()).collect();
    let families = ["countersign_", "authentication_", "apiserver_", "rest_client_"];
    let mut named = 0;
    for (path, text) in pages() {
        // Links lead to tests, some of which are called much like that.
        for name in quoted(&text.replace("[`", "[").replace("`](", "](")) {
            if families.iter().any(|family| name.starts_with(family) && name != *family) {
                let name = name.split('{').next().unwrap();
                let name = ["_bucket", "_count", "_sum"]
                    .iter()
                    .find_map(|end| name.strip_suffix(end))
                    .unwrap_or(name);
                let there = match name.strip_suffix('*') {
                    Some(all) => format!("\"{all}"),
                    None => format!("\"{name}\""),
                };
                assert!(sources.contains(&there), "{}: {name}", path.display());
                named += 1;
            }
        }
    }
    assert!(named >= 8, "{named} were found");
    for message in ["denied", "panicked", "a TLS handshake failed", "the token review webhook failed"] {
        assert!(page("troubleshooting.md").contains(&format!("`{message}`")), "{message}");
        assert!(sources.contains(&format!("\"{message}\"")), "{message}");
    }
}
