use proptest::prelude::*;
use serde_json::json;

use super::*;

fn text(document: &[u8]) -> String {
    match Value::parse(document) {
        Ok(Value::String(text)) => text.into_owned(),
        other => panic!("{other:?}"),
    }
}

/// Go: TestValid and TestUnmarshalSyntax of encoding/json.
#[test]
fn the_grammar_is_rfc_8259s() {
    let good = [
        "null",
        " true\r\n",
        "\tfalse",
        "0",
        "-0",
        "-1.5e+10",
        "1E5",
        "0.5",
        "\"\"",
        "[]",
        "[ ]",
        "[1 , 2]",
        "{}",
        "{ \"a\" : [ { } ] }",
    ];
    for document in good {
        assert!(Value::parse(document.as_bytes()).is_ok(), "{document}");
    }
    let bad = [
        ("", 0),
        (" ", 1),
        ("nul", 0),
        ("nullx", 4),
        ("01", 1),
        ("-", 1),
        ("+1", 0),
        ("1.", 2),
        (".5", 0),
        ("1e", 2),
        ("1e+", 3),
        ("0x1", 1),
        ("NaN", 0),
        ("'a'", 0),
        ("\"a", 2),
        ("\"a\nb\"", 2),
        ("\"\\x\"", 2),
        ("\"\\'\"", 2),
        ("\"\\u12g4\"", 3),
        ("\"\\", 2),
        ("[1,]", 3),
        ("[1 2]", 3),
        ("[", 1),
        ("{\"a\"}", 4),
        ("{\"a\":1,}", 7),
        ("{a:1}", 1),
        ("{\"a\":1", 6),
        ("[] x", 3),
        ("\u{feff}{}", 0),
        ("\u{a0}1", 0),
    ];
    for (document, at) in bad {
        assert_eq!(Value::parse(document.as_bytes()), Err(JsonError::Syntax(at)), "{document}");
    }
}

/// Go: TestUnmarshal of encoding/json (its cases of UTF-8 and surrogates), `unquoteBytes`; each byte that is no UTF-8 becomes one U+FFFD, a surrogate without its other half too.
#[test]
fn what_is_no_unicode_is_replaced() {
    let table: [(&[u8], &str); 12] = [
        (b"\"a\\u0041\\n\\/\\\"\"", "aA\n/\""),
        (b"\"\\ud83d\\ude00\"", "😀"),
        (b"\"\\ud83d\"", "\u{fffd}"),
        (b"\"\\ud83dx\"", "\u{fffd}x"),
        (b"\"\\ude00\\ud83d\"", "\u{fffd}\u{fffd}"),
        (b"\"\\ud83d\\u0041\"", "\u{fffd}A"),
        (b"\"\\ud83d\\ud83d\\ude00\"", "\u{fffd}😀"),
        (b"\"\xff\"", "\u{fffd}"),
        (b"\"\xe2\x82\"", "\u{fffd}\u{fffd}"),
        (b"\"\xe2\x82\xaca\xe2\x82\"", "€a\u{fffd}\u{fffd}"),
        (b"\"\xc0\xaf\"", "\u{fffd}\u{fffd}"),
        (b"\"\xed\xa0\x80\"", "\u{fffd}\u{fffd}\u{fffd}"),
    ];
    for (document, expected) in table {
        assert_eq!(text(document), expected, "{document:x?}");
    }
    assert_eq!(Value::parse(b"\xff"), Err(JsonError::Syntax(0)));
    assert_eq!(Value::parse(b"\"\\ud83d\\u12\""), Err(JsonError::Syntax(9)));
}

/// S23 (CVE-2026-48042): depth and counts have limits. Go: TestUnmarshalMaxDepth of encoding/json.
#[test]
fn a_document_is_neither_too_deep_nor_too_large() {
    let deep = |depth| ["[".repeat(depth), "]".repeat(depth)].concat();
    assert!(Value::parse(deep(MAX_DEPTH).as_bytes()).is_ok());
    assert_eq!(Value::parse(deep(MAX_DEPTH + 1).as_bytes()), Err(JsonError::TooComplex));
    assert_eq!(Value::parse("[".repeat(1 << 20).as_bytes()), Err(JsonError::TooComplex));
    // The array itself is a value too.
    let wide = |count| format!("[{}]", vec!["1"; count].join(","));
    assert!(Value::parse(wide(MAX_VALUES - 1).as_bytes()).is_ok());
    assert_eq!(Value::parse(wide(MAX_VALUES).as_bytes()), Err(JsonError::TooComplex));
}

/// Go: TestUnmarshal of encoding/json (its cases of letters), `foldName`.
#[test]
fn a_map_has_names_as_they_are_and_a_struct_in_any_case() {
    let document = Value::parse(
        "{\"iss\":\"a\",\"ISS\":\"b\",\"i\u{17f}s\":\"c\",\"sub\":\"d\",\"sub\":\"e\"}".as_bytes(),
    );
    let Ok(Value::Object(object)) = document else { panic!() };
    assert_eq!(object.get("iss"), Some(&Value::String("a".into())));
    assert_eq!(object.get("sub"), Some(&Value::String("e".into())));
    assert_eq!(object.get("Sub"), None);
    assert_eq!(object.string_field("iss"), Ok("c"));
    assert_eq!(object.string_field("sub"), Ok("e"));
    assert_eq!(object.string_field("exp"), Ok(""));
    assert!(!object.is_unique());

    let fields = |document: &str| match Value::parse(document.as_bytes()) {
        Ok(Value::Object(object)) => object.string_field("keys").map(str::to_owned),
        other => panic!("{other:?}"),
    };
    assert_eq!(fields("{\"\u{212a}ey\u{17f}\":\"kelvin\"}"), Ok("kelvin".to_owned()));
    assert_eq!(fields("{\"keys\":\"a\",\"KEYS\":null}"), Ok("a".to_owned()), "null changes nothing");
    assert_eq!(fields("{\"keys\":1,\"keys\":\"a\"}"), Err(TypeError("a string")), "every one is decoded");
    assert_eq!(fields("{\"key\":\"a\",\"keyss\":\"b\",\"kéys\":\"c\"}"), Ok(String::new()));
}

/// Go: what decoding into `string`, `[]string`, `bool` and `interface{}` does, and go-jose's copy, which insists on unique names.
#[test]
fn values_are_decoded_by_their_type() {
    let parse = |document: &'static str| Value::parse(document.as_bytes()).unwrap();
    assert_eq!(parse("null").string(), Ok(""));
    assert_eq!(parse("1").string(), Err(TypeError("a string")));
    assert_eq!(parse("null").strings(), Ok(vec![]));
    assert_eq!(parse("[\"a\",null]").strings(), Ok(vec!["a", ""]));
    assert_eq!(parse("[1]").strings(), Err(TypeError("a string")));
    assert_eq!(parse("\"a\"").strings(), Err(TypeError("an array of strings")));
    assert_eq!([parse("null").bool(), parse("true").bool()], [Ok(false), Ok(true)]);
    assert_eq!(parse("\"true\"").bool(), Err(TypeError("a boolean")));
    let any = |document| parse(document).to_any().map(|value| with_floats(&value));
    assert_eq!(
        any("{\"a\":[1,2.5e1,null,true],\"a\":{\"b\":\"c\",\"b\":\"d\"},\"n\":10000000000000001}"),
        Ok(json!({"a": {"b": "d"}, "n": 1e16}))
    );
    assert_eq!(any("[1e400]"), Err(TypeError("a float64")));
    assert_eq!(any("{\"a\":1e400,\"a\":1}"), Err(TypeError("a float64")));
    assert_eq!(any("[1e-400]"), Ok(json!([0.0])));
    let Value::Number(number) = parse("-9223372036854775808") else { panic!() };
    assert_eq!(number.int64(), Ok(i64::MIN));
    for text in ["9223372036854775808", "1.0", "1e3"] {
        let Value::Number(number) = parse(text) else { panic!() };
        assert_eq!(number.int64(), Err(TypeError("an int64")), "{text}");
    }
    let strict = [
        ("{\"a\":{\"b\":1},\"b\":1}", true),
        ("{\"a\":1,\"a\":1}", false),
        ("[{\"a\":[{\"b\":1,\"b\":1}]}]", false),
        ("[1e999]", false),
    ];
    for (document, expected) in strict {
        assert_eq!(parse(document).is_strict(), expected, "{document}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), like in "[\\[\\]{}\",:\\\\u0-9a-f.eE+ -]{0,60}") {
        for document in [&bytes[..], like.as_bytes()] {
            if let Ok(value) = Value::parse(document) {
                let _any = (value.to_any(), value.is_strict(), value.strings().is_ok());
            }
        }
    }

    /// Where serde_json reads a document, so does this, and the same.
    #[test]
    fn it_agrees_with_another_parser(like in "[\\[\\]{}\",:\\\\nu0-9a-ftrlse.+ -]{0,40}", text in ".*") {
        for document in [like, serde_json::to_string(&text).unwrap(), json!({"a": [&text, 1, null], &text: {"b": true}}).to_string()] {
            let parsed = Value::parse(document.as_bytes()).ok();
            let ours = parsed.as_ref().and_then(|value| value.to_any().ok());
            if let Ok(theirs) = serde_json::from_str::<serde_json::Value>(&document) {
                let theirs = Value::parse(theirs.to_string().leak().as_bytes()).unwrap();
                prop_assert_eq!(ours.map(|value| with_floats(&value)), Some(with_floats(&theirs)));
            }
        }
    }
}

/// As an `interface{}` in Go would be shown.
fn with_floats(value: &Value<'_>) -> serde_json::Value {
    match value {
        Value::Null => json!(null),
        Value::Bool(value) => json!(value),
        Value::Number(number) => json!(number.float64().unwrap()),
        Value::String(text) => json!(text),
        Value::Array(elements) => elements.iter().map(with_floats).collect(),
        Value::Object(object) => {
            object.members().map(|(name, value)| (name.to_owned(), with_floats(value))).collect()
        }
    }
}
