//! Everything that knows protobuf: Envoy's messages in and out.

pub mod codec;
pub mod decode;
pub mod encode;
mod profile;
mod service;

pub use service::{CheckService, Snapshot};

/// The trimmed view of `CheckRequest` (`proto/view/`) and the server trait.
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    clippy::all,
    clippy::restriction,
    reason = "generated"
)]
#[allow(clippy::or_fun_call, clippy::use_self, clippy::as_conversions, reason = "generated")]
pub mod view {
    include!(concat!(env!("OUT_DIR"), "/envoy.service.auth.v3.rs"));

    /// The server trait and its tower service, on our own codec.
    pub mod server {
        include!(concat!(env!("OUT_DIR"), "/envoy.service.auth.v3.Authorization.rs"));
    }
}

/// Envoy's own `external_auth.proto` and everything that it imports, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/envoy_descriptors.bin"));

/// The name of the service, as health checks ask for it.
pub const SERVICE_NAME: &str = "envoy.service.auth.v3.Authorization";
