//! Go: k8s.io/apiserver/pkg/apis/apiserver/validation/validation_test.go.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::json;

use super::super::parse;
use super::{HEAD, errors};
use crate::authn::token::jwt::settings::{
    ClaimMappings, ClaimOrExpression, PrefixedClaimOrExpression, SIGNING_ALGORITHMS, ValidationRule,
};

/// A row of one of Kubernetes' tests: authenticators, and what is wrong with them.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    test: String,
    name: String,
    #[serde(default)]
    disallowed: Vec<String>,
    jwt: serde_json::Value,
    errors: Vec<String>,
}

/// Go: all rows of TestValidateAuthenticationConfiguration, TestValidateIssuerURL, TestValidateIssuerDiscoveryURL, TestValidateAudiences,
/// TestValidateCertificateAuthority, TestValidateClaimValidationRules, TestValidateClaimMappings and TestValidateUserValidationRules,
/// but for the twelve that switch a feature off, which kube-apiserver has no flag for any more; and those of TestToken
/// (plugin/pkg/authenticator/token/oidc/oidc_test.go) that are about configurations. The rows are in testdata/validation.jsonl, in the
/// words of Go's validation, each with the rest of a good configuration. An egress selector is good to Go's validation, but not to a
/// server that has none.
#[test]
fn the_rows_of_gos_tests_of_validation() {
    let mut counts = BTreeMap::new();
    for line in include_str!("../testdata/validation.jsonl").lines() {
        let Row { test, name, disallowed, jwt, errors: expected } = serde_json::from_str(line).unwrap();
        let version = "apiserver.config.k8s.io/v1";
        let configuration = json!({"apiVersion": version, "kind": "AuthenticationConfiguration", "jwt": jwt});
        let disallowed: Vec<&str> = disallowed.iter().map(String::as_str).collect();
        assert_eq!(errors(&configuration.to_string(), &disallowed), expected, "{test}: {name}");
        *counts.entry(test).or_insert(0) += 1;
    }
    let counts: Vec<(&str, i32)> = counts.iter().map(|(test, count)| (&**test, *count)).collect();
    let expected = [
        ("TestToken", 6),
        ("TestValidateAudiences", 8),
        ("TestValidateAuthenticationConfiguration", 25),
        ("TestValidateCertificateAuthority", 3),
        ("TestValidateClaimMappings", 32),
        ("TestValidateClaimValidationRules", 12),
        ("TestValidateIssuerDiscoveryURL", 12),
        ("TestValidateIssuerURL", 8),
        ("TestValidateUserValidationRules", 5),
    ];
    assert_eq!(counts, expected);
}

/// The errors of one authenticator, good but for the sections given. Their paths are those below it.
fn errors_with(sections: &[(&str, &str)]) -> Vec<String> {
    let good = [
        ("issuer", "{url: 'https://issuer-url', audiences: [audience]}"),
        ("claimMappings", "{username: {claim: sub, prefix: prefix}}"),
    ];
    let good = good.iter().filter(|(name, _)| !sections.iter().any(|(other, _)| other == name));
    let text: String = good.chain(sections).map(|(name, text)| format!("  {name}: {text}\n")).collect();
    let errors = errors(&format!("{HEAD}jwt:\n-{}", text.strip_prefix(' ').unwrap_or_default()), &[]);
    errors.iter().map(|error| error.strip_prefix("jwt[0].").unwrap_or(error).to_owned()).collect()
}

fn assert_table(section: &str, table: &[(&str, &[&str])]) {
    for (text, expected) in table {
        let expected: Vec<String> =
            expected.iter().map(|error| error.replace("{UNVERIFIED}", UNVERIFIED)).collect();
        assert_eq!(errors_with(&[(section, text)]), expected, "{section}: {text}");
    }
}

const UNVERIFIED: &str = "claims.email_verified must be used in claimMappings.username.expression or \
    claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in \
    claimMappings.username.expression";

/// Go: `validateURL` says everything at once, and knows a scheme in any case.
#[test]
fn all_that_is_wrong_with_an_issuer_is_told() {
    assert_table(
        "issuer",
        &[
            (
                "{}",
                &[
                    "issuer.url: Required value",
                    "issuer.audiences: Required value: at least one jwt[0].issuer.audiences is required",
                ],
            ),
            ("{url: 'HTTPS://issuer-url', audiences: [a]}", &[]),
            ("{url: 'https:', audiences: [a]}", &[]),
            (
                "{url: 'http://user:pass@issuer-url?query#fragment', audiences: [a]}",
                &[
                    r#"issuer.url: Invalid value: "http://user:pass@issuer-url?query#fragment": URL scheme must be https"#,
                    r#"issuer.url: Invalid value: "http://user:pass@issuer-url?query#fragment": URL must not contain a username or password"#,
                    r#"issuer.url: Invalid value: "http://user:pass@issuer-url?query#fragment": URL must not contain a query"#,
                    r#"issuer.url: Invalid value: "http://user:pass@issuer-url?query#fragment": URL must not contain a fragment"#,
                ],
            ),
            (
                "{url: 'https://a', discoveryURL: 'http://u@b?q#f', audiences: [a]}",
                &[
                    r#"issuer.discoveryURL: Invalid value: "http://u@b?q#f": URL scheme must be https"#,
                    r#"issuer.discoveryURL: Invalid value: "http://u@b?q#f": URL must not contain a username or password"#,
                    r#"issuer.discoveryURL: Invalid value: "http://u@b?q#f": URL must not contain a query"#,
                    r#"issuer.discoveryURL: Invalid value: "http://u@b?q#f": URL must not contain a fragment"#,
                ],
            ),
        ],
    );
}

/// Go: TestValidateAuthenticationConfiguration. With two of a kind, keys of the one could sign for the other (threats S24,
/// CVE-2021-21378).
#[test]
fn issuers_are_unique_and_not_those_of_service_accounts() {
    let list = |issuers: &[&str]| -> String {
        let mappings = "claimMappings: {username: {claim: sub, prefix: prefix}}";
        let one = |issuer: &&str| format!("- issuer: {{audiences: [a], {issuer}}}\n  {mappings}\n");
        format!("{HEAD}jwt:\n{}", issuers.iter().map(one).collect::<String>())
    };
    assert_eq!(
        errors(&list(&["url: 'https://a'", "url: 'https://b'", "url: 'https://a'"]), &[]),
        ["jwt[2].issuer.url: Duplicate value: \"https://a\""]
    );
    let discovery =
        ["url: 'https://a', discoveryURL: 'https://d'", "url: 'https://b', discoveryURL: 'https://d'"];
    assert_eq!(
        errors(&list(&discovery), &[]),
        ["jwt[1].issuer.discoveryURL: Duplicate value: \"https://d\""]
    );
    assert_eq!(
        errors(&list(&["url: 'https://issuer-url'"]), &["a", "b", "https://issuer-url", "c"]),
        [
            "jwt[0].issuer.url: Invalid value: \"https://issuer-url\": URL must not overlap with disallowed issuers: [a b c https://issuer-url]"
        ]
    );
    // A discovery URL may be anybody's.
    assert_eq!(errors(&list(&["url: 'https://a', discoveryURL: 'https://b'"]), &["https://b"]), [""; 0]);
    let urls: Vec<String> = (0..65).map(|n| format!("url: 'https://{n}'")).collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    assert_eq!(errors(&list(&urls), &[]), ["jwt: Too many: 65: must have at most 64 items"]);
    assert_eq!(errors(&list(&urls[1..]), &[]), [""; 0]);
}

/// Go: `IsDomainPrefixedPath` of k8s.io/apimachinery/pkg/util/validation, beside the rows "extra mapping …" of TestValidateClaimMappings.
#[test]
fn keys_of_extra_facts_are_validated() {
    let subdomain = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start \
        and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
        '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    let path = "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";
    let domain_prefixed = "must be a domain-prefixed path (such as \"acme.io/foo\")";
    let long = format!("{}/a", "a".repeat(254));
    let longest = format!("{}/a", "a".repeat(253));
    let table: [(&str, &[(&str, &str)]); 16] = [
        ("/foo", &[("/foo", domain_prefixed)]),
        ("foo/", &[("foo/", domain_prefixed)]),
        ("localhost/foo", &[]),
        ("example.org/a/b//", &[]),
        ("1.2-3/%20", &[]),
        ("Example.org/foo", &[("Example.org", subdomain), ("Example.org/foo", "must be lowercase")]),
        ("-a/foo", &[("-a", subdomain)]),
        ("a-/foo", &[("a-", subdomain)]),
        ("a..b/foo", &[("a..b", subdomain)]),
        ("a_b/foo", &[("a_b", subdomain)]),
        (&long, &[(&long[..254], "must be no more than 253 characters")]),
        (&longest, &[]),
        ("a/b c", &[("b c", path)]),
        ("a/ü", &[("ü", path)]),
        ("a b/?", &[("a b", subdomain), ("?", path)]),
        ("k8s.io.example/foo", &[]),
    ];
    let field = "claimMappings.extra[0]";
    let mappings = |extra: &str| {
        let text = format!("{{username: {{claim: a, prefix: p}}, extra: [{extra}]}}");
        errors_with(&[("claimMappings", &text)])
    };
    for (key, expected) in table {
        let expected =
            expected.iter().map(|(value, detail)| format!("{field}.key: Invalid value: {value:?}: {detail}"));
        let found = mappings(&format!("{{key: '{key}', valueExpression: claims.a}}"));
        assert_eq!(found, expected.collect::<Vec<_>>(), "{key}");
    }
}

/// Go: TestValidateAuthenticationConfiguration ("… verified email …"), TestValidateClaimMappings (the same). The threat: an issuer
/// that lets anybody register under anybody's address.
#[test]
fn an_email_is_a_name_only_where_it_is_verified() {
    let unverified = [
        "claims.email",
        "['yay', string(claims.email), 'panda'].join(' ')",
        "claims.?email",
        "{claims.?email: \"panda\"}",
        "{\"fancy\": claims.?email}",
        "[\"a\"].map(i, i + claims.email)",
        "has(claims.email) ? claims.email : claims.sub",
        "claims.email.trim()",
    ];
    let expression = |text: &str| format!("'{}'", text.replace('\'', "''"));
    for username in unverified {
        let expected =
            format!("claimMappings.username.expression: Invalid value: {username:?}: {UNVERIFIED}");
        let mappings = |extra: &str| {
            let extra = format!("extra: [{{key: a/b, valueExpression: {}}}]", expression(extra));
            format!("{{username: {{expression: {}}}, {extra}}}", expression(username))
        };
        let with = |rule: &str, extra: &str| {
            let rules = format!("[{{expression: {}}}]", expression(rule));
            errors_with(&[("claimValidationRules", &rules), ("claimMappings", &mappings(extra))])
        };
        let good = "claims.sub == 'a'";
        for extra in
            ["claims.sub", "has(claims.email_verified_) ? 'true' : 'false'", "claims['email_verified']"]
        {
            assert_eq!(with(good, extra), [&*expected], "{username} beside {extra}");
        }
        for extra in
            ["claims.email_verified", "claims.?email_verified", "has(claims.email_verified) ? 'a' : 'b'"]
        {
            assert_eq!(with(good, extra), [""; 0], "{username} beside {extra}");
        }
        for rule in
            ["string(claims.email_verified) == 'panda'", "claims.?email_verified.orValue(true) == true"]
        {
            assert_eq!(with(rule, "claims.sub"), [""; 0], "{username} with {rule}");
        }
        let not_a_bool = "claims.?email_verified.orValue(true)";
        assert_eq!(
            with(not_a_bool, "claims.sub"),
            [
                format!(
                    "claimValidationRules[0].expression: Invalid value: {not_a_bool:?}: must evaluate to bool"
                ),
                expected
            ],
            "{username}: a rule that does not compile verifies nothing"
        );
    }
    for username in [
        "claims.email_",
        "claims.other.claims.email",
        "claims.?email_verified.orValue(true) ? claims.email : claims.sub",
        "claims.?email_verified.orValue(false) ? claims.email : claims.sub",
    ] {
        let mappings = format!("{{username: {{expression: {}}}}}", expression(username));
        assert_eq!(errors_with(&[("claimMappings", &mappings)]), [""; 0], "{username}");
    }
}

/// A rule with a claim goes to the claims, one with an expression stays in order, and what is empty is not there.
#[test]
fn the_settings_are_what_was_written() {
    let text = "jwt:
- issuer: {url: 'https://a', audiences: [b]}
  claimMappings: {username: {claim: c, prefix: ''}, groups: {prefix: d}, uid: {}}
- issuer: {url: 'https://e', discoveryURL: 'https://f', audiences: [g, h], audienceMatchPolicy: MatchAny}
  claimValidationRules:
  - {expression: 'true', message: i}
  - {claim: j}
  - {claim: k, requiredValue: l}
  - {expression: has(claims.m)}
  claimMappings:
    username: {expression: claims.n}
    groups: {claim: o, prefix: p}
    uid: {claim: q}
    extra: [{key: r/s, valueExpression: claims.t}]
  userValidationRules: [{expression: user.uid == 'u', message: v}]
";
    let jwt = parse(format!("{HEAD}{text}").as_bytes(), &[]).expect("good").jwt;
    let [first, second] = &*jwt else { panic!("two") };

    assert_eq!((&*first.issuer.url, &*first.issuer.audiences), ("https://a", &["b".to_owned()][..]));
    assert_eq!((&first.issuer.discovery_url, &first.issuer.certificate_authority), (&None, &None));
    assert!(first.required_claims.is_empty() && first.claim_validation_rules.is_empty());
    assert!(first.user_validation_rules.is_empty());
    let ClaimMappings { username, groups, uid, extra } = &first.claim_mappings;
    assert_eq!(prefixed(username), ("c", Some("")));
    assert!(groups.is_none() && uid.is_none() && extra.is_empty());

    assert_eq!(second.issuer.discovery_url.as_deref(), Some("https://f"));
    assert_eq!(second.issuer.audiences, ["g", "h"]);
    assert_eq!(second.signing_algorithms, SIGNING_ALGORITHMS);
    let required: Vec<(&str, &str)> = second.required_claims.iter().map(|(k, v)| (&**k, &**v)).collect();
    assert_eq!(required, [("j", ""), ("k", "l")]);
    assert_eq!(rules(&second.claim_validation_rules), [("true", Some("i")), ("has(claims.m)", None)]);
    let ClaimMappings { username, groups, uid, extra } = &second.claim_mappings;
    assert_eq!(prefixed(username), ("claims.n", None));
    assert_eq!(groups.as_ref().map(prefixed), Some(("o", Some("p"))));
    assert!(matches!(uid, Some(ClaimOrExpression::Claim(claim)) if claim == "q"));
    let extra: Vec<(&str, &str)> = extra.iter().map(|e| (&*e.key, e.value_expression.text())).collect();
    assert_eq!(extra, [("r/s", "claims.t")]);
    assert_eq!(rules(&second.user_validation_rules), [("user.uid == 'u'", Some("v"))]);
}

fn prefixed(mapping: &PrefixedClaimOrExpression) -> (&str, Option<&str>) {
    match mapping {
        PrefixedClaimOrExpression::Claim { claim, prefix } => (claim, Some(prefix)),
        PrefixedClaimOrExpression::Expression(expression) => (expression.text(), None),
    }
}

fn rules(rules: &[ValidationRule]) -> Vec<(&str, Option<&str>)> {
    rules.iter().map(|rule| (rule.expression.text(), rule.message.as_deref())).collect()
}
