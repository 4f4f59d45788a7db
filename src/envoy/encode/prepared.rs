//! Replies that are made once for an identity, and kept with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::Reply;
use super::headers::Line;

use crate::decision::Reason;
use crate::identity::Identity;

/// What is the same for all requests of an identity.
#[derive(Debug)]
pub(super) struct Prepared {
    /// How many lines carry the identity.
    pub(super) count: usize,
    /// The bytes of their names and values.
    pub(super) bytes: usize,
    /// Which names that are removed otherwise are among theirs: see `Scrub::set_places`.
    pub(super) set_places: u64,
    /// The reply, if nothing is removed but what is removed of every request.
    pub(super) reply: Reply,
}

impl Prepared {
    /// What `reply` sets in these lines.
    pub(super) fn new(set: &[Line<'_>], set_places: u64, reply: Reply) -> Self {
        Self {
            set_places,
            count: set.len(),
            bytes: set.iter().map(|(name, value)| name.len() + value.len()).sum(),
            reply,
        }
    }
}

/// How many replies of one configuration are kept, and those of whom. A clone gives out the same.
#[derive(Debug, Clone)]
pub(super) struct PreparedReplies {
    /// The same one for all who say identities alike.
    whose: Arc<()>,
    count: Arc<AtomicUsize>,
    most: usize,
}

/// A reply that is kept with an identity, and whose it is.
struct Kept {
    whose: Arc<()>,
    count: Arc<AtomicUsize>,
    prepared: Result<Prepared, Reason>,
}

impl Drop for Kept {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One that is kept, or one that has just been made.
pub(super) enum Preparation<'a> {
    Kept(&'a Result<Prepared, Reason>),
    Made(Result<Prepared, Reason>),
}

impl Preparation<'_> {
    pub(super) fn get(&self) -> &Result<Prepared, Reason> {
        match self {
            Self::Kept(prepared) => prepared,
            Self::Made(prepared) => prepared,
        }
    }

    /// The reply, if there is one.
    pub(super) fn into_reply(self) -> Result<Reply, Reason> {
        match self {
            Self::Kept(prepared) => {
                prepared.as_ref().map(|prepared| prepared.reply.clone()).map_err(|reason| *reason)
            }
            Self::Made(prepared) => prepared.map(|prepared| prepared.reply),
        }
    }
}

impl PreparedReplies {
    /// No more than `most` are kept at a time: they go when their identities go.
    pub(super) fn new(most: usize) -> Self {
        Self { whose: Arc::default(), count: Arc::default(), most }
    }

    /// Those of somebody who says identities in another way. They count with these.
    pub(super) fn others(&self) -> Self {
        Self { whose: Arc::default(), ..self.clone() }
    }

    /// The one that is kept with `identity`, or a new one, which is kept from the second time on: many tokens are seen once, or in a cache
    /// that soon forgets them. An identity that has outlived the configuration which answered it first keeps that one's replies, which
    /// are no good for this one.
    pub(super) fn of<'a>(
        &self,
        identity: &'a Identity,
        make: impl Fn() -> Result<Prepared, Reason>,
    ) -> Preparation<'a> {
        let ours = |kept: &'a Kept| Arc::ptr_eq(&kept.whose, &self.whose).then_some(&kept.prepared);
        match identity.memo.get() {
            Some(kept) => match ours(kept) {
                Some(prepared) => Preparation::Kept(prepared),
                None => Preparation::Made(make()),
            },
            None if !identity.memo.is_used_again() => Preparation::Made(make()),
            None if self.count.fetch_add(1, Ordering::Relaxed) < self.most => {
                let (whose, count) = (Arc::clone(&self.whose), Arc::clone(&self.count));
                let kept = Kept { whose, count, prepared: make() };
                // Somebody else may have been faster.
                match identity.memo.keep(kept).and_then(ours) {
                    Some(prepared) => Preparation::Kept(prepared),
                    None => Preparation::Made(make()),
                }
            }
            None => {
                self.count.fetch_sub(1, Ordering::Relaxed);
                Preparation::Made(make())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::{Extra, Groups};

    fn seen_once() -> Identity {
        Identity::new("alice", "", Groups::default(), Extra::default())
    }

    /// Somebody who has been here before.
    fn alice() -> Identity {
        let identity = seen_once();
        identity.memo.is_used_again();
        identity
    }

    fn prepared(text: &'static str) -> Result<Prepared, Reason> {
        Ok(Prepared::new(&[], 0, Reply::plain(text.as_bytes())))
    }

    fn ask(replies: &PreparedReplies, identity: &Identity, text: &'static str) -> (bool, Vec<u8>) {
        let preparation = replies.of(identity, || prepared(text));
        let reply = preparation.get().as_ref().unwrap().reply.as_bytes().to_vec();
        (matches!(preparation, Preparation::Kept(_)), reply)
    }

    #[test]
    fn a_reply_is_kept_for_the_configuration_that_made_it_and_no_other() {
        let (old, new) = (PreparedReplies::new(10), PreparedReplies::new(10));
        let identity = alice();
        assert_eq!(ask(&old, &identity, "a"), (true, b"a".to_vec()));
        assert_eq!(ask(&old, &identity, "b"), (true, b"a".to_vec()), "kept");
        assert_eq!(ask(&new, &identity, "c"), (false, b"c".to_vec()), "not the old one's");
        let copy = identity.clone();
        assert_eq!(ask(&new, &copy, "d"), (false, b"d".to_vec()), "a copy begins empty");
        assert_eq!((copy, ask(&old, &identity, "e")), (alice(), (true, b"a".to_vec())));
    }

    #[test]
    fn a_reply_is_kept_from_the_second_time_on() {
        let (replies, identity) = (PreparedReplies::new(1), seen_once());
        assert_eq!(ask(&replies, &identity, "a"), (false, b"a".to_vec()));
        assert_eq!(ask(&replies, &identity, "b"), (true, b"b".to_vec()));
        assert_eq!(ask(&replies, &identity, "c"), (true, b"b".to_vec()));
    }

    /// S17: an identity of the token file, say, is one and the same on all routes.
    #[test]
    fn profiles_that_say_an_identity_in_other_ways_share_no_reply_but_the_room() {
        let default = PreparedReplies::new(2);
        let (same, other) = (default.clone(), default.others());
        let identity = alice();
        assert_eq!(ask(&default, &identity, "a"), (true, b"a".to_vec()));
        assert_eq!(ask(&other, &identity, "b"), (false, b"b".to_vec()));
        assert_eq!(ask(&same, &identity, "c"), (true, b"a".to_vec()));
        let second = alice();
        assert_eq!(ask(&other, &second, "d"), (true, b"d".to_vec()));
        assert_eq!(ask(&default, &second, "e"), (false, b"e".to_vec()));
        let third = alice();
        assert_eq!(ask(&other, &third, "f"), (false, b"f".to_vec()), "two are kept already");
    }

    #[test]
    fn no_more_are_kept_than_there_is_room_for_and_they_go_with_their_identities() {
        let replies = PreparedReplies::new(2);
        let (first, second, third) = (alice(), alice(), alice());
        assert!(ask(&replies, &first, "1").0 && ask(&replies, &second, "2").0);
        assert_eq!(ask(&replies, &third, "3"), (false, b"3".to_vec()));
        assert_eq!(replies.count.load(Ordering::Relaxed), 2);
        drop(first);
        assert!(ask(&replies, &third, "4").0);
        assert_eq!(replies.count.load(Ordering::Relaxed), 2);
    }
}
