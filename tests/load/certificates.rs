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

/// RSA-2048 throughout: a root, an intermediate, and leaves that differ in their serial numbers.
#[derive(Clone)]
pub(crate) struct Chains {
    /// The root, PEM.
    pub(crate) root: String,
    intermediate: String,
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
        let (root_key, intermediate_key) = (key(), key());
        let root = ca("root").self_signed(&root_key).unwrap();
        let above = Issuer::new(ca("root"), root_key);
        let params = ca("intermediate");
        let intermediate = params.signed_by(&intermediate_key, &above).unwrap();
        Self {
            root: root.pem(),
            intermediate: intermediate.pem().replace('\r', ""),
            issuer: Arc::new(Issuer::new(params, intermediate_key)),
            leaf: Arc::new(key()),
        }
    }

    /// A request with the leaf of this serial number, counted from 0, and the intermediate.
    pub(crate) fn request(&self, serial: usize) -> Request {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "bob");
        params.distinguished_name.push(DnType::OrganizationName, "dev");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.serial_number = Some(u64::try_from(serial + 1).unwrap().into());
        let leaf = params.signed_by(&*self.leaf, &*self.issuer).unwrap().pem().replace('\r', "");
        Request { certificates: vec![leaf, self.intermediate.clone()], ..request(&[]) }
    }
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
