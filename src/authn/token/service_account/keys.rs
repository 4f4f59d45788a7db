//! The keys that may have signed a token.

use std::collections::HashMap;
use std::fmt;

use thiserror::Error;

use crate::jose::{VerificationKey, service_account_key_id};
use crate::pki::public_keys_from_pem;

/// How many keys there may be. A token without `kid` is tried with each; a cluster has one, or two while it changes them.
pub const MAX_KEYS: usize = 100;

/// Public keys by the name that kube-apiserver gives them, which is all that a token can choose. Go: `staticPublicKeysGetter` of
/// jwt.go.
#[derive(Default)]
pub struct PublicKeys {
    all: Vec<VerificationKey>,
    by_id: HashMap<String, usize>,
}

/// Why a file's keys are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeyError {
    /// There is none.
    #[error("data does not contain any valid RSA or ECDSA public keys")]
    None,
    /// Together with those of other files they are more than [`MAX_KEYS`].
    #[error("more than {MAX_KEYS} keys")]
    TooMany,
}

impl PublicKeys {
    /// Adds the keys of a file: PEM with any number of public keys, private keys and certificates. A key that is there already is
    /// not added again. Go: `PublicKeysFromFile` of k8s.io/client-go/util/keyutil/key.go and `StaticPublicKeysGetter`.
    pub fn add(&mut self, pem: &[u8]) -> Result<(), KeyError> {
        let keys = public_keys_from_pem(pem);
        if keys.is_empty() {
            return Err(KeyError::None);
        }
        for key in keys {
            let Some(id) = service_account_key_id(&key).filter(|id| !self.by_id.contains_key(id)) else {
                continue;
            };
            if self.all.len() == MAX_KEYS {
                return Err(KeyError::TooMany);
            }
            self.by_id.insert(id, self.all.len());
            self.all.push(key.into());
        }
        Ok(())
    }

    /// The keys that may have signed a token with this `kid`: the one of this name, or, if it is empty, all. Go: `GetPublicKeys`.
    pub(super) fn candidates(&self, key_id: &str) -> &[VerificationKey] {
        if key_id.is_empty() {
            return &self.all;
        }
        self.by_id.get(key_id).and_then(|at| self.all.get(*at..=*at)).unwrap_or_default()
    }

    /// The name of one of these keys.
    pub(super) fn id_of(&self, key: &VerificationKey) -> &str {
        let is_it = |at: &usize| self.all.get(*at).is_some_and(|own| std::ptr::eq(own, key));
        self.by_id.iter().find(|(_, at)| is_it(at)).map_or("", |(id, _)| id)
    }
}

impl fmt::Debug for PublicKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKeys({})", self.all.len())
    }
}
