//! Arbitrary claims of a verified token, mapped by name and by expression.
#![no_main]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use countersign::authn::token::jwt::identity_of;
use countersign::authn::token::jwt::settings::{
    ClaimMappings, ClaimOrExpression, ExtraMapping, Issuer, JwtAuthenticator, PrefixedClaimOrExpression,
    SIGNING_ALGORITHMS, ValidationRule,
};
use countersign::cel::{Expression, Returns, Scope};
use libfuzzer_sys::fuzz_target;

fn expression(text: &str, scope: Scope, returns: Returns) -> Expression {
    Expression::compile(text, scope, returns).unwrap()
}

fn settings(claim_mappings: ClaimMappings, rules: bool) -> JwtAuthenticator {
    let rule =
        |text, scope| ValidationRule { expression: expression(text, scope, Returns::Bool), message: None };
    JwtAuthenticator {
        issuer: Issuer {
            url: "https://a.test".to_owned(),
            discovery_url: None,
            certificate_authority: None,
            audiences: vec!["a".to_owned()],
        },
        signing_algorithms: SIGNING_ALGORITHMS.to_vec(),
        required_claims: BTreeMap::new(),
        claim_validation_rules: rules
            .then(|| rule("has(claims.sub) && claims.sub != ''", Scope::Claims))
            .into_iter()
            .collect(),
        claim_mappings,
        user_validation_rules: rules
            .then(|| rule("!user.username.startsWith('system:')", Scope::User))
            .into_iter()
            .collect(),
    }
}

static BY_NAME: LazyLock<JwtAuthenticator> = LazyLock::new(|| {
    let claim =
        |claim: &str| PrefixedClaimOrExpression::Claim { claim: claim.to_owned(), prefix: "p:".to_owned() };
    let mappings = ClaimMappings {
        username: claim("email"),
        groups: Some(claim("groups")),
        uid: Some(ClaimOrExpression::Claim("sub".to_owned())),
        extra: Vec::new(),
    };
    settings(mappings, false)
});

static BY_EXPRESSION: LazyLock<JwtAuthenticator> = LazyLock::new(|| {
    let claims = |text| expression(text, Scope::Claims, Returns::Any);
    let extra = |key: &str, text| ExtraMapping { key: key.to_owned(), value_expression: claims(text) };
    let mappings = ClaimMappings {
        username: PrefixedClaimOrExpression::Expression(claims("'p:' + claims.sub")),
        groups: Some(PrefixedClaimOrExpression::Expression(claims("dyn(claims.groups).map(g, 'p:' + g)"))),
        uid: Some(ClaimOrExpression::Expression(claims("string(claims.uid)"))),
        extra: vec![
            extra("a.test/all", "claims.?roles.orValue([])"),
            extra("a.test/exp", "string(claims.exp)"),
        ],
    };
    settings(mappings, true)
});

fuzz_target!(|data: &[u8]| {
    if let Some(identity) = identity_of(&BY_NAME, data) {
        assert!(identity.username.starts_with("p:"));
        assert!(identity.own_groups.iter().all(|group| group.starts_with("p:")));
    }
    if let Some(identity) = identity_of(&BY_EXPRESSION, data) {
        assert!(identity.username.starts_with("p:"));
        assert!(identity.own_groups.iter().all(|group| group.starts_with("p:")));
        let keys: Vec<&str> = identity.extra.iter().map(|(key, _)| key).collect();
        let known = ["a.test/all", "a.test/exp", "authentication.kubernetes.io/credential-id"];
        assert!(keys.iter().all(|key| known.contains(key)), "{keys:?}");
    }
});
