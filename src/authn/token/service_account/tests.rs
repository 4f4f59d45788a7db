mod keys;
mod laws;
mod live;

use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use futures_util::FutureExt;
use serde_json::json;

use super::account::{ServiceAccountInfo, split_username};
use super::*;
use crate::identity::Texts;
use crate::jose::service_account_key_id;

/// A key pair of the recorded world.
fn world(path: &str) -> &'static str {
    match path {
        "rsa1" => include_str!("../../../../tests/conformance/world/sa/keys/rsa1.key"),
        "rsa2" => include_str!("../../../../tests/conformance/world/sa/keys/rsa2.key"),
        "ec256" => include_str!("../../../../tests/conformance/world/sa/keys/ec256.key"),
        "rsa1.pub" => include_str!("../../../../tests/conformance/world/sa/rsa1.pub"),
        // Of rsa2 and ec256.
        "others.pub" => include_str!("../../../../tests/conformance/world/sa/rsa2-and-ec256.pub"),
        other => panic!("no key is called {other}"),
    }
}

fn keys(files: &[&str]) -> PublicKeys {
    let mut keys = PublicKeys::default();
    for file in files {
        keys.add(world(file).as_bytes()).expect("keys");
    }
    keys
}

/// The `kid` of the first key of a file.
fn key_id(file: &str) -> String {
    let keys = keys(&[file]);
    service_account_key_id(&keys.candidates("")[0]).expect("a key with a name")
}

fn sign(key: &str, header: &serde_json::Value, claims: &str) -> String {
    let pem: String = world(key).lines().filter(|line| !line.starts_with('-')).collect();
    let der = BASE64_STANDARD.decode(pem).expect("PEM");
    let encode = |part: &str| BASE64_URL_SAFE_NO_PAD.encode(part);
    let signed = format!("{}.{}", encode(&header.to_string()), encode(claims));
    let signature = if key == "ec256" {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der).expect("a key");
        pair.sign(&SystemRandom::new(), signed.as_bytes()).expect("a signature").as_ref().to_vec()
    } else {
        let pair = RsaKeyPair::from_pkcs8(&der).expect("a key");
        let mut signature = vec![0; pair.public_modulus_len()];
        pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
            .expect("a signature");
        signature
    };
    format!("{signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

/// A token by `rsa1`, which it does not name.
fn token(claims: &serde_json::Value) -> String {
    sign("rsa1", &json!({"alg": "RS256"}), &claims.to_string())
}

const NOW: u64 = 1_514_764_800;

fn at(seconds: u64) -> Now {
    Now(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds))
}

fn bound() -> ServiceAccount {
    let issuers = ["https://issuer", "https://old"].map(Box::from).into();
    authenticator(Kind::Bound { issuers }, &["rsa1.pub"])
}

fn authenticator(kind: Kind, files: &[&str]) -> ServiceAccount {
    ServiceAccount::new(kind, Arc::new(keys(files)), ["api", "vault"].map(Box::from).into(), None)
}

/// What comes of a token, without waiting for anything.
fn outcome<G: ServiceAccountTokenGetter>(
    authenticator: &ServiceAccount<G>,
    token: &[u8],
    now: Now,
) -> Outcome {
    authenticator.authenticate(Token::new(token), now).now_or_never().expect("nothing to wait for")
}

/// The user name, the reason of a refusal, or nothing for no opinion.
fn say<G: ServiceAccountTokenGetter>(
    authenticator: &ServiceAccount<G>,
    token: &str,
    now: Now,
) -> Option<Result<String, Reason>> {
    match outcome(authenticator, token.as_bytes(), now) {
        Outcome::NoOpinion => None,
        Outcome::Authenticated(authenticated) => Some(Ok(authenticated.identity.username.to_string())),
        Outcome::Rejected(rejections) => Some(Err(rejections[0].reason)),
    }
}

fn legacy_claims() -> serde_json::Value {
    json!({
        "iss": "kubernetes/serviceaccount",
        "kubernetes.io/serviceaccount/namespace": "test",
        "kubernetes.io/serviceaccount/secret.name": "my-secret",
        "kubernetes.io/serviceaccount/service-account.name": "my-service-account",
        "kubernetes.io/serviceaccount/service-account.uid": "12345",
        "sub": "system:serviceaccount:test:my-service-account",
    })
}

fn bound_claims() -> serde_json::Value {
    json!({
        "aud": ["api"], "exp": NOW, "iss": "https://issuer", "jti": "id", "nbf": NOW, "iat": NOW, "sub": "not looked at",
        "kubernetes.io": {
            "namespace": "ns",
            "serviceaccount": {"name": "saname", "uid": "sauid"},
            "pod": {"name": "podname", "uid": "poduid"},
            "node": {"name": "nodename", "uid": "nodeuid"},
        },
    })
}

/// The claims with the value at this JSON pointer replaced, or removed.
fn with(mut claims: serde_json::Value, at: &str, value: Option<serde_json::Value>) -> serde_json::Value {
    let (parent, name) = at.rsplit_once('/').expect("a pointer");
    let parent = claims.pointer_mut(parent).and_then(serde_json::Value::as_object_mut).expect("an object");
    match value {
        Some(value) => parent.insert(name.to_owned(), value),
        None => parent.remove(name),
    };
    claims
}

/// Go: TestTokenGenerateAndValidate of jwt_test.go; the rows with a lookup are in [`live`].
#[test]
fn legacy_tokens_are_verified_by_the_key_that_they_name() {
    let user = Some(Ok("system:serviceaccount:test:my-service-account".to_owned()));
    let claims = legacy_claims().to_string();
    let signed = |key: &str, alg: &str, kid: &str| sign(key, &json!({"alg": alg, "kid": kid}), &claims);
    let rsa = signed("rsa1", "RS256", &key_id("rsa1.pub"));
    let ec = sign("ec256", &json!({"alg": "ES256"}), &claims);
    let foo = with(legacy_claims(), "/iss", Some("foo".into()));
    let table = [
        ("no keys", &rsa, &[][..], Some(Err(Reason::UnknownKey))),
        ("invalid keys (rsa)", &rsa, &["others.pub"], Some(Err(Reason::UnknownKey))),
        ("invalid keys (ecdsa)", &ec, &["rsa1.pub"], Some(Err(Reason::InvalidSignature))),
        ("valid key (rsa)", &rsa, &["rsa1.pub"], user.clone()),
        ("valid key, invalid issuer (rsa)", &token(&foo), &["rsa1.pub"], None),
        ("valid key (ecdsa)", &ec, &["others.pub"], user.clone()),
        ("rotated keys (rsa)", &rsa, &["others.pub", "rsa1.pub"], user.clone()),
        ("rotated keys (ecdsa)", &ec, &["rsa1.pub", "others.pub"], user.clone()),
        ("private key", &rsa, &["rsa1"], user),
        ("not a token", &"invalid token".to_owned(), &["rsa1.pub"], None),
        ("bogus key id", &signed("rsa1", "RS256", "bogus"), &["rsa1.pub"], Some(Err(Reason::UnknownKey))),
        (
            "another key's id",
            &signed("rsa2", "RS256", &key_id("rsa1.pub")),
            &["rsa1.pub", "others.pub"],
            Some(Err(Reason::InvalidSignature)),
        ),
    ];
    for (name, token, files, expected) in table {
        let legacy = authenticator(Kind::Legacy { lookup: false }, files);
        assert_eq!(say(&legacy, token, at(NOW)), expected, "{name}");
    }
    // Go's test gives the validator of legacy claims one issuer more; `newLegacyServiceAccountAuthenticator`, which is what kube-apiserver
    // has, never does, and what its other issuers sign has other claims.
    let other = token(&with(legacy_claims(), "/iss", Some("https://issuer".into())));
    let name = "valid key, different issuer (rsa)";
    let legacy = authenticator(Kind::Legacy { lookup: false }, &["rsa1.pub"]);
    assert_eq!(say(&legacy, &other, at(NOW)), None, "{name}");
    assert_eq!(say(&bound(), &other, at(NOW)), Some(Err(Reason::NeverExpires)), "{name}");
    let expiring = token(&with(
        with(legacy_claims(), "/iss", Some("https://issuer".into())),
        "/exp",
        Some((NOW + 1).into()),
    ));
    assert_eq!(
        say(&bound(), &expiring, at(NOW)),
        Some(Err(Reason::ServiceAccountClaims)),
        "{name}, expiring"
    );

    let lookup = authenticator(Kind::Legacy { lookup: true }, &["rsa1.pub"]);
    assert_eq!(say(&lookup, &rsa, at(NOW)), Some(Err(Reason::NeverExpires)), "lookup");
    let malformed =
        json!({"signature": "", "malformed_iss": format!(".{}.", BASE64_URL_SAFE_NO_PAD.encode(&claims))});
    assert_eq!(say(&lookup, &malformed.to_string(), at(NOW)), None, "malformed iss");
}

/// Go: `legacyValidator.Validate`, and the vectors' class sa-legacy.
#[test]
fn a_legacy_token_has_to_name_its_account_twice_and_alike() {
    let legacy = authenticator(Kind::Legacy { lookup: false }, &["rsa1.pub"]);
    let account = "kubernetes.io/serviceaccount/service-account";
    let said = |name: &str, value: Option<serde_json::Value>| {
        let mut claims = legacy_claims();
        let members = claims.as_object_mut().expect("claims");
        members.remove(name);
        members.extend(value.map(|value| (name.to_owned(), value)));
        say(&legacy, &token(&claims), at(NOW))
    };
    let refused = Some(Err(Reason::ServiceAccountClaims));
    for name in [
        "sub",
        "kubernetes.io/serviceaccount/namespace",
        "kubernetes.io/serviceaccount/secret.name",
        &format!("{account}.name"),
        &format!("{account}.uid"),
    ] {
        assert_eq!(said(name, None), refused, "no {name}");
        assert_eq!(said(name, Some("".into())), refused, "empty {name}");
        assert_eq!(said(name, Some(1.into())), Some(Err(Reason::MalformedClaims)), "{name} of a wrong type");
    }
    assert_eq!(said("sub", Some("system:serviceaccount:other:my-service-account".into())), refused);
    assert_eq!(said("sub", Some("my-service-account".into())), refused);
    let user = Some(Ok("system:serviceaccount:test:my-service-account".to_owned()));
    assert_eq!(said("exp", Some(1.into())), user, "its times do not matter");
    assert_eq!(said("exp", Some("1".into())), Some(Err(Reason::MalformedClaims)), "but their types do");
    assert_eq!(said("aud", Some("other".into())), Some(Err(Reason::WrongAudience)));
}

/// Go: TestUserInfo of k8s.io/apiserver/pkg/authentication/serviceaccount/util_test.go, and the claims that `Validate` copies.
#[test]
fn an_account_is_a_user_with_groups_and_extras() {
    let extra = |info: ServiceAccountInfo<'_>| {
        let identity = ServiceAccountInfo { namespace: "ns", name: "name", ..info }.identity();
        assert_eq!(&*identity.username, "system:serviceaccount:ns:name");
        let groups = ["system:serviceaccounts", "system:serviceaccounts:ns"];
        assert_eq!(identity.own_groups.iter().collect::<Vec<_>>(), groups);
        let line = |(key, values): (&str, Texts<'_>)| format!("{key}={}", values.collect::<String>());
        identity.extra.iter().map(line).collect::<Vec<_>>()
    };
    let none = ServiceAccountInfo::default;
    let kubernetes = |text: &str| format!("authentication.kubernetes.io/{text}");
    assert_eq!(
        extra(ServiceAccountInfo { pod_name: "test", pod_uid: "uid", ..none() }),
        [kubernetes("pod-name=test"), kubernetes("pod-uid=uid")]
    );
    assert_eq!(extra(ServiceAccountInfo { pod_name: "test", ..none() }), [""; 0]);
    assert_eq!(
        extra(ServiceAccountInfo { node_name: "test", node_uid: "uid", ..none() }),
        [kubernetes("node-name=test"), kubernetes("node-uid=uid")]
    );
    assert_eq!(extra(ServiceAccountInfo { node_name: "test", ..none() }), [kubernetes("node-name=test")]);
    assert_eq!(extra(ServiceAccountInfo { node_uid: "test", ..none() }), [""; 0]);
    assert_eq!(extra(ServiceAccountInfo { token_id: "id", ..none() }), [kubernetes("credential-id=JTI=id")]);

    let Outcome::Authenticated(authenticated) = outcome(&bound(), token(&bound_claims()).as_bytes(), at(NOW))
    else {
        panic!("a good token")
    };
    let expected = ServiceAccountInfo {
        namespace: "ns",
        name: "saname",
        uid: "sauid",
        pod_name: "podname",
        pod_uid: "poduid",
        node_name: "nodename",
        node_uid: "nodeuid",
        token_id: "id",
    };
    assert_eq!(
        (&*authenticated.identity, authenticated.by),
        (&expected.identity(), Authenticator::ServiceAccount)
    );
}

/// Go: TestMakeUsername of k8s.io/apiserver/pkg/authentication/serviceaccount/util_test.go.
#[test]
fn a_user_name_is_split_into_names_that_can_be() {
    let split = |namespace: &str, name: &str| {
        let username = format!("system:serviceaccount:{namespace}:{name}");
        split_username(&username).map(|(namespace, name)| format!("{namespace}/{name}"))
    };
    assert_eq!(split("foo", "bar"), Some("foo/bar".to_owned()));
    assert_eq!(split("0-a", "a.b-c.d"), Some("0-a/a.b-c.d".to_owned()));
    let (long, longer) = ("a".repeat(63), "a".repeat(253));
    assert_eq!(split(&long, &longer), Some(format!("{long}/{longer}")));
    for (namespace, name) in [
        ("", ""),
        ("", "foo"),
        ("foo", ""),
        ("foo", "bar:baz"),
        ("foo ", "bar"),
        ("foo", "bar "),
        ("a.b", "c"),
        ("-a", "b"),
        ("a-", "b"),
        ("a", "b..c"),
        ("a", "b.-c"),
        ("A", "b"),
        ("a", "b\n"),
        ("a", "ü"),
        (&format!("{long}a"), "a"),
        ("a", &format!("{longer}a")),
    ] {
        assert_eq!(split(namespace, name), None, "{namespace:?} {name:?}");
    }
    assert_eq!(split_username("system:serviceaccounts:a:b"), None);
}

/// Go: `Validate` of claims.go and `ValidateWithLeeway` of go-jose, offline: objects that are gone, or are others than they were, are what
/// nobody looks at (S33); an object that no cluster can have is found without a look.
#[test]
fn a_bound_token_counts_until_it_expires() {
    let said = |pointer: &str, value: Option<serde_json::Value>| {
        say(&bound(), &token(&with(bound_claims(), pointer, value)), at(NOW))
    };
    let good = || Some(Ok("system:serviceaccount:ns:saname".to_owned()));
    let refused = |reason| Some(Err(reason));

    let with_only = |pointer: &str, now| {
        let claims = with(with(bound_claims(), "/nbf", None), "/iat", None);
        let claims = with(with(claims, "/exp", Some((2 * NOW).into())), pointer, Some(NOW.into()));
        say(&bound(), &token(&claims), now)
    };
    assert_eq!(with_only("/exp", at(0)), good());
    assert_eq!(with_only("/exp", at(NOW + 60)), good());
    let just_after = Now(at(NOW + 60).0 + Duration::from_nanos(1));
    assert_eq!(with_only("/exp", just_after), refused(Reason::TokenExpired));
    for pointer in ["/nbf", "/iat"] {
        assert_eq!(with_only(pointer, at(NOW - 60)), good(), "{pointer}");
        let just_before = Now(at(NOW - 60).0 - Duration::from_nanos(1));
        assert_eq!(with_only(pointer, just_before), refused(Reason::TokenNotYetValid), "{pointer}");
    }
    for pointer in ["/nbf", "/iat"] {
        for value in [None, Some(serde_json::Value::Null)] {
            assert_eq!(said(pointer, value), good(), "{pointer} may be missing");
        }
    }
    for value in [None, Some(serde_json::Value::Null)] {
        assert_eq!(said("/exp", value), refused(Reason::NeverExpires));
    }

    for pointer in ["namespace", "serviceaccount/name", "serviceaccount/uid", "pod/name", "pod/uid"] {
        let pointer = format!("/kubernetes.io/{pointer}");
        for value in [None, Some("".into())] {
            assert_eq!(said(&pointer, value), refused(Reason::ServiceAccountClaims), "no {pointer}");
        }
        let value = Some("other".into());
        assert!(matches!(said(&pointer, value), Some(Ok(_))), "{pointer} is not looked at");
        if !pointer.ends_with("uid") {
            for odd in ["A", "a/b", "..", "a b"] {
                assert_eq!(said(&pointer, Some(odd.into())), refused(Reason::ServiceAccountClaims), "{odd}");
            }
        }
    }
    let secret = "/kubernetes.io/secret";
    assert_eq!(said(secret, Some(json!({"name": "gone", "uid": "x"}))), good());
    assert_eq!(said(secret, Some(json!({}))), refused(Reason::ServiceAccountClaims));
    assert_eq!(said(secret, Some(serde_json::Value::Null)), good());
    let node = "/kubernetes.io/node";
    assert_eq!(said(node, Some(json!({}))), good(), "a Pod's Node is not looked at in Go either");
    let alone = with(bound_claims(), "/kubernetes.io/pod", None);
    let alone = |value| say(&bound(), &token(&with(alone.clone(), node, Some(value))), at(NOW));
    assert_eq!(alone(json!({"name": "a", "uid": "x"})), good());
    assert_eq!(alone(json!({"name": "a"})), refused(Reason::ServiceAccountClaims));
    assert_eq!(alone(json!({})), refused(Reason::ServiceAccountClaims));
    assert_eq!(said("/kubernetes.io", None), refused(Reason::ServiceAccountClaims));
    assert_eq!(said("/kubernetes.io", Some(serde_json::Value::Null)), refused(Reason::ServiceAccountClaims));
}

/// S21 (CVE-2026-25537): a claim of a wrong type is not a claim that is missing. Go: encoding/json as go-jose has copied it.
#[test]
fn claims_of_a_wrong_type_refuse_the_token() {
    for pointer in ["/exp", "/nbf", "/iat", "/kubernetes.io/warnafter"] {
        for value in [json!("1514764800"), json!(true), json!([1]), json!({})] {
            let claims = with(bound_claims(), pointer, Some(value));
            assert_eq!(
                say(&bound(), &token(&claims), at(NOW)),
                Some(Err(Reason::MalformedClaims)),
                "{claims}"
            );
        }
    }
    for pointer in
        ["/sub", "/jti", "/kubernetes.io/namespace", "/kubernetes.io/pod/name", "/kubernetes.io/node/uid"]
    {
        for value in [json!(1), json!(true), json!(["a"]), json!({})] {
            let claims = with(bound_claims(), pointer, Some(value));
            assert_eq!(
                say(&bound(), &token(&claims), at(NOW)),
                Some(Err(Reason::MalformedClaims)),
                "{claims}"
            );
        }
    }
    for pointer in
        ["/kubernetes.io", "/kubernetes.io/serviceaccount", "/kubernetes.io/pod", "/kubernetes.io/secret"]
    {
        for value in [json!(1), json!("a"), json!([])] {
            let claims = with(bound_claims(), pointer, Some(value));
            assert_eq!(
                say(&bound(), &token(&claims), at(NOW)),
                Some(Err(Reason::MalformedClaims)),
                "{claims}"
            );
        }
    }
    for value in [json!(null), json!(1), json!({}), json!(["api", 1]), json!(["api", null])] {
        let claims = with(bound_claims(), "/aud", Some(value));
        assert_eq!(say(&bound(), &token(&claims), at(NOW)), Some(Err(Reason::MalformedClaims)), "{claims}");
    }
}

/// Go: `JSONWebToken.Claims`, which decodes with go-jose's copy of encoding/json: exact names, each once.
#[test]
fn duplicate_claims_refuse_the_token_and_names_are_exact() {
    let said = |from: &str, to: &str| {
        let claims = bound_claims().to_string();
        assert!(claims.contains(from), "{from}");
        say(&bound(), &sign("rsa1", &json!({"alg": "RS256"}), &claims.replace(from, to)), at(NOW))
    };
    let good = Some(Ok("system:serviceaccount:ns:saname".to_owned()));
    let malformed = Some(Err(Reason::MalformedClaims));
    for name in
        ["\"iss\":\"https://issuer\"", "\"namespace\":\"ns\"", "\"name\":\"podname\"", "\"jti\":\"id\""]
    {
        assert_eq!(said(name, &format!("{name},{name}")), malformed, "{name}");
    }
    assert_eq!(said("\"jti\"", "\"x\":{\"a\":1,\"a\":1},\"jti\""), good, "in what nobody reads they may be");
    assert_eq!(said("\"exp\"", "\"EXP\":0,\"exp\""), good);
    assert_eq!(said("\"kubernetes.io\"", "\"Kubernetes.io\""), Some(Err(Reason::ServiceAccountClaims)));
    // The look at the issuer before is lenient, the one after is not.
    assert_eq!(said("\"iss\"", "\"ISS\""), Some(Err(Reason::WrongIssuer)));
    assert_eq!(said("\"iss\":", "\"ISS\":\"other\",\"iss\":"), good, "the last one counts");
    assert_eq!(said("\"jti\":\"id\"", "\"\u{131}ss\":\"x\",\"jti\":\"id\""), good, "no relative of an i");
    assert_eq!(said("\"jti\":\"id\"", "\"jti\":\"id\",\"I\u{17f}S\":\"x\""), None, "a long s is an s");
}

/// Go: `AuthenticateToken` of jwt.go, and the vectors' class sa-audience.
#[test]
fn a_token_for_somebody_else_is_refused() {
    let said = |audience: Option<serde_json::Value>| {
        say(&bound(), &token(&with(bound_claims(), "/aud", audience)), at(NOW))
    };
    let good = Some(Ok("system:serviceaccount:ns:saname".to_owned()));
    for ours in [Some(json!("vault")), Some(json!(["other", "api"])), Some(json!([])), None] {
        assert_eq!(said(ours.clone()), good, "{ours:?}");
    }
    for others in [json!("other"), json!(["other"]), json!("API"), json!("api "), json!(""), json!([""])] {
        assert_eq!(said(Some(others.clone())), Some(Err(Reason::WrongAudience)), "{others}");
    }
}

/// S24: a token is of one authenticator, by its issuer, and unverified claims say nothing else.
#[test]
fn a_token_of_another_issuer_is_left_to_others() {
    let legacy = authenticator(Kind::Legacy { lookup: false }, &["rsa1.pub"]);
    assert_eq!(say(&legacy, &token(&bound_claims()), at(NOW)), None);
    assert_eq!(say(&bound(), &token(&legacy_claims()), at(NOW)), None);
    for issuer in [
        json!("https://issuer/"),
        json!("HTTPS://issuer"),
        json!(""),
        json!(null),
        json!(1),
        json!(["https://issuer"]),
    ] {
        let claims = with(bound_claims(), "/iss", Some(issuer));
        assert_eq!(say(&bound(), &token(&claims), at(NOW)), None, "{claims}");
    }
    let old = with(bound_claims(), "/iss", Some("https://old".into()));
    assert!(matches!(say(&bound(), &token(&old), at(NOW)), Some(Ok(_))));
    // Operators may call their issuer so. Then a token is tried as both kinds.
    let both =
        authenticator(Kind::Bound { issuers: ["kubernetes/serviceaccount".into()].into() }, &["rsa1.pub"]);
    let claims = token(&with(bound_claims(), "/iss", Some("kubernetes/serviceaccount".into())));
    assert_eq!(say(&legacy, &claims, at(NOW)), Some(Err(Reason::ServiceAccountClaims)));
    assert_eq!(say(&both, &claims, at(NOW)), Some(Ok("system:serviceaccount:ns:saname".to_owned())));
}

/// S22 (CVE-2026-29000, RFC 8725, section 3.1): the algorithm has to fit the key, and the token brings none along.
#[test]
fn only_signatures_by_our_keys_count() {
    let good = token(&bound_claims());
    let (rest, _) = good.rsplit_once('.').expect("three parts");
    let signed = |header: serde_json::Value| {
        say(&bound(), &sign("rsa1", &header, &bound_claims().to_string()), at(NOW))
    };
    for alg in ["none", "None", "HS256", "EdDSA", "RSA1_5", "rs256", ""] {
        assert_eq!(signed(json!({"alg": alg})), Some(Err(Reason::UnsupportedAlgorithm)), "{alg}");
    }
    for alg in ["RS512", "ES256"] {
        assert_eq!(signed(json!({"alg": alg})), Some(Err(Reason::InvalidSignature)), "{alg}");
    }
    // It may have another salt than ours.
    assert_eq!(signed(json!({"alg": "PS256"})), Some(Err(Reason::UnsupportedSignature)));
    assert_eq!(signed(json!({"alg": "RS256", "crit": ["exp"]})), Some(Err(Reason::InvalidSignature)));
    let jku = json!({"alg": "RS256", "jku": "https://evil", "x5u": "https://evil"});
    assert!(matches!(signed(jku), Some(Ok(_))), "nobody follows it");
    assert_eq!(say(&bound(), &format!("{rest}."), at(NOW)), Some(Err(Reason::InvalidSignature)));
    assert_eq!(say(&bound(), rest, at(NOW)), None);
    assert_eq!(say(&bound(), &format!("{good}."), at(NOW)), None);
    assert_eq!(say(&bound(), &format!("{good}="), at(NOW)), None);
    assert_eq!(
        say(&bound(), &format!(" {good}\n"), at(NOW)),
        Some(Ok("system:serviceaccount:ns:saname".to_owned()))
    );
}

/// S23 (CVE-2025-61920): too large or too deep is nobody's, before any key is tried.
#[test]
fn an_oversized_token_is_nobodys() {
    let deep = format!("{}1{}", "[".repeat(1000), "]".repeat(1000));
    let claims = bound_claims().to_string().replacen('{', &format!("{{\"x\":{deep},"), 1);
    assert_eq!(say(&bound(), &sign("rsa1", &json!({"alg": "RS256"}), &claims), at(NOW)), None);
    let long = with(bound_claims(), "/x", Some("x".repeat(crate::jose::MAX_TOKEN).into()));
    assert_eq!(say(&bound(), &token(&long), at(NOW)), None);
}

/// Go: `NumericDate.UnmarshalJSON`, and `time.Unix` of what does not fit, on amd64.
#[test]
fn times_are_numbers_of_seconds_with_their_fraction_cut_off() {
    let said = |pointer: &str, number: &str| {
        let claims = with(bound_claims(), pointer, Some("number".into())).to_string();
        let claims = claims.replace("\"number\"", number);
        say(&bound(), &sign("rsa1", &json!({"alg": "RS256"}), &claims), at(NOW))
    };
    let good = Some(Ok("system:serviceaccount:ns:saname".to_owned()));
    for number in ["1514764740.9", "15147647400e-1", "1.51476474e9", "253402300800", "9e18"] {
        assert_eq!(said("/exp", number), good, "{number}");
    }
    for number in ["1514764739.9", "0", "-1", "-0", "9223372036854775807", "1e19", "1e300", "1e-400"] {
        assert_eq!(said("/exp", number), Some(Err(Reason::TokenExpired)), "{number}");
    }
    assert_eq!(said("/exp", "1e400"), Some(Err(Reason::MalformedClaims)));
    // Beyond the whole numbers that a float64 has; Go's float64 says the same of both.
    for number in ["9007199254740992", "9007199254740993"] {
        assert_eq!(said("/exp", number), good, "{number}");
    }
    assert_eq!(said("/nbf", "9e18"), Some(Err(Reason::TokenNotYetValid)));
    for number in ["1514764860.9", "1e300", "-1e300"] {
        assert_eq!(said("/nbf", number), good, "{number}");
    }
}

#[test]
fn debug_shows_neither_tokens_nor_keys() {
    let private = authenticator(Kind::Legacy { lookup: true }, &["rsa1"]);
    assert_eq!(
        format!("{private:?}"),
        r#"ServiceAccount(Legacy { lookup: true }, PublicKeys(1), for ["api", "vault"], offline)"#
    );
}

/// A TokenReview for other audiences than the API server's. Go: `jwtTokenAuthenticator.AuthenticateToken` with `authenticator.WithAudiences`.
#[test]
fn other_audiences_are_wanted_of_tokens_that_name_some_and_of_no_others() {
    let list = |names: &[&str]| names.iter().map(|name| Box::from(*name)).collect::<Arc<[Box<str>]>>();
    let good = |kind: &ServiceAccount, claims: &serde_json::Value, audiences: &[&str]| {
        matches!(say(&kind.wanting(Some(&list(audiences))), &token(claims), at(NOW)), Some(Ok(_)))
    };
    let (bound, legacy) = (bound(), authenticator(Kind::Legacy { lookup: false }, &["rsa1.pub"]));
    let billing = with(bound_claims(), "/aud", Some(json!(["billing"])));
    for (claims, audiences, expected) in [
        (bound_claims(), &["api"][..], true),
        (bound_claims(), &["billing", "api"], true),
        (bound_claims(), &["vault"], false),
        (bound_claims(), &["billing"], false),
        (billing.clone(), &["billing"], true),
        (billing.clone(), &["api", "vault"], false),
    ] {
        assert_eq!(good(&bound, &claims, audiences), expected, "{claims} {audiences:?}");
    }
    // It names none, so it is for the API server.
    assert!(
        good(&legacy, &legacy_claims(), &["vault", "x"]) && !good(&legacy, &legacy_claims(), &["billing"])
    );
    assert_eq!(say(&bound, &token(&billing), at(NOW)), Some(Err(Reason::WrongAudience)));
    assert_eq!(format!("{:?}", bound.wanting(None)), format!("{bound:?}"));
}
