//! No identity header reaches an upstream but those that we set. Kubernetes clears the standard and the configured front-proxy
//! headers on every success (k8s.io/apiserver/pkg/endpoints/filters/authentication.go; audit finding NCC-E003660-YVU); so do we,
//! in every spelling that a server behind us may take for one of them.

use super::headers::Line;
use crate::config::{IdentityHeaders, ReplyConfig};
use crate::decision::Reason;
use crate::request::Headers;

/// What counts as an identity header.
#[derive(Debug)]
pub(super) struct Scrub {
    /// Whole names, in lower case.
    names: Vec<String>,
    /// Beginnings of names, in lower case.
    prefixes: Vec<String>,
    /// Names and prefixes' stems that make an identity header with a number behind them: `x-remote-group-1`, `x-remote-extra1-key`.
    /// An upstream may read those although we write none (`--groups-encoding=indexed`).
    numbered: Vec<String>,
}

impl Scrub {
    /// The standard names, those configured, and those that a front proxy writes.
    pub(super) fn new(config: &ReplyConfig) -> Self {
        let IdentityHeaders { user, uid, group, extra_prefix } = &config.headers;
        let proxy = &config.front_proxy;
        let sorted = |own: &[&str], more: &[&Vec<String>]| {
            let more = more.iter().flat_map(|names| names.iter()).cloned();
            let mut names: Vec<String> = own.iter().map(|name| (*name).to_owned()).chain(more).collect();
            names.sort();
            names.dedup();
            names
        };
        let stem = extra_prefix.trim_end_matches('-');
        let mut own = vec!["x-remote-user", "x-remote-uid", "x-remote-group", user, uid, group];
        own.extend(config.xfcc.then_some("x-forwarded-client-cert"));
        Self {
            names: sorted(&own, &[&proxy.username, &proxy.uid, &proxy.group]),
            prefixes: sorted(&["x-remote-extra-", "impersonate-", extra_prefix], &[&proxy.extra_prefix]),
            numbered: sorted(&["x-remote-group-", "x-remote-extra", &format!("{group}-"), stem], &[]),
        }
    }

    /// Everything to remove: the credential, the identity headers that the client sent and those that it might have sent, and
    /// `more`, but for what is `set` and thereby overwritten. A name is set or removed, never both: Envoy would drop it.
    pub(super) fn removals(
        &self,
        sent: &Headers<'_>,
        set: &[Line],
        more: Option<String>,
    ) -> Result<Vec<String>, Reason> {
        let is_set = |name: &str| set.iter().any(|(n, _)| n == name);
        let mut remove: Vec<String> = ["authorization".to_owned()].into_iter().chain(more).collect();
        // Also unseen: Envoy's `allowed_headers` hides a header from us, not from the upstream.
        remove.extend(self.names.iter().filter(|name| !is_set(name)).cloned());
        for (name, _) in sent.iter().filter(|(name, _)| self.is_identity(name)) {
            // Names are ASCII in HTTP; one that is not cannot be named to Envoy.
            let name = std::str::from_utf8(name).map_err(|_| Reason::MalformedHeader)?.to_ascii_lowercase();
            if !is_set(&name) && !remove.contains(&name) {
                remove.push(name);
            }
        }
        Ok(remove)
    }

    /// Whether a server behind us may take `name` for an identity header: case does not matter, and CGI and WSGI fold `-` and
    /// `_` together (CVE-2025-64484).
    fn is_identity(&self, name: &[u8]) -> bool {
        self.names.iter().any(|own| same(name, own.as_bytes()))
            || self.prefixes.iter().any(|prefix| begins_with(name, prefix).is_some())
            || self.numbered.iter().any(|stem| {
                begins_with(name, stem).is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_digit))
            })
    }
}

fn same(name: &[u8], own: &[u8]) -> bool {
    name.len() == own.len() && name.iter().zip(own).all(|(a, b)| fold(*a) == fold(*b))
}

fn begins_with<'n>(name: &'n [u8], prefix: &str) -> Option<&'n [u8]> {
    let (head, rest) = name.split_at_checked(prefix.len())?;
    same(head, prefix.as_bytes()).then_some(rest)
}

fn fold(byte: u8) -> u8 {
    if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() }
}
