//! Every command in the README works.

use std::fs;
use std::path::Path;

use rcgen::{CertificateParams, KeyPair};

use crate::support::program::countersign;

/// The fenced blocks of a language.
fn blocks<'t>(text: &'t str, language: &str) -> Vec<&'t str> {
    let start = format!("```{language}\n");
    text.split(&*start).skip(1).map(|rest| rest.split("```").next().unwrap()).collect()
}

/// `countersign serve` is tried as `countersign check-config`, which does everything but listen; the two scripts are what
/// `tests/run` is and runs last.
#[test]
fn every_command_of_the_readme_works() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tokens.csv"), "token-1,alice,1,\"dev,ops\"\n").unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().self_signed(&key).unwrap().pem();
    for (name, text) in
        [("tls.crt", &certificate), ("ca.crt", &certificate), ("tls.key", &key.serialize_pem())]
    {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let key = fs::read(root.join("tests/conformance/world/sa/rsa1.pub")).unwrap();
    fs::write(folder.path().join("sa.pub"), key).unwrap();
    let kubeconfig = r#"{"current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://cluster.test"}}]}"#;
    fs::write(folder.path().join("kubeconfig"), kubeconfig).unwrap();
    for file in blocks(&readme, "yaml") {
        let name = file.lines().next().unwrap().strip_prefix("# ").unwrap();
        fs::write(folder.path().join(name), file).unwrap();
    }

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
    assert_eq!(tried, 6);
}
