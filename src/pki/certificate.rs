//! A certificate (RFC 5280, section 4.1), read as Go's `x509.ParseCertificate` reads it (crypto/x509/parser.go).

use std::sync::OnceLock;

use super::der::{Element, INTEGER, Reader, SEQUENCE, context, context_constructed, is_negative};
use super::error::ParseError;
use super::extensions::Extensions;
use super::key::{Algorithm, PublicKey};
use super::name::Name;
use super::signature::{SetUpKey, SignatureAlgorithm};
use super::time;

/// The version of a certificate that is not said to be of another one, as it is encoded.
const V1: i64 = 0;
/// Version 3, as it is encoded.
const V3: i64 = 2;

/// An X.509 certificate whose every part has been read, and of which nothing has been verified.
#[derive(Debug, Clone)]
pub struct Certificate {
    der: Box<[u8]>,
    tbs: Box<[u8]>,
    pub(super) is_v3: bool,
    serial: Box<[u8]>,
    pub(super) signature_algorithm: SignatureAlgorithm,
    signature: Vec<u8>,
    raw_issuer: Box<[u8]>,
    raw_subject: Box<[u8]>,
    subject: Name,
    not_before: i64,
    not_after: i64,
    raw_public_key: Box<[u8]>,
    pub(super) public_key: PublicKey,
    pub(super) extensions: Extensions,
    /// For one that is kept.
    pub(super) known: Option<Box<Known>>,
}

/// What has been found out about a certificate once and for all, whatever the time is: most of what a verdict costs.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// The key that its signature is by.
    pub(super) signed_with: OnceLock<PublicKey>,
    /// Its own key.
    pub(super) set_up_key: SetUpKey,
}

/// Two certificates are the same if their bytes are. Go: `Certificate.Equal`.
impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}

impl Eq for Certificate {}

impl Certificate {
    /// The most bytes that are looked at: as many as Go's TLS takes in a whole message of certificates.
    pub const MAX_SIZE: usize = 262_144;

    /// Reads one certificate, which must be all of `der`. Go: `ParseCertificate`, `parseCertificate`.
    ///
    /// It refuses what Go refuses, and more: keys on P-224, a version of 2^63 - 1 (which overflows in Go), and what is longer than
    /// [`Certificate::MAX_SIZE`].
    pub fn parse(der: &[u8]) -> Result<Self, ParseError> {
        const MALFORMED: ParseError = ParseError::Malformed("certificate");
        if der.len() > Self::MAX_SIZE {
            return Err(ParseError::TooLarge);
        }
        let mut input = Reader::new(der);
        let mut outer = input.enter(SEQUENCE).ok_or(MALFORMED)?;
        if !input.is_empty() {
            return Err(ParseError::TrailingData);
        }
        let tbs = outer.element(SEQUENCE).ok_or(ParseError::Malformed("tbsCertificate"))?;
        let outer_algorithm = outer.read(SEQUENCE).ok_or(ParseError::Malformed("signature algorithm"))?;
        let signature = outer.bit_string().ok_or(ParseError::Malformed("signature"))?;
        // What follows the signature inside of the certificate is not looked at.

        let mut fields = Reader::new(tbs.content);
        let version = version(&mut fields)?;
        let serial = fields.integer(INTEGER).ok_or(ParseError::Malformed("serial number"))?;
        if is_negative(serial) {
            return Err(ParseError::NegativeSerial);
        }
        let algorithm = fields.read(SEQUENCE).ok_or(ParseError::Malformed("signature algorithm"))?;
        if algorithm != outer_algorithm {
            return Err(ParseError::SignatureAlgorithm);
        }
        let signature_algorithm = SignatureAlgorithm::from_identifier(Algorithm::parse(algorithm)?);
        let (raw_issuer, _) = name(&mut fields)?;
        let mut validity = fields.enter(SEQUENCE).ok_or(ParseError::Malformed("validity"))?;
        let not_before = time::read(&mut validity).ok_or(ParseError::Malformed("notBefore"))?;
        let not_after = time::read(&mut validity).ok_or(ParseError::Malformed("notAfter"))?;
        let (raw_subject, subject) = name(&mut fields)?;
        let key = fields.element(SEQUENCE).ok_or(ParseError::Malformed("public key"))?;
        let public_key = PublicKey::parse(key.content)?;
        let extensions =
            if version == V1 { Extensions::default() } else { extensions(&mut fields, version)? };

        Ok(Self {
            der: der.into(),
            tbs: tbs.full.into(),
            is_v3: version == V3,
            serial: serial.into(),
            signature_algorithm,
            signature: signature.right_align(),
            raw_issuer: raw_issuer.full.into(),
            raw_subject: raw_subject.full.into(),
            subject,
            not_before,
            not_after,
            raw_public_key: key.full.into(),
            public_key,
            extensions,
            known: None,
        })
    }

    /// The same, for somebody who keeps it: its signature is verified once, and its key is not set up for every signature.
    #[must_use]
    pub fn kept(self) -> Self {
        Self { known: Some(Box::default()), ..self }
    }

    /// The certificate as it came, for a fingerprint.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The last common name of the subject, in DER order; empty if there is none. Go: `Subject.CommonName`.
    pub fn common_name(&self) -> &str {
        &self.subject.common_name
    }

    /// All organizations of the subject in order, empty ones too. Go: `Subject.Organization`.
    pub fn organizations(&self) -> &[String] {
        &self.subject.organizations
    }

    /// All values of the subject's attribute 1.3.6.1.4.1.57683.2, Kubernetes' uid, in order, empty ones too.
    pub fn uids(&self) -> &[String] {
        &self.subject.uids
    }

    /// The key that it is about.
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The serial number, big-endian, for logs.
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// The subject key identifier, for logs; empty if there is none.
    pub fn subject_key_id(&self) -> &[u8] {
        &self.extensions.subject_key_id
    }

    /// The authority key identifier, for logs; empty if there is none.
    pub fn authority_key_id(&self) -> &[u8] {
        &self.extensions.authority_key_id
    }

    /// The first second at which it is valid, since 1970, negative before.
    pub fn not_before(&self) -> i64 {
        self.not_before
    }

    /// The last second at which it is valid, since 1970, negative before.
    pub fn not_after(&self) -> i64 {
        self.not_after
    }

    /// The part that is signed, with its header. Go: `RawTBSCertificate`.
    pub(super) fn tbs(&self) -> &[u8] {
        &self.tbs
    }

    /// Go: `Signature`.
    pub(super) fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// Go: `RawIssuer`.
    pub(super) fn raw_issuer(&self) -> &[u8] {
        &self.raw_issuer
    }

    /// Go: `RawSubject`.
    pub(super) fn raw_subject(&self) -> &[u8] {
        &self.raw_subject
    }

    /// Go: `RawSubjectPublicKeyInfo`.
    pub(super) fn raw_public_key(&self) -> &[u8] {
        &self.raw_public_key
    }
}

/// `[0] EXPLICIT INTEGER DEFAULT v1`. Go: `ReadOptionalASN1Integer`, which allows nothing else inside.
fn version(fields: &mut Reader<'_>) -> Result<i64, ParseError> {
    const MALFORMED: ParseError = ParseError::Malformed("version");
    let Some(content) = fields.optional(context_constructed(0)).ok_or(MALFORMED)? else { return Ok(V1) };
    let mut inside = Reader::new(content);
    let version = inside.int64(INTEGER).filter(|_| inside.is_empty()).ok_or(MALFORMED)?;
    if (V1..=V3).contains(&version) { Ok(version) } else { Err(ParseError::Version) }
}

fn name<'a>(fields: &mut Reader<'a>) -> Result<(Element<'a>, Name), ParseError> {
    let raw = fields.element(SEQUENCE).ok_or(ParseError::Malformed("name"))?;
    Ok((raw, Name::parse(raw.content)?))
}

/// What follows the key from version 2 on: two unique identifiers, which are skipped, and in version 3 the extensions. What else
/// follows is not looked at.
fn extensions(fields: &mut Reader<'_>, version: i64) -> Result<Extensions, ParseError> {
    for number in [1, 2] {
        fields.optional(context(number)).ok_or(ParseError::Malformed("unique identifier"))?;
    }
    if version != V3 {
        return Ok(Extensions::default());
    }
    match fields.optional(context_constructed(3)).ok_or(ParseError::Malformed("extensions"))? {
        Some(content) => Extensions::parse(content),
        None => Ok(Extensions::default()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{ca, draft, name, sequence, tlv};
    use super::*;

    fn error(der: &[u8]) -> Option<ParseError> {
        Certificate::parse(der).err()
    }

    #[test]
    fn what_kubernetes_asks_for_is_read() {
        let certificate = ca("alice", "root", None)
            .with(14, false, &tlv(4, &[1, 2]))
            .with(35, false, &sequence(&[tlv(0x80, &[3, 4])]))
            .but(|draft| draft.serial = vec![0, 0xff])
            .build();
        assert_eq!(certificate.common_name(), "alice");
        assert_eq!((certificate.organizations(), certificate.uids()), (&[][..], &[][..]));
        assert_eq!((certificate.not_before(), certificate.not_after()), (1_577_836_800, 3_755_376_000));
        assert_eq!(certificate.serial(), [0, 0xff]);
        assert_eq!(
            (certificate.subject_key_id(), certificate.authority_key_id()),
            (&[1, 2][..], &[3, 4][..])
        );
        assert_eq!(Certificate::parse(certificate.der()).as_ref(), Ok(&certificate));
    }

    /// Go: parseCertificate; TestParseNegativeSerial and TestEmptySerialNumber of crypto/x509/x509_test.go.
    #[test]
    fn versions_and_serial_numbers_are_checked() {
        let of = |version, serial: &[u8]| {
            let serial = serial.to_vec();
            error(&draft("a", "b").but(|d| (d.version, d.serial) = (version, serial)).der())
        };
        assert_eq!(of(None, &[1]), None);
        assert_eq!(of(Some(0), &[1]), None);
        assert_eq!(of(Some(1), &[0]), None);
        assert_eq!(of(Some(2), &[0x7f; 30]), None);
        assert_eq!(of(Some(3), &[1]), Some(ParseError::Version));
        assert_eq!(of(Some(0xff), &[1]), Some(ParseError::Version));
        assert_eq!(of(Some(2), &[0xff]), Some(ParseError::NegativeSerial));
        assert_eq!(of(Some(2), &[0, 1]), Some(ParseError::Malformed("serial number")));
        assert_eq!(of(Some(2), &[]), Some(ParseError::Malformed("serial number")));
    }

    #[test]
    fn only_version_3_has_extensions() {
        let bad = draft("a", "b").with(19, true, &[1]);
        assert_eq!(error(&bad.der()), Some(ParseError::Extension("basic constraints")));
        for version in [None, Some(0), Some(1)] {
            let certificate = bad.clone().but(|draft| draft.version = version).build();
            assert_eq!(certificate.extensions, Extensions::default(), "{version:?}");
            assert!(!certificate.is_v3);
        }
    }

    #[test]
    fn parts_that_are_not_there_or_not_der_are_named() {
        let der = draft("a", "b").der();
        assert_eq!(error(&[&*der, &[0]].concat()), Some(ParseError::TrailingData));
        assert_eq!(error(&[]), Some(ParseError::Malformed("certificate")));
        assert_eq!(error(&der[..der.len() - 1]), Some(ParseError::Malformed("certificate")));
        assert_eq!(error(&vec![0; Certificate::MAX_SIZE + 1]), Some(ParseError::TooLarge));
        let table = [
            (
                draft("a", "b").but(|d| d.algorithm = vec![5, 0]),
                ParseError::Malformed("algorithm identifier"),
            ),
            (
                draft("a", "b").but(|d| d.algorithm = vec![6, 1, 1, 5]),
                ParseError::Malformed("algorithm parameters"),
            ),
            (draft("a", "b").but(|d| d.issuer = tlv(0x31, &[])), ParseError::Malformed("name")),
            (draft("a", "b").but(|d| d.subject = sequence(&[name("a")])), ParseError::Malformed("name")),
            (draft("a", "b").but(|d| d.validity[0].1 = ""), ParseError::Malformed("notBefore")),
            (draft("a", "b").but(|d| d.validity[1].0 = 0x17), ParseError::Malformed("notAfter")),
            (draft("a", "b").but(|d| d.key = Vec::new()), ParseError::Malformed("public key")),
            (draft("a", "b").with(99, false, &[]).with(99, false, &[]), ParseError::DuplicateExtension),
        ];
        for (draft, expected) in table {
            assert_eq!(error(&draft.der()), Some(expected));
        }
    }

    /// A signature under another algorithm than the signed part names (RFC 5280, section 4.1.1.2).
    #[test]
    fn both_algorithm_identifiers_are_the_same_byte_for_byte() {
        let der = draft("a", "b").der();
        let identifier = [0x30, 5, 6, 3, 0x2b, 0x65, 0x70];
        let outer = der.windows(identifier.len()).rposition(|window| window == identifier).unwrap();
        let mut changed = der.clone();
        changed[outer + 6] = 0x71;
        assert_eq!(error(&changed), Some(ParseError::SignatureAlgorithm));
        assert_eq!(error(&der), None);
    }
}
