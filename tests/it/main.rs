//! The program as a whole, over its real gRPC listener, with nothing else beside it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "tests panic on purpose, print what they counted and read what they are about"
)]

mod admin;
mod admin_tls;
mod audit;
mod capacity;
mod certificates;
mod check;
mod cluster;
mod conformance;
mod explain;
mod gateways;
mod image;
mod impersonation;
mod jwt;
mod layering;
mod lifecycle;
mod message;
mod pages;
#[path = "../support/port.rs"]
mod port;
mod profiles;
mod profiling;
mod readme;
mod reload;
mod service_accounts;
#[path = "../support/mod.rs"]
mod support;
mod tls;
mod traces;
mod webhook;
