//! Keys of issuers that behave, rotate, fail and lie, in a time that jumps.

use std::collections::HashSet;
use std::sync::Weak;

use bytes::Bytes;
use http::HeaderMap;

use super::discovery::Origin;
use super::freshness::{DEFAULT_LIFETIME, MAX_LIFETIME, MAX_RETRY, MIN_LIFETIME};
use super::*;
use crate::https::{ClientError, Phase, Proxies, UrlError};
use crate::pki::PoolError;

mod over_https;
mod tokens;

/// The kids of a set, a word each.
#[derive(Debug, PartialEq)]
struct Kids(HashSet<String>);

impl KeySet for Kids {
    fn parse(body: &[u8]) -> Result<Self, MalformedKeys> {
        let text = std::str::from_utf8(body).map_err(|_binary| MalformedKeys)?;
        assert!(text != "panic", "a bug");
        match text.strip_prefix("keys:") {
            Some(kids) => Ok(Self(kids.split_whitespace().map(str::to_owned).collect())),
            None => Err(MalformedKeys),
        }
    }

    fn key_count(&self) -> usize {
        self.0.len()
    }
}

const ISSUER: &str = "https://issuer.test";
const DOCUMENT: &str = "https://issuer.test/.well-known/openid-configuration";
const KEYS: &str = "https://issuer.test/keys";

fn document() -> String {
    format!(r#"{{"issuer":"{ISSUER}","jwks_uri":"{KEYS}"}}"#)
}

/// What an issuer says to a URL, and after how long.
type Said = (Duration, Result<Response, Error>);

fn says(headers: &[(&'static str, &str)], body: &str) -> Said {
    let headers: HeaderMap =
        headers.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect();
    (Duration::ZERO, Ok(Response { status: 200, headers, body: Bytes::from(body.to_owned()) }))
}

fn fails(error: Error) -> Said {
    (Duration::ZERO, Err(error))
}

/// An issuer, as a function, and a record of what it was asked and when.
#[derive(Clone)]
struct Site {
    says: Arc<dyn Fn(&str) -> Said + Send + Sync>,
    asked: Arc<Mutex<Vec<(String, Instant)>>>,
}

impl Site {
    fn new(says: impl Fn(&str) -> Said + Send + Sync + 'static) -> Self {
        Self { says: Arc::new(says), asked: Arc::default() }
    }

    /// One with a good document.
    fn with_keys(says_keys: impl Fn() -> Said + Send + Sync + 'static) -> Self {
        Self::new(move |url| match url {
            DOCUMENT => says(&[], &document()),
            KEYS => says_keys(),
            other => panic!("asked for {other}"),
        })
    }

    fn keys(&self) -> RemoteKeys<Kids> {
        self.keys_with(freshness::random)
    }

    /// With numbers in place of random ones.
    fn keys_with(&self, random: impl Fn() -> f64 + Send + Sync + 'static) -> RemoteKeys<Kids> {
        let source = Source { url: ISSUER.to_owned(), discovery_url: None, certificate_authority: None };
        let origin = Origin::of(&source).unwrap();
        RemoteKeys::new(source, origin, self.clone(), random)
    }

    /// When it was asked for keys.
    fn fetches(&self) -> Vec<Instant> {
        self.asked.lock().unwrap().iter().filter(|(url, _)| url == KEYS).map(|(_, at)| *at).collect()
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|(url, _)| url.clone()).collect()
    }
}

impl Fetch for Site {
    async fn get(&self, get: &Get<'_>) -> Result<Response, Error> {
        self.asked.lock().unwrap().push((get.url.as_str().to_owned(), Instant::now()));
        let (after, said) = (self.says)(get.url.as_str());
        sleep(after).await;
        said
    }
}

/// Something that a test changes under a site's feet.
#[derive(Clone)]
struct Cell<T>(Arc<Mutex<T>>);

impl<T: Clone> Cell<T> {
    fn new(value: T) -> Self {
        Self(Arc::new(Mutex::new(value)))
    }

    fn set(&self, value: T) {
        *self.0.lock().unwrap() = value;
    }

    fn get(&self) -> T {
        self.0.lock().unwrap().clone()
    }
}

/// In a time that jumps this waits for nobody, and lets others do what is due until then.
async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// A moment, for others to do what is due now.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn kids(kids: &str) -> Option<Kids> {
    Some(Kids(kids.split_whitespace().map(str::to_owned).collect()))
}

fn current(keys: &RemoteKeys<Kids>) -> Option<Kids> {
    keys.current().map(|keys| Kids(keys.0.clone()))
}

/// Has begun, and has keys.
async fn ready(keys: &RemoteKeys<Kids>) -> Arc<Kids> {
    keys.wait_ready(seconds(60)).await.unwrap();
    keys.current().unwrap()
}

#[tokio::test(start_paused = true)]
async fn keys_are_found_by_discovery() {
    let site = Site::with_keys(|| says(&[], "keys: a b"));
    let keys = site.keys();
    settle().await;
    assert_eq!((site.asked(), current(&keys)), (vec![], None));
    keys.start();
    settle().await;
    assert_eq!(site.asked(), [DOCUMENT, KEYS]);
    assert_eq!(current(&keys), kids("a b"));
    keys.start();
    sleep(seconds(3)).await;
    assert_eq!(site.asked().len(), 2);
    let age = seconds(3) + Duration::from_millis(1);
    assert_eq!(keys.status(), Status { keys: Some(2), age: Some(age), failures: 0, error: None });
}

/// Go: NewProvider; TestNewProvider of go-oidc; discoveryURLRoundTripper.
#[test]
fn the_document_is_below_the_issuer_or_at_the_discovery_url() {
    let well_known = |url: &str| format!("{url}/.well-known/openid-configuration");
    let origin = |url: &str, discovery_url: Option<&str>| {
        let discovery_url = discovery_url.map(str::to_owned);
        let source = Source { url: url.to_owned(), discovery_url, certificate_authority: None };
        Origin::of(&source).map(|origin| origin.document.as_str().to_owned())
    };
    assert_eq!(origin("https://a.test", None), Ok(well_known("https://a.test")));
    assert_eq!(origin("https://a.test/", None), Ok(well_known("https://a.test")));
    assert_eq!(origin("https://a.test/b//", None), Ok(well_known("https://a.test/b/")));
    assert_eq!(origin("https://a.test", Some("https://b.test/c?d")), Ok("https://b.test/c?d".to_owned()));
    assert_eq!(origin("http://a.test", None), Err(UrlError::NotHttps));
    assert_eq!(origin("https://a.test", Some("http://b.test/c")), Err(UrlError::NotHttps));
}

/// What came of the first attempt.
async fn first(site: &Site) -> Option<FetchError> {
    let keys = site.keys();
    keys.start();
    settle().await;
    assert_eq!(keys.status().failures > 0, keys.current().is_none());
    keys.status().error
}

/// Go: TestNewProvider of go-oidc ("missing_jwks_uri", "mismatched_issuer", "bad_content_type", ...). Of a key set elsewhere than at
/// `https://` Go would take keys; threats, outbound fetches: it may be `http://169.254.169.254/`.
#[tokio::test(start_paused = true)]
async fn a_document_must_be_about_the_issuer_and_name_its_keys() {
    let not_https = || Some(FetchError::KeySetUrl(UrlError::NotHttps));
    let malformed = || Some(FetchError::MalformedDiscovery);
    let about = |issuer: &str| format!(r#"{{"issuer":"{issuer}","jwks_uri":"{KEYS}"}}"#);
    let with = |rest: &str| format!(r#"{{"issuer":"{ISSUER}",{rest}}}"#);
    let good = format!(r#""jwks_uri":"{KEYS}""#);
    let table = [
        (document(), None),
        (format!("\n{} ", document()), None),
        (with(&format!(r#"{good},"token_endpoint":null,"scopes_supported":[1],"x":{{"issuer":"y"}}"#)), None),
        // As Go decodes JSON: names in any case of letters, and the last of two.
        (format!(r#"{{"ISSUER":"https://evil.test","Issuer":"{ISSUER}","JWKS_URI":"{KEYS}"}}"#), None),
        (
            format!(r#"{{"issuer":"{ISSUER}","ISSUER":"https://evil.test",{good}}}"#),
            Some(FetchError::OtherIssuer),
        ),
        (about("https://issuer.test/"), Some(FetchError::OtherIssuer)),
        (about("https://ISSUER.test"), Some(FetchError::OtherIssuer)),
        (about("https://evil.test"), Some(FetchError::OtherIssuer)),
        (about(""), Some(FetchError::OtherIssuer)),
        (format!("{{{good}}}"), Some(FetchError::OtherIssuer)),
        (with(r#""x":1"#), Some(FetchError::NoKeySet)),
        (with(r#""jwks_uri":"""#), Some(FetchError::NoKeySet)),
        (with(r#""jwks_uri":null"#), Some(FetchError::NoKeySet)),
        (with(r#""jwks_uri":"http://issuer.test/keys""#), not_https()),
        (with(r#""jwks_uri":"http://169.254.169.254/latest/meta-data""#), not_https()),
        (with(r#""jwks_uri":"file:///etc/passwd""#), not_https()),
        (with(r#""jwks_uri":"/keys""#), Some(FetchError::KeySetUrl(UrlError::Malformed))),
        (
            with(r#""jwks_uri":"https://a:b@issuer.test/keys""#),
            Some(FetchError::KeySetUrl(UrlError::UserInfo)),
        ),
        (with(&format!(r#"{good},"token_endpoint":1"#)), malformed()),
        (with(&format!(r#"{good},"id_token_signing_alg_values_supported":"RS256""#)), malformed()),
        (format!("{}{{}}", document()), malformed()),
        ("<html>".to_owned(), malformed()),
        ("[]".to_owned(), malformed()),
        ("null".to_owned(), Some(FetchError::OtherIssuer)),
        (String::new(), malformed()),
        (r#"{"x":"#.repeat(100_000), malformed()),
    ];
    for (document, expected) in table {
        let site = Site::new({
            let document = document.clone();
            move |url| match url {
                DOCUMENT => says(&[("content-type", "text/html")], &document),
                _ => says(&[], "keys: a"),
            }
        });
        assert_eq!(first(&site).await, expected, "{document:.200}");
    }
    let site = Site::new(|_| fails(Error::Status(404)));
    assert_eq!(first(&site).await, Some(FetchError::Discovery(Error::Status(404))));
}

/// Threats S26: what Envoy's own JWT filter fell over (CVE-2024-45809, CVE-2025-64527).
#[tokio::test(start_paused = true)]
async fn keys_that_cannot_be_fetched_or_read_are_an_error_and_nothing_else() {
    let table = [
        (says(&[("content-type", "text/plain")], "keys: a"), None),
        (says(&[], "keys:"), None),
        (says(&[], "<html>"), Some(FetchError::MalformedKeys(MalformedKeys))),
        (says(&[], "panic"), Some(FetchError::Panicked)),
        (fails(Error::Status(500)), Some(FetchError::Keys(Error::Status(500)))),
        (fails(Error::Timeout(Phase::Whole)), Some(FetchError::Keys(Error::Timeout(Phase::Whole)))),
        (fails(Error::TooLarge { limit: 1 }), Some(FetchError::Keys(Error::TooLarge { limit: 1 }))),
    ];
    for (said, expected) in table {
        let site = Site::with_keys(move || said.clone());
        assert_eq!(first(&site).await, expected);
    }
}

/// After a panic the task goes on.
#[tokio::test(start_paused = true)]
async fn a_panic_is_an_attempt_that_failed() {
    let body = Cell::new("panic");
    let site = Site::with_keys({
        let body = body.clone();
        move || says(&[], body.get())
    });
    let keys = site.keys();
    keys.start();
    settle().await;
    assert_eq!(
        keys.status(),
        Status { keys: None, age: None, failures: 1, error: Some(FetchError::Panicked) }
    );
    body.set("keys: a");
    sleep(MAX_RETRY).await;
    assert_eq!(current(&keys), kids("a"));
}

/// The keys are asked for again before they expire, at no time that all choose.
#[tokio::test(start_paused = true)]
async fn keys_are_fetched_again_before_they_expire() {
    let site = Site::with_keys(|| says(&[("cache-control", "max-age=1000")], "keys: a"));
    let keys = site.keys();
    ready(&keys).await;
    sleep(seconds(100_000)).await;
    let fetches = site.fetches();
    let gaps: HashSet<Duration> = fetches.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(gaps.iter().all(|gap| (seconds(750)..=seconds(901)).contains(gap)), "{gaps:?}");
    assert!(gaps.len() > 90, "{gaps:?}");
    assert_eq!(site.asked().iter().filter(|url| *url == DOCUMENT).count(), 1);
}

/// Go: TestRotation of go-oidc. The issuer says for how long its answers may be kept, and lets that time pass before it signs with a
/// new key: nobody ever waits, or is refused.
#[tokio::test(start_paused = true)]
async fn a_key_that_is_published_before_it_is_used_costs_no_refusal() {
    let published = Cell::new("keys: 0 1".to_owned());
    let site = Site::with_keys({
        let published = published.clone();
        move || says(&[("cache-control", "max-age=300")], &published.get())
    });
    let keys = site.keys();
    ready(&keys).await;
    for used in 0..100_u32 {
        // The key in use, and the next.
        published.set(format!("keys: {used} {}", used + 1));
        for _ in 0..30 {
            sleep(seconds(10)).await;
            assert!(keys.current().unwrap().0.contains(&used.to_string()));
        }
        assert!(keys.current().unwrap().0.contains(&(used + 1).to_string()));
    }
}

/// Stale keys are better than none: an issuer that is down keeps nobody out whose token is good.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_fails_leaves_the_keys_as_they_are() {
    let said = Cell::new(says(&[("cache-control", "max-age=60")], "keys: a"));
    let site = Site::with_keys({
        let said = said.clone();
        move || said.get()
    });
    let keys = site.keys();
    ready(&keys).await;
    for failure in [fails(Error::Dns), says(&[], "<html>"), fails(Error::Status(404))] {
        said.set(failure);
        sleep(seconds(86_400)).await;
        assert_eq!(current(&keys), kids("a"));
    }
    let status = keys.status();
    assert!(status.age.unwrap() >= seconds(3 * 86_400));
    assert_eq!((status.keys, status.error), (Some(1), Some(FetchError::Keys(Error::Status(404)))));
    // Never more often than every 5 s, a random half of the back-off's bound, once that is reached.
    assert!((3 * 86_400 / 10 - 10..3 * 86_400 / 5).contains(&status.failures), "{}", status.failures);
    said.set(says(&[], "keys: b"));
    sleep(MAX_RETRY).await;
    assert_eq!(current(&keys), kids("b"));
    assert_eq!((keys.status().failures, keys.status().error), (0, None));
}

/// An issuer that withdraws its keys means it.
#[tokio::test(start_paused = true)]
async fn keys_that_are_withdrawn_are_forgotten() {
    let body = Cell::new("keys: a b");
    let site = Site::with_keys({
        let body = body.clone();
        move || says(&[("cache-control", "max-age=31536000")], body.get())
    });
    let keys = site.keys();
    ready(&keys).await;
    for (published, after) in [("keys: a", MAX_LIFETIME), ("keys:", MAX_LIFETIME), ("keys: c", MIN_LIFETIME)]
    {
        body.set(published);
        sleep(after).await;
        assert_eq!(current(&keys), kids(published.strip_prefix("keys:").unwrap()));
    }
}

/// Go: the poll every 10 s of `New`, TestToken ("health check failure"): an issuer that is down when we start heals by itself.
#[tokio::test(start_paused = true)]
async fn an_issuer_that_is_down_at_first_heals() {
    let up = Cell::new(false);
    let site = Site::new({
        let up = up.clone();
        move |url| match (up.get(), url) {
            (false, _) => fails(Error::Connect(std::io::ErrorKind::ConnectionRefused)),
            (true, DOCUMENT) => says(&[], &document()),
            (true, _) => says(&[], "keys: a"),
        }
    });
    let keys = site.keys();
    let down = FetchError::Discovery(Error::Connect(std::io::ErrorKind::ConnectionRefused));
    assert_eq!(keys.wait_ready(seconds(600)).await, Err(Some(down.clone())));
    assert_eq!((current(&keys), keys.status().error), (None, Some(down)));
    let asked: Vec<Instant> = site.asked.lock().unwrap().iter().map(|(_, at)| *at).collect();
    let gaps: Vec<Duration> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (gap, bound) in gaps.iter().zip([1, 2, 4, 8].into_iter().chain(std::iter::repeat(10))) {
        assert!((seconds(bound) / 2..=seconds(bound) + Duration::from_millis(1)).contains(gap), "{gaps:?}");
    }
    up.set(true);
    assert_eq!(keys.wait_ready(MAX_RETRY).await, Ok(()));
    assert_eq!(current(&keys), kids("a"));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_of_an_issuer_that_has_not_answered() {
    let site = Site::with_keys(|| (seconds(29), says(&[], "keys: a").1));
    let keys = site.keys();
    assert_eq!(keys.wait_ready(seconds(1)).await, Err(None));
    assert_eq!(keys.status(), Status { keys: None, age: None, failures: 0, error: None });
    assert_eq!(keys.wait_ready(seconds(30)).await, Ok(()));
}

/// A key set that has moved is found again; Kubernetes would have to be restarted.
#[tokio::test(start_paused = true)]
async fn a_key_set_that_has_moved_is_found() {
    let moved = Cell::new(false);
    let site = Site::new({
        let moved = moved.clone();
        move |url| match (moved.get(), url) {
            (false, DOCUMENT) => says(&[], &document()),
            (true, DOCUMENT) => says(&[], &document().replace("keys", "new")),
            (false, KEYS) => says(&[("cache-control", "max-age=60")], "keys: a"),
            (true, "https://issuer.test/new") => says(&[], "keys: b"),
            _ => fails(Error::Status(404)),
        }
    });
    let keys = site.keys();
    ready(&keys).await;
    moved.set(true);
    sleep(seconds(120)).await;
    assert_eq!(current(&keys), kids("b"));
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_last_who_has_the_keys() {
    let site = Site::with_keys(|| says(&[("cache-control", "max-age=60")], "keys: a"));
    let keys = Arc::new(site.keys());
    ready(&keys).await;
    let shared: Weak<Shared<Kids>> = Arc::downgrade(&keys.shared);
    let other = Arc::clone(&keys);
    drop(keys);
    sleep(seconds(120)).await;
    let fetches = site.fetches().len();
    assert!(fetches > 1);
    drop(other);
    settle().await;
    assert_eq!(shared.strong_count(), 0);
    sleep(seconds(86_400)).await;
    assert_eq!(site.fetches().len(), fetches);

    // In the middle of a fetch, and before the first.
    let stuck = Site::with_keys(|| (seconds(29), says(&[], "keys: a").1));
    for start in [true, false] {
        let keys = stuck.keys();
        if start {
            keys.start();
        }
        settle().await;
        let shared = Arc::downgrade(&keys.shared);
        drop(keys);
        settle().await;
        assert_eq!(shared.strong_count(), 0);
    }
}

/// A configuration that is loaded anew finds the keys that are there.
#[tokio::test(start_paused = true)]
async fn equal_sources_have_the_same_keys() {
    let registry = Registry::<Kids>::new(Proxies::default());
    let pem = crate::https::testing::Authority::new().pem();
    let source = Source { url: ISSUER.to_owned(), discovery_url: None, certificate_authority: Some(pem) };
    let keys = registry.keys(&source).unwrap();
    assert!(Arc::ptr_eq(&keys, &registry.keys(&source).unwrap()));
    assert_eq!(keys.source(), &source);
    let elsewhere = Source { discovery_url: Some("https://elsewhere.test/".to_owned()), ..source.clone() };
    let others = [
        Source { url: "https://other.test".to_owned(), ..source.clone() },
        elsewhere,
        Source {
            certificate_authority: Some(crate::https::testing::Authority::new().pem()),
            ..source.clone()
        },
    ];
    for other in &others {
        assert!(!Arc::ptr_eq(&keys, &registry.keys(other).unwrap()));
    }
    let gone = Arc::downgrade(&keys);
    drop(keys);
    assert!(gone.upgrade().is_none());
    assert_eq!(registry.keys(&source).unwrap().current(), None);
    let bad = |source: Source| registry.keys(&source).map(drop).unwrap_err();
    assert_eq!(
        bad(Source { url: "http://a.test".to_owned(), ..source.clone() }),
        SourceError::Url(UrlError::NotHttps)
    );
    let bad_roots = Source { certificate_authority: Some(String::new()), ..source };
    assert_eq!(bad(bad_roots), SourceError::Roots(ClientError::Bundle(PoolError::NoCertificates)));
}

/// Go: TestUpdateDelta... of go-oidc; cacheobject's tests of github.com/pquerna/cachecontrol; RFC 9111, section 4.2.
#[test]
fn an_issuer_says_how_long_its_keys_are_fresh() {
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let table: [(&[(&'static str, &str)], Duration); 21] = [
        (&[], DEFAULT_LIFETIME),
        (&[("cache-control", "max-age=600")], seconds(600)),
        (&[("cache-control", "public, MAX-AGE=600, must-revalidate")], seconds(600)),
        (&[("cache-control", "max-age=\"600\"")], seconds(600)),
        (&[("cache-control", "public"), ("cache-control", "max-age=600")], seconds(600)),
        (&[("cache-control", "max-age=600, s-maxage=700")], seconds(700)),
        (&[("cache-control", "max-age=600"), ("age", "100")], seconds(500)),
        (&[("cache-control", "max-age=600"), ("age", "601")], MIN_LIFETIME),
        (&[("cache-control", "max-age=0")], MIN_LIFETIME),
        (&[("cache-control", "no-store")], MIN_LIFETIME),
        (&[("cache-control", "No-Cache, max-age=600")], MIN_LIFETIME),
        (&[("cache-control", "max-age=31536000")], MAX_LIFETIME),
        (&[("cache-control", "max-age=18446744073709551615")], MAX_LIFETIME),
        (&[("cache-control", "max-age=18446744073709551616")], DEFAULT_LIFETIME),
        (&[("cache-control", "max-age=-1")], DEFAULT_LIFETIME),
        (&[("cache-control", "max-age")], DEFAULT_LIFETIME),
        (&[("date", date), ("expires", "Sun, 06 Nov 1994 08:59:37 GMT")], seconds(600)),
        (&[("date", date), ("expires", "Sun, 06 Nov 1994 08:39:37 GMT")], MIN_LIFETIME),
        (&[("date", date), ("expires", "-1")], MIN_LIFETIME),
        (&[("expires", "Sun, 06 Nov 1994 08:59:37 GMT")], DEFAULT_LIFETIME),
        (&[("date", date), ("expires", date), ("cache-control", "max-age=600")], seconds(600)),
    ];
    for (headers, expected) in table {
        let headers: HeaderMap =
            headers.iter().map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap())).collect();
        assert_eq!(freshness::lifetime(&headers), expected, "{headers:?}");
    }
}
