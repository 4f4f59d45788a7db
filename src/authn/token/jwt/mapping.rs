//! From claims to an identity. Go: `jwtAuthenticator.AuthenticateToken` of
//! k8s.io/apiserver/plugin/pkg/authenticator/token/oidc/oidc.go, from `getUsername` on.

use std::collections::BTreeMap;

use super::claims::Claims;
use super::expression::{is_true, string, strings};
use super::settings::{
    ClaimMappings, ClaimOrExpression, JwtAuthenticator, PrefixedClaimOrExpression, ValidationRule,
};
use crate::cel::{Input, UserInfo};
use crate::decision::Reason;
use crate::identity::Identity;
use crate::jose::json::TypeError;

/// Which token it was. Go: `user.CredentialIDKey`.
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// What expressions see as `claims`.
type Any = serde_json::Map<String, serde_json::Value>;

/// The identity that the claims of a token make by a configuration, if they meet its rules.
pub(super) fn identity(settings: &JwtAuthenticator, claims: &Claims<'_>) -> Result<Identity, Reason> {
    // Only if there is an expression that looks at them.
    let any = if looks_at_claims(settings) {
        claims.to_any().map_err(|_| Reason::MalformedClaims)?
    } else {
        Any::new()
    };
    let mappings = &settings.claim_mappings;
    let identity = Identity {
        username: username(mappings, claims, &any)?,
        own_groups: groups(mappings, claims, &any)?.into(),
        uid: uid(mappings, claims, &any)?,
        extra: extra(mappings, claims, &any)?,
    };
    for (name, expected) in &settings.required_claims {
        if claims.string(name) != Ok(expected) {
            return Err(Reason::ClaimValidation);
        }
    }
    if !all_true(&settings.claim_validation_rules, Input::Claims(&any)) {
        return Err(Reason::ClaimValidation);
    }
    // Go: `newUserInfoValue`.
    let user = UserInfo {
        username: &identity.username,
        uid: &identity.uid,
        groups: &identity.own_groups,
        extra: &identity.extra,
    };
    if !all_true(&settings.user_validation_rules, Input::User(&user)) {
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

fn username(mappings: &ClaimMappings, claims: &Claims<'_>, any: &Any) -> Result<Box<str>, Reason> {
    let (claim, prefix) = match &mappings.username {
        PrefixedClaimOrExpression::Claim { claim, prefix } => (claim, prefix),
        PrefixedClaimOrExpression::Expression(expression) => {
            let username = string(expression, Input::Claims(any))?;
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

fn groups(mappings: &ClaimMappings, claims: &Claims<'_>, any: &Any) -> Result<Vec<Box<str>>, Reason> {
    match &mappings.groups {
        None => Ok(Vec::new()),
        Some(PrefixedClaimOrExpression::Claim { claim, prefix }) => {
            let Some(value) = claims.get(claim) else { return Ok(Vec::new()) };
            // "Some admins want to use string claims like "role" as the group value." Go: `stringOrArray`.
            let groups = value.strings().or_else(|_| value.string().map(|group| vec![group]));
            let prefixed = |group: &str| [prefix, group].concat().into();
            let groups = groups.map_err(|_: TypeError| Reason::ClaimMapping)?;
            Ok(groups.into_iter().map(prefixed).collect())
        }
        Some(PrefixedClaimOrExpression::Expression(expression)) => strings(expression, Input::Claims(any)),
    }
}

fn uid(mappings: &ClaimMappings, claims: &Claims<'_>, any: &Any) -> Result<Box<str>, Reason> {
    match &mappings.uid {
        None => Ok("".into()),
        Some(ClaimOrExpression::Claim(claim)) => {
            claims.string(claim).map(Into::into).map_err(|_| Reason::ClaimMapping)
        }
        Some(ClaimOrExpression::Expression(expression)) => string(expression, Input::Claims(any)),
    }
}

fn extra(
    mappings: &ClaimMappings,
    claims: &Claims<'_>,
    any: &Any,
) -> Result<BTreeMap<Box<str>, Vec<Box<str>>>, Reason> {
    let mut extra = BTreeMap::new();
    // Go: `getCredentialID`, to which a jti of another type is none.
    if let Ok(jti) = claims.string("jti")
        && !jti.is_empty()
    {
        extra.insert(CREDENTIAL_ID.into(), vec![format!("JTI={jti}").into()]);
    }
    for mapping in &mappings.extra {
        let values = strings(&mapping.value_expression, Input::Claims(any))?;
        if !values.is_empty() {
            extra.insert(mapping.key.as_str().into(), values);
        }
    }
    Ok(extra)
}

/// Go: `checkValidationRulesEvaluation`.
fn all_true(rules: &[ValidationRule], input: Input<'_>) -> bool {
    rules.iter().all(|rule| is_true(&rule.expression, input))
}
