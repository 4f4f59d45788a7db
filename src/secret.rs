//! Secrets are compared and looked up by keyed digest, so that no timing depends on them.

use std::fmt;
use std::hash::{Hash, Hasher};

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
