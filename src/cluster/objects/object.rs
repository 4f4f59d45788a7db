//! What matters of a live object to a token that names it.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;

use crate::secret::{Digest, Digester};

/// Which object it is, and whether it is being deleted. 32 bytes, of which there may be as many as a cluster has Pods.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Object {
    uid: Uid,
    /// In seconds since 1970; [`NOT_DELETED`] for none.
    deletion_timestamp: i64,
}

/// No time that Kubernetes can write down: its years have four digits.
const NOT_DELETED: i64 = i64::MAX;

impl Object {
    /// The object with this `metadata.uid`, and `metadata.deletionTimestamp` in seconds since 1970.
    pub fn new(uid: &str, deletion_timestamp: Option<i64>) -> Self {
        Self { uid: Uid::new(uid), deletion_timestamp: deletion_timestamp.unwrap_or(NOT_DELETED) }
    }

    /// Whether it is the object of this uid, and not another that has taken its name.
    pub fn has_uid(&self, uid: &str) -> bool {
        self.uid == Uid::new(uid)
    }

    /// Whether the two are states of one object.
    pub fn is_same(&self, other: &Self) -> bool {
        self.uid == other.uid
    }

    /// `metadata.deletionTimestamp`, in seconds since 1970: there, if the deletion has been asked for.
    pub fn deletion_timestamp(&self) -> Option<i64> {
        (self.deletion_timestamp != NOT_DELETED).then_some(self.deletion_timestamp)
    }
}

/// A uid, which may be any string but is a UUID wherever kube-apiserver has made it.
#[derive(Clone, PartialEq, Eq)]
enum Uid {
    /// One as it is always written: lower case, with four dashes. No other string is represented so.
    Uuid([u8; 16]),
    Other(Box<str>),
}

/// The places of the dashes in a UUID (RFC 9562, section 4).
const DASHES: [usize; 4] = [8, 13, 18, 23];

impl Uid {
    fn new(text: &str) -> Self {
        Self::uuid(text.as_bytes()).unwrap_or_else(|| Self::Other(text.into()))
    }

    fn uuid(text: &[u8]) -> Option<Self> {
        if text.len() != 36 || DASHES.iter().any(|at| text.get(*at) != Some(&b'-')) {
            return None;
        }
        let mut uuid = [0; 16];
        let digits = text.iter().enumerate().filter(|(at, _)| !DASHES.contains(at));
        for (at, (_, digit)) in digits.enumerate() {
            let value = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return None,
            };
            let byte = uuid.get_mut(at / 2)?;
            *byte = (*byte << 4) | value;
        }
        Some(Self::Uuid(uuid))
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uuid(uuid) => write!(f, "Uuid({:032x})", u128::from_be_bytes(*uuid)),
            Self::Other(text) => write!(f, "{text:?}"),
        }
    }
}

/// A Secret that may hold a service account token. The token is kept as a keyed digest.
#[derive(Clone, Debug)]
pub struct TokenSecret {
    /// The Secret itself.
    pub object: Object,
    /// Whether it has the label `kubernetes.io/legacy-token-invalid-since`, and that says something.
    pub invalid: bool,
    token: Option<(Digest, Arc<Digester>)>,
}

impl TokenSecret {
    /// A Secret with these bytes under the key `token`, if it has that key.
    pub fn new(object: Object, invalid: bool, token: Option<&[u8]>, digester: &Arc<Digester>) -> Self {
        let token = token.map(|token| (digester.digest(token), Arc::clone(digester)));
        Self { object, invalid, token }
    }

    /// Whether it holds this very token. In constant time.
    pub fn holds(&self, token: &[u8]) -> bool {
        self.token.as_ref().is_some_and(|(digest, digester)| digester.digest(token) == *digest)
    }
}

/// Why there is no object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LookupError {
    /// There is none of this name.
    #[error("not found")]
    NotFound,
    /// Nobody knows: the API server could not be asked, or did not answer the question.
    #[error("the API server could not be asked")]
    Unavailable,
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "5a000000-0000-4000-8000-00000000000f";

    #[test]
    fn an_object_takes_32_bytes() {
        assert_eq!(size_of::<Object>(), 32);
    }

    #[test]
    fn a_uid_is_equal_to_itself_alone() {
        let others = [
            "",
            "5A000000-0000-4000-8000-00000000000f",
            "5a000000-0000-4000-8000-00000000000F",
            "5a00000000004000800000000000000f",
            "5a000000-0000-4000-8000-00000000000",
            "5a000000-0000-4000-8000-00000000000f0",
            "5a000000-0000-4000-8000-00000000000g",
            "5a00000-00000-4000-8000-00000000000f",
            "5a000000-0000-4000-8000-0000000000-f",
            "5a000000-0000-4000-8000-00000000001f",
            "u-1",
            "ü",
        ];
        let all = [&[UUID], &others[..]].concat();
        for (i, uid) in all.iter().enumerate() {
            for (j, other) in all.iter().enumerate() {
                assert_eq!(Object::new(uid, None).has_uid(other), i == j, "{uid} and {other}");
            }
        }
        assert_eq!(format!("{:?}", Uid::new(UUID)), "Uuid(5a00000000004000800000000000000f)");
        assert_eq!(format!("{:?}", Uid::new("u-1")), "\"u-1\"");
    }

    #[test]
    fn a_deletion_timestamp_is_any_second_or_none() {
        for time in [None, Some(0), Some(-1), Some(i64::MIN), Some(253_402_300_799)] {
            assert_eq!(Object::new(UUID, time).deletion_timestamp(), time);
        }
    }

    #[test]
    fn a_secret_holds_its_token_alone_and_does_not_show_it() {
        let digester = Arc::new(Digester::random());
        let secret = |token| TokenSecret::new(Object::new(UUID, None), false, token, &digester);
        assert!(secret(Some(b"token")).holds(b"token"));
        for (token, other) in
            [(Some(&b"token"[..]), &b"token "[..]), (Some(b"token"), b""), (Some(b""), b"t"), (None, b"")]
        {
            assert!(!secret(token).holds(other), "{token:?} {other:?}");
        }
        assert!(!format!("{:?}", secret(Some(b"token"))).contains("oken\""));
    }
}
