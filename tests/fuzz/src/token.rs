//! Arbitrary bytes as a JSON Web Token: nobody is authenticated whose token no key has signed; and as a set of keys, and as JSON.
#![no_main]

use std::sync::LazyLock;

use countersign::jose::{JsonWebKeySet, SignedToken, UnverifiedToken, VerificationKey};
use countersign::json::Value;
use countersign::pki::public_keys_from_pem;
use libfuzzer_sys::fuzz_target;
use rcgen::KeyPair;

/// Has signed nothing.
static KEY: LazyLock<VerificationKey> = LazyLock::new(|| {
    let pem = KeyPair::generate().unwrap().public_key_pem();
    public_keys_from_pem(pem.as_bytes()).remove(0).into()
});

fuzz_target!(|data: &[u8]| {
    let _keys = JsonWebKeySet::parse(data);
    if let Ok(value) = Value::parse(data) {
        let _claims = value.object_or_null();
    }
    if let Some(token) = UnverifiedToken::decode(data) {
        assert!(token.payload().len() < data.len());
        let _claims = Value::parse(token.payload());
        if let Ok(token) = token.parse() {
            assert!(token.verify(&KEY).is_err(), "nobody has signed it");
        }
    }
    let Ok(token) = SignedToken::parse(data) else { return };
    let _kid = token.key_id();
    assert!(token.verify(&KEY).is_err(), "nobody has signed it");
});
