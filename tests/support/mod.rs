//! What more than one of the test binaries uses.
#![allow(dead_code, reason = "each uses a part")]

pub(crate) mod api_server;
pub(crate) mod collector;
pub(crate) mod envoy;
pub(crate) mod issuers;
pub(crate) mod lateness;
pub(crate) mod program;
pub(crate) mod subject;
pub(crate) mod tls;
pub(crate) mod tokens;
pub(crate) mod verdict;
pub(crate) mod volume;
pub(crate) mod webhook;
