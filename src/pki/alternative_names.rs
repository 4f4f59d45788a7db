//! Subject alternative names (RFC 5280, section 4.2.1.6). They name nobody in Kubernetes, but name constraints bind them.

use super::der::{Reader, SEQUENCE, context};
use super::error::ParseError;
use super::{domain, uri};

/// The names of the kinds that constraints may bind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AlternativeNames {
    /// The extension's value, byte for byte.
    pub(super) raw: Vec<u8>,
    /// dNSName.
    pub(super) dns: Vec<Vec<u8>>,
    /// rfc822Name.
    pub(super) emails: Vec<Vec<u8>>,
    /// iPAddress, four or sixteen bytes each.
    pub(super) addresses: Vec<Vec<u8>>,
    /// The hosts of uniformResourceIdentifier, with their ports, empty for a URI without one.
    pub(super) uri_hosts: Vec<Vec<u8>>,
}

impl AlternativeNames {
    /// Go: `parseSANExtension`. Other kinds of names are skipped.
    pub(super) fn parse(value: &[u8]) -> Result<Self, ParseError> {
        const MALFORMED: ParseError = ParseError::Extension("subject alternative names");
        let mut names = Self { raw: value.to_vec(), ..Self::default() };
        let mut reader = Reader::new(value).enter(SEQUENCE).ok_or(MALFORMED)?;
        while !reader.is_empty() {
            let name = reader.any().ok_or(MALFORMED)?;
            let text = || name.content.is_ascii().then(|| name.content.to_vec());
            if name.tag == context(1) {
                names.emails.push(text().ok_or(ParseError::Extension("rfc822Name"))?);
            } else if name.tag == context(2) {
                names.dns.push(text().ok_or(ParseError::Extension("dNSName"))?);
            } else if name.tag == context(6) {
                let host =
                    text().and_then(|text| uri::host(&text)).filter(|host| domain::is_valid(host, false));
                names.uri_hosts.push(host.ok_or(ParseError::Extension("uniformResourceIdentifier"))?);
            } else if name.tag == context(7) {
                if ![4, 16].contains(&name.content.len()) {
                    return Err(ParseError::Extension("iPAddress"));
                }
                names.addresses.push(name.content.to_vec());
            }
        }
        Ok(names)
    }

    pub(super) fn has_any(&self) -> bool {
        let lists = [&self.dns, &self.emails, &self.addresses, &self.uri_hosts];
        lists.into_iter().any(|list| !list.is_empty())
    }
}
