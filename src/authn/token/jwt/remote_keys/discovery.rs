//! OpenID Connect Discovery 1.0, sections 4.2 and 4.3, as `NewProvider` of github.com/coreos/go-oidc (v2.5.0) does it.

use super::{Fetch, FetchError, Source};
use crate::https::{Get, Url, UrlError};
use crate::json::{TypeError, Value};

/// Where the discovery document is, and whom it must be about.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    /// The issuer.
    pub(super) issuer: String,
    /// Where its document is.
    pub(super) document: Url,
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
        let document = Value::parse(&response.body).map_err(|_no_json| FetchError::MalformedDiscovery)?;
        let (issuer, url) = read(&document).map_err(|_wrong_type| FetchError::MalformedDiscovery)?;
        match url {
            _ if issuer != self.issuer => Err(FetchError::OtherIssuer),
            "" => Err(FetchError::NoKeySet),
            url => Url::parse(url).map_err(FetchError::KeySetUrl),
        }
    }
}

/// The issuer and its key set. The types of the other members that Go reads must be right as well. Go: `providerJSON`.
fn read<'a>(document: &'a Value<'_>) -> Result<(&'a str, &'a str), TypeError> {
    let Some(document) = document.object_or_null()? else { return Ok(("", "")) };
    for endpoint in ["authorization_endpoint", "token_endpoint", "userinfo_endpoint"] {
        document.string_field(endpoint)?;
    }
    for algorithms in document.fields("id_token_signing_alg_values_supported") {
        algorithms.strings()?;
    }
    Ok((document.string_field("issuer")?, document.string_field("jwks_uri")?))
}

/// Go: `wellKnownEndpointPath`.
const WELL_KNOWN: &str = "/.well-known/openid-configuration";
