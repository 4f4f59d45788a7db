//! An expression, a newline, and claims in JSON: compiling and evaluating ends, in a value or an error.
#![no_main]

use countersign::cel::{Expression, Input, Returns, Scope};
use countersign::json::Value;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (expression, claims) = text.split_once('\n').unwrap_or((text, "{}"));
    let Ok(expression) = Expression::compile(expression, Scope::Claims, Returns::Any) else { return };
    let Ok(Value::Object(claims)) = Value::parse(claims.as_bytes()) else { return };
    let Ok(claims) = claims.to_any() else { return };
    let _value = expression.evaluate(Input::Claims(&claims)).map(|value| format!("{value:?}"));
});
