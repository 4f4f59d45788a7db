//! The cases of JSON Web Tokens.

use std::rc::Rc;
use std::slice;

use countersign::authn::token::cache;
use serde_json::{Value, json};

use crate::cases::{Calls, Case, OK, UNAUTHENTICATED, bearer};
use crate::issuer::{Issuers, MANY};
use crate::tokens::{Key, Tokens};

/// So many issuers an AuthenticationConfiguration may have.
const ISSUERS: usize = 64;
/// More tokens than are remembered: many are forgotten when they come again.
const MORE_THAN_REMEMBERED: usize = 3 * cache::MAX_GOOD / 2;
/// So many keys a set may have.
const KEYS: usize = 100;

pub(crate) fn cases() -> Vec<Case> {
    let [rsa, ecdsa] = [Key::rsa(), Key::ecdsa()].map(Rc::new);
    let few = json!({"keys": [rsa.jwk(&rsa.id()), ecdsa.jwk(&ecdsa.id())]});
    let others = (1..KEYS).map(|number| rsa.jwk(&format!("other-{number}")));
    let many = json!({"keys": others.chain([rsa.jwk(&rsa.id())]).collect::<Vec<_>>()});
    let issuers = Issuers::start(ISSUERS, &few, &many);
    let issuer = |number| issuer(&issuers, number);
    let mut many_keys = issuer(0);
    many_keys["issuer"]["discoveryURL"] = format!("https://{}{MANY}", issuers.address).into();
    let mut expressions = issuer(0);
    expressions["claimMappings"] = json!({
        "username": {"expression": "'oidc:' + claims.sub"},
        "groups": {"expression": "dyn(claims.groups).map(group, 'oidc:' + group)"},
    });
    expressions["claimValidationRules"] = json!([{"expression": "claims.exp - claims.nbf <= 86400"}]);
    expressions["userValidationRules"] =
        json!([{"expression": "user.groups.all(group, !group.startsWith('system:'))"}]);

    let rs256 = Tokens::new(&rsa, person(&issuers.url(0)));
    let es256 = Tokens::new(&ecdsa, person(&issuers.url(0)));
    let account = Tokens::new(&rsa, service_account());
    let (forged, many_tokens) = (rs256.clone(), es256.clone());
    let account_flags = || {
        vec![
            "--service-account-key-file=sa.pub",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-account-lookup-mode=offline",
            "--anonymous-auth=false",
        ]
    };
    let one = || [issuer(0)];
    vec![
        case("rs256-first-seen", &rs256, 1.10, &one()),
        case("rs256-first-seen-cel", &rs256, 1.25, slice::from_ref(&expressions)),
        case("es256-first-seen", &es256, 1.10, &one()),
        case("es256-first-seen-cel", &es256, 1.25, &[expressions]),
        case("rs256-64-issuers", &rs256, 1.10, &(0..ISSUERS).map(issuer).collect::<Vec<_>>()),
        case("rs256-100-keys", &rs256, 1.10, &[many_keys]),
        Case {
            flags: account_flags(),
            files: vec![("sa.pub", rsa.pem())],
            ..case("service-account-first-seen", &account, 1.10, &[])
        },
        Case {
            calls: Calls::Same(bearer(rs256.number(1))),
            unavoidable: Box::new(|| 0.0),
            ..case("rs256-remembered", &rs256, 0.75, &one())
        },
        Case {
            flags: account_flags(),
            files: vec![("sa.pub", rsa.pem())],
            calls: Calls::Same(bearer(account.number(1))),
            unavoidable: Box::new(|| 0.0),
            ..case("service-account-remembered", &account, 0.75, &[])
        },
        Case {
            calls: Calls::Cycle(
                MORE_THAN_REMEMBERED,
                Box::new(move |number| bearer(many_tokens.number(number))),
            ),
            ..case("es256-more-than-remembered", &es256, 1.10, &one())
        },
        Case {
            expected: UNAUTHENTICATED,
            calls: Calls::Fresh(Box::new(move |number| bearer(forged.forged(1 + number)))),
            ..case("jwt-refused", &rs256, 0.90, &one())
        },
    ]
}

/// Good tokens, each seen for the first time, and authenticators for them.
fn case(name: &'static str, tokens: &Tokens, limit: f64, authenticators: &[Value]) -> Case {
    let (calls, verified) = (tokens.clone(), tokens.clone());
    Case {
        name,
        flags: vec!["--authentication-config=authentication.json", "--anonymous-auth=false"],
        files: vec![("authentication.json", configuration(authenticators).to_string())],
        ready: Some(bearer(tokens.number(0))),
        expected: OK,
        limit,
        calls: Calls::Fresh(Box::new(move |number| bearer(calls.number(1 + number)))),
        unavoidable: Box::new(move || verified.verification()),
    }
}

/// What `--authentication-config` names.
pub(crate) fn configuration(authenticators: &[Value]) -> Value {
    json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "jwt": authenticators,
    })
}

/// An authenticator that maps claims without expressions.
pub(crate) fn issuer(issuers: &Issuers, number: usize) -> Value {
    json!({
        "issuer": {"url": issuers.url(number), "audiences": ["shop"], "certificateAuthority": issuers.authority},
        "claimMappings": {
            "username": {"claim": "sub", "prefix": "oidc:"},
            "groups": {"claim": "groups", "prefix": "oidc:"},
        },
    })
}

/// What an ID token says of somebody.
pub(crate) fn person(issuer: &str) -> Value {
    json!({
        "iss": issuer, "sub": "00u1a2b3c4d5e6f7g8h9", "aud": ["shop", "account"], "azp": "shop",
        "auth_time": 1_790_000_000, "sid": "0d6f8f4e-5a35-4d2b-9c64-0a7f1a1ed2c3", "acr": "1", "scope": "openid profile email",
        "name": "Alice Example", "preferred_username": "alice", "given_name": "Alice", "family_name": "Example",
        "email": "alice@example.test", "email_verified": true,
        "groups": ["dev", "ops", "on-call", "shop-admins", "release-managers"],
    })
}

/// What a Pod's token says.
fn service_account() -> Value {
    json!({
        "iss": "https://kubernetes.default.svc", "sub": "system:serviceaccount:shop:cart", "aud": ["https://kubernetes.default.svc"],
        "kubernetes.io": {
            "namespace": "shop",
            "node": {"name": "worker-1", "uid": "b4f4ef7a-5f0c-4c86-8d4d-6c11ac1ac0f3"},
            "pod": {"name": "cart-6d5f8b7c9-x2x7p", "uid": "6ae55b5c-5a1a-4b0a-9d9d-0d3f5b7c0f55"},
            "serviceaccount": {"name": "cart", "uid": "0c9a8b7d-1e2f-4a3b-8c5d-6e7f80910a1b"},
        },
    })
}
