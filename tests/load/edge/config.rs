//! The wirings, and Envoy's configuration for each.

use serde_json::{Value, json};

/// How Envoy and whoever is asked are put together.
pub(super) struct Wiring {
    pub(super) name: &'static str,
    pub(super) filter: Filter,
    /// A unix socket to the server in place of TCP.
    pub(super) unix: bool,
    /// Requests have a large header.
    pub(super) large: bool,
    /// Clients come over TLS, with a certificate.
    pub(super) tls: bool,
    /// Envoy's workers, each with a connection of its own to the server, which has as many.
    pub(super) concurrency: usize,
}

/// What Envoy does about authentication.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Filter {
    Nothing,
    JwtAuthn { remembers: bool },
    ExtAuthz(Asks),
}

/// Who is asked and what, and for what in answer.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Asks {
    /// The bare server, not countersign.
    pub(super) bare: bool,
    /// Tokens are not verified each time.
    pub(super) remembers: bool,
    /// `encode_raw_headers`.
    pub(super) raw: bool,
    /// `include_peer_certificate`.
    pub(super) certificate: bool,
    /// The identity as dynamic metadata too.
    pub(super) metadata: bool,
}

impl Filter {
    /// Whether a bad token is refused. A good certificate makes up for it.
    pub(super) fn looks_at_tokens(self) -> bool {
        match self {
            Self::Nothing => false,
            Self::JwtAuthn { .. } => true,
            Self::ExtAuthz(asks) => !asks.bare && !asks.certificate,
        }
    }
}

impl Wiring {
    /// The same, but for asking nobody.
    pub(super) fn is_baseline_of(&self, other: &Self) -> bool {
        self.filter == Filter::Nothing
            && (self.large, self.tls, self.concurrency) == (other.large, other.tls, other.concurrency)
    }
}

/// Each differs in one thing from another.
pub(super) fn wirings() -> Vec<Wiring> {
    let asks = Asks { bare: false, remembers: true, raw: true, certificate: false, metadata: true };
    let countersign = Filter::ExtAuthz(asks);
    let plain = Filter::ExtAuthz(Asks { raw: false, ..asks });
    let headers_alone = Filter::ExtAuthz(Asks { metadata: false, ..asks });
    let bare = Filter::ExtAuthz(Asks { bare: true, metadata: false, ..asks });
    let bare_plain = Filter::ExtAuthz(Asks { bare: true, metadata: false, raw: false, ..asks });
    let bare_metadata = Filter::ExtAuthz(Asks { bare: true, ..asks });
    let verified = Filter::ExtAuthz(Asks { remembers: false, ..asks });
    let certificate = Filter::ExtAuthz(Asks { certificate: true, ..asks });
    let usual = |name, filter| Wiring { name, filter, unix: false, large: false, tls: false, concurrency: 1 };
    let unix = |name, filter| Wiring { unix: true, ..usual(name, filter) };
    let large = |name, filter| Wiring { large: true, ..usual(name, filter) };
    let tls = |name, filter| Wiring { tls: true, ..usual(name, filter) };
    let two = |name, filter| Wiring { concurrency: 2, ..usual(name, filter) };
    vec![
        usual("nobody", Filter::Nothing),
        usual("jwt_authn", Filter::JwtAuthn { remembers: false }),
        usual("jwt_authn, remembering", Filter::JwtAuthn { remembers: true }),
        usual("bare server", bare),
        usual("bare server, plain headers", bare_plain),
        usual("bare server, dynamic metadata", bare_metadata),
        usual("countersign", countersign),
        usual("countersign, no dynamic metadata", headers_alone),
        usual("countersign, remembering nothing", verified),
        usual("countersign, plain headers", plain),
        unix("countersign, unix socket", countersign),
        unix("countersign, unix socket, plain headers", plain),
        large("nobody, large requests", Filter::Nothing),
        large("bare server, large requests", bare),
        large("countersign, large requests", countersign),
        large("countersign, large requests, plain headers", plain),
        tls("nobody, client certificates", Filter::Nothing),
        tls("countersign, client certificates not told", countersign),
        tls("countersign, client certificates told", certificate),
        two("nobody, two workers", Filter::Nothing),
        two("bare server, two workers", bare),
        two("countersign, two workers", countersign),
        two("countersign, two workers, no dynamic metadata", headers_alone),
    ]
}

/// The whole configuration. `server` is where the one listens who is asked.
pub(super) fn envoy(wiring: &Wiring, server: Option<&str>, issuer: &str, keys: &Value) -> Value {
    let filters = [filter(wiring, issuer, keys), Some(router())];
    let manager = typed(
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
        json!({
            "stat_prefix": "edge",
            "use_remote_address": true,
            "http_filters": filters.into_iter().flatten().collect::<Vec<_>>(),
            "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [{
                "match": {"prefix": "/"},
                "direct_response": {"status": 200, "body": {"inline_string": "ok"}},
            }]}]},
        }),
    );
    let mut chain = json!({"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]});
    if wiring.tls {
        // As deploy/envoy/envoy.yaml asks clients for certificates.
        let context = json!({"common_tls_context": {
            "tls_certificates":
                [{"certificate_chain": {"filename": "server.crt"}, "private_key": {"filename": "server.key"}}],
            "validation_context": {"trust_chain_verification": "ACCEPT_UNTRUSTED"},
        }});
        let context = typed("envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext", context);
        chain["transport_socket"] = json!({"name": "envoy.transport_sockets.tls", "typed_config": context});
    }
    let any_port = json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}});
    json!({
        "admin": {"address": any_port},
        "static_resources": {
            "listeners": [{"name": "edge", "address": any_port, "filter_chains": [chain]}],
            "clusters": server.map(cluster).into_iter().collect::<Vec<_>>(),
        },
    })
}

fn filter(wiring: &Wiring, issuer: &str, keys: &Value) -> Option<Value> {
    match wiring.filter {
        Filter::Nothing => None,
        Filter::JwtAuthn { remembers } => {
            let mut provider = json!({
                "issuer": issuer,
                "audiences": ["shop"],
                "local_jwks": {"inline_string": keys.to_string()},
            });
            if remembers {
                provider["jwt_cache_config"] = json!({"jwt_cache_size": 1000});
            }
            let config = json!({
                "providers": {"issuer": provider},
                "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "issuer"}}],
            });
            let config = typed("envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication", config);
            Some(json!({"name": "envoy.filters.http.jwt_authn", "typed_config": config}))
        }
        Filter::ExtAuthz(Asks { raw, certificate, .. }) => {
            // As in deploy/envoy/envoy.yaml, as far as it costs something.
            let config = json!({
                "transport_api_version": "V3",
                "grpc_service": {
                    "envoy_grpc": {"cluster_name": "countersign", "authority": "countersign"},
                    // There 2 s. Every answer must come, and many Envoys run at once.
                    "timeout": "20s",
                },
                "failure_mode_allow": false,
                "include_peer_certificate": certificate,
                "include_tls_session": true,
                "encode_raw_headers": raw,
                "validate_mutations": true,
                "decoder_header_mutation_rules": {
                    "disallow_all": true,
                    "allow_expression": {"regex": ALLOWED},
                    "disallow_is_error": true,
                },
            });
            let config = typed("envoy.extensions.filters.http.ext_authz.v3.ExtAuthz", config);
            Some(json!({"name": "envoy.filters.http.ext_authz", "typed_config": config}))
        }
    }
}

const ALLOWED: &str =
    "authorization|sec-websocket-protocol|x[-_]forwarded[-_]client[-_]cert|(x[-_]remote|impersonate)[-_].+";

fn router() -> Value {
    let config = typed("envoy.extensions.filters.http.router.v3.Router", json!({}));
    json!({"name": "envoy.filters.http.router", "typed_config": config})
}

/// Who is asked, over HTTP/2.
fn cluster(address: &str) -> Value {
    let address = match address.strip_prefix("unix:") {
        Some(path) => json!({"pipe": {"path": path}}),
        None => {
            let (address, port) = address.rsplit_once(':').unwrap();
            json!({"socket_address": {"address": address, "port_value": port.parse::<u16>().unwrap()}})
        }
    };
    let options = typed(
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        json!({"explicit_http_config": {"http2_protocol_options": {}}}),
    );
    json!({
        "name": "countersign",
        "type": "STATIC",
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": options},
        "load_assignment": {
            "cluster_name": "countersign",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address}}]}],
        },
    })
}

fn typed(name: &str, mut config: Value) -> Value {
    config["@type"] = format!("type.googleapis.com/{name}").into();
    config
}
