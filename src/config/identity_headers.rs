//! The names of the headers that carry an identity.

/// The headers that carry an identity, in lower case (Envoy lowers them anyway).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityHeaders {
    /// `x-remote-user`.
    pub user: String,
    /// `x-remote-uid`.
    pub uid: String,
    /// `x-remote-group`.
    pub group: String,
    /// `x-remote-extra-`.
    pub extra_prefix: String,
}

/// How several values of one header travel. Envoy cannot be made to write two lines of one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupsEncoding {
    /// One line, the values joined by commas; a value with a comma denies.
    Joined,
    /// `X-Remote-Group`, `X-Remote-Group-1`, …; for extras `X-Remote-Extra-key`, `X-Remote-Extra1-key`, ….
    Indexed,
    /// As dynamic metadata only; a Lua filter writes the lines. Without the filter there are none. Always, where the headers are
    /// `Impersonate-*`: kube-apiserver takes several groups in lines of one name and no other way.
    Metadata,
}

impl IdentityHeaders {
    /// Those in which kube-apiserver is told as whom it is asked. Go: `ImpersonateUserHeader` and so on of
    /// k8s.io/api/authentication/v1/types.go.
    pub(super) fn impersonation() -> Self {
        Self {
            user: "impersonate-user".to_owned(),
            uid: "impersonate-uid".to_owned(),
            group: "impersonate-group".to_owned(),
            extra_prefix: "impersonate-extra-".to_owned(),
        }
    }

    /// What is wrong with the names taken together.
    pub(super) fn problems(&self, encoding: GroupsEncoding) -> Vec<String> {
        let mut problems = Vec::new();
        let names = [&self.user, &self.uid, &self.group];
        for (index, name) in names.iter().enumerate() {
            if names[..index].contains(name) {
                problems.push(format!("{name} is used twice; give user, uid and group a header each"));
            }
            if name.starts_with(&self.extra_prefix) {
                problems.push(format!("{name} begins with the prefix of the extras, {}", self.extra_prefix));
            }
        }
        if encoding == GroupsEncoding::Indexed && !self.extra_prefix.ends_with('-') {
            problems.push(format!(
                "--groups-encoding=indexed writes the index before the last dash of the extras' prefix, but {} does not end \
                 in one",
                self.extra_prefix
            ));
        }
        problems
    }
}

/// A header name that may carry an identity, lowered.
pub(super) fn header_name(text: &str) -> Result<String, String> {
    let name = text.to_ascii_lowercase();
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err("must be a header name: letters, digits and any of !#$%&'*+-.^_`|~".to_owned());
    }
    if name.contains('_') {
        return Err("must not hold `_`, which many servers take for `-`".to_owned());
    }
    if NOT_FOR_IDENTITIES.contains(&&*name)
        || name.starts_with("x-envoy-")
        || name.starts_with("impersonate-")
    {
        return Err("this header means something else; take another".to_owned());
    }
    Ok(name)
}

/// RFC 9110, section 5.6.2.
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Headers that steer the request itself, or that this server removes or overwrites for another reason.
const NOT_FOR_IDENTITIES: [&str; 11] = [
    "authorization",
    "connection",
    "content-length",
    "cookie",
    "host",
    "proxy-authorization",
    "sec-websocket-protocol",
    "te",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-client-cert",
];
