//! Tests of the whole, from text to value.

mod limits;
mod vectors;

use serde_json::{Value as Json, json};

use super::*;
use crate::json::Value as Claim;

fn object(json: Json) -> Object<'static> {
    match claim(json) {
        Claim::Object(members) => members,
        _ => panic!("an object was expected"),
    }
}

/// Deeper, too, than claims are parsed.
fn claim(json: Json) -> Claim<'static> {
    match json {
        Json::Array(items) => Claim::Array(items.into_iter().map(claim).collect()),
        Json::Object(members) => {
            Claim::Object(members.into_iter().map(|(name, value)| (name.into(), claim(value))).collect())
        }
        Json::String(text) => Claim::String(text.into()),
        scalar => Claim::parse(scalar.to_string().leak().as_bytes()).unwrap(),
    }
}

fn compiled(text: &str) -> Expression {
    Expression::compile(text, Scope::Claims, Returns::Any).unwrap()
}

/// What an expression evaluates to, as JSON with types, or the error.
fn shown(text: &str, claims: &Object<'_>) -> String {
    match compiled(text).evaluate(Input::Claims(claims)) {
        Ok(value) => {
            let shown: Json = serde_json::from_str(&format!("{value:?}")).unwrap();
            shown["value"].to_string()
        }
        Err(error) => error.to_string(),
    }
}

fn refused(text: &str, scope: Scope, returns: Returns) -> String {
    Expression::compile(text, scope, returns).unwrap_err().to_string()
}

/// Go: all rows of TestCompileClaimsExpression and TestCompileUserExpression (authentication/cel/compile_test.go), with what each kind of
/// condition has to be there: only those that validate have to be boolean.
#[test]
fn what_kubernetes_compiles_is_compiled() {
    let table = [
        ("valid ClaimMappingCondition", "claims.foo", Scope::Claims, Returns::Any),
        ("valid ClaimValidationCondition", "claims.foo == 'bar'", Scope::Claims, Returns::Bool),
        ("valid ExtraMapppingCondition", "claims.foo", Scope::Claims, Returns::Any),
        ("valid UserValidationCondition", "user.username == 'bar'", Scope::User, Returns::Any),
        ("a user's, where it has to be boolean", "user.username == 'bar'", Scope::User, Returns::Bool),
    ];
    for (name, text, scope, returns) in table {
        let compiled =
            Expression::compile(text, scope, returns).map(|expression| expression.text().to_owned());
        assert_eq!(compiled, Ok(text.to_owned()), "{name}");
    }
}

/// Go: all rows of TestCompileClaimsExpressionError and TestCompileUserExpressionError (authentication/cel/compile_test.go), and some that
/// those have not, in full where Go's tests look for a part.
#[test]
fn what_does_not_compile_says_so_in_the_words_of_kubernetes() {
    let undeclared = |name: &str, text: &str| {
        format!(
            "compilation failed: ERROR: <input>:1:1: undeclared reference to '{name}' (in container '')\n | {text}\n | ^"
        )
    };
    let cases = [
        (
            "invalid ClaimValidationCondition",
            "claims.foo",
            Scope::Claims,
            Returns::Bool,
            "must evaluate to bool",
        ),
        (
            "UserValidationCondition with wrong env",
            "user.username == 'foo'",
            Scope::Claims,
            Returns::Bool,
            &undeclared("user", "user.username == 'foo'"),
        ),
        (
            "invalid ClaimMappingCondition",
            "claims + 1",
            Scope::Claims,
            Returns::Any,
            "compilation failed: ERROR: <input>:1:8: found no matching overload for '_+_' applied to '(map(string, any), int)'\n | claims + 1\n | .......^",
        ),
        (
            "invalid UserValidationCondition",
            "user.username",
            Scope::User,
            Returns::Bool,
            "must evaluate to bool",
        ),
        (
            "ClamMappingCondition with wrong env",
            "claims.foo",
            Scope::User,
            Returns::Any,
            &undeclared("claims", "claims.foo"),
        ),
        (
            "ExtraMappingCondition with wrong env",
            "claims.foo",
            Scope::User,
            Returns::Any,
            &undeclared("claims", "claims.foo"),
        ),
        (
            "ClaimValidationCondition with wrong env",
            "claims.foo == 'bar'",
            Scope::User,
            Returns::Bool,
            &undeclared("claims", "claims.foo == 'bar'"),
        ),
        (
            "UserValidationCondition expression with unknown field",
            "user.unknown == 'foo'",
            Scope::User,
            Returns::Bool,
            "compilation failed: ERROR: <input>:1:5: undefined field 'unknown'\n | user.unknown == 'foo'\n | ....^",
        ),
        (
            "two errors of syntax",
            "claims.foo.bar ===",
            Scope::Claims,
            Returns::Any,
            "compilation failed: ERROR: <input>:1:18: Syntax error: token recognition error at: '='\n | claims.foo.bar ===\n | .................^\nERROR: <input>:1:19: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}\n | claims.foo.bar ===\n | ..................^",
        ),
        (
            "a constant that has no value",
            "int('x')",
            Scope::Claims,
            Returns::Any,
            "program instantiation failed: type conversion error from 'string' to 'int'",
        ),
        (
            "a wide character",
            "'ü' + foo",
            Scope::Claims,
            Returns::Any,
            "compilation failed: ERROR: <input>:1:7: undeclared reference to 'foo' (in container '')\n | 'ü' + foo\n | .\u{ff0e}....^",
        ),
    ];
    for (name, text, scope, returns, expected) in cases {
        assert_eq!(refused(text, scope, returns), expected, "{name}");
    }
}

/// Go: `nativeToValueWithUnescape` (oidc.go) and the tests of `TestToken` with `__dot__`.
#[test]
fn claims_are_looked_up_by_name_and_by_escaped_name() {
    let claims = object(json!({"sub": "alice", "a.b": {"c-d": 1, "e/f": ["x", {"g.h": true}]}}));
    let cases = [
        ("'p:' + claims.sub", r#"{"string":"p:alice"}"#),
        ("claims.a__dot__b.c__dash__d", r#"{"double":"1"}"#),
        ("claims['a.b'].e__slash__f[1].g__dot__h", r#"{"bool":true}"#),
        // Iteration gives what is there, without a wrapper.
        (
            "dyn(claims.a__dot__b.e__slash__f).map(x, type(x) == map, has(x.g__dot__h))",
            r#"{"list":[{"bool":false}]}"#,
        ),
        ("claims.nope", "expression 'claims.nope' resulted in error: no such key: nope"),
        ("claims.a__nope__b", "expression 'claims.a__nope__b' resulted in error: no such key: a__nope__b"),
    ];
    for (text, expected) in cases {
        assert_eq!(shown(text, &claims), expected, "{text}");
    }
}

/// Go: `convertCELValueToStringList` (oidc.go).
#[test]
fn a_mapping_takes_a_string_or_a_list_of_strings() {
    let claims = object(json!({"s": "x", "e": "", "n": null, "l": ["a", "", "b"], "m": ["a", 1], "o": {}}));
    let strings = |text: &str| {
        let expression = compiled(text);
        let value = expression.evaluate(Input::Claims(&claims)).unwrap();
        value.strings().map(|strings| strings.into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    assert_eq!(strings("claims.s").unwrap(), ["x"]);
    assert_eq!(strings("claims.l").unwrap(), ["a", "b"]);
    assert_eq!(strings("claims.l + ['c']").unwrap(), ["a", "b", "c"]);
    assert_eq!(strings("[type(1)]").unwrap(), ["int"]);
    for absent in ["claims.e", "claims.n", "[]", "['']"] {
        assert!(strings(absent).unwrap().is_empty(), "{absent}");
    }
    assert_eq!(strings("'a,b'.split(',').map(x, x)").unwrap(), ["a", "b"]);
    for refused in ["claims.m", "claims.o", "'a,b'.split(',')", "1", "claims", "claims.?s", "[claims.n]"] {
        assert_eq!(strings(refused), Err(NotStrings), "{refused}");
    }
}

/// Go: `usesEmailClaim`, `usesEmailVerifiedClaim` (pkg/apis/apiserver/validation/validation.go) and their tests.
#[test]
fn fields_that_are_selected_by_name_are_seen_wherever_they_are() {
    let selects = |text: &str| compiled(text).selects("claims", "email");
    for used in [
        "claims.email",
        "claims.?email.orValue('')",
        "has(claims.email)",
        "'a' + claims.email",
        "claims.email.a.b",
        "[claims.email]",
        "{'a': claims.email}",
        "true ? claims.email : ''",
        "['a'].exists(x, x == claims.email)",
        "dyn(claims.email).exists(x, x == '')",
        "claims.?email.optMap(x, x)",
    ] {
        assert!(selects(used), "{used}");
    }
    for other in ["claims['email']", "claims[?'email']", "claims.a.email", "claims.emails", "'claims.email'"]
    {
        assert!(!selects(other), "{other}");
    }
}

#[test]
fn an_expression_shows_its_text_and_nothing_else() {
    let expression = compiled("claims.sub");
    assert_eq!(expression.text(), "claims.sub");
    assert_eq!(format!("{expression:?}"), "Expression(\"claims.sub\")");
}

#[test]
fn users_have_four_fields_which_are_always_there() {
    let extra = BTreeMap::from([("a.b/c", vec!["x"])]);
    let user = UserInfo { username: "u", uid: "", groups: &["g"], extra: &extra };
    let cases = [
        ("user.username == 'u' && user.uid == ''", true),
        ("has(user.uid)", true),
        ("user.groups.exists(g, g == 'g')", true),
        ("user.extra['a.b/c'][0] == 'x'", true),
        ("user.extra.a__dot__b__slash__c == ['x']", true),
        ("'a.b/c' in user.extra && !('x' in user.extra)", true),
        ("user.username.startsWith('system:')", false),
    ];
    for (text, expected) in cases {
        let rule = Expression::compile(text, Scope::User, Returns::Bool).unwrap();
        assert_eq!(rule.evaluate(Input::User(user)).unwrap().as_bool(), Some(expected), "{text}");
    }
}
