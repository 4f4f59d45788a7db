//! The recorded verdicts of a real kube-apiserver (tests/conformance), as far as they depend on certificates alone.

#![allow(clippy::disallowed_methods, reason = "a test reads its vectors")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::pem::Blocks;
use super::testing::{Draft, ca, draft, key};
use super::{CertPool, Certificate, Invalid, ParseError, Role, SignatureError, VerifyError, verify};

/// 2026-06-01: what is meant to be valid is so from 2020 to 2090, what is meant to have expired did so in 2021.
fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_780_272_000)
}

fn conformance() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
}

fn pool(name: &str) -> CertPool {
    let path = conformance().join("world/ca").join(name);
    CertPool::from_pem(&fs::read(&path).unwrap())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A request with a certificate, and what the apiserver said.
struct Case {
    id: String,
    chain: Result<Vec<Certificate>, ParseError>,
    headers: Vec<String>,
    user: Option<Value>,
    error_code: String,
    why: String,
}

fn cases(scenario: &str) -> Vec<Case> {
    let path = conformance().join("scenarios").join(scenario).join("cases.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let cases = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    cases
        .filter_map(|case| {
            let pems = case["request"]["client_cert_chain_pem"].as_array().filter(|pems| !pems.is_empty())?;
            let text_of = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let chain = pems.iter().map(|pem| {
                let pem = pem.as_str().unwrap().as_bytes();
                Certificate::parse(&Blocks::of(pem).next().unwrap().content).map(Certificate::kept)
            });
            Some(Case {
                id: text_of(&case["id"]),
                chain: chain.collect(),
                headers: case["request"]["headers"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .map(|pair| text_of(&pair[1]))
                    .collect(),
                user: Some(case["expect"]["user"].clone()).filter(|user| !user.is_null()),
                error_code: text_of(&case["expect"]["error_code"]),
                why: text_of(&case["why"]),
            })
        })
        .collect()
}

/// What Go says for an error of ours.
fn in_go(error: &VerifyError) -> &'static str {
    match error {
        VerifyError::Invalid { reason, .. } => match reason {
            Invalid::UnhandledCriticalExtension => "x509: unhandled critical extension",
            Invalid::NameMismatch => "x509: issuer name does not match subject from issuing certificate",
            Invalid::NotYetValid => {
                "x509: certificate has expired or is not yet valid: current time <time> is before <time>"
            }
            Invalid::Expired => {
                "x509: certificate has expired or is not yet valid: current time <time> is after <time>"
            }
            Invalid::NotAuthorizedToSign => "x509: certificate is not authorized to sign other certificates",
            Invalid::TooManyIntermediates => "x509: too many intermediates for path length constraint",
        },
        VerifyError::UnknownAuthority { candidate: None } => "x509: certificate signed by unknown authority",
        VerifyError::UnknownAuthority { candidate: Some((_, reason)) } => match reason {
            SignatureError::ParentCannotSign => {
                "unknown authority (possibly because of \"x509: invalid signature: parent certificate cannot sign this \
                 kind of certificate\""
            }
            SignatureError::InsecureAlgorithm => {
                "unknown authority (possibly because of \"x509: cannot verify signature: insecure algorithm"
            }
            SignatureError::Wrong => {
                "unknown authority (possibly because of \"crypto/rsa: verification error\""
            }
            _ => "a reason that no vector has",
        },
        VerifyError::Policies => "x509: no valid chains built: 1 candidate chains with invalid policies",
        VerifyError::KeyUsage => "x509: certificate specifies an incompatible key usage",
        VerifyError::NameConstraints => {
            "x509: a root or intermediate certificate is not authorized to sign for this name"
        }
        VerifyError::SignatureLimit => "x509: signature check attempts limit reached",
        VerifyError::BeyondUs | VerifyError::TooManyCertificates => "(Go has no such limit)",
        VerifyError::Revoked { .. } | VerifyError::RevocationListExpired => "(Go asks no revocation list)",
    }
}

/// How many verdicts a scenario decides.
#[derive(Debug, Default, PartialEq, Eq)]
struct Count {
    unparsed: usize,
    accepted: usize,
    refused: usize,
}

impl Count {
    /// Compares with what Go said, or nothing.
    fn check(&mut self, case: &Case, verdict: Result<(), VerifyError>, go: Result<(), &str>) {
        match (verdict, go) {
            (Ok(()), Ok(())) => self.accepted += 1,
            (Err(error), Err(why)) => {
                assert!(why.contains(in_go(&error)), "{}: {error:?}, Go: {why}", case.id);
                self.refused += 1;
            }
            (verdict, go) => panic!("{}: {verdict:?}, Go: {go:?}", case.id),
        }
    }
}

/// Replays a scenario against its bundles, `--client-ca-file` and `--requestheader-client-ca-file`.
fn replay(scenario: &str, clients: Option<&str>, proxies: Option<&str>) -> Count {
    let clients = clients.map(pool);
    let proxies = proxies.map(pool);
    let mut count = Count::default();
    for case in cases(scenario) {
        let Ok([leaf, intermediates @ ..]) = case.chain.as_deref() else {
            assert_eq!(case.error_code, "tls", "{}: {:?}", case.id, case.chain);
            count.unparsed += 1;
            continue;
        };
        assert_ne!(case.error_code, "tls", "{}: {}", case.id, case.why);
        let against = |pool: &CertPool| {
            let verdict = verify(leaf, intermediates, pool, None, now());
            // What is known by now of those that are kept makes no difference.
            assert_eq!(verify(leaf, intermediates, pool, None, now()), verdict, "{}", case.id);
            verdict.map(|_| ())
        };
        let Some(user) = &case.user else {
            // Every authenticator had its turn. The front proxy's error comes first, without an introduction.
            let (before, client) = match case.why.split_once("verifying certificate ") {
                Some((before, client)) => (before, Err(client)),
                None => (&*case.why, Ok(())),
            };
            let proxy = match before.contains("x509: ") && !before.contains("x509: subject with cn=") {
                true => Err(before),
                false => Ok(()),
            };
            if let Some(pool) = &proxies {
                count.check(&case, against(pool), proxy);
            }
            if let Some(pool) = &clients {
                count.check(&case, against(pool), client);
            }
            continue;
        };
        let name = user["username"].as_str().unwrap();
        let credential =
            user["extra"]["authentication.kubernetes.io/credential-id"][0].as_str().unwrap_or_default();
        if credential.starts_with("X509SHA256=") {
            let organizations: Vec<Value> = leaf.organizations().iter().map(|o| o.as_str().into()).collect();
            let groups = user["groups"].as_array().unwrap();
            assert!(groups.starts_with(&organizations), "{}: {groups:?}", case.id);
            let uid = leaf.uids().first().map(String::as_str).unwrap_or_default();
            assert_eq!((leaf.common_name(), uid), (name, user["uid"].as_str().unwrap()), "{}", case.id);
            count.check(&case, against(clients.as_ref().unwrap()), Ok(()));
        } else if proxies.is_none() && name == "system:anonymous" {
            // No error, but no name either.
            assert_eq!(leaf.common_name(), "", "{}", case.id);
            count.check(&case, against(clients.as_ref().unwrap()), Ok(()));
        } else if let Some(pool) =
            proxies.as_ref().filter(|_| case.headers.iter().any(|value| value.trim() == name))
        {
            count.check(&case, against(pool), Ok(()));
        }
        // Anybody else came by a token, whatever the certificate is.
    }
    count
}

/// What is remembered of an intermediate is who has signed it, not what came of it.
#[test]
fn a_kept_intermediate_is_judged_anew_each_time() {
    let chain = [draft("leaf", "inter"), ca("inter", "root", None)];
    let [leaf, kept] = chain.map(|draft| draft.but(|d| d.validity[1] = (0x17, "300101000000Z")).build());
    let kept = [kept.kept()];
    let verdict = |leaf: &Certificate, root: &Draft, now| {
        let roots = [root.build()].into_iter().collect();
        verify(leaf, &kept, &roots, None, now).map(|verified| verified.chain.len())
    };
    let root = ca("root", "root", None);
    let stranger = |draft: &Draft| draft.clone().but(|draft| draft.key = key(b'x'));
    let unknown =
        |role| Err(VerifyError::UnknownAuthority { candidate: Some((role, SignatureError::Wrong)) });
    for _ in 0..2 {
        assert_eq!(verdict(&leaf, &root, now()), Ok(3));
        let expired = Err(VerifyError::Invalid { role: Role::Intermediate, reason: Invalid::Expired });
        let late = now() + Duration::from_secs(4 * 366 * 86_400);
        assert_eq!(verdict(&draft("leaf", "inter").build(), &root, late), expired);
        assert_eq!(verdict(&leaf, &stranger(&root), now()), unknown(Role::Root));
        let forged = draft("leaf", "inter").but(|draft| draft.signer = b'x').build();
        assert_eq!(verdict(&forged, &root, now()), unknown(Role::Intermediate));
        let narrow = ca("root", "root", Some(0));
        let expected = Err(VerifyError::Invalid { role: Role::Root, reason: Invalid::TooManyIntermediates });
        assert_eq!(verdict(&leaf, &narrow, now()), expected);
    }
}

/// The vectors of x509: names, uids, algorithms, validity, key usages, extensions, chains.
#[test]
fn certificates_get_the_verdict_that_a_real_apiserver_gave_them() {
    let count = replay("x509", Some("client-ca.pem"), None);
    assert_eq!(count, Count { unparsed: 9, accepted: 74, refused: 33 });
}

/// The vectors of x509-odd: trust anchors that are no CA's, expired, or the leaf itself.
#[test]
fn trust_anchors_are_checked_as_a_real_apiserver_checks_them() {
    let count = replay("x509-odd", Some("client-ca-odd.pem"), None);
    assert_eq!(count, Count { unparsed: 0, accepted: 7, refused: 6 });
}

/// The vectors of front proxies, whose authenticator asks first.
#[test]
fn front_proxies_get_the_verdict_that_a_real_apiserver_gave_them() {
    let open = replay("requestheader-open", None, Some("front-proxy-ca.pem"));
    assert_eq!(open, Count { unparsed: 0, accepted: 10, refused: 3 });
    let shared = replay("requestheader-shared", Some("shared-ca.pem"), Some("shared-ca.pem"));
    assert_eq!(shared, Count { unparsed: 0, accepted: 6, refused: 2 });
    let chain = replay("chain", Some("client-ca.pem"), Some("front-proxy-ca.pem"));
    assert_eq!(chain, Count { unparsed: 0, accepted: 52, refused: 17 });
}
