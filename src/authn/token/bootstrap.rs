//! Bootstrap tokens, `--enable-bootstrap-token-auth`: how a new node first comes into a cluster (Go:
//! k8s.io/kubernetes/plugin/pkg/auth/authenticator/token/bootstrap and k8s.io/cluster-bootstrap, v1.36.3).
//!
//! ```text
//!   07401b.f395accd246ae52d
//!   ^^^^^^ ^^^^^^^^^^^^^^^^
//!   |      +-- the secret, compared in constant time
//!   +-- the id; the Secret is bootstrap-token-07401b in kube-system
//! ```
//!
//! The Secrets are watched, so a token that is made or deleted is known a moment later, as in kube-apiserver, and no Check waits for the
//! API server. While they have never been in sync, tokens of this form are refused.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use futures_util::Stream;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::watcher::{self, Event, watcher};
use zeroize::Zeroizing;

use crate::authn::{Now, Outcome, Token};
use crate::cluster::{Index, Watch, settings};
use crate::decision::{Authenticated, Authenticator, Reason};
use crate::identity::{Extra, Groups, Identity};
use crate::time::Time;

// Go: k8s.io/cluster-bootstrap/token/api.
const NAMESPACE: &str = "kube-system";
const SECRET_TYPE: &str = "bootstrap.kubernetes.io/token";
const NAME_PREFIX: &str = "bootstrap-token-";
const TOKEN_ID: &str = "token-id";
const TOKEN_SECRET: &str = "token-secret";
const EXPIRATION: &str = "expiration";
const USAGE_AUTHENTICATION: &str = "usage-bootstrap-authentication";
const EXTRA_GROUPS: &str = "auth-extra-groups";
const USER_PREFIX: &str = "system:bootstrap:";
const DEFAULT_GROUP: &str = "system:bootstrappers";

/// The first half of a token.
type Id = [u8; 6];

/// The authenticator of bootstrap tokens. Go: `TokenAuthenticator`.
#[derive(Debug, Clone)]
pub struct BootstrapTokens {
    secrets: Arc<Watch<BootstrapSecrets>>,
}

impl BootstrapTokens {
    /// Tokens as these Secrets say.
    pub fn new(secrets: Arc<Watch<BootstrapSecrets>>) -> Self {
        Self { secrets }
    }

    /// Go: `AuthenticateToken`.
    pub fn authenticate(&self, token: Token<'_>, now: Now) -> Outcome {
        let Some((id, secret)) = parse(token.bytes) else { return Outcome::NoOpinion };
        self.secrets
            .read(|secrets| secrets.authenticate(id, secret, now))
            .unwrap_or_else(|| Outcome::rejected(Authenticator::Bootstrap, Reason::ClusterUnavailable))
    }
}

/// Both halves of a token. Go: `ParseToken`.
fn parse(token: &[u8]) -> Option<(&Id, &[u8])> {
    let (id, rest) = token.split_first_chunk()?;
    let secret = rest.strip_prefix(b".").filter(|secret| secret.len() == 16)?;
    let good = |text: &[u8]| text.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    (good(id) && good(secret)).then_some((id, secret))
}

/// The Secrets of bootstrap tokens, by the id in their name. Others cannot match a token and are not kept.
#[derive(Default)]
pub struct BootstrapSecrets(HashMap<Id, BootstrapSecret>);

/// What is to be known of a Secret.
struct BootstrapSecret {
    deleted: bool,
    secret: Zeroizing<Vec<u8>>,
    /// Whether `token-id` is what the name says.
    id_matches: bool,
    expires: Expiration,
    /// Whether it may be used to authenticate at all.
    authenticates: bool,
    /// Who the token is; none if a group is not one.
    identity: Option<Arc<Identity>>,
}

/// When a token expires.
enum Expiration {
    Never,
    /// Nobody can tell.
    Unparseable,
    At(Time),
}

impl BootstrapSecrets {
    /// The checks in Go's order.
    fn authenticate(&self, id: &Id, secret: &[u8], now: Now) -> Outcome {
        let Some(known) = self.0.get(id) else { return Outcome::NoOpinion };
        match known.identity(secret, now) {
            Ok(identity) => Outcome::Authenticated(Authenticated::new(identity, Authenticator::Bootstrap)),
            Err(reason) => Outcome::rejected(Authenticator::Bootstrap, reason),
        }
    }
}

impl BootstrapSecret {
    /// Reads the Secret of the token `id`. None: it is of another type, or has no data.
    fn new(id: &Id, secret: Secret) -> Option<Self> {
        let is_token = secret.type_.as_deref() == Some(SECRET_TYPE);
        // Go: GetData. What is not there is empty.
        let data = secret.data.unwrap_or_default().into_iter();
        let mut data: BTreeMap<String, Zeroizing<Vec<u8>>> =
            data.map(|(key, value)| (key, Zeroizing::new(value.0))).collect();
        if !is_token || data.is_empty() {
            return None;
        }
        let mut take = |key| data.remove(key).unwrap_or_default();
        Some(Self {
            deleted: secret.metadata.deletion_timestamp.is_some(),
            secret: take(TOKEN_SECRET),
            id_matches: take(TOKEN_ID).as_slice() == id,
            expires: Expiration::new(&take(EXPIRATION)),
            authenticates: take(USAGE_AUTHENTICATION).as_slice() == b"true",
            identity: identity(id, &take(EXTRA_GROUPS)).map(Arc::new),
        })
    }

    /// Who presents this half of the token, if it is good.
    fn identity(&self, secret: &[u8], now: Now) -> Result<Arc<Identity>, Reason> {
        if self.deleted {
            return Err(Reason::UnusableBootstrapToken);
        }
        verify_slices_are_equal(&self.secret, secret).map_err(|_| Reason::WrongBootstrapSecret)?;
        if !self.id_matches {
            return Err(Reason::UnusableBootstrapToken);
        }
        if self.expires.is_past(now) {
            return Err(Reason::TokenExpired);
        }
        if !self.authenticates {
            return Err(Reason::UnusableBootstrapToken);
        }
        self.identity.clone().ok_or(Reason::UnusableBootstrapToken)
    }
}

impl Expiration {
    fn new(text: &[u8]) -> Self {
        if text.is_empty() {
            return Self::Never;
        }
        Time::parse_rfc3339(text).map_or(Self::Unparseable, |(time, _zone)| Self::At(time))
    }

    /// Go: `GetExpiration` of k8s.io/cluster-bootstrap/util/secrets.
    fn is_past(&self, now: Now) -> bool {
        match self {
            Self::Never => false,
            Self::Unparseable => true,
            Self::At(time) => *time <= Time::from(now.0),
        }
    }
}

/// The user of a token. None: a group is not one that a token may bring. Go: `GetGroups` of k8s.io/cluster-bootstrap/util/secrets.
fn identity(id: &Id, extra_groups: &[u8]) -> Option<Identity> {
    let mut groups = BTreeSet::from([DEFAULT_GROUP]);
    if !extra_groups.is_empty() {
        for group in std::str::from_utf8(extra_groups).ok()?.split(',') {
            if !is_group(group) {
                return None;
            }
            groups.insert(group);
        }
    }
    let username = format!("{USER_PREFIX}{}", std::str::from_utf8(id).ok()?);
    Some(Identity::new(username, "", Groups::new(groups), Extra::default()))
}

/// Go: `ValidateBootstrapGroupName`, `\Asystem:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]\z`.
fn is_group(group: &str) -> bool {
    let Some(name) = group.strip_prefix("system:bootstrappers:") else { return false };
    let is_last = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_inner = |byte: u8| is_last(byte) || byte == b':' || byte == b'-';
    name.len() <= 256 && name.bytes().all(is_inner) && name.bytes().last().is_some_and(is_last)
}

impl Index for BootstrapSecrets {
    type Object = Secret;

    const RESOURCE: &'static str = "secrets/bootstrap-token";

    fn watch(client: kube::Client) -> impl Stream<Item = watcher::Result<Event<Secret>>> + Send + 'static {
        let secrets = kube::Api::namespaced(client, NAMESPACE);
        watcher(secrets, settings().fields(&format!("type={SECRET_TYPE}")))
    }

    fn apply(&mut self, secret: Secret) {
        match read(secret) {
            Some((id, Some(secret))) => drop(self.0.insert(id, secret)),
            Some((id, None)) => drop(self.0.remove(&id)),
            None => {}
        }
    }

    fn delete(&mut self, secret: Secret) {
        if let Some((id, _before)) = read(secret) {
            self.0.remove(&id);
        }
    }

    fn count(&self) -> usize {
        self.0.len()
    }
}

/// The id in a Secret's name, and what else it says.
fn read(secret: Secret) -> Option<(Id, Option<BootstrapSecret>)> {
    let id = secret.metadata.name.as_deref()?.strip_prefix(NAME_PREFIX)?.as_bytes().try_into().ok()?;
    Some((id, BootstrapSecret::new(&id, secret)))
}

impl fmt::Debug for BootstrapSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BootstrapSecrets({} tokens)", self.0.len())
    }
}
