//! The headers in which clients ask to act as somebody else.

use std::collections::BTreeMap;

use crate::authn::unescaped_extra_key;
use crate::decision::Reason;
use crate::request::Headers;
use crate::request::name::begins_with;

const PREFIX: &[u8] = b"impersonate-";
const EXTRA_PREFIX: &[u8] = b"impersonate-extra-";

/// As whom a client asks to act, as it says it: nothing is added.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Never empty.
    pub(super) username: Box<str>,
    pub(super) uid: Box<str>,
    pub(super) groups: Vec<Box<str>>,
    pub(super) extra: BTreeMap<Box<str>, Vec<Box<str>>>,
}

/// Whether a server behind us may take this for one of the headers.
pub(super) fn is_impersonation(name: &[u8]) -> bool {
    begins_with(name, PREFIX).is_some()
}

impl Wanted {
    /// Reads the headers; none, if they name no user and nothing else. Go: `processImpersonationHeaders` of
    /// constrained_impersonation.go, which takes the first of two users and does not look at names that it does not know.
    pub(super) fn read(headers: &Headers<'_>) -> Result<Option<Self>, Reason> {
        let (mut username, mut uid) = (None, None);
        let (mut groups, mut extra) = (Vec::new(), BTreeMap::<_, Vec<_>>::new());
        for (name, value) in headers.iter().filter(|(name, _)| is_impersonation(name)) {
            let name = name.to_ascii_lowercase();
            let value = text(headers, value)?;
            let once = match &*name {
                b"impersonate-user" => username.replace(value),
                b"impersonate-uid" => uid.replace(value),
                b"impersonate-group" => {
                    groups.push(value.into());
                    None
                }
                name => {
                    let key = name.strip_prefix(EXTRA_PREFIX).and_then(unescaped_extra_key);
                    extra.entry(key.ok_or(Reason::MalformedImpersonation)?).or_default().push(value.into());
                    None
                }
            };
            if once.is_some() {
                return Err(Reason::MalformedImpersonation);
            }
        }
        let uid = uid.unwrap_or_default();
        match username.unwrap_or_default() {
            "" if uid.is_empty() && groups.is_empty() && extra.is_empty() => Ok(None),
            "" => Err(Reason::MalformedImpersonation),
            username => Ok(Some(Self { username: username.into(), uid: uid.into(), groups, extra })),
        }
    }
}

/// A header's value, where it can only be what the client wrote.
fn text<'a>(headers: &Headers<'a>, value: &'a [u8]) -> Result<&'a str, Reason> {
    if headers.may_hide_bytes(value) || headers.may_be_joined(value) {
        return Err(Reason::MalformedImpersonation);
    }
    std::str::from_utf8(value).map_err(|_| Reason::MalformedImpersonation)
}
