//! `--profiles-file`: other policies than that of the flags, for routes that name one of them in Envoy's `context_extensions`.
//!
//! ```yaml
//! apiVersion: countersign/v1alpha1
//! kind: ProfileConfiguration
//! profiles:
//! - name: public
//!   authenticators: [x509, jwt]
//!   audiences: [api]
//!   anonymous: {enabled: true, conditions: [{path: /healthz}]}
//!   identityHeaders: {user: X-App-User}
//! ```
//!
//! What a profile does not say is as the flags have it, and there are no authenticators but theirs: it chooses among them, and says for
//! whom their tokens must be.

#[cfg(test)]
mod tests;
mod types;

use std::collections::HashSet;
use std::sync::Arc;

use super::decode::{self, Kind};
use super::field_error::FieldError;
use super::identity_headers::{GroupsEncoding, IdentityHeaders, header_name};
use super::options::{self, option};
use super::values::Values;
use super::{NO_METADATA, ReplyConfig};
use crate::authn::Anonymous;
use crate::chain::{ChainProfile, Members};
use crate::decision::Authenticator;
use crate::impersonation::Impersonation;

/// As many as a file may have: their names are labels of metrics. Kubernetes allows as many issuers of JSON Web Tokens.
const MAX_PROFILES: usize = 64;

/// The name of the flags' own policy, which a route may name like any other.
pub const DEFAULT_PROFILE: &str = "default";

/// No domain: the group is no API of a cluster, and we own none.
const KIND: Kind = Kind { name: "ProfileConfiguration", versions: &["countersign/v1alpha1"] };

/// The policy of the routes that name it.
#[derive(Debug)]
pub struct Profile {
    /// A label as in RFC 1123.
    pub name: Box<str>,
    /// Its chain.
    pub chain: ChainProfile,
    /// How it tells an identity to the upstream; none: as the flags have it.
    pub reply: Option<ReplyConfig>,
}

/// The file as it is written.
#[derive(Default)]
pub(super) struct Written {
    place: String,
    profiles: Vec<types::Profile>,
}

/// Reads the file, if there is one.
pub(super) fn read(values: &mut Values<'_>) -> Written {
    let Some(file) = values.file(option("profiles-file")) else { return Written::default() };
    let decoded = decode::decode(&file.bytes, &KIND).map_err(|errors| values.file_errors(&file, errors));
    let types::ProfileConfiguration { profiles } = decoded.unwrap_or_default();
    if profiles.len() > MAX_PROFILES {
        values.file_errors(&file, vec![FieldError::too_many("profiles", profiles.len(), MAX_PROFILES)]);
        return Written::default();
    }
    Written { place: file.place, profiles }
}

impl Written {
    /// Whether one of them tells the identity in `Impersonate-*`.
    pub(super) fn impersonates(&self) -> bool {
        let headers = self.profiles.iter().filter_map(|profile| profile.identity_headers.as_ref());
        headers.into_iter().any(|headers| headers.mode.as_deref() == Some(IMPERSONATE))
    }

    /// What they are, beside the chain and the replies of the flags. `impersonation` is what it takes for those that tell the identity so.
    pub(super) fn profiles(
        self,
        values: &mut Values<'_>,
        members: &Members,
        reply: &ReplyConfig,
        impersonation: Option<&Impersonation>,
        warnings: &mut Vec<String>,
    ) -> Vec<Profile> {
        let Self { place, profiles } = self;
        let flags = Flags {
            configured: configured(values, members),
            anonymous: members.anonymous.as_ref(),
            headers: names_of_flags(values),
            reply,
            impersonation,
        };
        let mut reader = Reader { flags, errors: Vec::new(), place: &place, warnings };
        let mut names = HashSet::new();
        let profiles = profiles.into_iter().enumerate();
        let profiles = profiles.map(|(index, profile)| {
            let path = format!("profiles[{index}]");
            reader.name(&format!("{path}.name"), &profile.name, &mut names);
            reader.profile(&path, profile)
        });
        let profiles = profiles.collect();
        for error in reader.errors {
            values.error(&place, &error);
        }
        profiles
    }
}

/// What a profile is made beside.
struct Flags<'f> {
    configured: Vec<Authenticator>,
    anonymous: Option<&'f Anonymous>,
    /// The names of `x-remote`, be they in use or not.
    headers: IdentityHeaders,
    reply: &'f ReplyConfig,
    impersonation: Option<&'f Impersonation>,
}

struct Reader<'f> {
    flags: Flags<'f>,
    errors: Vec<String>,
    /// The file.
    place: &'f str,
    warnings: &'f mut Vec<String>,
}

impl Reader<'_> {
    fn error(&mut self, error: &FieldError) {
        self.errors.push(error.to_string());
    }

    fn invalid(&mut self, field: &str, value: &str, detail: &str) {
        self.error(&FieldError::invalid(field, value, detail));
    }

    fn name(&mut self, field: &str, name: &str, seen: &mut HashSet<String>) {
        if name.is_empty() {
            self.error(&FieldError::required(field, "routes name the profile so"));
        } else if name == DEFAULT_PROFILE {
            self.invalid(field, name, "is the name of what the flags say; take another");
        } else if let Some(problem) = label_problem(name) {
            self.invalid(field, name, problem);
        } else if !seen.insert(name.to_owned()) {
            self.error(&FieldError::duplicate(field, name));
        }
    }

    fn profile(&mut self, path: &str, written: types::Profile) -> Profile {
        let types::Profile { name, authenticators, audiences, anonymous, identity_headers } = written;
        let everybody = authenticators.is_none();
        let authenticators =
            authenticators.map(|names| self.authenticators(&format!("{path}.authenticators"), names));
        let audiences = audiences.map(|names| self.audiences(&format!("{path}.audiences"), names));
        let anonymous = match anonymous {
            None => self.flags.anonymous.map(Anonymous::another),
            Some(anonymous) => {
                let field = format!("{path}.anonymous");
                self.errors.extend(anonymous.problem(&field));
                anonymous.authenticator(&format!("{}: {field}", self.place), self.warnings)
            }
        };
        let in_force = authenticators.as_ref().unwrap_or(&self.flags.configured);
        if anonymous.is_none() && in_force.is_empty() && self.errors.is_empty() {
            self.invalid(
                &format!("{path}.authenticators"),
                "",
                "nobody is left, and anonymous is off, so every request would be refused; name one, or enable anonymous",
            );
        } else if audiences.is_some() {
            let without = in_force
                .iter()
                .filter(|by| [Authenticator::TokenFile, Authenticator::Bootstrap].contains(by));
            let without: Vec<&str> = without.map(|by| by.label()).collect();
            let place = format!("{}: {path}.audiences", self.place);
            if !in_force.iter().any(|by| WITH_AUDIENCES.contains(by)) {
                self.warnings.push(format!("{place}: nothing in this profile has audiences"));
            } else if everybody && !without.is_empty() {
                self.warnings.push(format!(
                    "{place}: tokens of {} have none and are good whatever stands here; name the authenticators if that is not what you \
                     want",
                    without.join(" and ")
                ));
            }
        }
        let reply = identity_headers.map(|headers| self.reply(&format!("{path}.identityHeaders"), headers));
        Profile { name: name.into(), chain: ChainProfile { authenticators, audiences, anonymous }, reply }
    }

    fn authenticators(&mut self, path: &str, names: Vec<String>) -> Vec<Authenticator> {
        let mut authenticators = Vec::new();
        for (index, name) in names.into_iter().enumerate() {
            let field = format!("{path}[{index}]");
            let known = CONFIGURED_BY.iter().find(|(by, ..)| by.label() == name);
            match known {
                None => {
                    let labels = CONFIGURED_BY.map(|(by, ..)| by.label());
                    self.error(&FieldError::not_supported(&field, &name, &labels));
                }
                Some((by, ..)) if authenticators.contains(by) => {
                    self.error(&FieldError::duplicate(&field, &name));
                }
                Some((by, _, flags)) => {
                    if !self.flags.configured.contains(by) {
                        let detail = format!("no flag configures it; set {flags}, or remove it here");
                        self.invalid(&field, &name, &detail);
                    }
                    authenticators.push(*by);
                }
            }
        }
        authenticators
    }

    fn audiences(&mut self, path: &str, names: Vec<String>) -> Arc<[Box<str>]> {
        if names.is_empty() {
            self.error(&FieldError::required(
                path,
                "name one, or leave the field out to have those of the flags",
            ));
        }
        let mut seen = HashSet::new();
        for (index, name) in names.iter().enumerate() {
            let field = format!("{path}[{index}]");
            if name.is_empty() {
                self.error(&FieldError::required(&field, ""));
            } else if !seen.insert(name) {
                self.error(&FieldError::duplicate(&field, name));
            }
        }
        names.into_iter().map(Box::from).collect()
    }

    fn reply(&mut self, path: &str, written: types::IdentityHeaders) -> ReplyConfig {
        let types::IdentityHeaders { mode, user, uid, group, extra_prefix, groups_encoding } = written;
        let (flags, reply) = (self.flags.headers.clone(), self.flags.reply.clone());
        let impersonates = match mode.as_deref() {
            None => reply.impersonation.is_some(),
            Some(X_REMOTE) => false,
            Some(IMPERSONATE) => true,
            Some(other) => {
                let field = format!("{path}.mode");
                self.error(&FieldError::not_supported(&field, other, &[X_REMOTE, IMPERSONATE]));
                false
            }
        };
        if impersonates {
            let own = [("user", &user), ("uid", &uid), ("group", &group), ("extraPrefix", &extra_prefix)];
            let own = own.into_iter().chain([("groupsEncoding", &groups_encoding)]);
            for (name, value) in own {
                if let Some(value) = value {
                    let detail = "impersonation has headers and an encoding of its own; remove it";
                    self.invalid(&format!("{path}.{name}"), value, detail);
                }
            }
        }
        let mut name = |field: &str, written: Option<String>, flag: String| match written {
            None => flag,
            Some(written) => header_name(&written).unwrap_or_else(|problem| {
                self.invalid(&format!("{path}.{field}"), &written, &problem);
                flag
            }),
        };
        let headers = IdentityHeaders {
            user: name("user", user, flags.user),
            uid: name("uid", uid, flags.uid),
            group: name("group", group, flags.group),
            extra_prefix: name("extraPrefix", extra_prefix, flags.extra_prefix),
        };
        let of_flags =
            if reply.impersonation.is_some() { GroupsEncoding::Joined } else { reply.groups_encoding };
        let groups_encoding = match groups_encoding.as_deref() {
            None => of_flags,
            Some("joined") => GroupsEncoding::Joined,
            Some("indexed") => GroupsEncoding::Indexed,
            Some("metadata") => GroupsEncoding::Metadata,
            Some(other) => {
                let field = format!("{path}.groupsEncoding");
                self.error(&FieldError::not_supported(&field, other, &["joined", "indexed", "metadata"]));
                of_flags
            }
        };
        let (headers, groups_encoding) = match impersonates {
            true => (IdentityHeaders::impersonation(), GroupsEncoding::Metadata),
            false => (headers, groups_encoding),
        };
        if groups_encoding == GroupsEncoding::Metadata && !reply.dynamic_metadata {
            self.errors.push(format!("{path}: {NO_METADATA}"));
        }
        self.errors
            .extend(headers.problems(groups_encoding).iter().map(|problem| format!("{path}: {problem}")));
        let impersonation = self.flags.impersonation.filter(|_| impersonates).cloned();
        ReplyConfig { headers, groups_encoding, impersonation, ..reply }
    }
}

/// The authenticators that the flags bring, be it that there is something wrong with one of them.
fn configured(values: &mut Values<'_>, members: &Members) -> Vec<Authenticator> {
    let there: Vec<Authenticator> = members.authenticators().collect();
    let mut is_set = |name| {
        let option = option(name);
        let written = || values.repeated(option).iter().any(|value| !value.is_empty());
        if option.kind == options::Kind::Bool { values.bool(option) } else { written() }
    };
    let configured = CONFIGURED_BY.into_iter().filter(|(by, name, _)| there.contains(by) || is_set(name));
    configured.map(|(by, ..)| by).collect()
}

/// The names that `x-remote` has by the flags.
fn names_of_flags(values: &mut Values<'_>) -> IdentityHeaders {
    IdentityHeaders {
        user: values.header_name(option("identity-user-header")),
        uid: values.header_name(option("identity-uid-header")),
        group: values.header_name(option("identity-group-header")),
        extra_prefix: values.header_name(option("identity-extra-header-prefix")),
    }
}

/// Go: `IsDNS1123Label` of k8s.io/apimachinery/pkg/util/validation.
fn label_problem(name: &str) -> Option<&'static str> {
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let edges = name.as_bytes().first().zip(name.as_bytes().last());
    if name.len() > MAX_LABEL {
        Some("must be no more than 63 bytes")
    } else if !name.bytes().all(|byte| good(byte) || byte == b'-')
        || edges.is_none_or(|(first, last)| !good(*first) || !good(*last))
    {
        Some(
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an \
             alphanumeric character",
        )
    } else {
        None
    }
}

/// RFC 1123, section 2.1, by RFC 1035, section 2.3.4.
const MAX_LABEL: usize = 63;

const X_REMOTE: &str = "x-remote";
const IMPERSONATE: &str = "impersonate";

/// The authenticators that a profile may name, an option that configures each, and all that do.
const CONFIGURED_BY: [(Authenticator, &str, &str); 9] = [
    (Authenticator::RequestHeader, "requestheader-client-ca-file", "--requestheader-client-ca-file"),
    (Authenticator::Basic, "basic-auth-file", "--basic-auth-file"),
    (Authenticator::X509, "client-ca-file", "--client-ca-file"),
    (Authenticator::TokenFile, "token-auth-file", "--token-auth-file"),
    (Authenticator::LegacyServiceAccount, "service-account-key-file", "--service-account-key-file"),
    (Authenticator::ServiceAccount, "service-account-key-file", "--service-account-key-file"),
    (Authenticator::Bootstrap, "enable-bootstrap-token-auth", "--enable-bootstrap-token-auth"),
    (Authenticator::Jwt, "oidc-issuer-url", "--oidc-issuer-url, or jwt of --authentication-config"),
    (
        Authenticator::Webhook,
        "authentication-token-webhook-config-file",
        "--authentication-token-webhook-config-file or --authentication-token-review",
    ),
];

/// Those whose tokens have audiences.
const WITH_AUDIENCES: [Authenticator; 4] = [
    Authenticator::LegacyServiceAccount,
    Authenticator::ServiceAccount,
    Authenticator::Jwt,
    Authenticator::Webhook,
];
