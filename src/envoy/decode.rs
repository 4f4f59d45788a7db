//! `CheckRequest` → [`Request`]. Both of Envoy's encodings of the headers become one view.

use bytes::Bytes;
use prost::Message;

use super::view::{CheckRequest, HeaderValue};
use crate::request::{Connection, Encoding, HeaderLines, Headers, Path, Request};

/// What arrived: a message, or bytes that are none.
pub struct Incoming(pub(super) Option<CheckRequest>);

impl Incoming {
    /// What a message holds, or that it is no CheckRequest; `None` if there is none. It is one reference-counted buffer, of which every
    /// field is a slice.
    pub fn decode(message: Option<Bytes>) -> Self {
        Self(message.and_then(|message| CheckRequest::decode(message).ok()))
    }

    /// The request that Envoy asks about. `None` if there is none to be seen: not a CheckRequest, no HTTP attributes, no
    /// method or no path.
    pub fn request(&self) -> Option<Request<'_>> {
        let attributes = self.0.as_ref()?.attributes.as_ref()?;
        let http = attributes.request.as_ref()?.http.as_ref()?;
        if http.method.is_empty() || http.path.is_empty() {
            return None;
        }
        let headers = match &http.header_map {
            Some(raw) => Headers::new(&raw.headers, Encoding::Raw),
            None => Headers::new(&http.headers, Encoding::Joined),
        };
        let source = attributes.source.as_ref();
        let address = source.and_then(|s| s.address.as_ref()?.socket_address.as_ref());
        Some(Request {
            method: &http.method,
            host: &http.host,
            path: Path::new(&http.path),
            headers,
            client_certificate: source.map_or(&b""[..], |s| &s.certificate),
            context_extensions: &attributes.context_extensions,
            connection: Connection {
                source_address: address.map_or(&b""[..], |a| &a.address),
                source_port: address.map_or(0, |a| a.port_value),
                server_name: attributes.tls_session.as_ref().map_or(&b""[..], |t| &t.sni),
                protocol: &http.protocol,
                scheme: &http.scheme,
            },
        })
    }

    /// What to find this request by in the logs: Envoy's id of the stream.
    pub(super) fn stream_id(&self) -> &[u8] {
        let attributes = self.0.as_ref().and_then(|message| message.attributes.as_ref());
        let http = attributes.and_then(|a| a.request.as_ref()?.http.as_ref());
        http.map_or(&b""[..], |http| &http.id)
    }
}

impl HeaderLines for Vec<HeaderValue> {
    fn len(&self) -> usize {
        Self::len(self)
    }

    /// `value` in the map, `raw_value` in the header map; Envoy sends neither for an empty value there.
    fn line(&self, index: usize) -> (&[u8], &[u8]) {
        let HeaderValue { key, value, raw_value } = &self[index];
        (key, if raw_value.is_empty() { value } else { raw_value })
    }
}

#[cfg(test)]
mod tests {
    use envoy_types::pb::envoy::config::core::v3 as core;
    use envoy_types::pb::envoy::service::auth::v3 as auth;
    use proptest::collection::{hash_map, vec};
    use proptest::option;
    use proptest::prelude::*;

    use super::*;

    fn decode(message: &auth::CheckRequest) -> Incoming {
        Incoming::decode(Some(message.encode_to_vec().into()))
    }

    type Line = (Vec<u8>, Vec<u8>);

    fn lines(headers: impl Iterator<Item = (impl AsRef<[u8]>, impl AsRef<[u8]>)>) -> Vec<Line> {
        headers.map(|(name, value)| (name.as_ref().to_vec(), value.as_ref().to_vec())).collect()
    }

    fn peer() -> impl Strategy<Value = auth::attribute_context::Peer> {
        let socket = (".{0,8}", any::<u32>(), any::<bool>()).prop_map(|(address, port, named)| {
            use core::socket_address::PortSpecifier;
            let port =
                if named { PortSpecifier::NamedPort("p".into()) } else { PortSpecifier::PortValue(port) };
            let socket = core::SocketAddress {
                address,
                port_specifier: Some(port),
                resolver_name: "r".into(),
                ..Default::default()
            };
            core::Address { address: Some(core::address::Address::SocketAddress(socket)) }
        });
        let pipe = ".{0,8}".prop_map(|path| core::Address {
            address: Some(core::address::Address::Pipe(core::Pipe { path, mode: 7 })),
        });
        (option::of(prop_oneof![socket, pipe]), ".{0,4}", ".{0,40}").prop_map(
            |(address, service, certificate)| {
                let labels = [("l".to_owned(), "v".to_owned())].into();
                auth::attribute_context::Peer {
                    address,
                    service,
                    labels,
                    principal: "CN=x".into(),
                    certificate,
                }
            },
        )
    }

    prop_compose! {
        fn http()(
            (id, method, path, host) in (".{0,6}", "[A-Z]{0,4}", ".{0,12}", ".{0,6}"),
            headers in hash_map(".{0,6}", ".{0,6}", 0..4),
            raw in option::of(vec(("[a-z-]{0,8}", vec(any::<u8>(), 0..6), ".{0,3}"), 0..4)),
            (scheme, protocol, body) in (".{0,4}", ".{0,4}", ".{0,20}"),
            size in any::<i64>(),
        ) -> auth::attribute_context::HttpRequest {
            let headers_of = |(key, raw_value, value)| core::HeaderValue { key, value, raw_value };
            auth::attribute_context::HttpRequest {
                id, method, headers, path, host, scheme, protocol, size,
                header_map: raw.map(|raw| core::HeaderMap { headers: raw.into_iter().map(headers_of).collect() }),
                raw_body: body.clone().into_bytes(),
                body,
                query: "q".into(),
                fragment: "f".into(),
            }
        }
    }

    prop_compose! {
        fn message()(
            http in option::of(http()),
            (source, destination) in (option::of(peer()), option::of(peer())),
            context_extensions in hash_map(".{0,6}", ".{0,6}", 0..3),
            sni in option::of(".{0,6}"),
            seconds in any::<i64>(),
        ) -> auth::CheckRequest {
            let time = Some(envoy_types::pb::google::protobuf::Timestamp { seconds, nanos: 1 });
            let request = Some(auth::attribute_context::Request { time, http });
            let tls_session = sni.map(|sni| auth::attribute_context::TlsSession { sni });
            let metadata_context = Some(core::Metadata::default());
            let attributes = auth::AttributeContext {
                source, destination, request, context_extensions, tls_session, metadata_context, ..Default::default()
            };
            auth::CheckRequest { attributes: Some(attributes) }
        }
    }

    /// Headers and context extensions, sorted; the texts; the source's port.
    type Seen = (Vec<Line>, Vec<Line>, Vec<Vec<u8>>, u32);

    /// What a full message says of everything that we read.
    fn expected(message: &auth::CheckRequest) -> Option<Seen> {
        let attributes = message.attributes.as_ref()?;
        let http = attributes.request.as_ref()?.http.as_ref()?;
        if http.method.is_empty() || http.path.is_empty() {
            return None;
        }
        let mut headers = match &http.header_map {
            Some(raw) => lines(raw.headers.iter().map(|h| {
                (h.key.as_bytes(), if h.raw_value.is_empty() { h.value.as_bytes() } else { &h.raw_value })
            })),
            None => lines(http.headers.iter()),
        };
        let mut extensions = lines(attributes.context_extensions.iter());
        headers.sort();
        extensions.sort();
        let source = attributes.source.clone().unwrap_or_default();
        let (address, port) = match source.address.and_then(|a| a.address) {
            Some(core::address::Address::SocketAddress(socket)) => match socket.port_specifier {
                Some(core::socket_address::PortSpecifier::PortValue(port)) => (socket.address, port),
                _ => (socket.address, 0),
            },
            _ => (String::new(), 0),
        };
        let path = http.path.split('?').next().unwrap_or_default().to_owned();
        let sni = attributes.tls_session.clone().unwrap_or_default().sni;
        let rest = [
            &http.method,
            &http.host,
            &path,
            &source.certificate,
            &address,
            &sni,
            &http.protocol,
            &http.scheme,
        ];
        Some((headers, extensions, rest.map(|s| s.as_bytes().to_vec()).to_vec(), port))
    }

    fn seen(incoming: &Incoming) -> Option<Seen> {
        let r = incoming.request()?;
        let mut headers = lines(r.headers.iter());
        let extensions = r.context_extensions;
        let mut extensions = lines((0..extensions.len()).map(|i| extensions.line(i)));
        headers.sort();
        extensions.sort();
        let c = r.connection;
        let rest = [
            r.method,
            r.host,
            r.path.as_bytes(),
            r.client_certificate,
            c.source_address,
            c.server_name,
            c.protocol,
            c.scheme,
        ];
        Some((headers, extensions, rest.map(<[u8]>::to_vec).to_vec(), c.source_port))
    }

    proptest! {
        /// The trimmed view against Envoy's own messages: everything that we read is read alike.
        #[test]
        fn the_view_reads_what_the_full_message_holds(message in message()) {
            prop_assert_eq!(seen(&decode(&message)), expected(&message));
        }

        #[test]
        fn no_bytes_make_decoding_panic(bytes in vec(any::<u8>(), 0..200)) {
            let incoming = Incoming::decode(Some(bytes.into()));
            let _request = seen(&incoming);
        }
    }

    #[test]
    fn raw_headers_keep_their_order_and_duplicates() {
        let header = |key: &str, raw: &[u8]| core::HeaderValue {
            key: key.into(),
            raw_value: raw.into(),
            ..Default::default()
        };
        let http = auth::attribute_context::HttpRequest {
            method: "GET".into(),
            path: "/x?y".into(),
            header_map: Some(core::HeaderMap {
                headers: vec![header("b", b"\xff"), header("a", b""), header("b", b"2")],
            }),
            ..Default::default()
        };
        let request = Some(auth::attribute_context::Request { http: Some(http), ..Default::default() });
        let attributes = Some(auth::AttributeContext { request, ..Default::default() });
        let incoming = decode(&auth::CheckRequest { attributes });
        let request = incoming.request();
        let headers = request.as_ref().map(|r| lines(r.headers.iter()));
        let line = |name: &[u8], value: &[u8]| (name.to_vec(), value.to_vec());
        assert_eq!(headers, Some(vec![line(b"b", b"\xff"), line(b"a", b""), line(b"b", b"2")]));
    }
}
