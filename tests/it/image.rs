//! What can be said about `deploy/image` without a container builder. Where there is one, `tests/image/run` builds and runs it.

use std::path::Path;
use std::process::Command;
use std::{env, fs};

use tempfile::TempDir;

const DOCKERFILE: &str = include_str!("../../deploy/image/Dockerfile");

/// The manifests name files of tests and benchmarks, without which cargo does nothing.
#[test]
fn the_files_that_the_image_is_built_from_are_enough_for_cargo() {
    let ignored = include_str!("../../deploy/image/Dockerfile.dockerignore");
    let [all, kept @ ..] = &ignored.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>()[..]
    else {
        panic!("an empty list")
    };
    assert_eq!(*all, "*");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let context = TempDir::new().unwrap();
    for name in kept.iter().map(|line| line.strip_prefix('!').unwrap()) {
        fs::create_dir_all(context.path().join(name).parent().unwrap()).unwrap();
        copy(&root.join(name), &context.path().join(name));
    }
    let mut metadata = Command::new(env::var("CARGO").unwrap());
    metadata.args(["metadata", "--locked", "--offline", "--format-version=1"]).current_dir(context.path());
    let output = metadata.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_image_is_locked_and_runs_as_the_user_of_the_manifests() {
    let has = |line: &str| assert!(DOCKERFILE.lines().any(|there| there.trim() == line), "{line}");
    has("USER 65532:65532");
    has(r#"ENTRYPOINT ["/countersign"]"#);
    has(
        r#"TARGET_CC=musl-gcc CARGO_INCREMENTAL=0 cargo build --release --locked --bin countersign --target "$target" && \"#,
    );
    let deployment = include_str!("../../deploy/kubernetes/base/deployment.yaml");
    assert!(deployment.contains("runAsUser: 65532\n") && deployment.contains("runAsGroup: 65532\n"));
}

fn copy(from: &Path, to: &Path) {
    if !from.is_dir() {
        fs::copy(from, to).unwrap();
        return;
    }
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        copy(&entry.path(), &to.join(entry.file_name()));
    }
}
