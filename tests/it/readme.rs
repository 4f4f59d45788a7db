//! Every command in the README, and in the two pages that say more of what it says, works.

use std::fs;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use crate::support::program::{Server, countersign};

/// The fenced blocks of a language.
pub(crate) fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let start = format!("```{language}\n");
    text.split(&*start).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// The files that the commands of README.md and other pages name.
pub(crate) fn folder_of_files() -> TempDir {
    let world = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/world");
    let folder = tempfile::tempdir().unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap().pem();
    let kubeconfig = r#"{"current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://cluster.test"}}]}"#;
    let issuer = r#"{"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": [{
        "issuer": {"url": "https://issuer.test", "audiences": ["a"]},
        "claimMappings": {"username": {"claim": "sub", "prefix": "x:"}}}]}"#;
    for (name, text) in [
        ("tokens.csv", "token-1,alice,1,\"dev,ops\"\n"),
        ("passwords.csv", "password-1,bob,2\n"),
        ("tls.crt", &certificate),
        ("ca.crt", &certificate),
        ("front-proxy-ca.crt", &certificate),
        ("clients-ca.crt", &fs::read_to_string(world.join("ca/client-ca.pem")).unwrap()),
        ("tls.key", &key.serialize_pem()),
        ("upstream.token", "token-2"),
        ("authentication.yaml", issuer),
        ("kubeconfig", kubeconfig),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    fs::copy(world.join("sa/rsa1.pub"), folder.path().join("sa.pub")).unwrap();
    folder
}

/// Those that ask somebody are tried with somebody to ask, `countersign serve` as `countersign check-config`, which does everything but
/// listen; the two scripts are what `tests/run` is and runs last.
#[test]
fn every_command_of_the_readme_works() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |page: &str| fs::read_to_string(root.join(page)).unwrap();
    let readme = ["README.md", "deploy/docs/credentials.md", "deploy/docs/operate.md"].map(read).concat();
    let folder = folder_of_files();
    for file in blocks(&readme, "yaml") {
        let name = file.lines().next().unwrap().strip_prefix("# ").unwrap();
        fs::write(folder.path().join(name), file).unwrap();
    }

    fs::write(folder.path().join("token"), "token-1\n").unwrap();
    let server = Server::start(folder.path(), &["--token-auth-file=tokens.csv"]);
    let asked = format!("--server={}", server.admin_address());

    let run = fs::read_to_string(root.join("tests/run")).unwrap();
    assert!(run.contains("\ndeploy/demo/run --check\n"), "tests/run runs the demo");
    let mut tried = 0;
    for command in blocks(&readme, "sh").into_iter().flat_map(str::lines) {
        let words: Vec<&str> = command.split(' ').collect();
        match words[..] {
            ["deploy/demo/run" | "tests/run"] => assert!(root.join(command).exists(), "{command}"),
            ["countersign", "serve" | "check-config", ref flags @ ..] => {
                let output = countersign("check-config", folder.path(), flags).output().unwrap();
                assert!(output.status.success(), "{command}: {output:?}");
                tried += 1;
            }
            // tests/kube/deploy tries these, from the READMEs that are there.
            ["kubectl", "apply", "-k", folder] | ["helm", "install", _, folder, ..] => {
                let parent = root.join(folder).join("..");
                let there = [root.join(folder).join("README.md"), parent.join("README.md")];
                let says =
                    |readme: &Path| fs::read_to_string(readme).is_ok_and(|text| text.contains(command));
                assert!(there.iter().any(|readme| says(readme)), "{command}");
            }
            // Its default is a port that may be somebody else's here.
            ["countersign", "explain", ref flags @ ..] => {
                let output = countersign("explain", folder.path(), flags).arg(&asked).output().unwrap();
                assert!(output.status.success(), "{command}: {output:?}");
                tried += 1;
            }
            // There is no such host, so it says that it cannot tell.
            ["countersign", "smoke-test", _url, ref flags @ ..] => {
                let flags = [&["http://127.0.0.1:1/"], flags].concat();
                let output = countersign("smoke-test", folder.path(), &flags).output().unwrap();
                let errors = String::from_utf8_lossy(&output.stderr);
                assert!(errors.contains("cannot connect to 127.0.0.1:1"), "{command}: {output:?}");
                tried += 1;
            }
            _ => panic!("nobody tries {command:?}"),
        }
    }
    assert_eq!(tried, 8);
}
