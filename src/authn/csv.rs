//! Comma-separated values as Go's `encoding/csv` reads them (GOROOT/src/encoding/csv/reader.go, `readRecord`), with
//! `FieldsPerRecord = -1`. The crate `csv` takes a bare quote, or text after a closing one, where Go refuses the file.
//!
//! Quotes: a field that begins with `"` runs to the next single `"`, over commas and lines; `""` within is one `"`. Empty
//! lines are skipped, `\r\n` counts as `\n`, a `\r` before the end of the file is dropped, `#` is no comment.

use thiserror::Error;

/// A record: the line that it starts on, counted from 1, and its fields.
#[derive(Debug, PartialEq, Eq)]
pub struct Record {
    /// The line that the record starts on.
    pub line: usize,
    /// At least one field.
    pub fields: Vec<String>,
}

/// What is wrong with a file, and where. Columns count bytes from 1, as Go's do.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum CsvError {
    /// A quote in a field that does not begin with one.
    #[error(
        "line {line}, column {column}: bare \" in a field that is not quoted; quote the field and double the quote in it"
    )]
    BareQuote {
        /// The line of the quote.
        line: usize,
        /// Its column.
        column: usize,
    },
    /// Text after a closing quote, or no closing quote at all.
    #[error("line {line}, column {column}: extraneous or missing \" in a quoted field")]
    Quote {
        /// The line where it was noticed.
        line: usize,
        /// The column.
        column: usize,
    },
    /// Bytes that are not UTF-8. Go keeps them; a header cannot carry them.
    #[error("line {line}: not UTF-8")]
    NotUtf8 {
        /// The line that the record starts on.
        line: usize,
    },
}

/// All records of `text`, or the first thing that is wrong with it.
pub fn parse(text: &[u8]) -> Result<Vec<Record>, CsvError> {
    records(text).collect()
}

/// The same one by one. Nothing follows an error.
pub fn records(text: &[u8]) -> impl Iterator<Item = Result<Record, CsvError>> {
    let mut reader = Some(Reader { rest: text, line_number: 0 });
    std::iter::from_fn(move || {
        let record = reader.as_mut()?.next_record().transpose();
        if !matches!(record, Some(Ok(_))) {
            reader = None;
        }
        record
    })
}

struct Reader<'a> {
    rest: &'a [u8],
    line_number: usize,
}

/// A line without its end, and whether it had one.
#[derive(Clone, Copy)]
struct Line<'a> {
    text: &'a [u8],
    ended: bool,
}

impl<'a> Reader<'a> {
    fn next_record(&mut self) -> Result<Option<Record>, CsvError> {
        while let Some(line) = self.next_line() {
            if line.text.is_empty() {
                continue;
            }
            let start = self.line_number;
            let fields = self.record(line)?.into_iter().map(String::from_utf8).collect::<Result<_, _>>();
            let fields = fields.map_err(|_| CsvError::NotUtf8 { line: start })?;
            return Ok(Some(Record { line: start, fields }));
        }
        Ok(None)
    }

    /// Go: `Reader.readLine`.
    fn next_line(&mut self) -> Option<Line<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        self.line_number += 1;
        let (text, rest, ended) = match self.rest.iter().position(|b| *b == b'\n') {
            Some(end) => (&self.rest[..end], &self.rest[end + 1..], true),
            None => (self.rest, &b""[..], false),
        };
        self.rest = rest;
        Some(Line { text: text.strip_suffix(b"\r").unwrap_or(text), ended })
    }

    /// Go: `Reader.readRecord`, from `parseField` on.
    fn record(&mut self, first: Line<'a>) -> Result<Vec<Vec<u8>>, CsvError> {
        let mut fields = Vec::new();
        let mut line = first;
        let mut at = 0;
        loop {
            let rest = &line.text[at..];
            if rest.first() != Some(&b'"') {
                let end = rest.iter().position(|b| *b == b',');
                let field = &rest[..end.unwrap_or(rest.len())];
                if let Some(quote) = field.iter().position(|b| *b == b'"') {
                    return Err(CsvError::BareQuote { line: self.line_number, column: at + quote + 1 });
                }
                fields.push(field.to_vec());
                match end {
                    Some(end) => at += end + 1,
                    None => return Ok(fields),
                }
                continue;
            }
            at += 1;
            let mut field = Vec::new();
            loop {
                let rest = &line.text[at..];
                let Some(quote) = rest.iter().position(|b| *b == b'"') else {
                    // The field goes on in the next line.
                    field.extend_from_slice(rest);
                    let column = line.text.len() + usize::from(line.ended) + 1;
                    if line.ended {
                        field.push(b'\n');
                    }
                    let end = CsvError::Quote { line: self.line_number, column };
                    line = self.next_line().ok_or(end)?;
                    at = 0;
                    continue;
                };
                field.extend_from_slice(&rest[..quote]);
                at += quote + 1;
                match line.text.get(at) {
                    Some(b'"') => {
                        field.push(b'"');
                        at += 1;
                    }
                    Some(b',') => {
                        at += 1;
                        break;
                    }
                    None => {
                        fields.push(field);
                        return Ok(fields);
                    }
                    Some(_) => return Err(CsvError::Quote { line: self.line_number, column: at }),
                }
            }
            fields.push(field);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Vec<Vec<String>> {
        parse(text.as_bytes())
            .unwrap_or_else(|e| panic!("{text:?}: {e}"))
            .into_iter()
            .map(|r| r.fields)
            .collect()
    }

    /// Go: readTests of encoding/csv/reader_test.go, those without an option that tokenfile does not set.
    #[test]
    fn files_are_read_as_go_reads_them() {
        let table: [(&str, &[&[&str]]); 22] = [
            ("a,b,c\n", &[&["a", "b", "c"]]),
            ("a,b\r\nc,d\r\n", &[&["a", "b"], &["c", "d"]]),
            ("a,b\rc,d\r\n", &[&["a", "b\rc", "d"]]),
            (
                "#field1,field2,field3\n\"aaa\",\"bb\nb\",\"ccc\"\n\"a,a\",\"b\"\"bb\",\"ccc\"\nzzz,yyy,xxx\n",
                &[
                    &["#field1", "field2", "field3"],
                    &["aaa", "bb\nb", "ccc"],
                    &["a,a", "b\"bb", "ccc"],
                    &["zzz", "yyy", "xxx"],
                ],
            ),
            ("a,b,c", &[&["a", "b", "c"]]),
            (
                "\"two\nline\",\"one line\",\"three\nline\nfield\"",
                &[&["two\nline", "one line", "three\nline\nfield"]],
            ),
            ("a,b,c\n\nd,e,f\n\n", &[&["a", "b", "c"], &["d", "e", "f"]]),
            (" a,  b,   c\n", &[&[" a", "  b", "   c"]]),
            ("a,b,c\nd,e", &[&["a", "b", "c"], &["d", "e"]]),
            ("a,b,c,", &[&["a", "b", "c", ""]]),
            ("a,b,c,\n", &[&["a", "b", "c", ""]]),
            ("a,b,c, ", &[&["a", "b", "c", " "]]),
            ("a,b,c\n ", &[&["a", "b", "c"], &[" "]]),
            (
                "x,y,z,w\nx,y,z,\nx,y,,\n,,,\n\"\",\"\",\"\",\"\"\n",
                &[
                    &["x", "y", "z", "w"],
                    &["x", "y", "z", ""],
                    &["x", "y", "", ""],
                    &["", "", "", ""],
                    &["", "", "", ""],
                ],
            ),
            ("a,\"b\nb\",c\n\"d,d\",e,f\r", &[&["a", "b\nb", "c"], &["d,d", "e", "f"]]),
            ("\"\"", &[&[""]]),
            ("\"a\r\nb\"\n", &[&["a\nb"]]),
            ("\"\"\"\"\"\"\"\"", &[&["\"\"\""]]),
            ("\"\"\"\",\"x\"", &[&["\"", "x"]]),
            ("", &[]),
            ("\n\r\n", &[]),
            ("\r", &[]),
        ];
        for (text, expected) in table {
            assert_eq!(fields(text), expected, "{text:?}");
        }
    }

    /// Go: the same table's errors, with their positions.
    #[test]
    fn bad_quotes_are_refused_where_go_refuses_them() {
        let bare = |line, column| Err(CsvError::BareQuote { line, column });
        let quote = |line, column| Err(CsvError::Quote { line, column });
        let table = [
            ("a \"word\",\"b\"", bare(1, 3)),
            ("a,b\"x,c\n", bare(1, 4)),
            ("\"a \"word\",\"b\"", quote(1, 4)),
            ("\"a\"x,b,c\n", quote(1, 3)),
            ("\"a,b,c\n", quote(1, 8)),
            ("\"abc", quote(1, 5)),
            ("x,\"a\nb", quote(2, 2)),
            ("x\n\"a\" ,b", quote(2, 3)),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text.as_bytes()), expected, "{text:?}");
        }
        assert_eq!(parse(b"a\n\xff,b\n"), Err(CsvError::NotUtf8 { line: 2 }));
    }
}
