//! An explanation for people.

use std::fmt::Write;

use envoy_types::pb::envoy::config::core::v3::HeaderValueOption;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckResponse, DeniedHttpResponse, OkHttpResponse};
use prost::Message;
use prost_types::value::Kind;

use crate::command::plain;
use crate::explain::v1::{
    ExplainResponse, Identity, Lookup, Outcome, Rejection, Step, UnverifiedToken, Verdict,
};

/// All of it, in lines.
pub(super) fn text(response: &ExplainResponse) -> String {
    let mut text = headline(response) + "\n" + &policy(response).unwrap_or_default() + "\n";
    for step in &response.steps {
        text += &lines(step, None);
    }
    if let Some(identity) = &response.identity {
        let _infallible = writeln!(text, "\nidentity, as {} has it", plain(&response.authenticated_by));
        text += &identity_lines(identity);
    }
    if let Some(reply) = &response.check_response {
        let _infallible = write!(text, "\nwhat Envoy would do\n{}", reply_lines(reply));
    }
    for token in &response.unverified_tokens {
        text += &token_lines(token);
    }
    text
}

fn headline(response: &ExplainResponse) -> String {
    let took = took(response.time.as_ref());
    let reasons: Vec<String> = response
        .rejections
        .iter()
        .map(|r| format!("{}: {}", plain(&r.authenticator), plain(&r.reason)))
        .collect();
    match (response.verdict(), &response.identity) {
        (Verdict::Allowed, Some(identity)) => {
            format!("ALLOWED as {} by {}{took}", quoted(&identity.user), plain(&response.authenticated_by))
        }
        (Verdict::Allowed, None) => format!("ALLOWED{took}"),
        _ if response.undecided => format!(
            "DENIED, undecided, since something that countersign depends on was not there: {}{took}",
            reasons.join(", ")
        ),
        _ => format!("DENIED: {}{took}", reasons.join(", ")),
    }
}

/// Whose policy it was, if the route names one.
fn policy(response: &ExplainResponse) -> Option<String> {
    let name = Some(&response.profile).filter(|name| !name.is_empty())?;
    Some(format!("the route names the profile {}\n", quoted(name)))
}

/// An authenticator in a line, with a line for each reason, and those that it asked.
fn lines(step: &Step, asker: Option<&Step>) -> String {
    let indent = if asker.is_some() { "    " } else { "  " };
    let name = plain(&step.authenticator);
    let more = [
        (!step.key_id.is_empty()).then(|| format!("signature verified with key {}", quoted(&step.key_id))),
        cache(step).map(str::to_owned),
    ];
    let more: String = more.into_iter().flatten().map(|more| format!("; {more}")).collect();
    let own = |rejection: &&Rejection| rejection.authenticator == step.authenticator;
    let others =
        step.rejections.iter().filter(|r| !own(r)).map(|r| plain(&r.authenticator)).collect::<Vec<_>>();
    let said = match step.outcome() {
        Outcome::Authenticated => "AUTHENTICATED".to_owned(),
        Outcome::Rejected if others.is_empty() => "REJECTED".to_owned(),
        Outcome::Rejected => format!("REJECTED by {}", others.join(", ")),
        Outcome::NoOpinion => "no opinion".to_owned(),
        Outcome::NotAsked => not_asked(asker).to_owned(),
        Outcome::NoAnswer | Outcome::Unspecified => "did not answer".to_owned(),
    };
    let width = COLUMN - indent.len();
    let mut text = format!("{indent}{name:width$}{said}{}{more}\n", took(step.time.as_ref()));
    // Whoever was asked says it itself, unless the cache answers in its place.
    let told_below =
        |r: &&Rejection| step.token_authenticators.iter().any(|below| below.rejections.contains(r));
    for rejection in step.rejections.iter().filter(|r| !told_below(r)) {
        let last = if rejection.r#final { "; nobody else is asked after this" } else { "" };
        let whose = match &*rejection.fault {
            "dependency" => "; not the client's fault",
            "bug" => "; a defect",
            _ => "",
        };
        let (meaning, reason) = (plain(&rejection.meaning), plain(&rejection.reason));
        let _infallible = writeln!(text, "{:COLUMN$}{meaning} [{reason}]{whose}{last}", "");
    }
    for below in &step.token_authenticators {
        text += &lines(below, Some(step));
    }
    text
}

/// Where what was said begins: after the longest of the names, indented.
const COLUMN: usize = 26;

fn cache(step: &Step) -> Option<&'static str> {
    match step.token_cache() {
        Lookup::Unspecified => None,
        Lookup::Remembered => Some("the token cache remembered the answer"),
        Lookup::Asked => Some("not in the token cache"),
        Lookup::Shared => {
            Some("another request with the same token was being looked up, and got the same answer")
        }
    }
}

fn not_asked(asker: Option<&Step>) -> &'static str {
    match asker.map(Step::token_cache) {
        Some(Lookup::Remembered | Lookup::Shared) => {
            "not asked: the token cache had the answer, or one before decided"
        }
        _ => "not asked: it was decided before",
    }
}

fn identity_lines(identity: &Identity) -> String {
    let list = |values: &[String]| values.iter().map(|value| quoted(value)).collect::<Vec<_>>().join(", ");
    let mut text = format!("  {:24}{}\n", "user", quoted(&identity.user));
    if !identity.uid.is_empty() {
        let _infallible = writeln!(text, "  {:24}{}", "uid", quoted(&identity.uid));
    }
    let _infallible = writeln!(text, "  {:24}{}", "groups", list(&identity.groups));
    let mut extra: Vec<_> = identity.extra.iter().collect();
    extra.sort_by_key(|(key, _)| *key);
    for (key, values) in extra {
        let _infallible = writeln!(text, "  {:24}{}: {}", "extra", plain(key), list(&values.values));
    }
    text
}

fn reply_lines(reply: &CheckResponse) -> String {
    let mut text = match &reply.http_response {
        Some(HttpResponse::OkResponse(ok)) => forwarded(ok),
        Some(HttpResponse::DeniedResponse(denied)) => answered(denied),
        _ => "  nothing that this program knows\n".to_owned(),
    };
    // From which a Lua filter may write groups that are in no header. Envoy's crate has types of its own for the same message.
    let metadata = reply.dynamic_metadata.as_ref().map(Message::encode_to_vec);
    let metadata = metadata.and_then(|bytes| prost_types::Struct::decode(&*bytes).ok()).unwrap_or_default();
    for (name, value) in &metadata.fields {
        let (name, value) = (plain(name), plain(&json(value).to_string()));
        let _infallible =
            writeln!(text, "  and tell the filters behind it, as dynamic metadata\n    {name}: {value}");
    }
    text
}

fn forwarded(ok: &OkHttpResponse) -> String {
    let mut text = "  forward the request with\n".to_owned();
    text += &header_lines(&ok.headers);
    if !ok.headers_to_remove.is_empty() {
        let names: Vec<String> = ok.headers_to_remove.iter().map(|name| plain(name)).collect();
        let _infallible = writeln!(text, "  and without whatever the client sent as {}", names.join(", "));
    }
    text
}

fn answered(denied: &DeniedHttpResponse) -> String {
    let status = denied.status.as_ref().map_or(0, |status| status.code);
    let mut text = format!("  answer {status} itself, with\n");
    text += &header_lines(&denied.headers);
    let _infallible = writeln!(text, "    {}", plain(&denied.body));
    text
}

fn header_lines(headers: &[HeaderValueOption]) -> String {
    let headers = headers.iter().filter_map(|option| option.header.as_ref());
    headers.map(|header| format!("    {}: {}\n", plain(&header.key), plain(&header.value))).collect()
}

fn token_lines(token: &UnverifiedToken) -> String {
    let UnverifiedToken { found_by, key_id, algorithm, claims } = token;
    let mut text = format!(
        "\nwhat the token of {} says of itself: NOT VERIFIED, anybody can write this\n",
        plain(found_by)
    );
    let _infallible = writeln!(text, "  {:24}{}", "alg (header)", quoted(algorithm));
    let _infallible = writeln!(text, "  {:24}{}", "kid (header)", quoted(key_id));
    for (name, value) in claims.iter().flat_map(|claims| &claims.fields) {
        let mut shown = plain(&json(value).to_string());
        if let Some(time) = time(name, value) {
            shown = format!("{shown} ({time})");
        }
        let _infallible = writeln!(text, "  {:24}{shown}", plain(name));
    }
    text
}

/// When a NumericDate is.
fn time(name: &str, value: &prost_types::Value) -> Option<String> {
    let Some(Kind::NumberValue(seconds)) = value.kind else { return None };
    let seconds = format!("{seconds:.0}").parse().ok().filter(|_| ["exp", "iat", "nbf"].contains(&name))?;
    jiff::Timestamp::from_second(seconds).ok().map(|time| time.to_string())
}

fn json(value: &prost_types::Value) -> serde_json::Value {
    match &value.kind {
        None | Some(Kind::NullValue(_)) => serde_json::Value::Null,
        Some(Kind::BoolValue(value)) => (*value).into(),
        Some(Kind::StringValue(text)) => text.as_str().into(),
        Some(Kind::ListValue(list)) => list.values.iter().map(json).collect(),
        Some(Kind::StructValue(members)) => {
            members.fields.iter().map(|(name, value)| (name.clone(), json(value))).collect()
        }
        // A whole number without a point.
        Some(Kind::NumberValue(number)) => match format!("{number:.0}").parse::<i64>() {
            Ok(whole) if number.fract() == 0.0 => whole.into(),
            _ => (*number).into(),
        },
    }
}

fn quoted(text: &str) -> String {
    format!("{text:?}")
}

/// In brackets, if it is worth saying.
fn took(time: Option<&prost_types::Duration>) -> String {
    let Some(time) = time else { return String::new() };
    let micros = time.seconds.saturating_mul(1_000_000).saturating_add(i64::from(time.nanos) / 1000);
    format!(" ({}.{:03} ms)", micros / 1000, micros % 1000)
}
