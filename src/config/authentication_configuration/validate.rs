//! What has to hold of JWT authenticators, and the settings that come of them. Go: k8s.io/apiserver/pkg/apis/apiserver/validation,
//! with the feature gates of 1.36, and what `oidc.New` (k8s.io/apiserver/plugin/pkg/authenticator/token/oidc) adds.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use super::names::{check_domain_prefixed_path, is_kubernetes};
use super::types;
use crate::authn::token::jwt::settings::{
    ClaimMappings, ClaimOrExpression, ExtraMapping, Issuer, JwtAuthenticator, PrefixedClaimOrExpression,
    ValidationRule,
};
use crate::cel::{Expression, Returns, Scope};
use crate::config::field_error::FieldError;
use crate::pki::{CertPool, PoolError};
use crate::url;

/// Checks the authenticators of a configuration. `disallowed_issuers` are those of service accounts. Go:
/// `ValidateAuthenticationConfiguration`.
pub(crate) fn validate(
    authenticators: Vec<types::JwtAuthenticator>,
    signing_algorithms: &[&'static str],
    disallowed_issuers: &[String],
) -> Result<Vec<JwtAuthenticator>, Vec<FieldError>> {
    if authenticators.len() > MAX_AUTHENTICATORS {
        return Err(vec![FieldError::too_many("jwt", authenticators.len(), MAX_AUTHENTICATORS)]);
    }
    let mut validation = Validation {
        errors: Vec::new(),
        disallowed_issuers: disallowed_issuers.iter().map(String::as_str).collect(),
    };
    let (mut issuers, mut discovery_urls) = (HashSet::new(), HashSet::new());
    let mut settings = Vec::new();
    for (index, authenticator) in authenticators.into_iter().enumerate() {
        let path = format!("jwt[{index}]");
        let (url, discovery_url) =
            (authenticator.issuer.url.clone(), authenticator.issuer.discovery_url.clone());
        settings.extend(validation.authenticator(authenticator, signing_algorithms, &path));
        validation.unique(&mut issuers, &format!("{path}.issuer.url"), &url);
        if !discovery_url.is_empty() {
            validation.unique(&mut discovery_urls, &format!("{path}.issuer.discoveryURL"), &discovery_url);
        }
    }
    if validation.errors.is_empty() { Ok(settings) } else { Err(validation.errors) }
}

/// How many authenticators there may be.
const MAX_AUTHENTICATORS: usize = 64;

/// The only policy. Go: `AudienceMatchPolicyMatchAny`.
const MATCH_ANY: &str = "MatchAny";

/// Errors on their way.
struct Validation<'d> {
    errors: Vec<FieldError>,
    disallowed_issuers: BTreeSet<&'d str>,
}

impl Validation<'_> {
    fn required(&mut self, field: &str, detail: &str) {
        self.errors.push(FieldError::required(field, detail));
    }

    fn invalid(&mut self, field: &str, value: &str, detail: &str) {
        self.errors.push(FieldError::invalid(field, value, detail));
    }

    /// Whether the value was not seen before.
    fn unique(&mut self, seen: &mut HashSet<String>, field: &str, value: &str) -> bool {
        let unique = seen.insert(value.to_owned());
        if !unique {
            self.errors.push(FieldError::duplicate(field, value));
        }
        unique
    }

    /// Go: `validateJWTAuthenticator`. Where something is wrong there may be none.
    fn authenticator(
        &mut self,
        authenticator: types::JwtAuthenticator,
        signing_algorithms: &[&'static str],
        path: &str,
    ) -> Option<JwtAuthenticator> {
        let types::JwtAuthenticator { issuer, claim_validation_rules, claim_mappings, user_validation_rules } =
            authenticator;
        let issuer = self.issuer(issuer, &format!("{path}.issuer"));
        let (required_claims, claim_validation_rules) =
            self.claim_validation_rules(claim_validation_rules, &format!("{path}.claimValidationRules"));
        let claim_mappings =
            self.claim_mappings(claim_mappings, &claim_validation_rules, &format!("{path}.claimMappings"));
        let user_validation_rules =
            self.user_validation_rules(user_validation_rules, &format!("{path}.userValidationRules"));
        Some(JwtAuthenticator {
            issuer,
            signing_algorithms: signing_algorithms.to_vec(),
            required_claims,
            claim_validation_rules,
            claim_mappings: claim_mappings?,
            user_validation_rules,
        })
    }

    /// Go: `validateIssuer`.
    fn issuer(&mut self, issuer: types::Issuer, path: &str) -> Issuer {
        let types::Issuer { url, discovery_url, certificate_authority, audiences, .. } = issuer;
        // Go: validateIssuerURL.
        let field = format!("{path}.url");
        if url.is_empty() {
            self.required(&field, "");
        } else {
            if self.disallowed_issuers.contains(url.as_str()) {
                let list = self.disallowed_issuers.iter().copied().collect::<Vec<_>>().join(" ");
                let detail = format!("URL must not overlap with disallowed issuers: [{list}]");
                self.invalid(&field, &url, &detail);
            }
            self.url(&url, &field);
        }
        // Go: validateIssuerDiscoveryURL.
        if !discovery_url.is_empty() {
            let field = format!("{path}.discoveryURL");
            if !url.is_empty() && url.trim_end_matches('/') == discovery_url.trim_end_matches('/') {
                self.invalid(&field, &discovery_url, "discoveryURL must be different from URL");
            }
            self.url(&discovery_url, &field);
        }
        self.audiences(&audiences, &issuer.audience_match_policy, path);
        // Go: validateCertificateAuthority.
        if !certificate_authority.is_empty()
            && let Err(error) = CertPool::from_pem(&certificate_authority)
        {
            let detail = match error {
                PoolError::NoCertificates => {
                    "data does not contain any valid RSA or ECDSA certificates".to_owned()
                }
                error => error.to_string(),
            };
            self.invalid(&format!("{path}.certificateAuthority"), "<omitted>", &detail);
        }
        self.egress_selector(&issuer.egress_selector_type, &format!("{path}.egressSelectorType"));
        Issuer {
            url,
            discovery_url: some(discovery_url),
            certificate_authority: Some(certificate_authority).filter(|pem| !pem.is_empty()),
            audiences,
        }
    }

    /// Go: `validateURL`.
    fn url(&mut self, text: &str, field: &str) {
        match url::parse(text) {
            Err(error) => self.invalid(field, text, &error.to_string()),
            Ok(url) => {
                if url.scheme != "https" {
                    self.invalid(field, text, "URL scheme must be https");
                }
                if url.has_user {
                    self.invalid(field, text, "URL must not contain a username or password");
                }
                if !url.query.is_empty() {
                    self.invalid(field, text, "URL must not contain a query");
                }
                if !url.fragment.is_empty() {
                    self.invalid(field, text, "URL must not contain a fragment");
                }
            }
        }
    }

    /// Go: `validateAudiences`.
    fn audiences(&mut self, audiences: &[String], policy: &str, path: &str) {
        let field = format!("{path}.audiences");
        let mut seen = HashSet::new();
        for (index, audience) in audiences.iter().enumerate() {
            let field = format!("{field}[{index}]");
            if audience.is_empty() {
                self.required(&field, "");
            }
            self.unique(&mut seen, &field, audience);
        }
        let detail = match audiences.len() {
            0 => return self.required(&field, &format!("at least one {field} is required")),
            1 if policy.is_empty() => return,
            1 => "audienceMatchPolicy must be empty or MatchAny for single audience",
            _ => "audienceMatchPolicy must be MatchAny for multiple audiences",
        };
        if policy != MATCH_ANY {
            self.invalid(&format!("{path}.audienceMatchPolicy"), policy, detail);
        }
    }

    /// Go: `validateEgressSelector`, and `egressLookupForType` of a server without `--egress-selector-config-file`.
    fn egress_selector(&mut self, selector: &str, field: &str) {
        match selector {
            "" => {}
            "controlplane" | "cluster" => {
                let detail = format!(
                    "egress lookup required with egress selector type {selector:?}; there is none here, remove it"
                );
                self.invalid(field, selector, &detail);
            }
            _ => self.invalid(field, selector, "egress selector must be either controlplane or cluster"),
        }
    }

    /// The claims that are compared, and the expressions. Go: `validateClaimValidationRules`.
    fn claim_validation_rules(
        &mut self,
        rules: Vec<types::ClaimValidationRule>,
        path: &str,
    ) -> (BTreeMap<String, String>, Vec<ValidationRule>) {
        let (mut claims, mut expressions) = (HashSet::new(), HashSet::new());
        let (mut required, mut compiled) = (BTreeMap::new(), Vec::new());
        for (index, rule) in rules.into_iter().enumerate() {
            let path = format!("{path}[{index}]");
            let types::ClaimValidationRule { claim, required_value, expression, message } = rule;
            match (claim.is_empty(), expression.is_empty()) {
                (false, false) => self.invalid(&path, &claim, "claim and expression can't both be set"),
                (true, true) => self.required(&path, "claim or expression is required"),
                (false, true) => {
                    if !message.is_empty() {
                        let field = format!("{path}.message");
                        self.invalid(&field, &message, "may not be specified when claim is set");
                    }
                    if self.unique(&mut claims, &format!("{path}.claim"), &claim) {
                        required.insert(claim, required_value);
                    }
                }
                (true, false) => {
                    if !required_value.is_empty() {
                        let field = format!("{path}.requiredValue");
                        self.invalid(&field, &required_value, "may not be specified when expression is set");
                    }
                    let field = format!("{path}.expression");
                    if self.unique(&mut expressions, &field, &expression) {
                        let expression = self.compile(&expression, Scope::Claims, Returns::Bool, &field);
                        let rule = |expression| ValidationRule { expression, message: some(message) };
                        compiled.extend(expression.map(rule));
                    }
                }
            }
        }
        (required, compiled)
    }

    /// Go: `validateClaimMappings`.
    fn claim_mappings(
        &mut self,
        mappings: types::ClaimMappings,
        rules: &[ValidationRule],
        path: &str,
    ) -> Option<ClaimMappings> {
        let field = format!("{path}.username");
        let username = self.prefixed_claim_or_expression(mappings.username, &field);
        if let Ok(None) = username {
            self.required(&field, "claim or expression is required");
        }
        let groups = self.prefixed_claim_or_expression(mappings.groups, &format!("{path}.groups"));
        let uid = self.claim_or_expression(mappings.uid, &format!("{path}.uid"));
        let extra = self.extra(mappings.extra, &format!("{path}.extra"));
        let username = username.ok().flatten();

        if let Some(PrefixedClaimOrExpression::Expression(expression)) = &username
            && expression.selects("claims", "email")
        {
            let verified = |expression: &Expression| expression.selects("claims", "email_verified");
            if !(verified(expression)
                || rules.iter().any(|rule| verified(&rule.expression))
                || extra.iter().any(|mapping| verified(&mapping.value_expression)))
            {
                self.invalid(
                    &format!("{path}.username.expression"),
                    expression.text(),
                    "claims.email_verified must be used in claimMappings.username.expression or \
                     claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in \
                     claimMappings.username.expression",
                );
            }
        }
        Some(ClaimMappings { username: username?, groups: groups.ok().flatten(), uid, extra })
    }

    /// Go: `validatePrefixClaimOrExpression`; it is an error that there was one.
    fn prefixed_claim_or_expression(
        &mut self,
        mapping: types::PrefixedClaimOrExpression,
        path: &str,
    ) -> Result<Option<PrefixedClaimOrExpression>, Noted> {
        let types::PrefixedClaimOrExpression { claim, prefix, expression } = mapping;
        match (claim.is_empty(), expression.is_empty()) {
            (true, true) => Ok(None),
            (false, false) => {
                self.invalid(path, "", "claim and expression can't both be set");
                Err(Noted)
            }
            (true, false) => {
                if let Some(prefix) = &prefix {
                    let field = format!("{path}.prefix");
                    self.invalid(&field, prefix, "may not be specified when expression is set");
                }
                let field = format!("{path}.expression");
                let compiled = self.compile(&expression, Scope::Claims, Returns::Any, &field);
                let expression = compiled.filter(|_| prefix.is_none()).ok_or(Noted)?;
                Ok(Some(PrefixedClaimOrExpression::Expression(expression)))
            }
            (false, true) => match prefix {
                Some(prefix) => Ok(Some(PrefixedClaimOrExpression::Claim { claim, prefix })),
                None => {
                    self.required(
                        &format!("{path}.prefix"),
                        "prefix is required when claim is set. It can be set to an empty string to disable prefixing",
                    );
                    Err(Noted)
                }
            },
        }
    }

    fn claim_or_expression(
        &mut self,
        mapping: types::ClaimOrExpression,
        path: &str,
    ) -> Option<ClaimOrExpression> {
        let types::ClaimOrExpression { claim, expression } = mapping;
        match (claim.is_empty(), expression.is_empty()) {
            (true, true) => None,
            (false, true) => Some(ClaimOrExpression::Claim(claim)),
            (true, false) => {
                let field = format!("{path}.expression");
                let compiled = self.compile(&expression, Scope::Claims, Returns::Any, &field);
                compiled.map(ClaimOrExpression::Expression)
            }
            (false, false) => {
                self.invalid(path, "", "claim and expression can't both be set");
                None
            }
        }
    }

    fn extra(&mut self, mappings: Vec<types::ExtraMapping>, path: &str) -> Vec<ExtraMapping> {
        let mut seen = HashSet::new();
        let mut extra = Vec::new();
        for (index, types::ExtraMapping { key, value_expression }) in mappings.into_iter().enumerate() {
            let (path, field) = (format!("{path}[{index}]"), format!("{path}[{index}].key"));
            self.errors.extend(check_domain_prefixed_path(&field, &key));
            if key != key.to_lowercase() {
                self.invalid(&field, &key, "must be lowercase");
            }
            if is_kubernetes(&key) {
                let detail = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use";
                self.invalid(&field, &key, detail);
            }
            if !self.unique(&mut seen, &field, &key) {
                continue;
            }
            let field = format!("{path}.valueExpression");
            if value_expression.is_empty() {
                self.required(&field, "");
                continue;
            }
            let compiled = self.compile(&value_expression, Scope::Claims, Returns::Any, &field);
            extra.extend(compiled.map(|value_expression| ExtraMapping { key, value_expression }));
        }
        extra
    }

    /// Go: `validateUserValidationRules`.
    fn user_validation_rules(
        &mut self,
        rules: Vec<types::UserValidationRule>,
        path: &str,
    ) -> Vec<ValidationRule> {
        let mut seen = HashSet::new();
        let mut compiled = Vec::new();
        for (index, types::UserValidationRule { expression, message }) in rules.into_iter().enumerate() {
            let field = format!("{path}[{index}].expression");
            if expression.is_empty() {
                self.required(&field, "");
            } else if self.unique(&mut seen, &field, &expression) {
                let expression = self.compile(&expression, Scope::User, Returns::Bool, &field);
                compiled.extend(
                    expression.map(|expression| ValidationRule { expression, message: some(message) }),
                );
            }
        }
        compiled
    }

    /// Go: `compileClaimsCELExpression` and `compileUserCELExpression`.
    fn compile(&mut self, text: &str, scope: Scope, returns: Returns, field: &str) -> Option<Expression> {
        let compiled = Expression::compile(text, scope, returns);
        compiled.map_err(|error| self.invalid(field, text, &error.to_string())).ok()
    }
}

/// An error that is among the [`Validation::errors`].
struct Noted;

/// What is empty is not there.
fn some(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}
