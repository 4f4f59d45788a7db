//! The format that the token file and the basic auth file share: `secret,user name,user uid,"group1,group2"`
//! (Go: k8s.io/apiserver/pkg/authentication/token/tokenfile `NewCSV`; until 1.18 also plugin/pkg/auth/authenticator/
//! password/passwordfile).

use std::collections::HashMap;

use thiserror::Error;
use zeroize::Zeroizing;

use super::csv::{self, CsvError, Record};
use crate::identity::Groups;

/// One line of such a file.
pub struct UserRecord {
    /// The line that it starts on, counted from 1.
    pub line: usize,
    /// The token or password.
    pub secret: Zeroizing<String>,
    /// Whose it is.
    pub username: String,
    /// The user's uid.
    pub uid: String,
    /// The user's groups.
    pub groups: Groups,
}

/// What is wrong with such a file. No variant holds any of its text.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum UserFileError {
    /// Not CSV.
    #[error(transparent)]
    Csv(#[from] CsvError),
    /// Too few columns.
    #[error(
        "line {line}: must have at least 3 columns ({secret}, user name, user uid), found {found}; write {secret},name,uid,\"group1,group2\""
    )]
    Columns {
        /// Where.
        line: usize,
        /// How many there are.
        found: usize,
        /// What the first column is.
        secret: &'static str,
    },
    /// A secret that cannot be used as it stands.
    #[error("line {line}: {problem}")]
    Secret {
        /// Where.
        line: usize,
        /// What is wrong with it, and how to mend it.
        problem: &'static str,
    },
}

/// Reads a whole file, whose first column is a `secret` ("token" or "password"), and hands on line by line. All bad lines are reported.
///
/// Groups are what stands between the commas of the fourth column: not trimmed, and one empty group where the column is
/// empty. Further columns are ignored.
pub fn read(
    text: &[u8],
    secret: &'static str,
    mut each: impl FnMut(UserRecord),
) -> Result<(), Vec<UserFileError>> {
    let mut lists = GroupLists::default();
    let mut errors = Vec::new();
    for record in csv::records(text) {
        let Record { line, fields } = record.map_err(|error| vec![error.into()])?;
        let found = fields.len();
        let mut fields = fields.into_iter();
        let (Some(first), Some(username), Some(uid)) = (fields.next(), fields.next(), fields.next()) else {
            errors.push(UserFileError::Columns { line, found, secret });
            continue;
        };
        let groups = lists.shared(fields.next());
        each(UserRecord { line, secret: Zeroizing::new(first), username, uid, groups });
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

/// Equal lists are stored once: a million users are often in a hundred combinations of groups.
#[derive(Default)]
struct GroupLists(HashMap<String, Groups>);

impl GroupLists {
    fn shared(&mut self, column: Option<String>) -> Groups {
        let Some(column) = column else { return Groups::default() };
        self.0.entry(column).or_insert_with_key(|column| Groups::new(column.split(','))).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Go: TestTokenFile, TestInsufficientColumnsTokenFile, and the vectors' scenario `tokenfile`.
    #[test]
    fn columns_are_read_as_go_reads_them() {
        let text = b"t1,u1,id1\nt2,u2,id2,\nt3,u3,id3,\"g1, g2 ,,g3\"\nt4,u4,id4,g1,g2\n";
        let mut users = Vec::new();
        assert_eq!(read(text, "token", |user| users.push(user)), Ok(()));
        let seen: Vec<_> =
            users.iter().map(|u| (u.line, &**u.secret, &*u.username, &*u.uid, u.groups.clone())).collect();
        let groups = |groups: &[&str]| Groups::new(groups);
        assert_eq!(
            seen,
            [
                (1, "t1", "u1", "id1", groups(&[])),
                (2, "t2", "u2", "id2", groups(&[""])),
                (3, "t3", "u3", "id3", groups(&["g1", " g2 ", "", "g3"])),
                (4, "t4", "u4", "id4", groups(&["g1"])),
            ]
        );
    }

    #[test]
    fn every_short_line_is_reported() {
        let errors = |text: &[u8]| read(text, "token", |_| {}).err().unwrap_or_default();
        let columns = |line, found| UserFileError::Columns { line, found, secret: "token" };
        assert_eq!(errors(b"a,b,c\n   \nx,y\n"), [columns(2, 1), columns(3, 2)]);
        // Nobody knows what the columns are after this.
        let quote = CsvError::Quote { line: 2, column: 3 };
        assert_eq!(errors(b"x,y\n\"a\" ,b\nx,y\n"), [UserFileError::Csv(quote)]);
    }
}
