//! HTTP basic authentication against `--basic-auth-file` (RFC 7617). kube-apiserver had it until 1.18
//! (plugin/pkg/auth/authenticator/request/basicauth); there is no oracle for it today.
//!
//! ```text
//!   Authorization: Basic YWxpY2U6d29uZGVybGFuZA==
//!                  ^^^^^ ^^^^^^^^^^^^^^^^^^^^^^^^
//!                  |     +-- base64 of `user:password`; the first colon separates
//!                  +-- in any case, one space
//! ```
//!
//! Stricter than 1.18: a Basic header that does not parse is a rejection, not silence.

mod password;

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::BuildHasher;
use std::sync::{Arc, OnceLock};

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use zeroize::Zeroizing;

use self::password::{Password, Verifier};
use super::user_file::{self, UserFileError, UserRecord};
use super::{AuthenticateRequest, Now, Observer, Outcome};
use crate::decision::{Authenticated, Authenticator, Reason};
use crate::identity::{Extra, Identity};
use crate::request::{Credentials, Request};
use crate::secret::{Digest, Digester};

/// The users of a basic auth file.
pub struct Basic {
    digester: Digester,
    verifier: Verifier,
    users: HashMap<Box<[u8]>, Arc<User>, RandomState>,
    /// The same users by number, from which the decoy of an unknown name is drawn.
    decoys: Box<[Arc<User>]>,
}

struct User {
    identity: Arc<Identity>,
    password: Password,
    /// The password that once matched a slow hash, so that it is not computed again on every request. Whether a password
    /// matches a hash does not change, so this needs no end; it is one digest a user, and goes with the file.
    matched: OnceLock<Digest>,
}

impl Basic {
    /// Takes a file. A later line with the same user name replaces an earlier one, of which `warn` is told. Every bad password is
    /// reported.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn new(text: &[u8], mut warn: impl FnMut(usize, &str)) -> Result<Self, Vec<UserFileError>> {
        let digester = Digester::random();
        let mut users = HashMap::default();
        let mut errors = Vec::new();
        user_file::read(text, "password", |UserRecord { line, secret, username, uid, groups }| {
            let password = match Password::parse(&secret, &digester) {
                Ok(password) => password,
                Err(problem) => return errors.push(UserFileError::Secret { line, problem }),
            };
            let name: Box<[u8]> = username.as_bytes().into();
            let identity = Arc::new(Identity::new(username, uid, groups, Extra::default()));
            let user = Arc::new(User { identity, password, matched: OnceLock::new() });
            if users.insert(name, user).is_some() {
                warn(line, "duplicate user name, this line replaces an earlier one");
            }
        })?;
        if !errors.is_empty() {
            return Err(errors);
        }
        let decoys = users.values().cloned().collect();
        Ok(Self { digester, verifier: Verifier::default(), users, decoys })
    }

    /// Whether the password is right. An unknown name costs what a wrong password costs: some user's password is verified in
    /// its place, always the same for one name, so that names cannot be found out by the time that an answer takes (S31).
    async fn verify(&self, credentials: &UserPassword) -> Result<Arc<Identity>, Reason> {
        let name = credentials.name();
        let known = self.users.get(name);
        let Some(user) = known.or_else(|| self.decoy(name)) else {
            return Err(Reason::InvalidUsernameOrPassword);
        };
        let digest = self.digester.digest(credentials.password());
        // Not for a decoy: an unknown name must not find out that the password is somebody's.
        let remembered = known.is_some() && user.matched.get().is_some_and(|matched| *matched == digest);
        let right = match &user.password {
            Password::Plain(expected) => *expected == digest,
            Password::Hashed(_) if remembered => true,
            Password::Hashed(hash) => {
                let right = self.verifier.verify(Arc::clone(hash), credentials.password()).await?;
                if right {
                    let _already = user.matched.set(digest);
                }
                right
            }
        };
        if right && known.is_some() {
            Ok(Arc::clone(&user.identity))
        } else {
            Err(Reason::InvalidUsernameOrPassword)
        }
    }

    fn decoy(&self, name: &[u8]) -> Option<&Arc<User>> {
        let count = u64::try_from(self.decoys.len()).ok()?;
        let number = self.users.hasher().hash_one(name).checked_rem(count)?;
        self.decoys.get(usize::try_from(number).ok()?)
    }
}

impl AuthenticateRequest for Basic {
    async fn observed<O: Observer>(&self, request: &Request<'_>, _now: Now, _: O) -> Outcome {
        let result = match find(request) {
            Ok(None) => return Outcome::NoOpinion,
            // Boxed: the slow path's state would be carried by every Check.
            Ok(Some(credentials)) => Box::pin(self.verify(&credentials)).await,
            Err(reason) => Err(reason),
        };
        match result {
            Ok(identity) => Outcome::Authenticated(Authenticated::new(identity, Authenticator::Basic)),
            Err(reason) => Outcome::rejected(Authenticator::Basic, reason),
        }
    }
}

impl fmt::Debug for Basic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Basic({} users)", self.users.len())
    }
}

/// `user:password`, decoded, and where the colon is.
struct UserPassword {
    text: Zeroizing<Vec<u8>>,
    colon: usize,
}

impl UserPassword {
    fn name(&self) -> &[u8] {
        &self.text[..self.colon]
    }

    fn password(&self) -> &[u8] {
        &self.text[self.colon + 1..]
    }
}

/// Go: `http.Request.BasicAuth`, but for what it answers where the rest does not parse.
fn find(request: &Request<'_>) -> Result<Option<UserPassword>, Reason> {
    let value = match request.headers.authorization(b"basic") {
        Credentials::Absent => return Ok(None),
        Credentials::Ambiguous => return Err(Reason::AmbiguousAuthorization),
        Credentials::Malformed => return Err(Reason::MalformedHeader),
        Credentials::One(value) => value,
    };
    let Some((scheme, encoded)) = value.split_at_checked(PREFIX.len()) else { return Ok(None) };
    if !scheme.eq_ignore_ascii_case(PREFIX) {
        return Ok(None);
    }
    let text = Zeroizing::new(BASE64.decode(encoded).map_err(|_| Reason::MalformedBasic)?);
    let colon = text.iter().position(|b| *b == b':').ok_or(Reason::MalformedBasic)?;
    Ok(Some(UserPassword { text, colon }))
}

const PREFIX: &[u8] = b"basic ";

/// Go's `base64.StdEncoding`: padded, and not strict about the bits that are left over.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

#[cfg(test)]
mod tests;
