//! A stored password: as it is, or hashed with bcrypt or argon2. Hashes are slow by design, so they are verified on other
//! threads than those that serve, a few at a time, with few waiting (threats S38: one lock around bcrypt is a denial of
//! service, and so is one thread a request).

use std::str::FromStr;
use std::sync::Arc;
use std::thread::available_parallelism;

use argon2::{Argon2, Params, PasswordHash, PasswordVerifier};
use tokio::sync::{Semaphore, TryAcquireError};
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use crate::decision::Reason;
use crate::secret::{Digest, Digester};

/// A password as the file has it.
pub(super) enum Password {
    /// In clear; kept as a keyed digest only.
    Plain(Digest),
    /// Hashed.
    Hashed(Arc<Hash>),
}

/// A slow password hash.
pub(super) enum Hash {
    /// `$2a$`, `$2b$` or `$2y$`.
    Bcrypt(String),
    /// A PHC string, `$argon2id$…`, `$argon2i$…` or `$argon2d$…`.
    Argon2(String),
}

impl Password {
    /// Reads the first column of a basic auth file. The error says what is wrong with it and how to mend it.
    pub(super) fn parse(text: &str, digester: &Digester) -> Result<Self, &'static str> {
        let hash = if text.is_empty() {
            return Err("empty password; remove the line or set one");
        } else if ["$2a$", "$2b$", "$2y$"].iter().any(|prefix| text.starts_with(prefix)) {
            let parts = bcrypt::HashParts::from_str(text)
                .map_err(|_| "not a valid bcrypt hash; make one with: htpasswd -nB USER")?;
            if parts.get_cost() > BCRYPT_MAX_COST {
                return Err("bcrypt cost above 16: one request would take seconds; hash with a lower cost");
            }
            Hash::Bcrypt(text.to_owned())
        } else if text.starts_with("$argon2") {
            let parsed = PasswordHash::new(text).ok().filter(|parsed| parsed.hash.is_some());
            let parsed = parsed.ok_or(
                "not a valid argon2 hash; it holds commas, so it must stand in double quotes in this file",
            )?;
            let params = Params::try_from(&parsed)
                .map_err(|_| "argon2 hash with parameters that argon2 does not allow")?;
            if params.m_cost() > ARGON2_MAX_MEMORY_KIB
                || params.t_cost() > ARGON2_MAX_PASSES
                || params.p_cost() > ARGON2_MAX_LANES
            {
                return Err("argon2 hash above m=262144, t=16, p=16: hash with lower parameters");
            }
            Hash::Argon2(text.to_owned())
        } else {
            return Ok(Self::Plain(digester.digest(text.as_bytes())));
        };
        Ok(Self::Hashed(Arc::new(hash)))
    }
}

impl Hash {
    fn matches(&self, password: &[u8]) -> bool {
        match self {
            // Not truncating: a password of more than 72 bytes is refused, where bcrypt would look at its beginning only.
            Self::Bcrypt(hash) => bcrypt::non_truncating_verify(password, hash).unwrap_or(false),
            Self::Argon2(hash) => PasswordHash::new(hash)
                .is_ok_and(|hash| Argon2::default().verify_password(password, &hash).is_ok()),
        }
    }
}

/// Verifies slow hashes within bounds.
#[derive(Debug)]
pub(super) struct Verifier {
    /// One for each verification that runs or waits.
    places: Semaphore,
    /// One for each that runs.
    workers: Arc<Semaphore>,
}

impl Default for Verifier {
    fn default() -> Self {
        // Half of the processors, so that the other half goes on serving.
        let workers = available_parallelism().map_or(1, |n| n.get().div_ceil(2));
        Self { places: Semaphore::new(workers + MAX_WAITING), workers: Arc::new(Semaphore::new(workers)) }
    }
}

impl Verifier {
    /// Whether `password` matches `hash`, or [`Reason::PasswordVerificationBusy`] at once when too many wait already. The
    /// caller's deadline bounds the wait; a caller that goes away leaves its verification running, which keeps its worker.
    pub(super) async fn verify(&self, hash: Arc<Hash>, password: &[u8]) -> Result<bool, Reason> {
        let busy = |_: TryAcquireError| Reason::PasswordVerificationBusy;
        let _place = self.places.try_acquire().map_err(busy)?;
        let worker = Arc::clone(&self.workers).acquire_owned().await.map_err(|_| Reason::Panicked)?;
        let password = Zeroizing::new(password.to_vec());
        let verified = spawn_blocking(move || {
            let _worker = worker;
            hash.matches(&password)
        });
        verified.await.map_err(|_| Reason::Panicked)
    }
}

/// Verifications that may wait for a worker: at 50 ms each and one worker, the last has waited for about 3 s, longer than
/// Envoy does.
const MAX_WAITING: usize = 64;
/// 2^16 rounds, about 4 s. OWASP recommends 10 or more; htpasswd's default is 5.
const BCRYPT_MAX_COST: u32 = 16;
/// 256 MiB. OWASP recommends 19 MiB, RFC 9106 64 MiB.
const ARGON2_MAX_MEMORY_KIB: u32 = 256 * 1024;
/// RFC 9106 recommends 1 or 3 passes.
const ARGON2_MAX_PASSES: u32 = 16;
/// RFC 9106 recommends 4 lanes.
const ARGON2_MAX_LANES: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    /// S38: the queue is bounded, and who finds it full is told at once.
    #[tokio::test]
    async fn a_full_queue_answers_busy() {
        let verifier = Verifier { places: Semaphore::new(0), workers: Arc::new(Semaphore::new(1)) };
        let hash = Arc::new(Hash::Bcrypt(String::new()));
        assert_eq!(verifier.verify(hash, b"x").await, Err(Reason::PasswordVerificationBusy));
    }

    #[test]
    fn bad_and_excessive_hashes_are_refused_when_read() {
        let digester = Digester::random();
        let problem = |text: &str| Password::parse(text, &digester).err().unwrap_or_default();
        assert!(problem("").starts_with("empty password"));
        assert!(problem("$2y$10$short").starts_with("not a valid bcrypt hash"));
        assert!(problem("$argon2id$v=19$m=65536").starts_with("not a valid argon2 hash"));
        let bcrypt = "$2y$31$abcdefghijklmnopqrstuuABCDEFGHIJKLMNOPQRSTUVWXYZabcde";
        assert!(problem(bcrypt).starts_with("bcrypt cost above 16"));
        let argon2 = "$argon2id$v=19$m=4194304,t=1,p=1$c29tZXNhbHRzb21l$WN0ZDFRbTYVMDgyM0J6dnNqXZ2Y0bnVJbmw";
        assert!(problem(argon2).starts_with("argon2 hash above"), "{}", problem(argon2));
    }
}
