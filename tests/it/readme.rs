//! Every command in the README works.

use std::fs;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair};
use tempfile::TempDir;

use crate::support::program::countersign;

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

/// `countersign serve` is tried as `countersign check-config`, which does everything but listen; the two scripts are what
/// `tests/run` is and runs last.
#[test]
fn every_command_of_the_readme_works() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let folder = folder_of_files();
    let [file] = blocks(&readme, "yaml")[..] else { panic!("one YAML file") };
    fs::write(folder.path().join("countersign.yaml"), file).unwrap();

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
            _ => panic!("nobody tries {command:?}"),
        }
    }
    assert_eq!(tried, 5);
}
