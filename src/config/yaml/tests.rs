use proptest::prelude::*;
use serde_json::json;

use super::*;

fn read(text: &str) -> Result<Value, String> {
    value(text.as_bytes())
}

fn error(text: &str) -> String {
    read(text).expect_err(text)
}

/// YAML 1.1, section 4.1.3. They stand anywhere between, and mean nothing.
#[test]
fn comments_are_passed_over() {
    let text = "# a\n---\n# b\na: # c\n  # d\n  - 1 # e\n  # f\n  - {x: 2, # g\n     z: 3}\n# h\nb: 'q' # i\n...\n# j\n";
    assert_eq!(read(text), Ok(json!({"a": [1, {"x": 2, "z": 3}], "b": "q"})));
    assert_eq!(read("# nothing else\n"), Ok(json!(null)));
}

/// What go.yaml.in/yaml/v2 v2.4.3 and sigs.k8s.io/yaml v1.6.0 make of these (Go: TestUnmarshal of decode_test.go, resolve.go).
#[test]
fn scalars_are_what_yaml_1_1_takes_them_for() {
    let table = [
        ("", json!(null)),
        ("~", json!(null)),
        ("Null", json!(null)),
        ("nUll", json!("nUll")),
        ("\"\"", json!("")),
        ("y", json!(true)),
        ("YES", json!(true)),
        ("On", json!(true)),
        ("oN", json!("oN")),
        ("n", json!(false)),
        ("off", json!(false)),
        ("'yes'", json!("yes")),
        ("0", json!(0)),
        ("-0", json!(0)),
        ("+1", json!(1)),
        ("1_000", json!(1000)),
        ("_1", json!("_1")),
        ("0x1F", json!(31)),
        ("0x_1", json!(1)),
        ("-0X1f", json!(-31)),
        ("017", json!(15)),
        ("0o17", json!(15)),
        ("08", json!(8.0)),
        ("0b11", json!(3)),
        ("-0b11", json!(-3)),
        ("0b-11", json!(-3)),
        ("-0b-11", json!("-0b-11")),
        ("0x", json!("0x")),
        ("0x-1", json!("0x-1")),
        ("+-1", json!("+-1")),
        ("9223372036854775808", json!(9_223_372_036_854_775_808_u64)),
        ("-9223372036854775808", json!(i64::MIN)),
        ("+9223372036854775808", json!(9_223_372_036_854_775_808.0)),
        ("12345678901234567890123", json!(1.234_567_890_123_456_8e22)),
        (".5", json!(0.5)),
        ("1.", json!(1.0)),
        ("-.5e1", json!(-5.0)),
        ("1e3", json!(1000.0)),
        ("1E+3", json!(1000.0)),
        ("1e999", json!("1e999")),
        (".5.5", json!(".5.5")),
        ("infinity", json!("infinity")),
        ("+inf", json!("+inf")),
        ("1:30", json!("1:30")),
        ("2001-01-01", json!("2001-01-01")),
        ("-", json!([null])),
        ("٣", json!("٣")),
        ("<<", json!("<<")),
        ("!!str 5", json!("5")),
        ("! 5", json!("5")),
        ("!foo 5", json!("5")),
        ("!!int \"5\"", json!(5)),
        ("!!float 3", json!(3)),
        ("!!null \"\"", json!(null)),
        ("!!merge x", json!("x")),
        ("!!str [5]", json!([5])),
        ("\"\\x41\\u00e9\"", json!("Aé")),
        ("|\n a\n b\n", json!("a\nb\n")),
        (">-\n a\n b\n", json!("a b")),
    ];
    for (text, expected) in table {
        assert_eq!(read(text), Ok(expected), "{text:?}");
    }
    for (text, expected) in [
        (".inf", "line 1: infinity, or what is not a number, cannot be a value"),
        ("a: -.INF", "line 1: infinity, or what is not a number, cannot be a value"),
        ("!!int a", "line 1: cannot decode it as a !!int"),
        ("!!bool 1", "line 1: cannot decode it as a !!bool"),
        ("!!null x", "line 1: cannot decode it as a !!null"),
        ("!!int 1.5", "line 1: cannot decode it as a !!int"),
        ("!!binary YQ==", "line 1: !!binary is not supported; write plain text"),
        ("!!timestamp 2001-01-01", "line 1: !!timestamp is not supported; write plain text"),
    ] {
        assert_eq!(error(text), expected, "{text:?}");
    }
}

/// Go: TestUnmarshalStrict, TestMerge of decode_test.go: `strict` takes no key for another's successor, not even a merged one's.
#[test]
fn no_key_stands_twice() {
    assert_eq!(error("a: 1\nb: 2\na: 3"), "line 3: key \"a\" already set in map; remove one of the two");
    assert_eq!(
        error("x: &x {a: 1}\nz:\n  a: 2\n  <<: *x"),
        "line 4: key \"a\" already set in map; remove one of the two"
    );
    assert_eq!(
        error("x: &x {a: 1}\nz:\n  <<: [*x, {a: 1}]"),
        "line 3: key \"a\" already set in map; remove one of the two"
    );
    assert_eq!(error("5: 1"), "line 1: a key that is not a string; write it in quotes");
    assert_eq!(error("[a]: 1"), "line 1: a key that is not a string; write it in quotes");
}

#[test]
fn aliases_and_merges_are_followed() {
    assert_eq!(read("x: &x [1, a]\nz: *x\n"), Ok(json!({"x": [1, "a"], "z": [1, "a"]})));
    assert_eq!(read("x: &x z\n*x : 1\n"), Ok(json!({"x": "z", "z": 1})));
    assert_eq!(
        read("- &x {a: 1}\n- <<: *x\n  b: 2\n- <<: [*x, {c: 3}]\n"),
        Ok(json!([{"a": 1}, {"a": 1, "b": 2}, {"a": 1, "c": 3}]))
    );
    assert_eq!(read("\"<<\": a"), Ok(json!({"<<": "a"})), "in quotes it is a key as any other");
    assert_eq!(error("*x"), "line 1: while parsing node, found unknown anchor");
    assert_eq!(error("&x [*x]"), "line 1: an anchor's value contains itself");
    for text in ["<<: 1", "<<: [1]", "- &x [{a: 1}]\n- <<: *x\n", "<<: [[{a: 1}]]"] {
        assert!(error(text).ends_with("map merge requires map or sequence of maps as the value"), "{text}");
    }
}

#[test]
fn a_file_is_one_document_in_utf_8() {
    for text in ["", "\n", "# nothing\n", "---\n", "...\n", "~"] {
        assert_eq!(read(text), Ok(Value::Null), "{text:?}");
    }
    for text in
        ["a", "\u{feff}a", "---\na\n...\n", "a\n---\n", "a\n---\n# end\n", "%YAML 1.1\n---\na", "a\r\n"]
    {
        assert_eq!(read(text), Ok(json!("a")), "{text:?}");
    }
    assert_eq!(error("a\n---\nb\n"), "line 3: a second document, which would not count; remove it");
    assert_eq!(value(b"\xff"), Err("not UTF-8; write it in UTF-8".to_owned()));
    for text in ["a\nb: \0", "a\nb: \u{7f}", "a\nb: \u{85}", "a\nb: \u{2028}", "a\n\u{ffff}"] {
        assert_eq!(error(text), "line 2: control characters are not allowed", "{text:?}");
    }
}

#[test]
fn what_a_document_can_cost_is_bounded() {
    assert_eq!(value(&vec![b' '; MAX_BYTES + 1]), Err("more than 4194304 bytes".to_owned()));
    let nested = |depth| ["[".repeat(depth), "]".repeat(depth)].concat();
    assert!(read(&nested(MAX_DEPTH + 1)).is_ok());
    assert_eq!(error(&nested(MAX_DEPTH + 2)), "line 1: nested too deeply");
    assert_eq!(error(&"- ".repeat(100_000)), "line 1: nested too deeply");
    assert_eq!(
        error(&nested(100_000)),
        "line 1: recursion limit exceeded",
        "the scanner's own limit, which is 255"
    );
    // Anchors of anchors nest deeper than the text does.
    let mut towers = "- &a0 [x]\n".to_owned();
    for n in 1..100 {
        towers.push_str(&format!("- &a{n} [*a{}]\n", n - 1));
    }
    assert!(error(&towers).ends_with("nested too deeply"));
    // A billion laughs.
    let mut laughs = "- &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
    for n in 1..10 {
        laughs.push_str(&format!("- &a{n} [{}]\n", vec![format!("*a{}", n - 1); 10].join(", ")));
    }
    assert!(error(&laughs).ends_with("document contains excessive aliasing"));
    let one_long = format!("- &a {}\n{}", "x".repeat(1_000_000), "- *a\n".repeat(10));
    assert!(error(&one_long).ends_with("document contains excessive aliasing"));
}

proptest! {
    #[test]
    fn no_text_makes_the_reader_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        tokens in prop::collection::vec(prop::sample::select(TOKENS), 0..40),
    ) {
        let _any = (value(&bytes), read(&tokens.concat()));
    }
}

const TOKENS: &[&str] = &[
    "a",
    "b: ",
    "- ",
    "? ",
    ": ",
    "\n",
    "  ",
    "\t",
    "{",
    "}",
    "[",
    "]",
    ",",
    "&a ",
    "*a",
    "<<: ",
    "!!str ",
    "!x ",
    "!!int ",
    "'",
    "\"",
    "\\",
    "|\n",
    ">-\n",
    "#",
    "---\n",
    "...\n",
    "%TAG ! x\n",
    "1_0",
    "0x",
    ".inf",
    "~",
    "é",
    "\u{feff}",
    "\r",
];
