//! What holds for every token.

use proptest::prelude::*;

use super::*;
use crate::authn::token::testing::not_of;

proptest! {
    /// Whatever is not a token of one of its issuers is left to others.
    #[test]
    fn no_bytes_but_a_token_of_an_issuer_are_its_own(
        bytes in not_of(&["https://issuer", "https://old", "kubernetes/serviceaccount"]),
    ) {
        for authenticator in [bound(), authenticator(Kind::Legacy { lookup: false }, &["rsa1.pub"])] {
            prop_assert_eq!(outcome(&authenticator, &bytes, at(NOW)), Outcome::NoOpinion);
        }
    }

    #[test]
    fn nothing_shows_a_claim_or_a_token(secret in "[a-z]{16}") {
        for claims in [bound_claims(), legacy_claims()] {
            let claims = with(claims, "/jti", Some(secret.clone().into()));
            let payload = BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
            let text = format!("{}.{payload}.{secret}", BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"RS256"}"#));
            for authenticator in [bound(), authenticator(Kind::Legacy { lookup: false }, &["rsa1.pub"])] {
                let refused = outcome(&authenticator, text.as_bytes(), at(NOW));
                let shown = format!("{:?} {refused:?} {authenticator:#?}", Token::new(text.as_bytes()));
                prop_assert!(!shown.contains(&secret) && !shown.contains(&payload), "{}", shown);
            }
        }
    }
}

/// A value that may stand where claims do.
fn value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        "[a-z:./ ]{0,12}".prop_map(Into::into),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
            prop::collection::vec(
                (prop::sample::select(vec!["name", "uid", "namespace", "pod"]), inner),
                0..4
            )
            .prop_map(|members| members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whoever signs may write what he likes: whatever comes out is an account of the shape that Kubernetes gives it, and not expired.
    #[test]
    fn no_signed_claims_make_it_panic_or_name_something_else(
        pointer in prop::sample::select(vec![
            "/exp", "/nbf", "/aud", "/jti", "/kubernetes.io", "/kubernetes.io/pod", "/kubernetes.io/namespace",
            "/kubernetes.io/node", "/kubernetes.io/serviceaccount", "/kubernetes.io/serviceaccount/name",
        ]),
        value in value(),
    ) {
        let claims = with(bound_claims(), pointer, Some(value));
        if let Some(Ok(username)) = say(&bound(), &token(&claims), at(NOW)) {
            prop_assert!(split_username(&username).is_some(), "{}", username);
            prop_assert!(claims["exp"].as_f64().is_some_and(|exp| exp >= 1_514_764_740.0));
        }
    }
}
