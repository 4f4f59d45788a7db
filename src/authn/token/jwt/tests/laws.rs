//! What holds for every token.

use std::sync::LazyLock;

use futures_util::FutureExt;
use proptest::prelude::*;

use super::*;
use crate::authn::token::testing::not_of;
use crate::https::testing::Authority;

const ISSUERS: [&str; 3] = ["https://a.example.com", "https://b.example.com/realms/b", GOOGLE];

/// Authenticators whose issuers nobody asks for anything.
static AUTHENTICATORS: LazyLock<TokenAuthenticator> = LazyLock::new(|| {
    let authority = Authority::new().pem();
    let settings = ISSUERS.map(|url| {
        let case = json!({"name": url, "url": url, "claims": null}).to_string();
        Case::read(&case, "").settings(None, &authority)
    });
    let authenticators = JwtAuthenticators::new(settings, &Remote::new(Proxies::default())).unwrap();
    TokenAuthenticator::Jwt(Arc::new(authenticators))
});

/// What comes of a token, without waiting for anything.
fn outcome(token: &[u8]) -> Outcome {
    AUTHENTICATORS.authenticate(Token::new(token), now()).now_or_never().expect("nothing to wait for")
}

proptest! {
    /// Whatever is not a token of a configured issuer is left to others.
    #[test]
    fn no_bytes_but_a_token_of_an_issuer_are_its_own(
        token in not_of(&[ISSUERS[0], ISSUERS[1], GOOGLE, GOOGLE_WITHOUT_SCHEME]),
    ) {
        prop_assert_eq!(outcome(&token), Outcome::NoOpinion);
    }

    /// And such a token is never nobody's, but for its size and depth: no other may have an opinion of it first.
    #[test]
    fn a_token_of_an_issuer_is_its_own_whatever_else_it_says(
        issuer in prop::sample::select(vec![ISSUERS[0], ISSUERS[1], GOOGLE, GOOGLE_WITHOUT_SCHEME]),
        header in any::<String>(),
        signature in prop::collection::vec(any::<u8>(), 0..80),
        (name, value) in ("[a-z_]{1,8}", any::<String>()),
    ) {
        prop_assume!(!name.eq_ignore_ascii_case("iss"));
        let claims = json!({"iss": issuer, name: value}).to_string();
        let token = [header.as_bytes(), claims.as_bytes(), &signature].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part)).join(".");
        prop_assert!(matches!(outcome(token.as_bytes()), Outcome::Rejected(_)));
    }

    /// Neither what is taken apart nor what comes of it shows the token, a part of it, or the text of a claim or a header.
    #[test]
    fn nothing_shows_a_claim_or_a_token(
        secret in "[a-z]{16}",
        issuer in prop::sample::select(vec![ISSUERS[0], "https://elsewhere.example.com"]),
        algorithm in prop::sample::select(vec!["RS256", "none"]),
    ) {
        let header = BASE64_URL_SAFE_NO_PAD.encode(json!({"alg": algorithm, "kid": secret}).to_string());
        let claims = json!({"iss": issuer, "aud": "my-client", "username": secret, "groups": [secret], "exp": NOW + 1});
        let payload = BASE64_URL_SAFE_NO_PAD.encode(claims.to_string());
        let text = format!("{header}.{payload}.{secret}");
        let outcome = outcome(text.as_bytes());
        let unverified = UnverifiedToken::decode(text.as_bytes()).unwrap();
        let again = unverified.parse();
        let token = Token::new(text.as_bytes());
        let signed = SignedToken::parse(text.as_bytes());
        let shown = format!("{token:?} {unverified:#?} {signed:#?} {again:#?} {outcome:#?} {:#?}", *AUTHENTICATORS);
        for part in [&secret, &header, &payload] {
            prop_assert!(!shown.contains(part.as_str()), "{}", shown);
        }
        prop_assert!(shown.starts_with("Token(..) UnverifiedToken(..) Ok(\n    SignedToken(..),\n)"), "{}", shown);
    }
}
