//! What stands around a test: the processes, a client and the application.

mod authority;
pub(crate) mod certificate;
mod client;
mod countersign;
mod envoy;
mod internal;
pub(crate) mod issuer;
mod message;
mod process;
mod python;
mod stack;
mod upstream;

pub(crate) use authority::{Authority, Certified, valid};
pub(crate) use client::{Edge, Http1, Http2, Response};
pub(crate) use envoy::{Config, Envoy, validate};
pub(crate) use internal::{ENVOYS, Internal};
pub(crate) use issuer::{Issuer, SigningKey};
pub(crate) use message::{Incoming, value as header_value};
pub(crate) use process::eventually;
pub(crate) use stack::{Setup, Stack};
pub(crate) use upstream::{GREETING, Upstream};
