//! [`Decision`](crate::decision::Decision) → `CheckResponse`. What real Envoy (1.36 to 1.40) does with one decides how it is
//! written:
//!
//! - Only `status.code` decides, and an unset one means OK. So a [`Reply`] is made in two places, [`Replies::allow`] and
//!   [`Replies::deny`], each of which says its code; there is no default.
//! - `append_action` is ignored on the headers of an OK; only the old `append` counts, and unset it has meant "overwrite" in
//!   some versions and "add a line beside the client's" in others (envoy#43310). So both are always written, and agree.
//! - Removal runs after setting, so no name is ever in both lists.
//! - Two lines of one name cannot be written. [`GroupsEncoding`](crate::config::GroupsEncoding) says what happens instead.
//! - Bad bytes in a value make Envoy answer 500 or 503, or split the client's response. So they are looked for here.

mod headers;
mod metadata;
mod prepared;
mod scrub;
mod wire;

use std::fmt;

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckResponse, DeniedHttpResponse};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::rpc;
use prost::Message;
use zeroize::Zeroizing;

use crate::chain::Schemes;
use crate::config::{IdentityHeaders, ReplyConfig};
use crate::decision::{Authenticated, Denial, Reason};
use crate::identity::Identity;
use crate::impersonation::{Impersonation, UpstreamToken};
use crate::request::{Headers, Request};

use headers::Line;
use prepared::{Prepared, PreparedReplies};
use scrub::Scrub;
use wire::{Tag, Writer};

/// An encoded `CheckResponse`, as gRPC frames it. Only [`Replies`] makes one.
#[derive(Clone)]
pub struct Reply(Bytes);

/// What is before a message in gRPC: whether it is compressed, which ours never are, and its length in four bytes (doc/PROTOCOL-HTTP2.md
/// of gRPC, `Length-Prefixed-Message`).
pub const FRAME_HEAD: usize = 5;

impl Reply {
    fn plain(message: &[u8]) -> Self {
        Self(Self::framed(message).into())
    }

    /// One with a credential of ours in it.
    fn secret(message: Zeroizing<Vec<u8>>) -> Self {
        Self(Bytes::from_owner(Zeroizing::new(Self::framed(&message))))
    }

    fn framed(message: &[u8]) -> Vec<u8> {
        // No reply is as long: it is held against Envoy's limits, or denied.
        let length = u32::try_from(message.len()).unwrap_or_default();
        let mut framed = Vec::with_capacity(FRAME_HEAD + message.len());
        framed.push(0);
        framed.extend_from_slice(&length.to_be_bytes());
        framed.extend_from_slice(message);
        framed
    }

    /// The message.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0[FRAME_HEAD..]
    }

    /// The message as it goes out.
    pub fn into_frame(self) -> Bytes {
        self.0
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({} bytes)", self.as_bytes().len())
    }
}

/// Makes the replies of one configuration.
#[derive(Debug)]
pub struct Replies {
    config: ReplyConfig,
    scrub: Scrub,
    prepared: PreparedReplies,
    unauthorized: Reply,
    unavailable: Reply,
}

impl Replies {
    /// Replies as `config` has them, with challenges for `schemes`. What other routes have for identity headers (`elsewhere`) is no more
    /// the client's to send than those of `config`.
    pub fn new(config: ReplyConfig, schemes: Schemes, elsewhere: &[IdentityHeaders]) -> Self {
        Self {
            scrub: Scrub::new(&config, elsewhere),
            prepared: PreparedReplies::new(MAX_PREPARED),
            unauthorized: unauthorized(schemes),
            unavailable: unavailable(),
            config,
        }
    }

    /// Replies for another route, which says an identity as `config` has it, or else as this one. They keep no more replies than this one
    /// may keep alone; and one that is kept for an identity is given out by both only where they say it alike.
    pub fn of_profile(
        &self,
        config: Option<ReplyConfig>,
        schemes: Schemes,
        elsewhere: &[IdentityHeaders],
    ) -> Self {
        let prepared = match config {
            None => self.prepared.clone(),
            Some(_) => self.prepared.others(),
        };
        let config = config.unwrap_or_else(|| self.config.clone());
        Self { prepared, ..Self::new(config, schemes, elsewhere) }
    }

    /// How the upstream is told, if that is by impersonation.
    pub(super) fn impersonation(&self) -> Option<&Impersonation> {
        self.config.impersonation.as_ref()
    }

    fn token(&self) -> Option<&UpstreamToken> {
        self.impersonation().map(|impersonation| &impersonation.token)
    }

    /// Envoy forwards the request with this identity on it and with every other identity header removed. The reason, if the
    /// identity cannot be told to the upstream as it is: then the request must be denied.
    pub fn allow(&self, authenticated: &Authenticated, request: &Request<'_>) -> Result<Reply, Reason> {
        let identity = &*authenticated.identity;
        let preparation = self.prepared.of(identity, || self.prepare(identity));
        let prepared = preparation.get().as_ref().map_err(|reason| *reason)?;
        let (protocols, no_protocol) = headers::without_token(&request.headers)?;
        let more = self.look_through(&request.headers, identity, prepared, protocols.as_ref())?;
        if protocols.is_none() && no_protocol.is_none() && more.is_empty() {
            return preparation.into_reply();
        }
        let identity_lines = headers::lines(identity, &self.config)?;
        let set: Vec<Line<'_>> = identity_lines.iter().cloned().chain(protocols).collect();
        let always = self.always_removed(&identity_lines);
        let remove = always.chain(no_protocol).chain(more.iter().map(String::as_str));
        Ok(self.ok(identity, &set, remove))
    }

    /// What is the same for all requests of an identity: nearly always the whole reply.
    fn prepare(&self, identity: &Identity) -> Result<Prepared, Reason> {
        let set = headers::lines(identity, &self.config)?;
        let reply = self.ok(identity, &set, self.always_removed(&set));
        Ok(Prepared::new(&set, self.scrub.set_places(&set), reply))
    }

    /// A `CheckResponse` with an `OkHttpResponse` (envoy/service/auth/v3/external_auth.proto).
    fn ok<'a>(&self, identity: &Identity, set: &[Line<'_>], remove: impl Iterator<Item = &'a str>) -> Reply {
        let mut reply = Writer::with_capacity(USUAL_REPLY);
        // Empty, which is code OK.
        reply.message(STATUS, |_| {});
        if self.config.dynamic_metadata {
            reply.message(DYNAMIC_METADATA, |metadata| metadata::write(metadata, identity));
        }
        reply.message(OK_RESPONSE, |ok| {
            for (name, value) in set {
                ok.message(OK_HEADERS, |option| overwrite(option, name, value));
            }
            for name in remove {
                ok.string(OK_HEADERS_TO_REMOVE, name);
            }
            if let Some(token) = self.token() {
                // Last, and with room for it: a buffer that grows leaves behind what was in it.
                ok.reserve(AROUND_CREDENTIAL + token.authorization().len());
                ok.message(OK_HEADERS, |option| overwrite(option, AUTHORIZATION, token.authorization()));
            }
        });
        match self.token() {
            Some(_) => Reply::secret(Zeroizing::new(reply.into_bytes())),
            None => Reply::plain(reply.as_bytes()),
        }
    }

    /// Whatever the client sent: its credential, unless ours takes its place, and the identity headers that are not set.
    fn always_removed<'a>(&'a self, set: &'a [Line<'_>]) -> impl Iterator<Item = &'a str> {
        let credential = self.token().is_none().then_some(AUTHORIZATION);
        credential.into_iter().chain(self.scrub.always(set))
    }

    /// Goes through the client's headers once: the identity headers among them that `prepared` neither sets nor removes, to be
    /// removed as well; and whether the request stays within Envoy's limits.
    ///
    /// Over its limits on the upstream request Envoy answers 500; better a denial that says why. Envoy counts after it has set
    /// and before it removes (1.40): all headers of the request, those that it set itself and the pseudo headers among them, which
    /// are all in the Check.
    fn look_through(
        &self,
        sent: &Headers<'_>,
        identity: &Identity,
        prepared: &Prepared,
        protocols: Option<&Line<'_>>,
    ) -> Result<Vec<String>, Reason> {
        let protocols_bytes = protocols.map_or(0, |(name, value)| name.len() + value.len());
        let token_bytes = self.token().map(|token| AUTHORIZATION.len() + token.authorization().len());
        let (mut count, mut bytes) = (
            prepared.count + protocols.iter().count() + token_bytes.iter().count(),
            prepared.bytes + protocols_bytes + token_bytes.unwrap_or_default(),
        );
        let mut more = Vec::<String>::new();
        // Looked up for odd names alone.
        let mut set: Option<Vec<Line<'_>>> = None;
        for (name, value) in sent.iter() {
            let is = |own: &str| own.as_bytes().eq_ignore_ascii_case(name);
            if self.scrub.is_identity(name) {
                let place = self.scrub.place(name);
                let is_set = match place.and_then(scrub::bit) {
                    Some(bit) => prepared.set_places & bit != 0,
                    None => {
                        let set = match &set {
                            Some(set) => set,
                            None => set.insert(headers::lines(identity, &self.config)?),
                        };
                        set.iter().any(|(own, _)| is(own))
                    }
                };
                if is_set {
                    continue;
                }
                if place.is_none() && !more.iter().any(|own| is(own)) {
                    // Names are ASCII in HTTP; one that is not cannot be named to Envoy.
                    let name = std::str::from_utf8(name).map_err(|_| Reason::MalformedHeader)?;
                    more.push(name.to_ascii_lowercase());
                }
            } else if protocols.is_some_and(|(own, _)| is(own)) || token_bytes.is_some() && is(AUTHORIZATION)
            {
                continue;
            }
            count += 1;
            bytes += name.len() + value.len();
        }
        if count > self.config.max_headers_count || bytes > self.config.max_headers_bytes {
            return Err(Reason::IdentityTooLarge);
        }
        Ok(more)
    }

    /// Envoy answers the client itself: 401, or 503 where we are undecided and `--undecided-status` says so. The reply is the
    /// same whatever the reason.
    pub fn deny(&self, denial: &Denial) -> Reply {
        if denial.undecided() && self.config.undecided_unavailable {
            self.unavailable.clone()
        } else {
            self.unauthorized.clone()
        }
    }
}

/// Writes a `HeaderValueOption` that replaces every line of that name, or adds one. Both fields say so, for Envoys that read either.
fn overwrite(option: &mut Writer, name: &str, value: &str) {
    option.message(HEADER, |header| {
        header.string(HEADER_KEY, name);
        header.string(HEADER_VALUE, value);
    });
    // A BoolValue that is empty, which is false.
    option.message(APPEND, |_| {});
    option.number(APPEND_ACTION, OVERWRITE_IF_EXISTS_OR_ADD);
}

/// On a response to the client: adds a line. `append` must be left unset here: `true` would drop the header.
fn header(name: &str, value: &str) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), value: value.to_owned(), ..Default::default() }),
        append_action: HeaderAppendAction::AppendIfExistsOrAdd.into(),
        ..Default::default()
    }
}

/// kube-apiserver's 401, in its words (`apierrors.NewUnauthorized("Unauthorized")`), with a challenge for each scheme in force,
/// which kube-apiserver does not send. gRPC clients get the body as their message, so it is short.
fn unauthorized(schemes: Schemes) -> Reply {
    let challenges = [
        (schemes.bearer, r#"Bearer realm="countersign""#),
        (schemes.basic, r#"Basic realm="countersign", charset="UTF-8""#),
    ];
    let challenges = challenges.into_iter().filter(|(in_force, _)| *in_force);
    let challenges = challenges.map(|(_, challenge)| header("www-authenticate", challenge));
    denied(CODE_UNAUTHENTICATED, 401, "Unauthorized", "Unauthorized", challenges.collect())
}

/// Kubernetes' `apierrors.NewServiceUnavailable`. A denied response, not an error response, which `failure_mode_allow` would
/// turn into an OK.
fn unavailable() -> Reply {
    let retry = header("retry-after", "1");
    denied(CODE_UNAVAILABLE, 503, "authentication is unavailable", "ServiceUnavailable", vec![retry])
}

fn denied(code: i32, status: i32, message: &str, reason: &str, headers: Vec<HeaderValueOption>) -> Reply {
    let body = format!(
        r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"status":"Failure","message":"{message}","reason":"{reason}","code":{status}}}"#
    );
    let content_type = header("content-type", "application/json");
    let denied = DeniedHttpResponse {
        status: Some(HttpStatus { code: status }),
        headers: [content_type].into_iter().chain(headers).collect(),
        body,
    };
    let status = Some(rpc::Status { code, ..Default::default() });
    let http_response = Some(HttpResponse::DeniedResponse(denied));
    Reply::plain(&CheckResponse { status, dynamic_metadata: None, http_response }.encode_to_vec())
}

/// As many replies as are kept, of about 1 KiB each: those of tokens that are used often. To make one takes some 5 % of a Check.
const MAX_PREPARED: usize = 10_000;

/// An OK has rarely more bytes.
const USUAL_REPLY: usize = 2048;

const AUTHORIZATION: &str = "authorization";

/// More than the keys, lengths and options beside the credential take, and its name.
const AROUND_CREDENTIAL: usize = 128;

// Of CheckResponse.
const STATUS: Tag = 1;
const OK_RESPONSE: Tag = 3;
const DYNAMIC_METADATA: Tag = 4;
// Of OkHttpResponse.
const OK_HEADERS: Tag = 2;
const OK_HEADERS_TO_REMOVE: Tag = 5;
// Of HeaderValueOption, and of the HeaderValue within.
const HEADER: Tag = 1;
const APPEND: Tag = 2;
const APPEND_ACTION: Tag = 3;
const OVERWRITE_IF_EXISTS_OR_ADD: usize = 2;
const HEADER_KEY: Tag = 1;
const HEADER_VALUE: Tag = 2;

/// google.rpc.Code.UNAVAILABLE
const CODE_UNAVAILABLE: i32 = 14;
/// google.rpc.Code.UNAUTHENTICATED
const CODE_UNAUTHENTICATED: i32 = 16;

#[cfg(test)]
mod tests;
