//! Compares verdicts, and holds every difference against the declared ones.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::fs;

use serde::Deserialize;

use super::vectors::data;
use crate::support::envoy::Encoding;
use crate::support::verdict::Verdict;

/// `tests/conformance/divergences.yaml` by vector.
pub(super) struct Declared {
    by_id: BTreeMap<String, Divergence>,
}

/// A deliberate difference. There is no way to declare one in which countersign accepts what kube-apiserver refuses, or
/// takes a client for somebody else.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Divergence {
    ids: Vec<String>,
    ours: Ours,
    theirs: Theirs,
    reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Ours {
    Refused,
    DoesNotStart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Theirs {
    Authenticated,
    Anonymous,
    Starts,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Agreement {
    Agrees,
    Declared,
}

impl Declared {
    pub(super) fn load() -> Self {
        Self::parse(&fs::read_to_string(data("divergences.yaml")).unwrap()).unwrap()
    }

    fn parse(yaml: &str) -> Result<Self, String> {
        let list: Vec<Divergence> = serde_saphyr::from_str(yaml).map_err(|e| e.to_string())?;
        let mut by_id = BTreeMap::new();
        for divergence in list {
            if divergence.reason.trim().is_empty() {
                return Err(format!("{:?}: no reason", divergence.ids));
            }
            for id in &divergence.ids {
                if by_id.insert(id.clone(), divergence.clone()).is_some() {
                    return Err(format!("{id} is declared twice"));
                }
            }
        }
        Ok(Self { by_id })
    }

    /// The declared vectors of a kind that were not run.
    pub(super) fn missing_from(&self, seen: &[String], kind: impl Fn(&str) -> bool) -> Vec<String> {
        let missing = self.by_id.keys().filter(|id| kind(id) && !seen.contains(id));
        missing.map(|id| format!("{id} is declared and was not run")).collect()
    }

    /// What a request's verdicts, one for each encoding, are worth; an error says what is wrong with them. Where the joined
    /// encoding has `hidden` something, a refusal there is as good.
    pub(super) fn judge_request(
        &self,
        id: &str,
        theirs: &Verdict,
        ours: &[(Encoding, Result<Verdict, String>)],
        hidden: bool,
    ) -> Result<Agreement, String> {
        let mut verdicts = Vec::new();
        for (encoding, verdict) in ours {
            verdicts.push(verdict.as_ref().map_err(|e| format!("{id} as {encoding:?}: {e}"))?);
        }
        let Some((first, rest)) = verdicts.split_first() else { return Err(format!("{id} was not asked")) };
        let strict = |(encoding, verdict): (Encoding, &Verdict)| {
            hidden && encoding == Encoding::Joined && *verdict == Verdict::Refused
        };
        let encodings = ours.iter().map(|(encoding, _)| *encoding).skip(1);
        if encodings.zip(rest.iter().copied()).any(|(e, verdict)| verdict != *first && !strict((e, verdict)))
        {
            return Err(format!("{id}: the encodings differ: {ours:?}"));
        }
        let declares = |divergence: &Divergence| {
            (divergence.ours, divergence.theirs)
                == match theirs {
                    Verdict::Refused => return false,
                    Verdict::Authenticated(user) if user.username == "system:anonymous" => {
                        (Ours::Refused, Theirs::Anonymous)
                    }
                    Verdict::Authenticated(_) => (Ours::Refused, Theirs::Authenticated),
                }
        };
        self.settle(id, (theirs, *first), **first == Verdict::Refused, declares)
    }

    /// The same for whether a configuration starts.
    pub(super) fn judge_config(&self, id: &str, theirs: bool, ours: bool) -> Result<Agreement, String> {
        let declares = |d: &Divergence| (d.ours, d.theirs) == (Ours::DoesNotStart, Theirs::Starts);
        self.settle(id, (&theirs, &ours), !ours, declares)
    }

    fn settle<V: Debug + PartialEq>(
        &self,
        id: &str,
        (theirs, ours): (&V, &V),
        stricter: bool,
        declares: impl Fn(&Divergence) -> bool,
    ) -> Result<Agreement, String> {
        match (theirs == ours, self.by_id.get(id)) {
            (true, None) => Ok(Agreement::Agrees),
            (true, Some(_)) => Err(format!("{id} is declared and agrees: {ours:?}")),
            (false, Some(divergence)) if stricter && declares(divergence) => Ok(Agreement::Declared),
            (false, Some(_)) => {
                Err(format!("{id} differs in another way than declared: theirs {theirs:?}, ours {ours:?}"))
            }
            (false, None) => Err(format!("{id}: theirs {theirs:?}, ours {ours:?}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::support::verdict::User;

    const ONE: &str = "[{ids: [v], ours: refused, theirs: authenticated, reason: because}]";

    fn alice() -> Verdict {
        Verdict::Authenticated(User { username: "alice".into(), ..User::default() })
    }

    fn judge(yaml: &str, theirs: Verdict, ours: Verdict) -> Result<Agreement, String> {
        let ours = [(Encoding::Raw, Ok(ours.clone())), (Encoding::Joined, Ok(ours))];
        Declared::parse(yaml).unwrap().judge_request("v", &theirs, &ours, false)
    }

    #[test]
    fn the_same_verdict_agrees() {
        assert_eq!(judge("[]", alice(), alice()), Ok(Agreement::Agrees));
        assert_eq!(judge("[]", Verdict::Refused, Verdict::Refused), Ok(Agreement::Agrees));
    }

    #[test]
    fn an_undeclared_difference_fails_in_both_directions() {
        assert!(judge("[]", alice(), Verdict::Refused).is_err());
        assert!(judge("[]", Verdict::Refused, alice()).is_err());
    }

    #[test]
    fn every_part_of_an_identity_is_compared() {
        let alice = User {
            username: "alice".into(),
            uid: "1".into(),
            groups: vec!["a".into(), "b".into()],
            ..User::default()
        };
        for other in [
            User { username: "Alice".into(), ..alice.clone() },
            User { uid: String::new(), ..alice.clone() },
            User { groups: vec!["b".into(), "a".into()], ..alice.clone() },
            User { extra: BTreeMap::from([("k".into(), vec![])]), ..alice.clone() },
        ] {
            let (theirs, ours) = (Verdict::Authenticated(alice.clone()), Verdict::Authenticated(other));
            assert!(judge("[]", theirs, ours).is_err());
        }
    }

    #[test]
    fn a_declared_difference_passes_and_a_declared_agreement_fails() {
        assert_eq!(judge(ONE, alice(), Verdict::Refused), Ok(Agreement::Declared));
        assert!(judge(ONE, alice(), alice()).is_err());
        assert!(judge(ONE, Verdict::Refused, Verdict::Refused).is_err());
    }

    #[test]
    fn no_declaration_lets_countersign_accept_more_or_somebody_else() {
        let mallory = Verdict::Authenticated(User { username: "mallory".into(), ..User::default() });
        assert!(judge(ONE, Verdict::Refused, alice()).is_err());
        assert!(judge(ONE, alice(), mallory).is_err());
        assert!(Declared::parse("[{ids: [v], ours: authenticated, theirs: refused, reason: no}]").is_err());
        assert!(Declared::parse("[{ids: [v], ours: refused, theirs: refused, reason: no}]").is_err());
    }

    #[test]
    fn anonymous_is_declared_apart_from_a_user() {
        let anonymous =
            Verdict::Authenticated(User { username: "system:anonymous".into(), ..User::default() });
        assert!(judge(ONE, anonymous.clone(), Verdict::Refused).is_err());
        assert_eq!(
            judge(&ONE.replace("authenticated", "anonymous"), anonymous, Verdict::Refused),
            Ok(Agreement::Declared)
        );
    }

    #[test]
    fn encodings_that_differ_fail_even_when_one_of_them_is_right() {
        let ours = [(Encoding::Raw, Ok(alice())), (Encoding::Joined, Ok(Verdict::Refused))];
        let judged = Declared::parse("[]").unwrap().judge_request("v", &alice(), &ours, false);
        assert!(judged.is_err_and(|e| e.contains("the encodings differ")));
    }

    #[test]
    fn a_reply_that_cannot_be_read_fails_and_so_does_a_vector_that_was_not_asked() {
        let declared = Declared::parse(ONE).unwrap();
        let ours = [(Encoding::Raw, Err("a gRPC error".into())), (Encoding::Joined, Ok(Verdict::Refused))];
        assert!(declared.judge_request("v", &alice(), &ours, false).is_err());
        assert!(declared.judge_request("v", &alice(), &[], false).is_err());
    }

    #[test]
    fn a_declared_vector_that_was_not_run_is_missed() {
        let declared = Declared::parse(ONE).unwrap();
        assert_eq!(declared.missing_from(&[], |_| true), ["v is declared and was not run"]);
        assert!(declared.missing_from(&["v".into()], |_| true).is_empty());
        assert!(declared.missing_from(&[], |id| id != "v").is_empty(), "of another kind");
    }

    #[test]
    fn a_declaration_needs_a_reason_and_each_vector_one_declaration() {
        assert!(Declared::parse(&ONE.replace("because", "''")).is_err());
        assert!(Declared::parse(&ONE.replace("[v]", "[v, v]")).is_err());
    }

    #[test]
    fn a_configuration_may_be_refused_if_declared_but_never_accepted() {
        let one =
            Declared::parse("[{ids: [c], ours: does-not-start, theirs: starts, reason: because}]").unwrap();
        assert_eq!(one.judge_config("c", true, false), Ok(Agreement::Declared));
        assert!(one.judge_config("c", true, true).is_err());
        assert!(one.judge_config("c", false, true).is_err());
        assert!(one.judge_config("other", true, false).is_err());
        assert!(one.judge_config("other", false, true).is_err());
        assert_eq!(one.judge_config("other", false, false), Ok(Agreement::Agrees));
    }
}
