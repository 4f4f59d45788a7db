//! `--authentication-config`: Kubernetes' `AuthenticationConfiguration` (k8s.io/apiserver/pkg/apis/apiserver/v1, v1beta1 and
//! v1alpha1).

pub(super) mod decode;
mod field_error;
mod names;
pub(super) mod types;
mod validate;

use crate::authn::token::jwt::settings::{JwtAuthenticator, SIGNING_ALGORITHMS};

pub(super) use field_error::FieldError;
pub(super) use types::AnonymousAuthConfig;
pub(super) use validate::validate;

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct AuthenticationConfiguration {
    /// Whether and where requests without credentials are let through.
    pub(super) anonymous: Option<AnonymousAuthConfig>,
    /// The issuers whose tokens are believed.
    pub(super) jwt: Vec<JwtAuthenticator>,
}

/// Reads the file: strict decoding, then validation, with Kubernetes' field paths and, where it has them, its words.
/// `disallowed_issuers` are those of service accounts.
pub(super) fn parse(
    text: &[u8],
    disallowed_issuers: &[String],
) -> Result<AuthenticationConfiguration, Vec<String>> {
    let types::AuthenticationConfiguration { jwt, anonymous } = decode::decode(text, &types::KIND)?;
    // With a file, every algorithm is allowed. Go: ToAuthenticationConfig.
    let (jwt, mut errors) = match validate(jwt, &SIGNING_ALGORITHMS, disallowed_issuers) {
        Ok(jwt) => (jwt, Vec::new()),
        Err(errors) => (Vec::new(), errors.iter().map(ToString::to_string).collect()),
    };
    if let Some(AnonymousAuthConfig { enabled: false, conditions }) = &anonymous
        && !conditions.is_empty()
    {
        let conditions: Vec<String> =
            conditions.iter().map(|c| format!("{{\"Path\":{:?}}}", c.path)).collect();
        errors.push(format!(
            "anonymous.conditions: Invalid value: [{}]: enabled should be set to true when conditions are defined",
            conditions.join(",")
        ));
    }
    if errors.is_empty() { Ok(AuthenticationConfiguration { anonymous, jwt }) } else { Err(errors) }
}

#[cfg(test)]
mod tests;
