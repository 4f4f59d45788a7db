//! A signed token is taken apart once for all who may know it.

use crate::authn::{AuthenticateToken, Form, Now, Observer, Outcome, Token};
use crate::jose::UnverifiedToken;
use crate::json::Value;

/// Takes a token apart before `A` is asked. A service account's token is looked at by three authenticators: for legacy tokens, for bound
/// ones and for those of other issuers.
#[derive(Debug)]
pub struct TakenApart<A>(pub A);

impl<A: AuthenticateToken> AuthenticateToken for TakenApart<A> {
    async fn observed<O: Observer>(&self, token: Token<'_>, now: Now, observer: O) -> Outcome {
        let parts = Parts::of(token);
        let claims = parts.claims();
        let form =
            parts.with(claims.as_ref()).map_or(Form::Opaque, |(token, claims)| Form::Signed(token, claims));
        self.0.observed(Token { form, ..token }, now, observer).await
    }
}

/// What a token is made of, if nobody has looked yet.
pub(super) struct Parts<'a>(Option<UnverifiedToken<'a>>);

impl<'a> Parts<'a> {
    /// Those of `token`, unless it carries them already.
    pub(super) fn of(token: Token<'a>) -> Self {
        Self(match token.form {
            Form::Unknown => UnverifiedToken::decode(token.bytes),
            Form::Opaque | Form::Signed(..) => None,
        })
    }

    /// The claims.
    pub(super) fn claims(&self) -> Option<Value<'_>> {
        Value::parse(self.0.as_ref()?.payload()).ok()
    }

    fn with<'p>(&'p self, claims: Option<&'p Value<'p>>) -> Option<(&'p UnverifiedToken<'p>, &'p Value<'p>)> {
        self.0.as_ref().zip(claims)
    }

    /// The token taken apart, by `token` or else by us: it and its claims, which nobody has verified.
    pub(super) fn or_those_of<'p>(
        &'p self,
        token: Token<'p>,
        claims: Option<&'p Value<'p>>,
    ) -> Option<(&'p UnverifiedToken<'p>, &'p Value<'p>)> {
        match token.form {
            Form::Signed(token, claims) => Some((token, claims)),
            Form::Opaque => None,
            Form::Unknown => self.with(claims),
        }
    }
}
