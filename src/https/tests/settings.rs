//! What a client can be told: whom to trust, by what name, through which proxy.

use super::*;

fn client(trust: Trust<'_>, server_name: Option<&str>, proxies: Proxies) -> Client {
    Client::with(Settings { trust, server_name, certificate: None, proxies }).unwrap()
}

/// Go: `ServerName` of `tls.Config`, for the name to send and for the name to expect.
#[tokio::test]
async fn a_server_may_have_another_name_than_its_host() {
    let authority = Authority::new();
    let server = Server::start(
        authority.server_with(|params| {
            params.subject_alt_names =
                CertificateParams::new(["other.test".to_owned()]).unwrap().subject_alt_names;
        }),
        |_| answer(200, &[], "x"),
    )
    .await;
    let pem = authority.pem();
    for (name, is_good) in [(None, false), (Some("third.test"), false), (Some("other.test"), true)] {
        let client = client(Trust::Authorities(pem.as_bytes()), name, Proxies::default());
        let got = got(&client, &Get::new(&url(&server.url("/")))).await;
        assert_eq!(got.is_ok(), is_good, "{name:?}: {got:?}");
    }
    let bad = Settings {
        trust: Trust::Anybody,
        server_name: Some("a b"),
        certificate: None,
        proxies: Proxies::default(),
    };
    assert_eq!(Client::with(bad).map(drop), Err(ClientError::ServerName));
}

/// Go: `InsecureSkipVerify` of `tls.Config`.
#[tokio::test]
async fn anybody_is_trusted_if_that_is_said() {
    let server = Server::start(Authority::new().server(), |_| answer(200, &[], "x")).await;
    let text = server.url("/").replace("localhost", "[::ffff:127.0.0.1]");
    for text in [server.url("/"), text] {
        let client = client(Trust::Anybody, None, Proxies::default());
        assert_eq!(got(&client, &Get::new(&url(&text))).await, good("x"), "{text}");
    }
}

#[tokio::test]
async fn a_server_on_this_host_is_asked_in_plaintext() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = read_head(&mut stream).await.unwrap();
        let mut body = [0; 2];
        stream.read_exact(&mut body).await.unwrap();
        stream.write_all(b"HTTP/1.1 418 x\r\ncontent-length: 1\r\n\r\nx").await.unwrap();
        (head, body)
    });
    let url = Url::parse_or_loopback(&format!("http://127.0.0.1:{port}/a?b")).unwrap();
    let client = client(Trust::System, None, Proxies::default());
    let post = Post { url: &url, authorization: None, json: Bytes::from_static(b"{}"), max_body: 1 };
    let response = tokio::time::timeout(LONG, client.post(post)).await.unwrap().unwrap();
    assert_eq!((response.status, response.body), (418, Bytes::from_static(b"x")), "any status is an answer");
    let (head, body) = server.await.unwrap();
    assert!(head.starts_with("POST /a?b HTTP/1.1\r\n"), "{head}");
    assert_eq!(body, *b"{}");
}

/// Go: `http.ProxyURL`, unlike `http.ProxyFromEnvironment`.
#[tokio::test]
async fn a_fixed_proxy_is_on_the_way_to_this_host_too() {
    let authority = Authority::new();
    let server = Server::start(authority.server(), |_| answer(200, &[], "x")).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy_url = format!("http://127.0.0.1:{}", listener.local_addr().unwrap().port());
    let address = server.address;
    let proxy = tokio::spawn(async move { connect(listener.accept().await.unwrap().0, address).await });
    let pem = authority.pem();
    let proxies = Proxies::fixed(&proxy_url).unwrap();
    let client = client(Trust::Authorities(pem.as_bytes()), None, proxies);
    assert_eq!(got(&client, &Get::new(&url(&server.url("/")))).await, good("x"));
    drop(client);
    let head = tokio::time::timeout(LONG, proxy).await.unwrap().unwrap();
    assert!(head.starts_with(&format!("CONNECT localhost:{} ", address.port())), "{head}");
}
