//! What the files say about their own end: a certificate's notAfter, a revocation list's nextUpdate.

use std::time::{SystemTime, UNIX_EPOCH};

/// When something ends that the configuration was made with.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Deadline {
    /// What will be wrong, and where.
    problem: String,
    /// Seconds since 1970.
    at: i64,
}

/// All of them, so that each is told of once, when it has passed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deadlines {
    to_come: Vec<Deadline>,
    first_next_update: Option<i64>,
}

impl Deadlines {
    /// `problem` begins `at` these seconds since 1970.
    pub(super) fn add(&mut self, problem: String, at: i64) {
        self.to_come.push(Deadline { problem, at });
    }

    /// A revocation list is to be renewed by then, in seconds since 1970.
    pub(super) fn add_next_update(&mut self, problem: String, at: i64) {
        self.add(problem, at);
        self.first_next_update = Some(self.first_next_update.map_or(at, |first| first.min(at)));
    }

    /// When the first of the revocation lists is to be renewed, passed or not, in seconds since 1970.
    pub fn first_next_update(&self) -> Option<i64> {
        self.first_next_update
    }

    /// Takes out those that have passed.
    pub fn take_passed(&mut self) -> Vec<String> {
        #[expect(clippy::disallowed_methods, reason = "no decision about a request depends on it")]
        let now = SystemTime::now();
        self.take_passed_at(now)
    }

    fn take_passed_at(&mut self, now: SystemTime) -> Vec<String> {
        let now = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        self.to_come.extract_if(.., |deadline| deadline.at <= now).map(|deadline| deadline.problem).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_deadline_is_told_of_once() {
        let mut deadlines = Deadlines::default();
        deadlines.add("b".to_owned(), 20);
        deadlines.add("a".to_owned(), 10);
        let mut at = |seconds| deadlines.take_passed_at(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(9), [""; 0]);
        assert_eq!(at(10), ["a"]);
        assert_eq!(at(30), ["b"]);
        assert_eq!(at(30), [""; 0]);
        assert_eq!(deadlines.first_next_update(), None);
        deadlines.add_next_update("d".to_owned(), 50);
        deadlines.add_next_update("c".to_owned(), 40);
        assert_eq!(deadlines.take_passed_at(UNIX_EPOCH + Duration::from_secs(45)), ["c"]);
        assert_eq!(deadlines.first_next_update(), Some(40));
    }
}
