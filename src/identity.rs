//! Who is calling: the same four facts as Kubernetes' `user.Info` (k8s.io/apiserver/pkg/authentication/user).

mod packed;

use std::any::Any;
use std::fmt;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

pub use packed::{Extra, Groups, Texts};

/// The user of a request without credentials (`user.Anonymous`).
pub const ANONYMOUS: &str = "system:anonymous";
/// The group of a request without credentials (`user.AllUnauthenticated`).
pub const ALL_UNAUTHENTICATED: &str = "system:unauthenticated";
/// The group of everybody whom an authenticator vouched for (`user.AllAuthenticated`).
pub const ALL_AUTHENTICATED: &str = "system:authenticated";

/// The extra fact that tells one credential of a user from another (`user.CredentialIDKey`).
pub const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// An identity as an authenticator gave it (`user.DefaultInfo`): groups in order, neither sorted nor deduplicated, and
/// without `system:authenticated`, which [`Identity::groups`] adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The user's name. May be empty where Kubernetes allows it.
    pub username: Box<str>,
    /// The user's uid, empty if there is none.
    pub uid: Box<str>,
    /// The groups that the authenticator found.
    pub own_groups: Groups,
    /// Further facts, such as `authentication.kubernetes.io/credential-id`.
    pub extra: Extra,
    /// What somebody further along makes of these, once.
    pub memo: Memo,
}

/// A place to keep what is made of an identity and is the same for all its requests. It is no part of the identity: any two are
/// equal, and a copy begins empty.
#[derive(Default)]
pub struct Memo {
    kept: OnceLock<Box<dyn Any + Send + Sync>>,
    has_been_used: AtomicBool,
}

impl Memo {
    /// What is kept here, if it is of this type.
    pub fn get<T: Any>(&self) -> Option<&T> {
        self.kept.get()?.downcast_ref()
    }

    /// Whether somebody has asked before: then what is made of the identity will be wanted again.
    pub fn is_used_again(&self) -> bool {
        self.has_been_used.load(Ordering::Relaxed) || self.has_been_used.swap(true, Ordering::Relaxed)
    }

    /// Keeps a value, unless there is one already. Gives back what is kept, if it is of this type.
    pub fn keep<T: Any + Send + Sync>(&self, value: T) -> Option<&T> {
        self.kept.get_or_init(|| Box::new(value)).downcast_ref()
    }
}

impl Clone for Memo {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Memo {
    fn eq(&self, _other: &Self) -> bool {
        true
    }
}

impl Eq for Memo {}

impl fmt::Debug for Memo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Memo(..)")
    }
}

impl Identity {
    /// `system:anonymous` in `system:unauthenticated`.
    pub fn anonymous() -> Self {
        Self {
            username: ANONYMOUS.into(),
            uid: "".into(),
            own_groups: Groups::new([ALL_UNAUTHENTICATED]),
            extra: Extra::default(),
            memo: Memo::default(),
        }
    }

    /// An identity of these four facts.
    pub fn new(
        username: impl Into<Box<str>>,
        uid: impl Into<Box<str>>,
        own_groups: Groups,
        extra: Extra,
    ) -> Self {
        Self { username: username.into(), uid: uid.into(), own_groups, extra, memo: Memo::default() }
    }

    /// The groups that a request of this user is in: the authenticator's, then `system:authenticated`, unless the user is
    /// anonymous or the list already holds `system:authenticated` or `system:unauthenticated`.
    ///
    /// Go: `group.AuthenticatedGroupAdder` (authenticated_group_adder.go). It asks for the name only, so it may be applied
    /// to the anonymous authenticator's answer as well, which Kubernetes leaves outside.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        let settled = &*self.username == ANONYMOUS
            || self.own_groups.iter().any(|group| group == ALL_AUTHENTICATED || group == ALL_UNAUTHENTICATED);
        self.own_groups.iter().chain((!settled).then_some(ALL_AUTHENTICATED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(username: &str, own: &[&str]) -> Vec<String> {
        let identity =
            Identity { username: username.into(), own_groups: Groups::new(own), ..Identity::anonymous() };
        identity.groups().map(String::from).collect()
    }

    /// Go: TestAuthenticatedGroupAdder, all of its rows.
    #[test]
    fn the_authenticated_group_is_added_last_and_once() {
        assert_eq!(groups("user", &["original"]), ["original", "system:authenticated"]);
        assert_eq!(groups("user", &[]), ["system:authenticated"]);
        assert_eq!(groups("user", &[ALL_AUTHENTICATED, "late"]), ["system:authenticated", "late"]);
        assert_eq!(groups("user", &[ALL_UNAUTHENTICATED]), ["system:unauthenticated"]);
        assert_eq!(groups(ANONYMOUS, &["original"]), ["original"]);
        assert_eq!(groups(ANONYMOUS, &[]), [""; 0]);
    }
}
