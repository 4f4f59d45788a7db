//! What `--authentication-config`, `--anonymous-auth` and the `--oidc-*` flags say together (Go:
//! `BuiltInAuthenticationOptions.ToAuthenticationConfig` of k8s.io/kubernetes/pkg/kubeapiserver/options/authentication.go).

use super::authentication_configuration::{self, AnonymousAuthConfig, AuthenticationConfiguration};
use super::oidc_flags;
use super::options::option;
use super::values::Values;
use crate::authn::Anonymous;
use crate::authn::token::jwt::settings::JwtAuthenticator;

/// The authenticators that these describe.
pub(super) struct Authentication {
    /// Of JWTs, in order.
    pub(super) jwt: Vec<JwtAuthenticator>,
    pub(super) anonymous: Option<Anonymous>,
}

/// Reads them. `disallowed_issuers` are those of service accounts, whose tokens are not for JWT authenticators.
pub(super) fn read(
    values: &mut Values<'_>,
    disallowed_issuers: &[String],
    warnings: &mut Vec<String>,
) -> Authentication {
    let (place, AuthenticationConfiguration { mut jwt, anonymous: from_file }) =
        file(values, disallowed_issuers);
    jwt.extend(oidc_flags::authenticator(values, disallowed_issuers, warnings));
    Authentication { jwt, anonymous: anonymous(values, from_file, &place, warnings) }
}

/// The file that `--authentication-config` names, and what it says.
fn file(values: &mut Values<'_>, disallowed_issuers: &[String]) -> (String, AuthenticationConfiguration) {
    let Some(file) = values.authentication_config() else { return Default::default() };
    let configuration = authentication_configuration::parse(&file.bytes, disallowed_issuers);
    let configuration = configuration.map_err(|errors| values.file_errors(&file, errors));
    (file.place, configuration.unwrap_or_default())
}

/// The flag, or what the file says instead.
fn anonymous(
    values: &mut Values<'_>,
    from_file: Option<AnonymousAuthConfig>,
    place: &str,
    warnings: &mut Vec<String>,
) -> Option<Anonymous> {
    let flag = option("anonymous-auth");
    let allowed = values.bool(flag);
    let Some(from_file) = from_file else {
        return allowed.then(|| Anonymous::new([]));
    };
    if values.is_set(flag) {
        values.error(
            &format!("{place}: anonymous"),
            "Forbidden: --anonymous-auth flag cannot be set when anonymous field is configured in authentication \
             configuration file; remove one of the two",
        );
    }
    from_file.authenticator(&format!("{place}: anonymous"), warnings)
}

#[cfg(test)]
mod tests;
