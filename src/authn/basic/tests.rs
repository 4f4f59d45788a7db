use std::time::{Duration, SystemTime};

use base64::prelude::BASE64_STANDARD;

use super::*;
use crate::decision::Rejection;
use crate::request::testing::request;

/// `correct horse` in clear, with bcrypt (cost 4) and with argon2id (m=8, t=1, p=1).
fn basic() -> Basic {
    let bcrypt = bcrypt::hash("correct horse", 4).expect("bcrypt hashes");
    let argon2 = {
        use argon2::{Algorithm, Params, PasswordHasher, Version};
        let params = Params::new(8, 1, 1, None).expect("small parameters");
        argon2::Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password(b"correct horse")
            .expect("argon2 hashes")
            .to_string()
    };
    let text =
        format!("correct horse,plain,1,\"g1,g2\"\n{bcrypt},bcrypt,2\n\"{argon2}\",argon2,3\na:b,colon,4\n");
    Basic::new(text.as_bytes(), |line, text| panic!("warned of line {line}: {text}"))
        .expect("the passwords are good")
}

async fn ask(basic: &Basic, value: &str) -> Result<Option<String>, Reason> {
    let now = Now(SystemTime::UNIX_EPOCH);
    match basic.authenticate(&request(&[(b"authorization", value.as_bytes())]), now).await {
        Outcome::NoOpinion => Ok(None),
        Outcome::Authenticated(a) => Ok(Some(a.identity.username.to_string())),
        Outcome::Rejected(r) => match r[..] {
            [Rejection { by: Authenticator::Basic, reason }] => Err(reason),
            ref other => panic!("{other:?}"),
        },
    }
}

fn encoded(user_password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(user_password))
}

/// Go (1.18): TestBasicAuth, TestPasswordFile.
#[tokio::test]
async fn the_right_password_is_known_in_clear_and_by_its_hash() {
    let basic = basic();
    for user in ["plain", "bcrypt", "argon2"] {
        for time in ["first", "second"] {
            let asked = ask(&basic, &encoded(&format!("{user}:correct horse"))).await;
            assert_eq!(asked, Ok(Some(user.to_owned())), "{time} time");
            for wrong in ["", "correct hors", "correct horse ", "Correct horse", "correct horse\0"] {
                let asked = ask(&basic, &encoded(&format!("{user}:{wrong}"))).await;
                assert_eq!(asked, Err(Reason::InvalidUsernameOrPassword), "{user}:{wrong:?}");
            }
        }
    }
    assert_eq!(ask(&basic, &encoded("colon:a:b")).await, Ok(Some("colon".to_owned())));
    assert_eq!(ask(&basic, &encoded("nobody:correct horse")).await, Err(Reason::InvalidUsernameOrPassword));
    assert_eq!(ask(&basic, &encoded(":")).await, Err(Reason::InvalidUsernameOrPassword));
}

#[tokio::test]
async fn what_is_not_basic_is_no_opinion_and_what_does_not_parse_is_rejected() {
    let basic = basic();
    for other in ["", "Basic", "Basicx", "Bearer cGxhaW46eA==", "basic\tcGxhaW46eA=="] {
        assert_eq!(ask(&basic, other).await, Ok(None), "{other:?}");
    }
    for bad in ["Basic ", "Basic !", "Basic cGxhaW46eA", "Basic cGxhaW4=", "basic  cGxhaW46eA=="] {
        assert_eq!(ask(&basic, bad).await, Err(Reason::MalformedBasic), "{bad:?}");
    }
    assert_eq!(ask(&basic, "Basic cGxhaW46eA==,Basic x").await, Err(Reason::AmbiguousAuthorization));
    assert_eq!(ask(&basic, "bAsIc cGxhaW46Y29ycmVjdCBob3JzZQ==").await, Ok(Some("plain".to_owned())));
}

/// S31: an unknown user costs the same as a wrong password. Time is compared in units of what a hash costs, so that a loaded
/// machine does not matter: with a decoy both verify a hash; without it an unknown user would cost next to nothing.
#[tokio::test]
async fn an_unknown_user_costs_a_hash_as_well() {
    let hash = bcrypt::hash("x", 8).expect("bcrypt hashes");
    let basic = Basic::new(format!("{hash},known,1\n").as_bytes(), |_, _| {}).expect("the password is good");
    let mut fastest = [Duration::MAX; 2];
    for _ in 0..5 {
        for (user, fastest) in ["known", "unknown"].into_iter().zip(&mut fastest) {
            let start = std::time::Instant::now();
            assert_eq!(
                ask(&basic, &encoded(&format!("{user}:wrong"))).await,
                Err(Reason::InvalidUsernameOrPassword)
            );
            *fastest = start.elapsed().min(*fastest);
        }
    }
    let [known, unknown] = fastest;
    assert!(unknown > known / 4, "an unknown user took {unknown:?}, a known one {known:?}");
}

/// A password that once matched is recognised without its hash.
#[tokio::test]
async fn a_slow_hash_is_computed_once_for_a_right_password() {
    let basic = basic();
    let user = Arc::clone(&basic.users[&b"bcrypt"[..]]);
    assert!(user.matched.get().is_none());
    assert_eq!(ask(&basic, &encoded("bcrypt:wrong")).await, Err(Reason::InvalidUsernameOrPassword));
    assert!(user.matched.get().is_none(), "a wrong password is not remembered");
    assert_eq!(ask(&basic, &encoded("bcrypt:correct horse")).await, Ok(Some("bcrypt".to_owned())));
    assert_eq!(user.matched.get(), Some(&basic.digester.digest(b"correct horse")));
}

#[test]
fn debug_shows_no_password() {
    assert_eq!(format!("{:?}", basic()), "Basic(4 users)");
}
