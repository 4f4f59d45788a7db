//! Requests and answers.

use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, LOCATION, USER_AGENT,
};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Body as _;
use hyper_util::client::legacy::Client as Pool;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::time::timeout;
use zeroize::Zeroizing;

use super::dial::Dial;
use super::error::{ClientError, Error, Phase, RedirectError};
use super::proxy::Proxies;
use super::tls::{self, ClientCertificate, Trust};
use super::url::Url;
use crate::trace;

/// One request takes no longer, redirects and body included. Go: the `Timeout` that `New` of the OIDC authenticator sets.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// So many redirects are followed: the tenth is not. Go: `defaultCheckRedirect` of net/http.
pub const MAX_REDIRECTS: usize = 9;

/// The largest body, unless a [`Get`] says otherwise: 1 MiB, hundreds of keys. Go has no bound.
pub const DEFAULT_MAX_BODY: usize = 1024 * 1024;

/// Idle connections are kept so long. Go: `IdleConnTimeout` of `http.DefaultTransport`.
const IDLE_TIMEOUT: Duration = Duration::from_secs(90);

/// Idle connections to one server, which matters to webhooks that speak HTTP/1.1 only. Go: `idleConnsPerHost` of
/// k8s.io/client-go/transport/cache.go.
const MAX_IDLE_PER_HOST: usize = 25;

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
    pool: Pool<Dial, Full<Bytes>>,
}

/// How a [`Client`] reaches servers, and what it has to see and to show there.
#[derive(Debug)]
pub struct Settings<'a> {
    /// Whose certificate a server may have.
    pub trust: Trust<'a>,
    /// The name that it must have, a DNS name or an IP address, if not the host's.
    pub server_name: Option<&'a str>,
    /// What to show to a server that asks for a certificate.
    pub certificate: Option<ClientCertificate>,
    /// The way there.
    pub proxies: Proxies,
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

/// What to post.
pub struct Post<'a> {
    /// Where to.
    pub url: &'a Url,
    /// What to show there.
    pub authorization: Option<&'a Authorization>,
    /// A body in JSON.
    pub json: Bytes,
    /// The largest body of an answer in bytes.
    pub max_body: usize,
}

/// Credentials for a server, the value of `Authorization`. Never shown. What the HTTP library copies of it is not wiped.
#[derive(Clone)]
pub struct Authorization(HeaderValue);

impl Authorization {
    /// A bearer token (RFC 6750).
    pub fn bearer(token: &str) -> Result<Self, Error> {
        Self::of(&Zeroizing::new(format!("Bearer {token}")))
    }

    /// A user's name and password (RFC 7617).
    pub fn basic(user: &str, password: &str) -> Result<Self, Error> {
        let pair = Zeroizing::new(format!("{user}:{password}"));
        Self::of(&Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes()))))
    }

    fn of(text: &str) -> Result<Self, Error> {
        let mut value = HeaderValue::from_str(text).map_err(|_malformed| Error::Bearer)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authorization(..)")
    }
}

/// An answer: to a [`Get`], with a status that was asked for.
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
    /// A client that trusts the authorities of a PEM bundle and no other, or the system's if there is none.
    pub fn new(certificate_authority: Option<&[u8]>, proxies: Proxies) -> Result<Self, ClientError> {
        let trust = certificate_authority.map_or(Trust::System, Trust::Authorities);
        Self::with(Settings { trust, server_name: None, certificate: None, proxies })
    }

    /// A client with these settings.
    pub fn with(settings: Settings<'_>) -> Result<Self, ClientError> {
        let Settings { trust, server_name, certificate, proxies } = settings;
        let server_name = server_name.map(|name| ServerName::try_from(name.to_owned())).transpose();
        let server_name = server_name.map_err(|_no_name| ClientError::ServerName)?;
        let dial = Dial::new(tls::config(&trust, certificate.as_ref())?, server_name, proxies);
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

    /// Posts once, and follows no redirect. Any status will do. Ends after [`TIMEOUT`] at the latest.
    pub async fn post(&self, post: Post<'_>) -> Result<Response, Error> {
        let Post { url, authorization, json, max_body } = post;
        let mut request = request(Method::POST, url, authorization.map(|Authorization(value)| value), json)?;
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // Go: `setAcceptHeader` of k8s.io/client-go/rest/request.go.
        headers.insert(ACCEPT, HeaderValue::from_static("application/json, */*"));
        trace::write(headers);
        let exchange = async { read(self.send(request).await?, max_body).await };
        timeout(TIMEOUT, exchange).await.unwrap_or(Err(Error::Timeout(Phase::Whole)))
    }

    async fn follow(&self, get: &Get<'_>) -> Result<Response, Error> {
        let bearer = get.bearer.map(|token| Authorization::bearer(token)).transpose()?;
        let mut bearer = bearer.map(|Authorization(value)| value);
        let mut url = get.url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let request = request(Method::GET, &url, bearer.as_ref(), Bytes::new())?;
            let response = self.send(request).await?;
            let status = response.status();
            if !is_redirect(status) {
                return match get.statuses.contains(&status.as_u16()) {
                    true => read(response, get.max_body).await,
                    false => Err(Error::Status(status.as_u16())),
                };
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
        request: Request<Full<Bytes>>,
    ) -> Result<http::Response<hyper::body::Incoming>, Error> {
        self.pool.request(request).await.map_err(|error| cause(&error))
    }
}

fn request(
    method: Method,
    url: &Url,
    authorization: Option<&HeaderValue>,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, Error> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = method;
    *request.uri_mut() = url.to_http().map_err(|error| Error::Redirect(RedirectError::Location(error)))?;
    let headers = request.headers_mut();
    headers.insert(USER_AGENT, HeaderValue::from_static(concat!("countersign/", env!("CARGO_PKG_VERSION"))));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    if let Some(authorization) = authorization {
        headers.insert(AUTHORIZATION, authorization.clone());
    }
    Ok(request)
}

/// The whole answer.
async fn read(response: http::Response<hyper::body::Incoming>, max_body: usize) -> Result<Response, Error> {
    let (head, body) = response.into_parts();
    if head.headers.get_all(CONTENT_ENCODING).iter().any(|encoding| encoding != "identity") {
        return Err(Error::Compressed);
    }
    // What is announced need not be waited for.
    if body.size_hint().lower() > u64::try_from(max_body).unwrap_or(u64::MAX) {
        return Err(Error::TooLarge { limit: max_body });
    }
    let body = Limited::new(body, max_body).collect().await.map_err(|error| {
        match error.is::<LengthLimitError>() {
            true => Error::TooLarge { limit: max_body },
            false => cause(&*error),
        }
    })?;
    Ok(Response { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes() })
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

/// What our own connector said, if it was that which failed.
fn cause(error: &(dyn std::error::Error + 'static)) -> Error {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(ours) = error.downcast_ref::<Error>() {
            return ours.clone();
        }
        if error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.kind() == io::ErrorKind::ConnectionReset)
        {
            return Error::Reset;
        }
        next = error.source();
    }
    Error::Http
}
