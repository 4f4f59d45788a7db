//! The issuers of the recorded world, at the addresses that its tokens name.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::tls;

/// What `issuers/routes.json` holds.
#[derive(Deserialize)]
struct World {
    servers: Vec<Listener>,
}

#[derive(Deserialize)]
struct Listener {
    listen: String,
    cert: String,
    key: String,
    routes: BTreeMap<String, Route>,
}

#[derive(Deserialize)]
struct Route {
    status: u16,
    content_type: String,
    body: String,
    location: Option<String>,
    require_authorization: Option<String>,
}

/// The servers, until they are dropped.
pub(crate) struct Issuers {
    _tasks: JoinSet<()>,
}

impl Issuers {
    /// Serves the routes of `world`, a folder, over TLS.
    pub(crate) async fn start(world: &Path) -> Self {
        let routes: World =
            serde_json::from_str(&fs::read_to_string(world.join("issuers/routes.json")).unwrap()).unwrap();
        let mut tasks = JoinSet::new();
        for server in routes.servers {
            let certificates = CertificateDer::pem_file_iter(world.join(&server.cert)).unwrap();
            let key = PrivateKeyDer::from_pem_file(world.join(&server.key)).unwrap();
            let tls = tls::server(certificates.map(Result::unwrap).collect(), key);
            let listener = bind(&server.listen).await;
            tasks.spawn(listen(listener, TlsAcceptor::from(tls), Arc::new(server.routes)));
        }
        Self { _tasks: tasks }
    }
}

/// The world names these very ports, so whoever has them now is waited for: another run of these tests, half a minute at most.
pub(super) async fn bind(address: &str) -> TcpListener {
    for _ in 0..300 {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            bound => return bound.unwrap(),
        }
    }
    panic!("{address} is taken");
}

async fn listen(listener: TcpListener, acceptor: TlsAcceptor, routes: Arc<BTreeMap<String, Route>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (acceptor, routes) = (acceptor.clone(), Arc::clone(&routes));
        connections.spawn(async move {
            // Whoever does not trust the certificate goes away; that is one of the tests.
            let _gone = serve(&acceptor, stream, &routes).await;
        });
    }
}

/// Reads requests (HTTP/1.1) and answers them, until the other side has enough.
async fn serve(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
    routes: &BTreeMap<String, Route>,
) -> std::io::Result<()> {
    let mut stream = acceptor.accept(stream).await?;
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        stream.write_all(answer(&String::from_utf8(head).unwrap(), routes).as_bytes()).await?;
        stream.flush().await?;
    }
}

fn answer(head: &str, routes: &BTreeMap<String, Route>) -> String {
    let path = head.split(' ').nth(1).unwrap();
    let fields = head.lines().filter_map(|line| line.split_once(": "));
    let authorization =
        fields.filter(|(name, _)| name.eq_ignore_ascii_case("authorization")).map(|(_, value)| value).next();
    let Some(route) = routes.get(path) else { return whole(404, "", "text/plain", "not found") };
    if route.require_authorization.as_deref().is_some_and(|required| authorization != Some(required)) {
        return whole(403, "", "text/plain", "forbidden");
    }
    let location = route.location.as_ref().map(|to| format!("location: {to}\r\n")).unwrap_or_default();
    whole(route.status, &location, &route.content_type, &route.body)
}

fn whole(status: u16, more: &str, content_type: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} x\r\n{more}content-type: {content_type}\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}
