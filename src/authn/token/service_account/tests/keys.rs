//! The names and the number of keys.

use super::*;
use crate::jose::VerificationKey;
use crate::pki::PublicKey;

const RSA_KEY_ID: &str = "JHJehTTTZlsspKHT-GaJxK7Kd1NQgZJu3fyK6K_QDYU";
const EC_KEY_ID: &str = "SoABiieYuNx4UdqYvZRVeuC6SihxgLrhLy9peHMHpTc";

/// Go: TestStaticPublicKeysGetter of jwt_test.go and TestKeyIDStability of keyid_test.go, with their keys.
#[test]
fn keys_have_the_names_that_kube_apiserver_gives_them() {
    let rsa_public = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA249XwEo9k4tM8fMxV7zx
OhcrP+WvXn917koM5Qr2ZXs4vo26e4ytdlrV0bQ9SlcLpQVSYjIxNfhTZdDt+ecI
zshKuv1gKIxbbLQMOuK1eA/4HALyEkFgmS/tleLJrhc65tKPMGD+pKQ/xhmzRuCG
51RoiMgbQxaCyYxGfNLpLAZK9L0Tctv9a0mJmGIYnIOQM4kC1A1I1n3EsXMWmeJU
j7OTh/AjjCnMnkgvKT2tpKxYQ59PgDgU8Ssc7RDSmSkLxnrv+OrN80j6xrw0OjEi
B4Ycr0PqfzZcvy8efTtFQ/Jnc4Bp1zUtFXt7+QeevePtQ2EcyELXE0i63T1CujRM
WwIDAQAB
-----END PUBLIC KEY-----\n";
    let ec_private = "-----BEGIN EC PRIVATE KEY-----
MHcCAQEEIEZmTmUhuanLjPA2CLquXivuwBDHTt5XYwgIr/kA1LtRoAoGCCqGSM49
AwEHoUQDQgAEH6cuzP8XuD5wal6wf9M6xDljTOPLX2i8uIp/C/ASqiIGUeeKQtX0
/IR3qCXyThP/dbCiHrF3v1cuhBOHY8CLVg==
-----END EC PRIVATE KEY-----\n";
    let ec_public = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEH6cuzP8XuD5wal6wf9M6xDljTOPL
X2i8uIp/C/ASqiIGUeeKQtX0/IR3qCXyThP/dbCiHrF3v1cuhBOHY8CLVg==
-----END PUBLIC KEY-----\n";
    let kinds = |keys: &[VerificationKey]| {
        keys.iter().map(|key| matches!(**key, PublicKey::Rsa { .. })).collect::<Vec<_>>()
    };
    for ec in [ec_public, ec_private] {
        let mut keys = PublicKeys::default();
        assert_eq!(keys.add(format!("{ec}{rsa_public}{ec_public}").as_bytes()), Ok(()));
        assert_eq!(keys.add(rsa_public.as_bytes()), Ok(()), "the same again");
        assert_eq!(kinds(keys.candidates("")), [false, true]);
        assert_eq!(kinds(keys.candidates(EC_KEY_ID)), [false]);
        assert_eq!(kinds(keys.candidates(RSA_KEY_ID)), [true]);
        assert_eq!(kinds(keys.candidates("bogus")), [false; 0]);
    }
    let mut keys = PublicKeys::default();
    assert_eq!(keys.add(b"bogus"), Err(KeyError::None));
    assert_eq!(kinds(keys.candidates("")), [false; 0]);
}

#[test]
fn there_are_at_most_a_hundred_keys() {
    let mut keys = PublicKeys::default();
    let file = |count: usize| {
        (0..count).map(|_| rcgen::KeyPair::generate().expect("a key").public_key_pem()).collect::<String>()
    };
    assert_eq!(keys.add(file(MAX_KEYS).as_bytes()), Ok(()));
    assert_eq!(keys.add(world("rsa1.pub").as_bytes()), Err(KeyError::TooMany));
}
