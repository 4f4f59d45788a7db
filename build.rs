//! Compiles `proto/` with protox (no `protoc` needed): the trimmed view into Rust types, Envoy's own files
//! into the descriptor set that reflection serves.

use std::path::{Path, PathBuf};
use std::{env, error::Error, fs};

use prost_build::Config;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    #[expect(clippy::disallowed_methods, reason = "cargo tells build scripts by environment")]
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let view = protox::compile(["external_auth.proto"], ["proto/view"])?;
    Config::new().bytes(["."]).skip_debug(["."]).compile_fds(view)?;

    reflection(&out.join("envoy_descriptors.bin"))
}

/// `Check` as Envoy defines it, not the trimmed view, with everything it imports.
fn reflection(to: &Path) -> Result<(), Box<dyn Error>> {
    let mut compiler = protox::Compiler::new(["proto/api"])?;
    compiler.include_imports(true).open_file("envoy/service/auth/v3/external_auth.proto")?;
    Ok(fs::write(to, compiler.encode_file_descriptor_set())?)
}
