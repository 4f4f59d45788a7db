//! What one JWT authenticator runs on: valid by construction, whether it was written as `jwt[]` of an
//! AuthenticationConfiguration or as `--oidc-*` flags.
//!
//! Go: `apiserver.JWTAuthenticator` after defaulting, conversion and validation, with the compiled expressions of
//! `authenticationcel.CELMapper` in their places, and `oidc.Options.SupportedSigningAlgs`.

use std::collections::BTreeMap;

use crate::cel::Expression;

/// One JWT authenticator. Go: `apiserver.JWTAuthenticator`.
#[derive(Debug)]
pub struct JwtAuthenticator {
    /// Who signs the tokens, and how that is known.
    pub issuer: Issuer,
    /// The algorithms that a token may be signed with: at least one of [`SIGNING_ALGORITHMS`].
    pub signing_algorithms: Vec<&'static str>,
    /// Claims that a token must have, with the string that each must be equal to. Checked before
    /// [`claim_validation_rules`](Self::claim_validation_rules).
    pub required_claims: BTreeMap<String, String>,
    /// Expressions over `claims` that must all be true, in order.
    pub claim_validation_rules: Vec<ValidationRule>,
    /// Which claims make the identity.
    pub claim_mappings: ClaimMappings,
    /// Expressions over `user`, the identity that the mappings made, that must all be true, in order.
    pub user_validation_rules: Vec<ValidationRule>,
}

/// Who signs the tokens. Go: `apiserver.Issuer`.
#[derive(Debug)]
pub struct Issuer {
    /// An https URL. A token is this authenticator's if its `iss` is equal to it, byte for byte; discovery is at
    /// `{url}/.well-known/openid-configuration`, where a slash at the end of the URL is left out.
    pub url: String,
    /// The https URL to use for discovery instead, as it stands.
    pub discovery_url: Option<String>,
    /// PEM bundle of the roots that the issuer's certificate is verified with, at least one of them readable; none: the
    /// system's roots.
    pub certificate_authority: Option<Vec<u8>>,
    /// At least one. A token is meant for us if its `aud` names any of them (`audienceMatchPolicy: MatchAny`, the only
    /// policy there is).
    pub audiences: Vec<String>,
}

/// Which claims make the identity. Go: `apiserver.ClaimMappings`.
#[derive(Debug)]
pub struct ClaimMappings {
    /// The name: a string. The claim `email` counts only if the claim `email_verified` is not there or true; with an
    /// expression that is up to the expressions.
    pub username: PrefixedClaimOrExpression,
    /// The groups: a string or a list of strings.
    pub groups: Option<PrefixedClaimOrExpression>,
    /// The uid: a string.
    pub uid: Option<ClaimOrExpression>,
    /// Extra facts, in order, no key twice.
    pub extra: Vec<ExtraMapping>,
}

/// Go: `apiserver.PrefixedClaimOrExpression`.
#[derive(Debug)]
pub enum PrefixedClaimOrExpression {
    /// The value of a claim, behind a prefix.
    Claim {
        /// The claim's name; not empty.
        claim: String,
        /// Stands before each value; may be empty.
        prefix: String,
    },
    /// What an expression over `claims` makes.
    Expression(Expression),
}

/// Go: `apiserver.ClaimOrExpression`.
#[derive(Debug)]
pub enum ClaimOrExpression {
    /// The value of the claim of that name; the name is not empty.
    Claim(String),
    /// What an expression over `claims` makes.
    Expression(Expression),
}

/// Go: `apiserver.ExtraMapping`.
#[derive(Debug)]
pub struct ExtraMapping {
    /// A path with a domain in front, in lower case: `example.org/tenant`.
    pub key: String,
    /// An expression over `claims` that makes a string or a list of strings.
    pub value_expression: Expression,
}

/// Go: `apiserver.ClaimValidationRule` with an expression, and `apiserver.UserValidationRule`.
#[derive(Debug)]
pub struct ValidationRule {
    /// Makes a boolean.
    pub expression: Expression,
    /// What to say if that is false, in place of words of our own.
    pub message: Option<String>,
}

/// The signing algorithms that can be allowed, by their names of RFC 7518 section 3.1. Go: `oidc.AllValidSigningAlgorithms`.
pub const SIGNING_ALGORITHMS: [&str; 9] =
    ["ES256", "ES384", "ES512", "PS256", "PS384", "PS512", "RS256", "RS384", "RS512"];
