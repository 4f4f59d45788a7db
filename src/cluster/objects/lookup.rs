//! Questions to the API server about single objects: each is asked once at a time, few at once, and none for long.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

use super::object::LookupError;

/// An answer, also one that says no, is good for so long. Deletions are to be noticed within two seconds, and a client that shows the
/// token of an object which is gone again and again costs the API server one question a second.
pub const REMEMBERED: Duration = Duration::from_secs(1);

/// Waiting for a turn included. Envoy asks for 200 ms if it is not told otherwise, kube-apiserver answers within a few.
pub const MAX_WAIT: Duration = Duration::from_secs(2);

/// Questions to the API server at once. Most objects are known without one.
pub const MAX_QUESTIONS: usize = 16;

/// Answers remembered and questions waiting for their turn. With more the next question has no answer.
pub const MAX_REMEMBERED: usize = 2048;

type Answer<T> = Result<T, LookupError>;

/// The questions whose answer is awaited or remembered.
pub(super) struct Lookups<K, T> {
    questions: Mutex<HashMap<K, Question<T>>>,
    turns: Arc<Semaphore>,
}

/// The answer and when it came, or nothing yet.
#[derive(Clone)]
struct Question<T>(watch::Receiver<Option<(Answer<T>, Instant)>>);

impl<K: Eq + Hash, T: Clone + Send + Sync + 'static> Lookups<K, T> {
    /// `turns` are shared with other questions.
    pub(super) fn new(turns: &Arc<Semaphore>) -> Self {
        Self { questions: Mutex::default(), turns: Arc::clone(turns) }
    }

    /// The answer to a question: one that is remembered, or awaited by somebody else already, or that `ask` gives. If the caller goes
    /// away, the question stays.
    pub(super) async fn get<F>(&self, key: K, ask: impl FnOnce() -> F) -> Answer<T>
    where
        F: Future<Output = Answer<T>> + Send + 'static,
    {
        let Some(question) = self.question(key, ask) else { return Err(LookupError::Unavailable) };
        question.answer().await
    }

    fn question<F>(&self, key: K, ask: impl FnOnce() -> F) -> Option<Question<T>>
    where
        F: Future<Output = Answer<T>> + Send + 'static,
    {
        let mut questions = self.questions.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(question) = questions.get(&key).filter(|question| question.is_good()) {
            return Some(question.clone());
        }
        if questions.len() >= MAX_REMEMBERED {
            questions.retain(|_, question| question.is_good());
        }
        if questions.len() >= MAX_REMEMBERED {
            questions.retain(|_, question| question.is_open());
        }
        if questions.len() >= MAX_REMEMBERED {
            return None;
        }
        let (answered, question) = watch::channel(None);
        let (turns, asked) = (Arc::clone(&self.turns), ask());
        tokio::spawn(async move {
            let answer = timeout(MAX_WAIT, async {
                let _turn = turns.acquire().await;
                asked.await
            });
            let answer = answer.await.unwrap_or(Err(LookupError::Unavailable));
            answered.send_replace(Some((answer, Instant::now())));
        });
        let question = Question(question);
        questions.insert(key, question.clone());
        Some(question)
    }
}

impl<T: Clone> Question<T> {
    /// Whether its answer is still to come.
    fn is_open(&self) -> bool {
        self.0.borrow().is_none() && self.0.has_changed().is_ok()
    }

    /// Whether whoever asks the same does not have to ask again.
    fn is_good(&self) -> bool {
        match &*self.0.borrow() {
            Some((_, at)) => at.elapsed() < REMEMBERED,
            // Nobody answers any more if that has panicked.
            None => self.0.has_changed().is_ok(),
        }
    }

    async fn answer(mut self) -> Answer<T> {
        match self.0.wait_for(Option::is_some).await.as_deref() {
            Ok(Some((answer, _))) => answer.clone(),
            _ => Err(LookupError::Unavailable),
        }
    }
}

impl<K, T> fmt::Debug for Lookups<K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let remembered = self.questions.lock().unwrap_or_else(PoisonError::into_inner).len();
        write!(f, "Lookups({remembered} remembered)")
    }
}
