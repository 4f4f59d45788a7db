mod laws;

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};

use super::settings::{
    ClaimMappings, ClaimOrExpression, ExtraMapping, Issuer as IssuerSettings, ValidationRule,
};
use super::testing::{Issuer, key_set, sign, sign_under};
use super::*;
use crate::authn::token::TokenAuthenticator;
use crate::cel::{Expression, Returns, Scope};
use crate::identity::{self, Groups};

/// The time of Go's tests.
const NOW: u64 = 1_257_894_000;

/// One of Go's tests: an authenticator, a token and what becomes of it. `{{.URL}}` is the server's.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Case {
    name: String,
    #[serde(default = "url")]
    url: String,
    #[serde(rename = "discoveryURL")]
    discovery_url: Option<String>,
    #[serde(default = "audiences")]
    audiences: Vec<String>,
    #[serde(default)]
    algorithms: Vec<String>,
    #[serde(default)]
    claim_mappings: Mappings,
    #[serde(default)]
    claim_validation_rules: Vec<Rule>,
    #[serde(default)]
    user_validation_rules: Vec<Rule>,
    /// Algorithm and key.
    #[serde(default = "sign_with")]
    sign: (String, String),
    /// The keys of the issuer, if they are others than that.
    published: Option<Vec<String>>,
    claims: Value,
    /// Distributed claims by path, each given out for its name and `_token`.
    #[serde(default)]
    responses: BTreeMap<String, Value>,
    #[serde(rename = "openIDConfig")]
    open_id_config: Option<Value>,
    want: Option<Want>,
    /// The code of the reason.
    refused: Option<String>,
    #[serde(default)]
    no_opinion: bool,
}

fn url() -> String {
    "https://auth.example.com".to_owned()
}

fn audiences() -> Vec<String> {
    vec!["my-client".to_owned()]
}

fn sign_with() -> (String, String) {
    ("RS256".to_owned(), "r1".to_owned())
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Mappings {
    username: Option<Mapping>,
    groups: Option<Mapping>,
    uid: Option<Mapping>,
    #[serde(default)]
    extra: Vec<Extra>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Mapping {
    claim: Option<String>,
    #[serde(default)]
    prefix: String,
    expression: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Extra {
    key: String,
    value_expression: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    claim: Option<String>,
    required_value: Option<String>,
    expression: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Want {
    name: String,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    groups: Vec<String>,
    #[serde(default)]
    extra: BTreeMap<String, Vec<String>>,
}

fn compile(text: &str, scope: Scope, returns: Returns) -> Expression {
    Expression::compile(text, scope, returns).unwrap()
}

fn on_claims(text: &str) -> Expression {
    compile(text, Scope::Claims, Returns::Any)
}

impl Mapping {
    fn prefixed(self) -> PrefixedClaimOrExpression {
        match (self.claim, self.expression) {
            (Some(claim), None) => PrefixedClaimOrExpression::Claim { claim, prefix: self.prefix },
            (None, Some(text)) => PrefixedClaimOrExpression::Expression(on_claims(&text)),
            _ => panic!("a claim or an expression"),
        }
    }
}

impl Case {
    /// With the server's URL in the place of its template.
    fn read(line: &str, url: &str) -> Self {
        serde_json::from_str(&line.replace("{{.URL}}", url)).unwrap()
    }

    fn settings(self, discovery_url: Option<String>, authority: &str) -> JwtAuthenticator {
        let mut required_claims = BTreeMap::new();
        let mut claim_validation_rules = Vec::new();
        let rule = |text: &str, scope| ValidationRule {
            expression: compile(text, scope, Returns::Bool),
            message: None,
        };
        for Rule { claim, required_value, expression } in self.claim_validation_rules {
            match (claim, expression) {
                (Some(claim), None) => drop(required_claims.insert(claim, required_value.unwrap())),
                (None, Some(text)) => claim_validation_rules.push(rule(&text, Scope::Claims)),
                _ => panic!("a claim or an expression"),
            }
        }
        let username = self.claim_mappings.username.map(Mapping::prefixed).unwrap_or_else(|| {
            PrefixedClaimOrExpression::Claim { claim: "username".to_owned(), prefix: String::new() }
        });
        let uid = |mapping: Mapping| match mapping.prefixed() {
            PrefixedClaimOrExpression::Claim { claim, .. } => ClaimOrExpression::Claim(claim),
            PrefixedClaimOrExpression::Expression(expression) => ClaimOrExpression::Expression(expression),
        };
        let extra = |extra: Extra| ExtraMapping {
            key: extra.key,
            value_expression: on_claims(&extra.value_expression),
        };
        let named = |name: &String| Algorithm::named(name).unwrap().name();
        JwtAuthenticator {
            issuer: IssuerSettings {
                url: self.url,
                discovery_url,
                certificate_authority: Some(authority.as_bytes().to_vec()),
                audiences: self.audiences,
            },
            signing_algorithms: if self.algorithms.is_empty() {
                vec!["RS256"]
            } else {
                self.algorithms.iter().map(named).collect()
            },
            required_claims,
            claim_validation_rules,
            claim_mappings: ClaimMappings {
                username,
                groups: self.claim_mappings.groups.map(Mapping::prefixed),
                uid: self.claim_mappings.uid.map(uid),
                extra: self.claim_mappings.extra.into_iter().map(extra).collect(),
            },
            user_validation_rules: self
                .user_validation_rules
                .iter()
                .map(|r| rule(r.expression.as_deref().unwrap(), Scope::User))
                .collect(),
        }
    }
}

async fn ready(settings: impl IntoIterator<Item = JwtAuthenticator>) -> JwtAuthenticators {
    let authenticators = JwtAuthenticators::new(settings, &Remote::new(Proxies::default())).unwrap();
    for keys in authenticators.keys() {
        keys.wait_ready(Duration::from_secs(30)).await.unwrap();
    }
    authenticators
}

fn now() -> Now {
    Now(UNIX_EPOCH + Duration::from_secs(NOW))
}

/// Go: TestToken of plugin/pkg/authenticator/token/oidc/oidc_test.go. The rows are in testdata/token.jsonl, with the reason in place of
/// Go's text. Six more, about configurations, are among those of
/// src/config/authentication_configuration, "invalid-sig-alg" and "health check failure" are tests of the flags and of
/// `remote_keys`; there is nothing here for an HTTP client and a CA, or keys and a discovery URL, to exclude each other, and no egress
/// selector to fail or to work (five rows). Go's tests give most authenticators their keys; here all of them come over HTTPS.
#[tokio::test]
async fn the_rows_of_gos_test_token() {
    let issuer = Issuer::start().await;
    let mut count = 0;
    for (number, line) in include_str!("testdata/token.jsonl").lines().enumerate() {
        let root = format!("/{number}");
        let case = Case::read(line, &issuer.url(&root));
        let (name, algorithm, key) = (case.name.clone(), case.sign.0.clone(), case.sign.1.clone());
        // Where Go's test would have given the keys.
        let discovery = "/.well-known/openid-configuration";
        let discovery_url =
            case.discovery_url.clone().unwrap_or_else(|| issuer.url(&format!("{root}{discovery}")));
        let document = json!({"issuer": case.url, "jwks_uri": issuer.url(&format!("{root}/.testing/keys"))});
        let document = case.open_id_config.clone().unwrap_or(document).to_string();
        for place in [format!("{root}{discovery}"), format!("{root}/c/d/bar{discovery}")] {
            issuer.serve(&place, None, document.clone());
        }
        let published = case.published.clone().unwrap_or_else(|| vec![key.clone()]);
        issuer.serve(&format!("{root}/.testing/keys"), None, key_set(&published));
        for (path, claims) in &case.responses {
            let token = sign(&algorithm, &key, &claims.to_string());
            issuer.serve(&format!("{root}/{path}"), Some(&format!("{path}_token")), token);
        }

        let token = sign(&algorithm, &key, &case.claims.to_string());
        let expected = match (&case.want, &case.refused, case.no_opinion) {
            (Some(want), None, false) => Ok(Some(Identity {
                username: want.name.as_str().into(),
                uid: want.uid.as_str().into(),
                own_groups: Groups::new(&want.groups),
                extra: identity::Extra::new(&want.extra),
                memo: identity::Memo::default(),
            })),
            (None, Some(code), false) => Err(code.clone()),
            (None, None, true) => Ok(None),
            _ => panic!("{name}: one of three"),
        };
        let authenticators = ready([case.settings(Some(discovery_url), &issuer.authority)]).await;
        let outcome = match ask(&authenticators, &token).await {
            Outcome::Authenticated(authenticated) => {
                assert_eq!(authenticated.by, Authenticator::Jwt);
                Ok(Some(Identity::clone(&authenticated.identity)))
            }
            Outcome::NoOpinion => Ok(None),
            Outcome::Rejected(rejections) => {
                assert_eq!((rejections.len(), rejections[0].by), (1, Authenticator::Jwt), "{name}");
                Err(rejections[0].reason.code().to_owned())
            }
        };
        assert_eq!(outcome, expected, "{name}");
        count += 1;
    }
    assert_eq!(count, 78);
}

async fn ask(authenticators: &JwtAuthenticators, token: &str) -> Outcome {
    authenticators.authenticate(Token::new(token.as_bytes()), now()).await
}

/// An issuer at `root` of the server that has these keys, and settings for it.
fn publish(issuer: &Issuer, root: &str, keys: &[&str]) -> JwtAuthenticator {
    let url = issuer.url(root);
    let document = json!({"issuer": url, "jwks_uri": format!("{url}/keys")}).to_string();
    issuer.serve(&format!("{root}/.well-known/openid-configuration"), None, document);
    issuer.serve(
        &format!("{root}/keys"),
        None,
        key_set(&keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>()),
    );
    let case =
        json!({"name": root, "url": url, "claimMappings": {"groups": {"claim": "groups"}}, "claims": null});
    Case::read(&case.to_string(), "").settings(None, &issuer.authority)
}

fn refused(reason: Reason) -> Outcome {
    Outcome::rejected(Authenticator::Jwt, reason)
}

fn claims_of_jane(issuer: &str, more: &Value) -> String {
    let mut claims = json!({"iss": issuer, "aud": "my-client", "username": "jane", "exp": NOW + 1});
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    claims.to_string()
}

/// S22 (CVE-2026-29000; RFC 8725, section 3.1): who may sign, and how, is up to the configuration, and a token brings neither along. Go:
/// TestToken ("invalid-signing-alg"), TestVerifySigningAlg of go-oidc's verify_test.go.
#[tokio::test]
async fn a_token_brings_neither_its_algorithm_nor_its_key() {
    let issuer = Issuer::start().await;
    let mut settings = publish(&issuer, "", &["r1", "e1"]);
    settings.signing_algorithms = vec!["RS256", "ES256"];
    let authenticators = ready([settings]).await;
    let url = issuer.url("");
    let claims = claims_of_jane(&url, &json!({}));
    let own: Value = serde_json::from_str(&key_set(&["e1".to_owned()])).unwrap();
    let foreign: Value = serde_json::from_str(&key_set(&["r2".to_owned()])).unwrap();
    let foreign = &foreign["keys"][0];
    let before = issuer.requests();

    for (algorithm, key) in [("RS256", "r1"), ("ES256", "e1")] {
        let outcome = ask(&authenticators, &sign(algorithm, key, &claims)).await;
        assert!(matches!(outcome, Outcome::Authenticated(_)), "{algorithm}: {outcome:?}");
        // Hints at other keys are not followed: the issuer's own counts.
        let header = json!({"alg": algorithm, "kid": key, "jwk": foreign, "jku": format!("{url}/evil"), "x5u": format!("{url}/evil")});
        let outcome = ask(&authenticators, &sign_under(&header, algorithm, key, &claims)).await;
        assert!(matches!(outcome, Outcome::Authenticated(_)), "{algorithm}: {outcome:?}");
    }
    let unsupported = [
        // The key is right, and the algorithm is not among those that are allowed.
        sign("PS256", "r1", &claims),
        sign_under(&json!({"alg": "none", "kid": "r1"}), "RS256", "r1", &claims),
        sign_under(&json!({"alg": "HS256", "kid": "r1"}), "RS256", "r1", &claims),
        sign_under(&json!({"alg": "rs256", "kid": "r1"}), "RS256", "r1", &claims),
        sign_under(&json!({"kid": "r1"}), "RS256", "r1", &claims),
    ];
    for token in unsupported {
        assert_eq!(ask(&authenticators, &token).await, refused(Reason::UnsupportedAlgorithm), "{token}");
    }
    let with = |header: Value, key: &str| sign_under(&header, "RS256", key, &claims);
    let forged = [
        with(json!({"alg": "RS256", "kid": "r1", "jwk": foreign}), "r2"),
        with(json!({"alg": "RS256", "jwk": foreign}), "r2"),
        with(json!({"alg": "RS256", "kid": "r1", "jku": format!("{url}/evil")}), "r2"),
        // The type of the key is another.
        with(json!({"alg": "RS256", "kid": "e1"}), "r1"),
        with(json!({"alg": "ES256", "kid": "r1"}), "r1"),
        sign_under(&json!({"alg": "ES256", "kid": "r1", "jwk": own["keys"][0]}), "ES256", "e1", &claims),
        // RFC 7515, section 4.1.11: what must be understood, and is not.
        with(json!({"alg": "RS256", "kid": "r1", "crit": ["exp"], "exp": 0}), "r1"),
        with(json!({"alg": "RS256", "kid": "r1", "crit": "b64"}), "r1"),
    ];
    for token in forged {
        assert_eq!(ask(&authenticators, &token).await, refused(Reason::InvalidSignature), "{token}");
    }
    // JSON Web Encryption and the JSON serialization are nobody's.
    let good = sign("RS256", "r1", &claims);
    let parts: Vec<&str> = good.split('.').collect();
    let flattened = json!({"protected": parts[0], "payload": parts[1], "signature": parts[2]}).to_string();
    for token in [format!("{good}.AA.AA"), flattened] {
        assert_eq!(ask(&authenticators, &token).await, Outcome::NoOpinion, "{token}");
    }
    let heads = issuer.requests().split_off(before.len());
    assert!(heads.iter().all(|head| head.starts_with("GET /keys ")), "{heads:?}");
}

/// S23 (CVE-2025-61920, CVE-2026-48042): claims that are too large, too deep or too many are nobody's, and a header that is too large is
/// refused, before anything is fetched or verified.
#[tokio::test]
async fn an_oversized_token_is_nobodys() {
    let issuer = Issuer::start().await;
    let authenticators = ready([publish(&issuer, "", &["r1"])]).await;
    let url = issuer.url("");
    let before = issuer.requests();
    let deep = (0..crate::json::MAX_DEPTH).fold(json!(1), |inner, _| json!([inner]));
    for (more, expected) in [
        (json!({"x": "x".repeat(crate::jose::MAX_TOKEN)}), Outcome::NoOpinion),
        (json!({"x": deep}), Outcome::NoOpinion),
        (json!({"x": vec![1; crate::json::MAX_VALUES]}), Outcome::NoOpinion),
    ] {
        assert_eq!(ask(&authenticators, &sign("RS256", "r1", &claims_of_jane(&url, &more))).await, expected);
    }
    let header = json!({"alg": "RS256", "kid": "r1", "x": "x".repeat(crate::jose::MAX_HEADER)});
    let token = sign_under(&header, "RS256", "r1", &claims_of_jane(&url, &json!({})));
    assert_eq!(ask(&authenticators, &token).await, refused(Reason::MalformedToken));
    assert_eq!(issuer.requests(), before);
}

/// S37 (CVE-2026-108334): expressions are those of the configuration; a claim that looks like one is text.
#[tokio::test]
async fn a_claim_is_never_read_as_an_expression() {
    let issuer = Issuer::start().await;
    let mut settings = publish(&issuer, "", &["r1"]);
    settings.claim_mappings.username =
        PrefixedClaimOrExpression::Expression(on_claims("'u:' + claims.username"));
    settings.claim_mappings.groups =
        Some(PrefixedClaimOrExpression::Expression(on_claims("claims.roles.split(',').map(r, 'g:' + r)")));
    settings.claim_validation_rules = vec![ValidationRule {
        expression: compile("claims.tenant == 'ours'", Scope::Claims, Returns::Bool),
        message: None,
    }];
    settings.user_validation_rules = vec![ValidationRule {
        expression: compile("!user.username.startsWith('u:system:')", Scope::User, Returns::Bool),
        message: None,
    }];
    let authenticators = ready([settings]).await;
    let url = issuer.url("");
    let token = |more: Value| sign("RS256", "r1", &claims_of_jane(&url, &more));
    for (tenant, username, expected) in [
        ("ours", "' + claims.tenant + '", Ok("u:' + claims.tenant + '")),
        ("ours", "${claims.tenant}", Ok("u:${claims.tenant}")),
        ("ours", "system:admin", Err(Reason::UserValidation)),
        ("' == '' || 'a' == 'a", "jane", Err(Reason::ClaimValidation)),
        ("ours' || true || '", "jane", Err(Reason::ClaimValidation)),
    ] {
        let claims = json!({"tenant": tenant, "username": username, "roles": "a,' + 'system:masters"});
        let found = match ask(&authenticators, &token(claims)).await {
            Outcome::Authenticated(Authenticated { identity, .. }) => {
                assert_eq!(identity.own_groups, Groups::new(["g:a", "g:' + 'system:masters"]));
                Ok(identity.username.to_string())
            }
            Outcome::Rejected(rejections) => Err(rejections[0].reason),
            Outcome::NoOpinion => panic!("{username}"),
        };
        assert_eq!(found, expected.map(str::to_owned), "{tenant} {username}");
    }
}

/// S24 (CVE-2021-21378): keys are those of the very issuer that a token names. Go: NewFailOnError of the token union: the issuer's refusal is the last word.
#[tokio::test]
async fn a_token_is_a_matter_of_its_own_issuer_alone() {
    let issuer = Issuer::start().await;
    let settings = [publish(&issuer, "/a", &["r1"]), publish(&issuer, "/b", &["r2"])];
    let [a, b] = [issuer.url("/a"), issuer.url("/b")];
    let authenticators = ready(settings).await;
    let none = json!({});
    for (url, key) in [(&a, "r1"), (&b, "r2")] {
        let outcome = ask(&authenticators, &sign("RS256", key, &claims_of_jane(url, &none))).await;
        assert!(matches!(outcome, Outcome::Authenticated(_)), "{url}: {outcome:?}");
    }
    let before = issuer.requests();
    for (url, expected) in [
        ("https://unknown.test", Outcome::NoOpinion),
        (&*format!("{a}/"), Outcome::NoOpinion),
        (&a.to_uppercase(), Outcome::NoOpinion),
        ("", Outcome::NoOpinion),
    ] {
        assert_eq!(
            ask(&authenticators, &sign("RS256", "r1", &claims_of_jane(url, &none))).await,
            expected,
            "{url}"
        );
    }
    for not_ours in ["", "a", "a.b", "a.b.c", "{.e30.a", "..", "a.bnVsbA.c", "a.W10.c", "a.e30.c.d"] {
        assert_eq!(ask(&authenticators, not_ours).await, Outcome::NoOpinion, "{not_ours}");
    }
    assert_eq!(issuer.requests(), before, "nothing is fetched for an issuer that nobody configured");
    let of_the_other = sign("RS256", "r2", &claims_of_jane(&a, &none));
    assert_eq!(ask(&authenticators, &of_the_other).await, refused(Reason::UnknownKey));
}

/// Go: "oidc: authenticator not initialized".
#[tokio::test]
async fn without_keys_nobody_is_let_in_and_a_retry_may_help() {
    let issuer = Issuer::start().await;
    let settings = publish(&issuer, "", &["r1"]);
    let authenticators = JwtAuthenticators::new([settings], &Remote::new(Proxies::default())).unwrap();
    let token = sign("RS256", "r1", &claims_of_jane(&issuer.url(""), &json!({})));
    assert_eq!(ask(&authenticators, &token).await, refused(Reason::IssuerKeysUnavailable));
    assert_eq!(Reason::IssuerKeysUnavailable.fault(), crate::decision::Fault::Dependency);
}

/// S23 (CVE-2025-61920) and S25: a token that leads to ever more issuers of distributed claims makes us know a few of them. Kubernetes has no limit.
#[tokio::test]
async fn the_issuers_of_distributed_claims_are_limited_in_number() {
    let issuer = Issuer::start().await;
    let settings = publish(&issuer, "", &["r1"]);
    let authenticators = ready([settings]).await;
    let url = issuer.url("");
    for number in 0..=distributed::MAX_ISSUERS {
        let elsewhere = json!({"iss": format!("https://{number}.invalid"), "aud": "my-client", "groups": "g", "exp": NOW + 1});
        issuer.serve(&format!("/claims/{number}"), None, sign("RS256", "r1", &elsewhere.to_string()));
        let more = json!({
            "_claim_names": {"groups": "s"},
            "_claim_sources": {"s": {"endpoint": format!("{url}/claims/{number}")}},
        });
        let outcome = ask(&authenticators, &sign("RS256", "r1", &claims_of_jane(&url, &more))).await;
        let known = number < distributed::MAX_ISSUERS;
        let expected = if known { Reason::IssuerKeysUnavailable } else { Reason::DistributedClaims };
        assert_eq!(outcome, refused(expected), "{number}");
    }
}

/// A token is not sent where it is not meant to go: an endpoint must be `https://`.
#[tokio::test]
async fn an_access_token_goes_nowhere_without_tls() {
    let issuer = Issuer::start().await;
    let settings = publish(&issuer, "", &["r1"]);
    let authenticators = ready([settings]).await;
    let url = issuer.url("");
    for (endpoint, expected) in [
        (url.replace("https:", "http:"), Reason::DistributedClaims),
        ("not a url".to_owned(), Reason::DistributedClaims),
        (format!("{url}/nothing-there"), Reason::DistributedClaimsUnavailable),
    ] {
        let more = json!({
            "_claim_names": {"groups": "s"},
            "_claim_sources": {"s": {"endpoint": endpoint, "access_token": "secret"}},
        });
        let outcome = ask(&authenticators, &sign("RS256", "r1", &claims_of_jane(&url, &more))).await;
        assert_eq!(outcome, refused(expected), "{endpoint}");
    }
}

/// A reload does not lose what is known: Go makes a new authenticator, and waits for its discovery.
#[tokio::test]
async fn a_configuration_that_is_loaded_anew_has_the_keys_at_once() {
    let issuer = Issuer::start().await;
    let remote = Remote::new(Proxies::default());
    let load = || JwtAuthenticators::new([publish(&issuer, "", &["r1"])], &remote).unwrap();
    let old = load();
    for keys in old.keys() {
        keys.wait_ready(Duration::from_secs(30)).await.unwrap();
    }
    let fetched = issuer.requests();
    let new = load();
    drop(old);
    let outcome = ask(&new, &sign("RS256", "r1", &claims_of_jane(&issuer.url(""), &json!({})))).await;
    assert!(matches!(outcome, Outcome::Authenticated(_)), "{outcome:?}");
    assert_eq!(issuer.requests(), fetched);
}

/// S25 (github.com/coreos/go-oidc, 482): whoever invents key ids makes us fetch no more than once.
#[tokio::test]
async fn a_thousand_unknown_keys_are_looked_for_once() {
    let issuer = Issuer::start().await;
    let authenticators = ready([publish(&issuer, "", &["r1"])]).await;
    let before = issuer.requests().len();
    let claims = BASE64_URL_SAFE_NO_PAD.encode(claims_of_jane(&issuer.url(""), &json!({})));
    for number in 0..1000 {
        let header =
            BASE64_URL_SAFE_NO_PAD.encode(json!({"alg": "RS256", "kid": format!("{number}")}).to_string());
        let outcome = ask(&authenticators, &format!("{header}.{claims}.AAAA")).await;
        assert_eq!(outcome, refused(Reason::UnknownKey), "{number}");
    }
    let heads = issuer.requests().split_off(before);
    assert!(heads.len() <= 1 && heads.iter().all(|head| head.starts_with("GET /keys ")), "{heads:?}");
}

/// S17: another chain wants audiences of its own, of the same issuers with the same keys, which are fetched once.
#[tokio::test]
async fn another_chain_wants_its_own_audiences_besides_the_issuers() {
    let issuer = Issuer::start().await;
    let authenticators = Arc::new(ready([publish(&issuer, "", &["r1"])]).await);
    let fetched = issuer.requests().len();
    let tokens = TokenAuthenticator::Jwt(Arc::clone(&authenticators));
    let wanting =
        |audiences: &[&str]| tokens.wanting(Some(&audiences.iter().map(|name| Box::from(*name)).collect()));
    let (billing, both) = (wanting(&["billing"]), wanting(&["x", "my-client", "billing"]));
    let wrong = Some(Reason::WrongAudience);
    let table = [
        (json!("my-client"), [None, wrong, None]),
        (json!(["my-client", "billing"]), [None, None, None]),
        (json!("billing"), [wrong, wrong, wrong]),
        (json!(["my-client", "Billing"]), [None, wrong, None]),
    ];
    for (audience, expected) in table {
        let claims = claims_of_jane(&issuer.url(""), &json!({"aud": audience}));
        let token = sign("RS256", "r1", &claims);
        for (chain, expected) in [&tokens, &billing, &both].into_iter().zip(expected) {
            let said = match chain.authenticate(Token::new(token.as_bytes()), now()).await {
                Outcome::Authenticated(authenticated) => {
                    assert_eq!(&*authenticated.identity.username, "jane");
                    None
                }
                Outcome::Rejected(rejections) => Some(rejections[0].reason),
                Outcome::NoOpinion => panic!("it is of its issuer"),
            };
            assert_eq!(said, expected, "{audience}");
        }
    }
    assert_eq!(issuer.requests().len(), fetched);
    let TokenAuthenticator::Jwt(same) = tokens.wanting(None) else { panic!("{tokens:?}") };
    assert!(Arc::ptr_eq(&same, &authenticators));
}
