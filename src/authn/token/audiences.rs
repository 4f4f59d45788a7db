//! Whom tokens have to be meant for. Go: k8s.io/apiserver/pkg/authentication/authenticator/audiences.go.

use std::fmt;
use std::sync::Arc;

/// The audiences that are wanted, of which a token has to have one.
#[derive(Clone)]
pub(super) struct Audiences {
    wanted: Arc<[Box<str>]>,
    /// Those of a token that names none: it is for the API server. Go: `implicitAuds`.
    implicit: Arc<[Box<str>]>,
}

impl Audiences {
    /// As an API server of these audiences wants them. Go: `APIAudiences`.
    pub(super) fn of_api(api: Arc<[Box<str>]>) -> Self {
        Self { implicit: Arc::clone(&api), wanted: api }
    }

    /// Others are wanted of the same API server's tokens. Go: `WithAudiences`, as for a TokenReview.
    pub(super) fn wanting(&self, wanted: &Arc<[Box<str>]>) -> Self {
        Self { wanted: Arc::clone(wanted), implicit: Arc::clone(&self.implicit) }
    }

    /// Those that are wanted.
    pub(super) fn wanted(&self) -> &[Box<str>] {
        &self.wanted
    }

    /// Whether a token with these audiences is meant for one that is wanted. Go: `Audiences.Intersect`.
    pub(super) fn meet(&self, token: &[impl AsRef<str>]) -> bool {
        let is_wanted = |audience: &str| self.wanted.iter().any(|wanted| **wanted == *audience);
        if token.is_empty() {
            let same = self.wanted.is_empty() && self.implicit.is_empty();
            return same || self.implicit.iter().any(|audience| is_wanted(audience));
        }
        token.iter().any(|audience| is_wanted(audience.as_ref()))
    }
}

impl fmt::Debug for Audiences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.wanted.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Arc<[Box<str>]> {
        names.iter().map(|name| Box::from(*name)).collect()
    }

    /// Go: TestIntersect of audiences_test.go, and `jwtTokenAuthenticator.AuthenticateToken` where a token names none.
    #[test]
    fn a_token_is_for_one_that_is_wanted_or_for_the_api_server_if_it_names_none() {
        let api = Audiences::of_api(list(&["api", "other"]));
        let meets = |audiences: &Audiences, tokens: &[&[&str]]| {
            tokens.iter().map(|token| audiences.meet(token)).collect::<Vec<_>>()
        };
        let tokens: [&[&str]; 5] = [&["api"], &["x", "other"], &["x"], &["API"], &[]];
        assert_eq!(meets(&api, &tokens), [true, true, false, false, true]);
        let billing = api.wanting(&list(&["billing"]));
        assert_eq!(meets(&billing, &tokens), [false, false, false, false, false]);
        assert_eq!(meets(&billing, &[&["billing"], &["api", "billing"]]), [true, true]);
        let both = api.wanting(&list(&["billing", "api"]));
        assert_eq!(meets(&both, &tokens), [true, false, false, false, true]);
        let none = Audiences::of_api(list(&[]));
        assert_eq!(meets(&none, &tokens), [false, false, false, false, true]);
        assert_eq!(meets(&none.wanting(&list(&["api"])), &tokens), [true, false, false, false, false]);
        assert_eq!((format!("{api:?}"), both.wanted().len()), (r#"["api", "other"]"#.to_owned(), 2));
    }
}
