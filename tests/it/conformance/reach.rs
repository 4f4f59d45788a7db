//! Which vectors say something about the flags that countersign understands.
//!
//! A scenario is run without the flags that countersign does not know yet. That is fair to a vector only if none of them could have
//! seen a credential in it; every other vector is awaited. One whose verdict depends on live objects is replayed by tests/kube, in a
//! cluster.

use std::fs;

use super::service_accounts::{OFFLINE, needs_live_objects};
use super::vectors::{Scenario, Vector, data};
use crate::support::envoy::Request;
use crate::support::tokens::{ServiceAccounts, tokens};

/// A scenario's flags, parted into what countersign is started with and what is left out.
pub(super) struct Reach {
    pub(super) flags: Vec<String>,
    left_out: Vec<Family>,
    token_file: String,
    service_accounts: ServiceAccounts,
}

/// What can be said of a vector.
pub(super) enum Reached {
    /// countersign has to give the same verdict.
    InReach(Request),
    /// A service account token: the verdict depends on live objects.
    LiveObjects(Request),
    /// A bootstrap token: the verdict depends on live objects, and on nothing that countersign does not know.
    InACluster,
    /// A flag that was left out may have seen a credential.
    LeftOut,
}

/// Flags that serve the same kind of credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    Bootstrap,
    Unknown,
}

impl Reach {
    pub(super) fn of(scenario: &Scenario) -> Self {
        let (mut flags, mut left_out) = (Vec::new(), Vec::new());
        for flag in &scenario.flags {
            match family(flag) {
                None => flags.push(flag.clone()),
                Some(family) => left_out.push(family),
            }
        }
        let token_file = flags.iter().find_map(|flag| flag.strip_prefix("--token-auth-file="));
        let token_file = token_file.map(|path| fs::read_to_string(data("world").join(path)).unwrap());
        let service_accounts = ServiceAccounts::of(&flags);
        flags.push(OFFLINE.into());
        Self { flags, left_out, token_file: token_file.unwrap_or_default(), service_accounts }
    }

    pub(super) fn of_vector(&self, vector: &Vector) -> Reached {
        let request = vector.request.request();
        match self.left_out(&request)[..] {
            [] => {}
            [Family::Bootstrap] => return Reached::InACluster,
            _ => return Reached::LeftOut,
        }
        let tokens = tokens(&request);
        let mut of_accounts = tokens.iter().filter(|token| !self.in_token_file(token));
        let of_accounts: Vec<_> = of_accounts.by_ref().filter(|t| self.service_accounts.issued(t)).collect();
        match !of_accounts.is_empty() && needs_live_objects(vector, &of_accounts) {
            true => Reached::LiveObjects(request),
            false => Reached::InReach(request),
        }
    }

    /// Whether a flag that is left out could see a credential in the request.
    pub(super) fn is_left_out(&self, request: &Request) -> bool {
        !self.left_out(request).is_empty()
    }

    fn left_out(&self, request: &Request) -> Vec<Family> {
        let tokens = tokens(request);
        // The token file is asked first, and a service account's token is nobody else's.
        let known = |token: &String| self.in_token_file(token) || self.service_accounts.issued(token);
        let others: Vec<_> = tokens.iter().filter(|token| !known(token)).collect();
        let sees = |family: &Family| match family {
            Family::Bootstrap => others.iter().any(|token| is_bootstrap_token(token)),
            Family::Unknown => true,
        };
        self.left_out.iter().copied().filter(sees).collect()
    }

    fn in_token_file(&self, token: &str) -> bool {
        self.token_file.lines().any(|line| line.split(',').next() == Some(token))
    }
}

/// Flags that countersign understands.
const UNDERSTOOD: [&str; 5] = [
    "--token-auth-file",
    "--anonymous-auth",
    "--api-audiences",
    "--authentication-config",
    "--client-ca-file",
];
/// Understood, but nothing without a cluster.
const BOOTSTRAP: &str = "--enable-bootstrap-token-auth";
const UNDERSTOOD_PREFIXES: [&str; 4] =
    ["--oidc-", "--requestheader-", "--service-account-", "--authentication-token-webhook-"];

/// Whether a flag is understood, with the file that it names.
pub(super) fn is_understood(flag: &str) -> bool {
    matches!(family(flag), None | Some(Family::Bootstrap))
}

/// The family of a flag that is left out; none for a flag that countersign understands.
fn family(flag: &str) -> Option<Family> {
    let name = flag.split('=').next().unwrap();
    match name {
        BOOTSTRAP => Some(Family::Bootstrap),
        _ if UNDERSTOOD.contains(&name) || UNDERSTOOD_PREFIXES.iter().any(|p| name.starts_with(p)) => None,
        _ => Some(Family::Unknown),
    }
}

/// Whether a token is of the form of bootstrap tokens. Go: `BootstrapTokenPattern`.
fn is_bootstrap_token(token: &str) -> bool {
    let of = |text: &str, length| {
        text.len() == length && text.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
    };
    token.split_once('.').is_some_and(|(id, secret)| of(id, 6) && of(secret, 16))
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    use super::*;
    use crate::conformance::vectors::scenarios;

    fn chain() -> Reach {
        Reach::of(scenarios().iter().find(|scenario| scenario.name == "chain").unwrap())
    }

    fn is_reached(reach: &Reach, headers: serde_json::Value, pem: serde_json::Value) -> bool {
        let request = json!({"method": "GET", "path": "/", "headers": headers, "client_cert_chain_pem": pem});
        let refused = json!({"authenticated": false, "user": null});
        let vector = json!({"id": "v", "class": "c", "request": request, "expect": refused});
        matches!(reach.of_vector(&serde_json::from_value(vector).unwrap()), Reached::InReach(_))
    }

    fn reached(headers: &[(&str, &str)], client_cert: Option<&str>) -> bool {
        let pem = client_cert.map(|_| ["-----BEGIN CERTIFICATE-----\n"]);
        is_reached(&chain(), json!(headers), json!(pem))
    }

    #[test]
    fn a_request_without_credentials_is_in_reach() {
        assert!(reached(&[], None));
        assert!(reached(&[("X-Remote-User", "u")], None), "nobody reads these without a certificate");
    }

    #[test]
    fn a_request_with_a_client_certificate_is_in_reach() {
        assert!(reached(&[], Some("alice")));
    }

    #[test]
    fn a_token_of_the_token_file_is_in_reach_whatever_it_looks_like() {
        assert!(reached(&[("Authorization", "Bearer csv.jwt.like")], None));
        assert!(reached(&[("Authorization", "Bearer csvdup.0123456789abcdef")], None));
        assert!(reached(&[("Authorization", "Bearer wh-ok")], None));
    }

    #[test]
    fn a_token_that_somebody_left_out_may_know_is_awaited() {
        let bootstrap = "valid1.0123456789abcdef";
        assert!(!reached(&[("Authorization", &format!("Bearer {bootstrap}"))], None));
        let second = [("Authorization", "Bearer csv-dev"), ("Authorization", &format!("Bearer {bootstrap}"))];
        assert!(!reached(&second, None), "the second");
        let protocols = format!(
            "base64url.bearer.authorization.k8s.io.{}, v4.channel.k8s.io",
            URL_SAFE_NO_PAD.encode(bootstrap)
        );
        assert!(!reached(&[("Sec-WebSocket-Protocol", &protocols)], None), "in a subprotocol");
    }

    #[test]
    fn a_token_of_another_issuer_is_in_reach() {
        // {"iss":"https://127.0.0.1:21441/legacy"}
        let token = "a.eyJpc3MiOiJodHRwczovLzEyNy4wLjAuMToyMTQ0MS9sZWdhY3kifQ.c";
        assert!(reached(&[("Authorization", &format!("Bearer {token}"))], None));
        assert!(reached(&[("Authorization", "Bearer a.b.c")], None), "nobody's");
        assert!(reached(&[("Authorization", "Bearer VALID1.0123456789abcdef")], None), "no bootstrap token");
    }

    #[test]
    fn a_token_that_nobody_knows_is_in_reach() {
        assert!(reached(&[("Authorization", "Bearer nope")], None));
    }

    #[test]
    fn a_flag_that_the_rule_does_not_know_puts_everything_out_of_reach() {
        let scenario = Scenario {
            name: "new".into(),
            flags: vec!["--new-credentials=x".into()],
            probes: Vec::new(),
            vectors: Vec::new(),
        };
        assert!(!is_reached(&Reach::of(&scenario), json!([]), json!(null)));
    }
}
