//! Tokens whose objects are looked at.

use std::sync::Mutex;

use super::*;
use crate::cluster::{LookupError, Object, TokenSecret};
use crate::secret::Digester;

/// The objects that there are, whatever their names, and which were asked for. Go: `fakeGetter` of claims_test.go.
#[derive(Default)]
struct FakeGetter {
    service_account: Found<Object>,
    secret: Found<Object>,
    token_secret: Found<TokenSecret>,
    pod: Found<Object>,
    node: Found<Object>,
    asked: Mutex<Vec<String>>,
}

/// What is found; nothing, if nobody says otherwise.
struct Found<T>(Result<T, LookupError>);

impl<T> Default for Found<T> {
    fn default() -> Self {
        Self(Err(LookupError::NotFound))
    }
}

impl FakeGetter {
    fn answer<T: Clone>(&self, found: &Found<T>, what: &str) -> Result<T, LookupError> {
        self.asked.lock().expect("no panics").push(what.to_owned());
        found.0.clone()
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().expect("no panics"))
    }
}

impl ServiceAccountTokenGetter for FakeGetter {
    async fn get_service_account(&self, namespace: &str, name: &str) -> Result<Object, LookupError> {
        self.answer(&self.service_account, &format!("service account {namespace}/{name}"))
    }

    async fn get_pod(&self, namespace: &str, name: &str) -> Result<Object, LookupError> {
        self.answer(&self.pod, &format!("pod {namespace}/{name}"))
    }

    async fn get_node(&self, name: &str) -> Result<Object, LookupError> {
        self.answer(&self.node, &format!("node {name}"))
    }

    async fn get_secret(&self, namespace: &str, name: &str) -> Result<Object, LookupError> {
        self.answer(&self.secret, &format!("secret {namespace}/{name}"))
    }

    async fn get_token_secret(&self, namespace: &str, name: &str) -> Result<TokenSecret, LookupError> {
        self.answer(&self.token_secret, &format!("token in secret {namespace}/{name}"))
    }
}

fn object<T: TryInto<i64>>(uid: &str, deleted: Option<T>) -> Found<Object> {
    Found(Ok(Object::new(uid, deleted.and_then(|time| time.try_into().ok()))))
}

fn there(uid: &str) -> Found<Object> {
    object(uid, None::<i64>)
}

fn looking(kind: Kind, getter: FakeGetter) -> ServiceAccount<FakeGetter> {
    let audiences = ["api"].map(Box::from).into();
    ServiceAccount::new(kind, Arc::new(keys(&["rsa1.pub"])), audiences, Some(Arc::new(getter)))
}

/// What a bound token with these claims beside its account comes to, and what was asked for.
fn validate(getter: FakeGetter, more: &serde_json::Value) -> (Option<Result<String, Reason>>, Vec<String>) {
    let mut claims =
        json!({"iss": "https://issuer", "exp": NOW, "aud": "api", "kubernetes.io": {"namespace": "ns"}});
    let private = claims["kubernetes.io"].as_object_mut().expect("an object");
    private.insert("serviceaccount".into(), json!({"name": "saname", "uid": "sauid"}));
    private.extend(more.as_object().expect("an object").clone());
    let authenticator = looking(Kind::Bound { issuers: ["https://issuer".into()].into() }, getter);
    let said = say(&authenticator, &token(&claims), at(NOW));
    (said, authenticator.getter.expect("a getter").asked())
}

fn good() -> Option<Result<String, Reason>> {
    Some(Ok("system:serviceaccount:ns:saname".to_owned()))
}

fn refused(reason: Reason) -> Option<Result<String, Reason>> {
    Some(Err(reason))
}

/// Go: TestValidatePrivateClaims of claims_test.go, by the names of its rows. Its two rows about times are in
/// `a_bound_token_counts_until_it_expires`.
#[test]
fn a_bound_token_counts_while_its_objects_are_there() {
    let account = || FakeGetter { service_account: there("sauid"), ..FakeGetter::default() };
    let secret = json!({"secret": {"name": "secretname", "uid": "secretuid"}});
    let pod = json!({"pod": {"name": "podname", "uid": "poduid"}});
    let node = json!({"node": {"name": "nodename", "uid": "nodeuid"}});
    let nothing = json!({});
    let (gone, bound_gone) = (refused(Reason::ServiceAccountGone), refused(Reason::BoundObjectGone));
    let other = |uid: &str| there(&uid[..uid.len() - 3]);

    let table = [
        ("good", account(), &nothing, good()),
        ("missing serviceaccount", FakeGetter::default(), &nothing, gone.clone()),
        ("missing secret", account(), &secret, bound_gone.clone()),
        ("missing pod", account(), &pod, bound_gone.clone()),
        ("missing node", account(), &node, bound_gone.clone()),
        (
            "different uid serviceaccount",
            FakeGetter { service_account: other("sauidold"), ..account() },
            &json!({"serviceaccount": {"name": "saname", "uid": "sauidold"}}),
            gone.clone(),
        ),
        (
            "different uid secret",
            FakeGetter { secret: other("secretuidold"), ..account() },
            &json!({"secret": {"name": "secretname", "uid": "secretuidold"}}),
            bound_gone.clone(),
        ),
        (
            "different uid pod",
            FakeGetter { pod: other("poduidold"), ..account() },
            &json!({"pod": {"name": "podname", "uid": "poduidold"}}),
            bound_gone.clone(),
        ),
        // Not in Go's table.
        (
            "different uid node",
            FakeGetter { node: other("nodeuidold"), ..account() },
            &json!({"node": {"name": "nodename", "uid": "nodeuidold"}}),
            bound_gone.clone(),
        ),
    ];
    for (name, getter, claims, expected) in table {
        assert_eq!(validate(getter, claims).0, expected, "{name}");
    }

    for (name, time, counts) in [
        ("valid", None, true),
        ("deleted now", Some(NOW), true),
        ("deleted near past", Some(NOW - 1), true),
        ("deleted near future", Some(NOW + 1), true),
        ("deleted now-leeway", Some(NOW - 60), true),
        ("deleted now-leeway-1", Some(NOW - 61), false),
    ] {
        let expected =
            |refusal: &Option<Result<String, Reason>>| if counts { good() } else { refusal.clone() };
        let table = [
            (
                "serviceaccount",
                FakeGetter { service_account: object("sauid", time), ..account() },
                &nothing,
                &gone,
            ),
            ("secret", FakeGetter { secret: object("secretuid", time), ..account() }, &secret, &bound_gone),
            ("pod", FakeGetter { pod: object("poduid", time), ..account() }, &pod, &bound_gone),
            ("node", FakeGetter { node: object("nodeuid", time), ..account() }, &node, &bound_gone),
        ];
        for (kind, getter, claims, refusal) in table {
            assert_eq!(validate(getter, claims).0, expected(refusal), "{name} {kind}");
        }
    }
}

/// Go: `Validate`, which asks one after the other, and "for pod-bound tokens, just extract the node claims".
#[test]
fn objects_are_asked_for_in_order_until_one_is_gone() {
    let all = json!({
        "secret": {"name": "secretname", "uid": "secretuid"},
        "pod": {"name": "podname", "uid": "poduid"},
        "node": {"name": "nodename", "uid": "nodeuid"},
    });
    let getter = || FakeGetter {
        service_account: there("sauid"),
        secret: there("secretuid"),
        pod: there("poduid"),
        ..FakeGetter::default()
    };
    let in_order = ["service account ns/saname", "secret ns/secretname", "pod ns/podname"].map(str::to_owned);
    assert_eq!(validate(getter(), &all), (good(), in_order.to_vec()));
    let no_secret = FakeGetter { secret: Found::default(), ..getter() };
    assert_eq!(validate(no_secret, &all), (refused(Reason::BoundObjectGone), in_order[..2].to_vec()));
    let no_account = FakeGetter { service_account: Found::default(), ..getter() };
    assert_eq!(validate(no_account, &all), (refused(Reason::ServiceAccountGone), in_order[..1].to_vec()));
    let node = json!({"node": {"name": "nodename", "uid": "nodeuid"}});
    let on_node = FakeGetter { node: there("nodeuid"), ..getter() };
    let asked = [in_order[0].clone(), "node nodename".to_owned()].to_vec();
    assert_eq!(validate(on_node, &node), (good(), asked));
}

/// What cannot be asked is nobody's deletion, and is refused all the same.
#[test]
fn an_object_that_cannot_be_asked_for_refuses_the_token() {
    let unavailable = || Found(Err(LookupError::Unavailable));
    let account = || FakeGetter { service_account: there("sauid"), ..FakeGetter::default() };
    let reference = json!({"name": "a", "uid": "b"});
    for (claims, getter) in [
        (json!({}), FakeGetter { service_account: unavailable(), ..account() }),
        (json!({"secret": reference}), FakeGetter { secret: unavailable(), ..account() }),
        (json!({"pod": reference}), FakeGetter { pod: unavailable(), ..account() }),
        (json!({"node": reference}), FakeGetter { node: unavailable(), ..account() }),
    ] {
        assert_eq!(validate(getter, &claims).0, refused(Reason::ClusterUnavailable), "{claims}");
    }
}

/// Names become part of a path.
#[test]
fn nobody_asks_for_an_object_that_cannot_be() {
    for name in ["", ".", "..", "../secrets/a", "a/b", "a%2fb", "a?watch=true", "A", "a b", "a\n"] {
        for claims in [
            json!({"namespace": name}),
            json!({"serviceaccount": {"name": name, "uid": "sauid"}}),
            json!({"secret": {"name": name, "uid": "secretuid"}}),
            json!({"pod": {"name": name, "uid": "poduid"}}),
            json!({"node": {"name": name, "uid": "nodeuid"}}),
        ] {
            let (said, asked) = validate(FakeGetter::default(), &claims);
            assert_eq!((said, asked), (refused(Reason::ServiceAccountClaims), vec![]), "{claims}");
        }
    }
}

/// Go: `Validate` says nothing about a missing exp: the token ends with its objects.
#[test]
fn a_token_without_expiry_counts_while_its_objects_are_there() {
    let getter = FakeGetter { service_account: there("sauid"), ..FakeGetter::default() };
    let claims = with(bound_claims(), "/exp", None);
    let claims = with(claims, "/kubernetes.io/pod", None);
    let claims = with(claims, "/kubernetes.io/node", None);
    let authenticator = looking(Kind::Bound { issuers: ["https://issuer".into()].into() }, getter);
    assert_eq!(say(&authenticator, &token(&claims), at(NOW)), good());
}

/// Go: TestTokenGenerateAndValidate of jwt_test.go, the rows with a client by name, and `legacyValidator.Validate`.
#[test]
fn a_legacy_token_counts_while_its_secret_and_account_are_there() {
    let legacy = token(&legacy_claims());
    let digester = Arc::new(Digester::random());
    let secret = |held: &str, deleted: Option<i64>, invalid| {
        let object = Object::new("secretuid", deleted);
        Found(Ok(TokenSecret::new(object, invalid, Some(held.as_bytes()), &digester)))
    };
    let getter = || FakeGetter {
        service_account: there("12345"),
        token_secret: secret(&legacy, None, false),
        ..FakeGetter::default()
    };
    let user = Some(Ok("system:serviceaccount:test:my-service-account".to_owned()));
    let invalidated = refused(Reason::LegacyTokenInvalidated);
    let gone = refused(Reason::ServiceAccountGone);
    let unavailable = refused(Reason::ClusterUnavailable);
    let empty = TokenSecret::new(Object::new("secretuid", None), false, None, &digester);
    let (old, far) = (Some(0), Some(4_000_000_000_i64));
    let table = [
        ("valid lookup", getter(), user, 2),
        (
            "invalid secret lookup",
            FakeGetter { token_secret: Found::default(), ..getter() },
            invalidated.clone(),
            1,
        ),
        (
            "invalid serviceaccount lookup",
            FakeGetter { service_account: Found::default(), ..getter() },
            gone.clone(),
            2,
        ),
        (
            "secret is marked as invalid",
            FakeGetter { token_secret: secret(&legacy, None, true), ..getter() },
            invalidated.clone(),
            2,
        ),
        // Not in Go's table.
        (
            "deleted secret",
            FakeGetter { token_secret: secret(&legacy, old, false), ..getter() },
            invalidated.clone(),
            1,
        ),
        (
            "secret to be deleted",
            FakeGetter { token_secret: secret(&legacy, far, false), ..getter() },
            invalidated.clone(),
            1,
        ),
        (
            "another token",
            FakeGetter { token_secret: secret(&token(&bound_claims()), None, false), ..getter() },
            invalidated.clone(),
            1,
        ),
        (
            "part of the token",
            FakeGetter { token_secret: secret(&legacy[..legacy.len() - 1], None, false), ..getter() },
            invalidated.clone(),
            1,
        ),
        ("no token", FakeGetter { token_secret: Found(Ok(empty)), ..getter() }, invalidated, 1),
        (
            "deleted account",
            FakeGetter { service_account: object("12345", old), ..getter() },
            gone.clone(),
            2,
        ),
        (
            "account to be deleted",
            FakeGetter { service_account: object("12345", far), ..getter() },
            gone.clone(),
            2,
        ),
        ("another account", FakeGetter { service_account: there("1234"), ..getter() }, gone, 2),
        (
            "secret unavailable",
            FakeGetter { token_secret: Found(Err(LookupError::Unavailable)), ..getter() },
            unavailable.clone(),
            1,
        ),
        (
            "account unavailable",
            FakeGetter { service_account: Found(Err(LookupError::Unavailable)), ..getter() },
            unavailable,
            2,
        ),
    ];
    let in_order = ["token in secret test/my-secret", "service account test/my-service-account"];
    for (name, getter, expected, asked) in table {
        let authenticator = looking(Kind::Legacy { lookup: true }, getter);
        assert_eq!(say(&authenticator, &legacy, at(NOW)), expected, "{name}");
        assert_eq!(authenticator.getter.expect("a getter").asked(), in_order[..asked], "{name}");
    }
}

/// go-jose drops white space in a token; what stands in the Secret has none. Go: `ConstantTimeCompare` of `tokenData`.
#[test]
fn a_legacy_token_is_the_very_bytes_in_its_secret() {
    let legacy = token(&legacy_claims());
    let object = Object::new("secretuid", None);
    let held = TokenSecret::new(object, false, Some(legacy.as_bytes()), &Arc::new(Digester::random()));
    let getter = FakeGetter {
        service_account: there("12345"),
        token_secret: Found(Ok(held)),
        ..FakeGetter::default()
    };
    let authenticator = looking(Kind::Legacy { lookup: true }, getter);
    let user = Some(Ok("system:serviceaccount:test:my-service-account".to_owned()));
    assert_eq!(say(&authenticator, &legacy, at(NOW)), user);
    let (rest, signature) = legacy.rsplit_once('.').expect("three parts");
    let same = format!("{rest}.\t{signature}");
    assert_eq!(say(&authenticator, &same, at(NOW)), refused(Reason::LegacyTokenInvalidated));
}

/// `--service-account-lookup=false` is about legacy tokens alone.
#[test]
fn without_lookup_legacy_tokens_are_not_asked_about() {
    let mut claims = legacy_claims();
    claims["kubernetes.io/serviceaccount/secret.name"] = "no/name".into();
    let authenticator = looking(Kind::Legacy { lookup: false }, FakeGetter::default());
    let user = Some(Ok("system:serviceaccount:test:my-service-account".to_owned()));
    assert_eq!(say(&authenticator, &token(&claims), at(NOW)), user);
    let authenticator = looking(Kind::Legacy { lookup: true }, FakeGetter::default());
    assert_eq!(say(&authenticator, &token(&claims), at(NOW)), refused(Reason::ServiceAccountClaims));
    assert_eq!(authenticator.getter.expect("a getter").asked(), [""; 0], "a path cannot be chosen");
}

/// Go: `Validate` of claims.go, at `warnafter`: what is past it is stale, without leeway, and 0 is none. Only good tokens count.
#[test]
fn projected_tokens_are_counted_as_stale_or_valid_by_the_time_at_which_they_should_have_been_fetched_anew() {
    let statistics = Arc::<ServiceAccountStatistics>::default();
    let counted = |warn_after: serde_json::Value, getter: FakeGetter| {
        let claims = json!({"iss": "https://issuer", "exp": NOW + 600, "aud": "api", "kubernetes.io": {
            "namespace": "ns", "serviceaccount": {"name": "saname", "uid": "sauid"}, "warnafter": warn_after}});
        let authenticator = looking(Kind::Bound { issuers: ["https://issuer".into()].into() }, getter);
        let _said = say(&authenticator.counted(Arc::clone(&statistics)), &token(&claims), at(NOW));
        statistics.totals()
    };
    let account = || FakeGetter { service_account: there("sauid"), ..FakeGetter::default() };
    assert_eq!(counted(json!(NOW - 1), account()), [0, 1, 0, 0]);
    assert_eq!(counted(json!(NOW), account()), [0, 1, 1, 0]);
    assert_eq!(counted(json!(NOW + 1), account()), [0, 1, 2, 0]);
    for none in [json!(0), json!(null)] {
        assert_eq!(counted(none, account()), [0, 1, 2, 0]);
    }
    assert_eq!(counted(json!(NOW - 1), FakeGetter::default()), [0, 1, 2, 0], "its account is gone");
}

/// Go: `AuthenticateToken` of jwt.go and `Validate` of legacy.go: a token without an audience counts even if it is refused then.
#[test]
fn legacy_tokens_are_counted_and_those_of_a_secret_that_is_marked_as_invalid() {
    let statistics = Arc::<ServiceAccountStatistics>::default();
    let token = token(&legacy_claims());
    let digester = Arc::new(Digester::random());
    let counted = |held: &str, invalid| {
        let secret = TokenSecret::new(Object::new("u", None), invalid, Some(held.as_bytes()), &digester);
        let token_secret = Found(Ok(secret));
        let getter = FakeGetter { token_secret, service_account: there("12345"), ..FakeGetter::default() };
        let authenticator = looking(Kind::Legacy { lookup: true }, getter);
        let said = say(&authenticator.counted(Arc::clone(&statistics)), &token, at(NOW));
        (said.map(|said| said.map(drop)), statistics.totals())
    };
    let invalidated = Some(Err(Reason::LegacyTokenInvalidated));
    assert_eq!(counted(&token, false), (Some(Ok(())), [1, 0, 0, 0]));
    assert_eq!(counted(&token, true), (invalidated, [2, 0, 0, 1]));
    assert_eq!(counted("another", true), (invalidated, [3, 0, 0, 1]));
}
