//! What was written down, as a message.

use std::time::Duration;

use envoy_types::pb::envoy::service::auth::v3::CheckResponse;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use prost::Message;
use prost_types::value::Kind;

use super::recorder::{Asked, Record};
use super::unverified::{BLANK, UnverifiedClaims};
use super::v1::{
    ExplainResponse, Identity, Lookup, Outcome, Rejection, Step, UnverifiedToken, Values, Verdict,
};
use super::words;
use crate::authn;
use crate::chain::Chain;
use crate::decision::{self, Authenticated, Authenticator, Decision};
use crate::envoy::Decided;
use crate::envoy::encode::Reply;
use crate::identity;

pub(super) fn response(decided: &Decided<'_>, record: Record, took: Duration) -> ExplainResponse {
    let authenticated = record.asked.iter().find_map(|asked| authenticated(asked)).cloned();
    let tokens = decided.chain().map(Chain::token_authenticators).unwrap_or_default();
    let names = decided.chain().into_iter().flat_map(Chain::authenticators);
    let profile = decided.profile().map(String::from_utf8_lossy).unwrap_or_default();
    let (verdict, rejections, undecided) = match &decided.decision {
        Decision::Allow(_) => (Verdict::Allowed, Vec::new(), false),
        Decision::Deny(denial) => {
            (Verdict::Denied, denial.rejections.iter().map(rejection).collect(), denial.undecided())
        }
    };
    ExplainResponse {
        verdict: verdict.into(),
        steps: steps(names, record.asked, &tokens),
        authenticated_by: authenticated.as_ref().map_or("", |a| a.by.label()).to_owned(),
        identity: authenticated.map(|authenticated| identity(&authenticated.identity)),
        rejections,
        undecided,
        unverified_tokens: record.tokens.into_iter().map(unverified_token).collect(),
        time: Some(duration(took)),
        check_response: check_response(&decided.reply),
        profile: profile.into_owned(),
    }
}

fn authenticated(asked: &Asked) -> Option<&Authenticated> {
    match &asked.said {
        Some(authn::Outcome::Authenticated(authenticated)) => Some(authenticated),
        _ => None,
    }
}

/// All who may be asked, in order, with what those said that were.
fn steps(
    names: impl IntoIterator<Item = Authenticator>,
    asked: Vec<Asked>,
    tokens: &[Authenticator],
) -> Vec<Step> {
    let mut asked = asked.into_iter().peekable();
    let step = |who: Authenticator| match asked.next_if(|asked| asked.who == who) {
        Some(asked) => step(asked, tokens),
        None => Step {
            authenticator: who.label().to_owned(),
            outcome: Outcome::NotAsked.into(),
            ..Step::default()
        },
    };
    names.into_iter().map(step).collect()
}

fn step(asked: Asked, tokens: &[Authenticator]) -> Step {
    let (outcome, rejections) = match &asked.said {
        None => (Outcome::NoAnswer, Vec::new()),
        Some(authn::Outcome::NoOpinion) => (Outcome::NoOpinion, Vec::new()),
        Some(authn::Outcome::Authenticated(_)) => (Outcome::Authenticated, Vec::new()),
        Some(authn::Outcome::Rejected(rejections)) => {
            (Outcome::Rejected, rejections.iter().map(rejection).collect())
        }
    };
    let lookup = asked.lookup.map_or(Lookup::Unspecified, |lookup| match lookup {
        authn::Lookup::Remembered => Lookup::Remembered,
        authn::Lookup::Asks => Lookup::Asked,
        authn::Lookup::Waits => Lookup::Shared,
    });
    let tokens = if asked.found_token { tokens } else { &[] };
    Step {
        authenticator: asked.who.label().to_owned(),
        outcome: outcome.into(),
        rejections,
        time: Some(duration(asked.took)),
        token_cache: lookup.into(),
        key_id: asked.key_id.unwrap_or_default(),
        token_authenticators: steps(tokens.iter().copied(), asked.others, &[]),
    }
}

fn rejection(rejection: &decision::Rejection) -> Rejection {
    let decision::Rejection { by, reason } = *rejection;
    Rejection {
        authenticator: by.label().to_owned(),
        reason: reason.code().to_owned(),
        meaning: words::of(reason).to_owned(),
        r#final: reason.is_final(),
        fault: reason.fault().label().to_owned(),
    }
}

fn identity(identity: &identity::Identity) -> Identity {
    let values = |values: identity::Texts<'_>| Values { values: values.map(str::to_owned).collect() };
    Identity {
        user: identity.username.to_string(),
        uid: identity.uid.to_string(),
        groups: identity.groups().map(str::to_owned).collect(),
        extra: identity.extra.iter().map(|(key, list)| (key.to_owned(), values(list))).collect(),
    }
}

fn unverified_token((found_by, token): (Authenticator, UnverifiedClaims)) -> UnverifiedToken {
    UnverifiedToken {
        found_by: found_by.label().to_owned(),
        key_id: token.key_id,
        algorithm: token.algorithm,
        claims: Some(structure(token.claims)),
    }
}

fn structure(members: serde_json::Map<String, serde_json::Value>) -> prost_types::Struct {
    prost_types::Struct { fields: members.into_iter().map(|(name, item)| (name, value(item))).collect() }
}

fn value(value: serde_json::Value) -> prost_types::Value {
    let kind = match value {
        serde_json::Value::Null => Kind::NullValue(prost_types::NullValue::NullValue.into()),
        serde_json::Value::Bool(value) => Kind::BoolValue(value),
        serde_json::Value::Number(number) => match number.as_f64().filter(|number| number.is_finite()) {
            Some(number) => Kind::NumberValue(number),
            None => Kind::StringValue(number.to_string()),
        },
        serde_json::Value::String(text) => Kind::StringValue(text),
        serde_json::Value::Array(items) => {
            Kind::ListValue(prost_types::ListValue { values: items.into_iter().map(self::value).collect() })
        }
        serde_json::Value::Object(members) => Kind::StructValue(structure(members)),
    };
    prost_types::Value { kind: Some(kind) }
}

/// What goes out, less a credential of ours.
fn check_response(reply: &Reply) -> Option<CheckResponse> {
    let mut response = CheckResponse::decode(reply.as_bytes()).ok()?;
    if let Some(HttpResponse::OkResponse(ok)) = &mut response.http_response {
        for header in ok.headers.iter_mut().filter_map(|option| option.header.as_mut()) {
            if header.key.eq_ignore_ascii_case("authorization") {
                header.value = BLANK.to_owned();
                header.raw_value = Vec::new();
            }
        }
    }
    Some(response)
}

fn duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    }
}
