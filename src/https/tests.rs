//! A client against servers, good and bad.

mod settings;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls::{CertificateError, ServerConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinHandle};
use tokio_rustls::TlsAcceptor;
use zeroize::Zeroizing;

use super::testing::{Answer, Authority, LONG, Server, answer, read_head, server};
use super::*;
use crate::pki::PoolError;

/// The status and body of an answer.
type Got = Result<(u16, Bytes), Error>;

fn url(text: &str) -> Url {
    Url::parse(text).unwrap()
}

fn trusting(authority: &Authority) -> Client {
    Client::new(Some(authority.pem().as_bytes()), Proxies::default()).unwrap()
}

async fn got(client: &Client, get: &Get<'_>) -> Got {
    let got = tokio::time::timeout(LONG, client.get(get)).await.unwrap();
    got.map(|response| (response.status, response.body))
}

/// What comes from a server with this answer to everything.
async fn got_from(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Got {
    let authority = Authority::new();
    let server = Server::start(authority.server(), answer).await;
    got(&trusting(&authority), &Get::new(&url(&server.url("/")))).await
}

fn good(body: &'static str) -> Got {
    Ok((200, Bytes::from_static(body.as_bytes())))
}

#[tokio::test]
async fn an_answer_has_status_headers_and_body() {
    let authority = Authority::new();
    let server =
        Server::start(authority.server(), |_| answer(200, &[("cache-control", "max-age=60")], "{}")).await;
    let text = server.url("/a/b?c=d#e");
    let response = trusting(&authority).get(&Get::new(&url(&text))).await.unwrap();
    assert_eq!((response.status, response.body), (200, Bytes::from_static(b"{}")));
    assert_eq!(response.headers["cache-control"], "max-age=60");
    let head = format!(
        "GET /a/b?c=d HTTP/1.1\r\nuser-agent: countersign/{}\r\naccept-encoding: identity\r\nhost: localhost:{}\r\n\r\n",
        env!("CARGO_PKG_VERSION"),
        server.address.port(),
    );
    assert_eq!(server.requests(), [head]);
}

/// A server that speaks only HTTP/2, and on its first connection falls silent after the first answer.
async fn http_2_server(mut config: ServerConfig) -> (String, AbortHandle) {
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let text = format!("https://localhost:{}/", listener.local_addr().unwrap().port());
    let server = tokio::spawn(async move {
        let mut silent = Vec::new();
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let stream = acceptor.accept(stream).await.unwrap();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            let mut answers = 0;
            while let Some(Ok((_request, mut reply))) = connection.accept().await {
                if silent.is_empty() && answers == 1 {
                    break;
                }
                let mut body = reply.send_response(http::Response::new(()), false).unwrap();
                body.send_data(Bytes::from_static(b"two"), true).unwrap();
                answers += 1;
            }
            silent.push(connection);
        }
    });
    (text, server.abort_handle())
}

#[tokio::test]
async fn a_server_that_speaks_only_http_2_is_understood() {
    let authority = Authority::new();
    let (text, server) = http_2_server(authority.server()).await;
    assert_eq!(got(&trusting(&authority), &Get::new(&url(&text))).await, good("two"));
    server.abort();
}

/// HTTP/2 has one connection for all requests: one that is dead must not stay.
#[tokio::test]
async fn a_connection_on_which_nothing_comes_is_given_up() {
    let authority = Authority::new();
    let (text, server) = http_2_server(authority.server()).await;
    let client = trusting(&authority);
    assert_eq!(got(&client, &Get::new(&url(&text))).await, good("two"));
    assert_eq!(slow(client.clone(), text.clone(), async {}).await, Err(Error::Http));
    assert_eq!(got(&client, &Get::new(&url(&text))).await, good("two"));
    server.abort();
}

/// Go: TestClientRedirects, TestRedirect308 of net/http.
#[tokio::test]
async fn redirects_are_followed() {
    for status in [301, 302, 303, 307, 308] {
        let got = got_from(move |head| match head.starts_with("GET /there/x HTTP") {
            true => answer(200, &[], "there"),
            false => answer(status, &[("location", "there/./x")], "moved"),
        });
        assert_eq!(got.await, good("there"), "{status}");
    }
}

/// Go: TestClientRedirects ("stopped after 10 redirects").
#[tokio::test]
async fn nine_redirects_are_followed_and_a_tenth_is_not() {
    for (redirects, expected) in [(9, good("end")), (10, Err(Error::Redirect(RedirectError::TooMany)))] {
        let count = AtomicUsize::new(0);
        let got = got_from(move |_| match count.fetch_add(1, Ordering::Relaxed) {
            count if count == redirects => answer(200, &[], "end"),
            _ => answer(302, &[("location", "/")], ""),
        });
        assert_eq!(got.await, expected);
    }
}

/// Threats, outbound fetches: Go follows a redirect to `http://`, and keys would come in the clear.
#[tokio::test]
async fn redirects_to_elsewhere_than_https_are_not_followed() {
    let table = [
        (Some("http://localhost/"), RedirectError::Location(UrlError::NotHttps)),
        (Some("file:///etc/passwd"), RedirectError::Location(UrlError::NotHttps)),
        (Some("gopher://localhost/"), RedirectError::Location(UrlError::NotHttps)),
        (Some("https://me:s3cr3t@localhost/"), RedirectError::Location(UrlError::UserInfo)),
        (Some("https:///"), RedirectError::Location(UrlError::NoHost)),
        (None, RedirectError::NoLocation),
    ];
    for (location, expected) in table {
        let headers: Vec<_> = location.map(|location| ("location", location)).into_iter().collect();
        let got = got_from(move |_| answer(302, &headers, ""));
        assert_eq!(got.await, Err(Error::Redirect(expected)), "{location:?}");
    }
}

/// Go: TestShouldCopyHeaderOnRedirect, TestClientRedirectUseResponse of net/http, and what came of CVE-2024-45336: what has been left
/// out stays out.
#[tokio::test]
async fn a_bearer_token_goes_to_its_host_alone() {
    let authority = Authority::new();
    let port = watch::Sender::new(0);
    let known = port.clone();
    let server = Server::start(authority.server(), move |head| {
        let port = *known.borrow();
        match head.split(' ').nth(1) {
            Some("/") => answer(302, &[("location", "/same")], ""),
            Some("/same") => answer(302, &[("location", &format!("https://127.0.0.1:{port}/other"))], ""),
            Some("/other") => answer(302, &[("location", &format!("https://localhost:{port}/back"))], ""),
            _ => answer(200, &[], "end"),
        }
    })
    .await;
    port.send_replace(server.address.port());
    let token = Zeroizing::new("s3cr3t".to_owned());
    let text = server.url("/");
    let url = url(&text);
    let get = Get { bearer: Some(&token), ..Get::new(&url) };
    assert_eq!(got(&trusting(&authority), &get).await, good("end"));
    let with_token: Vec<bool> =
        server.requests().iter().map(|head| head.contains("authorization: Bearer s3cr3t\r\n")).collect();
    assert_eq!(with_token, [true, true, false, false]);
    assert!(!format!("{get:?}").contains("s3cr3t"));

    let token = Zeroizing::new("a\r\nHost: b".to_owned());
    let get = Get { bearer: Some(&token), ..Get::new(&url) };
    assert_eq!(got(&trusting(&authority), &get).await, Err(Error::Bearer));
}

#[tokio::test]
async fn the_status_must_be_one_that_was_asked_for() {
    let authority = Authority::new();
    let server = Server::start(authority.server(), |head| {
        let status = head.split(['/', ' ']).nth(2).unwrap().parse().unwrap();
        answer(status, &[], "x")
    })
    .await;
    let client = trusting(&authority);
    for (status, strict, lax) in [
        (200, true, true),
        (201, false, true),
        (226, false, true),
        (300, false, false),
        (404, false, false),
        (500, false, false),
    ] {
        let text = server.url(&format!("/{status}"));
        let url = url(&text);
        let expected =
            |good| if good { Ok((status, Bytes::from_static(b"x"))) } else { Err(Error::Status(status)) };
        assert_eq!(got(&client, &Get::new(&url)).await, expected(strict));
        assert_eq!(got(&client, &Get { statuses: 200..=226, ..Get::new(&url) }).await, expected(lax));
    }
}

/// Threats S23, S26: an answer without an end.
#[tokio::test]
async fn a_body_is_bounded() {
    let authority = Authority::new();
    let server = Server::start(authority.server(), |head| match head.split(' ').nth(1) {
        Some("/fits") => answer(200, &[], "1234"),
        Some("/announced") => Answer::Hang(b"HTTP/1.1 200 x\r\ncontent-length: 5\r\n\r\n".to_vec()),
        Some("/larger") => answer(200, &[], "12345"),
        Some("/chunked") => {
            Answer::Hang(b"HTTP/1.1 200 x\r\ntransfer-encoding: chunked\r\n\r\n5\r\n12345\r\n".to_vec())
        }
        _ => Answer::Hang([&b"HTTP/1.1 200 x\r\n\r\n"[..], &[b'x'; 100_000]].concat()),
    })
    .await;
    let client = trusting(&authority);
    let large = Err(Error::TooLarge { limit: 4 });
    for (path, expected) in [
        ("/fits", good("1234")),
        ("/announced", large.clone()),
        ("/larger", large.clone()),
        ("/chunked", large.clone()),
        ("/endless", large),
    ] {
        let text = server.url(path);
        assert_eq!(got(&client, &Get { max_body: 4, ..Get::new(&url(&text)) }).await, expected, "{path}");
    }
}

/// A small answer may be a large one compressed; we ask for none.
#[tokio::test]
async fn a_compressed_body_is_refused() {
    for (encoding, expected) in
        [("gzip", Err(Error::Compressed)), ("br", Err(Error::Compressed)), ("identity", good("x"))]
    {
        assert_eq!(got_from(move |_| answer(200, &[("content-encoding", encoding)], "x")).await, expected);
    }
}

#[tokio::test]
async fn what_is_not_http_is_an_error() {
    let head = format!("HTTP/1.1 200 x\r\na: {}\r\n\r\n", "x".repeat(1_000_000));
    for bytes in ["SSH-2.0-x\r\n\r\n", "HTTP/1.1 200 x\r\ncontent-length: -1\r\n\r\n", &head] {
        let name = bytes.get(..40).unwrap_or(bytes).to_owned();
        let bytes = bytes.as_bytes().to_vec();
        assert_eq!(got_from(move |_| Answer::Hang(bytes.clone())).await, Err(Error::Http), "{name}");
    }
}

fn untrusted(error: CertificateError) -> Got {
    Err(Error::Tls(rustls::Error::InvalidCertificate(error)))
}

/// Go: verifyServerCertificate of crypto/tls, and what [`crate::pki`] says of chains.
#[tokio::test]
async fn a_server_needs_a_good_certificate() {
    let [authority, same_name, other] = ["a", "a", "b"].map(Authority::named);
    let client = trusting(&authority);
    let with = |change: fn(&mut CertificateParams)| authority.server_with(change);
    let table = [
        (authority.server(), None),
        (same_name.server(), Some(CertificateError::UnknownIssuer)),
        (other.server(), Some(CertificateError::UnknownIssuer)),
        (with(|params| params.not_after = date_time_ymd(2020, 1, 1)), Some(CertificateError::Expired)),
        (with(|params| params.not_before = date_time_ymd(4000, 1, 1)), Some(CertificateError::NotValidYet)),
        (
            with(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
            Some(CertificateError::InvalidPurpose),
        ),
        (with(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]), None),
        (with(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)), None),
    ];
    for (config, expected) in table {
        let server = Server::start(config, |_| answer(200, &[], "x")).await;
        let got = got(&client, &Get::new(&url(&server.url("/")))).await;
        let expected = expected.map_or_else(|| good("x"), untrusted);
        assert_eq!((got.clone(), server.requests().is_empty()), (expected, got.is_err()));
    }
    for names in [vec![], vec!["other.test".to_owned(), "*.localhost".to_owned()]] {
        let config = authority.server_with(|params| {
            params.subject_alt_names = CertificateParams::new(names).unwrap().subject_alt_names;
        });
        let server = Server::start(config, |_| answer(200, &[], "x")).await;
        let got = got(&client, &Get::new(&url(&server.url("/")))).await;
        let Err(Error::Tls(rustls::Error::InvalidCertificate(reason))) = got else { panic!("{got:?}") };
        assert!(matches!(reason, CertificateError::NotValidForNameContext { .. }), "{reason:?}");
        assert_eq!(server.requests(), [""; 0]);
    }
}

#[tokio::test]
async fn a_server_without_tls_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (mut plain, _) = listener.accept().await.unwrap();
        plain.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        let (closed, _) = listener.accept().await.unwrap();
        drop(closed);
        plain
    });
    let client = trusting(&Authority::new());
    let text = format!("https://localhost:{port}/");
    let plain = got(&client, &Get::new(&url(&text))).await;
    assert_eq!(
        plain,
        Err(Error::Tls(rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType)))
    );
    let closed = got(&client, &Get::new(&url(&text))).await;
    assert!(matches!(closed, Err(Error::TlsBroken(_))), "{closed:?}");
    server.await.unwrap();
}

#[tokio::test]
async fn a_host_that_is_not_there_is_an_error() {
    let client = trusting(&Authority::new());
    // Too long for a name, which needs no name server to be known.
    let nowhere = format!("https://{}.test/", "a".repeat(64));
    assert_eq!(got(&client, &Get::new(&url(&nowhere))).await, Err(Error::Dns));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = format!("https://127.0.0.1:{}/", listener.local_addr().unwrap().port());
    drop(listener);
    let refused = Err(Error::Connect(io::ErrorKind::ConnectionRefused));
    assert_eq!(got(&client, &Get::new(&url(&closed))).await, refused);
}

/// Asks in the background; the time is stopped, and jumps, once `begun` is over.
async fn slow(client: Client, text: String, begun: impl Future<Output = ()>) -> Got {
    let asking: JoinHandle<Got> = tokio::spawn(async move { got(&client, &Get::new(&url(&text))).await });
    begun.await;
    tokio::time::pause();
    let got = asking.await.unwrap();
    tokio::time::resume();
    got
}

/// Threats S26: an issuer that does not answer. The way to a proxy is part of connecting.
#[tokio::test]
async fn everything_has_its_time() {
    let authority = Authority::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let silent = slow(trusting(&authority), format!("https://localhost:{port}/"), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_u8().await.unwrap();
        tokio::spawn(async move {
            let _silence = (std::future::pending::<()>().await, stream);
        });
    });
    assert_eq!(silent.await, Err(Error::Timeout(Phase::Tls)));

    let proxied = through(&authority, &format!("http://127.0.0.1:{port}"));
    let connecting = slow(proxied, "https://issuer.test/".to_owned(), async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read_head(&mut stream).await.unwrap();
        tokio::spawn(async move {
            let _silence = (std::future::pending::<()>().await, stream);
        });
    });
    assert_eq!(connecting.await, Err(Error::Timeout(Phase::Connect)));

    for bytes in ["", "HTTP/1.1 200 x\r\ncontent-length: 5\r\n\r\n1234"] {
        let server =
            Server::start(authority.server(), move |_| Answer::Hang(bytes.as_bytes().to_vec())).await;
        let hanging = slow(trusting(&authority), server.url("/"), server.has_seen(1));
        assert_eq!(hanging.await, Err(Error::Timeout(Phase::Whole)));
    }
}

#[test]
fn a_bundle_must_have_authorities_alone() {
    let good = Authority::new().pem();
    let make = |pem: &str| Client::new(Some(pem.as_bytes()), Proxies::default()).map(drop);
    let other = pem("PRIVATE KEY", "AAAA");
    assert_eq!(make(&good), Ok(()));
    assert_eq!(make(&[&*good, "text", &*other, &*good].concat()), Ok(()));
    for nothing in ["", "text", &other] {
        assert_eq!(make(nothing), Err(ClientError::Bundle(PoolError::NoCertificates)));
    }
    let bad = make(&[&*good, &*pem("CERTIFICATE", "MAA=")].concat());
    assert!(matches!(bad, Err(ClientError::Bundle(PoolError::Certificate { number: 2, .. }))), "{bad:?}");
}

fn pem(label: &str, content: &str) -> String {
    format!("-----BEGIN {label}-----\n{content}\n-----END {label}-----\n")
}

/// A client that goes through a proxy.
fn through(authority: &Authority, proxy: &str) -> Client {
    let environment = [("HTTPS_PROXY".into(), proxy.into())];
    Client::new(Some(authority.pem().as_bytes()), Proxies::from_environment(&environment)).unwrap()
}

#[tokio::test]
async fn a_proxy_is_gone_through() {
    let authority = Authority::new();
    let server = Server::start(authority.server(), |_| answer(200, &[], "x")).await;
    let address = server.address;
    let text = format!("https://issuer.test:{}/", address.port());
    for tls in [None, Some(TlsAcceptor::from(Arc::new(authority.server())))] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let proxy = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            match tls {
                None => connect(stream, address).await,
                Some(tls) => connect(tls.accept(stream).await.unwrap(), address).await,
            }
        });
        let client = through(&authority, &format!("{scheme}://me:s3cr3t@localhost:{port}"));
        assert_eq!(got(&client, &Get::new(&url(&text))).await, good("x"));
        drop(client);
        let head = tokio::time::timeout(LONG, proxy).await.unwrap().unwrap();
        let host = format!("issuer.test:{}", address.port());
        let expected = format!(
            "CONNECT {host} HTTP/1.1\r\nHost: {host}\r\nProxy-Authorization: Basic bWU6czNjcjN0\r\n\r\n"
        );
        assert_eq!(head, expected);
    }
}

/// Does what CONNECT says, and returns it.
async fn connect<S>(mut stream: S, address: std::net::SocketAddr) -> String
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let head = read_head(&mut stream).await.unwrap();
    let mut server = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"HTTP/1.1 200 x\r\n\r\n").await.unwrap();
    let _closed = copy_bidirectional(&mut stream, &mut server).await;
    head
}

/// RFC 1928, RFC 1929.
#[tokio::test]
async fn a_socks_proxy_is_gone_through() {
    let authority = Authority::new();
    let server = Server::start(authority.server(), |_| answer(200, &[], "x")).await;
    let (listener, address) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), server.address);
    let port = listener.local_addr().unwrap().port();
    let proxy = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut greeting = [0; 3];
        stream.read_exact(&mut greeting).await.unwrap();
        stream.write_all(&[5, 2]).await.unwrap();
        let mut credentials = [0; 8];
        stream.read_exact(&mut credentials).await.unwrap();
        stream.write_all(&[1, 0]).await.unwrap();
        let mut request = [0; 18];
        stream.read_exact(&mut request).await.unwrap();
        stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.unwrap();
        let mut server = TcpStream::connect(address).await.unwrap();
        let _closed = copy_bidirectional(&mut stream, &mut server).await;
        (greeting, credentials, request)
    });
    let client = through(&authority, &format!("socks5://me:pwd@127.0.0.1:{port}"));
    let text = format!("https://issuer.test:{}/", address.port());
    assert_eq!(got(&client, &Get::new(&url(&text))).await, good("x"));
    drop(client);
    let (greeting, credentials, request) = tokio::time::timeout(LONG, proxy).await.unwrap().unwrap();
    assert_eq!(greeting, [5, 1, 2]);
    assert_eq!(&credentials, b"\x01\x02me\x03pwd");
    let expected = [&b"\x05\x01\x00\x03\x0bissuer.test"[..], &address.port().to_be_bytes()].concat();
    assert_eq!(request[..], expected);
}

#[tokio::test]
async fn a_proxy_that_refuses_is_an_error() {
    for reply in ["HTTP/1.1 407 x\r\n\r\n", "HTTP/1.1 503 x\r\n\r\n", "x\r\n\r\n", ""] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let proxy = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            read_head(&mut stream).await.unwrap();
            stream.write_all(reply.as_bytes()).await.unwrap();
        });
        let client = through(&Authority::new(), &format!("127.0.0.1:{port}"));
        assert_eq!(got(&client, &Get::new(&url("https://issuer.test/"))).await, Err(Error::Proxy), "{reply}");
        proxy.await.unwrap();
    }
}

/// What people sign for themselves, and give out as the authority. Go: `opts.Roots.contains(c)` in `Certificate.Verify`.
#[tokio::test]
async fn a_certificate_that_is_itself_an_authority_serves() {
    let past = |params: &mut CertificateParams| params.not_after = date_time_ymd(2020, 1, 1);
    let no_ca = |params: &mut CertificateParams| params.is_ca = IsCa::NoCa;
    let client_usage = |params: &mut CertificateParams| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]
    };
    type Change = fn(&mut CertificateParams);
    let table: [(Change, Option<CertificateError>); 4] = [
        (|_| (), None),
        (no_ca, None),
        (past, Some(CertificateError::Expired)),
        (client_usage, Some(CertificateError::InvalidPurpose)),
    ];
    for (change, expected) in table {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        change(&mut params);
        let certificate = params.self_signed(&key).unwrap();
        let server = Server::start(server(certificate.der().clone(), &key), |_| answer(200, &[], "x")).await;
        let client = Client::new(Some(certificate.pem().as_bytes()), Proxies::default()).unwrap();
        let got = got(&client, &Get::new(&url(&server.url("/")))).await;
        assert_eq!(got, expected.map_or_else(|| good("x"), untrusted));
    }
}

/// Go asks of roots what it asks of the others.
#[tokio::test]
async fn an_authority_that_has_expired_or_may_not_sign_is_none() {
    let expired = Authority::with(|params| params.not_after = date_time_ymd(2020, 1, 1));
    let no_sign = Authority::with(|params| params.key_usages = vec![KeyUsagePurpose::CrlSign]);
    for (authority, expected) in
        [(expired, CertificateError::Expired), (no_sign, CertificateError::UnknownIssuer)]
    {
        let server = Server::start(authority.server(), |_| answer(200, &[], "x")).await;
        let got = got(&trusting(&authority), &Get::new(&url(&server.url("/")))).await;
        assert_eq!(got, untrusted(expected));
    }
}
