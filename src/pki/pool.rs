//! Trust anchors.

use std::collections::{HashMap, HashSet};

use super::certificate::Certificate;
use super::error::PoolError;
use super::pem::{Block, Blocks};

/// Certificates in the order in which they were added, each once. Go: `x509.CertPool`.
#[derive(Debug, Clone, Default)]
pub struct CertPool {
    certificates: Vec<Certificate>,
    by_subject: HashMap<Box<[u8]>, Vec<usize>>,
}

/// Two pools are equal if they hold the same certificates, in whatever order. Go: `CertPool.Equal`.
impl PartialEq for CertPool {
    fn eq(&self, other: &Self) -> bool {
        // Neither holds one twice.
        self.certificates.len() == other.certificates.len()
            && self.certificates.iter().all(|c| other.contains(c))
    }
}

impl Eq for CertPool {}

impl CertPool {
    /// Reads a bundle as kube-apiserver reads `--client-ca-file`, by the rules of [`certificates_from_pem`]. Go: `NewPoolFromBytes` of
    /// k8s.io/client-go/util/cert, called by `newCABundleAndVerifier` of k8s.io/apiserver/pkg/server/dynamiccertificates.
    pub fn from_pem(text: &[u8]) -> Result<Self, PoolError> {
        certificates_from_pem(text).map(Self::from_iter)
    }

    /// The certificates, each once.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// Whether this very certificate is in the pool. Go: `CertPool.contains`.
    pub fn contains(&self, certificate: &Certificate) -> bool {
        self.with_subject(certificate.raw_subject()).any(|other| other == certificate)
    }

    /// Whether a certificate is in both pools.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.certificates.iter().any(|certificate| other.contains(certificate))
    }

    /// The certificates whose subject is, byte for byte, `certificate`'s issuer, the likely ones first.
    pub(super) fn potential_parents(&self, certificate: &Certificate) -> Vec<&Certificate> {
        in_order_of_plausibility(self.with_subject(certificate.raw_issuer()), certificate)
    }

    /// The certificates of this subject, byte for byte.
    pub(super) fn with_subject<'a>(&'a self, subject: &[u8]) -> impl Iterator<Item = &'a Certificate> {
        let indexes = self.by_subject.get(subject).map(Vec::as_slice).unwrap_or_default();
        indexes.iter().filter_map(|index| self.certificates.get(*index))
    }
}

/// The certificates of a PEM text, in order: blocks of another type than CERTIFICATE, or with headers, and text around blocks are
/// skipped; one that is no certificate spoils all, and there must be one. Go: `ParseCertsPEM` of k8s.io/client-go/util/cert.
pub fn certificates_from_pem(text: &[u8]) -> Result<Vec<Certificate>, PoolError> {
    let blocks = Blocks::of(text).filter(|block| block.label == b"CERTIFICATE" && !block.has_headers);
    let parse = |(index, block): (usize, Block<'_>)| {
        Certificate::parse(&block.content)
            .map_err(|error| PoolError::Certificate { number: index + 1, error })
    };
    let certificates = blocks.enumerate().map(parse).collect::<Result<Vec<_>, _>>()?;
    if certificates.is_empty() { Err(PoolError::NoCertificates) } else { Ok(certificates) }
}

/// Go: `CertPool.AddCert` for each.
impl FromIterator<Certificate> for CertPool {
    fn from_iter<I: IntoIterator<Item = Certificate>>(certificates: I) -> Self {
        let mut pool = Self::default();
        let mut seen: HashSet<Box<[u8]>> = HashSet::new();
        for certificate in certificates {
            if seen.insert(certificate.der().into()) {
                let index = pool.certificates.len();
                pool.by_subject.entry(certificate.raw_subject().into()).or_default().push(index);
                pool.certificates.push(certificate.kept());
            }
        }
        pool
    }
}

/// Those first whose subject key identifier is the child's authority key identifier, then those where one of the two is missing,
/// then the others. Go: `CertPool.findPotentialParents`.
pub(super) fn in_order_of_plausibility<'a>(
    candidates: impl Iterator<Item = &'a Certificate>,
    child: &Certificate,
) -> Vec<&'a Certificate> {
    let wanted = child.authority_key_id();
    let mut candidates: Vec<_> = candidates.collect();
    candidates.sort_by_key(|candidate| {
        let own = candidate.subject_key_id();
        match own == wanted {
            true => 0,
            false if own.is_empty() || wanted.is_empty() => 1,
            false => 2,
        }
    });
    candidates
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::super::error::ParseError;
    use super::super::testing::{ca, draft, sequence, tlv};
    use super::*;

    fn pem(label: &str, headers: &str, der: &[u8]) -> String {
        format!("-----BEGIN {label}-----\n{headers}{}\n-----END {label}-----\n", STANDARD.encode(der))
    }

    fn load(text: &str) -> Result<Vec<String>, PoolError> {
        let pool = CertPool::from_pem(text.as_bytes())?;
        Ok(pool.certificates().iter().map(|certificate| certificate.common_name().to_owned()).collect())
    }

    /// Go: ParseCertsPEM, NewPoolFromBytes of k8s.io/client-go/util/cert.
    #[test]
    fn bundles_are_loaded_as_kube_apiserver_loads_them() {
        let (a, b) = (ca("a", "a", None).der(), ca("b", "b", None).der());
        let good = |label| pem(label, "", &a);
        let bad = pem("CERTIFICATE", "", &[0x30, 0]);
        let malformed = ParseError::Malformed("tbsCertificate");
        let names = |names: &[&str]| Ok(names.iter().map(|name| (*name).to_owned()).collect());
        let table = [
            (good("CERTIFICATE"), names(&["a"])),
            (
                ["# ours\n", &good("CERTIFICATE"), "\n\n# theirs\n", &pem("CERTIFICATE", "", &b)].concat(),
                names(&["a", "b"]),
            ),
            (
                [good("CERTIFICATE"), pem("CERTIFICATE", "", &b), good("CERTIFICATE")].concat(),
                names(&["a", "b"]),
            ),
            ([good("CERTIFICATE"), pem("PRIVATE KEY", "", &[1])].concat(), names(&["a"])),
            ([pem("CERTIFICATE", "K: v\n\n", &b), good("CERTIFICATE")].concat(), names(&["a"])),
            (
                [good("CERTIFICATE"), "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n".into()]
                    .concat(),
                names(&["a"]),
            ),
            (
                [good("CERTIFICATE"), bad.clone()].concat(),
                Err(PoolError::Certificate { number: 2, error: malformed }),
            ),
            (
                [bad, good("CERTIFICATE")].concat(),
                Err(PoolError::Certificate { number: 1, error: malformed }),
            ),
            (
                pem("CERTIFICATE", "", &[&*a, &*b].concat()),
                Err(PoolError::Certificate { number: 1, error: ParseError::TrailingData }),
            ),
            (good("TRUSTED CERTIFICATE"), Err(PoolError::NoCertificates)),
            (pem("CERTIFICATE", "K: v\n\n", &a), Err(PoolError::NoCertificates)),
            (String::new(), Err(PoolError::NoCertificates)),
            ("not PEM".into(), Err(PoolError::NoCertificates)),
        ];
        for (text, expected) in table {
            assert_eq!(load(&text), expected, "{text}");
        }
    }

    #[test]
    fn pools_are_sets() {
        let [a, b, c] = ["a", "b", "c"].map(|name| ca(name, name, None).build());
        let pool =
            |certificates: &[&Certificate]| certificates.iter().copied().cloned().collect::<CertPool>();
        assert_eq!(pool(&[&a, &b, &a]), pool(&[&b, &a]));
        assert_ne!(pool(&[&a]), pool(&[&a, &b]));
        assert_ne!(pool(&[&a, &c]), pool(&[&a, &b]));
        assert!(pool(&[&a, &b]).overlaps(&pool(&[&c, &b])));
        assert!(!pool(&[&a, &b]).overlaps(&pool(&[&c])));
        assert!(!pool(&[]).overlaps(&pool(&[&c])));
        assert!(pool(&[&a]).contains(&a) && !pool(&[&a]).contains(&b));
        // The same name is not the same certificate.
        let other = ca("a", "a", None).but(|draft| draft.serial = vec![2]).build();
        assert!(!pool(&[&a]).contains(&other) && !pool(&[&a]).overlaps(&pool(&[&other])));
    }

    /// Go: findPotentialParents of crypto/x509/cert_pool.go.
    #[test]
    fn likely_parents_come_first() {
        let parent = |serial: u8, id: &[u8]| {
            let draft = ca("p", "p", None).but(|draft| draft.serial = vec![serial]);
            if id.is_empty() { draft.build() } else { draft.with(14, false, &tlv(4, id)).build() }
        };
        let pool: CertPool =
            [parent(1, &[9]), parent(2, &[]), parent(3, &[7]), parent(4, &[7]), ca("q", "q", None).build()]
                .into_iter()
                .collect();
        let order = |child: &Certificate| -> Vec<Vec<u8>> {
            pool.potential_parents(child).iter().map(|parent| parent.serial().to_vec()).collect()
        };
        let with_id = draft("leaf", "p").with(35, false, &sequence(&[tlv(0x80, &[7])])).build();
        assert_eq!(order(&with_id), [[3], [4], [2], [1]]);
        assert_eq!(order(&draft("leaf", "p").build()), [[2], [1], [3], [4]]);
        assert_eq!(order(&draft("leaf", "r").build()), Vec::<Vec<u8>>::new());
    }
}
