//! Compiles `proto/` with protox (no `protoc` needed): the trimmed view into Rust types, Envoy's own files into the descriptor
//! set that reflection serves, and our own service.

use std::path::{Path, PathBuf};
use std::{env, error::Error, fs};

use prost_build::Config;
use tonic_build::manual::{Builder, Method, Service};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    #[expect(clippy::disallowed_methods, reason = "cargo tells build scripts by environment")]
    let out = PathBuf::from(env::var("OUT_DIR")?);

    let view = protox::compile(["external_auth.proto"], ["proto/view"])?;
    Config::new().bytes(["."]).skip_debug(["."]).compile_fds(view)?;
    explain(&out)?;

    reflection(&out.join("envoy_descriptors.bin"))
}

/// Our own service. Envoy's messages in it are those of envoy-types; the CheckRequest within a request stays bytes.
fn explain(out: &Path) -> Result<(), Box<dyn Error>> {
    let mut compiler = protox::Compiler::new(["proto", "proto/api"])?;
    compiler.include_source_info(true).open_file("countersign/v1/explain.proto")?;
    fs::write(out.join("explain_descriptors.bin"), compiler.encode_file_descriptor_set())?;
    // Its imports are generated too, and not used: they must not lie where the view lies.
    let folder = out.join("explain");
    fs::create_dir_all(&folder)?;
    Config::new()
        .out_dir(folder)
        .extern_path(".envoy.service.auth.v3", "::envoy_types::pb::envoy::service::auth::v3")
        .compile_fds(compiler.include_imports(true).file_descriptor_set())?;
    let explain = Method::builder()
        .name("explain")
        .route_name("Explain")
        .input_type("crate::explain::RawExplainRequest")
        .output_type("crate::explain::v1::ExplainResponse")
        .codec_path("tonic_prost::ProstCodec")
        .build();
    let explain = Service::builder().name("Explain").package("countersign.v1").method(explain).build();
    Builder::new().build_transport(false).compile(&[explain]);
    Ok(())
}

/// `Check` as Envoy defines it, not the trimmed view, with everything it imports.
fn reflection(to: &Path) -> Result<(), Box<dyn Error>> {
    let mut compiler = protox::Compiler::new(["proto/api"])?;
    compiler.include_imports(true).open_file("envoy/service/auth/v3/external_auth.proto")?;
    Ok(fs::write(to, compiler.encode_file_descriptor_set())?)
}
