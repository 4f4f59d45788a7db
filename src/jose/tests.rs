#![allow(clippy::disallowed_methods, reason = "a test reads its vectors")]

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::json::{JsonError, Object, TypeError, Value};
use crate::pki::{Curve, SignatureError, public_keys_from_pem};

fn conformance(path: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/conformance/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn key_set(document: &serde_json::Value) -> Result<JsonWebKeySet, KeySetError> {
    JsonWebKeySet::parse(document.to_string().as_bytes())
}

/// The key sets of the issuers that the verdicts were recorded with, by issuer.
fn issuers() -> BTreeMap<String, Result<JsonWebKeySet, KeySetError>> {
    let routes: serde_json::Value =
        serde_json::from_slice(&conformance("world/issuers/routes.json")).unwrap();
    let mut issuers = BTreeMap::new();
    for server in routes["servers"].as_array().unwrap() {
        for (path, route) in server["routes"].as_object().unwrap() {
            if let (Some(path), Some(body)) = (path.strip_suffix("/keys"), route["body"].as_str()) {
                let issuer = format!("https://{}{path}", server["listen"].as_str().unwrap());
                issuers.insert(issuer, JsonWebKeySet::parse(body.as_bytes()));
            }
        }
    }
    issuers
}

/// What becomes of a token as far as it is for this module to say.
#[derive(Debug, PartialEq)]
enum Verdict {
    Malformed,
    NoKey,
    Unverified,
    Verified,
}

fn verdict<'a>(token: &[u8], candidates: impl Fn(&str) -> Vec<&'a VerificationKey>) -> Verdict {
    let Ok(token) = SignedToken::parse(token) else { return Verdict::Malformed };
    let candidates = candidates(token.key_id());
    if candidates.is_empty() {
        return Verdict::NoKey;
    }
    let verified = candidates.into_iter().any(|key| token.verify(key).is_ok());
    if verified { Verdict::Verified } else { Verdict::Unverified }
}

/// The bearer tokens of a scenario's vectors: id, token, whether they authenticated, and what kube-apiserver's log said.
fn tokens(scenario: &str) -> Vec<(String, String, bool, String)> {
    let cases = String::from_utf8(conformance(&format!("scenarios/{scenario}/cases.jsonl"))).unwrap();
    let vector = |line| {
        let case: serde_json::Value = serde_json::from_str(line).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let [header] = &**case["request"]["headers"].as_array().unwrap() else { return None };
        let token = header[1].as_str()?.strip_prefix("Bearer ")?.to_owned();
        let authenticated = case["expect"]["authenticated"].as_bool().unwrap();
        Some((text(&case["id"]), token, authenticated, text(&case["why"])))
    };
    cases.lines().filter_map(vector).collect()
}

fn issuer(token: &str) -> Option<String> {
    let token = UnverifiedToken::decode(token.as_bytes())?;
    let claims = Value::parse(token.payload()).ok()?;
    Some(claims.object_or_null().ok()??.string_field("iss").ok()?.to_owned())
}

/// What kube-apiserver said of the tokens of its JWT authenticators, where that was about form, algorithm or signature, and what it let
/// in. Go: `IDTokenVerifier.Verify` of github.com/coreos/go-oidc/verify.go.
#[test]
fn tokens_of_issuers_are_verified_as_kube_apiserver_does() {
    // PSS with an empty salt, which Go takes.
    const STRICTER: [&str; 1] = ["oidc-dash/oidc-flags/ps256-salt0"];
    let issuers = issuers();
    let mut counts = BTreeMap::new();
    for scenario in ["authn-a", "authn-b", "chain", "oidc-dash", "oidc-email"] {
        for (id, token, authenticated, why) in tokens(scenario) {
            let Some(Ok(keys)) = issuer(&token).and_then(|issuer| issuers.get(&issuer)) else { continue };
            let verdict = verdict(token.as_bytes(), |kid| keys.candidates(kid).collect());
            let expected = if authenticated {
                Verdict::Verified
            } else if why.contains("malformed jwt") {
                Verdict::Malformed
            } else if why.contains("failed to verify signature") {
                if verdict == Verdict::NoKey { Verdict::NoKey } else { Verdict::Unverified }
            } else if why.contains("unsupported algorithm") {
                let algorithm = SignedToken::parse(token.as_bytes()).unwrap().algorithm();
                let refused =
                    algorithm.is_none_or(|algorithm| !why.contains(&format!("{:?} ", algorithm.name())));
                assert!(refused, "{id}: {algorithm:?}");
                continue;
            } else {
                continue;
            };
            if STRICTER.contains(&&*id) {
                assert_eq!((verdict, expected), (Verdict::Unverified, Verdict::Verified), "{id}");
                continue;
            }
            assert_eq!(verdict, expected, "{id}: {why}");
            *counts.entry(format!("{verdict:?}")).or_insert(0) += 1;
        }
    }
    let counts: Vec<(&str, i32)> = counts.iter().map(|(name, count)| (&**name, *count)).collect();
    assert_eq!(counts, [("Malformed", 10), ("NoKey", 2), ("Unverified", 17), ("Verified", 250)]);
    let bad = |number, error| KeySetError::Key { number, error };
    let spoiled = issuers.iter().filter_map(|(issuer, keys)| {
        Some((issuer.strip_prefix("https://127.0.0.1:21441/")?, *keys.as_ref().err()?))
    });
    let expected = [
        ("a11", JsonError::Syntax(0).into()),
        ("a12", JsonError::Syntax(0).into()),
        ("a16", bad(1, KeyError::Duplicate)),
        ("a18", bad(1, KeyError::CertificateMismatch)),
        // Go reads this one, and does not use the private key in it.
        ("a21", bad(1, KeyError::Private)),
        ("a7", bad(2, KeyError::UnknownType)),
    ];
    assert_eq!(spoiled.collect::<Vec<_>>(), expected);
}

/// Where Kubernetes may know better, and only there, a refusal is to be the last word.
#[test]
fn what_only_go_may_verify_is_known() {
    let rsa = |bits: usize| PublicKey::rsa(&vec![0xff; bits / 8], &[1, 0, 1]);
    let sa = |file: &str| public_keys_from_pem(&conformance(&format!("world/sa/{file}"))).pop().unwrap();
    let [p256, p384] = ["rsa2-and-ec256.pub", "ec384.pub"].map(sa);
    let table = [
        ("RS256", rsa(2048), false),
        ("RS256", rsa(1024), false),
        ("RS384", rsa(1024), true),
        ("RS384", PublicKey::rsa(&[&[0x7f][..], &[0xff; 255]].concat(), &[3]), true),
        ("RS384", rsa(2048), false),
        ("RS256", rsa(8192), false),
        ("RS512", rsa(8200), true),
        ("RS256", p256.clone(), false),
        ("PS256", rsa(2048), true),
        ("PS256", rsa(1024), true),
        ("PS256", p256.clone(), false),
        ("ES256", p256.clone(), false),
        ("ES256", p384.clone(), false),
        ("ES384", p384.clone(), false),
        ("ES384", p256.clone(), true),
        ("ES512", p384, true),
        ("ES256", rsa(2048), false),
        ("HS256", rsa(2048), false),
        ("none", p256, false),
    ];
    for (algorithm, key, expected) in table {
        let header = BASE64_URL_SAFE_NO_PAD.encode(json!({"alg": algorithm}).to_string());
        let token = format!("{header}.e30.AAAA");
        let token = SignedToken::parse(token.as_bytes()).unwrap();
        let key = VerificationKey::from(key);
        assert!(token.verify(&key).is_err());
        assert_eq!(token.is_beyond_us(&key), expected, "{algorithm} {key:?}");
    }
    let header = BASE64_URL_SAFE_NO_PAD.encode(r#"{"alg":"PS256","crit":["exp"]}"#);
    let critical = format!("{header}.e30.AAAA");
    let critical = SignedToken::parse(critical.as_bytes()).unwrap();
    assert!(!critical.is_beyond_us(&rsa(2048)), "go-jose does not understand it either");
}

/// The same of service account tokens. Go: `jwtTokenAuthenticator.AuthenticateToken` of pkg/serviceaccount/jwt.go.
#[test]
fn service_account_tokens_are_verified_as_kube_apiserver_does() {
    let files = ["rsa1.pub", "rsa2-and-ec256.pub", "rsa3-private.pem", "ec384.pub", "ec521-cert.pem"];
    let keys: Vec<VerificationKey> = files
        .iter()
        .flat_map(|file| public_keys_from_pem(&conformance(&format!("world/sa/{file}"))))
        .map(VerificationKey::from)
        .collect();
    assert_eq!(keys.len(), 6);
    let mut counts = [0; 3];
    for (id, token, authenticated, why) in tokens("serviceaccount") {
        let verdict = verdict(token.as_bytes(), |kid| {
            let fits = |key: &&VerificationKey| {
                kid.is_empty() || service_account_key_id(key).as_deref() == Some(kid)
            };
            keys.iter().filter(fits).collect()
        });
        let (expected, count) = if authenticated {
            (Verdict::Verified, &mut counts[0])
        } else if why.contains("error in cryptographic primitive") {
            (Verdict::Unverified, &mut counts[1])
        } else if why.contains("no keys found") {
            (Verdict::NoKey, &mut counts[2])
        } else {
            continue;
        };
        assert_eq!(verdict, expected, "{id}: {why}");
        *count += 1;
    }
    assert_eq!(counts, [57, 6, 1]);
}

/// RFC 7515, appendices A.3 and A.4.
#[test]
fn the_examples_of_rfc_7515_verify() {
    let keys = key_set(&json!({"keys": [
        {"kty": "EC", "crv": "P-256", "kid": "A.3", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
         "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"},
        {"kty": "EC", "crv": "P-521", "kid": "A.4",
         "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
         "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"}]}))
    .unwrap();
    let es256 = SignedToken::parse(
        b"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0\
        cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
    )
    .unwrap();
    let es512 = SignedToken::parse(
        b"eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO\
        0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn",
    )
    .unwrap();
    let [a3, a4] = [keys.candidates("A.3").next().unwrap(), keys.candidates("A.4").next().unwrap()];
    assert_eq!(
        es256.verify(a3),
        Ok(&b"{\"iss\":\"joe\",\r\n \"exp\":1300819380,\r\n \"http://example.com/is_root\":true}"[..])
    );
    assert_eq!(es512.verify(a4), Ok(&b"Payload"[..]));
    assert_eq!(es256.verify(a4), Err(SignatureError::KeyMismatch));
    assert_eq!(es512.verify(a3), Err(SignatureError::KeyMismatch));
    assert_eq!((es256.algorithm(), es512.key_id()), (Some(Algorithm::ES256), ""));
    assert_eq!(format!("{es256:?}"), "SignedToken(..)", "no token in a log");
}

fn token(header: &str) -> String {
    let [header, payload] = [header, "{}"].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
    format!("{header}.{payload}.c2ln")
}

/// S22 (CVE-2026-29000; RFC 8725, section 3.1): what a header may say. Go: TestCompactParseJWS, TestNullHeaderValue and TestEmbedJWKBug of go-jose.v2/jws_test.go.
#[test]
fn headers_are_read_strictly_and_their_hints_are_not_used() {
    let good = [
        ("{\"alg\":\"RS256\"}", Some(Algorithm::RS256), ""),
        ("{\"alg\":\"PS512\",\"kid\":\"a\",\"b64\":\"x\",\"x\":[{}]}", Some(Algorithm::PS512), "a"),
        ("{\"alg\":null,\"kid\":null,\"jwk\":null,\"x5c\":null,\"crit\":null}", None, ""),
        ("{\"Alg\":\"RS256\",\"KID\":\"a\"}", None, ""),
        ("{\"alg\":\"none\"}", None, ""),
        ("{\"alg\":\"HS256\"}", None, ""),
        ("{\"alg\":\"EdDSA\"}", None, ""),
        ("{\"alg\":\"rs256\",\"x5c\":[],\"jku\":\"https://a.test\",\"x5u\":1}", None, ""),
        ("{}", None, ""),
        ("null", None, ""),
        ("", None, ""),
    ];
    for (header, algorithm, key_id) in good {
        let token = token(header);
        let token = SignedToken::parse(token.as_bytes()).unwrap();
        assert_eq!((token.algorithm(), token.key_id()), (algorithm, key_id), "{header}");
    }
    let bad = [
        ("{\"alg\":\"RS256\",\"alg\":\"RS256\"}", JwsError::Duplicate),
        ("{\"alg\":\"RS256\",\"a\":{\"b\":1,\"b\":1}}", JwsError::Duplicate),
        ("{\"alg\":\"RS256\",\"a\":1e999}", JwsError::Duplicate),
        ("{\"alg\":1}", TypeError("a string").into()),
        ("{\"kid\":1}", TypeError("a string").into()),
        ("{\"nonce\":1}", TypeError("a string").into()),
        ("{\"x5c\":\"a\"}", TypeError("an array of strings").into()),
        ("{\"x5c\":[\"a\"]}", JwsError::CertificateEncoding),
        ("{\"jwk\":{}}", KeyError::UnknownType.into()),
        ("{\"jwk\":\"a\"}", KeyError::Type(TypeError("an object")).into()),
        ("{\"jwk\":{\"kty\":\"oct\",\"k\":\"YQ\"}}", JwsError::NotPublic),
        ("{\"jwk\":{\"kty\":\"RSA\",\"n\":\"YQ\",\"e\":\"\"}}", JwsError::NotPublic),
        ("[]", TypeError("an object").into()),
        ("{", JsonError::Syntax(1).into()),
    ];
    for (header, expected) in bad {
        assert_eq!(SignedToken::parse(token(header).as_bytes()).err(), Some(expected), "{header}");
    }
}

/// S22 (RFC 8725) and S23 (CVE-2025-61920): only the compact serialization of a JWS, and only of a size, looked at before anything is
/// decoded.
#[test]
fn tokens_have_three_parts_of_limited_size() {
    let good = token("{\"alg\":\"RS256\"}");
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let large = "A".repeat(MAX_TOKEN);
    let table = [
        (format!(" {header}\t.\u{a0}{payload}.{signature}\u{2003}"), None),
        (format!("{header}.{payload}."), None),
        (format!("{header}..{signature}"), None),
        (format!("{header}.{payload}"), Some(JwsError::Form)),
        (format!("{good}."), Some(JwsError::Form)),
        (format!("{header}..{payload}.{payload}.{signature}"), Some(JwsError::Form)),
        (format!("{good}="), Some(JwsError::Form)),
        (format!("{header}.{payload}+.{signature}"), Some(JwsError::Form)),
        (format!("{header}.{payload}\u{200b}.{signature}"), Some(JwsError::Form)),
        (
            json!({"payload": payload, "protected": header, "signature": signature}).to_string(),
            Some(JwsError::Form),
        ),
        (String::new(), Some(JwsError::Form)),
        (large.clone(), Some(JwsError::Form)),
        (format!("{large}A"), Some(JwsError::TooLarge)),
        (format!("{}.{payload}.{signature}", &large[..=MAX_HEADER]), Some(JwsError::TooLarge)),
        (format!("{header}.{payload}.{}", &large[..=MAX_SIGNATURE]), Some(JwsError::TooLarge)),
        (".".repeat(100_000), Some(JwsError::Form)),
    ];
    for (token, expected) in table {
        let shown = token.get(..100).unwrap_or(&token);
        assert_eq!(SignedToken::parse(token.as_bytes()).err(), expected, "{shown}");
    }
    assert_eq!(SignedToken::parse(b"\xff").err(), Some(JwsError::Form));

    let unverified = |token: &[u8]| UnverifiedToken::decode(token).map(|token| token.payload().to_vec());
    assert_eq!(unverified(good.as_bytes()), Some(b"{}".to_vec()));
    assert_eq!(unverified(b"\xff.e30.\xff"), Some(b"{}".to_vec()));
    let none = [
        format!("{good}."),
        format!("{header}.{payload}=.{signature}"),
        format!("{header}.{payload}\t.{signature}"),
        format!("\t\u{a0}{{.{payload}.{signature}"),
        format!("{large}.{payload}.{signature}"),
    ];
    for token in none {
        assert_eq!(unverified(token.as_bytes()), None);
    }
}

/// Go: TestWebKeyVectorsInvalid, TestJWKBufferSizeCheck and TestJWKPaddingX of go-jose.v2/jwk_test.go.
#[test]
fn one_bad_key_spoils_the_whole_set() {
    let good = json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "kid": "good"});
    let x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
    let y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
    let table = [
        (json!({"kty": "OKP", "crv": "Ed25519", "x": "AA"}), None),
        (json!({"kty": "oct", "k": ""}), None),
        (
            json!({"kty": "RSA", "n": "", "e": "", "use": "enc", "key_ops": 1, "alg": "what", "x5t": null}),
            None,
        ),
        (json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "x5c": [], "x5u": null}), None),
        (json!(null), Some(KeyError::UnknownType)),
        (json!({}), Some(KeyError::UnknownType)),
        (json!({"kty": "rsa", "n": "AQAB", "e": "AQAB"}), Some(KeyError::UnknownType)),
        (json!({"Kty": "RSA", "n": "AQAB", "e": "AQAB"}), Some(KeyError::UnknownType)),
        (json!("RSA"), Some(KeyError::Type(TypeError("an object")))),
        (json!({"kty": "RSA", "n": "AQAB"}), Some(KeyError::Missing("e"))),
        (json!({"kty": "RSA", "n": null, "e": "AQAB"}), Some(KeyError::Missing("n"))),
        (json!({"kty": "RSA", "n": "AQ==", "e": "AQAB"}), Some(KeyError::Malformed("n"))),
        (json!({"kty": "RSA", "n": 3, "e": "AQAB"}), Some(KeyError::Type(TypeError("a string")))),
        (json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "d": "AQAB"}), Some(KeyError::Private)),
        (
            json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "x5u": "https://a.test"}),
            Some(KeyError::Malformed("x5u")),
        ),
        (json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "x5t": "AQAB"}), Some(KeyError::Malformed("x5t"))),
        (
            json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "x5c": ["AQAB"]}),
            Some(KeyError::Certificate(crate::pki::ParseError::Malformed("certificate"))),
        ),
        (
            json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "use": 1}),
            Some(KeyError::Type(TypeError("a string"))),
        ),
        (json!({"kty": "EC", "crv": "P-256", "x": x, "y": x}), Some(KeyError::NotOnCurve)),
        (json!({"kty": "EC", "crv": "P-384", "x": x, "y": y}), Some(KeyError::Malformed("x"))),
        (json!({"kty": "EC", "crv": "secp256k1", "x": x, "y": y}), Some(KeyError::UnknownCurve)),
        (json!({"kty": "EC", "crv": "P-256", "x": x}), Some(KeyError::Missing("y"))),
        (json!({"kty": "OKP", "crv": "X25519", "x": x}), Some(KeyError::UnknownCurve)),
        (json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "p": "AQAB", "key_ops": {}}), None),
        (
            json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "k": true}),
            Some(KeyError::Type(TypeError("a string"))),
        ),
        (json!({"kty": "RSA", "n": "AQAB", "e": "AQAB", "qi": "="}), Some(KeyError::Malformed("qi"))),
        (json!({"kty": "oct", "k": "YQ", "x": "="}), Some(KeyError::Malformed("x"))),
        (json!({"kty": "oct", "k": "YQ", "crv": 1}), Some(KeyError::Type(TypeError("a string")))),
        (json!({"kty": "oct"}), Some(KeyError::Missing("k"))),
    ];
    for (key, expected) in table {
        let set = key_set(&json!({"keys": [good, key]}));
        let error = expected.map(|error| KeySetError::Key { number: 2, error });
        assert_eq!(set.err(), error, "{key}");
    }
    let duplicate = b"{\"keys\":[{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\",\"a\":1,\"a\":1}]}";
    let error = KeySetError::Key { number: 1, error: KeyError::Duplicate };
    assert_eq!(JsonWebKeySet::parse(duplicate), Err(error));
}

/// Go: TestJWKSetKey of go-jose.v2/jwk_test.go; the set itself is read by encoding/json, in any case and the last one.
#[test]
fn a_set_is_searched_by_kid() {
    let key = |kid: &str, n: &str| json!({"kty": "RSA", "n": n, "e": "AQAB", "kid": kid});
    let set = key_set(
        &json!({"Keys": [key("a", "Aw"), key("b", "BQ"), key("a", "Bw"), {"kty": "oct", "k": "YQ", "kid": "a"}]}),
    );
    let set = set.unwrap();
    let moduli = |kid: &str| -> Vec<u8> {
        let modulus = |key: &VerificationKey| match &**key {
            PublicKey::Rsa { modulus, .. } => modulus[0],
            other => panic!("{other:?}"),
        };
        set.candidates(kid).map(modulus).collect()
    };
    assert_eq!(
        [moduli("a"), moduli("b"), moduli("c"), moduli("")],
        [vec![3, 7], vec![5], vec![], vec![3, 5, 7]]
    );
    assert_eq!(
        (set.len(), set.is_empty(), set.has_key_id("b"), set.has_key_id("c")),
        (4, false, true, false)
    );

    for empty in [
        "null",
        "{}",
        "{\"keys\":null}",
        "{\"keys\":[]}",
        "{\"keys\":[{\"kty\":\"oct\",\"k\":\"\"}],\"KEYS\":[]}",
    ] {
        assert!(JsonWebKeySet::parse(empty.as_bytes()).unwrap().is_empty(), "{empty}");
    }
    assert_eq!(key_set(&json!([])), Err(TypeError("an object").into()));
    assert_eq!(key_set(&json!({"keys": {}})), Err(TypeError("an array of keys").into()));
    assert_eq!(key_set(&json!({"keys": vec![key("a", "Aw"); MAX_KEYS + 1]})), Err(KeySetError::TooManyKeys));
    assert_eq!(JsonWebKeySet::parse(b"{} x"), Err(JsonError::Syntax(3).into()));
}

/// RFC 7517, section 4.7: the certificate is about the key. Go: TestKeyMismatchX509, TestRoundtripX509Hex and TestInvalidThumbprintsX509 of go-jose.v2/jwk_test.go.
#[test]
fn certificates_of_a_key_have_to_fit_it() {
    let pair = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::default().self_signed(&pair).unwrap();
    let point = pair.public_key_raw();
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let x5c = base64::prelude::BASE64_STANDARD.encode(certificate.der());
    let sha256 = digest(&SHA256, certificate.der());
    let hex: String = sha256.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
    let key = |more: serde_json::Value| {
        let mut key =
            json!({"kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..])});
        key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        key_set(&json!({"keys": [key]})).map(|set| set.len())
    };
    let wrong = Err(KeySetError::Key { number: 1, error: KeyError::CertificateMismatch });
    assert_eq!(key(json!({"x5c": [x5c]})), Ok(1));
    assert_eq!(key(json!({"x5c": [x5c], "x5t#S256": encode(sha256.as_ref())})), Ok(1));
    assert_eq!(key(json!({"x5c": [x5c], "x5t#S256": encode(hex.as_bytes())})), Ok(1));
    assert_eq!(key(json!({"x5c": [x5c], "x5t#S256": encode(&[0; 32])})), wrong);
    assert_eq!(key(json!({"x5c": [x5c], "x5t": encode(&[0; 20])})), wrong);
    assert_eq!(key(json!({"x5t": encode(&[0; 20])})), Ok(1));
    assert_eq!(key(json!({"x5c": [x5c], "kty": "RSA", "n": "AQAB", "e": "AQAB"})), wrong);
    assert_eq!(key(json!({"x5c": [x5c], "kty": "oct", "k": "AQAB"})), wrong);
}

/// Go: TestKeyIDStability of pkg/serviceaccount/keyid_test.go; here the kid that a real kube-apiserver wrote.
#[test]
fn service_account_keys_are_named_as_kube_apiserver_names_them() {
    let issued: serde_json::Value = serde_json::from_slice(&conformance("world/sa/issued.json")).unwrap();
    let token = format!("{issued}");
    let start = token.find("eyJ").unwrap();
    let token = token[start..].split('"').next().unwrap();
    let kid = SignedToken::parse(token.as_bytes()).unwrap().key_id().to_owned();
    let keys = public_keys_from_pem(&conformance("world/sa/rsa1.pub"));
    assert_eq!(service_account_key_id(&keys[0]), Some(kid));
    assert_eq!(service_account_key_id(&PublicKey::Ed25519([7; 32])), None);
    assert_eq!(PublicKey::ecdsa(Curve::P256, &[4; 65]), None);
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), header in "\\{(\"(alg|kid|jwk|x5c|crit|b64|x)\":(null|1|true|\"RS256\"|\\[\"b64\"\\]|\\{\"kty\":\"RSA\",\"n\":\"AQ\",\"e\":\"AQ\"\\}),?){0,4}\\}") {
        let key = PublicKey::rsa(&bytes, &[3]).into();
        for token in [&bytes[..], token(&header).as_bytes()] {
            let _any = (UnverifiedToken::decode(token), JsonWebKeySet::parse(token).is_ok());
            if let Ok(token) = SignedToken::parse(token) {
                prop_assert!(token.verify(&key).is_err());
            }
        }
    }

    /// What is verified of a token that is encoded as it should be is what go-jose puts together.
    #[test]
    fn a_canonical_token_is_read_as_any_other(header in "\\{\"alg\":\"RS256\"(,\"b64\":(true|false))?\\}", payload in any::<Vec<u8>>(), signature in any::<Vec<u8>>(), cut in 0..4_usize) {
        let token = [header.as_bytes(), &payload, &signature].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part)).join(".");
        let token = &token.as_bytes()[..token.len() - cut.min(token.len())];
        let parts = |token: Result<SignedToken<'_>, JwsError>| token.map(|token| token.parts().map(<[u8]>::to_vec));
        prop_assert_eq!(parts(SignedToken::parse(token)), parts(SignedToken::parse_leniently(token)));
        if let Some(unverified) = UnverifiedToken::decode(token) {
            prop_assert_eq!(parts(unverified.parse()), parts(SignedToken::parse(token)));
        }
    }

    #[test]
    fn no_key_makes_it_panic(n in prop::collection::vec(any::<u8>(), 0..80), e in prop::collection::vec(any::<u8>(), 0..12), signature in prop::collection::vec(any::<u8>(), 0..140)) {
        let token = |alg: &str| format!("{}.e30.{}", BASE64_URL_SAFE_NO_PAD.encode(format!("{{\"alg\":\"{alg}\"}}")), BASE64_URL_SAFE_NO_PAD.encode(&signature));
        for algorithm in Algorithm::ALL {
            let token = token(algorithm.name());
            let token = SignedToken::parse(token.as_bytes()).unwrap();
            for key in [PublicKey::rsa(&n, &e), PublicKey::Ed25519([1; 32]), PublicKey::Dsa, PublicKey::Unknown] {
                prop_assert!(token.verify(&key.into()).is_err());
            }
        }
    }
}

/// `Object` has an empty form, which stands for `null`.
#[test]
fn null_is_an_object_without_members() {
    assert_eq!(Value::Null.object_or_null(), Ok(None));
    assert_eq!(Object::default().string_field("iss"), Ok(""));
}
