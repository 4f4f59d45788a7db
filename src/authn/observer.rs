//! Whoever wants to know how a decision came about, not only what it is.

use super::{Outcome, Token};
use crate::decision::Authenticator;

/// Is told what happens while a request is decided, in order. Deciding does not depend on it: what is told is what is done anyway, so that
/// an explanation cannot differ from the decision.
///
/// `()` is the observer of an ordinary Check: it has no size and does nothing, so being observed costs only those who are.
///
/// A copy tells the same one: a token that is looked up for several requests at once is looked up in a task of its own.
pub trait Observer: Clone + Send + Sync + 'static {
    /// An authenticator is asked. Between this and its answer others may be asked on its behalf.
    fn asked(&self, _who: Authenticator) {}

    /// What it said.
    fn answered(&self, _who: Authenticator, _outcome: &Outcome) {}

    /// The authenticator that was asked last has found a token, which the token authenticators are to be asked about.
    fn found(&self, _token: Token<'_>) {}

    /// What a token cache made of the question.
    fn looked_up(&self, _lookup: Lookup) {}

    /// A key of this name has verified the signature of the token.
    fn verified<'k>(&self, _key_id: impl FnOnce() -> &'k str) {}
}

impl Observer for () {}

/// What a token cache made of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lookup {
    /// It remembered the answer. Nobody behind it is asked.
    Remembered,
    /// It did not, and asks.
    Asks,
    /// Somebody else asks about the same token already, and the answer is for both.
    Waits,
}
