//! HTTPS: GET for what an issuer publishes (OpenID Connect discovery, JWK sets) and for distributed claims, POST for the token review
//! webhook. What Kubernetes leaves to Go's `http.Client` with a timeout of 30 s (`New` of
//! k8s.io/apiserver/plugin/pkg/authenticator/token/oidc; `LoadKubeconfig` of k8s.io/apiserver/pkg/util/webhook), with everything
//! bounded: time, redirects, headers, body.
//!
//! ```text
//!   Client::get ── redirects ──▶ pool of connections ──▶ dial: proxy? ─ DNS ─ TCP ─ CONNECT ─ TLS ─▶ the server
//! ```
//!
//! Stricter than Go, on purpose:
//!
//! - `https://` only, in what is asked for and in every redirect, but for a webhook on this very host; no user name or password in a URL, and RFC 3986 to the letter, so no
//!   spaces, and a host in ASCII (`xn--`);
//! - no compressed answer is asked for, and one that comes is refused;
//! - TLS 1.2 with AEAD ciphers, or TLS 1.3; certificates as in [`crate::pki`], and no version 1 for a server;
//! - a POST follows no redirect, so that what is posted goes nowhere else;
//! - a body has a bound ([`Get::max_body`]), and connecting has ([`CONNECT_TIMEOUT`]).
//!
//! Names in `NO_PROXY` are compared as they are written, so they must be in ASCII as well.

mod client;
mod dial;
mod error;
mod proxy;
mod tls;
mod url;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use client::{
    Authorization, Client, DEFAULT_MAX_BODY, Get, MAX_REDIRECTS, Post, Response, Settings, TIMEOUT,
};
pub use dial::{CONNECT_TIMEOUT, TLS_HANDSHAKE_TIMEOUT};
pub use error::{ClientError, Error, Phase, RedirectError};
pub use proxy::Proxies;
pub use tls::{ClientCertificate, Trust};

pub(crate) use tls::config as tls_settings;
pub use url::{Url, UrlError};
