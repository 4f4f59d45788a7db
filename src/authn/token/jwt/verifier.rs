//! Is a token its issuer's, for us, and now? Go: `IDTokenVerifier.Verify` of github.com/coreos/go-oidc/verify.go (2.5.0), and `Verify` of
//! `idTokenVerifier` in k8s.io/apiserver/plugin/pkg/authenticator/token/oidc/oidc.go.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::IssuerKeys;
use super::remote_keys::{FetchError, NoNewerKeys};
use crate::authn::{Now, Observer};
use crate::decision::Reason;
use crate::jose::{Algorithm, JsonWebKeySet, SignedToken};
use crate::json::{Number, Object, TypeError, Value};
use crate::trace;

/// How much earlier than its `nbf` a token is taken. Go: `leeway` in `Verify`.
const NOT_BEFORE_LEEWAY: Duration = Duration::from_secs(60);

/// Google's issuer, which leaves out the scheme in some tokens. Go: `issuerGoogleAccounts` and `issuerGoogleAccountsNoScheme`.
pub(super) const GOOGLE: &str = "https://accounts.google.com";
/// As it stands in those tokens.
pub(super) const GOOGLE_WITHOUT_SCHEME: &str = "accounts.google.com";

/// What any issuer's tokens have to be like.
#[derive(Debug)]
pub(super) struct Expectations {
    /// Algorithms that a token may be signed with.
    pub(super) algorithms: Vec<Algorithm>,
    /// The token has to be for one of these.
    pub(super) audiences: Vec<String>,
}

impl Expectations {
    /// The payload of a token that one of the issuer's keys verifies, and the set that this key is of. Waits if no key that is known
    /// does, and there may be new ones.
    pub(super) async fn verify_signature<'a>(
        &self,
        token: &'a SignedToken<'_>,
        keys: &IssuerKeys,
        observer: &impl Observer,
    ) -> Result<(&'a [u8], Arc<JsonWebKeySet>), Reason> {
        if !token.algorithm().is_some_and(|algorithm| self.algorithms.contains(&algorithm)) {
            return Err(Reason::UnsupportedAlgorithm);
        }
        let known = keys.current().ok_or_else(|| unavailable(keys))?;
        if let Some(payload) = verify(token, &known, observer) {
            return Ok((payload, known));
        }
        // In a box, since every Check would have to have room for it.
        match trace::asking("JSON Web Key Set", Box::pin(keys.newer(&known))).await {
            Ok(newer) => match verify(token, &newer, observer) {
                Some(payload) => Ok((payload, newer)),
                None => Err(refusal(token, &newer)),
            },
            Err(NoNewerKeys::Unknown) => Err(refusal(token, &known)),
            Err(NoNewerKeys::Unavailable) => match refusal(token, &known) {
                Reason::UnknownKey => Err(unavailable(keys)),
                refusal => Err(refusal),
            },
        }
    }

    /// Whether claims whose signature is good are those of `issuer`, for us, and valid at `now`; and until when, if the system's clock
    /// can say that. If some audiences are `wanted`, they are for one of these besides.
    pub(super) fn check(
        &self,
        claims: &Object<'_>,
        issuer: &str,
        wanted: Option<&[Box<str>]>,
        now: Now,
    ) -> Result<Option<SystemTime>, Reason> {
        let token = IdToken::of(claims)?;
        // The sources of distributed claims, whether they are used or not.
        if !token
            .claim_names
            .values()
            .all(|source| !source.is_empty() && token.claim_sources.contains(source))
        {
            return Err(Reason::DistributedClaims);
        }
        let same = token.issuer == issuer || issuer == GOOGLE && token.issuer == GOOGLE_WITHOUT_SCHEME;
        if !same {
            return Err(Reason::WrongIssuer);
        }
        let is_for = |audience: &str| token.audience.contains(&audience);
        if !self.audiences.iter().any(|ours| is_for(ours))
            || wanted.is_some_and(|wanted| !wanted.iter().any(|wanted| is_for(wanted)))
        {
            return Err(Reason::WrongAudience);
        }
        let now = now.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        if token.expiry < Time::at(now) {
            return Err(Reason::TokenExpired);
        }
        if token.not_before.is_some_and(|not_before| Time::at(now + NOT_BEFORE_LEEWAY) < not_before) {
            return Err(Reason::TokenNotYetValid);
        }
        Ok(token.expiry.system_time())
    }
}

/// Go: `remoteKeySet.verify` of github.com/coreos/go-oidc/jwks.go.
fn verify<'a>(
    token: &'a SignedToken<'_>,
    keys: &JsonWebKeySet,
    observer: &impl Observer,
) -> Option<&'a [u8]> {
    let candidates = &mut keys.candidates(token.key_id());
    let (key, payload) = candidates.find_map(|key| Some((key, token.verify(key).ok()?)))?;
    observer.verified(|| keys.key_id_of(key));
    Some(payload)
}

/// Why there are no keys. Kubernetes may read a set that we do not, and asks nobody else then.
fn unavailable(keys: &IssuerKeys) -> Reason {
    match keys.status().error {
        Some(FetchError::MalformedKeys(_)) => Reason::MalformedIssuerKeys,
        _ => Reason::IssuerKeysUnavailable,
    }
}

fn refusal(token: &SignedToken<'_>, keys: &JsonWebKeySet) -> Reason {
    if keys.candidates(token.key_id()).any(|key| token.is_beyond_us(key)) {
        return Reason::UnsupportedSignature;
    }
    if token.key_id().is_empty() || keys.has_key_id(token.key_id()) {
        Reason::InvalidSignature
    } else {
        Reason::UnknownKey
    }
}

/// A time as Go has it: seconds since the year 1, which wrap around, and nanoseconds. Go: `time.Unix`, `Time.Before`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
struct Time {
    seconds: i64,
    nanoseconds: u32,
}

impl Time {
    /// Go: `unixToInternal` of time/time.go.
    const UNIX_EPOCH: i64 = (1969 * 365 + 1969 / 4 - 1969 / 100 + 1969 / 400) * 86400;

    fn at(since_1970: Duration) -> Self {
        let seconds = i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX);
        Self { nanoseconds: since_1970.subsec_nanos(), ..Self::unix(seconds) }
    }

    /// None if that is before 1970, or beyond what the system's clock can say.
    fn system_time(self) -> Option<SystemTime> {
        let since_1970 = u64::try_from(self.seconds.checked_sub(Self::UNIX_EPOCH)?).ok()?;
        UNIX_EPOCH.checked_add(Duration::new(since_1970, self.nanoseconds))
    }

    fn unix(seconds: i64) -> Self {
        Self { seconds: seconds.wrapping_add(Self::UNIX_EPOCH), nanoseconds: 0 }
    }

    /// A NumericDate.
    ///
    /// Stricter than Go: a number beyond an int64 is an error; what Go makes of it depends on the processor.
    fn numeric_date(value: &Value<'_>) -> Result<Self, ClaimError> {
        let number = number(value)?;
        if let Ok(seconds) = number.int64() {
            return Ok(Self::unix(seconds));
        }
        truncated(number.float64()?).map(Self::unix).ok_or(ClaimError::OutOfRange)
    }
}

/// A number, which may be written as a string. Go: `jsonTime.UnmarshalJSON` of github.com/coreos/go-oidc/oidc.go.
fn number<'a>(value: &'a Value<'a>) -> Result<Number<'a>, TypeError> {
    let number = match value {
        Value::Number(number) => Some(*number),
        Value::String(text) => in_quotes(text),
        _ => None,
    };
    number.filter(|number| number.float64().is_ok()).ok_or(TypeError("a number"))
}

/// A number that is written as a string, without white space around it. Go: `isValidNumber` of encoding/json/decode.go.
fn in_quotes(text: &str) -> Option<Number<'_>> {
    match Value::parse(text.as_bytes()) {
        Ok(Value::Number(number)) if number.text().len() == text.len() => Some(number),
        _ => None,
    }
}

/// The integer part of a number, if that is an int64.
fn truncated(number: f64) -> Option<i64> {
    // Rust has no checked conversion; the shortest decimal form of an integral float is that integer.
    format!("{:.0}", number.trunc()).parse().ok()
}

/// What is wrong with a claim that every token has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClaimError {
    /// It is of another type, to Go as well.
    Type,
    /// It is a number of which Go makes something.
    OutOfRange,
}

impl From<TypeError> for ClaimError {
    fn from(_: TypeError) -> Self {
        Self::Type
    }
}

impl From<ClaimError> for Reason {
    fn from(error: ClaimError) -> Self {
        match error {
            ClaimError::Type => Self::MalformedClaims,
            ClaimError::OutOfRange => Self::ClaimOutOfRange,
        }
    }
}

/// What Go decodes a token into: in any case of letters, the last one of each. Go: `idToken` of github.com/coreos/go-oidc/oidc.go.
#[derive(Default)]
struct IdToken<'a> {
    issuer: &'a str,
    audience: Vec<&'a str>,
    expiry: Time,
    not_before: Option<Time>,
    claim_names: BTreeMap<&'a str, &'a str>,
    claim_sources: BTreeSet<&'a str>,
}

impl<'a> IdToken<'a> {
    fn of(claims: &'a Object<'_>) -> Result<Self, ClaimError> {
        let mut token = Self::default();
        for (name, value) in claims.folded_members() {
            match &*name {
                "iss" if !matches!(value, Value::Null) => token.issuer = value.string()?,
                "sub" | "nonce" | "at_hash" => {
                    value.string()?;
                }
                // Go: `audience.UnmarshalJSON`, to which `null` is an empty string.
                "aud" => {
                    token.audience =
                        value.string().map(|audience| vec![audience]).or_else(|_| value.strings())?;
                }
                "exp" => token.expiry = Time::numeric_date(value)?,
                "iat" => {
                    number(value)?;
                }
                "nbf" => {
                    token.not_before = match value {
                        Value::Null => None,
                        value => Some(Time::numeric_date(value)?),
                    };
                }
                "_claim_names" => token.add_claim_names(value)?,
                "_claim_sources" => token.add_claim_sources(value)?,
                _ => {}
            }
        }
        Ok(token)
    }

    /// A map is filled up by each field of its name, and emptied by `null`.
    fn add_claim_names(&mut self, value: &'a Value<'_>) -> Result<(), TypeError> {
        let Some(names) = value.object_or_null()? else {
            self.claim_names.clear();
            return Ok(());
        };
        for (name, source) in names.members() {
            self.claim_names.insert(name, source.string()?);
        }
        Ok(())
    }

    /// Likewise.
    fn add_claim_sources(&mut self, value: &'a Value<'_>) -> Result<(), TypeError> {
        let Some(sources) = value.object_or_null()? else {
            self.claim_sources.clear();
            return Ok(());
        };
        for (name, source) in sources.members() {
            if let Some(source) = source.object_or_null()? {
                source.string_field("endpoint")?;
                source.string_field("access_token")?;
            }
            self.claim_sources.insert(name);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::Value;

    const ISSUER: &str = "https://issuer.test";

    fn check_at(claims: &str, issuer: &str, now: Duration) -> Result<(), Reason> {
        let expectations = Expectations {
            algorithms: vec![Algorithm::RS256],
            audiences: vec!["us".to_owned(), "and us".to_owned()],
        };
        let Ok(Value::Object(claims)) = Value::parse(claims.as_bytes()) else { panic!("{claims}") };
        expectations.check(&claims, issuer, None, Now(UNIX_EPOCH + now)).map(drop)
    }

    /// The claims of a good token at second 1000, and more.
    fn check(more: &str) -> Result<(), Reason> {
        let claims = format!(r#"{{"iss":"{ISSUER}","aud":"us","exp":1001{more}}}"#);
        check_at(&claims, ISSUER, Duration::from_secs(1000))
    }

    /// S21, for issuers and audiences. Go: TestVerify and TestVerifyAudience of go-oidc's verify_test.go; the struct that a token is decoded into.
    #[test]
    fn a_token_is_of_its_issuer_and_for_us() {
        let table = [
            ("", Ok(())),
            (r#","aud":["others","and us"]"#, Ok(())),
            (r#","aud":[null,"us"]"#, Ok(())),
            (r#","AUD":"others""#, Err(Reason::WrongAudience)),
            (r#","aud":["others"]"#, Err(Reason::WrongAudience)),
            (r#","aud":[]"#, Err(Reason::WrongAudience)),
            (r#","aud":null"#, Err(Reason::WrongAudience)),
            (r#","aud":"US""#, Err(Reason::WrongAudience)),
            (r#","aud":1"#, Err(Reason::MalformedClaims)),
            (r#","aud":["us",1]"#, Err(Reason::MalformedClaims)),
            (r#","aud":1,"aud":"us""#, Err(Reason::MalformedClaims)),
            (r#","iss":null"#, Ok(())),
            (r#","Iss":"https://other.test""#, Err(Reason::WrongIssuer)),
            (r#","iſs":"https://other.test""#, Err(Reason::WrongIssuer)),
            (r#","iss":1"#, Err(Reason::MalformedClaims)),
            (r#","sub":1"#, Err(Reason::MalformedClaims)),
            (r#","sub":null"#, Ok(())),
            (r#","nonce":1"#, Err(Reason::MalformedClaims)),
            (r#","at_hash":{}"#, Err(Reason::MalformedClaims)),
            (r#","jti":1"#, Ok(())),
            (r#","_claim_names":{"a":"s"},"_claim_sources":{"s":{}}"#, Ok(())),
            (r#","_claim_names":{"a":"s"},"_claim_sources":{"S":{}}"#, Err(Reason::DistributedClaims)),
            (r#","_claim_names":{"a":""},"_claim_sources":{"":{}}"#, Err(Reason::DistributedClaims)),
            (r#","_claim_names":{"a":null}"#, Err(Reason::DistributedClaims)),
            (r#","_claim_names":{"a":"s"},"_claim_names":null"#, Ok(())),
            (r#","_claim_names":{"a":1}"#, Err(Reason::MalformedClaims)),
            (r#","_claim_names":[]"#, Err(Reason::MalformedClaims)),
            (r#","_claim_sources":{"s":{"endpoint":1}}"#, Err(Reason::MalformedClaims)),
            (r#","_claim_sources":{"s":{"Access_Token":1}}"#, Err(Reason::MalformedClaims)),
            (r#","_claim_sources":{"s":null}"#, Ok(())),
        ];
        for (more, expected) in table {
            assert_eq!(check(more), expected, "{more}");
        }
        let google = r#"{"iss":"accounts.google.com","aud":"us","exp":1001}"#;
        assert_eq!(check_at(google, GOOGLE, Duration::from_secs(1000)), Ok(()));
        assert_eq!(check_at(google, ISSUER, Duration::from_secs(1000)), Err(Reason::WrongIssuer));
        assert_eq!(check_at("{}", "", Duration::ZERO), Err(Reason::WrongAudience));
    }

    /// S17: a profile wants its own audience besides one of the issuer's.
    #[test]
    fn what_a_profile_wants_comes_on_top() {
        let expectations = Expectations {
            algorithms: vec![Algorithm::RS256],
            audiences: vec!["us".to_owned(), "and us".to_owned()],
        };
        let check = |audiences: &str, wanted: &[&str]| {
            let claims = format!(r#"{{"iss":"{ISSUER}","aud":{audiences},"exp":1001}}"#);
            let Ok(Value::Object(claims)) = Value::parse(claims.as_bytes()) else { panic!("{claims}") };
            let wanted: Vec<Box<str>> = wanted.iter().map(|wanted| Box::from(*wanted)).collect();
            expectations.check(&claims, ISSUER, Some(&wanted), Now(UNIX_EPOCH)).map(drop)
        };
        let wrong = Err(Reason::WrongAudience);
        assert_eq!(check(r#""us""#, &["us"]), Ok(()));
        assert_eq!(check(r#""us""#, &["and us"]), wrong);
        assert_eq!(check(r#"["us","billing"]"#, &["x", "billing"]), Ok(()));
        assert_eq!(
            check(r#""billing""#, &["billing"]),
            wrong,
            "it is for nobody whom the issuer is believed about"
        );
        assert_eq!(check(r#""us""#, &[]), wrong);
    }

    /// S21 (CVE-2026-25537): a time of a wrong type is not one that is missing. Go: TestVerify of go-oidc's verify_test.go (expired,
    /// nbf), `jsonTime` of oidc.go.
    #[test]
    fn times_are_numbers_and_without_a_good_one_a_token_is_refused() {
        let table = [
            (r#","exp":1000"#, Ok(())),
            (r#","exp":999"#, Err(Reason::TokenExpired)),
            (r#","exp":1000.9"#, Ok(())),
            (r#","exp":1e3"#, Ok(())),
            (r#","exp":"1000""#, Ok(())),
            (r#","exp":"999""#, Err(Reason::TokenExpired)),
            (r#","exp":"1e3""#, Ok(())),
            (r#","exp":-1"#, Err(Reason::TokenExpired)),
            (r#","EXP":999"#, Err(Reason::TokenExpired)),
            (r#","exp":null"#, Err(Reason::MalformedClaims)),
            (r#","exp":"""#, Err(Reason::MalformedClaims)),
            (r#","exp":" 1000""#, Err(Reason::MalformedClaims)),
            (r#","exp":"1000 ""#, Err(Reason::MalformedClaims)),
            (r#","exp":"+1000""#, Err(Reason::MalformedClaims)),
            (r#","exp":"01000""#, Err(Reason::MalformedClaims)),
            (r#","exp":"0x3e8""#, Err(Reason::MalformedClaims)),
            (r#","exp":"Inf""#, Err(Reason::MalformedClaims)),
            (r#","exp":"null""#, Err(Reason::MalformedClaims)),
            (r#","exp":true"#, Err(Reason::MalformedClaims)),
            (r#","exp":[1000]"#, Err(Reason::MalformedClaims)),
            (r#","exp":1e400"#, Err(Reason::MalformedClaims)),
            // Go's reading of these depends on the processor.
            (r#","exp":1e300"#, Err(Reason::ClaimOutOfRange)),
            (r#","nbf":-1e19"#, Err(Reason::ClaimOutOfRange)),
            (r#","exp":9223372036854775808"#, Err(Reason::ClaimOutOfRange)),
            // Go's time wraps around: long ago.
            (r#","exp":9223372036854775807"#, Err(Reason::TokenExpired)),
            (r#","nbf":9223372036854775807"#, Ok(())),
            (r#","exp":9223371974719179007"#, Ok(())),
            (r#","exp":9223371974719179008"#, Err(Reason::TokenExpired)),
            (r#","nbf":1060"#, Ok(())),
            (r#","nbf":1061"#, Err(Reason::TokenNotYetValid)),
            (r#","nbf":"9999""#, Err(Reason::TokenNotYetValid)),
            (r#","nbf":"soon""#, Err(Reason::MalformedClaims)),
            (r#","nbf":9999,"nbf":null"#, Ok(())),
            (r#","iat":9999"#, Ok(())),
            (r#","iat":1e300"#, Ok(())),
            (r#","iat":1e400"#, Err(Reason::MalformedClaims)),
            (r#","iat":"x""#, Err(Reason::MalformedClaims)),
            (r#","iat":null"#, Err(Reason::MalformedClaims)),
        ];
        for (more, expected) in table {
            assert_eq!(check(more), expected, "{more}");
        }
        let at =
            |exp: u64, now| check_at(&format!(r#"{{"iss":"{ISSUER}","aud":"us","exp":{exp}}}"#), ISSUER, now);
        assert_eq!(at(1000, Duration::new(1000, 1)), Err(Reason::TokenExpired), "to the nanosecond");
        let without = format!(r#"{{"iss":"{ISSUER}","aud":"us"}}"#);
        assert_eq!(check_at(&without, ISSUER, Duration::ZERO), Err(Reason::TokenExpired));
        let not_before = format!(r#"{{"iss":"{ISSUER}","aud":"us","exp":1001,"nbf":1060}}"#);
        assert_eq!(
            check_at(&not_before, ISSUER, Duration::new(999, 999_999_999)),
            Err(Reason::TokenNotYetValid)
        );
    }

    proptest! {
        #[test]
        fn no_claims_make_it_panic(value in "(null|true|-?(0|[1-9][0-9]{0,21})(\\.[0-9])?(e[0-9]{1,3})?|\"[0-9e.]{0,9}\"|\\[\"us\"\\]|\\{\"a\":\\{\"endpoint\":\"b\"\\}\\})", name in "(exp|nbf|iat|aud|iss|_claim_names|_claim_sources)", now in any::<u32>()) {
            let claims = format!(r#"{{"iss":"{ISSUER}","aud":"us","{name}":{value}}}"#);
            let _any = check_at(&claims, ISSUER, Duration::from_secs(now.into()));
        }
    }
}
