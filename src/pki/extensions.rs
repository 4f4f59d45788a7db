//! Certificate extensions (RFC 5280, section 4.2). Go: `processExtensions` of crypto/x509/parser.go.

use std::collections::HashSet;

use super::alternative_names::AlternativeNames;
use super::constraints::NameConstraints;
use super::der::{
    BOOLEAN, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, Reader, SEQUENCE, context, context_constructed, is_oid,
};
use super::error::ParseError;

/// anyExtendedKeyUsage, 2.5.29.37.0.
const ANY_USAGE: &[u8] = &[0x55, 0x1d, 0x25, 0x00];
/// id-kp-serverAuth, 1.3.6.1.5.5.7.3.1.
const SERVER_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
/// id-kp-clientAuth, 1.3.6.1.5.5.7.3.2.
const CLIENT_AUTH: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x02];
/// id-pe-authorityInfoAccess, 1.3.6.1.5.5.7.1.1.
const AUTHORITY_INFO_ACCESS: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x01, 0x01];
/// id-ce, 2.5.29, under which the others are.
const CERTIFICATE_EXTENSIONS: &[u8] = &[0x55, 0x1d];
/// The bit keyCertSign of a key usage.
const CERT_SIGN: usize = 5;

/// What the extensions of a certificate say, as far as a verdict depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Extensions {
    /// A critical one was not, or not fully, understood.
    pub(super) unhandled_critical: bool,
    /// Basic constraints, if they are there.
    pub(super) basic_constraints: Option<BasicConstraints>,
    /// Whether a key usage with any known bit set lacks keyCertSign.
    pub(super) cannot_sign_certificates: bool,
    /// The extended key usages, if there is one at least.
    pub(super) extended_key_usage: Option<ExtendedKeyUsage>,
    /// Empty if there is none.
    pub(super) subject_key_id: Vec<u8>,
    /// Empty if there is none.
    pub(super) authority_key_id: Vec<u8>,
    /// The subject alternative names, if they are there.
    pub(super) alternative_names: Option<AlternativeNames>,
    /// The name constraints, if they are there.
    pub(super) name_constraints: Option<NameConstraints>,
    /// What is said about policies.
    pub(super) policies: Policies,
}

/// RFC 5280, section 4.2.1.9.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BasicConstraints {
    /// Whether it is a CA's certificate.
    pub(super) is_ca: bool,
    /// How many intermediates may stand below it.
    pub(super) path_length: Option<u64>,
}

/// RFC 5280, section 4.2.1.12, as far as authentication goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ExtendedKeyUsage {
    /// anyExtendedKeyUsage is there.
    pub(super) any: bool,
    /// serverAuth is there.
    pub(super) server_auth: bool,
    /// clientAuth is there.
    pub(super) client_auth: bool,
}

/// RFC 5280, sections 4.2.1.4, 4.2.1.5, 4.2.1.11 and 4.2.1.14. Policies are the bytes of their object identifiers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Policies {
    /// The certificate's policies.
    pub(super) policies: Vec<Vec<u8>>,
    /// Pairs of an issuer's policy and the subject's that it stands for.
    pub(super) mappings: Vec<(Vec<u8>, Vec<u8>)>,
    /// After so many certificates a policy is required.
    pub(super) require_explicit: Option<u64>,
    /// After so many certificates policies are not mapped any more.
    pub(super) inhibit_mapping: Option<u64>,
    /// After so many certificates anyPolicy is no policy any more.
    pub(super) inhibit_any: Option<u64>,
}

impl Extensions {
    /// Reads the content of `[3]` in a certificate of version 3. Go: the end of `parseCertificate`, and `parseExtension`.
    pub(super) fn parse(content: &[u8]) -> Result<Self, ParseError> {
        const MALFORMED: ParseError = ParseError::Malformed("extensions");
        let mut list = Reader::new(content).enter(SEQUENCE).ok_or(MALFORMED)?;
        let mut parsed = Vec::new();
        let mut seen = HashSet::new();
        while !list.is_empty() {
            let mut extension = list.enter(SEQUENCE).ok_or(MALFORMED)?;
            let oid = extension.oid().ok_or(MALFORMED)?;
            let critical =
                if extension.peek(BOOLEAN) { extension.boolean().ok_or(MALFORMED)? } else { false };
            let value = extension.read(OCTET_STRING).ok_or(MALFORMED)?;
            if !seen.insert(oid) {
                return Err(ParseError::DuplicateExtension);
            }
            parsed.push((oid, critical, value));
        }
        let mut extensions = Self::default();
        for (oid, critical, value) in parsed {
            let handled = extensions.add(oid, critical, value)?;
            extensions.unhandled_critical |= critical && !handled;
        }
        Ok(extensions)
    }

    /// Takes one extension, and says whether it was understood.
    fn add(&mut self, oid: &[u8], critical: bool, value: &[u8]) -> Result<bool, ParseError> {
        let number = match oid.strip_prefix(CERTIFICATE_EXTENSIONS) {
            Some([number]) => *number,
            _ if oid == AUTHORITY_INFO_ACCESS => {
                if critical {
                    return Err(ParseError::Critical("authority info access"));
                }
                check_authority_info_access(value).ok_or(ParseError::Extension("authority info access"))?;
                return Ok(true);
            }
            _ => return Ok(false),
        };
        match number {
            14 if critical => return Err(ParseError::Critical("subject key identifier")),
            14 => {
                let id = Reader::new(value).read(OCTET_STRING);
                self.subject_key_id = id.ok_or(ParseError::Extension("subject key identifier"))?.to_vec();
            }
            15 => {
                let bits = Reader::new(value).bit_string().ok_or(ParseError::Extension("key usage"))?;
                // A usage of nothing, or of bits that are not known, counts as none.
                self.cannot_sign_certificates = (0..9).any(|bit| bits.at(bit)) && !bits.at(CERT_SIGN);
            }
            17 => {
                let names = AlternativeNames::parse(value)?;
                let handled = names.has_any();
                self.alternative_names = Some(names);
                return Ok(handled);
            }
            19 => {
                let constraints = BasicConstraints::parse(value);
                self.basic_constraints = Some(constraints.ok_or(ParseError::Extension("basic constraints"))?);
            }
            30 => {
                let constraints = NameConstraints::parse(value)?;
                let handled = constraints.all_known;
                self.name_constraints = Some(constraints);
                return Ok(handled);
            }
            31 => check_distribution_points(value).ok_or(ParseError::Extension("CRL distribution points"))?,
            32 => {
                let policies = policies(value).ok_or(ParseError::Extension("certificate policies"))?;
                self.policies.policies = policies;
            }
            33 => {
                let mappings = policy_mappings(value).ok_or(ParseError::Extension("policy mappings"))?;
                self.policies.mappings = mappings;
            }
            35 if critical => return Err(ParseError::Critical("authority key identifier")),
            35 => {
                let id = authority_key_id(value).ok_or(ParseError::Extension("authority key identifier"))?;
                self.authority_key_id = id.to_vec();
            }
            36 => {
                let constraints =
                    policy_constraints(value).ok_or(ParseError::Extension("policy constraints"))?;
                (self.policies.require_explicit, self.policies.inhibit_mapping) = constraints;
            }
            37 => {
                let usage = extended_key_usage(value).ok_or(ParseError::Extension("extended key usage"))?;
                self.extended_key_usage = usage;
            }
            54 => {
                let skip =
                    Reader::new(value).int64(INTEGER).ok_or(ParseError::Extension("inhibit anyPolicy"))?;
                self.policies.inhibit_any = u64::try_from(skip).ok();
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

impl BasicConstraints {
    /// Go: `parseBasicConstraintsExtension`.
    fn parse(value: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(value).enter(SEQUENCE)?;
        let is_ca = if reader.peek(BOOLEAN) { reader.boolean()? } else { false };
        let path_length =
            if reader.peek(INTEGER) { Some(u64::try_from(reader.int64(INTEGER)?).ok()?) } else { None };
        Some(Self { is_ca, path_length })
    }
}

/// Go: `parseExtKeyUsageExtension`. A list of nothing counts as none.
fn extended_key_usage(value: &[u8]) -> Option<Option<ExtendedKeyUsage>> {
    let mut reader = Reader::new(value).enter(SEQUENCE)?;
    let mut found = None;
    while !reader.is_empty() {
        let oid = reader.oid()?;
        let usage: &mut ExtendedKeyUsage = found.get_or_insert_default();
        usage.any |= oid == ANY_USAGE;
        usage.server_auth |= oid == SERVER_AUTH;
        usage.client_auth |= oid == CLIENT_AUTH;
    }
    Some(found)
}

/// Go: `parseCertificatePoliciesExtension`. No policy comes twice; qualifiers are not looked at.
fn policies(value: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut reader = Reader::new(value).enter(SEQUENCE)?;
    let mut seen = HashSet::new();
    let mut policies = Vec::new();
    while !reader.is_empty() {
        let oid = reader.enter(SEQUENCE)?.read(OBJECT_IDENTIFIER)?;
        if !seen.insert(oid) || !is_oid(oid) {
            return None;
        }
        policies.push(oid.to_vec());
    }
    Some(policies)
}

/// The identifiers are taken as they are.
fn policy_mappings(value: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut reader = Reader::new(value).enter(SEQUENCE)?;
    let mut mappings = Vec::new();
    while !reader.is_empty() {
        let mut mapping = reader.enter(SEQUENCE)?;
        let issuer = mapping.read(OBJECT_IDENTIFIER)?;
        let subject = mapping.read(OBJECT_IDENTIFIER)?;
        mappings.push((issuer.to_vec(), subject.to_vec()));
    }
    Some(mappings)
}

/// requireExplicitPolicy and inhibitPolicyMapping. One below zero counts as none.
fn policy_constraints(value: &[u8]) -> Option<(Option<u64>, Option<u64>)> {
    let mut reader = Reader::new(value).enter(SEQUENCE)?;
    let mut skip = |tag| {
        if !reader.peek(tag) {
            return Some(None);
        }
        reader.int64(tag).map(|skip| u64::try_from(skip).ok())
    };
    Some((skip(context(0))?, skip(context(1))?))
}

/// The key identifier; empty if there is only the issuer's name and serial number. Go: `parseAuthorityKeyIdentifier`.
fn authority_key_id(value: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(value).enter(SEQUENCE)?;
    Some(reader.optional(context(0))?.unwrap_or_default())
}

/// RFC 5280, section 4.2.1.13: full names only, as in Go.
fn check_distribution_points(value: &[u8]) -> Option<()> {
    let mut points = Reader::new(value).enter(SEQUENCE)?;
    while !points.is_empty() {
        let mut point = points.enter(SEQUENCE)?;
        let Some(name) = point.optional(context_constructed(0))? else { continue };
        let mut full_name = Reader::new(name).enter(context_constructed(0))?;
        // URIs as long as they come, whatever stands in them; the rest is not looked at.
        while full_name.peek(context(6)) {
            full_name.read(context(6))?;
        }
    }
    Some(())
}

/// RFC 5280, section 4.2.2.1.
fn check_authority_info_access(value: &[u8]) -> Option<()> {
    let mut reader = Reader::new(value).enter(SEQUENCE)?;
    while !reader.is_empty() {
        let mut access = reader.enter(SEQUENCE)?;
        access.oid()?;
        access.optional(context(6))?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use std::slice;

    use super::super::testing::{sequence, tlv};
    use super::*;

    fn one(number: u8, critical: bool, value: &[u8]) -> Result<Extensions, ParseError> {
        let mut extensions = Extensions::default();
        let handled = extensions.add(&[0x55, 0x1d, number], critical, value)?;
        extensions.unhandled_critical = critical && !handled;
        Ok(extensions)
    }

    fn oid(bytes: &[u8]) -> Vec<u8> {
        tlv(OBJECT_IDENTIFIER, bytes)
    }

    /// Go: parseBasicConstraintsExtension, parseKeyUsageExtension.
    #[test]
    fn a_ca_says_that_it_is_one_and_may_sign() {
        let constraints =
            |parts: &[Vec<u8>]| one(19, true, &sequence(parts)).map(|e| e.basic_constraints.unwrap());
        let (yes, no) = (tlv(BOOLEAN, &[0xff]), tlv(BOOLEAN, &[0]));
        let expected = |is_ca, path_length| Ok(BasicConstraints { is_ca, path_length });
        let bad = Err(ParseError::Extension("basic constraints"));
        assert_eq!(constraints(&[]), expected(false, None));
        assert_eq!(constraints(&[no]), expected(false, None));
        assert_eq!(constraints(slice::from_ref(&yes)), expected(true, None));
        assert_eq!(constraints(&[yes.clone(), tlv(INTEGER, &[0])]), expected(true, Some(0)));
        assert_eq!(constraints(&[tlv(INTEGER, &[3]), yes.clone()]), expected(false, Some(3)));
        assert_eq!(constraints(&[yes.clone(), tlv(INTEGER, &[0xff])]), bad);
        assert_eq!(constraints(&[yes, tlv(INTEGER, &[0, 0x80, 0, 0, 0, 0, 0, 0, 0])]), bad);
        assert_eq!(constraints(&[tlv(BOOLEAN, &[1])]), bad);

        let table: [(&[u8], bool); 6] = [
            (&[2, 0x04], false),
            (&[1, 0x06], false),
            (&[5, 0xa0], true),
            (&[7, 0, 0x80], true),
            (&[0], false),
            (&[0, 0, 0, 0x01], false), // bits that nobody knows
        ];
        for (bits, cannot_sign) in table {
            let extensions = one(15, true, &tlv(3, bits)).unwrap();
            assert_eq!(extensions.cannot_sign_certificates, cannot_sign, "{bits:x?}");
        }
        assert_eq!(one(15, true, &tlv(3, &[8, 0])), Err(ParseError::Extension("key usage")));
    }

    #[test]
    fn a_list_of_no_usage_is_no_list() {
        let usage = |parts: &[Vec<u8>]| one(37, false, &sequence(parts)).map(|e| e.extended_key_usage);
        let expected =
            |any, server_auth, client_auth| Ok(Some(ExtendedKeyUsage { any, server_auth, client_auth }));
        assert_eq!(usage(&[]), Ok(None));
        assert_eq!(usage(&[oid(&[0x2a, 3])]), expected(false, false, false));
        assert_eq!(usage(&[oid(&[0x2a, 3]), oid(CLIENT_AUTH)]), expected(false, false, true));
        assert_eq!(usage(&[oid(SERVER_AUTH)]), expected(false, true, false));
        assert_eq!(usage(&[oid(ANY_USAGE)]), expected(true, false, false));
        assert_eq!(usage(&[tlv(4, &[])]), Err(ParseError::Extension("extended key usage")));
    }

    /// Go: parseSANExtension.
    #[test]
    fn alternative_names_are_read_and_other_kinds_are_not_enough_for_a_critical_extension() {
        let names = |parts: &[Vec<u8>]| one(17, true, &sequence(parts));
        let found = names(&[
            tlv(0x82, b"a.test"),
            tlv(0x81, b"not a mailbox"),
            tlv(0x86, b"http://u@a.test:80/x"),
            tlv(0x86, b"mailto:x"),
            tlv(0x87, &[10, 0, 0, 1]),
            tlv(0xa0, &[]),
            tlv(0x82, b""),
        ])
        .unwrap();
        let list = |names: &[&[u8]]| names.iter().map(|name| name.to_vec()).collect::<Vec<_>>();
        let expected = AlternativeNames {
            raw: found.alternative_names.as_ref().unwrap().raw.clone(),
            dns: list(&[b"a.test", b""]),
            emails: list(&[b"not a mailbox"]),
            addresses: list(&[&[10, 0, 0, 1]]),
            uri_hosts: list(&[b"a.test:80", b""]),
        };
        assert_eq!((found.alternative_names, found.unhandled_critical), (Some(expected), false));
        assert!(names(&[tlv(0xa0, &[])]).unwrap().unhandled_critical);
        assert!(names(&[]).unwrap().unhandled_critical);
        let bad = [
            (tlv(0x82, &[0x80]), "dNSName"),
            (tlv(0x81, &[0x80]), "rfc822Name"),
            (tlv(0x86, &[0x80]), "uniformResourceIdentifier"),
            (tlv(0x86, b"http://[::bad"), "uniformResourceIdentifier"),
            (tlv(0x86, b"http://a..b/"), "uniformResourceIdentifier"),
            (tlv(0x87, &[1, 2, 3, 4, 5]), "iPAddress"),
            (vec![0x82], "subject alternative names"),
        ];
        for (name, expected) in bad {
            assert_eq!(names(slice::from_ref(&name)), Err(ParseError::Extension(expected)), "{name:x?}");
        }
    }

    /// Go: processExtensions, parseCertificatePoliciesExtension.
    #[test]
    fn what_is_said_about_policies_is_read() {
        let policy = |bytes: &[u8]| sequence(&[oid(bytes)]);
        let large = [0x2a, 0x90, 0x80, 0x80, 0x80, 0x80, 0x00];
        let policies = one(32, true, &sequence(&[policy(&[0x2a, 1]), policy(&large)])).unwrap().policies;
        assert_eq!(policies.policies, [&[0x2a, 1][..], &large]);
        let bad = Err(ParseError::Extension("certificate policies"));
        assert_eq!(one(32, true, &sequence(&[policy(&[0x2a]), policy(&[0x2a])])), bad);
        assert_eq!(one(32, true, &sequence(&[policy(&[0x2a, 0x80])])), bad);

        let mapping = sequence(&[sequence(&[oid(&[0x2a, 1]), oid(&[0x2a, 2])])]);
        assert_eq!(one(33, true, &mapping).unwrap().policies.mappings, [(vec![0x2a, 1], vec![0x2a, 2])]);
        let half = sequence(&[sequence(&[oid(&[0x2a, 1])])]);
        assert_eq!(one(33, true, &half), Err(ParseError::Extension("policy mappings")));

        let constraints = |parts: &[Vec<u8>]| {
            one(36, true, &sequence(parts)).map(|e| (e.policies.require_explicit, e.policies.inhibit_mapping))
        };
        assert_eq!(constraints(&[]), Ok((None, None)));
        assert_eq!(constraints(&[tlv(0x80, &[0]), tlv(0x81, &[2])]), Ok((Some(0), Some(2))));
        assert_eq!(constraints(&[tlv(0x81, &[1])]), Ok((None, Some(1))));
        assert_eq!(constraints(&[tlv(0x80, &[0xff])]), Ok((None, None)), "below zero is none, as in Go");
        assert_eq!(constraints(&[tlv(0x80, &[])]), Err(ParseError::Extension("policy constraints")));
        assert_eq!(one(54, true, &tlv(INTEGER, &[1])).unwrap().policies.inhibit_any, Some(1));
        assert_eq!(one(54, true, &[]), Err(ParseError::Extension("inhibit anyPolicy")));
    }

    #[test]
    fn identifiers_and_addresses_must_not_be_critical_and_the_unknown_must_not_either() {
        assert_eq!(one(14, true, &tlv(4, &[])), Err(ParseError::Critical("subject key identifier")));
        assert_eq!(one(35, true, &sequence(&[])), Err(ParseError::Critical("authority key identifier")));
        assert_eq!(one(14, false, &[]), Err(ParseError::Extension("subject key identifier")));
        assert_eq!(one(35, false, &[]), Err(ParseError::Extension("authority key identifier")));
        assert_eq!(one(35, false, &sequence(&[tlv(0xa1, &[])])).unwrap().authority_key_id, [0; 0]);
        let access =
            |critical, value: &[u8]| Extensions::default().add(AUTHORITY_INFO_ACCESS, critical, value);
        let place = sequence(&[sequence(&[oid(&[0x2a]), tlv(0x86, b"\xff")]), sequence(&[oid(&[0x2a])])]);
        assert_eq!(access(false, &place), Ok(true));
        assert_eq!(access(true, &place), Err(ParseError::Critical("authority info access")));
        assert_eq!(
            access(false, &sequence(&[sequence(&[])])),
            Err(ParseError::Extension("authority info access"))
        );
        assert!(one(99, true, &[]).unwrap().unhandled_critical);
        assert!(!one(99, false, &[]).unwrap().unhandled_critical);
        assert_eq!(Extensions::default().add(&[0x55, 0x1d, 0x81, 15], true, &[]), Ok(false));
    }

    /// RFC 5280, section 4.2.1.13.
    #[test]
    fn distribution_points_have_full_names_or_none() {
        let point = |name: &[u8]| one(31, false, &sequence(&[sequence(&[name.to_vec()])])).map(|_| ());
        assert_eq!(point(&[]), Ok(()));
        assert_eq!(point(&tlv(0xa0, &tlv(0xa0, &tlv(0x86, b"http://a/")))), Ok(()));
        assert_eq!(point(&tlv(0xa0, &tlv(0xa0, &[0xff]))), Ok(()), "what is no URI is not looked at");
        assert_eq!(point(&tlv(0x82, &[])), Ok(()));
        let bad = Err(ParseError::Extension("CRL distribution points"));
        assert_eq!(point(&tlv(0xa0, &tlv(0xa1, &[]))), bad);
        assert_eq!(point(&tlv(0xa0, &tlv(0xa0, &[0x86]))), bad);
    }
}
