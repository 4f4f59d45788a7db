//! Chains of certificates, of which no two are alike.

use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey,
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_RSA_SHA256,
};

use crate::cases::{microseconds, request};
use crate::envoy::Request;

/// RSA-2048 throughout: a root, intermediates that differ in their serial numbers, and leaves that do.
#[derive(Clone)]
pub(crate) struct Chains {
    /// The root, PEM.
    pub(crate) root: String,
    root_issuer: Arc<Issuer<'static, KeyPair>>,
    intermediate: CertificateParams,
    issuer: Arc<Issuer<'static, KeyPair>>,
    leaf: Arc<KeyPair>,
}

impl Chains {
    pub(crate) fn new() -> Self {
        let key = || KeyPair::generate_for(&PKCS_RSA_SHA256).unwrap();
        let ca = |name: &str| {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, name);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
            params
        };
        let root_key = key();
        Self {
            root: ca("root").self_signed(&root_key).unwrap().pem(),
            root_issuer: Arc::new(Issuer::new(ca("root"), root_key)),
            intermediate: ca("intermediate"),
            issuer: Arc::new(Issuer::new(ca("intermediate"), key())),
            leaf: Arc::new(key()),
        }
    }

    /// A request with the leaf of this serial number, counted from 0, and the intermediate that all of these have.
    pub(crate) fn request(&self, serial: usize) -> Request {
        self.chain(serial, 0)
    }

    /// A request with the leaf and the intermediate of this serial number.
    pub(crate) fn request_of_its_own(&self, serial: usize) -> Request {
        self.chain(serial, serial)
    }

    fn chain(&self, leaf: usize, intermediate: usize) -> Request {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "bob");
        params.distinguished_name.push(DnType::OrganizationName, "dev");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let certificates = vec![
            certificate(params, leaf, &self.leaf, &self.issuer),
            certificate(self.intermediate.clone(), intermediate, self.issuer.key(), &self.root_issuer),
        ];
        Request { certificates, ..request(&[]) }
    }
}

/// PEM, with unix line ends.
fn certificate(
    mut params: CertificateParams,
    serial: usize,
    key: &KeyPair,
    issuer: &Issuer<'_, KeyPair>,
) -> String {
    params.serial_number = Some(u64::try_from(serial + 1).unwrap().into());
    params.signed_by(key, issuer).unwrap().pem().replace('\r', "")
}

/// One verification of an RSA-2048 signature by aws-lc-rs, in µs.
pub(crate) fn rsa_verification() -> f64 {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let message = [7; 700];
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), &message, &mut signature).unwrap();
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref());
    microseconds(|| public.verify(&message, &signature).unwrap())
}
