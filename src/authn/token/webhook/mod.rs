//! The token review webhook: somebody else says whose a token is. Go: `WebhookTokenAuthenticator` of
//! k8s.io/apiserver/plugin/pkg/authenticator/token/webhook/webhook.go (1.36.3), and of k8s.io/client-go/rest what `Request.Do` and
//! `Result.Into` make of an answer.
//!
//! ```text
//!   token ── review: TokenReview as JSON ──▶ POST, again if that may help ──▶ review: status ──▶ audiences, user
//! ```
//!
//! | the webhook | here |
//! |---|---|
//! | says `authenticated: true`, for one of our audiences | the user that it names |
//! | says `authenticated: false`, or is about other audiences | no opinion |
//! | says `authenticated: false` with an `error` | [`Reason::TokenReviewRefused`] |
//! | cannot be reached, or answers with an error | [`Reason::TokenReviewUnavailable`] |
//! | answers what is no token review | [`Reason::MalformedTokenReview`] |
//! | has [`MAX_IN_FLIGHT`] questions to answer already | [`Reason::TokenReviewBusy`] |
//!
//! Stricter than Kubernetes, beside what [`crate::https`], [`crate::json`] and [`crate::yaml`] are stricter in:
//!
//! - no redirect is followed, which would send the token elsewhere;
//! - a review takes [`TIMEOUT`] with all its attempts, where each of Go's may take that long;
//! - an answer has [`MAX_ANSWER`] bytes at most, is not compressed, and not in protobuf or CBOR, which nobody asked for;
//! - there is a bound to the reviews in flight.

mod content_type;
mod failure;
mod review;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_lc_rs::rand::{SystemRandom, generate};
use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::audiences::Audiences;
use crate::authn::{AuthenticateToken, Now, Observer, Outcome, Token};
use crate::decision::{Authenticated, Authenticator, Reason};
use crate::https::{Authorization, Client, Post, Url};
use crate::jose::MAX_TOKEN;
use crate::metrics::Requests;
use crate::trace;

use failure::Failure;
use review::Status;

pub use review::Version;

/// A review takes no longer, attempts and the waits between them included. Go: `defaultRequestTimeout` of
/// k8s.io/apiserver/pkg/util/webhook, for one attempt.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// The largest answer, in bytes: more than a user who fits into a request's headers needs by far. Go has no bound.
pub const MAX_ANSWER: usize = 1024 * 1024;

/// So many reviews are in flight at once. Go has no bound but that on requests, 400 by default.
pub const MAX_IN_FLIGHT: usize = 400;

/// So often the webhook is asked. Go: `DefaultRetryBackoffWithInitialDelay`, `Steps`.
const ATTEMPTS: i32 = 5;

/// What passes between the first attempts. Go: `DefaultRetryBackoff`.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// What a wait is multiplied with for the next. Go: `Factor`.
const FACTOR: f64 = 1.5;

/// At random, a wait is longer by this part of it. Go: `Jitter`.
const JITTER: f64 = 0.2;

/// So often one attempt is repeated if the webhook says when. Go: `maxRetries` of `NewRequest`.
const MAX_RETRIES: u32 = 10;

/// Whom to ask, and how.
#[derive(Debug)]
pub struct Settings {
    /// The way there.
    pub client: Client,
    /// Where reviews are posted.
    pub url: Url,
    /// What to show there.
    pub authorization: Option<Authorization>,
    /// The version of the TokenReview that is sent and expected.
    pub version: Version,
    /// Tokens must be meant for one of these; if there is none, for anybody. Go: `APIAudiences`.
    pub audiences: Arc<[Box<str>]>,
    /// How long an answer is remembered; zero: not at all. Go: `--authentication-token-webhook-cache-ttl`.
    pub cache_ttl: Duration,
    /// Where requests are counted.
    pub requests: Arc<Requests>,
}

/// The authenticator.
pub struct Webhook {
    settings: Arc<Settings>,
    audiences: Audiences,
    first_wait: Duration,
    in_flight: Arc<Semaphore>,
    /// Whether the last review has failed, so that an outage is told of once.
    failing: Arc<AtomicBool>,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

impl Webhook {
    /// Asks as `settings` say.
    pub fn new(settings: Settings) -> Self {
        let in_flight = Arc::new(Semaphore::new(MAX_IN_FLIGHT));
        let audiences = Audiences::of_api(Arc::clone(&settings.audiences));
        let (settings, failing) = (Arc::new(settings), Arc::default());
        Self { settings, audiences, first_wait: FIRST_WAIT, in_flight, failing }
    }

    /// The same webhook, over the same connections and with the same bounds, for tokens that are meant for one of these.
    pub(super) fn wanting(&self, audiences: Option<&Arc<[Box<str>]>>) -> Self {
        let own = &self.audiences;
        Self {
            settings: Arc::clone(&self.settings),
            audiences: audiences.map_or_else(|| own.clone(), |wanted| own.wanting(wanted)),
            first_wait: self.first_wait,
            in_flight: Arc::clone(&self.in_flight),
            failing: Arc::clone(&self.failing),
        }
    }

    /// How long an answer is to be remembered; zero: not at all.
    pub fn cache_ttl(&self) -> Duration {
        self.settings.cache_ttl
    }

    async fn ask(&self, token: Token<'_>) -> Outcome {
        let Ok(_in_flight) = self.in_flight.try_acquire() else {
            return Outcome::rejected(Authenticator::Webhook, Reason::TokenReviewBusy);
        };
        let reviewed = trace::asking("TokenReview", timeout(TIMEOUT, self.review(token)))
            .await
            .unwrap_or(Err(Failure::Timeout));
        let failed = reviewed.is_err();
        let told = self.failing.swap(failed, Ordering::Relaxed) == failed;
        match reviewed {
            Ok(status) => {
                if !told {
                    tracing::info!(webhook = ?self.settings.url, "the token review webhook answers again");
                }
                self.judge(status)
            }
            Err(failure) => {
                if !told {
                    tracing::warn!(webhook = ?self.settings.url, %failure, "the token review webhook failed");
                }
                Outcome::rejected(Authenticator::Webhook, failure.reason())
            }
        }
    }

    /// Go: `WithExponentialBackoff` of k8s.io/apiserver/pkg/util/webhook.
    async fn review(&self, token: Token<'_>) -> Result<Status, Failure> {
        let review = review::request(self.settings.version, token, self.audiences.wanted());
        for wait in waits(self.first_wait) {
            match self.create(&review).await {
                Err(failure) if failure.is_transient() => sleep(wait).await,
                settled => return settled,
            }
        }
        self.create(&review).await
    }

    /// Go: `Request.request` of k8s.io/client-go/rest/request.go with `withRetry` of with_retry.go.
    async fn create(&self, review: &Bytes) -> Result<Status, Failure> {
        let Settings { client, url, authorization, version, requests, .. } = &*self.settings;
        let mut retries = 0;
        loop {
            let post = Post {
                url,
                authorization: authorization.as_ref(),
                json: review.clone(),
                max_body: MAX_ANSWER,
            };
            let asking = requests.begin(url.authority(), "POST", true);
            let response = client.post(post).await?;
            asking.answered(response.status);
            match failure::retry_after(&response) {
                Some(wait) if wait < TIMEOUT && retries < MAX_RETRIES => {
                    retries += 1;
                    sleep(wait).await;
                }
                _ => {
                    failure::check(&response)?;
                    return review::status(*version, &response.body).map_err(|_malformed| Failure::Malformed);
                }
            }
        }
    }

    /// Go: `AuthenticateToken`, once there is an answer.
    fn judge(&self, status: Status) -> Outcome {
        // A webhook that says nothing of audiences knows nothing of them: then it is for those of the API server.
        if !self.audiences.wanted().is_empty() && !self.audiences.meet(&status.audiences) {
            return Outcome::NoOpinion;
        }
        if status.authenticated {
            let identity = Arc::new(status.user.into());
            return Outcome::Authenticated(Authenticated::new(identity, Authenticator::Webhook));
        }
        match status.error.is_empty() {
            true => Outcome::NoOpinion,
            false => Outcome::rejected(Authenticator::Webhook, Reason::TokenReviewRefused),
        }
    }
}

impl AuthenticateToken for Webhook {
    async fn observed<O: Observer>(&self, token: Token<'_>, _now: Now, _: O) -> Outcome {
        // Go's HTTP server reads no such header.
        if token.bytes.len() > MAX_TOKEN {
            return Outcome::NoOpinion;
        }
        // In a box, so that a decision about another credential is not larger for it.
        Box::pin(self.ask(token)).await
    }
}

/// What passes between the attempts. Go: `Backoff.Step` of k8s.io/apimachinery/pkg/util/wait.
fn waits(first: Duration) -> impl Iterator<Item = Duration> {
    let wait = move |exponent| first.mul_f64(FACTOR.powi(exponent) * (1.0 + JITTER * random()));
    (0..ATTEMPTS - 1).map(wait)
}

/// A random number from 0 to 1.
fn random() -> f64 {
    let random: Result<[u8; 4], _> = generate(&SystemRandom::new()).map(|random| random.expose());
    random.map_or(0.5, |random| f64::from(u32::from_ne_bytes(random)) / f64::from(u32::MAX))
}
