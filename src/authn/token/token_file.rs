//! Static tokens, `--token-auth-file` (Go: k8s.io/apiserver/pkg/authentication/token/tokenfile).

use std::fmt;
use std::sync::{Arc, OnceLock};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::authn::user_file::{self, UserFileError, UserRecord};
use crate::authn::{Outcome, Token};
use crate::decision::{Authenticated, Authenticator};
use crate::identity::{Extra, Groups, Identity};
use crate::secret::{Digest, Digester};

/// With the token that nobody could guess, a line has this many bytes or more; only memory depends on it.
const SHORTEST_LINE: usize = 16;

/// The tokens of a file. They are kept as keyed digests only, whatever their length; a look-up costs the same for one token and for a
/// million, and its timing says nothing about them (threats S31).
///
/// A user takes about 100 bytes and the text, in three large allocations, which a new configuration gives back at once; more only from the first request
/// on.
pub struct TokenFile {
    digester: Digester,
    /// Places in `users`.
    table: HashTable<usize>,
    users: Vec<User>,
    /// The names and uids.
    text: String,
}

struct User {
    digest: Digest,
    /// Where the name ends, which begins where the user before ends, and the uid, which follows.
    ends: [usize; 2],
    groups: Groups,
    identity: OnceLock<Arc<Identity>>,
}

impl TokenFile {
    /// Takes a file. A later line with the same token replaces an earlier one; a line with an empty token is left out.
    /// kube-apiserver warns of both, and so do we: `warn` gets the line and what is odd about it.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn new(text: &[u8], mut warn: impl FnMut(usize, &str)) -> Result<Self, Vec<UserFileError>> {
        let digester = Digester::random();
        // So that nothing grows, and leaves behind what it was: as many lines, and as much text, as there can be at most, or nearly.
        let most = text.iter().filter(|byte| **byte == b'\n').count().min(text.len() / SHORTEST_LINE) + 1;
        let mut table = HashTable::<usize>::with_capacity(most);
        let mut users = Vec::<User>::with_capacity(most);
        let mut names = String::with_capacity(text.len());
        user_file::read(text, "token", |UserRecord { line, secret, username, uid, groups }| {
            if secret.is_empty() {
                return warn(line, "empty token, the line is ignored");
            }
            let digest = digester.digest(secret.as_bytes());
            names += &username;
            let middle = names.len();
            names += &uid;
            let bucket = |place: &usize| users[*place].digest.bucket();
            match table.entry(digest.bucket(), |place| users[*place].digest == digest, bucket) {
                Entry::Occupied(mut earlier) => {
                    warn(line, "duplicate token, this line replaces an earlier one");
                    *earlier.get_mut() = users.len();
                }
                Entry::Vacant(place) => drop(place.insert(users.len())),
            }
            users.push(User { digest, ends: [middle, names.len()], groups, identity: OnceLock::new() });
        })?;
        Ok(Self { digester, table, users, text: names })
    }

    /// The user of `token`, or no opinion.
    pub fn authenticate(&self, token: Token<'_>) -> Outcome {
        let digest = self.digester.digest(token.bytes);
        let place = self.table.find(digest.bucket(), |place| self.users[*place].digest == digest);
        match place {
            Some(place) => {
                let identity = self.identity(*place);
                Outcome::Authenticated(Authenticated::new(Arc::clone(identity), Authenticator::TokenFile))
            }
            None => Outcome::NoOpinion,
        }
    }

    fn identity(&self, place: usize) -> &Arc<Identity> {
        let User { ends: [middle, end], groups, identity, .. } = &self.users[place];
        identity.get_or_init(|| {
            let start = place.checked_sub(1).map_or(0, |before| self.users[before].ends[1]);
            let (name, uid) = (&self.text[start..*middle], &self.text[*middle..*end]);
            Arc::new(Identity::new(name, uid, groups.clone(), Extra::default()))
        })
    }
}

impl fmt::Debug for TokenFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenFile({} tokens)", self.table.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &[u8]) -> (TokenFile, Vec<(usize, String)>) {
        let mut warnings = Vec::new();
        let file = TokenFile::new(text, |line, text| warnings.push((line, text.to_owned())));
        (file.expect("the file parses"), warnings)
    }

    fn user(file: &TokenFile, token: &[u8]) -> Option<String> {
        match file.authenticate(Token::new(token)) {
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

    /// Names stand in one text, one after the other; a user is made of it once.
    #[test]
    fn every_token_has_its_own_user_whole() {
        let (file, _) = load("a,,\nb,ü,1,\"x,y\"\na,again,2,z\n,nobody,3\nc,carol,,\nd,,4,x\n".as_bytes());
        let identity = |token: &[u8]| match file.authenticate(Token::new(token)) {
            Outcome::Authenticated(authenticated) => authenticated.identity,
            other => panic!("{other:?}"),
        };
        let expected: [(&[u8], &str, &str, &[&str]); 4] = [
            (b"a", "again", "2", &["z"]),
            (b"b", "ü", "1", &["x", "y"]),
            (b"c", "carol", "", &[""]),
            (b"d", "", "4", &["x"]),
        ];
        for (token, username, uid, groups) in expected {
            let expected = Identity::new(username, uid, Groups::new(groups), Extra::default());
            assert_eq!(*identity(token), expected);
            assert!(Arc::ptr_eq(&identity(token), &identity(token)));
        }
    }

    #[test]
    fn debug_shows_no_token() {
        let (file, _) = load(b"secret-token,u,1\n");
        assert_eq!(format!("{file:?}"), "TokenFile(1 tokens)");
        assert_eq!(format!("{:?}", Token::new(b"secret-token")), "Token(..)");
    }
}
