//! Answers for an upstream that is told by `Impersonate-*`, with a credential of ours.

use super::*;
use crate::identity::{Extra, Groups};
use crate::impersonation::{Impersonation, UpstreamToken};

fn impersonating(token: &str) -> ReplyConfig {
    let headers = IdentityHeaders {
        user: "impersonate-user".into(),
        uid: "impersonate-uid".into(),
        group: "impersonate-group".into(),
        extra_prefix: "impersonate-extra-".into(),
    };
    let token = UpstreamToken::new(token.as_bytes()).unwrap();
    let impersonation = Some(Impersonation { token, reviews: None });
    ReplyConfig { headers, impersonation, ..config(GroupsEncoding::Metadata) }
}

const GUARD: (&str, &str) = ("impersonate-group", "system:unauthenticated");
const OURS: (&str, &str) = ("authorization", "Bearer ours");
const REMOVED: [&str; 3] = ["x-remote-group", "x-remote-uid", "x-remote-user"];

/// The client's credential is overwritten with ours, and with it goes a user, always. Groups and extras are in the metadata.
#[test]
fn our_credential_goes_with_an_identity_in_one_answer() {
    let sent: [(&[u8], &[u8]); 3] =
        [(b"authorization", b"Bearer theirs"), (b"x-remote-user", b"evil"), (b"accept", b"*/*")];
    let user = ("impersonate-user", "alice");
    assert_eq!(
        changes(impersonating("ours"), &alice(), &sent),
        expected(&[user, ("impersonate-uid", "1"), GUARD, OURS], &REMOVED)
    );
    let bob = identity("bob", "", &[], &[]);
    let set = [("impersonate-user", "bob"), GUARD, OURS];
    assert_eq!(
        changes(impersonating("ours"), &bob, &[]),
        expected(&set, &["impersonate-uid", REMOVED[0], REMOVED[1], REMOVED[2]])
    );
    let anonymous = Authenticated::new(Arc::new(Identity::anonymous()), Authenticator::Anonymous);
    let (set, _) =
        changes(impersonating("ours"), &anonymous, &[]).expect("the cluster decides what anonymous may do");
    assert_eq!(set[0], ("impersonate-user".to_owned(), "system:anonymous".to_owned()));

    let reply = Replies::new(impersonating("ours"), BOTH, &[]).allow(&alice(), &request(&[])).expect("safe");
    let remote = Replies::new(config(GroupsEncoding::Metadata), BOTH, &[])
        .allow(&alice(), &request(&[]))
        .expect("safe");
    assert_eq!(message(&reply).dynamic_metadata, message(&remote).dynamic_metadata);
}

/// What a client that may impersonate has sent is overwritten or removed: the Lua filter writes what has been allowed.
#[test]
fn headers_of_a_client_that_may_impersonate_do_not_go_on() {
    let sent: [(&[u8], &[u8]); 5] = [
        (b"Impersonate-User", b"bob"),
        (b"impersonate-group", b"a"),
        (b"impersonate-group", b"b"),
        (b"Impersonate-Extra-Scopes", b"x"),
        (b"impersonate-uid", b"7"),
    ];
    let (_, removed) =
        changes(impersonating("ours"), &identity("bob", "", &["a", "b"], &[]), &sent).expect("safe");
    assert_eq!(removed, ["impersonate-uid", REMOVED[0], REMOVED[1], REMOVED[2], "impersonate-extra-scopes"]);
}

/// kube-apiserver would make another user of these, or no user at all.
#[test]
fn who_would_be_somebody_else_upstream_is_denied() {
    for who in [
        identity("system:anonymous", "", &["dev"], &[]),
        identity("system:anonymous", "", &[], &[]),
        identity("", "1", &["dev"], &[]),
        identity("a\nb", "", &[], &[]),
        identity("a", "1\r", &[], &[]),
        identity("a", "", &["g\0"], &[]),
        identity("a", "", &[" g"], &[]),
        identity("a", "", &[], &[("k", &["v\u{7f}"])]),
        identity("a", "", &[], &[("k\0", &["v"])]),
    ] {
        assert_eq!(changes(impersonating("ours"), &who, &[]), Err(Reason::UnsafeIdentityValue), "{who:?}");
    }
    for who in [
        identity("system:anonymous", "", &["dev", "system:unauthenticated"], &[]),
        identity("a", "", &["", "a,b", "größe", "system:masters"], &[("Key", &["a"]), ("key", &["", "b,c"])]),
    ] {
        assert!(changes(impersonating("ours"), &who, &[]).is_ok(), "{who:?}");
    }
}

/// Envoy counts our credential, and theirs no more.
#[test]
fn our_credential_counts_among_envoys_limits() {
    let who = identity("u", "", &[], &[]);
    let sent: Vec<(Vec<u8>, Vec<u8>)> =
        (0..97).map(|n| (format!("h{n}").into_bytes(), b"v".to_vec())).collect();
    let mut sent: Vec<(&[u8], &[u8])> = sent.iter().map(|(n, v)| (&**n, &**v)).collect();
    sent.push((b"authorization", b"Bearer theirs"));
    assert_eq!(changes(impersonating("ours"), &who, &sent).map(|(set, _)| set.len()), Ok(3));
    sent.push((b"one", b"more"));
    assert_eq!(changes(impersonating("ours"), &who, &sent), Err(Reason::IdentityTooLarge));
    let limits = ReplyConfig { max_headers_bytes: 8000, ..impersonating(&"x".repeat(8000)) };
    assert_eq!(changes(limits, &who, &[]), Err(Reason::IdentityTooLarge));
}

/// A user who has been here before costs nothing, and with a new token is told of with that one.
#[test]
fn a_reply_with_our_credential_is_kept_and_goes_with_it() {
    let who = alice();
    let old = Replies::new(impersonating("old-token"), BOTH, &[]);
    let plain: [(&[u8], &[u8]); 1] = [(b"authorization", b"Bearer theirs")];
    let request = request(&plain);
    let ask = |replies: &Replies| {
        let mut reply = None;
        let counted = allocation_counter::measure(|| reply = Some(replies.allow(&who, &request).unwrap()));
        (counted.count_total, reply.unwrap())
    };
    let [first, second, third] = [ask(&old), ask(&old), ask(&old)];
    assert!(first.0 > 0 && third.0 == 0, "{} {}", first.0, third.0);
    assert_eq!(second.1.as_bytes(), third.1.as_bytes());
    let contains =
        |reply: &Reply, token: &str| reply.as_bytes().windows(token.len()).any(|w| w == token.as_bytes());
    let (_, new) = ask(&Replies::new(impersonating("new-token"), BOTH, &[]));
    assert!(contains(&third.1, "Bearer old-token") && !contains(&third.1, "new-token"));
    assert!(contains(&new, "Bearer new-token") && !contains(&new, "old-token"));
}

#[test]
fn our_credential_is_in_no_debug_output() {
    let who = Authenticated::new(
        Arc::new(Identity::new("alice", "", Groups::default(), Extra::default())),
        Authenticator::TokenFile,
    );
    let replies = Replies::new(impersonating("hunter2"), BOTH, &[]);
    let reply = replies.allow(&who, &request(&[])).expect("safe");
    let shown = format!("{replies:?} {reply:?} {:?} {who:?}", replies.prepare(&who.identity));
    assert!(!shown.contains("hunter2") && shown.contains("UpstreamToken(..)"), "{shown}");
    // As bytes in a list.
    assert!(!shown.contains("104, 117, 110, 116"), "{shown}");
}
