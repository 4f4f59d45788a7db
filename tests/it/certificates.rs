//! Client certificates and front proxies over the real listener. Verdicts on certificates as such are in the recorded vectors.

use std::fs;
use std::path::Path;
use std::time::Duration;

use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use envoy_types::pb::envoy::service::auth::v3::attribute_context::Peer;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use rcgen::{
    CertificateRevocationListParams, ExtendedKeyUsagePurpose, KeyIdMethod, RevokedCertParams, SanType,
};
use tempfile::TempDir;
use time::OffsetDateTime;

use crate::message::{get, verdict};
use crate::support::envoy::{element, url_encoded};
use crate::support::program::{Server, until};

pub(crate) type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca_params(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

pub(crate) fn ca(name: &str) -> Ca {
    CertifiedIssuer::self_signed(ca_params(name), KeyPair::generate().unwrap()).unwrap()
}

pub(crate) fn client(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationName, "dev");
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

pub(crate) fn issue(params: &CertificateParams, ca: &Ca) -> rcgen::Certificate {
    params.signed_by(&KeyPair::generate().unwrap(), ca).unwrap()
}

/// PEM with unix line ends, as Envoy writes it.
pub(crate) fn pem(certificate: &rcgen::Certificate) -> String {
    certificate.pem().replace("\r\n", "\n")
}

fn forwarded(certificate: &rcgen::Certificate) -> String {
    element(&[pem(certificate)])
}

/// A request over TLS with this certificate, however Envoy came by it.
pub(crate) fn with_certificate(certificate: String, headers: &[(&str, &str)]) -> CheckRequest {
    let headers: Vec<(&str, &[u8])> = headers.iter().map(|(n, v)| (*n, v.as_bytes())).collect();
    let mut request = get("/", &headers);
    let principal = "CN=admin,O=system:masters".to_owned();
    request.attributes.as_mut().unwrap().source = Some(Peer { certificate, principal, ..Default::default() });
    request
}

struct World {
    folder: TempDir,
    clients: Ca,
    proxies: Ca,
}

impl World {
    fn new() -> Self {
        let world =
            Self { folder: tempfile::tempdir().unwrap(), clients: ca("clients"), proxies: ca("proxies") };
        fs::write(world.path().join("clients.pem"), world.clients.pem()).unwrap();
        fs::write(world.path().join("proxies.pem"), world.proxies.pem()).unwrap();
        fs::write(world.path().join("tokens.csv"), "token-1,alice,1\n").unwrap();
        world
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }
}

fn xfcc(value: &str) -> [(&str, &str); 1] {
    [("x-forwarded-client-cert", value)]
}

const X509: [&str; 2] = ["--client-ca-file=clients.pem", "--token-auth-file=tokens.csv"];
const TOKEN: (&str, &str) = ("authorization", "Bearer token-1");

async fn ask(server: &Server, request: CheckRequest) -> Result<String, i32> {
    verdict(server.client().await.check(request).await.unwrap().get_ref())
}

/// S30: whatever Envoy made of the certificate, we verify it; the principal is what Envoy makes of it and means nothing.
#[tokio::test]
async fn a_certificate_is_believed_if_our_ca_vouches_for_it_and_not_otherwise() {
    let world = World::new();
    let server = Server::start(world.path(), &X509);
    let good = url_encoded(&pem(&issue(&client("bob"), &world.clients)));
    assert_eq!(ask(&server, with_certificate(good.clone(), &[])).await, Ok("bob".to_owned()));
    assert_eq!(
        ask(&server, with_certificate(good, &[TOKEN])).await,
        Ok("bob".to_owned()),
        "before any token"
    );
    let foreign = url_encoded(&pem(&issue(&client("admin"), &ca("clients"))));
    assert_eq!(ask(&server, with_certificate(foreign.clone(), &[])).await, Err(401), "never anonymous");
    assert_eq!(ask(&server, with_certificate(foreign, &[TOKEN])).await, Ok("alice".to_owned()));
    assert_eq!(ask(&server, with_certificate(String::new(), &[])).await, Ok("system:anonymous".to_owned()));
}

/// kube-apiserver ends the handshake, so a good token is of no help.
#[tokio::test]
async fn a_certificate_that_cannot_be_read_refuses_the_request() {
    let world = World::new();
    let server = Server::start(world.path(), &X509);
    let good = url_encoded(&pem(&issue(&client("bob"), &world.clients)));
    let refused = [
        "garbage".to_owned(),
        "%".to_owned(),
        good[..good.len() - 10].to_owned(),
        format!("{good}{good}"),
        format!("{good}x"),
        format!("x{good}"),
        good.replace("%0A", "%0D%0A"),
        good.replace("%20", "+"),
        good.replace("MII", "MIA"),
    ];
    for certificate in refused {
        assert_eq!(
            ask(&server, with_certificate(certificate.clone(), &[TOKEN])).await,
            Err(401),
            "{certificate}"
        );
    }
}

/// S29 (envoy#794): off unless asked for, and then exactly what Envoy writes, about the certificate beside it.
#[tokio::test]
async fn the_forwarded_certificate_is_read_only_where_it_is_trusted() {
    let world = World::new();
    let (bob, admin) = (issue(&client("bob"), &world.clients), issue(&client("admin"), &world.clients));
    let (leaf, about_bob, about_admin) = (url_encoded(&pem(&bob)), forwarded(&bob), forwarded(&admin));

    let default = Server::start(world.path(), &X509);
    let asked = ask(&default, with_certificate(String::new(), &xfcc(&about_admin))).await;
    assert_eq!(asked, Ok("system:anonymous".to_owned()));
    assert_eq!(
        ask(&default, with_certificate(leaf.clone(), &xfcc(&about_admin))).await,
        Ok("bob".to_owned())
    );

    let one = Server::start(world.path(), &[X509[0], X509[1], "--xfcc-trusted-hops=1"]);
    assert_eq!(ask(&one, with_certificate(leaf.clone(), &xfcc(&about_bob))).await, Ok("bob".to_owned()));
    assert_eq!(
        ask(&one, with_certificate(String::new(), &xfcc(&about_bob))).await,
        Err(401),
        "a certificate is no secret"
    );
    assert_eq!(ask(&one, with_certificate(leaf.clone(), &[])).await, Ok("bob".to_owned()));
    let two = format!("{about_admin},{about_bob}");
    for forged in [&*about_admin, &two, &about_bob.replace("Cert=", "Subject=\"x\";Cert="), "x"] {
        assert_eq!(ask(&one, with_certificate(leaf.clone(), &xfcc(forged))).await, Err(401), "{forged}");
    }
    let wrong_hash =
        about_admin.split(';').next().unwrap().to_owned() + &about_bob[about_bob.find(';').unwrap()..];
    assert_eq!(ask(&one, with_certificate(leaf.clone(), &xfcc(&wrong_hash))).await, Err(401));

    // Two hops: the first wrote about the client, the second about the first.
    let hops = Server::start(world.path(), &[X509[0], X509[1], "--xfcc-trusted-hops=2"]);
    assert_eq!(ask(&hops, with_certificate(leaf.clone(), &xfcc(&two))).await, Ok("admin".to_owned()));
    let no_client = ask(&hops, with_certificate(leaf.clone(), &xfcc(&about_bob))).await;
    assert_eq!(no_client, Ok("system:anonymous".to_owned()), "a proxy's certificate is not its client's");
    assert_eq!(ask(&hops, with_certificate(leaf, &[])).await, Ok("system:anonymous".to_owned()));
}

/// What is remembered of an intermediate is its key and who has signed that.
#[tokio::test]
async fn a_remembered_intermediate_vouches_for_those_that_it_has_signed() {
    let world = World::new();
    let intermediate = |issuer: &Ca| {
        let params = ca_params("intermediate");
        CertifiedIssuer::signed_by(params, KeyPair::generate().unwrap(), issuer).unwrap()
    };
    let (ours, theirs) = (intermediate(&world.clients), intermediate(&world.proxies));
    let server = Server::start(world.path(), &[X509[0], X509[1], "--xfcc-trusted-hops=1"]);
    let present = async |name: &str, by: &Ca, with: &Ca| {
        let leaf = pem(&issue(&client(name), by));
        let forwarded = element(&[leaf.clone(), pem(with.as_ref())]);
        ask(&server, with_certificate(url_encoded(&leaf), &xfcc(&forwarded))).await
    };
    for _ in 0..2 {
        assert_eq!(present("bob", &ours, &ours).await, Ok("bob".to_owned()));
        assert_eq!(present("eve", &ours, &ours).await, Ok("eve".to_owned()));
        assert_eq!(present("eve", &theirs, &ours).await, Err(401));
        assert_eq!(present("eve", &theirs, &theirs).await, Err(401));
        assert_eq!(present("bob", &ours, &theirs).await, Err(401));
    }
    // Only what was good, and one intermediate for the four.
    let (_, page) = server.admin_page("/metrics").await;
    for entries in ["{kind=\"intermediate\"} 1\n", "{kind=\"leaf\"} 4\n"] {
        assert!(page.contains(&format!("countersign_certificate_cache_entries{entries}")), "{page}");
    }
}

/// S13, and that nobody behind us reads what was meant for us.
#[tokio::test]
async fn what_a_front_proxy_wrote_goes_no_further() {
    let world = World::new();
    let flags = [
        "--requestheader-client-ca-file=proxies.pem",
        "--requestheader-allowed-names=front",
        "--requestheader-username-headers=X-Remote-User,X-Front-User",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-,X-Front-",
        "--xfcc-trusted-hops=1",
    ];
    let server = Server::start(world.path(), &flags);
    let front = url_encoded(&pem(&issue(&client("front"), &world.proxies)));
    let headers = [("x-front-user", "carol"), ("x-front-team", "blue"), ("x-remote-group", "ops")];
    let response = server.client().await.check(with_certificate(front, &headers)).await.unwrap().into_inner();
    assert_eq!(verdict(&response), Ok("carol".to_owned()));
    let Some(envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse::OkResponse(ok)) =
        response.http_response
    else {
        panic!("not OK")
    };
    let set: Vec<(String, String)> =
        ok.headers.into_iter().filter_map(|h| h.header).map(|h| (h.key, h.value)).collect();
    let line = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        set,
        [
            line("x-remote-user", "carol"),
            line("x-remote-group", "ops,system:authenticated"),
            line("x-remote-extra-team", "blue"),
            line("x-remote-extra-user", "carol"),
        ]
    );
    assert_eq!(
        ok.headers_to_remove,
        ["authorization", "x-forwarded-client-cert", "x-front-user", "x-remote-uid", "x-front-team"]
    );
    // An ordinary certificate, or a proxy of another name, proves nothing.
    for certificate in [issue(&client("front"), &world.clients), issue(&client("other"), &world.proxies)] {
        let asked = ask(&server, with_certificate(url_encoded(&pem(&certificate)), &headers)).await;
        assert_eq!(asked, Err(401));
    }
}

/// S14 (kubernetes#118980, finding 5).
#[test]
fn one_ca_for_clients_and_proxies_needs_allowed_names() {
    let world = World::new();
    let flags = ["--client-ca-file=clients.pem", "--requestheader-client-ca-file=clients.pem"];
    let check = |flags: &[&str]| {
        crate::support::program::countersign("check-config", world.path(), flags).output().unwrap()
    };
    let refused = check(&flags);
    assert_eq!(refused.status.code(), Some(1));
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(
        said.contains("overlapping certificates; --requestheader-allowed-names must be specified"),
        "{said}"
    );
    assert!(check(&[&flags[..], &["--requestheader-allowed-names=front"]].concat()).status.success());
}

/// S19: what is remembered is never believed past the certificate's own end. A life that is over before the first question is made longer.
#[tokio::test]
async fn a_remembered_certificate_ends_when_it_expires() {
    let world = World::new();
    let server = Server::start(world.path(), &X509);
    for seconds in [3, 6, 12] {
        let mut short = client("bob");
        short.not_after = OffsetDateTime::now_utc() + Duration::from_secs(seconds);
        let certificate = url_encoded(&pem(&issue(&short, &world.clients)));
        let mut times = 0;
        until("it is believed no more", async || {
            let verdict = ask(&server, with_certificate(certificate.clone(), &[])).await;
            times += usize::from(verdict == Ok("bob".to_owned()));
            verdict == Err(401)
        })
        .await;
        let end = short.not_after.replace_nanosecond(0).unwrap();
        assert!(OffsetDateTime::now_utc() >= end, "not before its time");
        if times > 1 {
            return;
        }
    }
    panic!("never believed twice");
}

/// S27 (CVE-2025-66220): a name with a NUL or another control character is nobody's.
#[tokio::test]
async fn control_characters_in_names_deny() {
    let world = World::new();
    let server = Server::start(world.path(), &X509);
    let mut nul_group = client("bob");
    nul_group.distinguished_name.push(DnType::OrganizationName, "dev\0");
    for params in [client("admin\0.example.test"), client("a\u{1}"), nul_group] {
        let certificate = url_encoded(&pem(&issue(&params, &world.clients)));
        assert_eq!(ask(&server, with_certificate(certificate, &[])).await, Err(401));
    }
    let mut san = client("bob");
    san.subject_alt_names = vec![SanType::URI("spiffe://lab/x;Subject=CN=admin".try_into().unwrap())];
    let certificate = url_encoded(&pem(&issue(&san, &world.clients)));
    assert_eq!(
        ask(&server, with_certificate(certificate, &[])).await,
        Ok("bob".to_owned()),
        "SANs name nobody"
    );
}

/// RFC 5280, section 5; beyond Kubernetes, which asks no list, so nobody else is found in such a request.
#[tokio::test]
async fn a_certificate_that_is_revoked_is_refused_from_the_reload_on() {
    let world = World::new();
    let now = OffsetDateTime::now_utc();
    let list = |ca: &Ca, serials: &[u64], next_update: OffsetDateTime| {
        let revoked_certs = serials.iter().map(|serial| RevokedCertParams {
            serial_number: (*serial).into(),
            revocation_time: now - Duration::from_secs(60),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: now - Duration::from_secs(3600),
            next_update,
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(ca).unwrap()
    };
    let tomorrow = now + Duration::from_secs(86_400);
    let write = |name: &str, text: &[u8]| {
        fs::write(world.path().join("new"), text).unwrap();
        fs::rename(world.path().join("new"), world.path().join(name)).unwrap();
    };
    write("clients.crl", list(&world.clients, &[], tomorrow).pem().unwrap().as_bytes());
    write("proxies.crl", list(&world.proxies, &[8], tomorrow).der());
    let flags = [
        "--client-crl-file=clients.crl",
        "--client-crl-file=proxies.crl",
        "--requestheader-client-ca-file=proxies.pem",
        "--requestheader-username-headers=X-Remote-User",
        "--reload-interval=50ms",
    ];
    let mut server = Server::start(world.path(), &[&X509[..], &flags].concat());
    let certificate = |ca: &Ca, serial: u64| {
        let mut params = client("bob");
        params.serial_number = Some(serial.into());
        url_encoded(&pem(&issue(&params, ca)))
    };
    let (bob, proxy) = (certificate(&world.clients, 7), certificate(&world.proxies, 8));
    let carol = [("x-remote-user", "carol")];
    assert_eq!(ask(&server, with_certificate(bob.clone(), &[])).await, Ok("bob".to_owned()));
    let with_token = [carol[0], TOKEN];
    assert_eq!(
        ask(&server, with_certificate(proxy, &with_token)).await,
        Err(401),
        "a proxy can be revoked too"
    );
    assert_eq!(server.wait_for("denied")["fields"]["rejected"], "requestheader: certificate_revoked");
    let good_proxy = certificate(&world.proxies, 9);
    assert_eq!(ask(&server, with_certificate(good_proxy.clone(), &carol)).await, Ok("carol".to_owned()));

    write("clients.crl", list(&world.clients, &[7], tomorrow).pem().unwrap().as_bytes());
    server.wait_for("reloaded");
    assert_eq!(
        ask(&server, with_certificate(bob.clone(), &[TOKEN])).await,
        Err(401),
        "although it was remembered, and the token is good: to kube-apiserver this is bob"
    );
    assert_eq!(
        server.wait_for("denied")["fields"]["rejected"],
        "requestheader: untrusted_certificate, x509: certificate_revoked"
    );

    // Signed by somebody else of that name: not taken, and the list before goes on.
    write("clients.crl", list(&ca("clients"), &[], tomorrow).pem().unwrap().as_bytes());
    let refused = server.wait_for("not reloaded; the old configuration goes on serving");
    let problem =
        "--client-crl-file: clients.crl: revocation list 1: not signed by the CA of its issuer's name";
    assert_eq!(refused["fields"]["error"], problem);
    assert_eq!(ask(&server, with_certificate(bob, &[])).await, Err(401));

    // Out of date: still heard, and told of when the time has come.
    let soon = OffsetDateTime::now_utc() + Duration::from_secs(2);
    write("clients.crl", list(&world.clients, &[7], soon).pem().unwrap().as_bytes());
    server.wait_for("reloaded");
    server.wait_for("--client-crl-file: clients.crl: a revocation list is past its next update");
    let next_update =
        format!("countersign_client_crl_next_update_timestamp_seconds {}\n", soon.unix_timestamp());
    let (_, metrics) = server.admin_page("/metrics").await;
    assert!(metrics.contains(&next_update), "{metrics}");
    let other = certificate(&world.clients, 10);
    assert_eq!(ask(&server, with_certificate(other.clone(), &[])).await, Ok("bob".to_owned()));
    let strict = [&X509[..], &flags, &["--client-crl-require-current"]].concat();
    let mut strict = Server::start(world.path(), &strict);
    assert_eq!(ask(&strict, with_certificate(other, &[TOKEN])).await, Err(401));
    let denied = strict.wait_for("denied");
    assert_eq!(
        denied["fields"]["rejected"],
        "requestheader: untrusted_certificate, x509: revocation_list_expired"
    );
    assert_eq!(ask(&strict, with_certificate(good_proxy, &carol)).await, Ok("carol".to_owned()));
}
