//! Where to ask.

use std::fmt;

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

/// An absolute `https://` URL with a host (RFC 3986) and without a user name. The fragment, if there is one, is not sent.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Url(Uri<String>);

impl Url {
    /// Reads a URL.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        Self::of(Uri::parse(text).map_err(|_malformed| UrlError::Malformed)?.to_owned())
    }

    /// The URL as it was written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
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
            .scheme(http::uri::Scheme::HTTPS)
            .authority(authority.as_str())
            .path_and_query(path)
            .build()
            .map_err(|_malformed| UrlError::Malformed)
    }

    fn of(uri: Uri<String>) -> Result<Self, UrlError> {
        if !uri.scheme().as_str().eq_ignore_ascii_case("https") {
            return Err(UrlError::NotHttps);
        }
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
