//! Writes down what happens while a request is decided.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::unverified::{self, UnverifiedClaims};
use crate::authn::{Lookup, Observer, Outcome, Token};
use crate::decision::Authenticator;

/// An observer that remembers. Copies write on the same page.
#[derive(Clone, Default)]
pub struct Recorder(Arc<Mutex<Page>>);

#[derive(Default)]
struct Page {
    record: Record,
    /// Those who have been asked and have not answered, each on behalf of the one before.
    open: Vec<(Asked, Instant)>,
}

/// What happened, in order.
#[derive(Default)]
pub(super) struct Record {
    pub(super) asked: Vec<Asked>,
    pub(super) tokens: Vec<(Authenticator, UnverifiedClaims)>,
}

/// An authenticator that was asked.
pub(super) struct Asked {
    pub(super) who: Authenticator,
    /// None: it never answered.
    pub(super) said: Option<Outcome>,
    pub(super) took: Duration,
    /// Whether it found a token, which others were asked about.
    pub(super) found_token: bool,
    pub(super) lookup: Option<Lookup>,
    pub(super) key_id: Option<String>,
    /// Those who were asked on its behalf.
    pub(super) others: Vec<Self>,
}

impl Recorder {
    fn page(&self) -> MutexGuard<'_, Page> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was written down so far.
    pub(super) fn take(&self) -> Record {
        let page = &mut *self.page();
        while !page.open.is_empty() {
            page.close(None);
        }
        std::mem::take(&mut page.record)
    }
}

impl Page {
    /// The one that was asked last has answered, or never will.
    fn close(&mut self, said: Option<Outcome>) {
        let Some((mut asked, since)) = self.open.pop() else { return };
        (asked.said, asked.took) = (said, since.elapsed());
        let list = self.open.last_mut().map_or(&mut self.record.asked, |(asker, _)| &mut asker.others);
        list.push(asked);
    }

    fn last(&mut self) -> Option<&mut Asked> {
        self.open.last_mut().map(|(asked, _)| asked)
    }
}

impl Observer for Recorder {
    fn asked(&self, who: Authenticator) {
        let asked = Asked {
            who,
            said: None,
            took: Duration::ZERO,
            found_token: false,
            lookup: None,
            key_id: None,
            others: Vec::new(),
        };
        self.page().open.push((asked, Instant::now()));
    }

    fn answered(&self, who: Authenticator, outcome: &Outcome) {
        let page = &mut *self.page();
        // Whoever was asked on its behalf, and has not answered, will not any more.
        while page.last().is_some_and(|asked| asked.who != who) {
            page.close(None);
        }
        page.close(Some(outcome.clone()));
    }

    fn found(&self, token: Token<'_>) {
        let claims = unverified::claims(token);
        let page = &mut *self.page();
        let Some(asked) = page.last() else { return };
        asked.found_token = true;
        let who = asked.who;
        page.record.tokens.extend(claims.map(|claims| (who, claims)));
    }

    fn looked_up(&self, lookup: Lookup) {
        if let Some(asked) = self.page().last() {
            asked.lookup = Some(lookup);
        }
    }

    fn verified<'k>(&self, key_id: impl FnOnce() -> &'k str) {
        if let Some(asked) = self.page().last() {
            asked.key_id = Some(key_id().to_owned());
        }
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recorder(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::Reason;

    /// Who, whether there was an answer, and those who were asked on its behalf.
    fn outline(asked: &[Asked]) -> Vec<String> {
        let line = |asked: &Asked| {
            let said = if asked.said.is_some() { "answered" } else { "silent" };
            format!("{} {said} [{}]", asked.who.label(), outline(&asked.others).join(", "))
        };
        asked.iter().map(line).collect()
    }

    /// A lookup that is given up, and a panic (S20), leave some without an answer.
    #[test]
    fn who_never_answers_is_told_from_who_does() {
        let (recorder, copy) = (Recorder::default(), Recorder::default());
        let in_a_task = recorder.clone();
        recorder.asked(Authenticator::Basic);
        recorder.answered(Authenticator::Basic, &Outcome::NoOpinion);
        recorder.asked(Authenticator::Bearer);
        recorder.found(Token::new(b"opaque"));
        in_a_task.asked(Authenticator::TokenFile);
        in_a_task.answered(Authenticator::TokenFile, &Outcome::NoOpinion);
        in_a_task.asked(Authenticator::Webhook);
        let timeout = Outcome::rejected(Authenticator::Bearer, Reason::TokenLookupTimeout);
        recorder.answered(Authenticator::Bearer, &timeout);
        recorder.asked(Authenticator::Anonymous);
        let record = recorder.take();
        let expected = [
            "basic answered []",
            "bearer answered [tokenfile answered [], webhook silent []]",
            "anonymous silent []",
        ];
        assert_eq!(outline(&record.asked), expected);
        assert_eq!((record.asked[1].found_token, record.tokens.len()), (true, 0), "the token is opaque");
        in_a_task.answered(Authenticator::Webhook, &Outcome::NoOpinion);
        assert_eq!(outline(&recorder.take().asked), [""; 0], "too late");
        assert_eq!(outline(&copy.take().asked), [""; 0], "another page");
    }
}
