//! `--authentication-config`: Kubernetes' `AuthenticationConfiguration` (k8s.io/apiserver/pkg/apis/apiserver/v1, v1beta1 and
//! v1alpha1, which agree in the part that is read here). So far its `anonymous` field; a `jwt` list is refused, not ignored.

use serde::Deserialize;
use serde_ignored::Path;

use super::yaml;

/// The part that is understood.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct AuthenticationConfiguration {
    /// Whether and where requests without credentials are let through.
    pub(super) anonymous: Option<AnonymousAuthConfig>,
}

/// Go: `AnonymousAuthConfig`.
#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
pub(super) struct AnonymousAuthConfig {
    #[serde(default)]
    pub(super) enabled: bool,
    #[serde(default, deserialize_with = "null_is_empty")]
    pub(super) conditions: Vec<AnonymousAuthCondition>,
}

/// Go: `AnonymousAuthCondition`.
#[derive(Debug, PartialEq, Eq, Deserialize)]
pub(super) struct AnonymousAuthCondition {
    #[serde(default)]
    pub(super) path: String,
}

#[derive(Deserialize)]
struct Document {
    #[serde(default, rename = "apiVersion")]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default, deserialize_with = "null_is_empty")]
    jwt: Vec<serde_json::Value>,
    #[serde(default)]
    anonymous: Option<AnonymousAuthConfig>,
}

/// Reads the file: strict decoding, then validation, with Kubernetes' field paths and, where it has them, its words.
pub(super) fn parse(text: &[u8]) -> Result<AuthenticationConfiguration, Vec<String>> {
    if text.is_empty() {
        return Err(vec!["empty config data".to_owned()]);
    }
    let document: serde_json::Value = yaml::parse(text).map_err(|error| vec![error])?;
    let mut unknown = Vec::new();
    let decoded = serde_ignored::deserialize(&document, |path| unknown.push(field_path(&path)));
    let document: Document = decoded.map_err(|error: serde_json::Error| vec![error.to_string()])?;

    let mut errors = Vec::new();
    if !VERSIONS.contains(&&*document.api_version) {
        errors.push(format!(
            "apiVersion: {:?} is not known; write one of {}",
            document.api_version,
            VERSIONS.join(", ")
        ));
    }
    if document.kind != "AuthenticationConfiguration" {
        errors.push(format!("kind: expected AuthenticationConfiguration, got {:?}", document.kind));
    }
    errors.extend(unknown.iter().map(|path| format!("strict decoding error: unknown field {path:?}")));
    if !document.jwt.is_empty() {
        errors.push("jwt: JWT authenticators are not supported yet; remove them".to_owned());
    }
    if document.anonymous.as_ref().is_some_and(|a| !a.enabled && !a.conditions.is_empty()) {
        errors.push(
            "anonymous.conditions: Invalid value: enabled should be set to true when conditions are defined"
                .to_owned(),
        );
    }
    if errors.is_empty() {
        Ok(AuthenticationConfiguration { anonymous: document.anonymous })
    } else {
        Err(errors)
    }
}

/// `jwt[0].issuer.url`, as `field.Path` writes it.
fn field_path(path: &Path<'_>) -> String {
    match path {
        Path::Root => String::new(),
        Path::Seq { parent, index } => format!("{}[{index}]", field_path(parent)),
        Path::Map { parent, key } => match field_path(parent) {
            parent if parent.is_empty() => key.clone(),
            parent => format!("{parent}.{key}"),
        },
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => {
            field_path(parent)
        }
    }
}

/// Go's JSON decoder leaves a slice empty for `null`.
fn null_is_empty<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

const VERSIONS: [&str; 3] =
    ["apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1", "apiserver.config.k8s.io/v1alpha1"];

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(text: &str) -> Vec<String> {
        parse(text.as_bytes()).err().unwrap_or_default()
    }

    const HEAD: &str = "apiVersion: apiserver.config.k8s.io/v1beta1\nkind: AuthenticationConfiguration\n";

    /// Go: TestValidateAuthenticationConfiguration ("anonymous …"), and the vectors' config/authn-config/anonymous-*.
    #[test]
    fn the_anonymous_part_is_read() {
        let read = |text: &str| parse(format!("{HEAD}{text}").as_bytes()).ok().and_then(|c| c.anonymous);
        assert_eq!(read(""), None);
        assert_eq!(read("anonymous: null\n"), None);
        assert_eq!(read("anonymous: {}\n"), Some(AnonymousAuthConfig::default()));
        let conditions = vec![AnonymousAuthCondition { path: "/x".to_owned() }];
        assert_eq!(
            read("anonymous:\n  enabled: true\n  conditions:\n  - path: /x\n"),
            Some(AnonymousAuthConfig { enabled: true, conditions })
        );
        assert_eq!(
            errors(&format!("{HEAD}anonymous:\n  enabled: false\n  conditions:\n  - path: /x\n")),
            [
                "anonymous.conditions: Invalid value: enabled should be set to true when conditions are defined"
            ]
        );
    }

    #[test]
    fn every_unknown_field_is_named_by_its_path() {
        let text = "apiVersion: v1\nkind: X\nfoo: 1\nanonymous:\n  Enabled: true\n  conditions:\n  - path: /x\n    y: 1\n";
        assert_eq!(
            errors(text),
            [
                "apiVersion: \"v1\" is not known; write one of apiserver.config.k8s.io/v1, \
                 apiserver.config.k8s.io/v1beta1, apiserver.config.k8s.io/v1alpha1",
                "kind: expected AuthenticationConfiguration, got \"X\"",
                "strict decoding error: unknown field \"anonymous.Enabled\"",
                "strict decoding error: unknown field \"anonymous.conditions[0].y\"",
                "strict decoding error: unknown field \"foo\"",
                "anonymous.conditions: Invalid value: enabled should be set to true when conditions are defined",
            ]
        );
    }

    #[test]
    fn jwt_authenticators_are_refused_rather_than_ignored() {
        assert_eq!(
            errors(&format!("{HEAD}jwt:\n- issuer: {{}}\n")),
            ["jwt: JWT authenticators are not supported yet; remove them"]
        );
        assert_eq!(errors(&format!("{HEAD}jwt: []\n")), [""; 0]);
        assert_eq!(errors(""), ["empty config data"]);
    }
}
