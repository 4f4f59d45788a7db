//! Go: k8s.io/apiserver/pkg/apis/apiserver/validation/validation_test.go.

use super::super::parse;
use super::{HEAD, errors};
use crate::authn::token::jwt::settings::{
    ClaimMappings, ClaimOrExpression, PrefixedClaimOrExpression, SIGNING_ALGORITHMS, ValidationRule,
};

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

/// Go: TestValidateIssuerURL, TestValidateIssuerDiscoveryURL, TestValidateAudiences, TestValidateCertificateAuthority.
#[test]
fn issuers_are_validated() {
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
            (
                "{url: 'https://issuer-url:invalid-port', audiences: [a]}",
                &[
                    r#"issuer.url: Invalid value: "https://issuer-url:invalid-port": parse "https://issuer-url:invalid-port": invalid port ":invalid-port" after host"#,
                ],
            ),
            (
                "{url: 'http://issuer-url', audiences: [a]}",
                &[r#"issuer.url: Invalid value: "http://issuer-url": URL scheme must be https"#],
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
            ("{url: 'https://a', discoveryURL: 'https://b/path', audiences: [a]}", &[]),
            (
                "{url: 'https://a', discoveryURL: 'http://u@b?q#f', audiences: [a]}",
                &[
                    r#"issuer.discoveryURL: Invalid value: "http://u@b?q#f": URL scheme must be https"#,
                    r#"issuer.discoveryURL: Invalid value: "http://u@b?q#f": URL must not contain a username or password"#,
                    r#"issuer.discoveryURL: Invalid value: "http://u@b?q#f": URL must not contain a query"#,
                    r#"issuer.discoveryURL: Invalid value: "http://u@b?q#f": URL must not contain a fragment"#,
                ],
            ),
            (
                "{url: 'https://a', discoveryURL: 'https://a///', audiences: [a]}",
                &[
                    r#"issuer.discoveryURL: Invalid value: "https://a///": discoveryURL must be different from URL"#,
                ],
            ),
            (
                "{url: 'https://a/', discoveryURL: 'https://a', audiences: [a]}",
                &[
                    r#"issuer.discoveryURL: Invalid value: "https://a": discoveryURL must be different from URL"#,
                ],
            ),
            ("{url: 'https://a', audiences: ['']}", &["issuer.audiences[0]: Required value"]),
            (
                "{url: 'https://a', audiences: [a], audienceMatchPolicy: MatchExact}",
                &[
                    r#"issuer.audienceMatchPolicy: Invalid value: "MatchExact": audienceMatchPolicy must be empty or MatchAny for single audience"#,
                ],
            ),
            ("{url: 'https://a', audiences: [a], audienceMatchPolicy: MatchAny}", &[]),
            (
                "{url: 'https://a', audiences: [a, a], audienceMatchPolicy: MatchAny}",
                &[r#"issuer.audiences[1]: Duplicate value: "a""#],
            ),
            (
                "{url: 'https://a', audiences: [a, b]}",
                &[
                    r#"issuer.audienceMatchPolicy: Invalid value: "": audienceMatchPolicy must be MatchAny for multiple audiences"#,
                ],
            ),
            ("{url: 'https://a', audiences: [a, b], audienceMatchPolicy: MatchAny}", &[]),
            (
                "{url: 'https://a', audiences: [a], certificateAuthority: invalid}",
                &[
                    r#"issuer.certificateAuthority: Invalid value: "<omitted>": data does not contain any valid RSA or ECDSA certificates"#,
                ],
            ),
            (
                "{url: 'https://a', audiences: [a], egressSelectorType: panda}",
                &[
                    r#"issuer.egressSelectorType: Invalid value: "panda": egress selector must be either controlplane or cluster"#,
                ],
            ),
            // kube-apiserver says so as well if it has no egress selectors.
            (
                "{url: 'https://a', audiences: [a], egressSelectorType: cluster}",
                &[
                    r#"issuer.egressSelectorType: Invalid value: "cluster": egress lookup required with egress selector type "cluster"; there is none here, remove it"#,
                ],
            ),
        ],
    );
}

/// Go: TestValidateAuthenticationConfiguration. With two of a kind, keys of the one could sign for the other (threats S24).
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

/// Go: TestValidateClaimValidationRules.
#[test]
fn claim_validation_rules_are_validated() {
    assert_table(
        "claimValidationRules",
        &[
            ("[{}]", &["claimValidationRules[0]: Required value: claim or expression is required"]),
            (
                "[{requiredValue: value}]",
                &["claimValidationRules[0]: Required value: claim or expression is required"],
            ),
            (
                "[{claim: claim, expression: expression}]",
                &[
                    r#"claimValidationRules[0]: Invalid value: "claim": claim and expression can't both be set"#,
                ],
            ),
            (
                "[{claim: claim, message: message}]",
                &[
                    r#"claimValidationRules[0].message: Invalid value: "message": may not be specified when claim is set"#,
                ],
            ),
            (
                "[{requiredValue: value, expression: claims.foo == 'bar'}]",
                &[
                    r#"claimValidationRules[0].requiredValue: Invalid value: "value": may not be specified when expression is set"#,
                ],
            ),
            (
                "[{claim: claim}, {claim: claim}]",
                &[r#"claimValidationRules[1].claim: Duplicate value: "claim""#],
            ),
            (
                "[{expression: claims.foo == 'bar'}, {expression: claims.foo == 'bar'}]",
                &[r#"claimValidationRules[1].expression: Duplicate value: "claims.foo == 'bar'""#],
            ),
            (
                "[{expression: foo.bar}]",
                &[
                    r#"claimValidationRules[0].expression: Invalid value: "foo.bar": compilation failed: ERROR: <input>:1:1: undeclared reference to 'foo' (in container '')"#,
                ],
            ),
            (
                "[{expression: claims.foo}]",
                &[
                    r#"claimValidationRules[0].expression: Invalid value: "claims.foo": must evaluate to bool"#,
                ],
            ),
            (
                "[{claim: a, requiredValue: b}, {claim: c}, {expression: has(claims.email_verified), message: m}]",
                &[],
            ),
        ],
    );
}

/// Go: TestValidateClaimMappings.
#[test]
fn claim_mappings_are_validated() {
    let prefix_required = "Required value: prefix is required when claim is set. It can be set to an empty string to disable prefixing";
    let undeclared = r#"Invalid value: "foo.bar": compilation failed: ERROR: <input>:1:1: undeclared reference to 'foo' (in container '')"#;
    let both = r#"Invalid value: "": claim and expression can't both be set"#;
    let with_prefix = r#"Invalid value: "p": may not be specified when expression is set"#;
    let none = "Required value: claim or expression is required";
    let good = "username: {claim: a, prefix: p}";
    let table = [
        ("{}".to_owned(), "username", none),
        ("{username: {prefix: p}}".to_owned(), "username", none),
        ("{username: {claim: a, expression: claims.a}}".to_owned(), "username", both),
        ("{username: {prefix: p, expression: claims.a}}".to_owned(), "username.prefix", with_prefix),
        ("{username: {claim: a}}".to_owned(), "username.prefix", prefix_required),
        ("{username: {expression: foo.bar}}".to_owned(), "username.expression", undeclared),
        (format!("{{{good}, groups: {{claim: a, expression: claims.a}}}}"), "groups", both),
        (format!("{{{good}, groups: {{prefix: p, expression: claims.a}}}}"), "groups.prefix", with_prefix),
        (format!("{{{good}, groups: {{claim: a}}}}"), "groups.prefix", prefix_required),
        (format!("{{{good}, groups: {{expression: foo.bar}}}}"), "groups.expression", undeclared),
        (format!("{{{good}, uid: {{claim: a, expression: claims.a}}}}"), "uid", both),
        (format!("{{{good}, uid: {{expression: foo.bar}}}}"), "uid.expression", undeclared),
    ];
    for (text, field, problem) in table {
        let expected = format!("claimMappings.{field}: {problem}");
        assert_eq!(errors_with(&[("claimMappings", &text)]), [expected], "{text}");
    }
    for rest in ["", ", groups: {prefix: p}", ", groups: {claim: b, prefix: ''}, uid: {claim: c}"] {
        let text = format!("{{{good}{rest}}}");
        assert_eq!(errors_with(&[("claimMappings", &text)]), [""; 0], "{text}");
    }
}

/// Go: TestValidateClaimMappings ("extra mapping …"), IsDomainPrefixedPath.
#[test]
fn keys_of_extra_facts_are_validated() {
    let reserved = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use";
    let subdomain = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start \
        and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
        '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
    let path = "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";
    let domain_prefixed = "must be a domain-prefixed path (such as \"acme.io/foo\")";
    let long = format!("{}/a", "a".repeat(254));
    let longest = format!("{}/a", "a".repeat(253));
    let table: [(&str, &[(&str, &str)]); 27] = [
        ("foo", &[("foo", domain_prefixed)]),
        ("/foo", &[("/foo", domain_prefixed)]),
        ("foo/", &[("foo/", domain_prefixed)]),
        ("example.org/foo", &[]),
        ("localhost/foo", &[]),
        ("example.org/a/b//", &[]),
        ("1.2-3/%20", &[]),
        ("example.org/Foo", &[("example.org/Foo", "must be lowercase")]),
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
        ("k8s.io/foo", &[("k8s.io/foo", reserved)]),
        ("example.k8s.io/foo", &[("example.k8s.io/foo", reserved)]),
        ("kubernetes.io/foo", &[("kubernetes.io/foo", reserved)]),
        ("example.kubernetes.io/foo", &[("example.kubernetes.io/foo", reserved)]),
        ("ak8s.io/foo", &[]),
        ("example.ak8s.io/foo", &[]),
        ("bkubernetes.io/foo", &[]),
        ("example.bkubernetes.io/foo", &[]),
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
    assert_eq!(mappings("{valueExpression: claims.a}"), ["claimMappings.extra[0].key: Required value"]);
    assert_eq!(mappings("{key: a/b}"), ["claimMappings.extra[0].valueExpression: Required value"]);
    assert_eq!(
        mappings("{key: a/b, valueExpression: claims.a}, {key: a/b, valueExpression: claims.b}"),
        ["claimMappings.extra[1].key: Duplicate value: \"a/b\""]
    );
    assert_eq!(
        mappings("{key: a/b, valueExpression: foo.bar}"),
        [
            r#"claimMappings.extra[0].valueExpression: Invalid value: "foo.bar": compilation failed: ERROR: <input>:1:1: undeclared reference to 'foo' (in container '')"#
        ]
    );
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

/// Go: TestValidateUserValidationRules.
#[test]
fn user_validation_rules_are_validated() {
    assert_table(
        "userValidationRules",
        &[
            ("[{}]", &["userValidationRules[0].expression: Required value"]),
            (
                "[{expression: user.username == 'foo'}, {expression: user.username == 'foo'}]",
                &[r#"userValidationRules[1].expression: Duplicate value: "user.username == 'foo'""#],
            ),
            (
                "[{expression: foo.bar}]",
                &[
                    r#"userValidationRules[0].expression: Invalid value: "foo.bar": compilation failed: ERROR: <input>:1:1: undeclared reference to 'foo' (in container '')"#,
                ],
            ),
            (
                "[{expression: user.username}]",
                &[
                    r#"userValidationRules[0].expression: Invalid value: "user.username": must evaluate to bool"#,
                ],
            ),
            (
                "[{expression: user.username == 'foo'}, {expression: '!user.username.startsWith(''system:'')', message: m}]",
                &[],
            ),
        ],
    );
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
