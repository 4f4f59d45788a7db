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

use std::fmt;

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckResponse, DeniedHttpResponse, OkHttpResponse};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::protobuf::BoolValue;
use envoy_types::pb::google::rpc;
use prost::Message;
use zeroize::{Zeroize, Zeroizing};

use crate::chain::Schemes;
use crate::config::ReplyConfig;
use crate::decision::{Authenticated, Denial, Reason};
use crate::identity::Identity;
use crate::impersonation::{Impersonation, UpstreamToken};
use crate::request::{Headers, Request};

use headers::Line;
use prepared::{Prepared, PreparedReplies};
use scrub::Scrub;

/// An encoded `CheckResponse`. Only [`Replies`] makes one. It may hold a credential of ours, so it has no face.
#[derive(Clone)]
pub struct Reply(Bytes);

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reply({} bytes)", self.0.len())
    }
}

impl Reply {
    /// The message as it goes out.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
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
    /// Replies as `config` has them, with challenges for `schemes`.
    pub fn new(config: ReplyConfig, schemes: Schemes) -> Self {
        Self {
            scrub: Scrub::new(&config),
            prepared: PreparedReplies::new(MAX_PREPARED),
            unauthorized: unauthorized(schemes),
            unavailable: unavailable(),
            config,
        }
    }

    /// How the upstream is told, if that is by impersonation.
    pub(super) fn impersonation(&self) -> Option<&Impersonation> {
        self.config.impersonation.as_ref()
    }

    fn token(&self) -> Option<&UpstreamToken> {
        self.config.impersonation.as_ref().map(|impersonation| &impersonation.token)
    }

    /// Envoy forwards the request with this identity on it and with every other identity header removed. The reason, if the
    /// identity cannot be told to the upstream as it is: then the request must be denied.
    pub fn allow(&self, authenticated: &Authenticated, request: &Request<'_>) -> Result<Reply, Reason> {
        let identity = &*authenticated.identity;
        let prepared = self.prepared.of(identity, || self.prepare(identity));
        let prepared = prepared.get().as_ref().map_err(|reason| *reason)?;
        let (protocols, no_protocol) = headers::without_token(&request.headers)?;
        let more = self.look_through(&request.headers, prepared, protocols.as_ref())?;
        if protocols.is_none() && no_protocol.is_none() && more.is_empty() {
            return Ok(prepared.reply.clone());
        }
        let set: Vec<Line> = prepared.set.iter().cloned().chain(protocols).collect();
        let remove = self.always_removed(&prepared.set).chain(no_protocol).chain(more).collect();
        Ok(self.ok(identity, &set, remove))
    }

    /// What is the same for all requests of an identity: nearly always the whole reply.
    fn prepare(&self, identity: &Identity) -> Result<Prepared, Reason> {
        let set = headers::lines(identity, &self.config)?;
        let bytes = set.iter().map(|(name, value)| name.len() + value.len()).sum();
        let reply = self.ok(identity, &set, self.always_removed(&set).collect());
        Ok(Prepared { set, bytes, reply })
    }

    /// Whatever the client sent: its credential, unless ours takes its place, and the identity headers that are not set.
    fn always_removed(&self, set: &[Line]) -> impl Iterator<Item = String> {
        let credential = self.token().is_none().then(|| AUTHORIZATION.to_owned());
        credential.into_iter().chain(self.scrub.always(set))
    }

    fn ok(&self, identity: &Identity, set: &[Line], remove: Vec<String>) -> Reply {
        let credential = self.token().map(|token| overwrite(AUTHORIZATION, token.authorization()));
        let set = set.iter().map(|(name, value)| overwrite(name, value));
        let ok = OkHttpResponse {
            headers: set.chain(credential).collect(),
            headers_to_remove: remove,
            ..Default::default()
        };
        let metadata = self.config.dynamic_metadata.then(|| metadata::of(identity));
        encode(CODE_OK, HttpResponse::OkResponse(ok), metadata)
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
        prepared: &Prepared,
        protocols: Option<&Line>,
    ) -> Result<Vec<String>, Reason> {
        let protocols_bytes = protocols.map_or(0, |(name, value)| name.len() + value.len());
        let token_bytes = self.token().map(|token| AUTHORIZATION.len() + token.authorization().len());
        let (mut count, mut bytes) = (
            prepared.set.len() + protocols.iter().count() + token_bytes.iter().count(),
            prepared.bytes + protocols_bytes + token_bytes.unwrap_or_default(),
        );
        let mut more = Vec::<String>::new();
        for (name, value) in sent.iter() {
            let is = |own: &str| own.as_bytes().eq_ignore_ascii_case(name);
            if self.scrub.is_identity(name) {
                if prepared.set.iter().any(|(own, _)| is(own)) {
                    continue;
                }
                if !self.scrub.is_always_removed(name) && !more.iter().any(|own| is(own)) {
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

/// On a request: replaces every line of that name, or adds one. Both fields say so, for Envoys that read either.
#[expect(deprecated, reason = "the deprecated field is the one that Envoy reads")]
fn overwrite(name: &str, value: &str) -> HeaderValueOption {
    HeaderValueOption {
        append: Some(BoolValue { value: false }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..header(name, value)
    }
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
    encode(code, HttpResponse::DeniedResponse(denied), None)
}

fn encode(
    code: i32,
    response: HttpResponse,
    dynamic_metadata: Option<envoy_types::pb::google::protobuf::Struct>,
) -> Reply {
    let status = Some(rpc::Status { code, ..Default::default() });
    let mut message = CheckResponse { status, dynamic_metadata, http_response: Some(response) };
    let encoded = message.encode_to_vec();
    let Some(HttpResponse::OkResponse(ok)) = &mut message.http_response else { return Reply(encoded.into()) };
    // One of the lines may be our credential.
    let lines = ok.headers.iter_mut().filter_map(|line| line.header.as_mut());
    lines.filter(|line| line.key == AUTHORIZATION).for_each(|line| line.value.zeroize());
    Reply(Bytes::from_owner(Zeroizing::new(encoded)))
}

const AUTHORIZATION: &str = "authorization";

/// As many replies as are kept, of about 1 KiB each.
const MAX_PREPARED: usize = 50_000;

/// google.rpc.Code.OK
const CODE_OK: i32 = 0;
/// google.rpc.Code.UNAVAILABLE
const CODE_UNAVAILABLE: i32 = 14;
/// google.rpc.Code.UNAUTHENTICATED
const CODE_UNAUTHENTICATED: i32 = 16;

#[cfg(test)]
mod tests;
