//! The grammar of RFC 8259, as Go's scanner has it (encoding/json/scanner.go).

use std::borrow::Cow;

use super::{JsonError, MAX_DEPTH, MAX_VALUES, Number, Object, Value};

pub(super) fn document(bytes: &[u8]) -> Result<Value<'_>, JsonError> {
    let mut parser = Parser { bytes, text: std::str::from_utf8(bytes).ok(), at: 0, values: 0 };
    parser.skip_space();
    let value = parser.value(0)?;
    parser.skip_space();
    if parser.at < bytes.len() {
        return Err(parser.syntax());
    }
    Ok(value)
}

struct Parser<'a> {
    bytes: &'a [u8],
    /// All of the bytes, if they are UTF-8, which then is not looked at for each string.
    text: Option<&'a str>,
    at: usize,
    /// How many values have begun.
    values: usize,
}

impl<'a> Parser<'a> {
    fn syntax(&self) -> JsonError {
        JsonError::Syntax(self.at)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    fn skip_space(&mut self) {
        self.at += self.rest().iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).count();
    }

    /// Takes `byte` if it comes next, and the white space behind it.
    fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.at += 1;
            self.skip_space();
        }
        found
    }

    /// A value that begins here, inside of `depth` others.
    fn value(&mut self, depth: usize) -> Result<Value<'a>, JsonError> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(JsonError::TooComplex);
        }
        match self.peek() {
            Some(b'{' | b'[') if depth == MAX_DEPTH => Err(JsonError::TooComplex),
            Some(b'{') => self.object(depth + 1).map(Value::Object),
            Some(b'[') => self.array(depth + 1).map(Value::Array),
            Some(b'"') => self.string().map(Value::String),
            Some(b'-' | b'0'..=b'9') => self.number().map(Value::Number),
            Some(b't') => self.literal(b"true", Value::Bool(true)),
            Some(b'f') => self.literal(b"false", Value::Bool(false)),
            Some(b'n') => self.literal(b"null", Value::Null),
            _ => Err(self.syntax()),
        }
    }

    fn literal(&mut self, text: &[u8], value: Value<'a>) -> Result<Value<'a>, JsonError> {
        if !self.rest().starts_with(text) {
            return Err(self.syntax());
        }
        self.at += text.len();
        Ok(value)
    }

    fn object(&mut self, depth: usize) -> Result<Object<'a>, JsonError> {
        let mut members = Vec::new();
        self.take(b'{');
        if self.take(b'}') {
            return Ok(Object(members));
        }
        loop {
            if self.peek() != Some(b'"') {
                return Err(self.syntax());
            }
            let name = self.string()?;
            self.skip_space();
            if !self.take(b':') {
                return Err(self.syntax());
            }
            members.push((name, self.value(depth)?));
            self.skip_space();
            if !self.take(b',') {
                break;
            }
        }
        self.close(b'}')?;
        Ok(Object(members))
    }

    fn array(&mut self, depth: usize) -> Result<Vec<Value<'a>>, JsonError> {
        let mut elements = Vec::new();
        self.take(b'[');
        if self.peek() != Some(b']') {
            loop {
                elements.push(self.value(depth)?);
                self.skip_space();
                if !self.take(b',') {
                    break;
                }
            }
        }
        self.close(b']')?;
        Ok(elements)
    }

    fn close(&mut self, bracket: u8) -> Result<(), JsonError> {
        if self.peek() != Some(bracket) {
            return Err(self.syntax());
        }
        self.at += 1;
        Ok(())
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        let count = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        if count == 0 { Err(self.syntax()) } else { Ok(()) }
    }

    fn number(&mut self) -> Result<Number<'a>, JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = self.bytes.get(start..self.at).and_then(|text| std::str::from_utf8(text).ok());
        text.map(Number).ok_or_else(|| self.syntax())
    }

    /// A string that begins here. Go: `unquoteBytes` of encoding/json/decode.go.
    fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.at += 1;
        let mut text = Cow::Borrowed("");
        loop {
            let plain = self.rest().iter().take_while(|byte| !matches!(byte, b'"' | b'\\' | 0..0x20)).count();
            let (start, end) = (self.at, self.at + plain);
            self.at = end;
            match self.text.and_then(|text| text.get(start..end)) {
                Some(part) if text.is_empty() => text = Cow::Borrowed(part),
                Some(part) => text.to_mut().push_str(part),
                None => append(&mut text, self.bytes.get(start..end).unwrap_or_default()),
            }
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    self.at += 1;
                    let c = self.escape()?;
                    text.to_mut().push(c);
                }
                _ => return Err(self.syntax()),
            }
        }
        self.at += 1;
        Ok(text)
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let byte = self.peek().ok_or_else(|| self.syntax())?;
        let c = match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                let unit = self.four_digits().ok_or_else(|| self.syntax())?;
                return Ok(self.complete(unit));
            }
            _ => return Err(self.syntax()),
        };
        self.at += 1;
        Ok(c)
    }

    /// The character of an escaped UTF-16 unit, with the second one of a pair if that follows.
    fn complete(&mut self, unit: u16) -> char {
        let pair = |second| char::decode_utf16([unit, second]).next().and_then(Result::ok);
        if let Ok(c) = char::try_from(u32::from(unit)) {
            return c;
        }
        let before = self.at;
        if self.rest().starts_with(b"\\u") {
            self.at += 2;
            if let Some(c) = self.four_digits().and_then(pair) {
                return c;
            }
        }
        self.at = before;
        char::REPLACEMENT_CHARACTER
    }

    fn four_digits(&mut self) -> Option<u16> {
        let digits = self.rest().first_chunk::<4>().filter(|d| d.iter().all(u8::is_ascii_hexdigit))?;
        let unit = u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        self.at += 4;
        Some(unit)
    }
}

/// Appends bytes, each that is no UTF-8 as one U+FFFD. Go: `utf8.DecodeRune`, which then is one byte on.
fn append<'a>(text: &mut Cow<'a, str>, part: &'a [u8]) {
    let mut rest = part;
    loop {
        let (valid, invalid) = match std::str::from_utf8(rest) {
            Ok(valid) => (valid, &[][..]),
            Err(error) => {
                let (valid, invalid) = rest.split_at(error.valid_up_to());
                (std::str::from_utf8(valid).unwrap_or_default(), invalid)
            }
        };
        if text.is_empty() {
            *text = Cow::Borrowed(valid);
        } else if !valid.is_empty() {
            text.to_mut().push_str(valid);
        }
        let Some((_, behind)) = invalid.split_first() else { return };
        text.to_mut().push(char::REPLACEMENT_CHARACTER);
        rest = behind;
    }
}
