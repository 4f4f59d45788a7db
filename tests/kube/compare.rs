//! Compares the two servers' verdicts. A difference has to be one of a few kinds, in each of which countersign refuses.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::support::envoy::{Encoding, Request};
use super::support::tokens::tokens;
use super::support::verdict::{User, Verdict};

/// A kind of deliberate difference, as `tests/conformance/divergences.yaml` explains it.
pub(crate) struct Rule {
    pub(crate) name: &'static str,
    /// Whether countersign may refuse a request that kube-apiserver takes for this user's.
    explains: fn(&Request, Encoding, &User) -> bool,
}

pub(crate) const RULES: [Rule; 10] = [
    // Envoy joins repeated lines before anyone sees them, so which one was the first cannot be known.
    Rule {
        name: "more than one Authorization value",
        explains: |request, _, _| joined(request, "authorization").contains(&b','),
    },
    Rule {
        name: "more than one Upgrade value",
        explains: |request, _, _| joined(request, "upgrade").contains(&b','),
    },
    // An upstream would read another value than the one that was meant, or two headers.
    Rule { name: "a value that no header can carry", explains: |_, _, user| !can_travel(user) },
    // Envoy writes one for every byte that is not UTF-8, so which of the two the client sent cannot be known.
    Rule {
        name: "an exclamation mark in joined headers",
        explains: |request, encoding, _| {
            let value = joined(request, "authorization");
            encoding == Encoding::Joined && (value.contains(&b'!') || str::from_utf8(&value).is_err())
        },
    },
    // Servers disagree on what these mean, and the upstream may be one that reads them as another path.
    Rule {
        name: "a path with two readings",
        explains: |request, _, user| user.username == "system:anonymous" && has_two_readings(&request.path),
    },
    // A proxy that writes two has let one of its client's through, and nobody can tell which.
    Rule {
        name: "two lines of a header with a user or uid",
        explains: |request, _, _| {
            ["x-remote-user", "x-front-user", "x-remote-uid"]
                .iter()
                .any(|name| request.values(name).count() > 1)
        },
    },
    // Envoy has joined a front proxy's header lines, or replaced bytes in them.
    Rule {
        name: "front-proxy headers in joined headers",
        explains: |request, encoding, _| {
            encoding == Encoding::Joined
                && !request.certificates.is_empty()
                && request.joined_hides_something()
        },
    },
    // To go-jose the algorithm says which hash it is, and no more.
    Rule {
        name: "an algorithm of another curve",
        explains: |request, _, _| tokens(request).iter().any(|t| padded_signature(t).unwrap_or_default()),
    },
    // What Go makes of such a time depends on the processor, and claims are all read before the first expression.
    Rule {
        name: "a number beyond an int64",
        explains: |request, _, _| {
            tokens(request).iter().filter_map(|t| claims(t)).any(|c| has_huge_number(&c))
        },
    },
    // Whose the first one is, Go may know better: nobody else is found in its place.
    Rule {
        name: "a token behind one that is the last word",
        explains: |request, _, _| {
            let authorization = String::from_utf8_lossy(&joined(request, "authorization")).into_owned();
            request.values("sec-websocket-protocol").next().is_some()
                && authorization.split_whitespace().any(is_last_word)
        },
    },
];

/// What the comparison of one request came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    SameUser,
    BothAnonymous,
    BothRefuse,
    Declared(&'static str),
}

/// A difference that no rule explains.
#[derive(Debug)]
pub(crate) struct Difference {
    request: Request,
    theirs: Verdict,
    encoding: Encoding,
    ours: Result<Verdict, String>,
    /// Whether no encoding says anything else than kube-apiserver but no.
    pub(crate) only_refuses: bool,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.request.method, self.request.path)?;
        for (name, value) in &self.request.headers {
            writeln!(f, "  {name}: {:?}", bytes(value))?;
        }
        for token in tokens(&self.request) {
            for part in [0, 1].into_iter().filter_map(|number| part(&token, number)) {
                writeln!(f, "    in a token: {}", bytes(&part))?;
            }
        }
        writeln!(f, "    kube-apiserver: {}", self.theirs)?;
        match &self.ours {
            Ok(verdict) => writeln!(f, "    countersign, {:?}: {verdict}", self.encoding),
            Err(wrong) => writeln!(f, "    countersign, {:?}: {wrong}", self.encoding),
        }
    }
}

fn bytes(value: &[u8]) -> String {
    value
        .utf8_chunks()
        .map(|chunk| {
            chunk.valid().to_owned()
                + &chunk.invalid().iter().map(|b| format!("<{b:02x}>")).collect::<String>()
        })
        .collect()
}

/// Every encoding has to have kube-apiserver's verdict, or be a refusal that a rule explains.
pub(crate) fn compare(
    request: &Request,
    theirs: &Verdict,
    ours: &[(Encoding, Result<Verdict, String>)],
) -> Result<Outcome, Box<Difference>> {
    let mut outcome = match theirs {
        Verdict::Refused => Outcome::BothRefuse,
        Verdict::Authenticated(user) if user.username == "system:anonymous" => Outcome::BothAnonymous,
        Verdict::Authenticated(_) => Outcome::SameUser,
    };
    for (encoding, verdict) in ours {
        if verdict.as_ref().is_ok_and(|verdict| verdict == theirs) {
            continue;
        }
        let rule = match (verdict, theirs) {
            (Ok(Verdict::Refused), Verdict::Authenticated(user)) => {
                RULES.iter().find(|rule| (rule.explains)(request, *encoding, user))
            }
            _ => None,
        };
        let Some(rule) = rule else {
            let refuses = |ours: &Verdict| ours == theirs || *ours == Verdict::Refused;
            let only_refuses = ours.iter().all(|(_, ours)| ours.as_ref().is_ok_and(refuses));
            let (request, theirs, ours) = (request.clone(), theirs.clone(), verdict.clone());
            return Err(Box::new(Difference { request, theirs, encoding: *encoding, ours, only_refuses }));
        };
        outcome = Outcome::Declared(rule.name);
    }
    Ok(outcome)
}

/// A part of a token, if it has one.
fn part(token: &str, number: usize) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(token.split('.').nth(number)?).ok()
}

/// Whether this is the signature of a smaller curve in the form that ES384 or ES512 has.
fn padded_signature(token: &str) -> Option<bool> {
    let header: serde_json::Value = serde_json::from_slice(&part(token, 0)?).ok()?;
    let (signature, zeros) = (part(token, 2)?, [0; 16]);
    let (r, s) = signature.split_at(signature.len() / 2);
    Some(
        ["ES384", "ES512"].contains(&header["alg"].as_str()?)
            && r.starts_with(&zeros)
            && s.starts_with(&zeros),
    )
}

/// Whether the signature of this may be one that Go verifies and nobody here can, or a part of it is elsewhere, or its issuer is one of
/// those whose names are numbers and whose keys are odd.
fn is_last_word(token: &str) -> bool {
    let algorithm = || {
        let header: serde_json::Value = serde_json::from_slice(&part(token, 0)?).ok()?;
        header["alg"].as_str().map(str::to_owned)
    };
    algorithm().is_some_and(|name| ["PS256", "PS384", "PS512", "ES384", "ES512"].contains(&&*name))
        || claims(token).is_some_and(|claims| {
            let claims: serde_json::Value = serde_json::from_str(&claims).unwrap_or_default();
            let issuer = claims["iss"].as_str().unwrap_or_default();
            claims.get("_claim_sources").is_some()
                || issuer.rsplit('/').next().is_some_and(|name| name.parse::<u8>().is_ok())
        })
}

fn claims(token: &str) -> Option<String> {
    String::from_utf8(part(token, 1)?).ok()
}

fn has_huge_number(json: &str) -> bool {
    let is_huge = |text: &str| {
        text.parse::<i64>().is_err()
            && text.parse().is_ok_and(|number: f64| number.abs() >= 9_223_372_036_854_775_808.0)
    };
    json.split(|c: char| !c.is_ascii_digit() && !"+-.eE".contains(c)).any(is_huge)
}

fn joined(request: &Request, name: &str) -> Vec<u8> {
    request.values(name).collect::<Vec<_>>().join(&b","[..])
}

fn can_travel(user: &User) -> bool {
    let extra = user.extra.iter().flat_map(|(key, values)| values.iter().chain([key]));
    let mut values = [&user.username, &user.uid].into_iter().chain(&user.groups).chain(extra);
    !user.username.is_empty()
        && values.all(|value| value.trim() == value && !value.chars().any(char::is_control))
}

fn has_two_readings(path: &str) -> bool {
    let path = path.split('?').next().unwrap().to_ascii_lowercase();
    const CODED: [&str; 7] = ["%2f", "%5c", "%2e", "%25", "%3b", "%23", "%3f"];
    const PLAIN: [&str; 5] = [";", "\\", "//", "/./", "/../"];
    CODED.iter().chain(&PLAIN).any(|part| path.contains(part))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(authorization: &str) -> Request {
        let headers = vec![("Authorization".to_owned(), authorization.as_bytes().to_vec())];
        Request { method: "GET".into(), path: "/".into(), headers, certificates: Vec::new(), key: None }
    }

    fn user(name: &str) -> Verdict {
        Verdict::Authenticated(User { username: name.into(), ..User::default() })
    }

    fn judge(authorization: &str, theirs: Verdict, ours: Verdict) -> Result<Outcome, Box<Difference>> {
        compare(&request(authorization), &theirs, &[(Encoding::Raw, Ok(ours))])
    }

    #[test]
    fn equal_verdicts_are_counted_by_kind() {
        assert_eq!(judge("Bearer t", user("alice"), user("alice")).unwrap(), Outcome::SameUser);
        assert_eq!(
            judge("", user("system:anonymous"), user("system:anonymous")).unwrap(),
            Outcome::BothAnonymous
        );
        assert_eq!(judge("Bearer x", Verdict::Refused, Verdict::Refused).unwrap(), Outcome::BothRefuse);
    }

    #[test]
    fn a_difference_without_a_rule_is_one() {
        assert!(judge("Bearer t", user("alice"), Verdict::Refused).is_err());
        assert!(judge("Bearer t", user("alice"), user("system:anonymous")).is_err());
    }

    #[test]
    fn a_difference_that_may_pass_lets_nobody_in() {
        let only_refuses = |theirs: Verdict, ours: [Verdict; 2]| {
            let ours = ours.map(|verdict| (Encoding::Raw, Ok(verdict)));
            compare(&request("Bearer t"), &theirs, &ours).unwrap_err().only_refuses
        };
        assert!(only_refuses(user("alice"), [user("alice"), Verdict::Refused]));
        assert!(!only_refuses(user("alice"), [Verdict::Refused, user("bob")]), "somebody else");
        assert!(!only_refuses(Verdict::Refused, [Verdict::Refused, user("alice")]), "more permissive");
    }

    #[test]
    fn a_rule_explains_a_refusal_and_nothing_else() {
        let two = "Bearer a,Bearer b";
        assert!(matches!(judge(two, user("alice"), Verdict::Refused), Ok(Outcome::Declared(_))));
        assert!(judge(two, user("alice"), user("bob")).is_err(), "somebody else");
        assert!(judge(two, user("alice"), user("system:anonymous")).is_err(), "anonymous");
        assert!(judge(two, Verdict::Refused, user("alice")).is_err(), "more permissive");
    }

    #[test]
    fn one_wrong_encoding_is_enough() {
        let verdicts = [(Encoding::Raw, Ok(user("alice"))), (Encoding::Joined, Ok(Verdict::Refused))];
        assert!(compare(&request("Bearer t"), &user("alice"), &verdicts).is_err());
        assert!(
            compare(&request("Bearer t!"), &user("alice"), &verdicts).is_ok(),
            "Envoy may have hidden a byte"
        );
        let swapped = [(Encoding::Joined, Ok(user("alice"))), (Encoding::Raw, Ok(Verdict::Refused))];
        assert!(
            compare(&request("Bearer t!"), &user("alice"), &swapped).is_err(),
            "raw headers hide nothing"
        );
    }

    #[test]
    fn a_reply_that_cannot_be_read_is_a_difference() {
        let verdicts = [(Encoding::Raw, Err("a gRPC error".to_owned()))];
        assert!(compare(&request("Bearer a,Bearer b"), &user("alice"), &verdicts).is_err());
    }

    #[test]
    fn values_travel_unless_they_hold_controls_or_begin_or_end_with_white_space() {
        let named = |username: &str| User { username: username.into(), ..User::default() };
        assert!(can_travel(&User { groups: vec![String::new(), "a b".into(), "ü,;".into()], ..named("a") }));
        for user in [named(""), named("a\tb"), named("a "), User { uid: "\u{7f}".into(), ..named("a") }] {
            assert!(!can_travel(&user), "{user:?}");
        }
        assert!(!can_travel(&User { groups: vec!["dev".into(), " dev".into()], ..named("a") }));
        assert!(!can_travel(&User { extra: [("k".into(), vec!["\n".into()])].into(), ..named("a") }));
    }

    #[test]
    fn a_token_is_refused_for_its_curve_or_its_numbers_if_those_are_odd() {
        let token = |header: &str, claims: &str, signature: &[u8]| {
            let parts =
                [header.as_bytes(), claims.as_bytes(), signature].map(|part| URL_SAFE_NO_PAD.encode(part));
            request(&format!("Bearer {}", parts.join(".")))
        };
        let padded = [[0; 16], [1; 16], [0; 16], [1; 16]].concat();
        let explains = |name: &str, request: &Request| {
            let rule = RULES.iter().find(|rule| rule.name == name).unwrap();
            (rule.explains)(request, Encoding::Raw, &User::default())
        };
        let (curve, number) = ("an algorithm of another curve", "a number beyond an int64");
        assert!(explains(curve, &token(r#"{"alg":"ES384"}"#, "{}", &padded)));
        for (header, signature) in
            [(r#"{"alg":"ES256"}"#, &*padded), (r#"{"alg":"ES384"}"#, &[1; 64]), ("{}", &padded)]
        {
            assert!(!explains(curve, &token(header, "{}", signature)), "{header}");
        }
        for claims in
            [r#"{"nbf":1e19}"#, r#"{"nbf":-1e300}"#, r#"{"a":[1e400]}"#, r#"{"exp":9223372036854775808}"#]
        {
            assert!(explains(number, &token("{}", claims, &[])), "{claims}");
        }
        for claims in [r#"{"exp":9223372036854775807}"#, r#"{"exp":9e18,"sub":"e"}"#, "{}", "e"] {
            assert!(!explains(number, &token("{}", claims, &[])), "{claims}");
        }
    }

    #[test]
    fn a_token_hides_what_is_behind_it_if_only_go_may_verify_it_or_a_part_of_it_is_elsewhere() {
        let token = |header: &str, claims: &str| {
            format!("{}.{}.AA", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims))
        };
        let rule = RULES.iter().find(|rule| rule.name == "a token behind one that is the last word").unwrap();
        let explains = |token: &str, protocols: &[&str]| {
            let mut request = request(&format!("Bearer {token}"));
            let lines =
                protocols.iter().map(|line| ("Sec-WebSocket-Protocol".to_owned(), line.as_bytes().to_vec()));
            request.headers.extend(lines);
            (rule.explains)(&request, Encoding::Raw, &User::default())
        };
        let odd_issuer = r#"{"iss":"https://127.0.0.1:1/41"}"#;
        let elsewhere = r#"{"_claim_names":{},"_claim_sources":{}}"#;
        for (header, claims) in [
            (r#"{"alg":"PS256"}"#, "{}"),
            (r#"{"alg":"ES512"}"#, "{}"),
            ("{}", elsewhere),
            ("{}", odd_issuer),
        ] {
            assert!(explains(&token(header, claims), &["v4"]), "{header} {claims}");
            assert!(!explains(&token(header, claims), &[]), "nobody is behind it");
        }
        assert!(!explains(&token(r#"{"alg":"RS256"}"#, "{}"), &["v4"]));
    }

    #[test]
    fn a_path_has_two_readings_for_the_reasons_listed_only() {
        for path in ["/a%2Fb", "//a", "/x/../a", "/a;v", "/100%25", "/a%3fb"] {
            assert!(has_two_readings(path), "{path}");
        }
        for path in ["/healthz", "/health%7a", "/a%20b", "/a?//%2f;"] {
            assert!(!has_two_readings(path), "{path}");
        }
    }
}
