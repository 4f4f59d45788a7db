//! The authenticator against webhooks, good and bad. Go: webhook_v1_test.go and webhook_v1beta1_test.go, whose cases of the cache are the
//! cache's.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use serde_json::{Value, json};

use super::*;
use crate::authn::Union;
use crate::authn::token::service_account::{Kind, PublicKeys};
use crate::authn::token::{ServiceAccount, TokenAuthenticator};
use crate::https::testing::{Answer, Authority, LONG, Server, answer};
use crate::https::{self, ClientCertificate, Proxies, Trust};
use crate::identity::{Extra, Groups, Identity};

const VERSIONS: [Version; 2] = [Version::V1, Version::V1beta1];
const TOKEN: &str = "my-s3cr3t-t0ken";

/// Who asks: by what server's authority, with what certificate.
struct Asker<'a> {
    version: Version,
    audiences: &'a [&'a str],
    trust: &'a Authority,
    certificate: Option<&'a Authority>,
}

impl<'a> Asker<'a> {
    fn new(trust: &'a Authority) -> Self {
        Self { version: Version::V1, audiences: &[], trust, certificate: None }
    }

    /// Asks the server at `url`, with hardly a wait in between.
    fn webhook(&self, url: &str) -> Webhook {
        let certificate = self.certificate.map(|authority| {
            let [certificate, key] = authority.client();
            ClientCertificate::from_pem(certificate.as_bytes(), key.as_bytes()).unwrap()
        });
        let authority = self.trust.pem();
        let client = Client::with(https::Settings {
            trust: Trust::Authorities(authority.as_bytes()),
            server_name: None,
            certificate,
            proxies: Proxies::default(),
        });
        let webhook = Webhook::new(Settings {
            client: client.unwrap(),
            url: Url::parse(url).unwrap(),
            authorization: Some(Authorization::bearer("caller-s3cr3t").unwrap()),
            version: self.version,
            audiences: self.audiences.iter().map(|audience| (*audience).into()).collect(),
            cache_ttl: Duration::ZERO,
            requests: Arc::default(),
        });
        Webhook { first_wait: Duration::from_millis(5), ..webhook }
    }
}

async fn ask(webhook: &Webhook, token: &[u8]) -> Outcome {
    let outcome = webhook.authenticate(Token::new(token), Now(SystemTime::UNIX_EPOCH));
    timeout(LONG, outcome).await.unwrap()
}

fn review(version: Version, status: &Value) -> Answer {
    let api_version = match version {
        Version::V1 => "authentication.k8s.io/v1",
        Version::V1beta1 => "authentication.k8s.io/v1beta1",
    };
    let review = json!({"kind": "TokenReview", "apiVersion": api_version, "status": status});
    answer(200, &[("content-type", "application/json")], &review.to_string())
}

fn yes() -> Answer {
    review(Version::V1, &json!({"authenticated": true, "user": {"username": "somebody"}}))
}

fn user(name: &str) -> Outcome {
    let identity =
        Arc::new(Identity { username: name.into(), own_groups: Groups::default(), ..Identity::anonymous() });
    Outcome::Authenticated(Authenticated::new(identity, Authenticator::Webhook))
}

fn refused(reason: Reason) -> Outcome {
    Outcome::rejected(Authenticator::Webhook, reason)
}

/// A webhook that gives these answers in turn, the last one for ever, and the authenticator that asks it.
async fn answering(answers: Vec<Answer>) -> (Server, Webhook) {
    let (authority, count) = (Authority::new(), AtomicUsize::new(0));
    let server = Server::start(authority.server(), move |_| {
        let at = count.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1);
        match &answers[at] {
            Answer::Send(bytes) => Answer::Send(bytes.clone()),
            Answer::Hang(bytes) => Answer::Hang(bytes.clone()),
            Answer::Close => Answer::Close,
            Answer::Reset => Answer::Reset,
        }
    })
    .await;
    let webhook = Asker::new(&authority).webhook(&server.url("/testserver"));
    (server, webhook)
}

/// Go: TestV1TLSConfig, TestV1beta1TLSConfig. The case without TLS is a kubeconfig's: no such URL gets here.
#[tokio::test]
async fn webhook_and_authenticator_trust_each_other_or_nothing_is_asked() {
    let [ours, other] = ["ours", "other"].map(Authority::named);
    let down = refused(Reason::TokenReviewUnavailable);
    for version in VERSIONS {
        let table = [
            ("TLS setup between client and server", ours.server_for(&ours), &ours, Some(&ours), true),
            ("Server does not require client auth", ours.server(), &ours, None, true),
            (
                "Server does not require client auth, client provides it",
                ours.server(),
                &ours,
                Some(&ours),
                true,
            ),
            ("Client does not trust server", ours.server(), &other, Some(&ours), false),
            ("Server does not trust client", ours.server_for(&other), &ours, Some(&ours), false),
            ("Client has nothing to show", ours.server_for(&ours), &ours, None, false),
        ];
        for (case, tls, trust, certificate, good) in table {
            let answers = AtomicUsize::new(0);
            let server = Server::start(tls, move |_| {
                let allow = answers.fetch_add(1, Ordering::Relaxed) == 0;
                let status = json!({"authenticated": allow, "user": {"username": "realHooman@email.com"}});
                review(version, &status)
            })
            .await;
            let webhook =
                Asker { version, trust, certificate, audiences: &[] }.webhook(&server.url("/testserver"));
            let expected = if good { user("realHooman@email.com") } else { down.clone() };
            assert_eq!(ask(&webhook, b"t0k3n").await, expected, "{case}");
            let expected = if good { Outcome::NoOpinion } else { down.clone() };
            assert_eq!(ask(&webhook, b"t0k3n").await, expected, "{case}");
        }
    }
}

/// Go: TestV1WebhookTokenAuthenticator, TestV1beta1WebhookTokenAuthenticator. There the audiences of a request and of the API server may
/// differ, which in kube-apiserver they never do.
#[tokio::test]
async fn an_answer_is_a_user_if_it_is_for_one_of_our_audiences() {
    let authority = Authority::new();
    let somebody = json!({"username": "somebody"});
    let full = json!({"username": "person@place.com", "uid": "abcd-1234", "groups": ["stuff-dev", "main-eng"],
                      "extra": {"foo": ["bar", "baz"]}});
    let person = Outcome::Authenticated(Authenticated::new(
        Arc::new(Identity {
            username: "person@place.com".into(),
            uid: "abcd-1234".into(),
            own_groups: Groups::new(["stuff-dev", "main-eng"]),
            extra: Extra::new([("foo", ["bar", "baz"])]),
            ..Identity::anonymous()
        }),
        Authenticator::Webhook,
    ));
    let table: [(&[&str], Value, Outcome); 12] = [
        (&[], json!({"authenticated": true, "user": somebody}), user("somebody")),
        (&[], json!({"authenticated": true, "user": full}), person),
        (&[], json!({"authenticated": false, "user": full}), Outcome::NoOpinion),
        (&[], json!({"authenticated": false}), Outcome::NoOpinion),
        (&["api"], json!({"authenticated": true, "user": somebody}), user("somebody")),
        (
            &["api", "b"],
            json!({"authenticated": true, "user": somebody, "audiences": ["b", "c"]}),
            user("somebody"),
        ),
        (&["api"], json!({"authenticated": true, "user": somebody, "audiences": ["api"]}), user("somebody")),
        (&["api"], json!({"authenticated": true, "user": somebody, "audiences": []}), user("somebody")),
        (&[], json!({"authenticated": true, "user": somebody, "audiences": ["api"]}), user("somebody")),
        (
            &["api"],
            json!({"authenticated": true, "user": somebody, "audiences": ["other"]}),
            Outcome::NoOpinion,
        ),
        (&[], json!({"authenticated": false, "error": "bad"}), refused(Reason::TokenReviewRefused)),
        // Audiences come first.
        (
            &["api"],
            json!({"authenticated": false, "error": "bad", "audiences": ["other"]}),
            Outcome::NoOpinion,
        ),
    ];
    for version in VERSIONS {
        for (audiences, status, expected) in &table {
            let said = status.clone();
            let server = Server::start(authority.server(), move |_| review(version, &said)).await;
            let asker = Asker { version, audiences, ..Asker::new(&authority) };
            let outcome = ask(&asker.webhook(&server.url("/testserver")), TOKEN.as_bytes()).await;
            assert_eq!(outcome, *expected, "{audiences:?} {status}");

            let spec = match audiences {
                [] => format!(r#"{{"token":"{TOKEN}"}}"#),
                audiences => format!(r#"{{"token":"{TOKEN}","audiences":{}}}"#, json!(audiences)),
            };
            let api_version = if version == Version::V1 { "v1" } else { "v1beta1" };
            let body = format!(
                r#"{{"kind":"TokenReview","apiVersion":"authentication.k8s.io/{api_version}","metadata":{{}},"spec":{spec},"status":{{"user":{{}}}}}}"#
            );
            let head = format!(
                "POST /testserver HTTP/1.1\r\nuser-agent: countersign/{}\r\naccept-encoding: identity\r\n\
                 authorization: Bearer caller-s3cr3t\r\ncontent-type: application/json\r\naccept: application/json, */*\r\n\
                 host: localhost:{}\r\ncontent-length: {}\r\n\r\n",
                env!("CARGO_PKG_VERSION"),
                server.address.port(),
                body.len(),
            );
            assert_eq!(server.requests(), [head + &body]);
        }
    }
}

/// Go: TestV1WebhookCacheAndRetry, TestV1beta1WebhookCacheAndRetry without their cache; TestWithExponentialBackoffParametersNotSet and
/// …WebhookErrorIsMostImportant of k8s.io/apiserver/pkg/util/webhook, and `NewGenericServerResponse`.
#[tokio::test]
async fn errors_that_may_pass_are_tried_again() {
    let down = refused(Reason::TokenReviewUnavailable);
    let with = |status, headers: &[(&str, &str)]| answer(status, headers, "HTTP Error");
    let table = [
        (with(500, &[]), 5),
        (with(429, &[]), 5),
        (with(504, &[]), 5),
        (with(502, &[]), 5),
        (Answer::Reset, 5),
        (with(503, &[]), 1),
        (with(404, &[]), 1),
        (with(401, &[]), 1),
        (with(403, &[]), 1),
        (with(299, &[]), 1),
        (with(302, &[("location", "/elsewhere")]), 1),
        (with(307, &[("location", "/elsewhere")]), 1),
        (Answer::Close, 1),
        // The webhook says when: at once, ten times; then it is as if it had said nothing.
        (with(503, &[("retry-after", "0")]), 11),
        (with(500, &[("retry-after", "-1")]), 55),
        (with(503, &[("retry-after", "soon")]), 1),
        (with(404, &[("retry-after", "1")]), 5),
        // Later than a review can last.
        (with(429, &[("retry-after", "3600")]), 5),
    ];
    for (said, attempts) in table {
        let case = match &said {
            Answer::Send(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            _ => "no answer".to_owned(),
        };
        let (server, webhook) = answering(vec![said]).await;
        assert_eq!(
            (ask(&webhook, b"t0k3n").await, server.requests().len()),
            (down.clone(), attempts),
            "{case}"
        );
        assert!(server.requests().iter().all(|request| request.starts_with("POST /testserver ")), "{case}");
    }
}

/// Go: `DefaultRetryBackoff`, and TestV1WebhookCacheAndRetry for what is good in the end.
#[tokio::test]
async fn a_webhook_that_recovers_is_believed() {
    let busy = || answer(500, &[], "not yet");
    let (server, webhook) = answering(vec![busy(), Answer::Reset, busy(), busy(), yes()]).await;
    assert_eq!((ask(&webhook, b"t0k3n").await, server.requests().len()), (user("somebody"), 5));
    let host = [format!("localhost:{}", server.address.port()), "POST".to_owned()];
    let counted =
        [(None, 1), (Some(200), 1), (Some(500), 3)].map(|(status, count)| (host.clone(), status, count));
    assert_eq!(webhook.settings.requests.totals(), counted);

    let (server, webhook) = answering(vec![busy(), busy(), busy(), busy(), busy(), yes()]).await;
    assert_eq!(ask(&webhook, b"t0k3n").await, refused(Reason::TokenReviewUnavailable));
    assert_eq!((ask(&webhook, b"t0k3n").await, server.requests().len()), (user("somebody"), 6));

    let seconds: Vec<f64> = waits(FIRST_WAIT).map(|wait| wait.as_secs_f64()).collect();
    let expected = [0.5, 0.75, 1.125, 1.6875];
    assert_eq!(seconds.len(), expected.len());
    for (wait, expected) in seconds.iter().zip(expected) {
        assert!((expected..=expected * 1.2).contains(wait), "{wait}");
    }
}

/// Threats S26: no answer is taken for a yes, and the next good one is.
#[tokio::test]
async fn an_answer_that_is_none_authenticates_nobody() {
    let json = [("content-type", "application/json")];
    let good = r#"{"status":{"authenticated":true,"user":{"username":"somebody"}}}"#;
    let large = format!(r#"{{"status":{{"authenticated":true}},"x":"{}"}}"#, "x".repeat(MAX_ANSWER));
    let (down, malformed) = (Reason::TokenReviewUnavailable, Reason::MalformedTokenReview);
    let table = [
        (answer(200, &json, ""), malformed),
        (answer(204, &json, ""), malformed),
        (answer(200, &json, "not json"), malformed),
        (answer(200, &json, &format!("{good} trailing")), malformed),
        (answer(200, &json, "[]"), malformed),
        (answer(200, &[("content-type", "a/b/c")], good), malformed),
        (answer(200, &json, &large), down),
        (answer(200, &[("content-encoding", "gzip")], good), down),
        (Answer::Send(b"SSH-2.0-x\r\n\r\n".to_vec()), down),
    ];
    for (bad, reason) in table {
        let answers = if reason == malformed { vec![bad] } else { vec![bad, yes()] };
        let (_server, webhook) = answering(answers).await;
        assert_eq!(ask(&webhook, b"t0k3n").await, refused(reason));
        if reason == down {
            assert_eq!(ask(&webhook, b"t0k3n").await, user("somebody"));
        }
    }
    for status in 200..=206 {
        let (_server, webhook) = answering(vec![answer(status, &[], good)]).await;
        let expected = if status == 204 { refused(malformed) } else { user("somebody") };
        assert_eq!(ask(&webhook, b"t0k3n").await, expected, "{status}");
    }
}

/// A webhook that takes a question and never answers.
#[tokio::test]
async fn a_review_ends_in_time_and_so_many_are_in_flight() {
    let (server, webhook) = answering(vec![Answer::Hang(Vec::new())]).await;
    let webhook = Arc::new(webhook);
    let asking = {
        let webhook = Arc::clone(&webhook);
        tokio::spawn(async move { ask(&webhook, b"t0k3n").await })
    };
    server.has_seen(1).await;
    let others = webhook.in_flight.try_acquire_many(u32::try_from(MAX_IN_FLIGHT).unwrap() - 1).unwrap();
    assert_eq!(ask(&webhook, b"other").await, refused(Reason::TokenReviewBusy));
    drop(others);
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    assert_eq!(asking.await.unwrap(), refused(Reason::TokenReviewUnavailable));
    assert!(begun.elapsed() <= TIMEOUT, "{:?}", begun.elapsed());
    tokio::time::resume();
    assert_eq!(webhook.in_flight.available_permits(), MAX_IN_FLIGHT);
}

/// Whoever gave up no longer takes the place of others.
#[tokio::test]
async fn a_review_that_nobody_waits_for_ends() {
    let (server, webhook) = answering(vec![Answer::Hang(Vec::new())]).await;
    let mut asking = Box::pin(ask(&webhook, b"t0k3n"));
    tokio::select! {
        outcome = &mut asking => panic!("{outcome:?}"),
        () = server.has_seen(1) => {}
    }
    assert_eq!(webhook.in_flight.available_permits(), MAX_IN_FLIGHT - 1);
    drop(asking);
    assert_eq!(webhook.in_flight.available_permits(), MAX_IN_FLIGHT);
}

#[tokio::test]
async fn a_token_larger_than_any_header_is_not_sent() {
    let (server, webhook) = answering(vec![yes()]).await;
    assert_eq!(ask(&webhook, &vec![b'x'; MAX_TOKEN + 1]).await, Outcome::NoOpinion);
    assert_eq!(server.requests(), [""; 0]);
}

#[tokio::test]
async fn neither_token_nor_credentials_are_shown() {
    let (_server, webhook) = answering(vec![yes()]).await;
    let shown = format!("{webhook:?} {:?}", Token::new(TOKEN.as_bytes()));
    assert!(!shown.contains("s3cr3t"), "{shown}");
    let failures = [
        Failure::Https(https::Error::Http),
        Failure::Timeout,
        Failure::Status { status: 500, retry_after: false },
        Failure::ContentType,
        Failure::Malformed,
    ];
    let said: Vec<_> = failures.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "the connection broke, or the answer is not HTTP",
            "timed out: the whole review",
            "the answer's status is 500",
            "the answer's content type is malformed",
            "the answer is no TokenReview of the version that was sent",
        ]
    );
}

/// The bearer token of a recorded request.
#[expect(clippy::disallowed_methods, reason = "a test reads its vectors")]
fn recorded(scenario: &str, id: &str) -> String {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/conformance/scenarios");
    let cases = std::fs::read_to_string(format!("{folder}/{scenario}/cases.jsonl")).unwrap();
    let cases = cases.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let case = cases.into_iter().find(|case| case["id"] == id).unwrap();
    case["request"]["headers"][0][1].as_str().unwrap().strip_prefix("Bearer ").unwrap().to_owned()
}

/// Kubernetes' union asks the webhook after whatever an authenticator refuses. What only we refuse it would have believed, so nobody
/// else is asked whose that is; what it refuses too goes on.
#[tokio::test]
async fn a_token_that_only_we_refuse_is_not_shown_to_the_webhook() {
    let authority = Authority::new();
    let server = Server::start(authority.server(), |_| yes()).await;
    let webhook = Asker::new(&authority).webhook(&server.url("/"));
    let mut keys = PublicKeys::default();
    keys.add(include_bytes!("../../../../tests/conformance/world/sa/rsa1.pub")).unwrap();
    let (keys, issuers) = (Arc::new(keys), ["https://sa.oracle.test".into()].into());
    let audiences = ["https://sa.oracle.test".into()].into();
    let accounts = ServiceAccount::new(Kind::Bound { issuers }, keys, audiences, None);
    let union = Union::new([
        TokenAuthenticator::ServiceAccount(accounts),
        TokenAuthenticator::webhook(webhook, Arc::default()),
    ]);
    // After the recording, before the tokens end.
    let now = Now(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let (never, forged) = (
        recorded("serviceaccount", "serviceaccount/sa-time/no-exp"),
        recorded("webhook-v1", "webhook-v1/webhook/bad-sa-token"),
    );
    let outcome = AuthenticateToken::authenticate(&union, Token::new(never.as_bytes()), now).await;
    assert_eq!(outcome, Outcome::rejected(Authenticator::ServiceAccount, Reason::NeverExpires));
    assert_eq!(server.requests(), [""; 0]);
    let outcome = AuthenticateToken::authenticate(&union, Token::new(forged.as_bytes()), now).await;
    assert_eq!((outcome, server.requests().len()), (user("somebody"), 1));
}

/// S17, S18: a profile asks the webhook itself, for its own audiences, and remembers for itself. Go: `AuthenticateToken`, where a webhook that
/// says nothing of audiences is for `implicitAuds`.
#[tokio::test]
async fn another_chain_asks_for_its_own_audiences_and_shares_no_answer() {
    let said = Arc::new(std::sync::Mutex::new(json!(null)));
    let (authority, saying) = (Authority::new(), Arc::clone(&said));
    let server = Server::start(authority.server(), move |_| {
        let mut status = json!({"authenticated": true, "user": {"username": "somebody"}});
        status["audiences"] = saying.lock().unwrap().clone();
        review(Version::V1, &status)
    })
    .await;
    let webhook =
        || Asker { audiences: &["api"], ..Asker::new(&authority) }.webhook(&server.url("/testserver"));
    let remembered = |cache_ttl| {
        let settings = Arc::try_unwrap(webhook().settings).unwrap_or_else(|_| panic!("nobody else has it"));
        TokenAuthenticator::webhook(Webhook::new(Settings { cache_ttl, ..settings }), Arc::default())
    };
    let billing: Arc<[Box<str>]> = ["billing".into()].into();
    let asked = |before: usize| {
        let audiences = |request: &String| {
            let (_, body) = request.split_once("\r\n\r\n").unwrap();
            serde_json::from_str::<Value>(body).unwrap()["spec"]["audiences"].clone()
        };
        server.requests()[before..].iter().map(audiences).collect::<Vec<_>>()
    };
    let now = Now(SystemTime::UNIX_EPOCH);
    for (audiences, for_api, for_billing) in [
        (json!(["api"]), user("somebody"), Outcome::NoOpinion),
        (json!(["billing"]), Outcome::NoOpinion, user("somebody")),
        (json!(["api", "billing"]), user("somebody"), user("somebody")),
        (json!([]), user("somebody"), Outcome::NoOpinion),
    ] {
        *said.lock().unwrap() = audiences.clone();
        for order in [[0, 1, 0, 1], [1, 0, 1, 0]] {
            let before = server.requests().len();
            let api = remembered(Duration::from_secs(60));
            let chains = [&api, &api.wanting(Some(&billing))];
            for chain in order {
                let expected = [&for_api, &for_billing][chain];
                assert_eq!(
                    chains[chain].authenticate(Token::new(b"t0k3n"), now).await,
                    *expected,
                    "{audiences} {order:?}"
                );
            }
            let names = [json!(["api"]), json!(["billing"])];
            let once = [names[order[0]].clone(), names[order[1]].clone()];
            assert_eq!(asked(before), once, "{audiences}: each asks once, for its own");
        }
    }
}
