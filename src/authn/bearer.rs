//! Finds the token in `Authorization: Bearer …` (Go: k8s.io/apiserver/pkg/authentication/request/bearertoken).
//!
//! ```text
//!   Authorization:   Bearer eyJhbGciOiJSUzI1NiJ9…  trailing words
//!                  ^ ^^^^^^ ^^^^^^^^^^^^^^^^^^^^^ ^^^^^^^^^^^^^^^^
//!                  | |      |                     +-- not looked at
//!                  | |      +-- up to the next space; empty (two spaces in a row) is no credential
//!                  | +-- in any case
//!                  +-- Unicode white space is trimmed at both ends
//! ```

use std::sync::Arc;

use bstr::ByteSlice;

use super::{AuthenticateRequest, AuthenticateToken, Now, Observer, Outcome, Token};
use crate::decision::{Authenticator, Reason};
use crate::request::{Credentials, Request};

/// Hands the bearer token of a request to `tokens`.
#[derive(Debug)]
pub struct Bearer<A> {
    tokens: Arc<A>,
}

impl<A> Bearer<A> {
    /// Asks `tokens`, which the websocket authenticator shares.
    pub fn new(tokens: Arc<A>) -> Self {
        Self { tokens }
    }

    /// Who is asked about a token.
    pub fn tokens(&self) -> &A {
        &self.tokens
    }
}

impl<A: AuthenticateToken> AuthenticateRequest for Bearer<A> {
    async fn observed<O: Observer>(&self, request: &Request<'_>, now: Now, observer: O) -> Outcome {
        let token = match find(request) {
            Ok(Some(token)) => token,
            Ok(None) => return Outcome::NoOpinion,
            Err(reason) => return Outcome::rejected(Authenticator::Bearer, reason),
        };
        // A token that nobody knows is an error, so that it cannot end up as anonymous.
        observer.found(token);
        match self.tokens.observed(token, now, observer).await {
            Outcome::NoOpinion => Outcome::rejected(Authenticator::Bearer, Reason::InvalidBearerToken),
            decided => decided,
        }
    }
}

/// The token, if there is one, step by step as `bearertoken.Authenticator.AuthenticateRequest` does it.
fn find<'a>(request: &Request<'a>) -> Result<Option<Token<'a>>, Reason> {
    let value = match request.headers.authorization(b"bearer") {
        Credentials::Absent => return Ok(None),
        Credentials::Ambiguous => return Err(Reason::AmbiguousAuthorization),
        Credentials::Malformed => return Err(Reason::MalformedHeader),
        Credentials::One(value) => value,
    };
    let mut parts = value.trim().splitn_str(3, " ");
    let (Some(scheme), Some(token)) = (parts.next(), parts.next()) else { return Ok(None) };
    if !scheme.eq_ignore_ascii_case(b"bearer") || token.is_empty() {
        return Ok(None);
    }
    if request.headers.may_hide_bytes(token) {
        return Err(Reason::UndecodableToken);
    }
    Ok(Some(Token::new(token)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::testing::{joined, request};

    fn found(value: &[u8]) -> Result<Option<Vec<u8>>, Reason> {
        find(&request(&[(b"authorization", value)])).map(|t| t.map(|t| t.bytes.to_vec()))
    }

    /// Go: TestAuthenticateRequest, …TokenInvalid, …MissingToken, TestBearerToken, and the vectors' class `header`.
    #[test]
    fn a_bearer_token_is_found_as_go_finds_it() {
        let token = |t: &str| Ok(Some(t.as_bytes().to_vec()));
        for value in
            ["Bearer t", "bearer t", "BEARER t", "bEaReR t", "  Bearer t", "Bearer t   ", "\tBearer t"]
        {
            assert_eq!(found(value.as_bytes()), token("t"), "{value:?}");
        }
        for value in ["Bearer t\u{2003}", "\u{85}Bearer t", "\u{a0}Bearer t", "Bearer t more words"] {
            assert_eq!(found(value.as_bytes()), token("t"), "Unicode white space is trimmed: {value:?}");
        }
        for value in
            ["", " ", "Bearer", "Bearer ", "Bearer  t", "Bearer\tt", "t", "Basic t", "Bear t", "Bearer: t"]
        {
            assert_eq!(found(value.as_bytes()), Ok(None), "no credential: {value:?}");
        }
        for value in ["\u{200b}Bearer t", "\u{feff}Bearer t", "\u{ff22}earer t"] {
            assert_eq!(found(value.as_bytes()), Ok(None), "not white space, not ASCII: {value:?}");
        }
        assert_eq!(found(b"Bearer \tt"), token("\tt"));
        assert_eq!(found(b"Bearer t\xff"), Ok(Some(b"t\xff".to_vec())));
    }

    /// S7 (CVE-2026-26308): repeated and comma-joined values are refused alike.
    #[test]
    fn two_bearer_tokens_are_none() {
        let ambiguous = Err(Reason::AmbiguousAuthorization);
        assert_eq!(found(b"Bearer a,Bearer b"), ambiguous);
        assert_eq!(found(b"Bearer a,b"), ambiguous);
        assert_eq!(found(b"Digest x, bearer b"), ambiguous);
        assert_eq!(found(b",Bearer b"), ambiguous);
        let lines: [(&[u8], &[u8]); 2] = [(b"authorization", b"Bearer a"), (b"Authorization", b"Bearer a")];
        assert_eq!(find(&request(&lines)).err(), Some(Reason::AmbiguousAuthorization));
        assert_eq!(found(b"Digest username=\"x\", realm=\"y\""), Ok(None), "another scheme may hold commas");
    }

    /// The vector chain/header/vt-lead: Go's HTTP server answers 400.
    #[test]
    fn control_characters_are_refused() {
        for value in [&b"\x0bBearer t"[..], b"Bearer t\0", b"Bearer t\x7f", b"Bearer t\nx"] {
            assert_eq!(found(value), Err(Reason::MalformedHeader), "{value:?}");
        }
    }

    /// S8 (CVE-2023-27488): without raw headers Envoy writes `!` for every byte that is not UTF-8.
    #[test]
    fn a_sanitised_token_never_authenticates() {
        assert_eq!(find(&joined(&[(b"authorization", b"Bearer t!")])).err(), Some(Reason::UndecodableToken));
        assert_eq!(found(b"Bearer t!"), Ok(Some(b"t!".to_vec())), "raw headers hide nothing");
    }
}
