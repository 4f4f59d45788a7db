//! Public keys of a PEM text, as kube-apiserver reads those of service accounts.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING,
    EcdsaKeyPair, KeyPair, RsaKeyPair,
};

use super::certificate::Certificate;
use super::der::{INTEGER, OCTET_STRING, Reader, SEQUENCE, context_constructed};
use super::key::{Curve, PublicKey, named_curve};
use super::pem::Blocks;

/// The RSA and ECDSA keys of a PEM text, in order; none if there is none. A block may hold a SubjectPublicKeyInfo, a certificate, or
/// a private key in PKCS #1, PKCS #8 (RSA only) or SEC 1, whatever its label says. All other blocks are overlooked. Go:
/// `ParsePublicKeysPEM` of k8s.io/client-go/util/keyutil/key.go.
///
/// Stricter than Go where aws-lc-rs is: private RSA keys of less than 2048 or more than 8192 bits, or of more than two primes,
/// are overlooked, and so is every key on P-224.
pub fn public_keys_from_pem(text: &[u8]) -> Vec<PublicKey> {
    Blocks::of(text).filter_map(|block| public_key(&block.content)).collect()
}

fn public_key(der: &[u8]) -> Option<PublicKey> {
    rsa_private(der).or_else(|| pkix_or_certificate(der)).or_else(|| ecdsa_private(der))
}

/// Go: `parseRSAPrivateKey`.
fn rsa_private(der: &[u8]) -> Option<PublicKey> {
    let pair = RsaKeyPair::from_der(der).or_else(|_| RsaKeyPair::from_pkcs8(der)).ok()?;
    // RSAPublicKey (RFC 8017, appendix A.1.1).
    let mut key = Reader::new(pair.public_key().as_ref()).enter(SEQUENCE)?;
    Some(PublicKey::rsa(key.positive()?, key.positive()?))
}

/// Go: `parseRSAPublicKey` and `parseECPublicKey`.
fn pkix_or_certificate(der: &[u8]) -> Option<PublicKey> {
    let key = pkix(der).or_else(|| Certificate::parse(der).ok().map(|certificate| certificate.public_key))?;
    matches!(key, PublicKey::Rsa { .. } | PublicKey::Ecdsa(..)).then_some(key)
}

/// Go: `x509.ParsePKIXPublicKey`.
fn pkix(der: &[u8]) -> Option<PublicKey> {
    let mut reader = Reader::new(der);
    let content = reader.read(SEQUENCE)?;
    PublicKey::parse(content).ok().filter(|_| reader.is_empty())
}

/// ECPrivateKey (RFC 5915, section 3) with a named curve. Go: `x509.ParseECPrivateKey`.
fn ecdsa_private(der: &[u8]) -> Option<PublicKey> {
    let mut key = Reader::new(der).enter(SEQUENCE)?;
    (key.int64(INTEGER)? == 1).then_some(())?;
    key.read(OCTET_STRING)?;
    let curve = named_curve(key.enter(context_constructed(0))?.oid()?).ok()?;
    let algorithm = match curve {
        Curve::P256 => &ECDSA_P256_SHA256_FIXED_SIGNING,
        Curve::P384 => &ECDSA_P384_SHA384_FIXED_SIGNING,
        Curve::P521 => &ECDSA_P521_SHA512_FIXED_SIGNING,
    };
    let pair = EcdsaKeyPair::from_private_key_der(algorithm, der).ok()?;
    PublicKey::ecdsa(curve, pair.public_key().as_ref())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[expect(clippy::disallowed_methods, reason = "a test reads its vectors")]
    fn world(path: &str) -> Vec<u8> {
        std::fs::read(format!("{}/tests/conformance/world/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    fn kinds(text: &[u8]) -> Vec<String> {
        let kind = |key| match key {
            PublicKey::Rsa { modulus, .. } => format!("RSA {}", modulus.len() * 8),
            PublicKey::Ecdsa(curve, _) => format!("{curve:?}"),
            other => format!("{other:?}"),
        };
        public_keys_from_pem(text).into_iter().map(kind).collect()
    }

    /// Go: TestReadPublicKeys of k8s.io/client-go/util/keyutil/key_test.go, with the key files that kube-apiserver was given.
    #[test]
    fn every_shape_of_a_key_file_is_read() {
        let table: [(&str, &[&str]); 10] = [
            ("sa/rsa1.pub", &["RSA 2048"]),
            ("sa/rsa2-and-ec256.pub", &["RSA 2048", "P256"]),
            ("sa/rsa3-private.pem", &["RSA 2048"]),
            ("sa/ec384.pub", &["P384"]),
            ("sa/ec521-cert.pem", &["P521"]),
            // PKCS #8, of which keyutil reads RSA keys only.
            ("sa/keys/rsa1.key", &["RSA 2048"]),
            ("sa/keys/ec256.key", &[]),
            ("sa/keys/ed25519.key", &[]),
            ("sa/README.txt", &[]),
            ("certs/keys/leaf-rsa4096.key", &["RSA 4096"]),
        ];
        for (path, expected) in table {
            assert_eq!(kinds(&world(path)), expected, "{path}");
        }
        assert_eq!(
            public_keys_from_pem(&world("sa/keys/rsa1.key")),
            public_keys_from_pem(&world("sa/rsa1.pub"))
        );
    }

    /// The form that `openssl ecparam -genkey` writes.
    #[test]
    fn a_private_ecdsa_key_in_sec_1_names_its_curve() {
        let private = "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n\
            -----BEGIN EC PRIVATE KEY-----\n\
            MHcCAQEEIAApG6NVYKCXjghj2z11WrqPMkz043uaPgP2ZKIgjHWVoAoGCCqGSM49\n\
            AwEHoUQDQgAESxEPcm/v8OcvW427ZGLkyhgXD6Uhib+Ht9X2sRgKrCy5+c3+vhd2\n\
            5OydY9sIQkq6FARkaIWUWRv5tkv2chMfFQ==\n-----END EC PRIVATE KEY-----\n";
        let public = "-----BEGIN PUBLIC KEY-----\n\
            MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAESxEPcm/v8OcvW427ZGLkyhgXD6Uh\n\
            ib+Ht9X2sRgKrCy5+c3+vhd25OydY9sIQkq6FARkaIWUWRv5tkv2chMfFQ==\n-----END PUBLIC KEY-----\n";
        assert_eq!(kinds(private.as_bytes()), ["P256"]);
        assert_eq!(public_keys_from_pem(private.as_bytes()), public_keys_from_pem(public.as_bytes()));
        // The same scalar with another point.
        assert_eq!(kinds(private.replace("ESxEP", "ESxEQ").as_bytes()), Vec::<String>::new());
    }

    #[test]
    fn a_key_is_written_as_it_was_read() {
        for path in ["sa/rsa1.pub", "sa/rsa2-and-ec256.pub", "sa/ec384.pub"] {
            let text = world(path);
            let written: Vec<_> = public_keys_from_pem(&text).iter().map(PublicKey::to_pkix).collect();
            let read: Vec<_> = Blocks::of(&text).map(|block| Some(block.content)).collect();
            assert_eq!(written, read, "{path}");
        }
        assert_eq!(PublicKey::Ed25519([7; 32]).to_pkix(), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _any = (public_keys_from_pem(&bytes), public_key(&bytes));
        }
    }
}
