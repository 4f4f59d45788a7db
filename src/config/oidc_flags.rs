//! The `--oidc-*` flags, which describe one JWT authenticator (Go: `OIDCAuthenticationOptions` of
//! k8s.io/kubernetes/pkg/kubeapiserver/options/authentication.go).

use std::collections::BTreeMap;

use super::authentication_configuration::types::{
    ClaimMappings, ClaimValidationRule, Issuer, JwtAuthenticator as Written, PrefixedClaimOrExpression,
};
use super::authentication_configuration::validate;
use super::field_error::FieldError;
use super::options::option;
use super::values::Values;
use crate::authn::token::jwt::settings::{JwtAuthenticator, SIGNING_ALGORITHMS};

/// The authenticator that the flags describe, if any of them is set. `disallowed_issuers` are those of service accounts. Go:
/// `validateOIDCOptions`, `ToAuthenticationConfig`.
pub(super) fn authenticator(
    values: &mut Values<'_>,
    disallowed_issuers: &[String],
    warnings: &mut Vec<String>,
) -> Option<JwtAuthenticator> {
    let set = FLAGS.into_iter().find(|name| values.is_set(option(name)))?;
    if !values.text(option("authentication-config")).is_empty() {
        let place = values.place(option(set));
        values.error(
            &place,
            "authentication-config file and oidc-* flags are mutually exclusive; write an issuer into the file, or remove the file",
        );
        return None;
    }
    let written = written(values, warnings);
    let signing_algorithms = signing_algorithms(values);
    if written.issuer.url.is_empty() || written.issuer.audiences.is_empty() {
        let place = values.place(option(set));
        values.error(
            &place,
            "oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set",
        );
        return None;
    }
    match validate(vec![written], &signing_algorithms, disallowed_issuers) {
        Ok(authenticators) => authenticators.into_iter().next(),
        Err(errors) => {
            for error in errors {
                let place = values.place(option(flag_of(&error)));
                values.error(&place, &error.problem);
            }
            None
        }
    }
}

const FLAGS: [&str; 9] = [
    "oidc-issuer-url",
    "oidc-client-id",
    "oidc-ca-file",
    "oidc-username-claim",
    "oidc-username-prefix",
    "oidc-groups-claim",
    "oidc-groups-prefix",
    "oidc-signing-algs",
    "oidc-required-claim",
];

/// What a file would have to say. Go: `ToAuthenticationConfig`.
fn written(values: &mut Values<'_>, warnings: &mut Vec<String>) -> Written {
    let url = values.text(option("oidc-issuer-url"));
    let client_id = Some(values.text(option("oidc-client-id"))).filter(|id| !id.is_empty());
    let claim_mappings = claim_mappings(values, &url);
    let issuer = Issuer {
        url,
        audiences: client_id.into_iter().collect(),
        certificate_authority: certificate_authority(values, warnings),
        ..Issuer::default()
    };
    let claim_validation_rules = required_claims(values);
    Written { issuer, claim_validation_rules, claim_mappings, ..Written::default() }
}

/// Go: `oidc.New` (k8s.io/apiserver/plugin/pkg/authenticator/token/oidc), whose default is the flag's.
fn signing_algorithms(values: &mut Values<'_>) -> Vec<&'static str> {
    let flag = option("oidc-signing-algs");
    let mut algorithms = Vec::new();
    for name in values.list(flag) {
        match SIGNING_ALGORITHMS.into_iter().find(|algorithm| *algorithm == name) {
            Some(algorithm) => algorithms.push(algorithm),
            None => {
                let place = values.place(flag);
                let supported = SIGNING_ALGORITHMS.join(", ");
                values.error(
                    &place,
                    &format!("oidc: unsupported signing alg: {name:?}; supported are {supported}"),
                );
            }
        }
    }
    if algorithms.is_empty() {
        algorithms.push("RS256");
    }
    algorithms
}

/// Go: `ToAuthenticationConfig`, to which an empty file is none.
fn certificate_authority(values: &mut Values<'_>, warnings: &mut Vec<String>) -> Vec<u8> {
    let Some(file) = values.file(option("oidc-ca-file")) else { return Vec::new() };
    if file.bytes.is_empty() {
        warnings.push(format!(
            "{}: empty, so the issuer's certificate is verified with the system's roots, as kube-apiserver does",
            file.place
        ));
    }
    file.bytes.to_vec()
}

/// Of a claim that is named twice the last counts. Go: `MapStringString.Set` (k8s.io/component-base/cli/flag).
fn required_claims(values: &mut Values<'_>) -> Vec<ClaimValidationRule> {
    let flag = option("oidc-required-claim");
    let mut claims = BTreeMap::new();
    for pair in values.repeated(flag) {
        match pair.split_once('=') {
            Some((claim, value)) => {
                claims.insert(claim.trim().to_owned(), value.trim().to_owned());
            }
            None => {
                let place = values.place(flag);
                values.error(
                    &place,
                    &format!("{pair:?}: malformed pair, expect string=string; write claim=value"),
                );
            }
        }
    }
    let rule = |(claim, required_value)| ClaimValidationRule {
        claim,
        required_value,
        ..ClaimValidationRule::default()
    };
    claims.into_iter().map(rule).collect()
}

fn claim_mappings(values: &Values<'_>, issuer: &str) -> ClaimMappings {
    let claim = |claim, prefix| PrefixedClaimOrExpression {
        claim,
        prefix: Some(prefix),
        ..PrefixedClaimOrExpression::default()
    };
    let username = values.text(option("oidc-username-claim"));
    let prefix = match &*values.text(option("oidc-username-prefix")) {
        "-" => String::new(),
        // Names of different issuers must not clash.
        "" if username != "email" => format!("{issuer}#"),
        prefix => prefix.to_owned(),
    };
    let groups = values.text(option("oidc-groups-claim"));
    ClaimMappings {
        username: claim(username, prefix),
        groups: claim(groups, values.text(option("oidc-groups-prefix"))),
        ..ClaimMappings::default()
    }
}

/// The flag that a field was made of.
fn flag_of(error: &FieldError) -> &'static str {
    let field = |path: &str| error.field.starts_with(path);
    if field("jwt[0].issuer.certificateAuthority") {
        "oidc-ca-file"
    } else if field("jwt[0].claimMappings.username") {
        "oidc-username-claim"
    } else if field("jwt[0].claimValidationRules") {
        "oidc-required-claim"
    } else {
        "oidc-issuer-url"
    }
}

#[cfg(test)]
mod tests;
