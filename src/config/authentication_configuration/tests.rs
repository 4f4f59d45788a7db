//! Kubernetes' own tests of the same names, as tables: what is written, and the errors. CEL's further lines, with a mark below the
//! place, are left out.

use proptest::prelude::*;

use super::types::AnonymousAuthCondition;
use super::*;

mod validate;

const HEAD: &str = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n";

fn errors(text: &str, disallowed_issuers: &[&str]) -> Vec<String> {
    let disallowed_issuers: Vec<String> =
        disallowed_issuers.iter().map(|issuer| (*issuer).to_owned()).collect();
    let errors = parse(text.as_bytes(), &disallowed_issuers).err().unwrap_or_default();
    errors.iter().filter_map(|error| error.lines().next()).map(str::to_owned).collect()
}

/// Go: `loadAuthenticationConfig` (k8s.io/kubernetes/pkg/kubeapiserver/options), in cases that its test has not.
#[test]
fn a_file_is_an_object_of_a_known_kind_and_version() {
    let versions = "write one of apiserver.config.k8s.io/v1, apiserver.config.k8s.io/v1beta1, apiserver.config.k8s.io/v1alpha1";
    let unknown = |kind: &str, version: &str| {
        format!("apiVersion: no kind \"{kind}\" is registered for version \"{version}\"; {versions}")
    };
    let no_kind = "kind: Object 'Kind' is missing; write AuthenticationConfiguration";
    let table = [
        ("\n", no_kind),
        ("# comment", no_kind),
        ("~", no_kind),
        ("apiVersion: apiserver.config.k8s.io/v1", no_kind),
        (
            "{\"apiVersion\":\"apiserver.config.k8s.io/v99\",\"kind\":\"AuthenticationConfiguration\",\"jwt\":5}",
            &unknown("AuthenticationConfiguration", "apiserver.config.k8s.io/v99"),
        ),
        (
            "apiVersion: apiserver.config.k8s.io/__internal\nkind: AuthenticationConfiguration",
            &unknown("AuthenticationConfiguration", "apiserver.config.k8s.io/__internal"),
        ),
        (
            "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthorizationConfiguration\nauthorizers: []",
            "kind: expected AuthenticationConfiguration, got \"AuthorizationConfiguration\"",
        ),
        ("apiVersion: 1\nkind: X", "apiVersion: cannot unmarshal number into a string; write it in quotes"),
        ("[]", "cannot unmarshal array into an object with apiVersion and kind"),
        // What begins as JSON is not tried as YAML.
        (" {apiVersion: apiserver.config.k8s.io/v1}", "key must be a string at line 1 column 3"),
        ("{\"a\":1} x", "trailing characters at line 1 column 9"),
        ("{\"a\":1,\"a\":1}", "duplicate field \"a\"; remove one of the two at line 1 column 13"),
        ("{\"a\": {\"b\":1,\"b\":1}}", "duplicate field \"b\"; remove one of the two at line 1 column 19"),
    ];
    for (text, expected) in table {
        assert_eq!(errors(text, &[]), [expected], "{text:?}");
    }
    for version in ["v1", "v1beta1", "v1alpha1"] {
        let json = format!(
            "\n{{\"apiVersion\":\"apiserver.config.k8s.io/{version}\",\n\t\"kind\":\"AuthenticationConfiguration\"}}\n"
        );
        assert_eq!(errors(&json, &[]), [""; 0]);
        let yaml = format!(
            "apiVersion: apiserver.config.k8s.io/{version}\nkind: AuthenticationConfiguration\njwt: ~\n"
        );
        assert_eq!(errors(&yaml, &[]), [""; 0]);
    }
}

/// Go: all rows of TestLoadAuthenticationConfig (k8s.io/kubernetes/pkg/kubeapiserver/options/authentication_test.go), but for "missing file",
/// which is among those of TestToAuthenticationConfig_OIDC here. What is loaded is not validated yet.
#[test]
fn the_rows_of_gos_test_of_loading() {
    let json = |version: &str| {
        format!(
            r#"{{
                            "apiVersion":"apiserver.config.k8s.io/{version}",
                            "kind":"AuthenticationConfiguration",
                            "jwt":[{{"issuer":{{"url": "https://test-issuer"}}}}]}}"#
        )
    };
    let yaml = |version: &str| {
        format!(
            "
apiVersion: apiserver.config.k8s.io/{version}
kind: AuthenticationConfiguration
jwt:
- issuer:
    url: https://test-issuer
  claimMappings:
    username:
      claim: sub
      prefix: \"\"
"
        )
    };
    let no_jwt = |version: &str| {
        format!(
            r#"{{
                            "apiVersion":"apiserver.config.k8s.io/{version}",
                            "kind":"AuthenticationConfiguration"}}"#
        )
    };
    let issuer = || types::Issuer { url: "https://test-issuer".to_owned(), ..types::Issuer::default() };
    let one =
        |authenticator| types::AuthenticationConfiguration { jwt: vec![authenticator], anonymous: None };
    let of_json = || one(types::JwtAuthenticator { issuer: issuer(), ..types::JwtAuthenticator::default() });
    let of_yaml = || {
        let username = types::PrefixedClaimOrExpression {
            claim: "sub".to_owned(),
            prefix: Some(String::new()),
            expression: String::new(),
        };
        let claim_mappings = types::ClaimMappings { username, ..types::ClaimMappings::default() };
        one(types::JwtAuthenticator {
            issuer: issuer(),
            claim_mappings,
            ..types::JwtAuthenticator::default()
        })
    };
    let mut good = vec![("valid file".to_owned(), json("v1alpha1"), of_json())];
    for version in ["v1alpha1", "v1beta1", "v1"] {
        good.extend([
            (format!("{version} - json"), json(version), of_json()),
            (format!("{version} - yaml"), yaml(version), of_yaml()),
            (format!("{version} - no jwt"), no_jwt(version), types::AuthenticationConfiguration::default()),
        ]);
    }
    for (name, text, expected) in good {
        assert_eq!(decode::decode(text.as_bytes(), &KIND), Ok(expected), "{name}");
    }

    let versions = "write one of apiserver.config.k8s.io/v1, apiserver.config.k8s.io/v1beta1, apiserver.config.k8s.io/v1alpha1";
    let unknown = |version: &str| {
        format!(
            "apiVersion: no kind \"AuthenticationConfiguration\" is registered for version \"{version}\"; {versions}"
        )
    };
    let bad = [
        ("empty file", "", "empty config data".to_owned()),
        (
            "invalid content file",
            r#"{"apiVersion":"apiserver.config.k8s.io/v99","kind":"AuthenticationConfiguration","authorizers":{"type":"Webhook"}}"#,
            unknown("apiserver.config.k8s.io/v99"),
        ),
        (
            "missing apiVersion",
            r#"{"kind":"AuthenticationConfiguration"}"#,
            "apiVersion: Object 'apiVersion' is missing; write apiserver.config.k8s.io/v1".to_owned(),
        ),
        (
            "missing kind",
            r#"{"apiVersion":"apiserver.config.k8s.io/v1alpha1"}"#,
            "kind: Object 'Kind' is missing; write AuthenticationConfiguration".to_owned(),
        ),
        (
            "unknown group",
            r#"{"apiVersion":"apps/v1alpha1","kind":"AuthenticationConfiguration"}"#,
            unknown("apps/v1alpha1"),
        ),
        (
            "unknown version",
            r#"{"apiVersion":"apiserver.config.k8s.io/v99","kind":"AuthenticationConfiguration"}"#,
            unknown("apiserver.config.k8s.io/v99"),
        ),
        (
            "unknown kind",
            r#"{"apiVersion":"apiserver.config.k8s.io/v1alpha1","kind":"SomeConfiguration"}"#,
            "kind: expected AuthenticationConfiguration, got \"SomeConfiguration\"".to_owned(),
        ),
        (
            "unknown field",
            r#"{
                            "apiVersion":"apiserver.config.k8s.io/v1alpha1",
                            "kind":"AuthenticationConfiguration",
                            "jwt1":[{"issuer":{"url": "https://test-issuer"}}]}"#,
            "strict decoding error: unknown field \"jwt1\"".to_owned(),
        ),
    ];
    for (name, text, expected) in bad {
        assert_eq!(
            decode::decode::<types::AuthenticationConfiguration>(text.as_bytes(), &KIND),
            Err(vec![expected]),
            "{name}"
        );
    }
}

#[test]
fn a_file_is_not_too_large_and_not_nested_too_deeply() {
    for start in ["{", "#"] {
        let large = format!("{start}{}", " ".repeat(4 * 1024 * 1024));
        assert_eq!(errors(&large, &[]), ["more than 4194304 bytes"]);
    }
    let deep = format!("{{\"a\":{}", "[".repeat(100_000));
    assert_eq!(errors(&deep, &[]), ["recursion limit exceeded at line 1 column 132"]);
    assert_eq!(errors(&format!("a: {}", "[".repeat(100_000)), &[]), ["line 1: recursion limit exceeded"]);
}

/// Go: sigs.k8s.io/json, `UnmarshalStrict`; all of them are told at once here.
#[test]
fn fields_are_known_to_the_letter_and_of_their_types() {
    let text = "zzz: 1\njwt:\n- issuer: {URL: a, url: 5, audiences: b}\n  claimMappings: []\n- ~\n- 6\n\
                anonymous: {enabled: 'true', conditions: [{path: yes, z: 1}]}\n";
    assert_eq!(
        errors(&format!("{HEAD}{text}"), &[]),
        [
            "jwt[0].issuer.url: cannot unmarshal number into a string; write it in quotes",
            "jwt[0].issuer.audiences: cannot unmarshal string into a list",
            "strict decoding error: unknown field \"jwt[0].issuer.URL\"",
            "jwt[0].claimMappings: cannot unmarshal array into an object",
            "jwt[2]: cannot unmarshal number into an object",
            "anonymous.enabled: cannot unmarshal string into a boolean",
            "anonymous.conditions[0].path: cannot unmarshal bool into a string; write it in quotes",
            "strict decoding error: unknown field \"anonymous.conditions[0].z\"",
            "strict decoding error: unknown field \"zzz\"",
        ]
    );
}

/// `null` is what is not there, in a list too.
#[test]
fn what_is_written_is_read_whole() {
    let text = "jwt:
- issuer:
    url: https://a
    discoveryURL: https://b
    certificateAuthority: c
    audiences: [d, ~]
    audienceMatchPolicy: e
    egressSelectorType: f
  claimValidationRules:
  - {claim: g, requiredValue: h}
  - {expression: i, message: j}
  claimMappings:
    username: {claim: k, prefix: ''}
    groups: {expression: l}
    uid: {claim: m, expression: ~}
    extra: [{key: nn, valueExpression: o}]
  userValidationRules: [{expression: p, message: q}]
- ~
anonymous: {enabled: on, conditions: [{path: /r}, ~]}
";
    let s = str::to_owned;
    let claim = |claim: &str, prefix: Option<&str>, expression: &str| types::PrefixedClaimOrExpression {
        claim: s(claim),
        prefix: prefix.map(s),
        expression: s(expression),
    };
    let first = types::JwtAuthenticator {
        issuer: types::Issuer {
            url: s("https://a"),
            discovery_url: s("https://b"),
            certificate_authority: b"c".to_vec(),
            audiences: vec![s("d"), s("")],
            audience_match_policy: s("e"),
            egress_selector_type: s("f"),
        },
        claim_validation_rules: vec![
            types::ClaimValidationRule { claim: s("g"), required_value: s("h"), ..Default::default() },
            types::ClaimValidationRule { expression: s("i"), message: s("j"), ..Default::default() },
        ],
        claim_mappings: types::ClaimMappings {
            username: claim("k", Some(""), ""),
            groups: claim("", None, "l"),
            uid: types::ClaimOrExpression { claim: s("m"), expression: s("") },
            extra: vec![types::ExtraMapping { key: s("nn"), value_expression: s("o") }],
        },
        user_validation_rules: vec![types::UserValidationRule { expression: s("p"), message: s("q") }],
    };
    let expected = types::AuthenticationConfiguration {
        jwt: vec![first, types::JwtAuthenticator::default()],
        anonymous: Some(AnonymousAuthConfig {
            enabled: true,
            conditions: vec![AnonymousAuthCondition { path: s("/r") }, AnonymousAuthCondition::default()],
        }),
    };
    assert_eq!(decode::decode(format!("{HEAD}{text}").as_bytes(), &KIND), Ok(expected));
}

/// Go: `AnonymousAuthConfig`. The rows of Go's test are among those of the flags (src/config/authentication/tests.rs).
#[test]
fn the_anonymous_part_is_read() {
    let read = |text: &str| parse(format!("{HEAD}{text}").as_bytes(), &[]).expect(text).anonymous;
    assert_eq!(read(""), None);
    assert_eq!(read("anonymous: null\n"), None);
    assert_eq!(read("anonymous: {}\n"), Some(AnonymousAuthConfig::default()));
    let conditions = vec![AnonymousAuthCondition { path: "/x".to_owned() }];
    assert_eq!(
        read("anonymous:\n  enabled: true\n  conditions:\n  - path: /x\n"),
        Some(AnonymousAuthConfig { enabled: true, conditions })
    );
    for enabled in ["", "enabled: false, "] {
        assert_eq!(
            errors(&format!("{HEAD}anonymous: {{{enabled}conditions: [{{path: /x}}]}}\n"), &[]),
            [
                "anonymous.conditions: Invalid value: [{\"Path\":\"/x\"}]: enabled should be set to true when conditions are defined"
            ]
        );
    }
}

proptest! {
    #[test]
    fn no_file_makes_it_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        lines in prop::collection::vec((0_usize..5, prop::sample::select(LINES)), 0..30),
    ) {
        let lines: String = lines.iter().map(|(indent, line)| format!("{:1$}{line}\n", "", 2 * indent)).collect();
        let _any = (parse(&bytes, &[]), parse(format!("{HEAD}{lines}").as_bytes(), &[]), parse(format!("{{{lines}").as_bytes(), &[]));
    }
}

const LINES: &[&str] = &[
    "jwt:",
    "- issuer:",
    "url: https://a",
    "audiences: [a, b]",
    "claimMappings:",
    "username:",
    "claim: a",
    "prefix: ''",
    "- expression: claims.a == 'b'",
    "claimValidationRules:",
    "userValidationRules:",
    "extra:",
    "- key: a/b",
    "valueExpression: claims.email",
    "anonymous: {enabled: true}",
    "- &a {claim: b}",
    "- *a",
    "<<: *a",
    "\"a\": {",
    "}",
    "- ~",
    "x: 5",
];
