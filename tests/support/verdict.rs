//! Reads the verdict out of a `CheckResponse`, and insists on everything that Envoy would need to act on it safely.

use std::collections::BTreeMap;
use std::fmt;

use envoy_types::pb::envoy::config::core::v3::HeaderValueOption;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckResponse, OkHttpResponse};
use envoy_types::pb::google::protobuf::{BoolValue, Struct, Value, value::Kind};
use serde::Deserialize;

use super::envoy::Request;

/// What a subprotocol that carries a bearer token starts with.
pub(crate) const WEBSOCKET_TOKEN: &str = "base64url.bearer.authorization.k8s.io.";

/// Who Kubernetes says a request is from. Group and extra values keep their order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct User {
    pub(crate) username: String,
    #[serde(default)]
    pub(crate) uid: String,
    #[serde(default)]
    pub(crate) groups: Vec<String>,
    #[serde(default)]
    pub(crate) extra: BTreeMap<String, Vec<String>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Authenticated(User),
    Refused,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authenticated(user) => write!(f, "{user:?}"),
            Self::Refused => f.write_str("refused"),
        }
    }
}

/// The verdict of a server that runs with `--groups-encoding=metadata`, or what is wrong with its reply.
pub(crate) fn read(response: &CheckResponse, request: &Request) -> Result<Verdict, String> {
    let code = response.status.as_ref().map_or(0, |status| status.code);
    match &response.http_response {
        Some(HttpResponse::OkResponse(ok)) if code == 0 => {
            let user = user(response.dynamic_metadata.as_ref().ok_or("OK without dynamic metadata")?)?;
            headers(ok, &user)?;
            removals(ok, request)?;
            Ok(Verdict::Authenticated(user))
        }
        Some(HttpResponse::DeniedResponse(denied)) if code == 16 => {
            let status = denied.status.as_ref().map_or(0, |status| status.code);
            if status != 401 {
                return Err(format!("denied with HTTP status {status}"));
            }
            match response.dynamic_metadata.as_ref().is_some_and(|m| m.fields.contains_key("countersign")) {
                true => Err("denied, and yet the metadata names somebody".into()),
                false => Ok(Verdict::Refused),
            }
        }
        other => Err(format!("status code {code} does not go with {other:?}")),
    }
}

fn user(metadata: &Struct) -> Result<User, String> {
    let user = metadata.fields.get("countersign").ok_or("the metadata has no member countersign")?;
    serde_json::from_value(json(user)).map_err(|e| format!("metadata: {e}"))
}

fn json(value: &Value) -> serde_json::Value {
    match &value.kind {
        Some(Kind::StringValue(text)) => text.as_str().into(),
        Some(Kind::ListValue(list)) => list.values.iter().map(json).collect(),
        Some(Kind::StructValue(of)) => {
            of.fields.iter().map(|(key, value)| (key.clone(), json(value))).collect()
        }
        Some(Kind::BoolValue(flag)) => (*flag).into(),
        Some(Kind::NumberValue(number)) => (*number).into(),
        Some(Kind::NullValue(_)) | None => serde_json::Value::Null,
    }
}

/// The headers say the same as the metadata, and each of them replaces whatever the client sent. Groups and extras are in the
/// metadata only.
fn headers(ok: &OkHttpResponse, user: &User) -> Result<(), String> {
    let mut expected = BTreeMap::from([("x-remote-user", user.username.as_str())]);
    if !user.uid.is_empty() {
        expected.insert("x-remote-uid", &user.uid);
    }
    for option in &ok.headers {
        let header = option.header.as_ref().ok_or("a header option without a header")?;
        if !replaces(option) || !header.raw_value.is_empty() {
            return Err(format!("does not safely replace the client's: {option:?}"));
        }
        match header.key.to_ascii_lowercase().as_str() {
            "sec-websocket-protocol" if !header.value.contains(WEBSOCKET_TOKEN) => {}
            key => match expected.remove(key) {
                Some(value) if value == header.value => {}
                other => return Err(format!("{key} is {:?}, the metadata has {other:?}", header.value)),
            },
        }
    }
    match expected.is_empty() {
        true => Ok(()),
        false => Err(format!("headers not set: {expected:?}")),
    }
}

/// Envoy 1.36 and 1.37 read different members of an option; these two together mean "overwrite" to all of them.
#[expect(deprecated, reason = "Envoy reads `append` for headers of an OK answer")]
fn replaces(option: &HeaderValueOption) -> bool {
    option.append == Some(BoolValue { value: false })
        && option.append_action == i32::from(HeaderAppendAction::OverwriteIfExistsOrAdd)
}

/// No credential and no identity header of the client's own gets through: each is overwritten or removed.
fn removals(ok: &OkHttpResponse, request: &Request) -> Result<(), String> {
    let same = |a: &str, b: &str| a.eq_ignore_ascii_case(b);
    let removed = |name: &str| ok.headers_to_remove.iter().any(|removed| same(removed, name));
    let set = |name: &str| ok.headers.iter().filter_map(|o| o.header.as_ref()).any(|h| same(&h.key, name));
    let identity = request.headers.iter().map(|(name, _)| name.as_str()).filter(|name| {
        let name = name.to_ascii_lowercase().replace('_', "-");
        ["x-remote-user", "x-remote-uid", "x-remote-group"].contains(&name.as_str())
            || name.starts_with("x-remote-extra-")
            || name.starts_with("impersonate-")
    });
    for name in identity.chain(["authorization"]) {
        if !removed(name) && !set(name) {
            return Err(format!("the client's {name} would reach the upstream"));
        }
        if removed(name) && set(name) {
            return Err(format!("{name} is set and removed, so Envoy would drop it"));
        }
    }
    Ok(())
}
