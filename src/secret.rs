//! Secrets are compared and looked up by keyed digest, so that no timing depends on them; and a copy of one is wiped.

use std::fmt;
use std::hash::{Hash, Hasher};

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SystemRandom, generate};
use zeroize::optimization_barrier;

/// HMAC-SHA256 under a key that was drawn when the process (or the configuration) was made and is written nowhere.
pub struct Digester(hmac::Key);

/// A keyed digest of a secret. Useless without the key.
#[derive(Clone, Copy)]
pub struct Digest([u8; 32]);

impl Digester {
    /// A digester with a key of its own.
    ///
    /// # Panics
    /// If the system has no randomness: nothing could be kept secret then.
    pub fn random() -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &random::<32>()))
    }

    /// The digest of `secret`.
    pub fn digest(&self, secret: &[u8]) -> Digest {
        Digest::of(hmac::sign(&self.0, secret))
    }

    /// The digest of several parts, each with its length, so that no two lists have the same.
    pub fn digest_of(&self, parts: &[&[u8]]) -> Digest {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&part.len().to_be_bytes());
            context.update(part);
        }
        Digest::of(context.sign())
    }
}

impl Digest {
    fn of(tag: hmac::Tag) -> Self {
        let mut digest = [0; 32];
        digest.copy_from_slice(tag.as_ref());
        Self(digest)
    }

    /// A hash for tables: the digest is as good as random, so any part of it will do.
    pub fn bucket(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_ne_bytes([a, b, c, d, e, f, g, h])
    }
}

/// In constant time.
impl PartialEq for Digest {
    fn eq(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

impl Eq for Digest {}

impl Hash for Digest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.bucket());
    }
}

/// Fingerprints what is no secret and may be long, such as a chain of certificates, in a third of the time of a [`Digester`].
///
/// GMAC (NIST SP 800-38D) with one nonce, which makes it a universal hash under a key that nobody knows: two texts, whoever chose them, have
/// one fingerprint with a probability of less than 2⁻¹⁰⁰, as long as nobody sees a fingerprint. (Who saw some could work out the key.)
pub struct Fingerprinter(LessSafeKey);

/// A keyed fingerprint. Not to be shown to anybody.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 16]);

impl Fingerprinter {
    /// A fingerprinter with a key of its own.
    ///
    /// # Panics
    /// If the system has no randomness.
    pub fn random() -> Self {
        let key = UnboundKey::new(&AES_128_GCM, &random::<16>()).expect("16 bytes are a key of AES-128");
        Self(LessSafeKey::new(key))
    }

    /// The fingerprint of `text`, or nothing if it is too large for GMAC: 2⁶¹ bytes.
    pub fn fingerprint(&self, text: &[u8]) -> Option<Fingerprint> {
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let tag = self.0.seal_in_place_separate_tag(nonce, Aad::from(text), &mut []).ok()?;
        tag.as_ref().try_into().ok().map(Fingerprint)
    }
}

fn random<const N: usize>() -> [u8; N] {
    generate(&SystemRandom::new()).expect("the system has randomness").expose()
}

/// A copy of a secret, wiped when it goes. What it is a copy of may live on where nobody wipes it: in the buffer that it came in.
pub struct SecretBytes(Box<[u8]>);

impl SecretBytes {
    /// Copies `secret`.
    pub fn copy_of(secret: &[u8]) -> Self {
        Self(secret.into())
    }

    /// The secret.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for SecretBytes {
    /// At once: `Zeroize` writes byte by byte, which takes longer than all else that is done to keep the copy.
    fn drop(&mut self) {
        self.0.fill(0);
        optimization_barrier(&self.0);
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes(..)")
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(..)")
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(..)")
    }
}

impl fmt::Debug for Digester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digester(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_of_one_text_and_one_key() {
        let (one, other) = (Fingerprinter::random(), Fingerprinter::random());
        let text = [7; 5000];
        assert_eq!(one.fingerprint(&text), one.fingerprint(&text));
        assert_ne!(one.fingerprint(&text), other.fingerprint(&text));
        assert_ne!(one.fingerprint(&text), one.fingerprint(&text[1..]));
        assert_ne!(one.fingerprint(b""), one.fingerprint(&[0]));
        assert!(one.fingerprint(b"").is_some());
    }
}
