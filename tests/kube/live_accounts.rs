//! Service account tokens whose objects are in a real cluster. countersign may do no more than `deploy/kubernetes/rbac.yaml` lets it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::live::{Live, live_vectors, recorded_objects, verdict};
use super::support::tokens::{ServiceAccounts, tokens};
use super::vectors::{Scenario, data, scenarios};

/// The scenarios in which service account tokens that count were recorded.
const SCENARIOS: [&str; 6] = ["authn-b", "chain", "serviceaccount", "serviceaccount-nolookup", "webhook-v1", "x509"];

/// Every recorded verdict on a service account token, whatever it depends on, with the objects that it was recorded with.
#[tokio::test]
async fn recorded_service_account_tokens_get_the_verdicts_of_kube_apiserver() {
    let live = Live::start(&recorded_objects(), &[]).await;
    let (mut problems, mut counts) = (Vec::new(), BTreeMap::<(String, String), usize>::new());
    for Scenario { name, flags, vectors, .. } in scenarios() {
        if !SCENARIOS.contains(&&*name) {
            continue;
        }
        let accounts = ServiceAccounts::of(&flags);
        // Nobody needs to be there for these tokens.
        let flags: Vec<&str> =
            flags.iter().map(String::as_str).filter(|flag| !flag.starts_with("--authentication-token-webhook")).collect();
        let server = live.subject(&data("world"), &flags).await;
        for vector in vectors {
            let request = vector.request.request();
            if !tokens(&request).iter().any(|token| accounts.issued(token)) {
                continue;
            }
            let (theirs, ours) = (vector.theirs(), verdict(&server, &request).await);
            if theirs != ours {
                problems.push(format!("{}: theirs {theirs}, ours {ours}", vector.id));
            }
            *counts.entry((name.clone(), vector.class)).or_default() += 1;
        }
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    println!("{} agree: {counts:?}", counts.values().sum::<usize>());
    for name in SCENARIOS {
        for (class, awaited) in live_vectors(name).into_iter().filter(|(class, _)| class != "bootstrap") {
            let replayed = counts.get(&(name.to_owned(), class.clone())).copied().unwrap_or_default();
            assert!(replayed >= awaited, "{name} {class}: {replayed} of {awaited}");
        }
    }
}
