//! What can be written. Go: k8s.io/apiserver/pkg/apis/apiserver/v1, v1beta1 and v1alpha1, which have the same fields here, in the
//! form of pkg/apis/apiserver: what is not there is empty.

use crate::config::decode::{Fields, Object};

/// Go: `AuthenticationConfiguration`, without its kind and version.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct AuthenticationConfiguration {
    pub(crate) jwt: Vec<JwtAuthenticator>,
    /// Whether and where requests without credentials are let through.
    pub(crate) anonymous: Option<AnonymousAuthConfig>,
}

/// Go: `AnonymousAuthConfig`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct AnonymousAuthConfig {
    pub(crate) enabled: bool,
    pub(crate) conditions: Vec<AnonymousAuthCondition>,
}

/// Go: `AnonymousAuthCondition`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct AnonymousAuthCondition {
    pub(crate) path: String,
}

/// Go: `JWTAuthenticator`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct JwtAuthenticator {
    pub(crate) issuer: Issuer,
    pub(crate) claim_validation_rules: Vec<ClaimValidationRule>,
    pub(crate) claim_mappings: ClaimMappings,
    pub(crate) user_validation_rules: Vec<UserValidationRule>,
}

/// Go: `Issuer`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Issuer {
    pub(crate) url: String,
    pub(crate) discovery_url: String,
    /// PEM.
    pub(crate) certificate_authority: Vec<u8>,
    pub(crate) audiences: Vec<String>,
    pub(crate) audience_match_policy: String,
    pub(crate) egress_selector_type: String,
}

/// Go: `ClaimValidationRule`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ClaimValidationRule {
    pub(crate) claim: String,
    pub(crate) required_value: String,
    pub(crate) expression: String,
    pub(crate) message: String,
}

/// Go: `ClaimMappings`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ClaimMappings {
    pub(crate) username: PrefixedClaimOrExpression,
    pub(crate) groups: PrefixedClaimOrExpression,
    pub(crate) uid: ClaimOrExpression,
    pub(crate) extra: Vec<ExtraMapping>,
}

/// Go: `PrefixedClaimOrExpression`.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct PrefixedClaimOrExpression {
    pub(crate) claim: String,
    /// Not the same as empty: with a claim it has to be there.
    pub(crate) prefix: Option<String>,
    pub(crate) expression: String,
}

/// Go: `ClaimOrExpression`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ClaimOrExpression {
    pub(crate) claim: String,
    pub(crate) expression: String,
}

/// Go: `ExtraMapping`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ExtraMapping {
    pub(crate) key: String,
    pub(crate) value_expression: String,
}

/// Go: `UserValidationRule`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct UserValidationRule {
    pub(crate) expression: String,
    pub(crate) message: String,
}

impl Fields for AuthenticationConfiguration {
    fn take_from(object: &mut Object<'_>) -> Self {
        Self { jwt: object.take("jwt"), anonymous: object.take("anonymous") }
    }
}

impl Fields for AnonymousAuthConfig {
    fn take_from(object: &mut Object<'_>) -> Self {
        Self { enabled: object.take("enabled"), conditions: object.take("conditions") }
    }
}

impl Fields for AnonymousAuthCondition {
    fn take_from(object: &mut Object<'_>) -> Self {
        Self { path: object.take("path") }
    }
}

impl Fields for JwtAuthenticator {
    fn take_from(object: &mut Object<'_>) -> Self {
        Self {
            issuer: object.take("issuer"),
            claim_validation_rules: object.take("claimValidationRules"),
            claim_mappings: object.take("claimMappings"),
            user_validation_rules: object.take("userValidationRules"),
        }
    }
}

impl Fields for Issuer {
    fn take_from(object: &mut Object<'_>) -> Self {
        Self {
            url: object.take("url"),
            discovery_url: object.take("discoveryURL"),
            certificate_authority: object.take::<String>("certificateAuthority").into_bytes(),
            audiences: object.take("audiences"),
            audience_match_policy: object.take("audienceMatchPolicy"),
            egress_selector_type: object.take("egressSelectorType"),
        }
    }
}

impl Fields for ClaimValidationRule {
    fn take_from(object: &mut Object<'_>) -> Self {
        Self {
            claim: object.take("claim"),
            required_value: object.take("requiredValue"),
            expression: object.take("expression"),
            message: object.take("message"),
        }
    }
}

impl Fields for ClaimMappings {
    fn take_from(object: &mut Object<'_>) -> Self {
        Self {
            username: object.take("username"),
            groups: object.take("groups"),
            uid: object.take("uid"),
            extra: object.take("extra"),
        }
    }
}

impl Fields for PrefixedClaimOrExpression {
    fn take_from(object: &mut Object<'_>) -> Self {
        Self {
            claim: object.take("claim"),
            prefix: object.take("prefix"),
            expression: object.take("expression"),
        }
    }
}

impl Fields for ClaimOrExpression {
    fn take_from(object: &mut Object<'_>) -> Self {
        Self { claim: object.take("claim"), expression: object.take("expression") }
    }
}

impl Fields for ExtraMapping {
    fn take_from(object: &mut Object<'_>) -> Self {
        Self { key: object.take("key"), value_expression: object.take("valueExpression") }
    }
}

impl Fields for UserValidationRule {
    fn take_from(object: &mut Object<'_>) -> Self {
        Self { expression: object.take("expression"), message: object.take("message") }
    }
}
