//! Who presents nothing is `system:anonymous`, everywhere or on some paths
//! (Go: k8s.io/apiserver/pkg/authentication/request/anonymous).

use std::collections::HashSet;
use std::sync::Arc;

use crate::decision::{Authenticated, Authenticator};
use crate::identity::Identity;
use crate::request::Request;

/// The last resort. Kept outside the union, so that only silence becomes anonymous, never a bad credential.
#[derive(Debug)]
pub struct Anonymous {
    identity: Arc<Identity>,
    /// No paths: everywhere.
    paths: HashSet<Box<str>>,
}

impl Anonymous {
    /// Anonymous on `paths` (`anonymous.conditions[].path`), or everywhere if there are none.
    pub fn new(paths: impl IntoIterator<Item = Box<str>>) -> Self {
        Self { identity: Arc::new(Identity::anonymous()), paths: paths.into_iter().collect() }
    }

    /// The same for another chain, with an identity of its own, so that what is kept with that is not shared.
    pub fn another(&self) -> Self {
        Self::new(self.paths.iter().cloned())
    }

    /// The anonymous user, if the request's path is among those allowed: compared exactly, percent-decoded and without the
    /// query, as Go's `req.URL.Path` is. A path that servers may read in two ways matches nothing (see
    /// [`crate::request::Path::unambiguous`]).
    pub fn authenticate(&self, request: &Request<'_>) -> Option<Authenticated> {
        let allowed =
            self.paths.is_empty() || request.path.unambiguous().is_some_and(|p| self.paths.contains(&*p));
        allowed.then(|| Authenticated::new(Arc::clone(&self.identity), Authenticator::Anonymous))
    }
}
