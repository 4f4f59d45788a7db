//! `--authentication-config`: Kubernetes' `AuthenticationConfiguration` (k8s.io/apiserver/pkg/apis/apiserver/v1, v1beta1 and
//! v1alpha1).

mod names;
pub(super) mod types;
mod validate;

use super::decode::{self, Kind};
use crate::authn::Anonymous;
use crate::authn::token::jwt::settings::{JwtAuthenticator, SIGNING_ALGORITHMS};

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
    let types::AuthenticationConfiguration { jwt, anonymous } = decode::decode(text, &KIND)?;
    // With a file, every algorithm is allowed. Go: ToAuthenticationConfig.
    let (jwt, mut errors) = match validate(jwt, &SIGNING_ALGORITHMS, disallowed_issuers) {
        Ok(jwt) => (jwt, Vec::new()),
        Err(errors) => (Vec::new(), errors.iter().map(ToString::to_string).collect()),
    };
    errors.extend(anonymous.as_ref().and_then(|anonymous| anonymous.problem("anonymous")));
    if errors.is_empty() { Ok(AuthenticationConfiguration { anonymous, jwt }) } else { Err(errors) }
}

impl AnonymousAuthConfig {
    /// What is wrong with it, at `path`. Go: `ValidateAuthenticationConfiguration`
    /// of k8s.io/apiserver/pkg/apis/apiserver/validation/validation.go.
    pub(super) fn problem(&self, path: &str) -> Option<String> {
        if self.enabled || self.conditions.is_empty() {
            return None;
        }
        let conditions = self.conditions.iter().map(|c| format!("{{\"Path\":{:?}}}", c.path));
        Some(format!(
            "{path}.conditions: Invalid value: [{}]: enabled should be set to true when conditions are defined",
            conditions.collect::<Vec<_>>().join(",")
        ))
    }

    /// What it lets in. Warns of conditions that let nobody in.
    pub(super) fn authenticator(self, place: &str, warnings: &mut Vec<String>) -> Option<Anonymous> {
        for (index, condition) in self.conditions.iter().enumerate() {
            let path = crate::request::Path::new(condition.path.as_bytes());
            if path.unambiguous().as_deref() != Some(&*condition.path) {
                warnings.push(format!(
                    "{place}.conditions[{index}].path: {:?} never matches: a condition is a plain path, without query, escapes, \
                     dot segments, `//`, `;` or `#`",
                    condition.path
                ));
            }
        }
        self.enabled.then(|| Anonymous::new(self.conditions.into_iter().map(|c| c.path.into())))
    }
}

/// Go: `AuthenticationConfiguration` of k8s.io/apiserver/pkg/apis/apiserver.
const KIND: Kind = Kind {
    name: "AuthenticationConfiguration",
    versions: &[
        "apiserver.config.k8s.io/v1",
        "apiserver.config.k8s.io/v1beta1",
        "apiserver.config.k8s.io/v1alpha1",
    ],
};

#[cfg(test)]
mod tests;
