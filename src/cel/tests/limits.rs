//! Expressions and claims that are made to cost much: S37 of the threats (CVE-2026-23881), the cost limits of
//! Kubernetes.

use serde_json::json;

use super::super::*;
use super::{compiled, object, refused};

fn fails(text: &str, claims: &Object<'_>) -> String {
    compiled(text).evaluate(Input::Claims(claims)).unwrap_err().to_string()
}

/// Go: `PerCallLimit` and `CostTracker`.
#[test]
fn an_evaluation_that_costs_too_much_is_an_error_that_nothing_absorbs() {
    let claims = object(json!({"l": vec!["x"; 1000]}));
    let limit = "operation cancelled: actual cost limit exceeded";
    let nested = "dyn(claims.l).all(a, dyn(claims.l).all(b, dyn(claims.l).all(c, a == b && b == c)))";
    for text in [nested.to_owned(), format!("{nested} || true"), format!("true || true ? {nested} : true")] {
        assert!(fails(&text, &claims).ends_with(limit), "{text}");
    }
}

#[test]
fn what_an_evaluation_may_make_is_bounded() {
    let claims = object(json!({"s": "x".repeat(10_000), "l": vec!["x"; 1000]}));
    let limit = "operation cancelled: actual cost limit exceeded";
    // Each `optMap` doubles what the one before has made.
    let mut doubled = "optional.of(x0 + x0)".to_owned();
    for depth in (0..40).rev() {
        let inner = depth.to_string();
        let target = if depth == 0 { "[1]".to_owned() } else { format!("x{0} + x{0}", depth - 1) };
        doubled = format!("optional.of({target}).optFlatMap(x{inner}, {doubled})");
    }
    for text in [
        doubled.as_str(),
        "lists.range(1000000000)",
        "claims.s.replace('', claims.s)",
        "dyn(claims.l).map(x, claims.s.replace('x', claims.s))",
        "dyn(claims.l).map(x, claims.l).map(x, claims.l).flatten().map(x, claims.l).flatten()",
        "dyn(claims.l).map(x, claims.s).join(claims.s)",
    ] {
        assert!(fails(text, &claims).ends_with(limit), "{text}");
    }
}

/// Go: `expressionSizeCodePointLimit` and `maxRecursionDepth` of cel-go's parser.
#[test]
fn expressions_that_are_too_large_or_too_deep_are_refused() {
    let refused = |text: &str| refused(text, Scope::Claims, Returns::Any);
    let prefix = "compilation failed: ERROR: <input>:-1:0: ";
    assert_eq!(
        refused(&" ".repeat(100_001)),
        format!("{prefix}expression code point size exceeds limit: size: 100001, limit 100000")
    );
    for deep in [
        format!("{}1{}", "(".repeat(300), ")".repeat(300)),
        format!("{}1{}", "[".repeat(300), "]".repeat(300)),
        format!("{}1{}", "size([".repeat(300), "])".repeat(300)),
    ] {
        assert_eq!(refused(&deep), format!("{prefix}expression recursion limit exceeded: 250"));
    }
    for long in [
        format!("claims{}", ".a".repeat(300)),
        format!("1{}", " + 1".repeat(300)),
        format!("claims{}", "['a']".repeat(300)),
        format!("claims.a{}", ".trim()".repeat(300)),
    ] {
        assert_eq!(refused(&long), format!("{prefix}max recursion depth exceeded"));
    }
    for many in ["claims", "1"].map(|start| format!("{start}{}", ".a+(".repeat(3000))) {
        assert_eq!(refused(&many), format!("{prefix}expression has more than 4000 operators"));
    }
    // Each copies what it is called on.
    let copies = format!("optional.of(1){}", ".optMap(x, x)".repeat(30));
    assert_eq!(refused(&copies), format!("{prefix}expression has more than 100000 nodes"));
}

#[test]
fn what_is_as_large_as_kubernetes_takes_compiles() {
    for text in [
        format!("{}1{}", "(".repeat(200), ")".repeat(200)),
        format!("claims{}", ".a".repeat(200)),
        format!("1{}", " + 1".repeat(200)),
        format!("true{}", " && claims.a == 'b'".repeat(500)),
        format!("claims.sub in [{}]", vec!["'https://a.example.test/b?c=d'"; 1000].join(", ")),
    ] {
        compiled(&text);
    }
}

/// What compiles also runs, on the stack of a usual thread.
#[test]
fn what_is_as_deep_as_kubernetes_takes_evaluates() {
    let claims = object(json!({"a": ["x"]}));
    let nested = (0..48).fold("1".to_owned(), |inner, depth| format!("[{depth}].map(x{depth}, {inner})"));
    let bound =
        (0..48).fold("1".to_owned(), |inner, depth| format!("optional.of(1).optMap(x{depth}, {inner})"));
    for text in [
        format!("1{}", " + 1".repeat(240)),
        format!("{}1{}", "[".repeat(240), "]".repeat(240)),
        format!("'a'{}", ".trim()".repeat(240)),
        format!("{}1{}", "true ? 1 : (".repeat(120), ")".repeat(120)),
        nested,
        bound,
    ] {
        assert!(compiled(&text).evaluate(Input::Claims(&claims)).is_ok(), "{text}");
    }
}

/// Claims come from whoever made the token, though they are parsed to a depth of 256 only.
#[test]
fn deep_claims_are_looked_into_so_far_and_no_further() {
    let nested = |depth| (0..depth).fold(json!(1), |inner, _| json!([inner]));
    let deep = object(json!({"a": nested(128), "b": nested(128)}));
    let text = "claims.a == claims.b";
    assert_eq!(compiled(text).evaluate(Input::Claims(&deep)).unwrap().as_bool(), Some(true));
    let deeper = object(json!({"a": nested(600), "b": nested(600)}));
    for text in [text, "claims.a.flatten(1000) == []", "'%s'.format([dyn(claims.a)])", "claims.a.indexOf(1)"]
    {
        assert!(fails(text, &deeper).ends_with("operation cancelled: actual cost limit exceeded"), "{text}");
    }
}

/// A pattern may come from a claim.
#[test]
fn patterns_of_claims_are_bounded() {
    let claims = object(json!({"p": "(\\pL{1000}){1}".repeat(20), "s": "x".repeat(1000)}));
    let expected = "a pattern of this size in a regular expression is not supported here";
    assert!(fails("claims.s.matches(claims.p)", &claims).ends_with(expected));
}
