//! YAML, strictly: one document, no key twice, and errors that say where.

use serde::de::DeserializeOwned;

/// What is wrong with a document: without a copy of the text around it, which may hold secrets.
pub(super) type YamlError = String;

/// Reads one document. Booleans are YAML 1.1's, as Kubernetes reads them: `yes` and `on` are true.
pub(super) fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, YamlError> {
    let options = serde_saphyr::options! { with_snippet: false, strict_booleans: false };
    serde_saphyr::from_slice_with_options(text, options).map_err(|error| error.to_string())
}
