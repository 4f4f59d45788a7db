//! Certificate revocation lists (RFC 5280, section 5). kube-apiserver has none: this goes beyond it, and can only refuse more.
//!
//! A list is read as Go reads it (crypto/x509/parser.go, `ParseRevocationList`; x509.go, `RevocationList.CheckSignatureFrom`), but for
//! what section 6.3.3 of the RFC asks for and Go leaves to its caller: what changes the meaning of a list is understood or refused.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, PoisonError};

use super::certificate::Certificate;
use super::der::{
    BOOLEAN, GENERALIZED_TIME, INTEGER, OCTET_STRING, Reader, SEQUENCE, UTC_TIME, context,
    context_constructed, is_negative,
};
use super::error::{ParseError, PoolError, Role, VerifyError};
use super::key::Algorithm;
use super::pem::Blocks;
use super::pool::CertPool;
use super::signature::{self, SignatureAlgorithm};
use super::time;

/// One list: what its issuer has taken back.
pub struct RevocationList {
    tbs: Box<[u8]>,
    signature_algorithm: SignatureAlgorithm,
    signature: Vec<u8>,
    raw_issuer: Box<[u8]>,
    next_update: Option<i64>,
    /// Serial numbers.
    revoked: HashSet<Box<[u8]>>,
    /// Whether it is signed with this key (a SubjectPublicKeyInfo): a long list takes a while to hash.
    signed_with: Mutex<HashMap<Box<[u8]>, bool>>,
}

impl fmt::Debug for RevocationList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RevocationList({} certificates, next update {:?})", self.revoked.len(), self.next_update)
    }
}

/// The lists of all issuers.
#[derive(Debug, Default)]
pub struct RevocationLists {
    lists: Vec<RevocationList>,
    /// Whether a list that is past its nextUpdate speaks against whomever its issuer has signed.
    require_current: bool,
}

/// As many keys of one issuer's name as are remembered for one list.
const MAX_KEYS: usize = 64;

impl RevocationList {
    /// Reads one list of version 2, which must be all of `der`. Go: `ParseRevocationList`.
    ///
    /// Stricter than Go: no delta list, no list on behalf of other issuers, and no critical extension that is not known.
    pub fn parse(der: &[u8]) -> Result<Self, ParseError> {
        const MALFORMED: ParseError = ParseError::Malformed("certificate list");
        let mut input = Reader::new(der);
        let mut outer = input.enter(SEQUENCE).ok_or(MALFORMED)?;
        if !input.is_empty() {
            return Err(ParseError::TrailingData);
        }
        let tbs = outer.element(SEQUENCE).ok_or(ParseError::Malformed("tbsCertList"))?;
        let outer_algorithm = outer.read(SEQUENCE).ok_or(ParseError::Malformed("signature algorithm"))?;
        let signature = outer.bit_string().ok_or(ParseError::Malformed("signature"))?;

        let mut fields = Reader::new(tbs.content);
        if !fields.peek(INTEGER) || fields.int64(INTEGER) != Some(V2) {
            return Err(ParseError::Version);
        }
        let algorithm = fields.read(SEQUENCE).ok_or(ParseError::Malformed("signature algorithm"))?;
        if algorithm != outer_algorithm {
            return Err(ParseError::SignatureAlgorithm);
        }
        let issuer = fields.element(SEQUENCE).ok_or(ParseError::Malformed("issuer"))?;
        time::read(&mut fields).ok_or(ParseError::Malformed("thisUpdate"))?;
        let next_update = match fields.peek(UTC_TIME) || fields.peek(GENERALIZED_TIME) {
            true => Some(time::read(&mut fields).ok_or(ParseError::Malformed("nextUpdate"))?),
            false => None,
        };
        let revoked = match fields.peek(SEQUENCE) {
            true => revoked(fields.enter(SEQUENCE).ok_or(MALFORMED)?)?,
            false => HashSet::new(),
        };
        if let Some(content) = fields.optional(context_constructed(0)).ok_or(MALFORMED)? {
            extensions(content)?;
        }
        Ok(Self {
            tbs: tbs.full.into(),
            signature_algorithm: SignatureAlgorithm::from_identifier(Algorithm::parse(algorithm)?),
            signature: signature.right_align(),
            raw_issuer: issuer.full.into(),
            next_update,
            revoked,
            signed_with: Mutex::default(),
        })
    }

    /// From when on it is out of date, in seconds since 1970, if it says so.
    pub fn next_update(&self) -> Option<i64> {
        self.next_update
    }

    /// Whether it is by the holder of this certificate's key. Whether that key is meant for signing lists (cRLSign) is not asked: to
    /// believe one list too many refuses somebody, to believe one too few lets somebody in.
    fn is_by(&self, issuer: &Certificate) -> bool {
        if *self.raw_issuer != *issuer.raw_subject() {
            return false;
        }
        let mut signed_with = self.signed_with.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = signed_with.get(issuer.raw_public_key()) {
            return *known;
        }
        let checked =
            signature::check(self.signature_algorithm, &self.tbs, &self.signature, &issuer.public_key);
        if signed_with.len() < MAX_KEYS {
            signed_with.insert(issuer.raw_public_key().into(), checked.is_ok());
        }
        checked.is_ok()
    }
}

impl RevocationLists {
    /// Lists that speak for their issuers; with `require_current`, one that is past its nextUpdate speaks against all that its
    /// issuer has signed.
    pub fn new(lists: Vec<RevocationList>, require_current: bool) -> Self {
        Self { lists, require_current }
    }

    /// Refuses a chain, leaf first, of which a certificate has been revoked; its end, otherwise: the earliest nextUpdate, if that
    /// matters, in seconds since 1970.
    ///
    /// An issuer that has no list has revoked nothing.
    pub(super) fn check(
        &self,
        chain: &[&Certificate],
        roots: &CertPool,
        now: i64,
    ) -> Result<i64, VerifyError> {
        let mut end = i64::MAX;
        if self.lists.is_empty() {
            return Ok(end);
        }
        for (index, certificate) in chain.iter().enumerate() {
            // A trust anchor may have been taken back as well, by another one.
            let issuers = match chain.get(index + 1) {
                Some(issuer) => vec![*issuer],
                None => roots.potential_parents(certificate),
            };
            let theirs = |list: &&RevocationList| issuers.iter().any(|issuer| list.is_by(issuer));
            for list in self.lists.iter().filter(theirs) {
                if list.revoked.contains(certificate.serial()) {
                    let role = match index {
                        0 => Role::Leaf,
                        _ if index + 1 == chain.len() => Role::Root,
                        _ => Role::Intermediate,
                    };
                    return Err(VerifyError::Revoked { role });
                }
                if let Some(next_update) = list.next_update.filter(|_| self.require_current) {
                    if next_update <= now {
                        return Err(VerifyError::RevocationListExpired);
                    }
                    end = end.min(next_update);
                }
            }
        }
        Ok(end)
    }
}

/// The lists of a file: PEM blocks of type X509 CRL, of which there must be one, or DER, as CAs publish it. `issuers` are trust
/// anchors: a list that bears the name of some of them is signed by one of those.
pub fn revocation_lists(text: &[u8], issuers: &[&CertPool]) -> Result<Vec<RevocationList>, PoolError> {
    let parse = |(index, der): (usize, &[u8])| {
        let failed = |error| PoolError::RevocationList { number: index + 1, error };
        let list = RevocationList::parse(der).map_err(failed)?;
        let named = || issuers.iter().flat_map(|pool| pool.with_subject(&list.raw_issuer));
        if named().next().is_some() && !named().any(|issuer| list.is_by(issuer)) {
            return Err(PoolError::RevocationListSignature { number: index + 1 });
        }
        Ok(list)
    };
    if text.first() == Some(&SEQUENCE) {
        return Ok(vec![parse((0, text))?]);
    }
    let blocks: Vec<_> =
        Blocks::of(text).filter(|block| block.label == b"X509 CRL" && !block.has_headers).collect();
    let lists =
        blocks.iter().map(|block| &*block.content).enumerate().map(parse).collect::<Result<Vec<_>, _>>()?;
    if lists.is_empty() { Err(PoolError::NoRevocationLists) } else { Ok(lists) }
}

/// Version 2, as it is encoded.
const V2: i64 = 1;

/// The serial numbers of `revokedCertificates`. Why and when does not matter: `removeFromCRL` is for delta lists only.
fn revoked(mut entries: Reader<'_>) -> Result<HashSet<Box<[u8]>>, ParseError> {
    const MALFORMED: ParseError = ParseError::Malformed("revoked certificate");
    let mut serials = HashSet::new();
    while !entries.is_empty() {
        let mut entry = entries.enter(SEQUENCE).ok_or(MALFORMED)?;
        let serial = entry.integer(INTEGER).ok_or(MALFORMED)?;
        if is_negative(serial) {
            return Err(ParseError::NegativeSerial);
        }
        time::read(&mut entry).ok_or(MALFORMED)?;
        if entry.peek(SEQUENCE) {
            // The only one that changes what the entry is about (certificateIssuer, section 5.3.3) is critical.
            each_extension(entry.enter(SEQUENCE).ok_or(MALFORMED)?, |_, critical, _| match critical {
                true => Err(ParseError::CriticalExtension),
                false => Ok(()),
            })?;
        }
        serials.insert(serial.into());
    }
    Ok(serials)
}

/// `crlExtensions`, of which the issuing distribution point is the only critical one that is understood: a list of a part of what
/// an issuer has revoked is as good as any, since whoever is not in a list is not in question.
fn extensions(content: &[u8]) -> Result<(), ParseError> {
    let list = Reader::new(content).enter(SEQUENCE).ok_or(ParseError::Malformed("extensions"))?;
    each_extension(list, |oid, critical, value| match oid {
        DELTA_CRL_INDICATOR => Err(ParseError::Extension("list: a delta list; give the whole one")),
        ISSUING_DISTRIBUTION_POINT => match is_indirect(value) {
            Some(false) => Ok(()),
            Some(true) => Err(ParseError::Extension("list: an indirect one; give each issuer's own")),
            None => Err(ParseError::Extension("issuing distribution point")),
        },
        _ if critical => Err(ParseError::CriticalExtension),
        _ => Ok(()),
    })
}

/// Hands on the object identifier, criticality and value of each.
fn each_extension<'a>(
    mut list: Reader<'a>,
    mut each: impl FnMut(&'a [u8], bool, &'a [u8]) -> Result<(), ParseError>,
) -> Result<(), ParseError> {
    const MALFORMED: ParseError = ParseError::Malformed("extensions");
    while !list.is_empty() {
        let mut extension = list.enter(SEQUENCE).ok_or(MALFORMED)?;
        let oid = extension.oid().ok_or(MALFORMED)?;
        let critical = if extension.peek(BOOLEAN) { extension.boolean().ok_or(MALFORMED)? } else { false };
        each(oid, critical, extension.read(OCTET_STRING).ok_or(MALFORMED)?)?;
    }
    Ok(())
}

/// RFC 5280, section 5.2.5: `indirectCRL`, `[4]`.
fn is_indirect(value: &[u8]) -> Option<bool> {
    let mut fields = Reader::new(value).enter(SEQUENCE)?;
    while !fields.is_empty() {
        let field = fields.any()?;
        if field.tag == context(4) {
            return Some(field.content != [0]);
        }
    }
    Some(false)
}

/// 2.5.29.27.
const DELTA_CRL_INDICATOR: &[u8] = &[0x55, 0x1d, 27];
/// 2.5.29.28.
const ISSUING_DISTRIBUTION_POINT: &[u8] = &[0x55, 0x1d, 28];

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::super::testing::{Draft, ca, draft, list, sequence, tlv};
    use super::super::verify::verify;
    use super::*;

    const NOW: u64 = 1_700_000_000;
    /// 2023-11-14T22:13:20Z is [`NOW`].
    const LATER: &str = "231114221321Z";
    const EARLIER: &str = "231114221320Z";
    const END: i64 = 3_755_376_000;

    fn verdict(chain: &[Draft], roots: &[Draft], lists: RevocationLists) -> Result<i64, VerifyError> {
        let chain: Vec<_> = chain.iter().map(Draft::build).collect();
        let (leaf, intermediates) = chain.split_first().unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(NOW);
        let roots = roots.iter().map(Draft::build).collect();
        verify(leaf, intermediates, &roots, Some(&lists), now).map(|verified| verified.not_after)
    }

    fn lists(drafts: &[Vec<u8>], require_current: bool) -> RevocationLists {
        let parse = |der: &Vec<u8>| RevocationList::parse(der).unwrap();
        RevocationLists::new(drafts.iter().map(parse).collect(), require_current)
    }

    fn leaf(serial: u8) -> Draft {
        draft("leaf", "inter").but(|draft| draft.serial = vec![serial])
    }

    fn chain() -> [Draft; 2] {
        [leaf(7), ca("inter", "root", None).but(|draft| draft.serial = vec![8])]
    }

    fn root() -> [Draft; 1] {
        [ca("root", "root", None).but(|draft| draft.serial = vec![9])]
    }

    /// RFC 5280, section 6.3.
    #[test]
    fn whoever_is_in_a_list_of_its_issuer_is_refused() {
        let of = |drafts: &[Vec<u8>]| verdict(&chain(), &root(), lists(drafts, false));
        let revoked = |role| Err(VerifyError::Revoked { role });
        assert_eq!(of(&[]), Ok(END));
        assert_eq!(of(&[list("inter", &[7], None, &[])]), revoked(Role::Leaf));
        assert_eq!(of(&[list("root", &[8], None, &[])]), revoked(Role::Intermediate));
        assert_eq!(of(&[list("root", &[9], None, &[])]), revoked(Role::Root));
        assert_eq!(
            of(&[list("root", &[], None, &[]), list("inter", &[1, 7], None, &[])]),
            revoked(Role::Leaf)
        );
        // Another's serial number, another issuer's list, one that is not signed by the issuer.
        assert_eq!(of(&[list("inter", &[6], None, &[]), list("root", &[7], None, &[])]), Ok(END));
        assert_eq!(of(&[list("inter", &[8], None, &[])]), Ok(END));
        let mut forged = list("inter", &[7], None, &[]);
        *forged.last_mut().unwrap() ^= 1;
        assert_eq!(of(&[forged]), Ok(END));
        // A certificate that is itself trusted is not asked for its issuer, unless that is trusted as well.
        let list = || lists(&[list("inter", &[7], None, &[])], false);
        assert_eq!(verdict(&[leaf(7)], &[leaf(7)], list()), Ok(END));
        assert_eq!(verdict(&[leaf(7)], &[leaf(7), chain()[1].clone()], list()), revoked(Role::Leaf));
        // Another way that avoids what has been revoked is as good.
        let [leaf, inter] = chain();
        let other = inter.clone().but(|draft| draft.serial = vec![1]);
        let taken_back = || lists(&[super::super::testing::list("root", &[8], None, &[])], false);
        assert_eq!(verdict(&[leaf, inter, other], &root(), taken_back()), Ok(END));
    }

    #[test]
    fn a_list_past_its_next_update_is_still_heard_and_denies_if_asked_to() {
        let of = |serial, next_update, require_current| {
            let lists = lists(&[list("inter", &[serial], Some(next_update), &[])], require_current);
            verdict(&chain(), &root(), lists)
        };
        let now = i64::try_from(NOW).unwrap();
        assert_eq!(of(6, EARLIER, false), Ok(END));
        assert_eq!(of(7, EARLIER, false), Err(VerifyError::Revoked { role: Role::Leaf }));
        assert_eq!(of(6, EARLIER, true), Err(VerifyError::RevocationListExpired));
        assert_eq!(of(6, LATER, true), Ok(now + 1), "no longer than the list");
        assert_eq!(of(6, LATER, false), Ok(END));
    }

    /// Go: ParseRevocationList. RFC 5280, sections 5.2.4, 5.2.5 and 5.3.3.
    #[test]
    fn what_changes_the_meaning_of_a_list_is_refused() {
        let parse = |extensions: &[(u8, bool, Vec<u8>)]| {
            RevocationList::parse(&list("root", &[1], Some(LATER), extensions)).map(|list| list.revoked.len())
        };
        let number = |n| tlv(INTEGER, &[n]);
        let name = tlv(0xa0, &tlv(0xa0, &tlv(0x86, b"http://a.test/crl")));
        assert_eq!(parse(&[(20, false, number(1)), (35, false, Vec::new())]), Ok(1));
        assert_eq!(parse(&[(28, true, sequence(&[name, tlv(0x81, &[0xff])]))]), Ok(1));
        let indirect = (28, true, sequence(&[tlv(0x84, &[0xff])]));
        assert_eq!(
            parse(&[indirect]),
            Err(ParseError::Extension("list: an indirect one; give each issuer's own"))
        );
        assert_eq!(parse(&[(28, true, vec![5])]), Err(ParseError::Extension("issuing distribution point")));
        let delta = Err(ParseError::Extension("list: a delta list; give the whole one"));
        assert_eq!(parse(&[(27, true, number(1))]), delta);
        assert_eq!(parse(&[(99, true, Vec::new())]), Err(ParseError::CriticalExtension));
        let good = list("root", &[1], None, &[]);
        assert_eq!(RevocationList::parse(&[&*good, &[0]].concat()).err(), Some(ParseError::TrailingData));
        for end in 0..good.len() {
            assert!(RevocationList::parse(&good[..end]).is_err(), "cut off at {end}");
        }
    }

    #[test]
    fn a_file_of_lists_is_pem_or_der_and_signed_by_whom_it_names() {
        let pool: CertPool = root().iter().map(Draft::build).collect();
        let read = |text: &[u8]| revocation_lists(text, &[&pool]).map(|lists| lists.len());
        let der = list("root", &[1], None, &[]);
        let pem = |label, der: &[u8]| {
            format!("# ours\n-----BEGIN {label}-----\n{}\n-----END {label}-----\n", STANDARD.encode(der))
        };
        let two = [pem("X509 CRL", &der), pem("X509 CRL", &list("inter", &[], None, &[]))].concat();
        assert_eq!(read(&der).ok(), Some(1));
        assert_eq!(read(two.as_bytes()).ok(), Some(2));
        assert_eq!(read(b"").err(), Some(PoolError::NoRevocationLists));
        assert_eq!(read(pem("CERTIFICATE", &der).as_bytes()).err(), Some(PoolError::NoRevocationLists));
        let error = PoolError::RevocationList { number: 1, error: ParseError::Malformed("tbsCertList") };
        assert_eq!(read(pem("X509 CRL", &[0x30, 0]).as_bytes()).err(), Some(error));
        let mut forged = der;
        *forged.last_mut().unwrap() ^= 1;
        assert_eq!(read(&forged).err(), Some(PoolError::RevocationListSignature { number: 1 }));
    }
}
