//! The syntax of regular expressions: a pattern is read as Go's `regexp/syntax/parse.go` reads it (flags `Perl`), and written down again
//! in words that mean the same to the crate `regex`. What has no such words is refused.

use std::fmt::Write;

use super::regex::Refused;

/// How often something may be repeated, inner repetitions multiplied. Go: `repeatIsValid(re, 1000)`.
const MAX_REPEAT: u32 = 1000;
/// How deep groups may be nested. Go allows 1000.
const MAX_DEPTH: usize = 100;

/// What can be repeated: where it begins in what is written, and how often its inside is repeated already.
#[derive(Clone, Copy)]
struct Atom {
    start: usize,
    repeats: u32,
}

/// A group that is open.
struct Group {
    start: usize,
    flags: Flags,
    repeats: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Flags {
    ignore_case: bool,
    multi_line: bool,
    dot_all: bool,
    ungreedy: bool,
}

/// A pattern while it is read.
pub(super) struct Translation<'p> {
    rest: &'p str,
    whole: &'p str,
    written: String,
    groups: Vec<Group>,
    flags: Flags,
    /// What a repetition would repeat.
    atom: Option<Atom>,
    /// The highest count of nested repetitions in the group so far.
    repeats: u32,
}

impl<'p> Translation<'p> {
    /// The pattern in the crate's words.
    pub(super) fn of(pattern: &'p str) -> Result<String, Refused> {
        let flags = Flags { ignore_case: false, multi_line: false, dot_all: false, ungreedy: false };
        let mut translation = Self {
            rest: pattern,
            whole: pattern,
            written: String::new(),
            groups: Vec::new(),
            flags,
            atom: None,
            repeats: 1,
        };
        translation.read()?;
        Ok(translation.written)
    }

    fn take(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn read(&mut self) -> Result<(), Refused> {
        let mut repeated = false;
        while let Some(c) = self.rest.chars().next() {
            let before = self.rest;
            let was_repeated = std::mem::take(&mut repeated);
            match c {
                '(' => self.open()?,
                '|' => {
                    self.take();
                    self.written.push('|');
                    self.atom = None;
                }
                ')' => self.close()?,
                '*' | '+' | '?' => {
                    self.take();
                    self.repeat(before, 1, was_repeated, &before[..1])?;
                    repeated = true;
                }
                '{' => match self.counted() {
                    Some((min, max)) => {
                        self.counted_repeat(before, min, max, was_repeated)?;
                        repeated = true;
                    }
                    None => {
                        self.take();
                        self.literal('{');
                    }
                },
                '[' => self.class()?,
                '^' | '$' | '.' => {
                    self.take();
                    self.begin();
                    self.written.push(c);
                }
                '\\' => self.escape()?,
                c => {
                    self.take();
                    self.literal(c);
                }
            }
        }
        if self.groups.is_empty() {
            return Ok(());
        }
        Err(Refused::Invalid(format!("missing closing ): `{}`", self.whole)))
    }

    /// Begins something that can be repeated.
    fn begin(&mut self) {
        self.atom = Some(Atom { start: self.written.len(), repeats: 1 });
    }

    fn literal(&mut self, c: char) {
        self.begin();
        write_char(&mut self.written, c);
    }

    /// `(`. Go: `parsePerlFlags`.
    fn open(&mut self) -> Result<(), Refused> {
        if self.groups.len() >= MAX_DEPTH {
            return Err(Refused::Unsupported("deep nesting"));
        }
        let opened = self.rest;
        let group = Group { start: self.written.len(), flags: self.flags, repeats: self.repeats };
        let Some(inner) = self.rest.strip_prefix("(?") else {
            self.take();
            self.enter(group);
            return Ok(());
        };
        if let Some(named) = inner.strip_prefix("P<").or_else(|| inner.strip_prefix('<')) {
            let invalid = |text: &str| Err(Refused::Invalid(format!("invalid named capture: `{text}`")));
            let Some((name, rest)) = named.split_once('>') else { return invalid(opened) };
            let sound = !name.is_empty() && name.chars().all(|c| c == '_' || c.is_ascii_alphanumeric());
            if !sound {
                return invalid(&opened[..opened.len() - rest.len()]);
            }
            self.rest = rest;
            self.enter(group);
            return Ok(());
        }
        self.rest = inner;
        let (mut flags, mut on, mut seen) = (self.flags, true, false);
        loop {
            let flag = match self.take() {
                Some('i') => &mut flags.ignore_case,
                Some('m') => &mut flags.multi_line,
                Some('s') => &mut flags.dot_all,
                Some('U') => &mut flags.ungreedy,
                Some('-') if on => {
                    (on, seen) = (false, false);
                    continue;
                }
                Some(end @ (':' | ')')) if on || seen => {
                    self.flags = flags;
                    if end == ':' {
                        self.enter(group);
                    } else {
                        self.write_flags(")");
                        // Go would repeat what stands before the flags.
                        if self.rest.starts_with(['*', '+', '?', '{']) {
                            return Err(Refused::Unsupported("a repetition behind flags"));
                        }
                    }
                    return Ok(());
                }
                _ => {
                    let read = &opened[..opened.len() - self.rest.len()];
                    return Err(Refused::Invalid(format!("invalid or unsupported Perl syntax: `{read}`")));
                }
            };
            *flag = on;
            seen = true;
        }
    }

    /// Writes the flags that hold from here on, all of them.
    fn write_flags(&mut self, end: &str) {
        let Flags { ignore_case, multi_line, dot_all, ungreedy } = self.flags;
        let all = [('i', ignore_case), ('m', multi_line), ('s', dot_all), ('U', ungreedy)];
        self.written.push_str("(?");
        self.written.extend(all.iter().filter(|(_, on)| *on).map(|(flag, _)| flag));
        if all.iter().any(|(_, on)| !on) {
            self.written.push('-');
            self.written.extend(all.iter().filter(|(_, on)| !on).map(|(flag, _)| flag));
        }
        self.written.push_str(end);
    }

    fn enter(&mut self, group: Group) {
        self.groups.push(group);
        self.write_flags(":");
        self.atom = None;
        self.repeats = 1;
    }

    fn close(&mut self) -> Result<(), Refused> {
        let Some(group) = self.groups.pop() else {
            return Err(Refused::Invalid(format!("unexpected ): `{}`", self.whole)));
        };
        self.take();
        self.written.push(')');
        self.flags = group.flags;
        self.atom = Some(Atom { start: group.start, repeats: self.repeats });
        self.repeats = group.repeats.max(self.repeats);
        Ok(())
    }

    /// `{n}`, `{n,}` or `{n,m}` right here, which stays. Go: `parseRepeat`.
    fn counted(&self) -> Option<(u32, Option<u32>)> {
        let (inner, _) = self.rest.strip_prefix('{')?.split_once('}')?;
        let (min, max) = match inner.split_once(',') {
            None => (inner, Some(inner)),
            Some((min, "")) => (min, None),
            Some((min, max)) => (min, Some(max)),
        };
        let number = |text: &str| {
            let sound = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
            // What is too large to count is too large in any case.
            (sound && !text.is_empty()).then(|| text.parse().unwrap_or(u32::MAX))
        };
        Some((
            number(min)?,
            match max {
                Some(max) => Some(number(max)?),
                None => None,
            },
        ))
    }

    fn counted_repeat(
        &mut self,
        before: &'p str,
        min: u32,
        max: Option<u32>,
        was_repeated: bool,
    ) -> Result<(), Refused> {
        let length = before.find('}').map_or(before.len(), |end| end + 1);
        let operator = &before[..length];
        let invalid = || Refused::Invalid(format!("invalid repeat count: `{operator}`"));
        if min > MAX_REPEAT || max.is_some_and(|max| max > MAX_REPEAT || min > max) {
            return Err(invalid());
        }
        self.rest = &before[length..];
        let times = max.unwrap_or(min).max(1);
        let repeats = self.repeat(before, times, was_repeated, operator)?;
        let counts = min >= 2 || max.is_some_and(|max| max >= 2);
        if counts && max != Some(0) && repeats > MAX_REPEAT {
            return Err(invalid());
        }
        Ok(())
    }

    /// Repeats the atom, and says how often its innermost part is repeated then. Go: `parser.repeat`.
    fn repeat(
        &mut self,
        before: &'p str,
        times: u32,
        was_repeated: bool,
        operator: &str,
    ) -> Result<u32, Refused> {
        let lazy = self.rest.starts_with('?');
        if lazy {
            self.take();
        }
        let read = &before[..before.len() - self.rest.len()];
        if was_repeated {
            return Err(Refused::Invalid(format!("invalid nested repetition operator: `{read}`")));
        }
        let Some(atom) = self.atom else {
            return Err(Refused::Invalid(format!("missing argument to repetition operator: `{read}`")));
        };
        // A group around it, since what stands there may be several characters of the crate's syntax.
        self.written.insert_str(atom.start, "(?:");
        self.written.push(')');
        self.written.push_str(operator);
        if lazy {
            self.written.push('?');
        }
        let repeats = atom.repeats.saturating_mul(times);
        self.atom = Some(Atom { start: atom.start, repeats });
        self.repeats = self.repeats.max(repeats);
        Ok(repeats)
    }

    /// `\` outside of brackets.
    fn escape(&mut self) -> Result<(), Refused> {
        let mut chars = self.rest[1..].chars();
        match chars.next() {
            Some('A') => self.simple("\\A"),
            Some('z') => self.simple("\\z"),
            Some('b') => self.simple("(?-u:\\b)"),
            // To the crate, an ASCII `\B` may lie within a character.
            Some('B') => return Err(Refused::Unsupported("\\B")),
            Some('C') => return Err(Refused::Invalid("invalid escape sequence: `\\C`".to_owned())),
            Some('Q') => {
                let quoted = &self.rest[2..];
                let (literal, rest) = quoted.split_once("\\E").unwrap_or((quoted, ""));
                self.rest = rest;
                literal.chars().for_each(|c| self.literal(c));
            }
            _ => {
                let mut class = String::new();
                if self.class_escape(&mut class)? {
                    self.begin();
                    self.written.push_str(&class);
                } else {
                    let c = self.char_escape()?;
                    self.literal(c);
                }
            }
        }
        Ok(())
    }

    fn simple(&mut self, written: &str) {
        self.rest = &self.rest[2..];
        self.begin();
        self.written.push_str(written);
    }

    /// `\d`, `\pL` and the like, here or within brackets. Go: `parsePerlClassEscape`, `parseUnicodeClass`.
    fn class_escape(&mut self, class: &mut String) -> Result<bool, Refused> {
        let mut chars = self.rest.chars();
        if chars.next() != Some('\\') {
            return Ok(false);
        }
        let ranges = match chars.next() {
            Some('d') => "[0-9]",
            Some('D') => "[^0-9]",
            Some('s') => "[\\t\\n\\f\\r ]",
            Some('S') => "[^\\t\\n\\f\\r ]",
            Some('w') => "[0-9A-Za-z_]",
            Some('W') => "[^0-9A-Za-z_]",
            Some(p @ ('p' | 'P')) => {
                self.unicode_class(p == 'P', class)?;
                return Ok(true);
            }
            _ => return Ok(false),
        };
        class.push_str(ranges);
        self.rest = &self.rest[2..];
        Ok(true)
    }

    fn unicode_class(&mut self, negated: bool, class: &mut String) -> Result<(), Refused> {
        let after = &self.rest[2..];
        let (name, rest) = match after.strip_prefix('{') {
            Some(inner) => inner
                .split_once('}')
                .ok_or_else(|| Refused::Invalid(format!("invalid character class range: `{}`", self.rest)))?,
            None => {
                let length = after.chars().next().map_or(0, char::len_utf8);
                after.split_at(length)
            }
        };
        let (name, negated) = name.strip_prefix('^').map_or((name, negated), |name| (name, !negated));
        if !UNICODE_CLASSES.contains(&name) {
            return Err(Refused::Unsupported("this class of Unicode characters"));
        }
        let _ = write!(class, "\\{}{{{name}}}", if negated { 'P' } else { 'p' });
        self.rest = rest;
        Ok(())
    }

    /// One character. Go: `parseEscape`.
    fn char_escape(&mut self) -> Result<char, Refused> {
        let start = self.rest;
        self.take();
        let found = match self.take() {
            None => return Err(Refused::Invalid("trailing backslash at end of expression: ``".to_owned())),
            Some(digit @ '0'..='7') => {
                let octal = |c: char| c.to_digit(8);
                let mut value = octal(digit);
                if digit == '0' || self.rest.starts_with(|c| octal(c).is_some()) {
                    for _ in 0..2 {
                        let Some(next) = self.rest.chars().next().and_then(octal) else { break };
                        value = value.map(|value| value * 8 + next);
                        self.take();
                    }
                } else {
                    // A reference to a group.
                    value = None;
                }
                value.and_then(char::from_u32)
            }
            Some('x') => self.hexadecimal(),
            Some('a') => Some('\u{7}'),
            Some('f') => Some('\u{c}'),
            Some('n') => Some('\n'),
            Some('r') => Some('\r'),
            Some('t') => Some('\t'),
            Some('v') => Some('\u{b}'),
            Some(c) => (c.is_ascii() && !c.is_ascii_alphanumeric()).then_some(c),
        };
        found.ok_or_else(|| {
            let read = &start[..start.len() - self.rest.len()];
            Refused::Invalid(format!("invalid escape sequence: `{read}`"))
        })
    }

    fn hexadecimal(&mut self) -> Option<char> {
        let (digits, rest) = match self.rest.strip_prefix('{') {
            Some(inner) => inner.split_once('}')?,
            None => self.rest.split_at_checked(2)?,
        };
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let significant = digits.trim_start_matches('0');
        let value = if significant.is_empty() { 0 } else { u32::from_str_radix(significant, 16).ok()? };
        self.rest = rest;
        // Go takes surrogates, which no string holds.
        char::from_u32(value)
    }

    /// `[...]`. Go: `parseClass`.
    fn class(&mut self) -> Result<(), Refused> {
        let whole = self.rest;
        let missing = || Refused::Invalid(format!("missing closing ]: `{whole}`"));
        self.take();
        let mut class = String::from("[");
        if self.rest.starts_with('^') {
            self.take();
            class.push('^');
        }
        let mut first = true;
        loop {
            match self.rest.chars().next() {
                None => return Err(missing()),
                Some(']') if !first => break,
                Some(_) => first = false,
            }
            if self.rest.starts_with("[:")
                && let Some(end) = self.rest[2..].find(":]")
            {
                let (name, rest) = self.rest.split_at(end + 4);
                let inner = &name[2..name.len() - 2];
                let plain = inner.strip_prefix('^').unwrap_or(inner);
                if !POSIX_CLASSES.contains(&plain) {
                    return Err(Refused::Invalid(format!("invalid character class range: `{name}`")));
                }
                class.push_str(name);
                self.rest = rest;
                continue;
            }
            if self.class_escape(&mut class)? {
                continue;
            }
            let range = self.rest;
            let low = self.class_char().ok_or_else(missing)??;
            let mut high = low;
            if self.rest.len() >= 2 && self.rest.starts_with('-') && !self.rest.starts_with("-]") {
                self.take();
                high = self.class_char().ok_or_else(missing)??;
                if high < low {
                    let read = &range[..range.len() - self.rest.len()];
                    return Err(Refused::Invalid(format!("invalid character class range: `{read}`")));
                }
            }
            write_char(&mut class, low);
            if high != low {
                class.push('-');
                write_char(&mut class, high);
            }
        }
        self.take();
        class.push(']');
        self.begin();
        self.written.push_str(&class);
        Ok(())
    }

    fn class_char(&mut self) -> Option<Result<char, Refused>> {
        if self.rest.starts_with('\\') { Some(self.char_escape()) } else { self.take().map(Ok) }
    }
}

fn write_char(into: &mut String, c: char) {
    if c.is_ascii_alphanumeric() || !c.is_ascii() {
        into.push(c);
    } else {
        let _ = write!(into, "\\x{{{:x}}}", u32::from(c));
    }
}

/// Go: `posixGroup`.
const POSIX_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

/// General categories and scripts that both libraries know by the same name. Go's `C` is without what is not assigned, so it and its
/// parts are not among them.
const UNICODE_CLASSES: [&str; 57] = [
    "L",
    "Ll",
    "Lm",
    "Lo",
    "Lt",
    "Lu",
    "M",
    "Mc",
    "Me",
    "Mn",
    "N",
    "Nd",
    "Nl",
    "No",
    "P",
    "Pc",
    "Pd",
    "Pe",
    "Pf",
    "Pi",
    "Po",
    "Ps",
    "S",
    "Sc",
    "Sk",
    "Sm",
    "So",
    "Z",
    "Zl",
    "Zp",
    "Zs",
    "Arabic",
    "Armenian",
    "Bengali",
    "Cyrillic",
    "Devanagari",
    "Ethiopic",
    "Georgian",
    "Greek",
    "Gujarati",
    "Gurmukhi",
    "Han",
    "Hangul",
    "Hebrew",
    "Hiragana",
    "Kannada",
    "Katakana",
    "Khmer",
    "Lao",
    "Latin",
    "Malayalam",
    "Mongolian",
    "Myanmar",
    "Sinhala",
    "Tamil",
    "Telugu",
    "Thai",
];
