//! A request of a client, as Envoy describes it in a `CheckRequest`. Built with envoy-types' complete messages, so that
//! nothing here shares code with the server under test.

use std::collections::HashMap;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use envoy_types::pb::envoy::config::core::v3::address::Address as AnyAddress;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, HeaderMap, HeaderValue, Metadata, SocketAddress};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{
    HttpRequest, Peer, Request as Attributes,
};
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use envoy_types::pb::google::protobuf::Timestamp;

/// What a client sends, header lines in order and repeated ones included.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    /// What the client presented in TLS, leaf first, as PEM.
    pub(crate) certificates: Vec<String>,
    /// The key of the first, where the request goes over TLS: PEM.
    pub(crate) key: Option<String>,
}

impl Request {
    /// The values of a header, one for each line.
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        self.headers
            .iter()
            .filter(move |(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_slice())
    }
}

impl Request {
    /// Whether the joined encoding cannot show what the client sent: several lines of one name, which are not of a header that is
    /// a list, or values with what Envoy writes in their place.
    pub(crate) fn joined_hides_something(&self) -> bool {
        let lists = ["authorization", "connection", "upgrade", "sec-websocket-protocol"];
        let names: Vec<String> = self.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
        self.headers.iter().zip(&names).any(|((_, value), name)| {
            let several = names.iter().filter(|n| *n == name).count() > 1;
            let marked = value.contains(&b',') || value.contains(&b'!') || str::from_utf8(value).is_err();
            !lists.contains(&&**name) && (several || marked)
        })
    }
}

/// The ways in which the same header lines can arrive at the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// `header_map`, one entry for each line that the client sent.
    Lines,
    /// `header_map` as Envoy fills it with `encode_raw_headers`: some headers it never keeps as several lines.
    Raw,
    /// The `headers` map of an Envoy without that option.
    Joined,
}

pub(crate) const ENCODINGS: [Encoding; 3] = [Encoding::Lines, Encoding::Raw, Encoding::Joined];

/// Headers whose lines Envoy joins while it parses them.
const INLINE: [&str; 3] = ["authorization", "connection", "upgrade"];

const AUTHORITY: &str = "api.example.test";

/// The call that Envoy makes for a request.
pub(crate) fn check_request(request: &Request, encoding: Encoding) -> CheckRequest {
    let lines = received(request);
    let mut http = HttpRequest {
        id: "7305214497284915311".into(),
        method: request.method.clone(),
        path: request.path.clone(),
        host: AUTHORITY.into(),
        scheme: "https".into(),
        protocol: "HTTP/1.1".into(),
        ..HttpRequest::default()
    };
    match encoding {
        Encoding::Lines => http.header_map = Some(raw(lines)),
        Encoding::Raw => http.header_map = Some(raw(join(lines, |name| INLINE.contains(&name)))),
        Encoding::Joined => http.headers = texts(join(lines, |_| true)),
    }
    let mut source = peer("192.0.2.7", 51820);
    source.certificate = request.certificates.first().map(|pem| url_encoded(pem)).unwrap_or_default();
    CheckRequest {
        attributes: Some(AttributeContext {
            source: Some(source),
            destination: Some(peer("192.0.2.1", 443)),
            request: Some(Attributes {
                time: Some(Timestamp { seconds: 1_790_000_000, nanos: 0 }),
                http: Some(http),
            }),
            metadata_context: Some(Metadata::default()),
            route_metadata_context: Some(Metadata::default()),
            ..AttributeContext::default()
        }),
    }
}

/// The header list as Envoy holds it: pseudo headers first, names in lower case, no white space around values, and the
/// headers that a client or Envoy itself always adds.
fn received(request: &Request) -> Vec<(String, Vec<u8>)> {
    let pseudo = [
        (":authority", AUTHORITY),
        (":path", &request.path),
        (":method", &request.method),
        (":scheme", "https"),
    ];
    let body: &[(&str, &str)] = match request.method.as_str() {
        "POST" => &[("content-type", "application/json"), ("content-length", "68")],
        _ => &[],
    };
    let added = [
        ("x-forwarded-proto", "https"),
        ("x-forwarded-for", "192.0.2.7"),
        ("x-request-id", "0e2c9f4a-8d0c-4c86-9d2b-b3f2f1f5f6d7"),
    ];
    let owned = |(name, value): &(&str, &str)| (name.to_string(), value.as_bytes().to_vec());
    let sent = request.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), trim(value).to_vec()));
    let chain = forwarded_client_cert(&request.certificates);
    pseudo
        .iter()
        .map(owned)
        .chain(sent)
        .chain(chain.map(|value| ("x-forwarded-client-cert".to_owned(), value.into_bytes())))
        .chain(body.iter().map(owned))
        .chain(added.iter().map(owned))
        .collect()
}

/// As Envoy writes it with SANITIZE_SET and `{cert: true, chain: true}`. The leaf alone is in the attributes as well, so it goes
/// without.
fn forwarded_client_cert(certificates: &[String]) -> Option<String> {
    (certificates.len() > 1).then(|| element(certificates))
}

/// One hop's element about these certificates, leaf first, as PEM.
pub(crate) fn element(certificates: &[String]) -> String {
    let leaf = &certificates[0];
    let base64: String = leaf.lines().filter(|line| !line.starts_with("-----")).collect();
    let der = STANDARD.decode(base64).unwrap();
    let hash: String = digest(&SHA256, &der).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let (cert, chain) = (url_encoded(leaf), url_encoded(&certificates.concat()));
    format!("Hash={hash};Cert=\"{cert}\";Chain=\"{chain}\"")
}

/// As Envoy writes a certificate.
pub(crate) fn url_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// Optional white space of RFC 9110, which is not part of a field's value.
fn trim(value: &[u8]) -> &[u8] {
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !blank(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
    &value[start..end]
}

/// Repeated lines as one, at the place of the first, with a comma and no space between them.
fn join(lines: Vec<(String, Vec<u8>)>, joins: impl Fn(&str) -> bool) -> Vec<(String, Vec<u8>)> {
    let mut out: Vec<(String, Vec<u8>)> = Vec::new();
    for (name, value) in lines {
        match out.iter_mut().find(|(n, _)| *n == name && joins(n)) {
            Some((_, first)) => {
                first.push(b',');
                first.extend(value);
            }
            None => out.push((name, value)),
        }
    }
    out
}

/// An entry without a value has no `raw_value` on the wire either, which is what the default is.
fn raw(lines: Vec<(String, Vec<u8>)>) -> HeaderMap {
    let entry = |(key, raw_value)| HeaderValue { key, value: String::new(), raw_value };
    HeaderMap { headers: lines.into_iter().map(entry).collect() }
}

/// Every byte that is not UTF-8 becomes an exclamation mark.
fn texts(lines: Vec<(String, Vec<u8>)>) -> HashMap<String, String> {
    let text = |value: Vec<u8>| {
        let chunks = value.utf8_chunks();
        chunks.map(|chunk| chunk.valid().to_owned() + &"!".repeat(chunk.invalid().len())).collect()
    };
    lines.into_iter().map(|(name, value)| (name, text(value))).collect()
}

fn peer(address: &str, port: u32) -> Peer {
    let socket = SocketAddress {
        address: address.into(),
        port_specifier: Some(PortSpecifier::PortValue(port)),
        ..SocketAddress::default()
    };
    Peer { address: Some(Address { address: Some(AnyAddress::SocketAddress(socket)) }), ..Peer::default() }
}
