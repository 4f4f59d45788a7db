//! Static tokens, `--token-auth-file` (Go: k8s.io/apiserver/pkg/authentication/token/tokenfile).

use std::fmt;
use std::sync::Arc;

use hashbrown::HashTable;

use crate::authn::user_file::UserRecord;
use crate::authn::{Outcome, Token};
use crate::decision::{Authenticated, Authenticator};
use crate::identity::Identity;
use crate::secret::{Digest, Digester};

/// The tokens of a file. They are kept as keyed digests only, 32 bytes each, whatever their length; a look-up costs the same
/// for one token and for a million, and its timing says nothing about them (threats S31).
pub struct TokenFile {
    digester: Digester,
    users: HashTable<(Digest, Arc<Identity>)>,
}

impl TokenFile {
    /// Takes the lines of a file. A later line with the same token replaces an earlier one; a line with an empty token is
    /// left out. kube-apiserver warns of both, and so do we: `warn` gets the line and what is odd about it.
    pub fn new(users: Vec<UserRecord>, mut warn: impl FnMut(usize, &str)) -> Self {
        let digester = Digester::random();
        let mut table: HashTable<(Digest, Arc<Identity>)> = HashTable::with_capacity(users.len());
        for UserRecord { line, secret, identity } in users {
            if secret.is_empty() {
                warn(line, "empty token, the line is ignored");
                continue;
            }
            let digest = digester.digest(secret.as_bytes());
            let entry =
                table.entry(digest.bucket(), |(known, _)| *known == digest, |(known, _)| known.bucket());
            if let hashbrown::hash_table::Entry::Occupied(mut earlier) = entry {
                warn(line, "duplicate token, this line replaces an earlier one");
                earlier.get_mut().1 = identity;
            } else {
                entry.insert((digest, identity));
            }
        }
        Self { digester, users: table }
    }

    /// The user of `token`, or no opinion.
    pub fn authenticate(&self, token: Token<'_>) -> Outcome {
        let digest = self.digester.digest(token.0);
        match self.users.find(digest.bucket(), |(known, _)| *known == digest) {
            Some((_, identity)) => {
                Outcome::Authenticated(Authenticated::new(Arc::clone(identity), Authenticator::TokenFile))
            }
            None => Outcome::NoOpinion,
        }
    }
}

impl fmt::Debug for TokenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenFile({} tokens)", self.users.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::user_file;

    fn load(text: &[u8]) -> (TokenFile, Vec<(usize, String)>) {
        let mut warnings = Vec::new();
        let users = user_file::parse(text, "token").unwrap_or_default();
        (TokenFile::new(users, |line, text| warnings.push((line, text.to_owned()))), warnings)
    }

    fn user(file: &TokenFile, token: &[u8]) -> Option<String> {
        match file.authenticate(Token(token)) {
            Outcome::Authenticated(a) => Some(a.identity.username.to_string()),
            Outcome::NoOpinion => None,
            rejected @ Outcome::Rejected(_) => panic!("{rejected:?}"),
        }
    }

    /// Go: TestTokenFile, TestEmptyTokenTokenFile, and NewCSV's warning of duplicates.
    #[test]
    fn the_last_line_of_a_token_counts_and_an_empty_token_is_none() {
        let (file, warnings) = load(b"dup,first,1\n,nobody,2\ndup,second,3\nToken,upper,4\n");
        assert_eq!(user(&file, b"dup"), Some("second".to_owned()));
        assert_eq!(user(&file, b"Token"), Some("upper".to_owned()));
        for unknown in [&b""[..], b"token", b"du", b"dup ", b"dup\0"] {
            assert_eq!(user(&file, unknown), None);
        }
        assert_eq!(
            warnings,
            [
                (2, "empty token, the line is ignored".to_owned()),
                (3, "duplicate token, this line replaces an earlier one".to_owned())
            ]
        );
    }

    #[test]
    fn debug_shows_no_token() {
        let (file, _) = load(b"secret-token,u,1\n");
        assert_eq!(format!("{file:?}"), "TokenFile(1 tokens)");
        assert_eq!(format!("{:?}", Token(b"secret-token")), "Token(..)");
    }
}
