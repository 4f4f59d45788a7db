//! Requests and answers.

use std::error::Error as _;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Body as _;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::dial::Dial;
use super::error::{Error, Phase, RedirectError, RootsError};
use super::proxy::Proxies;
use super::tls;
use super::url::Url;

/// One request takes no longer, redirects and body included. Go: the `Timeout` that `New` of the OIDC authenticator sets.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// So many redirects are followed: the tenth is not. Go: `defaultCheckRedirect` of net/http.
pub const MAX_REDIRECTS: usize = 9;

/// The largest body, unless a [`Get`] says otherwise: 1 MiB, hundreds of keys. Go has no bound.
pub const DEFAULT_MAX_BODY: usize = 1024 * 1024;

/// Idle connections are kept so long. Go: `IdleConnTimeout` of `http.DefaultTransport`.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// Idle connections to one server. Go: `DefaultMaxIdleConnsPerHost`.
const MAX_IDLE_PER_HOST: usize = 2;

/// A server that speaks HTTP/2 and says nothing is asked whether it is there, and given up if it does not say: else one dead connection
/// would be tried for ever, since a request that times out does not close it. Kubernetes (`readIdleTimeoutSeconds`,
/// `pingTimeoutSeconds` of k8s.io/apimachinery/pkg/util/net) takes 30 s and 15 s, which is longer than a request lasts.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// The head of an answer over HTTP/1.1 may take this much, and what is read at once on top; over HTTP/2 hyper allows 16 KiB. Go
/// allows 10 MiB.
const MAX_HEAD: usize = 64 * 1024;

/// A client with a pool of connections of its own. Cheap to clone; clones share the pool.
#[derive(Debug, Clone)]
pub struct Client {
    pool: Pool<Dial, Empty<Bytes>>,
}

/// What to get.
#[derive(Clone)]
pub struct Get<'a> {
    /// From where.
    pub url: &'a Url,
    /// A token for `Authorization: Bearer`. It is sent to this host and its subdomains alone, whatever the redirects, and never
    /// shown. What the HTTP library copies of it is not wiped.
    pub bearer: Option<&'a Zeroizing<String>>,
    /// The statuses that are no error.
    pub statuses: RangeInclusive<u16>,
    /// The largest body in bytes.
    pub max_body: usize,
}

impl<'a> Get<'a> {
    /// Gets a body of at most [`DEFAULT_MAX_BODY`] bytes with the status 200.
    pub fn new(url: &'a Url) -> Self {
        Self { url, bearer: None, statuses: 200..=200, max_body: DEFAULT_MAX_BODY }
    }
}

impl fmt::Debug for Get<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Get").field("url", &self.url).finish_non_exhaustive()
    }
}

/// An answer with a status that was asked for.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Client {
    /// A client that trusts the authorities of a PEM bundle and no other, or the system's if there is none. Go: `RootCAs` of
    /// `tls.Config`; `NewPoolFromBytes` of k8s.io/client-go/util/cert.
    pub fn new(certificate_authority: Option<&[u8]>, proxies: Proxies) -> Result<Self, RootsError> {
        let dial = Dial::new(tls::config(certificate_authority)?, proxies);
        let pool = Pool::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(MAX_IDLE_PER_HOST)
            .timer(TokioTimer::new())
            .http1_max_buf_size(MAX_HEAD)
            .http2_keep_alive_interval(PING_INTERVAL)
            .http2_keep_alive_timeout(PING_TIMEOUT)
            .build(dial);
        Ok(Self { pool })
    }

    /// Asks, and follows redirects as Go's `http.Client.Do` does for a GET. Ends after [`TIMEOUT`] at the latest.
    pub async fn get(&self, get: &Get<'_>) -> Result<Response, Error> {
        timeout(TIMEOUT, self.follow(get)).await.unwrap_or(Err(Error::Timeout(Phase::Whole)))
    }

    async fn follow(&self, get: &Get<'_>) -> Result<Response, Error> {
        let mut bearer = get.bearer.map(authorization).transpose()?;
        let mut url = get.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let response = self.send(&url, bearer.as_ref()).await?;
            if !is_redirect(response.status()) {
                return read(response, get).await;
            }
            let location = response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            let location = location.ok_or(Error::Redirect(RedirectError::NoLocation))?;
            url = url.join(location).map_err(|error| Error::Redirect(RedirectError::Location(error)))?;
            // Once it has been left out it stays out. Go: `shouldCopyHeaderOnRedirect`.
            bearer = bearer.filter(|_| is_domain_or_subdomain(&url.host(), &get.url.host()));
        }
        Err(Error::Redirect(RedirectError::TooMany))
    }

    async fn send(
        &self,
        url: &Url,
        bearer: Option<&HeaderValue>,
    ) -> Result<http::Response<hyper::body::Incoming>, Error> {
        let mut request = Request::new(Empty::new());
        *request.method_mut() = Method::GET;
        *request.uri_mut() =
            url.to_http().map_err(|error| Error::Redirect(RedirectError::Location(error)))?;
        let headers = request.headers_mut();
        headers
            .insert(USER_AGENT, HeaderValue::from_static(concat!("countersign/", env!("CARGO_PKG_VERSION"))));
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        if let Some(bearer) = bearer {
            headers.insert(AUTHORIZATION, bearer.clone());
        }
        self.pool.request(request).await.map_err(|error| cause(&error))
    }
}

/// The body, if it is one that was asked for.
async fn read(response: http::Response<hyper::body::Incoming>, get: &Get<'_>) -> Result<Response, Error> {
    let (head, body) = response.into_parts();
    let status = head.status.as_u16();
    if !get.statuses.contains(&status) {
        return Err(Error::Status(status));
    }
    if head.headers.get_all(CONTENT_ENCODING).iter().any(|encoding| encoding != "identity") {
        return Err(Error::Compressed);
    }
    // What is announced need not be waited for.
    if body.size_hint().lower() > u64::try_from(get.max_body).unwrap_or(u64::MAX) {
        return Err(Error::TooLarge { limit: get.max_body });
    }
    let body = Limited::new(body, get.max_body).collect().await.map_err(|error| {
        match error.is::<LengthLimitError>() {
            true => Error::TooLarge { limit: get.max_body },
            false => Error::Http,
        }
    })?;
    Ok(Response { status, headers: head.headers, body: body.to_bytes() })
}

/// Go: `redirectBehavior` of net/http.
fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// Go: `isDomainOrSubdomain` of net/http.
fn is_domain_or_subdomain(sub: &str, parent: &str) -> bool {
    // An IPv6 address has no subdomains, and `%` begins a zone.
    sub == parent
        || !sub.contains([':', '%']) && sub.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'))
}

fn authorization(token: &Zeroizing<String>) -> Result<HeaderValue, Error> {
    let text = Zeroizing::new(format!("Bearer {}", token.as_str()));
    let mut value = HeaderValue::from_str(&text).map_err(|_malformed| Error::Bearer)?;
    value.set_sensitive(true);
    Ok(value)
}

/// What our own connector said, if it was that which failed.
fn cause(error: &hyper_util::client::legacy::Error) -> Error {
    let mut source = error.source();
    while let Some(error) = source {
        if let Some(ours) = error.downcast_ref::<Error>() {
            return ours.clone();
        }
        source = error.source();
    }
    Error::Http
}
