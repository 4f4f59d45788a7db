//! Which proxy to go through, by Go's rules: golang.org/x/net/http/httpproxy, which `http.ProxyFromEnvironment` uses.
//! `NewProxierWithNoProxyCIDR` of k8s.io/apimachinery/pkg/util/net, around it in Kubernetes, adds nothing to it any more.

use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fluent_uri::Uri;
use http::HeaderValue;
use ipnet::IpNet;
use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

/// The proxy for `https://` and the hosts that are reached without it. `HTTP_PROXY` plays no part: nothing here is `http://`.
#[derive(Debug, Clone, Default)]
pub struct Proxies {
    https: Option<Proxy>,
    exempt: Vec<Exempt>,
}

/// A proxy and how to speak to it.
#[derive(Clone)]
pub(super) struct Proxy {
    pub(super) protocol: Protocol,
    pub(super) address: http::Uri,
    /// User name and password.
    pub(super) credentials: Option<(Zeroizing<String>, Zeroizing<String>)>,
}

/// How a proxy is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// CONNECT in the clear.
    Http,
    /// CONNECT within TLS.
    Https,
    /// RFC 1928; the proxy resolves the name.
    Socks5,
}

/// An entry of `NO_PROXY`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Exempt {
    /// `*`
    All,
    /// `192.0.2.0/24`
    Network(IpNet),
    /// `192.0.2.1`, `192.0.2.1:8443`
    Address { ip: IpAddr, port: Option<String> },
    /// `example.com`, `.example.com`, `*.example.com:8443`; `suffix` begins with a dot.
    Domain { suffix: String, itself: bool, port: Option<String> },
}

impl Proxies {
    /// Reads `HTTPS_PROXY` and `NO_PROXY`, or where they are empty `https_proxy` and `no_proxy`. Go: `FromEnvironment`.
    ///
    /// What cannot be understood is as good as not there, as in Go.
    pub fn from_environment(environment: &[(OsString, OsString)]) -> Self {
        let value = |names: [&str; 2]| {
            let find = |name| environment.iter().find(|(variable, _)| variable == name);
            let values = names.into_iter().filter_map(find).filter_map(|(_, value)| value.to_str());
            values.into_iter().find(|value| !value.is_empty()).unwrap_or_default()
        };
        Self {
            https: Proxy::parse(value(["HTTPS_PROXY", "https_proxy"])),
            exempt: exempt(value(["NO_PROXY", "no_proxy"])),
        }
    }

    /// The proxy on the way to a host. Go: `proxyForURL`, `useProxy`.
    pub(super) fn of(&self, host: &str, port: u16) -> Option<&Proxy> {
        let proxy = self.https.as_ref()?;
        let address: Option<IpAddr> = host.parse().ok();
        if host == "localhost" || address.is_some_and(|address| address.to_canonical().is_loopback()) {
            return None;
        }
        let host = host.to_ascii_lowercase();
        let port = port.to_string();
        let exempt = self.exempt.iter().any(|exempt| exempt.covers(&host, address, &port));
        (!exempt).then_some(proxy)
    }
}

impl Proxy {
    /// Go: `parseProxy`.
    fn parse(text: &str) -> Option<Self> {
        let uri = Uri::parse(text).ok().map(|uri| uri.to_owned()).filter(has_host);
        let uri = uri.or_else(|| Uri::parse(format!("http://{text}")).ok().filter(has_host))?;
        let (protocol, default_port) = match uri.scheme().as_str().to_ascii_lowercase().as_str() {
            "http" => (Protocol::Http, 80),
            "https" => (Protocol::Https, 443),
            "socks5" | "socks5h" => (Protocol::Socks5, 1080),
            _ => return None,
        };
        let authority = uri.authority()?;
        let port = authority.port_to_u16().ok()?.unwrap_or(default_port);
        let address = http::Uri::builder()
            .scheme(if protocol == Protocol::Https { "https" } else { "http" })
            .authority(format!("{}:{port}", authority.host()))
            .path_and_query("/")
            .build()
            .ok()?;
        let credentials = authority.userinfo().map(|user| {
            let (user, password) = user.as_str().split_once(':').unwrap_or((user.as_str(), ""));
            let decode = |text| Zeroizing::new(percent_decode_str(text).decode_utf8_lossy().into_owned());
            (decode(user), decode(password))
        });
        Some(Self { protocol, address, credentials })
    }

    /// `Proxy-Authorization`. Go: `proxyAuth` of net/http.
    pub(super) fn authorization(&self) -> Option<HeaderValue> {
        let (user, password) = self.credentials.as_ref()?;
        let pair = Zeroizing::new(format!("{}:{}", user.as_str(), password.as_str()));
        let text = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("protocol", &self.protocol)
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl Exempt {
    /// Go: the `match` of each matcher.
    fn covers(&self, host: &str, address: Option<IpAddr>, port: &str) -> bool {
        let right_port = |wanted: &Option<String>| wanted.as_ref().is_none_or(|wanted| wanted == port);
        match self {
            Self::All => true,
            Self::Network(network) => {
                address.is_some_and(|address| network.contains(&address.to_canonical()))
            }
            Self::Address { ip, port } => {
                address.is_some_and(|address| address.to_canonical() == *ip) && right_port(port)
            }
            Self::Domain { suffix, itself, port } => {
                address.is_none()
                    && (host.ends_with(suffix.as_str()) || *itself && suffix.strip_prefix('.') == Some(host))
                    && right_port(port)
            }
        }
    }
}

/// Go: `config.init`.
fn exempt(list: &str) -> Vec<Exempt> {
    let entries = list.split(',').map(|entry| entry.trim().to_lowercase()).filter(|entry| !entry.is_empty());
    let mut exempt = Vec::new();
    for entry in entries {
        if entry == "*" {
            return vec![Exempt::All];
        }
        if let Ok(network) = entry.parse::<IpNet>() {
            exempt.push(Exempt::Network(network));
            continue;
        }
        let (host, port) = split_port(&entry);
        if let Ok(ip) = host.parse::<IpAddr>() {
            exempt.push(Exempt::Address { ip: ip.to_canonical(), port });
            continue;
        }
        let host = host.strip_prefix('*').filter(|rest| rest.starts_with('.')).unwrap_or(host);
        if host.is_empty() {
            continue;
        }
        let itself = !host.starts_with('.');
        let suffix = if itself { format!(".{host}") } else { host.to_owned() };
        exempt.push(Exempt::Domain { suffix, itself, port });
    }
    exempt
}

/// Go: `net.SplitHostPort`, and the entry as it is where that fails.
fn split_port(entry: &str) -> (&str, Option<String>) {
    match entry.rsplit_once(':') {
        Some((host, port)) if host.starts_with('[') && host.ends_with(']') => {
            (host.trim_start_matches('[').trim_end_matches(']'), some(port))
        }
        Some((host, port)) if !host.contains([':', '[', ']']) => (host, some(port)),
        _ => (entry, None),
    }
}

/// A port, unless it is empty.
fn some(port: &str) -> Option<String> {
    (!port.is_empty()).then(|| port.to_owned())
}

fn has_host(uri: &Uri<String>) -> bool {
    uri.authority().is_some_and(|authority| !authority.host().is_empty())
}
