//! TLS on our own listener: handshakes with the real program, by rustls.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, SanType};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::certificates::{Ca, ca};
use crate::message::{get, verdict};
use crate::support::program::{PATIENCE, Server, countersign, until};

/// Certificate and key in PEM.
pub(crate) type Pair = (String, String);

pub(crate) fn issue(ca: &Ca, change: impl FnOnce(&mut CertificateParams)) -> Pair {
    let mut params = CertificateParams::default();
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, ca).unwrap().pem(), key.serialize_pem())
}

pub(crate) fn uri(name: &str) -> impl FnOnce(&mut CertificateParams) {
    let name = SanType::URI(name.try_into().unwrap());
    |params| params.subject_alt_names = vec![name]
}

pub(crate) fn dns(name: &str) -> impl FnOnce(&mut CertificateParams) {
    let name = SanType::DnsName(name.try_into().unwrap());
    |params| params.subject_alt_names = vec![name]
}

/// A folder with a CA for servers, one for clients, and the program's certificate.
pub(crate) struct World {
    folder: TempDir,
    pub(crate) servers: Ca,
    pub(crate) clients: Ca,
}

impl World {
    pub(crate) fn new() -> Self {
        let world =
            Self { folder: tempfile::tempdir().unwrap(), servers: ca("servers"), clients: ca("clients") };
        fs::write(world.path().join("tokens.csv"), "token-1,alice,1\n").unwrap();
        fs::write(world.path().join("clients.pem"), world.clients.pem()).unwrap();
        world.write_certificate(&issue(&world.servers, dns("authz.test")));
        world
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn write_certificate(&self, (certificate, key): &Pair) {
        fs::write(self.path().join("key.pem"), key).unwrap();
        fs::write(self.path().join("cert.pem"), certificate).unwrap();
    }

    /// A connection. In TLS 1.3 a client takes a handshake for done before the server has seen its certificate.
    pub(crate) async fn connect(
        &self,
        address: &str,
        client: Option<&Pair>,
        version: &'static SupportedProtocolVersion,
        protocol: &[u8],
    ) -> Result<TlsStream<TcpStream>, String> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.servers.pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(&[version]).unwrap().with_root_certificates(roots);
        let mut config = match client {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        let tcp = TcpStream::connect(address).await.unwrap();
        let name = ServerName::try_from("authz.test").unwrap();
        let connected = TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
        connected.map_err(|error| error.to_string())
    }

    /// A handshake, and the end of the connection that the server may still make.
    async fn handshake(
        &self,
        server: &Server,
        client: Option<&Pair>,
        version: &'static SupportedProtocolVersion,
    ) -> Result<CertificateDer<'static>, String> {
        let mut connection = self.connect(&server.address, client, version, b"h2").await?;
        // An HTTP/2 server speaks first: SETTINGS, or the alert.
        let mut first = [0; 9];
        let read = timeout(PATIENCE, connection.read_exact(&mut first)).await.unwrap();
        read.map_err(|error| error.to_string())?;
        let chain = connection.get_ref().1.peer_certificates().unwrap();
        Ok(chain[0].clone().into_owned())
    }

    async fn channel(
        &self,
        server: &Server,
        client: Option<&Pair>,
    ) -> Result<Channel, tonic::transport::Error> {
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(self.servers.pem()))
            .domain_name("authz.test");
        if let Some((certificate, key)) = client {
            tls = tls.identity(Identity::from_pem(certificate, key));
        }
        let endpoint = Endpoint::from_shared(format!("https://{}", server.address)).unwrap();
        endpoint.tls_config(tls).unwrap().timeout(PATIENCE).connect().await
    }
}

async fn alice(channel: Channel) -> Result<String, i32> {
    let request = get("/", &[("authorization", b"Bearer token-1")]);
    verdict(AuthorizationClient::new(channel).check(request).await.unwrap().get_ref())
}

const TLS: [&str; 4] = [
    "--token-auth-file=tokens.csv",
    "--tls-cert-file=cert.pem",
    "--tls-private-key-file=key.pem",
    "--reload-interval=50ms",
];

pub(crate) const TLS12: &SupportedProtocolVersion = &rustls::version::TLS12;
pub(crate) const TLS13: &SupportedProtocolVersion = &rustls::version::TLS13;

#[tokio::test]
async fn with_a_certificate_the_listener_speaks_tls_and_nothing_else() {
    let world = World::new();
    let server = Server::start(world.path(), &TLS);
    assert_eq!(alice(world.channel(&server, None).await.unwrap()).await, Ok("alice".to_owned()));
    assert!(world.handshake(&server, None, TLS12).await.is_ok());
    assert!(world.handshake(&server, None, TLS13).await.is_ok());
    let plain = Endpoint::from_shared(format!("http://{}", server.address)).unwrap().timeout(PATIENCE);
    let mut plain = AuthorizationClient::new(plain.connect().await.unwrap());
    assert!(plain.check(get("/", &[])).await.is_err(), "plaintext");

    let strict = Server::start(world.path(), &[&TLS[..], &["--tls-min-version=VersionTLS13"]].concat());
    assert!(world.handshake(&strict, None, TLS13).await.is_ok());
    let refused = world.handshake(&strict, None, TLS12).await;
    assert_eq!(refused, Err("received fatal alert: ProtocolVersion".to_owned()));
}

/// How many handshakes have failed, as the metrics say.
async fn handshake_errors(server: &Server) -> u64 {
    let (_, page) = server.admin_page("/metrics").await;
    let count = page.lines().find_map(|line| line.strip_prefix("apiserver_tls_handshake_errors_total "));
    count.unwrap().parse().unwrap()
}

/// A client that says nothing, and one that speaks plaintext. Go: `tlsHandshakeErrorWriter` counts both.
#[tokio::test]
async fn handshakes_that_never_end_are_counted_like_those_that_fail() {
    let world = World::new();
    let server = Server::start(world.path(), &TLS);
    assert!(world.handshake(&server, None, TLS13).await.is_ok());
    assert_eq!(handshake_errors(&server).await, 0);
    let mut plain = TcpStream::connect(&server.address).await.unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    until("plaintext is counted", async || handshake_errors(&server).await == 1).await;
    let mut silent = TcpStream::connect(&server.address).await.unwrap();
    let read = timeout(PATIENCE, silent.read(&mut [0; 1])).await.unwrap();
    assert_eq!(read.unwrap(), 0, "it has had its time");
    until("silence is counted", async || handshake_errors(&server).await == 2).await;
}

/// S40: a handshake proves who asks; a certificate that is foreign, missing, expired or another's proves nothing.
#[tokio::test]
async fn only_clients_with_a_certificate_of_the_ca_get_through_the_handshake() {
    let world = World::new();
    let server = Server::start(world.path(), &[&TLS[..], &["--tls-client-ca-file=clients.pem"]].concat());
    let good = issue(&world.clients, uri("spiffe://lab/envoy"));
    let asked = alice(world.channel(&server, Some(&good)).await.unwrap()).await;
    assert_eq!(asked, Ok("alice".to_owned()));

    let foreign = issue(&ca("clients"), uri("spiffe://lab/envoy"));
    let own = issue(&world.servers, uri("spiffe://lab/envoy"));
    let expired = issue(&world.clients, |params| {
        params.not_after = OffsetDateTime::now_utc() - Duration::from_secs(60);
    });
    let other_purpose = issue(&world.clients, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    for version in [TLS12, TLS13] {
        assert!(world.handshake(&server, Some(&good), version).await.is_ok());
        for (client, alert) in [
            (None, "received fatal alert: CertificateRequired"),
            (Some(&foreign), "received fatal alert: DecryptError"),
            (Some(&own), "received fatal alert: UnknownCA"),
            (Some(&expired), "received fatal alert: CertificateExpired"),
            (Some(&other_purpose), "received fatal alert: UnsupportedCertificate"),
        ] {
            assert_eq!(world.handshake(&server, client, version).await, Err(alert.to_owned()), "{version:?}");
        }
    }
    until("all of them are counted", async || handshake_errors(&server).await == 10).await;
}

/// The names of a SPIFFE id or a service: whoever has another certificate of the same CA is nobody here.
#[tokio::test]
async fn allowed_names_are_uris_and_dns_names_of_the_client() {
    let world = World::new();
    let flags = [
        "--tls-client-ca-file=clients.pem",
        "--tls-allowed-client-names=spiffe://lab/ns/edge/sa/envoy,envoy.edge.svc",
    ];
    let server = Server::start(world.path(), &[&TLS[..], &flags].concat());
    for allowed in [
        issue(&world.clients, uri("spiffe://lab/ns/edge/sa/envoy")),
        issue(&world.clients, dns("envoy.edge.svc")),
    ] {
        assert!(world.handshake(&server, Some(&allowed), TLS13).await.is_ok());
    }
    let common_name = issue(&world.clients, |params| {
        params.distinguished_name.push(DnType::CommonName, "envoy.edge.svc");
    });
    let email = issue(&world.clients, |params| {
        params.subject_alt_names = vec![SanType::Rfc822Name("envoy.edge.svc".try_into().unwrap())];
    });
    let others =
        ["spiffe://lab/ns/edge/sa/envoy2", "spiffe://lab/ns/edge/sa/envoy/", "spiffe://LAB/ns/edge/sa/envoy"];
    let others = others.map(|name| issue(&world.clients, uri(name)));
    let foreign = issue(&ca("clients"), uri("spiffe://lab/ns/edge/sa/envoy"));
    for refused in others.iter().chain([
        &issue(&world.clients, dns("*.edge.svc")),
        &issue(&world.clients, dns("sub.envoy.edge.svc")),
        &common_name,
        &email,
        &foreign,
    ]) {
        assert!(world.handshake(&server, Some(refused), TLS13).await.is_err());
    }
}

#[tokio::test]
async fn a_new_certificate_is_shown_to_new_connections_and_ends_none() {
    let world = World::new();
    let mut server = Server::start(world.path(), &[&TLS[..], &["--tls-client-ca-file=clients.pem"]].concat());
    let client = issue(&world.clients, dns("envoy.test"));
    let old = world.handshake(&server, Some(&client), TLS13).await.unwrap();
    let lasting = world.channel(&server, Some(&client)).await.unwrap();

    let renewed = issue(&world.servers, dns("authz.test"));
    world.write_certificate(&renewed);
    server.wait_for("reloaded");
    // The two files are two changes: until both are there, the old pair serves.
    let renewed = CertificateDer::from_pem_slice(renewed.0.as_bytes()).unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    while world.handshake(&server, Some(&client), TLS13).await != Ok(renewed.clone()) {
        assert!(std::time::Instant::now() < deadline, "still the old certificate");
    }
    assert_ne!(old, renewed);
    assert_eq!(alice(lasting.clone()).await, Ok("alice".to_owned()));

    fs::write(world.path().join("cert.pem"), "x").unwrap();
    let refused = server.wait_for("not reloaded; the old configuration goes on serving");
    let error = "--tls-cert-file: cert.pem: no PEM block of type CERTIFICATE";
    assert_eq!(refused["fields"]["error"], error);
    assert_eq!(world.handshake(&server, Some(&client), TLS13).await, Ok(renewed));

    // A client CA that is withdrawn lets nobody in any more.
    world.write_certificate(&issue(&world.servers, dns("authz.test")));
    fs::write(world.path().join("clients.pem"), ca("clients").pem()).unwrap();
    let deadline = std::time::Instant::now() + PATIENCE;
    while world.handshake(&server, Some(&client), TLS13).await.is_ok() {
        assert!(std::time::Instant::now() < deadline, "still let in");
    }
    assert_eq!(
        alice(lasting).await,
        Ok("alice".to_owned()),
        "what was let in stays, until --max-connection-age"
    );
}

/// A client that says nothing holds nobody up, and is not waited for when the server ends.
#[tokio::test]
async fn a_client_that_never_finishes_its_handshake_is_in_nobodys_way() {
    let world = World::new();
    let mut server = Server::start(world.path(), &[&TLS[..], &["--shutdown-delay-duration=0s"]].concat());
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(&server.address).await.unwrap());
    }
    assert!(world.handshake(&server, None, TLS13).await.is_ok());
    server.signal("TERM");
    assert!(server.ended().await.success());
}

#[test]
fn what_is_wrong_with_the_tls_flags_is_said_at_once() {
    let world = World::new();
    fs::write(world.path().join("other.pem"), issue(&world.servers, dns("x")).1).unwrap();
    let errors = |flags: &[&str]| {
        let flags = [&["--token-auth-file=tokens.csv"], flags].concat();
        let output = countersign("check-config", world.path(), &flags).output().unwrap();
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(
        errors(&["--tls-cert-file=cert.pem", "--tls-allowed-client-names=x"]),
        "error: --tls-cert-file: needs --tls-private-key-file beside it\n\
         error: --tls-allowed-client-names: needs --tls-client-ca-file beside it\n"
    );
    assert_eq!(
        errors(&["--tls-cert-file=cert.pem", "--tls-private-key-file=other.pem"]),
        "error: --tls-private-key-file: other.pem: does not go with the certificate: keys may not be consistent: KeyMismatch\n"
    );
    assert_eq!(
        errors(&["--tls-cert-file=key.pem", "--tls-private-key-file=cert.pem", "--listen=unix:/x"]),
        "error: --tls-cert-file: key.pem: no PEM block of type CERTIFICATE\n\
         error: --tls-cert-file: a unix socket is served in plaintext; remove one of the two\n"
    );
    assert_eq!(
        errors(&["--tls-cert-file=cert.pem", "--tls-private-key-file=cert.pem"]),
        "error: --tls-private-key-file: cert.pem: no private key in PEM (PKCS #8, PKCS #1 or SEC 1)\n"
    );
    assert_eq!(
        errors(&["--tls-cert-file=cert.pem", "--tls-private-key-file=key.pem", "--listen=0.0.0.0:0"]),
        ""
    );
}
