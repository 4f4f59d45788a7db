use std::collections::BTreeMap as Map;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use k8s_openapi::ByteString;
use serde_json::json;

use super::*;
use crate::cluster::{Access, Clusters};

const ID: &str = "foobar";
const SECRET: &str = "circumnavigation";

/// 2026-01-01T00:00:00Z
const NOW: u64 = 1_767_225_600;

fn now() -> Now {
    Now(UNIX_EPOCH + Duration::from_secs(NOW))
}

/// A Secret of this name, with these data beside what a good one has. An empty value takes one away.
fn secret(name: &str, data: &[(&str, &str)]) -> Secret {
    let good = [(TOKEN_ID, ID), (TOKEN_SECRET, SECRET), (USAGE_AUTHENTICATION, "true")];
    let data: Map<&str, &str> = good.iter().chain(data).copied().collect();
    let data = data.into_iter().filter(|(_, value)| !value.is_empty());
    let mut secret = Secret {
        type_: Some(SECRET_TYPE.to_owned()),
        data: Some(data.map(|(key, value)| (key.to_owned(), ByteString(value.into()))).collect()),
        ..Secret::default()
    };
    secret.metadata.name = Some(name.to_owned());
    secret
}

fn named(id: &str) -> String {
    format!("{NAME_PREFIX}{id}")
}

/// What becomes of a token, and under which name and groups it is somebody.
fn ask(
    secrets: impl IntoIterator<Item = Secret>,
    token: &str,
) -> Result<Option<(String, Vec<String>)>, Reason> {
    let mut index = BootstrapSecrets::default();
    secrets.into_iter().for_each(|secret| index.apply(secret));
    let outcome = parse(token.as_bytes())
        .map_or(Outcome::NoOpinion, |(id, secret)| index.authenticate(id, secret, now()));
    match outcome {
        Outcome::NoOpinion => Ok(None),
        Outcome::Rejected(rejections) => {
            assert_eq!((rejections.len(), rejections[0].by), (1, Authenticator::Bootstrap));
            Err(rejections[0].reason)
        }
        Outcome::Authenticated(Authenticated { identity, by, .. }) => {
            assert_eq!(
                (by, &*identity.uid, &identity.extra),
                (Authenticator::Bootstrap, "", &Extra::default())
            );
            let groups = identity.own_groups.iter().map(ToString::to_string).collect();
            Ok(Some((identity.username.to_string(), groups)))
        }
    }
}

fn somebody(groups: &[&str]) -> Result<Option<(String, Vec<String>)>, Reason> {
    let groups = groups.iter().map(|group| (*group).to_owned()).collect();
    Ok(Some((format!("system:bootstrap:{ID}"), groups)))
}

/// Go: TestTokenAuthenticator of bootstrap_test.go, its rows by name. Where it only says that nobody was found, the reason is ours.
#[test]
fn a_token_is_what_its_secret_says() {
    let good = format!("{ID}.{SECRET}");
    let default = || somebody(&["system:bootstrappers"]);
    let mut deleted = secret(&named(ID), &[]);
    deleted.metadata.deletion_timestamp = serde_json::from_value(json!("2026-01-01T00:00:00Z")).unwrap();
    let table = [
        ("valid token", secret(&named(ID), &[]), good.clone(), default()),
        (
            "valid token with extra group",
            secret(&named(ID), &[(EXTRA_GROUPS, "system:bootstrappers:foo")]),
            good.clone(),
            somebody(&["system:bootstrappers", "system:bootstrappers:foo"]),
        ),
        (
            "invalid group",
            secret(&named(ID), &[(EXTRA_GROUPS, "foo")]),
            good.clone(),
            Err(Reason::UnusableBootstrapToken),
        ),
        ("invalid secret name", secret("bad-name", &[]), good.clone(), Ok(None)),
        (
            "no usage",
            secret(&named(ID), &[(USAGE_AUTHENTICATION, "")]),
            good.clone(),
            Err(Reason::UnusableBootstrapToken),
        ),
        ("wrong token", secret(&named(ID), &[]), format!("barfoo.{SECRET}"), Ok(None)),
        ("deleted token", deleted, good.clone(), Err(Reason::UnusableBootstrapToken)),
        (
            "expired token",
            secret(&named(ID), &[(EXPIRATION, "2009-11-10T23:00:00Z")]),
            good.clone(),
            Err(Reason::TokenExpired),
        ),
        ("not expired token", secret(&named(ID), &[(EXPIRATION, "2109-11-10T23:00:00Z")]), good, default()),
        (
            "token id wrong length",
            secret(&named("foo"), &[(TOKEN_ID, "foo")]),
            format!("foo.{SECRET}"),
            Ok(None),
        ),
    ];
    for (name, secret, token, expected) in table {
        assert_eq!(ask([secret], &token), expected, "{name}");
    }
}

/// The rest of what `AuthenticateToken` looks at, and in which order: what comes first decides about the reason.
#[test]
fn each_check_has_its_reason_and_its_turn() {
    let token = format!("{ID}.{SECRET}");
    let bad_secret = [(TOKEN_SECRET, "circumnavigatiom"), (TOKEN_ID, "barfoo")];
    assert_eq!(ask([secret(&named(ID), &bad_secret)], &token), Err(Reason::WrongBootstrapSecret));
    let no_secret = [(TOKEN_SECRET, "")];
    assert_eq!(ask([secret(&named(ID), &no_secret)], &token), Err(Reason::WrongBootstrapSecret));
    let bad_id = [(TOKEN_ID, "barfoo"), (EXPIRATION, "never")];
    assert_eq!(ask([secret(&named(ID), &bad_id)], &token), Err(Reason::UnusableBootstrapToken));
    let bad_time = [(EXPIRATION, "never"), (USAGE_AUTHENTICATION, "True")];
    assert_eq!(ask([secret(&named(ID), &bad_time)], &token), Err(Reason::TokenExpired));

    let mut other_type = secret(&named(ID), &[]);
    other_type.type_ = Some("Opaque".to_owned());
    assert_eq!(ask([other_type], &token), Ok(None));
    let mut no_data = secret(&named(ID), &[]);
    no_data.data = None;
    assert_eq!(ask([no_data.clone()], &token), Ok(None));
    assert_eq!(ask([secret(&named(ID), &[]), no_data], &token), Ok(None), "it was good before");
}

/// Go: `GetExpiration` of k8s.io/cluster-bootstrap/util/secrets. A token expires at the instant, not after it.
#[test]
fn a_token_expires_at_the_instant_that_its_secret_names() {
    let at = |expiration| ask([secret(&named(ID), &[(EXPIRATION, expiration)])], &format!("{ID}.{SECRET}"));
    for good in [
        "2026-01-01T00:00:00.000000001Z",
        "2026-01-01T00:00:01Z",
        "2025-12-31T23:30:00-00:31",
        "2026-01-01T1:00:00,5Z",
    ] {
        assert_eq!(at(good), somebody(&["system:bootstrappers"]), "{good}");
    }
    for past in [
        "2026-01-01T00:00:00Z",
        "2026-01-01T00:30:00+00:30",
        "2089-01-01",
        "2089-01-01t00:00:00z",
        "0000-01-01T00:00:00Z",
        " ",
    ] {
        assert_eq!(at(past), Err(Reason::TokenExpired), "{past}");
    }
}

/// Go: TestGetGroups of k8s.io/cluster-bootstrap/util/secrets, and TestValidateBootstrapGroupName of its token/util.
#[test]
fn groups_are_a_sorted_set_and_one_that_is_none_spoils_all() {
    let groups = |text: &str| {
        identity(b"foobar", text.as_bytes())
            .map(|identity| identity.own_groups.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(groups("").unwrap(), ["system:bootstrappers"]);
    assert_eq!(
        groups("system:bootstrappers:foo,system:bootstrappers:bar,system:bootstrappers:bar").unwrap(),
        ["system:bootstrappers", "system:bootstrappers:bar", "system:bootstrappers:foo"]
    );
    let longest = format!("system:bootstrappers:{}", "a".repeat(256));
    for good in
        ["system:bootstrappers:foo", "system:bootstrappers:a:b-c", "system:bootstrappers:-0", &longest]
    {
        assert!(is_group(good), "{good}");
    }
    for bad in [
        "",
        "foo",
        "system:masters",
        "system:bootstrappers",
        "system:bootstrappers:",
        "system:bootstrappers:Foo",
        "system:bootstrappers:foo-",
        "system:bootstrappers:foo:",
        "system:bootstrappers:foo\n",
        " system:bootstrappers:foo",
        "system:bootstrappers:f\u{e9}o",
        &format!("{longest}a"),
    ] {
        assert!(!is_group(bad), "{bad:?}");
        assert_eq!(groups(&format!("system:bootstrappers:foo,{bad}")), None, "{bad:?}");
    }
    assert!(identity(b"foobar", b"system:bootstrappers:\xff").is_none());
}

/// Go: TestIsValidBootstrapToken of k8s.io/cluster-bootstrap/token/util, of which `ParseToken` decides the same.
#[test]
fn a_token_is_six_and_sixteen_small_letters_and_digits() {
    let table = [
        ("", false),
        (".", false),
        ("1234567890123456789012", false),
        ("12345.1234567890123456", false),
        (".1234567890123456", false),
        ("123456.", false),
        ("123456:1234567890.123456", false),
        ("abcdef:1234567890123456", false),
        ("Abcdef.1234567890123456", false),
        ("123456.AABBCCDDEEFFGGHH", false),
        ("123456.AABBCCD-EEFFGGHH", false),
        ("abc*ef.1234567890123456", false),
        ("abcdef.1234567890123456", true),
        ("123456.aabbccddeeffgghh", true),
        ("ABCDEF.abcdef0123456789", false),
        ("abcdef.abcdef0123456789", true),
        ("123456.1234560123456789", true),
        ("123456.1234560123456789\n", false),
        ("123456.123456012345678\u{e9}", false),
    ];
    for (token, good) in table {
        assert_eq!(parse(token.as_bytes()).is_some(), good, "{token:?}");
    }
}

#[test]
fn a_secret_that_is_deleted_or_renamed_is_forgotten() {
    let mut index = BootstrapSecrets::default();
    index.apply(secret(&named(ID), &[]));
    index.apply(secret("bootstrap-token-foobars", &[]));
    index.apply(secret("other", &[]));
    assert_eq!(index.count(), 1);
    index.delete(secret("other", &[]));
    assert_eq!(index.count(), 1);
    index.delete(secret(&named(ID), &[]));
    assert_eq!(index.count(), 0);
}

/// Until the Secrets are known, a token of this form is refused, as undecided; others are none of our business.
#[test]
fn while_nothing_is_known_every_bootstrap_token_is_refused() {
    let access = Access { server: "https://cluster.test".to_owned(), ..Access::default() };
    let cluster = Clusters::new(|_, _| None, Arc::default()).cluster(&access).unwrap();
    let tokens = BootstrapTokens::new(cluster.watch());
    let now = Now(SystemTime::UNIX_EPOCH);
    assert_eq!(
        tokens.authenticate(Token::new(b"abcdef.abcdef0123456789"), now),
        Outcome::rejected(Authenticator::Bootstrap, Reason::ClusterUnavailable)
    );
    assert_eq!(tokens.authenticate(Token::new(b"another.token"), now), Outcome::NoOpinion);
}

/// Threats S31: a secret is compared in constant time, and kept where nothing shows it.
#[test]
fn debug_shows_no_secret() {
    let mut index = BootstrapSecrets::default();
    index.apply(secret(&named(ID), &[]));
    assert_eq!(format!("{index:?}"), "BootstrapSecrets(1 tokens)");
}
