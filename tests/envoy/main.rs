//! countersign behind a real Envoy that runs `deploy/envoy/envoy.yaml`, in front of an application that shows what it got.
//!
//! Envoy's binary is named by the environment variable `COUNTERSIGN_TEST_ENVOY`; `tests/run` sets it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![allow(
    clippy::disallowed_methods,
    reason = "Envoy's place is in the environment, logs and ports are in files"
)]
#![allow(clippy::print_stdout, reason = "what was counted is told")]

mod certificates;
#[path = "../support/collector.rs"]
#[allow(dead_code, reason = "it is always up here")]
mod collector;
mod denials;
mod front_proxy;
mod identity;
mod impersonation;
mod jwt;
#[path = "../support/lateness.rs"]
mod lateness;
mod listener_certificate;
mod lua;
mod never_drop;
mod outages;
mod pages;
#[path = "../support/port.rs"]
mod port;
mod profiles;
mod rotation;
mod smoke_test;
mod spoofing;
mod support;
mod tls;
mod traces;
#[path = "../support/volume.rs"]
mod volume;
mod webhook;
mod websocket;
