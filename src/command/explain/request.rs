//! The CheckRequest that is asked about: what Envoy would send of a request as it is described.

use bytes::Bytes;
use clap::ArgMatches;
use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{HttpRequest, Peer, Request};
use envoy_types::pb::envoy::service::auth::v3::{AttributeContext, CheckRequest};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use prost::Message;
use zeroize::Zeroizing;

use super::curl;
use crate::command::{all, one, read, said, text, token};
use crate::explain::check_request_of_json;

/// A request in words.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Described {
    pub(super) method: String,
    pub(super) scheme: String,
    pub(super) host: String,
    pub(super) path: String,
    /// Lines in order, as they are written.
    pub(super) headers: Vec<(String, Zeroizing<String>)>,
    /// A file with the client's certificate.
    pub(super) certificate: Option<String>,
}

impl Default for Described {
    fn default() -> Self {
        let [method, scheme, host, path] = ["GET", "https", "localhost", "/"].map(str::to_owned);
        Self { method, scheme, host, path, headers: Vec::new(), certificate: None }
    }
}

impl Described {
    /// Adds a header line as curl takes it: `Name: value`, or `Name;` for one that is empty. An error quotes no value.
    pub(super) fn add_header(&mut self, line: &str) -> Result<(), String> {
        let (name, value) = match line.split_once(':') {
            Some((name, value)) => (name, value),
            None => (line.strip_suffix(';').ok_or("a header without a colon; write 'Name: value'")?, ""),
        };
        let is_name = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
        if name.is_empty() || !name.chars().all(is_name) {
            return Err("a header whose name is none; write 'Name: value'".to_owned());
        }
        let value = value.trim_matches([' ', '\t']);
        match name.eq_ignore_ascii_case("host") {
            true => value.clone_into(&mut self.host),
            false => self.headers.push((name.to_ascii_lowercase(), Zeroizing::new(value.to_owned()))),
        }
        Ok(())
    }

    fn add_bearer(&mut self, token: &str) {
        let value = Zeroizing::new(format!("Bearer {token}"));
        self.headers.push(("authorization".to_owned(), value));
    }
}

/// What the flags describe, or name; encoded.
pub(super) fn check_request(matches: &ArgMatches) -> Result<Bytes, String> {
    if let Some(path) = one(matches, "check-request") {
        return saved(path);
    }
    let mut described = match (one(matches, "curl"), &*all(matches, "command")) {
        (Some(line), _) => curl::parse(&curl::words(&said(line)?)?)?,
        (None, []) => Described::default(),
        (None, words) => curl::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())?,
    };
    for (name, field) in
        [("method", &mut described.method), ("path", &mut described.path), ("host", &mut described.host)]
    {
        if let Some(value) = one(matches, name) {
            value.clone_into(field);
        }
    }
    for header in all(matches, "header") {
        for line in said(header)?.lines().filter(|line| !line.trim().is_empty()) {
            described.add_header(line).map_err(|error| format!("--header: {error}"))?;
        }
    }
    if let Some(path) = one(matches, "token-file") {
        described.add_bearer(&token(path)?);
    }
    if let Some(path) = one(matches, "cert") {
        described.certificate = Some(path.to_owned());
    }
    let extensions = all(matches, "context-extension").into_iter().map(|extension| {
        let (key, value) =
            extension.split_once('=').ok_or_else(|| "--context-extension: write KEY=VALUE".to_owned())?;
        Ok((key.to_owned(), value.to_owned()))
    });
    let extensions = extensions.collect::<Result<_, String>>()?;
    let certificate = described.certificate.as_deref().map(certificate).transpose()?.unwrap_or_default();
    Ok(encode(described, certificate, extensions))
}

/// As Envoy sends it with `encode_raw_headers` and `include_peer_certificate`: pseudo headers first, names in lower case.
fn encode(
    described: Described,
    certificate: String,
    context_extensions: std::collections::HashMap<String, String>,
) -> Bytes {
    let Described { method, scheme, host, path, headers, .. } = described;
    let header = |(key, value): (String, &str)| HeaderValue {
        key,
        raw_value: value.as_bytes().to_vec(),
        ..HeaderValue::default()
    };
    let pseudo = [(":authority", &*host), (":path", &path), (":method", &method), (":scheme", &scheme)];
    let pseudo = pseudo.map(|(name, value)| (name.to_owned(), value)).into_iter();
    let sent = headers.iter().map(|(name, value)| (name.clone(), &***value));
    let lines = pseudo.chain(sent).chain([("x-forwarded-proto".to_owned(), &*scheme)]);
    let http = HttpRequest {
        header_map: Some(HeaderMap { headers: lines.map(header).collect() }),
        method,
        scheme,
        host,
        path,
        protocol: "HTTP/1.1".to_owned(),
        ..HttpRequest::default()
    };
    let attributes = AttributeContext {
        source: Some(Peer { certificate, ..Peer::default() }),
        request: Some(Request { http: Some(http), ..Request::default() }),
        context_extensions,
        ..AttributeContext::default()
    };
    CheckRequest { attributes: Some(attributes) }.encode_to_vec().into()
}

/// The first certificate of a PEM file, which may hold a key as well, as Envoy hands it on: URL-encoded.
fn certificate(path: &str) -> Result<String, String> {
    let file = text(path)?;
    let begin = file.find(BEGIN).ok_or_else(|| format!("{path}: no certificate in PEM"))?;
    let length = file[begin..].find(END).ok_or_else(|| format!("{path}: a certificate without an end"))?;
    let lines = file[begin..begin + length].lines().map(str::trim_end).chain([END, ""]);
    let pem = lines.collect::<Vec<_>>().join("\n").replace("\n\n", "\n");
    Ok(utf8_percent_encode(&pem, ENCODED).to_string())
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// Envoy: `Http::Utility::PercentEncoding::urlEncode`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A CheckRequest that somebody has saved: a JSON object, or else protobuf.
fn saved(path: &str) -> Result<Bytes, String> {
    let bytes = read(path)?;
    let json = std::str::from_utf8(&bytes)
        .ok()
        .filter(|text| serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok());
    match json {
        Some(json) => check_request_of_json(json).map_err(|error| format!("{path}: {error}")),
        // Decoded by whoever is asked, as that of a Check.
        None => match CheckRequest::decode(&**bytes) {
            Ok(_) => Ok(Bytes::copy_from_slice(&bytes)),
            Err(_) => Err(format!("{path}: neither a CheckRequest in protobuf nor JSON")),
        },
    }
}
