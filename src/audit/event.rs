//! A line.

use std::io::{self, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bstr::ByteSlice;
use serde::Serialize;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter};

use super::{MAX_GROUPS, MAX_TEXT};
use crate::authn::certificate_fingerprint;
use crate::decision::{Authenticator, Decision, Denial};
use crate::identity::{CREDENTIAL_ID, Identity};
use crate::request::Request;

/// Its members, in their order. What there is nothing to say of is left out.
#[derive(Serialize)]
pub(super) struct Event {
    time: String,
    request_id: String,
    decision: &'static str,
    /// What the route names.
    #[serde(skip_serializing_if = "Option::is_none")]
    profile: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authenticator: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<User>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rejections: Vec<Refusal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_sha256: Option<String>,
    #[serde(flatten)]
    request: Option<About>,
}

#[derive(Serialize)]
struct User {
    username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    uid: String,
    /// The first of them.
    groups: Vec<String>,
    /// How many there are.
    group_count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    credential_id: Option<String>,
}

#[derive(Serialize)]
struct Refusal {
    authenticator: &'static str,
    reason: &'static str,
}

#[derive(Serialize)]
struct About {
    method: String,
    host: String,
    path: String,
    source_address: String,
    source_port: u32,
}

impl Event {
    pub(super) fn new(
        at: SystemTime,
        decision: &Decision,
        profile: Option<&[u8]>,
        request: Option<&Request<'_>>,
        stream_id: &[u8],
    ) -> Self {
        let request_id = request.and_then(Request::id);
        let by_certificate = |by| matches!(by, Authenticator::X509 | Authenticator::RequestHeader);
        let (authenticator, user, rejections) = match decision {
            Decision::Allow(authenticated) => {
                (Some(authenticated.by), Some(User::of(&authenticated.identity)), Vec::new())
            }
            Decision::Deny(denial) => (None, None, refusals(denial)),
        };
        let is_about_certificate = match decision {
            Decision::Allow(authenticated) => by_certificate(authenticated.by),
            Decision::Deny(denial) => denial.rejections.iter().any(|refused| by_certificate(refused.by)),
        };
        Self {
            time: humantime::format_rfc3339_micros(at.clamp(UNIX_EPOCH, end_of_time())).to_string(),
            request_id: text(request_id.unwrap_or(stream_id)),
            decision: if user.is_some() { "allowed" } else { "denied" },
            profile: profile.map(text),
            authenticator: authenticator.map(Authenticator::label),
            user,
            rejections,
            certificate_sha256: request.filter(|_| is_about_certificate).and_then(certificate_fingerprint),
            request: request.map(|request| About {
                method: text(request.method),
                host: text(request.host),
                path: text(request.path.as_bytes()),
                source_address: text(request.connection.source_address),
                source_port: request.connection.source_port,
            }),
        }
    }

    /// As JSON in ASCII, with the end of the line.
    pub(super) fn line(&self) -> Vec<u8> {
        let mut line = Vec::with_capacity(512);
        let mut serializer = serde_json::Serializer::with_formatter(&mut line, Ascii);
        let _infallible = self.serialize(&mut serializer);
        line.push(b'\n');
        line
    }
}

impl User {
    fn of(identity: &Identity) -> Self {
        let credential_id = identity.extra.get(CREDENTIAL_ID).and_then(|mut values| values.next());
        Self {
            username: text(identity.username.as_bytes()),
            uid: text(identity.uid.as_bytes()),
            groups: identity.groups().take(MAX_GROUPS).map(|group| text(group.as_bytes())).collect(),
            group_count: identity.groups().count(),
            credential_id: credential_id.map(|id| text(id.as_bytes())),
        }
    }
}

fn refusals(denial: &Denial) -> Vec<Refusal> {
    let refusal = |by: Authenticator, reason: &'static str| Refusal { authenticator: by.label(), reason };
    denial.rejections.iter().map(|refused| refusal(refused.by, refused.reason.code())).collect()
}

/// The last second that RFC 3339 can write, which no clock shows that is set.
fn end_of_time() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(253_402_300_799)
}

/// A text of somebody else's, which ends with an ellipsis if it is not all of it.
fn text(bytes: &[u8]) -> String {
    match bytes.get(..MAX_TEXT) {
        Some(beginning) if bytes.len() > MAX_TEXT => beginning.to_str_lossy().into_owned() + "\u{2026}",
        _ => bytes.to_str_lossy().into_owned(),
    }
}

/// Writes whatever is not printable ASCII as an escape, so that no line looks like another, or like two, wherever it is shown.
struct Ascii;

impl Formatter for Ascii {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut units = [0; 2];
        fragment.chars().try_for_each(|c| match c {
            ' '..='~' => writer.write_all(&[u8::try_from(c).unwrap_or(b'?')]),
            other => {
                other.encode_utf16(&mut units).iter().try_for_each(|unit| write!(writer, "\\u{unit:04x}"))
            }
        })
    }

    fn write_char_escape<W: ?Sized + Write>(&mut self, writer: &mut W, escape: CharEscape) -> io::Result<()> {
        CompactFormatter.write_char_escape(writer, escape)
    }
}
