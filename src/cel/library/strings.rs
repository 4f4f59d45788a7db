//! Functions of strings, which count in code points. Go: `common/types/string.go` and `ext/strings.go` (version 2).

use super::super::evaluate::{Error, Evaluated, Meter};
use super::super::numbers;
use super::super::value::{Text, Val};
use super::{Run, format, int, text};

pub(super) fn find(id: &str) -> Option<Run> {
    Some(match id {
        "contains_string" => |_, args| test(args, |s, part| s.contains(part)),
        "starts_with_string" => |_, args| test(args, |s, part| s.starts_with(part)),
        "ends_with_string" => |_, args| test(args, |s, part| s.ends_with(part)),
        "string_char_at_int" => char_at,
        "string_index_of_string" | "string_index_of_string_int" => index_of,
        "string_last_index_of_string" | "string_last_index_of_string_int" => last_index_of,
        "string_lower_ascii" => |meter, args| made(meter, args, str::to_ascii_lowercase),
        "string_upper_ascii" => |meter, args| made(meter, args, str::to_ascii_uppercase),
        "string_replace_string_string" | "string_replace_string_string_int" => replace,
        "string_split_string" | "string_split_string_int" => split,
        "string_substring_int" | "string_substring_int_int" => substring,
        "string_trim" => |_, args| Ok(part_of(text(args, 0)?, str::trim)),
        "strings_quote" => |meter, args| made(meter, args, quote),
        "string_format" => format::format,
        _ => return None,
    })
}

fn test<'a>(args: &[Val<'a>], holds: fn(&str, &str) -> bool) -> Evaluated<'a> {
    Ok(Val::Bool(holds(text(args, 0)?.as_str(), text(args, 1)?.as_str())))
}

fn made<'a>(meter: &Meter, args: &[Val<'a>], make: fn(&str) -> String) -> Evaluated<'a> {
    let s = text(args, 0)?;
    meter.work(s.as_str().len())?;
    Ok(Val::string(make(s.as_str())))
}

/// A part of a string, borrowed if the whole is.
fn part_of<'a>(whole: &Text<'a>, part: impl for<'s> Fn(&'s str) -> &'s str) -> Val<'a> {
    match whole {
        Text::Borrowed(s) => Val::str(part(s)),
        Text::Made(s) => Val::string(part(s)),
    }
}

fn out_of_range(index: i64) -> Error {
    Error::new(format!("index out of range: {index}"))
}

/// Where in the bytes of a string a character begins, the end included.
fn byte_of(s: &str, index: i64) -> Option<usize> {
    let index = usize::try_from(index).ok()?;
    if s.is_ascii() {
        return (index <= s.len()).then_some(index);
    }
    s.char_indices().map(|(at, _)| at).chain([s.len()]).nth(index)
}

fn char_at<'a>(_: &Meter, args: &[Val<'a>]) -> Evaluated<'a> {
    let (s, index) = (text(args, 0)?, int(args, 1)?);
    let at = byte_of(s.as_str(), index).ok_or_else(|| out_of_range(index))?;
    Ok(part_of(s, |s| {
        let rest = &s[at..];
        rest.chars().next().map_or("", |c| &rest[..c.len_utf8()])
    }))
}

fn index_of<'a>(_: &Meter, args: &[Val<'a>]) -> Evaluated<'a> {
    let (s, part) = (text(args, 0)?.as_str(), text(args, 1)?.as_str());
    let offset = if args.len() > 2 { int(args, 2)? } else { 0 };
    if part.is_empty() {
        return Ok(Val::Int(offset));
    }
    if offset < 0 {
        return Err(out_of_range(offset));
    }
    let Some(from) = byte_of(s, offset) else { return Ok(Val::Int(-1)) };
    Ok(match s[from..].find(part) {
        Some(at) => Val::size(numbers::code_points(&s[..from + at])),
        None => Val::Int(-1),
    })
}

fn last_index_of<'a>(_: &Meter, args: &[Val<'a>]) -> Evaluated<'a> {
    let (s, part) = (text(args, 0)?.as_str(), text(args, 1)?.as_str());
    let found = |within: &str| match within.rfind(part) {
        Some(at) => Val::size(numbers::code_points(&s[..at])),
        None => Val::Int(-1),
    };
    if args.len() <= 2 {
        return Ok(if part.is_empty() { Val::size(numbers::code_points(s)) } else { found(s) });
    }
    let offset = int(args, 2)?;
    if part.is_empty() {
        return Ok(Val::Int(offset));
    }
    if offset < 0 {
        return Err(out_of_range(offset));
    }
    // A match has to begin at the offset or before.
    let Some(from) = byte_of(s, offset).filter(|from| *from < s.len()) else { return Ok(Val::Int(-1)) };
    let mut end = (from + part.len()).min(s.len());
    while !s.is_char_boundary(end) {
        end += 1;
    }
    // What ends behind may still begin later, in a string of other characters.
    let mut within = &s[..end];
    while let Some(at) = within.rfind(part) {
        if at <= from {
            return Ok(Val::size(numbers::code_points(&s[..at])));
        }
        // Without the match's last character.
        within = &within[..at + part.len() - part.chars().next_back().map_or(1, char::len_utf8)];
    }
    Ok(Val::Int(-1))
}

fn replace<'a>(meter: &Meter, args: &[Val<'a>]) -> Evaluated<'a> {
    let (s, old, new) = (text(args, 0)?.as_str(), text(args, 1)?.as_str(), text(args, 2)?.as_str());
    let limit = if args.len() > 3 { int(args, 3)? } else { -1 };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let matches = if old.is_empty() { numbers::code_points(s) + 1 } else { s.matches(old).count() };
    meter.work(s.len().saturating_add(matches.min(limit).saturating_mul(new.len())))?;
    Ok(Val::string(s.replacen(old, new, limit)))
}

/// Go: `strings.Split` and `strings.SplitN`, whose list is no list to a mapping.
fn split<'a>(meter: &Meter, args: &[Val<'a>]) -> Evaluated<'a> {
    let (text, separator) = (text(args, 0)?, text(args, 1)?.as_str());
    let limit = if args.len() > 2 { int(args, 2)? } else { -1 };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let whole = text.as_str();
    meter.work(whole.len())?;
    let mut ranges = Vec::new();
    let mut from = 0;
    if limit > 0 {
        // Without a separator every character is a part, and nothing is none.
        let cuts: Box<dyn Iterator<Item = (usize, usize)>> = if separator.is_empty() {
            Box::new(whole.char_indices().skip(1).map(|(at, _)| (at, at)))
        } else {
            Box::new(whole.match_indices(separator).map(|(at, found)| (at, at + found.len())))
        };
        for (to, next) in cuts.take(limit - 1) {
            meter.items(1)?;
            ranges.push(from..to);
            from = next;
        }
        if !(separator.is_empty() && whole.is_empty()) {
            ranges.push(from..whole.len());
        }
    }
    let parts = ranges.into_iter().map(|range| match text {
        Text::Borrowed(whole) => Text::Borrowed(&whole[range]),
        Text::Made(whole) => Text::Made(whole[range].into()),
    });
    Ok(Val::strings(parts.collect()))
}

fn substring<'a>(_: &Meter, args: &[Val<'a>]) -> Evaluated<'a> {
    let (s, start) = (text(args, 0)?, int(args, 1)?);
    let whole = s.as_str();
    if args.len() <= 2 {
        let from = byte_of(whole, start).ok_or_else(|| out_of_range(start))?;
        return Ok(part_of(s, |s| &s[from..]));
    }
    let end = int(args, 2)?;
    if start > end {
        return Err(Error::new(format!("invalid substring range. start: {start}, end: {end}")));
    }
    let from = byte_of(whole, start).ok_or_else(|| out_of_range(start))?;
    let to = byte_of(whole, end).ok_or_else(|| out_of_range(end))?;
    Ok(part_of(s, |s| &s[from..to]))
}

/// Go: `quote`.
fn quote(s: &str) -> String {
    let mut quoted = String::with_capacity(s.len() + 2);
    quoted.push('"');
    for c in s.chars() {
        match c {
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{c}' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{b}' => quoted.push_str("\\v"),
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
