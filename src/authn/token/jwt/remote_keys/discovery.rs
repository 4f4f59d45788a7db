//! OpenID Connect Discovery 1.0, sections 4.2 and 4.3, as `NewProvider` of github.com/coreos/go-oidc (v2.5.0) does it.

use serde::Deserialize;

use super::{Fetch, FetchError, Source};
use crate::https::{Get, Url, UrlError};

/// Where the discovery document is, and whom it must be about.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    /// The issuer.
    pub(super) issuer: String,
    /// Where its document is.
    pub(super) document: Url,
}

/// What Go reads of the document. The types of all of it must be right, although only two are used.
#[derive(Deserialize)]
struct Document {
    issuer: Option<String>,
    jwks_uri: Option<String>,
    #[serde(rename = "authorization_endpoint")]
    _authorization_endpoint: Option<String>,
    #[serde(rename = "token_endpoint")]
    _token_endpoint: Option<String>,
    #[serde(rename = "userinfo_endpoint")]
    _userinfo_endpoint: Option<String>,
    #[serde(rename = "id_token_signing_alg_values_supported")]
    _algorithms: Option<Vec<Option<String>>>,
}

impl Origin {
    /// The document is at the discovery URL (Go: `discoveryURLRoundTripper`), or below the issuer's.
    pub(super) fn of(source: &Source) -> Result<Self, UrlError> {
        let issuer = source.url.clone();
        let below = issuer.strip_suffix('/').unwrap_or(&issuer);
        let document = match &source.discovery_url {
            Some(url) => Url::parse(url)?,
            None => Url::parse(&format!("{below}{WELL_KNOWN}"))?,
        };
        Ok(Self { issuer, document })
    }

    /// Where the key set is. The media type of the document does not matter, as in Go.
    pub(super) async fn discover(&self, fetch: &impl Fetch) -> Result<Url, FetchError> {
        let response = fetch.get(&Get::new(&self.document)).await.map_err(FetchError::Discovery)?;
        let document: Document =
            serde_json::from_slice(&response.body).map_err(|_malformed| FetchError::MalformedDiscovery)?;
        if document.issuer.unwrap_or_default() != self.issuer {
            return Err(FetchError::OtherIssuer);
        }
        let url = document.jwks_uri.filter(|url| !url.is_empty()).ok_or(FetchError::NoKeySet)?;
        Url::parse(&url).map_err(FetchError::KeySetUrl)
    }
}

/// Go: `wellKnownEndpointPath`.
const WELL_KNOWN: &str = "/.well-known/openid-configuration";
