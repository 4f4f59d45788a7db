//! The request as the authenticators see it: borrowed from what Envoy sent, free of protobuf.
//!
//! Method, path and host are Envoy's attributes. No header is ever consulted for them, neither `x-forwarded-*` nor
//! `x-original-*` nor `x-envoy-*`: a client can set those (threats S3, S10).

mod headers;
pub mod name;
mod path;

pub use headers::{Credentials, Encoding, HeaderLines, Headers, Upgrade};
pub use path::Path;

/// One HTTP request, of which somebody wants to know who sent it.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The method, never empty. Envoy: `attributes.request.http.method`.
    pub method: &'a [u8],
    /// The host or authority, empty if there is none. Envoy: `….http.host`.
    pub host: &'a [u8],
    /// The path, without its query. Envoy: `….http.path`.
    pub path: Path<'a>,
    /// The headers, in either of Envoy's encodings.
    pub headers: Headers<'a>,
    /// The client's certificate, unverified whatever Envoy did: URL-encoded PEM of the leaf, empty if there is none.
    /// Envoy: `attributes.source.certificate`.
    pub client_certificate: &'a [u8],
    /// What the operator wrote on the route. Envoy: `attributes.context_extensions`.
    pub context_extensions: &'a dyn HeaderLines,
    /// The connection that the request came on.
    pub connection: Connection<'a>,
}

impl<'a> Request<'a> {
    /// Envoy's `x-request-id`, to find the request by.
    pub fn id(&self) -> Option<&'a [u8]> {
        self.headers.get_all(b"x-request-id").next()
    }
}

/// Facts of the connection, for logs and policy; none of them is a credential.
#[derive(Clone, Copy, Default)]
pub struct Connection<'a> {
    /// The address of Envoy's peer, which is the client or the last proxy before Envoy. Envoy: `source.address`.
    pub source_address: &'a [u8],
    /// Its port.
    pub source_port: u32,
    /// The server name that the client asked for in TLS. Envoy: `tls_session.sni`.
    pub server_name: &'a [u8],
    /// `HTTP/1.1`, `HTTP/2`, … Envoy: `request.http.protocol`.
    pub protocol: &'a [u8],
    /// `http` or `https`. Envoy: `request.http.scheme`.
    pub scheme: &'a [u8],
}

/// Requests made of header lines, for the tests of this crate.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    impl HeaderLines for Vec<(Vec<u8>, Vec<u8>)> {
        fn len(&self) -> usize {
            Self::len(self)
        }

        fn line(&self, index: usize) -> (&[u8], &[u8]) {
            let (name, value) = &self[index];
            (name, value)
        }
    }

    /// `GET /` with raw headers.
    pub(crate) fn request(lines: &[(&[u8], &[u8])]) -> Request<'static> {
        with("/", Encoding::Raw, lines)
    }

    /// `GET /` with headers as in Envoy's map.
    pub(crate) fn joined(lines: &[(&[u8], &[u8])]) -> Request<'static> {
        with("/", Encoding::Joined, lines)
    }

    /// `GET path` with raw headers.
    pub(crate) fn at(path: &'static str, lines: &[(&[u8], &[u8])]) -> Request<'static> {
        with(path, Encoding::Raw, lines)
    }

    fn with(path: &'static str, encoding: Encoding, lines: &[(&[u8], &[u8])]) -> Request<'static> {
        let lines: Vec<(Vec<u8>, Vec<u8>)> = lines.iter().map(|(n, v)| (n.to_vec(), v.to_vec())).collect();
        Request {
            method: b"GET",
            host: b"example.test",
            path: Path::new(path.as_bytes()),
            headers: Headers::new(Box::leak(Box::new(lines)), encoding),
            client_certificate: b"",
            context_extensions: Box::leak(Box::new(Vec::<(Vec<u8>, Vec<u8>)>::new())),
            connection: Connection::default(),
        }
    }
}
