//! An account's names, and who it is (Go: k8s.io/apiserver/pkg/authentication/serviceaccount/util.go).

use crate::identity::{CREDENTIAL_ID, Extra, Groups, Identity};

const USERNAME_PREFIX: &str = "system:serviceaccount:";
const ALL_GROUP: &str = "system:serviceaccounts";

const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";
const NODE_NAME: &str = "authentication.kubernetes.io/node-name";
const NODE_UID: &str = "authentication.kubernetes.io/node-uid";

/// What a token says of its account. Go: `ServiceAccountInfo`.
#[derive(Debug, Default)]
pub(super) struct ServiceAccountInfo<'a> {
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) uid: &'a str,
    pub(super) pod_name: &'a str,
    pub(super) pod_uid: &'a str,
    pub(super) node_name: &'a str,
    pub(super) node_uid: &'a str,
    /// The token's `jti`.
    pub(super) token_id: &'a str,
}

impl ServiceAccountInfo<'_> {
    /// Go: `UserInfo`.
    pub(super) fn identity(&self) -> Identity {
        // Go: CredentialIDForJTI.
        let credential_id = ["JTI=", self.token_id].concat();
        let on_node = !self.node_name.is_empty();
        let in_pod = !self.pod_name.is_empty() && !self.pod_uid.is_empty();
        // In the order of the keys.
        let extra = [
            (!self.token_id.is_empty(), CREDENTIAL_ID, &*credential_id),
            (on_node, NODE_NAME, self.node_name),
            (on_node && !self.node_uid.is_empty(), NODE_UID, self.node_uid),
            (in_pod, POD_NAME, self.pod_name),
            (in_pod, POD_UID, self.pod_uid),
        ];
        let extra =
            extra.into_iter().filter(|(is_known, ..)| *is_known).map(|(_, key, value)| (key, [value]));
        let username = [USERNAME_PREFIX, self.namespace, ":", self.name].concat();
        Identity::new(username, self.uid, Groups::new(group_names(self.namespace)), Extra::new(extra))
    }
}

/// The groups that every account of a namespace is in. Go: `MakeGroupNames`.
pub fn group_names(namespace: &str) -> [Box<str>; 2] {
    [ALL_GROUP.into(), format!("{ALL_GROUP}:{namespace}").into()]
}

/// The namespace and the name in an account's user name. Go: `SplitUsername`.
pub fn split_username(username: &str) -> Option<(&str, &str)> {
    let (namespace, name) = username.strip_prefix(USERNAME_PREFIX)?.split_once(':')?;
    (is_dns_label(namespace) && is_dns_subdomain(name)).then_some((namespace, name))
}

/// Whether a namespace may have this name. Go: `IsDNS1123Label` of k8s.io/apimachinery/pkg/util/validation/validation.go.
pub(super) fn is_dns_label(name: &str) -> bool {
    name.len() <= 63 && is_label(name)
}

/// Whether a service account, Pod, Node or Secret may have this name. Go: `IsDNS1123Subdomain`, which limits the whole only.
pub(super) fn is_dns_subdomain(name: &str) -> bool {
    name.len() <= 253 && name.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
}
