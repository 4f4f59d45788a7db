//! Versions. Go: k8s.io/apiserver/pkg/cel/library/semverlib.go, over github.com/blang/semver/v4.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use super::super::evaluate::{Error, Evaluated};
use super::super::value::Val;
use super::{Run, sign_of, text};

/// A version.
#[derive(Debug)]
pub(in super::super) struct Semver {
    major: u64,
    minor: u64,
    patch: u64,
    pre: Vec<Pre>,
    build: Vec<String>,
}

/// A part of what stands behind a `-`. Numbers come before words.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Pre {
    Number(u64),
    Word(String),
}

impl fmt::Display for Semver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)?;
        for (index, pre) in self.pre.iter().enumerate() {
            f.write_str(if index == 0 { "-" } else { "." })?;
            match pre {
                Pre::Number(n) => write!(f, "{n}")?,
                Pre::Word(word) => f.write_str(word)?,
            }
        }
        for (index, build) in self.build.iter().enumerate() {
            write!(f, "{}{build}", if index == 0 { "+" } else { "." })?;
        }
        Ok(())
    }
}

impl Semver {
    /// Go: `semver.Parse`.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let (major, minor) = (number(parts.next()?)?, number(parts.next()?)?);
        let rest = parts.next()?;
        let (rest, build) = rest.split_once('+').map_or((rest, None), |(rest, build)| (rest, Some(build)));
        let (patch, pre) = rest.split_once('-').map_or((rest, None), |(patch, pre)| (patch, Some(pre)));
        let patch = number(patch)?;
        let pre = pre.map_or(Some(Vec::new()), |pre| pre.split('.').map(pre_release).collect())?;
        let build = build.map_or(Some(Vec::new()), |build| {
            build.split('.').map(|word| is_word(word).then(|| word.to_owned())).collect()
        })?;
        Some(Self { major, minor, patch, pre, build })
    }

    /// Go: `normalizeAndParse`.
    fn parse_normalized(text: &str) -> Option<Self> {
        let text = text.strip_prefix('v').unwrap_or(text);
        let mut parts: Vec<Cow<'_, str>> = text.splitn(3, '.').map(Cow::Borrowed).collect();
        for part in &mut parts {
            if part.len() > 1 {
                let trimmed = part.trim_start_matches('0');
                *part = if trimmed.starts_with(|c: char| c.is_ascii_digit()) {
                    Cow::Owned(trimmed.to_owned())
                } else {
                    Cow::Owned(format!("0{trimmed}"))
                };
            }
        }
        if parts.len() < 3 {
            if parts.last().is_some_and(|last| last.contains(['+', '-'])) {
                return None;
            }
            parts.resize(3, Cow::Borrowed("0"));
        }
        Self::parse(&parts.join("."))
    }

    /// What is built of does not count. Go: `Version.Compare`.
    pub(in super::super) fn order(&self, other: &Self) -> Ordering {
        let numbers = |v: &Self| (v.major, v.minor, v.patch);
        numbers(self).cmp(&numbers(other)).then_with(|| match (self.pre.is_empty(), other.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => self.pre.cmp(&other.pre),
        })
    }
}

fn number(text: &str) -> Option<u64> {
    let sound = text.bytes().all(|b| b.is_ascii_digit()) && (text.len() <= 1 || !text.starts_with('0'));
    text.parse().ok().filter(|_| sound)
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Go: `NewPRVersion`.
fn pre_release(text: &str) -> Option<Pre> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return number(text).map(Pre::Number);
    }
    is_word(text).then(|| Pre::Word(text.to_owned()))
}

pub(super) fn find(id: &str) -> Option<Run> {
    Some(match id {
        "string_to_semver" | "string_bool_to_semver" => |_, args| match parsed(args)? {
            Some(version) => Ok(Val::Semver(Arc::new(version))),
            None => Err(Error::new("invalid semantic version")),
        },
        "is_semver_string" | "is_semver_string_bool" => |_, args| Ok(Val::Bool(parsed(args)?.is_some())),
        "semver_is_greater_than" => |_, args| Ok(Val::Bool(order(args)? == Ordering::Greater)),
        "semver_is_less_than" => |_, args| Ok(Val::Bool(order(args)? == Ordering::Less)),
        "semver_compare_to" => |_, args| Ok(Val::Int(sign_of(order(args)?))),
        "semver_major" => |_, args| part(args, |v| v.major),
        "semver_minor" => |_, args| part(args, |v| v.minor),
        "semver_patch" => |_, args| part(args, |v| v.patch),
        _ => return None,
    })
}

fn parsed(args: &[Val<'_>]) -> Result<Option<Semver>, Error> {
    let text = text(args, 0)?.as_str();
    Ok(match args.get(1) {
        None | Some(Val::Bool(false)) => Semver::parse(text),
        Some(Val::Bool(true)) => Semver::parse_normalized(text),
        Some(_) => return Err(Error::no_such_overload()),
    })
}

fn order(args: &[Val<'_>]) -> Result<Ordering, Error> {
    match args {
        [Val::Semver(a), Val::Semver(b)] => Ok(a.order(b)),
        _ => Err(Error::no_such_overload()),
    }
}

fn part<'a>(args: &[Val<'a>], of: fn(&Semver) -> u64) -> Evaluated<'a> {
    match args {
        // Go: `types.Int(v.Major)` wraps around.
        [Val::Semver(version)] => Ok(Val::Int(of(version).cast_signed())),
        _ => Err(Error::no_such_overload()),
    }
}
