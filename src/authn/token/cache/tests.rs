use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::UNIX_EPOCH;

use tokio::sync::Notify;

use super::*;
use crate::decision::{Rejection, Rejections, Standing};
use crate::identity::{Extra, Groups, Identity};

/// Says what it is told, once it may, and counts how often it was asked.
#[derive(Debug)]
struct Fake {
    says: Mutex<Outcome>,
    asked: AtomicUsize,
    /// Whether it has to be let go.
    held: AtomicBool,
    go: Notify,
}

impl Fake {
    fn new(says: Outcome) -> Arc<Self> {
        let (asked, held) = (AtomicUsize::default(), AtomicBool::default());
        Arc::new(Self { says: Mutex::new(says), asked, held, go: Notify::new() })
    }

    fn held(says: Outcome) -> Arc<Self> {
        let fake = Self::new(says);
        fake.held.store(true, Ordering::SeqCst);
        fake
    }

    fn says(&self, outcome: Outcome) {
        *self.says.lock().expect("no panics") = outcome;
    }

    fn let_go(&self) {
        self.held.store(false, Ordering::SeqCst);
        self.go.notify_waiters();
    }

    fn asked(&self) -> usize {
        self.asked.swap(0, Ordering::SeqCst)
    }
}

impl AuthenticateToken for Arc<Fake> {
    async fn observed<O: Observer>(&self, _: Token<'_>, _: Now, _: O) -> Outcome {
        let go = self.go.notified();
        self.asked.fetch_add(1, Ordering::SeqCst);
        if self.held.load(Ordering::SeqCst) {
            go.await;
        }
        self.says.lock().expect("no panics").clone()
    }
}

const MINUTE: Duration = Duration::from_secs(60);

fn in_room_of_its_own<A: AuthenticateToken + 'static>(tokens: A, ttl: Ttl) -> TokenCache<A> {
    TokenCache::new(tokens, Room::new(ttl, Arc::default()))
}

fn good_for_a_minute(fake: &Arc<Fake>) -> TokenCache<Arc<Fake>> {
    in_room_of_its_own(Arc::clone(fake), Ttl { good: MINUTE, bad: Duration::ZERO, refusals: true })
}

fn at(seconds: u64) -> Now {
    Now(UNIX_EPOCH + Duration::from_secs(seconds))
}

fn user(name: &str, lasts: Lasts) -> Outcome {
    let identity = Arc::new(Identity::new(name, "", Groups::default(), Extra::default()));
    Outcome::Authenticated(Authenticated { lasts, ..Authenticated::new(identity, Authenticator::Jwt) })
}

fn somebody() -> Outcome {
    user("chewbacca", Lasts::Indefinitely)
}

fn refused(reason: Reason) -> Outcome {
    Outcome::rejected(Authenticator::Jwt, reason)
}

/// Go: TestCachedTokenAuthenticator.
#[tokio::test]
async fn a_good_token_is_asked_for_once_in_its_time_and_a_bad_one_always() {
    let fake = Fake::new(Outcome::NoOpinion);
    let cache = good_for_a_minute(&fake);
    for _ in 0..2 {
        for token in [b"bad1", b"bad2", b"bad3"] {
            assert_eq!(cache.authenticate(Token::new(token), at(0)).await, Outcome::NoOpinion);
        }
    }
    assert_eq!(fake.asked(), 6);

    for (token, name) in [(b"usertoken1", "user1"), (b"usertoken2", "user2")] {
        fake.says(user(name, Lasts::Indefinitely));
        assert_eq!(cache.authenticate(Token::new(token), at(1)).await, user(name, Lasts::Indefinitely));
    }
    assert_eq!(fake.asked(), 2);

    fake.says(Outcome::NoOpinion);
    assert_eq!(
        cache.authenticate(Token::new(b"usertoken1"), at(60)).await,
        user("user1", Lasts::Indefinitely)
    );
    assert_eq!(
        cache.authenticate(Token::new(b"usertoken2"), at(60)).await,
        user("user2", Lasts::Indefinitely)
    );
    assert_eq!(fake.asked(), 0);
    assert_eq!(cache.authenticate(Token::new(b"usertoken1"), at(61)).await, Outcome::NoOpinion);
    assert_eq!(cache.authenticate(Token::new(b"usertoken1"), at(60)).await, Outcome::NoOpinion, "forgotten");
    assert_eq!(fake.asked(), 2);
}

/// S19 (CVE-2021-41230). Go remembers a token beyond its `exp`.
#[tokio::test]
async fn a_token_counts_no_longer_than_it_is_valid() {
    let fake = Fake::new(user("a", Lasts::Until(at(5).0)));
    let cache = good_for_a_minute(&fake);
    let ask = async |seconds| cache.authenticate(Token::new(b"token"), at(seconds)).await;
    assert_eq!(ask(0).await, user("a", Lasts::Until(at(5).0)));
    fake.says(refused(Reason::TokenExpired));
    assert_eq!(ask(5).await, user("a", Lasts::Until(at(5).0)));
    assert_eq!(ask(6).await, refused(Reason::TokenExpired));

    fake.says(user("b", Lasts::NoLonger));
    assert_eq!(ask(6).await, user("b", Lasts::NoLonger));
    assert_eq!((ask(6).await, fake.asked()), (user("b", Lasts::NoLonger), 4), "asked each time");
}

/// Stands until somebody says otherwise.
#[derive(Debug)]
struct Pod(AtomicBool);

impl Standing for Pod {
    fn stands(&self, _: SystemTime) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Go notices after ten seconds.
#[tokio::test]
async fn a_token_counts_no_longer_than_its_objects_are_there() {
    let pod = Arc::new(Pod(AtomicBool::new(true)));
    let standing: Arc<dyn Standing> = pod.clone();
    let fake = Fake::new(user("a", Lasts::While(Arc::clone(&standing))));
    let cache = good_for_a_minute(&fake);
    let ask = async || cache.authenticate(Token::new(b"token"), at(0)).await;
    assert_eq!(ask().await, user("a", Lasts::While(Arc::clone(&standing))));
    fake.says(refused(Reason::BoundObjectGone));
    assert_eq!((ask().await, fake.asked()), (user("a", Lasts::While(standing)), 1));
    pod.0.store(false, Ordering::SeqCst);
    assert_eq!((ask().await, fake.asked()), (refused(Reason::BoundObjectGone), 1));
}

/// What is remembered of each outcome, as Go's `switch` in `doAuthenticateToken` has it, but for what is no answer.
#[tokio::test]
async fn failures_are_remembered_only_if_asked_for_and_only_if_they_are_answers() {
    let mixed = Rejections::from_iter(
        [Reason::TokenExpired, Reason::TokenReviewUnavailable]
            .map(|reason| Rejection { by: Authenticator::Webhook, reason }),
    );
    let table = [
        (MINUTE, true, Outcome::NoOpinion, 1),
        (MINUTE, false, Outcome::NoOpinion, 1),
        (Duration::ZERO, true, Outcome::NoOpinion, 2),
        (MINUTE, true, refused(Reason::TokenExpired), 1),
        (MINUTE, false, refused(Reason::TokenExpired), 2),
        (Duration::ZERO, true, refused(Reason::TokenExpired), 2),
        (MINUTE, true, refused(Reason::TokenReviewUnavailable), 2),
        (MINUTE, true, Outcome::Rejected(mixed), 2),
        (MINUTE, true, refused(Reason::Panicked), 2),
        (MINUTE, true, somebody(), 2),
    ];
    for (bad, refusals, outcome, asked) in table {
        let fake = Fake::new(outcome.clone());
        let cache = in_room_of_its_own(Arc::clone(&fake), Ttl { good: Duration::ZERO, bad, refusals });
        for _ in 0..2 {
            assert_eq!(cache.authenticate(Token::new(b"token"), at(0)).await, outcome);
        }
        assert_eq!(fake.asked(), asked, "{bad:?} {refusals} {outcome:?}");
        assert_eq!(cache.authenticate(Token::new(b"token"), at(60)).await, outcome);
        assert_eq!(fake.asked(), 1, "not for longer: {outcome:?}");
    }
}

/// S20. Go: TestSharedLookup, "actually shared".
#[tokio::test]
async fn all_who_come_with_one_token_ask_once() {
    let fake = Fake::held(somebody());
    let cache = Arc::new(good_for_a_minute(&fake));
    let ask = |_| {
        let cache = Arc::clone(&cache);
        tokio::spawn(async move { cache.authenticate(Token::new(b""), at(0)).await })
    };
    let callers: Vec<_> = (0..100).map(ask).collect();
    while fake.asked.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    fake.let_go();
    for caller in callers {
        assert_eq!(caller.await.expect("no panic"), somebody());
    }
    assert_eq!(fake.asked(), 1);
    assert!(cache.0.asking().is_empty());
}

/// S20. Go: TestSharedLookup, "first caller bails, second caller gets result".
#[tokio::test]
async fn a_question_outlives_whoever_asked_it() {
    let fake = Fake::held(somebody());
    let cache = Arc::new(good_for_a_minute(&fake));
    assert!(cache.authenticate(Token::new(b"token"), at(0)).now_or_never().is_none());
    let second = cache.authenticate(Token::new(b"token"), at(0));
    let ((), outcome) = tokio::join!(async { fake.let_go() }, second);
    assert_eq!((outcome, fake.asked()), (somebody(), 1));

    let fake = Fake::held(somebody());
    let cache = Arc::new(good_for_a_minute(&fake));
    assert!(cache.authenticate(Token::new(b"token"), at(0)).now_or_never().is_none());
    fake.let_go();
    while !cache.0.asking().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(cache.authenticate(Token::new(b"token"), at(0)).now_or_never(), Some(somebody()));
    assert_eq!(fake.asked(), 1, "the answer was remembered though nobody waited for it");
}

/// Panics.
struct Broken;

impl AuthenticateToken for Broken {
    async fn observed<O: Observer>(&self, _: Token<'_>, _: Now, _: O) -> Outcome {
        panic!("uh oh")
    }
}

/// S20. Go: TestSharedLookup, "lookup panics".
#[tokio::test]
async fn a_panic_is_a_refusal_and_not_remembered() {
    let cache = in_room_of_its_own(Broken, Ttl { good: MINUTE, bad: MINUTE, refusals: true });
    for _ in 0..2 {
        let refused = Outcome::rejected(Authenticator::Bearer, Reason::Panicked);
        assert_eq!(cache.authenticate(Token::new(b"token"), at(0)).await, refused);
    }
    assert!(
        cache.0.asking().is_empty() && cache.0.room.bad.get(&cache.0.digester.digest(b"token")).is_none()
    );
}

/// S20. Go: `sharedLookupTimeout`.
#[tokio::test(start_paused = true)]
async fn a_question_has_an_end() {
    let fake = Fake::held(somebody());
    let cache = good_for_a_minute(&fake);
    let began = tokio::time::Instant::now();
    let refused = Outcome::rejected(Authenticator::Bearer, Reason::TokenLookupTimeout);
    assert_eq!(cache.authenticate(Token::new(b"token"), at(0)).await, refused);
    assert_eq!(began.elapsed(), TIMEOUT);
}

/// Bad tokens cost nothing but each other's places.
#[tokio::test]
async fn a_flood_of_bad_tokens_drives_out_no_good_one() {
    let fake = Fake::new(somebody());
    let cache = in_room_of_its_own(Arc::clone(&fake), Ttl { good: MINUTE, bad: MINUTE, refusals: true });
    assert_eq!(cache.authenticate(Token::new(b"good"), at(0)).await, somebody());
    fake.says(refused(Reason::InvalidSignature));
    for number in 0..2 * MAX_BAD {
        let token = number.to_be_bytes();
        assert_eq!(cache.authenticate(Token::new(&token), at(0)).await, refused(Reason::InvalidSignature));
    }
    assert!(cache.0.room.bad.len() <= MAX_BAD, "{}", cache.0.room.bad.len());
    assert_eq!(fake.asked(), 1 + 2 * MAX_BAD);
    assert_eq!((cache.authenticate(Token::new(b"good"), at(0)).await, fake.asked()), (somebody(), 0));
}

/// S20. What is kept is a digest under a key of this cache alone, so that nobody can find another token with the same.
#[test]
fn no_token_is_kept() {
    let fake = Fake::new(somebody());
    let (one, other) = (good_for_a_minute(&fake), good_for_a_minute(&fake));
    assert!(one.0.digester.digest(b"token") != other.0.digester.digest(b"token"));
    assert!(!format!("{one:?}").contains("token\""), "{one:?}");
}

/// S17 (CVE-2021-32701), S18: what is remembered under one policy is no answer under another, though both are kept in one room.
#[tokio::test]
async fn two_caches_in_one_room_know_nothing_of_each_other() {
    for (said, elsewhere) in
        [(somebody(), refused(Reason::WrongAudience)), (refused(Reason::WrongAudience), somebody())]
    {
        let (fake, other) = (Fake::new(said.clone()), Fake::new(elsewhere.clone()));
        let one = in_room_of_its_own(Arc::clone(&fake), Ttl { good: MINUTE, bad: MINUTE, refusals: true });
        let two = one.beside(|_| Arc::clone(&other));
        for _ in 0..2 {
            assert_eq!(one.authenticate(Token::new(b"token"), at(0)).await, said);
            assert_eq!(two.authenticate(Token::new(b"token"), at(0)).await, elsewhere);
        }
        assert_eq!((fake.asked(), other.asked()), (1, 1), "each remembers its own");
        assert_eq!(one.0.room.remembered(), (1, 1), "and both count");
    }
}

/// One question at a time for each of them: nobody is told what somebody else has asked.
#[tokio::test]
async fn two_caches_in_one_room_ask_for_themselves() {
    let (fake, other) = (Fake::held(somebody()), Fake::new(refused(Reason::WrongAudience)));
    let one = good_for_a_minute(&fake);
    let two = one.beside(|_| Arc::clone(&other));
    let waiting = tokio::spawn(async move { one.authenticate(Token::new(b"token"), at(0)).await });
    while fake.asked.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(two.authenticate(Token::new(b"token"), at(0)).await, refused(Reason::WrongAudience));
    fake.let_go();
    assert_eq!(waiting.await.expect("no panics"), somebody());
}
