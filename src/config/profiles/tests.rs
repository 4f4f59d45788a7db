use super::super::tests::{errors, file, load};
use super::*;

const HEAD: &str = "apiVersion: countersign/v1alpha1\nkind: ProfileConfiguration\n";
const KEY: &str = include_str!("../../../tests/conformance/world/sa/rsa1.pub");
const BASE: [&str; 3] =
    ["--anonymous-auth=false", "--oidc-issuer-url=https://issuer.test", "--oidc-client-id=us"];

/// The configuration of these flags and profiles.
fn with(profiles: &str, flags: &[&str]) -> (String, Result<super::super::Config, Vec<String>>) {
    let (_folder, path) = file(&format!("{HEAD}{profiles}"));
    let config = load(&[&BASE[..], flags, &["--profiles-file", &path]].concat(), &[]);
    (path, config.map_err(|errors| errors.iter().map(ToString::to_string).collect()))
}

/// All that is wrong with the profiles, without the place of the file.
fn problems(profiles: &str, flags: &[&str]) -> Vec<String> {
    let (path, config) = with(profiles, flags);
    let place = format!("--profiles-file: {path}: ");
    let problems = config.err().unwrap_or_default();
    problems.iter().map(|problem| problem.strip_prefix(&place).unwrap_or(problem).to_owned()).collect()
}

fn warnings(profiles: &str, flags: &[&str]) -> Vec<String> {
    let (path, config) = with(profiles, flags);
    let place = format!("--profiles-file: {path}: ");
    let warnings = config.expect("good").warnings;
    warnings.iter().map(|warning| warning.strip_prefix(&place).unwrap_or(warning).to_owned()).collect()
}

#[test]
fn what_a_profile_does_not_say_is_as_the_flags_have_it() {
    let (_folder, tokens) = file("token,user,uid\n");
    let (_path, config) = with("profiles: [{name: same}]", &["--token-auth-file", &tokens]);
    let config = config.expect("good");
    let [Profile { name, chain, reply }] = &config.profiles[..] else { panic!("{:?}", config.profiles) };
    assert_eq!(&**name, "same");
    assert!(
        chain.authenticators.is_none()
            && chain.audiences.is_none()
            && chain.anonymous.is_none()
            && reply.is_none()
    );

    let (_path, config) = with("", &[]);
    assert!(config.expect("nothing is no error").profiles.is_empty());
    assert!(load(&BASE, &[]).expect("good").profiles.is_empty());
}

#[test]
fn a_profile_says_who_is_let_in_and_how_it_is_told() {
    let (_folder, tokens) = file("token,user,uid\n");
    let text = "
profiles:
- name: public
  authenticators: [jwt]
  audiences: [api, web]
  anonymous: {enabled: true, conditions: [{path: /healthz}]}
  identityHeaders: {user: X-App-User, extraPrefix: X-App-Extra-, groupsEncoding: indexed}
- name: 0-9
  authenticators: []
  anonymous: {enabled: true}
";
    let (_path, config) = with(text, &["--token-auth-file", &tokens, "--identity-uid-header=X-Uid"]);
    let config = config.expect("good");
    assert_eq!(config.warnings, [""; 0]);
    let [public, open] = <[Profile; 2]>::try_from(config.profiles).expect("two");
    assert_eq!(public.chain.authenticators, Some(vec![Authenticator::Jwt]));
    assert_eq!(public.chain.audiences, Some(["api", "web"].map(Box::from).into()));
    assert_eq!(
        format!("{:?}", public.chain.anonymous),
        format!("{:?}", Some(Anonymous::new(["/healthz".into()])))
    );
    let reply = public.reply.expect("others");
    assert_eq!(
        (reply.headers, reply.groups_encoding),
        (
            IdentityHeaders {
                user: "x-app-user".into(),
                uid: "x-uid".into(),
                group: "x-remote-group".into(),
                extra_prefix: "x-app-extra-".into(),
            },
            GroupsEncoding::Indexed
        )
    );
    assert_eq!((open.chain.authenticators, open.chain.anonymous.is_some()), (Some(Vec::new()), true));
}

/// Each with its path, all at once.
#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let long = "a".repeat(64);
    let text = format!(
        "
profiles:
- authenticators: [x509, bearer, jwt, jwt, JWT]
  audiences: []
- name: default
  audiences: [a, '', a]
- name: Upper
- name: {long}
- name: -a
- name: twice
- name: twice
  anonymous: {{enabled: false, conditions: [{{path: /a}}]}}
  identityHeaders:
    mode: both
    user: Authorization
    uid: x-remote-user
    group: X_Group
    groupsEncoding: json
"
    );
    let labels = r#""requestheader", "basic", "x509", "tokenfile", "legacyserviceaccount", "serviceaccount", "bootstrap", "jwt", "webhook""#;
    let label = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an \
                 alphanumeric character";
    assert_eq!(
        problems(&text, &["--identity-user-header=X-User"]),
        [
            "profiles[0].name: Required value: routes name the profile so".to_owned(),
            "profiles[0].authenticators[0]: Invalid value: \"x509\": no flag configures it; set --client-ca-file, or remove it here".into(),
            format!("profiles[0].authenticators[1]: Unsupported value: \"bearer\": supported values: {labels}"),
            "profiles[0].authenticators[3]: Duplicate value: \"jwt\"".into(),
            format!("profiles[0].authenticators[4]: Unsupported value: \"JWT\": supported values: {labels}"),
            "profiles[0].audiences: Required value: name one, or leave the field out to have those of the flags".into(),
            "profiles[1].name: Invalid value: \"default\": is the name of what the flags say; take another".into(),
            "profiles[1].audiences[1]: Required value".into(),
            "profiles[1].audiences[2]: Duplicate value: \"a\"".into(),
            format!("profiles[2].name: Invalid value: \"Upper\": {label}"),
            format!("profiles[3].name: Invalid value: \"{long}\": must be no more than 63 bytes"),
            format!("profiles[4].name: Invalid value: \"-a\": {label}"),
            "profiles[6].name: Duplicate value: \"twice\"".into(),
            "profiles[6].anonymous.conditions: Invalid value: [{\"Path\":\"/a\"}]: enabled should be set to true when conditions are defined"
                .into(),
            "profiles[6].identityHeaders.mode: Unsupported value: \"both\": supported values: \"x-remote\", \"impersonate\"".into(),
            "profiles[6].identityHeaders.user: Invalid value: \"Authorization\": this header means something else; take another".into(),
            "profiles[6].identityHeaders.group: Invalid value: \"X_Group\": must not hold `_`, which many servers take for `-`".into(),
            "profiles[6].identityHeaders.groupsEncoding: Unsupported value: \"json\": supported values: \"joined\", \"indexed\", \"metadata\""
                .into(),
        ]
    );
    assert_eq!(
        problems("profiles: [{name: a, identityHeaders: {user: X-A, uid: x-a, extraPrefix: X-}}]", &[]),
        [
            "profiles[0].identityHeaders: x-a begins with the prefix of the extras, x-",
            "profiles[0].identityHeaders: x-a is used twice; give user, uid and group a header each",
            "profiles[0].identityHeaders: x-remote-group begins with the prefix of the extras, x-",
        ]
    );
    assert_eq!(
        problems(
            "profiles: [{name: a, identityHeaders: {groupsEncoding: metadata}}]",
            &["--dynamic-metadata=false"]
        ),
        [
            "profiles[0].identityHeaders: groups travel as dynamic metadata, which --dynamic-metadata=false turns off"
        ]
    );
    assert_eq!(
        problems("profiles: [{name: a, authenticators: []}]", &[]),
        [
            "profiles[0].authenticators: Invalid value: \"\": nobody is left, and anonymous is off, so every request would be refused; name one, \
             or enable anonymous"
        ]
    );
}

/// Strict, as Kubernetes reads its own.
#[test]
fn the_file_is_of_a_kind_and_has_no_more_fields_than_are_known() {
    let told = |text: &str| {
        let (_folder, path) = file(text);
        errors(&[&BASE[..], &["--profiles-file", &path]].concat(), &[])
            .iter()
            .map(|error| error.replace(&format!("--profiles-file: {path}: "), ""))
            .collect::<Vec<_>>()
    };
    assert_eq!(told(""), ["empty config data"]);
    assert_eq!(
        told("kind: ProfileConfiguration"),
        ["apiVersion: Object 'apiVersion' is missing; write countersign/v1alpha1"]
    );
    assert_eq!(
        told("apiVersion: countersign/v1\nkind: ProfileConfiguration"),
        [
            "apiVersion: no kind \"ProfileConfiguration\" is registered for version \"countersign/v1\"; write one of countersign/v1alpha1"
        ]
    );
    assert_eq!(
        told("apiVersion: countersign/v1alpha1\nkind: Profiles"),
        ["kind: expected ProfileConfiguration, got \"Profiles\""]
    );
    assert_eq!(
        told(&format!(
            "{HEAD}profile: []\nprofiles: [{{name: a, audience: [b], identityHeaders: {{users: X}}}}, 1]"
        )),
        [
            "strict decoding error: unknown field \"profiles[0].identityHeaders.users\"",
            "strict decoding error: unknown field \"profiles[0].audience\"",
            "profiles[1]: cannot unmarshal number into an object",
            "strict decoding error: unknown field \"profile\"",
        ]
    );
    assert_eq!(
        told(&format!("{HEAD}kind: ProfileConfiguration\n")),
        ["line 3: key \"kind\" already set in map; remove one of the two"]
    );
    let many = |count: usize| (0..count).map(|n| format!("{{name: p{n}}}")).collect::<Vec<_>>().join(", ");
    assert_eq!(told(&format!("{HEAD}profiles: [{}]", many(64))), [""; 0]);
    assert_eq!(
        told(&format!("{HEAD}profiles: [{}]", many(65))),
        ["profiles: Too many: 65: must have at most 64 items"]
    );
    assert_eq!(
        errors(&[&BASE[..], &["--profiles-file=/none"]].concat(), &[]),
        ["--profiles-file: /none: cannot be read: No such file or directory (os error 2)"]
    );
}

/// A flag whose file is bad is told of once.
#[test]
fn an_authenticator_with_a_bad_file_is_configured_all_the_same() {
    let (_folder, tokens) = file("not a token file\n");
    let text = "profiles: [{name: a, authenticators: [tokenfile]}]";
    let place = format!("--token-auth-file: {tokens}: ");
    let told = problems(text, &["--token-auth-file", &tokens]);
    assert!(matches!(&told[..], [one] if one.starts_with(&place)), "{told:?}");
    assert_eq!(
        problems("profiles: [{name: a, authenticators: [tokenfile, bootstrap]}]", &["--token-auth-file="]),
        [
            "profiles[0].authenticators[0]: Invalid value: \"tokenfile\": no flag configures it; set --token-auth-file, or remove it here",
            "profiles[0].authenticators[1]: Invalid value: \"bootstrap\": no flag configures it; set --enable-bootstrap-token-auth, or \
             remove it here"
        ]
    );
}

#[test]
fn what_is_odd_about_a_profile_is_warned_of() {
    let ((_a, tokens), (_b, passwords), (_c, key)) =
        (file("token,user,uid\n"), file("password,user,uid\n"), file(KEY));
    let flags = ["--token-auth-file", &tokens, "--basic-auth-file", &passwords];
    let text = "
profiles:
- {name: a, audiences: [x]}
- {name: b, audiences: [x], authenticators: [jwt, tokenfile]}
- {name: c, audiences: [x], authenticators: [basic, tokenfile]}
- {name: d, anonymous: {enabled: true, conditions: [{path: /a}, {path: /b/../c}]}}
";
    assert_eq!(
        warnings(text, &flags),
        [
            "profiles[0].audiences: tokens of tokenfile have none and are good whatever stands here; name the authenticators if that is not \
             what you want",
            "profiles[2].audiences: nothing in this profile has audiences",
            "profiles[3].anonymous.conditions[1].path: \"/b/../c\" never matches: a condition is a plain path, without query, escapes, dot \
             segments, `//`, `;` or `#`",
        ]
    );
    let accounts = [
        "--service-account-key-file",
        &key,
        "--service-account-issuer=sa",
        "--service-account-lookup-mode=offline",
    ];
    let (_path, config) =
        with("profiles: [{name: a, authenticators: [serviceaccount, legacyserviceaccount]}]", &accounts);
    assert_eq!(config.expect("good").profiles.len(), 1);
}

/// A kube-apiserver and other applications behind one Envoy.
#[test]
fn a_profile_may_impersonate_where_the_flags_do_not_and_the_other_way_round() {
    let (_folder, token) = file("ours\n");
    let token = ["--impersonate-token-file", &*token];
    let text = "profiles: [{name: a, identityHeaders: {mode: impersonate}}, {name: b}]";
    let (_path, config) = with(text, &[&token[..], &["--identity-user-header=X-User"]].concat());
    let config = config.expect("good");
    assert_eq!(config.warnings, [""; 0]);
    assert!(config.reply.impersonation.is_none() && config.profiles[1].reply.is_none());
    let reply = config.profiles[0].reply.as_ref().expect("others");
    let impersonation = reply.impersonation.as_ref().expect("on");
    assert_eq!(impersonation.token.authorization(), "Bearer ours");
    assert_eq!((&*reply.headers.user, reply.groups_encoding), ("impersonate-user", GroupsEncoding::Metadata));

    let on = [&token[..], &["--identity-headers=impersonate"]].concat();
    let text = "profiles: [{name: a, identityHeaders: {mode: x-remote, user: X-User}}, {name: b, identityHeaders: {}}]";
    let (_path, config) = with(text, &on);
    let config = config.expect("good");
    let [a, b] = [0, 1].map(|index| config.profiles[index].reply.as_ref().expect("others"));
    assert!(a.impersonation.is_none() && b.impersonation.is_some() && config.reply.impersonation.is_some());
    assert_eq!(
        (&*a.headers.user, &*a.headers.uid, a.groups_encoding),
        ("x-user", "x-remote-uid", GroupsEncoding::Joined)
    );

    let detail = "impersonation has headers and an encoding of its own; remove it";
    assert_eq!(
        problems("profiles: [{name: a, identityHeaders: {user: X-User, groupsEncoding: joined}}]", &on),
        [
            format!("profiles[0].identityHeaders.user: Invalid value: \"X-User\": {detail}"),
            format!("profiles[0].identityHeaders.groupsEncoding: Invalid value: \"joined\": {detail}"),
        ]
    );
    assert_eq!(
        problems("profiles: [{name: a, identityHeaders: {mode: impersonate}}]", &[]),
        [
            "--impersonate-token-file: --identity-headers=impersonate needs a token of ours for the upstream: name its file, or run as a pod, \
             which has one"
        ]
    );
}
