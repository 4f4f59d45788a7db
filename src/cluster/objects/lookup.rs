//! Questions to the API server about single objects: each is asked once at a time, few at once, and none for long.

use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout_at};

use super::lock;
use super::object::LookupError;

/// An answer, also one that says no, is good for so long. Deletions are to be noticed within two seconds, and a client that shows the
/// token of an object which is gone again and again costs the API server one question a second.
pub(super) const REMEMBERED: Duration = Duration::from_secs(1);

/// Waiting for a turn included. Envoy asks for 200 ms if it is not told otherwise, kube-apiserver answers within a few.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(2);

/// Questions to the API server at once. Most objects are known without one.
pub(super) const MAX_QUESTIONS: usize = 16;

/// Answers remembered and questions waiting for their turn. With more the next question has no answer.
pub(super) const MAX_REMEMBERED: usize = 2048;

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
        let mut questions = lock(&self.questions);
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
            let deadline = Instant::now() + MAX_WAIT;
            let turn = timeout_at(deadline, turns.acquire()).await;
            // Those before us may have ended as our time does.
            let answer = match turn.is_ok() && Instant::now() < deadline {
                true => timeout_at(deadline, asked).await.unwrap_or(Err(LookupError::Unavailable)),
                false => Err(LookupError::Unavailable),
            };
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
        let remembered = lock(&self.questions).len();
        write!(f, "Lookups({remembered} remembered)")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::{join_all, pending};
    use tokio::time::{advance, sleep, timeout};

    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn lookups() -> Lookups<usize, usize> {
        Lookups::new(&Arc::new(Semaphore::new(MAX_QUESTIONS)))
    }

    #[tokio::test(start_paused = true)]
    async fn what_many_ask_is_asked_once_and_remembered_for_a_second() {
        let (lookups, asked) = (lookups(), Arc::new(AtomicUsize::new(0)));
        let get = || {
            lookups.get(1, || {
                let asked = Arc::clone(&asked);
                async move {
                    sleep(MILLISECOND).await;
                    // There at first, then gone.
                    match asked.fetch_add(1, Ordering::Relaxed) {
                        0 => Ok(7),
                        _ => Err(LookupError::NotFound),
                    }
                }
            })
        };
        assert_eq!(join_all((0..100).map(|_| get())).await, [Ok(7); 100]);
        advance(REMEMBERED - MILLISECOND).await;
        assert_eq!((get().await, asked.load(Ordering::Relaxed)), (Ok(7), 1));
        advance(MILLISECOND).await;
        assert_eq!(get().await, Err(LookupError::NotFound));
        advance(REMEMBERED - MILLISECOND).await;
        assert_eq!((get().await, asked.load(Ordering::Relaxed)), (Err(LookupError::NotFound), 2));
        advance(MILLISECOND).await;
        assert_eq!((get().await, asked.load(Ordering::Relaxed)), (Err(LookupError::NotFound), 3));
    }

    #[tokio::test(start_paused = true)]
    async fn few_are_asked_at_once_and_nobody_waits_long() {
        let (lookups, asking) = (lookups(), Arc::new(AtomicUsize::new(0)));
        let get = |key| {
            lookups.get(key, || {
                let asking = Arc::clone(&asking);
                async move {
                    asking.fetch_add(1, Ordering::Relaxed);
                    pending().await
                }
            })
        };
        let began = Instant::now();
        let answers = join_all((0..100).map(get)).await;
        assert_eq!(answers, [Err(LookupError::Unavailable); 100]);
        assert_eq!((asking.load(Ordering::Relaxed), began.elapsed().as_secs()), (MAX_QUESTIONS, 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_question_outlives_whoever_asked_first() {
        let lookups = lookups();
        let ask = || async {
            sleep(100 * MILLISECOND).await;
            Ok(7)
        };
        assert!(timeout(MILLISECOND, lookups.get(1, ask)).await.is_err());
        sleep(200 * MILLISECOND).await;
        assert_eq!(lookups.get(1, || async { Ok(8) }).await, Ok(7));
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_an_end_to_what_is_remembered_and_asked() {
        let lookups = lookups();
        for key in 0..MAX_REMEMBERED {
            assert_eq!(lookups.get(key, || async { Ok(0) }).await, Ok(0));
        }
        assert_eq!(lookups.get(MAX_REMEMBERED, || async { Ok(1) }).await, Ok(1), "answers make room");
        let flood = join_all((0..MAX_REMEMBERED + 10).map(|key| lookups.get(key, pending)));
        let asked = Instant::now();
        let answers = flood.await;
        assert_eq!(answers, [Err(LookupError::Unavailable); MAX_REMEMBERED + 10]);
        assert_eq!((asked.elapsed().as_secs(), lock(&lookups.questions).len()), (2, MAX_REMEMBERED));
    }

    #[tokio::test]
    async fn a_question_that_panics_has_no_answer_and_may_be_asked_again() {
        let lookups = lookups();
        assert_eq!(lookups.get(1, || async { panic!("a bug") }).await, Err(LookupError::Unavailable));
        assert_eq!(lookups.get(1, || async { Ok(1) }).await, Ok(1));
    }
}
