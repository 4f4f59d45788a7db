//! PEM blocks as Go's `encoding/pem` finds them (pem.go, `Decode`): in the middle of other text, which is skipped, and so is what
//! only looks like a block.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Go: `base64.StdEncoding`, which overlooks bits that are left over.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

const BEGIN: &[u8] = b"-----BEGIN ";
const END: &[u8] = b"\n-----END ";
const DASHES: &[u8] = b"-----";

/// A block.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Block<'a> {
    /// What it says after BEGIN.
    pub(super) label: &'a [u8],
    /// Whether lines like `Proc-Type: 4,ENCRYPTED` come first.
    pub(super) has_headers: bool,
    /// What is inside.
    pub(super) content: Vec<u8>,
}

/// The blocks of a text, one after the other.
pub(super) struct Blocks<'a> {
    text: &'a [u8],
    /// Where the next block is looked for.
    at: usize,
}

impl<'a> Blocks<'a> {
    /// The blocks of `text`.
    pub(super) fn of(text: &'a [u8]) -> Self {
        Self { text, at: 0 }
    }

    /// What follows `at`.
    fn from(&self, at: usize) -> &'a [u8] {
        self.text.get(at..).unwrap_or_default()
    }
}

impl<'a> Iterator for Blocks<'a> {
    type Item = Block<'a>;

    fn next(&mut self) -> Option<Block<'a>> {
        // Where the last END ended: wherever a block turns out not to be one, the search goes on there.
        let mut behind_end = self.at;
        loop {
            if behind_end < self.at {
                return None;
            }
            self.at = behind_end;
            // The first END, and the last BEGIN before it, at the start of a line.
            let end = self.at + find(self.from(self.at), END)?;
            behind_end = end + END.len();
            let before = self.text.get(self.at..end)?;
            let Some(begin) = before.windows(BEGIN.len()).rposition(|window| window == BEGIN) else {
                continue;
            };
            if before.get(..begin)?.last().is_some_and(|byte| *byte != b'\n') {
                continue;
            }
            self.at += begin + BEGIN.len();
            let (line, consumed) = first_line(self.from(self.at));
            self.at += consumed;
            let Some(label) = line.strip_suffix(DASHES) else { continue };
            let mut has_headers = false;
            loop {
                let rest = self.from(self.at);
                if rest.is_empty() {
                    return None;
                }
                let (line, consumed) = first_line(rest);
                if !line.contains(&b':') {
                    break;
                }
                has_headers = true;
                self.at += consumed;
            }
            if has_headers && end < self.at {
                continue;
            }
            // The same label, five dashes, and nothing but white space to the end of the line.
            let behind_label =
                self.from(behind_end).strip_prefix(label).and_then(|rest| rest.strip_prefix(DASHES));
            if !behind_label.is_some_and(|rest| first_line(rest).0.is_empty()) {
                continue;
            }
            // Without content the line of END follows that of BEGIN, whose end has been taken already.
            let mut content = self.text.get(self.at..end).unwrap_or_default().to_vec();
            content.retain(|byte| !b" \t\r\n".contains(byte));
            let Ok(content) = BASE64.decode(content) else { continue };
            self.at = behind_end - 1;
            self.at += first_line(self.from(self.at)).1;
            return Some(Block { label, has_headers, content });
        }
    }
}

/// The first line, without the white space at its end, and how much it takes with its line feed. Go: `getLine`.
fn first_line(text: &[u8]) -> (&[u8], usize) {
    let (line, consumed) =
        match text.iter().position(|byte| *byte == b'\n').and_then(|i| text.split_at_checked(i)) {
            Some((line, _)) => (line.strip_suffix(b"\r").unwrap_or(line), line.len() + 1),
            None => (text, text.len()),
        };
    let end = line.iter().rposition(|byte| !b" \t".contains(byte)).map_or(0, |last| last + 1);
    (line.get(..end).unwrap_or_default(), consumed)
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(text: &str) -> Vec<(String, bool, String)> {
        let text_of = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Blocks::of(text.as_bytes()).map(|b| (text_of(b.label), b.has_headers, text_of(&b.content))).collect()
    }

    /// Go: TestDecode, TestCVE202224675 and badPEMTests of encoding/pem/pem_test.go.
    #[test]
    fn blocks_are_found_where_go_finds_them() {
        let block =
            |label: &str, has_headers, content: &str| (label.to_owned(), has_headers, content.to_owned());
        let table = [
            ("", vec![]),
            ("nothing", vec![]),
            ("-----BEGIN A-----\nYWJj\n-----END A-----", vec![block("A", false, "abc")]),
            (
                "before\n-----BEGIN A-----\r\n YW\tJj \r\n-----END A----- \t\r\nafter",
                vec![block("A", false, "abc")],
            ),
            ("x-----BEGIN A-----\nYWJj\n-----END A-----\n", vec![]),
            (
                "-----BEGIN A-----\nYWJj\n-----END A-----\nbetween\n-----BEGIN B C-----\nZGVm\n-----END B C-----\n",
                vec![block("A", false, "abc"), block("B C", false, "def")],
            ),
            ("-----BEGIN A-----\nK: v\nL:\n\nYWJj\n-----END A-----\n", vec![block("A", true, "abc")]),
            ("-----BEGIN A-----\n-----END A-----\n", vec![block("A", false, "")]),
            ("-----BEGIN A-----\n\n-----END A-----\n", vec![block("A", false, "")]),
            ("-----BEGIN A-----\nK: v\n-----END A-----\n", vec![]),
            // A BEGIN without END, a wrong END, bad base64 and a line that goes on are skipped.
            (
                "-----BEGIN A-----\nYWJj\n-----BEGIN B-----\nZGVm\n-----END B-----\n",
                vec![block("B", false, "def")],
            ),
            (
                "-----BEGIN A-----\nYWJj\n-----END B-----\n-----BEGIN C-----\nZGVm\n-----END C-----\n",
                vec![block("C", false, "def")],
            ),
            (
                "-----BEGIN A-----\nYW!j\n-----END A-----\n-----BEGIN C-----\nZGVm\n-----END C-----\n",
                vec![block("C", false, "def")],
            ),
            ("-----BEGIN A-----\nYWJj\n-----END A-----x\n", vec![]),
            ("-----BEGIN A----\nYWJj\n-----END A-----\n", vec![]),
            ("-----BEGIN A-----\nYWJj\n-----END A----\n", vec![]),
            ("-----BEGIN A-----\nYWJj-----END A-----\n", vec![]),
            ("-----BEGIN A-----\nYWI\n-----END A-----\n", vec![]),
            ("-----BEGIN A-----\nYWI=\n-----END A-----\n", vec![block("A", false, "ab")]),
            ("-----BEGIN A-----\nYWJ=\n-----END A-----\n", vec![block("A", false, "ab")]),
            ("-----BEGIN A-----\nYQ=\n=\n-----END A-----\n", vec![block("A", false, "a")]),
            ("-----BEGIN A-----\nYQ==YQ==\n-----END A-----\n", vec![]),
            ("-----BEGIN A:-----\n-----END A:-----\n", vec![]),
        ];
        for (text, expected) in table {
            assert_eq!(blocks(text), expected, "{text:?}");
        }
    }
}
