//! Service account tokens: which recorded verdicts depend on objects of the cluster, and what becomes of those while nobody looks
//! at them (`--service-account-lookup-mode=offline`).

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::reach::{Reach, Reached};
use super::vectors::{Vector, scenarios};
use super::{assert_none, world};
use crate::support::subject::Subject;
use crate::support::verdict::Verdict;

/// Ours alone: the operator's consent not to look.
pub(super) const OFFLINE: &str = "--service-account-lookup-mode=offline";

const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";

/// What a scenario's flags say about service accounts.
pub(super) struct ServiceAccounts {
    issuers: BTreeSet<String>,
    lookup: bool,
}

impl ServiceAccounts {
    pub(super) fn of(flags: &[String]) -> Self {
        let values = |name: &'static str| flags.iter().filter_map(move |flag| flag.strip_prefix(name));
        Self {
            issuers: values("--service-account-issuer=").chain([LEGACY_ISSUER]).map(str::to_owned).collect(),
            lookup: !values("--service-account-lookup=").any(|value| value == "false"),
        }
    }

    /// Whether a token is one of these issuers', so that nobody else has an opinion about it.
    pub(super) fn issued(&self, token: &str) -> bool {
        issuer(token).is_some_and(|issuer| self.issuers.contains(&issuer))
    }

    /// Whether a verdict on a request with such tokens depends on objects.
    pub(super) fn needs_live_objects(&self, vector: &Vector, tokens: &[&String]) -> bool {
        match vector.theirs() {
            Verdict::Authenticated(user) => {
                let looked_up =
                    |token: &&String| self.lookup || issuer(token).as_deref() != Some(LEGACY_ISSUER);
                user.username.starts_with("system:serviceaccount:") && tokens.iter().any(looked_up)
            }
            Verdict::Refused => {
                let says = |words: &[&str]| words.iter().any(|words| vector.why.contains(words));
                says(&ABOUT_OBJECTS) && !says(&ABOUT_NO_OBJECT)
            }
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

/// The `iss` of a token's payload.
fn issuer(token: &str) -> Option<String> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: serde_json::Value = serde_json::from_str(&String::from_utf8_lossy(&payload)).ok()?;
    Some(claims["iss"].as_str()?.to_owned())
}

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

/// kube-apiserver accepts these tokens, which never expire, because it has looked: bound tokens without `exp`, and legacy tokens.
const NEVER_EXPIRING: [&str; 9] = [
    "chain/serviceaccount/legacy",
    "serviceaccount/sa-json/case-exp",
    "serviceaccount/sa-legacy/auto",
    "serviceaccount/sa-legacy/invalidated-empty",
    "serviceaccount/sa-legacy/jti",
    "serviceaccount/sa-legacy/nokid",
    "serviceaccount/sa-legacy/other-sa-ref",
    "serviceaccount/sa-legacy/with-aud-ok",
    "serviceaccount/sa-time/no-exp",
];

/// Nobody looks at the objects, so a bound token counts as if all were well with them.
#[tokio::test]
async fn without_a_look_at_objects_a_token_counts_until_it_expires() {
    let (mut problems, mut unnoticed, mut never_expiring) = (Vec::new(), Vec::new(), Vec::new());
    let mut agreeing = 0;
    for scenario in scenarios() {
        let reach = Reach::of(&scenario);
        let live = |vector| match reach.of_vector(vector) {
            Reached::LiveObjects(request) => Some((vector, request)),
            Reached::InReach(_) | Reached::LeftOut => None,
        };
        let vectors: Vec<_> = scenario.vectors.iter().filter_map(live).collect();
        if vectors.is_empty() {
            continue;
        }
        let world = world();
        let mut server = Subject::start(world.path(), &reach.flags).await;
        for (vector, request) in vectors {
            let verdicts = server.verdicts(&request).await.into_iter().map(|(_, verdict)| verdict);
            let verdicts: Vec<Verdict> = verdicts.collect::<Result<_, _>>().unwrap();
            let (id, theirs, ours) = (&*vector.id, vector.theirs(), &verdicts[0]);
            assert!(verdicts.iter().all(|verdict| verdict == ours), "{id}: {verdicts:?}");
            match (&theirs, ours) {
                (Verdict::Refused, Verdict::Authenticated(_)) => unnoticed.push(id.to_owned()),
                (Verdict::Authenticated(_), Verdict::Refused) => never_expiring.push(id.to_owned()),
                _ if theirs == *ours => agreeing += 1,
                _ => problems.push(format!("{id}: theirs {theirs}, ours {ours}")),
            }
        }
    }
    unnoticed.sort();
    never_expiring.sort();
    assert_none(&problems);
    assert_eq!(unnoticed, UNNOTICED);
    assert_eq!(never_expiring, NEVER_EXPIRING);
    assert_eq!(agreeing, 65);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn token(issuer: &str) -> String {
        format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(json!({"iss": issuer}).to_string()))
    }

    fn depends(lookup: &str, issuer: &str, user: Option<&str>, why: &str) -> bool {
        let accounts = ServiceAccounts::of(&["--service-account-issuer=a".to_owned(), lookup.to_owned()]);
        let request = json!({"method": "GET", "path": "/", "headers": [], "client_cert_chain_pem": null});
        let user = user.map(|username| json!({"username": username}));
        let expect = json!({"authenticated": user.is_some(), "user": user});
        let vector = json!({"id": "v", "class": "c", "request": request, "expect": expect, "why": why});
        accounts.needs_live_objects(&serde_json::from_value(vector).unwrap(), &[&token(issuer)])
    }

    #[test]
    fn a_token_is_of_the_issuers_that_the_flags_name_and_of_the_legacy_one() {
        let accounts = ServiceAccounts::of(&["--service-account-issuer=a".to_owned()]);
        assert!(accounts.issued(&token("a")) && accounts.issued(&token(LEGACY_ISSUER)));
        assert!(
            !accounts.issued(&token("b")) && !accounts.issued("a.b.c") && !accounts.issued("abcdef.0123")
        );
    }

    #[test]
    fn a_token_that_was_accepted_was_looked_up_unless_it_is_a_legacy_one_without_lookup() {
        let account = Some("system:serviceaccount:ns:name");
        assert!(depends("", "a", account, ""));
        assert!(depends("", LEGACY_ISSUER, account, ""));
        assert!(depends("--service-account-lookup=false", "a", account, ""));
        assert!(!depends("--service-account-lookup=false", LEGACY_ISSUER, account, ""));
        assert!(!depends("", "a", Some("bob"), ""), "somebody's certificate");
    }

    #[test]
    fn a_refusal_depends_on_objects_if_it_says_so() {
        assert!(!depends("", "a", None, "[invalid bearer token, service account token has expired]"));
        assert!(depends("", "a", None, "[invalid bearer token, service account token has been invalidated]"));
        assert!(depends("", "a", None, "service account UID (x) does not match claim (y)"));
        assert!(
            !depends("", "a", None, "service account UID (x) does not match claim ()"),
            "no object has none"
        );
    }
}
