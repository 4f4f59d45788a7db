//! When to fetch again.

use std::time::Duration;

use aws_lc_rs::rand::{SystemRandom, generate};
use http::header::{AGE, CACHE_CONTROL, DATE, EXPIRES};
use http::{HeaderMap, HeaderValue};

/// Keys are not fetched more often, whatever the issuer says.
pub(super) const MIN_LIFETIME: Duration = Duration::from_secs(60);

/// Keys are not kept longer without asking: a key that the issuer withdraws is trusted no longer than this.
pub(super) const MAX_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// Where the issuer says nothing.
pub(super) const DEFAULT_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// After the first attempt that failed; doubled after each that follows.
pub(super) const MIN_RETRY: Duration = Duration::from_secs(1);

/// Never longer after an attempt that failed. Go: the interval at which `New` of the OIDC authenticator tries again.
pub(super) const MAX_RETRY: Duration = Duration::from_secs(10);

/// How long an answer is fresh (RFC 9111, section 4.2.1, as of a shared cache), within our bounds. Go:
/// `UsingRequestResponse` of github.com/pquerna/cachecontrol, with which go-oidc finds out when keys expire.
pub(super) fn lifetime(headers: &HeaderMap) -> Duration {
    let said = max_age(headers).or_else(|| expires_in(headers));
    let rest = said.map(|said| said.saturating_sub(age_of(headers)));
    rest.unwrap_or(DEFAULT_LIFETIME).clamp(MIN_LIFETIME, MAX_LIFETIME)
}

/// Before the end of a lifetime, at random (`fraction`), so that not everybody asks at once.
pub(super) fn refresh_after(lifetime: Duration, fraction: f64) -> Duration {
    lifetime.mul_f64(between(0.75, 0.9, fraction))
}

/// After so many failures in a row, at least one.
pub(super) fn retry_after(failures: u32, fraction: f64) -> Duration {
    let doubled = MIN_RETRY.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    doubled.min(MAX_RETRY).mul_f64(between(0.5, 1.0, fraction))
}

/// A random number from 0 to 1.
pub(super) fn random() -> f64 {
    let random: Result<[u8; 4], _> = generate(&SystemRandom::new()).map(|random| random.expose());
    random.map_or(0.5, |random| f64::from(u32::from_ne_bytes(random)) / f64::from(u32::MAX))
}

/// None at all with `no-store` or `no-cache`, else `s-maxage`, or else `max-age`.
fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all(CACHE_CONTROL).iter().filter_map(|line| line.to_str().ok());
    let (mut shared, mut private) = (None, None);
    for directive in lines.flat_map(|line| line.split(',')) {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        let seconds = || value.trim().trim_matches('"').parse().ok().map(Duration::from_secs);
        match name.trim().to_ascii_lowercase().as_str() {
            "no-store" | "no-cache" => return Some(Duration::ZERO),
            "s-maxage" => shared = shared.or_else(seconds),
            "max-age" => private = private.or_else(seconds),
            _ => {}
        }
    }
    shared.or(private)
}

/// `Expires` after `Date`, by the issuer's clock alone. What is no date is in the past (RFC 9111, section 5.3).
fn expires_in(headers: &HeaderMap) -> Option<Duration> {
    let at = |value: &HeaderValue| httpdate::parse_http_date(value.to_str().ok()?).ok();
    let (expires, date) = (headers.get(EXPIRES)?, at(headers.get(DATE)?)?);
    Some(at(expires).and_then(|expires| expires.duration_since(date).ok()).unwrap_or_default())
}

/// How long a cache between us has had it.
fn age_of(headers: &HeaderMap) -> Duration {
    let age = headers.get(AGE).and_then(|age| age.to_str().ok()).and_then(|age| age.parse().ok());
    age.map(Duration::from_secs).unwrap_or_default()
}

fn between(low: f64, high: f64, fraction: f64) -> f64 {
    low + (high - low) * fraction
}
