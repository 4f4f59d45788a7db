//! The admin listener over TLS: whoever shows a certificate may ask more. Handshakes with the real program, by rustls and by
//! `countersign explain`.

use std::fs;
use std::time::Duration;

use rcgen::SanType;
use time::OffsetDateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::certificates::ca;
use crate::support::program::{PATIENCE, Server, countersign, until};
use crate::tls::{Pair, TLS12, TLS13, World, dns, issue, uri};

const TLS: [&str; 5] = [
    "--token-auth-file=tokens.csv",
    "--anonymous-auth=false",
    "--admin-tls-cert-file=cert.pem",
    "--admin-tls-private-key-file=key.pem",
    "--reload-interval=50ms",
];

const EVERYWHERE: &str = "--admin-listen=0.0.0.0:0";
const MUTUAL: &str = "--admin-tls-client-ca-file=clients.pem";

const REFUSED: &str = "only where --admin-listen is a loopback address, with a certificate of --admin-tls-client-ca-file, or with --enable-debugging-handlers\n";

fn world() -> World {
    let world = World::new();
    let names = ["authz.test", "localhost"].map(|name| SanType::DnsName(name.try_into().unwrap()));
    world.write_certificate(&issue(&world.servers, |params| params.subject_alt_names = names.to_vec()));
    fs::write(world.path().join("servers.pem"), world.servers.pem()).unwrap();
    fs::write(world.path().join("token"), "token-1").unwrap();
    world
}

fn start(world: &World, flags: &[&str]) -> Server {
    Server::start(world.path(), &[&TLS[..], flags].concat())
}

fn address(server: &Server) -> String {
    server.admin_address().replace("0.0.0.0", "127.0.0.1")
}

/// What a client is answered, who may have a certificate: status and body.
async fn asked(
    world: &World,
    server: &Server,
    client: Option<&Pair>,
    [method, path, body]: [&str; 3],
) -> Result<(u16, String), String> {
    let exchange = async {
        let mut connection = world.connect(&address(server), client, TLS13, b"http/1.1").await?;
        let length = body.len();
        let request = format!("{method} {path} HTTP/1.0\r\ncontent-length: {length}\r\n\r\n{body}");
        connection.write_all(request.as_bytes()).await.map_err(|error| error.to_string())?;
        let mut answer = String::new();
        connection.read_to_string(&mut answer).await.map_err(|error| error.to_string())?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        Ok((head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned()))
    };
    timeout(PATIENCE, exchange).await.unwrap()
}

/// Exit code, and what `countersign explain` prints.
fn explained(world: &World, server: &Server, client: Option<&Pair>) -> (Option<i32>, String) {
    let name = address(server).replace("127.0.0.1", "localhost");
    let mut flags = vec![format!("--server=https://{name}")];
    flags.extend(["--server-ca-file=servers.pem", "--token-file=token"].map(str::to_owned));
    if let Some((certificate, key)) = client {
        fs::write(world.path().join("ops.crt"), certificate).unwrap();
        fs::write(world.path().join("ops.key"), key).unwrap();
        flags.extend(["--server-cert-file=ops.crt", "--server-private-key-file=ops.key"].map(str::to_owned));
    }
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let output = countersign("explain", world.path(), &flags).output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code(), said.replace(&name, "server"))
}

/// kubelet and Prometheus have no certificate, and see what they have always seen.
#[tokio::test]
async fn who_shows_a_certificate_may_ask_everything_and_everybody_else_for_health_and_metrics() {
    let world = world();
    let server = start(&world, &[EVERYWHERE, MUTUAL]);
    let ops = issue(&world.clients, uri("spiffe://lab/ops"));
    for client in [None, Some(&ops)] {
        for page in ["/livez", "/readyz"] {
            assert_eq!(asked(&world, &server, client, ["GET", page, ""]).await, Ok((200, "ok".to_owned())));
        }
        assert_eq!(asked(&world, &server, client, ["GET", "/metrics", ""]).await.unwrap().0, 200);
    }
    let [configz, level] = [["GET", "/configz", ""], ["PUT", "/debug/flags/v", "info"]];
    for request in [configz, level] {
        assert_eq!(asked(&world, &server, None, request).await, Ok((403, REFUSED.to_owned())));
        assert_eq!(asked(&world, &server, Some(&ops), request).await.unwrap().0, 200);
    }
    assert_eq!(explained(&world, &server, None), (Some(2), format!("error: https://server: {REFUSED}")));
    let (code, said) = explained(&world, &server, Some(&ops));
    assert!(code == Some(0) && said.contains("alice"), "{said}");
    let mut plain = TcpStream::connect(address(&server)).await.unwrap();
    plain.write_all(b"GET /livez HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ended_or_reset = timeout(PATIENCE, plain.read_to_end(&mut answer)).await.unwrap();
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

/// Nor is one that is bad taken for none.
#[tokio::test]
async fn a_certificate_that_is_not_of_the_ca_ends_the_handshake() {
    let world = world();
    let named = "--admin-tls-allowed-client-names=spiffe://lab/ops,ops.test";
    let server = start(&world, &[EVERYWHERE, MUTUAL, named]);
    let page = ["GET", "/livez", ""];
    for good in [issue(&world.clients, uri("spiffe://lab/ops")), issue(&world.clients, dns("ops.test"))] {
        assert_eq!(asked(&world, &server, Some(&good), page).await, Ok((200, "ok".to_owned())));
    }
    assert_eq!(asked(&world, &server, None, page).await, Ok((200, "ok".to_owned())));
    let foreign = issue(&ca("clients"), uri("spiffe://lab/ops"));
    let expired = issue(&world.clients, |params| {
        uri("spiffe://lab/ops")(params);
        params.not_after = OffsetDateTime::now_utc() - Duration::from_secs(60);
    });
    for (bad, alert) in [
        (&foreign, "received fatal alert: DecryptError"),
        (&issue(&world.servers, uri("spiffe://lab/ops")), "received fatal alert: UnknownCA"),
        (&expired, "received fatal alert: CertificateExpired"),
        (&issue(&world.clients, uri("spiffe://lab/other")), "received fatal alert: AccessDenied"),
    ] {
        assert_eq!(asked(&world, &server, Some(bad), page).await, Err(alert.to_owned()));
        assert!(world.connect(&address(&server), Some(bad), TLS12, b"h2").await.is_err());
    }
}

/// Whoever is on this host sees its files as well. Without a CA no certificate is asked for.
#[tokio::test]
async fn without_a_client_ca_tls_changes_nothing_but_the_wire() {
    let world = world();
    let ops = issue(&world.clients, uri("spiffe://lab/ops"));
    let configz = ["GET", "/configz", ""];
    for (flags, status) in [
        (&["--admin-listen=127.0.0.1:0", MUTUAL][..], 200),
        (&[EVERYWHERE], 403),
        (&[EVERYWHERE, "--enable-debugging-handlers"], 200),
    ] {
        let server = start(&world, flags);
        for client in [None, Some(&ops).filter(|_| !flags.contains(&MUTUAL))] {
            assert_eq!(asked(&world, &server, client, configz).await.unwrap().0, status, "{flags:?}");
        }
    }
}

/// Clients that say nothing are in nobody's way either.
#[tokio::test]
async fn a_new_ca_counts_from_the_next_connection_and_old_ones_end_with_their_age() {
    let world = world();
    let mut server = start(&world, &[EVERYWHERE, MUTUAL, "--max-connection-age=3s"]);
    let ops = issue(&world.clients, uri("spiffe://lab/ops"));
    let mut silent = Vec::new();
    for _ in 0..50 {
        silent.push(TcpStream::connect(address(&server)).await.unwrap());
    }
    let mut connection = world.connect(&address(&server), Some(&ops), TLS13, b"http/1.1").await.unwrap();
    connection.write_all(b"GET /livez HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, connection.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\nok"), "{answer}");

    let configz = ["GET", "/configz", ""];
    assert_eq!(asked(&world, &server, Some(&ops), configz).await.unwrap().0, 200);
    let new = ca("clients");
    fs::write(world.path().join("clients.pem"), new.pem()).unwrap();
    server.wait_for("reloaded");
    until("the old CA has gone", async || asked(&world, &server, Some(&ops), configz).await.is_err()).await;
    let ops = issue(&new, uri("spiffe://lab/ops"));
    assert_eq!(asked(&world, &server, Some(&ops), configz).await.unwrap().0, 200);
}

#[test]
fn what_is_wrong_with_the_flags_is_said_at_once() {
    let world = world();
    let flags = [TLS[0], TLS[1], MUTUAL, "--admin-tls-private-key-file=cert.pem"];
    let output = countersign("check-config", world.path(), &flags).output().unwrap();
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "error: --admin-tls-private-key-file: needs --admin-tls-cert-file beside it\n\
         error: --admin-tls-client-ca-file: needs --admin-tls-cert-file beside it\n"
    );
    let lonely = [&TLS[..4], &["--admin-tls-allowed-client-names=ops.test"]].concat();
    let output = countersign("check-config", world.path(), &lonely).output().unwrap();
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "error: --admin-tls-allowed-client-names: needs --admin-tls-client-ca-file beside it\n"
    );
    let explain = |flags: &[&str]| {
        let output = countersign("explain", world.path(), flags).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(explain(&["--server=https://localhost:1", "--server-cert-file=cert.pem"]).0, Some(2));
    assert_eq!(
        explain(&["--server=localhost:1", "--server-ca-file=servers.pem"]),
        (
            Some(2),
            "error: --server: write it as https://host:port, or leave out the files for TLS\n".to_owned()
        )
    );
}
