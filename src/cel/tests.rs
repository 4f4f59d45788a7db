//! Tests of the whole, from text to value.

use serde_json::{Map, Value as Json, json};

use super::*;

fn claims(json: Json) -> Map<String, Json> {
    match json {
        Json::Object(claims) => claims,
        _ => panic!("claims are an object"),
    }
}

fn shown(text: &str, of: &Map<String, Json>) -> String {
    let expression = Expression::compile(text, Scope::Claims, Returns::Any).unwrap();
    match expression.evaluate(Input::Claims(of)) {
        Ok(value) => format!("{value:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_does_not_compile_says_so_in_the_words_of_kubernetes() {
    let refused = |text, returns| Expression::compile(text, Scope::Claims, returns).unwrap_err().to_string();
    assert_eq!(
        refused("foo == 1", Returns::Bool),
        "compilation failed: ERROR: <input>:1:1: undeclared reference to 'foo' (in container '')\n | foo == 1\n | ^"
    );
    assert_eq!(refused("claims.a", Returns::Bool), "must evaluate to bool");
    assert_eq!(
        refused("int('x')", Returns::Any),
        "program instantiation failed: type conversion error from 'string' to 'int'"
    );
}

#[test]
fn claims_are_looked_up_by_name_and_by_escaped_name() {
    let claims = claims(json!({"sub": "alice", "a.b": {"c-d": 1}}));
    assert_eq!(shown("'p:' + claims.sub", &claims), r#"{"string":"p:alice"}"#);
    assert_eq!(shown("claims.a__dot__b.c__dash__d", &claims), r#"{"double":"1"}"#);
    assert_eq!(
        shown("claims.nope", &claims),
        "expression 'claims.nope' resulted in error: no such key: nope"
    );
}
