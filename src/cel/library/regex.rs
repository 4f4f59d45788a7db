//! Regular expressions as in Go's package `regexp`, run by the crate `regex`: both match in linear time, and prefer the same match.

use super::super::evaluate::{Error, Evaluated, Meter};
use super::super::value::{Text, Val};
use super::regex_syntax::Translation;
use super::{Run, RunRegex, int, text};

/// How large a compiled pattern of the expression may be; the crate's own default.
const SIZE_LIMIT: usize = 10 * 1024 * 1024;
/// The same for a pattern that is made when the expression runs, perhaps of a claim.
const RUNTIME_SIZE_LIMIT: usize = 1024 * 1024;

/// A compiled pattern.
pub(in super::super) struct Pattern(regex::Regex);

/// Why there is no pattern.
pub(in super::super) enum Refused {
    /// Go does not take it either. Go's words.
    Invalid(String),
    /// Go takes it.
    Unsupported(&'static str),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Invalid(why) => write!(f, "error parsing regexp: {why}"),
            Self::Unsupported(what) => write!(f, "{what} in a regular expression is not supported here"),
        }
    }
}

impl Pattern {
    /// Compiles a pattern of an expression.
    pub(in super::super) fn new(pattern: &str) -> Result<Self, Refused> {
        Self::limited(pattern, SIZE_LIMIT)
    }

    fn limited(pattern: &str, size_limit: usize) -> Result<Self, Refused> {
        let translated = Translation::of(pattern)?;
        regex::RegexBuilder::new(&translated)
            .size_limit(size_limit)
            .build()
            .map(Self)
            .map_err(|_| Refused::Unsupported("a pattern of this size"))
    }
}

pub(super) fn find(id: &str) -> Option<Run> {
    Some(match id {
        "string_find_string" => |_, args| find_first(args, &compile(args)?),
        "string_find_all_string" | "string_find_all_string_int" => {
            |meter, args| find_all(meter, args, &compile(args)?)
        }
        _ => return None,
    })
}

/// What a function with a constant pattern runs.
pub(in super::super) fn with_pattern(function: &str) -> Option<RunRegex> {
    Some(match function {
        "matches" => |_, args, pattern| is_match(args, pattern),
        "find" => |_, args, pattern| find_first(args, pattern),
        "findAll" => find_all,
        _ => return None,
    })
}

/// `matches` with a pattern that is not constant.
pub(super) fn matches<'a>(_: &Meter, args: &[Val<'a>]) -> Evaluated<'a> {
    text(args, 0)?;
    is_match(args, &compile(args)?)
}

fn compile(args: &[Val<'_>]) -> Result<Pattern, Error> {
    Pattern::limited(text(args, 1)?.as_str(), RUNTIME_SIZE_LIMIT).map_err(|why| Error::new(why.to_string()))
}

fn is_match<'a>(args: &[Val<'a>], pattern: &Pattern) -> Evaluated<'a> {
    Ok(Val::Bool(pattern.0.is_match(text(args, 0)?.as_str())))
}

fn find_first<'a>(args: &[Val<'a>], pattern: &Pattern) -> Evaluated<'a> {
    Ok(match text(args, 0)? {
        Text::Borrowed(s) => Val::str(pattern.0.find(s).map_or("", |found| found.as_str())),
        Text::Made(s) => Val::string(pattern.0.find(s).map_or("", |found| found.as_str())),
    })
}

/// Go: `findAll`, whose list is no list to a mapping.
fn find_all<'a>(meter: &Meter, args: &[Val<'a>], pattern: &Pattern) -> Evaluated<'a> {
    let limit = if args.len() > 2 { int(args, 2)? } else { -1 };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let whole = text(args, 0)?;
    let mut found = Vec::new();
    let mut ends_at = None;
    for one in pattern.0.find_iter(whole.as_str()) {
        if found.len() == limit {
            break;
        }
        // Go drops an empty match right behind the one before.
        if one.is_empty() && ends_at == Some(one.start()) {
            continue;
        }
        ends_at = Some(one.end());
        meter.items(1)?;
        found.push(match whole {
            Text::Borrowed(s) => Text::Borrowed(&s[one.range()]),
            Text::Made(s) => Text::Made(s[one.range()].into()),
        });
    }
    Ok(Val::strings(found))
}
