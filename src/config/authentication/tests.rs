//! The recorded verdicts of a real kube-apiserver on its authentication configuration and the `--oidc-*` flags.

#![allow(clippy::disallowed_methods, reason = "a test reads its vectors")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::super::tests::{file as written, read_flags};
use super::*;

#[derive(Deserialize)]
struct Vector {
    id: String,
    class: String,
    flags: Vec<String>,
    files: BTreeMap<String, String>,
    expect: Expect,
}

#[derive(Deserialize)]
struct Expect {
    starts: bool,
    error: Option<String>,
}

impl Vector {
    /// The vectors about what is read here.
    fn all() -> Vec<Self> {
        let text = fs::read_to_string(conformance().join("configs/configs.jsonl")).unwrap();
        let vectors = text.lines().map(|line| serde_json::from_str::<Self>(line).unwrap());
        let ours = |vector: &Self| match &*vector.class {
            "flags" => vector.flags.iter().any(|flag| flag.starts_with("--oidc-")),
            class => ["authn-config", "cel-compile"].contains(&class),
        };
        vectors.filter(ours).collect()
    }

    /// What is wrong with its flags, of those that are read here.
    fn errors(&self) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in &self.files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let folders = [folder.path().to_owned(), conformance().join("world")];
        let (issuers, rest): (Vec<_>, Vec<_>) =
            self.flags.iter().partition(|flag| flag.starts_with("--service-account-"));
        let issuers = issuers.iter().filter_map(|flag| flag.strip_prefix("--service-account-issuer="));
        let issuers: Vec<String> = issuers.map(str::to_owned).collect();
        let flags = rest.into_iter().map(|flag| placed(flag, &folders));
        read_flags(flags, |values| drop(read(values, &issuers, &mut Vec::new()))).1
    }

    /// What kube-apiserver says, less what is about its own files and types.
    fn essence(&self) -> &str {
        let reworded = REWORDED.iter().find(|(id, _)| self.id.strip_prefix("config/") == Some(id));
        if let Some((_, essence)) = reworded {
            return essence;
        }
        let error = self.expect.error.as_deref().unwrap_or_default();
        let loading = "failed to load authentication configuration from file \"oracle-tmp/authn.yaml\": ";
        let error = error.strip_prefix(loading).unwrap_or(error);
        let error = error.strip_prefix("invalid authentication configuration: ").unwrap_or(error);
        // Several come as a list; the first of them will do, and of CEL's the first line.
        let error = error.strip_prefix('[').and_then(|list| list.split(", jwt[").next()).unwrap_or(error);
        let error = error.lines().next().unwrap_or_default();
        // A flag is a better place than a field that nobody wrote.
        let field =
            ["jwt[0].issuer.url: ", "issuer.url: "].into_iter().find_map(|field| error.strip_prefix(field));
        field.filter(|_| self.class == "flags").unwrap_or(error)
    }
}

/// The vectors whose errors are in other words here, and what has to be in them.
const REWORDED: [(&str, &str); 7] = [
    (
        "authn-config/v2",
        "no kind \"AuthenticationConfiguration\" is registered for version \"apiserver.config.k8s.io/v2\"",
    ),
    ("authn-config/no-kind", "Object 'Kind' is missing"),
    ("authn-config/other-kind", "expected AuthenticationConfiguration, got \"AuthorizationConfiguration\""),
    ("authn-config/wrong-type", "jwt[0].issuer.audiences: cannot unmarshal string into a list"),
    ("authn-config/tab-yaml", "line 4: tabs disallowed within this context"),
    ("flags/oidc-ca-missing", "--oidc-ca-file: ca/none.pem: cannot be read"),
    ("flags/oidc-required-noeq", "--oidc-required-claim: \"a\": malformed pair, expect string=string"),
];

fn conformance() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
}

/// A flag whose value, if it is a file of one of these folders, is that file.
fn placed(flag: &str, folders: &[PathBuf]) -> String {
    let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
    let mut paths = folders.iter().map(|folder| folder.join(value));
    let path = paths.find(|path| path.is_file());
    path.map_or_else(|| flag.to_owned(), |path| format!("{name}={}", path.display()))
}

#[test]
fn what_kube_apiserver_starts_with_is_good_and_what_it_refuses_is_refused_in_its_words() {
    let (mut problems, mut counts) = (Vec::new(), BTreeMap::<_, usize>::new());
    for vector in Vector::all() {
        let (errors, essence) = (vector.errors(), vector.essence());
        if errors.is_empty() != vector.expect.starts {
            problems.push(format!("{}: kube-apiserver: {essence:?}, here: {errors:?}", vector.id));
        } else if !vector.expect.starts && !errors.iter().any(|error| error.contains(essence)) {
            problems.push(format!("{}: none of {errors:?} is {essence:?}", vector.id));
        }
        *counts.entry((vector.class, vector.expect.starts)).or_default() += 1;
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    let counts: Vec<(&str, bool, usize)> =
        counts.iter().map(|((class, starts), n)| (&**class, *starts, *n)).collect();
    assert_eq!(
        counts,
        [
            ("authn-config", false, 51),
            ("authn-config", true, 22),
            ("cel-compile", false, 25),
            ("cel-compile", true, 79),
            ("flags", false, 11),
            ("flags", true, 7),
        ]
    );
}

/// The configurations that the recorded requests were sent to.
#[test]
fn the_configurations_of_the_scenarios_are_good() {
    let mut configurations = 0;
    for scenario in fs::read_dir(conformance().join("scenarios")).unwrap() {
        let flags = fs::read_to_string(scenario.unwrap().path().join("flags.txt")).unwrap();
        let read_here = |flag: &&str| {
            ["--oidc-", "--authentication-config=", "--anonymous-auth"]
                .iter()
                .any(|name| flag.starts_with(name))
        };
        let flags: Vec<String> = flags
            .lines()
            .filter(read_here)
            .map(|flag| placed(flag, &[conformance().join("world")]))
            .collect();
        let (jwt, errors) = read_flags(&flags, |values| read(values, &[], &mut Vec::new()).jwt.len());
        assert_eq!(errors, [""; 0], "{flags:?}");
        configurations += usize::from(jwt > 0);
    }
    assert_eq!(configurations, 6);
}

/// What a file has in front of what it says.
const HEAD: &str = "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\n";

/// What flags and a file say together, by the parts of [`Authentication`]; FILE stands for the file in errors.
fn said(flags: &[&str], text: Option<&str>) -> (String, String, Vec<String>) {
    let file = text.map(|text| written(&format!("\n{HEAD}{text}")));
    let path = file.as_ref().map(|(_folder, path)| format!("--authentication-config={path}"));
    let flags = flags.iter().map(|flag| (*flag).to_owned()).chain(path);
    let (said, errors) = read_flags(flags, |values| read(values, &[], &mut Vec::new()));
    let named =
        |error: &String| file.as_ref().map_or_else(|| error.clone(), |(_, path)| error.replace(path, "FILE"));
    (format!("{:?}", said.jwt), format!("{:?}", said.anonymous), errors.iter().map(named).collect())
}

/// The issuer of Go's tests, who has no prefix.
const TEST_ISSUER: &str = "jwt:
- issuer:
    url: https://test-issuer
    audiences: [ \"🐼\" ]
  claimMappings:
    username:
      claim: sub
      prefix: \"\"
";

fn test_issuer() -> String {
    use crate::authn::token::jwt::settings::{
        ClaimMappings, Issuer, PrefixedClaimOrExpression, SIGNING_ALGORITHMS,
    };
    let authenticator = JwtAuthenticator {
        issuer: Issuer {
            url: "https://test-issuer".to_owned(),
            discovery_url: None,
            certificate_authority: None,
            audiences: vec!["🐼".to_owned()],
        },
        signing_algorithms: SIGNING_ALGORITHMS.to_vec(),
        required_claims: BTreeMap::new(),
        claim_validation_rules: Vec::new(),
        claim_mappings: ClaimMappings {
            username: PrefixedClaimOrExpression::Claim { claim: "sub".to_owned(), prefix: String::new() },
            groups: None,
            uid: None,
            extra: Vec::new(),
        },
        user_validation_rules: Vec::new(),
    };
    format!("{:?}", [authenticator])
}

/// Who is let in without credentials, or what is wrong.
type Expected<'a> = Result<String, &'a str>;

/// Go: all rows of TestToAuthenticationConfig_Anonymous (k8s.io/kubernetes/pkg/kubeapiserver/options/authentication_test.go), but for
/// "file-anonymous-disabled-AnonymousAuthConfigurableEndpoints-disabled": the feature cannot be switched off in 1.36.
#[test]
fn the_rows_of_gos_test_of_anonymous() {
    let on =
        |paths: &[&str]| format!("{:?}", Some(Anonymous::new(paths.iter().map(|path| Box::from(*path)))));
    let off = || format!("{:?}", None::<Anonymous>);
    let conditions = r#"--authentication-config: FILE: anonymous.conditions: Invalid value: [{"Path":"/livez"}]: enabled should be set to true when conditions are defined"#;
    let both = "--authentication-config: FILE: anonymous: Forbidden: --anonymous-auth flag cannot be set when anonymous field is configured in authentication \
                configuration file; remove one of the two";
    let table: [(&str, &[&str], Option<&str>, Expected<'_>); 10] = [
        ("flag-none", &[], None, Ok(on(&[]))),
        ("flag-anonymous-enabled", &["--anonymous-auth=True"], None, Ok(on(&[]))),
        ("flag-anonymous-disabled", &["--anonymous-auth=False"], None, Ok(off())),
        (
            "file-anonymous-disabled-AnonymousAuthConfigurableEndpoints-enabled",
            &[],
            Some("anonymous:\n  enabled: false\n"),
            Ok(off()),
        ),
        (
            "file-anonymous-enabled-AnonymousAuthConfigurableEndpoints-enabled",
            &[],
            Some("anonymous:\n  enabled: true\n"),
            Ok(on(&[])),
        ),
        (
            "file-anonymous-disabled-with-conditions-AnonymousAuthConfigurableEndpoints-enabled",
            &[],
            Some("anonymous:\n  enabled: false\n  conditions:\n  - path: \"/livez\"\n"),
            Err(conditions),
        ),
        (
            "file-anonymous-missing-with-conditions-AnonymousAuthConfigurableEndpoints-enabled",
            &[],
            Some("anonymous:\n  conditions:\n  - path: \"/livez\"\n"),
            Err(conditions),
        ),
        (
            "file-anonymous-enabled-with-conditions-AnonymousAuthConfigurableEndpoints-enabled",
            &[],
            Some("anonymous:\n  enabled: true\n  conditions:\n  - path: \"/livez\"\n"),
            Ok(on(&["/livez"])),
        ),
        (
            "flag-anonymous-enabled-file-anonymous-enabled-AnonymousAuthConfigurableEndpoints-enabled",
            &["--anonymous-auth=True"],
            Some("anonymous:\n  enabled: true\n"),
            Err(both),
        ),
        (
            "flag-anonymous-enabled-file-anonymous-notset-AnonymousAuthConfigurableEndpoints-enabled",
            &["--anonymous-auth=True"],
            Some(TEST_ISSUER),
            Ok(on(&[])),
        ),
    ];
    for (name, flags, text, expected) in table {
        let (jwt, anonymous, errors) = said(flags, text);
        let issuers = if text == Some(TEST_ISSUER) { test_issuer() } else { "[]".to_owned() };
        assert_eq!(jwt, issuers, "{name}");
        match expected {
            Ok(expected) => assert_eq!((anonymous, errors), (expected, Vec::new()), "{name}"),
            Err(error) => assert_eq!(errors, [error], "{name}"),
        }
    }
}

/// Go: the three rows of TestToAuthenticationConfig_OIDC that have a file; those with flags are in
/// [`oidc_flags`](super::super::oidc_flags). And "missing file" of TestLoadAuthenticationConfig.
#[test]
fn the_rows_of_gos_test_of_jwt_authenticators_with_a_file() {
    let (jwt, _, errors) = said(&[], Some(TEST_ISSUER));
    assert_eq!((jwt, errors), (test_issuer(), Vec::new()), "basic authentication configuration");
    let (jwt, _, errors) = said(&["--authentication-config=nonexistent-file"], None);
    assert_eq!(
        (&*jwt, errors),
        ("[]", vec!["--authentication-config: nonexistent-file: cannot be read: No such file or directory (os error 2)".to_owned()]),
        "authentication config file not found"
    );
    let (jwt, _, errors) =
        said(&[], Some("jwt:\n- issuer:\n    url: https://test-issuer\n    audiences: [ \"🐼\" ]\n"));
    assert_eq!(
        (&*jwt, errors),
        ("[]", vec!["--authentication-config: FILE: jwt[0].claimMappings.username: Required value: claim or expression is required".to_owned()]),
        "authentication config validation error"
    );
}
