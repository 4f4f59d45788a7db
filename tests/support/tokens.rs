//! The bearer tokens in a request, and whose they are.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value as Json;

use super::envoy::Request;
use super::verdict::WEBSOCKET_TOKEN;

/// Everything in a request that any reader might take for a bearer token, rather too much than too little.
pub(crate) fn tokens(request: &Request) -> BTreeSet<String> {
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

/// Of all service account tokens that are in Secrets, in whatever cluster.
pub(crate) const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";

/// The issuers of a scenario's service account tokens.
pub(crate) struct ServiceAccounts(BTreeSet<String>);

impl ServiceAccounts {
    pub(crate) fn of(flags: &[String]) -> Self {
        let issuers = flags.iter().filter_map(|flag| flag.strip_prefix("--service-account-issuer="));
        Self(issuers.chain([LEGACY_ISSUER]).map(str::to_owned).collect())
    }

    /// Whether a token is one of these issuers', so that nobody else has an opinion about it.
    pub(crate) fn issued(&self, token: &str) -> bool {
        claims(token)
            .is_some_and(|claims| claims["iss"].as_str().is_some_and(|issuer| self.0.contains(issuer)))
    }
}

/// The payload of a token.
pub(crate) fn claims(token: &str) -> Option<Json> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_str(&String::from_utf8_lossy(&payload)).ok()
}

#[test]
fn a_token_is_of_the_issuers_that_the_flags_name_and_of_the_legacy_one() {
    let token = |claims: Json| format!("e30.{}.sig", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let accounts = ServiceAccounts::of(&["--service-account-issuer=a".to_owned()]);
    for issuer in ["a", LEGACY_ISSUER] {
        assert!(accounts.issued(&token(serde_json::json!({"iss": issuer}))), "{issuer}");
    }
    for other in [
        token(serde_json::json!({"iss": "b"})),
        token(serde_json::json!({})),
        "a.b.c".into(),
        "abcdef.0123".into(),
    ] {
        assert!(!accounts.issued(&other), "{other}");
    }
}
