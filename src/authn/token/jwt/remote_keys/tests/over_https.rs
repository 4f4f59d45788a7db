//! The same through the real client, from real servers.

use rcgen::{CertificateParams, date_time_ymd};
use rustls::{CertificateError, ServerConfig};

use super::*;
use crate::https::testing::{Answer, Authority, LONG, Server, answer};
use crate::https::{DEFAULT_MAX_BODY, RedirectError};

/// An issuer whose document is good, and whose keys are what `keys` answers. The document can name the server only once it has a
/// port, so it is at a host that every server has.
async fn issuer(tls: ServerConfig, keys: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Server {
    Server::start(tls, move |head| {
        let host = head.split("host: ").nth(1).unwrap().split("\r\n").next().unwrap();
        match head.split(' ').nth(1) {
            Some("/.well-known/openid-configuration") => {
                let document = format!(r#"{{"issuer":"https://{host}","jwks_uri":"https://{host}/keys"}}"#);
                answer(200, &[("content-type", "application/json")], &document)
            }
            Some("/keys") => keys(head),
            _ => answer(404, &[], ""),
        }
    })
    .await
}

fn keys_of(server: &Server, authority: &Authority) -> Arc<RemoteKeys<Kids>> {
    let registry = Registry::new(Proxies::default());
    let source =
        Source { url: server.url(""), discovery_url: None, certificate_authority: Some(authority.pem()) };
    registry.keys(&source).unwrap()
}

/// What came of the first attempt.
async fn first(keys: &RemoteKeys<Kids>) -> Option<FetchError> {
    keys.start();
    let mut progress = keys.shared.progress.subscribe();
    let progress = timeout(LONG, progress.wait_for(|progress| progress.attempts > 0));
    progress.await.unwrap().unwrap().error.clone()
}

#[tokio::test]
async fn keys_come_over_https() {
    let authority = Authority::new();
    let server = issuer(authority.server(), |_| answer(200, &[], "keys: a b")).await;
    let keys = keys_of(&server, &authority);
    assert_eq!(keys.wait_ready(LONG).await, Ok(()));
    assert_eq!(current(&keys), kids("a b"));
    let paths: Vec<String> =
        server.requests().iter().map(|head| head.split(' ').nth(1).unwrap().to_owned()).collect();
    assert_eq!(paths, ["/.well-known/openid-configuration", "/keys"]);
}

/// Threats S26 (CVE-2025-64527), with the answers that a server can give.
#[tokio::test]
async fn answers_that_are_no_keys_are_errors() {
    let too_large = Error::TooLarge { limit: DEFAULT_MAX_BODY };
    let to_plain = Error::Redirect(RedirectError::Location(UrlError::NotHttps));
    let many = "x".repeat(DEFAULT_MAX_BODY + 1);
    type Keys = Box<dyn Fn(&str) -> Answer + Send + Sync>;
    let table: [(Keys, FetchError); 7] = [
        (Box::new(|_| answer(500, &[], "")), FetchError::Keys(Error::Status(500))),
        (Box::new(|_| answer(204, &[], "")), FetchError::Keys(Error::Status(204))),
        (Box::new(|_| answer(200, &[], "<html>")), FetchError::MalformedKeys(MalformedKeys)),
        (Box::new(move |_| answer(200, &[], &many)), FetchError::Keys(too_large)),
        (
            Box::new(|_| answer(302, &[("location", "http://169.254.169.254/")], "")),
            FetchError::Keys(to_plain),
        ),
        (
            Box::new(|_| answer(302, &[("location", "/keys")], "")),
            FetchError::Keys(Error::Redirect(RedirectError::TooMany)),
        ),
        (Box::new(|_| Answer::Hang(b"garbage\r\n\r\n".to_vec())), FetchError::Keys(Error::Http)),
    ];
    let authority = Authority::new();
    for (answer, expected) in table {
        let server = issuer(authority.server(), answer).await;
        let keys = keys_of(&server, &authority);
        assert_eq!(first(&keys).await, Some(expected));
        assert_eq!(current(&keys), None);
    }
}

#[tokio::test]
async fn an_issuer_needs_a_good_certificate() {
    let authority = Authority::named("ours");
    let expired = |params: &mut CertificateParams| params.not_after = date_time_ymd(2020, 1, 1);
    for (tls, trusted, expected) in [
        (authority.server(), Authority::named("theirs"), CertificateError::UnknownIssuer),
        (authority.server_with(expired), authority, CertificateError::Expired),
    ] {
        let server = issuer(tls, |_| answer(200, &[], "keys: a")).await;
        let error = Error::Tls(rustls::Error::InvalidCertificate(expected));
        assert_eq!(first(&keys_of(&server, &trusted)).await, Some(FetchError::Discovery(error)));
        assert_eq!(server.requests(), [""; 0]);
    }
}

#[tokio::test]
async fn an_issuer_that_failed_heals_without_help() {
    let authority = Authority::new();
    let up = Cell::new(false);
    let server = issuer(authority.server(), {
        let up = up.clone();
        move |_| if up.get() { answer(200, &[], "keys: a") } else { answer(503, &[], "") }
    })
    .await;
    let keys = keys_of(&server, &authority);
    assert_eq!(first(&keys).await, Some(FetchError::Keys(Error::Status(503))));
    up.set(true);
    assert_eq!(keys.wait_ready(LONG).await, Ok(()));
    assert_eq!(current(&keys), kids("a"));
}
