//! Other chains of the same authenticators, for routes that want another policy.

use std::sync::Arc;

use super::Members;
use crate::authn::Anonymous;
use crate::decision::Authenticator;

/// How the chain of a profile differs from that of the flags.
#[derive(Debug)]
pub struct ChainProfile {
    /// The authenticators of credentials that it has, in whatever order; none: all.
    pub authenticators: Option<Vec<Authenticator>>,
    /// Whom tokens must be meant for that have audiences; none: whom they must be meant for anyway.
    pub audiences: Option<Arc<[Box<str>]>>,
    /// Anonymous, if allowed at all.
    pub anonymous: Option<Anonymous>,
}

impl Members {
    /// The authenticators of credentials that there are.
    pub fn authenticators(&self) -> impl Iterator<Item = Authenticator> {
        let others = [
            (self.request_header.is_some(), Authenticator::RequestHeader),
            (self.basic.is_some(), Authenticator::Basic),
            (self.x509.is_some(), Authenticator::X509),
        ];
        let others = others.into_iter().filter_map(|(is_there, by)| is_there.then_some(by));
        others.chain(self.tokens.iter().map(|tokens| tokens.name()))
    }

    /// The members of a profile's chain. What they know is shared: token files, keys, watches, connections, and the certificates that the
    /// CAs vouch for, which no profile can change. What was answered to whoever came with a token is not.
    pub fn of_profile(&self, profile: ChainProfile) -> Self {
        let ChainProfile { authenticators, audiences, anonymous } = profile;
        let has = |by| authenticators.as_ref().is_none_or(|authenticators| authenticators.contains(&by));
        let tokens = self.tokens.iter().filter(|tokens| has(tokens.name()));
        Self {
            request_header: self.request_header.clone().filter(|_| has(Authenticator::RequestHeader)),
            basic: self.basic.clone().filter(|_| has(Authenticator::Basic)),
            x509: self.x509.clone().filter(|_| has(Authenticator::X509)),
            tokens: tokens.map(|tokens| tokens.wanting(audiences.as_ref())).collect(),
            token_cache: Arc::clone(&self.token_cache),
            anonymous,
        }
    }
}
