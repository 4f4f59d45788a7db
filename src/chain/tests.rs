use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::SystemTime;

use super::*;
use crate::authn::token::TokenFile;
use crate::decision::Rejection;
use crate::request::testing::{at, request};

/// Basic and static tokens, and anonymous on `/open` only.
fn chain() -> Chain {
    let warn = |line: usize, text: &str| panic!("warned of line {line}: {text}");
    Members {
        basic: Some(Arc::new(Basic::new(b"password,basic-user,1\n", warn).expect("a good password"))),
        tokens: vec![TokenAuthenticator::TokenFile(Arc::new(
            TokenFile::new(b"token,token-user,2\n", warn).expect("a good file"),
        ))],
        anonymous: Some(Anonymous::new(["/open".into()])),
        ..Members::default()
    }
    .into_chain()
}

async fn user(chain: &Chain, request: Request<'_>) -> Result<String, Vec<Rejection>> {
    match chain.decide(&request, Now(SystemTime::UNIX_EPOCH)).await {
        Decision::Allow(a) => Ok(a.identity.username.to_string()),
        Decision::Deny(denial) => Err(denial.rejections.to_vec()),
    }
}

const WEBSOCKET: [(&[u8], &[u8]); 3] = [
    (b"connection", b"upgrade"),
    (b"upgrade", b"websocket"),
    (b"sec-websocket-protocol", b"base64url.bearer.authorization.k8s.io.dG9rZW4, x"),
];

#[tokio::test]
async fn each_credential_has_its_authenticator() {
    let chain = chain();
    let basic = request(&[(b"authorization", b"Basic YmFzaWMtdXNlcjpwYXNzd29yZA==")]);
    assert_eq!(user(&chain, basic).await, Ok("basic-user".to_owned()));
    let bearer = request(&[(b"authorization", b"Bearer token")]);
    assert_eq!(user(&chain, bearer).await, Ok("token-user".to_owned()));
    assert_eq!(user(&chain, request(&WEBSOCKET)).await, Ok("token-user".to_owned()));
    assert_eq!(user(&chain, at("/open", &[])).await, Ok("system:anonymous".to_owned()));
    assert_eq!(chain.schemes(), Schemes { bearer: true, basic: true });
}

/// "don't consider a bad bearer token or invalid username/password combination anonymous" (config.go). The vectors
/// chain/header/bad-get-healthz and chain/websocket/bad-token.
#[tokio::test]
async fn a_bad_credential_is_never_anonymous() {
    let chain = chain();
    let bad = |by, reason| Err(vec![Rejection { by, reason }]);
    let bearer = at("/open", &[(b"authorization", b"Bearer nope")]);
    assert_eq!(user(&chain, bearer).await, bad(Authenticator::Bearer, Reason::InvalidBearerToken));
    let basic = at("/open", &[(b"authorization", b"Basic YmFzaWMtdXNlcjpub3Bl")]);
    assert_eq!(user(&chain, basic).await, bad(Authenticator::Basic, Reason::InvalidUsernameOrPassword));
    let [connection, upgrade, _] = WEBSOCKET;
    let protocol: (&[u8], &[u8]) =
        (b"sec-websocket-protocol", b"base64url.bearer.authorization.k8s.io.bm9wZQ, x");
    let websocket = at("/open", &[connection, upgrade, protocol]);
    assert_eq!(user(&chain, websocket).await, bad(Authenticator::WebSocket, Reason::InvalidBearerToken));
}

/// The vectors chain/precedence/badtoken-and-ws and token-and-ws.
#[tokio::test]
async fn a_bad_authorization_and_a_good_websocket_token_is_that_tokens_user() {
    let chain = chain();
    let [connection, upgrade, protocol] = WEBSOCKET;
    let both = |authorization| request(&[(b"authorization", authorization), connection, upgrade, protocol]);
    assert_eq!(user(&chain, both(b"Bearer nope")).await, Ok("token-user".to_owned()));
    assert_eq!(user(&chain, both(b"Basic YmFzaWMtdXNlcjpub3Bl")).await, Ok("token-user".to_owned()));
}

/// kube-apiserver reads the first line, which may be anybody's; the websocket token's user it is not.
#[tokio::test]
async fn an_unreadable_authorization_and_a_good_websocket_token_is_nobody() {
    let chain = chain();
    let [connection, upgrade, protocol] = WEBSOCKET;
    for value in [&b"Bearer a, Bearer b"[..], b"Basic a,Bearer b", b"Bearer a\x01"] {
        let refused =
            user(&chain, request(&[(b"authorization", value), connection, upgrade, protocol])).await;
        assert_eq!(refused.map_err(|r| r.len()), Err(1), "{value:?}");
    }
    let digest = request(&[(b"authorization", b"Digest a, b"), connection, upgrade, protocol]);
    assert_eq!(user(&chain, digest).await, Ok("token-user".to_owned()), "a scheme that nobody reads");
}

/// S4, S6: conditions compare the whole path, without its query.
#[tokio::test]
async fn anonymous_is_allowed_on_its_paths_only() {
    let chain = chain();
    for path in ["/open", "/open?x=1", "/o%70en"] {
        assert_eq!(user(&chain, at(path, &[])).await, Ok("system:anonymous".to_owned()), "{path}");
    }
    for path in ["/", "/open/", "/open/x", "/OPEN", "//open", "/x/../open", "/open;x", "/%2fopen", "/open%20"]
    {
        let expected = Err(vec![Rejection { by: Authenticator::Chain, reason: Reason::NoCredentials }]);
        assert_eq!(user(&chain, at(path, &[])).await, expected, "{path}");
    }
}

/// Where no token authenticator is configured nobody reads tokens, as in kube-apiserver: then a bearer token is not a bad
/// credential but none.
#[tokio::test]
async fn an_empty_chain_denies_and_an_anonymous_one_asks_for_nothing() {
    let bearer = || request(&[(b"authorization", b"Bearer nope")]);
    let nobody = Err(vec![Rejection { by: Authenticator::Chain, reason: Reason::NoCredentials }]);
    assert_eq!(user(&Members::default().into_chain(), bearer()).await, nobody);
    let anonymous = Members { anonymous: Some(Anonymous::new([])), ..Members::default() }.into_chain();
    assert_eq!(user(&anonymous, bearer()).await, Ok("system:anonymous".to_owned()));
    assert_eq!(anonymous.schemes(), Schemes { bearer: false, basic: false });
}

/// A Check that waits for nothing stays small: tonic boxes it for every request.
#[test]
fn the_future_of_a_decision_is_small() {
    let chain = chain();
    let request = request(&[]);
    let size = size_of_val(&chain.decide(&request, Now(SystemTime::UNIX_EPOCH)));
    assert!(size <= 1024, "{size} bytes");
}

/// Nothing is allocated on the way to a verdict, but for what a websocket token is decoded into, and the user of a static token when that
/// is seen first.
#[tokio::test]
async fn a_decision_allocates_nothing() {
    let chain = chain();
    let allocations = |request: Request<'static>, expected: &str| {
        let mut seen = None;
        let counted = allocation_counter::measure(|| {
            let decision = pin!(chain.decide(&request, Now(SystemTime::UNIX_EPOCH)));
            let Poll::Ready(decision) = decision.poll(&mut Context::from_waker(Waker::noop())) else {
                panic!("waits for something")
            };
            seen = Some(decision);
        });
        let seen = match seen.expect("measured") {
            Decision::Allow(authenticated) => authenticated.identity.username.to_string(),
            Decision::Deny(denial) => denial.rejections[0].reason.code().to_owned(),
        };
        assert_eq!(seen, expected);
        counted.count_total
    };
    let bearer = |token: &'static [u8]| request(&[(b"authorization", token)]);
    assert_eq!(user(&chain, bearer(b"Bearer token")).await, Ok("token-user".to_owned()));
    assert_eq!(allocations(bearer(b"Bearer token"), "token-user"), 0);
    assert_eq!(allocations(bearer(b"Bearer unknown"), "invalid_bearer_token"), 0);
    assert_eq!(allocations(at("/open", &[]), "system:anonymous"), 0);
    assert_eq!(allocations(at("/closed", &[]), "no_credentials"), 0);
    assert_eq!(allocations(request(&WEBSOCKET), "token-user"), 1);
}
