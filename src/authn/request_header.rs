//! A front proxy says who is calling, in headers, and proves with its certificate that it may
//! (Go: k8s.io/apiserver/pkg/authentication/request/headerrequest, behind `x509.NewDynamicCAVerifier`).
//!
//! Kubernetes reads header lines one by one. Envoy's plain encoding has joined those of one name with commas, and written `!`
//! for what is not UTF-8, so there a value with either is refused: `a,b` may have been two groups or one. This authenticator
//! wants `encode_raw_headers`.

use std::collections::BTreeMap;
use std::sync::Arc;

use percent_encoding::percent_decode;

use super::client_certificate::{ClientCertificates, Presented};
use super::{AuthenticateRequest, Now, Observer, Outcome};
use crate::decision::{Authenticated, Authenticator, Reason};
use crate::identity::{Extra, Groups, Identity};
use crate::request::{Headers, Request};

/// Which headers a front proxy writes, in lower case.
#[derive(Debug, Clone, Default)]
pub struct RequestHeaderNames {
    /// `--requestheader-username-headers`: the first that is not empty.
    pub username: Vec<String>,
    /// `--requestheader-uid-headers`, likewise.
    pub uid: Vec<String>,
    /// `--requestheader-group-headers`: all values of all of them.
    pub group: Vec<String>,
    /// `--requestheader-extra-headers-prefix`: all headers with one of them.
    pub extra_prefix: Vec<String>,
}

/// Believes a front proxy.
#[derive(Debug)]
pub struct RequestHeader {
    proxies: ClientCertificates,
    /// Empty: every proxy that the CA vouches for.
    allowed_names: Vec<Box<str>>,
    names: RequestHeaderNames,
}

impl RequestHeader {
    /// Believes proxies with a certificate of `proxies` and one of `allowed_names` as its common name.
    pub fn new(proxies: ClientCertificates, allowed_names: Vec<Box<str>>, names: RequestHeaderNames) -> Self {
        Self { proxies, allowed_names, names }
    }

    /// Go: `x509.Verifier.AuthenticateRequest`, then `requestHeaderAuthRequestHandler.AuthenticateRequest`.
    fn verify(&self, request: &Request<'_>, now: Now) -> Result<Option<Identity>, Reason> {
        let certificate = match self.proxies.presented(request, now) {
            Presented::Nothing => return Ok(None),
            Presented::Rejected(reason) => return Err(reason),
            Presented::Verified(certificate) => certificate,
        };
        // "subject with cn=… is not in the allowed list": compared exactly.
        if !self.allowed_names.is_empty() && !self.allowed_names.contains(&certificate.common_name) {
            return Err(Reason::ProxyNameNotAllowed);
        }
        self.names.read(&request.headers)
    }
}

impl RequestHeaderNames {
    /// The user that the headers name. No user is no opinion.
    fn read(&self, headers: &Headers<'_>) -> Result<Option<Identity>, Reason> {
        let Some(username) = first(headers, &self.username)? else { return Ok(None) };
        let uid = first(headers, &self.uid)?.unwrap_or_default();
        let mut groups = Vec::new();
        for name in &self.group {
            for value in headers.get_all(name.as_bytes()) {
                let value = text(headers, value)?;
                groups.extend((!value.is_empty()).then_some(value));
            }
        }
        let mut extra = BTreeMap::<_, Vec<_>>::new();
        // "prefixes first in order to have proper ordering inside the value slices" (`newExtra`)
        for prefix in &self.extra_prefix {
            for (name, value) in headers.iter() {
                let Some((head, key)) = name.split_at_checked(prefix.len()) else { continue };
                if head.eq_ignore_ascii_case(prefix.as_bytes()) {
                    let key = unescaped_extra_key(key).ok_or(Reason::AmbiguousIdentityHeader)?;
                    extra.entry(key).or_default().push(text(headers, value)?);
                }
            }
        }
        Ok(Some(Identity::new(username, uid, Groups::new(groups), Extra::new(extra))))
    }
}

impl AuthenticateRequest for RequestHeader {
    async fn observed<O: Observer>(&self, request: &Request<'_>, now: Now, _: O) -> Outcome {
        match self.verify(request, now) {
            Ok(None) => Outcome::NoOpinion,
            Ok(Some(identity)) => {
                Outcome::Authenticated(Authenticated::new(Arc::new(identity), Authenticator::RequestHeader))
            }
            Err(reason) => Outcome::rejected(Authenticator::RequestHeader, reason),
        }
    }
}

/// The value of the first of `names` that is there and not empty. Go: `headerValue`.
///
/// Q: Two lines of one name? A: Refused. Go takes the first, but nobody who writes two means that (threats S7).
fn first<'a>(headers: &Headers<'a>, names: &[String]) -> Result<Option<&'a str>, Reason> {
    for name in names {
        let mut lines = headers.get_all(name.as_bytes());
        let Some(value) = lines.next() else { continue };
        if lines.next().is_some() {
            return Err(Reason::AmbiguousIdentityHeader);
        }
        let value = text(headers, value)?;
        if !value.is_empty() {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

/// A header's value, where it can only be what the proxy wrote.
fn text<'a>(headers: &Headers<'a>, value: &'a [u8]) -> Result<&'a str, Reason> {
    if headers.may_hide_bytes(value) || headers.may_be_joined(value) {
        return Err(Reason::AmbiguousIdentityHeader);
    }
    std::str::from_utf8(value).map_err(|_| Reason::AmbiguousIdentityHeader)
}

/// Go: `unescapeExtraKey(strings.ToLower(…))`: lowered first, then `url.PathUnescape`; kept as it is where that fails.
/// None, if it is not UTF-8.
pub fn unescaped_extra_key(key: &[u8]) -> Option<Box<str>> {
    let key = key.to_ascii_lowercase();
    let well_formed = key.iter().enumerate().filter(|(_, b)| **b == b'%').all(|(at, _)| {
        key.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    let key = if well_formed { percent_decode(&key).collect() } else { key };
    String::from_utf8(key).ok().map(Box::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Texts;
    use crate::request::testing::{joined, request};

    fn names() -> RequestHeaderNames {
        let list = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        RequestHeaderNames {
            username: list(&["x-remote-user", "x-forwarded-user"]),
            uid: list(&["x-remote-uid"]),
            group: list(&["x-remote-group", "x-groups"]),
            extra_prefix: list(&["x-remote-extra-", "x-custom-"]),
        }
    }

    /// name | uid | groups | extra, in short.
    fn short(identity: Result<Option<Identity>, Reason>) -> String {
        match identity {
            Ok(None) => "no opinion".to_owned(),
            Err(reason) => reason.code().to_owned(),
            Ok(Some(Identity { username, uid, own_groups, extra, .. })) => {
                let joined = |texts: Texts<'_>| texts.collect::<Vec<_>>().join(",");
                let extra: Vec<String> = extra.iter().map(|(k, v)| format!("{k}={}", joined(v))).collect();
                format!("{username}|{uid}|{}|{}", joined(own_groups.iter()), extra.join(" "))
            }
        }
    }

    /// Go: TestRequestHeader (requestheader_test.go), by its names, and the vectors' class `requestheader`.
    #[test]
    fn headers_are_read_as_go_reads_them() {
        type Row<'r> = (&'r str, &'r [(&'r str, &'r str)], &'r str);
        let table: [Row<'_>; 17] = [
            ("empty", &[], "no opinion"),
            ("user no match", &[("x-other", "u")], "no opinion"),
            ("user match", &[("X-Remote-User", "Bob")], "Bob|||"),
            ("user second name", &[("X-Forwarded-User", "w")], "w|||"),
            ("user first name wins", &[("X-Forwarded-User", "w"), ("X-Remote-User", "u")], "u|||"),
            ("user first empty", &[("X-Remote-User", ""), ("X-Forwarded-User", "w")], "w|||"),
            ("only groups", &[("X-Remote-Group", "system:masters")], "no opinion"),
            ("uid", &[("X-Remote-User", "u"), ("X-Remote-Uid", "1")], "u|1||"),
            (
                "groups in the order of the names, empty ones dropped",
                &[
                    ("X-Groups", "b"),
                    ("X-Remote-Group", "z"),
                    ("X-Remote-Group", ""),
                    ("X-Remote-Group", "a"),
                    ("X-Remote-User", "u"),
                ],
                "u||z,a,b|",
            ),
            (
                "a comma is no separator",
                &[("X-Remote-User", "CN=u,O=o"), ("X-Groups", "a,b")],
                "CN=u,O=o||a,b|",
            ),
            (
                "extra of all prefixes, in their order",
                &[
                    ("X-Remote-User", "u"),
                    ("X-Custom-K", "2"),
                    ("X-Remote-Extra-K", "1"),
                    ("x-remote-extra-k", ""),
                ],
                "u|||k=1,,2",
            ),
            ("extra unescaped", &[("X-Remote-User", "u"), ("X-Remote-Extra-A%2fB", "v")], "u|||a/b=v"),
            ("lowered first", &[("X-Remote-User", "u"), ("X-Remote-Extra-%41BC", "v")], "u|||Abc=v"),
            (
                "malformed",
                &[("X-Remote-User", "u"), ("X-Remote-Extra-a%2", "v"), ("X-Remote-Extra-%ZZ", "w")],
                "u|||%zz=w a%2=v",
            ),
            ("extra without a key", &[("X-Remote-User", "u"), ("X-Remote-Extra-", "v")], "u|||=v"),
            ("underscores", &[("X_Remote_User", "u")], "no opinion"),
            (
                "two user lines",
                &[("X-Remote-User", "u"), ("X-Remote-User", "u")],
                "ambiguous_identity_header",
            ),
        ];
        for (what, lines, expected) in table {
            let lines: Vec<(&[u8], &[u8])> =
                lines.iter().map(|(n, v)| (n.as_bytes(), v.as_bytes())).collect();
            assert_eq!(short(names().read(&request(&lines).headers)), expected, "{what}");
        }
    }

    /// S7 and S8: what Envoy has joined or replaced is not guessed at.
    #[test]
    fn the_plain_encoding_is_read_only_where_it_hides_nothing() {
        let read = |lines: &[(&[u8], &[u8])]| short(names().read(&joined(lines).headers));
        let user: (&[u8], &[u8]) = (b"x-remote-user", b"u");
        assert_eq!(read(&[user, (b"x-remote-group", b"a")]), "u||a|");
        assert_eq!(read(&[user, (b"x-remote-group", b"a,b")]), "ambiguous_identity_header");
        assert_eq!(read(&[user, (b"x-remote-extra-k", b"a!")]), "ambiguous_identity_header");
        assert_eq!(read(&[(b"x-remote-user", b"u,v")]), "ambiguous_identity_header");
        assert_eq!(
            short(names().read(&request(&[(b"x-remote-user", b"\xff")]).headers)),
            "ambiguous_identity_header"
        );
    }
}
