//! Name constraints (RFC 5280, section 4.2.1.10): how they are read (Go: `parseNameConstraintsExtension` of crypto/x509/parser.go)
//! and what they allow (Go 1.26: crypto/x509/constraints.go). Go sorts them, drops those that lie in the one before, and looks a
//! name up by bisection; so does this, since what it finds is the verdict.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::alternative_names::AlternativeNames;
use super::der::{Reader, SEQUENCE, context, context_constructed};
use super::domain::{self, Mailbox};
use super::error::ParseError;
use super::uri::{self, Family};

/// What a certificate permits and excludes below itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NameConstraints {
    /// Whether all are of the four kinds below.
    pub(super) all_known: bool,
    permitted: Subtrees,
    excluded: Subtrees,
}

/// As they stand in the certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Subtrees {
    dns: Vec<Vec<u8>>,
    addresses: Vec<Network>,
    emails: Vec<Vec<u8>>,
    uris: Vec<Vec<u8>>,
    unknown: bool,
}

impl NameConstraints {
    /// Reads the value of the extension.
    pub(super) fn parse(value: &[u8]) -> Result<Self, ParseError> {
        const MALFORMED: ParseError = ParseError::Extension("name constraints");
        let mut outer = Reader::new(value);
        let mut list = outer.enter(SEQUENCE).ok_or(MALFORMED)?;
        let permitted = list.optional(context_constructed(0)).ok_or(MALFORMED)?.unwrap_or_default();
        let excluded = list.optional(context_constructed(1)).ok_or(MALFORMED)?.unwrap_or_default();
        if !outer.is_empty() || !list.is_empty() || permitted.is_empty() && excluded.is_empty() {
            return Err(MALFORMED);
        }
        let permitted = Subtrees::parse(permitted).ok_or(MALFORMED)?;
        let excluded = Subtrees::parse(excluded).ok_or(MALFORMED)?;
        Ok(Self { all_known: !permitted.unknown && !excluded.unknown, permitted, excluded })
    }
}

impl Subtrees {
    fn parse(content: &[u8]) -> Option<Self> {
        let mut found = Self::default();
        let mut list = Reader::new(content);
        while !list.is_empty() {
            // minimum and maximum, which would follow, are not looked at.
            let base = list.enter(SEQUENCE)?.any()?;
            let text = || base.content.is_ascii().then(|| base.content.to_vec());
            if base.tag == context(1) {
                let email = text()?;
                let good = match email.contains(&b'@') {
                    true => Mailbox::parse(&email).is_some(),
                    false => domain::is_valid(&email, true),
                };
                found.emails.push(good.then_some(email)?);
            } else if base.tag == context(2) {
                found.dns.push(text().filter(|name| domain::is_valid(name, true))?);
            } else if base.tag == context(6) {
                let name = text().filter(|name| domain::is_valid(name, true))?;
                if matches!(uri::parse_address(&name), Some(Family::V4 | Family::V6)) {
                    return None;
                }
                found.uris.push(name);
            } else if base.tag == context(7) {
                found.addresses.push(Network::parse(base.content)?);
            } else {
                found.unknown = true;
            }
        }
        Some(found)
    }
}

/// Whether every name of the chain, the leaf first, is allowed by all that stand above it. Go: `checkChainConstraints`.
pub(super) fn check<'a>(
    chain: impl Iterator<Item = (Option<&'a NameConstraints>, Option<&'a AlternativeNames>)> + Clone,
) -> bool {
    let sets: Vec<(usize, Prepared<'_>)> = chain
        .clone()
        .enumerate()
        .filter_map(|(index, (constraints, _))| Some((index, Prepared::new(constraints?))))
        .collect();
    for (index, (_, names)) in chain.enumerate() {
        let Some(names) = names else { continue };
        let mut above = sets.iter().filter(|(at, _)| *at > index).peekable();
        if above.peek().is_none() {
            // Go stops here as well, and nothing comes after: those above this one have fewer above them.
            return true;
        }
        let Some(names) = ParsedNames::parse(names) else { return false };
        if !above.all(|(_, set)| set.allow(&names)) {
            return false;
        }
    }
    true
}

/// A certificate's names in the form in which constraints are applied to them.
struct ParsedNames<'a> {
    dns: &'a [Vec<u8>],
    addresses: &'a [Vec<u8>],
    uri_domains: Vec<Vec<u8>>,
    emails: Vec<Mailbox>,
}

impl<'a> ParsedNames<'a> {
    /// Go: `parseURIs`, `parseMailboxes`.
    fn parse(names: &'a AlternativeNames) -> Option<Self> {
        Some(Self {
            dns: &names.dns,
            addresses: &names.addresses,
            uri_domains: names.uri_hosts.iter().map(|host| uri_domain(host)).collect::<Option<_>>()?,
            emails: names.emails.iter().map(|email| Mailbox::parse(email)).collect::<Option<_>>()?,
        })
    }
}

/// A host that constraints can be applied to: neither empty nor an IP address.
fn uri_domain(host: &[u8]) -> Option<Vec<u8>> {
    let name = match host.contains(&b':') && !host.ends_with(b"]") {
        true => uri::without_port(host)?,
        false => host,
    };
    let bracketed = name.starts_with(b"[") && name.ends_with(b"]");
    let usable = !host.is_empty() && uri::parse_address(name).is_none() && !bracketed;
    usable.then(|| name.to_ascii_lowercase())
}

/// A certificate's constraints, sorted.
struct Prepared<'a> {
    permitted: PreparedSide<'a>,
    excluded: PreparedSide<'a>,
}

/// A kind without constraints is `None`: then nothing is excluded, and everything is permitted.
struct PreparedSide<'a> {
    addresses: Option<Addresses<'a>>,
    dns: Option<Domains<'a>>,
    uris: Option<Domains<'a>>,
    emails: Option<Emails<'a>>,
}

impl<'a> Prepared<'a> {
    fn new(constraints: &'a NameConstraints) -> Self {
        let side = |subtrees: &'a Subtrees, permitted| PreparedSide {
            addresses: Addresses::new(&subtrees.addresses),
            dns: Domains::new(subtrees.dns.iter(), permitted),
            uris: Domains::new(subtrees.uris.iter(), permitted),
            emails: Emails::new(&subtrees.emails, permitted),
        };
        Self { permitted: side(&constraints.permitted, true), excluded: side(&constraints.excluded, false) }
    }

    /// Go: `chainConstraints.check`.
    fn allow(&self, names: &ParsedNames<'_>) -> bool {
        let Self { permitted, excluded } = self;
        let addresses = names.addresses.iter().all(|address| {
            permitted.addresses.as_ref().is_none_or(|set| set.matches(address))
                && !excluded.addresses.as_ref().is_some_and(|set| set.matches(address))
        });
        let domain = |name: &[u8], permitted: &Option<Domains<'_>>, excluded: &Option<Domains<'_>>| {
            domain::is_valid(name, false)
                && permitted.as_ref().is_none_or(|set| set.matches(name))
                && !excluded.as_ref().is_some_and(|set| set.matches(name))
        };
        addresses
            && names.dns.iter().all(|name| domain(name, &permitted.dns, &excluded.dns))
            && names.uri_domains.iter().all(|name| domain(name, &permitted.uris, &excluded.uris))
            && names.emails.iter().all(|email| {
                domain::is_valid(&email.domain, false)
                    && permitted.emails.as_ref().is_none_or(|set| set.matches(email))
                    && !excluded.emails.as_ref().is_some_and(|set| set.matches(email))
            })
    }
}

/// Drops what lies in the one before. Go: `nameConstraintsSet.sortAndPrune`.
fn sort_and_prune<T>(mut set: Vec<T>, compare: fn(&T, &T) -> Ordering, subset: fn(&T, &T) -> bool) -> Vec<T> {
    set.sort_by(compare);
    set.dedup_by(|next, kept| subset(kept, next));
    set
}

/// The constraint before which a value would stand, if it matches. Go: `nameConstraintsSet.search`.
fn search<T>(set: &[T], compare: impl Fn(&T) -> Ordering, matches: impl Fn(&T) -> bool) -> bool {
    match set.binary_search_by(compare) {
        Ok(_) => true,
        Err(at) => set.get(at.saturating_sub(1)).is_some_and(matches),
    }
}

/// An address and a mask, four or sixteen bytes each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Network {
    address: Vec<u8>,
    mask: Vec<u8>,
}

impl Network {
    fn parse(value: &[u8]) -> Option<Self> {
        if ![8, 32].contains(&value.len()) {
            return None;
        }
        let (address, mask) = value.split_at_checked(value.len() / 2)?;
        // Go: isValidIPMask.
        let ones = mask.iter().take_while(|byte| **byte == 0xff).count();
        let mut behind = mask.iter().skip(ones);
        let partial = behind.next().is_none_or(|byte| byte.leading_ones() + byte.trailing_zeros() == 8);
        let good = partial && behind.all(|byte| *byte == 0);
        good.then(|| Self { address: address.to_vec(), mask: mask.to_vec() })
    }

    /// Go: `net.IPNet.Contains`, for which an IPv4 address in an IPv6 one is IPv4.
    fn contains(&self, address: &[u8]) -> bool {
        let (own, mask) = match (to4(&self.address), self.mask.get(12..)) {
            (Some(own), Some(mask)) => (own, mask),
            (Some(own), None) => (own, &*self.mask),
            (None, _) => (&*self.address, &*self.mask),
        };
        let address = to4(address).unwrap_or(address);
        address.len() == own.len()
            && own.len() == mask.len()
            && own.iter().zip(address).zip(mask).all(|((own, other), mask)| own & mask == other & mask)
    }

    /// Go: `ipNetworkSubset`.
    fn contains_network(&self, other: &Self) -> bool {
        let last: Vec<u8> = other.address.iter().zip(&other.mask).map(|(byte, mask)| byte | !mask).collect();
        self.contains(&other.address) && self.contains(&last)
    }
}

/// Go: `net.IP.To4`.
fn to4(address: &[u8]) -> Option<&[u8]> {
    match address {
        [_, _, _, _] => Some(address),
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, v4 @ ..] if v4.len() == 4 => Some(v4),
        _ => None,
    }
}

/// Go: `ipConstraints`.
struct Addresses<'a> {
    v4: Vec<&'a Network>,
    v6: Vec<&'a Network>,
}

impl<'a> Addresses<'a> {
    fn new(networks: &'a [Network]) -> Option<Self> {
        let (v4, v6) = networks.iter().partition(|network| network.address.len() == 4);
        let prepare =
            |set: Vec<&'a Network>| sort_and_prune(set, |a, b| a.cmp(b), |a, b| a.contains_network(b));
        (!networks.is_empty()).then(|| Self { v4: prepare(v4), v6: prepare(v6) })
    }

    fn matches(&self, address: &[u8]) -> bool {
        let set = if address.len() == 4 { &self.v4 } else { &self.v6 };
        search(set, |network| (*network.address).cmp(address), |network| network.contains(address))
    }
}

/// Go: `dnsConstraints`.
struct Domains<'a> {
    /// An empty constraint matches everything.
    all: bool,
    set: Vec<&'a [u8]>,
    /// Excluded names without their first label, in lower case: a wildcard for one of them is excluded as well.
    parents: BTreeSet<Vec<u8>>,
}

impl<'a> Domains<'a> {
    fn new(names: impl Iterator<Item = &'a Vec<u8>>, permitted: bool) -> Option<Self> {
        let names: Vec<&[u8]> = names.map(|name| &**name).collect();
        if names.is_empty() {
            return None;
        }
        if names.iter().any(|name| name.is_empty()) {
            return Some(Self { all: true, set: Vec::new(), parents: BTreeSet::new() });
        }
        let set = sort_and_prune(names, |a, b| compare(a, b), |a, b| has_suffix(a, b));
        let mut parents = BTreeSet::new();
        if !permitted {
            let behind = set.iter().map(|name| domain::behind_first_label(name).to_ascii_lowercase());
            parents.extend(behind.filter(|name| !name.is_empty()));
        }
        Some(Self { all: false, set, parents })
    }

    fn matches(&self, name: &[u8]) -> bool {
        self.all
            || search(&self.set, |base| compare(base, name), |base| has_suffix(base, name))
            || name.first() == Some(&b'*')
                && self.parents.contains(&domain::behind_first_label(name).to_ascii_lowercase())
    }
}

/// From the end, letter by letter, whatever their case; a period sorts before everything. Go: `dnsCompare`.
fn compare(a: &[u8], b: &[u8]) -> Ordering {
    let key = |byte: &u8| if *byte == b'.' { 0 } else { byte.to_ascii_lowercase() };
    a.iter().rev().map(key).cmp(b.iter().rev().map(key))
}

/// Whether `base` is the end of `name` at the border of a label. Go: `dnsHasSuffix`.
fn has_suffix(base: &[u8], name: &[u8]) -> bool {
    let Some(start) = name.len().checked_sub(base.len()) else { return false };
    let Some((before, end)) = name.split_at_checked(start) else { return false };
    let at_border = base.first() == Some(&b'.') || matches!(before.last(), None | Some(b'.'));
    end.eq_ignore_ascii_case(base) && at_border
}

/// Go: `emailConstraints`.
struct Emails<'a> {
    mailboxes: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>,
    domains: Option<Domains<'a>>,
}

impl<'a> Emails<'a> {
    fn new(emails: &'a [Vec<u8>], permitted: bool) -> Option<Self> {
        if emails.is_empty() {
            return None;
        }
        let mut mailboxes: BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>> = BTreeMap::new();
        for mailbox in
            emails.iter().filter(|email| email.contains(&b'@')).filter_map(|email| Mailbox::parse(email))
        {
            mailboxes.entry(mailbox.domain).or_default().insert(mailbox.local);
        }
        let domains = Domains::new(emails.iter().filter(|email| !email.contains(&b'@')), permitted);
        Some(Self { mailboxes, domains })
    }

    fn matches(&self, mailbox: &Mailbox) -> bool {
        self.mailboxes.get(&mailbox.domain).is_some_and(|locals| locals.contains(&mailbox.local))
            || self.domains.as_ref().is_some_and(|domains| domains.matches(&mailbox.domain))
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{sequence, tlv};
    use super::*;

    /// A general name by its kind: `dns:`, `email:`, `uri:`, `ip:` (in hexadecimal) or another.
    fn general(text: &str) -> Vec<u8> {
        let (kind, value) = text.split_once(':').unwrap();
        match kind {
            "email" => tlv(0x81, value.as_bytes()),
            "dns" => tlv(0x82, value.as_bytes()),
            "uri" => tlv(0x86, value.as_bytes()),
            "ip" => {
                let digits: Vec<u8> =
                    value.chars().map(|c| c.to_digit(16).unwrap().try_into().unwrap()).collect();
                let (pairs, []) = digits.as_chunks::<2>() else { panic!("{value}") };
                tlv(0x87, &pairs.iter().map(|[high, low]| high << 4 | low).collect::<Vec<_>>())
            }
            _ => tlv(0xa4, &[]),
        }
    }

    fn parse(permitted: &[&str], excluded: &[&str]) -> Result<NameConstraints, ParseError> {
        let list = |tag, names: &[&str]| match names {
            [] => Vec::new(),
            names => tlv(tag, &names.iter().flat_map(|name| sequence(&[general(name)])).collect::<Vec<_>>()),
        };
        NameConstraints::parse(&sequence(&[list(0xa0, permitted), list(0xa1, excluded)]))
    }

    /// Whether a leaf with these names may stand below a CA with these constraints.
    fn allowed(permitted: &[&str], excluded: &[&str], names: &[&str]) -> bool {
        let constraints = parse(permitted, excluded).unwrap();
        let mut list = AlternativeNames::default();
        for name in names {
            let (kind, value) = name.split_once(':').unwrap();
            match kind {
                "email" => list.emails.push(value.into()),
                "dns" => list.dns.push(value.into()),
                "uri" => list.uri_hosts.push(uri::host(value.as_bytes()).unwrap()),
                _ => list.addresses.push(general(name).split_off(2)),
            }
        }
        check([(None, Some(&list)), (Some(&constraints), None)].into_iter())
    }

    /// Go: nameConstraintsTests of crypto/x509/name_constraints_test.go.
    #[test]
    fn names_are_allowed_as_go_allows_them() {
        type Names<'a> = &'a [&'a str];
        let table: [(Names<'_>, Names<'_>, Names<'_>, bool); 58] = [
            (&["dns:example.com"], &[], &["dns:example.com"], true),
            (&["dns:example.com"], &[], &["dns:foo.EXAMPLE.com"], true),
            (&["dns:example.com"], &[], &["dns:fooexample.com"], false),
            (&["dns:.example.com"], &[], &["dns:foo.example.com"], true),
            (&["dns:.example.com"], &[], &["dns:example.com"], false),
            (&["dns:example.com"], &[], &["dns:*.example.com"], true),
            (&["dns:example.com"], &[], &["dns:example.com", "dns:example.net"], false),
            (&["dns:foo.example.com"], &[], &["dns:*.example.com"], false),
            (&["dns:example.com"], &[], &[], true),
            (&["dns:"], &[], &["dns:anything"], true),
            (&[], &["dns:"], &["dns:anything"], false),
            (&[], &["dns:"], &["ip:0a000001"], true),
            (&[], &["dns:foo.example.com"], &["dns:foo.example.com"], false),
            (&[], &["dns:foo.example.com"], &["dns:bar.foo.example.com"], false),
            (&[], &["dns:foo.example.com"], &["dns:bar.example.com"], true),
            (&[], &["dns:foo.example.com"], &["dns:*.example.com"], false),
            (&[], &["dns:foo.example.com"], &["dns:*.EXAMPLE.com"], false),
            (&[], &["dns:foo.example.com"], &["dns:*.com"], true),
            (&[], &["dns:com"], &["dns:*"], true),
            (&["dns:example.com"], &["dns:a.example.com"], &["dns:b.example.com"], true),
            (&["dns:example.com"], &["dns:a.example.com"], &["dns:a.example.com"], false),
            (&["dns:a.com", "dns:a-a.com", "dns:a.a.com"], &[], &["dns:x.a.a.com"], true),
            (&["dns:a.com", "dns:a-a.com", "dns:a.a.com"], &[], &["dns:x.a-a.com"], true),
            (&["dns:a.com", "dns:a-a.com", "dns:a.a.com"], &[], &["dns:b-a.com"], false),
            (&["dns:com"], &[], &["dns:a..com"], false),
            (&["dns:com"], &[], &["dns:com."], false),
            (&["ip:0a000000ff000000"], &[], &["ip:0a010203"], true),
            (&["ip:0a000000ff000000"], &[], &["ip:0b010203"], false),
            (&["ip:0a000000ff000000"], &[], &["dns:anything"], true),
            (
                &["ip:00000000000000000000ffff0a000000ffffffffffffffffffffffffff000000"],
                &[],
                &["ip:0a010203"],
                false,
            ),
            (
                &["ip:00000000000000000000ffff0a000000ffffffffffffffffffffffffff000000"],
                &[],
                &["ip:00000000000000000000ffff0a010203"],
                true,
            ),
            (
                &["ip:0000000000000000000000000000000000000000000000000000000000000000"],
                &[],
                &["ip:20010db8000000000000000000000001"],
                true,
            ),
            (
                &["ip:0000000000000000000000000000000000000000000000000000000000000000"],
                &[],
                &["ip:00000000000000000000ffff0a010203"],
                false,
            ),
            (&[], &["ip:0a000000ff000000", "ip:0a0b0000ffff0000"], &["ip:0affffff"], false),
            (&[], &["ip:0a000000ff000000", "ip:c0a80000ffff0000"], &["ip:c0a90001"], true),
            (&["ip:0a000000ffffffff", "ip:0a000002ffffffff"], &[], &["ip:0a000001"], false),
            (&["email:example.com"], &[], &["email:foo@example.com"], true),
            (&["email:example.com"], &[], &["email:foo@EXAMPLE.com"], true),
            (&["email:example.com"], &[], &["email:foo@sub.example.com"], true),
            (&["email:.example.com"], &[], &["email:foo@sub.example.com"], true),
            (&["email:.example.com"], &[], &["email:foo@example.com"], false),
            (&["email:foo@example.com"], &[], &["email:foo@Example.com"], true),
            (&["email:foo@example.com"], &[], &["email:FOO@example.com"], false),
            (&["email:foo@example.com"], &[], &["email:\"\\f\\o\\o\"@example.com"], true),
            (&["email:foo@example.com"], &[], &["email:foo@example.net"], false),
            (&[], &["email:foo@example.com"], &["email:foo@example.com"], false),
            (&[], &["email:foo@example.com"], &["email:not a mailbox"], false),
            (&[], &["email:"], &["email:a@b"], false),
            (&["uri:example.com"], &[], &["uri:http://example.com:80/x"], true),
            (&["uri:example.com"], &[], &["uri:http://sub.EXAMPLE.com/"], true),
            (&["uri:.example.com"], &[], &["uri:http://example.com/"], false),
            (&["uri:example.com"], &[], &["uri:http://127.0.0.1/"], false),
            (&["uri:example.com"], &[], &["uri:http://[::1]:80/"], false),
            (&[], &["uri:example.net"], &["uri:http://[::1]/"], false),
            (&[], &["uri:example.net"], &["uri:urn:x"], false),
            (&[], &["dns:example.net"], &["uri:urn:x"], false),
            (&[], &["uri:"], &["uri:http://a/"], false),
            (&["other:"], &[], &["dns:a", "ip:0a000001", "email:a@b", "uri:http://c/"], true),
        ];
        for (permitted, excluded, names, expected) in table {
            assert_eq!(
                allowed(permitted, excluded, names),
                expected,
                "{permitted:?} but {excluded:?}: {names:?}"
            );
        }
    }

    #[test]
    fn constraints_bind_what_stands_below_them() {
        let constraints = parse(&["dns:a"], &[]).unwrap();
        let mut names = AlternativeNames::default();
        names.dns.push(b"b".to_vec());
        let (c, n) = (Some(&constraints), Some(&names));
        assert!(!check([(None, n), (None, None), (c, None)].into_iter()));
        assert!(!check([(None, None), (None, n), (c, None)].into_iter()));
        assert!(check([(c, n), (None, None)].into_iter()), "not the one that they are in");
        assert!(check([(None, None), (c, n)].into_iter()));
        assert!(check([(None, None), (c, None), (None, n)].into_iter()), "nor what stands above");
        assert!(!check([(c, None), (None, n), (c, None)].into_iter()));
    }

    /// Go: parseNameConstraintsExtension; TestBadNamesInConstraints and TestEmptyNameConstraints of crypto/x509.
    #[test]
    fn constraints_that_are_not_well_formed_are_refused() {
        assert!(parse(&["dns:a"], &["dns:b"]).unwrap().all_known);
        assert!(!parse(&["dns:a"], &["other:"]).unwrap().all_known);
        let bad = Err(ParseError::Extension("name constraints"));
        let constraints = [
            "dns:a.",
            "dns:\u{e9}",
            "email:@",
            "email:a b",
            "uri:10.0.0.1",
            "uri:::1",
            "uri:a/b\u{7f}",
            "ip:0a000000",
            "ip:0a000000ff00ff00",
            "ip:0a0000000f000000",
            "ip:0a000000ffa00000",
        ];
        for constraint in constraints {
            assert_eq!(parse(&[constraint], &[]), bad, "{constraint}");
        }
        assert_eq!(parse(&[], &[]), bad);
        assert_eq!(NameConstraints::parse(&sequence(&[tlv(0xa0, &[]), tlv(0xa1, &[])])), bad);
        let good = sequence(&[tlv(0xa0, &sequence(&[general("dns:a")]))]);
        assert_eq!(NameConstraints::parse(&[&*good, &[0]].concat()), bad);
        assert!(NameConstraints::parse(&good).is_ok());
    }
}
