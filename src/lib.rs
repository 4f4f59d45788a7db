//! countersign: Kubernetes' chain of request authenticators for everything behind Envoy.
//!
//! A gRPC server for Envoy's external authorization `Check` (`envoy.service.auth.v3.Authorization`). It turns what Envoy says
//! about a request into a [`request::Request`], asks the same authenticators in the same order as kube-apiserver who sent it,
//! and answers OK with identity headers, or 401.
//!
//! ```text
//!   Envoy ── CheckRequest ──▶ envoy::decode ──▶ request ──▶ chain(authn::*) ──▶ decision ──▶ envoy::encode ── CheckResponse ──▶ Envoy
//! ```
//!
//! The arrows never point back; `tests/it/layering.rs` enforces this table:
//!
//! | module | may use |
//! |---|---|
//! | [`batch`], [`identity`], [`json`], [`request`], [`secret`], [`time`], [`trace`], [`url`], [`yaml`] | nothing of ours |
//! | [`cel`] | `json`, `time` |
//! | [`pki`] | `time`, `url` |
//! | [`decision`] | `identity` |
//! | [`metrics`] | `decision`, `identity` |
//! | [`cluster`] | `metrics`, `secret`, `trace` |
//! | [`https`] | `pki`, `trace` |
//! | [`jose`] | `json`, `pki` |
//! | [`authn`] | `cel`, `cluster`, `decision`, `https`, `identity`, `jose`, `json`, `metrics`, `pki`, `request`, `secret`, `time`, `trace`, `yaml` |
//! | [`chain`] | `authn` and what it uses |
//! | [`impersonation`] | `authn`, `cluster`, `decision`, `identity`, `metrics`, `request`, `trace` |
//! | [`audit`] | `authn`, `batch`, `decision`, `identity`, `metrics`, `request` |
//! | [`config`] | `audit`, `chain`, `impersonation` and what they use |
//! | [`envoy`] | all of the above; alone in naming protobuf types, with `explain` |
//! | [`explain`] | `envoy` and what it uses |
//! | `admin`, [`command`], [`reload`], [`server`], [`telemetry`], `main` | everything |
//!
//! For who runs it there are `README.md` and, in `deploy/docs/`, the pages `credentials`, `operate`, `divergences`,
//! `migrate`, `troubleshooting`, `security` and `capacity`.
//!
//! Two rules run through all of it. Whatever goes wrong, the answer is a denial: no error, no panic and no malformed message
//! becomes an OK, nor a gRPC error, with which Envoy may be told to let requests pass. And what is not known is not guessed: a
//! header that may have been two lines is refused, whichever of them was good.

mod admin;
pub mod audit;
pub mod authn;
pub mod batch;
pub mod cel;
pub mod chain;
pub mod cluster;
pub mod command;
pub mod config;
pub mod decision;
pub mod envoy;
pub mod explain;
pub mod https;
pub mod identity;
pub mod impersonation;
pub mod jose;
pub mod json;
pub mod metrics;
pub mod pki;
pub mod reload;
pub mod request;
pub mod secret;
pub mod server;
pub mod telemetry;
pub mod time;
pub mod trace;
pub mod url;
pub mod yaml;
