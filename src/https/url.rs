//! Where to ask.

use std::fmt;
use std::net::IpAddr;

use fluent_uri::{Uri, UriRef};
use http::uri::PathAndQuery;
use thiserror::Error;

/// Why a text is no [`Url`]. The text itself, which may hold a secret, is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum UrlError {
    /// Not an absolute URI by RFC 3986, or with a host that is not ASCII.
    #[error("not a URL")]
    Malformed,
    /// Any other scheme, `http` included.
    #[error("the scheme is not https")]
    NotHttps,
    /// No host.
    #[error("there is no host")]
    NoHost,
    /// A port that is no number below 65536, or 0.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// A user name or password stands before the host.
    #[error("there is a user name or password")]
    UserInfo,
}

/// An absolute URL with a host (RFC 3986) and without a user name, `https://` but for [`Url::parse_or_loopback`]. The fragment, if
/// there is one, is not sent.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Url(Uri<String>);

impl Url {
    /// Reads a URL.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        Self::of(Uri::parse(text).map_err(|_malformed| UrlError::Malformed)?.to_owned())
    }

    /// Reads a URL, which may also be `http://` on this very host: `localhost` or a loopback address.
    pub fn parse_or_loopback(text: &str) -> Result<Self, UrlError> {
        let uri = Uri::parse(text).map_err(|_malformed| UrlError::Malformed)?.to_owned();
        if !uri.scheme().as_str().eq_ignore_ascii_case("http") {
            return Self::of(uri);
        }
        let url = Self::with_host(uri)?;
        let host = url.host();
        let loopback = host.parse().is_ok_and(|address: IpAddr| address.to_canonical().is_loopback());
        if host == "localhost" || loopback { Ok(url) } else { Err(UrlError::NotHttps) }
    }

    /// Whether it is `https://`.
    pub fn is_https(&self) -> bool {
        self.0.scheme().as_str().eq_ignore_ascii_case("https")
    }

    /// The URL as it was written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The host and port as they were written.
    pub fn authority(&self) -> &str {
        self.0.authority().map(|authority| authority.as_str()).unwrap_or_default()
    }

    /// The host in lower case; an IPv6 address without its brackets.
    pub(super) fn host(&self) -> String {
        let host = self.0.authority().map(|authority| authority.host()).unwrap_or_default();
        host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase()
    }

    /// What `reference`, a `Location`, means here (RFC 3986, section 5.2).
    pub(super) fn join(&self, reference: &str) -> Result<Self, UrlError> {
        let reference = UriRef::parse(reference).map_err(|_malformed| UrlError::Malformed)?;
        // A base has no fragment.
        let base = self.0.as_str().split('#').next().unwrap_or_default();
        let base = Uri::parse(base).map_err(|_malformed| UrlError::Malformed)?;
        Self::of(reference.resolve_against(&base).map_err(|_no_base| UrlError::Malformed)?)
    }

    /// The same for hyper, which knows no fragments.
    pub(super) fn to_http(&self) -> Result<http::Uri, UrlError> {
        let authority = self.0.authority().ok_or(UrlError::NoHost)?;
        let path = match (self.0.path().as_str(), self.0.query()) {
            ("", None) => "/".to_owned(),
            ("", Some(query)) => format!("/?{query}"),
            (path, None) => path.to_owned(),
            (path, Some(query)) => format!("{path}?{query}"),
        };
        let path = PathAndQuery::try_from(path).map_err(|_malformed| UrlError::Malformed)?;
        http::Uri::builder()
            .scheme(if self.is_https() { http::uri::Scheme::HTTPS } else { http::uri::Scheme::HTTP })
            .authority(authority.as_str())
            .path_and_query(path)
            .build()
            .map_err(|_malformed| UrlError::Malformed)
    }

    fn of(uri: Uri<String>) -> Result<Self, UrlError> {
        if !uri.scheme().as_str().eq_ignore_ascii_case("https") {
            return Err(UrlError::NotHttps);
        }
        Self::with_host(uri)
    }

    fn with_host(uri: Uri<String>) -> Result<Self, UrlError> {
        let authority = uri.authority().ok_or(UrlError::NoHost)?;
        if authority.has_userinfo() {
            return Err(UrlError::UserInfo);
        }
        if authority.host().is_empty() {
            return Err(UrlError::NoHost);
        }
        if !matches!(authority.port_to_u16(), Ok(None | Some(1..))) {
            return Err(UrlError::Port);
        }
        let url = Self(uri);
        url.to_http()?;
        Ok(url)
    }
}

/// A query may hold a secret, so it is not shown.
impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self.as_str().split(['?', '#']).next().unwrap_or_default();
        f.debug_tuple("Url").field(&shown).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_urls_with_a_host_and_no_user_are_urls() {
        let table = [
            ("https://issuer.test", Ok("https://issuer.test/")),
            ("HTTPS://Issuer.test:8443/a%2fb?c=d#e", Ok("https://Issuer.test:8443/a%2fb?c=d")),
            ("https://[2001:db8::1]/?", Ok("https://[2001:db8::1]/?")),
            ("https://issuer.test?c", Ok("https://issuer.test/?c")),
            ("http://issuer.test/", Err(UrlError::NotHttps)),
            ("file:///etc/passwd", Err(UrlError::NotHttps)),
            ("https:/path", Err(UrlError::NoHost)),
            ("https:///path", Err(UrlError::NoHost)),
            ("https://user@issuer.test/", Err(UrlError::UserInfo)),
            ("https://:@issuer.test/", Err(UrlError::UserInfo)),
            ("https://issuer.test:0/", Err(UrlError::Port)),
            ("https://issuer.test:65536/", Err(UrlError::Port)),
            ("https://issuer.test:x/", Err(UrlError::Malformed)),
            ("//issuer.test/", Err(UrlError::Malformed)),
            ("https://issuer.test/a b", Err(UrlError::Malformed)),
            ("https://issuer.test/\r\nHost: x", Err(UrlError::Malformed)),
            ("https://\u{fc}.test/", Err(UrlError::Malformed)),
            ("", Err(UrlError::Malformed)),
        ];
        for (text, expected) in table {
            let sent = Url::parse(text).map(|url| url.to_http().unwrap().to_string());
            assert_eq!(sent, expected.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn plaintext_is_for_this_very_host() {
        let table = [
            ("http://localhost:8080/a?b", Ok("http://localhost:8080/a?b")),
            ("HTTP://LocalHost", Ok("http://LocalHost/")),
            ("http://127.0.0.2/", Ok("http://127.0.0.2/")),
            ("http://[::1]:1/", Ok("http://[::1]:1/")),
            ("https://a.test/", Ok("https://a.test/")),
            ("http://a.test/", Err(UrlError::NotHttps)),
            ("http://localhost.a.test/", Err(UrlError::NotHttps)),
            ("http://127.0.0.1.a.test/", Err(UrlError::NotHttps)),
            ("http://10.0.0.1/", Err(UrlError::NotHttps)),
            ("http://user@localhost/", Err(UrlError::UserInfo)),
            ("ftp://localhost/", Err(UrlError::NotHttps)),
        ];
        for (text, expected) in table {
            let sent = Url::parse_or_loopback(text).map(|url| url.to_http().unwrap().to_string());
            assert_eq!(sent, expected.map(str::to_owned), "{text}");
        }
        let base = Url::parse_or_loopback("http://localhost/").unwrap();
        assert_eq!(base.join("/a"), Err(UrlError::NotHttps), "no redirect leads to plaintext");
    }

    /// RFC 3986, section 5.4, in part.
    #[test]
    fn a_location_is_resolved() {
        let base = Url::parse("https://a.test/b/c/d;p?q#f").unwrap();
        let table = [
            ("g", Ok("https://a.test/b/c/g")),
            ("./g/.", Ok("https://a.test/b/c/g/")),
            ("/g?y", Ok("https://a.test/g?y")),
            ("//g.test", Ok("https://g.test/")),
            ("?y", Ok("https://a.test/b/c/d;p?y")),
            ("", Ok("https://a.test/b/c/d;p?q")),
            ("../../../g", Ok("https://a.test/g")),
            ("https://h.test/x/../y", Ok("https://h.test/y")),
            ("http://a.test/", Err(UrlError::NotHttps)),
            ("ftp://a.test/", Err(UrlError::NotHttps)),
            ("https://u:p@a.test/", Err(UrlError::UserInfo)),
            ("https://", Err(UrlError::NoHost)),
            ("a b", Err(UrlError::Malformed)),
        ];
        for (location, expected) in table {
            let joined = base.join(location).map(|url| url.to_http().unwrap().to_string());
            assert_eq!(joined, expected.map(str::to_owned), "{location}");
        }
    }

    #[test]
    fn the_query_of_a_url_is_not_shown() {
        let url = Url::parse("https://a.test/b?token=s3cr3t#s3cr3t").unwrap();
        assert_eq!(format!("{url:?}"), r#"Url("https://a.test/b")"#);
    }
}
