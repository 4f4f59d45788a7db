//! What is wrong with an expression, and where, in cel-go's words (`common/errors.go`, `common/error.go`).

use std::fmt::Write;

/// Longer lists of errors are cut. Go: `maxErrorsToReport`.
const MAX_ERRORS: usize = 100;
/// Longer lines are not shown. Go: `maxSnippetLength`.
const MAX_SNIPPET: usize = 16384;

/// A place in the source: the line from 1, the column from 0, both in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Location {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// The errors that were found in one source.
#[derive(Debug)]
pub(super) struct Diagnostics<'a> {
    source: &'a str,
    errors: Vec<(Option<Location>, String)>,
}

impl<'a> Diagnostics<'a> {
    pub(super) fn new(source: &'a str) -> Self {
        Self { source, errors: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    /// An error at a known place, or, without one, an error of the whole.
    pub(super) fn report(&mut self, location: Option<Location>, message: impl Into<String>) {
        self.errors.push((location, message.into()));
    }

    /// All of it, in the order of the source. Go: `Errors.ToDisplayString`.
    pub(super) fn text(mut self) -> String {
        let total = self.errors.len();
        self.errors.truncate(MAX_ERRORS);
        self.errors.sort_by_key(|(location, _)| *location);
        let mut lines: Vec<String> =
            self.errors.iter().map(|(location, message)| self.display(*location, message)).collect();
        if total > MAX_ERRORS {
            lines.push(format!("{} more errors were truncated", total - MAX_ERRORS));
        }
        lines.join("\n")
    }

    /// One error with its line and a caret. Go: `Error.ToDisplayString`.
    fn display(&self, location: Option<Location>, message: &str) -> String {
        let Some(Location { line, column }) = location else {
            return format!("ERROR: <input>:-1:0: {message}");
        };
        let mut text = format!("ERROR: <input>:{line}:{}: {message}", column + 1);
        let snippet = line.checked_sub(1).and_then(|line| self.source.split('\n').nth(line));
        if let Some(snippet) = snippet.filter(|snippet| snippet.len() <= MAX_SNIPPET) {
            let snippet = snippet.replace('\t', " ");
            let _ = write!(text, "\n | {snippet}\n | ");
            let mut chars = snippet.chars();
            for _ in 0..column {
                match chars.next() {
                    Some(c) => text.push(if c.is_ascii() { '.' } else { '\u{ff0e}' }),
                    None => break,
                }
            }
            text.push(if chars.next().is_none_or(|c| c.is_ascii()) { '^' } else { '\u{ff3e}' });
        }
        text
    }
}

/// The place of a byte of the source.
pub(super) fn locate(source: &str, offset: usize) -> Location {
    let mut location = Location { line: 1, column: 0 };
    for c in source.char_indices().take_while(|(at, _)| *at < offset).map(|(_, c)| c) {
        if c == '\n' {
            location = Location { line: location.line + 1, column: 0 };
        } else {
            location.column += 1;
        }
    }
    location
}
