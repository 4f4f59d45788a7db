//! Which profile a route names: Envoy's `context_extensions` of the virtual host and of the route, which wins key by key. They are the
//! operator's; no client can write there.

use crate::request::HeaderLines;

/// The key that names it.
const KEY: &[u8] = b"countersign.profile";

/// What every key of ours begins with.
const OURS: &[u8] = b"countersign";

/// What a route says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named<'a> {
    /// Nothing.
    Nothing,
    /// A profile, by this name.
    Profile(&'a [u8]),
    /// It is meant to say something to us, but by a key that we do not know, or twice: this key.
    Unclear(&'a [u8]),
}

impl<'a> Named<'a> {
    /// Looks through the extensions. A key that only looks like one of ours is a slip of the pen, which must not give the default.
    pub(super) fn of(extensions: &'a dyn HeaderLines) -> Self {
        let mut named = Self::Nothing;
        for index in 0..extensions.len() {
            let (key, value) = extensions.line(index);
            if key == KEY && named == Self::Nothing {
                named = Self::Profile(value);
            } else if key == KEY || is_like_ours(key) {
                return Self::Unclear(key);
            }
        }
        named
    }
}

/// Whether the letters and digits of a key begin as those of ours do, in any case.
fn is_like_ours(key: &[u8]) -> bool {
    let letters = key.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase);
    letters.take(OURS.len()).eq(OURS.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    type Lines = Vec<(Vec<u8>, Vec<u8>)>;

    fn lines(extensions: &[(&str, &str)]) -> Lines {
        extensions.iter().map(|(key, value)| (key.as_bytes().to_vec(), value.as_bytes().to_vec())).collect()
    }

    #[test]
    fn one_key_names_a_profile_and_nothing_that_looks_like_it_is_passed_over() {
        let named = |extensions: &[(&str, &str)]| format!("{:?}", Named::of(&lines(extensions)));
        let expected = |named: Named<'_>| format!("{named:?}");
        let key = "countersign.profile";
        assert_eq!(named(&[]), expected(Named::Nothing));
        assert_eq!(named(&[("virtual_host", "x"), ("profile", "x"), ("", "")]), expected(Named::Nothing));
        assert_eq!(named(&[("a", "b"), (key, "public")]), expected(Named::Profile(b"public")));
        assert_eq!(named(&[(key, "")]), expected(Named::Profile(b"")));
        assert_eq!(named(&[(key, "a"), (key, "a")]), expected(Named::Unclear(key.as_bytes())));
        for unclear in [
            "Countersign.Profile",
            "countersign_profile",
            "countersign-profile",
            "counter-sign.profile",
            "countersign.profil",
            "countersign.profile ",
            " countersign.profile",
            "countersign",
            "countersignprofile",
            "countersign.policy",
            "COUNTER_SIGN",
        ] {
            let expected = expected(Named::Unclear(unclear.as_bytes()));
            assert_eq!(named(&[(unclear, "public")]), expected);
            assert_eq!(named(&[(key, "public"), (unclear, "public")]), expected);
            assert_eq!(named(&[(unclear, "public"), (key, "public")]), expected);
        }
    }
}
