//! What mappings and rules make of the value of an expression.

use crate::cel::{Expression, Input};
use crate::decision::Reason;

/// A string. Go: `getUsername` and `getUID` of k8s.io/apiserver/plugin/pkg/authenticator/token/oidc/oidc.go.
pub(super) fn string(expression: &Expression, input: Input<'_>) -> Result<Box<str>, Reason> {
    match expression.evaluate(input) {
        Ok(serde_json::Value::String(text)) => Ok(text.into()),
        _ => Err(Reason::ClaimMapping),
    }
}

/// A string or a list of strings, of which empty ones are left out; `null` is none. Go: `convertCELValueToStringList`.
pub(super) fn strings(expression: &Expression, input: Input<'_>) -> Result<Vec<Box<str>>, Reason> {
    match expression.evaluate(input) {
        Ok(serde_json::Value::String(text)) => Ok(vec![text.into()]),
        _ => Err(Reason::ClaimMapping),
    }
}

/// Whether it is true; an error is not. Go: `checkValidationRulesEvaluation`.
pub(super) fn is_true(expression: &Expression, input: Input<'_>) -> bool {
    expression.evaluate(input) == Ok(serde_json::Value::Bool(true))
}
