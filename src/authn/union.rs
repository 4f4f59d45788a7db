//! Ask several authenticators in order (Go: `request/union` and `token/union`, the same file twice; here the rule is once).

use std::ops::ControlFlow::{self, Break, Continue};

use super::{AuthenticateRequest, AuthenticateToken, Now, Observer, Outcome, Token};
use crate::decision::{Authenticated, Rejections};
use crate::request::Request;

/// Authenticators that are asked in order. It implements whichever of the two traits its members do.
#[derive(Debug)]
pub struct Union<A>(Box<[A]>);

impl<A> Union<A> {
    /// Asks `members` in this order.
    pub fn new(members: impl IntoIterator<Item = A>) -> Self {
        Self(members.into_iter().collect())
    }

    /// Those that are asked, in order.
    pub fn members(&self) -> &[A] {
        &self.0
    }
}

impl<A: AuthenticateRequest> AuthenticateRequest for Union<A> {
    async fn observed<O: Observer>(&self, request: &Request<'_>, now: Now, observer: O) -> Outcome {
        let mut fold = Fold::default();
        for member in &self.0 {
            if let Break(authenticated) = fold.push(member.observed(request, now, observer.clone()).await) {
                return authenticated.map_or_else(|| fold.finish(), Outcome::Authenticated);
            }
        }
        fold.finish()
    }
}

impl<A: AuthenticateToken> AuthenticateToken for Union<A> {
    async fn observed<O: Observer>(&self, token: Token<'_>, now: Now, observer: O) -> Outcome {
        let mut fold = Fold::default();
        for member in &self.0 {
            if let Break(authenticated) = fold.push(member.observed(token, now, observer.clone()).await) {
                return authenticated.map_or_else(|| fold.finish(), Outcome::Authenticated);
            }
        }
        fold.finish()
    }
}

/// The rule itself: a success ends the search, a rejection is remembered. A [final](Reason::is_final) one ends the
/// search too: whoever comes next might find somebody else in the same request.
#[derive(Default)]
struct Fold {
    rejections: Rejections,
}

impl Fold {
    fn push(&mut self, outcome: Outcome) -> ControlFlow<Option<Authenticated>> {
        match outcome {
            Outcome::Authenticated(authenticated) => return Break(Some(authenticated)),
            Outcome::NoOpinion => {}
            Outcome::Rejected(rejections) => self.rejections.extend(rejections),
        }
        if self.rejections.iter().any(|r| r.reason.is_final()) { Break(None) } else { Continue(()) }
    }

    fn finish(self) -> Outcome {
        if self.rejections.is_empty() { Outcome::NoOpinion } else { Outcome::Rejected(self.rejections) }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::SystemTime;

    use super::*;
    use crate::decision::{Authenticator, Reason, Rejection};
    use crate::identity::Identity;
    use crate::request::testing::request;

    /// An authenticator that says what it is told and counts how often it was asked.
    struct Fake {
        says: Outcome,
        asked: AtomicUsize,
    }

    impl AuthenticateRequest for &Fake {
        async fn observed<O: Observer>(&self, _: &Request<'_>, _: Now, _: O) -> Outcome {
            self.asked.fetch_add(1, Ordering::Relaxed);
            self.says.clone()
        }
    }

    impl AuthenticateToken for &Fake {
        async fn observed<O: Observer>(&self, _: Token<'_>, _: Now, _: O) -> Outcome {
            self.asked.fetch_add(1, Ordering::Relaxed);
            self.says.clone()
        }
    }

    const FIRST: Rejection = Rejection { by: Authenticator::Basic, reason: Reason::MalformedBasic };
    const SECOND: Rejection = Rejection { by: Authenticator::Bearer, reason: Reason::InvalidBearerToken };

    fn somebody(name: &str) -> Outcome {
        let identity = Arc::new(Identity { username: name.into(), ..Identity::anonymous() });
        Outcome::Authenticated(Authenticated::new(identity, Authenticator::TokenFile))
    }

    fn rejected(rejections: &[Rejection]) -> Outcome {
        Outcome::Rejected(Rejections::from_slice(rejections))
    }

    /// Asks a union of fakes, as requests and as tokens, and gives its answer and how often each member was asked.
    async fn ask(members: Vec<Outcome>) -> (Outcome, Vec<usize>) {
        let fakes: Vec<Fake> =
            members.into_iter().map(|says| Fake { says, asked: AtomicUsize::new(0) }).collect();
        let asked = || fakes.iter().map(|f| f.asked.swap(0, Ordering::Relaxed)).collect::<Vec<_>>();
        let union = Union::new(&fakes);
        let now = Now(SystemTime::UNIX_EPOCH);
        let by_request = (AuthenticateRequest::authenticate(&union, &request(&[]), now).await, asked());
        let by_token = (AuthenticateToken::authenticate(&union, Token::new(b"t"), now).await, asked());
        assert_eq!(by_request, by_token);
        by_request
    }

    /// Go: TestAuthenticateRequestSecondPasses, …FirstPasses, …SuppressUnnecessaryErrors, …NoAuthenticators, …NonePass,
    /// …AdditiveErrors (request/union and token/union). The whole table of two members.
    #[tokio::test]
    async fn the_first_success_wins_and_errors_are_remembered() {
        use Outcome::NoOpinion;
        let (a, b) = (|| somebody("a"), || somebody("b"));
        let (first, second) = (|| rejected(&[FIRST]), || rejected(&[SECOND]));
        let table = [
            (vec![], NoOpinion, vec![]),
            (vec![NoOpinion], NoOpinion, vec![1]),
            (vec![NoOpinion, NoOpinion], NoOpinion, vec![1, 1]),
            (vec![NoOpinion, b()], b(), vec![1, 1]),
            (vec![NoOpinion, second()], second(), vec![1, 1]),
            (vec![a(), NoOpinion], a(), vec![1, 0]),
            (vec![a(), b()], a(), vec![1, 0]),
            (vec![a(), second()], a(), vec![1, 0]),
            (vec![first(), NoOpinion], first(), vec![1, 1]),
            (vec![first(), b()], b(), vec![1, 1]),
            (vec![first(), second()], rejected(&[FIRST, SECOND]), vec![1, 1]),
        ];
        for (members, expected, asked) in table {
            let case = format!("{members:?}");
            assert_eq!(ask(members).await, (expected, asked), "{case}");
        }
    }

    /// Kubernetes would have read the credential, as somebody perhaps. Nobody else may be found in its place.
    #[tokio::test]
    async fn a_final_rejection_ends_the_search() {
        let last_words = [
            Reason::AmbiguousAuthorization,
            Reason::AmbiguousIdentityHeader,
            Reason::AmbiguousUpgrade,
            Reason::CertificateRevoked,
            Reason::ClaimOutOfRange,
            Reason::ClusterUnavailable,
            Reason::DistributedClaims,
            Reason::DistributedClaimsUnavailable,
            Reason::MalformedCertificate,
            Reason::MalformedForwardedCertificate,
            Reason::MalformedHeader,
            Reason::MalformedIssuerKeys,
            Reason::NeverExpires,
            Reason::Panicked,
            Reason::PasswordVerificationBusy,
            Reason::RevocationListExpired,
            Reason::TokenReviewBusy,
            Reason::UndecodableToken,
            Reason::UnsupportedCertificate,
            Reason::UnsupportedSignature,
        ];
        for reason in last_words {
            let unreadable = || rejected(&[Rejection { by: Authenticator::Bearer, reason }]);
            let (outcome, asked) = ask(vec![unreadable(), somebody("b")]).await;
            assert_eq!((outcome, asked), (unreadable(), vec![1, 0]));
            let (outcome, asked) = ask(vec![somebody("a"), unreadable()]).await;
            assert_eq!((outcome, asked), (somebody("a"), vec![1, 0]), "who comes before it wins, as there");
        }
    }

    #[tokio::test]
    async fn a_union_in_a_union_reports_all_errors_in_order() {
        let (inner, _) = ask(vec![rejected(&[FIRST]), rejected(&[SECOND])]).await;
        let (outer, asked) = ask(vec![inner, Outcome::NoOpinion, rejected(&[FIRST])]).await;
        assert_eq!(outer, rejected(&[FIRST, SECOND, FIRST]));
        assert_eq!(asked, [1, 1, 1]);
    }
}
