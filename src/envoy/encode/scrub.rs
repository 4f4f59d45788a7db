//! No identity header reaches an upstream but those that we set. Kubernetes clears the standard and the configured front-proxy
//! headers on every success (k8s.io/apiserver/pkg/endpoints/filters/authentication.go; audit finding NCC-E003660-YVU); so do we,
//! in every spelling that a server behind us may take for one of them.

use std::ops::BitOr;

use super::headers::Line;
use crate::config::{IdentityHeaders, ReplyConfig};
use crate::request::name::{begins_with, fold, same};

/// The bit of a place.
pub(super) fn bit(place: usize) -> Option<u64> {
    1_u64.checked_shl(place.try_into().ok()?)
}

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
    /// Whether any of these begins with a byte: nearly no other header begins so.
    first_bytes: [bool; 256],
}

impl Scrub {
    /// The standard names, those configured, here and `elsewhere`, and those that a front proxy writes.
    pub(super) fn new(config: &ReplyConfig, elsewhere: &[IdentityHeaders]) -> Self {
        let proxy = &config.front_proxy;
        let sorted = |own: &[&str], more: &[&Vec<String>]| {
            let more = more.iter().flat_map(|names| names.iter()).cloned();
            let mut names: Vec<String> = own.iter().map(|name| (*name).to_owned()).chain(more).collect();
            names.sort();
            names.dedup();
            names
        };
        let mut own = vec!["x-remote-user", "x-remote-uid", "x-remote-group"];
        own.extend(config.xfcc.then_some("x-forwarded-client-cert"));
        let mut own_prefixes = vec!["x-remote-extra-", "impersonate-"];
        let mut own_numbered = vec!["x-remote-group-".to_owned(), "x-remote-extra".to_owned()];
        for IdentityHeaders { user, uid, group, extra_prefix } in
            [&config.headers].into_iter().chain(elsewhere)
        {
            own.extend([&**user, uid, group]);
            own_prefixes.push(extra_prefix);
            own_numbered.extend([format!("{group}-"), extra_prefix.trim_end_matches('-').to_owned()]);
        }
        let names = sorted(&own, &[&proxy.username, &proxy.uid, &proxy.group]);
        let prefixes = sorted(&own_prefixes, &[&proxy.extra_prefix]);
        let numbered = sorted(&[], &[&own_numbered]);
        let all = || names.iter().chain(&prefixes).chain(&numbered);
        let begins = |byte: usize| {
            all().any(|own| own.bytes().next().is_none_or(|first| usize::from(fold(first)) == byte))
        };
        let first_bytes =
            std::array::from_fn(|byte| begins(u8::try_from(byte).map_or(byte, |b| fold(b).into())));
        Self { names, prefixes, numbered, first_bytes }
    }

    /// The identity headers to remove whatever the client sent, but for those that are `set` and thereby overwritten. A name is set or
    /// removed, never both: Envoy would drop it.
    pub(super) fn always<'a>(&'a self, set: &'a [Line<'_>]) -> impl Iterator<Item = &'a str> {
        let is_set = |name: &str| set.iter().any(|(n, _)| n == name);
        // Also unseen: Envoy's `allowed_headers` hides a header from us, not from the upstream.
        self.names.iter().map(String::as_str).filter(move |name| !is_set(name))
    }

    /// The place of an identity header that [`Self::always`] has unless it is set.
    pub(super) fn place(&self, name: &[u8]) -> Option<usize> {
        self.names.iter().position(|own| own.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Which of them are set, as bits by their places: there are hardly ever more than those of a `u64`.
    pub(super) fn set_places(&self, set: &[Line<'_>]) -> u64 {
        let places = set.iter().filter_map(|(name, _)| self.place(name.as_bytes()));
        places.filter_map(bit).fold(0, BitOr::bitor)
    }

    /// Whether a server behind us may take `name` for an identity header: case does not matter, and CGI and WSGI fold `-` and
    /// `_` together (CVE-2025-64484).
    pub(super) fn is_identity(&self, name: &[u8]) -> bool {
        let Some(first) = name.first() else { return false };
        if !self.first_bytes[usize::from(*first)] {
            return false;
        }
        self.names.iter().any(|own| same(name, own.as_bytes()))
            || self.prefixes.iter().any(|prefix| begins_with(name, prefix.as_bytes()).is_some())
            || self.numbered.iter().any(|stem| {
                begins_with(name, stem.as_bytes())
                    .is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_digit))
            })
    }
}
