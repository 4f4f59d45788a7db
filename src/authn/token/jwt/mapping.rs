//! From claims to an identity. Go: `jwtAuthenticator.AuthenticateToken` of
//! k8s.io/apiserver/plugin/pkg/authenticator/token/oidc/oidc.go, from `getUsername` on.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::claims::Claims;
use super::settings::{
    ClaimMappings, ClaimOrExpression, ExtraMapping, JwtAuthenticator, PrefixedClaimOrExpression,
    ValidationRule,
};
use crate::cel::{Expression, Input, UserInfo, Value};
use crate::decision::Reason;
use crate::identity::{CREDENTIAL_ID, Extra, Groups, Identity};
use crate::json::{Object, TypeError};

/// The identity that the claims of a token make by a configuration, if they meet its rules.
pub(super) fn identity(settings: &JwtAuthenticator, claims: &Claims<'_>) -> Result<Identity, Reason> {
    // Only if there is an expression that looks at them.
    let any = if looks_at_claims(settings) {
        claims.to_any().map_err(|_| Reason::ClaimOutOfRange)?
    } else {
        Cow::Owned(Object::default())
    };
    let mappings = &settings.claim_mappings;
    let identity = Identity::new(
        username(mappings, claims, &any)?,
        uid(mappings, claims, &any)?,
        groups(mappings, claims, &any)?,
        extra(mappings, claims, &any)?,
    );
    for (name, expected) in &settings.required_claims {
        if claims.string(name) != Ok(expected) {
            return Err(Reason::ClaimValidation);
        }
    }
    if !all_true(&settings.claim_validation_rules, Input::Claims(&any)) {
        return Err(Reason::ClaimValidation);
    }
    if !meets(&settings.user_validation_rules, &identity) {
        return Err(Reason::UserValidation);
    }
    Ok(identity)
}

fn looks_at_claims(settings: &JwtAuthenticator) -> bool {
    let ClaimMappings { username, groups, uid, extra } = &settings.claim_mappings;
    matches!(username, PrefixedClaimOrExpression::Expression(_))
        || matches!(groups, Some(PrefixedClaimOrExpression::Expression(_)))
        || matches!(uid, Some(ClaimOrExpression::Expression(_)))
        || !extra.is_empty()
        || !settings.claim_validation_rules.is_empty()
}

fn username(mappings: &ClaimMappings, claims: &Claims<'_>, any: &Object<'_>) -> Result<Box<str>, Reason> {
    let (claim, prefix) = match &mappings.username {
        PrefixedClaimOrExpression::Claim { claim, prefix } => (claim, prefix),
        PrefixedClaimOrExpression::Expression(expression) => {
            let username = string(expression, any)?;
            return if username.is_empty() { Err(Reason::ClaimMapping) } else { Ok(username) };
        }
    };
    let username = claims.string(claim).map_err(|_| Reason::ClaimMapping)?;
    // "If the email_verified claim is present, ensure the email is valid" (OpenID Connect Core 1.0, section 5.1).
    if claim == "email" && claims.get("email_verified").is_some_and(|verified| verified.bool() != Ok(true)) {
        return Err(Reason::EmailNotVerified);
    }
    Ok([prefix, username].concat().into())
}

fn groups(mappings: &ClaimMappings, claims: &Claims<'_>, any: &Object<'_>) -> Result<Groups, Reason> {
    match &mappings.groups {
        None => Ok(Groups::default()),
        Some(PrefixedClaimOrExpression::Claim { claim, prefix }) => {
            let Some(value) = claims.get(claim) else { return Ok(Groups::default()) };
            // "Some admins want to use string claims like "role" as the group value." Go: `stringOrArray`.
            let groups = value.strings().or_else(|_| value.string().map(|group| vec![group]));
            Ok(Groups::prefixed(prefix, groups.map_err(|_: TypeError| Reason::ClaimMapping)?))
        }
        Some(PrefixedClaimOrExpression::Expression(expression)) => {
            Ok(Groups::new(strings(&evaluate(expression, any)?)?))
        }
    }
}

fn uid(mappings: &ClaimMappings, claims: &Claims<'_>, any: &Object<'_>) -> Result<Box<str>, Reason> {
    match &mappings.uid {
        None => Ok("".into()),
        Some(ClaimOrExpression::Claim(claim)) => {
            claims.string(claim).map(Into::into).map_err(|_| Reason::ClaimMapping)
        }
        Some(ClaimOrExpression::Expression(expression)) => string(expression, any),
    }
}

fn extra<'a>(mappings: &'a ClaimMappings, claims: &Claims<'_>, any: &'a Object<'a>) -> Result<Extra, Reason> {
    // Go: `getCredentialID`, to which a jti of another type is none.
    let jti = claims.string("jti").ok().filter(|jti| !jti.is_empty());
    let credential_id = jti.map(|jti| (CREDENTIAL_ID, [["JTI=", jti].concat()]));
    if mappings.extra.is_empty() {
        return Ok(Extra::new(credential_id));
    }
    let evaluated =
        |mapping: &'a ExtraMapping| Ok((&*mapping.key, evaluate(&mapping.value_expression, any)?));
    let evaluated = mappings.extra.iter().map(evaluated).collect::<Result<Vec<_>, Reason>>()?;
    let mut extra: BTreeMap<&str, Vec<&str>> = credential_id
        .iter()
        .map(|(key, values)| (*key, values.iter().map(String::as_str).collect()))
        .collect();
    for (key, value) in &evaluated {
        let values = strings(value)?;
        if !values.is_empty() {
            extra.insert(key, values);
        }
    }
    Ok(Extra::new(extra))
}

/// Whether a user meets these rules. Go: `newUserInfoValue`.
fn meets(rules: &[ValidationRule], Identity { username, uid, own_groups, extra, .. }: &Identity) -> bool {
    if rules.is_empty() {
        return true;
    }
    let groups: Vec<&str> = own_groups.iter().collect();
    let extra = extra.iter().map(|(key, values)| (key, values.collect())).collect();
    all_true(rules, Input::User(UserInfo { username, uid, groups: &groups, extra: &extra }))
}

/// Go: `checkValidationRulesEvaluation`. An error is a refusal too.
fn all_true(rules: &[ValidationRule], input: Input<'_>) -> bool {
    let is_true = |rule: &ValidationRule| matches!(rule.expression.evaluate(input), Ok(value) if value.as_bool() == Some(true));
    rules.iter().all(is_true)
}

fn string(expression: &Expression, any: &Object<'_>) -> Result<Box<str>, Reason> {
    evaluate(expression, any)?.as_str().map(Into::into).ok_or(Reason::ClaimMapping)
}

fn strings<'v>(value: &'v Value<'_>) -> Result<Vec<&'v str>, Reason> {
    value.strings().map_err(|_| Reason::ClaimMapping)
}

fn evaluate<'a>(expression: &'a Expression, any: &'a Object<'a>) -> Result<Value<'a>, Reason> {
    expression.evaluate(Input::Claims(any)).map_err(|_| Reason::ClaimMapping)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::settings::Issuer;
    use super::*;
    use crate::cel::{Returns, Scope};
    use crate::json;

    fn claim(claim: &str, prefix: &str) -> PrefixedClaimOrExpression {
        PrefixedClaimOrExpression::Claim { claim: claim.to_owned(), prefix: prefix.to_owned() }
    }

    fn settings(username: &str) -> JwtAuthenticator {
        JwtAuthenticator {
            issuer: Issuer {
                url: String::new(),
                discovery_url: None,
                certificate_authority: None,
                audiences: Vec::new(),
            },
            signing_algorithms: Vec::new(),
            required_claims: [("hd".to_owned(), String::new())].into(),
            claim_validation_rules: Vec::new(),
            claim_mappings: ClaimMappings {
                username: claim(username, "u:"),
                groups: Some(claim("groups", "g:")),
                uid: Some(ClaimOrExpression::Claim("uid".to_owned())),
                extra: Vec::new(),
            },
            user_validation_rules: Vec::new(),
        }
    }

    /// Name, uid and groups, with this beside claims that will do.
    fn map(username: &str, more: &str) -> Result<(String, String, String), Reason> {
        let claims = format!(r#"{{"sub":"s","uid":"1","hd":""{more}}}"#);
        let Ok(json::Value::Object(claims)) = json::Value::parse(claims.as_bytes()) else {
            panic!("{claims}")
        };
        let Identity { username, uid, own_groups, .. } =
            identity(&settings(username), &Claims::new(&claims))?;
        Ok((username.into(), uid.into(), own_groups.iter().collect::<Vec<_>>().join(" ")))
    }

    /// Go: `unmarshalClaim` and `stringOrArray`, TestUnmarshalClaim of oidc_test.go: names are exact, the last one counts, `null` is empty.
    #[test]
    fn claims_are_decoded_as_go_decodes_them() {
        let ok =
            |username: &str, uid: &str, groups: &str| Ok([username, uid, groups].map(str::to_owned).into());
        let table = [
            ("", ok("u:s", "1", "")),
            (r#","sub":"t","SUB":"x""#, ok("u:t", "1", "")),
            (r#","sub":null"#, ok("u:", "1", "")),
            (r#","sub":1"#, Err(Reason::ClaimMapping)),
            (r#","sub":1,"sub":"t""#, ok("u:t", "1", "")),
            (r#","groups":["a","a",null,""]"#, ok("u:s", "1", "g:a g:a g: g:")),
            (r#","groups":"a b""#, ok("u:s", "1", "g:a b")),
            (r#","groups":"""#, ok("u:s", "1", "g:")),
            (r#","groups":null"#, ok("u:s", "1", "")),
            (r#","groups":[["a"]]"#, Err(Reason::ClaimMapping)),
            (r#","groups":true"#, Err(Reason::ClaimMapping)),
            (r#","Groups":"a""#, ok("u:s", "1", "")),
            (r#","uid":null"#, ok("u:s", "", "")),
            (r#","uid":7"#, Err(Reason::ClaimMapping)),
            (r#","hd":null"#, ok("u:s", "1", "")),
            (r#","hd":"x""#, Err(Reason::ClaimValidation)),
            (r#","hd":[]"#, Err(Reason::ClaimValidation)),
        ];
        for (more, expected) in table {
            assert_eq!(map("sub", more), expected, "{more}");
        }
        assert_eq!(map("name", ""), Err(Reason::ClaimMapping));
        let emails = [
            (r#","email":"a@b""#, ok("u:a@b", "1", "")),
            (r#","email":"a@b","email_verified":true"#, ok("u:a@b", "1", "")),
            (r#","email":"a@b","email_verified":false"#, Err(Reason::EmailNotVerified)),
            (r#","email":"a@b","email_verified":null"#, Err(Reason::EmailNotVerified)),
            (r#","email":"a@b","email_verified":"true""#, Err(Reason::EmailNotVerified)),
            (r#","email":"a@b","email_verified":true,"email_verified":false"#, Err(Reason::EmailNotVerified)),
            (r#","email":"a@b","EMAIL_VERIFIED":false"#, ok("u:a@b", "1", "")),
        ];
        for (more, expected) in emails {
            assert_eq!(map("email", more), expected, "{more}");
        }
        assert_eq!(map("sub", r#","email_verified":false"#), ok("u:s", "1", ""), "of no interest here");
    }

    /// Kubernetes decodes a claim when an expression looks at it, so it may know somebody here.
    #[test]
    fn a_number_beyond_a_double_is_refused_where_there_are_expressions_and_is_the_last_word() {
        let Ok(json::Value::Object(claims)) =
            json::Value::parse(br#"{"sub":"s","uid":"1","hd":"","n":1e400}"#)
        else {
            panic!("not an object")
        };
        let mut settings = settings("sub");
        assert_eq!(identity(&settings, &Claims::new(&claims)).map(|found| found.username), Ok("u:s".into()));
        let subject = Expression::compile("claims.sub", Scope::Claims, Returns::Any).unwrap();
        settings.claim_mappings.uid = Some(ClaimOrExpression::Expression(subject));
        assert_eq!(identity(&settings, &Claims::new(&claims)), Err(Reason::ClaimOutOfRange));
        assert!(Reason::ClaimOutOfRange.is_final());
    }

    proptest! {
        #[test]
        fn no_claims_make_it_panic(name in "(sub|groups|uid|hd|jti|email|email_verified)", value in "(null|true|1e400|\"[a-z]?\"|\\[(\"a\",)?null\\]|\\{\\})") {
            let _any = (map("sub", &format!(r#","{name}":{value}"#)), map("email", &format!(r#","{name}":{value}"#)));
        }
    }
}
