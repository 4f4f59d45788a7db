//! Which vectors say something about the flags that countersign understands.
//!
//! kube-apiserver insists on flags that countersign does not know yet, so a scenario is run without them. That is fair to a
//! vector only if none of the flags left out could have seen a credential in it; every other vector is awaited.

use std::collections::BTreeSet;
use std::fs;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::vectors::{Recorded, Scenario, data};
use crate::support::envoy::Request;
use crate::support::verdict::WEBSOCKET_TOKEN;

/// kube-apiserver cannot be without service account tokens, hence never without any token authenticator: a bearer token that
/// nobody knows is an error there. This token file, whose only token is in no vector, keeps that so.
pub(super) const STAND_IN: &str = "--token-auth-file=stand-in.csv";
pub(super) const STAND_IN_FILE: (&str, &str) =
    ("stand-in.csv", "1dd4a1c6-3b4e-47e5-96d0-25ab6ed7b3b1,nobody,nobody\n");

/// A scenario's flags, parted into what countersign is started with and what is left out.
pub(super) struct Reach {
    pub(super) flags: Vec<String>,
    left_out: Vec<Family>,
    token_file: String,
    /// Whose tokens are those of service accounts.
    service_account_issuers: Vec<String>,
    webhook: BTreeSet<String>,
}

/// Flags that serve the same kind of credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Family {
    ServiceAccount,
    Bootstrap,
    Webhook,
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
        if token_file.is_none() {
            flags.push(STAND_IN.into());
        }
        let named = scenario.flags.iter().filter_map(|flag| flag.strip_prefix("--service-account-issuer="));
        // And that of tokens in Secrets.
        let service_account_issuers = named.chain(["kubernetes/serviceaccount"]).map(str::to_owned).collect();
        Self {
            flags,
            left_out,
            token_file: token_file.unwrap_or_default(),
            service_account_issuers,
            webhook: webhook_tokens(),
        }
    }

    /// The request, if no flag that is left out could change what becomes of it.
    pub(super) fn request(&self, recorded: &Recorded) -> Option<Request> {
        let request = recorded.request()?;
        let tokens = tokens(&request);
        // The token file is asked first, so the tokens that it knows get no further.
        let others = tokens.iter().filter(|token| !self.in_token_file(token)).collect::<Vec<_>>();
        let sees = |family: &Family| match family {
            // They pass on what is not a compact JWT of one of their issuers.
            Family::ServiceAccount => others.iter().any(|token| self.is_of_service_account(token)),
            Family::Bootstrap => others.iter().any(|token| is_bootstrap_token(token)),
            // The recorded webhook knows the tokens of its table and says no to every other.
            Family::Webhook => others.iter().any(|token| self.webhook.contains(token.as_str())),
            Family::Unknown => true,
        };
        (!self.left_out.iter().any(sees)).then_some(request)
    }

    /// Whether a JWT may name one of these issuers, rather too often than too rarely.
    fn is_of_service_account(&self, token: &str) -> bool {
        let [_, payload, _] = token.split('.').collect::<Vec<_>>()[..] else { return false };
        let Ok(payload) = URL_SAFE_NO_PAD.decode(payload) else { return false };
        let issuers = &self.service_account_issuers;
        match serde_json::from_slice::<serde_json::Value>(&payload) {
            Ok(claims) => claims.as_object().is_some_and(|claims| {
                // Go finds a field in any case of letters, the long s among them.
                let mut named = claims.iter().filter(|(name, _)| name.to_uppercase() == "ISS");
                named.any(|(_, value)| issuers.iter().any(|issuer| value == issuer))
            }),
            Err(_) => {
                let text = String::from_utf8_lossy(&payload);
                issuers.iter().any(|issuer| text.contains(issuer.as_str()))
            }
        }
    }

    fn in_token_file(&self, token: &str) -> bool {
        self.token_file.lines().any(|line| line.split(',').next() == Some(token))
    }
}

/// The family of a flag that is left out; none for a flag that countersign understands.
fn family(flag: &str) -> Option<Family> {
    let name = flag.split('=').next().unwrap();
    match name {
        "--token-auth-file"
        | "--anonymous-auth"
        | "--api-audiences"
        | "--client-ca-file"
        | "--authentication-config" => None,
        "--enable-bootstrap-token-auth" => Some(Family::Bootstrap),
        _ if name.starts_with("--requestheader-") || name.starts_with("--oidc-") => None,
        _ if name.starts_with("--service-account-") => Some(Family::ServiceAccount),
        _ if name.starts_with("--authentication-token-webhook-") => Some(Family::Webhook),
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

/// Everything in a request that any reader might take for a bearer token, rather too much than too little.
fn tokens(request: &Request) -> BTreeSet<String> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let authorization = request.values("authorization").map(text).collect::<Vec<_>>().join(",");
    let words = authorization.split([' ', '\t', ',']).map(str::to_owned);
    let protocols = request.values("sec-websocket-protocol").map(text).collect::<Vec<_>>().join(",");
    let decode = |encoded| URL_SAFE_NO_PAD.decode(encoded).ok().map(|token| text(&token));
    let websocket = protocols
        .split(',')
        .filter_map(|protocol| protocol.trim().strip_prefix(WEBSOCKET_TOKEN).and_then(decode));
    words.chain(websocket).filter(|token| !token.is_empty()).collect()
}

fn webhook_tokens() -> BTreeSet<String> {
    let table = fs::read_to_string(data("world/webhook/table.json")).unwrap();
    let table: serde_json::Value = serde_json::from_str(&table).unwrap();
    table["tokens"].as_object().unwrap().keys().cloned().collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::conformance::vectors::scenarios;

    fn chain() -> Reach {
        Reach::of(scenarios().iter().find(|scenario| scenario.name == "chain").unwrap())
    }

    fn reached(headers: &[(&str, &str)], client_cert: Option<&str>) -> bool {
        let pem = client_cert.map(|_| ["-----BEGIN CERTIFICATE-----\n"]);
        let recorded =
            json!({"method": "GET", "path": "/", "headers": headers, "client_cert_chain_pem": pem});
        chain().request(&serde_json::from_value(recorded).unwrap()).is_some()
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
        // {"iss":"https://sa.oracle.test"}, {"Iſs":"kubernetes/serviceaccount"}, and the first cut off
        let [ours, legacy, broken] = [
            "a.eyJpc3MiOiJodHRwczovL3NhLm9yYWNsZS50ZXN0In0.c",
            "a.eyJJxb9zIjoia3ViZXJuZXRlcy9zZXJ2aWNlYWNjb3VudCJ9.c",
            "a.eyJpc3MiOiJodHRwczovL3NhLm9yYWNsZS50ZXN0Ig.c",
        ];
        for token in [ours, legacy, broken] {
            assert!(!reached(&[("Authorization", &format!("Bearer {token}"))], None), "{token}");
        }
        assert!(!reached(&[("Authorization", "Bearer valid1.0123456789abcdef")], None), "bootstrap");
        assert!(!reached(&[("Authorization", "Bearer wh-500")], None), "webhook");
        assert!(
            !reached(
                &[("Authorization", "Bearer csv-dev"), ("Authorization", &format!("Bearer {ours}"))],
                None
            ),
            "the second"
        );
        let protocols = format!(
            "base64url.bearer.authorization.k8s.io.{}, v4.channel.k8s.io",
            URL_SAFE_NO_PAD.encode(ours)
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
        let recorded = json!({"method": "GET", "path": "/", "headers": [], "client_cert_chain_pem": null});
        assert!(Reach::of(&scenario).request(&serde_json::from_value(recorded).unwrap()).is_none());
    }
}
