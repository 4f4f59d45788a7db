//! Errors about fields, in the words of k8s.io/apimachinery/pkg/util/validation/field.

use std::fmt;

/// Go: `field.Error`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldError {
    /// Its path, as in `jwt[0].issuer.url`.
    pub(crate) field: String,
    /// What is wrong with it.
    pub(crate) problem: String,
}

impl FieldError {
    /// It is not there. Go: `field.Required`.
    pub(super) fn required(field: &str, detail: &str) -> Self {
        let detail = if detail.is_empty() { String::new() } else { format!(": {detail}") };
        Self { field: field.to_owned(), problem: format!("Required value{detail}") }
    }

    /// Go: `field.Invalid`.
    pub(in crate::config) fn invalid(field: &str, value: &str, detail: &str) -> Self {
        Self { field: field.to_owned(), problem: format!("Invalid value: {value:?}: {detail}") }
    }

    /// It has to be unique and is not. Go: `field.Duplicate`.
    pub(super) fn duplicate(field: &str, value: &str) -> Self {
        Self { field: field.to_owned(), problem: format!("Duplicate value: {value:?}") }
    }

    /// It is none of those that there are. Go: `field.NotSupported`.
    pub(super) fn not_supported(field: &str, value: &str, supported: &[&str]) -> Self {
        let supported: Vec<String> = supported.iter().map(|value| format!("{value:?}")).collect();
        Self {
            field: field.to_owned(),
            problem: format!("Unsupported value: {value:?}: supported values: {}", supported.join(", ")),
        }
    }

    /// Go: `field.TooMany`.
    pub(super) fn too_many(field: &str, actual: usize, max: usize) -> Self {
        Self {
            field: field.to_owned(),
            problem: format!("Too many: {actual}: must have at most {max} items"),
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.problem)
    }
}
