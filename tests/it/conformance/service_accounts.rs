//! Service account tokens: which recorded verdicts depend on objects of the cluster, and what becomes of those while nobody looks
//! at them (`--service-account-lookup-mode=offline`).

use serde_json::Value as Json;

use super::reach::{Reach, Reached};
use super::vectors::{Vector, scenarios};
use super::{assert_none, world};
use crate::support::subject::Subject;
use crate::support::tokens::{LEGACY_ISSUER, claims};
use crate::support::verdict::Verdict;

/// Ours alone: the operator's consent not to look.
pub(super) const OFFLINE: &str = "--service-account-lookup-mode=offline";

/// Whether a verdict on a request with such tokens depends on objects, at which countersign would have to look.
pub(super) fn needs_live_objects(vector: &Vector, tokens: &[&String]) -> bool {
    match vector.theirs() {
        Verdict::Authenticated(user) => {
            // Tokens that never expire are refused here whatever the objects are like, or accepted here and there without a look.
            let expires = |claims: Json| claims["iss"] != LEGACY_ISSUER && claims["exp"].is_number();
            user.username.starts_with("system:serviceaccount:")
                && tokens.iter().filter_map(|token| claims(token)).any(expires)
        }
        Verdict::Refused => {
            let says = |words: &[&str]| words.iter().any(|words| vector.why.contains(words));
            says(&ABOUT_OBJECTS) && !says(&ABOUT_NO_OBJECT)
        }
    }
}

/// What kube-apiserver says once it has looked at an object, or for one.
const ABOUT_OBJECTS: [&str; 7] = [
    "server's copy",
    "not found",
    "has been invalidated",
    "has been deleted",
    "has been marked invalid",
    "does not match claim",
    "ref claim (",
];
/// What it says if there can be no object of this name or uid.
const ABOUT_NO_OBJECT: [&str; 2] = ["resource name may not be empty", "claim ()"];

/// kube-apiserver refuses these bound tokens because of an object: it is gone, is being deleted, or has another uid than the token says.
/// This is what it costs not to look.
const UNNOTICED: [&str; 10] = [
    "serviceaccount-nolookup/sa-bound/gone",
    "serviceaccount/sa-bound/uid-case",
    "serviceaccount/sa-bound/wrong-uid",
    "serviceaccount/sa-node/gone",
    "serviceaccount/sa-node/terminating",
    "serviceaccount/sa-pod/with-secret-bad",
    "serviceaccount/sa-pod/wrong-uid",
    "serviceaccount/sa-secret/gone",
    "serviceaccount/sa-secret/terminating",
    "serviceaccount/sa-secret/wrong-uid",
];

/// Nobody looks at the objects, so a bound token counts as if all were well with them.
#[tokio::test]
async fn without_a_look_at_objects_a_token_counts_until_it_expires() {
    let (mut problems, mut unnoticed, mut agreeing) = (Vec::new(), Vec::new(), 0);
    for scenario in scenarios() {
        let reach = Reach::of(&scenario);
        let live = |vector| match reach.of_vector(vector) {
            Reached::LiveObjects(request) => Some((vector, request)),
            Reached::InReach(_) | Reached::InACluster | Reached::LeftOut => None,
        };
        let vectors: Vec<_> = scenario.vectors.iter().filter_map(live).collect();
        if vectors.is_empty() {
            continue;
        }
        let world = world();
        let server = Subject::start(world.path(), &reach.flags).await;
        for (vector, request) in vectors {
            let verdicts = server.verdicts(&request).await.into_iter().map(|(_, verdict)| verdict);
            let verdicts: Vec<Verdict> = verdicts.collect::<Result<_, _>>().unwrap();
            let (id, theirs, ours) = (&*vector.id, vector.theirs(), &verdicts[0]);
            assert!(verdicts.iter().all(|verdict| verdict == ours), "{id}: {verdicts:?}");
            match (&theirs, ours) {
                (Verdict::Refused, Verdict::Authenticated(_)) => unnoticed.push(id.to_owned()),
                _ if theirs == *ours => agreeing += 1,
                _ => problems.push(format!("{id}: theirs {theirs}, ours {ours}")),
            }
        }
    }
    unnoticed.sort();
    assert_none(&problems);
    assert_eq!(unnoticed, UNNOTICED);
    assert_eq!(agreeing, 66);
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::*;

    fn token(claims: Json) -> String {
        format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims.to_string()))
    }

    fn depends(token: String, user: Option<&str>, why: &str) -> bool {
        let request = json!({"method": "GET", "path": "/", "headers": [], "client_cert_chain_pem": null});
        let user = user.map(|username| json!({"username": username}));
        let expect = json!({"authenticated": user.is_some(), "user": user});
        let vector = json!({"id": "v", "class": "c", "request": request, "expect": expect, "why": why});
        needs_live_objects(&serde_json::from_value(vector).unwrap(), &[&token])
    }

    #[test]
    fn a_token_that_was_accepted_was_looked_up_if_it_can_be_accepted_without_a_look() {
        let account = Some("system:serviceaccount:ns:name");
        let bound = || token(json!({"iss": "a", "exp": 1}));
        assert!(depends(bound(), account, ""));
        assert!(!depends(bound(), Some("bob"), ""), "somebody's certificate");
        assert!(!depends(token(json!({"iss": "a"})), account, ""));
        assert!(!depends(token(json!({"iss": LEGACY_ISSUER, "exp": 1})), account, ""));
    }

    #[test]
    fn a_refusal_depends_on_objects_if_it_says_so() {
        let depends = |why| depends(token(json!({"iss": "a", "exp": 1})), None, why);
        assert!(!depends("[invalid bearer token, service account token has expired]"));
        assert!(depends("[invalid bearer token, service account token has been invalidated]"));
        assert!(depends("service account UID (x) does not match claim (y)"));
        assert!(!depends("service account UID (x) does not match claim ()"), "no object has none");
    }
}
