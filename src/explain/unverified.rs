//! What a signed token says of itself, which nobody has verified, without the token.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bstr::ByteSlice;
use serde_json::{Map, Value};

use crate::authn::Token;
use crate::jose::UnverifiedToken;

/// A token's own words.
pub(super) struct UnverifiedClaims {
    /// `alg`, or nothing.
    pub(super) algorithm: String,
    /// `kid`, or nothing.
    pub(super) key_id: String,
    pub(super) claims: Map<String, Value>,
}

/// What a token says, if it is a signed one of JSON.
pub(super) fn claims(Token { bytes: token, .. }: Token<'_>) -> Option<UnverifiedClaims> {
    let unverified = UnverifiedToken::decode(token)?;
    if unverified.payload().len() > MAX_PAYLOAD {
        return None;
    }
    let Ok(Value::Object(claims)) = serde_json::from_slice(unverified.payload()) else { return None };
    let header = token.split_str(".").next().filter(|header| header.len() <= MAX_PAYLOAD)?;
    let header: Value =
        BASE64_URL_SAFE_NO_PAD.decode(header).ok().and_then(|h| serde_json::from_slice(&h).ok())?;
    let member = |name: &str| header[name].as_str().unwrap_or_default().chars().take(MAX_NAME).collect();
    Some(UnverifiedClaims {
        algorithm: member("alg"),
        key_id: member("kid"),
        claims: without_secrets(claims, MAX_DEPTH),
    })
}

/// Leaves out what is deeper than `depth`, and blanks out what is or may be a token: those of aggregated and distributed claims (OpenID
/// Connect Core 1.0, section 5.6.2), and whatever else has the form of one.
fn without_secrets(members: Map<String, Value>, depth: usize) -> Map<String, Value> {
    let member = |(name, value): (String, Value)| {
        let value = match SECRETS.iter().any(|secret| name.eq_ignore_ascii_case(secret)) {
            true => Value::from(BLANK),
            false => without_secret(value, depth),
        };
        (name, value)
    };
    members.into_iter().map(member).collect()
}

fn without_secret(value: Value, depth: usize) -> Value {
    match value {
        Value::Object(_) | Value::Array(_) if depth == 0 => Value::from("[...]"),
        Value::Object(members) => Value::Object(without_secrets(members, depth - 1)),
        Value::Array(items) => items.into_iter().map(|item| without_secret(item, depth - 1)).collect(),
        Value::String(text) if looks_like_a_token(&text) => Value::from(BLANK),
        value => value,
    }
}

/// The compact serialization of JWS or JWE begins with a JSON object in base64url.
fn looks_like_a_token(text: &str) -> bool {
    text.contains("eyJ") && text.split('.').count() >= 3
}

/// Members whose value is a credential, or is in practice.
const SECRETS: [&str; 8] = [
    "access_token",
    "jwt",
    "id_token",
    "refresh_token",
    "token",
    "password",
    "client_secret",
    "authorization",
];

/// In place of a secret.
pub(super) const BLANK: &str = "[redacted]";

/// A payload that is longer is not shown, in bytes. Go's HTTP server takes more, but nobody reads it.
const MAX_PAYLOAD: usize = 64 << 10;

/// Characters that are shown of a name in a token's header.
const MAX_NAME: usize = 256;

/// Objects within objects that are shown. A service account's claims have three; protobuf decoders stop at a hundred messages, of which each
/// takes three.
const MAX_DEPTH: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str, payload: &str) -> String {
        let encode = |text: &str| BASE64_URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.c2lnbmF0dXJl", encode(header), encode(payload))
    }

    fn shown(payload: &str) -> Option<Value> {
        let token = token(r#"{"alg":"RS256"}"#, payload);
        claims(Token::new(token.as_bytes())).map(|token| Value::Object(token.claims))
    }

    #[test]
    fn a_signed_token_is_shown_by_its_claims_and_no_other_is() {
        let good = token(r#"{"alg":"none","kid":"k1"}"#, r#"{"iss":"https://i","exp":1}"#);
        let seen = claims(Token::new(good.as_bytes())).expect("a signed token");
        assert_eq!((&*seen.algorithm, &*seen.key_id), ("none", "k1"));
        assert_eq!(Value::Object(seen.claims), serde_json::json!({"iss": "https://i", "exp": 1}));
        for opaque in ["token-1", "a.b.c", "abcdef.0123456789abcdef", "", "..", &token("{}", "[1]")] {
            assert!(claims(Token::new(opaque.as_bytes())).is_none(), "{opaque}");
        }
    }

    /// OpenID Connect Core 1.0, section 5.6.2.
    #[test]
    fn tokens_within_a_token_are_blanked_out() {
        let inner = token(r#"{"alg":"RS256"}"#, r#"{"a":1}"#);
        let payload = format!(
            r#"{{"_claim_sources":{{"a":{{"JWT":"x"}},"b":{{"endpoint":"https://e","access_token":"s3cret"}}}},"list":["{inner}","v1.2.3"]}}"#
        );
        let expected = serde_json::json!({
            "_claim_sources": {"a": {"JWT": BLANK}, "b": {"endpoint": "https://e", "access_token": BLANK}},
            "list": [BLANK, "v1.2.3"],
        });
        assert_eq!(shown(&payload), Some(expected));
    }

    #[test]
    fn deep_claims_are_cut_off_and_long_ones_are_not_shown() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100), "]".repeat(100));
        let mut seen = &shown(&deep).expect("claims")["a"];
        for _ in 0..MAX_DEPTH {
            seen = &seen[0];
        }
        assert_eq!(seen, "[...]");
        assert_eq!(shown(&format!("{{\"a\":{}1{}}}", "[".repeat(1000), "]".repeat(1000))), None);
        assert_eq!(shown(&format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_PAYLOAD))), None);
    }
}
