//! The recorded verdicts of kube-apiserver on configurations with expressions, and on tokens that they map.
#![allow(clippy::disallowed_methods, reason = "a test reads its vectors")]

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde_json::{Map, Value as Json, json};

use super::super::*;
use super::object;

fn vectors(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance").join(path)).unwrap()
}

fn lines(path: &str) -> Vec<Json> {
    vectors(path).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The expressions of an authenticator, with what they are about and have to be.
fn expressions(jwt: &Json) -> Vec<(&str, Scope, Returns)> {
    let items = |list: &'_ str| jwt[list].as_array().map(Vec::as_slice).unwrap_or_default();
    let mappings = &jwt["claimMappings"];
    let extra = mappings["extra"].as_array().map(Vec::as_slice).unwrap_or_default();
    let claims = ["username", "groups", "uid"].map(|mapping| &mappings[mapping]["expression"]);
    let mapped = claims.into_iter().chain(extra.iter().map(|extra| &extra["valueExpression"]));
    let rules = |list, scope| items(list).iter().map(move |r| (&r["expression"], scope, Returns::Bool));
    mapped
        .map(|expression| (expression, Scope::Claims, Returns::Any))
        .chain(rules("claimValidationRules", Scope::Claims))
        .chain(rules("userValidationRules", Scope::User))
        .filter_map(|(expression, scope, returns)| Some((expression.as_str()?, scope, returns)))
        .collect()
}

/// tests/conformance/configs, class `cel-compile`: what compiles, and the words for what does not.
#[test]
fn recorded_configurations_compile_or_not_as_in_kubernetes() {
    let (mut compiled, mut refused) = (0, 0);
    for case in lines("configs/configs.jsonl").iter().filter(|case| case["class"] == "cel-compile") {
        let id = &case["id"];
        let text = case["files"].as_object().unwrap().values().next().unwrap().as_str().unwrap().to_owned();
        let configuration: Json = serde_saphyr::from_str(&text).unwrap();
        let all = expressions(&configuration["jwt"][0]);
        assert!(!all.is_empty(), "{id}");
        let failed: Vec<String> = all
            .into_iter()
            .filter_map(|(text, scope, returns)| Expression::compile(text, scope, returns).err())
            .map(|error| error.to_string())
            .collect();
        assert_eq!(failed.is_empty(), case["expect"]["starts"] == true, "{id}: {failed:?}");
        compiled += usize::from(failed.is_empty());
        for words in failed {
            refused += 1;
            let theirs = case["expect"]["error"].as_str().unwrap();
            assert!(theirs.contains(&words), "{id}: {words}\n{theirs}");
        }
    }
    assert_eq!((compiled, refused), (79, 25));
}

/// tests/conformance/scenarios/authn-b, classes `cel-*`: users that come of tokens, or do not.
#[test]
fn recorded_tokens_become_the_users_that_kubernetes_made_of_them() {
    let configuration: Json = serde_saphyr::from_str(&vectors("world/authn/b.yaml")).unwrap();
    let authenticators = configuration["jwt"].as_array().unwrap();
    let compiled: Compiled<'_> = authenticators
        .iter()
        .flat_map(expressions)
        .map(|(text, scope, returns)| (text, Expression::compile(text, scope, returns).unwrap()))
        .collect();
    let mut seen = [0, 0];
    for case in lines("scenarios/authn-b/cases.jsonl") {
        if !case["class"].as_str().unwrap().starts_with("cel-") {
            continue;
        }
        let claims = case["decoded"]["jwt_payload"].as_str().unwrap();
        let claims: Map<String, Json> = serde_json::from_str(claims).unwrap();
        let jwt = authenticators.iter().find(|jwt| jwt["issuer"]["url"] == claims["iss"]).unwrap();
        let expected = &case["expect"];
        match user(&compiled, jwt, &claims) {
            Ok(user) => {
                seen[0] += 1;
                assert_eq!(user, expected["user"], "{}", case["id"]);
            }
            Err(why) => {
                seen[1] += 1;
                assert_eq!(expected["authenticated"], false, "{}: {why}", case["id"]);
            }
        }
    }
    assert_eq!(seen, [126, 63]);
}

/// The expressions of the configuration by their texts, of which no two of different scopes are the same.
type Compiled<'c> = HashMap<&'c str, Expression>;

/// Who a token with these claims is to an authenticator. Go: what `AuthenticateToken` (oidc.go) does behind the signature.
fn user(compiled: &Compiled<'_>, jwt: &Json, claims: &Map<String, Json>) -> Result<Json, String> {
    let input = object(Json::Object(claims.clone()));
    let evaluate = |text: &Json, take: fn(&Value<'_>) -> Result<Json, String>| {
        let expression = &compiled[text.as_str().unwrap()];
        let value = expression.evaluate(Input::Claims(&input)).map_err(|error| error.to_string())?;
        take(&value)
    };
    let string = |value: &Value<'_>| value.as_str().map(Json::from).ok_or_else(|| "not a string".to_owned());
    let strings =
        |value: &Value<'_>| value.strings().map(|all| json!(all)).map_err(|error| error.to_string());
    let mappings = &jwt["claimMappings"];
    let prefixed =
        |mapping: &Json, value: &str| format!("{}{value}", mapping["prefix"].as_str().unwrap_or_default());
    fn text(value: Option<&Json>) -> Result<&str, &'static str> {
        value.and_then(Json::as_str).ok_or("no string")
    }

    let username = match &mappings["username"] {
        by_claim if by_claim["claim"].is_string() => {
            json!(prefixed(by_claim, text(claims.get(by_claim["claim"].as_str().unwrap()))?))
        }
        by_expression => {
            let username = evaluate(&by_expression["expression"], string)?;
            if username == "" {
                return Err("empty username".to_owned());
            }
            username
        }
    };
    let groups = match &mappings["groups"] {
        Json::Null => json!([]),
        by_claim if by_claim["claim"].is_string() => match claims.get(by_claim["claim"].as_str().unwrap()) {
            Some(Json::Array(groups)) => {
                let groups: Result<Vec<String>, _> =
                    groups.iter().map(|group| Ok(prefixed(by_claim, text(Some(group))?))).collect();
                json!(groups.map_err(|error: &str| error.to_owned())?)
            }
            Some(group) => json!([prefixed(by_claim, text(Some(group))?)]),
            None => json!([]),
        },
        by_expression => evaluate(&by_expression["expression"], strings)?,
    };
    let uid = match &mappings["uid"] {
        Json::Null => json!(""),
        by_claim if by_claim["claim"].is_string() => {
            json!(text(claims.get(by_claim["claim"].as_str().unwrap()))?)
        }
        by_expression => evaluate(&by_expression["expression"], string)?,
    };
    let mut extra = Map::new();
    if let Some(id) = claims.get("jti").and_then(Json::as_str) {
        extra.insert("authentication.kubernetes.io/credential-id".into(), json!([format!("JTI={id}")]));
    }
    for mapping in mappings["extra"].as_array().into_iter().flatten() {
        let values = evaluate(&mapping["valueExpression"], strings)?;
        if values != json!([]) {
            extra.insert(mapping["key"].as_str().unwrap().into(), values);
        }
    }
    for rule in jwt["claimValidationRules"].as_array().into_iter().flatten() {
        match rule["claim"].as_str() {
            Some(claim) if claims.get(claim) == Some(&rule["requiredValue"]) => {}
            Some(claim) => return Err(format!("{claim} is not as required")),
            None => {
                let holds = evaluate(&rule["expression"], |value| Ok(json!(value.as_bool())))?;
                if holds != true {
                    return Err(format!("{} does not hold", rule["expression"]));
                }
            }
        }
    }
    fn texts(list: &Json) -> Vec<&str> {
        list.as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect()
    }
    let own_groups = texts(&groups);
    let own_extra = extra.iter().map(|(key, values)| (key.as_str(), texts(values))).collect();
    for rule in jwt["userValidationRules"].as_array().into_iter().flatten() {
        let rule = &compiled[rule["expression"].as_str().unwrap()];
        let user = UserInfo {
            username: username.as_str().unwrap(),
            uid: uid.as_str().unwrap(),
            groups: &own_groups,
            extra: &own_extra,
        };
        let holds = rule.evaluate(Input::User(user)).map_err(|error| error.to_string())?.as_bool();
        if holds != Some(true) {
            return Err(format!("{} does not hold", rule.text()));
        }
    }
    // What the chain adds. Go: `group.AuthenticatedGroupAdder`.
    let mut groups = groups.as_array().unwrap().clone();
    groups.push(json!("system:authenticated"));
    Ok(json!({"username": username, "uid": uid, "groups": groups, "extra": extra}))
}
