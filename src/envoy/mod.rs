//! Everything that knows protobuf: Envoy's messages in and out.

pub mod decode;
pub mod encode;
mod profile;
mod service;
mod traced;

pub use encode::FRAME_HEAD;
pub(crate) use service::Decided;
pub use service::{CheckService, Snapshot};

/// The trimmed view of `CheckRequest` (`proto/view/`).
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::restriction,
    reason = "generated"
)]
pub mod view {
    include!(concat!(env!("OUT_DIR"), "/envoy.service.auth.v3.rs"));
}

/// Envoy's own `external_auth.proto` and everything that it imports, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/envoy_descriptors.bin"));

/// The method that Envoy calls: its path, but for the slash before it, and the name of its span.
pub const METHOD: &str = "envoy.service.auth.v3.Authorization/Check";

/// The name of the service, as health checks ask for it.
pub const SERVICE_NAME: &str = "envoy.service.auth.v3.Authorization";
