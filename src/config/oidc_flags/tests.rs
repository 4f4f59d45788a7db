use super::super::tests::{file, read_flags};
use super::*;

const ISSUER: [&str; 2] = ["--oidc-issuer-url=https://issuer", "--oidc-client-id=client"];

/// What the flags say, beside an issuer and a client.
fn read(flags: &[&str]) -> Written {
    let (written, errors) = read_flags(ISSUER.iter().chain(flags), |values| written(values, &mut Vec::new()));
    assert_eq!(errors, [""; 0], "{flags:?}");
    written
}

fn errors(flags: &[&str]) -> Vec<String> {
    read_flags(flags, |values| authenticator(values, &[], &mut Vec::new())).1
}

fn errors_beside_issuer(flags: &[&str]) -> Vec<String> {
    errors(&[&ISSUER, flags].concat())
}

fn prefixed(claim: &str, prefix: &str) -> PrefixedClaimOrExpression {
    PrefixedClaimOrExpression {
        claim: claim.to_owned(),
        prefix: Some(prefix.to_owned()),
        expression: String::new(),
    }
}

/// Go: the rows of TestToAuthenticationConfig_OIDC (k8s.io/kubernetes/pkg/kubeapiserver/options/authentication_test.go) that have flags;
/// those with a file are in [`authentication`](super::super::authentication).
#[test]
fn the_rows_of_gos_test_of_jwt_authenticators_with_flags() {
    let table: [(&str, &[&str], PrefixedClaimOrExpression, PrefixedClaimOrExpression); 5] = [
        (
            "username prefix is '-'",
            &["--oidc-username-claim=sub", "--oidc-username-prefix=-"],
            prefixed("sub", ""),
            prefixed("", ""),
        ),
        (
            "--oidc-username-prefix is empty, --oidc-username-claim is not email",
            &["--oidc-username-claim=sub"],
            prefixed("sub", "https://testIssuerURL#"),
            prefixed("", ""),
        ),
        (
            "--oidc-username-prefix is empty, --oidc-username-claim is email",
            &["--oidc-username-claim=email"],
            prefixed("email", ""),
            prefixed("", ""),
        ),
        (
            "non empty username prefix",
            &["--oidc-username-claim=sub", "--oidc-username-prefix=k8s-"],
            prefixed("sub", "k8s-"),
            prefixed("", ""),
        ),
        (
            "groups claim exists",
            &[
                "--oidc-username-claim=sub",
                "--oidc-username-prefix=-",
                "--oidc-groups-claim=groups",
                "--oidc-groups-prefix=oidc:",
            ],
            prefixed("sub", ""),
            prefixed("groups", "oidc:"),
        ),
    ];
    let common = [
        "--oidc-issuer-url=https://testIssuerURL",
        "--oidc-client-id=testClientID",
        "--oidc-signing-algs=RS256",
        "--oidc-required-claim=foo=bar",
    ];
    for (name, flags, username, groups) in table {
        let (found, errors) = read_flags(common.iter().chain(flags), |values| {
            (written(values, &mut Vec::new()), signing_algorithms(values))
        });
        let expected = Written {
            issuer: Issuer {
                url: "https://testIssuerURL".to_owned(),
                audiences: vec!["testClientID".to_owned()],
                ..Issuer::default()
            },
            claim_mappings: ClaimMappings { username, groups, ..ClaimMappings::default() },
            claim_validation_rules: vec![ClaimValidationRule {
                claim: "foo".to_owned(),
                required_value: "bar".to_owned(),
                ..ClaimValidationRule::default()
            }],
            ..Written::default()
        };
        assert_eq!((found, errors), ((expected, vec!["RS256"]), Vec::new()), "{name}");
    }
}

/// Go: `ToAuthenticationConfig`, in cases that its tests have not.
#[test]
fn the_flags_are_what_a_file_could_say() {
    let groups = prefixed("", "");
    let table: [(&[&str], PrefixedClaimOrExpression, PrefixedClaimOrExpression); 8] = [
        (&[], prefixed("sub", "https://issuer#"), groups.clone()),
        (&["--oidc-username-prefix=-"], prefixed("sub", ""), groups.clone()),
        (&["--oidc-username-prefix=k8s-"], prefixed("sub", "k8s-"), groups.clone()),
        (&["--oidc-username-prefix=--"], prefixed("sub", "--"), groups.clone()),
        (&["--oidc-username-claim=email"], prefixed("email", ""), groups.clone()),
        (&["--oidc-username-claim=email", "--oidc-username-prefix=x"], prefixed("email", "x"), groups),
        (
            &["--oidc-groups-claim=groups", "--oidc-groups-prefix=oidc:"],
            prefixed("sub", "https://issuer#"),
            prefixed("groups", "oidc:"),
        ),
        // A prefix without a claim means nothing.
        (&["--oidc-groups-prefix=oidc:"], prefixed("sub", "https://issuer#"), prefixed("", "oidc:")),
    ];
    for (flags, username, groups) in table {
        let expected = Written {
            issuer: Issuer {
                url: "https://issuer".to_owned(),
                audiences: vec!["client".to_owned()],
                ..Issuer::default()
            },
            claim_mappings: ClaimMappings { username, groups, ..ClaimMappings::default() },
            ..Written::default()
        };
        assert_eq!(read(flags), expected, "{flags:?}");
    }
}

/// Go: `MapStringString` with NoSplit, trackProvidedFlag. The last of several values of a claim counts, and a comma is a comma.
#[test]
fn required_claims_are_pairs_one_a_flag() {
    let flags =
        ["--oidc-required-claim=b= c,d=e ", "--oidc-required-claim= a=1", "--oidc-required-claim=a=2"];
    let rules: Vec<(String, String)> = read(&flags)
        .claim_validation_rules
        .into_iter()
        .map(|rule| (rule.claim, rule.required_value))
        .collect();
    let pair = |claim: &str, value: &str| (claim.to_owned(), value.to_owned());
    assert_eq!(rules, [pair("a", "2"), pair("b", "c,d=e")]);
    let (_folder, listed) = file("oidc-required-claim: [a=1, 'b=c,d']\n");
    let rules = read(&[&format!("--config={listed}")]).claim_validation_rules;
    let rules: Vec<(&str, &str)> = rules.iter().map(|rule| (&*rule.claim, &*rule.required_value)).collect();
    assert_eq!(rules, [("a", "1"), ("b", "c,d")]);
    for pair in ["", "a"] {
        assert_eq!(
            errors_beside_issuer(&[&format!("--oidc-required-claim={pair}")]),
            [format!(
                "--oidc-required-claim: {pair:?}: malformed pair, expect string=string; write claim=value"
            )]
        );
    }
}

/// Go: AllValidSigningAlgorithms, the default of `oidc.New`, and TestToken ("invalid-sig-alg").
#[test]
fn signing_algorithms_are_names_of_rfc_7518() {
    let algorithms = |flags: &[&str]| {
        let flags = ISSUER.iter().chain(flags);
        let (authenticator, errors) = read_flags(flags, |values| authenticator(values, &[], &mut Vec::new()));
        (authenticator.map(|authenticator| authenticator.signing_algorithms), errors)
    };
    let some = |names: &[&'static str]| (Some(names.to_vec()), Vec::new());
    assert_eq!(algorithms(&[]), some(&["RS256"]));
    assert_eq!(algorithms(&["--oidc-signing-algs="]), some(&["RS256"]));
    assert_eq!(
        algorithms(&["--oidc-signing-algs=ES512,PS256", "--oidc-signing-algs=RS384"]),
        some(&["ES512", "PS256", "RS384"])
    );
    let supported = "supported are ES256, ES384, ES512, PS256, PS384, PS512, RS256, RS384, RS512";
    for name in ["EdDSA", "rs256", "HS256", "none", " RS256"] {
        assert_eq!(
            algorithms(&[&format!("--oidc-signing-algs=RS256,{name}")]).1,
            [format!("--oidc-signing-algs: oidc: unsupported signing alg: {name:?}; {supported}")]
        );
    }
}

/// Go: all rows of TestValidateOIDCOptions (k8s.io/kubernetes/pkg/kubeapiserver/options/authentication_test.go), but for
/// "authentication-config file, feature gate is not enabled": the feature cannot be switched off in 1.36.
#[test]
fn the_rows_of_gos_test_of_the_flags() {
    const FILE: &str = "--authentication-config=configfile";
    let incomplete = |flag: &str| {
        format!(
            "--{flag}: oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set"
        )
    };
    let exclusive = |flag: &str| {
        format!(
            "--{flag}: authentication-config file and oidc-* flags are mutually exclusive; write an issuer into the file, or remove the file"
        )
    };
    let (url, client) = ("--oidc-issuer-url=https://testIssuerURL", "--oidc-client-id=testClientID");
    let claim = "--oidc-username-claim=testClaim";
    let table: [(&str, &[&str], &str); 16] = [
        ("issuer url and client id are not set", &[claim], &incomplete("oidc-username-claim")),
        ("issuer url set, client id is not set", &[url, claim], &incomplete("oidc-issuer-url")),
        ("issuer url is not set, client id is set", &[client, claim], &incomplete("oidc-client-id")),
        ("issuer url and client id are set", &[client, url], ""),
        ("authentication-config file, --oidc-issuer-url is set", &[FILE, url], &exclusive("oidc-issuer-url")),
        (
            "authentication-config file, --oidc-client-id is set",
            &[FILE, client],
            &exclusive("oidc-client-id"),
        ),
        (
            "authentication-config file, --oidc-username-claim is set",
            &[FILE, claim],
            &exclusive("oidc-username-claim"),
        ),
        (
            "authentication-config file, --oidc-username-prefix is set",
            &[FILE, "--oidc-username-prefix=testPrefix"],
            &exclusive("oidc-username-prefix"),
        ),
        (
            "authentication-config file, --oidc-ca-file is set",
            &[FILE, "--oidc-ca-file=testCAFile"],
            &exclusive("oidc-ca-file"),
        ),
        (
            "authentication-config file, --oidc-groups-claim is set",
            &[FILE, "--oidc-groups-claim=testClaim"],
            &exclusive("oidc-groups-claim"),
        ),
        (
            "authentication-config file, --oidc-groups-prefix is set",
            &[FILE, "--oidc-groups-prefix=testPrefix"],
            &exclusive("oidc-groups-prefix"),
        ),
        (
            "authentication-config file, --oidc-required-claim is set",
            &[FILE, "--oidc-required-claim=foo=bar"],
            &exclusive("oidc-required-claim"),
        ),
        (
            "authentication-config file, --oidc-signature-algs is set",
            &[FILE, "--oidc-signing-algs=RS512"],
            &exclusive("oidc-signing-algs"),
        ),
        (
            "authentication-config file, --oidc-username-claim flag not set, defaulting shouldn't error",
            &[FILE],
            "",
        ),
        (
            "authentication-config file, --oidc-username-claim flag explicitly set with default value should error",
            &[FILE, "--oidc-username-claim=sub"],
            &exclusive("oidc-username-claim"),
        ),
        ("valid authentication-config file", &[FILE], ""),
    ];
    for (name, flags, expected) in table {
        assert_eq!(errors(flags).join(";"), expected, "{name}");
    }
}

/// Go: `validateOIDCOptions`, in cases that its tests have not: whatever is set, and how it is empty.
#[test]
fn the_flags_go_together_and_not_with_a_file() {
    assert_eq!(errors(&[]), [""; 0]);
    assert_eq!(errors(&ISSUER), [""; 0]);
    let incomplete =
        "oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set";
    assert_eq!(errors(&["--oidc-issuer-url=https://issuer"]), [format!("--oidc-issuer-url: {incomplete}")]);
    assert_eq!(errors(&["--oidc-client-id=client"]), [format!("--oidc-client-id: {incomplete}")]);
    assert_eq!(
        errors(&["--oidc-issuer-url=", "--oidc-client-id="]),
        [format!("--oidc-issuer-url: {incomplete}")]
    );
    let (_folder, configuration) = file("");
    for name in FLAGS {
        let flag = format!("--{name}=");
        if name != "oidc-required-claim" {
            let expected: Vec<String> = vec![format!("--{name}: {incomplete}")];
            assert_eq!(errors(&[&flag]), expected, "alone");
        }
        assert_eq!(
            errors(&[&flag, &format!("--authentication-config={configuration}")]),
            [format!(
                "--{name}: authentication-config file and oidc-* flags are mutually exclusive; write an issuer into the file, or remove the file"
            )]
        );
        assert_eq!(errors(&[&ISSUER[..], &["--authentication-config="]].concat()), [""; 0], "no file");
    }
}

/// Each is told at the flag that it comes from.
#[test]
fn what_a_flag_says_is_validated_as_in_a_file() {
    assert_eq!(
        errors(&["--oidc-issuer-url=http://issuer?q", "--oidc-client-id=client"]),
        [
            "--oidc-issuer-url: Invalid value: \"http://issuer?q\": URL scheme must be https",
            "--oidc-issuer-url: Invalid value: \"http://issuer?q\": URL must not contain a query",
        ]
    );
    assert_eq!(
        errors_beside_issuer(&["--oidc-username-claim="]),
        ["--oidc-username-claim: Required value: claim or expression is required"]
    );
    assert_eq!(
        errors_beside_issuer(&["--oidc-required-claim==a"]),
        ["--oidc-required-claim: Required value: claim or expression is required"]
    );
    let (_folder, garbage) = file("x");
    assert_eq!(
        errors_beside_issuer(&[&format!("--oidc-ca-file={garbage}")]),
        [
            "--oidc-ca-file: Invalid value: \"<omitted>\": data does not contain any valid RSA or ECDSA certificates"
        ]
    );
    assert_eq!(
        errors_beside_issuer(&["--oidc-ca-file=none.pem"]),
        ["--oidc-ca-file: none.pem: cannot be read: No such file or directory (os error 2)"]
    );
    let disallowed = ["https://issuer".to_owned()];
    let (_, errors) = read_flags(ISSUER, |values| authenticator(values, &disallowed, &mut Vec::new()));
    assert_eq!(
        errors,
        [
            "--oidc-issuer-url: Invalid value: \"https://issuer\": URL must not overlap with disallowed issuers: [https://issuer]"
        ]
    );
}

/// kube-apiserver does not look at the file's length.
#[test]
fn an_empty_file_of_cas_means_the_system_s_and_a_warning() {
    let (_folder, empty) = file("");
    let flags = ISSUER.map(str::to_owned).into_iter().chain([format!("--oidc-ca-file={empty}")]);
    let mut warnings = Vec::new();
    let (authenticator, errors) = read_flags(flags, |values| authenticator(values, &[], &mut warnings));
    assert_eq!(errors, [""; 0]);
    assert_eq!(authenticator.and_then(|authenticator| authenticator.issuer.certificate_authority), None);
    assert_eq!(
        warnings,
        [format!(
            "--oidc-ca-file: {empty}: empty, so the issuer's certificate is verified with the system's roots, as kube-apiserver does"
        )]
    );
}
