//! Tokens that are nobody's.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use proptest::prelude::*;
use serde_json::{Value, json};

/// Bytes that are not the compact serialization of a token of one of these issuers: noise; parts of noise; a token of another issuer, whose
/// name is almost the same, or of another type; and tokens of these issuers in another form.
pub(super) fn not_of(issuers: &'static [&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let noise = prop::collection::vec(any::<u8>(), 0..300);
    let parts = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..6);
    let issuer = || prop::sample::select(issuers);
    let others = (header(), other_than(issuers)).prop_map(|(header, iss)| {
        let mut claims = json!({"aud": "my-client", "sub": "jane", "exp": 4_000_000_000_u64});
        claims.as_object_mut().expect("claims").extend(iss.map(|iss| ("iss".to_owned(), iss)));
        format!("{header}.{}.c2lnbmF0dXJl", encode(&claims)).into_bytes()
    });
    let other_forms = (header(), issuer(), 0..6_usize).prop_map(|(header, issuer, form)| {
        let claims = json!({"iss": issuer, "aud": "my-client", "sub": "jane"});
        let payload = encode(&claims);
        let text = match form {
            0 => payload,
            1 => format!("{header}.{payload}"),
            2 => format!("{header}.{payload}.c2ln.c2ln"),
            3 => format!("{header}.{payload}.c2ln.c2ln.c2ln"),
            4 => json!({"protected": header, "payload": payload, "signature": "c2ln"}).to_string(),
            _ => format!("{header}.{claims}.c2ln"),
        };
        text.into_bytes()
    });
    prop_oneof![noise, parts.prop_map(|parts| parts.join(&b'.')), others, other_forms]
}

fn encode(claims: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(claims.to_string())
}

fn header() -> impl Strategy<Value = String> {
    let algorithm = prop::sample::select(vec!["RS256", "ES256", "none", "HS256"]);
    algorithm.prop_map(|alg| encode(&json!({"alg": alg, "kid": "r1"})))
}

/// What the claim `iss` may be, if it is there, without being one of these.
fn other_than(issuers: &'static [&'static str]) -> impl Strategy<Value = Option<Value>> {
    let issuer = || prop::sample::select(issuers);
    let near = (issuer(), prop::sample::select(vec!["/", " ", "x", "\0", "#"]), any::<bool>());
    let near = near.prop_map(
        |(issuer, more, behind)| {
            if behind { format!("{issuer}{more}") } else { format!("{more}{issuer}") }
        },
    );
    let shorter = (issuer(), any::<prop::sample::Index>())
        .prop_map(|(issuer, length)| issuer[..length.index(issuer.len())].to_owned());
    let name = prop_oneof![any::<String>(), near, shorter, issuer().prop_map(str::to_uppercase)];
    let name = name.prop_filter("another", move |name| !issuers.contains(&&**name));
    prop_oneof![
        Just(None),
        name.prop_map(|name| Some(name.into())),
        any::<i64>().prop_map(|number| Some(number.into())),
        Just(Some(Value::Null)),
        issuer().prop_map(|issuer| Some(json!([issuer]))),
        issuer().prop_map(|issuer| Some(json!({"iss": issuer}))),
    ]
}
