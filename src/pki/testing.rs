//! Certificates made to measure for tests: every field can be wrong.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

use super::certificate::Certificate;
use super::der::{
    BOOLEAN, INTEGER, OBJECT_IDENTIFIER, OCTET_STRING, SEQUENCE, SET, UTC_TIME, context_constructed,
};

/// A value with its header.
pub(super) fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let header = match u8::try_from(length) {
        Ok(length) if length < 0x80 => vec![tag, length],
        Ok(length) => vec![tag, 0x81, length],
        Err(_) => [&[tag, 0x82], &u16::try_from(length).unwrap().to_be_bytes()[..]].concat(),
    };
    [&header, content].concat()
}

/// A SEQUENCE.
pub(super) fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(SEQUENCE, &parts.concat())
}

/// A name of one CN.
pub(super) fn name(common_name: &str) -> Vec<u8> {
    let attribute = sequence(&[tlv(OBJECT_IDENTIFIER, &[0x55, 4, 3]), tlv(0x0c, common_name.as_bytes())]);
    sequence(&[tlv(SET, &attribute)])
}

/// A certificate that is being made.
#[derive(Clone)]
pub(super) struct Draft {
    /// Nothing stands for version 1.
    pub(super) version: Option<u8>,
    /// The INTEGER's content.
    pub(super) serial: Vec<u8>,
    /// The whole Name.
    pub(super) issuer: Vec<u8>,
    /// UTCTime or GeneralizedTime, both.
    pub(super) validity: [(u8, &'static str); 2],
    /// The whole Name.
    pub(super) subject: Vec<u8>,
    /// The whole SubjectPublicKeyInfo.
    pub(super) key: Vec<u8>,
    /// Object identifier, criticality, value.
    pub(super) extensions: Vec<(Vec<u8>, bool, Vec<u8>)>,
    /// The content of both AlgorithmIdentifiers.
    pub(super) algorithm: Vec<u8>,
    /// Whose key signs it.
    pub(super) signer: u8,
}

const ED25519: [u8; 5] = [6, 3, 0x2b, 0x65, 0x70];

fn key_pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

/// The SubjectPublicKeyInfo of the key with this number.
pub(super) fn key(seed: u8) -> Vec<u8> {
    let bits = [&[0], key_pair(seed).public_key().as_ref()].concat();
    sequence(&[tlv(SEQUENCE, &ED25519), tlv(3, &bits)])
}

/// A certificate of version 3 without extensions, valid from 2020 to 2089. The first letter of a name is the number of its key.
pub(super) fn draft(subject: &str, issuer: &str) -> Draft {
    let seed = |name: &str| name.bytes().next().unwrap_or(0);
    Draft {
        version: Some(2),
        serial: vec![1],
        issuer: name(issuer),
        validity: [(0x17, "200101000000Z"), (0x18, "20890101000000Z")],
        subject: name(subject),
        key: key(seed(subject)),
        extensions: Vec::new(),
        algorithm: ED25519.to_vec(),
        signer: seed(issuer),
    }
}

/// A CA's certificate, as [`draft`], with this path length.
pub(super) fn ca(subject: &str, issuer: &str, path_length: Option<u8>) -> Draft {
    let path_length = path_length.map(|most| tlv(INTEGER, &[most])).unwrap_or_default();
    draft(subject, issuer).with(19, true, &sequence(&[tlv(BOOLEAN, &[0xff]), path_length]))
}

/// A revocation list of version 2 of July 2023 by the CA of this name, with these serial numbers, a nextUpdate and extensions
/// 2.5.29.n.
pub(super) fn list(
    issuer: &str,
    serials: &[u8],
    next_update: Option<&str>,
    extensions: &[(u8, bool, Vec<u8>)],
) -> Vec<u8> {
    let time = |time: &str| tlv(UTC_TIME, time.as_bytes());
    let revoked: Vec<_> =
        serials.iter().map(|serial| sequence(&[tlv(INTEGER, &[*serial]), time("230701000000Z")])).collect();
    let extensions: Vec<_> = extensions
        .iter()
        .map(|(number, critical, value)| extension(&[0x55, 0x1d, *number], *critical, value))
        .collect();
    let tbs = sequence(&[
        tlv(INTEGER, &[1]),
        tlv(SEQUENCE, &ED25519),
        name(issuer),
        time("230702000000Z"),
        next_update.map(time).unwrap_or_default(),
        if revoked.is_empty() { Vec::new() } else { sequence(&revoked) },
        if extensions.is_empty() { Vec::new() } else { tlv(context_constructed(0), &sequence(&extensions)) },
    ]);
    let signer = issuer.bytes().next().unwrap_or(0);
    let signature = [&[0], key_pair(signer).sign(&tbs).as_ref()].concat();
    sequence(&[tbs, tlv(SEQUENCE, &ED25519), tlv(3, &signature)])
}

fn extension(oid: &[u8], critical: bool, value: &[u8]) -> Vec<u8> {
    let critical = if critical { tlv(BOOLEAN, &[0xff]) } else { Vec::new() };
    sequence(&[tlv(OBJECT_IDENTIFIER, oid), critical, tlv(OCTET_STRING, value)])
}

impl Draft {
    /// With an extension 2.5.29.`number`.
    pub(super) fn with(mut self, number: u8, critical: bool, value: &[u8]) -> Self {
        self.extensions.push((vec![0x55, 0x1d, number], critical, value.to_vec()));
        self
    }

    /// With a change.
    pub(super) fn but(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// The certificate's bytes, signed.
    pub(super) fn der(&self) -> Vec<u8> {
        let version =
            self.version.map(|v| tlv(context_constructed(0), &tlv(INTEGER, &[v]))).unwrap_or_default();
        let extensions: Vec<_> =
            self.extensions.iter().map(|(oid, critical, value)| extension(oid, *critical, value)).collect();
        let extensions = match extensions.is_empty() {
            true => Vec::new(),
            false => tlv(context_constructed(3), &sequence(&extensions)),
        };
        let tbs = sequence(&[
            version,
            tlv(INTEGER, &self.serial),
            tlv(SEQUENCE, &self.algorithm),
            self.issuer.clone(),
            sequence(&self.validity.map(|(tag, time)| tlv(tag, time.as_bytes()))),
            self.subject.clone(),
            self.key.clone(),
            extensions,
        ]);
        let signature = [&[0], key_pair(self.signer).sign(&tbs).as_ref()].concat();
        sequence(&[tbs, tlv(SEQUENCE, &self.algorithm), tlv(3, &signature)])
    }

    /// The certificate.
    pub(super) fn build(&self) -> Certificate {
        Certificate::parse(&self.der()).unwrap_or_else(|error| panic!("{error}"))
    }
}
