//! The claims of a verified token.

use crate::jose::json::{Object, TypeError, Value};

/// Claims by their exact names, the last one of each. Go: `claims` of k8s.io/apiserver/plugin/pkg/authenticator/token/oidc/oidc.go, a
/// `map[string]json.RawMessage`.
pub(super) struct Claims<'a> {
    own: &'a Object<'a>,
    /// One that came from elsewhere, in whose name `own` has none.
    distributed: Option<(&'a str, &'a Value<'a>)>,
}

impl<'a> Claims<'a> {
    pub(super) fn new(own: &'a Object<'a>) -> Self {
        Self { own, distributed: None }
    }

    /// The same with one more.
    pub(super) fn with(self, name: &'a str, value: &'a Value<'a>) -> Self {
        Self { own: self.own, distributed: Some((name, value)) }
    }

    pub(super) fn get(&self, name: &str) -> Option<&Value<'a>> {
        let distributed = self.distributed.filter(|(other, _)| *other == name);
        distributed.map(|(_, value)| value).or_else(|| self.own.get(name))
    }

    /// A claim that is a string. Go: `unmarshalClaim`.
    pub(super) fn string(&self, name: &str) -> Result<&str, TypeError> {
        self.get(name).ok_or(TypeError("a claim"))?.string()
    }

    /// What CEL expressions see as `claims`. Go: `newClaimsValue`.
    ///
    /// Stricter than Go: a number beyond a float64 is an error even if no expression looks at it.
    pub(super) fn to_any(&self) -> Result<serde_json::Map<String, serde_json::Value>, TypeError> {
        let mut claims = self.own.to_any()?;
        if let Some((name, value)) = self.distributed {
            claims.insert(name.to_owned(), value.to_any()?);
        }
        Ok(claims)
    }
}
