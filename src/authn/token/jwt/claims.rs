//! The claims of a verified token.

use std::borrow::Cow;

use crate::json::{Object, TypeError, Value};

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
    pub(super) fn to_any(&self) -> Result<Cow<'a, Object<'a>>, TypeError> {
        let own = self.own.to_any()?;
        Ok(match self.distributed {
            None => own,
            Some((name, value)) => Cow::Owned(own.into_owned().with(name, value.to_any()?.into_owned())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_claims(claims: &str, check: impl Fn(&Claims<'_>)) {
        let document = Value::parse(claims.as_bytes()).unwrap();
        check(&Claims::new(document.object_or_null().unwrap().unwrap()));
    }

    /// Go: TestUnmarshalClaim of oidc_test.go: "string claim", "mismatched types", "bool claim" and "strings claim".
    #[test]
    fn the_rows_of_gos_test_unmarshal_claim() {
        with_claims(r#"{"aud":"foo"}"#, |claims| {
            assert_eq!(claims.string("aud"), Ok("foo"));
            assert_eq!(claims.get("aud").map(Value::bool), Some(Err(TypeError("a boolean"))));
        });
        with_claims(r#"{"email":"foo@coreos.com","email_verified":true}"#, |claims| {
            assert_eq!(claims.get("email_verified").map(Value::bool), Some(Ok(true)));
        });
        with_claims(r#"{"groups":["a","b","c"]}"#, |claims| {
            assert_eq!(claims.get("groups").map(Value::strings), Some(Ok(vec!["a", "b", "c"])));
        });
    }

    /// Go: TestUnmarshalClaimError: an error does not show the claim, which may be a secret.
    #[test]
    fn an_error_does_not_show_the_claim() {
        with_claims(r#"{"token":"96bb299a"}"#, |claims| {
            let errors = [
                claims.get("token").unwrap().bool().unwrap_err(),
                claims.get("token").unwrap().strings().unwrap_err(),
                claims.get("token").unwrap().object_or_null().map(drop).unwrap_err(),
            ];
            for error in errors {
                assert!(!format!("{error} {error:?}").contains("96bb299a"), "{error}");
            }
        });
    }
}
