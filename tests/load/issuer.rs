//! An OpenID Connect issuer: it tells countersign, over TLS, where its keys are.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use rcgen::CertifiedKey;
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use crate::tls;

/// Serves until the process ends: several issuers, one in each folder.
pub(crate) struct Issuers {
    pub(crate) address: String,
    /// Its certificate, which is its own authority, PEM.
    pub(crate) authority: String,
    routes: Arc<Mutex<Routes>>,
}

/// Documents by their paths.
type Routes = BTreeMap<String, String>;

impl Issuers {
    /// Starts `count` issuers that have the keys `few`. The first one has another discovery document, under [`MANY`], which leads
    /// to the keys `many`.
    pub(crate) fn start(count: usize, few: &Value, many: &Value) -> Self {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let tls = tls::server(vec![cert.der().clone()], key);
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let issuers = Self { address, authority: cert.pem(), routes: Arc::default() };
        let routes = Arc::clone(&issuers.routes);
        *routes.lock().unwrap() = issuers.routes(count, few, many);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (tls, routes) = (Arc::clone(&tls), Arc::clone(&routes));
                std::thread::spawn(move || answer(tls, stream.unwrap(), &routes));
            }
        });
        issuers
    }

    /// The URL of one of them, counted from 0.
    pub(crate) fn url(&self, number: usize) -> String {
        format!("https://{}/{number}", self.address)
    }

    /// From now on they have these keys.
    pub(crate) fn publish(&self, few: &Value) {
        self.routes.lock().unwrap().insert(KEYS.to_owned(), few.to_string());
    }

    fn routes(&self, count: usize, few: &Value, many: &Value) -> Routes {
        let mut routes = Routes::from([(KEYS.to_owned(), few.to_string())]);
        routes.insert("/many-keys".to_owned(), many.to_string());
        let discovery = |number, keys: &str| {
            json!({"issuer": self.url(number), "jwks_uri": format!("https://{}{keys}", self.address)})
                .to_string()
        };
        routes.insert(MANY.to_owned(), discovery(0, "/many-keys"));
        for number in 0..count {
            routes.insert(format!("/{number}/.well-known/openid-configuration"), discovery(number, KEYS));
        }
        routes
    }
}

/// Where the keys are.
const KEYS: &str = "/keys";

/// Where the first issuer's other discovery document is.
pub(crate) const MANY: &str = "/many";

/// One request, and the end of the connection.
fn answer(tls: Arc<ServerConfig>, stream: TcpStream, routes: &Mutex<Routes>) {
    let mut stream = StreamOwned::new(ServerConnection::new(tls).unwrap(), stream);
    let head: Vec<String> =
        BufReader::new(&mut stream).lines().map_while(Result::ok).take_while(|l| !l.is_empty()).collect();
    let path = head.first().and_then(|line| line.split(' ').nth(1)).unwrap_or_default();
    let found = routes.lock().unwrap().get(path).cloned();
    let (status, body) = found.map_or((404, String::new()), |body| (200, body));
    let length = body.len();
    // Nothing is to be fetched again while calls are measured.
    let head = format!(
        "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncache-control: max-age=3600\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    // Whoever has gone away has no answer.
    stream.write_all((head + &body).as_bytes()).ok();
    stream.conn.send_close_notify();
    stream.flush().ok();
}
