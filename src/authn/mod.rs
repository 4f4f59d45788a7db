//! The authenticators, one file each, in two kinds: those that read a request and those that read a token.
//!
//! Kubernetes' interfaces `authenticator.Request` and `authenticator.Token` answer `(response, ok, err)`, of which three
//! combinations mean something. Here they have names:
//!
//! | Go | [`Outcome`] |
//! |---|---|
//! | `nil, false, nil` | `NoOpinion`: nothing here for me |
//! | `response, true, nil` | `Authenticated` |
//! | `nil, false, err` | `Rejected`: mine and bad, or mine and uncheckable |
//!
//! The [`Union`] asks them in order. Its truth table:
//!
//! | so far | next says | then |
//! |---|---|---|
//! | anything | `Authenticated` | stop: authenticated, whatever was rejected before |
//! | anything | `Rejected` | remember it, go on |
//! | anything | `Rejected` for a [final reason](Reason::is_final) | stop: rejected |
//! | anything | `NoOpinion` | go on |
//! | at the end, nothing remembered | | `NoOpinion` |
//! | at the end, something remembered | | `Rejected`, with all of it |
//!
//! Two plain traits, as in Go: one generic trait over both inputs does not prove `Send` without naming two lifetimes in every
//! implementation. Authenticators that never wait are plain functions; only the enums that list them are async.

mod anonymous;
pub mod basic;
mod bearer;
mod client_certificate;
pub mod csv;
mod observer;
mod pem_text;
mod request_header;
pub mod token;
mod union;
pub mod user_file;
mod websocket;
mod x509;
mod xfcc;

use std::fmt;
use std::future::Future;
use std::time::SystemTime;

use crate::decision::{Authenticated, Authenticator, Reason, Rejection, Rejections};
use crate::jose::UnverifiedToken;
use crate::json::Value;
use crate::request::Request;

pub use anonymous::Anonymous;
pub use basic::Basic;
pub use bearer::Bearer;
pub use client_certificate::{ClientCertificates, certificate_fingerprint};
pub use observer::{Lookup, Observer};
pub use request_header::{RequestHeader, RequestHeaderNames, unescaped_extra_key};
pub use union::Union;
pub use websocket::{WebSocket, without_token_protocol};
pub use x509::X509;

/// What one authenticator says about one credential.
#[must_use]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing here for me. Ask the next.
    NoOpinion,
    /// Mine, and it checks out.
    Authenticated(Authenticated),
    /// Mine and bad, or mine and uncheckable. Remembered; the union still asks the others.
    Rejected(Rejections),
}

impl Outcome {
    /// A refusal for one reason.
    pub fn rejected(by: Authenticator, reason: Reason) -> Self {
        Self::Rejected(Rejections::from_iter([Rejection { by, reason }]))
    }
}

/// The time of a Check: read once and handed down, so that every comparison in one decision agrees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now(pub SystemTime);

/// A bearer token as it came. It has no face: `Debug` prints `Token(..)` and there is no `Display`.
#[derive(Clone, Copy)]
pub struct Token<'a> {
    /// The token.
    pub bytes: &'a [u8],
    form: Form<'a>,
}

/// What is known of a token beside its bytes.
#[derive(Clone, Copy)]
enum Form<'a> {
    /// Nobody has looked.
    Unknown,
    /// It has not the form of a signed token with JSON within.
    Opaque,
    /// Taken apart, but not verified.
    Signed(&'a UnverifiedToken<'a>, &'a Value<'a>),
}

impl<'a> Token<'a> {
    /// A token as it came.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, form: Form::Unknown }
    }
}

impl fmt::Debug for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Reads a request. Go: `authenticator.Request`.
pub trait AuthenticateRequest: Send + Sync {
    /// Is there a credential of my kind in `request`, and is it good at `now`? Tells `observer` on the way.
    fn observed<O: Observer>(
        &self,
        request: &Request<'_>,
        now: Now,
        observer: O,
    ) -> impl Future<Output = Outcome> + Send;

    /// The same, with nobody to tell.
    fn authenticate(&self, request: &Request<'_>, now: Now) -> impl Future<Output = Outcome> + Send {
        self.observed(request, now, ())
    }
}

/// Reads a token. Go: `authenticator.Token`.
pub trait AuthenticateToken: Send + Sync {
    /// Is `token` mine, and is it good at `now`? Tells `observer` on the way.
    fn observed<O: Observer>(
        &self,
        token: Token<'_>,
        now: Now,
        observer: O,
    ) -> impl Future<Output = Outcome> + Send;

    /// The same, with nobody to tell.
    fn authenticate(&self, token: Token<'_>, now: Now) -> impl Future<Output = Outcome> + Send {
        self.observed(token, now, ())
    }
}
