//! The client's certificate, found and verified. Envoy hands on what it was given, whether it has verified it or not
//! (`ACCEPT_UNTRUSTED`, resumed sessions, connections that outlive a certificate), so it is verified here, on every request
//! (threats S30). `source.principal` is what Envoy makes of a certificate and is never looked at.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::UNIX_EPOCH;

use aws_lc_rs::digest::{SHA256, digest};
use quick_cache::sync::Cache;

use super::pem_text::{self, Decoded};
use super::{Now, xfcc};
use crate::decision::Reason;
use crate::identity::{CREDENTIAL_ID, Extra, Groups, Identity};
use crate::metrics::{Caches, Histogram, Remembers};
use crate::pki::{CertPool, Certificate, Invalid, RevocationLists, VerifyError, verify};
use crate::request::Request;
use crate::secret::{Fingerprint, Fingerprinter};

/// Verifies client certificates against a bundle of CAs.
pub struct ClientCertificates {
    roots: Arc<CertPool>,
    revocations: Arc<RevocationLists>,
    /// How many proxies, the Envoy that asks us included, have written an element of `x-forwarded-client-cert`. 0: it is not
    /// looked at.
    xfcc_trusted_hops: usize,
    fingerprinter: Fingerprinter,
    remembered: Arc<Remembered>,
    /// For how long those that are presented are still valid, if anybody wants to know.
    expirations: Option<Arc<Histogram>>,
}

struct Remembered {
    /// What was presented and has been verified, by fingerprint of the text. Only what is good is remembered, so that nobody can
    /// fill this who has no certificate.
    verified: Cache<Fingerprint, Arc<VerifiedCertificate>>,
    /// CAs between the roots and a certificate that has been verified, by fingerprint: leaf after leaf comes with the same ones.
    intermediates: Cache<Fingerprint, Arc<Certificate>>,
}

impl Remembers for Remembered {
    fn remembered(&self) -> (usize, usize) {
        (self.verified.len(), self.intermediates.len())
    }
}

/// What a request presents to one bundle of CAs.
#[derive(Debug)]
pub(super) enum Presented {
    /// No certificate.
    Nothing,
    /// One that is bad, or cannot be read.
    Rejected(Reason),
    /// One that these CAs vouch for.
    Verified(Arc<VerifiedCertificate>),
}

/// A certificate that has been verified.
#[derive(Debug)]
pub(super) struct VerifiedCertificate {
    /// The last common name of the subject, empty if there is none.
    pub(super) common_name: Box<str>,
    /// Whom it stands for: nobody, if it has no common name.
    pub(super) identity: Result<Option<Arc<Identity>>, Reason>,
    /// Until when the chain that was found is valid, in seconds since 1970.
    not_after: i64,
    /// Until when the certificate itself is.
    leaf_not_after: i64,
}

/// The leaf behind its length, so that no two presentations have one text, and what was forwarded.
struct Text {
    bytes: Vec<u8>,
    leaf: Range<usize>,
}

/// Of a length.
const LENGTH: usize = size_of::<usize>();
/// A leaf, and a leaf and a chain of two forwarded, each URL-encoded, have some 6 KiB.
const USUAL_TEXT: usize = 8192;

impl Text {
    fn parts(&self) -> (&[u8], &[u8]) {
        (&self.bytes[self.leaf.clone()], &self.bytes[self.leaf.end..])
    }
}

impl ClientCertificates {
    /// Verifies against `roots` and `revocations`, and reads the chain from `x-forwarded-client-cert` if that is trusted.
    pub fn new(roots: Arc<CertPool>, revocations: Arc<RevocationLists>, xfcc_trusted_hops: usize) -> Self {
        Self {
            roots,
            revocations,
            xfcc_trusted_hops,
            fingerprinter: Fingerprinter::random(),
            remembered: Arc::new(Remembered {
                verified: Cache::new(REMEMBERED),
                intermediates: Cache::new(REMEMBERED_INTERMEDIATES),
            }),
            expirations: None,
        }
    }

    /// Tells of each certificate that is presented for how many seconds it is still valid. Go: `clientCertificateExpirationHistogram`.
    pub fn counted_in(self, expirations: Arc<Histogram>) -> Self {
        Self { expirations: Some(expirations), ..self }
    }

    /// Tells of how much is remembered, among `caches`.
    pub fn watched_in(self, caches: &Caches) -> Self {
        let remembered: Weak<Remembered> = Arc::downgrade(&self.remembered);
        caches.watch(remembered);
        self
    }

    fn observe(&self, leaf_not_after: i64, now: Now) {
        if let Some(expirations) = &self.expirations {
            expirations.observe_seconds(leaf_not_after.saturating_sub(seconds(now)));
        }
    }

    /// The certificate of a request.
    pub(super) fn presented(&self, request: &Request<'_>, now: Now) -> Presented {
        let text = self.text(request);
        let (leaf, forwarded) = text.parts();
        // Behind more than one proxy the leaf is the last proxy's, not the client's.
        if forwarded.is_empty() && (leaf.is_empty() || self.xfcc_trusted_hops > 1) {
            return Presented::Nothing;
        }
        let Some(key) = self.fingerprinter.fingerprint(&text.bytes) else {
            return Presented::Rejected(Reason::MalformedCertificate);
        };
        if let Some(known) = self.remembered.verified.get(&key)
            && seconds(now) < known.not_after
        {
            self.observe(known.leaf_not_after, now);
            return Presented::Verified(known);
        }
        match self.verify(leaf, forwarded, now) {
            Err(reason) => Presented::Rejected(reason),
            Ok(None) => Presented::Nothing,
            Ok(Some(certificate)) => {
                let certificate = Arc::new(certificate);
                self.remembered.verified.insert(key, Arc::clone(&certificate));
                Presented::Verified(certificate)
            }
        }
    }

    /// What was presented: the leaf, and the value of `x-forwarded-client-cert`, if anybody is trusted to have written it.
    fn text(&self, request: &Request<'_>) -> Text {
        let leaf = request.client_certificate;
        let mut bytes = Vec::with_capacity(USUAL_TEXT);
        bytes.extend_from_slice(&leaf.len().to_ne_bytes());
        bytes.extend_from_slice(leaf);
        if self.xfcc_trusted_hops > 0 {
            for (number, value) in request.headers.get_all(b"x-forwarded-client-cert").enumerate() {
                bytes.extend_from_slice(if number == 0 { b"" } else { b"," });
                bytes.extend_from_slice(value);
            }
        }
        Text { bytes, leaf: LENGTH..LENGTH + leaf.len() }
    }

    /// Go: `leaf.Verify(VerifyOptions{Roots, Intermediates, CurrentTime, KeyUsages: [ClientAuth]})`. `None` if the client
    /// presented no certificate to the first proxy.
    fn verify(&self, leaf: &[u8], forwarded: &[u8], now: Now) -> Result<Option<VerifiedCertificate>, Reason> {
        let Some(chain) = chain(leaf, forwarded, self.xfcc_trusted_hops)? else { return Ok(None) };
        // kube-apiserver ends the handshake when any of them cannot be parsed.
        let malformed = Reason::MalformedCertificate;
        let (leaf, others) = chain.split_first().ok_or(malformed)?;
        let leaf = Certificate::parse(leaf).map_err(|_| malformed)?;
        let intermediates: Option<Vec<_>> = others.iter().map(|der| self.intermediate(der)).collect();
        let intermediates = intermediates.ok_or(malformed)?;
        self.observe(leaf.not_after(), now);
        let others: Vec<&Certificate> = intermediates.iter().map(|(certificate, _)| &**certificate).collect();
        let verified = verify(&leaf, &others, &self.roots, Some(&self.revocations), now.0);
        let verified = verified.map_err(|error| reason(&error))?;
        for (certificate, new) in &intermediates {
            if let Some(key) = new
                && verified.chain.contains(&&**certificate)
            {
                self.remembered.intermediates.insert(*key, Arc::clone(certificate));
            }
        }
        Ok(Some(VerifiedCertificate {
            common_name: leaf.common_name().into(),
            identity: identity(&leaf),
            not_after: verified.not_after,
            leaf_not_after: leaf.not_after(),
        }))
    }

    /// A certificate that is not the leaf, and its fingerprint unless it is remembered.
    fn intermediate(&self, der: &[u8]) -> Option<(Arc<Certificate>, Option<Fingerprint>)> {
        let key = self.fingerprinter.fingerprint(der)?;
        match self.remembered.intermediates.get(&key) {
            Some(certificate) => Some((certificate, None)),
            None => Some((Arc::new(Certificate::parse(der).ok()?.kept()), Some(key))),
        }
    }
}

impl fmt::Debug for ClientCertificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientCertificates({} hops)", self.xfcc_trusted_hops)
    }
}

/// The SHA-256 of the certificate that Envoy's peer has presented, in hexadecimal, whatever else is to be said of it.
pub fn certificate_fingerprint(request: &Request<'_>) -> Option<String> {
    let certificates = pem_text::url_encoded(request.client_certificate)?;
    certificates.first().map(|certificate| sha256_hex(certificate))
}

/// The certificates that the client presented, leaf first, as DER.
fn chain(leaf: &[u8], forwarded: &[u8], hops: usize) -> Result<Option<Vec<Vec<u8>>>, Reason> {
    let text = leaf;
    let leaf = match text {
        b"" => None,
        text => match <[_; 1]>::try_from(pem_text::url_encoded(text).ok_or(Reason::MalformedCertificate)?) {
            Ok([leaf]) => Some(leaf),
            Err(_several) => return Err(Reason::MalformedCertificate),
        },
    };
    if forwarded.is_empty() {
        return Ok(leaf.map(|leaf| vec![leaf]));
    }
    let malformed = Reason::MalformedForwardedCertificate;
    let decoded = leaf.as_deref().map(|der| Decoded { text, der });
    let elements = xfcc::parse(forwarded, hops, decoded).ok_or(malformed)?;
    let chains: Option<Vec<_>> = elements.into_iter().map(forwarded_chain).collect();
    let mut chains = chains.ok_or(malformed)?;
    // The last element was written by the Envoy that asks us, about the peer whose certificate it also gives us. Without that
    // one, anybody may have written it: a certificate is no secret.
    let last = chains.last().and_then(|chain| chain.first());
    if leaf.as_ref() != last {
        return Err(malformed);
    }
    // Fewer than the hops: nobody has presented a certificate to the first of them.
    Ok((chains.len() == hops).then(|| chains.swap_remove(0)))
}

/// An element's certificates, if its parts agree with each other.
fn forwarded_chain(element: xfcc::Element) -> Option<Vec<Vec<u8>>> {
    let chain = match (element.chain, element.cert) {
        (Some(chain), None) => chain,
        (None, Some(cert)) => vec![cert],
        (Some(chain), Some(cert)) => (chain.first() == Some(&cert)).then_some(chain)?,
        (None, None) => return None,
    };
    (sha256_hex(chain.first()?) == element.hash).then_some(chain)
}

/// Go: `CommonNameUserConversion` and `parseUIDFromCert`.
fn identity(leaf: &Certificate) -> Result<Option<Arc<Identity>>, Reason> {
    if leaf.common_name().is_empty() {
        return Ok(None);
    }
    // "expected 1 UID, but found multiple", "UID cannot be an empty string"
    let uid = match leaf.uids() {
        [] => "",
        [uid] if !uid.is_empty() => &**uid,
        _ => return Err(Reason::CertificateUid),
    };
    let credential_id = format!("X509SHA256={}", sha256_hex(leaf.der()));
    let groups = Groups::new(leaf.organizations());
    let extra = Extra::new([(CREDENTIAL_ID, [credential_id])]);
    Ok(Some(Arc::new(Identity::new(leaf.common_name(), uid, groups, extra))))
}

/// The reason code of an error; the log has no use for more.
fn reason(error: &VerifyError) -> Reason {
    match error {
        VerifyError::Invalid { reason: Invalid::Expired | Invalid::NotYetValid, .. } => {
            Reason::CertificateExpired
        }
        VerifyError::Revoked { .. } => Reason::CertificateRevoked,
        VerifyError::RevocationListExpired => Reason::RevocationListExpired,
        VerifyError::BeyondUs | VerifyError::TooManyCertificates => Reason::UnsupportedCertificate,
        _ => Reason::UntrustedCertificate,
    }
}

fn seconds(now: Now) -> i64 {
    let seconds = now.0.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

fn sha256_hex(bytes: &[u8]) -> String {
    let digit = |digit| char::from_digit(digit, 16).unwrap_or_default();
    let digits = |byte: &u8| [digit(u32::from(*byte >> 4)), digit(u32::from(*byte & 15))];
    digest(&SHA256, bytes).as_ref().iter().flat_map(digits).collect()
}

/// As many verified certificates as are remembered for one bundle: about 1 KiB each.
const REMEMBERED: usize = 10_000;
/// As many CAs below the roots: about 8 KiB each, and no more than Envoy lets through in a header.
const REMEMBERED_INTERMEDIATES: usize = 256;
