//! Secrets are compared and looked up by keyed digest, so that no timing depends on them.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SystemRandom, generate};

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
        let key: [u8; 32] = generate(&SystemRandom::new()).expect("the system has randomness").expose();
        Self(hmac::Key::new(hmac::HMAC_SHA256, &key))
    }

    /// The digest of `secret`.
    pub fn digest(&self, secret: &[u8]) -> Digest {
        let mut digest = [0; 32];
        digest.copy_from_slice(hmac::sign(&self.0, secret).as_ref());
        Digest(digest)
    }
}

impl Digest {
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
