//! Which keys there are.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::discovery::Origin;
use super::freshness::random;
use super::{KeySet, RemoteKeys, Source, SourceError};
use crate::https::{Client, Proxies};

/// The keys that are in use, by where they come from. It outlives configurations: one that is loaded anew gets the keys that are
/// there already, and their age.
#[derive(Debug)]
pub struct Registry<K> {
    proxies: Proxies,
    keys: Mutex<HashMap<Source, Weak<RemoteKeys<K>>>>,
}

impl<K: KeySet> Registry<K> {
    /// A registry for keys that are fetched by way of `proxies`.
    pub fn new(proxies: Proxies) -> Self {
        Self { proxies, keys: Mutex::default() }
    }

    /// The keys from `source`: those that somebody uses, or new ones, for which nothing is fetched before [`RemoteKeys::start`].
    pub fn keys(&self, source: &Source) -> Result<Arc<RemoteKeys<K>>, SourceError> {
        let mut known = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(keys) = known.get(source).and_then(Weak::upgrade) {
            return Ok(keys);
        }
        let origin = Origin::of(source)?;
        let client =
            Client::new(source.certificate_authority.as_deref().map(str::as_bytes), self.proxies.clone())?;
        let keys = Arc::new(RemoteKeys::new(source.clone(), origin, client, random));
        known.retain(|_, keys| keys.strong_count() > 0);
        known.insert(source.clone(), Arc::downgrade(&keys));
        Ok(keys)
    }
}
