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
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
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

impl Proxies {
    /// Likewise, as the URL of the proxy with its user and password in it, for who connects by other means.
    pub fn url_of(&self, host: &str, port: u16) -> Option<http::Uri> {
        let proxy = self.of(host, port)?;
        let scheme = match proxy.protocol {
            Protocol::Http => "http",
            Protocol::Https => "https",
            Protocol::Socks5 => "socks5",
        };
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let user = proxy
            .credentials
            .as_ref()
            .map(|(user, password)| format!("{}:{}@", encoded(user), encoded(password)));
        let authority = format!("{}{}", user.unwrap_or_default(), proxy.address.authority()?);
        http::Uri::builder().scheme(scheme).authority(authority).path_and_query("/").build().ok()
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
            // Go asks it as one that it knows, without a port to fall back on.
            _ => (Protocol::Http, 0),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(variables: &[(&str, &str)]) -> Proxies {
        let environment: Vec<(OsString, OsString)> =
            variables.iter().map(|(name, value)| (name.into(), value.into())).collect();
        Proxies::from_environment(&environment)
    }

    /// Protocol, address, credentials.
    type Shown = (Protocol, String, Option<(String, String)>);

    /// The proxy for `https://secure.test/`.
    fn shown(variables: &[(&str, &str)]) -> Option<Shown> {
        let proxies = proxies(variables);
        let proxy = proxies.of("secure.test", 443)?;
        let credentials =
            proxy.credentials.as_ref().map(|(user, password)| (user.to_string(), password.to_string()));
        Some((proxy.protocol, proxy.address.to_string(), credentials))
    }

    /// Go: TestProxyForURL, TestFromEnvironment of golang.org/x/net/http/httpproxy.
    #[test]
    fn the_proxy_is_read_as_go_reads_it() {
        let plain = |protocol, address: &str| Some((protocol, address.to_owned(), None));
        let table = [
            ("127.0.0.1:8080", plain(Protocol::Http, "http://127.0.0.1:8080/")),
            ("cache.test:1234", plain(Protocol::Http, "http://cache.test:1234/")),
            ("cache.test", plain(Protocol::Http, "http://cache.test:80/")),
            ("localhost", plain(Protocol::Http, "http://localhost:80/")),
            ("https://cache.test", plain(Protocol::Https, "https://cache.test:443/")),
            ("http://[2001:db8::1]:8080", plain(Protocol::Http, "http://[2001:db8::1]:8080/")),
            ("socks5://127.0.0.1", plain(Protocol::Socks5, "http://127.0.0.1:1080/")),
            ("SOCKS5H://127.0.0.1:9", plain(Protocol::Socks5, "http://127.0.0.1:9/")),
            ("foo://host:3128", plain(Protocol::Http, "http://host:3128/")),
            ("http://bad host", None),
            ("", None),
        ];
        for (value, expected) in table {
            assert_eq!(shown(&[("HTTPS_PROXY", value)]), expected, "{value}");
        }
        let credentials = Some(("me".to_owned(), "s3:cr@t".to_owned()));
        assert_eq!(
            shown(&[("https_proxy", "http://me:s3:cr%40t@cache.test:1")]),
            Some((Protocol::Http, "http://cache.test:1/".to_owned(), credentials))
        );
        assert_eq!(
            shown(&[("https_proxy", "lower.test"), ("HTTPS_PROXY", "upper.test")]),
            plain(Protocol::Http, "http://upper.test:80/")
        );
        assert_eq!(
            shown(&[("https_proxy", "lower.test"), ("HTTPS_PROXY", "")]),
            plain(Protocol::Http, "http://lower.test:80/")
        );
        assert_eq!(shown(&[("HTTP_PROXY", "cache.test"), ("ALL_PROXY", "cache.test")]), None);
    }

    /// As the URL that it was written as, but for what Go adds.
    #[test]
    fn the_proxy_is_told_as_a_url_to_who_connects_by_other_means() {
        let url_of = |value, host| {
            proxies(&[("HTTPS_PROXY", value), ("NO_PROXY", "direct.test")])
                .url_of(host, 443)
                .map(|url| url.to_string())
        };
        assert_eq!(url_of("cache.test", "a.test").as_deref(), Some("http://cache.test:80/"));
        assert_eq!(url_of("cache.test", "direct.test"), None);
        assert_eq!(url_of("https://cache.test", "a.test").as_deref(), Some("https://cache.test:443/"));
        assert_eq!(url_of("socks5://cache.test", "a.test").as_deref(), Some("socks5://cache.test:1080/"));
        let with_password = url_of("http://me:s3:cr%40t@cache.test:1", "a.test");
        assert_eq!(with_password.as_deref(), Some("http://me:s3%3Acr%40t@cache.test:1/"));
    }

    /// Go: TestUseProxy, TestInvalidNoProxy, TestAllNoProxy of golang.org/x/net/http/httpproxy.
    #[test]
    fn hosts_are_exempt_as_go_exempts_them() {
        let list = "foobar.com, .barbaz.net, *.wildcard.io, 192.168.1.1, 192.168.1.2:81, 192.168.1.3:80, 10.0.0.0/30, \
                    2001:db8::52:0:1, [2001:db8::52:0:2]:443, [2001:db8::52:0:3]:80, 2002:db8:a::45/64, ported.com:80";
        let table = [
            ("localhost", false),
            ("127.0.0.1", false),
            ("127.0.0.2", false),
            ("::ffff:127.0.0.1", false),
            ("::1", false),
            ("::2", true),
            ("192.168.1.1", false),
            ("192.168.1.2", true),
            ("192.168.1.3", false),
            ("192.168.1.4", true),
            ("10.0.0.2", false),
            ("10.0.0.4", true),
            ("2001:db8::52:0:1", false),
            ("2001:db8::52:0:2", true),
            ("2001:db8::52:0:3", false),
            ("2002:db8:a::123", false),
            ("fe80::424b:c8be:1643:a1b6", true),
            ("barbaz.net", true),
            ("www.barbaz.net", false),
            ("foobar.com", false),
            ("FooBar.com", false),
            ("www.foobar.com", false),
            ("foofoobar.com", true),
            ("baz.com", true),
            ("localhost.net", true),
            ("local.localhost", true),
            ("barbarbaz.net", true),
            ("wildcard.io", true),
            ("nested.wildcard.io", false),
            ("awildcard.io", true),
            ("ported.com", false),
        ];
        let some = proxies(&[("HTTPS_PROXY", "cache.test"), ("no_proxy", list)]);
        let all = proxies(&[("HTTPS_PROXY", "cache.test"), ("no_proxy", "x.test, *, y.test")]);
        let odd = proxies(&[("HTTPS_PROXY", "cache.test"), ("no_proxy", ":1,, ,*.")]);
        for (host, proxied) in table {
            assert_eq!(some.of(host, 80).is_some(), proxied, "{host}");
            assert!(all.of(host, 80).is_none(), "{host}");
        }
        assert!(some.of("ported.com", 443).is_some());
        assert!(odd.of("example.com", 443).is_some());
    }

    #[test]
    fn the_password_of_a_proxy_is_not_shown() {
        let proxies = proxies(&[("HTTPS_PROXY", "http://me:s3cr3t@cache.test:1")]);
        assert!(!format!("{proxies:?}").contains("s3cr3t"));
        let authorization = proxies.of("secure.test", 443).unwrap().authorization().unwrap();
        assert_eq!(authorization, "Basic bWU6czNjcjN0");
        assert_eq!(format!("{authorization:?}"), "Sensitive");
    }
}
