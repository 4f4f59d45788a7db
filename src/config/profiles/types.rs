//! What can be written.

use crate::config::authentication_configuration::AnonymousAuthConfig;
use crate::config::decode::{Fields, Object};

/// The file, without its kind and version.
#[derive(Debug, Default)]
pub(super) struct ProfileConfiguration {
    pub(super) profiles: Vec<Profile>,
}

/// A policy. What is not there is as the flags have it.
#[derive(Debug, Default)]
pub(super) struct Profile {
    pub(super) name: String,
    pub(super) authenticators: Option<Vec<String>>,
    pub(super) audiences: Option<Vec<String>>,
    pub(super) anonymous: Option<AnonymousAuthConfig>,
    pub(super) identity_headers: Option<IdentityHeaders>,
}

/// Named as the flags: `--identity-headers` (mode), `--identity-user-header` and so on, `--groups-encoding`.
#[derive(Debug, Default)]
pub(super) struct IdentityHeaders {
    pub(super) mode: Option<String>,
    pub(super) user: Option<String>,
    pub(super) uid: Option<String>,
    pub(super) group: Option<String>,
    pub(super) extra_prefix: Option<String>,
    pub(super) groups_encoding: Option<String>,
}

impl Fields for ProfileConfiguration {
    fn take_from(object: &mut Object<'_>) -> Self {
        Self { profiles: object.take("profiles") }
    }
}

impl Fields for Profile {
    fn take_from(object: &mut Object<'_>) -> Self {
        Self {
            name: object.take("name"),
            authenticators: object.take("authenticators"),
            audiences: object.take("audiences"),
            anonymous: object.take("anonymous"),
            identity_headers: object.take("identityHeaders"),
        }
    }
}

impl Fields for IdentityHeaders {
    fn take_from(object: &mut Object<'_>) -> Self {
        Self {
            mode: object.take("mode"),
            user: object.take("user"),
            uid: object.take("uid"),
            group: object.take("group"),
            extra_prefix: object.take("extraPrefix"),
            groups_encoding: object.take("groupsEncoding"),
        }
    }
}
