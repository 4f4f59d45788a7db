//! Keys of extra facts. Go: `IsDomainPrefixedPath` (k8s.io/apimachinery/pkg/util/validation).

use crate::config::field_error::FieldError;

/// What is wrong with a key, which is a domain and a path, such as `example.org/tenant`.
pub(super) fn check_domain_prefixed_path(field: &str, key: &str) -> Vec<FieldError> {
    if key.is_empty() {
        return vec![FieldError::required(field, "")];
    }
    let (host, path) = match key.split_once('/') {
        Some((host, path)) if !host.is_empty() && !path.is_empty() => (host, path),
        _ => {
            let detail = "must be a domain-prefixed path (such as \"acme.io/foo\")";
            return vec![FieldError::invalid(field, key, detail)];
        }
    };
    let mut errors = Vec::new();
    if host.len() > MAX_SUBDOMAIN {
        let detail = format!("must be no more than {MAX_SUBDOMAIN} characters");
        errors.push(FieldError::invalid(field, host, &detail));
    }
    if !host.split('.').all(is_label) {
        let detail = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
                      start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
                      '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
        errors.push(FieldError::invalid(field, host, detail));
    }
    // Go: httpPathRegexp.
    if !path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte)) {
        let detail = "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";
        errors.push(FieldError::invalid(field, path, detail));
    }
    errors
}

/// Go: `DNS1123SubdomainMaxLength`.
const MAX_SUBDOMAIN: usize = 253;

/// Go: `dns1123LabelFmt`.
fn is_label(label: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    edge(label.bytes().next()) && edge(label.bytes().last()) && label.bytes().all(inner)
}

/// Whether the domain is Kubernetes' own. Go: `isKubernetesDomainPrefix` (k8s.io/apiserver/pkg/apis/apiserver/validation).
pub(super) fn is_kubernetes(key: &str) -> bool {
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    ["kubernetes.io", "k8s.io"]
        .iter()
        .any(|own| domain.strip_suffix(own).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}
