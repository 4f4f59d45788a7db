//! How the issuers are configured, and what they serve.

use serde_json::{Value, json};

use super::super::random::Random;
use super::odd_keys::{Publication, odd_keys};
use super::signing::SIGNERS;
use super::{Forge, ISSUERS, ODD_ISSUERS};

impl Forge {
    pub(super) fn configuration(&self, authority: &str) -> Value {
        let authenticator = |name: &str, more: Value| {
            let mut authenticator = json!({"issuer": {
                "url": self.url(name),
                "audiences": ["app", "other"],
                "audienceMatchPolicy": "MatchAny",
                "certificateAuthority": authority,
            }});
            authenticator.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            if name == "google" {
                authenticator["issuer"]["discoveryURL"] = json!(format!("{}/google/here", self.server));
            }
            authenticator
        };
        let by_claim = |username: &str, groups: &str, prefix: &str| {
            json!({
                "username": {"claim": username, "prefix": prefix},
                "groups": {"claim": groups, "prefix": prefix},
            })
        };
        let mut with_uid = by_claim("email", "roles", "e:");
        with_uid["uid"] = json!({"claim": "uid"});
        let mut jwt = vec![
            authenticator("plain", json!({"claimMappings": by_claim("sub", "groups", "")})),
            authenticator(
                "email",
                json!({
                    "claimMappings": with_uid,
                    "claimValidationRules": [
                        {"claim": "hd", "requiredValue": "example.test"},
                        {"claim": "dept", "requiredValue": ""},
                    ],
                    "userValidationRules": [{"expression": "user.groups.all(group, group != 'e:root')"}],
                }),
            ),
            authenticator(
                "expressions",
                json!({
                    "claimMappings": {
                        "username": {"expression":
                            "claims.?email_verified.orValue(true) == true ? claims.email : 'unverified:' + claims.sub"},
                        "groups": {"expression": "has(claims.groups) ? claims.groups : 'none'"},
                        "uid": {"expression": "has(claims.uid) ? string(claims.uid) : ''"},
                        "extra": [
                            {"key": "example.org/tenant", "valueExpression": "claims.?tenant.orValue('')"},
                            {"key": "example.org/scopes",
                             "valueExpression": "has(claims.scope) ? claims.scope : []"},
                        ],
                    },
                    "claimValidationRules": [
                        {"expression": "claims.exp - claims.?iat.orValue(claims.exp) < 1000000.0",
                         "message": "issued for too long"},
                        {"expression": "!has(claims.blocked) || claims.blocked == false"},
                    ],
                    "userValidationRules": [
                        {"expression": "!user.username.startsWith('system:')", "message": "reserved"},
                        {"expression": "user.groups.all(group, !group.startsWith('system:'))"},
                    ],
                }),
            ),
            authenticator("distributed", json!({"claimMappings": by_claim("sub", "groups", "d:")})),
            authenticator("google", json!({"claimMappings": by_claim("email", "groups", "")})),
        ];
        let odd = |number: usize| {
            authenticator(&number.to_string(), json!({"claimMappings": by_claim("sub", "groups", "")}))
        };
        jwt.extend((0..ODD_ISSUERS).map(odd));
        json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": jwt})
    }

    /// Documents, keys and distributed claims.
    pub(super) fn routes(&self, random: &mut Random) -> Value {
        let mut routes = json!({});
        let mut serve = |path: String, status: u16, body: String| {
            let content_type = "application/json";
            routes[path] = json!({"status": status, "content_type": content_type, "body": body});
        };
        let renamed = |key: &str, change: Value| {
            let mut key = self.public[key].clone();
            key.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
            key
        };
        let own = ["r1", "e1", "r2", "r3", "e3", "e5", "ed"].map(|name| renamed(name, json!({})));
        let odd = [
            renamed("e3", json!({"kid": "twin"})),
            renamed("r3", json!({"kid": "twin"})),
            renamed("r2", json!({"kid": null})),
            renamed("e5", json!({"kid": "encryption", "use": "enc", "alg": "ECDH-ES"})),
            json!({"kty": "oct", "k": "AQAB", "kid": "symmetric"}),
        ];
        for name in ISSUERS {
            let at = if name == "google" { "here" } else { ".well-known/openid-configuration" };
            let keys = format!("{}/{name}/keys", self.server);
            serve(
                format!("/{name}/{at}"),
                200,
                json!({"issuer": self.url(name), "jwks_uri": keys}).to_string(),
            );
            let keys = if name == "google" { own[..2].to_vec() } else { [&own[..], &odd].concat() };
            serve(format!("/{name}/keys"), 200, json!({"keys": keys}).to_string());
        }
        for number in 0..ODD_ISSUERS {
            let name = number.to_string();
            let keys = format!("{}/{name}/keys", self.server);
            let Publication { document, set } = odd_keys(random, &self.url(&name), &keys, self);
            serve(format!("/{name}/.well-known/openid-configuration"), 200, document);
            serve(format!("/{name}/keys"), 200, set);
        }
        let token = |key: &str, more: Value| {
            let mut claims = json!({"iss": self.url("distributed"), "aud": "app", "exp": self.now + 100_000});
            claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let algorithm = SIGNERS.iter().find(|(name, ..)| *name == key).unwrap().1[0];
            let header = json!({"alg": algorithm, "kid": key}).to_string();
            self.sign(key, algorithm, header.as_bytes(), claims.to_string().as_bytes())
        };
        let groups = json!({"groups": ["far", "away"]});
        for (path, body) in [
            ("list", token("r1", groups.clone())),
            ("text", token("e3", json!({"groups": "far"}))),
            ("null", token("r1", json!({"groups": null}))),
            ("number", token("r1", json!({"groups": 1}))),
            ("missing", token("r1", json!({}))),
            ("other-issuer", token("e5", json!({"iss": self.url("plain"), "groups": ["plain"]}))),
            ("unknown-issuer", token("r1", json!({"iss": "https://127.0.0.1:1", "groups": "far"}))),
            ("expired", token("r1", json!({"exp": self.now - 100_000, "groups": "far"}))),
            ("not-for-us", token("r1", json!({"aud": "x", "groups": "far"}))),
            ("wrong-key", token("attacker", groups.clone())),
            ("line-end", token("r1", groups.clone()) + "\n"),
            ("further", token("r1", json!({"_claim_names": {"groups": "s"}, "_claim_sources": {"s": {}}}))),
            ("text-file", "far".to_owned()),
        ] {
            serve(format!("/claims/{path}"), 200, body);
        }
        serve("/claims/created".to_owned(), 201, token("r1", groups.clone()));
        serve("/claims/failed".to_owned(), 500, token("r1", groups.clone()));
        serve("/claims/moved".to_owned(), 302, String::new());
        serve("/claims/private".to_owned(), 200, token("r2", groups));
        routes["/claims/moved"]["location"] = json!("/claims/list");
        routes["/claims/private"]["require_authorization"] = json!("Bearer access");
        routes
    }
}
