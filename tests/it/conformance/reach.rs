//! Which vectors say something about the flags that countersign understands.
//!
//! A scenario is run without the flags that countersign does not know yet. That is fair to a vector only if none of them could have
//! seen a credential in it; every other vector is awaited. So is one whose verdict depends on live objects of the cluster, which
//! countersign does not look at yet.

use std::collections::BTreeSet;
use std::fs;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::service_accounts::{OFFLINE, ServiceAccounts, needs_live_objects};
use super::vectors::{Scenario, Vector, data};
use crate::support::envoy::Request;
use crate::support::verdict::WEBSOCKET_TOKEN;

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
    /// The verdict depends on live objects.
    LiveObjects(Request),
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
        if self.is_left_out(&request) {
            return Reached::LeftOut;
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
        let tokens = tokens(request);
        // The token file is asked first, and a service account's token is nobody else's.
        let known = |token: &String| self.in_token_file(token) || self.service_accounts.issued(token);
        let others: Vec<_> = tokens.iter().filter(|token| !known(token)).collect();
        self.left_out.iter().any(|family| match family {
            Family::Bootstrap => others.iter().any(|token| is_bootstrap_token(token)),
            Family::Unknown => true,
        })
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
const UNDERSTOOD_PREFIXES: [&str; 4] =
    ["--oidc-", "--requestheader-", "--service-account-", "--authentication-token-webhook-"];

/// Whether a flag is understood, with the file that it names.
pub(super) fn is_understood(flag: &str) -> bool {
    family(flag).is_none()
}

/// The family of a flag that is left out; none for a flag that countersign understands.
fn family(flag: &str) -> Option<Family> {
    let name = flag.split('=').next().unwrap();
    match name {
        _ if UNDERSTOOD.contains(&name) || UNDERSTOOD_PREFIXES.iter().any(|p| name.starts_with(p)) => None,
        "--enable-bootstrap-token-auth" => Some(Family::Bootstrap),
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

#[cfg(test)]
mod tests {
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
