//! YAML as Kubernetes reads it, strictly: sigs.k8s.io/yaml (`YAMLToJSONStrict`) over go.yaml.in/yaml/v2, which is YAML 1.1. What
//! looks like a boolean or a number is one (`yes`, `0x1F`, `1_000`), no key stands twice, and errors say where.
//!
//! Stricter: a second document is an error, not ignored; the text is UTF-8, without the line breaks that only YAML 1.1 has; keys are
//! strings; `!!binary` and `!!timestamp` are refused, and quoted text that goes on no further in than its key. More lenient, since the
//! parser is one of YAML 1.2, where the value is never in doubt: the escape `\/`, a lone `?`, tabs in lines with nothing or a comment.

mod scalar;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, StrInput, Tag, options};
use serde_json::{Map, Value};

/// What is wrong with a document: without a copy of the text around it, which may hold secrets.
pub type YamlError = String;

/// Reads one document; nothing at all is `null`.
pub fn value(text: &[u8]) -> Result<Value, YamlError> {
    if text.len() > MAX_BYTES {
        return Err(format!("more than {MAX_BYTES} bytes"));
    }
    let text = str::from_utf8(text).map_err(|_| "not UTF-8; write it in UTF-8")?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some(at) = text.find(|character| !is_printable(character)) {
        let line = text.split_at(at).0.matches('\n').count() + 1;
        return Err(format!("line {line}: control characters are not allowed"));
    }
    // Or comments come as events, where another crate of this build wants them.
    let events = Parser::new_from_str_with_options(text, options! { emit_comments: false });
    Reader { events, line: 1, anchors: HashMap::new(), copied: 0 }.document()
}

/// The largest document, and the most that anchors and aliases may add to it: four times what a ConfigMap or a Secret can hold.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;

/// The deepest nesting, aliases included. No configuration of ours comes near it.
const MAX_DEPTH: usize = 64;

/// The characters that may stand in a document as they are. Go: `yaml_parser_update_buffer` (readerc.go), less what is a line break in
/// YAML 1.1 only.
fn is_printable(character: char) -> bool {
    match character {
        '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}' => false,
        '\t' | '\n' | '\r' | ' '..='~' | '\u{a0}'.. => true,
        _ => false,
    }
}

/// Events on their way into a value. Go: `parser` and `decoder` (decode.go).
struct Reader<'t> {
    events: Parser<'t, StrInput<'t>>,
    /// Of the event that came last.
    line: usize,
    anchors: HashMap<usize, Node>,
    /// What anchors and aliases have added so far, in bytes.
    copied: usize,
}

/// A value, with how much it is.
#[derive(Clone)]
struct Node {
    value: Value,
    /// In bytes of text, at least one for each value in it.
    size: usize,
    /// Levels below it.
    depth: usize,
}

impl<'t> Reader<'t> {
    fn document(&mut self) -> Result<Value, YamlError> {
        let mut document = None;
        loop {
            match self.next()? {
                Event::StreamStart | Event::DocumentEnd => {}
                Event::StreamEnd => return Ok(document.unwrap_or_default()),
                Event::DocumentStart(..) if document.is_none() => {
                    let event = self.next()?;
                    document = Some(self.node(event, 0)?.value);
                }
                Event::DocumentStart(..) => {
                    let event = self.next()?;
                    if !self.node(event, 0)?.value.is_null() {
                        return Err(self.error("a second document, which would not count; remove it"));
                    }
                }
                _ => return Err(self.error("expected a document")),
            }
        }
    }

    fn next(&mut self) -> Result<Event<'t>, YamlError> {
        match self.events.next_event() {
            Some(Ok((event, span))) => {
                self.line = span.start.line();
                Ok(event)
            }
            Some(Err(error)) => {
                self.line = error.marker().line();
                Err(self.error(&error.info()))
            }
            None => Err(self.error("the document is not complete")),
        }
    }

    fn error(&self, problem: &str) -> YamlError {
        format!("line {}: {problem}", self.line)
    }

    fn node(&mut self, event: Event<'t>, depth: usize) -> Result<Node, YamlError> {
        if depth > MAX_DEPTH {
            return Err(self.error("nested too deeply"));
        }
        let (anchor, node) = match event {
            Event::Alias(anchor) => return self.replay(anchor, depth),
            Event::Scalar(text, style, anchor, tag) => {
                let value = self.scalar(&text, style, tag.as_deref())?;
                (anchor, Node { value, size: 1 + text.len(), depth: 0 })
            }
            Event::SequenceStart(_, anchor, _) => (anchor, self.sequence(depth)?),
            Event::MappingStart(_, anchor, _) => (anchor, self.mapping(depth)?),
            _ => return Err(self.error("expected a value")),
        };
        if anchor > 0 {
            self.copy(&node)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    /// Go: `decoder.alias`; the limits are ours. An anchor counts from the end of its node on.
    fn replay(&mut self, anchor: usize, depth: usize) -> Result<Node, YamlError> {
        let Some(node) = self.anchors.get(&anchor) else {
            return Err(self.error("an anchor's value contains itself"));
        };
        if depth + node.depth > MAX_DEPTH {
            return Err(self.error("nested too deeply"));
        }
        let node = node.clone();
        self.copy(&node)?;
        Ok(node)
    }

    /// Counts a node that is there once more.
    fn copy(&mut self, node: &Node) -> Result<(), YamlError> {
        self.copied += node.size;
        if self.copied > MAX_BYTES {
            return Err(self.error("document contains excessive aliasing"));
        }
        Ok(())
    }

    /// Go: `decoder.scalar`.
    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, YamlError> {
        let tag = match tag {
            Some(tag) => Cow::Owned([tag.handle(), tag.suffix()].concat()),
            None if style == ScalarStyle::Plain => Cow::Borrowed(""),
            None => return Ok(text.into()),
        };
        scalar::resolve(&tag, text).map_err(|problem| self.error(&problem))
    }

    /// Go: `decoder.sequence`.
    fn sequence(&mut self, depth: usize) -> Result<Node, YamlError> {
        let (mut items, mut all) = (Vec::new(), Node { value: Value::Null, size: 1, depth: 0 });
        loop {
            match self.next()? {
                Event::SequenceEnd => return Ok(Node { value: Value::Array(items), ..all }),
                event => {
                    let item = self.node(event, depth + 1)?;
                    all.add(&item);
                    items.push(item.value);
                }
            }
        }
    }

    /// Go: `decoder.mapping`.
    fn mapping(&mut self, depth: usize) -> Result<Node, YamlError> {
        let (mut fields, mut all) = (Map::new(), Node { value: Value::Null, size: 1, depth: 0 });
        loop {
            let key = match self.next()? {
                Event::MappingEnd => return Ok(Node { value: Value::Object(fields), ..all }),
                key => key,
            };
            // Go: isMerge.
            let merges = matches!(&key, Event::Scalar(text, style, _, tag) if text == "<<"
                && (*style == ScalarStyle::Plain && tag.is_none() || tag.as_deref().is_some_and(is_merge)));
            let key = self.node(key, depth + 1)?;
            let line = self.line;
            let event = self.next()?;
            let aliased = event.is_alias();
            let value = self.node(event, depth + 1)?;
            all.add(&key);
            all.add(&value);
            self.line = line;
            if merges {
                self.merge(value.value, aliased, &mut fields)?;
            } else if let Value::String(key) = key.value {
                self.insert(key, value.value, &mut fields)?;
            } else {
                return Err(self.error("a key that is not a string; write it in quotes"));
            }
        }
    }

    /// Go: `decoder.merge`, where nothing overrides anything.
    fn merge(&self, value: Value, aliased: bool, fields: &mut Map<String, Value>) -> Result<(), YamlError> {
        let maps = match value {
            Value::Array(maps) if !aliased => maps,
            map => vec![map],
        };
        for map in maps {
            let Value::Object(map) = map else {
                return Err(self.error("map merge requires map or sequence of maps as the value"));
            };
            for (key, value) in map {
                self.insert(key, value, fields)?;
            }
        }
        Ok(())
    }

    /// Go: `decoder.setMapIndex`.
    fn insert(&self, key: String, value: Value, fields: &mut Map<String, Value>) -> Result<(), YamlError> {
        if fields.contains_key(&key) {
            return Err(self.error(&format!("key {key:?} already set in map; remove one of the two")));
        }
        fields.insert(key, value);
        Ok(())
    }
}

impl Node {
    fn add(&mut self, child: &Self) {
        self.size += child.size;
        self.depth = self.depth.max(child.depth + 1);
    }
}

fn is_merge(tag: &Tag) -> bool {
    tag.suffix_in_namespace(scalar::CORE).as_deref() == Some("merge")
}
