//! Finds a token among the websocket subprotocols, for browsers, which cannot set Authorization there
//! (Go: k8s.io/apiserver/pkg/authentication/request/websocket).
//!
//! ```text
//!   Sec-WebSocket-Protocol: base64url.bearer.authorization.k8s.io.dG9rZW4, v4.channel.k8s.io
//!                           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ ^^^^^^   ^^^^^^^^^^^^^^^^^
//!                           |                                      |        +-- at least one other, which goes upstream
//!                           +-- prefix, in this case only          +-- base64url without padding, UTF-8 within
//! ```

use std::sync::Arc;

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bstr::ByteSlice;
use zeroize::Zeroizing;

use super::{AuthenticateRequest, AuthenticateToken, Now, Observer, Outcome, Token};
use crate::decision::{Authenticator, Reason};
use crate::request::{Headers, Request, Upgrade};

/// Hands the token of a websocket request to `tokens`.
#[derive(Debug)]
pub struct WebSocket<A> {
    tokens: Arc<A>,
}

impl<A> WebSocket<A> {
    /// Asks `tokens`, which the bearer authenticator shares.
    pub fn new(tokens: Arc<A>) -> Self {
        Self { tokens }
    }
}

impl<A: AuthenticateToken> AuthenticateRequest for WebSocket<A> {
    async fn observed<O: Observer>(&self, request: &Request<'_>, now: Now, observer: O) -> Outcome {
        let token = match find(&request.headers) {
            Ok(Some(token)) => token,
            Ok(None) => return Outcome::NoOpinion,
            Err(reason) => return Outcome::rejected(Authenticator::WebSocket, reason),
        };
        observer.found(Token::new(&token));
        match self.tokens.observed(Token::new(&token), now, observer).await {
            Outcome::NoOpinion => Outcome::rejected(Authenticator::WebSocket, Reason::InvalidBearerToken),
            decided => decided,
        }
    }
}

/// The token, if there is one, step by step as `websocket.ProtocolAuthenticator.AuthenticateRequest` does it.
fn find(headers: &Headers<'_>) -> Result<Option<Zeroizing<Vec<u8>>>, Reason> {
    // Reading on after "not a websocket" would cost every ordinary request; a header look-up costs next to nothing.
    if headers.get_all(PROTOCOL).next().is_none() {
        return Ok(None);
    }
    let ambiguous = match headers.websocket_upgrade() {
        Upgrade::No => return Ok(None),
        Upgrade::Yes => false,
        Upgrade::Ambiguous => true,
    };
    let mut token = None;
    let mut others = 0;
    for protocol in protocols(headers) {
        let Some(encoded) = protocol.strip_prefix(TOKEN_PROTOCOL_PREFIX) else {
            others += 1;
            continue;
        };
        // Only the credential-bearing request is refused, so that plain `Upgrade: websocket,x` stays what it was.
        if ambiguous {
            return Err(Reason::AmbiguousUpgrade);
        }
        if token.is_some() {
            return Err(Reason::MultipleWebSocketTokens);
        }
        let decoded = Zeroizing::new(BASE64URL.decode(encoded).map_err(|_| Reason::MalformedWebSocketToken)?);
        if decoded.to_str().is_err() {
            return Err(Reason::MalformedWebSocketToken);
        }
        token = Some(decoded);
    }
    match token {
        Some(token) if token.is_empty() => Ok(None),
        Some(_) if others == 0 => Err(Reason::MissingWebSocketSubprotocol),
        token => Ok(token),
    }
}

/// What may go upstream of the requested subprotocols: all but those that carry a token, joined as Go joins them. `None`
/// where there is no token among them, so nothing to change.
///
/// kube-apiserver does this when the token was what authenticated the request. We do it on every OK, so that a token never
/// reaches an upstream because an Authorization header came with it.
pub fn without_token_protocol(headers: &Headers<'_>) -> Option<Vec<u8>> {
    protocols(headers).any(|p| p.starts_with(TOKEN_PROTOCOL_PREFIX)).then(|| {
        let others: Vec<&[u8]> =
            protocols(headers).filter(|p| !p.starts_with(TOKEN_PROTOCOL_PREFIX)).collect();
        others.join(&b","[..])
    })
}

fn protocols<'a>(headers: &Headers<'a>) -> impl Iterator<Item = &'a [u8]> {
    headers.get_all(PROTOCOL).flat_map(|line| line.split(|b| *b == b',')).map(|p| p.trim())
}

const PROTOCOL: &[u8] = b"sec-websocket-protocol";
const TOKEN_PROTOCOL_PREFIX: &[u8] = b"base64url.bearer.authorization.k8s.io.";

/// Go's `base64.RawURLEncoding`: no padding, and not strict about the bits that are left over.
const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireNone),
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::testing::request;

    fn found(headers: &[(&[u8], &[u8])]) -> Result<Option<Vec<u8>>, Reason> {
        find(&request(headers).headers).map(|t| t.map(|t| t.to_vec()))
    }

    fn asked(protocol: &[u8]) -> Result<Option<Vec<u8>>, Reason> {
        found(&[
            (b"connection", b"Upgrade"),
            (b"upgrade", b"websocket"),
            (b"sec-websocket-protocol", protocol),
        ])
    }

    /// Go: TestAuthenticateRequest of request/websocket, and the vectors' class `websocket`.
    #[test]
    fn a_websocket_token_is_found_as_go_finds_it() {
        let token = Ok(Some(b"token".to_vec()));
        assert_eq!(asked(b"base64url.bearer.authorization.k8s.io.dG9rZW4, v4.channel.k8s.io"), token);
        assert_eq!(asked(b"v4, base64url.bearer.authorization.k8s.io.dG9rZW4"), token);
        assert_eq!(asked(b"base64url.bearer.authorization.k8s.io.dG9rZW4,"), token, "an empty one will do");
        assert_eq!(asked(b"base64url.bearer.authorization.k8s.io.dG9rZW5,x"), token, "left-over bits");
        assert_eq!(asked(b"base64url.bearer.authorization.k8s.io.,x"), Ok(None));
        assert_eq!(asked(b"base64url.bearer.authorization.k8s.io."), Ok(None));
        assert_eq!(asked(b"v4.channel.k8s.io"), Ok(None));
        assert_eq!(asked(b"BASE64URL.bearer.authorization.k8s.io.dG9rZW4,x"), Ok(None));
        let refused = [
            ("base64url.bearer.authorization.k8s.io.dG9rZW4", Reason::MissingWebSocketSubprotocol),
            ("base64url.bearer.authorization.k8s.io.dG9rZW4=,x", Reason::MalformedWebSocketToken),
            ("base64url.bearer.authorization.k8s.io.w77Dvz8+,x", Reason::MalformedWebSocketToken),
            ("base64url.bearer.authorization.k8s.io.__4,x", Reason::MalformedWebSocketToken),
            (
                "base64url.bearer.authorization.k8s.io.YQ,base64url.bearer.authorization.k8s.io.YQ,x",
                Reason::MultipleWebSocketTokens,
            ),
        ];
        for (protocol, reason) in refused {
            assert_eq!(asked(protocol.as_bytes()), Err(reason), "{protocol}");
        }
    }

    #[test]
    fn only_a_websocket_request_carries_a_websocket_token() {
        const PROTOCOLS: &[u8] = b"base64url.bearer.authorization.k8s.io.dG9rZW4,x";
        let ask = |upgrade: &[u8], connection: &[u8]| {
            found(&[
                (b"connection", connection),
                (b"upgrade", upgrade),
                (b"sec-websocket-protocol", PROTOCOLS),
            ])
        };
        let token = Ok(Some(b"token".to_vec()));
        assert_eq!(ask(b"WebSocket", b"keep-alive, UPGRADE"), token);
        assert_eq!(ask("web\u{17f}oc\u{212a}et".as_bytes(), b"x-upgrade"), token, "Go's EqualFold");
        assert_eq!(ask(b"websocket", b"keep-alive"), Ok(None));
        assert_eq!(ask(b"h2c", b"upgrade"), Ok(None));
        assert_eq!(ask(b"websocket, h2c", b"upgrade"), Ok(None), "one line, as the client wrote it");
        assert_eq!(ask(b"websocket,h2c", b"upgrade"), Err(Reason::AmbiguousUpgrade), "perhaps two lines");
        assert_eq!(found(&[(b"sec-websocket-protocol", PROTOCOLS)]), Ok(None));
    }

    #[test]
    fn the_token_protocol_does_not_go_upstream() {
        let left = |lines: &[(&[u8], &[u8])]| without_token_protocol(&request(lines).headers);
        let name = b"sec-websocket-protocol";
        assert_eq!(
            left(&[(name, b"a, base64url.bearer.authorization.k8s.io.dG9r ,b")]),
            Some(b"a,b".to_vec())
        );
        let two: [(&[u8], &[u8]); 2] = [(name, b"base64url.bearer.authorization.k8s.io.dG9r"), (name, b"b")];
        assert_eq!(left(&two), Some(b"b".to_vec()));
        assert_eq!(left(&[(name, b"base64url.bearer.authorization.k8s.io.dG9r")]), Some(vec![]));
        assert_eq!(left(&[(name, b"a,b")]), None);
        assert_eq!(left(&[]), None);
    }
}
