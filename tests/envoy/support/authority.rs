//! CAs and the certificates that they give to clients, made anew for each test.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::Ed25519KeyPair;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, SanType, SignatureAlgorithm,
};
use time::{Duration, OffsetDateTime};

/// A CA.
pub(crate) struct Authority {
    pub(crate) name: String,
    /// Its own certificate (PEM).
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
    /// What its clients send with their certificate for others to find the root.
    intermediates: String,
}

/// A client's certificate and key.
#[derive(Clone)]
pub(crate) struct Certified {
    /// The certificate alone (PEM).
    pub(crate) leaf: String,
    /// The certificate and the intermediate ones.
    pub(crate) chain: String,
    pub(crate) key: String,
    /// Kubernetes' name for the certificate.
    pub(crate) credential_id: String,
    /// SHA-256 of the certificate, in hex.
    pub(crate) hash: String,
    pub(crate) not_after: OffsetDateTime,
}

impl Authority {
    /// One that signs itself.
    pub(crate) fn root(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = authority(name);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { name: name.to_owned(), pem, issuer: Issuer::new(params, key), intermediates: String::new() }
    }

    /// One that this one vouches for.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let params = authority(name);
        let pem = params.signed_by(&key, &self.issuer).unwrap().pem();
        let intermediates = format!("{pem}{}", self.intermediates);
        Self { name: name.to_owned(), pem, issuer: Issuer::new(params, key), intermediates }
    }

    /// A certificate for client authentication, valid for a day.
    pub(crate) fn certify(&self, name: &str, organizations: &[&str]) -> Certified {
        self.certify_with(&PKCS_ECDSA_P256_SHA256, name, organizations, |_| ())
    }

    /// A certificate for a server of this name, valid for a day.
    pub(crate) fn serve(&self, name: &str) -> Certified {
        self.certify_with(&PKCS_ECDSA_P256_SHA256, name, &[], |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            params.subject_alt_names = vec![SanType::DnsName(name.try_into().unwrap())];
        })
    }

    /// As [`Authority::certify`], with another kind of key or other contents.
    pub(crate) fn certify_with(
        &self,
        algorithm: &'static SignatureAlgorithm,
        name: &str,
        organizations: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> Certified {
        let key = key(algorithm);
        let mut params = CertificateParams::default();
        params.distinguished_name.remove(DnType::CommonName);
        // rcgen takes one attribute of a type: a second organization comes in under its OID.
        let types = [DnType::OrganizationName, DnType::CustomDnType(vec![2, 5, 4, 10])];
        assert!(organizations.len() <= types.len(), "more organizations than rcgen can be made to write");
        for (attribute, organization) in types.into_iter().zip(organizations) {
            params.distinguished_name.push(attribute, *organization);
        }
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        valid(&mut params, Duration::hours(-1), Duration::DAY);
        change(&mut params);

        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let hash = fingerprint(certificate.der());
        Certified {
            leaf: certificate.pem(),
            chain: format!("{}{}", certificate.pem(), self.intermediates),
            key: key.serialize_pem(),
            credential_id: format!("X509SHA256={hash}"),
            hash,
            not_after: params.not_after,
        }
    }
}

/// SHA-256 of a certificate, in hex.
pub(super) fn fingerprint(der: &[u8]) -> String {
    digest(&SHA256, der).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Sets the validity, relative to now.
pub(crate) fn valid(params: &mut CertificateParams, from: Duration, to: Duration) {
    let now = OffsetDateTime::now_utc().truncate_to_second();
    params.not_before = now + from;
    params.not_after = now + to;
}

fn key(algorithm: &'static SignatureAlgorithm) -> KeyPair {
    if algorithm != &PKCS_ED25519 {
        return KeyPair::generate_for(algorithm).unwrap();
    }
    // rcgen would write PKCS #8 version 2 (RFC 5958), which OpenSSL does not read.
    let key = Ed25519KeyPair::generate().unwrap().to_pkcs8v1().unwrap();
    KeyPair::try_from(key.as_ref()).unwrap()
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    valid(&mut params, Duration::hours(-1), Duration::DAY);
    params
}

impl Certified {
    /// `X-Forwarded-Client-Cert` as Envoy would write it for a client with this certificate.
    pub(crate) fn forwarded(&self) -> String {
        let [leaf, chain] = [&self.leaf, &self.chain].map(|pem| escaped(pem));
        format!(r#"X-Forwarded-Client-Cert: Hash={};Cert="{leaf}";Chain="{chain}""#, self.hash)
    }
}

fn escaped(pem: &str) -> String {
    let escape = |c: char| match c {
        'A'..='Z' | 'a'..='z' | '0'..='9' | '-' => c.to_string(),
        other => format!("%{:02X}", u32::from(other)),
    };
    pem.chars().map(escape).collect()
}
